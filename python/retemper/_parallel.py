"""Independent pieces of work on Python threads, for work that is spent in the core."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from retemper._control import Progress

T = TypeVar("T")


def map_threads(
    work: Callable[[int, Progress], T],
    n_items: int,
    n_threads: int,
    progress: Progress | None = None,
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

    Returns
    -------
    list
        Results in the order of the items.
    """
    stop = threading.Event()

    def watch(*_: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    out: list[T] = []
    if n_threads <= 1:
        for i in range(n_items):
            out.append(work(i, watch))
            if progress is not None:
                progress(i + 1, n_items)
        return out
    pool = ThreadPoolExecutor(min(n_threads, n_items))
    try:
        for result in pool.map(lambda i: work(i, watch), range(n_items)):
            out.append(result)
            if progress is not None:
                progress(len(out), n_items)
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return out
