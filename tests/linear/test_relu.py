"""Tangent kernel, bound, sharp risk and networks of finite width."""

import os
import pickle
import signal
import threading
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning
from retemper.linear import (
    FineTunedReLURegressor,
    relu_bound,
    relu_network_fit,
    relu_network_init,
    relu_network_kernel,
    relu_network_predict,
    relu_ntk,
    relu_risk,
)
from retemper.linear.model import LinearModel
from retemper.linear.relu.kernel import KernelPath

from .portable import D5, SRC, combine, matrix, spectrum


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


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


# ---------------------------------------------------------------------------------------------
# kernel


@pytest.mark.parametrize(("n", "k", "d"), [(1, 1, 1), (7, 5, 3), (193, 400, 33), (385, 191, 1)])
def test_kernel_equals_the_slow_formula(n, k, d):
    X, Y = rows(n, d), rows(k, d, 1)
    size = np.abs(X).max() * np.abs(Y).max() * d
    assert_allclose(relu_ntk(X, Y), slow_ntk(X, Y), atol=3e-8 * size)  # arccos of the slow one
    off = ~np.eye(n, dtype=bool)
    assert_allclose(relu_ntk(X)[off], slow_ntk(X, X)[off], atol=3e-8 * size)


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


# ---------------------------------------------------------------------------------------------
# bound


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


# ---------------------------------------------------------------------------------------------
# sharp risk


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


# ---------------------------------------------------------------------------------------------
# leave-one-out and GCV


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


# ---------------------------------------------------------------------------------------------
# networks


def slow_descent(W, a, X, y, *, step, ridge, fit_intercept, n_iter):
    """Gradient descent, as the definition reads."""
    W, start, m, loss = W.copy(), W.copy(), len(W), []
    for k in range(n_iter + 1):
        Z = X @ W.T
        e = np.maximum(Z, 0) @ a / np.sqrt(m) - y
        b = -e.mean() if fit_intercept else 0.0
        e += b
        loss.append(np.mean(e**2))
        if k < n_iter:
            W -= step * ((a[:, None] * (Z.T > 0) * e) @ X / np.sqrt(m) + ridge * (W - start))
    return W, b, np.array(loss)


SHAPES = [(20, 30, 300), (300, 7, 150), (300, 260, 129)]


@pytest.mark.parametrize("ridge", [0.0, 0.01])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("n", "d", "m"), SHAPES)
def test_descent_equals_the_slow_one(n, d, m, ridge, fit_intercept):
    X, y = unit(rows(n, d)), rows(1, n, 2)[0]
    W, a = rows(m, d, 1), np.sign(rows(1, m, 3)[0])
    step = 0.5 / (linalg.eigvalsh(relu_network_kernel(W, X))[-1] + n * ridge)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        fit = relu_network_fit(
            W, a, X, y, ridge=ridge, fit_intercept=fit_intercept, step_size=step, max_iter=15, tol=0
        )
    want, intercept, loss = slow_descent(
        W, a, X, y, step=step, ridge=n * ridge, fit_intercept=fit_intercept, n_iter=15
    )
    assert_allclose(fit.weights, want, rtol=1e-9, atol=1e-11)
    assert_allclose(fit.loss, loss, rtol=1e-10)
    assert_allclose(fit.intercept, intercept, atol=1e-12)
    assert fit.status == "max_iter"


@pytest.mark.parametrize(("n", "d"), [(10, 6), (30, 4)])
def test_step_follows_the_gradient_of_finite_differences(n, d):
    X, y = rows(n, d), rows(1, n, 2)[0]
    W, a = rows(8, d, 1), np.repeat([1.0, -1.0], 4)

    def loss(W):
        return 0.5 * np.sum((relu_network_predict(W, a, X) - y) ** 2)

    fit = relu_network_fit(W, a, X, y, step_size=1e-3, max_iter=1, on_failure="ignore")
    gradient = np.empty_like(W)
    for index in np.ndindex(W.shape):
        shift = np.zeros_like(W)
        shift[index] = 1e-6
        gradient[index] = (loss(W + shift) - loss(W - shift)) / 2e-6
    assert_allclose((W - fit.weights) / 1e-3, gradient, rtol=1e-5, atol=1e-6)


def test_network_kernel_is_the_gram_matrix_of_gradients():
    X, W, a = rows(7, 4), rows(50, 4, 1), np.repeat([1.0, -1.0], 25)
    gradient = (a[:, None] * (W @ X.T > 0) / np.sqrt(50)).T[:, :, None] * X[:, None, :]
    gradient = gradient.reshape(7, -1)
    assert_allclose(relu_network_kernel(W, X), gradient @ gradient.T, rtol=1e-12)
    wide, _ = relu_network_init(200_000, 4, random_state=0)
    assert_allclose(relu_network_kernel(wide, X), relu_ntk(X), atol=0.03)


def test_network_starts_from_zero_output():
    W, a = relu_network_init(600, 5, init_sd=3.0, random_state=1)
    assert_array_equal(W, relu_network_init(600, 5, init_sd=3.0, random_state=1)[0])
    assert abs(W.std() - 3.0) < 0.2
    assert_allclose(relu_network_predict(W, a, rows(700, 5)), 0.0, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 0.025])
def test_wide_network_converges_to_the_kernel(ridge):
    """Distance to the kernel prediction falls like one over the square root of the width."""
    n, d = 20, 30
    X, Xt = unit(rows(n, d)), unit(rows(200, d, 1))
    y = np.sqrt(d) * X @ combine(D5, d)
    kernel = relu_ntk(Xt, X) @ linalg.solve(relu_ntk(X) + n * ridge * np.eye(n), y)
    widths, distance = [250, 1000, 4000], []
    for m in widths:
        gaps = []
        for seed in range(4):
            W, a = relu_network_init(m, d, random_state=seed)
            fit = relu_network_fit(W, a, X, y, ridge=ridge, tol=1e-12)
            assert fit.status == "converged"
            gaps.append(relu_network_predict(fit.weights, a, Xt) - kernel)
        distance.append(np.sqrt(np.mean(np.square(gaps)) / np.mean(kernel**2)))
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 0.06
    slope = np.polyfit(np.log(widths), np.log(distance), 1)[0]
    assert -0.7 < slope < -0.35


def test_trained_network_solves_the_problem():
    X, y = unit(rows(25, 40)), rows(1, 25, 1)[0]
    W, a = relu_network_init(400, 40, random_state=0)
    fit = relu_network_fit(W, a, X, y, fit_intercept=True, tol=1e-14)
    assert_allclose(relu_network_predict(fit.weights, a, X) + fit.intercept, y, atol=1e-5)
    assert fit.loss[-1] < 1e-10
    assert len(fit.loss) == fit.n_iter + 1
    assert (np.diff(fit.loss) <= 0).all()
    assert_array_equal(fit.signs, a)
    assert_array_equal(W, relu_network_init(400, 40, random_state=0)[0])  # input untouched


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(150, 90), (200, 60)])
def test_network_threads_do_not_change_a_bit(n, d, n_jobs):
    X, y = unit(rows(n, d)), rows(1, n, 1)[0]
    W, a = relu_network_init(1000, d, random_state=0)
    one, many = (
        relu_network_fit(
            W, a, X, y, ridge=0.1, fit_intercept=True, max_iter=12, on_failure="ignore", n_jobs=jobs
        )
        for jobs in (1, n_jobs)
    )
    assert_array_equal(one.weights, many.weights)
    assert_array_equal(one.loss, many.loss)
    wide = rows(600, d, 7)
    assert_array_equal(
        relu_network_predict(W, a, wide, n_jobs=1), relu_network_predict(W, a, wide, n_jobs=n_jobs)
    )


@pytest.mark.parametrize(("n", "d"), [(20, 15), (60, 15)])
def test_too_long_a_step_is_an_error_that_says_so(n, d):
    X, y = unit(rows(n, d)), rows(1, n, 1)[0]
    W, a = relu_network_init(2000, d, random_state=0)
    step = 6.0 / linalg.eigvalsh(relu_network_kernel(W, X))[-1]
    with pytest.raises(NumericalError, match=r"diverged.*step"):
        relu_network_fit(W, a, X, y, step_size=step)


def test_convergence_is_not_claimed_while_the_loss_is_above_its_start():
    X, y = unit(rows(60, 15)), rows(1, 60, 1)[0]
    W, a = relu_network_init(2000, 15, random_state=0)
    step = 2.5 / linalg.eigvalsh(relu_network_kernel(W, X))[-1]  # climbs out, then settles
    fit = relu_network_fit(W, a, X, y, step_size=step)
    assert fit.loss.max() > 2 * fit.loss[0]
    assert fit.loss[-1] < 1e-3 * fit.loss[0]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_training_can_be_watched_and_stopped(n_jobs):
    X, y = unit(rows(100, 60)), rows(1, 100, 1)[0]
    W, a = relu_network_init(2000, 60, random_state=0)
    seen = []

    class StopError(Exception):
        pass

    def watch(done, total):
        seen.append((done, total))
        if len(seen) == 2:
            raise StopError

    kwargs = {"tol": 0.0, "max_iter": 1_000_000, "step_size": 1e-4, "n_jobs": n_jobs}
    with pytest.raises(StopError):
        relu_network_fit(W, a, X, y, progress=watch, **kwargs)
    assert seen[0][0] < seen[1][0] < seen[1][1] == 1_000_000
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        relu_network_fit(W, a, X, y, **kwargs)


NETWORK = {"weights": np.ones((2, 3)), "signs": [1, -1], "X": np.ones((4, 3)), "y": np.ones(4)}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"signs": [1, 0.5]}, ValueError, r"signs\[1\] is 0.5"),
        ({"signs": [1]}, ValueError, r"signs must have shape \(2\)"),
        ({"weights": np.ones((0, 3)), "signs": []}, ValueError, "weights must not be empty"),
        ({"X": np.ones((4, 2))}, ValueError, r"X must have shape \(any, 3\)"),
        ({"X": np.ones((0, 3)), "y": []}, ValueError, "at least one row"),
        ({"y": np.ones(3)}, ValueError, r"y must have shape \(4\)"),
        ({"y": [1, 2, 3, np.inf]}, ValueError, r"y\[3\] is inf"),
        ({"ridge": -1.0}, ValueError, "ridge must lie"),
        ({"ridge": np.inf}, ValueError, "ridge must lie"),
        ({"step_size": 0.0}, ValueError, "step_size must lie"),
        ({"step_size": "fast"}, ValueError, "step_size must be 'auto'"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"tol": "small"}, TypeError, "tol must be a real number"),
    ],
)
def test_network_fit_refuses_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        relu_network_fit(**{**NETWORK, **change})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"width": 7, "n_features": 2}, "width must be even"),
        ({"width": 0, "n_features": 2}, "width must be at least 2"),
        ({"width": 4, "n_features": 0}, "n_features must be at least 1"),
        ({"width": 4, "n_features": 2, "init_sd": 0.0}, "init_sd must lie"),
    ],
)
def test_network_init_refuses_bad_input(kwargs, message):
    with pytest.raises(ValueError, match=message):
        relu_network_init(**kwargs)


# ---------------------------------------------------------------------------------------------
# estimator


@parametrize_with_checks([FineTunedReLURegressor(mode="network", width=40, tol=1e-2)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_battery_in_network_mode(estimator, check):
    check(estimator)


def task(n=40, d=6, seed=0):
    X = rows(n, d, seed)
    coef = np.arange(1.0, d + 1) / d
    return X, X @ coef + 0.5 * np.abs(X[:, 0]) + 0.1 * rows(1, n, seed + 1)[0] + 3.0, coef


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_kernel_mode_solves_the_bordered_system(fit_intercept):
    X, y, coef = task()
    model = FineTunedReLURegressor(ridge=0.01, source=coef, fit_intercept=fit_intercept).fit(X, y)
    new = rows(15, 6, 9)
    n = len(X)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = relu_ntk(X) + n * 0.01 * np.eye(n)
    system[n, n] = 0.0
    size = n + fit_intercept
    solution = linalg.solve(system[:size, :size], np.append(y - X @ coef, 0.0)[:size])
    want = new @ coef + relu_ntk(new, X) @ solution[:n] + solution[n:].sum()
    assert_allclose(model.predict(new), want, rtol=1e-9)
    assert_allclose(model.dual_coef_, solution[:n], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("criterion", ["loo", "gcv"])
def test_ridge_is_the_best_of_the_path(criterion):
    X, y, _ = task()
    model = FineTunedReLURegressor(ridge=criterion).fit(X, y)
    path = model.loo_path_ if criterion == "loo" else model.gcv_path_
    best = model.ridges_[np.argmin(path)]
    assert model.ridge_ == best
    assert model.ridges_[0] == np.inf
    assert model.ridges_[-1] == 0.0
    again = FineTunedReLURegressor(ridge=best).fit(X, y)
    assert_allclose([again.loo_, again.gcv_], [model.loo_, model.gcv_], rtol=1e-12)
    kept = best * 40 / 39  # leave-one-out keeps the penalty on the sum of squares
    refits = [
        y[i]
        - FineTunedReLURegressor(ridge=kept)
        .fit(np.delete(X, i, 0), np.delete(y, i))
        .predict(X[i : i + 1])[0]
        for i in range(len(X))
    ]
    assert_allclose(model.loo_, np.mean(np.square(refits)), rtol=1e-8)


def test_infinite_ridge_returns_the_source_and_the_mean():
    X, y, coef = task()
    for mode in ("kernel", "network"):
        model = FineTunedReLURegressor(mode=mode, ridge=np.inf, source=coef, width=20).fit(X, y)
        assert_allclose(model.predict(X), X @ coef + (y - X @ coef).mean(), rtol=1e-12)


def test_unrelated_labels_leave_the_source_alone():
    X, _, coef = task(80)
    y = X @ coef + rows(1, 80, 11)[0]
    chosen = FineTunedReLURegressor(source=coef).fit(X, y)
    plain = FineTunedReLURegressor(source=coef, ridge=0.0).fit(X, y)
    assert chosen.loo_ < plain.loo_
    assert chosen.ridge_ > 1.0 / 80


@pytest.mark.parametrize("mode", ["kernel", "network"])
@pytest.mark.parametrize("kind", ["coef", "linear", "forest", "function", "kernel"])
def test_every_kind_of_source_is_the_residual_fit(kind, mode):
    X, y, coef = task()
    before = rows(60, 6, 5)
    labels = before @ coef
    source = {
        "coef": coef,
        "linear": Ridge().fit(before, labels),
        "forest": RandomForestRegressor(5, random_state=0).fit(before, labels),
        "function": lambda X: np.tanh(X @ coef),
        "kernel": FineTunedReLURegressor().fit(before, labels),
    }[kind]
    predict = getattr(source, "predict", source if callable(source) else lambda X: X @ coef)
    kwargs = {"mode": mode, "ridge": 0.0125, "width": 100, "random_state": 0}
    model = FineTunedReLURegressor(source=source, **kwargs).fit(X, y)
    rest = FineTunedReLURegressor(**kwargs).fit(X, y - predict(X))
    assert_allclose(model.predict(before), predict(before) + rest.predict(before), rtol=1e-9)
    assert_allclose(model.loo_, rest.loo_, rtol=1e-9)
    assert clone(model).source is source


def test_sources_see_the_column_names_they_were_fitted_with():
    pd = pytest.importorskip("pandas")
    X, y, _ = task()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    source = RandomForestRegressor(5, random_state=0).fit(frame, y)
    model = FineTunedReLURegressor(source=source).fit(frame, y)
    assert list(model.feature_names_in_) == list("abcdef")
    assert np.isfinite(model.predict(frame)).all()


def test_network_is_fine_tuned_from_a_copy_of_its_source():
    X, y, coef = task()
    before = rows(80, 6, 5)
    source = FineTunedReLURegressor(
        mode="network", width=300, ridge=0.1 / 80, source=0.1 * coef, random_state=0
    ).fit(before, before @ coef)
    weights = source.weights_.copy()
    frozen = FineTunedReLURegressor(
        mode="network", ridge=np.inf, source=source, fit_intercept=False
    ).fit(X, y)
    assert_allclose(frozen.predict(X), source.predict(X), rtol=1e-12)
    tuned = FineTunedReLURegressor(mode="network", ridge=0.005, source=source).fit(X, y)
    assert tuned.weights_.shape == (300, 6)
    assert 0 < np.abs(tuned.weights_ - weights).max() < 1.0
    fit = relu_network_fit(
        weights,
        source.signs_,
        X,
        y - X @ (0.1 * coef) - source.intercept_,
        ridge=0.005,
        fit_intercept=True,
    )
    assert_array_equal(tuned.weights_, fit.weights)
    assert_allclose(tuned.intercept_, source.intercept_ + fit.intercept, rtol=1e-12)
    assert_array_equal(source.weights_, weights)
    assert tuned.loss_[-1] < tuned.loss_[0]


def test_wide_network_mode_agrees_with_kernel_mode():
    X, y = unit(rows(25, 20)), rows(1, 25, 1)[0] + 1.0
    new = unit(rows(100, 20, 2))
    kernel = FineTunedReLURegressor(ridge=0.012).fit(X, y)
    network = FineTunedReLURegressor(
        mode="network", ridge=0.012, width=8000, random_state=0, tol=1e-10
    ).fit(X, y)
    gap = network.predict(new) - kernel.predict(new)
    assert np.sqrt(np.mean(gap**2)) < 0.05 * np.std(kernel.predict(new))
    assert_allclose(network.loo_, kernel.loo_, rtol=0.03)
    assert_allclose(network.gcv_, kernel.gcv_, rtol=0.03)


@pytest.mark.parametrize("mode", ["kernel", "network"])
def test_bias_feature_is_an_appended_column(mode):
    X, y, _ = task()
    kwargs = {"mode": mode, "ridge": 0.3 / 40, "width": 60, "random_state": 0}
    model = FineTunedReLURegressor(bias=2.0, **kwargs).fit(X, y)
    wide = np.hstack([X, np.full((len(X), 1), 2.0)])
    assert_allclose(
        model.predict(X), FineTunedReLURegressor(**kwargs).fit(wide, y).predict(wide), rtol=1e-12
    )
    assert model.n_features_in_ == 6


def test_refitting_in_another_mode_forgets_the_first():
    X, y, _ = task()
    model = FineTunedReLURegressor(mode="network", width=20, ridge=1.0, random_state=0).fit(X, y)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    model.set_params(mode="kernel").fit(X, y)
    assert not hasattr(model, "weights_")
    assert_array_equal(model.predict(X), FineTunedReLURegressor(ridge=1.0).fit(X, y).predict(X))


def test_training_rows_are_not_shared_with_the_caller():
    X, y, _ = task()
    for given_rows in (X, X[3:]):
        model = FineTunedReLURegressor(ridge=0.1).fit(given_rows, y[-len(given_rows) :])
        assert not np.shares_memory(model.X_fit_, X)


def test_bound_is_infinite_where_nothing_interpolates():
    x, y = rows(10, 1), rows(1, 10, 1)[0]
    assert FineTunedReLURegressor().fit(x, y).bound_ == np.inf


def test_deserved_warnings():
    X, y, _ = task()
    with pytest.warns(ValidityWarning, match="vanishes"):
        model = FineTunedReLURegressor().fit(np.zeros_like(X), y)
    assert_allclose(model.predict(X), y.mean())
    X[1] = X[0]
    with pytest.warns(ValidityWarning, match="repeated rows"):
        FineTunedReLURegressor(ridge=0.0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        FineTunedReLURegressor(mode="network", width=50, ridge=0.1, max_iter=3).fit(X, y)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"mode": "deep"}, ValueError, "mode must be one of"),
        ({"ridge": "aic"}, ValueError, "ridge must be one of"),
        ({"ridge": -0.1}, ValueError, "ridge must lie"),
        ({"ridge": None}, TypeError, "ridge must be a real number"),
        ({"bias": np.nan}, ValueError, "bias must lie"),
        ({"mode": "network", "width": 5}, ValueError, "width must be even"),
        ({"mode": "network", "max_iter": 0}, ValueError, "max_iter"),
        ({"mode": "network", "step_size": -1.0}, ValueError, "step_size"),
        ({"source": np.ones(5)}, ValueError, r"source must have shape \(6,\)"),
        ({"source": np.full(6, np.nan)}, ValueError, r"source\[0\] is nan"),
        ({"source": "zero"}, TypeError, "source must be"),
        ({"source": Ridge}, TypeError, "class Ridge"),
        ({"source": Ridge()}, NotFittedError, "source is not fitted"),
        ({"source": FineTunedReLURegressor()}, NotFittedError, "source is not fitted"),
        ({"source": lambda X: np.ones(3)}, ValueError, r"source\(X\) must have shape"),
    ],
)
def test_estimator_refuses_bad_input(kwargs, error, message):
    X, y, _ = task()
    with pytest.raises(error, match=message):
        FineTunedReLURegressor(**kwargs).fit(X, y)


def test_network_source_must_fit_the_rows():
    X, y, _ = task()
    source = FineTunedReLURegressor(mode="network", width=20, ridge=1.0, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="fitted on 6 features, X has 5"):
        FineTunedReLURegressor(mode="network", source=source).fit(X[:, :5], y)
    with pytest.raises(ValueError, match="bias must be that of the network"):
        FineTunedReLURegressor(mode="network", source=source, bias=1.0).fit(X, y)
