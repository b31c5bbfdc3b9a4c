"""Several hidden layers: closed equations, limits, the action written out, and sampled networks."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize

from retemper._dispatch import core
from retemper.exceptions import NumericalError
from retemper.widenet import WideNetModel, compare, curve, nngp_kernel, simulate, solve
from retemper.widenet.kernels import kernel_of_gram, kernel_slope, table_of
from retemper.widenet.layers import _Action


def task(n=30, d=60, n_test=40, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n + n_test, d)), rng.normal(size=d) / math.sqrt(d)
    y = scale * X @ w
    return (X[:n], y[:n]), (X[n:], y[n:])


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_linear_networks_solve_their_polynomial(layers):
    # T -> 0: N (1 - Q) - P + y^T K^-1 y Q^-L = 0 for every layer
    (X, y), _ = task()
    model = WideNetModel(50, "linear", temperature_target=1e-9, n_hidden_layers=layers)
    K = X @ X.T / X.shape[1]
    square = y @ np.linalg.solve(K, y)
    q = brentq(lambda q: 50 * (1 - q) - len(y) + square * q**-layers, 1e-2, 20)
    theory = solve(model, (X, y))
    assert_allclose(theory.Q_layers, q, rtol=1e-8)
    assert theory.Q_t == theory.Q_layers[-1]
    assert theory.residual < 1e-12


@pytest.mark.parametrize("act", ["erf", "linear", "tanh", "relu", "gelu", "softplus"])
def test_infinite_width_is_the_gaussian_process(act):
    (X, y), (Xe, ye) = task()
    model = WideNetModel(math.inf, act, lam0=1.5, n_hidden_layers=3)
    Z = np.vstack([X, Xe])
    K = nngp_kernel(Z, activation=act, lam0=1.5)
    for _ in range(2):
        # a Gram matrix is that of its Cholesky factor
        rows = np.linalg.cholesky(K + 1e-13 * np.eye(len(K))) * math.sqrt(len(K))
        K = nngp_kernel(rows, activation=act, lam0=1.5)
    n = len(y)
    A = K[:n, :n] + model.temperature_target * np.eye(n)
    theory = solve(model, (X, y), None, (Xe, ye))
    assert_allclose(theory.mean, K[n:, :n] @ np.linalg.solve(A, y), atol=1e-9)
    spread = np.diagonal(K)[n:] - np.einsum("ij,ji->i", K[n:, :n], np.linalg.solve(A, K[:n, n:]))
    assert theory.thermal == pytest.approx(spread.mean(), rel=1e-9)
    want = -0.5 * (y @ np.linalg.solve(A, y) + np.linalg.slogdet(2 * np.pi * A)[1])
    assert theory.log_evidence == pytest.approx(want, rel=1e-10)
    assert_allclose(theory.Q_layers, 1.0)


def kernel_by_hand(X, Q):
    """Two erf layers with lam0 = 1: the linear part of the second carries Q of the first."""
    K1 = 2 / np.pi * np.arcsin(2 * X @ X.T / X.shape[1] / _norms(X @ X.T / X.shape[1]))
    K2 = 2 / np.pi * np.arcsin(2 * K1 / _norms(K1))
    slope = 2 / np.sqrt(np.pi) / np.sqrt(1 + 2 * np.diagonal(K1))
    through = np.outer(slope, slope) * K1
    return Q * through + (K2 - through)


def _norms(G):
    root = np.sqrt(1 + 2 * np.diagonal(G))
    return np.outer(root, root)


def test_action_is_stationary_and_gives_the_evidence():
    (X, y), _ = task(scale=2.0)
    model = WideNetModel(50, "erf", lam1=1.3, n_hidden_layers=2)
    theory = solve(model, (X, y))
    n = len(y)

    def action(Q):
        A = model.temperature_target * np.eye(n) + Q[1] / 1.3 * kernel_by_hand(X, Q[0])
        data = np.linalg.slogdet(A)[1] + y @ np.linalg.solve(A, y)
        return np.sum(Q - np.log(Q)) + data / 50

    Q = theory.Q_layers
    for step in 1e-4 * np.eye(2):
        slope = (action(Q + step) - action(Q - step)) / 2e-4
        assert slope == pytest.approx(0.0, abs=1e-7)
        assert action(Q + 100 * step) > action(Q)
    want = -25 * (action(Q) - 2) - n / 2 * math.log(2 * math.pi)
    assert theory.log_evidence == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("layers", [2, 3])
def test_newton_finds_what_a_slow_search_finds(layers):
    """Matrices that mean nothing: first and second slopes, and the least of many searches."""
    rng, n = np.random.default_rng(layers), 10
    parts = [v @ v.T / 6 for v in rng.normal(size=(layers, n, 6))]
    action = _Action(parts, 2.0 * rng.normal(size=n), 12.0, 0.1)

    def value(x):
        A = 0.1 * np.eye(n) + sum(np.exp(x[j:].sum()) * P for j, P in enumerate(parts))
        data = np.linalg.slogdet(A)[1] + action.y @ np.linalg.solve(A, action.y)
        return np.sum(np.exp(x) - x) + data / 12.0

    x = 0.3 * rng.normal(size=layers)
    slope, bend = action.slopes(x, action.at(x))
    for i, step in enumerate(1e-5 * np.eye(layers)):
        assert slope[i] == pytest.approx((value(x + step) - value(x - step)) / 2e-5, rel=1e-6)
        sides = [action.slopes(x + s, action.at(x + s))[0] for s in (step, -step)]
        assert_allclose(bend[i], (sides[0] - sides[1]) / 2e-5, rtol=1e-6, atol=1e-9)
    least = min(
        minimize(value, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).fun
        for start in 2.0 * rng.normal(size=(8, layers))
    )
    found, known = [], []
    for start in (0.0, 1.5, -1.5):
        end = action.minimum(np.full(layers, start), known)
        if end is not None:
            known.append(end[1])
            found.append(end[0])
            assert end[2] < 1e-9
    assert min(found) == pytest.approx(least, abs=1e-9)


def test_equal_order_parameters_of_a_linear_network():
    (X, y), _ = task(scale=2.0)
    model = WideNetModel(40, "linear", lam0=1.2, lam1=0.8, n_hidden_layers=3)
    parts = [X @ X.T / X.shape[1] / 1.2**3 / 0.8, np.zeros((30, 30)), np.zeros((30, 30))]
    end = _Action(parts, y, 40.0, 0.05).minimum(np.zeros(3), [])
    assert_allclose(solve(model, (X, y)).Q_layers, np.exp(end[1]), rtol=1e-9)


@pytest.mark.parametrize("act", ["erf", "linear", "relu", "gelu", "tanh", "softplus"])
def test_slope_is_the_derivative_of_the_kernel(act):
    a, b = np.array([0.3, 1.0, 2.0]), np.array([0.5, 1.5])
    g = np.outer(np.sqrt(a), np.sqrt(b)) * [[0.0, 0.4], [-0.3, 0.6], [0.2, -0.5]]
    h = 1e-5
    up, down = (kernel_of_gram(act, g + s, a, b, 1.0) for s in (h, -h))
    assert_allclose(kernel_slope(act, g, a[:, None], b), (up - down) / (2 * h), atol=2e-9)


def test_slope_refuses_a_series_that_has_not_ended():
    var = np.ones(1)
    with pytest.raises(NumericalError, match="slope of the kernel of sign is known to"):
        kernel_slope(np.sign, 0.999 * var, var, var)


def test_outputs_are_separate_and_a_curve_runs_over_layers():
    (X, y), test = task()
    Y = np.column_stack([y, -2 * y**2 + 2])
    model = WideNetModel(50, n_hidden_layers=2)
    both = solve(model, (X, Y), None, (test[0], np.column_stack([test[1]] * 2)))
    assert both.Q_layers.shape == (2, 2)
    for i, column in enumerate(Y.T):
        one = solve(model, (X, column), None, test)
        assert_allclose(both.Q_layers[i], one.Q_layers)
        assert_allclose(both.mean[:, i], one.mean)
    sweep = curve(model, {"n_hidden_layers": [1, 2, 3]}, (X, y), None, test)
    assert sweep["test_error"][1] == solve(model, (X, y), None, test).test_error
    assert np.unique(sweep["test_error"]).size == 3


@pytest.mark.parametrize("kind", ["erf", "table"])
def test_gradient_of_three_layers(kind):
    rng = np.random.default_rng(0)
    X, y, W = rng.normal(size=(12, 7)), rng.normal(size=12), rng.normal(size=(9, 7 + 18))
    step = 1e-5 * rng.normal(size=W.shape)
    table = table_of("silu" if kind == "table" else "erf", 2.0)

    def f(W):
        kind_of = core.widenet.Activation[kind]
        return core.widenet.collapsed_energy(kind_of, 1.3, 0.05, X, y, W, table, 3)

    change = f(W + step).energy - f(W - step).energy
    assert change / 2 == pytest.approx((f(W).gradient * step).sum(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("act", "layers"), [("linear", 3), ("erf", 2)])
def test_agrees_with_sampling(act, layers):
    target, test = task(n=20, d=40, n_test=60)
    model = WideNetModel(48, act, n_hidden_layers=layers)
    run = {"n_chains": 4, "n_draws": 2, "n_burn_source": 1, "n_thin_source": 1}
    run |= {"n_burn_target": 80, "n_sweeps_target": 120, "random_state": 0}
    result = compare(model, target, None, test, on_failure="ignore", **run)
    gap = np.abs(result.theory - result.simulation)
    assert (gap < 3 * result.stderr + 0.04 * np.abs(result.theory)).all(), str(result)


def test_two_relu_layers_agree_with_sampling():
    """Errors to 5 %; Q_t is too large and the thermal variance too small, as the page says."""
    (X, y), (Xe, ye) = task(n=12, d=24, n_test=60)
    model = WideNetModel(24, "relu", n_hidden_layers=2)
    run = {"n_chains": 3, "n_draws": 1, "n_burn_source": 0, "n_thin_source": 1}
    run |= {"n_burn_target": 80, "n_sweeps_target": 150, "random_state": 0}
    result = compare(model, (X, y - y.mean()), None, (Xe, ye - y.mean()), **run)
    for name, share in (("test_error", 0.05), ("bias", 0.05), ("Q_t", 0.1)):
        i = result.names.index(name)
        gap = abs(result.theory[i] - result.simulation[i])
        assert gap < 3 * result.stderr[i] + share * result.simulation[i], str(result)


def test_refusals():
    (X, y), _ = task()
    two = WideNetModel(50, n_hidden_layers=2)
    with pytest.raises(ValueError, match="n_hidden_layers must be at least 1, got 0"):
        WideNetModel(50, n_hidden_layers=0)
    with pytest.raises(ValueError, match="one hidden layer, got 'linear' and n_hidden_layers = 2"):
        simulate(WideNetModel(50, "linear", n_hidden_layers=2), (X, y), method="gibbs")
    with pytest.raises(ValueError, match="'langevin' needs one hidden layer, got 2"):
        simulate(two, (X, y), method="langevin")
