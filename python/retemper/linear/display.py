"""Picture of linear transfer over two axes: gain as colour, simulations as dots.

It is made by a ``from_*`` class method, which computes, and drawn by ``plot``. Pictures over one
axis are those of `retemper.linear.curve`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._domains import check_parameter
from retemper._plot import BLACK, BLUE, GREEN, LINES, SKY, VERMILION, new_axes
from retemper._random import Seed, generator
from retemper._validation import (
    LARGEST,
    FloatArray,
    as_float_array,
    as_items,
    check_integer,
    check_real,
)
from retemper.linear._simulate import simulate
from retemper.linear.model import LinearModel
from retemper.linear.theory import curve
from retemper.linear.transfer import transfer_boundary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SimulatedGains", "TransferPhaseDisplay"]


def _depth_label(depth: float) -> str:
    return "∞" if math.isinf(depth) else f"{depth:g}"


@dataclasses.dataclass(frozen=True)
class SimulatedGains:
    """Gains of simulated points of a `TransferPhaseDisplay`, each of shape (n_points,).

    Derived here (`derivations/linear#deep-linear-networks`), after Shachaf et al. (2021).

    Parameters
    ----------
    alpha, angle : ndarray
        Samples per feature, and angle between the teachers in radians.
    gain, gain_stderr : ndarray
        Mean over repeats of the gain, and its standard error.
    predicted_gain : ndarray
        Gain by the theory.

    See Also
    --------
    TransferPhaseDisplay

    Examples
    --------
    >>> from retemper.linear import TransferPhaseDisplay
    >>> display = TransferPhaseDisplay.from_grid(simulated=(2, 2), n_features=20, n_repeats=2)
    >>> display.points.gain.shape == display.points.predicted_gain.shape
    True
    """

    alpha: FloatArray
    angle: FloatArray
    gain: FloatArray
    gain_stderr: FloatArray
    predicted_gain: FloatArray


@dataclasses.dataclass(eq=False)
class TransferPhaseDisplay:
    """Where fine-tuning beats training from scratch: samples against the angle between teachers.

    Inputs are isotropic and both teachers have unit norm.

    Parameters
    ----------
    alpha : ndarray of shape (n_alpha,)
        Samples per feature.
    angle : ndarray of shape (n_angles,)
        Angle between the teachers, radians.
    gain : ndarray of shape (n_angles, n_alpha)
        Theory: risk from scratch minus risk of fine-tuning, at ``noise`` and ``depth``.
    noise, depth : float
        Setting of the colour map.
    boundaries : dict of (noise, depth) to ndarray of shape (n_lines,)
        Angle of zero gain at ``boundary_alpha``; where fine-tuning never helps, NaN, or 0 at the
        end of the line.
    boundary_alpha : ndarray of shape (n_lines,)
        Samples per feature of the boundaries, in (0, 1).
    points : SimulatedGains
        The simulations.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    transfer_boundary, SimulatedGains

    Examples
    --------
    >>> from retemper.linear import TransferPhaseDisplay
    >>> display = TransferPhaseDisplay.from_grid(simulated=(2, 2), n_features=20, n_repeats=2)
    >>> display.gain.ndim, len(display.boundaries)
    (2, 4)
    """

    alpha: FloatArray
    angle: FloatArray
    gain: FloatArray
    noise: float
    depth: float
    boundaries: dict[tuple[float, float], FloatArray]
    boundary_alpha: FloatArray
    points: SimulatedGains
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_grid(
        cls,
        alpha: ArrayLike | None = None,
        angle: ArrayLike | None = None,
        *,
        noise: float = 0.2,
        depth: float = 2,
        boundaries: Iterable[tuple[float, float]] = (
            (0.0, 2),
            (0.2, 1),
            (0.2, 2),
            (0.2, math.inf),
        ),
        simulated: tuple[int, int] = (9, 9),
        n_features: int = 200,
        n_repeats: int = 10,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> TransferPhaseDisplay:
        """Solve on a grid and simulate on a coarser one.

        Parameters
        ----------
        alpha : array_like of shape (n_alpha,), optional
            Samples per feature, positive; 0.02 to 1.2 by default. Rounded to whole samples.
        angle : array_like of shape (n_angles,), optional
            Angles in radians within [0, pi]; 0 to pi/2 by default.
        noise, depth : float
            Label noise and depth of the colour map and of the simulations.
        boundaries : iterable of (noise, depth)
            Settings of the boundary lines.
        simulated : (int, int), default=(9, 9)
            Number of simulated values of alpha and of the angle; (0, 0) for none.
        n_features, n_repeats : int, default=200 and 10
            Dimension and repeats of the simulations.
        random_state : None, int, SeedSequence, Generator or RandomState, default=0
            Seed of the simulations.
        n_jobs : int or None, default=None
            Threads of the simulations.

        Returns
        -------
        TransferPhaseDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        noise = check_real(noise, "noise", low=0.0, high=LARGEST)
        depth = check_parameter(depth, "depth")
        n_features = check_integer(n_features, "n_features", low=2)
        loads = np.linspace(0.02, 1.2, 60) if alpha is None else as_float_array(alpha, "alpha")
        angles = (
            np.linspace(0.0, np.pi / 2, 46) if angle is None else as_float_array(angle, "angle")
        )
        if not loads.size or loads.min() <= 0.0:
            raise ValueError("alpha must hold positive values")
        if not angles.size or angles.min() < 0.0 or angles.max() > np.pi:
            raise ValueError("angle must hold values in [0, pi]")
        d = 1000  # the theory is a limit: only n / d counts
        n = np.maximum(1, np.rint(loads * d)).astype(int)
        n[n == d] -= 1  # the risk itself is infinite at n = d with noise
        gain = cls._gain(d, n.tolist(), angles.tolist(), noise, depth)

        fine = np.append(np.linspace(0.005, 0.99, 198), 1.0 - np.logspace(-2.05, -5.0, 40))
        lines = {}
        for sigma, layer in boundaries:
            cosine = np.asarray(transfer_boundary(fine, noise=sigma, depth=layer))
            never = np.append(cosine[0] >= 1.0, cosine[:-1] >= 1.0)  # the line ends at angle 0
            lines[sigma, layer] = np.where(never, np.nan, np.arccos(np.minimum(cosine, 1.0)))

        points = []
        rng = generator(random_state)
        sizes = [check_integer(k, "simulated", low=0) for k in as_items(simulated, "simulated")]
        if len(sizes) != 2:
            raise ValueError(f"simulated must be two numbers, got {simulated!r:.60}")
        columns, rows = sizes
        for load in np.linspace(loads.min(), loads.max(), 2 * columns + 1)[1::2]:
            m = max(1, round(load * n_features))
            if m == n_features:
                m -= 1
            for a in np.linspace(angles.min(), angles.max(), 2 * rows + 1)[1::2]:
                run = simulate(
                    cls._model(n_features, m, a, noise, depth),
                    n_repeats=n_repeats,
                    random_state=rng,
                    n_jobs=n_jobs,
                )
                each = run.samples["risk_scratch"] - run.samples["risk"]
                error = each.std(ddof=1) / math.sqrt(n_repeats)
                expected = cls._gain(n_features, [m], [a], noise, depth).item()
                points.append((m / n_features, a, each.mean(), error, expected))
        return cls(
            n / d,
            angles,
            gain,
            noise,
            depth,
            lines,
            fine,
            SimulatedGains(*np.array(points).reshape(-1, 5).T),
        )

    @staticmethod
    def _model(d: int, n: int, angle: float, noise: float, depth: float) -> LinearModel:
        target, other = np.eye(2, d)
        source = math.cos(angle) * target + math.sin(angle) * other
        return LinearModel(n, target, source_coef=source, noise=noise, depth=depth)

    @classmethod
    def _gain(
        cls, d: int, n: Sequence[int], angles: Sequence[float], noise: float, depth: float
    ) -> FloatArray:
        models = [cls._model(d, n[0], a, noise, depth) for a in angles]
        axes = {"source_coef": [m.source_coef for m in models], "n_samples": n}
        sweep = curve(models[0], axes, quantities=["risk", "risk_scratch"])
        gain: FloatArray = sweep["risk_scratch"] - sweep["risk"]
        return gain

    def agreement(self) -> NDArray[np.str_]:
        """Verdict of each simulated point on the sign of the theory's gain.

        Returns
        -------
        ndarray of str, shape (n_points,)
            ``"agrees"``, ``"disagrees"``, or ``"undecided"`` where the gain is within two standard
            errors of zero.
        """
        points = self.points
        mean, error, expected = points.gain, points.gain_stderr, points.predicted_gain
        same = np.where(mean * expected > 0.0, "agrees", "disagrees")
        verdict: NDArray[np.str_] = np.where(np.abs(mean) <= 2.0 * error + 1e-12, "undecided", same)
        return verdict

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the gain as colour, the boundaries as lines, the simulations as markers.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        TransferPhaseDisplay
            Itself.
        """
        ax = new_axes(ax, (7.0, 4.8))
        degrees = np.degrees(self.angle)
        size = float(np.abs(self.gain).max()) or 1.0
        mesh = ax.pcolormesh(
            self.alpha,
            degrees,
            self.gain,
            cmap="PuOr_r",
            vmin=-size,
            vmax=size,
            shading="gouraud",
            rasterized=True,
        )
        ax.figure.colorbar(
            mesh,
            ax=ax,
            label=f"risk from scratch − fine-tuned\n(σ = {self.noise:g}, depth "
            f"{_depth_label(self.depth)})",
        )
        layers = sorted({layer for _, layer in self.boundaries})
        colours = (BLACK, GREEN, BLUE, VERMILION, SKY)
        for k, ((sigma, layer), angle) in enumerate(self.boundaries.items()):
            ax.plot(
                self.boundary_alpha,
                np.degrees(angle),
                ls=LINES[k % len(LINES)],
                color=colours[layers.index(layer) % len(colours)],
                lw=1.8,
                label=f"boundary, σ = {sigma:g}, depth {_depth_label(layer)}",
            )
        if self.points.alpha.size:
            self._markers(ax)
        if self.alpha.max() > 1.05:
            ax.text(
                0.5 * (1.0 + self.alpha.max()),
                degrees.mean(),
                "n > d: the source is forgotten",
                rotation=90,
                ha="center",
                va="center",
                color="0.3",
            )
        ax.set(
            xlabel="samples per feature  n / d",
            ylabel="angle between teachers (degrees)",
            xlim=(self.alpha.min(), self.alpha.max()),
            ylim=(degrees.min(), degrees.max()),
        )
        ax.legend(
            frameon=False,
            fontsize="small",
            ncols=2,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
        )
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self

    def _markers(self, ax: Axes) -> None:
        verdict = self.agreement()
        looks: dict[str, dict[str, Any]] = {
            "agrees": {"marker": "o", "s": 22, "facecolor": "white", "edgecolor": "black"},
            "undecided": {"marker": ".", "s": 14, "color": "0.35"},
            "disagrees": {"marker": "X", "s": 46, "color": VERMILION, "edgecolor": "black"},
        }
        for name, look in looks.items():
            chosen = verdict == name
            if chosen.any():
                ax.scatter(
                    self.points.alpha[chosen],
                    np.degrees(self.points.angle[chosen]),
                    linewidth=0.8,
                    zorder=3,
                    label=f"simulation {name} ({chosen.sum()})",
                    **look,
                )
