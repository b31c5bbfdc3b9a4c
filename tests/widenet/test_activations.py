"""Activations without a formula: quadrature against formulas, identities and sampled networks."""

import itertools
import math

import numpy as np
import pytest
import scipy.special as sc
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper.exceptions import NumericalError
from retemper.widenet import WideNetModel, compare, nngp_kernel, solve
from retemper.widenet.activations import Expansion, expansion_of
from retemper.widenet.kernels import kernel_of_pairs, table_of

from .test_kernels import FUNCTION


def clip(u):
    return np.clip(u, -1.0, 1.0)


SMOOTH = ("tanh", "silu", "sine", "softplus")


def rows(n=40, d=15, seed=0):
    """Rows of different lengths; some parallel, opposite, almost equal, and one of zeros."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2.0, size=(n, 1))
    X[1], X[2], X[3], X[4] = 1.5 * X[0], -X[0], X[0] + 1e-3 * rng.normal(size=d), 0.0
    return X


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("act", FUNCTION)
def test_quadrature_equals_the_formulas(act, centred):
    X = rows()
    options = {"centred": centred, "lam0": 0.8}
    want = nngp_kernel(X, activation=act, **options)
    got = nngp_kernel(X, activation=FUNCTION[act], **options)
    assert_allclose(got, want, rtol=0, atol=1e-10 * want.max())
    assert_array_equal(got, got.T)
    got = nngp_kernel(X, X[:7], activation=FUNCTION[act], **options)
    assert_allclose(got, want[:, :7], rtol=0, atol=1e-10 * want.max())


def test_sine_exponential_and_sign():
    X = rows()
    c = X @ X.T / X.shape[1]
    a = np.diagonal(c)
    want = np.exp(-(a[:, None] + a) / 2) * np.sinh(c)
    assert_allclose(nngp_kernel(X, activation="sine"), want, rtol=0, atol=1e-12)
    want = np.exp((a[:, None] + a) / 4 + c / 2)
    got = nngp_kernel(X, activation=np.exp, lam0=2.0)
    assert_allclose(got, want, rtol=0, atol=1e-11 * want.max())
    X = np.delete(X, [1, 2, 4], 0)  # the arcsine loses half of its digits at one
    root = np.linalg.norm(X, axis=1)
    want = 2 / np.pi * np.arcsin(np.clip(X @ X.T / np.outer(root, root), -1, 1))
    np.fill_diagonal(want, 1.0)
    assert_allclose(nngp_kernel(X, activation=np.sign), want, rtol=0, atol=1e-10)


def test_kinks_away_from_zero():
    # by two integrals in the plane of SciPy
    from scipy.integrate import quad

    X = np.array([[1.2, 0.0], [1.1, 0.4]])
    a, b, c = X[0] @ X[0] / 2, X[1] @ X[1] / 2, X[0] @ X[1] / 2

    def inner(u):  # E clip(v) given u, in closed form
        m, s = c / a * u, math.sqrt(b - c**2 / a)
        low, high = (-1 - m) / s, (1 - m) / s
        density = math.exp(-(low**2) / 2) - math.exp(-(high**2) / 2)
        body = m * (sc.ndtr(high) - sc.ndtr(low)) + s * density / math.sqrt(2 * math.pi)
        return body - sc.ndtr(low) + sc.ndtr(-high)

    def f(u):
        return clip(u) * inner(u) * math.exp(-(u**2) / 2 / a) / math.sqrt(2 * math.pi * a)

    edges = [-9.0, -1.0, 0.0, 1.0, 9.0]
    want = sum(quad(f, *e, epsabs=1e-14)[0] for e in itertools.pairwise(edges))
    assert nngp_kernel(X, activation=clip)[0, 1] == pytest.approx(want, abs=1e-11)


@pytest.mark.parametrize("act", [*SMOOTH, clip])
def test_positive_semidefinite_and_named_as_its_callable(act):
    X = rows(60)
    K = nngp_kernel(X, activation=act, centred=True)
    assert np.linalg.eigvalsh(K)[0] > -1e-12 * np.trace(K)
    if act == "tanh":
        assert_array_equal(K, nngp_kernel(X, activation=np.tanh, centred=True))
        assert_allclose(K, nngp_kernel(X, activation=np.tanh), rtol=0, atol=0)  # odd


def test_means_and_squares():
    var = np.array([0.0, 0.3, 1.0, 2.5])
    m = expansion_of("softplus").moments(var)
    assert m.coef[0, 0] == pytest.approx(math.log(2), abs=1e-14)
    x, w = np.polynomial.hermite_e.hermegauss(120)
    values = np.logaddexp(0, np.sqrt(var)[:, None] * x)
    assert_allclose(m.coef[:, 0], values @ w / w.sum(), rtol=1e-11)
    assert_allclose(m.square, values**2 @ w / w.sum(), rtol=1e-11)
    # Hermite coefficients: E s u = var E s'
    slope = sc.expit(np.sqrt(var)[:, None] * x) @ w / w.sum()
    assert_allclose(m.coef[:, 1], np.sqrt(var) * slope, atol=1e-12)


def test_interpolated_coefficients_equal_those_of_each_variance():
    var = np.random.default_rng(0).uniform(0.2, 3.0, 50)
    e = Expansion(np.tanh, "tanh")
    many, few = e.moments(var), e.moments(var[:5])
    order = min(many.coef.shape[1], few.coef.shape[1])
    assert_allclose(many.coef[:5, :order], few.coef[:, :order], rtol=0, atol=1e-12)
    pairs = kernel_of_pairs("tanh", var, 0.4 * var)
    want = (many.coef**2 * 0.4 ** np.arange(many.coef.shape[1])).sum(1)
    assert_allclose(pairs, want, rtol=1e-12)
    assert_allclose(kernel_of_pairs("tanh", var, var), many.square, rtol=1e-11)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_do_not_change_a_bit(n_jobs):
    X = np.random.default_rng(0).normal(size=(430, 20))
    one = nngp_kernel(X, activation="silu", n_jobs=1)
    assert_array_equal(nngp_kernel(X, activation="silu", n_jobs=n_jobs), one)


def test_theory_of_a_callable_is_that_of_the_formula():
    X = np.random.default_rng(0).normal(size=(60, 40))
    y = X @ np.random.default_rng(1).normal(size=40) / 6 + 0.5
    data = (X[:15], y[:15]), (X[15:45], y[15:45]), (X[45:], y[45:])
    for act in ("erf", "gelu"):
        for gamma in (0.0, 1.0, math.inf):
            want = solve(WideNetModel(50, act, gamma=gamma), *data, on_failure="ignore")
            got = solve(WideNetModel(50, FUNCTION[act], gamma=gamma), *data, on_failure="ignore")
            for name in ("Q_s", "Q_t", "Q_tt", "Q_st", "loo", "test_error", "log_evidence"):
                assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("act", ["erf", "relu", "gelu"])
def test_sampled_energy_by_table_equals_the_formula(act):
    rng = np.random.default_rng(0)
    X, y, W = rng.normal(size=(12, 7)), rng.normal(size=12), rng.normal(size=(9, 7))
    args = (1.3, 0.05, X, y, W)
    kinds = core.widenet.Activation
    want = core.widenet.collapsed_energy(kinds[act], *args)
    got = core.widenet.collapsed_energy(kinds.table, *args, table_of(FUNCTION[act], 2.0))
    assert got.energy == pytest.approx(want.energy, rel=1e-11)
    assert_allclose(got.gradient, want.gradient, rtol=0, atol=1e-9)


def test_sampler_refuses_weights_beyond_the_table():
    rng = np.random.default_rng(0)
    X, y, W = rng.normal(size=(5, 3)), rng.normal(size=5), 1e4 * rng.normal(size=(4, 3))
    table = core.widenet.Activation.table
    with pytest.raises(NumericalError, match="singular"):
        core.widenet.collapsed_energy(table, 1.0, 0.05, X, y, W, table_of("tanh", 1.0))
    with pytest.raises(ValueError, match="no panels"):
        core.widenet.collapsed_energy(table, 1.0, 0.05, X, y, W)


@pytest.mark.slow
def test_tanh_agrees_with_sampling():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 40))
    y = X @ rng.normal(size=40) / 40**0.5
    data = (X[:15], y[:15]), (X[15:45], y[15:45]), (X[45:], y[45:])
    model = WideNetModel(60, "tanh", gamma=1.0)
    result = compare(model, *data, n_chains=6, n_draws=2, random_state=0, on_failure="ignore")
    gap = np.abs(result.theory - result.simulation)
    assert (gap < 3 * result.stderr + 0.03 * np.abs(result.theory)).all(), str(result)


def test_refusals_name_the_place():
    X = rows()
    with pytest.raises(ValueError, match=r"must be finite: it gives nan at -0.5"):
        WideNetModel(50, np.sqrt)
    with pytest.raises(ValueError, match=r"must be finite: it gives inf at 0"):
        nngp_kernel(X, activation=lambda u: 1 / u)
    with pytest.raises(ValueError, match="must be vectorised"):
        WideNetModel(50, lambda u: 3.0)
    with pytest.raises(TypeError, match="real numbers"):
        WideNetModel(50, lambda u: u + 1j)
    with pytest.raises(ValueError, match=r"activation must be one of .*'tanh'"):
        WideNetModel(50, "swish")
    with pytest.raises(NumericalError, match="grows too fast"):
        nngp_kernel([[1.2]], activation=lambda u: np.exp(u**2 / 4))
    with pytest.raises(NumericalError, match="not smooth"):
        nngp_kernel(X, activation=lambda u: np.modf(1e4 * np.sin(1e5 * u))[0])
    with pytest.raises(NumericalError, match="varies too fast"):
        nngp_kernel([[1.2]], activation=lambda u: np.sin(500 * u))
