"""Weights, surgery, flow and descent, against one another and the slow flow of all weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from retemper.diagonal import (
    NetworkWeights,
    effective_scale,
    finetune_centre,
    finetune_scale,
    gradient_flow,
    minimum_penalty,
    penalty,
    pretrained_weights,
    reset_readout,
    squared_network_scale,
    train_network,
)
from retemper.exceptions import NumericalError

D, N_PT, N = 30, 20, 12


def task(seed=0):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, D)) * (rng.random((2, D)) < 0.4)
    X_pt, X = rng.normal(size=(N_PT, D)) / D**0.5, rng.normal(size=(N, D)) / D**0.5
    return X_pt, X_pt @ source, X, X @ target


def slow_flow(X, y, weights, t=3e4, rates=(1.0, 1.0)):
    """All 4 D weights, by a general integrator."""
    rw, rv = rates

    def rhs(_, state):
        wp, vp, wm, vm = state.reshape(4, -1)
        g = X.T @ (y - X @ (wp * vp - wm * vm))
        return np.concatenate([rw * g * vp, rv * g * wp, -rw * g * vm, -rv * g * wm])

    def jac(_, state):
        wp, vp, wm, vm = (np.diag(a) for a in state.reshape(4, -1))
        g = np.diag(X.T @ (y - X @ np.diag(wp @ vp - wm @ vm)))
        db = [vp, wp, -vm, -wm]
        zero, A = np.zeros_like(g), -X.T @ X
        lead = [rw * vp, rv * wp, -rw * vm, -rv * wm]
        own = [[zero, rw * g, zero, zero], [rv * g, zero, zero, zero],
               [zero, zero, zero, -rw * g], [zero, zero, -rv * g, zero]]  # fmt: skip
        return np.block([[lead[i] @ A @ db[j] + own[i][j] for j in range(4)] for i in range(4)])

    end = solve_ivp(rhs, (0, t), np.concatenate(weights), "Radau", jac=jac, rtol=1e-10, atol=1e-13)
    return NetworkWeights(*end.y[:, -1].reshape(4, -1))


@pytest.mark.parametrize(
    ("c", "lam", "gamma"), [(0.3, 0.4, 0.5), (0.3, -0.9, 0.1), (1.0, 0.0, 2.0)]
)
def test_the_whole_pipeline_is_a_projection(c, lam, gamma):
    """Pre-train, re-balance, reset, fine-tune: the flow of all weights ends where theory says."""
    X_pt, y_pt, X, y = task()
    first = slow_flow(X_pt, y_pt, pretrained_weights(np.zeros(D), c, lam))
    beta_pt = minimum_penalty(X_pt, y_pt, c).coef
    assert_allclose(first.coef, beta_pt, atol=1e-8)
    closed = pretrained_weights(beta_pt, c, lam)
    for found, wanted in zip(closed, first, strict=True):
        assert_allclose(found, wanted, atol=1e-8)
    start = reset_readout(first, gamma)
    scale = finetune_scale(beta_pt, c, lam, gamma)
    assert_allclose(effective_scale(start).scale, scale, rtol=1e-8)
    assert_allclose(slow_flow(X, y, start).coef, minimum_penalty(X, y, scale).coef, atol=1e-8)
    mean = reset_readout(first, gamma, rebalance="mean")
    wanted = finetune_scale(beta_pt, c, lam, gamma, rebalance="mean")
    assert_allclose(effective_scale(mean).scale, wanted, rtol=1e-8)
    apart = reset_readout(first, gamma, rebalance="none")
    found = effective_scale(apart)
    wanted = finetune_scale(beta_pt, c, lam, gamma, rebalance="none")
    centre = finetune_centre(beta_pt, c, lam, gamma)
    assert_allclose(found.scale, wanted, rtol=1e-7)
    assert_allclose(found.centre, centre, atol=1e-8)
    assert_allclose(
        slow_flow(X, y, apart).coef, minimum_penalty(X, y, wanted, centre=centre).coef, atol=1e-8
    )


@pytest.mark.parametrize("lr_ratio", [0.01, 1.0, 16.0])
@pytest.mark.parametrize("lam", [-1.0, -0.9, 0.0, 0.7, 1.0])
def test_a_reset_that_keeps_the_pathways_apart(lam, lr_ratio):
    source, c, gamma = np.linspace(-2, 2, 9), 0.1, 0.7
    weights = reset_readout(pretrained_weights(source, c, lam), gamma, rebalance="none")
    found = effective_scale(weights, lr_ratio=lr_ratio)
    scale = finetune_scale(source, c, lam, gamma, rebalance="none", lr_ratio=lr_ratio)
    assert_allclose(found.scale, scale, rtol=1e-10)
    assert_allclose(found.centre, finetune_centre(source, c, lam, gamma), atol=1e-12)
    assert_allclose(weights.coef, found.centre, atol=1e-12)
    if lr_ratio == 1.0:  # the printed form
        h = np.hypot(c, source)
        left = 2 * gamma**2 * (1 - lam) * (h - c)
        assert_allclose(scale, 0.5 * np.sqrt((h + lam * c + gamma**2) ** 2 - left), rtol=1e-10)
    # of equal first-layer weights (no source), the mean keeps what "none" keeps
    same = [finetune_scale(0.0, c, lam, gamma, rebalance=r) for r in ("mean", "none")]
    assert_allclose(*same, rtol=1e-12)
    assert not finetune_centre(source, c, lam, gamma, rebalance="sum").any()


@pytest.mark.parametrize("surgery", ["warm", "rescaled", "rates"])
def test_any_weights_flow_to_the_bregman_projection(surgery):
    _, _, X, y = task()
    rng = np.random.default_rng(1)
    weights = pretrained_weights(rng.normal(size=D), 0.2, 0.3)
    ratio = 1.0
    if surgery == "rescaled":
        weights = NetworkWeights(
            *(a * f for a, f in zip(weights, (1.7, 0.5, 1.7, 0.5), strict=True))
        )
    elif surgery == "rates":
        ratio = 16.0
    scale, centre = effective_scale(weights, lr_ratio=ratio)
    assert_allclose(centre, weights.coef, atol=1e-12)
    if surgery == "warm":
        assert_allclose(scale, 0.2, rtol=1e-10)
    end = slow_flow(X, y, weights, rates=(ratio**0.5, ratio**-0.5)).coef
    assert_allclose(end, minimum_penalty(X, y, scale, centre=centre).coef, atol=1e-8)


@pytest.mark.parametrize("lr_ratio", [0.01, 16.0])
def test_layerwise_rates_in_the_reset_scale(lr_ratio):
    source = np.linspace(-2, 2, 9)
    weights = reset_readout(pretrained_weights(source, 0.1, -0.4), 0.7)
    found = effective_scale(weights, lr_ratio=lr_ratio).scale
    assert_allclose(found, finetune_scale(source, 0.1, -0.4, 0.7, lr_ratio=lr_ratio), rtol=1e-10)


def test_descent_is_the_textbook_iteration():
    _, _, X, y = task()
    weights = pretrained_weights(np.zeros(D), 0.1, 0.2)
    wp, vp, wm, vm = (a.copy() for a in weights)
    loss = []
    for _ in range(50):
        r = y - X @ (wp * vp - wm * vm)
        loss.append(0.5 * r @ r)
        g = X.T @ r
        wp, vp, wm, vm = (wp + 0.08 * g * vp, vp + 0.02 * g * wp,
                          wm - 0.08 * g * vm, vm - 0.02 * g * wm)  # fmt: skip
    found = train_network(X, y, weights, step_size=0.04, lr_ratio=4.0, n_steps=50, stride=10)
    for a, b in zip(found.weights, (wp, vp, wm, vm), strict=True):
        assert_allclose(a, b, rtol=1e-12)
    assert_allclose(found.loss[:5], loss[::10], rtol=1e-12)
    assert found.loss.shape == (6,)


def test_step_size_bias_is_seen_by_the_effective_scale():
    """Descent misses the flow's end by the step; re-reading the scale leaves its square."""
    _, _, X, y = task()
    start = pretrained_weights(np.zeros(D), 0.05)
    exact = minimum_penalty(X, y, 0.05).coef
    missed, left = [], []
    for step in (0.1, 0.2):
        end = train_network(X, y, start, step_size=step, n_steps=40_000, stride=40_000)
        assert end.loss[-1] < 1e-18
        scale, _ = effective_scale(end.weights)
        assert np.median(scale) < 0.05
        again = minimum_penalty(X, y, scale).coef
        missed.append(np.linalg.norm(end.weights.coef - exact))
        left.append(np.linalg.norm(end.weights.coef - again))
    assert 1.6 < missed[1] / missed[0] < 2.6
    assert left[0] < 0.2 * missed[0]
    assert left[1] / left[0] > 2.5


def test_batches_are_reproducible_and_unbiased():
    _, _, X, y = task()
    start = pretrained_weights(np.zeros(D), 0.5)
    settings = {"step_size": 1e-3, "n_steps": 1}
    whole = train_network(X, y, start, **settings).weights.w_plus
    steps = [
        train_network(X, y, start, batch_size=3, random_state=s, **settings).weights.w_plus
        for s in range(800)
    ]
    error = np.std(steps, axis=0) / np.sqrt(len(steps))
    assert np.all(np.abs(np.mean(steps, axis=0) - whole) < 4.5 * error)
    again = train_network(X, y, start, batch_size=3, random_state=5, **settings).weights.w_plus
    assert_array_equal(again, steps[5])


def test_divergence_and_bad_weights():
    _, _, X, y = task()
    start = pretrained_weights(np.zeros(D), 1.0)
    with pytest.raises(NumericalError, match="diverged before step"):
        train_network(X, y, start, step_size=50.0, n_steps=500)
    with pytest.raises(ValueError, match="v_minus"):
        train_network(X, y, start._replace(v_minus=np.ones(3)), step_size=0.1, n_steps=1)
    with pytest.raises(ValueError, match="step_size"):
        train_network(X, y, start, step_size=0.0, n_steps=1)
    with pytest.raises(ValueError, match="w_minus"):
        effective_scale(start._replace(w_minus=np.ones(3)))
    with pytest.raises(ValueError, match="init_scale"):
        pretrained_weights([1.0], 0.0)
    with pytest.raises(ValueError, match="readout_scale"):
        reset_readout(start, -1.0)


def test_extreme_pretraining_is_stable():
    weights = pretrained_weights([1e100, -1e-200, 3.0], 1e-300, -0.5)
    assert_allclose(weights.coef[[0, 2]], [1e100, 3.0], rtol=1e-10)


def test_networks_of_squares_are_this_network_in_other_words():
    """u^2 - v^2, by a general integrator, against the mirror flow and the closed end point."""
    _, _, X, y = task(3)
    rng = np.random.default_rng(3)
    u, v = rng.uniform(0.05, 0.6, (2, D))
    scale, centre = squared_network_scale(u, v)

    def rhs(_, state):
        u, v = state.reshape(2, -1)
        g = X.T @ (y - X @ (u**2 - v**2))
        return np.concatenate([2 * g * u, -2 * g * v])

    times = np.array([0.0, 0.5, 5.0, 50.0])
    slow = solve_ivp(rhs, (0, 2e4), np.concatenate([u, v]), "LSODA", t_eval=[*times, 2e4],
                     rtol=1e-11, atol=1e-13)  # fmt: skip
    coef = slow.y[:D].T ** 2 - slow.y[D:].T ** 2
    path = gradient_flow(X, y, scale, 2 * times, centre=centre, rtol=1e-9, atol=1e-11)
    assert_allclose(path.coef, coef[:-1], atol=1e-7)
    assert_allclose(coef[-1], minimum_penalty(X, y, scale, centre=centre).coef, atol=1e-7)


def test_the_scale_of_squares_gives_the_penalty_in_the_literature():
    alpha, beta = np.array([0.01, 0.3, 2.0])[:, None], np.array([-3.0, 0.1, 0.7, 40.0])
    scale, centre = squared_network_scale(np.full(3, alpha[:, 0]))
    assert_allclose(scale, 2 * alpha[:, 0] ** 2)
    assert not centre.any()
    z = beta / alpha**2
    literature = alpha**2 * (2 - np.sqrt(4 + z**2) + z * np.arcsinh(z / 2))
    assert_allclose(2 * penalty(beta, scale[:, None]), literature, rtol=1e-9)
    with pytest.raises(ValueError, match="w_minus"):
        squared_network_scale([0.1, 0.2], [0.1])
