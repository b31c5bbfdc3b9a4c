"""What is read off a layer: folds, pooled units, labels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.exceptions import ValidityWarning
from retemper.phases import (
    reconstruction_score,
)
from retemper.phases.instrument.targets import assign_folds, pool_units

from .digits import X, hidden


def test_groups_stay_together():
    groups = np.repeat(np.arange(40), 7)
    fold = assign_folds(280, 5, groups)
    assert all(np.unique(fold[groups == g]).size == 1 for g in range(40))
    assert np.bincount(fold).tolist() == [56] * 5
    # copies of one image in several folds flatter the decoder
    rng = np.random.default_rng(0)
    copies = X[:40][groups] + 0.01 * rng.normal(size=(280, 64))
    H = np.tanh(copies @ rng.normal(size=(64, 60)))
    honest = reconstruction_score(H, copies, groups=groups)
    assert honest.fuv > reconstruction_score(H, copies).fuv + 0.1
    assert_array_equal(honest.fuv_path, reconstruction_score(H, copies, folds=fold).fuv_path)


def test_very_wide_layers_are_pooled_to_an_upper_bound():
    H = np.random.default_rng(0).normal(size=(40, 5000))
    pooled, was = pool_units(H, most=4096)
    assert was
    assert pooled.shape == (40, 4096)
    assert_allclose((pooled**2).sum(), (H**2).sum(), rtol=0.05)
    with pytest.warns(ValidityWarning, match="upper bound"):
        assert reconstruction_score(H, X[:40]).is_upper_bound


def test_one_class_is_left_out_with_a_warning():
    with pytest.warns(ValidityWarning, match="one class only"):
        score = reconstruction_score(hidden(), X[:300], targets={"flat": np.ones(300, int)})
    assert score.probes == {}


def test_sketch_is_unbiased_and_repeatable():
    H = hidden()
    exact = reconstruction_score(H, X[:300]).fuv
    found = [reconstruction_score(H, X[:300], sketch=64, random_state=s).fuv for s in range(20)]
    assert abs(np.mean(found) - exact) < 4 * np.std(found) / np.sqrt(20)
    again = reconstruction_score(H, X[:300], sketch=64, random_state=3).fuv
    assert again == found[3]


def test_task_weights_and_real_targets():
    H = hidden()
    weights = np.zeros(64)
    weights[[20, 21]] = 1.0
    pair = reconstruction_score(
        H, X[:300], task_weights=weights, targets={"pair": X[:300, [20, 21]]}
    )
    assert_allclose(pair.fuv, 1.0 - pair.probes["pair"].r2, rtol=1e-10)
    assert pair.probes["pair"].accuracy is None
