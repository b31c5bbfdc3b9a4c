"""Errors of a direction and of its sign, against quadrature and sampling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, special

import retemper.perceptron as pc


@given(st.floats(0, 0.9999), st.floats(0, 3))
def test_error_has_its_symmetry_and_bounds(R, kappa):
    error = pc.generalization_error(R, kappa)
    assert 0 <= error <= 0.5 + 1e-12
    assert_allclose(pc.generalization_error(-R, kappa), 1 - error, rtol=1e-12)
    assert error <= pc.generalization_error(R) + 1e-12


def test_error_without_margin_is_the_angle():
    R = np.linspace(-1, 1, 41)
    assert_allclose(pc.generalization_error(R), np.arccos(R) / np.pi, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("kappa", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("R", [0.1, 0.7, 0.99])
def test_error_against_adaptive_quadrature(kappa, R):
    def integrand(h):
        gauss = math.exp(-h * h / 2) / math.sqrt(2 * math.pi)
        return gauss * special.ndtr(-R * h / math.sqrt(1 - R * R))

    slow = integrate.quad(integrand, kappa, kappa + 12, epsabs=0, epsrel=1e-12)[0]
    assert_allclose(pc.generalization_error(R, kappa), slow / special.ndtr(-kappa), rtol=1e-10)


@pytest.mark.parametrize(("q", "kappa", "sigma"), [(0.717, 1, 0), (0.01, 0.5, 0), (0.5, 0, 0.3)])
def test_one_label_errs_like_one_row(q, kappa, sigma):
    one = pc.sign_error(q, kappa, sigma=sigma)
    row = pc.generalization_error(math.sqrt(q), kappa, sigma=sigma)
    assert_allclose(one.probability, row, rtol=1e-12)
    flipped = pc.sign_error(q, kappa, sigma=sigma, eta_l=0.1).probability
    assert_allclose(flipped, 0.8 * row + 0.1, rtol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.1])
def test_several_labels_against_sampling(eta):
    q, kappa, n = 0.4, 0.7, 200_000
    rng = np.random.default_rng(3)
    z = np.linspace(-10, 10, 20_001)
    log_w = pc.channel_score(math.sqrt(q) * z, 1 - q, kind="labelled", kappa=kappa, eta=eta).log_w
    mass = np.cumsum(np.exp(log_w - z * z / 2))
    odds = log_w - log_w[::-1]
    for k in (2, 3):
        drawn = odds[np.searchsorted(mass / mass[-1], rng.uniform(size=(n, k)))].sum(axis=1)
        wrong = (drawn < 0).mean()
        got = pc.sign_error(q, kappa, k, eta_l=eta)
        assert abs(got.probability - wrong) < 4 * math.sqrt(wrong / n)
        assert got.probability <= 0.5 * math.exp(-k * got.exponent) + 1e-9
