"""ReLU tangent kernel, its path of ridges, the bound and the sharp risk."""

import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg

from retemper.exceptions import ValidityWarning
from retemper.linear import (
    FineTunedReLURegressor,
    relu_bound,
    relu_ntk,
    relu_risk,
)
from retemper.linear.model import LinearModel
from retemper.linear.relu.kernel import KernelPath

from .models import rows, unit
from .portable import D5, SRC, combine, matrix, spectrum


def slow_ntk(X, Y):
    """The formula, entry by entry as NumPy writes it."""
    norms = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Y, axis=1)
    gram = X @ Y.T
    cosine = np.clip(np.divide(gram, norms, out=np.zeros_like(gram), where=norms > 0), -1, 1)
    return gram * (np.pi - np.arccos(cosine)) / (2 * np.pi)


def exact_entry(x, y):
    with mpmath.workdps(50):
        a, b = [mpmath.mpf(float(v)) for v in x], [mpmath.mpf(float(v)) for v in y]
        dot = mpmath.fdot(a, b)
        norms = mpmath.sqrt(mpmath.fdot(a, a) * mpmath.fdot(b, b))
        return float(dot * (mpmath.pi - mpmath.acos(dot / norms)) / (2 * mpmath.pi))


@pytest.mark.parametrize(("n", "k", "d"), [(1, 1, 1), (7, 5, 3), (193, 400, 33), (385, 191, 1)])
def test_kernel_equals_the_slow_formula(n, k, d):
    X, Y = rows(n, d), rows(k, d, 1)
    size = np.abs(X).max() * np.abs(Y).max() * d
    assert_allclose(relu_ntk(X, Y), slow_ntk(X, Y), atol=3e-8 * size)  # arccos of the slow one
    off = ~np.eye(n, dtype=bool)
    assert_allclose(relu_ntk(X)[off], slow_ntk(X, X)[off], atol=3e-8 * size)


def test_neighbours_do_not_change_a_bit():
    """Entries between nearly orthogonal rows take a shorter way than those beside a large one."""
    X = np.random.default_rng(3).integers(-2, 3, size=(130, 200)).astype(float)  # exact products
    assert_array_equal(relu_ntk(X[:1], X)[:, 1:], relu_ntk(X[:1], X[1:]))


@pytest.mark.parametrize("shift", [1.0, 1e-2, 1e-3, 1e-6, 1e-12, 0.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_kernel_is_accurate_for_nearly_parallel_rows(shift, sign):
    X = rows(6, 5)
    Y = sign * (X + shift * rows(6, 5, 1))
    got = relu_ntk(X, Y).diagonal()
    want = np.array([exact_entry(x, y) for x, y in zip(X, Y, strict=True)])
    assert_allclose(got, want, rtol=2e-12, atol=3e-15 * np.square(X).sum(axis=1).max())


def test_kernel_diagonal_symmetry_and_zero_rows():
    X = rows(300, 9)
    X[[3, 250]] = 0.0
    H = relu_ntk(X)
    assert_array_equal(H, H.T)
    assert_allclose(H.diagonal(), np.square(X).sum(axis=1) / 2, rtol=1e-14)
    assert not H[3].any()
    assert not H[:, 250].any()
    assert not relu_ntk(X, np.zeros((2, 9))).any()
    assert relu_ntk(np.zeros((0, 3))).shape == (0, 0)


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 1000))
def test_kernel_dominates_a_quarter_of_the_gram(d, n, seed):
    X = rows(n, d, seed)
    H = relu_ntk(X)
    least = linalg.eigvalsh(H - X @ X.T / 4)[0]
    assert least >= -1e-12 * np.trace(H)


def test_kernel_is_homogeneous():
    X, Y = rows(20, 4), rows(30, 4, 1)
    assert_allclose(relu_ntk(3.0 * X, 0.25 * Y), 0.75 * relu_ntk(X, Y), rtol=1e-13)
    assert_allclose(relu_ntk(1e100 * X), 1e200 * relu_ntk(X), rtol=1e-13)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_kernel_threads_do_not_change_a_bit(n_jobs):
    X, Y = rows(500, 40), rows(450, 40, 1)
    assert_array_equal(relu_ntk(X, n_jobs=n_jobs), relu_ntk(X, n_jobs=1))
    assert_array_equal(relu_ntk(X, Y, n_jobs=n_jobs), relu_ntk(X, Y, n_jobs=1))


def test_kernel_memory_layout_and_dtype_do_not_matter():
    X = rows(40, 6).astype(np.float32)
    want = relu_ntk(X.astype(float))
    assert_array_equal(relu_ntk(X), want)
    assert_array_equal(relu_ntk(np.asfortranarray(X)), want)
    assert_array_equal(relu_ntk(np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]), want)
    assert_array_equal(relu_ntk(X.tolist()), want)


@pytest.mark.parametrize(
    ("X", "Y", "error", "message"),
    [
        (np.ones(3), None, ValueError, "X must be 2-D"),
        ([[1.0, np.nan]], None, ValueError, r"X\[0, 1\] is nan"),
        ([["a"]], None, TypeError, "real numbers"),
        (np.ones((2, 3)), np.ones((2, 4)), ValueError, r"Y must have shape \(any, 3\)"),
    ],
)
def test_kernel_refuses_bad_input(X, Y, error, message):
    with pytest.raises(error, match=message):
        relu_ntk(X, Y)


def test_bound_and_prediction_reference_values():
    X = unit(matrix(3, 13, 8))
    train, test = X[:12], X[12:]
    bound = relu_bound(train, train @ combine([[0.7, "cos", 0.2]], 8))
    assert_allclose(bound.quadratic_form, 1.31080235983, rtol=1e-8)
    assert_allclose(bound.bound, 0.467404599861, rtol=1e-8)
    assert bound.jitter == 0.0
    model = FineTunedReLURegressor(source=combine(SRC, 8), ridge=0.0, fit_intercept=False)
    model.fit(train, train @ combine(D5, 8))
    assert_allclose(model.predict(test), 0.261209310311, rtol=1e-7)
    residual = train @ (combine(D5, 8) - combine(SRC, 8))
    assert_allclose(model.bound_, relu_bound(train, residual).bound, rtol=1e-9)


@pytest.mark.slow
@given(st.integers(1, 10), st.integers(1, 20), st.integers(0, 1000))
def test_bound_of_a_linear_residual_is_capped(d, n, seed):
    X, delta = unit(rows(n, d, seed)), rows(1, d, seed + 1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        bound = relu_bound(X, X @ delta)
    assert bound.quadratic_form <= 4 * (delta @ delta) * (1 + 1e-9)
    assert_allclose(bound.bound, np.sqrt(2 * bound.quadratic_form / n), rtol=1e-12)


def test_bound_of_singular_kernel_warns_and_says_what_was_added():
    X = np.vstack([rows(3, 4), np.zeros((1, 4))])
    with pytest.warns(ValidityWarning, match="singular"):
        bound = relu_bound(X, [1.0, 1.0, 1.0, 0.0])
    assert_allclose(bound.jitter, 1e-12 * np.square(X).sum() / 8, rtol=1e-12)
    assert_allclose(bound.quadratic_form, relu_bound(X[:3], np.ones(3)).quadratic_form, rtol=1e-9)


@pytest.mark.parametrize(
    ("X", "residual", "message"),
    [
        (np.zeros((3, 2)), np.ones(3), "non-zero row"),
        (np.ones((3, 2)), np.ones(2), r"residual must have shape \(3\)"),
        (np.zeros((0, 2)), np.ones(0), "at least one row"),
    ],
)
def test_bound_refuses_bad_input(X, residual, message):
    with pytest.raises(ValueError, match=message):
        relu_bound(X, residual)


def test_risk_reference_value():
    model = LinearModel(600, combine(D5, 600), source_coef=combine(SRC, 600), noise=0.3)
    assert_allclose(relu_risk(model).risk, 0.0740085348825, rtol=1e-8)


def test_risk_does_not_care_how_the_covariance_is_given():
    d, eigenvalues = 150, spectrum("power", 150, 0.2)
    kwargs = {"source_coef": combine(SRC, d), "noise": 0.3, "ridge": 0.2 / 90}
    one = relu_risk(LinearModel(90, combine(D5, d), spectrum=eigenvalues, **kwargs))
    two = relu_risk(LinearModel(90, combine(D5, d), cov=np.diag(eigenvalues), **kwargs))
    assert_allclose(one.risk, two.risk, rtol=1e-9)
    assert_allclose(one.model.ridge, 1.8 * eigenvalues.sum() / 90, rtol=1e-14)
    zero_shot = relu_risk(LinearModel(0, combine(D5, d), spectrum=eigenvalues, **kwargs))
    gap = combine(D5, d) - combine(SRC, d)
    assert_allclose(zero_shot.risk, gap @ (eigenvalues * gap), rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LinearModel(50, np.ones(50)), "rank is 50"),
        (LinearModel(250, np.ones(110)), "n = 250"),
        (LinearModel(20, np.ones(300), spectrum=spectrum("power", 300, 1)), "effective rank"),
    ],
)
def test_risk_warns_outside_its_range(model, message):
    with pytest.warns(ValidityWarning, match=message):
        relu_risk(model)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (3, TypeError, "LinearModel"),
        (LinearModel(50, np.ones(200), depth=2), ValueError, "depth must be 1"),
        (LinearModel(50, np.ones(200), ridge=-0.1), ValueError, "ridge must be non-negative"),
        (LinearModel(5, np.ones(9), spectrum=np.zeros(9)), ValueError, "trace is 0"),
    ],
)
def test_risk_refuses_bad_input(model, error, message):
    with pytest.raises(error, match=message):
        relu_risk(model)


def kernel_experiment(d, n, power, noise, seeds, *, n_test=1500):
    """Excess risk of the kernel fit and its GCV error, per seed."""
    eigenvalues = spectrum("power", d, power) if power else np.ones(d)
    target, source = combine(D5, d), combine(SRC, d)
    scale = np.sqrt(eigenvalues.sum())
    risk, gcv = [], []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, d, n])
        Z = unit(rng.standard_normal((n + n_test, d)) * np.sqrt(eigenvalues))
        X, Xt = Z[:n], Z[n:]
        y = scale * X @ target + noise * rng.standard_normal(n)
        model = FineTunedReLURegressor(ridge=0.0, source=scale * source, fit_intercept=False)
        model.fit(X, y)
        risk.append(np.square(model.predict(Xt) - scale * Xt @ target).mean())
        gcv.append(model.gcv_)
    return np.array(risk), np.array(gcv)


@pytest.mark.parametrize(("d", "n"), [(300, 150), (300, 450)])
def test_risk_agrees_with_the_kernel(d, n):
    """Section 4.6 of the derivation found 5 % for isotropic inputs of d = 200 to 600."""
    risk, _ = kernel_experiment(d, n, 0, 0.3, 6)
    theory = relu_risk(LinearModel(n, combine(D5, d), source_coef=combine(SRC, d), noise=0.3))
    stderr = risk.std(ddof=1) / np.sqrt(len(risk))
    assert abs(risk.mean() - theory.risk) < 3 * stderr + 0.05 * theory.risk


@pytest.mark.slow
def test_gcv_holds_where_the_sharp_risk_does_not():
    d, n, noise = 300, 150, 0.3
    risk, gcv = kernel_experiment(d, n, 1, noise, 10)
    model = LinearModel(
        n,
        combine(D5, d),
        spectrum=spectrum("power", d, 1),
        source_coef=combine(SRC, d),
        noise=noise,
    )
    with pytest.warns(ValidityWarning):
        theory = relu_risk(model)
    assert abs(theory.risk / risk.mean() - 1) > 0.2  # the equivalence fails: effective rank 24
    gap = gcv - (risk + noise**2)
    assert abs(gap.mean()) < 3 * gap.std(ddof=1) / np.sqrt(len(gap)) + 0.03 * gcv.mean()


def refit_without(H, r, i, ridge, fit_intercept):
    """Residual of row i under the fit of the others, from the bordered system."""
    keep = np.arange(len(r)) != i
    n = keep.sum()
    if not fit_intercept:
        alpha = linalg.pinvh(H[np.ix_(keep, keep)] + ridge * np.eye(n)) @ r[keep]
        return r[i] - H[i, keep] @ alpha
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = H[np.ix_(keep, keep)] + ridge * np.eye(n)
    system[n, n] = 0.0
    solution = linalg.pinvh(system) @ np.append(r[keep], 0.0)
    return r[i] - H[i, keep] @ solution[:n] - solution[n]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 0.3 / 18])
@pytest.mark.parametrize("d", [2, 6])
def test_leave_one_out_is_refitting(fit_intercept, ridge, d):
    X = rows(18, d)
    H, r = relu_ntk(X), rows(1, 18, 5)[0] + 2.0
    path = KernelPath(H, r, fit_intercept)
    want = [refit_without(H, r, i, 18 * ridge, fit_intercept) for i in range(18)]
    assert_allclose(path.loo(ridge)[0], want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leave_one_out_of_a_kernel_of_low_rank(fit_intercept):
    """One feature: H has rank two, the fit is least squares on the two half lines."""
    x = rows(15, 1)
    r = rows(1, 15, 3)[0]
    A = np.hstack([np.maximum(x, 0), np.minimum(x, 0), np.ones((15, int(fit_intercept)))])
    leverage = 1 - (A @ np.linalg.pinv(A)).diagonal()
    want = (r - A @ np.linalg.lstsq(A, r, rcond=None)[0]) / leverage
    path = KernelPath(relu_ntk(x), r, fit_intercept)
    assert path.rank == 2
    assert path.n_effective == 15 - fit_intercept
    assert_allclose(path.loo(0.0)[0], want, rtol=1e-8)
    assert 0.0 not in path.grid()
    alpha, b = path.solve(0.0)
    fitted = relu_ntk(x) @ alpha + b
    assert_allclose(r - fitted, want * leverage, atol=1e-10)


def test_leave_one_out_reads_repeated_rows_from_their_twins():
    X = rows(6, 3)
    X[1] = X[0]
    r = rows(1, 6, 1)[0]
    path = KernelPath(relu_ntk(X), r, False)
    loo = path.loo(0.0)[0]
    assert path.rank == 5
    assert_allclose(loo[:2], [r[0] - r[1], r[1] - r[0]], rtol=1e-6)
    H = relu_ntk(X)
    want = [refit_without(H, r, i, 0.0, False) for i in range(2, 6)]
    assert_allclose(loo[2:], want, rtol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gcv_is_its_definition(fit_intercept):
    X, r, ridge = rows(20, 4), rows(1, 20, 2)[0], 0.01
    H = relu_ntk(X)
    P = np.eye(20) - fit_intercept / 20
    basis = linalg.null_space(np.ones((1, 20))) if fit_intercept else np.eye(20)
    A = basis @ linalg.inv(basis.T @ (H + 20 * ridge * np.eye(20)) @ basis) @ basis.T
    N = 20 - fit_intercept
    path = KernelPath(H, r, fit_intercept)
    assert_allclose(path.gcv(ridge)[0], N * np.sum((A @ r) ** 2) / np.trace(A) ** 2, rtol=1e-10)
    assert_allclose(path.gcv(np.inf)[0], np.sum((P @ r) ** 2) / N, rtol=1e-12)
    assert_allclose(path.gcv(1e12)[0], path.gcv(np.inf)[0], rtol=1e-9)
    assert_allclose(path.loo(1e12)[0], path.loo(np.inf)[0], rtol=1e-8)
    alpha, b = path.solve(ridge)
    assert_allclose(alpha, A @ r, atol=1e-12)
    assert_allclose(b, (r - H @ alpha).mean() if fit_intercept else 0.0, atol=1e-12)
    assert path.solve(np.inf)[0].any() == 0
