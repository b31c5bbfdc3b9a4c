"""The linear model as a value, and what it refuses."""

import dataclasses
import pickle

import numpy as np
import pytest

from retemper.linear import (
    LinearModel,
)


def test_models_are_values():
    theta = np.ones(5)
    one = LinearModel(3, theta, spectrum=[1, 2, 3, 4, 5])
    theta[0] = 7
    two = LinearModel(np.int64(3), np.ones(5, np.float32), spectrum=np.arange(1, 6), noise=0)
    assert one == two
    assert hash(one) == hash(two)
    assert one.theta_target[0] == 1
    assert not one.theta_target.flags.writeable
    assert len({one, two, dataclasses.replace(one, noise=0.1)}) == 2
    assert one != dataclasses.replace(one, spectrum=None, cov=np.diag(one.spectrum))
    assert one != "something else"
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert hash(again) == hash(one)
    assert "theta_target=<array (5,)>" in repr(one)
    assert (one.n_outputs, one.source_kind) == (1, "none")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.n_samples = 4


ones = np.ones(4)


BAD_MODELS = [
    ({"n_samples": -1}, ValueError, "n_samples must be at least 0, got -1"),
    ({"n_samples": 2.5}, TypeError, "n_samples must be an integer"),
    ({"theta_target": np.ones((2, 2, 2))}, ValueError, "theta_target must be 1-D or 2-D"),
    ({"theta_target": []}, ValueError, "theta_target must not be empty"),
    ({"theta_target": [1, np.nan]}, ValueError, r"theta_target\[1\] is nan"),
    ({"theta_target": ["a"]}, TypeError, "theta_target must hold real numbers"),
    ({"spectrum": -ones}, ValueError, "spectrum must have non-negative entries, got -1.0"),
    ({"spectrum": np.ones(3)}, ValueError, r"spectrum must have shape \(4\), got \(3,\)"),
    ({"cov": np.ones((4, 3))}, ValueError, r"cov must have shape \(4, 4\)"),
    ({"cov": np.triu(np.ones((4, 4)))}, ValueError, "cov must be symmetric"),
    ({"cov": -np.eye(4)}, ValueError, "cov must have non-negative diagonal"),
    ({"cov": np.eye(4), "spectrum": ones}, ValueError, "spectrum or cov, not both"),
    ({"noise": -0.1}, ValueError, "noise must lie in"),
    ({"noise": np.inf}, ValueError, "noise must lie in"),
    ({"ridge": "auto"}, TypeError, "ridge must be a real number"),
    ({"depth": 0}, ValueError, "depth must be at least 1"),
    ({"depth": 1.5}, TypeError, "depth must be an integer"),
    ({"source_coef": np.ones((1, 4))}, ValueError, r"source_coef must have shape \(4\)"),
    ({"source_coef": ones, "theta_source": ones, "n_samples_source": 3}, ValueError, "not both"),
    ({"theta_source": ones}, ValueError, "needs both theta_source and n_samples_source"),
    ({"n_samples_source": 5}, ValueError, "needs both theta_source and n_samples_source"),
    ({"noise_source": 0.1}, ValueError, "noise_source describes a finite source"),
    ({"cov_source": ones}, ValueError, "cov_source describes a finite source"),
    (
        {"theta_source": ones, "n_samples_source": -1},
        ValueError,
        "n_samples_source must be at least 0",
    ),
]


@pytest.mark.parametrize(("changes", "error", "match"), BAD_MODELS)
def test_bad_models(changes, error, match):
    with pytest.raises(error, match=match):
        LinearModel(**({"n_samples": 3, "theta_target": ones} | changes))
