"""Pictures of the margin perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from retemper._plot import BLUE, new_axes
from retemper._results import Sweep
from retemper.perceptron.errors import generalization_error
from retemper.perceptron.model import PerceptronModel
from retemper.perceptron.thresholds import ParametricCurve, parametric_curve, phase_diagram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PhaseDiagramDisplay", "TransitionDisplay"]


class TransitionDisplay:
    """Error against the number of unlabelled rows, with every branch.

    Parameters
    ----------
    model : PerceptronModel
        A matched, spherical model; its ``alpha_u`` is not used.
    curve : ParametricCurve
        From `parametric_curve`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    parametric_curve, transitions

    Notes
    -----
    See `parametric_curve`.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, TransitionDisplay
    >>> display = TransitionDisplay.from_model(PerceptronModel(0.5, 4.0))
    >>> display.plot().ax_.get_xlabel() != ""
    True
    """

    ax_: Axes
    figure_: Figure

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

    def plot(self, *, ax: Axes | None = None, max_load: float | None = None, **kwargs: Any) -> Self:
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
        TransitionDisplay
            Itself.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure  # type: ignore[assignment]
        load, stable = self.curve.alpha_u, self.curve.replicon < 1
        error = generalization_error(self.curve.cosine, self.model.kappa, sigma=self.model.sigma)
        shown = load >= 0
        kwargs.setdefault("color", BLUE)
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
        return self


class PhaseDiagramDisplay:
    """Phases in the plane of margin and load.

    Parameters
    ----------
    diagram : Sweep
        From `phase_diagram`.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    phase_diagram

    Notes
    -----
    See `phase_diagram`.

    Examples
    --------
    >>> from retemper.perceptron import PhaseDiagramDisplay, phase_diagram
    >>> diagram = phase_diagram([0.3, 0.5, 1.0], [1.0, 4.0, 16.0])
    >>> PhaseDiagramDisplay(diagram).plot().ax_.get_xlabel() != ""
    True
    """

    ax_: Axes
    figure_: Figure

    def __init__(self, diagram: Sweep) -> None:
        self.diagram = diagram

    @classmethod
    def from_grid(cls, kappa: ArrayLike, alpha_u: ArrayLike, **options: Any) -> Self:
        """Compute the phases on a grid.

        Parameters
        ----------
        kappa : array_like of shape (n_kappa,)
            Margins.
        alpha_u : array_like of shape (n_alpha,)
            Unlabelled rows per feature.
        **options : dict
            Further arguments of `phase_diagram`.

        Returns
        -------
        PhaseDiagramDisplay
            The display.
        """
        return cls(phase_diagram(kappa, alpha_u, **options))

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the phases as colours.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Passed to ``Axes.pcolormesh``.

        Returns
        -------
        PhaseDiagramDisplay
            Itself.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure  # type: ignore[assignment]
        axes = self.diagram.axes
        kwargs.setdefault("cmap", "Blues")
        mesh = ax.pcolormesh(
            axes["kappa"], axes["alpha_u"], self.diagram["phase"].T, vmin=0, vmax=3.6, **kwargs
        )
        bar = ax.figure.colorbar(mesh, ax=ax, ticks=[0, 1, 2, 3])
        bar.ax.set_yticklabels(["undetectable", "reachable", "metastable", "hard"])
        ax.set(xlabel="margin", ylabel="unlabelled rows per feature", yscale="log")
        return self
