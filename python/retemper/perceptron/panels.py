"""Quadrature of densities of the field: Legendre series on panels that end at walls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from retemper._dispatch import core
from retemper._validation import FloatArray

__all__ = [
    "LAST",
    "LOG_ROOT_2PI",
    "RADII",
    "SERIES",
    "SMALLEST",
    "TERMS",
    "ChannelAverages",
    "Evidence",
    "ResidualLaw",
    "field_panels",
    "integral_of_size",
    "integrate_panels",
    "interpolated",
    "normal_density",
    "panel_evidence",
    "panel_nodes",
    "refined",
]

TERMS = 16
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(TERMS)
_VANDER = np.polynomial.legendre.legvander(_NODE, TERMS - 1)
#: Values at the nodes of a panel to the coefficients of its Legendre series.
SERIES = (_VANDER * _WEIGHT[:, None]).T * (np.arange(TERMS)[:, None] + 0.5)
#: The last terms say how well a panel is resolved.
LAST = 4
#: Edges of panels around a place where a function turns, in widths of the turn.
RADII = np.array([-9.0, -4.5, -2.0, 0.0, 2.0, 4.5, 9.0])
_BASE = np.linspace(-8.5, 8.5, 8)
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
#: Posterior variance of the field, relative to its variance, below which averages stay the same.
SMALLEST = 1e-20


class Evidence(NamedTuple):
    """Mean likelihood of labels and its two derivatives in the mean of the field."""

    value: FloatArray
    first: FloatArray
    second: FloatArray


class ResidualLaw(NamedTuple):
    """Label minus estimate of its field, as a mixture of normal laws.

    A label depends on a normal t, the field or the field and its noise. Part k has a share
    ``weight``, the mean ``mean``, the variance ``variance``, and t = ``along`` beside a part that
    follows the residual with the covariance ``with_t``; ``t_variance`` is that of t.
    """

    weight: FloatArray
    mean: FloatArray
    variance: float
    along: FloatArray
    with_t: float
    t_variance: float


class ChannelAverages(NamedTuple):
    """Averages over a new row whose field has a known part of variance q.

    Parameters
    ----------
    overlap : ndarray
        Fisher information of the label about the known part, E g².
    slope : ndarray
        Its derivative in q, E (dg)².
    entropy : ndarray
        E ln Z, minus the entropy of the label, nats.
    error : ndarray
        Smallest probability of a wrong label, or mean squared error of the label if it is
        a number.
    quadrature_error : ndarray
        Estimated absolute error of ``overlap``.
    """

    overlap: FloatArray
    slope: FloatArray
    entropy: FloatArray
    error: FloatArray
    quadrature_error: FloatArray


def normal_density(x: FloatArray) -> FloatArray:
    """Standard normal density."""
    return np.exp(-0.5 * x * x - LOG_ROOT_2PI)


def panel_nodes(edges: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes and weights of panels, and half their widths: (..., n_panels, 16) and (..., n_panels).

    Edges (..., n_panels + 1) are sorted along the last axis; they may coincide.
    """
    half = 0.5 * np.diff(edges, axis=-1)
    centre = 0.5 * (edges[..., 1:] + edges[..., :-1])
    return centre[..., None] + half[..., None] * _NODE, half[..., None] * _WEIGHT, half


def integrate_panels(
    values: FloatArray, weight: FloatArray, half: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Integral over panels, and the error that terms of the size of the last ones could make."""
    last = np.abs(values @ SERIES[-LAST:].T).max(axis=-1)
    return np.einsum("...pk,...pk->...", values, weight), np.einsum("...p,...p->...", last, half)


_CUT = np.linspace(-1.0, 1.0, 17)
_AT_CUTS = np.polynomial.legendre.legvander(_CUT, TERMS - 1)
#: Legendre series to that of its integral from the middle of a panel.
_PRIMITIVE = np.polynomial.legendre.legint(np.eye(TERMS), axis=0)
_INTEGRAL_AT_CUTS = np.polynomial.legendre.legvander(_CUT, TERMS) @ _PRIMITIVE


def _legendre(x: FloatArray, degree: int) -> FloatArray:
    """Legendre polynomials up to a degree: (degree + 1, n)."""
    out = np.empty((degree + 1, x.size))
    out[0], out[1] = 1.0, x
    for k in range(1, degree):
        np.multiply(x, out[k], out=out[k + 1])
        out[k + 1] *= (2 * k + 1) / (k + 1)
        out[k + 1] -= k / (k + 1) * out[k - 1]
    return out


def integral_of_size(values: FloatArray, half: FloatArray) -> FloatArray:
    """Integral of ``|values|`` over panels of nodes, split where the series of one changes sign."""
    series = values @ SERIES.T
    whole = 2 * np.abs(series[..., 0])
    least = 1e-14 * np.abs(values).max()
    turns = (values.min(axis=-1) < -least) & (values.max(axis=-1) > least)
    if turns.any():
        c = series[turns]
        at, total = c @ _AT_CUTS.T, c @ _INTEGRAL_AT_CUTS.T
        parts = np.abs(np.diff(total, axis=1))
        row, cell = np.nonzero(at[:, :-1] * at[:, 1:] < 0)
        low, high = at[row, cell], at[row, cell + 1]
        width = _CUT[1] - _CUT[0]
        x = _CUT[cell] + width * low / (low - high)
        for _ in range(2):  # the integral's error is the square of the root's
            value = np.einsum("tk,kt->k", _legendre(x, TERMS - 1), c[row])
            x = x - value * width / (high - low)
        place = _PRIMITIVE.T @ _legendre(np.clip(x, -1, 1), TERMS)
        middle = np.einsum("tk,kt->k", place, c[row])
        parts[row, cell] = np.abs(middle - total[row, cell]) + np.abs(total[row, cell + 1] - middle)
        whole[turns] = parts.sum(axis=1)
    return np.asarray(np.einsum("...p,...p->...", whole, half))


#: Part of the largest value that the last terms of a series may have in `interpolated`.
_INTERPOLATION = 1e-12


def interpolated(f: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
    """Values of smooth functions at many places: series on panels, halved until they are resolved.

    ``f`` maps (k,) to (n_rows, k). Where panels would need as many values as there are places,
    these are taken themselves.
    """
    edges = np.linspace(x.min(), x.max(), 9)
    low, high = edges[:-1], edges[1:]
    done: list[tuple[float, float, FloatArray]] = []
    n_values, largest = 0, np.zeros(1)
    while low.size:
        n_values += TERMS * low.size
        if n_values >= x.size or not (high > low).all():
            return f(x)
        half, centre = 0.5 * (high - low), 0.5 * (high + low)
        values = f((centre[:, None] + half[:, None] * _NODE).reshape(-1))
        largest = np.maximum(largest, np.abs(values).max(axis=1))
        series = values.reshape(len(values), low.size, TERMS) @ SERIES.T
        last = np.abs(series[..., -LAST:]).max(axis=-1)
        bad = (last > _INTERPOLATION * largest[:, None]).any(axis=0)
        done += [(low[i], high[i], series[:, i]) for i in np.flatnonzero(~bad)]
        low, high = (
            np.concatenate([low[bad], centre[bad]]),
            np.concatenate([centre[bad], high[bad]]),
        )
    left, right = (np.array([each[i] for each in done]) for i in (0, 1))
    order = np.argsort(left)
    panel = order[np.clip(np.searchsorted(left[order], x, side="right") - 1, 0, len(done) - 1)]
    u = (2 * x - left[panel] - right[panel]) / (right - left)[panel]
    terms = _legendre(u, TERMS - 1)
    out = np.empty((len(done[0][2]), x.size))
    for i, (_, _, series) in enumerate(done):
        at = panel == i
        out[:, at] = series @ terms[:, at]
    return out


#: Relative error of the overlap, as the last terms bound it, beyond which panels are halved.
TOLERANCE = 1e-6
#: How often.
_HALVINGS = 4


def refined(
    measure: Callable[[FloatArray, FloatArray, int], ChannelAverages], q: FloatArray, V: FloatArray
) -> ChannelAverages:
    """Averages with panels halved wherever the error is too large."""
    out = measure(q, V, 0)
    for level in range(1, _HALVINGS + 1):
        bad = out.quadrature_error > TOLERANCE * out.overlap
        if not bad.any():
            break
        for old, new in zip(out, measure(q[bad], V[bad], level), strict=True):
            old[bad] = new
    return out


def field_panels(
    q: FloatArray, V: FloatArray, walls: Sequence[tuple[float, float]], level: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gaussian panels in z, for fields sqrt(q) z, refined where a wall (place, variance) is seen.

    Panels are halved ``level`` times. Returns nodes z, weights (the normal density included) of
    shape (n, n_panels, 16), and half widths.
    """
    root = np.maximum(np.sqrt(q), 1e-150)[:, None]
    edges = [np.broadcast_to(_BASE, (q.size, _BASE.size))]
    for place, spread in walls:
        s = np.sqrt(V + spread)[:, None]
        edges.append((place + s * RADII) / root)
    cut = np.sort(np.clip(np.concatenate(edges, axis=1), -8.5, 8.5), axis=1)
    for _ in range(level):
        middle = 0.5 * (cut[:, 1:] + cut[:, :-1])
        cut = np.sort(np.concatenate([cut, middle], axis=1), axis=1)
    z, weight, half = panel_nodes(cut)
    return z, weight * normal_density(z), half


def panel_evidence(
    edges: FloatArray, table: FloatArray, mean: FloatArray, variance: FloatArray, *,
    is_paired: bool = False,
) -> Evidence:  # fmt: skip
    """Evidence of a density that is a table of series on panels."""
    at = core.perceptron.channel_evidence(
        edges, table, np.ascontiguousarray(mean), np.ascontiguousarray(variance),
        is_paired=is_paired, n_threads=1,
    )  # fmt: skip
    return Evidence(at.value, at.first, at.second)
