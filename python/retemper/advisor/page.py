"""The advice as one self-contained page."""

from __future__ import annotations

import html
import math
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

from retemper._text import interval
from retemper._versions import versions
from retemper.advisor.display import curve_figure, gain_figure
from retemper.advisor.wording import (
    budget_text,
    error_label,
    error_text,
    needed_text,
    notes,
    opinion_lines,
    percent,
    percents,
    task_text,
    verdict_text,
)
from retemper.report import ReportFigure, ReportSection, ReportTable, write_report

if TYPE_CHECKING:
    from retemper.advisor.record import AdviceRecord, Opinion

#: What is done with a source, in words.
_MEANINGS = {
    "as is": "the source predicts, nothing is fitted",
    "fine-tune": "a fit that is held to the source",
    "rescaled": "the same, held to the source times a fitted factor",
    "pooled": "a fit to the rows of the source and yours, with a fitted weight",
}


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
    return write_report(
        path,
        "Should I start from this source?",
        advice.headline,
        [
            _action(advice),
            _evidence(advice),
            *_labels(advice),
            *_opinions(advice),
            _provenance(advice),
        ],
    )


def fragment(advice: AdviceRecord) -> str:
    """An advice in a cell of a notebook: action, sources, what to know, the line that uses it.

    Parameters
    ----------
    advice : AdviceRecord
        What to show.

    Returns
    -------
    str
        HTML without style sheet or script.
    """
    table = _errors(advice)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    flags = "".join(
        f"<li>{html.escape(name)}: {html.escape(flag)}</li>" for name, flag in notes(advice)
    )
    return (
        f"<div><p><b>{html.escape(advice.headline)}</b></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{html.escape(_what(advice))}</p>"
        + (f"<ul>{flags}</ul>" if flags else "")
        + "<p><code>advice.estimator_.predict(X_new)</code>, <code>advice.plot()</code>, "
        "<code>print(advice)</code></p></div>"
    )


def _what(a: AdviceRecord) -> str:
    level = f"{100 * a.settings['confidence']:g} %"
    unit = ", in units of y" if a.task == "regression" else ""
    return (
        f"{a.n_samples} labelled rows, {a.n_features} features; {task_text(a)}. Errors are the "
        f"{error_label(a)} on held-out rows{unit}, with {level} intervals. The gain is the share "
        f"of the {a.loss_name} from scratch that is saved: positive helps."
    )


def _action(a: AdviceRecord) -> ReportSection:
    picture = ReportFigure.of(
        gain_figure(a),
        "Gain over training from scratch on held-out rows, with "
        f"{100 * a.settings['confidence']:g} % intervals: right of the dotted line is better. "
        "Arrows go on beyond the frame.",
        f"{a.headline} The numbers are in the table below.",
    )
    saved = a.settings.get("provenance", {}).get("model")
    text = [] if saved is None else [f"The advised model is in the file {saved}."]
    return ReportSection("What to do", text, figures=[picture], code=_code(a))


def _code(a: AdviceRecord) -> str:
    """The lines that use what is advised."""
    given = a.settings.get("provenance", {})
    saved = given.get("model")
    if saved is None and "command" not in given:
        return (
            "model = advice.estimator_  # fitted to all labels\n"
            "y_new = model.predict(X_new)\n"
            'retemper.datasets.write_model("model.joblib", model)'
        )
    first = "" if saved else f"# {given['command']} --save-model model.npz\n"
    more = ", allow_pickle=True" if str(saved).endswith(".joblib") else ""
    return (
        f"{first}from retemper.datasets import read_model\n"
        f"model = read_model({(saved or 'model.npz')!r}{more})\n"
        "y_new = model.predict(X_new)"
    )


def _errors(a: AdviceRecord) -> ReportTable:
    """What people compare: error, gain and odds of every choice at its best use."""
    rows = [
        [
            c.name,
            verdict_text(c) if c.duplicate_of else c.use,
            error_text(a, c.held_out_error, c.held_out_low, c.held_out_high),
            percents(c.relative_gain, c.relative_gain_low, c.relative_gain_high)
            if c.is_source
            else "—",
            percent(c.p_helps),
        ]
        for c in a.candidates
    ]
    return ReportTable(
        _sentence(f"{error_label(a)} on held-out rows, and {a.loss_name} gained over scratch"),
        ("choice", "best use", "error", "gain", "likely better"),
        rows,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _evidence(a: AdviceRecord) -> ReportSection:
    details = ReportTable(
        "Details",
        ("choice", "verdict", "p", "leave-one-out error", "ridge", "factor", "labels saved"),
        [
            [
                c.name,
                verdict_text(c) or "—",
                f"{c.p_value:.2g}" if c.is_source else "—",
                error_text(a, c.predicted_error, c.predicted_low, c.predicted_high),
                "infinite" if math.isinf(c.ridge) else f"{c.ridge:.3g}",
                f"{c.source_scale:.3g}" if c.is_source else "—",
                "—" if math.isnan(c.labels_saved) else f"{c.labels_saved:.0f}",
            ]
            for c in a.candidates
        ],
    )
    text = [
        _what(a),
        f"Start: {a.initialisation}",
        *([f"Regime: {a.regime}"] if a.regime else []),
        "'Likely better' is the probability that the best use of the source beats scratch on new "
        "rows, calibrated on other tasks. A verdict other than 'undecided' is significant at the "
        "level of the intervals; p-values are corrected for the number of sources (Holm).",
        "The ridge holds the fit to its start; infinite means that the source is kept as it is.",
        *_uses(a),
    ]
    flags = [list(note) for note in notes(a)]
    said = [ReportTable("What to know", ("of", "note"), flags)]
    return ReportSection("Evidence", text, [*(said if flags else []), _errors(a), details])


def _uses(a: AdviceRecord) -> list[str]:
    """What the uses that are named mean."""
    named = {c.use for c in a.candidates} | {
        key.split(": ", 1)[0] for key in a.settings.get("weights", {})
    }
    known = [f"{use}: {meaning}" for use, meaning in _MEANINGS.items() if use in named]
    if any(c.name.startswith("mixture") for c in a.candidates):
        known.append("mixture: a sum of what the sources say, with a factor for each")
    return [f"{'; '.join(known)}."] if known else []


def _provenance(a: AdviceRecord) -> ReportSection:
    given, info = a.settings.get("provenance", {}), versions()
    rows = [
        ["target", given.get("target", f"{a.n_samples} rows of {a.n_features} features")],
        ["sources", ", ".join(given.get("sources", [c.name for c in a.candidates[1:]]))],
        *([["label", given["label"]]] if "label" in given else []),
        *([["model file", given["model"]]] if "model" in given else []),
        *([["command", given["command"]]] if "command" in given else []),
        ["decided by", f"{a.settings['scoring']}, {a.settings['splits']} splits of "
         f"{a.settings['groups']} groups of rows"],
        ["random_state", str(a.settings["random_state"])],
        ["versions", f"retemper {info['retemper']} ({info['level']}), numpy {info['numpy']}, "
         f"scikit-learn {info['scikit-learn']}, Python {platform.python_version()}"],
        ["date", time.strftime("%Y-%m-%d")],
    ]  # fmt: skip
    return ReportSection("Where this comes from", (), [ReportTable("", ("what", "value"), rows)])


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
                error_text(
                    a,
                    *(
                        end[name][i]
                        for end in (curve.error, curve.error_low, curve.error_high)[
                            : 1 if seen else 3
                        ]
                    ),
                )
                for name in names
            ),
        ]
        for i, (n, seen) in enumerate(zip(curve.n_samples, curve.measured, strict=True))
    ]
    text = []
    if a.budget_error:
        text.append(
            f"With {a.settings['budget']} labels the {error_label(a)} is about: {budget_text(a)}."
        )
    if a.labels_needed:
        wanted = error_text(a, a.settings["target_error"])
        text.append(f"Labels for a {error_label(a)} of {wanted}: {needed_text(a)}.")
    text.append(
        "What is not measured is forecast from the held-out error, with a band that contains it in "
        "8 of 10 cases on other tasks."
    )
    table = ReportTable(
        _sentence(f"{error_label(a)} by number of labels"), ("labels", "how", *names), rows
    )
    picture = ReportFigure.of(
        curve_figure(a),
        _sentence(
            f"{error_label(a)} against the number of labels: measured on parts of the sample "
            "(points), and forecast (curve, and its band of 80 %)."
        ),
        "The numbers are in the table below.",
    )
    return [ReportSection("How many labels", text, [table], [picture])]


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
    text = [*map(_sentence, opinion_lines(a)), *map(_sentence, a.disagreements)]
    return [ReportSection("What the systems say", text, [table])]


def _error(o: Opinion) -> str:
    if math.isnan(o.error):
        return "—"
    return f"{interval(o.error, o.error_low, o.error_high)} ({o.unit})"
