"""The simulated cluster of `bench/cluster.py`: known times, and known ends of scaling."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "cluster.py"


@pytest.fixture(scope="module")
def cluster():
    spec = importlib.util.spec_from_file_location("bench_cluster", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_times_of_equal_tasks(cluster):
    free = cluster.Stage("free", 12, worker=1.0, caller=0.0, result_bytes=0.0, at_once=12)
    assert [free.seconds(w, 1e9) for w in (1, 3, 5, 12, 100)] == [12, 4, 3, 1, 1]
    waves = cluster.Stage("waves", 12, 1.0, 0.0, 0.0, at_once=4)
    assert [waves.seconds(w, 1e9) for w in (1, 3, 4, 12)] == [12, 6, 3, 3]
    caller = cluster.Stage("caller", 12, 1.0, 0.5, 0.0, at_once=12)
    assert caller.seconds(12, 1e9) == 1.0 + 12 * 0.5
    assert caller.seconds(1, 1e9) == 12 + 0.5  # the caller works while the worker does


def test_what_ends_the_scaling_is_named(cluster):
    stage = cluster.Stage("a", 1000, 1.0, 0.1, 0.0, at_once=1000)
    assert stage.limit(1e9) == (10.0, "the caller's work for every result")
    stage = cluster.Stage("b", 1000, 1.0, 0.0, 1e8, at_once=1000)
    assert stage.limit(1e9) == (10.0, "the way of 100.0 MB to the caller")
    stage = cluster.Stage("c", 1000, 1.0, 0.0, 1e6, at_once=32)
    assert stage.limit(1e9) == (32.0, "32 tasks are asked for at once")
