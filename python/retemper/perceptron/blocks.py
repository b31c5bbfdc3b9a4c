"""Weights of one law at several scales: what correlated features make of a prior.

In coordinates in which the rows are white, the weights of a block of features are those of the
prior times one scale. Directions of their own are learned exactly; what the features do not see of
the teacher's field is noise on it.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from retemper._validation import FloatArray
from retemper.perceptron.covariates import Covariates
from retemper.perceptron.weight_prior import Posterior, Prior, PriorCurve, posterior, prior_curve

__all__ = ["Weights", "posterior_of", "scaled", "weights_of"]

#: Precisions at which a prior is integrated together.
_TOGETHER = 2000


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights in blocks, in coordinates in which the rows are white.

    Parameters
    ----------
    prior : Prior
        Law of a weight over the scale of its block.
    share : ndarray of shape (n_blocks,)
        Features of each block, over all.
    scale : ndarray of shape (n_blocks,)
        Their scales, positive.
    known : float
        Variance of the field along single directions.
    unseen : float
        Variance of the field that no feature sees.
    """

    prior: Prior
    share: FloatArray
    scale: FloatArray
    known: float = 0.0
    unseen: float = 0.0

    @functools.cached_property
    def power(self) -> FloatArray:
        """Squared scales."""
        return self.scale**2

    @functools.cached_property
    def mean_square(self) -> float:
        """What the means of the weights make of the field's variance."""
        return self.prior.mean**2 * float(self.share @ self.power)

    @functools.cached_property
    def variance(self) -> float:
        """Variance of the field from weights that are to be learned."""
        own = self.prior.second_moment - self.prior.mean**2
        return own * float(self.share @ self.power)

    @functools.cached_property
    def start_q(self) -> float:
        """What is known before any label."""
        return self.mean_square + self.known

    @functools.cached_property
    def second_moment(self) -> float:
        """Variance of the field."""
        return self.start_q + self.variance + self.unseen

    @functools.cached_property
    def first_slope(self) -> float:
        """Slope of q(b) at b = 0."""
        own = self.prior.second_moment - self.prior.mean**2
        return own**2 * float(self.share @ self.power**2)

    def curve(self, b: FloatArray) -> PriorCurve:
        """Overlap, variance left, slope and information, for every precision of the fields."""
        b = np.atleast_1d(np.asarray(b, dtype=np.float64))
        if self.power.size == 1 and self.power[0] == self.share[0] == 1 and not self.known:
            return prior_curve(self.prior, b)
        if not self.power.size:
            zero = np.zeros_like(b)
            return PriorCurve(zero + self.known, zero, zero, zero)
        at = (b[:, None] * self.power).reshape(-1)
        parts = [
            prior_curve(self.prior, at[i : i + _TOGETHER]) for i in range(0, at.size, _TOGETHER)
        ]
        shape = (b.size, self.power.size)
        q, V, dq, information = (np.concatenate(p).reshape(shape) for p in zip(*parts, strict=True))
        each = self.share * self.power
        return PriorCurve(
            q @ each + self.known, V @ each, dq @ (each * self.power), information @ self.share
        )


def scaled(prior: Prior, scale: float) -> Prior:
    """Law of a weight times a factor, which may be 0."""
    name = prior.name if prior.name == "laplace" and scale else "mixture"
    if not scale:
        return Prior(name, (1.0,), (0.0,), (0.0,))
    return Prior(
        name,
        prior.weights,
        tuple(scale * m for m in prior.means),
        tuple(scale * scale * v for v in prior.variances),
    )


def posterior_of(prior: Prior, scale: FloatArray, r: FloatArray, b: float) -> Posterior:
    """What observations of weights times ``scale * sqrt(b)`` say; noise of variance one."""
    at = posterior(prior, r, b * scale**2)
    return Posterior(at.log_density, scale * at.mean, scale**2 * at.variance)


def weights_of(prior: Prior, covariates: Covariates | None) -> Weights:
    """Weights of a prior on white features, or with correlated ones."""
    if covariates is None:
        return Weights(prior, np.ones(1), np.ones(1))
    law, share, alignment = (
        np.asarray(v) for v in (covariates.spectrum, covariates.multiplicity, covariates.alignment)
    )
    power = alignment / law
    live = (share > 0) & (power > 0)
    unseen = covariates.variance - covariates.seen
    return Weights(
        prior,
        share[live],
        np.sqrt(power[live] / (share[live] * prior.second_moment)),
        known=float(power[share == 0].sum()),
        unseen=unseen if unseen > 1e-12 * covariates.variance else 0.0,
    )
