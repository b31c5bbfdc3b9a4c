"""The fine-tuning scale of every feature, and how it depends on the source."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, check_choice, check_real
from retemper.diagonal.mirror import as_reals

Rebalance = Literal["sum", "mean"]


def finetune_scale(
    source_coef: ArrayLike,
    init_scale: float,
    balance: float = 0.0,
    readout_scale: float = 0.0,
    *,
    rebalance: Rebalance = "sum",
    lr_ratio: float = 1.0,
) -> FloatArray:
    r"""Fine-tuning scale of every feature after re-balancing and resetting the read-out.

    :math:`c_{FT} = (1+\lambda)(c + \sqrt{c^2 + \beta_{PT}^2}) + \gamma^2/2` (Anguita et al. 2026;
    the layer-wise rates are derived here).

    Parameters
    ----------
    source_coef : array_like
        Coefficients at the end of pre-training, any shape. Their sign does not matter.
    init_scale : float
        Scale c before pre-training, non-negative.
    balance : float, default=0.0
        Relative scale of the layers before pre-training, in [-1, 1].
    readout_scale : float, default=0.0
        Read-out scale gamma after the reset, non-negative.
    rebalance : {"sum", "mean"}, default="sum"
        Both first-layer weights become their sum, or their mean.
    lr_ratio : float, default=1.0
        Learning rate of the first layer over that of the read-out, positive.

    Returns
    -------
    ndarray
        Scales, of the shape of ``source_coef``; zero where a coordinate is frozen.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import finetune_scale
    >>> finetune_scale([0.0, 1.0], 1e-3).round(6).tolist()
    [0.002, 1.001]
    """
    b = as_reals(source_coef, "source_coef")
    c = check_real(init_scale, "init_scale", low=0.0)
    share = 1.0 + check_real(balance, "balance", low=-1.0, high=1.0)
    gamma = check_real(readout_scale, "readout_scale", low=0.0, high=1e150)
    check_choice(rebalance, "rebalance", ("sum", "mean"))
    root = math.sqrt(check_real(lr_ratio, "lr_ratio", low=0.0, open_low=True))
    first = share * (c + np.hypot(c, b)) * (1.0 if rebalance == "sum" else 0.25)
    return np.asarray(first / root + 0.5 * gamma**2 * root)


def scale_elasticity(
    source_coef: ArrayLike, init_scale: float, balance: float = 0.0, readout_scale: float = 0.0
) -> FloatArray:
    r"""Elasticity :math:`\partial\ln c_{FT}/\partial\ln|\beta_{PT}|` of the fine-tuning scale.

    Parameters
    ----------
    source_coef : array_like
        Coefficients at the end of pre-training.
    init_scale, balance, readout_scale : float
        As in `finetune_scale`.

    Returns
    -------
    ndarray
        In [0, 1]; 0 where the coordinate is frozen.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.
    """
    b = np.abs(as_reals(source_coef, "source_coef"))
    scale = finetune_scale(b, init_scale, balance, readout_scale)
    root = np.hypot(init_scale, b)
    # beta^2 / root = (beta / root) beta, without an overflow
    share = np.divide(b, root, out=np.zeros_like(root), where=root > 0)
    rise = (1.0 + balance) * share * b
    return np.divide(rise, scale, out=np.zeros_like(scale), where=scale > 0)
