"""The finite-size experiment: addresses of its random numbers, laws, identities, bad input."""

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper._random import replica_generator, stream_key
from retemper.linear import LinearModel, LinearSource, compare, deep_fit, simulate

from . import portable

D = 40


def model(**change):
    arguments = {
        "n_samples": 15,
        "theta_target": portable.combine(portable.D5, D),
        "spectrum": portable.spectrum("power", D, 0.5),
        "source_coef": portable.combine(portable.SRC, D),
        "noise": 0.3,
    }
    return LinearModel(**(arguments | change))


def finite(**change):
    source = {
        "source_coef": None,
        "theta_source": portable.combine(portable.SRC, D),
        "n_samples_source": 25,
        "noise_source": 0.2,
        "ridge_source": 0.1,
        "cov_source": portable.covariance("two", D, 0.1, 0.9),
    }
    return model(**(source | change))


CASES = {
    "plain": model(),
    "ridge": model(ridge=0.1),
    "tall": model(n_samples=60),
    "deep": model(depth=3),
    "infinite depth": model(depth=math.inf),
    "finite": finite(),
    "finite deep tall source": finite(n_samples_source=70, ridge_source=0.0, depth=2),
    "no source": model(source_coef=None),
    "no data": finite(n_samples=0),
    "outputs": model(
        theta_target=np.eye(D)[:2],
        source_coef=np.ones((2, D)) / 8 + np.eye(D)[:2] / 2,
        depth=2,
        heads="independent",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_threads_and_length_do_not_change_a_bit(name):
    want = simulate(CASES[name], n_repeats=7, random_state=3, n_jobs=1)
    for n_jobs in (2, 3):
        got = simulate(CASES[name], n_repeats=7, random_state=3, n_jobs=n_jobs)
        for key, values in want.samples.items():
            assert_array_equal(got.samples[key], values)
    longer = simulate(CASES[name], n_repeats=9, random_state=3)
    assert_array_equal(longer.samples["risk"][:7], want.samples["risk"])


def test_seeds():
    one, same, other = (simulate(model(), n_repeats=3, random_state=s).risk for s in (1, 1, 2))
    assert one == same
    assert one != other
    rng = np.random.default_rng(0)
    assert (
        simulate(model(), n_repeats=3, random_state=rng).risk
        != simulate(model(), n_repeats=3, random_state=rng).risk
    )


def normals(key, purpose, replica, size):
    """The normals at an address, from the stream's words."""
    from scipy.special import ndtri

    words = core.core.stream_words(key, purpose, replica, 0, 0, size)
    return ndtri(((words >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52)


def laplace(rng, size):
    return rng.laplace(scale=0.5**0.5, size=size)


@pytest.mark.parametrize("entries", ["gaussian", "rademacher", "student", laplace])
@pytest.mark.parametrize("depth", [1, 3])
def test_one_repeat_done_by_hand(entries, depth):
    """Rebuild replica 2 in NumPy, finite source included."""
    problem = finite(depth=depth, ridge=0.05 if depth == 1 else 0.0)
    run = simulate(problem, n_repeats=3, entries=entries, random_state=5)
    key, r = stream_key(5), 2
    rng = replica_generator(key, r, 9)
    if entries is laplace:  # a stream for its rows, and one for the noise
        key, r = tuple(map(int, rng.integers(0, 2**64, size=2, dtype=np.uint64))), 0

    def design(purpose, n):
        if entries is laplace:
            return laplace(rng, (n, D))
        if entries == "gaussian":
            return normals(key, purpose, r, n * D).reshape(n, D)
        if entries == "rademacher":
            words = core.core.stream_words(key, purpose, r, 0, 0, n * D)
            return np.where(words >> np.uint64(63), 1.0, -1.0).reshape(n, D)
        z = normals(key, purpose, r, 6 * n * D).reshape(n, D, 6)
        return z[..., 0] * np.sqrt(3.0 / np.square(z[..., 1:]).sum(-1))

    # eigenvectors are defined up to signs and, here, rotations: take those that were used
    from retemper.linear.eigenbasis import prepare

    prepared = prepare(problem)
    basis = prepared.overlap
    assert_allclose((basis * prepared.source_spectrum) @ basis.T, problem.cov_source, atol=1e-12)
    XS = design(3, 25) * np.sqrt(prepared.source_spectrum) @ prepared.overlap.T
    yS = XS @ problem.theta_source + 0.2 * normals(key, 4, r, 25)
    w0 = np.linalg.solve(XS.T @ XS + 25 * 0.1 * np.eye(D), XS.T @ yS)
    X = design(1, 15) * np.sqrt(problem.spectrum)
    noise = 0.3 * normals(key, 2, r, 15)
    theta = problem.theta_target

    def risk(w):
        return (w - theta) ** 2 @ problem.spectrum

    def fit(y, source):
        return deep_fit(X, y, source, depth=depth, ridge=problem.ridge)

    y = X @ theta + noise
    got = {k: v[2] for k, v in run.samples.items()}
    tuned = fit(y, w0)
    assert_allclose(got["risk"], risk(tuned.coef), rtol=1e-9)
    assert_allclose(got["source_scale"], tuned.source_scale, rtol=1e-9)
    assert_allclose(got["risk_zero_shot"], risk(w0), rtol=1e-9)
    assert_allclose(got["risk_scratch"], risk(fit(y, 0 * w0).coef), rtol=1e-9)
    c = tuned.source_scale
    silent = deep_fit(X, X @ theta, c * w0, ridge=problem.ridge)
    heard = deep_fit(X, noise, 0 * w0, ridge=problem.ridge)
    assert_allclose(got["bias"], risk(silent.coef), rtol=1e-9)
    assert_allclose(got["variance"], risk(heard.coef + theta), rtol=1e-9)
    assert_allclose(
        got["risk_scratch"] + 2 * c * got["cross"] + c**2 * got["spread"], got["risk"], rtol=1e-9
    )
    resolvent = np.linalg.inv(X @ X.T / 15 + problem.ridge * np.eye(15))
    kappa = 15 / np.trace(resolvent)
    assert_allclose(got["effective_ridge"], kappa, rtol=1e-9)
    assert_allclose(got["df1"], 15 * (1 - problem.ridge / kappa), rtol=1e-9)
    df2 = 15 - np.trace(resolvent) ** 2 / np.trace(resolvent @ resolvent)
    assert_allclose(got["df2"], df2, rtol=1e-9)


HARD = {
    "wide ridge": model(ridge=0.1),
    "negative ridge": model(ridge=-0.01, spectrum=None),
    "tall": model(n_samples=60),
    "tall ridge": model(n_samples=60, ridge=0.1),
    "tall deep": model(n_samples=60, depth=3),
    "square": model(n_samples=D),
    "low rank": model(n_samples=30, spectrum=portable.spectrum("lowrank", D, 0.5)),
    "low rank deep": model(n_samples=30, spectrum=portable.spectrum("lowrank", D, 0.5), depth=3),
    "low rank tall": model(n_samples=60, spectrum=portable.spectrum("lowrank", D, 0.5)),
    "low rank tall ridge": model(
        n_samples=60, spectrum=portable.spectrum("lowrank", D, 0.5), ridge=0.1
    ),
    "ill conditioned": model(n_samples=30, spectrum=portable.spectrum("exp", D, 1.5), noise=1e-3),
}


@pytest.mark.parametrize("name", HARD)
def test_every_factorisation_gives_the_fit(name):
    problem = HARD[name]
    run = simulate(problem, n_repeats=2, random_state=9)
    key, n = stream_key(9), problem.n_samples
    spectrum = np.ones(D) if problem.spectrum is None else problem.spectrum
    for r in (0, 1):
        X = normals(key, 1, r, n * D).reshape(n, D) * np.sqrt(spectrum)
        y = X @ problem.theta_target + problem.noise * normals(key, 2, r, n)
        fit = deep_fit(X, y, problem.source_coef, depth=problem.depth, ridge=problem.ridge)
        risk = (fit.coef - problem.theta_target) ** 2 @ spectrum
        assert_allclose(run.samples["risk"][r], risk, rtol=1e-7)
        assert_allclose(run.samples["source_scale"][r], fit.source_scale, rtol=1e-7)
        values = np.linalg.eigvalsh(X @ X.T / n)
        values = np.where(values > 1e-13 * values[-1], values, 0.0) + problem.ridge
        if values[0] > 0.0 or problem.ridge < 0.0:
            kappa = n / (1.0 / values).sum()
            assert_allclose(run.samples["effective_ridge"][r], kappa, rtol=1e-6)
        else:
            assert run.samples["effective_ridge"][r] == 0.0
            assert run.samples["df2"][r] == fit.rank


@pytest.mark.parametrize(
    ("entries", "kurtosis"), [("gaussian", 3.0), ("rademacher", 1.0), ("student", 9.0)]
)
def test_entries_have_variance_one_and_their_kurtosis(entries, kurtosis):
    """At d = 1 and ridge 1 the degrees of freedom give the sample variance v: v / (v + 1)."""
    n, n_repeats = 200, 4000
    one = LinearModel(n, [1.0], source_coef=[0.0], ridge=1.0)
    df1 = simulate(one, n_repeats=n_repeats, entries=entries, random_state=0).samples["df1"]
    variance = df1 / (1.0 - df1)
    assert_allclose(variance.mean(), 1.0, atol=4 * ((kurtosis - 1) / n / n_repeats) ** 0.5 + 1e-12)
    assert_allclose(variance.var() * n, kurtosis - 1.0, rtol=0.3, atol=1e-12)


FUNCTIONS = {
    "finite": finite(),
    "outputs": CASES["outputs"],
    "descent": model(n_samples=60, step_size=0.01),
    "sources": model(
        source_coef=None,
        mixing_weights=[0.5, 0.5],
        sources=[
            LinearSource(np.ones(D) / 9),
            LinearSource(np.ones(D) / 7, n_samples_source=30),
        ],
    ),
    "trunk": model(
        n_samples=8,
        spectrum=None,
        theta_target=np.eye(D)[:2],
        source_coef=np.ones((2, D)) / 8 + np.eye(D)[:2] / 2,
        depth=2,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_draws_the_entries(name):
    """With normal entries the same experiment, and the same bits for any number of threads."""
    problem, runs = FUNCTIONS[name], 4 if name == "trunk" else 40

    def normal(rng, size):
        return rng.normal(size=size)

    one, two = (
        simulate(problem, n_repeats=runs, entries=normal, random_state=3, n_jobs=n) for n in (1, 2)
    )
    for key, values in one.samples.items():
        assert_array_equal(two.samples[key], values)
    assert len(np.unique(one.samples["risk"])) == runs
    assert one.entries == "normal"
    assert pickle.loads(pickle.dumps(one)).entries == "normal"
    if name != "trunk":
        named = simulate(problem, n_repeats=runs, random_state=4)
        gap = one.risk - named.risk
        assert abs(gap) < 4.0 * math.hypot(one.stderr["risk"], named.stderr["risk"])


BAD_LAWS = {
    "scale": (lambda rng, size: rng.normal(scale=1.02, size=size), "mean 0 and variance 1; of"),
    "mean": (lambda rng, size: rng.exponential(size=size), r"<lambda> the mean is (0\.9|1\.)"),
    "no variance": (lambda rng, size: rng.standard_cauchy(size=size), "variance 1"),
    "shape": (lambda rng, size: rng.normal(size=size[::-1]), r"entries\(rng, size\) must have"),
    "number": (lambda rng, size: rng.normal(), r"entries\(rng, size\) must be 2-D"),
    "nan": (lambda rng, size: np.full(size, np.nan), r"entries\(rng, size\)"),
    "seed": (lambda rng, size: np.random.default_rng().normal(size=size), "draw from rng alone"),
}


@pytest.mark.parametrize("name", BAD_LAWS)
def test_a_law_of_another_variance_is_refused(name):
    law, message = BAD_LAWS[name]
    for call in (simulate, compare):
        with pytest.raises(ValueError, match=message):
            call(model(), n_repeats=2, entries=law)


@pytest.mark.parametrize("bad", [None, 3, ["gaussian"]])
def test_a_law_is_a_name_or_a_function(bad):
    with pytest.raises(TypeError, match=r"entries must be a name, .* or a function .*, got"):
        simulate(model(), entries=bad)


def test_means_errors_and_optimum():
    run = simulate(finite(), n_repeats=40, random_state=1)
    assert_allclose(run.risk, run.samples["risk"].mean())
    assert_allclose(run.stderr["risk"], run.samples["risk"].std(ddof=1) / 40**0.5)
    grid = np.linspace(-1, 3, 4001)
    risks = (
        run.risk_scratch
        + 2 * grid * run.samples["cross"].mean()
        + grid**2 * run.samples["spread"].mean()
    )
    assert_allclose(run.optimal_scale, grid[risks.argmin()], atol=1e-3)
    assert_allclose(run.risk_optimal, risks.min(), rtol=1e-5)
    assert run.risk_optimal <= min(run.risk, run.risk_scratch)


@pytest.mark.slow
def test_optimum_error_is_the_spread_over_seeds():
    runs = [simulate(finite(), n_repeats=30, random_state=s) for s in range(60)]
    for name in ("optimal_scale", "risk_optimal", "risk"):
        spread = np.std([getattr(run, name) for run in runs], ddof=1)
        assert_allclose(np.mean([run.stderr[name] for run in runs]), spread, rtol=0.3)


def test_constants_have_no_error():
    run = simulate(model(), n_repeats=4, random_state=0)
    theta, w0 = model().theta_target, model().source_coef
    assert run.stderr["risk_zero_shot"] == 0.0
    assert_allclose(run.risk_zero_shot, (w0 - theta) ** 2 @ model().spectrum)
    assert (run.source_scale, run.stderr["source_scale"]) == (1.0, 0.0)
    empty = simulate(model(n_samples=0), n_repeats=4, random_state=0)
    assert empty.risk == empty.risk_zero_shot
    assert compare(model(source_coef=None), n_repeats=4).names == (
        "risk",
        "bias",
        "variance",
        "risk_scratch",
        "risk_optimal",
    )


def test_rounding_is_not_compared():
    """Of a source along the teacher the best scale is the same in all repeats."""
    along = LinearModel(30, np.ones(40) / 6, source_coef=np.full(40, 0.05), noise=0.3)
    assert 0.0 < simulate(along, n_repeats=20).stderr["optimal_scale"] < 1e-12
    assert compare(along, n_repeats=20).names == (
        "risk",
        "bias",
        "variance",
        "risk_scratch",
        "risk_optimal",
    )


def test_results_pickle_and_print():
    run = simulate(CASES["outputs"], n_repeats=4, random_state=0)
    again = pickle.loads(pickle.dumps(run))
    assert again.risk == run.risk
    assert_array_equal(again.source_scale, run.source_scale)
    assert "LinearSimulation(" in repr(run)
    assert run.to_frame().shape[0] == 1


def test_progress_and_stop():
    class Stop(Exception):
        pass

    def stop(done, total):
        assert 0 <= done <= total == 10**6
        raise Stop

    for n_jobs in (1, 2):
        with pytest.raises(Stop):
            simulate(model(), n_repeats=10**6, progress=stop, n_jobs=n_jobs)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"n_repeats": 1}, "n_repeats must be at least 2, got 1"),
        ({}, {"entries": "cauchy"}, "entries must be one of"),
        ({"depth": math.inf, "ridge": 0.1}, {}, "ridge must be 0 at depth inf"),
        ({"ridge": -100.0}, {}, "ridge must exceed minus the smallest"),
    ],
)
def test_refuses(change, arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(model(**change), **arguments)


def test_refuses_another_model():
    with pytest.raises(TypeError, match="model must be a LinearModel"):
        simulate("model")
