"""Few rows of a class: what is said, and weights of classes."""

import numpy as np
import pytest

import retemper
from retemper.advisor.class_fits import ClassDesign
from retemper.advisor.inputs import read_task

RNG = np.random.default_rng(2)
X, W = RNG.normal(size=(120, 3)), np.array([1.5, -1.0, 0.5])
Z = X @ W + RNG.logistic(size=120)
RARE = np.where(np.sort(Z)[-9] < Z, "yes", "no")  # 8 of 120


def flags(y, **more):
    return " ".join(read_task(X, y, {"s": W}, "auto", **more).flags)


def test_few_positives_are_said():
    said = flags(RARE)
    assert "few rows of class 'yes': 8 of 120, so always saying 'no' is wrong in 7 %" in said
    assert "the log loss decides" in said
    assert "class_weight='balanced'" in said
    assert "scoring='accuracy' hardly hears them" in flags(RARE, scoring="accuracy")
    assert "balanced accuracy decides" in flags(RARE, scoring="balanced accuracy")
    assert "the score that was asked for" in flags(RARE, scoring="average_precision")
    assert "few rows" not in flags(np.where(Z > 0, "yes", "no"))
    assert "few rows" not in flags(RARE, class_weight="balanced")


def test_balanced_weights_are_weights_of_rows():
    call = {"sources": {"s": W}, "cv": 3}
    one = retemper.advise(X[:40], RARE_OF_40, class_weight="balanced", **call)
    share = np.mean(RARE_OF_40 == "yes")
    weight = np.where(RARE_OF_40 == "yes", 0.5 / share, 0.5 / (1 - share))
    two = retemper.advise(X[:40], RARE_OF_40, sample_weight=weight, **call)
    assert one["s"].loss == pytest.approx(two["s"].loss, rel=1e-12)
    plain = retemper.advise(X[:40], RARE_OF_40, **call)
    rows = RNG.normal(size=(300, 3))
    more = one.estimator_.predict_proba(rows)[:, 1].mean()
    assert more > plain.estimator_.predict_proba(rows)[:, 1].mean() + 0.1
    named = read_task(X, RARE, {"s": W}, "auto", class_weight={"yes": 14.0, "no": 1.0})
    both = read_task(
        X, RARE, {"s": W}, "auto", class_weight={"yes": 7.0}, sample_weight=1.0 + (RARE == "yes")
    )
    np.testing.assert_allclose(named.sample.weight, both.sample.weight)


def test_tables_of_text_are_weighed_too():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X[:40], columns=list("abc")).assign(town=["Oslo", "Rome"] * 20)
    call = {"sources": {"s": lambda rows: rows[["a", "b", "c"]].to_numpy(float) @ W}, "cv": 3}
    share = np.mean(RARE_OF_40 == "yes")
    weight = np.where(RARE_OF_40 == "yes", 0.5 / share, 0.5 / (1 - share))
    one = retemper.advise(frame, RARE_OF_40, class_weight="balanced", **call)
    two = retemper.advise(frame, RARE_OF_40, sample_weight=weight, **call)
    assert one["s"].loss == pytest.approx(two["s"].loss, rel=1e-12)
    assert one["s"].loss != pytest.approx(retemper.advise(frame, RARE_OF_40, **call)["s"].loss)


RARE_OF_40 = np.where(Z[:40] > np.sort(Z[:40])[-7], "yes", "no")


def test_bad_class_weights():
    with pytest.raises(ValueError, match="class_weight must be None for numbers"):
        retemper.advise(X, Z, sources={"s": W}, class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight must name classes of y"):
        retemper.advise(X, RARE, sources={"s": W}, class_weight={"maybe": 2.0})
    with pytest.raises(ValueError, match="must be None, a mapping of classes or 'balanced'"):
        retemper.advise(X, RARE, sources={"s": W}, class_weight="equal")


def test_groups_may_leave_one_row_of_each_class():
    """Then no row can be left out: its class would be unknown."""
    y, groups = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 2, 0, 1, 0, 0])
    task = read_task(X[:6], y, {"s": W}, "classification", groups=groups)
    two = ClassDesign(task, np.array([1, 3])).fit(-1)
    assert np.isnan(two.loo_)
    assert np.isnan(two.loo_error_rate_)
    advice = retemper.advise(
        X[:6], y, sources={"s": W, "t": W[::-1]}, groups=groups, task="classification"
    )
    assert all(np.isfinite(candidate.held_out_error) for candidate in advice.candidates)
