"""The estimator that fine-tunes a shallow ReLU network."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._random import Seed
from retemper._sources import LARGEST_LABEL, Source, read_source
from retemper._validation import (
    FloatArray,
    check_choice,
    check_entries,
    check_real,
)
from retemper.exceptions import ValidityWarning
from retemper.linear.relu.kernel import KernelPath, rademacher_bound, relu_ntk
from retemper.linear.relu.network import (
    relu_network_fit,
    relu_network_init,
    relu_network_kernel,
    relu_network_predict,
)
from retemper.linear.training_data import check_switch, check_training_data

__all__ = ["FineTunedReLURegressor"]


#: What not every fit sets.
_OPTIONAL = (
    "dual_coef_", "X_fit_", "weights_", "signs_", "loss_", "ridges_", "gcv_path_", "gcv_",
    "times_", "stop_time_",
)  # fmt: skip


class FineTunedReLURegressor(TransferMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Shallow ReLU network fine-tuned from a source, in the kernel limit or at finite width.

    The prediction is :math:`f = f_S + b + g`, the source plus an intercept plus what the network
    learned from the residual :math:`r = y - f_S(X)`. With ``mode="kernel"`` the network is
    infinitely wide and :math:`g = H(\cdot, X) (H + n \lambda I)^{-1} (r - b)` with the tangent
    kernel H of `relu_ntk`. With ``mode="network"`` it has ``width`` units and its first layer is
    trained by gradient descent, from a start whose output is zero, or from a copy of the weights
    of the source if that is a network too.

    Parameters
    ----------
    mode : {"kernel", "network"}, default="kernel"
        Infinite or finite width.
    ridge : float, "loo" or "gcv", default="loo"
        Strength :math:`\lambda` of the pull towards the source, in
        :math:`n^{-1} \lVert r - b - g \rVert^2 + \lambda \lVert g \rVert_H^2`: n times it is added
        to the diagonal of H. At infinity the source is used as it is, up to the intercept. "loo"
        and "gcv" choose the value of least leave-one-out error or generalised cross-validation,
        from one eigendecomposition.
    stop_time : float, "loo" or None, default=None
        When kernel gradient flow on :math:`(2n)^{-1} \lVert r - b - g \rVert^2` stops, in place of
        a ridge: the time course of an infinitely wide network from the source on, steps times
        their size. "loo" chooses the time of least leave-one-out error. Needs ``ridge=0`` and
        ``mode="kernel"``; the intercept b is at its best value at every time.
    source : None, array_like of shape (n_features,), estimator or callable, default=None
        What to start from: nothing, linear coefficients, any fitted regressor with ``predict`` or
        ``coef_``, or a function of the rows. It must not have seen the training rows. A source
        of this class with ``mode="network"`` passes its weights and signs on to a network.
    fit_intercept : bool, default=True
        Whether a constant b is added. It is not penalised.
    bias : float, default=0.0
        Value of a constant feature appended to every row; 0 appends none. The network has no
        biases, so without it g is homogeneous: ``g(2 x) = 2 g(x)``.
    width : int, default=4000
        Number of units of a network, even. A network as source decides in its place.
    init_sd : float, default=1.0
        Standard deviation of the random weights a network starts from.
    step_size : float or "auto", default="auto"
        Step of gradient descent; "auto" is 1 / (largest kernel eigenvalue +
        n ridge).
    max_iter : int, default=10000
        Largest number of steps.
    tol : float, default=1e-6
        Training stops where ten steps lower the loss by less than this fraction of its first value.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the random weights.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Attributes
    ----------
    ridge_ : float
        Ridge that was used.
    stop_time_ : float
        Time at which training was stopped; with ``stop_time``.
    loo_ : float
        Mean squared leave-one-out error at that ridge or time, exact for the kernel fit,
        the intercept refitted each time. In network mode the kernel is that of the network at its
        start.
    gcv_ : float
        Generalised cross-validation at that ridge: predicted squared error on a new row; without
        ``stop_time``.
    times_ : ndarray of shape (n_times,)
        With ``stop_time``: the times that were compared, ascending, and ``loo_path_`` along them.
    ridges_, loo_path_, gcv_path_ : ndarray of shape (n_ridges,)
        The ridges that were compared, descending, and both criteria along them.
    bound_ : float
        Leading term of the bound on the test loss of the interpolating fit, see `relu_bound`, in
        units of y; infinite if no fit interpolates.
    dual_coef_ : ndarray of shape (n_samples,)
        Kernel mode: coefficients of ``relu_ntk(X, X_fit_)``.
    X_fit_ : ndarray of shape (n_samples, n_features) or (n_samples, n_features + 1)
        Kernel mode: training rows, bias feature included.
    weights_, signs_ : ndarray of shape (width, ...) and (width,)
        Network mode: first layer and output weights.
    loss_ : ndarray of shape (``n_iter_`` + 1,)
        Network mode: mean squared training residual before the first and after every step.
    intercept_ : float
        The constant b.
    n_iter_ : int
        Steps of gradient descent; 1 in kernel mode.
    n_features_in_ : int
        Number of features of the training rows.
    feature_names_in_ : ndarray of shape (d,)
        Their names, if the training rows had some.

    See Also
    --------
    retemper.linear.FineTunedLinearRegression : The same question for linear models.
    retemper.linear.relu_risk : The expected risk before there are data.

    Notes
    -----
    After Shachaf et al. (2021) [1]_; the estimators are derived here
    (`derivations/linear#shallow-relu-networks`).

    References
    ----------
    .. [1] G. Shachaf, A. Brutzkus and A. Globerson, "A Theoretical Analysis of Fine-tuning with
       Linear Teachers", NeurIPS 34 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import FineTunedReLURegressor
    >>> X = np.random.default_rng(0).normal(size=(40, 5))
    >>> coef = np.array([1.0, -2.0, 0.5, 0.0, 1.0])
    >>> y = X @ coef + np.abs(X[:, 0])
    >>> model = FineTunedReLURegressor(source=coef).fit(X, y)
    >>> model.loo_ < FineTunedReLURegressor().fit(X, y).loo_
    True
    """

    def __init__(
        self,
        *,
        mode: Literal["kernel", "network"] = "kernel",
        ridge: float | Literal["loo", "gcv"] = "loo",
        stop_time: float | Literal["loo"] | None = None,
        source: Any = None,
        fit_intercept: bool = True,
        bias: float = 0.0,
        width: int = 4000,
        init_sd: float = 1.0,
        step_size: float | Literal["auto"] = "auto",
        max_iter: int = 10_000,
        tol: float = 1e-6,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.mode = mode
        self.ridge = ridge
        self.stop_time = stop_time
        self.source = source
        self.fit_intercept = fit_intercept
        self.bias = bias
        self.width = width
        self.init_sd = init_sd
        self.step_size = step_size
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fine-tune on rows and labels.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, at least two.
        y : array_like of shape (n_samples,)
            Labels.

        Returns
        -------
        FineTunedReLURegressor
            This estimator.
        """
        check_choice(self.mode, "mode", ("kernel", "network"))
        check_switch(self.fit_intercept, "fit_intercept")
        check_real(self.bias, "bias")
        if isinstance(self.ridge, str):
            check_choice(self.ridge, "ridge", ("loo", "gcv"), besides="a number in [0, inf]")
        else:
            check_real(self.ridge, "ridge", low=0.0, allow_inf=True)
        self._check_stop_time()
        rows, labels = check_training_data(self, X, y, multi_output=False)
        given = X if hasattr(X, "iloc") else None
        for name in _OPTIONAL:
            self.__dict__.pop(name, None)  # of an earlier fit in another mode
        self._resolve(rows if given is None else given)
        inputs, target = self._inputs(rows), labels - self._start(rows, given)
        if self.mode == "kernel":
            path = self._choose(relu_ntk(inputs, n_jobs=self.n_jobs), target, inputs)
            if self.stop_time is None:
                self.dual_coef_, self.intercept_ = path.solve(self.ridge_)
            else:
                self.dual_coef_, self.intercept_ = path.flow(self.stop_time_)
            fresh = inputs is not X and inputs.base is None
            self.X_fit_ = inputs if fresh else inputs.copy()
            self.n_iter_ = 1
        else:
            self._fit_network(inputs, target)
        return self

    def _check_stop_time(self) -> None:
        if self.stop_time is None:
            return
        if isinstance(self.stop_time, str):
            check_choice(self.stop_time, "stop_time", ("loo",), besides="None, a time")
        else:
            check_real(self.stop_time, "stop_time", low=0.0, allow_inf=True)
        if self.mode != "kernel" or self.ridge != 0.0:
            raise ValueError(
                f'stop_time needs mode "kernel" and ridge 0, got mode {self.mode!r} and ridge '
                f"{self.ridge!r}"
            )

    def _resolve(self, X: ArrayLike) -> None:
        """Split the source into a fixed function and, for networks, weights to start from."""
        self._network: FineTunedReLURegressor | None = None
        self._base: Source | None = None
        source = self.source
        if source is None:
            return
        if isinstance(source, FineTunedReLURegressor):
            check_is_fitted(source, msg="source is not fitted: call fit on %(name)s first")
            if source.n_features_in_ != np.shape(X)[1]:
                raise ValueError(
                    f"source was fitted on {source.n_features_in_} features, X has {np.shape(X)[1]}"
                )
            if self.mode == "network" and hasattr(source, "weights_"):
                if source.bias != self.bias:
                    raise ValueError(
                        f"bias must be that of the network it starts from, {source.bias}, "
                        f"got {self.bias}"
                    )
                self._network, self._base = source, source._base
                return
        self._base = read_source(source, X)

    def _start(self, rows: FloatArray, given: Any) -> FloatArray:
        if self._base is None:
            return np.zeros(len(rows))
        return np.asarray(self._base.predict(rows, given)[:, 0], dtype=np.float64)

    def _inputs(self, rows: FloatArray) -> FloatArray:
        if self.bias == 0.0:
            return rows
        return np.hstack([rows, np.full((len(rows), 1), float(self.bias))])

    def _initial(self, n_inputs: int) -> tuple[FloatArray, FloatArray, float]:
        """Weights and signs to start from, and the intercept that comes with them."""
        if self._network is not None:
            return self._network.weights_, self._network.signs_, self._network.intercept_
        weights, signs = relu_network_init(
            self.width, n_inputs, init_sd=self.init_sd, random_state=self.random_state
        )
        return weights, signs, 0.0

    def _choose(self, kernel: FloatArray, residual: FloatArray, inputs: FloatArray) -> KernelPath:
        """Set the ridge, the criteria and the bound for the residual of the start."""
        path = KernelPath(kernel, residual, self.fit_intercept)
        if self.stop_time is None:
            self._choose_ridge(path)
        else:
            self._choose_time(path, self.stop_time)
        if not path.rank:
            warnings.warn(
                "the kernel of X vanishes (all rows are zero, or equal with an intercept): the "
                "prediction is that of the source and a constant",
                ValidityWarning,
                stacklevel=4,
            )
        elif (
            self.ridge == 0.0
            and path.rank < path.n_effective
            and len(np.unique(inputs, axis=0)) < len(inputs)
        ):
            warnings.warn(
                "X has repeated rows: at ridge=0 the leave-one-out error and GCV measure how "
                "their labels differ; use a positive ridge",
                ValidityWarning,
                stacklevel=4,
            )
        self.bound_ = rademacher_bound(path.quadratic_form, path.trace, len(residual))
        return path

    def _choose_ridge(self, path: KernelPath) -> None:
        self.ridges_ = path.grid() if isinstance(self.ridge, str) else np.array([float(self.ridge)])
        self.gcv_path_ = path.gcv(self.ridges_)
        self.loo_path_ = np.square(path.loo(self.ridges_)).mean(axis=1)
        best = int(np.argmin(self.gcv_path_ if self.ridge == "gcv" else self.loo_path_))
        self.ridge_ = float(self.ridges_[best])
        self.loo_, self.gcv_ = float(self.loo_path_[best]), float(self.gcv_path_[best])

    def _choose_time(self, path: KernelPath, time: float | str) -> None:
        with np.errstate(divide="ignore"):
            grid = 1.0 / path.grid()  # as ridges, from the start to the end where there is one
        self.times_ = grid if time == "loo" else np.array([float(time)])
        self.loo_path_ = np.square(path.flow_loo(self.times_)).mean(axis=1)
        best = int(np.argmin(self.loo_path_))
        self.ridge_, self.stop_time_ = 0.0, float(self.times_[best])
        self.loo_ = float(self.loo_path_[best])

    def _fit_network(self, inputs: FloatArray, target: FloatArray) -> None:
        weights, signs, carried = self._initial(inputs.shape[1])
        target = target - carried
        output = relu_network_predict(weights, signs, inputs, n_jobs=self.n_jobs)
        self._choose(relu_network_kernel(weights, inputs), target - output, inputs)
        if np.isinf(self.ridge_):  # no step: the start and the best constant
            error = output - target
            intercept = -float(error.mean()) if self.fit_intercept else 0.0
            self.weights_, self.signs_ = weights.copy(), signs.copy()
            self.loss_, self.n_iter_ = np.array([np.square(error + intercept).mean()]), 0
        else:
            fit = relu_network_fit(
                weights,
                signs,
                inputs,
                target,
                ridge=self.ridge_,
                fit_intercept=self.fit_intercept,
                step_size=self.step_size,
                max_iter=self.max_iter,
                tol=self.tol,
                n_jobs=self.n_jobs,
            )
            self.weights_, self.signs_, intercept = fit.weights, fit.signs, fit.intercept
            self.loss_, self.n_iter_ = fit.loss, fit.n_iter
        self.intercept_ = carried + intercept

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict labels.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n,)
            Source, intercept and network together.
        """
        check_is_fitted(self, "intercept_")
        rows = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_entries(rows, "X", largest=LARGEST_LABEL)
        start = self._start(rows, X if hasattr(X, "iloc") else None) + self.intercept_
        inputs = self._inputs(rows)
        if hasattr(self, "weights_"):
            return start + relu_network_predict(
                self.weights_, self.signs_, inputs, n_jobs=self.n_jobs
            )
        kernel = relu_ntk(inputs, self.X_fit_, n_jobs=self.n_jobs)
        return np.asarray(start + kernel @ self.dual_coef_)
