"""Figures of the wide-network system, by name; the numbers come from `solve` and `simulate`.

They redraw what is known of figure 1 of Ingrosso et al. (2025) and the synthetic settings of the
theory page. Numbers of samples and networks are small enough to draw each within a minute.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from retemper._random import generator
from retemper._validation import FloatArray
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.widenet import GammaPathDisplay, WideNetModel, compare, curve, gamma_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, math.inf)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")


def _figure(columns: int = 1, width: float = 6.4, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _teachers(d: int, sizes: tuple[int, int, int], rho: float, seed: int = 0) -> Any:
    """Linear teachers of overlap rho: (target, source, test)."""
    rng = generator(seed)
    u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    w = rho * u + math.sqrt(1 - rho**2) * v
    Xs, Xt, Xe = (rng.normal(size=(n, d)) for n in sizes)
    return (Xt, Xt @ w), (Xs, Xs @ u), (Xe, Xe @ w)


def _digits(n_source: int, n_target: int) -> Any:
    """Two digits against two, one of each group changed: (target, source, test)."""
    from sklearn.datasets import load_digits

    X, number = load_digits(return_X_y=True)
    X = X[:, X.std(0) > 0]
    X = (X - X.mean(0)) / X.std(0)
    rng = generator(0)
    order = rng.permutation(len(X))
    half = len(X) // 2

    def rows(plus: tuple[int, ...], minus: tuple[int, ...], pool: Any) -> tuple[FloatArray, Any]:
        kept = pool[np.isin(number[pool], plus + minus)]
        return X[kept], np.where(np.isin(number[kept], plus), 1.0, -1.0)

    Xs, ys = rows((0, 1, 4), (2, 3, 5), order[:half])
    Xt, yt = rows((0, 1, 9), (2, 3, 8), order[half:])
    n_source = min(n_source, len(Xs))
    return (
        (Xt[:n_target], yt[:n_target]),
        (Xs[:n_source], ys[:n_source]),
        (Xt[n_target:], yt[n_target:]),
    )


def gamma_digits(data: Any = None) -> Figure:
    """F1: test error and read-out norm against the coupling, digits with one class changed.

    Parameters
    ----------
    data : tuple (target, source, test) of pairs (X, y), default=None
        Another pair of tasks, for example from `read_idx` and `binary_task`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    target, source, test = _digits(400, 60) if data is None else data
    figure, (left, right) = _figure(2, 10.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)  # said in the title
        for width, colour in zip((100, 500, 1000, 5000), COLOURS, strict=False):
            path = gamma_path(WideNetModel(width), target, source, test, gammas=GAMMAS)
            for name, ax in (("test_error", left), ("Q_t", right)):
                GammaPathDisplay(
                    path, quantities=[name], label=f"width {width},", color=colour
                ).plot(ax=ax)
            ratio = path.theory[0].samples_per_dimension
    left.set(ylabel="mean squared error", title="dashed: random anchor")
    right.set(ylabel="read-out norm", title=f"{ratio:.0f} samples per dimension (theory: 2)")
    if data is None:
        figure.suptitle("Digits {0, 1, 9} against {2, 3, 8} from {0, 1, 4} against {2, 3, 5}")
    return figure


def gamma_synthetic() -> Figure:
    """F2: at finite width the source is used, at large width only regularisation is left."""
    data = _teachers(200, (400, 60, 300), 0.9)
    figure, axes = _figure(3, 12.5, 4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        for ax, width in zip(axes, (100, 500, 5000), strict=True):
            model = WideNetModel(width, temperature_source=0.01, temperature_target=0.01)
            path = gamma_path(model, *data, gammas=GAMMAS)
            GammaPathDisplay(path).plot(ax=ax)
            ax.set(title=f"width {width}", ylabel="mean squared error")
    figure.suptitle("Related linear teachers, dashed: random anchor")
    return figure


def relatedness() -> Figure:
    """F3: frozen, best and scratch against the overlap of the teachers."""
    overlaps = np.linspace(-1, 1, 11)
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        for rho in overlaps:
            data = _teachers(200, (400, 60, 300), float(rho))
            model = WideNetModel(200, temperature_source=0.01, temperature_target=0.01)
            path = gamma_path(model, *data, gammas=GAMMAS, control=False)
            errors = path["test_error"]
            rows.append((errors[0], errors.min(), errors[-1], path["Q_st"][-1]))
    scratch, best, frozen, overlap = np.array(rows).T
    figure, (left, right) = _figure(2, 10.0)
    for values, words, colour in zip(
        (scratch, best, frozen), ("scratch", "best coupling", "frozen"), COLOURS, strict=False
    ):
        left.plot(overlaps, values, "o-", ms=4, color=colour, label=words)
    left.set(xlabel="overlap of the teachers", ylabel="test error")
    left.legend(frameon=False)
    right.plot(overlaps, overlap, "o-", ms=4, color=COLOURS[0])
    right.set(xlabel="overlap of the teachers", ylabel=r"$Q_{st}$, frozen")
    figure.suptitle("Negative transfer of frozen features between unrelated tasks (width 200)")
    return figure


def decomposition() -> Figure:
    """F4: bias, thermal and quenched variance against the coupling."""
    target, source, test = _teachers(200, (180, 60, 300), 0.9)
    model = WideNetModel(100, temperature_source=0.01, temperature_target=0.01)
    path = gamma_path(model, target, source, test, gammas=GAMMAS)
    figure, (ax,) = _figure()
    parts = ["test_error", "bias", "thermal", "quenched"]
    GammaPathDisplay(path, quantities=parts).plot(ax=ax)
    ax.set(ylabel="mean squared error", title="What the error is made of (width 100)")
    return figure


def validity(n_draws: int = 6) -> Figure:
    """F5: theory against sampled networks, with more and with fewer dimensions than samples."""
    figure, axes = _figure(2, 10.0, 4.6)
    for ax, d in zip(axes, (30, 100), strict=True):
        rng = generator(0)
        u = rng.normal(size=d) / math.sqrt(d)
        tasks = [(X, np.sign(X @ u)) for X in (rng.normal(size=(n, d)) for n in (30, 100, 60))]
        for gamma, colour in zip((0.0, 1.0, math.inf), COLOURS, strict=False):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = compare(
                    WideNetModel(100, gamma=gamma), *tasks, random_state=0, n_chains=8,
                    n_draws=n_draws,
                )  # fmt: skip
            apart = any(issubclass(w.category, ConvergenceWarning) for w in caught)
            words = "∞" if math.isinf(gamma) else f"{gamma:g}"
            ax.errorbar(
                result.simulation, result.theory, xerr=2 * result.stderr, fmt="o", ms=4,
                color=colour, mfc="white" if apart else colour,
                label=f"coupling {words}" + (", chains differ" if apart else ""),
            )  # fmt: skip
        ax.axline((0, 0), slope=1, color="0.6", lw=1)
        ax.set(xlabel="sampled", ylabel="theory", title=f"{100 / d:.2g} source samples per feature")
        ax.legend(frameon=False)
    figure.suptitle("All order parameters and errors, erf, width 100, sign labels")
    return figure


def order_parameters(n_draws: int = 4) -> Figure:
    """F6: order parameters against the coupling, with sampled linear networks."""
    target, source, test = _teachers(30, (60, 20, 100), 0.9)
    display = GammaPathDisplay.from_model(
        WideNetModel(100, "linear"), target, source, test, gammas=GAMMAS, random_state=0,
        n_draws=n_draws, quantities=["Q_t", "Q_tt", "Q_st"],
        sample_gammas=(0.0, 0.3, 1.0, 3.0, 10.0, math.inf),
    )  # fmt: skip
    figure, (ax,) = _figure()
    display.plot(ax=ax)
    ax.set(ylabel="order parameter", title="Linear network, width 100: theory and Gibbs sampling")
    return figure


def selection(n_pairs: int = 24) -> Figure:
    """F7: the coupling chosen by leave-one-out against the best one, in the theory's own error."""
    rng = generator(1)
    regrets: dict[str, list[float]] = {"loo": [], "log_evidence": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        for seed in range(n_pairs):
            data = _teachers(80, (160, int(rng.choice([20, 50])), 300), rng.uniform(-0.2, 1), seed)
            model = WideNetModel(
                int(rng.choice([50, 150, 500])), temperature_source=0.02, temperature_target=0.02
            )
            path = gamma_path(model, *data, control=False)
            error = path["test_error"]
            for name, values in regrets.items():
                chosen = path[name].argmin() if name == "loo" else path[name].argmax()
                values.append(100 * (error[chosen] / error.min() - 1))
    figure, (ax,) = _figure()
    top = max(max(v) for v in regrets.values())
    for (name, values), colour in zip(regrets.items(), COLOURS, strict=False):
        words = "leave-one-out" if name == "loo" else "log evidence"
        ax.hist(values, np.linspace(0, top, 25).tolist(), alpha=0.6, color=colour,
                label=f"{words}: mean {np.mean(values):.1f} %")  # fmt: skip
    ax.set(xlabel="regret in test error, %", ylabel="task pairs", title="Choosing the coupling")
    ax.legend(frameon=False)
    return figure


def width() -> Figure:
    """F8: test error against the width, merging where nothing is transferred."""
    data = _teachers(200, (180, 60, 300), 0.9)
    model = WideNetModel(100, temperature_source=0.01, temperature_target=0.01)
    sizes = np.geomspace(62, 1e5, 16).round()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        couplings = [0.0, 1.0, math.inf]
        sweep = curve(model, {"gamma": couplings, "width": sizes}, *data)
        limit = curve(dataclasses.replace(model, width=math.inf), {"gamma": couplings}, *data)
    figure, (ax,) = _figure()
    for row, words, colour in zip(sweep["test_error"], ("0", "1", "∞"), COLOURS, strict=False):
        ax.semilogx(sizes, row, color=colour, label=f"coupling {words}")
    for value, colour in zip(limit["test_error"], COLOURS, strict=False):
        ax.axhline(value, color=colour, lw=0.8, ls=":")
    ax.set(xlabel="width", ylabel="test error", title="Transfer fades with the width")
    ax.legend(frameon=False)
    return figure
