"""Columns of rows: their names, rows as numbers, and rows of a source in the target's order."""

from __future__ import annotations

from typing import Any

import numpy as np

from retemper._validation import FloatArray, as_float_array, check_entries

#: Fourth powers of labels and of predictions must not overflow.
LARGEST_LABEL = 1e60
#: Marks frames of encoded rows, behind which stands a table with text or gaps; its columns.
ENCODED = "retemper: encoded"


def column_names(X: Any) -> tuple[str, ...] | None:
    """Names of the columns of a data frame.

    Parameters
    ----------
    X : array_like or data frame
        Rows.

    Returns
    -------
    tuple of str or None
        The names; None if there are none, or not all of them are text.
    """
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return tuple(names) if names and all(isinstance(name, str) for name in names) else None


def read_rows(X: Any, name: str) -> FloatArray:
    """Rows of numbers from an array or a data frame.

    Parameters
    ----------
    X : array_like or data frame of shape (m, d)
        Rows.
    name : str
        The argument, for messages.

    Returns
    -------
    ndarray of shape (m, d)
        The same, float64.

    Raises
    ------
    ValueError
        If columns are not numbers or have one name, values are missing, infinite or beyond 1e60,
        or there is no column; the columns are named.
    TypeError
        If it is sparse, or holds no real numbers.
    """
    if hasattr(X, "iloc") and hasattr(X, "dtypes") and np.ndim(X) == 2:
        twice = sorted({str(c) for c in X.columns[X.columns.duplicated()]})
        if twice:
            raise ValueError(f"{name} must have columns of different names, got twice: {twice}")
        wrong = [
            str(c) for c, kind in zip(X.columns, X.dtypes, strict=True) if kind.kind not in "fiub"
        ]
        if wrong:
            raise ValueError(
                f"{name} has columns that are not numbers: {wrong}; encode or drop them first"
            )
        empty = [str(c) for c in X.columns if X[c].isna().any()]
        if empty:
            raise ValueError(f"{name} has missing values in columns {empty}; drop or fill them")
        X = X.to_numpy(dtype=np.float64)
    rows = as_float_array(X, name, ndim=2)
    check_entries(rows, name, largest=LARGEST_LABEL)
    if not rows.shape[1]:
        raise ValueError(f"{name} must have at least one feature, got shape {rows.shape}")
    return rows


def match_columns(theirs: Any, X: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """Rows of a source with the columns of the target, in its order.

    Parameters
    ----------
    theirs : array_like or data frame of shape (m, d')
        Source rows.
    X : array_like or data frame of shape (n, d)
        Target rows.
    name : str
        The argument of the source, for messages.

    Returns
    -------
    array_like or data frame of shape (m, d), tuple of str
        Source rows, and what a reader should know.

    Raises
    ------
    ValueError
        If columns of the target are missing, or without names their numbers differ.
    """
    mine, own = column_names(X), column_names(theirs)
    flags: tuple[str, ...] = ()
    if mine is not None and own is not None:
        lacking = [c for c in mine if c not in set(own)]
        if lacking:
            raise ValueError(f"{name} lacks columns of X: {lacking}; it has {list(own)}")
        extra = [c for c in own if c not in set(mine)]
        if extra:
            flags = (f"columns that X does not have are left out: {', '.join(extra)}",)
        return theirs[list(mine)], flags
    width, d = np.shape(theirs)[1], np.shape(X)[1]
    if width != d:
        raise ValueError(
            f"{name} has {width} features, X has {d}; with named columns on both sides they are "
            "matched by name"
        )
    return theirs, flags


def pick_columns(rows: FloatArray, names: tuple[str, ...] | None, X: Any, name: str) -> FloatArray:
    """`match_columns` for rows whose columns have names beside them.

    Parameters
    ----------
    rows : ndarray of shape (m, d')
        Source rows.
    names : tuple of str or None
        Names of their columns.
    X : array_like or data frame of shape (n, d)
        Target rows.
    name : str
        The argument of the source, for messages.

    Returns
    -------
    ndarray of shape (m, d)
        Source rows, columns in the order of the target's.

    Raises
    ------
    ValueError
        As in `match_columns`.
    """
    mine = column_names(X)
    if mine is None or names is None:
        matched, _ = match_columns(rows, X, name)
        return np.asarray(matched)
    lacking = [c for c in mine if c not in set(names)]
    if lacking:
        raise ValueError(f"{name} lacks columns of X: {lacking}; it has {list(names)}")
    return np.ascontiguousarray(rows[:, [names.index(c) for c in mine]])
