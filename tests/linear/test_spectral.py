"""Effective ridge: its equation, closed forms, bracketing, the threads, reference values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper.linear import (
    effective_ridge,
)

from .models import obvious_kappa
from .portable import spectrum

spectra = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30).map(np.array)


@given(spectra, st.floats(0.1, 80), st.floats(1e-6, 10))
def test_kappa_solves_its_equation(s, n, ridge):
    root = effective_ridge(s, n, ridge)
    t = s / (s + root.effective_ridge)
    assert_allclose(
        root.effective_ridge * (1 - t.sum() / n),
        ridge,
        rtol=1e-9,
        atol=1e-13 * root.effective_ridge,
    )
    assert_allclose([root.df1, root.df2], [t.sum(), (t**2).sum()], rtol=1e-12)
    assert root.df2 < n
    assert root.residual < 1e-12
    assert root.status == "converged"


@given(spectra, st.floats(0.05, 0.95))
def test_ridgeless_kappa_leaves_n_degrees_of_freedom(s, fraction):
    n = fraction * s.size
    root = effective_ridge(s, n)
    assert_allclose((s / (s + root.effective_ridge)).sum(), n, rtol=1e-11)


@given(spectra, st.floats(0.1, 60), st.floats(1e-4, 5), st.floats(0.1, 10))
def test_kappa_is_homogeneous(s, n, ridge, unit):
    one, other = effective_ridge(s, n, ridge), effective_ridge(unit * s, n, unit * ridge)
    assert_allclose(other.effective_ridge, unit * one.effective_ridge, rtol=1e-11)
    assert_allclose([other.df1, other.df2], [one.df1, one.df2], rtol=1e-10)


@given(spectra, st.floats(0.1, 60), st.floats(1e-2, 5))
def test_slope_of_the_ridge_is_one_minus_df2_over_n(s, n, ridge):
    step = 1e-5 * ridge
    root = effective_ridge(s, n, [ridge - step, ridge, ridge + step])
    slope = 2 * step / (root.effective_ridge[2] - root.effective_ridge[0])
    assert_allclose(slope, 1 - root.df2[1] / n, rtol=1e-4)


@given(spectra, st.integers(1, 60), st.just(0.0) | st.floats(1e-300, 5))
def test_kappa_lies_below_every_top_k_bound(s, n, ridge):
    kappa = effective_ridge(s, n, ridge).effective_ridge
    tail = np.append(np.cumsum(np.sort(s))[::-1], 0.0)
    k = np.arange(min(n - 1, s.size) + 1)
    assert kappa <= ((n * ridge + tail[k]) / (n - k)).min() * (1 + 1e-12)


@pytest.mark.parametrize("kind", [("power", 0.5), ("power", 3), ("exp", 1), ("two", 1e-6)])
def test_kappa_agrees_with_bracketing(kind):
    s = spectrum(kind[0], 500, kind[1])
    n, ridge = np.meshgrid([1, 7, 100, 499, 500, 501, 2000], [0, 1e-9, 1e-3, 10])
    kappa = effective_ridge(s, n, ridge).effective_ridge
    slow = [obvious_kappa(s, *point) for point in zip(n.flat, ridge.flat, strict=True)]
    assert_allclose(kappa.ravel(), slow, rtol=1e-11)


def test_isotropic_closed_forms():
    alpha = np.linspace(0.1, 0.9, 9)
    root = effective_ridge(np.ones(1000), 1000 * alpha)
    assert_allclose(root.effective_ridge, 1 / alpha - 1, rtol=1e-13)
    assert_allclose(root.df2, 1000 * alpha**2, rtol=1e-13)
    # with ridge: the positive root of kappa^2 + (1 - 1/alpha - ridge) kappa - ridge = 0
    b = 1 - 1 / alpha - 0.3
    root = effective_ridge(np.ones(1000), 1000 * alpha, 0.3)
    assert_allclose(root.effective_ridge, (-b + np.sqrt(b**2 + 1.2)) / 2, rtol=1e-13)


def test_special_cases_of_kappa():
    s = spectrum("lowrank", 10, 0.5)
    root = effective_ridge(s, [0, 5, 7, 3], 0.0)
    assert_array_equal(root.effective_ridge[:3], [math.inf, 0.0, 0.0])
    assert_array_equal(root.df1[:3], [0, 5, 5])
    assert_array_equal(root.df2[:3], [0, 5, 5])
    assert_allclose(root.effective_ridge[3], 5 / 3 - 1)
    nothing = effective_ridge(np.zeros(3), [2, 2], [0.0, 0.4])
    assert_array_equal(nothing.effective_ridge, [0.0, 0.4])
    assert_array_equal(nothing.df1, [0.0, 0.0])
    huge = effective_ridge([1.0, 2.0], 3, [1e60, 1e119])
    assert_allclose(huge.effective_ridge, [1e60, 1e119], rtol=1e-15)
    tiny = effective_ridge([1.0, 2.0], 3, 1e-300)
    assert_allclose(tiny.effective_ridge, 3e-300, rtol=1e-12)
    cut = effective_ridge([1.0, 1.0, 1e-15], 2)
    assert cut.effective_ridge == 0.0


@pytest.mark.parametrize("n", [100, 600])
def test_negative_ridge_down_to_its_limit(n):
    s = np.ones(300)
    # isotropic: df2 = n at kappa = sqrt(d / n) - 1
    kappa = math.sqrt(300 / n) - 1
    limit = kappa * (1 - 300 / (1 + kappa) / n)
    for ridge in (0.5 * limit, 0.999 * limit):
        root = effective_ridge(s, n, ridge)
        assert root.effective_ridge > kappa
        assert_allclose(
            root.effective_ridge * (1 - 300 / (1 + root.effective_ridge) / n), ridge, rtol=1e-9
        )
    with pytest.raises(ValueError, match=f"ridge must lie above .* which is {limit:.6f}"):
        effective_ridge(s, n, 1.001 * limit)


def test_negative_ridge_needs_room():
    for n in (0, 300):
        with pytest.raises(ValueError, match=r"ridge must lie above .* which is 0 at n"):
            effective_ridge(np.ones(300), n, -1e-3)


def test_shapes_broadcast():
    s = spectrum("power", 333, 1)
    n, ridge = np.arange(1, 102.0), np.array([[0.0], [1e-3]])
    one = effective_ridge(s, n, ridge)
    assert one.effective_ridge.shape == (2, 101)
    assert isinstance(effective_ridge(s, 10).effective_ridge, float)
    assert effective_ridge(s[::-1], 17.0, 1e-3).effective_ridge == one.effective_ridge[1, 16]
    many = effective_ridge(s.astype(np.float32), n[::-2], 0)
    assert_allclose(many.effective_ridge, one.effective_ridge[0, ::-2], rtol=1e-5)


@pytest.mark.parametrize("n_jobs", [2, 3, 7])
def test_threads_do_not_change_a_bit(n_jobs):
    s = spectrum("power", 333, 1)
    n, ridge = np.linspace(1, 1001, 20001), np.array([[0.0], [1e-3]])
    one, other = (effective_ridge(s, n, ridge, n_jobs=jobs) for jobs in (1, n_jobs))
    for name in ("effective_ridge", "df1", "df2"):
        assert_array_equal(getattr(other, name), getattr(one, name))
    kappa, weights = one.effective_ridge[1], np.vstack([s, s**2])
    for metric in core.linear.Metric:
        sums = [core.linear.metric_sums(s, weights, kappa, metric, jobs) for jobs in (1, n_jobs)]
        assert_array_equal(*sums)
    coef = np.ones((n.size, 2))
    bounds = [
        core.linear.top_k_bound(s, weights, coef, n, np.zeros_like(n), kappa, jobs)
        for jobs in (1, n_jobs)
    ]
    for name in ("bound", "bound_k"):
        assert_array_equal(*(getattr(found, name) for found in bounds))


@pytest.mark.parametrize(
    ("kind", "d", "n", "ridge", "values"),
    [
        (("iso",), 100, 40, 0, (1.5, 40, 16)),
        (("power", 1), 1000, 100, 0, (0.0359116530835, 100, 26.598065987)),
        (("power", 2), 1000, 200, 0, (5.09909521713e-05, 200, 109.362435849)),
        (("two", 0.01), 300, 600, 0.01, (0.0132135367233, 145.920208522, 79.3276375259)),
        (("lowrank", 0.3), 300, 60, 0, (0.5, 60, 40)),
    ],
)
def test_reference_kappa(kind, d, n, ridge, values):
    root = effective_ridge(spectrum(kind[0], d, *kind[1:]), n, ridge)
    assert_allclose([root.effective_ridge, root.df1, root.df2], values, rtol=1e-8)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: effective_ridge([], 3), "spectrum must not be empty"),
        (lambda: effective_ridge([1.0, -1.0], 3), "spectrum must be non-negative"),
        (lambda: effective_ridge([1.0], -1), r"n_samples must lie in \[0"),
        (lambda: effective_ridge([1.0], [np.inf]), r"n_samples\[0\] is inf"),
        (lambda: effective_ridge([1e-200], 1), "largest entry"),
        (lambda: effective_ridge([1.0], [1, 2], [1, 2, 3]), "do not broadcast"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
