"""Weights of the candidates in the average that predicts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray
from retemper.advisor.candidates import Losses, mixed_sources
from retemper.advisor.evidence import LEAST_WEIGHT, weigh
from retemper.advisor.mixing import convex_weights
from retemper.advisor.task import Task

__all__ = ["average_weights", "stacked_weights"]

#: From this number of sources half of the weights are those of least loss of the average.
LEAST_STACKED = 4


def average_weights(
    task: Task, held_out: Losses, usable: NDArray[np.bool_], loss: FloatArray, *, without: set[int]
) -> FloatArray:
    """Weights of the usable candidates, by their own losses and by that of their average.

    Few candidates are weighed by how far each stays behind the best (`weigh`). With many sources
    the best candidate is partly lucky, and what matters is what candidates add to each other: half
    of the weights then minimise the held-out loss of the average itself. Derived here
    (`advise#how-it-decides`); evidence in ``bench/mixture_advise.py``.

    Parameters
    ----------
    task : Task
        The target.
    held_out : Losses
        Held-out predictions of all candidates.
    usable : ndarray of shape (c,)
        Whether a candidate can be used on new rows.
    loss : ndarray of shape (u, g)
        Losses of the usable ones, by groups; the groups that may not be used left out.
    without : set of int
        Groups whose rows may not be used.

    Returns
    -------
    ndarray of shape (u,)
        Weights that add up to one.
    """
    weights = weigh(loss)
    if len(mixed_sources(task)) < LEAST_STACKED:
        return weights
    allowed = ~np.isin(task.sample.group, list(without)) & (task.sample.weight > 0.0)
    weights = (weights + stacked_weights(task, held_out, usable, allowed)) / 2
    weights[weights < LEAST_WEIGHT] = 0.0
    return np.asarray(weights / weights.sum())


def stacked_weights(
    task: Task, held_out: Losses, usable: NDArray[np.bool_], allowed: NDArray[np.bool_]
) -> FloatArray:
    """Weights of least held-out squared error, or log loss, of the average.

    Parameters
    ----------
    task : Task
        The target.
    held_out : Losses
        Held-out predictions of all candidates.
    usable : ndarray of shape (c,)
        Candidates that may be averaged.
    allowed : ndarray of shape (n,)
        Rows that may be used.

    Returns
    -------
    ndarray of shape (u,)
        Weights of the usable candidates, not negative and of sum one.
    """
    rows = np.concatenate([test[allowed[test]] for _, test in held_out.splits])
    scores = np.concatenate(
        [
            values[usable][:, allowed[test]]
            for (_, test), values in zip(held_out.splits, held_out.scores, strict=True)
        ],
        axis=1,
    )
    return convex_weights(
        scores, task.y[rows], task.sample.weight[rows], is_regression=task.is_regression
    )
