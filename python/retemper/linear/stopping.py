"""Gradient flow stopped in time, in high dimension: filters of the sample covariance."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.linear.spectral import roots

ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]

__all__ = ["Stopped", "complex_ridge", "contour", "stopped_flow"]

#: Nodes of the contour above the real axis; the error of the rule falls as exp(-2 pi N / 3).
_NODES = 18
_FIXED_POINT, _NEWTON = 60, 60


class Stopped(NamedTuple):
    """Means over samples of flow from zero that stops at a time."""

    sums: FloatArray  # (m,) sum_i q_i [exp(-t S) Sigma exp(-t S)]_ii for every row q
    variance: float  # tr[Sigma (1 - exp(-t S))^2 S^-1] / n, per variance of the label noise


def stopped_flow(spectrum: FloatArray, rows: FloatArray, n: float, time: float) -> Stopped:
    r"""Bias in several directions, and variance, of flow stopped at a time.

    The exponential of the sample covariance is a sum of resolvents on a parabola (Weideman and
    Trefethen 2007), and products of two resolvents have deterministic equivalents; derived here
    (`derivations/linear#training-that-stops`).

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    rows : ndarray of shape (m, d)
        Weights of the eigendirections; products of components of two vectors.
    n : float
        Number of samples, above 0.
    time : float
        When training stops, above 0; of the loss |y - Xw|² / (2n).

    Returns
    -------
    Stopped
        The sums and the variance.

    Raises
    ------
    NumericalError
        If the equation of the effective ridge is not solved at a node.
    """
    s, weight = contour(time)
    kappa = complex_ridge(spectrum, n, s)
    over = 1.0 / (spectrum + kappa[:, None])  # (2N, d)
    factor = weight * kappa / s
    apart = 1.0 - (over * spectrum**2) @ over.T / n
    pairs = factor[:, None] * factor / apart
    sums = np.array([((over * (q * spectrum)) @ over.T * pairs).sum().real for q in rows])
    # (1 - exp(-t z))² / z is a sum of exponentials over z; a constant added to kappa drops out
    end = float(roots(spectrum, np.array([n]), np.zeros(1), 1).effective_ridge[0])
    once, twice = (_noise_sum(spectrum, n, end, t) for t in (time, 2.0 * time))
    return Stopped(sums, max(2.0 * once - twice, 0.0))


def _noise_sum(spectrum: FloatArray, n: float, end: float, time: float) -> float:
    """Sum of weight (kappa - end - s) / s², without the difference of near numbers."""
    s, weight = contour(time)
    kappa = complex_ridge(spectrum, n, s)
    some = spectrum[spectrum > 0.0]
    share = (some / (some + kappa[:, None])) @ (some / (some + end)) / n
    return float((weight * share / (1.0 - share) / s).sum().real)


def contour(time: float) -> tuple[ComplexArray, ComplexArray]:
    """Nodes s and weights w with exp(-t z) = sum of w / (s + z) for every z >= 0.

    Parameters
    ----------
    time : float
        The time t, above 0.

    Returns
    -------
    ndarray of shape (2N,), ndarray of shape (2N,)
        Nodes and weights, in conjugate pairs: entry k and entry 2N - 1 - k.
    """
    step, size = 3.0 / _NODES, np.pi * _NODES / (12.0 * time)
    u = step * (np.arange(-_NODES, _NODES) + 0.5)
    s = size * (1.0 + 1j * u) ** 2
    slope = 2j * size * (1.0 + 1j * u)
    return s, step / (2j * np.pi) * np.exp(s * time) * slope


def complex_ridge(spectrum: FloatArray, n: float, ridge: ComplexArray) -> ComplexArray:
    """Effective ridge of complex ridges off the negative axis: kappa (1 - df1 / n) = ridge.

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    n : float
        Number of samples.
    ridge : ndarray of shape (k,)
        Complex ridges.

    Returns
    -------
    ndarray of shape (k,)
        The root that continues the one of positive ridges; it has the sign of the ridge above
        and below the real axis.

    Raises
    ------
    NumericalError
        If it is not found.
    """
    kappa: ComplexArray = ridge + spectrum.sum() / n
    for turn in range(_FIXED_POINT + _NEWTON):
        over = 1.0 / (spectrum + kappa[:, None])
        image = ridge + kappa * (over @ spectrum) / n
        if turn >= _FIXED_POINT:  # the map keeps half planes: its iterates are near the root
            image = kappa - (kappa - image) / (1.0 - np.square(over) @ spectrum**2 / n)
        close = abs(image - kappa) <= 1e-15 * abs(kappa)
        kappa = image
        if close.all():
            break
    over = 1.0 / (spectrum + kappa[:, None])
    left = abs(kappa - kappa * (over @ spectrum) / n - ridge) / (abs(ridge) + abs(kappa))
    wrong = (left > 1e-11) | (kappa.imag * ridge.imag < 0.0)
    if wrong.any():
        raise NumericalError(
            f"the effective ridge of complex ridges was not found: relative residual {left.max():g}"
        )
    return kappa
