"""The control parameters of pre-training and fine-tuning a diagonal linear network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from retemper._domains import check_parameter
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_kind,
    check_real,
)
from retemper.diagonal.density import CoefficientLaw
from retemper.diagonal.mirror import check_depth
from retemper.diagonal.scales import REBALANCES, Rebalance

Mode = Literal["reset", "warm", "scratch"]
Shared = Literal["independent", "aligned", "opposite"]

#: Groups of the built-in law: active in both tasks, in the source alone, in the target alone, none.
GROUPS = ("shared", "lost", "new", "silent")

_PLAIN = {"depth": 2, "mu": 0.0, "label_noise": 0.0, "spectrum": None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """One component of a joint law of (source, target) coefficients: Gaussian, or by a density.

    Derived here (`derivations/diagonal#error-in-high-dimension`); see `retemper.diagonal`.

    Parameters
    ----------
    weight : float
        Probability of the component; the weights of a law sum to one.
    source_mean : float, default=0.0
        Mean of the source coefficient.
    source_var : float, default=0.0
        Its variance.
    target_mean : float, default=0.0
        Mean of the target coefficient.
    target_var : float, default=0.0
        Its variance.
    covariance : float, default=0.0
        Covariance of source and target, at most the geometric mean of the variances in size.
    group : str, default=""
        Errors are reported for each group.
    target_law : CoefficientLaw or None, default=None
        Any law of the target coefficient, by its density, instead of ``target_mean``,
        ``target_var`` and ``covariance``; independent of the source coefficient.

    Raises
    ------
    TypeError
        If ``target_law`` is not a law.
    ValueError
        If a value is outside its domain, or a target is described twice.

    See Also
    --------
    DiagonalModel, CoefficientLaw, laplace_law, laplace_components

    Examples
    --------
    >>> from retemper.diagonal import Component, DiagonalModel, solve
    >>> kept = Component(weight=0.1, source_mean=1.0, target_mean=1.0)
    >>> rest = Component(weight=0.9)
    >>> model = DiagonalModel(0.2, components=(kept, rest))
    >>> bool(solve(model).mse < solve(model).null_mse)
    True
    """

    weight: float
    source_mean: float = 0.0
    source_var: float = 0.0
    target_mean: float = 0.0
    target_var: float = 0.0
    covariance: float = 0.0
    group: str = ""
    target_law: CoefficientLaw | None = None

    def __post_init__(self) -> None:
        for name in ("weight", "source_mean", "source_var", "target_mean", "target_var"):
            check_parameter(getattr(self, name), name)
        most = math.sqrt(self.source_var) * math.sqrt(self.target_var)
        check_real(self.covariance, "covariance", low=-most, high=most)
        if self.target_law is not None:
            check_kind(self.target_law, "target_law", CoefficientLaw)
            for name in ("target_mean", "target_var", "covariance"):
                if getattr(self, name):
                    raise ValueError(
                        f"target_law replaces {name}, which must be 0, got {getattr(self, name)}"
                    )

    def target_second_moment(self) -> float:
        """Mean square of the target coefficient."""
        law = self.target_law
        mean, var = (self.target_mean, self.target_var) if law is None else (law.mean, law.variance)
        return mean**2 + var


def laplace_components(
    target_var: float,
    *,
    weight: float = 1.0,
    source_mean: float = 0.0,
    source_var: float = 0.0,
    n_components: int = 60,
    group: str = "",
) -> tuple[Component, ...]:
    r"""Laplace law of a target coefficient as a sum of Gaussian components.

    A Laplace variable of variance v is Gaussian with a variance of exponential law and mean v. The
    average over it is a trapezoidal sum over the logarithm of the variance, whose error falls as
    :math:`\exp(-\pi\sqrt n)`, uniformly in the noise that is added (derived here:
    `derivations/diagonal#laplace-laws`).

    Parameters
    ----------
    target_var : float
        Variance of the coefficient, positive: twice the square of the scale of a Laplace law.
    weight : float, default=1.0
        Probability of all these components together.
    source_mean, source_var : float, default=0.0
        Law of the source coefficient, Gaussian and independent of the target's.
    n_components : int, default=60
        Number of components, from 10.
    group : str, default=""
        Errors are reported for each group.

    Returns
    -------
    tuple of Component
        To be joined with others, so that all weights sum to one.

    Raises
    ------
    ValueError
        If a value is outside its domain.

    See Also
    --------
    laplace_law, Component, DiagonalModel

    Examples
    --------
    >>> from retemper.diagonal import Component, DiagonalModel, laplace_components, solve
    >>> law = laplace_components(10.0, weight=0.1) + (Component(weight=0.9),)
    >>> solve(DiagonalModel(0.3, components=law, mode="scratch")).status
    <Status.CONVERGED: 'converged'>
    """
    var = check_real(target_var, "target_var", low=0.0, open_low=True)
    whole = check_parameter(weight, "weight")
    steps = check_integer(n_components, "n_components", low=10) - 1
    high = 3.7  # exp(-exp(3.7)) is below 1e-17
    # equal errors by the step h, exp(-pi^2 / h), and by the cut at exp(-low)
    low = 0.5 * (math.sqrt(high**2 + 4.0 * steps * math.pi**2) - high)
    sizes = [math.exp(-low + (low + high) * k / steps) for k in range(steps + 1)]
    shares = [size * math.exp(-size) for size in sizes]
    total = math.fsum(shares)
    return tuple(
        Component(
            weight=whole * share / total,
            source_mean=source_mean,
            source_var=source_var,
            target_var=var * size,
            group=group,
        )
        for size, share in zip(sizes, shares, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class DiagonalModel:
    """Pre-training and fine-tuning of a diagonal linear network on Gaussian data.

    The design has independent N(0, 1/D) entries, or a ``spectrum``; labels are
    ``X @ target + noise * N(0, 1)``. A coefficient is active in the source task with probability
    ``rho_pt``, where it equals ``a_pt``; active target coefficients are N(0, ``var_ft``). Setting
    of Anguita et al. (2026); see `retemper.diagonal` for the conventions.

    Parameters
    ----------
    alpha : float
        Fine-tuning samples per feature, positive.
    rho_pt : float, default=0.1
        Density of the source coefficients, in [0, 1].
    rho_ft : float, default=0.1
        Density of the target coefficients, in (0, 1].
    omega : float, default=0.5
        Share of the active target coefficients that are active in the source, in [0, 1];
        ``omega * rho_ft <= rho_pt`` and ``(1 - omega) * rho_ft <= 1 - rho_pt``.
    a_pt : float, default=1.0
        Size of the active source coefficients, positive.
    var_ft : float or None, default=None
        Variance of the active target coefficients; ``1 / rho_ft`` if None.
    shared : {"independent", "aligned", "opposite"}, default="independent"
        Target coefficients that are active in both tasks: N(0, var_ft), equal to the source
        coefficient, or minus it.
    init_scale : float, default=1e-3
        Scale c of the weights before pre-training, ``w**2 + v**2``, in [1e-300, 1e300]. Zero is
        allowed for a reset after infinite pre-training: without read-out scale it freezes
        the features that are not in the source.
    balance : float, default=0.0
        Relative scale ``(w**2 - v**2) / c`` of the layers before pre-training, in [-1, 1].
    readout_scale : float, default=0.0
        Read-out scale gamma after the reset, ``v+**2 + v-**2 = gamma**2``, non-negative.
    noise : float, default=0.0
        Standard deviation of the label noise in fine-tuning.
    mu : float, default=0.0
        Strength of the explicit penalty; 0 is gradient flow to infinite time.
    mode : {"reset", "warm", "scratch"}, default="reset"
        Re-balance and reset the read-out, keep the pre-trained weights, or forget them.
    alpha_pt : float, default=inf
        Pre-training samples per feature. From 1 on, pre-training is least squares.
    noise_pt : float, default=0.0
        Standard deviation of the label noise in pre-training.
    time_pt : float, default=inf
        Time at which pre-training stops, positive, in the units of `gradient_flow`; finite only
        with a finite ``alpha_pt`` (derived here: `derivations/diagonal#early-stopping`).
    components : tuple of Component or None, default=None
        Any joint law of source and target coefficients; replaces the law described by
        ``rho_pt``, ``rho_ft``, ``omega``, ``a_pt``, ``var_ft`` and ``shared``.
    rebalance : {"sum", "mean", "none"}, default="sum"
        Whether the reset sets both first-layer weights of a feature to their sum, to their mean, or
        keeps them apart; see `finetune_scale`.
    spectrum : sequence of float or None, default=None
        Eigenvalues of D times the covariance of a row, positive and each of the same weight; the
        eigenvectors are a random rotation (derived here:
        `derivations/diagonal#correlated-designs`). Independent columns of variance 1/D if None.
        Pre-training must then be exact: ``alpha_pt`` at least 1 and no ``noise_pt``.
    depth : int, default=2
        Layers of the network, up to 1000 (derived here: `derivations/diagonal#deeper-networks`).
        Above two all layers start alike, so that ``balance`` is 0, ``init_scale`` is
        twice the product of the weights of a pathway, and the mode is "scratch" or "warm".
    label_noise : float, default=0.0
        Standard deviation of noise that every label gets anew in every step of fine-tuning, by
        descent on all rows; it lowers the scales (derived here:
        `derivations/diagonal#noise-of-stochastic-gradients`). Needs ``step_size`` and ``n_steps``,
        two layers and ``mu = 0``.
    step_size : float or None, default=None
        Step of that descent; None is gradient flow.
    n_steps : int, default=0
        Steps with noise; gradient flow follows to its end.
    rho_shared : float or None, default=None
        Instead of ``omega`` and ``rho_ft``: probability that a source-active coefficient is active
        in the target.
    rho_new : float or None, default=None
        The same for a source-inactive coefficient. One of the two alone changes only that group.

    Raises
    ------
    ValueError
        If a parameter is outside its domain, or the densities contradict each other.

    See Also
    --------
    solve, simulate, compare, curve

    References
    ----------
    .. [1] N. Anguita, F. Locatello, A. M. Saxe, M. Mondelli, F. Mancini, S. Lippl, C. Dominé,
       "A Theory of How Pretraining Shapes Inductive Bias in Fine-Tuning", arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel
    >>> DiagonalModel(0.2, rho_shared=0.5, rho_new=0.0).rho_ft
    0.05
    """

    alpha: float
    _: dataclasses.KW_ONLY
    rho_pt: float = 0.1
    rho_ft: float = 0.1
    omega: float = 0.5
    a_pt: float = 1.0
    var_ft: float | None = None
    shared: Shared = "independent"
    init_scale: float = 1e-3
    balance: float = 0.0
    readout_scale: float = 0.0
    noise: float = 0.0
    mu: float = 0.0
    mode: Mode = "reset"
    alpha_pt: float = math.inf
    noise_pt: float = 0.0
    time_pt: float = math.inf
    components: tuple[Component, ...] | None = None
    rebalance: Rebalance = "sum"
    spectrum: Sequence[float] | FloatArray | None = None
    depth: int = 2
    label_noise: float = 0.0
    step_size: float | None = None
    n_steps: int = 0
    rho_shared: dataclasses.InitVar[float | None] = None
    rho_new: dataclasses.InitVar[float | None] = None

    def __post_init__(self, rho_shared: float | None, rho_new: float | None) -> None:
        for name in ("alpha", "balance", "readout_scale", "noise", "mu", "alpha_pt", "noise_pt",
                     "time_pt"):  # fmt: skip
            check_parameter(getattr(self, name), name)
        check_choice(self.mode, "mode", ("reset", "warm", "scratch"))
        check_choice(self.rebalance, "rebalance", REBALANCES)
        if check_depth(self.depth) > 2:
            self._check_deep()
        self._check_steps()
        exact = self.mode == "reset" and math.isinf(self.alpha_pt)
        if not (exact and self.init_scale == 0.0):
            check_real(self.init_scale, "init_scale", low=1e-300, high=1e300)
        stops = math.isfinite(self.time_pt)
        if stops and math.isinf(self.alpha_pt):
            raise ValueError(
                f"time_pt = {self.time_pt:g} needs a finite alpha_pt: with more rows coefficients "
                "move faster, and with infinitely many at once"
            )
        if self.alpha_pt == 1.0 and self.noise_pt > 0.0 and not stops:
            raise ValueError("alpha_pt must differ from 1 with noise_pt > 0: the error diverges")
        if self.spectrum is not None:
            self._check_spectrum()
        if self.components is not None:
            self._check_components()
            return
        check_parameter(self.rho_pt, "rho_pt")
        if rho_shared is not None or rho_new is not None:
            shared = self.p_shared if rho_shared is None else rho_shared
            new = self.p_new if rho_new is None else rho_new
            check_parameter(shared, "rho_shared")
            check_parameter(new, "rho_new")
            both = self.rho_pt * shared
            if both + (1.0 - self.rho_pt) * new < 1e-300:
                raise ValueError(
                    f"rho_shared and rho_new must leave a non-zero target, got {shared} and {new}"
                )
            object.__setattr__(self, "rho_ft", both + (1.0 - self.rho_pt) * new)
            object.__setattr__(self, "omega", both / self.rho_ft)
        for name in ("rho_ft", "omega", "a_pt", "shared"):
            check_parameter(getattr(self, name), name)
        if self.var_ft is not None:
            check_parameter(self.var_ft, "var_ft")
        slack = 1e-12
        if self.omega * self.rho_ft > self.rho_pt + slack:
            raise ValueError(
                f"omega * rho_ft = {self.omega * self.rho_ft:g} exceeds rho_pt = {self.rho_pt:g}: "
                "more coefficients would be shared than the source has"
            )
        if (1.0 - self.omega) * self.rho_ft > 1.0 - self.rho_pt + slack:
            raise ValueError(
                f"(1 - omega) * rho_ft = {(1.0 - self.omega) * self.rho_ft:g} exceeds 1 - rho_pt "
                f"= {1.0 - self.rho_pt:g}: more coefficients would be new than are free"
            )

    def _check_deep(self) -> None:
        if self.mode == "reset":
            raise ValueError(
                f"mode must be 'scratch' or 'warm' at depth = {self.depth}: after a reset the "
                "layers differ, and the penalty of layers that differ has no closed form"
            )
        if self.balance != 0.0:
            raise ValueError(
                f"balance must be 0 at depth = {self.depth}: the penalty of layers that start "
                f"apart has no closed form, got {self.balance:g}"
            )

    def _check_steps(self) -> None:
        check_parameter(self.label_noise, "label_noise")
        if self.step_size is not None:
            check_parameter(self.step_size, "step_size")
        check_integer(self.n_steps, "n_steps", low=0)
        if not self.label_noise:
            return
        if self.step_size is None or not self.n_steps:
            raise ValueError(
                f"label_noise = {self.label_noise:g} needs step_size and n_steps, got "
                f"{self.step_size} and {self.n_steps}"
            )
        for name, plain in {"depth": 2, "mu": 0.0}.items():
            if getattr(self, name) != plain:
                raise ValueError(
                    f"label_noise needs {name} = {plain:g}: what noise does otherwise has no "
                    f"closed form, got {getattr(self, name):g}"
                )

    def _check_spectrum(self) -> None:
        assert self.spectrum is not None
        values = as_float_array(self.spectrum, "spectrum", ndim=1)
        if values.size == 0 or not (values.min() >= 1e-100 and values.max() <= 1e100):
            raise ValueError(
                "spectrum must have positive eigenvalues, from 1e-100 to 1e100, got "
                f"{self.spectrum!r}"[:200]
            )
        object.__setattr__(self, "spectrum", tuple(np.sort(values).tolist()))
        if not self.source_is_exact:
            raise ValueError(
                "spectrum needs exact pre-training: a source from few or noisy rows depends on the "
                f"eigenvectors, got alpha_pt={self.alpha_pt:g}, noise_pt={self.noise_pt:g} and "
                f"time_pt={self.time_pt:g}"
            )

    def _check_components(self) -> None:
        parts = self.components
        if not isinstance(parts, tuple) or not all(isinstance(p, Component) for p in parts):
            raise TypeError("components must be a tuple of Component")
        total = math.fsum(p.weight for p in parts)
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"the weights of components must sum to 1, got {total:.12g}")

    @property
    def source_is_exact(self) -> bool:
        """Whether pre-training ends at the coefficients of the source task."""
        return self.alpha_pt >= 1.0 and not self.noise_pt and math.isinf(self.time_pt)

    @property
    def p_shared(self) -> float:
        """Probability that a source-active coefficient is active in the target."""
        return min(1.0, self.omega * self.rho_ft / self.rho_pt) if self.rho_pt else 0.0

    @property
    def p_new(self) -> float:
        """Probability that a source-inactive coefficient is active in the target."""
        rest = 1.0 - self.rho_pt
        return min(1.0, (1.0 - self.omega) * self.rho_ft / rest) if rest else 0.0

    def law(self) -> tuple[Component, ...]:
        """Components of the joint law of source and target coefficients."""
        if self.components is not None:
            return self.components
        var = 1.0 / self.rho_ft if self.var_ft is None else self.var_ft
        a, active, shared, new = self.a_pt, self.rho_pt, self.p_shared, self.p_new
        sign = {"independent": 0.0, "aligned": 1.0, "opposite": -1.0}[self.shared]
        same = Component(
            weight=active * shared,
            source_mean=a,
            target_mean=sign * a,
            target_var=0.0 if sign else var,
            group=GROUPS[0],
        )
        parts = (
            same,
            Component(weight=active * (1.0 - shared), source_mean=a, group=GROUPS[1]),
            Component(weight=(1.0 - active) * new, target_var=var, group=GROUPS[2]),
            Component(weight=(1.0 - active) * (1.0 - new), group=GROUPS[3]),
        )
        return tuple(p for p in parts if p.weight > 0.0)


def check_plain(model: DiagonalModel, purpose: str, *names: str) -> None:
    """Raise ValueError if one of these parameters has not its plain value."""
    check_kind(model, "model", DiagonalModel)
    for name in names:
        if getattr(model, name) != _PLAIN[name]:
            raise ValueError(
                f"model must have {name} = {_PLAIN[name]} for {purpose}, "
                f"got {getattr(model, name)!r:.60}"
            )
