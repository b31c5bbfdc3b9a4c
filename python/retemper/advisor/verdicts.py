"""From held-out losses to what is said of every source."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from retemper.advisor.candidates import MIXTURE
from retemper.advisor.evidence import (
    ODDS_OF_AVERAGE,
    UNSEEN,
    Gain,
    error_interval,
    gain_of,
    holm,
)
from retemper.advisor.judging import Fits
from retemper.advisor.record import CandidateAdvice, Opinion, Verdict
from retemper.advisor.task import Task

__all__ = [
    "gain_fields",
    "gain_of_average",
    "is_worth_a_source",
    "judge_sources",
    "overall",
    "unseen_rows",
]

#: A source whose best use gains or loses less than this part of the loss from scratch, at the
#: confidence asked for, makes no difference.
SAME = 0.05
#: A source hurts only if the p-value of its best use, not corrected, is above this.
LEAN = 0.6
#: Half of the squares in this part of the rows are heavy tails; of fewer rows nothing is said.
_TAIL, _LEAST_TAIL = 0.02, 20
#: An average that is less likely to beat scratch is not advised.
LEAST_ODDS = 0.5


def judge_sources(
    task: Task,
    fits: Fits,
    confidence: float,
    opinions: list[Opinion],
    saved: dict[str, float],
) -> list[CandidateAdvice]:
    """Verdict, errors and intervals of scratch and of every source at its best use.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Candidates and their losses.
    confidence : float
        Level of intervals and verdicts.
    opinions : list of Opinion
        What systems say.
    saved : dict of str to float
        Labelled rows that sources replace.

    Returns
    -------
    list of CandidateAdvice
        Scratch first.
    """
    said: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        said.setdefault(opinion.source, []).append(opinion)
    # groups count as one: so many labels stand behind each
    labels = len(task.y) / task.sample.n_groups
    mixed = [MIXTURE] if fits.of(MIXTURE) else []
    names = [source.name for source in task.sources]
    found = _Evidence.find(task, fits, confidence, mixed)
    nothing = gain_of(fits.loss[0] - fits.loss[0], confidence)
    notes = (*task.flags, *heavy_tails(task, fits))
    told = {"name": "scratch", "verdict": "same", "p_value": 1.0, "flags": notes}
    mine = tuple(said.get("scratch", ()))
    rows = [_row(task, fits, confidence, 0, nothing, opinions=mine, **told)]
    for j in [*range(len(names)), *mixed]:
        source = None if j == MIXTURE else task.sources[j]
        twin = None if source is None else source.duplicate_of
        first = j if twin is None else names.index(twin)
        gain, name = found.gains[first], task.name_of(j)
        verdict = found.verdict(first, confidence)
        flags = mixture_flags(task, fits) if source is None else source.flags
        if verdict == "helps" and gain.low <= 0.0 and twin is None:
            flags += (
                f"p is about rows like the {fits.loss.shape[1]} at hand; the interval of the gain "
                "also counts rows of other kinds, and reaches zero",
            )
        more = gain.n_decide * labels if verdict == "undecided" and gain.mean > 0.0 else math.nan
        rows.append(
            _row(
                task,
                fits,
                confidence,
                found.best[first],
                gain,
                name=name,
                verdict=verdict,
                labels_to_decide=more,
                p_value=found.p[first],
                labels_saved=saved.get(name, math.nan),
                duplicate_of=twin,
                flags=flags,
                opinions=tuple(said.get(name, ())),
            )
        )
    return rows


@dataclasses.dataclass(frozen=True)
class _Evidence:
    """Gains by source, that are not duplicates of others, and the mixture."""

    base: float  # the loss from scratch
    best: dict[int, int]  # position of the best use
    gains: dict[int, Gain]
    seen: dict[int, Gain]  # of the rows as they are
    tuning: dict[int, Gain]  # of fine-tuning
    p: dict[int, float]  # corrected for the number of sources
    p_tuning: dict[int, float]

    @classmethod
    def find(cls, task: Task, fits: Fits, confidence: float, mixed: list[int]) -> _Evidence:
        """From held-out losses."""
        judged = [j for j, source in enumerate(task.sources) if source.duplicate_of is None]
        judged += mixed
        saved = fits.loss[0] - fits.loss
        best = {j: fits.best(j) for j in judged}
        tuned = {
            j: next(i for i in fits.of(j) if fits.candidates[i].kind == "fine-tune") for j in judged
        }
        settings: dict[str, Any] = {"n_compared": len(judged), "unseen": unseen_rows(fits)}
        gains = {j: gain_of(saved[i], confidence, **settings) for j, i in best.items()}
        seen = {j: gain_of(saved[i], confidence) for j, i in best.items()}
        tuning = {j: gain_of(saved[i], confidence) for j, i in tuned.items()}
        p, p_tuning = (
            dict(zip(judged, holm([each[j].p_value for j in judged]), strict=True))
            for each in (gains, tuning)
        )
        return cls(float(fits.loss[0].mean()), best, gains, seen, tuning, p, p_tuning)

    def verdict(self, j: int, confidence: float) -> Verdict:
        """Of a source."""
        gain, tuning, least = self.gains[j], self.tuning[j], 1.0 - confidence
        if gain.mean > 0.0 and self.p[j] < least:
            return "helps"
        if tuning.mean < 0.0 and self.p_tuning[j] < least and gain.p_value > LEAN:
            return "hurts"
        ends = (self.seen[j].low, self.seen[j].high)
        return "same" if max(map(abs, ends)) < SAME * self.base else "undecided"


def _row(
    task: Task, fits: Fits, confidence: float, i: int, gain: Gain, **fields: Any
) -> CandidateAdvice:
    """A candidate with its errors and their intervals."""
    share, model, wrong = not task.is_regression, fits.models[i], fits.wrong[i]
    left = held = float(wrong.mean())
    # with groups or splits it knows the others of a row; a constant is wrong where classes are even
    alone = not (task.sample.is_grouped or task.sample.splits)
    constant = share and i == 0 and math.isinf(model.ridge_)
    if model is not None and alone and not constant:
        said_left = float(model.loo_ if task.is_regression else model.loo_error_rate_)
        left = held if math.isnan(said_left) else said_left  # no row can be left out
    low, high = error_interval(wrong, left, confidence, share=share)
    held_low, held_high = error_interval(wrong, held, confidence, share=share)
    if not held_low <= left <= held_high:
        told = (left, held_low, held_high)
        found, *ends = told if share else map(math.sqrt, told)  # in units of y
        fields["flags"] += (
            f"leave-one-out predicts {found:.3g}, outside the interval of the held-out error "
            f"[{ends[0]:.3g}, {ends[1]:.3g}]",
        )
    return CandidateAdvice(
        use=fits.candidates[i].kind,
        predicted_error=left,
        predicted_low=low,
        predicted_high=high,
        held_out_error=held,
        held_out_low=held_low,
        held_out_high=held_high,
        loss=float(fits.loss[i].mean()),
        **gain_fields(gain, float(fits.loss[0].mean())),
        ridge=math.inf if model is None else float(model.ridge_),
        source_scale=1.0 if model is None else float(model.source_scale_),
        **fields,
    )


def heavy_tails(task: Task, fits: Fits) -> tuple[str, ...]:
    """What to say where few rows decide by their squared error.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Candidates and their losses; scratch is the first.

    Returns
    -------
    tuple of str
        Empty for other losses, and where half of the squares are those of many rows.
    """
    n = fits.wrong.shape[1]
    if task.scoring != "squared" or n < _LEAST_TAIL:
        return ()
    order = np.argsort(fits.wrong[0])[::-1]
    part = np.cumsum(fits.wrong[0][order])
    few = 1 + int(np.searchsorted(part, 0.5 * part[-1]))
    if few > max(1, n * _TAIL):
        return ()
    listed = ", ".join(map(str, order[:few].tolist()))
    what, where = ("group", "") if task.sample.is_grouped else ("row", f" (row {listed})")
    return (
        f"half of the squared error from scratch is that of {few} of {n} {what}s{where}: squares "
        "are judged by few labels. scoring='absolute' or logarithms of positive labels count "
        "the others",
    )


def mixture_flags(task: Task, fits: Fits) -> tuple[str, ...]:
    """What is in the mixture of sources.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Candidates, the mixture among them.

    Returns
    -------
    tuple of str
        The factors.
    """
    model = fits.models[fits.best(MIXTURE)]
    parts = [
        f"{weight:.2g} {task.name_of(j)}"
        for j, weight in zip(model.sources, model.mixture.weights, strict=True)
        if weight
    ]
    return (f"factors of the sources: {', '.join(parts) or 'none, a constant'}",)


def gain_fields(gain: Gain, base: float) -> dict[str, Any]:
    """A gain as the fields of a record, also relative to the loss from scratch.

    Parameters
    ----------
    gain : Gain
        What to tell.
    base : float
        The loss from scratch.

    Returns
    -------
    dict of str to float
        By name of the field.
    """
    found = {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
    relative = {f"relative_{key}": v / base if base > 0.0 else 0.0 for key, v in found.items()}
    return {**found, **relative, "p_helps": gain.p_helps}


def gain_of_average(fits: Fits, confidence: float) -> Gain:
    """What the average gains over scratch."""
    difference = fits.loss[0] - fits.average
    return gain_of(difference, confidence, ODDS_OF_AVERAGE, unseen=unseen_rows(fits))


def unseen_rows(fits: Fits) -> float:
    """Standard deviation of a gain from rows of a kind that is not in the sample.

    Parameters
    ----------
    fits : Fits
        Candidates and their losses.

    Returns
    -------
    float
        A part of the loss from scratch over the number of rows or groups.
    """
    return UNSEEN * float(fits.loss[0].mean()) / len(fits.loss[0])


def is_worth_a_source(rows: list[CandidateAdvice], average: Gain) -> bool:
    """Whether the average is advised, not training from scratch.

    Parameters
    ----------
    rows : list of CandidateAdvice
        Scratch first.
    average : Gain
        Of the average.

    Returns
    -------
    bool
        Unless no source makes a difference or all hurt, or the average is more likely worse.
    """
    return overall(rows) not in ("same", "hurts") and not average.p_helps < LEAST_ODDS


def overall(rows: list[CandidateAdvice]) -> Verdict:
    """The verdict of all sources together.

    Parameters
    ----------
    rows : list of CandidateAdvice
        Scratch first.

    Returns
    -------
    {"helps", "hurts", "same", "undecided"}
        "helps" if one of them does; else "undecided" if one of them is; else "same" if one makes no
        difference; else "hurts".
    """
    said = {row.verdict for row in rows[1:]}
    order: tuple[Verdict, ...] = ("helps", "undecided", "same")
    return next((word for word in order if word in said), "hurts")
