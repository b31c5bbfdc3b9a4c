"""Largest margins: slow solvers, limits, the flow, another quadrature, experiments."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad, solve_ivp
from scipy.optimize import linprog, minimize
from scipy.special import ndtr

from retemper._dispatch import core
from retemper.diagonal import (
    DiagonalModel,
    compare_margin,
    maximum_margin,
    minimum_penalty,
    penalty,
    simulate_margin,
    solve_margin,
)
from retemper.diagonal.channel import Law
from retemper.exceptions import ConvergenceWarning, NumericalError

D, N = 14, 9


def task(seed=0, n=N, d=D):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) / d**0.5
    return X, np.sign(X @ (rng.normal(size=d) * (np.arange(d) < 4)))


@pytest.mark.parametrize("c", [10.0, 0.3, 0.03])
@pytest.mark.parametrize("from_source", [False, True])
def test_a_general_solver_finds_the_same(c, from_source):
    X, y = task()
    rows, centre = y[:, None] * X, 0.3 * np.cos(np.arange(D)) * from_source
    u0 = np.arcsinh(centre / c)
    slow = minimize(
        lambda b: np.sum(penalty(b, c) - 0.5 * u0 * b),
        rows.T @ np.linalg.solve(rows @ rows.T, 2 * np.ones(N)),
        jac=lambda b: 0.5 * (np.arcsinh(b / c) - u0), method="SLSQP",
        constraints={"type": "ineq", "fun": lambda b: rows @ b - 2.0, "jac": lambda b: rows},
        options={"ftol": 1e-15, "maxiter": 2000},
    )  # fmt: skip
    found = maximum_margin(X, y, c, margin=2.0, centre=centre)
    assert_allclose(found.coef, slow.x, atol=2e-5)
    assert (rows @ found.coef).min() > 2.0 - 1e-9
    on = found.dual > 0
    assert 0 < on.sum() < N
    assert_allclose(rows[on] @ found.coef, 2.0)
    same = minimum_penalty(X[on], 2.0 * y[on], c, centre=centre)  # the others could be left out
    assert_allclose(same.coef, found.coef, atol=1e-8)
    larger = maximum_margin(X, y, 5 * c, margin=10.0, centre=5 * centre)
    assert_allclose(larger.coef, 5 * found.coef, atol=1e-7)


def test_small_scales_are_the_largest_l1_margin():
    X, y = task(1, 60, 40)
    rows = y[:, None] * X
    best = linprog(np.ones(80), A_ub=-np.hstack([rows, -rows]), b_ub=-np.ones(60)).fun
    left = [np.abs(maximum_margin(X, y, c).coef).sum() / best - 1 for c in (1.0, 1e-4, 1e-10)]
    assert left[0] > 0.1 > left[1] > 3 * left[2] > 0
    assert left[2] < 0.01
    assert_allclose(maximum_margin(X, np.copysign(1.0, y), 1e6).coef,
                    maximum_margin(X, y, 1e9).coef, atol=1e-6)  # fmt: skip


def flow_at_margin(X, y, c, margin):
    """Coefficients of gradient flow on the exponential loss when its least margin is so large."""
    rows = y[:, None] * X

    def rate(log_time, s):
        return np.exp(log_time - rows @ (c * np.sinh(2 * s @ rows)))

    def arrived(_, s):
        return (rows @ (c * np.sinh(2 * s @ rows))).min() - margin

    arrived.terminal = True
    end = solve_ivp(rate, (-8.0, 3 * margin + 50), np.zeros(len(y)), "LSODA", events=arrived,
                    rtol=1e-8, atol=1e-10).y[:, -1]  # fmt: skip
    return c * np.sinh(2 * end @ rows)


def test_gradient_flow_on_the_exponential_loss_comes_there():
    X, y = task()
    away = []
    for k in (1.0, 4.0, 16.0):  # larger margins at a fixed ratio of scale and margin
        c, margin = 0.5 * k, 4.0 * k
        coef = flow_at_margin(X, y, c, margin) / margin
        away.append(np.linalg.norm(coef - maximum_margin(X, y, c, margin=margin).coef / margin))
    others = [maximum_margin(X, y, c).coef for c in (1e6, 1e-12)]
    apart = min(np.linalg.norm(coef - other) for other in others)
    assert away[0] > 2 * away[1] > 3 * away[2]
    assert away[2] < 0.4 * apart


def test_a_strong_source_and_a_small_margin_are_solved():
    """Terms of the dual cancel there, so that its rounding is not that of its value."""
    model = DiagonalModel(0.2, mode="warm", omega=1.0, init_scale=0.01, shared="aligned")
    found = simulate_margin(model, 0.0193, n_repeats=8, on_failure="raise")
    assert found.n_iter < 20


def test_a_margin_of_almost_nothing_is_the_limit_or_is_not_solved():
    """Parts of the law that are too narrow for their place are no root of the equations."""
    model = DiagonalModel(0.5, mode="warm", init_scale=1e-3)
    limit = solve_margin(model, 1e-8, on_failure="raise").error
    for margin in (1e-12, 1e-30, 1e-100):
        found = solve_margin(model, margin, on_failure="ignore")
        assert abs(found.error - limit) < 1e-6 or found.status == "stalled"


def test_what_cannot_be_separated_or_read_is_refused():
    X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    with pytest.raises(NumericalError, match="not separable"):
        maximum_margin(np.vstack([X, X]), [1.0, 1.0, 1.0, -1.0, -1.0, -1.0], 0.1)
    with pytest.raises(ValueError, match="y must be -1 or 1, got 0"):
        maximum_margin(X, [1.0, 0.0, 1.0], 0.1)
    for name, value in (("margin", 0.0), ("margin", 1e200), ("tol", 0.0), ("max_iter", 0)):
        with pytest.raises(ValueError, match=name):
            maximum_margin(X, np.ones(3), 0.1, **{name: value})
    with pytest.raises(ValueError, match="frozen"):
        maximum_margin(X, np.ones(3), 0.0)
    for rest in ({"mu": 0.1}, {"depth": 3, "mode": "scratch"}, {"spectrum": (1.0, 2.0)}):
        with pytest.raises(ValueError, match="model must have"):
            solve_margin(DiagonalModel(0.3, **rest), 1.0)
    with pytest.warns(ConvergenceWarning, match="margin"):
        solve_margin(DiagonalModel(6.0, mode="scratch", noise=3.0), 1.0)


@pytest.mark.parametrize("model", [
    DiagonalModel(0.5, mode="scratch", init_scale=0.1, noise=0.3),
    DiagonalModel(0.4, mode="warm", init_scale=0.2, shared="opposite"),
])  # fmt: skip
def test_theory_solves_its_equations_by_another_quadrature(model):
    found = solve_margin(model, 1.5, on_failure="raise")
    parts = model.law()
    rho = sum(p.weight * p.target_second_moment() for p in parts)
    square, m = found.rms**2, found.cosine * found.rms * rho**0.5
    left = math.sqrt(rho - m**2 / square + model.noise**2)

    def rows(f):  # over the folded field of a row that is left out
        return quad(
            lambda t: 2 * f(t) * math.exp(-t * t / 2 / square) / math.sqrt(2 * math.pi * square),
            -12 * found.rms, 1.5, epsabs=1e-12,
        )[0]  # fmt: skip

    support = rows(lambda t: ndtr(m * t / square / left))
    tau = rows(lambda t: ndtr(m * t / square / left) * (1.5 - t) ** 2) / model.alpha / support**2
    bell = rows(lambda t: math.exp(-((m * t / square / left) ** 2) / 2) * (1.5 - t))
    signal = bell / math.sqrt(2 * math.pi) / left / support
    assert_allclose([support, tau], [found.support, found.tau], rtol=1e-7)
    assert_allclose(found.dof, model.alpha * support, rtol=1e-7)
    totals = np.zeros(3)
    c, theta = model.init_scale, found.effective_mu
    for p in parts:
        b = p.source_mean if model.mode == "warm" else 0.0
        sd = math.sqrt(signal**2 * p.target_var + tau)

        def values(t, p=p, b=b, sd=sd):
            z = signal * p.target_mean + sd * t
            u = core.diagonal.mirror_prox(
                z=z, c=c, effective_mu=theta, u0=math.asinh(b / c), depth=2.0
            )
            x, slope = c * math.sinh(u), c * math.cosh(u)
            target = p.target_mean + signal * p.target_var / sd * t
            return (
                math.exp(-t * t / 2)
                / math.sqrt(2 * math.pi)
                * np.array([x * x, x * target, slope / (slope + theta / 2)])
            )

        for k in range(3):
            totals[k] += p.weight * quad(lambda t, k=k, values=values: values(t)[k], -9, 9,
                                         epsabs=1e-10, limit=200)[0]  # fmt: skip
    assert_allclose(totals, [square, m, found.dof], rtol=1e-6)


def test_averages_of_the_channel_are_those_of_another_quadrature():
    law = Law(
        weight=np.array([0.5, 0.3, 0.2]), mean=np.array([1.0, -0.4, 3.0]),
        var=np.array([0.0, 2.0, 1.0]), scale=np.array([0.03, 5.0, 0.0]),
        centre=np.array([-2.0, 0.4, 0.0]), source=np.zeros(3), group=np.zeros(3, np.intp),
        group_names=("all",),
    )  # fmt: skip
    signal, tau, theta = 0.7, 0.4, 1.3
    found = core.diagonal.margin_averages(
        law=law.to_core(), signal=signal, tau=tau, effective_mu=theta
    )
    totals = np.zeros(3)
    for k in (0, 1):  # the third part is frozen at zero
        c, sd = law.scale[k], math.sqrt(signal**2 * law.var[k] + tau)

        def values(t, k=k, c=c, sd=sd):
            u = core.diagonal.mirror_prox(
                z=signal * law.mean[k] + sd * t, c=c, effective_mu=theta, u0=law.centre[k],
                depth=2.0,
            )  # fmt: skip
            x, slope = c * math.sinh(u), c * math.cosh(u)
            target = law.mean[k] + signal * law.var[k] / sd * t
            density = math.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
            return density * np.array([x * x, x * target, slope / (slope + theta / 2)])

        for i in range(3):
            totals[i] += law.weight[k] * quad(lambda t, i=i, f=values: f(t)[i], -9, 9,
                                              epsabs=1e-12, limit=200)[0]  # fmt: skip
    assert_allclose([found.square, found.overlap, found.dof], totals, rtol=1e-9)


def test_identities_of_the_theory():
    model = DiagonalModel(0.8, mode="scratch", init_scale=0.05, noise=0.2)
    one = solve_margin(model, 1.0)
    assert_allclose(one.dof, 0.8 * one.support, rtol=1e-10)
    other = solve_margin(dataclasses.replace(model, init_scale=0.35), 7.0)
    assert_allclose([other.error, other.rms, other.support],
                    [one.error, 7 * one.rms, one.support], rtol=1e-8)  # fmt: skip
    # a ridge sees the norm of the target alone, whatever its law
    lazy = [
        solve_margin(DiagonalModel(0.8, mode="scratch", init_scale=1e6, rho_ft=rho), 1.0).error
        for rho in (0.05, 0.2)
    ]
    assert_allclose(lazy[0], lazy[1], rtol=1e-6)
    few = solve_margin(DiagonalModel(1e-3, mode="scratch", init_scale=1e6), 1.0)
    assert_allclose([few.support, few.rms], [1.0, math.sqrt(1e-3)], rtol=0.1)
    assert_allclose(few.cosine, math.sqrt(2e-3 / math.pi), rtol=0.05)  # the mean of the rows
    scales = [solve_margin(dataclasses.replace(model, init_scale=c), 1.0).error
              for c in (1e3, 1.0, 1e-2)]  # fmt: skip
    assert scales[0] > scales[1] > scales[2]  # a sparse target
    assert solve_margin(dataclasses.replace(model, init_scale=1e-2), 100.0).error < scales[2]


@pytest.mark.parametrize(
    ("alpha", "rest"),
    [
        (0.5, {"mode": "scratch", "init_scale": 1e3}),
        (0.8, {"mode": "scratch", "init_scale": 1e-3, "noise": 0.1}),
        (1.3, {"mode": "scratch", "init_scale": 0.1}),
        (0.5, {"init_scale": 0.01, "readout_scale": 0.3}),
        (0.5, {"mode": "warm", "init_scale": 0.1, "shared": "opposite"}),
        (0.4, {"init_scale": 0.01, "alpha_pt": 0.5, "omega": 1.0}),
    ],
)
def test_theory_and_simulation_agree(alpha, rest):
    found = compare_margin(DiagonalModel(alpha, **rest), 1.0, n_features=240, n_repeats=12)
    assert np.abs(found.z).max() < 3.5
