"""Correlated designs: identities, known limits, the equations on drawn spectra, experiments."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import toeplitz
from scipy.optimize import brentq

from retemper.diagonal import (
    CoefficientLaw,
    Component,
    DiagonalModel,
    compare,
    curve,
    laplace_law,
    simulate,
    solve,
)
from retemper.exceptions import ValidityWarning

QUANTITIES = ("mse", "test_error", "train_error", "tau", "effective_mu", "dof", "forgetting")
AR1 = tuple(np.linalg.eigvalsh(toeplitz(0.8 ** np.arange(400))).tolist())
CASES = {
    "rich": {"alpha": 0.4, "mode": "scratch", "noise": 0.3},
    "lazy": {"alpha": 0.5, "omega": 0.0, "rho_ft": 0.9, "readout_scale": 1.0, "noise": 0.3},
    "dependent": {"alpha": 0.3, "balance": 0.5, "noise": 0.2},
    "warm": {
        "alpha": 0.25,
        "mode": "warm",
        "init_scale": 0.01,
        "shared": "aligned",
        "noise": 0.2,
    },
    "penalised": {"alpha": 0.4, "mu": 0.1, "noise": 0.3},
    "penalised, n > D": {"alpha": 1.3, "mu": 0.1, "noise": 0.3},
    "least squares": {"alpha": 1.5, "noise": 0.5},
    "frozen features": {"alpha": 0.4, "init_scale": 0.0, "noise": 0.3},
}


@pytest.mark.parametrize("name", CASES)
def test_a_spectrum_of_ones_is_a_design_of_independent_columns(name):
    plain = solve(DiagonalModel(**CASES[name]))
    for spectrum in ([1.0], np.ones(7)):
        found = solve(DiagonalModel(spectrum=spectrum, **CASES[name]))
        for quantity in QUANTITIES:
            assert_allclose(
                getattr(found, quantity), getattr(plain, quantity), rtol=1e-10, atol=1e-12
            )


@pytest.mark.parametrize("name", CASES)
def test_the_scale_of_the_rows_is_that_of_the_labels(name):
    """Rows twice as long are labels, noise and penalty over two and four."""
    case = CASES[name]
    wide = solve(DiagonalModel(spectrum=np.multiply(4.0, AR1), **case))
    other = {"noise": case["noise"] / 2, "mu": case.get("mu", 0.0) / 4}
    found = solve(DiagonalModel(spectrum=AR1, **(case | other)))
    assert_allclose(wide.mse, found.mse, rtol=1e-9)
    assert_allclose(wide.test_error, 4 * found.test_error, rtol=1e-9)
    assert_allclose(wide.train_error, 4 * found.train_error, rtol=1e-9, atol=1e-14)


def test_noise_free_interpolation_does_not_see_the_spectrum_in_its_coefficients():
    for case in (CASES["rich"], CASES["warm"], CASES["lazy"]):
        quiet = case | {"noise": 0.0}
        plain, found = (solve(DiagonalModel(spectrum=s, **quiet)) for s in (None, AR1))
        assert_allclose(found.mse, plain.mse, rtol=1e-9)
        assert abs(found.test_error / plain.test_error - 1) > 0.05


@pytest.mark.parametrize(("alpha", "mu"), [(0.4, 0.3), (1.7, 0.3), (0.4, 0.0)])
def test_the_lazy_limit_is_ridge_regression(alpha, mu):
    """Its errors in high dimension are known without the channel (Hastie et al. 2022)."""
    s, noise, c = np.array(AR1), 0.4, 1e9
    mu_c = mu * 2 * c  # the penalty beta^2 / (4 c) is a ridge of mu / (2 c)
    found = solve(DiagonalModel(alpha, init_scale=c, mode="scratch", mu=mu_c, noise=noise,
                                spectrum=s, omega=0.0))  # fmt: skip

    def ridge_of(log_kappa):
        kappa = math.exp(log_kappa)
        return kappa * (alpha - np.mean(s / (s + kappa))) - mu

    kappa = math.exp(brentq(ridge_of, -20, 20, xtol=1e-14))
    df2 = np.mean((s / (s + kappa)) ** 2)
    signal = 1.0  # mean square of a target coefficient
    excess = (signal * kappa**2 * np.mean(s / (s + kappa) ** 2) + noise**2 * df2 / alpha) / (
        1 - df2 / alpha
    )
    assert_allclose(found.test_error, excess + noise**2, rtol=1e-7)


def test_the_equations_hold_with_the_eigenvalues_of_a_drawn_design():
    """Vector message passing in terms of the Gram matrix itself, whose law is not used."""
    case = CASES["penalised"]
    found = solve(DiagonalModel(spectrum=AR1, **case))
    d, rng = 1600, np.random.default_rng(0)
    root = np.sqrt(np.repeat(AR1, 4) / d)
    X = rng.normal(size=(round(case["alpha"] * d), d)) * root
    gram = np.linalg.eigvalsh(X.T @ X)
    first = case["mu"] / found.effective_mu  # precision of the channel
    total = first / found.dof
    second = total - first
    assert_allclose(np.mean(1 / (gram + second)), 1 / total, rtol=0.01)
    noise = (total**2 * found.mse - first**2 * found.tau) / second**2
    mse = np.mean((gram * case["noise"] ** 2 + second**2 * noise) / (gram + second) ** 2)
    assert_allclose(mse, found.mse, rtol=0.01)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "least squares" else n for n in CASES]
)
def test_theory_and_simulation_agree(name):
    found = compare(
        DiagonalModel(spectrum=AR1, **CASES[name]), n_features=300, n_repeats=20, random_state=2
    )
    assert np.all(np.abs(found.z) < 4), str(found)
    assert np.all(found.stderr < 0.2 * np.abs(found.theory))
    assert "test_error" in found.names


def test_the_comparison_can_fail():
    """Independent columns are refused by the experiment with correlated ones."""
    case = DiagonalModel(spectrum=AR1, **CASES["penalised"])
    sample = simulate(case, n_features=300, n_repeats=20, random_state=2)
    other = solve(dataclasses.replace(case, spectrum=None))
    assert abs(other.test_error - sample.test_error) > 4 * sample.stderr["test_error"]
    assert abs(other.mse - sample.mse) > 4 * sample.stderr["mse"]


def test_a_law_by_its_density_meets_a_spectrum():
    for law, same in ((laplace_law(3.0), None), (CoefficientLaw(gaussian), 3.0)):
        parts = (Component(weight=0.3, target_law=law), Component(weight=0.7))
        model = DiagonalModel(0.4, mode="scratch", noise=0.2, mu=0.05, spectrum=AR1)
        found = solve(dataclasses.replace(model, components=parts))
        assert found.status == "converged"
        assert found.residual < 1e-9
        if same:
            normal = (Component(weight=0.3, target_var=same), Component(weight=0.7))
            wanted = solve(dataclasses.replace(model, components=normal))
            assert_allclose(found.test_error, wanted.test_error, rtol=1e-9)


def gaussian(b):
    return np.exp(-(b**2) / 6) / math.sqrt(6 * math.pi)


def test_a_sweep_over_spectra():
    base = DiagonalModel(0.3, noise=0.2)
    found = curve(base, {"spectrum": [None, (0.5, 1.5), AR1], "alpha": [0.2, 0.3]})
    for i, spectrum in enumerate([None, (0.5, 1.5), AR1]):
        alone = solve(DiagonalModel(0.3, noise=0.2, spectrum=spectrum))
        assert_allclose(found["test_error"][i, 1], alone.test_error, rtol=1e-10)


def test_the_threshold_and_bad_spectra():
    with pytest.warns(ValidityWarning, match="no solution"):
        assert solve(DiagonalModel(1.0, noise=0.1, spectrum=AR1)).mse == math.inf
    near = [solve(DiagonalModel(a, noise=0.1, spectrum=AR1)).mse for a in (0.999, 1.001)]
    assert min(near) > 5
    for bad in ([], [0.0, 1.0], [-1.0], [math.nan], [math.inf]):
        with pytest.raises(ValueError, match="spectrum"):
            DiagonalModel(0.3, spectrum=bad)
    with pytest.raises(ValueError, match="spectrum needs exact pre-training"):
        DiagonalModel(0.3, spectrum=AR1, alpha_pt=0.5)
    with pytest.raises(ValueError, match="spectrum needs exact pre-training"):
        DiagonalModel(0.3, spectrum=AR1, alpha_pt=2.0, noise_pt=0.1)
    with pytest.raises(TypeError, match="spectrum"):
        DiagonalModel(0.3, spectrum="ar1")
