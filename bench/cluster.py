"""Where a sweep and a fit stop gaining from more workers, and why.

    python bench/cluster.py            # 10 000 theory points; 5 000 000 x 768 rows

Correctness comes first, on two worker processes over loopback: the file of a sweep equals that of
one process byte for byte, and a fit to a dask array the fit to the same rows in memory. Then the
costs of a cluster are measured on this machine: a point, a block of rows of every pass over them,
what the caller does for each result, and the rate of loopback. Last, a cluster of up to 100 workers
is simulated event by event with these costs: a worker takes the next task when it is free, every
result passes through the one caller, and a pass of a fit asks for ``retemper.linear``'s number of
blocks at once. What is printed at the end is the number of workers at which the caller, or that
number, is the limit. Processor time counts, so that other work on the machine changes little; a
real network is slower than loopback, and ``--rate`` sets its bytes per second.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

import joblib
import numpy as np

import retemper
from retemper.linear import FineTunedLinearRegression, LinearModel, solve
from retemper.linear.ridge import streaming

WORKERS = (1, 2, 5, 10, 20, 50, 100)


def point(n_samples: int, noise: float) -> dict[str, float]:
    """A point of the exact theory at 500 features."""
    theta = np.arange(1, 501) ** -0.75
    model = LinearModel(n_samples, theta, source_coef=0.8 * theta, noise=noise, ridge="optimal")
    return {"risk": solve(model).risk}


@dataclasses.dataclass(frozen=True)
class Stage:
    """Equal tasks: seconds on a worker and at the caller, bytes of a result, how many at once."""

    name: str
    n_tasks: int
    worker: float
    caller: float
    result_bytes: float
    at_once: int

    def per_result(self, rate: float) -> float:
        """Seconds for which a result occupies the caller."""
        return self.caller + self.result_bytes / rate

    def seconds(self, n_workers: int, rate: float) -> float:
        """Time of all tasks on a simulated cluster."""
        clock = caller_free = 0.0
        for first in range(0, self.n_tasks, self.at_once):
            count = min(self.at_once, self.n_tasks - first)
            free = [clock] * n_workers
            done = []
            for _ in range(count):
                end = heapq.heappop(free) + self.worker
                heapq.heappush(free, end)
                done.append(end)
            for end in sorted(done):
                caller_free = max(caller_free, end) + self.per_result(rate)
            clock = caller_free  # the next ones are asked for when these are all here
        return clock

    def limit(self, rate: float) -> tuple[float, str]:
        """Workers beyond which nothing is gained, and what the reason is."""
        by_caller = self.worker / self.per_result(rate)
        if self.at_once < min(by_caller, self.n_tasks):
            return float(self.at_once), f"{self.at_once} tasks are asked for at once"
        if self.caller > self.result_bytes / rate:
            return by_caller, "the caller's work for every result"
        return by_caller, f"the way of {self.result_bytes / 1e6:.1f} MB to the caller"


def of_sweep(n_points: int) -> Stage:
    """The costs of a sweep of theory points, each kept on disk."""
    axes = {"n_samples": list(range(50, 150)), "noise": [0.1, 0.3]}
    began = time.process_time()
    for n in axes["n_samples"]:
        point(n, 0.1)
    worker = (time.process_time() - began) / len(axes["n_samples"])
    empty = {"x": list(range(2000))}
    with tempfile.TemporaryDirectory() as folder, joblib.parallel_config("dask"):
        began = time.process_time()
        retemper.sweep(nothing, empty, out=folder)
        caller = (time.process_time() - began) / len(empty["x"])
    return Stage(f"sweep of {n_points} points", n_points, worker, caller, 1e3, n_points)


def nothing(x: int) -> float:
    return float(x)


def same_sweep() -> bool:
    """Whether two workers over loopback write the file of one process."""
    axes = {"n_samples": [60, 80, 100, 120], "noise": [0.1, 0.2]}
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / "alone", Path(name) / "two"]
        retemper.sweep(point, axes, out=folders[0])
        with joblib.parallel_config("dask"):
            retemper.sweep(point, axes, out=folders[1])
        alone, two = (f.joinpath("sweep.nc").read_bytes() for f in folders)
    return alone == two


def rows(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(np.float32)
    return X, X @ rng.normal(size=d) / d**0.5 + rng.normal(size=n)


def same_fit() -> float:
    """Largest relative difference of a fit to a dask array from that in memory."""
    import dask.array

    X, y = rows(3000, 40)
    here = FineTunedLinearRegression().fit(X, y).coef_
    there = FineTunedLinearRegression().fit(dask.array.from_array(X, chunks=(500, 40)), y).coef_
    return float(np.abs(there - here).max() / np.abs(here).max())


def of_fit(n: int, d: int, n_blocks: int = 3) -> list[Stage]:
    """The costs of every pass of a fit over its rows, from some blocks on disk."""
    found: list[Stage] = []
    taken: list[tuple[float, float]] = []
    on_block, run = streaming._on_block, streaming.StreamedRows.map

    def timed(*given: Any) -> Any:
        began = time.process_time()
        result = on_block(*given)
        size = sum(np.asarray(part).nbytes for part in flat(result))
        taken.append((time.process_time() - began, size))
        return result

    def watched(self: Any, function: Any, *aligned: Any) -> Iterator[Any]:
        taken.clear()
        caller = []
        for item in run(self, function, *aligned):
            began = time.process_time()
            yield item
            caller.append(time.process_time() - began)
        seconds, sizes = np.array(taken).T
        while hasattr(function, "func"):
            function = function.func
        name = getattr(function, "__name__", "pass").strip("_<>")
        found.append(
            Stage(
                f"pass {len(found) + 1}: {name.replace('_', ' ')}",
                -(-n // streaming.ROWS),
                float(np.median(seconds)),
                float(np.median(caller)),
                float(np.median(sizes)),
                streaming._WAVE,
            )
        )

    X, y = rows(n_blocks * streaming.ROWS, d)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        X.tofile(path)
        mapped = np.memmap(path, np.float32, "r", shape=X.shape)
        streaming._on_block, streaming.StreamedRows.map = timed, watched
        began = time.process_time()
        try:
            FineTunedLinearRegression().fit(mapped, y)
        finally:
            streaming._on_block, streaming.StreamedRows.map = on_block, run
        total = time.process_time() - began
    passes = sum(n_blocks * (s.worker + s.caller) for s in found)
    rest = Stage("the caller alone: factors, ridges", 1, 0.0, max(total - passes, 0.0), 0.0, 1)
    return [*found, rest]


def flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def loopback(client: Any) -> float:
    """Bytes per second of a result on its way from a worker."""
    size = 8_000_000
    best = 0.0
    for _ in range(5):
        future = client.submit(np.ones, size // 8, pure=False)
        while not future.done():
            time.sleep(0.001)
        began = time.perf_counter()
        future.result()
        best = max(best, size / (time.perf_counter() - began))
    return best


def report(title: str, stages: list[Stage], rate: float) -> dict[str, Any]:
    """Print the model of some stages, one after the other, and where they stop gaining."""
    print(f"\n{title}")
    for s in stages:
        line = f"  {s.name:<34} {s.n_tasks:>6} tasks, worker {1e3 * s.worker:8.2f} ms, caller "
        print(f"{line}{1e3 * s.caller:7.3f} ms, {s.result_bytes / 1e6:6.2f} MB")
    seconds = [sum(s.seconds(w, rate) for s in stages) for w in WORKERS]
    for workers, took in zip(WORKERS, seconds, strict=True):
        print(
            f"  {workers:>4} workers {took:9.1f} s, {seconds[0] / took:5.1f} times one, "
            f"efficiency {100 * seconds[0] / took / workers:3.0f} %"
        )
    ends = {}
    for s in stages:
        if s.worker:
            workers, why = s.limit(rate)
            ends[s.name] = (workers, why)
            print(f"  {s.name} stops scaling at {workers:.0f} workers: {why}")
    return {"seconds": dict(zip(map(str, WORKERS), seconds, strict=True)), "limits": ends}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--rate", type=float, help="bytes per second of the network")
    parser.add_argument("--json", type=Path, help="write the record here")
    options = parser.parse_args()
    from distributed import Client

    with Client(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as client:
        equal, gap = same_sweep(), same_fit()
        print(
            f"two workers over loopback: sweep {'equal' if equal else 'DIFFERENT'}, fit {gap:.1e}"
        )
        rate = options.rate or loopback(client)
        sweep = of_sweep(options.points)
    print(f"network {rate / 1e9:.2f} GB/s{'' if options.rate else ' (loopback)'}")
    record = {
        "sweep": report(f"{options.points} theory points", [sweep], rate),
        "fit": report(
            f"fit to {options.rows} x {options.columns} rows",
            of_fit(options.rows, options.columns),
            rate,
        ),
    }
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    if not equal or not gap < 1e-9:
        raise SystemExit("two workers do not give what one process gives")


if __name__ == "__main__":
    main()
