"""Formulas of other people's papers, written down from memory, and recomputed."""

import math

import numpy as np
import pytest

from retemper.linear import LinearModel, hidden_columns_model, solve


@pytest.mark.parametrize("gamma", [0.2, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("signal", [0.25, 1.0, 9.0])
def test_optimal_ridge_of_dobriban_and_wager(gamma, signal):
    """Ann. Statist. 46 (2018) 247, identity covariance: the best ridge gamma / alpha² and the error
    [1 + a + sqrt((1 - a)² + 4 alpha²)] / 2 with a = alpha² (gamma - 1) / gamma."""
    d = 200
    model = LinearModel(
        round(d / gamma), np.full(d, (signal / d) ** 0.5), noise=1.0, ridge="optimal"
    )
    found = solve(model)
    a = signal * (gamma - 1.0) / gamma
    error = 0.5 * (1.0 + a + math.sqrt((1.0 - a) ** 2 + 4.0 * signal))
    assert found.risk + 1.0 == pytest.approx(error, rel=1e-9)
    assert found.used_ridge == pytest.approx(gamma / signal, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.2, 0.8, 1.25, 5.0])
def test_ridgeless_risk_of_hastie_and_others(gamma):
    """Ann. Statist. 50 (2022) 949, isotropic: sigma² gamma / (1 - gamma) below one,
    r² (1 - 1/gamma) + sigma² / (gamma - 1) above."""
    d, r2, noise = 200, 5.0, 0.7
    found = solve(LinearModel(round(d / gamma), np.full(d, (r2 / d) ** 0.5), noise=noise))
    below = noise**2 * gamma / (1.0 - gamma)
    above = r2 * (1.0 - 1.0 / gamma) + noise**2 / (gamma - 1.0)
    assert found.risk == pytest.approx(below if gamma < 1.0 else above, rel=1e-9)


@pytest.mark.parametrize("seen", [5_000, 20_000])
def test_weak_features_of_belkin_hsu_and_xu(seen):
    """SIAM J. Math. Data Sci. 2 (2020) 1167: p of D Gaussian columns, the error on new rows, exact.

    (b + s²)(1 + p/(n - p - 1)) below n, a (1 - n/p) + (b + s²)(1 + n/(p - n - 1)) above; a and b
    are the squared coefficients of seen and hidden columns. Theory in high dimension is the same
    up to 1/n."""
    n, whole, noise = 10_000, 25_000, 0.3
    theta = np.sin(1.0 + np.arange(whole)) * (2.0 / whole) ** 0.5
    part = hidden_columns_model(LinearModel(n, theta, noise=noise), np.arange(seen, whole))
    a, b = theta[:seen] @ theta[:seen], theta[seen:] @ theta[seen:]
    if seen < n:
        exact = (b + noise**2) * (1.0 + seen / (n - seen - 1))
    else:
        exact = a * (1.0 - n / seen) + (b + noise**2) * (1.0 + n / (seen - n - 1))
    assert solve(part).risk + part.noise**2 == pytest.approx(exact, rel=3e-4)
