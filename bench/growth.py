"""How cost grows: ``python bench/growth.py [PATTERN] [--json FILE]``.

For every system the time and the memory of its calls at a few sizes of one axis, the others fixed,
with the exponents fitted to them (least squares on logarithms) and the exponent of the theory,
which holds where its term is the largest: below that the fitted one is smaller. One thread. Memory
is the growth of the peak of a fresh process, from the two largest sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

import numpy as np

from run import from_process, rise

Call = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Growth:
    """A call, the axis that grows, and the exponents that the theory gives to time and memory."""

    call: str
    axis: str
    sizes: tuple[int, ...]
    make: Callable[[int], Call]
    time: float
    memory: float
    why: str


def _linear(n: int, d: int) -> Call:
    from retemper.linear import FineTunedLinearRegression

    X = np.random.default_rng(0).normal(size=(n, d))
    return lambda: FineTunedLinearRegression().fit(X, X[:, 0])


def _ridge(d: int, n_points: int) -> Call:
    from retemper.linear import effective_ridge

    spectrum, n = 1.0 / np.arange(1, d + 1), np.linspace(d / 100, 2 * d, n_points)
    return lambda: effective_ridge(spectrum, n, np.full(n_points, 0.01), n_jobs=1)


def _relu(n: int, d: int) -> Call:
    from retemper.linear import relu_ntk

    X = np.random.default_rng(0).normal(size=(n, d))
    return lambda: relu_ntk(X, n_jobs=1)


def _diagonal(n: int, d: int) -> Call:
    from bench_diagonal import task
    from retemper.diagonal import minimum_penalty

    X, y, scale = task(n, d)
    return lambda: minimum_penalty(X, y, scale, n_jobs=1)


def _diagonal_curve(n_points: int) -> Call:
    from retemper.diagonal import DiagonalModel, curve

    alpha = np.linspace(0.05, 0.6, n_points)
    return lambda: curve(DiagonalModel(0.3), {"alpha": alpha}, n_jobs=1)


def _perceptron(n: int, d: int) -> Call:
    from bench_perceptron import MessagePassing
    from retemper.perceptron import PerceptronModel, sample_rows
    from retemper.perceptron.model import row_law

    bench = MessagePassing()
    X, y, _, _ = sample_rows(PerceptronModel(0.5, n / d - 0.5, 0.5), d, random_state=0, n_jobs=1)
    bench.role = np.where(y == -1, 0, 2 * y - 1).astype(np.int8)
    bench.X, bench.law = X, row_law(kappa=0.5)
    return lambda: bench.time_retemper("float64", 1)


def _perceptron_grid(n_points: int) -> Call:
    from retemper.perceptron import phase_diagram

    return lambda: phase_diagram([0.5], np.geomspace(0.05, 500, n_points), n_jobs=1)


def _phases(n: int, h: int, p: int) -> Call:
    from retemper.phases import reconstruction_score

    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    H = np.maximum(X @ rng.normal(size=(p, h)) / np.sqrt(p), 0.0)
    return lambda: reconstruction_score(H, X, n_jobs=1)


def _training(n_steps: int) -> Call:
    from retemper.datasets import noisy_digits
    from retemper.phases import MLPTrainer

    data = noisy_digits()
    y = data.tasks["parity"]
    return lambda: MLPTrainer(n_steps=n_steps, checkpoints=[n_steps], random_state=0, n_jobs=1).fit(
        data.X, y
    )


def _widenet(n_source: int, n_target: int, n_gammas: int = 1) -> Call:
    from bench_widenet import task
    from retemper.widenet import WideNetModel, gamma_path, solve

    target, source = task(n_source, n_target, 2000)
    gammas = tuple(np.geomspace(0.1, 10, n_gammas))
    if n_gammas == 1:
        return lambda: solve(WideNetModel(500, gamma=1.0), target, source)
    return lambda: gamma_path(WideNetModel(500), target, source, gammas=gammas, n_jobs=1)


def _sweep(n_tasks: int) -> Call:
    from bench_sweep import tiny
    from retemper import sweep

    return lambda: sweep(tiny, {"x": list(range(n_tasks))}, n_jobs=1)


GROWTHS = {
    "linear": [
        Growth("FineTunedLinearRegression.fit, d = 4000", "n", (150, 300, 600, 1200),
               lambda n: _linear(n, 4000), 2, 1, "Gram matrix n²d, then n³"),
        Growth("FineTunedLinearRegression.fit, n = 200", "d", (2000, 4000, 8000, 16000),
               lambda d: _linear(200, d), 1, 1, "Gram matrix n²d"),
        Growth("effective_ridge, 2000 points", "d", (200, 400, 800, 1600),
               lambda d: _ridge(d, 2000), 1, 0, "a sum over the spectrum for each point"),
        Growth("effective_ridge, d = 200", "points", (2000, 4000, 8000, 16000),
               lambda n: _ridge(200, n), 1, 1, "points do not know each other"),
        Growth("relu_ntk, d = 256", "n", (500, 1000, 2000, 4000),
               lambda n: _relu(n, 256), 2, 2, "every pair of rows"),
    ],
    "diagonal": [
        Growth("minimum_penalty, d = 4000", "n", (100, 200, 400, 800),
               lambda n: _diagonal(n, 4000), 2, 2, "weighted Gram matrix n²d, then n³"),
        Growth("minimum_penalty, n = 100", "d", (2000, 4000, 8000, 16000),
               lambda d: _diagonal(100, d), 1, 1, "weighted Gram matrix n²d"),
        Growth("curve", "points", (50, 100, 200, 400), _diagonal_curve, 1, 1,
               "each point starts from the one before it"),
    ],
    "perceptron": [
        Growth("message passing, 2000 features", "rows", (2000, 4000, 8000, 16000),
               lambda n: _perceptron(n, 2000), 1, 0, "one pass over the rows per iteration"),
        Growth("message passing, rows = 3 features", "features", (500, 1000, 2000, 4000),
               lambda d: _perceptron(3 * d, d), 2, 1, "rows times features per iteration"),
        Growth("phase_diagram, one margin", "points", (50, 100, 200, 400), _perceptron_grid, 1, 1,
               "one curve of a margin serves all its points"),
    ],
    "phases": [
        Growth("reconstruction_score, h = 128, p = 300", "n", (4000, 8000, 16000, 32000),
               lambda n: _phases(n, 128, 300), 1, 1, "moments n h (h + p)"),
        Growth("reconstruction_score, n = 4000, p = 300", "h", (64, 128, 256, 512),
               lambda h: _phases(4000, h, 300), 2, 2, "moments n h², then eigenvalues h³"),
        Growth("reconstruction_score, n = 4000, h = 128", "p", (300, 600, 1200, 2400),
               lambda p: _phases(4000, 128, p), 1, 1, "moments n h p, products h²p"),
        Growth("MLPTrainer.fit", "steps", (320, 640, 1280, 2560), _training, 1, 0,
               "every step costs the same"),
    ],
    "widenet": [
        Growth("solve, P_t = 100", "P_s", (500, 1000, 2000),
               lambda n: _widenet(n, 100), 3, 2, "one tridiagonal form of the source kernel"),
        Growth("solve, P_s = 500", "P_t", (200, 400, 800),
               lambda n: _widenet(500, n), 3, 2, "one decomposition of the target kernel"),
        Growth("gamma_path, P_s = 400, P_t = 100", "couplings", (4, 8, 16, 32),
               lambda n: _widenet(400, 100, n), 1, 0, "the source is decomposed once"),
    ],
    "sweep": [
        Growth("sweep of empty tasks", "points", (500, 1000, 2000, 4000), _sweep, 1, 1,
               "one record per point"),
    ],
}  # fmt: skip


def _exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1.0e-9)), 1)[0])


def _seconds(call: Call, budget: float) -> float:
    call()
    best, end = np.inf, time.perf_counter() + budget
    for done in range(200):
        if done and time.perf_counter() > end:
            break
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return float(best)


def _peak(system: str, index: int, size: int, pipe: Any) -> None:
    warnings.simplefilter("ignore")
    growth = GROWTHS[system][index]
    growth.make(growth.sizes[0])()  # loads libraries
    pipe.send(rise(growth.make(size)))


def measure(system: str, index: int, budget: float) -> dict[str, Any]:
    """Times, memory and exponents of one call; prints its line."""
    growth = GROWTHS[system][index]
    seconds = [_seconds(growth.make(size), budget) for size in growth.sizes]
    memory = [from_process("forkserver", _peak, system, index, size) for size in growth.sizes[-2:]]
    is_seen = memory[0] > 8e6  # below that it is what the allocator keeps
    record = {
        "call": growth.call,
        "axis": growth.axis,
        "sizes": list(growth.sizes),
        "seconds": seconds,
        "peak_bytes": memory[-1],
        "time_exponent": _exponent(growth.sizes, seconds),
        "time_theory": growth.time,
        "memory_exponent": _exponent(growth.sizes[-2:], memory) if is_seen else None,
        "memory_theory": growth.memory,
        "why": growth.why,
    }
    found = record["memory_exponent"]
    print(
        f"  {growth.call:<42} {growth.axis:>9} {growth.sizes[0]:>6} to {growth.sizes[-1]:<6}"
        f" {1e3 * seconds[0]:8.3g} to {1e3 * seconds[-1]:8.3g} ms"
        f"  exponent {record['time_exponent']:5.2f} of {growth.time:g}"
        f" | {memory[-1] / 1e6:7.1f} MB"
        + (f", exponent {found:.2f} of {growth.memory:g}" if found is not None else ""),
        flush=True,
    )
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="", help="regular expression on the system")
    parser.add_argument("--budget", type=float, default=0.2, help="seconds per size")
    parser.add_argument("--json", type=Path, help="write the record here")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # on theories beyond their range: it is the cost that counts
    multiprocessing.set_forkserver_preload([f"retemper.{s}" for s in GROWTHS if s != "sweep"])
    record = {}
    for system, growths in GROWTHS.items():
        if re.search(arguments.pattern, system):
            print(system)
            record[system] = [measure(system, i, arguments.budget) for i in range(len(growths))]
    if not record:
        parser.error(f"no system matches {arguments.pattern!r}: choose from {', '.join(GROWTHS)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
