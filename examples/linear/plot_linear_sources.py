"""
When a second source helps
==========================

Two sources learned the target's teacher, each on rows of its own, and their labels are noisy. The
first has 120 rows for 150 features. How many must the second have to be worth adding? Left: lines
are the theory in high dimension, dots 20 simulated experiments each, against the rows of the
second source. Right: the weights that training chooses, on average.

Weighted as well as possible, a second source never hurts. With equal weights it hurts while it has
few rows. Training that chooses the weights itself pays a little, for they too are learned from the
50 labels: a source from very few rows is not worth that price. It trusts both alike where both have
as many rows (dotted on the right), and forgets the first when the second is far better.

No published figure of this setting was read; the theory is derived here.
"""

import matplotlib.pyplot as plt
import numpy as np

from retemper.linear import LinearModel, LinearSource, curve, solve

d = 150
spectrum = np.arange(1.0, d + 1) ** -0.5
rng = np.random.default_rng(0)
target = rng.normal(size=d) / np.sqrt(spectrum.sum())
first = LinearSource(target, n_samples_source=120, noise_source=0.5, ridge_source=0.05)
rows = np.unique(np.geomspace(8, 1000, 16).astype(int))
pairs = [
    (first, LinearSource(target, n_samples_source=int(n), noise_source=0.5, ridge_source=0.05))
    for n in rows
]


def risks(weights, sources):
    """Risk of a target with 50 rows, from every pair of sources."""
    model = LinearModel(
        50, target, spectrum=spectrum, noise=0.5, ridge=0.1, sources=sources[0],
        mixing_weights=weights,
    )  # fmt: skip
    return curve(model, {"sources": sources})


figure, (ax, side) = plt.subplots(1, 2, figsize=(9.6, 4.4), layout="constrained")
alone = risks("optimal", [(first,)])["risk"][0]
ax.axhline(alone, color="0.5", ls=":", label="first source alone")
names = {"equal weights": [0.5, 0.5], "fitted by training": "fitted", "best in theory": "optimal"}
for k, (name, weights) in enumerate(names.items()):
    ax.plot(rows, risks(weights, pairs)["risk"], ls=["-.", "--", "-"][k], color=f"C{k}", label=name)
    some = pairs[::5]
    dots = risks(weights, some).simulate("risk", n_repeats=20, random_state=0)
    ax.errorbar(rows[::5], dots["risk"], 2 * dots["risk_stderr"], fmt="o", ms=4, color=f"C{k}")
ax.set(
    xscale="log",
    xlabel="rows of the second source",
    ylabel="excess risk with 50 target rows",
    title="Risk (dots: experiments)",
)
ax.legend(loc="lower left")
chosen = [
    solve(
        LinearModel(
            50, target, spectrum=spectrum, noise=0.5, ridge=0.1, sources=pair,
            mixing_weights="fitted",
        )
    ).mixing_weights
    for pair in pairs
]  # fmt: skip
for k, (name, values) in enumerate(zip(("first", "second"), np.transpose(chosen), strict=True)):
    side.plot(rows, values, ls=["-", "--"][k], color=f"C{k + 3}", label=f"{name} source")
side.axvline(120, color="0.5", ls=":")
side.set(
    xscale="log",
    xlabel="rows of the second source",
    ylabel="weight that training chooses",
    title="Fitted weights (dotted: equal rows)",
)
side.legend()
figure.suptitle("Weighted well, a second source never hurts")
plt.show()
