"""Units are taken off and put back."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.widenet.scaling import Scaling


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 4)) * [1e-3, 1.0, 7.0, 1e5] + [0.0, -3.0, 2.0, 1e4]


def test_columns_have_unit_variance_and_come_back(columns):
    scaling = Scaling.of(columns, use=True)
    scaled = scaling.apply(columns)
    assert_allclose(scaled.mean(0), 0.0, atol=1e-12)
    assert_allclose(scaled.std(0), 1.0, rtol=1e-12)
    assert scaled.flags.c_contiguous
    assert_allclose(scaling.undo(scaled), columns, rtol=1e-12)


def test_constant_columns_become_zero(columns):
    columns[:, 1] = 0.1 + 0.2  # the mean of it is rounded
    scaling = Scaling.of(columns, use=True)
    assert_allclose(scaling.apply(columns)[:, 1], 0.0, atol=1e-15)
    assert scaling.scale[1] == 1.0


def test_inputs_have_a_mean_square_of_one(columns):
    columns[:, 1] = 5.0
    scaled = Scaling.of_inputs(columns, use=True).apply(columns)
    assert np.square(scaled).mean() == pytest.approx(1.0, rel=1e-12)
    nothing = np.full((5, 2), 3.0)
    assert_array_equal(Scaling.of_inputs(nothing, use=True).apply(nothing), 0.0)


def test_the_identity_where_nothing_is_to_be_scaled(columns):
    for scaling in (Scaling.of(columns, use=False), Scaling.of_inputs(columns, use=False)):
        assert_array_equal(scaling.apply(columns), columns)
        assert_array_equal(scaling.undo(columns), columns)
