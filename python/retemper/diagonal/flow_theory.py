"""Test error of fine-tuning that stops early, at every time, in high dimension."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_real
from retemper.diagonal.channel import Law
from retemper.diagonal.law import TargetRule, coefficient_law
from retemper.diagonal.model import DiagonalModel, check_plain

#: Quantities that theory and simulation share, each of shape (n_times,).
QUANTITIES = ("mse", "test_error", "train_error", "forgetting")
_DIRECTIONS = 160  # of the noise: one a step at most
_MOST_STEPS = 300  # memory and time grow with the square and the cube
_MOST_LOST = 1e-3  # share of the noise that may have no direction left


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FlowTheory(Result):
    """What high dimension predicts for training stopped at given times (see `solve_flow`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Rounds of the equations, over all steps.
    residual : float
        Largest relative change in the last round of a step.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    times : ndarray of shape (n_times,)
        Times, as in `gradient_flow`.
    mse : ndarray of shape (n_times,)
        Mean of (coefficient - target)**2 over coefficients: the excess test error.
    test_error : ndarray of shape (n_times,)
        ``mse`` plus the label noise variance.
    train_error : ndarray of shape (n_times,)
        Mean squared residual on the training set.
    forgetting : ndarray of shape (n_times,)
        Mean of (coefficient - pre-trained)**2 over coefficients.
    best_time : float
        Time at which ``mse`` is least, up to the last time asked for.
    best_mse : float
        Its value there.
    null_mse : float
        Error of predicting zero; ``mse`` beyond it is negative transfer.
    group_names : tuple of str
        Groups of the law.
    group_weight : ndarray of shape (n_groups,)
        Probability of a group.
    group_mse, group_forgetting : ndarray of shape (n_times, n_groups)
        Averages over a group.
    quadrature_error : float
        Largest change of ``mse``, relative to its largest value, with half the points and twice
        the error of a step.

    See Also
    --------
    solve_flow, FlowSimulation

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve_flow
    >>> theory = solve_flow(DiagonalModel(0.4, mode="scratch", noise=1.0), [1.0, 100.0])
    >>> bool(theory.best_mse < theory.mse[-1])
    True
    """

    model: DiagonalModel
    times: FloatArray
    mse: FloatArray
    test_error: FloatArray
    train_error: FloatArray
    forgetting: FloatArray
    best_time: float
    best_mse: float
    null_mse: float
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    quadrature_error: float


def solve_flow(
    model: DiagonalModel,
    times: ArrayLike,
    *,
    n_points: int = 4096,
    rtol: float = 3e-4,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> FlowTheory:
    r"""Test error of fine-tuning that stops early, at every time, in high dimension.

    Follows gradient flow from its start by dynamical mean-field theory: one coefficient sees all
    others as Gaussian noise whose covariance over pairs of times, and as a memory of its own past
    whose kernel, are averages over its own law (by the cavity method; derived here:
    `derivations/diagonal#early-stopping`). The averages are sums over points
    of low discrepancy; a step of the implicit rule is one scalar channel for each point.

    Parameters
    ----------
    model : DiagonalModel
        Any depth and start; independent columns, ``mu = 0``, no ``label_noise``.
    times : array_like of shape (n_times,)
        Increasing, non-negative, the last positive; in the units of `gradient_flow`.
    n_points : int, default=4096
        Points that stand for the law of a coefficient, at least 64. The error falls nearly with
        their number, time and memory grow with it.
    rtol : float, default=3e-4
        Error of a step in time, relative to the coefficients, from 1e-8 to 0.1.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the last time was not reached.
    progress : None, bool, callable or object, default=None
        Called from time to time; an exception raised in it stops the work.

    Returns
    -------
    FlowTheory
        Errors at every time, the best time, and what the points and steps cost in accuracy.

    Raises
    ------
    ValueError
        If a value is outside its domain, the model is one for which the equations are not derived,
        or every coordinate is frozen.
    NumericalError
        If ``on_failure="raise"`` and the last time was not reached.

    See Also
    --------
    simulate_flow, compare_flow, gradient_flow, solve

    References
    ----------
    .. [1] F. Mignacco, F. Krzakala, P. Urbani, L. Zdeborova, "Dynamical mean-field theory for
       stochastic gradient descent in Gaussian mixture classification", NeurIPS (2020), for the
       method.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve, solve_flow
    >>> model = DiagonalModel(0.4, mode="scratch", init_scale=1.0)
    >>> early, end = solve_flow(model, [0.0, 50.0]).mse
    >>> bool(early == model.rho_ft * 10), bool(abs(end / solve(model).mse - 1) < 0.03)
    (True, True)
    """
    check_plain(model, "early stopping", "mu", "label_noise", "spectrum")
    at = check_times(times)
    check_integer(n_points, "n_points", low=64, high=1 << 20)
    check_real(rtol, "rtol", low=1e-8, high=0.1)
    watch = as_callback(progress, "solve_flow")
    law = _law(model)

    def course(points: int, tol: float) -> dict[str, Any]:
        found = core.diagonal.mean_field_flow(
            **_points(law, points),
            depth=float(model.depth),
            alpha=model.alpha,
            noise_var=model.noise**2,
            end_time=float(at[-1]),
            tol=tol,
            most_steps=_MOST_STEPS,
            n_threads=effective_n_threads(n_jobs),
            progress=watch,
        )
        return dict(found)

    fine, rough = course(n_points, rtol), course(n_points // 2, 2.0 * rtol)
    status = Status(fine["status"])
    if status is Status.CONVERGED and not fine["lost"] < _MOST_LOST:
        status = Status.STALLED
    report_status(
        status,
        fine["residual"],
        f"the mean-field flow with rtol = {rtol:g}, at time {fine['times'][-1]:.3g} of "
        f"{at[-1]:.3g},",
        on_failure=on_failure,
    )
    reached = at <= fine["times"][-1]
    mse, less = (_between(run, "mse", at).sum(axis=1) for run in (fine, rough))
    share = np.bincount(law.group, law.weight, len(law.group_names)).astype(np.float64)
    train = np.maximum(_between(fine, "train", at), 0.0)
    drift = _between(fine, "drift", at)
    for values in (mse, train, drift):
        values[~reached] = np.nan
    best_time, best_mse = _least(fine)
    return FlowTheory(
        status=status,
        n_iter=fine["n_iter"],
        residual=fine["residual"],
        message=status.sentence,
        model=model,
        times=at,
        mse=mse,
        test_error=mse + model.noise**2,
        train_error=train,
        forgetting=drift.sum(axis=1),
        best_time=best_time,
        best_mse=best_mse,
        null_mse=law.null_mse,
        group_names=law.group_names,
        group_weight=share,
        group_mse=_between(fine, "mse", at) / share,
        group_forgetting=drift / share,
        quadrature_error=float(np.nanmax(np.abs(mse - less)) / np.nanmax(mse)),
    )


def check_times(times: ArrayLike) -> FloatArray:
    """Increasing times from 0 on, the last positive."""
    at = as_float_array(times, "times", ndim=1)
    if not at.size or at[0] < 0.0 or np.any(np.diff(at) <= 0.0) or at[-1] == 0.0:
        raise ValueError(
            f"times must increase from a value >= 0 to one above 0, got {at.tolist()[:5]}"
        )
    return at


def _law(model: DiagonalModel) -> Law:
    parts = model.law()
    if all(part.target_law is None for part in parts):
        return coefficient_law(model)
    size = math.sqrt(sum(part.weight * part.target_second_moment() for part in parts))
    return coefficient_law(model, rule=TargetRule(fine=False, resolution=0.05 * size))


def _points(law: Law, n_points: int) -> dict[str, Any]:
    """Points of low discrepancy that stand for the law, and normals for their noise."""
    names = ("weight", "target", "scale", "centre", "source", "group", "normals")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for group in range(len(law.group_names)):
        inside = np.flatnonzero(law.group == group)
        weight = law.weight[inside]
        whole = float(weight.sum())
        wanted = n_points * 0.5 * (whole + 1.0 / len(law.group_names))
        cube = _sobol(max(4, round(math.log2(max(wanted, 1.0)))), group)
        normals = _normals(cube[:, 1:])
        edges = np.cumsum(weight) / whole
        which = inside[np.minimum(np.searchsorted(edges, cube[:, 0], "right"), len(inside) - 1)]
        count = len(which)
        columns["weight"].append(np.full(count, whole / count))
        columns["target"].append(law.mean[which] + np.sqrt(law.var[which]) * normals[:, 0])
        columns["group"].append(np.full(count, group, np.int32))
        columns["normals"].append(normals[:, 1:])
        for name in ("scale", "centre", "source"):
            columns[name].append(getattr(law, name)[which])
    points = {name: np.concatenate(parts) for name, parts in columns.items()}
    points["normals"] = np.asfortranarray(points["normals"])
    return {**points, "n_groups": len(law.group_names)}


def _sobol(log2_count: int, seed: int) -> FloatArray:
    from scipy.stats.qmc import Sobol

    return np.asarray(Sobol(_DIRECTIONS + 2, seed=seed).random_base2(log2_count))


def _normals(cube: FloatArray) -> FloatArray:
    """Standard normal variates with the moments of the law in each column."""
    from scipy.special import ndtri

    z = ndtri(np.clip(cube, 1e-16, 1.0 - 1e-16))
    z -= z.mean(axis=0)
    return np.asarray(z / np.sqrt(np.mean(z**2, axis=0)))


def _between(run: dict[str, Any], name: str, times: FloatArray) -> FloatArray:
    """A quantity between the steps, by cubics through its values and derivatives."""
    from scipy.interpolate import CubicHermiteSpline

    return np.asarray(CubicHermiteSpline(run["times"], run[name], run[f"{name}_slope"])(times))


def _least(run: dict[str, Any]) -> tuple[float, float]:
    """Time of the least error, and that error."""
    steps = run["times"]
    times = (steps[:-1, None] + np.diff(steps)[:, None] * np.linspace(0.0, 1.0, 20)).ravel()
    mse = _between(run, "mse", times).sum(axis=1)
    best = int(np.argmin(mse))
    return float(times[best]), float(mse[best])
