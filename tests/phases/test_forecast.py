"""The forecast from data against the curves it averages."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.phases import (
    phase_forecast,
)


def test_forecast_is_the_average_of_exact_curves():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)) * [3, 2, 1, 1, 0.5, 0.2]
    y = (X[:, 2] + 0.3 * X[:, 4] > 0).astype(int)
    found = phase_forecast(X, y, n_init=3, random_state=5)
    assert found.fuv_early <= found.fuv_late
    again = phase_forecast(X, y, n_init=3, random_state=5, times=found.times)
    np.testing.assert_array_equal(found.fuv, again.fuv)
    assert found.fuv_star == found.fuv.min()
    quiet = phase_forecast(X, y, init_scale=0.0, n_init=2)
    assert_allclose(quiet.fuv[0], quiet.fuv_early, atol=1e-2)
    assert_allclose(quiet.fuv[-1], quiet.fuv_late, atol=1e-3)
    assert (np.diff(quiet.fuv) > -1e-9).all()


def test_forecast_of_a_task_that_late_training_forgets():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2000, 2))
    y = (z[:, 0] > 0).astype(int)
    strong = 3.0 * y + z[:, 1]  # strong but noisy; the weak feature is clean
    X = np.column_stack([strong, 0.3 * z[:, 0]])
    found = phase_forecast(X, y, task=strong, init_scale=1e-4, times=np.geomspace(0.1, 1e4, 60))
    assert found.task_r2[0] > found.task_r2[-1] + 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phase_forecast(np.eye(4), [1, 1, 1, 1]), "at least two classes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
