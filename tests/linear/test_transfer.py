"""Scale of the source under depth, transfer boundary and linear probes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from retemper.linear import (
    LinearModel,
    deep_scale,
    probe_risk,
    solve,
    transfer_boundary,
)

from .models import DEPTHS, obvious_deep_scale
from .portable import D5, combine, spectrum, teacher

norms = st.floats(1e-6, 1e6)


@given(norms, norms, norms, st.sampled_from([2, 3, 7, 60]))
def test_deep_scale_solves_its_equation(a2, p2, q2, depth):
    c = deep_scale(a2, p2, q2, depth)
    left = np.log(p2 + q2) + 2 * depth / (depth - 1) * np.log(c)
    assert_allclose(left, np.log(a2 + c**2 * q2), rtol=1e-12, atol=1e-12)
    assert_allclose(c, obvious_deep_scale(a2, p2, q2, depth), rtol=1e-9)


@given(norms, norms, norms)
def test_deep_scale_moves_from_one_to_the_ratio(a2, p2, q2):
    depth = np.array([1, 2, 3, 5, 10, 100, 10**6, math.inf])
    c = deep_scale(a2, p2, q2, depth)
    assert c[0] == 1
    assert_allclose(c[-1], math.sqrt(a2 / p2), rtol=1e-14)
    steps = np.diff(c) * np.sign(c[-1] - 1)
    assert (steps >= -1e-12 * np.abs(c[-1])).all()


def test_deep_scale_at_the_edges():
    assert deep_scale(0.0, 1.0, 3.0, 3) == pytest.approx(0.75)  # (q / |b|)^(L - 1)
    assert deep_scale(0.0, 1.0, 0.0, 3) == 0
    assert deep_scale(8.0, 1.0, 0.0, 3) == pytest.approx(2.0)  # (a / p)^((L - 1) / L)
    assert deep_scale(5.0, 0.0, 0.0, 4) == 0
    assert deep_scale(1.0, 0.0, 1.0, 2) == pytest.approx(math.sqrt((1 + math.sqrt(5)) / 2))
    assert deep_scale(1.0, [0.5, 2.0], [[1.0], [2.0], [3.0]], 2).shape == (3, 2)
    with pytest.raises(ValueError, match="no finite limit"):
        deep_scale(1.0, 0.0, 1.0, math.inf)


BOUNDARY = {
    (0.2, 2): [0.5010, 0.5033, 0.5065, 0.5131, 0.5417, 0.7466],
    (0.2, math.inf): [0.5110, 0.5141, 0.5196, 0.5323, 0.5916, 1.118],
    (1, 2): [0.5228, 0.5640, 0.6124, 0.6889, 0.8940, 1.5815],
}


@pytest.mark.parametrize("key", BOUNDARY)
def test_boundary_bends_with_noise(key):
    noise, depth = key
    alpha = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    assert_allclose(transfer_boundary(alpha, noise=noise, depth=depth), BOUNDARY[key], atol=6e-5)


@given(st.floats(0.05, 0.95), st.floats(0.2, 2), st.floats(0, 1), st.sampled_from(DEPTHS))
def test_on_the_boundary_the_source_neither_helps_nor_hurts(alpha, rho, sigma, depth):
    d = 200
    n = max(1, round(alpha * d))
    cosine = transfer_boundary(n / d, source_norm=rho, noise=sigma, depth=depth)
    if cosine < 1:
        e = np.eye(d)
        source = rho * (cosine * e[0] + math.sqrt(1 - cosine**2) * e[1])
        theory = solve(LinearModel(n, e[0], source_coef=source, noise=sigma, depth=depth))
        assert_allclose(theory.risk, theory.risk_scratch, rtol=1e-8)


def test_boundary_without_noise():
    assert_allclose(transfer_boundary([0.2, 0.8], depth=[[1], [2], [9]]), 0.5, rtol=1e-12)
    # infinitely deep: cos > sqrt(1 + sigma^2 / (1 - alpha)) / 2, never once sigma^2 > 3 (1 - alpha)
    at = transfer_boundary(0.5, noise=math.sqrt(1.5), depth=math.inf)
    assert_allclose(at, 1.0, rtol=1e-12)


def test_transferability_of_the_phase_diagram():
    d, e = 500, np.eye(500)
    for angle in (0.05, 0.6, 1.0):
        cosine = math.cos(angle * math.pi / 2)
        source = cosine * e[0] + math.sqrt(1 - cosine**2) * e[1]
        for alpha in (0.1, 0.6, 2.0):
            theory = solve(LinearModel(round(alpha * d), e[0], source_coef=source, depth=2))
            expected = (1 - alpha) * (2 * cosine - 1) if alpha < 1 else 0.0
            assert_allclose(theory.risk_scratch - theory.risk, expected, atol=1e-12)


def test_probe_against_simulation_and_limits():
    rng = np.random.default_rng(5)
    d, k, n = 12, 3, 20
    w, theta = rng.normal(size=(k, d)), rng.normal(size=d)
    s = spectrum("power", d, 0.5)
    risk, residual = probe_risk(w, theta, n, cov=s, noise=0.4)
    losses = []
    for _ in range(3000):
        x = rng.normal(size=(n, d)) * np.sqrt(s)
        b = np.linalg.lstsq(x @ w.T, x @ theta + 0.4 * rng.normal(size=n), rcond=None)[0]
        losses.append((s * (b @ w - theta) ** 2).sum())
    assert abs(np.mean(losses) - risk) < 4 * np.std(losses) / math.sqrt(3000)
    many = probe_risk(w, theta, [10**7, 10**8], cov=np.diag(s), noise=0.4)
    assert_allclose(many.risk, residual, rtol=1e-5)
    again = probe_risk(np.vstack([w, rng.normal(size=(2, k)) @ w]), theta, n, cov=s, noise=0.4)
    assert_allclose(again.risk, risk)
    orthogonal = probe_risk(np.eye(4)[1], np.eye(4)[0], 10)
    assert orthogonal.risk >= orthogonal.residual == 1.0
    whole = probe_risk(np.eye(6), np.ones((2, 6)), 20, noise=0.5)
    assert_allclose(whole.risk, 2 * 0.25 * 6 / 13)


def test_reference_deep_scale():
    assert_allclose(deep_scale(0.25, 1, 3, [2, math.inf]), [0.908677010512, 0.5], rtol=1e-8)
    assert_allclose(deep_scale(9, 1, 3, 7), 2.0709096699, rtol=1e-8)


def test_reference_probe():
    w = np.stack([combine([[1, "decay", 0.5], [1, "cos", 0.2]], 100), teacher("alt", 100)])
    found = probe_risk(w, combine(D5, 100), 20, cov=spectrum("power", 100, 0.5), noise=0.3)
    assert_allclose((found.residual, found.risk), (0.134019505583, 0.160374741533), rtol=1e-8)


def test_reference_boundary():
    found = [
        transfer_boundary(0.5, depth=2),
        transfer_boundary(0.9, noise=0.2, depth=2),
        transfer_boundary(0.9, source_norm=2, noise=0.2, depth=math.inf),
    ]
    assert_allclose(found, [0.5, 0.541666468575, 0.59160797831], rtol=1e-8)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: deep_scale(-1, 1, 1, 2), "a2 must be non-negative"),
        (lambda: deep_scale(1, 1, 1, 0), "depth must be an integer of at least 1"),
        (lambda: deep_scale(1, 1, 1, [2, 2.5]), r"depth\[1\] must be an integer"),
        (lambda: transfer_boundary(1.0), r"alpha must be in \(0, 1\), got 1"),
        (lambda: transfer_boundary(0.5, source_norm=0), "source_norm must be positive"),
        (lambda: transfer_boundary(0.5, noise=[0, -1]), r"noise\[1\] must be non-negative"),
        (
            lambda: probe_risk(np.eye(3), np.ones(3), 4),
            "n_samples must be above the rank .* one, 4",
        ),
        (lambda: probe_risk(np.eye(2), np.ones(3), 9), "features must have shape"),
        (lambda: probe_risk(np.eye(3), np.ones(3), 9, noise=-1), "noise must lie in"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
