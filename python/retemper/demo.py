"""The main job on embedded data: judge source models on digits and check the verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retemper._random import generator
from retemper._validation import check_choice, check_integer
from retemper._versions import versions
from retemper.datasets import Features, digits_task, split_rows
from retemper.report import ReportFigure, ReportSection, ReportTable, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DigitsTrial", "digits_trial", "run_demo"]

FloatArray = NDArray[np.float64]

#: Target task, and the source tasks by name: digits, and the factor put on the fitted model.
TARGET = (3, 8)
SOURCES: dict[str, tuple[int, int, float]] = {
    "same task": (3, 8, 1.0),
    "same task, weights x 4": (3, 8, 4.0),
    "same task, labels swapped": (3, 8, -1.0),
    "shares one digit (3 or 9)": (3, 9, 1.0),
    "other digits (0 or 6)": (0, 6, 1.0),
}
VERDICTS = ("source as is", "fine-tune", "fine-tune rescaled", "undecided", "scratch")


@dataclasses.dataclass(frozen=True)
class DigitsTrial:
    """Verdicts and held-out errors over repeats.

    Attributes
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
        Predicted gain of fine-tuning over training from zero, and its 95 % interval; negative
        favours the source.
    held_out_gain : ndarray of shape (n_seeds, n_sources)
        The same gain on target rows that no model has seen.
    errors : dict of str to ndarray of shape (n_seeds, n_sources)
        Held-out mean squared error of each choice and of the recommended one.
    accuracy : dict of str to ndarray of shape (n_seeds, n_sources)
        Held-out share of right signs.
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
    accuracy: dict[str, FloatArray]

    @property
    def regret(self) -> FloatArray:
        """Held-out error of the recommended choice over that of the best one, minus 1."""
        choices = [e for name, e in self.errors.items() if name != "recommended"]
        best = np.min(choices, axis=0)
        return np.asarray(self.errors["recommended"] / best - 1.0)


def digits_trial(
    *,
    features: Features = "pixels",
    n_labels: int = 40,
    n_seeds: int = 40,
    random_state: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> DigitsTrial:
    """Ask the transfer report about sources on digits, and check it on held-out rows.

    Each repeat splits all images into a source half and a target half. Sources are ridge models
    fitted on all source rows of their own task; the report sees ``n_labels`` target rows; the
    remaining target rows judge it.

    Parameters
    ----------
    features : {"pixels", "random"}, default="pixels"
        Feature map, see `retemper.datasets.digits_task`.
    n_labels : int, default=40
        Labelled target rows, at least 10 and at most 150.
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
    check_integer(n_labels, "n_labels", low=10, high=150)
    check_integer(n_seeds, "n_seeds", low=1)
    tasks = {
        pair: digits_task(*pair, features=features)
        for pair in {TARGET, *((a, b) for a, b, _ in SOURCES.values())}
    }
    names = tuple(SOURCES)
    shape = (n_seeds, len(names))
    gain, low, high, held_out = (np.empty(shape) for _ in range(4))
    verdicts = np.empty(shape, dtype="U20")
    choices = ("scratch", "source as is", "fine-tune", "fine-tune rescaled", "recommended")
    errors = {choice: np.empty(shape) for choice in choices}
    accuracy = {choice: np.empty(shape) for choice in choices}
    rng = generator(random_state)

    for seed in range(n_seeds):
        halves = {
            pair: split_rows(len(task.y), len(task.y) // 2, rng) for pair, task in tasks.items()
        }
        sources = {}
        for name, (a, b, factor) in SOURCES.items():
            task, rows = tasks[a, b], halves[a, b][0]
            fitted = FineTunedLinearRegression().fit(task.X[rows], task.y[rows])
            fitted.coef_ = factor * fitted.coef_
            fitted.intercept_ = factor * fitted.intercept_
            sources[name] = fitted
        target, rows = tasks[TARGET], halves[TARGET][1]
        few, rest = split_rows(len(rows), n_labels, rng)
        X, y = target.X[rows[few]], target.y[rows[few]]
        X_test, y_test = target.X[rows[rest]], target.y[rows[rest]]

        report = LinearTransferReport(sources).fit(X, y)
        gain[seed], verdicts[seed] = report.gain_, report.verdict_
        low[seed], high[seed] = np.transpose(report.gain_interval_)
        scratch = FineTunedLinearRegression().fit(X, y).predict(X_test)
        for k, source in enumerate(sources.values()):
            tuned, rescaled = (
                FineTunedLinearRegression(source=source, source_scale=s).fit(X, y).predict(X_test)
                for s in (1.0, "auto")
            )
            predicted = {
                "scratch": scratch,
                "source as is": source.predict(X_test),
                "fine-tune": tuned,
                "fine-tune rescaled": rescaled,
            }
            said = str(verdicts[seed, k])
            predicted["recommended"] = predicted["scratch" if said == "undecided" else said]
            for choice, value in predicted.items():
                errors[choice][seed, k] = np.mean((value - y_test) ** 2)
                accuracy[choice][seed, k] = np.mean(np.sign(value) == y_test)
            held_out[seed, k] = errors["fine-tune"][seed, k] - errors["scratch"][seed, k]
        if progress is not None:
            progress(seed + 1, n_seeds)
    return DigitsTrial(
        names, features, n_labels, verdicts, gain, low, high, held_out, errors, accuracy
    )


def _verdict_rows(trial: DigitsTrial) -> list[list[str]]:
    rows = []
    for k, name in enumerate(trial.names):
        said, count = np.unique(trial.verdicts[:, k], return_counts=True)
        order = np.argsort(-count)
        words = ", ".join(f"{said[i]} {count[i]}/{len(trial.verdicts)}" for i in order)
        rows.append(
            [
                name,
                words,
                f"{trial.gain[:, k].mean():+.3f}",
                f"{trial.held_out_gain[:, k].mean():+.3f}",
                f"{trial.errors['scratch'][:, k].mean():.3f}",
                f"{trial.errors['recommended'][:, k].mean():.3f}",
                f"{100 * trial.accuracy['scratch'][:, k].mean():.1f} %",
                f"{100 * trial.accuracy['recommended'][:, k].mean():.1f} %",
            ]
        )
    return rows


VERDICT_HEADER = (
    "source model",
    "verdicts over repeats",
    "predicted gain",
    "held-out gain",
    "error, scratch",
    "error, as advised",
    "accuracy, scratch",
    "accuracy, as advised",
)


def _trial_figure(trial: DigitsTrial) -> Figure:
    """Predicted against held-out gain of every repeat, and the errors of the choices."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
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
    for axis in (left.set_xscale, left.set_yscale):
        axis("symlog", linthresh=0.3, linscale=1.5)
    left.set(
        xlabel="gain on held-out rows (error of fine-tuning − error from scratch)",
        ylabel="gain predicted from the few labels, 95 %",
        title="Each dot: one source, one repeat. Below 0: use the source",
    )
    left.legend(fontsize=8, frameon=False, loc="upper left")
    bars = {
        "scratch": "0.7",
        "source as is": "#8a5fa8",
        "fine-tune": "#1f5f8b",
        "fine-tune rescaled": "#4c9f70",
        "recommended": "#c8501e",
    }
    width = 0.16
    at = np.arange(len(trial.names))
    for i, (choice, colour) in enumerate(bars.items()):
        value = trial.errors[choice]
        spread = value.std(axis=0, ddof=1) / np.sqrt(len(value))
        right.bar(
            at + (i - 2) * width,
            value.mean(axis=0),
            width,
            yerr=spread,
            color=colour,
            label=choice if choice != "recommended" else "as advised by the report",
            error_kw={"lw": 0.8},
        )
    right.set_xticks(at, [n.replace(", ", ",\n").replace(" (", "\n(") for n in trial.names])
    right.tick_params(axis="x", labelsize=7.5)
    right.set_yscale("log")
    right.set(ylabel="held-out mean squared error", title="What each choice really costs")
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    return figure


def run_demo(
    out: Path,
    *,
    features: str = "pixels",
    n_labels: int = 40,
    n_seeds: int = 40,
    random_state: int = 0,
) -> Path:
    """Run the demo and write its figures and report.

    Parameters
    ----------
    out : Path
        Folder for the files; made if missing.
    features : {"pixels", "random"}, default="pixels"
        Feature map of the digits.
    n_labels : int, default=40
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

    from retemper.figures import draw

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
        drawing = bars.add_task("theory against simulation", total=2)
        trial = digits_trial(
            features=features,  # type: ignore[arg-type]
            n_labels=n_labels,
            n_seeds=n_seeds,
            random_state=random_state,
            progress=lambda done, total: bars.update(judging, completed=done, total=total),
        )
        figures = {"digits-verdicts": _trial_figure(trial)}
        for name in ("linear-depth", "linear-phase"):
            figures[name] = draw(name)
            bars.advance(drawing)
    for name, figure in figures.items():
        for ending in ("png", "svg"):
            figure.savefig(out / f"{name}.{ending}", dpi=150)

    rows = _verdict_rows(trial)
    table = Table(title=f"digits {TARGET[0]} against {TARGET[1]}, {n_labels} labels")
    for i, heading in enumerate(VERDICT_HEADER):
        table.add_column(heading, justify="left" if i < 2 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    covered = np.mean(
        (trial.gain_low <= trial.held_out_gain) & (trial.held_out_gain <= trial.gain_high)
    )
    regret = trial.regret
    always = trial.errors["scratch"] / np.min(
        [e for c, e in trial.errors.items() if c != "recommended"], axis=0
    )
    summary = (
        f"With {n_labels} labels per repeat, following the verdicts cost on average "
        f"{100 * regret.mean():.0f} % more than the best choice in hindsight; always training from "
        f"scratch cost {100 * (always.mean() - 1):.0f} % more. The 95 % intervals of the gain "
        f"contained the gain on held-out rows in {100 * covered:.0f} % of {trial.gain.size} cases."
    )
    console.print(summary)
    info = versions()
    path = write_report(
        out / "report.html",
        "Should I start from this source model?",
        summary,
        [
            ReportSection(
                "Sources judged on real data",
                [
                    f"Target: the digit {TARGET[0]} against {TARGET[1]}, {trial.features} as "
                    f"features, {n_labels} labelled images in each of {n_seeds} repeats. Each "
                    "source is a linear model fitted on other images. The report sees the few "
                    "labels only; the held-out columns come from images that no model has seen.",
                    "The gain is the mean squared error of fine-tuning from the source minus that "
                    "of training from zero: negative means that the source helps. Where the "
                    "report is undecided, the advice is to train from scratch.",
                ],
                [ReportTable("Verdicts and held-out errors", VERDICT_HEADER, rows)],
                [
                    ReportFigure.of(
                        figures["digits-verdicts"],
                        "Left: predicted gain with its 95 % interval against the gain on held-out "
                        "rows; dots on the diagonal are right. Right: what each choice costs on "
                        "held-out rows, mean and standard error over repeats.",
                        "Scatter of predicted against held-out gain, and bars of held-out errors.",
                    )
                ],
            ),
            ReportSection(
                "Depth repairs a wrong scale",
                [
                    "A deep linear network forgets how large the source weights were and keeps "
                    "their direction. Lines: theory. Dots: simulated networks."
                ],
                figures=[
                    ReportFigure.of(
                        figures["linear-depth"],
                        "Excess risk after fine-tuning against depth, isotropic inputs, ten times "
                        "fewer samples than features.",
                        "Curves of risk against depth with simulation dots on them.",
                    )
                ],
            ),
            ReportSection(
                "When transfer helps",
                [
                    "Angle between source and target against samples per feature. The lines are "
                    "the exact boundary between transfer that helps and transfer that hurts."
                ],
                figures=[
                    ReportFigure.of(
                        figures["linear-phase"],
                        "Risk from scratch minus risk after fine-tuning, theory as colour, "
                        "boundaries as lines, simulations as markers.",
                        "Phase diagram of transfer with simulation markers.",
                    )
                ],
            ),
        ],
        footer=f"retemper {info['retemper']}, {info['level']}, numpy {info['numpy']}, "
        f"random_state={random_state}. Made by: retemper demo --features {features} "
        f"--labels {n_labels} --seeds {n_seeds} --random-state {random_state}",
    )
    console.print(f"figures and report: {path}")
    return path
