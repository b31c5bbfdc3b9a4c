"""What the experiments of `simulate` share: the numbers of a run, its rows, the target's task."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.linear.eigenbasis import Problem
from retemper.linear.model import LinearModel
from retemper.linear.rows import draw_classes
from retemper.linear.spectral import roots
from retemper.linear.stochastic import n_steps

__all__ = ["MEASURED", "Run", "draw_entries", "measured", "target_task"]

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
    entries: str
    key: tuple[int, int]


def draw_entries(rng: np.random.Generator, law: str, shape: tuple[int, int]) -> FloatArray:
    """Independent entries of mean 0 and variance 1.

    Parameters
    ----------
    rng : Generator
        Where they are drawn from.
    law : {"gaussian", "rademacher", "student"}
        Their law.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray
        Of that shape.
    """
    if law == "gaussian":
        return rng.normal(size=shape)
    if law == "rademacher":
        return rng.choice([-1.0, 1.0], size=shape)
    return rng.standard_t(5, size=shape) * math.sqrt(3.0 / 5.0)


def target_task(run: Run, problem: Problem) -> core.linear.Task:
    """The target of a run, for the kernel.

    Parameters
    ----------
    run : Run
        The run.
    problem : Problem
        Its factorised model.

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
        n_steps=-1
        if model.n_passes is None
        else n_steps(model.n_samples, model.n_passes, model.batch_size),
    )


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
