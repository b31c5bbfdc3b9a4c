"""The units of a network: standardised inputs and labels, and the way back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retemper._validation import FloatArray

__all__ = ["Scaling", "TaskData"]


@dataclasses.dataclass(frozen=True)
class TaskData:
    """A task in the units of its user.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        Inputs.
    y : ndarray of shape (n, n_outputs)
        Numerical labels.
    is_flat : bool
        Whether the labels came as a vector.
    names : tuple of str or None
        Names of the columns of ``X``.
    """

    X: FloatArray
    y: FloatArray
    is_flat: bool
    names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Affine map of inputs or labels, column by column.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_columns,)
        What is subtracted, and what is divided by.
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, columns: FloatArray, use: bool) -> Scaling:
        """Mean zero and unit variance of every column; the identity if not ``use``."""
        if not use:
            return cls(np.zeros(columns.shape[1]), np.ones(columns.shape[1]))
        mean = columns.mean(0)
        scale = (columns - mean).std(0)
        scale[scale <= 1e-12 * np.abs(columns).max(0)] = 0.0  # rounding of a constant
        return cls(mean, np.where(scale > 0.0, scale, 1.0))

    @classmethod
    def of_inputs(cls, X: FloatArray, use: bool) -> Scaling:
        """Unit variance of every column, and mean |x|^2 / n_features of one."""
        own = cls.of(X, use)
        if use:
            size = float(np.square(own.apply(X)).mean())
            if size > 0.0:
                own = cls(own.mean, own.scale * math.sqrt(size))
        return own

    def apply(self, columns: FloatArray) -> FloatArray:
        """Columns in the units of the network."""
        return np.ascontiguousarray((columns - self.mean) / self.scale)

    def undo(self, columns: FloatArray) -> FloatArray:
        """Columns in the units of the user."""
        return columns * self.scale + self.mean
