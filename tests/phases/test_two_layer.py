"""A hidden layer of nonlinear units: quadrature, published equations, limits, samples."""

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import erf

from retemper.exceptions import NumericalError, ValidityWarning
from retemper.phases import TwoLayerModel, compare, curve, simulate, solve
from retemper.phases.theory.layer import decay, explained
from retemper.phases.theory.two_layer import Network

G = {
    "erf": lambda u: erf(u / np.sqrt(2)),
    "relu": lambda u: np.maximum(u, 0),
    "linear": lambda u: u,
}
TWO = TwoLayerModel(
    [1.5, 0.4], [[0.9, -0.6], [0.3, 1.1]], [[0.5, 0.8], [-0.7, 0.2], [1.2, 0.1]], [0.7, -0.4, 0.3],
    [1.0, -0.5], times=0.0, relative_ridge=0.0,
)  # fmt: skip


def page_model(**changes):
    """The problem of the page: twenty directions of variance 1/i, four units, one of a teacher."""
    rng = np.random.default_rng(0)
    lam = 1 / np.arange(1.0, 21.0)
    start = {"W0": 0.01 * rng.normal(size=(4, 20)), "readout0": 0.01 * rng.normal(size=4)}
    teacher = 2 / np.sqrt(lam[1]) * np.eye(20)[[1]]
    return TwoLayerModel(**{"spectrum": lam, "teacher": teacher, **start, **changes})


def rule(model):
    """Points and weights of a normal law in two dimensions: radius and angle, for homogeneous
    and for smooth functions alike."""
    n = 8000 if model.activation == "relu" else 400
    r, weight = np.polynomial.legendre.leggauss(40)
    r, weight = 4.5 * (r + 1), 4.5 * weight
    angle = (np.arange(n) + 0.5) * 2 * np.pi / n
    X = np.stack([np.outer(r, np.cos(angle)).ravel(), np.outer(r, np.sin(angle)).ravel()], axis=1)
    weight = np.repeat(weight * r * np.exp(-(r**2) / 2) / n, n)
    return X * np.sqrt(model.spectrum), weight / weight.sum()


def slow_loss(model, W, v, X, weight):
    g = G[model.activation]
    gap = g(X @ W.T) @ v - g(X @ model.teacher.T) @ model.teacher_readout
    return 0.5 * weight @ gap**2 + 0.5 * model.weight_decay * ((W**2).sum() + (v**2).sum())


@pytest.mark.parametrize("activation", list(G))
def test_a_step_is_the_gradient_of_the_loss_by_quadrature(activation):
    model = dataclasses.replace(TWO, activation=activation, weight_decay=0.1, step_size=1e-3,
                                times=1e-3)  # fmt: skip
    X, weight = rule(model)
    size, tol = (1e-2, 1e-4) if activation == "relu" else (1e-4, 1e-7)  # of a kink between points
    net = Network(model)
    (w, _, v), *_ = net.path(np.array([1e-3]))[0]
    assert_allclose(net.W0, model.W0)  # nothing was turned
    for array, moved in ((model.W0, w), (model.readout0, v)):
        for place in np.ndindex(array.shape):
            values = []
            for change in (size, -size):
                W, u = model.W0.copy(), model.readout0.copy()
                (W if array is model.W0 else u)[place] += change
                values.append(slow_loss(model, W, u, X, weight))
            slope = (values[0] - values[1]) / (2 * size)
            assert_allclose((array[place] - moved[place]) / 1e-3, slope, atol=tol)


@pytest.mark.parametrize("activation", list(G))
def test_scores_are_those_of_a_regression_by_quadrature(activation):
    model = dataclasses.replace(TWO, activation=activation, noise=0.5, W0=TWO.W0[:1] * 2,
                                readout0=TWO.readout0[:1], relative_ridge=0.2)  # fmt: skip
    X, weight = rule(model)
    H = G[activation](X @ model.W0.T)
    H = H - weight @ H
    found = solve(model)
    for name, ridge in (("fuv", 0.2), ("fuv_floor", 1e-2)):
        cov = H.T * weight @ H
        decoder = np.linalg.solve(cov + ridge * np.trace(cov) / len(cov) * np.eye(len(cov)),
                                  H.T * weight @ X)  # fmt: skip
        lost = weight @ ((X - H @ decoder) ** 2).sum(axis=1)
        assert_allclose(getattr(found, name)[0], lost / model.spectrum.sum(), rtol=2e-6)
    wanted = 2 * slow_loss(model, model.W0, model.readout0, X, weight) + 0.25
    assert_allclose(found.test_error[0], wanted, rtol=2e-6)


def published_moves(C, v, a, k, d):
    """Drift of overlaps with the teacher, and drift and noise of those among units: the equations
    of Saad and Solla (1995) for isotropic inputs, with second-layer weights."""

    def i3(i, j, m):
        area = (1 + C[i, i]) * (1 + C[m, m]) - C[i, m] ** 2
        top = C[j, m] * (1 + C[i, i]) - C[i, j] * C[i, m]
        return 2 / np.pi * top / np.sqrt(area) / (1 + C[i, i])

    def i4(i, j, m, n):
        area = (1 + C[i, i]) * (1 + C[j, j]) - C[i, j] ** 2

        def lower(r, s):
            return (C[r, i] * C[s, i] * (1 + C[j, j]) + C[r, j] * C[s, j] * (1 + C[i, i])
                    - C[i, j] * (C[r, i] * C[s, j] + C[r, j] * C[s, i]))  # fmt: skip

        first, second = (area * (1 + C[r, r]) - lower(r, r) for r in (m, n))
        inside = (area * C[m, n] - lower(m, n)) / np.sqrt(first * second)
        return 4 / np.pi**2 / np.sqrt(area) * np.arcsin(inside)

    b = np.concatenate([v, -np.asarray(a)])
    n = len(b)
    drift = np.array([[-v[i] * sum(b[m] * i3(i, j, m) for m in range(n)) for j in range(n)]
                      for i in range(k)])  # fmt: skip
    noise = np.array([[v[i] * v[j] * sum(b[m] * b[q] * i4(i, j, m, q) for m in range(n)
                                         for q in range(n)) for j in range(k)]
                      for i in range(k)])  # fmt: skip
    return drift[:, k:], drift[:, :k] + drift[:, :k].T, noise * d


def test_a_step_on_batches_is_the_published_one():
    d, k, eta, size = 40, 3, 1e-4, 2
    rng = np.random.default_rng(3)
    model = TwoLayerModel(
        np.ones(d), rng.normal(size=(2, d)) / 5, rng.normal(size=(k, d)) / 7, [0.8, -0.5, 1.1],
        [1.0, 0.6], times=[0.0, eta], step_size=eta, batch_size=size,
    )  # fmt: skip
    found = solve(model)
    rows = np.vstack([model.W0, model.teacher])
    theirs, drift, noise = published_moves(
        rows @ rows.T, model.readout0, model.teacher_readout, k, d
    )
    assert_allclose(np.diff(found.teaching_cov, axis=0)[0] / eta, theirs, rtol=1e-9, atol=1e-10)
    quiet = solve(dataclasses.replace(model, batch_size=None))
    move = np.diff(quiet.hidden_cov, axis=0)[0] / eta
    assert_allclose(move, drift, atol=2e-3)  # the square of the step is left
    added = (found.hidden_cov - quiet.hidden_cov)[1] * size / eta**2
    assert_allclose(added, noise, rtol=1e-5)


@pytest.mark.parametrize("activation", list(G))
def test_noise_of_batches_is_that_of_gradients_by_quadrature(activation):
    """In two dimensions all variables depend on two: the hardest case of the orthants."""
    eta, size = 1e-4, 4
    model = dataclasses.replace(
        TWO, activation=activation, noise=0.3, step_size=eta, batch_size=size, times=[0.0, eta]
    )
    X, weight = rule(model)
    if activation == "relu":  # steps: many angles; all is of degree 0 or 2, so that one radius does
        angle = (np.arange(400_000) + 0.5) * 2 * np.pi / 400_000
        X = np.sqrt(2 * model.spectrum) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        weight = np.full(angle.size, 1 / angle.size)
    g = G[activation]
    slope = {"relu": lambda u: (u > 0) * 1.0, "linear": np.ones_like,
             "erf": lambda u: np.sqrt(2 / np.pi) * np.exp(-(u**2) / 2)}[activation]  # fmt: skip
    gap = g(X @ model.W0.T) @ model.readout0 - g(X @ model.teacher.T) @ model.teacher_readout
    moves = slope(X @ model.W0.T) * model.readout0
    wanted = (moves.T * (weight * (gap**2 + 0.09))) @ moves * (model.spectrum**2).sum()
    quiet = solve(dataclasses.replace(model, batch_size=None)).hidden_cov[1]
    found = (solve(model).hidden_cov[1] - quiet) * size / eta**2
    assert_allclose(found, wanted, rtol=2e-4, atol=1e-6)


def test_the_same_network_in_another_order_basis_or_sign():
    rng = np.random.default_rng(1)
    lam = np.array([2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5])
    model = TwoLayerModel(lam, rng.normal(size=(2, 8)), 0.4 * rng.normal(size=(2, 8)), [0.5, 0.3],
                          weight_decay=0.02, times=[0.0, 1.0, 20.0])  # fmt: skip
    turn = np.eye(8)
    turn[1:7, 1:7] = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    other = [
        dataclasses.replace(model, teacher=model.teacher @ turn, W0=model.W0 @ turn),
        dataclasses.replace(model, W0=model.W0[::-1], readout0=model.readout0[::-1]),
        dataclasses.replace(model, W0=-model.W0, readout0=-model.readout0),
        dataclasses.replace(model, teacher=model.teacher[::-1]),
    ]
    wanted = solve(model)
    for changed in other:
        found = solve(changed)
        for name in ("fuv", "fuv_floor", "test_error"):
            assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-6, atol=1e-9)
    assert Network(model).lam.size == 6  # four directions hold what enters of six equal ones


@pytest.mark.parametrize("activation", list(G))
def test_small_steps_of_descent_are_the_flow(activation):
    model = page_model(activation=activation, times=[1.0, 8.0, 16.0], weight_decay=0.01)
    flow = solve(model)
    gaps = [np.abs(solve(dataclasses.replace(model, step_size=eta)).fuv - flow.fuv).max()
            for eta in (1 / 64, 1 / 128)]  # fmt: skip
    assert gaps[0] < 0.02
    assert 1.7 < gaps[0] / gaps[1] < 2.3


def test_one_linear_unit_with_a_fixed_readout_is_one_layer():
    lam, times = np.array([1.5, 0.7, 0.2]), np.array([0.0, 0.5, 3.0, 50.0])
    w0, teacher = np.array([[0.3, -0.2, 0.4]]), np.array([[1.0, 0.0, 2.0]])
    for step in (None, 0.5):
        found = solve(TwoLayerModel(lam, teacher, w0, [1.0], activation="linear", times=times,
                                    train_readout=False, step_size=step))  # fmt: skip
        d, phi = decay(lam, times, step)
        w = (w0 * d + teacher * lam * phi)[:, None, :]
        assert_allclose(found.fuv, 1 - explained(w, lam, 0.0)[0] / lam.sum(), rtol=1e-6)


def test_units_of_small_weights_are_linear():
    rest = {"times": [0.0, 2.0], "train_readout": False, "readout0": np.full(4, 1e-4)}
    bent = solve(page_model(**rest, teacher=1e-4 * np.eye(20)[[1]]))
    linear = solve(page_model(**rest, teacher=1e-4 * np.eye(20)[[1]], activation="linear"))
    assert_allclose(bent.fuv, linear.fuv, rtol=1e-3)
    assert_allclose(bent.hidden_cov[0], linear.hidden_cov[0])


def test_phases_of_the_page():
    at = [0.0, 3.0, 100.0, 1e4]
    for changes, fuv, floor in (
        ({}, [0.693, 0.654, 0.747, 0.798], [0.693, 0.654, 0.844, 0.856]),
        ({"weight_decay": 0.003}, [0.693, 0.654, 0.748, 0.861], [0.693, 0.654, 0.851, 0.862]),
        ({"activation": "linear"}, [0.693, 0.636, 0.636, 0.636], [0.693, 0.761, 0.825, 0.825]),
        ({"activation": "linear", "weight_decay": 0.003},
         [0.693, 0.636, 0.636, 0.861], [0.693, 0.761, 0.840, 0.861]),
        ({"activation": "relu"}, [0.773, 0.753, 0.777, 0.839], [0.773, 0.753, 0.876, 0.891]),
    ):  # fmt: skip
        found = solve(page_model(times=at, **changes))
        assert_allclose(found.fuv, fuv, atol=6e-4)
        assert_allclose(found.fuv_floor, floor, atol=6e-4)


def mean_field(n_units, seed):
    """f = (1/K) sum a_k g(w_k x) with K times the step for every unit."""
    rng = np.random.default_rng(seed)
    return page_model(
        W0=0.3 * rng.normal(size=(n_units, 20)),
        readout0=rng.choice([-2.0, 2.0], n_units) / n_units,
        train_readout=False, step_size=n_units / 8, times=np.array([0.0, 1.0, 256.0]) * n_units,
    )  # fmt: skip


def test_units_in_mean_field_scaling():
    """Training no longer depends on the draw of many units; a layer of many holds the inputs."""
    found = {k: [solve(mean_field(k, seed)) for seed in range(4)] for k in (8, 32, 128)}
    spread = [np.std([f.test_error[1] for f in found[k]]) for k in (8, 128)]
    assert spread[1] < 0.5 * spread[0]
    for k, ends in ((8, [0.424, 0.646]), (32, [0.012, 0.107]), (128, [0.002, 0.008])):
        fuv = np.mean([f.fuv[[0, -1]] for f in found[k]], axis=0)
        assert_allclose(fuv, ends, atol=6e-4)  # what the page says
        assert fuv[1] > fuv[0]


def test_the_nonlinear_part_of_units_is_what_no_ridge_removes():
    """Two units along one direction, of which one alone also sees a faint second one."""
    lam, faint = np.array([1.0, 1.0]), 1e-3
    for size, wanted in ((1e-2, 0.0), (3.0, 0.5)):
        model = TwoLayerModel(lam, [[1.0, 0.0]], [[size, 0.0], [1.1 * size, faint]], [1.0, 1.0],
                              times=0.0, relative_ridge=0.0)  # fmt: skip
        assert_allclose(solve(model).fuv, wanted, atol=0.1)
        linear = dataclasses.replace(model, activation="linear")
        assert_allclose(solve(linear).fuv, 0.0, atol=1e-4)


def test_samples_agree():
    rest = {"times": [0.0, 4.0, 16.0, 32.0], "noise": 0.1, "step_size": 0.5}
    big = {"W0": 10 * page_model().W0, "readout0": 10 * page_model().readout0}
    for changes in ({}, {"weight_decay": 0.05}, {"activation": "relu", "step_size": 0.25}):
        found = compare(page_model(**{**rest, **big, **changes}), n_samples=8000, n_repeats=6)
        assert len(found.names) == 12
        assert np.abs(found.z).max() < 4.5, found


@pytest.mark.parametrize("activation", ["erf", "linear", "relu"])
def test_batches_of_one_row_agree(activation):
    rng = np.random.default_rng(0)
    model = TwoLayerModel(
        np.repeat([1.0, 0.25], 30), np.eye(1, 60), 0.1 * rng.normal(size=(2, 60)), [1.0, 0.5],
        activation=activation, step_size=1 / 64, batch_size=1, times=[0.0, 2.0, 16.0], noise=0.3,
    )  # fmt: skip
    found = compare(model, n_samples=4000, n_repeats=8)
    assert np.abs(found.z).max() < 4.5, found
    quiet = solve(dataclasses.replace(model, batch_size=None))
    late = found.names.index("test_error[t=16]")
    assert found.theory[late] - 0.09 > 2 * (quiet.test_error[2] - 0.09)  # batches' noise counts
    assert "batches of 1 fresh rows" in simulate(model, n_samples=50, n_repeats=2).message


def test_curves_over_fields():
    model = page_model(times=[1.0, 30.0])
    found = curve(model, {"weight_decay": [0.0, 0.01], "activation": ["erf", "linear"]})
    assert found["fuv_floor"].shape == (2, 2, 2)
    wanted = solve(page_model(times=[1.0, 30.0], weight_decay=0.01, activation="linear"))
    assert_allclose(found["test_error"][1, 1], wanted.test_error)


def test_what_cannot_be_followed_is_not_valid():
    wild = page_model(times=[0.0, 2000.0, 4000.0], step_size=20.0, activation="linear")
    with pytest.warns(ValidityWarning, match="diverged at step"):
        found = solve(wild)
    assert np.isfinite(found.fuv).tolist() == [True, False, False]
    with pytest.raises(NumericalError, match="diverged at step"):
        solve(wild, on_failure="raise")
    gone = page_model(times=[0.0, 10.0, 400.0], weight_decay=10.0)
    with pytest.warns(ValidityWarning, match="all weights have decayed below 1e-08"):
        assert np.isfinite(solve(gone).fuv).tolist() == [True, False, False]
    with pytest.warns(ValidityWarning, match="simulate"):
        assert simulate(wild, n_samples=50, n_repeats=2).status == "invalid"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spectrum": [1.0, -1.0]}, "spectrum"),
        ({"teacher": np.ones((1, 3))}, "teacher must have shape"),
        ({"W0": np.ones((0, 2))}, "W0 must have a row"),
        ({"readout0": [1.0]}, "readout0 must have shape"),
        ({"teacher_readout": [1.0]}, "teacher_readout must have shape"),
        ({"activation": "sine"}, "activation"),
        ({"batch_size": 4}, "batch_size needs a step_size"),
        ({"step_size": 0.1, "times": 0.25}, "whole multiples"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TWO, **changes)


def test_pairs_of_equal_and_of_opposite_units():
    for activation, sign in itertools.product(G, (1.0, -1.0)):
        model = dataclasses.replace(TWO, W0=TWO.teacher[[0, 0]] * [[1.0], [sign]], times=[0.0, 1.0],
                                    readout0=[1.0, 1.0], activation=activation,
                                    relative_ridge=1e-8)  # fmt: skip
        found = solve(model)
        assert np.isfinite(found.fuv).all()
        assert np.isfinite(found.test_error).all()
