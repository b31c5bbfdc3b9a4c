"""An advice in words: headline, start, contradictions, and the whole as text."""

from __future__ import annotations

import math
from typing import Any

from retemper._text import interval, number
from retemper.advisor.candidates import Candidate
from retemper.advisor.inputs import Task
from retemper.advisor.judging import Fits
from retemper.advisor.record import AdviceRecord, CandidateAdvice, Opinion, Verdict

__all__ = [
    "as_text",
    "candidate_name",
    "disagreements",
    "headline",
    "initialisation",
    "regime",
    "task_text",
    "verdict_text",
]


def candidate_name(task: Task, candidate: Candidate) -> str:
    """What is done with which source."""
    source = task.name_of(candidate.source)
    return source if candidate.source < 0 else f"{candidate.kind}: {source}"


def verdict_text(row: CandidateAdvice) -> str:
    """The verdict of a source, or of which one it is a duplicate."""
    if row.duplicate_of:
        return f"duplicate of {row.duplicate_of}"
    return row.verdict if row.is_source else ""


def headline(rows: list[CandidateAdvice], choice: str, kind: str, verdict: Verdict) -> str:
    """The answer in a sentence.

    Parameters
    ----------
    rows : list of CandidateAdvice
        Scratch first.
    choice : str
        Name of what is used most.
    kind : {"scratch", "as is", "fine-tune", "rescaled"}
        How.
    verdict : {"helps", "hurts", "same", "undecided"}
        Of all sources together.

    Returns
    -------
    str
        With a full stop.
    """
    row = next(r for r in rows if r.name == choice)
    change = 100.0 * row.relative_gain
    size = f"{abs(change):.0f} % {'less' if change > 0 else 'more'} held-out loss than from scratch"
    how = {
        "as is": f"Use '{choice}' as it is",
        "fine-tune": f"Fine-tune from '{choice}'",
        "rescaled": f"Fine-tune from {row.source_scale:.2g} times '{choice}'",
        "scratch": "Train from scratch",
    }[kind]
    if verdict in ("hurts", "same"):
        if len(rows) > 2:
            return "None of the sources: train from scratch."
        return "Train from scratch: the source does not help."
    if verdict == "undecided":
        lean = how[0].lower() + how[1:]
        return f"Undecided: these labels do not tell; the best guess is to {lean}."
    if kind == "scratch":
        good = min((r for r in rows[1:] if r.verdict == "helps"), key=lambda r: r.loss)
        return f"'{good.name}' helps, but cannot be used on new rows: train from scratch."
    return f"{how}: {size}."


def initialisation(task: Task, fits: Fits) -> str:
    """The start that is advised, and what is averaged.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Candidates and their weights.

    Returns
    -------
    str
        With a full stop.
    """
    candidate, model = fits.candidates[fits.choice], fits.models[fits.choice]
    source = task.name_of(candidate.source)
    mixed = [
        f"{100 * w:.0f} % {candidate_name(task, c)}"
        for w, c in sorted(zip(fits.weights, fits.candidates, strict=True), reverse=True)
        if w > 0.0
    ]
    text = {
        "scratch": "zero",
        "as is": f"{source}, kept as it is",
        "fine-tune": f"the weights of {source}",
        "rescaled": f"{_scale(model):.3g} times the weights of {source}",
    }[candidate.kind]
    if model is not None:
        text += f", held with ridge {model.ridge_:.3g}"
    if len(mixed) > 1:
        text += f"; the model to predict with averages {', '.join(mixed)}"
    return text + "."


def _scale(model: Any) -> float:
    return 1.0 if model is None else float(model.source_scale_)


def regime(opinions: list[Opinion], choice: str) -> str:
    """The regime of fine-tuning of the choice, if a system names one."""
    for opinion in opinions:
        if opinion.system == "diagonal" and opinion.source == choice and opinion.advice:
            return f"for diagonal networks, {opinion.advice}."
    return ""


def disagreements(rows: list[CandidateAdvice]) -> list[str]:
    """Where systems, or a system and the held-out loss, do not agree.

    Parameters
    ----------
    rows : list of CandidateAdvice
        Scratch first.

    Returns
    -------
    list of str
        A sentence each, without full stop.
    """
    found = []
    for row in rows[1:]:
        sides: dict[str, list[str]] = {"helps": [], "hurts": []}
        if row.verdict in sides and row.duplicate_of is None:
            sides[row.verdict].append("held-out loss")
        for opinion in row.opinions:
            if opinion.verdict in sides:
                sides[opinion.verdict].append(opinion.system)
        if sides["helps"] and sides["hurts"]:
            say = "say" if len(sides["helps"]) > 1 else "says"
            found.append(
                f"{row.name}: {' and '.join(sides['helps'])} {say} that it helps, "
                f"{' and '.join(sides['hurts'])} that it hurts"
            )
    return found


def task_text(advice: AdviceRecord) -> str:
    """The task, and why it was taken for that."""
    word = {"binary": "two classes", "multiclass": "several classes"}.get(advice.task, advice.task)
    return f"{word} ({advice.settings['task_reason']})"


def as_text(advice: AdviceRecord) -> str:
    """An advice as lines of text.

    Parameters
    ----------
    advice : AdviceRecord
        What to say.

    Returns
    -------
    str
        Headline, table, start, labels, systems, what to note.
    """
    head = ["", "predicted", "held out", "gain over scratch", "p", "ridge", "best use", "verdict"]
    level = f"{100 * advice.settings['confidence']:g}%"
    rows = [head]
    for c in advice.candidates:
        rows.append(
            [
                ("* " if c.name == advice.choice else "  ") + c.name,
                interval(c.predicted_error, c.predicted_low, c.predicted_high),
                interval(c.held_out_error, c.held_out_low, c.held_out_high),
                interval(c.gain, c.gain_low, c.gain_high, sign=True) if c.is_source else "",
                f"{c.p_value:.2g}" if c.is_source else "",
                f"{c.ridge:.3g}",
                c.use if c.is_source else "",
                verdict_text(c),
            ]
        )
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, width, strict=True)).rstrip()
        for row in rows
    ]
    said = [
        f"  {o.system:<11}{o.source}: " + "; ".join(x for x in (o.verdict, o.advice) if x)
        for o in advice.opinions
        if o.verdict or o.advice
    ]
    flags = [f"  {c.name}: {flag}" for c in advice.candidates for flag in c.flags]
    parts = [
        advice.headline,
        "",
        f"{advice.n_samples} labels, {advice.n_features} features; {task_text(advice)}; "
        f"{advice.error_name}, {level} intervals; gain: {advice.loss_name}, positive helps; "
        "* is advised",
        *lines,
        "",
        f"start: {advice.initialisation}",
        *([f"regime: {advice.regime}"] if advice.regime else []),
        *_budget_lines(advice),
        *(["systems:", *said] if said else []),
        *(
            ["disagreements:", *(f"  {text}" for text in advice.disagreements)]
            if advice.disagreements
            else []
        ),
        *(["take note:", *flags] if flags else []),
    ]
    return "\n".join(parts)


def _budget_lines(advice: AdviceRecord) -> list[str]:
    lines = []
    for what, found in (("error", advice.budget_error), ("labels", advice.labels_needed)):
        if not found:
            continue
        asked = (
            f"with {advice.settings['budget']} labels"
            if what == "error"
            else f"for an error of {advice.settings['target_error']:g}"
        )
        said = ", ".join(
            f"{name} {'out of reach' if math.isinf(value) else number(value)}"
            for name, value in found.items()
        )
        lines.append(f"{what} {asked}: {said}")
    return lines
