"""Ridge and scale with which a deep network of one output regresses."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray
from retemper.linear.eigenbasis import Problem, SourceLaw
from retemper.linear.points import Points, target_root

__all__ = ["deep_ridges"]


def deep_ridges(
    problem: Problem, source: SourceLaw, points: Points, deep: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    r"""Ridge and scale of the source with which a deep network of one output regresses.

    The network with ridge :math:`\lambda` ends where the regression with ridge :math:`\lambda/t`
    towards :math:`c\beta_0` does, :math:`t = \lVert\beta\rVert^{1-1/L}`, and the norm concentrates.

    Parameters
    ----------
    problem, source, points
        What is solved.
    deep : ndarray of shape (k,)
        Points with a depth above 1, a ridge, and rows.

    Returns
    -------
    ndarray of shape (k,), ndarray of shape (k,)
        The ridge of the regression, as given at other points; the scale, 1 at other points.
    """
    ridge, scale = points.ridge.copy(), np.ones(points.n_samples.size)
    if not deep.any():
        return ridge, scale
    s, theta, v = problem.spectrum, problem.target[0], source.mean[0]
    level, diagonal = source.level[0], source.diagonal
    n, given, noise = points.n_samples[deep], points.ridge[deep], points.noise[deep]
    some = points._replace(n_samples=n)
    power = points.depth / (points.depth - 1.0)
    with np.errstate(invalid="ignore"):
        size = math.sqrt(v @ v + (level * diagonal.sum() if level > 0.0 else 0.0))
    dual = size ** (-1.0 / power) if size > 0.0 else 0.0

    def excess(x: FloatArray) -> FloatArray:
        """Log norm of the end point, less the one that t = exp(x) stands for."""
        t = np.exp(x)
        root, share, factor, _ = target_root(s, n, given / t, some)
        kappa, c = root.effective_ridge[:, None], (t * dual)[:, None]
        over = 1.0 / (s + kappa)
        seen = (c * kappa * v + s * theta) * over
        missed = s * np.square(kappa * over * (theta - c * v))
        spread = np.square(c * kappa * over) * (level if level > 0.0 else 0.0) * diagonal
        heard = (missed + s * spread).sum(axis=1) + noise**2 * factor
        learned = (s * over**2).sum(axis=1) * share / (root.df2 * (1.0 - share))
        square = (seen**2 + spread).sum(axis=1) + heard * learned
        with np.errstate(divide="ignore"):
            return np.asarray(0.5 * np.log(square) - power * x)

    start = np.full(n.size, math.log(size) / power if size > 0.0 else 0.0)
    x = _falling_root(excess, start, power)
    ridge[deep] = given / np.exp(x)
    scale[deep] = np.exp(x) * dual
    return ridge, scale


#: Logarithms of t beyond this are cut: t and its square stay finite.
_LARGEST_LOG = 300.0


def _falling_root(
    f: Callable[[FloatArray], FloatArray], start: FloatArray, power: float
) -> FloatArray:
    """Roots of functions with slopes between -power and 1 - power, by regula falsi."""
    at = f(start)
    lone = ~np.isfinite(at)  # no labels and no source: the norm is zero
    at = np.where(lone, 0.0, at)
    near, far = start + at / power, start + at / (power - 1.0)
    low = np.clip(np.minimum(near, far) - 0.1, -_LARGEST_LOG, _LARGEST_LOG)
    high = np.clip(np.maximum(near, far) + 0.1, -_LARGEST_LOG, _LARGEST_LOG)
    f_low, f_high = f(low), f(high)
    x = start
    for turn in range(200):
        with np.errstate(invalid="ignore", divide="ignore"):
            x = high - f_high * (high - low) / (f_high - f_low)
        middle = ~np.isfinite(x) | (x <= low) | (x >= high) | (turn % 4 == 3)
        x = np.where(middle, 0.5 * (low + high), x)
        now = f(x)
        above = now > 0.0
        f_low = np.where(above, now, f_low * 0.5)  # the end that stays counts half (Illinois)
        f_high = np.where(above, f_high * 0.5, now)
        low, high = np.where(above, x, low), np.where(above, high, x)
        close = (abs(now) <= 1e-14 * np.maximum(1.0, abs(x))) | lone
        if (close | (high - low <= 4e-16 * np.maximum(1.0, abs(x)))).all():
            break
    return np.where(lone, 0.0, x)
