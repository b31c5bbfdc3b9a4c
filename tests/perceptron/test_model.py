"""What a model refuses."""

import math

import pytest

from retemper.perceptron import PerceptronModel


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kappa": -1}, r"kappa must lie in \[0, 30\], got -1"),
        ({"kappa": math.nan}, "kappa"),
        ({"alpha_u": -0.1}, "alpha_u"),
        ({"alpha_l": math.inf}, "alpha_l"),
        ({"kappa_true": -2}, "kappa_true"),
        ({"sigma": -1}, "sigma"),
        ({"eta_u": 1.0}, "eta_u"),
        ({"eta_l": 0.5}, "eta_l"),
        ({"channel": "ring"}, "channel must be one of"),
        ({"prior": "gauss"}, "prior must be one of"),
        ({"cluster_mean": 1.0}, "cluster_mean belongs to"),
        ({"channel": "cluster", "cluster_mean": 1.0, "sigma": 0.1}, "takes cluster_mean alone"),
        ({"prior": "binary", "kappa_true": 0.5}, "prior='binary'"),
    ],
)
def test_bad_models(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerceptronModel(**({"kappa": 1.0, "alpha_u": 1.0} | arguments))
