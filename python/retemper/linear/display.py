"""Pictures of linear transfer: theory as lines and areas, simulation as dots with error bars.

Each display is made by a ``from_*`` class method, which computes, and drawn by ``plot``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._plot import BLACK, BLUE, CYCLE, GREEN, LINES, SKY, VERMILION, new_axes
from retemper._random import Seed, generator
from retemper._validation import (
    LARGEST,
    FloatArray,
    as_float_array,
    as_items,
    check_integer,
    check_real,
    check_shape,
)
from retemper.linear._simulate import simulate
from retemper.linear.model import LinearModel
from retemper.linear.theory import curve, solve
from retemper.linear.transfer import transfer_boundary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DepthDisplay",
    "DepthSetting",
    "RiskCurveDisplay",
    "SimulatedGains",
    "TransferPhaseDisplay",
]

_RISKS = {
    "risk": ("fine-tuned", BLUE, "-", "o"),
    "risk_scratch": ("from scratch", VERMILION, "--", "s"),
    "risk_optimal": ("fine-tuned, best scale", GREEN, "-.", "D"),
    "risk_zero_shot": ("source as it is", BLACK, ":", "^"),
}


def _integers(values: Iterable[Any], name: str, *, low: int) -> list[int]:
    items = as_items(values, name)
    found = [check_integer(v, f"{name}[{i}]", low=low) for i, v in enumerate(items)]
    if not found:
        raise ValueError(f"{name} must not be empty")
    return found


def _depths(values: Iterable[Any], name: str) -> list[float]:
    items = as_items(values, name)
    found = [math.inf if v == math.inf else check_integer(v, name, low=1) for v in items]
    if not found:
        raise ValueError(f"{name} must not be empty")
    return found


def _depth_label(depth: float) -> str:
    return "∞" if math.isinf(depth) else f"{depth:g}"


@dataclasses.dataclass(eq=False)
class RiskCurveDisplay:
    """Risk against the number of target samples.

    Parameters
    ----------
    model : LinearModel
        The problem; its own ``n_samples`` is not used.
    n_samples : ndarray of int, shape (n_points,)
        Sample sizes of the theory lines.
    theory : dict of str to ndarray of shape (n_points,)
        ``risk``, ``risk_scratch``, ``risk_optimal`` and ``risk_zero_shot``.
    n_samples_simulated : ndarray of int, shape (n_dots,)
        Sample sizes of the simulation dots.
    simulation, stderr : dict of str to ndarray of shape (n_dots,)
        Means over repeats and their standard errors, same names.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    curve, solve

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, RiskCurveDisplay
    >>> model = LinearModel(10, np.ones(50), source_coef=0.5 * np.ones(50), noise=1.0)
    >>> display = RiskCurveDisplay.from_model(model, [10, 20, 40], n_repeats=2)
    >>> sorted(display.theory)
    ['risk', 'risk_optimal', 'risk_scratch', 'risk_zero_shot']
    """

    model: LinearModel
    n_samples: NDArray[np.int64]
    theory: dict[str, FloatArray]
    n_samples_simulated: NDArray[np.int64]
    simulation: dict[str, FloatArray]
    stderr: dict[str, FloatArray]
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_model(
        cls,
        model: LinearModel,
        n_samples: Iterable[int],
        *,
        n_samples_simulated: Iterable[int] | None = None,
        n_repeats: int = 20,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> RiskCurveDisplay:
        """Solve along ``n_samples`` and simulate at some of them.

        Parameters
        ----------
        model : LinearModel
            The problem.
        n_samples : iterable of int
            Sample sizes for the theory.
        n_samples_simulated : iterable of int, optional
            Sample sizes to simulate; by default about twelve of ``n_samples``. Empty: none.
        n_repeats : int, default=20
            Repeats per dot.
        random_state : None, int, SeedSequence, Generator or RandomState, default=0
            Seed of the simulations.
        n_jobs : int or None, default=None
            Threads of the simulations.

        Returns
        -------
        RiskCurveDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            As `curve` and `simulate`.
        """
        grid = _integers(n_samples, "n_samples", low=0)
        if n_samples_simulated is None:
            sizes = grid[:: max(1, len(grid) // 12)]
        else:
            sizes = [
                check_integer(v, f"n_samples_simulated[{i}]", low=0)
                for i, v in enumerate(as_items(n_samples_simulated, "n_samples_simulated"))
            ]
        sweep = curve(model, {"n_samples": grid}, quantities=list(_RISKS), on_failure="ignore")
        rng = generator(random_state)
        runs = [
            simulate(
                dataclasses.replace(model, n_samples=size),
                n_repeats=n_repeats,
                random_state=rng,
                n_jobs=n_jobs,
            )
            for size in sizes
        ]
        return cls(
            model,
            np.array(grid),
            {name: sweep[name] for name in _RISKS},
            np.array(sizes, dtype=np.int64),
            {name: np.array([getattr(run, name) for run in runs]) for name in _RISKS},
            {name: np.array([run.stderr[name] for run in runs]) for name in _RISKS},
        )

    def plot(self, *, ax: Axes | None = None, names: Sequence[str] | None = None) -> Self:
        """Draw lines for the theory and dots for the simulation.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; a new figure by default.
        names : sequence of str, optional
            Which of the risks; all that apply by default.

        Returns
        -------
        RiskCurveDisplay
            Itself.

        Raises
        ------
        ValueError
            If a name is not a risk.
        """
        ax = new_axes(ax, (6.0, 4.2))
        if names is None:
            names = list(_RISKS) if self.model.source_kind != "none" else ["risk"]
        for name in names:
            if name not in _RISKS:
                raise ValueError(f"names must be among {sorted(_RISKS)}, got {name!r}")
            label, colour, line, marker = _RISKS[name]
            finite = np.where(np.isfinite(self.theory[name]), self.theory[name], np.nan)
            ax.plot(self.n_samples, finite, line, color=colour, lw=1.8, label=label)
            if self.n_samples_simulated.size:
                ax.errorbar(
                    self.n_samples_simulated,
                    self.simulation[name],
                    self.stderr[name],
                    fmt=marker,
                    ms=4.5,
                    mfc="white",
                    color=colour,
                    capsize=2,
                    lw=1.0,
                )
        shown = np.concatenate([self.theory[name] for name in names])
        shown = shown[np.isfinite(shown) & (shown > 0.0)]
        if shown.size:
            ax.set_yscale("log")
            low, high = shown.min(), np.quantile(shown, 0.98)
            ax.set_ylim(0.6 * low, 2.0 * high)
        ax.set(xlabel="target samples n", ylabel="excess risk")
        ax.grid(alpha=0.25, which="both", lw=0.5)
        ax.legend(frameon=False, title="lines: theory, dots: simulation")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


class DepthSetting(NamedTuple):
    """A case of `DepthDisplay`.

    Derived here (`derivations/linear#where-fine-tuning-and-scratch-are-equal`), after Shachaf et
    al. (2021).

    Parameters
    ----------
    epsilon : float
        Part of the target outside the direction of the source.
    target_scale : float
        Part of the target along the unit source.
    source_scale : float, default=1.0
        Scale of the source the network starts from, positive.

    See Also
    --------
    DepthDisplay

    Examples
    --------
    >>> from retemper.linear import DepthSetting
    >>> DepthSetting(epsilon=0.5, target_scale=2.0).source_scale
    1.0
    """

    epsilon: float
    target_scale: float
    source_scale: float = 1.0


@dataclasses.dataclass(eq=False)
class DepthDisplay:
    r"""Risk against depth where the source has the wrong scale, the wrong direction, or both.

    Inputs are isotropic, there is no noise, and
    :math:`\theta_T = a\,\theta_S + \epsilon\,e_\perp` with unit :math:`\theta_S`,
    :math:`e_\perp`; the network starts from :math:`s\,\theta_S`.

    Parameters
    ----------
    depth : tuple of float, length n_depths
        Depths, possibly infinite.
    settings : tuple of DepthSetting, length n_settings
        The cases: :math:`\epsilon`, a and s.
    theory : ndarray of shape (n_settings, n_depths)
        Predicted risk.
    simulation, stderr : ndarray of shape (n_settings, n_depths)
        Mean over repeats and its standard error; empty without simulation.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    DepthSetting, deep_scale

    Examples
    --------
    >>> from retemper.linear import DepthDisplay, DepthSetting
    >>> display = DepthDisplay.from_settings([DepthSetting(0.5, 2.0)], depth=(1, 2, 7))
    >>> display.theory.round(3).tolist()
    [[1.125, 0.931, 0.552]]
    """

    depth: tuple[float, ...]
    settings: tuple[DepthSetting, ...]
    theory: FloatArray
    simulation: FloatArray
    stderr: FloatArray
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_settings(
        cls,
        settings: Iterable[DepthSetting | tuple[float, float, float]] = (
            (0.0, 0.5, 1.0),
            (0.0, 2.0, 1.0),
            (0.5, 0.5, 1.0),
            (0.5, 1.0, 1.0),
            (0.5, 2.0, 1.0),
        ),
        *,
        depth: Iterable[float] = (1, 2, 3, 5, 7, 20, math.inf),
        n_samples: int = 50,
        n_features: int = 500,
        n_repeats: int = 20,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> DepthDisplay:
        """Solve, and simulate, every case at every depth.

        Parameters
        ----------
        settings : iterable of DepthSetting or (float, float, float)
            Part of the target outside the source's direction, part along it, scale of the source
            the network starts from (positive).
        depth : iterable of int or inf
            Depths.
        n_samples, n_features : int, default=50 and 500
            Target samples and dimension.
        n_repeats : int, default=20
            Repeats of the simulation; 0 leaves it out.
        random_state : None, int, SeedSequence, Generator or RandomState, default=0
            Seed of the simulations. All depths of a case see the same data.
        n_jobs : int or None, default=None
            Threads of the simulations.

        Returns
        -------
        DepthDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            If an argument is outside its domain.
        """
        layers = _depths(depth, "depth")
        n_repeats = check_integer(n_repeats, "n_repeats", low=0)
        n_features = check_integer(n_features, "n_features", low=2)
        cases = []
        for j, given in enumerate(as_items(settings, "settings")):
            row = as_float_array(given, f"settings[{j}]")
            check_shape(row, (3,), f"settings[{j}]")
            check_real(row[2], f"settings[{j}][2]", low=0.0, open_low=True)
            cases.append(DepthSetting(*row.tolist()))
        shape = (len(cases), len(layers))
        theory = np.empty(shape)
        simulation, stderr = (np.empty(shape if n_repeats else (0, 0)) for _ in range(2))
        rng = generator(random_state)
        source, other = np.eye(2, n_features)
        for i, case in enumerate(cases):
            seed = int(rng.integers(2**63))
            for j, layer in enumerate(layers):
                target = case.target_scale * source + case.epsilon * other
                model = LinearModel(
                    n_samples, target, source_coef=case.source_scale * source, depth=layer
                )
                theory[i, j] = solve(model).risk
                if n_repeats:
                    run = simulate(model, n_repeats=n_repeats, random_state=seed, n_jobs=n_jobs)
                    simulation[i, j], stderr[i, j] = run.risk, run.stderr["risk"]
        return cls(tuple(layers), tuple(cases), theory, simulation, stderr)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw one curve for each case over the depths, in equal steps.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        DepthDisplay
            Itself.
        """
        ax = new_axes(ax, (6.4, 4.4))
        place = np.arange(len(self.depth))
        for i, (epsilon, a, s) in enumerate(self.settings):
            colour = CYCLE[i % len(CYCLE)]
            label = f"ε = {epsilon:g}, a = {a:g}" + (f", s = {s:g}" if s != 1.0 else "")
            line = LINES[i % len(LINES)]
            ax.plot(place, self.theory[i], color=colour, ls=line, lw=1.8, label=label)
            if self.simulation.size:
                ax.errorbar(
                    place,
                    self.simulation[i],
                    self.stderr[i],
                    fmt="o",
                    ms=5,
                    mfc="white",
                    color=colour,
                    capsize=2,
                    lw=1.0,
                )
        positive = self.theory[self.theory > 1e-12]
        linear = 10.0 ** math.floor(math.log10(positive.min())) if positive.size else 1.0
        ax.set_yscale("symlog", linthresh=linear)  # a perfect repair has risk 0
        ax.set_ylim(bottom=0.0)
        ax.set_xticks(place, [_depth_label(depth) for depth in self.depth])
        ax.set(
            xlabel="depth",
            ylabel="excess risk",
        )
        ax.grid(alpha=0.25, which="both", lw=0.5)
        ax.legend(
            frameon=False,
            fontsize="small",
            title="target = a source\n+ ε something new",
            title_fontsize="small",
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
        )
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


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
        depth = _depths([depth], "depth")[0]
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
        gain = np.array([cls._gain(d, n.tolist(), a, noise, depth) for a in angles])

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
                expected = cls._gain(n_features, [m], a, noise, depth)[0]
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
        cls, d: int, n: Sequence[int], angle: float, noise: float, depth: float
    ) -> FloatArray:
        sweep = curve(
            cls._model(d, n[0], angle, noise, depth),
            {"n_samples": n},
            quantities=["risk", "risk_scratch"],
        )
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
