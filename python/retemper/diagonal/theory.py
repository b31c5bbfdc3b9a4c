"""Penalty, regimes, population dynamics and the high-dimensional limit of diagonal networks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._results import Result, Status, Sweep
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_real
from retemper.diagonal.model import DiagonalModel

if TYPE_CHECKING:
    from retemper.diagonal.model import Component

Rebalance = Literal["sum", "mean"]

#: Labels of `regime_label`, in the order of their numbers.
REGIMES = ("I", "II", "III", "IV")

_REACH = 9.0
_QUANTITIES = ("mse", "test_error", "train_error", "tau", "theta", "dof", "forgetting")


def _reals(value: ArrayLike, name: str, *, low: float = -math.inf) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    bad = ~np.isfinite(array) | (array < low)
    if bad.any():
        worst = np.atleast_1d(array)[np.atleast_1d(bad)][0]
        raise ValueError(f"{name} must be finite and at least {low:g}, got {worst}")
    return array


def _scales(value: ArrayLike) -> FloatArray:
    c = np.asarray(value, dtype=np.float64)
    bad = ~((c > 0) & np.isfinite(c))
    if bad.any():
        worst = np.atleast_1d(c)[np.atleast_1d(bad)][0]
        raise ValueError(f"c must be positive and finite, got {worst}")
    return c


def _asinh_ratio(x: FloatArray, c: FloatArray) -> FloatArray:
    """asinh(x / c) for x >= 0, also where the ratio overflows."""
    with np.errstate(over="ignore", divide="ignore"):
        t = x / c
        far = np.log(x) - np.log(c) + math.log(2.0)
    return np.where(t < 1e150, np.arcsinh(np.minimum(t, 1e150)), far)


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
    b = _reals(source_coef, "source_coef")
    c = check_real(init_scale, "init_scale", low=0.0)
    share = 1.0 + check_real(balance, "balance", low=-1.0, high=1.0)
    gamma = check_real(readout_scale, "readout_scale", low=0.0, high=1e150)
    check_choice(rebalance, "rebalance", ("sum", "mean"))
    root = math.sqrt(check_real(lr_ratio, "lr_ratio", low=0.0, open_low=True))
    first = share * (c + np.hypot(c, b)) * (1.0 if rebalance == "sum" else 0.25)
    return np.asarray(first / root + 0.5 * gamma**2 * root)


def penalty(beta: ArrayLike, c: ArrayLike) -> FloatArray:
    r"""Implicit penalty :math:`q(\beta; c)` of gradient flow.

    :math:`q = \tfrac{c}{2}[1 - \sqrt{1+t^2} + t\,\mathrm{asinh}\,t]` with :math:`t = \beta/c`
    (Woodworth et al. 2020; this form derived here).

    Parameters
    ----------
    beta, c : array_like, broadcastable together
        Coefficient and positive fine-tuning scale.

    Returns
    -------
    ndarray
        The penalty, zero at ``beta = 0`` and about ``beta**2 / (4 c)`` near it.

    Raises
    ------
    ValueError
        If ``c`` is not positive.

    Examples
    --------
    >>> from retemper.diagonal import penalty
    >>> float(penalty(0.5, 0.002).round(10))
    1.3046510246
    """
    x, scale = np.broadcast_arrays(np.abs(_reals(beta, "beta")), _scales(c))
    far = 0.5 * x * (_asinh_ratio(x, scale) - x / (scale + np.hypot(scale, x)))
    t2 = (np.minimum(x, 0.05 * scale) / scale) ** 2
    near = 0.5 * x * (np.minimum(x, scale) / scale) * _h_series(t2)
    return np.asarray(np.where(x < 0.05 * scale, near, far))


def _h_series(t2: FloatArray) -> FloatArray:
    """[1 - sqrt(1 + t^2) + t asinh t] / t^2 for t < 0.05."""
    return 1 / 2 - t2 * (1 / 24 - t2 * (1 / 80 - t2 * (5 / 896 - t2 * 7 / 2304)))


def l_order(beta: ArrayLike, c: ArrayLike) -> FloatArray:
    r"""Order :math:`\ell = \partial\ln q/\partial\ln|\beta|` of the implicit penalty.

    Parameters
    ----------
    beta, c : array_like, broadcastable together
        Coefficient and positive fine-tuning scale.

    Returns
    -------
    ndarray
        In (1, 2]: 2 is ridge-like, 1 lasso-like.

    Raises
    ------
    ValueError
        If ``c`` is not positive.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import l_order
    >>> float(l_order(1.0, 1.0).round(10))
    1.8866631144
    """
    x, scale = np.broadcast_arrays(np.abs(_reals(beta, "beta")), _scales(c))
    t2 = (np.minimum(x, 0.05 * scale) / scale) ** 2
    near = (1 - t2 * (1 / 6 - t2 * (3 / 40 - t2 * (5 / 112 - t2 * 35 / 1152)))) / _h_series(t2)
    shifted = np.where(x < 0.05 * scale, scale, x)
    a = _asinh_ratio(shifted, scale)
    far = a / (a - shifted / (scale + np.hypot(scale, shifted)))
    return np.asarray(np.where(x < 0.05 * scale, near, far))


def marginal_order(beta: ArrayLike, c: ArrayLike) -> FloatArray:
    r"""Order :math:`1 + \partial\ln q'/\partial\ln|\beta|` of the marginal penalty.

    What behavioural probes see (derived here): the order of the force, one above its own.

    Parameters
    ----------
    beta, c : array_like, broadcastable together
        Coefficient and positive fine-tuning scale.

    Returns
    -------
    ndarray
        In (1, 2].

    Raises
    ------
    ValueError
        If ``c`` is not positive.

    Examples
    --------
    >>> from retemper.diagonal import marginal_order
    >>> float(marginal_order(0.5, 0.002).round(9))
    1.160909802
    """
    x, scale = np.broadcast_arrays(np.abs(_reals(beta, "beta")), _scales(c))
    shifted = np.where(x > 1e-8 * scale, x, scale)
    value = 1.0 + shifted / np.hypot(scale, shifted) / _asinh_ratio(shifted, scale)
    return np.where(x > 1e-8 * scale, value, 2.0)


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
    b = np.abs(_reals(source_coef, "source_coef"))
    scale = finetune_scale(b, init_scale, balance, readout_scale)
    root = np.hypot(init_scale, b)
    # beta^2 / root = (beta / root) beta, without an overflow
    share = np.divide(b, root, out=np.zeros_like(root), where=root > 0)
    rise = (1.0 + balance) * share * b
    return np.divide(rise, scale, out=np.zeros_like(scale), where=scale > 0)


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

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import pretraining_dependence
    >>> float(pretraining_dependence(0.5, 1.0, 1e-3).round(9))
    -0.962080287
    """
    scale = finetune_scale(source_coef, init_scale, balance, readout_scale)
    rise = scale_elasticity(source_coef, init_scale, balance, readout_scale)
    return np.asarray((1.0 - l_order(beta, scale)) * rise)


def regime_weights(
    beta: ArrayLike,
    source_coef: ArrayLike,
    init_scale: float,
    balance: float = 0.0,
    readout_scale: float = 0.0,
) -> FloatArray:
    r"""Barycentric weights of the regimes I, II and III (derived here).

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

    Examples
    --------
    >>> from retemper.diagonal import regime_weights
    >>> regime_weights(1.0, 1.0, 1e-3, -0.99).round(4).tolist()
    [0.7701, 0.2296, 0.0002]
    """
    scale = finetune_scale(source_coef, init_scale, balance, readout_scale)
    order = l_order(beta, scale)
    rise = scale_elasticity(source_coef, init_scale, balance, readout_scale)
    return _weights(order, rise)


def _weights(order: FloatArray, rise: FloatArray) -> FloatArray:
    order, rise = np.broadcast_arrays(order, rise)
    return np.stack([2.0 - order, (order - 1.0) * rise, (order - 1.0) * (1.0 - rise)], axis=-1)


def regime_label(
    weights: ArrayLike, *, rich: float = 0.85, dependent: float = 0.75, blind: float = 0.5
) -> NDArray[np.str_]:
    """Name the regime of barycentric weights.

    III if its weight exceeds ``blind``, else I if w_I exceeds ``rich``, else II if w_II exceeds
    ``dependent``, else IV (rich and dependent on the source). The thresholds are conventions,
    derived here: the source has no sharp boundaries.

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

    Examples
    --------
    >>> from retemper.diagonal import regime_label
    >>> str(regime_label([0.55, 0.44, 0.01]))
    'IV'
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim < 1 or w.shape[-1] != 3:
        raise ValueError(f"weights must have shape (..., 3), got {w.shape}")
    for name, value in (("rich", rich), ("dependent", dependent), ("blind", blind)):
        check_real(value, name, low=0.0, high=1.0)
    return np.select(
        [w[..., 2] > blind, w[..., 0] > rich, w[..., 1] > dependent], ["III", "I", "II"], "IV"
    )


def population_path(beta_star: ArrayLike, init_scale: ArrayLike, t: ArrayLike) -> FloatArray:
    r"""Gradient flow on the population loss, in closed form (derived here).

    Solves :math:`\dot\beta = 2\sqrt{c^2+\beta^2}\,(\beta^* - \beta)` from zero.

    Parameters
    ----------
    beta_star, init_scale, t : array_like, broadcastable together
        Target coefficient, positive scale c and non-negative time.

    Returns
    -------
    ndarray
        The coefficient at time t.

    Raises
    ------
    ValueError
        If ``init_scale`` is not positive or ``t`` is negative.

    Examples
    --------
    >>> from retemper.diagonal import population_path
    >>> float(population_path(1.0, 1e-3, 2.0).round(12))
    0.026589928849
    """
    target = _reals(beta_star, "beta_star")
    c, time = _scales(init_scale), _reals(t, "t", low=0.0)
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
    r"""Time at which gradient flow on the population loss is half way (derived here).

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

    Examples
    --------
    >>> from retemper.diagonal import learning_time
    >>> float(learning_time(1.0, 1e-3).round(5))
    3.79995
    """
    b = np.abs(_reals(beta_star, "beta_star"))
    if not np.all(b > 0.0):
        raise ValueError("beta_star must not be zero: such a coefficient has nothing to learn")
    c = _scales(init_scale)
    root = np.hypot(c, b)
    top = b / (root + c)
    half = np.tanh(0.5 * np.arcsinh(0.5 * b / c))
    return np.asarray(-np.log((top - half) / (top * (1.0 + top * half))) / (2.0 * root))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DiagonalTheory(Result):
    """What the high-dimensional limit predicts; errors are per feature (see `solve`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Quadrature passes.
    residual : float
        Larger relative residual of the two equations.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    mse : float
        Excess test error, mean of (fine-tuned - target)**2 over coefficients.
    test_error : float
        ``mse`` plus the label noise variance.
    train_error : float
        Mean squared residual on the training set, 0 for interpolation.
    tau, theta : float
        Effective noise variance and regularisation of the scalar channel.
    dof : float
        Effective degrees of freedom per feature.
    forgetting : float
        Mean of (fine-tuned - pre-trained)**2 over coefficients.
    null_mse : float
        Error of predicting zero; ``mse`` beyond it is negative transfer.
    group_names : tuple of str
        Groups of the law.
    group_weight, group_mse, group_forgetting : ndarray of shape (n_groups,)
        Probability of a group and its averages.
    quadrature_error : float
        Relative change of error and degrees of freedom on doubling the nodes.
    """

    model: DiagonalModel
    mse: float
    test_error: float
    train_error: float
    tau: float
    theta: float
    dof: float
    forgetting: float
    null_mse: float
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    quadrature_error: float


@dataclasses.dataclass(frozen=True)
class _Law:
    """Atoms of one coordinate's law, each array of shape (K,)."""

    weight: FloatArray
    mean: FloatArray
    var: FloatArray
    scale: FloatArray
    centre: FloatArray
    source: FloatArray
    group: NDArray[np.intp]
    group_names: tuple[str, ...]


def _core_solve(channel: FloatArray, laws: Sequence[_Law], n_threads: int) -> dict[str, Any]:
    """Solve all laws at once; shorter ones are filled up with atoms of no weight."""
    size = max(law.weight.size for law in laws)
    columns = []
    for name in ("weight", "mean", "var", "scale", "centre", "source"):
        table = np.full((len(laws), size), 1.0 if name == "scale" else 0.0)
        for row, law in zip(table, laws, strict=True):
            row[: law.weight.size] = getattr(law, name)
        columns.append(table)
    weight, mean, var, scale, centre, source = columns
    return core.diagonal.solve_laws(channel, weight, mean, var, scale, centre, source, 8, n_threads)


def pretraining_channel(model: DiagonalModel) -> tuple[float, float]:
    """Scalar channel (tau, theta) of pre-training on finitely many samples; zeros if infinite.

    The law of the pre-trained coefficient is that of the scalar estimator behind this channel
    (derived here).

    Parameters
    ----------
    model : DiagonalModel
        The problem.

    Returns
    -------
    tuple of float
        Effective noise variance and regularisation.

    Raises
    ------
    NumericalError
        If the fixed point of pre-training was not found.
    """
    if math.isinf(model.alpha_pt):
        return 0.0, 0.0
    parts = model.law()
    zeros = np.zeros(len(parts))
    law = _Law(
        weight=np.array([p.weight for p in parts]),
        mean=np.array([p.source for p in parts]),
        var=np.array([p.source_var for p in parts]),
        scale=np.full(len(parts), model.init_scale),
        centre=zeros,
        source=zeros,
        group=np.zeros(len(parts), np.intp),
        group_names=("",),
    )
    if not np.any(law.mean) and not np.any(law.var) and not model.noise_pt:
        return 0.0, 0.0  # nothing to learn
    found = _core_solve(np.array([[model.alpha_pt, model.noise_pt**2, 0.0]]), [law], 1)
    status = Status.from_core(found["status"][0])
    report_status(status, found["residual"][0], "the fixed point of pre-training",
                  on_failure="raise")  # fmt: skip
    return float(found["tau"][0]), float(found["theta"][0])


def _source_atoms(
    part: Component, c: float, tau: float, theta: float, refine: int
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Pre-trained coefficient of one component: atoms, weights, and the target's law given them."""
    total = part.source_var + tau
    if total == 0.0:
        return (
            np.array([part.source]),
            np.ones(1),
            np.array([part.target_mean]),
            part.target_var,
        )
    sd = math.sqrt(total)
    ends = part.source + _REACH * sd * np.array([-1.0, 1.0])
    low, high = core.diagonal.mirror_prox(ends, np.full(2, c), theta, np.zeros(2))
    u, step = np.linspace(low, high, refine * (80 + int((high - low) / 0.15)), retstep=True)
    half = 0.5 * theta
    t = (c * np.sinh(u) + half * u - part.source) / sd
    weight = step / sd * np.exp(-0.5 * t**2) / math.sqrt(2 * math.pi) * (c * np.cosh(u) + half)
    kept = weight > 1e-17
    weight, t, u = weight[kept], t[kept], u[kept]
    slope = part.covariance / sd
    return (
        c * np.sinh(u),
        weight / weight.sum(),
        part.target_mean + slope * t,
        part.target_var - slope**2,
    )


def _law(model: DiagonalModel, refine: int = 1) -> _Law:
    """Law of one coordinate at fine-tuning."""
    tau, theta = pretraining_channel(model)
    c = model.init_scale
    parts = model.law()
    names = tuple(dict.fromkeys(p.group for p in parts))
    weight, mean, var, source, group = [], [], [], [], []
    for part in parts:
        atoms, share, target_mean, target_var = _source_atoms(part, c, tau, theta, refine)
        weight.append(part.weight * share)
        mean.append(target_mean)
        var.append(np.full(atoms.size, max(target_var, 0.0)))
        source.append(atoms)
        group.append(np.full(atoms.size, names.index(part.group), np.intp))
    b = np.concatenate(source)
    scale, centre = np.full(b.size, c), np.zeros(b.size)
    if model.mode == "reset":
        scale = finetune_scale(b, c, model.balance, model.readout_scale)
    elif model.mode == "warm":
        centre = np.copysign(_asinh_ratio(np.abs(b), scale), b)
    if not scale.any():
        raise ValueError(
            "every coordinate is frozen: with balance = -1 and readout_scale = 0 all weights are "
            "zero at the start of fine-tuning"
        )
    return _Law(
        weight=np.concatenate(weight),
        mean=np.concatenate(mean),
        var=np.concatenate(var),
        scale=scale,
        centre=centre,
        source=b,
        group=np.concatenate(group),
        group_names=names,
    )


def _theories(models: Sequence[DiagonalModel], n_threads: int) -> list[DiagonalTheory]:
    laws = [_law(model) for model in models]
    channel = np.array([[m.alpha, m.noise**2, m.mu] for m in models])
    found = _core_solve(channel, laws, n_threads)
    out = []
    for i, (model, law) in enumerate(zip(models, laws, strict=True)):
        status = Status.from_core(found["status"][i])
        mse, tau, theta = (float(found[name][i]) for name in ("mse", "tau", "theta"))
        size = law.weight.size
        groups = len(law.group_names)
        share = np.bincount(law.group, law.weight, groups).astype(np.float64)
        mse_of, drift_of = found["mse_of"][i, :size], found["drift_of"][i, :size]
        forgetting = float(law.weight @ drift_of)
        if model.mu > 0.0:
            train = model.mu**2 * tau / (model.alpha * theta**2)
        elif theta == 0.0:  # least squares: residual variance of n samples with D coefficients
            train = _least_squares_residual(model, law)
        else:
            train = 0.0
        out.append(
            DiagonalTheory(
                model=model,
                status=status,
                n_iter=int(found["n_iter"][i]),
                residual=float(found["residual"][i]),
                message=status.sentence,
                mse=mse,
                test_error=mse + model.noise**2,
                train_error=train,
                tau=tau,
                theta=theta,
                dof=float(found["dof"][i]),
                forgetting=forgetting,
                null_mse=float(law.weight @ (law.mean**2 + law.var)),
                group_names=law.group_names,
                group_weight=share,
                group_mse=np.bincount(law.group, law.weight * mse_of, groups) / share,
                group_forgetting=np.bincount(law.group, law.weight * drift_of, groups) / share,
                quadrature_error=float(found["quadrature_error"][i]),
            )
        )
    return out


def _least_squares_residual(model: DiagonalModel, law: _Law) -> float:
    frozen = law.scale == 0.0
    lost = float(law.weight[frozen] @ (law.mean[frozen] ** 2 + law.var[frozen]))
    free = float(law.weight[~frozen].sum())
    return (model.noise**2 + lost) * (1.0 - free / model.alpha)


def channel_estimate(
    scale: FloatArray,
    coef: FloatArray,
    dual: FloatArray,
    n_samples: int,
    *,
    mu: float = 0.0,
    train_error: float = 0.0,
) -> tuple[float, float, float]:
    r"""Scalar channel behind a fit on data: effective noise, regularisation, degrees of freedom.

    Solves :math:`\theta\,(n - \sum_d W_d/(W_d+\theta))/D = \mu` with
    :math:`W = 2\sqrt{c^2+\beta^2}`; then :math:`\tau = \alpha\theta^2\|s\|^2/n` (derived here).
    Rows of the design must have mean square 1/D per entry.

    Parameters
    ----------
    scale, coef : ndarray of shape (n_features,)
        Fine-tuning scales and fitted coefficients.
    dual : ndarray of shape (n_samples,)
        Dual variable of the fit.
    n_samples : int
        Samples n.
    mu : float, default=0.0
        Strength of the penalty.
    train_error : float, default=0.0
        Mean squared residual; used where there are more samples than free features and no penalty.

    Returns
    -------
    tuple of float
        tau, theta and dof per feature. ``alpha * tau`` estimates the test error; it is infinite at
        the interpolation threshold.
    """
    weight = 2.0 * np.hypot(scale, coef)
    weight = weight[scale > 0.0]
    d, n = scale.size, n_samples
    alpha = n / d
    if mu == 0.0 and n >= weight.size:
        spare = n - weight.size
        tau = train_error * n / spare * d / spare if spare else math.inf
        return tau, 0.0, weight.size / d
    unit = float(weight.max())

    def excess(log_theta: float) -> float:
        theta = math.exp(log_theta)
        kept = np.sum(weight / unit / (weight / unit + theta))
        return float(kept / d + mu / (theta * unit) - alpha)

    low = high = math.log(max(mu / unit, 1e-300)) if mu > 0.0 else 0.0
    while excess(low) < 0.0:
        low -= 8.0
    while excess(high) > 0.0:
        high += 8.0
    from scipy.optimize import brentq

    theta = unit * math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))
    tau = float(alpha * np.mean((theta * dual) ** 2))
    return tau, theta, float(np.sum(weight / (weight + theta)) / d)


def solve(model: DiagonalModel, *, on_failure: OnFailure = "warn") -> DiagonalTheory:
    r"""Test error of fine-tuning in the high-dimensional limit.

    Solves :math:`\tau = (\sigma^2 + E)/\alpha`, :math:`\theta(\alpha - E\hat x') = \mu` for the
    scalar estimator of the implicit penalty by quadrature in the mirror coordinate, without a
    proximal solve inside (equations after Anguita et al. 2026; the penalised form, warm starts,
    finite pre-training and the quadrature are derived here).

    Parameters
    ----------
    model : DiagonalModel
        The problem.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if no solution was certified.

    Returns
    -------
    DiagonalTheory
        Errors, order parameters, group-resolved errors and the certificate.

    Raises
    ------
    ValueError
        If every coordinate is frozen.
    NumericalError
        If ``on_failure="raise"`` and no solution was certified.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve
    >>> round(solve(DiagonalModel(0.05, omega=1.0)).mse, 8)
    0.52016076
    """
    result = _theories([model], 1)[0]
    report_status(result.status, result.residual, "the fixed point of fine-tuning",
                  on_failure=on_failure)  # fmt: skip
    return result


def curve(
    model: DiagonalModel,
    *,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    **axes: Iterable[Any],
) -> Sweep:
    """Theory on a grid of model parameters, each point started from its neighbour.

    Parameters
    ----------
    model : DiagonalModel
        The base model.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points without a certified solution.
    **axes : iterable
        Values of each swept parameter, e.g. ``alpha=[...]`` or ``rho_shared=[...]``.

    Returns
    -------
    Sweep
        ``mse``, ``test_error``, ``train_error``, ``tau``, ``theta``, ``dof``, ``forgetting``
        and ``status`` on the grid.

    Raises
    ------
    ValueError
        If a name is not a parameter, an axis is empty, or a point is outside the domain.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, curve
    >>> curve(DiagonalModel(0.1, omega=1.0), alpha=[0.1, 0.3])["mse"].round(6).tolist()
    [0.135294, 5.7e-05]
    """
    known = {f.name for f in dataclasses.fields(model)} | {"rho_shared", "rho_new"}
    grid = {name: np.asarray(list(values)) for name, values in axes.items()}
    if not grid:
        raise ValueError(
            "name at least one parameter to sweep, e.g. curve(model, alpha=[0.1, 0.2])"
        )
    for name, values in grid.items():
        if name not in known:
            raise ValueError(f"{name!r} is not a parameter of DiagonalModel: {sorted(known)}")
        if values.ndim != 1 or not values.size:
            raise ValueError(f"axis {name!r} must be a non-empty list")
    shape = tuple(v.size for v in grid.values())
    points = itertools.product(*(v.tolist() for v in grid.values()))
    models = [dataclasses.replace(model, **dict(zip(grid, p, strict=True))) for p in points]
    results = _theories(models, effective_n_threads(n_jobs))
    failed = [r for r in results if r.status is not Status.CONVERGED]
    if failed:
        what = f"the fixed point at {len(failed)} of {len(results)} grid points, first:"
        report_status(failed[0].status, failed[0].residual, what, on_failure=on_failure)
    table = {
        name: np.array([getattr(r, name) for r in results]).reshape(shape) for name in _QUANTITIES
    }
    table["status"] = np.array([str(r.status) for r in results]).reshape(shape)
    return Sweep(grid, table, "DiagonalModel")
