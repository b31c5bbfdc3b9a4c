"""The order parameter of one task is the global minimum of its action."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from retemper.widenet import WideNetModel, solve
from retemper.widenet.single_task import SingleTask
from retemper.widenet.tridiagonal import Spectrum

from . import naive
from .recipe import SMALL, draw

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
ACTIVATIONS = ("erf", "relu", "gelu", "linear")


@pytest.mark.parametrize("level", [0.0, 5.0])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_source_is_the_minimum_of_its_action(act, level):
    """Over Q, where it is largest over the part that is free of the mean read-out."""
    target, (X, y), _ = draw(**SMALL, scale=3.0)
    source = (X, y + level)
    m = WideNetModel(12, act, 0.7, 1.3, 0.04, 0.08, 1.0)
    got = solve(m, target, source)

    def largest(x):
        Q = np.exp(x)
        free = minimize_scalar(
            lambda z: -naive.source_action(m, source, Q, Q * np.exp(z)),
            bounds=(-4, 1),
            options={"xatol": 1e-10},
        )
        return -free.fun

    best = minimize_scalar(largest, bounds=(-4, 4), options={"xatol": 1e-10})
    assert got.Q_s == pytest.approx(np.exp(best.x), rel=1e-5)
    evidence = -0.5 * m.width * (best.fun - 1) - 0.5 * len(source[1]) * np.log(2 * np.pi)
    assert got.log_evidence_source == pytest.approx(evidence, rel=1e-10)


def test_single_task_takes_the_lowest_of_several_minima():
    """Strong modes without labels want a small Q, one weak mode with labels a large one."""
    s = np.r_[np.full(150, 10.0), 0.01]
    spectrum = Spectrum(np.diag(s), np.zeros(s.size))
    chosen = []
    for level in (2.7, 6.0):
        task = SingleTask(spectrum, np.where(s > 1, 0.0, level), 50.0, 0.01, 1.0)
        assert task.n_minima == 2
        x = np.linspace(-9, 9, 801)
        assert task.action(task.Q) <= min(task.action(q) for q in np.exp(x)) + 1e-9
        assert task.residual < 1e-10
        chosen.append(task.Q)
    assert chosen[0] < 0.1
    assert chosen[1] > 1.0
