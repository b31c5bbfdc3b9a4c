"""Logistic regression towards a source: limits, scikit-learn, refits, sources, refusals."""

import math
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.linear import FineTunedLogisticRegression
from retemper.linear.logistic import path as logistic
from retemper.linear.logistic.choice import Judge, draw_folds
from retemper.linear.logistic.path import (
    LogisticPath,
    Start,
    by_class,
    contrast,
    log_loss_rows,
    probabilities,
)

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


def newton(X, y, k, *, ridge, weight, offset, fit_intercept=True, source=None, scale_ridge=0.0):
    """Slopes (k, d), intercepts (k,) and factor from the definition: dense Newton steps, halved.

    Two classes as one logit, or any number of them as the symmetric softmax.
    """
    n, d = X.shape
    m = 1 if offset.shape[1] == 1 else k
    columns = [np.kron(np.eye(m), X)]
    columns += [np.kron(np.eye(m), np.ones((n, 1)))] if fit_intercept else []
    columns += [] if source is None else [source.T.reshape(-1, 1)]
    design = np.hstack(columns).reshape(m, n, -1)
    penalty = np.zeros(design.shape[-1])
    penalty[: m * d] = ridge
    if source is not None:
        penalty[-1] = scale_ridge
    theta = np.zeros(design.shape[-1])

    def logits(theta):
        return offset + (design @ theta).T

    def value(theta):
        return weight @ log_loss_rows(logits(theta), y) + 0.5 * penalty @ theta**2

    for _ in range(60):
        prob = probabilities(logits(theta))
        target = np.eye(prob.shape[1])[y]
        prob, target = (prob[:, 1:], target[:, 1:]) if m == 1 else (prob, target)
        gradient = np.einsum("ani,na,n->i", design, prob - target, weight) + penalty * theta
        mean = np.einsum("na,ani->ni", prob, design)
        hessian = np.einsum("ani,na,n,anj->ij", design, prob, weight, design)
        hessian -= (mean * weight[:, None]).T @ mean
        step = np.linalg.lstsq(hessian + np.diag(penalty), gradient, rcond=1e-13)[0]
        size = 1.0
        while value(theta - size * step) > value(theta) + 1e-13 and size > 1e-4:
            size /= 2
        theta = theta - size * step
    rest = theta[m * d :]
    return theta[: m * d].reshape(m, d), rest[:m] if fit_intercept else np.zeros(m), theta[-1]


def test_two_classes_are_the_softmax_at_half_the_ridge():
    X, y, W = sample(40, 6, 2)
    weight = np.full(40, 1 / 40)
    offset = X @ np.vstack([0.0 * W, W]).T
    slopes, offsets, _ = newton(X, y, 2, ridge=0.2, weight=weight, offset=offset)
    both = probabilities(offset + X @ slopes.T + offsets)
    np.testing.assert_allclose(both, fit(0.1, W)(X, y).predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_contrast(k):
    C = contrast(k)
    np.testing.assert_allclose(C.T @ C, np.eye(max(k - 1, 1)), atol=1e-14)
    if k > 2:
        np.testing.assert_allclose(C.sum(axis=0), 0.0, atol=1e-14)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("n", "d", "k"), [(30, 3, 2), (24, 30, 2), (36, 4, 3), (18, 20, 3)])
def test_left_out_rows_are_those_of_refits(n, d, k, fit_intercept):
    """Splits of a few rows, of many, in time, with weights and a fitted factor."""
    X, y, W = sample(n, d, k)
    rng = np.random.default_rng(4)
    weight, every = rng.uniform(0.2, 2.0, n), np.arange(n)
    weight /= weight.sum()
    m = 1 if k == 2 else k
    offset, source = rng.normal(size=(n, m)), X @ (W + 0.3 * rng.normal(size=W.shape)).T
    place = rng.permutation(n) % 3
    splits = [(every[place != f], every[place == f]) for f in range(3)]
    splits += [(np.delete(every, 5), every[5:6]), (every[: n // 2], every[n // 2 :])]
    path = LogisticPath(X, y, k, weight, fit_intercept=fit_intercept)
    run = path.run(path.folds(splits), Start(offset, source, 0.02))
    for ridge in (inf, 1.0, 0.03):
        found = path.advance(run, np.array([ridge]), 1e-9)
        assert set(found.status) == {"converged"}
        first = 0
        for train, test in splits:
            columns = X[:, :0] if ridge == inf else X
            coef, intercept, factor = newton(
                columns[train], y[train], k, ridge=min(ridge, 1e9), weight=weight[train],
                offset=offset[train], fit_intercept=fit_intercept, source=source[train],
                scale_ridge=0.02,
            )  # fmt: skip
            want = offset[test] + columns[test] @ coef.T + intercept + factor * source[test]
            got = found.logits[first : first + len(test)]
            np.testing.assert_allclose(
                probabilities(got), probabilities(want), rtol=1e-5, atol=1e-7
            )
            first += len(test)


def test_threads_change_no_bit():
    X, y, _ = sample(60, 80, 3)
    weight = np.full(60, 1 / 60)
    found = []
    for n_threads in (1, 2, 3):
        path = LogisticPath(X, y, 3, weight, n_threads=n_threads)
        run = path.run(path.folds(draw_folds(y)), Start(np.zeros((60, 3))))
        found.append(path.advance(run, path.grid()[:12], 1e-4).logits)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def left_out(X, y, k, *, ridge, weight, offset=None, fit_intercept=True):
    """Leave-one-out logits by refitting, the penalty on the sum of losses kept."""
    offset = np.zeros((len(X), 1 if k == 2 else k)) if offset is None else offset
    out = np.empty_like(offset)
    for i in range(len(X)):
        keep = np.arange(len(X)) != i
        coef, intercept, _ = newton(
            X[keep], y[keep], k, ridge=ridge, weight=weight[keep], offset=offset[keep],
            fit_intercept=fit_intercept,
        )  # fmt: skip
        out[i] = offset[i] + coef @ X[i] + intercept
    return out


@pytest.mark.parametrize(
    ("n", "d", "k", "tolerance"), [(40, 4, 2, 0.005), (24, 30, 2, 0.03), (36, 4, 3, 0.015)]
)
def test_leave_one_out(n, d, k, tolerance, monkeypatch):
    """Up to 200 rows it refits; above, one Newton step is close."""
    X, y, _ = sample(n, d, k)
    weight = np.random.default_rng(3).uniform(0.5, 2.0, n)
    weight /= weight.sum()
    ridge = 0.1 * max(1, d / n)
    want = left_out(X, y, k, ridge=ridge, weight=weight)
    losses, wrong = log_loss_rows(want, y), by_class(want).argmax(axis=1) != y
    for limit, close in ((200, 1e-4), (0, tolerance)):
        monkeypatch.setattr(logistic, "REFIT_LIMIT", limit)
        model = FineTunedLogisticRegression(ridge).fit(X, y, weight)
        assert model.loo_ == pytest.approx(weight @ losses, rel=3 * close)
        assert np.sqrt(np.mean((losses - model.loo_loss_rows_) ** 2)) < 2 * close
        assert model.loo_error_rate_ == pytest.approx(
            weight @ wrong, abs=0.03 if limit < n else 1e-9
        )
        assert model.loo_ == pytest.approx(weight @ model.loo_loss_rows_)


def test_one_step_errs_by_the_square_of_the_influence(monkeypatch):
    """Without the intercept, whose influence no ridge lowers."""
    X, y, _ = sample(40, 30, 2)
    weight, start = np.full(40, 1 / 40), Start(np.zeros((40, 1)))
    path = LogisticPath(X, y, 2, weight, fit_intercept=False)
    errors = []
    for ridge in (2.0, 8.0, 32.0):
        found = path.fit(start, ridge)
        monkeypatch.setattr(logistic, "_REFIT_TOL", 1e-10)
        want = path.left_out(start, found)
        with monkeypatch.context() as only_here:
            only_here.setattr(logistic, "REFIT_LIMIT", 0)
            errors.append(np.abs(path.left_out(start, found) - want).max())
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8


def test_blocks_by_class_approximate_the_joint_hessian(monkeypatch):
    X, y, W = sample(80, 6, 5)
    refits = fit(0.3, W)(X, y)
    monkeypatch.setattr(logistic, "REFIT_LIMIT", 0)
    joint = fit(0.3, W)(X, y)
    monkeypatch.setattr(logistic, "JOINT_LIMIT", 0)
    blocks = fit(0.3, W)(X, y)
    np.testing.assert_array_equal(blocks.coef_, joint.coef_)  # the fit is the same
    assert blocks.loo_ != joint.loo_
    assert blocks.loo_ == pytest.approx(refits.loo_, rel=0.02)
    assert joint.loo_ == pytest.approx(refits.loo_, rel=0.01)
    order = np.array([3, 1, 4, 0, 2])  # no coordinates are preferred
    again = fit(0.3, W[np.argsort(order)])(X, order[y])
    assert again.loo_ == pytest.approx(blocks.loo_, rel=1e-6)


def test_rows_alone_in_their_class_always_train():
    X, y, _ = sample(30, 4, 3)
    y = np.where(y == 2, 1, y)
    y[7] = 2
    model = fit()(X, y)
    assert np.flatnonzero(np.isnan(model.loo_loss_rows_)).tolist() == [7]
    assert np.isfinite(model.loo_)
    assert np.isfinite(model.cv_curve_).all()
    with pytest.warns(ValidityWarning, match="no split has rows of two classes"):
        few = fit()(X[:2], [0, 1])
    assert few.ridge_ == inf
    assert math.isnan(few.loo_)


@pytest.mark.parametrize(("n", "d", "k"), [(40, 60, 2), (60, 5, 3)])
def test_choice_is_that_of_left_out_rows(n, d, k):
    """The ridge of least loss in given splits, from scikit-learn's fits."""
    X, y, _ = sample(n, d, k)
    splits = [(np.flatnonzero(np.arange(n) % 4 != f), np.arange(f, n, 4)) for f in range(4)]
    model = fit(cv=splits)(X, y)
    assert (np.diff(model.ridges_) < 0.0).all()
    assert (model.ridges_[0], len(model.ridges_)) == (inf, len(model.cv_curve_))
    losses = np.empty((len(model.ridges_) - 1, n))
    for at, ridge in zip(losses, model.ridges_[1:], strict=True):
        for train, test in splits:
            theirs = LogisticRegression(C=1 / (n * ridge), tol=1e-8, max_iter=10_000)
            right = theirs.fit(X[train], y[train]).predict_proba(X[test])
            at[test] = right[np.arange(len(test)), y[test]]
    losses = -np.log(0.999 * losses + 0.001 / k)
    mean = losses.mean(axis=1)
    np.testing.assert_allclose(model.cv_curve_[1:], mean, atol=2e-3)
    assert model.ridge_ == model.ridges_[1:][np.argmin(model.cv_curve_[1:])]
    assert mean[np.argmin(model.cv_curve_[1:])] < mean.min() + 2e-3


def test_default_takes_the_largest_ridge_that_is_about_as_good():
    """Within a quarter of a standard error over rows, of folds that are drawn four times."""
    X, y, _ = sample(40, 6, 2)
    path = LogisticPath(X, y, 2, np.full(40, 1 / 40))
    folds = draw_folds(y, 5)
    assert len(folds) == 20
    for first in range(0, 20, 5):
        tests = np.concatenate([test for _, test in folds[first : first + 5]])
        assert sorted(tests) == list(range(40))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(40))
        assert abs(y[test].mean() - y.mean()) <= 1 / len(test)
    losses = Judge(path, folds).losses(Start(np.zeros((40, 1))), path.grid())
    mean = losses.mean(axis=1)
    more = losses - losses[np.argmin(mean)]
    near = mean <= mean.min() + 0.25 * more.std(axis=1) / np.sqrt(40)
    model = fit(random_state=5)(X, y)
    assert model.ridge_ == path.grid()[np.argmax(near)]
    assert model.ridge_ > path.grid()[np.argmin(mean)]
    np.testing.assert_allclose(model.cv_curve_, mean[: len(model.cv_curve_)], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:the chosen ridge:retemper.exceptions.ValidityWarning")
def test_given_splits_choose_the_ridge():
    """Copies of rows on both sides choose too small a ridge; whole groups do not."""
    n, ridges, losses = 24, [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=12)
        X = np.repeat(rng.normal(size=(n, 12)), 5, axis=0) + 0.05 * rng.normal(size=(5 * n, 12))
        y = np.repeat(X[::5] @ w + 3.0 * rng.logistic(size=n) > 0.0, 5)
        group = np.repeat(np.arange(n), 5)
        new = rng.normal(size=(1000, 12))
        truth = 1.0 / (1.0 + np.exp(-new @ w / 3.0))
        splits = list(GroupKFold(6).split(X, y, group))
        for cv in (None, splits):
            model = fit(cv=cv)(X, y)
            log_right = model.predict_log_proba(new)
            losses.append(-np.mean(truth * log_right[:, 1] + (1 - truth) * log_right[:, 0]))
            ridges.append(model.ridge_)
    ridges, losses = np.reshape(ridges, (-1, 2)), np.reshape(losses, (-1, 2))
    assert (ridges[:, 1] > 10.0 * ridges[:, 0]).all()
    assert losses.mean(axis=0)[1] < 0.8 * losses.mean(axis=0)[0]
    X, y, _ = sample(40, 5, 2)
    weight = np.ones(40)
    weight[[3, 4, 20]] = 0.0
    kept = weight > 0.0
    folds = [(np.arange(0, 30), np.arange(30, 40)), (np.arange(10, 40), np.arange(0, 10))]
    place = np.cumsum(kept) - 1
    fewer = [tuple(place[rows[kept[rows]]] for rows in fold) for fold in folds]
    model = FineTunedLogisticRegression(cv=folds).fit(X, y, weight)
    want = FineTunedLogisticRegression(cv=fewer).fit(X[kept], y[kept])
    np.testing.assert_allclose(model.cv_curve_, want.cv_curve_, rtol=1e-9)
    with pytest.raises(ValueError, match="cv must number rows from 0 to 39"):
        fit(cv=[(np.arange(20), [40])])(X, y)


def teacher(rng, n, d, k, signal):
    """Rows to learn from, at least twice of every class, and 2000 to judge."""
    W = rng.normal(size=(k, d)) * signal / np.sqrt(d)
    while True:
        X = rng.normal(size=(n + 2000, d))
        y = (X @ W.T + rng.gumbel(size=(n + 2000, k))).argmax(axis=1)
        if np.bincount(y[:n], minlength=k).min() >= 2:
            return X[:n], y[:n], X[n:], y[n:]


@pytest.mark.parametrize(
    ("n", "d", "k", "signal", "worst"),
    [(60, 20, 2, 2.0, 1.25), (25, 10, 5, 4.0, 1.3), (20, 10, 2, 2.0, 1.35)],
)
def test_ridge_from_few_labels(n, d, k, signal, worst):
    """Against LogisticRegressionCV on standardised columns."""
    ours, theirs = [], []
    for seed in range(10):
        X, y, new, labels = teacher(np.random.default_rng([seed, n]), n, d, k, signal)
        scale = StandardScaler().fit(X)
        X, new = scale.transform(X), scale.transform(new)
        model = fit()(X, y)
        folds = max(2, min(5, np.bincount(y).min()))
        rival = LogisticRegressionCV(
            cv=folds, scoring="neg_log_loss", l1_ratios=(0.0,), use_legacy_attributes=False
        ).fit(X, y)
        ours.append(log_loss(labels, model.predict_proba(new)))
        theirs.append(log_loss(labels, rival.predict_proba(new)))
    ours, theirs = np.array(ours), np.array(theirs)
    assert ours.mean() < 1.06 * theirs.mean()
    assert (ours / theirs).max() < worst


@pytest.mark.parametrize(("n", "d", "k", "signal"), [(60, 20, 2, 2.0), (30, 5, 3, 3.0)])
def test_leave_one_out_is_honest(n, d, k, signal):
    """Also where the ridge is chosen: the mean over draws is the loss on other rows."""
    said, true = [], []
    for seed in range(40):
        X, y, new, labels = teacher(np.random.default_rng([seed, n]), n, d, k, signal)
        model = fit()(X, y)
        said.append(model.loo_)
        true.append(log_loss(labels, model.predict_proba(new)))
    wrong = np.array(said) - true
    assert abs(wrong.mean()) < 2.5 * wrong.std() / np.sqrt(len(wrong))
    assert np.mean(said) == pytest.approx(np.mean(true), rel=0.08)


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
    assert same.loo_ == pytest.approx(fit(source=W)(X, y).loo_, rel=1e-6)


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
        with pytest.warns(ValidityWarning, match=r"does not know the classes \['b'\]"):
            started = fit(inf, narrow, fit_intercept=False)(X, names[y])
        np.testing.assert_array_equal(started.coef_[list(started.classes_).index("b")], 0.0)

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
    search = GridSearchCV(FineTunedLogisticRegression(source=W), {"ridge": [0.1, "cv"]}, cv=3)
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
        ({"ridge": "gcv"}, ValueError, r"ridge must be a number in .* or "),
        ({"ridge": None}, TypeError, "ridge must be a real number"),
        ({"source_scale": "loo"}, ValueError, "source_scale must be a number or 'auto'"),
        ({"source_scale": inf}, ValueError, "source_scale must lie"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"tol": 0.0}, ValueError, "tol must lie in"),
        ({"cv": 1}, ValueError, "cv must be at least 2"),
        ({"metric": "euclid"}, ValueError, "metric must be None, an array or one of"),
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
