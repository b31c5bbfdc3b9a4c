"""The analytic test beds: strong and weak features; logistic regression on two Gaussians."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from retemper._domains import check_parameter
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_real,
    check_shape,
)
from retemper.phases.times import DEFAULT_TIMES, check_step_size, check_times, whole_steps

__all__ = ["FeatureModel", "LogisticModel", "curves_of"]


class _ByValue:
    """Immutable arrays; models compare by value and can be keys of a dict."""

    def _set(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            value = value.copy()  # later changes of the caller's array must not reach the model
            value.flags.writeable = False
        object.__setattr__(self, name, value)

    def _set_times(self, times: Any, step_size: float | None) -> None:
        self._set("times", check_times(times))
        self._set("step_size", check_step_size(step_size))
        if step_size is not None:
            whole_steps(check_times(times), step_size)

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, f.name) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        # adding 0.0 makes -0.0 and 0.0, which compare equal, the same bytes
        return tuple(
            (v.shape, (v + 0.0).tobytes()) if isinstance(v, np.ndarray) else v for v in values
        )

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())


def _non_negative(value: Any, name: str, *, positive: bool = False) -> FloatArray:
    array = as_float_array(value, name)
    if not array.size:
        raise ValueError(f"{name} must not be empty")
    low = float(array.min())
    if low < 0.0 or (positive and low == 0.0):
        domain = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must have {domain} entries, got {low:g}")
    return array


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureModel(_ByValue):
    r"""One linear layer trained on classes that show in strong and weak features.

    There are K equally likely classes and G groups of features, each with one coordinate per
    class: :math:`x_{g,c} = a_g 1[y=c] + s_g z_{g,c} + r_g \zeta_g`, and N coordinates of pure
    noise; :math:`z`, :math:`\zeta` are independent standard normal. A layer :math:`W`, started at
    independent normal entries, is trained on the one-hot labels by squared loss.

    Parameters
    ----------
    n_classes : int
        Number of classes K, at least 2.
    signal : array_like of shape (G,)
        Class signal :math:`a_g`, in units of the inputs.
    class_noise : array_like of shape (G,)
        Standard deviation :math:`s_g` of the noise of each coordinate.
    shared_noise : float or array_like of shape (G,), default=0.0
        Standard deviation :math:`r_g` of the noise that the coordinates of a group share.
    n_noise : int, default=0
        Number N of coordinates without any signal.
    noise_sd : float, default=1.0
        Their standard deviation.
    init_scale : float, default=0.01
        Standard deviation :math:`\sigma_0` of the initial weights.
    times : float or array_like of shape (T,), default=(0, 1, 2, 4, ..., 64)
        Times of gradient flow at which the layer is looked at, non-negative, in units of
        1 / (eigenvalue of the input covariance); with ``step_size``, numbers of steps times
        ``step_size``.
    step_size : float or None, default=None
        Step of full-batch gradient descent; None is gradient flow.

    Attributes
    ----------
    n_groups : int
        Number of groups G.
    n_features : int
        Number of input coordinates, G K + N.
    total_variance : float
        Trace of the input covariance.

    Raises
    ------
    ValueError
        If a value is outside its domain, or lengths disagree.
    TypeError
        If an argument is not a real number or array.

    See Also
    --------
    solve, summary, simulate, LogisticModel

    Notes
    -----
    The model and its solution are derived here (`derivations/phases#strong-and-weak-features`). The
    phases it shows are those reported by Schneider and Prabhushankar (2024) [1]_, whose own data
    model is another one.

    References
    ----------
    .. [1] J. Schneider and M. Prabhushankar, "Understanding and Leveraging the Learning Phases of
       Neural Networks", AAAI 38 (2024) 14886-14893.

    Examples
    --------
    >>> from retemper.phases import FeatureModel
    >>> FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5).n_features
    70
    """

    n_classes: int
    signal: FloatArray
    class_noise: FloatArray
    shared_noise: Any = 0.0
    n_noise: int = 0
    noise_sd: float = 1.0
    init_scale: float = 0.01
    times: Any = DEFAULT_TIMES
    step_size: float | None = None

    def __post_init__(self) -> None:
        self._set("n_classes", check_integer(self.n_classes, "n_classes", low=2))
        signal = as_float_array(self.signal, "signal")
        if not signal.size:
            raise ValueError("signal must not be empty")
        self._set("signal", signal)
        noise = _non_negative(self.class_noise, "class_noise")
        check_shape(noise, signal.shape, "class_noise")
        self._set("class_noise", noise)
        shared = self.shared_noise
        if np.ndim(shared) == 0:
            shared = np.full(signal.shape, check_real(shared, "shared_noise", low=0.0))
        shared = _non_negative(shared, "shared_noise")
        check_shape(shared, signal.shape, "shared_noise")
        self._set("shared_noise", shared)
        self._set("n_noise", check_parameter(self.n_noise, "n_noise"))
        self._set("noise_sd", check_parameter(self.noise_sd, "noise_sd"))
        self._set("init_scale", check_parameter(self.init_scale, "init_scale"))
        self._set_times(self.times, self.step_size)
        if self.total_variance == 0.0:
            raise ValueError("the inputs do not vary: give some signal or noise")

    @property
    def n_groups(self) -> int:
        """Number of groups G."""
        return int(self.signal.size)

    @property
    def n_features(self) -> int:
        """Number of input coordinates, G K + N."""
        return self.n_groups * self.n_classes + self.n_noise

    @property
    def contrast_covariance(self) -> FloatArray:
        """Covariance of the groups in one class contrast, (G, G)."""
        return np.outer(self.signal, self.signal) / self.n_classes + np.diag(self.class_noise**2)

    @property
    def common_variance(self) -> FloatArray:
        """Variances of the sums over classes, one for each group, (G,)."""
        return np.asarray(self.class_noise**2 + self.n_classes * self.shared_noise**2)

    @property
    def total_variance(self) -> float:
        """Trace of the input covariance."""
        contrasts = (self.n_classes - 1) * float(np.trace(self.contrast_covariance))
        return contrasts + float(self.common_variance.sum()) + self.n_noise * self.noise_sd**2


@dataclasses.dataclass(frozen=True, eq=False)
class LogisticModel(_ByValue):
    r"""Logistic regression without bias on two Gaussian classes, in the limit of infinite data.

    The input is :math:`x = y \mu + \mathrm{diag}(s)^{1/2} z` with equally likely
    :math:`y = \pm 1` and standard normal :math:`z`.

    Parameters
    ----------
    variances : array_like of shape (p,)
        Within-class variances s, positive.
    mean : array_like of shape (p,)
        Class mean :math:`\mu`, in units of the inputs.
    w0 : array_like of shape (p,)
        Weights at time 0.
    times : float or array_like of shape (T,), default=(0, 1, 2, 4, ..., 64)
        Times of gradient flow at which the layer is looked at, non-negative, in units of
        1 / (eigenvalue of the input covariance); with ``step_size``, numbers of steps times
        ``step_size``.
    step_size : float or None, default=None
        Step of full-batch gradient descent; None is gradient flow.

    Attributes
    ----------
    n_features : int
        Dimension p.
    total_variance : float
        Trace of the input covariance.

    Raises
    ------
    ValueError
        If a value is outside its domain, or lengths disagree.
    TypeError
        If an argument is not an array of real numbers.

    See Also
    --------
    solve, simulate, FeatureModel

    Notes
    -----
    Derived here (`derivations/phases#logistic-regression`); see `FeatureModel` for the publication
    behind the question.

    Examples
    --------
    >>> from retemper.phases import LogisticModel
    >>> LogisticModel([1.0, 0.5], [0.3, 0.4], [0.01, 0.0]).total_variance
    1.75
    """

    variances: FloatArray
    mean: FloatArray
    w0: FloatArray
    times: Any = DEFAULT_TIMES
    step_size: float | None = None

    def __post_init__(self) -> None:
        self._set("variances", _non_negative(self.variances, "variances", positive=True))
        for name in ("mean", "w0"):
            array = as_float_array(getattr(self, name), name)
            check_shape(array, self.variances.shape, name)
            self._set(name, array)
        self._set_times(self.times, self.step_size)

    @property
    def n_features(self) -> int:
        """Dimension p."""
        return int(self.variances.size)

    @property
    def total_variance(self) -> float:
        """Trace of the input covariance."""
        return float(self.variances.sum() + self.mean @ self.mean)


def curves_of(model: FeatureModel | LogisticModel) -> tuple[str, ...]:
    """Names of the curves over time that theory and experiment of a model share."""
    return ("fuv",) if isinstance(model, FeatureModel) else ("fuv_logit", "fuv_prob", "norm")
