"""Logistic regression towards a source: limits, scikit-learn, refits, sources, refusals."""

import math
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.linear import FineTunedLogisticRegression
from retemper.linear.logistic import path as logistic
from retemper.linear.logistic.path import LogisticPath, contrast, log_loss_rows, probabilities

inf = math.inf
SHAPES = [(40, 6, 2), (30, 50, 2), (60, 5, 3), (40, 60, 4)]


def sample(n, d, k, seed=0, signal=2.0):
    """Rows, classes 0..k-1 each at least twice, and the true coefficients."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 0.3
    W = rng.normal(size=(1 if k == 2 else k, d)) * signal / np.sqrt(d)
    logits = X @ W.T
    if k == 2:
        logits = np.hstack([0.0 * logits, logits])
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    y[: 2 * k] = np.repeat(np.arange(k), 2)
    return X, y, W


def fit(*args, **kwargs):
    return lambda X, y: FineTunedLogisticRegression(*args, **kwargs).fit(X, y)


def logits_of(model, X):
    value = model.decision_function(X)
    return np.stack([np.zeros_like(value), value], axis=1) if value.ndim == 1 else value


def gradient(model, X, y, weight, *, source, ridge, metric=None):
    """Of the loss in the slopes and intercepts, from its definition."""
    prob = probabilities(logits_of(model, X))
    error = weight[:, None] / weight.sum() * (prob - np.eye(prob.shape[1])[y])
    M = np.eye(X.shape[1]) if metric is None else metric
    if len(model.coef_) == 1:
        error = error[:, 1:]
    return error.T @ X + ridge * (model.coef_ - source) @ M, error.sum(axis=0)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_without_a_source_it_is_that_of_scikit_learn(n, d, k):
    X, y, _ = sample(n, d, k)
    for fit_intercept in (True, False):
        ours = fit(0.05, fit_intercept=fit_intercept)(X, y)
        theirs = LogisticRegression(
            C=1 / (n * 0.05), tol=1e-10, max_iter=10_000, fit_intercept=fit_intercept
        ).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=3e-6)
        np.testing.assert_allclose(ours.intercept_.sum() * (k > 2), 0.0, atol=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("ridge", [0.003, 0.3])
def test_gradient_vanishes(n, d, k, ridge):
    X, y, W = sample(n, d, k)
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.2, 3.0, n)
    model = FineTunedLogisticRegression(ridge, W, source_scale=0.7).fit(X, y, weight)
    slopes, offsets = gradient(model, X, y, weight, source=0.7 * W, ridge=ridge)
    np.testing.assert_allclose(slopes, 0.0, atol=1e-9)
    np.testing.assert_allclose(offsets, 0.0, atol=1e-9)


@pytest.mark.parametrize("k", [2, 3])
def test_infinite_ridge_keeps_the_source(k):
    X, y, W = sample(40, 6, k)
    kept = fit(inf, W, fit_intercept=False)(X, y)
    np.testing.assert_allclose(kept.coef_, W, rtol=1e-12)
    np.testing.assert_allclose(kept.intercept_, 0.0, atol=1e-15)
    assert kept.loo_ == pytest.approx(log_loss_rows(logits_of(kept, X), y).mean())
    shifted = fit(inf, W)(X, y)
    np.testing.assert_allclose(shifted.coef_, W, rtol=1e-12)
    np.testing.assert_allclose(shifted.predict_proba(X).mean(0), np.bincount(y) / 40, atol=1e-9)
    near = fit(1e9, W)(X, y)
    np.testing.assert_allclose(near.predict_proba(X), shifted.predict_proba(X), atol=1e-7)


def test_a_source_is_a_change_of_origin():
    """Data drawn from the source itself cost nothing: the fit at W from W is where scratch is."""
    X, y, _ = sample(60, 5, 3)
    scratch = fit(0.0)(X, y)
    again = fit(7.0, scratch)(X, y)  # already the minimum, so no pull changes it
    np.testing.assert_allclose(again.coef_, scratch.coef_, atol=1e-9)
    np.testing.assert_allclose(again.predict_proba(X), scratch.predict_proba(X), atol=1e-9)


def test_two_classes_are_the_softmax_at_half_the_ridge():
    X, y, W = sample(40, 6, 2)
    weight = np.full(40, 1 / 40)
    binary = fit(0.1, W)(X, y)
    path = LogisticPath(X, y, 2, weight)
    path.contrast = np.array([[-1.0], [1.0]]) / np.sqrt(2.0)  # the symmetric coordinates
    path.bound = 0.5
    offset = X @ np.vstack([0.0 * W, W]).T
    both = path.fit(offset, 0.2)
    np.testing.assert_allclose(probabilities(both.logits), binary.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_contrast(k):
    C = contrast(k)
    if k == 2:
        np.testing.assert_array_equal(C, [[0], [1]])
    else:
        np.testing.assert_allclose(C.T @ C, np.eye(k - 1), atol=1e-14)
        np.testing.assert_allclose(C.sum(axis=0), 0.0, atol=1e-14)


def left_out(X, y, k, *, ridge, weight, offset=None, fit_intercept=True):
    """Leave-one-out logits by refitting, the penalty on the sum of losses kept."""
    out = np.empty((len(X), k))
    for i in range(len(X)):
        keep = np.arange(len(X)) != i
        rest = 1.0 - weight[i]
        path = LogisticPath(X[keep], y[keep], k, weight[keep] / rest, fit_intercept=fit_intercept)
        zero = np.zeros((len(X), k)) if offset is None else offset
        coef, intercept = path.coef(path.fit(zero[keep], ridge / rest).theta)
        out[i] = zero[i] + coef @ X[i] + intercept
    return out


@pytest.mark.parametrize(
    ("n", "d", "k", "tolerance"),
    [(50, 4, 2, 0.004), (40, 60, 2, 0.004), (60, 4, 3, 0.006), (40, 50, 4, 0.03)],
)
def test_leave_one_out_is_close_to_refits(n, d, k, tolerance):
    X, y, _ = sample(n, d, k)
    weight = np.random.default_rng(3).uniform(0.5, 2.0, n)
    weight /= weight.sum()
    for ridge in (0.1 * max(1, d / n), 2.0):
        model = FineTunedLogisticRegression(ridge).fit(X, y, weight)
        refits = left_out(X, y, k, ridge=ridge, weight=weight)
        losses = log_loss_rows(refits, y)
        assert model.loo_ == pytest.approx(weight @ losses, rel=3 * tolerance)
        assert np.sqrt(np.mean((losses - model.loo_loss_rows_) ** 2)) < 2 * tolerance
        assert model.loo_error_rate_ == pytest.approx(weight @ (refits.argmax(1) != y), abs=0.03)
    assert model.loo_ == pytest.approx(weight @ model.loo_loss_rows_)


def test_leave_one_out_error_falls_with_the_square_of_the_influence():
    """One Newton step, without the intercept, whose influence no ridge lowers."""
    X, y, _ = sample(40, 30, 2)
    weight = np.full(40, 1 / 40)
    errors = []
    for ridge in (2.0, 8.0, 32.0):
        path = LogisticPath(X, y, 2, weight, fit_intercept=False)
        found = path.left_out(path.fit(np.zeros((40, 2)), ridge))
        want = left_out(X, y, 2, ridge=ridge, weight=weight, fit_intercept=False)
        errors.append(np.abs(found - want).max())
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8


def test_blocks_by_class_approximate_the_joint_hessian(monkeypatch):
    X, y, W = sample(80, 6, 5)
    joint = fit(0.3, W)(X, y)
    monkeypatch.setattr(logistic, "JOINT_LIMIT", 0)
    blocks = fit(0.3, W)(X, y)
    np.testing.assert_allclose(blocks.coef_, joint.coef_, atol=1e-7)  # the fit is the same
    assert blocks.loo_ != joint.loo_
    refits = left_out(X, y, 5, ridge=0.3, weight=np.full(80, 1 / 80), offset=X @ W.T)
    assert blocks.loo_ == pytest.approx(log_loss_rows(refits, y).mean(), rel=0.02)
    order = np.array([3, 1, 4, 0, 2])  # no coordinates are preferred
    again = fit(0.3, W[np.argsort(order)])(X, order[y])
    assert again.loo_ == pytest.approx(blocks.loo_, rel=1e-9)


@pytest.mark.parametrize(("n", "d", "k"), [(40, 60, 2), (60, 5, 3)])
def test_choice_is_the_best_of_the_grid(n, d, k):
    X, y, W = sample(n, d, k)
    model = fit(source=W)(X, y)
    assert model.ridge_ in model.ridges_
    assert (np.diff(model.ridges_) < 0.0).all()
    assert model.loo_ == model.loo_path_.min()
    for ridge, loss in list(zip(model.ridges_, model.loo_path_, strict=True))[::7]:
        assert fit(ridge, W)(X, y).loo_ == pytest.approx(loss, abs=1e-4)


def test_scale_of_the_source_is_found():
    X, y, W = sample(150, 40, 2, signal=4.0)
    plain = fit(source=W)(X, y)
    for factor in (-50.0, 0.01, 3.0):
        model = fit(source=W / factor, source_scale="auto")(X, y)
        assert 0.3 < model.source_scale_ / factor < 1.5
        assert model.loo_ < plain.loo_ * 1.02
    useless = fit(source=np.zeros(40), source_scale="auto")(X, y)
    assert useless.source_scale_ == 0.0
    X, y, W = sample(150, 20, 3, signal=4.0)
    assert -1.5 < fit(source=-W, source_scale="auto")(X, y).source_scale_ < -0.4


@pytest.mark.parametrize("k", [2, 3])
def test_rescaled_data(k):
    X, y, W = sample(50, 8, k)
    one = fit(source=W)(X, y)
    two = fit(source=W * 1e6)(X * 1e-6, y)
    np.testing.assert_allclose(two.coef_, one.coef_ * 1e6, rtol=1e-6)
    assert two.ridge_ == pytest.approx(one.ridge_ * 1e-12)
    shifted = fit(source=W, ridge=0.1)(X + 5.0, y)
    np.testing.assert_allclose(shifted.coef_, fit(source=W, ridge=0.1)(X, y).coef_, atol=1e-7)


@pytest.mark.parametrize("k", [2, 3])
def test_weights_are_repetitions_at_a_given_ridge(k):
    X, y, W = sample(40, 6, k)
    times = np.random.default_rng(5).integers(0, 4, 40)
    times[: 2 * k] += 1
    weighted = FineTunedLogisticRegression(0.1, W).fit(X, y, times)
    repeated = fit(0.1, W)(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-8)
    assert (np.isnan(weighted.loo_loss_rows_) == (times == 0)).all()
    same = FineTunedLogisticRegression(source=W).fit(X, y, np.full(40, 17.0))
    assert same.loo_ == pytest.approx(fit(source=W)(X, y).loo_, rel=1e-9)


def test_class_weights_are_sample_weights():
    X, y, _ = sample(60, 5, 3)
    by_class = fit(class_weight={0: 3.0, 1: 1.0, 2: 0.5})(X, y)
    by_row = FineTunedLogisticRegression().fit(X, y, np.array([3.0, 1.0, 0.5])[y])
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, rtol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (20, 30)])
@pytest.mark.parametrize("k", [2, 3])
def test_metric_enters_the_gradient(n, d, k):
    X, y, W = sample(n, d, k)
    rng = np.random.default_rng(2)
    root = rng.normal(size=(d, d))
    full, diagonal = root @ root.T / d + np.eye(d), rng.uniform(0.5, 3.0, d)
    weight = rng.uniform(0.5, 2.0, n)
    prob = probabilities(X @ W.T if k > 2 else np.hstack([np.zeros((n, 1)), X @ W.T]))
    information = weight / weight.sum() * (prob * (1 - prob)).mean(axis=1)

    def moments(w):
        Z = X - w @ X / w.sum()
        form = Z.T @ (w[:, None] * Z)
        return form + 1e-3 * np.trace(form) / d * np.eye(d)

    cases = [
        (full, full),
        (diagonal, np.diag(diagonal)),
        ("covariance", moments(weight / weight.sum())),
        ("fisher", moments(information)),
    ]
    for metric, M in cases:
        model = FineTunedLogisticRegression(0.1, W, metric=metric).fit(X, y, weight)
        slopes, offsets = gradient(model, X, y, weight, source=W, ridge=0.1, metric=M)
        np.testing.assert_allclose(slopes, 0.0, atol=1e-8)
        np.testing.assert_allclose(offsets, 0.0, atol=1e-8)
    same = FineTunedLogisticRegression(0.1, W, metric=np.eye(d)).fit(X, y)
    np.testing.assert_allclose(same.coef_, fit(0.1, W)(X, y).coef_, atol=1e-8)


class TestSources:
    def test_linear_classifiers_by_label(self):
        X, y, _ = sample(90, 5, 4)
        names = np.array(["d", "a", "c", "b"])
        source = LogisticRegression().fit(X, names[y])
        rows = {name: j for j, name in enumerate(source.classes_)}
        some = np.isin(y, [0, 1, 2])
        model = fit(0.2, source)(X[some], names[y[some]])
        picked = source.coef_[[rows[name] for name in model.classes_]]
        want = fit(0.2, picked)(X[some], names[y[some]])
        np.testing.assert_allclose(model.predict_proba(X), want.predict_proba(X), atol=1e-8)
        two = np.isin(y, [1, 3])
        model = fit(inf, source, fit_intercept=False)(X[two], names[y[two]])
        want = source.decision_function(X)[:, rows["b"]] - source.decision_function(X)[:, rows["a"]]
        np.testing.assert_allclose(model.decision_function(X), want)
        narrow = LogisticRegression().fit(X[some], names[y[some]])
        with pytest.raises(ValueError, match=r"does not know the classes \['b'\]"):
            fit(source=narrow)(X, names[y])

    def test_binary(self):
        X, y, W = sample(60, 5, 2)
        want = fit(0.2, W)(X, y)
        for source in (W[0], W[0].tolist(), np.vstack([-W / 2, W / 2]), lambda Z: Z @ W[0]):
            model = fit(0.2, source)(X, y)
            np.testing.assert_allclose(model.predict_proba(X), want.predict_proba(X), atol=1e-8)
        earlier = LogisticRegression().fit(X[:20], y[:20])
        np.testing.assert_allclose(
            fit(inf, earlier, fit_intercept=False)(X, y).predict_proba(X), earlier.predict_proba(X)
        )

    @pytest.mark.parametrize("k", [2, 3])
    def test_any_classifier(self, k):
        X, y, _ = sample(80, 5, k)
        half = slice(0, 40)
        for kind in (GaussianNB(), RandomForestClassifier(5, random_state=0)):
            source = kind.fit(X[half], y[half])
            model = fit(inf, source, fit_intercept=False)(X[40:], y[40:])
            want = np.maximum(source.predict_proba(X), 1e-4)
            want /= want.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(model.predict_proba(X), want, rtol=1e-9)
            tuned = fit(source=source)(X[40:], y[40:])
            chained = fit(inf, tuned, fit_intercept=False)(X[40:], y[40:])
            np.testing.assert_allclose(
                chained.decision_function(X), tuned.decision_function(X), atol=1e-9
            )
            copy = pickle.loads(pickle.dumps(tuned))
            np.testing.assert_array_equal(copy.predict_proba(X), tuned.predict_proba(X))
        margins = SVC().fit(X[half], y[half])
        model = fit(inf, margins, fit_intercept=False)(X[40:], y[40:])
        np.testing.assert_allclose(model.decision_function(X), margins.decision_function(X))

    def test_data_frames_reach_the_source(self):
        pd = pytest.importorskip("pandas")
        X, y, _ = sample(60, 4, 3)
        frame = pd.DataFrame(X, columns=list("abcd"))
        source = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[:30], y[:30])
        model = fit(inf, source, fit_intercept=False)(frame, y)
        np.testing.assert_array_equal(model.predict(frame), source.predict(frame))
        assert model.feature_names_in_.tolist() == list("abcd")

    def test_wrong_ones(self):
        X, y, _ = sample(60, 5, 3)
        for source, kind, message in (
            (np.zeros(4), ValueError, r"source must have shape \(3, 5\)"),
            (np.full((3, 5), np.nan), ValueError, r"source\[0, 0\] is nan"),
            (LogisticRegression, TypeError, "pass a fitted instance"),
            (LogisticRegression(), NotFittedError, "source is not fitted"),
            ("scratch", TypeError, "source must be coefficients"),
            (lambda Z: Z[:, :2], ValueError, r"source\(X\) must have shape"),
            (
                LogisticRegression().fit(X[:, :4], y),
                ValueError,
                "source was fitted on 4 features",
            ),
        ):
            with pytest.raises(kind, match=message):
                fit(source=source)(X, y)


def test_separable_data():
    X, y, _ = sample(30, 50, 2)
    with pytest.raises(ValueError, match="ridge must be positive where the features separate"):
        fit(0.0)(X, y)
    X, y, _ = sample(90, 3, 3)
    with pytest.raises(ValueError, match="separate the classes"):
        fit(0.0)(np.hstack([X, 5.0 * (y == 1)[:, None]]), y)
    model = fit()(np.hstack([X, 5.0 * (y == 1)[:, None]]), y)
    assert np.isfinite(model.coef_).all()


def test_hard_starts_converge():
    X, y, W = sample(40, 6, 2)
    for factor in (300.0, -300.0):
        for ridge in (0.1, inf):
            model = fit(ridge, factor * W)(X, y)
            _, offsets = gradient(model, X, y, np.ones(40), source=factor * W, ridge=0.1)
            np.testing.assert_allclose(offsets, 0.0, atol=1e-7)


def test_rows_that_do_not_vary():
    X, y, _ = sample(20, 4, 2)
    with pytest.warns(ValidityWarning, match="does not vary"):
        model = fit()(np.ones_like(X), y)
    np.testing.assert_allclose(model.predict_proba(X[:1])[0], np.bincount(y) / 20, atol=1e-9)
    np.testing.assert_array_equal(model.coef_, 0.0)


def test_too_few_steps_warn():
    X, y, _ = sample(40, 6, 2)
    with pytest.warns(ConvergenceWarning, match=r"at ridge=0.01 .*residual"):
        fit(0.01, max_iter=1)(X, y)


def test_searches_and_clones():
    X, y, W = sample(60, 5, 2)
    search = GridSearchCV(FineTunedLogisticRegression(source=W), {"ridge": [0.1, "loo"]}, cv=3)
    assert np.isfinite(search.fit(X, y).best_score_)
    model = FineTunedLogisticRegression(source=W)
    assert clone(model).source is W
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.5 < model.fit(X, y).score(X, y) <= 1.0
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))


@pytest.mark.parametrize(
    ("kwargs", "kind", "message"),
    [
        ({"ridge": -0.1}, ValueError, "ridge must lie in"),
        ({"ridge": "gcv"}, ValueError, "ridge must be one of"),
        ({"ridge": None}, TypeError, "ridge must be a real number"),
        ({"source_scale": "loo"}, ValueError, "source_scale must be one of"),
        ({"source_scale": inf}, ValueError, "source_scale must lie"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"tol": 0.0}, ValueError, "tol must lie in"),
        ({"metric": "euclid"}, ValueError, "metric must be one of"),
        ({"metric": np.ones(3)}, ValueError, r"metric must have shape \(5,\) or \(5, 5\)"),
        ({"metric": -np.ones(5)}, ValueError, r"metric must be positive, got metric\[0\]"),
        ({"metric": np.triu(np.ones((5, 5)))}, ValueError, "metric must be symmetric"),
        ({"metric": np.ones((5, 5))}, ValueError, "metric must be positive definite"),
    ],
)
def test_bad_arguments(kwargs, kind, message):
    X, y, _ = sample(40, 5, 2)
    with pytest.raises(kind, match=message):
        fit(**kwargs)(X, y)


def test_bad_data():
    X, y, _ = sample(40, 5, 2)
    model = FineTunedLogisticRegression()
    with pytest.raises(ValueError, match="one class only"):
        model.fit(X, np.ones(40))
    with pytest.raises(ValueError, match="one class only"):
        model.fit(X, y, (y == 1).astype(float))
    with pytest.raises(ValueError, match=r"(?i)negative"):
        model.fit(X, y, -np.ones(40))
    with pytest.raises(ValueError, match="positive for two rows"):
        model.fit(X, y, np.eye(40)[0])
    with pytest.raises(NotFittedError):
        FineTunedLogisticRegression().predict(X)
    with pytest.raises(ValueError, match="continuous"):
        model.fit(X, X[:, 0])
