"""The main job on embedded data: judge source models on digits, check the verdicts, show all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retemper._plot import BLACK, CYCLE, MARKERS, style
from retemper._validation import check_choice
from retemper._versions import versions
from retemper.gallery.scripts import draw
from retemper.gallery.trial import CHOICES, DigitsTrial, digits_advice, digits_trial
from retemper.report import ReportFigure, ReportSection, ReportTable, write_report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["run_demo"]


class TourPage(NamedTuple):
    """One figure of the report, as `retemper figure` draws it, with its words."""

    name: str
    title: str
    text: str
    caption: str
    alternative: str


TOUR = (
    TourPage(
        "linear-depth",
        "Depth repairs a wrong scale",
        "A deep linear network forgets how large the source weights were and keeps their "
        "direction.",
        "Excess risk after fine-tuning against depth, isotropic inputs, ten times fewer samples "
        "than features. Lines: theory. Dots: simulated networks.",
        "Curves of risk against depth with simulation dots on them.",
    ),
    TourPage(
        "linear-phase",
        "When transfer helps",
        "Angle between source and target against samples per feature: where fine-tuning beats "
        "training from zero, and where it loses.",
        "Risk from scratch minus risk after fine-tuning: theory as colour, the exact boundaries "
        "as lines, simulations as markers.",
        "Phase diagram of transfer with simulation markers.",
    ),
    TourPage(
        "diagonal-leave-one-out",
        "Which start for a diagonal network",
        "Diagonal networks fine-tuned on 60 images of digits with more features than images, from "
        "several starts: refitting without each image in turn ranks the starts.",
        "Left: error on held-out images against the leave-one-out error by refitting, for three "
        "read-out scales. Right: by how much refitting and the first-order formula overstate it.",
        "Held-out against leave-one-out error; the refitted dots lie near the diagonal.",
    ),
    TourPage(
        "perceptron-fine-tuning",
        "What unlabelled margins are worth",
        "Rows that keep a margin around an unknown plane teach its direction without labels; a few "
        "labels remove the hard phase.",
        "Error against unlabelled rows per feature for several numbers of labels: replica theory "
        "as lines, message passing as points.",
        "Curves of error against unlabelled rows, one for each number of labels.",
    ),
    TourPage(
        "widenet-gamma-digits",
        "How strongly to hold on to the source",
        "Bayesian networks of finite width, coupled to a source trained on other digits: error "
        "against the strength of the coupling.",
        "Theory on images of digits for three widths, with sampled networks of width 50 as dots. "
        "Dashed: a random anchor instead of the source, the control for mere regularisation.",
        "Error against coupling for several widths with a control.",
    ),
    TourPage(
        "phases-detector",
        "When to stop pre-training",
        "Reconstruction of the inputs from a layer falls and then rises; the detector names the "
        "phases, the alarm, and the checkpoint to keep.",
        "A published run (Schneider and Prabhushankar 2024) read by the detector.",
        "Unexplained variance against steps with phases shaded.",
    ),
)
HEADER = (
    "source model",
    "verdicts at the best scale",
    "gain unscaled, predicted",
    "gain unscaled, held out",
    "error, scratch",
    "error, fine-tuned",
    "error, rescaled",
)


def _table_rows(trial: DigitsTrial) -> list[list[str]]:
    rows = []
    for k, name in enumerate(trial.names):
        said, count = np.unique(trial.verdicts[:, k], return_counts=True)
        words = ", ".join(f"{said[i]} {count[i]}" for i in np.argsort(-count, kind="stable"))
        gains = (trial.gain, trial.held_out_gain)
        errors = [trial.errors[c] for c in ("scratch", "fine-tune", "rescaled")]
        rows.append(
            [
                name,
                words,
                *(f"{g[:, k].mean():+.3f}" for g in gains),
                *(f"{e[:, k].mean():.3f}" for e in errors),
            ]
        )
    return rows


def _trial_figure(trial: DigitsTrial) -> Figure:
    """Predicted against held-out gain of every repeat, and the errors of the choices."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(style()):
        figure = Figure(figsize=(11.5, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _gains(left, trial)
        _costs(right, trial)
        figure.suptitle(
            f"The predicted gain holds on images never seen: {100 * trial.coverage:.0f} % of the "
            "95 % intervals contain it"
        )
    return figure


def _gains(ax: Axes, trial: DigitsTrial) -> None:
    for name, held_out, gain, low, high, colour, marker in zip(
        trial.names, trial.held_out_gain.T, trial.gain.T, trial.gain_low.T, trial.gain_high.T,
        CYCLE, MARKERS, strict=False,
    ):  # fmt: skip
        bars = [gain - low, high - gain]
        ax.errorbar(
            held_out, gain, bars, fmt=marker, ms=3.5, lw=0.7, alpha=0.75, color=colour, label=name
        )
    seen = np.concatenate([trial.held_out_gain.ravel(), trial.gain.ravel()])
    edge = np.array([seen.min(), seen.max()]) * 1.1
    ax.plot(edge, edge, color=BLACK, lw=0.8, zorder=0)
    ax.axhline(0, color="0.75", lw=0.8, zorder=0)
    ax.axvline(0, color="0.75", lw=0.8, zorder=0)
    for scale, ticks in ((ax.set_xscale, ax.set_xticks), (ax.set_yscale, ax.set_yticks)):
        scale("symlog", linthresh=0.3, linscale=1.5)
        ticks([-1, -0.3, -0.1, 0, 0.1, 0.3, 1], ["−1", "−0.3", "−0.1", "0", "0.1", "0.3", "1"])
    ax.minorticks_off()
    ax.set(
        xlabel="gain on held-out rows (error from scratch − error of fine-tuning)",
        ylabel="gain predicted from the few labels, 95 %",
        title="each dot: one source, one repeat; above 0: use the source",
    )
    ax.legend(loc="upper left")


def _costs(ax: Axes, trial: DigitsTrial) -> None:
    at, width = np.arange(len(trial.names)), 0.2
    # shades and hatches: colours are the sources', as on the left
    looks = (("0.25", ""), ("0.5", "///"), ("0.75", ""), ("0.95", "..."))
    for i, (choice, (shade, hatch)) in enumerate(zip(CHOICES, looks, strict=True)):
        value = trial.errors[choice]
        spread = value.std(axis=0, ddof=1) / np.sqrt(len(value))
        bars, mean = at + (i - 1.5) * width, value.mean(axis=0)
        ax.bar(
            bars, mean, width, yerr=spread, label=choice, color=shade, hatch=hatch,
            edgecolor=BLACK, lw=0.6, error_kw={"lw": 0.8},
        )  # fmt: skip
    ax.axhline(trial.advised.mean(), color=BLACK, ls="--", lw=1.5, label="as the report advises")
    ax.set_xticks(at, [n.replace(", ", ",\n").replace(" (", "\n(") for n in trial.names])
    for tick, colour in zip(ax.get_xticklabels(), CYCLE, strict=False):
        tick.set_fontweight("bold")
        tick.set_color(colour)
    ax.tick_params(axis="x", labelsize=7.5)
    ax.set_yscale("log")
    ax.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    ax.minorticks_off()
    ax.set(ylabel="held-out mean squared error", title="what each choice really costs")
    ax.legend()


def _tour(figures: dict[str, Figure]) -> list[ReportSection]:
    return [
        ReportSection(
            page.title,
            [page.text],
            figures=[ReportFigure.of(figures[page.name], page.caption, page.alternative)],
        )
        for page in TOUR
    ]


def run_demo(
    out: Path,
    *,
    features: str = "random",
    n_labels: int = 60,
    n_seeds: int = 40,
    random_state: int = 0,
) -> Path:
    """Run the demo and write its figures and report.

    Parameters
    ----------
    out : Path
        Folder for the files; made if missing.
    features : {"pixels", "random"}, default="random"
        Feature map of the digits.
    n_labels : int, default=60
        Labelled target rows.
    n_seeds : int, default=40
        Repeats.
    random_state : int, default=0
        Seed.

    Returns
    -------
    Path
        The HTML report.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    See Also
    --------
    digits_advice

    Examples
    --------
    >>> from pathlib import Path
    >>> from retemper.gallery import run_demo
    >>> run_demo(Path("retemper-demo"))  # doctest: +SKIP
    PosixPath('retemper-demo/report.html')
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table

    check_choice(features, "features", ("pixels", "random"))
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        judging = bars.add_task("judging sources on digits", total=n_seeds)
        drawing = bars.add_task("figures of the five systems", total=len(TOUR))
        trial = digits_trial(
            features=features,  # type: ignore[arg-type]
            n_labels=n_labels,
            n_seeds=n_seeds,
            random_state=random_state,
            progress=lambda done, total: bars.update(judging, completed=done, total=total),
        )
        advice = digits_advice(
            features=features,  # type: ignore[arg-type]
            n_labels=n_labels,
            random_state=random_state,
        )
        figures = {"advice": advice.plot().figure_, "digits-verdicts": _trial_figure(trial)}
        for page in TOUR:
            figures[page.name] = draw(page.name)[0]
            bars.advance(drawing)
    for name, figure in figures.items():
        for ending in ("png", "svg"):
            figure.savefig(out / f"{name}.{ending}", dpi=150)

    rows = _table_rows(trial)
    title = f"even or odd digits, {n_labels} labels, {n_seeds} repeats"
    table = Table(title=title)
    for i, heading in enumerate(HEADER[:4]):  # the rest is in the report
        table.add_column(heading, justify="left" if i < 2 else "right")
    for row in rows:
        table.add_row(*row[:4])
    console.print(table)
    cost = [100 * float(np.mean(e / trial.best - 1)) for e in (trial.advised, trial.scratch)]
    hits = [100 * float(a.mean()) for a in trial.accuracy.values()]
    summary = (
        f"With {n_labels} labels, following the report costs {cost[0]:.0f} % more squared error "
        f"than the best choice in hindsight; always training from scratch costs {cost[1]:.0f} % "
        f"more. Digits told right: {hits[1]:.1f} % as advised, {hits[0]:.1f} % from scratch. The "
        f"95 % intervals contain the gain on held-out rows in {100 * trial.coverage:.0f} % of "
        f"{trial.gain.size} cases."
    )
    console.print(summary)
    info = versions()
    inputs = "300 random ReLU features" if features == "random" else "the 64 pixels"
    path = write_report(
        out / "report.html",
        "Should I start from this source model?",
        summary,
        [
            ReportSection(
                "One sample, five sources",
                [
                    f"What a user sees: `retemper.advise` on {n_labels} labelled images and five "
                    "models that were trained elsewhere. The same answer as a page of its own is "
                    "in advice.html.",
                ],
                figures=[
                    ReportFigure.of(
                        figures["advice"],
                        "Errors of every choice with 95 % intervals, error against the number of "
                        "labels, and what each system says.",
                        advice.headline,
                    )
                ],
            ),
            ReportSection(
                "Many samples: is the advice right?",
                [
                    f"Target: telling even from odd digits with {inputs} of 8 x 8 images and "
                    f"{n_labels} labels, repeated {n_seeds} times with fresh images. Each source "
                    "is a linear model fitted on other images. The report sees the few labels "
                    "only; the held-out columns come from images that no model has seen.",
                    "The gain is the mean squared error of training from zero minus that of "
                    "fine-tuning from the source: positive means that the source helps. A verdict "
                    "other than 'undecided' needs evidence at the 95 % level.",
                ],
                [ReportTable(title, HEADER, rows)],
                [
                    ReportFigure.of(
                        figures["digits-verdicts"],
                        "Left: predicted gain with its 95 % interval against the gain on held-out "
                        "rows; dots on the diagonal are right. Right: what each choice costs on "
                        "held-out rows, mean and standard error over repeats; the line is the "
                        "estimator that the report recommends, all sources considered.",
                        "Scatter of predicted against held-out gain, and bars of held-out errors.",
                    )
                ],
            ),
            *_tour(figures),
        ],
        footer=f"retemper {info['retemper']}, {info['level']}, numpy {info['numpy']}. Made by: "
        f"retemper demo --features {features} --labels {n_labels} --seeds {n_seeds} "
        f"--random-state {random_state}",
    )
    advice.to_html(out / "advice.html")
    console.print(advice.headline)
    console.print(f"figures and report: {path}")
    return path
