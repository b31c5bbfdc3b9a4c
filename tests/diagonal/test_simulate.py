"""Simulations against the theory in all regimes, and their bookkeeping."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.diagonal import (
    Component,
    DiagonalModel,
    compare,
    minimum_penalty,
    simulate,
    solve,
)
from retemper.exceptions import ConvergenceWarning, NumericalError

CASES = {
    "I": {"alpha": 0.25, "balance": -0.9999, "noise": 0.2},
    "II": {"alpha": 0.1, "omega": 1.0, "balance": 0.99},
    "III": {"alpha": 0.5, "omega": 0.0, "rho_ft": 0.9, "readout_scale": 1.0},
    "IV": {"alpha": 0.3, "balance": -0.99, "noise": math.sqrt(0.1)},
    "warm": {"alpha": 0.25, "init_scale": 0.01, "mode": "warm", "shared": "aligned"},
    "scratch": {"alpha": 0.4, "init_scale": 1e-4, "mode": "scratch", "noise": 0.3},
    "penalised": {"alpha": 1.2, "init_scale": 0.01, "mu": 0.3, "noise": 0.7},
    "finite source": {"alpha": 0.3, "init_scale": 0.01, "alpha_pt": 0.4, "balance": 0.5},
    "apart": {"alpha": 0.3, "readout_scale": 0.5, "noise": 0.2, "rebalance": "none"},
    "apart, aligned": {
        "alpha": 0.25,
        "balance": -0.5,
        "init_scale": 0.01,
        "readout_scale": 1.0,
        "shared": "aligned",
        "rebalance": "none",
    },
    "apart, finite source": {
        "alpha": 0.3,
        "init_scale": 0.01,
        "readout_scale": 0.5,
        "alpha_pt": 0.4,
        "rebalance": "none",
    },
    "mean": {"alpha": 0.3, "balance": 0.5, "noise": 0.2, "rebalance": "mean"},
    "noisy source": {"alpha": 0.2, "init_scale": 0.01, "alpha_pt": 1.5, "noise_pt": 0.3},
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "noisy source" else n for n in CASES]
)
def test_theory_and_simulation_agree(name):
    found = compare(DiagonalModel(**CASES[name]), n_features=400, n_repeats=20, random_state=3)
    assert np.all(np.abs(found.z) < 4), str(found)
    assert np.all(found.stderr < 0.2 * np.abs(found.theory))


def test_the_comparison_can_fail():
    """A theory with another scale is refused by the same experiment."""
    sample = simulate(DiagonalModel(**CASES["IV"]), n_features=400, n_repeats=20, random_state=3)
    other = solve(DiagonalModel(**(CASES["IV"] | {"readout_scale": 3.0})))
    assert abs(other.mse - sample.mse) > 4 * sample.stderr["mse"]


def test_ways_to_rebalance_differ_by_more_than_their_errors():
    """Keeping the pathways apart is neither their sum nor their mean; without a read-out, their
    mean at a balance of its own."""
    case = {"alpha": 0.3, "shared": "aligned", "readout_scale": 1.0}
    apart, added, averaged = (
        solve(DiagonalModel(**case, rebalance=r)).mse for r in ("none", "sum", "mean")
    )
    assert len({round(v, 3) for v in (apart, added, averaged)}) == 3
    # with gamma = 0 and balance 0 the scale is h / 2 for "none" and (h + c) / 4 for "mean"
    tiny = {"alpha": 0.3, "init_scale": 0.0, "rho_pt": 1.0, "rho_ft": 0.3, "omega": 1.0}
    none = solve(DiagonalModel(**tiny, a_pt=1.0, rebalance="none")).mse
    mean = solve(DiagonalModel(**tiny, a_pt=2.0, rebalance="mean")).mse
    assert_allclose(none, mean, rtol=1e-8)


def test_a_feature_frozen_away_from_zero_is_refused():
    stuck = DiagonalModel(
        0.3, init_scale=0.0, balance=-1.0, readout_scale=1.0, rebalance="none", omega=0.2
    )
    with pytest.raises(ValueError, match="frozen at a coefficient"):
        solve(stuck)


def test_correlated_components_are_drawn_as_described():
    law = (
        Component(weight=0.4, source_mean=1.0, source_var=0.5, target_mean=0.3, target_var=1.0,
                  covariance=0.6, group="both"),
        Component(weight=0.6, group="none"),
    )  # fmt: skip
    model = DiagonalModel(0.35, components=law, init_scale=0.05)
    sample = simulate(model, n_features=400, n_repeats=20, random_state=1)
    theory = solve(model)
    assert abs(theory.mse - sample.mse) < 4 * sample.stderr["mse"]
    assert_allclose(sample.group_mse, theory.group_mse, rtol=0.15)
    assert_allclose(sample.group_forgetting, theory.group_forgetting, rtol=0.15)


def test_fields():
    sample = simulate(DiagonalModel(0.3, noise=0.2), n_features=150, n_repeats=3)
    assert_allclose(sample.test_error, sample.mse + 0.04)
    assert_allclose(sample.group_weight @ sample.group_mse, sample.mse)
    assert_allclose(sample.group_weight @ sample.group_forgetting, sample.forgetting)
    assert_allclose(sample.samples["mse"].mean(), sample.mse)
    assert sample.n_samples == 45
    assert sample.residual < 1e-11
    assert_allclose(sample.dof, 0.3)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_do_not_change_a_bit(n_jobs):
    model = DiagonalModel(0.3, alpha_pt=0.5)
    one, several = (
        simulate(model, n_features=100, n_repeats=5, n_jobs=k).samples for k in (1, n_jobs)
    )
    assert one.keys() == several.keys()
    for name, values in one.items():
        assert_array_equal(several[name], values)


def test_repeats_are_addressed():
    def mse(n_repeats, seed):
        found = simulate(DiagonalModel(0.3), n_features=100, n_repeats=n_repeats, random_state=seed)
        return found.samples["mse"]

    assert_array_equal(mse(6, 7)[:3], mse(3, 7))
    assert not np.any(mse(3, 8) == mse(3, 7))


def test_progress_and_sizes():
    seen = []
    simulate(DiagonalModel(0.3), n_features=50, n_repeats=3, n_jobs=1,
             progress=lambda *a: seen.append(a))  # fmt: skip
    assert seen[-1] == (3, 3)
    with pytest.raises(ValueError, match="n_repeats"):
        simulate(DiagonalModel(0.3), n_features=50, n_repeats=1)
    with pytest.raises(ValueError, match="n_features"):
        simulate(DiagonalModel(0.3), n_features=0)


def test_experiments_that_end_early_are_counted_once(monkeypatch):
    """Of three experiments, each of two fits, those of the first and the last stop early."""
    solved = []

    def impatient(*data, **options):
        solved.append(options)
        return minimum_penalty(*data, **options, max_iter=1 if len(solved) in (1, 6) else 500)

    monkeypatch.setattr("retemper.diagonal._simulate.minimum_penalty", impatient)
    model = DiagonalModel(0.3, alpha_pt=0.5)
    with pytest.warns(ConvergenceWarning, match="2 of 3 experiments") as said:
        found = simulate(model, n_features=50, n_repeats=3, n_jobs=1)
    assert len(said) == 1
    assert found.status == "max_iter"
    solved.clear()
    with pytest.raises(NumericalError, match="2 of 3 experiments"):
        compare(model, n_features=50, n_repeats=3, n_jobs=1, on_failure="raise")
