"""The saddle-point equations of a coupled target are those of its action."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import WideNetModel, solve

from . import naive
from .recipe import SMALL, draw

ACTIVATIONS = ("erf", "relu", "gelu", "linear")
pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


@pytest.mark.parametrize("gamma", [0.3, 2.0, 50.0, np.inf])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_action_is_stationary(act, gamma):  # invariant (i)
    target, source, _ = draw(**SMALL)
    m = WideNetModel(30, act, 0.7, 1.3, 0.04, 0.08, gamma, lam1_source=0.6)
    got = solve(m, target, source)
    point = np.array([got.delta, got.Q_tt, got.Q_st])

    def action(x):
        return naive.target_action(m, target, source, got.Q_s, *x)

    h = 1e-5 * np.eye(3) * np.maximum(np.abs(point), 0.05)
    slope = [(action(point + e) - action(point - e)) / (2 * e.sum()) for e in h]
    assert_allclose(slope, 0.0, atol=2e-8)
    size = len(target[1])
    evidence = -0.5 * m.width * (action(point) - 1) - 0.5 * size * np.log(2 * np.pi)
    assert got.log_evidence == pytest.approx(evidence, rel=1e-9)
