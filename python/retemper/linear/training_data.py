"""Rows and labels as the regressors of this package take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import (
    FloatArray,
)
from retemper.linear.sources import (
    check_size,
)


def check_training_data(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, n_min: int = 2, multi_output: bool = True
) -> tuple[FloatArray, FloatArray]:
    """Checked rows and labels; raises on NaN, huge, sparse, complex or text entries."""
    from sklearn.utils.validation import validate_data

    rows, labels = validate_data(
        estimator,
        X,
        y,
        dtype=np.float64,
        order="C",
        multi_output=multi_output,
        y_numeric=True,
        ensure_min_samples=n_min,
    )
    labels = np.asarray(labels, dtype=np.float64)
    check_size(rows, "X")
    check_size(labels, "y")
    return rows, labels
