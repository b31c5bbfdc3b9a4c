import numpy as np

from retemper import numerics
from retemper._dispatch import core
from rivals.numerics import FUNCTIONS, quad_average

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


class GaussianAverage:
    """An average to 1e-12 by the same vectorised integrand; the rival is scipy's adaptive quad."""

    param_names = ("function",)
    params = (["softplus", "kink", "jump"],)

    def setup(self, function):
        self.f = {
            "softplus": lambda z: np.logaddexp(0.0, 2.0 * z + 1.0),
            "kink": lambda z: np.abs(z - 0.3),
            "jump": lambda z: np.where(z > 0.3, 1.0, 0.0),
        }[function]

    def time_retemper(self, function):
        numerics.gaussian_average(self.f)

    def time_scipy(self, function):
        quad_average(self.f)


class NormalStream:
    """Addressed normal variates; the rival is numpy's ziggurat on the same generator."""

    param_names = ("n",)
    params = ([1_000_000],)

    def setup(self, n):
        self.generator = np.random.Generator(np.random.Philox(1))

    def time_retemper(self, n):
        core.numerics.stream_normal((1, 2), 0, 0, 0, 0, n)

    def time_numpy(self, n):
        self.generator.standard_normal(n)
