"""CSV files as users have them."""

import numpy as np
import pytest

from retemper.datasets import read_table

GOOD = "a,b,grade\n1,2,0.5\n3,4.5,-1\n"


def write(folder, text, **options):
    path = folder / "table.csv"
    path.write_text(text, **options)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_numbers_and_names(tmp_path, separator):
    X, y = read_table(write(tmp_path, GOOD.replace(",", separator)), "grade")
    assert list(X) == ["a", "b"]
    np.testing.assert_array_equal(X, [[1, 2], [3, 4.5]])
    np.testing.assert_array_equal(y, [0.5, -1])
    assert {str(t) for t in X.dtypes} == {"float64"}


def test_byte_order_mark_and_spaces(tmp_path):
    X, y = read_table(
        write(tmp_path, "a, b ,kind\n1,2, cat\n3,4,dog \n", encoding="utf-8-sig"), "kind"
    )
    assert list(X) == ["a", "b"]
    assert list(y) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("grade", "mark"), "no column 'grade'; its columns are 'a', 'b', 'mark'"),
        ("grade\n1\n", "no column beside 'grade'"),
        ("a,b,grade\n", "no rows"),
        ("", "not a table"),
        (GOOD + "1,2,3,4,5\n", "not a table"),
        (GOOD.replace("3", ""), "missing values in 1 rows .lines 3; columns 'a'"),
        (GOOD.replace("-1", ""), "missing values in 1 rows .lines 3; columns 'grade'"),
        (GOOD.replace("4.5", "red"), "text where numbers are needed.*'b'.*'red' in line 3"),
        (GOOD.replace("b", "a"), "several columns of the name 'a'"),
        (GOOD.replace("3", "inf"), "infinite values in columns 'a'"),
    ],
)
def test_bad_files_are_named_with_column_and_line(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as stop:
        read_table(path, "grade")
    assert str(path) in str(stop.value)


def test_binary_and_absent_files(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(OSError, match=r"table\.csv"):
        read_table(path, "grade")
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(ValueError, match="not a table"):
        read_table(path, "grade")
