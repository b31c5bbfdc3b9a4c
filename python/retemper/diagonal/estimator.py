"""Fine-tuning a diagonal linear network on data."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._validation import FloatArray, as_float_array, check_entries
from retemper.diagonal.fit import (
    EstimatorMode,
    FitSettings,
    Problem,
    estimate_errors,
    feature_regimes,
    fine_tune,
    read_coefficients,
    scale_problem,
)
from retemper.diagonal.paths import DiagonalPath, penalty_path, time_path
from retemper.exceptions import ValidityWarning


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
        Coefficients of the source task, a fitted linear model, or data to pre-train on; columns
        are matched by name where both sides have names. None trains from scratch.
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
    depth : int, default=2
        Layers of the network; above two they start alike, so that ``balance``, ``readout_scale``,
        a reset of a source and ``mode="probe"`` are refused.

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
    loo_, gcv_ : float
        Estimates of the test error: leave-one-out and from the theory's scalar channel. Both are
        infinite with ``stop_time``; ``loo_`` is with more than 12,000 samples and features.
    tau_, effective_mu_ : float
        Scalar channel, in the units of the theory: variance of its noise, and its penalty.
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

    See Also
    --------
    recommend, minimum_penalty, retemper.linear.FineTunedLinearRegression

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
        depth: int = 2,
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
        self.depth = depth

    def _settings(self) -> FitSettings:
        settings = FitSettings(
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(FitSettings)}
        )
        settings.check_source(self.source)
        return settings

    def _problem(self, X: ArrayLike, y: ArrayLike, settings: FitSettings) -> Problem:
        """Data and source as the functions below take them."""
        features, labels = validate_data(self, X, y, dtype=np.float64, y_numeric=True, order="C")
        labels = np.ascontiguousarray(labels, dtype=np.float64)
        check_entries(features, "X")
        check_entries(labels, "y")
        named = X if hasattr(X, "columns") else features
        source = read_coefficients(self.source, named, settings)
        return scale_problem(features, labels, source, settings)

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
        settings = self._settings()
        problem = self._problem(X, y, settings)
        found = fine_tune(problem, settings)
        if found.is_least_squares:
            n, d = problem.X.shape
            warnings.warn(
                f"{n} samples of {d} features: without a penalty or a stop_time the flow ends "
                "at least squares, whatever the initialisation",
                ValidityWarning,
                stacklevel=2,
            )
        self.coef_ = found.coef * problem.to_raw
        self.intercept_ = found.intercept * problem.y_scale
        self.dual_, self.c_ft_ = found.dual, found.start.scale
        self.n_iter_, self.residual_ = found.n_iter, found.residual
        self.duality_gap_ = found.duality_gap
        regimes = feature_regimes(found.coef, found.start, settings)
        self.l_order_, self.pd_ = regimes.l_order, regimes.pd
        self.regime_weights_, self.regime_ = regimes.weights, regimes.label
        errors = estimate_errors(problem, found, settings)
        self.tau_, self.effective_mu_ = errors.tau, errors.effective_mu
        self.loo_residual_, self.loo_, self.gcv_ = errors.loo_residual, errors.loo, errors.gcv
        return self

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
        settings = self._settings()
        if (times is None) == (mus is None):
            raise ValueError("give exactly one of times and mus")
        kind = "times" if mus is None else "mus"
        values = as_float_array(times if mus is None else mus, kind)  # type: ignore[arg-type]
        if not values.size or values.min() <= 0.0:
            raise ValueError(f"{kind} must be positive numbers, got {values.tolist()[:5]}")
        problem = self._problem(X, y, settings)
        if kind == "mus":
            return penalty_path(problem, settings, values)
        return time_path(problem, settings, values, n_folds)
