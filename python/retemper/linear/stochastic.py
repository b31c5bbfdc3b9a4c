"""Stochastic gradient descent on Gaussian rows, every row used once."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike
from scipy.optimize import brentq

from retemper._validation import as_float_array, check_integer

__all__ = ["largest_step_size"]


def largest_step_size(spectrum: ArrayLike, *, batch_size: int = 1) -> float:
    r"""Step from which on the mean risk of one-pass stochastic descent grows without bound.

    On Gaussian rows with eigenvalues :math:`\lambda_i` and b rows a step, the mean risk stays
    bounded where :math:`\eta \lambda_i (1 + 1/b) < 2` for every i and

    .. math:: \sum_i \frac{(\eta/b)\, \lambda_i}{2 - \eta \lambda_i (1 + 1/b)} < 1 ,

    and the sum, s, is then also its floor: with label noise of variance :math:`\sigma^2` the risk
    tends to :math:`\sigma^2 s / (1 - s)`.

    Parameters
    ----------
    spectrum : array_like of shape (d,)
        Eigenvalues of the covariance, not negative.
    batch_size : int, default=1
        Rows b of one step.

    Returns
    -------
    float
        The limit of the step; infinite for a covariance of zero.

    Raises
    ------
    ValueError
        If an eigenvalue is negative or not finite, there is none, or ``batch_size`` is below 1.

    See Also
    --------
    LinearModel : ``step_size`` and ``batch_size`` ask `solve` for the risk.

    Notes
    -----
    For one row a step this is the condition of [1]_ for the least-mean-squares filter; for batches
    it is derived here (`derivations/linear#one-pass-of-stochastic-descent`). A little beyond, most
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
    return float(brentq(excess, start, end * (1.0 - 1e-15), xtol=1e-300, rtol=1e-14)) / top
