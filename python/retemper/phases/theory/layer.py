"""One linear layer in the eigenbasis of its inputs: its path, and what of them it explains."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from retemper._domains import check_parameter
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_shape,
)
from retemper.phases.tasks import task_factor
from retemper.phases.times import check_step_size, check_times, whole_steps

__all__ = ["linear_network_fuv", "random_subspace_fuv"]

RANK_CUT = 1e-10  # eigenvalues below this share of the largest are not inverted
#: A change of FUV below this is not worth a checkpoint.
RELEVANT = 0.01


def decay(
    lam: FloatArray, times: FloatArray, step_size: float | None
) -> tuple[FloatArray, FloatArray]:
    """What is left of the initial weights (d) and what has come in of the signal (phi), (T, p)."""
    time = times[:, None]
    if step_size is None:
        d = np.exp(-lam * time)
        grown = -np.expm1(-lam * time)
    else:
        pace = step_size * lam
        if pace.size and pace.max() >= 2.0:
            raise ValueError(
                f"step_size must lie below 2 / (largest eigenvalue) = {2 / lam.max():g} for "
                f"gradient descent to be stable, got {step_size:g}"
            )
        s = whole_steps(times, step_size)[:, None].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_d = np.where(s > 0.0, s * np.log1p(-np.minimum(pace, 1.0)), 0.0)
        gentle = pace <= 1.0
        d = np.where(gentle, np.exp(log_d), np.power(1.0 - pace, s))
        grown = np.where(gentle, -np.expm1(log_d), 1.0 - d)
    tiny = lam <= 0.0
    phi = np.where(tiny, time, grown / np.where(tiny, 1.0, lam))
    return d, phi


def explained(
    w: FloatArray, lam: FloatArray, relative_noise_var: float, task: FloatArray | None = None
) -> tuple[FloatArray, FloatArray | None]:
    """Variance explained by layers w (..., K, p), and R^2 of tasks (p,) along the modes."""
    k = w.shape[-2]
    weighted = w * lam
    e, v = np.linalg.eigh(weighted @ np.swapaxes(w, -1, -2))
    g = np.swapaxes(v, -1, -2) @ weighted
    top = e.max(axis=-1, keepdims=True)
    keep = (e > k * 1e-14 * top) & (top > 0.0)
    floor = relative_noise_var * e.sum(axis=-1, keepdims=True) / k
    inverse = np.where(keep, 1.0 / np.where(keep, e + floor, 1.0), 0.0)
    total = ((g**2).sum(axis=-1) * inverse).sum(axis=-1)
    if task is None:
        return total, None
    return total, ((g @ task) ** 2 * inverse).sum(axis=-1) / float((task**2 * lam).sum())


def layer_curves(
    lam: FloatArray,
    signal: FloatArray,
    w0: FloatArray,
    times: FloatArray,
    *,
    step_size: float | None,
    relative_noise_var: float,
    task: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray | None]:
    """FUV and R^2 at every time of the layers started at w0 (..., K, p)."""
    d, phi = decay(lam, times, step_size)
    fuv, r2 = [], []
    for decayed, grown in zip(d, phi, strict=True):
        part, score = explained(w0 * decayed + signal * grown, lam, relative_noise_var, task)
        fuv.append(1.0 - part / lam.sum())
        r2.append(score)
    stacked = np.stack(fuv, axis=-1)
    return stacked, None if task is None else np.stack(r2, axis=-1)  # type: ignore[arg-type]


def contrasts(k: int) -> FloatArray:
    """Orthonormal rows (k - 1, k) orthogonal to the vector of ones (Helmert)."""
    rows = np.tril(np.ones((k - 1, k)))
    rows[np.arange(k - 1), np.arange(1, k)] = -np.arange(1.0, k)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def signal_limits(lam: FloatArray, m: FloatArray) -> tuple[float, float]:
    """FUV of the row space of the class means and of that of least squares."""
    total = lam.sum()
    seen = lam > RANK_CUT * lam.max()
    inverse = np.where(seen, 1.0 / np.where(seen, lam, 1.0), 0.0)
    early = explained(m, lam, 0.0)[0]
    late = explained(m * inverse, lam, 0.0)[0]
    return float(1.0 - early / total), float(1.0 - late / total)


def data_modes(X: FloatArray, Y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eigenvalues of Sxx, the cross moments Syx in its eigenbasis, and the basis."""
    n = X.shape[0]
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    lam, u = np.linalg.eigh(Xc.T @ Xc / n)
    lam = np.where(lam > 1e-15 * lam.max(initial=0.0), lam, 0.0)
    if not lam.any():
        raise ValueError("X does not vary: the fraction of unexplained variance is undefined")
    return lam, (Yc.T @ Xc / n) @ u, u


def linear_network_fuv(
    X: ArrayLike,
    Y: ArrayLike,
    W0: ArrayLike,
    times: ArrayLike,
    *,
    step_size: float | None = None,
    relative_noise_var: float = 0.0,
    drop_common: bool = False,
    task_weights: ArrayLike | None = None,
) -> FloatArray:
    r"""Reconstruction from one linear layer while it is trained on data.

    The layer follows gradient flow (or descent) of :math:`\frac12 E\|y - W x\|^2` on the centred
    data; the result is exact for these moments.

    Parameters
    ----------
    X : array_like of shape (n, p)
        Inputs.
    Y : array_like of shape (n, K)
        Targets, e.g. one-hot labels.
    W0 : array_like of shape (K, p)
        Weights at time 0.
    times : float or array_like of shape (T,)
        Non-negative times; with ``step_size``, the number of steps times ``step_size``.
    step_size : float or None, default=None
        Step of gradient descent; None is gradient flow.
    relative_noise_var : float, default=0.0
        Variance of an independent noise on every unit, relative to their mean variance.
    drop_common : bool, default=False
        Whether to read the K outputs through their K - 1 contrasts only, to which softmax is
        confined; the sum of centred one-hot outputs carries no signal.
    task_weights : array_like of shape (p,) or (p, r), or None, default=None
        Weights of the inputs in the reconstruction, or a factor of the prior covariance of the
        linear tasks :math:`\theta`: 1 - FUV is then the expected R² over :math:`\theta`.

    Returns
    -------
    ndarray of shape (T,)
        Fraction of unexplained variance, dimensionless.

    Raises
    ------
    ValueError
        If shapes disagree, X is constant, a value is outside its domain, or the step is unstable.

    See Also
    --------
    phase_forecast, random_subspace_fuv

    Notes
    -----
    Derived here (`derivations/phases#one-layer`): in the eigenbasis of :math:`\Sigma_{xx}` each
    column of the weights is :math:`e^{-\lambda t} w_0 + (1 - e^{-\lambda t})/\lambda\, m`.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import linear_network_fuv
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3)) * [3.0, 1.0, 0.1]
    >>> Y = X @ [[1.0], [1.0], [1.0]]
    >>> linear_network_fuv(X, Y, np.full((1, 3), 0.01), [0.0, 1.0, 1000.0]).round(2).tolist()
    [0.17, 0.13, 0.17]
    """
    inputs = as_float_array(X, "X", ndim=2)
    targets = as_float_array(Y, "Y", ndim=2)
    check_shape(targets, (inputs.shape[0], None), "Y")
    if inputs.shape[0] < 2 or not targets.shape[1]:
        raise ValueError(f"X needs two rows and Y a column, got {inputs.shape}, {targets.shape}")
    weights = as_float_array(W0, "W0", ndim=2)
    check_shape(weights, (targets.shape[1], inputs.shape[1]), "W0")
    floor = check_parameter(relative_noise_var, "relative_noise_var")
    at, step = check_times(times), check_step_size(step_size)
    lam, m, u = data_modes(inputs, targets)
    w0 = weights @ u
    if drop_common:
        basis = contrasts(check_integer(targets.shape[1], "the number of columns of Y", low=2))
        w0, m = basis @ w0, basis @ m
    if task_weights is None:
        return layer_curves(lam, m, w0, at, step_size=step, relative_noise_var=floor)[0]
    factor = u.T @ task_factor(task_weights, inputs.shape[1])
    d, phi = decay(lam, at, step)
    whole = float((factor**2 * lam[:, None]).sum())
    out = np.empty(at.size)
    for i in range(at.size):
        w = w0 * d[i] + m * phi[i]
        parts = [explained(w, lam, floor, column)[1] for column in factor.T]
        shares = (factor**2 * lam[:, None]).sum(axis=0) / whole
        out[i] = 1.0 - float(np.dot(np.array(parts, dtype=np.float64), shares))
    return out


def random_subspace_fuv(spectrum: ArrayLike, n_units: int) -> float:
    r"""Reconstruction from a random linear layer of finite width.

    Parameters
    ----------
    spectrum : array_like of shape (p,)
        Eigenvalues of the input covariance, non-negative.
    n_units : int
        Number of units K of a layer with independent normal weights.

    Returns
    -------
    float
        Fraction of unexplained variance; 0 where ``n_units`` reaches the rank.

    Raises
    ------
    ValueError
        If an eigenvalue is negative, or all are zero.

    See Also
    --------
    linear_network_fuv

    Notes
    -----
    Derived here (`derivations/phases#the-first-level`): a deterministic equivalent, :math:`C = \sum
    \lambda_i^2/(\lambda_i+\kappa)` with :math:`\sum \lambda_i/(\lambda_i+\kappa) = K`, and its
    first correction in 1/K. The value is an average over layers. What the correction leaves out
    is at most half of it for a few units, and a tenth from 9 units on: 0.05 % of FUV for 9 units
    on 64 inputs of eigenvalues 1/i, where the equivalent alone is 1 % off (tested).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import random_subspace_fuv
    >>> round(random_subspace_fuv(1 / np.arange(1.0, 65.0), 9), 6)
    0.62585
    """
    lam = as_float_array(spectrum, "spectrum")
    units = check_integer(n_units, "n_units")
    if not lam.size or lam.min() < 0.0 or not lam.any():
        raise ValueError("spectrum must be non-negative with a positive entry")
    lam = lam[lam > 0.0]
    if units == 0:
        return 1.0
    if units >= lam.size:
        return 0.0
    level, shift = subspace_levels(lam / lam.max(), units)
    return min(1.0, max(0.0, level + shift))


def subspace_levels(lam: FloatArray, n_units: int) -> tuple[float, float]:
    """Reconstruction from a random layer: the limit of many inputs, and its shift at finite width.

    Parameters
    ----------
    lam : ndarray of shape (p,)
        Positive eigenvalues of which the largest is one.
    n_units : int
        Number of units, fewer than eigenvalues.

    Returns
    -------
    tuple of float
        In that order.
    """
    from scipy.optimize import brentq

    def excess(log_kappa: float) -> float:
        return float((lam / (lam + math.exp(log_kappa))).sum()) - n_units

    low, high = -1.0, math.log(lam.size)
    while excess(low) < 0.0:
        low *= 2.0
    kappa = math.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
    rest = kappa / (lam + kappa)
    slope = float((lam * rest**2).sum())
    # trace of the squared inverse of W Lambda W', and the mean of its trace at this order
    square = 1.0 / (kappa * slope)
    mean = square * float((lam**2 * rest**3).sum()) / slope
    gained = lam * (lam * mean * rest**2 - square * lam**2 * rest**3)
    whole = float(lam.sum())
    return float((lam * rest).sum() / whole), -float(gained.sum() / whole)


def describe_phases(falls: bool, rises: bool) -> str:
    """The phases in a sentence."""
    if falls and rises:
        return "reconstruction improves and then worsens: an intermediate checkpoint keeps most"
    if rises:
        return "reconstruction only worsens: there is no second phase, nothing to gain from waiting"
    if falls:
        return "reconstruction only improves: no third phase"
    return "reconstruction hardly changes: no phases"
