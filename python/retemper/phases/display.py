"""Pictures of learning phases: theory as lines, measurements as dots with error bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from retemper._plot import BLACK, BLUE, CYCLE, LINES, MARKERS, VERMILION, new_axes
from retemper._validation import FloatArray, as_items, check_choice, check_kind
from retemper.phases._simulations import FeatureSimulation
from retemper.phases.detector import PhaseDetector
from retemper.phases.instrument import FLOOR_RELATIVE_RIDGE
from retemper.phases.monitor import PhaseMonitor
from retemper.phases.theory import FeatureTheory, PhaseForecast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ForecastDisplay", "MonitorDisplay"]

#: Background of every phase.
SHADES = {"I": "#F2F2F2", "II": "#DCEBF5", "III": "#F9E3D6"}


def step_places(steps: int | Sequence[int] | FloatArray) -> FloatArray:
    """Where steps stand on the axis: log2(1 + step)."""
    return np.asarray(np.log2(1.0 + np.asarray(steps, dtype=np.float64)))


def step_axis(ax: Axes, steps: Sequence[int] | FloatArray) -> FloatArray:
    """Even spacing for checkpoints at powers of two: log2(1 + step), labelled with steps."""
    x = step_places(steps)
    shown = slice(None, None, max(1, -(-x.size // 8)))
    ax.set_xticks(x[shown], [str(int(s)) for s in np.asarray(steps)[shown]])
    ax.set_xlabel("training step")
    return x


def shade_phases(ax: Axes, x: FloatArray, labels: Sequence[str]) -> None:
    """Colour the background by phase."""
    edges = np.concatenate([[x[0]], 0.5 * (x[1:] + x[:-1]), [x[-1]]])
    for j, label in enumerate(labels):
        ax.axvspan(edges[j], edges[j + 1], color=SHADES[label], lw=0, zorder=0)
    for label in SHADES:
        at = [k for k, other in enumerate(labels) if other == label]
        if at:
            middle = 0.5 * (edges[at[0]] + edges[at[-1] + 1])
            ax.annotate(
                label, (middle, 1.0), xycoords=("data", "axes fraction"), xytext=(0, -3),
                textcoords="offset points", ha="center", va="top", fontsize="small",
            )  # fmt: skip


@dataclasses.dataclass
class MonitorDisplay:
    """What a `PhaseMonitor` has seen in one layer, over training.

    Parameters
    ----------
    steps : ndarray of shape (J,)
        Checkpoints.
    curves : dict of str to ndarray of shape (J,)
        Values by name.
    stderr : dict of str to ndarray of shape (J,)
        Their standard errors, where known.
    labels : list of str
        Phase of every checkpoint; may be empty.
    title : str
        What is shown.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    PhaseMonitor, ForecastDisplay

    Notes
    -----
    See `PhaseMonitor`.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import MonitorDisplay, PhaseMonitor
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> monitor = PhaseMonitor(X)
    >>> for step in (0, 1, 2):
    ...     _ = monitor.observe(step, {"hidden": np.tanh(X[:, :3] * 2**step)})
    >>> MonitorDisplay.from_monitor(monitor, "hidden").plot().ax_.get_xlabel() != ""
    True
    """

    steps: FloatArray
    curves: dict[str, FloatArray]
    stderr: dict[str, FloatArray]
    labels: list[str]
    title: str = ""

    @classmethod
    def from_monitor(cls, monitor: PhaseMonitor, layer: str | None = None) -> MonitorDisplay:
        """Take the curves of a layer.

        Parameters
        ----------
        monitor : PhaseMonitor
            After at least one observation.
        layer : str or None, default=None
            Which; None is the first.

        Returns
        -------
        MonitorDisplay
            Call its ``plot``.
        """
        check_kind(monitor, "monitor", PhaseMonitor)
        name = check_choice(layer or monitor.layer_names[0], "layer", monitor.layer_names)
        scores = [s[name] for s in monitor.history_.values()]
        steps, fuv = monitor.curve(name)
        curves = {"fuv": fuv, "fuv_floor": monitor.curve(name, "fuv_floor")[1]}
        for task in scores[0].probes:
            curves[task] = monitor.curve(name, task)[1]
        labels = []
        if steps.size >= 3:
            labels = PhaseDetector(n_bootstrap=0).fit(steps, [s.fuv_folds for s in scores]).labels_
        stderr = {"fuv": np.array([s.stderr for s in scores])}
        return cls(steps.astype(np.float64), curves, stderr, labels, name)

    @classmethod
    def from_runs(
        cls, monitors: Sequence[PhaseMonitor], layer: str, *, title: str = ""
    ) -> MonitorDisplay:
        """Average the curves of several runs, with standard errors over runs.

        Parameters
        ----------
        monitors : sequence of PhaseMonitor
            At least two, with the same checkpoints.
        layer : str
            Which layer.
        title : str, default=""
            What is shown.

        Returns
        -------
        MonitorDisplay
            Call its ``plot``.
        """
        for i, monitor in enumerate(monitors := as_items(monitors, "monitors")):
            check_kind(monitor, f"monitors[{i}]", PhaseMonitor)
        parts = [cls.from_monitor(m, layer) for m in monitors]
        curves, stderr = {}, {}
        for name in parts[0].curves:
            values = np.array([part.curves[name] for part in parts])
            curves[name] = values.mean(axis=0)
            stderr[name] = values.std(axis=0, ddof=1) / np.sqrt(len(parts))
        labels = PhaseDetector(n_bootstrap=0).fit(parts[0].steps, curves["fuv"]).labels_
        return cls(parts[0].steps, curves, stderr, labels, title or layer)

    def plot(self, *, ax: Axes | None = None, names: Mapping[str, str] | None = None) -> Self:
        """Draw reconstruction and probes against the training step.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where; a new figure if None.
        names : mapping of str to str, or None, default=None
            Curves to draw and their legends; None draws all.

        Returns
        -------
        MonitorDisplay
            Itself, drawn, with ``ax_`` and ``figure_``.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        legends = {
            "fuv": "unexplained input variance",
            "fuv_floor": f"the same at ridge {FLOOR_RELATIVE_RIDGE:g}",
        }
        shown = names or {name: legends.get(name, f"probe: {name}") for name in self.curves}
        x = step_axis(ax, self.steps)
        if self.labels:
            shade_phases(ax, x, self.labels)
        for i, (name, legend) in enumerate(shown.items()):
            style: dict[str, Any] = {
                "color": CYCLE[i % len(CYCLE)], "marker": MARKERS[i % len(MARKERS)], "ms": 4,
                "ls": LINES[i % len(LINES)],
            }  # fmt: skip
            ax.errorbar(x, self.curves[name], yerr=self.stderr.get(name), label=legend, **style)
        ax.set_ylabel("share of variance, accuracy")
        ax.set_title(self.title)
        ax.legend(fontsize=8)
        return self


@dataclasses.dataclass
class ForecastDisplay:
    """Exact curves of reconstruction over time, with simulation where there is one.

    Parameters
    ----------
    times : ndarray of shape (T,)
        Times, positive.
    fuv : ndarray of shape (T,)
        Fraction of unexplained variance.
    task_r2 : ndarray of shape (T,)
        R² on an auxiliary task; may be empty.
    levels : dict of str to float
        Horizontal lines.
    simulation : FeatureSimulation or None
        Dots.
    title : str
        What is shown.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    phase_forecast, MonitorDisplay

    Notes
    -----
    See `solve` and `phase_forecast`.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, ForecastDisplay, solve
    >>> model = FeatureModel(4, [3.0, 1.0], [1.0, 0.2], times=[0.1, 1.0, 10.0])
    >>> ForecastDisplay.from_theory(solve(model)).plot().ax_.get_xlabel() != ""
    True
    """

    times: FloatArray
    fuv: FloatArray
    task_r2: FloatArray
    levels: dict[str, float]
    simulation: FeatureSimulation | None = None
    title: str = ""

    @classmethod
    def from_forecast(cls, forecast: PhaseForecast) -> ForecastDisplay:
        """Take the curve of a forecast.

        Parameters
        ----------
        forecast : PhaseForecast
            Of `phase_forecast`.

        Returns
        -------
        ForecastDisplay
            Call its ``plot``.
        """
        check_kind(forecast, "forecast", PhaseForecast)
        levels = {
            "random layer": forecast.fuv_init,
            "class means": forecast.fuv_early,
            "least squares": forecast.fuv_late,
        }
        return cls(forecast.times, forecast.fuv, forecast.task_r2, levels, None, forecast.message)

    @classmethod
    def from_theory(
        cls, theory: FeatureTheory, simulation: FeatureSimulation | None = None
    ) -> ForecastDisplay:
        """Take the curve of a feature model.

        Parameters
        ----------
        theory : FeatureTheory
            Of `solve`.
        simulation : FeatureSimulation or None, default=None
            Of `simulate`.

        Returns
        -------
        ForecastDisplay
            Call its ``plot``.
        """
        check_kind(theory, "theory", FeatureTheory)
        return cls(theory.times, theory.fuv, theory.task_r2, {}, simulation)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the curves against time on a logarithmic axis.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where; a new figure if None.

        Returns
        -------
        ForecastDisplay
            Itself, drawn, with ``ax_`` and ``figure_``.
        """
        ax = self.ax_ = new_axes(ax)
        self.figure_ = ax.figure
        positive = self.times > 0.0
        ax.semilogx(
            self.times[positive], self.fuv[positive], "-", color=BLUE, label="unexplained variance"
        )
        if self.task_r2.size:
            ax.semilogx(
                self.times[positive], self.task_r2[positive], color=VERMILION, ls="--",
                label="R² of the auxiliary task",
            )  # fmt: skip
        for i, (name, level) in enumerate(self.levels.items()):
            ax.axhline(level, color=CYCLE[2 + i], ls=LINES[2 + i], lw=1, label=name)
        if self.simulation is not None:
            s = self.simulation
            ax.errorbar(
                s.times, s.fuv, yerr=s.stderr["fuv"], fmt="o", ms=4, color=BLACK, label="simulation"
            )
        ax.set(xlabel="time (step size × steps)", ylabel="share of variance")
        ax.set_title(fill(self.title, 48))
        ax.legend(fontsize=8)
        return self
