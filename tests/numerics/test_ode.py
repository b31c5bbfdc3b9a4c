"""Integrators: exact solutions, order of convergence, stiffness, and how they give up."""

import time

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper._results import Status
from retemper.exceptions import NumericalError

explicit = core.numerics.solve_explicit


def stiff(f, jacobian, *args, **kwargs):
    return core.numerics.solve_stiff(f, jacobian, *args, **kwargs)


def pendulum(y):
    return np.array([y[1], -np.sin(y[0])])


def pendulum_jacobian(y):
    return np.array([[0.0, 1.0], [-np.cos(y[0]), 0.0]])


def both(f, jacobian, *args, **kwargs):
    """The trajectories of both methods of an autonomous system."""
    return (
        explicit(lambda t, y: f(y), *args, **kwargs),
        stiff(f, jacobian, *args, **kwargs),
    )


@pytest.mark.parametrize("tol", [1e-5, 1e-8, 1e-11])
def test_matches_a_tight_reference_between_and_at_steps(tol):
    times = np.geomspace(1e-3, 20.0, 40)
    start = np.array([1.0, 0.3])
    want = scipy.integrate.solve_ivp(
        lambda t, y: pendulum(y), (0, 20), start, "DOP853", times, rtol=1e-13, atol=1e-14
    ).y.T
    for y, t, n_steps, _, status in both(
        pendulum, pendulum_jacobian, 0.0, start, times, rtol=tol, atol=tol
    ):
        assert Status.from_core(status) == "converged"
        assert t == 20.0
        assert n_steps > 3
        assert_allclose(y, want, atol=200 * tol)


def test_error_falls_with_the_order():
    # error ~ (number of steps)^-p over a decade and more
    times = np.array([6.0])
    start = np.array([1.0, 0.3])
    want = explicit(lambda t, y: pendulum(y), 0.0, start, times, rtol=1e-14, atol=1e-14)[0]
    for k, order in enumerate((5, 4)):
        runs = [
            both(pendulum, pendulum_jacobian, 0.0, start, times, rtol=tol, atol=tol)[k]
            for tol in (1e-4, 1e-10)
        ]
        error = [np.abs(run[0] - want).max() for run in runs]
        steps = [run[2] for run in runs]
        seen = np.log(error[0] / error[1]) / np.log(steps[1] / steps[0])
        assert order - 0.6 < seen < order + 1.2


def test_interpolation_is_continuous_and_accurate():
    # the same times asked for alone and in company: interpolated values stay within the tolerance
    times = np.linspace(0.0, 5.0, 501)
    start = np.array([1.0, 0.3])
    fine = explicit(lambda t, y: pendulum(y), 0.0, start, times, rtol=1e-13, atol=1e-13)[0]
    for run in both(pendulum, pendulum_jacobian, 0.0, start, times, rtol=1e-7, atol=1e-7):
        y, _, n_steps, _, _ = run
        assert n_steps < 80  # so nearly every row is interpolated
        assert_array_equal(y[0], start)
        assert np.abs(y - fine).max() < 3e-6
        assert np.abs(np.diff(y, axis=0)).max() < 0.012


@settings(max_examples=20)
@given(st.floats(-3, 1), st.floats(0.1, 5), st.floats(0.01, 30))
def test_linear_equation(rate, start, end):
    times = np.array([0.5 * end, end])
    for y, *_, status in both(
        lambda y: rate * y, lambda y: np.array([[rate]]), 0.0, np.array([start]), times
    ):
        assert Status.from_core(status) == "converged"
        assert_allclose(y[:, 0], start * np.exp(rate * times), rtol=1e-5, atol=1e-8)


def test_time_dependence_and_start_time():
    times = np.array([1.0, 2.0, 3.0])
    y, *_ = explicit(lambda t, y: np.array([2 * t]), 1.0, np.array([1.0]), times)
    assert_allclose(y[:, 0], times**2, rtol=1e-12)


def dual_flow(n, n_features, scale, seed):
    """Gradient flow of a diagonal linear network, in its n dual variables: stiff."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_features)) / np.sqrt(n_features)
    y = x @ np.where(rng.random(n_features) < 0.2, 1.0, 0.0)

    def f(s):
        return y - x @ (scale * np.sinh(2 * x.T @ s))

    def jacobian(s):
        return -(x * (2 * scale * np.cosh(2 * x.T @ s))) @ x.T

    return f, jacobian


def test_stiff_flow_needs_few_steps():
    f, jacobian = dual_flow(12, 40, 1e-3, 0)
    times = np.geomspace(0.1, 1e5, 13)
    start = np.zeros(12)
    y, t, n_steps, n_rejected, status = stiff(f, jacobian, 0.0, start, times, rtol=1e-6, atol=1e-9)
    assert Status.from_core(status) == "converged"
    assert t == 1e5
    assert n_steps + n_rejected < 300
    want = scipy.integrate.solve_ivp(
        lambda t, s: f(s),
        (0, 1e5),
        start,
        "Radau",
        times,
        jac=lambda t, s: jacobian(s),
        rtol=1e-10,
        atol=1e-12,
    ).y.T
    assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    assert np.abs(f(y[-1])).max() < 1e-6
    _, _, n_explicit, *_ = explicit(
        lambda t, s: f(s), 0.0, start, np.array([300.0]), rtol=1e-6, atol=1e-9
    )
    assert n_explicit > n_steps


def test_stiff_decay_is_damped():
    y, _, n_steps, *_ = stiff(
        lambda y: -1e8 * (y - 1), lambda y: np.array([[-1e8]]), 0.0, np.zeros(1), np.array([1.0])
    )
    assert_allclose(y, 1.0, rtol=1e-9)
    assert n_steps < 200  # an explicit method needs about 3e7


def test_limits_return_what_was_reached():
    times = np.array([0.2, 0.3, 50.0])
    for y, t, n_steps, n_rejected, status in both(
        pendulum, pendulum_jacobian, 0.0, np.array([1.0, 0.0]), times, max_steps=30
    ):
        assert Status.from_core(status) == "max_iter"
        assert n_steps + n_rejected == 30
        assert 0.3 < t < 50.0
        assert y.shape == (2, 2)
        assert np.isfinite(y).all()


def test_blow_up_stalls_before_the_pole():
    for y, t, *_, status in both(
        lambda y: y * y, lambda y: np.diag(2 * y), 0.0, np.array([1.0]), np.array([0.5, 2.0])
    ):
        assert Status.from_core(status) == "stalled"
        assert t == pytest.approx(1.0, abs=1e-6)
        assert_allclose(y, [[2.0]], rtol=1e-6)


def test_errors():
    start = np.ones(1)
    for times in ([2.0, 1.0], [-1.0], [], [np.nan]):
        with pytest.raises(ValueError, match=r"output times|finite"):
            explicit(lambda t, y: y, 0.0, start, np.array(times))
    with pytest.raises(ValueError, match="rtol"):
        explicit(lambda t, y: y, 0.0, start, np.ones(1), rtol=0.0)
    with pytest.raises(NumericalError, match="not finite at the start"):
        explicit(lambda t, y: y * np.nan, 0.0, start, np.ones(1))
    with pytest.raises(KeyError):
        explicit(lambda t, y: {}[0], 0.0, start, np.ones(1))


def test_can_be_stopped():
    def f(t, y):
        if time.perf_counter() > end:
            raise KeyboardInterrupt
        return np.cos(1e6 * t) + 0 * y

    end = time.perf_counter() + 0.05
    with pytest.raises(KeyboardInterrupt):
        explicit(f, 0.0, np.zeros(1), np.array([1e9]))
