"""Networks of more than two layers: their own flow, identities, other quadratures, experiments."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq

from retemper import derivatives
from retemper._dispatch import core
from retemper.diagonal import (
    Component,
    DiagonalModel,
    DiagonalNetworkRegressor,
    channel_estimate,
    compare,
    curve,
    gradient_flow,
    l_order,
    leave_one_out,
    marginal_order,
    minimum_penalty,
    penalty,
    solve,
)
from retemper.diagonal.channel import solve_laws
from retemper.diagonal.law import coefficient_law

D, N = 30, 12


def task(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) / D**0.5
    return X, X @ (rng.normal(size=D) * (rng.random(D) < 0.4))


def flow_of_weights(X, y, depth, log_weights):
    """End of gradient flow of all layers, each pathway as one weight, in its logarithm."""

    def rate(_, z):
        up, down = z[:D], z[D:]
        g = X.T @ (y - X @ (np.exp(depth * up) - np.exp(depth * down)))
        return np.concatenate([np.exp((depth - 2) * up) * g, -np.exp((depth - 2) * down) * g])

    end = solve_ivp(rate, (0, 1e5), log_weights, "LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    return np.exp(depth * end[:D]) - np.exp(depth * end[D:]), end


@pytest.mark.parametrize(("depth", "c"), [(3, 0.02), (5, 1.0)])
def test_weights_of_any_depth_flow_to_the_least_penalty_from_scratch_and_from_a_source(depth, c):
    first, second = task(0), task(1)
    start = np.full(2 * D, math.log(c / 2) / depth)
    source, weights = flow_of_weights(*first, depth, start)
    found = minimum_penalty(*first, c, depth=depth)
    assert_allclose(found.coef, source, atol=1e-8)
    tuned, _ = flow_of_weights(*second, depth, weights)
    warm = minimum_penalty(*second, c, centre=source, depth=depth)
    assert_allclose(warm.coef, tuned, atol=1e-7)
    assert np.abs(warm.coef - minimum_penalty(*second, c, depth=depth).coef).max() > 0.1


def published_map(x, c, depth):
    """Coefficient at a share x of the largest force (Woodworth et al. 2020)."""
    p = depth / (depth - 2)
    return 0.5 * c * ((1 - x) ** -p - (1 + x) ** -p)


@pytest.mark.parametrize("depth", [3, 4, 9])
def test_the_penalty_is_the_integral_of_the_published_map(depth):
    c = 0.3
    top = 1 / ((depth - 2) * (c / 2) ** (1 - 2 / depth))
    for share in (1e-5, 0.1, 0.7, 0.999):
        beta = published_map(share, c, depth)
        area = quad(lambda x: published_map(x, c, depth), 0, share, epsrel=1e-12)[0]
        assert_allclose(penalty([beta, -beta], c, depth=depth), top * (share * beta - area),
                        rtol=1e-9)  # fmt: skip
        low, high = (np.log(penalty(beta * k, c, depth=depth)) for k in (1 - 1e-4, 1 + 1e-4))
        assert_allclose(l_order(beta, c, depth=depth), (high - low) / 2e-4, rtol=1e-6)
        low, high = (
            np.log(np.diff(penalty(beta * (k + np.array([-1e-4, 1e-4])), c, depth=depth))[0])
            for k in (1 - 1e-2, 1 + 1e-2)
        )
        assert_allclose(marginal_order(beta, c, depth=depth), 1 + (high - low) / 2e-2, rtol=1e-3)
    assert_allclose([l_order(0.0, c, depth=depth), marginal_order(0.0, c, depth=depth)], 2.0)
    small = 1e-6 * c
    assert_allclose(
        penalty(small, c, depth=depth), small**2 / (4 * depth * (c / 2) ** (2 - 2 / depth)),
        rtol=1e-9,
    )  # fmt: skip


def test_two_layers_are_the_limit():
    for mode in ("scratch", "warm"):
        law = coefficient_law(DiagonalModel(0.3, mode=mode, init_scale=0.01))
        near = dataclasses.replace(law, depth=2 + 1e-9)
        two, more = solve_laws([law, near], alpha=[0.3] * 2, noise=[0.2] * 2, mu=[0.0] * 2)
        assert_allclose(more.mse, two.mse, rtol=1e-7)
        assert_allclose(more.effective_mu, two.effective_mu, rtol=1e-7)


def averages(parts, tau, theta, c, depth):
    """E (x - B)^2 and E x' by adaptive quadrature, with the published map."""
    error = dof = 0.0
    top = 1 / ((depth - 2) * (c / 2) ** (1 - 2 / depth))
    for weight, mean, var in parts:
        total = var + tau
        sd = math.sqrt(total)

        def share_of(z, theta=theta):
            return brentq(
                lambda x: published_map(x, c, depth) + theta * top * x - z, -1 + 1e-12, 1 - 1e-12,
                xtol=1e-15,
            )  # fmt: skip

        def both(t, *, mean=mean, var=var, total=total, sd=sd, share_of=share_of):
            x = share_of(mean + sd * t)
            p = depth / (depth - 2)
            slope = 0.5 * c * p * ((1 - x) ** (-p - 1) + (1 + x) ** (-p - 1))
            density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
            away = published_map(x, c, depth) - mean - var / total * sd * t
            return density * (away**2 + var * tau / total), density * slope / (slope + theta * top)

        for k, value in enumerate(
            quad(lambda t, k=k, both=both: both(t)[k], -9, 9, epsrel=1e-8, epsabs=0, limit=200)[0]
            for k in (0, 1)
        ):
            error, dof = error + weight * value * (k == 0), dof + weight * value * (k == 1)
    return error, dof


@pytest.mark.parametrize(
    ("depth", "c", "alpha", "noise", "mu"), [(3, 0.01, 0.3, 0.2, 0.0), (6, 0.5, 0.5, 0.0, 0.1)]
)
def test_theory_solves_its_equations_by_another_quadrature(depth, c, alpha, noise, mu):
    law = (Component(weight=0.2, target_mean=1.0, target_var=0.5), Component(weight=0.8))
    model = DiagonalModel(
        alpha, components=law, mode="scratch", depth=depth, init_scale=c, noise=noise, mu=mu
    )
    found = solve(model, on_failure="raise")
    parts = [(p.weight, p.target_mean, p.target_var) for p in law]
    error, dof = averages(parts, found.tau, found.effective_mu, c, depth)
    assert_allclose(error, found.mse, rtol=1e-6)
    assert_allclose((noise**2 + error) / alpha, found.tau, rtol=1e-6)
    assert_allclose(found.effective_mu * (alpha - dof), mu, rtol=1e-5, atol=1e-7)


def test_exact_recovery_keeps_its_digits():
    """The noise of the channel is a millionth of the coefficient: no difference of neighbours."""
    law = (Component(weight=0.02, target_mean=1.0), Component(weight=0.98))
    for depth in (3, 8):
        found = solve(DiagonalModel(0.5, components=law, mode="scratch", depth=depth,
                                    init_scale=1e-9))  # fmt: skip
        assert found.tau < 1e-6**2
        assert found.residual < 1e-11
        assert found.quadrature_error < 1e-10
        other = tuple(dataclasses.replace(p, target_mean=1e3 * p.target_mean) for p in law)
        scaled = solve(DiagonalModel(0.5, components=other, mode="scratch", depth=depth,
                                     init_scale=1e-6))  # fmt: skip
        assert_allclose(scaled.mse, 1e6 * found.mse, rtol=1e-8)


def test_depth_can_be_swept_and_differentiated():
    base = DiagonalModel(0.3, mode="scratch", noise=0.1)
    swept = curve(base, {"depth": [2, 3, 5]})["mse"]
    for depth, mse in zip((2, 3, 5), swept, strict=True):
        assert_allclose(solve(dataclasses.replace(base, depth=depth)).mse, mse, rtol=1e-9)
    model = dataclasses.replace(base, depth=3)
    slope = derivatives(model, ["init_scale"], quantities=["mse"])
    near = [solve(dataclasses.replace(model, init_scale=1e-3 * k)).mse for k in (0.999, 1.001)]
    assert_allclose(slope["mse", "init_scale"], (near[1] - near[0]) / 2e-6, rtol=1e-4)


def test_limits():
    lazy = DiagonalModel(0.4, mode="scratch", depth=4, init_scale=1e6, noise=0.3)
    assert_allclose(solve(lazy).mse, 0.6 * 1.0 + 0.09 * 0.4 / 0.6, rtol=1e-5)
    many = DiagonalModel(1.5, mode="scratch", depth=4, noise=0.3)
    assert_allclose(solve(many).mse, 0.09 / 0.5, rtol=1e-9)
    for depth in (3, 4):
        one = DiagonalModel(0.3, mode="scratch", depth=depth, init_scale=0.01)
        assert_allclose(solve(dataclasses.replace(one, mu=1e-7)).mse, solve(one).mse, rtol=1e-4)
    # basis pursuit, whose error is .0341 here: as a power of c, where two layers take a logarithm
    left = {}
    for depth in (2, 3, 4):
        for c in (1e-3, 1e-6):
            model = DiagonalModel(0.3, mode="scratch", depth=depth, init_scale=c)
            left[depth, c] = solve(model).mse - 0.0341345
    assert left[2, 1e-6] > 0.05
    assert_allclose(left[3, 1e-6] / left[3, 1e-3], 1e-3 ** (1 / 3), rtol=0.3)
    assert_allclose(left[4, 1e-6] / left[4, 1e-3], 1e-3 ** (1 / 2), rtol=0.3)


@pytest.mark.parametrize(
    ("depth", "rest"),
    [
        (3, {"mode": "scratch", "init_scale": 1e-6, "noise": 0.2}),
        (4, {"mode": "warm", "shared": "opposite", "init_scale": 0.1, "noise": 0.2}),
        (3, {"mode": "warm", "init_scale": 0.05, "alpha_pt": 0.4}),
        (5, {"mode": "scratch", "init_scale": 0.01, "mu": 0.05, "noise": 0.3}),
        (4, {"mode": "scratch", "init_scale": 0.1, "noise": 0.3, "spectrum": (0.3, 1.0, 2.0)}),
    ],
)
def test_theory_and_simulation_agree(depth, rest):
    found = compare(DiagonalModel(0.3, depth=depth, **rest), n_features=300, n_repeats=12)
    assert np.abs(found.z).max() < 3.5


def test_end_points_with_intercept_penalty_and_dependent_rows():
    X, y = task(3)
    c = np.geomspace(0.01, 1.0, D)
    for options in ({"fit_intercept": True}, {"mu": 0.1}, {"mu": 0.1, "fit_intercept": True}):
        found = minimum_penalty(X, y + 1.0, c, depth=4, **options)
        residual = y + 1.0 - X @ found.coef - found.intercept
        assert_allclose(residual, options.get("mu", 0.0) * found.dual, atol=1e-9)
        shares = np.array(
            [brentq(lambda x, b=b, k=k: published_map(x, k, 4) - b, -1 + 1e-9, 1 - 1e-9,
                    xtol=1e-14) for b, k in zip(found.coef, c, strict=True)]
        )  # fmt: skip
        forces = shares / (2 * (c / 2) ** 0.5)
        centred = X - X.mean(0) if "fit_intercept" in options else X
        assert_allclose(centred.T @ found.dual, forces, atol=1e-6)
    twice = minimum_penalty(np.vstack([X, X[:2]]), np.append(y, y[:2]), c, depth=4)
    assert_allclose(twice.coef, minimum_penalty(X, y, c, depth=4).coef, atol=1e-7)
    tall = np.random.default_rng(0).normal(size=(40, 5))
    wanted = np.linalg.lstsq(tall, tall[:, 0] + 1.0, rcond=None)[0]
    assert_allclose(minimum_penalty(tall, tall[:, 0] + 1.0, 0.1, depth=3).coef, wanted, rtol=1e-9)


def test_threads_change_no_bit_and_the_channel_is_read_off_the_fit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 200)) / 200**0.5
    y = X @ (rng.normal(size=200) * (rng.random(200) < 0.1))
    fits = [minimum_penalty(X, y, 1e-4, depth=3, n_jobs=k) for k in (1, 2)]
    assert_array_equal(fits[0].coef, fits[1].coef)
    scale = np.full(200, 1e-4)
    channel = channel_estimate(scale, fits[0].coef, fits[0].dual, 60, depth=3)
    assert_allclose(channel.dof, 0.3, rtol=1e-9)


def test_what_has_no_closed_form_is_refused():
    with pytest.raises(ValueError, match="mode must be 'scratch' or 'warm' at depth = 3"):
        DiagonalModel(0.3, depth=3)
    with pytest.raises(ValueError, match="balance must be 0 at depth = 3"):
        DiagonalModel(0.3, depth=3, mode="scratch", balance=0.5)
    for depth in (1, 1001):
        with pytest.raises(ValueError, match="depth"):
            DiagonalModel(0.3, depth=depth, mode="scratch")
    with pytest.raises(TypeError, match="depth"):
        penalty(1.0, 1.0, depth=2.5)
    X, y = task(0)
    with pytest.raises(ValueError, match="solver='cg' needs depth = 2, got depth = 3"):
        minimum_penalty(X, y, 0.1, depth=3, solver="cg")
    with pytest.raises(ValueError, match="depth"):
        gradient_flow(X, y, 0.1, [1.0], depth=1)
    for name, value in {"balance": 0.5, "readout_scale": 1.0, "lr_ratio": 2.0}.items():
        with pytest.raises(ValueError, match=rf"{name} must be \d at depth = 3"):
            DiagonalNetworkRegressor(**{name: value}, depth=3).fit(X, y)
    for mode in ("reset", "probe"):
        with pytest.raises(ValueError, match=r"mode must be .* at depth = 3"):
            DiagonalNetworkRegressor(source=np.ones(D), mode=mode, depth=3).fit(X, y)


def path_of_weights(X, y, depth, log_weights, times):
    """Coefficients along gradient flow of all layers, and the logarithms of the weights there."""

    def rate(_, z):
        up, down = z[:D], z[D:]
        g = X.T @ (y - X @ (np.exp(depth * up) - np.exp(depth * down)))
        return np.concatenate([np.exp((depth - 2) * up) * g, -np.exp((depth - 2) * down) * g])

    found = solve_ivp(rate, (0, times[-1]), log_weights, "LSODA", rtol=1e-10, atol=1e-12,
                      t_eval=times).y.T  # fmt: skip
    return np.exp(depth * found[:, :D]) - np.exp(depth * found[:, D:]), found


@pytest.mark.parametrize(("depth", "c"), [(3, 0.02), (4, 1e-5), (5, 1.0)])
def test_the_flow_is_that_of_all_weights_at_every_time(depth, c):
    first, second = task(0), task(1)
    times = np.array([0.5, 1.0, 3.0, 30.0]) * max(1.0, c ** (2 / depth - 1))
    start = np.full(2 * D, math.log(c / 2) / depth)
    slow, weights = path_of_weights(*first, depth, start, times)
    found = gradient_flow(*first, c, times, depth=depth, rtol=1e-8, atol=1e-10)
    assert_allclose(found.coef, slow, atol=1e-6)
    tuned, _ = path_of_weights(*second, depth, weights[-1], times)
    warm = gradient_flow(*second, c, times, depth=depth, centre=slow[-1], rtol=1e-8, atol=1e-10)
    assert_allclose(warm.coef, tuned, atol=1e-6)


@pytest.mark.parametrize(("depth", "c"), [(3, 1.0), (3, 1e-30), (5, 1e-16), (20, 1e-12)])
def test_the_flow_ends_at_the_least_penalty_from_tiny_scales_too(depth, c):
    X, y = task(0)
    wait = c ** (2 / depth - 1)
    path = gradient_flow(X, y, c, np.geomspace(1e-3, 1e3, 20) * wait, depth=depth,
                         on_failure="raise")  # fmt: skip
    assert_allclose(path.coef[-1], minimum_penalty(X, y, c, depth=depth).coef, atol=1e-10)
    # it falls, but for what the integrator may be off
    assert np.all(np.diff(path.train_error) <= 1e-6 * path.train_error[0])
    still = gradient_flow(X, y, 1e-300, [1e9], depth=depth, on_failure="raise")
    assert np.abs(still.coef).max() < 1e-290  # nothing has had the time to emerge


def test_the_flow_of_two_layers_is_the_limit():
    X, y = task(0)
    given = {"X": X, "y": y, "scale": np.full(D, 0.05), "centre": np.linspace(-1, 1, D),
             "times": np.array([0.0, 1.0, 10.0, 1e3]), "rtol": 1e-9, "atol": 1e-11,
             "max_steps": 20_000, "n_threads": 1, "progress": None}  # fmt: skip
    two, more = (core.diagonal.flow(depth=2.0 + e, **given)["coef"] for e in (0.0, 1e-9))
    assert_allclose(more, two, atol=1e-7)


@pytest.mark.parametrize("depth", [3, 6])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": True}, {"mu": 0.1},
                                     {"mu": 0.1, "fit_intercept": True}])  # fmt: skip
def test_leave_one_out_is_as_many_refits(depth, options):
    X, y = task(2)
    slow = []
    for i in range(N):
        rest = np.arange(N) != i
        part = minimum_penalty(X[rest], y[rest], 0.01, depth=depth, **options)
        slow.append(y[i] - X[i] @ part.coef - part.intercept)
    assert_allclose(leave_one_out(X, y, 0.01, depth=depth, **options), slow, atol=1e-9)
    whole = minimum_penalty(X, y, 0.01, depth=depth, **options)
    near = minimum_penalty(X, y, 0.01, depth=depth, coef_start=whole.coef, **options)
    assert_allclose(near.coef, whole.coef, atol=1e-9)
    assert near.n_iter < whole.n_iter
    lost = minimum_penalty(X, y, 0.01, depth=depth, coef_start=np.full(D, 1e6), **options)
    assert_allclose(lost.coef, whole.coef, atol=1e-9)
    # where the penalty is quadratic the formula is exact
    lazy = minimum_penalty(X, y, 1e6, depth=depth, leave_one_out=True, **options)
    exact = leave_one_out(X, y, 1e6, depth=depth, **options)
    assert_allclose(lazy.loo_residual, exact, rtol=1e-5)


@pytest.mark.parametrize("depth", [2, 4])
def test_the_estimator_is_these_functions_in_units_of_the_data(depth):
    X, y = task(4)
    X, y = 3.0 * X + 0.2, 2.0 * y + 1.0
    start = {"init_scale": 0.01, "depth": depth}
    model = DiagonalNetworkRegressor(**start).fit(X, y)
    centred = X - X.mean(0)
    unit = np.sqrt(np.mean(centred**2, axis=0) * D)
    size = np.sqrt(np.mean((y - y.mean()) ** 2))
    given = X / unit, y / size, 0.01
    plain = minimum_penalty(*given, depth=depth, fit_intercept=True, leave_one_out=True)
    assert_allclose(model.coef_, plain.coef * size / unit, atol=1e-9)
    assert_allclose(model.loo_residual_, plain.loo_residual * size, rtol=1e-6)
    assert_allclose(model.l_order_, l_order(plain.coef, 0.01, depth=depth), rtol=1e-6)
    assert_allclose(model.predict(X), y, atol=1e-8)
    stopped = DiagonalNetworkRegressor(stop_time=2.0, **start).fit(X, y)
    flow = gradient_flow(*given, [2.0], depth=depth, fit_intercept=True)
    assert_allclose(stopped.coef_, flow.coef[0] * size / unit, atol=1e-7)
    source = np.linspace(-1, 1, D)
    warm = DiagonalNetworkRegressor(source=source, mode="warm", **start).fit(X, y)
    from_source = minimum_penalty(*given, centre=source * unit / size, depth=depth,
                                  fit_intercept=True)  # fmt: skip
    assert_allclose(warm.coef_, from_source.coef * size / unit, atol=1e-8)
    data = DiagonalNetworkRegressor(source=(X, y), mode="warm", **start).fit(X, y)
    assert_allclose(data.coef_, model.coef_, atol=1e-7)  # it knows the labels already
    path = model.path(X, y, mus=[1.0, 0.1])
    one = DiagonalNetworkRegressor(mu=0.1, **start).fit(X, y)
    assert_allclose(path.coef[1], one.coef_, atol=1e-8)
    assert_allclose(path.loo[1], one.loo_, rtol=1e-6)
    assert_allclose(model.path(X, y, times=[2.0]).coef[0], stopped.coef_, atol=1e-9)


@pytest.mark.parametrize("depth", [2, 3, 7])
def test_error_estimates_do_not_depend_on_the_unit_of_the_rows(depth):
    X, y = task(5)
    options = {"standardize": False, "depth": depth, "fit_intercept": False}
    one, other = (DiagonalNetworkRegressor(0.1 / k, **options).fit(k * X, y) for k in (1.0, 10.0))
    assert_allclose(other.coef_, one.coef_ / 10.0, atol=1e-8)
    assert_allclose(other.gcv_, one.gcv_, rtol=1e-6)
