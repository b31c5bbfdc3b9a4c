"""Sums and loops over threads: the same bits, and errors that come out."""

import math
import random
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retemper._dispatch import core
from retemper._parallel import map_threads

ordered_sum = core.core.ordered_sum


@given(st.integers(0, 3000), st.integers(1, 600), st.integers(0, 5))
def test_sum_has_the_same_bits_for_any_number_of_threads(n, block, seed):
    x = np.random.default_rng(seed).normal(size=n) * 10.0 ** np.arange(-8, 8)[np.arange(n) % 16]
    one = ordered_sum(x, block, 1)
    assert [ordered_sum(x, block, k) for k in (2, 3, 7)] == [one] * 3
    assert one == pytest.approx(math.fsum(x), rel=1e-9, abs=1e-7)


def test_blocks_are_added_in_order():
    x = np.random.default_rng(1).normal(size=1000) * 1e6
    slow = 0.0
    for start in range(0, 1000, 64):
        part = 0.0
        for value in x[start : start + 64]:
            part += value
        slow += part
    assert ordered_sum(x, 64, 3) == slow


@pytest.mark.parametrize("n_threads", [1, 3])
def test_progress_counts_up_to_the_total_and_may_stop_the_work(n_threads):
    seen = []
    core.core.wait_under_control(6, 0.06, n_threads, lambda *pair: seen.append(pair))
    assert seen
    assert {total for _, total in seen} == {6}
    done = [count for count, _ in seen]
    assert done == sorted(done)

    def stop(done, total):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        core.core.wait_under_control(1000, 0.06, n_threads, stop)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_and_the_first_error_come_in_order(n_threads):
    def late(i, _watch):
        time.sleep(0.002 * (i % 3 == 0))
        if i in (11, 12):
            raise KeyError(i)
        return i

    assert map_threads(late, 11, n_threads) == list(range(11))
    assert map_threads(late, 0, n_threads) == []
    for _ in range(5):
        with pytest.raises(KeyError, match="11"):
            map_threads(late, 20, n_threads)
    assert not [t for t in threading.enumerate() if t.name.endswith("(run)")]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal")
def test_an_interrupt_at_any_moment_leaves_nothing_locked():
    """A pool of futures was left with a closed lock, and waited for itself for ever."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before, rng, came = signal.signal(signal.SIGALRM, interrupt), random.Random(0), 0
    try:
        for _ in range(60):
            signal.setitimer(signal.ITIMER_REAL, 0.02 * rng.random())
            try:
                map_threads(lambda i, _watch: i, 30_000, 2)
                time.sleep(0.1)
            except KeyboardInterrupt:
                came += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came == 60
    # A thread whose start was interrupted may come late, or stay a name that never ran.
    last = time.monotonic() + 5.0
    while running := [t for t in threading.enumerate() if t.is_alive() and "(run)" in t.name]:
        assert time.monotonic() < last, running
        time.sleep(0.01)
