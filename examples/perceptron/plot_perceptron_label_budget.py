"""
Error against labels for several numbers of unlabelled rows
===========================================================

What are unlabelled rows worth, in labels? Pick an error on the vertical axis and read the lines
across. Dotted: the error of pre-training alone, when the labels only choose the sign. One
unlabelled row per feature is worth next to nothing. With 4, a tenth of a label per feature makes
the error jump down by a factor of forty. With 5, pre-training has done that before the first label.

No published figure was read; the lines are derived here for the model of Ohzeki (2015).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import PerceptronModel, curve, solve

labels = np.geomspace(1e-3, 1, 60)

figure, ax = plt.subplots(layout="constrained")
shades = plt.colormaps["viridis"](np.linspace(0, 0.85, 4))
for load, colour in zip((0.0, 1.0, 4.0, 5.0), shades):
    model = PerceptronModel(0.5, load)
    found = curve(model, {"alpha_l": labels}, quantities=["error_margin"])
    ax.plot(labels, found["error_margin"], "-", color=colour, label=f"{load:g}")
    if load:
        ax.axhline(solve(model).error_margin, color=colour, ls=":", lw=1.5)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="labelled rows per feature",
    ylabel="error on rows with a margin",
    title="With 4 unlabelled rows per feature, a tenth of a label cuts the error by forty",
)
ax.legend(title="unlabelled rows per feature;\ndotted: these and the sign alone", loc="center left")
plt.show()
