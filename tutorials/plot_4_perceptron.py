"""
Margin perceptron: learning from rows without labels
====================================================

**Question.** You have hundreds of rows and one label for each class. Can the rows without labels
say where to cut? When does theory promise it, and should you believe the promise here?

The rows are scikit-learn's table of breast tumours: 30 measurements, malignant or benign. The
system is the :doc:`margin perceptron </systems/perceptron>`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retemper.exceptions import ConvergenceWarning
from retemper.perceptron import (
    MarginPerceptronClassifier,
    PerceptronModel,
    labels_to_leave,
    solve,
    transitions,
)

# %%
# Hide the labels
# ---------------
# The classifier takes scikit-learn's convention: a label of -1 means that there is none.

X, y = load_breast_cancer(return_X_y=True)
rng = np.random.default_rng(0)


def hide(n_per_class, rng):
    """All labels but a few of each class are hidden."""
    shown = np.concatenate([rng.choice(np.flatnonzero(y == c), n_per_class, False) for c in (0, 1)])
    hidden = np.full(len(y), -1)
    hidden[shown] = y[shown]
    return hidden, shown


# %%
# The idea is a margin: between two classes there is a gap with few rows. Rows without labels show
# where the gap is. A label then says which side is which.

hidden, shown = hide(1, rng)
model = MarginPerceptronClassifier().fit(X, hidden)
found = model.decision_function(X)

figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
bins = np.linspace(found.min(), found.max(), 50)
for c, name in enumerate(("malignant", "benign")):
    ax.hist(found[y == c], bins, alpha=0.6, label=name)
ax.axvline(0, color="0.3", lw=1)
ax.set(xlabel="log-odds given by the classifier", ylabel="rows")
ax.set_title("Two labels in all, and the classes come apart at zero")
ax.legend()
plt.show()

# %%
# Against a classifier that sees labels only
# ------------------------------------------
# Accuracy on rows whose label was hidden, over ten draws of the labelled rows. On a few draws the
# iteration ends before its tolerance and warns; its answer is counted all the same.

warnings.simplefilter("ignore", ConvergenceWarning)

for n_labels in (1, 5, 20):
    scores = []
    for seed in range(10):
        hidden, shown = hide(n_labels, np.random.default_rng(seed))
        others = np.setdiff1d(np.arange(len(y)), shown)
        margin = MarginPerceptronClassifier().fit(X, hidden)
        logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[shown], y[shown])
        scores.append([m.score(X[others], y[others]) for m in (margin, logistic)])
    mean = np.mean(scores, axis=0)
    print(f"{n_labels:2} labels per class: margin {mean[0]:.3f}   logistic {mean[1]:.3f}")

# %%
# Unlabelled rows carry the first labels. Later labels speak for themselves, and logistic regression
# overtakes: it may cut anywhere, not just at the gap.
#
# What theory promises
# --------------------
# If rows were Gaussian but for one gap of half-width κ, everything could be computed. With few rows
# the direction cannot be found at all. With more it is found a little, then, at one point, nearly
# exactly. Between two thresholds lies a *hard phase*: the answer is in the data, and fast
# algorithms miss it. A few labels remove it.

thresholds = transitions(0.5)
print(f"rows per feature: detectable from {thresholds.alpha_c:.2f},")
print(f"best answer in the data from {thresholds.alpha_it:.2f},")
print(f"found by fast algorithms from {thresholds.alpha_alg:.2f}")
for alpha_l in (0.0, 0.05, 0.1):
    theory = solve(PerceptronModel(0.5, 4.0, alpha_l))
    print(f"{alpha_l:4} labels per feature: error {100 * theory.error_margin:5.2f} %")
print(f"enough to leave the poor branch: {labels_to_leave(0.5, 4.0):.4f}")

# %%
# Should we believe it here?
# --------------------------
# ``report_`` tests the theory's assumption on the table itself. It is rejected, as on most real
# tables: columns hang together in more than one direction. The classifier is useful here. Its
# predicted errors are not.

print(model.report_)

# %%
# Try next
# --------
# - ``fine_tune(X, y, mode="sign")``: keep the direction, let labels choose the side alone.
# - Two digits of ``load_digits`` in the place of the tumours.
# - Every formula is derived in :doc:`/derivations/perceptron`.
