"""Rows that are read in blocks: the numbers of the same rows in memory."""

import numpy as np
import pytest

from retemper.linear import FineTunedLinearRegression
from retemper.linear.ridge import streaming
from retemper.linear.ridge.path import RidgePath
from retemper.linear.ridge.streaming import StreamedPath, StreamedRows, block_moments

RNG = np.random.default_rng(0)
N, D = 700, 12
X = (RNG.normal(size=(N, D)) * np.geomspace(1.0, 1e3, D) + 5.0).astype(np.float32)
W = RNG.normal(size=D) / np.geomspace(1.0, 1e3, D)
Y = X @ W + RNG.normal(size=N)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(streaming, "ROWS", 128)


def mapped(tmp_path, rows):
    found = np.memmap(tmp_path / "rows", dtype=rows.dtype, mode="w+", shape=rows.shape)
    found[:] = rows
    return found


SETTINGS = {
    "scratch": {},
    "source": {"source": 0.9 * W},
    "rescaled": {"source": 2.0 * W, "source_scale": "auto"},
    "gcv, no intercept": {"ridge": "gcv", "fit_intercept": False},
    "metric": {"metric": X.var(axis=0).astype(float)},
    "function": {"source": lambda rows: np.asarray(rows) @ W},
    "as is": {"source": W, "ridge": np.inf},
}


def same(one, two):
    assert two.ridge_ == pytest.approx(one.ridge_, rel=1e-9)
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-8, atol=1e-10 * abs(W).max())
    for name in ("intercept_", "loo_", "gcv_", "df1_", "df2_", "source_scale_"):
        np.testing.assert_allclose(
            getattr(two, name), getattr(one, name), rtol=1e-8, atol=1e-8, err_msg=name
        )
    assert one.rank_ == two.rank_


@pytest.mark.parametrize("name", SETTINGS)
def test_memory_mapped_rows_give_the_same_numbers(tmp_path, name):
    one = FineTunedLinearRegression(**SETTINGS[name]).fit(X, Y)
    two = FineTunedLinearRegression(**SETTINGS[name]).fit(mapped(tmp_path, X), Y)
    same(one, two)
    np.testing.assert_allclose(two.predict(X[:9]), one.predict(X[:9]), rtol=1e-8)


@pytest.mark.parametrize("name", ["scratch", "function"])
def test_dask_arrays_give_the_same_numbers(name):
    dask = pytest.importorskip("dask.array")
    rows = dask.from_array(X, chunks=(150, 5))
    one = FineTunedLinearRegression(**SETTINGS[name]).fit(X, Y)
    same(one, FineTunedLinearRegression(**SETTINGS[name]).fit(rows, Y))


def test_two_outputs(tmp_path):
    labels = np.column_stack([Y, RNG.normal(size=N)])
    source = np.stack([W, 0 * W])
    one = FineTunedLinearRegression(source=source, source_scale="auto").fit(X, labels)
    two = FineTunedLinearRegression(source=source, source_scale="auto").fit(
        mapped(tmp_path, X), labels
    )
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-7, atol=1e-9)
    assert two.loo_ == pytest.approx(one.loo_, rel=1e-9)


def test_collinear_and_constant_columns(tmp_path):
    """The covariance does not resolve them; a triangular factor does, and constants are none."""
    rows = np.column_stack([X, X[:, :3].sum(axis=1), np.full(N, 1e8), X[:, 0] * (1 + 1e-7)])
    rows = rows.astype(np.float64)
    one = FineTunedLinearRegression().fit(rows, Y)
    two = FineTunedLinearRegression().fit(mapped(tmp_path, rows), Y)
    assert one.rank_ == two.rank_
    assert two.ridge_ == pytest.approx(one.ridge_, rel=1e-6)
    assert two.loo_ == pytest.approx(one.loo_, rel=1e-8)
    np.testing.assert_allclose(two.predict(rows[:50]), one.predict(rows[:50]), rtol=1e-6)


def test_a_row_that_alone_sees_a_direction(tmp_path):
    rows = X[:, :4].astype(float)
    rows = np.column_stack([rows, np.eye(N)[3]])
    path = RidgePath(rows.copy(), Y[:, None])
    other = StreamedPath(StreamedRows(mapped(tmp_path, rows)), Y[:, None])
    np.testing.assert_allclose(
        other.loo([1.0, 1e-3, 0.0]), path.loo([1.0, 1e-3, 0.0]), rtol=1e-6, atol=1e-8
    )


def test_moments_are_joined():
    parts = [block_moments(rows.astype(float)) for rows in np.array_split(X + 1e4, 7)]
    total = parts[0]
    for part in parts[1:]:
        total = total.joined(part)
    exact = (X + 1e4).astype(float)
    assert total.n_rows == N
    np.testing.assert_allclose(total.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(total.square / N, np.cov(exact.T, bias=True), rtol=1e-9, atol=1e-6)


def test_bad_input(tmp_path):
    rows = mapped(tmp_path, X)
    with pytest.raises(ValueError, match="sample_weight must be None for memory-mapped"):
        FineTunedLinearRegression().fit(rows, Y, sample_weight=np.ones(N))
    with pytest.raises(ValueError, match="metric must be None or the 12 positive entries"):
        FineTunedLinearRegression(metric="covariance").fit(rows, Y)
    with pytest.raises(ValueError, match="as many rows, got 700 and 699"):
        FineTunedLinearRegression().fit(rows, Y[:-1])
    rows[500, 3] = np.nan
    with pytest.raises(ValueError, match="X"):
        FineTunedLinearRegression().fit(rows, Y)
