"""The forecast by the tangent kernel: its parts step by step, real training, bad input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.special import expit, softmax
from sklearn.datasets import load_digits

from retemper.phases import MLPTrainer, network_forecast, reconstruction_score
from retemper.phases.theory import tangent
from retemper.phases.theory.tangent import _kernel, _linear_path

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 5)), RNG.normal(size=(30, 2))
LABELS = np.arange(30) % 3
SMALL = {"loss": "squared", "momentum": 0.0, "batch_size": 100, "n_steps": 0}


def digits():
    rows, digit = load_digits(return_X_y=True)
    rows = rows / 16.0 - (rows / 16.0).mean(axis=0)
    return rows[:300], digit[:300] % 2 * 2.0 - 1.0, rows[600:1400]


def small(activation, labels=None, **changes):
    net = MLPTrainer((4, 3), activation=activation, **{**SMALL, **changes})
    given = LABELS if net.loss == "softmax" else Y
    return net.fit(X, given if labels is None else labels)


def slow_jacobian(net, x):
    """Derivatives of all outputs by differences, (n k, P)."""
    theta, columns = net.parameters_[0].copy(), []
    for i in range(theta.size):
        ends = []
        for change in (1e-6, -1e-6):
            net.parameters_[0] = theta + change * (np.arange(theta.size) == i)
            ends.append(net.activations(x)["output"].ravel())
        columns.append((ends[0] - ends[1]) / 2e-6)
    net.parameters_[0] = theta
    return np.array(columns).T


def slow_path(net, x, y, times):
    """Linearised training by an explicit method, from the Jacobian itself."""
    theta, jacobian = net.parameters_[0].copy(), slow_jacobian(net, x)
    start = net.activations(x)["output"]
    decays = np.concatenate([np.repeat([1, 0], [w.size, b.size]) for w, b in net.weights()])

    def velocity(_, moved):
        out = start + (jacobian @ moved).reshape(start.shape)
        gap = (softmax(out, axis=1) if net.loss == "softmax" else out) - y
        slope = jacobian.T @ gap.ravel() / len(x)
        return -slope - net.weight_decay * decays * (theta + moved)

    found = solve_ivp(
        velocity, (0.0, times[-1]), 0 * theta, t_eval=times, rtol=1e-10, atol=1e-12, method="DOP853"
    )
    return theta + found.y.T


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("weight_decay", "n_rows"), [(0.0, 30), (0.3, 30), (0.0, 9), (0.3, 5)])
def test_the_path_is_the_flow_by_an_explicit_jacobian(loss, activation, weight_decay, n_rows):
    net = small(activation, loss=loss, weight_decay=weight_decay)
    net.parameters_[0] += 0.3 * RNG.normal(size=net.parameters_[0].size)  # off the kinks of relu
    x, y = X[:n_rows], Y[:n_rows] if loss == "squared" else np.eye(3)[LABELS[:n_rows]]
    times = np.array([0.0, 0.5, 2.0, 20.0])
    found, _, stopped = _linear_path(net, x, y, times)
    assert stopped == ""
    assert_allclose(found, slow_path(net, x, y, times), atol=2e-4)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_kernel_is_that_of_the_jacobian(activation):
    net = small(activation)
    net.parameters_[0] += 0.3 * RNG.normal(size=net.parameters_[0].size)
    jacobian = slow_jacobian(net, X)
    assert_allclose(_kernel(net, X).reshape(60, 60), jacobian @ jacobian.T, atol=2e-7)


def test_two_classes_are_a_logistic_regression_on_the_derivatives():
    net = small("tanh", loss="softmax", labels=LABELS % 2)
    jacobian = slow_jacobian(net, X).reshape(30, 2, -1)
    along, sign = jacobian[:, 1] - jacobian[:, 0], 2.0 * (LABELS % 2) - 1.0
    start = np.diff(net.activations(X)["output"], axis=1)[:, 0]

    def velocity(_, moved):
        return along.T @ (sign * expit(-sign * (start + along @ moved))) / 30

    found = solve_ivp(velocity, (0.0, 5.0), np.zeros(along.shape[1]), rtol=1e-10, atol=1e-12)
    path = _linear_path(net, X, np.eye(2)[LABELS % 2], np.array([5.0]))[0]
    assert_allclose(path[0] - net.parameters_[0], found.y[:, -1], atol=1e-4)


def test_small_logits_follow_squared_loss_on_centred_classes():
    """softmax f = 1/k + (f - mean f)/k for small f: targets k (one-hot - 1/k), time over k."""
    soft, hot = small("tanh", loss="softmax"), np.eye(3)[LABELS]
    square = small("tanh", labels=hot)
    for net in (soft, square):
        net.parameters_[0] = small("tanh", loss="softmax").parameters_[0]
        net.weights()[-1][0][:] = 0.0  # all logits are zero at the start
    gaps = []
    for time in (0.8, 0.4):
        moves = [
            _linear_path(soft, X, hot, np.array([time]))[0][0] - soft.parameters_[0],
            _linear_path(square, X, 3 * hot - 1, np.array([time / 3]))[0][0] - soft.parameters_[0],
        ]
        gaps.append(np.linalg.norm(moves[0] - moves[1]) / np.linalg.norm(moves[0]))
    assert gaps[0] < 0.1
    assert 3 < gaps[0] / gaps[1] < 5  # what is left of the softmax is of the second order


@pytest.mark.parametrize(
    ("loss", "hidden", "activation", "weight_decay", "worst"),
    [
        ("squared", (32,), "tanh", 0.0, 0.006),
        ("squared", (32,), "relu", 0.01, 0.008),
        ("squared", (32, 32), "tanh", 0.003, 0.006),
        ("softmax", (32,), "tanh", 0.0, 0.002),
        ("softmax", (32,), "relu", 0.01, 0.016),
        ("softmax", (32, 32), "tanh", 0.003, 0.002),
    ],
)
def test_training_agrees_where_the_kernel_stays(loss, hidden, activation, weight_decay, worst):
    rows, parity, rows_eval = digits()
    net = MLPTrainer(
        hidden, activation=activation, loss=loss, learning_rate=0.02, momentum=0.0,
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


def test_a_flow_that_stops_leaves_nan(monkeypatch):
    rows, parity, rows_eval = digits()
    net = MLPTrainer((8,), activation="tanh", n_steps=64, checkpoints=[0, 64])
    monkeypatch.setattr(tangent, "_MAX_STEPS", 3)
    found = network_forecast(net, rows, parity > 0, rows_eval[:200])
    assert found.status == "invalid"
    assert found.message.startswith("the flow stopped at time")
    assert found.message.endswith("later entries are NaN: the forecast holds up to step 0")
    assert np.isfinite(found.fuv["hidden1"]).tolist() == [True, False]


def test_labels_are_names_of_classes():
    rows, parity, rows_eval = digits()
    net = MLPTrainer((8,), activation="tanh", n_steps=8, checkpoints=[8])
    named = np.where(parity > 0, "odd", "even")
    one, two = (network_forecast(net, rows, y, rows_eval[:200]) for y in (parity > 0, named))
    assert_allclose(one.fuv["hidden1"], two.fuv["hidden1"], rtol=1e-12)


def test_momentum_counts_as_time():
    rows, parity, rows_eval = digits()
    rest = {"activation": "tanh", "loss": "squared", "n_steps": 8, "checkpoints": [8]}
    one = MLPTrainer((8,), learning_rate=0.05, momentum=0.5, **rest)
    two = MLPTrainer((8,), learning_rate=0.1, momentum=0.0, **rest)
    found = [network_forecast(net, rows, parity, rows_eval[:200]) for net in (one, two)]
    assert found[0].times[0] == 0.8
    assert_allclose(found[0].fuv["hidden1"], found[1].fuv["hidden1"])


def test_ten_classes_agree_and_say_up_to_which_step():
    rows, digit = load_digits(return_X_y=True)
    rows = rows / 16.0 - (rows / 16.0).mean(axis=0)
    net = MLPTrainer((32,), activation="tanh", learning_rate=0.02, momentum=0.0, batch_size=300,
                     n_steps=1024, random_state=1, checkpoints=[0, 64, 256, 1024])  # fmt: skip
    found = network_forecast(net, rows[:300], digit[:300], rows[600:1400])
    assert found.message == "the tangent kernel moves: the forecast holds up to step 256"
    net.fit(rows[:300], digit[:300])
    real = [reconstruction_score(net.activations(rows[600:1400], s)["hidden1"], rows[600:1400]).fuv
            for s in net.steps_]  # fmt: skip
    assert np.abs(found.fuv["hidden1"] - real)[found.valid].max() < 0.002
    assert np.ptp(np.array(real)[found.valid]) > 0.01


def test_a_kernel_that_moves_before_the_first_checkpoint_is_told():
    rows, parity, rows_eval = digits()
    net = MLPTrainer((16,), activation="tanh", loss="squared", momentum=0.0, n_steps=4096,
                     init_scale=0.1, checkpoints=[4096])  # fmt: skip
    assert network_forecast(net, rows, parity, rows_eval[:300]).message.endswith(
        "moves: no step is forecast"
    )


@pytest.mark.parametrize(
    ("net", "rows", "message"),
    [
        (MLPTrainer((4,)), X, "y must be 1-D labels"),
        (MLPTrainer((), loss="squared"), X, "hidden layer"),
        (MLPTrainer((4,), loss="squared"), X[:, :2], "X_eval must have shape"),
    ],
)
def test_bad_input(net, rows, message):
    with pytest.raises(ValueError, match=message):
        network_forecast(net, X, Y, rows)
