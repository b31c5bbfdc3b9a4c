"""Numbers and tables as text, values as JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from retemper._text import interval, number, plain, table


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (0.0, True, "0"),
        (1.23456, False, "1.23"),
        (1.23456, True, "+1.23"),
        (-12345.6, False, "-12,346"),
        (1e9, False, "1e+09"),
        (math.nan, True, "—"),
    ],
)
def test_number(value, sign, text):
    assert number(value, sign=sign) == text


def test_interval():
    assert interval(1.0, 0.5, 2.0) == "1 [0.5, 2]"
    assert interval(1.0, math.nan, math.nan) == "1"
    assert interval(math.nan, 0.0, 1.0) == "—"


def test_table_aligns_columns():
    assert (
        table([("name", "x"), ("a", "10"), ("longer", "3")]) == "name     x\na       10\nlonger   3"
    )


def test_plain_is_json():
    value = {"a": np.arange(2), 3: (np.float64(0.1), math.inf, -math.inf, math.nan), "b": True}
    got = json.loads(json.dumps(plain(value), allow_nan=False))
    assert got == {"a": [0, 1], "3": [0.1, "inf", "-inf", None], "b": True}
