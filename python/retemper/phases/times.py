"""Times of gradient flow, and steps of gradient descent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._domains import check_parameter
from retemper._validation import FloatArray, as_float_array

__all__ = ["DEFAULT_TIMES", "check_step_size", "check_times", "whole_steps"]

#: Times of a model that is given none: 0, 1, 2, 4, ..., 64.
DEFAULT_TIMES: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def check_times(times: ArrayLike) -> FloatArray:
    """Times as an array of shape (T,), none negative."""
    array = np.atleast_1d(as_float_array(times, "times", ndim=(0, 1)))
    if not array.size:
        raise ValueError("times must not be empty")
    if array.size and array.min() < 0.0:
        raise ValueError(f"times must be non-negative, got {array.min():g}")
    return array


def check_step_size(step_size: float | None) -> float | None:
    """A positive step, or None for gradient flow."""
    if step_size is None:
        return None
    step: float = check_parameter(step_size, "step_size")
    return step


def whole_steps(times: FloatArray, step_size: float) -> NDArray[np.int64]:
    """Number of steps of descent at every time."""
    steps = np.rint(times / step_size)
    off = np.abs(times - steps * step_size) > 1e-9 * np.maximum(times, 1.0)
    if off.any():
        raise ValueError(
            f"times must hold whole multiples of step_size = {step_size:g}, for each is a number "
            f"of steps times step_size; got {times[off][0]:g}"
        )
    return steps.astype(np.int64)
