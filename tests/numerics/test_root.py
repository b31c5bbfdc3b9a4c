"""Bracketed roots: every root found lies where the sign changes."""

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from retemper._dispatch import core
from retemper._results import Status
from retemper.exceptions import NumericalError

root = core.numerics.bracketed_root
newton = core.numerics.newton_bracketed
expand = core.numerics.expand_bracket

CASES = [  # function, derivative, bracket
    (lambda x: x * x - 2, lambda x: 2 * x, (0.0, 2.0)),
    (lambda x: math.cos(x) - x, lambda x: -math.sin(x) - 1, (-10.0, 10.0)),
    (lambda x: math.exp(x) - 1e8, math.exp, (-50.0, 100.0)),
    (lambda x: math.tanh(20 * (x - 0.37)), lambda x: 20 / math.cosh(20 * (x - 0.37)) ** 2, (-4, 9)),
    (lambda x: math.log(x) + 5, lambda x: 1 / x, (1e-9, 1.0)),
    (lambda x: math.copysign(abs(x - 0.1) ** (1 / 3), x - 0.1), lambda x: math.inf, (-1.0, 2.0)),
]


@pytest.mark.parametrize(("f", "df", "ends"), CASES)
def test_matches_scipy_in_few_evaluations(f, df, ends):
    want = scipy.optimize.brentq(f, *ends, xtol=1e-300, rtol=1e-15)
    x, residual, n_iter, status = root(f, *ends)
    assert Status.from_core(status) == "converged"
    assert_allclose(x, want, rtol=4e-15)
    assert residual == f(x)
    assert n_iter <= 80
    x, residual, n_iter, status = newton(lambda v: (f(v), df(v)), *ends, x0=ends[1])
    assert Status.from_core(status) == "converged"
    assert_allclose(x, want, rtol=4e-15)
    assert residual == f(x)
    assert n_iter <= 140


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5), st.floats(-4, 4), st.floats(0.1, 4))
def test_root_of_any_polynomial_changes_sign(roots, low, width):
    coefficients = np.poly(roots)
    derivative = np.polyder(coefficients)

    def f(x):
        return float(np.polyval(coefficients, x))

    def f_df(x):
        return f(x), float(np.polyval(derivative, x))

    high = low + width
    for x, residual, n_iter, status in (root(f, low, high), newton(f_df, low, high, low)):
        assert low <= x <= high
        assert residual == f(x)
        if f(low) * f(high) > 0:
            assert Status.from_core(status) == "no_solution"
            assert n_iter == 2
        elif Status.from_core(status) == "converged":
            step = 4e-15 * abs(x) + 1e-300
            assert residual == 0 or f(x - step) * f(x + step) <= 0


def test_tolerance_and_limit():
    x, _, n_coarse, _ = root(lambda v: v**3 - 2, 0.0, 4.0, tol=1e-3)
    assert abs(x / 2 ** (1 / 3) - 1) <= 1e-3
    _, residual, n_iter, status = root(lambda v: v**3 - 2, 0.0, 4.0, max_iter=4)
    assert (n_iter, Status.from_core(status)) == (4, "max_iter")
    assert residual != 0
    assert n_coarse < root(lambda v: v**3 - 2, 0.0, 4.0)[2]
    _, _, n_iter, status = newton(lambda v: (v**3 - 2, 3 * v * v), 0.0, 4.0, 4.0, max_iter=4)
    assert (n_iter, Status.from_core(status)) == (4, "max_iter")


def test_root_at_an_end_is_returned():
    assert root(lambda v: v - 1, 1.0, 2.0)[0] == 1.0
    assert root(lambda v: v - 2, 1.0, 2.0)[0] == 2.0
    assert newton(lambda v: (v - 2, 1.0), 1.0, 2.0, 1.5)[0] == 2.0


@given(st.floats(-50, 50), st.floats(-5, 5))
def test_bracket_grows_until_it_holds_the_root(at, low):
    a, b, _, found = expand(lambda v: v - at, low, low + 0.5, -1e3, 1e3)
    assert found
    assert a <= at <= b


def test_bracket_stays_within_its_limits():
    seen = []
    a, b, n_iter, found = expand(lambda v: (seen.append(v), v * v + 1)[1], 1.0, 2.0, -3.0, 4.0)
    assert not found
    assert (a, b, n_iter) == (-3.0, 4.0, len(seen))
    assert expand(lambda v: 1.0, 0.0, 1.0, -math.inf, math.inf, max_iter=9)[2] == 9


def test_errors():
    with pytest.raises(ValueError, match="low < high"):
        root(lambda v: v, 1.0, 1.0)
    with pytest.raises(NumericalError, match=r"NaN at 0\.5"):
        root(lambda v: math.nan if v == 0.5 else v - 0.3, 0.0, 1.0)
    with pytest.raises(ZeroDivisionError):
        root(lambda v: 1 / (v * 0), 0.0, 1.0)
