"""The problems: features, logistic regression, hidden layers of linear and nonlinear units."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from retemper._domains import check_parameter
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_real,
    check_shape,
)
from retemper.phases.times import DEFAULT_TIMES, check_step_size, check_times, whole_steps

__all__ = [
    "FLOOR_RELATIVE_RIDGE",
    "DeepLinearModel",
    "FeatureModel",
    "LogisticModel",
    "Model",
    "TwoLayerModel",
    "curves_of",
]

#: Relative ridge of the early-warning value ``fuv_floor``.
FLOOR_RELATIVE_RIDGE = 1e-2


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


@dataclasses.dataclass(frozen=True, eq=False)
class DeepLinearModel(_ByValue):
    r"""A hidden layer of a deep linear network.

    The network :math:`f(x) = A W_{L-1} \cdots W_1 x` follows gradient flow or descent of
    :math:`\frac12 E\|y - f(x)\|^2 + \frac\kappa2\sum\|W\|^2`. Every target varies with one
    eigendirection of the inputs, and the layers start as :math:`\sigma_0` times orthogonal maps
    that carry each direction to its target, so that directions do not mix. A direction with a
    target is learned, at the rate of its covariance; what has no target keeps its start, or loses
    it to weight decay.

    Parameters
    ----------
    spectrum : array_like of shape (p,)
        Eigenvalues :math:`\lambda_i` of the input covariance, positive.
    signal : array_like of shape (p,)
        Covariance :math:`m_i` of each eigendirection and its target, non-negative; zero where it
        has none.
    init_scale : float, default=0.01
        Size :math:`\sigma_0` of every layer at time 0, in [1e-100, 10]: zeros never learn.
    depth : int, default=2
        Weight matrices L, from 2 to 20.
    layer : int, default=1
        Hidden layer that is read, from 1 to ``depth - 1``.
    weight_decay : float, default=0.0
        Strength :math:`\kappa`.
    relative_noise_var : float, default=0.0
        Variance of an independent noise on every unit, relative to their mean variance: what a
        decoder cannot resolve. Without noise nothing is lost, at any time.
    times : float or array_like of shape (T,), default=(0, 1, 2, 4, ..., 64)
        Times of gradient flow at which the layer is looked at, non-negative; with ``step_size``,
        numbers of steps times ``step_size``.
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
        If an argument is not a real number or array.

    See Also
    --------
    solve, simulate, TwoLayerModel, linear_network_fuv

    Notes
    -----
    Derived here (`derivations/phases#hidden-layers-of-deep-linear-networks`). From layers that
    start at random the directions mix while they are small, and the value differs: a
    `TwoLayerModel` of linear units follows two such layers.

    Examples
    --------
    >>> from retemper.phases import DeepLinearModel
    >>> DeepLinearModel([1.0, 0.5], [0.0, 0.4], weight_decay=0.1).total_variance
    1.5
    """

    spectrum: FloatArray
    signal: FloatArray
    init_scale: float = 0.01
    depth: int = 2
    layer: int = 1
    weight_decay: float = 0.0
    relative_noise_var: float = 0.0
    times: Any = DEFAULT_TIMES
    step_size: float | None = None

    def __post_init__(self) -> None:
        self._set("spectrum", _non_negative(self.spectrum, "spectrum", positive=True))
        signal = _non_negative(self.signal, "signal")
        check_shape(signal, self.spectrum.shape, "signal")
        self._set("signal", signal)
        size = check_real(self.init_scale, "init_scale", low=1e-100, high=10.0)
        self._set("init_scale", size)
        self._set("depth", check_integer(self.depth, "depth", low=2, high=20))
        self._set("layer", check_integer(self.layer, "layer", low=1, high=self.depth - 1))
        for name in ("weight_decay", "relative_noise_var"):
            self._set(name, check_parameter(getattr(self, name), name))
        self._set_times(self.times, self.step_size)

    @property
    def n_features(self) -> int:
        """Dimension p."""
        return int(self.spectrum.size)

    @property
    def total_variance(self) -> float:
        """Trace of the input covariance."""
        return float(self.spectrum.sum())


@dataclasses.dataclass(frozen=True, eq=False)
class TwoLayerModel(_ByValue):
    r"""A network with one hidden layer that learns from a network of the same kind.

    Inputs are normal with the given eigenvalues, and the labels are those of a teacher,
    :math:`y = \sum_m a_m g(b_m \cdot x)` plus noise. The network :math:`f(x) = \sum_k v_k
    g(w_k \cdot x)` follows gradient descent or flow of :math:`\frac12 E(y - f)^2 + \frac\kappa2
    (\|W\|^2 + \|v\|^2)`. Its hidden layer is judged by a ridge decoder of the inputs.

    Parameters
    ----------
    spectrum : array_like of shape (p,)
        Eigenvalues of the input covariance, positive. Directions of equal ones cost nothing more.
    teacher : array_like of shape (M, p)
        Weights :math:`b_m` of the teacher's units, in the eigenbasis of the inputs.
    W0 : array_like of shape (K, p)
        Weights of the hidden units at time 0, in the same basis.
    readout0 : array_like of shape (K,)
        Read-out weights :math:`v` at time 0.
    teacher_readout : float or array_like of shape (M,), default=1.0
        Read-out weights :math:`a` of the teacher.
    activation : {"erf", "relu", "linear"}, default="erf"
        The function g of both networks; erf is :math:`\mathrm{erf}(u/\sqrt2)`.
    train_readout : bool, default=True
        Whether the read-out is trained too.
    noise : float, default=0.0
        Standard deviation of the label noise.
    weight_decay : float, default=0.0
        Strength :math:`\kappa`.
    relative_ridge : float, default=1e-8
        Ridge of the decoder, in units of the mean eigenvalue of the covariance of the hidden units.
    times : float or array_like of shape (T,), default=(0, 1, 2, 4, ..., 64)
        Times of gradient flow at which the layer is looked at, non-negative; with ``step_size``,
        numbers of steps times ``step_size``.
    step_size : float or None, default=None
        Step of gradient descent; None is gradient flow.
    batch_size : int or None, default=None
        Fresh rows in every step of descent; None is the average over all rows.

    Attributes
    ----------
    n_features : int
        Dimension p.
    n_units : int
        Number of hidden units K.
    total_variance : float
        Trace of the input covariance.

    Raises
    ------
    ValueError
        If a value is outside its domain, or lengths disagree; if there are batches without a
        step.
    TypeError
        If an argument is not a real number or array.

    See Also
    --------
    solve, simulate, DeepLinearModel

    Notes
    -----
    Flow and descent on infinite data are exact at any p. With batches the noise of their gradients
    is that of many inputs, after Saad and Solla (1995) [1]_ and Goldt et al. (2019) [2]_. That of
    relu units and what a decoder finds are derived here
    (`derivations/phases#hidden-layers-of-nonlinear-units`).

    References
    ----------
    .. [1] D. Saad and S. A. Solla, "On-line learning in soft committee machines", Physical Review E
       52 (1995) 4225-4243.
    .. [2] S. Goldt, M. S. Advani, A. M. Saxe, F. Krzakala and L. Zdeborova, "Dynamics of stochastic
       gradient descent for two-layer neural networks in the teacher-student setup", NeurIPS 32
       (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import TwoLayerModel
    >>> W0 = 0.1 * np.random.default_rng(0).normal(size=(3, 5))
    >>> model = TwoLayerModel([2.0, 1.0, 1.0, 0.5, 0.5], np.eye(1, 5), W0, np.ones(3))
    >>> model.n_units, model.total_variance
    (3, 5.0)
    """

    spectrum: FloatArray
    teacher: FloatArray
    W0: FloatArray
    readout0: FloatArray
    teacher_readout: Any = 1.0
    activation: str = "erf"
    train_readout: bool = True
    noise: float = 0.0
    weight_decay: float = 0.0
    relative_ridge: float = 1e-8
    times: Any = DEFAULT_TIMES
    step_size: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        self._set("spectrum", _non_negative(self.spectrum, "spectrum", positive=True))
        for name in ("teacher", "W0"):
            array = as_float_array(getattr(self, name), name, ndim=2)
            if not array.shape[0]:
                raise ValueError(f"{name} must have a row")
            check_shape(array, (array.shape[0], self.n_features), name)
            self._set(name, array)
        readout = as_float_array(self.readout0, "readout0")
        check_shape(readout, (self.n_units,), "readout0")
        self._set("readout0", readout)
        theirs, n_teachers = self.teacher_readout, self.teacher.shape[0]
        if np.ndim(theirs) == 0:
            theirs = np.full(n_teachers, check_real(theirs, "teacher_readout"))
        theirs = as_float_array(theirs, "teacher_readout")
        check_shape(theirs, (n_teachers,), "teacher_readout")
        self._set("teacher_readout", theirs)
        check_choice(self.activation, "activation", ("erf", "relu", "linear"))
        if not isinstance(self.train_readout, bool):
            raise TypeError(f"train_readout must be True or False, got {self.train_readout!r}")
        for name in ("noise", "weight_decay", "relative_ridge"):
            self._set(name, check_parameter(getattr(self, name), name))
        self._set_times(self.times, self.step_size)
        if self.batch_size is not None:
            self._set("batch_size", check_parameter(self.batch_size, "batch_size"))
            if self.step_size is None:
                raise ValueError("batch_size needs a step_size: gradient flow has no batches")

    @property
    def n_features(self) -> int:
        """Dimension p."""
        return int(self.spectrum.size)

    @property
    def n_units(self) -> int:
        """Number of hidden units K."""
        return int(self.W0.shape[0])

    @property
    def total_variance(self) -> float:
        """Trace of the input covariance."""
        return float(self.spectrum.sum())


#: Names of the curves over time that theory and experiment of a model share.
_CURVES: dict[type, tuple[str, ...]] = {
    DeepLinearModel: ("fuv",),
    FeatureModel: ("fuv",),
    LogisticModel: ("fuv_logit", "fuv_prob", "norm"),
    TwoLayerModel: ("fuv", "fuv_floor", "test_error"),
}

#: A problem of this system.
Model = FeatureModel | LogisticModel | DeepLinearModel | TwoLayerModel


def curves_of(model: Model) -> tuple[str, ...]:
    """Names of the curves over time that theory and experiment of a model share."""
    return _CURVES[type(model)]
