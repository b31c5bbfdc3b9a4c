"""Regimes of fine-tuning: dependence on pre-training, barycentric weights, labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import FloatArray, check_real
from retemper.diagonal.mirror import as_reals
from retemper.diagonal.penalties import l_order
from retemper.diagonal.scales import finetune_scale, scale_elasticity

#: Labels of `regime_label`, in the order of their numbers.
REGIMES = ("I", "II", "III", "IV")


def pretraining_dependence(
    beta: ArrayLike,
    source_coef: ArrayLike,
    init_scale: float,
    balance: float = 0.0,
    readout_scale: float = 0.0,
) -> FloatArray:
    r"""Pre-training dependence :math:`PD = \partial\ln q/\partial\ln|\beta_{PT}|`.

    Parameters
    ----------
    beta : array_like
        Fine-tuned coefficients.
    source_coef : array_like
        Coefficients at the end of pre-training, broadcastable with ``beta``.
    init_scale, balance, readout_scale : float
        As in `finetune_scale`.

    Returns
    -------
    ndarray
        In [-1, 0]: -1 is a penalty inverse to the source coefficient, 0 one that ignores it.

    Raises
    ------
    ValueError
        If an argument is outside its domain or a coordinate is frozen.

    See Also
    --------
    l_order, scale_elasticity

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import pretraining_dependence
    >>> float(pretraining_dependence(0.5, 1.0, 1e-3).round(9))
    -0.962080287
    """
    scale = _moving_scale(source_coef, init_scale, balance, readout_scale)
    rise = scale_elasticity(source_coef, init_scale, balance, readout_scale)
    return np.asarray((1.0 - l_order(beta, scale)) * rise)


def regime_weights(
    beta: ArrayLike,
    source_coef: ArrayLike,
    init_scale: float,
    balance: float = 0.0,
    readout_scale: float = 0.0,
) -> FloatArray:
    r"""Barycentric weights of the regimes I, II and III.

    Derived here (`derivations/diagonal#orders-and-regimes`).

    :math:`w_I = 2-\ell`, :math:`w_{II} = -PD`, :math:`w_{III} = \ell - 1 + PD`: rich and blind
    to the source, lazy and dependent on it, lazy and blind to it.

    Parameters
    ----------
    beta, source_coef : array_like, broadcastable together
        Fine-tuned and pre-trained coefficients.
    init_scale, balance, readout_scale : float
        As in `finetune_scale`.

    Returns
    -------
    ndarray, shape (..., 3)
        Non-negative, summing to one.

    Raises
    ------
    ValueError
        If an argument is outside its domain or a coordinate is frozen.

    See Also
    --------
    regime_label, l_order, pretraining_dependence

    Examples
    --------
    >>> from retemper.diagonal import regime_weights
    >>> regime_weights(1.0, 1.0, 1e-3, -0.99).round(4).tolist()
    [0.7701, 0.2296, 0.0002]
    """
    scale = _moving_scale(source_coef, init_scale, balance, readout_scale)
    order = l_order(beta, scale)
    rise = scale_elasticity(source_coef, init_scale, balance, readout_scale)
    return barycentric_weights(order, rise)


def barycentric_weights(order: ArrayLike, elasticity: ArrayLike) -> FloatArray:
    """Weights (..., 3) of the regimes from the order of the penalty and its scale's elasticity."""
    order, rise = np.broadcast_arrays(order, elasticity)
    return np.stack([2.0 - order, (order - 1.0) * rise, (order - 1.0) * (1.0 - rise)], axis=-1)


def _moving_scale(
    source_coef: ArrayLike, init_scale: float, balance: float, readout_scale: float
) -> FloatArray:
    """Fine-tuning scale; every feature must be able to move."""
    scale = finetune_scale(source_coef, init_scale, balance, readout_scale)
    if not scale.all():
        raise ValueError(
            "the fine-tuning scale is zero: raise init_scale, balance or readout_scale, got "
            f"{init_scale:g}, {balance:g} and {readout_scale:g}"
        )
    return scale


def regime_label(
    weights: ArrayLike, *, rich: float = 0.85, dependent: float = 0.75, blind: float = 0.5
) -> NDArray[np.str_]:
    """Name the regime of barycentric weights.

    III if its weight exceeds ``blind``, else I if w_I exceeds ``rich``, else II if w_II exceeds
    ``dependent``, else IV (rich and dependent on the source). The thresholds are conventions,
    derived here (`derivations/diagonal#orders-and-regimes`): the source has no sharp boundaries.

    Parameters
    ----------
    weights : array_like, shape (..., 3)
        As of `regime_weights`.
    rich, dependent, blind : float
        Thresholds in [0, 1].

    Returns
    -------
    ndarray of str, shape (...)
        "I", "II", "III" or "IV".

    Raises
    ------
    ValueError
        If the last axis does not have length 3 or a threshold is outside [0, 1].

    See Also
    --------
    regime_weights, probe_regime

    Examples
    --------
    >>> from retemper.diagonal import regime_label
    >>> str(regime_label([0.55, 0.44, 0.01]))
    'IV'
    """
    w = as_reals(weights, "weights")
    if w.ndim < 1 or w.shape[-1] != 3:
        raise ValueError(f"weights must have shape (..., 3), got {w.shape}")
    for name, value in (("rich", rich), ("dependent", dependent), ("blind", blind)):
        check_real(value, name, low=0.0, high=1.0)
    return np.select(
        [w[..., 2] > blind, w[..., 0] > rich, w[..., 1] > dependent], ["III", "I", "II"], "IV"
    )
