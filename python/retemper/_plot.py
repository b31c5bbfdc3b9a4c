"""The look that every display shares: colours, line styles, axes and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retemper._extras import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "CYCLE",
    "GREEN",
    "GREY",
    "LINES",
    "MARKERS",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERDICT_COLOUR",
    "VERMILION",
    "YELLOW",
    "new_axes",
    "new_panels",
]

# Okabe and Ito's palette, distinguishable with every common colour vision
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#7F7F7F"

#: Colours of lines, in order; line styles and markers tell them apart without colour.
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (7, 3)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X")

#: One colour for each verdict, in every figure.
VERDICT_COLOUR = {"helps": GREEN, "hurts": VERMILION, "same": BLUE, "undecided": GREY}


def new_axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.2)) -> Axes:
    """Axes to draw on.

    Parameters
    ----------
    ax : matplotlib Axes or None
        The axes the user gave.
    size : tuple of float, default=(6.4, 4.2)
        Width and height in inches of a new figure, made if ``ax`` is None.

    Returns
    -------
    matplotlib Axes
        ``ax``, or the axes of a new figure.

    Raises
    ------
    TypeError
        If ``ax`` is not axes.
    """
    if ax is None:
        plt = load("matplotlib.pyplot", "plot")
        new: Axes = plt.subplots(figsize=size, layout="constrained")[1]
        return new
    if not hasattr(ax, "plot") or not hasattr(ax, "set_xlabel"):
        raise TypeError(f"ax must be matplotlib Axes, got {type(ax).__name__}")
    return ax


def new_panels(n: int, size: tuple[float, float] = (4.6, 4.0)) -> tuple[Figure, list[Axes]]:
    """A figure of several panels side by side.

    Parameters
    ----------
    n : int
        Number of panels.
    size : tuple of float, default=(4.6, 4.0)
        Width and height in inches of each.

    Returns
    -------
    matplotlib Figure, list of matplotlib Axes
        The figure and its panels from left to right.
    """
    plt = load("matplotlib.pyplot", "a figure")
    figure, axes = plt.subplots(
        1, n, figsize=(size[0] * n, size[1]), layout="constrained", squeeze=False
    )
    return figure, list(axes[0])
