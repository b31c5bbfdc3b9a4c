"""What `advise` is given: the target sample, and sources in any of the forms people have them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from retemper._validation import FloatArray, as_float_array, check_choice, check_entries
from retemper.linear.sources import (
    LARGEST,
    Source,
    check_size,
    resolve_classifier,
    resolve_source,
)

TaskName = Literal["regression", "binary", "multiclass"]

#: Whole numbers with at most this many values are taken as classes by ``task="auto"``.
_FEW_VALUES = 20
#: Probabilities are clipped here before their logarithm is taken.
_LEAST_PROBABILITY = 1e-4


class Predictions:
    """Predictions of a source on the target rows, where an array could also be coefficients.

    Parameters
    ----------
    values : array_like of shape (n,) or (n, k)
        Predicted labels, or probabilities: of the second class, or of every class.

    Examples
    --------
    >>> from retemper.advisor import Predictions
    >>> Predictions([0.2, 0.9]).values
    [0.2, 0.9]
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values = values


@dataclasses.dataclass(frozen=True)
class SourceInput:
    """A source as it was read.

    Attributes
    ----------
    name : str
        Its name.
    kind : {"coefficients", "model", "function", "predictions", "data"}
        What was given.
    model : object or None
        What estimators take as ``source``; None for predictions.
    coef : ndarray of shape (q, d) or None
        Slopes, of a linear source.
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
    kind: str
    model: Any
    coef: FloatArray | None
    data: tuple[FloatArray, NDArray[Any]] | None
    duplicate_of: str | None = None
    is_constant: bool = False
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Task:
    """The target sample and what the sources say on it.

    Attributes
    ----------
    name : {"regression", "binary", "multiclass"}
        Kind of labels.
    X : ndarray of shape (n, d)
        Rows.
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
    X: FloatArray
    y: FloatArray
    given: Any
    classes: NDArray[Any] | None
    sources: tuple[SourceInput, ...]
    scores: FloatArray

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


class _ByName(BaseEstimator):  # type: ignore[misc]
    """A fitted model that sees the columns of the target in the order of its own names."""

    def __init__(self, model: Any, names: Any) -> None:
        self.model = model
        self.names = names
        if hasattr(model, "classes_"):
            self.classes_ = model.classes_

    def fit(self, *_: Any) -> Any:
        raise TypeError("a source is not fitted again")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name not in {"predict", "predict_proba", "decision_function"}:
            raise AttributeError(name)
        method = getattr(self.model, name)
        return lambda X: method(X[list(self.names)])


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
    rows = _rows(X, "X")
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
        check_size(target, "y")
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
    return Task(name, rows, target, X, classes, tuple(read), scores)


def _rows(X: Any, name: str) -> FloatArray:
    if hasattr(X, "iloc"):
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
    if hasattr(X, "tocsr"):
        raise TypeError(f"{name} is sparse; pass a dense array, for instance {name}.toarray()")
    rows = np.ascontiguousarray(as_float_array(X, name, ndim=2))
    check_entries(rows, name, largest=LARGEST)
    if not rows.shape[1]:
        raise ValueError(f"{name} must have at least one feature, got shape {rows.shape}")
    return rows


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


def name_inputs(sources: Any) -> dict[str, Any]:
    """Sources by name; unnamed ones are called "source 0", "source 1", ..."""
    if sources is None:
        return {}
    if isinstance(sources, dict):
        named = {str(name): source for name, source in sources.items()}
        if len(named) != len(sources):
            raise ValueError(f"sources has names that are equal as text: {list(sources)}")
    elif isinstance(sources, list):
        named = {f"source {j}": source for j, source in enumerate(sources)}
    else:
        named = {"source 0": sources}
    if "scratch" in named:
        raise ValueError("sources must not be called 'scratch': this is training without a source")
    return named


@dataclasses.dataclass(frozen=True)
class _Target:
    """The target sample before its sources are read."""

    given: Any
    rows: FloatArray
    y: FloatArray
    classes: NDArray[Any] | None

    def evaluate(self, source: Any, label: str) -> tuple[Source, FloatArray]:
        """A source as predictor, and its predictions or logits on the rows."""
        d = self.rows.shape[1]
        if self.classes is None:
            read = resolve_source(source, d, 1, label)
        else:
            read = resolve_classifier(source, d, self.classes, label)
        frame = self.given if hasattr(self.given, "iloc") else None
        return read, read.predict(self.rows, frame)


def _read_sources(target: _Target, sources: Any) -> tuple[list[SourceInput], FloatArray]:
    rows, y, classes = target.rows, target.y, target.classes
    named = name_inputs(sources)
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
    n, d = target.rows.shape
    if isinstance(given, tuple) and len(given) == 2:
        return _from_data(target, given, name, label)
    if isinstance(given, Predictions) or (
        not callable(given)
        and not hasattr(given, "fit")
        and not hasattr(given, "predict")
        and not hasattr(given, "coef_")
        and not isinstance(given, str | bytes)
        and np.ndim(given) in (1, 2)
        and _is_predictions(given, n, d, classes, label)
    ):
        values = given.values if isinstance(given, Predictions) else given
        scores = _from_predictions(values, n, classes, label)
        flag = "known by its predictions on these rows alone: cannot be used on new rows"
        return SourceInput(name, "predictions", None, None, None, flags=(flag,)), scores
    model = given
    names = getattr(given, "feature_names_in_", None)
    if names is not None and hasattr(X, "columns"):
        lacking = [str(c) for c in names if c not in set(X.columns)]
        if lacking:
            raise ValueError(
                f"{label} was fitted on columns that X does not have: {lacking}; X has "
                f"{[str(c) for c in X.columns]}"
            )
        if list(names) != list(X.columns):
            model = _ByName(given, names)
    elif getattr(given, "n_features_in_", d) != d:
        raise ValueError(
            f"{label} was fitted on {given.n_features_in_} features, X has {d}; with named columns "
            "on both sides they are matched by name"
        )
    source, scores = target.evaluate(model, label)
    kind = "coefficients" if source.coef is not None else "function"
    if hasattr(given, "fit") or hasattr(given, "coef_"):
        kind = "model"
    return SourceInput(name, kind, model, source.coef, None), scores


def _is_predictions(given: Any, n: int, d: int, classes: NDArray[Any] | None, label: str) -> bool:
    shape = np.shape(given)
    coefficients = shape in ((d,), (1, d))
    predictions = shape in ((n,), (n, 1))
    if classes is not None:
        k = len(classes)
        coefficients |= shape == (k, d)
        predictions |= shape == (n, k)
    if coefficients and predictions:
        raise ValueError(
            f"{label} of shape {shape} could be coefficients or predictions; wrap it in "
            "retemper.advisor.Predictions, or pass coefficients in a fitted model"
        )
    return predictions


def _from_predictions(values: Any, n: int, classes: NDArray[Any] | None, label: str) -> FloatArray:
    array = as_float_array(values, label, ndim=(1, 2))
    array = array.reshape(len(array), -1)
    check_size(array, label)
    if classes is None:
        if array.shape != (n, 1):
            raise ValueError(
                f"{label} must have one prediction for each of {n} rows, got {array.shape}"
            )
        return array
    k = len(classes)
    if array.shape not in ((n, k), (n, 1) if k == 2 else (n, k)):
        raise ValueError(f"{label} must have shape {(n, k)}, got {array.shape}")
    if array.min() < 0.0 or array.max() > 1.0:
        raise ValueError(
            f"{label} must hold probabilities, between 0 and 1; the range is "
            f"[{array.min():g}, {array.max():g}]"
        )
    if array.shape[1] == 1:
        array = np.hstack([1.0 - array, array])
    if abs(array.sum(axis=1) - 1.0).max() > 1e-3:
        raise ValueError(f"{label} must hold probabilities that add up to 1 in every row")
    logit = np.log(np.clip(array, _LEAST_PROBABILITY, None))
    return logit[:, 1:] - logit[:, :1] if k == 2 else logit


def _from_data(
    target: _Target, given: tuple[Any, Any], name: str, label: str
) -> tuple[SourceInput, FloatArray]:
    import warnings

    from retemper.exceptions import ValidityWarning
    from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression

    X_s, y_s = given
    X, rows, classes = target.given, target.rows, target.classes
    flags: list[str] = []
    if hasattr(X_s, "columns") and hasattr(X, "columns"):
        lacking = [str(c) for c in X.columns if c not in set(X_s.columns)]
        if lacking:
            raise ValueError(
                f"{label} lacks columns of X: {lacking}; it has {[str(c) for c in X_s.columns]}"
            )
        extra = [str(c) for c in X_s.columns if c not in set(X.columns)]
        if extra:
            flags.append(f"columns that X does not have are left out: {', '.join(extra)}")
        X_s = X_s[list(X.columns)]
    source_rows = _rows(X_s, f"{label}[0]")
    if source_rows.shape[1] != rows.shape[1]:
        raise ValueError(
            f"{label} has {source_rows.shape[1]} features, X has {rows.shape[1]}; with named "
            "columns on both sides they are matched by name"
        )
    labels = np.asarray(y_s)
    if labels.shape != source_rows.shape[:1]:
        raise ValueError(
            f"{label} must be (rows, labels) of one length, got {source_rows.shape} and "
            f"{labels.shape}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        if classes is None:
            labels = as_float_array(labels, f"{label}[1]", ndim=1)
            check_size(labels, f"{label}[1]")
            model: Any = FineTunedLinearRegression().fit(source_rows, labels)
        else:
            model = FineTunedLogisticRegression().fit(source_rows, labels)
    source, scores = target.evaluate(model, label)
    flags.append(f"a linear model was fitted on its {len(labels)} rows")
    return (
        SourceInput(name, "data", model, source.coef, (source_rows, labels), flags=tuple(flags)),
        scores,
    )
