"""One argument of every documented call is replaced: an error names it, or the result is sound."""

from __future__ import annotations

import numpy as np
import pytest

from .fuzz import Call, documented_calls, faults, judge

CALLS = documented_calls()
#: Seconds; a loaded machine is slow, a call that never ends takes longer.
PATIENCE = 30.0


@pytest.mark.parametrize("path", sorted(CALLS))
def test_every_documented_call_refuses_or_answers(path):
    found, _ = faults(CALLS[path], patience=PATIENCE)
    assert not found, "\n".join(map(str, found))


def test_most_public_functions_have_a_documented_call():
    assert len(CALLS) > 170


def call_of(function):
    return Call("here", function, (1.0,), {})


def test_the_judge_sees_every_kind_of_fault():
    def unnamed(width):
        raise ValueError("this is wrong")

    def internal(width):
        raise AttributeError("no attribute width")

    def silent(width):
        return {"risk": [np.nan]}

    def endless(width):
        while True:
            pass

    def sound(width):
        raise ValueError("width must be positive, got -1")

    kinds = {unnamed: "unnamed", internal: "internal", silent: "silent", endless: "endless"}
    for function, kind in kinds.items():
        assert judge(call_of(function), "width", "-1", -1.0, 0.2).fault == kind
    assert judge(call_of(sound), "width", "-1", -1.0, 0.2) is None
