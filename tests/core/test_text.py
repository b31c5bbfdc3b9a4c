"""Numbers and tables as text, values as JSON."""

from __future__ import annotations

import errno
import json
import math

import numpy as np
import pytest

from retemper._text import interval, number, plain, table, whole_file


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


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fail(error):
        with whole_file(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(KeyError):
        fail(KeyError())
    assert path.read_text() == "before"
    with pytest.raises(OSError, match="not written: No space left") as caught:
        fail(OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.filename == str(path)
    with whole_file(path) as part:
        part.write_text("after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]
