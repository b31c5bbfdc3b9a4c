"""`retemper.advise` with five sources, on two threads."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import RepeatedKFold

import retemper


class Advise:
    """Everything for five sources; the rival only cross-validates as many ridge regressions."""

    param_names = ("n_d", "task")
    params = (["200 2000", "5000 500"], ["regression", "classification"])

    def setup(self, n_d, task):
        self.n, self.d = map(int, n_d.split())
        rng = np.random.default_rng(0)
        self.X, w = rng.normal(size=(self.n, self.d)), rng.normal(size=self.d) / self.d**0.5
        self.y = self.X @ w + 0.5 * rng.normal(size=self.n)
        if task == "classification":
            self.y = (self.y > 0).astype(int)
        self.sources = {
            f"source {j}": w + (j + 0.3) * rng.normal(size=self.d) / self.d**0.5 for j in range(5)
        }

    def time_retemper(self, n_d, task):
        retemper.advise(self.X, self.y, sources=self.sources, task=task, n_jobs=2)

    def time_sklearn_ridge_folds(self, n_d, task):
        if task != "regression":
            raise NotImplementedError
        alphas = self.n * np.logspace(-3, 1, 17)
        targets = [self.y, *(self.y - self.X @ w for w in self.sources.values())]
        repeats = 2 if self.n <= 1000 else 1
        for train, test in RepeatedKFold(n_splits=5, n_repeats=repeats, random_state=0).split(
            self.X
        ):
            for y in targets:
                RidgeCV(alphas).fit(self.X[train], y[train]).predict(self.X[test])

    def peakmem_retemper(self, n_d, task):
        self.time_retemper(n_d, task)
