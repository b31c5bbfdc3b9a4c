"""Correlated features of student and teacher: limits, closed forms, experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from retemper.perceptron import Channel, Covariates, ERMModel, Prior, compare, curve, solve
from retemper.perceptron.saddle import LOSSES

NUMBERS = ("q", "m", "cosine", "mse", "error", "replicon")
SKEWED = Covariates((4.0, 1.0, 0.2), (0.1, 0.4, 0.5), (2.0, 0.2, 0.02), 0.9)


def numbers(model, **options):
    theory = solve(model, tol=1e-12, **options)
    return [getattr(theory, name) for name in NUMBERS]


def model_of(loss, covariates=None, **options):
    channel = "sign" if loss in ("logistic", "hinge") else Channel.linear(noise=0.3)
    return ERMModel(1.7, loss=loss, channel=channel, covariates=covariates, **options)


@pytest.mark.parametrize("loss", LOSSES)
def test_white_features_are_the_model_without_covariates(loss):
    want = numbers(model_of(loss))
    half = Covariates((1.0, 1.0), (0.5, 0.5), (0.8, 0.2))
    white = Covariates.from_covariances(np.eye(5), math.sqrt(5) * np.eye(5)[2])
    for same in (Covariates(), half, white):
        assert_allclose(numbers(model_of(loss, same)), want, rtol=1e-9)


def test_units_of_the_features_change_nothing():
    scaled = Covariates(
        tuple(9 * x for x in SKEWED.spectrum),
        SKEWED.multiplicity,
        tuple(9 * x for x in SKEWED.alignment),
        SKEWED.second_moment,
    )
    want = numbers(model_of("logistic", SKEWED, ridge=0.2))
    assert_allclose(numbers(model_of("logistic", scaled, ridge=1.8)), want, rtol=1e-9)


def test_what_the_student_does_not_see_is_noise():
    """Half of the teacher's field is outside the features: label noise of that variance."""
    seen = Covariates((1.0,), (1.0,), (0.5,), 1.0)
    found = solve(model_of("square", seen), tol=1e-12)
    noisy = ERMModel(
        1.7,
        loss="square",
        channel=Channel.linear(noise=math.sqrt(0.09 + 0.5)),
        prior=Prior.mixture([1.0], [0.0], [0.5]),
    )
    want = solve(noisy, tol=1e-12)
    assert_allclose([found.q, found.m, found.error], [want.q, want.m, want.error], rtol=1e-9)
    assert_allclose(found.mse, want.mse + 0.5, rtol=1e-9)


def test_ridge_has_the_closed_form_of_the_effective_ridge():
    alpha, ridge, noise = 1.7, 0.15, 0.3
    law, share, signal = (
        np.array(v) for v in (SKEWED.spectrum, SKEWED.multiplicity, SKEWED.alignment)
    )

    def gap(kappa):  # n - df1 = ridge / kappa, all over the number of features
        return alpha - share @ (law / (law + kappa)) - alpha * ridge / kappa

    kappa = brentq(gap, 1e-6, 1e3, xtol=1e-15)
    df2 = share @ (law / (law + kappa)) ** 2
    bias = SKEWED.variance - 2 * signal @ (1 / (law + kappa)) + signal @ (law / (law + kappa) ** 2)
    want = (bias + noise**2 * df2 / alpha) / (1 - df2 / alpha)
    found = solve(model_of("square", SKEWED, ridge=ridge), tol=1e-12)
    assert_allclose(found.mse, want, rtol=1e-9)
    assert_allclose(found.replicon, df2 / alpha, rtol=1e-9)


def test_matrices_and_their_spectrum():
    rng = np.random.default_rng(3)
    both = np.cov(rng.normal(size=(9, 60)) * np.linspace(0.5, 2, 9)[:, None])
    teacher, cross, cov = both[:4, :4], both[:4, 4:], both[4:, 4:]
    w = rng.normal(size=(2, 4))
    found = Covariates.from_covariances(cov, w, cross_cov=cross, teacher_cov=teacher)
    both_tasks = w.sum(axis=0)
    assert_allclose(found.variance, both_tasks @ teacher @ both_tasks / 4, rtol=1e-12)
    seen = cross.T @ both_tasks / 2
    assert_allclose(found.seen, seen @ np.linalg.solve(cov, seen), rtol=1e-9)
    assert sum(found.alignment) == pytest.approx(seen @ seen)
    assert sum(found.counts(5)) == 5
    assert sum(found.counts(1203)) == 1203


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "covariates",
    [SKEWED, Covariates.from_sources([0.6, 0.3], [20.0, 5.0], gram=[[1.0, 0.3], [0.3, 1.0]])],
    ids=["skewed", "sources"],
)
def test_solvers_end_where_theory_says(loss, covariates):
    found = compare(
        model_of(loss, covariates), n_features=200, n_repeats=12, random_state=2, n_jobs=1
    )
    assert (np.abs(found.z) < 4.5).all(), str(found)


def test_experiments_on_given_matrices():
    """Rows of the matrices themselves, not of their spectrum."""
    rng = np.random.default_rng(1)
    d, p, alpha, ridge = 120, 160, 1.5, 0.2
    mix = rng.normal(size=(p, d)) / math.sqrt(p)  # student features: linear ones of the teacher's
    w_true = rng.normal(size=p)
    law = Covariates.from_covariances(
        mix.T @ mix + 0.1 * np.eye(d), w_true, cross_cov=mix, teacher_cov=np.eye(p)
    )
    model = ERMModel(alpha, loss="square", ridge=ridge, channel=Channel.sign(), covariates=law)
    errors = []
    for _ in range(12):
        U = rng.normal(size=(round(alpha * d) + 4000, p))
        V = U @ mix + math.sqrt(0.1) * rng.normal(size=(len(U), d))
        y, n = np.sign(U @ w_true), round(alpha * d)
        F = V[:n] / math.sqrt(d)
        w = np.linalg.solve(F.T @ F + alpha * ridge * np.eye(d), F.T @ y[:n])
        errors.append(np.mean(np.sign(V[n:] @ w) != y[n:]))
    z = (np.mean(errors) - solve(model).error) / (np.std(errors, ddof=1) / math.sqrt(12))
    assert abs(z) < 4


def test_sources_help_by_their_overlap():
    plain = solve(ERMModel(1.0)).error
    for none in ([0.0], [0.0, 0.0]):
        useless = Covariates.from_sources(none, [50.0] * len(none))
        assert_allclose(solve(ERMModel(1.0, covariates=useless)).error, plain, rtol=1e-9)
    unused = Covariates.from_sources([0.7], [1.0])
    assert_allclose(solve(ERMModel(1.0, covariates=unused)).error, plain, rtol=1e-9)
    laws = [Covariates.from_sources([r], [50.0]) for r in (0.0, 0.5, 0.9)]
    errors = curve(ERMModel(1.0), {"covariates": laws}, quantities=["error"])["error"]
    assert (np.diff(errors) < -0.01).all()
    # two sources that are one direction between them
    two = Covariates.from_sources([0.6, 0.6], [7.0, 7.0], gram=[[1.0, 0.8], [0.8, 1.0]])
    assert_allclose(max(two.spectrum), 1 + 6 * 1.8, rtol=1e-12)
    assert_allclose(two.alignment[-1], 1 - 2 * 0.36 / 1.8, rtol=1e-12)


def test_rates_of_aubin_et_al():
    """Noiseless sign labels: ridge errs with 0.2405/sqrt(alpha), the largest margin 0.500/alpha."""
    ridge = solve(ERMModel(2000.0, loss="square", ridge=1e-6))
    assert_allclose(ridge.error * math.sqrt(2000.0), 0.2405, atol=2e-4)
    margin = solve(ERMModel(60.0, loss="hinge", ridge=1e-6), max_iter=4000, on_failure="ignore")
    assert_allclose(margin.error * 60.0, 0.500, atol=0.012)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Covariates((1.0, 0.0), (0.5, 0.5), (1.0, 0.0)), "spectrum must be positive"),
        (lambda: Covariates((), (), ()), "spectrum must not be empty"),
        (lambda: Covariates.from_sources([], []), "overlaps must not be empty"),
        (lambda: Covariates((1.0,), (0.5,), (1.0,)), "must add up to 1, got 0.5"),
        (lambda: Covariates((1.0,), (1.0,), (1.0, 2.0)), "equal lengths"),
        (lambda: Covariates((1.0,), (1.0,), (1.0,), 0.5), "second_moment must be at least"),
        (lambda: Covariates((1.0,), (1.0,), (0.0,)), "must not be 0 everywhere"),
        (lambda: Covariates.from_covariances([[1, 2], [2, 1]], [1, 1]), "positive definite"),
        (lambda: Covariates.from_covariances([[1, 0.5], [0, 1]], [1, 1]), "must be symm"),
        (lambda: Covariates.from_covariances(np.eye(2), [1, 1], cross_cov=np.eye(2)), "both or"),
        (lambda: Covariates.from_covariances(
            np.eye(2), [1, 1], cross_cov=2 * np.eye(2), teacher_cov=np.eye(2)), "covariance toge"),
        (lambda: Covariates.from_sources([0.8, 0.8], [2, 2]), "must be cosines with one teacher"),
        (lambda: Covariates.from_sources([0.8], [0.0]), "stretch must be positive"),
        (lambda: Covariates.from_sources([0.5, 0.5], [2, 2], gram=np.ones((2, 2))), "must differ"),
        (lambda: ERMModel(1.0, covariates=SKEWED, l1=0.1), "l1 acts on the weight of every"),
        (lambda: ERMModel(1.0, covariates=SKEWED, prior="binary"), "prior=.*is_diagonal=True"),
        (lambda: SKEWED.counts(2), "n_features must be at least 3"),
    ],
)  # fmt: skip
def test_what_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
