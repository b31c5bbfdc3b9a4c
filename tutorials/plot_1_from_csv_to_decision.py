"""
From CSV to decision
====================

**Question.** A hospital has measured 25 of its own patients. Many patients of another kind were
measured elsewhere. Should the hospital learn from its own patients alone, use a model of the others
as it is, or start from that model and adapt it?

**What goes in:** two CSV files with the same columns. **What comes out:** the error of every
choice, what to do, and a fitted model that does it.

The patients are those of scikit-learn's diabetes table: ten measurements, and a score of how far
the disease went within a year. One sex plays the hospital's own patients, the other sex the others.
"""

import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import retemper
from retemper.datasets import read_table

# %%
# Two tables
# ----------
# We write the files that you would have. The column ``progression`` holds the labels.
# The column ``sex`` is left out: it is the same for all rows of a table.

table = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
others = table[table["sex"] == 2].drop(columns="sex")
own = table[table["sex"] == 1].drop(columns="sex").sample(frac=1, random_state=0)

folder = Path(tempfile.mkdtemp())
others.to_csv(folder / "elsewhere.csv", index=False)
own[:25].to_csv(folder / "mine.csv", index=False)
print((folder / "mine.csv").read_text()[:190])

# %%
# From the command line
# ---------------------
# One command reads the tables, trains a model on every source table, and judges it on the last one:
#
# .. code-block:: bash
#
#    retemper advise elsewhere.csv mine.csv --label progression --budget 200 --out advice.html
#
# Here is the same from Python. ``read_table`` checks the file and names what it does not
# understand. A pair of rows and labels is a source: a model is trained on it.

X, y = read_table(folder / "mine.csv", "progression")
X_other, y_other = read_table(folder / "elsewhere.csv", "progression")
advice = retemper.advise(X, y, sources={"elsewhere": (X_other, y_other)}, budget=200)
print(advice)

# %%
# Reading the advice
# ------------------
# The first line is the answer. The table below it has a row for training from scratch and one for
# every source. *Predicted* is the error on new patients, with an interval, from leave-one-out.
# *Held out* is the same from splits in which every choice was made anew. *Gain* is the error from
# scratch minus the error with the source: positive helps. *Better* is the probability that the
# source beats scratch.
#
# Few labels rarely prove anything. The verdict is then "undecided", and the estimator averages the
# choices that the sample cannot tell apart.

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
advice.plot(ax=ax)
plt.show()

# %%
# Was it right?
# -------------
# One sample of 25 is luck. We draw 25 patients ten times, and judge every choice on the patients
# that were not drawn: own patients alone, the others' model as it is, and what is advised.

ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 25)))
elsewhere = clone(ridge).fit(X_other, y_other)
errors = []
for seed in range(10):
    order = np.random.default_rng(seed).permutation(len(own))
    drawn, rest = own.iloc[order[:25]], own.iloc[order[25:]]
    X_new, y_new = rest.drop(columns="progression"), rest["progression"]
    few = drawn.drop(columns="progression"), drawn["progression"]
    advised = retemper.advise(*few, sources={"elsewhere": elsewhere}).estimator_
    models = clone(ridge).fit(*few), elsewhere, advised
    errors.append([np.mean((model.predict(X_new) - y_new) ** 2) for model in models])
for name, mean in zip(
    ("own alone", "others' model", "as advised"), np.mean(errors, 0), strict=True
):
    print(f"{name:14} {mean:6.0f}")

# %%
# Ship it
# -------
# ``estimator_`` is a scikit-learn estimator. Save it, load it, predict. ``to_html`` writes the
# whole advice as one page without scripts.

joblib.dump(advice.estimator_, folder / "model.joblib")
model = joblib.load(folder / "model.joblib")
advice.to_html(folder / "advice.html")
print(model.predict(X_new[:3]).round(), sorted(p.name for p in folder.iterdir()))

# %%
# Try next
# --------
# - Give 10 or 100 patients instead of 25. When does the verdict change?
# - Pass several sources: ``sources={"all": ..., "the young": ...}``.
# - Ask how many labels an error needs: ``advise(..., target_error=3000)``.
#
# How the decision is made, and how often it is right, stands in
# :doc:`Should I start from this source? </advise>`.
