"""Sources that saw the labels that judge them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import retemper
from retemper.advisor import Predictions
from retemper.advisor.inputs import read_task
from retemper.advisor.leaks import leaves_too_little, row_keys, row_space, shared_rows

N, D = 80, 4


def waves(n, seed, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] + noise * rng.normal(size=n)


X, Y = waves(N, 0)
OTHER = waves(600, 1)


def suspect(X, y, source):
    return read_task(X, y, {"s": source}, "auto").sources[0].is_suspect


def test_rows_of_the_target_are_left_out_of_the_source():
    """The source is the one fitted to its other rows, and the rows are named."""
    rows, labels = np.vstack([X[10:17] + 1e-9, OTHER[0][:50]]), np.r_[Y[10:17], OTHER[1][:50]]
    advice = retemper.advise(X, Y, sources={"s": (rows, labels)}, cv=3)
    (flag,) = [f for f in advice["s"].flags if "among its data" in f]
    assert "7 target rows" in flag
    assert "(target rows 10, 11, 12, 13, 14, …)" in flag
    clean = retemper.advise(X, Y, sources={"s": (rows[7:], labels[7:])}, cv=3)
    assert advice["s"].loss == clean["s"].loss
    assert "see these labels" not in advice.headline


def test_the_target_itself_is_no_source():
    with pytest.raises(ValueError, match=r"rows of its own: 80 of its 80 rows"):
        retemper.advise(X, Y, sources={"s": (X, Y)})
    classes = np.where(Y > 0, "yes", "no")
    with pytest.raises(ValueError, match=r"rows of its own: 82 of its 82 rows"):
        retemper.advise(X, classes, sources={"s": (np.r_[X, X[:2]], np.r_[classes, classes[:2]])})


def test_the_same_rows_with_other_labels_are_another_task():
    here, there, copied = shared_rows(row_keys(X), Y, row_keys(X[::-1]), Y[::-1] + 1.0)
    np.testing.assert_array_equal(here, np.arange(N))
    assert len(there) == N
    assert not copied
    task = read_task(X, Y, {"s": (X, np.cos(X[:, 2]))}, "regression")
    assert "80 of the target rows, with other labels" in task.sources[0].flags[0]


def test_equal_rows_of_few_values_are_no_copies():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, size=(60, 3)).astype(float)
    keys = row_keys(rows)
    assert len(shared_rows(keys, rows[:, 0], keys, rows[:, 0])[0]) == 0


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("form", ["numbers", "frame", "coin flips"])
def test_a_forest_that_saw_the_labels_is_asked_about(form, seen):
    rng = np.random.default_rng(3)
    old, labels = OTHER
    if form == "coin flips":
        y, labels = rng.integers(0, 2, size=N), rng.integers(0, 2, size=600)
        forest = RandomForestClassifier(40, random_state=0)
    else:
        y, forest = Y, RandomForestRegressor(40, random_state=0)
    rows, answers = (np.r_[old, X], np.r_[labels, y]) if seen else (old, labels)
    target = pd.DataFrame(X, columns=list("abcd")) if form == "frame" else X
    forest.fit(pd.DataFrame(rows, columns=list("abcd")) if form == "frame" else rows, answers)
    assert suspect(target, y, forest) == seen


def test_the_headline_asks():
    tree = DecisionTreeClassifier(random_state=0).fit(X, Y > 0)
    advice = retemper.advise(X, Y > 0, sources={"tree": tree}, cv=2)
    assert advice.headline.endswith("Did 'tree' see these labels?")
    (flag,) = [f for f in advice["tree"].flags if "see these labels" in f]
    assert flag.startswith("knows the target labels at these very rows, and not beside them")
    perfect = read_task(X, Y, {"s": Predictions(Y)}, "regression").sources[0]
    assert "reproduces every target label" in " ".join(perfect.flags)
    assert perfect.is_suspect


def test_a_linear_fit_to_the_labels_is_asked_about():
    """Least squares leaves less than the truth itself can."""
    fitted = LinearRegression().fit(X, Y)
    assert suspect(X, Y, fitted)
    assert not suspect(X, Y, LinearRegression().fit(*OTHER))
    rng = np.random.default_rng(0)
    rows, flips = rng.normal(size=(300, D)), rng.integers(0, 2, size=300)
    assert suspect(rows, flips, LogisticRegression(C=1e4).fit(rows, flips))
    assert not suspect(rows, flips, np.zeros(D))


def test_linear_alarms_are_as_rare_as_said():
    """The statistic of the true coefficients follows an F law: its tail areas are uniform."""
    rng = np.random.default_rng(0)
    w, count, n_small = rng.normal(size=D), 0, 0
    for _ in range(400):
        rows = rng.normal(size=(30, D))
        y = rows @ w + rng.normal(size=30)
        scores = (rows @ w)[:, None]
        count += leaves_too_little(row_space(rows), y, scores, is_regression=True)
        design = np.column_stack([np.ones(30), rows])
        best = design @ np.linalg.lstsq(design, y - scores[:, 0], rcond=None)[0]
        left = np.sum((y - scores[:, 0] - best) ** 2)
        n_small += stats.f.cdf(np.sum(best**2) / 5 / (left / 25), 5, 25) < 0.1
    assert count <= 3
    assert abs(n_small - 40) < 4 * (400 * 0.1 * 0.9) ** 0.5
    few = row_space(rows[:5])
    assert not leaves_too_little(few, y[:5], scores[:5], is_regression=True)  # cannot say


@pytest.mark.parametrize(("n", "d"), [(80, 6), (80, 120)])
def test_the_row_space_is_that_of_the_columns_and_the_constant(n, d):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(n, 4)) @ rng.normal(size=(4, d)) + 3.0
    basis, design = row_space(rows), np.column_stack([np.ones(n), rows])
    assert basis.shape == (n, 5) == (n, np.linalg.matrix_rank(design))
    assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    assert_allclose(basis @ (basis.T @ design), design, rtol=1e-10)


def test_the_search_for_the_best_classes_ends_with_the_answer_of_the_whole_search():
    """Sources from the best fit to a clean one: asked about below one threshold of the deviance."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(400, 5))
    w = rng.normal(size=5)
    y = (rng.random(400) < special.expit(rows @ w)).astype(float)
    basis = row_space(rows)
    best = (
        LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(rows, y).decision_function(rows)
    )
    for part in np.linspace(0, 1, 21):
        scores = (1 - part) * best + part * rows @ w
        deviance = 2 * np.sum(
            np.logaddexp(0, scores) - y * scores - np.logaddexp(0, best) + y * best
        )
        asked = leaves_too_little(basis, y, scores[:, None], is_regression=False)
        assert asked == (stats.chi2.cdf(deviance, 6) < 1e-3)
    loud = (-30.0 * rows @ w)[:, None]  # whole steps of Newton run away from here
    assert not leaves_too_little(basis, y, loud, is_regression=False)
