"""The closed form of the flow on the population loss."""

import numpy as np
from numpy.testing import assert_allclose

from retemper.diagonal import learning_time, population_path


def test_population_path():
    assert_allclose(population_path(1.0, 1e-3, 2.0), 0.026589928848979, rtol=1e-10)
    assert_allclose(population_path(-0.5, 0.3, 1.0), -0.243181571971446, rtol=1e-10)
    assert_allclose(population_path([1e8, 1.0, -2.0], 1e-8, 1e3), [1e8, 1.0, -2.0], rtol=1e-12)
    assert population_path(0.0, 0.1, 5.0) == 0.0
    b, c, h = 0.8, 0.02, 1e-5
    t = np.linspace(0.1, 6, 20)
    speed = (population_path(b, c, t + h) - population_path(b, c, t - h)) / (2 * h)
    at = population_path(b, c, t)
    assert_allclose(speed, 2 * np.hypot(c, at) * (b - at), rtol=1e-6, atol=1e-9)
    half = learning_time(1.0, 1e-3)
    assert_allclose(half, 3.79995, atol=5e-6)
    assert_allclose(population_path(1.0, 1e-3, half), 0.5, rtol=1e-12)
