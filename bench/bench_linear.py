"""The linear system."""

from __future__ import annotations

import numpy as np

from retemper.linear import (
    FineTunedLogisticRegression,
    LinearModel,
    LinearSource,
    LinearTransferReport,
    balanced_factors,
    deep_fit,
    deep_flow,
    effective_ridge,
    factor_descent,
    relu_network_fit,
    relu_network_init,
    relu_ntk,
    simulate,
    solve,
)
from retemper.linear.ridge.path import RidgePath
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
        np.testing.assert_allclose(theirs[0], ours.effective_ridge, rtol=1e-10)

    def time_retemper(self, d, n_points, n_jobs):
        effective_ridge(self.spectrum, self.n, self.ridge, n_jobs=n_jobs)

    def time_numpy(self, d, n_points, n_jobs):
        rivals.effective_ridge(self.spectrum, self.n, self.ridge)

    def time_scipy_brentq(self, d, n_points, n_jobs):
        rivals.effective_ridge_bracketing(self.spectrum, self.n, self.ridge)


class RepeatedDescent:
    """Theory of several passes of stochastic descent, against a recursion on one drawn sample."""

    param_names = ("n", "d", "n_passes")
    params = ([600], [300], [1, 10])

    def setup(self, n, d, n_passes):
        rng = np.random.default_rng(0)
        spectrum = (1.0 + np.arange(d)) ** -0.5
        theta = rng.normal(size=d) / d**0.5
        self.X = rng.normal(size=(n, d)) * np.sqrt(spectrum)
        self.model = LinearModel(
            n, theta, spectrum=spectrum, noise=0.3, step_size=0.02, n_passes=n_passes
        )
        theirs = rivals.repeated_descent(self.X, theta, 0.3, 0.02, n * n_passes)
        np.testing.assert_allclose(theirs, solve(self.model).training_error, rtol=0.1)

    def time_retemper(self, n, d, n_passes):
        solve(self.model)

    def time_numpy(self, n, d, n_passes):
        rivals.repeated_descent(self.X, self.model.theta_target, 0.3, 0.02, n * n_passes)


class Theory:
    """One point of the theory, against the direct way: twenty simulated experiments."""

    param_names = ("kind", "n", "d")
    params = (["rows", "trunk", "sources"], [60], [150])

    def setup(self, kind, n, d):
        rng = np.random.default_rng(0)
        theta, past, more = rng.normal(size=(3, d)) / d**0.5
        given = {"spectrum": (1.0 + np.arange(d)) ** -0.5, "noise": 0.3}
        if kind == "rows":
            given |= {"row_shares": [0.5, 0.5], "row_noise": [1.0, 3.0], "row_weight": [1.0, 0.2]}
            given |= {"source_coef": past, "ridge": 0.05}
        elif kind == "trunk":
            given |= {"source_coef": np.array([theta + past, past]), "depth": 3}
            theta = np.array([theta, more])
        else:
            learned = (
                LinearSource(source, n_samples_source=2 * d, noise_source=0.3)
                for source in (theta + past, theta + more, past)
            )
            given |= {"sources": tuple(learned), "mixing_weights": "fitted", "ridge": 0.05}
        self.model = LinearModel(n, theta, **given)
        found = simulate(self.model, n_repeats=20, n_jobs=1)
        assert abs(found.risk - solve(self.model).risk) < 4 * found.stderr["risk"] + 0.05

    def time_retemper(self, kind, n, d):
        solve(self.model)

    def time_simulation(self, kind, n, d):
        simulate(self.model, n_repeats=20, n_jobs=1)


class DeepFit:
    """Where gradient flow on a deep linear network ends."""

    param_names = ("n", "d", "depth")
    params = ([50], [200], [1, 3])

    def setup(self, n, d, depth):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(n, d))
        self.source = rng.normal(size=d) / d**0.5
        self.y = self.X @ (self.source + rng.normal(size=d) / d**0.5)
        coef = deep_fit(self.X, self.y, self.source, depth=depth).coef
        flow = rivals.deep_flow(self.X, self.y, self.source, depth)
        np.testing.assert_allclose(flow, coef, atol=1e-7)

    def time_retemper(self, n, d, depth):
        deep_fit(self.X, self.y, self.source, depth=depth)

    def time_scipy_flow(self, n, d, depth):
        rivals.deep_flow(self.X, self.y, self.source, depth)

    def time_retemper_flow(self, n, d, depth):
        deep_flow(self.X, self.y, self.source, depth=depth)

    def time_numpy(self, n, d, depth):
        if depth == 1:
            raise NotImplementedError
        rivals.deep_closed_form(self.X, self.y, self.source, depth)


class FactorDescent:
    """Gradient descent on the factors of a deep linear network, 2000 steps."""

    param_names = ("n", "d", "depth", "width")
    params = ([50], [200], [3], [1, 16])
    n_steps = 2000

    def setup(self, n, d, depth, width):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(n, d))
        self.source = rng.normal(size=d) / d**0.5
        self.y = self.X @ (self.source + rng.normal(size=d) / d**0.5)
        self.factors = balanced_factors(self.source, depth, width=width)
        self.settings = {"step_size": 1e-3, "max_iter": self.n_steps, "tol": 0.0}
        want = rivals.rank_one_descent(
            self.X, self.y, self.source, depth, step=1e-3, n_steps=self.n_steps
        )
        np.testing.assert_allclose(self._ours(depth, width).coef.ravel(), want, rtol=1e-8)

    def _ours(self, depth, width):
        start = {"depth": depth} if width == 1 else {"factors": self.factors}
        X, y, *source = (self.X, self.y, self.source) if width == 1 else (self.X, self.y[:, None])
        return factor_descent(X, y, *source, **start, **self.settings, on_failure="ignore")

    def time_retemper(self, n, d, depth, width):
        self._ours(depth, width)

    def time_numpy(self, n, d, depth, width):
        if width == 1:
            rivals.rank_one_descent(
                self.X, self.y, self.source, depth, step=1e-3, n_steps=self.n_steps
            )
        else:
            rivals.factor_descent(self.X, self.y[:, None], self.factors, 1e-3, self.n_steps)


class Simulate:
    """Sixty finite-size experiments: draw, fit, measure."""

    param_names = ("n", "d", "n_jobs")
    params = ([150], [300], [1, 2])

    def setup(self, n, d, n_jobs):
        theta = np.ones(d) / d**0.5
        spectrum = np.arange(1, d + 1) ** -0.5
        self.model = LinearModel(
            n, theta, spectrum=spectrum, source_coef=0.7 * theta, noise=0.3, ridge=0.1
        )
        ours = simulate(self.model, n_repeats=200, random_state=0)
        theirs = rivals.simulate(self.model, 200, 0)
        np.testing.assert_allclose(theirs, ours.risk, rtol=0.1)

    def time_retemper(self, n, d, n_jobs):
        simulate(self.model, n_repeats=60, random_state=0, n_jobs=n_jobs)

    def time_numpy(self, n, d, n_jobs):
        rivals.simulate(self.model, 60, 0)


class TransferReport:
    """Five sources judged on one target sample, against the decomposition it stands on.

    ``refit_5_folds`` is 5 of the n folds of leave-one-out by refitting, each decomposed once for
    all ridges and sources: times n / 5 for the whole of it.
    """

    param_names = ("n", "d", "n_sources")
    params = ([200, 1000], [4000], [5])

    def setup(self, n, d, n_sources):
        rng = np.random.default_rng(0)
        decay = np.arange(1, d + 1) ** -0.3
        self.X, w = rng.normal(size=(n, d)), rng.normal(size=d) * decay
        self.X *= decay
        self.y = self.X @ w + rng.normal(size=n)
        self.sources = w + np.linspace(0.2, 2, n_sources)[:, None] * rng.normal(size=(n_sources, d))
        residuals = (self.y[:, None] - self.X @ self.sources.T).T
        self.columns = np.column_stack([self.y, *residuals])
        self.ridges = np.logspace(-3, 4, 29)
        if n <= 200:
            loo = RidgePath(self.X, self.columns).loo(self.ridges)[:, :3]
            refit = rivals.refit_folds(self.X, self.columns, self.ridges, range(3))
            np.testing.assert_allclose(loo, refit, rtol=1e-6)

    def time_retemper(self, n, d, n_sources):
        LinearTransferReport(self.sources).fit(self.X, self.y)

    def time_gram_and_eigh(self, n, d, n_sources):
        rivals.gram_and_eigh(self.X)

    def time_refit_5_folds(self, n, d, n_sources):
        rivals.refit_folds(self.X, self.columns, self.ridges, range(5))

    def peakmem_retemper(self, n, d, n_sources):
        self.time_retemper(n, d, n_sources)

    def peakmem_gram_and_eigh(self, n, d, n_sources):
        self.time_gram_and_eigh(n, d, n_sources)


class LogisticPath:
    """Logistic regression whose ridge five folds choose: four times up to 50 rows, then fewer.

    ``sklearn_5_folds`` is ``LogisticRegressionCV`` at the same ridges, one round of five folds.
    ``bound`` counts the Gram matrix of the rows and one product with the rows and one with their
    transpose for every split and ridge.
    """

    param_names = ("n_d_classes",)
    params = (["50 768 2", "100 768 5", "200 1024 10", "200 2000 2", "500 64 10", "5000 500 2"],)

    def setup(self, n_d_classes):
        self.n, self.d, self.k = n, d, k = tuple(map(int, n_d_classes.split()))
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(n, d))
        coef = rng.normal(size=(d, k)) * 2.0 / d**0.5
        logits, self.source = self.X @ coef, coef.T + rng.normal(size=(k, d)) / d**0.5
        self.y = (logits + rng.gumbel(size=(n, k))).argmax(axis=1)
        model = FineTunedLogisticRegression().fit(self.X, self.y)
        self.ridges = model.ridges_[1:]
        best = max(int(np.argmin(model.cv_curve_)), 1)
        theirs = rivals.logistic_loss(self.X, self.y, model.ridges_[[1, best]])
        np.testing.assert_allclose(model.cv_curve_[[1, best]], theirs, rtol=0.15)

    def time_retemper(self, n_d_classes):
        FineTunedLogisticRegression().fit(self.X, self.y)

    def time_retemper_auto_scale(self, n_d_classes):
        FineTunedLogisticRegression(source=self.source, source_scale="auto").fit(self.X, self.y)

    def time_sklearn_5_folds(self, n_d_classes):
        rivals.logistic_folds(self.X, self.y, self.ridges)

    def bound(self, n_d_classes):
        n, d, k = self.n, self.d, self.k
        splits = 5 * (4 if n <= 50 else 2 if n <= 200 else 1)
        fits = splits * len(self.ridges)
        products = 4 * 0.8 * n * min(0.8 * n, d) * (1 if k == 2 else k)
        return {"flops": n * min(n, d) * max(n, d) + fits * products, "bytes": 8 * n * d}


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
        """Half of the products and arccosines; every entry is written once."""
        return {"flops": n * (n + 1) / 2 * (2 * d + 40), "bytes": 8 * n * n}

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
