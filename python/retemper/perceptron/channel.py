"""What one row says about its field: likelihood, score and moments of the channels."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._threads import effective_n_threads
from retemper._validation import as_float_array, check_choice
from retemper.perceptron.model import row_law

__all__ = ["ChannelScore", "channel_score"]


class ChannelScore(NamedTuple):
    r"""Likelihood of rows given their cavity fields; see `channel_score`.

    Parameters
    ----------
    log_w : float or ndarray
        :math:`\ln\bar W`, the log likelihood of each row.
    g : float or ndarray
        Its derivative in the mean of the field.
    dg : float or ndarray
        Its second derivative.

    See Also
    --------
    channel_score

    Examples
    --------
    >>> from retemper.perceptron import channel_score
    >>> score = channel_score(0.3, 0.5, kappa=0.5)
    >>> round(float(score.log_w), 6), round(float(score.g), 6)
    (-0.175791, 0.472518)
    """

    log_w: Any
    g: Any
    dg: Any


def channel_score(
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    kind: Literal["unlabelled", "labelled"] = "unlabelled",
    kappa: float,
    sigma: float = 0.0,
    eta: float = 0.0,
    n_jobs: int | None = None,
) -> ChannelScore:
    r"""Likelihood of one row given its cavity field, and its derivatives.

    Parameters
    ----------
    mean : array_like
        Means of the cavity fields; for labelled rows times the label. Dimensionless.
    variance : array_like
        Posterior variances of the fields, in [1e-300, 1]. Broadcast against ``mean``.
    kind : {"unlabelled", "labelled"}, default="unlabelled"
        Two-sided or one-sided margin.
    kappa : float
        Margin, in [0, 30].
    sigma : float, default=0.0
        Softness of the margin.
    eta : float, default=0.0
        Share of background rows (unlabelled, below 1) or of flipped labels (labelled, below 1/2).
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    ChannelScore
        :math:`\ln\bar W` and its first two derivatives in the mean, ``log_w``, ``g`` and ``dg``,
        of the common shape.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    See Also
    --------
    solve, message_passing

    Notes
    -----
    Derived here (`derivations/perceptron#likelihood-of-a-row`). Written as a posterior over the two
    sides, so that no digits cancel and nothing underflows.

    Examples
    --------
    >>> from retemper.perceptron import channel_score
    >>> round(channel_score(0.1, 1e-4, kappa=0.5).g, 5)
    4002.49688
    """
    check_choice(kind, "kind", ("unlabelled", "labelled"))
    field = as_float_array(mean, "mean", ndim=tuple(range(33)))
    spread = as_float_array(variance, "variance", ndim=tuple(range(33)))
    is_unlabelled = kind == "unlabelled"
    eta = check_parameter(eta, "eta_u" if is_unlabelled else "eta_l", label="eta")
    law = row_law(
        kappa=check_parameter(kappa, "kappa"),
        sigma=check_parameter(sigma, "sigma"),
        eta_u=eta if is_unlabelled else 0.0,
        eta_l=0.0 if is_unlabelled else eta,
    )
    if spread.size and not (spread.min() >= 1e-300 and spread.max() <= 1):
        raise ValueError(f"variance must lie in [1e-300, 1], got {spread.min()} to {spread.max()}")
    if spread.size != 1:
        field, spread = np.broadcast_arrays(field, spread)
    kinds = core.perceptron.RowKind
    scores = core.perceptron.channel_score(
        law,
        kinds.unlabelled if is_unlabelled else kinds.positive,
        np.ascontiguousarray(field).reshape(-1),
        np.ascontiguousarray(spread).reshape(-1),
        effective_n_threads(n_jobs),
    )
    parts = (scores.log_w, scores.g, scores.dg)
    if field.ndim == 0:
        return ChannelScore(*(float(part[0]) for part in parts))
    return ChannelScore(*(part.reshape(field.shape) for part in parts))
