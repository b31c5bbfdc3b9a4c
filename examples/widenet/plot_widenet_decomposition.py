"""
Bias, thermal and quenched variance against the coupling
========================================================

What the error is made of. Bias is what the average network gets wrong. Thermal variance comes from
the spread of the target's weights, quenched variance from that of the source's, which every network
inherits and no target sample can average out.

With the coupling the bias falls and the quenched variance rises from zero; where the sum is least
is the coupling to take.

No published figure: derived here, for the theory of Ingrosso et al. (2025).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.widenet import GammaPathDisplay, WideNetModel, gamma_path

rng = np.random.default_rng(0)
u, v = np.linalg.qr(rng.normal(size=(200, 2)))[0].T
w = 0.9 * u + np.sqrt(1 - 0.9**2) * v
X_source, X_target, X_test = (rng.normal(size=(n, 200)) for n in (180, 60, 300))
source, target, test = (X_source, X_source @ u), (X_target, X_target @ w), (X_test, X_test @ w)

model = WideNetModel(100, temperature_source=0.01, temperature_target=0.01)
couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
path = gamma_path(model, target, source, test, gammas=couplings)

figure, ax = plt.subplots(layout="constrained")
parts = ["test_error", "bias", "thermal", "quenched"]
GammaPathDisplay(path, quantities=parts).plot(ax=ax)
ax.set(
    ylabel="mean squared error, width 100",
    title="Take the coupling at which falling bias and rising quenched variance balance",
)
plt.show()
