"""Students that are wrong or minimise a loss: limits, closed forms, real solvers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, log_ndtr, ndtr

from retemper._dispatch import core
from retemper.exceptions import ConvergenceWarning, NumericalError
from retemper.perceptron import Channel, ERMModel, GLMModel, Prior, compare, curve, solve
from retemper.perceptron.glm import laws_of_glm
from retemper.perceptron.likelihood import CHANNELS, as_channel
from retemper.perceptron.panels import SERIES, panel_evidence, panel_nodes
from retemper.perceptron.saddle import (
    LOSSES,
    Overlaps,
    any_labels,
    bayes_student,
    erm_student,
    independent_weights,
    labels_of_gap,
    labels_of_loss,
    labels_of_posterior,
    logistic_pull,
    loss_score,
    penalised,
    proximal,
    residual_labels,
    solve_mismatched,
    solve_saddle,
    teacher_of,
)

OPTIONS = {"tol": 1e-11, "max_iter": 2000, "on_failure": "raise"}


@pytest.mark.parametrize(
    "model",
    [
        GLMModel(2.0),
        GLMModel(1.5, channel="probit", prior="laplace"),
        GLMModel(1.5, channel=Channel.linear(noise=0.5), prior="sparse"),
        GLMModel(2.0, channel="logistic", prior="binary"),
    ],
    ids=str,
)
def test_a_student_that_is_right_is_bayes_optimal(model):
    """Three overlaps are iterated here, one function has its root found there."""
    saddle, bayes = solve_mismatched(model, **OPTIONS), solve(model)
    assert_allclose([saddle.q, saddle.m], bayes.q, rtol=1e-8)
    assert_allclose(saddle.mse, bayes.mse, rtol=1e-8)
    assert_allclose(saddle.replicon, bayes.replicon, rtol=1e-5)
    assert_allclose(saddle.error, bayes.error, rtol=1e-3)


def test_nobody_beats_the_right_student():
    right = solve(GLMModel(2.0, channel=Channel.sign(sigma=0.5))).cosine
    for sigma in (0.0, 0.2, 1.0):
        wrong = GLMModel(
            2.0, channel=Channel.sign(sigma=sigma), channel_true=Channel.sign(sigma=0.5)
        )
        assert solve(wrong).cosine < right


@pytest.mark.parametrize("ridge", [0.05, 0.5])
def test_ridge_regression_has_its_closed_form(ridge):
    alpha, noise = 1.6, 0.4
    found = solve(
        ERMModel(alpha, loss="square", ridge=ridge, channel=Channel.linear(noise=noise)), tol=1e-12
    )
    # resolvent of Marchenko and Pastur: V = 1 / (strength + alpha / (1 + V))
    strength = alpha * ridge
    k = strength + alpha - 1
    V = (-k + math.sqrt(k * k + 4 * strength)) / (2 * strength)
    A = alpha / (1 + V)
    dof = (V * A) ** 2 / alpha
    mse = ((V * strength) ** 2 + noise**2 * dof) / (1 - dof)
    assert_allclose(found.mse, mse, rtol=1e-9)
    assert_allclose(found.error, mse + noise**2, rtol=1e-9)
    assert_allclose(found.replicon, dof, rtol=1e-9)


def test_the_best_ridge_is_the_bayes_optimal_one():
    noise, alpha = 0.7, 1.3
    best = ERMModel(
        alpha, loss="square", ridge=noise**2 / alpha, channel=Channel.linear(noise=noise)
    )
    bayes = solve(GLMModel(alpha, channel=Channel.linear(noise=noise)))
    assert_allclose(solve(best, tol=1e-12).mse, bayes.mse, rtol=1e-9)
    for factor in (0.5, 2.0):
        other = ERMModel(
            alpha, loss="square", ridge=factor * noise**2 / alpha, channel=best.channel
        )
        assert solve(other).mse > bayes.mse


@pytest.mark.parametrize("loss", LOSSES)
def test_proximal_points_are_minima(loss):
    rng = np.random.default_rng(0)
    mean, V = rng.normal(size=200) * 3, 1.7
    y = np.sign(rng.normal(size=200)) if loss in ("logistic", "hinge") else rng.normal(size=200)

    def objective(h):
        r = np.abs(y - h)
        value = {
            "logistic": np.logaddexp(0, -y * h),
            "hinge": np.maximum(0, 1 - y * h),
            "square": r**2 / 2,
            "huber": np.where(r < 1, r**2 / 2, r - 0.5),
        }[loss]
        return value + (h - mean) ** 2 / (2 * V)

    h = proximal(loss, y, mean, V)
    for d in (-1e-3, 1e-3):
        assert (objective(h + d) >= objective(h) - 1e-14).all()
    e = 1e-6
    up, down = (loss_score(loss, y, mean + d, V).g for d in (e, -e))
    slope = loss_score(loss, y, mean, V).dg
    assert_allclose((up - down) / (2 * e), slope, atol=1e-6)


@pytest.mark.parametrize("V", [1e-6, 0.3, 15.0, 71.0, 1e4])
def test_logistic_pull_solves_its_equation(V):
    """Weak penalties have large V; between the walls at 0 and -V a bare Newton step alternates."""
    u = np.linspace(-2 * V - 30, V + 30, 4001)
    p = logistic_pull(u, V)
    assert_allclose(p, expit(-(u + V * p)), rtol=1e-9, atol=1e-250)
    assert (np.diff(p) < 0).sum() > 100
    assert (np.diff(p) <= 0).all()


@pytest.mark.parametrize("V", [1e-8, 0.1, 3.0, 71.0, 1e4, 1e6])
def test_the_core_takes_three_steps_to_the_pull(V):
    u = np.concatenate(
        [np.linspace(-V - 40, 40, 5001), np.linspace(-0.5 * V - 5, 5 - 0.5 * V, 501)]
    )
    p = core.perceptron.logistic_pull(u, V)
    assert_allclose(p, logistic_pull(u, V), rtol=1e-14)
    assert_allclose(1 - p, logistic_pull(-u - V, V), rtol=1e-13, atol=3e-16)


FINITE = [
    "sign",
    "probit",
    "logistic",
    Channel.sign(eta=0.1),
    Channel.sign(sigma=0.3, eta=0.05),
    "door",
    Channel.from_log_density(
        lambda y, h: np.where(y > 0, np.log(-np.expm1(-h * h - 0.1)), -h * h - 0.1), labels=[-1, 1]
    ),
]
STATES = [
    Overlaps(0.8, 1.7, 0.9),
    Overlaps(0.05, 0.97, 0.96),
    Overlaps(0.3, 1e-9, 1e-7),
    Overlaps(71.0, 38.8, 4.978),
    Overlaps(0.4, 0.9, -0.5),
]


@pytest.mark.parametrize("at", STATES, ids=str)
@pytest.mark.parametrize("channel", FINITE, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_averages_of_the_core_are_those_of_any_labels(loss, channel, at):
    model = ERMModel(1.5, loss=loss, channel=channel)
    teacher = teacher_of(model)
    found = labels_of_loss(model, teacher)(at)
    slow = any_labels(erm_student(model), teacher, at)
    size = math.sqrt(slow.square * max(slow.square, 1.0))  # of a cross moment that may vanish
    assert_allclose(found, slow, rtol=1e-11, atol=1e-12 * size)


MISTAKEN = [
    ("sign", "probit"),
    ("logistic", "probit"),
    (Channel.sign(eta=0.1), "logistic"),
    ("door", Channel.door(0.5)),
    (Channel.door(sigma=0.3), "door"),
    ("probit", FINITE[-1]),
]


@pytest.mark.parametrize("at", [*STATES[:3], Overlaps(0.7, 0.6, 0.55)], ids=str)
@pytest.mark.parametrize(("channel", "truth"), MISTAKEN, ids=str)
def test_posteriors_of_the_core_are_those_of_any_labels(channel, truth, at):
    student, teacher = laws_of_glm(GLMModel(1.5, channel=channel, channel_true=truth))
    found = labels_of_posterior(student, teacher)(at)
    slow = any_labels(bayes_student(student), teacher, at)
    size = math.sqrt(slow.square * max(slow.square, 1.0))
    assert_allclose(found[:4], slow[:4], rtol=1e-10, atol=1e-12 * size)
    assert_allclose(found.error, slow.error, atol=5e-3)  # the slow one does not look for jumps


def test_impossible_labels_pull_with_their_distance():
    """A student that knows no noise, at fields whose labels have a probability below 1e-308."""
    student, teacher = laws_of_glm(GLMModel(1.5, channel="sign", channel_true="probit"))
    V = 1e-4
    at = labels_of_posterior(student, teacher)(Overlaps(V, 0.9, 0.8))
    z, step = np.linspace(-9, 9, 200_001, retstep=True)
    w = math.sqrt(0.9) * z
    p = ndtr(0.8 / math.sqrt(0.9) * z / math.sqrt(2 - 0.64 / 0.9))
    u = w / math.sqrt(V)
    pull = [s * np.exp(-0.5 * u * u - 0.9189385332046727 - log_ndtr(s * u)) for s in (1, -1)]
    weight = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * step
    square = weight @ (p * pull[0] ** 2 + (1 - p) * pull[1] ** 2) / V
    assert_allclose(at.square, square, rtol=1e-6)


NOISY = [
    ("laplace", Channel.linear(noise=0.5)),
    (Channel.linear(noise=0.5), "laplace"),
    ("student", "laplace"),
    ("laplace", "student"),
    ("linear", Channel.linear(noise=0.3)),
]


@pytest.mark.parametrize("at", [Overlaps(0.5, 0.5, 0.45), Overlaps(0.9, 0.1, 0.1)], ids=str)
@pytest.mark.parametrize(("channel", "truth"), NOISY, ids=str)
def test_gaps_of_noisy_labels_are_those_of_any_labels(channel, truth, at):
    student, teacher = laws_of_glm(GLMModel(1.5, channel=channel, channel_true=truth))
    slow = any_labels(bayes_student(student), teacher, at)
    assert_allclose(labels_of_gap(student, teacher)(at), slow, rtol=2e-8)


@pytest.mark.parametrize(
    "truth", ["binary", "laplace", Prior.mixture([0.3, 0.7], [1, -2], [0.3, 0])]
)
@pytest.mark.parametrize("prior", ["gaussian", Prior.mixture([1.0], [0.4], [0.5])], ids=str)
@pytest.mark.parametrize("conjugate", [(1.3, 0.7, 0.9), (0.2, 3.0, -1.1)])
def test_gaussian_estimates_need_two_moments_of_the_truth(prior, truth, conjugate):
    student, teacher = laws_of_glm(GLMModel(1.5, prior=prior, prior_true=truth))
    own = bayes_student(student)
    closed, slow = (independent_weights(s, teacher.prior) for s in (own, own._replace(affine=None)))
    assert own.affine is not None
    assert_allclose(closed.overlaps(*conjugate), slow.overlaps(*conjugate), rtol=1e-12)
    assert_allclose(closed.squared_slope(*conjugate), slow.squared_slope(*conjugate), rtol=1e-12)


@pytest.mark.parametrize("conjugate", [(1.3, 0.7, 0.9), (0.2, 3.0, -1.1), (5.0, 4.0, 6.0)])
@pytest.mark.parametrize(
    "truth", ["binary", "laplace", Prior.mixture([0.4, 0.6], [1, 0], [0.3, 0])]
)
def test_odd_estimates_need_half_of_the_nodes(truth, conjugate):
    _, teacher = laws_of_glm(GLMModel(1.5, prior=truth))
    for model in (GLMModel(1.5, prior="sparse"), ERMModel(1.5, loss="square", l1=0.1)):
        is_loss = isinstance(model, ERMModel)
        student = erm_student(model) if is_loss else bayes_student(laws_of_glm(model)[0])
        assert student.is_odd
        half, whole = (
            independent_weights(s, teacher.prior) for s in (student, student._replace(is_odd=False))
        )
        assert_allclose(half.overlaps(*conjugate), whole.overlaps(*conjugate), rtol=1e-11)
        assert_allclose(half.squared_slope(*conjugate), whole.squared_slope(*conjugate), rtol=1e-11)


@pytest.mark.parametrize("conjugate", [(1.3, 0.7, 0.9), (0.2, 3.0, -1.1), (50.0, 50.0, 50.0)])
@pytest.mark.parametrize(
    "truth", ["binary", "sparse", Prior.mixture([0.3, 0.7], [1, -2], [0.3, 0])], ids=str
)
@pytest.mark.parametrize(
    "prior", ["binary", Prior.mixture([0.2, 0.5, 0.3], [-1, 0, 2], [0, 0, 0])], ids=str
)
def test_estimates_of_points_take_equal_steps(prior, truth, conjugate):
    """Beside a million of them, with the posterior of the points written out."""
    student, teacher = laws_of_glm(GLMModel(1.5, prior=prior, prior_true=truth))
    own, (A, q_hat, m_hat) = bayes_student(student), conjugate
    parts = independent_weights(own, teacher.prior)
    p, points = (np.asarray(v)[:, None] for v in (student.prior.weights, student.prior.means))
    z, step = np.linspace(-9, 9, 1_000_001, retstep=True)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * step
    want = np.zeros(4)
    law = teacher.prior
    for share, mean, variance in zip(law.weights, law.means, law.variances, strict=True):
        scale = math.sqrt(m_hat**2 * variance + q_hat)
        B = m_hat * mean + scale * z
        log = np.log(p) + points * B - A * points**2 / 2
        w = np.exp(log - log.max(axis=0))
        w /= w.sum(axis=0)
        f, df = (points * w).sum(axis=0), (points**2 * w).sum(axis=0)
        df = df - f * f
        true = mean + m_hat * variance / scale * z
        want += share * np.array([density @ v for v in (df, f * f, f * true, df * df)])
    found = [*parts.overlaps(*conjugate), parts.squared_slope(*conjugate)]
    assert_allclose(found, want, rtol=1e-9, atol=1e-15)
    panels = independent_weights(own._replace(analytic=0.0), law)
    assert_allclose(panels.overlaps(*conjugate), want[:3], rtol=1e-8)


@pytest.mark.parametrize("prior", ["gaussian", "binary"])
def test_a_student_that_reads_labels_the_other_way_round_points_away(prior):
    """Its covariance with the truth is that of the right student, with a minus, its labels are as
    good."""
    turned = Channel.from_log_density(lambda y, h: log_ndtr(-y * h), labels=[-1, 1], name="turned")
    right, wrong = (
        solve(GLMModel(1.5, channel=c, channel_true="sign", prior=prior), on_failure="raise")
        for c in ("probit", turned)
    )
    assert_allclose(wrong.m, -right.m, rtol=1e-7)
    assert_allclose([wrong.q, wrong.error], [right.q, right.error], rtol=1e-7)


def test_smooth_laplace_noise_is_its_table():
    channel, gap = as_channel("laplace"), np.linspace(-20, 20, 401)
    for V in (1e-10, 1e-3, 0.3, 20.0):
        x, _, _ = panel_nodes(channel._edges)
        table = np.ascontiguousarray((channel._density(x) @ SERIES.T).reshape(1, -1))
        slow = panel_evidence(channel._edges, table, gap, np.full_like(gap, V))
        fast = channel.evidence(gap, 0 * gap, np.full_like(gap, V))
        for a, b, sign in zip(fast, slow, (1, -1, 1), strict=True):
            assert_allclose(a, sign * b[0], atol=1e-10 * np.abs(b).max())


def test_weak_penalties_settle():
    """Their map has no noise: its averages are those of two million equal steps of the field."""
    model = ERMModel(1.6, l1=0.02, ridge=0.0, prior="laplace")
    found = solve(model, on_failure="raise")
    assert found.q > 20
    place = Overlaps(71.0, 38.8, 4.978)
    at = any_labels(erm_student(model), teacher_of(model), place)
    assert_allclose([1.6 * at.bend, 1.6 * at.square], [0.009146506335, 0.002190506458], rtol=1e-9)


RESIDUALS = [
    Channel.linear(noise=0.5),
    Channel.linear(noise=0.3, law="laplace"),
    Channel.linear(noise=0.5, law="student", df=4),
    Channel.absolute(noise=0.3),
    Channel.absolute(),
]
PLACES = [Overlaps(0.8, 1.7, 0.9), Overlaps(0.05, 0.97, 0.98), Overlaps(9.0, 1.2, 1.05)]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("channel", RESIDUALS, ids=str)
def test_square_losses_of_the_residual_are_those_of_any_label(channel, place):
    model = ERMModel(1.5, loss="square", channel=channel)
    teacher = teacher_of(model)
    closed = residual_labels("square", teacher, place)
    assert_allclose(closed, any_labels(erm_student(model), teacher, place), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("channel", RESIDUALS, ids=str)
def test_huber_losses_of_the_residual_are_those_of_samples(channel, place):
    """Averages over two million rows, whose fields are drawn with their labels."""
    rng = np.random.default_rng(0)
    n, teacher = 2_000_000, teacher_of(ERMModel(1.5, loss="huber", channel=channel))
    rho = teacher.second_moment
    h = rng.normal(size=n) * math.sqrt(rho)
    own = math.sqrt(place.q - place.m**2 / rho)
    w = place.m / rho * h + own * rng.normal(size=n)
    y = channel.sample(h, rng)
    g, dg = loss_score("huber", y, w, place.V)
    cross = (h - place.m / place.q * w) * g / (rho - place.m**2 / place.q)
    found = residual_labels("huber", teacher, place)
    for value, sampled in zip(found[:4], (-dg, g * g, cross, dg * dg), strict=True):
        assert abs(value - sampled.mean()) < 4.5 * sampled.std() / math.sqrt(n) + 1e-12


@pytest.mark.parametrize("channel", RESIDUALS, ids=str)
def test_a_huber_loss_of_small_residuals_is_the_square(channel):
    place, teacher = Overlaps(60.0, 1.1, 1.0), teacher_of(ERMModel(1.5, channel="sign"))
    teacher = teacher._replace(channel=channel)
    tail = 1e-2 if "student" in str(channel) else 1e-9
    assert_allclose(
        residual_labels("huber", teacher, place),
        residual_labels("square", teacher, place),
        rtol=tail,
    )


def test_labels_of_a_sign_have_the_bends_of_huber():
    """On panels that know them; beside averages over equal steps of both fields."""
    model, place = ERMModel(1.5, loss="huber"), Overlaps(0.4, 0.9, 0.7)
    z, step = np.linspace(-9, 9, 400_001, retstep=True)
    w = math.sqrt(place.q) * z
    p = ndtr(place.m / place.q * w / math.sqrt(1 - place.m**2 / place.q))
    weight = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * step
    sides = [(share * weight, loss_score("huber", np.full_like(w, y), w, place.V))
             for y, share in ((1.0, p), (-1.0, 1 - p))]  # fmt: skip
    at = any_labels(erm_student(model), teacher_of(model), place)
    assert_allclose(at.bend, -sum(s @ g.dg for s, g in sides), rtol=1e-5)
    assert_allclose(at.square, sum(s @ g.g**2 for s, g in sides), rtol=1e-9)


@pytest.mark.parametrize("prior", ["gaussian", "laplace"])
@pytest.mark.parametrize(
    ("channel", "truth"),
    [
        ("probit", "sign"),
        ("logistic", "probit"),
        ("sign", "logistic"),
        (Channel.linear(noise=0.5), "laplace"),
        ("laplace", Channel.linear(noise=0.5)),
    ],
    ids=str,
)
def test_a_concave_posterior_has_one_fixed_point(channel, truth, prior, monkeypatch):
    """Long steps from one start end where short ones from both starts do."""
    model = GLMModel(0.8, channel=channel, channel_true=truth, prior=prior, prior_true="sparse")
    law, _ = laws_of_glm(model)
    assert law.channel.is_log_concave
    long = solve_mismatched(model, **OPTIONS)
    kind = type(law.channel)
    monkeypatch.setattr(kind, "is_log_concave", property(lambda self: False))
    short = solve_mismatched(model, **OPTIONS)
    assert long.n_iter < 0.7 * short.n_iter
    for branch in (short.reachable, short.informed):
        assert_allclose([long.q, long.m, long.error], [branch.q, branch.m, branch.error], rtol=1e-7)


def test_which_channels_are_concave():
    concave = {name for name in CHANNELS if as_channel(name).is_log_concave}
    assert concave == {"sign", "probit", "logistic", "linear", "laplace", "margin"}
    assert not Channel.sign(eta=0.1).is_log_concave
    assert not Channel.margin(1.0, is_labelled=False).is_log_concave
    h = np.linspace(-6, 6, 401)
    for name in concave:
        channel = as_channel(name)
        for y in channel.labels or (0.3,):
            at = channel.evidence(np.array(y), h, np.full_like(h, 0.05)).value
            assert (np.diff(np.log(at[at > 1e-200]), 2) < 1e-9).all(), name


@pytest.mark.parametrize("loss", ["hinge", "huber", "square"])
def test_long_steps_end_where_short_ones_do(loss):
    """Extrapolated and plain iterations have one fixed point."""
    model = ERMModel(1.3, loss=loss, ridge=0.05)
    teacher, student = teacher_of(model), erm_student(model)

    def labels(at):
        return any_labels(student, teacher, at)

    weights = independent_weights(student, teacher.prior)
    fast, slow = (
        solve_saddle(labels, weights, 1.3, 1.0, Overlaps(1.0, 0.1, 0.1), tol=1e-11,
                     max_iter=5000, is_convex=convex)
        for convex in (True, False)
    )  # fmt: skip
    assert_allclose(dataclasses.astuple(fast[0])[:5], dataclasses.astuple(slow[0])[:5], rtol=1e-8)
    assert fast[2] < 0.6 * slow[2]


def test_penalised_weight():
    B = np.array([-2.0, -0.3, 0.1, 1.5])
    w, slope = penalised(0.5, 0.4, B, 2.0)
    assert_allclose(w, [-1.6 / 2.5, 0, 0, 1.1 / 2.5])
    assert_allclose(slope, [0.4, 0, 0, 0.4])


@pytest.mark.parametrize(
    "model",
    [
        ERMModel(2.0),
        ERMModel(2.0, loss="hinge"),
        ERMModel(2.0, loss="logistic", ridge=0.3, channel="logistic"),
        ERMModel(1.5, loss="square", ridge=0.0, l1=0.1, channel=Channel.linear(noise=0.2),
                 prior="sparse"),
        ERMModel(1.5, loss="huber", channel=Channel.linear(noise=0.5), prior="binary"),
        ERMModel(2.0, loss="square", ridge=0.3, channel="sign"),
        GLMModel(2.0, channel="sign", channel_true=Channel.sign(sigma=0.5)),
        GLMModel(1.5, channel=Channel.linear(noise=0.5), prior=Prior.sparse(0.3),
                 prior_true=Prior.sparse(0.1)),
    ],
    ids=str,
)  # fmt: skip
def test_solvers_end_where_theory_says(model):
    found = compare(model, n_features=250, n_repeats=12, random_state=5, n_jobs=1)
    assert (np.abs(found.z) < 5).all(), str(found)


def test_curve_over_ridges():
    found = curve(ERMModel(2.0), {"ridge": [0.1, 0.3, 1.0]}, quantities=["error", "m"])
    assert found["error"].shape == (3,)
    assert found["m"][0] > found["m"][2]


def test_what_does_not_settle_names_the_equation():
    with pytest.warns(ConvergenceWarning, match=r"the map of \(V, q, m\).*residual"):
        solve(ERMModel(2.0), max_iter=3)
    with pytest.raises(NumericalError, match=r"empirical risk minimisation"):
        solve(ERMModel(2.0), max_iter=3, on_failure="raise")


def test_what_is_refused():
    with pytest.raises(ValueError, match="ridge or l1 must be positive"):
        ERMModel(1.0, ridge=0.0)
    with pytest.raises(ValueError, match="takes labels -1 and 1"):
        ERMModel(1.0, loss="hinge", channel="linear")
    with pytest.raises(ValueError, match="must have the same labels"):
        solve(GLMModel(1.0, channel="sign", channel_true="linear"))
    with pytest.raises(ValueError, match="selects rows"):
        solve(GLMModel(1.0, channel="margin", channel_true="sign"))
