"""Several outputs on one trunk in high dimension: identities and trained networks."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from retemper.exceptions import ValidityWarning
from retemper.linear import LinearModel, shared_trunk_flow, shared_trunk_risk, solve

D = 120


def model(outputs=2, **changes):
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(2, D)) / D**0.5
    source = 0.7 * theta + 0.5 * rng.normal(size=(2, D)) / D**0.5
    source[1] += 0.8 * theta[0]
    fields = {"n_samples": 48, "source_coef": source[:outputs], "noise": 0.3, "depth": 2}
    return LinearModel(theta_target=theta[:outputs], **{**fields, **changes})


@pytest.mark.parametrize("depth", [2, 5])
@pytest.mark.parametrize("n", [12, 60])
def test_one_output_has_the_closed_form(depth, n):
    one = model(outputs=1, n_samples=n, depth=depth)
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
    assert shared_trunk_risk(same).risk == shared_trunk_risk(wide).risk


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


@pytest.mark.parametrize("change", [{}, {"depth": 3, "n_samples": 36, "noise": 0.0}])
def test_trained_networks(change):
    one = model(**change)
    rng = np.random.default_rng(1)
    risks = []
    for _ in range(9):
        X = rng.normal(size=(one.n_samples, D))
        Y = X @ one.theta_target.T + one.noise * rng.normal(size=(one.n_samples, 2))
        end = shared_trunk_flow(X, Y, one.source_coef, depth=int(one.depth), tol=1e-5).coef
        risks.append(np.square(end - one.theta_target).sum())
    theory = shared_trunk_risk(one).risk
    error = np.std(risks, ddof=1) / 3.0
    assert abs(np.mean(risks) - theory) < 3.0 * error + 0.02 * theory
    apart = solve(dataclasses.replace(one, heads="independent")).risk
    assert abs(apart - theory) > 0.05 * theory  # what independent networks have is another number


def test_bad_input():
    refuse = partial(pytest.raises, ValueError)
    for change in ({"depth": 1}, {"depth": math.inf}, {"heads": "independent"}):
        with refuse(match="a finite depth from 2 up, no ridge and shared heads"):
            shared_trunk_risk(model(**change))
    with refuse(match="an isotropic covariance that is not zero"):
        shared_trunk_risk(model(spectrum=np.arange(1.0, D + 1)))
    for n in (0, D):
        with refuse(match=rf"n_samples must lie in \[1, 119\], below n_features, got {n}"):
            shared_trunk_risk(model(n_samples=n))
    with refuse(match="source_coef must have rank 2, one for each output, got 0"):
        shared_trunk_risk(model(source_coef=None))
    learned = model(source_coef=None, theta_source=model().source_coef, n_samples_source=50)
    with refuse(match="must have a fixed source"):
        shared_trunk_risk(learned)
    with pytest.warns(ValidityWarning, match="n_samples = 110 is close to n_features = 120"):
        shared_trunk_risk(model(outputs=1, n_samples=110))
