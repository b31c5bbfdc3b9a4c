"""
Shallow ReLU fine-tuning: kernel, network and theory
====================================================

A wide ReLU network that is fine-tuned from a source moves within its tangent kernel. On inputs with
many features that kernel is nearly linear, and the rest of it acts as a ridge: the theory (lines)
is that of ridge regression towards the source with a known strength. Dots are regression with the
exact kernel, six samples each.

The distance between the two pairs is what the source is worth.

Shachaf et al. (2021) give a sample complexity in the same regime; no figure was read, and the
equivalent ridge is derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.linear import LinearModel, relu_ntk, relu_risk

d, noise = 300, 0.3
teacher = np.ones(d) / np.sqrt(d)
source = 0.8 * teacher + 0.3 * np.where(np.arange(d) % 2, -1.0, 1.0) / np.sqrt(d)
sizes = [60, 100, 150, 225, 300, 450, 600]
rng = np.random.default_rng(4)


def kernel_risk(n, start):
    """Excess risk on 200 new rows of one fine-tuning with the tangent kernel."""
    X = rng.normal(size=(n + 200, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    truth, before = np.sqrt(d) * X @ teacher, np.sqrt(d) * X @ start
    y = truth[:n] + noise * rng.normal(size=n)
    dual = np.linalg.solve(relu_ntk(X[:n]), y - before[:n])
    return np.mean((before[n:] + relu_ntk(X[n:], X[:n]) @ dual - truth[n:]) ** 2)


figure, ax = plt.subplots(layout="constrained")
for k, (name, start) in enumerate({"from the source": source, "scratch": 0 * teacher}.items()):
    theory = [
        relu_risk(LinearModel(n, teacher, source_coef=start, noise=noise)).risk for n in sizes
    ]
    runs = np.array([[kernel_risk(n, start) for _ in range(6)] for n in sizes])
    stderr = runs.std(axis=1, ddof=1) / np.sqrt(6)
    ax.loglog(sizes, theory, color=f"C{k}", label=f"{name}: theory")
    ax.errorbar(sizes, runs.mean(axis=1), stderr, fmt="o", color=f"C{k}", label=f"{name}: kernel")
ax.set_xticks(sizes, [str(n) for n in sizes])
ax.minorticks_off()
ax.set(
    xlabel=f"target samples, for {d} features",
    ylabel="excess risk",
    title="The source is worth the distance of the lines; dots: exact kernel",
)
ax.legend()
plt.show()
