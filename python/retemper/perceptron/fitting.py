"""Labels, scaling, starts and the best of many runs, for `MarginPerceptronClassifier`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._dispatch import core
from retemper._random import generator
from retemper._results import Status
from retemper._validation import FloatArray, check_entries
from retemper.perceptron.model import UNLABELLED, PriorName, row_law
from retemper.perceptron.passing import roles_of, spectral_start

__all__ = [
    "LawSettings",
    "PassingOptions",
    "PretrainedRows",
    "RowFit",
    "RowLabels",
    "Scaling",
    "Starts",
    "best_fit",
    "count_contradictions",
    "fields_of",
    "find_starts",
    "fit_rows",
    "label_odds",
    "learn_scaling",
    "read_labels",
]


@dataclasses.dataclass(frozen=True)
class LawSettings:
    """The law that rows are fitted with; as in `PerceptronModel`."""

    kappa: float
    sigma: float
    eta_u: float
    eta_l: float

    def law(self, *, offset: float = 0.0, is_centred: bool = False) -> Any:
        """The core's description, for a slab around ``offset``."""
        return row_law(**dataclasses.asdict(self), offset=offset, is_centred=is_centred)


@dataclasses.dataclass(frozen=True)
class PassingOptions:
    """How message passing runs; as in `message_passing`."""

    prior: PriorName
    max_iter: int
    tol: float
    damping: float
    n_threads: int


class RowLabels(NamedTuple):
    """The two classes, and the role of every row for the core."""

    classes: NDArray[Any]
    role: NDArray[np.int8]


def read_labels(
    y: ArrayLike | None,
    n_rows: int,
    classes: ArrayLike | None,
    unlabelled_as: float | str | None = UNLABELLED,
) -> RowLabels:
    """Read the labels of rows, some of which have none.

    Parameters
    ----------
    y : array_like of shape (n_rows,) or None
        Classes; None has no labels.
    n_rows : int
        Number of rows.
    classes : array_like of shape (2,) or None
        The classes; None takes those that the labels show.
    unlabelled_as : int, float, str or None, default=-1
        What marks a row without label; None where every row has one.

    Returns
    -------
    RowLabels
        Classes, 0 and 1 if there is no label, and roles.

    Raises
    ------
    ValueError
        If the labels are not of two classes, or do not fit the rows.
    TypeError
        If the marker is neither a number nor text.
    """
    marker = unlabelled_as
    if marker is not None and not isinstance(marker, int | float | str | np.number):
        raise TypeError(f"unlabelled_as must be a number, text or None, got {marker!r}")
    if y is None:
        return RowLabels(_two_classes(np.array([]), classes, marker), np.zeros(n_rows, np.int8))
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"y must be one-dimensional, got shape {labels.shape}")
    if labels.size != n_rows:
        raise ValueError(f"X has {n_rows} rows and y has {labels.size} entries")
    if labels.dtype.kind == "f":
        check_entries(labels.astype(np.float64), "y")
        if (labels != np.floor(labels)).any():
            raise ValueError(
                "Unknown label type: continuous. y must hold classes, and unlabelled_as for rows "
                "without label"
            )
    elif labels.dtype.kind == "c":
        raise ValueError("Complex data not supported: y must hold classes")
    known = np.ones(n_rows, bool)
    if marker is not None and (labels.dtype.kind in "US") == isinstance(marker, str):
        known = np.asarray(labels != marker, bool)
    elif labels.dtype.kind == "O":  # of mixed kinds
        known = np.array([label != marker for label in labels], bool)
    both = _two_classes(np.unique(labels[known]), classes, marker, some_unknown=not known.all())
    return RowLabels(both, roles_of(np.where(known, labels == both[1], UNLABELLED)))


def _two_classes(
    seen: NDArray[Any],
    classes: ArrayLike | None,
    marker: float | str | None,
    *,
    some_unknown: bool = False,
) -> NDArray[Any]:
    if classes is not None:
        given = np.unique(np.asarray(classes))
        if given.size != 2:
            raise ValueError(f"classes must name two classes, got {classes!r}")
        if marker is not None and marker in given.tolist():
            raise ValueError(
                f"classes must not hold {marker!r}, which marks unlabelled rows, got "
                f"{given.tolist()}: those rows would lose their label. If it is a class, give "
                "unlabelled_as=None, or another marker"
            )
        if not np.isin(seen, given).all():
            raise ValueError(f"y has classes {seen.tolist()}, not all in {given.tolist()}")
        return given
    if seen.size == 0:
        return np.array([0, 1])
    if seen.size == 1:
        hint = (
            f"; {marker!r} marks unlabelled rows: if it is a class, give unlabelled_as=None"
            if some_unknown
            else ""
        )
        raise ValueError(
            f"the labelled rows have one class only, {seen[0]!r}{hint}. Pass classes=(a, b) if "
            "the other class has no label"
        )
    if seen.size > 2:
        raise ValueError(
            "Only binary classification is supported. The type of the target is multiclass: "
            f"y has {seen.size} classes{f' besides {marker!r}' if some_unknown else ''}"
        )
    return seen


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Features that vary, their means and their units."""

    kept: NDArray[np.bool_]
    mean: FloatArray
    scale: FloatArray

    def apply(self, X: FloatArray, dtype: str) -> NDArray[Any]:
        """Rows as the core takes them."""
        return np.ascontiguousarray((X[:, self.kept] - self.mean) / self.scale, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class PretrainedRows:
    """Standardised rows of an earlier fit, its weights, and the scaling of its columns."""

    rows: NDArray[Any]
    weights: FloatArray
    scaling: Scaling

    def in_order(self, theirs: Any, mine: tuple[str, ...] | None, n_features: int) -> Self:
        """The same with the columns in the order of new rows.

        Parameters
        ----------
        theirs : array_like of str or None
            Columns of the earlier fit.
        mine : tuple of str or None
            Columns of the new rows.
        n_features : int
            Their number.

        Returns
        -------
        PretrainedRows
            Reordered if both have names.

        Raises
        ------
        ValueError
            If the columns are not the same.
        """
        kept = self.scaling.kept
        if theirs is None or mine is None:
            if kept.size != n_features:
                raise ValueError(f"source has {kept.size} features, X has {n_features}")
            return self
        place = {str(name): j for j, name in enumerate(theirs)}
        if set(place) != set(mine):
            raise ValueError(
                f"source was fitted on the columns {sorted(place)}, X has {sorted(mine)}"
            )
        order = np.array([place[name] for name in mine])
        columns = (np.cumsum(kept) - 1)[order[kept[order]]]
        scaling = Scaling(kept[order], self.scaling.mean[columns], self.scaling.scale[columns])
        rows = np.ascontiguousarray(self.rows[:, columns])
        return dataclasses.replace(self, rows=rows, weights=self.weights[columns], scaling=scaling)


def learn_scaling(X: FloatArray, *, standardize: bool, centre: bool) -> Scaling:
    """Read the scaling off rows.

    Raises
    ------
    ValueError
        If no column varies.
    """
    spread = X.std(axis=0)
    kept = spread > 1e-12 * np.maximum(np.abs(X).max(axis=0), 1e-300)
    if X.shape[0] > 1 and not kept.any():
        raise ValueError("X does not vary: every column is constant")
    n_kept = int(kept.sum())
    return Scaling(
        kept=kept,
        mean=X[:, kept].mean(axis=0) if centre else np.zeros(n_kept),
        scale=spread[kept] if standardize else np.ones(n_kept),
    )


class Starts(NamedTuple):
    """Weights to start from, one row for each, and the leading eigenvalue of the rows."""

    weights: FloatArray
    eigenvalue: float


def find_starts(
    Z: NDArray[Any],
    role: NDArray[np.int8],
    settings: LawSettings,
    *,
    init: Literal["auto", "zero", "spectral", "random"],
    n_init: int,
    key: tuple[int, int],
    n_threads: int,
) -> Starts:
    """The first ``n_init`` starts: as ``init`` says, then spectral with both signs, then random."""
    n = Z.shape[1]
    moment = core.perceptron.hermite_moments(
        settings.law(), core.perceptron.RowKind.unlabelled
    ).second
    spectral = spectral_start(Z, np.ones(Z.shape[0], bool), moment, key=key, n_threads=n_threads)
    rng = generator(np.random.SeedSequence(key))
    has_labels = bool(role.any())
    first = init if init != "auto" else "zero" if has_labels else "spectral"
    known = {"zero": np.zeros(n), "spectral": spectral.weights}
    starts: list[FloatArray] = [known.pop(first)] if first in known else []
    if first != "random":
        starts += [known["spectral"]] if "spectral" in known else []
        starts += [-spectral.weights] if has_labels else []
    while len(starts) < n_init:
        starts.append(np.asarray(0.3 * rng.normal(size=n)))
    kept = np.stack(starts[:n_init])
    size = np.sqrt((kept**2).sum(axis=1, keepdims=True) / n)
    return Starts(np.asarray(kept / np.maximum(1.0, size / 0.99)), spectral.eigenvalue)


@dataclasses.dataclass(frozen=True)
class RowFit:
    """One run of message passing on rows.

    Parameters
    ----------
    weights : ndarray of shape (n_features,)
        Posterior mean of the weights.
    slab : float
        Centre of the slab, in the fields of rows that are not centred.
    offset : float
        The same in the fields of the rows given.
    variance : float
        Posterior variance of a weight.
    free_entropy : float
        Bethe free entropy per feature, nats.
    n_iter : int
        Iterations.
    residual : float
        Last relative change of the weights.
    status : Status
        How the run ended.
    cavity_fields : ndarray of shape (n_rows,)
        Fields of the rows without their own influence.
    """

    weights: FloatArray
    slab: float
    offset: float
    variance: float
    free_entropy: float
    n_iter: int
    residual: float
    status: Status
    cavity_fields: FloatArray

    @property
    def overlap(self) -> float:
        """Squared norm of the mean per feature."""
        return float(self.weights @ self.weights) / self.weights.size


def best_fit(
    Z: NDArray[Any],
    role: NDArray[np.int8],
    starts: FloatArray,
    offsets: FloatArray,
    settings: LawSettings,
    *,
    options: PassingOptions,
    is_centred: bool = False,
    any_status: bool = False,
) -> RowFit:
    """All starts at all offsets in one batch; the converged one of largest evidence.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_features)
        Standardised rows.
    role : ndarray of int8 of shape (n_rows,)
        Their roles.
    starts : ndarray of shape (n_starts, n_features)
        Weights at the start.
    offsets : ndarray of shape (n_offsets,)
        Centres of the slab.
    settings : LawSettings
        The law of the rows.
    options : PassingOptions
        How message passing runs.
    is_centred : bool, default=False
        Whether the rows are seen from their mean.
    any_status : bool, default=False
        Whether runs that did not converge count too.

    Returns
    -------
    RowFit
        The best run.
    """
    laws = [settings.law(offset=float(b), is_centred=is_centred) for b in offsets]
    n_starts = len(starts)
    runs = core.perceptron.amp(
        Z,
        np.tile(role, (len(laws) * n_starts, 1)),
        [law for law in laws for _ in range(n_starts)],
        core.perceptron.Prior[options.prior],
        start=np.tile(starts, (len(laws), 1)),
        max_iter=options.max_iter,
        tol=options.tol,
        damping=options.damping,
        n_threads=options.n_threads,
    )
    status = [Status(name) for name in runs.status]
    settled = np.array([s is Status.CONVERGED for s in status]) | any_status
    at = int(np.where(settled | ~settled.any(), runs.free_entropy, -np.inf).argmax())
    slab = offset = float(offsets[at // n_starts])
    if is_centred:  # seen from the mean of the rows
        law = settings.law(offset=slab)
        offset -= core.perceptron.hermite_moments(law, core.perceptron.RowKind.unlabelled).first
    return RowFit(
        weights=runs.weights[at].copy(),
        slab=slab,
        offset=offset,
        variance=float(runs.variance[at]),
        free_entropy=float(runs.free_entropy[at]),
        n_iter=int(runs.n_iter[at]),
        residual=float(runs.residual[at]),
        status=status[at],
        cavity_fields=runs.field_mean[at].copy(),
    )


def fit_rows(
    Z: NDArray[Any],
    role: NDArray[np.int8],
    starts: FloatArray,
    settings: LawSettings,
    *,
    options: PassingOptions,
    search_offset: bool,
) -> RowFit:
    """The best run, with the slab around zero or wherever the evidence puts it."""
    if not search_offset:
        return best_fit(Z, role, starts, np.zeros(1), settings, options=options)
    # off its place a hard slab contradicts the rows: there runs oscillate, at low evidence
    coarse = best_fit(
        Z, role, starts, np.linspace(-2, 2, 41), settings,
        options=options, is_centred=True, any_status=True,
    )  # fmt: skip
    fine = coarse.slab + np.linspace(-0.08, 0.08, 9)
    return best_fit(Z, role, coarse.weights[None], fine, settings, options=options, is_centred=True)


def fields_of(Z: NDArray[Any], weights: FloatArray) -> FloatArray:
    """Fields of standardised rows."""
    return np.asarray(Z @ weights / math.sqrt(weights.size))


def count_contradictions(
    Z: NDArray[Any], role: NDArray[np.int8], fit: RowFit, settings: LawSettings
) -> int:
    """Rows that a hard margin forbids where the posterior has shrunk to a point."""
    if settings.sigma > 0 or fit.variance > 1e-4:
        return 0
    h = (fields_of(Z, fit.weights) - fit.offset) / math.sqrt(max(fit.overlap, 1e-12))
    depth = settings.kappa - np.where(role == 0, np.abs(h), role * h)
    hard = (role == 0) & (settings.eta_u == 0) | (role != 0) & (settings.eta_l == 0)
    return int((hard & (depth > 10 * math.sqrt(fit.variance) + 1e-3)).sum())


def label_odds(fields: FloatArray, variance: float, settings: LawSettings) -> FloatArray:
    """Log-odds that the label of a row is positive, at fields of this posterior variance."""
    spread = np.array([min(max(variance, 1e-14), 1.0)])
    kind = core.perceptron.RowKind.positive
    law = LawSettings(settings.kappa, settings.sigma, 0.0, settings.eta_l).law()
    towards, away = (
        core.perceptron.channel_score(law, kind, sign * np.ascontiguousarray(fields), spread, 1)
        for sign in (1, -1)
    )
    return np.asarray(towards.log_w - away.log_w)
