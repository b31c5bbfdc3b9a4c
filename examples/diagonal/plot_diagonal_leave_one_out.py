"""
Leave-one-out against held-out error over starts, digits
========================================================

Which start to take, with 60 images and 400 features? Every dot is a start. Left, its height is the
error on images that were not used. Leaving out one image at a time and refitting puts the starts
near the line of equal errors, so the smallest leave-one-out error names a good start without
further data. Right, the first-order formula (dashed) costs nothing and is too pessimistic, more
than tenfold where few features carry the solution.

No published figure: digits stand in for real data, the formulas are derived here.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from retemper.diagonal import finetune_scale, leave_one_out, minimum_penalty

digits = load_digits()
rng = np.random.default_rng(0)
lift = rng.normal(size=(64, 400)) / 8  # weights of random ReLU features


def task(one, other):
    keep = np.isin(digits.target, (one, other))
    X = np.maximum((digits.data[keep] - 8) / 8 @ lift, 0.0)
    return X - X.mean(axis=0), np.where(digits.target[keep] == one, 1.0, -1.0)


# %%
# The source tells 3 from 5; the target, 9 from 5.
X_source, y_source = task(3, 5)
X, y = task(9, 5)
size = 20 * X.std(axis=0).clip(1e-9)
source = minimum_penalty(X_source / size, y_source, 1e-2, mu=1e-2).coef
order = rng.permutation(len(y))
train, test = order[:60], order[60:]
X_train, X_test = X[train] / size, X[test] / size

# %%
# Each start is one fine-tuning scale per feature; training then ends at the least penalty.
shares = np.geomspace(1e-3, 2, 5)
readouts = (0.0, 0.1, 1.0)
held_out, refitted, first_order = np.empty((3, len(readouts), len(shares)))
for k, readout in enumerate(readouts):
    for j, share in enumerate(shares):
        scale = finetune_scale(source, 1e-4, share - 1, readout)
        fit = minimum_penalty(X_train, y[train], scale, leave_one_out=True)
        left_out = leave_one_out(X_train, y[train], scale, coef_start=fit.coef)
        held_out[k, j] = np.mean((y[test] - X_test @ fit.coef) ** 2)
        first_order[k, j] = np.mean(fit.loo_residual**2)
        refitted[k, j] = np.mean(left_out**2)

# %%
# Left, both axes have one scale. Right, how many times too large each estimate is.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for k, readout in enumerate(readouts):
    left.plot(refitted[k], held_out[k], "osD"[k], color=f"C{k}", label=f"γ = {readout:g}")
    for estimate, line, words in ((refitted, "-", "refitted"), (first_order, "--", "first order")):
        right.loglog(
            shares,
            estimate[k] / held_out[k],
            line,
            marker="osD"[k],
            color=f"C{k}",
            label=f"γ = {readout:g}, {words}",
        )
left.axline((0.11, 0.11), slope=1, color="0.5", lw=0.8)
left.text(0.1255, 0.1265, "equal", rotation=45, ha="center", va="center", color="0.35")
left.set(
    xlim=(0.098, 0.132),
    ylim=(0.098, 0.132),
    aspect="equal",
    xlabel="leave-one-out error, refitted",
    ylabel=f"error on {len(test)} held-out images",
    title="each dot is a start",
)
left.legend(loc="lower right")
right.axhline(1, color="0.5", lw=0.8)
right.set(
    xlabel="share of the source that the start keeps, 1 + λ",
    ylabel="estimate over held-out error",
    title="what each estimate says too much",
)
right.legend(ncols=2)
figure.suptitle(
    "Refitting is within a sixth of the held-out error; the first order is up to fourteenfold"
)
plt.show()
