"""Training that stops early, in high dimension: limits, one large sample, experiments."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from retemper.linear import curve, simulate, solve
from retemper.linear.spectral import roots
from retemper.linear.stopping import complex_ridge, stopped_flow

from . import portable
from .models import check_experiments, wide_model

model = partial(wide_model, stop_time=3.0)


@pytest.mark.parametrize("n", [80, 400])
def test_complex_ridges_continue_real_ones(n):
    spectrum = portable.spectrum("power", 200, 0.7)
    ridge = np.array([1e-3, 0.1, 5.0])
    real = roots(spectrum, np.full(3, float(n)), ridge, 1).effective_ridge
    near = complex_ridge(spectrum, n, ridge + 0j)
    assert near == pytest.approx(real, rel=1e-12)
    tilted = ridge * np.exp(2.5j)
    kappa = complex_ridge(spectrum, n, tilted)
    back = kappa * (1.0 - (spectrum / (spectrum + kappa[:, None])).sum(axis=1) / n)
    assert back == pytest.approx(tilted, rel=1e-11)
    assert (kappa.imag > 0.0).all()


@pytest.mark.parametrize("n", [80, 400])
@pytest.mark.parametrize("name", ["risk", "bias", "variance", "risk_scratch", "risk_optimal"])
def test_the_end_of_time(n, name):
    late, end = (solve(model(n_samples=n, stop_time=t)) for t in (1e9, math.inf))
    assert getattr(late, name) == pytest.approx(getattr(end, name), rel=1e-9, abs=1e-15)


def test_the_beginning_of_time():
    start = solve(model(stop_time=0.0))
    assert start.risk == pytest.approx(start.risk_zero_shot, rel=1e-12)
    assert start.variance == 0.0
    soon, t = solve(model(stop_time=1e-6)), 1e-6
    one = model()
    gap = one.theta_target - one.source_coef
    slope = -2.0 * (one.spectrum**2 * gap**2).sum()  # of gap' exp(-tS) Sigma exp(-tS) gap
    assert (soon.risk - start.risk) / t == pytest.approx(slope, rel=1e-4)


def test_infinitely_many_rows():
    """The sample covariance is the covariance: every direction decays by itself."""
    one = model(n_samples=10**9)
    gap = one.theta_target - one.source_coef
    expected = (one.spectrum * gap**2 * np.exp(-2.0 * 3.0 * one.spectrum)).sum()
    assert solve(one).risk == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [80, 200, 400])
def test_one_large_sample(n):
    spectrum = portable.spectrum("power", 200, 0.7)
    gap = portable.combine(portable.D5, 200)
    found = stopped_flow(spectrum, np.square(gap)[None], float(n), 10.0)
    rng = np.random.default_rng(n)
    bias, variance = [], []
    for _ in range(40):
        X = rng.normal(size=(n, 200)) * np.sqrt(spectrum)
        _, s, v = np.linalg.svd(X, full_matrices=False)
        done = -np.expm1(-10.0 * s**2 / n)
        bias.append(spectrum @ (gap - v.T @ (done * (v @ gap))) ** 2)
        variance.append(spectrum @ (v.T * (done / s)) ** 2 @ np.ones(len(s)))
    for value, draws in ((found.sums[0], bias), (found.variance, variance)):
        error = np.std(draws, ddof=1) / 40**0.5
        assert abs(value - np.mean(draws)) < 3.5 * error + 0.01 * value


@pytest.mark.parametrize(
    "change",
    [
        {}, {"n_samples": 400, "stop_time": 30.0}, {"spectrum": None}, {"n_samples": 200},
        {"source_coef": None, "theta_source": portable.combine(portable.SRC, 200),
         "n_samples_source": 300, "noise_source": 0.3},
    ],
)  # fmt: skip
def test_experiments(change):
    check_experiments(model(**change), slack=0.02)


def test_the_experiment_is_gradient_descent():
    """Small steps of descent on the drawn rows, against the filter of the experiment."""
    d, n, t, step = 12, 8, 2.0, 1e-3
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(n, d)), rng.normal(size=n), np.zeros(d)
    for _ in range(int(t / step)):
        w = w - step * X.T @ (X @ w - y) / n
    u, s, v = np.linalg.svd(X, full_matrices=False)
    closed = v.T @ (-np.expm1(-t * s**2 / n) / s * (u.T @ y))
    assert np.linalg.norm(w - closed) < 5e-3 * np.linalg.norm(closed)
    late, end = (simulate(model(stop_time=x), n_repeats=4) for x in (1e9, math.inf))
    assert late.risk == pytest.approx(end.risk, rel=1e-8)


def test_a_curve_over_time():
    times = [0.0, 1.0, 10.0, math.inf]
    sweep = curve(model(), {"stop_time": times, "noise": [0.0, 0.3]})
    for k, t in enumerate(times):
        one = solve(model(stop_time=t))
        assert sweep["risk"][k, 1] == pytest.approx(one.risk, rel=1e-12)
    assert (np.diff(sweep["bias"][:, 0]) < 0.0).all()  # without noise training only helps here
    assert math.isinf(solve(model()).risk_bound)


def test_several_outputs_add_up():
    one, other = model(), model(source_coef=None)
    both = dataclasses.replace(
        one,
        theta_target=np.stack([one.theta_target, one.theta_target]),
        source_coef=np.stack([one.source_coef, 0.0 * one.source_coef]),
    )
    assert solve(both).risk == pytest.approx(solve(one).risk + solve(other).risk, rel=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match=r"stop_time must lie in \[0, inf\], got -1\.0"):
        model(stop_time=-1.0)
    for change in ({"depth": 2}, {"ridge": 0.1}, {"ridge": "optimal"}):
        with pytest.raises(ValueError, match="a finite stop_time needs depth 1 and ridge 0"):
            model(**change)
    with pytest.raises(ValueError, match="a finite stop_time needs ridge 0"):
        curve(model(), {"ridge": [0.0, 0.1]})
