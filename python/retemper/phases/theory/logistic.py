"""Logistic regression on two Gaussian classes: the population flow, closed on a normal margin."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from retemper._control import report_status
from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.numerics import gauss_legendre_rule
from retemper.phases.model import LogisticModel

__all__ = ["LogisticTheory"]


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


def solve_logistic(
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
