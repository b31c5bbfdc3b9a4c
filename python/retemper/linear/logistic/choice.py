"""Choice of ridge and scale of the source for logistic regression, by approximate leave-one-out."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from retemper._validation import FloatArray
from retemper.linear.logistic.path import (
    Curvature,
    LogisticFit,
    LogisticPath,
    log_loss_rows,
)

#: Largest change of a logit at which the fits that are compared are taken as converged.
_PATH_TOL = 1e-3
#: Logits of the source, as root mean squares over the rows, among which its scale is chosen.
_SCALES = (0.4, 1.2, 4.0)
#: Every so many ridges are tried first; a third of them to choose a scale.
_COARSE = 3


@dataclasses.dataclass(frozen=True)
class LogisticChoice:
    """The fit at the ridge and scale of least leave-one-out loss.

    Attributes
    ----------
    fit : LogisticFit
        The fit.
    source_scale : float
        Factor on the logits of the source; zero without one.
    ridges, loo_path : ndarray of shape (j,)
        Ridges that were compared, descending, and the leave-one-out log loss at each.
    left_out : ndarray of shape (n, k)
        Leave-one-out logits of the rows.
    n_iter : int
        Newton steps in all.
    """

    fit: LogisticFit
    source_scale: float
    ridges: FloatArray
    loo_path: FloatArray
    left_out: FloatArray
    n_iter: int


class LeftOut(NamedTuple):
    """Rows that a fold leaves out: in the metric of the fold, logits of the source, classes."""

    rows: FloatArray
    scores: FloatArray
    labels: NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """The best fit along a path of ridges, the losses of all, and the steps they took."""

    best: LogisticFit
    losses: FloatArray
    n_iter: int


def choose_fit(
    path: LogisticPath,
    scores: FloatArray,
    *,
    ridge: float | Literal["loo"],
    source_scale: float | Literal["auto"],
    tol: float,
) -> LogisticChoice:
    """Choose ridge and scale, and fit.

    Parameters
    ----------
    path : LogisticPath
        The data.
    scores : ndarray of shape (n, k)
        Logits of the source; zeros without one.
    ridge : float or "loo"
        The ridge, or that it is chosen.
    source_scale : float or "auto"
        Factor on the source, or that it is chosen; zero without a source.
    tol : float
        Largest change of a logit at convergence, relative to one plus the largest logit.

    Returns
    -------
    LogisticChoice
        The fit and how it was found.
    """
    ridges = path.grid() if isinstance(ridge, str) else np.array([float(ridge)])
    n_iter = 0
    if isinstance(source_scale, str):
        scale, n_iter = _choose_scale(path, scores, ridges)
    else:
        scale = float(source_scale)
    offset = scale * scores
    first = np.union1d(np.arange(0, len(ridges), _COARSE), len(ridges) - 1)
    coarse = _sweep(path, offset, ridges[first])
    start, losses, n_iter = coarse.best, coarse.losses, n_iter + coarse.n_iter
    best = int(np.argmin(losses))
    between = np.arange(first[max(best - 1, 0)], first[min(best + 1, len(first) - 1)])
    between = np.setdiff1d(between, first)
    if between.size:
        fine = _sweep(path, offset, ridges[between])
        start = fine.best if fine.losses.min() < losses.min() else start
        losses, n_iter = np.append(losses, fine.losses), n_iter + fine.n_iter
    tried = np.append(first, between)
    order = np.argsort(tried)
    compared, loo_path = ridges[tried[order]], losses[order]
    fit = path.fit(offset, start.ridge, start=start, tol=tol)
    left_out = path.left_out(fit)
    loo_path[compared == fit.ridge] = path.weight @ log_loss_rows(left_out, path.labels)
    return LogisticChoice(fit, scale, compared, loo_path, left_out, n_iter + fit.n_iter)


def held_out_losses(
    path: LogisticPath,
    scores: FloatArray,
    ridges: FloatArray,
    source_scale: float | Literal["auto"],
    rest: LeftOut,
) -> FloatArray:
    """Log loss of rows that a fold leaves out, at every ridge.

    Parameters
    ----------
    path : LogisticPath
        The rows that train.
    scores : ndarray of shape (n, k)
        Logits of the source on them; zeros without one.
    ridges : ndarray of shape (j,)
        Ridges, descending.
    source_scale : float or "auto"
        Factor on the source, or that it is chosen from the rows that train.
    rest : LeftOut
        The rows that are left out.

    Returns
    -------
    ndarray of shape (j, m)
        Loss of every row at every ridge, nats.
    """
    scale = source_scale
    if isinstance(scale, str):
        scale = _choose_scale(path, scores, path.grid())[0]
    offset = scale * scores
    losses = np.empty((len(ridges), len(rest.labels)))
    fit: LogisticFit | None = None
    for j, ridge in enumerate(ridges):
        fit = path.fit(offset, ridge, start=fit, tol=_PATH_TOL)
        slopes, free = path.coef(fit.theta)
        losses[j] = log_loss_rows(scale * rest.scores + rest.rows @ slopes.T + free, rest.labels)
    return losses


def _sweep(path: LogisticPath, offset: FloatArray, ridges: FloatArray) -> _Sweep:
    losses = np.empty(len(ridges))
    fit: LogisticFit | None = None
    best: LogisticFit | None = None
    curvature: Curvature | None = None
    n_iter = 0
    for j, ridge in enumerate(ridges):
        fit = path.fit(offset, ridge, start=fit, reference=curvature, tol=_PATH_TOL)
        n_iter += fit.n_iter
        curvature = path.curvature(fit)
        left = path.left_out(fit, curvature)
        losses[j] = path.weight @ log_loss_rows(left, path.labels)
        if best is None or losses[j] < losses[:j].min():
            best = fit
    assert best is not None
    return _Sweep(best, losses, n_iter)


def _choose_scale(path: LogisticPath, scores: FloatArray, ridges: FloatArray) -> tuple[float, int]:
    """Factor on the source of least leave-one-out loss, on a coarse grid, then between; steps."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    if path.fit_intercept:
        centred = centred - path.weight @ centred
    size = float(np.sqrt(path.weight @ np.square(centred).sum(axis=1)))
    size *= math.sqrt((2.0 if scores.shape[1] == 2 else 1.0) / (scores.shape[1] - 1))
    if not size > 1e-12 * float(np.abs(scores).max(initial=0.0)):
        return 0.0, 0
    steps = np.array(_SCALES) / size
    tried = np.unique(np.concatenate([-steps, [0.0, 1.0], steps]))
    n_iter = 0

    def loss(scale: float, ridges: FloatArray) -> FloatArray:
        nonlocal n_iter
        found = _sweep(path, scale * scores, ridges)
        n_iter += found.n_iter
        return found.losses

    coarse = ridges[:: 3 * _COARSE]
    losses = np.stack([loss(scale, coarse) for scale in tried])
    at, which = divmod(int(np.argmin(losses)), len(coarse))
    ends = tried[max(at - 1, 0)], tried[min(at + 1, len(tried) - 1)]
    found = optimize.minimize_scalar(
        lambda scale: loss(float(scale), coarse[which : which + 1])[0],
        bounds=ends,
        method="bounded",
        options={"xatol": 0.03 * (ends[1] - ends[0])},
    )
    return float(found.x if found.fun < losses[at, which] else tried[at]), n_iter
