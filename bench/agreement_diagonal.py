"""Theory against simulation over all regimes: ``python bench/agreement_diagonal.py [FEATURES]``.

Parts alone: ``python bench/agreement_diagonal.py depth``, ends of flows of several depths;
``noise``, training with noisy labels; ``margins``, classification; ``stopping``, fine-tuning and
pre-training that stop early.

The lines after that take the spectrum of an autoregressive design, first with eigenvectors at
random, as the theory assumes, then with its own. The last ones set early stopping beside an
explicit penalty that leaves the same training error.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from typing import Any

import numpy as np
from scipy.linalg import toeplitz
from scipy.optimize import brentq
from scipy.stats import gamma

from retemper.diagonal import (
    CoefficientLaw,
    Component,
    DiagonalModel,
    FlowPath,
    MinimumPenalty,
    compare,
    compare_flow,
    compare_margin,
    finetune_scale,
    gradient_flow,
    laplace_law,
    minimum_penalty,
    solve,
    student_law,
)

#: regime, parameters
CASES = [
    ("I rich, blind", {"alpha": 0.3, "omega": 0.0, "balance": -1.0, "readout_scale": 1e-3}),
    ("I rich, blind", {"alpha": 0.25, "omega": 0.5, "balance": -0.9999, "noise": 0.2}),
    ("I scratch", {"alpha": 0.35, "mode": "scratch", "init_scale": 1e-6, "noise": 0.1}),
    ("II lazy, dependent", {"alpha": 0.1, "omega": 1.0, "balance": 0.99}),
    ("II lazy, dependent", {"alpha": 0.3, "omega": 0.5, "balance": 0.99, "noise": 0.3}),
    ("III lazy, blind", {"alpha": 0.3, "omega": 0.5, "readout_scale": 10.0}),
    ("III lazy, blind", {"alpha": 0.5, "omega": 0.0, "rho_ft": 0.9, "readout_scale": 1.0}),
    ("IV rich, dependent", {"alpha": 0.04, "omega": 1.0, "rho_ft": 0.01, "balance": -0.99}),
    ("IV rich, dependent", {"alpha": 0.3, "balance": -0.99, "noise": math.sqrt(0.1)}),
    ("warm, aligned", {"alpha": 0.25, "init_scale": 0.01, "mode": "warm", "shared": "aligned"}),
    ("warm, opposite", {"alpha": 0.25, "init_scale": 0.01, "mode": "warm", "shared": "opposite"}),
    ("penalised", {"alpha": 1.0, "omega": 0.5, "mu": 0.02, "noise": math.sqrt(0.2)}),
    ("penalised, n > D", {"alpha": 2.0, "init_scale": 0.01, "mu": 0.3, "noise": math.sqrt(0.5)}),
    ("least squares", {"alpha": 1.5, "noise": 0.5}),
    ("finite source", {"alpha": 0.2, "omega": 1.0, "init_scale": 0.01, "alpha_pt": 0.3}),
    ("noisy source", {"alpha": 0.2, "init_scale": 0.01, "alpha_pt": 1.5, "noise_pt": 0.3}),
    ("pathways apart", {"alpha": 0.3, "readout_scale": 0.5, "noise": 0.2, "rebalance": "none"}),
    (
        "apart, aligned",
        {
            "alpha": 0.25,
            "init_scale": 0.01,
            "balance": -0.5,
            "readout_scale": 1.0,
            "shared": "aligned",
            "rebalance": "none",
        },
    ),
    (
        "apart, finite",
        {
            "alpha": 0.3,
            "init_scale": 0.01,
            "readout_scale": 0.5,
            "alpha_pt": 0.4,
            "rebalance": "none",
        },
    ),
]

SILENT = Component(weight=0.7)
#: law of a target coefficient by its density, parameters
LAWS = [
    ("Laplace", laplace_law(3.0), {"alpha": 0.4, "mode": "scratch", "noise": 0.2}),
    ("Student, 4", student_law(3.0, 4.0), {"alpha": 0.4, "mode": "scratch", "noise": 0.2}),
    ("gamma", CoefficientLaw(gamma(2.0).pdf), {"alpha": 0.3, "mode": "warm", "init_scale": 0.01}),
    ("Laplace, finite", laplace_law(3.0), {"alpha": 0.3, "init_scale": 0.01, "alpha_pt": 0.4}),
]  # fmt: skip
#: start, parameters, for correlated designs
CORRELATED = [
    ("rich", {"alpha": 0.4, "mode": "scratch", "noise": 0.3}),
    ("lazy", {"alpha": 0.5, "omega": 0.0, "rho_ft": 0.9, "readout_scale": 1.0, "noise": 0.3}),
    ("dependent", {"alpha": 0.3, "balance": 0.5, "noise": 0.2}),
    ("penalised", {"alpha": 0.4, "mu": 0.1, "noise": 0.3}),
    ("least squares", {"alpha": 1.5, "noise": 0.5}),
]
CORRELATION = 0.8
#: start, parameters, for networks of more than two layers
DEEP = [
    ("3 layers", {"depth": 3, "mode": "scratch", "init_scale": 1e-6, "noise": 0.2}),
    ("4 layers, lazy", {"depth": 4, "mode": "scratch", "init_scale": 3.0, "noise": 0.2}),
    ("10 layers", {"depth": 10, "mode": "scratch", "init_scale": 1e-3}),
    ("3 layers, warm", {"depth": 3, "mode": "warm", "shared": "opposite", "init_scale": 0.1}),
    ("4, finite source", {"depth": 4, "mode": "warm", "init_scale": 0.05, "alpha_pt": 0.4}),
    ("5, penalised", {"depth": 5, "mode": "scratch", "init_scale": 0.01, "mu": 0.05, "noise": 0.3}),
]  # fmt: skip


def own_eigenvectors(model: DiagonalModel, n_features: int, seed: int) -> tuple[float, float]:
    """Test error, and its standard error, where neighbouring columns are the correlated ones."""
    rng = np.random.default_rng(seed)
    covariance = toeplitz(CORRELATION ** np.arange(n_features)) / n_features
    root = np.linalg.cholesky(covariance).T
    parts, found = model.law(), []
    n = round(model.alpha * n_features)
    for _ in range(16):
        which = rng.permutation(
            np.repeat(np.arange(len(parts)), [round(p.weight * n_features) for p in parts])
        )
        source = np.array([p.source_mean for p in parts])[which]
        sd = np.sqrt([p.target_var for p in parts])[which]
        target = sd * rng.standard_normal(n_features)
        scale = np.full(n_features, model.init_scale)
        if model.mode == "reset":
            scale = finetune_scale(source, model.init_scale, model.balance, model.readout_scale)
        X = rng.standard_normal((n, n_features)) @ root
        labels = X @ target + model.noise * rng.standard_normal(n)
        fit = minimum_penalty(X, labels, scale, mu=model.mu, on_failure="ignore")
        found.append(float(np.sum((root @ (fit.coef - target)) ** 2)) + model.noise**2)
    return float(np.mean(found)), float(np.std(found, ddof=1) / 4.0)


def stopping(init_scale: float, share: float, seed: int) -> tuple[float, float, float]:
    """Errors of a stopped flow and of a penalty of the same training error; their distance."""
    rng = np.random.default_rng(seed)
    d, n = 300, 120
    X = rng.standard_normal((n, d)) / math.sqrt(d)
    target = rng.standard_normal(d) * (rng.random(d) < 0.1) * math.sqrt(10.0)
    y = X @ target + 0.5 * rng.standard_normal(n)
    wanted = share * float(np.mean(y**2))

    def at_time(log_time: float) -> FlowPath:
        return gradient_flow(X, y, init_scale, [math.exp(log_time)])

    def penalised(log_mu: float) -> MinimumPenalty:
        return minimum_penalty(X, y, init_scale, mu=math.exp(log_mu))

    time = brentq(lambda t: at_time(t).train_error[0] - wanted, -12.0, 12.0, xtol=1e-9)
    mu = brentq(
        lambda m: float(np.mean((y - X @ penalised(m).coef) ** 2)) - wanted, -12.0, 6.0, xtol=1e-9
    )
    stopped, shrunk = at_time(time).coef[0], penalised(mu).coef
    errors = [float(np.mean((coef - target) ** 2)) for coef in (stopped, shrunk)]
    return errors[0], errors[1], float(np.linalg.norm(stopped - shrunk) / np.linalg.norm(shrunk))


def ends() -> None:
    """Print the end of the flow beside the least penalty, for several depths and scales."""
    print("end of the flow against the least penalty, D = 100, n = 40: largest difference, steps")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 100)) / 10.0
    y = X @ (rng.standard_normal(100) * (rng.random(100) < 0.2))
    for depth, init_scale in [(2, 1e-3), (3, 1e-3), (3, 1e-12), (5, 1e-6), (20, 1e-3)]:
        wait = init_scale ** (2.0 / depth - 1.0)
        path = gradient_flow(X, y, init_scale, [1e4 * wait], depth=depth)
        exact = minimum_penalty(X, y, init_scale, depth=depth).coef
        far = float(np.abs(path.coef[-1] - exact).max())
        print(f"L = {depth:<4d}c = {init_scale:<8g}{far:>10.1e}{path.n_iter:>8d}")


def main(n_features: int) -> None:
    """Print one table of z-scores."""
    print(f"D = {n_features}, 16 experiments each")
    print(f"{'regime':<22}{'quantity':<13}{'theory':>12}{'simulation':>12}{'stderr':>10}{'z':>7}")
    spectrum = np.linalg.eigvalsh(toeplitz(CORRELATION ** np.arange(n_features)))
    cases = [(name, DiagonalModel(**parameters)) for name, parameters in CASES]
    for name, law, parameters in LAWS:
        part = Component(weight=0.3, source_mean=1.0, target_law=law)
        cases.append((name, DiagonalModel(components=(part, SILENT), **parameters)))
    cases += [(name, DiagonalModel(0.3, **parameters)) for name, parameters in DEEP]
    correlated = [
        (f"AR(1), {name}", DiagonalModel(spectrum=spectrum, **parameters))
        for name, parameters in CORRELATED
    ]
    for k, (regime, model) in enumerate(cases + correlated):
        found = compare(model, n_features=n_features, random_state=k)
        for row in zip(found.names, found.theory, found.simulation, found.stderr, found.z,
                       strict=True):  # fmt: skip
            name, theory, simulation, error, z = row
            print(
                f"{regime:<22}{name:<13}{theory:>12.5g}{simulation:>12.5g}{error:>10.2g}{z:>7.2f}"
            )
    print("own eigenvectors: test error against the theory for eigenvectors at random")
    for k, (regime, model) in enumerate(correlated):
        theory = solve(model).test_error
        mean, error = own_eigenvectors(model, n_features, k)
        print(
            f"{regime:<22}{'test_error':<13}{theory:>12.5g}{mean:>12.5g}{error:>10.2g}"
            f"{(theory - mean) / error:>7.2f}"
        )
    print("share of mean square left in training: error of a stopped flow, of a penalty, distance")
    for k, (init_scale, share) in enumerate([(1e-3, 0.5), (1e-3, 0.1), (1.0, 0.5), (1.0, 0.1)]):
        flow, penalty, distance = stopping(init_scale, share, k)
        print(f"c = {init_scale:<8g}{share:<8g}{flow:>10.4f}{penalty:>10.4f}{distance:>8.2f}")


def noise() -> None:
    """Print networks trained with noisy labels beside the theory, over scales and starts."""
    print("noisy labels, D = 300, 16 networks each, eta = .02, eta^2 delta^2 steps = 8: mse")
    print(f"{'start':<10}{'c':<8}{'plain':>9}{'theory':>9}{'networks':>10}{'z':>7}")
    starts: dict[str, dict[str, Any]] = {
        "scratch": {"mode": "scratch"},
        "reset": {"readout_scale": 0.5, "noise": 0.2},
        "apart": {"readout_scale": 0.5, "noise": 0.2, "rebalance": "none"},
        "warm": {"mode": "warm", "shared": "opposite"},
    }
    cases = itertools.product(starts.items(), (1.0, 0.1, 1e-3))
    for k, ((name, start), init_scale) in enumerate(cases):
        model = DiagonalModel(
            0.3, init_scale=init_scale, label_noise=1.0, step_size=0.02, n_steps=20_000, **start
        )
        found = compare(model, n_features=300, random_state=k)
        plain = solve(dataclasses.replace(model, label_noise=0.0)).mse
        print(
            f"{name:<10}{init_scale:<8g}{plain:>9.4f}{found.theory[0]:>9.4f}"
            f"{found.simulation[0]:>10.4f}{found.z[0]:>7.2f}",
            flush=True,
        )


def margins() -> None:
    """Print classifiers of a margin beside the theory, over scales and starts."""
    print("margin 1, D = 600, 16 experiments each: z-scores")
    print(f"{'start':<9}{'alpha':<7}{'c':<8}{'error':>8}{'simulation':>12}{'z':>7}{'cosine z':>10}"
          f"{'support z':>11}{'rms z':>7}")  # fmt: skip
    starts: dict[str, dict[str, Any]] = {
        "scratch": {"mode": "scratch", "noise": 0.2},
        "reset": {"readout_scale": 0.3},
        "warm": {"mode": "warm", "shared": "opposite"},
    }
    cases = itertools.product(starts.items(), (0.4, 1.2), (100.0, 0.1, 1e-4))
    for k, ((name, start), alpha, init_scale) in enumerate(cases):
        model = DiagonalModel(alpha, init_scale=init_scale, **start)
        found = compare_margin(model, 1.0, n_features=600, random_state=k)
        z = found.z
        print(f"{name:<9}{alpha:<7g}{init_scale:<8g}{found.theory[0]:>8.4f}"
              f"{found.simulation[0]:>12.4f}{z[0]:>7.2f}{z[1]:>10.2f}{z[2]:>11.2f}{z[3]:>7.2f}",
              flush=True)  # fmt: skip


def early() -> None:
    """Print fine-tuning that stops early beside the theory, over starts, scales and times."""
    times = [0.3, 1.0, 3.0, 10.0, 30.0]
    print(f"early stopping at {times}, D = 800, 16 experiments each")
    print("z of the error at each time; rms and largest z of all quantities")
    starts: dict[str, dict[str, Any]] = {
        "scratch": {"mode": "scratch", "noise": 0.3},
        "reset": {"readout_scale": 0.3, "noise": 0.2},
        "apart": {"readout_scale": 0.5, "noise": 0.2, "rebalance": "none"},
        "warm": {"mode": "warm", "shared": "opposite"},
        "three layers": {"mode": "scratch", "depth": 3, "noise": 0.2},
        "few source rows": {"alpha_pt": 0.4, "readout_scale": 0.2},
        "stopped source": {"alpha_pt": 0.4, "readout_scale": 0.2, "noise_pt": 0.5, "time_pt": 2.0},
    }
    everything = []
    for k, ((name, start), init_scale) in enumerate(
        itertools.product(starts.items(), (3.0, 0.1, 1e-3))
    ):
        if name == "three layers" and init_scale == 1e-3:
            continue  # nothing emerges before time 30
        model = DiagonalModel(0.4, init_scale=init_scale, **start)
        found = compare_flow(model, times, n_features=800, random_state=k)
        everything.append(found.z)
        print(f"{name:<17}{init_scale:<7g}" + "".join(f"{z:>7.2f}" for z in found.z[: len(times)])
              + f"{np.sqrt(np.mean(found.z**2)):>8.2f}{np.abs(found.z).max():>7.2f}",
              flush=True)  # fmt: skip
    z = np.concatenate(everything)
    print(f"all {z.size}: rms {np.sqrt(np.mean(z**2)):.2f}, largest {np.abs(z).max():.1f}")


PARTS = {"depth": ends, "noise": noise, "margins": margins, "stopping": early}

if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else "1000"
    PARTS[argument]() if argument in PARTS else main(int(argument))
