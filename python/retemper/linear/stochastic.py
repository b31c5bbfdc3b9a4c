"""Stochastic gradient descent: its largest step, and how many steps some passes are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from retemper._validation import FloatArray, as_float_array, check_integer, check_real

__all__ = ["largest_step_size", "n_steps"]


def n_steps(n_samples: float, n_passes: float, batch_size: int) -> int:
    """Whole steps in a number of passes.

    Parameters
    ----------
    n_samples : float
        Number of rows.
    n_passes : float
        Passes over them, not necessarily whole.
    batch_size : int
        Rows of one step.

    Returns
    -------
    int
        Passes times rows over rows of a step, rounded down.
    """
    return math.floor(n_samples * n_passes / batch_size * (1.0 + 1e-12))


def largest_step_size(
    spectrum: ArrayLike, *, batch_size: int = 1, n_samples: float | None = None
) -> float:
    r"""Step from which on the mean risk of stochastic descent grows without bound.

    On Gaussian rows with eigenvalues :math:`\lambda_i` and b rows a step, the mean risk stays
    bounded where :math:`\eta \lambda_i (1 + 1/b) < 2` for every i and

    .. math:: \sum_i \frac{(\eta/b)\, \lambda_i}{2 - \eta \lambda_i (1 + 1/b)} < 1 ,

    and the sum, s, is then also its floor: with label noise of variance :math:`\sigma^2` the risk
    tends to :math:`\sigma^2 s / (1 - s)`. Where the rows of every step are drawn anew from the same
    n, the sum is over the eigenvalues of their sample covariance, and the limit is smaller by
    :math:`1 + (b + 1)/n`, or that of the largest eigenvalue.

    Parameters
    ----------
    spectrum : array_like of shape (d,)
        Eigenvalues of the covariance, not negative.
    batch_size : int, default=1
        Rows b of one step.
    n_samples : float or None, default=None
        Number n of rows from which every step draws its own with replacement; None is one pass.

    Returns
    -------
    float
        The limit of the step; infinite for a covariance of zero.

    Raises
    ------
    ValueError
        If an eigenvalue is negative or not finite, there is none, ``batch_size`` is below 1, or
        ``n_samples`` is below 1.

    See Also
    --------
    LinearModel : ``step_size``, ``batch_size`` and ``n_passes`` ask `solve` for the risk.

    Notes
    -----
    For one row a step this is the condition of [1]_ for the least-mean-squares filter; for batches
    and for rows that come again it is derived here
    (`derivations/linear#one-pass-of-stochastic-descent`,
    `derivations/linear#several-passes-of-stochastic-descent`). A little beyond, most
    runs stay bounded, and the mean is that of rare ones.

    References
    ----------
    .. [1] A. Feuer and E. Weinstein, "Convergence analysis of LMS filters with uncorrelated
       Gaussian data", IEEE Trans. Acoust. Speech Signal Process. 33 (1985) 222-230.

    Examples
    --------
    >>> from retemper.linear import largest_step_size
    >>> round(largest_step_size([1.0] * 98), 12)  # 2 / (d + 2)
    0.02
    >>> round(largest_step_size([1.0] * 98, n_samples=50), 12)  # over 1 + 2 / n
    0.019230769231
    """
    values = as_float_array(spectrum, "spectrum")
    if not values.size or values.min() < 0.0:
        raise ValueError(
            f"spectrum must hold eigenvalues that are not negative, got {values.size} of them"
            + (f", the smallest {values.min():g}" if values.size else "")
        )
    b = float(check_integer(batch_size, "batch_size", low=1))
    top = float(values.max())
    if top == 0.0:
        return math.inf
    unit = values / top  # eigenvalues and steps in units of the largest eigenvalue

    def excess(step: float) -> float:
        return float((step / b * unit / (2.0 - step * unit * (1.0 + 1.0 / b))).sum()) - 1.0

    end = 2.0 / (1.0 + 1.0 / b)
    # at the end one term alone is infinite; below 2 b / (d + b + 1) the sum is below one
    start = 0.5 * b / (unit.size + b + 1.0)
    found = float(brentq(excess, start, end * (1.0 - 1e-15), xtol=1e-300, rtol=1e-14))
    if n_samples is not None:
        n = check_real(n_samples, "n_samples", low=1.0)
        found = _with_rows(unit, b, n, found)
    return found / top


def _with_rows(unit: FloatArray, b: float, n: float, found: float) -> float:
    """Limit of the step for n rows that come again, from that for rows that do not."""

    def pull(mu: float) -> float:
        """df2 at an effective ridge of -mu, over n: below 1 outside the sample spectrum."""
        return float(np.square(unit / (mu - unit)).sum()) / n

    mu = 2.0 / (found * (1.0 + 1.0 / b))  # sum of x / (mu - x) is b + 1
    if pull(mu) < 1.0:
        return found / (1.0 + (b + 1.0) / n)
    mu = float(brentq(lambda x: pull(x) - 1.0, mu, 1.0 + (unit.size / n) ** 0.5 * (1 + 1e-12)))
    edge = mu * (1.0 + float((unit / (mu - unit)).sum()) / n)  # largest eigenvalue of a sample
    return 2.0 / (1.0 + 1.0 / b) / edge
