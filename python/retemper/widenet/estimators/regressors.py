"""Networks for numerical labels."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin, RegressorMixin

from retemper._base import validate_data
from retemper._control import report_status
from retemper._domains import check_parameter
from retemper._sources import column_names
from retemper._validation import FloatArray, as_float_array, check_choice, check_entries
from retemper.widenet.estimators.base import PARAMETERS, FranzParisiEstimator, NetworkEstimator
from retemper.widenet.fits import NetworkFit, fit_alone
from retemper.widenet.model import Activation, WideNetModel
from retemper.widenet.problem import report_validity
from retemper.widenet.scaling import TaskData
from retemper.widenet.target import Parts

__all__ = ["FranzParisiRegressor", "WideNetRegressor"]


def read_task(estimator: Any, X: ArrayLike, y: ArrayLike) -> TaskData:
    """Checked rows and numerical labels."""
    rows, given = validate_data(
        estimator, X, y, dtype=np.float64, order="C", multi_output=True, y_numeric=True,
        ensure_min_samples=2,
    )  # fmt: skip
    labels = np.asarray(given, dtype=np.float64)
    check_entries(rows, "X")
    check_entries(labels, "y")
    return TaskData(rows, labels.reshape(len(labels), -1), labels.ndim == 1, column_names(X))


def columns_of(fit: NetworkFit, values: FloatArray) -> FloatArray:
    """Values of shape (n,) where the labels came as a vector."""
    return values[:, 0] if fit.tasks.data.is_flat else values


def with_std(
    fit: NetworkFit, parts: Parts, *, include_noise: bool
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of one random network."""
    variance = parts.thermal + parts.quenched
    if include_noise:
        variance = variance + fit.noise_var
    return columns_of(fit, parts.mean), columns_of(fit, np.sqrt(variance))


class WideNetRegressor(
    MultiOutputMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    NetworkEstimator,
):
    r"""Bayesian network with one hidden layer of finite width, in closed form.

    A Gaussian process whose kernel is renormalised by one order parameter Q per output, found from
    the data; at infinite width Q is one and this is Gaussian-process regression with `nngp_kernel`.

    Parameters
    ----------
    width : float, default=500
        Number of hidden units, at least 2; may be ``inf``.
    activation : str or callable, default="erf"
        The activation, as in `WideNetModel`.
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

    See Also
    --------
    FranzParisiRegressor, nngp_kernel

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
        check_choice(self.standardize, "standardize", (True, False))
        temperature = check_parameter(self.temperature, "temperature")
        model = WideNetModel(
            self.width, self.activation, self.lam0, self.lam1, temperature, temperature
        )
        fit = fit_alone(model, read_task(self, X, y), standardize=bool(self.standardize))
        report_validity(list(fit.said))
        report_status(fit.status, fit.residual, "fit")
        self._keep(fit)
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
        if not return_std:
            mean = self._mean(X)
            return columns_of(self._fit, mean)
        parts = self._parts(X)
        return with_std(self._fit, parts, include_noise=include_noise)


class FranzParisiRegressor(  # noqa: D101 (its docstring is composed)
    MultiOutputMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    FranzParisiEstimator,
):
    __doc__ = (
        r"""Bayesian network of finite width that starts from a source task, in closed form.

    Predicts the mean of the target network and its spread, split into the noise of the target
    posterior (thermal) and the luck of the source run (quenched), and chooses how tightly the first
    layer is held to the source's. No network is trained.
"""
        + PARAMETERS
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

    See Also
    --------
    FranzParisiClassifier, WideNetRegressor, gamma_path

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134 (2025)
       177301. Equations derived here (`derivations/widenet#saddle-point`).

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
        self._fit_task(X, read_task(self, X, y))
        return self

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
        if not (return_std or return_parts):
            mean = self._mean(X)
            return columns_of(self._fit, mean)
        parts = self._parts(X)
        if return_parts:
            return Parts(*(columns_of(self._fit, part) for part in parts))
        return with_std(self._fit, parts, include_noise=include_noise)
