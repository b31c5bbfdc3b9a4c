"""Theory against simulation in standard errors, and the recorded runs of the theory page.

``python bench/agreement_phases.py [z|hidden|parity|control|colour|relu|all] [--seeds N]``. The
runs use the folds of the page (row i in fold i modulo 5); the figures keep copies of one image
together and have other absolute values.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from dataclasses import astuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from retemper.gallery import RUNS, run_seeds
from retemper.phases import (
    DeepLinearModel,
    FeatureModel,
    LogisticModel,
    TwoLayerModel,
    compare,
)

#: Values of the theory page (section 8): run, layer, quantity -> {step: (mean, standard error)}
PAGE = {
    ("parity", "hidden2", "fuv"): {
        0: (0.355, 0.007), 8: (0.350, 0.005), 64: (0.336, 0.003), 512: (0.322, 0.005),
        1024: (0.322, 0.006), 2048: (0.339, 0.003), 4096: (0.369, 0.004), 8192: (0.842, 0.006),
    },
    ("parity", "hidden2", "digit"): {
        0: (0.876, 0.004), 8: (0.885, 0.004), 64: (0.917, 0.006), 512: (0.931, 0.006),
        1024: (0.940, 0.002), 2048: (0.946, 0.004), 4096: (0.935, 0.006), 8192: (0.414, 0.008),
    },
    ("colour", "hidden2", "fuv"): {8: (0.4476, 0.0014), 4096: (0.550, 0.003)},
    ("colour", "hidden2", "colour"): {
        0: (0.773, 0.005), 32: (0.818, 0.005), 4096: (0.713, 0.007),
    },
    ("relu", "hidden3", "colour"): {32: (0.709, 0.005), 4096: (0.651, 0.004)},
}  # fmt: skip


def z_scores() -> None:
    model = FeatureModel(10, [3, 1], [1, 0.2], n_noise=50, noise_sd=0.5, times=[0, 0.2, 1, 4, 30])
    found = compare(model, task=[1, 0], n_samples=200_000, n_repeats=16, n_init=800)
    print("FeatureModel, 200000 samples, 16 repeats")
    print(found, "\n")
    i = np.arange(1.0, 21.0)
    mean = i**-0.5
    model = LogisticModel(
        1 / i, 1.2 * mean / np.linalg.norm(mean), 0.2 * np.cos(2 * i) * np.sqrt(0.1),
        times=[0, 0.5, 4, 20], step_size=0.1,
    )  # fmt: skip
    print("LogisticModel, 200000 samples, 16 repeats")
    found = compare(model, n_samples=200_000, n_repeats=16, random_state=1)
    print(found, "\n")


def on_batches(activation: str, n_features: int) -> TwoLayerModel:
    """Three units that learn from batches of one row, with noise that stays as inputs grow many."""
    rng = np.random.default_rng(0)
    return TwoLayerModel(
        np.repeat([1.0, 0.25], n_features // 2), np.eye(1, n_features),
        rng.normal(size=(3, n_features)) / np.sqrt(n_features), [1.0, 0.5, 0.2], noise=0.3,
        times=[0.0, 8.0], batch_size=1, step_size=1.5625 / n_features, activation=activation,
    )  # fmt: skip


def hidden_models() -> dict[str, tuple[object, int, int]]:
    """Models of hidden layers by name, each with rows and repeats of its experiment."""
    rng = np.random.default_rng(0)
    lam = 1 / np.arange(1.0, 21.0)
    sign = {"W0": 0.1 * rng.normal(size=(4, 20)), "readout0": 0.1 * rng.normal(size=4)}
    teacher = np.zeros((2, 20))
    teacher[0, 1], teacher[1, 5] = 2 / lam[1] ** 0.5, 2 / lam[5] ** 0.5
    base = {"spectrum": lam, "teacher": teacher, "noise": 0.1, "times": [0, 4, 16, 32], **sign}
    signal = np.zeros(10)
    signal[[2, 6]] = 0.5, 0.2
    deep = {"spectrum": lam[:10], "signal": signal, "init_scale": 0.2, "relative_noise_var": 1e-2}
    return {
        "erf": (TwoLayerModel(**base, step_size=0.5), 20_000, 16),
        "erf, weight decay": (TwoLayerModel(**base, step_size=0.5, weight_decay=0.03), 20_000, 16),
        "erf, fixed read-out": (
            TwoLayerModel(**{**base, "readout0": np.ones(4)}, step_size=0.5, train_readout=False),
            20_000, 16,
        ),
        "relu": (TwoLayerModel(**base, step_size=0.25, activation="relu"), 20_000, 16),
        "linear": (TwoLayerModel(**base, step_size=0.125, activation="linear"), 20_000, 16),
        "erf, batches of one row": (on_batches("erf", 400), 20_000, 16),
        "linear, batches of one row": (on_batches("linear", 400), 20_000, 16),
        "relu, batches of one row": (on_batches("relu", 400), 20_000, 16),
        "deep linear": (DeepLinearModel(**deep, times=[0, 4, 8]), 20_000, 16),
        "deep linear, second of two, weight decay": (
            DeepLinearModel(**deep, depth=3, layer=2, weight_decay=0.01, times=[0, 4, 8]),
            20_000, 16,
        ),
    }  # fmt: skip


def hidden_z_scores() -> None:
    """Hidden layers: every quantity and time of ten models, and the root mean square of all z."""
    every = []
    seeds = itertools.count(1)  # every experiment its own
    for name, (model, n_samples, n_repeats) in hidden_models().items():
        start = time.perf_counter()
        found = compare(model, n_samples=n_samples, n_repeats=n_repeats, random_state=next(seeds))
        print(f"{name}: {n_samples} rows, {n_repeats} repeats, {time.perf_counter() - start:.0f} s")
        print(found, "\n")
        every.append(found.z[found.z != 0.0])
    z = np.concatenate(every)
    print(
        f"{z.size} z: root mean square {np.sqrt(np.mean(z**2)):.2f}, largest {abs(z).max():.1f}\n"
    )
    print("batches of one row: error above the noise of labels, theory and training")
    for activation in ("erf", "linear", "relu"):
        for p in (50, 100, 200, 400):
            found = compare(
                on_batches(activation, p), n_samples=20_000, n_repeats=32, random_state=next(seeds)
            )
            i = found.names.index("test_error[t=8]")
            theory, sample = found.theory[i] - 0.09, found.simulation[i] - 0.09
            print(f"  {activation:<8} p = {p:<5}{theory:.4f} {sample:.4f} +- {found.stderr[i]:.4f}")


def table(name: str, n_seeds: int) -> None:
    start = time.perf_counter()
    monitors = run_seeds(name, n_seeds, use_groups=False)
    print(f"{name}: {RUNS[name].summary}; {n_seeds} seeds, {time.perf_counter() - start:.1f} s")
    for layer in monitors[0].layer_names:
        quantities = ["fuv", "fuv_floor", *next(iter(monitors[0].history_.values()))[layer].probes]
        steps = monitors[0].curve(layer)[0]
        shown = [s for s in (0, 8, 32, 64, 512, 1024, 2048, 4096, 8192) if s in steps]
        print(f"  {layer:<22}" + "".join(f"{s:>14}" for s in shown))
        for quantity in quantities:
            values = np.array([m.curve(layer, quantity)[1] for m in monitors])
            mean, se = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(n_seeds)
            at = [int(np.flatnonzero(steps == s)[0]) for s in shown]
            print(f"    {quantity:<20}" + "".join(f"{mean[i]:>8.3f}+-{se[i]:.3f}" for i in at))
            page = PAGE.get((name, layer, quantity), {})
            if page:
                z = {s: (mean[i] - page[s][0]) / np.hypot(se[i], page[s][1])
                     for i, s in zip(at, shown, strict=True) if s in page}  # fmt: skip
                print("    page, z of difference" + "".join(
                    f"{page[s][0]:>8.3f} {z[s]:>5.1f}" if s in page else " " * 14 for s in shown
                ))  # fmt: skip
    for m in monitors:
        alarms = [astuple(a) if a else None for a in (m.alarm_, m.early_warning_)]
        print(f"    alarm {alarms[0]}, early {alarms[1]}, keep {m.recommended_step_}")
    last = RUNS[name].alarm_layer
    gains = []
    for m in monitors:
        steps, fuv = m.curve(last)
        probe = m.curve(last, RUNS[name].transfer)[1]
        gains.append((probe[fuv.argmin()] - probe[-1], probe.max() - probe[fuv.argmin()]))
    gain = np.array(gains)
    print(
        f"    keeping the FUV minimum of {last}: gain over the last checkpoint "
        f"{gain[:, 0].mean():.3f}+-{gain[:, 0].std(ddof=1) / np.sqrt(n_seeds):.3f}, "
        f"regret {gain[:, 1].mean():.3f}\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="all", choices=["all", "z", "hidden", *RUNS])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what in ("all", "z"):
        z_scores()
    if arguments.what in ("all", "hidden"):
        hidden_z_scores()
    for run in RUNS if arguments.what == "all" else [arguments.what]:
        if run not in ("z", "hidden"):
            table(run, arguments.seeds)
