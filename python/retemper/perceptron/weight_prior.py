"""Laws of independent weights, and the scalar Gaussian channel through which data show them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcx, log_ndtr

from retemper._validation import LARGEST, FloatArray, as_float_array, check_choice, check_real
from retemper.perceptron.panels import RADII

__all__ = [
    "PRIORS",
    "Prior",
    "PriorCurve",
    "as_prior",
    "observation_rule",
    "posterior",
    "prior_curve",
]

#: Priors of the catalogue.
PRIORS = ("gaussian", "sphere", "binary", "sparse", "laplace")

_STANDARD = ((1.0,), (0.0,), (1.0,))
#: Parts of names whose parts are not those.
_NAMED = {
    "binary": ((0.5, 0.5), (-1.0, 1.0), (0.0, 0.0)),
    "sparse": ((0.9, 0.1), (0.0, 0.0), (0.0, 1.0)),
}

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(16)
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
#: Where panels break around a place of scale one.
_BASE = np.linspace(-9.0, 9.0, 7)


@dataclasses.dataclass(frozen=True, repr=False)
class Prior:
    """Law of one weight: a mixture of points and Gaussians, or Laplace.

    Made by `Prior.sparse`, `Prior.laplace` and `Prior.mixture`; the names "gaussian", "sphere",
    "binary", "sparse" and "laplace" stand for the usual ones, all but "sparse" of variance one.

    Parameters
    ----------
    name : str
        Its name.
    weights, means, variances : tuple of float
        Probability, mean and variance of every part; a point has variance 0. Left out, they are
        those of the name.

    Raises
    ------
    ValueError
        If the parts differ in length, probabilities do not add up to 1, a number is not finite, or
        the parts are not those of the name.
    TypeError
        If the name is no text or a part no number.

    See Also
    --------
    Channel, GLMModel

    Notes
    -----
    Derived here (`derivations/perceptron#any-channel-and-prior`). A posterior mean is a mixture of
    those of the parts.

    Examples
    --------
    >>> from retemper.perceptron import Prior
    >>> Prior.mixture([0.5, 0.5], [-1.0, 1.0], [0.0, 0.25]).second_moment
    1.125
    """

    name: str
    weights: tuple[float, ...] = (1.0,)
    means: tuple[float, ...] = (0.0,)
    variances: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(
                f"name must be a text, got {self.name!r:.60}: Prior.mixture takes weights, means "
                "and variances"
            )
        given = self.weights, self.means, self.variances
        if given == _STANDARD:
            given = _NAMED.get(self.name, given)
        p, m, v = (
            as_float_array(x, name)
            for x, name in zip(given, ("weights", "means", "variances"), strict=True)
        )
        if not p.size or not p.size == m.size == v.size:
            raise ValueError(
                f"weights, means and variances must have one entry for every part, got {p.size}, "
                f"{m.size} and {v.size}"
            )
        if p.min() < 0 or abs(p.sum() - 1) > 1e-9:
            raise ValueError(f"weights must be at least 0 and add up to 1, got {p.tolist()}")
        if v.min() < 0:
            raise ValueError(f"variances must be at least 0, got {v.tolist()}")
        parts = (p[p > 0] / p.sum(), m[p > 0], v[p > 0])
        for name, part in zip(("weights", "means", "variances"), parts, strict=True):
            object.__setattr__(self, name, tuple(part.tolist()))
        own = self.weights, self.means, self.variances
        if self.name in ("gaussian", "sphere") and own != _STANDARD:
            raise ValueError(
                f"name={self.name!r} has one part of mean 0 and variance 1, got {own}: take "
                "Prior.mixture"
            )
        if self.name == "laplace" and (own[:2] != _STANDARD[:2]):
            raise ValueError(
                f"name='laplace' has one part of mean 0, got {own}: take Prior.laplace"
            )

    def check_spread(self, name: str) -> None:
        """Raise ValueError, naming the argument, if nothing varies."""
        mean = self.mean
        spread = math.fsum(
            p * (v + (m - mean) ** 2)
            for p, m, v in zip(self.weights, self.means, self.variances, strict=True)
        )
        if not spread > 1e-12 * max(self.second_moment, 1e-300):
            raise ValueError(
                f"{name} must have a variance, got weights that are {mean:g} for certain"
            )

    def __repr__(self) -> str:
        if self.name in ("gaussian", "sphere", "binary", "laplace"):
            return f"Prior({self.name!r})"
        parts = zip(self.weights, self.means, self.variances, strict=True)
        return f"Prior({', '.join(f'{p:g} x N({m:g}, {v:g})' for p, m, v in parts)})"

    @classmethod
    def mixture(cls, weights: ArrayLike, means: ArrayLike, variances: ArrayLike) -> Prior:
        """Any mixture of points and Gaussians.

        Parameters
        ----------
        weights : array_like of shape (n_parts,)
            Probabilities; they add up to 1.
        means : array_like of shape (n_parts,)
            Means.
        variances : array_like of shape (n_parts,)
            Variances; 0 is a point.

        Returns
        -------
        Prior
            The law.

        Raises
        ------
        ValueError
            If the parts differ in length, probabilities do not add up to 1, or nothing varies.
        """
        parts = (
            tuple(as_float_array(x, name).tolist())
            for x, name in ((weights, "weights"), (means, "means"), (variances, "variances"))
        )
        made = cls("mixture", *parts)
        made.check_spread("the prior")
        return made

    @classmethod
    def sparse(cls, density: float = 0.1, *, variance: float = 1.0) -> Prior:
        """Zero, or Gaussian with a small probability (Gauss-Bernoulli).

        Parameters
        ----------
        density : float, default=0.1
            Probability of a weight that is not zero, in (0, 1].
        variance : float, default=1.0
            Its variance.

        Returns
        -------
        Prior
            The law, of second moment ``density * variance``.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        density = check_real(density, "density", low=0, high=1, open_low=True)
        variance = check_real(variance, "variance", low=0, open_low=True, high=LARGEST)
        if density * variance < 1e-300:
            raise ValueError(
                "density times variance must be at least 1e-300, got density "
                f"{density:g} and variance {variance:g}"
            )
        parts = cls.mixture([1 - density, density], [0.0, 0.0], [0.0, variance])
        return dataclasses.replace(parts, name="sparse")

    @classmethod
    def laplace(cls, *, variance: float = 1.0) -> Prior:
        """Two-sided exponential weights.

        Parameters
        ----------
        variance : float, default=1.0
            Variance.

        Returns
        -------
        Prior
            The law.

        Raises
        ------
        ValueError
            If the variance is not positive.
        """
        variance = check_real(variance, "variance", low=0, open_low=True)
        return cls("laplace", variances=(variance,))

    @property
    def second_moment(self) -> float:
        """Mean square of a weight: the variance of the field."""
        parts = zip(self.weights, self.means, self.variances, strict=True)
        return math.fsum(p * (m * m + v) for p, m, v in parts)

    @property
    def mean(self) -> float:
        """Mean of a weight."""
        return math.fsum(p * m for p, m in zip(self.weights, self.means, strict=True))

    @property
    def is_even(self) -> bool:
        """Whether a weight and its negative are as likely."""
        parts = list(zip(self.weights, self.means, self.variances, strict=True))
        return sorted(parts) == sorted((p, -m, v) for p, m, v in parts)

    @property
    def is_continuous(self) -> bool:
        """Whether some weights are not points."""
        return max(self.variances) > 0

    def sample(self, n_features: int, random_state: np.random.Generator) -> FloatArray:
        """Weights drawn from the law.

        Parameters
        ----------
        n_features : int
            How many.
        random_state : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray of shape (n_features,)
            The weights.
        """
        if self.name == "laplace":
            scale = math.sqrt(self.variances[0] / 2)
            return random_state.laplace(scale=scale, size=n_features)
        part = random_state.choice(len(self.weights), size=n_features, p=self.weights)
        spread = np.sqrt(self.variances)[part]
        w = np.asarray(self.means)[part] + spread * random_state.normal(size=n_features)
        return w * math.sqrt(n_features / (w @ w)) if self.name == "sphere" else w


class Posterior(NamedTuple):
    """Log density of an observation, and moments of the weight given it."""

    log_density: FloatArray
    mean: FloatArray
    variance: FloatArray


def posterior(prior: Prior, r: FloatArray, b: ArrayLike) -> Posterior:
    """What an observation says: weight times ``sqrt(b)`` plus standard normal noise, r."""
    b = np.asarray(b, dtype=np.float64)
    root = np.sqrt(b)
    if prior.name == "laplace":
        return _laplace_posterior(r, root, math.sqrt(2 / prior.variances[0]))
    logs, means, spreads = [], [], []
    for p, m, v in zip(prior.weights, prior.means, prior.variances, strict=True):
        s2 = 1 + b * v
        gap = r - root * m
        logs.append(math.log(p) - 0.5 * gap**2 / s2 - 0.5 * np.log(s2) - _LOG_ROOT_2PI)
        means.append(m + v * root * gap / s2)
        spreads.append(v / s2)
    return _mix(logs, means, spreads)


def _mix(
    logs: Sequence[FloatArray], means: Sequence[FloatArray], spreads: Sequence[FloatArray]
) -> Posterior:
    if len(logs) == 1:
        return Posterior(logs[0], means[0], np.broadcast_to(spreads[0], np.shape(means[0])))
    top = np.maximum.reduce(logs)
    shares = [np.exp(log - top) for log in logs]
    total = sum(shares[1:], shares[0])
    shares = [share / total for share in shares]
    mean = sum(s * m for s, m in zip(shares, means, strict=True))
    variance = sum(s * v for s, v in zip(shares, spreads, strict=True))
    for i, (s, m) in enumerate(zip(shares, means, strict=True)):  # between parts, pair by pair
        for t, n in zip(shares[i + 1 :], means[i + 1 :], strict=True):
            variance = variance + s * t * (m - n) ** 2
    return Posterior(top + np.log(total), np.asarray(mean), np.asarray(variance))


def _laplace_posterior(r: FloatArray, root: FloatArray, rate: float) -> Posterior:
    """A mixture of two truncated Gaussians, w > 0 and w < 0; `root` is the noise's precision."""
    root = np.maximum(root, 1e-12)
    logs, means, spreads = [], [], []
    for sign in (1.0, -1.0):
        u = sign * r - rate / root  # mean of the untruncated side, in standard deviations
        logs.append(
            math.log(rate / 2) - rate * sign * r / root + 0.5 * (rate / root) ** 2 + log_ndtr(u)
            - np.log(root)
        )  # fmt: skip
        ratio = math.sqrt(2 / math.pi) / erfcx(-u / math.sqrt(2))
        far = u < -60.0
        t = np.where(far, -u, 60.0)
        tail = (1 - 2 / t**2 + 10 / t**4 - 74 / t**6 + 706 / t**8) / t
        mean = np.where(far, tail, u + ratio)
        inside = (1 - 6 / t**2 + 50 / t**4 - 518 / t**6) / t**2
        variance = np.where(far, inside, 1 - ratio * (ratio + u))
        means.append(sign * mean / root)
        spreads.append(variance / root**2)
    return _mix(logs, means, spreads)


class PriorCurve(NamedTuple):
    """What a prior makes of precisions b; see `prior_curve`."""

    q: FloatArray  # mean square of the posterior mean
    V: FloatArray  # posterior variance, second moment - q
    dq: FloatArray  # dq / db
    information: FloatArray  # mutual information of the weight and its observation, nats


def prior_curve(prior: Prior, b: FloatArray) -> PriorCurve:
    """Overlap, variance, slope and information of a scalar observation, for every precision."""
    rho = prior.second_moment
    b = np.atleast_1d(np.asarray(b, dtype=np.float64))
    if prior.name in ("gaussian", "sphere"):
        left = 1 / (1 + b)
        return PriorCurve(b * left, left, left * left, 0.5 * np.log1p(b))
    total = _integrate(prior, b, _parts_of(prior, b))
    q, variance, square, entropy = total
    is_small = q < 0.5 * rho  # the smaller of the two keeps its digits
    q = np.where(is_small, q, np.maximum(rho - variance, 0.0))
    variance = np.where(is_small, rho - q, variance)
    return PriorCurve(q, variance, square, entropy - 0.5 - _LOG_ROOT_2PI)


def _parts_of(prior: Prior, b: FloatArray) -> list[Any]:
    """Panels of the observation for every part: share, centre, scale, edges, reach."""
    root = np.sqrt(b)[:, None]
    if prior.name == "laplace":
        rate = math.sqrt(2 / prior.variances[0])
        places = np.concatenate([np.zeros_like(root), rate / root, -rate / root], axis=1)
        reach = 9.0 + 40.0 * root / rate
        step = np.linspace(-1, 1, 13) ** 3
        edges = [reach * step, places[:, 1:2] * np.ones(7) + RADII, places[:, 2:] + RADII, RADII]
        return [(1.0, np.zeros_like(root), np.ones_like(root), edges, reach)]
    centres = root * np.asarray(prior.means)
    jobs = []
    is_even = prior.is_even
    for k, (p_k, m_k, v) in enumerate(
        zip(prior.weights, prior.means, prior.variances, strict=True)
    ):
        if is_even and m_k < 0:
            continue  # its mirror image stands for both
        share = 2 * p_k if is_even and m_k > 0 else p_k
        scale = np.sqrt(1 + b * v)[:, None]
        edges = [centres[:, k : k + 1] + scale * _BASE]
        for j in range(len(prior.weights)):
            width = np.sqrt(1 + b * prior.variances[j])[:, None]
            if j != k:
                edges.append(centres[:, j : j + 1] + width * RADII)
            for i in range(j):  # where two parts are as likely
                edges.append(0.5 * (centres[:, i : i + 1] + centres[:, j : j + 1]) + RADII)
        jobs.append((share, centres[:, k : k + 1], scale, edges, 9.0 * scale))
    return jobs


def _integrate(prior: Prior, b: FloatArray, jobs: list[Any]) -> tuple[FloatArray, ...]:
    """E mean^2, E Var, E Var^2 and -E ln p, part by part on panels of its own."""
    out = np.zeros((4, b.size))
    for share, centre, scale, edges, reach in jobs:
        cut = np.concatenate([np.broadcast_to(e, (b.size, e.shape[-1])) for e in edges], axis=1)
        cut = np.sort(np.clip(cut, centre - reach, centre + reach), axis=1)
        half = 0.5 * np.diff(cut, axis=1)
        r = (0.5 * (cut[:, 1:] + cut[:, :-1]))[..., None] + half[..., None] * _NODE
        r = r.reshape(b.size, -1)
        weight = (half[..., None] * _WEIGHT).reshape(b.size, -1)
        at = posterior(prior, r, b[:, None])
        if prior.name == "laplace":
            weight = weight * np.exp(at.log_density)
        else:
            z = (r - centre) / scale
            weight = weight * np.exp(-0.5 * z * z - _LOG_ROOT_2PI) / scale
        values = (at.mean**2, at.variance, at.variance**2, -at.log_density)
        for i, value in enumerate(values):
            out[i] += share * np.einsum("ij,ij->i", weight, value)
    return tuple(out)


def as_prior(prior: Prior | str, name: str = "prior") -> Prior:
    """A prior, or the one of that name."""
    if isinstance(prior, Prior):
        prior.check_spread(name)
        return prior
    if not isinstance(prior, str):
        raise TypeError(f"{name} must be a name or a Prior, got {prior!r}")
    check_choice(prior, name, PRIORS)
    return Prior(prior)


def observation_rule(
    prior: Prior, b: float, walls: FloatArray, *, of_even: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of an average over observations of precision b, broken at the walls.

    ``of_even``: what is averaged is even where the prior is, so that half of them will do.
    """
    if prior.name in ("gaussian", "sphere"):
        prior = Prior("mixture")
    nodes, weights = [], []
    for share, centre, scale, edges, reach in _parts_of(prior, np.array([b])):
        cut = np.concatenate([np.broadcast_to(e, (1, e.shape[-1])) for e in edges], axis=1)
        cut = np.append(cut, walls)
        cut = np.unique(np.clip(cut, centre[0] - reach[0], centre[0] + reach[0]))
        half = 0.5 * np.diff(cut)
        r = ((0.5 * (cut[1:] + cut[:-1]))[:, None] + half[:, None] * _NODE).reshape(-1)
        if prior.name == "laplace":
            density = np.exp(posterior(prior, r, b).log_density)
        else:
            density = np.exp(-0.5 * ((r - centre[0]) / scale[0]) ** 2 - _LOG_ROOT_2PI) / scale[0]
        nodes.append(r)
        weights.append(share * (half[:, None] * _WEIGHT).reshape(-1) * density)
    r, weight = np.concatenate(nodes), np.concatenate(weights)
    if (
        prior.is_even and not of_even
    ):  # mirrored parts were left out, and a student need not be even
        r, weight = np.concatenate([r, -r]), np.concatenate([weight, weight]) / 2
    return r, weight
