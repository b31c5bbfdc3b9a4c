"""
A few labels remove the jump of pre-training
============================================

One line for each number of labels per feature (dashed: unstable); dots are message passing on 400
features, with standard errors over four tables. Without labels the error jumps at 4.5 unlabelled
rows per feature. Labels move the jump to the left, and above 0.24 labels per feature there is none:
the error falls smoothly. Near a jump, tables of this size fall on either side of it, and their mean
lies between.

Ohzeki (2015) states that few labels suffice after pre-training; the paper's own figures could not
be read, and the lines are derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import PerceptronModel, TransitionDisplay, simulate

loads = [1.0, 2.5, 3.5, 4.0, 5.0]

figure, ax = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
shades = plt.colormaps["viridis"](np.linspace(0, 0.85, 4))
for labels, colour, marker in zip((0.0, 0.1, 0.2, 0.4), shades, "osD^"):
    display = TransitionDisplay.from_model(PerceptronModel(0.5, 0.0, labels))
    display.plot(ax=ax, max_load=6, color=colour)
    samples = [
        simulate(
            PerceptronModel(0.5, load, labels),
            n_features=400,
            n_repeats=4,
            random_state=0,
            on_failure="ignore",
        )
        for load in loads
    ]
    ax.errorbar(
        loads,
        [s.error_margin for s in samples],
        [s.stderr["error_margin"] for s in samples],
        fmt=marker,
        color=colour,
        capsize=2,
        label=f"{labels:g}",
    )
ax.set(
    yscale="log",
    ylim=(1e-4, 0.7),
    title="With 0.4 labels per feature the error falls without the jump of pre-training",
)
ax.legend(title="labels per feature", loc="lower left")
plt.show()
