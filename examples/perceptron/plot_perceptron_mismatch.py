"""
The student's margin hardly matters near the true one
=====================================================

On real data nobody knows the margin. Here the true one is 1 and the student assumes another. The
cosine between the found and the true direction is flat from half the true margin on, and falls off
only for smaller ones. Too large a margin costs stability instead: where the replicon
passes 1, message passing would not converge.

No published figure was read; the equations are derived here for the model of Ohzeki (2015).
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.perceptron import PerceptronModel, curve, simulate

margin = np.linspace(0, 1.25, 26)
model = PerceptronModel(1.0, 1.5, 0.2, kappa_true=1.0)
found = curve(model, {"kappa": margin})
tried = [0.0, 0.25, 0.5, 0.75, 1.0, 1.2]
samples = [
    simulate(replace(model, kappa=m), n_features=600, n_repeats=4, random_state=0) for m in tried
]

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.3), layout="constrained")
left.plot(margin, found["cosine"], label="theory")
left.errorbar(
    tried,
    [s.cosine for s in samples],
    [s.stderr["cosine"] for s in samples],
    fmt="o",
    color="black",
    capsize=2,
    label="message passing, 600 features",
)
left.set(
    ylim=(0.5, 1.0),
    ylabel="cosine of found and true direction",
    title="flat from half the true margin on",
)
left.legend(loc="lower right")
right.plot(margin, found["replicon"])
right.axhline(1.0, color="0.4", lw=1)
right.text(0.02, 0.97, "above: message passing would not converge", va="top", color="0.3")
right.set(ylim=(0, 1.05), ylabel="replicon", title="too large a margin costs stability")
for ax in (left, right):
    ax.axvline(1.0, color="0.5", lw=0.8, ls=":")
    ax.set_xlabel("margin that the student assumes (dotted: the true one)")
figure.suptitle("A student that assumes half the true margin finds the direction as well")
plt.show()
