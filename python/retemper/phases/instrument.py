"""How much of the input, and of any task, can be read off a layer linearly: measured fast.

Cross-validated ridge decoders from one pass over the activations: second moments are gathered fold
by fold in the compiled core, and one factorisation per fold serves every ridge and every target.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._dispatch import core
from retemper._random import Seed, generator
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_real,
    check_shape,
)
from retemper.exceptions import ValidityWarning
from retemper.phases.theory import one_hot, task_factor

__all__ = [
    "DEFAULT_RIDGES",
    "FLOOR_RIDGE",
    "FoldMoments",
    "ProbeScore",
    "ReconstructionScore",
    "reconstruction_score",
]

#: Relative ridges: 1e-8 to 10 in half decades. The lower end is part of what FUV means.
DEFAULT_RIDGES: tuple[float, ...] = tuple(float(f"{10 ** (k / 2):.6g}") for k in range(-16, 3))
#: Relative ridge of the early-warning value ``fuv_floor``.
FLOOR_RIDGE = 1e-2
_GRAM_LIMIT = 1e-8  # below it the squared condition number of a Gram matrix shows
_MAX_UNITS = 4096

Ridge = float | Literal["cv"]


# ---------------------------------------------------------------------------------------------
# targets


@dataclasses.dataclass(frozen=True)
class TargetGroup:
    """Columns of the target matrix that belong to one question."""

    name: str
    first: int
    last: int
    label_index: NDArray[np.int64] | None  # (n,) for labels, None for real targets
    variance: float  # per sample, summed over the columns, about the mean


class TargetSet:
    """Everything a layer is asked for: the inputs first, then labels and auxiliary tasks."""

    def __init__(
        self,
        X: ArrayLike,
        targets: Mapping[str, ArrayLike] | None,
        sketch: int | None,
        task_weights: ArrayLike | None,
        random_state: Seed,
    ) -> None:
        inputs = np.asarray(X)
        if inputs.ndim > 2:
            inputs = inputs.reshape(inputs.shape[0], -1)
        inputs = as_float_array(inputs, "X", ndim=2)
        self.n_inputs = inputs.shape[1]
        if inputs.shape[0] < 2 or not inputs.shape[1]:
            raise ValueError(f"X must have two rows and a column, got shape {inputs.shape}")
        if not (inputs != inputs[0]).any():
            raise ValueError(
                "X is constant: the fraction of unexplained input variance is undefined"
            )
        if task_weights is not None:
            inputs = inputs @ task_factor(task_weights, self.n_inputs)
        if sketch is not None:
            width = check_integer(sketch, "sketch", low=1)
            omega = generator(random_state).normal(size=(inputs.shape[1], width))
            inputs = inputs @ (omega / math.sqrt(width))
        columns, groups = [inputs], [self._group("reconstruction", 0, inputs, None)]
        for name, value in (targets or {}).items():
            if name == "reconstruction":
                raise ValueError('a target may not be called "reconstruction"')
            raw = np.asarray(value)
            if raw.ndim == 1 and raw.dtype.kind != "f":
                block, classes = one_hot(raw, name)
                if classes.size < 2:
                    warnings.warn(
                        f"{name} has one class only: its probe is left out",
                        ValidityWarning, stacklevel=4,
                    )  # fmt: skip
                    continue
                index = block.argmax(axis=1).astype(np.int64)
            else:
                block = as_float_array(raw, name, ndim=(1, 2))
                block, index = block.reshape(block.shape[0], -1), None
                check_shape(block, (inputs.shape[0], None), name)
                if not (block != block[0]).any():
                    raise ValueError(f"{name} is constant: its R² is undefined")
            check_shape(block, (inputs.shape[0], None), name)
            groups.append(self._group(name, groups[-1].last, block, index))
            columns.append(block)
        self.T = np.ascontiguousarray(
            np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]
        )
        self.groups = tuple(groups)

    @staticmethod
    def _group(
        name: str, first: int, block: FloatArray, index: NDArray[np.int64] | None
    ) -> TargetGroup:
        mean, total = block.mean(axis=0), 0.0
        for start in range(0, block.shape[0], 256):  # no second copy of the inputs
            part = block[start : start + 256] - mean
            total += float(np.einsum("ij,ij->", part, part))
        variance = total / block.shape[0]
        return TargetGroup(name, first, first + block.shape[1], index, variance)


def assign_folds(n: int, folds: int | ArrayLike, groups: ArrayLike | None) -> NDArray[np.int64]:
    """Fold of every row: i modulo the number, a given vector, or whole groups at a time."""
    if np.ndim(folds) == 1:
        given = np.asarray(folds)
        if given.dtype.kind not in "iu" or given.shape != (n,):
            raise ValueError(f"folds must be a number or {n} integers, got {given.shape}")
        fold = np.unique(given, return_inverse=True)[1].astype(np.int64)
        if groups is not None:
            raise ValueError("give folds or groups as a vector, not both")
        count = int(fold.max()) + 1
    else:
        count = check_integer(folds, "folds", low=2)
        fold = np.arange(n, dtype=np.int64) % count
    if n < 2 * count:
        raise ValueError(f"{n} samples are too few for {count} folds: at least {2 * count}")
    if count < 2:
        raise ValueError("folds must name at least two folds")
    if groups is not None:
        labels = np.asarray(groups)
        if labels.shape != (n,):
            raise ValueError(f"groups must have shape ({n},), got {labels.shape}")
        _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        if sizes.size < count:
            raise ValueError(f"{sizes.size} groups cannot fill {count} folds")
        load, home = np.zeros(count, np.int64), np.empty(sizes.size, np.int64)
        for g in np.argsort(-sizes, kind="stable"):
            home[g] = load.argmin()
            load[home[g]] += sizes[g]
        fold = home[index]
    return np.ascontiguousarray(fold)


def as_activations(H: ArrayLike, name: str) -> NDArray[Any]:
    """Activations as (n, h), float32 kept; everything after the first axis is flattened."""
    raw = np.asarray(H)
    if raw.ndim < 2:
        raise ValueError(f"{name} must have at least two axes, got shape {raw.shape}")
    raw = raw.reshape(raw.shape[0], -1)
    if raw.dtype != np.float32:
        try:
            raw = as_float_array(raw, name, ndim=2)
        except ValueError as error:
            if raw.dtype.kind == "f" and not np.isfinite(raw).all():
                raise ValueError(f"{name} holds NaN or infinity: training has diverged") from error
            raise
    else:
        raw = np.ascontiguousarray(raw)
        if not np.isfinite(raw).all():
            raise ValueError(f"{name} holds NaN or infinity: training has diverged")
    if not raw.shape[1]:
        raise ValueError(f"{name} has no units")
    return raw


def pool_units(H: NDArray[Any], most: int = _MAX_UNITS) -> tuple[NDArray[Any], bool]:
    """At most this many units: wider layers are summed into buckets with random signs."""
    h = H.shape[1]
    if h <= most:
        return H, False
    rng = generator(0)
    order = rng.permutation(h)
    sign = rng.integers(0, 2, size=h) * 2.0 - 1.0
    edges = np.linspace(0, h, most, endpoint=False).astype(np.int64)
    return np.add.reduceat((H * sign)[:, order], edges, axis=1), True


# ---------------------------------------------------------------------------------------------
# factorisations: three routes to the same sums


@dataclasses.dataclass
class _GroupSums:
    """Sums over a held-out fold for one group of targets: error = tt - 2 c.cross + c.Q c."""

    tt: float
    cross: FloatArray
    Q: FloatArray
    Z: FloatArray | None  # (r, k) coordinates of the predictions, for labels
    mean: FloatArray | None  # (k,)


@dataclasses.dataclass
class _FoldSpectrum:
    """One factorisation of the training folds; predictions are P diag(c) Z."""

    e: FloatArray  # (r,) eigenvalues of the centred training Gram matrix
    scale: FloatArray | None  # c = scale / (e + penalty); None is 1
    n_held: float
    groups: list[_GroupSums]
    basis: FloatArray | None = None  # (h, r)
    mean_h: FloatArray | None = None  # (h,)
    P: FloatArray | None = None  # (n_held, r)

    def project(self, H: NDArray[Any]) -> FloatArray:
        """Coordinates P of more rows."""
        assert self.basis is not None
        assert self.mean_h is not None
        return np.asarray((H - self.mean_h) @ self.basis)

    def coefficients(self, ridges: FloatArray, n_units: int) -> FloatArray:
        penalty = ridges[:, None] * self.e.sum() / n_units
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
        fast, for ridges of 1e-6 and above.
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

    Notes
    -----
    Derived here. Batches of a thousand rows or more keep the products efficient.

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
        h = check_integer(n_units, "n_units", low=1)
        q = check_integer(n_targets, "n_targets", low=1)
        f = check_integer(n_folds, "n_folds", low=2)
        self.precision = check_choice(precision, "precision", ("double", "single"))
        self.n_jobs = n_jobs
        self.hh, self.ht = np.zeros((f, h, h)), np.zeros((f, h, q))
        self.h, self.t, self.tt = np.zeros((f, h)), np.zeros((f, q)), np.zeros((f, q))
        self.count = np.zeros(f)
        self.shift_h: FloatArray | None = None
        self.shift_t: FloatArray | None = None

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
        n_folds, h, q = self.ht.shape
        check_shape(acts, (None, h), "H")
        check_shape(targets, (acts.shape[0], q), "T")
        if fold is None:
            where = (int(self.count.sum()) + np.arange(acts.shape[0])) % n_folds
        else:
            where = np.asarray(fold)
            if where.dtype.kind not in "iu" or where.shape != (acts.shape[0],):
                raise ValueError(f"fold must hold {acts.shape[0]} integers, got {where.shape}")
            if where.size and not (where.min() >= 0 and where.max() < n_folds):
                raise ValueError(f"fold must lie in [0, {n_folds - 1}]")
        self._add(acts, targets, np.ascontiguousarray(where, dtype=np.int64))
        return self

    def _add(self, H: NDArray[Any], T: FloatArray, fold: NDArray[np.int64]) -> None:
        if not H.shape[0]:
            return
        if self.shift_h is None or self.shift_t is None:
            self.shift_h, self.shift_t = H.mean(axis=0, dtype=np.float64), T.mean(axis=0)
        core.phases.add_batch(
            *self._sums(), H, T, fold, self.shift_h, self.shift_t, self.precision == "single",
            effective_n_threads(self.n_jobs),
        )  # fmt: skip

    def _sums(
        self,
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.hh, self.ht, self.h, self.t, self.tt, self.count

    def spectrum(self, f: int, groups: Iterable[TargetGroup], *, with_basis: bool) -> _FoldSpectrum:
        """Factorisation with fold f held out."""
        from scipy.linalg import eigh

        others = [g for g in range(self.count.size) if g != f]
        n = float(self.count[others].sum())
        n_held = float(self.count[f])
        if n < 2.0 or n_held < 1.0:
            raise ValueError(f"fold {f} has {n_held:g} rows and the others {n:g}: too few")
        mean_h = self.h[others].sum(axis=0) / n
        gram = self.hh[others[0]].copy()
        for g in others[1:]:
            gram += self.hh[g]
        gram -= np.outer(n * mean_h, mean_h)
        # the transpose of a C-ordered array is what LAPACK overwrites without a copy
        e, u = eigh(gram.T, lower=False, overwrite_a=True, check_finite=False, driver="evd")
        del gram
        e = np.maximum(e, 0.0)
        held = np.tril(self.hh[f], -1)
        held += held.T.copy()
        held[np.diag_indices_from(held)] = self.hh[f].diagonal()
        held -= np.outer(self.h[f], mean_h)
        held -= np.outer(mean_h, self.h[f] - n_held * mean_h)
        held = u.T @ held
        held = held @ u
        out = []
        for group in groups:
            columns = slice(group.first, group.last)
            mean_t = self.t[others, columns].sum(axis=0) / n
            tt = self.tt[f, columns] - 2.0 * mean_t * self.t[f, columns] + n_held * mean_t**2
            train, cross = core.phases.target_products(
                *self._sums(), f, group.first, group.last, effective_n_threads(self.n_jobs)
            )
            along = np.einsum("ij,ij->j", cross.T @ u, u)
            del cross
            coordinates = mean = None
            if group.label_index is not None and self.shift_t is not None:
                b = self.ht[others, :, columns].sum(axis=0) - n * np.outer(mean_h, mean_t)
                coordinates, mean = u.T @ b, mean_t + self.shift_t[columns]
            train = u.T @ train
            train = train @ u
            train *= held
            out.append(_GroupSums(float(tt.sum()), along, train, coordinates, mean))
        keep = u if with_basis else None
        return _FoldSpectrum(e, None, n_held, out, keep, mean_h + self.shift_h)


def _spectrum_dual(
    gram: FloatArray,
    targets: TargetSet,
    groups: Iterable[TargetGroup],
    fold: NDArray[np.int64],
    f: int,
) -> _FoldSpectrum:
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
    e, v = eigh(tt, lower=True, check_finite=False)
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
            _GroupSums(
                float((To**2).sum()), cross, Q, Z if is_label else None, mean if is_label else None
            )
        )
    return _FoldSpectrum(e, None, float(held.size), out, P=P)


def _spectrum_svd(
    H: NDArray[Any],
    targets: TargetSet,
    groups: Iterable[TargetGroup],
    fold: NDArray[np.int64],
    f: int,
) -> _FoldSpectrum:
    """The same from the activations themselves, without squaring their condition number."""
    from scipy.linalg import svd

    train, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
    Ht = np.asarray(H[train], dtype=np.float64)
    mean_h = Ht.mean(axis=0)
    left, s, right = svd(Ht - mean_h, full_matrices=False, check_finite=False)
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
            _GroupSums(
                float((To**2).sum()), cross, Q, Z if is_label else None, mean if is_label else None
            )
        )
    return _FoldSpectrum(s**2, s, float(held.size), out, P=P)


# ---------------------------------------------------------------------------------------------
# scores


@dataclasses.dataclass(frozen=True)
class ProbeScore:
    """Least-squares probe of one task, cross-validated; see `reconstruction_score`.

    Parameters
    ----------
    r2 : float
        Cross-validated R² at the best ridge, summed over the columns of the target.
    accuracy : float or None
        Share of held-out labels hit at the same ridge; None for real targets.
    ridge : float
        That ridge, relative.
    r2_path : ndarray of shape (n_ridges,)
        R² at every ridge.
    accuracy_path : ndarray of shape (n_ridges,) or None
        Accuracy at every ridge.
    """

    r2: float
    accuracy: float | None
    ridge: float
    r2_path: FloatArray
    accuracy_path: FloatArray | None


@dataclasses.dataclass(frozen=True)
class ReconstructionScore:
    """What a layer still knows, as `reconstruction_score` returns it (see `reconstruction_score`).

    Parameters
    ----------
    fuv : float
        Fraction of unexplained input variance, cross-validated, at the best ridge; may exceed 1.
    stderr : float
        Its standard error over folds.
    ridge : float
        The best ridge, relative to the mean eigenvalue of the Gram matrix.
    fuv_floor : float
        FUV at the fixed relative ridge 1e-2: what is there at a usable amplitude.
    ridges : ndarray of shape (n_ridges,)
        The ridges.
    fuv_path : ndarray of shape (n_ridges,)
        FUV at every ridge: the resolution profile.
    fuv_folds, fuv_floor_folds : ndarray of shape (F,)
        The two values fold by fold.
    n_units, n_samples : int
        Size of the activations.
    route : {"primal", "dual", "svd"}
        What was factorised.
    is_upper_bound : bool
        Whether the layer was pooled to fewer units, which can only raise FUV.
    probes : dict of str to ProbeScore
        The other targets.
    """

    fuv: float
    stderr: float
    ridge: float
    fuv_floor: float
    ridges: FloatArray
    fuv_path: FloatArray
    fuv_folds: FloatArray
    fuv_floor_folds: FloatArray
    n_units: int
    n_samples: int
    route: str
    is_upper_bound: bool
    probes: dict[str, ProbeScore]

    def __str__(self) -> str:
        lines = [
            f"unexplained input variance {self.fuv:.4f} +- {self.stderr:.4f} at ridge "
            f"{self.ridge:.1e}, {self.fuv_floor:.4f} at ridge {FLOOR_RIDGE:.0e}"
        ]
        for name, probe in self.probes.items():
            hit = "" if probe.accuracy is None else f", accuracy {probe.accuracy:.4f}"
            lines.append(f"{name}: R2 {probe.r2:.4f}{hit} at ridge {probe.ridge:.1e}")
        return "\n".join(lines)


def check_ridges(ridge: Ridge, ridges: ArrayLike | None) -> FloatArray:
    """Grid of relative ridges, increasing; one entry for a fixed ridge."""
    if isinstance(ridge, str):
        check_choice(ridge, "ridge", ("cv",))
        grid = as_float_array(DEFAULT_RIDGES if ridges is None else ridges, "ridges")
        if not grid.size or grid.min() <= 0.0 or (np.diff(grid) <= 0.0).any():
            raise ValueError("ridges must be positive and increasing")
        return grid
    if ridges is not None:
        raise ValueError('ridges is the grid of ridge="cv"; give one of them')
    return np.array([check_real(ridge, "ridge", low=0.0, open_low=True)])


class ScoreBuilder:
    """Sums fold by fold into scores; the second pass over the activations counts hits."""

    def __init__(
        self,
        targets: TargetSet,
        ridges: FloatArray,
        n_units: int,
        *,
        with_accuracy: bool,
        n_jobs: int | None = None,
    ) -> None:
        self.n_jobs = n_jobs
        self.targets, self.ridges, self.n_units = targets, ridges, n_units
        self.with_accuracy = with_accuracy and any(
            g.label_index is not None for g in targets.groups
        )
        # the floor is measured along with the path, whether or not the grid holds it
        self.all_ridges = np.append(ridges, FLOOR_RIDGE)
        self.errors: list[FloatArray] = []  # per fold: (n_groups, n_ridges + 1)
        self.held: list[float] = []
        self.hits = np.zeros((len(targets.groups), ridges.size))
        self.largest = 0.0

    def add(self, spectrum: _FoldSpectrum) -> None:
        c = spectrum.coefficients(self.all_ridges, self.n_units)
        self.errors.append(
            np.array([g.tt - 2.0 * (c @ g.cross) + ((c @ g.Q) * c).sum(axis=1)
                      for g in spectrum.groups])
        )  # fmt: skip
        self.held.append(spectrum.n_held)
        self.largest = max(self.largest, float(spectrum.e.max(initial=0.0)))

    def count(self, spectrum: _FoldSpectrum, P: FloatArray, rows: NDArray[np.int64]) -> None:
        """Hits among the held-out rows, whose coordinates are P (len(rows), r)."""
        c = spectrum.coefficients(self.ridges, self.n_units)
        for k, (group, sums) in enumerate(zip(self.targets.groups, spectrum.groups, strict=True)):
            if group.label_index is None or sums.Z is None or sums.mean is None:
                continue
            self.hits[k] += core.phases.count_hits(
                np.ascontiguousarray(P), c, np.ascontiguousarray(sums.Z), sums.mean,
                np.ascontiguousarray(group.label_index[rows]), effective_n_threads(self.n_jobs),
            )  # fmt: skip

    def finish(self, route: str, is_upper_bound: bool) -> ReconstructionScore:
        errors, held = np.array(self.errors), np.array(self.held)
        n = held.sum()
        variance = np.array([g.variance for g in self.targets.groups])
        path = errors.sum(axis=0) / n / variance[:, None]
        per_fold = errors / held[:, None, None] / variance[:, None]
        if self.largest == 0.0:  # a dead layer predicts the mean
            path, per_fold = np.ones_like(path), np.ones_like(per_fold)
        probes = {}
        for k, group in enumerate(self.targets.groups[1:], start=1):
            best = int(path[k, :-1].argmin())
            is_label = group.label_index is not None and self.with_accuracy
            hits = self.hits[k] / n if is_label else None
            probes[group.name] = ProbeScore(
                float(1.0 - path[k, best]), None if hits is None else float(hits[best]),
                float(self.ridges[best]), 1.0 - path[k, :-1], hits,
            )  # fmt: skip
        best = int(path[0, :-1].argmin())
        folds = per_fold[:, 0, best]
        return ReconstructionScore(
            fuv=float(path[0, best]), stderr=float(folds.std(ddof=1) / math.sqrt(folds.size)),
            ridge=float(self.ridges[best]), fuv_floor=float(path[0, -1]), ridges=self.ridges,
            fuv_path=path[0, :-1], fuv_folds=folds, fuv_floor_folds=per_fold[:, 0, -1],
            n_units=self.n_units, n_samples=int(n), route=route, is_upper_bound=is_upper_bound,
            probes=probes,
        )  # fmt: skip


def warn_about(score: ReconstructionScore, n_inputs: int, name: str, *, stacklevel: int) -> None:
    """Dead, invertible and pooled layers are worth a word."""
    if (score.fuv_path == 1.0).all() and (score.fuv_folds == 1.0).all():
        message = f"{name} is dead: no unit varies over the evaluation set, so FUV is 1"
    elif score.n_units >= n_inputs and score.fuv < 0.02:
        message = (
            f"{name} is an uninformative layer: its {score.n_units} units determine the {n_inputs} "
            "inputs; use a narrower layer, or fuv_floor"
        )
    elif score.is_upper_bound:
        message = f"{name} was pooled to {score.n_units} units: its FUV is an upper bound"
    else:
        return
    warnings.warn(message, ValidityWarning, stacklevel=stacklevel)


def score_activations(
    H: NDArray[Any],
    targets: TargetSet,
    fold: NDArray[np.int64],
    ridges: FloatArray,
    *,
    precision: Literal["double", "single"] = "double",
    with_accuracy: bool = True,
    n_jobs: int | None = None,
) -> ReconstructionScore:
    """Score of activations that are in memory."""
    H, pooled = pool_units(H)
    n, h = H.shape
    n_folds = int(fold.max()) + 1
    builder = ScoreBuilder(targets, ridges, h, with_accuracy=with_accuracy, n_jobs=n_jobs)
    rows = [np.flatnonzero(fold == f) for f in range(n_folds)]
    route = "svd" if ridges.min() < _GRAM_LIMIT else "dual" if n < h else "primal"
    moments = gram = None
    if route == "primal":
        moments = FoldMoments(h, targets.T.shape[1], n_folds, precision=precision, n_jobs=n_jobs)
        moments._add(H, targets.T, fold)
    elif route == "dual":
        centred = H - H.mean(axis=0, dtype=np.float64)
        gram = centred @ centred.T
        del centred
    for f in range(n_folds):
        if moments is not None:
            spectrum = moments.spectrum(f, targets.groups, with_basis=builder.with_accuracy)
        elif gram is not None:
            spectrum = _spectrum_dual(gram, targets, targets.groups, fold, f)
        else:
            spectrum = _spectrum_svd(H, targets, targets.groups, fold, f)
        builder.add(spectrum)
        if builder.with_accuracy:
            P = spectrum.P
            if P is None:
                P = spectrum.project(H[rows[f]])
            builder.count(spectrum, P, rows[f])
        del spectrum  # before the next one is made
    return builder.finish(route, pooled)


def score_stream(
    make_batches: Callable[[], Iterable[Mapping[str, ArrayLike]]],
    targets: TargetSet,
    fold: NDArray[np.int64],
    ridges: FloatArray,
    *,
    layers: Sequence[str] | None = None,
    precision: Literal["double", "single"] = "double",
    n_jobs: int | None = None,
) -> dict[str, ReconstructionScore]:
    """Scores of layers whose activations come batch by batch, twice if labels are probed."""
    n, q = targets.T.shape
    n_folds = int(fold.max()) + 1
    if ridges.min() < _GRAM_LIMIT:
        raise ValueError(
            f"ridges below {_GRAM_LIMIT:g} need the activations in memory: pass arrays"
        )
    moments: dict[str, FoldMoments] = {}
    kept: dict[str, list[NDArray[Any]]] = {}  # layers wider than the sample: dual form
    pooled: set[str] = set()
    for name, rows, H in _batches(make_batches, n, layers):
        acts, was_pooled = pool_units(H)
        if was_pooled:
            pooled.add(name)
        h = acts.shape[1]
        if h > n:
            kept.setdefault(name, []).append(acts.copy())
            continue
        if name not in moments:
            moments[name] = FoldMoments(h, q, n_folds, precision=precision, n_jobs=n_jobs)
        check_shape(acts, (None, moments[name].hh.shape[1]), name)
        moments[name]._add(acts, targets.T[rows], fold[rows])
    scores, builders = {}, {}
    spectra: dict[str, list[_FoldSpectrum]] = {}
    for name, blocks in kept.items():
        scores[name] = score_activations(
            np.concatenate(blocks), targets, fold, ridges, n_jobs=n_jobs
        )
    for name, sums in moments.items():
        builder = ScoreBuilder(targets, ridges, sums.hh.shape[1], with_accuracy=True, n_jobs=n_jobs)
        for f in range(n_folds):
            spectrum = sums.spectrum(f, targets.groups, with_basis=builder.with_accuracy)
            builder.add(spectrum)
            for group in spectrum.groups:  # the second pass needs the coordinates alone
                group.Q = group.cross = np.empty(0)
            spectra.setdefault(name, []).append(spectrum)
        builders[name] = builder
    moments.clear()
    if any(b.with_accuracy for b in builders.values()):
        for name, rows, H in _batches(make_batches, n, layers):
            if name not in builders:
                continue
            acts = pool_units(H)[0]
            for f, spectrum in enumerate(spectra[name]):
                mine = np.flatnonzero(fold[rows] == f)
                P = spectrum.project(acts[mine])
                builders[name].count(spectrum, P, np.arange(rows.start, rows.stop)[mine])
    for name, builder in builders.items():
        scores[name] = builder.finish("primal", name in pooled)
    return scores


def _batches(
    make_batches: Callable[[], Iterable[Mapping[str, ArrayLike]]],
    n: int,
    layers: Sequence[str] | None,
) -> Iterator[tuple[str, slice, NDArray[Any]]]:
    """Every layer of every batch, with the rows it covers; they must add up to n."""
    seen: dict[str, int] = {}
    for batch in make_batches():
        for name in pick_layers(batch, layers):
            acts = as_activations(batch[name], name)
            first = seen.get(name, 0)
            seen[name] = last = first + acts.shape[0]
            if last > n:
                raise ValueError(f"{name} has more than the {n} rows of the evaluation set")
            yield name, slice(first, last), acts
    for name, last in seen.items():
        if last != n:
            raise ValueError(
                f"{name} has {last} rows, the evaluation set {n}: use the same samples each time"
            )
    if not seen:
        raise ValueError("there are no activations")


def pick_layers(batch: Mapping[str, Any], layers: Sequence[str] | None) -> list[str]:
    """The layers asked for, in the order they come."""
    if layers is None:
        return list(batch)
    missing = [name for name in layers if name not in batch]
    if missing:
        raise ValueError(f"layer {missing[0]!r} is not among the activations {list(batch)}")
    return list(layers)


def reconstruction_score(
    H: ArrayLike,
    X: ArrayLike,
    *,
    targets: Mapping[str, ArrayLike] | None = None,
    ridge: Ridge = "cv",
    ridges: ArrayLike | None = None,
    folds: int | ArrayLike = 5,
    groups: ArrayLike | None = None,
    sketch: int | None = None,
    task_weights: ArrayLike | None = None,
    precision: Literal["double", "single"] = "double",
    random_state: Seed = 0,
    n_jobs: int | None = None,
) -> ReconstructionScore:
    r"""Fraction of the input variance that a linear decoder cannot recover from activations.

    The same number is one minus the expected R² of a linear readout over random linear tasks
    :math:`\theta \cdot x`, :math:`\theta \sim N(0, I)` (or :math:`N(0, \Theta)`, see
    ``task_weights``): reconstruction *is* average transfer. A given task can move against it.

    Parameters
    ----------
    H : array_like of shape (n, h) or (n, ...)
        Activations of one layer on an evaluation set; trailing axes are flattened.
    X : array_like of shape (n, p) or (n, ...)
        The inputs they belong to.
    targets : mapping of str to array_like, or None, default=None
        Further tasks to probe: labels (one dimension, not float) or real targets.
    ridge : "cv" or float, default="cv"
        Relative ridge: the penalty is ``ridge`` times the mean eigenvalue of the centred training
        Gram matrix. "cv" takes the best of ``ridges``.
    ridges : array_like or None, default=None
        Grid, increasing; None takes 1e-8 to 10 in half decades. Its lower end is part of the
        definition: it says which amplitude still counts. Below 1e-8 the activations themselves
        are factorised.
    folds : int or array_like of shape (n,), default=5
        Number of folds (row i is in fold i modulo their number), or the fold of every row.
    groups : array_like of shape (n,) or None, default=None
        Rows of one group stay in one fold: give it where samples are copies of each other.
    sketch : int or None, default=None
        Project the inputs on this many random directions (128 to 512) first: unbiased in error
        and variance, with the same directions for the same ``random_state``.
    task_weights : array_like of shape (p,) or (p, r), or None, default=None
        Weights of the inputs, or a factor of the prior covariance of the tasks.
    precision : {"double", "single"}, default="double"
        "single" multiplies blocks of 256 rows in float32, adding up in float64.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the sketch.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    ReconstructionScore
        FUV at the best ridge and at 1e-2, its path over ridges, and the probes.

    Raises
    ------
    ValueError
        If X is constant, activations are not finite, there are fewer than two samples per fold,
        or shapes disagree.

    Warns
    -----
    ValidityWarning
        If the layer is dead, determines the input, or is wider than 4096 units and was pooled.

    Notes
    -----
    Derived here; the quantity is that of Schneider and Prabhushankar (2024) [1]_ with another
    decoder: theirs is trained by gradient descent, and its convergence depends on the scale of the
    activations, which looks like a phase of its own. Equal to refitting a ridge decoder on every
    fold, to rounding.

    References
    ----------
    .. [1] J. Schneider and M. Prabhushankar, "Understanding and Leveraging the Learning Phases of
       Neural Networks", AAAI 38 (2024) 14886-14893.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import reconstruction_score
    >>> X, y = load_digits(return_X_y=True)
    >>> score = reconstruction_score(X[:, ::2] / 16.0, X / 16.0, targets={"digit": y})
    >>> round(score.fuv, 3), round(score.probes["digit"].accuracy, 3)
    (0.259, 0.847)
    """
    grid = check_ridges(ridge, ridges)
    acts = as_activations(H, "H")
    wanted = TargetSet(X, targets, sketch, task_weights, random_state)
    if acts.shape[0] != wanted.T.shape[0]:
        raise ValueError(f"H has {acts.shape[0]} rows and X {wanted.T.shape[0]}")
    fold = assign_folds(acts.shape[0], folds, groups)
    check_choice(precision, "precision", ("double", "single"))
    score = score_activations(acts, wanted, fold, grid, precision=precision, n_jobs=n_jobs)
    warn_about(score, wanted.n_inputs, "H", stacklevel=3)
    return score
