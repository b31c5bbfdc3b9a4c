"""
Error against the samples of pre-training
=========================================

How good must the source be? The horizontal axis is the number of samples per feature that the
source was trained on; at one it is exact, and more changes nothing. The start that follows the
source most (λ = 0.9) is the worst of the three with a poor source and the best with a good one; the
lines cross at about 0.4 samples per feature.

No published figure: sources from finite samples are derived here, on the setting of Anguita et al.
(2026).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import DiagonalModel, curve

samples = np.concatenate([np.linspace(0.05, 0.98, 30), [1.02, 1.2, 1.5]])

figure, ax = plt.subplots(layout="constrained")
for balance in (-0.9, 0.0, 0.9):
    model = DiagonalModel(0.2, omega=1.0, init_scale=0.01, balance=balance)
    ax.plot(samples, curve(model, {"alpha_pt": samples})["mse"], label=f"λ = {balance:g}")
ax.set(
    xlabel="pre-training samples per feature",
    ylabel="excess test error with 0.2 target samples per feature",
    title="Follow the source (λ = 0.9) once it has seen 0.4 samples per feature",
)
ax.legend()
plt.show()
