"""Scores that decide: any scorer, and what a row adds to one that is no mean over rows."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, make_scorer, r2_score, roc_auc_score
from sklearn.model_selection import ShuffleSplit

import retemper
from retemper.advisor.inputs import read_task
from retemper.advisor.judging import judge, make_splits
from retemper.advisor.scoring import find_scoring

RNG = np.random.default_rng(4)
X, W = RNG.normal(size=(60, 4)), np.array([2.0, -1.0, 0.5, 0.0])
Y = X @ W + RNG.normal(size=60)
TEXT = np.where(Y > 1.0, "yes", "no")


def judged(y, cv=2, **settings):
    task = read_task(X, y, {"s": W}, "auto", **settings)
    splits = make_splits(task, cv, np.random.default_rng(0))
    return task, splits, judge(task, splits, 1)


def share_right(model, rows, labels):
    assert len(rows) == len(labels)
    return np.mean(model.predict(rows) == labels)


@pytest.mark.parametrize("settings", [{}, {"groups": np.arange(60) // 2}])
def test_a_mean_over_rows_is_recovered_row_by_row(settings):
    expected = judged(TEXT, scoring="accuracy", **settings)[2]
    found = judged(TEXT, scoring=share_right, **settings)[2]
    np.testing.assert_allclose(found.loss, expected.loss, atol=1e-12)
    np.testing.assert_allclose(found.average, expected.average, atol=1e-12)


def test_weights_reach_the_scorer():
    weight = RNG.uniform(0.2, 2.0, size=60)
    expected = judged(Y, scoring="squared", sample_weight=weight)[2]
    found = judged(Y, scoring="neg_mean_squared_error", sample_weight=weight)[2]
    np.testing.assert_allclose(found.loss.mean(axis=1), expected.loss.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.loss, expected.loss, atol=1e-10)


@pytest.mark.parametrize(
    ("scoring", "metric"),
    [("roc_auc", roc_auc_score), ("average_precision", average_precision_score)],
)
def test_the_mean_is_the_score_of_held_out_predictions(scoring, metric):
    task, _, fits = judged(TEXT, scoring=scoring)
    source = fits.best(0)
    assert fits.candidates[source].kind in {"as is", "fine-tune", "rescaled"}
    place = next(i for i, c in enumerate(fits.candidates) if c.kind == "as is")
    score = metric(task.y, task.scores[0, :, 0])  # the same in every round of the folds
    assert fits.loss[place].mean() == pytest.approx(1.0 - score, abs=1e-12)
    error = fits.loss[place].std(ddof=1) / np.sqrt(60)
    draws = RNG.integers(0, 60, size=(1500, 60))
    spread = np.std([metric(task.y[d], task.scores[0, d, 0]) for d in draws if task.y[d].any()])
    assert error == pytest.approx(spread, rel=0.35)  # the bootstrap is as rough as that


def test_many_rows_are_joined_without_changing_the_spread(monkeypatch):
    task = read_task(X, TEXT, {"s": W}, "auto", scoring="roc_auc")
    every = [(np.arange(4), np.arange(60))]
    alone = task.scorer.losses(task, every, [task.scores])
    monkeypatch.setattr("retemper.advisor.scoring._MOST_PARTS", 20)
    joined = task.scorer.losses(task, every, [task.scores])
    assert joined.mean() == pytest.approx(alone.mean(), abs=1e-12)
    assert joined.std() == pytest.approx(alone.std(), rel=0.3)


def test_overlapping_splits_are_scored_each_for_itself():
    cv = ShuffleSplit(3, test_size=0.5, random_state=0)
    task, splits, fits = judged(Y, cv, scoring="r2")
    place = next(i for i, c in enumerate(fits.candidates) if c.kind == "as is")
    each = [r2_score(task.y[test], task.scores[0, test, 0]) for _, test in splits]
    found = task.scorer.losses(task, splits, [task.scores[:, test] for _, test in splits])
    count = np.sum([np.isin(np.arange(60), test) for _, test in splits], axis=0)
    np.testing.assert_allclose(np.nansum((1.0 - found[0]) * count) / 30, np.sum(each))
    assert np.isfinite(fits.loss[place]).all()


def test_advice_by_scores():
    advice = retemper.advise(X, TEXT, sources={"s": W}, scoring="average_precision", cv=2)
    assert advice.loss_name == "1 − average_precision"
    assert advice.settings["scoring"] == "average_precision"
    assert 0.0 < advice["scratch"].loss < 1.0
    assert retemper.advise(X, TEXT, sources=W, scoring="log_loss", cv=2).loss_name == "log loss"
    made = make_scorer(r2_score)
    assert retemper.advise(X, Y, sources={"s": W}, scoring=made, cv=2).loss_name == "1 − r2_score"


def test_refusals():
    with pytest.raises(ValueError, match=r"got 'rocauc'; did you mean 'roc_auc'"):
        retemper.advise(X, TEXT, sources=W, scoring="rocauc")
    with pytest.raises(ValueError, match="scoring 'r2' is for numbers"):
        retemper.advise(X, TEXT, sources=W, scoring="r2")
    with pytest.raises(ValueError, match="scoring 'roc_auc' is for classes"):
        retemper.advise(X, Y, sources=W, scoring="roc_auc")
    with pytest.raises(TypeError, match="name or a function, got 3"):
        retemper.advise(X, Y, sources=W, scoring=3)
    with pytest.raises(ValueError, match="at most 1, or minus a loss, got 7 of 'seven'"):
        retemper.advise(X, Y, sources=W, scoring=seven)
    one = [(np.arange(30, 60), np.flatnonzero(TEXT == "no")[:9])]
    one = [(np.setdiff1d(np.arange(60), test), test) for _, test in one]
    with pytest.raises(ValueError, match="not defined on 9 held-out rows: label more"):
        retemper.advise(X, TEXT, sources={"s": W}, scoring="roc_auc", cv=one)


def seven(model, rows, labels):
    return 7.0


def test_named_scorers_take_the_last_class_as_positive():
    name, scorer = find_scoring("average_precision", is_regression=False)
    task = read_task(X, TEXT, {"s": W}, "auto")
    value = task.scores[0]
    rows = np.arange(60)
    assert scorer.score(task, value, rows) == pytest.approx(
        average_precision_score(TEXT == "yes", value[:, 0])
    )
    assert dataclasses.replace(scorer, name=name) == scorer
