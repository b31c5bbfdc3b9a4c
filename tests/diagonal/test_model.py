"""The model refuses what is outside its domain, and contradictions."""

import math

import pytest

from retemper.diagonal import Component, DiagonalModel, penalty


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
