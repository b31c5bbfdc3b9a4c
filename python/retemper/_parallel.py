"""Independent pieces of work on Python threads, for work that is spent in the core."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

from retemper._control import Progress, interrupts_wait
from retemper._progress import shown_progress

T = TypeVar("T")


def map_threads(
    work: Callable[[int, Progress], T],
    n_items: int,
    n_threads: int,
    progress: Progress | None = None,
    *,
    unit: str = "pieces",
) -> list[T]:
    """``[work(0, watch), work(1, watch), ...]`` on several threads.

    Parameters
    ----------
    work : callable
        Takes the number of the item and a progress callback to hand to the core, through which an
        interrupt of the calling thread reaches the others.
    n_items : int
        Number of items.
    n_threads : int
        Threads; 1 runs in the calling thread.
    progress : callable or None, default=None
        Called in the calling thread with (items done, items).
    unit : str, default="pieces"
        What is counted, where the call shows by itself how far it is.

    Returns
    -------
    list
        Results in the order of the items.
    """
    stop = threading.Event()

    def watch(*_: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    with shown_progress(progress, "retemper", unit) as report:
        done: list[T] = []
        results = _results(lambda i: work(i, watch), n_items, n_threads, stop)
        with closing(results):  # an exception in the report stops the others too
            for result in results:
                done.append(result)
                if report is not None:
                    report(len(done), n_items)
        return done


def _results(
    work: Callable[[int], T], n_items: int, n_threads: int, stop: threading.Event
) -> Generator[T, None, None]:
    """Results in order, as they come; what is under way is stopped with the one who asks."""
    if n_threads <= 1:
        yield from map(work, range(n_items))
        return
    # SimpleQueue alone: an interrupt between the lines of a lock of Python's would leave it closed
    todo: SimpleQueue[int] = SimpleQueue()
    for i in range(n_items):
        todo.put(i)
    ended: SimpleQueue[tuple[int, T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        while not stop.is_set():
            try:
                i = todo.get_nowait()
            except Empty:
                return
            try:
                ended.put((i, work(i), None))
            except BaseException as error:
                ended.put((i, None, error))
                return

    threads = [threading.Thread(target=run) for _ in range(min(n_threads, n_items))]
    early: dict[int, tuple[T | None, BaseException | None]] = {}
    try:
        with interrupts_wait():
            for thread in threads:
                thread.start()
        for i in range(n_items):
            while i not in early:
                with suppress(Empty):  # with a limit: an unlimited wait sees no signal on Windows
                    at, value, error = ended.get(timeout=0.1)
                    early[at] = value, error
            value, error = early.pop(i)
            if error is not None:
                raise error
            yield cast(T, value)
    finally:
        stop.set()
        for thread in threads:
            _join(thread)


def _join(thread: threading.Thread) -> None:
    """Wait for a thread that may not have been started, or be on its way."""
    while thread.ident is not None:
        try:
            return thread.join()
        except RuntimeError:  # it runs, but has not said so yet
            time.sleep(1e-3)
