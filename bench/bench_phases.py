import warnings

import numpy as np

from retemper.datasets import noisy_digits
from retemper.phases import (
    DEFAULT_RELATIVE_RIDGES,
    FoldMoments,
    MLPTrainer,
    PhaseMonitor,
    reconstruction_score,
)
from rivals import phases as rivals

FOLDS = 5


class Reconstruction:
    """The whole ridge path, 19 ridges and 5 folds; the sklearn rival does one ridge of them."""

    params = ([(2000, 128, 300), (10_000, 512, 768), (10_000, 512, 3072)],)
    param_names = ("n, h, p",)

    def setup(self, size):
        n, h, p = size
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(n, p))
        self.H = np.maximum(self.X @ rng.normal(size=(p, h)) / np.sqrt(p), 0.0)
        reconstruction_score(self.H[:50, :8], self.X[:50, :16])  # loads scipy's linear algebra

    def time_retemper(self, size):
        reconstruction_score(self.H, self.X, n_jobs=1)

    def time_retemper_single(self, size):
        reconstruction_score(self.H, self.X, precision="single", n_jobs=1)

    def time_retemper_sketch128(self, size):
        reconstruction_score(self.H, self.X, sketch=128, n_jobs=1)

    def time_numpy_fold_gram(self, size):
        rivals.fold_gram(self.H, self.X, np.array(DEFAULT_RELATIVE_RIDGES))

    def time_sklearn_one_ridge(self, size):
        rivals.ridge_refits(self.H, self.X, 1e-3)

    def peakmem_retemper(self, size):
        reconstruction_score(self.H, self.X, n_jobs=1)

    def bound(self, size):
        n, h, p = size
        return {"flops": n * h * h + 2 * n * h * p + FOLDS * 3 * h * h * p}


class StreamingMoments:
    """Moments of activations that come in batches of 2000."""

    params = (["double", "single"],)
    param_names = ("precision",)

    def setup(self, precision):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(20_000, 784))
        self.H = rng.normal(size=(20_000, 512))
        if precision == "single":
            self.H = self.H.astype(np.float32)

    def time_retemper(self, precision):
        moments = FoldMoments(512, 784, FOLDS, precision=precision, n_jobs=1)
        for i in range(0, 20_000, 2000):
            moments.partial_fit(self.H[i : i + 2000], self.X[i : i + 2000])

    def time_numpy(self, precision):
        rivals.moments(self.H.astype(np.float64), self.X)

    def bound(self, precision):
        return {"flops": 20_000 * 512 * 512 + 2 * 20_000 * 512 * 784}


class Accumulation:
    """One call of the accumulation kernel: how far from the rate of a matrix product."""

    def setup(self):
        rng = np.random.default_rng(0)
        self.H, self.T = rng.normal(size=(5000, 512)), rng.normal(size=(5000, 3072))
        self.fold = np.arange(5000) % FOLDS
        self.moments = FoldMoments(512, 3072, FOLDS, n_jobs=1)

    def time_retemper(self):
        self.moments.add_checked(self.H, self.T, self.fold)

    def bound(self):
        return {"flops": 5000 * 512 * 512 + 2 * 5000 * 512 * 3072}


class Training:
    """Twenty epochs of a 64-64-64-2 network on 4000 rows, batches of 128."""

    def setup(self):
        self.task = noisy_digits()
        self.y = self.task.tasks["parity"]
        warnings.simplefilter("ignore")

    def time_retemper(self):
        MLPTrainer(n_steps=20 * 32, checkpoints=[640], random_state=0, n_jobs=1).fit(
            self.task.X, self.y
        )

    def time_sklearn(self):
        rivals.sklearn_epochs(self.task.X, self.y, 20)

    def time_torch(self):
        rivals.torch_epochs(self.task.X, self.y, 20)

    def bound(self):
        """Forward products, and twice as many back: the input needs no gradient."""
        weights, first = 64 * 64 + 64 * 64 + 64 * 2, 64 * 64
        return {"flops": 640 * 128 * 2 * (3 * weights - first)}


class MonitoringOverhead:
    """8192 steps with 15 observations of the layers; the rival trains without watching."""

    params = (["hidden2", "hidden1 hidden2"],)
    param_names = ("layers",)

    def setup(self, layers):
        self.task = noisy_digits()
        self.y = self.task.tasks["parity"]
        self.net = MLPTrainer(weight_decay=3e-3, n_steps=8192, random_state=0, n_jobs=1)

    def time_retemper(self, layers):
        task = self.task
        monitor = PhaseMonitor(
            task.X_eval, groups=task.groups_eval, layers=layers.split(), n_jobs=1,
            aux={"digit": task.tasks_eval["digit"]},
        )  # fmt: skip
        self.net.fit(
            task.X, self.y, callback=lambda s, net: monitor.observe(s, net.activations(task.X_eval))
        )

    def time_unwatched(self, layers):
        self.net.fit(self.task.X, self.y)
