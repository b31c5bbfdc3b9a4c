"""An advice in words: headline, start, contradictions, and the whole as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from retemper._text import interval, number
from retemper.advisor.candidates import Candidate
from retemper.advisor.forecast import FARTHEST
from retemper.advisor.judging import Fits
from retemper.advisor.record import AdviceRecord, CandidateAdvice, Opinion
from retemper.advisor.task import Task
from retemper.advisor.verdicts import SAME

__all__ = [
    "as_text",
    "budget_text",
    "candidate_name",
    "disagreements",
    "error_label",
    "error_text",
    "headline",
    "initialisation",
    "labels_text",
    "mixture",
    "needed_text",
    "notes",
    "odds_text",
    "percent",
    "percents",
    "question",
    "readable",
    "regime",
    "task_text",
    "verdict_text",
]


#: Parts of an average that the headline names.
_SHOWN = 3
#: Parts of it that are listed, and letters of a name among them.
_LISTED, _NAME = 5, 40
#: What diagonal networks call doing without the source.
_WITHOUT = ("from scratch", "blind to the source", "zero in place of the source")
#: Probability below which a thing is unlikely.
_EVEN = 0.5
#: Gains that differ by more than this are explained.
_APART = 0.02
#: Odds closer to even than this are called even.
_NEAR = 0.05


def candidate_name(task: Task, candidate: Candidate) -> str:
    """What is done with which source."""
    source = task.name_of(candidate.source)
    return source if candidate.kind == "scratch" else f"{candidate.kind}: {source}"


def verdict_text(row: CandidateAdvice) -> str:
    """The verdict of a source, or of which one it is a duplicate.

    A source hurts if fine-tuning from it does. Where its best use is another one, whose odds stand
    beside the verdict, the verdict names what it is about.
    """
    if row.duplicate_of:
        return f"duplicate of {row.duplicate_of}"
    if row.verdict == "hurts" and row.use != "fine-tune":
        return "fine-tuning hurts"
    return row.verdict if row.is_source else ""


def headline(
    task: Task,
    fits: Fits,
    rows: list[CandidateAdvice],
    gain: dict[str, float],
    average: float,
) -> str:
    """What to do, in a sentence: always an action, with its odds and its gain.

    Parameters
    ----------
    task : Task
        The target.
    fits : Fits
        Candidates and their weights.
    rows : list of CandidateAdvice
        Scratch first.
    gain : dict of str to float
        Fields of the gain of what is advised.
    average : float
        Probability that the average beats scratch, whether or not it is advised.

    Returns
    -------
    str
        With a full stop.
    """
    candidate, model = fits.candidates[fits.choice], fits.models[fits.choice]
    name = task.name_of(candidate.source)
    parts = mixture(task, fits)
    if len(parts) > 1:
        how = f"Use the average ({some(parts, _SHOWN)})"
    else:
        how = {
            "as is": f"Use '{name}' as it is",
            "fine-tune": f"Fine-tune from '{name}'",
            "rescaled": f"Fine-tune from {_scale(model):.2g} times '{name}'",
            "pooled": f"Fit the rows of '{name}' and yours together",
            "scratch": "Train from scratch",
        }[candidate.kind]
    if len(parts) == 1 and candidate.kind == "scratch":
        good = [row for row in rows[1:] if row.verdict == "helps"]
        if good:
            best = min(good, key=lambda row: row.loss)
            return f"{how}: '{best.name}' helps, but cannot be used on new rows."
        which = "a" if len(rows) > 2 else "the"
        undecided = any(row.verdict == "undecided" for row in rows[1:]) and average < _EVEN
        if undecided or max(row.relative_gain for row in rows[1:]) >= SAME:
            odds = "" if math.isnan(average) else f" ({percent(average)})"
            return f"{how}: no use of {which} source is likely better{odds}."
        return f"{how}: no use of {which} source gains {100 * SAME:g} % or more."
    ends = (gain[f"relative_gain{end}"] for end in ("", "_low", "_high"))
    return f"{how}: {odds_text(gain['p_helps'], *ends)}."


def question(task: Task) -> str:
    """What the headline asks where sources know the labels too well; empty if none does."""
    suspects = [f"'{source.name}'" for source in task.sources if source.is_suspect]
    return f" Did {' and '.join(suspects)} see these labels?" if suspects else ""


def odds_text(p_helps: float, gain: float, low: float, high: float) -> str:
    """Odds and size of a gain over scratch, in words that agree with each other.

    The odds are about new rows, with what is known of other tasks; the gain is that of the rows
    held out. Few rows may lean the other way than the odds do: then the words say so.

    Parameters
    ----------
    p_helps : float
        Probability of a gain; NaN where nothing differs.
    gain, low, high : float
        Gain and its interval, as parts of the loss from scratch.

    Returns
    -------
    str
        Without full stop.
    """
    if math.isnan(p_helps):
        return "no different from scratch on the rows held out"
    # no loss is negative: more than all of it cannot be gained
    size, left, right = (round(100 * min(value, 1.0)) for value in (gain, low, high))
    ends = f"[{left}, {right}]"
    odds = f"{100 * p_helps:.0f} % likely better than scratch"
    if abs(p_helps - _EVEN) < _NEAR:
        odds = f"about as likely better as worse than scratch ({percent(p_helps)})"
        return f"{odds}, with a gain of {size} % {ends} on the rows held out"
    if p_helps > _EVEN and gain > 0.0:
        return f"{odds}, by {size if size else 'less than 1'} % {ends}"
    side = "though" if p_helps > _EVEN or size > 0 else "and"
    return f"{odds}, {side} with a gain of {size} % {ends} on the rows held out"


def percents(*values: float) -> str:
    """A share and its interval in per cent; no more than all can be gained."""
    size, low, high = (round(100 * min(v, 1.0)) for v in values)
    return f"{_signed(size)} % [{_signed(low)}, {_signed(high)}]"


def _signed(value: int) -> str:
    return f"{value:+d}" if value else "0"


def readable(advice: AdviceRecord, error: Any) -> Any:
    """Errors as people read them: the root of a squared error, which has the units of y."""
    return np.sqrt(error) if advice.task == "regression" else error


def error_label(advice: AdviceRecord) -> str:
    """What `readable` gives."""
    return "root mean squared error" if advice.task == "regression" else advice.error_name


def error_text(advice: AdviceRecord, *values: float) -> str:
    """An error, or one with its interval, as `readable` gives it."""
    shown = [float(readable(advice, value)) for value in values]
    return number(*shown) if len(shown) == 1 else interval(*shown)


def shorten(name: str, most: int = 24) -> str:
    """A name of so many letters at most."""
    return name if len(name) <= most else name[: most - 1].rstrip(" ,;:") + "…"


def some(parts: list[str], most: int) -> str:
    """The first parts of a list, in one text."""
    return ", ".join(parts if len(parts) <= most else [*parts[:most], "…"])


def mixture(task: Task, fits: Fits) -> list[str]:
    """What is averaged, the largest part first; long names are cut."""
    return [
        f"{100 * w:.0f} % {shorten(candidate_name(task, c), _NAME)}"
        for w, c in sorted(zip(fits.weights, fits.candidates, strict=True), reverse=True)
        if w > 0.0
    ]


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
    mixed = mixture(task, fits)
    text = {
        "scratch": "zero",
        "as is": f"{source}, kept as it is",
        "fine-tune": source,
        "rescaled": f"{_scale(model):.3g} times {source}",
        "pooled": f"{source}, in the metric of its rows",
    }[candidate.kind]
    if candidate.kind == "scratch" and math.isinf(model.ridge_):
        text += ", where only a constant is fitted"
    elif candidate.kind != "as is" and math.isinf(model.ridge_):
        text += ", to which only an offset is fitted"
    elif candidate.kind != "as is":
        text += f", held with ridge {model.ridge_:.3g}"
    if len(mixed) > 1:
        text += f"; the model to predict with averages {some(mixed, _LISTED)}"
    return text + "."


def _scale(model: Any) -> float:
    return 1.0 if model is None else float(model.source_scale_)


def regime(opinions: list[Opinion], choice: str, use: str) -> str:
    """The regime of fine-tuning of the choice, if a system names one.

    Parameters
    ----------
    opinions : list of Opinion
        What systems say.
    choice : str
        Name of what the advised model starts from.
    use : str
        What is done with it.

    Returns
    -------
    str
        Empty where nothing is fine-tuned, or where the regime is to do without the source: that is
        another answer than the advised one, and stands with the opinions.
    """
    for opinion in opinions:
        if opinion.system == "diagonal" and opinion.source == choice and opinion.advice:
            without = any(word in opinion.advice for word in _WITHOUT)
            return "" if use == "as is" or without else f"for diagonal networks, {opinion.advice}."
    return ""


def sources_in_use(choices: Iterable[str], sources: Iterable[str]) -> set[str]:
    """The sources that the advised model uses.

    Parameters
    ----------
    choices : iterable of str
        What the candidates with weight start from: sources, "scratch", or the mixture.
    sources : iterable of str
        Names of all sources.

    Returns
    -------
    set of str
        Names; a mixture, which has the name of no source, is of all.
    """
    named, known = set(choices) - {"scratch"}, set(sources)
    return named if named <= known else known


def changes_action(opinion: Opinion, used: set[str]) -> bool:
    """Whether to follow an opinion is to do something else than what is advised.

    Parameters
    ----------
    opinion : Opinion
        What a system says.
    used : set of str
        Sources that the advised model uses.

    Returns
    -------
    bool
        False where it leaves open what to do.
    """
    if opinion.action in {"use", "leave"}:
        return (opinion.action == "use") != (opinion.source in used)
    return bool(opinion.action)


def percent(share: float) -> str:
    """A probability in percent; a dash if there is none."""
    return "—" if math.isnan(share) else f"{100 * share:.0f} %"


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
    head = ["", "predicted", "held out", "gain over scratch", "better", "p", "ridge", "best use",
            "verdict"]  # fmt: skip
    level = f"{100 * advice.settings['confidence']:g} %"
    unit = " in units of y" if advice.task == "regression" else ""
    rows = [head]
    for c in advice.candidates:
        rows.append(
            [
                ("* " if c.name == advice.choice else "  ") + c.name,
                error_text(advice, c.predicted_error, c.predicted_low, c.predicted_high),
                error_text(advice, c.held_out_error, c.held_out_low, c.held_out_high),
                percents(c.relative_gain, c.relative_gain_low, c.relative_gain_high)
                if c.is_source
                else "",
                percent(c.p_helps) if c.is_source else "",
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
    said = [f"  {text}" for text in opinion_lines(advice)]
    flags = [f"  {name}: {flag}" for name, flag in notes(advice)]
    parts = [
        advice.headline,
        "",
        f"{advice.n_samples} labels, {advice.n_features} features; {task_text(advice)}; "
        f"{error_label(advice)}{unit}, {level} intervals; gain: {advice.loss_name} saved; "
        "* is advised",
        *lines,
        "",
        f"start: {advice.initialisation}",
        *([f"regime: {advice.regime}"] if advice.regime else []),
        *_budget_lines(advice),
        *_decide_lines(advice),
        *(["systems:", *said] if said else []),
        *(
            ["disagreements:", *(f"  {text}" for text in advice.disagreements)]
            if advice.disagreements
            else []
        ),
        *(["take note:", *flags] if flags else []),
    ]
    return "\n".join(parts)


def opinion_lines(advice: AdviceRecord) -> list[str]:
    """What systems say: a line for each opinion that changes the action.

    Parameters
    ----------
    advice : AdviceRecord
        The advice.

    Returns
    -------
    list of str
        Each with the record of its system on the suite; then which systems change nothing, and
        which did not answer. Empty if none was asked.
    """
    used = sources_in_use(
        (key.split(": ", 1)[-1] for key in advice.settings["weights"]),
        {o.source for o in advice.opinions},
    )
    loud = [o for o in advice.opinions if changes_action(o, used)]
    lines = [
        f"{o.system}, {o.source}: {'; '.join(x for x in (o.verdict, o.advice) if x)} ({o.record})"
        for o in loud
    ]
    asked = [s for s in advice.settings["systems"] if s not in {o.system for o in loud}]
    answered = {o.system for o in advice.opinions if o.verdict or o.advice}
    for names, text in (
        ([s for s in asked if s in answered], "nothing that changes the action"),
        ([s for s in asked if s not in answered], "no answer"),
    ):
        if names:
            lines.append(f"{', '.join(names)}: {text}")
    return lines


def notes(advice: AdviceRecord) -> list[tuple[str, str]]:
    """What a reader should know, and of what: flags of scratch are about the rows themselves.

    Parameters
    ----------
    advice : AdviceRecord
        The advice.

    Returns
    -------
    list of tuple of str
        Name of a source, or "your rows", and what to know.
    """
    said = [
        (c.name if c.is_source or flag.startswith("leave-one-out") else "your rows", flag)
        for c in advice.candidates
        for flag in c.flags
    ]
    if advice.use not in ("average", "scratch"):
        row = next(c for c in advice.candidates if c.name == advice.choice)
        if abs(row.relative_gain - advice.relative_gain) > _APART:
            said.append(
                (
                    row.name,
                    "the gain of the first line counts that its use was chosen on these rows, the "
                    "gain in the table does not",
                )
            )
    return said


def _decide_lines(advice: AdviceRecord) -> list[str]:
    """How many labels would decide what is undecided."""
    open_ = [c for c in advice.candidates if not (math.isnan(c.labels_to_decide) or c.duplicate_of)]
    if not open_:
        return []
    far = FARTHEST * advice.n_samples
    said = ", ".join(
        f"{c.name} {labels_text(c.labels_to_decide)}"
        if c.labels_to_decide <= far
        else f"{c.name} more than {number(far)}"
        for c in open_
    )
    return [f"labels that would decide: {said}"]


def labels_text(n: float) -> str:
    """A number of labels; "out of reach" beyond a million."""
    return number(math.ceil(n)) if n < 1e6 else "out of reach"


def budget_text(advice: AdviceRecord) -> str:
    """Errors with the labels of the budget, with their bands; empty if none was asked."""
    return ", ".join(
        f"{name} "
        + error_text(advice, error, advice.budget_error_low[name], advice.budget_error_high[name])
        for name, error in advice.budget_error.items()
    )


def needed_text(advice: AdviceRecord) -> str:
    """Labels for the target error, as ranges; empty if none was asked."""
    return ", ".join(f"{name} {_range(advice, name)}" for name in advice.labels_needed)


def _range(advice: AdviceRecord, name: str) -> str:
    likely, low, high = (
        found[name]
        for found in (
            advice.labels_needed, advice.labels_needed_low, advice.labels_needed_high
        )
    )  # fmt: skip
    if not math.isnan(likely):
        return f"{number(math.ceil(likely))} [{number(math.ceil(low))}, {number(math.ceil(high))}]"
    known = advice.n_samples < low < math.inf  # fewer are at hand, and do not do
    least = f" (at least {number(math.ceil(low))})" if known else ""
    return f"cannot be told from these labels{least}"


def _budget_lines(advice: AdviceRecord) -> list[str]:
    lines = []
    if advice.budget_error:
        lines.append(
            f"{error_label(advice)} with {advice.settings['budget']} labels: {budget_text(advice)}"
        )
    if advice.labels_needed:
        target = error_text(advice, advice.settings["target_error"])
        lines.append(f"labels for a {error_label(advice)} of {target}: {needed_text(advice)}")
    return lines
