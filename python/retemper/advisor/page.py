"""The advice as one self-contained page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from retemper._text import interval, number
from retemper._versions import versions
from retemper.advisor.display import AdviceDisplay
from retemper.advisor.wording import (
    budget_text,
    needed_text,
    percent,
    task_text,
    verdict_text,
)
from retemper.report import ReportFigure, ReportSection, ReportTable, write_report

if TYPE_CHECKING:
    from retemper.advisor.record import AdviceRecord, Opinion


def write_page(advice: AdviceRecord, path: Path) -> Path:
    """Write an advice as HTML.

    Parameters
    ----------
    advice : AdviceRecord
        What to write.
    path : Path
        The file; replaced as a whole or not at all.

    Returns
    -------
    Path
        The file.
    """
    info = versions()
    return write_report(
        path,
        "Should I start from this source?",
        advice.headline,
        [
            _answer(advice),
            _sources(advice),
            *_labels(advice),
            *_opinions(advice),
            *_notes(advice),
        ],
        footer=f"retemper {info['retemper']}, {info['level']}, numpy {info['numpy']}, "
        f"scikit-learn {info['scikit-learn']}; random_state {advice.settings['random_state']}.",
    )


def _answer(a: AdviceRecord) -> ReportSection:
    level = f"{100 * a.settings['confidence']:g} %"
    picture = ReportFigure.of(
        AdviceDisplay.from_advice(a).plot().figure_,
        f"Left: {a.error_name} of every choice with {level} intervals: leave-one-out for the fit "
        "to all labels, and nested cross-validation, in which strength and scale are chosen anew "
        "for every part. The shaded row is advised; the dotted line is training from scratch. "
        "Middle: error against the number of labels, measured on parts of the sample (points) and "
        "forecast (curve, and its band of 80 %). Right: what each system says.",
        f"{a.headline} Errors are in the table below.",
    )
    text = [
        f"{a.n_samples} labelled rows with {a.n_features} features; {task_text(a)}.",
        f"Start: {a.initialisation}",
    ]
    if a.regime:
        text.append(f"Regime: {a.regime}")
    return ReportSection("The answer", text, figures=[picture])


def _sources(a: AdviceRecord) -> ReportSection:
    rows = []
    for c in a.candidates:
        rows.append(
            [
                c.name,
                verdict_text(c) or "—",
                c.use,
                interval(c.predicted_error, c.predicted_low, c.predicted_high),
                interval(c.held_out_error, c.held_out_low, c.held_out_high),
                interval(c.gain, c.gain_low, c.gain_high, sign=True) if c.is_source else "—",
                percent(c.p_helps),
                f"{c.p_value:.2g}" if c.is_source else "—",
                "infinite" if math.isinf(c.ridge) else f"{c.ridge:.3g}",
                f"{c.source_scale:.3g}" if c.is_source else "—",
                "—" if math.isnan(c.labels_saved) else f"{c.labels_saved:.0f}",
            ]
        )
    table = ReportTable(
        f"{a.error_name}, and {a.loss_name} gained",
        ("choice", "verdict", "best use", "leave-one-out", "cross-validation", "gain", "better",
         "p", "ridge", "factor", "labels saved"),
        rows,
    )  # fmt: skip
    text = [
        f"Errors are the {a.error_name}. The gain is the {a.loss_name} from scratch minus that "
        "with the source, positive where it helps; p-values are corrected for the number of "
        "sources (Holm).",
        "'better' is the probability that the best use of the source beats scratch on new rows, "
        "calibrated on other tasks.",
        "A verdict other than 'undecided' needs evidence at the level of the intervals, all "
        "sources considered. The ridge holds the fit to its start; infinite means that the source "
        "is kept as it is.",
    ]
    return ReportSection("Every source", text, [table])


def _labels(a: AdviceRecord) -> list[ReportSection]:
    curve = a.learning_curve
    if curve is None:
        return []
    names = list(curve.error)
    rows = [
        [
            str(n),
            "measured" if seen else "forecast",
            *(
                number(curve.error[name][i])
                if seen
                else interval(
                    curve.error[name][i], curve.error_low[name][i], curve.error_high[name][i]
                )
                for name in names
            ),
        ]
        for i, (n, seen) in enumerate(zip(curve.n_samples, curve.measured, strict=True))
    ]
    text = []
    if a.budget_error:
        text.append(
            f"With {a.settings['budget']} labels the {a.error_name} is about: {budget_text(a)}."
        )
    if a.labels_needed:
        text.append(f"Labels for an error of {a.settings['target_error']:g}: {needed_text(a)}.")
    text.append(
        "What is not measured is forecast from the held-out error, with a band that contains it in "
        "8 of 10 cases on other tasks."
    )
    table = ReportTable(f"{a.error_name} by number of labels", ("labels", "how", *names), rows)
    return [ReportSection("How many labels", text, [table])]


def _opinions(a: AdviceRecord) -> list[ReportSection]:
    if not a.opinions:
        return []
    rows = [
        [
            o.system,
            o.source,
            o.verdict or "—",
            _error(o),
            o.advice,
            "; ".join(o.flags),
        ]
        for o in a.opinions
    ]
    table = ReportTable(
        "What each system says from its own theory",
        ("system", "source", "verdict", "predicted error", "advice", "validity"),
        rows,
    )
    return [ReportSection("What the systems say", a.disagreements, [table])]


def _error(o: Opinion) -> str:
    if math.isnan(o.error):
        return "—"
    return f"{interval(o.error, o.error_low, o.error_high)} ({o.unit})"


def _notes(a: AdviceRecord) -> list[ReportSection]:
    rows = [[c.name, flag] for c in a.candidates for flag in c.flags]
    if not rows:
        return []
    return [
        ReportSection(
            "Take note",
            (),
            [ReportTable("Before trusting a row", ("source", "what to know"), rows)],
        )
    ]
