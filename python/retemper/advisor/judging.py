"""Every use of every source judged by nested cross-validation, and fitted to all rows."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._control import Progress
from retemper._sources import mix_sources
from retemper._validation import FloatArray
from retemper.advisor.averaging import average_weights
from retemper.advisor.blocks import TargetRows
from retemper.advisor.candidates import (
    KINDS,
    LEAST_MIXED,
    LEAST_POOLED,
    MIXTURE,
    SCRATCH,
    Candidate,
    Losses,
    Mixed,
    cross_validate,
    estimator,
    fit_candidate,
    mixed_sources,
    prepare,
    summed,
)
from retemper.advisor.estimators import AdvisedClassifier, AdvisedRegressor
from retemper.advisor.evidence import standard_error
from retemper.advisor.forecast import forecast_error
from retemper.advisor.linear_fits import set_linear
from retemper.advisor.record import LearningCurve
from retemper.advisor.sampling import (
    Split,
    check_folds,
    condense,
    fold_rows,
    read_splits,
    some_rows,
)
from retemper.advisor.task import SourceInput, Task
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.linear.ridge.fit import RidgeFit
from retemper.linear.ridge.path import DegreesOfFreedom, shared_decompositions

__all__ = [
    "Fits",
    "judge",
    "learning_curve",
    "make_splits",
    "n_folds",
    "n_repeats",
    "only_scratch",
    "predictor",
]

N_FOLDS = 5
#: Fewer judged rows or groups say nothing.
_LEAST_JUDGED = 3
#: Classification above this many products of a Newton step leaves the rescaled sources out.
_LARGE_CLASSIFICATION = 2e8
#: Regression above this many products of a decomposition has a learning curve of fewer parts.
_LARGE_REGRESSION = 1e10


@dataclasses.dataclass(frozen=True)
class Fits:
    """Candidates judged by cross-validation and fitted to all rows.

    Attributes
    ----------
    candidates : list of Candidate
        Scratch first.
    splits : list of tuple
        Rows to learn from and rows to judge.
    loss, wrong : ndarray of shape (c, g)
        Held-out losses and errors of nested cross-validation: by rows, or by groups of rows.
    models : list of estimator or None
        Fits to all rows; None for a source as it is.
    weights : ndarray of shape (c,)
        What each has in the average that predicts.
    average : ndarray of shape (g,)
        Held-out loss of that average, its weights chosen anew without the rows that are judged.
    """

    candidates: list[Candidate]
    splits: list[Split]
    loss: FloatArray
    wrong: FloatArray
    models: list[Any]
    weights: FloatArray
    average: FloatArray

    @property
    def choice(self) -> int:
        """Position of the candidate of largest weight."""
        return int(np.argmax(self.weights))

    def of(self, source: int) -> list[int]:
        """Positions of the candidates of a source."""
        return [i for i, c in enumerate(self.candidates) if c.source == source]

    def best(self, source: int) -> int:
        """Position of its candidate of smallest loss."""
        return min(self.of(source), key=lambda i: float(self.loss[i].mean()))


def n_repeats(task: Task) -> int:
    """How often the folds are drawn."""
    n = len(task.y)
    if task.is_regression:
        return 4 if n <= 100 else 2 if n <= 1000 else 1
    return 4 if n <= 50 else 2 if n <= 150 else 1


def n_folds(task: Task) -> int:
    """Number of folds."""
    return min(2 if _is_large(task) else N_FOLDS, task.sample.n_groups)


def _is_large(task: Task) -> bool:
    """Whether fits of a classifier are so dear that fewer are made."""
    k = 1 if task.classes is None else max(1, len(task.classes) - 1)
    return not task.is_regression and _products(task) * k > _LARGE_CLASSIFICATION


def _is_dear(task: Task) -> bool:
    """Whether learning curves have fewer parts."""
    return _is_large(task) or (task.is_regression and _products(task) > _LARGE_REGRESSION)


def _products(task: Task) -> float:
    n, d = task.X.shape
    return float(n * min(n, d) ** 2)


def make_splits(task: Task, cv: Any, rng: np.random.Generator) -> list[Split]:
    """The splits of cross-validation.

    Parameters
    ----------
    task : Task
        The target.
    cv : None, int, splitter or iterable
        As `advise` takes it.
    rng : Generator
        Randomness of the folds.

    Returns
    -------
    list of tuple
        Rows to learn from and rows to judge.
    """
    asked = check_folds(cv)
    if cv is not None and asked is None:
        return read_splits(cv, task.given, task.labels, task.sample)
    many = n_folds(task) if asked is None else asked
    if many > task.sample.n_groups:
        raise ValueError(f"cv must be at most {task.sample.n_groups}, one group each, got {many}")
    classes = None if task.is_regression else task.y
    every = np.arange(len(task.y))
    return [
        (np.setdiff1d(every, fold, assume_unique=True), fold)
        for _ in range(n_repeats(task))
        for fold in fold_rows(task.sample, classes, many, rng)
    ]


def judge(
    task: Task, splits: list[Split], n_threads: int, progress: Progress | None = None
) -> Fits:
    """Cross-validate every use of every source, and fit all to all rows.

    Parameters
    ----------
    task : Task
        The target.
    splits : list of tuple
        Rows to learn from and rows to judge.
    n_threads : int
        Threads; never change the result.
    progress : callable or None, default=None
        Called with (splits done, splits).

    Returns
    -------
    Fits
        All of them, with the weights of the average.
    """
    large = _is_large(task)
    kinds = [kind for kind in KINDS if not (large and kind == "rescaled")]
    candidates = [SCRATCH] + [
        Candidate(j, kind)
        for j, source in enumerate(task.sources)
        if source.duplicate_of is None
        for kind in kinds
        if not (source.is_constant and kind == "rescaled")
    ]
    may_pool = not large and len(task.y) >= LEAST_POOLED
    candidates += [
        Candidate(j, "pooled")
        for j, source in enumerate(task.sources)
        if source.duplicate_of is None and source.curvature is not None and may_pool
    ]
    if len(mixed_sources(task)) >= LEAST_MIXED:
        candidates += [Candidate(MIXTURE, "as is"), Candidate(MIXTURE, "fine-tune")]
    if isinstance(task.X, TargetRows) and sum(len(test) for _, test in splits) == len(task.y):
        task.X.split([test for _, test in splits])
    held_out = cross_validate(task, candidates, splits, n_threads, progress)
    loss, group = condense(task.sample, held_out.loss)
    if len(group) < _LEAST_JUDGED:
        raise ValueError(
            f"cv must judge {_LEAST_JUDGED} rows or groups or more, got {len(group)}: with fewer "
            "nothing can be said"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        every = np.arange(len(task.y))
        design = prepare(task, every)
        with shared_decompositions():
            models = [fit_candidate(task, c, every, design) for c in candidates]
    usable = np.array([c.source < 0 or task.sources[c.source].can_predict for c in candidates])
    weights = np.zeros(len(candidates))
    weights[usable] = average_weights(task, held_out, usable, loss[usable], without=set())
    wrong = condense(task.sample, held_out.wrong)[0]
    return Fits(
        candidates, splits, loss, wrong, models, weights,
        _average(task, held_out, usable, loss[usable], group),
    )  # fmt: skip


def _average(
    task: Task,
    held_out: Losses,
    usable: NDArray[np.bool_],
    loss: FloatArray,
    group: NDArray[np.intp],
) -> FloatArray:
    """Held-out loss of the average: its weights come from the groups that are not judged."""
    mixed = []
    for (_, test), scores in zip(held_out.splits, held_out.scores, strict=True):
        other = ~np.isin(group, task.sample.group[test])
        if other.sum() < _LEAST_JUDGED:
            other[:] = True
        without = set(group[~other].tolist())
        weights = average_weights(task, held_out, usable, loss[:, other], without=without)
        mixed.append(np.einsum("c,cmq->mq", weights, scores[usable])[None])
    found: FloatArray = condense(task.sample, summed(task, held_out.splits, mixed).loss)[0][0]
    return found


def only_scratch(fits: Fits) -> Fits:
    """The same fits with training from scratch alone in the average."""
    weights = np.zeros(len(fits.weights))
    weights[0] = 1.0
    return dataclasses.replace(fits, weights=weights, average=fits.loss[0])


def learning_curve(
    task: Task,
    fits: Fits,
    rng: np.random.Generator,
    n_threads: int,
    budget: int | None,
    *,
    within: bool = False,
) -> LearningCurve | None:
    """Errors of scratch and of the choice at parts of the sample, and their forecasts.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Whose choice is drawn.
    rng : Generator
        Randomness of the parts.
    n_threads : int
        Threads; never change the result.
    budget : int or None
        A number of labels that the curve should reach.
    within : bool, default=False
        Whether parts are taken from the rows to learn from of every split, and judged on its
        others: where the splits are those of the user.

    Returns
    -------
    LearningCurve or None
        None if the sample is too small to be cut.
    """
    n = len(task.y)
    least = 4 if task.classes is None else 2 * len(task.classes)
    parts = 3 if _is_dear(task) else 4
    most = min(len(train) for train, _ in fits.splits) if within else 0.8 * n
    first = max(least, n / 8)
    if most <= first:
        return None
    sizes = np.unique(np.geomspace(first, most, parts).round().astype(np.int64))
    if sizes[0] < least or len(sizes) < 2:
        return None
    classes = None if task.is_regression else task.y
    items = {task.name_of(fits.candidates[i].source): i for i in (0, fits.choice)}
    chosen = [fits.candidates[i] for i in items.values()]
    some = 3 if task.is_regression or n <= 150 else 2
    repeats = 1 if _is_dear(task) else 8 if task.is_regression and n <= 300 else some
    error, stderr = np.empty((2, len(items), len(sizes)))
    task = dataclasses.replace(task, scorer=None)  # the curve is of the error, not of the score
    for i, size in enumerate(sizes):
        if within:
            splits = [(_inside(task, train, int(size), rng), test) for train, test in fits.splits]
        else:
            splits = [some_rows(task.sample, classes, int(size), rng) for _ in range(repeats)]
        wrong = condense(task.sample, cross_validate(task, chosen, splits, n_threads).wrong)[0]
        error[:, i] = wrong.mean(axis=1)
        stderr[:, i] = standard_error(wrong)
    last = max(4 * n, 2 * budget if budget else 0)
    more = np.unique(np.geomspace(n, last, 6).round())
    at = np.concatenate([sizes, more.astype(np.int64)])
    seen = np.arange(len(at)) < len(sizes)
    share = float(np.mean([len(train) for train, _ in fits.splits])) / n
    found = {
        key: forecast_error(
            task.X.shape, float(fits.wrong[place].mean()), share, sizes.astype(np.float64),
            error[i], is_regression=task.is_regression, kind=fits.candidates[place].kind,
        )
        for i, (key, place) in enumerate(items.items())
    }  # fmt: skip
    bands = {key: found[key].band(more) for key in items}
    unknown = np.full(len(sizes), np.nan)
    return LearningCurve(
        n_samples=at,
        measured=seen,
        error={key: np.concatenate([error[i], found[key].at(more)]) for i, key in enumerate(items)},
        error_low={key: np.concatenate([unknown, bands[key][0]]) for key in items},
        error_high={key: np.concatenate([unknown, bands[key][1]]) for key in items},
        stderr={
            key: np.concatenate([stderr[i], np.full(len(more), np.nan)])
            for i, key in enumerate(items)
        },
        fit=found,
    )


def _inside(
    task: Task, train: NDArray[np.intp], size: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """A part of the rows to learn from."""
    classes = None if task.is_regression else task.y[train]
    return train[some_rows(task.sample.part(train), classes, size, rng)[0]]


def predictor(task: Task, fits: Fits) -> Any:
    """The estimator that predicts as advised.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Candidates and their weights.

    Returns
    -------
    estimator
        Fitted to all rows: one member, or the average of several.
    """
    kept = [i for i in np.argsort(-fits.weights, kind="stable") if fits.weights[i] > 0.0]
    members = []
    weight = task.sample.weight if task.sample.is_weighted else None
    with warnings.catch_warnings(), shared_decompositions():
        warnings.simplefilter("ignore", ValidityWarning)
        for i in kept:
            candidate, model = fits.candidates[i], fits.models[i]
            read = None if candidate.source < 0 else task.sources[candidate.source].read
            source = None if candidate.source < 0 else task.sources[candidate.source].model
            if candidate.source == MIXTURE:
                mixed = [task.sources[j].read for j in model.sources]
                read = mix_sources(mixed, model.mixture.weights, model.mixture.intercept)
                source = SourceInput(read.name, read, None).model
            member = estimator(task, candidate, source, task.units.metric)
            if candidate.kind != "as is":
                member.set_params(ridge=float(model.ridge_))
                if candidate.kind == "rescaled":
                    member.set_params(source_scale=float(model.source_scale_))
            if task.is_streamed:
                fit = _without_rows(task, fits, i)
                members.append(set_linear(member, fit, read, task.n_features))
            else:
                members.append(member.fit(task.given, task.labels, sample_weight=weight))
    if len(members) == 1:
        return members[0]
    kind = AdvisedRegressor if task.is_regression else AdvisedClassifier
    return kind(members, [float(fits.weights[i]) for i in kept])


def _without_rows(task: Task, fits: Fits, place: int) -> RidgeFit:
    """The fit of a candidate in the units of the user, from what is known of it."""
    model = fits.models[place]
    fit = model.fit if isinstance(model, Mixed) else model
    scale = np.array([1.0 if model is None else float(model.source_scale_)])
    if fit is None:  # a source, or the mixture, as it is
        error, zero = float(fits.wrong[place].mean()), np.zeros(1)
        degrees = DegreesOfFreedom(np.array([np.inf]), zero, zero)
        still, rank = np.zeros((1, task.n_features)), fits.models[0].rank_
        return RidgeFit(still, zero, math.inf, 1.0, scale, degrees, error, error, rank, 0, ())
    return RidgeFit(
        fit.coef_ / task.units.scale, fit.intercept_, fit.ridge_, 1.0, scale, fit.degrees,
        fit.gcv_, fit.loo_, fit.rank_, 0, (),
    )  # fmt: skip
