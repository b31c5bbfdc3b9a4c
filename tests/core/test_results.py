"""Sweeps over the fields of a model: axes of any kind, warnings summed up, failures kept."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from retemper._control import report_status
from retemper._results import Result, Status, sweep_model
from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning


@dataclasses.dataclass(frozen=True)
class Model:
    x: float
    name: str = "plain"
    vector: tuple[float, ...] = (1.0,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer(Result):
    value: float
    pair: np.ndarray


def solve(model: Model) -> Answer:
    if model.x == 99.0:
        raise NumericalError("the matrix is singular")
    status = Status.MAX_ITER if model.x > 1.0 else Status.CONVERGED
    if model.x < 0.0:
        warnings.warn("x below zero leaves the theory", ValidityWarning, stacklevel=2)
    report_status(status, 0.5, "the toy")
    value = model.x * sum(model.vector) * (2.0 if model.name == "double" else 1.0)
    return Answer(
        status=status,
        n_iter=1,
        residual=0.0,
        message="",
        value=value,
        pair=np.array([value, -value]),
    )


def test_axes_of_numbers_text_and_vectors():
    axes = {"x": [0.0, 1.0], "name": ["plain", "double"], "vector": [(1.0,), (1.0, 2.0)]}
    sweep = sweep_model(solve, Model(0.0), axes, ("value", "pair"))
    assert sweep["value"].shape == (2, 2, 2)
    assert sweep["pair"].shape == (2, 2, 2, 2)
    for i, x in enumerate(axes["x"]):
        for j, name in enumerate(axes["name"]):
            for k, vector in enumerate(axes["vector"]):
                assert sweep["value"][i, j, k] == solve(Model(x, name, vector)).value
    assert sweep["valid"].all()
    assert sweep.axes["name"].tolist() == ["plain", "double"]
    assert sweep.axis_values == {"vector": ((1.0,), (1.0, 2.0))}
    assert len(sweep.to_frame()) == 8


def test_warnings_are_summed_up_once():
    with pytest.warns(ConvergenceWarning, match=r"2 of 3 points .* first at x=2: the toy") as got:
        sweep = sweep_model(solve, Model(0.0), {"x": [1.0, 2.0, 3.0]}, ("value",))
    assert len(got) == 1
    assert sweep["valid"].tolist() == [True, False, False]
    assert sweep["status"].tolist() == ["converged", "max_iter", "max_iter"]
    with pytest.warns(ValidityWarning, match="1 of 1 points .* leaves the theory"):
        sweep = sweep_model(solve, Model(0.0), {"x": [-1.0]}, ("value",))
    assert not sweep["valid"].any()
    assert sweep["value"].tolist() == [-1.0]


def test_ignored_or_raised():
    axes = {"x": [1.0, 2.0]}
    sweep = sweep_model(solve, Model(0.0), axes, ("value",), on_failure="ignore")
    assert sweep["valid"].tolist() == [True, False]
    with pytest.raises(NumericalError, match="1 of 2 points"):
        sweep_model(solve, Model(0.0), axes, ("value",), on_failure="raise")


def test_a_point_without_result_is_named():
    with pytest.warns(ValidityWarning, match="singular"):
        sweep = sweep_model(solve, Model(0.0), {"x": [99.0, 1.0]}, ("value", "pair"))
    assert np.isnan(sweep["value"][0])
    assert np.isnan(sweep["pair"][0]).all()
    assert sweep["value"][1] == 1.0
    assert sweep.failures == ({"x": 99.0, "error": "the matrix is singular"},)


def test_progress():
    seen: list[tuple[int, int]] = []
    sweep_model(
        solve, Model(0.0), {"x": [0.0, 1.0]}, ("value",), progress=lambda i, n: seen.append((i, n))
    )
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("axes", "error", "match"),
    [
        ({}, ValueError, "axes must name a field"),
        ([1.0], TypeError, "axes must map fields"),
        ({"y": [1.0]}, ValueError, "axes names 'y', Model has the fields"),
        ({"x": []}, ValueError, r"axes\['x'\] must have at least one value"),
        ({"x": 1.0}, TypeError, r"axes\['x'\] must be a list of values, got 1.0"),
        ({"name": "ab"}, TypeError, r"axes\['name'\] must be a list of values, got 'ab'"),
    ],
)
def test_bad_axes(axes, error, match):
    with pytest.raises(error, match=match):
        sweep_model(solve, Model(0.0), axes, ("value",))
