"""Test error of fine-tuning that stops early, at every time, in high dimension."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_integer, check_real
from retemper.diagonal.channel import Law
from retemper.diagonal.law import TargetRule, coefficient_law
from retemper.diagonal.mean_field import law_points, mean_field
from retemper.diagonal.model import DiagonalModel, check_plain

#: Quantities that theory and simulation share, each of shape (n_times,).
QUANTITIES = ("mse", "test_error", "train_error", "forgetting")


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
    >>> round(float(early), 6), bool(abs(end / solve(model).mse - 1) < 0.03)
    (1.0, True)
    """
    check_plain(model, "early stopping", "mu", "label_noise", "spectrum")
    at = check_times(times)
    check_integer(n_points, "n_points", low=64, high=1 << 20)
    check_real(rtol, "rtol", low=1e-8, high=0.1)
    watch = as_callback(progress, "solve_flow")
    law = _law(model)

    fine, rough = (
        mean_field(
            law_points(law, points), depth=model.depth, alpha=model.alpha, noise=model.noise,
            end_time=float(at[-1]), rtol=tol, n_threads=effective_n_threads(n_jobs), progress=watch,
        )
        for points, tol in ((n_points, rtol), (n_points // 2, 2.0 * rtol))
    )  # fmt: skip
    status = fine["status"]
    report_status(
        status,
        fine["residual"],
        f"the mean-field flow with rtol = {rtol:g}, at time {fine['times'][-1]:.3g} of "
        f"{at[-1]:.3g},",
        on_failure=on_failure,
    )
    wrong, drift = _between(fine, "mse", at), _between(fine, "drift", at)
    mse, less = wrong.sum(axis=1), _between(rough, "mse", at).sum(axis=1)
    share = np.bincount(law.group, law.weight, len(law.group_names)).astype(np.float64)
    train = np.maximum(_between(fine, "train", at), 0.0)
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
        group_mse=wrong / share,
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


def _between(run: dict[str, Any], name: str, times: FloatArray) -> FloatArray:
    """A quantity between the steps, by cubics through its values and derivatives; NaN beyond."""
    from scipy.interpolate import CubicHermiteSpline

    course = CubicHermiteSpline(run["times"], run[name], run[f"{name}_slope"], extrapolate=False)
    return np.asarray(course(times))


def _least(run: dict[str, Any]) -> tuple[float, float]:
    """Time of the least error, and that error."""
    steps = run["times"]
    times = (steps[:-1, None] + np.diff(steps)[:, None] * np.linspace(0.0, 1.0, 20)).ravel()
    mse = _between(run, "mse", times).sum(axis=1)
    best = int(np.argmin(mse))
    return float(times[best]), float(mse[best])
