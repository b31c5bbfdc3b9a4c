"""Fine-tuning on data as functions: units, starting point, end point, regimes, error estimates.

The estimator, its paths and the recommendation stand on these.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure
from retemper._domains import check_parameter
from retemper._sources import read_source
from retemper._validation import FloatArray, check_choice, check_real
from retemper.diagonal.channel import channel_estimate
from retemper.diagonal.flow import FlowPath, gradient_flow
from retemper.diagonal.interpolate import DIRECT_MAX, MinimumPenalty, minimum_penalty
from retemper.diagonal.mirror import check_depth
from retemper.diagonal.network import effective_scale, pretrained_weights
from retemper.diagonal.penalties import l_order
from retemper.diagonal.regimes import barycentric_weights, regime_label
from retemper.diagonal.scales import finetune_scale, scale_elasticity

EstimatorMode = Literal["reset", "warm", "probe"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Checked parameters of a fit; their meaning is that of `DiagonalNetworkRegressor`.

    Raises
    ------
    ValueError
        If a parameter is outside its domain, or two contradict each other.
    """

    init_scale: float = 1e-3
    balance: float = 0.0
    readout_scale: float = 0.0
    mode: EstimatorMode = "reset"
    mu: float = 0.0
    stop_time: float | None = None
    standardize: bool = True
    lr_ratio: float = 1.0
    fit_intercept: bool = True
    tol: float = 1e-12
    max_iter: int = 500
    n_jobs: int | None = None
    depth: int = 2

    def __post_init__(self) -> None:
        check_real(self.init_scale, "init_scale", low=1e-300, high=1e300)
        for name in ("balance", "readout_scale", "mu"):
            check_parameter(getattr(self, name), name)
        check_choice(self.mode, "mode", ("reset", "warm", "probe"))
        check_real(self.lr_ratio, "lr_ratio", low=0.0, open_low=True)
        if self.stop_time is not None:
            check_real(self.stop_time, "stop_time", low=0.0, open_low=True)
            if self.mu > 0.0:
                raise ValueError(f"stop_time needs mu = 0, got mu = {self.mu}")
        if check_depth(self.depth) > 2:
            for name, plain in {"balance": 0.0, "readout_scale": 0.0, "lr_ratio": 1.0}.items():
                if getattr(self, name) != plain:
                    raise ValueError(
                        f"{name} must be {plain:g} at depth = {self.depth}, where all layers start "
                        f"alike and move at one rate, got {getattr(self, name)}"
                    )
            if self.mode == "probe":
                raise ValueError(f"mode must be 'reset' or 'warm' at depth = {self.depth}, got "
                                 "'probe'")  # fmt: skip

    def check_source(self, source: Any) -> None:
        """Refuse what needs a source where there is none, and a reset of more than two layers."""
        if source is not None and self.mode == "reset" and self.depth > 2:
            raise ValueError(
                f"mode must be 'warm' with a source at depth = {self.depth}: no closed penalty is "
                "known after a reset, got 'reset'"
            )
        if source is None and self.readout_scale:
            raise ValueError(
                f"readout_scale = {self.readout_scale} needs a source: training from scratch "
                "resets nothing"
            )
        if source is None and self.mode != "reset":
            raise ValueError(f"mode = {self.mode!r} needs a source")

    def check_flow(self) -> None:
        """Refuse the mode that the flow at a finite time does not cover."""
        if self.mode == "probe":
            raise ValueError("stop_time and times need mode 'reset' or 'warm', got 'probe'")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Data in the units of the theory: entries of mean square 1/D, labels of mean square 1.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Scaled rows.
    y : ndarray of shape (n_samples,)
        Scaled labels.
    source : ndarray of shape (n_features,) or None
        Scaled coefficients of the source.
    x_scale : ndarray of shape (n_features,)
        What features were divided by; infinite for constant ones.
    y_scale : float
        What labels were divided by.
    """

    X: FloatArray
    y: FloatArray
    source: FloatArray | None
    x_scale: FloatArray
    y_scale: float

    @property
    def to_raw(self) -> FloatArray:
        """Coefficient in the units of the data over that in the units of the theory."""
        return self.y_scale / self.x_scale

    @property
    def from_scratch(self) -> Problem:
        """The same data without a source."""
        return dataclasses.replace(self, source=None)


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """What pre-training, surgery and rates come down to; each of shape (n_features,).

    Attributes
    ----------
    scale : ndarray
        Fine-tuning scales; zero for constant and frozen features.
    centre : ndarray or None
        Coefficients at the start; None for zero.
    elasticity : ndarray
        Elasticity of the scale in the source coefficient.
    """

    scale: FloatArray
    centre: FloatArray | None
    elasticity: FloatArray


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """Outcome of `fine_tune`, in the units of the theory.

    Attributes
    ----------
    start : StartingPoint
        Where it began.
    coef : ndarray of shape (n_features,)
        Coefficients.
    intercept : float
        Intercept.
    dual : ndarray of shape (n_samples,)
        Residual integrated over time.
    loo_residual : ndarray of shape (n_samples,)
        Leave-one-out residuals to first order; empty where there are none.
    residual, duality_gap : float
        Certificate.
    n_iter : int
        Steps, at least 1.
    is_least_squares : bool
        Whether rows outnumber features without a penalty: no initialisation matters.
    """

    start: StartingPoint
    coef: FloatArray
    intercept: float
    dual: FloatArray
    loo_residual: FloatArray
    residual: float
    duality_gap: float
    n_iter: int
    is_least_squares: bool = False


@dataclasses.dataclass(frozen=True)
class FeatureRegimes:
    """Regime of every feature at the solution; each of shape (n_features, ...).

    Attributes
    ----------
    l_order, pd : ndarray
        Order of the penalty and its dependence on pre-training.
    weights : ndarray of shape (n_features, 3)
        Weights of the regimes I, II, III.
    label : ndarray of str
        "I", "II", "III", "IV", or "frozen".
    """

    l_order: FloatArray
    pd: FloatArray
    weights: FloatArray
    label: NDArray[np.str_]


@dataclasses.dataclass(frozen=True)
class ErrorEstimates:
    """Estimates of the error on new rows; errors in the units of the labels squared.

    Attributes
    ----------
    tau, effective_mu : float
        Scalar channel, in the units of the theory.
    gcv : float
        Error by the theory's channel.
    loo : float
        Mean squared leave-one-out residual; infinite where there are none.
    loo_residual : ndarray of shape (n_samples,)
        These residuals.
    """

    tau: float
    effective_mu: float
    gcv: float
    loo: float
    loo_residual: FloatArray


def read_coefficients(source: Any, X: Any, settings: FitSettings) -> FloatArray | None:
    """Coefficients of a source, in the units of the data.

    Parameters
    ----------
    source : None, array_like, estimator or tuple (X, y)
        Coefficients, a fitted linear model, or data to pre-train on from scratch.
    X : array_like or data frame of shape (n_samples, n_features)
        Target rows, as the user passed them: columns are matched by name where there are names.
    settings : FitSettings
        What pre-training uses of it: scale, units, intercept and solver.

    Returns
    -------
    ndarray of shape (n_features,) or None
        None without a source.

    Raises
    ------
    ValueError, TypeError
        If it does not fit the data, or is something else.
    """
    if source is None:
        return None
    read = read_source(source, X, faces=("coef", "data"))
    if read.coef is not None:
        return read.coef.reshape(-1)
    assert read.data is not None
    X_source, y_source = read.data
    plain = dataclasses.replace(
        settings, balance=0.0, readout_scale=0.0, mode="reset", mu=0.0, stop_time=None, lr_ratio=1.0
    )
    labels = np.ascontiguousarray(y_source, dtype=np.float64).reshape(len(X_source), -1)[:, 0]
    problem = scale_problem(X_source, labels, None, plain)
    return fine_tune(problem, plain).coef * problem.to_raw


def scale_problem(
    X: FloatArray, y: FloatArray, source: FloatArray | None, settings: FitSettings
) -> Problem:
    """Bring data and source to the units of the theory.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features.
    y : ndarray of shape (n_samples,)
        Labels.
    source : ndarray of shape (n_features,) or None
        Coefficients of the source.
    settings : FitSettings
        Whether to scale, and whether there is an intercept.

    Returns
    -------
    Problem
        Scaled.
    """
    d = X.shape[1]
    x_scale, y_scale = np.ones(d), 1.0
    if settings.standardize:
        off = X.mean(axis=0) if settings.fit_intercept else np.zeros(d)
        level = np.sqrt(np.mean((X - off) ** 2, axis=0))
        is_constant = level <= 1e-13 * np.abs(X).max(axis=0, initial=0.0)
        used = d - int(is_constant.sum())
        x_scale = np.where(is_constant, np.inf, level * math.sqrt(max(used, 1)))
        off_y = y.mean() if settings.fit_intercept else 0.0
        rms = math.sqrt(float(np.mean((y - off_y) ** 2)))
        y_scale = rms if rms > 0.0 else 1.0
    scaled = None
    if source is not None:
        finite = np.isfinite(x_scale)
        scaled = np.where(finite, source * np.where(finite, x_scale, 0.0) / y_scale, 0.0)
    return Problem(X / x_scale, y / y_scale, scaled, x_scale, y_scale)


def starting_point(problem: Problem, settings: FitSettings) -> StartingPoint:
    """Fine-tuning scales, centre, and elasticity of the scale in the source.

    Parameters
    ----------
    problem : Problem
        Data and source.
    settings : FitSettings
        Initialisation, surgery and rates.

    Returns
    -------
    StartingPoint
        What gradient flow begins from.
    """
    c, lam, ratio = settings.init_scale, settings.balance, settings.lr_ratio
    source, d = problem.source, problem.X.shape[1]
    centre = None
    rise = np.zeros(d)
    if settings.depth > 2:
        scale, centre = np.full(d, c), source
    elif source is None:
        scale = effective_scale(pretrained_weights(np.zeros(d), c, lam), lr_ratio=ratio).scale
    elif settings.mode == "warm":
        scale, centre = np.full(d, c), source
        if ratio != 1.0:
            scale, centre = effective_scale(pretrained_weights(source, c, lam), lr_ratio=ratio)
    elif settings.mode == "reset":
        scale = finetune_scale(source, c, lam, settings.readout_scale, lr_ratio=ratio)
        first = finetune_scale(source, c, lam, lr_ratio=ratio)
        share = np.divide(first, scale, out=np.zeros(d), where=scale > 0)
        rise = share * scale_elasticity(source, c)
    else:
        scale = 2.0 * finetune_scale(source, c, lam)  # rates of a linear model
        rise = scale_elasticity(source, c)
    return StartingPoint(np.where(np.isinf(problem.x_scale), 0.0, scale), centre, rise)


def end_point(
    problem: Problem,
    start: StartingPoint,
    settings: FitSettings,
    *,
    coef_start: FloatArray | None = None,
    on_failure: OnFailure = "warn",
) -> MinimumPenalty:
    """Where gradient flow ends, or the minimum with a penalty.

    Parameters
    ----------
    problem : Problem
        Data.
    start : StartingPoint
        Scales and centre.
    settings : FitSettings
        Mode, penalty, intercept and solver.
    coef_start : ndarray of shape (n_features,) or None, default=None
        Solution of a neighbouring problem.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the residual was not reached.

    Returns
    -------
    MinimumPenalty
        In the units of the theory.

    Raises
    ------
    ValueError
        If no feature can move.
    """
    scale, mu, unit = start.scale, settings.mu, 1.0
    if not scale.any():
        raise ValueError("X has no feature that can move: each is constant, or its scale is zero")
    if settings.mode == "probe":
        # a quadratic penalty is the limit of large scales; mu and the dual scale along
        unit = 1e9 / float(scale.max()) if scale.any() else 1.0
        scale, mu = 0.5 * scale * unit, mu * unit
    found = minimum_penalty(
        problem.X,
        problem.y,
        scale,
        centre=start.centre,
        mu=mu,
        depth=settings.depth,
        fit_intercept=settings.fit_intercept,
        coef_start=coef_start,
        leave_one_out=min(len(problem.y), scale.size) <= DIRECT_MAX,
        tol=settings.tol,
        max_iter=settings.max_iter,
        n_jobs=settings.n_jobs,
        on_failure=on_failure,
    )
    return dataclasses.replace(found, dual=found.dual * unit)


def flow_at(
    problem: Problem, start: StartingPoint, settings: FitSettings, times: FloatArray
) -> FlowPath:
    """Gradient flow at given times.

    Parameters
    ----------
    problem : Problem
        Data.
    start : StartingPoint
        Scales and centre.
    settings : FitSettings
        Intercept and threads.
    times : ndarray of shape (n_times,)
        Increasing.

    Returns
    -------
    FlowPath
        In the units of the theory.

    Raises
    ------
    ValueError
        If the mode is "probe".
    NumericalError
        If the last time was not reached.
    """
    settings.check_flow()
    return gradient_flow(
        problem.X,
        problem.y,
        start.scale,
        times,
        centre=start.centre,
        depth=settings.depth,
        fit_intercept=settings.fit_intercept,
        n_jobs=settings.n_jobs,
        on_failure="raise",
    )


def fine_tune(problem: Problem, settings: FitSettings) -> FineTuned:
    """Fine-tune to the end, or to ``stop_time``.

    Parameters
    ----------
    problem : Problem
        Data and source.
    settings : FitSettings
        All the rest.

    Returns
    -------
    FineTuned
        In the units of the theory.

    Raises
    ------
    ValueError
        If no feature can move.
    NumericalError
        If ``stop_time`` was not reached.
    """
    start = starting_point(problem, settings)
    if settings.stop_time is not None:
        path = flow_at(problem, start, settings, np.array([settings.stop_time]))
        return FineTuned(
            start=start,
            coef=path.coef[0],
            intercept=float(path.intercept[0]),
            dual=path.dual[0],
            loo_residual=np.zeros(0),
            residual=path.residual,
            duality_gap=0.0,
            n_iter=path.n_iter,
        )
    n = len(problem.y)
    rows = n - 1 if settings.fit_intercept else n
    if not start.scale.any():
        if n == 1 and settings.standardize and settings.fit_intercept:
            raise ValueError("n_samples = 1: one sample leaves nothing for the features")
        raise ValueError("every feature of X is frozen: raise balance, init_scale or "
                         "readout_scale, or check for constant features")  # fmt: skip
    found = end_point(problem, start, settings)
    return FineTuned(
        start=start,
        coef=found.coef,
        intercept=found.intercept,
        dual=found.dual,
        loo_residual=found.loo_residual,
        residual=found.residual,
        duality_gap=found.duality_gap,
        n_iter=max(1, found.n_iter),
        is_least_squares=settings.mu == 0.0 and rows > int(np.count_nonzero(start.scale)),
    )


def feature_regimes(
    coef: FloatArray, start: StartingPoint, settings: FitSettings
) -> FeatureRegimes:
    """Regime of every feature.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
        Coefficients, in the units of the theory.
    start : StartingPoint
        Scales and their elasticity.
    settings : FitSettings
        Mode and depth; of "probe" the penalty is quadratic.

    Returns
    -------
    FeatureRegimes
        Orders, weights and labels.
    """
    free = start.scale > 0.0
    order = np.ones(start.scale.size)
    if settings.mode == "probe":
        order[free] = 2.0
    else:
        order[free] = l_order(coef[free], start.scale[free], depth=settings.depth)
    weights = barycentric_weights(order, start.elasticity)
    return FeatureRegimes(
        l_order=order,
        pd=(1.0 - order) * start.elasticity,
        weights=weights,
        label=np.where(free, regime_label(weights), "frozen"),
    )


def estimate_errors(problem: Problem, fitted: FineTuned, settings: FitSettings) -> ErrorEstimates:
    """Error estimates: leave-one-out, and from the scalar channel of the theory.

    Parameters
    ----------
    problem : Problem
        Data.
    fitted : FineTuned
        The solution.
    settings : FitSettings
        Mode, penalty and stopping time.

    Returns
    -------
    ErrorEstimates
        Both; infinite before the end of training, where neither formula holds.
    """
    used = np.isfinite(problem.x_scale)
    d, n = int(used.sum()), problem.y.size
    # the theory wants entries of mean square 1 / D
    unit = math.sqrt(float(np.mean(problem.X[:, used] ** 2)) * d) or 1.0
    scale, at = fitted.start.scale[used], fitted.coef[used]
    if settings.mode == "probe":  # the curvature of a quadratic penalty
        scale, at = 0.5 * scale, np.zeros(d)
    square = problem.y_scale**2
    left = problem.y - problem.X @ fitted.coef - fitted.intercept
    dual_unit = unit ** (2.0 / settings.depth)  # forces of L layers go with the scale to 2 / L - 1
    channel = channel_estimate(
        unit * scale, unit * at, dual_unit * fitted.dual, n,
        mu=settings.mu / dual_unit, train_error=float(np.mean(left**2)), depth=settings.depth,
    )  # fmt: skip
    loo_residual = fitted.loo_residual * problem.y_scale
    gcv, loo = n / d * channel.tau * square, math.inf
    if settings.stop_time is not None:
        gcv = math.inf
    elif loo_residual.size:
        loo = float(np.mean(loo_residual**2))
    return ErrorEstimates(channel.tau, channel.effective_mu, gcv, loo, loo_residual)
