"""Sources of `advise`: read in any form people have them, and looked at on the target rows."""

from __future__ import annotations

import dataclasses
import warnings
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor

from retemper._sources import (
    LARGEST_LABEL,
    ClassOutputs,
    ClassScores,
    Face,
    NamedColumns,
    Source,
    call,
    read_source,
)
from retemper._validation import FloatArray, as_float_array, check_entries, naming, plain_array
from retemper.advisor.blocks import TargetRows
from retemper.advisor.labels import LEAST_ROWS, check_same_index, read_labels
from retemper.advisor.leaks import (
    forgets,
    leaves_too_little,
    row_keys,
    row_space,
    shared_rows,
    squares_too_few,
)
from retemper.advisor.task import SMALLEST, STILL, SourceInput, Units
from retemper.datasets.models import read_model
from retemper.datasets.tables import is_table
from retemper.exceptions import ValidityWarning
from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression

#: Every way in which a source can be given.
FACES: tuple[Face, ...] = ("coef", "predict", "predictions", "data")
#: Probabilities of a row add up to one within this.
_ADD_UP = 1e-3
#: Source rows of more columns are not pooled with those of the target.
_MOST_POOLED = 1000
#: Least curvature of a direction in the loss of source rows, over the mean.
_POOLED_FLOOR = 1e-6


@dataclasses.dataclass(frozen=True)
class Target:
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
        return Units(*self.blocks.spread(STILL, SMALLEST))

    @cached_property
    def keys(self) -> NDArray[np.bytes_]:
        """Of the rows, alike where rows are."""
        if self.blocks is None:
            return row_keys(self.units.rows(self.rows))
        units = self.units
        return np.concatenate([k for _, k in self.blocks.map(partial(_keys_of, units=units))])

    @cached_property
    def row_space(self) -> FloatArray:
        """Of rows in memory."""
        return row_space(self.units.rows(self.rows))

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
            return leaves_too_little(
                self.row_space, self.y, scores, is_regression=self.classes is None
            )
        rest = self.y - scores[:, 0]
        rank, left = self.scaled.rank_and_left(rest)
        return squares_too_few(self.y, rank, left, max(float(rest @ rest) - left, 0.0))


def _keys_of(rows: FloatArray, units: Units) -> NDArray[np.bytes_]:
    return row_keys(units.rows(rows))


def read_sources(target: Target, named: dict[str, Any]) -> tuple[list[SourceInput], FloatArray]:
    """Read the sources; also what each says of every target row, (s, n, q)."""
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


def _suspicion(target: Target, source: SourceInput, scores: FloatArray) -> str:
    """Why a source seems to have seen the labels of the target; empty if it does not."""
    rows, y, classes = target.rows, target.y, target.classes
    if source.data is not None:
        return ""  # its rows are known
    if classes is None and np.mean((y - scores[:, 0]) ** 2) <= 1e-10 * np.var(y):
        return "reproduces every target label"
    read = source.read
    if read.coef is not None and scores.shape[1] == 1 and target.leaves_too_little(scores):
        return "leaves less of the target labels than an honest linear model can"
    if read.function is not None:
        k = 0 if classes is None else len(classes)
        if forgets(read, target.given, rows, y, n_classes=k, rng=np.random.default_rng(0)):
            return "knows the target labels at these very rows, and not beside them"
    return ""


def _read_source(
    target: Target, given: Any, name: str, label: str
) -> tuple[SourceInput, FloatArray]:
    X, classes = target.given, target.classes
    if isinstance(given, tuple) and len(given) == 2:
        check_same_index(*given, f"{label}[0]", f"{label}[1]")
    if isinstance(given, str | Path) and not is_table(Path(given)):
        if not Path(given).exists():
            raise FileNotFoundError(f"{label} names a file that is not there: {given}")
        with naming(label):
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
    flags = (*flags, *_other_kind(given, classes, is_read="probabilities" in " ".join(flags)))
    source = SourceInput(name, read, data, flags=flags, curvature=curvature)
    return source, target.said(read)


def _other_kind(given: Any, classes: Any, *, is_read: bool) -> tuple[str, ...]:
    """What to say of a model that was made for the other kind of labels."""
    if isinstance(given, type) or not hasattr(given, "predict"):
        return ()
    if classes is None and hasattr(given, "classes_"):
        return ("it is a classifier: its logits are read as numbers",)
    if classes is not None and hasattr(given, "fit") and is_regressor(given) and not is_read:
        what = f"of class {classes.tolist()[1]!r}" if len(classes) == 2 else "of the classes"
        return (f"it is a regressor: its numbers are read as logits {what}",)
    return ()


def _as_logits(read: Source, target: Target) -> Source:
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
    rows = target.given if hasattr(target.given, "columns") else target.rows
    value = np.asarray(call(seen, rows, read.name))
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
    target: Target, data: tuple[FloatArray, NDArray[Any]], label: str
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
    if len(kept) < LEAST_ROWS * max(2, 0 if classes is None else len(classes)):
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
