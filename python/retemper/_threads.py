"""Resolves ``n_jobs`` once, at the top; the core takes the number of threads as an argument."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from retemper._dispatch import core

_forked = False


def _after_fork() -> None:
    # A team of two threads opened in a forked child of a threaded parent hangs under libgomp.
    global _forked  # noqa: PLW0603
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _quota() -> float:
    """Processors granted by the container (cgroup v2), infinite if there is no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return float("inf") if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return float("inf")


def n_processors() -> int:
    """Processors this process may use: affinity mask and container quota respected."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return max(1, int(min(count, _quota())))


def effective_n_threads(n_jobs: int | None) -> int:
    """Number of threads for the core.

    Parameters
    ----------
    n_jobs : int or None
        None follows ``omp_get_max_threads()`` capped by the processors this process may use
        (not capped if ``OMP_NUM_THREADS`` is set); -1 is every processor, -2 all but one, and so
        on; a positive number is taken as it is.

    Returns
    -------
    int
        At least 1; always 1 in a forked child.

    Raises
    ------
    ValueError
        If ``n_jobs`` is 0.
    TypeError
        If ``n_jobs`` is neither None nor an integer.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not hasattr(n_jobs, "__index__")):
        raise TypeError(f"n_jobs must be None or an integer, got {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError("n_jobs must be None or a non-zero integer, got 0")
    if _forked or not core.openmp_version():
        return 1
    if n_jobs is None:
        limit = core.max_threads()
        return limit if "OMP_NUM_THREADS" in os.environ else min(limit, n_processors())
    n_jobs = int(n_jobs)
    return n_jobs if n_jobs > 0 else max(1, n_processors() + 1 + n_jobs)
