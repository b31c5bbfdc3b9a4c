"""The four weights of every feature: pre-training, surgery, gradient descent and diagnosis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, stream_key
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_kind,
    check_real,
    check_shape,
)
from retemper.diagonal.mirror import mirror_coordinate
from retemper.diagonal.scales import REBALANCES, Rebalance


class NetworkWeights(NamedTuple):
    """Weights of a diagonal linear network (see `retemper.diagonal`).

    The coefficients are ``w_plus * v_plus - w_minus * v_minus``.

    Parameters
    ----------
    w_plus, v_plus, w_minus, v_minus : ndarray of shape (n_features,)
        First layer and read-out of the positive and of the negative pathway.

    See Also
    --------
    pretrained_weights, reset_readout, effective_scale

    Examples
    --------
    >>> from retemper.diagonal import NetworkWeights, effective_scale
    >>> weights = NetworkWeights([1.0], [0.5], [0.2], [0.1])
    >>> effective_scale(weights).centre.round(6).tolist()  # 1.0 * 0.5 - 0.2 * 0.1
    [0.48]
    """

    w_plus: FloatArray
    v_plus: FloatArray
    w_minus: FloatArray
    v_minus: FloatArray

    @property
    def coef(self) -> FloatArray:
        """Coefficients of the network."""
        return self.w_plus * self.v_plus - self.w_minus * self.v_minus


def checked_weights(weights: object, name: str, n_features: int | None = None) -> NetworkWeights:
    """Weights as arrays of one length; an error names the argument and the weight."""
    check_kind(weights, name, NetworkWeights)
    assert isinstance(weights, NetworkWeights)
    arrays = [as_float_array(a, f"{name}.{field}") for field, a in weights._asdict().items()]
    n = arrays[0].size if n_features is None else n_features
    for a, field in zip(arrays, NetworkWeights._fields, strict=True):
        check_shape(a, (n,), f"{name}.{field}")
    return NetworkWeights(*arrays)


class EffectiveScale(NamedTuple):
    """Fine-tuning scale and centre of the penalty at a checkpoint (see `retemper.diagonal`).

    Parameters
    ----------
    scale, centre : ndarray of shape (n_features,)
        c and the coefficients there.

    See Also
    --------
    effective_scale

    Examples
    --------
    >>> from retemper.diagonal import effective_scale, pretrained_weights
    >>> found = effective_scale(pretrained_weights([1.0, 0.0], 0.1))
    >>> found.scale.round(6).tolist(), found.centre.round(6).tolist()
    ([0.1, 0.1], [1.0, 0.0])
    """

    scale: FloatArray
    centre: FloatArray


def pretrained_weights(
    source_coef: ArrayLike, init_scale: float, balance: float = 0.0
) -> NetworkWeights:
    """Weights at the end of pre-training by gradient flow, in closed form.

    Derived here (`derivations/diagonal#scales-after-pre-training`).

    Parameters
    ----------
    source_coef : array_like of shape (n_features,)
        Coefficients reached in pre-training; zero gives the initialisation itself.
    init_scale : float
        Scale c of the initialisation, positive.
    balance : float, default=0.0
        Relative scale of the layers at initialisation, in [-1, 1].

    Returns
    -------
    NetworkWeights
        Weights; ``w_minus`` can be negative for ``balance < 0``.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    reset_readout, NetworkWeights

    Examples
    --------
    >>> from retemper.diagonal import pretrained_weights
    >>> pretrained_weights([2.0, 0.0], 0.1).coef.round(12).tolist()
    [2.0, 0.0]
    """
    beta = as_float_array(source_coef, "source_coef")
    c = check_real(init_scale, "init_scale", low=0.0, open_low=True)
    check_real(balance, "balance", low=-1.0, high=1.0)
    w, v = np.sqrt(0.5 * c * (1.0 + balance)), np.sqrt(0.5 * c * (1.0 - balance))
    xi = 0.5 * mirror_coordinate(beta, np.full(beta.shape, c))
    up, turn = np.cosh(xi), np.sinh(xi)
    return NetworkWeights(
        w * up + v * turn, v * up + w * turn, w * up - v * turn, v * up - w * turn
    )


def reset_readout(
    weights: NetworkWeights, readout_scale: float, *, rebalance: Rebalance = "sum"
) -> NetworkWeights:
    """Re-balance the first layer and re-initialise the read-out, as before fine-tuning.

    Both pathways get the sum of the first-layer weights and the read-out
    ``readout_scale / sqrt(2)``, so that the coefficients start at zero (Anguita et al. 2026). The
    code published with that paper keeps the first-layer weights of the two pathways apart
    (``rebalance="none"``), so that the coefficients start at `finetune_centre`; what its script on
    the order of the penalty calls gamma is the read-out itself, our gamma over sqrt(2).

    Parameters
    ----------
    weights : NetworkWeights
        Pre-trained weights.
    readout_scale : float
        Gamma, non-negative.
    rebalance : {"sum", "mean", "none"}, default="sum"
        What both first-layer weights become; "none" keeps both as they are.

    Returns
    -------
    NetworkWeights
        Weights at the start of fine-tuning.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    pretrained_weights, finetune_scale

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import (
    ...     effective_scale,
    ...     finetune_scale,
    ...     pretrained_weights,
    ...     reset_readout,
    ... )
    >>> weights = reset_readout(pretrained_weights([0.5, 2.0], 0.1), 0.3)
    >>> effective_scale(weights).scale.round(6).tolist()
    [0.654902, 2.147498]
    >>> finetune_scale([0.5, 2.0], 0.1, 0.0, 0.3).round(6).tolist()
    [0.654902, 2.147498]
    """
    gamma = check_real(readout_scale, "readout_scale", low=0.0)
    check_choice(rebalance, "rebalance", REBALANCES)
    weights = checked_weights(weights, "weights")
    if rebalance == "none":
        plus, minus = weights.w_plus.copy(), weights.w_minus.copy()
        return NetworkWeights(
            plus, np.full(plus.shape, gamma / np.sqrt(2.0)),
            minus, np.full(minus.shape, gamma / np.sqrt(2.0)),
        )  # fmt: skip
    both = (weights.w_plus + weights.w_minus) * (1.0 if rebalance == "sum" else 0.5)
    readout = np.full(both.shape, gamma / np.sqrt(2.0))
    return NetworkWeights(both, readout, both.copy(), readout.copy())


def effective_scale(checkpoint: NetworkWeights, *, lr_ratio: float = 1.0) -> EffectiveScale:
    r"""Scale and centre of the penalty that gradient flow from a checkpoint minimises.

    For any weights, :math:`c = \tfrac12\sqrt{A_+A_-}` and :math:`\beta_0 = (A_+-A_-)/4` with
    :math:`A_\pm = (w^+\pm v^+)^2 + (w^-\mp v^-)^2` (derived here:
    `derivations/diagonal#what-the-flow-keeps`). At the end of training by gradient descent, the
    change of c against its start measures the bias of the step size.

    Parameters
    ----------
    checkpoint : NetworkWeights
        Weights at any moment.
    lr_ratio : float, default=1.0
        Learning rate of the first layer over that of the read-out, positive.

    Returns
    -------
    EffectiveScale
        ``scale`` and ``centre`` of every feature.

    Raises
    ------
    ValueError
        If the weights differ in shape or ``lr_ratio`` is not positive.

    See Also
    --------
    finetune_scale, reset_readout

    Examples
    --------
    >>> from retemper.diagonal import effective_scale, pretrained_weights
    >>> effective_scale(pretrained_weights([2.0, 0.0], 0.1)).scale.round(12).tolist()
    [0.1, 0.1]
    """
    turn = check_real(lr_ratio, "lr_ratio", low=0.0, open_low=True) ** 0.25
    wp, vp, wm, vm = checked_weights(checkpoint, "checkpoint")
    plus = np.hypot(wp / turn + vp * turn, wm / turn - vm * turn)
    minus = np.hypot(wp / turn - vp * turn, wm / turn + vm * turn)
    return EffectiveScale(0.5 * plus * minus, 0.25 * (plus - minus) * (plus + minus))


class Descent(NamedTuple):
    """Outcome of `train_network` (see `retemper.diagonal`).

    Parameters
    ----------
    weights : NetworkWeights
        Final weights.
    loss : ndarray
        Half the squared residual every ``stride`` steps, the start included, without label noise.

    See Also
    --------
    train_network

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import pretrained_weights, train_network
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20, 30)) / 30**0.5
    >>> start = pretrained_weights(np.zeros(30), 0.1)
    >>> descent = train_network(X, X[:, 0], start, step_size=0.1, n_steps=100)
    >>> bool(descent.loss[-1] < descent.loss[0])
    True
    """

    weights: NetworkWeights
    loss: FloatArray


def train_network(
    X: ArrayLike,
    y: ArrayLike,
    weights: NetworkWeights,
    *,
    step_size: float,
    n_steps: int,
    batch_size: int | None = None,
    label_noise: float = 0.0,
    lr_ratio: float = 1.0,
    stride: int = 1,
    random_state: Seed = 0,
    progress: ProgressLike = None,
) -> Descent:
    r"""Gradient descent on the weights of the network, step by step.

    The loss is :math:`\tfrac12\|y - X\beta\|^2`. For teaching and for checking the bias of finite
    steps, which is of the order of the step: the end point of gradient flow itself is
    `minimum_penalty`, and its path `gradient_flow` (derived here:
    `derivations/diagonal#what-the-flow-keeps`).

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design.
    y : array_like of shape (n_samples,)
        Labels.
    weights : NetworkWeights
        Start.
    step_size : float
        Geometric mean of the learning rates of the two layers, positive.
    n_steps : int
        Number of steps.
    batch_size : int or None, default=None
        Rows drawn with replacement at every step, their gradient scaled to the whole; all rows
        without drawing if None.
    label_noise : float, default=0.0
        Standard deviation of normal noise that is drawn anew for every label of every step;
        `stochastic_scale` says what it does.
    lr_ratio : float, default=1.0
        Learning rate of the first layer over that of the read-out, positive.
    stride : int, default=1
        Record the loss every so many steps.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of the batches and of the noise.
    progress : None, bool, callable or object, default=None
        Called with (steps done, steps) from time to time.

    Returns
    -------
    Descent
        Final weights and loss curve.

    Raises
    ------
    ValueError
        If shapes disagree or a value is outside its domain.
    NumericalError
        If the iteration diverges.

    See Also
    --------
    gradient_flow, effective_scale, stochastic_scale

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import minimum_penalty, pretrained_weights, train_network
    >>> X = np.random.default_rng(0).normal(size=(5, 10)) / 10**0.5
    >>> start = pretrained_weights(np.zeros(10), 0.5)
    >>> end = train_network(X, X[:, 0], start, step_size=0.05, n_steps=4000).weights
    >>> exact = minimum_penalty(X, X[:, 0], np.full(10, 0.5)).coef
    >>> trained = end.w_plus * end.v_plus - end.w_minus * end.v_minus
    >>> bool(np.abs(trained - exact).max() < 0.05)
    True
    """
    progress = as_callback(progress, "train_network")
    design = as_float_array(X, "X", ndim=2)
    labels = as_float_array(y, "y")
    check_shape(labels, (design.shape[0],), "y")
    arrays = checked_weights(weights, "weights", design.shape[1])
    rate = check_real(step_size, "step_size", low=0.0, open_low=True)
    root = check_real(lr_ratio, "lr_ratio", low=0.0, open_low=True) ** 0.5
    found = core.diagonal.descend(
        X=design,
        y=labels,
        **arrays._asdict(),
        rate_w=rate * root,
        rate_v=rate / root,
        n_steps=check_integer(n_steps, "n_steps"),
        batch_size=0 if batch_size is None else check_integer(batch_size, "batch_size", low=1),
        label_noise=float(check_parameter(label_noise, "label_noise")),
        stride=check_integer(stride, "stride", low=1),
        key=stream_key(random_state),
        progress=progress,
    )
    loss = found.pop("loss")
    return Descent(NetworkWeights(**found), loss)


def squared_network_scale(w_plus: ArrayLike, w_minus: ArrayLike | None = None) -> EffectiveScale:
    r"""Scale and centre for networks whose coefficients are a difference of squares.

    Gradient flow of :math:`\beta = w_+^2 - w_-^2` keeps :math:`w_+w_-`, so that :math:`\beta =
    c\sinh(u_0 + 4\int X^\top r)` with :math:`c = 2|w_+w_-|`: the same path as that of
    `gradient_flow` with this scale and centre, at twice its time (derived here:
    `derivations/diagonal#scales-after-pre-training`). From :math:`w_+ = w_- = \alpha` this is
    :math:`c = 2\alpha^2`, and `penalty` is half of the :math:`Q_\alpha` of Woodworth et al. (2020).

    Parameters
    ----------
    w_plus : array_like of shape (n_features,)
        First weights at the start.
    w_minus : array_like of shape (n_features,) or None, default=None
        Second weights; equal to the first if None.

    Returns
    -------
    EffectiveScale
        ``scale`` and ``centre`` of every feature.

    Raises
    ------
    ValueError
        If the weights differ in shape or are not finite.

    See Also
    --------
    effective_scale, penalty

    Examples
    --------
    >>> from retemper.diagonal import squared_network_scale
    >>> squared_network_scale([0.1, 0.2]).scale.round(12).tolist()
    [0.02, 0.08]
    """
    plus = as_float_array(w_plus, "w_plus")
    minus = plus if w_minus is None else as_float_array(w_minus, "w_minus")
    check_shape(minus, plus.shape, "w_minus")
    return EffectiveScale(2.0 * np.abs(plus * minus), (plus - minus) * (plus + minus))
