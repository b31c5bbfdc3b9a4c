"""Figures of the margin perceptron, by name; the numbers come from its solvers and simulations.

They redraw section 7 of the theory page after Ohzeki (2015), whose own figures could not be read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retemper.perceptron import simulate
from retemper.perceptron.channel import channel_score
from retemper.perceptron.display import TransitionDisplay
from retemper.perceptron.errors import sign_error
from retemper.perceptron.model import PerceptronModel
from retemper.perceptron.theory import curve, solve, state_evolution
from retemper.perceptron.thresholds import (
    critical_line,
    parametric_curve,
    phase_diagram,
    transitions,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#1f5f8b", "#c8501e", "#4c9f70", "#7a7a7a"
COLOURS = (BLUE, ORANGE, GREEN, "#8a5a9e", "#b08a2e", GREY)


def _figure(columns: int = 1, width: float = 6.4, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def _measured(
    ax: Axes, models: list[PerceptronModel], n_features: int, colour: str, *, label: str | None
) -> None:
    for i, model in enumerate(models):
        sample = simulate(
            model, n_features=n_features, n_repeats=3, random_state=i, on_failure="ignore", n_jobs=1
        )
        ax.errorbar(
            model.alpha_u,
            sample.error_margin,
            sample.stderr["error_margin"],
            fmt="o",
            ms=4,
            color=colour,
            label=label,
        )
        label = None


def transition() -> Figure:
    """Figure 1: error without labels against the number of unlabelled rows, two margins."""
    figure, axes = _figure(2, 10.0)
    for ax, kappa, top in zip(axes, (0.5, 1.0), (6.0, 2.0), strict=True):
        model = PerceptronModel(kappa, 0.0)
        TransitionDisplay.from_model(model).plot(
            ax=ax, max_load=top, color=BLUE, label="stable (dashed: unstable)"
        )
        found = transitions(kappa)
        lines = {"weak recovery": found.alpha_c, "equal evidence": found.alpha_it,
                 "end of the hard phase": found.alpha_alg}  # fmt: skip
        for (name, load), colour in zip(lines.items(), (GREY, GREEN, ORANGE), strict=True):
            if load is not None:
                ax.axvline(load, color=colour, lw=1, label=name)
        ax.plot([0, found.alpha_c or 0], [0.5, 0.5], color=BLUE)
        loads = [0.4, 0.8, 0.9] if kappa == 0.5 else []
        models = [PerceptronModel(kappa, top * x) for x in loads or (0.1, 0.5, 0.9)]
        _measured(ax, models, 600, ORANGE, label="message passing, 600 features")
        ax.set_title(f"margin {kappa}, no labels")
        ax.legend(fontsize=8)
    return figure


def fine_tuning() -> Figure:
    """Figure 2: a few labels move the jump to the left and then remove it."""
    figure, (ax,) = _figure()
    for labels, colour in zip((0.0, 0.05, 0.1, 0.2, 0.3, 0.5), COLOURS, strict=True):
        TransitionDisplay.from_model(PerceptronModel(0.5, 0.0, labels)).plot(
            ax=ax, max_load=6, color=colour, label=f"{labels:g}"
        )
        if labels in (0.05, 0.2):
            _measured(ax, [PerceptronModel(0.5, 4.0, labels)], 600, colour, label=None)
    ax.set(yscale="log", ylim=(1e-4, 0.6), title="margin 0.5; points: message passing")
    ax.legend(title="labels per feature", fontsize=8)
    return figure


def label_budget() -> Figure:
    """Figure 3: error against the number of labels, for several piles of unlabelled rows."""
    figure, (ax,) = _figure()
    labels = np.geomspace(1e-3, 1, 60)
    for load, colour in zip((0.0, 1.0, 4.0, 5.0), COLOURS, strict=False):
        found = curve(PerceptronModel(0.5, load), {"alpha_l": labels}, quantities=("error_margin",))
        ax.plot(labels, found["error_margin"], color=colour, label=f"{load:g}")
        alone = solve(PerceptronModel(0.5, load)).error_margin
        if load:
            ax.axhline(alone, color=colour, ls=":", lw=1)
    ax.set(
        xscale="log", yscale="log", xlabel="labelled rows per feature",
        ylabel="error on rows with a margin", title="margin 0.5; dotted: pre-training and a sign",
    )  # fmt: skip
    ax.legend(title="unlabelled rows per feature", fontsize=8)
    return figure


def phase() -> Figure:
    """Figure 4: thresholds without labels in the plane of margin and load."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    figure, (ax,) = _figure()
    kappa = np.geomspace(0.02, 2, 60)
    kappa = np.sort(np.append(kappa, np.linspace(0.6, 0.6451, 12)))  # where the line ends
    found = [transitions(k) for k in kappa]

    def values(name: str) -> np.ndarray:
        picked = [getattr(t, name) for t in found]
        return np.array([np.nan if v is None else v for v in picked])

    diagram = phase_diagram(np.geomspace(0.02, 2, 9), np.geomspace(0.05, 2000, 9), refine=4)
    grid, solved = (diagram.axes["kappa"], diagram.axes["alpha_u"]), diagram["solved"]
    shades = ListedColormap(["#ffffff", "#e3eef6", "#eeeeee", "#f8d9cc"])
    ax.pcolormesh(*grid, diagram["phase"].T, cmap=shades, vmin=0, vmax=3, rasterized=True)
    hard_from, hard_to = values("alpha_it"), values("alpha_alg")
    ax.plot(kappa, values("alpha_c"), color=BLUE, label="weak recovery")
    ax.plot(kappa, values("alpha_sp_minus"), color=GREY, ls="--", label="good branch appears")
    ax.plot(kappa, hard_from, color=GREEN, label="equal evidence")
    ax.plot(kappa, hard_to, color=ORANGE, label="poor branch ends")
    ax.set(
        xscale="log", yscale="log", xlabel="margin", ylabel="unlabelled rows per feature",
        ylim=(0.05, 2000), title=f"no labels; {solved.sum()} of {solved.size} points solved",
    )  # fmt: skip
    names = ("nothing to be found", "found", "a better branch exists", "hard")
    patches = [Patch(fc=shades(k), ec="0.7", label=n) for k, n in enumerate(names)]
    ax.legend(handles=[*ax.get_lines(), *patches], fontsize=7.5, loc="upper right")
    return figure


def critical() -> Figure:
    """Figure 5: labels beyond which nothing jumps any more."""
    figure, (ax,) = _figure()
    kappa = np.linspace(0.05, 0.64, 40)
    found = [critical_line(k) for k in kappa]
    ax.plot(kappa, [p.alpha_l or np.nan for p in found], color=ORANGE, label="labelled")
    ax.plot(kappa, [p.alpha_u or np.nan for p in found], color=BLUE, label="unlabelled")
    ax.set(
        yscale="log", xlabel="margin", ylabel="rows per feature",
        title="where the first-order line ends",
    )  # fmt: skip
    ax.legend()
    return figure


def evolution() -> Figure:
    """Figure 6: overlap by iteration, state evolution and message passing."""
    figure, (ax,) = _figure()
    for (kappa, load, labels), colour in zip(
        ((1.0, 1.0, 0.1), (0.5, 4.0, 0.3), (2.0, 0.3, 0.1)), COLOURS, strict=False
    ):
        model = PerceptronModel(kappa, load, labels)
        path = state_evolution(model, 15)
        ax.plot(path.m, color=colour, label=f"margin {kappa:g}, loads {load:g}, {labels:g}")
        measured = [
            simulate(
                model, n_features=2000, n_repeats=2, random_state=0, max_iter=t, damping=0.0,
                tol=1e-300, on_failure="ignore", n_jobs=1,
            ).m
            for t in range(1, 16, 2)
        ]  # fmt: skip
        ax.plot(range(1, 16, 2), measured, "o", color=colour, ms=4)
    ax.set(xlabel="iteration", ylabel="overlap with the truth", title="points: 2000 features")
    ax.legend(fontsize=8)
    return figure


def mismatch() -> Figure:
    """Figure 7: the student's margin hardly matters near the true one."""
    figure, (ax,) = _figure()
    kappa = np.linspace(0, 1.2, 25)
    found = [solve(PerceptronModel(k, 1.5, 0.2, kappa_true=1.0)) for k in kappa]
    ax.plot(kappa, [t.cosine for t in found], color=BLUE, label="cosine")
    ax.plot(kappa, [t.replicon for t in found], color=ORANGE, label="replicon (unstable above 1)")
    ax.axvline(1.0, color=GREY, lw=1)
    ax.set(xlabel="margin of the student", title="true margin 1, loads 1.5 and 0.2")
    ax.legend()
    return figure


def sign() -> Figure:
    """Figure 8: how soon labels fix the sign of a pre-trained direction."""
    figure, (ax,) = _figure()
    k = np.arange(1, 9)
    for (kappa, load), colour in zip(((1.0, 0.6), (1.0, 1.0), (0.5, 4.2)), COLOURS, strict=False):
        q = solve(PerceptronModel(kappa, load)).q
        found = [sign_error(q, kappa, int(n)) for n in k]
        ax.semilogy(
            k, [f.probability for f in found], "o-", color=colour,
            label=f"margin {kappa:g}, load {load:g}",
        )  # fmt: skip
        ax.semilogy(k, 0.5 * np.exp(-k * found[0].exponent), ":", color=colour)
    ax.set(xlabel="labels", ylabel="probability of the wrong sign", title="dotted: bound")
    ax.legend(fontsize=8)
    return figure


def quadrature() -> Figure:
    """Gauss-Hermite rules fail near full overlap, where the channel has a narrow wall."""
    figure, (ax,) = _figure()
    model = PerceptronModel(0.5, 1.0)
    exact = parametric_curve(model, 40, q_min=0.1, q_max=1 - 1e-6)
    q = exact.q
    F = q / (1 - q) / exact.alpha_u  # F_u = b / alpha_u without labels
    for order, colour in zip((32, 128, 512), COLOURS, strict=False):
        from retemper.numerics import gauss_hermite_rule

        z, weight = gauss_hermite_rule(order)
        got = []
        for overlap in q:
            score = channel_score(math.sqrt(overlap) * z, 1 - overlap, kappa=0.5)
            got.append(weight @ (np.exp(score.log_w) * score.g**2))
        ax.loglog(1 - q, np.abs(np.array(got) / F - 1), color=colour, label=f"{order} nodes")
    ax.axhline(1e-12, color=GREY, ls="--", lw=1, label="panels, estimated error below")
    ax.set(
        xlabel="1 - overlap", ylabel="relative error of the average of $g^2$",
        title="fixed Gauss-Hermite rules, margin 0.5",
    )  # fmt: skip
    ax.legend(fontsize=8)
    return figure


def real_data(n_draws: int = 6) -> Figure:
    """Figure 9: accuracy against labels on bundled tables, four methods."""
    from retemper.gallery.few_labels import METHODS, accuracies

    labels = (1, 2, 5, 10, 20)
    figure, axes = _figure(2, 10.5, 4.2)
    for ax, name in zip(axes, ("breast cancer", "digits 3 against 8"), strict=True):
        mean, error = accuracies(name, labels, n_draws)
        for k, (method, colour) in enumerate(zip(METHODS, COLOURS, strict=False)):
            at = np.array(labels) * 1.04 ** (k - 1.5)  # side by side
            ax.errorbar(
                at, mean[k], error[k], label=method, marker="osD^"[k], color=colour, lw=1.2, ms=4,
                capsize=2,
            )  # fmt: skip
        ax.set(xscale="log", xlabel="labels per class", title=name)
        ax.set_xticks(labels, [str(n) for n in labels])
        ax.minorticks_off()
    axes[0].set_ylabel(f"accuracy on hidden labels, {n_draws} draws")
    axes[0].legend(fontsize=8)
    return figure
