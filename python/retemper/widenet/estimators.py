"""Estimators on a user's own data: one network, or one that starts from another task."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from retemper._base import TransferMixin
from retemper._control import report_status
from retemper._results import Sweep
from retemper._validation import FloatArray, as_float_array, check_choice, check_entries, check_real
from retemper.exceptions import ValidityWarning
from retemper.widenet.model import Activation, WideNetModel
from retemper.widenet.path import GAMMAS, check_gammas, path_of, walk
from retemper.widenet.problem import Problem, Solution, report_validity
from retemper.widenet.verdict import TransferVerdict, best_of, transfer_verdict

__all__ = ["FranzParisiClassifier", "FranzParisiRegressor", "WideNetRegressor"]

WIDTHS = (50, 100, 200, 500, 1000, 2000, 5000)


class _Scaling(NamedTuple):
    """Affine map of inputs or labels, column by column."""

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, columns: FloatArray, use: bool) -> _Scaling:
        if not use:
            return cls(np.zeros(columns.shape[1]), np.ones(columns.shape[1]))
        mean = columns.mean(0)
        scale = (columns - mean).std(0)
        scale[scale <= 1e-12 * np.abs(columns).max(0)] = 0.0  # rounding of a constant
        return cls(mean, np.where(scale > 0.0, scale, 1.0))

    @classmethod
    def of_inputs(cls, X: FloatArray, use: bool) -> _Scaling:
        """Unit variance of every column, and mean |x|^2 / n_features of one."""
        own = cls.of(X, use)
        if use:
            size = float(np.square(own.apply(X)).mean())
            if size > 0.0:
                own = cls(own.mean, own.scale * math.sqrt(size))
        return own

    def apply(self, columns: FloatArray) -> FloatArray:
        return np.ascontiguousarray((columns - self.mean) / self.scale)

    def undo(self, columns: FloatArray) -> FloatArray:
        return columns * self.scale + self.mean


class _Data(NamedTuple):
    """Raw inputs (n, n_features) and numerical labels (n, n_outputs) of a task."""

    X: FloatArray
    y: FloatArray
    is_flat: bool


class _Network(BaseEstimator):  # type: ignore[misc]
    """Fitting and prediction that all estimators share."""

    def _checked(self, X: ArrayLike, y: ArrayLike) -> _Data:
        rows, labels = validate_data(
            self, X, y, dtype=np.float64, order="C", multi_output=True, y_numeric=True,
            ensure_min_samples=2,
        )  # fmt: skip
        labels = np.asarray(labels, dtype=np.float64)
        check_entries(rows, "X")
        check_entries(labels, "y")
        return _Data(rows, labels.reshape(len(labels), -1), labels.ndim == 1)

    def _prepare(self, data: _Data, source: _Data | None) -> Problem:
        """Scale the tasks; leaves the scalings and the data behind."""
        use = bool(self.standardize)
        pooled = data.X if source is None else np.vstack([source.X, data.X])
        self._inputs = _Scaling.of_inputs(pooled, use)
        self._labels = _Scaling.of(data.y, use)
        self._data = data
        constant = np.ptp(data.y, axis=0) == 0.0
        if constant.any():
            warnings.warn(
                "y is constant: the prediction is the prior mean", ValidityWarning, stacklevel=4
            )

        def scaled(task: _Data) -> tuple[FloatArray, FloatArray]:
            return self._inputs.apply(task.X), _Scaling.of(task.y, use).apply(task.y)

        return Problem(scaled(data), None if source is None else scaled(source))

    def _learn(self, solution: Solution) -> None:
        self._solution = solution
        flat = self._data.is_flat

        def shaped(values: Iterable[float]) -> Any:
            array = np.array(list(values))
            return float(array[0]) if flat else array

        columns = solution.columns
        self.Q_t_ = shaped(t.Q_t for t in columns)
        scale = self._labels.scale
        self.loo_ = float(
            sum(s**2 * t.loo_loss_rows.mean() for s, t in zip(scale, columns, strict=True))
        )
        jacobian = len(self._data.y) * np.log(scale)
        self.log_evidence_ = float(
            sum(t.log_evidence - j for j, t in zip(jacobian, columns, strict=True))
        )
        self.n_iter_ = solution.n_iter

    def _parts(self, X: ArrayLike, with_variance: bool) -> tuple[FloatArray, ...]:
        """Mean, and thermal and quenched variances where asked for, (n, n_outputs)."""
        check_is_fitted(self)
        rows: FloatArray = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_entries(rows, "X")
        rows = self._inputs.apply(rows)
        if not with_variance:
            return (self._labels.undo(self._solution.predict_mean(rows)),)
        parts = self._solution.predict(rows)
        square = self._labels.scale**2
        return self._labels.undo(parts.mean), parts.thermal * square, parts.quenched * square

    def _predict(
        self, X: ArrayLike, return_std: bool, return_parts: bool, include_noise: bool
    ) -> Any:
        parts = self._parts(X, return_std or return_parts)
        flat = self._data.is_flat
        out = [p[:, 0] if flat else p for p in parts]
        if return_parts:
            return tuple(out)
        if not return_std:
            return out[0]
        variance = out[1] + out[2]
        if include_noise:
            noise = self._temperature * self._labels.scale**2
            variance = variance + (noise[0] if flat else noise)
        return out[0], np.sqrt(variance)


def _check_flag(value: Any, name: str) -> None:
    check_choice(value, name, (True, False))


class WideNetRegressor(
    MultiOutputMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    _Network,
):
    r"""Bayesian network with one hidden layer of finite width, in closed form.

    A Gaussian process whose kernel is renormalised by one order parameter Q per output, found from
    the data; at infinite width Q is one and this is Gaussian-process regression with `nngp_kernel`.

    Parameters
    ----------
    width : float, default=500
        Number of hidden units, at least 2; may be ``inf``.
    activation : {"erf", "relu", "gelu", "linear"}, default="erf"
        The activation.
    lam0, lam1 : float, default=1.0
        Prior precisions of the first layer and of the read-out.
    temperature : float, default=0.05
        Variance of the label noise, in units of the variance of ``y`` if ``standardize``.
    standardize : bool, default=True
        Whether inputs and labels are standardised column by column, inputs to a mean square of
        one. Otherwise both are used as they are.

    Attributes
    ----------
    Q_t_ : float or ndarray of shape (n_outputs,)
        Order parameter: ``lam1 |v|^2 / width``, under the name it has in a transfer problem.
    loo_ : float
        Leave-one-out squared error of one random network, in the units of ``y``, summed over
        outputs.
    log_evidence_ : float
        Log evidence of ``y``, nats.
    n_iter_ : int
        Evaluations of the saddle-point equation.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If an argument lies outside its domain, or the kernel is singular at ``temperature=0``.
    TypeError
        If data are sparse or not real.

    Warns
    -----
    ValidityWarning
        If ``y`` is constant, or a nonlinear network has more than 2 samples per effective input
        dimension.

    References
    ----------
    .. [1] R. Pacelli et al., "A statistical mechanics framework for Bayesian deep neural networks
       beyond the infinite-width limit", Nat. Mach. Intell. 5 (2023) 1497-1507.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 90))
    >>> net = WideNetRegressor(width=100).fit(X, X[:, 0] + X[:, 1])
    >>> bool(net.Q_t_ > 1)
    True
    """

    def __init__(
        self,
        width: float = 500,
        activation: Activation = "erf",
        *,
        lam0: float = 1.0,
        lam1: float = 1.0,
        temperature: float = 0.05,
        standardize: bool = True,
    ) -> None:
        self.width = width
        self.activation = activation
        self.lam0 = lam0
        self.lam1 = lam1
        self.temperature = temperature
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Find the order parameter.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs, n at least 2.
        y : array_like of shape (n,) or (n, n_outputs)
            Labels.

        Returns
        -------
        WideNetRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        check_real(self.temperature, "temperature", low=0.0)
        _check_flag(self.standardize, "standardize")
        model = WideNetModel(
            self.width,
            self.activation,
            self.lam0,
            self.lam1,
            self.temperature,
            self.temperature,
            0.0,
        )
        problem = self._prepare(self._checked(X, y), None)
        report_validity(problem.validity(model))
        self._temperature = self.temperature
        solution = problem.solve(model)
        self._learn(solution)
        report_status(solution.columns[0].status, solution.columns[0].residual, "fit")
        return self

    def predict(
        self, X: ArrayLike, *, return_std: bool = False, include_noise: bool = False
    ) -> Any:
        """Posterior mean, and its standard deviation if asked for.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.
        return_std : bool, default=False
            Also return the standard deviation of the output of one random network.
        include_noise : bool, default=False
            Whether that deviation includes the label noise.

        Returns
        -------
        ndarray, or tuple of two ndarrays, of shape (n,) or (n, n_outputs)
            Mean, and standard deviation.
        """
        return self._predict(X, return_std, False, include_noise)


class _FranzParisi(TransferMixin, _Network):
    """Everything but the meaning of the labels."""

    def __init__(
        self,
        width: float = 500,
        activation: Activation = "erf",
        *,
        lam0: float = 1.0,
        lam1: float = 1.0,
        temperature_source: float = 0.05,
        temperature_target: float = 0.05,
        gamma: float | Literal["loo", "evidence"] = "loo",
        gammas: Iterable[float] | None = None,
        source: Any = None,
        standardize: bool = True,
    ) -> None:
        self.width = width
        self.activation = activation
        self.lam0 = lam0
        self.lam1 = lam1
        self.temperature_source = temperature_source
        self.temperature_target = temperature_target
        self.gamma = gamma
        self.gammas = gammas
        self.source = source
        self.standardize = standardize

    def _source_labels(self, y: ArrayLike) -> FloatArray:
        raise NotImplementedError

    def _resolve(self, data: _Data) -> _Data | None:
        """The source's own data."""
        if self.source is None:
            return None
        if isinstance(self.source, _Network):
            check_is_fitted(self.source)
            source = self.source._data
        elif isinstance(self.source, tuple | list) and len(self.source) == 2:
            X = as_float_array(self.source[0], "source X", ndim=2)
            y = self._source_labels(self.source[1])
            if len(y) != len(X) or not X.size:
                raise ValueError(
                    f"source X and y must have the same number of samples, at least one, got "
                    f"{X.shape} and {y.shape}"
                )
            source = _Data(X, y.reshape(len(y), -1), y.ndim == 1)
        else:
            raise TypeError(
                "source must be None, a pair (X, y) or a fitted estimator of this family: the "
                f"theory needs the source's data, got {type(self.source).__name__}"
            )
        if source.X.shape[1] != data.X.shape[1]:
            raise ValueError(
                f"the source has {source.X.shape[1]} features and X has {data.X.shape[1]}"
            )
        if source.y.shape[1] not in (1, data.y.shape[1]):
            raise ValueError(
                f"the source has {source.y.shape[1]} outputs and y has {data.y.shape[1]}"
            )
        return source

    def _model(self, gamma: float = 0.0) -> WideNetModel:
        return WideNetModel(
            self.width,
            self.activation,
            self.lam0,
            self.lam1,
            self.temperature_source,
            self.temperature_target,
            gamma,
        )

    def _grid(self) -> list[float]:
        if not isinstance(self.gamma, str):
            value = check_real(self.gamma, "gamma", low=0.0, allow_inf=True)
            return check_gammas([0.0, value, math.inf])
        check_choice(self.gamma, "gamma", ("loo", "evidence"))
        return check_gammas([g * self.lam0 for g in GAMMAS] if self.gammas is None else self.gammas)

    def _fit_task(self, data: _Data) -> Self:
        model, grid = self._model(), self._grid()
        _check_flag(self.standardize, "standardize")
        source = self._resolve(data)
        problem = self._prepare(data, source)
        self._temperature = self.temperature_target
        if source is None:
            grid = [0.0]
        anchor = None
        if source is not None:
            anchor = path_of(model, walk(problem.without_source(), model, grid), None)
        solutions = walk(problem, model, grid)
        self.path_ = path_of(model, solutions, anchor)
        report_status(self.path_.status, self.path_.residual, "fit", stacklevel=4)
        if source is None:
            chosen = 0
        elif isinstance(self.gamma, str):
            chosen = best_of(self.path_, self.gamma)
        else:
            chosen = grid.index(float(self.gamma))
        self.gamma_ = grid[chosen]
        report_validity(problem.validity(self._model(self.gamma_)), stacklevel=5)
        self._learn(solutions[chosen])
        theory = self.path_.theory[chosen]
        self.Q_s_, self.Q_tt_, self.Q_st_ = theory.Q_s, theory.Q_tt, theory.Q_st
        self.delta_ = theory.delta
        if data.is_flat:
            self.Q_s_, self.Q_tt_, self.Q_st_, self.delta_ = (
                float(np.ravel(v)[0]) for v in (self.Q_s_, self.Q_tt_, self.Q_st_, self.delta_)
            )
        self.verdict_ = (
            transfer_verdict(self.path_) if source is not None and len(grid) > 1 and not grid[0]
            else None
        )  # fmt: skip
        return self

    def will_transfer_help(self) -> TransferVerdict:
        """Whether the source helps on this target, from leave-one-out losses alone.

        Returns
        -------
        TransferVerdict
            The decision and the numbers behind it; also kept as ``verdict_``.

        Raises
        ------
        ValueError
            If the estimator was fitted without a source, or its couplings leave out 0.
        """
        check_is_fitted(self)
        if self.verdict_ is None:
            raise ValueError(
                "a verdict needs a source, and a grid of couplings that starts at 0; fit with both"
            )
        return self.verdict_

    def width_advice(self, widths: Iterable[float] = WIDTHS) -> Sweep:
        """At which widths the source is worth having.

        Parameters
        ----------
        widths : iterable of float
            Widths to compare, on the data and couplings of the fit.

        Returns
        -------
        Sweep
            Over ``width``: the best leave-one-out loss with the source, ``scratch`` without,
            ``control`` with a random anchor (in units of the standardised labels), and the best
            ``gamma``.

        Raises
        ------
        ValueError
            If there is no source, or a width is below 2.
        """
        check_is_fitted(self)
        problem, grid = self._solution.problem, self.path_.gamma.tolist()
        if problem.source is None:
            raise ValueError("advice on the width needs a source")
        sizes = [check_real(w, "widths", low=2.0, allow_inf=True) for w in widths]
        rows = []
        for width in sizes:
            model = dataclasses.replace(self._model(), width=width)
            loss = [
                np.array([s.loo_loss_rows().mean() for s in walk(p, model, grid)])
                for p in (problem, problem.without_source())
            ]
            best = int(loss[0].argmin())
            rows.append((loss[0][best], loss[0][0], loss[1].min(), grid[best]))
        names = ("loo", "scratch", "control", "gamma")
        return Sweep(
            {"width": np.array(sizes)},
            {n: np.array(v) for n, v in zip(names, zip(*rows, strict=True), strict=True)},
            "width advice",
        )


_PARAMETERS = """
    Parameters
    ----------
    width : float, default=500
        Number of hidden units, at least 2; may be ``inf``.
    activation : {"erf", "relu", "gelu", "linear"}, default="erf"
        The activation.
    lam0, lam1 : float, default=1.0
        Prior precisions of the first layer and of the read-out.
    temperature_source, temperature_target : float, default=0.05
        Variance of the label noise of either task, in units of the variance of its labels if
        ``standardize``.
    gamma : float, "loo" or "evidence", default="loo"
        Coupling of the first layer to the source's; 0 is training from scratch, ``inf`` frozen
        features. ``"loo"`` takes the smallest leave-one-out loss of the grid; ``"evidence"`` the
        largest log evidence, which leans to small couplings.
    gammas : iterable of float or None, default=None
        The grid; None is (0, 0.1, 0.3, 1, 3, 10, 30, 100, inf) * ``lam0``. A number ``gamma`` is
        compared with 0 and inf alone.
    source : None, tuple (X, y) or fitted estimator of this family, default=None
        The source task. Of an estimator, the data that it was fitted on are used. None is training
        from scratch.
    standardize : bool, default=True
        Whether inputs are standardised with the pooled mean and standard deviation of both tasks,
        to a mean square of one, and labels of either task on their own. Otherwise both are used
        as they are.
"""


class FranzParisiRegressor(  # noqa: D101 (its docstring is composed)
    MultiOutputMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    _FranzParisi,
):
    __doc__ = (
        r"""Bayesian network of finite width that starts from a source task, in closed form.

    Predicts the mean of the target network and its spread, split into the noise of the target
    posterior (thermal) and the luck of the source run (quenched), and chooses how tightly the first
    layer is held to the source's. No network is trained.
"""
        + _PARAMETERS
        + """
    Attributes
    ----------
    gamma_ : float
        Coupling in use.
    Q_s_, Q_t_, Q_tt_, Q_st_, delta_ : float or ndarray of shape (n_outputs,)
        Order parameters, as in `WideNetTheory`.
    loo_ : float
        Leave-one-out squared error of one random network, in the units of ``y``, summed over
        outputs.
    log_evidence_ : float
        Expected log evidence of ``y`` given a source network, nats.
    path_ : GammaPath
        Theory along the grid, in units of the standardised labels, with the random-anchor control.
    verdict_ : TransferVerdict or None
        Whether the source helps; None without a source.
    n_iter_ : int
        Evaluations of the saddle-point equations at ``gamma_``.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If an argument lies outside its domain, shapes do not fit, or a kernel is singular at
        temperature zero.
    TypeError
        If data are sparse or not real, or the source is none of the kinds above.

    Warns
    -----
    ValidityWarning
        If ``y`` is constant, or a nonlinear network has more than 2 samples per effective input
        dimension.

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134
       (2025) 177301. Equations derived here.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import FranzParisiRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(120, 200)), rng.normal(size=200)
    >>> y = X @ teacher
    >>> net = FranzParisiRegressor(width=50, source=(X[20:], y[20:])).fit(X[:20], y[:20])
    >>> net.verdict_.verdict, net.gamma_ > 0
    ('helps', True)
    """
    )

    def _source_labels(self, y: ArrayLike) -> FloatArray:
        return as_float_array(y, "source y", ndim=(1, 2))

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Solve the path of couplings and choose one.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Target inputs, n at least 2.
        y : array_like of shape (n,) or (n, n_outputs)
            Target labels.

        Returns
        -------
        FranzParisiRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        return self._fit_task(self._checked(X, y))

    def predict(
        self,
        X: ArrayLike,
        *,
        return_std: bool = False,
        return_parts: bool = False,
        include_noise: bool = False,
    ) -> Any:
        """Mean of the target network over sources and posterior, and its spread if asked for.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.
        return_std : bool, default=False
            Also return the standard deviation of the output of one random target network.
        return_parts : bool, default=False
            Return mean, thermal variance and quenched variance instead.
        include_noise : bool, default=False
            Whether the standard deviation includes the label noise.

        Returns
        -------
        ndarray, or tuple of ndarrays, of shape (n,) or (n, n_outputs)
            The mean, with what was asked for.
        """
        return self._predict(X, return_std, return_parts, include_noise)


class FranzParisiClassifier(  # noqa: D101
    ClassifierMixin,  # type: ignore[misc]
    _FranzParisi,
):
    __doc__ = (
        r"""Classification by regression of labels -1 and +1, from a source task.

    Two classes are one output; more are one output per class, against the rest. The probability of
    +1 is :math:`\Phi(f / \sqrt{\Theta + \Omega + T})` of the mean f and its variances, an
    approximation. The source may have classes of its own: two classes serve any target, more must
    be as many as the target's, matched in sorted order.
"""
        + _PARAMETERS
        + """
    Attributes
    ----------
    classes_ : ndarray
        Classes of the target.
    gamma_ : float
        Coupling in use.
    Q_s_, Q_t_, Q_tt_, Q_st_, delta_ : float or ndarray of shape (n_outputs,)
        Order parameters, as in `WideNetTheory`.
    loo_ : float
        Leave-one-out squared error of one random network on labels -1 and +1, summed over outputs.
    log_evidence_ : float
        Expected log evidence of those labels given a source network, nats.
    path_ : GammaPath
        Theory along the grid, in units of the standardised labels, with the random-anchor control.
    verdict_ : TransferVerdict or None
        Whether the source helps; None without a source.
    n_iter_ : int
        Evaluations of the saddle-point equations at ``gamma_``.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If an argument lies outside its domain, shapes do not fit, there is only one class, or a
        kernel is singular at temperature zero.
    TypeError
        If data are sparse or not real, or the source is none of the kinds above.

    Warns
    -----
    ValidityWarning
        If a nonlinear network has more than 2 samples per effective input dimension.

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134
       (2025) 177301. Equations derived here.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import FranzParisiClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(120, 200)), rng.normal(size=200)
    >>> y = np.where(X @ teacher > 0, "yes", "no")
    >>> net = FranzParisiClassifier(width=50, source=(X[20:], y[20:])).fit(X[:20], y[:20])
    >>> net.predict_proba(X[:3]).shape, str(net.classes_[1])
    ((3, 2), 'yes')
    """
    )

    classes_: NDArray[Any]

    def _signs(self, y: NDArray[Any], what: str) -> tuple[FloatArray, NDArray[Any]]:
        """Labels -1 and +1, (n,) for two classes and (n, n_classes) for more."""
        classes, codes = np.unique(y, return_inverse=True)
        if classes.size < 2:
            raise ValueError(
                f"{what} must hold at least two classes, got one class only: {classes.tolist()}"
            )
        if classes.size == 2:
            return np.asarray(2.0 * codes - 1.0, dtype=np.float64), classes
        return np.where(codes[:, None] == np.arange(classes.size), 1.0, -1.0), classes

    def _source_labels(self, y: ArrayLike) -> FloatArray:
        labels = np.asarray(y)
        if labels.ndim != 1:
            raise ValueError(f"source y must be 1-D, got an array of shape {labels.shape}")
        check_classification_targets(labels)
        return self._signs(labels, "source y")[0]

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Solve the path of couplings and choose one.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Target inputs, n at least 2.
        y : array_like of shape (n,)
            Target classes, at least two.

        Returns
        -------
        FranzParisiClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64, order="C", ensure_min_samples=2)
        check_entries(rows, "X")
        if labels.dtype.kind == "f":
            check_entries(labels.astype(np.float64), "y")
        check_classification_targets(labels)
        signs, self.classes_ = self._signs(labels, "y")
        return self._fit_task(_Data(rows, signs.reshape(len(signs), -1), signs.ndim == 1))

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Mean output over its standard deviation: positive for the second of two classes.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes)
            Standard deviations, label noise included, between the mean and zero.
        """
        mean, thermal, quenched = self._parts(X, True)
        noise = self._temperature * self._labels.scale**2
        score = mean / np.sqrt(np.maximum(thermal + quenched + noise, 1e-300))
        return score[:, 0] if self._data.is_flat else score

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Class of the larger probability.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n,)
            Classes.
        """
        check_is_fitted(self)
        if self._data.is_flat:
            codes = (self._parts(X, False)[0][:, 0] > 0).astype(np.intp)
        else:
            codes = self.decision_function(X).argmax(1)
        return np.asarray(self.classes_[codes])

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Approximate class probabilities of a noisy label.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Rows sum to one.
        """
        p = ndtr(self.decision_function(X))
        if self._data.is_flat:
            return np.column_stack([1.0 - p, p])
        p = np.maximum(p, 1e-300)
        return np.asarray(p / p.sum(1, keepdims=True))
