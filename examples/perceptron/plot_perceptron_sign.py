"""
Labels that fix the sign of a pre-trained direction
===================================================

Pre-training finds the direction up to its sign. How many labels decide the sign? The probability of
the wrong one falls exponentially with the number of labels, not with labels per feature. Where the
direction is known well (margin 1, one row per feature) two labels leave one chance in a thousand;
where it is known poorly, eight leave one in fifty. Dotted: a bound in closed form.

No published figure was read; law and bound are derived here for the model of Ohzeki (2015).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import PerceptronModel, sign_error, solve

n_labels = np.arange(1, 9)

figure, ax = plt.subplots(layout="constrained")
for k, (margin, load) in enumerate([(1.0, 0.8), (1.0, 1.0), (0.5, 4.2)]):
    overlap = solve(PerceptronModel(margin, load)).q
    found = [sign_error(overlap, margin, int(n)) for n in n_labels]
    probability = [f.probability for f in found]
    ax.semilogy(
        n_labels,
        probability,
        "-",
        marker="osD"[k],
        color=f"C{k}",
        label=f"margin {margin:g}, {load:g} unlabelled rows per feature",
    )
    ax.semilogy(n_labels, 0.5 * np.exp(-n_labels * found[0].exponent), ":", color=f"C{k}")
ax.set(
    xlabel="labels",
    ylabel="probability of the wrong sign (dotted: bound)",
    title="Every further label divides the chance of the wrong sign by the same factor",
)
ax.legend()
plt.show()
