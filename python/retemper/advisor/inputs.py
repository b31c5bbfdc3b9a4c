"""What `advise` is given: the target sample, and sources in any of the forms people have them."""

from __future__ import annotations

import dataclasses
import re
import warnings
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import compute_sample_weight

from retemper._sources import (
    LARGEST_LABEL,
    ClassOutputs,
    ClassScores,
    Face,
    NamedColumns,
    Predictions,
    Source,
    match_columns,
    name_sources,
    read_rows,
    read_source,
)
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_entries,
    plain_array,
)
from retemper.advisor.blocks import TargetRows, streams
from retemper.advisor.leaks import (
    forgets,
    leaves_too_little,
    row_keys,
    shared_rows,
    squares_too_few,
)
from retemper.advisor.sampling import Rows
from retemper.advisor.scoring import LOSS_NAMES, Scorer, find_scoring
from retemper.datasets.models import read_model
from retemper.datasets.tables import is_table
from retemper.exceptions import ValidityWarning
from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression

TaskName = Literal["regression", "binary", "multiclass"]

#: Whole numbers with at most this many values are taken as classes by ``task="auto"``.
_FEW_VALUES = 20
#: Classes of fewer rows are left out.
_LEAST_ROWS = 3
#: Marks frames behind which a table with text or gaps stands: sources see that one.
ENCODED = "retemper: encoded"
#: Probabilities of a row add up to one within this.
_ADD_UP = 1e-3
#: A number as text, perhaps of money: signs or three capitals before and behind.
_NUMBER = re.compile(r"(?:[A-Z]{3}|\W)*\d[\d.,' ]*(?:[eE][+-]?\d+)?(?:[A-Z]{3}|\W)*")
#: Sparse rows with more entries than this are not made dense.
_MOST_ENTRIES = 2**28
#: A column whose spread is below this part of its entries does not vary: it is rounding.
_STILL = 1e-13
_SMALLEST = 1e-150  # of a scale: its square must be a number too
#: A class of less than this share is rare; and of fewer rows than this, below this share.
_RARE, _FEW_ROWS, _FEW_SHARE = 0.1, 10, 0.25
#: Source rows of more columns are not pooled with those of the target.
_MOST_POOLED = 1000
#: Least curvature of a direction in the loss of source rows, over the mean.
_POOLED_FLOOR = 1e-6
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
    is_suspect : bool
        Whether it seems to have seen the labels of the target.
    curvature : ndarray of shape (d, d) or None
        Second derivatives of the penalised mean loss of its own rows, per row, where these are
        known: what its labels say of the slopes, and how surely.
    """

    name: str
    read: Source
    data: tuple[FloatArray, NDArray[Any]] | None
    duplicate_of: str | None = None
    is_constant: bool = False
    flags: tuple[str, ...] = ()
    is_suspect: bool = False
    curvature: FloatArray | None = None

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
    def of(cls, rows: FloatArray, weight: FloatArray) -> Units:
        """Those of a sample with weights of mean one."""
        mean = (rows * weight[:, None]).mean(axis=0)
        scale = np.sqrt((np.square(rows - mean) * weight[:, None]).mean(axis=0))
        largest = np.abs(rows).max(axis=0)
        still = scale <= np.maximum(_STILL * largest, _SMALLEST)
        mean = np.where(still, rows[0], mean)
        return cls(mean, np.where(still, np.where(largest > _SMALLEST, largest, 1.0), scale))

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
    sample : Rows
        Groups and weights of the rows.
    scoring : str
        The loss that decides.
    reason : str
        Why the labels were read as they were.
    flags : tuple of str
        What a reader should know of the sample.
    scorer : Scorer or None
        The score that decides, if it is no loss by rows.
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
    sample: Rows
    scoring: str
    reason: str
    flags: tuple[str, ...] = ()
    scorer: Scorer | None = None

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for numbers."""
        return 0 if self.classes is None else len(self.classes)

    @property
    def is_streamed(self) -> bool:
        """Whether the rows are read in blocks."""
        return isinstance(self.X, TargetRows)

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return self.name == "regression"

    def name_of(self, source: int) -> str:
        """Name of a source by its number; -1 is scratch, -2 the mixture of all."""
        if source >= 0:
            return self.sources[source].name
        return "scratch" if source == -1 else self.mixture_name

    @property
    def mixture_name(self) -> str:
        """Name of the mixture of sources, which no source has."""
        name = "mixture"
        while any(source.name == name for source in self.sources):
            name += " of all"
        return name

    @property
    def loss_name(self) -> str:
        """What is lost, by the loss or score that decides."""
        return LOSS_NAMES[self.scoring] if self.scorer is None else self.scorer.loss_name

    @property
    def labels(self) -> NDArray[Any]:
        """Labels as the user gave them."""
        return self.y if self.classes is None else self.classes[self.y.astype(np.intp)]


def read_task(
    X: Any,
    y: ArrayLike,
    sources: Any,
    task: str,
    *,
    groups: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    scoring: Any = None,
    in_blocks: bool = False,
) -> Task:
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
    groups, sample_weight : None or array_like of shape (n,), default=None
        Rows that belong together, and weights.
    class_weight : None, "balanced" or dict, default=None
        Factors on the weights by class.
    scoring : None, str or callable, default=None
        The loss or score that decides; None is the usual loss of the task.
    in_blocks : bool, default=False
        Whether numbers that have very many rows, or rows in a file, may be read in blocks.

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
    was_sparse = hasattr(X, "tocsr")
    X, sources = dense(X, "X"), _dense_sources(sources)
    check_same_index(X, y, "X", "y")
    check_same_index(X, groups, "X", "groups")
    check_same_index(X, sample_weight, "X", "sample_weight")
    blocks = None
    if in_blocks and groups is None and sample_weight is None and streams(X):
        blocks = TargetRows(X)
    else:
        _check_gaps(X)
    rows: Any = read_rows(X, "X") if blocks is None else X
    labels = read_labels(y, "y")
    n = rows.shape[0]
    if len(labels) != n:
        raise ValueError(f"X and y must have as many rows, got {n} and {len(labels)}")
    if n < 6:
        raise ValueError(f"X must have at least 6 rows, got {n}: with fewer nothing can be said")
    named = name_sources(sources)
    noted: tuple[str, ...] = ("sparse rows were made dense for the fits",) if was_sparse else ()
    flags: list[str] = []
    kind, reason = (task, "as asked") if task != "auto" else guess_task(labels, named, rows.shape)
    decides, scorer = find_scoring(scoring, is_regression=kind == "regression")
    if blocks is not None and (kind != "regression" or scorer is not None):
        blocks = None
        _check_gaps(X)
        rows = read_rows(X, "X")
    if kind == "regression":
        name: TaskName = "regression"
        if hint := _as_numbers(labels):
            raise ValueError(f"y must hold numbers{hint}")
        target = as_float_array(labels, "y", ndim=1)
        check_entries(target, "y", largest=LARGEST_LABEL)
        if np.ptp(target) <= 1e-12 * abs(target).max():
            raise ValueError(f"y is constant ({target[0]:g}): there is nothing to learn")
        classes = None
    else:
        kept, classes, flags = _frequent(labels, reason)
        if len(kept) < n:
            X = X.iloc[kept] if hasattr(X, "iloc") else rows[kept]
            rows, labels = np.ascontiguousarray(rows[kept]), labels[kept]
            named = {key: _rows_of(source, kept, n) for key, source in named.items()}
            groups = None if groups is None else np.asarray(groups)[kept]
            sample_weight = None if sample_weight is None else np.asarray(sample_weight)[kept]
        target = np.searchsorted(classes, labels).astype(np.float64)
        name = "binary" if len(classes) == 2 else "multiclass"
    if class_weight is not None:
        sample_weight = _weigh_classes(class_weight, labels, classes, sample_weight)
    sides = _Target(X, rows, target, classes, blocks)
    read, scores = _read_sources(sides, named)
    sample = Rows.read(sides.keys, groups, sample_weight)
    units = Units.of(rows, sample.weight) if sample.is_weighted else sides.units
    if blocks is not None:
        own = any(source.data is not None for source in read)
        noted += (
            f"{n} rows are read in blocks"
            + (": fits to source rows and target rows together are left out" if own else ""),
        )
    if classes is not None and class_weight is None:
        flags += _rare_class(target.astype(np.intp), classes, decides if scorer is None else "")
    standard: Any = units.rows(rows) if blocks is None else sides.scaled
    found = Task(
        name, rows, units, standard, target, X, classes, tuple(read), scores, sample,
        decides, reason, (*noted, *flags, *sample.flags), scorer,
    )  # fmt: skip
    if scorer is not None and len(scores):  # before any work
        scorer.score(found, scores[0], np.arange(len(target)))
    return found


def dense(X: Any, name: str) -> Any:
    """Sparse rows as an array, if it is not too large.

    Parameters
    ----------
    X : object
        Rows.
    name : str
        The argument, for messages.

    Returns
    -------
    object
        An array for a sparse matrix; anything else as it is.

    Raises
    ------
    ValueError
        If it would have more than 2^28 entries.
    """
    if not hasattr(X, "tocsr"):
        return X
    entries = int(np.prod(X.shape))
    if entries > _MOST_ENTRIES:
        raise ValueError(
            f"{name} is sparse with {X.shape[0]} rows of {X.shape[1]} columns, which is too many "
            "to be made dense: reduce the columns, for instance by TruncatedSVD"
        )
    return X.toarray()


def _dense_sources(sources: Any) -> Any:
    def one(source: Any) -> Any:
        pair = isinstance(source, tuple) and len(source) == 2 and hasattr(source[0], "tocsr")
        return (dense(source[0], "source rows"), source[1]) if pair else source

    if isinstance(sources, dict):
        return {name: one(source) for name, source in sources.items()}
    return [one(source) for source in sources] if isinstance(sources, list) else one(sources)


def _weigh_classes(
    class_weight: Any, labels: NDArray[Any], classes: NDArray[Any] | None, sample_weight: Any
) -> FloatArray:
    """Weights of the rows times those of their classes."""
    if classes is None:
        raise ValueError(f"class_weight must be None for numbers, got {class_weight!r}")
    if isinstance(class_weight, dict):
        unknown = [c for c in class_weight if c not in classes.tolist()]
        if unknown:
            raise ValueError(
                f"class_weight must name classes of y, {classes.tolist()}, got {unknown[0]!r}"
            )
    else:
        check_choice(class_weight, "class_weight", ("balanced",))
    factor = compute_sample_weight(class_weight, labels)
    if sample_weight is None:
        return np.asarray(factor, np.float64)
    return np.asarray(as_float_array(sample_weight, "sample_weight", ndim=1) * factor)


def _rare_class(codes: NDArray[np.intp], classes: NDArray[Any], decides: str) -> list[str]:
    """What to say of a class of few rows."""
    count = np.bincount(codes, minlength=len(classes))
    rare, most, n = int(np.argmin(count)), int(np.argmax(count)), len(codes)
    share = count[rare] / n
    if share >= _RARE and not (count[rare] < _FEW_ROWS and share < _FEW_SHARE):
        return []
    judged = {
        "log loss": "the log loss decides, which hears the probabilities of rare classes",
        "": "the score that was asked for decides",
    }.get(decides, f"scoring={decides!r} hardly hears them: None is the log loss, which does")
    return [
        f"few rows of class {classes.tolist()[rare]!r}: {count[rare]} of {n}, so always saying "
        f"{classes.tolist()[most]!r} is wrong in {1 - count[most] / n:.0%}; {judged}; "
        "class_weight='balanced' weighs classes alike, in fits and losses"
    ]


def check_same_index(X: Any, y: Any, name: str, labels: str) -> None:
    """Refuse rows and labels of pandas whose indices differ: they would be paired by place.

    Parameters
    ----------
    X, y : object
        Rows and labels.
    name, labels : str
        The arguments, for messages.

    Raises
    ------
    ValueError
        If both have an index, and not the same one.
    """
    if not (hasattr(X, "iloc") and hasattr(y, "iloc")) or len(X) != len(y):
        return
    if X.index.equals(y.index):
        return
    same = len(X.index) == len(set(X.index)) and set(X.index) == set(y.index)
    hint = f"pass {labels}.loc[{name}.index]" if same else "reset both if they go by place"
    mine, theirs = X.index.tolist(), y.index.tolist()
    at = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
    raise ValueError(
        f"{name} and {labels} must have the same index, got {mine[at]!r} and {theirs[at]!r} in "
        f"row {at}: {hint}"
    )


def read_labels(y: Any, name: str) -> NDArray[Any]:
    """Labels as one column of numbers, booleans or text, whatever held them.

    Parameters
    ----------
    y : array_like of shape (n,) or (n, 1)
        Numbers, booleans or text; also categories, nullable and Arrow columns of pandas.
    name : str
        The argument, for messages.

    Returns
    -------
    ndarray of shape (n,)
        The same.

    Raises
    ------
    ValueError
        If there are several columns, values are missing, or text and numbers are mixed.
    """
    labels = np.asarray(plain_array(y))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise ValueError(
            f"{name} must be one column of labels, got {labels.shape[1]}: "
            "retemper.advisor.advise_targets takes several"
        )
    if labels.ndim != 1:
        raise ValueError(
            f"{name} must be one column of labels, got an array of shape {labels.shape}"
        )
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype.kind == "O":
        # None, NaN, NaT and NA: nothing else is unequal to itself or refuses to say
        missing = np.array([v is None or not _equals_itself(v) for v in labels.tolist()])
    else:
        return labels
    if missing.any():
        at = int(np.argmax(missing))
        raise ValueError(
            f"{name} must not have missing values, got {int(missing.sum())}, the first in row {at}"
        )
    if labels.dtype.kind == "f":
        return labels
    values = labels.tolist()
    kinds = {type(v) for v in values}
    if kinds <= {str, np.str_}:
        return np.array(values, dtype=np.str_)
    if kinds <= {bool, np.bool_}:
        return np.array(values, dtype=np.bool_)
    try:
        return np.array(values, dtype=np.float64 if float in kinds else None).astype(
            np.float64 if not all(isinstance(v, int) for v in values) else np.int64
        )
    except (TypeError, ValueError):
        listed = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(
            f"{name} must hold numbers or text, got values of the types {listed}"
        ) from None


def _equals_itself(value: Any) -> bool:
    try:
        return bool(value == value)  # noqa: PLR0124
    except TypeError:
        return False


def _check_gaps(X: Any) -> None:
    """Refuse missing entries of an array, with what to do; gaps of data frames are filled."""
    if hasattr(X, "iloc") or getattr(getattr(X, "dtype", None), "kind", "") != "f":
        return
    gaps = np.isnan(X)
    if gaps.any():
        row, column = np.argwhere(gaps.reshape(len(X), -1))[0].tolist()
        raise ValueError(
            f"X has {int(gaps.sum())} missing values, the first in row {row}, column {column}: "
            "pass pandas.DataFrame(X), whose gaps are filled and marked, or fill them"
        )


def _as_numbers(labels: NDArray[Any]) -> str:
    """A hint where text holds numbers, perhaps with signs of money, spaces or decimal commas."""
    if labels.dtype.kind not in "OUS":
        return ""
    text = [str(label) for label in labels.tolist()]
    if not all(_NUMBER.fullmatch(label.strip()) for label in text):
        return ""
    return (
        f"; it holds numbers as text, such as {text[0]!r}: pass numbers, "
        "y.str.replace(r'[A-Z]{3}|[^0-9.eE+-]', '', regex=True).astype(float) in pandas (make "
        "points of decimal commas first)"
    )


def _frequent(
    labels: NDArray[Any], reason: str
) -> tuple[NDArray[np.intp], NDArray[Any], list[str]]:
    """Rows whose class has three rows or more, these classes, and what to say of the others."""
    values, codes, count = np.unique(labels, return_inverse=True, return_counts=True)
    rare = [f"{c!r} ({k})" for c, k in zip(values.tolist(), count, strict=True) if k < _LEAST_ROWS]
    classes = values[count >= _LEAST_ROWS]
    kept = np.flatnonzero(count[codes] >= _LEAST_ROWS)
    how = f"y was read as classes ({reason}){_as_numbers(labels)}"
    if len(values) < 2:
        raise ValueError(f"y has one class only: {values.tolist()[0]!r}; {how}")
    if len(classes) < 2 or len(kept) < 6:
        raise ValueError(
            f"y must have two classes of at least 3 rows, and 6 rows of such classes, got too few "
            f"rows of {', '.join(rare[:5])}: label more, or join classes; {how}"
        )
    if not rare:
        return kept, classes, []
    flag = (
        f"classes of fewer than 3 rows are left out, nothing is said of them, and the model does "
        f"not know them: {', '.join(rare[:5])}"
    )
    warnings.warn(flag, ValidityWarning, stacklevel=4)
    return kept, classes, [flag]


def _rows_of(source: Any, kept: NDArray[np.intp], n: int) -> Any:
    """Predictions of a source for some of the rows; any other source as it is."""
    if isinstance(source, Predictions):
        return Predictions(np.asarray(source.values)[kept])
    plain = hasattr(source, "__len__") and not isinstance(source, tuple | str | dict)
    if plain and not hasattr(source, "fit") and np.ndim(source) in (1, 2) and len(source) == n:
        return np.asarray(source)[kept]
    return source


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


def guess_task(
    labels: NDArray[Any], named: dict[str, Any], shape: tuple[int, ...]
) -> tuple[str, str]:
    """What ``task="auto"`` means, and why: by the labels if they are text, else by the sources."""
    if labels.dtype.kind not in "fiu":
        return "classification", "its values are not numbers"
    values = np.unique(labels)
    if labels.dtype.kind == "f" and (values != np.round(values)).any():
        return "regression", "y has values that are not whole"
    said = {name: _suits(source, len(values), shape) for name, source in named.items()}
    sides = {side for side in said.values() if side}
    if len(sides) == 1:
        (side,) = sides
        name = next(name for name, suited in said.items() if suited)
        return side, f"source {name!r} is made for {side}"
    few = len(values) <= min(_FEW_VALUES, max(2, len(labels) // 3))
    return (
        ("classification", f"y has {len(values)} whole values")
        if few
        else ("regression", f"y has {len(values)} values")
    )


def _suits(source: Any, n_values: int, of_rows: tuple[int, ...]) -> str:
    """The task a source is made for; empty if that cannot be told."""
    n, d = of_rows
    pair = isinstance(source, tuple) and len(source) == 2
    if pair and np.shape(source[0]) == (n_values, d) and np.size(source[1]) in (1, n_values):
        return "classification"  # coefficients and intercepts of every class
    if pair and np.ndim(source[0]) == 2 and len(source[0]) > 1:
        labels = np.asarray(source[1])
        if labels.dtype.kind in "OUSb":
            return "classification"
        numbers = labels.dtype.kind == "f" and np.ndim(labels) == 1 and len(labels) > 1
        return "regression" if numbers and (labels != np.round(labels)).any() else ""
    if hasattr(source, "classes_") or hasattr(source, "predict_proba"):
        return "classification"
    if hasattr(source, "fit") and hasattr(source, "predict"):
        from sklearn.base import is_regressor

        return "regression" if is_regressor(source) else ""
    if callable(source) or isinstance(source, Predictions | str | dict):
        return ""
    shape = np.shape(source[0] if pair else source)
    if shape in ((d,), (1, d)) and n_values > 2 and d != n:
        return "regression"  # one output cannot tell several classes apart
    if shape == (n_values, d) and n_values > 1:
        return "classification"
    return ""


@dataclasses.dataclass(frozen=True)
class _Target:
    """The target sample before its sources are read."""

    given: Any
    rows: FloatArray
    y: FloatArray
    classes: NDArray[Any] | None
    blocks: TargetRows | None = None

    @cached_property
    def units(self) -> Units:
        """Of the rows, all of the same weight."""
        if self.blocks is None:
            return Units.of(self.rows, np.ones(len(self.rows)))
        return Units(*self.blocks.spread(_STILL, _SMALLEST))

    @cached_property
    def keys(self) -> NDArray[np.bytes_]:
        """Of the rows, alike where rows are."""
        if self.blocks is None:
            return row_keys(self.units.rows(self.rows))
        units = self.units
        return np.concatenate([k for _, k in self.blocks.map(partial(_keys_of, units=units))])

    @cached_property
    def scaled(self) -> TargetRows:
        """Rows in blocks, in units of their spread."""
        assert self.blocks is not None
        return self.blocks.scaled(self.units.scale)

    def said(self, source: Source) -> FloatArray:
        """What a source predicts for the rows, (n, q)."""
        if self.blocks is None or source.values is not None:
            return source.predict(self.rows, self.given)
        return np.concatenate([said for _, said in self.blocks.map(source.predict)])

    def leaves_too_little(self, scores: FloatArray) -> bool:
        """Whether a linear source leaves less than an honest one can."""
        if self.blocks is None:
            X = self.units.rows(self.rows)
            return leaves_too_little(X, self.y, scores, is_regression=self.classes is None)
        rest = self.y - scores[:, 0]
        rank, left = self.scaled.rank_and_left(rest)
        return squares_too_few(self.y, rank, left, max(float(rest @ rest) - left, 0.0))


def _keys_of(rows: FloatArray, units: Units) -> NDArray[np.bytes_]:
    return row_keys(units.rows(rows))


def _read_sources(target: _Target, named: dict[str, Any]) -> tuple[list[SourceInput], FloatArray]:
    classes = target.classes
    q = 1 if classes is None or len(classes) == 2 else len(classes)
    read: list[SourceInput] = []
    scores = np.empty((len(named), len(target.y), q))
    for j, (name, given) in enumerate(named.items()):
        label = f"sources[{name!r}]"
        source, scores[j] = _read_source(target, given, name, label)
        flags = list(source.flags)
        suspicion = _suspicion(target, source, scores[j])
        if suspicion:
            flags.append(f"{suspicion}. Did it see these labels? Then its error is too small")
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
            dataclasses.replace(
                source,
                duplicate_of=twin,
                is_constant=constant,
                flags=tuple(flags),
                is_suspect=bool(suspicion),
            )
        )
    return read, scores


def _suspicion(target: _Target, source: SourceInput, scores: FloatArray) -> str:
    """Why a source seems to have seen the labels of the target; empty if it does not."""
    rows, y, classes = target.rows, target.y, target.classes
    if source.data is not None:
        return ""  # its rows are known
    if classes is None and np.mean((y - scores[:, 0]) ** 2) <= 1e-10 * np.var(y):
        return "reproduces every target label"
    read = source.read
    if read.coef is not None and scores.shape[1] == 1 and target.leaves_too_little(scores):
        return "leaves less of the target labels than an honest linear model can"
    encoded = getattr(target.given, "attrs", {}).get(ENCODED, False)
    if read.function is not None and not encoded:  # text and categories cannot be moved
        k = 0 if classes is None else len(classes)
        if forgets(read, target.given, rows, y, n_classes=k, rng=np.random.default_rng(0)):
            return "knows the target labels at these very rows, and not beside them"
    return ""


def _read_source(
    target: _Target, given: Any, name: str, label: str
) -> tuple[SourceInput, FloatArray]:
    X, classes = target.given, target.classes
    if isinstance(given, tuple) and len(given) == 2:
        check_same_index(*given, f"{label}[0]", f"{label}[1]")
    if isinstance(given, str | Path) and not is_table(Path(given)):
        given = read_model(given)
    with warnings.catch_warnings():  # flags say the same
        warnings.simplefilter("ignore", ValidityWarning)
        found = read_source(given, X, faces=FACES, classes=classes, name=label)
    read = _as_logits(found, target)
    data, flags, curvature = read.data, read.flags, None
    if data is not None:
        data, more = _without_shared(target, (data[0], read_labels(data[1], f"{label}[1]")), label)
        flags = (*flags, *more)
        model = _fit_data(data, classes, label)
        read = read_source(model, target.rows, classes=classes, name=label)
        flags = (*flags, f"a linear model was fitted on its {len(data[0])} rows")
        curvature = None if target.blocks is not None else _curvature(model, data[0])
    source = SourceInput(name, read, data, flags=flags, curvature=curvature)
    return source, target.said(read)


def _as_logits(read: Source, target: _Target) -> Source:
    """A function whose values on the target rows are probabilities, as one of logits."""
    function, classes = read.function, target.classes
    if function is None or classes is None or read.data is not None:
        return read
    named = function if isinstance(function, NamedColumns) else None
    inner: Any = function if named is None else named.function
    if isinstance(inner, ClassScores) or (isinstance(inner, ClassOutputs) and inner.is_probability):
        return read
    plain = inner.function if isinstance(inner, ClassOutputs) else inner
    seen = plain if named is None else dataclasses.replace(named, function=plain)
    value = np.asarray(seen(target.given if hasattr(target.given, "columns") else target.rows))
    if value.dtype.kind in "OUT":
        raise TypeError(
            f"{read.name} gives labels such as {str(value.ravel()[0])!r}: pass its probabilities, "
            "one column for every class"
        )
    value = np.asarray(plain_array(value), dtype=np.float64).reshape(len(value), -1)
    inside = bool(value.min() >= 0.0 and value.max() <= 1.0 and np.ptp(value) > 0.0)
    whole = value.shape[1] == 1 or bool(np.abs(value.sum(axis=1) - 1.0).max() <= _ADD_UP)
    if not (inside and whole) and not (value.shape[1] == 2 and len(classes) == 2):
        return read
    logits: Any = ClassOutputs(plain, len(classes), inside and whole)
    if named is not None:
        logits = dataclasses.replace(named, function=logits)
    flags = read.flags
    if inside and whole:
        flags += ("its values lie between 0 and 1: they are read as probabilities",)
        if set(np.unique(value).tolist()) == {0.0, 1.0}:
            flags += ("it says 0 or 1 and never how sure it is: pass its probabilities",)
    return dataclasses.replace(read, function=logits, flags=flags)


def _without_shared(
    target: _Target, data: tuple[FloatArray, NDArray[Any]], label: str
) -> tuple[tuple[FloatArray, NDArray[Any]], tuple[str, ...]]:
    """Source rows without those of the target, and what to say of them."""
    classes = target.classes
    labels = target.y if classes is None else classes[target.y.astype(np.intp)]
    theirs = row_keys(target.units.rows(data[0]))
    here, there, copied = shared_rows(target.keys, labels, theirs, data[1])
    if not len(here):
        return data, ()
    shown = ", ".join(map(str, here[:5])) + (", …" if len(here) > 5 else "")
    if not copied:
        return data, (f"its data contain {len(here)} of the target rows, with other labels",)
    kept = np.setdiff1d(np.arange(len(data[0])), there)
    if len(kept) < _LEAST_ROWS * max(2, 0 if classes is None else len(classes)):
        raise ValueError(
            f"{label} must have rows of its own: {len(there)} of its {len(data[0])} rows are rows "
            "of the target with the same labels"
        )
    flag = (
        f"{len(here)} target rows are among its data and were left out there (target rows {shown})"
    )
    return (data[0][kept], data[1][kept]), (flag,)


def _fit_data(data: tuple[FloatArray, NDArray[Any]], classes: Any, label: str) -> Any:
    """A linear model of the source rows, its strength chosen on them."""
    rows, labels = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        metric = Units.of(rows, np.ones(len(rows))).metric
        if classes is not None:
            return FineTunedLogisticRegression(metric=metric).fit(rows, labels)
        values = as_float_array(labels, f"{label}[1]", ndim=1)
        check_entries(values, f"{label}[1]", largest=LARGEST_LABEL)
        return FineTunedLinearRegression(metric=metric).fit(rows, values)


def _curvature(model: Any, rows: FloatArray) -> FloatArray | None:
    """Second derivatives of the penalised loss of a model that `_fit_data` made, per row."""
    d = rows.shape[1]
    if d > _MOST_POOLED or not 0.0 <= model.ridge_ < np.inf:
        return None
    weight = np.ones(len(rows))
    if hasattr(model, "classes_"):
        share = model.predict_proba(rows)
        weight = (share * (1.0 - share)).sum(axis=1) / share.shape[1]
    centred = rows - weight @ rows / weight.sum()
    form = centred.T @ (weight[:, None] * centred) / len(rows)
    size = np.asarray(model.metric)
    floor = _POOLED_FLOOR * float(np.mean(form.diagonal() / size))
    form[np.diag_indices(d)] += (model.ridge_ + floor) * size
    return np.asarray(form)
