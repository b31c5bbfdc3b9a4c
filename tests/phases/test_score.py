"""Scores against explicit refits, by three routes, and rows 20 to 22 of section 9."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from retemper.exceptions import ValidityWarning
from retemper.phases import (
    DEFAULT_RELATIVE_RIDGES,
    FLOOR_RELATIVE_RIDGE,
    reconstruction_score,
)
from retemper.phases.instrument.score import score_activations, score_stream
from retemper.phases.instrument.targets import TargetSet

from .digits import X, Y, hidden


def slow(H, T, ridge, fold):
    """Refit a decoder on every fold: predictions and their errors."""
    out = np.empty_like(T)
    for f in np.unique(fold):
        train, held = fold != f, fold == f
        gram = H[train] - H[train].mean(axis=0)
        penalty = ridge * np.trace(gram.T @ gram) / H.shape[1]
        out[held] = Ridge(alpha=penalty, solver="cholesky").fit(H[train], T[train]).predict(H[held])
    return out


def share(T, guess):
    return ((T - guess) ** 2).sum() / ((T - T.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 1.0])
def test_equals_explicit_refits(ridge):
    H, fold = hidden(), np.arange(300) % 5
    got = reconstruction_score(H, X[:300], targets={"digit": Y[:300]}, relative_ridge=ridge)
    hot = np.eye(10)[Y[:300]]
    assert_allclose(got.fuv, share(X[:300], slow(H, X[:300], ridge, fold)), rtol=1e-9)
    guess = slow(H, hot, ridge, fold)
    assert_allclose(got.probes["digit"].r2, 1 - share(hot, guess), rtol=1e-9)
    assert got.probes["digit"].accuracy == (guess.argmax(axis=1) == Y[:300]).mean()
    assert_allclose(got.fuv_floor, share(X[:300], slow(H, X[:300], 1e-2, fold)), rtol=1e-9)
    by_fold = slow(H, X[:300], ridge, fold)
    total = ((X[:300] - X[:300].mean(axis=0)) ** 2).sum() / 300
    want = [((X[:300] - by_fold)[fold == f] ** 2).sum() / 60 / total for f in range(5)]
    assert_allclose(got.fuv_folds, want, rtol=1e-9)


def test_path_holds_every_ridge_and_the_best_wins():
    H, fold = hidden(), np.arange(300) % 5
    got = reconstruction_score(H, X[:300])
    assert_allclose(got.relative_ridges, 10.0 ** np.arange(-8, 1.5, 0.5), rtol=1e-5)
    assert got.fuv == got.fuv_path.min()
    assert got.relative_ridge == got.relative_ridges[got.fuv_path.argmin()]
    assert got.fuv_floor == got.fuv_path[list(got.relative_ridges).index(FLOOR_RELATIVE_RIDGE)]
    for r in (4, 12, 18):
        want = share(X[:300], slow(H, X[:300], got.relative_ridges[r], fold))
        assert_allclose(got.fuv_path[r], want, rtol=1e-8)


@pytest.mark.parametrize("h", [24, 150])
def test_three_routes_agree(h):
    """Gram of the units, Gram of the samples, and the activations themselves."""
    H, T = hidden(100, h), X[:100]
    targets = TargetSet(T, {"digit": Y[:100]}, None, None, 0)
    fold = np.arange(100) % 5
    grid = np.array(DEFAULT_RELATIVE_RIDGES)
    one = reconstruction_score(H, T, targets={"digit": Y[:100]})
    svd = reconstruction_score(H, T, targets={"digit": Y[:100]}, relative_ridges=np.r_[1e-12, grid])
    assert one.route == ("primal" if h < 100 else "dual")
    assert svd.route == "svd"
    streamed = score_stream(
        lambda: ({"a": H[i : i + 33]} for i in range(0, 100, 33)), targets, fold, grid
    )["a"]
    for other in (streamed, score_activations(H, targets, fold, grid)):
        assert_allclose(other.fuv_path, one.fuv_path, rtol=1e-10)
        assert_array_equal(other.probes["digit"].accuracy_path, one.probes["digit"].accuracy_path)
    assert_allclose(svd.fuv_path[1:], one.fuv_path, rtol=1e-7)
    assert_allclose(svd.probes["digit"].r2_path[1:], one.probes["digit"].r2_path, atol=1e-7)


def test_svd_route_sees_amplitudes_that_a_gram_matrix_cannot():
    H = hidden(300, 6)
    rng = np.random.default_rng(1)
    mix = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    faint = H * 10.0 ** -np.arange(0, 12, 2.0) @ mix
    full = reconstruction_score(H, X[:300], relative_ridge=1e-12)
    fine = reconstruction_score(faint, X[:300], relative_ridges=[1e-24, 1e-12])
    assert_allclose(fine.fuv_path[0], full.fuv, atol=1e-4)
    assert reconstruction_score(faint, X[:300]).fuv > full.fuv + 0.05


def test_offset_and_scale_of_activations_do_not_matter():
    H = hidden()
    one = reconstruction_score(H, X[:300]).fuv_path
    assert_allclose(reconstruction_score(1e-5 * H + 3.0, X[:300]).fuv_path, one, rtol=1e-6)
    rotated = H @ np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0]
    assert_allclose(reconstruction_score(rotated, X[:300]).fuv_path, one, rtol=1e-7)


def test_float32_blocks():
    H = hidden(900).astype(np.float32)
    double = reconstruction_score(H, X[:900])
    assert_array_equal(double.fuv_path, reconstruction_score(H.astype(float), X[:900]).fuv_path)
    single = reconstruction_score(H, X[:900], precision="single")
    usable = double.relative_ridges >= 1e-6
    assert_allclose(single.fuv_path[usable], double.fuv_path[usable], rtol=2e-5)
    assert not np.array_equal(single.fuv_path, double.fuv_path)


def test_dead_layer_is_one_and_warns():
    with pytest.warns(ValidityWarning, match="H is dead"):
        score = reconstruction_score(np.ones((300, 8)), X[:300], targets={"digit": Y[:300]})
    assert score.fuv == 1.0
    assert score.stderr == 0.0
    assert score.probes["digit"].r2 == 0.0
    some = hidden()
    some[:, ::2] = 0.5  # half the units dead: only the rest counts
    alive = reconstruction_score(np.delete(some, np.s_[::2], axis=1), X[:300], relative_ridge=1e-3)
    assert_allclose(
        reconstruction_score(some, X[:300], relative_ridge=2e-3).fuv, alive.fuv, rtol=1e-9
    )


def test_invertible_layer_is_called_uninformative():
    with pytest.warns(ValidityWarning, match="uninformative layer"):
        score = reconstruction_score(X[:400] @ np.eye(64)[::-1], X[:400])
    assert score.fuv < 0.02


def nan_at(array):
    array = array.copy()
    array[3, 2] = np.nan
    return array


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reconstruction_score(hidden(), np.ones((300, 3))), "X is constant"),
        (lambda: reconstruction_score(hidden(9), X[:9]), "too few for 5 folds"),
        (lambda: reconstruction_score(nan_at(hidden()), X[:300]), "H holds NaN"),
        (
            lambda: reconstruction_score(nan_at(hidden().astype(np.float32)), X[:300]),
            "H holds NaN",
        ),
        (lambda: reconstruction_score(hidden(), X[:200]), "H has 300 rows and X 200"),
        (
            lambda: reconstruction_score(hidden(), X[:300], relative_ridge=0.0),
            "relative_ridge must lie",
        ),
        (
            lambda: reconstruction_score(hidden(), X[:300], relative_ridge="loo"),
            "relative_ridge must be a number or .cv.",
        ),
        (lambda: reconstruction_score(hidden(), X[:300], relative_ridges=[1, 1]), "increasing"),
        (lambda: reconstruction_score(hidden(), X[:300], folds=1), "folds"),
        (lambda: reconstruction_score(hidden(), X[:300], folds=np.zeros(9, int)), "300 integers"),
        (lambda: reconstruction_score(hidden(), X[:300], groups=np.arange(300) % 3), "3 groups"),
        (lambda: reconstruction_score(hidden(), X[:300], sketch=0), "sketch"),
        (lambda: reconstruction_score(hidden(), X[:300], task_weights=np.zeros(64)), "all zero"),
        (lambda: reconstruction_score(hidden(), X[:300], precision="half"), "precision"),
        (lambda: reconstruction_score(hidden(), X[:300], targets={"a": X[:5, 0]}), "a must have"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_row_20():
    assert_allclose(
        reconstruction_score(X[:, ::2], X, relative_ridge=1e-3).fuv, 0.259158011, atol=1e-6
    )


def test_row_21():
    got = reconstruction_score(X[:, 20:44], X, relative_ridge=0.1, folds=10).fuv
    assert_allclose(got, 0.378438499, atol=1e-6)


def test_row_22():
    H = np.maximum(X[:, 20:44] - 0.25, 0)
    got = reconstruction_score(H, X, relative_ridge=1e-3, targets={"digit": Y}).probes["digit"].r2
    assert_allclose(1.0 - got, 0.580470756, atol=1e-6)
