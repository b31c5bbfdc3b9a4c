"""What a layer is asked for: labels as one-hot rows, and priors over linear tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import (
    FloatArray,
    as_float_array,
    check_shape,
)

__all__ = ["one_hot", "task_factor"]


def one_hot(y: ArrayLike, name: str = "y") -> tuple[FloatArray, NDArray[Any]]:
    """One-hot rows of labels, and the classes."""
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"{name} must be 1-D labels, got shape {labels.shape}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} must not hold NaN or infinity")
    if labels.dtype.kind not in "biufUS":
        raise TypeError(f"{name} must hold numbers or strings, got dtype {labels.dtype}")
    classes, index = np.unique(labels, return_inverse=True)
    return np.eye(classes.size)[index], classes


def task_factor(task_weights: ArrayLike, p: int) -> FloatArray:
    """Factor R (p, r) of the task prior: weights of coordinates, or the factor itself."""
    factor = as_float_array(task_weights, "task_weights", ndim=(1, 2))
    check_shape(factor, (p,) if factor.ndim == 1 else (p, None), "task_weights")
    if factor.ndim == 1:
        if factor.min() < 0.0:
            raise ValueError(f"task_weights must be non-negative, got {factor.min():g}")
        used = np.flatnonzero(factor)
        wide = np.zeros((p, used.size))
        wide[used, np.arange(used.size)] = np.sqrt(factor[used])
        factor = wide
    if not factor.any():
        raise ValueError("task_weights must not be all zero")
    return factor
