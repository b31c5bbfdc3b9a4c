"""Any channel and prior: identities, numbers of other people, message passing."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from retemper._dispatch import core
from retemper.exceptions import NumericalError
from retemper.perceptron import (
    Channel,
    Covariates,
    ERMModel,
    GLMModel,
    PerceptronModel,
    Prior,
    compare,
    curve,
    sample_rows,
    simulate,
    solve,
    transitions,
)
from retemper.perceptron.glm import bayes_curve, laws_of_glm
from retemper.perceptron.likelihood import CHANNELS, as_channel
from retemper.perceptron.panels import interpolated
from retemper.perceptron.weight_prior import PRIORS, as_prior, posterior, prior_curve

BIMODAL = Prior.mixture([0.3, 0.3, 0.4], [-1.0, 0.5, 2.0], [0.0, 0.2, 0.1])


def noisy_tanh(y, h):
    return -0.5 * ((y - np.tanh(h)) / 0.5) ** 2 - math.log(0.5 * math.sqrt(2 * math.pi))


def photon(y, h):
    """At least one of Poisson(h² + 0.1) photons."""
    rate = h * h + 0.1
    return np.where(y > 0, np.log(-np.expm1(-rate)), -rate)


CALLABLES = {
    "tanh": Channel.from_log_density(noisy_tanh, label_range=(-5, 5), name="noisy tanh"),
    "photon": Channel.from_log_density(photon, labels=[0, 1], name="photon"),
    "step": Channel.from_log_density(
        lambda y, h: np.where(y * h > 0, 0.0, -np.inf), labels=[-1, 1], breakpoints=[0.0]
    ),
}
CASES = {
    **{name: as_channel(name) for name in CHANNELS},
    **CALLABLES,
    "flips": Channel.sign(eta=0.1),
    "noisy absolute": Channel.absolute(noise=0.3),
    "unlabelled margin": Channel.margin(0.5, is_labelled=False),
    "two clusters": Channel.cluster(1.2, is_labelled=False),
}


# -- priors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [*PRIORS, BIMODAL], ids=str)
def test_prior_identities(prior):
    prior = as_prior(prior)
    x = np.linspace(-6, 8 if prior.is_continuous else 3.0, 9)
    e = 1e-4
    at, up, down = (prior_curve(prior, np.exp(x + d)) for d in (0.0, e, -e))
    assert_allclose(at.q + at.V, prior.second_moment, rtol=1e-12)
    rate = 2 * e * np.exp(x)
    assert_allclose((up.q - down.q) / rate, at.dq, rtol=2e-5)
    # information rises by half of the error that is left (Guo, Shamai and Verdú)
    assert_allclose((up.information - down.information) / rate, at.V / 2, rtol=1e-6)


@pytest.mark.parametrize("prior", [*PRIORS, BIMODAL], ids=str)
def test_posterior_against_quadrature(prior):
    prior, b, r = as_prior(prior), 3.0, 0.7
    root = math.sqrt(b)

    def law(w):
        if prior.name == "laplace":
            return math.exp(-math.sqrt(2) * abs(w)) / math.sqrt(2)
        parts = zip(prior.weights, prior.means, prior.variances, strict=True)
        return sum(
            p * math.exp(-((w - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            for p, m, v in parts
            if v
        )

    parts = zip(prior.weights, prior.means, prior.variances, strict=True)
    points = [(p, m) for p, m, v in parts if not v]
    moments = [
        sum(p * m**k * math.exp(-((r - root * m) ** 2) / 2) for p, m in points)
        + quad(
            lambda w, k=k: law(w) * w**k * math.exp(-((r - root * w) ** 2) / 2),
            -12, 12, points=[-1, 0, 0.5, 2], limit=200,
        )[0]
        for k in range(3)
    ]  # fmt: skip
    at = posterior(prior, np.array([r]), b)
    mean = moments[1] / moments[0]
    assert_allclose(at.log_density, math.log(moments[0] / math.sqrt(2 * math.pi)), rtol=1e-8)
    assert_allclose(at.mean, mean, rtol=1e-7)
    assert_allclose(at.variance, moments[2] / moments[0] - mean**2, rtol=1e-7)


def test_laplace_posterior_keeps_its_digits_far_out():
    law = as_prior("laplace")
    near, far = posterior(law, np.array([59.99]), 1.0), posterior(law, np.array([60.01]), 1e-6)
    assert_allclose(near.mean, 59.99 - math.sqrt(2), rtol=1e-12)
    assert_allclose(far.variance, 1.0, atol=0.01)


# -- channels -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_channel_identities(name):
    channel = CASES[name]
    q = np.array([0.02, 0.3, 0.7, 0.97])
    e = 1e-4 * np.minimum(q, 1 - q)
    at, up, down = (channel.averages(q + d, 1 - q - d) for d in (0.0, e, -e))
    # the entropy falls by half of the information about the known part
    assert_allclose((up.entropy - down.entropy) / (2 * e), at.overlap / 2, rtol=1e-5, atol=1e-9)
    assert_allclose((up.overlap - down.overlap) / (2 * e), at.slope, rtol=1e-5, atol=1e-8)
    assert (at.quadrature_error < 1e-4 * at.overlap + 1e-9).all()


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("absolute", "noisy absolute")])
def test_evidence_derivatives(name):
    channel = CASES[name]
    y = np.array([channel.labels[0] if channel.labels else 0.4] * 3)
    mean, V = np.array([-0.8, 0.1, 1.3]), 0.4
    rows = channel.rows(y, 1.0)
    e = 1e-4
    at, up, down = (rows(mean + d, V) for d in (0.0, e, -e))
    assert_allclose((up.value - down.value) / (2 * e), at.first, rtol=1e-6, atol=1e-9)
    assert_allclose((up.first - down.first) / (2 * e), at.second, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("name", "same"), [("step", "sign"), ("tanh", None)])
def test_a_callable_is_the_channel_it_describes(name, same):
    q = np.array([0.1, 0.6, 0.999])
    got = CASES[name].averages(q, 1 - q)
    if same:
        want = CASES[same].averages(q, 1 - q)
        for a, b in zip(got[:4], want[:4], strict=True):
            assert_allclose(a, b, rtol=1e-7)
    # the label's law integrates to one: E of the score is zero, E Z'' too
    assert (got.overlap > 0).all()
    assert (np.diff(got.entropy) > 0).all()


def test_linear_callable_is_the_closed_form():
    s = 0.5
    given = Channel.from_log_density(
        lambda y, h: -0.5 * ((y - h) / s) ** 2 - math.log(s * math.sqrt(2 * math.pi)),
        label_range=(-13, 13),
    )
    q = np.array([0.05, 0.5, 0.95])
    got, want = given.averages(q, 1 - q), Channel.linear(noise=s).averages(q, 1 - q)
    for a, b in zip(got[:4], want[:4], strict=True):
        assert_allclose(a, b, rtol=1e-6)


def test_student_and_laplace_noise_have_their_fisher_information():
    q, V = np.array([1 - 1e-9]), np.array([1e-9])
    nu, noise = 3.0, 0.7
    laplace = Channel.linear(noise=noise, law="laplace").averages(q, V)
    student = Channel.linear(noise=noise, law="student", df=nu).averages(q, V)
    scale2 = noise**2 * (nu - 2) / nu
    assert_allclose(laplace.overlap, 2 / noise**2, rtol=1e-4)  # minus order sqrt(V)
    assert_allclose(student.overlap, (nu + 1) / (nu + 3) / scale2, rtol=1e-6)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["door", "logistic", "photon", "flips"])
def test_error_against_adaptive_quadrature(name, q):
    """The likelier label changes inside a panel: the integrand has a kink there."""
    channel = CASES[name]
    channel.averages(np.array([0.5]), np.array([0.5]))
    labels, V = np.array(channel.labels), np.full(len(channel.labels), 1 - q)

    def odds(z):
        at = channel.evidence(labels, np.full(labels.size, math.sqrt(q) * z), V).value
        return float(at[0] - at[1]), float(at.min())

    grid = np.linspace(-8, 8, 401)
    gap = np.array([odds(z)[0] for z in grid])
    kinks = [
        brentq(lambda z: odds(z)[0], a, b)
        for a, b, f, g in zip(grid[:-1], grid[1:], gap[:-1], gap[1:], strict=True)
        if f * g < 0
    ]
    want, _ = quad(
        lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * odds(z)[1],
        -8, 8, points=kinks or None, limit=200, epsabs=1e-11,
    )  # fmt: skip
    got = channel.averages(np.array([q]), np.array([1 - q])).error
    assert_allclose(got, want, rtol=2e-8)


# -- theory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "loads"),
    [
        (Channel.margin(0.5, is_labelled=False), (4.3, 0.0)),
        (Channel.margin(1.0, sigma=0.3), (0.0, 1.5)),
        (Channel.margin(0.0), (0.0, 2.0)),
        (Channel.cluster(1.2), (0.0, 0.7)),
        (Channel.cluster(1.2, is_labelled=False), (1.0, 0.0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("prior", ["sphere", "binary"])
def test_margin_and_cluster_keep_their_numbers(channel, loads, prior):
    shared = {"prior": prior}
    text = repr(channel)
    if "cluster" in text:
        shared |= {"channel": "cluster", "cluster_mean": 1.2}
    kappa = 0.5 if "0.5" in text else 1.0 if "kappa=1" in text else 0.0
    old = solve(PerceptronModel(kappa, *loads, sigma=0.3 if "0.3" in text else 0.0, **shared))
    new = solve(GLMModel(sum(loads), channel=channel, prior=prior))
    finite = [b for b in new.branches if b.mse > 0]
    for a, b in zip(finite, old.branches, strict=False):
        assert_allclose([a.q, a.free_entropy], [b.q, b.free_entropy], rtol=2e-9, atol=1e-12)
        assert_allclose(a.replicon, b.replicon, rtol=1e-6)


def test_margin_thresholds_keep_their_numbers():
    new = transitions(GLMModel(1.0, channel=Channel.margin(0.5, is_labelled=False)))
    old = transitions(0.5)
    for name in ("alpha_c", "alpha_sp_minus", "alpha_it", "alpha_alg", "q_it_low", "q_it_high"):
        assert_allclose(getattr(new, name), getattr(old, name), rtol=1e-8)


@pytest.mark.parametrize(
    "model",
    [
        GLMModel(1.3, channel="logistic", prior="laplace"),
        GLMModel(2.0, channel="door"),
        GLMModel(0.7, channel=Channel.absolute(noise=0.2), prior=BIMODAL),
        GLMModel(1.1, channel="student", prior="sparse"),
    ],
    ids=str,
)
def test_free_entropy_is_stationary_and_its_slope_in_alpha_is_the_entropy(model):
    found = bayes_curve(laws_of_glm(model)[0])
    e = 1e-4
    for b in (b for b in solve(model).branches if b.replicon != 0 and b.mse > 0):
        if b.q - found.start_q < 1e-9:
            continue
        roots, _ = found.roots(model.alpha)
        p = min(roots, key=lambda p: abs(float(p.prior.q[0]) - b.q))
        near = [float(found.points(p.x + d).free_entropy(model.alpha)[0]) for d in (-e, 0, e)]
        assert abs(near[2] - near[0]) < 1e-7 * max(1.0, abs(near[1]))
        by_alpha = [
            min(
                solve(GLMModel(model.alpha + d, channel=model.channel, prior=model.prior)).branches,
                key=lambda other: abs(other.q - b.q),
            ).free_entropy
            for d in (-e, e)
        ]
        assert_allclose((by_alpha[1] - by_alpha[0]) / (2 * e), float(p.entropy[0]), rtol=1e-5)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_linear_gaussian_is_ridge_regression(noise):
    alpha, tau = 1.7, noise**2
    mse = solve(GLMModel(alpha, channel=Channel.linear(noise=noise))).mse
    # the Marchenko-Pastur fixed point: mse = 1 / (1 + alpha / (tau + mse))
    root = (-(alpha + tau - 1) + math.sqrt((alpha + tau - 1) ** 2 + 4 * tau)) / 2
    assert_allclose(mse, root, rtol=1e-10)


def test_information_has_its_bounds():
    weak = solve(GLMModel(0.3, channel="probit"))
    assert 0 < weak.information < 0.3 * math.log(2)
    full = solve(GLMModel(2.0, channel="sign", prior="binary"))
    assert_allclose(full.information, math.log(2), rtol=1e-9)
    assert full.mse == 0
    assert solve(GLMModel(1.0, channel="absolute")).information == math.inf


def binary_perceptron(alpha):
    """Poor branch of the sign channel with weights ±1: free entropy and overlap, by plain sums."""
    z = np.linspace(-12, 12, 40001)
    weight = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    q = 0.3
    for _ in range(300):
        u = z * math.sqrt(q / (1 - q))
        b = alpha * (2 * weight * np.exp(-u * u) / (2 * math.pi) / ndtr(u)).sum() / (1 - q)
        q = (weight * np.tanh(b + math.sqrt(b) * z)).sum()
    entropy = (2 * weight * ndtr(u) * log_ndtr(u)).sum()
    inside = (weight * np.log(np.cosh(b + math.sqrt(b) * z))).sum()
    return inside - b / 2 - b * q / 2 + alpha * entropy, q


def test_binary_perceptron_against_plain_sums_and_gyorgyi():
    found = transitions(GLMModel(1.0, channel="sign", prior="binary"))
    free_entropy, q = binary_perceptron(found.alpha_it)
    assert_allclose(free_entropy, -math.log(2), rtol=1e-8)  # no entropy is left
    assert_allclose(found.q_it_low, q, rtol=1e-7)
    assert_allclose(found.alpha_it, 1.245, atol=6e-4)  # Györgyi (1990)
    assert_allclose(found.alpha_alg, 1.493, atol=6e-4)  # Barbier et al. (2019)
    assert found.alpha_c is None


def test_spherical_perceptron_learns_at_its_rate():
    for alpha, within in ((50.0, 2e-3), (500.0, 2e-4)):
        error = solve(GLMModel(alpha)).error
        # 1 - q = (c / alpha)^2: error sqrt(1 - q) / pi, with c = sqrt(2 pi) / 0.9032 (theory 4.5)
        rate = math.sqrt(2 * math.pi) / 0.90319729 / math.pi / 2
        assert_allclose(alpha * error, rate, rtol=within)


def test_phase_retrieval_thresholds():
    found = transitions(GLMModel(1.0, channel="absolute"))
    assert_allclose(found.alpha_c, 0.5, rtol=1e-10)
    assert_allclose(found.alpha_it, 1.0, atol=1e-6)  # as many rows as weights
    assert_allclose(found.alpha_alg, 1.128, atol=1e-3)  # Barbier et al. (2019)


@pytest.mark.parametrize(("density", "alg"), [(0.1, 0.2076), (0.4, 0.589)])
def test_compressed_sensing_thresholds(density, alg):
    found = transitions(GLMModel(1.0, channel="linear", prior=Prior.sparse(density)))
    assert_allclose(found.alpha_it, density, atol=1e-6)
    assert_allclose(found.alpha_alg, alg, atol=1e-3)


def test_door_thresholds():
    found = transitions(GLMModel(1.0, channel="door", prior="binary"))
    assert_allclose(found.alpha_it, 1.0, atol=1e-6)  # one bit a row
    assert_allclose(found.alpha_alg, 1.566, atol=1e-3)  # Barbier et al. (2019)
    kappa = 0.6744897501960817
    slope = 2 * (2 * kappa * math.exp(-kappa * kappa / 2) / math.sqrt(2 * math.pi)) ** 2 * 2
    assert_allclose(found.alpha_c, 1 / slope * 1.0, rtol=1e-9)


def test_between_the_thresholds_the_problem_is_hard():
    model = GLMModel(1.35, channel="sign", prior="binary")
    theory = solve(model)
    assert theory.hard
    assert theory.equilibrium.mse == 0
    assert theory.reachable.replicon < 1
    assert not solve(GLMModel(1.2, channel="sign", prior="binary")).hard
    assert solve(GLMModel(1.5, channel="sign", prior="binary")).mse == 0


def test_curve_over_channels_and_priors():
    axes = {"channel": ["sign", "probit"], "prior": ["gaussian", "binary"]}
    found = curve(GLMModel(0.8), axes, quantities=["error", "hard"])
    assert found["error"].shape == (2, 2)
    assert (found["error"][0] < found["error"][1]).all()


# -- message passing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        GLMModel(1.0, prior="binary"),
        GLMModel(2.0, channel="probit", prior="laplace"),
        GLMModel(3.0, channel="logistic"),
        GLMModel(4.0, channel="door"),
        GLMModel(1.5, channel=Channel.linear(noise=0.5), prior="sparse"),
        GLMModel(1.5, channel="laplace", prior=BIMODAL),
        pytest.param(
            GLMModel(1.5, channel=CALLABLES["tanh"], prior="binary"), marks=pytest.mark.slow
        ),
        GLMModel(2.0, channel=CALLABLES["step"]),
    ],
    ids=str,
)
def test_message_passing_ends_where_theory_says(model):
    found = compare(
        model, n_features=200, n_repeats=8, random_state=3, n_jobs=1, on_failure="ignore"
    )
    z = dict(zip(found.names, found.z, strict=True))
    assert max(abs(z[name]) for name in ("cosine", "mse", "error")) < 4.5, str(found)


def test_exact_recovery_by_message_passing():
    model = GLMModel(0.5, channel="linear", prior="sparse")
    assert solve(model).mse == 0
    sample = simulate(model, n_features=400, n_repeats=3, random_state=1)
    assert sample.mse < 1e-9


def test_rows_are_those_of_the_model():
    model = GLMModel(20.0, channel=Channel.absolute(noise=0.5), prior="binary")
    rows = sample_rows(model, 100, random_state=4)
    h = rows.X @ rows.w_true / 10
    assert rows.X.shape == (2000, 100)
    assert set(np.unique(rows.w_true)) == {-1.0, 1.0}
    assert_allclose(np.mean(rows.y**2), np.mean(h**2) + 0.25, rtol=0.1)
    same = sample_rows(model, 100, random_state=4)
    assert (rows.y == same.y).all()


@pytest.mark.parametrize("name", ["tanh", "logistic", "student", "sign"])
def test_sampled_labels_follow_the_channel(name):
    channel, rng = CASES[name], np.random.default_rng(5)
    h = np.full(4000, 0.6)
    if channel.labels is None:
        as_channel(channel).averages(np.array([0.5]), np.array([0.5]))
    y = channel.sample(rng.normal(size=4000) * 0 + h, rng)
    want = {"tanh": np.tanh(0.6), "logistic": np.tanh(0.3), "student": 0.6, "sign": 1.0}[name]
    assert_allclose(y.mean(), want, atol=4.5 * max(y.std(), 1e-9) / math.sqrt(4000))


# -- what is refused ------------------------------------------------------------------------


TWICE = Channel.from_log_density(lambda y, h: 0.0 * (y + h), labels=[0, 1], name="twice")
CUT = Channel.from_log_density(noisy_tanh, label_range=(-1, 1), name="cut")
FAR = Channel.from_log_density(  # right at small fields alone
    lambda y, h: np.log(np.where(np.abs(h) > 4, 0.6, 0.5) + 0 * y), labels=[0, 1], name="far"
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GLMModel(1.0, channel=TWICE),
         r"^channel .*twice.*normalise: over the labels \[0.*add up to 2, not 1, at field"),
        (lambda: GLMModel(1.0, channel=CUT),
         r"channel .*cut.*over label_range \(-1\.0, 1\.0\) the density integrates to 0\.\d+, "
         r"not 1, at field \S+ \(fields of variance 1\); some labels lie beyond"),
        (lambda: GLMModel(1.0, channel=FAR), r"far.*add up to 1\.2, not 1, at field -?[45]"),
        (lambda: GLMModel(1.0, channel=FAR, prior=Prior.mixture([1.0], [0.0], [0.2])), None),
        (lambda: GLMModel(1.0, channel="sign", channel_true=Channel.from_log_density(
            lambda y, h: 0.0 * (y + h), labels=[-1, 1], name="twice")),
         r"^channel_true .*add up to 2"),
        (lambda: ERMModel(1.0, channel=TWICE, loss="square"), r"^channel .*add up to 2"),
        (lambda: GLMModel(1.0, covariates=Covariates((4.0, 0.25), (0.2, 0.8), (3.0, 0.1)),
                          channel=FAR), r"far.*add up to 1\.2.*fields of variance 1\."),
    ],
)  # fmt: skip
def test_a_channel_that_does_not_normalise(make, message):
    """It is refused where the model is made, with the integral and the place."""
    if message is None:
        make()
        return
    with pytest.raises(ValueError, match=message):
        make()


def test_a_density_that_is_not_a_number():
    bad = Channel.from_log_density(
        lambda y, h: np.where(h > 0, np.nan, 0.0) + 0 * y, labels=[0, 1], name="bad"
    )
    with pytest.raises(NumericalError, match=r"channel .*bad.* is nan at label 0 and field 0\.0"):
        GLMModel(1.0, channel=bad)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": []}, ValueError, "labels must not be empty"),
        ({"labels": [0, np.inf]}, ValueError, r"labels\[1\] is inf"),
        ({"label_range": (-np.inf, np.inf)}, ValueError, r"label_range\[0\] is -inf"),
        ({"label_range": (1.0, 1.0)}, ValueError, "two ends that increase"),
        ({"label_range": (0.0, 1.0, 2.0)}, ValueError, "two ends that increase"),
        ({"labels": [0, 1], "breakpoints": [np.nan]}, ValueError, r"breakpoints\[0\] is nan"),
        ({"labels": [0, 1], "label_range": (0, 1)}, ValueError, "either labels"),
        ({"labels": [0, 1], "log_density": 3.0}, TypeError, "log_density must be callable"),
        ({"labels": [0, 1], "log_density": lambda y, h: "a"}, ValueError, "real numbers, got 'a'"),
    ],
)
def test_densities_that_are_refused(options, error, message):
    given = {"log_density": lambda y, h: 0.0 * y * h, **options}
    with pytest.raises(error, match=message):
        GLMModel(1.0, channel=Channel.from_log_density(given.pop("log_density"), **given))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Prior.mixture([0.5, 0.5], [1.0, 1.0], [0.0, 0.0]), ValueError,
         "must have a variance, got weights that are 1 for cert"),
        (lambda: Prior.mixture([0.5, 0.6], [1.0, 0.0], [0.0, 1.0]), ValueError, "add up to 1"),
        (lambda: Prior.mixture([1.0], [1.0, 0.0], [0.0, 1.0]), ValueError,
         "one entry for every part"),
        (lambda: Prior.mixture([0.5, 0.5], [0.0, np.inf], [1.0, 1.0]), ValueError, "means"),
        (lambda: Prior.mixture([0.5, 0.5], [0.0, 0.0], [1.0, np.inf]), ValueError, "variances"),
        (lambda: Prior("mine", (1.0,), (0.0,), (np.nan,)), ValueError, "variances"),
        (lambda: Prior("mine", (1.2, -0.2), (0.0, 1.0), (1.0, 1.0)), ValueError, "at least 0"),
        (lambda: Prior("mine", ("a",)), TypeError, "weights"),
        (lambda: Prior("gaussian", variances=(2.0,)), ValueError, "variance 1.*Prior.mixture"),
        (lambda: Prior("laplace", means=(1.0,)), ValueError, "mean 0.*Prior.laplace"),
        (lambda: Prior.sparse(0.0), ValueError, "density must lie in"),
        (lambda: GLMModel(1.0, prior=Prior("none", variances=(0.0,))), ValueError,
         "^prior must have a variance, got weights that are 0"),
        (lambda: GLMModel(1.0, prior_true=Prior("none", means=(2.0,), variances=(0.0,))),
         ValueError, "^prior_true must have a variance, got weights that are 2"),
        (lambda: ERMModel(1.0, prior=Prior("none", variances=(0.0,))), ValueError,
         "^prior must have a variance"),
    ],
)  # fmt: skip
def test_priors_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_name_has_its_parts():
    assert solve(GLMModel(1.0, prior=Prior("binary"))).q == solve(GLMModel(1.0, prior="binary")).q
    assert Prior("sparse") == Prior.sparse()


@pytest.mark.parametrize(
    ("channel", "truth", "message"),
    [
        ("sign", "linear", "same labels, got .*numbers of Channel.linear"),
        ("sign", Channel.from_log_density(lambda y, h: 0 * y * h - math.log(2), labels=[0, 1]),
         r"same labels, got \(-1\.0, 1\.0\).*\(0\.0, 1\.0\)"),
        ("margin", "sign", "selects rows"),
        ("sign", "cluster", "selects rows"),
    ],
)  # fmt: skip
def test_students_that_cannot_read_the_labels(channel, truth, message):
    with pytest.raises(ValueError, match=message):
        GLMModel(1.0, channel=channel, channel_true=truth)


def test_models_that_are_refused():
    with pytest.raises(ValueError, match="channel must be one of"):
        GLMModel(1.0, channel="nonsense")
    with pytest.raises(ValueError, match=r"second moment one, got 0\.1"):
        GLMModel(1.0, channel="margin", prior="sparse")
    with pytest.raises(ValueError, match="selects rows"):
        simulate(GLMModel(1.0, channel="margin"), n_features=50, n_repeats=2)
    with pytest.raises(ValueError, match="takes no further argument"):
        transitions(GLMModel(1.0), sigma=0.3)
    with pytest.raises(TypeError, match="PerceptronModel or a GLMModel"):
        solve(3.0)
    with pytest.raises(ValueError, match="either labels"):
        Channel.from_log_density(noisy_tanh)
    with pytest.raises(ValueError, match="df must lie in"):
        Channel.linear(noise=1.0, law="student", df=2.0)


@pytest.mark.parametrize("width", [1.0, 0.02])
def test_interpolated_functions_are_those_themselves(width):
    """Narrow ones take finer panels; few places take the functions."""
    asked = []

    def f(x):
        asked.append(x.size)
        return np.array([np.tanh(x / width), np.exp(-x * x)])

    x = np.random.default_rng(0).normal(size=5000) * 3
    assert_allclose(interpolated(f, x), [np.tanh(x / width), np.exp(-x * x)], atol=1e-11)
    assert sum(asked) < x.size
    assert_allclose(interpolated(f, x[:50]), f(x[:50]), rtol=0)
    assert interpolated(f, np.full(40, 2.0)).shape == (2, 40)


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_can_be_kept_in_a_file(name):
    channel = as_channel(name)
    read = pickle.loads(pickle.dumps(channel))
    y, mean = np.array([1.0, 0.7])[: 2 if channel.labels is None else 1], np.array(0.3)
    for each in (channel, read):
        each.averages(np.array([0.5]), np.array([0.5]))
    got = (each.evidence(y, mean, np.full(y.shape, 0.5)) for each in (channel, read))
    assert_allclose(*(np.stack(each) for each in got))


def test_scores_of_far_fields_are_hazards():
    """Where the probability of a label underflows, and in the last digits of the variance."""
    law = as_channel("sign").field_law(1.0)
    mean = np.concatenate([np.linspace(-2, 2, 16), np.linspace(-1e-9, 1e-9, 16)])
    variance = np.array([1e-4, 1e-20])
    at = core.perceptron.field_scores(law, mean, variance)
    s = np.sqrt(np.repeat(variance, 16))
    for row, sign in enumerate((-1, 1)):
        u = sign * mean / s
        hazard = np.exp(-0.5 * u * u - 0.5 * math.log(2 * math.pi) - log_ndtr(u))
        hazard = np.where(u < -1e5, -u, hazard)
        assert_allclose(at.g[row] * s, sign * hazard, rtol=1e-7, atol=1e-250)
        assert_allclose(at.value[row], ndtr(u), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("df", [2.05, 3.0, 30.0, 300.0])
def test_heavy_tails_are_those_of_adaptive_quadrature(df):
    """Fisher information of Student noise of scale one is (df + 1) / (df + 3) without smoothing."""
    channel = Channel.linear(noise=1.0, law="student", df=df)
    scale2 = (df - 2) / df
    at = channel.averages(np.array([1.0]), np.array([1e-9]))
    assert_allclose(at.overlap, (df + 1) / (df + 3) / scale2, rtol=1e-5 if df > 2.5 else 1e-3)
    assert_allclose(-at.entropy, channel.label_entropy(1.0), rtol=1e-6)
