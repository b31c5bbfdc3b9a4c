"""The estimator of ReLU fine-tuning in both modes."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.linear import (
    FineTunedReLURegressor,
    relu_network_fit,
    relu_ntk,
)

from .models import rows, unit


@parametrize_with_checks([FineTunedReLURegressor(mode="network", width=40, tol=1e-2)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_battery_in_network_mode(estimator, check):
    check(estimator)


def task(n=40, d=6, seed=0):
    X = rows(n, d, seed)
    coef = np.arange(1.0, d + 1) / d
    return X, X @ coef + 0.5 * np.abs(X[:, 0]) + 0.1 * rows(1, n, seed + 1)[0] + 3.0, coef


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_kernel_mode_solves_the_bordered_system(fit_intercept):
    X, y, coef = task()
    model = FineTunedReLURegressor(ridge=0.01, source=coef, fit_intercept=fit_intercept).fit(X, y)
    new = rows(15, 6, 9)
    n = len(X)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = relu_ntk(X) + n * 0.01 * np.eye(n)
    system[n, n] = 0.0
    size = n + fit_intercept
    solution = linalg.solve(system[:size, :size], np.append(y - X @ coef, 0.0)[:size])
    want = new @ coef + relu_ntk(new, X) @ solution[:n] + solution[n:].sum()
    assert_allclose(model.predict(new), want, rtol=1e-9)
    assert_allclose(model.dual_coef_, solution[:n], rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["loo", "gcv"])
def test_ridge_is_the_best_of_the_path(criterion):
    X, y, _ = task()
    model = FineTunedReLURegressor(ridge=criterion).fit(X, y)
    path = model.loo_path_ if criterion == "loo" else model.gcv_path_
    best = model.ridges_[np.argmin(path)]
    assert model.ridge_ == best
    assert model.ridges_[0] == np.inf
    assert model.ridges_[-1] == 0.0
    again = FineTunedReLURegressor(ridge=best).fit(X, y)
    assert_allclose([again.loo_, again.gcv_], [model.loo_, model.gcv_], rtol=1e-12)
    kept = best * 40 / 39  # leave-one-out keeps the penalty on the sum of squares
    refits = [
        y[i]
        - FineTunedReLURegressor(ridge=kept)
        .fit(np.delete(X, i, 0), np.delete(y, i))
        .predict(X[i : i + 1])[0]
        for i in range(len(X))
    ]
    assert_allclose(model.loo_, np.mean(np.square(refits)), rtol=1e-8)


def test_infinite_ridge_returns_the_source_and_the_mean():
    X, y, coef = task()
    for mode in ("kernel", "network"):
        model = FineTunedReLURegressor(mode=mode, ridge=np.inf, source=coef, width=20).fit(X, y)
        assert_allclose(model.predict(X), X @ coef + (y - X @ coef).mean(), rtol=1e-12)


def test_unrelated_labels_leave_the_source_alone():
    X, _, coef = task(80)
    y = X @ coef + rows(1, 80, 11)[0]
    chosen = FineTunedReLURegressor(source=coef).fit(X, y)
    plain = FineTunedReLURegressor(source=coef, ridge=0.0).fit(X, y)
    assert chosen.loo_ < plain.loo_
    assert chosen.ridge_ > 1.0 / 80


@pytest.mark.parametrize("mode", ["kernel", "network"])
@pytest.mark.parametrize("kind", ["coef", "linear", "forest", "function", "kernel"])
def test_every_kind_of_source_is_the_residual_fit(kind, mode):
    X, y, coef = task()
    before = rows(60, 6, 5)
    labels = before @ coef
    source = {
        "coef": coef,
        "linear": Ridge().fit(before, labels),
        "forest": RandomForestRegressor(5, random_state=0).fit(before, labels),
        "function": lambda X: np.tanh(X @ coef),
        "kernel": FineTunedReLURegressor().fit(before, labels),
    }[kind]
    predict = getattr(source, "predict", source if callable(source) else lambda X: X @ coef)
    kwargs = {"mode": mode, "ridge": 0.0125, "width": 100, "random_state": 0}
    model = FineTunedReLURegressor(source=source, **kwargs).fit(X, y)
    rest = FineTunedReLURegressor(**kwargs).fit(X, y - predict(X))
    assert_allclose(model.predict(before), predict(before) + rest.predict(before), rtol=1e-9)
    assert_allclose(model.loo_, rest.loo_, rtol=1e-9)
    assert clone(model).source is source


def test_sources_see_the_column_names_they_were_fitted_with():
    pd = pytest.importorskip("pandas")
    X, y, _ = task()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    source = RandomForestRegressor(5, random_state=0).fit(frame, y)
    model = FineTunedReLURegressor(source=source).fit(frame, y)
    assert list(model.feature_names_in_) == list("abcdef")
    assert np.isfinite(model.predict(frame)).all()


def test_network_is_fine_tuned_from_a_copy_of_its_source():
    X, y, coef = task()
    before = rows(80, 6, 5)
    source = FineTunedReLURegressor(
        mode="network", width=300, ridge=0.1 / 80, source=0.1 * coef, random_state=0
    ).fit(before, before @ coef)
    weights = source.weights_.copy()
    frozen = FineTunedReLURegressor(
        mode="network", ridge=np.inf, source=source, fit_intercept=False
    ).fit(X, y)
    assert_allclose(frozen.predict(X), source.predict(X), rtol=1e-12)
    tuned = FineTunedReLURegressor(mode="network", ridge=0.005, source=source).fit(X, y)
    assert tuned.weights_.shape == (300, 6)
    assert 0 < np.abs(tuned.weights_ - weights).max() < 1.0
    fit = relu_network_fit(
        weights,
        source.signs_,
        X,
        y - X @ (0.1 * coef) - source.intercept_,
        ridge=0.005,
        fit_intercept=True,
    )
    assert_array_equal(tuned.weights_, fit.weights)
    assert_allclose(tuned.intercept_, source.intercept_ + fit.intercept, rtol=1e-12)
    assert_array_equal(source.weights_, weights)
    assert tuned.loss_[-1] < tuned.loss_[0]


def test_wide_network_mode_agrees_with_kernel_mode():
    X, y = unit(rows(25, 20)), rows(1, 25, 1)[0] + 1.0
    new = unit(rows(100, 20, 2))
    kernel = FineTunedReLURegressor(ridge=0.012).fit(X, y)
    network = FineTunedReLURegressor(
        mode="network", ridge=0.012, width=8000, random_state=0, tol=1e-10
    ).fit(X, y)
    gap = network.predict(new) - kernel.predict(new)
    assert np.sqrt(np.mean(gap**2)) < 0.05 * np.std(kernel.predict(new))
    assert_allclose(network.loo_, kernel.loo_, rtol=0.03)
    assert_allclose(network.gcv_, kernel.gcv_, rtol=0.03)


def stopped(time, **kwargs):
    return FineTunedReLURegressor(ridge=0.0, stop_time=time, **kwargs)


def test_flow_is_small_steps_in_the_space_of_the_kernel():
    X, y, coef = task()
    new, n, t, steps = rows(15, 6, 9), len(X), 30.0, 20_000
    kernel, cross = relu_ntk(X), relu_ntk(new, X)
    residual, alpha = y - X @ coef, np.zeros(n)
    for _ in range(steps):
        error = residual - kernel @ alpha
        alpha += t / steps / n * (error - error.mean())  # the intercept follows at once
    intercept = (residual - kernel @ alpha).mean()
    model = stopped(t, source=coef).fit(X, y)
    assert_allclose(model.predict(new), new @ coef + cross @ alpha + intercept, rtol=1e-3)
    assert_allclose(model.dual_coef_.sum(), 0.0, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("time", [0.0, 0.3, 30.0, 1e4, np.inf])
def test_leave_one_out_of_a_flow_is_the_refit(time, fit_intercept):
    """Without a row the loss per row has another n: the same speed is another time."""
    X, y, coef = task(n=15)
    model = stopped(time, source=coef, fit_intercept=fit_intercept).fit(X, y)
    errors = []
    for i in range(len(X)):
        rest = np.arange(len(X)) != i
        part = stopped(time * 14 / 15, source=coef, fit_intercept=fit_intercept)
        errors.append(y[i] - part.fit(X[rest], y[rest]).predict(X[i : i + 1])[0])
    assert_allclose(model.loo_, np.mean(np.square(errors)), rtol=1e-10)


def test_the_ends_of_a_flow():
    X, y, coef = task()
    new = rows(15, 6, 9)
    for time, ridge in ((0.0, np.inf), (np.inf, 0.0), (1e12, 0.0)):
        want = FineTunedReLURegressor(ridge=ridge, source=coef).fit(X, y)
        found = stopped(time, source=coef).fit(X, y)
        assert_allclose(found.predict(new), want.predict(new), rtol=1e-8)
        assert_allclose(found.loo_, want.loo_, rtol=1e-8)


def test_the_time_is_the_best_of_its_path():
    X, y, coef = task()
    model = stopped("loo", source=coef).fit(X, y)
    best = int(np.argmin(model.loo_path_))
    assert 0 < best < len(model.times_) - 1
    assert model.stop_time_ == model.times_[best]
    assert model.loo_ == model.loo_path_[best]
    assert (np.diff(model.times_) > 0.0).all()
    assert not hasattr(model, "gcv_")
    # rows twice as long learn the same in a quarter of the time
    doubled = stopped(model.stop_time_ / 4.0, source=coef / 2.0).fit(2.0 * X, y)
    assert_allclose(doubled.predict(2.0 * X), model.predict(X), rtol=1e-9)
    assert not hasattr(model.set_params(stop_time=None).fit(X, y), "times_")


def test_a_wide_network_follows_the_flow():
    """Small steps of gradient descent on 8000 units from a pre-trained start, stopped early."""
    X, y, coef = unit(rows(25, 20)), rows(1, 25, 1)[0], np.arange(20.0) / 30.0
    new, steps, step = unit(rows(100, 20, 2)), 60, 0.05
    kernel = stopped(25 * steps * step, source=coef, fit_intercept=False).fit(X, y)
    network = FineTunedReLURegressor(
        mode="network", ridge=0.0, width=8000, source=coef, fit_intercept=False, step_size=step,
        max_iter=steps, tol=0.0,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        network.fit(X, y)
    gap = (network.predict(new) - new @ coef) - (kernel.predict(new) - new @ coef)
    assert np.sqrt(np.mean(gap**2)) < 0.06 * np.std(kernel.predict(new) - new @ coef)


@pytest.mark.parametrize("mode", ["kernel", "network"])
def test_bias_feature_is_an_appended_column(mode):
    X, y, _ = task()
    kwargs = {"mode": mode, "ridge": 0.3 / 40, "width": 60, "random_state": 0}
    model = FineTunedReLURegressor(bias=2.0, **kwargs).fit(X, y)
    wide = np.hstack([X, np.full((len(X), 1), 2.0)])
    assert_allclose(
        model.predict(X), FineTunedReLURegressor(**kwargs).fit(wide, y).predict(wide), rtol=1e-12
    )
    assert model.n_features_in_ == 6


def test_refitting_in_another_mode_forgets_the_first():
    X, y, _ = task()
    model = FineTunedReLURegressor(mode="network", width=20, ridge=1.0, random_state=0).fit(X, y)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    model.set_params(mode="kernel").fit(X, y)
    assert not hasattr(model, "weights_")
    assert_array_equal(model.predict(X), FineTunedReLURegressor(ridge=1.0).fit(X, y).predict(X))


def test_training_rows_are_not_shared_with_the_caller():
    X, y, _ = task()
    for given_rows in (X, X[3:]):
        model = FineTunedReLURegressor(ridge=0.1).fit(given_rows, y[-len(given_rows) :])
        assert not np.shares_memory(model.X_fit_, X)


def test_bound_is_infinite_where_nothing_interpolates():
    x, y = rows(10, 1), rows(1, 10, 1)[0]
    assert FineTunedReLURegressor().fit(x, y).bound_ == np.inf


def test_deserved_warnings():
    X, y, _ = task()
    with pytest.warns(ValidityWarning, match="vanishes"):
        model = FineTunedReLURegressor().fit(np.zeros_like(X), y)
    assert_allclose(model.predict(X), y.mean())
    X[1] = X[0]
    with pytest.warns(ValidityWarning, match="repeated rows"):
        FineTunedReLURegressor(ridge=0.0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        FineTunedReLURegressor(mode="network", width=50, ridge=0.1, max_iter=3).fit(X, y)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"mode": "deep"}, ValueError, "mode must be one of"),
        ({"ridge": "aic"}, ValueError, r"ridge must be a number in .* or "),
        ({"ridge": -0.1}, ValueError, "ridge must lie"),
        ({"ridge": None}, TypeError, "ridge must be a real number"),
        ({"stop_time": 1.0}, ValueError, 'stop_time needs mode "kernel" and ridge 0'),
        ({"stop_time": 1.0, "ridge": 0.0, "mode": "network"}, ValueError, "stop_time needs mode"),
        ({"stop_time": -1.0, "ridge": 0.0}, ValueError, "stop_time must lie"),
        ({"stop_time": "gcv", "ridge": 0.0}, ValueError, "stop_time must be None, a time or 'loo'"),
        ({"bias": np.nan}, ValueError, "bias must lie"),
        ({"mode": "network", "width": 5}, ValueError, "width must be even"),
        ({"mode": "network", "max_iter": 0}, ValueError, "max_iter"),
        ({"mode": "network", "step_size": -1.0}, ValueError, "step_size"),
        ({"source": np.ones(5)}, ValueError, r"source must have shape \(6,\)"),
        ({"source": np.full(6, np.nan)}, ValueError, r"source\[0\] is nan"),
        ({"source": "zero"}, TypeError, "source must be"),
        ({"source": Ridge}, TypeError, "class Ridge"),
        ({"source": Ridge()}, NotFittedError, "source is not fitted"),
        ({"source": FineTunedReLURegressor()}, NotFittedError, "source is not fitted"),
        ({"source": lambda X: np.ones(3)}, ValueError, r"source\(X\) must have shape"),
    ],
)
def test_estimator_refuses_bad_input(kwargs, error, message):
    X, y, _ = task()
    with pytest.raises(error, match=message):
        FineTunedReLURegressor(**kwargs).fit(X, y)


def test_network_source_must_fit_the_rows():
    X, y, _ = task()
    source = FineTunedReLURegressor(mode="network", width=20, ridge=1.0, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="fitted on 6 features, X has 5"):
        FineTunedReLURegressor(mode="network", source=source).fit(X[:, :5], y)
    with pytest.raises(ValueError, match="bias must be that of the network"):
        FineTunedReLURegressor(mode="network", source=source, bias=1.0).fit(X, y)
