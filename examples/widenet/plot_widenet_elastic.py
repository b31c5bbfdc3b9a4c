"""
A source that feels its target
==============================

Test error of a target of 20 samples against the coupling, for a source of 60 samples whose teacher
has the cosine 0.9 (left) or 0.3 (right) with the target's. One-way: the source is trained first and
stays as it is. Elastic: both networks are one draw, and pull each other. Grey: a random anchor, a
source without data, under either coupling.

Elastic coupling looks better at strong couplings, but so does its anchor, because it shrinks the
weights: what the source's data are worth is the distance from a line to its own anchor, and that
is about the same for both couplings. A source of another teacher is worth next to nothing.
With the best prior for each of them the elastic coupling is a few per cent ahead: the page of the
system has the table.

No published figure: derived here; one-way is the theory of Ingrosso et al. (2025).
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.widenet import WideNetModel, gamma_path

rng = np.random.default_rng(0)
d = 60
u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
X_source, X_target, X_test = (rng.normal(size=(n, d)) for n in (60, 20, 400))
couplings = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]

figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), sharey=True, layout="constrained")
for ax, cosine in zip(axes, (0.9, 0.3), strict=True):
    w = cosine * u + np.sqrt(1 - cosine**2) * v
    source, target, test = (
        (X, X @ teacher) for X, teacher in ((X_source, u), (X_target, w), (X_test, w))
    )
    for k, coupling in enumerate(("one_way", "elastic")):
        model = WideNetModel(60, coupling=coupling)
        path = gamma_path(model, target, source, test, gammas=couplings)
        name = coupling.replace("_", "-")
        ax.plot(path["test_error"], ls=["-", "--"][k], marker="os"[k], ms=4, label=name)
        anchor = path.control["test_error"]
        ax.plot(anchor, ls=["-.", ":"][k], color="0.5", label=f"{name}, anchor")
    ax.set_xticks(range(len(couplings)), [f"{g:g}".replace("inf", "∞") for g in couplings])
    ax.set(xlabel="coupling", title=f"cosine of the teachers {cosine}")
axes[0].set(ylabel="test error")
axes[1].legend()
figure.suptitle("Source data are worth the gap to the anchor, under both couplings alike")
plt.show()
