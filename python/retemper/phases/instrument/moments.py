"""Second moments of activations and targets, and one factorisation for each fold held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import interruptible
from retemper._dispatch import core
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_shape,
)
from retemper.phases.instrument.targets import TargetGroup, TargetSet, as_activations

__all__ = ["FoldMoments"]


@dataclasses.dataclass
class GroupSums:
    """Sums over a held-out fold for one group of targets: error = tt - 2 c.cross + c.Q c."""

    tt: float
    cross: FloatArray
    Q: FloatArray
    Z: FloatArray | None  # (r, k) coordinates of the predictions, for labels
    mean: FloatArray | None  # (k,)


@dataclasses.dataclass
class FoldSpectrum:
    """One factorisation of the training folds; predictions are P diag(c) Z."""

    e: FloatArray  # (r,) eigenvalues of the centred training Gram matrix
    scale: FloatArray | None  # c = scale / (e + penalty); None is 1
    n_held: float
    groups: list[GroupSums]
    basis: FloatArray | None = None  # (h, r)
    mean_h: FloatArray | None = None  # (h,)
    P: FloatArray | None = None  # (n_held, r)

    def project(self, H: NDArray[Any]) -> FloatArray:
        """Coordinates P of more rows."""
        assert self.basis is not None
        assert self.mean_h is not None
        return np.asarray((H - self.mean_h) @ self.basis)

    def coefficients(self, relative_ridges: FloatArray, n_units: int) -> FloatArray:
        penalty = relative_ridges[:, None] * self.e.sum() / n_units
        below = self.e + penalty
        top = 1.0 if self.scale is None else self.scale
        return np.asarray(np.divide(top, below, out=np.zeros_like(below), where=below > 0.0))


class FoldMoments:
    """Second moments of activations and targets, gathered batch by batch and fold by fold.

    The activations themselves are never kept: memory is 8 F (h² + h q) bytes.

    Parameters
    ----------
    n_units : int
        Units h of the layer.
    n_targets : int
        Columns q of the targets.
    n_folds : int, default=5
        Folds F.
    precision : {"double", "single"}, default="double"
        "single" multiplies blocks of 256 rows in float32 and adds them up in float64: twice as
        fast, for relative ridges of 1e-6 and above.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Attributes
    ----------
    count : ndarray of shape (F,)
        Rows seen.
    hh : ndarray of shape (F, h, h)
        Sums of products of the activations less ``shift_h``; the lower triangle counts.
    ht : ndarray of shape (F, h, q)
        Sums of products with the targets less ``shift_t``.
    shift_h, shift_t : ndarray
        Means of the first batch.

    Raises
    ------
    ValueError
        If a number is outside its domain.

    See Also
    --------
    reconstruction_score

    Notes
    -----
    Derived here (`derivations/phases#the-instrument`). Batches of a thousand rows or more keep the
    products efficient.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import FoldMoments
    >>> moments = FoldMoments(3, 2)
    >>> rows = np.random.default_rng(0).normal(size=(40, 5))
    >>> moments.partial_fit(rows[:, :3], rows[:, 3:]).count.tolist()
    [8.0, 8.0, 8.0, 8.0, 8.0]
    """

    def __init__(
        self,
        n_units: int,
        n_targets: int,
        n_folds: int = 5,
        *,
        precision: Literal["double", "single"] = "double",
        n_jobs: int | None = None,
    ) -> None:
        check_integer(n_units, "n_units", low=1)
        check_integer(n_targets, "n_targets", low=1)
        check_integer(n_folds, "n_folds", low=2)
        check_choice(precision, "precision", tuple(core.phases.Precision.__members__))
        self.n_units = n_units
        self.n_targets = n_targets
        self.n_folds = n_folds
        self.precision = precision
        self.n_jobs = n_jobs
        self._sums: core.phases.FoldSums | None = None  # made when the first batch gives shifts
        self._whole: dict[tuple[int, int], FloatArray] = {}  # products of targets, until more rows

    @property
    def sums(self) -> core.phases.FoldSums:
        """The sums in the compiled core; its arrays are views that cannot be written to."""
        if self._sums is None:
            from retemper.exceptions import NotFittedError

            raise NotFittedError("this FoldMoments has seen no batch: call partial_fit first")
        return self._sums

    @property
    def count(self) -> FloatArray:
        """Rows seen, fold by fold, (F,)."""
        return np.zeros(self.n_folds) if self._sums is None else self._sums.count

    @property
    def hh(self) -> FloatArray:
        """Sums of products of the activations, (F, h, h); the lower triangle counts."""
        return self.sums.hh

    @property
    def ht(self) -> FloatArray:
        """Sums of products with the targets, (F, h, q)."""
        return self.sums.ht

    @property
    def shift_h(self) -> FloatArray:
        """What was subtracted from the activations, (h,)."""
        return self.sums.shift_h

    @property
    def shift_t(self) -> FloatArray:
        """What was subtracted from the targets, (q,)."""
        return self.sums.shift_t

    def partial_fit(self, H: ArrayLike, T: ArrayLike, fold: ArrayLike | None = None) -> Self:
        """Add a batch.

        Parameters
        ----------
        H : array_like of shape (n, h)
            Activations, float64 or float32.
        T : array_like of shape (n, q)
            Targets.
        fold : array_like of shape (n,) or None, default=None
            Fold of every row; None continues 0, 1, ..., F - 1, 0, ...

        Returns
        -------
        FoldMoments
            Itself.

        Raises
        ------
        ValueError
            If shapes or folds do not fit, or an entry is not finite.
        """
        acts = as_activations(H, "H")
        targets = as_float_array(T, "T", ndim=2)
        n_folds = self.n_folds
        check_shape(acts, (None, self.n_units), "H")
        check_shape(targets, (acts.shape[0], self.n_targets), "T")
        if fold is None:
            where = (int(self.count.sum()) + np.arange(acts.shape[0])) % n_folds
        else:
            where = np.asarray(fold)
            if where.dtype.kind not in "iu" or where.shape != (acts.shape[0],):
                raise ValueError(f"fold must hold {acts.shape[0]} integers, got {where.shape}")
            if where.size and not (where.min() >= 0 and where.max() < n_folds):
                raise ValueError(f"fold must lie in [0, {n_folds - 1}]")
        self.add_checked(acts, targets, np.ascontiguousarray(where, dtype=np.int64))
        return self

    def add_checked(self, H: NDArray[Any], T: FloatArray, fold: NDArray[np.int64]) -> None:
        """Add a batch that `as_activations` and `assign_folds` have already seen."""
        if not H.shape[0]:
            return
        self._whole.clear()
        if self._sums is None:
            self._sums = core.phases.FoldSums(
                n_folds=self.n_folds, shift_h=H.mean(axis=0, dtype=np.float64),
                shift_t=T.mean(axis=0),
            )  # fmt: skip
        self._sums.add(
            H=H, T=T, fold=fold, precision=core.phases.Precision[self.precision],
            n_threads=effective_n_threads(self.n_jobs),
        )  # fmt: skip

    def spectrum(self, f: int, groups: Iterable[TargetGroup], *, with_basis: bool) -> FoldSpectrum:
        """Factorisation with fold f held out."""
        from scipy.linalg import eigh

        s = self.sums
        count, h, hh, ht, t, tt = s.count, s.h, s.hh, s.ht, s.t, s.tt
        others = [g for g in range(self.n_folds) if g != f]
        n = float(count[others].sum())
        n_held = float(count[f])
        if n < 2.0 or n_held < 1.0:
            raise ValueError(f"fold {f} has {n_held:g} rows and the others {n:g}: too few")
        mean_h = h[others].sum(axis=0) / n
        gram = hh[others[0]].copy()
        for g in others[1:]:
            gram += hh[g]
        gram -= np.outer(n * mean_h, mean_h)
        # the transpose of a C-ordered array is what LAPACK overwrites without a copy
        e, u = interruptible(
            eigh, gram.T, lower=False, overwrite_a=True, check_finite=False, driver="evd",
            cost=float(len(gram)) ** 3,
        )  # fmt: skip
        del gram
        e = np.maximum(e, 0.0)
        held = np.tril(hh[f], -1)
        held += held.T.copy()
        held[np.diag_indices_from(held)] = hh[f].diagonal()
        held -= np.outer(h[f], mean_h)
        held -= np.outer(mean_h, h[f] - n_held * mean_h)
        n_threads = effective_n_threads(self.n_jobs)
        held = core.phases.turned(a=held, u=u, n_threads=n_threads)
        out = []
        for group in groups:
            columns = slice(group.first, group.last)
            mean_t = t[others, columns].sum(axis=0) / n
            squares = tt[f, columns] - 2.0 * mean_t * t[f, columns] + n_held * mean_t**2
            at = (group.first, group.last)
            rest = {"first": at[0], "last": at[1], "n_threads": n_threads}
            if at not in self._whole:
                self._whole[at] = core.phases.whole_products(sums=s, **rest)
            products = core.phases.target_products(
                sums=s, whole=self._whole[at], held_out=f, **rest
            )
            along = np.einsum("ij,ij->j", products.cross @ u, u)
            train = core.phases.turned(a=products.train, u=u, n_threads=n_threads)
            del products
            coordinates = mean = None
            if group.label_index is not None:
                b = ht[others, :, columns].sum(axis=0) - n * np.outer(mean_h, mean_t)
                coordinates, mean = u.T @ b, mean_t + s.shift_t[columns]
            train *= held
            out.append(GroupSums(float(squares.sum()), along, train, coordinates, mean))
        keep = u if with_basis else None
        return FoldSpectrum(e, None, n_held, out, keep, mean_h + s.shift_h)


def spectrum_of_gram(
    gram: FloatArray,
    targets: TargetSet,
    groups: Iterable[TargetGroup],
    fold: NDArray[np.int64],
    f: int,
) -> FoldSpectrum:
    """The same from the n x n Gram matrix of the rows, for layers wider than the sample."""
    from scipy.linalg import eigh

    train, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)

    def centred(K: FloatArray) -> tuple[FloatArray, FloatArray]:
        tt, ot = K[np.ix_(train, train)], K[np.ix_(held, train)]
        mean = tt.mean(axis=0)
        whole = mean.mean()
        return (
            tt - mean - mean[:, None] + whole,
            ot - mean - ot.mean(axis=1, keepdims=True) + whole,
        )

    tt, ot = centred(gram)
    e, v = interruptible(eigh, tt, lower=True, check_finite=False, cost=float(len(tt)) ** 3)
    e = np.maximum(e, 0.0)
    P = ot @ v
    held_gram = P.T @ P
    out = []
    for group in groups:
        T = targets.T[:, group.first : group.last]
        mean = T[train].mean(axis=0)
        Tt, To = T[train] - mean, T[held] - mean
        Z = v.T @ Tt
        cross = (P * (To @ Z.T)).sum(axis=0)
        Q = held_gram * (Z @ Z.T)
        is_label = group.label_index is not None
        out.append(
            GroupSums(
                float((To**2).sum()), cross, Q, Z if is_label else None, mean if is_label else None
            )
        )
    return FoldSpectrum(e, None, float(held.size), out, P=P)


def spectrum_of_rows(
    H: NDArray[Any],
    targets: TargetSet,
    groups: Iterable[TargetGroup],
    fold: NDArray[np.int64],
    f: int,
) -> FoldSpectrum:
    """The same from the activations themselves, without squaring their condition number."""
    from scipy.linalg import svd

    train, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
    Ht = np.asarray(H[train], dtype=np.float64)
    mean_h = Ht.mean(axis=0)
    left, s, right = interruptible(
        svd, Ht - mean_h, full_matrices=False, check_finite=False,
        cost=float(Ht.size * min(Ht.shape)),
    )  # fmt: skip
    P = (H[held] - mean_h) @ right.T
    held_gram = P.T @ P
    out = []
    for group in groups:
        T = targets.T[:, group.first : group.last]
        mean = T[train].mean(axis=0)
        To = T[held] - mean
        Z = left.T @ (T[train] - mean)
        cross = (P * (To @ Z.T)).sum(axis=0)
        Q = held_gram * (Z @ Z.T)
        is_label = group.label_index is not None
        out.append(
            GroupSums(
                float((To**2).sum()), cross, Q, Z if is_label else None, mean if is_label else None
            )
        )
    return FoldSpectrum(s**2, s, float(held.size), out, P=P)
