"""Source and target that pull each other: limits, the action by hand, sampled networks."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import root

from retemper.exceptions import NumericalError
from retemper.widenet import (
    KernelTasks,
    SeveralSources,
    WideNetModel,
    compare,
    curve,
    gamma_path,
    simulate,
    solve,
)
from retemper.widenet.elastic import ElasticEquations, prior_covariance

from . import naive

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")

RNG = np.random.default_rng(5)
X, TEACHERS = RNG.normal(size=(100, 30)), RNG.normal(size=(2, 30)) / 30**0.5
NEAR = 0.8 * TEACHERS[0] + 0.6 * TEACHERS[1]
TARGET, SOURCE, TEST = (
    (X[rows], X[rows] @ w)
    for rows, w in ((slice(14), TEACHERS[0]), (slice(14, 40), NEAR), (slice(40, 100), TEACHERS[0]))
)
MODEL = WideNetModel(
    40, "erf", lam0=0.9, lam1=1.3, lam1_source=0.8, temperature_source=0.08, coupling="elastic"
)
NAMES = ("Q_s", "Q_t", "Q_st", "Q_tt", "loo", "log_evidence", "bias", "thermal", "test_error")


def at(**changes):
    return dataclasses.replace(MODEL, **changes)


def equal(a, b, names=NAMES, **tolerance):
    for name in names:
        assert_allclose(getattr(a, name), getattr(b, name), err_msg=name, **tolerance)


def kernel(act, P, Q, own, cov):
    a, b = ((R**2).sum(1) / 30 for R in (P, Q))
    return naive.kernel(act, own[0] * a, cov * (P @ Q.T / 30), own[1] * b)


@pytest.mark.parametrize(("act", "depth"), [("linear", 1), ("erf", 2), ("relu", 1)])
def test_weak_coupling_is_two_tasks_and_strong_is_one_layer(act, depth):
    alone, weak, strong, shared = (
        solve(at(activation=act, n_hidden_layers=depth, gamma=g), TARGET, SOURCE, TEST)
        for g in (0.0, 1e-9, 1e9, math.inf)
    )
    one_way = solve(
        at(activation=act, n_hidden_layers=depth, coupling="one_way"), TARGET, SOURCE, TEST
    )
    equal(alone, one_way, rtol=1e-12)
    equal(weak, alone, rtol=1e-6, atol=1e-6)
    equal(strong, shared, rtol=1e-6)
    assert shared.Q_s > alone.Q_s  # it reacts
    assert shared.test_error < alone.test_error


@pytest.mark.parametrize("act", ["linear", "erf", "tanh"])
def test_one_shared_layer_is_the_network_with_two_outputs(act):
    """At infinite coupling, both tasks on the same rows: outputs of one hidden layer."""
    model = WideNetModel(40, act, lam0=0.9, lam1=1.3, gamma=math.inf, coupling="elastic")
    source = (TARGET[0], TARGET[0] @ NEAR)
    pair = solve(model, TARGET, source)
    heads = dataclasses.replace(model, lam0=1.8, gamma=0.0, coupling="one_way", heads="shared")
    both = solve(heads, (TARGET[0], np.column_stack([source[1], TARGET[1]])))
    assert_allclose([[pair.Q_s, pair.Q_st], [pair.Q_st, pair.Q_t]], both.Q_t, rtol=1e-8)
    assert pair.log_evidence + pair.log_evidence_source == pytest.approx(both.log_evidence)


@pytest.mark.parametrize(("act", "depth"), [("erf", 1), ("erf", 3), ("gelu", 1)])
def test_source_and_target_change_places(act, depth):
    there = solve(at(activation=act, n_hidden_layers=depth, gamma=2.0), TARGET, SOURCE)
    turned = at(
        activation=act,
        n_hidden_layers=depth,
        gamma=2.0,
        lam1=MODEL.lam1_source,
        lam1_source=MODEL.lam1,
        temperature_source=MODEL.temperature_target,
        temperature_target=MODEL.temperature_source,
    )
    back = solve(turned, SOURCE, TARGET)
    assert_allclose([there.Q_s, there.Q_t, there.Q_st], [back.Q_t, back.Q_s, back.Q_st], rtol=1e-8)
    joint = [r.log_evidence + r.log_evidence_source for r in (there, back)]
    assert joint[0] == pytest.approx(joint[1], rel=1e-9)


def test_equal_tasks_are_one():
    model = WideNetModel(40, "erf", gamma=1.5, coupling="elastic")
    both = solve(model, TARGET, TARGET)
    assert both.Q_s == pytest.approx(both.Q_t, rel=1e-9)
    flipped = solve(model, TARGET, (TARGET[0], -TARGET[1]))
    assert flipped.Q_st == pytest.approx(-both.Q_st, rel=1e-9)
    assert flipped.loo == pytest.approx(both.loo, rel=1e-9)


def test_copies_of_the_target_lead_from_the_franz_parisi_potential_to_it():
    """n targets on one source: none, in the limit, leaves the source as it is; one is a pair."""
    m = at(gamma=2.0)
    v, v_s, g = 1 / m.lam1, 1 / m.lam1_source, m.pull

    def action(x, n):
        Q_s, R, delta, Q_tt = x
        prior = 1 / (m.lam0 * (1 + n * g))  # of a source weight that n free targets pull
        off = g**2 * prior
        own = off + 1 / (m.lam0 + m.gamma)
        A = v_s * Q_s * kernel("erf", SOURCE[0], SOURCE[0], (prior, prior), prior)
        A += m.temperature_source * np.eye(len(A))
        K_d, K_o = (kernel("erf", TARGET[0], TARGET[0], (own, own), c) for c in (own, off))
        C = np.sqrt(v * v_s) * R * kernel("erf", SOURCE[0], TARGET[0], (prior, own), g * prior)
        D = m.temperature_target * np.eye(len(K_d)) + v * (delta * K_d + Q_tt * (K_d - K_o))
        # the copies: n - 1 differences with D, and the sum, which sees the source
        whole = np.block([[A, n**0.5 * C], [n**0.5 * C.T, D + n * v * Q_tt * K_o]])
        y = np.concatenate([SOURCE[1], n**0.5 * TARGET[1]])
        data = (n - 1) * np.linalg.slogdet(D)[1] + np.linalg.slogdet(whole)[1]
        data += y @ np.linalg.solve(whole, y)
        own = Q_s + n * (delta + Q_tt) - np.log(Q_s) - (n - 1) * np.log(delta)
        return own - np.log(delta + n * (Q_tt - R**2 / Q_s)) + data / m.width

    def slope(x, n):
        h = 1e-5 * np.eye(4)
        rise = np.array([(action(x + e, n) - action(x - e, n)) / 2e-5 for e in h])
        return rise / [1, n, n, n]

    one_way = solve(at(gamma=2.0, coupling="one_way"), TARGET, SOURCE)
    pair = solve(m, TARGET, SOURCE)
    x = np.array([one_way.Q_s, one_way.Q_st, one_way.delta, one_way.Q_tt])
    few = [root(slope, x, args=(n,), tol=1e-10).x for n in (0.02, 0.01)]
    assert_allclose(2 * few[1] - few[0], x, rtol=1e-4)
    one = root(slope, x, args=(1.0,), tol=1e-10).x
    got = [pair.Q_s, pair.Q_st, pair.Q_t]
    assert_allclose([one[0], one[1], one[2] + one[3]], got, rtol=1e-7)
    assert pair.Q_s > 1.03 * one_way.Q_s


@pytest.mark.parametrize("act", ["erf", "relu"])
@pytest.mark.parametrize("gamma", [0.7, math.inf])
def test_action_and_predictor_by_hand(act, gamma):
    m = at(activation=act, gamma=gamma)
    shift = 1.5 if act == "relu" else 0.0
    target, source, test = ((P, y + shift) for P, y in (TARGET, SOURCE, TEST))
    got = solve(m, target, source, test, on_failure="ignore")
    g = 1.0 if math.isinf(gamma) else gamma / (m.lam0 + gamma)
    own = 0.5 / m.lam0 * (1 + (0 if math.isinf(gamma) else m.lam0 / (m.lam0 + 2 * gamma)))
    assert m.var_source == pytest.approx(own)
    assert m.var_diag == pytest.approx(own)
    tasks, v = (source, target), (1 / m.lam1_source, 1 / m.lam1)
    means = [naive.mean(act, own * (P**2).sum(1) / 30) for P, _ in tasks]

    def joint(Q, free, P, p_mean):
        """Covariance of target outputs at P with the labels of both tasks."""
        return np.hstack([
            (v[1] * v[b]) ** 0.5 * (Q[1, b] * kernel(act, P, tasks[b][0], (own, own), c)
                                    + free[1, b] * np.outer(p_mean, means[b]))
            for b, c in ((0, g * own), (1, own))
        ])  # fmt: skip

    def covariance(Q, free):
        A = v[0] * (Q[0, 0] * kernel(act, source[0], source[0], (own, own), own)
                    + free[0, 0] * np.outer(means[0], means[0]))  # fmt: skip
        lower = joint(Q, free, target[0], means[1])
        n = len(A)
        whole = np.block([[A, lower[:, :n].T], [lower[:, :n], lower[:, n:]]])
        noise = [m.temperature_source] * n + [m.temperature_target] * len(target[1])
        return whole + np.diag(noise)

    y = np.concatenate([source[1], target[1]])

    def matrices(x):
        return [np.array([[s[0], s[1]], [s[1], s[2]]]) for s in np.split(np.asarray(x), 2)]

    def action(x):
        Q, free = matrices(x)
        S = covariance(Q, free)
        data = np.linalg.slogdet(S)[1] + y @ np.linalg.solve(S, y)
        inv = np.linalg.inv(free)
        return np.trace(Q) - np.trace(inv @ Q) - np.linalg.slogdet(free)[1] + data / m.width

    Q = [got.Q_s, got.Q_st, got.Q_t]
    if act == "erf":
        x = np.array(Q + Q)
        whole = 1e-5 * np.array([np.tile(row, 2) for row in np.eye(3)])
        slopes = [(action(x + e) - action(x - e)) / 2e-5 for e in whole]
        assert_allclose(slopes, 0.0, atol=2e-8)
    else:  # the free part that makes the action stationary in it

        def rise(part):
            h = 1e-5 * np.eye(6)[3:]
            x = np.concatenate([Q, part])
            return [(action(x + e) - action(x - e)) / 2e-5 for e in h]

        free = root(rise, [Q[0], 0.5 * Q[1], Q[2]], tol=1e-10).x
        x = np.concatenate([Q, free])
        h = 1e-5 * np.eye(6)[:3]
        slopes = [(action(x + e) - action(x - e)) / 2e-5 for e in h]
        assert_allclose(slopes, 0.0, atol=1e-7)
        assert free[1] < 0.8 * Q[1]  # the mean of the labels is shared
    evidence = -0.5 * (m.width * action(x) + len(y) * np.log(2 * np.pi))
    assert got.log_evidence + got.log_evidence_source == pytest.approx(evidence, rel=1e-7)

    both = matrices(x)
    d = joint(*both, test[0], naive.mean(act, own * (test[0] ** 2).sum(1) / 30))
    S = covariance(*both)
    assert_allclose(got.mean, d @ np.linalg.solve(S, y), rtol=1e-6, atol=1e-7)
    e_mean = naive.mean(act, own * (test[0] ** 2).sum(1) / 30)
    prior = both[0][1, 1] * np.diag(kernel(act, test[0], test[0], (own, own), own))
    prior = v[1] * (prior + both[1][1, 1] * e_mean**2)
    left = prior - np.einsum("ij,ji->i", d, np.linalg.solve(S, d.T))
    assert got.thermal == pytest.approx(left.mean(), rel=1e-6)
    assert got.quenched == 0.0
    keep = np.arange(len(y)) != len(y) - 1
    rest = S[np.ix_(keep, keep)]
    out = S[-1, keep] @ np.linalg.solve(rest, y[keep])
    spread = S[-1, -1] - S[-1, keep] @ np.linalg.solve(rest, S[keep, -1]) - m.temperature_target
    path = gamma_path(m, target, source, gammas=[gamma], control=False, on_failure="ignore")
    assert path.loo_loss_rows[0, -1] == pytest.approx((y[-1] - out) ** 2 + spread, rel=1e-6)


def test_anchor_is_a_prior_of_its_own():
    """Without source rows the other network is integrated out: less variance, nothing else."""
    m = at(gamma=1.5)
    anchor = solve(m, TARGET, None, TEST)
    alone = solve(at(gamma=0.0, lam0=1 / m.var_diag), TARGET, None, TEST)
    equal(anchor, alone, rtol=1e-9, atol=1e-12)
    path = gamma_path(m, TARGET, SOURCE, TEST, gammas=[0.0, 1.5])
    equal(path.control.theory[1], anchor, rtol=1e-8, atol=1e-12)
    assert path["Q_st"][1] == pytest.approx(solve(m, TARGET, SOURCE).Q_st, rel=1e-8)


@pytest.mark.parametrize("act", ["erf", "relu"])
def test_infinite_width_transfers_nothing(act):
    wide = solve(at(activation=act, width=math.inf, gamma=2.0), TARGET, SOURCE, TEST)
    anchor = solve(at(activation=act, width=math.inf, gamma=2.0), TARGET, None, TEST)
    process = at(activation=act, width=math.inf, gamma=0.0, lam0=1 / at(gamma=2.0).var_diag)
    equal(wide, solve(process, TARGET, None, TEST), ("bias", "thermal", "log_evidence"), rtol=1e-9)
    equal(wide, anchor, ("Q_t", "Q_st", "bias", "thermal", "log_evidence"), rtol=1e-9)
    assert (wide.Q_t, wide.Q_st) == (1.0, 0.0)


def test_columns_are_networks_of_their_own():
    Y = TARGET[0] @ TEACHERS.T
    got = solve(at(gamma=2.0), (TARGET[0], Y), SOURCE)
    second = solve(at(gamma=2.0), (TARGET[0], Y[:, 1]), SOURCE)
    assert got.Q_st.shape == (2,)
    assert got.Q_st[1] == pytest.approx(second.Q_st, rel=1e-9)
    sweep = curve(at(gamma=2.0), {"coupling": ["one_way", "elastic"]}, (TARGET[0], Y[:, 1]), SOURCE)
    assert sweep["Q_st"][1] == pytest.approx(second.Q_st, rel=1e-9)


@pytest.mark.parametrize(("act", "gamma"), [("erf", 3.0), ("relu", math.inf)])
def test_the_way_by_weaker_couplings_leads_to_the_same(monkeypatch, act, gamma):
    direct = solve(at(activation=act, gamma=gamma), TARGET, SOURCE)
    polish, tries = ElasticEquations.polish, []

    def reluctant(self, G):
        tries.append(self.model.gamma)
        return (None, 1) if len(tries) == 1 else polish(self, G)

    monkeypatch.setattr(ElasticEquations, "polish", reluctant)
    led = solve(at(activation=act, gamma=gamma), TARGET, SOURCE)
    assert tries[1] == pytest.approx(0.01 * MODEL.lam0)
    equal(led, direct, ("Q_s", "Q_t", "Q_st", "loo"), rtol=1e-8)
    monkeypatch.setattr(ElasticEquations, "polish", lambda self, G: (None, 1))
    with pytest.raises(
        NumericalError, match=r"not solved at gamma = 0\.009 of the elastic coupling"
    ):
        solve(at(activation=act, gamma=gamma), TARGET, SOURCE)


@pytest.mark.parametrize(
    ("act", "depth", "gamma", "shift"),
    [
        ("linear", 1, 0.5, 0.0),
        ("erf", 1, math.inf, 0.0),
        ("relu", 1, 2.0, 1.0),
        ("erf", 2, 2.0, 0.0),
    ],
)
def test_agrees_with_sampling(act, depth, gamma, shift):
    """Within the 1 / width of the theory, larger where labels have a mean, and four errors."""
    model = at(activation=act, n_hidden_layers=depth, gamma=gamma)
    data = [(P, y + shift) for P, y in (TARGET, SOURCE, TEST)]
    few = {"n_chains": 6, "n_draws": 4, "n_burn_source": 100, "n_thin_source": 15}
    got = compare(model, *data, **few, on_failure="ignore")
    allowed = 4 * got.stderr + np.abs(got.theory) * (7 if shift else 2) / model.width
    assert (np.abs(got.theory - got.simulation) < allowed).all(), str(got)


FAR = (X[60:76], X[60:76] @ TEACHERS[1])


@pytest.mark.parametrize(("act", "depth"), [("erf", 1), ("erf", 2), ("relu", 1)])
def test_one_of_several_is_the_source_and_others_may_leave(act, depth):
    model = at(activation=act, n_hidden_layers=depth, gamma=1.5)
    one = solve(model, TARGET, SOURCE, TEST)
    few = SeveralSources([SOURCE, FAR], weights=[1.0, 0.0])
    for several in (SeveralSources([SOURCE]), few):
        got = solve(model, TARGET, several, TEST)
        assert got.Q_s[0] == pytest.approx(one.Q_s, rel=1e-8)
        assert got.Q_st[0] == pytest.approx(one.Q_st, rel=1e-8)
        equal(got, one, ("Q_t", "loo", "bias", "thermal", "log_evidence"), rtol=1e-8)
    if act == "erf":
        assert got.Q_st[1] == pytest.approx(0.0, abs=1e-9)
    there = solve(model, TARGET, SeveralSources([SOURCE, FAR], weights=[1.0, 0.4]), TEST)
    back = solve(model, TARGET, SeveralSources([FAR, SOURCE], weights=[0.4, 1.0]), TEST)
    assert_allclose(there.Q_st[::-1], back.Q_st, rtol=1e-7)
    equal(there, back, ("Q_t", "loo", "log_evidence", "log_evidence_source"), rtol=1e-8)
    anchor = solve(model, TARGET, SeveralSources([SOURCE, None], weights=[1.0, 0.4]), TEST)
    assert (anchor.Q_s[1], anchor.Q_st[1]) == (1.0, 0.0)
    assert anchor.test_error != pytest.approx(one.test_error, rel=1e-6)


def test_prior_covariance_is_the_inverse_of_the_precision():
    weights = np.array([1.0, 0.4, 0.0])
    precision = MODEL.lam0 * np.eye(4)
    for s, weight in enumerate(2.0 * weights):
        precision[[s, 3], [s, 3]] += weight
        precision[s, 3] -= weight
        precision[3, s] -= weight
    got = prior_covariance(at(gamma=2.0), weights)
    assert_allclose(got, np.linalg.inv(precision), rtol=1e-12, atol=1e-15)
    strong, tied = (prior_covariance(at(gamma=g), weights) for g in (1e12, math.inf))
    assert_allclose(strong, tied, atol=1e-10)
    one = prior_covariance(MODEL, np.ones(1))
    assert_allclose(one, np.eye(2) / MODEL.lam0)
    pair = at(gamma=2.0)
    own = prior_covariance(pair, np.ones(1))
    assert_allclose([own[0, 0], own[1, 1]], [pair.var_source, pair.var_diag], rtol=1e-13)


@pytest.mark.parametrize("act", ["linear", "erf"])
def test_several_that_share_one_layer_are_the_network_with_as_many_outputs(act):
    model = WideNetModel(40, act, lam0=0.9, lam1=1.3, gamma=math.inf, coupling="elastic")
    labels = [TARGET[0] @ w for w in (NEAR, TEACHERS[1])]
    sources = SeveralSources([(TARGET[0], y) for y in labels], weights=[1.0, 0.3])
    group = solve(model, TARGET, sources)
    heads = dataclasses.replace(model, lam0=2.7, gamma=0.0, coupling="one_way", heads="shared")
    both = solve(heads, (TARGET[0], np.column_stack([*labels, TARGET[1]])))
    assert_allclose(group.Q_st, both.Q_t[:2, 2], rtol=1e-7)
    assert_allclose([*group.Q_s, group.Q_t], np.diagonal(both.Q_t), rtol=1e-7)
    together = group.log_evidence + group.log_evidence_source
    assert together == pytest.approx(both.log_evidence, rel=1e-9)
    two = dataclasses.replace(heads, lam0=2.7)
    sources_alone = solve(two, (TARGET[0], np.column_stack(labels)))
    assert group.log_evidence_source == pytest.approx(sources_alone.log_evidence, rel=1e-8)


def test_path_of_several_begins_and_ends_as_it_should():
    sources = SeveralSources([SOURCE, FAR], weights=[1.0, 0.5])
    path = gamma_path(MODEL, TARGET, sources, TEST, gammas=[0.0, 1.0, 1e9, math.inf])
    alone = solve(at(gamma=0.0), TARGET, None, TEST)
    assert path["test_error"][0] == pytest.approx(alone.test_error, rel=1e-9)
    assert path["test_error"][2] == pytest.approx(path["test_error"][3], rel=1e-6)
    anchors = solve(at(gamma=1.0), TARGET, SeveralSources([None, None], weights=[1, 0.5]), TEST)
    assert path.control["test_error"][1] == pytest.approx(anchors.test_error, rel=1e-9)
    own = prior_covariance(at(gamma=1.0), np.array([1.0, 0.5]))[-1, -1]
    single = solve(at(gamma=0.0, lam0=1 / own), TARGET, None, TEST)
    assert anchors.test_error == pytest.approx(single.test_error, rel=1e-9)


@pytest.mark.parametrize(
    ("act", "gamma", "shift"), [("linear", 1.0, 0.0), ("erf", math.inf, 0.0), ("relu", 2.0, 1.0)]
)
def test_several_agree_with_sampling(act, gamma, shift):
    model = at(activation=act, gamma=gamma)
    source, far = ((P, y + shift) for P, y in (SOURCE, FAR))
    sources = SeveralSources([source, far], weights=[1.0, 0.5])
    target, test = ((P, y + shift) for P, y in (TARGET, TEST))
    few = {"n_chains": 6, "n_draws": 4, "n_burn_source": 100, "n_thin_source": 15}
    got = compare(model, target, sources, test, **few, on_failure="ignore")
    assert {"Q_st[0]", "Q_st[1]"} <= set(got.names)
    allowed = 4 * got.stderr + np.abs(got.theory) * (7 if shift else 2) / model.width
    assert (np.abs(got.theory - got.simulation) < allowed).all(), str(got)


def test_sampling_does_not_depend_on_threads_and_knows_anchors():
    few = {"n_chains": 3, "n_draws": 2, "n_burn_source": 5, "on_failure": "ignore"}
    one, two = (simulate(at(width=12, gamma=1.0), TARGET, SOURCE, TEST, **few, n_jobs=n)
                for n in (1, 2))  # fmt: skip
    for name in ("Q_s", "Q_t", "Q_st", "test_error"):
        assert getattr(one, name) == getattr(two, name)
    anchor = simulate(at(width=12, gamma=1.0), TARGET, None, **few)
    assert abs(anchor.Q_st) < 0.3


def test_refusals():
    with pytest.raises(ValueError, match="coupling must be one of 'elastic', 'one_way'"):
        at(coupling="both")
    with pytest.raises(ValueError, match="activation of zero mean"):
        solve(at(gamma=1.0, activation="relu", n_hidden_layers=2), TARGET, SeveralSources([SOURCE]))
    with pytest.raises(ValueError, match="coupling must be 'one_way' for kernels"):
        solve(at(gamma=1.0), KernelTasks((np.eye(3), np.ones(3))))
    with pytest.raises(ValueError, match="activation of zero mean"):
        solve(at(gamma=1.0, activation="relu", n_hidden_layers=2), TARGET, SOURCE)
    with pytest.raises(ValueError, match=r"method 'gibbs' needs coupling='one_way'"):
        simulate(at(gamma=1.0, activation="linear"), TARGET, method="gibbs")
