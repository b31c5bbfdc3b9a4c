import contextlib
from unittest import mock

import numpy as np

from retemper._dispatch import core
from retemper.perceptron import Channel as LabelChannel
from retemper.perceptron import (
    Covariates,
    ERMModel,
    GLMModel,
    PerceptronModel,
    Prior,
    channel_score,
    curve,
    phase_diagram,
    saddle,
    sample_rows,
    solve,
    transitions,
)
from retemper.perceptron.glm import GLMLaw, bayes_curve
from retemper.perceptron.likelihood import tabled_averages
from retemper.perceptron.model import row_law
from rivals import perceptron as rival


class Channel:
    """ln W, g and g' of a row; the rival is the same mixture with scipy.special."""

    param_names = ("kind", "n")
    params = (["margin", "background", "labelled"], [100_000])

    def setup(self, kind, n):
        self.mean = np.random.default_rng(0).normal(size=n)
        self.eta = 0.1 if kind == "background" else 0.0
        self.kind = "labelled" if kind == "labelled" else "unlabelled"

    def time_retemper(self, kind, n):
        channel_score(self.mean, 0.3, kind=self.kind, kappa=0.5, sigma=0.1, eta=self.eta, n_jobs=1)

    def time_scipy(self, kind, n):
        rival.channel(self.mean, 0.3, 0.5, sigma=0.1, eta=self.eta, two_sided=kind != "labelled")


class MessagePassing:
    """Ten iterations on 2000 features, one thread; time_read only sums the rows once per
    iteration, time_numpy stores them in double."""

    param_names = ("dtype", "n_problems")
    params = (["float64", "float32"], [1, 16])
    n_iter = 10

    def setup(self, dtype, n_problems):
        model = PerceptronModel(0.5, 2.5, 0.5)
        self.X, y, _, _ = sample_rows(model, 2000, random_state=0, dtype=dtype, n_jobs=1)
        self.role = np.where(y == -1, 0, 2 * y - 1).astype(np.int8)
        self.law = row_law(kappa=0.5)
        if n_problems == 1:
            gauge = np.where(self.role == 0, 1, self.role)[:, None]
            self.gauged = self.X.astype(np.float64) * gauge

    def time_retemper(self, dtype, n_problems):
        core.perceptron.amp(
            self.X,
            np.tile(self.role, (n_problems, 1)),
            [self.law] * n_problems,
            core.perceptron.Prior.sphere,
            start=np.zeros((n_problems, self.X.shape[1])),
            max_iter=self.n_iter,
            tol=1e-300,
            damping=0.0,
            n_threads=1,
        )

    def time_numpy(self, dtype, n_problems):
        if n_problems > 1:
            raise NotImplementedError
        rival.amp(self.gauged, 1000, 0.5, self.n_iter)

    def time_read(self, dtype, n_problems):
        for _ in range(self.n_iter):
            self.X.sum()

    def time_products(self, dtype, n_problems):
        """The two matrix products alone, as numpy's BLAS does them on all rows."""
        if n_problems == 1 or dtype == "float32":
            raise NotImplementedError
        W = np.ones((2000, n_problems))
        for _ in range(self.n_iter):
            self.X.T @ (self.X @ W)

    def bound(self, dtype, n_problems):
        size = self.X.nbytes if hasattr(self, "X") else 96_000_000
        return {
            "reads": self.n_iter * size,
            "flops": self.n_iter * 4 * 6000 * 2000 * n_problems,
        }


class Solve:
    """All fixed points of one model; the rival scans and bisects with numpy and scipy."""

    param_names = ("kappa", "alpha_u", "alpha_l")
    params = ([0.5], [4.3], [0.0, 0.1])

    def setup(self, kappa, alpha_u, alpha_l):
        self.model = PerceptronModel(kappa, alpha_u, alpha_l)

    def time_retemper(self, kappa, alpha_u, alpha_l):
        solve(self.model, n_jobs=1)

    def time_numpy(self, kappa, alpha_u, alpha_l):
        rival.solve(kappa, alpha_u, alpha_l)


class Thresholds:
    """All thresholds; the rival finds the two spinodals alone."""

    param_names = ("kappa",)
    params = ([0.5],)

    def time_retemper(self, kappa):
        transitions(kappa, n_jobs=1)

    def time_numpy(self, kappa):
        rival.spinodals(kappa)


class PhaseDiagram:
    """A 100 x 100 diagram of margin and load, all branches with free entropies."""

    param_names = ("n_jobs",)
    params = ([1, 2],)

    def time_retemper(self, n_jobs):
        phase_diagram(np.linspace(0.02, 2, 100), np.geomspace(0.05, 500, 100), n_jobs=n_jobs)


class ErrorDiagram:
    """Errors of three branches and the phase over n priors by n loads, no table kept from before.
    `curve` solves the points one by one, with the curves of its priors known."""

    param_names = ("channel", "n", "n_jobs")
    params = (["sign", "logistic", "door", "absolute"], [20, 100], [1, 2])

    def setup(self, channel, n, n_jobs):
        density = np.linspace(0.05, 1, n)
        priors = [Prior.sparse(float(p), variance=1 / float(p)) for p in density]
        self.axes = {"prior": priors, "alpha": np.geomspace(0.05, 8, n)}
        self.model = GLMModel(1.0, channel=channel)
        if n == 20:
            for prior in priors:
                bayes_curve(GLMLaw(self.model.channel, prior))

    def time_retemper(self, channel, n, n_jobs):
        tabled_averages.cache_clear()
        phase_diagram(self.model, self.axes, value="error", n_jobs=n_jobs)

    def time_curve(self, channel, n, n_jobs):
        if n > 20 or n_jobs > 1:
            raise NotImplementedError
        curve(self.model, self.axes, quantities=["error"])


def dark_photon(y, h):
    rate = h * h + 0.1
    return np.where(y > 0, np.log(-np.expm1(-rate)), -rate)


def noisy_tanh(y, h):
    return -2 * (y - np.tanh(h)) ** 2 - 0.5 * np.log(np.pi / 2)


class ChannelPoint:
    """All fixed points of one model, priors with one curve: `table` makes the curve anew, as the
    first call for a channel and prior does; `retemper` is every later one. The rival evaluates the
    overlap by scipy's adaptive quadrature and iterates to 1e-8; it knows the sign channel."""

    def goal(self, channel, prior):
        return 50e-3 if channel.startswith("callable") else 5e-3

    param_names = ("channel", "prior")
    params = (
        ["sign", "probit", "logistic", "door", "absolute", "linear", "laplace", "student", "margin",
         "cluster", "callable, 2 labels", "callable, numbers"],
        ["gaussian", "binary", "sparse"],
    )  # fmt: skip

    def setup(self, channel, prior):
        if prior == "sparse":
            prior = Prior.sparse(0.1, variance=10.0)
        if channel == "callable, 2 labels":
            channel = LabelChannel.from_log_density(dark_photon, labels=[0, 1])
        elif channel == "callable, numbers":
            channel = LabelChannel.from_log_density(noisy_tanh, label_range=(-5, 5))
        self.model = GLMModel(0.7, channel=channel, prior=prior)
        solve(self.model)

    def time_retemper(self, channel, prior):
        solve(self.model)

    def time_table(self, channel, prior):
        bayes_curve.cache_clear()
        solve(self.model)

    def time_scipy(self, channel, prior):
        if channel != "sign" or prior != "gaussian":
            raise NotImplementedError
        rival.sign_point(0.7)


class MistakenPoint:
    """Both starts of a student whose channel is not that of the data: `channel, truth`. The rival
    takes its averages over labels of any kind on one set of panels for all of them, by numpy."""

    param_names = ("channels", "prior")
    params = (
        ["probit, sign", "flips, probit", "logistic, probit", "logistic, sign", "probit, logistic",
         "door, sharper door", "noisy, laplace", "laplace, noisy", "student, laplace"],
        ["gaussian", "binary"],
    )  # fmt: skip

    def goal(self, channels, prior):
        return 5e-3

    def setup(self, channels, prior):
        own = {
            "flips": LabelChannel.sign(eta=0.1),
            "door": LabelChannel.door(sigma=0.3),
            "sharper door": LabelChannel.door(sigma=0.2),
            "noisy": LabelChannel.linear(noise=0.5),
        }
        channel, truth = (own.get(name, name) for name in channels.split(", "))
        alpha = 3.0 if "door" in channels else 1.5
        self.model = GLMModel(alpha, channel=channel, channel_true=truth, prior=prior)

    def time_retemper(self, channels, prior):
        solve(self.model, on_failure="ignore")

    def time_any_labels(self, channels, prior):
        if "laplace" in channels:  # seconds
            raise NotImplementedError
        names = "labels_of_posterior", "labels_of_gap"
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(mock.patch.object(saddle, name, return_value=None))
            solve(self.model, on_failure="ignore")


class ERMPoint:
    """A minimiser of a loss on features of sixty variances. The rival writes the same equations as
    replica notebooks do: averages on a grid of 2001 fields, and the plain map to 1e-8."""

    def goal(self, labels, ridge):
        return 5e-3

    param_names = ("labels", "ridge")
    params = (
        ["square, linear", "huber, linear", "square, sign", "huber, sign", "hinge, sign",
         "logistic, sign", "logistic, probit", "logistic, logistic"],
        [0.1, 1e-3],
    )  # fmt: skip

    def setup(self, labels, ridge):
        loss, channel = labels.split(", ")
        law = np.geomspace(0.1, 3.0, 60)
        law /= law.mean()
        share, alignment = np.full(60, 1 / 60), np.linspace(1.0, 2.0, 60) / 60
        self.features = law, share, alignment / law
        noisy = LabelChannel.linear(noise=0.5)
        self.model = ERMModel(
            1.5, loss=loss, ridge=ridge, channel=noisy if channel == "linear" else channel,
            covariates=Covariates(
                spectrum=tuple(law), multiplicity=tuple(share), alignment=tuple(alignment)
            ),
        )  # fmt: skip

    def time_retemper(self, labels, ridge):
        solve(self.model)

    def time_plain_map(self, labels, ridge):
        loss, channel = labels.split(", ")
        if channel not in {"sign", "linear"}:
            raise NotImplementedError
        noise = 0.5 if channel == "linear" else None
        rival.erm_point(loss, 1.5, 1.5 * ridge, self.features, noise=noise)
