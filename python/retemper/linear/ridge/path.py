"""Everything ridge towards a source can do on one data set, from one eigendecomposition."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from retemper._control import interruptible
from retemper._validation import FloatArray

#: Below this ratio of eigenvalues the Gram matrix cannot tell a small direction from none.
RESOLVED = 1e-10
#: The default grid reaches at least down to this ridge, in the units of `RidgePath.grid`.
RIDGE_FLOOR = 1e-3
#: The default grid reaches down to this share of the smallest usable eigenvalue.
SPECTRUM_SHARE = 0.1
#: Entries of the rows are known to this relative accuracy, in the choice of ridges.
_ENTRY_ERROR = 64 * np.finfo(float).eps
#: Largest temporary of the leave-one-out sweep, in numbers.
BLOCK = 4_000_000
#: Designs whose decompositions are held at a time: one if it is large.
_HELD = 5
_shared: ContextVar[list[RidgePath] | None] = ContextVar("shared", default=None)


@contextmanager
def shared_decompositions() -> Iterator[None]:
    """Within this block, paths of equal designs are decomposed once; no number changes.

    Yields
    ------
    None
        Nothing. What is held is let go at the end, and threads hold each their own.
    """
    token = _shared.set([])
    try:
        yield
    finally:
        _shared.reset(token)


class DegreesOfFreedom(NamedTuple):
    """Effective ridge and degrees of freedom at some ridges, as `RidgePath.effective` gives them.

    Attributes
    ----------
    effective_ridge : ndarray of shape (m,)
        Units of an eigenvalue.
    df1, df2 : ndarray of shape (m,)
        Counts of directions.
    """

    effective_ridge: FloatArray
    df1: FloatArray
    df2: FloatArray


class RidgePath:
    r"""Ridge regression of several columns on one design, at every ridge.

    The loss of a column :math:`r` is :math:`n^{-1}\lVert r - b - X w\rVert^2 + \lambda\lVert
    w\rVert^2`, with a free :math:`b` if ``fit_intercept``, else :math:`b = 0`. A fit that starts
    from a source is the fit of the residual of that source, so the columns are labels, source
    predictions and their differences.
    The smaller of the Gram matrix (n, n) and the covariance (d, d) is diagonalised once; where it
    cannot resolve the smallest directions, a singular value decomposition takes its place.
    Directions without a counterpart in ``X`` are treated in closed form.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Design, finite; not copied where no intercept is fitted.
    columns : ndarray of shape (n, c)
        Columns to regress on it.
    fit_intercept : bool, default=True
        Whether every column has a free offset.
    weight : ndarray of shape (n,) or None, default=None
        Positive weights of the rows in the sum of squares, of mean one; None is one for all.

    Attributes
    ----------
    n_samples : int
        n, the number of rows, or the sum of their weights.
    n_effective : int
        N, the number of rows that carry information on the slopes: n - 1 if ``fit_intercept``.
    rank : int
        Rank of the (centred) design.
    eigenvalues : ndarray of shape (rank,)
        Positive eigenvalues of ``Xc @ Xc.T / n``, ascending.
    n_null : int
        N - rank: directions of sample space that no slope can reach.
    coordinates : ndarray of shape (rank, c)
        Columns in the eigenbasis.
    interpolates : bool
        Whether the rank is short only because rows are repeated. Nothing can then be said on
        new rows at ridge zero, and the pseudo-inverse stands in the formulas there.

    Notes
    -----
    Quantities depend on :math:`(ev_i + \lambda)^{-1}` up to a factor; they are computed from
    :math:`g_i = (ev_{low}+\lambda)/(ev_i+\lambda) \in [0, 1]`, which has a limit at both ends. With
    weights, the design and the columns are centred at their weighted means, and their rows and all
    residuals carry the square root of the weight: mean squares are weighted ones, and a row leaves
    with all of its weight. Derived here (`derivations/linear#from-your-own-rows`), after Shachaf et
    al. (2021).
    """

    basis: FloatArray
    eigenvalues: FloatArray
    right: FloatArray | None

    def __init__(
        self,
        X: FloatArray,
        columns: FloatArray,
        *,
        fit_intercept: bool = True,
        weight: FloatArray | None = None,
    ) -> None:
        n, d = X.shape
        self.fit_intercept = fit_intercept
        self.n_samples, self.n_effective = n, n - fit_intercept
        self._root = None if weight is None else np.sqrt(weight)
        self.mean, self.column_mean = np.zeros(d), np.zeros(columns.shape[1])
        if fit_intercept:
            self.mean = X.mean(axis=0) if weight is None else weight @ X / n
            self.column_mean = columns.mean(axis=0) if weight is None else weight @ columns / n
        self.design = X
        if fit_intercept:
            self.design = X - self.mean
            square = np.einsum("ij,ij->j", self.design, self.design)
            flat = square <= n * (8 * np.finfo(float).eps * self.mean) ** 2
            if flat.any():
                self.design[:, flat] = 0.0
        self.columns = columns - self.column_mean
        if self._root is not None:
            self.design = self._root[:, None] * self.design
            self.columns *= self._root[:, None]
        self._find_directions()
        self.coordinates = self.basis.T @ self.columns
        self.rank = len(self.eigenvalues)
        self.n_null = self.n_effective - self.rank
        self.outside = np.zeros_like(self.columns)
        self._outside_leverage = np.zeros(n)
        self.interpolates = False
        if self.n_null:
            constant = fit_intercept * (1.0 if weight is None else weight) / n
            leverage = 1.0 - constant - self._basis_square.sum(axis=1)
            reached = leverage <= 1e-12
            self._outside_leverage = np.where(reached, 0.0, leverage)
            self.outside = self.columns - self.basis @ self.coordinates
            self.outside[reached] = 0.0
            if 0 < self.rank < d:
                rows = self.design if weight is None else X
                distinct = len({row.tobytes() for row in rows})
                self.interpolates = distinct - fit_intercept <= self.rank

    def _find_directions(self) -> None:
        """Decompose the design, or take the decomposition of an equal one that is held."""
        held = _shared.get()
        for other in held or ():
            if self._has_design_of(other):
                self.eigenvalues, self.basis = other.eigenvalues, other.basis
                self.right = other.right
                self.__dict__["_basis_square"] = other._basis_square
                return
        large = self.design.size > BLOCK
        if held is not None and large:
            held.clear()
        interruptible(self._decompose, cost=float(self.design.size * min(self.design.shape)))
        if held is not None:
            held.insert(0, self)
            del held[_HELD:]

    def _has_design_of(self, other: RidgePath) -> bool:
        if self.fit_intercept != other.fit_intercept or self.design.shape != other.design.shape:
            return False
        if self._root is None or other._root is None:
            same = self._root is other._root
        else:
            same = np.array_equal(self._root, other._root)
        return same and np.array_equal(self.design, other.design)

    def _decompose(self) -> None:
        n, d = self.design.shape
        design = self.design
        self.right = None
        if d < n:
            ev, right = linalg.eigh(
                design.T @ design / n, driver="evd", overwrite_a=True, check_finite=False
            )
            if ev[0] > RESOLVED * ev[-1]:
                self.basis = design @ (right / np.sqrt(n * ev))
                size = np.sqrt(np.einsum("ij,ij->j", self.basis, self.basis))
                self.basis /= size  # a small eigenvalue beside a large one is known only roughly
                self.eigenvalues, self.right = ev * np.square(size), right
                return
        else:
            gram = design @ design.T
            gram /= n
            first = 0
            if self.fit_intercept:  # moves the empty direction away from the spectrum
                shift = max(np.trace(gram), np.finfo(float).tiny) / n**2
                if self._root is None:
                    gram -= shift
                else:
                    gram -= np.multiply.outer(shift * self._root, self._root)
                first = 1
            ev, basis = linalg.eigh(gram.T, driver="evd", overwrite_a=True, check_finite=False)
            if ev.size > first and ev[first] > RESOLVED * ev[-1]:
                self.eigenvalues, self.basis = ev[first:], basis[:, first:]
                return
        left, s, right_t = linalg.svd(design, full_matrices=False, check_finite=False)
        keep = (s > s[0] * max(n, d) * np.finfo(float).eps) & (np.arange(len(s)) < self.n_effective)
        self.eigenvalues = s[keep][::-1] ** 2 / n
        self.basis, self.right = left[:, keep][:, ::-1], right_t[keep][::-1].T

    @cached_property
    def _basis_square(self) -> FloatArray:
        square: FloatArray = np.square(self.basis)
        return square

    def _weights(self, ridge: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Ridges (m,), weights (m, rank), weight of the null directions and common factor (m,)."""
        lam = np.atleast_1d(np.asarray(ridge, np.float64))
        low = 0.0 if self.n_null or not self.rank else self.eigenvalues[0]
        start = np.full(lam.shape, low)
        null = np.ones(lam.shape)
        if self.interpolates:
            start[lam == 0.0], null[lam == 0.0] = self.eigenvalues[0], 0.0
        factor = start + lam
        with np.errstate(invalid="ignore"):
            weight = factor[:, None] / (self.eigenvalues + lam[:, None])
        weight[np.isinf(lam)] = 1.0
        return lam, weight, null, factor

    def grid(
        self, *, floor: float = RIDGE_FLOOR, per_decade: int = 4, size: int | None = None
    ) -> FloatArray:
        """Ridges worth trying, descending from infinity.

        Parameters
        ----------
        floor : float, default=1e-3
            The ridges reach at least down to this one, in units of the trace of ``Xc.T @ Xc / n``
            over n.
        per_decade : int, default=4
            Points per factor of ten.
        size : int or None, default=None
            What stands for n in the range; None is the number of rows. With ``rank + 1`` the
            ridges do not depend on whether a row is repeated or has a weight, and zero, which
            does, is left out.

        Returns
        -------
        ndarray of shape (m,)
            Infinity, where the fit is the source; log-spaced values from ten times the trace down
            to a tenth of the smallest usable eigenvalue, or to the floor if that is lower; and
            zero, unless rows are repeated or an eigenvalue is not usable.

        Notes
        -----
        A grid in units of the trace alone cannot reach the small directions of columns in different
        units. An eigenvalue is usable where it is above what rounding of the entries of the rows
        makes: the square of 64 units in the last place of the largest root mean square of a column.
        Derived here (`derivations/linear#from-your-own-rows`).
        """
        n = size or len(self.columns)
        unit = self.eigenvalues.sum() / n
        if not unit:
            return np.array([np.inf])
        top, bottom = np.log10(10.0 * n), np.log10(floor)
        m = int(np.ceil((top - bottom) * per_decade)) + 1
        exponents = np.linspace(top, bottom, m)
        usable = self.usable
        if usable.size:
            step = (top - bottom) / (m - 1)
            lowest = np.log10(SPECTRUM_SHARE * usable[0] / unit)
            more = max(int(np.ceil((bottom - lowest) / step)), 0)
            exponents = np.append(exponents, bottom - step * np.arange(1, more + 1))
        no_zero = size or self.interpolates or usable.size < self.rank
        zero = [] if no_zero else [0.0]
        return np.concatenate([[np.inf], unit * 10.0**exponents, zero])

    @property
    def usable(self) -> FloatArray:
        """Eigenvalues above those that rounding of the entries of the rows can make, ascending."""
        square = np.square(self.mean) + np.square(self.design).mean(axis=0)
        return self.usable_of(float(square.max()))

    def usable_of(self, largest: float) -> FloatArray:
        """Eigenvalues above the rounding of entries whose largest mean square this is."""
        usable: FloatArray = self.eigenvalues[self.eigenvalues > _ENTRY_ERROR**2 * largest]
        return usable

    def effective(self, ridge: ArrayLike) -> DegreesOfFreedom:
        r"""Effective ridge and degrees of freedom, estimated from the spectrum.

        :math:`\hat\kappa = n / \sum_i e_i^{-1}`, :math:`df_1 = \sum_i ev_i / e_i`,
        :math:`1 - df_2 / N = (\sum e_i^{-1})^2 / (N \sum e_i^{-2})`, :math:`e_i = ev_i + \lambda`
        over the N directions.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        DegreesOfFreedom
            Each of shape (m,).
        """
        lam, g, null, factor = self._weights(ridge)
        total = g.sum(axis=1) + self.n_null * null
        square = np.square(g).sum(axis=1) + self.n_null * null
        df1 = (self.eigenvalues / (self.eigenvalues + lam[:, None])).sum(axis=1)
        df2 = np.maximum(self.n_effective - total**2 / square, 0.0)
        return DegreesOfFreedom(self.n_samples * factor / total, df1, df2)

    def products(self, ridge: ArrayLike, left: FloatArray, right: FloatArray) -> FloatArray:
        """Weighted products of columns whose diagonal is generalised cross-validation.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.
        left, right : ndarray of shape (c, ...)
            Combinations of the columns: ``columns @ left`` times ``columns @ right``, pairwise.

        Returns
        -------
        ndarray of shape (m, ...)
            ``N sum(g**2 left right) / sum(g)**2``.
        """
        _, g, null, _ = self._weights(ridge)

        def pair(rows: FloatArray) -> FloatArray:
            out: FloatArray = np.tensordot(rows, left, 1) * np.tensordot(rows, right, 1)
            return out

        value: FloatArray = np.tensordot(np.square(g), pair(self.coordinates), 1)
        total = g.sum(axis=1) + self.n_null * null
        if self.n_null:
            value += np.multiply.outer(null**2, pair(self.outside).sum(axis=0))
        value *= (self.n_effective / total**2).reshape(-1, *[1] * (value.ndim - 1))
        return value

    def gcv(self, ridge: ArrayLike) -> FloatArray:
        """Generalised cross-validation: predicted squared error of every column.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        ndarray of shape (m, c)
            Mean squared error on a new row, noise included.
        """
        eye = np.eye(self.columns.shape[1])
        return self.products(ridge, eye, eye)

    def loo(self, ridge: ArrayLike) -> FloatArray:
        """Exact leave-one-out residuals, the intercept refitted each time.

        The penalty ``n * ridge`` on the squared norm is kept when a row leaves. At ridge zero they
        are those of the fit of smallest norm.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        ndarray of shape (m, n, c)
            Residual of every row of every column.
        """
        lam = np.atleast_1d(np.asarray(ridge, np.float64))
        out, diagonal = self.annihilate(lam)
        out /= diagonal[..., None] if self.n_null == 0 else self._safe(diagonal)
        if self.n_null and (lam == 0.0).any():
            reached = self._outside_leverage == 0.0  # determined at the next order in the ridge
            if self.interpolates:
                out[lam == 0.0] = np.where(
                    reached[:, None], 0.0, self.outside / self._safe(self._outside_leverage)
                )
            lower = self.basis[reached] / self.eigenvalues
            out[np.ix_(lam == 0.0, reached)] = (lower @ self.coordinates) / (
                lower * self.basis[reached]
            ).sum(axis=1)[:, None]
        return out

    def annihilate(self, ridge: ArrayLike) -> tuple[FloatArray, FloatArray]:
        r"""The matrix A behind the residuals, applied to the columns, and its diagonal.

        A is :math:`(X_cX_c^T/n + \lambda)^{-1}` on the complement of the ones vector, up to a
        factor for every ridge.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        tuple of ndarray
            ``A @ columns`` (m, n, c) and ``diag(A)`` (m, n).
        """
        lam, g, null, _ = self._weights(ridge)
        n, c = self.columns.shape
        out = np.empty((len(lam), n, c))
        step = max(1, BLOCK // (n * c))
        for k in range(0, len(lam), step):
            rows = slice(k, k + step)
            scaled = g[rows].T[:, :, None] * self.coordinates[:, None]
            value = (self.basis @ scaled.reshape(self.rank, scaled.shape[1] * c)).reshape(n, -1, c)
            out[rows] = value.transpose(1, 0, 2)
        if self.n_null:
            out += null[:, None, None] * self.outside
        return out, self.diagonal(lam)

    def diagonal(self, ridge: ArrayLike, power: int = 1) -> FloatArray:
        """Diagonal of A or of its square, (m, n), in the units of `annihilate`.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.
        power : {1, 2}, default=1
            Power of A.

        Returns
        -------
        ndarray of shape (m, n)
            The diagonal.
        """
        _, g, null, _ = self._weights(ridge)
        value = (self._basis_square @ (g**power).T).T
        if self.n_null:
            value += null[:, None] ** power * self._outside_leverage
        return value

    def apply(self, ridge: FloatArray, vectors: FloatArray) -> FloatArray:
        """A at one ridge for every vector, times that vector, in the units of `annihilate`.

        Parameters
        ----------
        ridge : ndarray of shape (c,)
            Ridges.
        vectors : ndarray of shape (n, c)
            Vectors.

        Returns
        -------
        ndarray of shape (n, c)
            The products.
        """
        _, g, null, _ = self._weights(ridge)
        inside = self.basis.T @ vectors
        if not self.n_null:
            out: FloatArray = self.basis @ (g.T * inside)
            return out
        centred = vectors
        if self.fit_intercept and self._root is None:
            centred = vectors - vectors.mean(axis=0)
        elif self._root is not None and self.fit_intercept:
            mean = self._root @ vectors / len(vectors)
            centred = vectors - np.multiply.outer(self._root, mean)
        out = self.basis @ ((g.T - null) * inside) + null * centred
        return out

    @staticmethod
    def _safe(diagonal: FloatArray) -> FloatArray:
        return np.where(diagonal > 0.0, diagonal, 1.0)[..., None]  # fixed by the caller

    def profile(self, ridge: ArrayLike) -> FloatArray:
        r"""Similarity profile :math:`\hat S(\hat\kappa)` of every column.

        Estimates :math:`\kappa^2 \Delta^T \Sigma (\Sigma + \kappa)^{-2} \Delta + \sigma^2`, where
        the column is ``X @ delta`` plus noise and :math:`\kappa` is the ridge of `effective`.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        ndarray of shape (m, c)
            Mean of the columns' squares, weighted by :math:`(ev_i + \lambda)^{-2}`.
        """
        df2 = self.effective(ridge).df2
        value: FloatArray = self.gcv(ridge) * (1.0 - df2 / self.n_effective)[:, None]
        return value

    def learning_surface(self, n_samples: ArrayLike, ridge: FloatArray) -> FloatArray:
        """Error after training on fewer rows, at every effective ridge of this path.

        Its minimum over the path is the error at the best ridge of every number of rows, and
        falls with that number.

        Parameters
        ----------
        n_samples : array_like of shape (m,)
            Numbers of rows, between 0 and n.
        ridge : ndarray of shape (l,)
            Ridges of this path, infinity among them.

        Returns
        -------
        ndarray of shape (m, l, c)
            Mean squared error on a new row, noise included; infinite where those rows reach the
            effective ridge of this path at a negative ridge alone.
        """
        rows = np.atleast_1d(np.asarray(n_samples, np.float64))
        size = np.maximum(rows - self.fit_intercept, 0.0)[:, None]
        _, df1, df2 = self.effective(ridge)
        reached = (df1 <= size) & ((df2 < size) | np.isinf(ridge))
        with np.errstate(divide="ignore", invalid="ignore"):
            shrink = np.where(reached & ~np.isinf(ridge), 1.0 - df2 / size, 1.0)
        return np.where(reached[..., None], self.profile(ridge) / shrink[..., None], np.inf)

    def coef(self, ridge: float, combination: FloatArray) -> FloatArray:
        """Slopes of combinations of the columns.

        Parameters
        ----------
        ridge : float
            The ridge.
        combination : ndarray of shape (c, k)
            Fits ``columns @ combination``.

        Returns
        -------
        ndarray of shape (k, d)
            Slopes, of smallest norm at ridge zero.
        """
        coordinates = (self.coordinates @ combination) / (self.eigenvalues + ridge)[:, None]
        if self.right is not None:
            root = np.sqrt(self.eigenvalues / self.n_samples)[:, None]
            coef: FloatArray = (self.right @ (root * coordinates)).T
            return coef
        coef = (self.basis @ coordinates).T @ self.design / self.n_samples
        return coef

    def combine(self, combination: FloatArray) -> RidgePath:
        """The same path for combinations of the columns.

        Parameters
        ----------
        combination : ndarray of shape (c, k)
            The new columns are ``columns @ combination``.

        Returns
        -------
        RidgePath
            Shares the decomposition.
        """
        new = copy.copy(self)
        for name in ("columns", "coordinates", "outside", "column_mean"):
            setattr(new, name, getattr(self, name) @ combination)
        return new
