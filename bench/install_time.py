"""How long a newcomer waits: install from source, all levels, and a rebuild after one change.

``python bench/install_time.py [one] [all] [change] [--extras cli]`` makes an empty virtual
environment for each, copies the tracked files so that nothing built before is used, switches
compiler caches off, and prints wall time, processor time and the largest process. Wall times mean
something on a machine that does nothing else; of the others, compare the processor time.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD_TOOLS = ("cmake", "ninja", "pybind11>=3.0,<4", "cmeel-eigen==3.4.1")
KERNELS = ("widenet/simulate", "linear/relu", "phases/mlp")  # the first is the dearest file
LIMITS = {"one": 120, "all": 240, "change": 15}  # seconds of wall time on two idle cores
LARGEST_PROCESS = 1.0  # GB


@dataclasses.dataclass
class Cost:
    """Wall and processor time in seconds, memory of the largest process in GB."""

    wall: float
    processor: float
    memory: float


def measure(command: list[str], folder: Path, **environment: str) -> Cost:
    """Run a command to its end and say what it and all its children took."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"CCACHE_DISABLE": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output.decode(errors='replace')[-4000:]}")
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return Cost(
        time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit
    )


def report(what: str, cost: Cost, limit: float) -> bool:
    """Print one line; whether it is within its limits."""
    is_met = cost.wall <= limit and cost.memory <= LARGEST_PROCESS
    print(
        f"{what:<42} {cost.wall:6.1f} s wall (at most {limit} s: {'met' if is_met else 'missed'}), "
        f"{cost.processor:6.1f} s of processor time, largest process {cost.memory:.2f} GB",
        flush=True,
    )
    return is_met


def copy_of_tree(folder: Path) -> Path:
    """Copy the tracked files and nothing that was built."""
    tree = folder / "tree"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in names.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return tree


def new_python(folder: Path) -> str:
    """Interpreter of an empty virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    return str(folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def time_install(levels: str, extras: str) -> Cost:
    """What ``pip install ".[extras]"`` takes, dependencies included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [new_python(folder), "-m", "pip", "install", "-q", f".[{extras}]"]
        return measure(
            command, copy_of_tree(folder), SKBUILD_CMAKE_DEFINE=f"RETEMPER_LEVELS={levels}"
        )


def time_changes() -> list[tuple[str, Cost]]:
    """What a rebuild takes in a developer's tree after a change in one kernel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, tree = new_python(folder), copy_of_tree(folder)
        measure([python, "-m", "pip", "install", "-q", *BUILD_TOOLS], folder)
        where = subprocess.run(
            [python, "-c", "import sysconfig, pybind11; print(sysconfig.get_path('purelib'));"
             "print(pybind11.get_cmake_dir())"],
            capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
        options = [f"-DCMAKE_PREFIX_PATH={where[0]}", f"-Dpybind11_DIR={where[1]}"]
        measure(["cmake", "--preset", "dev", *options], tree, PATH=path)
        build = ["cmake", "--build", "--preset", "dev"]
        measure(build, tree, PATH=path)
        costs = []
        for kernel in KERNELS:
            file = tree / "cpp" / "src" / f"{kernel}.cpp"
            file.write_text(file.read_text() + "\n")
            costs.append((kernel, measure(build, tree, PATH=path)))
        return costs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--extras", default="cli", help="extras to install, default cli")
    arguments = parser.parse_args()
    from retemper._cpu import level

    busy = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    print(f"{platform.machine()} {level()}, {len(os.sched_getaffinity(0))} cores, {busy}")
    met = []
    for what in arguments.what:
        if what == "change":
            for kernel, cost in time_changes():
                met.append(report(f"rebuild after a change in {kernel}", cost, LIMITS[what]))
        else:
            cost = time_install("auto" if what == "one" else "all", arguments.extras)
            levels = "this machine's level" if what == "one" else "all levels"
            met.append(report(f"install of {levels}", cost, LIMITS[what]))
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
