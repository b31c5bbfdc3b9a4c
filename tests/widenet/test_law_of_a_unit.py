"""`by_law` of `bench/agreement_widenet.py`: two layers by the law of a unit, in what is known."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr

from retemper.widenet import nngp_kernel

BENCH = Path(__file__).resolve().parents[2] / "bench"
UNIT = {"relu": lambda u: np.maximum(u, 0.0), "gelu": lambda u: u * ndtr(u)}


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("agreement_widenet")
    finally:
        sys.path.remove(str(BENCH))


def data(bench, level):
    (X, y), _, (X_test, y_test) = bench.draw(32, 0, 16, 60)
    return (X, y + level), (X_test, y_test + level)


def second_kernel(activation, Z):
    """Kernel of two layers of infinite width, by quadrature over a radius and an angle."""
    K = nngp_kernel(Z, activation=activation)
    root = np.sqrt(np.diagonal(K))
    angle = np.arccos(np.clip(K / np.outer(root, root), -1.0, 1.0))
    r, weight = np.polynomial.legendre.leggauss(40)
    r, weight = 4.5 * (r + 1), 4.5 * weight * 4.5 * (r + 1) * np.exp(-((4.5 * (r + 1)) ** 2) / 2)
    turn = (np.arange(400) + 0.5) * 2 * np.pi / 400
    out, unit = np.zeros_like(K), UNIT[activation]
    for t in turn:
        for radius, w in zip(r, weight, strict=True):
            one = unit(root * radius * np.cos(t))[:, None]
            two = unit(root[None, :] * radius * np.cos(t - angle))
            out += w / 400 * one * two
    return out


@pytest.mark.parametrize("level", [0.0, 2.0])
@pytest.mark.parametrize("activation", list(UNIT))
def test_of_infinite_width_it_is_the_prior(bench, activation, level):
    target, test = data(bench, level)
    square, mean, thermal, error = bench.by_law(activation, target, test, 1e8)
    assert_allclose([square, mean], [1.0, 0.0], atol=1e-4)
    K = second_kernel(activation, np.vstack([target[0], test[0]]))
    assert_allclose((thermal, error), bench.predicted(K, target[1], test[1]), rtol=5e-3)


@pytest.mark.parametrize("activation", list(UNIT))
def test_symmetries(bench, activation):
    target, test = data(bench, 1.0)
    wanted = bench.by_law(activation, target, test, 32)
    turned = bench.by_law(activation, (target[0], -target[1]), (test[0], -test[1]), 32)
    assert_allclose(turned, wanted, rtol=1e-3)
    order = np.random.default_rng(0).permutation(16)
    mixed = bench.by_law(activation, (target[0][order], target[1][order]), test, 32)
    assert_allclose(mixed, wanted, rtol=1e-3)
    assert wanted[1] > 1e-3  # labels off their mean align the read-out
