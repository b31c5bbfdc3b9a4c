"""Fine-tuned linear regression: definitions, sources, choices, warnings, refusals."""

import math
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retemper.exceptions import ValidityWarning
from retemper.linear import (
    FineTunedLinearRegression,
    LinearModel,
    LinearTransferReport,
    deep_fit,
    solve,
)
from retemper.linear.ridge.path import RidgePath

from .portable import D5, combine, data, spectrum

inf = math.inf


def sample(n=24, d=40, q=None, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    shape = (d,) if q is None else (q, d)
    X, w = rng.normal(size=(n, d)) + 0.5, rng.normal(size=shape) / np.sqrt(d)
    source = w + 0.4 * rng.normal(size=shape) / np.sqrt(d)
    y = X @ w.T + 1.0 + noise * rng.normal(size=(n,) if q is None else (n, q))
    return X, y, source


@pytest.fixture(autouse=True)
def quiet():
    """Advice on tiny samples is the subject of its own tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        yield


@pytest.mark.parametrize(("n", "d"), [(24, 40), (40, 9)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_is_ridge_on_the_residual_of_the_source(n, d, fit_intercept):
    X, y, source = sample(n, d)
    model = FineTunedLinearRegression(ridge=0.3, source=source, fit_intercept=fit_intercept)
    model.fit(X, y)
    plain = Ridge(alpha=0.3 * n, fit_intercept=fit_intercept)
    plain.fit(X, y - X @ source)
    np.testing.assert_allclose(model.coef_, source + plain.coef_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.predict(X), X @ source + plain.predict(X), rtol=1e-9)
    assert model.intercept_ == pytest.approx(plain.intercept_, abs=1e-12)
    assert model.source_scale_ == 1.0
    assert model.ridge_ == 0.3
    assert model.depth_ == 1


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_is_that_of_the_theory(fit_intercept):
    """One number in the model, in its simulation and in the estimator, with intercept or not."""
    rng = np.random.default_rng(2)
    n, d, ridge = 400, 300, 0.4
    theta, source = rng.normal(size=(2, d)) / np.sqrt(d)
    risk = solve(LinearModel(n, theta, source_coef=source, noise=0.5, ridge=ridge)).risk
    found = []
    for _ in range(12):
        X = rng.normal(size=(n, d))
        y = X @ theta + 0.5 * rng.normal(size=n)
        model = FineTunedLinearRegression(ridge=ridge, source=source, fit_intercept=fit_intercept)
        found.append(np.sum((model.fit(X, y).coef_ - theta) ** 2))
    assert abs(np.mean(found) - risk) < 4 * np.std(found) / np.sqrt(12) + 0.005 * risk
    if not fit_intercept:
        exact = deep_fit(X, y, source, ridge=ridge).coef
        np.testing.assert_allclose(model.coef_, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(12, 30), (30, 6)])
def test_loo_is_the_error_of_refits(n, d):
    X, y, source = sample(n, d)
    model = FineTunedLinearRegression(source=source).fit(X, y)
    errors = []
    for i in range(n):
        keep = np.arange(n) != i
        ridge = model.ridge_ * n / (n - 1)  # the same penalty on the sum of squares
        again = FineTunedLinearRegression(ridge=ridge, source=source).fit(X[keep], y[keep])
        errors.append((again.predict(X[[i]])[0] - y[i]) ** 2)
    assert model.loo_ == pytest.approx(np.mean(errors), rel=1e-7)


@pytest.mark.parametrize(("n", "d"), [(20, 40), (40, 9)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_weights_are_those_of_the_sum_of_squares(n, d, fit_intercept):
    X, y, source = sample(n, d)
    weight = np.random.default_rng(1).uniform(0.2, 3.0, n)
    model = FineTunedLinearRegression(ridge=0.3, source=source, fit_intercept=fit_intercept)
    model.fit(X, y, 5.0 * weight)
    plain = Ridge(alpha=0.3 * n, fit_intercept=fit_intercept)
    plain.fit(X, y - X @ source, weight / weight.mean())
    np.testing.assert_allclose(model.coef_, source + plain.coef_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.predict(X), X @ source + plain.predict(X), rtol=1e-9)
    errors = []
    for i in range(n):
        keep = np.arange(n) != i
        plain.fit(X[keep], (y - X @ source)[keep], weight[keep] / weight.mean())
        errors.append((plain.predict(X[[i]])[0] - (y - X @ source)[i]) ** 2)
    assert model.loo_ == pytest.approx(np.average(errors, weights=weight), rel=1e-7)
    chosen = FineTunedLinearRegression(source=source, fit_intercept=fit_intercept)
    chosen.fit(X, y, weight)
    assert chosen.loo_ <= model.loo_ * 1.01


def test_weights_are_repetitions_at_a_given_ridge():
    X, y, source = sample(30, 50)
    times = np.random.default_rng(1).integers(0, 4, 30)
    for fit_intercept in (True, False):
        kwargs = {"source": source, "fit_intercept": fit_intercept}
        weighted = FineTunedLinearRegression(ridge=0.2, **kwargs).fit(X, y, times)
        repeated = FineTunedLinearRegression(ridge=0.2, **kwargs)
        repeated.fit(np.repeat(X, times, axis=0), np.repeat(y, times))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9)
        assert weighted.intercept_ == pytest.approx(repeated.intercept_, abs=1e-10)


@pytest.mark.parametrize(("depth", "ridge"), [(1, "loo"), (1, "gcv"), (3, 0.1), (2, 0.0)])
def test_equal_weights_change_nothing(depth, ridge):
    X, y, source = sample(12, 20, q=2)
    one = FineTunedLinearRegression(depth, ridge, source).fit(X, y)
    two = FineTunedLinearRegression(depth, ridge, source).fit(X, y, np.full(12, 0.1))
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-7)
    np.testing.assert_allclose([two.loo_, two.gcv_], [one.loo_, one.gcv_], rtol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(20, 30), (40, 6)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_metric_is_a_change_of_variables(n, d, fit_intercept):
    X, y, source = sample(n, d)
    rng = np.random.default_rng(1)
    root, weight = rng.normal(size=(d, d)), rng.uniform(0.5, 2.0, n)
    full, diagonal = root @ root.T / d + np.eye(d), rng.uniform(0.5, 3.0, d)
    share = weight / weight.sum()
    Z = X - share @ X if fit_intercept else X
    moments = Z.T @ (share[:, None] * Z)
    moments += 1e-3 * np.trace(moments) / d * np.eye(d)
    cases = [(full, full), (diagonal, np.diag(diagonal))]
    for metric, M in [*cases, ("covariance", moments), ("fisher", moments)]:
        model = FineTunedLinearRegression(
            ridge=0.2, source=source, metric=metric, fit_intercept=fit_intercept
        ).fit(X, y, weight)
        error = share * (model.predict(X) - y)
        gradient = X.T @ error + 0.2 * M @ (model.coef_ - source)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-10)
        if fit_intercept:
            assert error.sum() == pytest.approx(0.0, abs=1e-12)
    same = FineTunedLinearRegression(source=source, metric=np.eye(d)).fit(X, y)
    other = FineTunedLinearRegression(source=source).fit(X, y)
    np.testing.assert_allclose(same.coef_, other.coef_, rtol=1e-7, atol=1e-9)
    assert same.loo_ == pytest.approx(other.loo_)


def test_metric_of_the_rows_forgets_their_scale():
    X, y, source = sample(60, 5)
    units = np.array([1.0, 10.0, 0.1, 3.0, 1.0])
    kwargs = {"metric": np.diag(X.T @ X), "ridge": 0.1}
    one = FineTunedLinearRegression(source=source, **kwargs).fit(X, y)
    kwargs["metric"] = np.diag((X * units).T @ (X * units))
    two = FineTunedLinearRegression(source=source / units, **kwargs).fit(X * units, y)
    np.testing.assert_allclose(two.predict(X * units), one.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="metric needs depth=1, got depth=2"):
        FineTunedLinearRegression(2, 0.1, source, metric="covariance").fit(X, y)
    with pytest.raises(ValueError, match="metric must be positive definite"):
        FineTunedLinearRegression(metric=np.ones((5, 5))).fit(X, y)


@pytest.mark.parametrize("criterion", ["loo", "gcv"])
@pytest.mark.parametrize("scale", [1.0, 0.5, "auto"])
def test_choice_is_the_best_of_the_grid(criterion, scale):
    X, y, source = sample()
    model = FineTunedLinearRegression(ridge=criterion, source=source, source_scale=scale).fit(X, y)
    value = {"loo": "loo_", "gcv": "gcv_"}[criterion]
    best = getattr(model, value)
    grid = RidgePath(X, y[:, None]).grid()
    assert model.ridge_ in grid
    for ridge in grid:
        other = FineTunedLinearRegression(
            ridge=ridge, source=source, source_scale=model.source_scale_
        ).fit(X, y)
        assert best <= getattr(other, value) * (1 + 1e-9)
    if scale == "auto":
        for shift in (-0.01, 0.01):
            other = FineTunedLinearRegression(
                ridge=model.ridge_, source=source, source_scale=model.source_scale_ + shift
            ).fit(X, y)
            assert best <= getattr(other, value)


@pytest.mark.parametrize(
    ("depth", "scale", "norm", "first", "last"),
    [
        (1, 1, 1.4052522401, 0.929029695408, 0.145749397683),
        (2, 0.775441110042, 1.24096497596, 0.793608130368, 0.150454435638),
        (5, 0.623705786492, 1.14389614984, 0.702103247213, 0.153633648256),
        (inf, 0.528275489884, 1.09024058033, 0.644553443145, 0.155633137868),
    ],
)
def test_frozen_depths(depth, scale, norm, first, last):
    X, y = data(1, 6, spectrum("iso", 10), combine(D5, 10), 0.1)
    source = combine([[2, "decay", 0.5], [1, "cos", 0.2]], 10)
    model = FineTunedLinearRegression(depth, 0.0, source, fit_intercept=False).fit(X, y)
    got = [model.source_scale_, np.linalg.norm(model.coef_), model.coef_[0], model.coef_[-1]]
    np.testing.assert_allclose(got, [scale, norm, first, last], rtol=1e-7)
    assert model.intercept_ == 0.0


def test_frozen_deep_ridge():
    X, y = data(1, 6, spectrum("iso", 10), combine(D5, 10), 0.1)
    source = combine([[2, "decay", 0.5], [1, "cos", 0.2]], 10)
    model = FineTunedLinearRegression(3, 0.2, source, fit_intercept=False).fit(X, y)
    t = model.source_scale_ * np.linalg.norm(source) ** (2 / 3)
    got = [t, np.linalg.norm(model.coef_), model.coef_[0], model.coef_[-1]]
    want = [1.11778942557, 1.18178914135, 0.751710543738, 0.15883936001]
    np.testing.assert_allclose(got, want, rtol=1e-7)


@pytest.mark.parametrize("depth", [2, 7])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_deep_fit_minimises_its_loss(depth, ridge):
    """Ridge: stationary point of the Bregman objective. Zero: interpolates along the source."""
    X, y, source = sample(12, 20)
    model = FineTunedLinearRegression(depth, ridge, source).fit(X, y)
    Z, t = X - X.mean(axis=0), y - y.mean()
    beta, n = model.coef_, 12
    if ridge == 0.0:
        np.testing.assert_allclose(Z @ beta, t, atol=1e-9)
    dual = [np.linalg.norm(b) ** (1 / depth - 1) * b for b in (beta, source)]
    gradient = Z.T @ (Z @ beta - t) / n + ridge * (dual[0] - dual[1])
    if ridge == 0.0:  # the dual moves in the row space alone
        gradient = dual[0] - dual[1]
        gradient = gradient - np.linalg.pinv(Z) @ (Z @ gradient)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 3, inf])
def test_matches_the_closed_form_of_the_theory(depth):
    X, y, source = sample(12, 20, q=2)
    model = FineTunedLinearRegression(depth, 0.0, source).fit(X, y)
    fit = deep_fit(X - X.mean(0), y - y.mean(0), source, depth=depth)
    np.testing.assert_allclose(model.coef_, fit.coef, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.source_scale_, fit.source_scale, rtol=1e-9)


@pytest.mark.parametrize("depth", [1, 2])
def test_flow_ends_at_the_closed_form(depth):
    X, y, source = sample(8, 12)
    closed = FineTunedLinearRegression(depth, 0.0, source).fit(X, y)
    flow = clone(closed).set_params(solver="flow").fit(X, y)
    np.testing.assert_allclose(flow.coef_, closed.coef_, atol=1e-7)
    np.testing.assert_allclose(flow.predict(X), closed.predict(X), atol=1e-7)
    assert flow.n_iter_ > 0
    assert closed.n_iter_ == 0


def test_flow_of_a_correction():
    X, y, source = sample(8, 12)
    closed = FineTunedLinearRegression(1, 0.0, lambda Z: np.sin(Z @ source)).fit(X, y)
    flow = FineTunedLinearRegression(1, 0.0, lambda Z: np.sin(Z @ source), solver="flow").fit(X, y)
    np.testing.assert_allclose(flow.coef_, closed.coef_, atol=1e-7)


def test_shared_trunk_interpolates_elsewhere():
    X, y, source = sample(8, 12, q=2)
    one = FineTunedLinearRegression(3, 0.0, source).fit(X, y)
    shared = FineTunedLinearRegression(3, 0.0, source, heads="shared").fit(X, y)
    np.testing.assert_allclose(shared.predict(X), y, atol=1e-5)
    assert np.abs(shared.coef_ - one.coef_).max() > 1e-3
    assert not hasattr(shared, "gcv_")
    assert shared.n_iter_ > 0


def test_depth_and_ridge_from_the_data():
    X, y, source = sample(30, 60, noise=0.05)
    wrong = 0.2 * source
    shallow = FineTunedLinearRegression(1, 0.0, wrong).fit(X, y)
    for criterion in ("loo", "gcv"):
        deep = FineTunedLinearRegression(criterion, 0.0, wrong).fit(X, y)
        assert deep.depth_ > 1
        value = f"{criterion}_"
        assert getattr(deep, value) < getattr(shallow, value)
        every = [
            getattr(FineTunedLinearRegression(d, 0.0, wrong).fit(X, y), value)
            for d in (1, 2, 3, 5, 10, inf)
        ]
        assert getattr(deep, value) == pytest.approx(min(every), rel=1e-9)
    both = FineTunedLinearRegression("loo", "loo", wrong).fit(X, y)
    alone = FineTunedLinearRegression(3, "loo", wrong).fit(X, y)
    assert both.loo_ <= alone.loo_ * (1 + 1e-9)
    again = FineTunedLinearRegression(both.depth_, both.ridge_, wrong).fit(X, y)
    np.testing.assert_allclose(again.coef_, both.coef_, rtol=1e-9)


@pytest.mark.parametrize("depth", [1, 4])
def test_outputs_are_independent(depth):
    X, y, source = sample(q=3)
    together = FineTunedLinearRegression(depth, 0.2, source, source_scale=0.7).fit(X, y)
    for k in range(3):
        alone = FineTunedLinearRegression(depth, 0.2, source[k], source_scale=0.7).fit(X, y[:, k])
        np.testing.assert_allclose(together.coef_[k], alone.coef_, rtol=1e-9, atol=1e-12)
        assert together.intercept_[k] == pytest.approx(alone.intercept_)
        assert together.source_scale_[k] == pytest.approx(alone.source_scale_)
    assert together.predict(X).shape == y.shape
    parts = [FineTunedLinearRegression(depth, 0.2, source[k], source_scale=0.7) for k in range(3)]
    total = sum(m.fit(X, y[:, k]).gcv_ for k, m in enumerate(parts))
    assert together.gcv_ == pytest.approx(total)


def test_kinds_of_source():
    X, y, _source = sample()
    earlier = FineTunedLinearRegression(ridge=0.1).fit(X[:10], y[:10])
    linear = LinearRegression().fit(X[:10], y[:10])
    want = FineTunedLinearRegression(ridge=0.2, source=linear.coef_).fit(X, y).predict(X)
    for kind in (linear, list(linear.coef_), linear.coef_[None]):
        got = FineTunedLinearRegression(ridge=0.2, source=kind).fit(X, y)
        np.testing.assert_allclose(got.predict(X), want)
    by_prediction = FineTunedLinearRegression(ridge=0.2, source=linear.predict).fit(X, y)
    np.testing.assert_allclose(by_prediction.predict(X), want)
    assert by_prediction.gcv_ == pytest.approx(got.gcv_)
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(X[:10], y[:10])
    model = FineTunedLinearRegression(ridge=inf, source=pipeline, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(model.predict(X), pipeline.predict(X))
    classes = LogisticRegression().fit(X[:10], y[:10] > 0)
    assert FineTunedLinearRegression(source=classes).fit(X, y).coef_.shape == (40,)
    # a chain: the corrected function is again a source known by predictions
    chain = FineTunedLinearRegression(ridge=inf, source=model, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(chain.predict(X), pipeline.predict(X))
    assert FineTunedLinearRegression(source=earlier).fit(X, y).source is earlier


def test_data_frames_reach_the_source_with_their_names():
    pd = pytest.importorskip("pandas")
    X, y, _ = sample(30, 4)
    frame = pd.DataFrame(X, columns=list("abcd"))
    source = make_pipeline(StandardScaler(), Ridge()).fit(frame[:10], y[:10])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ValidityWarning)
        for ridge, fit_intercept in (("loo", True), (inf, False)):
            model = FineTunedLinearRegression(
                ridge=ridge, source=source, fit_intercept=fit_intercept
            ).fit(frame, y)
            assert model.feature_names_in_.tolist() == list("abcd")
            assert model.predict(frame).shape == (30,)
        np.testing.assert_allclose(model.predict(frame), source.predict(frame))
        report = LinearTransferReport([source, lambda Z: Z["a"]]).fit(frame, y)
        report.estimator_.predict(frame)
    assert report.estimator_.feature_names_in_.tolist() == list("abcd")


def test_offset_of_the_source():
    X, y, _ = sample()
    linear = LinearRegression().fit(X[:10], y[:10] + 50.0)
    kept = FineTunedLinearRegression(ridge=inf, source=linear, fit_intercept=False).fit(X, y)
    assert kept.intercept_ == pytest.approx(linear.intercept_)
    fitted = FineTunedLinearRegression(ridge=inf, source=linear).fit(X, y)
    assert np.mean(fitted.predict(X)) == pytest.approx(np.mean(y))
    np.testing.assert_allclose(fitted.coef_, linear.coef_)
    assert fitted.df1_ == 0.0
    assert fitted.effective_ridge_ == inf


def test_source_survives_clone_pickle_and_searches():
    X, y, coef = sample(30, 12)
    source = Ridge().fit(X, X @ coef)
    model = FineTunedLinearRegression(source=source)
    assert clone(model).source is source
    assert not any(name.startswith("source__") for name in model.get_params())
    search = GridSearchCV(
        make_pipeline(StandardScaler(), FineTunedLinearRegression(source=np.zeros(12))),
        {"finetunedlinearregression__ridge": [0.1, "loo"]},
    ).fit(X, y)
    assert np.isfinite(search.best_score_)
    assert np.isfinite(cross_val_score(model, X, y)).all()
    search = GridSearchCV(model, {"source_scale": [0.0, 1.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"source_scale": 1.0}
    assert search.best_estimator_.source is source
    fitted = model.fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_perfect_source_and_constant_labels():
    X, _, source = sample()
    model = FineTunedLinearRegression(source=source).fit(X, X @ source)
    assert model.loo_ < 1e-20
    assert model.gcv_ < 1e-20
    np.testing.assert_allclose(model.coef_, source, rtol=1e-10)
    flat = FineTunedLinearRegression().fit(X, np.full(len(X), 3.0))
    assert (flat.gcv_, flat.loo_, flat.intercept_) == (0.0, 0.0, 3.0)


def test_scale_of_the_data_does_not_matter():
    X, y, source = sample()
    one = FineTunedLinearRegression(source=source).fit(X, y)
    two = FineTunedLinearRegression(source=source * 1e8).fit(X * 1e-4, y * 1e4)
    np.testing.assert_allclose(two.coef_, one.coef_ * 1e8, rtol=1e-9)


class TestWarnings:
    def caught(self, model, X, y):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        return [str(w.message) for w in caught if issubclass(w.category, ValidityWarning)]

    def test_none_on_plain_data(self):
        X, y, source = sample(120, 20)
        assert not self.caught(FineTunedLinearRegression(source=source), X, y)
        assert not self.caught(FineTunedLinearRegression(ridge=0.0), X, y)
        X, y, source = sample(40, 400)
        assert not self.caught(FineTunedLinearRegression(ridge=0.0, source=source), X, y)

    def test_threshold(self):
        for n in (20, 21, 22):
            X, y, _ = sample(n, 20)
            messages = self.caught(FineTunedLinearRegression(ridge=0.0), X, y)
            assert any("interpolation threshold" in m for m in messages)

    def test_no_variation(self):
        X, y, source = np.ones((9, 40)), np.arange(9.0), sample()[2]
        model = FineTunedLinearRegression(source=source)
        assert any("does not vary" in m for m in self.caught(model, X, y))
        np.testing.assert_array_equal(model.coef_, source)
        deep = FineTunedLinearRegression(3, source=source)
        assert any("does not vary" in m for m in self.caught(deep, X, y))
        np.testing.assert_array_equal(deep.coef_, source)

    def test_repeated_rows(self):
        X, y, _ = sample()
        X, y = np.vstack([X, X[:3]]), np.append(y, y[:3] + 1)
        messages = self.caught(FineTunedLinearRegression(ridge=0.0), X, y)
        assert any("repeated" in m for m in messages)
        assert not any("repeated" in m for m in self.caught(FineTunedLinearRegression(), X, y))

    def test_estimates_that_disagree(self):
        rng = np.random.default_rng(1)
        X = rng.normal(size=(30, 10)) * np.exp(2.0 * rng.normal(size=(30, 1)))
        y = X @ np.ones(10) + np.abs(X[:, 0]) ** 2 * rng.normal(size=30)
        messages = self.caught(FineTunedLinearRegression(ridge="gcv"), X, y)
        assert any("differs by more than 25%" in m for m in messages)
        assert not self.caught(FineTunedLinearRegression(), X, y)

    def test_stalling_network(self):
        X, y = np.array([[1.0], [2.0]]), np.array([-1.0, -2.0])
        model = FineTunedLinearRegression(2, 0.0, [1.0], fit_intercept=False)
        assert any("stall" in m for m in self.caught(model, X, y))
        assert model.coef_[0] == pytest.approx(-1.0)


BAD_ARGUMENTS = [
    ({"depth": 0}, "depth"),
    ({"depth": 2.5}, "depth"),
    ({"depth": "deep"}, "depth"),
    ({"depth": math.nan}, "depth"),
    ({"ridge": "cv"}, "ridge"),
    ({"ridge": -100.0}, "ridge"),
    ({"ridge": -inf}, "ridge"),
    ({"ridge": math.nan}, "ridge"),
    ({"ridge": -0.1, "depth": 2}, "ridge"),
    ({"ridge": 0.1, "depth": inf}, "ridge"),
    ({"source_scale": "best"}, "source_scale"),
    ({"source_scale": inf}, "source_scale"),
    ({"source_scale": "auto", "depth": 2}, "source_scale"),
    ({"fit_intercept": "no"}, "fit_intercept"),
    ({"heads": "many"}, "heads"),
    ({"heads": "shared", "depth": 2}, "ridge=0"),
    ({"solver": "newton"}, "solver"),
    ({"solver": "flow"}, "ridge=0"),
    ({"solver": "flow", "ridge": 0.0, "depth": inf}, "finite depth"),
    ({"solver": "flow", "ridge": 0.0, "depth": 2}, "source"),
    ({"source": np.ones(7)}, r"source must have shape \(40,\)"),
    ({"source": np.ones((2, 40))}, "source must have shape"),
    ({"source": np.full(40, np.nan)}, "source"),
    ({"source": "file"}, "source"),
    ({"source": {"a": 1}}, "source"),
    ({"source": Ridge}, "source is the class Ridge"),
    ({"source": Ridge()}, "not fitted"),
    ({"source": lambda X: X}, r"source\(X\) must have shape"),
    ({"source": lambda X: X[:, 0] * np.nan}, r"source\(X\)"),
    ({"source": lambda X: X[:, 0], "depth": 2}, "depth=1"),
    ({"source": np.ones(40) * 1j}, "source"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments(arguments, message):
    X, y, _ = sample()
    with pytest.raises((ValueError, TypeError, NotFittedError), match=message):
        FineTunedLinearRegression(**arguments).fit(X, y)


def test_depth_without_limit():
    X = np.random.default_rng(0).normal(size=(8, 10))
    X[:, 0] = 0.0
    with pytest.raises(ValueError, match="depth=inf"):
        FineTunedLinearRegression(inf, 0.0, np.eye(10)[0]).fit(X, X[:, 1])
    assert FineTunedLinearRegression("loo", "loo", np.eye(10)[0]).fit(X, X[:, 1]).depth_ < inf
    report = LinearTransferReport(np.eye(10)[0]).fit(X, X[:, 1])
    assert np.isinf(report.gcv_path_[0]).tolist() == [False] * 5 + [True]


def test_negative_ridge_is_legal_above_the_spectrum():
    X, y, source = sample(20, 60)
    low = np.linalg.eigvalsh((X - X.mean(0)) @ (X - X.mean(0)).T / 20)[1]
    model = FineTunedLinearRegression(ridge=-0.5 * low, source=source).fit(X, y)
    assert np.isfinite(model.gcv_)
    assert model.effective_ridge_ > 0
    with pytest.raises(ValueError, match="ridge must be above"):
        FineTunedLinearRegression(ridge=-1.01 * low).fit(X, y)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_bad_entries(value):
    X, y, _ = sample()
    bad = X.copy()
    bad[3, 2] = value
    with pytest.raises(ValueError, match="X"):
        FineTunedLinearRegression().fit(bad, y)
    label = y.copy()
    label[4] = value
    with pytest.raises(ValueError, match="y"):
        FineTunedLinearRegression().fit(X, label)
    if value == 1e300:
        with pytest.raises(ValueError, match=r"X\[3, 2\] is 1e\+300"):
            FineTunedLinearRegression().fit(bad, y)


def test_unfitted():
    with pytest.raises(NotFittedError):
        FineTunedLinearRegression().predict(np.ones((2, 3)))


def test_columns_of_a_source_are_matched_by_name():
    pd = pytest.importorskip("pandas")
    X, y, source = sample(30, 5)
    frame = pd.DataFrame(X, columns=list("abcde"))
    turned = frame[list("dbeac")]
    fitted = Ridge().fit(turned, X @ source + 1.0)
    named = pd.Series(fitted.coef_, index=list("dbeac"))
    want = FineTunedLinearRegression(source=(fitted.coef_[[3, 1, 4, 0, 2]], fitted.intercept_))
    want.fit(X, y)
    for given in (fitted, (named, fitted.intercept_), named):
        model = FineTunedLinearRegression(source=given).fit(frame, y)
        np.testing.assert_allclose(model.coef_, want.coef_, rtol=1e-9)
        np.testing.assert_allclose(model.predict(frame), want.predict(X), rtol=1e-9)
    report = LinearTransferReport([fitted]).fit(frame, y)
    np.testing.assert_allclose(report.zero_shot_, np.mean((fitted.predict(turned) - y) ** 2))
