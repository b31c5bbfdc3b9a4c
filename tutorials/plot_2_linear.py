"""
Linear teachers: what is a source worth in labels?
==================================================

**Question.** You have labels for a few images and a linear model that was trained on other images.
How many labels does the model replace? Does the theory know it before you have them?

The rows are scikit-learn's 8 × 8 images of digits, and the label is +1 for even and -1 for odd. The
system is :doc:`linear teachers </systems/linear>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from retemper.datasets import digits_task, split_rows
from retemper.linear import (
    FineTunedLinearRegression,
    LinearModel,
    LinearTransferReport,
    compare,
    solve,
)

# %%
# Data and sources
# ----------------
# ``digits_task`` makes the contrast; 300 random features give a linear model something to do. Three
# sources: the same contrast learned on other images, a part of it, and the same with a wrong sign.
# Images stand in the table writer by writer, so our own hundred are every ninth of what is left.

task = digits_task(range(0, 10, 2), range(1, 10, 2), features="random")
old, new = split_rows(len(task.y), 900, random_state=0)
digit = load_digits().target[task.rows]
part = [row for row in old if digit[row] < 4]
sources = {
    "same contrast": Ridge(1.0).fit(task.X[old], task.y[old]),
    "digits 0 to 3": Ridge(1.0).fit(task.X[part], task.y[part]),
    "wrong sign": -Ridge(1.0).fit(task.X[old], task.y[old]).coef_,
}
few = new[::9]
rest = np.setdiff1d(new, few)
X, y = task.X[few], task.y[few]

# %%
# The report
# ----------
# One eigendecomposition of the rows gives the leave-one-out error of every source in every use, the
# gain with its interval, and the labels that the source saves.

report = LinearTransferReport(sources).fit(X, y)
print(report)

# %%
# Note the wrong sign. As it is, the source is useless, but the best factor is negative, and
# *rescaled* it is as good as the right one.
#
# The learning curves below come from the same 100 labels. The curve at 40 labels, say, is computed
# at the ridge that leaves as many degrees of freedom as 40 labels would. Nothing is trained again.
# Read horizontally: where the grey curve reaches the error of a coloured one, that many labels from
# scratch are worth the source.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(report.n_samples_, report.scratch_curve_, color="0.4", lw=3, label="scratch")
for k, name in enumerate(report.names_):
    ax.plot(report.n_samples_, report.learning_curve_[k], ls=["-", "--", ":"][k], label=name)
ax.set(xlabel="labels", ylabel="expected mean squared error", ylim=(0, 1.4))
ax.set_title("Curves below grey at 0 labels: the source already knows something")
ax.legend()
plt.show()

# %%
# Against held-out images
# -----------------------
# Leave-one-out is a promise about images that were not used. We hold it to its word. (Had we taken
# the first hundred images, by few writers, it would be broken: leave-one-out cannot know that rows
# hang together. ``groups=`` of :func:`retemper.advise` tells it.)

for name, source in {"scratch": None, **sources}.items():
    model = FineTunedLinearRegression(source=source, ridge="loo", source_scale="auto").fit(X, y)
    held_out = np.mean((model.predict(task.X[rest]) - task.y[rest]) ** 2)
    print(f"{name:15} leave-one-out {model.loo_:.3f}   held out {held_out:.3f}")

# %%
# The theory behind it
# --------------------
# In high dimension the risk depends on the rows through one number, the **effective ridge** κ. It
# says which differences between source and target cost most: those along directions whose variance
# is about κ. Let us build a small world with the spectrum of our images and put theory and
# experiment side by side. ``compare`` prints deviations in standard errors, ``z``. The theory is
# exact as rows and features grow together; a hundred rows are few, and the variance shows it.

spectrum = np.linalg.eigvalsh(np.cov(task.X[old].T))[::-1].clip(1e-6)
rng = np.random.default_rng(0)
teacher = rng.normal(size=spectrum.size) / np.sqrt(spectrum.sum())
model = LinearModel(
    100, teacher, spectrum=spectrum, source_coef=0.8 * teacher, noise=0.3, ridge=0.01
)
print(compare(model, n_repeats=100, random_state=0))
theory = solve(model)
print(f"effective ridge {theory.effective_ridge:.3f}, largest variance {spectrum[0]:.2f}")
print(f"risk {theory.risk:.3f}, from scratch {theory.risk_scratch:.3f}")

# %%
# Try next
# --------
# - Multiply the source by 3. What does ``source_scale="auto"`` choose?
# - Take ``depth=3`` in the model: a deep network rescales its source by itself.
# - Three times the rows and features: 300 rows, ``np.repeat(teacher, 3)`` and
#   ``np.repeat(spectrum, 3) / 3``. No deviation is then above two standard errors.
# - Every formula is derived in :doc:`/derivations/linear`.
