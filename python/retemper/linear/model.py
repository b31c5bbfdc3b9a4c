"""The linear transfer problem: one description shared by theory, simulation and comparison."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from retemper._domains import check_parameter
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_kind,
    check_real,
    check_shape,
)
from retemper.linear.rows import check_rows
from retemper.linear.sources import ByValue, LinearSource, check_covariance

__all__ = ["LinearModel"]


def _depth(value: Any) -> float:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)  # an axis of depths with infinity holds floats
    depth: float = check_parameter(value, "depth")
    return depth


def _ridge(value: Any) -> float | Literal["optimal"]:
    if not isinstance(value, str):
        return check_real(value, "ridge")
    if value != "optimal":
        raise TypeError(f'ridge must be a real number or "optimal", got {value!r}')
    return "optimal"


def _source_scale(value: Any) -> float | Literal["optimal"]:
    if not isinstance(value, str):
        return check_real(value, "source_scale")
    if value != "optimal":
        raise TypeError(f'source_scale must be a real number or "optimal", got {value!r}')
    return "optimal"


def _in_domain(name: str, word: str) -> Callable[[Any], Any]:
    return lambda value: check_parameter(value, word, label=name)


#: What each scalar parameter must satisfy.
SCALARS: dict[str, Callable[[Any], Any]] = {
    "n_samples": _in_domain("n_samples", "n_samples"),
    "noise": _in_domain("noise", "noise"),
    "ridge": _ridge,
    "depth": _depth,
    "n_samples_source": _in_domain("n_samples_source", "n_samples"),
    "noise_source": _in_domain("noise_source", "noise"),
    "ridge_source": lambda value: check_real(value, "ridge_source"),
    "heads": lambda value: check_choice(value, "heads", ("shared", "independent")),
    "source_scale": _source_scale,
    "stop_time": lambda value: check_real(value, "stop_time", low=0.0, allow_inf=True),
    "step_size": lambda value: check_real(value, "step_size", low=0.0, open_low=True),
    "batch_size": lambda value: check_integer(value, "batch_size", low=1),
    "n_passes": lambda value: check_real(value, "n_passes", low=0.0),
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LinearModel(ByValue):
    r"""Fine-tuning of a linear predictor from a source, on a linear target task.

    The target has n samples :math:`y = \theta_T \cdot x + \sigma \epsilon`, with :math:`x =
    \Sigma_T^{1/2} z` and :math:`z`, :math:`\epsilon` of independent standard entries. Training
    minimises :math:`\frac1n \|y - X w\|^2 + \lambda \|w - w_0\|^2` (the limit :math:`\lambda \to 0`
    is gradient descent started at :math:`w_0`), or the squared loss of a balanced deep linear
    network whose end-to-end vector starts at :math:`w_0`. After Shachaf et al. (2021) [1]_; the
    setting is theirs, the equations of `solve` are derived here
    (`derivations/linear#risk-of-a-fixed-source`).

    Parameters
    ----------
    n_samples : int
        Number n of target samples, at least 0.
    theta_target : array_like of shape (d,) or (n_outputs, d)
        Target teacher :math:`\theta_T`, one row for each output as in scikit-learn's ``coef_``;
        risks are summed over outputs.
    spectrum : array_like of shape (d,) or None, default=None
        Eigenvalues of :math:`\Sigma_T`; every vector of the model is then in its eigenbasis.
    cov : array_like of shape (d, d) or None, default=None
        The covariance :math:`\Sigma_T` itself. At most one of ``spectrum`` and ``cov`` is given;
        with neither, :math:`\Sigma_T` is the identity.
    source_coef : array_like with the shape of ``theta_target``, or None, default=None
        Fixed source :math:`w_0`. With neither this nor ``theta_source``, the source is zero.
    noise : float, default=0.0
        Standard deviation :math:`\sigma` of the target's label noise.
    ridge : float or "optimal", default=0.0
        Strength :math:`\lambda` of the ridge towards the source, per sample, in units of an
        eigenvalue of the covariance: the same number as that of `FineTunedLinearRegression`. May
        be negative down to a limit that `solve` names. "optimal" is that of smallest risk among
        those from 0 up. Above depth 1 it is that of `deep_fit`: not negative, of one output, and 0
        at infinite depth.
    depth : int or inf, default=1
        Number of weight matrices.
    theta_source : array_like with the shape of ``theta_target``, or None, default=None
        Source teacher :math:`\theta_S` of a finite source sample; excludes ``source_coef`` and
        needs ``n_samples_source``.
    cov_source : array_like of shape (d,) or (d, d), or None, default=None
        Covariance :math:`\Sigma_S` of the source inputs, in the coordinates of the teachers; a
        vector is the diagonal of a diagonal one. None takes the target's.
    n_samples_source : int or None, default=None
        Number of source samples.
    noise_source : float, default=0.0
        Standard deviation of the source's label noise.
    ridge_source : float, default=0.0
        Ridge towards zero with which the source was fitted, per sample.
    source_scale : float or "optimal", default=1.0
        Number the source is multiplied with before training, a fixed or a learned one. "optimal",
        at depth 1, is that of smallest risk; 0 trains from scratch.
    heads : {"shared", "independent"}, default="shared"
        Whether several outputs above depth 1 share all layers but the last, as networks do
        (`shared_trunk_risk`; a finite depth, no ridge, a fixed source), or are networks each.
    stop_time : float, default=inf
        When gradient flow from the source stops, on the loss :math:`\frac{1}{2n} \|y - X w\|^2`:
        steps of gradient descent times their size. Finite at depth 1 and without ridge.
    step_size : float or None, default=None
        Size of the steps of one pass of stochastic gradient descent from the source: every batch of
        rows is used once, :math:`w \leftarrow w - \frac{\eta}{b} \sum_{i \in \text{batch}} x_i
        (x_i \cdot w - y_i)`. None trains to the end. Needs depth 1 and no ridge; exact for Gaussian
        rows.
    batch_size : int, default=1
        Rows b of one step; rows that fill no batch are left out.
    n_passes : float or None, default=None
        Passes over the n rows, each step drawing its b rows from all of them with replacement:
        n times passes over b steps. None uses every row once.
    row_shares : array_like of shape (n_classes,) or None, default=None
        Shares of the rows that belong to each of several classes of rows; they add up to 1. None
        takes equal rows. Needs no ``step_size`` and outputs that share no trunk.
    row_noise : array_like of shape (n_classes,) or None, default=None
        Standard deviation of the label noise of each class, in units of ``noise``.
    row_scale : array_like of shape (n_classes,) or None, default=None
        Number with which the inputs of each class are multiplied, labels following the same
        teacher. The risk is that on rows of scale 1.
    row_weight : array_like of shape (n_classes,) or None, default=None
        Weight of the squared error of each class in training, relative: a common factor never
        matters.
    sources : sequence of LinearSource or None, default=None
        Several sources, each known or learned from rows of its own, in the place of
        ``source_coef`` and ``theta_source``; of one output.
    mixing_weights : {"optimal", "fitted"} or array_like of shape (n_sources,), default="optimal"
        Weights with which the sources are added up. "optimal", at depth 1, are those of smallest
        risk, "fitted" are chosen by training itself, which minimises over them too and pays for it
        with rows: more than there are sources, equal ones, at depth 1, trained to the end.

    Attributes
    ----------
    n_features : int
        Dimension d.
    n_outputs : int
        Number of outputs.
    source_kind : {"none", "fixed", "finite", "several"}
        Where the source comes from.

    Raises
    ------
    ValueError
        If a value is outside its domain, shapes disagree, both ``spectrum`` and ``cov`` are given,
        or the source is given twice or in part.
    TypeError
        If an argument is not a real number or array.

    See Also
    --------
    solve, simulate, compare, curve

    Notes
    -----
    Models are immutable, compare by value and can be keys of a dict. Arrays are kept as read-only
    float64.

    References
    ----------
    .. [1] G. Shachaf, A. Brutzkus and A. Globerson, "A Theoretical Analysis of Fine-tuning with
       Linear Teachers", NeurIPS 34 (2021).

    Examples
    --------
    >>> from retemper.linear import LinearModel
    >>> model = LinearModel(50, [1.0] * 100, source_coef=[0.8] * 100, noise=0.1)
    >>> model.n_features, model.source_kind
    (100, 'fixed')
    """

    n_samples: int
    theta_target: FloatArray
    _: dataclasses.KW_ONLY
    spectrum: FloatArray | None = None
    cov: FloatArray | None = None
    source_coef: FloatArray | None = None
    noise: float = 0.0
    ridge: float | Literal["optimal"] = 0.0
    depth: float = 1
    theta_source: FloatArray | None = None
    cov_source: FloatArray | None = None
    n_samples_source: int | None = None
    noise_source: float = 0.0
    ridge_source: float = 0.0
    source_scale: float | Literal["optimal"] = 1.0
    heads: Literal["shared", "independent"] = "shared"
    stop_time: float = math.inf
    step_size: float | None = None
    batch_size: int = 1
    n_passes: float | None = None
    row_shares: FloatArray | None = None
    row_noise: FloatArray | None = None
    row_scale: FloatArray | None = None
    row_weight: FloatArray | None = None
    sources: tuple[LinearSource, ...] | None = None
    mixing_weights: FloatArray | Literal["optimal", "fitted"] = "optimal"

    def __post_init__(self) -> None:
        for name, check in SCALARS.items():
            value = getattr(self, name)
            if value is not None or name not in ("n_samples_source", "step_size", "n_passes"):
                self._set(name, check(value))
        if math.isfinite(self.stop_time) and (self.depth != 1 or self.ridge != 0.0):
            raise ValueError(
                f"a finite stop_time needs depth 1 and ridge 0, got stop_time = {self.stop_time:g} "
                f"with depth {self.depth} and ridge {self.ridge}"
            )
        if self.step_size is None:
            for name, default in (("batch_size", 1), ("n_passes", None)):
                value = getattr(self, name)
                if value != default:
                    raise ValueError(
                        f"{name} is of stochastic descent: it needs step_size, got {value}"
                    )
        elif self.depth != 1 or self.ridge != 0.0 or math.isfinite(self.stop_time):
            raise ValueError(
                f"step_size needs depth 1, ridge 0 and no stop_time, got depth {self.depth:g}, "
                f"ridge {self.ridge} and stop_time = {self.stop_time:g}"
            )
        for name, array in check_rows(self).items():
            self._set(name, array)
        if self.row_shares is not None and not isinstance(self.ridge, str) and self.ridge < 0.0:
            raise ValueError(f"ridge must not be negative with row_shares, got {self.ridge:g}")
        if self.source_scale == "optimal" and self.depth != 1:
            raise ValueError(f'source_scale="optimal" needs depth 1, got depth {self.depth}')
        theta = as_float_array(self.theta_target, "theta_target", ndim=(1, 2))
        if not theta.size:
            raise ValueError(f"theta_target must not be empty, got shape {theta.shape}")
        self._set("theta_target", theta)
        d = theta.shape[-1]
        if self.spectrum is not None and self.cov is not None:
            raise ValueError("give spectrum or cov, not both")
        for name, ndim in (("spectrum", 1), ("cov", 2), ("cov_source", (1, 2))):
            value = getattr(self, name)
            if value is not None:
                self._set(name, check_covariance(value, name, d, ndim=ndim))
        for name in ("source_coef", "theta_source"):
            value = getattr(self, name)
            if value is not None:
                array = as_float_array(value, name, ndim=(1, 2))
                check_shape(array, theta.shape, name)
                self._set(name, array)
        if self.source_coef is not None and self.theta_source is not None:
            raise ValueError("give source_coef (fixed source) or theta_source (finite), not both")
        if (self.theta_source is None) != (self.n_samples_source is None):
            raise ValueError(
                "a finite source needs both theta_source and n_samples_source; for infinite source "
                "data pass source_coef"
            )
        if self.theta_source is None:
            for name, default in (("cov_source", None), ("noise_source", 0), ("ridge_source", 0)):
                value = getattr(self, name)
                if value is not default and (default is None or value != default):
                    raise ValueError(f"{name} describes a finite source: it needs theta_source")
        self._check_sources()

    def _check_sources(self) -> None:
        """Several sources and what mixes them."""
        weights: Any = self.mixing_weights
        if isinstance(weights, str):
            check_choice(weights, "mixing_weights", ("optimal", "fitted"))
        else:
            weights = as_float_array(weights, "mixing_weights")
            self._set("mixing_weights", weights)
        if self.sources is None:
            if not isinstance(weights, str) or weights != "optimal":
                raise ValueError("mixing_weights are of several sources: they need sources")
            return
        if isinstance(self.sources, LinearSource) or not isinstance(self.sources, Sequence):
            raise TypeError(f"sources must be a list of LinearSource, got {self.sources!r}")
        self._set("sources", tuple(self.sources))
        if not self.sources:
            raise ValueError("sources must hold a source, got none")
        for k, source in enumerate(self.sources):
            check_kind(source, f"sources[{k}]", LinearSource)
            if source.n_features != self.n_features:
                raise ValueError(
                    f"sources[{k}] must have {self.n_features} features, as theta_target, got "
                    f"{source.n_features}"
                )
        if self.source_coef is not None or self.theta_source is not None:
            raise ValueError("give sources, or source_coef or theta_source, not both")
        if self.n_outputs > 1:
            raise ValueError(f"sources need one output, got {self.n_outputs}")
        if not isinstance(weights, str):
            check_shape(weights, (len(self.sources),), "mixing_weights")
        elif self.depth != 1:
            raise ValueError(f'mixing_weights="{weights}" needs depth 1, got depth {self.depth:g}')
        elif weights == "fitted":
            self._check_fitted()

    def _check_fitted(self) -> None:
        """Weights that training chooses are known for equal rows, at the end of training."""
        if math.isfinite(self.stop_time) or self.step_size is not None:
            raise ValueError(
                f'mixing_weights="fitted" needs training to the end, got stop_time = '
                f"{self.stop_time:g} and step_size = {self.step_size}"
            )
        if self.row_shares is not None:
            raise ValueError('mixing_weights="fitted" needs equal rows, got row_shares')
        if self.source_scale != 1.0:
            raise ValueError(
                f'mixing_weights="fitted" needs source_scale 1, got {self.source_scale}'
            )
        if not isinstance(self.ridge, str) and self.ridge < 0.0:
            raise ValueError(
                f'ridge must not be negative with mixing_weights="fitted", got {self.ridge:g}'
            )

    @property
    def n_features(self) -> int:
        """Dimension d."""
        return int(self.theta_target.shape[-1])

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return 1 if self.theta_target.ndim == 1 else int(self.theta_target.shape[0])

    @property
    def source_kind(self) -> Literal["none", "fixed", "finite", "several"]:
        """Where the source comes from."""
        if self.sources is not None:
            return "several"
        if self.theta_source is not None:
            return "finite"
        return "none" if self.source_coef is None else "fixed"
