"""The saddle-point equations of a coupled target are those of its action."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import WideNetModel, solve
from retemper.widenet.problem import Problem

from . import naive
from .recipe import SMALL, draw

ACTIVATIONS = ("erf", "relu", "gelu", "linear")
pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


@pytest.mark.parametrize("level", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("gamma", [0.3, 2.0, 50.0, np.inf])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_action_is_stationary(act, gamma, level):  # invariant (i)
    """In all six unknowns: order parameters, and their parts free of the mean read-outs."""
    (Xt, yt), (Xs, ys), _ = draw(**SMALL)
    target, source = (Xt, yt + level), (Xs, ys + level)
    m = WideNetModel(30, act, 0.7, 1.3, 0.04, 0.08, gamma, lam1_source=0.6)
    got = solve(m, target, source)
    solution = Problem(target, source).solve(m)
    t, fit = solution.columns[0], solution.fits[0]
    free = [t.delta_free, t.Q_tt_free, t.Q_st_free]
    point = np.array([got.delta, got.Q_tt, got.Q_st, *free])
    assert (point[3:] == point[:3]).all() == (act in {"erf", "linear"})

    def action(x):
        return naive.target_action(m, target, source, got.Q_s, fit.Q_free, x[:3], x[3:])

    h = 1e-5 * np.eye(6) * np.maximum(np.abs(point), 0.05)
    slope = [(action(point + e) - action(point - e)) / (2 * e.sum()) for e in h]
    assert_allclose(slope, 0.0, atol=2e-8 * max(1, level**2))
    size = len(target[1])
    evidence = -0.5 * m.width * (action(point) - 1) - 0.5 * size * np.log(2 * np.pi)
    assert got.log_evidence == pytest.approx(evidence, rel=1e-9)
