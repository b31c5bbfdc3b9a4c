"""One linear layer: identities, then rows 12, 13 and 23 of the theory page, section 9."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from retemper.phases import (
    linear_network_fuv,
    random_subspace_fuv,
)
from retemper.phases.theory.layer import subspace_levels


def data(seed=0, n=60, p=7, k=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 2.0 ** -np.arange(p)
    Y = X @ rng.normal(size=(p, k)) + rng.normal(size=(n, k))
    return X, Y, 0.1 * rng.normal(size=(k, p))


def fuv_of(W, X):
    """Slow and obvious: regress the inputs on the activations."""
    Xc = X - X.mean(axis=0)
    H = Xc @ W.T
    left = Xc - H @ np.linalg.lstsq(H, Xc, rcond=None)[0]
    return (left**2).sum() / (Xc**2).sum()


def test_gradient_descent_is_reproduced_step_by_step():
    X, Y, W = data()
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    steps = [0, 1, 2, 7, 40]
    want, at = [], W.copy()
    for s in range(41):
        if s in steps:
            want.append(fuv_of(at, X))
        at += 0.2 * (Yc.T @ Xc - at @ Xc.T @ Xc) / len(X)
    got = linear_network_fuv(X, Y, W, np.array(steps) * 0.2, step_size=0.2)
    assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("pace", [0.9, 1.0, 1.7])
def test_gradient_descent_at_any_stable_pace(pace):
    X, Y, W = data(1)
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    S = Xc.T @ Xc / len(X)
    eta = pace / np.linalg.eigvalsh(S)[-1]
    for _ in range(9):
        W = W + eta * (Yc.T @ Xc / len(X) - W @ S)
    got = linear_network_fuv(X, Y, data(1)[2], 9 * eta, step_size=eta)
    assert_allclose(got, fuv_of(W, X), atol=1e-11)


def test_gradient_flow_is_the_limit_of_small_steps():
    X, Y, W = data(2)
    flow = linear_network_fuv(X, Y, W, [0.5, 2.0])
    gaps = [
        np.abs(linear_network_fuv(X, Y, W, [0.5, 2.0], step_size=h) - flow).max()
        for h in (0.1, 0.05, 0.025)
    ]
    assert_allclose([gaps[0] / gaps[1], gaps[1] / gaps[2]], 2.0, rtol=0.15)


@given(st.integers(0, 10**6))
def test_only_the_row_space_matters(seed):
    X, Y, W = data(3)
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3, 3)) + 2.0 * np.eye(3)
    got = linear_network_fuv(X, Y @ mix.T, mix @ W, [0.0, 0.3, 3.0])
    assert_allclose(got, linear_network_fuv(X, Y, W, [0.0, 0.3, 3.0]), atol=1e-7)


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.05, 1.0))
def test_without_initial_weights_reconstruction_only_worsens(seed, k, pace):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 8)) * rng.uniform(0.2, 2.0, 8)
    Y = X @ rng.normal(size=(8, k)) + rng.normal(size=(50, k))
    t = np.geomspace(1e-2, 1e2, 25)
    assert (np.diff(linear_network_fuv(X, Y, np.zeros((k, 8)), t)) > -1e-9).all()
    top = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    steps = np.array([1, 2, 3, 5, 9, 30]) * pace / top
    got = linear_network_fuv(X, Y, np.zeros((k, 8)), steps, step_size=pace / top)
    assert (np.diff(got) > -1e-9).all()


def test_reconstruction_is_the_average_over_random_linear_tasks():
    X, Y, W = data(4)
    Xc = X - X.mean(axis=0)
    H = Xc @ W.T
    S, A, B = Xc.T @ Xc, H.T @ H, H.T @ Xc
    theta = np.random.default_rng(0).normal(size=(200_000, 7))
    cross = theta @ B.T
    explained = (cross * np.linalg.solve(A, cross.T).T).sum(axis=1).mean()
    got = 1.0 - linear_network_fuv(X, Y, W, 0.0)[0]
    assert_allclose(got, explained / np.trace(S), rtol=0.02)


def test_task_weights_turn_fuv_into_the_share_of_the_weighted_inputs():
    X, Y, W = data(5)
    weights = np.array([0.0, 3.0, 0.0, 1.0, 0.0, 0.0, 2.0])
    H = (X - X.mean(axis=0)) @ W.T
    Z = (X - X.mean(axis=0)) * np.sqrt(weights)
    left = Z - H @ np.linalg.lstsq(H, Z, rcond=None)[0]
    want = (left**2).sum() / (Z**2).sum()
    assert_allclose(linear_network_fuv(X, Y, W, 0.0, task_weights=weights), want, atol=1e-12)
    factor = np.diag(np.sqrt(weights))[:, weights > 0]
    assert_allclose(linear_network_fuv(X, Y, W, 0.0, task_weights=factor), want, atol=1e-12)
    assert_allclose(
        linear_network_fuv(X, Y, W, 0.7, task_weights=np.ones(7)),
        linear_network_fuv(X, Y, W, 0.7), atol=1e-12,
    )  # fmt: skip


def test_relative_noise_var_is_the_noise_of_the_units():
    X, Y, W = data(6)
    Xc = X - X.mean(axis=0)
    S = Xc.T @ Xc / len(X)
    A = W @ S @ W.T
    noisy = A + 0.3 * np.trace(A) / 3 * np.eye(3)
    want = 1.0 - np.trace(np.linalg.solve(noisy, W @ S @ S @ W.T)) / np.trace(S)
    assert_allclose(linear_network_fuv(X, Y, W, 0.0, relative_noise_var=0.3), want, atol=1e-12)


def test_dropping_the_common_mode_of_one_hot_labels():
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(80, 5)), rng.integers(0, 3, 80)
    W = rng.normal(size=(3, 5))
    got = linear_network_fuv(X, np.eye(3)[y], W, 0.0, drop_common=True)
    assert_allclose(got, fuv_of((W - W.mean(axis=0))[:2], X), atol=1e-12)


def test_random_subspace_agrees_with_random_layers():
    lam = np.arange(1.0, 201.0) ** -1
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(200):
        w = rng.normal(size=(12, 200))
        drawn.append(1 - np.trace(np.linalg.solve((w * lam) @ w.T, (w * lam**2) @ w.T)) / lam.sum())
    z = (random_subspace_fuv(lam, 12) - np.mean(drawn)) / (np.std(drawn) / np.sqrt(200))
    assert abs(z) < 4.0
    assert random_subspace_fuv(lam, 200) == 0.0
    assert random_subspace_fuv(lam, 0) == 1.0
    assert random_subspace_fuv(np.r_[lam, np.zeros(9)], 12) == random_subspace_fuv(lam, 12)


def test_rows_12_and_13():
    """The limit of many inputs."""
    for lam, units, value in (
        (1 / np.arange(1.0, 65), 9, 0.619656347),
        (np.arange(1.0, 1001) ** -0.5, 100, 0.842360482),
    ):
        level, shift = subspace_levels(lam, units)
        assert_allclose(level, value, atol=1e-6)
        assert_allclose(random_subspace_fuv(7.0 * lam, units), level + shift, rtol=1e-12)


@pytest.mark.parametrize(
    ("lam", "units", "left"),
    [
        (1 / np.arange(1.0, 65), 9, 0.1),
        (1 / np.arange(1.0, 65), 40, 0.1),
        (np.arange(1.0, 101) ** -2.0, 10, 0.1),
        (np.arange(1.0, 31) ** -0.5, 5, 0.5),
        (1 / np.arange(1.0, 65), 1, 0.5),
        (np.r_[10.0, np.ones(40)], 4, 0.5),
    ],
)
def test_the_shift_at_finite_width_is_that_of_drawn_layers(lam, units, left):
    """What it leaves out is no more than the stated share of it; without it the value is off."""
    rng = np.random.default_rng(1)
    w = rng.normal(size=(2000, units, lam.size))
    gram, twice = (np.einsum("nik,k,njk->nij", w, lam**e, w, optimize=True) for e in (1, 2))
    drawn = 1 - np.trace(np.linalg.solve(gram, twice), axis1=1, axis2=2) / lam.sum()
    mean, stderr = drawn.mean(), drawn.std() / np.sqrt(drawn.size)
    level, shift = subspace_levels(lam / lam.max(), units)
    assert abs(level - mean) > 4 * stderr
    assert abs(random_subspace_fuv(lam, units) - mean) < left * abs(shift) + 4 * stderr


def test_equal_eigenvalues_have_no_shift():
    assert_allclose(random_subspace_fuv(np.full(20, 3.0), 5), 0.75, rtol=1e-12)


def test_row_23():
    X, y = load_digits(return_X_y=True)
    k, j = np.mgrid[:10, :64]
    got = linear_network_fuv(
        X / 16, np.eye(10)[y], 0.01 * np.cos(1 + 7 * k + j * (3 + k)), [0, 1, 10, 1000],
        relative_noise_var=1e-3,
    )  # fmt: skip
    assert_allclose(got, [0.554919890, 0.316817064, 0.341332757, 0.426187998], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_subspace_fuv([1.0, -1.0], 2), "spectrum must be non-negative"),
        (lambda: linear_network_fuv(np.ones((4, 2)), np.eye(4), np.ones((4, 2)), 0), "X does not"),
        (lambda: linear_network_fuv(np.eye(4), np.eye(4), np.ones((3, 4)), 0), "W0 must have"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
