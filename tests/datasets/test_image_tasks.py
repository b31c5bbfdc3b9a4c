"""Digits, plain and coloured."""

import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.datasets import coloured_digits, noisy_digits


def test_digits_tasks():
    task = noisy_digits(500, 300, random_state=4)
    assert_allclose(task.X.mean(axis=0), 0.0, atol=1e-12)
    assert_allclose(task.X.std(), 1.0)
    assert_array_equal(task.tasks["parity"], task.tasks["digit"] % 2)
    assert task.groups_eval.max() < 600
    again = noisy_digits(500, 300, random_state=4)
    assert_array_equal(task.X_eval, again.X_eval)


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
def test_colour_goes_with_the_digit(q):
    task = coloured_digits(4000, 100, correlation=q)
    follows = (task.tasks["colour"] == task.tasks["digit"] % 3).mean()
    assert abs(follows - (q + (1 - q) / 3)) < 0.03
    power = task.X.reshape(-1, 3, 100).mean(axis=2)
    assert (power.argmax(axis=1) == task.tasks["colour"]).mean() > 0.8
