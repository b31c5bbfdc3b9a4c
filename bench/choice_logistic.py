"""Which rule chooses the ridge of a classifier from few labels?

``python bench/choice_logistic.py [--draws 16] [--suite]`` prints tables in Markdown. The first
compares rules on nine kinds of samples by the log loss on 1000 other rows, over that of
scikit-learn's ``LogisticRegressionCV`` on standardised columns. Rules are leave-one-out, or folds
that are drawn once or more often; they take the ridge of least left-out loss, or the largest whose
loss is within a share of a standard error of it. With ``--suite`` the second compares
`FineTunedLogisticRegression` from scratch with the same rival on every pair of ``suite_advise.py``
that has classes. ``loo_`` is shown over the loss that is true.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections import defaultdict
from unittest.mock import patch

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

from retemper.linear import FineTunedLogisticRegression
from retemper.linear.logistic import choice
from retemper.linear.logistic.choice import Judge
from retemper.linear.logistic.path import LogisticPath, Start, log_loss_rows
from suite_advise import PAIRS

#: Rows, columns, classes, root mean square of the logits, decay of the columns.
SAMPLES = (
    (60, 20, 2, 2.0, 0.0), (60, 20, 2, 0.3, 0.0), (20, 10, 2, 2.0, 0.0), (25, 10, 5, 4.0, 0.0),
    (25, 50, 5, 4.0, 0.5), (50, 768, 2, 4.0, 0.7), (100, 10, 2, 3.0, 0.0), (30, 5, 3, 3.0, 0.0),
    (150, 40, 2, 8.0, 0.0),
)  # fmt: skip
#: Folds (0: single rows), how often they are drawn, and the share of a standard error.
RULES = [(0, 1, 0.0)] + [(5, r, s) for r in (1, 2, 4) for s in (0.0, 0.25, 0.5)] + [(10, 1, 0.25)]

#: Shares of a standard error that are compared on the suite.
SHARES = (0.0, 0.25, 0.5, 1.0)


def sample(rng, shape):
    """Rows to learn from, every class twice or more, and 1000 others."""
    n, d, k, signal, decay = shape
    size = np.arange(1.0, d + 1) ** -decay
    W = rng.normal(size=(k, d)) * signal / np.linalg.norm(size)
    while True:
        X = rng.normal(size=(n + 1000, d)) * size
        y = (X @ W.T + rng.gumbel(size=(n + 1000, k))).argmax(axis=1)
        if np.bincount(y[:n], minlength=k).min() >= 2:
            return X[:n], y[:n], X[n:], y[n:]


def folds(labels, many, rng):
    n = len(labels)
    order = rng.permutation(n)
    place = np.empty(n, np.intp)
    place[order[np.argsort(labels[order], kind="stable")]] = np.arange(n) % (many or n)
    return [(np.flatnonzero(place != f), np.flatnonzero(place == f)) for f in range(many or n)]


def rival_loss(X, y, new, labels):
    """Log loss of LogisticRegressionCV on the new rows."""
    cv = max(2, min(5, np.bincount(y).min()))
    rival = LogisticRegressionCV(
        cv=cv, scoring="neg_log_loss", l1_ratios=(0.0,), use_legacy_attributes=False, max_iter=1000
    ).fit(X, y)
    return -rival.predict_log_proba(new)[np.arange(len(labels)), labels].mean()


def compare_rules(draws):
    ratios, worst = defaultdict(list), defaultdict(float)
    for shape in SAMPLES:
        found = defaultdict(list)
        for draw in range(draws):
            rng = np.random.default_rng([draw, *(int(10 * v) for v in shape)])
            X, y, new, labels = sample(rng, shape)
            scale = StandardScaler().fit(X)
            X, new = scale.transform(X), scale.transform(new)
            path = LogisticPath(X, y, shape[2], np.full(len(y), 1.0 / len(y)))
            start, grid = Start(np.zeros((len(y), path.n_logits))), path.grid()
            true = []
            for ridge in grid:
                slopes, offset = path.coef(path.fit(start, ridge, tol=1e-6))
                true.append(log_loss_rows(new @ slopes.T + offset, labels).mean())
            found["best in hindsight"].append(min(true))
            found["LogisticRegressionCV"].append(rival_loss(X, y, new, labels))
            for many, repeats, share in RULES:
                judge = Judge(path, [s for _ in range(repeats) for s in folds(y, many, rng)])
                losses = judge.losses(start, grid)
                mean = losses.mean(axis=1)
                more = losses - losses[mean.argmin()]
                near = mean <= mean.min() + share * more.std(axis=1) / np.sqrt(len(y))
                name = f"{many or 'single rows'}, {repeats}, {share}"
                found[name].append(true[int(np.argmax(near))])
        theirs = np.array(found["LogisticRegressionCV"])
        for name, losses in found.items():
            ratios[name].append(np.mean(losses) / theirs.mean())
            worst[name] = max(worst[name], float((np.array(losses) / theirs).max()))
    print("| rule: folds, times, standard errors | mean ratio | largest mean | worst draw |")
    print("| --- | --- | --- | --- |")
    for name, ratio in ratios.items():
        mean = np.exp(np.mean(np.log(ratio)))
        print(f"| {name} | {mean:.3f} | {max(ratio):.2f} | {worst[name]:.2f} |")


def compare_on_suite(draws):
    """Shares of a standard error on the suite, by halves."""
    ratio, said = defaultdict(list), defaultdict(list)
    for pair in PAIRS:
        if pair.task != "classification":
            continue
        for seed in range(draws):
            trial = pair.draw(np.random.default_rng([*pair.name.encode(), seed]))
            classes, y = np.unique(trial.y, return_inverse=True)
            known = np.isin(trial.y_test, classes)
            labels = np.searchsorted(classes, trial.y_test[known])
            scale = StandardScaler().fit(trial.X)
            X, new = scale.transform(trial.X), scale.transform(trial.X_test[known])
            theirs = rival_loss(X, y, new, labels)
            for share in SHARES:
                with patch.object(choice, "_SAME", share):
                    model = FineTunedLogisticRegression().fit(X, y)
                ours = -model.predict_log_proba(new)[np.arange(len(labels)), labels].mean()
                ratio[pair.reports, share].append(ours / theirs)
                said[pair.reports, share].append(model.loo_ / ours)
    print(
        "\n| half | standard errors | calls | mean | median | largest | above 1.3 | loo over true |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (reports, share), found in ratio.items():
        print(
            f"| {'reports' if reports else 'sets'} | {share} | {len(found)} | "
            f"{np.exp(np.mean(np.log(found))):.3f} | {np.median(found):.3f} | {max(found):.2f} | "
            f"{np.mean(np.array(found) > 1.3):.1%} | {np.median(said[reports, share]):.2f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--suite", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.suite:
        compare_on_suite(max(2, asked.draws // 8))
    else:
        compare_rules(asked.draws)
