"""The main job on embedded data: judge source models on digits and check the verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._random import generator
from retemper._validation import check_choice, check_integer
from retemper._versions import versions
from retemper.datasets import DigitsTask, digits_task, split_rows
from retemper.datasets.digits import Features
from retemper.report import ReportFigure, ReportSection, ReportTable, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from retemper.advisor import TransferAdvice

__all__ = ["DigitsTrial", "digits_advice", "digits_trial", "run_demo"]

FloatArray = NDArray[np.float64]

Digits = tuple[tuple[int, ...], tuple[int, ...]]

EVEN_ODD: Digits = ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
#: Source tasks by name: the two groups of digits, and a factor put on the fitted model.
SOURCES: dict[str, tuple[Digits, float]] = {
    "same task": (EVEN_ODD, 1.0),
    "same task, weights x 4": (EVEN_ODD, 4.0),
    "same task, labels swapped": (EVEN_ODD, -1.0),
    "even or odd, 0 to 5 only": (((0, 2, 4), (1, 3, 5)), 1.0),
    "prime or not": (((2, 3, 5, 7), (0, 1, 4, 6, 8, 9)), 1.0),
}


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
        "Error on held-out images against leave-one-out error, refitted and to first order, for "
        "three read-out scales.",
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
        "Theory on images of digits for four widths. Dashed: a random anchor instead of the "
        "source, the control for mere regularisation.",
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
CHOICES = ("scratch", "as is", "fine-tune", "rescaled")


@dataclasses.dataclass(frozen=True)
class DigitsTrial:
    """Verdicts and held-out errors over repeats.

    Parameters
    ----------
    names : tuple of str
        The sources.
    features : str
        Feature map.
    n_labels : int
        Labelled target rows per repeat.
    verdicts : ndarray of str, shape (n_seeds, n_sources)
        What the report said.
    gain, gain_low, gain_high : ndarray of shape (n_seeds, n_sources)
        Predicted gain of fine-tuning over training from zero, and its 95 % interval; positive
        helps.
    held_out_gain : ndarray of shape (n_seeds, n_sources)
        The same gain, at the same ridges, on target rows that no model has seen.
    errors : dict of str to ndarray of shape (n_seeds, n_sources)
        Held-out mean squared error of each choice.
    advised : ndarray of shape (n_seeds,)
        Held-out error of the estimator that the report recommends, over all sources.
    accuracy : dict of str to ndarray of shape (n_seeds,)
        Held-out share of right signs, from scratch and as advised.
    """

    names: tuple[str, ...]
    features: str
    n_labels: int
    verdicts: NDArray[np.str_]
    gain: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    held_out_gain: FloatArray
    errors: dict[str, FloatArray]
    advised: FloatArray
    accuracy: dict[str, FloatArray]

    @property
    def best(self) -> FloatArray:
        """Held-out error of the best choice in hindsight, of shape (n_seeds,)."""
        return np.asarray(np.min(list(self.errors.values()), axis=(0, 2)))

    @property
    def scratch(self) -> FloatArray:
        """Held-out error from scratch, of shape (n_seeds,)."""
        return self.errors["scratch"][:, 0]

    @property
    def coverage(self) -> float:
        """Share of intervals that contain the held-out gain."""
        inside = (self.gain_low <= self.held_out_gain) & (self.held_out_gain <= self.gain_high)
        return float(inside.mean())


def digits_trial(
    *,
    features: Features = "random",
    n_labels: int = 60,
    n_seeds: int = 40,
    random_state: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> DigitsTrial:
    """Ask the transfer report about sources on digits, and check it on held-out rows.

    The target task is to tell even from odd digits. Each repeat splits all images into a source
    half and a target half. Sources are ridge models fitted on the source half; the report sees
    ``n_labels`` images of the target half; the rest of it judges.

    Parameters
    ----------
    features : {"pixels", "random"}, default="random"
        Feature map, see `retemper.datasets.digits_task`.
    n_labels : int, default=60
        Labelled target rows, at least 10 and at most 500.
    n_seeds : int, default=40
        Repeats.
    random_state : int, default=0
        Seed.
    progress : callable or None, default=None
        Called with (done, total) after each repeat.

    Returns
    -------
    DigitsTrial
        Verdicts, predictions and held-out errors.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    from retemper.linear import FineTunedLinearRegression, LinearTransferReport

    check_choice(features, "features", ("pixels", "random"))
    check_integer(n_labels, "n_labels", low=10, high=500)
    check_integer(n_seeds, "n_seeds", low=1)
    tasks = _source_tasks(features)
    target = tasks[EVEN_ODD]
    shape = (n_seeds, len(SOURCES))
    gain, low, high, held_out = (np.empty(shape) for _ in range(4))
    verdicts = np.empty(shape, dtype="U20")
    errors = {choice: np.empty(shape) for choice in CHOICES}
    advised = np.empty(n_seeds)
    accuracy = {"scratch": np.empty(n_seeds), "as advised": np.empty(n_seeds)}
    rng = generator(random_state)

    for seed in range(n_seeds):
        before, after = split_rows(len(target.y), len(target.y) // 2, rng)
        sources = _fit_sources(tasks, before)
        few, rest = (after[rows] for rows in split_rows(len(after), n_labels, rng))
        X, y, X_test, y_test = target.X[few], target.y[few], target.X[rest], target.y[rest]

        def error(model: FineTunedLinearRegression) -> float:
            return float(np.mean((model.predict(X_test) - y_test) ** 2))  # noqa: B023

        report = LinearTransferReport(sources).fit(X, y)
        gain[seed], verdicts[seed] = report.gain_, report.verdict_
        low[seed], high[seed] = report.gain_low_, report.gain_high_
        scratch = FineTunedLinearRegression().fit(X, y)
        errors["scratch"][seed] = error(scratch)  # the same for every source
        for k, source in enumerate(sources.values()):
            errors["as is"][seed, k] = error(source)
            tuned = FineTunedLinearRegression(source=source).fit(X, y)
            errors["fine-tune"][seed, k] = error(tuned)
            tuned = FineTunedLinearRegression(source=source, source_scale="auto").fit(X, y)
            errors["rescaled"][seed, k] = error(tuned)
            ridges = report.gain_ridge_[k]
            held_out[seed, k] = error(FineTunedLinearRegression(ridge=ridges[1]).fit(X, y)) - error(
                FineTunedLinearRegression(source=source, ridge=ridges[0]).fit(X, y)
            )
        advised[seed] = error(report.estimator_)
        for name, model in (("scratch", scratch), ("as advised", report.estimator_)):
            accuracy[name][seed] = np.mean(np.sign(model.predict(X_test)) == y_test)
        if progress is not None:
            progress(seed + 1, n_seeds)
    return DigitsTrial(
        tuple(SOURCES), features, n_labels, verdicts, gain, low, high, held_out, errors, advised,
        accuracy,
    )  # fmt: skip


HEADER = (
    "source model",
    "verdicts over repeats",
    "predicted gain",
    "held-out gain",
    "error, scratch",
    "error, fine-tuned",
    "error, rescaled",
)


def digits_advice(
    *, features: Features = "random", n_labels: int = 60, random_state: int = 0
) -> TransferAdvice:
    """Ask every system about the five sources of the demo, on one sample.

    Parameters
    ----------
    features : {"pixels", "random"}, default="random"
        Feature map, see `retemper.datasets.digits_task`.
    n_labels : int, default=60
        Labelled target rows.
    random_state : int, default=0
        Seed.

    Returns
    -------
    TransferAdvice
        The answer.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    from retemper.advisor import advise

    check_choice(features, "features", ("pixels", "random"))
    check_integer(n_labels, "n_labels", low=10, high=500)
    rng = generator(random_state)
    tasks = _source_tasks(features)
    target = tasks[EVEN_ODD]
    before, after = split_rows(len(target.y), len(target.y) // 2, rng)
    sources: dict[str, Any] = _fit_sources(tasks, before)
    name = "even or odd, 0 to 5 only"  # given by its rows: more systems have something to say
    given = tasks[SOURCES[name][0]]
    seen = np.isin(given.rows, before)
    sources[name] = given.X[seen], given.y[seen]
    few, _ = split_rows(len(after), n_labels, rng)
    return advise(
        target.X[after[few]], target.y[after[few]], sources=sources, task="regression",
        budget=5 * n_labels, target_error=0.3, systems="all", random_state=random_state,
    )  # fmt: skip


def _source_tasks(features: Features) -> dict[Digits, DigitsTask]:
    """Every task of the demo by its digits; the target is among them."""
    return {digits: digits_task(*digits, features=features) for digits, _ in SOURCES.values()}


def _fit_sources(tasks: dict[Digits, DigitsTask], rows: NDArray[np.intp]) -> dict[str, Any]:
    """The sources of the demo, fitted on some of the images."""
    from retemper.linear import FineTunedLinearRegression

    sources = {}
    for name, (digits, factor) in SOURCES.items():
        task = tasks[digits]
        seen = np.isin(task.rows, rows)
        fitted = FineTunedLinearRegression().fit(task.X[seen], task.y[seen])
        fitted.coef_ = factor * fitted.coef_
        fitted.intercept_ = factor * fitted.intercept_
        sources[name] = fitted
    return sources


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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = ("#1f5f8b", "#4c9f70", "#c8501e", "#8a5fa8", "#7a7a7a")
    for k, name in enumerate(trial.names):
        centre = trial.gain[:, k]
        left.errorbar(
            trial.held_out_gain[:, k],
            centre,
            yerr=[centre - trial.gain_low[:, k], trial.gain_high[:, k] - centre],
            fmt="o",
            ms=3.5,
            lw=0.7,
            alpha=0.75,
            color=colours[k],
            label=name,
        )
    seen = np.concatenate([trial.held_out_gain.ravel(), trial.gain.ravel()])
    edge = np.array([seen.min(), seen.max()]) * 1.1
    left.plot(edge, edge, color="black", lw=0.8, zorder=0)
    left.axhline(0, color="0.75", lw=0.8, zorder=0)
    left.axvline(0, color="0.75", lw=0.8, zorder=0)
    for scale, ticks in ((left.set_xscale, left.set_xticks), (left.set_yscale, left.set_yticks)):
        scale("symlog", linthresh=0.3, linscale=1.5)
        ticks([-1, -0.3, -0.1, 0, 0.1, 0.3, 1], ["−1", "−0.3", "−0.1", "0", "0.1", "0.3", "1"])
    left.minorticks_off()
    left.set(
        xlabel="gain on held-out rows (error from scratch − error of fine-tuning)",
        ylabel="gain predicted from the few labels, 95 %",
        title="Each dot: one source, one repeat. Above 0: use the source",
    )
    left.legend(fontsize=8, frameon=False, loc="upper left")
    shades = dict(zip(CHOICES, ("0.7", "#8a5fa8", "#1f5f8b", "#4c9f70"), strict=True))
    width = 0.2
    at = np.arange(len(trial.names))
    for i, (choice, colour) in enumerate(shades.items()):
        value = trial.errors[choice]
        spread = value.std(axis=0, ddof=1) / np.sqrt(len(value))
        right.bar(
            at + (i - 1.5) * width,
            value.mean(axis=0),
            width,
            yerr=spread,
            color=colour,
            label=choice,
            error_kw={"lw": 0.8},
        )
    right.axhline(trial.advised.mean(), color="#c8501e", lw=1.5, label="as the report advises")
    right.set_xticks(at, [n.replace(", ", ",\n").replace(" (", "\n(") for n in trial.names])
    right.tick_params(axis="x", labelsize=7.5)
    right.set_yscale("log")
    right.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    right.minorticks_off()
    right.set(ylabel="held-out mean squared error", title="What each choice really costs")
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    return figure


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
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table

    from retemper.gallery.scripts import draw

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
