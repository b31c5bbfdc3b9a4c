"""Several outputs on one trunk in high dimension: identities and trained networks."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from retemper.exceptions import ValidityWarning
from retemper.linear import LinearModel, curve, shared_trunk_risk, simulate, solve
from retemper.linear.deep.trunk import _law

from .models import check_experiments

D = 120


def model(outputs=2, **changes):
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(2, D)) / D**0.5
    source = 0.7 * theta + 0.5 * rng.normal(size=(2, D)) / D**0.5
    source[1] += 0.8 * theta[0]
    fields = {"n_samples": 48, "source_coef": source[:outputs], "noise": 0.3, "depth": 2}
    return LinearModel(theta_target=theta[:outputs], **{**fields, **changes})


POWER = (1.0 + np.arange(D)) ** -0.6
LOW = np.where(np.arange(D) < 80, POWER, 0.0)


@pytest.mark.parametrize("depth", [2, 5])
@pytest.mark.parametrize(("n", "spectrum"), [(12, None), (60, None), (60, POWER), (40, LOW)])
def test_one_output_has_the_closed_form(depth, n, spectrum):
    one = model(outputs=1, n_samples=n, depth=depth, spectrum=spectrum)
    found, closed = shared_trunk_risk(one), solve(one)
    assert found.risk == pytest.approx(closed.risk, rel=2e-5)
    assert found.source_mixing.item() == pytest.approx(np.squeeze(closed.source_scale), rel=2e-5)
    assert found.risk == found.bias + found.variance


def test_outputs_may_be_turned():
    """The flow does not know which outputs are which: W -> O W turns C as O C O'."""
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    one = model()
    other = dataclasses.replace(
        one, theta_target=turn @ one.theta_target, source_coef=turn @ one.source_coef
    )
    found, turned = shared_trunk_risk(one), shared_trunk_risk(other)
    assert turned.risk == pytest.approx(found.risk, rel=1e-6)
    assert turned.source_mixing == pytest.approx(turn @ found.source_mixing @ turn.T, abs=1e-5)


def test_units():
    one = model()
    flat = np.full(D, 9.0)  # rows three times as long, coefficients a third
    wide = dataclasses.replace(
        one, spectrum=flat, theta_target=one.theta_target / 3.0, source_coef=one.source_coef / 3.0
    )
    assert shared_trunk_risk(wide).risk == pytest.approx(shared_trunk_risk(one).risk, rel=1e-5)
    same = dataclasses.replace(wide, spectrum=None, cov=np.diag(flat))
    assert shared_trunk_risk(same).risk == pytest.approx(shared_trunk_risk(wide).risk, rel=1e-8)


def test_outputs_that_do_not_meet_are_networks_of_their_own():
    """Orthogonal sources and targets, output by output, and no noise: nothing couples them."""
    theta, source = np.zeros((2, D)), np.zeros((2, D))
    theta[0, :2], source[0, :2] = [1.0, 0.5], [0.4, -0.3]
    theta[1, 2:4], source[1, 2:4] = [0.3, 1.5], [1.0, 0.2]
    one = LinearModel(48, theta, source_coef=source, depth=3)
    found = shared_trunk_risk(one)
    apart = solve(dataclasses.replace(one, heads="independent"))
    assert found.risk == pytest.approx(apart.risk, rel=1e-4)
    assert np.diag(found.source_mixing) == pytest.approx(apart.source_scale, rel=1e-4)


@pytest.mark.parametrize("spectrum", [None, POWER])
def test_a_rule_has_the_moments_of_drawn_rows(spectrum):
    """Powers of the sample covariance between source and target, and of its noise, over draws."""
    n, s = 48, np.ones(D) if spectrum is None else spectrum
    vectors = np.vstack([model().source_coef, model().theta_target])
    law = _law(s, vectors, float(n))
    rng = np.random.default_rng(2)
    draws: list[list[np.ndarray]] = []
    for _ in range(60):
        X = rng.normal(size=(n, D)) * np.sqrt(s)
        _, size, right = np.linalg.svd(X, full_matrices=False)
        z, along = size**2 / n, vectors @ right.T
        draws.append([(along * z**k) @ along.T for k in (0, 1, 3)])
        draws[-1].append(np.array([(z ** (k - 1.0)).mean() for k in (0, 1, 3)]))
    theory = [(law.known * law.eigenvalue**k) @ law.known.T for k in (0, 1, 3)]
    theory.append(np.array([law.heard**2 @ law.noise_eigenvalue**k for k in (0, 1, 3)]))
    for found, expected in zip(zip(*draws, strict=True), theory, strict=True):
        error = np.std(found, axis=0, ddof=1) / 60**0.5
        gap = abs(np.mean(found, axis=0) - expected)
        assert (gap < 4.0 * error + 0.03 * abs(expected).max()).all()
    outside = vectors @ vectors.T - theory[0]
    assert law.null == pytest.approx(outside, rel=1e-9, abs=1e-12)


def test_solve_and_curve_have_the_same_risk():
    one = model(spectrum=POWER, depth=3)
    found, alone = solve(one), shared_trunk_risk(one)
    assert found.risk == pytest.approx(alone.risk, rel=1e-12)
    assert found.source_scale == pytest.approx(np.diag(alone.source_mixing), rel=1e-12)
    assert found.risk <= found.risk_bound
    sweep = curve(one, {"depth": [2, 3], "n_samples": [0, 48, 200]})
    assert sweep["risk"][1, 1] == pytest.approx(found.risk, rel=1e-12)
    assert sweep["risk"][0, 0] == pytest.approx(found.risk_zero_shot, rel=1e-12)
    plain = dataclasses.replace(one, n_samples=200, depth=1)
    assert sweep["risk"][0, 2] == pytest.approx(solve(plain).risk, rel=1e-12)
    half = dataclasses.replace(one, source_scale=0.5)
    same = dataclasses.replace(one, source_coef=0.5 * one.source_coef)
    assert solve(half).risk == pytest.approx(solve(same).risk, rel=1e-9)


@pytest.mark.parametrize(
    "change", [{}, {"depth": 3, "n_samples": 36, "noise": 0.0}, {"spectrum": POWER, "depth": 4}]
)
def test_trained_networks(change):
    one = model(**change)
    check_experiments(one, slack=0.03, n_repeats=10)
    theory = shared_trunk_risk(one).risk
    apart = solve(dataclasses.replace(one, heads="independent")).risk
    assert abs(apart - theory) > 0.04 * theory  # what independent networks have is another number


def test_the_experiment_measures_what_the_others_do():
    """With more rows than features: least squares. Without rows: the source."""
    one = model(n_samples=150, noise=0.5)
    found = simulate(one, n_repeats=4)
    assert found.samples["bias"] == pytest.approx(np.zeros(4), abs=1e-20)
    check_experiments(one, slack=0.03, n_repeats=20)
    none = simulate(model(n_samples=0), n_repeats=2)
    assert none.risk == pytest.approx(none.risk_zero_shot, rel=1e-12)


def test_bad_input():
    refuse = partial(pytest.raises, ValueError)
    for change in ({"depth": 1}, {"heads": "independent"}):
        with refuse(match="a depth from 2 up and shared heads"):
            shared_trunk_risk(model(**change))
    for n in (0, D):
        with refuse(match=rf"n_samples must lie in \[1, 119\], below the rank .*, got {n}"):
            shared_trunk_risk(model(n_samples=n))
    for call in (shared_trunk_risk, solve, simulate):
        with refuse(match='heads="shared": 2 outputs on one trunk need a finite depth, got inf'):
            call(model(depth=math.inf))
        with refuse(match=r'heads="shared": ridge must be 0 with 2 outputs .*, got 0\.1'):
            call(model(ridge=0.1))
        with refuse(match="source_coef must have rank 2, one for each output on the trunk, got 0"):
            call(model(source_coef=None))
        source = model().source_coef
        with refuse(match="need a fixed source, got one that is learned from rows"):
            call(model(source_coef=None, theta_source=source, n_samples_source=50))
        with refuse(match="2 outputs on one trunk need equal rows, got row_shares"):
            call(model(row_shares=[0.5, 0.5]))
    with pytest.warns(ValidityWarning, match="n_samples = 110 is close to the rank"):
        shared_trunk_risk(model(outputs=1, n_samples=110))
