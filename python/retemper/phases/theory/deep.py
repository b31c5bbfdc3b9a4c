"""Hidden layers of a deep linear network, in modes that do not mix."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from retemper._domains import check_parameter
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.exceptions import NumericalError
from retemper.phases.times import check_times

__all__ = ["deep_linear_fuv"]

_RTOL = 1e-10


def deep_linear_fuv(
    spectrum: ArrayLike,
    signal: ArrayLike,
    times: ArrayLike,
    *,
    init_scale: float = 0.01,
    depth: int = 2,
    layer: int = 1,
    weight_decay: float = 0.0,
    relative_noise_var: float = 0.0,
) -> FloatArray:
    r"""Reconstruction from a hidden layer of a deep linear network while it is trained.

    The network :math:`f(x) = A W_{L-1} \cdots W_1 x` follows gradient flow of
    :math:`\frac12 E\|y - f(x)\|^2 + \frac\kappa2\sum\|W\|^2`. Every target varies with one
    eigendirection of the inputs, and the layers start as :math:`\sigma_0` times orthogonal maps
    that carry each direction to its target, so that directions do not mix. A direction with a
    target is learned, at the rate of its covariance; what has no target keeps its start, or loses
    it to weight decay.

    Parameters
    ----------
    spectrum : array_like of shape (p,)
        Eigenvalues :math:`\lambda_i` of the input covariance, positive.
    signal : array_like of shape (p,)
        Covariance :math:`m_i` of each eigendirection and its target, non-negative; zero where it
        has none.
    times : float or array_like of shape (T,)
        Non-negative times of gradient flow.
    init_scale : float, default=0.01
        Size :math:`\sigma_0` of every layer at time 0, in [1e-100, 10]: zeros never learn.
    depth : int, default=2
        Weight matrices L, from 2 to 20.
    layer : int, default=1
        Hidden layer that is read, from 1 to ``depth - 1``.
    weight_decay : float, default=0.0
        Strength :math:`\kappa`.
    relative_noise_var : float, default=0.0
        Variance of an independent noise on every unit, relative to their mean variance: what a
        decoder cannot resolve.

    Returns
    -------
    ndarray of shape (T,)
        Fraction of unexplained variance, dimensionless.

    Raises
    ------
    TypeError
        If an argument is not a real number or array.
    ValueError
        If a value is outside its domain, or lengths disagree.
    NumericalError
        If the weights of more than two layers could not be integrated to the last time.

    See Also
    --------
    linear_network_fuv, random_subspace_fuv

    Notes
    -----
    Derived here (`derivations/phases#hidden-layers-of-deep-linear-networks`). Without noise the
    value is zero for ever: hidden layers lose amplitude, not information. From layers that start at
    random the directions mix while they are small, and the value differs.

    Examples
    --------
    >>> from retemper.phases import deep_linear_fuv
    >>> start = dict(init_scale=0.1, relative_noise_var=1e-3)
    >>> deep_linear_fuv([1.0, 1.0], [0.0, 1.0], [0.0, 10.0], **start).round(4).tolist()
    [0.001, 0.0243]
    >>> decayed = deep_linear_fuv([1.0, 1.0], [0.0, 1.0], [10.0, 1e3], weight_decay=0.1, **start)
    >>> decayed.round(3).tolist()
    [0.125, 0.5]
    """
    lam = as_float_array(spectrum, "spectrum")
    if not lam.size or lam.min() <= 0.0:
        raise ValueError(f"spectrum must have positive entries, got {lam.tolist()[:5]}")
    m = as_float_array(signal, "signal")
    check_shape(m, lam.shape, "signal")
    if m.min() < 0.0:
        raise ValueError(f"signal must have non-negative entries, got {m.min():g}")
    at = check_times(times)
    size = check_real(init_scale, "init_scale", low=1e-100, high=10.0)
    n_layers = check_integer(depth, "depth", low=2, high=20)
    power = check_integer(layer, "layer", low=1, high=n_layers - 1)
    kappa = check_parameter(weight_decay, "weight_decay")
    noise = check_parameter(relative_noise_var, "relative_noise_var")

    log_weight = np.tile((np.log(size) - kappa * at)[:, None], lam.size)
    seen = m > 0.0
    if seen.any():
        log_weight[:, seen] = (
            _logistic(lam[seen], m[seen], at, size=size, kappa=kappa)
            if n_layers == 2
            else _integrate(lam[seen], m[seen], at, size=size, kappa=kappa, depth=n_layers)
        )
    carried = np.exp(2 * power * (log_weight - log_weight.max(axis=1, keepdims=True))) * lam
    floor = noise * carried.mean(axis=1, keepdims=True)
    lost = np.where(floor > 0.0, floor / (carried + floor), 0.0)
    return np.asarray(lost @ lam / lam.sum())


def _logistic(
    lam: FloatArray, m: FloatArray, times: FloatArray, *, size: float, kappa: float
) -> FloatArray:
    """Logarithm of the weight of each direction in both layers of a network of two, (T, p)."""
    rate, time = np.abs(m - kappa), times[:, None]
    still = rate <= 1e-12 * m
    share = -np.expm1(-2.0 * rate * time) / np.where(still, 1.0, rate)
    share = lam * size**2 * np.where(still, 2.0 * time, share)
    falling = m < kappa
    decay = np.exp(-2.0 * rate * time)
    below = np.where(falling, 2.0 * rate * time + np.log1p(share), np.log(decay + share))
    return np.asarray(np.log(size) - 0.5 * below)


def _integrate(
    lam: FloatArray, m: FloatArray, times: FloatArray, *, size: float, kappa: float, depth: int
) -> FloatArray:
    """The same for more layers, in the logarithm of the weights."""
    from scipy.integrate import solve_ivp

    def velocity(_: float, log_weight: FloatArray) -> FloatArray:
        weight = np.exp(log_weight)
        return np.asarray(weight ** (depth - 2) * (m - lam * weight**depth) - kappa)

    def slope(_: float, log_weight: FloatArray) -> FloatArray:
        weight = np.exp(log_weight)
        rise = (depth - 2) * m * weight ** (depth - 2)
        return np.diag(rise - (2 * depth - 2) * lam * weight ** (2 * depth - 2))

    order = np.unique(times)
    path = solve_ivp(
        velocity, (0.0, float(order[-1]) or 1.0), np.full(lam.size, np.log(size)), "LSODA",
        t_eval=order, jac=slope, rtol=_RTOL, atol=_RTOL,
    )  # fmt: skip
    if not path.success or path.y.shape[1] != order.size:
        reached = float(path.t[-1]) if path.t.size else 0.0
        raise NumericalError(
            f"the weights of depth = {depth} layers were integrated to time {reached:.3g} of "
            f"{order[-1]:.3g} only: {path.message}"
        )
    return np.asarray(path.y.T[np.searchsorted(order, times)])
