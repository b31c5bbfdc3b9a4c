"""Pickles carry the version, and one of another minor version warns when it is read."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

from retemper import _pickles
from retemper._results import Sweep
from retemper.diagonal import DiagonalModel, solve
from retemper.exceptions import VersionWarning
from retemper.linear import FineTunedLinearRegression

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
THINGS = {
    "estimator": FineTunedLinearRegression(ridge=0.1, source=np.ones(3)).fit(X, X.sum(axis=1)),
    "result": solve(DiagonalModel(0.3)),
    "sweep": Sweep({"alpha": np.array([0.2, 0.3])}, {"mse": np.array([0.4, 0.1])}),
}


@pytest.mark.parametrize("name", THINGS)
def test_same_version_is_silent_and_equal(name):
    thing = THINGS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = pickle.loads(pickle.dumps(thing))
        twin = copy.deepcopy(thing)
    for other in (again, twin):
        assert "_retemper_version" not in vars(other)
        assert set(vars(other)) == set(vars(thing))


@pytest.mark.parametrize("name", THINGS)
def test_another_minor_version_warns(name, monkeypatch):
    monkeypatch.setattr(_pickles, "__version__", "0.0.9")
    old = pickle.dumps(THINGS[name])
    monkeypatch.setattr(_pickles, "__version__", "0.1.3")
    with pytest.warns(VersionWarning, match=r"was pickled by retemper 0\.0\.9 and is read by 0\.1"):
        pickle.loads(old)


def test_a_patch_release_is_silent(monkeypatch):
    monkeypatch.setattr(_pickles, "__version__", "0.1.0")
    old = pickle.dumps(THINGS["result"])
    monkeypatch.setattr(_pickles, "__version__", "0.1.9")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(old)
