r"""Any activation: its Gaussian averages, each with an error that is checked.

For a normal pair of variances a, b and correlation z the kernel is the series of Mehler,
:math:`E\,s(u)s(u') = \sum_k z^k h_k(a) h_k(b)`, with the Hermite coefficients
:math:`h_k(a) = E\,s(\sqrt a\,t) He_k(t) / \sqrt{k!}`. What is left out after degree n is at most
:math:`|z|^{n+1} \sqrt{r(a) r(b)}`, r being the part of :math:`E s^2` that the coefficients miss; a
pair for which that is too much is integrated by itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import erf, expit, ndtr

from retemper._domains import check_parameter
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.numerics import gauss_legendre_rule

__all__ = [
    "CLOSED",
    "TOLERANCE",
    "Expansion",
    "Moments",
    "check_activation",
    "expansion_of",
    "name_of",
]

Function: TypeAlias = Callable[[FloatArray], Any]

#: Activations whose kernel is a formula in the compiled core.
CLOSED = frozenset({"erf", "relu", "gelu", "linear"})

#: Error of a kernel, in units of the largest E s^2, beyond which it is refused.
TOLERANCE = 1e-10

_AIM = 1e-12  # of coefficients, in the same units
_LARGEST_DEGREE = 512
_REACH = 13.0  # standard deviations of an average: exp(-reach^2 / 4) is below 1e-18
_TABLE_REACH = 40.0  # of the table for sampling
_ORDER = 16  # of a panel
_LARGEST_NUMBER = 20_000  # of panels
_NODE, _WEIGHT = gauss_legendre_rule(_ORDER)


def _softplus(u: FloatArray) -> FloatArray:
    return np.logaddexp(0.0, u)


_NAMED: dict[str, Function] = {
    "erf": erf,
    "relu": lambda u: np.maximum(u, 0.0),
    "gelu": lambda u: u * ndtr(u),
    "linear": lambda u: u,
    "tanh": np.tanh,
    "silu": lambda u: u * expit(u),
    "sine": np.sin,
    "softplus": _softplus,
}


def check_activation(activation: Any) -> Any:
    """A name of the table, or a callable that gives finite numbers."""
    if not callable(activation):
        return check_parameter(activation, "activation")
    _values(activation, np.linspace(-6.0, 6.0, 25))
    return activation


def name_of(activation: Any) -> str:
    """What messages call an activation."""
    return activation if isinstance(activation, str) else getattr(activation, "__name__", "custom")


@functools.lru_cache(maxsize=16)
def expansion_of(activation: Any) -> Expansion:
    """The expansion of a named or callable activation; kept, with what it has computed."""
    return Expansion(_NAMED.get(activation, activation), name_of(activation))


def _values(function: Function, u: FloatArray) -> FloatArray:
    """The activation at these inputs; an error says where it is not finite."""
    flat = np.ascontiguousarray(u).ravel()
    with np.errstate(all="ignore"):
        out = np.asarray(function(flat))
    if out.shape != flat.shape:
        raise ValueError(
            f"activation must be vectorised: it gives shape {out.shape} for inputs of shape "
            f"{flat.shape}"
        )
    if out.dtype.kind not in "fiub":
        raise TypeError(f"activation must give real numbers, got {out.dtype}")
    out = out.astype(np.float64)
    bad = ~np.isfinite(out)
    if bad.any():
        at = int(np.flatnonzero(bad)[np.abs(flat[bad]).argmin()])
        raise ValueError(f"activation must be finite: it gives {out[at]} at {flat[at]:.6g}")
    return out.reshape(u.shape)


class Moments(NamedTuple):
    """Gaussian averages of an activation at n variances.

    Attributes
    ----------
    coef : ndarray of shape (n, degree + 1)
        Hermite coefficients; the first is the mean.
    square : ndarray of shape (n,)
        E s^2.
    rest : ndarray of shape (n,)
        What the squares of the coefficients miss of it; zero where that is rounding.
    """

    coef: FloatArray
    square: FloatArray
    rest: FloatArray


class _Panels(NamedTuple):
    edge: FloatArray
    coef: FloatArray  # Chebyshev, (n_panels, order)
    walls: FloatArray  # where the activation is not smooth


class Expansion:
    """Gaussian averages of one activation.

    Parameters
    ----------
    function : callable
        Takes and gives arrays of numbers.
    name : str
        What messages call it.
    """

    def __init__(self, function: Function, name: str) -> None:
        self.function, self.name = function, name
        self._panels: dict[int, _Panels] = {}
        self._tables: dict[tuple[int, int], tuple[FloatArray, FloatArray] | None] = {}

    def values(self, u: FloatArray) -> FloatArray:
        """The activation; an error says where it is not finite."""
        return _values(self.function, u)

    # ---- panels ----

    def panels(self, reach: float) -> _Panels:
        """Pieces on which the activation is a polynomial to rounding, up to ``reach`` at least."""
        power = math.ceil(math.log2(reach))
        if power not in self._panels:
            self._panels[power] = self._find_panels(2.0**power)
        return self._panels[power]

    def _find_panels(self, reach: float) -> _Panels:
        # ends without symmetry: a kink at a round number must not lie on an edge
        edges = np.linspace(-1.0317 * reach, 1.0571 * reach, 65)
        low, high = edges[:-1], edges[1:]
        t = np.cos(np.pi * (np.arange(_ORDER) + 0.5) / _ORDER)
        floor = 1e-13 * np.abs(self.values(np.linspace(-reach, reach, 257) / 4.0)).max()
        smallest = 2.0**-42 * reach
        done: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        n_panels = 0
        while low.size:
            middle, half = 0.5 * (low + high), 0.5 * (high - low)
            values = self.values(middle[:, None] + half[:, None] * t)
            coef = dct(values, type=2, axis=1) / _ORDER
            coef[:, 0] *= 0.5
            size = np.abs(coef).max(1)
            resolved = np.abs(coef[:, -3:]).max(1) <= np.maximum(1e-12 * size, floor)
            keep = resolved | (half < smallest)
            done.append((low[keep], high[keep], coef[keep]))
            n_panels += low.size
            if n_panels > _LARGEST_NUMBER:
                where = float(middle[~keep][0]) if (~keep).any() else float(middle[0])
                raise NumericalError(
                    f"activation {self.name} is not smooth between a few points: "
                    f"{_LARGEST_NUMBER} pieces do not resolve it, for one near {where:.6g}"
                )
            cut = ~keep
            low, high = (
                np.concatenate([low[cut], middle[cut]]),
                np.concatenate([middle[cut], high[cut]]),
            )
        starts = np.concatenate([d[0] for d in done])
        order = np.argsort(starts)
        coef = np.concatenate([d[2] for d in done])[order]
        edge = np.append(starts[order], edges[-1])
        return _Panels(edge, coef, _walls(edge, coef))

    def table(self, largest_var: float) -> dict[str, FloatArray]:
        """Edges, value and slope of the activation for sampling, with inputs of this variance."""
        panels = self.panels(_TABLE_REACH * math.sqrt(largest_var))
        slope = np.polynomial.chebyshev.chebder(panels.coef, axis=1)
        slope *= (2.0 / np.diff(panels.edge))[:, None]
        # across a kink or a jump the slope of the panel means nothing
        slope[np.diff(panels.edge) < 1e-9 * panels.edge[-1]] = 0.0
        slope = np.pad(slope, ((0, 0), (0, 1)))
        return {"edge": panels.edge, "coef": panels.coef, "slope": np.ascontiguousarray(slope)}

    # ---- coefficients ----

    def moments(self, var: FloatArray) -> Moments:
        """Averages at every variance.

        Parameters
        ----------
        var : ndarray of shape (n,)
            Variances, non-negative.

        Returns
        -------
        Moments
            Correct to 1e-12 of the largest E s^2.

        Raises
        ------
        NumericalError
            If that cannot be reached.
        ValueError
            If the activation is not finite.
        """
        positive = var > 0.0
        at_zero = float(self.values(np.zeros(1))[0])
        if not positive.any():
            coef = np.full((var.size, 1), at_zero)
            return Moments(coef, coef[:, 0] ** 2, np.zeros(var.size))
        coef, square = self._at(var[positive])
        if not positive.all():
            every = np.zeros((var.size, coef.shape[1]))
            every[:, 0] = at_zero
            every[positive] = coef
            squares = np.full(var.size, at_zero**2)
            squares[positive] = square
            coef, square = every, squares
        scale = float(square.max())
        if np.abs(coef[:, 0]).max() <= 1e-12 * math.sqrt(scale):
            coef[:, 0] = 0.0  # an odd activation
        rest = square - np.square(coef).sum(1)
        rest[rest < 10.0 * _AIM * scale] = 0.0
        return Moments(coef, square, rest)

    def _at(self, var: FloatArray) -> tuple[FloatArray, FloatArray]:
        """By interpolation in log var between nodes that later calls can use again."""
        if np.unique(var).size > 24:
            low = math.floor(2.0 * math.log2(float(var.min())))
            high = math.ceil(2.0 * math.log2(float(var.max()))) + (var.min() == var.max())
            table = self._interpolant(low, high)
            if table is not None:
                x = (4.0 * np.log2(var) - low - high) / (high - low)
                n = table[0].shape[0]
                T = np.cos(np.outer(np.arccos(np.clip(x, -1.0, 1.0)), np.arange(n)))
                return T @ table[0], T @ table[1]
        values, place = np.unique(var, return_inverse=True)
        parts = [self._exact(values[i : i + 64]) for i in range(0, values.size, 64)]
        order = max(coef.shape[1] for coef, _ in parts)
        coef = np.vstack([np.pad(c, ((0, 0), (0, order - c.shape[1]))) for c, _ in parts])
        return coef[place], np.concatenate([s for _, s in parts])[place]

    def _interpolant(self, low: int, high: int) -> tuple[FloatArray, FloatArray] | None:
        """Chebyshev coefficients in log2 var on [low, high] / 2; None where 129 do not do."""
        key = (low, high)
        if key not in self._tables:
            self._tables[key] = None
            n = 17
            while n <= 129 and high - low <= 24:
                x = np.cos(np.pi * (np.arange(n) + 0.5) / n)
                coef, square = self._exact(2.0 ** (0.25 * (low + high + (high - low) * x)))
                both = np.column_stack([coef, square])
                turned = dct(both, type=2, axis=0) / n
                turned[0] *= 0.5
                size = np.full(both.shape[1], math.sqrt(square.max()))
                size[-1] = square.max()
                if (np.abs(turned[-3:]).max(0) <= 0.3 * _AIM * size).all():
                    self._tables[key] = turned[:, :-1], turned[:, -1]
                    break
                n = 2 * n - 1
        return self._tables[key]

    def _exact(self, var: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Coefficients (n, order) and E s^2 (n,) by panels that are halved until both stand."""
        last: tuple[FloatArray, FloatArray] | None = None
        error = math.inf
        for n_panels in (52, 104, 208, 416):
            coef, square = self._by_panels(var, n_panels)
            if last is not None:
                scale = float(square.max())
                order = max(coef.shape[1], last[0].shape[1])
                change = np.zeros((var.size, order))
                change[:, : coef.shape[1]] += coef
                change[:, : last[0].shape[1]] -= last[0]
                error = float(np.abs(change).max()) / math.sqrt(scale) if scale else 0.0
                error = max(error, float(np.abs(square - last[1]).max()) / scale if scale else 0.0)
                if error <= _AIM:
                    return coef, square
            last = coef, square
        raise NumericalError(
            f"Gaussian averages of the activation {self.name} are known to {error:.1g} only (need "
            f"{_AIM:g}) at variances of its input from {var.min():.3g} to {var.max():.3g}: it "
            "varies too fast"
        )

    def about(self, mean: FloatArray, var: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Standard normal t, its weight, and the activation at mean + sqrt(var) t.

        Parameters
        ----------
        mean, var : ndarray of shape (n,)
            Of the inputs.

        Returns
        -------
        ndarray of shape (n, q)
            Nodes, weights that sum to one, and values; panels are cut where the activation has a
            kink.
        """
        root = np.sqrt(var)[:, None]
        reach = _REACH * float(root.max()) + float(np.abs(mean).max())
        walls = self.panels(reach or 1.0).walls
        with np.errstate(divide="ignore", invalid="ignore"):
            cuts = np.nan_to_num((walls - mean[:, None]) / root)
        edges = np.linspace(-_REACH, _REACH, 27)
        t, weight = _nodes(np.broadcast_to(edges, (mean.size, edges.size)), cuts)
        with np.errstate(under="ignore"):
            weight = weight * np.exp(-0.5 * t**2) / math.sqrt(2.0 * math.pi)
        return t, weight, self.values(mean[:, None] + root * t)

    def _by_panels(self, var: FloatArray, n_panels: int) -> tuple[FloatArray, FloatArray]:
        root = np.sqrt(var)[:, None]
        walls = self.panels(_REACH * float(root.max())).walls
        z, weight = _nodes(np.broadcast_to(np.linspace(-_REACH, _REACH, n_panels + 1),
                                           (var.size, n_panels + 1)), walls / root)  # fmt: skip
        s = self.values(root * z)
        with np.errstate(under="ignore"):
            square = (weight * s**2 * np.exp(-0.5 * z**2)).sum(1) / math.sqrt(2.0 * math.pi)
            ends = self.values(root * [-_REACH, _REACH]) ** 2 * math.exp(-0.5 * _REACH**2)
            if (ends.max(1) > 1e-13 * square).any():
                at = float(var[(ends.max(1) > 1e-13 * square).argmax()])
                raise NumericalError(
                    f"activation {self.name} grows too fast: the average of its square does not "
                    f"settle within {_REACH:g} standard deviations at variance {at:.3g}"
                )
            now = np.exp(-0.25 * z**2) * (2.0 * math.pi) ** -0.25
            s *= weight * now
            # now is psi_k = He_k / sqrt(k!) times the root of the density; s holds the other root
            before = np.zeros_like(now)
            found = [(s * now).sum(1)]
            energy = found[0] ** 2
            for k in range(_LARGEST_DEGREE):
                now, before = (z * now - math.sqrt(k) * before) / math.sqrt(k + 1.0), now
                found.append((s * now).sum(1))
                energy = energy + found[-1] ** 2
                if k > 6 and k % 8 == 0 and (square - energy <= _AIM * square.max()).all():
                    break
        return np.stack(found, 1), square

    # ---- single pairs ----

    def pair_averages(self, a: FloatArray, b: FloatArray, z: FloatArray) -> FloatArray:
        """E s(u) s(u') of separate pairs by bivariate quadrature.

        Parameters
        ----------
        a, b, z : ndarray of shape (n,)
            Variances, positive, and correlations.

        Returns
        -------
        ndarray of shape (n,)
            The averages.

        Raises
        ------
        NumericalError
            If two rules differ by more than 1e-10 of E s^2.
        """
        out = np.empty(a.size)
        one = np.abs(z) >= 1.0 - 1e-14
        if one.any():
            out[one] = self._line(a[one], b[one], np.sign(z[one]))
        for i in np.flatnonzero(~one):
            out[i] = self._plane(float(a[i]), float(b[i]), float(z[i]))
        return out

    def _line(self, a: FloatArray, b: FloatArray, sign: FloatArray) -> FloatArray:
        ra, rb = np.sqrt(a)[:, None], (np.sqrt(b) * sign)[:, None]
        walls = self.panels(_REACH * float(max(ra.max(), np.abs(rb).max()))).walls
        out = np.empty(a.size)
        for part in np.array_split(np.arange(a.size), -(-a.size // 256)):
            both = np.hstack([walls / ra[part], walls / rb[part]])
            edges = np.broadcast_to(np.linspace(-_REACH, _REACH, 105), (part.size, 105))
            t, weight = _nodes(edges, both)
            s = self.values(ra[part] * t) * self.values(rb[part] * t)
            out[part] = (weight * s * np.exp(-0.5 * t**2)).sum(1) / math.sqrt(2.0 * math.pi)
        return out

    def _plane(self, a: float, b: float, z: float) -> float:
        ra, rb, s = math.sqrt(a), math.sqrt(b), math.sqrt((1.0 - z) * (1.0 + z))
        walls = self.panels(_REACH * max(ra, rb)).walls
        # the inner average over u' bends within a few s of where u' meets a wall
        layer = s * np.array([-12, -8, -5, -3, -2, -1, 0, 1, 2, 3, 5, 8, 12])
        bends = np.concatenate([walls / ra, (walls[:, None] / (rb * z) + layer).ravel()])
        size = math.sqrt(math.prod(float(self.moments(np.array([v])).square[0]) for v in (a, b)))
        last, error = math.inf, math.inf
        for n_panels in (26, 39, 78, 156):
            t, weight = _nodes(np.linspace(-_REACH, _REACH, n_panels + 1)[None], bends[None])
            t, weight = t[0], weight[0]
            inner = np.empty_like(t)
            for part in np.array_split(np.arange(t.size), -(-t.size // 128)):
                edges = np.broadcast_to(np.linspace(-10.0, 10.0, n_panels), (part.size, n_panels))
                x, w = _nodes(edges, (walls / rb - z * t[part, None]) / s)
                value = self.values(rb * (z * t[part, None] + s * x))
                inner[part] = (w * value * np.exp(-0.5 * x**2)).sum(1)
            outer = weight * self.values(ra * t) * np.exp(-0.5 * t**2)
            found = float(outer @ inner) / (2.0 * math.pi)
            error = abs(found - last) / size
            if error <= 0.3 * TOLERANCE:
                return found
            last = found
        raise NumericalError(
            f"the kernel of the activation {self.name} is known to {error:.1g} of E s^2 only "
            f"(need {TOLERANCE:g}) at variances {a:.6g} and {b:.6g} and correlation {z:.12g}"
        )


def _walls(edge: FloatArray, coef: FloatArray) -> FloatArray:
    """Where panels are narrower than their neighbours: kinks, jumps, and steep places."""
    width = np.diff(edge)
    narrow = width < 0.02 * width.max()
    bend = np.abs(coef[:, 4:]).sum(1)
    out = []
    start = 0
    while start < width.size:
        stop = start + 1
        while stop < width.size and width[stop] < 1.5 * width[start] < 2.25 * width[stop]:
            stop += 1
        is_low = start > 0 and stop < width.size
        is_low = is_low and width[start] < min(width[start - 1], width[stop])
        if is_low and narrow[start]:
            at = start + int(bend[start:stop].argmax())
            out.append(0.5 * (edge[at] + edge[at + 1]))
        start = stop
    return np.array(out)


def _nodes(edges: NDArray[Any], more: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights (n, q) of Gauss-Legendre panels between edges (n, e), cut at ``more``."""
    if more.shape[1]:
        low, high = edges[:, :1], edges[:, -1:]
        edges = np.sort(np.hstack([edges, np.clip(more, low, high)]), axis=1)
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    node = 0.5 * (edges[:, 1:] + edges[:, :-1])[:, :, None] + half * _NODE
    return node.reshape(len(edges), -1), (half * _WEIGHT).reshape(len(edges), -1)
