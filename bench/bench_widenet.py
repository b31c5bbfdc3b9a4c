import math

import numpy as np

from retemper._dispatch import core
from retemper.widenet import WideNetModel, gamma_path, nngp_kernel, simulate, solve
from retemper.widenet.activations import expansion_of
from rivals import widenet as rivals


def task(n_source, n_target, d, seed=0):
    rng = np.random.default_rng(seed)
    X, teacher = rng.normal(size=(n_source + n_target, d)), rng.normal(size=d) / math.sqrt(d)
    y = X @ teacher
    return (X[n_source:], y[n_source:]), (X[:n_source], y[:n_source])


def clip(u):
    return np.clip(u, -1.0, 1.0)


class ErfKernel:
    """The kernel of one set of inputs; the rival is three lines of numpy."""

    param_names = ("n", "d", "n_jobs")
    params = ([1000, 4000], [100], [1, 2])

    def setup(self, n, d, n_jobs):
        self.X = np.random.default_rng(0).normal(size=(n, d))

    def time_retemper(self, n, d, n_jobs):
        nngp_kernel(self.X, n_jobs=n_jobs)

    def time_numpy(self, n, d, n_jobs):
        rivals.erf_kernel(self.X)

    def peakmem_retemper(self, n, d, n_jobs):
        nngp_kernel(self.X, n_jobs=n_jobs)

    def peakmem_numpy(self, n, d, n_jobs):
        rivals.erf_kernel(self.X)

    def bound(self, n, d, n_jobs):
        """Half of the products and arcsines; every entry is written once."""
        return {"flops": n * (n + 1) / 2 * (2 * d + 40), "bytes": 8 * n * n}


class ActivationKernel:
    """The same for activations without a formula, the expansion kept or made anew."""

    param_names = ("activation",)
    params = (["tanh", "silu", "clip"],)

    def setup(self, activation):
        self.X = np.random.default_rng(0).normal(size=(2000, 100))
        self.activation = clip if activation == "clip" else activation

    def time_retemper(self, activation):
        nngp_kernel(self.X, activation=self.activation, n_jobs=1)

    def time_anew(self, activation):
        expansion_of.cache_clear()
        nngp_kernel(self.X, activation=self.activation, n_jobs=1)

    def time_erf(self, activation):
        nngp_kernel(self.X, n_jobs=1)


class GammaPath:
    """Nine couplings with control and leave-one-out; the rival starts anew for each."""

    param_names = ("n_source", "n_target")
    params = ([800], [100])
    gammas = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, math.inf)

    def setup(self, n_source, n_target):
        self.target, self.source = task(n_source, n_target, 600)
        self.model = WideNetModel(500)

    def time_retemper(self, n_source, n_target):
        path = gamma_path(self.model, self.target, self.source, gammas=self.gammas)
        return np.column_stack([path["loo"], path.control["loo"]])

    def time_numpy(self, n_source, n_target):
        return rivals.gamma_path(self.target, self.source, self.gammas, 500, 0.05)


class LargeSource:
    """One coupling of a large source: memory beyond the data."""

    param_names = ("n_source", "n_target")
    params = ([4000], [200])

    def setup(self, n_source, n_target):
        self.target, self.source = task(n_source, n_target, 3000)

    def time_retemper(self, n_source, n_target):
        solve(WideNetModel(500, gamma=1.0), self.target, self.source)

    def peakmem_retemper(self, n_source, n_target):
        solve(WideNetModel(500, gamma=1.0), self.target, self.source)

    def bound(self, n_source, n_target):
        """The tridiagonal form: half of its work reads the rest of the matrix for every column."""
        return {"flops": 4 / 3 * n_source**3, "reads": 4 / 3 * n_source**3}


class DeepSolve:
    """Order parameters of all layers of one task; the rivals start once, ours three times.

    ``numpy`` is the same saddle by Newton's method. ``whole_kernel`` is the saddle of the
    literature, whose order parameters multiply the whole kernel of a layer and so have no simple
    slopes. ``numpy_eigenvalues`` is the equation of the linear network alone, which one
    decomposition makes a sum.
    """

    param_names = ("activation", "n", "n_hidden_layers")
    params = (["erf", "linear"], [300], [2, 3])

    def setup(self, activation, n, n_hidden_layers):
        _, self.target = task(n, 1, 2 * n)
        self.model = WideNetModel(n, activation, n_hidden_layers=n_hidden_layers)
        theirs = self.time_numpy if activation == "erf" else self.time_numpy_eigenvalues
        found = theirs(activation, n, n_hidden_layers)
        ours = self.time_retemper(activation, n, n_hidden_layers)
        np.testing.assert_allclose(ours.Q_layers, found, rtol=1e-7)

    def time_retemper(self, activation, n, n_hidden_layers):
        return solve(self.model, self.target)

    def time_numpy(self, activation, n, n_hidden_layers):
        if activation != "erf":
            raise NotImplementedError
        parts = rivals.deep_parts(self.target[0], n_hidden_layers)
        return rivals.deep_saddle(parts, self.target[1], n, 0.05)

    def time_whole_kernel(self, activation, n, n_hidden_layers):
        if activation != "erf":
            raise NotImplementedError
        return rivals.deep_whole_kernel(*self.target, n_hidden_layers, n, 0.05)

    def time_numpy_eigenvalues(self, activation, n, n_hidden_layers):
        if activation != "linear":
            raise NotImplementedError
        return rivals.deep_linear(*self.target, n_hidden_layers, n, 0.05)

    def bound(self, activation, n, n_hidden_layers):
        """A factor and an inverse at every one of ten steps; one decomposition if linear."""
        return {"flops": 10 * n**3 if activation == "erf" else 4 / 3 * n**3}


class Gradient:
    """Energy and gradient of one collapsed network."""

    param_names = ("width", "d", "n")
    params = ([100], [100], [100])

    def setup(self, width, d, n):
        rng = np.random.default_rng(0)
        self.X, self.y, self.W = (rng.normal(size=s) for s in ((n, d), n, (width, d)))

    def time_retemper(self, width, d, n):
        return core.widenet.collapsed_energy(
            core.widenet.Activation.erf, 1.0, 0.05, self.X, self.y, self.W
        )

    def time_numpy(self, width, d, n):
        return rivals.collapsed_energy(self.X, self.y, self.W, 0.05)


class Chains:
    """Two chains on two threads; the rival is the same on one."""

    param_names = ("n_chains",)
    params = ([4],)

    def setup(self, n_chains):
        self.data = task(100, 50, 100)
        self.options = {
            "n_chains": n_chains, "n_draws": 1, "n_burn_source": 60, "n_burn_target": 10,
            "n_sweeps_target": 10, "random_state": 0,
        }  # fmt: skip

    def run(self, n_jobs):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulate(WideNetModel(100, gamma=1.0), *self.data, n_jobs=n_jobs, **self.options)

    def time_retemper(self, n_chains):
        self.run(2)

    def time_one_thread(self, n_chains):
        self.run(1)
