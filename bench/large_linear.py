"""Time and memory of a fit to 200 000 x 768 rows on disk.

``python bench/large_linear.py [--rows 200000] [--columns 768] [--dask]`` writes rows in single
precision to a temporary file, fits `FineTunedLinearRegression` to them without and with a source,
and prints seconds, seconds of all processors together, and the largest memory of the process, pages
of the file included.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from retemper.linear import FineTunedLinearRegression


def write_rows(folder, n, d):
    """Rows in single precision in a file, and their labels with noise of variance one."""
    rng = np.random.default_rng(0)
    w, y = rng.normal(size=d) / d**0.5, np.empty(n)
    path = Path(folder) / "rows.f4"
    rows = np.memmap(path, dtype=np.float32, mode="w+", shape=(n, d))
    for start in range(0, n, 8192):
        block = rng.normal(size=(min(8192, n - start), d)) * np.geomspace(0.1, 10.0, d)
        rows[start : start + len(block)] = block
        y[start : start + len(block)] = block @ w + rng.normal(size=len(block))
    rows.flush()
    del rows
    return np.memmap(path, dtype=np.float32, mode="r", shape=(n, d)), y, w, rng


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--dask", action="store_true")
    options = parser.parse_args()
    n, d = options.rows, options.columns
    with tempfile.TemporaryDirectory() as folder:
        X, y, w, rng = write_rows(folder, n, d)
        if options.dask:
            import dask.array

            X = dask.array.from_array(X, chunks=(8192, d))
        print("| fit | seconds | processor seconds | largest memory so far, GB | error |")
        print("| --- | --- | --- | --- | --- |")
        for name, settings in (
            ("from scratch", {}),
            ("from a source", {"source": w + 0.1 * rng.normal(size=d) / d**0.5}),
        ):
            begin, used = time.perf_counter(), time.process_time()
            model = FineTunedLinearRegression(**settings).fit(X, y)
            seconds, used = time.perf_counter() - begin, time.process_time() - used
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(
                f"| {name} | {seconds:.0f} | {used:.0f} | {memory:.2f} | {model.loo_:.6f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
