"""The control parameters of the margin perceptron."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Literal

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._results import Status
from retemper._validation import check_kind

#: Marks rows without a label, as in scikit-learn's semi-supervised classifiers.
UNLABELLED = -1

ChannelName = Literal["margin", "cluster"]
PriorName = Literal["sphere", "binary"]


@dataclasses.dataclass(frozen=True)
class PerceptronModel:
    """Rows with a margin along a hidden direction, few of them labelled.

    The rows are standard Gaussian except along the true direction ``w`` with
    ``|w|**2 = n_features``: the density of ``h = x @ w / sqrt(n_features)`` is cut inside
    ``|h| < kappa_true``. The student assumes the margin ``kappa``.

    Parameters
    ----------
    kappa : float
        Margin the student assumes, in [0, 30], in units of the standard deviation of a feature.
    alpha_u, alpha_l : float
        Unlabelled and labelled rows per feature, at least 0.
    kappa_true : float or None, default=None
        Margin of the data; None for ``kappa``, the Bayes-optimal case.
    sigma : float, default=0.0
        Softness: the margin acts on ``h`` plus normal noise of this standard deviation.
    eta_u : float, default=0.0
        Share of unlabelled rows without a margin, in [0, 1).
    eta_l : float, default=0.0
        Probability that a label is flipped, in [0, 0.5).
    channel : {"margin", "cluster"}, default="margin"
        "cluster": two Gaussian clusters of unit width at ``+-cluster_mean`` along the direction
        instead.
    cluster_mean : float, default=0.0
        Half the distance of the clusters, in [0, 20]; for ``channel="cluster"`` only.
    prior : {"sphere", "binary"}, default="sphere"
        Weights uniform on the sphere, or independent and +-1.

    Raises
    ------
    ValueError
        If a parameter is outside its domain, or a combination has no theory.
    TypeError
        If a parameter is not a number.

    See Also
    --------
    solve, simulate, compare, curve

    Notes
    -----
    After Ohzeki (2015) [1]_, whose body could not be read: the model class is reconstructed, and
    everything about it derived here (`derivations/perceptron#likelihood-of-a-row`).

    References
    ----------
    .. [1] M. Ohzeki, "Statistical-mechanical analysis of pre-training and fine tuning in deep
       learning", J. Phys. Soc. Jpn. 84 (2015) 034003.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, solve
    >>> model = PerceptronModel(kappa=1.0, alpha_u=1.0, alpha_l=0.1)
    >>> round(solve(model).q, 6)
    0.78361
    """

    kappa: float
    alpha_u: float
    alpha_l: float = 0.0
    _: dataclasses.KW_ONLY
    kappa_true: float | None = None
    sigma: float = 0.0
    eta_u: float = 0.0
    eta_l: float = 0.0
    channel: ChannelName = "margin"
    cluster_mean: float = 0.0
    prior: PriorName = "sphere"

    def __post_init__(self) -> None:
        words = ("kappa", "alpha_u", "alpha_l", "sigma", "eta_u", "eta_l", "cluster_mean")
        values = {name: check_parameter(getattr(self, name), name) for name in words}
        check_parameter(self.channel, "channel")
        check_parameter(self.prior, "prior")
        if self.kappa_true is not None:
            values["kappa_true"] = check_parameter(self.kappa_true, "kappa_true")
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.channel == "cluster":
            used = [name for name in ("eta_l", "eta_u", "sigma") if getattr(self, name)]
            used += ["kappa_true"] if self.kappa_true is not None else []
            if used:
                names = ", ".join(used)
                raise ValueError(f"channel='cluster' takes cluster_mean alone; leave out {names}")
        elif self.cluster_mean:
            raise ValueError(
                f"cluster_mean belongs to channel='cluster', got cluster_mean={self.cluster_mean}"
            )
        if self.prior == "binary" and not self.is_matched:
            raise ValueError("prior='binary' has a theory for kappa_true == kappa only")

    @property
    def is_matched(self) -> bool:
        """Whether the student knows the law of the data (the Bayes-optimal case)."""
        return self.kappa_true is None or self.kappa_true == self.kappa

    @property
    def true_margin(self) -> float:
        """Margin of the data."""
        return self.kappa if self.kappa_true is None else self.kappa_true

    @property
    def kappa_bar(self) -> float:
        """Margin of the data relative to its softness, ``kappa_true / sqrt(1 + sigma**2)``."""
        return self.true_margin / math.sqrt(1 + self.sigma**2)


def row_law(
    *,
    kappa: float = 0.0,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    cluster_mean: float = 0.0,
    offset: float = 0.0,
    channel: ChannelName = "margin",
    is_centred: bool = False,
) -> Any:
    """The core's description of the law of the rows."""
    return core.perceptron.RowLaw(
        law=core.perceptron.Law[channel],
        kappa=kappa,
        sigma=sigma,
        eta_u=eta_u,
        eta_l=eta_l,
        cluster_mean=cluster_mean,
        offset=offset,
        is_centred=is_centred,
    )


def laws_of(model: PerceptronModel) -> tuple[Any, Any]:
    """Laws the student assumes and the data follow."""
    check_kind(model, "model", PerceptronModel)
    shared: dict[str, Any] = {
        "sigma": model.sigma,
        "eta_u": model.eta_u,
        "eta_l": model.eta_l,
        "cluster_mean": model.cluster_mean,
        "channel": model.channel,
    }
    return row_law(kappa=model.kappa, **shared), row_law(kappa=model.true_margin, **shared)


def prior_of(model: PerceptronModel) -> Any:
    """The core's name of the prior."""
    return core.perceptron.Prior[model.prior]


def worst_status(names: Iterable[str]) -> Status:
    """Worst of the statuses that the core names."""
    return max(map(Status, names), key=tuple(Status).index)
