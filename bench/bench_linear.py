"""The linear system."""

from __future__ import annotations

import numpy as np

from retemper.linear import effective_ridge
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
