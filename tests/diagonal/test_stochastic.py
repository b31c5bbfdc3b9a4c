"""Noise of stochastic gradients: exact steps, first order, its limits, and experiments."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog

from retemper.diagonal import (
    DiagonalModel,
    NetworkWeights,
    compare,
    effective_scale,
    minimum_penalty,
    pretrained_weights,
    solve,
    stochastic_scale,
    train_network,
)
from retemper.exceptions import ValidityWarning

D, N = 30, 12


def task(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) / D**0.5
    return X, X @ (rng.normal(size=D) * (rng.random(D) < 0.4) * 1.5)


@pytest.mark.parametrize("options", [{"label_noise": 0.7}, {"label_noise": 0.3, "batch_size": 2},
                                     {"batch_size": 3}])  # fmt: skip
def test_a_step_moves_scale_and_coordinate_exactly_so(options):
    X, y = task()
    rng = np.random.default_rng(1)
    weights = NetworkWeights(*(rng.normal(size=(4, D))))
    rate = 0.3
    after = train_network(X, y, weights, step_size=rate, n_steps=1, **options).weights
    before, end = effective_scale(weights), effective_scale(after)
    moved = np.arcsinh(end.centre / end.scale) - np.arcsinh(before.centre / before.scale)
    gradient = np.tanh(moved / 2) / rate
    assert_allclose(end.scale / before.scale, np.abs(1 - (rate * gradient) ** 2), rtol=1e-9)
    dual = np.linalg.lstsq(X.T, gradient, rcond=None)[0]
    assert_allclose(X.T @ dual, gradient, atol=1e-9)
    batch = options.get("batch_size", N)
    assert np.sum(np.abs(dual) > 1e-9) <= batch
    again = train_network(X, y, weights, step_size=rate, n_steps=1, **options).weights
    assert_array_equal(again.w_plus, after.w_plus)


def test_label_noise_has_the_variance_it_says():
    X, y = task()
    weights = pretrained_weights(np.zeros(D), 1.0)
    found = []
    for seed in range(300):
        end = train_network(X, y, weights, step_size=1e-6, n_steps=1, label_noise=2.0,
                            random_state=seed).weights  # fmt: skip
        found.append(np.linalg.lstsq(X.T, end.coef / 2e-6, rcond=None)[0] - y)
    assert_allclose(np.std(found), 2.0, rtol=0.06)
    assert_allclose(np.mean(found), 0.0, atol=0.12)


def test_no_noise_is_the_plain_flow():
    X, y = task()
    kept = stochastic_scale(
        X, y, 0.1, step_size=0.1, n_steps=0, label_noise=1.0, centre=y[0] * X[0]
    )
    assert_array_equal(kept.scale, 0.1)
    assert_array_equal(kept.centre, y[0] * X[0])
    fall = [-np.log(stochastic_scale(X, y, 0.1, step_size=h, n_steps=round(200 / h)).scale / 0.1)
            for h in (0.01, 0.001)]  # fmt: skip
    assert_allclose(fall[0], 10 * fall[1], rtol=1e-6)  # the bias of a step, of its order
    assert 0 < fall[1].max() < 0.01
    model = DiagonalModel(0.3, mode="scratch")
    still = dataclasses.replace(model, label_noise=0.0, step_size=0.1, n_steps=1000)
    assert solve(still).mse == solve(model).mse


@pytest.mark.parametrize(
    ("options", "from_source"),
    [({"label_noise": 1.0}, False), ({"label_noise": 1.0}, True), ({"batch_size": 3}, False),
     ({"batch_size": 4, "label_noise": 0.5}, False)],
)  # fmt: skip
def test_descent_ends_where_the_shrunk_scales_say(options, from_source):
    X, y = task()
    source = np.linspace(-1, 1, D) if from_source else np.zeros(D)
    weights, c, rate, steps = pretrained_weights(source, 0.1), 0.1, 0.01, 20_000
    said = stochastic_scale(X, y, c, step_size=rate, n_steps=steps, centre=source, **options)
    ends, logs = [], []
    for seed in range(8):
        trained = train_network(X, y, weights, step_size=rate, n_steps=steps, stride=steps,
                                random_state=seed, **options).weights  # fmt: skip
        scale, centre = effective_scale(trained)
        ends.append(minimum_penalty(X, y, scale, centre=centre).coef)
        logs.append(np.log(scale / c))
    # the first order in the step: what is left is of the size rate times curvature
    assert_allclose(np.mean(logs, axis=0), np.log(said.scale / c), rtol=0.15)
    found, error = np.mean(ends, axis=0), np.std(ends, axis=0, ddof=1) / 8**0.5
    wanted = minimum_penalty(X, y, said.scale, centre=said.centre).coef
    plain = minimum_penalty(X, y, c, centre=source).coef
    assert np.linalg.norm(found - wanted) < 3 * np.linalg.norm(error)
    if "label_noise" in options:
        assert np.linalg.norm(found - wanted) < 0.06 * np.linalg.norm(plain - wanted)


def test_what_is_left_is_of_the_order_of_the_step():
    X, y = task()
    left = []
    for rate in (0.04, 0.02):
        steps = round(4.0 / rate**2)
        said = stochastic_scale(X, y, 0.1, step_size=rate, n_steps=steps, label_noise=1.0)
        logs = []
        for seed in range(10):
            trained = train_network(X, y, pretrained_weights(np.zeros(D), 0.1), step_size=rate,
                                    n_steps=steps, label_noise=1.0, stride=steps,
                                    random_state=seed).weights  # fmt: skip
            logs.append(np.log(effective_scale(trained).scale))
        left.append(np.mean(np.mean(logs, axis=0) - np.log(said.scale)))
    assert left[0] < 0.0
    assert_allclose(left[0] / left[1], 2.0, rtol=0.35)


def hessian_trace(weights, X, y, eps=1e-4):
    flat = np.concatenate(weights)

    def loss(w):
        parts = w.reshape(4, -1)
        return 0.5 * np.sum((y - X @ (parts[0] * parts[1] - parts[2] * parts[3])) ** 2)

    unit = eps * np.eye(flat.size)
    return sum(loss(flat + e) + loss(flat - e) - 2 * loss(flat) for e in unit) / eps**2


def test_long_noise_minimises_the_trace_of_the_hessian():
    X, y = task()
    X = X * np.linspace(0.7, 1.5, D)  # the norms of columns differ
    y = X @ np.linalg.lstsq(X, y, rcond=None)[0]
    squares = np.sum(X**2, axis=0)
    best = linprog(np.tile(squares, 2), A_eq=np.hstack([X, -X]), b_eq=y)
    traces = []
    for time in (0.0, 2.0, 60.0, 120.0):
        said = stochastic_scale(
            X, y, 0.1, step_size=0.01, n_steps=round(time * 1e4), label_noise=1.0
        )
        coef = minimum_penalty(X, y, said.scale, centre=said.centre).coef
        traces.append(2 * squares @ np.hypot(said.scale, coef))
        if time == 2.0:  # of a network with these scales and coefficients
            up = np.sqrt(2 * said.scale) * np.exp(0.5 * np.arcsinh(coef / said.scale))
            down = 2 * said.scale / up
            weights = NetworkWeights(up / 2, up / 2, down / 2, down / 2)
            assert_allclose(effective_scale(weights).scale, said.scale, rtol=1e-9)
            assert_allclose(hessian_trace(weights, X, y), traces[-1], rtol=1e-5)
    assert np.all(np.diff(traces) < 0)
    gap = np.array(traces[2:]) - 2 * best.fun
    assert np.all(gap > -1e-9)
    assert gap[0] < 0.1 * (traces[0] - 2 * best.fun)
    assert gap[1] < 0.1 * gap[0]


NOISY = {"label_noise": 1.0, "step_size": 0.02, "n_steps": 20_000}


def test_theory_of_noise_is_that_of_a_smaller_scale():
    model = DiagonalModel(0.3, mode="scratch", init_scale=0.1, noise=0.2)
    fall = math.exp(-0.3 * 0.02**2 * 20_000)
    noisy = solve(dataclasses.replace(model, **NOISY))
    assert_allclose(
        noisy.mse, solve(dataclasses.replace(model, init_scale=0.1 * fall)).mse, rtol=1e-9
    )
    spectrum = (0.5, 1.0, 3.0)
    noisy = solve(dataclasses.replace(model, spectrum=spectrum, **NOISY))
    other = dataclasses.replace(model, spectrum=spectrum, init_scale=0.1 * fall**1.5)
    assert_allclose(noisy.test_error, solve(other).test_error, rtol=1e-9)


@pytest.mark.parametrize(
    "rest",
    [
        {"mode": "scratch", "init_scale": 0.1},
        {"mode": "reset", "init_scale": 0.1, "readout_scale": 1.0, "noise": 0.2},
        {"mode": "warm", "init_scale": 0.1, "shared": "opposite"},
        {"mode": "reset", "init_scale": 0.1, "readout_scale": 1.0, "rebalance": "none"},
    ],
)
def test_theory_and_simulation_agree(rest):
    model = DiagonalModel(0.4, **NOISY, **rest)
    found = compare(model, n_features=150, n_repeats=12)
    assert np.abs(found.z[:2]).max() < 3.5  # mse and forgetting
    plain = dataclasses.replace(model, label_noise=0.0)
    assert abs(solve(plain).mse - found.simulation[0]) > 2 * found.stderr[0]


def test_what_is_refused_says_why():
    X, y = task()
    with pytest.raises(ValueError, match="below 1e-300"):
        stochastic_scale(X, y, 0.1, step_size=0.1, n_steps=10**7, label_noise=1.0)
    with pytest.warns(ValidityWarning, match="first order"):
        stochastic_scale(X, y, 0.1, step_size=0.3, n_steps=10, label_noise=3.0)
    for name, value in (("step_size", 0.0), ("n_steps", -1), ("label_noise", -1.0),
                        ("batch_size", 0)):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            stochastic_scale(X, y, 0.1, **{"step_size": 0.1, "n_steps": 10, name: value})
    with pytest.raises(ValueError, match="label_noise"):
        train_network(X, y, pretrained_weights(np.zeros(D), 1.0), step_size=0.1, n_steps=1,
                      label_noise=-1.0)  # fmt: skip
    with pytest.raises(ValueError, match="label_noise = 1 needs step_size and n_steps"):
        DiagonalModel(0.3, label_noise=1.0)
    for rest in ({"depth": 3, "mode": "scratch"}, {"mu": 0.1}):
        with pytest.raises(ValueError, match="label_noise needs"):
            DiagonalModel(0.3, **NOISY, **rest)
    with pytest.raises(ValueError, match="lasso"):
        solve(DiagonalModel(0.3, mode="scratch", **{**NOISY, "n_steps": 10**8}))
