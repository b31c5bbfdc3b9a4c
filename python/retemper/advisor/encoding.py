"""Tables with text, categories or missing values: encoded for fits, untouched for sources."""

from __future__ import annotations

import contextvars
import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from retemper._sources import (
    ENCODED,
    BoosterFunction,
    as_trained,
    is_booster,
    is_module,
    name_sources,
)
from retemper._text import did_you_mean
from retemper._validation import FloatArray
from retemper.advisor.labels import check_same_index, guess_task, read_labels, reads_as_number

if TYPE_CHECKING:
    import pandas as pd

    from retemper.advisor.advice import TransferAdvice

__all__ = ["Encoder", "advise_table"]

#: Levels of a column of text that get a column of their own, and the rows they must have.
_MOST_LEVELS = 20
_LEAST_ROWS = 3
#: What errors about gaps say.
_MISSING = re.compile(r"\bnan\b|\bmissing\b|\bnull\b", re.IGNORECASE)
#: The table as it was given, while its encoded rows are at work.
_GIVEN: contextvars.ContextVar[Any] = contextvars.ContextVar("table")


@contextmanager
def _behind(table: Any) -> Iterator[None]:
    token = _GIVEN.set(table)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def _given(rows: Any) -> Any:
    """The rows as they were given, behind encoded ones."""
    return _GIVEN.get().iloc[np.asarray(rows.index)]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Columns of numbers from the columns of a table.

    Attributes
    ----------
    names : tuple of str
        Columns of the table.
    fills : dict of str to float
        Columns of numbers, and what stands for missing ones: their median.
    missing : tuple of str
        Columns of numbers with a column that says where they are missing.
    levels : dict of str to tuple of str
        Columns of text, and the levels with a column of their own.
    dropped : tuple of str
        Columns that are left out.
    single : tuple of str
        Those of them that hold one value.
    empty : tuple of str
        Those of them that hold none.
    numerals : dict of str to str
        Columns of text that hold many different numbers, and one of these.
    """

    names: tuple[str, ...]
    fills: dict[str, float]
    missing: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    dropped: tuple[str, ...]
    single: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    numerals: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def find(cls, X: Any) -> Encoder | None:
        """The encoder of a table; None if its columns are numbers without gaps, or it is none.

        Parameters
        ----------
        X : object
            Rows.

        Returns
        -------
        Encoder or None
            What `transform` goes by.

        Raises
        ------
        ValueError
            If nothing would be left.
        """
        if not (hasattr(X, "iloc") and hasattr(X, "columns")) or not len(X):
            return None
        names = [str(c) for c in X.columns]
        if len(set(names)) < len(names) or all(
            kind.kind in "fiub" and not X[c].isna().any()
            for c, kind in zip(X.columns, X.dtypes, strict=True)
        ):
            return None
        fills: dict[str, float] = {}
        missing: list[str] = []
        levels: dict[str, tuple[str, ...]] = {}
        dropped: list[str] = []
        single: list[str] = []
        empty: list[str] = []
        numerals: dict[str, str] = {}
        for column, name, kind in zip(X.columns, names, X.dtypes, strict=True):
            values = X[column]
            gaps = values.isna()
            if gaps.all():
                dropped.append(name)
                empty.append(name)
            elif kind.kind in "fiub":
                known = values[~gaps].astype(np.float64)
                fills[name] = float(known.median())
                if gaps.any():
                    missing.append(name)
            elif kind.kind in "mMc":
                dropped.append(name)
            else:
                counts = _text(values).value_counts()
                counts = counts.sort_index().sort_values(ascending=False, kind="stable")
                known = values[~gaps].astype(str).unique()
                if len(known) > _MOST_LEVELS and all(map(reads_as_number, known)):
                    numerals[name] = known[0]
                kept = [str(level) for level, n in counts.items() if n >= _LEAST_ROWS]
                kept = kept[:_MOST_LEVELS]
                if len(kept) == len(counts):
                    kept = kept[1:]  # the others are measured from the most frequent one
                if kept:
                    levels[name] = tuple(kept)
                else:
                    dropped.append(name)
                    if len(counts) == 1 and not gaps.any():
                        single.append(name)
        if not fills and not levels:
            hint = f"; these hold numbers as text: {list(numerals)}" if numerals else ""
            raise ValueError(
                f"X has no column that can be encoded; dates, names or empty: {dropped}{hint}"
            )
        return cls(
            tuple(names),
            fills,
            tuple(missing),
            levels,
            tuple(dropped),
            tuple(single),
            tuple(empty),
            numerals,
        )

    def transform(self, X: Any, label: str = "X") -> pd.DataFrame:
        """Rows of numbers, whose index is the place of the row.

        Parameters
        ----------
        X : data frame of shape (m, d)
            Rows with the columns of the table.
        label : str, default="X"
            What it is, for messages.

        Returns
        -------
        pandas.DataFrame
            Encoded; a level that was not seen is none of the levels.

        Raises
        ------
        ValueError
            If a column is missing.
        TypeError
            If ``X`` is no data frame.
        """
        import pandas as pd

        if not hasattr(X, "columns"):
            raise TypeError(f"{label} must be a data frame with the columns {list(self.names)}")
        X = X.set_axis([str(c) for c in X.columns], axis=1).reset_index(drop=True)
        lacking = [name for name in (*self.fills, *self.levels) if name not in X.columns]
        if lacking:
            raise ValueError(f"{label} lacks columns: {lacking}{did_you_mean(lacking, X.columns)}")
        found: dict[str, Any] = {}
        for name in self.names:
            if name in self.fills:
                found[name] = X[name].astype(np.float64).fillna(self.fills[name])
                if name in self.missing:
                    found[f"{name} missing"] = X[name].isna().astype(np.float64)
            elif name in self.levels:
                text = _text(X[name])
                for level in self.levels[name]:
                    found[f"{name}={level}"] = (text == level).astype(np.float64)
        rows = pd.DataFrame(found)
        rows.attrs[ENCODED] = self.names
        return rows

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader should know."""
        said = []
        if self.levels:
            listed = ", ".join(f"{name} ({len(levels)})" for name, levels in self.levels.items())
            said.append(f"columns of text become columns of 0 and 1, so many each: {listed}")
        if self.missing:
            listed = ", ".join(self.missing)
            said.append(f"missing numbers are filled with medians, and marked: {listed}")
        if self.single:
            listed = ", ".join(self.single)
            said.append(f"columns of one value are left out, except for sources: {listed}")
        if self.empty:
            listed = ", ".join(self.empty)
            said.append(f"columns without a value are left out, except for sources: {listed}")
        if self.numerals:
            listed = ", ".join(f"{name} ({seen!r})" for name, seen in self.numerals.items())
            said.append(f"columns of text hold numbers, which are lost: {listed}; pass numbers")
        known = {*self.single, *self.empty}
        if names := [name for name in self.dropped if name not in known]:
            listed = ", ".join(names)
            said.append(f"dates and columns of names are left out, except for sources: {listed}")
        return tuple(said)


def _text(values: Any) -> Any:
    return values.astype(object).where(values.notna(), "missing").astype(str)


class _RawFunction:
    """A function that sees the table behind encoded rows."""

    def __init__(
        self, function: Any, names: tuple[str, ...] | None = None, model: Any = None
    ) -> None:
        self.function = function
        self.names = names
        self.model = model  # whose method the function is, if any

    def __call__(self, rows: Any) -> Any:
        table = _given(rows)
        if lacking := [name for name in self.names or () if name not in table.columns]:
            raise ValueError(
                f"X lacks columns that it was trained with: {lacking}"
                f"{did_you_mean(lacking, table.columns)}"
            )
        seen = as_trained(self.model, table if self.names is None else table[list(self.names)])
        try:
            return self.function(seen)
        except ValueError as error:
            gaps = [str(name) for name in seen.columns if seen[name].isna().any()]
            if not gaps or not _MISSING.search(str(error)):
                raise
            first = str(error).splitlines()[0]
            raise ValueError(f"{first} Columns of X with gaps: {gaps}; fill them") from error


class _RawClassifier:
    """A classifier that sees the table behind encoded rows."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes_ = model.classes_
        names = getattr(model, "feature_names_in_", None)
        chosen = None if names is None else tuple(names)
        for method in ("predict", "predict_proba", "decision_function"):
            if hasattr(model, method):
                setattr(self, method, _RawFunction(getattr(model, method), chosen, model))


@contextmanager
def moved(rows: pd.DataFrame, places: NDArray[np.intp]) -> Iterator[None]:
    """While encoded rows are at work: behind them stands the table with the numbers that they hold.

    Parameters
    ----------
    rows : pandas.DataFrame of shape (m, d)
        Encoded, numbered from 0 up.
    places : ndarray of shape (m,)
        Rows of the table that they were made from.

    Yields
    ------
    None
        Text, gaps and booleans stand as they were.
    """
    table = _GIVEN.get().iloc[places].reset_index(drop=True)
    for column, kind in zip(table.columns, table.dtypes, strict=True):
        if str(column) in rows.columns and kind.kind in "fiu":
            table[column] = rows[str(column)].where(~table[column].isna())
    with _behind(table):
        yield


def _encoded(source: Any, encoder: Encoder, name: str) -> Any:
    """A source for encoded rows: models see the table, tables are encoded."""
    if isinstance(source, tuple) and len(source) == 2 and hasattr(source[0], "columns"):
        rows = encoder.transform(source[0], f"{name}[0]")
        labels = source[1]
        check_same_index(source[0], labels, f"{name}[0]", f"{name}[1]")
        return rows, labels.to_numpy() if hasattr(labels, "to_numpy") else labels
    if isinstance(source, type) or is_module(source):
        return source
    if is_booster(source):
        booster = BoosterFunction(source)
        return _RawFunction(booster, booster.names, source)
    if hasattr(source, "predict"):
        if hasattr(source, "coef_"):  # matched by name
            return source
        if hasattr(source, "fit"):
            check_is_fitted(source, msg=f"{name} is not fitted: call fit on %(name)s first")
        if hasattr(source, "classes_"):
            return _RawClassifier(source)
        names = getattr(source, "feature_names_in_", None)
        return _RawFunction(source.predict, None if names is None else tuple(names), source)
    return _RawFunction(source) if callable(source) else source


class _TableModel(BaseEstimator):  # type: ignore[misc]
    def __init__(self, encoder: Any, estimator: Any) -> None:
        self.encoder = encoder
        self.estimator = estimator

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def n_features_in_(self) -> int:
        """Number of columns of the table."""
        return len(self.encoder.names)

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Columns of the table."""
        return np.asarray(self.encoder.names, dtype=object)

    def _call(self, method: str, X: Any, *more: Any) -> Any:
        rows = self.encoder.transform(X)
        with _behind(X):
            return getattr(self.estimator, method)(rows, *more)

    def fit(self, X: Any, y: ArrayLike) -> Any:
        """Fit anew, encoded as before."""
        self._call("fit", X, y)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predictions for a table."""
        return np.asarray(self._call("predict", X))


class TableRegressor(RegressorMixin, _TableModel):  # type: ignore[misc]
    """An advised regressor that encodes tables, and hands them to its sources as they are."""


class TableClassifier(ClassifierMixin, _TableModel):  # type: ignore[misc]
    """An advised classifier that encodes tables, and hands them to its sources as they are."""

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes."""
        return np.asarray(self.estimator.classes_)

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities for a table."""
        return np.asarray(self._call("predict_proba", X))

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Logarithms of the probabilities for a table."""
        return np.asarray(self._call("predict_log_proba", X))


def advise_table(
    encoder: Encoder,
    X: Any,
    y: Any,
    advise: Callable[..., TransferAdvice],
    *,
    sources: Any,
    task: str,
    **settings: Any,
) -> TransferAdvice:
    """Advice on a table that is not all numbers.

    Parameters
    ----------
    encoder : Encoder
        Of this table.
    X : data frame of shape (n, d)
        The table.
    y : object
        As `advise` takes it.
    advise : callable
        `advise` for numbers.
    sources, task : object
        As `advise` takes them.
    **settings : object
        Its other arguments.

    Returns
    -------
    TransferAdvice
        Its estimator takes tables.
    """
    labels = read_labels(y, "y")
    for name, values in (("y", y), *((n, settings[n]) for n in ("groups", "sample_weight"))):
        check_same_index(X, values, "X", name)
    for name in ("groups", "sample_weight"):
        if settings[name] is not None:
            settings[name] = np.asarray(settings[name])
    rows = encoder.transform(X)
    if settings["unlabelled"] is not None:
        settings["unlabelled"] = encoder.transform(settings["unlabelled"], "unlabelled")
    named = name_sources(sources)
    reason = ""
    if task == "auto":
        task, reason = guess_task(labels, named, rows.shape)
    read = {name: _encoded(source, encoder, f"sources[{name!r}]") for name, source in named.items()}
    with _behind(X):
        advice = advise(rows, labels, sources=read, task=task, **settings)
    scratch, *others = advice.candidates
    scratch = dataclasses.replace(scratch, flags=(*encoder.flags, *scratch.flags))
    kind = TableRegressor if advice.task == "regression" else TableClassifier
    said = {**advice.settings, **({"task_reason": reason} if reason else {})}
    return dataclasses.replace(
        advice,
        candidates=(scratch, *others),
        settings=said,
        estimator_=kind(encoder, advice.estimator_),
    )
