"""The look that every figure shares: colours, line styles, axes and titles.

Colours are Okabe and Ito's. ``tests/gallery`` measures how far apart they are for eyes without one
kind of cone, and that lines in one panel differ in style, marker or lightness as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    "name_region",
    "new_axes",
    "new_panels",
    "style",
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
GREY = "#4D4D4D"  # a lighter one is green to eyes without green cones

#: Colours of lines, in order; line styles and markers tell them apart without colour.
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (7, 3)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X")

#: One colour for each verdict, in every figure.
VERDICT_COLOUR = {"helps": GREEN, "hurts": VERMILION, "same": BLUE, "undecided": GREY}


def style() -> dict[str, Any]:
    """Matplotlib settings of the gallery: colours that everybody can tell apart, few lines.

    Returns
    -------
    dict of str to object
        Settings for ``matplotlib.rc_context`` or ``matplotlib.rcParams.update``. Lines of one panel
        differ in colour and in style.

    See Also
    --------
    draw

    Examples
    --------
    >>> from retemper.gallery import style
    >>> style()["axes.spines.top"]
    False
    """
    load("matplotlib", "a figure")
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=CYCLE) + cycler(linestyle=LINES),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": "medium",
        "figure.titlesize": "large",
        "figure.titleweight": "bold",
        "legend.fontsize": "small",
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "lines.markersize": 4.0,
    }


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
        new.spines[["top", "right"]].set_visible(False)
        return new
    if not hasattr(ax, "plot") or not hasattr(ax, "set_xlabel"):
        raise TypeError(f"ax must be matplotlib Axes, got {type(ax).__name__}")
    return ax


def name_region(ax: Axes, x: float, y: float, name: str, **kwargs: Any) -> None:
    """Write the name of a region on a map, readable on any colour.

    Parameters
    ----------
    ax : matplotlib Axes
        The map.
    x, y : float
        Where, in data coordinates.
    name : str
        What is written.
    **kwargs : dict
        Passed to ``Axes.text``.
    """
    ax.get_xlim(), ax.get_ylim()  # limits of what was drawn, which are found when asked for
    inside = ax.transAxes.inverted().transform(ax.transData.transform((x, y)))
    x, y = (min(max(float(at), 0.06), 0.94) for at in inside)  # nothing leaves the map
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
    where = {"transform": ax.transAxes}
    ax.text(
        x,
        y,
        name,
        **{**where, "color": BLACK, "ha": "center", "va": "center", "bbox": box, **kwargs},
    )


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
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])
