"""
Gauss-Hermite rules fail near full overlap
==========================================

The theory averages over a channel with a narrow wall: the nearer the overlap is to 1, the narrower.
A fixed Gauss-Hermite rule, however many nodes it has, steps over the wall sooner or later, and its
error (lines) grows to the size of the average. The averages of this package are taken on panels
that follow the wall; their estimated error stays below the dotted line. The margin is 0.5.

This figure is about the method, and from no paper.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.numerics import gauss_hermite_rule
from retemper.perceptron import PerceptronModel, channel_score, parametric_curve

margin = 0.5
exact = parametric_curve(PerceptronModel(margin, 1.0), 40, q_min=0.1, q_max=1 - 1e-6)
overlap = exact.q
average = overlap / (1 - overlap) / exact.alpha_u  # of the squared score, without labels

figure, ax = plt.subplots(layout="constrained")
for order in (32, 128, 512):
    node, weight = gauss_hermite_rule(order)
    found = []
    for q in overlap:
        channel = channel_score(np.sqrt(q) * node, 1 - q, kappa=margin)
        found.append(weight @ (np.exp(channel.log_w) * channel.g**2))
    ax.loglog(1 - overlap, np.abs(np.array(found) / average - 1), label=f"{order} nodes")
ax.axhline(1e-12, color="0.4", ls=(0, (1, 3)), label="panels: estimated error is below")
ax.set(
    xlabel="1 - overlap",
    ylabel="relative error of the average of the squared score",
    title="However many nodes, a fixed rule steps over the wall near full overlap",
)
ax.legend()
plt.show()
