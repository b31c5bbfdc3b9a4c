"""Several sources that pull one target: limits, the action by hand, sampled networks, refusals."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag

from retemper.widenet import (
    KernelTasks,
    SeveralSources,
    WideNetModel,
    compare,
    gamma_path,
    nngp_kernel,
    simulate,
    solve,
)

from . import naive

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")

RNG = np.random.default_rng(3)
X, TEACHERS = RNG.normal(size=(110, 30)), RNG.normal(size=(2, 30)) / 30**0.5
MIXED = 0.6 * TEACHERS[0] + 0.8 * TEACHERS[1]
TARGET, NEAR, FAR, TEST = (
    (X[rows], X[rows] @ w)
    for rows, w in zip(
        (slice(16), slice(16, 46), slice(46, 70), slice(70, 110)),
        (TEACHERS[0], TEACHERS[0], MIXED, TEACHERS[0]),
        strict=True,
    )
)
BOTH = SeveralSources([NEAR, FAR], weights=[1.0, 0.4])
MODEL = WideNetModel(50, "erf", lam0=0.9, lam1=1.3, lam1_source=0.8, gamma=1.0)
NAMES = ("Q_t", "Q_tt", "loo", "log_evidence", "bias", "thermal", "quenched")


def equal(a, b, names=NAMES, **tolerance):
    for name in names:
        assert_allclose(getattr(a, name), getattr(b, name), err_msg=name, **tolerance)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 4.0, math.inf])
@pytest.mark.parametrize("act", ["linear", "erf"])
def test_one_source_is_the_source_and_weight_zero_drops_out(act, gamma):
    model = dataclasses.replace(MODEL, activation=act, gamma=gamma)
    one = solve(model, TARGET, NEAR, TEST)
    alone = solve(model, TARGET, SeveralSources([NEAR]), TEST)
    equal(alone, one, rtol=1e-9, atol=1e-12)
    assert_allclose(alone.Q_st, [one.Q_st], rtol=1e-9)
    # with half the coupling at twice the weight
    half = dataclasses.replace(model, gamma=gamma / 2)
    with_none = solve(half, TARGET, SeveralSources([FAR, None, NEAR], [0.0, 0.0, 2.0]), TEST)
    equal(with_none, one, rtol=1e-9, atol=1e-12)
    assert_allclose(with_none.Q_st, [0.0, 0.0, one.Q_st], rtol=1e-9, atol=1e-15)
    assert_allclose(with_none.Q_s[1:], [1.0, one.Q_s], rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 2.0, math.inf])
@pytest.mark.parametrize("act", ["linear", "erf"])
def test_action_and_predictor_by_stacked_sources(act, gamma):
    """Written with both sources in one block: stationary, evidence, mean and variances."""
    m = dataclasses.replace(MODEL, activation=act, gamma=gamma)
    got = solve(m, TARGET, BOTH, TEST)
    g = np.array([1.0, 0.4])
    precision = m.lam0 + 1.4 * gamma
    g = g / 1.4 if math.isinf(gamma) else gamma * g / precision
    off = (g**2).sum() / m.lam0
    own = off if math.isinf(gamma) else off + 1 / precision

    def k(P, Q, var, var_2, cov):
        a, b = ((R**2).sum(1) / 30 for R in (P, Q))
        return naive.kernel(act, var * a, cov * (P @ Q.T / 30), var_2 * b)

    Xt, Xe = TARGET[0], TEST[0]
    prior, v, v_s = 1 / m.lam0, 1 / m.lam1, 1 / m.lam1_source
    K_d, K_o = k(Xt, Xt, own, own, own), k(Xt, Xt, own, own, off)
    k_d, k_o = k(Xe, Xt, own, own, own), k(Xe, Xt, own, own, off)
    tasks = tuple(zip((NEAR, FAR), g, got.Q_s, strict=True))
    A = block_diag(*(0.05 * np.eye(len(s[1])) + v_s * Q * k(s[0], s[0], prior, prior, prior)
                     for s, _, Q in tasks))  # fmt: skip
    y_s = np.concatenate([NEAR[1], FAR[1]])

    def cross(P, R):
        return np.sqrt(v * v_s) * np.vstack(
            [r * k(s[0], P, prior, own, x / m.lam0) for (s, x, _), r in zip(tasks, R, strict=True)]
        )

    def parts(x):
        delta, Q_tt, *R = x
        C = cross(Xt, R)
        D = 0.05 * np.eye(len(Xt)) + v * (delta * K_d + Q_tt * (K_d - K_o))
        E = v * Q_tt * K_o - C.T @ np.linalg.solve(A, C)
        return np.linalg.inv(D), D, E, TARGET[1] - C.T @ np.linalg.solve(A, y_s), C

    def action(x):
        delta, Q_tt, *R = x
        inverse, D, E, left, _ = parts(x)
        q = Q_tt - (np.square(R) / got.Q_s).sum()
        data = np.linalg.slogdet(D)[1] + (inverse * E).sum() + left @ inverse @ left
        return delta + Q_tt - np.log(delta) - q / delta + data / m.width

    x = np.array([got.delta, got.Q_tt, *got.Q_st])
    h = 1e-5 * np.eye(4)
    slope = [(action(x + e) - action(x - e)) / (2 * e.sum()) for e in h]
    assert_allclose(slope, 0.0, atol=2e-8)
    evidence = -0.5 * m.width * (action(x) - 1) - 0.5 * len(Xt) * np.log(2 * np.pi)
    assert got.log_evidence == pytest.approx(evidence, rel=1e-9)
    assert got.Q_st[0] > got.Q_st[1] > 0.02

    inverse, _, E, left, C = parts(x)
    c = cross(Xe, got.Q_st)
    d = v * (got.Q_t * k_d - got.Q_tt * k_o)
    e = v * got.Q_tt * k_o - c.T @ np.linalg.solve(A, C)
    assert_allclose(got.mean, c.T @ np.linalg.solve(A, y_s) + d @ inverse @ left, rtol=1e-8)
    whole = v * (got.Q_t * k(Xe, Xe, own, own, own) - got.Q_tt * k(Xe, Xe, own, own, off))
    assert got.thermal == pytest.approx(np.diag(whole - d @ inverse @ d.T).mean(), rel=1e-8)
    shared = v * got.Q_tt * k(Xe, Xe, own, own, off) - c.T @ np.linalg.solve(A, c)
    F = inverse @ E @ inverse
    quenched = np.diag(shared - 2 * d @ inverse @ e.T + d @ F @ d.T).mean()
    assert got.quenched == pytest.approx(quenched, rel=1e-7)


def test_strong_coupling_is_frozen_and_infinite_width_transfers_nothing():
    strong = solve(dataclasses.replace(MODEL, gamma=1e9), TARGET, BOTH, TEST)
    frozen = solve(dataclasses.replace(MODEL, gamma=math.inf), TARGET, BOTH, TEST)
    equal(strong, frozen, rtol=1e-6)
    assert_allclose(strong.Q_st, frozen.Q_st, rtol=1e-6)
    wide = solve(dataclasses.replace(MODEL, width=math.inf), TARGET, BOTH, TEST)
    assert wide.Q_t == 1.0
    assert_allclose(wide.Q_st, 0.0, atol=1e-15)
    assert wide.quenched == 0.0


def test_order_and_signs_of_the_sources():
    got = solve(MODEL, TARGET, BOTH, TEST)
    other = solve(
        MODEL, TARGET, SeveralSources([(FAR[0], -FAR[1]), NEAR], weights=[0.4, 1.0]), TEST
    )
    equal(got, other, rtol=1e-9)
    assert_allclose(other.Q_st, [-got.Q_st[1], got.Q_st[0]], rtol=1e-9)


def test_anchors_are_kernels_without_a_source():
    got = solve(MODEL, TARGET, SeveralSources([None, None], weights=[1.0, 0.4]))
    off = (1 + 0.4**2) / 2.3**2 / 0.9
    own = off + 1 / 2.3
    K_d, K_o = (
        nngp_kernel(TARGET[0], lam0=1 / own, weight_correlation=r) for r in (1.0, off / own)
    )
    given = solve(MODEL, KernelTasks((K_d, TARGET[1]), two_runs=K_o))
    equal(got, given, NAMES[:4], rtol=1e-8)
    assert got.Q_st.tolist() == [0.0, 0.0]


def test_many_copies_of_a_source_are_weight_decay():
    """Their units are not aligned: the average of many independent networks is zero."""
    decay = solve(dataclasses.replace(MODEL, lam0=1.9, gamma=0.0), TARGET, None, TEST)
    away = []
    for n in (8, 64):
        copies = SeveralSources([NEAR] * n, weights=[1 / n] * n)
        got = solve(MODEL, TARGET, copies, TEST)
        assert np.ptp(got.Q_st) < 1e-10
        away.append(got.test_error / decay.test_error - 1)
    assert abs(away[1]) < abs(away[0]) / 4 < 0.02


def test_path_sets_anchors_beside():
    path = gamma_path(MODEL, TARGET, BOTH, TEST, gammas=[0.0, 1.0, math.inf])
    equal(path.theory[1], solve(MODEL, TARGET, BOTH, TEST), rtol=1e-8)
    anchors = solve(MODEL, TARGET, SeveralSources([None, None], weights=[1.0, 0.4]), TEST)
    equal(path.control.theory[1], anchors, rtol=1e-8)
    assert path["Q_st"].shape == (3, 2)
    assert path["test_error"][2] < path.control["test_error"][2]


@pytest.mark.parametrize(("act", "gamma"), [("linear", 0.3), ("linear", math.inf), ("erf", 2.0)])
def test_agrees_with_sampling(act, gamma):
    """Within the 1 / width of the theory and four standard errors."""
    model = dataclasses.replace(MODEL, activation=act, gamma=gamma)
    options = {"n_draws": 5 if act == "linear" else 1, "n_burn_source": 60, "n_burn_target": 40}
    options |= {"n_chains": 6, "n_sweeps_target": 20}
    got = compare(model, TARGET, BOTH, TEST, **options, on_failure="ignore")
    assert got.names[:6] == ("Q_s[0]", "Q_s[1]", "Q_t", "Q_tt", "Q_st[0]", "Q_st[1]")
    allowed = 4 * got.stderr + np.abs(got.theory) * 2 / model.width
    assert (np.abs(got.theory - got.simulation) < allowed).all(), str(got)


def test_sampling_anchors_threads_and_one_source():
    few = {"n_chains": 3, "n_draws": 2, "n_burn_source": 5, "on_failure": "ignore"}
    model = dataclasses.replace(MODEL, width=12)
    several = SeveralSources([NEAR, None, FAR], weights=[1.0, 0.3, 0.5])
    one, two = (simulate(model, TARGET, several, TEST, **few, n_jobs=n) for n in (1, 2))
    assert one.Q_st.shape == one.stderr["Q_s"].shape == (3,)
    assert one.samples["Q_st"].shape == (3, 3)
    for name in ("Q_s", "Q_t", "Q_st", "test_error"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    steps = {"method": "langevin", "step_size": 1e-3}
    slow = simulate(model, TARGET, several, **few, **steps)
    assert slow.stderr["Q_st"].shape == (3,)
    plain = simulate(model, TARGET, NEAR, TEST, **few)
    alone = simulate(model, TARGET, SeveralSources([NEAR]), TEST, **few)
    assert np.ravel(alone.Q_st)[0] == plain.Q_st
    assert alone.test_error == plain.test_error


@pytest.mark.parametrize(
    ("sources", "weights", "error", "message"),
    [
        ([], None, ValueError, "sources must hold at least one source"),
        (NEAR, None, TypeError, r"sources\[0\] must be a pair \(X, y\) or None, got ndarray"),
        ([NEAR, FAR], [1.0], ValueError, "weights must be one for each of 2 sources, got 1"),
        ([NEAR, FAR], [1.0, -1.0], ValueError, r"weights\[1\] must lie in \[0, inf\)"),
        ([NEAR, FAR], [1.0, math.inf], ValueError, r"weights\[1\] must lie in \[0, inf\)"),
        ([NEAR, FAR], [0.0, 0.0], ValueError, "weights must hold a positive number"),
        ([NEAR, FAR], ["a", 1.0], TypeError, r"weights\[0\]"),
    ],
)
def test_refusals(sources, weights, error, message):
    with pytest.raises(error, match=message):
        SeveralSources(sources, weights)


def test_refusals_beside_the_target():
    narrow = (NEAR[0][:, :5], NEAR[1])
    with pytest.raises(ValueError, match=r"sources\[1\] has 5 features and target has 30"):
        solve(MODEL, TARGET, SeveralSources([NEAR, narrow]))
    broken = (NEAR[0], np.full(30, np.nan))
    with pytest.raises(ValueError, match=r"sources\[0\] y"):
        solve(MODEL, TARGET, SeveralSources([broken]))
    with pytest.raises(ValueError, match="need one output, and target y has 2"):
        solve(MODEL, (TARGET[0], TARGET[0][:, :2]), BOTH)
    with pytest.raises(ValueError, match=r"activation of zero mean.*got 'relu'"):
        solve(dataclasses.replace(MODEL, activation="relu"), TARGET, BOTH)
    with pytest.raises(
        ValueError, match="one hidden layer where coupling is 'one_way', got n_hidden"
    ):
        solve(dataclasses.replace(MODEL, n_hidden_layers=2), TARGET, BOTH)
    with pytest.raises(TypeError, match="source must be None beside kernels"):
        solve(MODEL, KernelTasks((np.eye(3), np.ones(3))), BOTH)
