"""Ridges that are tried follow the spectrum: columns in different units, ends of the grid."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retemper.exceptions import ValidityWarning
from retemper.linear import (
    FineTunedLasso,
    FineTunedLinearRegression,
    FineTunedLogisticRegression,
    LinearTransferReport,
)
from retemper.linear.logistic.path import LogisticPath
from retemper.linear.ridge.path import RidgePath


def four_columns(factor, seed=0):
    """Sixty rows of four columns, the last useless and in another unit."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 4))
    y = X @ [1.0, -2.0, 3.0, 0.0] + 0.1 * rng.normal(size=60)
    return X * [1.0, 1.0, 1.0, factor], y, rng.normal(size=4)


def houses(rng, n):
    """Income in euros, rooms, age, latitude, people per home, and a price."""
    income = rng.lognormal(10.4, 0.4, n)
    rooms = 2.0 + 6e-5 * income + 0.8 * rng.normal(size=n)
    age, north, people = rng.uniform(0, 60, n), rng.normal(48, 0.5, n), rng.gamma(9, 0.33, n)
    price = 8e-5 * income + 0.4 * rooms - 0.012 * age - 0.9 * (north - 48) - 0.25 * people
    X = np.column_stack([income, rooms, age, north, people])
    return X, price + 0.5 * rng.normal(size=n)


@pytest.mark.parametrize("factor", [1e4, 1e6])
@pytest.mark.parametrize("criterion", ["loo", "gcv"])
def test_a_useless_column_in_another_unit_costs_nothing(factor, criterion):
    X, y, _ = four_columns(factor)
    model = FineTunedLinearRegression(ridge=criterion).fit(X, y)
    assert model.loo_ == pytest.approx(0.0127, abs=5e-5)
    plain = FineTunedLinearRegression(ridge=criterion).fit(*four_columns(1.0)[:2])
    assert getattr(model, f"{criterion}_") <= getattr(plain, f"{criterion}_") * 1.001


@pytest.mark.parametrize("seed", range(6))
def test_a_source_of_noise_is_not_advised_for_a_column_in_another_unit(seed):
    X, y, noise = four_columns(1e4, seed)
    report = LinearTransferReport(noise).fit(X, y)
    assert report.recommendation_ == "scratch"
    assert abs(report.relative_gain_[0]) < 1e-3


def test_columns_of_houses_are_as_good_as_scaled_ones():
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        (X, y), (rows, labels) = houses(rng, 70), houses(rng, 4000)
        scaled = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 25)))
        models = FineTunedLinearRegression(), scaled
        errors.append([np.mean((m.fit(X, y).predict(rows) - labels) ** 2) for m in models])
    ours, theirs = np.transpose(errors)
    assert ours.mean() <= 1.03 * theirs.mean()
    assert (ours <= 1.06 * theirs).all()


@pytest.mark.parametrize(("n", "d"), [(30, 4), (30, 29), (30, 30), (12, 40)])
def test_ends_of_the_grid_are_both_limits(n, d):
    """At the last positive ridge every direction is fitted to a tenth; then comes zero."""
    rng = np.random.default_rng(n + d)
    X = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-4, 4, d)
    path = RidgePath(X, rng.normal(size=(n, 1)))
    grid = path.grid()
    assert np.isinf(grid[0])
    assert grid[-1] == 0.0
    assert (np.diff(grid) < 0.0).all()
    assert grid[1] == pytest.approx(10.0 * path.eigenvalues.sum())
    assert 0.05 * path.eigenvalues[0] < grid[-2] or grid[-2] == pytest.approx(
        1e-3 * path.eigenvalues.sum() / n
    )
    assert grid[-2] <= 0.1 * path.eigenvalues[0] * (1 + 1e-9)
    steps = -np.diff(np.log10(grid[1:-1]))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert steps[0] <= 0.25


def test_directions_made_by_rounding_are_not_reached():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) + 1e6
    X = np.column_stack([X, X[:, 0] / 3.0 + X[:, 1] / 7.0])
    path = RidgePath(X, rng.normal(size=(40, 1)))
    assert path.rank == 4
    assert path.eigenvalues[0] < 1e-15
    assert path.grid()[-1] == pytest.approx(1e-3 * path.eigenvalues.sum() / 40)
    small = RidgePath(X * [1.0, 1.0, 1e-4, 1.0], rng.normal(size=(40, 1)))
    assert small.rank == 4
    assert 0.05 * small.eigenvalues[1] < small.grid()[-1] <= 0.1 * small.eigenvalues[1]


def test_repeated_rows_leave_an_open_end_that_is_said():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(20, 30))
    y = X @ rng.normal(size=30)
    twice = np.vstack([X, X])
    assert 0.0 not in RidgePath(twice, np.tile(y, 2)[:, None]).grid()
    with pytest.warns(ValidityWarning, match="smallest that was tried"):
        FineTunedLinearRegression().fit(twice, np.tile(y, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ValidityWarning)
        FineTunedLinearRegression().fit(X, y + rng.normal(size=20))


def classes(n_classes, seed):
    """Rows of four columns, the last useless; 120 to learn from and 2000 to judge."""
    rng = np.random.default_rng(seed)
    weights = 1.5 * rng.normal(size=(4, n_classes))
    weights[3] = 0.0
    X = rng.normal(size=(2120, 4))
    y = (X @ weights + rng.gumbel(size=(2120, n_classes))).argmax(axis=1)
    return X, y


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("factor", [1e4, 1e6])
def test_classes_with_a_useless_column_in_another_unit(n_classes, factor):
    losses = []
    for seed in range(3):
        X, y = classes(n_classes, seed)
        for rows in (X, X * [1.0, 1.0, 1.0, factor]):
            model = FineTunedLogisticRegression().fit(rows[:120], y[:120])
            assert 0.0 < model.ridge_ < 0.1
            losses.append(log_loss(y[120:], model.predict_proba(rows[120:])))
    plain, other = np.reshape(losses, (-1, 2)).mean(axis=0)
    assert other < 1.02 * plain


def test_ridges_of_classes_reach_the_smallest_eigenvalue():
    X, y = classes(2, 0)
    weight = np.full(120, 1.0 / 120)
    for factor, longer in ((1.0, False), (1e4, True)):
        path = LogisticPath(X[:120] * [1.0, 1.0, 1.0, factor], y[:120], 2, weight)
        grid, today = path.grid(), 1e-5 * path.trace / 120
        assert (np.diff(grid) < 0.0).all()
        assert (grid[-1] < 0.99 * today) == longer
        assert grid[-1] <= max(1e-3 * path.design.eigenvalues[0], today) * (1 + 1e-9)
        assert np.isclose(grid, today).any()


def test_separated_classes_say_that_the_ridge_is_the_smallest():
    X = np.r_[np.linspace(-2.0, -1.0, 10), np.linspace(1.0, 2.0, 10)][:, None]
    with pytest.warns(ValidityWarning, match="smallest that was tried"):
        FineTunedLogisticRegression().fit(X, X[:, 0] > 0.0)


@pytest.mark.parametrize("criterion", ["loo", "gcv"])
@pytest.mark.parametrize("shift", [0.0, 6.0])
def test_a_source_that_slopes_hold_has_no_scale_at_ridge_zero(criterion, shift):
    X, y, _ = four_columns(1e4)
    source = (np.array([1.0, 1.0, 0.0, 1e-5]), 0.3)
    for ridge in (criterion, 0.0):
        model = FineTunedLinearRegression(ridge=ridge, source=source, source_scale="auto")
        model.fit(X + shift, y)
        assert abs(model.source_scale_) < 10.0
        least = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), y)[0]
        wanted = X @ least[:4] + least[4]
        np.testing.assert_allclose(model.predict(X + shift), wanted, atol=0.05)


@pytest.mark.parametrize("factor", [1e2, 1e4, 1e6])
def test_sparse_changes_with_a_useless_column_in_another_unit(factor):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1060, 4))
    y = X @ [1.0, -2.0, 3.0, 0.0] + 0.1 * rng.normal(size=1060)
    rows = X * [1.0, 1.0, 1.0, factor]
    plain, other = (FineTunedLasso().fit(Z[:60], y[:60]) for Z in (X, rows))
    assert other.l1_ > other.l1s_[-1]
    errors = [np.mean((m.predict(Z[60:]) - y[60:]) ** 2) for m, Z in ((plain, X), (other, rows))]
    assert errors[1] < 1.05 * errors[0]


def test_penalties_go_on_where_the_last_is_the_best():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = X @ [1.0, -2.0, 3.0, 0.5] + 1e-4 * rng.normal(size=60)
    model = FineTunedLasso().fit(X, y)
    steps = -np.diff(np.log10(model.l1s_))
    np.testing.assert_allclose(steps, 3.0 / 59, rtol=1e-6)
    assert model.l1s_[-1] < 2e-4 * model.l1s_[0]
    assert model.cv_curve_.shape == model.l1s_.shape
    assert model.cv_error_ < 0.1 * model.cv_curve_[59]
