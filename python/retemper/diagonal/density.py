"""Laws of a target coefficient that are given by a probability density."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from retemper._validation import FloatArray, as_items, check_real

_OCTAVES = np.arange(-1000, 301)  # places at which mass is looked for, in powers of two
_BELOW = 24  # octaves of grading under the standard deviation
_ORDERS = (10, 18)  # nodes of a panel, coarse and fine: their difference is the error
_DEEPEST = 30  # halvings of a panel that does not settle
_TOL = 1e-12  # of a panel's mass and second moment
_MASS_TOL = 1e-6  # how far from one a density may integrate


class LawAtoms(NamedTuple):
    """Points and probabilities that stand for a law, (K,) each."""

    coef: FloatArray
    share: FloatArray


@dataclasses.dataclass(frozen=True)
class CoefficientLaw:
    """Law of a target coefficient, given by its density.

    Averages over it are sums over Gauss-Legendre panels that are graded towards zero and every
    breakpoint, so that any size of noise is resolved; a panel is halved until its mass and second
    moment settle (derived here: `derivations/diagonal#laws-given-by-a-density`).

    Parameters
    ----------
    pdf : callable
        Probability density: takes an array of coefficients and returns one of the same shape, for
        instance ``scipy.stats.laplace(scale=2).pdf``. It must be non-negative, integrate to one and
        have a variance.
    breakpoints : sequence of float, default=()
        Points at which the density jumps or has a kink, and the places of narrow peaks. Zero is
        always one.

    Raises
    ------
    TypeError
        If ``pdf`` is not callable.
    ValueError
        If the density is NaN, infinite or negative somewhere, does not integrate to one, or has no
        variance.

    See Also
    --------
    laplace_law, student_law, Component

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import CoefficientLaw, Component, DiagonalModel, solve
    >>> uniform = CoefficientLaw(lambda b: 0.5 * (np.abs(b) < 1), breakpoints=(-1, 1))
    >>> round(uniform.variance, 12)
    0.333333333333
    >>> law = (Component(weight=0.2, target_law=uniform), Component(weight=0.8))
    >>> solve(DiagonalModel(0.4, components=law, mode="scratch")).status
    <Status.CONVERGED: 'converged'>
    """

    pdf: Callable[[Any], Any]
    breakpoints: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not callable(self.pdf):
            raise TypeError(f"pdf must be callable, got {self.pdf!r}")
        places = as_items(self.breakpoints, "breakpoints")
        points = tuple(check_real(p, "breakpoints", low=-1e80, high=1e80) for p in places)
        object.__setattr__(self, "breakpoints", points)
        mass, rough = self._mass, self._panels[1]
        if abs(mass - 1.0) > _MASS_TOL:
            raise ValueError(
                f"pdf must integrate to 1, got {mass:.9g}; a density with narrow peaks or jumps "
                "needs their places as breakpoints"
            )
        if rough > _MASS_TOL:
            raise ValueError(
                f"pdf could not be integrated: halving the panels still changes its mass or second "
                f"moment by {rough:.2g}; give the places of its jumps and peaks as breakpoints"
            )

    @functools.cached_property
    def mean(self) -> float:
        """Its mean."""
        at = law_atoms(self)
        return float(at.share @ at.coef)

    @functools.cached_property
    def variance(self) -> float:
        """Its variance."""
        at = law_atoms(self)
        return float(at.share @ (at.coef - self.mean) ** 2)

    def quantile(self, probability: FloatArray) -> FloatArray:
        """Inverse of the distribution function.

        Parameters
        ----------
        probability : ndarray
            In (0, 1).

        Returns
        -------
        ndarray
            Coefficients, by bisection inside a panel.
        """
        edges = self._panels[0]
        at, share = _nodes(edges[:-1], edges[1:], _ORDERS[1])
        mass = (share * self._value(at)).sum(1)
        below = np.concatenate([[0.0], np.cumsum(mass)])
        wanted = np.asarray(probability, dtype=np.float64) * below[-1]
        panel = np.clip(np.searchsorted(below, wanted, side="right") - 1, 0, mass.size - 1)
        low, high = edges[panel], edges[panel + 1]
        start, left = low, wanted - below[panel]
        for _ in range(45):
            middle = 0.5 * (low + high)
            at, share = _nodes(start, middle, _ORDERS[1])
            is_below = (share * self._value(at)).sum(1) < left
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        return np.asarray(0.5 * (low + high))

    def _value(self, coef: FloatArray) -> FloatArray:
        """The density, checked."""
        value = np.asarray(self.pdf(coef), dtype=np.float64)
        if value.shape != coef.shape:
            raise ValueError(
                f"pdf must return an array of the shape it is given, {coef.shape}, "
                f"got {value.shape}"
            )
        wrong = ~(np.isfinite(value) & (value >= 0.0))
        if wrong.any():
            first = np.argmax(wrong)
            raise ValueError(
                f"pdf must be finite and non-negative, got {float(value.flat[first])!r} at "
                f"{coef.flat[first]:.6g}"
            )
        return value

    @functools.cached_property
    def _mass(self) -> float:
        edges = self._panels[0]
        return float(self._moments(edges[:-1], edges[1:], _ORDERS[1])[0].sum())

    @functools.cached_property
    def _reach(self) -> tuple[float, int]:
        """Standard deviation to within a factor, and the octave beyond which nothing is left."""
        coef = np.ldexp(1.5, _OCTAVES)
        with np.errstate(divide="ignore"):
            log_p = np.log2(self._value(coef) + self._value(-coef))
        log_second = log_p + 3.0 * _OCTAVES
        places = [p for p in self.breakpoints if p]
        top = max([log_second.max(), *(2.0 * math.log2(abs(p)) for p in places)])
        if not np.isfinite(top):
            raise ValueError(
                "pdf must integrate to 1, got 0 at every power of two; a narrow density needs its "
                "place as a breakpoint"
            )
        held = np.flatnonzero(log_second > top - 50.0)
        last = int(held[-1]) if held.size else 0
        if last == _OCTAVES.size - 1:
            raise ValueError(
                "pdf must have a variance, but its second moment does not settle up to "
                f"coefficients of {coef[-1]:.1g}"
            )
        outer = max([_OCTAVES[last] + 2, *(math.ceil(math.log2(abs(p))) + 1 for p in places)])
        mass = log_p + 1.0 * _OCTAVES
        kept = mass > mass.max() - 50.0
        weight = np.exp2(mass[kept] - mass.max())
        size = np.exp2(float(weight @ _OCTAVES[kept] / weight.sum())) if kept.any() else 0.0
        return max([float(size), *(abs(p) for p in places)]), int(outer)

    def _edges(self, resolution: float = 0.0, near: tuple[float, ...] = ()) -> FloatArray:
        """Ends of panels that are graded towards zero, the breakpoints and `near`."""
        size, outer = self._reach
        points = np.unique([0.0, *self.breakpoints, *near])
        lowest = math.floor(math.log2(size)) - _BELOW
        if resolution > 0.0:
            lowest = min(max(lowest, math.floor(math.log2(resolution))), outer - 2)
        steps = np.exp2(np.arange(lowest, outer + 2, 2))
        ends = [points]
        for place in points:
            for side in (-1.0, 1.0):
                edge = place + side * steps
                own = np.abs(edge[:, None] - points).argmin(1) == np.searchsorted(points, place)
                ends.append(edge[own])
        return np.unique(np.concatenate(ends))

    @functools.cached_property
    def _panels(self) -> tuple[FloatArray, float]:
        """Ends of panels on which the moments have settled, and by how much they have not."""
        return self._settle(self._edges())

    def _settle(self, edges: FloatArray) -> tuple[FloatArray, float]:
        low, high = edges[:-1], edges[1:]
        done, rough = [edges], 0.0
        total = np.zeros(2)
        for depth in range(_DEEPEST + 1):
            middle = 0.5 * (low + high)
            whole = self._moments(low, high)
            halves = self._moments(low, middle) + self._moments(middle, high)
            if depth == 0:
                total = halves.sum(1)
                if not (np.isfinite(total).all() and total[0] > 0.0):
                    raise ValueError(f"pdf must integrate to 1, got {total[0]:.9g}")
            change = (np.abs(halves - whole) / total[:, None]).max(0)
            split = change > _TOL
            if depth == _DEEPEST:
                rough = float(change.sum())
            if not split.any() or depth == _DEEPEST:
                break
            low, middle, high = low[split], middle[split], high[split]
            done.append(middle)
            low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        return np.unique(np.concatenate(done)), rough

    def _moments(self, low: FloatArray, high: FloatArray, order: int = _ORDERS[0]) -> FloatArray:
        """Mass and second moment of panels, (2, n_panels)."""
        coef, share = _nodes(low, high, order)
        share = share * self._value(coef)
        return np.array([share.sum(1), (share * coef**2).sum(1)])


def law_atoms(
    law: CoefficientLaw, *, fine: bool = True, resolution: float = 0.0, near: Sequence[float] = ()
) -> LawAtoms:
    """Points and probabilities whose sums are averages over a law.

    Parameters
    ----------
    law : CoefficientLaw
        The law.
    fine : bool, default=True
        Nodes of the final rule, or of the coarse one that the error is told by.
    resolution : float, default=0.0
        Differences of coefficients that need not be seen: an eighth of the noise.
    near : sequence of float, default=()
        Further points towards which panels are graded.

    Returns
    -------
    LawAtoms
        Sorted points and their probabilities, which sum to one.
    """
    edges = law._panels[0]
    if resolution > 0.0 or near:
        edges, _ = law._settle(law._edges(resolution, tuple(near)))
    coef, share = (a.ravel() for a in _nodes(edges[:-1], edges[1:], _ORDERS[fine]))
    share = share * law._value(coef)
    kept = share > 1e-18 / (1.0 + coef**2 / law._reach[0] ** 2)
    share = share[kept]
    return LawAtoms(coef[kept], share / share.sum())


def _nodes(low: FloatArray, high: FloatArray, order: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights of panels, (n_panels, order) each."""
    node, weight = np.polynomial.legendre.leggauss(order)
    middle, half = 0.5 * (high + low)[:, None], 0.5 * (high - low)[:, None]
    return middle + half * node, half * weight


def laplace_law(target_var: float) -> CoefficientLaw:
    r"""Laplace law of a target coefficient, by its density.

    :math:`p(b) = e^{-|b|/s}/(2s)` with :math:`2s^2` the variance; as accurate as the quadrature,
    where `laplace_components` is a sum of Gaussians (derived here:
    `derivations/diagonal#laws-given-by-a-density`).

    Parameters
    ----------
    target_var : float
        Variance of the coefficient, in [1e-100, 1e100].

    Returns
    -------
    CoefficientLaw
        To be given to a `Component`.

    Raises
    ------
    ValueError
        If the variance is outside its domain.

    See Also
    --------
    student_law, laplace_components

    Examples
    --------
    >>> from retemper.diagonal import laplace_law
    >>> round(laplace_law(3.0).variance, 10)
    3.0
    """
    var = check_real(target_var, "target_var", low=1e-100, high=1e100)
    scale = math.sqrt(0.5 * var)

    def pdf(coef: Any) -> Any:
        return np.exp(-np.abs(coef) / scale) / (2.0 * scale)

    return CoefficientLaw(pdf)


def student_law(target_var: float, df: float) -> CoefficientLaw:
    """Student's law of a target coefficient: few coefficients carry most of the signal.

    Its density is that of the textbooks; how it is averaged over is derived here
    (`derivations/diagonal#laws-given-by-a-density`).

    Parameters
    ----------
    target_var : float
        Variance of the coefficient, in [1e-100, 1e100].
    df : float
        Degrees of freedom, at least 2.2: the variance is infinite from 2 on down, and takes ever
        further coefficients to settle just above.

    Returns
    -------
    CoefficientLaw
        To be given to a `Component`.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    laplace_law, CoefficientLaw

    Examples
    --------
    >>> from retemper.diagonal import student_law
    >>> round(student_law(2.0, 4.0).variance, 9)
    2.0
    """
    var = check_real(target_var, "target_var", low=1e-100, high=1e100)
    freedom = check_real(df, "df", low=2.2, high=1e6)
    scale = math.sqrt(var * (freedom - 2.0) / freedom)
    log_top = (
        math.lgamma(0.5 * (freedom + 1.0))
        - math.lgamma(0.5 * freedom)
        - 0.5 * math.log(freedom * math.pi)
        - math.log(scale)
    )

    def pdf(coef: Any) -> Any:
        root = np.hypot(1.0, np.asarray(coef) / (scale * math.sqrt(freedom)))
        return np.exp(log_top - (freedom + 1.0) * np.log(root))

    return CoefficientLaw(pdf)
