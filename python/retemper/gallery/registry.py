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
        "retemper.gallery.diagonal",
        "regimes",
        "order, pre-training dependence and their sum over source strength and balance",
    ),
    "diagonal-error-curves": FigureEntry(
        "retemper.gallery.diagonal",
        "error_curves",
        "error against samples per feature for three tasks",
    ),
    "diagonal-new-features": FigureEntry(
        "retemper.gallery.diagonal",
        "new_features",
        "scale, balance and reset when nothing is reused",
    ),
    "diagonal-best-start": FigureEntry(
        "retemper.gallery.diagonal",
        "best_start",
        "which regime is best for which task",
    ),
    "diagonal-teachers": FigureEntry(
        "retemper.gallery.diagonal",
        "teachers",
        "aligned and opposite teachers, warm starts and resets",
    ),
    "diagonal-source-samples": FigureEntry(
        "retemper.gallery.diagonal",
        "source_samples",
        "error against the samples of pre-training",
    ),
    "diagonal-learning-order": FigureEntry(
        "retemper.gallery.diagonal",
        "learning_order",
        "features with a source are learned first",
    ),
    "diagonal-leave-one-out": FigureEntry(
        "retemper.gallery.diagonal",
        "loo_on_digits",
        "leave-one-out against held-out error over starts, digits",
    ),
    "linear-similarity": FigureEntry(
        "retemper.gallery.linear", "similarity", "which measure of task similarity follows the risk"
    ),
    "linear-eigendirection": FigureEntry(
        "retemper.gallery.linear", "eigendirection", "which eigendirection of a difference hurts"
    ),
    "linear-depth": FigureEntry(
        "retemper.gallery.linear", "depth", "depth repairs a wrong scale of the source"
    ),
    "linear-phase": FigureEntry(
        "retemper.gallery.linear", "phase", "when transfer helps: angle against samples"
    ),
    "linear-double-descent": FigureEntry(
        "retemper.gallery.linear", "double_descent", "double descent of transfer"
    ),
    "linear-relu": FigureEntry(
        "retemper.gallery.linear", "relu", "shallow ReLU fine-tuning: kernel, network and theory"
    ),
    "phases-exact": FigureEntry(
        "retemper.gallery.phases",
        "exact",
        "one linear layer: plateau, fall and rise",
    ),
    "phases-parity": FigureEntry(
        "retemper.gallery.phases",
        "parity",
        "parity of digits: transfer collapses; and the control",
    ),
    "phases-colour": FigureEntry("retemper.gallery.phases", "colour", "true loss of a colour"),
    "phases-nothing": FigureEntry(
        "retemper.gallery.phases", "nothing", "where there is nothing to gain from stopping early"
    ),
    "phases-resolution": FigureEntry(
        "retemper.gallery.phases",
        "resolution",
        "amplitude collapse against true loss",
    ),
    "phases-decoder": FigureEntry(
        "retemper.gallery.phases",
        "torch_decoders",
        "what an unconverged decoder shows (needs torch)",
    ),
    "phases-detector": FigureEntry(
        "retemper.gallery.phases", "detector", "the published table, its phases and the alarm"
    ),
    "widenet-gamma-digits": FigureEntry(
        "retemper.gallery.widenet",
        "gamma_digits",
        "error and read-out norm against the coupling, digits",
    ),
    "widenet-gamma-synthetic": FigureEntry(
        "retemper.gallery.widenet",
        "gamma_synthetic",
        "transfer at finite width, regularisation at large width",
    ),
    "widenet-relatedness": FigureEntry(
        "retemper.gallery.widenet",
        "relatedness",
        "frozen, best and scratch against the overlap of the tasks",
    ),
    "widenet-decomposition": FigureEntry(
        "retemper.gallery.widenet",
        "decomposition",
        "bias, thermal and quenched variance against the coupling",
    ),
    "widenet-validity": FigureEntry(
        "retemper.gallery.widenet",
        "validity",
        "theory against sampled networks, inside and outside its range",
    ),
    "widenet-order-parameters": FigureEntry(
        "retemper.gallery.widenet",
        "order_parameters",
        "order parameters with sampled linear networks",
    ),
    "widenet-selection": FigureEntry(
        "retemper.gallery.widenet", "selection", "regret of the coupling chosen by leave-one-out"
    ),
    "widenet-width": FigureEntry(
        "retemper.gallery.widenet", "width", "test error against the width"
    ),
    "perceptron-transition": FigureEntry(
        "retemper.gallery.perceptron",
        "transition",
        "error without labels against unlabelled rows, with every branch",
    ),
    "perceptron-fine-tuning": FigureEntry(
        "retemper.gallery.perceptron", "fine_tuning", "a few labels remove the jump of pre-training"
    ),
    "perceptron-label-budget": FigureEntry(
        "retemper.gallery.perceptron",
        "label_budget",
        "error against labels for several piles of unlabelled rows",
    ),
    "perceptron-phase": FigureEntry(
        "retemper.gallery.perceptron", "phase", "thresholds in margin and load, hard phase"
    ),
    "perceptron-critical": FigureEntry(
        "retemper.gallery.perceptron", "critical", "labels beyond which nothing jumps"
    ),
    "perceptron-evolution": FigureEntry(
        "retemper.gallery.perceptron", "evolution", "message passing against state evolution"
    ),
    "perceptron-mismatch": FigureEntry(
        "retemper.gallery.perceptron",
        "mismatch",
        "the student's margin hardly matters near the true one",
    ),
    "perceptron-sign": FigureEntry(
        "retemper.gallery.perceptron", "sign", "labels that fix the sign of a pre-trained direction"
    ),
    "perceptron-quadrature": FigureEntry(
        "retemper.gallery.perceptron", "quadrature", "Gauss-Hermite rules fail near full overlap"
    ),
    "perceptron-real-data": FigureEntry(
        "retemper.gallery.perceptron",
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
