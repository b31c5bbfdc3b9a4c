"""What `advise` is given: the target sample, and sources in any of the forms people have them."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._sources import (
    LARGEST_LABEL,
    Face,
    Source,
    match_columns,
    name_sources,
    read_rows,
    read_source,
)
from retemper._validation import FloatArray, as_float_array, check_choice, check_entries
from retemper.exceptions import ValidityWarning
from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression

TaskName = Literal["regression", "binary", "multiclass"]

#: Whole numbers with at most this many values are taken as classes by ``task="auto"``.
_FEW_VALUES = 20
#: A column whose spread is below this part of its entries does not vary: it is rounding.
_STILL = 1e-13
#: Every way in which a source can be given.
FACES: tuple[Face, ...] = ("coef", "predict", "predictions", "data")


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """A linear source in the order of the target's columns, as estimators take it.

    Attributes
    ----------
    coef_ : ndarray of shape (q, d)
        Slopes.
    intercept_ : ndarray of shape (q,)
        Offsets.
    """

    coef_: FloatArray
    intercept_: FloatArray


@dataclasses.dataclass(frozen=True)
class SourceInput:
    """A source of `advise`: what was read, and what its predictions for the target rows show.

    Attributes
    ----------
    name : str
        Its name.
    read : Source
        As `retemper._sources` reads it; for source rows, the model that was fitted on them.
    data : tuple of ndarray or None
        Source rows and labels, if these were given.
    duplicate_of : str or None
        An earlier source with the same predictions on the target rows.
    is_constant : bool
        Whether it predicts the same for every target row: a factor on it means nothing.
    flags : tuple of str
        What a reader should know.
    """

    name: str
    read: Source
    data: tuple[FloatArray, NDArray[Any]] | None
    duplicate_of: str | None = None
    is_constant: bool = False
    flags: tuple[str, ...] = ()

    @property
    def coef(self) -> FloatArray | None:
        """Slopes (q, d), of a linear source."""
        return self.read.coef

    @property
    def can_predict(self) -> bool:
        """Whether it can be used on new rows."""
        return self.read.values is None

    @property
    def model(self) -> Any:
        """What estimators take as ``source``; None for predictions."""
        if self.read.coef is not None:
            return Coefficients(self.read.coef, self.read.intercept)
        return self.read.function


@dataclasses.dataclass(frozen=True)
class Units:
    """The units in which columns are compared: their means and standard deviations.

    What is fitted in these units does not depend on those of the user.

    Attributes
    ----------
    mean, scale : ndarray of shape (d,)
        Of every column; the scale of a column that does not vary is the size of its entries.
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> Units:
        """Those of a sample."""
        mean = rows.mean(axis=0)
        scale = (rows - mean).std(axis=0)
        largest = np.abs(rows).max(axis=0)
        still = scale <= _STILL * largest
        mean = np.where(still, rows[0], mean)
        return cls(mean, np.where(still, np.where(largest > 0.0, largest, 1.0), scale))

    def rows(self, rows: FloatArray) -> FloatArray:
        """Rows in these units."""
        return np.ascontiguousarray((rows - self.mean) / self.scale)

    def coef(self, coef: FloatArray) -> FloatArray:
        """Slopes on rows in these units, from slopes on the rows of the user."""
        return coef * self.scale

    @property
    def metric(self) -> FloatArray:
        """Diagonal of the penalty that shrinks as if the rows were in these units."""
        return np.square(self.scale)


@dataclasses.dataclass(frozen=True)
class Task:
    """The target sample and what the sources say on it.

    Attributes
    ----------
    name : {"regression", "binary", "multiclass"}
        Kind of labels.
    rows : ndarray of shape (n, d)
        Rows, in the units of the user.
    units : Units
        Mean and spread of every column.
    X : ndarray of shape (n, d)
        The rows in these units: what is fitted.
    y : ndarray of shape (n,)
        Labels; classes as 0, 1, ..., k - 1.
    given : object
        The rows as the user passed them.
    classes : ndarray of shape (k,) or None
        Classes.
    sources : tuple of SourceInput
        Sources.
    scores : ndarray of shape (s, n, q)
        Predictions, or logits (one column for two classes), of every source on every row.
    """

    name: TaskName
    rows: FloatArray
    units: Units
    X: FloatArray
    y: FloatArray
    given: Any
    classes: NDArray[Any] | None
    sources: tuple[SourceInput, ...]
    scores: FloatArray

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return self.name == "regression"

    def name_of(self, source: int) -> str:
        """Name of a source by its number; -1 is scratch."""
        return "scratch" if source < 0 else self.sources[source].name

    @property
    def labels(self) -> NDArray[Any]:
        """Labels as the user gave them."""
        return self.y if self.classes is None else self.classes[self.y.astype(np.intp)]


def read_task(X: Any, y: ArrayLike, sources: Any, task: str) -> Task:
    """Check the target sample, and evaluate the sources on it.

    Parameters
    ----------
    X : array_like or data frame of shape (n, d)
        Rows.
    y : array_like of shape (n,)
        Labels.
    sources : object
        As `advise` takes them.
    task : {"auto", "regression", "classification"}
        Kind of labels.

    Returns
    -------
    Task
        Checked.

    Raises
    ------
    ValueError, TypeError
        As `advise` says.
    """
    check_choice(task, "task", ("auto", "regression", "classification"))
    rows = read_rows(X, "X")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"y must be one column of labels, got an array of shape {labels.shape}")
    n = len(rows)
    if len(labels) != n:
        raise ValueError(f"X and y must have as many rows, got {n} and {len(labels)}")
    if n < 6:
        raise ValueError(f"X must have at least 6 rows, got {n}: with fewer nothing can be said")
    if _missing(labels):
        raise ValueError("y must not have missing values")
    classes = None
    if task == "regression" or (task == "auto" and not _are_classes(labels)):
        name: TaskName = "regression"
        target = as_float_array(labels, "y", ndim=1)
        check_entries(target, "y", largest=LARGEST_LABEL)
        if np.ptp(target) <= 1e-12 * abs(target).max():
            raise ValueError(f"y is constant ({target[0]:g}): there is nothing to learn")
    else:
        classes, codes = np.unique(labels, return_inverse=True)
        count = np.bincount(codes)
        if len(classes) < 2:
            raise ValueError(f"y has one class only: {classes[0]!r}")
        rare = [f"{c!r} ({k})" for c, k in zip(classes.tolist(), count, strict=True) if k < 3]
        if rare:
            raise ValueError(
                f"y must have at least 3 rows of every class, got {', '.join(rare[:5])}: "
                "label more, join classes or leave them out"
            )
        target = codes.astype(np.float64)
        name = "binary" if len(classes) == 2 else "multiclass"
    read, scores = _read_sources(_Target(X, rows, target, classes), sources)
    units = Units.of(rows)
    return Task(
        name, rows, units, units.rows(rows), target, X, classes, tuple(read), scores
    )  # fmt: skip


def read_unlabelled(unlabelled: ArrayLike, task: Task) -> FloatArray:
    """Rows without labels, with the columns of the target.

    Parameters
    ----------
    unlabelled : array_like of shape (m, d)
        Rows.
    task : Task
        The target.

    Returns
    -------
    ndarray of shape (m, d)
        Checked.
    """
    matched, _ = match_columns(unlabelled, task.given, "unlabelled")
    return read_rows(matched, "unlabelled")


def _missing(labels: NDArray[Any]) -> bool:
    if labels.dtype.kind == "f":
        return bool(np.isnan(labels).any())
    return labels.dtype.kind == "O" and any(
        v is None or (isinstance(v, float) and math.isnan(v)) for v in labels.tolist()
    )


def _are_classes(labels: NDArray[Any]) -> bool:
    if labels.dtype.kind not in "fiu":
        return True
    values = np.unique(labels)
    if labels.dtype.kind == "f" and (values != np.round(values)).any():
        return False
    return len(values) <= min(_FEW_VALUES, max(2, len(labels) // 3))


@dataclasses.dataclass(frozen=True)
class _Target:
    """The target sample before its sources are read."""

    given: Any
    rows: FloatArray
    y: FloatArray
    classes: NDArray[Any] | None


def _read_sources(target: _Target, sources: Any) -> tuple[list[SourceInput], FloatArray]:
    rows, y, classes = target.rows, target.y, target.classes
    named = name_sources(sources)
    q = 1 if classes is None or len(classes) == 2 else len(classes)
    read: list[SourceInput] = []
    scores = np.empty((len(named), len(rows), q))
    for j, (name, given) in enumerate(named.items()):
        label = f"sources[{name!r}]"
        source, scores[j] = _read_source(target, given, name, label)
        flags = list(source.flags)
        if classes is None:
            left = np.mean((y - scores[j, :, 0]) ** 2)
            if left <= 1e-10 * np.var(y):
                flags.append(
                    "reproduces every target label: it was probably trained on the target rows, "
                    "and then its error is not to be trusted"
                )
        if source.data is not None:
            seen = {row.tobytes() for row in source.data[0]}
            same = sum(row.tobytes() in seen for row in rows)
            if same:
                flags.append(
                    f"its data contain {same} of the {len(rows)} target rows: its error on them is "
                    "too small"
                )
        size = np.abs(scores[j]).max()
        twin = next(
            (
                read[i].name
                for i in range(j)
                if np.abs(scores[i] - scores[j]).max() <= 1e-9 * max(size, np.abs(scores[i]).max())
            ),
            None,
        )
        constant = bool(np.ptp(scores[j], axis=0).max() <= 1e-9 * size)
        if constant:
            flags.append("predicts the same for every target row")
        read.append(
            dataclasses.replace(source, duplicate_of=twin, is_constant=constant, flags=tuple(flags))
        )
    return read, scores


def _read_source(
    target: _Target, given: Any, name: str, label: str
) -> tuple[SourceInput, FloatArray]:
    X, classes = target.given, target.classes
    read = read_source(given, X, faces=FACES, classes=classes, name=label)
    data, flags = read.data, read.flags
    if data is not None:
        model = _fit_data(data, classes, label)
        read = read_source(model, target.rows, classes=classes, name=label)
        flags = (*flags, f"a linear model was fitted on its {len(data[0])} rows")
    return SourceInput(name, read, data, flags=flags), read.predict(target.rows, X)


def _fit_data(data: tuple[FloatArray, NDArray[Any]], classes: Any, label: str) -> Any:
    """A linear model of the source rows, its strength chosen on them."""
    rows, labels = data
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"{label}[1] must be one column of labels, got shape {labels.shape}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        metric = Units.of(rows).metric
        if classes is not None:
            return FineTunedLogisticRegression(metric=metric).fit(rows, labels)
        values = as_float_array(labels, f"{label}[1]", ndim=1)
        check_entries(values, f"{label}[1]", largest=LARGEST_LABEL)
        return FineTunedLinearRegression(metric=metric).fit(rows, values)
