"""Theory against simulation: within three standard errors and three per cent, in every regime."""

import dataclasses
import math

import numpy as np
import pytest

from retemper.linear import LinearModel, compare, simulate, solve

from . import portable

D5, SRC = portable.D5, portable.SRC


def check(model, *, n_repeats=80, entries="gaussian", slack=0.03, names=None):
    comparison = compare(model, n_repeats=n_repeats, entries=entries, random_state=0)
    gap = np.abs(comparison.theory - comparison.simulation)
    allowed = 3.0 * comparison.stderr + slack * np.abs(comparison.theory)
    for j, name in enumerate(comparison.names):
        if names is None or name in names:
            assert gap[j] <= allowed[j], f"{name}\n{comparison}"


def fixed(n=100, d=200, spectrum=("iso",), noise=0.3, scale=1.0, **other):
    return LinearModel(
        n,
        portable.combine(D5, d),
        spectrum=portable.spectrum(spectrum[0], d, *spectrum[1:]),
        source_coef=scale * portable.combine(SRC, d),
        noise=noise,
        **other,
    )


REGIMES = {
    "iso n < d": fixed(),
    "iso n > d": fixed(n=400),
    "iso noiseless": fixed(noise=0.0),
    "iso ridge": fixed(ridge=0.3),
    "iso negative ridge": LinearModel(
        100,
        np.ones(300) / 300**0.5,
        source_coef=np.full(300, 0.5) / 300**0.5,
        noise=0.3,
        ridge=-0.1,
    ),
    "power": fixed(spectrum=("power", 0.7)),
    "power ridge": fixed(spectrum=("power", 1.0), ridge=0.01),
    "two levels": fixed(spectrum=("two", 0.1), n=60),
    "low rank n < rank": fixed(spectrum=("lowrank", 0.6), n=60),
    "low rank n > rank": fixed(spectrum=("lowrank", 0.3), n=120),
    "deep iso": fixed(depth=4, scale=2.0),
    "deep power noiseless": fixed(depth=3, scale=2.0, spectrum=("power", 0.7), noise=0.0),
    "deep n > d": fixed(depth=3, n=400),
    "infinite depth": fixed(depth=math.inf, scale=0.2),
    "dense": LinearModel(
        80,
        portable.combine(D5, 200),
        cov=portable.covariance("power", 200, 0.7, 0.9),
        source_coef=portable.combine(SRC, 200),
        noise=0.3,
    ),
    "outputs": LinearModel(
        80,
        np.stack([portable.combine(D5, 200), portable.teacher("cos", 200, 0.3)], 1),
        source_coef=np.stack([portable.combine(SRC, 200), portable.teacher("alt", 200)], 1),
        noise=0.3,
        depth=2,
        heads="independent",
    ),
}


@pytest.mark.parametrize("name", REGIMES)
def test_fixed_source(name):
    check(REGIMES[name])


def finite(n=60, n_samples_source=100, ridge=0.0, ridge_source=0.0, q=None, **other):
    d = 200
    source = (
        np.diag(portable.spectrum("two", d, 0.1))
        if q is None
        else portable.covariance("two", d, 0.1, q)
    )
    arguments = {"noise": 0.2, "noise_source": 0.2} | other
    return LinearModel(
        n,
        portable.combine(D5, d),
        spectrum=portable.spectrum("power", d, 0.7),
        theta_source=portable.combine(SRC, d),
        cov_source=source,
        n_samples_source=n_samples_source,
        ridge=ridge,
        ridge_source=ridge_source,
        **arguments,
    )


@pytest.mark.parametrize(
    "model",
    [
        finite(),
        finite(n=100, ridge=0.02, ridge_source=0.1, q=0.9),
        finite(n=400, n_samples_source=500, q=0.9),
        finite(n=0, q=0.9),
        finite(depth=3, q=0.9),
        finite(depth=math.inf, n_samples_source=400),
    ],
    ids=["commuting", "ridges", "much data", "zero shot", "deep", "infinite depth"],
)
def test_finite_source(model):
    check(model, n_repeats=100)


@pytest.mark.parametrize("entries", ["rademacher", "student"])
@pytest.mark.parametrize("name", ["iso n < d", "power", "deep iso"])
def test_universality(name, entries):
    check(REGIMES[name], entries=entries, slack=0.06)


def student(df):
    return lambda rng, size: rng.standard_t(df, size=size) * math.sqrt((df - 2) / df)


def sparse(n_nonzero):
    """Normal entries, of which about that many in a row are not zero."""

    def draw(rng, size):
        share = n_nonzero / size[1]
        return rng.normal(size=size) * (rng.random(size) < share) / math.sqrt(share)

    return draw


def two_sizes(rng, size):
    """Normal rows, half of which are 0.5 and half sqrt(1.75) as large."""
    scale = np.where(rng.random((size[0], 1)) < 0.5, 0.5, math.sqrt(1.75))
    return scale * rng.normal(size=size)


LAWS = {
    "rademacher": "rademacher",
    "student": "student",
    "student of 8": student(8),
    "uniform": lambda rng, size: rng.uniform(-math.sqrt(3), math.sqrt(3), size=size),
    "skew": lambda rng, size: rng.exponential(size=size) - 1.0,
}
UNIVERSAL = {
    "ridge": LinearModel(
        200,
        np.ones(400) / 20,
        source_coef=np.ones(400) / 40,
        noise=0.5,
        spectrum=np.linspace(0.5, 1.5, 400),
        ridge=0.05,
    ),
    "deep": fixed(200, 400, depth=3),
    "early": fixed(200, 400, stop_time=3.0),
}


@pytest.mark.parametrize("name", UNIVERSAL)
@pytest.mark.parametrize("law", LAWS)
def test_independent_entries_agree_within_standard_errors(law, name):
    comparison = compare(UNIVERSAL[name], n_repeats=60, entries=LAWS[law], random_state=1)
    assert np.abs(comparison.z).max() < 4.0, str(comparison)


@pytest.mark.parametrize(
    "law", [student(2.5), sparse(3), two_sizes], ids=["no fourth moment", "sparse", "two sizes"]
)
def test_the_theory_fails_where_norms_of_rows_do_not_concentrate(law):
    comparison = compare(UNIVERSAL["ridge"], n_repeats=60, entries=law, random_state=1)
    j = comparison.names.index("risk")
    assert comparison.z[j] < -8.0  # the simulated risk is larger
    assert comparison.simulation[j] > 1.1 * comparison.theory[j]


def test_rows_of_two_sizes_have_a_theory_of_their_own():
    sizes = {"row_shares": (0.5, 0.5), "row_scale": (0.5, math.sqrt(1.75))}
    theory = solve(dataclasses.replace(UNIVERSAL["ridge"], **sizes))
    found = simulate(UNIVERSAL["ridge"], n_repeats=60, entries=two_sizes, random_state=1)
    for name in ("risk", "bias", "variance", "risk_scratch"):
        gap = abs(getattr(theory, name) - getattr(found, name))
        assert gap < 4.0 * found.stderr[name], name


CHECK_POINTS = [  # spectrum, depth, simulated risk and its error, theory (theory page, section 8)
    ("iso", 1, 0.4467, 0.0036, 0.44478),
    ("iso", 3, 0.2561, 0.0038, 0.25021),
    ("iso", math.inf, 0.1673, 0.0025, 0.16356),
    ("power", 1, 0.1215, 0.0022, 0.12087),
    ("power", 3, 0.1293, 0.0025, 0.12889),
    ("power", math.inf, 0.1390, 0.0031, 0.14198),
]


@pytest.mark.parametrize(("kind", "depth", "risk", "error", "theory"), CHECK_POINTS)
def test_published_check_points(kind, depth, risk, error, theory):
    model = fixed(150, 300, (kind, 1), depth=depth, scale=2.0)
    assert solve(model).risk == pytest.approx(theory, rel=5e-5)
    run = simulate(model, n_repeats=100, random_state=1)
    assert abs(run.risk - risk) < 3.0 * math.hypot(error, run.stderr["risk"])
    check(model)


def test_published_check_point_of_a_finite_source():
    model = finite(n=60, n_samples_source=100, q=0.9, noise=0.3, noise_source=0.3)
    zero_shot = finite(n=0, n_samples_source=100, q=0.9, noise=0.3, noise_source=0.3)
    for one in (model, zero_shot):
        check(one, n_repeats=150)


@pytest.mark.slow
def test_deviations_of_many_regimes_are_those_of_chance():
    """z-scores of independent settings have mean 0 and size 1, and not if noise is 3 % off."""
    right, wrong = [], []
    for n in (120, 160, 200, 240, 280):
        for depth in (1, 2, 5):
            model = fixed(n, 400, noise=0.5, depth=depth)
            run = simulate(model, n_repeats=60, random_state=n)
            for factor, z in ((1.0, right), (1.03, wrong)):
                theory = solve(dataclasses.replace(model, noise=factor * model.noise))
                z.append((theory.risk - run.risk) / run.stderr["risk"])

    def is_chance(z):
        return abs(np.mean(z)) < 3 / np.sqrt(len(z)) and 0.5 < np.sqrt(np.mean(np.square(z))) < 1.5

    assert is_chance(right)
    assert not is_chance(wrong)
