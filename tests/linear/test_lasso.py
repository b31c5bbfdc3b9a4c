"""Sparse change of a source: scikit-learn, optimality, the free scale, cross-validation."""

import math

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso, LassoCV, LinearRegression
from sklearn.model_selection import KFold, PredefinedSplit
from sklearn.neighbors import KNeighborsRegressor

from retemper.exceptions import ConvergenceWarning
from retemper.linear import FineTunedLasso, lasso


def sample(n=50, d=80, seed=0):
    rng = np.random.default_rng(seed)
    X, source = rng.normal(size=(n, d)) + 0.5, rng.normal(size=d) / np.sqrt(d)
    truth = source.copy()
    truth[[3, 11]] += [1.0, -2.0]
    return X, X @ truth + 1.0 + 0.1 * rng.normal(size=n), source


def fit(*args, **kwargs):
    kwargs.setdefault("tol", 1e-10)
    return lambda X, y, *weight: FineTunedLasso(*args, **kwargs).fit(X, y, *weight)


@pytest.mark.parametrize(("n", "d"), [(50, 80), (60, 8)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_is_the_lasso_on_the_residual_of_the_source(n, d, fit_intercept):
    X, y, source = sample(n, max(d, 12))
    weight = np.random.default_rng(1).uniform(0.3, 2.0, n)
    for scale in (1.0, -0.5):
        ours = fit(0.05, source, source_scale=scale, fit_intercept=fit_intercept)(X, y, weight)
        theirs = Lasso(0.05, tol=1e-10, max_iter=100_000, fit_intercept=fit_intercept)
        theirs.fit(X, y - scale * X @ source, weight)
        np.testing.assert_allclose(ours.change_, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(ours.coef_, scale * source + theirs.coef_, atol=1e-6)
        assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-6)
        assert np.count_nonzero(ours.change_) < len(source) or d < n
    scratch = fit(0.05)(X, y)
    np.testing.assert_allclose(
        scratch.coef_, Lasso(0.05, tol=1e-10, max_iter=100_000).fit(X, y).coef_, atol=1e-6
    )
    assert scratch.source_scale_ == 0.0


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_optimality_with_a_free_scale(fit_intercept):
    X, y, source = sample()
    weight = np.random.default_rng(1).uniform(0.3, 2.0, len(X))
    model = fit(0.1, source, source_scale="auto", fit_intercept=fit_intercept)(X, y, weight)
    error = weight / weight.sum() * (y - model.predict(X))
    pull, on = X.T @ error, model.change_ != 0.0
    assert 0 < on.sum() < 40
    np.testing.assert_allclose(pull[on], 0.1 * np.sign(model.change_[on]), atol=1e-6)
    assert np.abs(pull).max() <= 0.1 + 1e-6
    assert error @ (X @ source) == pytest.approx(0.0, abs=1e-10)
    if fit_intercept:
        assert error.sum() == pytest.approx(0.0, abs=1e-10)
    np.testing.assert_allclose(model.coef_, model.source_scale_ * source + model.change_)


def test_infinite_penalty_keeps_the_source():
    X, y, source = sample()
    kept = fit(math.inf, source, fit_intercept=False)(X, y)
    np.testing.assert_array_equal(kept.coef_, source)
    assert kept.intercept_ == 0.0
    shifted = fit(math.inf, source)(X, y)
    assert shifted.intercept_ == pytest.approx(np.mean(y - X @ source))
    free = fit(math.inf, source, source_scale="auto")(X, y)
    line = np.polyfit(X @ source, y, 1)
    np.testing.assert_allclose([free.source_scale_, free.intercept_], line, rtol=1e-9)
    model = fit(source=source)(X, y)
    assert fit(model.l1s_[0] * 1.0001, source)(X, y).change_.any() == 0
    assert fit(model.l1s_[0] * 0.999, source)(X, y).change_.any() == 1


def test_cross_validation_is_that_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(lasso, "_CV_TOL", 0.0)
    X, y, source = sample()
    folds = KFold(4, shuffle=True, random_state=3)
    ours = fit(source=source, cv=folds)(X, y)
    theirs = LassoCV(alphas=ours.l1s_, cv=folds, tol=1e-10, max_iter=100_000)
    theirs.fit(X, y - X @ source)
    assert ours.l1_ == pytest.approx(theirs.alpha_)
    sizes = [len(test) for _, test in folds.split(X)]
    curve = theirs.mse_path_ @ sizes / len(X)
    np.testing.assert_allclose(ours.cv_curve_, curve, rtol=1e-5)
    assert ours.cv_error_ == ours.cv_curve_.min()
    np.testing.assert_allclose(ours.change_, theirs.coef_, atol=1e-6)


@pytest.mark.parametrize("kind", ["splitter", "list", "masks"])
def test_given_folds_number_all_rows(kind):
    """Rows without weight stay in place: the same folds on the rows with weight give the same."""
    X, y, source = sample(60, 20)
    group = np.repeat(np.arange(6), 10)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 60)
    weight[[0, 1, 2, 15, 16, 30]] = 0.0
    y[weight == 0.0] += 100.0  # must neither train nor test
    kept = weight > 0.0
    folds = [(np.flatnonzero(group != g), np.flatnonzero(group == g)) for g in range(6)]
    place = np.cumsum(kept) - 1
    fewer = [tuple(place[rows[kept[rows]]] for rows in fold) for fold in folds]
    given = {
        "splitter": PredefinedSplit(group),
        "list": folds,
        "masks": [(group != g, group == g) for g in range(6)],
    }[kind]
    model = fit(source=source, cv=given)(X, y, weight)
    want = fit(source=source, cv=fewer)(X[kept], y[kept], weight[kept])
    np.testing.assert_allclose(model.cv_curve_, want.cv_curve_, rtol=1e-9)
    assert model.l1_ == pytest.approx(want.l1_, rel=1e-12)
    np.testing.assert_allclose(model.coef_, want.coef_, atol=1e-9)


def test_folds_of_a_number_are_those_of_the_rows_with_weight():
    X, y, source = sample()
    weight = np.ones(50)
    weight[:7] = 0.0
    model = fit(source=source, cv=4)(X, y, weight)
    want = fit(source=source, cv=4)(X[7:], y[7:])
    np.testing.assert_allclose(model.cv_curve_, want.cv_curve_, rtol=1e-9)


def test_folds_that_say_nothing_are_refused():
    X, y, _ = sample(10, 20)
    weight = np.r_[np.ones(5), np.zeros(5)]
    first, last = np.arange(5), np.arange(5, 10)
    with pytest.raises(ValueError, match="cv must leave a row with weight to train on"):
        fit(cv=[(last, first)])(X, y, weight)
    with pytest.raises(ValueError, match="cv must leave out a row with weight"):
        fit(cv=[(first, last)])(X, y, weight)
    with pytest.raises(ValueError, match="cv must number rows from 0 to 9"):
        fit(cv=[(first, [10])])(X, y)


def test_finds_a_sparse_change_and_a_scale():
    X, y, source = sample()
    model = fit(source=source)(X, y)
    assert set(np.argsort(-np.abs(model.change_))[:2]) == {3, 11}
    assert model.cv_error_ < 0.5 * fit()(X, y).cv_error_
    for factor in (-3.0, 0.01):
        free = fit(source=source / factor, source_scale="auto")(X, y)
        assert free.source_scale_ == pytest.approx(factor, rel=0.3)
    flat = fit(0.1, np.zeros(80), source_scale="auto")(X, y)
    np.testing.assert_allclose(flat.coef_, fit(0.1)(X, y).coef_, atol=1e-9)


def test_weights_are_repetitions_at_a_given_penalty():
    X, y, source = sample()
    times = np.random.default_rng(1).integers(0, 4, len(X))
    weighted = fit(0.05, source, source_scale="auto")(X, y, times)
    repeated = fit(0.05, source, source_scale="auto")(
        np.repeat(X, times, axis=0), np.repeat(y, times)
    )
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    assert weighted.intercept_ == pytest.approx(repeated.intercept_, abs=1e-6)


def test_kinds_of_source():
    X, y, _ = sample()
    linear = LinearRegression().fit(X[:20], y[:20])
    want = fit(0.05, linear)(X, y).predict(X)
    np.testing.assert_allclose(fit(0.05, linear.predict)(X, y).predict(X), want, atol=1e-8)
    near = KNeighborsRegressor().fit(X[:20], y[:20])
    kept = fit(math.inf, near, fit_intercept=False)(X, y)
    np.testing.assert_allclose(kept.predict(X), near.predict(X))
    assert clone(FineTunedLasso(source=near)).source is near
    chain = fit(math.inf, kept, fit_intercept=False)(X, y)
    np.testing.assert_allclose(chain.predict(X), near.predict(X))


def test_labels_that_the_source_explains():
    X, _, source = sample()
    model = fit(source=source)(X, X @ source)
    np.testing.assert_allclose(model.coef_, source, atol=1e-9)
    flat = fit()(X, np.full(len(X), 2.0))
    np.testing.assert_allclose(flat.predict(X), 2.0)


def test_too_few_sweeps_warn():
    X, y, source = sample()
    with pytest.warns(ConvergenceWarning, match=r"lasso at l1=0.001 .*residual"):
        fit(0.001, source, max_iter=1)(X, y)


@pytest.mark.parametrize(
    ("kwargs", "kind", "message"),
    [
        ({"l1": 0.0}, ValueError, "l1 must lie in"),
        ({"l1": "loo"}, ValueError, r"l1 must be a number in .* or 'cv'"),
        ({"source_scale": "cv"}, ValueError, "source_scale must be a number or 'auto'"),
        ({"fit_intercept": "yes"}, TypeError, "fit_intercept must be"),
        ({"cv": 1}, ValueError, "cv must be at least 2"),
        ({"max_iter": 0.5}, TypeError, "max_iter must be an integer"),
        ({"tol": -1.0}, ValueError, "tol must lie in"),
        ({"source": np.ones(3)}, ValueError, "source must have shape"),
    ],
)
def test_bad_arguments(kwargs, kind, message):
    X, y, _ = sample()
    with pytest.raises(kind, match=message):
        FineTunedLasso(**kwargs).fit(X, y)
