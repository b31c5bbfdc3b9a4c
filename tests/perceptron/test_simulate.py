"""Drawn rows against their law, and message passing on them against the theory."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import retemper.perceptron as pc
from retemper.exceptions import ConvergenceWarning
from retemper.perceptron import PerceptronModel, channel_score, simulate

AGREEMENT = {
    "labels only": (PerceptronModel(0.0, 0.0, 2.0), {}),
    "easy": (PerceptronModel(1.0, 1.0, 0.3), {}),
    "no labels": (PerceptronModel(1.0, 1.2), {}),
    "beyond": (PerceptronModel(0.5, 4.0, 0.3), {}),
    "informed": (PerceptronModel(0.5, 4.4, 0.0), {"branch": "informed"}),
    "contaminated": (PerceptronModel(1.0, 2.0, 0.3, eta_u=0.2, eta_l=0.1), {}),
    "mismatched": (PerceptronModel(0.5, 1.0, 0.3, kappa_true=1.0), {}),
    "cluster": (PerceptronModel(0.0, 1.5, 0.3, channel="cluster", cluster_mean=1.2), {}),
    "binary": (PerceptronModel(1.0, 0.3, 0.1, prior="binary"), {}),
}


SLOW = ("beyond",)  # two branches: many iterations


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in AGREEMENT]
)
def test_theory_is_met(name):
    """Within three standard errors and 0.1 / sqrt(n), section 8."""
    model, options = AGREEMENT[name]
    n = 1000
    table = pc.compare(model, n_features=n, n_repeats=8, random_state=11, **options)
    gap = np.abs(table.theory - table.simulation)
    assert (gap <= 3 * table.stderr + 0.1 / math.sqrt(n)).all(), f"\n{table}"
    assert (table.stderr > 0).all()


def test_sampled_fields_follow_the_density():
    for model in (
        PerceptronModel(0.7, 3.0, 3.0),
        PerceptronModel(0.7, 3.0, 3.0, sigma=0.4, eta_u=0.3, eta_l=0.1),
    ):
        X, y, side, w = pc.sample_rows(model, 1000, random_state=3)
        h = X @ w / math.sqrt(1000)
        grid = np.linspace(-5, 5, 4001)
        for label, kind in ((-1, "unlabelled"), (1, "labelled"), (0, "labelled")):
            density = np.exp(
                channel_score(
                    grid if label else -grid, 1e-9, kind=kind, kappa=model.kappa,
                    sigma=model.sigma, eta=model.eta_u if label < 0 else model.eta_l,
                ).log_w - grid * grid / 2
            )  # fmt: skip
            cdf = np.cumsum(density) / density.sum()
            drawn = h[y == label]
            at = np.interp(np.sort(drawn), grid, cdf)
            assert stats.kstest(at, "uniform").pvalue > 1e-3
        rest = X - np.outer(h, w) / math.sqrt(1000)
        assert abs(rest.var() - 0.999) < 3e-3
        assert abs((side == 1).mean() - 0.5) < 0.03
    hard = pc.sample_rows(PerceptronModel(0.7, 1.0, 1.0), 100, random_state=0)
    assert np.abs(hard.X @ hard.w_true / 10).min() > 0.7
    assert_array_equal(hard.side, (hard.X @ hard.w_true > 0).astype(int))


def test_rows_do_not_depend_on_threads_or_storage():
    model = PerceptronModel(0.7, 3.0, 1.0)
    X, y, side, w = pc.sample_rows(model, 200, random_state=1, n_jobs=1)
    again = pc.sample_rows(model, 200, random_state=1, n_jobs=3)
    for one, two in zip((X, y, side, w), again, strict=True):
        assert_array_equal(one, two)
    single = pc.sample_rows(model, 200, random_state=1, dtype="float32")
    assert single.X.dtype == np.float32
    assert_array_equal(single.X, X.astype(np.float32))


def test_no_labels_below_threshold_find_nothing():
    sample = simulate(PerceptronModel(1.0, 0.2), n_features=800, n_repeats=3, random_state=0)
    assert sample.q < 0.02
    assert sample.samples["converged"].all()


def test_oscillation_is_damped_and_reported():
    """kappa = 1.2 on kappa_true = 1: the replicon is 1.046, page section 4.2."""
    model = PerceptronModel(1.2, 0.5, 0.2, kappa_true=1.0)
    with pytest.warns(ConvergenceWarning, match="message passing"):
        sample = simulate(model, n_features=1000, n_repeats=2, random_state=1, max_iter=300)
    assert sample.status in ("max_iter", "stalled")
    assert np.isfinite([sample.q, sample.m, sample.free_entropy]).all()
    assert abs(sample.m - 0.6404) < 0.1


def test_simulation_is_reproducible_and_counts():
    model = PerceptronModel(1.0, 1.0, 0.5)
    one = simulate(model, n_features=200, n_repeats=3, random_state=4, n_jobs=1)
    two = simulate(model, n_features=200, n_repeats=3, random_state=4, n_jobs=2)
    assert one.q == two.q
    assert one.stderr == two.stderr
    assert one.samples["q"].shape == (3,)
    assert_allclose(one.q, one.samples["q"].mean())
    assert simulate(model, n_features=200, n_repeats=3, random_state=5).q != one.q


def test_progress_counts_repeats_and_stops_a_run():
    class Enough(Exception):
        pass

    seen = []

    def progress(done, total):
        seen.append((done, total))
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        simulate(PerceptronModel(1.0, 1.0, 0.5), n_features=100, n_repeats=50, progress=progress)
    assert seen == [(1, 50), (2, 50)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 1}, "n_features must be at least 2"),
        ({"n_repeats": 1}, "n_repeats must be at least 2"),
        ({"start": "warm"}, "start must be one of"),
        ({"damping": 1.0}, "damping must lie in"),
        ({"tol": 0.0}, "tol must lie in"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"model": PerceptronModel(1.0, 0.001)}, "no rows"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**({"model": PerceptronModel(1.0, 1.0), "n_features": 50} | arguments))
