"""Hypothesis profile without deadlines; one BLAS thread, so that timings and bits hold still.

Tests marked ``nightly`` are left out unless ``--nightly`` is given.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# several workers share the cores: threads that wait must not spin
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from hypothesis import settings

settings.register_profile("retemper", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("retemper")


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="run the tests marked nightly too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--nightly"):
        return
    kept = [item for item in items if item.get_closest_marker("nightly") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
