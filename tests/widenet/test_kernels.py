"""Kernels of a hidden unit against quadrature, formulas and identities."""

import mpmath
import numpy as np
import pytest
import scipy.special as sc
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper.widenet import nngp_kernel

from . import naive

ACTIVATIONS = ("erf", "relu", "gelu", "linear")
FUNCTION = {
    "erf": sc.erf,
    "gelu": lambda u: u * sc.ndtr(u),
    "linear": lambda u: u,
    "relu": lambda u: np.maximum(u, 0),
}


def data(n=37, k=23, d=11, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 2 * rng.normal(size=(k, d))


def by_formula(X, Y, act, lam0, centred):
    d = X.shape[1]
    a, b = ((Z**2).sum(1) / d / lam0 for Z in (X, Y))
    return naive.kernel(act, a, X @ Y.T / d / lam0, b, centred)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_equals_the_formula(act, centred):
    X, Y = data(250, 210)
    for lam0 in (0.3, 1.0, 20.0):
        kwargs = {"activation": act, "lam0": lam0, "centred": centred}
        assert_allclose(
            nngp_kernel(X, Y, **kwargs),
            by_formula(X, Y, act, lam0, centred),
            rtol=1e-12,
            atol=1e-14,
        )
        assert_allclose(
            nngp_kernel(X, **kwargs), by_formula(X, X, act, lam0, centred), rtol=1e-7, atol=1e-13
        )


@pytest.mark.parametrize(
    ("act", "atol"), [("erf", 1e-9), ("gelu", 1e-9), ("linear", 1e-12), ("relu", 3e-3)]
)
def test_equals_gaussian_quadrature(act, atol):
    x, w = np.polynomial.hermite_e.hermegauss(150)
    w = w / w.sum()
    X, Y = data(4, 3)
    Y = Y / 2
    d = X.shape[1]
    got, centred = (nngp_kernel(X, Y, activation=act, centred=c) for c in (False, True))
    for i, j in np.ndindex(got.shape):
        a, b, c = X[i] @ X[i] / d, Y[j] @ Y[j] / d, X[i] @ Y[j] / d
        u = np.sqrt(a) * x[:, None]
        v = c / np.sqrt(a) * x[:, None] + np.sqrt(b - c**2 / a) * x
        f = FUNCTION[act]
        both = w @ (f(u) * f(v)) @ w
        assert got[i, j] == pytest.approx(both, abs=atol)
        apart = (w @ f(np.sqrt(a) * x)) * (w @ f(np.sqrt(b) * x))
        assert centred[i, j] == pytest.approx(both - apart, abs=2 * atol)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_symmetric_half_equals_the_whole(act):
    X, _ = data(400)
    K = nngp_kernel(X, activation=act)
    assert_array_equal(K, K.T)
    assert_allclose(K, nngp_kernel(X, X.copy(), activation=act), rtol=1e-9)
    assert np.linalg.eigvalsh(nngp_kernel(X, activation=act, centred=True))[0] > -1e-12 * len(X)


def test_erf_keeps_its_digits_near_one():
    X = np.array([[1e3, 0.0], [1e3, 1e-3]])  # variances near 5e5
    K = nngp_kernel(X)
    a = 1e6 / 2
    z = 2 * a / (1 + 2 * a)
    assert K[0, 0] == pytest.approx(1 - 4 / np.pi * np.arcsin(np.sqrt((1 - z) / 2)), rel=1e-9)


@pytest.mark.parametrize("centred", [False, True])
def test_relu_keeps_its_digits(centred):
    t = np.concatenate([np.linspace(-1, 1, 401), [-1 + 1e-9, 1 - 1e-9, np.nextafter(0.5, 1), 1e-9]])
    ones = np.ones_like(t)
    got = core.widenet.kernel_of_pairs(core.widenet.Activation.relu, t, ones, ones, centred)
    with mpmath.workdps(40):
        want = [
            (v * mpmath.acos(-v) + mpmath.sqrt(1 - v * v)) - centred for v in map(mpmath.mpf, t)
        ]
        want = np.array([float(v / (2 * mpmath.pi)) for v in want])
    assert_allclose(got, want, rtol=0 if centred else 1e-15, atol=2e-16)
    if not centred:  # near t = -1 what remains is small, and still right
        assert_allclose(got[401], want[401], rtol=1e-14)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("act", ["erf", "relu"])
def test_neighbours_do_not_change_a_bit(act, centred):
    """Entries between nearly independent rows take a shorter way than those beside a large one."""
    X = np.random.default_rng(3).integers(-2, 3, size=(130, 200)).astype(float)  # exact products
    X[0] *= 3  # beside itself its correlation is near one for erf too
    options = {"activation": act, "centred": centred}
    alone = nngp_kernel(X[:1], X[1:], **options)
    assert_array_equal(nngp_kernel(X[:1], X, **options)[:, 1:], alone)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_zero_rows_are_harmless(act):
    X, Y = data(5, 4)
    X[2] = 0
    K = nngp_kernel(X, Y, activation=act, centred=True)
    assert_array_equal(K[2], 0.0)
    assert np.isfinite(nngp_kernel(X, activation=act)).all()


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_threads_do_not_change_a_bit(act, n_jobs):
    X, Y = data(500, 450)
    for args in ((X,), (X, Y)):
        one = nngp_kernel(*args, activation=act, n_jobs=1)
        assert_array_equal(nngp_kernel(*args, activation=act, n_jobs=n_jobs), one)


def test_layout_and_dtype_do_not_matter():
    X, Y = data()
    want = nngp_kernel(X, Y)
    assert_array_equal(nngp_kernel(np.asfortranarray(X), Y.tolist()), want)
    assert_array_equal(nngp_kernel(np.repeat(X, 2, 1)[:, ::2], Y), want)


def test_refuses_what_it_cannot_take():
    X, Y = data()
    with pytest.raises(ValueError, match="X has 11 features and Y has 10"):
        nngp_kernel(X, Y[:, :10])
    with pytest.raises(ValueError, match="activation must be one of"):
        nngp_kernel(X, activation="swish")
    with pytest.raises(ValueError, match=r"lam0 must lie in \(0"):
        nngp_kernel(X, lam0=0.0)
    with pytest.raises(ValueError, match="at least one feature"):
        nngp_kernel(X[:, :0])
    X[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"X\[3, 4\]"):
        nngp_kernel(X)
