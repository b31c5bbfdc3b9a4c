"""The diagonal system."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from retemper.diagonal import (
    DiagonalModel,
    curve,
    finetune_scale,
    gradient_flow,
    maximum_margin,
    minimum_penalty,
    pretrained_weights,
    solve,
    solve_margin,
    stochastic_scale,
    train_network,
)
from retemper.diagonal.law import coefficient_law
from retemper.diagonal.mean_field import law_points, mean_field
from rivals import diagonal as rivals


def task(n, d, c=1e-3, balance=0.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) / d**0.5
    beta = np.where(rng.random(d) < 0.1, rng.normal(size=d) * 10**0.5, 0.0)
    source = np.where(rng.random(d) < 0.1, 1.0, 0.0)
    return X, X @ beta, finetune_scale(source, c, balance)


class Interpolate:
    """Exact end point of the flow; the Lasso rivals solve only its limit of vanishing scale."""

    param_names = ("n", "d", "balance")
    params = ([100, 300], [1000], [0.0, -0.99])

    def setup(self, n, d, balance):
        self.X, self.y, self.scale = task(n, d, balance=balance)
        found = minimum_penalty(self.X, self.y, self.scale)
        ours, self.n_factor = found.coef, found.n_factor
        np.testing.assert_allclose(rivals.newton(self.X, self.y, self.scale), ours, atol=1e-8)
        self.alpha = 1e-3 * float(np.abs(self.X.T @ self.y).max()) / n

    def time_retemper(self, n, d, balance):
        minimum_penalty(self.X, self.y, self.scale, n_jobs=1)

    def time_numpy_newton(self, n, d, balance):
        rivals.newton(self.X, self.y, self.scale)

    def time_sklearn_lasso(self, n, d, balance):
        rivals.lasso(self.X, self.y, self.alpha)

    def time_skglm_lasso(self, n, d, balance):
        rivals.skglm_lasso(self.X, self.y, self.alpha)

    def time_celer_lasso(self, n, d, balance):
        rivals.celer_lasso(self.X, self.y, self.alpha)

    def bound(self, n, d, balance):
        """A weighted Gram matrix and its factor for every Newton step."""
        return {"flops": self.n_factor * (n * n * d + n**3 / 3)}


class Memory:
    """Peak memory beyond the data; the yardstick is X and one n x n matrix."""

    param_names = ("n", "d")
    params = ([600], [20_000])

    def setup(self, n, d):
        self.X, self.y, self.scale = task(n, d)

    def time_retemper(self, n, d):
        minimum_penalty(self.X, self.y, self.scale, n_jobs=1)

    def peakmem_retemper(self, n, d):
        minimum_penalty(self.X, self.y, self.scale, n_jobs=1)

    def peakmem_yardstick(self, n, d):
        np.ones((n, d)), np.ones((n, n))


class Grid:
    """60 fits over (balance, readout_scale) with warm starts; the rival starts each afresh.

    ``one_cold_fit`` is a single fit: its ratio is the price of the whole grid.
    """

    param_names = ("n", "d")
    params = ([100, 300], [1000])

    def setup(self, n, d):
        rng = np.random.default_rng(0)
        self.X, self.y, _ = task(n, d)
        source = np.where(rng.random(d) < 0.1, 1.0, 0.0)
        shares, readouts = np.geomspace(1e-3, 2, 10), [0.0, 0.03, 0.1, 0.3, 1.0, 3.0]
        order = [
            (a, g) for i, a in enumerate(shares) for g in (readouts if i % 2 else readouts[::-1])
        ]
        self.scales = [finetune_scale(source, 1e-3, a - 1, g) for a, g in order]

    def time_retemper(self, n, d):
        near = None
        for scale in self.scales:
            near = minimum_penalty(self.X, self.y, scale, coef_start=near, n_jobs=1).coef

    def time_one_cold_fit(self, n, d):
        minimum_penalty(self.X, self.y, self.scales[6], n_jobs=1)

    def time_all_cold(self, n, d):
        for scale in self.scales:
            minimum_penalty(self.X, self.y, scale, n_jobs=1)


class Flow:
    """Time course at 50 times up to 1e5, to 1e-5 of the exact path."""

    param_names = ("n", "d")
    params = ([100, 300], [1000])

    def setup(self, n, d):
        self.X, self.y, self.scale = task(n, d)
        self.times = np.geomspace(1e-2, 1e5, 50)
        exact = gradient_flow(self.X, self.y, self.scale, self.times, rtol=1e-8, atol=1e-10).coef
        self.n_steps = gradient_flow(self.X, self.y, self.scale, self.times).n_iter
        self.rtol = {
            who: self._loosest(lambda rtol, who=who: self._solve(who, rtol), exact)
            for who in ("retemper", "BDF", "LSODA")
        }

    def _loosest(self, call, exact):
        """The largest tolerance of a list that brings the path to 1e-5."""
        for rtol in (1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7):
            if np.abs(call(rtol) - exact).max() < 1e-5 * np.abs(exact).max():
                return rtol
        raise AssertionError("no tolerance reached 1e-5")

    def _solve(self, who, rtol):
        return self._ours(rtol) if who == "retemper" else self._scipy(who, rtol)

    def _ours(self, rtol):
        return gradient_flow(
            self.X, self.y, self.scale, self.times, rtol=rtol, atol=rtol * 1e-2, n_jobs=1
        ).coef

    def _scipy(self, method, rtol):
        return rivals.dual_flow(self.X, self.y, self.scale, self.times, method=method, rtol=rtol)

    def time_retemper(self, n, d):
        self._ours(self.rtol["retemper"])

    def time_scipy_bdf(self, n, d):
        self._scipy("BDF", self.rtol["BDF"])

    def time_scipy_lsoda(self, n, d):
        self._scipy("LSODA", self.rtol["LSODA"])

    def time_diffrax(self, n, d):
        rivals.diffrax_flow(self.X, self.y, self.scale, self.times, 1e-6)

    def bound(self, n, d):
        """One Gram matrix and factor, and every step one evaluation and one solve."""
        return {"flops": n * n * d + n**3 / 3 + self.n_steps * (4 * n * d + 2 * n * n)}


class TheoryPoint:
    """One point of the high-dimensional limit at double accuracy."""

    param_names = ("case",)
    params = (["regime IV", "rich", "noisy", "finite source"],)
    cases: ClassVar = {
        "regime IV": DiagonalModel(0.05, rho_ft=0.01, omega=1.0, balance=-0.99),
        "rich": DiagonalModel(0.3, init_scale=1e-12, mode="scratch"),
        "noisy": DiagonalModel(0.8, balance=-0.9, readout_scale=0.1, noise=0.22),
        "finite source": DiagonalModel(0.2, omega=1.0, init_scale=0.01, alpha_pt=0.3),
    }

    def setup(self, case):
        self.model = self.cases[case]
        if case != "finite source":
            np.testing.assert_allclose(self._numpy(), solve(self.model).mse, rtol=1e-7)

    def _numpy(self):
        m, law = self.model, coefficient_law(self.model)
        return rivals.fixed_point((law.weight, law.mean, law.var, law.scale), m.alpha, m.noise**2)

    def time_retemper(self, case):
        solve(self.model)

    def time_numpy(self, case):
        if case == "finite source":
            raise NotImplementedError
        self._numpy()


class PhaseDiagram:
    """A grid of 100 x 100 points."""

    param_names = ("n_jobs",)
    params = ([1, 2],)

    def setup(self, n_jobs):
        self.axes = {"alpha": np.linspace(0.01, 0.6, 100), "balance": np.linspace(-0.99, 0.99, 100)}

    def time_retemper(self, n_jobs):
        found = curve(DiagonalModel(0.3), self.axes, n_jobs=n_jobs)
        assert (found["status"] == "converged").all()


class Large:
    """A million features; bound by the symmetric products of the factorisations."""

    param_names = ("n", "d", "n_jobs")
    params = ([200], [1_000_000], [1, 2])

    def setup(self, n, d, n_jobs):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((n, d))
        self.X /= d**0.5
        self.y = self.X[:, :20] @ rng.normal(size=20) * d**0.5
        self.scale = finetune_scale((np.arange(d) < 40) * 100.0, 1e-3, -0.9)

    def time_retemper(self, n, d, n_jobs):
        self.found = minimum_penalty(self.X, self.y, self.scale, n_jobs=n_jobs)

    def peakmem_retemper(self, n, d, n_jobs):
        minimum_penalty(self.X, self.y, self.scale, n_jobs=n_jobs)

    def bound(self, n, d, n_jobs):
        return {"flops": self.found.n_factor * n * n * d / n_jobs}


class DeepInterpolate:
    """Exact end point of the flow of a network of several layers."""

    param_names = ("n", "d", "depth")
    params = ([100, 300], [1000], [3, 6])

    def setup(self, n, d, depth):
        self.X, self.y, self.scale = task(n, d, c=0.1)
        ours = minimum_penalty(self.X, self.y, self.scale, depth=depth).coef
        theirs = rivals.deep_newton(self.X, self.y, self.scale, depth)
        np.testing.assert_allclose(theirs, ours, atol=1e-7)

    def time_retemper(self, n, d, depth):
        minimum_penalty(self.X, self.y, self.scale, depth=depth, n_jobs=1)

    def time_numpy_newton(self, n, d, depth):
        rivals.deep_newton(self.X, self.y, self.scale, depth)


class NoisyScale:
    """Scales after 20 000 steps with batches and noisy labels, from the flow of gradients.

    ``all_steps`` takes those steps, in our core: what the integral replaces.
    """

    param_names = ("n", "d")
    params = ([50], [200])
    steps: ClassVar = {"step_size": 0.005, "n_steps": 20_000, "label_noise": 0.3, "batch_size": 10}

    def setup(self, n, d):
        self.X, self.y, self.scale = task(n, d, c=0.1)
        self.weights = pretrained_weights(np.zeros(d), 0.1)
        ours = stochastic_scale(self.X, self.y, self.scale, **self.steps).scale
        np.testing.assert_allclose(self._scipy(), ours, rtol=1e-3)

    def _scipy(self):
        return rivals.noisy_scale(self.X, self.y, self.scale, n_times=600, **self.steps)

    def time_retemper(self, n, d):
        stochastic_scale(self.X, self.y, self.scale, n_jobs=1, **self.steps)

    def time_scipy_lsoda(self, n, d):
        self._scipy()

    def time_all_steps(self, n, d):
        train_network(self.X, self.y, self.weights, stride=20_000, **self.steps)


class Descent:
    """2000 steps of stochastic gradients on two layers, batches and noisy labels drawn anew."""

    param_names = ("n", "d")
    params = ([100], [200, 2000])
    steps: ClassVar = {"step_size": 0.005, "n_steps": 2000, "label_noise": 0.1, "batch_size": 10}

    def setup(self, n, d):
        self.X, self.y, _ = task(n, d)
        self.weights = pretrained_weights(np.zeros(d), 0.1)

    def time_retemper(self, n, d):
        train_network(self.X, self.y, self.weights, stride=2000, **self.steps)

    def time_numpy(self, n, d):
        w = self.weights
        start = (w.w_plus, w.v_plus, w.w_minus, w.v_minus)
        rivals.descend(self.X, self.y, start, seed=0, **self.steps)


class Margin:
    """Least penalty with a margin; LinearSVC and the linear program solve only its limits.

    Ours leaves 1e-10 of the margin; the rivals for the same problem come within 1e-4 of ours.
    """

    param_names = ("n", "d")
    params = ([40, 200], [400])

    def setup(self, n, d):
        X, y, _ = task(n, d)
        self.X, self.y, self.c = X, np.copysign(1.0, y), 0.1
        ours = maximum_margin(self.X, self.y, self.c).coef
        np.testing.assert_allclose(rivals.dual_margin(self.X, self.y, self.c), ours, atol=1e-4)
        if n <= 40:
            theirs = rivals.slsqp_margin(self.X, self.y, self.c)
            np.testing.assert_allclose(theirs, ours, atol=1e-4)

    def time_retemper(self, n, d):
        maximum_margin(self.X, self.y, self.c)

    def time_scipy_dual(self, n, d):
        rivals.dual_margin(self.X, self.y, self.c)

    def time_scipy_slsqp(self, n, d):
        if n > 40:
            raise NotImplementedError
        rivals.slsqp_margin(self.X, self.y, self.c)

    def time_sklearn_svc(self, n, d):
        rivals.linear_svc(self.X, self.y)

    def time_highs_l1(self, n, d):
        rivals.l1_margin(self.X, self.y)


class MarginPoint:
    """One point of the theory of margins at double accuracy."""

    param_names = ("case",)
    params = (["rich", "warm", "finite source"],)
    cases: ClassVar = {
        "rich": DiagonalModel(0.8, mode="scratch", init_scale=1e-3, noise=0.1),
        "warm": DiagonalModel(0.4, mode="warm", init_scale=0.2, shared="opposite"),
        "finite source": DiagonalModel(0.3, omega=1.0, init_scale=0.01, alpha_pt=0.3),
    }

    def setup(self, case):
        self.model = self.cases[case]
        np.testing.assert_allclose(self._numpy(), solve_margin(self.model, 1.0).error, rtol=1e-9)

    def _numpy(self):
        m, law = self.model, coefficient_law(self.model)
        parts = np.stack([law.weight, law.mean, law.var, law.scale, law.centre])
        return rivals.margin_point(parts, m.alpha, m.noise**2)

    def time_retemper(self, case):
        solve_margin(self.model, 1.0)

    def time_numpy(self, case):
        self._numpy()


class MeanFieldFlow:
    """A whole course of training in high dimension, on the same points and times.

    The bound is what the response of every point to a push at every time reads in one pass over the
    steps; a step takes several rounds.
    """

    param_names = ("case",)
    params = (["lazy", "rich", "warm"],)
    cases: ClassVar = {
        "lazy": DiagonalModel(0.4, mode="scratch", init_scale=1.0, noise=0.3),
        "rich": DiagonalModel(0.4, mode="scratch", init_scale=1e-3, noise=0.3),
        "warm": DiagonalModel(0.4, mode="warm", init_scale=0.2, shared="opposite"),
    }

    def setup(self, case):
        self.model = self.cases[case]
        self.points = law_points(coefficient_law(self.model), 1024)
        run = self._ours()
        self.times = run["times"]
        np.testing.assert_allclose(self._numpy(), run["mse"].sum(axis=1), rtol=1e-3)

    def bound(self, case):
        return {"reads": 8 * len(self.points["weight"]) * len(self.times) ** 3 / 6}

    def _ours(self):
        m = self.model
        return mean_field(
            self.points, depth=2, alpha=m.alpha, noise=m.noise, end_time=10.0, rtol=1e-3
        )

    def _numpy(self):
        return rivals.mean_field(self.points, self.model.alpha, self.model.noise, self.times)

    def time_retemper(self, case):
        self._ours()

    def time_numpy(self, case):
        self._numpy()
