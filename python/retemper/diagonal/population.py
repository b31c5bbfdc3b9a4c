"""Gradient flow on the population loss, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray
from retemper.diagonal.mirror import as_reals, as_scales


def population_path(beta_star: ArrayLike, init_scale: ArrayLike, times: ArrayLike) -> FloatArray:
    r"""Gradient flow on the population loss, in closed form.

    Derived here (`derivations/diagonal#time-course-of-the-population`).

    Solves :math:`\dot\beta = 2\sqrt{c^2+\beta^2}\,(\beta^* - \beta)` from zero.

    Parameters
    ----------
    beta_star, init_scale, times : array_like, broadcastable together
        Target coefficient, positive scale c and non-negative times.

    Returns
    -------
    ndarray
        The coefficient at these times.

    Raises
    ------
    ValueError
        If ``init_scale`` is not positive or a time is negative.

    See Also
    --------
    learning_time, gradient_flow

    Examples
    --------
    >>> from retemper.diagonal import population_path
    >>> float(population_path(1.0, 1e-3, 2.0).round(12))
    0.026589928849
    """
    target = as_reals(beta_star, "beta_star")
    c, time = as_scales(init_scale, "init_scale"), as_reals(times, "times", low=0.0)
    b = np.abs(target)
    root = np.hypot(c, b)
    top = b / (root + c)
    rest = (c + c * (c / (root + b))) / (root + c)  # 1 - top without cancellation
    left = np.exp(-2.0 * root * time)
    below = 1.0 + top**2 * left
    tanh = -top * np.expm1(-2.0 * root * time) / below
    one_minus = (rest + top * left * (1.0 + top)) / below
    return np.asarray(np.copysign(2.0 * c * tanh / (one_minus * (1.0 + tanh)), target))


def learning_time(beta_star: ArrayLike, init_scale: ArrayLike) -> FloatArray:
    r"""Time at which gradient flow on the population loss is half way.

    Derived here (`derivations/diagonal#time-course-of-the-population`).

    Parameters
    ----------
    beta_star, init_scale : array_like, broadcastable together
        Non-zero target coefficient and positive scale c.

    Returns
    -------
    ndarray
        About ``log(2 |beta_star| / c) / (2 |beta_star|)`` for small c.

    Raises
    ------
    ValueError
        If ``init_scale`` is not positive or a target is zero.

    See Also
    --------
    population_path, LearningOrderDisplay

    Examples
    --------
    >>> from retemper.diagonal import learning_time
    >>> float(learning_time(1.0, 1e-3).round(5))
    3.79995
    """
    b = np.abs(as_reals(beta_star, "beta_star"))
    if not np.all(b > 0.0):
        raise ValueError("beta_star must not be zero: such a coefficient has nothing to learn")
    c = as_scales(init_scale, "init_scale")
    root = np.hypot(c, b)
    top = b / (root + c)
    half = np.tanh(0.5 * np.arcsinh(0.5 * b / c))
    return np.asarray(-np.log((top - half) / (top * (1.0 + top * half))) / (2.0 * root))
