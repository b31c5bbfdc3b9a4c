"""Labels of `advise`: numbers or classes, which of the two, and classes of few rows."""

from __future__ import annotations

import datetime
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import compute_sample_weight

from retemper._sources import Predictions
from retemper._validation import FloatArray, as_float_array, check_choice, plain_array
from retemper.exceptions import ValidityWarning

#: Whole numbers with at most this many values are taken as classes by ``task="auto"``.
_FEW_VALUES = 20
#: Classes of fewer rows are left out.
LEAST_ROWS = 3
#: A number as text, perhaps of money: signs or three capitals before and behind.
_NUMBER = re.compile(r"(?:[A-Z]{3}|\W)*\d[\d.,' ]*(?:[eE][+-]?\d+)?(?:[A-Z]{3}|\W)*")
#: A day, in any order of year, month and day.
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}\.?")
#: A class of less than this share is rare; and of fewer rows than this, below this share.
_RARE, _FEW_ROWS, _FEW_SHARE = 0.1, 10, 0.25


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
    if labels.dtype.kind in "mM":
        labels = labels.astype(f"{labels.dtype.kind}8[us]").astype(object)
    if labels.ndim != 1:
        raise ValueError(
            f"{name} must be one column of labels, got an array of shape {labels.shape}"
        )
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype.kind == "O":
        missing = np.array([is_missing(v) for v in labels.tolist()])
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
    if all(isinstance(v, datetime.date | datetime.timedelta) for v in values):
        raise ValueError(
            f"{name} must hold numbers or text, got times such as {values[0]}: pass numbers, "
            "for instance of days"
        )
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


def is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or NA: nothing else is unequal to itself or refuses to say."""
    try:
        return value is None or not bool(value == value)  # noqa: PLR0124
    except TypeError:
        return True


def reads_as_number(text: str) -> bool:
    """Whether text is a number, perhaps with signs of money, spaces or decimal commas."""
    return _NUMBER.fullmatch(text.strip()) is not None and not _DATE.fullmatch(text.strip())


def guess_task(
    labels: NDArray[Any], named: dict[str, Any], shape: tuple[int, ...]
) -> tuple[str, str]:
    """What ``task="auto"`` means, and why: by the labels if they are text, else by the sources."""
    if labels.dtype.kind not in "fiu":
        hint = hint_at_numbers(labels)
        if hint and len(np.unique(labels)) > min(_FEW_VALUES, max(2, len(labels) // 3)):
            raise ValueError(
                f"y must hold numbers or classes{hint}; task='classification' reads them as classes"
            )
        return "classification", "y has values that are not numbers"
    values, count = np.unique(labels, return_counts=True)
    if labels.dtype.kind == "f" and (values != np.round(values)).any():
        return "regression", "y has values that are not whole"
    said = {name: _suits(source, len(values), shape) for name, source in named.items()}
    sides = {side for side in said.values() if side}
    if len(sides) == 1:
        (side,) = sides
        name = next(name for name, suited in said.items() if suited)
        return side, f"source {name!r} is made for {side}"
    few = len(values) <= min(_FEW_VALUES, max(2, len(labels) // 3))
    if few and 2 * (count < LEAST_ROWS).sum() > len(values):  # as counts have
        return "regression", f"most of the {len(values)} whole values of y have few rows"
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


def hint_at_numbers(labels: NDArray[Any]) -> str:
    """A hint where text holds numbers, perhaps with signs of money, spaces or decimal commas."""
    if labels.dtype.kind not in "OUS":
        return ""
    text = [str(label) for label in labels.tolist()]
    if not all(map(reads_as_number, text)):
        return ""
    return (
        f"; it holds numbers as text, such as {text[0]!r}: pass numbers, "
        "y.str.replace(r'[A-Z]{3}|[^0-9.eE+-]', '', regex=True).astype(float) in pandas (make "
        "points of decimal commas first)"
    )


def frequent(labels: NDArray[Any], reason: str) -> tuple[NDArray[np.intp], NDArray[Any], list[str]]:
    """Rows whose class has three rows or more, these classes, and what to say of the others."""
    values, codes, count = np.unique(labels, return_inverse=True, return_counts=True)
    rare = [f"{c!r} ({k})" for c, k in zip(values.tolist(), count, strict=True) if k < LEAST_ROWS]
    classes = values[count >= LEAST_ROWS]
    kept = np.flatnonzero(count[codes] >= LEAST_ROWS)
    why = "" if reason == "as asked" else f" ({reason})"
    how = f"y was read as classes{why}{hint_at_numbers(labels)}"
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
    if labels.dtype.kind in "iuf" and reason != "as asked":
        flag += "; task='regression' reads y as numbers"
    warnings.warn(flag, ValidityWarning, stacklevel=4)
    return kept, classes, [flag]


def weigh_classes(
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
        check_choice(
            class_weight, "class_weight", ("balanced",), besides="None, a mapping of classes"
        )
    factor = compute_sample_weight(class_weight, labels)
    if sample_weight is None:
        return np.asarray(factor, np.float64)
    return np.asarray(as_float_array(sample_weight, "sample_weight", ndim=1) * factor)


def rare_class(codes: NDArray[np.intp], classes: NDArray[Any], decides: str) -> list[str]:
    """What to say of a class of few rows."""
    count = np.bincount(codes, minlength=len(classes))
    rare, most, n = int(np.argmin(count)), int(np.argmax(count)), len(codes)
    share = count[rare] / n
    if share >= _RARE and not (count[rare] < _FEW_ROWS and share < _FEW_SHARE):
        return []
    judged = {
        "log loss": "the log loss decides, which hears the probabilities of rare classes",
        "": "the score that was asked for decides",
        "balanced accuracy": "the balanced accuracy decides, which counts all classes alike",
    }.get(decides, f"scoring={decides!r} hardly hears them: None is the log loss, which does")
    return [
        f"few rows of class {classes.tolist()[rare]!r}: {count[rare]} of {n}, so always saying "
        f"{classes.tolist()[most]!r} is wrong in {100 * (1 - count[most] / n):.0f} %; {judged}; "
        "class_weight='balanced' weighs classes alike, in fits and losses"
    ]
