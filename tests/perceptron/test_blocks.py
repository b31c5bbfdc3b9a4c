"""Weights at several scales: the best student, and absolute penalties, on correlated features."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize
from scipy.special import ndtr

from retemper.perceptron import (
    Channel,
    Covariates,
    ERMModel,
    GLMModel,
    Prior,
    compare,
    curve,
    phase_diagram,
    sample_rows,
    solve,
    transitions,
)
from retemper.perceptron.glm import bayes_curve, laws_of_glm
from retemper.perceptron.saddle import minimise, solve_mismatched

SKEWED = Covariates((4.0, 1.0, 0.2), (0.1, 0.4, 0.5), (2.0, 0.2, 0.02), 0.9)
PLAIN = dataclasses.replace(SKEWED, is_diagonal=True)
SOURCES = Covariates.from_sources([0.6, 0.3], [20.0, 5.0], gram=[[1.0, 0.3], [0.3, 1.0]])
WHITE = Covariates(is_diagonal=True)
NUMBERS = ("q", "m", "cosine", "mse", "error", "free_entropy", "information", "replicon")
LINEAR = Channel.linear(noise=0.3)


def numbers(theory, names=NUMBERS):
    return [getattr(theory, name) for name in names]


# -- the best student ----------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["sign", "logistic", "door", "absolute", LINEAR, "laplace"])
@pytest.mark.parametrize("prior", ["gaussian", "binary", Prior.sparse(0.2, variance=5.0)], ids=str)
def test_white_features_are_the_model_without_covariates(channel, prior):
    want = numbers(solve(GLMModel(1.4, channel=channel, prior=prior)))
    halves = Covariates((1.0, 1.0), (0.3, 0.7), (0.3, 0.7), is_diagonal=True)
    for same in (WHITE, halves):
        found = solve(GLMModel(1.4, channel=channel, prior=prior, covariates=same))
        assert_allclose(numbers(found), want, rtol=1e-7, atol=1e-9)


def test_units_and_stretch_of_the_features_change_nothing():
    """Who knows the covariance can whiten the features."""
    scaled = Covariates(
        tuple(9 * x for x in SKEWED.spectrum),
        SKEWED.multiplicity,
        tuple(9 * x for x in SKEWED.alignment),
        SKEWED.second_moment,
    )
    for channel in ("sign", LINEAR):
        want = numbers(solve(GLMModel(1.7, channel=channel, covariates=SKEWED)))
        found = numbers(solve(GLMModel(1.7, channel=channel, covariates=scaled)))
        assert_allclose(found, want, rtol=1e-9)
    for stretch in ([1.5, 0.2], [50.0, 3.0]):
        other = Covariates.from_sources([0.6, 0.3], stretch, gram=[[1.0, 0.3], [0.3, 1.0]])
        found = solve(GLMModel(1.7, covariates=other))
        assert_allclose(numbers(found), numbers(solve(GLMModel(1.7, covariates=SOURCES))))


def test_a_source_is_known_and_the_rest_is_learned():
    r = 0.8
    found = solve(GLMModel(1.3, channel=LINEAR, covariates=Covariates.from_sources([r], [7.0])))
    rest = Prior.mixture([1.0], [0.0], [1 - r * r])
    want = solve(GLMModel(1.3, channel=LINEAR, prior=rest))
    assert_allclose(found.q, r * r + want.q, rtol=1e-9)
    names = ("mse", "error", "free_entropy", "information", "replicon")
    assert_allclose(numbers(found, names), numbers(want, names), rtol=1e-8)


def test_linear_channel_has_the_closed_form_of_the_effective_noise():
    """b = alpha / (noise² + V), V = sum s v / (1 + b v), with the variances v of white weights."""
    alpha, noise2 = 1.7, 0.09 + SKEWED.variance - SKEWED.seen
    share = np.array(SKEWED.multiplicity)
    v = np.array(SKEWED.alignment) / np.array(SKEWED.spectrum) / share
    V = brentq(lambda x: x - share @ (v / (1 + alpha / (noise2 + x) * v)), 0, 10, xtol=1e-15)
    found = solve(GLMModel(alpha, channel=LINEAR, covariates=SKEWED))
    assert_allclose(found.mse, V + SKEWED.variance - SKEWED.seen, rtol=1e-10)
    assert_allclose(found.error, found.mse + 0.09, rtol=1e-10)
    b = alpha / (noise2 + V)
    information = 0.5 * share @ np.log1p(b * v) - 0.5 * b * V + 0.5 * alpha * np.log1p(V / noise2)
    assert_allclose(found.information, information, rtol=1e-9)


def test_ridge_is_best_where_its_penalty_is_the_prior():
    """Linear labels, weights of one variance p in the features' units: the ridge noise² / p."""
    law, share = np.array([4.0, 1.0, 0.2]), np.array([0.1, 0.4, 0.5])
    p, alpha = 0.7, 1.3
    covariates = Covariates(tuple(law), tuple(share), tuple(p * share * law**2))
    bayes = solve(GLMModel(alpha, channel=LINEAR, covariates=covariates))
    ridge = 0.09 / p / alpha
    best = ERMModel(alpha, loss="square", channel=LINEAR, covariates=covariates, ridge=ridge)
    assert_allclose(solve(best, tol=1e-12).mse, bayes.mse, rtol=1e-9)
    for factor in (0.3, 3.0):
        other = dataclasses.replace(best, ridge=factor * ridge)
        assert solve(other).mse > bayes.mse * (1 + 1e-4)


@pytest.mark.parametrize("loss", ["logistic", "hinge", "square"])
def test_nobody_beats_the_best_student(loss):
    for law in (SKEWED, SOURCES):
        best = solve(GLMModel(1.5, covariates=law)).error
        for ridge in (0.03, 0.3, 3.0):
            assert solve(ERMModel(1.5, loss=loss, ridge=ridge, covariates=law)).error > best


@pytest.mark.parametrize(
    ("channel", "prior"),
    [("sign", "gaussian"), ("sign", "binary"), ("logistic", "laplace"), (LINEAR, Prior.sparse(0.2)),
     ("probit", Prior.mixture([0.3, 0.7], [-0.5, 1.0], [0.0, 0.1]))],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("law", [PLAIN, dataclasses.replace(SOURCES, is_diagonal=True)])
def test_the_saddle_of_three_overlaps_is_the_curve_of_one(channel, prior, law):
    model = GLMModel(1.0, channel=channel, prior=prior, covariates=law)
    saddle = solve_mismatched(model, tol=1e-11, max_iter=2000, on_failure="raise")
    bayes = solve(model)
    assert_allclose([saddle.q, saddle.m], bayes.q, rtol=1e-7)
    assert_allclose(saddle.mse, bayes.mse, rtol=1e-6)
    assert_allclose(saddle.replicon, bayes.replicon, rtol=1e-4)
    assert_allclose(saddle.error, bayes.error, rtol=1e-3)


@pytest.mark.parametrize("prior", ["gaussian", "laplace", Prior.sparse(0.2)], ids=str)
def test_free_entropy_is_stationary_and_its_slope_in_alpha_is_the_entropy(prior):
    model = GLMModel(1.5, channel="sign", prior=prior, covariates=PLAIN)
    found, (law, _) = solve(model), laws_of_glm(model)
    line = bayes_curve(law)
    x = line.roots(1.5)[0][0].x
    e = 1e-4

    def phi(x, alpha=1.5):
        return float(line.points(x).free_entropy(alpha)[0])

    assert_allclose((phi(x + e) - phi(x - e)) / (2 * e), 0, atol=1e-8)
    up, down = (solve(dataclasses.replace(model, alpha=1.5 + s * e)).free_entropy for s in (1, -1))
    assert_allclose((up - down) / (2 * e), line.points(x).entropy[0], rtol=1e-6)
    assert_allclose(found.free_entropy, phi(x), rtol=1e-9)


def test_exact_posterior_of_linear_labels_on_given_matrices():
    """Mean squared error and log evidence of Gaussian regression, rows of the matrices."""
    rng = np.random.default_rng(1)
    d, p, alpha, noise = 150, 200, 1.4, 0.4
    mix = rng.normal(size=(p, d)) / math.sqrt(p) * np.linspace(0.3, 2, d)
    cov = mix.T @ mix + 0.1 * np.eye(d)
    w_true = rng.normal(size=p)
    law = Covariates.from_covariances(cov, w_true, cross_cov=mix, teacher_cov=np.eye(p))
    assert not law.is_diagonal
    # the prior of its blocks: independent along eigenvectors, of the squares that the truth has
    values, vectors = np.linalg.eigh(cov)
    power = d * np.array(law.alignment) / values**2
    n, hidden = round(alpha * d), law.variance - law.seen
    mse, evidence = [], []
    for _ in range(30):
        signs = np.sqrt(power) * rng.normal(size=d)
        V = rng.normal(size=(n, d)) * np.sqrt(values)
        F = V / math.sqrt(d)
        y = F @ signs + math.sqrt(hidden + noise**2) * rng.normal(size=n)
        K = (F * power) @ F.T + (hidden + noise**2) * np.eye(n)
        w = power * (F.T @ np.linalg.solve(K, y))
        mse.append(values @ (w - signs) ** 2 / d + hidden)
        _, log_det = np.linalg.slogdet(2 * math.pi * K)
        evidence.append(-0.5 * (log_det + y @ np.linalg.solve(K, y)) / d)
    found = solve(GLMModel(alpha, channel=Channel.linear(noise=noise), covariates=law))
    assert vectors.shape == (d, d)
    for sample, want in ((mse, found.mse), (evidence, found.free_entropy)):
        z = (np.mean(sample) - want) / (np.std(sample, ddof=1) / math.sqrt(30))
        assert abs(z) < 4


@pytest.mark.parametrize(
    "model",
    [
        GLMModel(2.0, covariates=SKEWED),
        GLMModel(2.0, channel="logistic", covariates=SOURCES),
        GLMModel(1.5, channel=LINEAR, prior=Prior.sparse(0.2), covariates=PLAIN),
        GLMModel(1.5, channel="probit", prior="binary", covariates=PLAIN),
        GLMModel(2.5, channel=Channel.absolute(noise=0.3), covariates=SOURCES),
        GLMModel(2.0, channel=Channel.sign(sigma=0.1), channel_true="probit", covariates=SKEWED),
    ],
    ids=str,
)
def test_message_passing_ends_where_theory_says(model):
    found = compare(model, n_features=300, n_repeats=12, random_state=4, n_jobs=1)
    assert (np.abs(found.z) < 4.5).all(), str(found)


def test_rows_have_the_covariances():
    model = GLMModel(30.0, channel=LINEAR, covariates=SKEWED)
    rows = sample_rows(model, 200, random_state=0)
    counts = SKEWED.counts(200)
    assert rows.X.shape == (6000, 200)
    want = np.repeat(SKEWED.spectrum, counts)
    assert_allclose(rows.X.var(axis=0), want, rtol=0.12)
    fields = rows.X @ rows.w_true / math.sqrt(200)
    assert_allclose(fields.var(), SKEWED.seen, rtol=0.06)
    assert_allclose(rows.y.var(), SKEWED.variance + 0.09, rtol=0.06)
    covariance = (rows.X * rows.y[:, None]).mean(axis=0) ** 2
    ends = np.cumsum(counts)
    sums = [c.sum() for c in np.split(covariance - rows.X.var(axis=0) / 6000, ends[:-1])]
    assert_allclose(sums, SKEWED.alignment, atol=0.1)


def test_sweeps_transitions_and_diagrams_take_covariates():
    laws = [Covariates.from_sources([r], [2.0]) for r in (0.1, 0.5, 0.9)]
    errors = curve(GLMModel(1.0), {"covariates": laws}, quantities=["error"])["error"]
    assert (np.diff(errors) < -0.01).all()
    plain = GLMModel(1.0, channel=Channel.linear(), prior=Prior.sparse(0.1))
    two = Covariates((4.0, 1.0), (0.5, 0.5), (2.0, 0.5), is_diagonal=True)
    jump = transitions(dataclasses.replace(plain, covariates=two))
    assert jump.first_order
    assert 0.1 < jump.alpha_alg < 1
    found = solve(dataclasses.replace(plain, covariates=two, alpha=jump.alpha_alg * 1.01))
    lower = solve(dataclasses.replace(plain, covariates=two, alpha=jump.alpha_alg * 0.99))
    assert found.mse < 1e-6
    assert lower.mse > 1e-2
    grid = phase_diagram(
        GLMModel(1.0), {"covariates": laws, "alpha": [0.5, 1.0]}, value="error", n_jobs=1
    )
    assert_allclose(grid["error_reachable"][:, 1], errors, rtol=1e-6)


# -- absolute penalties --------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "square", "huber", "hinge"])
def test_white_features_are_the_penalised_model_without_covariates(loss):
    channel = "sign" if loss in ("logistic", "hinge") else LINEAR
    plain = ERMModel(1.7, loss=loss, l1=0.1, ridge=0.05, channel=channel, prior="binary")
    found = solve(dataclasses.replace(plain, covariates=WHITE))
    names = ("q", "m", "error", "replicon")
    assert_allclose(numbers(found, names), numbers(solve(plain), names), rtol=1e-9)


@pytest.mark.parametrize("law", [PLAIN, dataclasses.replace(SOURCES, is_diagonal=True)])
def test_a_vanishing_penalty_is_least_squares(law):
    """Above one row a feature; single directions too."""
    names = ("q", "m", "mse", "error")
    l1, ridge = (
        solve(ERMModel(1.8, loss="square", channel=LINEAR, covariates=law, **penalty), tol=1e-12)
        for penalty in ({"l1": 1e-9, "ridge": 0.0}, {"ridge": 1e-9})
    )
    assert_allclose(numbers(l1, names), numbers(ridge, names), rtol=1e-7)


def test_weights_under_an_absolute_penalty_have_closed_forms():
    """Weights +-1 of each scale seen through noise, cut softly: integrals by normal laws."""
    alpha, l1, noise = 1.6, 0.15, 0.3
    law, share = np.array([3.0, 0.5]), np.array([0.3, 0.7])
    size = np.array([0.9, 0.6])  # of a weight
    covariates = Covariates(
        tuple(law), tuple(share), tuple(share * (size * law) ** 2), is_diagonal=True
    )
    rho, cut = covariates.variance, alpha * l1

    def soft(mean, s):  # E f, E f², P(f is not 0) of f = soft(mean + s z)
        first = second = live = 0.0
        for sign in (1.0, -1.0):
            u = (sign * mean - cut) / s
            density = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
            live += ndtr(u)
            first += sign * s * (u * ndtr(u) + density)
            second += s * s * ((1 + u * u) * ndtr(u) + u * density)
        return first, second, live

    V, q, m = 1.0, 0.1, 0.1
    for _ in range(300):
        A = alpha / (1 + V)
        q_hat = alpha * (rho + noise**2 - 2 * m + q) / (1 + V) ** 2
        parts = [
            soft(A * w * c, math.sqrt(q_hat * w)) for w, c in zip(law, size, strict=True)
        ]  # m_hat = A for linear labels
        first, second, live = np.array(parts).T
        V = share @ (live / A)
        q = share @ (law * second / (A * law) ** 2)
        m = share @ (law * size * first / (A * law))
    model = ERMModel(
        alpha, loss="square", l1=l1, ridge=0.0, channel=Channel.linear(noise=noise),
        prior="binary", covariates=covariates,
    )  # fmt: skip
    found = solve(model, tol=1e-12)
    assert_allclose([found.q, found.m], [q, m], rtol=1e-8)
    assert_allclose(found.mse, rho - 2 * m + q, rtol=1e-8)


def test_what_the_penalised_student_does_not_see_is_noise():
    seen = Covariates((1.0,), (1.0,), (0.5,), 1.0, is_diagonal=True)
    found = solve(ERMModel(1.7, loss="square", l1=0.1, channel=LINEAR, covariates=seen), tol=1e-12)
    noisy = ERMModel(
        1.7, loss="square", l1=0.1, channel=Channel.linear(noise=math.sqrt(0.59)),
        prior=Prior.mixture([1.0], [0.0], [0.5]),
    )  # fmt: skip
    want = solve(noisy, tol=1e-12)
    assert_allclose([found.q, found.m, found.error], [want.q, want.m, want.error], rtol=1e-8)


@pytest.mark.parametrize(
    "model",
    [
        ERMModel(1.6, loss="square", l1=0.1, ridge=0.0, channel=LINEAR, prior=Prior.sparse(0.2)),
        ERMModel(1.6, loss="square", l1=0.2, ridge=0.1, channel="sign", prior="binary"),
        ERMModel(1.6, loss="logistic", l1=0.05, ridge=0.0, prior="laplace"),
        ERMModel(1.6, loss="huber", l1=0.1, ridge=0.05, channel=LINEAR),
    ],
    ids=str,
)
@pytest.mark.parametrize("law", [PLAIN, dataclasses.replace(SOURCES, is_diagonal=True)])
def test_solvers_end_where_theory_says(model, law):
    model = dataclasses.replace(model, covariates=law)
    found = compare(model, n_features=250, n_repeats=12, random_state=6, n_jobs=1)
    assert (np.abs(found.z) < 4.5).all(), str(found)


def test_a_lasso_on_given_variances_and_weights():
    """One block for every feature; the prior "binary" stands for the sizes of these weights."""
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(5)
    d, alpha, l1, noise = 200, 1.5, 0.1, 0.3
    variance = rng.uniform(0.2, 3.0, size=d)
    w = np.where(rng.random(d) < 0.3, rng.normal(size=d), 0.0)
    law = Covariates.from_covariances(np.diag(variance), w)
    assert law.is_diagonal
    model = ERMModel(
        alpha, loss="square", l1=l1, ridge=0.0, channel=Channel.linear(noise=noise),
        prior="binary", covariates=law,
    )  # fmt: skip
    n, mse = round(alpha * d), []
    for _ in range(20):
        F = rng.normal(size=(n, d)) * np.sqrt(variance / d)
        y = F @ w + noise * rng.normal(size=n)
        found = Lasso(alpha * l1 / n, fit_intercept=False, tol=1e-8).fit(F, y).coef_
        mse.append(variance @ (found - w) ** 2 / d)
    z = (np.mean(mse) - solve(model).mse) / (np.std(mse, ddof=1) / math.sqrt(20))
    assert abs(z) < 4


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_coordinate_descent_and_gradients_end_at_one_minimum(loss):
    rng = np.random.default_rng(2)
    n, d = 90, 40
    X = rng.normal(size=(n, d))
    y = np.sign(X @ rng.normal(size=d))
    model = ERMModel(n / d, loss=loss, l1=0.1, ridge=0.02)
    F, l1, ridge = X / math.sqrt(d), 0.1 * n / d, 0.02 * n / d

    def value(w):
        h = F @ w
        loss_sum = (
            np.logaddexp(0, -y * h).sum() if loss == "logistic" else 0.5 * ((h - y) ** 2).sum()
        )
        return loss_sum + 0.5 * ridge * w @ w + l1 * np.abs(w).sum()

    found = minimise(model, X, y, tol=1e-8, max_iter=1000)
    assert found.residual < 1e-5
    for seed in range(3):  # derivative-free, from the minimum: nothing near is lower
        step = np.random.default_rng(seed).normal(size=(300, d)) * 10.0 ** -rng.integers(1, 6)
        assert min(value(found.weights + s) for s in step) >= value(found.weights) - 1e-9
    start = found.weights + 0.01
    polished = minimize(value, start, method="Powell", options={"maxiter": 3})
    assert polished.fun >= value(found.weights) - 1e-9


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GLMModel(1.0, prior="binary", covariates=SKEWED), "is_diagonal=True"),
        (lambda: GLMModel(1.0, prior_true="binary", covariates=SKEWED), "is_diagonal=True"),
        (lambda: GLMModel(1.0, channel="margin", covariates=SKEWED), "selects rows"),
        (lambda: ERMModel(1.0, l1=0.1, covariates=SOURCES), "l1 acts on the weight of every"),
    ],
)
def test_what_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_what_is_of_another_kind():
    with pytest.raises(TypeError, match="covariates"):
        GLMModel(1.0, covariates=(1.0, 2.0))
    with pytest.raises(TypeError, match="is_diagonal must be True or False"):
        Covariates(is_diagonal="yes")
