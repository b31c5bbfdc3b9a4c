"""What each system says of the sources, from its own theory."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from scipy import special

from retemper._control import Progress
from retemper._validation import FloatArray
from retemper.advisor.forecast import SPREAD_OF_LEVEL
from retemper.advisor.record import Action, Opinion, Verdict
from retemper.advisor.suite_record import SUITE_RECORD
from retemper.advisor.task import SourceInput, Task
from retemper.exceptions import ConvergenceWarning, ValidityWarning

#: Largest source sample for which the wide networks are solved: their cost is its cube.
_LARGEST_SOURCE = 1500
#: Largest product of rows and features for which every diagonal network of the grid is fitted.
_LARGEST_DIAGONAL = 60_000
#: Width of the networks that are asked.
_WIDTH = 200

#: What a verdict would have one do; the others leave it open.
_ACTIONS: dict[str, Action] = {"helps": "use", "hurts": "leave"}

Ask = Callable[[Task, SourceInput, FloatArray, int | None], Opinion]


@contextmanager
def _flags() -> Iterator[list[str]]:
    """Collects what a system warns of: validity and convergence."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    for warning in caught:
        if issubclass(warning.category, ValidityWarning | ConvergenceWarning):
            found.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def numbers(task: Task) -> FloatArray:
    """Labels as numbers: themselves, or -1 and 1 for two classes."""
    return task.y if task.is_regression else 2.0 * task.y - 1.0


def linear_opinions(task: Task, confidence: float) -> tuple[list[Opinion], dict[str, float]]:
    """Verdicts of the transfer report of `retemper.linear`, and the labels that sources save.

    Parameters
    ----------
    task : Task
        The target, not of several classes.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    opinions : list of Opinion
        One per source, and scratch.
    saved : dict of str to float
        Labels that each source replaces.
    """
    from retemper.linear import LinearTransferReport

    known = {
        source.name: (lambda _, values=scores[:, 0]: values)
        for source, scores in zip(task.sources, task.scores, strict=True)
    }
    with _flags() as flags:
        report = LinearTransferReport(known, confidence=confidence).fit(task.X, numbers(task))
    unit = "squared error" if task.is_regression else "squared error on labels of -1 and 1"
    half = float(special.ndtri(0.5 + confidence / 2))
    level = math.exp(half * SPREAD_OF_LEVEL[True] / math.sqrt(len(task.y)))
    opinions = [
        Opinion(
            system="linear",
            source="scratch",
            error=report.scratch_,
            unit=unit,
            advice=f"ridge {report.scratch_ridge_:.3g}",
            flags=tuple(flags),
        )
    ]
    for j, source in enumerate(task.sources):
        verdict, use = report.verdict_[j], report.use_[j]
        low, high = report.relative_gain_low_[j], report.relative_gain_high_[j]
        error = report.fine_tuned_[j]
        if use == "as is":
            error, low, high = report.zero_shot_[j], math.nan, math.nan
        elif use == "rescaled":
            error = report.rescaled_[j]
            low = report.rescaled_relative_gain_low_[j]
            high = report.rescaled_relative_gain_high_[j]
        n, saved = len(task.y), float(report.samples_saved_[j])
        worth = (
            f"at least {n}" if saved >= n else f"{saved:.0f}"
            if saved >= 0 else f"minus {-saved:.0f}"
        )  # fmt: skip
        ends = _with_level(
            float(error), (1.0 - high) * report.scratch_, (1.0 - low) * report.scratch_, level
        )
        scale = f", factor {float(report.best_scale_[j]):.3g}" if use == "rescaled" else ""
        opinions.append(
            Opinion(
                system="linear",
                source=source.name,
                verdict=cast("Verdict", verdict),
                error=float(error),
                error_low=ends[0],
                error_high=ends[1],
                unit=unit,
                advice=f"{'leans to ' if verdict == 'undecided' else ''}{use}{scale}"
                + ("" if use == "rescaled" else f"; to fine-tuning worth {worth} labels"),
                action=_ACTIONS.get(verdict, ""),
            )
        )
    names = [source.name for source in task.sources]
    return opinions, dict(zip(names, map(float, report.samples_saved_), strict=True))


def _with_level(error: float, low: float, high: float, level: float) -> tuple[float, float]:
    """Ends of an interval of the gain, with what is not known of the level, added in squares.

    Without the former, for a source as it is, the level alone.
    """
    down, up = (0.0 if math.isnan(end) else abs(error - end) for end in (low, high))
    return (
        max(error - math.hypot(down, error * (1.0 - 1.0 / level)), 0.0),
        error + math.hypot(up, error * (level - 1.0)),
    )


def diagonal_opinion(
    task: Task, source: SourceInput, scores: FloatArray, n_jobs: int | None
) -> Opinion:
    """Best initialisation of a diagonal network, by its leave-one-out error."""
    from retemper.diagonal import (
        DiagonalNetworkRegressor,
        recommend,
        regime_label,
    )

    n, d = task.X.shape
    reason = ""
    if task.name == "multiclass":
        reason = "one output only"
    elif source.coef is None:
        reason = "needs coefficients"
    elif n > d:
        reason = "more rows than features: every start ends at least squares"
    elif n * d > _LARGEST_DIAGONAL:
        reason = f"left out above {_LARGEST_DIAGONAL} entries of X: it fits a grid of networks"
    if reason:
        return Opinion(system="diagonal", source=source.name, flags=(f"not asked: {reason}",))
    assert source.coef is not None
    y = numbers(task)
    y = y - y.mean()  # the networks have no intercept, and the columns are centred
    with _flags() as flags:
        coef = task.units.coef(source.coef[0])
        found = recommend(task.X, y, coef, method="first-order", n_jobs=n_jobs)
        best = {k: v for k, v in found.best.items() if k != "source"}
        alone = "source" in found.best
        network = DiagonalNetworkRegressor(
            **best, source=None if alone else coef, n_jobs=n_jobs
        ).fit(task.X, y)
    weights = np.asarray(network.regime_weights_).reshape(-1, 3)
    size = np.abs(np.asarray(network.coef_)).reshape(-1)
    regime = str(regime_label(np.average(weights, axis=0, weights=size + 1e-300)))
    words = {
        "I": "rich, from scratch",
        "II": "lazy, tied to the source",
        "III": "lazy, blind to the source",
        "IV": "rich and tied to the source",
    }
    start = ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in best.items())
    return Opinion(
        system="diagonal",
        source=source.name,
        error=found.loo,
        unit="squared error" if task.is_regression else "squared error on labels of -1 and 1",
        advice=f"regime {regime} ({words[regime]}): {start}"
        + (", and zero in place of the source" if alone else ""),
        flags=tuple(flags),
        action="leave" if alone or regime in {"I", "III"} else "use",
    )


def widenet_opinion(
    task: Task, source: SourceInput, scores: FloatArray, n_jobs: int | None
) -> Opinion:
    """Whether networks of finite width gain from the source task."""
    from retemper.widenet import FranzParisiClassifier, FranzParisiRegressor

    reason = ""
    if source.data is None:
        reason = "needs the rows and labels of the source"
    elif task.name == "multiclass":
        reason = "two classes or numbers only"
    elif len(source.data[0]) > _LARGEST_SOURCE:
        reason = f"left out above {_LARGEST_SOURCE} source rows"
    elif not task.is_regression and len(np.unique(source.data[1])) != 2:
        reason = "the source has other than two classes"
    if reason:
        return Opinion(system="widenet", source=source.name, flags=(f"not asked: {reason}",))
    assert source.data is not None
    kind = FranzParisiRegressor if task.is_regression else FranzParisiClassifier
    with _flags() as flags:
        X_s, y_s = source.data
        network = kind(width=_WIDTH, source=(task.units.rows(X_s), y_s)).fit(task.X, task.labels)
        verdict = network.will_transfer_help()
    return Opinion(
        system="widenet",
        source=source.name,
        verdict=verdict.verdict,
        error=float(network.loo_),
        unit="squared error of one network" + ("" if task.is_regression else ", labels -1 and 1"),
        advice=f"coupling {verdict.gamma:.3g} at width {_WIDTH}"
        + ("; the gain is regularisation alone" if verdict.regularisation_only else ""),
        flags=tuple(flags),
        action="" if verdict.regularisation_only else _ACTIONS.get(verdict.verdict, ""),
    )


def phases_opinion(
    task: Task, source: SourceInput, scores: FloatArray, n_jobs: int | None
) -> Opinion:
    """When pre-training on the source should stop, for a linear layer."""
    from retemper.phases import phase_forecast

    if source.data is None:
        flag = "not asked: needs the rows and labels of the source"
        return Opinion(system="phases", source=source.name, flags=(flag,))
    X_s, y_s = source.data
    labels = np.asarray(y_s, np.float64)[:, None] if task.is_regression else y_s
    with _flags() as flags:
        found = phase_forecast(task.units.rows(X_s), labels)
    turns = found.fuv_star < 0.98 * found.fuv[-1]
    flags.append("one linear layer trained by squared loss")
    return Opinion(
        system="phases",
        source=source.name,
        advice=(
            f"pre-training passes its best representation at step size times steps = "
            f"{found.t_star:.3g}: stop there"
            if turns
            else "pre-training does not pass a best representation: no reason to stop early"
        ),
        flags=tuple(flags),
        action="stop early" if turns else "",
    )


def perceptron_opinion(task: Task, unlabelled: FloatArray | None, n_jobs: int | None) -> Opinion:
    """What unlabelled target rows are worth in labels."""
    from retemper.perceptron import MarginPerceptronClassifier

    if unlabelled is None:
        flag = "not asked: needs rows without labels"
        return Opinion(system="perceptron", source="scratch", flags=(flag,))
    if task.name != "binary":
        flag = "not asked: two classes only"
        return Opinion(system="perceptron", source="scratch", flags=(flag,))
    X = np.vstack([task.rows, unlabelled])
    y = np.concatenate([task.y.astype(np.int64), np.full(len(unlabelled), -1)])
    with _flags() as flags:
        report = MarginPerceptronClassifier(n_jobs=n_jobs).fit(X, y).report_
    if not report.is_trustworthy:
        flags.insert(0, "no answer: the rows do not follow the margin model")
        return Opinion(system="perceptron", source="scratch", flags=tuple(flags))
    return Opinion(
        system="perceptron",
        source="scratch",
        error=float(report.error_now),
        unit="misclassification rate",
        advice=f"{len(unlabelled)} unlabelled rows are worth {report.worth_of_unlabelled:.0f} "
        f"labels; phase: {report.phase}",
        flags=tuple(flags),
        action="use unlabelled rows" if report.worth_of_unlabelled >= 1.0 else "",
    )


#: Systems that are asked about every source on its own.
ASK: dict[str, Ask] = {
    "diagonal": diagonal_opinion,
    "widenet": widenet_opinion,
    "phases": phases_opinion,
}
SYSTEMS = ("linear", *ASK, "perceptron")


def read_systems(systems: Any, *, unlabelled: bool) -> tuple[str, ...]:
    """The systems that are asked.

    Parameters
    ----------
    systems : None, str or sequence of str
        As `advise` takes it.
    unlabelled : bool
        Whether there are rows without labels, of which `retemper.perceptron` speaks.

    Returns
    -------
    tuple of str
        Their names, in the order of ``SYSTEMS``.

    Raises
    ------
    ValueError
        If a name is not that of a system.
    """
    if systems is None:
        asked: set[str] = set()
    elif isinstance(systems, str):
        asked = set(SYSTEMS) if systems == "all" else {systems}
    else:
        asked = set(systems)
    wrong = sorted(map(repr, asked - set(SYSTEMS)))
    if wrong:
        raise ValueError(
            f"systems must be 'all' or name some of {', '.join(SYSTEMS)}; got {', '.join(wrong)}"
        )
    if unlabelled:
        asked.add("perceptron")
    return tuple(name for name in SYSTEMS if name in asked)


def _broken(system: str, source: str, error: Exception) -> Opinion:
    """An opinion that could not be formed: never a reason to lose the advice."""
    flag = f"could not answer ({type(error).__name__}: {error})"
    return Opinion(system=system, source=source, flags=(flag,))


def ask_systems(
    task: Task,
    systems: tuple[str, ...],
    confidence: float,
    unlabelled: FloatArray | None,
    n_jobs: int | None,
    *,
    watch: Progress | None = None,
) -> tuple[list[Opinion], dict[str, float]]:
    """Ask systems about every source.

    Parameters
    ----------
    task : Task
        The target.
    systems : tuple of str
        Which are asked.
    confidence : float
        Coverage of intervals.
    unlabelled : ndarray of shape (m, d) or None
        Target rows without labels.
    n_jobs : int or None
        Threads.
    watch : callable, optional
        Called with (sources done, sources).

    Returns
    -------
    opinions : list of Opinion
        An entry without verdict and advice says in its flags why a system did not answer.
    saved : dict of str to float
        Labels that each source replaces, by `retemper.linear`.
    """
    opinions: list[Opinion] = []
    saved: dict[str, float] = {}
    names = [source.name for source in task.sources]
    if "linear" in systems and task.name == "multiclass":
        flag = "not asked: squared loss on several classes says little of log loss"
        opinions += [Opinion(system="linear", source=name, flags=(flag,)) for name in names]
    elif "linear" in systems:
        try:
            opinions, saved = linear_opinions(task, confidence)
        except Exception as error:
            opinions = [_broken("linear", name, error) for name in names]
    for j, (source, scores) in enumerate(zip(task.sources, task.scores, strict=True)):
        for system in (name for name in ASK if name in systems and source.duplicate_of is None):
            try:
                opinions.append(ASK[system](task, source, scores, n_jobs))
            except Exception as error:
                opinions.append(_broken(system, source.name, error))
        if watch is not None:
            watch(j + 1, len(names))
    if "perceptron" in systems:
        try:
            opinions.append(perceptron_opinion(task, unlabelled, n_jobs))
        except Exception as error:
            opinions.append(_broken("perceptron", "scratch", error))
    return [dataclasses.replace(o, record=SUITE_RECORD[o.system].text) for o in opinions], saved
