"""The target sample of `advise` and what its sources say on it, as all later steps take them."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._sources import Source
from retemper._validation import FloatArray
from retemper.advisor.blocks import TargetRows
from retemper.advisor.sampling import Rows
from retemper.advisor.scoring import LOSS_NAMES, Scorer

TaskName = Literal["regression", "binary", "multiclass"]

#: A column whose spread is below this part of its entries does not vary: it is rounding.
STILL = 1e-13
SMALLEST = 1e-150  # of a scale: its square must be a number too


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
        still = scale <= np.maximum(STILL * largest, SMALLEST)
        mean = np.where(still, rows[0], mean)
        return cls(mean, np.where(still, np.where(largest > SMALLEST, largest, 1.0), scale))

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
