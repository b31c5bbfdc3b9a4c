"""Columns that training does not see: identities, and an experiment on all columns."""

import dataclasses

import numpy as np
import pytest

from retemper.linear import LinearModel, hidden_columns_model, mixture_model, solve

from . import portable

D, HIDDEN = 120, np.arange(0, 120, 4)


def model(**changes):
    fields = {
        "n_samples": 50,
        "cov": portable.covariance("power", D, 0.7, 0.9),
        "source_coef": portable.combine(portable.SRC, D),
        "noise": 0.2,
        "ridge": 0.05,
    }
    return LinearModel(theta_target=portable.combine(portable.D5, D), **{**fields, **changes})


def test_nothing_hidden():
    part = hidden_columns_model(model(), [])
    assert part.noise == pytest.approx(0.2, rel=1e-14)
    assert solve(part).risk == pytest.approx(solve(model()).risk, rel=1e-10)


def test_the_source_only_matters_by_the_difference():
    one = model()
    other = dataclasses.replace(
        one, theta_target=one.theta_target - one.source_coef, source_coef=None
    )
    parts = [solve(hidden_columns_model(m, HIDDEN)) for m in (one, other)]
    assert parts[0].risk == pytest.approx(parts[1].risk, rel=1e-12)
    half = hidden_columns_model(model(source_scale=0.5), HIDDEN)
    scaled = hidden_columns_model(model(source_coef=0.5 * one.source_coef), HIDDEN)
    assert half == scaled


def test_a_diagonal_covariance_is_the_same_either_way():
    spectrum = portable.spectrum("power", D, 0.7)
    short, full = (
        hidden_columns_model(model(**{"cov": None, **change}), HIDDEN)
        for change in ({"spectrum": spectrum}, {"cov": np.diag(spectrum)})
    )
    assert full.noise == pytest.approx(short.noise, rel=1e-12)
    assert solve(full).risk == pytest.approx(solve(short).risk, rel=1e-10)


def test_variance_is_conserved():
    """What is learned and what is noise add up to the variance of what the source leaves."""
    one = model()
    part = hidden_columns_model(one, HIDDEN)
    gap = one.theta_target - one.source_coef
    total = gap @ one.cov @ gap + one.noise**2
    assert part.theta_target @ part.cov @ part.theta_target + part.noise**2 == pytest.approx(total)


@pytest.mark.parametrize("ridge", [0.05, 0.0])
def test_against_rows_with_all_columns(ridge):
    one = model(ridge=ridge)
    part = hidden_columns_model(one, HIDDEN)
    theory = solve(part).risk + part.noise**2
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(one.cov)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    seen, gap, n = np.setdiff1d(np.arange(D), HIDDEN), one.theta_target - one.source_coef, 50
    errors = []
    for _ in range(300):
        X = rng.normal(size=(n, D)) @ root.T
        left = X @ gap + one.noise * rng.normal(size=n)
        gram = X[:, seen] @ X[:, seen].T + n * ridge * np.eye(n)
        wrong = gap.copy()
        wrong[seen] -= X[:, seen].T @ np.linalg.solve(gram, left)
        errors.append(wrong @ one.cov @ wrong + one.noise**2)
    stderr = np.std(errors, ddof=1) / 300**0.5
    assert abs(theory - np.mean(errors)) < 3.5 * stderr + 0.015 * theory


def test_bad_input():
    for hidden in ([0, 0], [D], [-1], range(D)):
        with pytest.raises(ValueError, match="unseen must name some of the 120 columns"):
            hidden_columns_model(model(), hidden)
    with pytest.raises(TypeError, match="unseen must hold numbers of columns"):
        hidden_columns_model(model(), [0.5])
    with pytest.raises(ValueError, match="one output, depth 1"):
        hidden_columns_model(model(depth=2, ridge=0.0), HIDDEN)
    with pytest.raises(ValueError, match="source_scale must be a number"):
        hidden_columns_model(model(source_scale="optimal"), HIDDEN)
    with pytest.raises(ValueError, match="trained to the end, got stop_time = 2"):
        mixture_model(dataclasses.replace(model(ridge=0.0), stop_time=2.0), np.eye(2, D))
