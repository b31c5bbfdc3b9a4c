"""Signs of outputs: probabilities and shares of wrong ones, of a random target network."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr, ndtr

from retemper._validation import FloatArray
from retemper.widenet.by_law import LawTarget
from retemper.widenet.chains import are_signs
from retemper.widenet.deep import DeepTarget
from retemper.widenet.elastic import ElasticTarget
from retemper.widenet.target import Parts, Target

__all__ = ["loo_error_rate", "positive", "score_scale", "wrong_share"]

#: Standard deviation of log scale before any label is seen: it keeps the scale of few or separable
#: labels near one.
_PRIOR_SD = 0.3


def positive(parts: Parts) -> FloatArray:
    """Probability that an output is positive: it is normal over target and source runs."""
    spread = np.sqrt(parts.thermal + parts.quenched)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = parts.mean / spread
    return np.asarray(ndtr(np.where(spread > 0.0, score, np.copysign(np.inf, parts.mean))))


def wrong_share(parts: Parts, y: FloatArray) -> float | None:
    """Mean probability of the wrong sign; None unless labels are -1 and +1."""
    if not are_signs(y):
        return None
    p = positive(parts)
    return float(np.where(y > 0.0, 1.0 - p, p).mean())


def loo_error_rate(target: Target | DeepTarget | ElasticTarget | LawTarget) -> float | None:
    """The same for every target sample, left out."""
    y = target.y if isinstance(target, ElasticTarget) else target.equations.y
    return wrong_share(target.loo._replace(mean=y - target.loo.mean), y)


def score_scale(score: FloatArray, y: FloatArray) -> float:
    """Factor of scores at which leave-one-out labels are most probable.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Leave-one-out mean over standard deviation.
    y : ndarray of shape (n,)
        Labels -1 and +1.

    Returns
    -------
    float
        The maximum of sum log Phi(a y score) - (log a)^2 / (2 s^2), with s = 0.3.
    """

    def cost(x: float) -> float:
        own = float(log_ndtr(np.exp(x) * y * score).sum())
        return 0.5 * (x / _PRIOR_SD) ** 2 - own

    found = minimize_scalar(cost, bounds=(-4.0, 4.0), method="bounded", options={"xatol": 1e-9})
    return float(np.exp(found.x))
