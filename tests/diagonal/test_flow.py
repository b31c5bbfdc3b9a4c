"""The path of gradient flow against its end, a general integrator and the closed form."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from retemper.diagonal import (
    DiagonalNetworkRegressor,
    finetune_scale,
    gradient_flow,
    minimum_penalty,
    population_path,
)
from retemper.exceptions import ConvergenceWarning, NumericalError

D, N_PT, N = 30, 20, 12


def task(seed=0):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, D)) * (rng.random((2, D)) < 0.4)
    X_pt, X = rng.normal(size=(N_PT, D)) / D**0.5, rng.normal(size=(N, D)) / D**0.5
    return X_pt, X_pt @ source, X, X @ target


def test_flow_ends_at_the_newton_solution():
    X_pt, y_pt, X, y = task()
    scale = finetune_scale(minimum_penalty(X_pt, y_pt, 0.01).coef, 0.01, -0.5, 0.1)
    centre = np.random.default_rng(2).normal(size=D)
    for b0 in (None, centre):
        path = gradient_flow(X, y, scale, np.geomspace(1e-2, 1e6, 40), centre=b0)
        exact = minimum_penalty(X, y, scale, centre=b0)
        assert_allclose(path.coef[-1], exact.coef, atol=1e-8)
        assert_allclose(path.dual[-1], exact.dual, rtol=1e-6)
        assert path.status == "converged"
        assert np.all(np.diff(path.train_error) <= 1e-12)


def test_flow_path_against_a_general_integrator():
    _, _, X, y = task()
    scale, times = np.full(D, 0.05), np.array([0.0, 0.5, 3.0, 20.0, 100.0])
    slow = solve_ivp(
        lambda _, b: 2 * np.hypot(scale, b) * (X.T @ (y - X @ b)), (0, 100), np.zeros(D), "LSODA",
        t_eval=times, rtol=1e-10, atol=1e-13,
    )  # fmt: skip
    found = gradient_flow(X, y, scale, times, rtol=1e-8, atol=1e-10)
    assert_allclose(found.coef, slow.y.T, atol=1e-7)
    assert not found.coef[0].any()
    shifted = gradient_flow(X + 0.3, y + 2.0, scale, times, fit_intercept=True)
    plain = gradient_flow(X, y, scale, times, fit_intercept=True)
    assert_allclose(shifted.coef, plain.coef, atol=1e-7)
    left = y - plain.coef @ X.T - plain.intercept[:, None]
    assert_allclose(left.mean(axis=1), 0, atol=1e-10)


def test_flow_on_the_population_is_the_closed_form():
    target = np.array([1.0, -0.5, 0.2])
    path = gradient_flow(np.eye(3), target, 1e-3, [1.0, 5.0, 30.0])
    for t, coef in zip(path.times, path.coef, strict=True):
        assert_allclose(coef, population_path(target, 1e-3, t), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_flow_threads_do_not_change_a_bit(n_jobs):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 300)) / 17, rng.normal(size=200)
    one = gradient_flow(X, y, 0.1, [10.0], n_jobs=1).coef
    assert_array_equal(gradient_flow(X, y, 0.1, [10.0], n_jobs=n_jobs).coef, one)


def test_flow_says_when_it_did_not_arrive():
    _, _, X, y = task()
    with pytest.warns(ConvergenceWarning, match="gradient flow"):
        path = gradient_flow(X, y, 0.1, [1.0, 1e3], max_steps=5)
    assert len(path.times) == len(path.coef) < 2
    with pytest.raises(ValueError, match="times"):
        gradient_flow(X, y, 0.1, [1.0, 0.5])
    with pytest.raises(ValueError, match="centre"):
        gradient_flow(X, y, 0.0, [1.0], centre=np.ones(D))


@pytest.mark.parametrize("exponent", [-3, -12, -14, -16, -20, -30, -60, -100, -200, -300])
def test_flow_arrives_from_any_scale(exponent):
    for seed in range(20):
        _, _, X, y = task(seed)
        path = gradient_flow(X, y, 10.0**exponent, [10.0, 1e3, 1e9], on_failure="raise")
        assert_allclose(path.coef[-1], minimum_penalty(X, y, 10.0**exponent).coef, atol=1e-8)
        assert np.all(np.diff(path.train_error) <= 0)


def test_flow_arrives_from_scales_of_all_sizes_at_once():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n, d = rng.integers(1, 40, 2)
        X, scale = rng.normal(size=(n, d)) / d**0.5, 10.0 ** -rng.uniform(0, 300, d)
        centre = rng.normal(size=d) * (rng.random() < 0.5)
        y = X @ rng.normal(size=d) + rng.normal(size=n) * (rng.random() < 0.5)
        with_mean = bool(rng.random() < 0.5)
        path = gradient_flow(
            X, y, scale, [1.0, 1e3, 1e6], centre=centre, fit_intercept=with_mean, on_failure="raise"
        )
        assert np.all(np.diff(path.train_error) <= 1e-9)


def test_flow_from_a_tiny_scale_against_a_general_integrator():
    _, _, X, y = task(1)
    c, times = 1e-100, np.array([10.0, 100.0, 300.0, 1e3, 1e4])
    most = np.log(2e4 / c)  # never reached, but for predictions of the integrator

    def u(s):
        return np.clip(2 * X.T @ s, -most, most)

    slow = solve_ivp(
        lambda _, s: y - X @ (c * np.sinh(u(s))), (0, 1e4), np.zeros(N), "BDF", t_eval=times,
        jac=lambda _, s: -(X * (2 * c * np.cosh(u(s)))) @ X.T, rtol=1e-9, atol=1e-11,
    )  # fmt: skip
    wanted = c * np.sinh(2 * slow.y.T @ X)
    assert np.abs(wanted[2]).max() > 0.1  # some coefficients have emerged, others have not
    assert_allclose(gradient_flow(X, y, c, times, rtol=1e-9, atol=1e-11).coef, wanted, atol=1e-7)
    assert_allclose(gradient_flow(X, y, c, times).coef, wanted, atol=1e-3)


def test_fits_from_tiny_scales_stop_where_they_are_told():
    _, _, X, y = task(2)
    for c in (1e-3, 1e-30, 1e-300):
        early = DiagonalNetworkRegressor(init_scale=c, stop_time=1e9).fit(X, y)
        assert_allclose(
            early.coef_, DiagonalNetworkRegressor(init_scale=c).fit(X, y).coef_, atol=1e-7
        )


def test_a_flow_that_cannot_arrive_names_its_tolerances():
    _, _, X, y = task()
    with pytest.raises(
        NumericalError, match="rtol = 1e-06, atol = 1e-08 and max_steps = 5, at time"
    ):
        gradient_flow(X, y, 0.1, [1.0, 1e3], max_steps=5, on_failure="raise")
    with pytest.warns(ConvergenceWarning):
        nowhere = gradient_flow(X, y, 0.1, [1e3], max_steps=1)
    assert nowhere.coef.shape == (0, D)
    assert nowhere.residual == 1.0
    endless = DiagonalNetworkRegressor(stop_time=1e12, standardize=False)
    with pytest.raises(NumericalError, match="rtol"):
        endless.fit(1e3 * X, 1e6 * y)
    with pytest.raises(NumericalError, match="rtol"):
        endless.path(1e3 * X, 1e6 * y, times=[1.0, 1e12])
