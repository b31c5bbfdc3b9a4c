"""
Which eigendirection of a difference hurts
==========================================

Source and target differ along one eigenvector of the covariance of the inputs. The risk of that,
relative to its largest value, is drawn against the variance along the eigenvector, in units of the
effective ridge of the sample.

All sample sizes peak at 1: differences at the scale of the sample cost most. Along strong
directions (right) the sample corrects the source; along weak ones (left) the error hardly shows in
the predictions.

No published figure: derived here, on the question of Shachaf et al. (2021).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.linear import effective_ridge

variance = 1 / np.arange(1.0, 201)

figure, ax = plt.subplots(layout="constrained")
shades = plt.colormaps["viridis"](np.linspace(0, 0.85, 5))
for n, colour in zip((10, 20, 40, 80, 160), shades):
    state = effective_ridge(variance, n)
    ridge = state.effective_ridge
    risk = variance * (ridge / (variance + ridge)) ** 2 / (1 - state.df2 / n)
    ax.loglog(variance / ridge, risk / risk.max(), color=colour, label=f"{n} samples")
ax.axvline(1.0, color="black", lw=0.8, ls=":")
ax.set(
    xlabel="variance along the difference, over the effective ridge",
    ylabel="excess risk, relative to its largest value",
    ylim=(1e-2, 1.5),
    title="A difference at the scale of the sample (1 on the axis) costs most",
)
ax.legend()
plt.show()
