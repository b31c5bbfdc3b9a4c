"""ReLU networks of finite width: start, kernel, gradient descent."""

import os
import signal
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg

from retemper.exceptions import ConvergenceWarning, NumericalError
from retemper.linear import (
    relu_network_fit,
    relu_network_init,
    relu_network_kernel,
    relu_network_predict,
    relu_ntk,
)

from .models import rows, unit
from .portable import D5, combine


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


@pytest.mark.slow
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


@pytest.mark.slow
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
