"""The model refuses what is outside its domain, and contradictions."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from retemper.diagonal import (
    Component,
    DiagonalModel,
    laplace_components,
    minimum_penalty,
    penalty,
    solve,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.0), ("alpha", math.nan), ("rho_pt", 1.2), ("rho_ft", 0.0), ("omega", -0.1),
        ("a_pt", 0.0), ("var_ft", -1.0), ("shared", "both"), ("init_scale", -1.0),
        ("init_scale", 1e301), ("balance", -1.01), ("readout_scale", -1.0), ("noise", math.inf),
        ("mu", -1e-9), ("mode", "cold"), ("alpha_pt", 0.0), ("noise_pt", -1.0),
        ("rebalance", "both"),
    ],
)  # fmt: skip
def test_bad_parameters_name_themselves(name, value):
    with pytest.raises(ValueError, match=name):
        DiagonalModel(**({"alpha": 0.3} | {name: value}))


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="exceeds rho_pt"):
        DiagonalModel(0.1, rho_pt=0.1, rho_ft=0.5, omega=0.9)
    with pytest.raises(ValueError, match="exceeds 1 - rho_pt"):
        DiagonalModel(0.1, rho_pt=0.8, rho_ft=0.5, omega=0.1)
    with pytest.raises(ValueError, match="sum to 1"):
        DiagonalModel(0.1, components=(Component(weight=0.5),))
    with pytest.raises(ValueError, match="covariance"):
        Component(weight=1.0, source_var=1.0, target_var=1.0, covariance=1.5)
    with pytest.raises(ValueError, match="alpha_pt"):
        DiagonalModel(0.1, alpha_pt=1.0, noise_pt=0.1)
    with pytest.raises(ValueError, match="c must be positive"):
        penalty(1.0, 0.0)


def test_laplace_components_are_a_laplace_law():
    var, x = 3.0, np.array([0.003, 0.1, 0.7, 2.0, 9.0])
    parts = laplace_components(var, weight=0.25, source_mean=1.0, group="new")
    assert len(parts) == 60
    assert {p.group for p in parts} == {"new"}
    assert {p.source_mean for p in parts} == {1.0}
    weight, sizes = (np.array([getattr(p, n) for p in parts]) for n in ("weight", "target_var"))
    assert_allclose(weight.sum(), 0.25, rtol=1e-14)
    weight = weight / 0.25
    scale = math.sqrt(var / 2)
    assert_allclose(weight @ sizes, var, rtol=1e-8)
    assert_allclose(3 * weight @ sizes**2, 24 * scale**4, rtol=1e-6)
    for noise in (0.0, 1e-4, 1.0):  # densities, alone and seen through Gaussian noise
        found = [
            weight
            @ (np.exp(-(v**2) / (2 * (sizes + noise))) / np.sqrt(2 * np.pi * (sizes + noise)))
            for v in x
        ]
        wanted = [laplace_density(v, scale, noise) for v in x]
        assert_allclose(found, wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="target_var"):
        laplace_components(0.0)
    with pytest.raises(ValueError, match="n_components"):
        laplace_components(1.0, n_components=3)


def laplace_density(x, scale, noise):
    """Density of a Laplace variable plus Gaussian noise, by an adaptive rule."""
    if not noise:
        return math.exp(-x / scale) / (2 * scale)
    sd = math.sqrt(noise)
    points = sorted({x - 12 * sd, x - sd, 0.0, x + sd, x + 12 * sd})
    return sum(
        quad(
            lambda b: math.exp(-abs(b) / scale - (x - b) ** 2 / (2 * noise))
            / (2 * scale * math.sqrt(2 * math.pi * noise)), low, high, epsabs=0, epsrel=1e-11,
        )[0]
        for low, high in itertools.pairwise(points)
        if high > x - 12 * sd and low < x + 12 * sd
    )  # fmt: skip


def test_theory_of_a_laplace_law_by_points_and_by_experiments():
    """The mixture against a law of many points, and against drawn Laplace coefficients."""
    options = {"mode": "scratch", "init_scale": 1e-3, "noise": 0.2}
    silent = Component(weight=0.7)
    mixture = solve(
        DiagonalModel(0.4, components=(*laplace_components(3.0, weight=0.3), silent), **options)
    )
    scale = math.sqrt(1.5)
    node, share = np.polynomial.laguerre.laggauss(40)
    points = tuple(
        Component(weight=0.15 * w, target_mean=sign * scale * x)
        for x, w in zip(node, share / share.sum(), strict=True)
        for sign in (1.0, -1.0)
    )
    by_points = solve(DiagonalModel(0.4, components=(*points, silent), **options))
    assert_allclose(mixture.mse, by_points.mse, rtol=1e-4)
    same_variance = Component(weight=0.3, target_var=3.0)
    normal = solve(DiagonalModel(0.4, components=(same_variance, silent), **options))
    assert abs(normal.mse - mixture.mse) > 0.02 * mixture.mse
    n_features, errors = 500, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        target = np.zeros(n_features)
        ranks = (rng.permutation(150) + rng.random(150)) / 150
        target[:150] = np.sign(ranks - 0.5) * -scale * np.log1p(-np.abs(2 * ranks - 1))
        X = rng.normal(size=(200, n_features)) / n_features**0.5
        fit = minimum_penalty(X, X @ target + 0.2 * rng.normal(size=200), 1e-3)
        errors.append(np.mean((fit.coef - target) ** 2))
    assert abs(np.mean(errors) - mixture.mse) < 4 * np.std(errors, ddof=1) / 30**0.5
