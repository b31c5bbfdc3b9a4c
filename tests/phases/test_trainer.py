"""The compiled trainer against a plain numpy one; checkpoints, threads, errors, Ctrl-C."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper._random import stream_key
from retemper.exceptions import NumericalError
from retemper.phases import MLPTrainer, checkpoint_steps


def data(n=300, p=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    return X, (X[:, 0] + X[:, 1] ** 2 > 1).astype(int) + (X[:, 2] > 1)


def order_of(key, epoch, n):
    """Fisher and Yates on the epoch's stream."""
    u = core.core.stream_uniform(key, 3, 0, epoch, 0, n)
    order = np.arange(n)
    for i in range(n - 1, 0, -1):
        j = min(i, int(u[i] * (i + 1)))
        order[[i, j]] = order[[j, i]]
    return order


def slow_training(net, X, T):
    """The same by the textbook, from the trainer's own initial weights."""
    layers = [[w.copy(), b.copy()] for w, b in net.weights(0)]
    speed = [[np.zeros_like(w), np.zeros_like(b)] for w, b in layers]
    key, n, batch = stream_key(net.random_state), len(X), min(net.batch_size, len(X))
    per_epoch = -(-n // batch)
    for step in range(net.n_steps):
        start = step % per_epoch * batch
        rows = order_of(key, step // per_epoch, n)[start : start + batch]
        acts = [X[rows]]
        for i, (w, b) in enumerate(layers):
            z = acts[-1] @ w + b
            if i + 1 < len(layers):
                z = np.maximum(z, 0) if net.activation == "relu" else np.tanh(z)
            acts.append(z)
        out = acts[-1]
        if net.loss == "softmax":
            out = np.exp(out - out.max(axis=1, keepdims=True))
            out /= out.sum(axis=1, keepdims=True)
        delta = (out - T[rows]) / len(rows)
        for i in range(len(layers) - 1, -1, -1):
            w, b = layers[i]
            grads = acts[i].T @ delta + net.weight_decay * w, delta.sum(axis=0)
            delta = delta @ w.T
            if i:
                delta *= acts[i] > 0 if net.activation == "relu" else 1 - acts[i] ** 2
            for j in (0, 1):
                speed[i][j] = net.momentum * speed[i][j] + grads[j]
                layers[i][j] = layers[i][j] - net.learning_rate * speed[i][j]
    return layers


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_equals_the_textbook(activation, loss):
    X, y = data()
    net = MLPTrainer(
        (7, 5), activation=activation, loss=loss, weight_decay=0.01, batch_size=64, n_steps=23,
        random_state=3,
    )  # fmt: skip
    T = np.eye(3)[y] if loss == "softmax" else X[:, :2] ** 2
    net.fit(X, y if loss == "softmax" else T)
    for (w, b), (want_w, want_b) in zip(net.weights(), slow_training(net, X, T), strict=True):
        assert_allclose(w, want_w, atol=1e-12)
        assert_allclose(b, want_b, atol=1e-12)


def test_first_step_follows_the_numerical_gradient():
    X, y = data(40)
    settings = {"hidden": (4,), "activation": "tanh", "batch_size": 40, "random_state": 0}
    net = MLPTrainer(**settings, n_steps=1, learning_rate=1e-3, momentum=0.0).fit(X, y)
    start, moved = net.parameters_[0], net.parameters_[1]
    slope = np.empty_like(start)
    for i in range(start.size):
        values = []
        for sign in (1, -1):
            at = start.copy()
            at[i] += sign * 1e-6
            net.parameters_[0] = at
            logits = net.activations(X, 0)["output"]
            logits = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            values.append(-logits[np.arange(40), y].mean())
        slope[i] = (values[0] - values[1]) / 2e-6
    assert_allclose((start - moved) / 1e-3, slope, atol=1e-7)


def test_checkpoints_do_not_change_the_path():
    X, y = data()
    often = MLPTrainer((8,), n_steps=40, random_state=1).fit(X, y)
    once = MLPTrainer((8,), n_steps=40, checkpoints=[40], random_state=1).fit(X, y)
    assert often.steps_ == [0, 1, 2, 4, 8, 16, 32, 40]
    assert_array_equal(often.parameters_[40], once.parameters_[40])
    assert_array_equal(often.loss_curve_, once.loss_curve_)
    assert often.loss_curve_.size == 40
    again = pickle.loads(pickle.dumps(often))
    assert_array_equal(again.predict(X, 8), often.predict(X, 8))


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_change_no_bit(n_jobs):
    X, y = data(1200, 40)
    settings = {"hidden": (90, 60), "batch_size": 700, "n_steps": 6, "random_state": 2}
    one = MLPTrainer(**settings, n_jobs=1).fit(X, y)
    many = MLPTrainer(**settings, n_jobs=n_jobs).fit(X, y)
    assert_array_equal(one.parameters_[6], many.parameters_[6])
    assert_array_equal(one.loss_curve_, many.loss_curve_)


def test_shards_add_up_to_the_batch():
    """Batches of more than 128 rows are summed shard by shard."""
    X, y = data(300)
    net = MLPTrainer((6,), batch_size=300, n_steps=5, random_state=0).fit(X, y)
    want = slow_training(net, X, np.eye(3)[y])
    assert_allclose(net.weights()[0][0], want[0][0], atol=1e-12)


def test_it_learns_and_weight_decay_shrinks():
    X, y = data(600)
    net = MLPTrainer((32,), n_steps=800, random_state=0).fit(X, y)
    assert net.score(X, y) > 0.97
    assert net.score(X, y, 0) < 0.7
    small = MLPTrainer((32,), n_steps=800, weight_decay=0.02, random_state=0).fit(X, y)
    assert np.linalg.norm(small.weights()[0][0]) < 0.5 * np.linalg.norm(net.weights()[0][0])
    line = MLPTrainer((), loss="squared", n_steps=400, batch_size=600, random_state=0)
    assert line.fit(X, X @ np.arange(6.0)).score(X, X @ np.arange(6.0)) > 0.9999


def test_labels_of_any_kind_and_callback_that_stops():
    X, y = data()
    names = np.array(["ant", "bee", "cow"])[y]
    seen = []
    net = MLPTrainer((8,), n_steps=64, random_state=0)
    net.fit(X, names, callback=lambda step, trainer: seen.append(step) or step == 8)
    assert seen == [0, 1, 2, 4, 8]
    assert net.steps_ == seen
    assert set(net.predict(X)) <= {"ant", "bee", "cow"}


def test_progress_counts_steps_and_may_stop():
    X, y = data()
    calls = []

    def progress(done, total):
        calls.append((done, total))
        if len(calls) > 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        MLPTrainer((64, 64), n_steps=10**6, random_state=0).fit(X, y, progress=progress)
    assert all(total == 10**6 for _, total in calls)
    assert [d for d, _ in calls] == sorted(d for d, _ in calls)


def test_divergence_names_the_step():
    X = data()[0]
    net = MLPTrainer((8,), loss="squared", learning_rate=50.0, n_steps=500, random_state=0)
    with pytest.raises(NumericalError, match="not finite at step"):
        net.fit(X, X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLPTrainer((0,)), "hidden must be at least 1"),
        (lambda: MLPTrainer(activation="gelu"), "activation"),
        (lambda: MLPTrainer(momentum=1.0), "momentum"),
        (lambda: MLPTrainer(n_steps=4, checkpoints=[2, 2]), "increase"),
        (lambda: MLPTrainer(n_steps=4, checkpoints=[5]), "checkpoints"),
        (lambda: MLPTrainer(n_steps=1).fit(np.ones((4, 2)), [1, 1, 1, 1]), "two classes"),
        (lambda: MLPTrainer(n_steps=1).fit(np.ones((4, 2)), [0, 1, 1]), "y must have"),
        (lambda: MLPTrainer().predict(np.ones((4, 2))), "not fitted"),
        (lambda: checkpoint_steps(-1), "n_steps"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_checkpoint_is_refused():
    X, y = data()
    net = MLPTrainer((4,), n_steps=4, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"step must be one of \[0, 1, 2, 4\]"):
        net.weights(3)
