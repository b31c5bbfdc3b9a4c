"""Sweeps of tasks that cost nothing: what remains is the engine, the records and the files."""

from __future__ import annotations

import functools
import importlib.util
import tempfile

import joblib

import retemper

N_WORKERS = 2


def tiny(x):
    return {"double": 2.0 * x, "half": 0.5 * x}


@functools.cache
def client():
    """A cluster of two processes on this machine, kept until the end."""
    from distributed import Client

    return Client(
        n_workers=N_WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )


class TinyTasks:
    """Empty tasks on two workers, every point kept on disk; divide by ``n_tasks``.

    The rival is joblib's own call of the same function, which keeps nothing.
    """

    param_names = ("engine", "n_tasks")
    params = (["loky", "dask"] if importlib.util.find_spec("distributed") else ["loky"], [2000])

    def setup(self, engine, n_tasks):
        self.options = {"client": client()} if engine == "dask" else {"inner_max_num_threads": 1}
        self.values = list(range(n_tasks))
        self.root = tempfile.TemporaryDirectory()  # emptied after the measurement

    def time_retemper(self, engine, n_tasks):
        folder = tempfile.mkdtemp(dir=self.root.name)
        with joblib.parallel_config(engine, **self.options):
            retemper.sweep(tiny, {"x": self.values}, n_jobs=N_WORKERS, out=folder)

    def time_joblib(self, engine, n_tasks):
        with joblib.parallel_config(engine, **self.options):
            joblib.Parallel(n_jobs=N_WORKERS)(joblib.delayed(tiny)(x) for x in self.values)


class Resume:
    """A finished sweep read back, and its result written again."""

    param_names = ("n_tasks",)
    params = ([2000],)

    def setup(self, n_tasks):
        self.folder = tempfile.TemporaryDirectory()
        self.time_retemper(n_tasks)

    def time_retemper(self, n_tasks):
        retemper.sweep(tiny, {"x": list(range(n_tasks))}, out=self.folder.name)
