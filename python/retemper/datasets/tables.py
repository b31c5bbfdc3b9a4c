"""Tables on disk, read whole and checked before anything else happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table"]

_SHOWN = 5  # names or rows listed in a message


def read_table(path: Path, label: str) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Features and labels of a CSV file with a line of column names (needs pandas).

    Parameters
    ----------
    path : Path
        The file; fields separated by commas, semicolons or tabs.
    label : str
        Column of the labels: numbers, or names of classes.

    Returns
    -------
    X : pandas.DataFrame of shape (n_samples, n_features)
        The other columns, as float64.
    y : pandas.Series of shape (n_samples,)
        The labels.

    Raises
    ------
    ValueError
        If the file is not a table, has no such column, no features, two columns of one name,
        missing values, or text where numbers are needed; the message names file, column and line.
    OSError
        If the file cannot be read.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        separator = max(",;\t", key=first.count)
        # names are read as a row: pandas would rename the second of two equal ones
        table = pd.read_csv(path, sep=separator, header=None, dtype=str, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of comma-separated values: {error}") from error
    names = [str(name).strip() for name in table.iloc[0]]
    body = table.iloc[1:].reset_index(drop=True)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has several columns of the name {_list(twice)}")
    body.columns = pd.Index(names)
    if label not in names:
        raise ValueError(f"{path} has no column {label!r}; its columns are {_list(names)}")
    if len(names) < 2:
        raise ValueError(f"{path} has no column beside {label!r}: there are no features")
    if not len(body):
        raise ValueError(f"{path} has column names and no rows")
    missing = body.isna()
    if missing.to_numpy().any():
        columns = [name for name in names if missing[name].any()]
        lines = np.flatnonzero(missing.any(axis=1)) + 2
        raise ValueError(
            f"{path} has missing values in {len(lines)} rows (lines {_list(lines)}; columns "
            f"{_list(columns)}): drop or fill them first"
        )
    numbers = body.apply(pd.to_numeric, errors="coerce")
    text = numbers.isna()
    words = [name for name in names if name != label and text[name].any()]
    if words:
        line = int(np.flatnonzero(text[words[0]])[0])
        raise ValueError(
            f"{path} has text where numbers are needed, in columns {_list(words)}; the first is "
            f"{body[words[0]].iloc[line]!r} in line {line + 2}: encode or drop these columns"
        )
    y = body[label].str.strip() if text[label].any() else numbers[label]
    X = numbers.drop(columns=label).astype(np.float64)
    if not np.isfinite(X.to_numpy()).all():
        columns = [name for name in X if not np.isfinite(X[name]).all()]
        raise ValueError(f"{path} has infinite values in columns {_list(columns)}")
    return X, y


def _list(items: Any) -> str:
    listed = [repr(item) if isinstance(item, str) else str(item) for item in items]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
