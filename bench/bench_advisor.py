"""`retemper.advise`: with five sources on two threads, and of classes on one."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import RepeatedKFold
from sklearn.preprocessing import StandardScaler

import retemper


class AdviseClasses:
    """Advice on classes from few labels on one thread: rows, columns, classes, sources.

    The rival fits one model, from scratch: ``LogisticRegressionCV`` on standardised columns.
    ``bound`` counts, for every split of the cross-validation and the fit of all rows, one product
    with the rows and one with their transpose for every source twice and scratch, at ten ridges and
    ten inner splits.
    """

    param_names = ("n_d_classes_sources",)
    params = (["50 768 2 1", "100 768 5 1", "200 1024 10 1", "60 30 2 20"],)

    def setup(self, n_d_classes_sources):
        self.shape = n, d, k, s = tuple(map(int, n_d_classes_sources.split()))
        rng = np.random.default_rng(0)
        size = np.arange(1.0, d + 1) ** -0.4
        unit = 2.0 / np.linalg.norm(size)
        self.X, W = rng.normal(size=(n, d)) * size, rng.normal(size=(k, d)) * unit
        logits = self.X @ W.T
        self.y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        self.y[: 3 * k] = np.repeat(np.arange(k), 3)
        self.sources = {}
        for j in range(s):
            V = W + (0.5 + 0.2 * j) * rng.normal(size=W.shape) * unit
            self.sources[f"source {j}"] = V[1] - V[0] if k == 2 else V
        few = self.X[:30], self.y[:30] % 2
        retemper.advise(
            *few, sources={"s": (np.ones(d), 0.0)}, n_jobs=1
        )  # loads what is loaded on use

    def time_retemper(self, n_d_classes_sources):
        retemper.advise(self.X, self.y, sources=self.sources, task="classification", n_jobs=1)

    def time_sklearn_one_model(self, n_d_classes_sources):
        rows = StandardScaler().fit_transform(self.X)
        LogisticRegressionCV(
            cv=min(5, np.bincount(self.y).min()), scoring="neg_log_loss", l1_ratios=(0.0,),
            use_legacy_attributes=False, max_iter=1000,
        ).fit(rows, self.y)  # fmt: skip

    def bound(self, n_d_classes_sources):
        n, d, k, s = self.shape
        outer = 1 + 5 * (4 if n <= 50 else 2 if n <= 150 else 1)
        fits = outer * (1 + 2 * s) * 10 * 10
        return {"flops": fits * 4 * 0.64 * n * min(0.64 * n, d) * (1 if k == 2 else k),
                "bytes": 8 * n * d}  # fmt: skip


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
