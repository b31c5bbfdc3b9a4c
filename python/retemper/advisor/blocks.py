"""Target rows that are read in blocks: their spread, and moments of some of them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retemper._sources import LARGEST_LABEL
from retemper._validation import FloatArray, check_entries
from retemper.linear.ridge.path import RESOLVED
from retemper.linear.ridge.streaming import (
    Moments,
    StreamedRows,
    block_moments,
    is_streamed,
    moments,
)

__all__ = ["TargetRows", "streams"]

#: Rows in a file, or on a cluster, are read in blocks from this number of entries on; those in
#: memory from the other one, above which copies in double precision would be large.
MOST_MAPPED = 2**22
MOST_IN_MEMORY = 2**26


def streams(X: Any) -> bool:
    """Whether rows are so many that they are read in blocks.

    Parameters
    ----------
    X : object
        Rows.

    Returns
    -------
    bool
        For memory-mapped and dask arrays of more than ``MOST_MAPPED`` entries, and arrays of more
        than ``MOST_IN_MEMORY``; they are longer than wide.
    """
    if is_streamed(X):
        return int(X.shape[0]) * int(X.shape[1]) > MOST_MAPPED
    plain = type(X) is np.ndarray and X.ndim == 2 and X.dtype.kind in "fiu"
    return bool(plain and X.size > MOST_IN_MEMORY and X.shape[0] > X.shape[1] + 1)


class _Spread(NamedTuple):
    """Number, means, centred sums of squares and largest sizes of rows, (d,) each."""

    n_rows: int
    mean: FloatArray
    square: FloatArray
    largest: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> _Spread:
        check_entries(rows, "X", largest=LARGEST_LABEL)
        mean = rows.mean(axis=0)
        return cls(
            len(rows), mean, np.square(rows - mean).sum(axis=0), np.abs(rows).max(axis=0)
        )  # fmt: skip

    def joined(self, other: _Spread) -> _Spread:
        count = self.n_rows + other.n_rows
        shift = other.mean - self.mean
        square = np.square(shift) * (self.n_rows * other.n_rows / count)
        return _Spread(
            count,
            self.mean + shift * (other.n_rows / count),
            self.square + other.square + square,
            np.maximum(self.largest, other.largest),
        )


class TargetRows(StreamedRows):
    """Rows of a target that are read in blocks.

    Moments of the folds of cross-validation are taken in one pass, and those of the rows to learn
    from are joined from them.
    """

    def __init__(self, array: Any, scale: FloatArray | None = None) -> None:
        super().__init__(array, scale)
        self._fold: NDArray[np.intp] | None = None
        self._parts: list[Moments] = []
        self._total: Moments | None = None

    def scaled(self, scale: FloatArray) -> TargetRows:
        """The same rows in other units."""
        return TargetRows(self.array, scale)

    def spread(self, still: float, smallest: float) -> tuple[FloatArray, FloatArray]:
        """Means and scales of the columns.

        Parameters
        ----------
        still, smallest : float
            A column whose spread is below the larger of ``still`` times its entries and
            ``smallest`` does not vary; its scale is the size of its entries.

        Returns
        -------
        tuple of ndarray of shape (d,)
            Means and scales.
        """
        found: _Spread | None = None
        for _, part in self.map(_Spread.of):
            found = part if found is None else found.joined(part)
        assert found is not None
        first = np.asarray(self.array[:1], dtype=np.float64)[0]
        scale = np.sqrt(found.square / found.n_rows)
        flat = scale <= np.maximum(still * found.largest, smallest)
        size = np.where(found.largest > smallest, found.largest, 1.0)
        return np.where(flat, first, found.mean), np.where(flat, size, scale)

    def split(self, folds: list[NDArray[np.intp]]) -> None:
        """Take the moments of folds that cover all rows once.

        Parameters
        ----------
        folds : list of ndarray
            Numbers of rows.
        """
        fold = np.empty(self.shape[0], dtype=np.intp)
        for k, rows in enumerate(folds):
            fold[rows] = k
        parts: list[Moments | None] = [None] * len(folds)
        for _, found in self.map(partial(_moments_of_folds, many=len(folds)), fold):
            for k, part in enumerate(found):
                before = parts[k]
                if part is not None:
                    parts[k] = part if before is None else before.joined(part)
        self._fold = fold
        self._parts = [part for part in parts if part is not None]

    def moments_of(self, rows: NDArray[np.intp]) -> Moments:
        """Moments of some rows.

        Parameters
        ----------
        rows : ndarray of shape (m,)
            Numbers of rows, ascending.

        Returns
        -------
        Moments
            Joined from those of folds where the rows are whole folds.
        """
        whole: list[Moments] = []
        if len(rows) == self.shape[0] and self._total is not None:
            return self._total
        if self._fold is not None:
            inside = np.bincount(self._fold[rows], minlength=len(self._parts))
            whole = [part for part, m in zip(self._parts, inside, strict=True) if m == part.n_rows]
        if sum(part.n_rows for part in whole) == len(rows):
            total = whole[0]
            for part in whole[1:]:
                total = total.joined(part)
        else:
            total = moments(self.part(rows))
        if len(rows) == self.shape[0]:
            self._total = total
        return total

    def rank_and_left(self, column: FloatArray) -> tuple[int, float]:
        """Rank of the rows with a constant, and the squares of a column that they do not explain.

        Parameters
        ----------
        column : ndarray of shape (n,)
            The column.

        Returns
        -------
        tuple
            Rank and sum of squares.
        """
        total, centred = self.moments_of(np.arange(self.shape[0])), column - column.mean()
        along = np.zeros(self.shape[1])
        for _, part in self.map(partial(_along, mean=total.mean), centred):
            along += part
        ev, right = linalg.eigh(total.square, driver="evd", check_finite=False)
        kept = ev > RESOLVED * ev[-1]
        explained = np.square(along @ right[:, kept]) / ev[kept]
        return int(kept.sum()) + 1, max(float(centred @ centred - explained.sum()), 0.0)


def _moments_of_folds(rows: FloatArray, fold: NDArray[np.intp], many: int) -> list[Moments | None]:
    inside = (rows[fold == k] for k in range(many))
    return [block_moments(some) if len(some) else None for some in inside]


def _along(rows: FloatArray, column: FloatArray, mean: FloatArray) -> FloatArray:
    return np.asarray((rows - mean).T @ column)
