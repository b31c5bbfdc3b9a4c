"""Hidden layers of deep linear networks: the flow of all matrices, samples, limits, bad input."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from retemper.exceptions import NumericalError
from retemper.phases import (
    DeepLinearModel,
    TwoLayerModel,
    compare,
    curve,
    random_subspace_fuv,
    solve,
)

LAM = np.array([1.5, 1.0, 0.6, 0.3, 0.1])
M = np.array([0.0, 0.8, 0.0, 0.25, 0.0])


def deep_fuv(spectrum, signal, times, **rest):
    return solve(DeepLinearModel(spectrum, signal, times=times, **rest)).fuv


def fuv_of(h, noise):
    """Of units h (units, p) of inputs with covariance LAM, and a noise on every unit."""
    cov = h @ np.diag(LAM) @ h.T
    cov += noise * np.trace(cov) / len(cov) * np.eye(len(cov))
    cross = h * LAM
    return 1 - np.trace(cross.T @ np.linalg.solve(cov, cross)) / LAM.sum()


def product(matrices, p=LAM.size):
    out = np.eye(p)
    for w in matrices:
        out = w @ out
    return out


def matrices_at(start, times, cross, inputs, kappa):
    """Weights at every time: gradient flow of all matrices, the first one next to the inputs."""
    shapes = [w.shape for w in start]
    cuts = np.cumsum([0, *(w.size for w in start)])

    def split(z):
        return [z[i:j].reshape(s) for (i, j), s in zip(itertools.pairwise(cuts), shapes,
                                                       strict=True)]  # fmt: skip

    def velocity(_, z):
        layers = split(z)
        gap = cross - product(layers) @ inputs
        moves = []
        for k, w in enumerate(layers):
            above = product(layers[k + 1 :], w.shape[0])
            moves.append(above.T @ gap @ product(layers[:k]).T - kappa * w)
        return np.concatenate([m.ravel() for m in moves])

    z0 = np.concatenate([w.ravel() for w in start])
    path = solve_ivp(velocity, (0, times[-1]), z0, "LSODA", t_eval=times, rtol=1e-10, atol=1e-13)
    return [split(z) for z in path.y.T]


def aligned_start(depth, size, rng):
    """Orthogonal layers that carry every direction to its target."""
    turns = [np.linalg.qr(rng.normal(size=(LAM.size,) * 2))[0] for _ in range(depth - 1)]
    turns = [np.eye(LAM.size), *turns]
    layers = [size * turns[k + 1] @ turns[k].T for k in range(depth - 1)]
    targets = np.flatnonzero(M)
    return [*layers, size * turns[-1].T[targets]], np.eye(LAM.size)[targets] * M


@pytest.mark.parametrize(("depth", "kappa"), [(2, 0.0), (2, 0.05), (3, 0.02), (4, 0.0)])
def test_closed_modes_are_the_flow_of_all_matrices(depth, kappa):
    times, noise = np.array([0.0, 2.0, 10.0, 40.0]), 1e-2
    start, cross = aligned_start(depth, 0.4, np.random.default_rng(depth))
    found = matrices_at(start, times, cross, np.diag(LAM), kappa)
    for layer in range(1, depth):
        wanted = [fuv_of(product(layers[:layer]), noise) for layers in found]
        fuv = deep_fuv(LAM, M, times, init_scale=0.4, depth=depth, layer=layer,
                              weight_decay=kappa, relative_noise_var=noise)  # fmt: skip
        assert_allclose(fuv, wanted, rtol=1e-5)


@pytest.mark.parametrize(("depth", "layer", "kappa"), [(2, 1, 0.05), (3, 2, 0.01)])
def test_training_on_samples_agrees(depth, layer, kappa):
    model = DeepLinearModel(LAM, M, 0.4, depth, layer, kappa, 1e-2, [0.0, 3.0, 12.0, 40.0])
    found = compare(model, n_samples=4000, n_repeats=8)
    assert_allclose(found.theory[0], found.simulation[0], rtol=1e-9)
    assert np.abs(found.z[1:]).max() < 4.5, found


def test_descent_is_the_flow_of_small_steps_and_of_its_matrices():
    rest = {"init_scale": 0.4, "depth": 3, "layer": 2, "weight_decay": 0.02,
            "relative_noise_var": 1e-2}  # fmt: skip
    at = [0.0, 4.0, 16.0]
    flow = deep_fuv(LAM, M, at, **rest)
    gaps = [np.abs(deep_fuv(LAM, M, at, step_size=s, **rest) - flow).max() for s in (0.02, 0.01)]
    assert 1.8 < gaps[0] / gaps[1] < 2.2
    start, cross = aligned_start(3, 0.4, np.random.default_rng(0))
    layers = start
    for _ in range(40):
        gap = cross - product(layers) @ np.diag(LAM)
        layers = [(1 - 0.1 * 0.02) * w
                  + 0.1 * product(layers[k + 1 :], w.shape[0]).T @ gap @ product(layers[:k]).T
                  for k, w in enumerate(layers)]  # fmt: skip
    found = deep_fuv(LAM, M, [4.0], step_size=0.1, **rest)
    assert_allclose(found[0], fuv_of(product(layers[:2]), 1e-2), rtol=1e-9)
    with pytest.raises(NumericalError, match="descent with step_size"):
        deep_fuv(LAM, M, [500.0], step_size=5.0, **rest)


def test_curves_over_fields():
    model = DeepLinearModel(LAM, M, 0.1, relative_noise_var=1e-2, times=[1.0, 40.0])
    found = curve(model, {"depth": [2, 3], "weight_decay": [0.0, 0.01]})
    wanted = deep_fuv(LAM, M, [40.0], init_scale=0.1, relative_noise_var=1e-2, depth=3)
    assert_allclose(found["fuv"][1, 0, 1], wanted[0])


def test_the_rise_of_the_page():
    lam, m = 1 / np.arange(1.0, 11.0), np.zeros(10)
    m[[2, 6]] = 0.5, 0.2
    for rest, wanted in (
        ({}, [0.010, 0.050]),
        ({"weight_decay": 0.01}, [0.010, 0.838]),
        ({"depth": 3, "layer": 2}, [0.010, 0.441]),
    ):
        fuv = deep_fuv(lam, m, [0.0, 1024.0], init_scale=0.2, relative_noise_var=1e-2, **rest)
        assert_allclose(fuv, wanted, atol=1e-3)


def test_the_rise_needs_a_resolution_and_comes_sooner_with_decay_and_depth():
    late = [0.0, 1e4]
    assert not deep_fuv(LAM, M, late).any()  # nothing is lost without noise
    rest = {"init_scale": 0.3, "relative_noise_var": 1e-6}
    assert deep_fuv(LAM, M, late, **rest).max() < 1e-3  # nor without decay
    held = LAM[M > 0].sum() / LAM.sum()
    decayed = deep_fuv(LAM, M, late, weight_decay=0.01, **rest)
    assert_allclose(decayed[1], 1 - held, rtol=1e-3)
    # a direction without target is half lost when its power has fallen to the noise
    two = np.array([1.0, 0.6])
    for depth, layer in ((2, 1), (3, 1), (3, 2)):
        kappa = 1e-4
        noise = 1e-6 * 0.6 * (0.5 / 0.6) ** (2 * layer / depth) / 2  # but for the decay
        at = np.log(0.3 ** (2 * layer) / noise) / (2 * layer * kappa)
        fuv = deep_fuv(two, [0.0, 0.5], at, depth=depth, layer=layer, weight_decay=kappa, **rest)
        assert_allclose(fuv, 0.5 * two[0] / two.sum(), rtol=1e-3)
    deeper = [
        deep_fuv(LAM, M, 1e4, init_scale=0.1, depth=4, layer=k, relative_noise_var=1e-3)[0]
        for k in (1, 2, 3)
    ]
    assert deeper[0] < 0.1 < deeper[1] < deeper[2]


def test_a_narrow_hidden_layer_falls_and_rises_and_decay_adds_to_the_rise():
    rng = np.random.default_rng(0)
    cross = np.array([[1.2, 0.5, 0.0, 0.0, 0.15]])
    times = np.array([0.0, 5.0, 400.0])
    start = [0.05 * rng.normal(size=(2, LAM.size)), 0.05 * rng.normal(size=(1, 2))]
    kept, decayed = (
        [fuv_of(layers[0], 1e-12) for layers in matrices_at(start, times, cross, np.diag(LAM), k)]
        for k in (0.0, 0.03)
    )
    assert_allclose(kept, [0.551, 0.423, 0.503], atol=1e-3)  # what the page says
    assert_allclose(decayed, [0.551, 0.421, 0.605], atol=1e-3)
    for kappa, wanted in ((0.0, kept), (0.03, decayed)):
        linear = TwoLayerModel(
            LAM, cross / LAM, start[0], start[1][0], activation="linear", weight_decay=kappa,
            relative_ridge=1e-12, times=times,
        )  # fmt: skip
        seen = slice(3 if kappa == 0.0 else 2)  # at the end a ridge is not a noise
        assert_allclose(solve(linear).fuv[seen], wanted[seen], rtol=1e-5)


def test_a_random_subspace_of_correlated_inputs_is_that_of_their_eigenvalues():
    p, units = 40, 8
    cov = 0.8 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        w = rng.normal(size=(units, p))
        cross = w @ cov
        found.append(1 - np.trace(cross.T @ np.linalg.solve(w @ cross.T, cross)) / p)
    error = np.std(found, ddof=1) / len(found) ** 0.5
    assert abs(np.mean(found) - random_subspace_fuv(np.linalg.eigvalsh(cov), units)) < 3.5 * error


def test_limits_and_bad_input():
    tiny = deep_fuv([1.0, 1.0], [0.0, 0.5], [1e3, 1e6], weight_decay=5.0,
                           relative_noise_var=0.1)  # fmt: skip
    assert_allclose(tiny, 0.5 + 0.5 * 0.05 / 1.05, rtol=1e-9)  # one is gone, however small both
    assert_allclose(
        deep_fuv([1.0, 1.0], [0.0, 0.3], 5.0, weight_decay=0.3, relative_noise_var=0.1),
        deep_fuv([1.0, 1.0], [0.0, 0.3 + 1e-9], 5.0, weight_decay=0.3,
                        relative_noise_var=0.1),
        rtol=1e-6,
    )  # fmt: skip
    for name, bad in {
        "spectrum": {"spectrum": [1.0, 0.0]}, "signal": {"signal": [-1.0, 0.0]},
        "init_scale": {"init_scale": 0.0}, r"\[1e-100, 10\]": {"init_scale": 1e300},
        "depth": {"depth": 1}, "depth must": {"depth": 21}, "layer": {"layer": 2},
        "times": {"times": -1.0}, "weight_decay": {"weight_decay": -1.0},
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=name):
            deep_fuv(**{"spectrum": [1.0, 2.0], "signal": [0.0, 1.0], "times": 1.0} | bad)
