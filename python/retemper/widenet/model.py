"""The pair of coupled networks: one description shared by theory, simulation and estimators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from retemper._domains import check_parameter
from retemper._validation import check_choice
from retemper.widenet.activations import check_activation

__all__ = ["WideNetModel"]

Activation: TypeAlias = (
    Literal["erf", "relu", "gelu", "linear", "tanh", "silu", "sine", "softplus"]
    | Callable[[Any], Any]
)


@dataclasses.dataclass(frozen=True)
class WideNetModel:
    r"""Two Bayesian networks of finite width, the target pulled towards the source.

    The network is :math:`f(x) = N_1^{-1/2} \sum_i v_i \sigma(w_i \cdot x / \sqrt{N_0})`. The
    source is a draw from :math:`p(W_s, v_s) \propto \exp[-\sum_\mu (y_s^\mu - f_s(x_s^\mu))^2 /
    2 T_s - \lambda_0 \|W_s\|^2 / 2 - \lambda_1 \|v_s\|^2 / 2]`. The target has the same law on its
    own data, times :math:`\exp(-\gamma \|W_t - W_s\|^2 / 2)`: at :math:`\gamma = 0` it is trained
    from scratch, at :math:`\gamma = \infty` on frozen features. The read-out is never copied.
    After Ingrosso et al. (2025) [1]_.

    Parameters
    ----------
    width : float
        Number N1 of hidden units, at least 2; ``inf`` is the Gaussian-process limit.
    activation : str or callable, default="erf"
        The activation :math:`\sigma`: ``"erf"``, ``"relu"``, ``"gelu"``, ``"linear"``, ``"tanh"``,
        ``"silu"`` (swish), ``"sine"``, ``"softplus"``, or a callable that takes and gives an array
        of numbers. It may have kinks and jumps; its square must have a Gaussian average.
    lam0 : float, default=1.0
        Prior precision of the first-layer weights.
    lam1 : float, default=1.0
        Prior precision of the read-out.
    temperature_source, temperature_target : float, default=0.05
        Temperatures: the variance of the label noise of each task. Zero is allowed where the
        kernel is well conditioned.
    gamma : float, default=0.0
        Coupling, in the units of ``lam0``; may be ``inf``.
    lam1_source : float or None, default=None
        Prior precision of the source's read-out; None takes ``lam1``.
    n_hidden_layers : int, default=1
        Number L of hidden layers, all of this width and activation. Layers above the first take
        :math:`h_{l+1} = W_l \sigma(h_l) / \sqrt{N_1}`, with the prior precision ``lam0`` and the
        coupling ``gamma`` of the first. Above one, a coupling needs an odd activation in `solve`.
    heads : {"independent", "shared"}, default="independent"
        Several outputs: a network for each, or one hidden layer that all of them read. `solve`
        takes the second in a one-way coupling for one hidden layer of an odd activation, and
        otherwise for one hidden layer or an odd activation.
    coupling : {"one_way", "elastic"}, default="one_way"
        Whether the source feels the target. ``"one_way"``: the source is a draw from its own
        posterior, and the target is pulled towards it. ``"elastic"``: both networks are one draw
        from the product of all the factors above, so that the target's labels move the source too;
        at infinite ``gamma`` all tasks share one hidden layer, of prior precision ``2 * lam0``, or
        ``(S + 1) * lam0`` for S sources.

    Raises
    ------
    ValueError
        If a value is outside its domain, or a callable activation is not vectorised or not finite.
    TypeError
        If an argument is not a real number.

    See Also
    --------
    solve, gamma_path, simulate, compare

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134
       (2025) 177301.

    Examples
    --------
    >>> from retemper.widenet import WideNetModel
    >>> WideNetModel(200, gamma=1.0).pull
    0.5
    """

    width: float
    activation: Activation = "erf"
    lam0: float = 1.0
    lam1: float = 1.0
    temperature_source: float = 0.05
    temperature_target: float = 0.05
    gamma: float = 0.0
    lam1_source: float | None = None
    n_hidden_layers: int = 1
    heads: Literal["independent", "shared"] = "independent"
    coupling: Literal["one_way", "elastic"] = "one_way"

    def __post_init__(self) -> None:
        """Validate every parameter."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "activation":
                check_activation(value)
            elif field.name == "heads":
                check_choice(value, "heads", ("independent", "shared"))
            elif field.name == "coupling":
                check_choice(value, "coupling", ("one_way", "elastic"))
            elif field.name != "lam1_source" or value is not None:
                object.__setattr__(self, field.name, check_parameter(value, field.name))

    @property
    def pull(self) -> float:
        """The factor gamma / (lam0 + gamma) in front of W_s in the prior mean of W_t."""
        return 1.0 if math.isinf(self.gamma) else self.gamma / (self.lam0 + self.gamma)

    @property
    def var_source(self) -> float:
        """Prior variance of a source weight: smaller where the target pulls it."""
        if self.coupling == "one_way":
            return 1.0 / self.lam0
        return (1.0 - 0.5 * self._pulled) / self.lam0

    @property
    def _pulled(self) -> float:
        """2 gamma / (lam0 + 2 gamma)."""
        return 1.0 if math.isinf(self.gamma) else self.gamma / (0.5 * self.lam0 + self.gamma)

    @property
    def var_off(self) -> float:
        """Prior covariance of a weight between two target runs that share the source."""
        return self.pull**2 * self.var_source

    @property
    def var_diag(self) -> float:
        """Prior variance of a target weight."""
        return self.var_off + 1.0 / (self.lam0 + self.gamma)

    @property
    def inv_lam1_source(self) -> float:
        """Prior variance of a read-out weight of the source."""
        return 1.0 / (self.lam1 if self.lam1_source is None else self.lam1_source)
