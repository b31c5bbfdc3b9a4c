"""The recommendation: its errors, its forecast, and what it refuses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.diagonal import DiagonalNetworkRegressor, recommend


def task(n=60, d=200, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    source = np.where(np.arange(d) < d // 10, 1.0, 0.0)
    target = np.zeros(d)
    target[: d // 20] = 2.0 * rng.normal(size=d // 20)
    X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d) + 1.0
    return X, X @ target + noise * rng.normal(size=n) + 3.0, source, target


def test_recommendation():
    X, y, source, target = task()
    found = recommend(X, y, source, init_scales=(1e-3,), readout_scales=(0.0, 0.3, 3.0))
    assert found.loo == found.table["loo"].min()
    assert found.loo < found.scratch_loo < found.null_loo
    best = DiagonalNetworkRegressor(**({"source": source} | found.best)).fit(X, y)
    quick = recommend(
        X, y, source, init_scales=(1e-3,), readout_scales=(0.0,), method="first-order"
    )
    again = DiagonalNetworkRegressor(**({"source": source} | quick.best)).fit(X, y)
    assert_allclose(again.loo_, quick.loo, rtol=1e-6)
    lazy = DiagonalNetworkRegressor(1e-3, 1.0, 3.0, source=source).fit(X, y)
    error = [np.sum((m.coef_ - target) ** 2) for m in (best, lazy)]
    assert error[0] < 0.3 * error[1]
    assert found.gain_per_sample > 0
    assert 0 <= found.noise < 1.5
    assert_allclose(sum(p.weight for p in found.components), 1.0)
    shared = [p for p in found.components if p.group == "source"]
    active = sum(p.weight for p in shared if p.target_var > 0.1) / sum(p.weight for p in shared)
    assert 0.25 < active < 0.85  # half of the source's features are used
    with pytest.raises(ValueError, match="fewer rows"):
        recommend(X[:, :30], y, source[:30])
    with pytest.raises(ValueError, match="source"):
        recommend(X, y, None)


def test_recommendation_refuses_what_it_could_not_judge(monkeypatch):
    X, y, source, _ = task()
    with pytest.raises(ValueError, match="method must be one of"):
        recommend(X, y, source, method="none")
    with pytest.raises(ValueError, match="must not be empty"):
        recommend(X, y, source, init_scales=())
    monkeypatch.setattr("retemper.diagonal._recommend.DIRECT_MAX", 10)
    with pytest.raises(ValueError, match="at most 10 rows, got 60"):
        recommend(X, y, source)
