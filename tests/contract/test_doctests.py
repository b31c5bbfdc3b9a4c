"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import retemper

MODULES = sorted(m.name for m in pkgutil.walk_packages(retemper.__path__, "retemper."))


@pytest.mark.parametrize("name", [m for m in MODULES if "._core" not in m and "._cpu" not in m])
def test_doctests(name):
    if name.startswith(("retemper.networks.", "retemper.phases.torch")):
        pytest.importorskip("torch", reason="needs the extra retemper[torch]")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    outcome = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert outcome.failed == 0
