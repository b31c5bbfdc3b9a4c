"""The linear system."""

from __future__ import annotations

import numpy as np

from retemper.linear import (
    effective_ridge,
    relu_network_fit,
    relu_network_init,
    relu_ntk,
)
from rivals import linear as rivals


class EffectiveRidge:
    """Effective ridge and degrees of freedom on a grid of sample sizes and ridges."""

    param_names = ("d", "n_points", "n_jobs")
    params = ([200, 1000], [10_000], [1, 2])

    def setup(self, d, n_points, n_jobs):
        self.spectrum = 1.0 / np.arange(1, d + 1)
        side = round(n_points**0.5)
        n = np.linspace(d / 100, 2 * d, side).round()
        ridge = np.append(0.0, np.logspace(-4, 0, side - 1))
        self.n, self.ridge = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(n, ridge))
        ours = effective_ridge(self.spectrum, self.n[::97], self.ridge[::97])
        theirs = rivals.effective_ridge(self.spectrum, self.n[::97], self.ridge[::97])
        np.testing.assert_allclose(theirs[0], ours.kappa, rtol=1e-10)

    def time_retemper(self, d, n_points, n_jobs):
        effective_ridge(self.spectrum, self.n, self.ridge, n_jobs=n_jobs)

    def time_numpy(self, d, n_points, n_jobs):
        rivals.effective_ridge(self.spectrum, self.n, self.ridge)

    def time_scipy_brentq(self, d, n_points, n_jobs):
        rivals.effective_ridge_bracketing(self.spectrum, self.n, self.ridge)


class ReLUKernel:
    """Tangent kernel of the rows of one matrix."""

    param_names = ("n", "d", "n_jobs")
    params = ([2000], [64, 256], [1, 2])

    def setup(self, n, d, n_jobs):
        self.X = np.random.default_rng(0).standard_normal((n, d))
        few = self.X[:50]  # small, so that the peak memory is that of the calls
        np.testing.assert_allclose(relu_ntk(few), rivals.relu_ntk(few), atol=1e-7 * d)

    def time_retemper(self, n, d, n_jobs):
        relu_ntk(self.X, n_jobs=n_jobs)

    def time_numpy(self, n, d, n_jobs):
        rivals.relu_ntk(self.X)

    def time_numpy_as_written(self, n, d, n_jobs):
        rivals.relu_ntk_as_written(self.X)

    def bound(self, n, d, n_jobs):
        return {"flops": n * n * d, "bytes": 8 * n * n}

    def peakmem_retemper(self, n, d, n_jobs):
        relu_ntk(self.X, n_jobs=n_jobs)

    def peakmem_numpy(self, n, d, n_jobs):
        rivals.relu_ntk(self.X)


class ReLUStep:
    """Ten steps of full-batch gradient descent on the first layer."""

    param_names = ("m", "n", "d", "n_jobs")
    params = ([4000], [100, 500], [100], [1, 2])
    n_steps = 10

    def setup(self, m, n, d, n_jobs):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d))
        self.X = X / np.linalg.norm(X, axis=1, keepdims=True)
        self.y = rng.standard_normal(n)
        self.W, self.a = relu_network_init(m, d, random_state=0)
        want = rivals.relu_descent(self.W, self.a, self.X, self.y, n_steps=self.n_steps)
        np.testing.assert_allclose(self._fit(n_jobs), want, rtol=1e-8, atol=1e-10)

    def _fit(self, n_jobs):
        fit = relu_network_fit(
            self.W,
            self.a,
            self.X,
            self.y,
            step_size=rivals.RELU_STEP,
            max_iter=self.n_steps,
            tol=0.0,
            on_failure="ignore",
            n_jobs=n_jobs,
        )
        return fit.weights

    def time_retemper(self, m, n, d, n_jobs):
        self._fit(n_jobs)

    def time_numpy(self, m, n, d, n_jobs):
        rivals.relu_descent(self.W, self.a, self.X, self.y, n_steps=self.n_steps)

    def time_jax_jit(self, m, n, d, n_jobs):
        if not hasattr(self, "jax"):
            self.jax = rivals.relu_descent_jax(self.W, self.a, self.X, self.y)
        self.jax(self.n_steps)
