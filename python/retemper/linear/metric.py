"""Distances from the source other than the Euclidean one, as a change of variables."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from retemper._control import interruptible
from retemper._validation import FloatArray, as_float_array, check_choice

#: Multiple of the mean eigenvalue that is added to metrics estimated from rows.
METRIC_FLOOR = 1e-3


class Metric:
    r"""A positive definite form M; the penalty is :math:`(w - w_0)^T M (w - w_0)`.

    With :math:`M = R^T R` it is the ordinary penalty on :math:`v = R (w - w_0)` for the rows
    :math:`x R^{-1}`.

    Parameters
    ----------
    root : ndarray of shape (d, d) or (d,)
        R, upper triangular, or its diagonal.
    """

    def __init__(self, root: FloatArray) -> None:
        self.root = root

    def rows(self, X: FloatArray) -> FloatArray:
        """Rows in the new variables.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, d)
            The product with the inverse root.
        """
        if self.root.ndim == 1:
            return X / self.root
        solved = interruptible(
            linalg.solve_triangular, self.root, X.T, trans="T", check_finite=False,
            cost=float(X.size * len(self.root)),
        )  # fmt: skip
        return np.ascontiguousarray(solved.T)

    def coef(self, slopes: FloatArray) -> FloatArray:
        """Slopes on the original rows.

        Parameters
        ----------
        slopes : ndarray of shape (k, d)
            Slopes on the new ones.

        Returns
        -------
        ndarray of shape (k, d)
            The same predictions.
        """
        if self.root.ndim == 1:
            return slopes / self.root
        solved: FloatArray = linalg.solve_triangular(self.root, slopes.T, check_finite=False).T
        return solved


def resolve_metric(
    metric: Any, X: FloatArray, weight: FloatArray, *, fit_intercept: bool
) -> Metric | None:
    r"""Read a metric.

    Parameters
    ----------
    metric : None, str or array_like of shape (d, d) or (d,)
        None is the identity; a word the weighted second moments of the rows; an array is taken as
        it is, one-dimensional as a diagonal.
    X : ndarray of shape (n, d)
        Rows.
    weight : ndarray of shape (n,)
        Weights of the second moments :math:`\sum_i weight_i x_i x_i^T`.
    fit_intercept : bool
        Whether rows are centred first, which profiles out a free intercept.

    Returns
    -------
    Metric or None
        The metric, None for the identity.

    Raises
    ------
    ValueError
        If it is neither of these, of another shape, or not symmetric and positive definite.
    """
    if metric is None:
        return None
    d = X.shape[1]
    if isinstance(metric, str):
        check_choice(metric, "metric", ("covariance", "fisher"), besides="None, an array")
        total = weight.sum()
        centred = X - (weight @ X) / total if fit_intercept and total > 0.0 else X
        form = centred.T @ (weight[:, None] * centred)
        mean = float(np.trace(form)) / d
        if not mean > 0.0:
            return None
        form[np.diag_indices(d)] += METRIC_FLOOR * mean
        return Metric(
            interruptible(linalg.cholesky, form, check_finite=False, cost=float(d) ** 3 / 3.0)
        )
    form = as_float_array(metric, "metric", ndim=(1, 2))
    if form.shape not in ((d,), (d, d)):
        raise ValueError(f"metric must have shape ({d},) or ({d}, {d}), got {form.shape}")
    if form.ndim == 1:
        if not form.min() > 0.0:
            at = int(np.argmin(form))
            raise ValueError(f"metric must be positive, got metric[{at}] = {form[at]}")
        return Metric(np.sqrt(form))
    if not np.allclose(form, form.T, rtol=1e-8, atol=1e-10 * float(np.abs(form).max())):
        raise ValueError("metric must be symmetric")
    try:
        return Metric(
            interruptible(linalg.cholesky, form, check_finite=False, cost=float(d) ** 3 / 3.0)
        )
    except linalg.LinAlgError:
        low = float(linalg.eigvalsh(form)[0])
        raise ValueError(
            f"metric must be positive definite, its smallest eigenvalue is {low:.4g}"
        ) from None
