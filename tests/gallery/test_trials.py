"""The runs and trials behind the figures can be repeated."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.gallery import (
    METHODS,
    RUNS,
    few_label_accuracies,
    few_label_accuracy,
    few_labels,
    run_seeds,
)


def test_few_labels_on_a_bundled_table():
    X, y = few_labels.table("digits 3 against 8")
    assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    two = few_label_accuracy(X, y, 2, 2)
    assert two.shape == (len(METHODS), 2)
    assert ((two > 0.3) & (two <= 1)).all()
    assert_array_equal(two[:, 0], few_label_accuracy(X, y, 2, 1)[:, 0])
    mean, error = few_label_accuracies("digits 3 against 8", (2,), 2)
    assert_allclose(mean[:, 0], two.mean(axis=1))
    assert_allclose(error[:, 0], abs(two[:, 0] - two[:, 1]) / 2)
    with pytest.raises(ValueError, match="name must be one of"):
        few_labels.table("wine")


def test_runs_are_named_and_repeatable(monkeypatch):
    short = RUNS["parity"]._replace(settings={"hidden": (8, 8), "n_steps": 4})
    monkeypatch.setitem(RUNS, "parity", short)
    one, two = run_seeds("parity", 2), run_seeds("parity", 1)
    assert_array_equal(one[0].curve("hidden2")[1], two[0].curve("hidden2")[1])
    assert (one[0].curve("hidden2")[1] != one[1].curve("hidden2")[1]).all()
    assert list(one[0].history_[0]["hidden1"].probes) == ["source", "digit"]
    with pytest.raises(ValueError, match="name must be one of"):
        run_seeds("nothing")
    assert np.isfinite(one[0].curve("hidden2")[1]).all()
