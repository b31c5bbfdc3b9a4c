"""Pictures of diagonal networks: theory as lines and areas, simulation as dots with error bars.

Each display is made by a ``from_*`` class method, which computes, and drawn by ``plot``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._plot import (
    BLUE,
    CYCLE,
    GREEN,
    LINES,
    PURPLE,
    VERMILION,
    name_region,
    new_axes,
)
from retemper._random import Seed, generator
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_kind,
    check_shape,
)
from retemper.diagonal._simulate import simulate
from retemper.diagonal.model import DiagonalModel
from retemper.diagonal.network import pretrained_weights, reset_readout, train_network
from retemper.diagonal.penalties import l_order
from retemper.diagonal.population import learning_time
from retemper.diagonal.regimes import (
    REGIMES,
    pretraining_dependence,
    regime_label,
    regime_weights,
)
from retemper.diagonal.scales import finetune_scale
from retemper.diagonal.theory import curve
from retemper.exceptions import NumericalError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BestStartDisplay",
    "ErrorCurveDisplay",
    "LearningOrderDisplay",
    "RegimeMapDisplay",
    "RegimeTriangleDisplay",
]

#: Parameters as axes name them.
_NAMES = {
    "beta": "coefficient β",
    "source_coef": "source coefficient",
    "init_scale": "initial scale",
    "balance": "balance λ",
    "readout_scale": "read-out scale γ",
}
_OF_REGIME = dict(zip(REGIMES, (VERMILION, BLUE, GREEN, PURPLE), strict=True))


@dataclasses.dataclass
class ErrorCurveDisplay:
    """Test error against samples per feature, for several starts of fine-tuning.

    Parameters
    ----------
    alpha : ndarray of shape (n_points,)
        Samples per feature of the theory lines.
    theory : dict of str to ndarray of shape (n_points,)
        Excess test error by label.
    alpha_simulated : ndarray of shape (n_dots,)
        Samples per feature of the dots.
    simulation, stderr : dict of str to ndarray of shape (n_dots,)
        Means over experiments and their standard errors.
    null_mse : float
        Error of predicting zero.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    curve, solve

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, ErrorCurveDisplay
    >>> cases = {"reuse": {"balance": 0.9}, "select": {"balance": -0.9}}
    >>> display = ErrorCurveDisplay.from_model(DiagonalModel(0.2), [0.1, 0.2], cases)
    >>> sorted(display.theory)
    ['reuse', 'select']
    """

    alpha: FloatArray
    theory: dict[str, FloatArray]
    alpha_simulated: FloatArray
    simulation: dict[str, FloatArray]
    stderr: dict[str, FloatArray]
    null_mse: float
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_model(
        cls,
        model: DiagonalModel,
        alpha: ArrayLike,
        starts: Mapping[str, Mapping[str, Any]],
        *,
        alpha_simulated: ArrayLike = (),
        n_features: int = 1000,
        n_repeats: int = 8,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> ErrorCurveDisplay:
        """Solve along ``alpha`` and simulate at some of it.

        Parameters
        ----------
        model : DiagonalModel
            The problem; its own ``alpha`` is not used.
        alpha : array_like
            Samples per feature for the theory.
        starts : mapping of str to mapping
            Label to changed parameters, e.g. ``{"lazy": {"balance": 0.99}}``.
        alpha_simulated : array_like, default=()
            Samples per feature to simulate.
        n_features : int, default=1000
            Features of an experiment.
        n_repeats : int, default=8
            Experiments per dot.
        random_state : None, int, SeedSequence, Generator or RandomState, default=0
            Seed of the simulations.
        n_jobs : int or None, default=None
            Threads.

        Returns
        -------
        ErrorCurveDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            As `curve` and `simulate`.
        """
        check_kind(model, "model", DiagonalModel)
        check_kind(starts, "starts", Mapping)
        for label, change in starts.items():
            check_kind(change, f"starts[{label!r}]", Mapping)
        grid, dots = as_float_array(alpha, "alpha"), as_float_array(alpha_simulated, "alpha")
        rng = generator(random_state)
        theory, mean, error = {}, {}, {}
        for label, change in starts.items():
            start = dataclasses.replace(model, **change)
            theory[label] = curve(start, {"alpha": grid}, n_jobs=n_jobs)["mse"]
            runs = [
                simulate(
                    dataclasses.replace(start, alpha=a), n_features=n_features,
                    n_repeats=n_repeats, random_state=rng, n_jobs=n_jobs,
                )
                for a in dots.tolist()
            ]  # fmt: skip
            mean[label] = np.array([run.mse for run in runs])
            error[label] = np.array([run.stderr["mse"] for run in runs])
        null = sum(p.weight * p.target_second_moment() for p in model.law())
        return cls(grid, theory, dots, mean, error, float(null))

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw lines for the theory and dots for the simulation.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        ErrorCurveDisplay
            Itself.
        """
        ax = new_axes(ax, (5.6, 4.2))
        for k, (label, line) in enumerate(self.theory.items()):
            color = CYCLE[k % len(CYCLE)]
            ax.plot(self.alpha, line, color=color, ls=LINES[k % len(LINES)], label=label)
            if self.alpha_simulated.size:
                ax.errorbar(self.alpha_simulated, self.simulation[label], self.stderr[label],
                            fmt="o", ms=3.5, color=color, capsize=2, lw=1)  # fmt: skip
        ax.axhline(self.null_mse, color="0.6", lw=0.8, ls=":")
        ax.set(yscale="log", xlabel="samples per feature α", ylabel="excess test error")
        ax.legend(fontsize="small")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


@dataclasses.dataclass
class RegimeMapDisplay:
    """Order of the penalty, pre-training dependence and regime over two parameters.

    Parameters
    ----------
    x, y : ndarray
        Values along the axes.
    x_name, y_name : str
        Their parameters.
    l_order, pd : ndarray of shape (n_y, n_x)
        Order and dependence.
    regime : ndarray of str of shape (n_y, n_x)
        Labels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    regime_label, RegimeTriangleDisplay

    Examples
    --------
    >>> from retemper.diagonal import RegimeMapDisplay
    >>> display = RegimeMapDisplay.from_grid(
    ...     source_coef=[0.1, 1.0], balance=[-0.9, 0.9], beta=1.0, init_scale=0.1
    ... )
    >>> display.regime.shape
    (2, 2)
    """

    x: FloatArray
    y: FloatArray
    x_name: str
    y_name: str
    l_order: FloatArray
    pd: FloatArray
    regime: NDArray[np.str_]
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_grid(cls, **axes_and_fixed: Any) -> RegimeMapDisplay:
        """Compute over the two arguments that are arrays.

        Parameters
        ----------
        **axes_and_fixed : float or array_like
            ``beta``, ``source_coef``, ``init_scale``, ``balance`` and ``readout_scale``; two of
            them are arrays, the first along x. Missing ones are 1, 1, 1e-3, 0 and 0.

        Returns
        -------
        RegimeMapDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            If a name is unknown or not exactly two are arrays.
        """
        values: dict[str, Any] = {
            "beta": 1.0, "source_coef": 1.0, "init_scale": 1e-3, "balance": 0.0,
            "readout_scale": 0.0,
        }  # fmt: skip
        unknown = set(axes_and_fixed) - set(values)
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]!r} is not one of {sorted(values)}")
        names = [name for name, value in axes_and_fixed.items() if np.ndim(value) == 1]
        if len(names) != 2:
            raise ValueError(f"exactly two arguments must be arrays, got {names}")
        values |= axes_and_fixed
        x, y = (as_float_array(values[name], name) for name in names)
        shape = (y.size, x.size)
        order, pd, label = np.empty(shape), np.empty(shape), np.empty(shape, "<U3")
        for j, i in np.ndindex(*shape):
            at = values | {names[0]: x[i], names[1]: y[j]}
            start = (at["source_coef"], at["init_scale"], at["balance"], at["readout_scale"])
            order[j, i] = l_order(at["beta"], finetune_scale(*start))
            pd[j, i] = pretraining_dependence(at["beta"], *start)
            label[j, i] = str(regime_label(regime_weights(at["beta"], *start)))
        return cls(x, y, names[0], names[1], order, pd, label)

    def plot(self, *, ax: Axes | None = None, quantity: str = "l_order") -> Self:
        """Draw one quantity as a heat map, with the borders of the regimes.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.
        quantity : {"l_order", "pd", "sum"}, default="l_order"
            What to draw; "sum" is their sum.

        Returns
        -------
        RegimeMapDisplay
            Itself.
        """
        ax = new_axes(ax, (5.6, 4.2))
        values = self.l_order + self.pd if quantity == "sum" else getattr(self, quantity)
        low, high = (-1, 0) if quantity == "pd" else (1, 2)
        image = ax.pcolormesh(self.x, self.y, values, vmin=low, vmax=high, cmap="cividis",
                              shading="nearest", rasterized=True)  # fmt: skip
        number = np.searchsorted(np.array(REGIMES), self.regime)
        for k in range(len(REGIMES)):
            here = number == k
            if here.any() and not here.all():
                for colour, width in (("black", 1.6), ("white", 0.7)):  # seen on every shade
                    ax.contour(self.x, self.y, here, [0.5], colors=colour, linewidths=width)
        for axis, name, v in (("x", self.x_name, self.x), ("y", self.y_name, self.y)):
            wide = v.min() > 0 and v.max() / v.min() > 50
            ax.set(**{f"{axis}label": _NAMES[name], f"{axis}scale": "log" if wide else "linear"})
        for k, name in enumerate(REGIMES):
            j, i = np.nonzero(number == k)
            if j.size:
                name_region(ax, self.x[int(np.median(i))], self.y[int(np.median(j))], name)
        label = {"l_order": "order ℓ", "pd": "dependence PD", "sum": "ℓ + PD"}[quantity]
        ax.figure.colorbar(image, ax=ax, label=label)
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


@dataclasses.dataclass
class RegimeTriangleDisplay:
    """Features as points in the triangle of the regimes I, II and III.

    Parameters
    ----------
    weights : ndarray of shape (n_features, 3)
        Barycentric weights.
    size : ndarray of shape (n_features,)
        Areas of the points, relative to the largest.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    regime_weights, RegimeMapDisplay

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import RegimeTriangleDisplay, regime_weights
    >>> weights = regime_weights(np.ones(3), np.array([0.0, 0.5, 2.0]), 0.1)
    >>> RegimeTriangleDisplay(weights, np.ones(3)).plot().ax_ is not None
    True
    """

    weights: FloatArray
    size: FloatArray
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.weights = as_float_array(self.weights, "weights", ndim=2)
        self.size = as_float_array(self.size, "size")
        check_shape(self.weights, (None, 3), "weights")
        check_shape(self.size, (len(self.weights),), "size")

    @classmethod
    def from_estimator(cls, estimator: Any) -> RegimeTriangleDisplay:
        """Take the features of a fitted `DiagonalNetworkRegressor`.

        Parameters
        ----------
        estimator : DiagonalNetworkRegressor
            Fitted.

        Returns
        -------
        RegimeTriangleDisplay
            Points of the free features, as large as their coefficients.
        """
        from retemper.diagonal.estimator import DiagonalNetworkRegressor

        check_kind(estimator, "estimator", DiagonalNetworkRegressor)
        free = estimator.c_ft_ > 0
        return cls(estimator.regime_weights_[free], np.abs(estimator.coef_[free]))

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the triangle.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        RegimeTriangleDisplay
            Itself.
        """
        ax = new_axes(ax, (4.6, 4.2))
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
        ax.plot(*corners[[0, 1, 2, 0]].T, color="0.4", lw=1)
        at = self.weights @ corners
        color = [_OF_REGIME[str(r)] for r in regime_label(self.weights)]
        area = 6 + 60 * self.size / max(float(self.size.max(initial=0.0)), 1e-300)
        ax.scatter(at[:, 0], at[:, 1], s=area, c=color, alpha=0.7, linewidths=0)
        names = ("I rich, blind", "II lazy, dependent", "III lazy, blind")
        for corner, name, va in zip(corners, names, ("top", "top", "bottom"), strict=True):
            ax.text(corner[0], corner[1], name, ha="center", va=va)
        ax.text(0.5, -0.02, "IV", ha="center", va="top")
        ax.set_aspect("equal")
        ax.margins(0.15)
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


@dataclasses.dataclass
class BestStartDisplay:
    """Best pair of fine-tuning scales for every kind of task at fixed samples per feature.

    Parameters
    ----------
    rho_shared, rho_new : ndarray
        Probabilities that source-active and source-inactive features are active in the target.
    c_new, c_source : ndarray of shape (n_new, n_shared)
        Best scales of the features without and with a source coefficient.
    mse : ndarray of shape (n_new, n_shared)
        Error there.
    regime : ndarray of str of shape (n_new, n_shared)
        Regime of source-active features at the best scales, for a typical coefficient.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    recommend, RegimeMapDisplay

    Examples
    --------
    >>> from retemper.diagonal import BestStartDisplay
    >>> display = BestStartDisplay.from_grid(0.2, [0.1, 0.9], [0.01, 0.2], n_scales=3)
    >>> display.regime.shape
    (2, 2)
    """

    rho_shared: FloatArray
    rho_new: FloatArray
    c_new: FloatArray
    c_source: FloatArray
    mse: FloatArray
    regime: NDArray[np.str_]
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_grid(
        cls,
        alpha: float,
        rho_shared: ArrayLike,
        rho_new: ArrayLike,
        *,
        noise: float = 0.0,
        n_scales: int = 9,
        n_jobs: int | None = None,
    ) -> BestStartDisplay:
        """Search a grid of starts for every task.

        With sources of one size the theory depends on the start only through the two scales.

        Parameters
        ----------
        alpha : float
            Samples per feature.
        rho_shared, rho_new : array_like
            Tasks.
        noise : float, default=0.0
            Standard deviation of the label noise.
        n_scales : int, default=9
            Scales tried per axis.
        n_jobs : int or None, default=None
            Threads.

        Returns
        -------
        BestStartDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            As `DiagonalModel`.
        NumericalError
            If the equations have no solution for any start.
        """
        n_scales = check_integer(n_scales, "n_scales", low=1, high=10_000)
        shared, new = as_float_array(rho_shared, "rho_shared"), as_float_array(rho_new, "rho_new")
        shares = np.geomspace(1e-4, 2.0, n_scales)
        readouts = np.sqrt(2.0 * np.geomspace(1e-6, 1e2, n_scales))
        shape = (new.size, shared.size)
        best = np.empty((3, *shape))
        label = np.empty(shape, "<U3")
        for j, i in np.ndindex(*shape):
            task = DiagonalModel(
                alpha, noise=noise, init_scale=1e-9, rho_shared=float(shared[i]),
                rho_new=float(new[j]),
            )  # fmt: skip
            found = curve(
                task, {"balance": shares - 1.0, "readout_scale": readouts}, n_jobs=n_jobs,
                on_failure="ignore",
            )["mse"]  # fmt: skip
            if np.isnan(found).all():
                raise NumericalError(
                    f"no start could be solved at alpha={alpha:g}, rho_shared={shared[i]:g}, "
                    f"rho_new={new[j]:g}"
                )
            a, g = np.unravel_index(int(np.nanargmin(found)), found.shape)
            start = (1e-9, float(shares[a]) - 1.0, float(readouts[g]))
            best[:, j, i] = (*finetune_scale([0.0, 1.0], *start), found[a, g])
            typical = 1.0 / math.sqrt(task.rho_ft)
            label[j, i] = str(regime_label(regime_weights(typical, 1.0, *start)))
        return cls(shared, new, best[0], best[1], best[2], label)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Colour every task by the regime of its best start.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        BestStartDisplay
            Itself.
        """
        from matplotlib.colors import ListedColormap

        ax = new_axes(ax, (5.6, 4.2))
        number = np.searchsorted(np.array(REGIMES), self.regime)
        colors = [_OF_REGIME[r] for r in REGIMES]
        ax.pcolormesh(self.rho_shared, self.rho_new, number, cmap=ListedColormap(colors),
                      vmin=-0.5, vmax=3.5, shading="nearest", alpha=0.85)  # fmt: skip
        for name in REGIMES:
            j, i = np.nonzero(self.regime == name)
            if j.size:  # at the task of this regime that is nearest to their middle
                middle = (j - j.mean()) ** 2 + (i - i.mean()) ** 2
                at = int(np.argmin(middle))
                name_region(ax, self.rho_shared[i[at]], self.rho_new[j[at]], name)
        ax.set(xlabel="share of source features reused", ylabel="share of other features used")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


@dataclasses.dataclass
class LearningOrderDisplay:
    """Half-learning times of features against their source coefficient.

    Parameters
    ----------
    source_coef : ndarray of shape (n_features,)
        Source coefficients.
    forecast : ndarray of shape (n_features,)
        Closed form for infinitely many samples, from the fine-tuning scale alone.
    observed : ndarray of shape (n_features,)
        Times at which gradient descent on the weights crossed the half.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    learning_time, gradient_flow

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import LearningOrderDisplay
    >>> source, times = np.array([1.0, 2.0]), np.array([3.8, 1.9])
    >>> LearningOrderDisplay(source, times, times + 0.1).plot().ax_.get_xlabel() != ""
    True
    """

    source_coef: FloatArray
    forecast: FloatArray
    observed: FloatArray
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.source_coef = as_float_array(self.source_coef, "source_coef")
        for name in ("forecast", "observed"):  # infinite: never
            times = as_float_array(getattr(self, name), name, largest=math.inf)
            check_shape(times, self.source_coef.shape, name)
            setattr(self, name, times)

    @classmethod
    def from_settings(
        cls,
        source_coef: ArrayLike,
        target_coef: ArrayLike,
        *,
        init_scale: float = 1e-3,
        balance: float = 0.0,
        readout_scale: float = 0.0,
        step_size: float = 0.005,
    ) -> LearningOrderDisplay:
        """Forecast and train on the population loss.

        Parameters
        ----------
        source_coef, target_coef : array_like of shape (n_features,)
            Coefficients of the two tasks; targets are not zero.
        init_scale, balance, readout_scale : float
            As in `finetune_scale`.
        step_size : float, default=0.005
            Step of gradient descent.

        Returns
        -------
        LearningOrderDisplay
            Ready to plot.

        Raises
        ------
        ValueError
            As `learning_time` and `train_network`.
        """
        source = as_float_array(source_coef, "source_coef")
        target = as_float_array(target_coef, "target_coef")
        forecast = learning_time(target, finetune_scale(source, init_scale, balance, readout_scale))
        weights = reset_readout(pretrained_weights(source, init_scale, balance), readout_scale)
        stride = max(1, int(forecast.min() / step_size / 50))
        observed = np.full(source.size, np.nan)
        share, now = np.zeros(source.size), 0.0
        while np.isnan(observed).any() and now < 20 * forecast.max():
            weights = train_network(
                np.eye(source.size), target, weights, step_size=step_size, n_steps=stride,
                stride=stride,
            ).weights  # fmt: skip
            before, share = share, weights.coef / target
            crossed = (share >= 0.5) & np.isnan(observed)
            part = (0.5 - before[crossed]) / (share[crossed] - before[crossed])
            observed[crossed] = now + part * stride * step_size
            now += stride * step_size
        return cls(source, forecast, np.where(np.isnan(observed), np.inf, observed))

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw forecast and observation.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        LearningOrderDisplay
            Itself.
        """
        ax = new_axes(ax, (5.6, 4.2))
        order = np.argsort(self.source_coef)
        ax.plot(self.source_coef[order], self.forecast[order], color=BLUE, label="closed form")
        ax.plot(self.source_coef, self.observed, "o", ms=4, color=VERMILION,
                label="gradient descent on the weights")  # fmt: skip
        ax.set(xlabel="source coefficient", ylabel="half-learning time", yscale="log")
        ax.legend(fontsize="small")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self
