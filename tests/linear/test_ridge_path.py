"""The ridge path against plain refits, definitions and frozen numbers."""

import numpy as np
import pytest
from scipy import optimize

from retemper.linear.ridge import path as ridge_path
from retemper.linear.ridge.path import RidgePath, shared_decompositions

from .portable import D5, SRC, combine, data, spectrum

RIDGES = np.array([np.inf, 3.0, 0.05, 0.0])


def sample(kind, seed=0):
    rng = np.random.default_rng(seed)
    n, d = {"wide": (9, 14), "tall": (14, 5), "square": (9, 9), "edge": (9, 8)}.get(kind, (10, 12))
    X = rng.normal(size=(n, d)) + 2.0
    if kind == "low rank":
        X = X[:, :3] @ rng.normal(size=(3, d))
    if kind == "twins":
        X[[3, 7]] = X[[1, 2]]
    if kind == "one twin, tall":
        X = rng.normal(size=(10, 4))
        X[0] = [0, 0, 0, 5]
        X[1:, 3] = 0.0
    w = rng.normal(size=X.shape[1])
    y = X @ w + rng.normal(size=len(X))
    return X, np.column_stack([y, X @ rng.normal(size=X.shape[1]), rng.normal(size=len(X))])


KINDS = ("wide", "tall", "square", "edge", "low rank", "twins", "one twin, tall")


def refit(X, Y, ridge, size, fit_intercept):
    """Offset and slopes of smallest norm, the penalty ``size * ridge`` on their squares."""
    mean, mean_y = (X.mean(axis=0), Y.mean(axis=0)) if fit_intercept else (0.0, 0.0)
    Z = X - mean
    if np.isinf(ridge):
        coef = np.zeros((X.shape[1], Y.shape[1]))
    elif ridge:
        coef = np.linalg.solve(Z.T @ Z + size * ridge * np.eye(X.shape[1]), Z.T @ (Y - mean_y))
    else:
        coef = np.linalg.pinv(Z, rcond=1e-10) @ (Y - mean_y)
    return mean_y - mean @ coef if fit_intercept else 0.0, coef


def hat(X, ridge, size, fit_intercept):
    offset, coef = refit(X, np.eye(len(X)), ridge, size, fit_intercept)
    return offset + X @ coef


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_leave_one_out_is_the_refit(kind, fit_intercept):
    X, Y = sample(kind)
    path = RidgePath(X, Y, fit_intercept=fit_intercept)
    got = path.loo(RIDGES)
    for ridge, residual in zip(RIDGES, got, strict=True):
        for i in range(len(X)):
            keep = np.arange(len(X)) != i
            offset, coef = refit(X[keep], Y[keep], ridge, len(X), fit_intercept)
            want = Y[i] - offset - X[i] @ coef
            np.testing.assert_allclose(residual[i], want, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_definitions(kind, fit_intercept):
    X, Y = sample(kind)
    path = RidgePath(X, Y, fit_intercept=fit_intercept)
    n, size = len(X), path.n_effective
    centred = X - X.mean(axis=0) * fit_intercept
    assert path.rank == np.linalg.matrix_rank(centred)
    for ridge in (3.0, 0.05, 0.0):
        S = hat(X, ridge, n, fit_intercept)
        offset, coef = refit(X, Y, ridge, n, fit_intercept)
        np.testing.assert_allclose(path.coef(ridge, np.eye(3)), coef.T, rtol=1e-8, atol=1e-9)
        kappa, df1, _ = path.effective(ridge)
        np.testing.assert_allclose(df1, np.trace(S) - fit_intercept, rtol=1e-9, atol=1e-9)
        if ridge == 0.0 and (path.n_null == 0 or path.interpolates):
            continue
        left = Y - offset - X @ coef
        free = size - df1[0]
        np.testing.assert_allclose(
            path.gcv(ridge)[0], size * (left**2).sum(0) / free**2, 1e-7, 1e-12
        )
        if ridge:
            np.testing.assert_allclose(kappa * (1 - df1 / size), ridge * n / size, rtol=1e-9)


def test_ridge_zero_is_the_limit():
    X, Y = sample("wide")
    for fit_intercept in (True, False):
        path = RidgePath(X, Y, fit_intercept=fit_intercept)
        for method in (path.gcv, path.loo, path.profile):
            np.testing.assert_allclose(method(0.0), method(1e-11), rtol=1e-6)
        np.testing.assert_allclose(path.effective(0.0), path.effective(1e-11), rtol=1e-6)


def test_only_repeated_rows_hide_the_error_at_ridge_zero():
    assert RidgePath(*sample("twins")).interpolates
    for kind in set(KINDS) - {"twins"}:
        assert not RidgePath(*sample(kind)).interpolates


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["wide", "tall", "square", "edge"])
def test_both_decompositions_agree(kind, fit_intercept, monkeypatch):
    X, Y = sample(kind)
    one = RidgePath(X, Y, fit_intercept=fit_intercept)
    monkeypatch.setattr(ridge_path, "RESOLVED", 2.0)  # nothing is: singular values take over
    two = RidgePath(X, Y, fit_intercept=fit_intercept)
    wide = RidgePath(np.hstack([X, np.zeros((len(X), 20))]), Y, fit_intercept=fit_intercept)
    for other in (two, wide):
        np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, rtol=1e-8)
        for name in ("gcv", "loo", "profile", "effective"):
            a, b = getattr(one, name)(RIDGES), getattr(other, name)(RIDGES)
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(one.coef(0.0, np.eye(3)), two.coef(0.0, np.eye(3)), rtol=1e-7)


@pytest.mark.parametrize("kind", ["wide", "tall", "low rank"])
def test_annihilator(kind):
    X, Y = sample(kind)
    path = RidgePath(X, Y)
    n = len(X)
    A = path.apply(np.full(n, 0.3), np.eye(n))
    S = hat(X, 0.3, n, True)
    ratio = A[0, 0] / (1 - S[0, 0])
    np.testing.assert_allclose(A, ratio * (np.eye(n) - S), atol=1e-12)
    value, diagonal = path.annihilate(0.3)
    np.testing.assert_allclose(value[0], A @ Y, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(diagonal[0], np.diag(A), rtol=1e-10)
    np.testing.assert_allclose(path.diagonal(0.3, power=2)[0], np.diag(A @ A), rtol=1e-9)


def test_combinations_share_the_decomposition():
    X, Y = sample("tall")
    change = np.array([[1.0, 2.0], [0.0, -1.0], [0.5, 0.0]])
    one, two = RidgePath(X, Y).combine(change), RidgePath(X, Y @ change)
    np.testing.assert_allclose(one.loo(RIDGES), two.loo(RIDGES), atol=1e-12)
    np.testing.assert_allclose(one.column_mean, two.column_mean)
    eye = np.eye(3)
    np.testing.assert_allclose(
        RidgePath(X, Y).products(RIDGES, eye[:, :2], eye[:, 1:]),
        (RidgePath(X, Y).gcv(RIDGES) @ np.zeros((3, 2)))
        + np.stack([RidgePath(X, Y).combine(eye[:, [j]] + eye[:, [j + 1]]).gcv(RIDGES)[:, 0]
                    - RidgePath(X, Y).combine(eye[:, [j]] - eye[:, [j + 1]]).gcv(RIDGES)[:, 0]
                    for j in (0, 1)], axis=1) / 4,
        atol=1e-10,
    )  # fmt: skip


def case(n, d):
    theta, source = combine(D5, d), combine(SRC, d)
    X, y = data(5, n, spectrum("power", d, 0.5), theta, 0.3)
    return RidgePath(X, np.column_stack([y, y - X @ source, X @ source]), fit_intercept=False)


def test_frozen_values():
    path = case(20, 40)
    assert path.gcv(0.0)[0, 1] == pytest.approx(0.124503804354, rel=1e-7)
    assert case(40, 20).gcv(0.0)[0, 1] == pytest.approx(0.215405375066, rel=1e-7)
    assert np.mean(path.loo(0.0)[0, :, 1] ** 2) == pytest.approx(0.119985839558, rel=1e-7)
    np.testing.assert_allclose(
        [*np.ravel(path.effective(0.1)), path.profile(0.1)[0, 1]],
        [0.429307109235, 15.3413303508, 5.74847445999, 0.0626989370246],
        rtol=1e-7,
    )
    frozen = {5: 0.127136835147, 10: 0.103709912192, 15: 0.0996433204856}
    for n, error in frozen.items():  # without ridge fewer rows have n degrees of freedom
        log = optimize.brentq(lambda x, n=n: path.effective(np.exp(x)).df1[0] - n, -12, 6)
        surface = path.learning_surface(n + 1e-9, np.exp([log]))
        assert surface[0, 0, 1] == pytest.approx(error, rel=1e-7)
    e = np.eye(3)
    scale = path.products(0.05, e[:, 0], e[:, 2]) / path.products(0.05, e[:, 2], e[:, 2])
    assert scale[0] == pytest.approx(1.06517311352, rel=1e-7)


@pytest.mark.parametrize("kind", ["wide", "tall"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_learning_surface(kind, fit_intercept):
    X, Y = sample(kind)
    path = RidgePath(X, Y, fit_intercept=fit_intercept)
    n = len(X)
    grid = path.grid()
    surface = path.learning_surface(np.arange(n + 1), grid)
    np.testing.assert_allclose(surface[-1], path.gcv(grid))  # all rows: the ridges of the path
    alone = np.mean((Y - Y.mean(0) * fit_intercept) ** 2, 0) * n / path.n_effective
    np.testing.assert_allclose(surface[0].min(axis=0), alone)
    best = surface.min(axis=1)
    assert (np.diff(best, axis=0) <= 1e-12).all()
    assert np.isinf(surface[1, -1]).all()  # one row cannot do with so small a ridge


def test_constant_columns_do_not_count():
    X, Y = sample("tall")
    more = np.column_stack([X, np.full(len(X), 1e6 / 3), np.full(len(X), 0.1)])
    one, two = RidgePath(X, Y), RidgePath(more, Y)
    assert one.rank == two.rank
    np.testing.assert_allclose(one.gcv(0.0), two.gcv(0.0), rtol=1e-8, atol=1e-20)


def test_no_variation_at_all():
    Y = np.arange(6.0)[:, None]
    path = RidgePath(np.ones((6, 3)), Y)
    assert path.rank == 0
    np.testing.assert_allclose(path.gcv(1.0), Y.var(ddof=1))
    np.testing.assert_allclose(path.loo(1.0)[0], 6 / 5 * (Y - Y.mean()))
    assert not path.coef(1.0, np.eye(1)).any()
    assert path.grid().tolist() == [np.inf]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(30, 8), (12, 20)])
def test_equal_designs_are_decomposed_once(monkeypatch, shape, weighted):
    """To the last bit what each alone gives, and only where rows, weights and offset are equal."""
    rng = np.random.default_rng(0)
    X, columns = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    weight = rng.uniform(0.5, 1.5, size=shape[0]) if weighted else None
    weight = None if weight is None else weight / weight.mean()
    calls = []
    decompose = RidgePath._decompose
    monkeypatch.setattr(RidgePath, "_decompose", lambda self: (calls.append(1), decompose(self)))
    alone = RidgePath(X, columns[:, 1:], weight=weight).loo([0.1, 1.0])
    with shared_decompositions():
        RidgePath(X, columns[:, :1], weight=weight)
        shared = RidgePath(X.copy(), columns[:, 1:], weight=weight)
        np.testing.assert_array_equal(shared.loo([0.1, 1.0]), alone)
        assert len(calls) == 2
        RidgePath(X, columns, weight=weight, fit_intercept=False)
        RidgePath(X, columns, weight=np.ones(len(X)))
        RidgePath(X + 1e-9 * rng.normal(size=shape), columns, weight=weight)
        assert len(calls) == 5
    RidgePath(X, columns, weight=weight)
    assert len(calls) == 6
