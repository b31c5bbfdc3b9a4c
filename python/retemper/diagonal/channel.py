"""The scalar channel to which the high-dimensional limit comes down, in theory and on data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._control import report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._results import Status
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_kind,
    check_real,
)
from retemper.diagonal.mirror import as_scales_of, check_depth, curvature_weight
from retemper.diagonal.model import DiagonalModel


@dataclasses.dataclass(frozen=True)
class ScalarChannel:
    """What one coefficient sees of all the others (see `retemper.diagonal`).

    The estimate x of a coefficient B solves ``x + effective_mu * q'(x) = B + sqrt(tau) * N(0, 1)``.

    Parameters
    ----------
    tau : float
        Variance of the effective noise.
    effective_mu : float
        Strength of the penalty in the channel.
    dof : float
        Degrees of freedom per feature.

    See Also
    --------
    pretraining_channel, channel_estimate

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, pretraining_channel
    >>> channel = pretraining_channel(DiagonalModel(0.2, alpha_pt=0.4))
    >>> round(channel.dof, 9), channel.tau > 0
    (0.4, True)
    """

    tau: float
    effective_mu: float
    dof: float


@dataclasses.dataclass(frozen=True)
class Law:
    """Joint law of one coordinate as a mixture; each array has shape (K,).

    Attributes
    ----------
    weight : ndarray
        Probability of each part.
    mean, var : ndarray
        Mean and variance of the target coefficient.
    scale : ndarray
        Fine-tuning scale; zero freezes the coordinate.
    centre : ndarray
        Mirror coordinate of the centre of the penalty.
    source : ndarray
        Coefficient at the end of pre-training.
    group : ndarray of int
        Place in ``group_names``.
    group_names : tuple of str
        Groups for which errors are reported.
    depth : int
        Layers of the network.
    """

    weight: FloatArray
    mean: FloatArray
    var: FloatArray
    scale: FloatArray
    centre: FloatArray
    source: FloatArray
    group: NDArray[np.intp]
    group_names: tuple[str, ...]
    depth: int = 2

    @property
    def null_mse(self) -> float:
        """Error of predicting zero."""
        return float(self.weight @ (self.mean**2 + self.var))

    def to_core(self) -> Any:
        """The same for the core."""
        return core.diagonal.Law(
            weight=self.weight,
            mean=self.mean,
            var=self.var,
            scale=self.scale,
            centre=self.centre,
            source=self.source,
            depth=float(self.depth),
        )


def solve_laws(
    laws: Sequence[Law],
    *,
    alpha: Sequence[float],
    noise: Sequence[float],
    mu: Sequence[float],
    n_threads: int = 1,
    progress: ProgressLike = None,
) -> list[Any]:
    """Fixed points of neighbouring problems.

    Parameters
    ----------
    laws : sequence of Law
        Laws of the problems.
    alpha, noise, mu : sequence of float
        Samples per feature, standard deviation of the label noise and penalty of each.
    n_threads : int, default=1
        Threads.
    progress : None, bool, callable or object, default=None
        Called with (problems done, problems) from time to time.

    Returns
    -------
    list of FixedPoint
        Fields ``mse``, ``tau``, ``effective_mu``, ``dof``, ``residual``, ``quadrature_error``,
        ``n_iter``, ``status``, and, part by part of the law, ``mse_of`` and ``drift_of``.
    """
    progress = as_callback(progress, "solve_laws")
    return list(
        core.diagonal.solve_fixed_points(
            laws=[law.to_core() for law in laws],
            channels=[
                core.diagonal.Channel(alpha=a, noise_var=s**2, mu=m)
                for a, s, m in zip(alpha, noise, mu, strict=True)
            ],
            n_threads=n_threads,
            progress=progress,
        )
    )


def pretraining_channel(model: DiagonalModel) -> ScalarChannel:
    """Scalar channel of pre-training on finitely many samples; without noise if infinitely many.

    The law of the pre-trained coefficient is that of the scalar estimator behind this channel
    (derived here: `derivations/diagonal#error-in-high-dimension`).

    Parameters
    ----------
    model : DiagonalModel
        The problem.

    Returns
    -------
    ScalarChannel
        Effective noise, penalty and degrees of freedom.

    Raises
    ------
    ValueError
        If pre-training stops early.
    NumericalError
        If the fixed point of pre-training was not found.

    See Also
    --------
    solve, ScalarChannel

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, pretraining_channel
    >>> round(pretraining_channel(DiagonalModel(0.2, alpha_pt=0.4)).dof, 10)
    0.4
    """
    check_kind(model, "model", DiagonalModel)
    if math.isfinite(model.time_pt):
        raise ValueError(
            f"model must have time_pt = inf for a channel of pre-training, got {model.time_pt:g}: "
            "a flow that stops early keeps its past"
        )
    nothing = ScalarChannel(0.0, 0.0, min(1.0, model.alpha_pt))
    if math.isinf(model.alpha_pt):
        return nothing
    parts = model.law()
    zeros = np.zeros(len(parts))
    law = Law(
        weight=np.array([p.weight for p in parts]),
        mean=np.array([p.source_mean for p in parts]),
        var=np.array([p.source_var for p in parts]),
        scale=np.full(len(parts), model.init_scale),
        centre=zeros,
        source=zeros,
        group=np.zeros(len(parts), np.intp),
        group_names=("",),
        depth=model.depth,
    )
    if not np.any(law.mean) and not np.any(law.var) and not model.noise_pt:
        return nothing  # nothing to learn
    found = solve_laws([law], alpha=[model.alpha_pt], noise=[model.noise_pt], mu=[0.0])[0]
    report_status(Status(found.status), found.residual, "the fixed point of pre-training",
                  on_failure="raise")  # fmt: skip
    return ScalarChannel(found.tau, found.effective_mu, found.dof)


def channel_estimate(
    scale: FloatArray,
    coef: FloatArray,
    dual: FloatArray,
    n_samples: int,
    *,
    mu: float = 0.0,
    train_error: float = 0.0,
    depth: int = 2,
) -> ScalarChannel:
    r"""Scalar channel behind a fit on data: effective noise, penalty, degrees of freedom.

    Solves :math:`\mu_e\,(n - \sum_d W_d/(W_d+\mu_e))/D = \mu` for the effective penalty
    :math:`\mu_e` with :math:`W = 1/q''`, for two layers :math:`2\sqrt{c^2+\beta^2}`; then
    :math:`\tau = \alpha\mu_e^2\|s\|^2/n` (derived here:
    `derivations/diagonal#error-in-high-dimension`). Rows of the design must have mean square 1/D
    per entry.

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
    depth : int, default=2
        Layers of the network.

    Returns
    -------
    ScalarChannel
        ``alpha * tau`` estimates the test error; it is infinite at the interpolation threshold.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    solve, ScalarChannel

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import channel_estimate, minimum_penalty
    >>> X = np.random.default_rng(0).normal(size=(20, 50)) / 50**0.5
    >>> scale = np.full(50, 0.1)
    >>> fit = minimum_penalty(X, X[:, 0], scale)
    >>> channel = channel_estimate(scale, fit.coef, fit.dual, 20)
    >>> round(channel.dof, 6), bool(channel.tau > 0)
    (0.4, True)
    """
    coef, dual = as_float_array(coef, "coef"), as_float_array(dual, "dual")
    scale = as_scales_of(scale, coef.size)
    d, n = coef.size, check_integer(n_samples, "n_samples", low=1)
    mu = check_real(mu, "mu", low=0.0)
    train_error = check_real(train_error, "train_error", low=0.0)
    free = scale > 0.0
    weight = curvature_weight(coef[free], scale[free], check_depth(depth))
    alpha = n / d
    if mu == 0.0 and n >= weight.size:
        spare = n - weight.size
        tau = train_error * n / spare * d / spare if spare else math.inf
        return ScalarChannel(tau, 0.0, weight.size / d)
    unit = float(weight.max(initial=0.0)) or 1.0

    def excess(log_strength: float) -> float:
        strength = math.exp(log_strength)
        kept = np.sum(weight / unit / (weight / unit + strength))
        return float(kept / d + mu / (strength * unit) - alpha)

    low = high = math.log(max(mu / unit, 1e-300)) if mu > 0.0 else 0.0
    while excess(low) < 0.0:
        low -= 8.0
    while excess(high) > 0.0:
        high += 8.0
    from scipy.optimize import brentq

    effective_mu = unit * math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))
    tau = float(alpha * np.mean((effective_mu * dual) ** 2))
    return ScalarChannel(tau, effective_mu, float(np.sum(weight / (weight + effective_mu)) / d))
