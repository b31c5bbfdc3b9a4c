"""Ridge paths of rows that do not fit in memory: memory-mapped files and dask arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from retemper._extras import load
from retemper._sources import LARGEST_LABEL
from retemper._validation import FloatArray, check_entries
from retemper.linear.ridge.path import RESOLVED, RidgePath

__all__ = ["Moments", "StreamedPath", "StreamedRows", "is_streamed", "moments"]

#: Rows that are read at once.
ROWS = 8192
#: Above this ratio of eigenvalues coordinates come from products of rows and columns: their
#: relative error is rounding over this.
EVEN = 1e-5
#: Blocks of a dask array that are asked for at once.
_WAVE = 32


def is_streamed(X: Any) -> bool:
    """Whether rows are read in blocks: a memory-mapped array or a dask array, longer than wide.

    Parameters
    ----------
    X : object
        Rows.

    Returns
    -------
    bool
        The answer.
    """
    mapped = isinstance(X, np.memmap) or (hasattr(X, "dask") and hasattr(X, "rechunk"))
    return bool(mapped and X.ndim == 2 and X.dtype.kind in "fiu" and X.shape[0] > X.shape[1] + 1)


class StreamedRows:
    """Rows that are read in blocks, and numbers that are computed where the blocks are.

    Parameters
    ----------
    array : memmap or dask array of shape (n, d)
        The rows, of any real type; every block is worked on in double precision.
    scale : ndarray of shape (d,) or None, default=None
        By which columns are divided.
    kept : ndarray of shape (n,) or None, default=None
        Numbers of the rows that are meant, ascending; None is all.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    """

    def __init__(
        self, array: Any, scale: FloatArray | None = None, kept: NDArray[np.intp] | None = None
    ) -> None:
        self.array, self.scale, self.kept = array, scale, kept
        self.shape = (int(array.shape[0]) if kept is None else len(kept), int(array.shape[1]))
        self._is_dask = hasattr(array, "dask")

    def scaled(self, scale: FloatArray) -> StreamedRows:
        """The same rows in other units."""
        return StreamedRows(self.array, scale, self.kept)

    def part(self, kept: NDArray[np.intp]) -> StreamedRows:
        """Some of all rows, by their numbers, ascending."""
        return StreamedRows(self.array, self.scale, kept)

    def _span(self, start: int, stop: int) -> tuple[slice, NDArray[np.intp] | None]:
        """Which of the rows that are meant lie in a block, and their places in it."""
        if self.kept is None:
            return slice(start, stop), None
        first, last = np.searchsorted(self.kept, (start, stop)).tolist()
        return slice(first, last), self.kept[first:last] - start

    def map(
        self, function: Callable[..., Any], *aligned: NDArray[Any]
    ) -> Iterator[tuple[slice, Any]]:
        """A function of every block of rows, and of the same rows of other arrays.

        Parameters
        ----------
        function : callable
            Of a block (b, d) and of (b, ...) of each other array; of a dask array it is called
            where the block is.
        aligned : ndarray of shape (n, ...)
            Other arrays.

        Yields
        ------
        tuple
            Rows, and the value. Blocks without a row that is meant are left out.
        """
        n = len(self.array)
        if not self._is_dask:
            for start in range(0, n, ROWS):
                stop = min(start + ROWS, n)
                rows, places = self._span(start, stop)
                if rows.start == rows.stop:
                    continue
                block = np.asarray(self.array[start:stop])
                cut = (a[rows] for a in aligned)
                yield rows, _on_block(function, self.scale, places, block, *cut)
            return
        dask = load("dask", "a fit to a dask array")
        whole = self.array.rechunk({1: -1})
        ends = np.cumsum(whole.chunks[0])
        blocks = whole.to_delayed().reshape(-1)
        call = dask.delayed(_on_block, pure=False)
        for first in range(0, len(ends), _WAVE):
            wave = range(first, min(first + _WAVE, len(ends)))
            spans = [self._span(int(ends[i - 1]) if i else 0, int(ends[i])) for i in wave]
            spans_of = [
                (i, rows, places)
                for i, (rows, places) in zip(wave, spans, strict=True)
                if rows.start < rows.stop
            ]
            tasks = [
                call(function, self.scale, places, blocks[i], *(a[rows] for a in aligned))
                for i, rows, places in spans_of
            ]
            yield from zip((rows for _, rows, _ in spans_of), dask.compute(*tasks), strict=True)


def _on_block(
    function: Callable[..., Any],
    scale: FloatArray | None,
    places: NDArray[np.intp] | None,
    block: Any,
    *aligned: NDArray[Any],
) -> Any:
    rows = np.asarray(block if places is None else np.asarray(block)[places], dtype=np.float64)
    return function(rows if scale is None else rows / scale, *aligned)


class Moments(NamedTuple):
    """Number, means (d,) and centred second moments (d, d) of rows, not divided by their number."""

    n_rows: int
    mean: FloatArray
    square: FloatArray

    def joined(self, other: Moments) -> Moments:
        """Those of both sets of rows."""
        count = self.n_rows + other.n_rows
        shift = other.mean - self.mean
        square = self.square + other.square
        square += np.multiply.outer(shift, shift) * (self.n_rows * other.n_rows / count)
        return Moments(count, self.mean + shift * (other.n_rows / count), square)


def block_moments(rows: FloatArray) -> Moments:
    """Moments of a block of rows, which must be finite."""
    check_entries(rows, "X", largest=LARGEST_LABEL)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def moments(X: StreamedRows) -> Moments:
    """Moments of rows that are read in blocks.

    Parameters
    ----------
    X : StreamedRows
        Rows, one at least.

    Returns
    -------
    Moments
        Of all of them.
    """
    total: Moments | None = None
    for _, part in X.map(block_moments):
        total = part if total is None else total.joined(part)
    assert total is not None
    return total


def _triangle(rows: FloatArray, mean: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.qr(rows - mean, mode="r"))


def _projected(
    rows: FloatArray, columns: FloatArray, mean: FloatArray, into: FloatArray
) -> tuple[FloatArray, FloatArray]:
    basis = (rows - mean) @ into
    return np.square(basis).sum(axis=0), basis.T @ columns


def _crossed(rows: FloatArray, columns: FloatArray, mean: FloatArray) -> FloatArray:
    return np.asarray((rows - mean).T @ columns)


def _outside(
    rows: FloatArray, columns: FloatArray, mean: FloatArray, into: FloatArray, inside: FloatArray
) -> FloatArray:
    return np.asarray(columns - (rows - mean) @ (into @ inside))


@dataclasses.dataclass(frozen=True)
class _LeftOut:
    """What leave-one-out residuals of a block need beside its rows."""

    mean: FloatArray
    into: FloatArray
    inside: FloatArray
    weights: FloatArray
    null: FloatArray
    zero: NDArray[np.bool_]
    eigenvalues: FloatArray
    constant: float

    def __call__(self, rows: FloatArray, outside: FloatArray) -> FloatArray:
        """Residuals (m, b, c)."""
        basis = (rows - self.mean) @ self.into
        square = np.square(basis)
        leverage = 1.0 - self.constant - square.sum(axis=1)
        reached = leverage <= 1e-12
        leverage[reached] = 0.0
        diagonal = (square @ self.weights.T).T + self.null[:, None] * leverage
        scaled = self.weights.T[:, :, None] * self.inside[:, None]
        m, c = len(self.weights), self.inside.shape[1]
        out = (basis @ scaled.reshape(len(scaled), m * c)).reshape(-1, m, c).transpose(1, 0, 2)
        out = out + self.null[:, None, None] * np.where(reached[:, None], 0.0, outside)
        out = out / np.where(diagonal > 0.0, diagonal, 1.0)[..., None]
        if reached.any() and self.zero.any():  # determined at the next order in the ridge
            lower = basis[reached] / self.eigenvalues
            level = (lower * basis[reached]).sum(axis=1)[:, None]
            out[np.ix_(self.zero, reached)] = (lower @ self.inside) / level
        return np.asarray(out)


class StreamedPath(RidgePath):
    """`RidgePath` of more rows than fit in memory, by sums over blocks of rows.

    The covariance comes from one pass over the rows; where it cannot resolve the smallest
    directions, a triangular factor takes its place, block by block. Coordinates of the columns,
    and exact leave-one-out, take a pass each. Memory is that of a block, of (d, d), and of the
    columns.

    Parameters
    ----------
    X : StreamedRows
        Rows, more than columns.
    columns : ndarray of shape (n, c)
        Columns to regress on them.
    fit_intercept : bool, default=True
        Whether every column has a free offset.
    total : Moments or None, default=None
        Moments of the rows, if they are known.
    """

    def __init__(
        self,
        X: StreamedRows,
        columns: FloatArray,
        *,
        fit_intercept: bool = True,
        total: Moments | None = None,
    ) -> None:
        n, d = X.shape
        self.rows, self.fit_intercept = X, fit_intercept
        self.n_samples, self.n_effective = n, n - fit_intercept
        self._root = None
        total = moments(X) if total is None else total
        form = total.square.copy()
        self.mean, self.column_mean = total.mean.copy(), columns.mean(axis=0)
        if not fit_intercept:
            form = form + n * np.multiply.outer(self.mean, self.mean)
            self.mean, self.column_mean = np.zeros(d), np.zeros(columns.shape[1])
        self._largest = float((np.square(self.mean) + form.diagonal() / n).max())
        flat = form.diagonal() <= n * (8 * np.finfo(float).eps * self.mean) ** 2
        if flat.any():  # only rounding of a constant is left
            scale = np.ones(d) if X.scale is None else X.scale
            X = self.rows = X.scaled(np.where(flat, np.inf, scale))
            self.mean[flat], form[flat], form[:, flat] = 0.0, 0.0, 0.0
        self.columns = columns - self.column_mean
        self.design = np.empty((0, d))
        ev, right = linalg.eigh(form / n, driver="evd", check_finite=False)
        if not ev[0] > RESOLVED * ev[-1]:
            ev, right = self._resolved()
        self._into = right / np.sqrt(n * ev)
        size, inside = np.ones(len(ev)), np.zeros((len(ev), columns.shape[1]))
        if len(ev) == d and ev[0] > EVEN * ev[-1]:  # the covariance knows the basis well enough
            product = np.zeros((d, columns.shape[1]))
            for _, part in X.map(partial(_crossed, mean=self.mean), self.columns):
                product += part
            inside = self._into.T @ product
        else:
            size = np.zeros(len(ev))
            for _, (square, product) in X.map(
                partial(_projected, mean=self.mean, into=self._into), self.columns
            ):
                size, inside = size + square, inside + product
        root = np.sqrt(size)
        self._into, self.coordinates = self._into / root, inside / root[:, None]
        self.eigenvalues, self.right = ev * size, right
        self.rank = len(ev)
        self.n_null = self.n_effective - self.rank
        self.outside = np.empty_like(self.columns)
        for rows, part in X.map(
            partial(_outside, mean=self.mean, into=self._into, inside=self.coordinates),
            self.columns,
        ):
            self.outside[rows] = part
        self.interpolates = 0 < self.rank < d and self._few_rows()

    def _resolved(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues and directions from a triangular factor of the rows."""
        n, d = self.rows.shape
        factor: FloatArray = np.zeros((0, d))
        for _, part in self.rows.map(partial(_triangle, mean=self.mean)):
            factor = _triangle(np.vstack([factor, part]), np.zeros(d))
        _, s, right_t = linalg.svd(factor, full_matrices=False, check_finite=False)
        keep = s > s[0] * n * np.finfo(float).eps if s[0] > 0.0 else np.zeros(len(s), dtype=bool)
        return s[keep][::-1] ** 2 / n, np.ascontiguousarray(right_t[keep][::-1].T)

    def _few_rows(self) -> bool:
        """Whether the different rows are no more than the rank allows for."""
        most, seen = self.rank + self.fit_intercept, set()
        for _, part in self.rows.map(_row_bytes):
            seen |= part
            if len(seen) > most:
                return False
        return True

    @property
    def usable(self) -> FloatArray:
        """Eigenvalues above those that rounding of the entries of the rows can make, ascending."""
        return self.usable_of(self._largest)

    def loo_pieces(self, ridge: ArrayLike) -> Iterator[tuple[slice, FloatArray]]:
        """Leave-one-out residuals of blocks of rows at all ridges.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Yields
        ------
        tuple
            Rows, and residuals (m, b, c).
        """
        lam, weights, null, _ = self._weights(ridge)
        task = _LeftOut(
            self.mean, self._into, self.coordinates, weights, null, lam == 0.0, self.eigenvalues,
            self.fit_intercept / self.n_samples,
        )  # fmt: skip
        yield from self.rows.map(task, self.outside)

    def loo(self, ridge: ArrayLike) -> FloatArray:
        """Exact leave-one-out residuals (m, n, c), as `RidgePath.loo`."""
        lam = np.atleast_1d(np.asarray(ridge, np.float64))
        out = np.empty((len(lam), *self.columns.shape))
        for rows, piece in self.loo_pieces(lam):
            out[:, rows] = piece
        return out


def _row_bytes(rows: FloatArray) -> set[bytes]:
    return {row.tobytes() for row in rows}
