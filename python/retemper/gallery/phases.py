"""Figures of the learning phases, by name; runs are averaged over seeds, copies kept together.

The theory and the runs are ours, on questions of Schneider and Prabhushankar (2024). Their
published table is drawn as they give it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retemper._plot import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION
from retemper.gallery.phases_runs import RUNS, run_seeds
from retemper.phases import simulate
from retemper.phases.detector import PhaseDetector
from retemper.phases.display import MonitorDisplay, shade_phases, step_axis
from retemper.phases.model import FeatureModel
from retemper.phases.theory import solve, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Iterations and summed test losses of the published code's README (JohnTailor/LearnPhase).
PUBLISHED_STEPS = (0, 8, 32, 64, 128, 256, 1024, 2048, 4096, 8192, 65536)
PUBLISHED_LOSS = (46.71, 45.62, 43.48, 41.92, 40.32, 40.54, 41.12, 44.30, 48.69, 54.74, 62.18)
PUBLISHED_TRANSFER = (0.789, 0.789, 0.816, 0.833, 0.832, 0.847, 0.853, 0.834, 0.819, 0.801, 0.772)
#: Turns a published loss into a fraction of unexplained variance: 79 batches, pixel variance 1.559.
PUBLISHED_SCALE = 79 * 1.559


def _figure(columns: int = 1, width: float = 6.4, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def exact(random_state: int = 0) -> Figure:
    """F1: plateau, fall and rise of one linear layer; theory, training on samples, a task."""
    model = FeatureModel(10, np.array([3.0, 1.0]), np.array([1.0, 0.2]), n_noise=50, noise_sd=0.5)
    t = np.geomspace(1e-3, 1e3, 200)
    model = replace(model, times=t)
    levels = summary(model)
    annealed = solve(model, task=[1, 0])
    average = solve(model, n_init=100, random_state=random_state)
    steps = [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 51.2, 204.8]
    descent = replace(model, times=steps, step_size=0.1)
    sample = simulate(descent, n_samples=20_000, random_state=random_state)
    figure, (left, right) = _figure(2, 11.0)
    left.semilogx(t, average.fuv, color=BLUE, label="theory, average over initialisations")
    left.semilogx(t, annealed.fuv, color=BLUE, ls="--", lw=1, label="theory, annealed")
    later = sample.times > 0
    left.errorbar(
        sample.times[later], sample.fuv[later], yerr=2 * sample.stderr["fuv"][later], fmt="o", ms=4,
        color=BLACK, label="descent on 20 000 samples, 2 s.e.",
    )  # fmt: skip
    for level, name, colour in (
        (levels.fuv_init, "random layer", ORANGE),
        (levels.fuv_early, "class means", GREEN),
        (levels.fuv_late, "least squares", VERMILION),
    ):
        left.axhline(level, color=colour, ls=":", lw=1, label=name)
    left.axvline(levels.t_star, color=BLACK, lw=0.5)
    left.set(xlabel="time", ylabel="unexplained input variance", title="one linear layer")
    left.legend(fontsize=7)
    right.semilogx(t, annealed.task_r2, color=VERMILION, label="strong feature")
    other = solve(model, task=[0, 1])
    right.semilogx(t, other.task_r2, color=GREEN, ls="--", label="weak feature")
    right.set(xlabel="time", ylabel="R² of a linear readout", title="auxiliary tasks")
    right.legend(fontsize=8)
    return figure


def _runs(names: tuple[str, ...], n_seeds: int) -> Figure:
    figure, axes = _figure(len(names), 5.6 * len(names), 4.6)
    for ax, name in zip(axes, names, strict=True):
        run = RUNS[name]
        shown = MonitorDisplay.from_runs(
            run_seeds(name, n_seeds), run.alarm_layer, title=f"{run.summary}\n{run.alarm_layer}"
        )
        shown.plot(
            ax=ax,
            names={
                "fuv": "unexplained input variance",
                "fuv_floor": "the same at ridge 0.01",
                run.transfer: f"transfer: {run.transfer}",
                "source": f"source: {run.source}",
            },
        )
        ax.title.set_fontsize(9)
    return figure


def parity(n_seeds: int = 5) -> Figure:
    """F2: the source task improves, transfer collapses in amplitude; and the control."""
    return _runs(("parity", "control"), n_seeds)


def colour(n_seeds: int = 5) -> Figure:
    """F3: true loss of a colour that goes with the class, in two networks."""
    return _runs(("colour", "relu"), n_seeds)


def nothing(n_seeds: int = 5) -> Figure:
    """F4: no second phase to wait for: a colour of no meaning, a random background."""
    return _runs(("independent", "background"), n_seeds)


def resolution(n_seeds: int = 3) -> Figure:
    """F2 and F3 at every resolution: amplitude collapse against true loss."""
    figure, axes = _figure(2, 11.0)
    for ax, name in zip(axes, ("parity", "colour"), strict=True):
        run = RUNS[name]
        monitors = run_seeds(name, n_seeds)
        steps = list(monitors[0].history_)
        for step, shade in zip(steps[-6:], (BLUE, GREEN, ORANGE, VERMILION, PURPLE, BLACK),
                               strict=True):  # fmt: skip
            paths = [m.history_[step][run.alarm_layer].fuv_path for m in monitors]
            ridges = monitors[0].history_[step][run.alarm_layer].relative_ridges
            ax.semilogx(ridges, np.mean(paths, axis=0), color=shade, label=f"step {step}")
        ax.set(
            xlabel="relative ridge", ylabel="unexplained input variance",
            title=f"{run.summary}\n{run.alarm_layer}",
        )  # fmt: skip
        ax.title.set_fontsize(9)
        ax.legend(fontsize=7)
    return figure


def detector() -> Figure:
    """F6: the published table with its phases, and when the online rule speaks."""
    figure, (ax,) = _figure(1, 7.2)
    fuv = np.array(PUBLISHED_LOSS) / PUBLISHED_SCALE
    sigma = 0.3 / PUBLISHED_SCALE
    offline = PhaseDetector(min_stderr=sigma).fit(PUBLISHED_STEPS, fuv, sigma)
    online = PhaseDetector(min_stderr=sigma)
    for step, value in zip(PUBLISHED_STEPS, fuv, strict=True):
        online.update(step, float(value), sigma)
    x = step_axis(ax, PUBLISHED_STEPS)
    shade_phases(ax, x, offline.labels_)
    ax.plot(x, fuv, "o", color=BLUE, ms=4, label="unexplained variance (published, one run)")
    ax.plot(x, offline.fit_, color=BLUE, lw=1, label="falling-then-rising fit")
    ax.set_ylabel("unexplained input variance", color=BLUE)
    alarm = float(np.log2(1 + (online.alarm_step_ or 0)))
    ax.axvline(alarm, color=VERMILION, ls="--", label=f"alarm at {online.alarm_step_}")
    best = float(np.log2(1 + online.recommended_step_))
    ax.axvline(best, color=GREEN, ls=":", label=f"keep {online.recommended_step_}")
    twin = ax.twinx()
    twin.plot(x, PUBLISHED_TRANSFER, "s--", color=ORANGE, ms=4, lw=1)
    twin.set_ylabel("transfer accuracy (published)", color=ORANGE)
    ax.legend(fontsize=8, loc="upper left")
    return figure


def torch_decoders(n_steps: int = 1024, random_state: int = 0) -> Figure:
    """F5: a network of convolutions, and what an unconverged decoder makes of it."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise ImportError("this figure trains a PyTorch network: install retemper[torch]")
    from retemper.gallery.phases_convnet import run_conv

    found = run_conv(n_steps, random_state)
    figure, (left, right) = _figure(2, 11.0)
    x = step_axis(left, found.steps)
    left.plot(x, found.fuv, "o-", color=BLUE, ms=4, label="ridge, cross-validated")
    left.plot(x, found.adam_raw, "s--", color=VERMILION, ms=4, label="Adam, 20 epochs, raw")
    left.plot(
        x, found.adam_standardised, "D:", color=ORANGE, ms=4, label="Adam, 20 epochs, standardised"
    )
    left.set(ylabel="unexplained input variance", title="the same activations, three decoders")
    left.legend(fontsize=8)
    step_axis(right, found.steps)
    right.plot(x, found.colour, "o-", color=VERMILION, ms=4, label="transfer: colour")
    right.plot(x, found.source, "s-", color=BLACK, ms=4, label="source: digit")
    right.plot(x, found.scale / found.scale.max(), "^:", color=GREEN, ms=4,
               label=f"rms activation / {found.scale.max():.2f}")  # fmt: skip
    right.set(ylabel="accuracy, relative scale", title="last block of convolutions")
    right.legend(fontsize=8)
    return figure
