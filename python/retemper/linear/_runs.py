"""What the experiments of `simulate` share: the numbers of a run, its rows, the target's task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.linear.eigenbasis import Problem
from retemper.linear.entries import Entries, draw_entries
from retemper.linear.model import LinearModel
from retemper.linear.rows import draw_classes
from retemper.linear.spectral import roots
from retemper.linear.stochastic import n_steps

__all__ = ["MEASURED", "Run", "measured", "new_key", "source_task", "stacked", "target_task"]

#: What every repeat measures; of cross and spread see the kernel.
MEASURED = (
    "risk",
    "bias",
    "variance",
    "effective_ridge",
    "df1",
    "df2",
    "risk_scratch",
    "risk_zero_shot",
    "training_error",
    "cross",
    "spread",
)


class Run(NamedTuple):
    """What every repeat shares."""

    model: LinearModel
    ridge: float
    scale: float
    entries: Entries
    key: tuple[int, int]


def new_key(rng: np.random.Generator) -> tuple[int, int]:
    """A key for the kernel's streams, drawn from a generator."""
    first, second = rng.integers(0, 2**64, size=2, dtype=np.uint64)
    return int(first), int(second)


def target_task(
    run: Run, problem: Problem, rng: np.random.Generator | None = None
) -> core.linear.Task:
    """The target of a run, for the kernel.

    Parameters
    ----------
    run : Run
        The run.
    problem : Problem
        Its factorised model.
    rng : Generator or None, default=None
        Where the entries of its rows come from, if they are drawn here and not by the kernel.

    Returns
    -------
    Task
        In the eigenbasis of the target.
    """
    model = run.model
    row_scale, row_noise = draw_classes(model)
    return core.linear.Task(
        n_samples=model.n_samples,
        spectrum=problem.spectrum,
        teacher=problem.target,
        noise=model.noise,
        ridge=run.ridge,
        stop_time=model.stop_time,
        row_scale=row_scale,
        row_noise=row_noise,
        step_size=model.step_size or 0.0,
        batch_size=model.batch_size,
        entries=_given(run, rng, model.n_samples, problem.spectrum.size),
        n_steps=-1
        if model.n_passes is None
        else n_steps(model.n_samples, model.n_passes, model.batch_size),
    )


def _given(run: Run, rng: np.random.Generator | None, n: int, d: int) -> FloatArray:
    return np.empty((0, 0)) if rng is None else draw_entries(rng, run.entries, (n, d))


def source_task(
    run: Run, problem: Problem, rng: np.random.Generator | None = None
) -> core.linear.Source:
    """The source of a run, for the kernel.

    Parameters
    ----------
    run : Run
        The run.
    problem : Problem
        Its factorised model.
    rng : Generator or None, default=None
        As in `target_task`.

    Returns
    -------
    Source
        Fixed, or the task it is fitted on.
    """
    model = run.model
    if model.n_samples_source is None:
        return core.linear.Source.fixed(problem.fixed)
    past = core.linear.Task(
        n_samples=model.n_samples_source,
        spectrum=problem.source_spectrum,
        teacher=problem.source_teacher,
        noise=model.noise_source,
        ridge=model.ridge_source,
        entries=_given(run, rng, model.n_samples_source, problem.source_spectrum.size),
    )
    rotation = np.empty((0, 0)) if problem.overlap is None else problem.overlap
    return core.linear.Source.finite(past, rotation)


def stacked(repeats: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
    """What the repeats measured, by name.

    Parameters
    ----------
    repeats : sequence of dict
        What each measured.

    Returns
    -------
    dict of str to ndarray
        Of shape (n_repeats, ...).
    """
    return {name: np.array([one[name] for one in repeats], float) for name in repeats[0]}


def measured(run: Run, problem: Problem, found: core.linear.Simulation) -> dict[str, FloatArray]:
    """Values of every repeat, by name.

    Parameters
    ----------
    run : Run
        The run.
    problem : Problem
        Its factorised model.
    found : Simulation
        What the kernel measured.

    Returns
    -------
    dict of str to ndarray
        Of shape (n_repeats,), or (n_repeats, n_outputs) for scales of several outputs.
    """
    samples = {name: getattr(found, name).copy() for name in MEASURED}
    if run.model.row_shares is not None:  # of the covariance at the sample's degrees of freedom
        own = roots(problem.spectrum, samples["df1"], np.zeros(samples["df1"].size), 1)
        samples["effective_ridge"], samples["df2"] = own.effective_ridge.copy(), own.df2.copy()
    scales = found.source_scale.copy()
    samples["source_scale"] = scales[:, 0] if run.model.n_outputs == 1 else scales
    return samples
