"""Counter-based streams equal numpy's generator, word for word."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from retemper._dispatch import core

KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
words = st.integers(0, 2**64 - 1)


def numpy_block(counter, key, n=4):
    flat = sum(c << (64 * k) for k, c in enumerate(counter))
    return np.random.Philox(key=np.array(key, np.uint64), counter=(flat - 1) % 2**256).random_raw(n)


@given(st.tuples(words, words), words, words, words)
def test_stream_is_numpys_run_of_words(key, purpose, replica, sweep):
    got = core.core.stream_words(key, purpose, replica, sweep, 0, 41)
    assert_array_equal(got, numpy_block((0, sweep, replica, purpose), key, 41))


@given(st.integers(0, 2**50), st.integers(0, 40), st.integers(0, 600))
def test_any_slice_of_a_stream_stands_alone(first, at, n):
    whole = core.core.stream_words(KEY, 1, 2, 3, first, at + n)
    assert_array_equal(core.core.stream_words(KEY, 1, 2, 3, first + at, n), whole[at:])


def test_uniforms_are_numpys():
    got = core.core.stream_uniform(KEY, 7, 6, 5, 0, 1001)
    raw = numpy_block((0, 5, 6, 7), KEY, 1001)
    assert_array_equal(got, (raw >> np.uint64(11)) * 2.0**-53)
    generator = np.random.Generator(
        np.random.Philox(
            key=np.array(KEY, np.uint64), counter=(5 << 64) + (6 << 128) + (7 << 192) - 1
        )
    )
    assert_array_equal(got, generator.random(1001))
    assert_array_equal(core.core.stream_uniform(KEY, 7, 6, 5, 13, 700), got[13:713])
