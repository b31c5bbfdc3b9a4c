"""Gauss rules and panel integrals: against high precision, against identities, and their errors."""

import math

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper.exceptions import ConvergenceWarning, NumericalError
from retemper.numerics import (
    gauss_hermite_rule,
    gauss_legendre_rule,
    gaussian_average,
    integrate,
)

ORDERS = [1, 2, 3, 8, 33, 48, 255, 256]


def legendre_root(order, x):
    """Root of P_n nearest to x, and its Gauss weight, at 40 digits."""
    for _ in range(3):
        p, before = mpmath.legendre(order, x), mpmath.legendre(order - 1, x)
        slope = order * (before - x * p) / (1 - x * x)
        x -= p / slope
    return x, 2 / ((1 - x * x) * slope**2)


def hermite_root(order, x):
    """The same for the Hermite polynomials of a normal variable."""
    for _ in range(3):
        h, before = mpmath.mpf(1), mpmath.mpf(0)
        for k in range(order):
            h, before = (x * h - mpmath.sqrt(k) * before) / mpmath.sqrt(k + 1), h
        x -= h / (mpmath.sqrt(order) * before)
    return x, 1 / (order * before**2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("rule", "root", "rtol"),
    [(gauss_legendre_rule, legendre_root, 1e-14), (gauss_hermite_rule, hermite_root, 5e-14)],
)
def test_rule_matches_high_precision(rule, root, rtol, order):
    node, weight = rule(order)
    with mpmath.workdps(40):
        for k in sorted({0, 1 % order, order // 4, order // 2, order - 1}):
            x, w = root(order, mpmath.mpf(float(node[k])))
            assert abs(x - node[k]) <= 2e-16 * max(1, abs(node[k]))
            assert abs(w / weight[k] - 1) < rtol


@pytest.mark.parametrize("order", ORDERS)
def test_rules_agree_with_numpy_symmetry_and_moments(order):
    for (node, weight), total in [(gauss_legendre_rule(order), 2), (gauss_hermite_rule(order), 1)]:
        assert np.all(np.diff(node) > 0)
        assert np.all(weight > 0)
        assert_array_equal(node, -node[::-1])
        assert_array_equal(weight, weight[::-1])
        assert_allclose(weight.sum(), total, rtol=4e-15)
    node, weight = gauss_legendre_rule(order)
    want = np.polynomial.legendre.leggauss(order)
    assert_allclose(node, want[0], atol=1e-14)
    assert_allclose(weight, want[1], rtol=1e-9)  # numpy's own error near the ends


@given(st.integers(1, 80), st.data())
def test_rules_are_exact_for_polynomials(order, data):
    degree = data.draw(st.integers(0, min(2 * order - 1, 40)))
    node, weight = gauss_legendre_rule(order)
    assert_allclose(weight @ node**degree, (1 + (-1) ** degree) / (degree + 1), atol=1e-14)
    node, weight = gauss_hermite_rule(order)
    moment = 0.0 if degree % 2 else float(scipy.special.factorial2(degree - 1, exact=True) or 1)
    assert_allclose(
        weight @ node**degree, moment, rtol=1e-12, atol=1e-12 * (weight @ np.abs(node**degree))
    )


def test_very_high_orders_hold():
    node, weight = gauss_hermite_rule(2000)
    for t in (0.5, 3.0):
        assert_allclose(weight @ np.cos(t * node), math.exp(-t * t / 2), atol=1e-14)
    node, weight = gauss_legendre_rule(2000)
    assert_allclose(weight @ np.cos(300 * node), 2 * math.sin(300) / 300, atol=1e-14)


def test_rules_are_cached_and_read_only():
    node, weight = gauss_hermite_rule(7)
    assert gauss_hermite_rule(7)[0] is node
    for array in (node, weight, *gauss_legendre_rule(7)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def gaussian_abs(shift):
    """E |Z - shift|."""
    return shift * math.erf(shift / math.sqrt(2)) + math.sqrt(2 / math.pi) * math.exp(
        -shift * shift / 2
    )


REFERENCE = [  # function, its breaks, its average
    (lambda z: z**2, (), 1.0),
    (lambda z: z**3, (), 0.0),
    (lambda z: 3.0 + 0 * z, (), 3.0),
    (lambda z: 0.0 * z, (), 0.0),
    (lambda z: np.exp(5 * z), (), math.exp(12.5)),
    (lambda z: np.cos(20 * z), (), math.exp(-200)),
    (lambda z: np.abs(z - 0.3), (), gaussian_abs(0.3)),
    (lambda z: np.abs(z - 0.3), (0.3,), gaussian_abs(0.3)),
    (lambda z: z > 0.7, (), scipy.special.ndtr(-0.7)),
    (lambda z: z > 9, (), scipy.special.ndtr(-9)),
    (lambda z: np.logaddexp(0, z), (), 0.80605918334743978453),  # mpmath.quad at 40 digits
    (lambda z: 1 / (1 + 1e4 * z**2), (0.0,), 0.0124337647124903471),
]


@pytest.mark.parametrize(("f", "breaks", "value"), REFERENCE)
def test_gaussian_average_matches_and_its_error_covers(f, breaks, value):
    got, error = gaussian_average(f, breaks=breaks)
    size = gaussian_average(lambda z: np.abs(f(z)), breaks=breaks, tol=1e-4)[0]
    assert error <= 1.001e-12 * size
    assert abs(got - value) <= error + 4e-16 * size


def test_scale_of_a_peak_reference():
    with mpmath.workdps(30):  # E 1 / (1 + (Z / s)^2) = s sqrt(pi / 2) exp(s^2 / 2) erfc(s / sqrt 2)
        s = mpmath.mpf(1) / 100
        value = (
            s * mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2))
        )
        assert_allclose(float(value), REFERENCE[-1][2], rtol=1e-15)


@given(st.floats(-3, 3), st.floats(-4, 4), st.sampled_from([1e-3, 1e-6, 1e-9]))
def test_error_estimate_covers_kinks_and_jumps(kink, slope, tol):
    def f(z):
        return np.where(z > kink, slope * (z - kink), 0.0) + (z > kink)

    tail, density = scipy.special.ndtr(-kink), math.exp(-kink * kink / 2) / math.sqrt(2 * math.pi)
    want = slope * (density - kink * tail) + tail
    value, error = gaussian_average(f, tol=tol)
    assert abs(value - want) <= error + 1e-15
    value, error = gaussian_average(f, breaks=[kink])
    assert_allclose(value, want, atol=3e-15)
    assert error < 1e-13


@given(st.floats(0.0, 2.0), st.floats(-3, 3))
def test_stein_identity(scale, shift):
    # E Z f(Z) = E f'(Z)
    left, _ = gaussian_average(lambda z: z * np.tanh(scale * z + shift))
    right, _ = gaussian_average(lambda z: scale / np.cosh(scale * z + shift) ** 2)
    assert_allclose(left, right, atol=2e-12)


@given(st.floats(-5, 5), st.floats(0.01, 10), st.floats(0.05, 0.95))
def test_integral_adds_up_and_matches_its_primitive(low, width, at):
    def f(x):
        return np.exp(-x) * np.sin(3 * x)

    def primitive(x):
        return -np.exp(-x) * (np.sin(3 * x) + 3 * np.cos(3 * x)) / 10

    high, middle = low + width, low + at * width
    whole, error = integrate(f, low, high)
    size = width * math.exp(-low)
    assert_allclose(whole, primitive(high) - primitive(low), atol=1e-12 * size)
    parts = integrate(f, low, middle)[0] + integrate(f, middle, high)[0]
    assert_allclose(whole, parts, atol=2e-12 * size)
    assert 0 <= error <= 1e-12 * size


def test_breaks_in_any_order_type_and_multiplicity():
    def f(x):
        return np.floor(x)

    want = sum(range(10))
    for breaks in (
        range(10),
        [*range(10)][::-1],
        np.arange(-5, 20),
        np.arange(10, dtype=np.float32),
    ):
        assert integrate(f, 0, 10, breaks=breaks)[0] == pytest.approx(want, rel=1e-15)
    near = [3.0, 3.0, np.nextafter(3.0, 4.0), *range(10)]
    assert integrate(f, 0, 10, breaks=near)[0] == pytest.approx(want, rel=1e-14)
    strided = np.arange(20.0)[::2] / 2
    assert integrate(f, 0, 10, breaks=strided)[0] == pytest.approx(want, rel=1e-15)


def test_integrable_singularity_at_a_break():
    value, error = integrate(lambda x: np.log(np.abs(x)), -1.0, 2.0, breaks=[0.0], tol=1e-12)
    assert abs(value - (2 * math.log(2) - 3)) <= error


def test_reports_what_it_did_not_reach():
    with pytest.warns(ConvergenceWarning, match=r"gaussian_average .* limit .*residual"):
        value, error = gaussian_average(lambda z: np.sign(z - 0.1), max_panels=16)
    assert abs(value - math.erf(-0.1 / math.sqrt(2))) <= error
    with pytest.warns(ConvergenceWarning, match=r"integrate .*residual"):
        integrate(lambda x: 1 / np.sqrt(np.abs(x - 0.3)), 0, 1)
    with pytest.warns(ConvergenceWarning, match="stopped improving"):  # cut off too early
        gaussian_average(lambda z: np.exp(10 * z))
    value, error = gaussian_average(lambda z: np.exp(10 * z), cutoff=30)
    assert_allclose(value, math.exp(50), rtol=1e-14)
    assert error < 1e-12 * value


@pytest.mark.parametrize("bad", [0, -1, 10_001])
def test_rule_refuses_order(bad):
    for rule in (gauss_hermite_rule, gauss_legendre_rule):
        with pytest.raises(ValueError, match=rf"order must be in \[1, 10000\], got {bad}"):
            rule(bad)
        with pytest.raises(TypeError, match="order must be an integer"):
            rule(2.0)


def test_bad_arguments_are_named():
    def never(z):
        raise AssertionError("called before the arguments were checked")

    with pytest.raises(TypeError, match="f must be callable"):
        gaussian_average(1.0)
    with pytest.raises(ValueError, match=r"tol must lie in \[1e-15, 1\)"):
        gaussian_average(never, tol=0.0)
    with pytest.raises(ValueError, match=r"cutoff must lie in \(0, 38\], got 39"):
        gaussian_average(never, cutoff=39)
    with pytest.raises(ValueError, match="max_panels must be at least 1"):
        gaussian_average(never, max_panels=0)
    with pytest.raises(ValueError, match=r"breaks\[1\] is nan"):
        gaussian_average(never, breaks=[0, np.nan])
    with pytest.raises(ValueError, match="high must lie in"):
        integrate(never, 1.0, 1.0)
    with pytest.raises(ValueError, match="low must lie in"):
        integrate(never, -np.inf, 1.0)
    with pytest.raises(ValueError, match="one real number for each"):
        gaussian_average(lambda z: 1.0)
    with pytest.raises(ValueError, match="dtype complex128"):
        gaussian_average(lambda z: z + 0j)


def test_errors_of_the_integrand():
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        integrate(broken, 0, 1)
    with pytest.raises(NumericalError, match=r"the integrand f is nan at 0\.\d+"):
        integrate(lambda x: np.where(x > 0.5, np.nan, x), 0, 1)
