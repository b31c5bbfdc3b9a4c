"""Fine-tuning a diagonal linear network on data, and choosing how."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from retemper._base import TransferMixin
from retemper._control import OnFailure
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_entries,
    check_integer,
    check_real,
)
from retemper.diagonal.channel import channel_estimate
from retemper.diagonal.flow import gradient_flow
from retemper.diagonal.interpolate import DIRECT_MAX, leave_one_out, minimum_penalty
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.network import effective_scale, pretrained_weights
from retemper.diagonal.penalties import l_order
from retemper.diagonal.regimes import regime_label
from retemper.diagonal.scales import finetune_scale, scale_elasticity
from retemper.diagonal.theory import curve
from retemper.exceptions import ValidityWarning

EstimatorMode = Literal["reset", "warm", "probe"]

#: What `recommend` tries: 1 + balance, readout_scale, init_scale.
GRID_SHARE = (1e-3, 1e-2, 0.1, 1.0, 2.0)
GRID_READOUT = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GRID_INIT = (1e-6, 1e-3, 1e-1)

#: `recommend` refits without each row up to so many rows.
EXACT_LOO_MAX = 64


def source_coefficients(source: Any, n_features: int, settings: dict[str, Any]) -> FloatArray:
    """Coefficients of a source: an array, a fitted linear estimator, or data to pre-train on."""
    if isinstance(source, tuple) and len(source) == 2 and np.ndim(source[0]) == 2:
        source = DiagonalNetworkRegressor(**settings).fit(*source)
    if hasattr(source, "fit") and not hasattr(source, "coef_"):
        raise ValueError("source must be fitted first: it has no coef_")
    coef = as_float_array(getattr(source, "coef_", source), "source", ndim=(1, 2))
    coef = coef.reshape(-1) if coef.shape[0] == 1 else coef
    if coef.shape != (n_features,):
        raise ValueError(
            f"source must have one coefficient for each of the {n_features} features, "
            f"got shape {coef.shape}"
        )
    return coef


class _Problem(NamedTuple):
    """Data in the units of the theory: entries of mean square 1/D, labels of mean square 1."""

    X: FloatArray
    y: FloatArray
    source: FloatArray | None
    to_raw: FloatArray  # raw coefficient over theory coefficient
    x_scale: FloatArray
    y_scale: float


@dataclasses.dataclass(frozen=True)
class DiagonalPath:
    """Fits along a path of times or penalties (see `DiagonalNetworkRegressor`).

    Parameters
    ----------
    kind : {"times", "mus"}
        What was varied.
    values : ndarray of shape (n_points,)
        Times or penalties.
    coef : ndarray of shape (n_points, n_features)
        Coefficients, in the units of the data.
    intercept : ndarray of shape (n_points,)
        Intercepts.
    train_mse : ndarray of shape (n_points,)
        Training errors.
    loo_mse : ndarray of shape (n_points,)
        Leave-one-out errors: by the leverage formula along ``mus``, by refitting without each
        fold of rows along ``times``.
    best : int
        Index of the least leave-one-out error.
    """

    kind: str
    values: FloatArray
    coef: FloatArray
    intercept: FloatArray
    train_mse: FloatArray
    loo_mse: FloatArray
    best: int


class DiagonalNetworkRegressor(TransferMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Fine-tuning a pre-trained diagonal linear network, exactly.

    Finds the end point of gradient flow (or its point at ``stop_time``) on the target data from
    the weights that pre-training, re-balancing and the read-out reset leave behind (Anguita et al.
    2026; see `retemper.diagonal`). The labels are scaled to mean square one and each feature to
    mean square 1/D after centring, so that ``init_scale``, ``readout_scale**2``, ``mu`` and the
    source coefficients are compared in the same units.

    Parameters
    ----------
    init_scale : float, default=1e-3
        Scale c of the weights before pre-training, in units of a coefficient.
    balance : float, default=0.0
        Relative scale of the layers before pre-training, in [-1, 1].
    readout_scale : float, default=0.0
        Read-out scale gamma after the reset; needs a source.
    source : None, array_like, estimator or tuple (X, y), default=None
        Coefficients of the source task, a fitted estimator with ``coef_``, or data to pre-train
        on. None trains from scratch.
    mode : {"reset", "warm", "probe"}, default="reset"
        Reset the read-out, continue from the source, or train the read-out alone on the frozen
        first layer.
    mu : float, default=0.0
        Strength of the explicit penalty; 0 interpolates.
    stop_time : float or None, default=None
        Stop gradient flow on half the squared residual at this time; None goes to the end.
    standardize : bool, default=True
        Whether to bring data to the units above. If False, everything is taken as it is.
    lr_ratio : float, default=1.0
        Learning rate of the first layer over that of the read-out.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    tol : float, default=1e-12
        Residual, relative to the labels.
    max_iter : int, default=500
        Most Newton steps.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the units of the data.
    intercept_ : float
        Intercept.
    c_ft_ : ndarray of shape (n_features,)
        Fine-tuning scales; 0 for constant and frozen features.
    dual_ : ndarray of shape (n_samples,)
        Residual integrated over time.
    l_order_, pd_ : ndarray of shape (n_features,)
        Order of the penalty and its dependence on pre-training at the solution. Warm starts
        measure the penalty from the source: ``pd_`` is then 0.
    regime_weights_ : ndarray of shape (n_features, 3)
        Barycentric weights of the regimes I, II, III.
    regime_ : ndarray of str of shape (n_features,)
        "I", "II", "III", "IV", or "frozen".
    loo_residual_ : ndarray of shape (n_samples,)
        Leave-one-out residuals to first order (see `leave_one_out` for exact ones).
    loo_mse_, gcv_mse_ : float
        Estimates of the test error: leave-one-out and from the theory's scalar channel.
    effective_noise_, theta_ : float
        Scalar channel, in the units of the theory.
    residual_, duality_gap_ : float
        Certificate.
    n_iter_ : int
        Newton steps, or accepted steps of the flow; at least 1.
    n_features_in_ : int
        Features seen in `fit`.

    Raises
    ------
    ValueError
        If a parameter is outside its domain or the source does not fit the data.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import DiagonalNetworkRegressor
    >>> X = np.random.default_rng(0).normal(size=(20, 60))
    >>> model = DiagonalNetworkRegressor(source=np.eye(60)[0]).fit(X, X[:, 0])
    >>> bool(abs(model.coef_[0] - 1) < 0.1)
    True
    """

    def __init__(
        self,
        init_scale: float = 1e-3,
        balance: float = 0.0,
        readout_scale: float = 0.0,
        *,
        source: Any = None,
        mode: EstimatorMode = "reset",
        mu: float = 0.0,
        stop_time: float | None = None,
        standardize: bool = True,
        lr_ratio: float = 1.0,
        fit_intercept: bool = True,
        tol: float = 1e-12,
        max_iter: int = 500,
        n_jobs: int | None = None,
    ) -> None:
        self.init_scale = init_scale
        self.balance = balance
        self.readout_scale = readout_scale
        self.source = source
        self.mode = mode
        self.mu = mu
        self.stop_time = stop_time
        self.standardize = standardize
        self.lr_ratio = lr_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        check_real(self.init_scale, "init_scale", low=1e-300, high=1e300)
        check_real(self.balance, "balance", low=-1.0, high=1.0)
        check_real(self.readout_scale, "readout_scale", low=0.0, high=1e150)
        check_choice(self.mode, "mode", ("reset", "warm", "probe"))
        check_real(self.mu, "mu", low=0.0)
        check_real(self.lr_ratio, "lr_ratio", low=0.0, open_low=True)
        if self.stop_time is not None:
            check_real(self.stop_time, "stop_time", low=0.0, open_low=True)
            if self.mu > 0.0:
                raise ValueError(f"stop_time needs mu = 0, got mu = {self.mu}")
        if self.source is None and self.readout_scale:
            raise ValueError(
                f"readout_scale = {self.readout_scale} needs a source: training from scratch "
                "resets nothing"
            )
        if self.source is None and self.mode != "reset":
            raise ValueError(f"mode = {self.mode!r} needs a source")

    def _problem(self, X: FloatArray, y: FloatArray) -> _Problem:
        """Bring data and source to the units of the theory."""
        d = X.shape[1]
        x_scale, y_scale = np.ones(d), 1.0
        if self.standardize:
            off = X.mean(axis=0) if self.fit_intercept else np.zeros(d)
            level = np.sqrt(np.mean((X - off) ** 2, axis=0))
            is_constant = level <= 1e-13 * np.abs(X).max(axis=0, initial=0.0)
            used = d - int(is_constant.sum())
            x_scale = np.where(is_constant, np.inf, level * math.sqrt(max(used, 1)))
            off_y = y.mean() if self.fit_intercept else 0.0
            rms = math.sqrt(float(np.mean((y - off_y) ** 2)))
            y_scale = rms if rms > 0.0 else 1.0
        with np.errstate(invalid="ignore"):
            source = None
            if self.source is not None:
                settings = {
                    k: getattr(self, k)
                    for k in ("init_scale", "standardize", "fit_intercept", "tol", "max_iter",
                              "n_jobs")
                }  # fmt: skip
                raw = source_coefficients(self.source, d, settings)
                source = np.where(np.isinf(x_scale), 0.0, raw * x_scale / y_scale)
                source[np.isinf(x_scale)] = 0.0
        to_raw = y_scale / x_scale
        return _Problem(X / x_scale, y / y_scale, source, to_raw, x_scale, y_scale)

    def _start(self, problem: _Problem) -> tuple[FloatArray, FloatArray | None, FloatArray]:
        """Fine-tuning scales, centre, and elasticity of the scale in the source."""
        c, lam = self.init_scale, self.balance
        source, d = problem.source, problem.X.shape[1]
        centre = None
        rise = np.zeros(d)
        if source is None:
            start = effective_scale(pretrained_weights(np.zeros(d), c, lam), lr_ratio=self.lr_ratio)
            scale = start.scale
        elif self.mode == "warm":
            start = effective_scale(pretrained_weights(source, c, lam), lr_ratio=self.lr_ratio)
            scale, centre = (start.scale, start.centre) if self.lr_ratio != 1.0 else (
                np.full(d, c), source)  # fmt: skip
        elif self.mode == "reset":
            scale = finetune_scale(source, c, lam, self.readout_scale, lr_ratio=self.lr_ratio)
            first = finetune_scale(source, c, lam, lr_ratio=self.lr_ratio)
            share = np.divide(first, scale, out=np.zeros(d), where=scale > 0)
            rise = share * scale_elasticity(source, c)
        else:
            scale = 2.0 * finetune_scale(source, c, lam)  # rates of a linear model
            rise = scale_elasticity(source, c)
        return np.where(np.isinf(problem.x_scale), 0.0, scale), centre, rise

    def _solve(
        self,
        problem: _Problem,
        scale: FloatArray,
        centre: FloatArray | None,
        mu: float,
        *,
        coef_start: FloatArray | None = None,
        on_failure: OnFailure = "warn",
    ) -> Any:
        rows = problem.X.shape[0]
        if self.mode == "probe":
            # a quadratic penalty is the limit of large scales; mu and the dual scale along
            unit = 1e9 / float(scale.max()) if scale.any() else 1.0
            scale, mu = 0.5 * scale * unit, mu * unit
        found = minimum_penalty(
            problem.X,
            problem.y,
            scale,
            centre=centre,
            mu=mu,
            fit_intercept=self.fit_intercept,
            coef_start=coef_start,
            leave_one_out=min(rows, scale.size) <= DIRECT_MAX,
            tol=self.tol,
            max_iter=self.max_iter,
            n_jobs=self.n_jobs,
            on_failure=on_failure,
        )
        if self.mode == "probe":
            found = dataclasses.replace(found, dual=found.dual * unit)
        return found

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fine-tune on target data.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Features.
        y : array_like of shape (n_samples,)
            Labels.

        Returns
        -------
        DiagonalNetworkRegressor
            The fitted estimator.
        """
        self._check_parameters()
        features, labels = self._validated(X, y)
        problem = self._problem(features, labels)
        scale, centre, rise = self._start(problem)
        n, d = features.shape
        rows = n - 1 if self.fit_intercept else n
        if self.stop_time is None:
            if self.mu == 0.0 and rows > np.count_nonzero(scale) > 0:
                warnings.warn(
                    f"{n} samples of {d} features: without a penalty or a stop_time the flow ends "
                    "at least squares, whatever the initialisation",
                    ValidityWarning,
                    stacklevel=2,
                )
            found = self._solve(problem, scale, centre, self.mu) if scale.any() else None
            if found is None:
                if n == 1 and self.standardize and self.fit_intercept:
                    raise ValueError("n_samples = 1: one sample leaves nothing for the features")
                raise ValueError("every feature is frozen: raise balance, init_scale or "
                                 "readout_scale, or check for constant features")  # fmt: skip
            coef, intercept, dual = found.coef, found.intercept, found.dual
            self.n_iter_, self.residual_ = max(1, found.n_iter), found.residual
            self.duality_gap_ = found.gap
            loo = found.loo
        else:
            flow = gradient_flow(
                problem.X, problem.y, self._flow_scale(scale), [self.stop_time], centre=centre,
                fit_intercept=self.fit_intercept,
            )  # fmt: skip
            coef, intercept, dual = flow.coef[0], float(flow.intercept[0]), flow.dual[0]
            self.n_iter_, self.residual_, self.duality_gap_ = flow.n_iter, flow.residual, 0.0
            loo = np.zeros(0)
        self.coef_ = coef * problem.to_raw
        self.intercept_ = intercept * problem.y_scale
        self.dual_, self.c_ft_ = dual, scale
        self._describe(coef, scale, rise)
        left = labels - features @ self.coef_ - self.intercept_
        self._judge(problem, coef, loo, float(np.mean(left**2)))
        return self

    def _validated(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        features, labels = validate_data(self, X, y, dtype=np.float64, y_numeric=True, order="C")
        labels = np.ascontiguousarray(labels, dtype=np.float64)
        check_entries(features, "X")
        check_entries(labels, "y")
        return features, labels

    def _flow_scale(self, scale: FloatArray) -> FloatArray:
        if self.mode == "probe":
            raise ValueError("stop_time and times need mode 'reset' or 'warm', got 'probe'")
        return scale

    def _describe(self, coef: FloatArray, scale: FloatArray, rise: FloatArray) -> None:
        """Regime of every feature."""
        free = scale > 0.0
        self.l_order_ = np.ones(scale.size)
        self.l_order_[free] = 2.0 if self.mode == "probe" else l_order(coef[free], scale[free])
        self.pd_ = (1.0 - self.l_order_) * rise
        w = self.l_order_ - 1.0
        self.regime_weights_ = np.stack([1.0 - w, w * rise, w * (1.0 - rise)], axis=1)
        self.regime_ = np.where(free, regime_label(self.regime_weights_), "frozen")

    def _judge(self, problem: _Problem, coef: FloatArray, loo: FloatArray, train: float) -> None:
        """Error estimates: leave-one-out and from the scalar channel of the theory."""
        used = np.isfinite(problem.x_scale)
        d, n = int(used.sum()), problem.y.size
        # the theory wants entries of mean square 1 / D
        unit = math.sqrt(float(np.mean(problem.X[:, used] ** 2)) * d) or 1.0
        scale, at = self.c_ft_[used], coef[used]
        if self.mode == "probe":  # the curvature of a quadratic penalty
            scale, at = 0.5 * scale, np.zeros(d)
        self.effective_noise_, self.theta_, _ = channel_estimate(
            unit * scale, unit * at, unit * self.dual_, n,
            mu=self.mu / unit, train_error=train / problem.y_scale**2,
        )  # fmt: skip
        self.gcv_mse_ = n / d * self.effective_noise_ * problem.y_scale**2
        self.loo_residual_ = loo * problem.y_scale
        self.loo_mse_ = float(np.mean(self.loo_residual_**2)) if loo.size else self.gcv_mse_
        if self.stop_time is not None:  # neither formula holds before the end
            self.loo_mse_ = self.gcv_mse_ = math.inf

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict labels.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions.
        """
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(features @ self.coef_ + self.intercept_)

    def path(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        times: ArrayLike | None = None,
        mus: ArrayLike | None = None,
        n_folds: int = 10,
    ) -> DiagonalPath:
        """Fits along training times or penalties, judged by leaving rows out.

        Early stopping is not the penalised path: at equal training error the two differ.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Features.
        y : array_like of shape (n_samples,)
            Labels.
        times : array_like or None, default=None
            Increasing positive times of gradient flow.
        mus : array_like or None, default=None
            Positive penalties; exactly one of the two is given.
        n_folds : int, default=10
            Folds of the held-out error along ``times``; from n_samples on, each row is one.

        Returns
        -------
        DiagonalPath
            Coefficients and errors at each point.

        Raises
        ------
        ValueError
            If not exactly one of ``times`` and ``mus`` is given, or they are not positive.
        """
        self._check_parameters()
        if (times is None) == (mus is None):
            raise ValueError("give exactly one of times and mus")
        features, labels = self._validated(X, y)
        kind = "times" if mus is None else "mus"
        values = as_float_array(times if mus is None else mus, kind)  # type: ignore[arg-type]
        if not values.size or values.min() <= 0.0:
            raise ValueError(f"{kind} must be positive numbers, got {values.tolist()[:5]}")
        problem = self._problem(features, labels)
        scale, centre, _ = self._start(problem)
        if kind == "mus":
            coef, intercept, loo = self._mu_path(problem, scale, centre, values)
        else:
            coef, intercept, loo = self._time_path(problem, scale, centre, values, n_folds)
        train = np.mean((problem.y - coef @ problem.X.T - intercept[:, None]) ** 2, axis=1)
        return DiagonalPath(
            kind,
            values,
            coef * problem.to_raw,
            intercept * problem.y_scale,
            train * problem.y_scale**2,
            loo * problem.y_scale**2,
            int(np.argmin(loo)),
        )

    def _mu_path(
        self, problem: _Problem, scale: FloatArray, centre: FloatArray | None, mus: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        coef = np.empty((mus.size, scale.size))
        intercept, loo = np.empty(mus.size), np.empty(mus.size)
        near = None
        for i in np.argsort(-mus):
            found = self._solve(problem, scale, centre, float(mus[i]), coef_start=near)
            coef[i], intercept[i] = found.coef, found.intercept
            loo[i] = np.mean(found.loo**2) if found.loo.size else math.inf
            near = found.coef
        return coef, intercept, loo

    def _time_path(
        self,
        problem: _Problem,
        scale: FloatArray,
        centre: FloatArray | None,
        times: FloatArray,
        n_folds: int,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        scale = self._flow_scale(scale)
        settings: dict[str, Any] = {"centre": centre, "fit_intercept": self.fit_intercept}
        whole = gradient_flow(problem.X, problem.y, scale, times, **settings)
        rows = problem.y.size
        folds = np.arange(rows) % min(check_integer(n_folds, "n_folds", low=2), rows)
        wrong = np.empty((times.size, rows))
        for fold in range(int(folds.max()) + 1):
            out = folds == fold
            part = gradient_flow(problem.X[~out], problem.y[~out], scale, times, **settings)
            wrong[:, out] = problem.y[out] - part.coef @ problem.X[out].T - part.intercept[:, None]
        return whole.coef, whole.intercept, np.mean(wrong**2, axis=1)


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """How to fine-tune, from the data at hand (see `recommend`).

    Parameters
    ----------
    best : dict
        Constructor arguments with the least leave-one-out error.
    loo_mse : float
        Its leave-one-out error, in the units of the labels.
    scratch_mse, null_mse : float
        Leave-one-out errors of the best training from scratch and of predicting the mean.
    table : dict of str to ndarray
        ``mode``, ``init_scale``, ``balance``, ``readout_scale`` and ``loo_mse`` of every fit.
    theory_best : dict
        The setting the theory prefers for the estimated task.
    theory_error : float
        Its predicted test error.
    gain_per_sample : float
        Predicted decrease of the test error per further sample, at the best setting.
    task : tuple of Component
        Estimated law of source and target coefficients, in the units of the theory.
    noise : float
        Estimated standard deviation of the label noise, in the units of the labels.
    """

    best: dict[str, Any]
    loo_mse: float
    scratch_mse: float
    null_mse: float
    table: dict[str, NDArray[Any]]
    theory_best: dict[str, Any]
    theory_error: float
    gain_per_sample: float
    task: tuple[Component, ...]
    noise: float


def recommend(
    X: ArrayLike,
    y: ArrayLike,
    source: Any,
    *,
    shares: Sequence[float] = GRID_SHARE,
    readout_scales: Sequence[float] = GRID_READOUT,
    init_scales: Sequence[float] = GRID_INIT,
    fit_intercept: bool = True,
    loo: Literal["auto", "first-order", "exact"] = "auto",
    n_jobs: int | None = None,
) -> Recommendation:
    """Choose initialisation and reset for fine-tuning on one's own data (derived here).

    Every setting of a coarse grid, and training from scratch, is fitted exactly and judged by
    leave-one-out error. The task (sparsity and size of shared and of new coefficients, noise) is
    then estimated from the debiased coefficients of the best fit, for which the theory gives its
    own optimum and the value of further samples.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Target features, fewer samples than features.
    y : array_like of shape (n_samples,)
        Target labels.
    source : array_like, estimator or tuple (X, y)
        As in `DiagonalNetworkRegressor`.
    shares : sequence of float
        Values of ``1 + balance``, in (0, 2].
    readout_scales, init_scales : sequence of float
        Values of the other two parameters.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    loo : {"auto", "first-order", "exact"}, default="auto"
        Leave-one-out error by a formula, which overstates the error of rich solutions on
        correlated features, or by refitting without each row; "auto" refits up to 64 rows.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    Recommendation
        Settings, errors and the estimated task.

    Raises
    ------
    ValueError
        If there is no source, a grid is empty, or samples are not fewer than features.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.
    """
    check_choice(loo, "loo", ("auto", "first-order", "exact"))
    if source is None:
        raise ValueError("source must be given: there is nothing to choose without one")
    base = DiagonalNetworkRegressor(source=source, fit_intercept=fit_intercept, n_jobs=n_jobs)
    features, labels = base._validated(X, y)
    n, d = features.shape
    if n > d:
        raise ValueError(
            f"X must have fewer rows than columns, got {features.shape}: with more samples than "
            "features every initialisation ends at least squares"
        )
    problem = base._problem(features, labels)
    grid: list[dict[str, Any]] = [
        {"init_scale": c, "balance": a - 1.0, "readout_scale": g}
        for c, a, g in itertools.product(init_scales, shares, readout_scales)
    ]
    scratch: list[dict[str, Any]] = [{"init_scale": c, "source": None} for c in init_scales]
    if not grid or min(shares) <= 0.0:
        raise ValueError("shares, readout_scales and init_scales must not be empty; shares > 0")
    errors, fits = [], []
    near = None
    for setting in [*grid, *scratch]:
        model = DiagonalNetworkRegressor(
            **({"source": source} | setting), fit_intercept=fit_intercept, n_jobs=n_jobs
        )
        model._check_parameters()
        task = problem if model.source is not None else problem._replace(source=None)
        scale, centre, _ = model._start(task)
        found = model._solve(task, scale, centre, 0.0, coef_start=near)
        near = found.coef
        left = found.loo
        if loo == "exact" or (loo == "auto" and n <= EXACT_LOO_MAX):
            left = leave_one_out(
                task.X, task.y, scale, centre=centre, fit_intercept=fit_intercept,
                coef_start=near, n_jobs=n_jobs,
            )  # fmt: skip
        errors.append(float(np.mean(left**2)))
        fits.append((scale, found))
    judged = np.array(errors)
    k = int(np.argmin(judged[: len(grid)]))
    law, noise2 = _estimate_task(problem, *fits[k], grid[k], float(judged[k]))
    forecast = DiagonalModel(n / d, components=law, noise=math.sqrt(noise2), **grid[k])
    sweep = curve(
        forecast, init_scale=init_scales, balance=[a - 1.0 for a in shares],
        readout_scale=readout_scales, n_jobs=n_jobs, on_failure="ignore",
    )  # fmt: skip
    flat = sweep["test_error"].reshape(-1)
    step = curve(forecast, alpha=[n / d, 1.02 * n / d], on_failure="ignore")["test_error"]
    square = problem.y_scale**2
    chosen = int(np.argmin(judged))
    everything = [*grid, *scratch]
    return Recommendation(
        best=everything[chosen],
        loo_mse=float(judged[chosen]) * square,
        scratch_mse=float(judged[len(grid) :].min()) * square,
        null_mse=float(np.mean((labels - labels.mean()) ** 2)) * (n / max(n - 1, 1)) ** 2,
        table={
            "mode": np.array(["reset"] * len(grid) + ["scratch"] * len(scratch)),
            **{
                name: np.array([s.get(name, 0.0) for s in everything])
                for name in ("init_scale", "balance", "readout_scale")
            },
            "loo_mse": judged * square,
        },
        theory_best=grid[int(np.argmin(flat))],
        theory_error=float(flat.min()) * square,
        gain_per_sample=float(step[0] - step[1]) / (0.02 * n) * square,
        task=law,
        noise=math.sqrt(noise2) * problem.y_scale,
    )


def _spike_and_normal(z: FloatArray, tau: float) -> tuple[float, float]:
    """Share and variance of a zero-or-normal coefficient behind z = B + sqrt(tau) N(0, 1)."""
    share, var = 0.5, max(2.0 * float(np.mean(z**2)) - tau, 0.1 * tau)
    for _ in range(300):
        log_odds = (
            math.log(share / (1.0 - share))
            - 0.5 * math.log1p(var / tau)
            + 0.5 * z**2 * (1.0 / tau - 1.0 / (var + tau))
        )
        active = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))
        total = float(active.sum())
        before = share
        share = min(max(total / z.size, 1e-6), 1.0 - 1e-6)
        var = max(float(active @ z**2) / max(total, 1e-300) - tau, 1e-12 * tau)
        if abs(share - before) < 1e-8:
            break
    return share, var


def _estimate_task(
    problem: _Problem, scale: FloatArray, found: Any, setting: dict[str, Any], loo: float
) -> tuple[tuple[Component, ...], float]:
    """Law of the coefficients and noise variance from the debiased coefficients of a fit."""
    source = problem.source
    assert source is not None
    n, d = problem.X.shape
    tau, theta, _ = channel_estimate(scale, found.coef, found.dual, n)
    free = scale > 0.0
    z = found.coef.copy()
    z[free] += 0.5 * theta * np.arcsinh(found.coef[free] / scale[free])
    size = np.abs(source)
    active = size > 1e-3 * size.max(initial=0.0)
    parts: list[Component] = []
    for mask, name in ((active & free, "source"), (~active & free, "rest")):
        if not mask.any():
            continue
        share, var = _spike_and_normal(z[mask], tau)
        levels = np.sort(size[mask])
        for level in np.array_split(levels, min(6, levels.size) if name == "source" else 1):
            weight = level.size / int(free.sum())
            centre = float(level.mean())
            for p, v in ((share, var), (1.0 - share, 0.0)):
                parts.append(Component(weight=weight * p, source=centre, target_var=v, group=name))
    law = tuple(parts)
    total = math.fsum(p.weight for p in law)
    law = tuple(dataclasses.replace(p, weight=p.weight / total) for p in law)
    noise2 = 0.0
    for _ in range(20):  # the noise that explains the leave-one-out error
        model = DiagonalModel(n / d, components=law, noise=math.sqrt(noise2), **setting)
        mse = float(curve(model, alpha=[n / d], on_failure="ignore")["mse"][0])
        update = max(0.0, loo - mse)
        if abs(update - noise2) < 1e-4 * loo:
            break
        noise2 = 0.5 * (noise2 + update)
    return law, noise2
