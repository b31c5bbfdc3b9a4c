"""Identities, then the reference values of the theory page (section 9, rows 1 to 19 and 23)."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from retemper.exceptions import NumericalError, ValidityWarning
from retemper.phases import (
    FeatureModel,
    LogisticModel,
    curve,
    linear_network_fuv,
    phase_forecast,
    random_subspace_fuv,
    solve,
    summary,
)

FM = FeatureModel(10, (3, 1), (1, 0.2), n_noise=50, noise_sd=0.5)


def at(times, model=FM, **changes):
    return dataclasses.replace(model, times=times, **changes)


def logistic(p, alpha, beta, snr, omega):
    i = np.arange(1.0, p + 1)
    mean = i**-beta
    return LogisticModel(
        i**-alpha, snr * mean / np.linalg.norm(mean), omega * np.cos(2 * i) * np.sqrt(2 / p)
    )


def data(seed=0, n=60, p=7, k=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 2.0 ** -np.arange(p)
    Y = X @ rng.normal(size=(p, k)) + rng.normal(size=(n, k))
    return X, Y, 0.1 * rng.normal(size=(k, p))


def fuv_of(W, X):
    """Slow and obvious: regress the inputs on the activations."""
    Xc = X - X.mean(axis=0)
    H = Xc @ W.T
    left = Xc - H @ np.linalg.lstsq(H, Xc, rcond=None)[0]
    return (left**2).sum() / (Xc**2).sum()


def test_gradient_descent_is_reproduced_step_by_step():
    X, Y, W = data()
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    steps = [0, 1, 2, 7, 40]
    want, at = [], W.copy()
    for s in range(41):
        if s in steps:
            want.append(fuv_of(at, X))
        at += 0.2 * (Yc.T @ Xc - at @ Xc.T @ Xc) / len(X)
    got = linear_network_fuv(X, Y, W, np.array(steps) * 0.2, step_size=0.2)
    assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("pace", [0.9, 1.0, 1.7])
def test_gradient_descent_at_any_stable_pace(pace):
    X, Y, W = data(1)
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    S = Xc.T @ Xc / len(X)
    eta = pace / np.linalg.eigvalsh(S)[-1]
    for _ in range(9):
        W = W + eta * (Yc.T @ Xc / len(X) - W @ S)
    got = linear_network_fuv(X, Y, data(1)[2], 9 * eta, step_size=eta)
    assert_allclose(got, fuv_of(W, X), atol=1e-11)


def test_gradient_flow_is_the_limit_of_small_steps():
    X, Y, W = data(2)
    flow = linear_network_fuv(X, Y, W, [0.5, 2.0])
    gaps = [
        np.abs(linear_network_fuv(X, Y, W, [0.5, 2.0], step_size=h) - flow).max()
        for h in (0.1, 0.05, 0.025)
    ]
    assert_allclose([gaps[0] / gaps[1], gaps[1] / gaps[2]], 2.0, rtol=0.15)


@given(st.integers(0, 10**6))
def test_only_the_row_space_matters(seed):
    X, Y, W = data(3)
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3, 3)) + 2.0 * np.eye(3)
    got = linear_network_fuv(X, Y @ mix.T, mix @ W, [0.0, 0.3, 3.0])
    assert_allclose(got, linear_network_fuv(X, Y, W, [0.0, 0.3, 3.0]), atol=1e-7)


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.05, 1.0))
def test_without_initial_weights_reconstruction_only_worsens(seed, k, pace):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 8)) * rng.uniform(0.2, 2.0, 8)
    Y = X @ rng.normal(size=(8, k)) + rng.normal(size=(50, k))
    t = np.geomspace(1e-2, 1e2, 25)
    assert (np.diff(linear_network_fuv(X, Y, np.zeros((k, 8)), t)) > -1e-9).all()
    top = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    steps = np.array([1, 2, 3, 5, 9, 30]) * pace / top
    got = linear_network_fuv(X, Y, np.zeros((k, 8)), steps, step_size=pace / top)
    assert (np.diff(got) > -1e-9).all()


def test_reconstruction_is_the_average_over_random_linear_tasks():
    X, Y, W = data(4)
    Xc = X - X.mean(axis=0)
    H = Xc @ W.T
    S, A, B = Xc.T @ Xc, H.T @ H, H.T @ Xc
    theta = np.random.default_rng(0).normal(size=(200_000, 7))
    cross = theta @ B.T
    explained = (cross * np.linalg.solve(A, cross.T).T).sum(axis=1).mean()
    got = 1.0 - linear_network_fuv(X, Y, W, 0.0)[0]
    assert_allclose(got, explained / np.trace(S), rtol=0.02)


def test_task_weights_turn_fuv_into_the_share_of_the_weighted_inputs():
    X, Y, W = data(5)
    weights = np.array([0.0, 3.0, 0.0, 1.0, 0.0, 0.0, 2.0])
    H = (X - X.mean(axis=0)) @ W.T
    Z = (X - X.mean(axis=0)) * np.sqrt(weights)
    left = Z - H @ np.linalg.lstsq(H, Z, rcond=None)[0]
    want = (left**2).sum() / (Z**2).sum()
    assert_allclose(linear_network_fuv(X, Y, W, 0.0, task_weights=weights), want, atol=1e-12)
    factor = np.diag(np.sqrt(weights))[:, weights > 0]
    assert_allclose(linear_network_fuv(X, Y, W, 0.0, task_weights=factor), want, atol=1e-12)
    assert_allclose(
        linear_network_fuv(X, Y, W, 0.7, task_weights=np.ones(7)),
        linear_network_fuv(X, Y, W, 0.7), atol=1e-12,
    )  # fmt: skip


def test_relative_noise_var_is_the_noise_of_the_units():
    X, Y, W = data(6)
    Xc = X - X.mean(axis=0)
    S = Xc.T @ Xc / len(X)
    A = W @ S @ W.T
    noisy = A + 0.3 * np.trace(A) / 3 * np.eye(3)
    want = 1.0 - np.trace(np.linalg.solve(noisy, W @ S @ S @ W.T)) / np.trace(S)
    assert_allclose(linear_network_fuv(X, Y, W, 0.0, relative_noise_var=0.3), want, atol=1e-12)


def test_dropping_the_common_mode_of_one_hot_labels():
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(80, 5)), rng.integers(0, 3, 80)
    W = rng.normal(size=(3, 5))
    got = linear_network_fuv(X, np.eye(3)[y], W, 0.0, drop_common=True)
    assert_allclose(got, fuv_of((W - W.mean(axis=0))[:2], X), atol=1e-12)


def test_random_subspace_agrees_with_random_layers():
    lam = np.arange(1.0, 201.0) ** -1
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(200):
        w = rng.normal(size=(12, 200))
        drawn.append(1 - np.trace(np.linalg.solve((w * lam) @ w.T, (w * lam**2) @ w.T)) / lam.sum())
    z = (random_subspace_fuv(lam, 12) - np.mean(drawn)) / (np.std(drawn) / np.sqrt(200))
    assert abs(z) < 4.0
    assert random_subspace_fuv(lam, 200) == 0.0
    assert random_subspace_fuv(lam, 0) == 1.0
    assert random_subspace_fuv(np.r_[lam, np.zeros(9)], 12) == random_subspace_fuv(lam, 12)


def test_feature_model_modes_equal_its_coordinates():
    """The closed modes against the covariance written out coordinate by coordinate."""
    from retemper.phases._simulate import feature_covariance
    from retemper.phases.theory.features import FeatureModes

    model = FeatureModel(4, (1.0, -0.5), (0.4, 0.9), (0.3, 0.0), 3, 0.7)
    lam = np.linalg.eigvalsh(feature_covariance(model))
    assert_allclose(np.sort(FeatureModes(model).spectrum()), lam, atol=1e-12)
    assert_allclose(lam.sum(), model.total_variance)


def test_monte_carlo_meets_the_annealed_average_at_late_times():
    t = [1.0, 30.0, 1000.0]
    exact = solve(at(t), n_init=40)
    assert_allclose(exact.fuv, solve(at(t)).fuv, atol=5e-4)
    early = solve(at(0.0), n_init=40)
    assert abs(early.fuv[0] - summary(FM).fuv_init) < 4 * early.fuv_stderr[0] + 0.003
    again = solve(at(t), n_init=40, random_state=0)
    np.testing.assert_array_equal(exact.fuv, again.fuv)


def test_weights_of_the_logistic_flow_end_at_the_bayes_direction():
    model = logistic(5, 1.0, 0.5, 1.0, 0.1)
    end = 2 * np.linalg.norm(model.mean / model.variances)
    assert_allclose(solve(at(1e6, model)).norm, end, 1e-6)


def test_logistic_fuv_of_small_weights_is_that_of_the_logit():
    model = dataclasses.replace(logistic(6, 1.0, 0.5, 1.0, 0.1), w0=np.full(6, 1e-7))
    found = solve(at(0.0, model))
    assert_allclose(found.fuv_logit, found.fuv_prob, rtol=1e-10)
    nothing = solve(at(0.0, model, w0=np.zeros(6)))
    assert nothing.fuv_logit[0] == nothing.fuv_prob[0] == 1.0


def test_logistic_descent_tends_to_the_flow():
    model = logistic(6, 1.0, 0.5, 1.0, 0.1)
    flow = solve(at(2.0, model)).fuv_prob[0]
    gaps = [solve(at(2.0, model, step_size=h)).fuv_prob[0] - flow for h in (0.1, 0.05)]
    assert_allclose(gaps[0] / gaps[1], 2.0, rtol=0.1)


def test_separable_classes_stop_with_a_status():
    model = LogisticModel([1e-13, 1e-13], [1e-4, 1e-4], [0.0, 0.1], [1.0, 1e12])
    with pytest.warns(ValidityWarning, match="outgrew"):
        found = solve(model)
    assert found.status == solve(model, on_failure="ignore").status == "invalid"
    with pytest.raises(NumericalError, match="outgrew"):
        solve(model, on_failure="raise")
    assert np.isfinite(found.fuv_logit[0])
    assert np.isnan(found.fuv_logit[1])


def test_curve_is_solve_on_a_grid():
    sweep = curve(at([0.0, 1.0]), {"init_scale": [0.01, 0.1], "n_noise": [10, 50]})
    want = solve(at(1.0, init_scale=0.1, n_noise=10)).fuv[0]
    assert sweep["fuv"].shape == sweep["valid"].shape == (2, 2, 2)
    assert list(sweep.axes) == ["init_scale", "n_noise", "times"]
    assert sweep["fuv"][1, 0, 1] == want
    assert sweep.to_frame().shape[0] == 8


def test_curve_sweeps_vectors_and_times():
    groups = curve(at([0.0, 1.0]), {"signal": [[3.0, 1.0], [1.0, 3.0]]})
    assert groups["fuv"][1, 1] == solve(at(1.0, signal=[1.0, 3.0])).fuv[0]
    assert groups.axis_values["signal"] == ([3.0, 1.0], [1.0, 3.0])
    alone = curve(FM, {"times": [1.0, 30.0]})
    assert_allclose(alone["fuv"], solve(at([1.0, 30.0])).fuv)
    pairs = curve(FM, {"times": [[0.0, 1.0], [0.0, 30.0]]})
    assert_allclose(pairs["fuv"][:, 1], alone["fuv"])


def test_curve_sums_up_what_is_not_valid():
    model = LogisticModel([1e-13, 1e-13], [1e-4, 1e-4], [0.0, 0.1], [1.0, 1e12])
    axes = {"variances": [[1e-13, 1e-13], [1.0, 1.0]]}
    with pytest.warns(ValidityWarning, match="1 of 2 points") as caught:
        sweep = curve(model, axes, quantities=["norm"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert set(sweep.values) == {"norm", "status", "valid"}
    assert sweep["valid"].tolist() == [[False, False], [True, True]]
    assert np.isfinite(sweep["norm"]).tolist() == [[True, False], [True, True]]
    with pytest.raises(NumericalError):
        curve(model, axes, on_failure="raise")


# -- reference values of the theory page


@pytest.mark.parametrize(
    ("t", "want"),
    [
        (0.0, 0.660265721),
        (0.05, 0.649769943),
        (1.0, 0.463414639),
        (4.0, 0.476792906),
        (30.0, 0.618722690),
        (1000.0, 0.634888438),
    ],
)
def test_rows_1_to_6(t, want):
    assert_allclose(solve(at(t)).fuv, want, atol=1e-6)


def test_rows_7_to_9():
    assert_allclose(solve(at(1, init_scale=0.0)).fuv, 0.452796747, atol=1e-6)
    assert_allclose(solve(at(2.0, step_size=0.1)).fuv, 0.462777266, atol=1e-6)
    model = FeatureModel(2, (0.2, 0.5), (2, 0.3), (1, 0), 20, 1.0, 0.001, 3.0)
    assert_allclose(solve(model).fuv, 0.988002679, atol=1e-6)


def test_row_10():
    found = summary(FM)
    assert_allclose(found.fuv_early, 0.450530808, atol=1e-6)
    assert_allclose(found.fuv_late, 0.634888438, atol=1e-6)
    assert_allclose(found.t_star, 1.46793580, atol=1e-4)
    assert_allclose(found.fuv_star, 0.461854903, atol=1e-6)
    assert_allclose(found.fuv_init, 0.7161, atol=1e-4)
    assert found.has_fall
    assert found.minima.size == 1


def test_row_11():
    found = solve(at([1, 100], init_scale=0.0), task=(1, 0))
    assert_allclose(found.task_r2, [0.987995806, 0.613059010], atol=1e-6)


def test_rows_12_and_13():
    assert_allclose(random_subspace_fuv(1 / np.arange(1.0, 65), 9), 0.619656347, atol=1e-6)
    assert_allclose(random_subspace_fuv(np.arange(1.0, 1001) ** -0.5, 100), 0.842360482, atol=1e-6)


def test_rows_14_to_19():
    found = solve(at([0, 0.5, 4, 64, 4096], logistic(20, 1, 0.5, 1.2, 0.2)))
    logit = [0.893676063, 0.631550416, 0.620861397, 0.646202357, 0.673393151]
    prob = [0.893672151, 0.631654557, 0.633537428, 0.687516847, 0.710106616]
    assert_allclose(found.fuv_logit, logit, atol=1e-6)
    assert_allclose(found.fuv_prob, prob, atol=1e-6)
    assert_allclose(found.norm[[2, 4]], [1.26875169, 11.5879547], rtol=1e-6)
    found = solve(at(100, logistic(5, 0.3, 1.5, 4, 0.01)))
    assert_allclose(found.fuv_logit, 0.143586580, atol=1e-6)
    assert_allclose(found.fuv_prob, 0.189759417, atol=1e-6)


def test_row_23():
    X, y = load_digits(return_X_y=True)
    k, j = np.mgrid[:10, :64]
    got = linear_network_fuv(
        X / 16, np.eye(10)[y], 0.01 * np.cos(1 + 7 * k + j * (3 + k)), [0, 1, 10, 1000],
        relative_noise_var=1e-3,
    )  # fmt: skip
    assert_allclose(got, [0.554919890, 0.316817064, 0.341332757, 0.426187998], atol=1e-6)


# -- forecast


def test_forecast_is_the_average_of_exact_curves():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)) * [3, 2, 1, 1, 0.5, 0.2]
    y = (X[:, 2] + 0.3 * X[:, 4] > 0).astype(int)
    found = phase_forecast(X, y, n_init=3, random_state=5)
    assert found.fuv_early <= found.fuv_late
    again = phase_forecast(X, y, n_init=3, random_state=5, times=found.times)
    np.testing.assert_array_equal(found.fuv, again.fuv)
    assert found.fuv_star == found.fuv.min()
    quiet = phase_forecast(X, y, init_scale=0.0, n_init=2)
    assert_allclose(quiet.fuv[0], quiet.fuv_early, atol=1e-2)
    assert_allclose(quiet.fuv[-1], quiet.fuv_late, atol=1e-3)
    assert (np.diff(quiet.fuv) > -1e-9).all()


def test_forecast_of_a_task_that_late_training_forgets():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2000, 2))
    y = (z[:, 0] > 0).astype(int)
    strong = 3.0 * y + z[:, 1]  # strong but noisy; the weak feature is clean
    X = np.column_stack([strong, 0.3 * z[:, 0]])
    found = phase_forecast(X, y, task=strong, init_scale=1e-4, times=np.geomspace(0.1, 1e4, 60))
    assert found.task_r2[0] > found.task_r2[-1] + 0.05


# -- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_classes": 1}, "n_classes must be at least 2"),
        ({"signal": ()}, "signal must not be empty"),
        ({"class_noise": (1,)}, "class_noise must have shape"),
        ({"class_noise": (1, -1)}, "non-negative"),
        ({"shared_noise": -1.0}, "shared_noise"),
        ({"n_noise": -1}, "n_noise"),
        ({"noise_sd": np.nan}, "noise_sd"),
        ({"init_scale": -0.1}, "init_scale"),
    ],
)
def test_bad_feature_models(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FM, **change)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: at(-1.0), "times must be non-negative"),
        (lambda: at(1.0, step_size=0.3), "whole multiples"),
        (lambda: at(1.0, step_size=-0.1), "step_size"),
        (lambda: solve(at(10.0, step_size=2.0)), "step_size must lie below"),
        (lambda: solve(FM, task=(1, 2, 3)), "task must have shape"),
        (lambda: solve(FM, n_init=1), "n_init"),
        (lambda: solve(FM, on_failure="shout"), "on_failure"),
        (lambda: curve(FM, {"speed": [1, 2]}), "'speed'"),
        (lambda: curve(FM, {"noise_sd": [1, 2]}, quantities=["norm"]), "quantities"),
        (lambda: random_subspace_fuv([1.0, -1.0], 2), "spectrum must be non-negative"),
        (lambda: linear_network_fuv(np.ones((4, 2)), np.eye(4), np.ones((4, 2)), 0), "X does not"),
        (lambda: linear_network_fuv(np.eye(4), np.eye(4), np.ones((3, 4)), 0), "W0 must have"),
        (lambda: phase_forecast(np.eye(4), [1, 1, 1, 1]), "at least two classes"),
        (lambda: LogisticModel([0.0], [1.0], [1.0]), "positive entries"),
        (lambda: solve(LogisticModel([1.0], [1.0], [1.0]), task=[1]), "belong to"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_models_compare_by_value_and_are_frozen():
    same = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], 0.0, 50, 0.5)
    assert same == FM
    assert hash(same) == hash(FM)
    assert same != dataclasses.replace(FM, n_noise=49)
    assert FM.times.tolist() == [0, 1, 2, 4, 8, 16, 32, 64]
    for array in (FM.signal, FM.times):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(TypeError, match="FeatureModel or a LogisticModel"):
        solve("model")
