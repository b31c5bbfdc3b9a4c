"""Files of monitors and sweeps under kills, full disks, read-only folders and second writers.

    python bench/kills.py --kills 200   # as the nightly run

Half of the kills (SIGKILL, at a random moment) meet a `PhaseMonitor` with a ``path``, half a sweep
with ``out``; each goes on where the one before it was killed, and begins anew when it is through.
Nothing that was confirmed may be lost, nothing may be doubled, and what is finished must equal,
byte for byte, the file of a run that nobody disturbed. Then both run on disks of every size that is
too small for them, in a folder that cannot be written, and twice at once on one file: each must end
with the file of the undisturbed run after room is made, and say why in a sentence that names the
file. Small disks are mounted in a mount namespace (``unshare``); where that is not allowed they are
left out, and the last line says so.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

import numpy as np

import retemper
from retemper.phases import PhaseMonitor

#: Processes are forked: importing would take longer than what is killed.
CONTEXT = multiprocessing.get_context("fork")
STEPS, POINTS = 40, 60
#: Seconds; a kill falls anywhere between the start, or the first word, and this.
LATEST = {"monitor": 0.05, "sweep": 0.15}


def point(x: int, random_state: np.random.SeedSequence) -> dict[str, Any]:
    """A point of some milliseconds."""
    time.sleep(0.003)
    return {"draw": np.random.default_rng(random_state).normal(), "row": [x, x**2]}


def sweep(folder: Path, said: Callable[[int], None]) -> None:
    """A sweep; says how many of its points are kept."""
    retemper.sweep(
        point,
        {"x": list(range(POINTS))},
        0,
        out=folder,
        progress=lambda done, total: said(done),
    )


def monitor(folder: Path, said: Callable[[int], None]) -> None:
    """A monitor of a layer that forgets; says how many of its checkpoints are kept."""
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(60, 6)), rng.normal(size=(60, 6))
    watch = PhaseMonitor(X, path=folder / "monitor.jsonl", n_jobs=1)
    said(len(watch.history_))
    for step in range(STEPS):
        share = step / STEPS
        watch.observe(step, {"hidden": np.tanh((1.0 - share) * X + share * noise)})
        said(len(watch.history_))
    assert list(watch.history_) == list(range(STEPS)), "a checkpoint is lost, or doubled"


TASKS: dict[str, Callable[[Path, Callable[[int], None]], None]] = {
    "monitor": monitor,
    "sweep": sweep,
}
RESULT = {"monitor": "monitor.jsonl", "sweep": "sweep.nc"}


def work(task: str, folder: Path, pipe: Any) -> None:
    """What a process does: the task, and at the end what became of it."""
    warnings.simplefilter("ignore")
    try:
        TASKS[task](folder, lambda done: pipe.send(("kept", done)))
        pipe.send(("finished", ""))
    except (OSError, RuntimeError) as error:
        pipe.send(("refused", f"{type(error).__name__}: {error}"))
    except BaseException as error:
        pipe.send(("fault", f"{type(error).__name__}: {error}"))


def start(task: str, folder: Path) -> tuple[Any, Any]:
    ours, theirs = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=work, args=(task, folder, theirs))
    child.start()
    theirs.close()
    return child, ours


def heard(pipe: Any) -> Iterator[tuple[str, Any]]:
    """What a process has said; one that was killed may have said half a sentence."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            yield pipe.recv()


def end_of(task: str, folder: Path) -> tuple[str, str]:
    """How an undisturbed process ends."""
    child, pipe = start(task, folder)
    *_, last = heard(pipe)
    child.join()
    return last


def killed(
    task: str, kills: int, root: Path, want: bytes, choose: random.Random
) -> tuple[int, list[str]]:
    """Number of runs that came through all the kills, and what is wrong."""
    faults, done, kept, folder = [], 0, 0, root / f"{task}-0"
    folder.mkdir()
    for _ in range(kills):
        child, pipe = start(task, folder)
        if choose.random() < 0.8:  # the others are killed while they begin
            pipe.poll(10.0)
        time.sleep(choose.uniform(0.0, LATEST[task]))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        for word, value in heard(pipe):
            if word == "kept" and value < kept:
                faults.append(f"{task}: {kept} were kept, {value} are there")
            if word == "kept":
                kept = value
            elif word != "finished":
                faults.append(f"{task}: {value}")
        if kept >= {"monitor": STEPS, "sweep": POINTS}[task]:
            faults += compared(task, folder, want)
            done, kept, folder = done + 1, 0, root / f"{task}-{done + 1}"
            folder.mkdir()
    return done, faults + compared(task, folder, want)


def compared(task: str, folder: Path, want: bytes) -> list[str]:
    """Whether a folder goes on to the file of the undisturbed run."""
    word, text = end_of(task, folder)
    if word != "finished":
        return [f"{task} does not go on: {text}"]
    found = (folder / RESULT[task]).read_bytes()
    return [] if found == want else [f"{task}: the file is another one"]


def judged(task: str, end: tuple[str, str], folder: Path) -> tuple[str, list[str]]:
    """A word for the end of a process, and what is wrong with it: a refusal names the file."""
    word, text = end
    if word == "refused" and str(folder) in text:
        return re.sub(r"\d+ (points|before)", r"N \1", text.replace(str(folder), "...")), []
    return word, [] if word == "finished" else [f"{task}: {word} without a name: {text}"]


def mounted(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def small_disks(root: Path, want: dict[str, bytes], ends: collections.Counter[str]) -> list[str]:
    """Both tasks on disks that are too small, then on the same disk with room, then read-only."""
    faults, disk = [], root / "disk"
    disk.mkdir()
    for task in TASKS:
        for pages in (1, 2, 3, 5, 8, 13):
            if not mounted("mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "none", str(disk)):
                return ["a small disk cannot be mounted"]
            try:
                for option in (f"size={4 * pages}k", "ro", "rw,size=8m"):
                    mounted("mount", "-o", f"remount,{option}", str(disk))
                    if option.startswith("rw"):
                        faults += compared(task, disk, want[task])
                        continue
                    end, wrong = judged(task, end_of(task, disk), disk)
                    ends[f"{'read-only' if option == 'ro' else 'full'}: {end}"] += 1
                    faults += wrong
            finally:
                mounted("umount", str(disk))
    return faults


def two_at_once(
    task: str, times: int, root: Path, want: bytes, ends: collections.Counter[str]
) -> list[str]:
    """Two processes on one file: one of them comes through, the other is told, or comes after."""
    faults = []
    for i in range(times):
        folder = root / f"{task}-two-{i}"
        folder.mkdir()
        children = [start(task, folder) for _ in range(2)]
        last = []
        for child, pipe in children:
            last.append(list(heard(pipe))[-1])
            child.join()
        words = sorted(word for word, _ in last)
        if words not in (["finished", "finished"], ["finished", "refused"]):
            faults.append(f"{task}, two at once: {last}")
        for word, text in last:
            if word == "refused" and "by another process" not in text:
                faults.append(f"{task}, two at once: {text}")
        ends[f"two at once: {task} {' and '.join(words)}"] += 1
        faults += compared(task, folder, want)
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:  # mounts end with this process
        space = next(
            (
                space
                for space in (["unshare", "-m"], ["unshare", "-rm"])
                if shutil.which("unshare") and mounted(*space, "true")
            ),
            [],
        )
        inside = ["--inside"] if space else []
        command = [*space, sys.executable, __file__, *sys.argv[1:], *inside]
        if space:
            sys.exit(subprocess.run(command, check=False).returncode)
    choose = random.Random(options.seed)
    ends: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        root, want = Path(name), {}
        for task, run in TASKS.items():
            (root / task).mkdir()
            run(root / task, lambda done: None)  # here, so that it loads what it needs
            want[task] = (root / task / RESULT[task]).read_bytes()
            done, wrong = killed(task, options.kills // 2, root, want[task], choose)
            faults += wrong
            print(f"{task}: {options.kills // 2} kills, {done} runs came through", flush=True)
            faults += two_at_once(task, 10, root, want[task], ends)
        if options.inside:
            faults += small_disks(root, want, ends)
    for text, times in sorted(ends.items()):
        print(f"  {times:3d} x {text}")
    for fault in faults:
        print(f"fault: {fault}")
    print(f"lost or doubled or without a sentence: {len(faults)}")
    if not options.inside:
        print("small and read-only disks were left out: no mount namespace here")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
