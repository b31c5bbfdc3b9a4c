"""Fits along training times or penalties, judged by leaving rows out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retemper._validation import FloatArray, check_integer
from retemper.diagonal.fit import FitSettings, Problem, end_point, flow_at, starting_point


@dataclasses.dataclass(frozen=True)
class DiagonalPath:
    """Fits along a path of times or penalties (see `DiagonalNetworkRegressor`).

    Parameters
    ----------
    kind : {"times", "mus"}
        What was varied.
    values : ndarray of shape (n_points,)
        Times or penalties.
    coef : ndarray of shape (n_points, n_features)
        Coefficients, in the units of the data.
    intercept : ndarray of shape (n_points,)
        Intercepts.
    train_error : ndarray of shape (n_points,)
        Training errors.
    loo : ndarray of shape (n_points,)
        Leave-one-out errors: by the leverage formula along ``mus``, by refitting without each
        fold of rows along ``times``.
    best : int
        Index of the least leave-one-out error.

    See Also
    --------
    DiagonalNetworkRegressor

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import DiagonalNetworkRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20, 30))
    >>> path = DiagonalNetworkRegressor().path(X, X[:, 0], mus=[1.0, 0.1, 0.01])
    >>> path.coef.shape, path.best
    ((3, 30), 2)
    """

    kind: str
    values: FloatArray
    coef: FloatArray
    intercept: FloatArray
    train_error: FloatArray
    loo: FloatArray
    best: int


def penalty_path(problem: Problem, settings: FitSettings, mus: FloatArray) -> DiagonalPath:
    """Minima along penalties, each started from the one before it.

    Parameters
    ----------
    problem : Problem
        Data and source, in the units of the theory.
    settings : FitSettings
        All but ``mu``.
    mus : ndarray of shape (n_points,)
        Penalties, in any order.

    Returns
    -------
    DiagonalPath
        In the units of the data.
    """
    start = starting_point(problem, settings)
    coef = np.empty((mus.size, start.scale.size))
    intercept, loo = np.empty(mus.size), np.empty(mus.size)
    near = None
    for i in np.argsort(-mus):
        at = dataclasses.replace(settings, mu=float(mus[i]), stop_time=None)
        found = end_point(problem, start, at, coef_start=near)
        coef[i], intercept[i] = found.coef, found.intercept
        loo[i] = np.mean(found.loo_residual**2) if found.loo_residual.size else math.inf
        near = found.coef
    return _path("mus", mus, problem, coef=coef, intercept=intercept, loo=loo)


def time_path(
    problem: Problem, settings: FitSettings, times: FloatArray, n_folds: int
) -> DiagonalPath:
    """Gradient flow along times, judged by refitting without each fold of rows.

    Parameters
    ----------
    problem : Problem
        Data and source, in the units of the theory.
    settings : FitSettings
        Initialisation and surgery.
    times : ndarray of shape (n_points,)
        Increasing.
    n_folds : int
        Folds, at least 2; from the number of rows on, each row is one.

    Returns
    -------
    DiagonalPath
        In the units of the data.
    """
    start = starting_point(problem, settings)
    whole = flow_at(problem, start, settings, times)
    rows = problem.y.size
    folds = np.arange(rows) % min(check_integer(n_folds, "n_folds", low=2), rows)
    wrong = np.empty((times.size, rows))
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        kept = dataclasses.replace(problem, X=problem.X[~out], y=problem.y[~out])
        part = flow_at(kept, start, settings, times)
        wrong[:, out] = problem.y[out] - part.coef @ problem.X[out].T - part.intercept[:, None]
    return _path(
        "times", times, problem,
        coef=whole.coef, intercept=whole.intercept, loo=np.mean(wrong**2, axis=1),
    )  # fmt: skip


def _path(
    kind: str,
    values: FloatArray,
    problem: Problem,
    *,
    coef: FloatArray,
    intercept: FloatArray,
    loo: FloatArray,
) -> DiagonalPath:
    train = np.mean((problem.y - coef @ problem.X.T - intercept[:, None]) ** 2, axis=1)
    square = problem.y_scale**2
    return DiagonalPath(
        kind=kind,
        values=values,
        coef=coef * problem.to_raw,
        intercept=intercept * problem.y_scale,
        train_error=train * square,
        loo=loo * square,
        best=int(np.argmin(loo)),
    )
