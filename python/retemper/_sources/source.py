"""A source as it was read, and weighted sums of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._sources.columns import LARGEST_LABEL, read_rows
from retemper._sources.functions import call
from retemper._validation import FloatArray, as_float_array, check_entries


class Predictions:
    """Predictions of a source on the target rows, where an array could also be coefficients.

    Parameters
    ----------
    values : array_like of shape (n,) or (n, k)
        Predicted labels, or probabilities: of the second class, or of every class.

    See Also
    --------
    retemper.advise

    Examples
    --------
    >>> from retemper.advisor import Predictions
    >>> Predictions([0.2, 0.9]).values
    [0.2, 0.9]
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values = values


@dataclasses.dataclass(frozen=True)
class Source:
    """A source as it was read: a predictor of k outputs, and the rows behind it if known.

    Attributes
    ----------
    name : str
        The argument it came from, for messages.
    kind : {"coefficients", "model", "function", "predictions", "data"}
        What was given.
    coef : ndarray of shape (k, d) or None
        Slopes in the order of the target's columns; None if it is not linear.
    intercept : ndarray of shape (k,)
        Offsets; zeros if it is not linear.
    function : callable or None
        Maps rows (m, d), or the data frame the user passed, to predictions (m,) or (m, k).
    values : ndarray of shape (n, k) or None
        Predictions for the target rows, of ``kind="predictions"``; logits for classes.
    data : tuple (ndarray of shape (m, d), ndarray of shape (m, ...)) or None
        Source rows, columns in the order of the target's, and their labels.
    flags : tuple of str
        What a reader should know.
    """

    name: str
    kind: Literal["coefficients", "model", "function", "predictions", "data"]
    coef: FloatArray | None
    intercept: FloatArray
    function: Callable[[Any], ArrayLike] | None = None
    values: FloatArray | None = None
    data: tuple[FloatArray, NDArray[Any]] | None = None
    flags: tuple[str, ...] = ()

    def predict(self, X: FloatArray, given: Any = None) -> FloatArray:
        """Predictions of shape (m, k).

        Parameters
        ----------
        X : ndarray of shape (m, d)
            Rows.
        given : data frame or None, default=None
            The rows as the user passed them, if with column names: a function sees these.

        Returns
        -------
        ndarray of shape (m, k)
            Predictions, or logits.

        Raises
        ------
        ValueError
            If the source cannot predict these rows, a function returns another shape, or entries
            are not finite.
        """
        label = f"{self.name}(X)"
        if self.values is not None:
            if len(X) != len(self.values):
                raise ValueError(
                    f"{self.name} holds predictions for {len(self.values)} rows, X has {len(X)}"
                )
            return self.values
        if self.coef is not None:
            linear: FloatArray = X @ self.coef.T + self.intercept
            check_entries(linear, label, largest=LARGEST_LABEL)
            return linear
        if self.function is None:
            raise ValueError(f"{self.name} holds rows and labels: fit a model on them first")
        named = given is not None and hasattr(given, "columns")
        said = call(self.function, given if named else X, self.name)
        value = as_float_array(said, label, ndim=(1, 2))
        shape = (len(X), len(self.intercept))
        if value.shape not in (shape, shape[:1] if shape[1] == 1 else shape):
            raise ValueError(f"{label} must have shape {shape}, got {value.shape}")
        check_entries(value, label, largest=LARGEST_LABEL)
        return value.reshape(shape)


@dataclasses.dataclass(frozen=True)
class SourceMixture:
    """A function of the rows: a weighted sum of what sources say.

    Attributes
    ----------
    parts : tuple of Source
        The sources, for the same columns.
    weights : ndarray of shape (s,) or (s, k)
        One for each source, or for each of its outputs.
    intercept : ndarray of shape (k,)
        Offsets.
    """

    parts: tuple[Source, ...]
    weights: FloatArray
    intercept: FloatArray

    def __call__(self, rows: Any) -> FloatArray:
        """Predictions, or logits, of shape (m, k)."""
        given = rows if hasattr(rows, "columns") else None
        array = read_rows(rows, "X")
        total = np.tile(self.intercept, (len(array), 1))
        for part, weight in zip(self.parts, self.weights, strict=True):
            total = total + weight * part.predict(array, given)
        return total


def mix_sources(
    sources: Sequence[Source], weights: FloatArray, intercept: FloatArray, name: str = "mixture"
) -> Source:
    """A weighted sum of sources as one: linear if all of them are.

    Parameters
    ----------
    sources : sequence of Source
        That can predict new rows.
    weights : ndarray of shape (s,) or (s, k)
        One for each source, or for each of its outputs.
    intercept : ndarray of shape (k,)
        Offsets.
    name : str, default="mixture"
        Its name, for messages.

    Returns
    -------
    Source
        The sum; sources of weight zero are left out.
    """
    kept = [(s, w) for s, w in zip(sources, weights, strict=True) if np.any(w)]
    parts = tuple(source for source, _ in kept)
    if not parts or any(part.coef is None for part in parts):
        stacked = np.reshape([w for _, w in kept], (len(kept), *weights.shape[1:]))
        function = SourceMixture(parts, stacked, intercept)
        return Source(name, "function", None, np.zeros(len(intercept)), function)
    offset = intercept + np.sum([w * part.intercept for part, w in kept], axis=0)
    coef = np.sum([np.reshape(w, (-1, 1)) * part.coef for part, w in kept], axis=0)
    return Source(name, "coefficients", coef, offset)
