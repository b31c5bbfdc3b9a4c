r"""Exact curves of reconstruction during training, before any training is done.

A layer's activations h are judged by the best affine decoder back to the inputs: the fraction of
unexplained variance (FUV) is :math:`1 - C/\operatorname{tr}\Sigma`, with C the variance explained.
Everything here is derived here; the phases themselves are the observation of Schneider and
Prabhushankar (2024).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import report_status
from retemper._random import Seed, replica_generator, stream_key
from retemper._results import Result, Status, Sweep
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_real,
    check_shape,
)
from retemper.numerics import gauss_legendre_rule
from retemper.phases.model import FeatureModel, LogisticModel

__all__ = [
    "FeatureTheory",
    "LogisticTheory",
    "PhaseForecast",
    "PhaseSummary",
    "curve",
    "linear_network_fuv",
    "phase_forecast",
    "random_subspace_fuv",
    "solve",
    "summary",
]

_RANK_CUT = 1e-10  # eigenvalues below this share of the largest are not inverted
_INIT, _SAMPLE = 1, 2  # purposes of the random streams
#: A change of FUV below this is not worth a checkpoint.
RELEVANT = 0.01


# ---------------------------------------------------------------------------------------------
# a linear layer in the eigenbasis of its inputs


def decay(lam: FloatArray, t: FloatArray, step_size: float | None) -> tuple[FloatArray, FloatArray]:
    """What is left of the initial weights (d) and what has come in of the signal (phi), (T, p)."""
    time = t[:, None]
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
        steps = np.rint(t / step_size)
        if np.abs(t - steps * step_size).max(initial=0.0) > 1e-9 * t.max(initial=1.0):
            raise ValueError(
                f"t must hold whole multiples of step_size = {step_size:g}: it is the number of "
                "steps times step_size"
            )
        s = steps[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_d = np.where(s > 0.0, s * np.log1p(-np.minimum(pace, 1.0)), 0.0)
        gentle = pace <= 1.0
        d = np.where(gentle, np.exp(log_d), np.power(1.0 - pace, s))
        grown = np.where(gentle, -np.expm1(log_d), 1.0 - d)
    tiny = lam <= 0.0
    phi = np.where(tiny, time, grown / np.where(tiny, 1.0, lam))
    return d, phi


def explained(
    w: FloatArray, lam: FloatArray, noise_floor: float, task: FloatArray | None = None
) -> tuple[FloatArray, FloatArray | None]:
    """Variance explained by layers w (..., K, p), and R^2 of tasks (p,) along the modes."""
    k = w.shape[-2]
    weighted = w * lam
    e, v = np.linalg.eigh(weighted @ np.swapaxes(w, -1, -2))
    g = np.swapaxes(v, -1, -2) @ weighted
    top = e.max(axis=-1, keepdims=True)
    keep = (e > k * 1e-14 * top) & (top > 0.0)
    floor = noise_floor * e.sum(axis=-1, keepdims=True) / k
    inverse = np.where(keep, 1.0 / np.where(keep, e + floor, 1.0), 0.0)
    total = ((g**2).sum(axis=-1) * inverse).sum(axis=-1)
    if task is None:
        return total, None
    return total, ((g @ task) ** 2 * inverse).sum(axis=-1) / float((task**2 * lam).sum())


def _layer_curves(
    lam: FloatArray,
    signal: FloatArray,
    w0: FloatArray,
    t: FloatArray,
    *,
    step_size: float | None,
    noise_floor: float,
    task: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray | None]:
    """FUV and R^2 at every time of the layers started at w0 (..., K, p)."""
    d, phi = decay(lam, t, step_size)
    fuv, r2 = [], []
    for decayed, grown in zip(d, phi, strict=True):
        part, score = explained(w0 * decayed + signal * grown, lam, noise_floor, task)
        fuv.append(1.0 - part / lam.sum())
        r2.append(score)
    stacked = np.stack(fuv, axis=-1)
    return stacked, None if task is None else np.stack(r2, axis=-1)  # type: ignore[arg-type]


def _contrasts(k: int) -> FloatArray:
    """Orthonormal rows (k - 1, k) orthogonal to the vector of ones (Helmert)."""
    rows = np.tril(np.ones((k - 1, k)))
    rows[np.arange(k - 1), np.arange(1, k)] = -np.arange(1.0, k)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _signal_limits(lam: FloatArray, m: FloatArray) -> tuple[float, float]:
    """FUV of the row space of the class means and of that of least squares."""
    total = lam.sum()
    seen = lam > _RANK_CUT * lam.max()
    inverse = np.where(seen, 1.0 / np.where(seen, lam, 1.0), 0.0)
    early = explained(m, lam, 0.0)[0]
    late = explained(m * inverse, lam, 0.0)[0]
    return float(1.0 - early / total), float(1.0 - late / total)


def _moments(X: FloatArray, Y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eigenvalues of Sxx, the cross moments Syx in its eigenbasis, and the basis."""
    n = X.shape[0]
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    lam, u = np.linalg.eigh(Xc.T @ Xc / n)
    lam = np.where(lam > 1e-15 * lam.max(initial=0.0), lam, 0.0)
    if not lam.any():
        raise ValueError("X does not vary: the fraction of unexplained variance is undefined")
    return lam, (Yc.T @ Xc / n) @ u, u


def _times(t: ArrayLike) -> FloatArray:
    times = np.atleast_1d(as_float_array(t, "t", ndim=(0, 1)))
    if times.size and times.min() < 0.0:
        raise ValueError(f"t must be non-negative, got {times.min():g}")
    return times


def _check_step(step_size: float | None) -> float | None:
    return None if step_size is None else check_real(step_size, "step_size", low=0.0, open_low=True)


def linear_network_fuv(
    X: ArrayLike,
    Y: ArrayLike,
    W0: ArrayLike,
    t: ArrayLike,
    *,
    step_size: float | None = None,
    noise_floor: float = 0.0,
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
    t : float or array_like of shape (T,)
        Times; with ``step_size``, the number of steps times ``step_size``.
    step_size : float or None, default=None
        Step of gradient descent; None is gradient flow.
    noise_floor : float, default=0.0
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

    Notes
    -----
    Derived here: in the eigenbasis of :math:`\Sigma_{xx}` each column of the weights is
    :math:`e^{-\lambda t} w_0 + (1 - e^{-\lambda t})/\lambda\, m`.

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
    floor = check_real(noise_floor, "noise_floor", low=0.0)
    times, step = _times(t), _check_step(step_size)
    lam, m, u = _moments(inputs, targets)
    w0 = weights @ u
    if drop_common:
        basis = _contrasts(check_integer(targets.shape[1], "the number of columns of Y", low=2))
        w0, m = basis @ w0, basis @ m
    if task_weights is None:
        return _layer_curves(lam, m, w0, times, step_size=step, noise_floor=floor)[0]
    factor = u.T @ task_factor(task_weights, inputs.shape[1])
    d, phi = decay(lam, times, step)
    whole = float((factor**2 * lam[:, None]).sum())
    out = np.empty(times.size)
    for i in range(times.size):
        w = w0 * d[i] + m * phi[i]
        parts = [explained(w, lam, floor, column)[1] for column in factor.T]
        shares = (factor**2 * lam[:, None]).sum(axis=0) / whole
        out[i] = 1.0 - float(np.dot(np.array(parts, dtype=np.float64), shares))
    return out


def task_factor(task_weights: ArrayLike, p: int) -> FloatArray:
    """Factor R (p, r) of the task prior: weights of coordinates, or the factor itself."""
    factor = as_float_array(task_weights, "task_weights", ndim=(1, 2))
    check_shape(factor, (p,) if factor.ndim == 1 else (p, None), "task_weights")
    if factor.ndim == 1:
        if factor.min() < 0.0:
            raise ValueError(f"task_weights must be non-negative, got {factor.min():g}")
        used = np.flatnonzero(factor)
        wide = np.zeros((p, used.size))
        wide[used, np.arange(used.size)] = np.sqrt(factor[used])
        factor = wide
    if not factor.any():
        raise ValueError("task_weights must not be all zero")
    return factor


def random_subspace_fuv(spectrum: ArrayLike, n_units: int) -> float:
    r"""Reconstruction from a random linear layer, in the limit of many inputs.

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

    Notes
    -----
    Derived here, a deterministic equivalent: :math:`C = \sum \lambda_i^2/(\lambda_i+\kappa)` with
    :math:`\sum \lambda_i/(\lambda_i+\kappa) = K`.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import random_subspace_fuv
    >>> round(random_subspace_fuv(1 / np.arange(1.0, 65.0), 9), 6)
    0.619656
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
    from scipy.optimize import brentq

    scale = lam.max()

    def excess(log_kappa: float) -> float:
        return float((lam / (lam + scale * math.exp(log_kappa))).sum()) - units

    low, high = -1.0, math.log(lam.size)
    while excess(low) < 0.0:
        low *= 2.0
    kappa = scale * math.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
    return float((lam * kappa / (lam + kappa)).sum() / lam.sum())


# ---------------------------------------------------------------------------------------------
# the feature model


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FeatureTheory(Result):
    """Reconstruction of a `FeatureModel` during training, as `solve` returns it (see `solve`).

    Parameters
    ----------
    status : Status
        Always converged: the curve is closed.
    n_iter : int
        Number of initialisations averaged over; 0 for the annealed average.
    residual : float
        Zero.
    message : str
        What was computed, in words.
    model : FeatureModel
        What was solved.
    t : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Fraction of unexplained input variance.
    task_r2 : ndarray of shape (T,)
        R² of a decoder for the auxiliary task; NaN-free, and empty without a task.
    fuv_stderr, task_r2_stderr : ndarray of shape (T,)
        Standard errors over initialisations; zero for the annealed average.
    """

    model: FeatureModel
    t: FloatArray
    fuv: FloatArray
    task_r2: FloatArray
    fuv_stderr: FloatArray
    task_r2_stderr: FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LogisticTheory(Result):
    """Reconstruction of a `LogisticModel` during training, as `solve` returns it (see `solve`).

    Parameters
    ----------
    status : Status
        ``invalid`` where the weights outgrew 1e4 before the last time: the entries after that are
        NaN.
    n_iter : int
        Evaluations of the flow.
    residual : float
        Relative tolerance of the integration.
    message : str
        What happened, in words.
    model : LogisticModel
        What was solved.
    t : ndarray of shape (T,)
        Times.
    fuv_logit, fuv_prob : ndarray of shape (T,)
        Fraction of unexplained variance of a decoder on the logit, and on the probability.
    norm : ndarray of shape (T,)
        Euclidean norm of the weights.
    """

    model: LogisticModel
    t: FloatArray
    fuv_logit: FloatArray
    fuv_prob: FloatArray
    norm: FloatArray


class _FeatureModes:
    """Modes of a feature model, its K - 1 class contrasts having identical ones."""

    def __init__(self, model: FeatureModel) -> None:
        self.copies = model.n_classes - 1
        self.lam, self.u = np.linalg.eigh(model.contrast_covariance)
        self.m = self.u.T @ model.signal / model.n_classes
        noise = np.full(min(model.n_noise, 1), model.noise_sd**2)
        self.rest = np.concatenate([model.common_variance, noise])
        counts = np.concatenate([np.ones(model.n_groups), np.full(noise.size, model.n_noise)])
        self.all = np.concatenate([self.lam, self.rest])
        self.counts = np.concatenate([np.full(self.lam.size, self.copies), counts])
        self.total = model.total_variance
        self.init = model.init_scale**2
        if self.all.max() <= 0.0:
            raise ValueError("the inputs do not vary")

    def spectrum(self) -> FloatArray:
        """Every eigenvalue of the input covariance, (p,), contrast by contrast first."""
        rest = np.repeat(self.rest, self.counts[self.lam.size :].astype(int))
        return np.concatenate([np.tile(self.lam, self.copies), rest])

    def sums(
        self, t: FloatArray, step_size: float | None, power: int
    ) -> tuple[FloatArray, FloatArray]:
        d, phi = decay(self.all, t, step_size)
        g = self.lam.size
        left = (self.counts * self.all**power * d**2).sum(axis=1)
        return left, (self.lam**power * (self.m * phi[:, :g]) ** 2).sum(axis=1)

    def fuv(self, t: FloatArray, step_size: float | None, drop_common: bool) -> FloatArray:
        """The annealed curve: a ratio of averages over the initial weights."""
        left1, came1 = self.sums(t, step_size, 1)
        left2, came2 = self.sums(t, step_size, 2)
        below = self.init * left1 + came1
        moving = below > 0.0
        c = self.copies * np.divide(
            self.init * left2 + came2, below, out=np.zeros_like(below), where=moving
        )
        if not drop_common:
            alive = (left1 > 0.0) & (self.init > 0.0)
            c += np.divide(left2, left1, out=np.zeros_like(c), where=alive)
        return np.asarray(1.0 - c / self.total)

    def slope(self, log_t: float) -> float:
        """Slope d FUV / d log t of the annealed curve under gradient flow, contrasts only."""
        t = np.array([math.exp(log_t)])
        d, phi = decay(self.all, t, None)
        d, phi, g = d[0], phi[0], self.lam.size

        def parts(power: int) -> tuple[float, float]:
            weight = self.counts * self.all**power
            value = self.init * (weight * d**2).sum()
            rate = -2.0 * self.init * (weight * self.all * d**2).sum()
            signal = self.lam**power * self.m**2
            value += (signal * phi[:g] ** 2).sum()
            rate += 2.0 * (signal * phi[:g] * d[:g]).sum()
            return float(value), float(rate)

        below, below_rate = parts(1)
        above, above_rate = parts(2)
        rate = (above_rate * below - above * below_rate) / below**2
        return -self.copies * rate * float(t[0]) / self.total


def _feature_task(model: FeatureModel, task: ArrayLike | None) -> FloatArray | None:
    if task is None:
        return None
    theta = as_float_array(task, "task")
    check_shape(theta, (model.n_groups,), "task")
    if float(theta @ model.contrast_covariance @ theta) <= 0.0:
        raise ValueError("task must have a positive variance under the model")
    return theta


def _solve_feature(
    model: FeatureModel,
    times: FloatArray,
    *,
    step_size: float | None,
    drop_common: bool,
    task: ArrayLike | None,
    n_init: int | None,
    random_state: Seed,
) -> FeatureTheory:
    modes = _FeatureModes(model)
    theta = _feature_task(model, task)
    if n_init is None:
        fuv = modes.fuv(times, step_size, drop_common)
        r2 = np.empty(0)
        if theta is not None:
            d, phi = decay(modes.all, times, step_size)
            g = modes.lam.size
            weighted = modes.lam * (modes.u.T @ theta)
            left1, came1 = modes.sums(times, step_size, 1)
            below = modes.init * left1 + came1
            above = (phi[:, :g] * modes.m @ weighted) ** 2 + modes.copies * modes.init * (
                d[:, :g] ** 2 @ weighted**2
            )
            whole = float(theta @ model.contrast_covariance @ theta)
            r2 = np.divide(above, below * whole, out=np.zeros_like(below), where=below > 0.0)
        zero = np.zeros_like(fuv)
        return FeatureTheory(
            status=Status.CONVERGED, n_iter=0, residual=0.0, model=model, t=times,
            message="annealed average over initial weights", fuv=fuv, task_r2=r2,
            fuv_stderr=zero, task_r2_stderr=np.zeros_like(r2),
        )  # fmt: skip
    n_init = check_integer(n_init, "n_init", low=2)
    lam, g = modes.spectrum(), modes.lam.size
    units = modes.copies + (not drop_common)
    signal = np.zeros((units, lam.size))
    along = np.zeros((modes.copies, lam.size))
    for c in range(modes.copies):
        signal[c, c * g : (c + 1) * g] = modes.m
        if theta is not None:
            along[c, c * g : (c + 1) * g] = modes.u.T @ theta
    key = stream_key(random_state)
    d, phi = decay(lam, times, step_size)
    curves, scores = [], []
    for i in range(n_init):
        w0 = replica_generator(key, i, _INIT).normal(size=signal.shape) * model.init_scale
        w = w0 * d[:, None, :] + signal * phi[:, None, :]
        curves.append(1.0 - explained(w, lam, 0.0)[0] / lam.sum())
        if theta is not None:
            r2s = [explained(w, lam, 0.0, row)[1] for row in along]
            scores.append(np.mean(np.array(r2s, dtype=np.float64), axis=0))
    found, spread = mean_stderr(np.array(curves))
    r2, r2_spread = mean_stderr(np.array(scores)) if scores else (np.empty(0), np.empty(0))
    return FeatureTheory(
        status=Status.CONVERGED, n_iter=n_init, residual=0.0, model=model, t=times,
        message=f"average over {n_init} initialisations", fuv=found, task_r2=r2,
        fuv_stderr=spread, task_r2_stderr=r2_spread,
    )  # fmt: skip


def mean_stderr(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean over the first axis and its standard error."""
    n = values.shape[0]
    return values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(n)


# ---------------------------------------------------------------------------------------------
# the logistic model


@functools.lru_cache(maxsize=1)
def _normal_rule() -> tuple[FloatArray, FloatArray]:
    """64 panels of 16 Gauss-Legendre points for averages over a normal variable in [-9, 9]."""
    node, weight = gauss_legendre_rule(16)
    edges = np.linspace(-9.0, 9.0, 65)
    half = 0.5 * np.diff(edges)[:, None]
    z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * node).ravel()
    w = (half * weight).ravel() * np.exp(-0.5 * z**2)
    return z, w / w.sum()


def _logistic_averages(mean: float, variance: float) -> tuple[float, float, float, float]:
    """E s(-u), E s'(u), E (s(u) - 1/2), E (s(u) - 1/2)^2 for u ~ N(mean, variance)."""
    z, weight = _normal_rule()
    half = 0.5 * np.tanh(0.5 * (mean + math.sqrt(variance) * z))
    e = float(weight @ half)
    v = float(weight @ half**2)
    return 0.5 - e, 0.25 - v, e, v


def _logistic_measure(model: LogisticModel, w: FloatArray) -> tuple[float, float]:
    s, mu, total = model.variances, model.mean, model.total_variance
    if not w.any():
        return 1.0, 1.0
    m, q = float(w @ mu), float(s @ w**2)
    _, b, e, v = _logistic_averages(m, q)
    logit = 1.0 - float(((s * w + mu * m) ** 2).sum()) / ((q + m * m) * total)
    prob = 1.0 - float(((mu * e + b * s * w) ** 2).sum()) / (v * total)
    return logit, prob


_LARGEST_NORM = 1e4
_LOGISTIC_RTOL = 1e-10


def _solve_logistic(
    model: LogisticModel, times: FloatArray, step_size: float | None
) -> LogisticTheory:
    s, mu = model.variances, model.mean
    n_calls = 0

    def flow(_: float, w: FloatArray) -> FloatArray:
        nonlocal n_calls
        n_calls += 1
        a, b, *_unused = _logistic_averages(float(w @ mu), float(s @ w**2))
        return mu * a - s * w * b

    order = np.argsort(times, kind="stable")
    reached = np.full((times.size, s.size), np.nan)
    if step_size is not None:
        w, done = model.w0.copy(), 0
        for i in order:
            steps = round(times[i] / step_size)
            if abs(times[i] - steps * step_size) > 1e-9 * max(times[i], 1.0):
                raise ValueError(f"t must hold whole multiples of step_size = {step_size:g}")
            for _ in range(steps - done):
                w = w + step_size * flow(0.0, w)
            done = steps
            if np.linalg.norm(w) > _LARGEST_NORM:
                break
            reached[i] = w
    elif times.size:
        from scipy.integrate import solve_ivp

        def too_large(_: float, w: FloatArray) -> float:
            return float(np.linalg.norm(w)) - _LARGEST_NORM

        too_large.terminal = True  # type: ignore[attr-defined]
        unique, back = np.unique(times, return_inverse=True)
        path = np.full((unique.size, s.size), np.nan)
        path[unique == 0.0] = model.w0
        ahead = unique[unique > 0.0]
        if ahead.size:
            found = solve_ivp(
                flow, (0.0, ahead[-1]), model.w0, method="LSODA", t_eval=ahead,
                events=too_large, rtol=_LOGISTIC_RTOL, atol=1e-12,
            )  # fmt: skip
            first = unique.size - ahead.size
            path[first : first + found.y.shape[1]] = found.y.T
        reached = path[back]
    measured = np.array(
        [_logistic_measure(model, w) if np.isfinite(w).all() else (np.nan, np.nan) for w in reached]
    ).reshape(-1, 2)
    complete = bool(np.isfinite(reached).all())
    status = Status.CONVERGED if complete else Status.INVALID
    message = (
        "integrated to the last time"
        if complete
        else "the weights outgrew 1e4: the classes are all but separable, later entries are NaN"
    )
    report_status(status, 0.0, f"solve: {message}:", stacklevel=4)
    return LogisticTheory(
        status=status, n_iter=n_calls, residual=_LOGISTIC_RTOL, message=message, model=model,
        t=times, fuv_logit=measured[:, 0], fuv_prob=measured[:, 1],
        norm=np.linalg.norm(reached, axis=1),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# solve, curve, summary


def solve(
    model: FeatureModel | LogisticModel,
    t: ArrayLike,
    *,
    step_size: float | None = None,
    drop_common: bool = True,
    task: ArrayLike | None = None,
    n_init: int | None = None,
    random_state: Seed = None,
) -> Any:
    r"""Reconstruction during training, exactly.

    Parameters
    ----------
    model : FeatureModel or LogisticModel
        The problem.
    t : float or array_like of shape (T,)
        Times of gradient flow, in units of 1 / (eigenvalue of the input covariance); with
        ``step_size``, the number of steps times ``step_size``.
    step_size : float or None, default=None
        Step of full-batch gradient descent on infinite data; None is gradient flow.
    drop_common : bool, default=True
        Feature model: whether to leave out the sum of the outputs, which carries no class signal
        and to which softmax is blind.
    task : array_like of shape (G,) or None, default=None
        Feature model: an auxiliary task :math:`\theta`, the combination :math:`\theta \cdot x_c`
        of the groups in every class contrast.
    n_init : int or None, default=None
        Feature model: average over this many initialisations, with standard errors; None is the
        annealed average (a ratio of averages), off by up to 9 % in FUV near t = 0 where the layer
        is not wide, exact for ``init_scale=0``.
    random_state : None, int, SeedSequence, Generator or RandomState, default=None
        Seed of the initialisations.

    Returns
    -------
    FeatureTheory or LogisticTheory
        Curves over ``t``.

    Raises
    ------
    TypeError
        If ``model`` is neither model.
    ValueError
        If a time is negative, the step unstable, times are no multiples of it, or an option
        belongs to the other model.

    Warns
    -----
    ValidityWarning
        If the weights of a logistic model outgrow 1e4 before the last time.

    Notes
    -----
    Derived here. Feature model, annealed: :math:`C = (K-1)(\sigma_0^2 \tau_2 + S_2)/(\sigma_0^2
    \tau_1 + S_1)` with :math:`\tau_q = \sum \lambda^q d^2` over all modes and :math:`S_q = \sum
    \lambda^q (m \varphi)^2` over one contrast. Logistic model: the population flow closes on
    averages over a normal margin.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, solve
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5)
    >>> solve(model, [0.0, 1.0, 1000.0]).fuv.round(6).tolist()
    [0.660266, 0.463415, 0.634888]
    """
    times, step = _times(t), _check_step(step_size)
    if isinstance(model, FeatureModel):
        return _solve_feature(
            model, times, step_size=step, drop_common=drop_common, task=task, n_init=n_init,
            random_state=random_state,
        )  # fmt: skip
    if not isinstance(model, LogisticModel):
        raise TypeError(
            f"model must be a FeatureModel or a LogisticModel, got {type(model).__name__}"
        )
    if task is not None or n_init is not None:
        raise ValueError("task and n_init belong to the FeatureModel")
    return _solve_logistic(model, times, step)


def curve(
    model: FeatureModel | LogisticModel,
    t: ArrayLike,
    *,
    step_size: float | None = None,
    **axes: Iterable[float],
) -> Sweep:
    """Solve a model over a grid of its scalar parameters, and over time.

    Parameters
    ----------
    model : FeatureModel or LogisticModel
        What every point has in common.
    t : float or array_like of shape (T,)
        Times, as in `solve`; the last axis of the result.
    step_size : float or None, default=None
        As in `solve`.
    **axes : iterable of float
        Values of ``n_classes``, ``shared_noise``, ``n_noise``, ``noise_sd`` and ``init_scale`` of
        a feature model; the grid is their product.

    Returns
    -------
    Sweep
        ``fuv`` (feature model) or ``fuv_logit``, ``fuv_prob`` and ``norm`` on the grid.

    Raises
    ------
    ValueError
        If a name is not a scalar parameter, an axis is empty, or a value is outside its domain.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, curve
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5)
    >>> curve(model, [1.0, 30.0], init_scale=[0.0, 0.01])["fuv"].round(4).tolist()
    [[0.4528, 0.6187], [0.4634, 0.6187]]
    """
    feature = isinstance(model, FeatureModel)
    scalars = (
        {"n_classes", "shared_noise", "n_noise", "noise_sd", "init_scale"} if feature else set()
    )
    grid: dict[str, NDArray[Any]] = {}
    for name, values in axes.items():
        if name not in scalars:
            raise ValueError(
                f"{name!r} is not a scalar parameter of {type(model).__name__}: {sorted(scalars)}"
            )
        grid[name] = np.asarray(list(values))
        if grid[name].ndim != 1 or not grid[name].size:
            raise ValueError(f"axis {name!r} must be a non-empty list of numbers")
    names = ("fuv",) if feature else ("fuv_logit", "fuv_prob", "norm")
    times = _times(t)
    points = [
        solve(
            dataclasses.replace(model, **dict(zip(grid, point, strict=True))),
            times, step_size=step_size,
        )
        for point in itertools.product(*(v.tolist() for v in grid.values()))
    ]  # fmt: skip
    shape = (*(v.size for v in grid.values()), times.size)
    stacked: dict[str, NDArray[Any]] = {
        name: np.array([getattr(p, name) for p in points]).reshape(shape) for name in names
    }
    status = np.array([[str(p.status)] * times.size for p in points]).reshape(shape)
    return Sweep({**grid, "t": times}, {**stacked, "status": status}, type(model).__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PhaseSummary(Result):
    """The phases of a `FeatureModel` in a few numbers, as `summary` returns them (see `summary`).

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Times scanned.
    residual : float
        Slope of the curve at the turning point.
    message : str
        Which phases there are, in words.
    model : FeatureModel
        What was solved.
    fuv_init : float
        Plateau of a random layer (deterministic equivalent).
    fuv_early : float
        Row space of the class means: what a dominating signal gives at early times.
    fuv_late : float
        Row space of least squares: the end of training.
    t_star : float
        Turning point, the time of the smallest FUV under gradient flow; 0 if there is only a rise.
    fuv_star : float
        FUV there.
    minima : ndarray
        Times of all local minima.
    has_fall : bool
        Whether there is a second phase: a fall from the plateau.
    """

    model: FeatureModel
    fuv_init: float
    fuv_early: float
    fuv_late: float
    t_star: float
    fuv_star: float
    minima: FloatArray
    has_fall: bool


def _minima(slope: Callable[[float], float], low: float, high: float, n: int = 4000) -> list[float]:
    """Log-times at which the slope goes from negative to positive."""
    from scipy.optimize import brentq

    grid = np.linspace(low, high, n)
    values = np.array([slope(float(x)) for x in grid])
    falls = np.flatnonzero((values[:-1] < -1e-13) & (values[1:] >= 0.0))  # not mere rounding
    return [float(brentq(slope, grid[i], grid[i + 1], xtol=1e-12)) for i in falls]


def summary(model: FeatureModel) -> PhaseSummary:
    """Plateau, fall and rise of a feature model, and its turning point.

    Parameters
    ----------
    model : FeatureModel
        The problem.

    Returns
    -------
    PhaseSummary
        Three levels of FUV and the turning point, contrasts only.

    Raises
    ------
    TypeError
        If ``model`` is not a FeatureModel.

    Notes
    -----
    Derived here: the third phase always rises (the row space of the weights moves towards small
    eigenvalues), so that ``fuv_early <= fuv_late``; the fall exists if early alignment beats the
    random layer.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, summary
    >>> found = summary(FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5))
    >>> round(found.fuv_init, 3), round(found.fuv_star, 6), round(found.t_star, 3)
    (0.716, 0.461855, 1.468)
    """
    if not isinstance(model, FeatureModel):
        raise TypeError(f"model must be a FeatureModel, got {type(model).__name__}")
    modes = _FeatureModes(model)
    if not modes.m.any():
        raise ValueError("signal must have a nonzero entry: without it nothing is learned")
    lam, m = modes.lam, modes.m[None]
    early = 1.0 - modes.copies * float(explained(m, lam, 0.0)[0]) / modes.total
    seen = lam > _RANK_CUT * lam.max()
    inverse = np.where(seen, 1.0 / np.where(seen, lam, 1.0), 0.0)
    late = 1.0 - modes.copies * float(explained(m * inverse, lam, 0.0)[0]) / modes.total
    positive = modes.all[modes.all > 0.0]
    plateau = random_subspace_fuv(modes.spectrum(), modes.copies)
    slope_at, found = 0.0, np.empty(0)
    t_star, star = 0.0, min(early, late)
    if modes.init > 0.0:
        low, high = math.log(1e-4 / positive.max()), math.log(1e3 / positive.min())
        found = np.exp(_minima(modes.slope, low, high))
        star = float(modes.fuv(np.zeros(1), None, True)[0])
        if found.size:
            levels = modes.fuv(found, None, True)
            best = int(levels.argmin())
            if levels[best] < star:
                t_star, star = float(found[best]), float(levels[best])
                slope_at = modes.slope(math.log(t_star))
    falls = modes.init > 0.0 and plateau - star > RELEVANT and t_star > 0.0
    rises = late - star > RELEVANT
    return PhaseSummary(
        status=Status.CONVERGED, n_iter=4000, residual=abs(slope_at), model=model,
        message=describe(falls, rises), fuv_init=plateau, fuv_early=early, fuv_late=late,
        t_star=t_star, fuv_star=star, minima=found, has_fall=falls,
    )  # fmt: skip


def describe(falls: bool, rises: bool) -> str:
    """The phases in a sentence."""
    if falls and rises:
        return "reconstruction improves and then worsens: an intermediate checkpoint keeps most"
    if rises:
        return "reconstruction only worsens: there is no second phase, nothing to gain from waiting"
    if falls:
        return "reconstruction only improves: no third phase"
    return "reconstruction hardly changes: no phases"


# ---------------------------------------------------------------------------------------------
# forecast from data


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PhaseForecast(Result):
    """Phases of a linear layer on a data set, as `phase_forecast` returns them.

    See `phase_forecast` for the source of the mathematics.

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Number of initialisations.
    residual : float
        Largest standard error of the curve.
    message : str
        Which phases the curve shows, in words.
    fuv_init, fuv_early, fuv_late : float
        Levels of a random layer, of the class means and of least squares.
    t : ndarray of shape (T,)
        Times of gradient flow.
    fuv, fuv_stderr : ndarray of shape (T,)
        Curve averaged over initialisations, and its standard error.
    t_star, fuv_star : float
        Turning point on the grid of times, and the smallest FUV.
    task_r2 : ndarray of shape (T,)
        R² on the auxiliary task; empty without one.
    """

    fuv_init: float
    fuv_early: float
    fuv_late: float
    t: FloatArray
    fuv: FloatArray
    fuv_stderr: FloatArray
    t_star: float
    fuv_star: float
    task_r2: FloatArray


def one_hot(y: ArrayLike, name: str = "y") -> tuple[FloatArray, NDArray[Any]]:
    """One-hot rows of labels, and the classes."""
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"{name} must be 1-D labels, got shape {labels.shape}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} must not hold NaN or infinity")
    if labels.dtype.kind not in "biufUS":
        raise TypeError(f"{name} must hold numbers or strings, got dtype {labels.dtype}")
    classes, index = np.unique(labels, return_inverse=True)
    return np.eye(classes.size)[index], classes


def phase_forecast(
    X: ArrayLike,
    y: ArrayLike,
    *,
    init_scale: float = 0.01,
    noise_floor: float = 0.0,
    task: ArrayLike | None = None,
    t: ArrayLike | None = None,
    step_size: float | None = None,
    n_init: int = 8,
    random_state: Seed = 0,
) -> PhaseForecast:
    r"""Will a linear layer show phases on this data? Answered before any training.

    Parameters
    ----------
    X : array_like of shape (n, p)
        Inputs.
    y : array_like of shape (n,) or (n, K)
        Class labels (one dimension), or real targets (two dimensions).
    init_scale : float, default=0.01
        Standard deviation of the initial weights.
    noise_floor : float, default=0.0
        Variance of an independent noise on every unit, relative to their mean variance.
    task : array_like of shape (n,) or None, default=None
        A real auxiliary target, judged by the R² of its best linear predictor in X that survives.
    t : array_like of shape (T,) or None, default=None
        Times; None takes 120 from 0.01 / (largest eigenvalue) to 100 / (smallest above 1e-4 of
        it).
    step_size : float or None, default=None
        Step of gradient descent; None is gradient flow.
    n_init : int, default=8
        Initialisations averaged over, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Their seed.

    Returns
    -------
    PhaseForecast
        Levels, curve and turning point of the average over initialisations.

    Raises
    ------
    ValueError
        If X is constant, y has one class, or a value is outside its domain.

    Notes
    -----
    Derived here; see `linear_network_fuv`. It is the theory of *one linear* layer trained by
    squared loss: hidden layers of a nonlinear network may behave otherwise. Labels are read
    through their K - 1 contrasts. The three levels alone can mislead: at a finite ``init_scale``
    the late phase may overtake the fall, which the curve shows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from retemper.phases import phase_forecast
    >>> X, y = load_digits(return_X_y=True)
    >>> found = phase_forecast(X / 16.0, y)
    >>> round(found.fuv_init, 2), round(found.fuv_early, 2), round(found.fuv_late, 2)
    (0.52, 0.32, 0.43)
    """
    inputs = as_float_array(X, "X", ndim=2)
    scale = check_real(init_scale, "init_scale", low=0.0)
    floor = check_real(noise_floor, "noise_floor", low=0.0)
    draws = check_integer(n_init, "n_init", low=2)
    step = _check_step(step_size)
    if np.ndim(y) == 2:
        targets = as_float_array(y, "y", ndim=2)
    else:
        hot, classes = one_hot(y)
        if classes.size < 2:
            raise ValueError(f"y must have at least two classes, got {classes.size}")
        targets = hot @ _contrasts(classes.size).T
    check_shape(targets, (inputs.shape[0], None), "y")
    lam, m, u = _moments(inputs, targets)
    if t is None:
        low = lam[lam > 1e-4 * lam.max()].min()
        times = np.geomspace(0.01 / lam.max(), 100.0 / low, 120)
        if step is not None:
            times = np.unique(np.rint(times / step)) * step
    else:
        times = _times(t)
    theta = None
    if task is not None:
        aux = as_float_array(task, "task")
        check_shape(aux, (inputs.shape[0],), "task")
        cross = u.T @ (inputs - inputs.mean(axis=0)).T @ (aux - aux.mean()) / aux.size
        seen = lam > _RANK_CUT * lam.max()
        theta = np.where(seen, cross / np.where(seen, lam, 1.0), 0.0)
        if not theta.any():
            raise ValueError("task is uncorrelated with X: no linear layer can serve it")
    key = stream_key(random_state)
    w0 = np.stack([replica_generator(key, i, _INIT).normal(size=m.shape) for i in range(draws)])
    curves, r2 = _layer_curves(
        lam, m, scale * w0, times, step_size=step, noise_floor=floor, task=theta
    )
    fuv, stderr = mean_stderr(curves)
    early, late = _signal_limits(lam, m) if m.any() else (1.0, 1.0)
    best = int(fuv.argmin())
    falls = float(fuv[0] - fuv[best]) > RELEVANT
    rises = float(fuv[-1] - fuv[best]) > RELEVANT
    return PhaseForecast(
        status=Status.CONVERGED, n_iter=draws, residual=float(stderr.max(initial=0.0)),
        message=describe(falls, rises), fuv_init=random_subspace_fuv(lam, m.shape[0]),
        fuv_early=early, fuv_late=late, t=times, fuv=fuv, fuv_stderr=stderr,
        t_star=float(times[best]), fuv_star=float(fuv[best]),
        task_r2=np.empty(0) if r2 is None else r2.mean(axis=0),
    )  # fmt: skip
