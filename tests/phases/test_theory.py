"""`solve` and `curve` over both models."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.exceptions import NumericalError, ValidityWarning
from retemper.phases import (
    LogisticModel,
    curve,
    solve,
)

from .problems import FM, at


def test_curve_is_solve_on_a_grid():
    sweep = curve(at([0.0, 1.0]), {"init_scale": [0.01, 0.1], "n_noise": [10, 50]})
    want = solve(at(1.0, init_scale=0.1, n_noise=10)).fuv[0]
    assert sweep["fuv"].shape == sweep["valid"].shape == (2, 2, 2)
    assert list(sweep.axes) == ["init_scale", "n_noise", "times"]
    assert sweep["fuv"][1, 0, 1] == want
    assert sweep.to_frame().shape[0] == 8


def test_curve_sweeps_vectors_and_times():
    groups = curve(at([0.0, 1.0]), {"signal": [[3.0, 1.0], [1.0, 3.0]]})
    assert groups["fuv"][1, 1] == solve(at(1.0, signal=[1.0, 3.0])).fuv[0]
    assert groups.axis_values["signal"] == ([3.0, 1.0], [1.0, 3.0])
    alone = curve(FM, {"times": [1.0, 30.0]})
    assert_allclose(alone["fuv"], solve(at([1.0, 30.0])).fuv)
    pairs = curve(FM, {"times": [[0.0, 1.0], [0.0, 30.0]]})
    assert_allclose(pairs["fuv"][:, 1], alone["fuv"])


def test_curve_sums_up_what_is_not_valid():
    model = LogisticModel([1e-13, 1e-13], [1e-4, 1e-4], [0.0, 0.1], [1.0, 1e12])
    axes = {"variances": [[1e-13, 1e-13], [1.0, 1.0]]}
    with pytest.warns(ValidityWarning, match="1 of 2 points") as caught:
        sweep = curve(model, axes, quantities=["norm"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert set(sweep.values) == {"norm", "status", "valid"}
    assert sweep["valid"].tolist() == [[False, False], [True, True]]
    assert np.isfinite(sweep["norm"]).tolist() == [[True, False], [True, True]]
    with pytest.raises(NumericalError):
        curve(model, axes, on_failure="raise")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve(at(10.0, step_size=2.0)), "step_size must lie below"),
        (lambda: solve(FM, task=(1, 2, 3)), "task must have shape"),
        (lambda: solve(FM, n_init=1), "n_init"),
        (lambda: solve(FM, on_failure="shout"), "on_failure"),
        (lambda: curve(FM, {"speed": [1, 2]}), "'speed'"),
        (lambda: curve(FM, {"noise_sd": [1, 2]}, quantities=["norm"]), "quantities"),
        (lambda: solve(LogisticModel([1.0], [1.0], [1.0]), task=[1]), "belong to"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
