"""
Leave-one-out against held-out error over starts, digits
========================================================

Which start to take, with 60 images and 400 features? Every dot is a start. Its height is the error
on images that were not used. Leaving out one image at a time and refitting (dots) puts the starts
near the diagonal, so the smallest leave-one-out error names a good start without further data. The
first-order formula (crosses) costs nothing and is too pessimistic, up to tenfold where few features
carry the solution.

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
figure, ax = plt.subplots(layout="constrained")
for k, readout in enumerate((0.0, 0.1, 1.0)):
    first_order, refitted, held_out = [], [], []
    for share in np.geomspace(1e-3, 2, 5):
        scale = finetune_scale(source, 1e-4, share - 1, readout)
        fit = minimum_penalty(X_train, y[train], scale, leave_one_out=True)
        left_out = leave_one_out(X_train, y[train], scale, coef_start=fit.coef)
        held_out.append(np.mean((y[test] - X_test @ fit.coef) ** 2))
        first_order.append(np.mean(fit.loo_residual**2))
        refitted.append(np.mean(left_out**2))
    ax.loglog(refitted, held_out, "o-", color=f"C{k}", label=f"γ = {readout:g}, refitted")
    ax.loglog(first_order, held_out, "x:", color=f"C{k}", label=f"γ = {readout:g}, first order")
ax.axline((0.1, 0.1), (0.12, 0.12), color="0.6", lw=0.8)
ax.set(xlabel="leave-one-out error", ylabel=f"error on {len(test)} held-out images")
ax.legend()
plt.show()
