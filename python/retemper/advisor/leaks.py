"""Whether a source has seen the labels that judge it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from retemper._sources import ENCODED, Source
from retemper._validation import FloatArray
from retemper.advisor.encoding import moved

__all__ = [
    "column_flags",
    "forgets",
    "leaves_too_little",
    "row_keys",
    "row_space",
    "shared_rows",
    "squares_too_few",
]

#: Standardised entries that differ by less than about this are equal.
_EQUAL = 1e-6
#: Fewer different rows than this are a property of the columns, not copies.
_LEAST_DIFFERENT = 20
#: Columns are the labels if their correlation with them is one within this.
_SAME_LINE = 1e-10
#: Shared rows are copies of the target's if at least this part has the label of the target.
_SAME_LABELS = 0.9
#: A linear source that leaves less than an honest one does with this probability is suspected.
_LEVEL = 1e-3
#: Rows are moved by this part of the spread of every column, this often in either direction.
_STEP, _MOVES = 0.5, 6
#: A source that saw the rows loses this factor when they are moved, and this part of the spread.
_FACTOR, _PART = 3.0, 0.1
#: Rows that are moved at most.
_MOST_ROWS = 500


def shared_rows(
    keys: NDArray[np.bytes_],
    labels: NDArray[Any],
    source_keys: NDArray[np.bytes_],
    source_labels: NDArray[Any],
) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    """Rows of the target that are among those of a source.

    Parameters
    ----------
    keys : ndarray of shape (n,)
        Of the target rows, as `row_keys` gives them.
    labels : ndarray of shape (n,)
        Their labels.
    source_keys : ndarray of shape (m,)
        Of the source rows in the same units.
    source_labels : ndarray of shape (m,)
        Their labels.

    Returns
    -------
    tuple
        Numbers of the target rows and of the source rows that are equal, and whether these are
        copies: they nearly all have the labels of the target too, where rows seldom agree by
        chance.
    """
    none = np.empty(0, dtype=np.intp)
    code, row, first = np.unique(keys, return_index=True, return_inverse=True)
    if len(code) < min(_LEAST_DIFFERENT, len(keys)):
        return none, none, False
    place = np.minimum(np.searchsorted(code, source_keys), len(code) - 1)
    there = np.flatnonzero(code[place] == source_keys)
    if not len(there):
        return none, none, False
    here = np.flatnonzero(np.isin(first, place[there]))
    mine, other = labels[row[place[there]]], source_labels[there]
    if mine.dtype.kind in "fiub" and other.dtype.kind in "fiub":
        mine, other = mine.astype(np.float64), other.astype(np.float64)
        same = np.abs(mine - other) <= 1e-9 * max(float(np.ptp(labels.astype(np.float64))), 1e-300)
    else:
        same = mine.astype(np.str_) == other.astype(np.str_)
    return here, there, bool(same.mean() >= _SAME_LABELS)


def row_keys(rows: FloatArray) -> NDArray[np.bytes_]:
    """Keys that are equal where rows are equal or nearly so.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows, of columns of unit variance.

    Returns
    -------
    ndarray of shape (n,)
        Digests of 16 bytes.
    """
    rounded = np.round(rows / _EQUAL) + 0.0
    keys = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rounded]
    return np.array(keys, dtype="S16")


def row_space(X: FloatArray) -> FloatArray:
    """Orthonormal basis of what linear models of the rows can say.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows, of columns of unit variance.

    Returns
    -------
    ndarray of shape (n, rank)
        Spans the constant and the columns.
    """
    design = np.column_stack([np.ones(len(X)), X])
    if design.shape[0] >= design.shape[1]:
        Q, core = linalg.qr(design, mode="economic")
    else:
        Q, core = np.eye(len(X)), linalg.qr(design.T, mode="r")[0][: len(X)].T
    turned, sizes, _ = linalg.svd(core, full_matrices=False)
    rank = int((sizes > sizes[0] * max(design.shape) * np.finfo(float).eps).sum())
    return np.asarray(Q @ turned[:, :rank])


def leaves_too_little(
    basis: FloatArray, y: FloatArray, scores: FloatArray, *, is_regression: bool
) -> bool:
    r"""Whether a linear source leaves less than one that has not seen the labels can.

    The best linear fit to the rows leaves RSS. For the true coefficients, with normal noise,
    (loss - RSS) / RSS follows an F law, and any other source that is independent of the labels
    leaves more. A fit to these very labels leaves about RSS: the lower tail. For two classes the
    same with the deviance, which follows a chi-squared law where rows are many, and is larger where
    they are fewer.

    Parameters
    ----------
    basis : ndarray of shape (n, rank)
        Of the rows, as `row_space` gives it.
    y : ndarray of shape (n,)
        Numbers, or classes 0 and 1.
    scores : ndarray of shape (n, 1)
        Predictions, or logits of class 1.
    is_regression : bool
        Whether labels are numbers.

    Returns
    -------
    bool
        False also where there are too few rows to say: with n at most d + 2, and for classes
        below three rows of either class for each column.

    Notes
    -----
    Derived here (`advise#leaks`). Any move away from the source bounds the deviance from below, so
    the search for the best fit ends at the first move that gains more than the threshold.
    """
    n, rank = basis.shape
    f = scores[:, 0]
    if is_regression:
        if n < rank + 3:
            return False
        best = basis @ (basis.T @ (y - f))
        left, more = float(np.square(y - f - best).sum()), float(np.square(best).sum())
        return squares_too_few(y, rank, left, more)
    if min(y.sum(), n - y.sum()) < 3 * rank:
        return False

    def deviance(move: FloatArray) -> float:
        """That the source leaves beyond what it leaves after a move."""
        z = f + move
        return 2.0 * float((np.logaddexp(0, f) - np.logaddexp(0, z) + y * move).sum())

    enough = float(special.chdtri(rank, 1 - _LEVEL))
    move, gained = np.zeros(n), 0.0
    for _ in range(100):  # Newton's steps, shortened until they gain: the deviance is concave
        p = special.expit(f + move)
        curve = basis.T @ (basis * np.maximum(p * (1 - p), 1e-12)[:, None])
        step = basis @ linalg.solve(curve, basis.T @ (y - p), assume_a="pos")
        now = deviance(move + step)
        while np.abs(step).max() >= 1e-8 and not now > gained:
            step /= 2
            now = deviance(move + step)
        move, gained = move + step, now
        if gained >= enough:
            return False
        if np.abs(step).max() < 1e-8:
            return True
    return False


def squares_too_few(y: FloatArray, rank: int, left: float, more: float) -> bool:
    """Whether a linear source leaves fewer squares than one that has not seen the labels can.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels, more than three beyond the rank.
    rank : int
        Of the rows and the constant.
    left : float
        Squares that the best linear fit leaves.
    more : float
        Squares that the source leaves beyond these.

    Returns
    -------
    bool
        As `leaves_too_little` says.
    """
    n = len(y)
    if n < rank + 3 or left <= 1e-20 * float(np.square(y - y.mean()).sum()):
        return False
    tail = special.fdtr(rank, n - rank, more / rank / (left / (n - rank)))
    return bool(tail < _LEVEL)


def column_flags(
    rows: FloatArray, y: FloatArray, classes: NDArray[Any] | None, names: Sequence[str]
) -> list[str]:
    """Columns that are the labels, a line in them or one value for every class, or count the rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows.
    y : ndarray of shape (n,)
        Numbers, or classes as 0, 1, ...
    classes : ndarray of shape (k,) or None
        The classes; None for numbers.
    names : sequence of str
        Names of the columns.

    Returns
    -------
    list of str
        What to say of them.
    """
    if classes is None:
        rest, spread = y - y.mean(), rows.std(axis=0)
        size = np.sqrt(len(y)) * float(linalg.norm(rest)) * np.where(spread > 0.0, spread, np.inf)
        told = np.abs(rest @ rows) > (1.0 - _SAME_LINE) * size
    else:
        told = np.ptp(rows, axis=0) > 0.0
        for code in range(len(classes)):
            told &= np.ptp(rows[y == code], axis=0) == 0.0
    counts = (np.diff(rows, axis=0) == 1.0).all(axis=0)
    said = [
        ("tell every label by themselves", told, "Were they made from the labels? Leave them out"),
        ("count the rows", counts, "Leave them out unless they are a time"),
    ]
    return [
        f"columns that {what}: {', '.join(names[j] for j in np.flatnonzero(some).tolist())}. {then}"
        for what, some, then in said
        if some.any()
    ]


def forgets(
    source: Source,
    given: Any,
    rows: FloatArray,
    y: FloatArray,
    *,
    n_classes: int,
    rng: np.random.Generator,
) -> bool:
    """Whether a source knows the labels at the rows alone, and not beside them.

    Rows are moved in pairs of opposite directions. A function that varies over the columns hardly
    changes on average over such pairs; a memory of single rows is lost.

    Parameters
    ----------
    source : Source
        Known by its predictions, for any row.
    given : object
        The rows as the user passed them.
    rows : ndarray of shape (n, d)
        The same as numbers.
    y : ndarray of shape (n,)
        Labels; classes as 0, 1, ...
    n_classes : int
        Number of classes; 0 for numbers.
    rng : Generator
        Randomness of the moves.

    Returns
    -------
    bool
        Whether the squared error (of probabilities, for classes) at the rows is less than a third
        of that of the averages beside them, by a tenth of the spread of the labels or more.
    """
    n = len(rows)
    frame = given.columns if hasattr(given, "columns") else None
    if frame is not None and (
        len(frame) != rows.shape[1]
        or any(getattr(kind, "kind", "O") not in "fiub" for kind in given.dtypes)
    ):
        return False  # text and categories cannot be moved
    some = rng.permutation(n)[:_MOST_ROWS]
    rows, y = np.asarray(rows[some], dtype=np.float64), y[some]
    spread = rows.std(axis=0)
    table = getattr(given, "attrs", {}).get(ENCODED)
    if table and frame is not None:  # behind the rows: its text stands still
        spread = np.where([name in table for name in frame], spread, 0.0)

    def answers(at: FloatArray) -> FloatArray:
        if frame is None:
            value = source.predict(at)
        else:
            seen = type(given)(at, columns=frame)
            seen.attrs.update(given.attrs)
            with moved(seen, some) if table else nullcontext():
                value = source.predict(at, seen)
        if n_classes == 0:
            return value
        value = np.hstack([0 * value, value]) if value.shape[1] == 1 else value
        return np.asarray(special.softmax(value, axis=1))

    target = y[:, None] if n_classes == 0 else np.eye(n_classes)[y.astype(np.intp)]
    here = float(np.square(answers(rows) - target).sum(axis=1).mean())
    total = np.zeros_like(target)
    for k in range(_MOVES):
        move = _STEP * rng.normal(size=rows.shape)
        try:
            total += answers(rows + spread * move) + answers(rows - spread * move)
        except (
            TypeError,
            ValueError,
        ):  # whole numbers may be codes of kinds, of which it knows few
            spread = np.where((rows == np.round(rows)).all(axis=0), 0.0, spread)
            if k or not spread.any():
                return False
            total[:] = answers(rows + spread * move) + answers(rows - spread * move)
    beside = float(np.square(total / (2 * _MOVES) - target).sum(axis=1).mean())
    whole = float(np.square(target - target.mean(axis=0)).sum(axis=1).mean())
    return math.isfinite(beside) and beside > _FACTOR * here and beside - here > _PART * whole
