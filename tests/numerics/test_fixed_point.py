"""Fixed points: the plain loop written out, acceleration, and how it gives up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper._results import Status
from retemper.exceptions import NumericalError

fixed_point = core.numerics.fixed_point


def affine(n, radius, seed):
    """A contraction g(x) = A x + b and its fixed point."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    a *= radius / np.linalg.norm(a, 2)
    b = rng.normal(size=n)
    return (lambda x: a @ x + b), np.linalg.solve(np.eye(n) - a, b)


def slow_version(g, x, tol, damping):
    for n_iter in range(1, 10_000):
        f = g(x) - x
        residual = np.abs(f).max() / max(1.0, np.abs(x).max())
        if residual <= tol:
            return x, residual, n_iter
        x = x + (1 - damping) * f
    raise AssertionError


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_plain_iteration_is_the_loop_written_out(damping):
    g, want = affine(7, 0.8, 0)
    x, residual, n_iter, status = fixed_point(g, np.zeros(7), damping=damping, tol=1e-12)
    slow, slow_residual, slow_n = slow_version(g, np.zeros(7), 1e-12, damping)
    assert_allclose(x, slow, rtol=1e-14)
    assert_allclose(residual, slow_residual, rtol=1e-2)
    assert (n_iter, Status.from_core(status)) == (slow_n, "converged")
    assert_allclose(x, want, atol=1e-11)


@given(st.integers(1, 12), st.floats(0.1, 0.97), st.integers(0, 9), st.floats(0, 0.5))
def test_reaches_the_fixed_point_of_a_contraction(n, radius, seed, damping):
    g, want = affine(n, radius, seed)
    for memory in (0, 3):
        x, residual, _, status = fixed_point(g, np.zeros(n), damping=damping, memory=memory)
        assert Status.from_core(status) == "converged"
        assert residual <= 1e-10
        assert_allclose(x, want, atol=1e-8 * max(1.0, np.abs(want).max()))


def test_memory_of_the_dimension_solves_a_linear_problem():
    g, want = affine(5, 0.999, 3)
    x, _, n_iter, _ = fixed_point(g, np.zeros(5), memory=5)
    assert n_iter <= 9
    assert_allclose(x, want, atol=1e-6)
    assert n_iter < fixed_point(g, np.zeros(5))[2] / 10


def test_acceleration_of_a_nonlinear_map():
    rng = np.random.default_rng(5)
    a = 1.4 * rng.normal(size=(30, 30)) / np.sqrt(30) / 2

    def g(x):
        return np.tanh(a @ x + 0.1)

    plain, fast = (fixed_point(g, np.zeros(30), memory=m, tol=1e-12) for m in (0, 5))
    assert_allclose(fast[0], plain[0], atol=1e-9)
    assert fast[2] < plain[2]


def test_a_cycle_stalls_and_damping_cures_it():
    def flip(x):
        return -x

    x0 = np.array([1.0, 2.0])
    x, residual, n_iter, status = fixed_point(flip, x0)
    assert Status.from_core(status) == "stalled"
    assert residual == 2.0
    assert n_iter < 200
    assert_array_equal(x, x0)
    assert Status.from_core(fixed_point(flip, x0, damping=0.5)[3]) == "converged"


def test_best_iterate_is_kept():
    def g(x):  # comes close to its fixed point, then is thrown off
        return np.where(np.abs(x) < 1e-3, 1.0, 0.5 * x)

    x, residual, n_iter, status = fixed_point(g, np.array([1.0]), max_iter=50)
    assert (n_iter, Status.from_core(status)) == (50, "max_iter")
    assert_allclose(residual, 0.5 * abs(x[0]))
    assert x[0] == 2.0**-9


def test_errors():
    with pytest.raises(ValueError, match=r"damping must lie in \[0, 1\)"):
        fixed_point(np.cos, np.zeros(1), damping=1.0)
    with pytest.raises(ValueError, match="memory"):
        fixed_point(np.cos, np.zeros(1), memory=-1)
    with pytest.raises(NumericalError, match="not finite at evaluation 3"):
        fixed_point(lambda x: np.where(x > 1.5, np.nan, x + 1), np.zeros(1))
    with pytest.raises(ValueError, match="must return 1 numbers, got 2"):
        fixed_point(lambda x: np.ones(2), np.zeros(1))
    with pytest.raises(KeyError):
        fixed_point(lambda x: {}[0], np.zeros(1))
