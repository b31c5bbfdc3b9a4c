"""The description of the pair of networks refuses what it cannot mean."""

import numpy as np
import pytest

from retemper.widenet import WideNetModel

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 1}, r"width must lie in \[2"),
        ({"width": np.nan}, "width"),
        ({"gamma": -1.0}, r"gamma must lie in \[0"),
        ({"gamma": np.nan}, "gamma"),
        ({"lam0": 0.0}, "lam0"),
        ({"lam1": -1.0}, "lam1"),
        ({"lam1_source": 0.0}, "lam1_source"),
        ({"temperature_target": -0.1}, "temperature_target"),
        ({"temperature_source": np.inf}, "temperature_source"),
        ({"activation": "swish"}, "activation must be one of"),
    ],
)
def test_model_refuses_bad_values(change, match):
    with pytest.raises(ValueError, match=match):
        WideNetModel(**({"width": 10.0} | change))
