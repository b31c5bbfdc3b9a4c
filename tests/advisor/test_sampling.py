"""Groups, splits, weights and the loss that decides."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit, cross_val_score

import retemper
from retemper.advisor.evidence import standard_error
from retemper.advisor.leaks import row_keys
from retemper.advisor.sampling import Rows, condense, fold_rows, read_splits, some_rows

RNG = np.random.default_rng(4)
N, D = 36, 4
X, W = RNG.normal(size=(N, D)), RNG.normal(size=D)
Y = X @ W + 0.5 * RNG.normal(size=N)
SOURCE = {"s": W + 0.1}


def alone(n):
    return Rows(np.arange(n), np.ones(n), is_grouped=False, is_weighted=False)


@pytest.fixture(scope="module")
def patients():
    """Thirty patients, twelve nearly equal images each, a label for every patient."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 12)
    rows = rng.normal(size=(30, 40))[who] + 0.01 * rng.normal(size=(360, 40))
    y = (rng.normal(size=40) @ rng.normal(size=(40, 30)) / 40**0.5 + rng.normal(size=30))[who]
    return rows, y + 0.01 * rng.normal(size=360), who


def test_patients_are_judged_on_other_patients(patients):
    rows, y, who = patients
    advice = retemper.advise(rows, y, sources={"s": np.zeros(40) + 0.01}, groups=who)
    honest = min(
        -cross_val_score(
            Ridge(alpha), rows, y, groups=who, cv=GroupKFold(5), scoring="neg_mean_squared_error"
        ).mean()
        for alpha in np.logspace(0, 4, 9)
    )
    scratch = advice["scratch"]
    assert 0.7 < scratch.held_out_error / honest < 1.5
    assert scratch.predicted_error == scratch.held_out_error
    naive = retemper.advise(rows, y, sources={"s": np.zeros(40) + 0.01})
    assert naive["scratch"].held_out_error < 0.01  # what not naming the groups costs
    assert scratch.ridge > 10 * naive["scratch"].ridge  # strength for new patients
    assert scratch.held_out_low < scratch.held_out_error < scratch.held_out_high
    assert scratch.held_out_high - scratch.held_out_low > 0.3 * scratch.held_out_error
    assert "30 groups of rows are kept together" in scratch.flags
    assert advice.settings["groups"] == 30


@pytest.mark.slow
def test_names_of_groups_do_not_matter(patients):
    rows, y, who = patients
    pick = np.arange(0, 360, 6)
    names = np.array([f"patient {k}" for k in who])[pick]
    call = {"sources": {"s": np.zeros(40) + 0.01}}
    one = retemper.advise(rows[pick], y[pick], groups=who[pick] * 7 + 3, **call)
    two = retemper.advise(rows[pick], y[pick], groups=pd.Series(names), **call)
    assert one.as_dict() == two.as_dict()


def test_equal_rows_are_one_group_and_named():
    twice = np.r_[np.arange(N), np.arange(20)]
    rows = X[twice] + 1e-9
    advice = retemper.advise(rows, Y[twice], sources=SOURCE)
    (flag,) = [f for f in advice["scratch"].flags if "equal" in f]
    assert flag == "40 rows are equal to others and are kept together (rows 0, 1, 2, 3, 4, …)"
    assert advice.settings["groups"] == N
    once = retemper.advise(X, Y, sources=SOURCE)
    ratio = advice["scratch"].held_out_error / once["scratch"].held_out_error
    assert 0.5 < ratio < 1.6


def test_discrete_columns_are_not_copies():
    rows = RNG.integers(0, 2, size=(60, 3)).astype(float)
    sample = Rows.read(row_keys(rows), None, None)
    assert not sample.is_grouped
    assert "take 8 different values on 60 rows" in sample.flags[0]


def test_folds_of_rows_that_stand_alone_are_those_of_before():
    order = np.random.default_rng(3).permutation(23)
    folds = fold_rows(alone(23), None, 5, np.random.default_rng(3))
    for k, fold in enumerate(folds):
        np.testing.assert_array_equal(fold, np.sort(order[k::5]))
    classes = np.arange(23) % 3
    stable = order[np.argsort(classes[order], kind="stable")]
    for k, fold in enumerate(fold_rows(alone(23), classes, 5, np.random.default_rng(3))):
        np.testing.assert_array_equal(fold, np.sort(stable[k::5]))


def test_no_group_is_cut():
    group = np.repeat(np.arange(9), [1, 5, 2, 7, 3, 3, 1, 6, 2])
    rows = Rows(group, np.ones(30), is_grouped=True, is_weighted=False)
    rng = np.random.default_rng(0)
    folds = fold_rows(rows, None, 4, rng)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(30))
    for fold in folds:
        assert not np.isin(np.delete(group, fold), group[fold]).any()
    for size in (3, 10, 25):
        train, test = some_rows(rows, group % 2, size, rng)
        assert not np.isin(group[train], group[test]).any()
        assert len(train)
        assert len(test)
    part = rows.part(np.arange(6, 30))
    assert part.n_groups == 7
    assert part.group[0] == 0


@pytest.mark.parametrize("seed", [0, 2])
def test_a_large_group_among_single_rows(seed):
    """Parts of the learning curve have two groups: strengths are chosen on held-out ones."""
    rng = np.random.default_rng(seed)
    rows, w = rng.normal(size=(30, 4)), rng.normal(size=4)
    groups = np.r_[np.arange(20), np.full(4, 20), np.full(6, 21)]
    sample = Rows(groups, np.ones(30), is_grouped=True, is_weighted=False)
    for size in (1, 4, 12, 29):
        train, test = some_rows(sample, None, size, rng)
        assert len(np.unique(groups[train])) >= 2
        assert len(test)
    advice = retemper.advise(
        rows, rows @ w + 0.3 * rng.normal(size=30), sources={"s": w}, groups=groups
    )
    assert advice.learning_curve is not None
    assert np.isfinite(advice.learning_curve.error["scratch"]).all()


def test_condensed_losses_have_the_weighted_mean():
    rng = np.random.default_rng(0)
    group, weight = rng.integers(0, 8, size=40), rng.random(40)
    rows = Rows(group, weight / weight.mean(), is_grouped=True, is_weighted=True)
    values = rng.random((3, 40))
    values[:, 5] = np.nan  # not judged
    found, kept = condense(rows, values)
    assert found.shape == (3, 8)
    np.testing.assert_array_equal(kept, np.arange(8))
    good = np.arange(40) != 5
    np.testing.assert_allclose(
        found.mean(axis=1), np.average(values[:, good], axis=1, weights=weight[good])
    )
    plain = condense(alone(40), values)[0]
    np.testing.assert_array_equal(plain, values[:, good])


def test_copies_do_not_narrow_an_interval():
    values = RNG.random((1, 30))
    rows = Rows(np.repeat(np.arange(30), 10), np.ones(300), is_grouped=True, is_weighted=False)
    copied = condense(rows, np.repeat(values, 10, axis=1))[0]
    np.testing.assert_allclose(standard_error(copied), standard_error(values))


def test_splits_of_the_user():
    time = retemper.advise(X, Y, sources=SOURCE, cv=TimeSeriesSplit(4))
    assert time.settings["splits"] == 4
    assert time.learning_curve is not None
    assert time.learning_curve.measured.any()
    pairs = list(KFold(3).split(X))
    masks = [(np.isin(np.arange(N), a), np.isin(np.arange(N), b)) for a, b in pairs]
    found = [retemper.advise(X, Y, sources=SOURCE, cv=cv) for cv in (KFold(3), pairs, iter(masks))]
    assert found[0]["s"].gain == found[1]["s"].gain == found[2]["s"].gain
    # only what the splits judge counts
    half = retemper.advise(X, Y, sources=SOURCE, cv=[(np.arange(20), np.arange(20, N))])
    test = np.arange(20, N)
    expected = np.mean((X[test] @ SOURCE["s"] - Y[test]) ** 2)
    if half["s"].use == "as is":
        assert half["s"].held_out_error == pytest.approx(expected)
    assert retemper.advise(X, Y, sources=SOURCE, cv=3).settings["splits"] == 12


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([], "at least one split"),
        ([(np.arange(10), np.arange(9, 20))], "row 9 on both sides"),
        ([(np.arange(3), np.arange(9, 20))], "4 rows to learn from"),
        ([(np.arange(10), np.array([N]))], r"must lie in \[0, 36\)"),
        ([(np.arange(10), np.arange(10, 12))], "must judge 3 rows"),
        (1, "cv"),
        (40, "cv must be at most 36"),
    ],
)
def test_bad_splits(cv, message):
    with pytest.raises(ValueError, match=message):
        retemper.advise(X, Y, sources=SOURCE, cv=cv)


def test_what_is_no_splitter():
    with pytest.raises(TypeError, match="a number of folds, a splitter, or pairs"):
        read_splits(3.5, X, Y, alone(N))


def test_rows_of_no_weight_do_not_count():
    wild = np.r_[Y[:-6], 100.0 * np.ones(6)]
    weight = np.r_[np.ones(N - 6), np.zeros(6)]
    some = retemper.advise(X, wild, sources=SOURCE, sample_weight=weight)
    assert some["s"].held_out_error < 2.0
    assert np.mean((some.estimator_.predict(X) - X @ W) ** 2) < 0.3
    all_rows = retemper.advise(X, wild, sources=SOURCE)
    assert all_rows["s"].held_out_error > 100.0
    same = retemper.advise(X, Y, sources=SOURCE, sample_weight=np.full(N, 3.0))
    assert same.as_dict() == retemper.advise(X, Y, sources=SOURCE).as_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_weight": np.ones(3)}, "sample_weight must have 36 entries"),
        ({"sample_weight": np.r_[-1.0, np.ones(N - 1)]}, "negative.*row 0"),
        ({"sample_weight": np.r_[np.ones(5), np.zeros(N - 5)]}, "positive for 6 rows"),
        ({"groups": np.ones(3)}, r"groups must have shape \(36,\)"),
        ({"groups": np.arange(N) % 2}, "3 groups or more, got 2"),
        ({"scoring": "log loss"}, "'squared', 'absolute' for regression labels, got 'log loss'"),
    ],
)
def test_bad_groups_weights_and_scoring(arguments, message):
    with pytest.raises(ValueError, match=message):
        retemper.advise(X, Y, sources=SOURCE, **arguments)


def test_another_loss_decides():
    absolute = retemper.advise(X, Y, sources=SOURCE, scoring="absolute")
    squared = retemper.advise(X, Y, sources=SOURCE)
    assert absolute.loss_name == "absolute error"
    assert absolute["scratch"].loss < squared["scratch"].loss ** 0.5  # Jensen
    assert absolute["scratch"].held_out_error == squared["scratch"].held_out_error


@pytest.mark.slow
def test_balanced_accuracy_weighs_classes_alike():
    y = (np.quantile(Y, 0.8) < Y).astype(int)
    found = {
        name: retemper.advise(X, y, sources={"s": 3 * W}, scoring=name, cv=3)["scratch"]
        for name in ("accuracy", "balanced accuracy")
    }
    assert found["accuracy"].loss == pytest.approx(found["accuracy"].held_out_error)
    assert found["balanced accuracy"].loss > found["accuracy"].loss
    assert found["balanced accuracy"].held_out_error == pytest.approx(found["accuracy"].loss)


def test_a_class_may_be_missing_where_a_group_is_left_out():
    y = np.repeat(["a", "b", "c"], 12)
    groups = np.r_[np.arange(24) // 3, np.full(12, 99)]  # one group holds all of "c"
    advice = retemper.advise(
        X, y, sources={"s": RNG.normal(size=(3, D))}, groups=groups, cv=GroupKFold(3)
    )
    assert np.isfinite(advice["scratch"].loss)
    assert list(advice.estimator_.classes_) == ["a", "b", "c"]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_strengths_are_chosen_by_the_splits_of_the_user(task):
    """Rows that are nearly copies: their splits choose much more ridge than folds of rows."""
    rng = np.random.default_rng(3)
    w, n = rng.normal(size=12), 24
    rows = np.repeat(rng.normal(size=(n, 12)), 4, axis=0) + 0.03 * rng.normal(size=(4 * n, 12))
    y = rows @ w + np.repeat(4.0 * rng.logistic(size=n), 4)
    y = y if task == "regression" else np.repeat(y[::4] > 0.0, 4)
    who = np.repeat(np.arange(n), 4)
    splits = list(GroupKFold(6).split(rows, y, who))
    call = {"sources": {"s": rng.normal(size=12)}, "task": task}
    single, given, groups = (
        retemper.advise(rows, y, **call, **more)["scratch"].ridge
        for more in ({}, {"cv": splits}, {"groups": who})
    )
    assert given > 3.0 * single
    assert groups > 3.0 * single


def test_labels_to_decide_are_labels_where_groups_count(patients):
    """Groups count as one, and the number is of labels; far numbers are not named."""
    rows, y, who = patients
    pick = np.arange(0, 360, 4)  # three labels of every patient
    weak = {"s": np.full(40, 0.02)}
    grouped = retemper.advise(rows[pick], y[pick], sources=weak, groups=who[pick], cv=3)
    single = retemper.advise(rows[pick][::3], y[pick][::3], sources=weak, cv=3)
    for advice in (grouped, single):
        least = advice["s"].labels_to_decide
        assert np.isnan(least) or least > advice.n_samples
    few = retemper.advise(rows[pick], y[pick], sources=weak, groups=who[pick] % 3, cv=3)
    assert "3 groups of rows are kept together: so few say little of others" in few["scratch"].flags
    assert "30 groups of rows are kept together" in grouped["scratch"].flags
    far = dataclasses.replace(
        few, candidates=tuple(dataclasses.replace(c, labels_to_decide=1e7) for c in few.candidates)
    )
    assert "s more than 5,760" in str(far)
