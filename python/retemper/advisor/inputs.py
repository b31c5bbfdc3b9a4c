"""What `advise` is given, checked: the target sample, and its sources evaluated on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._sources import (
    LARGEST_LABEL,
    Predictions,
    column_names,
    match_columns,
    name_sources,
    read_rows,
)
from retemper._validation import FloatArray, as_float_array, check_choice, check_entries
from retemper.advisor.blocks import TargetRows, streams
from retemper.advisor.labels import (
    check_same_index,
    frequent,
    guess_task,
    hint_at_numbers,
    rare_class,
    read_labels,
    weigh_classes,
)
from retemper.advisor.leaks import column_flags
from retemper.advisor.sampling import Rows
from retemper.advisor.scoring import find_scoring
from retemper.advisor.source_inputs import Target, read_sources
from retemper.advisor.task import Task, TaskName, Units

#: Sparse rows with more entries than this are not made dense.
_MOST_ENTRIES = 2**28


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
        target, classes = _read_numbers(labels), None
    else:
        kept, classes, flags = frequent(labels, reason)
        if len(kept) < n:
            X = X.iloc[kept] if hasattr(X, "iloc") else rows[kept]
            rows, labels = np.ascontiguousarray(rows[kept]), labels[kept]
            named = {key: _rows_of(source, kept, n) for key, source in named.items()}
            groups = None if groups is None else np.asarray(groups)[kept]
            sample_weight = None if sample_weight is None else np.asarray(sample_weight)[kept]
        target = np.searchsorted(classes, labels).astype(np.float64)
        name = "binary" if len(classes) == 2 else "multiclass"
    if class_weight is not None:
        sample_weight = weigh_classes(class_weight, labels, classes, sample_weight)
    sides = Target(X, rows, target, classes, blocks)
    read, scores = read_sources(sides, named)
    sample = Rows.read(sides.keys, groups, sample_weight)
    units = Units.of(rows, sample.weight) if sample.is_weighted else sides.units
    if blocks is not None:
        own = any(source.data is not None for source in read)
        noted += (
            f"{n} rows are read in blocks"
            + (": fits to source rows and target rows together are left out" if own else ""),
        )
    if blocks is None:
        columns = column_names(X) or tuple(f"{j}" for j in range(rows.shape[1]))
        flags += column_flags(rows, target, classes, columns)
    if classes is not None and class_weight is None:
        flags += rare_class(target.astype(np.intp), classes, decides if scorer is None else "")
    standard: Any = units.rows(rows) if blocks is None else sides.scaled
    found = Task(
        name, rows, units, standard, target, X, classes, tuple(read), scores, sample,
        decides, reason, (*noted, *flags, *sample.flags), scorer,
    )  # fmt: skip
    if scorer is not None and len(scores):  # before any work
        scorer.score(found, scores[0], np.arange(len(target)))
    return found


def _read_numbers(labels: NDArray[Any]) -> FloatArray:
    """Labels of a regression."""
    if hint := hint_at_numbers(labels):
        raise ValueError(f"y must hold numbers{hint}")
    values = as_float_array(labels, "y", ndim=1)
    check_entries(values, "y", largest=LARGEST_LABEL)
    if np.ptp(values) <= 1e-12 * abs(values).max():
        raise ValueError(f"y is constant ({values[0]:g}): there is nothing to learn")
    return values


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


def _check_gaps(X: Any) -> None:
    """Refuse text and missing entries of an array, with what to do: data frames may have both."""
    if isinstance(X, np.ndarray) and X.dtype.kind in "OUS":
        raise TypeError(
            f"X must hold real numbers, got dtype {X.dtype}: pass pandas.DataFrame(X, columns=...)"
            ".infer_objects(), whose text is encoded and whose columns sources find by name"
        )
    if hasattr(X, "iloc") or getattr(getattr(X, "dtype", None), "kind", "") != "f":
        return
    gaps = np.isnan(X)
    if gaps.any():
        row, column = np.argwhere(gaps.reshape(len(X), -1))[0].tolist()
        raise ValueError(
            f"X has {int(gaps.sum())} missing values, the first in row {row}, column {column}: "
            "pass pandas.DataFrame(X), whose gaps are filled and marked, or fill them"
        )


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
