"""The mirror coordinate, asinh(beta / c) for two layers; checks of coefficients and scales."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._dispatch import core
from retemper._validation import FloatArray, as_float_array, check_integer, check_shape

#: Deeper networks are no different any more.
MOST_DEPTH = 1000


def as_reals(value: ArrayLike, name: str, *, low: float = -math.inf) -> FloatArray:
    """Array of finite numbers, none below ``low``; an error names the first that is not."""
    array = _as_floats(value, name)
    bad = ~np.isfinite(array) | (array < low)
    if bad.any():
        worst = np.atleast_1d(array)[np.atleast_1d(bad)][0]
        raise ValueError(f"{name} must be finite and at least {low:g}, got {worst}")
    return array


def as_scales(value: ArrayLike, name: str = "c") -> FloatArray:
    """Array of positive scales; an error names the first that is not."""
    c = _as_floats(value, name)
    bad = ~((c > 0) & np.isfinite(c))
    if bad.any():
        worst = np.atleast_1d(c)[np.atleast_1d(bad)][0]
        raise ValueError(f"{name} must be positive and finite, got {worst}")
    return c


def _as_floats(value: ArrayLike, name: str) -> FloatArray:
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, got {value!r:.60}")
    return array.astype(np.float64, copy=False)


def as_scales_of(value: ArrayLike, d: int) -> FloatArray:
    """Scales of d features, from one or d numbers; zero freezes a feature."""
    array = _as_floats(value, "scale")
    if array.shape not in ((), (1,), (d,)):
        raise ValueError(f"scale must be a number or have shape ({d},), got shape {array.shape}")
    c = np.broadcast_to(array, (d,))
    bad = ~((c == 0.0) | ((c >= 1e-300) & (c <= 1e300)))
    if bad.any():
        where = int(np.argmax(bad))
        raise ValueError(f"scale[{where}] must be 0 or lie in [1e-300, 1e300], got {c[where]}")
    return c


def as_start(scale: ArrayLike, centre: ArrayLike | None, d: int) -> tuple[FloatArray, FloatArray]:
    """Scales of d features, and their coefficients at the start, which are zero for None."""
    c = as_scales_of(scale, d)
    start = np.zeros(d) if centre is None else as_float_array(centre, "centre")
    check_shape(start, (d,), "centre")
    return c, start


def check_some_move(c: FloatArray) -> None:
    """Refuse scales that are all zero."""
    if not c.any():
        raise ValueError("every feature is frozen: all entries of scale are zero")


def free_features(c: FloatArray, start: FloatArray) -> NDArray[np.bool_]:
    """Which features move; the others must start, and stay, at zero."""
    free: NDArray[np.bool_] = c > 0.0
    if np.any(start[~free]):
        raise ValueError("centre must be zero where scale is zero: those features are frozen")
    return free


def asinh_ratio(x: FloatArray, c: FloatArray) -> FloatArray:
    """asinh(x / c) for x >= 0 and c > 0, also where the ratio overflows."""
    with np.errstate(over="ignore", divide="ignore"):
        t = x / c
        far = np.log(x) - np.log(c) + math.log(2.0)
    return np.where(t < 1e150, np.arcsinh(np.minimum(t, 1e150)), far)


def check_depth(depth: int) -> int:
    """Number of layers of a diagonal network, from 2."""
    return check_integer(depth, "depth", low=2, high=MOST_DEPTH)


def mirror_coordinate(beta: FloatArray, c: FloatArray, depth: int = 2) -> FloatArray:
    """Mirror coordinate of coefficients of either sign, for c > 0."""
    if depth == 2:
        return np.copysign(asinh_ratio(np.abs(beta), c), beta)
    coef, scale = np.broadcast_arrays(beta, c)
    found = core.diagonal.deep_coordinates(
        coef=np.array(coef, dtype=np.float64).ravel(),
        scale=np.array(scale, dtype=np.float64).ravel(),
        depth=float(depth),
    )
    return np.asarray(found.reshape(coef.shape))


class MirrorPoint(NamedTuple):
    """What belongs to mirror coordinates u.

    Attributes
    ----------
    coef, slope : ndarray
        Coefficient, and its derivative in u.
    force, stiffness : ndarray
        Derivative of the penalty in the coefficient, and its derivative in u.
    """

    coef: FloatArray
    slope: FloatArray
    force: FloatArray
    stiffness: FloatArray


def mirror_point(u: FloatArray, c: FloatArray, depth: int = 2) -> MirrorPoint:
    """Coefficient and force at mirror coordinates, of one shape, and what they change with."""
    if depth == 2:
        return MirrorPoint(c * np.sinh(u), c * np.cosh(u), 0.5 * u, np.full(u.shape, 0.5))
    scale = np.array(np.broadcast_to(c, u.shape), dtype=np.float64).ravel()
    found = core.diagonal.deep_map(mirror=np.ravel(u), scale=scale, depth=float(depth))
    return MirrorPoint(**{name: value.reshape(u.shape) for name, value in found.items()})


def curvature_weight(coef: FloatArray, c: FloatArray, depth: int = 2) -> FloatArray:
    """One over the second derivative of the penalty."""
    if depth == 2:
        return np.asarray(2.0 * np.hypot(c, coef))
    at = mirror_point(mirror_coordinate(coef, c, depth), c, depth)
    with np.errstate(divide="ignore"):
        return np.asarray(at.slope / at.stiffness)
