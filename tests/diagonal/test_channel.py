"""The scalar channel of pre-training and of fits."""

import math

import numpy as np
from numpy.testing import assert_allclose

from retemper.diagonal import (
    Component,
    DiagonalModel,
    ScalarChannel,
    channel_estimate,
    minimum_penalty,
    pretraining_channel,
    solve,
)


def test_pretraining_is_fine_tuning_of_the_source_from_scratch():
    pre = DiagonalModel(0.2, init_scale=0.05, alpha_pt=0.4, noise_pt=0.3)
    law = (Component(weight=0.1, target_mean=1.0), Component(weight=0.9))
    fine = solve(DiagonalModel(0.4, mode="scratch", init_scale=0.05, noise=0.3, components=law))
    found = pretraining_channel(pre)
    assert_allclose(
        [found.tau, found.effective_mu, found.dof], [fine.tau, fine.effective_mu, fine.dof]
    )


def test_pretraining_on_everything_or_of_nothing_leaves_no_noise():
    assert pretraining_channel(DiagonalModel(0.2)) == ScalarChannel(0.0, 0.0, 1.0)
    nothing = DiagonalModel(0.2, rho_pt=0.0, omega=0.0, alpha_pt=0.3)
    assert pretraining_channel(nothing) == ScalarChannel(0.0, 0.0, 0.3)


def test_estimate_solves_its_equation_and_sees_least_squares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 80)) / math.sqrt(80)
    y, scale = rng.normal(size=30), 10.0 ** rng.uniform(-2, 0, 80)
    for mu in (0.0, 0.2):
        fit = minimum_penalty(X, y, scale, mu=mu)
        found = channel_estimate(scale, fit.coef, fit.dual, 30, mu=mu)
        weight = 2 * np.hypot(scale, fit.coef)
        dof = np.mean(weight / (weight + found.effective_mu))
        assert_allclose(found.effective_mu * (30 / 80 - dof), mu, atol=1e-10)
        assert_allclose(found.dof, dof)
        assert_allclose(found.tau, 30 / 80 * np.mean((found.effective_mu * fit.dual) ** 2))
    over = channel_estimate(np.ones(10), np.ones(10), np.zeros(40), 40, train_error=0.6)
    assert_allclose(40 / 10 * over.tau, 0.6 * (40 / 30) ** 2)  # generalised cross-validation
    assert channel_estimate(np.ones(10), np.ones(10), np.zeros(10), 10).tau == math.inf
