"""Sums over activations, in one batch and in many."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.exceptions import NotFittedError
from retemper.phases import (
    FoldMoments,
    reconstruction_score,
)
from retemper.phases.instrument.targets import TargetSet

from .digits import X, hidden


def test_streaming_equals_one_batch_and_threads_change_no_bit():
    H, T = hidden(300, 150), X[:300]
    fold = np.arange(300) % 5
    whole = FoldMoments(150, 64, n_jobs=1).partial_fit(H, T)
    parts = FoldMoments(150, 64)
    for i in range(0, 300, 47):
        parts.partial_fit(H[i : i + 47], T[i : i + 47])
    groups = TargetSet(T, None, None, None, 0).groups
    a, b = (m.spectrum(2, groups, with_basis=False) for m in (whole, parts))
    assert_allclose(a.e, b.e, atol=1e-10)
    assert_allclose(a.groups[0].tt, b.groups[0].tt, rtol=1e-12)
    for n_jobs in (2, 3):
        many = FoldMoments(150, 64, n_jobs=n_jobs).partial_fit(H, T, fold)
        for name in ("hh", "ht", "h", "t", "tt", "count"):
            assert_array_equal(getattr(many.sums, name), getattr(whole.sums, name))
    rng = np.random.default_rng(0)
    H, T = rng.normal(size=(700, 300)), rng.normal(size=(700, 600))  # enough work for threads
    one = reconstruction_score(H, T, n_jobs=1)
    for n_jobs in (2, 3):
        many = reconstruction_score(H, T, n_jobs=n_jobs)
        assert_array_equal(many.fuv_path, one.fuv_path)
        assert_array_equal(many.fuv_folds, one.fuv_folds)


def test_moments_are_what_they_say():
    H, T = hidden(120, 20), X[:120, :7]
    m = FoldMoments(20, 7, 3).partial_fit(H, T)
    for f in range(3):
        h, t = H[f::3] - m.shift_h, T[f::3] - m.shift_t
        assert_allclose(np.tril(m.hh[f]), np.tril(h.T @ h), atol=1e-12)
        assert_allclose(m.ht[f], h.T @ t, atol=1e-12)
        assert_allclose(m.sums.tt[f], (t**2).sum(axis=0), atol=1e-12)


def test_sums_are_kept_by_a_pickle_and_cannot_be_written_to():
    H, T = hidden(120, 20), X[:120, :7]
    whole = FoldMoments(20, 7, 3).partial_fit(H, T)
    part = FoldMoments(20, 7, 3).partial_fit(H[:60], T[:60])
    again = pickle.loads(pickle.dumps(part)).partial_fit(H[60:], T[60:])
    part.partial_fit(H[60:], T[60:])
    assert_array_equal(again.hh, part.hh)
    assert again.count.tolist() == whole.count.tolist() == [40, 40, 40]
    kept = part.hh
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0, 0] = 1.0
    del part
    assert_array_equal(kept, again.hh)  # a view keeps its sums alive
    with pytest.raises(NotFittedError, match="no batch"):
        FoldMoments(3, 2).hh  # noqa: B018


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FoldMoments(3, 2).partial_fit(np.ones((4, 2)), np.ones((4, 2))), "H must have"),
        (lambda: FoldMoments(2, 2).partial_fit(np.ones((4, 2)), np.ones((4, 2)), [9] * 4), "lie"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
