"""Ridges and penalties chosen by folds, against the obvious loop over fits and folds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from retemper.exceptions import ValidityWarning
from retemper.linear import (
    FineTunedLasso,
    FineTunedLinearRegression,
    FineTunedLogisticRegression,
)

RNG = np.random.default_rng(3)
X = RNG.normal(size=(48, 12)) * np.geomspace(1, 0.1, 12)
W = RNG.normal(size=12)
SOURCE = W + 0.5 * RNG.normal(size=12)
Y = X @ W + 0.3 * RNG.normal(size=48)
C = (X @ W + RNG.normal(size=48) > 0).astype(int)
GROUPS = np.arange(48) % 6
WEIGHT = RNG.integers(0, 4, size=48).astype(float)
FOLDS = list(KFold(4).split(X))


def held_out(estimator, y, weight, loss):
    """Weighted mean loss of the rows left out, by a fit for every fold."""
    total = mass = 0.0
    for train, test in FOLDS:
        fit = clone(estimator).fit(X[train], y[train], sample_weight=weight[train])
        total += weight[test] @ loss(fit, X[test], y[test])
        mass += weight[test].sum()
    return total / mass


def squared(fit, rows, y):
    return (y - fit.predict(rows)) ** 2


def nats(fit, rows, y):
    return -np.log(fit.predict_proba(rows)[np.arange(len(y)), y])


@pytest.mark.parametrize("weight", [np.ones(48), WEIGHT], ids=["even", "weighted"])
@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 1.0),
        ({"source": SOURCE}, 1.0),
        ({"source": SOURCE, "source_scale": "auto", "metric": "covariance"}, 1.0),
        ({"source": lambda rows: rows @ SOURCE, "source_scale": 0.7}, 1.0),
        ({"fit_intercept": False, "source": (SOURCE, 0.4)}, 1.0),
    ],
    ids=["scratch", "source", "scaled", "callable", "no intercept"],
)
def test_squared_errors_of_the_folds(weight, options, factor):
    model = FineTunedLinearRegression(cv=FOLDS, **options).fit(X, Y, sample_weight=weight)
    assert (np.diff(model.ridges_) < 0).all()
    for j in (0, len(model.ridges_) // 2, len(model.ridges_) - 1):
        plain = FineTunedLinearRegression(ridge=float(model.ridges_[j]), **options)
        assert_allclose(model.cv_curve_[j], held_out(plain, Y, weight, squared), rtol=1e-9)
    assert model.ridge_ == model.ridges_[np.argmin(model.cv_curve_)]
    same = FineTunedLinearRegression(ridge=model.ridge_, **options).fit(X, Y, sample_weight=weight)
    assert_array_equal(model.coef_, same.coef_)


def test_two_outputs_add_their_errors():
    both = np.c_[Y, 2 * Y]
    one = FineTunedLinearRegression(cv=FOLDS).fit(X, Y)
    two = FineTunedLinearRegression(cv=FOLDS).fit(X, both)
    assert_allclose(two.cv_curve_, 5 * one.cv_curve_, rtol=1e-10)


@pytest.mark.parametrize("weight", [np.ones(48), WEIGHT], ids=["even", "weighted"])
@pytest.mark.parametrize("options", [{}, {"source": SOURCE}], ids=["scratch", "source"])
def test_log_losses_of_the_folds(weight, options):
    model = FineTunedLogisticRegression(cv=FOLDS, **options).fit(X, C, sample_weight=weight)
    for j in (0, 9, 15):  # the penalty on the sum of losses is kept when rows leave
        total = mass = 0.0
        for train, test in FOLDS:
            ridge = float(model.ridges_[j]) * weight.sum() / weight[train].sum()
            plain = FineTunedLogisticRegression(ridge=ridge, **options)
            plain.fit(X[train], C[train], sample_weight=weight[train])
            right = np.exp(-nats(plain, X[test], C[test]))
            total += weight[test] @ -np.log(0.999 * right + 0.0005)  # which bounds the loss
            mass += weight[test].sum()
        assert_allclose(model.cv_curve_[j], total / mass, rtol=2e-3)
    assert model.ridge_ == model.ridges_[np.argmin(model.cv_curve_)]
    assert len(model.cv_curve_) == len(model.ridges_)
    again = model.set_params(cv=None, ridge=0.1).fit(X, C, sample_weight=weight)
    assert not hasattr(again, "cv_curve_")


def test_three_classes_and_a_scale_that_is_chosen():
    y = np.digitize(X @ W, [-1, 1])
    teacher = FineTunedLogisticRegression().fit(X, y)
    model = FineTunedLogisticRegression(source=teacher, source_scale="auto", cv=3).fit(X, y)
    assert model.cv_curve_.min() < log_loss(y, np.full((48, 3), 1 / 3))
    with pytest.warns(ValidityWarning, match="no split has rows of two classes"):
        FineTunedLogisticRegression(cv=[(np.flatnonzero(y), np.flatnonzero(y == 0))]).fit(X, y)


@pytest.mark.parametrize(
    ("cls", "y"),
    [
        (FineTunedLinearRegression, Y),
        (FineTunedLogisticRegression, C),
        (FineTunedLasso, Y),
    ],
)
def test_groups_stay_together(cls, y):
    by_groups = cls(source=SOURCE, cv=GroupKFold(3)).fit(X, y, groups=GROUPS)
    by_list = cls(source=SOURCE, cv=list(GroupKFold(3).split(X, y, GROUPS))).fit(X, y)
    assert_array_equal(by_groups.cv_curve_, by_list.cv_curve_)
    assert_array_equal(by_groups.coef_, by_list.coef_)
    with pytest.raises(ValueError, match="groups need a splitter"):
        cls(cv=3).fit(X, y, groups=GROUPS)
    with pytest.raises(ValueError, match="cv must number rows from 0 to 47"):
        cls(cv=[([0, 1, 2, 3, 60], [5])]).fit(X, y)


def test_a_number_of_folds():
    linear = FineTunedLinearRegression(cv=4).fit(X, Y)
    assert_array_equal(linear.cv_curve_, FineTunedLinearRegression(cv=FOLDS).fit(X, Y).cv_curve_)
    logistic = FineTunedLogisticRegression(cv=4).fit(X, C)
    folds = list(StratifiedKFold(4).split(X, C))
    again = FineTunedLogisticRegression(cv=folds).fit(X, C)
    assert_array_equal(logistic.cv_curve_, again.cv_curve_)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (FineTunedLinearRegression(ridge=1.0, cv=3), "cv chooses the ridge at depth 1"),
        (FineTunedLinearRegression(depth=3, cv=3), "cv chooses the ridge at depth 1"),
        (FineTunedLogisticRegression(ridge=1.0, cv=3), "cv chooses the ridge"),
        (FineTunedLogisticRegression(cv=1), "cv must be at least 2"),
        (FineTunedLinearRegression(cv="five"), "cv"),
    ],
)
def test_bad_folds(model, message):
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, C)
