"""Energy and gradient against numpy, samplers against each other and against the theory."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import scipy.special as sc
from numpy.testing import assert_array_equal

from retemper._dispatch import core
from retemper.exceptions import ConvergenceWarning
from retemper.widenet import WideNetModel, compare, simulate, solve

from .recipe import SMALL, draw, model

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
ACTIVATIONS = ("erf", "relu", "gelu", "linear")
SHORT = {
    "n_chains": 4,
    "n_draws": 2,
    "n_burn_source": 20,
    "n_thin_source": 2,
    "n_burn_target": 5,
    "n_sweeps_target": 4,
}
SIGMA = {
    "erf": sc.erf,
    "relu": lambda h: np.maximum(h, 0),
    "gelu": lambda h: h * sc.ndtr(h),
    "linear": lambda h: h,
}


def energy(act, lam1, T, X, y, W):  # noqa: PLR0917
    phi = SIGMA[act](W @ X.T / math.sqrt(X.shape[1]))
    C = T * np.eye(len(y)) + phi.T @ phi / lam1 / len(W)
    return 0.5 * y @ np.linalg.solve(C, y) + 0.5 * np.linalg.slogdet(C)[1]


@pytest.mark.parametrize(("width", "n"), [(9, 6), (5, 14)])  # either side of the matrix is factored
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_energy_and_gradient(act, width, n):
    rng = np.random.default_rng(3)
    X, y, W = rng.normal(size=(n, 4)), rng.normal(size=n), 1.5 * rng.normal(size=(width, 4))
    args = (1.7, 0.2, X, y)
    got = core.widenet.collapsed_energy(core.widenet.Activation[act], *args, W)
    assert got.energy == pytest.approx(energy(act, *args, W), rel=1e-11)
    h = 1e-5
    for i, j in np.ndindex(W.shape):
        step = np.zeros_like(W)
        step[i, j] = h
        slope = (energy(act, *args, W + step) - energy(act, *args, W - step)) / (2 * h)
        assert got.gradient[i, j] == pytest.approx(slope, rel=1e-6, abs=1e-7)


SLOWLY = [pytest.param(g, marks=pytest.mark.slow) for g in (0.0, 1.0)]


@pytest.mark.parametrize("gamma", [*SLOWLY, np.inf])
def test_gibbs_agrees_with_theory(gamma):
    """The strict test: linear network, exact sampler, errors of order 1 / width."""
    target, source, test = draw(N0=30, Ps=60, Pt=20, Pe=50)
    m = model("linear", 100, gamma=gamma)
    c = compare(m, target, source, test, random_state=1, n_draws=5, n_sweeps_target=25)
    assert (np.abs(c.theory - c.simulation) <= 3.0 * c.stderr + 0.01 * np.abs(c.theory)).all(), str(
        c
    )


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.0, 1.0, np.inf])
def test_gap_to_gibbs_vanishes_with_size(gamma):
    """Theory / sampled - 1 = a + b / width at fixed ratios, on equal data: a is zero."""
    widths, repeats = (16, 32, 64), (10, 8, 6)
    mean, error = [], []
    for width, n in zip(widths, repeats, strict=True):
        d = round(0.4 * width)
        gaps, noise = [], []
        for seed in range(n):
            target, source, test = draw(N0=d, Ps=2 * d, Pt=d, Pe=100, seed=seed)
            m = model("linear", width, gamma=gamma)
            c = compare(m, target, source, test, random_state=seed, n_chains=8)
            gaps.append(c.theory / c.simulation - 1)
            noise.append(c.stderr / abs(c.simulation))
        spread = np.maximum(np.std(gaps, axis=0, ddof=1), np.sqrt(np.mean(np.square(noise), 0)))
        mean.append(np.mean(gaps, axis=0))
        error.append(spread / np.sqrt(n))
    mean, error = np.array(mean), np.array(error)
    for k, name in enumerate(c.names):
        basis = np.stack([np.ones(3), 1 / np.array(widths)], axis=1) / error[:, [k]]
        covariance = np.linalg.inv(basis.T @ basis)
        fit = covariance @ basis.T @ (mean[:, k] / error[:, k])
        assert abs(fit[0]) < 3.0 * np.sqrt(covariance[0, 0]), name
        if name == "Q_t":  # the gap itself is seen
            assert fit[1] < -2.5 * np.sqrt(covariance[1, 1])


@pytest.mark.parametrize(
    ("act", "N0", "gamma"),
    [pytest.param("erf", 40, 1.0, marks=pytest.mark.slow), ("relu", 40, np.inf)],
)
def test_hmc_agrees_with_theory(act, N0, gamma):
    target, source, test = draw(N0=N0, Ps=30, Pt=15, Pe=30)
    m = WideNetModel(100, act, gamma=gamma)
    c = compare(
        m,
        target,
        source,
        test,
        random_state=2,
        n_draws=4,
        n_chains=12,
        n_burn_source=120,
        n_sweeps_target=20,
    )
    assert (np.abs(c.theory - c.simulation) <= 3.0 * c.stderr + 0.03 * np.abs(c.theory)).all(), str(
        c
    )


def test_own_precisions_of_the_two_read_outs():
    """Different lam1 and T per task, derived but not sampled on the theory page."""
    target, source, test = draw(N0=30, Ps=60, Pt=20, Pe=50)
    m = WideNetModel(100, "linear", 1.0, 0.5, 0.02, 0.1, 2.0, lam1_source=3.0)
    c = compare(m, target, source, test, random_state=1, n_draws=5, n_sweeps_target=25)
    assert (np.abs(c.theory - c.simulation) <= 3.0 * c.stderr + 0.015 * np.abs(c.theory)).all(), (
        str(c)
    )


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("hmc", {"step_size": 0.2, "random_state": 1}),
        pytest.param(
            "langevin",
            {"step_size": 0.1, "random_state": 2, "n_steps": 40, "n_burn_source": 60},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_samplers_agree_with_exact_gibbs(method, changes):
    """Also beyond the theory: a narrow network, both sides of the factored matrix."""
    target, source, test = draw(N0=6, Ps=12, Pt=6, Pe=10)
    m = model("linear", 8, T=0.2, gamma=1.0)
    options = {
        "n_chains": 24,
        "n_draws": 6,
        "n_burn_source": 100,
        "n_burn_target": 20,
        "n_sweeps_target": 20,
    }
    exact = simulate(m, target, source, test, method="gibbs", random_state=0, **options)
    other = simulate(m, target, source, test, method=method, **options | changes)
    for name in ("Q_s", "Q_t", "Q_tt", "Q_st", "bias", "thermal", "quenched", "test_error"):
        error = math.hypot(exact.stderr[name], other.stderr[name])
        assert abs(getattr(other, name) - getattr(exact, name)) < 4.5 * error, name
    if method == "hmc":
        assert 0.6 < other.acceptance_source < 0.97
    assert (exact.acceptance_source, exact.acceptance_target) == (1.0, 1.0)


def test_control_samples_the_prior():
    target, _, test = draw(**SMALL)
    out = simulate(model("erf", 30, gamma=1.0), target, None, test, random_state=0, n_chains=8)
    assert out.Q_s == pytest.approx(1.0, abs=1e-12)  # E |v|^2 of the prior, exactly
    theory = solve(model("erf", 30, gamma=1.0), target, None, test)
    assert out.test_error == pytest.approx(theory.test_error, rel=0.1)
    assert abs(out.Q_st) < 1e-12


@pytest.mark.filterwarnings("ignore::retemper.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", ["hmc", "gibbs", "langevin"])
@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_do_not_change_a_bit(method, n_jobs):
    target, source, test = draw(**SMALL)
    m = model("linear", 10, gamma=1.0)
    kwargs = SHORT | {"method": method, "random_state": 5, "step_size": 0.05}
    one = simulate(m, target, source, test, n_jobs=1, **kwargs)
    many = simulate(m, target, source, test, n_jobs=n_jobs, **kwargs)
    assert_array_equal(one.mean, many.mean)
    assert one.as_dict()["stderr"] == many.as_dict()["stderr"]
    assert one.n_iter == 4 * (20 + 2 * (2 + 18))


def test_seeds():
    target, source, test = draw(**SMALL)
    m = model("linear", 10, gamma=np.inf)
    a, b, c = (
        simulate(m, target, source, test, n_chains=4, random_state=seed).mean for seed in (1, 1, 2)
    )
    assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_chains_that_disagree_are_reported():
    target, source, _ = draw(**SMALL)
    m = model("erf", 20, gamma=np.inf)
    with pytest.warns(ConvergenceWarning, match="R-hat"):
        out = simulate(
            m,
            target,
            source,
            n_chains=4,
            n_draws=3,
            n_burn_source=0,
            step_size=1e-4,
            n_steps=1,
            random_state=0,
        )
    assert out.status == "stalled"
    assert out.r_hat > 1.1
    assert out.test_error is None


def test_progress_and_interruption():
    target, source, test = draw(**SMALL)
    m = model("linear", 10, gamma=1.0)
    seen = []
    simulate(
        m,
        target,
        source,
        test,
        n_jobs=1,
        n_chains=40,
        n_draws=40,
        n_burn_source=20,
        n_burn_target=4,
        n_sweeps_target=4,
        random_state=0,
        progress=lambda *a: seen.append(a),
    )
    assert seen
    assert all(total == 1600 and 0 <= done <= 1600 for done, total in seen)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(m, target, source, test, n_chains=40, n_draws=4000, random_state=0, progress=stop)


def test_bad_arguments_are_refused():
    target, source, test = draw(**SMALL)
    m = model("erf", 10, gamma=1.0)
    data = (target, source, test)
    for change, match in [
        ({"method": "gibbs"}, "needs the linear activation"),
        ({"method": "sgd"}, "method must be one of"),
        ({"n_chains": 2}, "n_chains must be at least 3"),
        ({"n_steps": 0}, "n_steps"),
        ({"step_size": 0.0}, r"step_size must lie in \(0"),
        ({"n_thin_source": 0}, "n_thin_source"),
    ]:
        with pytest.raises(ValueError, match=match):
            simulate(m, *data, **change)
    for width in (10.5, np.inf):
        with pytest.raises(ValueError, match="width must be a finite integer"):
            simulate(dataclasses.replace(m, width=width), *data)
    with pytest.raises(ValueError, match="above 0"):
        simulate(dataclasses.replace(m, temperature_source=0.0), *data, method="langevin")
    two = (target[0], np.column_stack([target[1]] * 2))
    with pytest.raises(ValueError, match="one output"):
        simulate(m, two, source)


@pytest.mark.filterwarnings("ignore::retemper.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", ["gibbs", "langevin"])
def test_samples_are_the_single_chains(method):
    target, source, test = draw(**SMALL)
    m = model("linear", 10, gamma=1.0)
    out = simulate(m, target, source, test, **SHORT, method=method, step_size=0.05)
    assert set(out.samples) == {"Q_s", "Q_t", "Q_tt", "Q_st", "delta", "thermal", "test_error"}
    for name, values in out.samples.items():
        assert values.shape == (4,)
        assert getattr(out, name) == pytest.approx(values.mean(), rel=1e-12), name
        if method == "gibbs":
            assert out.stderr[name] == pytest.approx(values.std(ddof=1) / 2, rel=1e-9), name
    blind = simulate(m, target, source, **SHORT, method=method, step_size=0.05)
    assert blind.Q_s == out.Q_s
    assert blind.mean is None


def test_result_shows_and_pickles():
    target, source, test = draw(**SMALL)
    out = simulate(model("linear", 10, gamma=1.0), target, source, test, random_state=0)
    assert "r_hat" in repr(out)
    assert pickle.loads(pickle.dumps(out)).Q_st == out.Q_st
    assert out.ess > 100


@pytest.mark.slow
@pytest.mark.parametrize("act", ["relu", "gelu"])
@pytest.mark.parametrize("gamma", [0.0, 1.0, np.inf])
def test_labels_whose_mean_is_not_zero_agree_with_sampling(act, gamma):
    """With the mean mode frozen, Q_tt and Q_st at coupling 0 were zero, and Q_t 15 % too small."""
    rng = np.random.default_rng(0)
    X, u = rng.normal(size=(160, 40)), rng.normal(size=40)
    y = X @ u / np.linalg.norm(u) + 2.0
    data = (X[:20], y[:20]), (X[20:60], y[20:60]), (X[60:], y[60:])
    m = WideNetModel(60, act, gamma=gamma, temperature_source=0.05, temperature_target=0.05)
    r = compare(m, *data, n_chains=8, n_draws=2, random_state=0)
    band = {"relu": 0.07, "gelu": 0.12}[act]  # 60 units
    allowed = 3 * np.array(r.stderr) + band * np.abs(r.theory) + 1e-3
    assert (np.abs(np.array(r.theory) - np.array(r.simulation)) < allowed).all(), str(r)
    assert {"Q_tt", "Q_st"} <= set(r.names)
    assert r.theory[r.names.index("Q_tt")] > 0.3
