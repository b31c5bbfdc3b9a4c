"""
Labels beyond which nothing jumps
=================================

The jump of ``perceptron-transition`` ends in a critical point. For every margin the two lines give
its place: with more labelled rows per feature than the lower line says, the error falls smoothly as
unlabelled rows are added. Small margins need many more rows of both kinds; at a margin of 0.64 the
jump is gone without any label.

No published figure was read; the line is derived here for the model of Ohzeki (2015).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import critical_line

margin = np.linspace(0.05, 0.64, 40)
points = [critical_line(kappa) for kappa in margin]

figure, ax = plt.subplots(layout="constrained")
ax.plot(margin, [p.alpha_l or np.nan for p in points], label="labelled")
ax.plot(margin, [p.alpha_u or np.nan for p in points], label="unlabelled")
ax.set(
    yscale="log",
    xlabel="margin",
    ylabel="rows per feature",
    title="With more labels than the lower line says, the error falls without a jump",
)
ax.legend()
plt.show()
