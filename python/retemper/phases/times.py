"""Times of gradient flow, and steps of gradient descent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import (
    FloatArray,
    as_float_array,
    check_real,
)

__all__ = ["check_step_size", "check_times"]


def check_times(t: ArrayLike) -> FloatArray:
    """Times as an array, none negative."""
    times = np.atleast_1d(as_float_array(t, "t", ndim=(0, 1)))
    if times.size and times.min() < 0.0:
        raise ValueError(f"t must be non-negative, got {times.min():g}")
    return times


def check_step_size(step_size: float | None) -> float | None:
    """A positive step, or None for gradient flow."""
    return None if step_size is None else check_real(step_size, "step_size", low=0.0, open_low=True)
