"""Rows that are read in blocks: the numbers of the same rows in memory, by moments."""

import numpy as np
import pytest

import retemper
from retemper.advisor import blocks
from retemper.advisor.inputs import read_task
from retemper.linear.ridge import streaming

N, D = 260, 9
RNG = np.random.default_rng(2)
X = (RNG.normal(size=(N, D)) * np.geomspace(0.1, 10.0, D) + 3.0).astype(np.float32)
W = RNG.normal(size=D)
Y = X @ W + 5.0 * RNG.normal(size=N)
SOURCES = {
    "near": W + 0.1,
    "pair": (2.0 * W, 1.0),
    "function": lambda rows: np.tanh(rows @ W / 30.0),
    "said": Y + 9.0 * RNG.normal(size=N),
}


@pytest.fixture
def small(monkeypatch):
    """Blocks of few rows, at any size."""
    monkeypatch.setattr(blocks, "MOST_MAPPED", 0)
    monkeypatch.setattr(streaming, "ROWS", 64)


def in_file(folder, rows=X):
    path = folder / "rows"
    mapped = np.memmap(path, rows.dtype, "w+", shape=rows.shape)
    mapped[:] = rows
    mapped.flush()
    return np.memmap(path, rows.dtype, "r", shape=rows.shape)


def same(one, two, tolerance=1e-8):
    for a, b in zip(one.candidates, two.candidates, strict=True):
        assert (a.name, a.use, a.verdict) == (b.name, b.use, b.verdict)
        for key in ("held_out_error", "predicted_error", "gain_low", "gain_high", "ridge", "loss"):
            np.testing.assert_allclose(getattr(a, key), getattr(b, key), rtol=tolerance)
    assert one.settings["weights"].keys() == two.settings["weights"].keys()
    for key, error in one.learning_curve.error.items():
        np.testing.assert_allclose(two.learning_curve.error[key], error, rtol=tolerance)
    expected = one.estimator_.predict(X)
    np.testing.assert_allclose(two.estimator_.predict(X), expected, rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("names", [("near",), tuple(SOURCES)])
def test_rows_in_a_file_give_the_numbers_of_memory(small, tmp_path, names):
    sources = {name: SOURCES[name] for name in names}
    memory = retemper.advise(X, Y, sources=sources)
    mapped = retemper.advise(in_file(tmp_path), Y, sources=sources)
    same(memory, mapped)
    assert "260 rows are read in blocks" in mapped["scratch"].flags
    assert mapped.headline == memory.headline


def test_dask_arrays_too(small):
    array = pytest.importorskip("dask.array")
    rows = array.from_array(X, chunks=(130, 9))
    sources = {"function": SOURCES["function"]}
    same(retemper.advise(X, Y, sources=sources), retemper.advise(rows, Y, sources=sources))


def test_folds_of_many_rows_are_taken_in_one_pass(small, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1100, 5))
    y = rows @ np.ones(5) + rng.normal(size=1100)
    passes = []
    plain = blocks.moments
    monkeypatch.setattr(blocks, "moments", lambda X: passes.append(X.shape[0]) or plain(X))
    mapped = retemper.advise(in_file(tmp_path, rows), y, sources={"s": np.ones(5)})
    memory = retemper.advise(rows, y, sources={"s": np.ones(5)})
    assert 880 not in passes[:2]  # no fold reads its rows to learn from for their moments
    assert mapped["s"].held_out_error == pytest.approx(memory["s"].held_out_error, rel=1e-10)


def test_source_rows_copies_and_leaks_are_seen_in_blocks(small, tmp_path):
    mapped = in_file(tmp_path)
    theirs = RNG.normal(size=(80, D)) * X.std(axis=0) + X.mean(axis=0)
    rows = np.vstack([theirs, X[:30]])
    labels = np.r_[theirs @ W, Y[:30]]
    fitted = np.linalg.lstsq(np.c_[X, np.ones(N)].astype(float), Y, rcond=None)[0]
    sources = {"data": (rows, labels), "leak": (fitted[:-1], fitted[-1])}
    found, expected = (
        read_task(x, Y, sources, "auto", in_blocks=True).sources for x in (mapped, X)
    )
    for a, b in zip(found, expected, strict=True):
        assert a.flags == b.flags
        assert a.is_suspect == b.is_suspect
    assert found[1].is_suspect
    assert "30 target rows are among its data" in "".join(found[0].flags)
    advice = retemper.advise(mapped, Y, sources=sources)
    assert "fits to source rows and target rows together are left out" in "".join(
        advice["scratch"].flags
    )
    twice = X.copy()
    twice[-20:] = twice[:20]
    (tmp_path / "twice").mkdir()
    pair = (in_file(tmp_path / "twice", twice), twice)
    both = [read_task(x, Y, {"s": W}, "auto", in_blocks=True) for x in pair]
    np.testing.assert_array_equal(both[0].sample.group, both[1].sample.group)
    assert "40 rows are equal" in both[0].sample.flags[0]


def test_what_needs_rows_reads_them_into_memory(small, tmp_path):
    mapped = in_file(tmp_path)
    classes = (np.median(Y) < Y).astype(int)
    groups = np.arange(N) // 2
    for more in ({"groups": groups}, {"sample_weight": np.ones(N)}, {"scoring": "r2"}):
        task = read_task(mapped, Y, {"s": W}, "auto", in_blocks=True, **more)
        assert not task.is_streamed
    assert not read_task(mapped, classes, {"s": W}, "classification", in_blocks=True).is_streamed
    assert not read_task(mapped, Y, {"s": W}, "auto").is_streamed


def test_bad_entries_of_a_file_are_named(small, tmp_path):
    rows = X.copy()
    rows[77, 3] = np.nan
    with pytest.raises(ValueError, match="X"):
        retemper.advise(in_file(tmp_path, rows), Y, sources={"s": W})
