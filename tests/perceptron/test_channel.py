"""The channels against 50 digits, quadrature and their own derivatives."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core
from retemper.perceptron import channel_score
from retemper.perceptron.model import row_law

KIND = core.perceptron.RowKind


def slow_channel(kind, mean, V, kappa, *args):
    """ln W, g, g' from their definition, with as many digits as the cancellation needs."""
    sigma, eta, offset = (*args, 0.0, 0.0, 0.0)[:3]
    with mp.workdps(60):
        mean, V, kappa, sigma, eta = (mp.mpf(x) for x in (mean, V, kappa, sigma, eta))
        soft, s = mp.sqrt(1 + sigma**2), mp.sqrt(V + sigma**2)

        def upper(x):
            return mp.erfc(x / mp.sqrt(2)) / 2

        above, below = (mean - offset - kappa) / s, (-mean + offset - kappa) / s
        n_above, n_below = upper((kappa + offset) / soft), upper((kappa - offset) / soft)
        if kind == "unlabelled":
            plus = minus = (1 - eta) / (n_above + n_below)
            background = eta
        else:
            norm = (1 - eta) * n_above + eta * n_below
            plus, minus, background = (1 - eta) / norm, eta / norm, mp.mpf(0)
        W = plus * upper(-above) + minus * upper(-below) + background
        first = (plus * mp.npdf(above) - minus * mp.npdf(below)) / s
        second = -(plus * above * mp.npdf(above) + minus * below * mp.npdf(below)) / s**2
        return float(mp.log(W)), float(first / W), float(second / W - (first / W) ** 2)


REFERENCE = [  # theory page, section 8
    ("unlabelled", 0.5, 0.0, 0.0, 0.0, 1e-6, (-125005.958, 0.0, 2.50001e11)),
    ("unlabelled", 0.5, 0.0, 0.0, 0.1, 1e-4, (-804.125677, 4002.49688, -9993.77332)),
    ("unlabelled", 1.0, 0.3, 0.1, -2.0, 0.25, (0.973286846, -0.158102385, -0.489996148)),
    ("labelled", 1.0, 0.0, 0.0, -30.0, 1.0, (-483.012942, 31.0321913, -0.998965858)),
    ("labelled", 0.8, 0.2, 0.05, -5.0, 0.01, (-1.46503063, -4.38407985e-77, -3.68262708e-75)),
]


@pytest.mark.parametrize("case", REFERENCE)
def test_reference_values(case):
    kind, kappa, sigma, eta, mean, V, want = case
    got = channel_score(mean, V, kind=kind, kappa=kappa, sigma=sigma, eta=eta)
    assert_allclose(got, want, rtol=5e-6 if want[2] > 1e11 else 2e-9)  # as many digits as given
    slow = slow_channel(kind, mean, V, kappa, sigma, eta)
    assert_allclose(got, slow, rtol=1e-12)


@pytest.mark.parametrize("kind", ["unlabelled", "labelled"])
@pytest.mark.parametrize("kappa", [0.0, 0.05, 0.5, 1.0, 2.5])
@pytest.mark.parametrize(("sigma", "eta"), [(0, 0), (0.3, 0), (0, 0.2), (0.01, 1e-3)])
def test_against_sixty_digits(kind, kappa, sigma, eta):
    rng = np.random.default_rng(1)
    for V in (1e-14, 1e-6, 1e-2, 0.5, 1.0):
        s = math.sqrt(V + sigma**2)
        fields = [
            0.0, *rng.normal(size=3), kappa + 5 * s * rng.normal(), -kappa + s * rng.normal(),
            1e-4 * rng.normal(), 40 * rng.normal(),
        ]  # fmt: skip
        got = np.array(channel_score(fields, V, kind=kind, kappa=kappa, sigma=sigma, eta=eta))
        want = np.array([slow_channel(kind, w, V, kappa, sigma, eta) for w in fields]).T
        assert_allclose(got[0], want[0], rtol=1e-13, atol=3e-15)
        assert_allclose(got[1], want[1], rtol=3e-11, atol=1e-15 / s)
        assert_allclose(got[2], want[2], rtol=3e-11, atol=1e-15 / s**2)


@given(
    st.sampled_from(["unlabelled", "labelled"]),
    st.tuples(st.floats(-3, 3), st.floats(0.05, 1)),
    st.tuples(st.floats(0, 2), st.floats(0, 1), st.floats(0, 0.4)),
)
def test_scores_are_derivatives(kind, place, law):
    (mean, V), (kappa, sigma, eta) = place, law
    h = 1e-4

    def at(x):
        return channel_score(x, V, kind=kind, kappa=kappa, sigma=sigma, eta=eta)

    (low, g_low, _), (_, g, dg), (high, g_high, _) = at(mean - h), at(mean), at(mean + h)
    scale = 1 + abs(g) + g * g + abs(dg)
    assert abs((high - low) / (2 * h) - g) < 1e-5 * scale**2
    assert abs((g_high - g_low) / (2 * h) - dg) < 1e-4 * scale**2


@pytest.mark.parametrize("name", ["margin", "soft", "contaminated", "cluster", "offset", "centred"])
@pytest.mark.parametrize("kind", list(KIND.__members__.values()))
def test_W_is_the_gaussian_average_of_the_density(name, kind):
    """W(mean, V) = E rho(h) obeys the heat equation: W_V = W_mm / 2, and W(0, 1) = 1."""
    law = {
        "margin": row_law(kappa=0.7),
        "soft": row_law(kappa=0.7, sigma=0.4),
        "contaminated": row_law(kappa=0.7, sigma=0.1, eta_u=0.2, eta_l=0.1),
        "cluster": row_law(cluster_mean=1.3, channel="cluster"),
        "offset": row_law(kappa=0.7, sigma=0.2, eta_u=0.1, eta_l=0.1, offset=0.4),
        "centred": row_law(kappa=0.7, eta_u=0.1, eta_l=0.1, offset=0.4, is_centred=True),
    }[name]
    mean, h = np.linspace(-2, 2, 41), 1e-5

    def score(w, V):
        return core.perceptron.channel_score(law, kind, w, np.array([V]), 1)

    at = score(mean, 0.3)
    in_V = (score(mean, 0.3 + h).log_w - score(mean, 0.3 - h).log_w) / (2 * h)
    assert_allclose(in_V, 0.5 * (at.dg + at.g**2), rtol=1e-6, atol=1e-7)
    at_zero = score(np.zeros(1), 1.0)
    if name == "centred" and kind == KIND.unlabelled:
        assert abs(at_zero.g[0]) < 1e-14
    assert abs(at_zero.log_w[0]) < 1e-14
    z, weight = np.polynomial.hermite_e.hermegauss(120)
    mean = math.sqrt(0.5) * z  # E W(sqrt(q) z, 1 - q) = 1
    total = weight @ np.exp(score(mean, 0.5).log_w) / math.sqrt(2 * math.pi)
    assert_allclose(total, 1, rtol=1e-7)
    assert np.isfinite([at.log_w, at.g, at.dg]).all()


def test_offset_against_sixty_digits():
    law = row_law(kappa=0.6, sigma=0.2, eta_u=0.1, eta_l=0.05, offset=0.4)
    mean = np.array([-2.0, -0.2, 0.1, 0.4, 1.3])
    for kind, sign in ((KIND.positive, 1), (KIND.negative, -1), (KIND.unlabelled, 1)):
        score = core.perceptron.channel_score(law, kind, mean, np.array([0.2]), 1)
        got = np.array([score.log_w, score.g, score.dg]).T
        name = "unlabelled" if kind == KIND.unlabelled else "labelled"
        eta = 0.1 if name == "unlabelled" else 0.05
        want = [slow_channel(name, w, 0.2, 0.6, 0.2, eta, sign * 0.4) for w in mean]
        assert_allclose(got, want, rtol=1e-12)


def test_the_cluster_channel_in_closed_form():
    law, centre, V = row_law(cluster_mean=1.2, channel="cluster"), 1.2, 0.3
    mean = np.array([-2.0, -1e-3, 0.0, 0.01, 0.7, 50.0])
    at = core.perceptron.channel_score(law, KIND.unlabelled, mean, np.array([V]), 1)
    x, drift = centre * mean, -(centre**2) * (1 - V) / 2
    assert_allclose(at.log_w, np.logaddexp(x, -x) - math.log(2) + drift, rtol=1e-13)
    assert_allclose(at.g, centre * np.tanh(x), rtol=1e-13)
    assert_allclose(at.dg, centre**2 / np.cosh(x) ** 2, rtol=1e-10, atol=1e-15)


def test_no_margin_says_nothing_about_an_unlabelled_row():
    mean = np.linspace(-30, 30, 101)
    log_w, g, dg = channel_score(mean, 0.2, kappa=0.0)
    assert_allclose([log_w, g], 0, atol=1e-14)
    assert_allclose(dg, 0, atol=1e-13)


def test_shapes_threads_and_layout():
    mean = np.random.default_rng(0).normal(size=(31, 1237))
    want = channel_score(mean, 0.3, kappa=0.5, n_jobs=1)
    for n_jobs in (2, 3):
        assert_array_equal(channel_score(mean, 0.3, kappa=0.5, n_jobs=n_jobs), want)
    assert_array_equal(channel_score(mean[::-1, ::2], 0.3, kappa=0.5)[1], want[1][::-1, ::2])
    one = channel_score(float(mean[3, 5]), 0.3, kappa=0.5)
    assert one == tuple(w[3, 5] for w in want)
    rows = channel_score(mean[:, :3], [0.1, 0.3, 1.0], kappa=0.5)
    assert_array_equal(rows[0][:, 1], want[0][:, 1])
    assert channel_score([], 0.3, kappa=0.5)[0].shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kappa": -1}, "kappa must lie in"),
        ({"kappa": math.nan}, "kappa must lie in"),
        ({"sigma": -0.1}, "sigma must lie in"),
        ({"eta": 1.0}, "eta must lie in"),
        ({"kind": "labelled", "eta": 0.5}, "eta must lie in"),
        ({"kind": "both"}, "kind must be one of"),
        ({"variance": 0.0}, r"variance must lie in \[1e-300, 1\]"),
        ({"variance": [0.5, 1.5]}, r"variance must lie in \[1e-300, 1\]"),
        ({"mean": [math.nan]}, "mean"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        channel_score(**({"mean": [0.1, 0.2], "variance": 0.5, "kappa": 1.0} | change))
