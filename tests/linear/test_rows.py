"""Rows of several classes of noise, scale and weight: identities, the best weights, experiments."""

import dataclasses
import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import retemper
from retemper.linear import curve, hidden_columns_model, simulate, solve
from retemper.linear.rows import class_roots, row_classes

from . import portable
from .models import check_experiments, wide_model

CLASSES = {
    "row_shares": [0.25, 0.5, 0.25],
    "row_noise": [1.0, 3.0, 0.5],
    "row_scale": [1.0, 0.5, 2.0],
    "row_weight": [1.0, 0.3, 2.0],
}
model = partial(wide_model, **CLASSES)
NAMES = (
    "risk", "bias", "variance", "effective_ridge", "df1", "df2", "risk_scratch", "risk_optimal",
    "risk_bound",
)  # fmt: skip


def plain(**changes):
    return wide_model(**changes)


@pytest.mark.parametrize("n", [0, 80, 200, 400])
@pytest.mark.parametrize("ridge", [0.0, 0.05, 30.0])
@pytest.mark.parametrize("depth", [1, 3])
def test_classes_that_are_alike_are_one(n, ridge, depth):
    given = {"n_samples": n, "ridge": ridge, "depth": depth}
    one = solve(plain(**given), on_failure="ignore")
    many = solve(plain(row_shares=[0.2, 0.8], row_weight=[7.0, 7.0], **given), on_failure="ignore")
    for name in (*NAMES, "source_scale"):
        close = pytest.approx(getattr(one, name), rel=1e-12 if depth == 1 else 1e-9)
        assert getattr(many, name) == close, name


def test_one_class_is_a_change_of_units():
    """Rows times s and noise times r: the covariance times s², and the risk back in old units."""
    s, r = 1.7, 0.6
    one = solve(plain(ridge=0.05, row_shares=[1.0], row_scale=[s], row_noise=[r]))
    other = plain(ridge=0.05)
    other = dataclasses.replace(other, spectrum=s**2 * other.spectrum, noise=r * other.noise)
    assert one.risk == pytest.approx(solve(other).risk / s**2, rel=1e-12)


@pytest.mark.parametrize("change", [{"row_weight": [1.0, 0.0]}, {"row_scale": [1.0, 0.0]}])
@pytest.mark.parametrize("n", [80, 400])
def test_rows_without_weight_or_inputs_are_not_there(change, n):
    with_them = plain(n_samples=n, row_shares=[0.75, 0.25], ridge=0.06, **change)
    # weights are of mean one, so that those of the others are 4/3; zero rows count in 1/n
    ridge = 0.06 if "row_weight" in change else 0.08
    without = plain(n_samples=3 * n // 4, ridge=ridge)
    assert solve(with_them).risk == pytest.approx(solve(without).risk, rel=1e-11)


def test_the_two_equations():
    one = model()
    rows = row_classes(one)
    n, ridge = np.array([30.0, 80.0, 400.0, 400.0]), np.array([1e-9, 0.05, 0.05, 40.0])
    found = class_roots(one.spectrum, n, ridge, rows, 1)
    # of the definition: q = tr[Sigma (g Sigma + ridge)^-1] / n, g = sum of share size/(1+size q)
    for k in range(4):
        g = ridge[k] / found.effective_ridge[k]
        q = (one.spectrum / (g * one.spectrum + ridge[k])).sum() / n[k]
        assert rows.share @ (rows.size / (1.0 + rows.size * q)) == pytest.approx(g, rel=1e-9)
    assert (found.residual < 1e-12).all()
    assert (found.share < 1.0).all()


def test_blocks_change_nothing(monkeypatch):
    axes = {"n_samples": [50, 300], "ridge": [0.0, 0.1]}
    whole = curve(model(), axes)["risk"]
    monkeypatch.setattr("retemper.linear.rows._BLOCK", 100)
    assert (curve(model(), axes)["risk"] == whole).all()


def test_a_small_ridge_is_none():
    for n in (80, 400):
        none, small = (solve(model(n_samples=n, ridge=r)) for r in (0.0, 1e-10))
        assert small.risk == pytest.approx(none.risk, rel=1e-6)


def test_fitted_rows_have_no_weights():
    """Fewer rows than features and no ridge: every row is fitted, whatever its weight."""
    one, other = (solve(model(row_weight=w)).risk for w in ([1, 1, 1], [5.0, 0.1, 1.0]))
    assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("n", [80, 400])
def test_the_best_weights_are_inverse_variances(n):
    """With the ridge of the posterior mean; isotropic, so that the posterior knows all there is."""
    noise = np.array([1.0, 3.0, 0.5])
    given = {"n_samples": n, "spectrum": np.ones(200), "row_shares": [0.25, 0.5, 0.25]}
    best = plain(row_noise=noise, row_weight=1.0 / noise**2, ridge="optimal", **given)
    found = solve(best)
    gap = best.theta_target - best.source_coef
    mean = (best.row_shares / noise**2).sum()
    expected = 200 * best.noise**2 / (mean * n * gap @ gap)
    assert found.used_ridge == pytest.approx(expected, rel=1e-5)
    for a, factor in itertools.product(range(3), (0.8, 1.25)):
        weight = 1.0 / noise**2
        weight[a] *= factor
        assert solve(dataclasses.replace(best, row_weight=weight)).risk > found.risk
    flat = solve(dataclasses.replace(best, row_weight=None))
    assert flat.risk > found.risk * 1.05


def test_what_a_row_takes_on_of_its_label_at_the_best_weights():
    """At the best weights and ridge the shares p are as 1 / (noise² + risk), for any spectrum."""
    base = plain(n_samples=100, row_shares=[0.5, 0.5], row_noise=[1.0, 4.0], ridge="optimal")

    def at(log_weight):
        return dataclasses.replace(base, row_weight=[1.0, math.exp(log_weight)])

    best = at(minimize_scalar(lambda x: solve(at(x)).risk, bracket=(-4.0, -2.5, -1.0)).x)
    found = solve(best)
    part = row_classes(best).size * found.effective_ridge * found.df1 / (100 * found.used_ridge)
    held = part / (1.0 + part)
    total = 0.09 * np.array([1.0, 16.0]) + found.risk
    assert held[0] / held[1] == pytest.approx(total[1] / total[0], rel=1e-4)


def test_many_rows():
    """Weighted least squares: risk tr(Sigma C) of the sandwich covariance C, over n."""
    one = model(n_samples=10**8, row_scale=None)
    noise, weight = np.array(CLASSES["row_noise"]), np.array(CLASSES["row_weight"])
    share = np.array(CLASSES["row_shares"])
    per = (share @ (weight * noise) ** 2) / (share @ weight) ** 2
    assert solve(one).risk == pytest.approx(200 * 0.09 * per / 1e8, rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"ridge": 0.05}, {"n_samples": 400}, {"n_samples": 400, "ridge": 0.3}, {},
        {"ridge": 0.05, "source_coef": None, "n_samples_source": 300, "noise_source": 0.3,
         "theta_source": portable.combine(portable.SRC, 200)},
    ],
)  # fmt: skip
def test_experiments(change):
    check_experiments(model(**change), slack=0.02, n_repeats=60)


@pytest.mark.parametrize("change", [{}, {"n_samples": 400}, {"ridge": 0.1, "depth": 5}])
def test_deep_networks(change):
    check_experiments(model(**{"depth": 3, **change}), slack=0.03, n_repeats=60)


TIMED = ("risk", "bias", "variance", "training_error", "risk_scratch", "risk_optimal")


@pytest.mark.parametrize("n", [80, 400])
def test_training_that_stops(n):
    """Classes that are alike are one at every time; the end of time is the end of training."""
    for t in (0.0, 0.3, 3.0, 100.0):
        one = solve(plain(n_samples=n, stop_time=t))
        many = solve(plain(n_samples=n, stop_time=t, row_shares=[0.3, 0.7]))
        for name in TIMED:
            assert getattr(many, name) == pytest.approx(getattr(one, name), rel=1e-11), (t, name)
    late, end = (solve(model(n_samples=n, stop_time=t)) for t in (1e8, math.inf))
    for name in TIMED:
        close = pytest.approx(getattr(end, name), rel=1e-8, abs=1e-14)
        assert getattr(late, name) == close, name


def test_time_of_a_class_of_its_own_size():
    """Rows times s: the covariance times s², and time over s² where units are s = 1."""
    s, r = 1.7, 0.6
    one = solve(plain(stop_time=2.0, row_shares=[1.0], row_scale=[s], row_noise=[r]))
    other = plain(stop_time=2.0)
    other = dataclasses.replace(other, spectrum=s**2 * other.spectrum, noise=r * other.noise)
    assert one.risk == pytest.approx(solve(other).risk / s**2, rel=1e-11)
    assert one.training_error == pytest.approx(solve(other).training_error, rel=1e-11)


@pytest.mark.parametrize("change", [{}, {"n_samples": 400}, {"row_scale": [1.0, 0.0, 2.0]}])
def test_experiments_that_stop(change):
    check_experiments(model(stop_time=3.0, **change), slack=0.02, n_repeats=60, random_state=2)


def test_degrees_of_freedom_of_an_experiment():
    one = model(n_samples=120, ridge=0.1)
    theory, drawn = solve(one), simulate(one, n_repeats=40, random_state=0)
    for name in ("df1", "df2", "effective_ridge"):
        assert getattr(drawn, name) == pytest.approx(getattr(theory, name), rel=0.02), name


def test_a_curve_and_derivatives():
    axes = {"n_samples": [0, 50, 300], "row_weight": [[1, 1, 1], [1, 0.1, 4]], "ridge": [0.0, 0.1]}
    sweep = curve(model(), axes)
    one = model(n_samples=300, row_weight=[1, 0.1, 4], ridge=0.1)
    assert sweep["risk"][2, 1, 1] == pytest.approx(solve(one).risk, rel=1e-12)
    slope = retemper.derivatives(one, ["row_noise"], "risk")
    assert (np.asarray(slope["risk", "row_noise"]) > 0.0).all()


def test_bad_input():
    with pytest.raises(ValueError, match=r"row_shares must add up to 1, got 0\.9"):
        plain(row_shares=[0.5, 0.4])
    with pytest.raises(ValueError, match="row_noise is of classes of rows: it needs row_shares"):
        plain(row_noise=[1.0])
    with pytest.raises(ValueError, match=r"row_weight must not be negative, got -1"):
        plain(row_shares=[0.5, 0.5], row_weight=[1.0, -1.0])
    with pytest.raises(ValueError, match=r"row_scale must have shape \(2\), got \(1,\)"):
        plain(row_shares=[0.5, 0.5], row_scale=[1.0])
    with pytest.raises(ValueError, match="leave no row above 0"):
        plain(row_shares=[0.5, 0.5], row_weight=[0.0, 1.0], row_scale=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"ridge must not be negative with row_shares, got -0\.1"):
        model(ridge=-0.1)
    with pytest.raises(ValueError, match=r"ridge must not be negative with row_shares, got -0\.1"):
        curve(model(), {"ridge": [0.1, -0.1]})
    with pytest.raises(ValueError, match=r"row_shares needs no step_size, got 0\.1"):
        model(step_size=0.1)
    with pytest.raises(ValueError, match="model must have equal rows, got row_shares"):
        hidden_columns_model(model(), [0])
    assert math.isfinite(solve(model(n_samples=0)).risk)
