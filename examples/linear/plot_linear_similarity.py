"""
Which measure of task similarity follows the risk
=================================================

How near must a source be? Each dot is a pair of tasks with one sample of 60 rows for 200 features,
whose variances fall like 1/rank. The vertical axis is the risk after fine-tuning.

The three panels measure the same differences of the tasks in three ways; the number above is the
rank correlation with the risk. The squared norm looks at directions that carry no variance, the
metric of the inputs at directions that 60 rows correct anyway. Weighing each direction by what the
sample leaves uncorrected ranks the pairs best, and costs one call of `effective_ridge`.

Shachaf et al. (2021) compare bounds by how they follow the risk; that figure could not be read, and
this one is derived here.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr

from retemper.linear import effective_ridge

d, n = 200, 60
variance = 1 / np.arange(1.0, d + 1)
ridge = effective_ridge(variance, n).effective_ridge
left_over = variance * (ridge / (variance + ridge)) ** 2

# %%
# Random differences, some among strong directions and some among weak ones, and what fine-tuning
# leaves of each: the part of the difference that the rows do not see.
rng = np.random.default_rng(0)
differences, risk = [], []
for _ in range(300):
    delta = rng.normal(size=d) * variance ** (rng.uniform(-1.0, 1.5) / 2)
    delta *= np.exp(rng.uniform(-1.0, 1.0)) / np.linalg.norm(delta)
    X = rng.normal(size=(n, d)) * np.sqrt(variance)
    unseen = delta - X.T @ np.linalg.solve(X @ X.T, X @ delta)
    differences.append(delta)
    risk.append(unseen**2 @ variance)

measures = {
    "squared norm": np.ones(d),
    "in the metric of the inputs": variance,
    "at the scale of the sample": left_over,
}
figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), sharey=True, layout="constrained")
for ax, (name, weight) in zip(axes, measures.items()):
    distance = np.square(differences) @ weight
    ax.loglog(distance, risk, "o", ms=3, alpha=0.6, color="C0")
    ax.set(
        xlabel=f"difference, {name}",
        title=f"rank correlation {spearmanr(distance, risk).statistic:.3f}",
    )
    ax.xaxis.set_minor_formatter("")
axes[0].set_ylabel("excess risk after fine-tuning")
figure.suptitle(
    "What the sample leaves uncorrected ranks sources; the metric of the inputs does not"
)
plt.show()
