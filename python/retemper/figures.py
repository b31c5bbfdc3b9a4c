"""Figures of the theory pages by name, drawn by the displays of the systems."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "FigureEntry", "draw", "save_figure"]


class FigureEntry(NamedTuple):
    """Where a figure is made and what it shows.

    Parameters
    ----------
    module : str
        Module that draws it.
    function : str
        Function of that module; takes no argument and returns a matplotlib figure.
    summary : str
        What it shows, in a line.
    """

    module: str
    function: str
    summary: str


#: Every figure by name.
FIGURES: dict[str, FigureEntry] = {
    "diagonal-regimes": FigureEntry(
        "retemper.diagonal.figures",
        "regimes",
        "order, pre-training dependence and their sum over source strength and balance",
    ),
    "diagonal-error-curves": FigureEntry(
        "retemper.diagonal.figures",
        "error_curves",
        "error against samples per feature for three tasks",
    ),
    "diagonal-new-features": FigureEntry(
        "retemper.diagonal.figures",
        "new_features",
        "scale, balance and reset when nothing is reused",
    ),
    "diagonal-best-start": FigureEntry(
        "retemper.diagonal.figures",
        "best_start",
        "which regime is best for which task",
    ),
    "diagonal-teachers": FigureEntry(
        "retemper.diagonal.figures",
        "teachers",
        "aligned and opposite teachers, warm starts and resets",
    ),
    "diagonal-source-samples": FigureEntry(
        "retemper.diagonal.figures",
        "source_samples",
        "error against the samples of pre-training",
    ),
    "diagonal-learning-order": FigureEntry(
        "retemper.diagonal.figures",
        "learning_order",
        "features with a source are learned first",
    ),
    "diagonal-leave-one-out": FigureEntry(
        "retemper.diagonal.figures",
        "loo_on_digits",
        "leave-one-out against held-out error over starts, digits",
    ),
    "linear-similarity": FigureEntry(
        "retemper.linear.figures", "similarity", "which measure of task similarity follows the risk"
    ),
    "linear-eigendirection": FigureEntry(
        "retemper.linear.figures", "eigendirection", "which eigendirection of a difference hurts"
    ),
    "linear-depth": FigureEntry(
        "retemper.linear.figures", "depth", "depth repairs a wrong scale of the source"
    ),
    "linear-phase": FigureEntry(
        "retemper.linear.figures", "phase", "when transfer helps: angle against samples"
    ),
    "linear-double-descent": FigureEntry(
        "retemper.linear.figures", "double_descent", "double descent of transfer"
    ),
    "linear-relu": FigureEntry(
        "retemper.linear.figures", "relu", "shallow ReLU fine-tuning: kernel, network and theory"
    ),
    "phases-exact": FigureEntry(
        "retemper.phases.figures",
        "exact",
        "one linear layer: plateau, fall and rise",
    ),
    "phases-parity": FigureEntry(
        "retemper.phases.figures",
        "parity",
        "parity of digits: transfer collapses; and the control",
    ),
    "phases-colour": FigureEntry("retemper.phases.figures", "colour", "true loss of a colour"),
    "phases-nothing": FigureEntry(
        "retemper.phases.figures", "nothing", "where there is nothing to gain from stopping early"
    ),
    "phases-resolution": FigureEntry(
        "retemper.phases.figures",
        "resolution",
        "amplitude collapse against true loss",
    ),
    "phases-decoder": FigureEntry(
        "retemper.phases.figures",
        "torch_decoders",
        "what an unconverged decoder shows (needs torch)",
    ),
    "phases-detector": FigureEntry(
        "retemper.phases.figures", "detector", "the published table, its phases and the alarm"
    ),
    "widenet-gamma-digits": FigureEntry(
        "retemper.widenet.figures",
        "gamma_digits",
        "error and read-out norm against the coupling, digits",
    ),
    "widenet-gamma-synthetic": FigureEntry(
        "retemper.widenet.figures",
        "gamma_synthetic",
        "transfer at finite width, regularisation at large width",
    ),
    "widenet-relatedness": FigureEntry(
        "retemper.widenet.figures",
        "relatedness",
        "frozen, best and scratch against the overlap of the tasks",
    ),
    "widenet-decomposition": FigureEntry(
        "retemper.widenet.figures",
        "decomposition",
        "bias, thermal and quenched variance against the coupling",
    ),
    "widenet-validity": FigureEntry(
        "retemper.widenet.figures",
        "validity",
        "theory against sampled networks, inside and outside its range",
    ),
    "widenet-order-parameters": FigureEntry(
        "retemper.widenet.figures",
        "order_parameters",
        "order parameters with sampled linear networks",
    ),
    "widenet-selection": FigureEntry(
        "retemper.widenet.figures", "selection", "regret of the coupling chosen by leave-one-out"
    ),
    "widenet-width": FigureEntry(
        "retemper.widenet.figures", "width", "test error against the width"
    ),
    "perceptron-transition": FigureEntry(
        "retemper.perceptron.figures",
        "transition",
        "error without labels against unlabelled rows, with every branch",
    ),
    "perceptron-fine-tuning": FigureEntry(
        "retemper.perceptron.figures", "fine_tuning", "a few labels remove the jump of pre-training"
    ),
    "perceptron-label-budget": FigureEntry(
        "retemper.perceptron.figures",
        "label_budget",
        "error against labels for several piles of unlabelled rows",
    ),
    "perceptron-phase": FigureEntry(
        "retemper.perceptron.figures", "phase", "thresholds in margin and load, hard phase"
    ),
    "perceptron-critical": FigureEntry(
        "retemper.perceptron.figures", "critical", "labels beyond which nothing jumps"
    ),
    "perceptron-evolution": FigureEntry(
        "retemper.perceptron.figures", "evolution", "message passing against state evolution"
    ),
    "perceptron-mismatch": FigureEntry(
        "retemper.perceptron.figures",
        "mismatch",
        "the student's margin hardly matters near the true one",
    ),
    "perceptron-sign": FigureEntry(
        "retemper.perceptron.figures", "sign", "labels that fix the sign of a pre-trained direction"
    ),
    "perceptron-quadrature": FigureEntry(
        "retemper.perceptron.figures", "quadrature", "Gauss-Hermite rules fail near full overlap"
    ),
    "perceptron-real-data": FigureEntry(
        "retemper.perceptron.figures",
        "real_data",
        "accuracy against labels on bundled tables, and where rivals win",
    ),
}


def draw(name: str) -> Figure:
    """Draw a figure.

    Parameters
    ----------
    name : str
        One of `FIGURES`.

    Returns
    -------
    matplotlib.figure.Figure
        The drawn figure, not attached to any window.

    Raises
    ------
    ValueError
        If there is no figure of that name.
    """
    if name not in FIGURES:
        raise ValueError(f"name must be one of {', '.join(FIGURES)}; got {name!r}")
    entry = FIGURES[name]
    figure: Figure = getattr(importlib.import_module(entry.module), entry.function)()
    return figure


def save_figure(name: str, folder: Path) -> list[Path]:
    """Draw a figure and write it as PNG and SVG.

    Parameters
    ----------
    name : str
        One of `FIGURES`.
    folder : Path
        Where the files go; made if missing.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    ValueError
        If there is no figure of that name.
    """
    figure = draw(name)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths
