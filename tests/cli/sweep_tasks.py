"""Functions that the sweep tests run, in a module that workers can import."""

import os
import signal
import time
from pathlib import Path

import numpy as np


def noisy(x, k, random_state):
    rng = np.random.default_rng(random_state)
    return {
        "mean": x + k * rng.standard_normal(),
        "curve": rng.standard_normal(3),
        "count": int(rng.integers(10)),
        "sign": bool(rng.standard_normal() > 0),
        "name": f"x = {x}",
    }


def slow(x, random_state):
    time.sleep(0.01)
    return x + np.random.default_rng(random_state).standard_normal()


def logged(x, log):
    with Path(log).open("a") as file:
        file.write(f"{x}\n")
    return {"square": x * x}


def broken(x, flag="none"):
    """Raises at odd x until the file ``flag`` exists."""
    if x % 2 and not Path(flag).exists():
        raise ArithmeticError(f"no value at {x}")
    return {"half": x / 2, "text": "fine"}


def deadly(x, flag):
    """Kills its process at x = 5 until the file ``flag`` exists, which it makes if it can."""
    time.sleep(0.01)
    if x == 5 and not Path(flag).exists():
        if Path(flag).parent.exists():
            Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x**2


def pid_and_draw(x, random_state):
    time.sleep(0.02)
    return {"pid": os.getpid(), "draw": np.random.default_rng(random_state).standard_normal()}


def threads(x):
    from threadpoolctl import threadpool_info

    from retemper._threads import effective_n_threads

    pools = [p["num_threads"] for p in threadpool_info()]
    return {"core": effective_n_threads(None), "pools": max(pools), "n_pools": len(pools)}


def ragged(x):
    return {"v": np.zeros(x)}
