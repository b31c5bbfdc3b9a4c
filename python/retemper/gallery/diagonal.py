"""Figures of the diagonal system, by name; the numbers come from its displays and solvers.

They redraw settings after Anguita et al. (2026), whose own figures were read only through public
summaries and the published experiment code.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from retemper.diagonal.display import (
    BestStartDisplay,
    ErrorCurveDisplay,
    LearningOrderDisplay,
    RegimeMapDisplay,
    label_starts,
)
from retemper.diagonal.interpolate import leave_one_out, minimum_penalty
from retemper.diagonal.model import DiagonalModel, Shared
from retemper.diagonal.network import effective_scale, pretrained_weights, train_network
from retemper.diagonal.scales import finetune_scale
from retemper.diagonal.theory import curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STARTS = [(-0.99, 0.0), (0.0, 0.0), (0.99, 0.0), (0.0, 1.0), (0.0, 10.0)]


def _figure(
    rows: int = 1, columns: int = 1, width: float = 6.4, height: float = 4.4
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def regimes(n: int = 60) -> Figure:
    """Order, pre-training dependence and their sum over source strength and balance."""
    figure, axes = _figure(2, 3, 13, 7)
    first = RegimeMapDisplay.from_grid(
        source_coef=np.geomspace(5e-4, 2e3, n), balance=np.linspace(-1 + 1e-9, 1, n),
        init_scale=0.1,
    )  # fmt: skip
    second = RegimeMapDisplay.from_grid(
        source_coef=np.geomspace(5e-4, 20, n), readout_scale=np.geomspace(1e-2, 1e2, n)
    )
    for row, display in enumerate((first, second)):
        for ax, quantity in zip(axes[3 * row :], ("l_order", "pd", "sum"), strict=False):
            display.plot(ax=ax, quantity=quantity)
    return figure


def error_curves(n_features: int = 600, n_repeats: int = 6) -> Figure:
    """Error against samples per feature for three tasks: theory and simulation."""
    figure, axes = _figure(1, 3, 15, 4.4)
    tasks = {"all reused": (1.0, 0.1), "a small part reused": (1.0, 0.01), "all new": (0.0, 0.1)}
    for ax, (title, (omega, rho_ft)) in zip(axes, tasks.items(), strict=True):
        display = ErrorCurveDisplay.from_model(
            DiagonalModel(0.1, omega=omega, rho_ft=rho_ft), np.linspace(0.01, 0.5, 40),
            label_starts(_STARTS), alpha_simulated=[0.05, 0.2, 0.35], n_features=n_features,
            n_repeats=n_repeats,
        )  # fmt: skip
        display.plot(ax=ax).ax_.set_title(title)
    return figure


def new_features() -> Figure:
    """Scale, balance and reset when nothing is reused, for sparse and dense targets."""
    figure, axes = _figure(2, 3, 13, 7.6)
    alpha = np.linspace(0.01, 0.5, 80)
    sweeps: dict[str, list[float]] = {
        "init_scale": [1e-6, 1e-3, 1.0],
        "balance": [-0.999, -0.99, 0.0, 0.99],
        "readout_scale": [0.0, 1.0, 10.0],
    }
    for row, rho_ft in enumerate((0.1, 0.9)):
        model = DiagonalModel(0.1, omega=0.0, rho_ft=rho_ft)
        for ax, (name, values) in zip(axes[3 * row :], sweeps.items(), strict=False):
            found = curve(model, {name: values, "alpha": alpha})["mse"]
            for value, line in zip(values, found, strict=True):
                ax.plot(alpha, line, label=f"{name} = {value:g}")
            ax.set(xlabel="samples per feature α", ylabel="excess test error",
                   title=f"density of the target {rho_ft:g}")  # fmt: skip
            ax.legend(fontsize="small")
    return figure


def best_start(n: int = 12) -> Figure:
    """Which regime is best for which task, at two sample sizes."""
    figure, axes = _figure(1, 2, 10, 4.2)
    for ax, alpha in zip(axes, (0.1, 0.3), strict=True):
        display = BestStartDisplay.from_grid(
            alpha, np.linspace(0.02, 1, n), np.linspace(0.0, 0.6, n)
        )
        display.plot(ax=ax).ax_.set_title(f"α = {alpha:g}")
    return figure


def teachers() -> Figure:
    """Error and forgetting with aligned and opposite teachers, warm starts and resets."""
    figure, axes = _figure(1, 2, 11, 4.4)
    alpha = np.linspace(0.02, 0.8, 40)
    styles: dict[Shared, str] = {"aligned": "-", "opposite": "--"}
    starts = {
        "warm": {"mode": "warm"},
        "II": {"balance": 0.9},
        "III": {"readout_scale": 3.0},
        "IV": {"balance": -0.95},
    }
    for shared, style in styles.items():
        for k, (label, start) in enumerate(starts.items()):
            model = dataclasses.replace(
                DiagonalModel(0.1, init_scale=0.01),
                shared=shared,
                **start,  # type: ignore[arg-type]
            )
            found = curve(model, {"alpha": alpha})
            for ax, name in zip(axes, ("mse", "forgetting"), strict=True):
                ax.plot(alpha, found[name], style, color=f"C{k}", label=f"{label}, {shared}")
                ax.set(xlabel="samples per feature α", ylabel=name)
    axes[0].set_yscale("log")
    axes[0].legend(fontsize="small", ncols=2)
    return figure


def source_samples() -> Figure:
    """Error of fine-tuning against the samples per feature of pre-training."""
    figure, (ax,) = _figure()
    samples = np.concatenate([np.linspace(0.05, 0.98, 30), [1.02, 1.2, 1.5]])
    for balance in (-0.9, 0.0, 0.9):
        model = DiagonalModel(0.2, omega=1.0, init_scale=0.01, balance=balance)
        ax.plot(samples, curve(model, {"alpha_pt": samples})["mse"], label=f"λ = {balance:g}")
    ax.set(xlabel="pre-training samples per feature", ylabel="excess test error, α = 0.2")
    ax.legend()
    return figure


def learning_order() -> Figure:
    """Features with a source are learned first; and what a finite step size changes."""
    figure, axes = _figure(1, 2, 11, 4.2)
    LearningOrderDisplay.from_settings(np.linspace(0, 1, 15), np.ones(15)).plot(ax=axes[0])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 100)) / 10
    y = X @ (rng.normal(size=100) * (rng.random(100) < 0.2))
    steps = np.array([0.025, 0.05, 0.1, 0.2, 0.4])
    exact = minimum_penalty(X, y, 0.01).coef
    size = np.linalg.norm(exact)
    missed, left = [], []
    for step in steps.tolist():
        end = train_network(
            X, y, pretrained_weights(np.zeros(100), 0.01), step_size=step,
            n_steps=int(6000 / step), stride=10**9,
        ).weights  # fmt: skip
        again = minimum_penalty(X, y, effective_scale(end).scale).coef
        missed.append(np.linalg.norm(end.coef - exact) / size)
        left.append(np.linalg.norm(end.coef - again) / size)
    axes[1].loglog(steps, missed, "o-", label="against the flow")
    axes[1].loglog(steps, left, "s-", label="against the flow with the scale read at the end")
    axes[1].set(xlabel="step size", ylabel="relative difference of the coefficients")
    axes[1].legend(fontsize="small")
    return figure


def loo_on_digits(n_train: int = 60) -> Figure:
    """Leave-one-out against held-out error over starts, on images of digits with n < D."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    lift = rng.normal(size=(64, 400)) / 8

    def task(one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
        keep = np.isin(digits.target, (one, other))
        X = np.maximum((digits.data[keep] - 8) / 8 @ lift, 0.0)
        return X - X.mean(axis=0), np.where(digits.target[keep] == one, 1.0, -1.0)

    X_pt, y_pt = task(3, 5)
    X, y = task(9, 5)
    X, X_pt = X / X.std(axis=0).clip(1e-9) / 20, X_pt / X.std(axis=0).clip(1e-9) / 20
    source = minimum_penalty(X_pt, y_pt, 1e-2, mu=1e-2).coef
    order = rng.permutation(len(y))
    train, test = order[:n_train], order[n_train:]
    figure, (ax,) = _figure()
    for k, gamma in enumerate((0.0, 0.1, 1.0)):
        formula, refit, held_out = [], [], []
        for share in np.geomspace(1e-3, 2, 5):
            scale = finetune_scale(source, 1e-4, share - 1, gamma)
            found = minimum_penalty(X[train], y[train], scale, leave_one_out=True)
            exact = leave_one_out(X[train], y[train], scale, coef_start=found.coef)
            held_out.append(np.mean((y[test] - X[test] @ found.coef) ** 2))
            formula.append(np.mean(found.loo**2))
            refit.append(np.mean(exact**2))
        ax.loglog(refit, held_out, "o-", color=f"C{k}", label=f"γ = {gamma:g}, refitted")
        ax.loglog(formula, held_out, "x:", color=f"C{k}", label=f"γ = {gamma:g}, first order")
    low, high = ax.get_ylim()
    ax.plot([low, high], [low, high], color="0.6", lw=0.8)
    ax.set(xlabel="leave-one-out error", ylabel=f"error on {len(test)} held-out images")
    ax.legend(fontsize="small")
    return figure
