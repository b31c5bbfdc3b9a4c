"""Run the benches: ``python bench/run.py [PATTERN] [--json FILE] [--budget SECONDS]``.

``--levels v3 v4`` runs them once at each of these instruction-set levels, which must be built
(``RETEMPER_LEVELS``), with the rivals held to the same level. ``--page`` is the one command behind
``docs/performance.json``: the benches on one thread at v3 and v4, then the growth of cost
(``bench/growth.py``). A round that takes more than half a second is made once after the warm-up,
others three times at least.

A bench is a class as airspeed velocity knows it: ``params``, ``param_names``, ``setup`` and methods
named ``time_<who>`` and ``peakmem_<who>``. ``time_retemper`` is ours; every other ``time_<rival>``
does the same task another way, is run in turn with it, and is printed as a ratio to it. A rival
that raises ``NotImplementedError`` in this configuration, or whose package is missing, is left out.
An optional method ``bound(*params)`` returns the least work of the task, in ``flops`` of a matrix
product, in ``bytes`` that are read or written, or in bytes of ``reads`` alone; the report then says
which of them bounds it on this machine, by rates measured in the same run, and how far we are from
it. An optional method ``goal(*params)`` returns seconds that the fastest round is to keep.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def find(pattern: str) -> Iterator[tuple[str, type]]:
    """Bench classes whose ``module.Class`` matches."""
    for file in sorted(HERE.glob("bench_*.py")):
        module = importlib.import_module(file.stem)
        for name, item in list(vars(module).items()):  # benches may import into their module
            own = isinstance(item, type) and item.__module__ == file.stem
            if own and hasattr(item, "time_retemper"):
                full = f"{file.stem.removeprefix('bench_')}.{name}"
                if re.search(pattern, full, re.IGNORECASE):
                    yield full, item


def cases(bench: type, one_thread: bool = False) -> Iterator[tuple[Any, ...]]:
    """The parameter sets; on request only those of one thread."""
    params = getattr(bench, "params", ())
    nested = params and isinstance(params[0], list | tuple)
    every = itertools.product(*params) if nested else ((p,) for p in params) if params else [()]
    names = getattr(bench, "param_names", ())
    at = names.index("n_jobs") if one_thread and "n_jobs" in names else None
    yield from (case for case in every if at is None or case[at] == 1)


def prefixed(bench: type, prefix: str) -> list[str]:
    names = [n.removeprefix(prefix) for n in dir(bench) if n.startswith(prefix)]
    return sorted(names, key=lambda n: (n != "retemper", n))


def time_rounds(
    calls: dict[str, Callable[[], object]], budget: float
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds per call, in rounds that take each contestant in turn; and who cannot take part."""
    loops, absent = {}, []
    for who, call in list(calls.items()):
        try:
            for _ in range(2):  # the first warms up, and is enough of a long call
                start = time.perf_counter()
                call()
                once = time.perf_counter() - start
                if once > 0.2:
                    break
        except (ImportError, NotImplementedError):
            absent.append(who)
            del calls[who]
            continue
        loops[who] = max(1, int(2e-3 / max(once, 1e-9)))
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    end = time.perf_counter() + budget
    began = time.perf_counter()
    for done in range(200):
        least = 3 if done and (time.perf_counter() - began) / done < 0.5 else 1
        if done >= least and time.perf_counter() > end:
            break
        for who, call in calls.items():
            start = time.perf_counter()
            for _ in range(loops[who]):
                call()
            seconds[who].append((time.perf_counter() - start) / loops[who])
    return seconds, absent


def _peak(bench: type, who: str, case: tuple[Any, ...], pipe: Any) -> None:
    item = bench()
    item.setup(*case)
    pipe.send(rise(lambda: getattr(item, f"peakmem_{who}")(*case)))


def rise(call: Callable[[], object]) -> int:
    """Growth of the peak memory of this process while a call runs."""
    with contextlib.suppress(OSError):  # Linux: forget the peak of what came before
        Path("/proc/self/clear_refs").write_text("5")
    before = high_water()
    call()
    return (high_water() - before) * 1024


def high_water() -> int:
    """Largest resident size so far, in KiB."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_bytes(bench: type, who: str, case: tuple[Any, ...]) -> int:
    """Growth of the peak memory of a fresh process over what ``setup`` needed."""
    return from_process("spawn", _peak, bench, who, case)


def from_process(method: str, work: Callable[..., None], *given: Any) -> int:
    """What a fresh process sends: its work takes what is given, and a pipe."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(*given, theirs))
    child.start()
    child.join()
    return int(ours.recv())


def machine() -> dict[str, float]:
    """Rates of one thread: matrix products, copying and reading, both from memory."""
    a = np.random.default_rng(0).normal(size=(600, 600))
    source = np.ones(32_000_000)  # zeros would be one page in cache, under many addresses
    target = np.ones_like(source)
    flops, copied, read = [], [], []
    for _ in range(7):
        start = time.perf_counter()
        a @ a
        flops.append(2 * 600**3 / (time.perf_counter() - start))
        start = time.perf_counter()
        np.copyto(target, source)
        copied.append(2 * source.nbytes / (time.perf_counter() - start))
        start = time.perf_counter()
        source @ source
        read.append(source.nbytes / (time.perf_counter() - start))
    return {
        "flops_per_s": max(flops),
        "bytes_per_s": max(copied),
        "reads_per_s": max(read),
    }


def _human(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def run_case(bench: type, case: tuple[Any, ...], budget: float, rates: dict[str, float]) -> Any:
    """Measure one parameter set and print its lines."""
    item = bench()
    with contextlib.suppress(AttributeError):
        item.setup(*case)
    names = getattr(bench, "param_names", [f"p{i}" for i in range(len(case))])
    label = ", ".join(f"{n}={v}" for n, v in zip(names, case, strict=True)) or "-"
    calls = {
        who: functools.partial(getattr(item, f"time_{who}"), *case)
        for who in prefixed(bench, "time_")
    }
    seconds, absent = time_rounds(calls, budget)
    record: dict[str, Any] = {"params": dict(zip(names, map(str, case), strict=True))}
    ours = np.array(seconds["retemper"])
    line = f"  {label:<44} retemper {_human(float(np.median(ours))):>9}"
    record["seconds"] = {
        w: [float(f(s)) for f in (np.min, np.median, np.max)] for w, s in seconds.items()
    }
    for who, rival in seconds.items():
        if who != "retemper":
            ratio = float(np.median(np.array(rival) / ours))
            record.setdefault("ratio", {})[who] = ratio
            line += f" | {who} {_human(float(np.median(rival))):>9} = {ratio:.3g}x"
    if absent:
        line += f" | not here: {', '.join(absent)}"
    if hasattr(item, "goal"):
        goal = float(item.goal(*case))
        record["goal"] = {"seconds": goal, "is_met": bool(np.min(ours) <= goal)}
        line += f" | goal {_human(goal)} {'met' if record['goal']['is_met'] else 'MISSED'}"
    if hasattr(item, "bound"):
        work = item.bound(*case)
        least = {name: amount / rates[f"{name}_per_s"] for name, amount in work.items()}
        which = max(least, key=least.__getitem__)
        record["bound"] = {"by": which, "fraction": least[which] / float(np.median(ours))}
        line += f" | bound by {which}, at {100 * record['bound']['fraction']:.0f}%"
    print(line, flush=True)
    for who in prefixed(bench, "peakmem_"):
        size = peak_bytes(bench, who, case)
        record.setdefault("peak_bytes", {})[who] = size
        print(f"  {'':<44} peak memory of {who}: {size / 1e6:.1f} MB", flush=True)
    return record


#: What holds the rivals to AVX2; numpy names its own levels.
_AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}


def at_level(level: str) -> dict[str, str]:
    """The environment in which everybody runs at a level."""
    environment = {**os.environ, "RETEMPER_LEVEL": level}
    if level == "v3":
        from numpy._core._multiarray_umath import __cpu_dispatch__

        above = [name for name in __cpu_dispatch__ if "AVX512" in name or name == "X86_V4"]
        environment |= {**_AVX2, "NPY_DISABLE_CPU_FEATURES": " ".join(above)}
    return environment


def run_file(name: str, *options: str, environment: dict[str, str] | None = None) -> Any:
    """The record that a bench file writes, run as a command of its own."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        command = [sys.executable, str(HERE / name), *options, "--json", str(record)]
        subprocess.run(command, check=True, env=environment)
        return json.loads(record.read_text())


def run_levels(levels: list[str], with_growth: bool, options: list[str]) -> dict[str, Any]:
    """The records of all levels; what they share stands once."""
    found = {level: run_file("run.py", *options, environment=at_level(level)) for level in levels}
    shared = {key: found[levels[0]][key] for key in ("machine", "commit", "versions", "about")}
    own = {k: {"rates": r["rates"], "benches": r["benches"]} for k, r in found.items()}
    record = {**shared, "levels": own}
    if with_growth:
        growth = ("--budget", "0.05")
        record["growth"] = run_file("growth.py", *growth, environment=at_level(levels[-1]))
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="", help="regular expression on module.Class")
    parser.add_argument("--json", type=Path, help="write the record here")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds per parameter set")
    parser.add_argument("--levels", nargs="+", help="run once at each of these levels")
    parser.add_argument("--page", action="store_true", help="v3, v4 and growth, on one thread")
    parser.add_argument("--one-thread", action="store_true", help="leave out what takes more")
    arguments = parser.parse_args()
    command = shlex.join(["python", "bench/run.py", *sys.argv[1:]])
    if arguments.levels or arguments.page:
        options = [arguments.pattern, "--budget", str(arguments.budget)]
        options += ["--one-thread"] * (arguments.page or arguments.one_thread)
        both = run_levels(arguments.levels or ["v3", "v4"], arguments.page, options)
        if arguments.json:
            arguments.json.write_text(json.dumps({"command": command, **both}, indent=1) + "\n")
        return
    import retemper._versions

    rates = machine()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=HERE,
        check=False,
    )
    versions = retemper._versions.versions()
    print(
        f"{platform.processor() or platform.machine()}, {versions['level']}, "
        f"one thread: {rates['flops_per_s'] / 1e9:.1f} Gflop/s, "
        f"{rates['bytes_per_s'] / 1e9:.1f} GB/s"
    )
    record: dict[str, Any] = {
        "command": command,
        "machine": platform.machine(),
        "commit": commit.stdout.strip(),
        "versions": {k: v for k, v in versions.items() if k != "platform"},
        "rates": rates,
        "about": {},
        "benches": {},
    }
    for name, bench in find(arguments.pattern):
        about = (bench.__doc__ or "").strip().split("\n")[0]
        print(name, "-", about)
        record["about"][name] = about
        record["benches"][name] = [
            run_case(bench, case, arguments.budget, rates)
            for case in cases(bench, arguments.one_thread)
        ]
    if not record["benches"]:
        sys.exit(f"no bench matches {arguments.pattern!r}")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
