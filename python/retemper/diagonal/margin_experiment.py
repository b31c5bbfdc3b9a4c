"""Experiments of finite size on the theory of margins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from retemper._control import OnFailure, Progress
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Result
from retemper._validation import FloatArray, check_integer, check_memory
from retemper.diagonal._simulate import draw_start, report_runs
from retemper.diagonal.margin_theory import (
    QUANTITIES,
    check_margin_model,
    sign_error,
    solve_margin,
)
from retemper.diagonal.margins import MaximumMargin, maximum_margin
from retemper.diagonal.model import DiagonalModel


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MarginSimulation(Result):
    """Averages over experiments (see `simulate_margin`); names as in `MarginTheory`.

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Most Newton steps of an experiment.
    residual : float
        Largest residual of an experiment.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    margin : float
        Margin of the training rows.
    n_features, n_samples, n_repeats : int
        Size of an experiment and how many were run.
    error, cosine, support, rms : float
        Means over experiments; the error is exact given the coefficients.
    stderr : mapping of str to float
        Standard errors of the means.
    samples : mapping of str to ndarray of shape (n_repeats,)
        The value of every mean in every experiment.

    See Also
    --------
    simulate_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate_margin
    >>> found = simulate_margin(DiagonalModel(0.3), 1.0, n_features=100, n_repeats=4)
    >>> found.n_samples, 0.0 < found.error < 0.5
    (30, True)
    """

    model: DiagonalModel
    margin: float
    n_features: int
    n_samples: int
    n_repeats: int
    error: float
    cosine: float
    support: float
    rms: float
    stderr: Mapping[str, float]
    samples: Mapping[str, FloatArray]


def simulate_margin(
    model: DiagonalModel,
    margin: float,
    *,
    n_features: int = 400,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> MarginSimulation:
    """Classifiers of finite size with a margin, exactly.

    Derived here (`derivations/diagonal#margins`). Every experiment draws a fresh design and
    stratified coefficients, as `simulate`, labels rows by signs, and calls `maximum_margin`.

    Parameters
    ----------
    model : DiagonalModel
        As in `solve_margin`.
    margin : float
        Margin of the training rows.
    n_features : int, default=400
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
        What to do about experiments that were not solved.

    Returns
    -------
    MarginSimulation
        Means and standard errors.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    NumericalError
        If the classes of an experiment are not separable, or with ``on_failure="raise"`` one was
        not solved.

    See Also
    --------
    solve_margin, compare_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate_margin
    >>> found = simulate_margin(DiagonalModel(0.3), 1.0, n_features=100, n_repeats=4)
    >>> bool(found.rms > 0)
    True
    """
    check_margin_model(model, margin)
    watch = as_callback(progress, "simulate_margin")
    check_integer(n_features, "n_features", low=1)
    check_memory(n_features * (1.0 + model.alpha * n_features), n_features=n_features)
    key = stream_key(random_state)
    n = max(1, round(model.alpha * n_features))

    def one(repeat: int, inner: Progress) -> tuple[dict[str, float], MaximumMargin]:
        start = draw_start(model, n_features, key, repeat, inner)
        X = start.rng.standard_normal((n, n_features)) / math.sqrt(n_features)
        field = X @ start.target + model.noise * start.rng.standard_normal(n)
        fit = maximum_margin(
            X, np.where(field < 0.0, -1.0, 1.0), start.scale, margin=margin, centre=start.centre,
            on_failure="ignore", progress=inner,
        )  # fmt: skip
        sizes = np.linalg.norm(fit.coef), np.linalg.norm(start.target)
        cosine = float(fit.coef @ start.target / (sizes[0] * sizes[1]))
        return {
            "error": sign_error(cosine, float(np.mean(start.target**2)), model.noise),
            "cosine": cosine,
            "support": float(np.mean(fit.dual > 0.0)),
            "rms": float(sizes[0]) / math.sqrt(n_features),
        }, fit

    runs = run_repeats(one, n_repeats, n_jobs=n_jobs, progress=watch)
    fits = [fit for _, fit in runs]
    status, residual = report_runs([(fit.status, fit.residual) for fit in fits], on_failure)
    samples = {name: np.array([values[name] for values, _ in runs]) for name in QUANTITIES}
    means = mean_and_stderr(samples)
    return MarginSimulation(
        status=status,
        n_iter=max(fit.n_iter for fit in fits),
        residual=residual,
        message=status.sentence,
        model=model,
        margin=margin,
        n_features=n_features,
        n_samples=n,
        n_repeats=n_repeats,
        **means.mean,  # type: ignore[arg-type]
        stderr=means.stderr,  # type: ignore[arg-type]
        samples=samples,
    )


def compare_margin(
    model: DiagonalModel,
    margin: float,
    *,
    n_features: int = 400,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory of margins against simulation, with deviations in standard errors.

    Derived here (`derivations/diagonal#margins`).

    Parameters
    ----------
    model : DiagonalModel
        As in `solve_margin`.
    margin : float
        Margin of the training rows.
    n_features : int, default=400
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
        What to do if the theory or an experiment was not solved.

    Returns
    -------
    Comparison
        ``error``, ``cosine``, ``support`` and ``rms``.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    NumericalError
        As `solve_margin` and `simulate_margin`.

    See Also
    --------
    solve_margin, simulate_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, compare_margin
    >>> compare_margin(DiagonalModel(0.3), 1.0, n_features=100, n_repeats=4).names
    ('error', 'cosine', 'support', 'rms')
    """
    sample = simulate_margin(
        model, margin, n_features=n_features, n_repeats=n_repeats, random_state=random_state,
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    matched = dataclasses.replace(model, alpha=sample.n_samples / n_features)
    return Comparison.of(solve_margin(matched, margin, on_failure=on_failure), sample, QUANTITIES)
