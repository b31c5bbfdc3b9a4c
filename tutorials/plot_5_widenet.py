"""
Wide networks: how tightly should I hold on to the source?
==========================================================

**Question.** A network with one hidden layer was trained on one task. You fine-tune it on another,
with few labels. Freeze the first layer, pull it gently, or start again? And if it helps: is that
knowledge, or would any fixed point have done?

The tasks are made of scikit-learn's digits. The source tells {0, 1, 4} from {2, 3, 5}. The target
tells {0, 1, 9} from {2, 3, 8}, from 60 images. The system is
:doc:`networks of finite width </systems/widenet>`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from retemper.exceptions import ValidityWarning
from retemper.widenet import FranzParisiClassifier

# %%
# Two tasks
# ---------

X, digit = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))


def task(rows, one, other):
    """Images of two groups of digits, and the group."""
    rows = rows[np.isin(digit[rows], one + other)]
    return X[rows], np.isin(digit[rows], one).astype(int)


X_source, y_source = task(order[:900], (0, 1, 4), (2, 3, 5))
X_all, y_all = task(order[900:], (0, 1, 9), (2, 3, 8))
X_few, y_few, X_rest, y_rest = X_all[:60], y_all[:60], X_all[60:], y_all[60:]

# %%
# One number: the coupling
# ------------------------
# The first layer is pulled towards the source's with a strength γ. At γ = 0 the source is
# forgotten. At γ = ∞ its features are frozen. No network is trained: the posterior of infinitely
# many trained networks is computed from kernels. γ is chosen by leave-one-out.
#
# The theory asks for at most two rows per dimension. Digits have fewer dimensions than that, and it
# says so. We read the numbers as a guide, and check them.

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = FranzParisiClassifier(width=100, source=(X_source, y_source)).fit(X_few, y_few)
print({str(w.message) for w in caught if issubclass(w.category, ValidityWarning)})
print("chosen coupling", model.gamma_)
print(model.verdict_)

# %%
# Knowledge, or regularisation?
# -----------------------------
# A pull towards *any* fixed point makes weights vary less, which alone can lower the error. The
# control is a random anchor: the same pull, towards a network that was never trained. Only what
# lies below the control is knowledge.

path = model.path_
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
place = np.arange(len(path.gamma))
ax.plot(place, path.loo_loss_rows.mean(axis=1), "o-", label="source")
ax.plot(place, path.control.loo_loss_rows.mean(axis=1), "s--", label="random anchor")
ax.set_xticks(place, [f"{g:g}".replace("inf", "∞") for g in path.gamma])
ax.set(xlabel="coupling", ylabel="leave-one-out loss")
ax.set_title("The gap between the lines is what the source knows")
ax.legend()
plt.show()

# %%
# Against held-out images
# -----------------------

for name, coupling in (("scratch", 0.0), ("chosen", model.gamma_), ("frozen", np.inf)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        fitted = FranzParisiClassifier(width=100, source=(X_source, y_source), gamma=coupling)
        fitted.fit(X_few, y_few)
    print(f"{name:8} accuracy {fitted.score(X_rest, y_rest):.3f}")

# %%
# Does width matter?
# ------------------
# At infinite width nothing is transferred but the regularisation. ``width_advice`` repeats the
# computation at other widths. Knowledge is what the source, ``loo``, gains over the random anchor,
# ``control``, each at its best coupling. It falls with the width.

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ValidityWarning)
    by_width = model.width_advice()
print(by_width.to_frame().round(3))

# %%
# Try next
# --------
# - Change one of the three digits of a group, then all. When does freezing begin to hurt?
# - Take 20 or 200 target images.
# - Every formula is derived in :doc:`/derivations/widenet`.
