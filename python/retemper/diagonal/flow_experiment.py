"""Experiments of finite size on the theory of early stopping."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Result, Status
from retemper._validation import FloatArray, check_integer, check_memory
from retemper.diagonal._simulate import component_counts, draw_start, matched_model, report_runs
from retemper.diagonal.flow import gradient_flow
from retemper.diagonal.flow_theory import QUANTITIES, check_times, solve_flow
from retemper.diagonal.model import DiagonalModel, check_plain

_RESOLVED = 1e-2  # training errors below this share of the labels are below the error of the steps


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FlowSimulation(Result):
    """Averages over experiments that stop early (see `simulate_flow`); names as in `FlowTheory`.

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Most steps of an experiment.
    residual : float
        Largest residual of an experiment at the last time, relative to its labels.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    times : ndarray of shape (n_times,)
        Times, as in `gradient_flow`.
    n_features, n_samples, n_repeats : int
        Size of an experiment and how many were run.
    mse, test_error, train_error, forgetting : ndarray of shape (n_times,)
        Means over experiments; the test error is exact given the coefficients.
    group_names : tuple of str
        Groups of the law.
    group_weight : ndarray of shape (n_groups,)
        Share of a group.
    group_mse, group_forgetting : ndarray of shape (n_times, n_groups)
        Means over its coefficients.
    stderr : mapping of str to ndarray of shape (n_times,)
        Standard errors of the means.
    samples : mapping of str to ndarray of shape (n_repeats, n_times)
        The value of every mean in every experiment.

    See Also
    --------
    simulate_flow

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate_flow
    >>> found = simulate_flow(DiagonalModel(0.3), [1.0, 9.0], n_features=100, n_repeats=4)
    >>> bool(found.train_error[0] > found.train_error[1])
    True
    """

    model: DiagonalModel
    times: FloatArray
    n_features: int
    n_samples: int
    n_repeats: int
    mse: FloatArray
    test_error: FloatArray
    train_error: FloatArray
    forgetting: FloatArray
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    stderr: Mapping[str, FloatArray]
    samples: Mapping[str, FloatArray]


def simulate_flow(
    model: DiagonalModel,
    times: ArrayLike,
    *,
    n_features: int = 600,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FlowSimulation:
    """Pre-train and fine-tune finite networks, and stop at the times asked for.

    Derived here (`derivations/diagonal#early-stopping`). Every experiment draws a fresh design and
    stratified coefficients, as `simulate`, and calls `gradient_flow`.

    Parameters
    ----------
    model : DiagonalModel
        As in `solve_flow`.
    times : array_like of shape (n_times,)
        Increasing, non-negative, the last positive.
    n_features : int, default=600
        Features D.
    n_repeats : int, default=16
        Independent experiments, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness.
    n_jobs : int or None, default=None
        Threads over experiments; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (experiments done, experiments).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about experiments that did not reach the last time.

    Returns
    -------
    FlowSimulation
        Means and standard errors; NaN at times that were not reached.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    NumericalError
        If ``on_failure="raise"`` and an experiment did not reach the last time.

    See Also
    --------
    solve_flow, compare_flow, gradient_flow

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate_flow
    >>> found = simulate_flow(DiagonalModel(0.3), [0.0, 9.0], n_features=100, n_repeats=4)
    >>> found.n_samples, found.mse.shape
    (30, (2,))
    """
    check_plain(model, "early stopping", "mu", "label_noise", "spectrum")
    at = check_times(times)
    watch = as_callback(progress, "simulate_flow")
    check_integer(n_features, "n_features", low=1)
    check_memory(n_features * (1.0 + model.alpha * n_features), n_features=n_features)
    key = stream_key(random_state)
    n = max(1, round(model.alpha * n_features))
    parts = model.law()
    names = tuple(dict.fromkeys(part.group for part in parts))
    counts = component_counts(parts, n_features)
    member = np.repeat([names.index(part.group) for part in parts], counts)
    size = np.bincount(member, minlength=len(names))

    def by_group(squares: FloatArray) -> FloatArray:
        sums = [np.bincount(member, row, len(names)) for row in squares]
        return np.array(sums) / np.maximum(size, 1)

    def one(
        repeat: int, inner: Progress
    ) -> tuple[dict[str, FloatArray], tuple[int, Status, float]]:
        start = draw_start(model, n_features, key, repeat, inner)
        X = start.rng.standard_normal((n, n_features)) / math.sqrt(n_features)
        labels = X @ start.target + model.noise * start.rng.standard_normal(n)
        path = gradient_flow(
            X, labels, start.scale, at, centre=start.centre, depth=model.depth, n_jobs=1,
            on_failure="ignore", progress=inner,
        )  # fmt: skip
        coef, train = np.full((at.size, n_features), np.nan), np.full(at.size, np.nan)
        coef[: path.times.size], train[: path.times.size] = path.coef, path.train_error
        wrong, moved = (coef - start.target) ** 2, (coef - start.learned) ** 2
        mse = wrong.mean(axis=1)
        values = {
            "mse": mse,
            "test_error": mse + model.noise**2,
            "train_error": train,
            "forgetting": moved.mean(axis=1),
            "group_mse": by_group(wrong),
            "group_forgetting": by_group(moved),
        }
        status = path.status if start.status is Status.CONVERGED else start.status
        return values, (path.n_iter, status, path.residual)

    runs = run_repeats(one, n_repeats, n_jobs=n_jobs, progress=watch)
    ends = [end for _, end in runs]
    status, residual = report_runs([(end, left) for _, end, left in ends], on_failure)
    every = {name: np.array([values[name] for values, _ in runs]) for name in runs[0][0]}
    samples = {name: every[name] for name in QUANTITIES}
    means = mean_and_stderr(every)
    return FlowSimulation(
        status=status,
        n_iter=max(steps for steps, _, _ in ends),
        residual=residual,
        message=status.sentence,
        model=model,
        times=at,
        n_features=n_features,
        n_samples=n,
        n_repeats=n_repeats,
        group_names=names,
        group_weight=size / n_features,
        **means.mean,  # type: ignore[arg-type]
        stderr={name: means.stderr[name] for name in QUANTITIES},  # type: ignore[misc]
        samples=samples,
    )


def compare_flow(
    model: DiagonalModel,
    times: ArrayLike,
    *,
    n_points: int = 4096,
    rtol: float = 3e-4,
    n_features: int = 600,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory of early stopping against simulation, with deviations in standard errors.

    Derived here (`derivations/diagonal#early-stopping`). The theory is solved at the sample ratio
    and the proportions of the experiment itself.

    Parameters
    ----------
    model : DiagonalModel
        As in `solve_flow`.
    times : array_like of shape (n_times,)
        Increasing, non-negative, the last positive.
    n_points : int, default=4096
        As in `solve_flow`.
    rtol : float, default=3e-4
        As in `solve_flow`.
    n_features : int, default=600
        Features of an experiment.
    n_repeats : int, default=16
        Independent experiments, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (experiments done, experiments).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the theory or an experiment did not reach the last time.

    Returns
    -------
    Comparison
        ``mse``, ``train_error`` and ``forgetting``, one row each at every time above 0; no training
        errors below a hundredth of the mean square of the labels, which points do not resolve.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    NumericalError
        If ``on_failure="raise"`` and the last time was not reached.

    See Also
    --------
    solve_flow, simulate_flow

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, compare_flow
    >>> compare_flow(DiagonalModel(0.3), [9.0], n_features=100, n_repeats=4).names
    ('mse[t=9]', 'train_error[t=9]', 'forgetting[t=9]')
    """
    sample = simulate_flow(
        model, times, n_features=n_features, n_repeats=n_repeats, random_state=random_state,
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    theory = solve_flow(
        matched_model(model, sample.n_samples, n_features), times, n_points=n_points, rtol=rtol,
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    names, rows = [], []
    after = np.flatnonzero(sample.times > 0.0)  # the start is drawn without error
    for name, i in itertools.product(("mse", "train_error", "forgetting"), after):
        if name == "train_error" and sample.train_error[i] < _RESOLVED * theory.null_mse:
            continue
        names.append(f"{name}[t={sample.times[i]:g}]")
        rows.append(
            [getattr(found, name)[i] for found in (theory, sample)] + [sample.stderr[name][i]]
        )
    table = np.array(rows)
    return Comparison(tuple(names), table[:, 0], table[:, 1], table[:, 2])
