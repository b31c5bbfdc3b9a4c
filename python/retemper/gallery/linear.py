"""Figures of the linear system, by name; the numbers come from its displays and solvers.

They redraw settings of the theory page "after Shachaf et al. (2021)" and of Tahir, Ganguli and
Rotskoff (2025); the former paper's own figures could not be read and are not claimed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retemper._random import generator
from retemper.linear.display import DepthDisplay, RiskCurveDisplay, TransferPhaseDisplay
from retemper.linear.model import LinearModel
from retemper.linear.spectral import effective_ridge

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#1f5f8b", "#c8501e", "#4c9f70", "#7a7a7a"


def _figure(columns: int = 1, width: float = 6.4, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def _power(d: int, exponent: float) -> np.ndarray:
    return np.arange(1.0, d + 1) ** -exponent


def similarity(n_differences: int = 300, random_state: int = 0) -> Figure:
    """Which measure of task similarity follows the realised risk (power-law covariance)."""
    from scipy.stats import spearmanr

    d, n = 200, 60
    rng = generator(random_state)
    spectrum = _power(d, 1.0)
    ridge = float(effective_ridge(spectrum, n).effective_ridge)
    weight = spectrum * ridge**2 / (spectrum + ridge) ** 2
    names = ("squared norm", "in the metric of the inputs", "at the scale of n")
    found: dict[str, list[float]] = {name: [] for name in names}
    risk = []
    for _ in range(n_differences):
        tilt = rng.uniform(-1.0, 1.5)
        delta = rng.normal(size=d) * spectrum ** (tilt / 2)
        delta *= math.exp(rng.uniform(-1.0, 1.0)) / np.linalg.norm(delta)
        X = rng.normal(size=(n, d)) * np.sqrt(spectrum)
        left = delta - X.T @ np.linalg.solve(X @ X.T, X @ delta)
        risk.append(float(left**2 @ spectrum))
        found["squared norm"].append(float(delta @ delta))
        found["in the metric of the inputs"].append(float(delta**2 @ spectrum))
        found["at the scale of n"].append(float(delta**2 @ weight))
    figure, axes = _figure(3, 11.0, 3.9)
    marks = (GREY, GREEN, BLUE)
    for ax, (name, values), colour in zip(axes, found.items(), marks, strict=True):
        rank = spearmanr(values, risk).statistic
        ax.loglog(values, risk, "o", ms=3, alpha=0.6, color=colour)
        ax.set(xlabel=f"difference of the tasks, {name}", title=f"rank correlation {rank:.3f}")
        ax.xaxis.set_minor_formatter("")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("excess risk after fine-tuning, one sample")
    figure.suptitle(f"Which similarity predicts fine-tuning (d = {d}, n = {n}, power-law inputs)")
    return figure


def eigendirection() -> Figure:
    """Which eigendirection of the difference hurts: the one at the scale of the samples."""
    d = 200
    spectrum = _power(d, 1.0)
    figure, (ax,) = _figure()
    from matplotlib import colormaps

    sizes = (10, 20, 40, 80, 160)
    for n, colour in zip(sizes, colormaps["viridis"](np.linspace(0, 0.85, 5)), strict=True):
        state = effective_ridge(spectrum, n)
        kappa, df2 = float(state.effective_ridge), float(state.df2)
        risk = spectrum * kappa**2 / (spectrum + kappa) ** 2 / (1 - df2 / n)
        ax.loglog(spectrum / kappa, risk / risk.max(), color=colour, label=f"n = {n}")
    ax.axvline(1.0, color="black", lw=0.8, ls=":")
    ax.set(
        xlabel="variance of the inputs along the difference, over the effective ridge",
        ylabel="excess risk, relative to its largest value",
        title="Differences at the scale of the samples cost most",
        ylim=(1e-2, 1.5),
    )
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def depth() -> Figure:
    """Depth forgets the scale of the source: theory and simulated networks."""
    figure, (ax,) = _figure(width=7.2)
    DepthDisplay.from_settings(random_state=1).plot(ax=ax)
    return figure


def phase() -> Figure:
    """When transfer helps, over samples per dimension and angle between the tasks."""
    figure, (ax,) = _figure(width=7.2, height=5.0)
    TransferPhaseDisplay.from_grid(random_state=2).plot(ax=ax)
    return figure


def double_descent() -> Figure:
    """Double descent with a source from scarce and from plentiful data."""
    d = 200
    theta = np.ones(d) / math.sqrt(d)
    other = np.where(np.arange(d) % 2, -1.0, 1.0) / math.sqrt(d)
    figure, axes = _figure(2, 10.5, 4.2)
    sizes = [n for n in range(10, 401, 5) if n != d]
    for ax, ratio in zip(axes, (0.5, 2.0), strict=True):
        model = LinearModel(
            d // 2,
            theta,
            noise=0.3,
            theta_source=0.9 * theta + 0.3 * other,
            n_samples_source=int(ratio * d),
            noise_source=0.3,
        )
        display = RiskCurveDisplay.from_model(model, sizes, random_state=3, n_repeats=20)
        display.plot(ax=ax)
        ax.set_title(f"source fitted on {ratio:g} samples per dimension")
    return figure


def relu() -> Figure:
    """Shallow ReLU fine-tuning: tangent kernel, finite networks and the equivalent ridge."""
    from retemper.linear.relu.kernel import relu_ntk, relu_risk

    d, noise = 300, 0.3
    rng = generator(4)
    theta = np.ones(d) / math.sqrt(d)
    source = 0.8 * theta + 0.3 * np.where(np.arange(d) % 2, -1.0, 1.0) / math.sqrt(d)
    figure, (ax,) = _figure()
    sizes = [60, 100, 150, 225, 300, 450, 600]
    for start, name, colour in ((source, "from the source", BLUE), (0 * theta, "scratch", GREY)):
        dots, error = [], []
        for n in sizes:
            risk = []
            for _ in range(6):
                X = rng.normal(size=(n + 200, d))
                X /= np.linalg.norm(X, axis=1, keepdims=True)
                truth = math.sqrt(d) * X @ theta
                before = math.sqrt(d) * X @ start
                y = truth[:n] + noise * rng.normal(size=n)
                kernel = relu_ntk(X[:n])
                dual = np.linalg.solve(kernel, y - before[:n])
                guess = before[n:] + relu_ntk(X[n:], X[:n]) @ dual
                risk.append(float(np.mean((guess - truth[n:]) ** 2)))
            dots.append(np.mean(risk))
            error.append(np.std(risk, ddof=1) / math.sqrt(len(risk)))
        line = [
            relu_risk(LinearModel(n, theta, source_coef=start, noise=noise)).risk for n in sizes
        ]
        ax.plot(sizes, line, color=colour, label=f"{name}: theory")
        ax.errorbar(sizes, dots, error, fmt="o", ms=4, color=colour, label=f"{name}: kernel")
    ax.set(
        xlabel="target samples",
        ylabel="excess risk",
        title=f"ReLU fine-tuning is ridge towards the source (d = {d})",
        xscale="log",
        yscale="log",
    )
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure
