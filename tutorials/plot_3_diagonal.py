"""
Diagonal networks: reuse, select or discover?
=============================================

**Question.** A network was trained on a big task. Before you fine-tune it on a small one you may
reset its read-out, shrink its first layer, or leave it. Which start gives the smallest error, and
what will the network do with the old features?

The big task is even against odd digits. The small one is {0, 2} against {1, 3}, from 40 images. The
system is :doc:`diagonal linear networks </systems/diagonal>`, the smallest networks in which the
question makes sense: each feature has one weight in the first layer and one in the second.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV

from retemper.datasets import digits_task, split_rows
from retemper.diagonal import DiagonalNetworkRegressor, finetune_scale, penalty, recommend

# %%
# Data and source
# ---------------
# The source sees 900 images. Ours are among the others: a source that has seen our images would
# look better than it is.

old = digits_task(range(0, 10, 2), range(1, 10, 2), features="random")
new = digits_task((0, 2), (1, 3), features="random")
theirs, ours = split_rows(len(old.y), 900, random_state=0)
source = RidgeCV(np.logspace(-3, 3, 13)).fit(old.X[theirs], old.y[theirs])
own = np.flatnonzero(np.isin(new.rows, old.rows[ours]))
few, rest = np.split(np.random.default_rng(0).permutation(own), [40])
X, y, X_rest, y_rest = new.X[few], new.y[few], new.X[rest], new.y[rest]

# %%
# One number per feature
# ----------------------
# Fine-tuning fits all labels and, among all fits, takes the one of smallest penalty. The penalty
# has one number for each feature, its **scale**. A large scale makes the penalty a parabola: the
# feature is cheap to use, and many are used a little. A small scale makes it a cusp: few features
# are used. The start decides the scales, and nothing else.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
beta = np.linspace(-1, 1, 201)
for scale, style in ((1e-4, "-"), (1e-2, "--"), (1.0, ":")):
    curve = penalty(beta, scale)
    left.plot(beta, curve / curve.max(), style, label=f"scale {scale:g}")
left.set(xlabel="coefficient", ylabel="penalty over its largest value", title="Cusp or parabola")
left.legend()
size = np.linspace(0, 2, 101)
for balance, style in ((-0.9, "-"), (0.0, "--"), (0.9, ":")):
    right.plot(size, finetune_scale(size, 1e-3, balance), style, label=f"balance {balance:g}")
right.set(xlabel="coefficient of the source", ylabel="scale when fine-tuning starts")
right.set_title("What the source knew is cheap to use")
right.legend()
plt.show()

# %%
# Let the data choose
# -------------------
# :func:`retemper.diagonal.recommend` fits a grid of starts and judges each by leave-one-out: it
# refits without each row.

advice = recommend(X, y, source, init_scales=(1e-3,))
print("best start", {name: float(value) for name, value in advice.best.items() if name != "mode"})
print(f"left out: best start {advice.loo:.3f}, scratch {advice.scratch_loo:.3f}")

# %%
# Fit it, and look at images that were not used. ``regime_`` says what every feature did: I is rich
# and blind to the source, II lazy and tied to it, III lazy and blind to it, IV rich and tied to it.

model = DiagonalNetworkRegressor(source=source, **advice.best).fit(X, y)
print("held out:", round(float(np.mean((model.predict(X_rest) - y_rest) ** 2)), 3))
print({name: int(np.sum(model.regime_ == name)) for name in ("I", "II", "III", "IV")})

# %%
# How much does the start matter?
# -------------------------------
# The same source and labels, three starts, and scratch. The order of the penalty says how a start
# spreads its coefficients: 1 takes few features, as the lasso, and 2 takes all a little, as ridge.
# Where left out and held out name different starts, forty images were too few to tell them apart.

starts = {
    "scratch": {"source": None},
    "shrunken first layer": {"source": source, "balance": -0.99, "readout_scale": 0.0},
    "kept": {"source": source, "balance": 0.0, "readout_scale": 0.0},
    "large read-out": {"source": source, "balance": 0.0, "readout_scale": 10.0},
}
for name, start in starts.items():
    fitted = DiagonalNetworkRegressor(init_scale=1e-3, **start).fit(X, y)
    held_out = np.mean((fitted.predict(X_rest) - y_rest) ** 2)
    print(f"{name:22} left out {fitted.loo_:.3f}   held out {held_out:.3f}", end="   ")
    print(f"order of the penalty {fitted.l_order_.mean():.2f}")

# %%
# Try next
# --------
# - Exchange the tasks: fine-tune on even against odd, from {0, 2} against {1, 3}.
# - Read the regime of a procedure of your own with ``probe_regime``.
# - Every formula is derived in :doc:`/derivations/diagonal`.
