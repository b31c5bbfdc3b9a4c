"""The forecast by the tangent kernel: its parts step by step, real training, bad input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from retemper.phases import MLPTrainer, network_forecast, reconstruction_score
from retemper.phases.theory.tangent import _jacobian, _linear_path

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 5)), RNG.normal(size=(30, 2))
SMALL = {"loss": "squared", "momentum": 0.0, "batch_size": 100, "n_steps": 0}


def digits():
    rows, digit = load_digits(return_X_y=True)
    rows = rows / 16.0 - (rows / 16.0).mean(axis=0)
    return rows[:300], digit[:300] % 2 * 2.0 - 1.0, rows[600:1400]


def small(activation, **changes):
    return MLPTrainer((4, 3), activation=activation, **{**SMALL, **changes}).fit(X, Y)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_jacobian_is_that_of_differences(activation):
    net = small(activation)
    net.parameters_[0] += 0.3 * RNG.normal(size=net.parameters_[0].size)  # off the kinks of relu
    found, theta = _jacobian(net, X), net.parameters_[0].copy()
    for i in range(theta.size):
        ends = []
        for change in (1e-6, -1e-6):
            net.parameters_[0] = theta + change * (np.arange(theta.size) == i)
            ends.append(net.predict(X).ravel())
        assert_allclose(found[:, i], (ends[0] - ends[1]) / 2e-6, atol=2e-8)


@pytest.mark.parametrize(("weight_decay", "n_rows"), [(0.0, 30), (0.3, 30), (0.0, 9), (0.3, 5)])
def test_the_path_is_linearised_descent_of_small_steps(weight_decay, n_rows):
    net = small("tanh", weight_decay=weight_decay)
    x, y = X[:n_rows], Y[:n_rows]
    theta, jacobian = net.parameters_[0].copy(), _jacobian(net, x)
    gap = net.predict(x).ravel() - y.ravel()
    decays = np.concatenate([np.repeat([1, 0], [w.size, b.size]) for w, b in net.weights()])
    found = _linear_path(net, x, y, np.array([0.0, 2.0]))[0]
    assert_allclose(found[0], theta)
    ends = []
    for eta in (1e-2, 5e-3):
        moved = theta.copy()
        for _ in range(round(2 / eta)):
            slope = jacobian.T @ (gap + jacobian @ (moved - theta)) / n_rows
            moved = moved - eta * (slope + weight_decay * decays * moved)
        ends.append(moved)
    assert_allclose(found[1], 2 * ends[1] - ends[0], atol=2e-4)


@pytest.mark.parametrize(
    ("hidden", "activation", "weight_decay", "worst"),
    [((32,), "tanh", 0.0, 0.006), ((32,), "relu", 0.01, 0.008), ((32, 32), "tanh", 0.003, 0.006)],
)
def test_training_agrees_where_the_kernel_stays(hidden, activation, weight_decay, worst):
    rows, parity, rows_eval = digits()
    net = MLPTrainer(
        hidden, activation=activation, loss="squared", learning_rate=0.02, momentum=0.0,
        weight_decay=weight_decay, batch_size=300, n_steps=1024, random_state=1,
        checkpoints=[0, 16, 64, 256, 1024],
    )  # fmt: skip
    found = network_forecast(net, rows, parity, rows_eval)
    net.fit(rows, parity)
    assert found.valid[:2].all()
    for layer, curve in found.fuv.items():
        real = [reconstruction_score(net.activations(rows_eval, s)[layer], rows_eval).fuv
                for s in net.steps_]  # fmt: skip
        assert_allclose(curve[0], real[0], rtol=1e-9)
        assert np.abs(curve - real)[found.valid].max() < worst
        moved = np.ptp(np.array(real)[found.valid])
        assert moved > 0.5 * worst  # so that a flat forecast would not pass by much


def test_small_starts_move_the_kernel_and_are_told():
    rows, parity, rows_eval = digits()
    net = MLPTrainer((16,), activation="tanh", loss="squared", learning_rate=0.02, momentum=0.0,
                     n_steps=4096, init_scale=0.1)  # fmt: skip
    found = network_forecast(net, rows, parity, rows_eval[:300])
    assert found.status == "invalid"
    assert not found.valid[-1]
    assert "holds up to step" in found.message


def test_momentum_counts_as_time():
    rows, parity, rows_eval = digits()
    rest = {"activation": "tanh", "loss": "squared", "n_steps": 8, "checkpoints": [8]}
    one = MLPTrainer((8,), learning_rate=0.05, momentum=0.5, **rest)
    two = MLPTrainer((8,), learning_rate=0.1, momentum=0.0, **rest)
    found = [network_forecast(net, rows, parity, rows_eval[:200]) for net in (one, two)]
    assert found[0].times[0] == 0.8
    assert_allclose(found[0].fuv["hidden1"], found[1].fuv["hidden1"])


@pytest.mark.parametrize(
    ("net", "rows", "message"),
    [
        (MLPTrainer((4,)), X, "loss='squared'"),
        (MLPTrainer((), loss="squared"), X, "hidden layer"),
        (MLPTrainer((4,), loss="squared"), X[:, :2], "X_eval must have shape"),
        (MLPTrainer((200_000,), loss="squared"), X, "take fewer rows"),
    ],
)
def test_bad_input(net, rows, message):
    with pytest.raises(ValueError, match=message):
        network_forecast(net, X, Y, rows)
