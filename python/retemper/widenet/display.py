"""Pictures of transfer between networks of finite width: theory as lines, networks as dots."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from retemper._plot import BLACK, BLUE, GREEN, LINES, ORANGE, VERMILION, new_axes
from retemper._validation import FloatArray, check_choice
from retemper.widenet._simulate import WideNetSimulation, simulate
from retemper.widenet.path import GammaPath, gamma_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["GammaPathDisplay"]

_STYLES: dict[str, tuple[str, str, Any]] = {
    "test_error": ("test error", BLUE, LINES[0]),
    "loo": ("leave-one-out", ORANGE, LINES[2]),
    "bias": ("bias", BLACK, LINES[3]),
    "thermal": ("thermal variance", GREEN, LINES[4]),
    "quenched": ("quenched variance", VERMILION, LINES[2]),
    "Q_s": (r"$Q_s$", BLACK, LINES[3]),
    "Q_t": (r"$Q_t$", BLUE, LINES[0]),
    "Q_tt": (r"$Q_{tt}$", GREEN, LINES[2]),
    "Q_st": (r"$Q_{st}$", VERMILION, LINES[4]),
}
_NEED_TEST_DATA = ("test_error", "bias", "thermal", "quenched")


class GammaPathDisplay:
    """Errors or order parameters along a grid of couplings.

    Parameters
    ----------
    path : GammaPath
        What is drawn as lines; the control is dashed.
    sampled : sequence of WideNetSimulation, default=()
        Networks drawn as dots with two standard errors.
    quantities : sequence of str or None, default=None
        Errors or order parameters of `WideNetTheory`; None takes ``loo``, and before it
        ``test_error`` where there are test data.
    label : str, default=""
        Put before the names in the legend.
    color : str or None, default=None
        One colour for everything, in place of one for each quantity.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        Its figure.

    Raises
    ------
    ValueError
        If there is no such quantity, or test errors are asked for without test data.

    See Also
    --------
    gamma_path

    References
    ----------
    .. [1] The axes are those of figure 1 of A. Ingrosso et al., Phys. Rev. Lett. 134 (2025)
       177301, in words; its values could not be read.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import GammaPathDisplay, WideNetModel
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(60, 90)), rng.normal(size=90) / 90**0.5
    >>> data = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> display = GammaPathDisplay.from_model(WideNetModel(50), *data).plot()
    >>> display.ax_.get_xlabel()
    'coupling'
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        path: GammaPath,
        sampled: Sequence[WideNetSimulation] = (),
        *,
        quantities: Sequence[str] | None = None,
        label: str = "",
        color: str | None = None,
    ) -> None:
        has_test = path.theory[0].test_error is not None
        names = tuple(quantities or (("test_error", "loo") if has_test else ("loo",)))
        for name in names:
            check_choice(name, "quantities", tuple(_STYLES))
            if name in _NEED_TEST_DATA and not has_test:
                raise ValueError(f"{name!r} needs test data: pass test to gamma_path")
        self.path = path
        self.sampled = tuple(sampled)
        self.quantities = names
        self.label = label
        self.color = color

    @classmethod
    def from_model(
        cls,
        model: Any,
        target: Any,
        source: Any = None,
        test: Any = None,
        *,
        gammas: Iterable[float] | None = None,
        sample_gammas: Iterable[float] = (),
        quantities: Sequence[str] | None = None,
        label: str = "",
        color: str | None = None,
        **options: Any,
    ) -> Self:
        """Solve the path, and sample networks at some couplings.

        Parameters
        ----------
        model, target, source, test, gammas
            As in `gamma_path`.
        sample_gammas : iterable of float, default=()
            Couplings at which networks are sampled.
        quantities, label, color
            As of the class.
        **options : dict
            Passed to `simulate`.

        Returns
        -------
        GammaPathDisplay
            Ready to be drawn.
        """
        path = gamma_path(model, target, source, test, gammas=gammas)
        sampled = [
            simulate(dataclasses.replace(model, gamma=g), target, source, test, **options)
            for g in sample_gammas
        ]
        return cls(path, sampled, quantities=quantities, label=label, color=color)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw against the coupling; 0 and infinity stand at the ends of a logarithmic axis.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        GammaPathDisplay
            Itself.
        """
        axes = new_axes(ax)
        grid, control = self.path.gamma, self.path.control
        x = _positions(grid, grid)
        where = np.array([s.model.gamma for s in self.sampled])
        for name in self.quantities:
            words, own, line = _STYLES[name]
            shade = own if self.color is None else self.color
            text = f"{self.label} {words}".strip()
            axes.plot(x, self.path[name], ls=line, color=shade, label=text)
            if control is not None and name in ("test_error", "loo"):
                said = None if self.label or name != self.quantities[0] else "with a random anchor"
                axes.plot(x, control[name], "--", color=shade, lw=1, alpha=0.6, label=said)
            if where.size and name != "loo":
                at = np.interp(_positions(where, grid), x, x)
                values = [getattr(s, name) for s in self.sampled]
                bars = [2 * s.stderr[name] for s in self.sampled]
                axes.errorbar(at, values, bars, fmt="o", ms=4, color=shade, capsize=2)
        axes.set_xticks(x, ["∞" if np.isinf(g) else f"{g:g}" for g in grid])
        axes.set_xlabel("coupling")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        self.ax_, self.figure_ = axes, axes.figure
        return self


def _positions(gamma: FloatArray, grid: FloatArray) -> FloatArray:
    """Logarithms of couplings, with 0 and infinity half a decade beyond the others of the grid."""
    inner = grid[(grid > 0) & np.isfinite(grid)]
    low, high = (inner.min(), inner.max()) if inner.size else (1.0, 1.0)
    with np.errstate(divide="ignore"):
        out = np.log10(gamma)
    out[gamma == 0] = np.log10(low) - 0.5
    out[np.isinf(gamma)] = np.log10(high) + 0.5
    return out
