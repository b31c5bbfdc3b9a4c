"""The ways to use a source, fitted on some rows and judged on others."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._control import Progress
from retemper._parallel import map_threads
from retemper._validation import FloatArray
from retemper.advisor.inputs import Task
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression
from retemper.linear.logistic.path import log_loss_rows

Kind = Literal["scratch", "as is", "fine-tune", "rescaled"]
KINDS: tuple[Kind, ...] = ("as is", "fine-tune", "rescaled")


class Candidate(NamedTuple):
    """One way to get a model: from scratch, or from a source.

    Attributes
    ----------
    source : int
        Number of the source; -1 for scratch.
    kind : {"scratch", "as is", "fine-tune", "rescaled"}
        What is done with it; "rescaled" is fine-tuning with a fitted factor on the source.
    """

    source: int
    kind: Kind


SCRATCH = Candidate(-1, "scratch")


#: Rows to learn from, and rows to judge.
Split = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclasses.dataclass(frozen=True)
class Losses:
    """Losses of candidates, row by row.

    Attributes
    ----------
    loss : ndarray of shape (c, n)
        Squared error, or log loss in nats.
    wrong : ndarray of shape (c, n)
        The error that users read: squared error, or whether the class is wrong.
    splits : list of tuple
        Rows to learn from and rows to judge, of every split.
    scores : list of ndarray of shape (c, m, q)
        Predictions of every candidate for the rows that a split judges.
    """

    loss: FloatArray
    wrong: FloatArray
    splits: list[Split]
    scores: list[FloatArray]


def estimator(task: Task, candidate: Candidate, source: Any, metric: Any = None) -> Any:
    """An estimator that does what a candidate says, not fitted.

    Parameters
    ----------
    task : Task
        The target.
    candidate : Candidate
        What to do.
    source : object
        The source as the estimators take it; ignored for scratch.
    metric : ndarray of shape (d,) or None, default=None
        Diagonal of the penalty: for rows in the units of the user.

    Returns
    -------
    FineTunedLinearRegression or FineTunedLogisticRegression
        Chooses its strength by leave-one-out.
    """
    settings: dict[str, Any] = {"metric": metric}
    if candidate.kind != "scratch":
        settings["source"] = source
    if candidate.kind == "rescaled":
        settings["source_scale"] = "auto"
    if candidate.kind == "as is":
        settings |= {"ridge": math.inf, "fit_intercept": False, "metric": None}
    kind = FineTunedLinearRegression if task.is_regression else FineTunedLogisticRegression
    return kind(**settings)


def predict(task: Task, candidate: Candidate, model: Any) -> FloatArray:
    """Predictions of a fitted candidate on the rows of a task, its source not evaluated again.

    Parameters
    ----------
    task : Task
        Rows, and what the sources say on them.
    candidate : Candidate
        What was fitted.
    model : estimator or None
        As `fit_rows` returns it.

    Returns
    -------
    ndarray of shape (n, q)
        Predictions, or logits (one column for two classes).
    """
    if model is None:
        return np.asarray(task.scores[candidate.source])
    scores = task.X @ np.atleast_2d(model.coef_).T + model.intercept_
    if candidate.source >= 0:
        scores = scores + model.source_scale_ * task.scores[candidate.source]
    return np.asarray(scores)


def fit_rows(task: Task, candidate: Candidate, train: NDArray[np.intp]) -> tuple[Any, FloatArray]:
    """Fit a candidate on some rows and predict all.

    The source is not evaluated again: its predictions on the target rows are known.

    Parameters
    ----------
    task : Task
        The target.
    candidate : Candidate
        What to fit.
    train : ndarray of shape (m,)
        Rows to learn from.

    Returns
    -------
    model : estimator or None
        Fitted; None for a source as it is.
    scores : ndarray of shape (n, q)
        Predictions, or logits (one column for two classes), of every row.
    """

    def answers(_: FloatArray) -> FloatArray:
        known: FloatArray = task.scores[candidate.source][train]
        return known[:, 0] if known.shape[1] == 1 else known

    model = None
    if candidate.kind != "as is":
        model = estimator(task, candidate, answers).fit(task.X[train], task.y[train])
    return model, predict(task, candidate, model)


def losses(task: Task, value: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Loss and error of some rows.

    Parameters
    ----------
    task : Task
        The target.
    value : ndarray of shape (m, q)
        Predictions for these rows, or logits.
    rows : ndarray of shape (m,)
        Rows to judge.

    Returns
    -------
    tuple of ndarray of shape (m,)
        As in `Losses`.
    """
    if task.is_regression:
        square = np.square(value[:, 0] - task.y[rows])
        return square, square
    if value.shape[1] == 1:
        value = np.hstack([np.zeros_like(value), value])
    labels = task.y[rows].astype(np.intp)
    return log_loss_rows(value, labels), 1.0 - (value.argmax(axis=1) == labels)


def folds(task: Task, n_folds: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Random folds of the rows; every class spread evenly over them.

    Parameters
    ----------
    task : Task
        The target.
    n_folds : int
        Number of folds.
    rng : Generator
        Randomness.

    Returns
    -------
    list of ndarray
        Rows of every fold.
    """
    order = rng.permutation(len(task.y))
    if not task.is_regression:
        order = order[np.argsort(task.y[order], kind="stable")]
    return [np.sort(order[k::n_folds]) for k in range(n_folds)]


def cross_validate(
    task: Task,
    candidates: list[Candidate],
    splits: list[Split],
    n_threads: int,
    progress: Progress | None = None,
) -> Losses:
    """Nested cross-validation: strength and scale are chosen anew from the rows of every split.

    Parameters
    ----------
    task : Task
        The target.
    candidates : list of Candidate
        What to judge.
    splits : list of tuple
        Rows to learn from and rows to judge.
    n_threads : int
        Threads; never change the result.
    progress : callable or None, default=None
        Called with (splits done, splits).

    Returns
    -------
    Losses
        Averages over the splits that judged a row.
    """

    def one(k: int, _: Progress) -> FloatArray:
        train, test = splits[k]
        return np.array([fit_rows(task, c, train)[1][test] for c in candidates])

    with warnings.catch_warnings():  # parts of the sample are smaller than what the user gave
        warnings.simplefilter("ignore", ValidityWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = map_threads(one, len(splits), n_threads, progress)
    return summed(task, splits, found)


def summed(task: Task, splits: list[Split], scores: list[FloatArray]) -> Losses:
    """Losses of predictions, averaged over the splits that judged a row.

    Parameters
    ----------
    task : Task
        The target.
    splits : list of tuple
        Rows to learn from and rows to judge.
    scores : list of ndarray of shape (c, m, q)
        Predictions of every candidate for the rows that a split judges.

    Returns
    -------
    Losses
        NaN for rows that no split judged.
    """
    shape = len(scores[0]), len(task.y)
    loss, wrong, count = np.zeros(shape), np.zeros(shape), np.zeros(shape[1])
    for (_, test), values in zip(splits, scores, strict=True):
        count[test] += 1
        for c, value in enumerate(values):
            more, error = losses(task, value, test)
            loss[c, test] += more
            wrong[c, test] += error
    count[count == 0] = np.nan
    return Losses(loss / count, wrong / count, splits, scores)
