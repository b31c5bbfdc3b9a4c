"""
Scale, balance and reset when nothing is reused
===============================================

The target task uses none of the source's features, so the source can only mislead. Upper row: one
feature in ten matters, and starts that find few features (small initial scale, balance near -1) win
once there are enough samples. Lower row: nine in ten matter, and a large read-out after the reset,
which spreads the solution over all features, is best at every sample size.

The three sweeps are those of the published code of Anguita et al. (2026); the figure of the paper
itself could not be read.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.diagonal import DiagonalModel, curve

alpha = np.linspace(0.01, 0.5, 80)
sweeps = {
    "init_scale": [1e-6, 1e-3, 1.0],
    "balance": [-0.999, -0.99, 0.0, 0.99],
    "readout_scale": [0.0, 1.0, 10.0],
}

figure, axes = plt.subplots(2, 3, figsize=(13, 7.6), layout="constrained")
for row, density in zip(axes, (0.1, 0.9)):
    model = DiagonalModel(0.1, omega=0.0, rho_ft=density)
    for ax, (name, values) in zip(row, sweeps.items()):
        found = curve(model, {name: values, "alpha": alpha})
        for value, error in zip(values, found["mse"]):
            ax.plot(alpha, error, label=f"{name} = {value:g}")
        ax.set(
            xlabel="samples per feature α",
            ylabel="excess test error",
            title=f"{density:.0%} of the features matter",
        )
        ax.legend()
figure.suptitle(
    "A misleading source: few features want a small start near λ = -1, many a large read-out"
)
plt.show()
