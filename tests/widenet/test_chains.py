"""Diagnostics of mixing on chains whose answer is known."""

import math

import numpy as np
import pytest

from retemper.widenet.chains import effective_sample_size, split_r_hat


def test_diagnostics_of_mixing():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(8, 500))
    assert split_r_hat(white) == pytest.approx(1.0, abs=0.01)
    assert effective_sample_size(white) == pytest.approx(4000, rel=0.1)
    slow = np.empty((8, 4000))
    slow[:, 0] = rng.normal(size=8)
    for t in range(1, 4000):
        slow[:, t] = 0.9 * slow[:, t - 1] + math.sqrt(1 - 0.81) * rng.normal(size=8)
    assert effective_sample_size(slow) == pytest.approx(32000 * (1 - 0.9) / (1 + 0.9), rel=0.25)
    assert split_r_hat(white + 3 * np.arange(8)[:, None]) > 3
    assert split_r_hat(white + np.linspace(-2, 2, 500)) > 1.2  # a common drift
