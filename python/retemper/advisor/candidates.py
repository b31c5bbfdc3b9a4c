"""The ways to use a source, fitted on some rows and judged on others."""

from __future__ import annotations

import dataclasses
import math
import warnings
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._control import Progress
from retemper._parallel import map_threads
from retemper._validation import FloatArray
from retemper.advisor.class_fits import ClassDesign
from retemper.advisor.linear_fits import LinearDesign, LinearFit, StreamedDesign
from retemper.advisor.mixing import Mixture, mix_scores
from retemper.advisor.sampling import Split, inner_splits
from retemper.advisor.task import Task
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression
from retemper.linear.logistic.path import log_loss_rows
from retemper.linear.ridge.path import shared_decompositions

Kind = Literal["scratch", "as is", "fine-tune", "rescaled", "pooled"]
#: Multiples of the strength of leave-one-out that are compared on the splits of the user.
_MULTIPLES = (1.0, 10.0, 100.0, 1000.0)
#: Fewer rows fit nothing.
_LEAST_ROWS = 2
KINDS: tuple[Kind, ...] = ("as is", "fine-tune", "rescaled")


class Candidate(NamedTuple):
    """One way to get a model: from scratch, from a source, or from a mixture of them.

    Attributes
    ----------
    source : int
        Number of the source; -1 for scratch, -2 for the mixture of all.
    kind : {"scratch", "as is", "fine-tune", "rescaled", "pooled"}
        What is done with it; "rescaled" is fine-tuning with a fitted factor on the source,
        "pooled" a fit to its rows and those of the target together.
    """

    source: int
    kind: Kind


SCRATCH = Candidate(-1, "scratch")
#: Number of the mixture of sources.
MIXTURE = -2
#: From this number of sources their mixture is a candidate.
LEAST_MIXED = 2
#: From this number of labels a fit to source rows and target rows together is a candidate: with
#: fewer the choice of its weight costs more than it gains (``bench/pooled_advise.py``).
LEAST_POOLED = 30


@dataclasses.dataclass(frozen=True)
class Mixed:
    """A fitted use of the mixture of sources.

    Attributes
    ----------
    sources : tuple of int
        Numbers of the sources in it.
    mixture : Mixture
        Their factors.
    coef_ : ndarray of shape (q, d)
        Slopes of the correction; zero for the mixture as it is.
    intercept_ : ndarray of shape (q,)
        Offsets of the correction.
    ridge_ : float
        Strength that holds the correction; infinite for the mixture as it is.
    loo_, loo_error_rate_ : float
        Leave-one-out loss and share of wrong classes (NaN for numbers), factors refitted.
    source_scale_ : float
        Factor on the mixture, one.
    fit : LinearFit or None
        The correction, of numbers.
    """

    sources: tuple[int, ...]
    mixture: Mixture
    coef_: FloatArray
    intercept_: FloatArray
    ridge_: float
    loo_: float
    loo_error_rate_: float
    source_scale_: float = 1.0
    fit: LinearFit | None = None

    def start(self, task: Task) -> FloatArray:
        """What the mixture says on the rows of a task, (n, q)."""
        return self.mixture.of(task.scores[list(self.sources)])


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
        Diagonal of the penalty for rows in the units of the user; None for those of the task.

    Returns
    -------
    FineTunedLinearRegression or FineTunedLogisticRegression
        Chooses its strength by leave-one-out.

    Notes
    -----
    Source rows with the weight r beside the target rows add r times their own penalised loss. For
    squared errors that is r (w - v)' H (w - v), with v their own fit and H its second derivatives
    per row: fine-tuning from v in the metric H, and the weight is its ridge. For the log loss it is
    the same to second order. Derived here (`advise#how-it-decides`).
    """
    settings: dict[str, Any] = {"metric": metric}
    if candidate.kind != "scratch":
        settings["source"] = source
    if candidate.kind == "rescaled":
        settings["source_scale"] = "auto"
    if candidate.kind == "pooled":
        scale = np.ones(task.n_features) if metric is not None else task.units.scale
        curvature = task.sources[candidate.source].curvature
        assert curvature is not None
        settings["metric"] = curvature / np.outer(scale, scale)
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
    if candidate.source == MIXTURE:
        scores = scores + model.start(task)
    elif candidate.source >= 0:
        scores = scores + model.source_scale_ * task.scores[candidate.source]
    return np.asarray(scores)


def prepare(task: Task, train: NDArray[np.intp]) -> ClassDesign | LinearDesign | None:
    """What all candidates share on some rows: the design, and what leaves rows out.

    Parameters
    ----------
    task : Task
        The target.
    train : ndarray of shape (m,)
        Rows to learn from.

    Returns
    -------
    ClassDesign, LinearDesign or None
        None where the rows lack a class.
    """
    if task.is_streamed:
        return StreamedDesign(task, train, _mixed_columns(task, train))
    if task.is_regression:
        return LinearDesign(task, train)
    if len(np.unique(task.y[train])) < task.n_classes:
        return None
    return ClassDesign(task, train)


def _mixed_columns(task: Task, train: NDArray[np.intp]) -> list[FloatArray]:
    """What the mixture says on rows without them and with them; nothing if there is none."""
    if len(mixed_sources(task)) < LEAST_MIXED:
        return []
    mixture, says = _mixture(task, train)
    return [mixture.left_out, says]


def _mixture(task: Task, train: NDArray[np.intp]) -> tuple[Mixture, FloatArray]:
    """Factors of the sources on some rows, and what their sum says there."""
    part = task.sample.part(train)
    scores = task.scores[mixed_sources(task)][:, train]
    mixture = mix_scores(
        scores, task.y[train], part.weight, part.group, is_regression=task.is_regression
    )
    return mixture, mixture.of(scores)


def fit_rows(
    task: Task,
    candidate: Candidate,
    train: NDArray[np.intp],
    design: ClassDesign | LinearDesign | None = None,
) -> tuple[Any, FloatArray]:
    """Fit a candidate on some rows and predict all, which must be in memory.

    The source is not evaluated again: its predictions on the target rows are known.

    Parameters
    ----------
    task : Task
        The target.
    candidate : Candidate
        What to fit.
    train : ndarray of shape (m,)
        Rows to learn from.
    design : ClassDesign, LinearDesign or None, default=None
        As `prepare` makes it for these rows; None makes it anew.

    Returns
    -------
    model : LinearFit, ClassFit, Mixed or None
        Fitted; None for a source as it is.
    scores : ndarray of shape (n, q)
        Predictions, or logits (one column for two classes), of every row.
    """
    design = design or prepare(task, train)
    model = fit_candidate(task, candidate, train, design)
    return model, predictions(task, [candidate], [model], train, np.arange(len(task.y)))[0]


def fit_candidate(
    task: Task,
    candidate: Candidate,
    train: NDArray[np.intp],
    design: ClassDesign | LinearDesign | None,
) -> Any:
    """Fit a candidate on some rows.

    Parameters
    ----------
    task : Task
        The target.
    candidate : Candidate
        What to fit.
    train : ndarray of shape (m,)
        Rows to learn from.
    design : ClassDesign, LinearDesign or None
        As `prepare` makes it for these rows.

    Returns
    -------
    LinearFit, ClassFit, Mixed or None
        Fitted; None for a source as it is, and where the rows lack a class.
    """
    if design is None or (candidate.kind == "as is" and candidate.source != MIXTURE):
        return None
    model = _fit(task, candidate, train, design)
    if isinstance(design, LinearDesign) and task.sample.splits and candidate.kind != "as is":
        ridge = _ridge_by_splits(task, candidate, train, design, model)
        model = _fit(task, candidate, train, design, ridge)
    return model


def predictions(
    task: Task,
    candidates: list[Candidate],
    models: list[Any],
    train: NDArray[np.intp],
    rows: NDArray[np.intp],
) -> FloatArray:
    """What fitted candidates predict for some rows.

    Parameters
    ----------
    task : Task
        The target.
    candidates : list of Candidate
        What was fitted.
    models : list
        As `fit_candidate` makes them.
    train : ndarray of shape (m,)
        Rows that they learned from.
    rows : ndarray of shape (r,)
        Rows to predict, ascending.

    Returns
    -------
    ndarray of shape (c, r, q)
        Predictions, or logits.
    """
    if not task.is_streamed:
        return np.array(
            [
                _lacking(task, c, train)[rows]
                if model is None and c.kind != "as is"
                else predict(task, c, model)[rows]
                for c, model in zip(candidates, models, strict=True)
            ]
        )
    blocks: Any = task.X
    still = np.zeros((1, task.n_features))
    slopes = np.vstack([still if m is None else m.coef_ for m in models])
    found = np.empty((len(models), len(rows), 1))
    for some, value in blocks.part(rows).map(partial(_times, slopes=slopes)):
        found[:, some, 0] = value.T
    for i, (candidate, model) in enumerate(zip(candidates, models, strict=True)):
        found[i] += 0.0 if model is None else model.intercept_
        if candidate.source == MIXTURE:
            found[i] += model.mixture.of(task.scores[list(model.sources)][:, rows])
        elif candidate.source >= 0:
            scale = 1.0 if model is None else model.source_scale_
            found[i] += scale * task.scores[candidate.source][rows]
    return found


def _times(rows: FloatArray, slopes: FloatArray) -> FloatArray:
    return np.asarray(rows @ slopes.T)


def _fit(
    task: Task,
    candidate: Candidate,
    train: NDArray[np.intp],
    design: ClassDesign | LinearDesign,
    ridge: float | None = None,
) -> Any:
    if candidate.source == MIXTURE:
        return _fit_mixture(task, candidate, train, design, ridge)
    if isinstance(design, LinearDesign):
        return design.fit(candidate.source, candidate.kind, ridge)
    return design.fit(candidate.source, rescaled=candidate.kind == "rescaled")


def _fit_mixture(
    task: Task,
    candidate: Candidate,
    train: NDArray[np.intp],
    design: ClassDesign | LinearDesign,
    ridge: float | None,
) -> Mixed:
    """Factors of the sources, then a correction whose strength is that of left-out rows.

    The factors know the labels of the rows that they were fitted on, and a correction of what
    they leave there would look better than it is. Its strength is therefore chosen from what they
    leave when a row is left out.
    """
    sources = mixed_sources(task)
    mixture, says = _mixture(task, train)
    if candidate.kind == "as is":
        part = task.sample.part(train)
        loss, wrong = losses(task, mixture.left_out, train, usual=True)
        share = part.weight / part.weight.sum()
        still = np.zeros((mixture.left_out.shape[1], task.n_features))
        rate = math.nan if task.is_regression else float(share @ wrong)
        zero = np.zeros(len(still))
        return Mixed(tuple(sources), mixture, still, zero, math.inf, float(share @ loss), rate)
    judged: Any
    fitted: Any
    if isinstance(design, LinearDesign):
        judged = fitted = design.correct(mixture.left_out, says, ridge)
    else:
        judged = design.fit_from(mixture.left_out)
        fitted = design.fit_from(says, ridge=float(judged.ridge_))
    return Mixed(
        tuple(sources), mixture, np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_),
        float(judged.ridge_), float(judged.loo_),
        math.nan if task.is_regression else float(judged.loo_error_rate_),
        fit=fitted if task.is_regression else None,
    )  # fmt: skip


def mixed_sources(task: Task) -> list[int]:
    """Numbers of the sources that can be mixed: they differ, vary, and know new rows."""
    return [
        j
        for j, source in enumerate(task.sources)
        if source.duplicate_of is None and source.can_predict and not source.is_constant
    ]


def _ridge_by_splits(
    task: Task,
    candidate: Candidate,
    train: NDArray[np.intp],
    design: LinearDesign,
    model: LinearFit | Mixed,
) -> float:
    """Strength by the splits of the user: some multiples of that of leave-one-out compared."""
    ridge = float(model.ridge_)
    if not 0.0 < ridge < math.inf:
        return ridge
    loss = np.zeros(len(_MULTIPLES))
    for learn, test in inner_splits(task.sample.part(train), None):
        rest, rows = train[learn], train[test]
        if len(rest) < _LEAST_ROWS:
            continue
        inner = design.inner(rest)
        for i, factor in enumerate(_MULTIPLES):
            fitted = _fit(task, candidate, rest, inner, factor * ridge)
            value = losses(task, predict(task, candidate, fitted)[rows], rows, usual=True)[0]
            loss[i] += float(task.sample.weight[rows] @ value)
    return _MULTIPLES[int(np.argmin(loss))] * ridge


def _lacking(task: Task, candidate: Candidate, train: NDArray[np.intp]) -> FloatArray:
    """Logits where the rows to learn from lack a class: the source's, or shares with one row more.

    Parameters
    ----------
    task : Task
        The target, of classes.
    candidate : Candidate
        What cannot be fitted.
    train : ndarray of shape (m,)
        Rows to learn from.

    Returns
    -------
    ndarray of shape (n, q)
        For every row of the target.
    """
    if candidate.source == MIXTURE:
        return np.asarray(task.scores[mixed_sources(task)].mean(axis=0))
    if candidate.source >= 0:
        return np.asarray(task.scores[candidate.source])
    count = np.bincount(task.y[train].astype(np.intp), minlength=task.n_classes) + 1.0
    logit = np.log(count / count.sum())
    logit = logit[1:] - logit[:1] if len(logit) == 2 else logit
    return np.tile(logit, (len(task.y), 1))


def losses(
    task: Task, value: FloatArray, rows: NDArray[np.intp], *, usual: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Loss and error of some rows.

    Parameters
    ----------
    task : Task
        The target.
    value : ndarray of shape (m, q)
        Predictions for these rows, or logits.
    rows : ndarray of shape (m,)
        Rows to judge.
    usual : bool, default=False
        Squared error or log loss, whatever decides.

    Returns
    -------
    tuple of ndarray of shape (m,)
        As in `Losses`.
    """
    if task.is_regression:
        square = np.square(value[:, 0] - task.y[rows])
        return (np.sqrt(square) if task.scoring == "absolute" and not usual else square), square
    if value.shape[1] == 1:
        value = np.hstack([np.zeros_like(value), value])
    labels = task.y[rows].astype(np.intp)
    wrong = 1.0 - (value.argmax(axis=1) == labels)
    if usual or task.scorer is not None or task.scoring == "log loss":
        return log_loss_rows(value, labels), wrong
    if task.scoring == "accuracy":
        return wrong, wrong
    count = np.bincount(task.y.astype(np.intp), weights=task.sample.weight)
    return wrong * (count.sum() / (len(count) * count))[labels], wrong


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
        design = prepare(task, train)
        with shared_decompositions():
            models = [fit_candidate(task, c, train, design) for c in candidates]
        return predictions(task, candidates, models, train, test)

    with warnings.catch_warnings():  # parts of the sample are smaller than what the user gave
        warnings.simplefilter("ignore", ValidityWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        # blocks are worked on by all threads, one split after the other
        found = map_threads(one, len(splits), 1 if task.is_streamed else n_threads, progress)
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
    if task.scorer is not None:
        return Losses(task.scorer.losses(task, splits, scores), wrong / count, splits, scores)
    return Losses(loss / count, wrong / count, splits, scores)
