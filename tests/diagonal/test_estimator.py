"""The regressor, the recommendation and the behavioural probe."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score

from retemper.diagonal import (
    DiagonalModel,
    DiagonalNetworkRegressor,
    finetune_scale,
    l_order,
    minimum_penalty,
    pretraining_dependence,
    regime_weights,
    solve,
)
from retemper.exceptions import ValidityWarning


def task(n=60, d=200, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    source = np.where(np.arange(d) < d // 10, 1.0, 0.0)
    target = np.zeros(d)
    target[: d // 20] = 2.0 * rng.normal(size=d // 20)
    X = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d) + 1.0
    return X, X @ target + noise * rng.normal(size=n) + 3.0, source, target


def test_interpolates_in_the_units_of_the_data():
    X, y, source, _ = task()
    model = DiagonalNetworkRegressor(source=source).fit(X, y)
    assert_allclose(model.predict(X), y, atol=1e-9)
    assert model.residual_ < 1e-11
    assert model.duality_gap_ < 1e-9
    off = DiagonalNetworkRegressor(source=source).fit(X * 7.0 - 2.0, y)
    rescaled = DiagonalNetworkRegressor(source=source / 7.0).fit(X * 7.0 - 2.0, y)
    assert_allclose(rescaled.coef_ * 7.0, model.coef_, rtol=1e-6, atol=1e-9)
    assert not np.allclose(off.coef_ * 7.0, model.coef_, rtol=1e-3)


def test_agrees_with_the_exact_solution_of_the_same_problem():
    X, y, source, _ = task()
    model = DiagonalNetworkRegressor(
        0.05, -0.5, 0.2, source=source, standardize=False, fit_intercept=False, mu=0.1
    ).fit(X, y)
    scale = finetune_scale(source, 0.05, -0.5, 0.2)
    exact = minimum_penalty(X, y, scale, mu=0.1, leave_one_out=True)
    assert_allclose(model.coef_, exact.coef, rtol=1e-9)
    assert_allclose(model.loo_residual_, exact.loo_residual, rtol=1e-9)
    assert_allclose(model.c_ft_, scale)
    assert_allclose(model.l_order_, l_order(model.coef_, scale))
    start = (source, 0.05, -0.5, 0.2)
    assert_allclose(model.pd_, pretraining_dependence(model.coef_, *start), atol=1e-12)
    assert_allclose(model.regime_weights_, regime_weights(model.coef_, *start), atol=1e-12)


@pytest.mark.parametrize("mu", [0.0, 0.05])
def test_error_estimates_do_not_depend_on_units(mu):
    X, y, source, _ = task()
    one = DiagonalNetworkRegressor(0.01, source=source, standardize=False, mu=mu).fit(X, y)
    # half the coefficients on twice the features: X beta, mu sum q and the dual keep their shape
    two = DiagonalNetworkRegressor(
        0.005, source=source / 2, standardize=False, mu=2 * mu
    ).fit(2 * X, y)  # fmt: skip
    assert_allclose(2 * two.coef_, one.coef_, rtol=1e-6, atol=1e-9)
    assert_allclose([two.gcv_, two.loo_], [one.gcv_, one.loo_], rtol=1e-6)
    assert 0.2 < one.gcv_ / one.loo_ < 5


def test_leave_one_out_forecasts_the_theory():
    """On the theory's own data the two estimates straddle the predicted test error."""
    rng = np.random.default_rng(4)
    d, n = 800, 240
    source = np.where(np.arange(d) < 80, 1.0, 0.0)
    target = np.where(np.arange(d) % 2 == 0, source, 0.0) * rng.normal(size=d) * math.sqrt(20)
    X = rng.normal(size=(n, d)) / math.sqrt(d)
    y = X @ target + 0.4 * rng.normal(size=n)
    model = DiagonalNetworkRegressor(
        balance=-0.9, source=source, standardize=False, fit_intercept=False
    ).fit(X, y)
    theory = solve(DiagonalModel(n / d, rho_ft=0.05, omega=1.0, balance=-0.9, noise=0.4))
    assert_allclose(model.loo_, theory.test_error, rtol=0.35)
    assert_allclose(model.gcv_, theory.test_error, rtol=0.35)
    assert_allclose(model.effective_mu_, theory.effective_mu, rtol=0.25)


def test_sources_of_every_kind():
    X, y, source, _ = task()
    rng = np.random.default_rng(8)
    X_pt = rng.normal(size=(400, 200))
    y_pt = X_pt @ source
    want = DiagonalNetworkRegressor(source=source).fit(X, y).coef_
    linear = LinearRegression().fit(X_pt, y_pt)
    assert_allclose(DiagonalNetworkRegressor(source=linear).fit(X, y).coef_, want, rtol=1e-5,
                    atol=1e-6)  # fmt: skip
    few = (X_pt[:120], y_pt[:120])
    own = DiagonalNetworkRegressor().fit(*few)
    by_data = DiagonalNetworkRegressor(source=few).fit(X, y).coef_
    assert_array_equal(by_data, DiagonalNetworkRegressor(source=own).fit(X, y).coef_)


def test_columns_of_a_named_source_are_matched_by_name():
    pd = pytest.importorskip("pandas")
    X, y, source, _ = task()
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(200)])
    other = np.random.default_rng(2).permutation(200)
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(rng.normal(size=(400, 200)), columns=frame.columns)
    linear = LinearRegression().fit(rows.iloc[:, other], rows.to_numpy() @ source)
    want = DiagonalNetworkRegressor(source=source).fit(X, y)
    named = DiagonalNetworkRegressor(source=linear).fit(frame, y)
    assert_allclose(named.coef_, want.coef_, rtol=1e-5, atol=1e-6)
    data = (rows.iloc[:, other], rows.to_numpy() @ source)
    assert_allclose(DiagonalNetworkRegressor(source=data).fit(frame, y).c_ft_,
                    DiagonalNetworkRegressor(source=(rows, data[1])).fit(frame, y).c_ft_,
                    rtol=1e-6)  # fmt: skip


def test_leave_one_out_is_infinite_where_it_is_not_known(monkeypatch):
    X, y, source, _ = task()
    early = DiagonalNetworkRegressor(source=source, stop_time=3.0).fit(X, y)
    assert early.loo_ == early.gcv_ == math.inf
    monkeypatch.setattr("retemper.diagonal.fit.DIRECT_MAX", 10)
    large = DiagonalNetworkRegressor(source=source).fit(X, y)
    assert large.loo_ == math.inf
    assert math.isfinite(large.gcv_)


def test_probe_mode_is_weighted_ridge():
    X, y, source, _ = task()
    model = DiagonalNetworkRegressor(
        0.1, source=source, mode="probe", mu=0.5, standardize=False, fit_intercept=False
    ).fit(X, y)
    rate = 2.0 * finetune_scale(source, 0.1)
    exact = rate * (X.T @ np.linalg.solve((X * rate) @ X.T + 0.5 * np.eye(60), y))
    assert_allclose(model.coef_, exact, rtol=1e-7, atol=1e-10)
    ridge = Ridge(alpha=0.5, fit_intercept=False).fit(X * np.sqrt(rate), y)
    assert_allclose(model.coef_, np.sqrt(rate) * ridge.coef_, rtol=1e-6, atol=1e-9)
    assert np.all(model.l_order_ == 2.0)
    kernel = (X * rate) @ X.T + 0.5 * np.eye(60)
    loo = np.linalg.solve(kernel, y) / np.diag(np.linalg.inv(kernel))
    assert_allclose(model.loo_residual_, loo, rtol=1e-6)


def test_warm_start_stays_near_a_good_source():
    X, y, _, target = task(n=20, noise=0.0)
    warm = DiagonalNetworkRegressor(source=target, mode="warm").fit(X, y)
    assert_allclose(warm.coef_, target, atol=1e-6)
    rated = DiagonalNetworkRegressor(source=target, mode="warm", lr_ratio=4.0).fit(X, y)
    assert_allclose(rated.coef_, target, atol=1e-6)
    assert DiagonalNetworkRegressor().fit(X, y).loo_ > 10 * warm.loo_


def test_stop_time_and_paths():
    X, y, source, _ = task()
    end = DiagonalNetworkRegressor(source=source).fit(X, y)
    late = DiagonalNetworkRegressor(source=source, stop_time=1e6).fit(X, y)
    assert_allclose(late.coef_, end.coef_, atol=1e-6)
    times = np.geomspace(0.1, 1e4, 6)
    path = DiagonalNetworkRegressor(source=source).path(X, y, times=times, n_folds=5)
    stop = DiagonalNetworkRegressor(source=source, stop_time=float(times[2])).fit(X, y)
    assert_allclose(path.coef[2], stop.coef_, atol=1e-5)
    assert_allclose(path.train_error[2], np.mean((y - stop.predict(X)) ** 2), rtol=1e-4)
    assert np.all(np.diff(path.train_error) < 0)
    mus = np.array([1e-3, 3.0, 0.1])
    path = DiagonalNetworkRegressor(source=source).path(X, y, mus=mus)
    for i, mu in enumerate(mus):
        one = DiagonalNetworkRegressor(source=source, mu=float(mu)).fit(X, y)
        assert_allclose(path.coef[i], one.coef_, rtol=1e-6, atol=1e-9)
        assert_allclose(path.loo[i], one.loo_, rtol=1e-6)
    assert path.best == int(np.argmin(path.loo))


def test_early_stopping_is_not_the_penalised_path():
    X, y, source, _ = task(noise=2.0)
    model = DiagonalNetworkRegressor(source=source)
    times = model.path(X, y, times=np.geomspace(0.1, 1e3, 60), n_folds=2)
    mus = model.path(X, y, mus=np.geomspace(1e-3, 10, 60))
    k = int(np.argmin(np.abs(times.train_error - 0.2 * y.var())))
    j = int(np.argmin(np.abs(mus.train_error - times.train_error[k])))
    gap = np.linalg.norm(times.coef[k] - mus.coef[j]) / np.linalg.norm(mus.coef[j])
    assert 0.03 < gap < 1.0


def test_more_samples_than_features():
    X, y, source, _ = task(n=300)
    with pytest.warns(ValidityWarning, match="whatever the initialisation"):
        model = DiagonalNetworkRegressor(source=source).fit(X, y)
    ols = LinearRegression().fit(X, y)
    assert_allclose(model.coef_, ols.coef_, rtol=1e-7, atol=1e-9)
    assert_allclose(model.intercept_, ols.intercept_, rtol=1e-6)
    assert_allclose(model.gcv_, model.loo_, rtol=0.3)
    pen = DiagonalNetworkRegressor(source=source, mu=0.01).fit(X, y)
    assert pen.loo_ < model.loo_


def test_constant_features_are_dropped():
    X, y, source, _ = task()
    X[:, 5] = 2.5
    model = DiagonalNetworkRegressor(source=source).fit(X, y)
    assert model.coef_[5] == 0.0
    assert model.regime_[5] == "frozen"
    rest = np.delete(np.arange(200), 5)
    other = DiagonalNetworkRegressor(source=source[rest]).fit(X[:, rest], y)
    assert_allclose(model.coef_[rest], other.coef_, rtol=1e-8, atol=1e-10)
    assert_allclose(model.gcv_, other.gcv_, rtol=1e-8)


def test_grid_search_keeps_the_source():
    X, y, source, _ = task()
    search = GridSearchCV(
        DiagonalNetworkRegressor(source=source), {"balance": [-0.99, 0.5]}, cv=4,
        scoring="neg_mean_squared_error",
    ).fit(X, y)  # fmt: skip
    scores = [
        cross_val_score(DiagonalNetworkRegressor(source=source, balance=b), X, y, cv=4,
                        scoring="neg_mean_squared_error").mean()
        for b in (-0.99, 0.5)
    ]  # fmt: skip
    assert_allclose(search.cv_results_["mean_test_score"], scores)
    assert search.best_estimator_.source is source


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_scale": -1.0}, "init_scale"),
        ({"balance": 1.5}, "balance"),
        ({"readout_scale": -0.1}, "readout_scale"),
        ({"mode": "cold"}, "mode"),
        ({"mu": -1.0}, "mu"),
        ({"stop_time": 0.0}, "stop_time"),
        ({"stop_time": 1.0, "mu": 0.1}, "stop_time"),
        ({"lr_ratio": 0.0}, "lr_ratio"),
        ({"source": np.ones(3)}, "source"),
        ({"source": Ridge()}, "not fitted"),
        ({"source": None, "readout_scale": 1.0}, "needs a source"),
        ({"source": None, "mode": "warm"}, "needs a source"),
        ({"balance": -1.0}, "frozen"),
        ({"mode": "probe", "stop_time": 1.0}, "probe"),
    ],
)
def test_bad_settings(change, message):
    X, y, source, _ = task()
    with pytest.raises(ValueError, match=message):
        DiagonalNetworkRegressor(**({"source": source} | change)).fit(X, y)


def test_bad_paths():
    X, y, source, _ = task()
    model = DiagonalNetworkRegressor(source=source)
    for given in ({}, {"times": [1.0], "mus": [1.0]}):
        with pytest.raises(ValueError, match="exactly one"):
            model.path(X, y, **given)
    with pytest.raises(ValueError, match="positive"):
        model.path(X, y, mus=[0.0])
