"""The tridiagonal basis of a kernel against dense linear algebra."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.exceptions import NumericalError
from retemper.widenet.tridiagonal import Shifted, Spectrum, may_be_singular


def problem(n, with_mean, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n + 2))
    mean = rng.uniform(0.2, 1.0, n) if with_mean else np.zeros(n)
    return root @ root.T / n, mean


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_equals_dense_algebra(n, with_mean):
    K, mean = problem(n, with_mean)
    spectrum = Spectrum(K.copy(), mean)
    assert_allclose(spectrum.values, np.linalg.eigvalsh(K), rtol=1e-10)
    assert spectrum.rank == n
    A = 0.3 * np.eye(n) + 0.7 * K + 1.5 * np.outer(mean, mean)
    shifted = Shifted(spectrum, 0.3, 0.7, 1.5)
    block = np.random.default_rng(1).normal(size=(n, 3))
    rotated = spectrum.rotate(block)
    assert_allclose(spectrum.rotate(rotated, back=True), block, rtol=1e-10)
    assert_allclose(rotated.T @ shifted.solve(rotated), block.T @ np.linalg.solve(A, block))
    assert shifted.log_det == pytest.approx(np.linalg.slogdet(A)[1], rel=1e-10)
    assert shifted.trace() == pytest.approx(np.trace(np.linalg.solve(A, K)), rel=1e-10)
    v = rotated[:, 0]
    assert_allclose(v @ spectrum.times(v), block[:, 0] @ K @ block[:, 0], rtol=1e-10)


def test_a_singular_kernel_is_found_where_the_temperature_does_not_help():
    K, mean = problem(6, with_mean=False)
    K[5], K[:, 5] = K[4], K[:, 4]
    K[5, 5] = K[4, 4]
    spectrum = Spectrum(K.copy(), mean)
    assert spectrum.rank == 5
    assert may_be_singular(K, 0.0, 1.0)
    assert not may_be_singular(K, 1e-3, 1.0)
    spectrum.check_temperature(1e-3, 1.0, "temperature")
    with pytest.raises(ValueError, match=r"temperature must be at least .* the kernel is singular"):
        spectrum.check_temperature(0.0, 1.0, "temperature")
    with pytest.raises(NumericalError, match="raise it"):
        Shifted(spectrum, -1.0, 1.0, 1.0)
