"""
A few labels remove the jump of pre-training
============================================

One line for each number of labels per feature; dots are message passing on 600 features. Without
labels the error jumps at 4.5 unlabelled rows per feature. Every label moves the jump to the left,
and above 0.24 labels per feature there is none: the error falls smoothly.

Ohzeki (2015) states that few labels suffice after pre-training; the paper's own figures could not
be read, and the lines are derived here.
"""

import matplotlib.pyplot as plt

from retemper.perceptron import PerceptronModel, TransitionDisplay, simulate

figure, ax = plt.subplots(layout="constrained")
for k, labels in enumerate((0.0, 0.05, 0.1, 0.2, 0.3, 0.5)):
    display = TransitionDisplay.from_model(PerceptronModel(0.5, 0.0, labels))
    display.plot(ax=ax, max_load=6, color=f"C{k}", label=f"{labels:g}")
    if labels in (0.05, 0.2):
        sample = simulate(
            PerceptronModel(0.5, 4.0, labels),
            n_features=600,
            n_repeats=3,
            random_state=0,
            on_failure="ignore",
        )
        error, stderr = sample.error_margin, sample.stderr["error_margin"]
        ax.errorbar(4.0, error, stderr, fmt="o", color=f"C{k}")
ax.set(yscale="log", ylim=(1e-4, 0.6), title="margin 0.5; points: message passing")
ax.legend(title="labels per feature")
plt.show()
