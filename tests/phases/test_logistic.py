"""The logistic flow: limits, then rows 14 to 19 of the theory page, section 9."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.exceptions import NumericalError, ValidityWarning
from retemper.phases import (
    LogisticModel,
    solve,
)

from .problems import at, logistic


def test_weights_of_the_logistic_flow_end_at_the_bayes_direction():
    model = logistic(5, 1.0, 0.5, 1.0, 0.1)
    end = 2 * np.linalg.norm(model.mean / model.variances)
    assert_allclose(solve(at(1e6, model)).norm, end, 1e-6)


def test_logistic_fuv_of_small_weights_is_that_of_the_logit():
    model = dataclasses.replace(logistic(6, 1.0, 0.5, 1.0, 0.1), w0=np.full(6, 1e-7))
    found = solve(at(0.0, model))
    assert_allclose(found.fuv_logit, found.fuv_prob, rtol=1e-10)
    nothing = solve(at(0.0, model, w0=np.zeros(6)))
    assert nothing.fuv_logit[0] == nothing.fuv_prob[0] == 1.0


def test_logistic_descent_tends_to_the_flow():
    model = logistic(6, 1.0, 0.5, 1.0, 0.1)
    flow = solve(at(2.0, model)).fuv_prob[0]
    gaps = [solve(at(2.0, model, step_size=h)).fuv_prob[0] - flow for h in (0.1, 0.05)]
    assert_allclose(gaps[0] / gaps[1], 2.0, rtol=0.1)


def test_separable_classes_stop_with_a_status():
    model = LogisticModel([1e-13, 1e-13], [1e-4, 1e-4], [0.0, 0.1], [1.0, 1e12])
    with pytest.warns(ValidityWarning, match="outgrew"):
        found = solve(model)
    assert found.status == solve(model, on_failure="ignore").status == "invalid"
    with pytest.raises(NumericalError, match="outgrew"):
        solve(model, on_failure="raise")
    assert np.isfinite(found.fuv_logit[0])
    assert np.isnan(found.fuv_logit[1])


def test_rows_14_to_19():
    found = solve(at([0, 0.5, 4, 64, 4096], logistic(20, 1, 0.5, 1.2, 0.2)))
    logit = [0.893676063, 0.631550416, 0.620861397, 0.646202357, 0.673393151]
    prob = [0.893672151, 0.631654557, 0.633537428, 0.687516847, 0.710106616]
    assert_allclose(found.fuv_logit, logit, atol=1e-6)
    assert_allclose(found.fuv_prob, prob, atol=1e-6)
    assert_allclose(found.norm[[2, 4]], [1.26875169, 11.5879547], rtol=1e-6)
    found = solve(at(100, logistic(5, 0.3, 1.5, 4, 0.01)))
    assert_allclose(found.fuv_logit, 0.143586580, atol=1e-6)
    assert_allclose(found.fuv_prob, 0.189759417, atol=1e-6)
