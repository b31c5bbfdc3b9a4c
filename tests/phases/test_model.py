"""Models: fields, defaults, what they refuse."""

import dataclasses

import numpy as np
import pytest

from retemper.phases import (
    FeatureModel,
    LogisticModel,
    solve,
)

from .problems import FM, at


def test_models_compare_by_value_and_are_frozen():
    same = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], 0.0, 50, 0.5)
    assert same == FM
    assert hash(same) == hash(FM)
    assert same != dataclasses.replace(FM, n_noise=49)
    assert FM.times.tolist() == [0, 1, 2, 4, 8, 16, 32, 64]
    for array in (FM.signal, FM.times):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(TypeError, match="FeatureModel or a LogisticModel"):
        solve("model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_classes": 1}, "n_classes must be at least 2"),
        ({"signal": ()}, "signal must not be empty"),
        ({"class_noise": (1,)}, "class_noise must have shape"),
        ({"class_noise": (1, -1)}, "non-negative"),
        ({"shared_noise": -1.0}, "shared_noise"),
        ({"n_noise": -1}, "n_noise"),
        ({"noise_sd": np.nan}, "noise_sd"),
        ({"init_scale": -0.1}, "init_scale"),
    ],
)
def test_bad_feature_models(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FM, **change)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: at(-1.0), "times must be non-negative"),
        (lambda: at(1.0, step_size=0.3), "whole multiples"),
        (lambda: at(1.0, step_size=-0.1), "step_size"),
        (lambda: LogisticModel([0.0], [1.0], [1.0]), "positive entries"),
    ],
)
def test_bad_times_and_variances(call, message):
    with pytest.raises(ValueError, match=message):
        call()
