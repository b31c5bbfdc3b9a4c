"""Normal variates: the inverse distribution function of numpy's own words, at any address."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retemper._dispatch import core

stream_normal = core.numerics.stream_normal
KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
words = st.integers(0, 2**64 - 1)


def numpy_words(key, purpose, replica, sweep, n):
    """The same words by numpy: it steps before it draws, hence the counter one below."""
    counter = (sweep << 64) + (replica << 128) + (purpose << 192)
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=(counter - 1) % 2**256)
    return generator.random_raw(n)


@given(st.tuples(words, words), words, words, words)
def test_is_the_inverse_distribution_of_numpys_words(key, purpose, replica, sweep):
    raw = numpy_words(key, purpose, replica, sweep, 300)
    p = ((raw >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52
    want = np.where(p < 0.5, scipy.special.ndtri(p), -scipy.special.ndtri(1 - p))
    got = stream_normal(key, purpose, replica, sweep, 0, 300)
    assert_allclose(got, want, rtol=2e-14, atol=1e-16)


@given(st.integers(0, 2**40), st.integers(0, 1500), st.integers(0, 700))
def test_a_slice_is_a_slice(first, at, n):
    whole = stream_normal(KEY, 1, 2, 3, first, at + n)
    assert_array_equal(stream_normal(KEY, 1, 2, 3, first + at, n), whole[at:])


def test_addresses_are_distinct():
    base = stream_normal(KEY, 1, 2, 3, 0, 50)
    others = [
        stream_normal((KEY[0] ^ 1, KEY[1]), 1, 2, 3, 0, 50),
        stream_normal((KEY[0], KEY[1] ^ 1), 1, 2, 3, 0, 50),
        stream_normal(KEY, 2, 2, 3, 0, 50),
        stream_normal(KEY, 1, 3, 3, 0, 50),
        stream_normal(KEY, 1, 2, 4, 0, 50),
        stream_normal(KEY, 1, 2, 3, 50, 50),
    ]
    assert len(np.unique(np.concatenate([base, *others]))) == 350


def test_law():
    z = stream_normal(KEY, 0, 0, 0, 0, 200_000)
    assert scipy.stats.kstest(z, "norm").pvalue > 1e-3
    assert np.abs(z).max() < 8.21
    n = z.size
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((z**power).mean() - mean) < 4 * np.sqrt(variance / n)
    lagged = (z[1:] * z[:-1]).mean()
    assert abs(lagged) < 4 / np.sqrt(n)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        stream_normal(KEY, 0, 0, 0, 0, -1)
