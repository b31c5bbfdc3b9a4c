"""
What depth changes in a network of finite width
===============================================

Left: the order parameter of the last layer, the mean square of its read-outs over that of the
prior, for networks of one to three hidden layers that learn 24 linear labels of variance 1, against
samples per hidden unit. Right: their test error. Lines are theory; points are sampled networks, two
standard errors of four chains.

Samples and layers drive read-outs away from the prior; those of sampled networks go further than
the theory says, by about a twentieth at three layers and one sample a unit. Every layer lowers the
error of a wide network, and nothing is left of that at one sample a unit.

No published figure: derived here; one layer is the theory of Ingrosso et al. (2025).
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from retemper.widenet import WideNetModel, curve, simulate

rng = np.random.default_rng(0)
n, d = 24, 48
teacher = rng.normal(size=d) / np.sqrt(d)
target, test = ((X, X @ teacher) for X in (rng.normal(size=(m, d)) for m in (n, 200)))
model = WideNetModel(100, "erf")
widths, sampled = np.geomspace(20, 240, 16).round(), [24, 40, 80, 160]
few = {"n_chains": 4, "n_draws": 1, "n_burn_source": 0, "n_thin_source": 1}
few |= {"n_burn_target": 60, "n_sweeps_target": 60}

figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), layout="constrained")
for k, n_layers in enumerate([1, 2, 3]):
    deep = replace(model, n_hidden_layers=n_layers)
    theory = curve(deep, {"width": widths}, target, test=test)
    points = [
        simulate(replace(deep, width=width), target, None, test, **few, on_failure="ignore")
        for width in sampled
    ]
    for ax, name in zip(axes, ("Q_t", "test_error"), strict=True):
        ax.plot(n / widths, theory[name], ls=["-", "--", "-."][k], color=f"C{k}", label=n_layers)
        values, errors = zip(*((getattr(p, name), p.stderr[name]) for p in points), strict=True)
        ax.errorbar(
            n / np.array(sampled),
            values,
            2 * np.array(errors),
            color=f"C{k}",
            marker="osD"[k],
            ms=4,
            ls="",
        )
        ax.set(xscale="log", xlabel="samples per hidden unit")
axes[0].set(ylabel="$Q$ of the last layer", title="samples and layers push read-outs")
axes[1].set(ylabel="test error", title="lines meet where units are few")
axes[0].legend(title="hidden layers")
figure.suptitle("Layers pay in wide networks, and nothing at one sample a unit")
plt.show()
