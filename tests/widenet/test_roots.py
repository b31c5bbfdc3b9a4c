"""The roots of the saddle-point equations, found in every way there is."""

import pytest

from retemper.widenet.problem import Problem
from retemper.widenet.roots import Roots, hybrid_roots, nested_roots

from .recipe import SMALL, draw, model

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


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


@pytest.mark.parametrize("gamma", [0.3, 1.0, 10.0])
def test_hybrid_method_takes_few_steps_on_a_mild_problem(gamma):
    target, source, _ = draw(**SMALL)
    t = Problem(target, source).solve(model("erf", 60, gamma=gamma)).columns[0]
    hybrid, n_iter = hybrid_roots(t.equations, Roots(1.0, 0.1))
    nested = nested_roots(t.equations)
    assert hybrid.delta == pytest.approx(nested.delta, rel=1e-8)
    assert hybrid.Q_tt == pytest.approx(nested.Q_tt, rel=1e-8)
    assert n_iter == hybrid.n_iter < nested.n_iter / 5
    near, n_near = hybrid_roots(t.equations, hybrid)
    assert n_near < n_iter
    assert near.delta == pytest.approx(hybrid.delta, rel=1e-9)


@pytest.mark.parametrize("level", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_all_unknowns_at_once_agree_with_alternation(act, level, monkeypatch):
    (Xt, yt), (Xs, ys), _ = draw(**SMALL)
    problem = Problem((Xt, yt + level), (Xs, ys + level))
    joint = problem.solve(model(act, 40, gamma=1.0)).columns[0]
    monkeypatch.setattr("retemper.widenet.roots.joint_roots", lambda e, start: (None, 0))
    slow = problem.solve(model(act, 40, gamma=1.0)).columns[0]
    assert slow.roots.n_iter > joint.roots.n_iter
    assert slow.status == joint.status == "converged"
    for name in ("Q_t", "Q_tt", "Q_st", "log_evidence"):
        assert getattr(slow, name) == pytest.approx(getattr(joint, name), rel=1e-7), name
