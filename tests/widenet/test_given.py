"""Kernels of the user: the numbers of the data they come from, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import KernelTasks, WideNetModel, curve, gamma_path, nngp_kernel, solve

MODEL = WideNetModel(60, "erf", lam1=1.3, lam1_source=0.8, gamma=1.0)


def data(n_outputs=1, n_source=30, n_target=12, n_test=9, d=50):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(n_source + n_target + n_test, d)), rng.normal(size=(d, n_outputs))
    y = X @ w / math.sqrt(d) if n_outputs > 1 else X @ w[:, 0] / math.sqrt(d)
    at = [n_target, n_target + n_source]
    return tuple(zip(np.split(X, at), np.split(y, at), strict=True))


def kernels_of(model, target, source, test):
    """The blocks of an erf layer, at any coupling."""
    (Xt, yt), (Xs, ys), (Xe, ye) = target, source, test
    s, t = 1 / math.sqrt(model.lam0), math.sqrt(model.var_diag)

    def between(X, Z, weight_correlation):
        return nngp_kernel(X, Z, weight_correlation=weight_correlation)

    def diagonal(r):
        return np.diagonal(between(t * Xe, t * Xe, r)).copy()

    r, r_st = model.var_off / model.var_diag, model.pull / math.sqrt(model.lam0 * model.var_diag)
    blocks = {
        "target": (nngp_kernel(t * Xt), yt),
        "test": (between(t * Xe, t * Xt, 1.0), diagonal(1.0), ye),
    }
    if model.gamma:
        blocks |= {
            "source": (nngp_kernel(s * Xs), ys),
            "two_runs": nngp_kernel(t * Xt, weight_correlation=r),
            "cross": between(s * Xs, t * Xt, r_st),
            "test_two_runs": (between(t * Xe, t * Xt, r), diagonal(r)),
            "test_cross": between(s * Xs, t * Xe, r_st),
        }
    return KernelTasks(**blocks)


NAMES = ("Q_s", "Q_t", "Q_tt", "Q_st", "log_evidence", "loo", "bias", "thermal", "quenched", "mean")


@pytest.mark.parametrize("gamma", [0.0, 0.7, math.inf])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_kernels_of_data_give_the_numbers_of_the_data(gamma, n_outputs):
    target, source, test = data(n_outputs=n_outputs)
    model = dataclasses.replace(MODEL, gamma=gamma)
    want = solve(model, target, source if gamma else None, test)
    got = solve(model, kernels_of(model, target, source, test))
    for name in NAMES:
        assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-9, atol=1e-11)


def test_path_and_curve_take_a_function_of_the_coupling():
    tasks = data()

    def at(gamma):
        return kernels_of(dataclasses.replace(MODEL, gamma=gamma), *tasks)

    grid = [0.0, 1.0, math.inf]
    got, want = gamma_path(MODEL, at, gammas=grid), gamma_path(MODEL, *tasks, gammas=grid)
    for path, other in ((got, want), (got.control, want.control)):
        assert_allclose(path["test_error"], other["test_error"], rtol=1e-9)
        assert_allclose(path["loo"], other["loo"], rtol=1e-9)
    sweep = curve(MODEL, {"gamma": [1.0, 3.0], "width": [30, 90]}, at)
    other = curve(MODEL, {"gamma": [1.0, 3.0], "width": [30, 90]}, *tasks)
    assert_allclose(sweep["test_error"], other["test_error"], rtol=1e-9)
    assert got.theory[1].samples_per_dimension >= 1.0


def test_averaged_patches_are_a_network_on_patches():
    """A linear filter averaged over positions is a linear network on the averaged patch."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(20, 5, 8)) + rng.normal(size=(20, 1, 8))
    y = X.mean(1) @ rng.normal(size=8)
    flat = X.reshape(-1, 8)
    K = nngp_kernel(flat, activation="linear").reshape(20, 5, 20, 5).mean((1, 3))
    model = WideNetModel(50, "linear")
    got = solve(model, KernelTasks((K, y)), on_failure="ignore")
    want = solve(model, (X.mean(1), y))
    assert_allclose([got.Q_t, got.loo], [want.Q_t, want.loo], rtol=1e-9)


def test_a_limited_number_of_dimensions_is_said():
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.warns(UserWarning, match="samples per effective dimension of the kernel"):
        solve(WideNetModel(50), KernelTasks((X @ X.T / 3, X[:, 0])))


def test_refusals():
    target, source, test = data()
    full = kernels_of(MODEL, target, source, test)
    fields = {f.name: getattr(full, f.name) for f in dataclasses.fields(full)}

    def refuses(match, error=ValueError, **changes):
        with pytest.raises(error, match=match):
            KernelTasks(**fields | changes)

    K, y = full.target
    bad = K - 0.5 * np.eye(len(K))
    refuses(r"target must be positive semidefinite: its smallest eigenvalue is -0", target=(bad, y))
    skew = K.copy()
    skew[0, 1] += 0.1
    refuses(r"target kernel must be symmetric: entries \[0, 1\] and \[1, 0\]", target=(skew, y))
    refuses(r"target kernel must have shape \(12, 12\), got \(12, 11\)", target=(K[:, :11], y))
    refuses(r"target y must have shape \(12, any\), got \(11, 1\)", target=(K, y[:11]))
    refuses("target must be a pair", TypeError, target=K)
    refuses("target minus two_runs must be positive", two_runs=2 * K)
    refuses("joint matrix of source, cross and two_runs must be", cross=3 * full.cross)
    refuses("cross is given without source", source=None)
    refuses(r"cross must have shape \(30, 12\), got \(12, 30\)", cross=full.cross.T)
    refuses("test_cross is needed beside test and cross", test_cross=None)
    refuses(r"test blocks are not of the kernel of target: test point \d has variance -",
            test=(full.test[0], 0.01 * full.test[1], test[1]))  # fmt: skip
    refuses("test diagonal must have shape", test=(full.test[0], full.test[1][:2], test[1]))
    refuses(r"target kernel\[0, 0\] is nan", target=(K * np.nan, y))
    for gamma, match in ((0.0, "has no kernel two_runs"), (math.inf, "equal to the kernel")):
        with pytest.raises(ValueError, match=match):
            solve(dataclasses.replace(MODEL, gamma=gamma), full)
    with pytest.raises(ValueError, match="needs the kernel two_runs"):
        solve(MODEL, KernelTasks((K, y)))
    with pytest.raises(ValueError, match="n_hidden_layers must be 1 for kernels that are given"):
        solve(dataclasses.replace(MODEL, n_hidden_layers=2), full)
    with pytest.raises(TypeError, match="source must be None beside kernels"):
        solve(MODEL, full, source)
    with pytest.raises(TypeError, match="must give KernelTasks at every gamma, got int"):
        solve(MODEL, lambda gamma: 3)
