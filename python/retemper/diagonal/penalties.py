"""The implicit penalty of gradient flow, and its orders."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray
from retemper.diagonal.mirror import (
    as_reals,
    as_scales,
    asinh_ratio,
    check_depth,
    mirror_coordinate,
    mirror_point,
)

_NODES = np.polynomial.legendre.leggauss(12)


def penalty(beta: ArrayLike, c: ArrayLike, *, depth: int = 2) -> FloatArray:
    r"""Implicit penalty :math:`q(\beta; c)` of gradient flow.

    :math:`q = \tfrac{c}{2}[1 - \sqrt{1+t^2} + t\,\mathrm{asinh}\,t]` with :math:`t = \beta/c`
    (Woodworth et al. 2020; this form derived here: `derivations/diagonal#penalty`); for more layers
    see `derivations/diagonal#deeper-networks`.

    Parameters
    ----------
    beta, c : array_like, broadcastable together
        Coefficient and positive fine-tuning scale.
    depth : int, default=2
        Layers of the network, up to 1000; above two they start alike.

    Returns
    -------
    ndarray
        The penalty, zero at ``beta = 0`` and about ``beta**2 / (4 c)`` near it where ``depth`` is
        2.

    Raises
    ------
    ValueError
        If ``c`` is not positive or ``depth`` is below 2.

    See Also
    --------
    finetune_scale, minimum_penalty

    Examples
    --------
    >>> from retemper.diagonal import penalty
    >>> float(penalty(0.5, 0.002).round(10))
    1.3046510246
    """
    x, scale = np.broadcast_arrays(np.abs(as_reals(beta, "beta")), as_scales(c))
    if check_depth(depth) > 2:
        return _deep_penalty(x, scale, depth)
    far = 0.5 * x * (asinh_ratio(x, scale) - x / (scale + np.hypot(scale, x)))
    t2 = (np.minimum(x, 0.05 * scale) / scale) ** 2
    near = 0.5 * x * (np.minimum(x, scale) / scale) * _h_series(t2)
    return np.asarray(np.where(x < 0.05 * scale, near, far))


def l_order(beta: ArrayLike, c: ArrayLike, *, depth: int = 2) -> FloatArray:
    r"""Order :math:`\ell = \partial\ln q/\partial\ln|\beta|` of the implicit penalty.

    Parameters
    ----------
    beta, c : array_like, broadcastable together
        Coefficient and positive fine-tuning scale.
    depth : int, default=2
        Layers of the network, as in `penalty`.

    Returns
    -------
    ndarray
        In (1, 2]: 2 is ridge-like, 1 lasso-like.

    Raises
    ------
    ValueError
        If ``c`` is not positive.

    See Also
    --------
    marginal_order, pretraining_dependence, regime_weights

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import l_order
    >>> float(l_order(1.0, 1.0).round(10))
    1.8866631144
    """
    x, scale = np.broadcast_arrays(np.abs(as_reals(beta, "beta")), as_scales(c))
    if check_depth(depth) > 2:
        x = np.maximum(x, 1e-6 * scale)  # constant from there to zero
        at = mirror_point(mirror_coordinate(x, scale, depth), scale, depth)
        return np.asarray(at.force * x / _deep_penalty(x, scale, depth))
    t2 = (np.minimum(x, 0.05 * scale) / scale) ** 2
    near = (1 - t2 * (1 / 6 - t2 * (3 / 40 - t2 * (5 / 112 - t2 * 35 / 1152)))) / _h_series(t2)
    shifted = np.where(x < 0.05 * scale, scale, x)
    a = asinh_ratio(shifted, scale)
    far = a / (a - shifted / (scale + np.hypot(scale, shifted)))
    return np.asarray(np.where(x < 0.05 * scale, near, far))


def marginal_order(beta: ArrayLike, c: ArrayLike, *, depth: int = 2) -> FloatArray:
    r"""Order :math:`1 + \partial\ln q'/\partial\ln|\beta|` of the marginal penalty.

    What behavioural probes see (derived here: `derivations/diagonal#orders-and-regimes`): the
    order of the force, one above its own.

    Parameters
    ----------
    beta, c : array_like, broadcastable together
        Coefficient and positive fine-tuning scale.
    depth : int, default=2
        Layers of the network, as in `penalty`.

    Returns
    -------
    ndarray
        In (1, 2].

    Raises
    ------
    ValueError
        If ``c`` is not positive.

    See Also
    --------
    l_order, probe_regime

    Examples
    --------
    >>> from retemper.diagonal import marginal_order
    >>> float(marginal_order(0.5, 0.002).round(9))
    1.160909802
    """
    x, scale = np.broadcast_arrays(np.abs(as_reals(beta, "beta")), as_scales(c))
    if check_depth(depth) > 2:
        x = np.maximum(x, 1e-8 * scale)
        at = mirror_point(mirror_coordinate(x, scale, depth), scale, depth)
        return np.asarray(1.0 + x * at.stiffness / (at.slope * at.force))
    shifted = np.where(x > 1e-8 * scale, x, scale)
    value = 1.0 + shifted / np.hypot(scale, shifted) / asinh_ratio(shifted, scale)
    return np.where(x > 1e-8 * scale, value, 2.0)


def _deep_penalty(x: FloatArray, c: FloatArray, depth: int) -> FloatArray:
    """The penalty of more than two layers: an integral near zero, its closed form beyond."""
    u, r = mirror_coordinate(x, c, depth), 1.0 - 2.0 / depth
    node, weight = _NODES
    inside = np.minimum(u, 0.5)[..., None] * (0.5 + 0.5 * node)
    part = mirror_point(inside, c[..., None], depth)
    near = 0.5 * np.minimum(u, 0.5) * ((part.force * part.slope) @ weight)
    at = mirror_point(u, c, depth)
    log_cosh = r * u + np.log1p(np.exp(-2.0 * r * u)) - np.log(2.0)
    grown = np.exp((1.0 / r - 1.0) * log_cosh) * np.cosh((1.0 - r) * u) - 1.0
    top = (0.5 * c) ** -r / depth  # of the stiffness, at zero
    return np.asarray(np.where(u < 0.5, near, at.force * x - top * c / (1.0 - r) * grown))


def _h_series(t2: FloatArray) -> FloatArray:
    """[1 - sqrt(1 + t^2) + t asinh t] / t^2 for t < 0.05."""
    return 1 / 2 - t2 * (1 / 24 - t2 * (1 / 80 - t2 * (5 / 896 - t2 * 7 / 2304)))
