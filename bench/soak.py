"""Calls of every system for a long time, mixed: memory stays flat, files close, /dev/shm is clean.

    python bench/soak.py --minutes 60   # as the nightly run

The calls are those of the examples in every docstring, in random order, short ones more often:
most as they stand, some with a wrong argument (errors must let go of memory too), some interrupted
on their way as by Ctrl-C. After a warm-up, in which caches fill, a line is fitted to the resident
memory against the number of calls. The run fails if the line rises by more than ``BOUND`` MiB per
1000 calls beyond two standard errors, if more files are open in the last third than ever before,
or if something is left in /dev/shm.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.contract.fuzz import Call, call_and_fit, documented_calls, quiet, replacements

HOME = Path.cwd()
#: MiB of resident memory per 1000 calls; an example holds less than 1 MiB of arrays.
BOUND = 2.0
#: Shares of calls that get a wrong argument, and that are interrupted.
WRONG, INTERRUPTED = 0.2, 0.1
#: Calls that take longer than this, in seconds, would leave the others no time.
LONGEST = 5.0
#: Share of the run in which caches fill.
WARM_UP = 1 / 3


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def interrupt(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C comes


def one_call(call: Call, rng: random.Random, length: float) -> str:
    """Make one call, and say how it ended."""
    named, limit, kind = call.bind(), LONGEST, rng.random()
    if kind < WRONG and named:
        argument = rng.choice(sorted(named))
        named[argument] = rng.choice([value for _, value in replacements(named[argument])])
    elif kind > 1.0 - INTERRUPTED:
        limit = max(1e-3, rng.random() * length)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit)  # a wrong number may ask for hours
        quiet(lambda: call_and_fit(call, named))
        signal.setitimer(signal.ITIMER_REAL, 0)
        return "done"
    except KeyboardInterrupt:
        # it may have come while `quiet` gave these back
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        os.chdir(HOME)
        return "interrupted"
    except Exception:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return "refused"


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and its standard error."""
    slope, at = np.polyfit(x, y, 1)
    rest = y - slope * x - at
    spread = np.sqrt(rest @ rest / max(len(x) - 2, 1) / np.square(x - x.mean()).sum())
    return float(slope), float(spread)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:  # workers and their files live as long as the process that makes calls
        inside = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--inside"])
        code = inside.wait()
        time.sleep(2.0)  # what cleans up after it is a process too
        left = [p.name for p in Path("/dev/shm").glob(f"*[-_]{inside.pid}[-_]*")]
        print(f"left in /dev/shm: {left or 'nothing'}")
        bad = code != 0 or bool(left)
        print("failed" if bad else "passed")
        sys.exit(bad)
    rng = random.Random(options.seed)
    signal.signal(signal.SIGALRM, interrupt)
    # a job that a shell started in the background ignores SIGINT, and no call would be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lengths = {}
    calls = documented_calls()
    for path, call in list(calls.items()):
        began = time.perf_counter()
        with contextlib.suppress(Exception):  # stands on what its example did before
            quiet(lambda call=call: call_and_fit(call, call.bind()))
        lengths[path] = time.perf_counter() - began
        if lengths[path] > LONGEST:
            del calls[path]
    paths = sorted(calls)
    weights = [1.0 / (0.05 + lengths[path]) for path in paths]
    systems = collections.Counter(path.split(".")[1] for path in paths)
    print(f"{len(paths)} calls of {len(systems)} parts: {dict(systems)}", flush=True)

    ends: collections.Counter[str] = collections.Counter()
    made: list[float] = []
    memory: list[float] = []
    files: list[int] = []
    began = last = time.monotonic()
    while time.monotonic() - began < 60.0 * options.minutes:
        path = rng.choices(paths, weights)[0]
        ends[one_call(calls[path], rng, lengths[path])] += 1
        if time.monotonic() - last > 60.0 * options.minutes / 300:
            gc.collect()
            last = time.monotonic()
            made.append(ends.total())
            memory.append(resident())
            files.append(open_files())
            if len(made) % 30 == 0:
                print(
                    f"{(last - began) / 60:5.1f} min: {ends.total()} calls, {memory[-1]:.0f} MiB, "
                    f"{files[-1]} files open",
                    flush=True,
                )
    first, third = int(WARM_UP * len(made)), int(2 * len(made) / 3)
    slope, error = line(np.array(made[first:]) / 1000, np.array(memory[first:]))
    print(f"{ends.total()} calls in {options.minutes:g} min: {dict(ends)}")
    print(
        f"memory after warm-up: {memory[first]:.0f} to {memory[-1]:.0f} MiB, "
        f"{slope:+.2f} +- {error:.2f} MiB per 1000 calls (bound {BOUND:g})"
    )
    most = max(files[:third]), max(files[third:])
    print(f"open files: at most {most[0]} before, {most[1]} in the last third")
    failed = [
        name
        for name, bad in {
            "memory grows": slope - 2.0 * error > BOUND,
            "files stay open": most[1] > most[0],
        }.items()
        if bad
    ]
    for name in failed:
        print(f"failed: {name}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
