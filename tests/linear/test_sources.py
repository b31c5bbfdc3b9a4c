"""Several sources, known or learned: identities, and the price of fitting their weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from retemper.exceptions import ValidityWarning
from retemper.linear import (
    LinearModel,
    LinearSource,
    compare,
    curve,
    mixture_model,
    simulate,
    solve,
)

RNG = np.random.default_rng(3)
D = 120
SPECTRUM = np.linspace(1, D, D) ** -0.7
PAST = RNG.normal(size=(4, D)) / D**0.5
THETA = PAST.T @ np.array([0.8, -0.6, 0.5, 0.3]) + 0.5 * RNG.normal(size=D) / D**0.5
ROWS = RNG.normal(size=(2 * D, D))
COV = ROWS.T @ ROWS / (2 * D)
LEARNED = [
    LinearSource(PAST[0], n_samples_source=200, noise_source=0.3, cov_source=COV),
    LinearSource(PAST[1], n_samples_source=70, noise_source=0.2, ridge_source=0.02),
    LinearSource(PAST[2]),
]


def target(n_samples=50, **changes):
    return LinearModel(n_samples, THETA, **{"spectrum": SPECTRUM, "noise": 0.3, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ridge": 0.1},
        {"ridge": "optimal"},
        {"depth": 3},
        {"depth": 3, "ridge": 0.1},
        {"stop_time": 3.0},
        {"step_size": 0.01},
        {"step_size": 0.01, "n_passes": 2.0},
        {"source_scale": "optimal"},
        {"row_shares": [0.5, 0.5], "row_noise": [1.0, 2.0]},
    ],
)
@pytest.mark.parametrize("cov", [None, COV])
def test_one_source_is_the_learned_source(change, cov):
    given = {"n_samples_source": 200, "noise_source": 0.3, "ridge_source": 0.02, "cov_source": cov}
    old = solve(target(theta_source=PAST[0], **given, **change))
    one = [LinearSource(PAST[0], **given)]
    new = solve(target(sources=one, mixing_weights=[1.0], **change))
    for name in ("risk", "bias", "variance", "risk_optimal", "optimal_scale", "risk_zero_shot"):
        assert getattr(new, name) == pytest.approx(getattr(old, name), rel=1e-12), name


@pytest.mark.parametrize("change", [{}, {"ridge": 0.1}, {"stop_time": 3.0}])
def test_the_best_weight_of_one_source_is_the_best_scale(change):
    one = target(sources=LEARNED[:1], **change)
    scaled = dataclasses.replace(one, mixing_weights=[1.0], source_scale="optimal")
    assert solve(one).risk == pytest.approx(solve(scaled).risk, rel=1e-12)
    assert solve(one).mixing_weights[0] == pytest.approx(solve(scaled).source_scale, rel=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 0.05, 1.0, "optimal"])
@pytest.mark.parametrize("n_samples", [30, 100, 400])
def test_known_sources_are_the_mixture_model(n_samples, ridge):
    plain = target(n_samples, ridge=ridge)
    known = [LinearSource(w) for w in PAST]
    old = solve(mixture_model(plain, PAST))
    new = solve(dataclasses.replace(plain, sources=known, mixing_weights="fitted"))
    for name in ("risk", "bias", "variance", "df1", "df2", "training_error"):
        assert getattr(new, name) == pytest.approx(getattr(old, name), rel=1e-4, abs=1e-9), name


@pytest.mark.parametrize("weights", ["optimal", "fitted"])
def test_infinitely_many_rows_are_a_known_source(weights):
    far = [LinearSource(w, n_samples_source=10**9, noise_source=0.3) for w in PAST]
    near = [LinearSource(w) for w in PAST]
    found, wanted = (
        solve(target(ridge=0.1, sources=each, mixing_weights=weights)) for each in (far, near)
    )
    assert found.risk == pytest.approx(wanted.risk, rel=1e-5)
    assert found.mixing_weights == pytest.approx(wanted.mixing_weights, rel=1e-5)


@pytest.mark.parametrize("weights", ["optimal", "fitted"])
def test_equal_sources(weights):
    """Known or learned without noise from more rows than features: copies add nothing."""
    for source in (
        LinearSource(PAST[0]),
        LinearSource(PAST[0], n_samples_source=2 * D),
    ):
        one, three = (
            solve(target(ridge=0.1, sources=[source] * k, mixing_weights=weights)) for k in (1, 3)
        )
        assert three.risk == pytest.approx(one.risk, rel=1e-9)
        assert three.df1 == pytest.approx(one.df1, rel=1e-9)


def test_noisy_copies_share_the_weight_and_average_the_noise():
    source = LinearSource(PAST[0], n_samples_source=150, noise_source=0.5)
    one, two = (solve(target(ridge=0.1, sources=[source] * k)) for k in (1, 2))
    assert two.mixing_weights[0] == pytest.approx(two.mixing_weights[1], rel=1e-10)
    assert two.risk < one.risk
    # half of the spread at the same mean: noise and what was missed, over two
    half = dataclasses.replace(source, noise_source=0.5 / 2**0.5)
    assert two.risk == pytest.approx(solve(target(ridge=0.1, sources=[half])).risk, rel=1e-10)


@pytest.mark.parametrize(
    "change",
    [{}, {"ridge": 0.1}, {"stop_time": 2.0}, {"row_shares": [0.5, 0.5], "row_noise": [1, 3]}],
)
def test_best_weights_minimise(change):
    model = target(sources=LEARNED, **change)
    best = solve(model)
    assert best.optimal_scale == pytest.approx(1.0, rel=1e-9)
    for k in range(3):
        for step in (-0.05, 0.05):
            other = best.mixing_weights + step * np.eye(3)[k]
            worse = solve(dataclasses.replace(model, mixing_weights=other)).risk
            assert worse > best.risk
    alone = [solve(dataclasses.replace(model, sources=[s])).risk for s in LEARNED]
    assert best.risk < min(alone)


def obvious_fit(model, kappa_high=1e6):
    """Training that chooses the weights, with dense matrices in the space of all components."""
    s = model.spectrum
    from scipy.optimize import brentq

    from retemper.linear.eigenbasis import prepare
    from retemper.linear.mixing import with_laws

    laws = with_laws(prepare(model), model)
    d, k = s.size, len(laws.mean)
    # a source is a vector of its mean and, in a block of its own, its spread
    W = np.zeros((k, d * (k + 1)))
    W[:, :d] = laws.mean
    for j in range(k):
        W[j, d * (j + 1) : d * (j + 2)] = np.sqrt(laws.level[j] * laws.diagonal[j])
    sigma = np.diag(np.tile(s, k + 1))
    theta = np.zeros(d * (k + 1))
    theta[:d] = model.theta_target
    out = np.eye(len(theta)) - np.linalg.pinv(W) @ W
    first = np.zeros(len(theta))
    first[:d] = 1.0
    n = model.n_samples

    def parts(kappa):
        inverse = np.linalg.inv(sigma + kappa * out)
        plain = s / (s + kappa)
        # of the other blocks only what the sources bring counts
        df1 = np.trace(sigma @ inverse) - k * plain.sum()
        hat = sigma @ inverse
        return inverse, df1, np.trace(hat @ hat) - k * (plain**2).sum()

    kappa = brentq(lambda x: x * (1 - parts(x)[1] / n) - model.ridge, 1e-6, 50.0, xtol=1e-14)
    inverse, _, df2 = parts(kappa)
    left = kappa * out @ inverse @ sigma @ inverse @ out * kappa
    return (theta @ left @ theta + model.noise**2 * df2 / n) / (1 - df2 / n)


def test_fitted_weights_against_dense_matrices():
    small = np.arange(24)
    model = LinearModel(
        12, THETA[small], spectrum=SPECTRUM[small], noise=0.3, ridge=0.05, mixing_weights="fitted",
        sources=[
            LinearSource(PAST[0, small], n_samples_source=30, noise_source=0.3),
            LinearSource(PAST[1, small], n_samples_source=10, ridge_source=0.1),
        ],
    )  # fmt: skip
    assert solve(model).risk == pytest.approx(obvious_fit(model), rel=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"mixing_weights": "fitted"},
        {"mixing_weights": "fitted", "ridge": 0.1},
        {"mixing_weights": "fitted", "ridge": "optimal"},
        {"ridge": 0.1},
        {"stop_time": 3.0},
        {"mixing_weights": [0.5, 0.2, -1.0], "depth": 2},
    ],
)
@pytest.mark.parametrize("n_samples", [40, 200])
def test_simulation_agrees(change, n_samples):
    found = compare(target(n_samples, sources=LEARNED, **change), n_repeats=60)
    assert "risk" in found.names
    assert np.abs(found.z).max() < 4


def test_fitted_weights_and_degrees_of_freedom_are_those_of_experiments():
    model = target(sources=LEARNED, mixing_weights="fitted", ridge=0.1)
    theory, sample = solve(model), simulate(model, n_repeats=100, n_jobs=1)
    gap = theory.mixing_weights - sample.mixing_weights
    assert np.abs(gap / sample.stderr["mixing_weights"]).max() < 4
    for name in ("effective_ridge", "df1", "df2"):
        assert getattr(theory, name) == pytest.approx(getattr(sample, name), rel=0.02)


def test_fitting_costs_and_the_price_falls_with_rows():
    found = curve(
        target(sources=LEARNED, mixing_weights="fitted", ridge=0.1), {"n_samples": [20, 80, 640]}
    )
    price = found["risk"] - found["risk_optimal"]
    assert (price > 0.0).all()
    assert (np.diff(price) < 0.0).all()
    assert found["mixing_weights"].shape == (3, 3)


def test_sources_along_a_curve_and_threads():
    model = target(ridge=0.1, sources=LEARNED)
    found = curve(model, {"sources": [LEARNED[:1], LEARNED], "n_samples": [20, 60]}, n_jobs=1)
    for i, several in enumerate((LEARNED[:1], LEARNED)):
        for j, n in enumerate((20, 60)):
            one = dataclasses.replace(model, sources=several, n_samples=n)
            assert found["risk"][i, j] == solve(one).risk
    runs = [simulate(model, n_repeats=4, n_jobs=jobs).samples["risk"] for jobs in (1, 2)]
    assert (runs[0] == runs[1]).all()


def test_a_source_without_information_is_left_out():
    wild = LinearSource(PAST[0], n_samples_source=D, noise_source=0.3)  # infinite spread
    empty = LinearSource(PAST[1], n_samples_source=0)
    model = target(ridge=0.1, sources=[wild, empty, LEARNED[0]])
    found = solve(model)
    assert found.mixing_weights[:2].tolist() == [0.0, 0.0]
    assert found.risk == pytest.approx(
        solve(dataclasses.replace(model, sources=LEARNED[:1])).risk, rel=1e-12
    )
    paid = solve(dataclasses.replace(model, mixing_weights="fitted"))
    less = solve(dataclasses.replace(model, sources=LEARNED[:1], mixing_weights="fitted"))
    assert less.risk < paid.risk < 1.5 * less.risk  # the wild one still costs a row
    with pytest.warns(ValidityWarning, match="n_samples_source"):
        assert np.isinf(solve(dataclasses.replace(model, mixing_weights=[1.0, 0.0, 1.0])).risk)


def test_models_compare_by_value():
    one, two = (target(sources=[LinearSource(PAST[0].copy())]) for _ in range(2))
    assert one == two
    assert len({one, two}) == 1
    assert one != target(sources=[LinearSource(PAST[1])])
    assert one.source_kind == "several"
    assert "LinearSource(theta_source=<array (120,)>)" in repr(one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": []}, "sources must hold a source, got none"),
        ({"sources": [LinearSource([1.0, 2.0])]}, r"sources\[0\] must have 120 features"),
        ({"source_coef": THETA}, "give sources, or source_coef"),
        ({"mixing_weights": [1.0]}, "mixing_weights"),
        ({"mixing_weights": "best"}, "mixing_weights must be one of"),
        ({"depth": 2}, 'mixing_weights="optimal" needs depth 1, got depth 2'),
        ({"mixing_weights": "fitted", "stop_time": 2.0}, "training to the end"),
        ({"mixing_weights": "fitted", "source_scale": 2.0}, "source_scale 1, got 2"),
        ({"mixing_weights": "fitted", "ridge": -0.01}, "ridge must not be negative"),
        ({"mixing_weights": "fitted", "row_shares": [1.0]}, "equal rows"),
        ({"sources": None, "mixing_weights": "fitted"}, "they need sources"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        target(**{"sources": LEARNED, **change})


def test_more_bad_input():
    with pytest.raises(TypeError, match="sources must be a list of LinearSource"):
        target(sources=LEARNED[0])
    with pytest.raises(TypeError, match=r"sources\[0\] must be a LinearSource"):
        target(sources=[PAST[0]])
    with pytest.raises(ValueError, match="they need n_samples_source"):
        LinearSource(PAST[0], noise_source=0.1)
    with pytest.raises(ValueError, match="n_samples must be above 3, the number of independent"):
        solve(target(3, sources=LEARNED, mixing_weights="fitted"))
    with pytest.raises(ValueError, match="one output, got 2"):
        LinearModel(9, np.ones((2, 4)), sources=[LinearSource(np.ones(4))])
    with pytest.raises(ValueError, match="no finite source"):
        mixture_model(target(sources=LEARNED), PAST)
