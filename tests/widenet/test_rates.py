"""Signs of outputs: the Gaussian predictor, leave-one-out, and sampled networks."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import log_ndtr, ndtr

from retemper.widenet import (
    FranzParisiClassifier,
    WideNetModel,
    compare,
    curve,
    gamma_path,
    nngp_kernel,
    simulate,
    solve,
)
from retemper.widenet.rates import score_scale


def tasks(seed=0, d=40, n=(20, 40, 60)):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=d)
    X = [rng.normal(size=(k, d)) for k in n]
    return tuple((x, np.sign(x @ teacher)) for x in X)


def test_infinite_width_is_the_probit_of_the_process():
    (X, y), _, (Xe, ye) = tasks()
    model = WideNetModel(math.inf)
    K = nngp_kernel(np.vstack([X, Xe]))
    n = len(y)
    A = K[:n, :n] + model.temperature_target * np.eye(n)
    mean = K[n:, :n] @ np.linalg.solve(A, y)
    var = np.diagonal(K)[n:] - np.einsum("ij,ji->i", K[n:, :n], np.linalg.solve(A, K[:n, n:]))
    theory = solve(model, (X, y), None, (Xe, ye))
    assert_allclose(theory.probability, ndtr(mean / np.sqrt(var)), atol=1e-10)
    assert theory.error_rate == pytest.approx(ndtr(-ye * mean / np.sqrt(var)).mean(), abs=1e-10)
    inverse = np.linalg.inv(A)
    residual, left = inverse @ y / np.diagonal(inverse), 1 / np.diagonal(inverse)
    spread = np.sqrt(left - model.temperature_target)
    want = ndtr(-y * (y - residual) / spread).mean()
    assert theory.loo_error_rate == pytest.approx(want, abs=1e-10)


def test_opposite_labels_have_opposite_probabilities():
    target, source, test = tasks()
    model = WideNetModel(50, gamma=1.0)
    flip = [(X, -y) for X, y in (target, source, test)]
    a, b = solve(model, target, source, test), solve(model, *flip)
    assert_allclose(a.probability + b.probability, 1.0, atol=1e-9)
    assert a.error_rate == pytest.approx(b.error_rate, abs=1e-9)
    assert a.loo_error_rate == pytest.approx(b.loo_error_rate, abs=1e-9)


def test_only_signs_have_a_rate():
    target, source, test = tasks()
    model = WideNetModel(50, gamma=1.0)
    none = (test[0], 2.0 * test[1])
    some = solve(model, target, source, none)
    assert some.error_rate is None
    assert some.loo_error_rate is not None
    assert some.probability.shape == (60,)
    two = [(X, np.column_stack([y, y])) for X, y in (target, source, test)]
    assert solve(model, *two).probability is None
    both = curve(model, {"gamma": [0.0, 1.0]}, target, source, test, quantities=["error_rate"])
    assert both["error_rate"][1] == solve(model, target, source, test).error_rate
    with pytest.raises(ValueError, match="quantities must be one of"):
        curve(model, {"gamma": [0.0]}, target, source, none, quantities=["error_rate"])
    frame = gamma_path(model, target, source, test, gammas=[0.0, 1.0]).to_frame()
    assert {"error_rate", "loo_error_rate"} <= set(frame.columns)


@pytest.mark.parametrize("gamma", [0.0, 1.0, math.inf])
def test_rate_agrees_with_sampling(gamma):
    data = tasks(n=(20, 40, 100))
    result = compare(WideNetModel(60, "linear", gamma=gamma), *data, random_state=0, n_draws=5)
    at = result.names.index("error_rate")
    gap = abs(result.theory[at] - result.simulation[at])
    assert gap < 3 * result.stderr[at] + 0.01 * result.simulation[at]


def test_simulation_says_how_far_its_data_reach():
    data = tasks()
    sample = simulate(WideNetModel(20, "linear"), *data, n_chains=3, n_draws=2, on_failure="ignore")
    theory = solve(WideNetModel(20, "linear"), *data)
    assert sample.samples_per_dimension == theory.samples_per_dimension
    assert sample.samples["error_rate"].shape == (3,)


def test_scale_of_scores():
    rng = np.random.default_rng(0)
    score = rng.normal(size=20_000)
    y = np.where(rng.uniform(size=score.size) < ndtr(0.5 * score), 1.0, -1.0)
    assert score_scale(score, y) == pytest.approx(0.5, abs=0.02)
    assert score_scale(2 * score, y) == pytest.approx(0.5 * score_scale(score, y), rel=1e-2)
    assert score_scale(score, -y) < 0.1  # scores that mislead count for little
    assert score_scale(np.zeros(5), np.ones(5)) == pytest.approx(1.0, abs=1e-6)
    assert 1.0 < score_scale(y[:20], y[:20]) < 2.0  # separable, and yet finite


def test_calibrated_probabilities_lose_less():
    before, after = [], []
    for seed in range(4):
        (X, y), source, (Xe, ye) = tasks(seed, d=80, n=(50, 100, 400))
        flip = np.random.default_rng(seed).uniform(size=450) < 0.15
        y, ye = (np.where(f, -z, z) for f, z in ((flip[:50], y), (flip[50:], ye)))
        net = FranzParisiClassifier(100, source=source).fit(X, y)
        score = ye * net.decision_function(Xe)
        p = net.predict_proba(Xe)[:, 1]
        before.append(-log_ndtr(score).mean())
        after.append(-np.log(np.where(ye > 0, p, 1 - p)).mean())
        assert 0.2 < net.score_scale_ < 1.2
    assert np.mean(after) < np.mean(before) - 0.05
