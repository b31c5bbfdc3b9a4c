"""Derivatives of theories: closed forms, identities, and plain differences in every system."""

import dataclasses

import numpy as np
import pytest

import retemper
from retemper.diagonal import DiagonalModel
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.linear import LinearModel, solve
from retemper.perceptron import PerceptronModel
from retemper.phases import FeatureModel
from retemper.widenet import WideNetModel

from .discover import systems


def linear_model(**changes):
    d = 60
    angle = np.arange(d)
    fields = {
        "spectrum": np.arange(1.0, d + 1) ** -0.7,
        "source_coef": np.cos(angle) / d**0.5,
        "noise": 0.3,
        "ridge": 0.05,
    }
    return LinearModel(25, np.sin(1.0 + angle) / d**0.5, **{**fields, **changes})


def implicit(model):
    """Derivatives of the risk by implicit differentiation of the equation of the ridge."""
    s, gap = model.spectrum, model.theta_target - model.source_coef
    theory = solve(model)
    kappa, n, noise = theory.effective_ridge, model.n_samples, model.noise
    share, fall = theory.df2 / n, 1.0 - theory.df2 / n
    missed = s * kappa**2 / (s + kappa) ** 2  # B = sum of this times gap²
    b = missed @ gap**2
    b_kappa = (2.0 * s**2 * kappa / (s + kappa) ** 3) @ gap**2
    df2_kappa = -2.0 * (s**2 / (s + kappa) ** 3).sum()
    df1_kappa = -(s / (s + kappa) ** 2).sum()
    slope = 1.0 - theory.df1 / n - kappa * df1_kappa / n  # of the equation, in kappa
    assert slope == pytest.approx(fall)
    by_kappa = (b_kappa + noise**2 * df2_kappa / n) / fall + theory.risk * df2_kappa / n / fall
    b_s = gap**2 * kappa**2 * (kappa - s) / (s + kappa) ** 3
    df2_s = 2.0 * s * kappa / (s + kappa) ** 3
    kappa_s = kappa * kappa / (s + kappa) ** 2 / n / fall
    return {
        "ridge": by_kappa / fall,
        "noise": 2.0 * noise * share / fall,
        "source_coef": -2.0 * missed * gap / fall,
        "spectrum": (b_s + noise**2 * df2_s / n + theory.risk * df2_s / n) / fall
        + by_kappa * kappa_s,
        "kappa": 1.0 / fall,
    }, b


def test_implicit_differentiation_of_linear_teachers():
    model = linear_model()
    fields = ["ridge", "noise", "source_coef", "spectrum"]
    found = retemper.derivatives(model, fields, ["risk", "effective_ridge"])
    expected, _ = implicit(model)
    for field in fields:
        value, error = found["risk", field], found.errors["risk"][field]
        gap = abs(value - expected[field])
        assert np.shape(value) == np.shape(getattr(model, field))
        assert np.all(gap <= 1e-9 * np.max(abs(expected[field])))
        assert np.all(gap <= 20 * error + 1e-13)
    assert found["effective_ridge", "ridge"] == pytest.approx(expected["kappa"], rel=1e-9)


def test_the_best_ridge_is_a_stationary_point():
    best = solve(linear_model(ridge="optimal"))
    assert best.used_ridge > 0.0
    at = linear_model(ridge=best.used_ridge)
    curvature = retemper.derivatives(linear_model(ridge=2 * best.used_ridge), "ridge", "risk")
    here = retemper.derivatives(at, "ridge", "risk", on_failure="ignore")
    assert abs(here["risk", "ridge"]) < 1e-5 * abs(curvature["risk", "ridge"])


def test_identities_of_the_diagonal_network():
    model = DiagonalModel(0.3, noise=0.3)
    found = retemper.derivatives(model, ["alpha", "noise"], ["mse", "test_error", "dof"])
    assert found["dof", "alpha"] == pytest.approx(1.0, rel=1e-8)
    assert found["test_error", "noise"] == pytest.approx(found["mse", "noise"] + 0.6, rel=1e-8)


def case(system):
    """A model, fields, quantity and options."""
    if system == "linear":
        return linear_model(), ["noise", "ridge"], "risk", {}
    if system == "diagonal":
        return DiagonalModel(0.3, noise=0.3), ["alpha", "omega", "init_scale"], "mse", {}
    if system == "perceptron":
        return PerceptronModel(1.0, 1.0, 0.5), ["kappa", "alpha_u", "alpha_l"], "q", {}
    if system == "phases":
        model = FeatureModel(
            10, [3.0, 1.0], [1.0, 0.2], n_noise=20, noise_sd=0.5, times=[0.5, 1.0, 4.0]
        )
        return model, ["noise_sd", "init_scale"], "fuv", {}
    rng = np.random.default_rng(0)
    X, teacher = rng.normal(size=(50, 20)), rng.normal(size=20) / 20**0.5
    pairs = [(X[a:b], X[a:b] @ teacher) for a, b in ((0, 15), (15, 40), (40, 50))]
    data = dict(zip(("target", "source", "test"), pairs, strict=True))
    return WideNetModel(100, "linear", gamma=1.0), ["gamma", "lam1"], "test_error", data


@pytest.mark.parametrize("system", systems())
def test_against_a_plain_difference(system):
    model, fields, quantity, options = case(system)
    room = getattr(retemper, system)
    found = retemper.derivatives(model, fields, quantity, **options)
    for field in fields:
        x = getattr(model, field)
        step = 1e-4 * x
        ends = [
            np.asarray(
                getattr(
                    room.solve(dataclasses.replace(model, **{field: x + s}), **options), quantity
                )
            )
            for s in (step, -step)
        ]
        plain = (ends[0] - ends[1]) / (2 * step)
        size = np.max(abs(plain))
        assert size > 0.0
        assert (abs(found[quantity, field] - plain) <= 1e-5 * size).all(), field
        assert (found.errors[quantity][field] <= 1e-6 * size).all(), field


def test_at_the_edge_of_a_domain():
    model = linear_model(noise=0.0)
    found = retemper.derivatives(model, "noise", "risk", on_failure="ignore")
    assert abs(found["risk", "noise"]) < 1e-9  # risk is even in the noise
    found = retemper.derivatives(DiagonalModel(0.3, noise=0.3, omega=1.0), "omega", "mse")
    plain = [retemper.diagonal.solve(DiagonalModel(0.3, noise=0.3, omega=w)).mse for w in
             (1.0, 1.0 - 1e-4, 1.0 - 2e-4)]  # fmt: skip
    second_order = (3 * plain[0] - 4 * plain[1] + plain[2]) / 2e-4
    assert found["mse", "omega"] == pytest.approx(second_order, rel=1e-5)


def test_a_transition_is_named():
    edge = retemper.perceptron.transitions(0.5, alpha_l=0.0).alpha_alg
    model = PerceptronModel(0.5, edge * 1.0001)
    with pytest.warns(ValidityWarning, match="not resolved to a thousandth"):
        retemper.derivatives(model, "alpha_u", "q")
    with pytest.raises(NumericalError, match="that of q by alpha_u"):
        retemper.derivatives(model, "alpha_u", "q", on_failure="raise")


def test_what_has_no_derivative_is_refused():
    model = linear_model()
    with pytest.raises(ValueError, match="n_samples counts, it has no derivative"):
        retemper.derivatives(model, "n_samples")
    with pytest.raises(ValueError, match="fields names 'nothing', LinearModel has the fields"):
        retemper.derivatives(model, "nothing")
    with pytest.raises(TypeError, match="ridge is 'optimal'"):
        retemper.derivatives(linear_model(ridge="optimal"), "ridge")
    with pytest.raises(TypeError, match="cov is None"):
        retemper.derivatives(model, "cov")
    paths = FeatureModel(4, [3.0, 1.0], [1.0, 0.2], times=[0.0, 1.0])
    with pytest.raises(ValueError, match=r"quantities must be named: .* are arrays, .*'fuv'"):
        retemper.derivatives(paths, "noise_sd")
    with pytest.raises(ValueError, match="quantities must be one of"):
        retemper.derivatives(model, "noise", "nothing")
    for wrong in (None, 3.5, [], [1]):
        with pytest.raises(TypeError, match="fields must be a name or a list of names"):
            retemper.derivatives(model, wrong)
    with pytest.raises(TypeError, match="quantities must be a name or a list of names, got 17"):
        retemper.derivatives(model, "noise", 17)
    with pytest.raises(TypeError, match="model must be a model of one of the systems"):
        retemper.derivatives(3, "noise")


def test_table():
    found = retemper.derivatives(linear_model(), "noise")
    frame = found.to_frame()
    assert set(frame["quantity"]) >= {"risk", "bias", "variance", "df1"}
    assert "residual" not in set(frame["quantity"])
    risk = frame.set_index("quantity").loc["risk"]
    assert risk["derivative"] == found["risk", "noise"]
    assert f"{found['risk', 'noise']:.6g}" in str(found)
    assert "<table" in found._repr_html_()
