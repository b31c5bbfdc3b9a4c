"""Early stopping in high dimension: closed limits, the slow equations, experiments."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.diagonal import (
    Component,
    DiagonalModel,
    compare,
    compare_flow,
    laplace_law,
    population_path,
    pretraining_channel,
    simulate_flow,
    solve,
    solve_flow,
)
from retemper.diagonal.law import coefficient_law
from retemper.diagonal.mean_field import law_points
from retemper.exceptions import ConvergenceWarning


@pytest.mark.parametrize("model", [
    DiagonalModel(0.4, mode="scratch", init_scale=0.1, noise=0.3),
    DiagonalModel(0.3, readout_scale=0.3),
    DiagonalModel(0.4, mode="warm", shared="opposite", init_scale=0.1),
    DiagonalModel(0.4, readout_scale=0.5, rebalance="none", noise=0.2),
    DiagonalModel(0.4, alpha_pt=0.4, init_scale=0.05, readout_scale=0.2),
    DiagonalModel(0.4, depth=3, mode="scratch", init_scale=0.3, noise=0.2),
    DiagonalModel(2.5, mode="scratch", init_scale=0.5, noise=0.5),
])  # fmt: skip
def test_the_end_of_the_flow_is_the_theory_of_the_end(model):
    found = solve_flow(model, [300.0], on_failure="raise")
    end = solve(model, on_failure="raise")
    assert_allclose(found.mse[0], end.mse, rtol=4 * found.quadrature_error + 1e-4)
    assert_allclose(found.forgetting[0], end.forgetting, rtol=0.02)
    assert_allclose(found.group_mse[0], end.group_mse, rtol=0.06, atol=0.01)
    assert_allclose(found.train_error[0], end.train_error, rtol=0.02, atol=1e-4)


def eigenvalues(alpha):
    """Eigenvalues of X'X for rows N(0, 1/D), and their shares: Marchenko and Pastur."""
    low, high = (1 - alpha**0.5) ** 2, (1 + alpha**0.5) ** 2
    angle = (np.arange(2000) + 0.5) * np.pi / 2000
    at = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
    share = (0.5 * (high - low) * np.sin(angle)) ** 2 / (2 * np.pi * at) * np.pi / 2000
    return np.append(at, 0.0), np.append(share, 1.0 - share.sum())


@pytest.mark.parametrize("alpha", [0.4, 1.7])
def test_the_lazy_limit_is_the_flow_of_linear_regression(alpha):
    """The known risk of gradient flow on least squares, an average over the spectrum."""
    noise, c = 0.7, 1e6
    model = DiagonalModel(alpha, mode="scratch", init_scale=c, noise=noise)
    times = np.array([0.1, 0.3, 1.0, 3.0, 10.0])
    found = solve_flow(model, times / (2 * c), rtol=1e-5)
    s, share = eigenvalues(alpha)
    left = np.exp(-np.outer(times, s))
    with np.errstate(invalid="ignore"):
        gained = np.where(s > 1e-12, (1 - left) ** 2 / np.maximum(s, 1e-300), 0.0)
    assert_allclose(found.mse, (left**2 + noise**2 * gained) @ share, rtol=2e-3)
    train = left**2 @ (share * (s + noise**2 * (s > 1e-12))) / alpha
    rest = noise**2 * max(0.0, 1 - 1 / alpha)
    assert_allclose(found.train_error, train + rest, rtol=4e-3)


def test_many_rows_are_the_population():
    alpha, c = 1e5, 0.05
    part = Component(weight=0.3, target_mean=1.5)
    model = DiagonalModel(alpha, mode="scratch", init_scale=c, components=(
        part, Component(weight=0.7, target_mean=-0.4)))  # fmt: skip
    times = np.array([0.3, 1.0, 2.0])
    found = solve_flow(model, times / alpha, rtol=1e-5)
    paths = [(population_path(b, c, times) - b) ** 2 for b in (1.5, -0.4)]
    assert_allclose(found.mse, 0.3 * paths[0] + 0.7 * paths[1], rtol=1e-3)


def test_units_of_the_coefficients_set_the_unit_of_time():
    model = DiagonalModel(0.4, readout_scale=0.3, noise=0.2)
    large = DiagonalModel(
        0.4, readout_scale=0.3 * 10**0.5, noise=2.0, init_scale=1e-2, a_pt=10.0, var_ft=1000.0
    )
    one, other = solve_flow(model, [1.0, 4.0]), solve_flow(large, [0.1, 0.4])
    assert_allclose(other.mse, 100 * one.mse, rtol=1e-6)
    assert_allclose(other.train_error, 100 * one.train_error, rtol=1e-6)


def slow(points, alpha, noise, times):
    """The equations on a grid of times, as a fixed point of whole matrices; two layers.

    All times at once: the response of every point is the inverse of a matrix.
    """
    w, target, c, u0 = (points[name] for name in ("weight", "target", "scale", "centre"))
    n = len(times)
    step = np.zeros((n, n))  # the trapezoidal rule
    for k in range(1, n):
        step[k] = step[k - 1]
        step[k, [k - 1, k]] += 0.5 * (times[k] - times[k - 1])
    wrong = np.repeat((target - c * np.sinh(u0))[:, None], n, axis=1)
    gain, dual = np.zeros((n, n)), np.zeros((len(w), n))
    for _ in range(400):
        kernel = np.linalg.inv(np.eye(n) + gain)
        sources = np.vstack([np.sqrt(w)[:, None] * wrong, np.full((1, n), noise)])
        triangle = np.linalg.qr(sources, mode="r")
        triangle *= np.where(np.diag(triangle) < 0, -1.0, 1.0)[:, None]
        triangle = triangle[np.diag(triangle) > 1e-4 * np.linalg.norm(sources, axis=0)]
        noise_path = alpha**0.5 * points["normals"][:, : len(triangle)] @ triangle @ kernel.T
        answer = alpha * step @ kernel
        was = wrong
        for k in range(n):  # forward in time, by bisection-like Newton on each point
            x = dual[:, k]
            known = noise_path @ step[k] + wrong[:, :k] @ answer[k, :k]
            for _ in range(60):
                beta, slope = c * np.sinh(u0 + 2 * x), 2 * c * np.cosh(u0 + 2 * x)
                left = x - known - answer[k, k] * (target - beta)
                x = x - np.clip(left / (1 + answer[k, k] * slope), -0.5, 0.5)
            dual[:, k] = x
            wrong = wrong.copy()
            wrong[:, k] = target - c * np.sinh(u0 + 2 * x)
        slope = 2 * c[:, None] * np.cosh(u0[:, None] + 2 * dual)
        response = np.linalg.solve(
            np.eye(n) + answer * slope[:, None, :], step[None].repeat(len(w), 0)
        )
        gain = np.einsum("i,ik,iks->ks", w, slope, response)
        if np.abs(wrong - was).max() < 1e-11:
            break
    residual = triangle @ kernel.T
    return w @ wrong**2, np.sum(residual**2, axis=0)


@pytest.mark.parametrize("model", [
    DiagonalModel(0.4, mode="scratch", init_scale=0.3, noise=0.3),
    DiagonalModel(0.5, mode="warm", init_scale=0.5, shared="opposite"),
])  # fmt: skip
def test_the_equations_of_all_times_at_once_are_solved(model):
    from retemper._dispatch import core

    points = law_points(coefficient_law(model), 128)
    found = core.diagonal.mean_field_flow(
        **points, depth=2.0, alpha=model.alpha, noise_var=model.noise**2, end_time=3.0, tol=2e-3,
        most_steps=100, n_threads=1, progress=None,
    )  # fmt: skip
    mse, train = slow(points, model.alpha, model.noise, found["times"])
    assert 12 < len(mse) < 40
    assert_allclose(found["mse"].sum(axis=1), mse, rtol=1e-3)
    assert_allclose(found["train"], train, rtol=1e-3, atol=1e-5)


def test_the_training_error_falls_as_fast_as_coefficients_move():
    """Its derivative is an average over coefficients: energy that is lost is work that is done."""
    from retemper._dispatch import core

    model = DiagonalModel(0.4, readout_scale=0.3, noise=0.3)
    run = core.diagonal.mean_field_flow(
        **law_points(coefficient_law(model), 4096), depth=2.0, alpha=0.4, noise_var=0.09,
        end_time=10.0, tol=1e-4, most_steps=300, n_threads=1, progress=None,
    )  # fmt: skip
    middle = 0.5 * (run["train_slope"][1:] + run["train_slope"][:-1])
    fall = np.diff(run["train"])
    assert np.all(run["train_slope"] < 0)
    work = middle * np.diff(run["times"])
    assert_allclose(fall, work, rtol=0.05, atol=2e-5)
    assert_allclose(fall.sum(), work.sum(), rtol=6e-3)


CASES = {
    "scratch": DiagonalModel(0.4, mode="scratch", init_scale=0.1, noise=0.3),
    "rich": DiagonalModel(0.4, mode="scratch", init_scale=1e-4, noise=0.3),
    "lazy": DiagonalModel(0.4, mode="scratch", init_scale=3.0, noise=0.5),
    "reset": DiagonalModel(0.3, readout_scale=0.3, noise=0.2),
    "apart": DiagonalModel(0.4, readout_scale=0.5, noise=0.2, rebalance="none"),
    "warm": DiagonalModel(0.4, mode="warm", shared="opposite", init_scale=0.01),
    "finite": DiagonalModel(0.4, alpha_pt=0.4, init_scale=0.05, readout_scale=0.2),
    "deep": DiagonalModel(0.4, depth=3, mode="scratch", init_scale=0.05, noise=0.2),
    "deep, warm": DiagonalModel(
        0.4, depth=4, mode="warm", shared="aligned", init_scale=0.05, noise=0.2
    ),
    "many rows": DiagonalModel(1.5, mode="scratch", init_scale=0.1, noise=0.8),
    "Laplace": DiagonalModel(0.5, mode="scratch", init_scale=0.1, noise=0.2, components=(
        Component(weight=0.2, target_law=laplace_law(5.0)), Component(weight=0.8))),
}  # fmt: skip
SIZES = {"many rows": 250, "deep": 500, "deep, warm": 500}


@pytest.mark.parametrize("name", CASES)
def test_theory_and_simulation_agree(name):
    """Experiments are large: deviations of a warm start fall as one over their size."""
    found = compare_flow(
        CASES[name], [0.3, 1.0, 3.0, 8.0], n_features=SIZES.get(name, 800), random_state=3
    )
    assert np.abs(found.z).max() < 4.0
    assert np.sqrt(np.mean(found.z**2)) < 2.0


def test_a_rich_network_should_stop_before_it_fits_the_noise():
    model = DiagonalModel(0.4, mode="scratch", noise=1.0)
    theory = solve_flow(model, [0.5, 100.0])
    assert theory.best_mse < 0.8 * theory.mse[-1]
    at_best = simulate_flow(model, [theory.best_time, 100.0], n_features=300, n_repeats=4)
    assert at_best.mse[0] < 0.8 * at_best.mse[1]


def test_long_times_cost_little_once_nothing_moves():
    """Modes that have decayed make the trapezoidal rule swing; a backward step stops that."""
    for model in (DiagonalModel(0.4, mode="scratch", init_scale=1e6), CASES["scratch"]):
        found = solve_flow(model, [1e3, 1e8], n_points=256, on_failure="raise")
        assert_allclose(found.mse[1], found.mse[0], rtol=1e-6)
        assert found.n_iter < 1000
        assert found.train_error[1] < 1e-15


def test_times_are_those_of_gradient_flow_and_do_not_depend_on_the_others_asked_for():
    model = DiagonalModel(0.4, mode="scratch", init_scale=0.1)
    few, many = solve_flow(model, [0.0, 2.0, 8.0]), solve_flow(model, np.linspace(0, 8, 33))
    assert_allclose(many.mse[[0, 8, 32]], few.mse, rtol=1e-12)
    assert few.mse[0] == pytest.approx(few.null_mse, rel=1e-12)
    runs = simulate_flow(model, [2.0], n_features=50, n_repeats=3)
    assert runs.samples["mse"].shape == (3, 1)


def test_threads_never_change_a_bit():
    model = DiagonalModel(0.4, mode="scratch", init_scale=0.1)
    one, two = (solve_flow(model, [2.0], n_points=512, n_jobs=k) for k in (1, 2))
    assert one.mse[0] == two.mse[0]
    assert one.best_time == two.best_time


def test_what_has_no_equations_is_refused():
    model = DiagonalModel(0.3, mode="scratch")
    for rest in ({"mu": 0.1}, {"spectrum": (1.0, 2.0)},
                 {"label_noise": 0.1, "step_size": 0.1, "n_steps": 3}):  # fmt: skip
        with pytest.raises(ValueError, match="model must have"):
            solve_flow(DiagonalModel(0.3, mode="scratch", **rest), [1.0])
    for times in ([], [0.0], [2.0, 1.0], [-1.0, 1.0], [np.nan]):
        with pytest.raises(ValueError, match="times"):
            solve_flow(model, times)
        with pytest.raises(ValueError, match="times"):
            simulate_flow(model, times)
    for name, value in (("n_points", 3), ("rtol", 0.0), ("rtol", 1.0)):
        with pytest.raises(ValueError, match=name):
            solve_flow(model, [1.0], **{name: value})


def test_too_many_steps_are_said():
    model = DiagonalModel(0.4, mode="scratch", init_scale=0.1)
    with pytest.warns(ConvergenceWarning, match="rtol"):
        found = solve_flow(model, [0.1, 1e3], n_points=64, rtol=1e-8)
    assert np.isfinite(found.mse[0])
    assert np.isnan(found.mse[1])
    assert np.isnan(found.group_mse[1]).all()


SOURCES = {
    "reset": DiagonalModel(
        0.3, alpha_pt=0.5, noise_pt=0.5, init_scale=0.05, readout_scale=0.2, noise=0.2
    ),
    "warm": DiagonalModel(0.3, mode="warm", alpha_pt=0.5, init_scale=0.05, shared="aligned"),
    "deep": DiagonalModel(0.3, mode="warm", alpha_pt=0.5, depth=3, init_scale=0.1, noise_pt=0.3),
}


@pytest.mark.parametrize("name", SOURCES)
def test_late_stops_of_pretraining_are_its_end(name):
    model = SOURCES[name]
    late = dataclasses.replace(model, time_pt=200.0)
    assert_allclose(solve(late).mse, solve(model).mse, rtol=0.015)


def test_pretraining_that_has_not_begun_leaves_no_source():
    early = dataclasses.replace(SOURCES["warm"], time_pt=1e-6)
    scratch = dataclasses.replace(SOURCES["warm"], mode="scratch", alpha_pt=np.inf)
    assert_allclose(solve(early).mse, solve(scratch).mse, rtol=1e-4)


@pytest.mark.parametrize("time", [0.5, 3.0])
@pytest.mark.parametrize("name", SOURCES)
def test_theory_and_simulation_agree_on_pretraining_that_stops(name, time):
    model = dataclasses.replace(SOURCES[name], time_pt=time)
    end = compare(model, n_features=500, random_state=4)
    assert np.abs(end.z).max() < 4.0
    early = compare_flow(model, [1.0, 4.0], n_features=500, random_state=5)
    assert np.abs(early.z).max() < 4.0


def test_a_stop_of_pretraining_needs_finitely_many_rows():
    with pytest.raises(ValueError, match="alpha_pt"):
        DiagonalModel(0.3, time_pt=1.0)
    with pytest.raises(ValueError, match="time_pt"):
        DiagonalModel(0.3, alpha_pt=2.0, time_pt=0.0)
    with pytest.raises(ValueError, match="spectrum needs exact"):
        DiagonalModel(0.3, alpha_pt=2.0, time_pt=1.0, spectrum=(1.0, 2.0))
    with pytest.raises(ValueError, match="time_pt"):
        pretraining_channel(DiagonalModel(0.3, alpha_pt=2.0, time_pt=1.0))
