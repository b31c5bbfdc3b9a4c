"""The variable-order stiff integrator, seen through the flow that uses it and known solutions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper._dispatch import core


def flow(lam, target, times, rtol):
    """Decoupled equations s' = y - 2 lam c s' for tiny u: linear decay at rates lam."""
    X = np.diag(np.sqrt(lam))
    c = np.full(lam.size, 1e12)  # so large that sinh is linear
    return core.diagonal.flow(
        X=X, y=target, scale=c / 1e12, centre=np.zeros(lam.size), times=times, rtol=rtol,
        atol=rtol * 1e-3, max_steps=100_000, depth=2, n_threads=1, progress=None,
    )  # fmt: skip


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_known_solution_over_many_scales(rtol):
    """u = 2 x s obeys u' = 2 x (y - x sinh u): the closed form of one feature."""
    from retemper.diagonal import population_path

    x = np.sqrt(np.array([1e-2, 1.0, 1e2]))
    target, times = np.array([0.5, -1.0, 2.0]), np.geomspace(1e-4, 1e4, 60)
    found = flow(x**2, x * target, times, rtol)
    assert found["status"] == "converged"
    u = 2 * found["dual"] * x
    for d in range(3):
        wanted = population_path(target[d], 1.0, x[d] ** 2 * times)
        assert_allclose(np.sinh(u[:, d]), wanted, rtol=3e2 * rtol, atol=30 * rtol)


def test_tighter_tolerances_take_more_steps_and_are_closer():
    lam, target, times = np.array([0.3, 30.0]), np.array([1.0, 2.0]), np.array([0.5, 5.0])
    exact = flow(lam, target, times, 1e-11)["dual"]
    gaps, steps = [], []
    for rtol in (1e-3, 1e-5, 1e-7):
        found = flow(lam, target, times, rtol)
        gaps.append(np.abs(found["dual"] - exact).max())
        steps.append(found["n_steps"])
    assert gaps[0] > 10 * gaps[1] > 100 * gaps[2]
    assert steps[0] < steps[1] < steps[2]
    assert gaps[2] < 1e-6
