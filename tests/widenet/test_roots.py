"""The saddle point of a coupled target, found in every way there is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import WideNetModel, solve
from retemper.widenet.problem import Problem
from retemper.widenet.roots import Roots, hybrid_roots, nested_roots

from . import naive
from .recipe import SMALL, draw, model

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
ACTIVATIONS = ("erf", "relu", "gelu", "linear")


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


@pytest.mark.parametrize(
    ("N1", "T", "scale", "gamma"),
    [(10, 1e-4, 6.0, 1e3), (10, 1e-4, 0.3, 10.0), (10, 0.05, 6.0, 0.1), (100, 1e-4, 6.0, 1e-3)],
)
def test_nested_roots_agree_with_the_hybrid_method(N1, T, scale, gamma):
    target, source, _ = draw(N0=12, Ps=15, Pt=20, scale=scale, rho=-0.9)
    t = Problem(target, source).solve(model("erf", N1, T=T, gamma=gamma)).columns[0]
    found = nested_roots(t.equations)
    assert t.status == "converged"
    assert found.delta == pytest.approx(t.delta, rel=1e-7)
    assert found.Q_tt == pytest.approx(t.Q_tt, rel=1e-7)
    hybrid, n_iter = hybrid_roots(t.equations, Roots(1.0, 0.1))
    assert n_iter > 0
    if hybrid is not None:
        assert hybrid.delta == pytest.approx(found.delta, rel=1e-7)
