"""Laws of the target that are given by a density: identities, other quadratures, experiments."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from retemper.diagonal import (
    CoefficientLaw,
    Component,
    DiagonalModel,
    compare,
    curve,
    laplace_components,
    laplace_law,
    solve,
    student_law,
)
from retemper.diagonal.density import LawAtoms, law_atoms

SILENT = Component(weight=0.7)
STARTS = {
    "rich": {"alpha": 0.4, "mode": "scratch", "init_scale": 1e-3, "noise": 0.2},
    "very rich": {"alpha": 0.6, "mode": "scratch", "init_scale": 1e-30},
    "almost exact": {"alpha": 0.9, "mode": "scratch", "init_scale": 1e-6},
    "lazy": {"alpha": 0.4, "mode": "scratch", "init_scale": 1e3, "noise": 0.2},
    "penalised": {"alpha": 1.3, "mu": 0.1, "noise": 0.3},
    "warm": {"alpha": 0.9, "init_scale": 0.01, "mode": "warm"},
}


def theory(*parts, **options):
    return solve(DiagonalModel(components=(*parts, SILENT), **options))


@pytest.mark.parametrize("name", STARTS)
def test_a_gaussian_density_is_the_gaussian_component(name):
    for mean in (0.0, 0.5):
        law = CoefficientLaw(stats.norm(mean, 3**0.5).pdf)
        found = theory(Component(weight=0.3, source_mean=1.0, target_law=law), **STARTS[name])
        wanted = theory(
            Component(weight=0.3, source_mean=1.0, target_mean=mean, target_var=3.0), **STARTS[name]
        )
        assert_allclose(found.mse, wanted.mse, rtol=1e-11)
        assert_allclose(found.forgetting, wanted.forgetting, rtol=1e-10)
        assert_allclose(found.null_mse, wanted.null_mse, rtol=1e-11)
        assert found.status == "converged"
        assert found.quadrature_error < 1e-6


@pytest.mark.parametrize("name", STARTS)
def test_laplace_by_its_density_is_what_ever_more_components_approach(name):
    found = theory(Component(weight=0.3, source_mean=1.0, target_law=laplace_law(3.0)),
                   **STARTS[name])  # fmt: skip
    off = [
        abs(theory(*laplace_components(3.0, weight=0.3, source_mean=1.0, n_components=n),
                   **STARTS[name]).mse / found.mse - 1)
        for n in (60, 200)
    ]  # fmt: skip
    assert off[0] < 1e-6  # the accuracy that the sum of Gaussians states
    assert off[1] < 1e-2 * off[0]
    assert off[1] < 1e-11


def test_a_scale_mixture_with_gaussian_pieces_of_its_own():
    """Student's law as a Gaussian with a variance of inverse gamma law, by midpoints."""
    df, var = 5.0, 2.0
    ranks = (np.arange(4000) + 0.5) / 4000
    sizes = (df - 2) / stats.chi2(df).ppf(ranks) * var
    mixture = tuple(Component(weight=0.3 / 4000, target_var=float(v)) for v in sizes)
    wanted = theory(*mixture, **STARTS["rich"]).mse
    found = theory(Component(weight=0.3, target_law=student_law(var, df)), **STARTS["rich"]).mse
    assert_allclose(found, wanted, rtol=1e-3)


@pytest.mark.parametrize(
    ("law", "mean", "var"),
    [
        (laplace_law(3.0), 0.0, 3.0),
        (student_law(2.0, 4.0), 0.0, 2.0),
        (student_law(2.0, 2.2), 0.0, 2.0),
        (CoefficientLaw(stats.norm(0, 1e-30).pdf), 0.0, 1e-60),
        (CoefficientLaw(stats.norm(100, 0.01).pdf, (100,)), 100.0, 1e-4),
        (CoefficientLaw(stats.gamma(0.5).pdf), 0.5, 0.5),  # infinite at zero
        (CoefficientLaw(stats.uniform(-1, 3).pdf, (-1, 2)), 0.5, 0.75),
    ],
)
def test_moments_and_quantiles(law, mean, var):
    assert_allclose(law.mean, mean, rtol=1e-9, atol=1e-12 * math.sqrt(var))
    assert_allclose(law.variance, var, rtol=1e-9)
    at = law_atoms(law)
    assert isinstance(at, LawAtoms)
    assert_allclose(at.share.sum(), 1.0)
    ranks = np.array([0.02, 0.3, 0.8, 0.999])
    found = law.quantile(ranks)
    for rank, place in zip(ranks, found, strict=True):
        below = at.share[at.coef < place].sum()
        assert abs(below - rank) < 0.06
    assert np.all(np.diff(found) > 0)


def test_quantiles_are_those_of_other_codes():
    ranks = np.array([1e-6, 0.01, 0.4, 0.5, 0.97, 1 - 1e-9])
    for law, other in (
        (laplace_law(3.0), stats.laplace(scale=math.sqrt(1.5))),
        (student_law(2.0, 4.0), stats.t(4, scale=1.0)),
    ):
        assert_allclose(law.quantile(ranks), other.ppf(ranks), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("pdf", "message"),
    [
        (stats.cauchy.pdf, "must have a variance"),
        (stats.t(2).pdf, "must have a variance"),
        (np.ones_like, "must have a variance"),  # mass at infinity
        (lambda b: 2 * np.exp(-np.abs(b)), "must integrate to 1, got 4"),
        (lambda b: 0 * b, "must integrate to 1, got 0"),
        (lambda b: -np.exp(-np.abs(b)), "non-negative, got -"),
        (lambda b: np.where(b > 1, np.nan, 0.5), "finite and non-negative, got nan at"),
        (lambda b: np.where(b > 1, np.inf, 0.5), "finite and non-negative, got inf at"),
        (stats.norm(100, 1e-3).pdf, "place as a breakpoint"),
        (lambda b: 1.0, r"shape it is given, \(1301,\), got \(\)"),
    ],
)
def test_densities_that_are_none(pdf, message):
    with pytest.raises(ValueError, match=message):
        CoefficientLaw(pdf)


def test_bad_arguments_name_themselves():
    with pytest.raises(TypeError, match="pdf must be callable"):
        CoefficientLaw(1.0)
    with pytest.raises(ValueError, match="breakpoints"):
        CoefficientLaw(stats.norm.pdf, (math.nan,))
    with pytest.raises(ValueError, match="target_var"):
        laplace_law(0.0)
    with pytest.raises(ValueError, match="df"):
        student_law(1.0, 2.0)
    with pytest.raises(TypeError, match="target_law"):
        Component(weight=1.0, target_law=stats.norm.pdf)
    with pytest.raises(ValueError, match="target_law replaces target_var"):
        Component(weight=1.0, target_var=1.0, target_law=laplace_law(1.0))


@pytest.mark.parametrize(
    ("law", "options"),
    [
        (student_law(3.0, 5.0), {"alpha": 0.4, "mode": "scratch", "noise": 0.2}),
        (laplace_law(3.0), {"alpha": 0.3, "init_scale": 0.01, "mode": "warm"}),
        (laplace_law(3.0), {"alpha": 0.3, "init_scale": 0.01, "alpha_pt": 0.4}),
        (
            CoefficientLaw(stats.gamma(2.0).pdf),
            {"alpha": 1.2, "init_scale": 0.01, "mu": 0.3, "noise": 0.5},
        ),
    ],
)
def test_theory_and_simulation_agree(law, options):
    parts = (Component(weight=0.3, source_mean=1.0, target_law=law, group="on"), SILENT)
    model = DiagonalModel(components=parts, **options)
    found = compare(model, n_features=400, n_repeats=20, random_state=3)
    assert np.all(np.abs(found.z) < 4), str(found)
    assert np.all(found.stderr < 0.2 * np.abs(found.theory))


def test_a_sweep_over_laws_is_solve_at_each():
    laws = [
        (Component(weight=0.3, target_law=law), SILENT)
        for law in (laplace_law(3.0), student_law(3.0, 4.0))
    ]
    base = DiagonalModel(0.4, mode="scratch", components=laws[0])
    found = curve(base, {"components": laws, "alpha": [0.3, 0.4]})
    for i, law in enumerate(laws):
        alone = solve(DiagonalModel(0.4, mode="scratch", components=law))
        assert_allclose(found["mse"][i, 1], alone.mse, rtol=1e-12)
    assert abs(found["mse"][1, 1] / found["mse"][0, 1] - 1) > 0.01
