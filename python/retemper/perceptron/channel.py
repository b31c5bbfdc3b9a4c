"""What one row says about its field: likelihood, score and moments of the channels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._threads import effective_n_threads
from retemper._validation import as_float_array, check_choice, check_real
from retemper.perceptron.model import row_law

__all__ = ["channel_score", "hermite_moments"]


def channel_score(
    omega: ArrayLike,
    V: ArrayLike,
    *,
    kind: Literal["unlabelled", "labelled"] = "unlabelled",
    kappa: float,
    sigma: float = 0.0,
    eta: float = 0.0,
    n_jobs: int | None = None,
) -> tuple[Any, Any, Any]:
    r"""Likelihood of one row given its cavity field, and its derivatives.

    Parameters
    ----------
    omega : array_like
        Cavity fields; for labelled rows times the label. Dimensionless.
    V : array_like
        Posterior variances of the field, in (0, 1]. Broadcast against ``omega``.
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
    log_w, g, dg : ndarray or float
        :math:`\ln\bar W`, :math:`\partial_\omega \ln\bar W` and
        :math:`\partial^2_\omega \ln\bar W`.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    Notes
    -----
    Derived here. Written as a posterior over the two sides, so that no digits cancel and nothing
    underflows.

    Examples
    --------
    >>> from retemper.perceptron import channel_score
    >>> log_w, g, dg = channel_score(0.1, 1e-4, kappa=0.5)
    >>> round(float(g), 5)
    4002.49688
    """
    check_choice(kind, "kind", ("unlabelled", "labelled"))
    field = as_float_array(omega, "omega", ndim=tuple(range(33)))
    variance = as_float_array(V, "V", ndim=tuple(range(33)))
    is_unlabelled = kind == "unlabelled"
    high = 1.0 if is_unlabelled else 0.5
    eta = check_real(eta, "eta", low=0, high=high, open_high=True)
    law = row_law(
        kappa=check_real(kappa, "kappa", low=0, high=30),
        sigma=check_real(sigma, "sigma", low=0, high=1e6),
        eta_u=eta if is_unlabelled else 0.0,
        eta_l=0.0 if is_unlabelled else eta,
    )
    if variance.size and not (variance.min() > 0 and variance.max() <= 1):
        raise ValueError(f"V must lie in (0, 1], got {variance.min()} to {variance.max()}")
    if variance.size != 1:
        field, variance = np.broadcast_arrays(field, variance)
    kinds = core.perceptron.RowKind
    scores = core.perceptron.channel_score(
        law,
        kinds.unlabelled if is_unlabelled else kinds.positive,
        np.ascontiguousarray(field).reshape(-1),
        np.ascontiguousarray(variance).reshape(-1),
        effective_n_threads(n_jobs),
    )
    if field.ndim == 0:
        return tuple(float(s[0]) for s in scores)  # type: ignore[return-value]
    return tuple(s.reshape(field.shape) for s in scores)  # type: ignore[return-value]


def hermite_moments(law: Any, kind: Any) -> tuple[float, float]:
    """First two Hermite coefficients of a kind of row: E h and E h**2 - 1."""
    _, g, dg = core.perceptron.channel_score(law, kind, np.zeros(1), np.ones(1), 1)
    return float(g[0]), float(dg[0] + g[0] ** 2)
