"""Rows and labels as the regressors of this package take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._sources import LARGEST_LABEL
from retemper._validation import FloatArray, check_entries


def check_training_data(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, n_min: int = 2, multi_output: bool = True
) -> tuple[FloatArray, FloatArray]:
    """Checked rows and labels; raises on NaN, huge, sparse, complex or text entries."""
    from retemper._base import validate_data

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
    check_entries(rows, "X", largest=LARGEST_LABEL)
    check_entries(labels, "y", largest=LARGEST_LABEL)
    return rows, labels


def check_switch(value: Any, name: str) -> None:
    """Refuse anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_weights(sample_weight: Any, X: FloatArray) -> FloatArray:
    """Weights of the rows, of sum one.

    Parameters
    ----------
    sample_weight : None, float or array_like of shape (n,)
        As the user gave it.
    X : ndarray of shape (n, d)
        Rows.

    Returns
    -------
    ndarray of shape (n,)
        Weights.

    Raises
    ------
    ValueError
        If one is negative, NaN or infinite, or fewer than two are positive.
    """
    from sklearn.utils.validation import _check_sample_weight

    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if np.count_nonzero(weight) < 2:
        raise ValueError(
            f"sample_weight must be positive for two rows or more, got {np.count_nonzero(weight)}"
        )
    weight = weight / weight.max()
    return np.asarray(weight / weight.sum())
