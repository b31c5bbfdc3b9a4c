import numpy as np

from retemper import numerics
from rivals.numerics import FUNCTIONS

DOMAIN = {
    "exp": (-700.0, 700.0),
    "log": (1e-3, 1e3),
    "erfc": (-5.0, 26.0),
    "erfcx": (-5.0, 50.0),
    "ndtr": (-37.0, 8.0),
    "log_ndtr": (-37.0, 8.0),
    "hazard": (-37.0, 8.0),
    "ndtri": (0.0, 1.0),
    "asin": (-1.0, 1.0),
    "acos": (-1.0, 1.0),
}


class VectorMath:
    """One pass over an array that stays in cache; rivals are numpy and scipy.special."""

    param_names = ("function", "n", "n_jobs")
    params = (list(DOMAIN), [20_000], [1])

    def setup(self, function, n, n_jobs):
        self.x = np.random.default_rng(0).uniform(*DOMAIN[function], n)
        self.ours, self.theirs = getattr(numerics, function), FUNCTIONS[function]

    def time_retemper(self, function, n, n_jobs):
        self.ours(self.x, n_jobs=n_jobs)

    def time_scipy(self, function, n, n_jobs):
        self.theirs(self.x)


class VectorMathThreads(VectorMath):
    """The same on more threads and out of cache."""

    params = (["log_ndtr"], [2_000_000], [1, 2])
