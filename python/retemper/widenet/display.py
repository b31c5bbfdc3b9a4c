"""Pictures of transfer between networks of finite width: theory as lines, networks as dots."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from retemper._validation import FloatArray, check_choice
from retemper.widenet._simulate import WideNetSimulation
from retemper.widenet.theory import GammaPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GammaPathDisplay"]

# Okabe and Ito's palette
_BLUE, _VERMILION, _GREEN, _BLACK, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#000000", "#E69F00"
_STYLES: dict[str, tuple[str, str]] = {
    "test_error": ("test error", _BLUE),
    "loo": ("leave-one-out", _ORANGE),
    "bias": ("bias", _BLACK),
    "thermal": ("thermal variance", _GREEN),
    "quenched": ("quenched variance", _VERMILION),
    "Q_s": (r"$Q_s$", _BLACK),
    "Q_t": (r"$Q_t$", _BLUE),
    "Q_tt": (r"$Q_{tt}$", _GREEN),
    "Q_st": (r"$Q_{st}$", _VERMILION),
}


@dataclasses.dataclass
class GammaPathDisplay:
    """Errors or order parameters along a grid of couplings.

    Parameters
    ----------
    path : GammaPath
        What is drawn as lines; the control is dashed.
    sampled : tuple of WideNetSimulation, default=()
        Networks drawn as dots with two standard errors.

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
    >>> display = GammaPathDisplay.from_model(WideNetModel(50), *data)
    >>> ax = display.plot(["loo"])
    >>> ax.get_xlabel()
    'coupling'
    """

    path: GammaPath
    sampled: tuple[WideNetSimulation, ...] = ()

    @classmethod
    def from_model(
        cls,
        model: Any,
        target: Any,
        source: Any,
        gammas: Iterable[float] | None = None,
        test: Any = None,
        *,
        sample_gammas: Iterable[float] = (),
        **options: Any,
    ) -> Self:
        """Solve the path, and sample networks at some couplings.

        Parameters
        ----------
        model, target, source, gammas, test
            As in `gamma_path`.
        sample_gammas : iterable of float, default=()
            Couplings at which networks are sampled.
        **options : dict
            Passed to `simulate`.

        Returns
        -------
        GammaPathDisplay
            Ready to be drawn.
        """
        from retemper.widenet._simulate import simulate
        from retemper.widenet.theory import gamma_path

        path = gamma_path(model, target, source, gammas, test)
        sampled = tuple(
            simulate(dataclasses.replace(model, gamma=g), target, source, test, **options)
            for g in sample_gammas
        )
        return cls(path, sampled)

    def plot(
        self,
        names: Sequence[str] = ("test_error", "loo"),
        *,
        ax: Axes | None = None,
        label: str = "",
        color: str | None = None,
    ) -> Axes:
        """Draw some quantities against the coupling.

        Parameters
        ----------
        names : sequence of str, default=("test_error", "loo")
            Errors or order parameters of `WideNetTheory`.
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.
        label : str, default=""
            Put before the names in the legend.
        color : str or None, default=None
            One colour for everything, in place of one for each quantity.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on. Couplings 0 and infinity stand at the ends of a logarithmic axis.

        Raises
        ------
        ValueError
            If there is no such quantity, or test errors are asked for without test data.
        """
        for name in names:
            check_choice(name, "names", tuple(_STYLES))
            if self.path.theory[0].as_dict()[name] is None:
                raise ValueError(f"{name!r} needs test data: pass test to gamma_path")
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
        x, ticks = _positions(self.path.gamma)
        for name in names:
            words, own = _STYLES[name]
            shade = color or own
            ax.plot(x, self.path[name], "-", color=shade, label=f"{label} {words}".strip())
            control = self.path.control
            if control is not None and name in ("test_error", "loo"):
                ax.plot(x, control[name], "--", color=shade, lw=1, alpha=0.6)
            where = np.array([s.model.gamma for s in self.sampled])
            if where.size and name != "loo":
                at = np.interp(_log(where, self.path.gamma), _log(self.path.gamma), x)
                values = [getattr(s, name) for s in self.sampled]
                bars = [2 * s.stderr[name] for s in self.sampled]
                ax.errorbar(at, values, bars, fmt="o", ms=4, color=shade, capsize=2)
        ax.set_xticks(x, ticks)
        ax.set_xlabel("coupling")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
        return ax


def _log(gamma: FloatArray, grid: FloatArray | None = None) -> FloatArray:
    """Positions of couplings: logarithms, with 0 and infinity half a decade beyond the others."""
    known = gamma if grid is None else grid
    inner = known[(known > 0) & np.isfinite(known)]
    low, high = (inner.min(), inner.max()) if inner.size else (1.0, 1.0)
    with np.errstate(divide="ignore"):
        out = np.log10(gamma)
    out[gamma == 0] = np.log10(low) - 0.5
    out[np.isinf(gamma)] = np.log10(high) + 0.5
    return out


def _positions(gamma: FloatArray) -> tuple[FloatArray, list[str]]:
    return _log(gamma), ["∞" if np.isinf(g) else f"{g:g}" for g in gamma]
