"""Candidates of a regression from one path: left-out groups, and what they cost."""

import numpy as np
import pytest

import retemper
from retemper.advisor.linear_fits import GroupedPath
from retemper.linear import FineTunedLinearRegression
from retemper.linear.ridge.path import RidgePath


@pytest.mark.parametrize(("n", "d"), [(30, 4), (30, 29), (20, 45)])
@pytest.mark.parametrize("weighted", [False, True])
def test_left_out_groups_are_those_of_refits(n, d, weighted):
    rng = np.random.default_rng(n + d)
    X, y = rng.normal(size=(n, d)), rng.normal(size=(n, 2))
    group = np.sort(rng.integers(0, 6, size=n))
    group[-8:] = 99  # more rows than columns where d = 4
    group[:3] = -np.arange(3)  # rows that stand alone
    weight = rng.random(n) + 0.2 if weighted else np.ones(n)
    weight /= weight.mean()
    path = RidgePath(X, y, weight=weight if weighted else None)
    ridges = np.array([np.inf, 3.0, 0.05])
    left = GroupedPath.of(path, group).loo(ridges) / np.sqrt(weight)[:, None]
    for i, ridge in enumerate(ridges):
        for g in np.unique(group):
            out = group == g
            rest = weight[~out].sum() / n  # the sum of squares keeps its scale
            model = FineTunedLinearRegression(ridge=ridge / rest)
            model.fit(X[~out], y[~out], sample_weight=weight[~out])
            np.testing.assert_allclose(
                left[i, out], y[out] - model.predict(X[out]), rtol=1e-8, atol=1e-10
            )


def test_a_few_equal_rows_cost_no_fits(monkeypatch):
    """Copies were ten times as dear: every strength was fitted anew on folds of groups."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(60, 7)), rng.normal(size=7)
    y = X @ w + rng.normal(size=60)
    made = []
    plain = RidgePath._decompose
    monkeypatch.setattr(RidgePath, "_decompose", lambda path: (made.append(1), plain(path))[1])
    retemper.advise(X, y, sources={"s": w})
    alone = len(made)
    X[:3] = X[-3:]
    advice = retemper.advise(X, y, sources={"s": w})
    assert advice.settings["groups"] == 57
    assert len(made) - alone <= alone
