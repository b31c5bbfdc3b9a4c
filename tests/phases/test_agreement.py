"""Theory against training on samples; the command behind the documented numbers is longer."""

import numpy as np
import pytest

from retemper.phases import FeatureModel, LogisticModel, compare, simulate, solve

FM = FeatureModel(10, (3, 1), (1, 0.2), n_noise=50, noise_sd=0.5)
RANK = np.arange(1.0, 9.0)
LM = LogisticModel(1 / RANK, 0.6 * RANK**-0.5, 0.1 * np.cos(2 * RANK))


def test_feature_model():
    found = compare(FM, [0, 1, 4], task=(1, 0), n_samples=50_000, n_repeats=6, random_state=0)
    assert len(found.names) == 6
    assert (np.abs(found.z) < 4.5).all(), found
    assert np.abs(found.theory - found.simulation)[1:3].max() < 2e-3


def test_logistic_model():
    found = compare(LM, [0, 1, 8], step_size=0.1, n_samples=20_000, random_state=0)
    assert (np.abs(found.z) < 4.5).all(), found
    assert np.abs(found.theory - found.simulation).max() < 0.02


def test_bias_of_finite_samples_falls_as_one_over_n():
    exact = solve(FM, 4.0, step_size=0.1).fuv[0]
    gaps = [
        simulate(FM, 4.0, step_size=0.1, n_samples=n, n_repeats=12, random_state=0).fuv[0] - exact
        for n in (1000, 4000)
    ]
    assert 2.5 < gaps[0] / gaps[1] < 6.0


@pytest.mark.parametrize("model", [FM, LM])
def test_threads_and_seeds(model):
    one = simulate(model, [0.0, 1.0], n_samples=500, n_repeats=3, random_state=7, n_jobs=1)
    two = simulate(model, [0.0, 1.0], n_samples=500, n_repeats=3, random_state=7, n_jobs=2)
    other = simulate(model, [0.0, 1.0], n_samples=500, n_repeats=3, random_state=8)
    name = "fuv" if model is FM else "fuv_prob"
    np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (getattr(one, name) != getattr(other, name)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(FM, [1.0, 0.5]), "increase"),
        (lambda: simulate(FM, 0.33, step_size=0.1), "whole multiples"),
        (lambda: simulate(FM, 10.0, step_size=2.0, n_samples=500), "step_size must lie below"),
        (lambda: simulate(FM, 1.0, n_repeats=1), "n_repeats"),
        (lambda: simulate(LM, 1.0, task=[1]), "belongs to"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
