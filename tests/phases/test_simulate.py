"""Theory against training on samples; the command behind the documented numbers is longer."""

import dataclasses

import numpy as np
import pytest

from retemper.exceptions import NumericalError, ValidityWarning
from retemper.phases import FeatureModel, LogisticModel, compare, simulate, solve

FM = FeatureModel(10, (3, 1), (1, 0.2), n_noise=50, noise_sd=0.5)
RANK = np.arange(1.0, 9.0)
LM = LogisticModel(1 / RANK, 0.6 * RANK**-0.5, 0.1 * np.cos(2 * RANK))


def test_feature_model():
    model = dataclasses.replace(FM, times=[0, 1, 4])
    found = compare(model, task=(1, 0), n_samples=50_000, n_repeats=6)
    assert len(found.names) == 6
    assert (np.abs(found.z) < 4.5).all(), found
    assert np.abs(found.theory - found.simulation)[1:3].max() < 2e-3


def test_logistic_model():
    model = dataclasses.replace(LM, times=[0, 1, 8], step_size=0.1)
    found = compare(model, n_samples=20_000)
    assert (np.abs(found.z) < 4.5).all(), found
    assert np.abs(found.theory - found.simulation).max() < 0.02


def test_bias_of_finite_samples_falls_as_one_over_n():
    model = dataclasses.replace(FM, times=4.0, step_size=0.1)
    exact = solve(model).fuv[0]
    gaps = [simulate(model, n_samples=n, n_repeats=12).fuv[0] - exact for n in (1000, 4000)]
    assert 2.5 < gaps[0] / gaps[1] < 6.0


@pytest.mark.parametrize("model", [FM, LM])
def test_threads_and_seeds(model):
    model, calls = dataclasses.replace(model, times=[0.0, 1.0]), []
    size = {"n_samples": 500, "n_repeats": 3}
    one = simulate(model, **size, random_state=7, n_jobs=1, progress=lambda *at: calls.append(at))
    two = simulate(model, **size, random_state=7, n_jobs=2)
    other = simulate(model, **size, random_state=8)
    name = "fuv" if isinstance(model, FeatureModel) else "fuv_prob"
    np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (getattr(one, name) != getattr(other, name)).all()
    np.testing.assert_array_equal(one.samples[name].mean(axis=0), getattr(one, name))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_experiment_takes_a_step_of_its_own_or_that_of_the_model():
    model = dataclasses.replace(LM, times=[0.0, 0.1])
    own = simulate(model, n_samples=500, n_repeats=2)
    assert own.model.step_size == 0.05
    given = simulate(dataclasses.replace(model, step_size=0.05), n_samples=500, n_repeats=2)
    np.testing.assert_array_equal(own.fuv_prob, given.fuv_prob)
    long = simulate(dataclasses.replace(model, step_size=0.1), n_samples=500, n_repeats=2)
    assert long.fuv_prob[1] != own.fuv_prob[1]
    assert long.n_iter == 1


def test_curves_that_overflow_are_not_valid():
    wild = LogisticModel([1e120], [1e120], [1e120], [0.0])
    with pytest.warns(ValidityWarning, match="simulate"):
        assert simulate(wild, n_samples=50, n_repeats=2).status == "invalid"
    with pytest.raises(NumericalError, match="simulate"):
        simulate(wild, n_samples=50, n_repeats=2, on_failure="raise")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(dataclasses.replace(FM, times=[1.0, 0.5])), "increase"),
        (lambda: simulate(dataclasses.replace(FM, times=0.33)), "whole multiples"),
        (
            lambda: simulate(dataclasses.replace(FM, times=10.0, step_size=2.0), n_samples=500),
            "step_size must lie below",
        ),
        (lambda: simulate(FM, n_repeats=1), "n_repeats"),
        (lambda: simulate(FM, on_failure="shout"), "on_failure"),
        (lambda: simulate(LM, task=[1]), "belongs to"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
