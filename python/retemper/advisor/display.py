"""Picture of an advice: errors of every choice, learning curves, what the systems say."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from retemper._extras import load
from retemper._plot import BLACK, BLUE, GREY, VERDICT_COLOUR, VERMILION, YELLOW, new_axes
from retemper._validation import FloatArray
from retemper.advisor.wording import error_label, readable, shorten, verdict_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from retemper.advisor.record import AdviceRecord

__all__ = ["AdviceDisplay"]


#: Characters of the headline on one line.
_LINE = 115
#: Sources in the figure of the page, and per cent at which its axis ends at the latest.
_MOST = 12
_EDGE = 100.0


class AdviceDisplay:
    """Errors with intervals, learning curves and opinions of one advice.

    Parameters
    ----------
    advice : TransferAdvice
        What to draw.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : list of matplotlib Axes
        Its panels.
    ax_ : matplotlib Axes
        The first, with the errors.

    See Also
    --------
    TransferAdvice

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 5)), np.arange(5.0)
    >>> advice = retemper.advise(X, X @ w + rng.normal(size=30), sources={"near": w + 0.1})
    >>> len(advice.plot().figure_.axes) > 1
    True
    """

    figure_: Figure
    ax_: Axes
    axes_: list[Axes]

    def __init__(self, advice: AdviceRecord) -> None:
        self.advice = advice

    @classmethod
    def from_advice(cls, advice: AdviceRecord) -> Self:
        """The picture of an advice; ``plot`` draws it.

        Parameters
        ----------
        advice : TransferAdvice
            What `advise` returned.

        Returns
        -------
        AdviceDisplay
            Not yet drawn.
        """
        return cls(advice)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw errors, learning curve and opinions side by side.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw the errors alone; a new figure with all panels if None.

        Returns
        -------
        AdviceDisplay
            Self, with ``ax_``, ``axes_`` and ``figure_``.
        """
        a = self.advice
        if ax is not None:
            self._errors(new_axes(ax))
            self.ax_, self.axes_, self.figure_ = ax, [ax], cast("Figure", ax.figure)
            return self
        plt = load("matplotlib.pyplot", "plot")
        systems = sorted({o.system for o in a.opinions if o.verdict or o.advice})
        rows = len(a.candidates)
        curve = a.learning_curve is not None
        figure = plt.figure(figsize=(12.0, max(4.4, 1.9 + 0.5 * rows)), layout="constrained")
        widths = [1.55] + ([1.0] if curve else []) + ([0.3 * len(systems)] if systems else [])
        axes = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
        self._errors(axes[0])
        if curve:
            self._curve(axes[1])
        if systems:
            self._opinions(axes[-1], systems)
        for panel in axes:
            panel.title.set_fontsize(10)
        title = textwrap.fill(a.headline, _LINE)
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        self.ax_, self.axes_, self.figure_ = axes[0], axes, figure
        return self

    def _errors(self, ax: Axes) -> None:
        from matplotlib.lines import Line2D

        a = self.advice
        shown: list[float] = []
        for j, c in enumerate(a.candidates):
            colour = VERDICT_COLOUR[c.verdict] if j else BLACK
            if c.name == a.choice:
                ax.axhspan(j - 0.5, j + 0.5, color=YELLOW, alpha=0.35, lw=0, zorder=0)
            for offset, marker, *values in (
                (-0.13, "o", c.predicted_error, c.predicted_low, c.predicted_high),
                (0.13, "D", c.held_out_error, c.held_out_low, c.held_out_high),
            ):
                if not np.isfinite(values[0]):
                    continue
                error, low, high = (readable(a, v) for v in values)
                ax.hlines(j + offset, low, high, color=colour, lw=1.6, zorder=2)
                ax.plot(
                    error,
                    j + offset,
                    marker,
                    color=colour,
                    mfc=colour if marker == "o" else "white",
                    ms=6,
                    zorder=3,
                )
                shown += [low, high]
        scratch = readable(a, a.candidates[0].held_out_error)
        ax.axvline(scratch, color=BLACK, lw=0.8, ls=":", zorder=1)
        finite = np.array([x for x in shown if np.isfinite(x)])
        wide = finite.min() > 0 and finite.max() > 12 * finite.min()
        if wide:
            ax.set_xscale("log")
        names = []
        for j, c in enumerate(a.candidates):
            text = "" if not j else f"\n{verdict_text(c)}"
            names.append(shorten(c.name) + text)
        ax.set_yticks(range(len(names)), names, fontsize=9)
        for tick, c in zip(ax.get_yticklabels(), a.candidates, strict=True):
            tick.set_color(VERDICT_COLOUR[c.verdict] if c.is_source else BLACK)
            if c.name == a.choice:
                tick.set_fontweight("bold")
        ax.set_ylim(len(names) - 0.5, -0.5)
        level = f"{100 * a.settings['confidence']:g} % intervals"
        ax.set_xlabel(f"{error_label(a)}, {level}")
        point: dict[str, Any] = {"color": GREY, "ls": "-", "ms": 6}
        ax.legend(
            handles=[
                Line2D([], [], marker="o", label="leave-one-out", **point),
                Line2D([], [], marker="D", mfc="white", label="cross-validation", **point),
                Line2D([], [], color=BLACK, lw=0.8, ls=":", label="scratch"),
            ],
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8, frameon=False,
        )  # fmt: skip
        ax.set_title("Predicted error of each choice (shaded: advised)")
        ax.spines[["top", "right"]].set_visible(False)

    def _curve(self, ax: Axes) -> None:
        a = self.advice
        curve = a.learning_curve
        assert curve is not None
        for name, error in curve.error.items():
            colour = BLACK if name == "scratch" else BLUE
            marker = "o" if name == "scratch" else "D"
            style = "--" if name == "scratch" else "-"
            fit = curve.fit[name]
            beyond = np.geomspace(a.n_samples, curve.n_samples[-1], 200)
            ax.plot(beyond, readable(a, fit.at(beyond)), color=colour, lw=1.4, ls=style)
            low, high = (readable(a, end) for end in fit.band(beyond))
            ax.fill_between(beyond, low, high, color=colour, alpha=0.12, lw=0)
            seen = curve.measured
            ax.errorbar(
                curve.n_samples[seen],
                readable(a, error[seen]),
                _spread(a, error[seen], curve.stderr[name][seen]),
                fmt=marker,
                color=colour,
                ms=4,
                label=shorten(name),
            )
        ax.axvline(a.n_samples, color=GREY, lw=0.8, ls=":")
        ax.annotate(
            "labels you have",
            (a.n_samples, 0.0),  # errors begin at zero: there is room above it
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            rotation=90,
            va="bottom",
            fontsize=8,
            color=GREY,
        )
        if a.settings.get("target_error"):
            wanted = readable(a, a.settings["target_error"])
            ax.axhline(wanted, color=VERMILION, lw=0.8, label="target error")
        ax.set_xscale("log")
        ticks = np.unique(curve.n_samples[[0, *np.flatnonzero(curve.measured), -1]])
        ticks = ticks[np.concatenate([[True], np.diff(np.log(ticks)) > 0.35])]
        ax.set_xticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
        ax.set(xlabel="labels", ylabel=error_label(a), title="How many labels")
        ax.set_ylim(bottom=0)
        ax.legend(loc="upper right", fontsize=8, frameon=False)
        ax.spines[["top", "right"]].set_visible(False)

    def _opinions(self, ax: Axes, systems: list[str]) -> None:
        a = self.advice
        said = {(o.system, o.source): o for o in a.opinions}
        for j, c in enumerate(a.candidates):
            for k, system in enumerate(systems):
                opinion = said.get((system, c.name))
                if opinion is None:
                    continue
                if not opinion.verdict and not opinion.advice:
                    ax.text(k, j, "–", ha="center", va="center", fontsize=12, color="0.4")
                    continue
                colour = VERDICT_COLOUR[opinion.verdict] if opinion.verdict else "#e8e8e8"
                ax.add_patch(_square(k, j, colour))
                text = (opinion.verdict or "advice") + ("!" if opinion.flags else "")
                ax.text(
                    k, j, text, ha="center", va="center", fontsize=7.5, fontweight="bold",
                    color="white" if opinion.verdict else "black",
                )  # fmt: skip
        ax.set_xticks(range(len(systems)), systems, rotation=60, ha="right", fontsize=8)
        ax.set_yticks(range(len(a.candidates)), [""] * len(a.candidates))
        ax.set_xlim(-0.6, len(systems) - 0.4)
        ax.set_ylim(len(a.candidates) - 0.5, -0.5)
        ax.set_title("Systems")
        if any(o.flags for o in a.opinions):
            ax.set_xlabel("! see its flags", fontsize=8)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)


def _spread(advice: AdviceRecord, error: FloatArray, stderr: FloatArray) -> FloatArray:
    """Standard errors of what `readable` gives."""
    if advice.task != "regression":
        return stderr
    return np.asarray(stderr / (2.0 * np.sqrt(np.maximum(error, 1e-300))))


def gain_figure(advice: AdviceRecord) -> Figure:
    """What is gained over scratch: by what is advised, and by the best use of every source.

    Parameters
    ----------
    advice : TransferAdvice
        What to draw.

    Returns
    -------
    matplotlib Figure
        Small enough for a telephone.
    """
    load("matplotlib", "plot")
    from matplotlib.figure import Figure

    sources = sorted(advice.candidates[1:], key=lambda c: -c.relative_gain)
    rows: list[tuple[str, str, str, Any]] = []
    if advice.use != "scratch":
        rows.append(("advised model", advice.use, BLACK, advice))
    for c in sources[:_MOST]:
        how = verdict_text(c) if c.duplicate_of else f"{c.use}, {verdict_text(c)}"
        rows.append((shorten(c.name, 20), how, VERDICT_COLOUR[c.verdict], c))
    with mpl_defaults():
        figure = Figure(figsize=(4.3, 1.25 + 0.52 * len(rows)), layout="constrained")
        ax = figure.subplots()
    ends = np.array([[r.relative_gain_low, r.relative_gain_high] for *_, r in rows])
    left = float(np.clip(100 * ends.min(), -_EDGE, -5.0))
    right = float(np.clip(100 * ends.max(), 5.0, _EDGE))
    span = right - left
    left, right = left - 0.04 * span, right + 0.04 * span
    for j, (_, _, colour, row) in enumerate(rows):
        low, high = 100 * row.relative_gain_low, 100 * row.relative_gain_high
        middle = 100 * row.relative_gain
        if not j and advice.use != "scratch":
            ax.axhspan(j - 0.45, j + 0.45, color=YELLOW, alpha=0.35, lw=0, zorder=0)
        ax.hlines(j, max(low, left), min(high, right), color=colour, lw=2.4, zorder=2)
        for end, edge, marker in ((low, left, "<"), (high, right, ">")):
            if not left <= end <= right:
                ax.plot(edge, j, marker, color=colour, ms=7, zorder=3, clip_on=False)
        if left <= middle <= right:
            ax.plot(middle, j, "o", color=colour, ms=8, zorder=3)
    ax.axvline(0.0, color=BLACK, lw=1.0, ls=":", zorder=1)
    ax.set_xlim(left, right)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), [f"{name}\n{how}" for name, how, *_ in rows], fontsize=9.5)
    ax.tick_params(axis="x", labelsize=9.5)
    ax.tick_params(axis="y", length=0)
    for text, at, side in (("worse", 0.0, "left"), ("better than scratch", 1.0, "right")):
        ax.text(
            at, 1.02, text, transform=ax.transAxes, ha=side, va="bottom", fontsize=9.5
        )  # fmt: skip
    figure.supxlabel(textwrap.fill(f"{advice.loss_name} saved, in % of scratch", 44), fontsize=9.5)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return figure


def curve_figure(advice: AdviceRecord) -> Figure:
    """The learning curve alone.

    Parameters
    ----------
    advice : TransferAdvice
        An advice with a learning curve.

    Returns
    -------
    matplotlib Figure
        Small enough for a telephone.
    """
    load("matplotlib", "plot")
    from matplotlib.figure import Figure

    with mpl_defaults():
        figure = Figure(figsize=(4.3, 3.1), layout="constrained")
        ax = figure.subplots()
    AdviceDisplay(advice)._curve(ax)
    ax.set_title("")
    return figure


def mpl_defaults() -> Any:
    """Matplotlib's own settings: a page looks the same whatever the user has set."""
    import matplotlib as mpl

    return mpl.rc_context(mpl.rcParamsDefault)


def _square(x: float, y: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.42, y - 0.36), 0.84, 0.72, color=colour, lw=0)
