"""Fits in the units of the user equal the theory, and choose as they say."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.widenet import WideNetModel, solve
from retemper.widenet.fits import advise_width, fit_alone, fit_transfer
from retemper.widenet.scaling import TaskData

from .recipe import SMALL, draw

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
GRID = [0.0, 1.0, 10.0, np.inf]


def task(pair):
    return TaskData(pair[0], pair[1][:, None], is_flat=True)


def test_without_scaling_a_fit_is_the_theory():
    target, source, (Xe, ye) = draw(**SMALL)
    model = WideNetModel(40, "relu")
    fit = fit_transfer(model, task(target), task(source), gamma=1.0, gammas=GRID, standardize=False)
    want = solve(dataclasses.replace(model, gamma=1.0), target, source, (Xe, ye))
    assert fit.gamma == 1.0
    assert fit.network.loo == pytest.approx(want.loo, rel=1e-9)
    assert fit.network.log_evidence == pytest.approx(want.log_evidence, rel=1e-9)
    assert_allclose(fit.network.predict_mean(Xe)[:, 0], want.mean, rtol=1e-9)
    assert fit.network.predict(Xe).thermal.mean() == pytest.approx(want.thermal, rel=1e-9)
    assert fit.network.noise_var == pytest.approx(0.05)


def test_units_change_losses_and_not_choices():
    target, source, _ = draw(**SMALL)
    model = WideNetModel(40)
    one = fit_transfer(
        model, task(target), task(source), gamma="loo", gammas=GRID, standardize=True
    )
    far = fit_transfer(
        model,
        task((target[0], 10 * target[1] + 3)),
        task(source),
        gamma="loo",
        gammas=GRID,
        standardize=True,
    )
    assert far.gamma == one.gamma
    assert far.network.loo == pytest.approx(100 * one.network.loo, rel=1e-9)
    assert far.verdict.relative_gain == pytest.approx(one.verdict.relative_gain, rel=1e-9)


def test_rules_of_choice_and_what_there_is_to_say():
    target, source, _ = draw(**SMALL)
    model = WideNetModel(40)
    for rule, column, best in (("loo", "loo", np.argmin), ("evidence", "log_evidence", np.argmax)):
        fit = fit_transfer(
            model, task(target), task(source), gamma=rule, gammas=GRID, standardize=True
        )
        assert fit.gamma == GRID[best(fit.path[column])]
    alone = fit_transfer(model, task(target), None, gamma="loo", gammas=GRID, standardize=True)
    assert alone.gamma == 0.0
    assert alone.verdict is None
    with pytest.raises(ValueError, match="needs a source"):
        advise_width(alone, [50.0])
    level = fit_alone(model, task((target[0], 0 * target[1])), standardize=True)
    assert level.said[0] == "y is constant: the prediction is the prior mean"
