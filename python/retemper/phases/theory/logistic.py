"""Logistic regression on two Gaussian classes: the population flow, closed on a normal margin."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.numerics import gauss_legendre_rule
from retemper.phases.model import LogisticModel
from retemper.phases.times import whole_steps

__all__ = ["LogisticTheory"]

_LARGEST_NORM = 1e4
_RTOL = 1e-10


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
    times : ndarray of shape (T,)
        Times.
    fuv_logit, fuv_prob : ndarray of shape (T,)
        Fraction of unexplained variance of a decoder on the logit, and on the probability.
    norm : ndarray of shape (T,)
        Euclidean norm of the weights.

    See Also
    --------
    solve, LogisticSimulation

    Examples
    --------
    >>> from retemper.phases import LogisticModel, solve
    >>> model = LogisticModel([1.0, 0.5], [1.0, 0.2], [0.01, 0.01], times=[0.0, 1.0])
    >>> theory = solve(model)
    >>> theory.fuv_logit.shape, bool(theory.norm[1] > theory.norm[0])
    ((2,), True)
    """

    model: LogisticModel
    times: FloatArray
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


class _MarginAverages(NamedTuple):
    """Averages of the logistic function s over a margin u ~ N(mean, variance)."""

    pull: float  # E s(-u)
    curvature: float  # E s'(u)
    centre: float  # E (s(u) - 1/2)
    spread: float  # E (s(u) - 1/2)^2


def _margin_averages(mean: float, variance: float) -> _MarginAverages:
    z, weight = _normal_rule()
    half = 0.5 * np.tanh(0.5 * (mean + math.sqrt(variance) * z))
    centre = float(weight @ half)
    spread = float(weight @ half**2)
    return _MarginAverages(0.5 - centre, 0.25 - spread, centre, spread)


def _flow(model: LogisticModel, w: FloatArray) -> FloatArray:
    """Velocity of the weights under gradient flow on infinite data."""
    margin = _margin_averages(float(w @ model.mean), float(model.variances @ w**2))
    return model.mean * margin.pull - model.variances * w * margin.curvature


def _unexplained(model: LogisticModel, w: FloatArray) -> tuple[float, float]:
    """FUV of a decoder on the logit, and on the probability."""
    if not np.isfinite(w).all():
        return math.nan, math.nan
    if not w.any():
        return 1.0, 1.0
    s, mu, total = model.variances, model.mean, model.total_variance
    m, q = float(w @ mu), float(s @ w**2)
    margin = _margin_averages(m, q)
    logit = 1.0 - float(((s * w + mu * m) ** 2).sum()) / ((q + m * m) * total)
    along = mu * margin.centre + margin.curvature * s * w
    prob = 1.0 - float((along**2).sum()) / (margin.spread * total)
    return logit, prob


def _descend(model: LogisticModel, step_size: float) -> tuple[FloatArray, int]:
    """Weights at every time under gradient descent, NaN beyond the largest norm; and the steps."""
    steps = whole_steps(model.times, step_size)
    reached = np.full((steps.size, model.n_features), np.nan)
    w, done = model.w0.copy(), 0
    for i in np.argsort(steps, kind="stable"):
        for _ in range(steps[i] - done):
            w = w + step_size * _flow(model, w)
        done = int(steps[i])
        if np.linalg.norm(w) > _LARGEST_NORM:
            break
        reached[i] = w
    return reached, done


def _integrate(model: LogisticModel) -> tuple[FloatArray, int]:
    """Weights at every time under gradient flow, NaN beyond the largest norm; and the calls.

    SciPy's ``solve_ivp`` with LSODA: the flow is stiff once the classes are learned.
    """
    from scipy.integrate import solve_ivp

    def too_large(_: float, w: FloatArray) -> float:
        return float(np.linalg.norm(w)) - _LARGEST_NORM

    too_large.terminal = True  # type: ignore[attr-defined]
    unique, back = np.unique(model.times, return_inverse=True)
    path = np.full((unique.size, model.n_features), np.nan)
    path[unique == 0.0] = model.w0
    ahead, n_calls = unique[unique > 0.0], 0
    if ahead.size:
        found = solve_ivp(
            lambda _, w: _flow(model, w), (0.0, ahead[-1]), model.w0, method="LSODA",
            t_eval=ahead, events=too_large, rtol=_RTOL, atol=1e-12,
        )  # fmt: skip
        first, n_calls = unique.size - ahead.size, int(found.nfev)
        path[first : first + found.y.shape[1]] = found.y.T
    return path[back], n_calls


def solve_logistic(model: LogisticModel, *, on_failure: OnFailure) -> LogisticTheory:
    """The logistic model's part of `solve`: see there."""
    step = model.step_size
    reached, n_iter = _integrate(model) if step is None else _descend(model, step)
    measured = np.array([_unexplained(model, w) for w in reached]).reshape(-1, 2)
    complete = bool(np.isfinite(reached).all())
    status = Status.CONVERGED if complete else Status.INVALID
    message = (
        "integrated to the last time"
        if complete
        else "the weights outgrew 1e4: the classes are all but separable, later entries are NaN"
    )
    report_status(status, 0.0, f"solve: {message}:", on_failure=on_failure, stacklevel=4)
    return LogisticTheory(
        status=status, n_iter=n_iter, residual=_RTOL, message=message, model=model,
        times=model.times, fuv_logit=measured[:, 0], fuv_prob=measured[:, 1],
        norm=np.linalg.norm(reached, axis=1),
    )  # fmt: skip
