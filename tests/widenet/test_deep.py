"""Coupled networks of several hidden layers: limits, the action, and sampled networks."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import WideNetModel, compare, curve, gamma_path, solve
from retemper.widenet.deep import DeepEquations
from retemper.widenet.problem import Problem
from retemper.widenet.theory import theory_of

from .recipe import draw

DATA = draw(N0=30, Ps=25, Pt=14, Pe=20)
MODEL = WideNetModel(50, "erf", lam1=1.3, lam1_source=0.8, gamma=1.0, n_hidden_layers=2)
NAMES = ("Q_s", "Q_t", "Q_tt", "Q_st", "loo", "log_evidence", "bias", "thermal", "quenched")


def equal(a, b, **tolerance):
    for name in NAMES:
        assert_allclose(getattr(a, name), getattr(b, name), err_msg=name, **tolerance)


@pytest.mark.parametrize("gamma", [0.3, 3.0, math.inf])
@pytest.mark.parametrize("has_source", [True, False])
def test_one_layer_is_the_network_of_one_layer(gamma, has_source):
    model = dataclasses.replace(MODEL, gamma=gamma, n_hidden_layers=1)
    target, source, test = DATA
    source = source if has_source else None
    got = theory_of(Problem(target, source, test)._solve_deep(model, None))
    equal(got, solve(model, target, source, test), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("act", ["linear", "erf"])
def test_weak_and_strong_coupling(act):
    at = {
        gamma: solve(dataclasses.replace(MODEL, activation=act, gamma=gamma), *DATA)
        for gamma in (0.0, 1e-9, 1e9, math.inf)
    }
    equal(at[1e-9], at[0.0], rtol=1e-6, atol=1e-6)
    equal(at[1e9], at[math.inf], rtol=1e-5, atol=1e-7)
    assert_allclose(at[1e-9].Q_layers, at[0.0].Q_layers, rtol=1e-6)
    assert at[math.inf].Q_st > 0.05
    assert at[math.inf].residual < 1e-10


def test_signs_of_the_source():
    target, (Xs, ys), test = DATA
    one, other = (solve(MODEL, target, (Xs, s * ys), test) for s in (1, -1))
    assert other.Q_st == pytest.approx(-one.Q_st, rel=1e-9)
    assert other.test_error == pytest.approx(one.test_error, rel=1e-9)


def test_infinite_width_transfers_nothing():
    model = dataclasses.replace(MODEL, width=math.inf, n_hidden_layers=3)
    got = solve(model, *DATA)
    alone = dataclasses.replace(model, gamma=0.0, lam0=1 / model.var_diag)
    want = solve(alone, DATA[0], None, DATA[2])
    assert (got.Q_st, got.Q_tt) == (0.0, 0.0)
    assert_allclose(got.Q_layers, 1.0, rtol=1e-12)
    for name in ("bias", "thermal", "log_evidence", "loo"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-9)
    wide = solve(dataclasses.replace(model, width=1e7), *DATA)
    assert wide.test_error == pytest.approx(got.test_error, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.7, math.inf])
def test_slope_is_that_of_the_action(gamma):
    model = dataclasses.replace(MODEL, gamma=gamma, n_hidden_layers=3)
    t = Problem(*DATA)._solve_deep(model, None).columns[0]
    e = DeepEquations(t.kernels, t.equations.y)
    away = t.x + 0.05 * np.random.default_rng(0).uniform(0, 1, t.x.shape)
    want = e.at(away).slope
    for i in np.ndindex(*want.shape):
        step = np.zeros_like(away)
        step[i] = 1e-5
        change = (e.at(away + step).value - e.at(away - step).value) / 2e-5
        assert change == pytest.approx(want[i], rel=1e-6, abs=1e-8)
    assert np.abs(e.at(t.x).slope).max() < 1e-10


def test_weight_of_the_overlaps_is_that_of_wishart_matrices():
    """The cost at n runs over n: n - 1 differences of runs, and a 2 x 2 block for any real n."""
    model = dataclasses.replace(MODEL, gamma=1.4)
    t = Problem(*DATA)._solve_deep(model, None).columns[0]
    e, (delta, tt, st) = t.equations, (np.exp(t.x[0]), t.x[1], t.x[2])
    w, G_s = t.kernels.weights, e.source_gram

    def weigh(G, R):
        ratio = np.linalg.solve(np.atleast_2d(R), np.atleast_2d(G))
        return np.trace(ratio) - np.log(np.linalg.det(ratio))

    def cost(n):
        def together(s, st, t, tt):
            return np.array([[s, n**0.5 * st], [n**0.5 * st, t + (n - 1) * tt]])

        total = 0.0
        for j in (0, 1):
            own = (G_s[j], st[j], delta[j] + tt[j], tt[j])
            prior = (1.0, 0.0, 1.0, 0.0)
            if j == 0:
                prior = np.array(w) * [G_s[1], st[1], delta[1] + tt[1], tt[1]]
            total += weigh(together(*own), together(*prior)) - weigh(G_s[j], prior[0])
            total += (n - 1) * weigh(own[2] - own[3], prior[2] - prior[3])
        return total

    assert (cost(1e-4) / 1e-4 + cost(-1e-4 + 0j).real / -1e-4) / 2 == pytest.approx(
        e.cost(t.x), rel=1e-6
    )


@pytest.mark.parametrize("act", ["linear", "erf"])
def test_agrees_with_sampling(act):
    data = draw(N0=30, Ps=15, Pt=10, Pe=60)
    model = WideNetModel(30, act, gamma=10.0, n_hidden_layers=2)
    run = {"n_chains": 5, "n_draws": 2, "n_burn_source": 60, "n_thin_source": 10}
    run |= {"n_burn_target": 30, "n_sweeps_target": 20, "n_steps": 8}
    result = compare(model, *data, on_failure="ignore", **run)
    gap = np.abs(result.theory - result.simulation)
    assert (gap < 3.5 * result.stderr + 0.05 * np.abs(result.theory)).all(), str(result)
    i = result.names.index("Q_st")
    assert result.simulation[i] > 4 * result.stderr[i]


def test_path_and_curve():
    path = gamma_path(MODEL, *DATA, gammas=[0.0, 1.0, math.inf])
    for theory in path.theory:
        equal(theory, solve(theory.model, *DATA), rtol=1e-7, atol=1e-9)
    assert path.control["Q_st"].tolist() == [0.0] * 3
    sweep = curve(MODEL, {"n_hidden_layers": [1, 2], "gamma": [1.0]}, *DATA)
    assert sweep["Q_st"][1, 0] == pytest.approx(path["Q_st"][1], rel=1e-7)
    assert path.theory[1].samples_per_dimension > 0


def test_refusals():
    with pytest.raises(ValueError, match="2 hidden layers at gamma = 1 need an activation of zero"):
        solve(dataclasses.replace(MODEL, activation="relu"), *DATA)
    cold = dataclasses.replace(MODEL, activation="linear", temperature_target=0.0)
    with pytest.raises(ValueError, match=r"temperature_target"):
        solve(cold, (np.repeat(DATA[0][0], 2, 0), np.repeat(DATA[0][1], 2)), DATA[1])
