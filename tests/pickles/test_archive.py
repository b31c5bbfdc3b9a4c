"""Pickles of every release can be read, and say what they said."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle

import pytest
from numpy.testing import assert_allclose

import retemper
from retemper import estimators
from retemper._pickles import _minor
from retemper.exceptions import VersionWarning

from .make import HERE, numbers

ARCHIVES = {path.stem: json.loads(path.read_text("utf-8")) for path in HERE.glob("*.json")}
PICKLES = [(version, name) for version, archive in ARCHIVES.items() for name in archive]


@pytest.mark.parametrize(("version", "name"), PICKLES)
@pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
def test_a_pickle_is_read_and_says_the_same(version, name):
    kept = ARCHIVES[version][name]
    other = _minor(version) != _minor(retemper.__version__)
    with pytest.warns(VersionWarning) if other else contextlib.nullcontext():
        thing = pickle.loads(base64.b64decode(kept["pickle"]))
    assert kept["numbers"]
    assert_allclose(numbers(thing), kept["numbers"], rtol=1e-7, atol=1e-10)


def test_this_version_is_in_the_archive():
    archive = ARCHIVES[retemper.__version__]  # if not: python -m tests.pickles.make
    assert set(estimators.__all__) <= set(archive)
