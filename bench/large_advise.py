"""Time and memory of `retemper.advise` on 200 000 x 768 rows on disk.

``python bench/large_advise.py [--rows 200000] [--columns 768] [--sources 2] [--dask] [--memory]``
writes rows in single precision to a temporary file, asks for advice with some linear sources, and
prints seconds, seconds of all processors together, and the largest memory of the process, pages of
the file included. With ``--memory`` the same rows are then asked about in memory, and the largest
relative difference of errors and of predictions is printed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time

import numpy as np

import retemper
from large_linear import write_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--sources", type=int, default=2)
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    n, d = options.rows, options.columns
    with tempfile.TemporaryDirectory() as folder:
        X, y, w, rng = write_rows(folder, n, d)
        sources = {
            f"s{j}": w + (j + 1) * 0.1 * rng.normal(size=d) / d**0.5 for j in range(options.sources)
        }
        given = X
        if options.dask:
            import dask.array

            given = dask.array.from_array(X, chunks=(8192, d))
        begin, used = time.perf_counter(), time.process_time()
        advice = retemper.advise(given, y, sources=sources, progress=False)
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print("| rows, columns | sources | seconds | processor seconds | largest memory, GB |")
        print("| --- | --- | --- | --- | --- |")
        print(f"| {n}, {d} | {options.sources} | {seconds:.0f} | {used:.0f} | {memory:.2f} |")
        print(advice.headline, advice.seconds)
        if options.memory:
            other = retemper.advise(np.array(X, np.float64), y, sources=sources, progress=False)
            error = [
                abs(a.held_out_error / b.held_out_error - 1)
                for a, b in zip(advice.candidates, other.candidates, strict=True)
            ]
            said = [a.estimator_.predict(X[:1000]) for a in (advice, other)]
            off = np.abs(said[0] - said[1]).max() / np.abs(said[0]).max()
            print(f"in memory: errors differ by {max(error):.1e}, predictions by {off:.1e}")


if __name__ == "__main__":
    main()
