"""Exact solutions on data against reference numbers, optimality, slow versions and bad input."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.diagonal import finetune_scale, leave_one_out, minimum_penalty, penalty
from retemper.exceptions import NumericalError, ValidityWarning


def design(n, d):
    i, j = np.arange(1.0, n + 1)[:, None], np.arange(1.0, d + 1)
    X = np.cos(0.7 * i * j + 0.3 * (i - j)) / math.sqrt(d)
    beta = np.where(j % 5 == 0, (-1.0) ** j * (1 + 0.1 * j), 0.0)
    return X, beta, np.where(j % 4 == 0, 1.0, 0.0), np.sin(1.3 * np.arange(1.0, n + 1))


REFERENCE = [
    ((40, 12, 0.05, -0.9, 0.1, 0.0, 0.0),
     (36.43024325858, 25.62335878749, -0.1231473317, -0.1330006647, 39.72891702732), 8.431034466),
    ((40, 12, 1e-3, 0.5, 0.0, 0.0, 0.0),
     (109.0263753901, 32.67692727430, 0.002407821436, -0.7744818019, 26.11244097878), 7.026774952),
    ((60, 90, 0.01, 0.0, 0.5, 0.2, 0.3),
     (115.4549816659, 42.16469155512, 0.07112991748, 0.008977934936, None), None),
]  # fmt: skip


@pytest.mark.parametrize(("given", "want", "loo"), REFERENCE)
def test_reference_values(given, want, loo):
    d, n, c, balance, readout, mu, noise = given
    X, beta, source, wave = design(n, d)
    scale = finetune_scale(source, c, balance, readout)
    found = minimum_penalty(X, X @ beta + noise * wave, scale, mu=mu, leave_one_out=True)
    b = found.coef
    got = [b @ b, np.abs(b).sum(), b[0], b[4], penalty(b, scale).sum()]
    for value, wanted in zip(got, want, strict=True):
        if wanted is not None:
            assert_allclose(value, wanted, rtol=1e-9)
    if loo is not None:
        assert_allclose(np.mean(found.loo_residual**2), loo, rtol=1e-9)
    assert found.status == "converged"
    assert found.residual < 1e-12
    assert found.duality_gap < 1e-12


def problem(n=15, d=40, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) / math.sqrt(d)
    y = rng.normal(size=n)
    c = 10.0 ** rng.uniform(-4, 1, d)
    return X, y, c, rng.normal(size=d)


@pytest.mark.parametrize("mu", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize(("n", "d"), [(15, 40), (1, 7), (40, 15), (20, 20)])
def test_optimality_conditions(n, d, mu):
    X, y, c, b0 = problem(n, d)
    found = minimum_penalty(X, y, c, centre=b0, mu=mu)
    u0 = np.arcsinh(b0 / c)
    if n <= d or mu > 0:
        assert_allclose(X @ found.coef + mu * found.dual, y, atol=1e-11)
    else:
        assert_allclose(X.T @ (X @ found.coef), X.T @ y, atol=1e-11)
    assert_allclose(found.coef, c * np.sinh(u0 + 2 * X.T @ found.dual), rtol=1e-6, atol=1e-9)


def bregman(b, b0, c):
    return np.sum(penalty(b, c) - penalty(b0, c) - 0.5 * np.arcsinh(b0 / c) * (b - b0))


@pytest.mark.parametrize("mu", [0.0, 0.05])
def test_no_neighbour_is_better_and_the_duality_gap_is_honest(mu):
    X, y, c, b0 = problem()
    found = minimum_penalty(X, y, c, centre=b0, mu=mu)
    u0 = np.arcsinh(b0 / c)

    def objective(b):
        fit = np.sum((y - X @ b) ** 2) / (2 * mu) if mu else 0.0
        return bregman(b, b0, c) + fit

    rng = np.random.default_rng(1)
    null = np.eye(40) if mu else np.linalg.svd(X)[2][15:].T
    for size in (1e-3, 1e-1):
        for _ in range(20):
            other = found.coef + size * null @ rng.normal(size=null.shape[1])
            assert objective(other) > objective(found.coef)
    s = found.dual
    dual = y @ s - mu * s @ s / 2 - np.sum(c / 2 * (np.cosh(u0 + 2 * X.T @ s) - np.cosh(u0)))
    assert_allclose(dual, objective(found.coef), rtol=1e-9)


def test_lazy_limit_is_weighted_least_norm_and_rich_limit_is_sparse():
    X, y, _, _ = problem()
    w = np.random.default_rng(3).uniform(0.5, 2, 40)
    lazy = minimum_penalty(X, y, 1e6 * w).coef
    assert_allclose(lazy, w * (X.T @ np.linalg.solve((X * w) @ X.T, y)), rtol=1e-8)
    rich = minimum_penalty(X, y, 1e-200).coef
    assert np.sum(np.abs(rich) > 1e-3 * np.abs(rich).max()) <= 15
    from scipy.optimize import linprog

    best = linprog(np.ones(80), A_eq=np.hstack([X, -X]), b_eq=y).fun
    assert_allclose(np.abs(rich).sum(), best, rtol=5e-3)


def test_mu_large_returns_to_the_start_and_mu_small_interpolates():
    X, y, c, b0 = problem()
    assert_allclose(minimum_penalty(X, y, c, centre=b0, mu=1e9).coef, b0, atol=1e-6)
    exact = minimum_penalty(X, y, c, centre=b0).coef
    assert_allclose(minimum_penalty(X, y, c, centre=b0, mu=1e-10).coef, exact, atol=1e-6)


@pytest.mark.parametrize("mu", [0.0, 0.01])
def test_conjugate_gradients_agree(mu):
    X, y, c, b0 = problem(30, 90)
    direct = minimum_penalty(X, y, c, centre=b0, mu=mu, solver="direct").coef
    assert_allclose(minimum_penalty(X, y, c, centre=b0, mu=mu, solver="cg").coef, direct,
                    rtol=1e-7, atol=1e-9)  # fmt: skip


@pytest.mark.parametrize("mu", [0.0, 0.01])
@pytest.mark.parametrize(("n", "d"), [(30, 90), (60, 25)])
def test_warm_start_changes_the_path_not_the_end(n, d, mu):
    X, y, c, b0 = problem(n, d)
    cold = minimum_penalty(X, y, c, centre=b0, mu=mu)
    near = minimum_penalty(X, y, 1.1 * c, centre=b0, mu=mu).coef
    warm = minimum_penalty(X, y, c, centre=b0, mu=mu, coef_start=near)
    assert_allclose(warm.coef, cold.coef, rtol=1e-7, atol=1e-9)
    assert warm.n_iter <= cold.n_iter
    wild = minimum_penalty(X, y, c, centre=b0, mu=mu, coef_start=np.full(d, 1e9)).coef
    assert_allclose(wild, cold.coef, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n", [7, 200, 331])
def test_every_shape_of_the_gram_matrix_on_any_number_of_threads(n):
    """Large scales: one weighted Gram matrix gives the solution in closed form."""
    rng = np.random.default_rng(n)
    X, w = rng.normal(size=(n, 333)), rng.uniform(0.1, 2, 333)
    y = rng.normal(size=n)
    one = minimum_penalty(X, y, 1e8 * w, mu=1e8, n_jobs=1).coef
    kernel = (X * w) @ X.T + 0.5 * np.eye(n)
    assert_allclose(one, w * (X.T @ np.linalg.solve(kernel, y)), rtol=1e-7, atol=1e-11)
    for n_jobs in (2, 3):
        several = minimum_penalty(X, y, 1e8 * w, mu=1e8, n_jobs=n_jobs).coef
        assert_array_equal(several, one)


def test_rows_of_zeros_leave_the_start_where_it_is():
    start = np.array([0.5, -1.0, 0.0])
    found = minimum_penalty(np.zeros((5, 3)), np.ones(5), 0.1, centre=start, leave_one_out=True)
    assert_allclose(found.coef, start)
    assert found.rank == 0
    assert found.misfit == 1.0
    assert_allclose(found.loo_residual, 1.0)


def test_leave_one_out_is_exact_where_the_penalty_is_quadratic():
    X, y, _, _ = problem(12, 30)
    c = np.random.default_rng(5).uniform(1e5, 1e6, 30)
    for mu in (0.0, 3e4):
        loo = minimum_penalty(X, y, c, mu=mu, leave_one_out=True).loo_residual
        for i in range(12):
            rest = np.arange(12) != i
            other = minimum_penalty(X[rest], y[rest], c, mu=mu).coef
            assert_allclose(loo[i], y[i] - X[i] @ other, rtol=1e-5, atol=1e-8)


def test_leave_one_out_beyond_interpolation():
    X, y, c, _ = problem(40, 12)
    loo = minimum_penalty(X, y, c, leave_one_out=True).loo_residual
    for i in range(0, 40, 7):
        rest = np.arange(40) != i
        other = np.linalg.lstsq(X[rest], y[rest], rcond=None)[0]
        assert_allclose(loo[i], y[i] - X[i] @ other, rtol=1e-8)
    lazy = np.full(12, 1e6)
    loo = minimum_penalty(X, y, lazy, mu=1e5, leave_one_out=True).loo_residual
    rest = np.arange(40) != 3
    other = minimum_penalty(X[rest], y[rest], lazy, mu=1e5).coef
    assert_allclose(loo[3], y[3] - X[3] @ other, rtol=1e-6)


@pytest.mark.parametrize("mu", [0.0, 0.3])
@pytest.mark.parametrize(("n", "d"), [(15, 40), (41, 40), (60, 12), (2, 5), (1, 5)])
def test_intercept_is_free(n, d, mu):
    X, y, c, b0 = problem(n, d)
    X = X + 0.7
    found = minimum_penalty(X, y, c, centre=b0, mu=mu, fit_intercept=True)
    moved = minimum_penalty(X - 3.0, y + 5.0, c, centre=b0, mu=mu, fit_intercept=True)
    assert_allclose(moved.coef, found.coef, rtol=1e-6, atol=1e-8)
    assert_allclose(found.dual.sum(), 0, atol=1e-8)
    left = y - X @ found.coef - found.intercept
    if mu or n <= d:
        assert_allclose(left, mu * found.dual, atol=1e-10)
    assert_allclose(left.sum(), 0, atol=1e-9)
    assert_allclose(
        found.coef, c * np.sinh(np.arcsinh(b0 / c) + 2 * X.T @ found.dual), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("mu", [0.0, 2e5])
@pytest.mark.parametrize(("n", "d"), [(12, 30), (31, 30), (40, 12)])
def test_leave_one_out_with_an_intercept(n, d, mu):
    X, y, _, _ = problem(n, d)
    c = np.random.default_rng(5).uniform(1e5, 1e6, d)
    settings = {"mu": mu, "fit_intercept": True}
    loo = minimum_penalty(X, y, c, leave_one_out=True, **settings).loo_residual
    for i in range(0, n, 5):
        rest = np.arange(n) != i
        other = minimum_penalty(X[rest], y[rest], c, **settings)
        assert_allclose(loo[i], y[i] - X[i] @ other.coef - other.intercept, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_exact_leave_one_out(fit_intercept):
    X, y, c, b0 = problem(12, 30)
    settings = {"centre": b0, "fit_intercept": fit_intercept}
    found = leave_one_out(X, y, c, **settings)
    for i in (0, 7):
        rest = np.arange(12) != i
        part = minimum_penalty(X[rest], y[rest], c, **settings)
        assert_allclose(found[i], y[i] - X[i] @ part.coef - part.intercept, rtol=1e-7)
    assert_array_equal(leave_one_out(X, y, c, n_jobs=3, **settings), found)
    with pytest.raises(ValueError, match="2 rows"):
        leave_one_out(X[:1], y[:1], c)


def test_duplicated_rows_change_nothing():
    X, y, c, _ = problem()
    whole = minimum_penalty(X, y, c).coef
    twice = minimum_penalty(np.vstack([X, X[:6]]), np.hstack([y, y[:6]]), c, leave_one_out=True)
    assert twice.status == "converged"
    assert_allclose(twice.coef, whole, rtol=1e-6, atol=1e-8)


def test_contradictory_rows_give_least_squares_of_least_penalty():
    X, y, c, _ = problem()
    X2, y2 = np.vstack([X, X[:2]]), np.hstack([y, y[:2] + np.array([1.0, -1.0])])
    with pytest.warns(ValidityWarning, match="outside the column space"):
        found = minimum_penalty(X2, y2, c, leave_one_out=True)
    mean = y.copy()
    mean[:2] += [0.5, -0.5]
    assert_allclose(found.coef, minimum_penalty(X, mean, c).coef, rtol=1e-6, atol=1e-8)
    assert found.rank == 15
    assert_allclose(found.misfit, 1 / np.linalg.norm(y2), rtol=1e-9)
    assert_allclose(found.loo_residual[15] - (y2 - X2 @ found.coef)[15], 0.5, rtol=1e-6)  # h = 1/2


def test_frozen_features_stay_at_zero():
    X, y, c, _ = problem()
    c[::3] = 0.0
    found = minimum_penalty(X, y, c)
    assert not found.coef[::3].any()
    assert_allclose(X @ found.coef, y, atol=1e-11)
    with pytest.raises(ValueError, match="every feature is frozen"):
        minimum_penalty(X, y, 0.0)
    with pytest.raises(ValueError, match="centre must be zero"):
        minimum_penalty(X, y, c, centre=np.ones(40))


@pytest.mark.parametrize("c", [1e-300, 1e-150, 1e-30, 1e30, 1e300])
def test_extreme_scales(c):
    X, y, _, _ = problem()
    found = minimum_penalty(X, y, c, on_failure="raise")
    assert_allclose(X @ found.coef, y, atol=1e-10)


def test_scaling_the_problem_scales_the_solution():
    X, y, c, _ = problem()
    base = minimum_penalty(X, y, c).coef
    for s in (1e-60, 1e60):
        assert_allclose(minimum_penalty(X, s * y, s * c).coef, s * base, rtol=1e-8)


def test_zero_labels():
    X, y, c, b0 = problem()
    assert not minimum_penalty(X, 0 * y, c).coef.any()
    assert_allclose(X @ minimum_penalty(X, 0 * y, c, centre=b0).coef, 0, atol=1e-11)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_do_not_change_a_bit(n_jobs):
    X, y, c, b0 = problem(300, 700)
    one = minimum_penalty(X, y, c, centre=b0, n_jobs=1)
    assert_array_equal(minimum_penalty(X, y, c, centre=b0, n_jobs=n_jobs).coef, one.coef)


def test_stopping():
    X, y, c, _ = problem()
    with pytest.raises(NumericalError, match="iteration limit"):
        minimum_penalty(X, y, c, max_iter=1, on_failure="raise")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.full((15, 40), np.nan)}, "X"),
        ({"y": np.zeros(14)}, "y"),
        ({"scale": -1.0}, r"scale\[0\]"),
        ({"scale": np.inf}, r"scale\[0\]"),
        ({"centre": np.zeros(3)}, "centre"),
        ({"mu": -1.0}, "mu"),
        ({"solver": "magic"}, "solver"),
        ({"X": np.zeros((0, 40)), "y": np.zeros(0)}, "empty"),
        ({"solver": "cg", "leave_one_out": True}, "leave_one_out"),
    ],
)
def test_bad_input(change, message):
    X, y, c, _ = problem()
    given = {"X": X, "y": y, "scale": c} | change
    with pytest.raises(ValueError, match=message):
        minimum_penalty(given.pop("X"), given.pop("y"), given.pop("scale"), **given)
