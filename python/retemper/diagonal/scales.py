"""The fine-tuning scale of every feature, and how it depends on the source."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, check_choice, check_real
from retemper.diagonal.mirror import as_reals

Rebalance = Literal["sum", "mean", "none"]
REBALANCES = ("sum", "mean", "none")


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
    the layer-wise rates are derived here:
    `derivations/diagonal#scales-after-pre-training`). With ``rebalance="none"`` both first-layer
    weights stay as pre-training left them, :math:`w^\pm = [\sqrt{(1+\lambda)(h+c)} \pm
    \mathrm{sign}(\beta_{PT})\sqrt{(1-\lambda)(h-c)}]/2` with
    :math:`h = \sqrt{c^2+\beta_{PT}^2}`; then
    :math:`c_{FT} = \tfrac12\sqrt{(h+\lambda c+\gamma^2)^2 - 2\gamma^2(1-\lambda)(h-c)}`, and the
    coefficients start at `finetune_centre` (derived on the same page).

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
    rebalance : {"sum", "mean", "none"}, default="sum"
        Both first-layer weights become their sum, or their mean, or stay apart.
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

    See Also
    --------
    finetune_centre, effective_scale, penalty

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
    check_choice(rebalance, "rebalance", REBALANCES)
    root = math.sqrt(check_real(lr_ratio, "lr_ratio", low=0.0, open_low=True))
    if rebalance == "none":
        even, odd = _first_layer(b, c, balance)
        readout, turn = gamma * math.sqrt(0.5 * root), root**-0.5
        plus, minus = turn * (even + odd), turn * (even - odd)
        return np.asarray(
            0.5 * np.hypot(plus + readout, minus - readout)
            * np.hypot(plus - readout, minus + readout)
        )  # fmt: skip
    first = share * (c + np.hypot(c, b)) * (1.0 if rebalance == "sum" else 0.25)
    return np.asarray(first / root + 0.5 * gamma**2 * root)


def finetune_centre(
    source_coef: ArrayLike,
    init_scale: float,
    balance: float = 0.0,
    readout_scale: float = 0.0,
    *,
    rebalance: Rebalance = "none",
) -> FloatArray:
    r"""Coefficients at the start of fine-tuning after a reset of the read-out.

    Where both first-layer weights stay apart they are :math:`\tfrac{\gamma}{\sqrt2}(w^+-w^-) =
    \mathrm{sign}(\beta_{PT})\,\gamma\sqrt{(1-\lambda)(h-c)/2}` with :math:`h =
    \sqrt{c^2+\beta_{PT}^2}`, and the penalty of fine-tuning is taken around them (derived here:
    `derivations/diagonal#scales-after-pre-training`). After a re-balancing they are zero.

    Parameters
    ----------
    source_coef : array_like
        Coefficients at the end of pre-training, any shape.
    init_scale, balance, readout_scale : float
        As in `finetune_scale`.
    rebalance : {"sum", "mean", "none"}, default="none"
        As in `finetune_scale`.

    Returns
    -------
    ndarray
        Of the shape of ``source_coef``.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    finetune_scale

    Examples
    --------
    >>> from retemper.diagonal import finetune_centre
    >>> finetune_centre([0.0, -2.0], 1e-3, readout_scale=0.5).round(4).tolist()
    [0.0, -0.4999]
    """
    b = as_reals(source_coef, "source_coef")
    c = check_real(init_scale, "init_scale", low=0.0)
    check_real(balance, "balance", low=-1.0, high=1.0)
    gamma = check_real(readout_scale, "readout_scale", low=0.0, high=1e150)
    if check_choice(rebalance, "rebalance", REBALANCES) != "none":
        return np.zeros(b.shape)
    return np.asarray(math.sqrt(2.0) * gamma * _first_layer(b, c, balance)[1])


def _first_layer(b: FloatArray, c: float, balance: float) -> tuple[FloatArray, FloatArray]:
    """Half sum and half difference of the first-layer weights at the end of pre-training."""
    root = np.sqrt(c + np.hypot(c, b))
    odd = np.divide(b, root, out=np.zeros_like(root), where=root > 0.0)
    return 0.5 * math.sqrt(1.0 + balance) * root, 0.5 * math.sqrt(1.0 - balance) * odd


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

    See Also
    --------
    pretraining_dependence, finetune_scale

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import scale_elasticity
    >>> scale_elasticity([0.0, 0.1, 10.0], 0.1).round(3).tolist()
    [0.0, 0.293, 0.99]
    """
    b = np.abs(as_reals(source_coef, "source_coef"))
    scale = finetune_scale(b, init_scale, balance, readout_scale)
    root = np.hypot(init_scale, b)
    # beta^2 / root = (beta / root) beta, without an overflow
    share = np.divide(b, root, out=np.zeros_like(root), where=root > 0)
    rise = (1.0 + balance) * share * b
    return np.divide(rise, scale, out=np.zeros_like(scale), where=scale > 0)
