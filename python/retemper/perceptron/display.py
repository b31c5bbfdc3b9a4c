"""Pictures of the margin perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from retemper._results import Sweep
from retemper.perceptron.errors import generalization_error
from retemper.perceptron.model import PerceptronModel
from retemper.perceptron.thresholds import ParametricCurve, parametric_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PhaseDiagramDisplay", "TransitionDisplay"]


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1]
    return ax


class TransitionDisplay:
    """Error against the number of unlabelled rows, with every branch.

    Parameters
    ----------
    model : PerceptronModel
        A matched, spherical model; its ``alpha_u`` is not used.
    curve : ParametricCurve
        From `parametric_curve`.

    Notes
    -----
    See `parametric_curve`.
    """

    def __init__(self, model: PerceptronModel, curve: ParametricCurve) -> None:
        self.model = model
        self.curve = curve

    @classmethod
    def from_model(cls, model: PerceptronModel, n_points: int = 600) -> Self:
        """Compute the curve of a model.

        Parameters
        ----------
        model : PerceptronModel
            A matched, spherical model.
        n_points : int, default=600
            Points on the curve.

        Returns
        -------
        TransitionDisplay
            The display.
        """
        return cls(model, parametric_curve(model, n_points))

    def plot(self, ax: Axes | None = None, *, max_load: float | None = None, **kwargs: Any) -> Axes:
        """Draw stable parts solid and unstable ones dashed.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.
        max_load : float or None, default=None
            Right end of the axis.
        **kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        ax = _axes(ax)
        load, stable = self.curve.alpha_u, self.curve.replicon < 1
        error = generalization_error(self.curve.cosine, self.model.kappa, sigma=self.model.sigma)
        shown = load >= 0
        kwargs.setdefault("color", "C0")
        label = kwargs.pop("label", None)
        for part, style in ((stable, "-"), (~stable, "--")):
            ax.plot(np.where(shown & part, load, np.nan), error, style, label=label, **kwargs)
            label = None
        if max_load is not None:
            ax.set_xlim(0, max_load)
        ax.set(
            xlabel="unlabelled rows per feature",
            ylabel="error on rows with a margin",
            ylim=(0, 0.52),
        )
        return ax


class PhaseDiagramDisplay:
    """Phases in the plane of margin and load.

    Parameters
    ----------
    diagram : Sweep
        From `phase_diagram`.

    Notes
    -----
    See `phase_diagram`.
    """

    def __init__(self, diagram: Sweep) -> None:
        self.diagram = diagram

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the phases as colours.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Passed to ``Axes.pcolormesh``.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        ax = _axes(ax)
        axes = self.diagram.axes
        kwargs.setdefault("cmap", "Blues")
        mesh = ax.pcolormesh(
            axes["kappa"], axes["alpha_u"], self.diagram["phase"].T, vmin=0, vmax=3.6, **kwargs
        )
        bar = ax.figure.colorbar(mesh, ax=ax, ticks=[0, 1, 2, 3])
        bar.ax.set_yticklabels(["undetectable", "reachable", "metastable", "hard"])
        ax.set(xlabel="margin", ylabel="unlabelled rows per feature", yscale="log")
        return ax
