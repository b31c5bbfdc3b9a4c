"""What follows from the order parameters: leave-one-out and predictions."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import solve
from retemper.widenet.problem import Problem
from retemper.widenet.target import Target

from .recipe import SMALL, draw, model

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


@pytest.mark.parametrize("gamma", [0.0, 1.5, np.inf])
@pytest.mark.parametrize("act", ["erf", "gelu"])
def test_leave_one_out_equals_deletion_at_frozen_parameters(act, gamma):
    (X, y), source, _ = draw(**SMALL)
    m = model(act, 40, gamma=gamma)
    whole = Problem((X, y), source).solve(m)
    t = whole.columns[0]
    for i in (0, 7):
        keep = np.arange(len(y)) != i
        part = Problem((X[keep], y[keep]), source).solve(m)
        equations = part.columns[0].equations
        frozen = Target(equations, t.roots, q_st=t.Q_st_free)  # Q_st is not solved anew either
        part = dataclasses.replace(part, columns=[frozen])
        mean, thermal, quenched = (v[0, 0] for v in part.predict(X[i : i + 1]))
        assert y[i] - mean == pytest.approx(t.loo.mean[i], rel=1e-9)
        assert thermal == pytest.approx(t.loo.thermal[i], rel=1e-9)
        assert quenched == pytest.approx(t.loo.quenched[i], rel=1e-7, abs=1e-12)


def test_linear_network_leaves_the_kernel_for_the_weights():
    """At infinite width the linear network is ridge regression."""
    target, _, test = draw(**SMALL)
    got = solve(model("linear", np.inf, T=0.3), target, None, test)
    (X, y), (Xe, _) = target, test
    d = X.shape[1]
    w = np.linalg.solve(X.T @ X / d + 0.3 * np.eye(d), X.T @ y / d)
    assert_allclose(got.mean, Xe @ w, rtol=1e-10)
