"""Fine-tuning from the best mixture of several sources, against simulation and its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from retemper.linear import LinearModel, compare, mixture_model, solve

RNG = np.random.default_rng(3)
D = 120
SPECTRUM = np.linspace(1, D, D) ** -0.7
SOURCES = RNG.normal(size=(6, D)) / D**0.5
THETA = SOURCES.T @ RNG.normal(size=6) + 0.7 * RNG.normal(size=D) / D**0.5


def joint_fit(X, y, W, ridge):
    """Factors and coefficients together: the factors are coordinates without a penalty."""
    n, d = X.shape
    features = np.hstack([X, X @ W.T])
    penalty = np.concatenate([np.ones(d), np.zeros(len(W))])
    both = np.linalg.solve(features.T @ features / n + ridge * np.diag(penalty), features.T @ y / n)
    return both[:d] + W.T @ both[d:]


@pytest.mark.parametrize("n_samples", [30, 100, 400])
@pytest.mark.parametrize("ridge", [0.05, 1.0])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_risk_is_that_of_fitting_factors_and_coefficients_together(n_samples, ridge, noise):
    rng = np.random.default_rng(0)
    model = LinearModel(n_samples, THETA, spectrum=SPECTRUM, noise=noise, ridge=ridge)
    risks = []
    for _ in range(60):
        X = rng.normal(size=(n_samples, D)) * np.sqrt(SPECTRUM)
        y = X @ THETA + noise * rng.normal(size=n_samples)
        risks.append(float((joint_fit(X, y, SOURCES, ridge) - THETA) ** 2 @ SPECTRUM))
    theory = solve(mixture_model(model, SOURCES)).risk
    stderr = np.std(risks, ddof=1) / len(risks) ** 0.5
    assert abs(np.mean(risks) - theory) < 3.5 * stderr + 3.0 / n_samples * theory


def test_simulation_of_the_model_agrees():
    model = LinearModel(60, THETA, spectrum=SPECTRUM, noise=0.5, ridge=0.2)
    found = compare(mixture_model(model, SOURCES), n_repeats=60)
    assert np.abs(found.z).max() < 4


@pytest.mark.parametrize("n", [10, 60, 100])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_factor_costs_a_row(n, noise):
    """Isotropic rows, no ridge: n - K rows are left for what the K sources do not span."""
    k = len(SOURCES)
    span = np.linalg.qr(SOURCES.T)[0]
    rest = THETA - span @ (span.T @ THETA)
    beta = (n - k) / (D - k)
    expected = (1.0 - beta) * rest @ rest * n / (n - k)
    expected += noise**2 * (k + (n - k) * beta) / ((n - k) * (1.0 - beta))
    theory = solve(mixture_model(LinearModel(n, THETA, noise=noise), SOURCES))
    assert theory.risk == pytest.approx(expected, rel=1e-5)


def test_a_target_in_the_span_without_noise_is_found():
    theta = SOURCES.T @ np.arange(1.0, 7.0)
    model = LinearModel(30, theta, spectrum=SPECTRUM, ridge=0.1)
    assert solve(mixture_model(model, SOURCES)).risk < 1e-6 * solve(model).risk


def test_one_source_costs_no_more_than_its_scale():
    model = LinearModel(60, THETA, spectrum=SPECTRUM, noise=0.5, ridge=0.3)
    at_scale = solve(dataclasses.replace(model, source_coef=SOURCES[0])).risk_optimal
    free = solve(mixture_model(model, SOURCES[:1])).risk
    assert at_scale < free < 1.1 * at_scale


def test_lengths_copies_zeros_and_coordinates_do_not_matter():
    model = LinearModel(50, THETA, spectrum=SPECTRUM, noise=0.5, ridge=0.3)
    risk = solve(mixture_model(model, SOURCES)).risk
    other = np.vstack([1e6 * SOURCES[::-1], SOURCES[0] + SOURCES[1], np.zeros(D)])
    assert solve(mixture_model(model, other)).risk == pytest.approx(risk, rel=1e-6)
    turn = np.linalg.qr(RNG.normal(size=(D, D)))[0]
    turned = LinearModel(
        50, turn @ THETA, cov=turn @ np.diag(SPECTRUM) @ turn.T, noise=0.5, ridge=0.3
    )
    assert solve(mixture_model(turned, SOURCES @ turn.T)).risk == pytest.approx(risk, rel=1e-6)


def test_a_fixed_source_may_stand_beside():
    model = LinearModel(50, THETA, spectrum=SPECTRUM, source_coef=THETA, noise=0.0, ridge=0.3)
    assert solve(mixture_model(model, SOURCES)).risk < 1e-12


def test_many_sources_in_a_common_subspace():
    # eight sources in three dimensions, 25 labels: no single one comes near
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(40, 3)))[0]
    sources = (basis @ rng.normal(size=(3, 8))).T
    model = LinearModel(25, basis @ rng.normal(size=3), noise=0.1, ridge="optimal")
    alone = min(solve(dataclasses.replace(model, source_coef=w)).risk for w in sources)
    together = solve(mixture_model(model, sources)).risk
    assert together < 0.002
    assert alone > 50 * together


@pytest.mark.parametrize(
    ("change", "sources", "message"),
    [
        ({}, np.ones((2, 3)), "sources must have 120 columns"),
        ({}, np.zeros((2, D)), "a source that is not zero"),
        ({"depth": 2}, SOURCES, "depth 1"),
        ({"theta_source": THETA, "n_samples_source": 9}, SOURCES, "no finite source"),
        ({"theta_target": SOURCES}, SOURCES, "one output"),
    ],
)
def test_bad_input(change, sources, message):
    model = LinearModel(**{"n_samples": 20, "theta_target": THETA} | change)
    with pytest.raises(ValueError, match=message):
        mixture_model(model, sources)


def test_the_model_must_be_one():
    with pytest.raises(TypeError, match="model must be a LinearModel"):
        mixture_model(THETA, SOURCES)
