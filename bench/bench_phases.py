import warnings

import numpy as np

from retemper.datasets import noisy_digits
from retemper.phases import (
    DEFAULT_RELATIVE_RIDGES,
    DeepLinearModel,
    FoldMoments,
    MLPTrainer,
    PhaseMonitor,
    TwoLayerModel,
    network_forecast,
    reconstruction_score,
    solve,
)
from rivals import phases as rivals

FOLDS = 5


class Reconstruction:
    """The whole ridge path, 19 ridges and 5 folds; the sklearn rival does one ridge of them.

    What bounds it is the rate of matrix products. In the largest size the products of activations
    and inputs are 2 n h p = 31 Gflop of 43; in double precision nobody can leave them out. The
    folds' products are 11 h^2 p: two squares a fold and one of all rows, where NumPy takes 25. At
    one rate of products that is at most 1.26 times less than the rival's 54 Gflop; more than that
    is the rate itself. ``precision="single"`` halves the time of the first part.
    """

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
        return {"flops": n * h * h + 2 * n * h * p + (2 * FOLDS + 1) * h * h * p}


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


class TwoLayer:
    """A hidden layer on 20 inputs from start to end; rivals integrate alone and measure nothing."""

    params = (["erf", "relu", "linear"], ["flow", "descent", "batches"])
    param_names = ("activation", "how")

    def setup(self, activation, how):
        rng = np.random.default_rng(0)
        lam = 1 / np.arange(1.0, 21.0)
        steps = {"flow": {}, "descent": {"step_size": 1 / 16},
                 "batches": {"step_size": 1 / 64, "batch_size": 4, "noise": 0.1}}  # fmt: skip
        self.how = how
        self.model = TwoLayerModel(
            lam, 2 / np.sqrt(lam[1]) * np.eye(20)[[1]], 0.01 * rng.normal(size=(4, 20)),
            0.01 * rng.normal(size=4), activation=activation,
            times=[0, 4, 16, 64, 1000 if how == "flow" else 256], **steps[how],
        )  # fmt: skip

    def time_retemper(self, activation, how):
        solve(self.model)

    def time_scipy_or_numpy(self, activation, how):
        """SciPy's LSODA, NumPy's steps; for batches training itself, 16 times for an average."""
        if how == "flow":
            rivals.two_layer_flow(self.model)
        elif how == "descent":
            rivals.two_layer_descent(self.model)
        else:
            rivals.two_layer_batches(self.model, 16)


class DeepLinear:
    """Hidden layer of a deep linear network of 200 inputs; rivals integrate alone."""

    params = ([2, 3, 5], ["flow", "descent"])
    param_names = ("depth", "how")

    def setup(self, depth, how):
        lam = 1 / np.arange(1.0, 201.0)
        self.model = DeepLinearModel(
            lam, lam * np.linspace(0.1, 1.0, 200), init_scale=0.1, depth=depth, weight_decay=1e-3,
            relative_noise_var=0.01, times=[0, 1, 10, 100, 1000],
            step_size=None if how == "flow" else 0.25,
        )  # fmt: skip
        solve(self.model)  # loads scipy's integrators

    def time_retemper(self, depth, how):
        solve(self.model)

    def time_scipy_or_numpy(self, depth, how):
        if how == "flow":
            rivals.deep_linear_flow(self.model)
        else:
            rivals.deep_linear_descent(self.model)


class NetworkForecast:
    """Linearised training of 300 digits by cross-entropy, layers measured; rivals measure none."""

    params = ([2, 10], [(32,), (64, 64)])
    param_names = ("classes", "hidden")

    def setup(self, classes, hidden):
        task = noisy_digits()
        self.X, self.X_eval = task.X[:300], task.X_eval[:500]
        self.y = task.tasks["parity" if classes == 2 else "digit"][:300]
        self.net = MLPTrainer(
            hidden, activation="tanh", learning_rate=0.02, momentum=0.0, batch_size=300,
            n_steps=1024, checkpoints=[0, 16, 64, 256, 1024], n_jobs=1,
        )  # fmt: skip
        self.start = MLPTrainer(hidden, activation="tanh", n_steps=0).fit(self.X, self.y)
        self.hot = np.eye(classes)[np.unique(self.y, return_inverse=True)[1]]
        network_forecast(self.net, self.X, self.y, self.X_eval)  # loads scipy's linear algebra
        warnings.simplefilter("ignore")

    def time_retemper(self, classes, hidden):
        network_forecast(self.net, self.X, self.y, self.X_eval)

    def time_scipy_explicit_jacobian(self, classes, hidden):
        times = np.array([0, 16, 64, 256, 1024]) * 0.02
        rivals.linearised_training(self.start, self.X, self.hot, times)

    def time_training_itself(self, classes, hidden):
        self.net.fit(self.X, self.y)
