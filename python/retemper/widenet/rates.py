"""Signs of outputs: probabilities and shares of wrong ones, of a random target network."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from retemper._validation import FloatArray
from retemper.widenet.chains import are_signs
from retemper.widenet.target import Parts, Target

__all__ = ["loo_error_rate", "positive", "wrong_share"]


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


def loo_error_rate(target: Target) -> float | None:
    """The same for every target sample, left out."""
    y = target.equations.y
    return wrong_share(target.loo._replace(mean=y - target.loo.mean), y)
