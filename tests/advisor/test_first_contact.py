"""What people pass first: it works, or the error names argument, value and what to do."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import retemper

RNG = np.random.default_rng(0)
NAMES = list("abcd")
W = np.array([1.0, -2.0, 0.5, 3.0])
X = RNG.normal(size=(40, 4))
Y = X @ W + RNG.normal(size=40)
FRAME = pd.DataFrame(X, columns=NAMES)
GAPS = FRAME.copy()
GAPS.iloc[3, 2] = np.nan
X_S = RNG.normal(size=(200, 4))
Y_S = X_S @ W + RNG.normal(size=200)
FRAME_S = pd.DataFrame(X_S, columns=NAMES)
NAMED = Ridge().fit(FRAME_S, Y_S)
PIPELINE = make_pipeline(StandardScaler(), Ridge()).fit(FRAME_S, Y_S)


@pytest.mark.parametrize(
    "source",
    [
        NAMED.coef_,
        (NAMED.coef_, NAMED.intercept_),
        {"weight": NAMED.coef_[None], "bias": [NAMED.intercept_]},
        Ridge().fit(X_S, Y_S),
    ],
    ids=["array", "pair", "state", "model without names"],
)
def test_a_linear_source_of_the_columns_fits_rows_with_gaps(source):
    found = retemper.advise(GAPS, Y, sources={"theirs": source})["theirs"]
    wanted = retemper.advise(GAPS, Y, sources={"theirs": NAMED})["theirs"]
    assert found.relative_gain == pytest.approx(wanted.relative_gain, abs=0.02)
    labels = np.where(Y > 0.0, "yes", "no")
    judge = LogisticRegression().fit(X_S, np.where(Y_S > 0.0, "yes", "no"))
    assert retemper.advise(GAPS, labels, sources={"judge": judge}, cv=2).task == "binary"


def test_a_source_that_does_not_fit_an_encoded_table_is_told_its_columns():
    table = FRAME.assign(town=np.where(X[:, 0] > 0.0, "Oslo", "Rome"))
    for source in (W, Ridge().fit(X_S, Y_S)):
        with pytest.raises(ValueError, match=r"encoded, as 'a', 'b', 'c', 'd', 'town="):
            retemper.advise(table, Y, sources={"theirs": source})
    text = FRAME.round(2).astype({"a": str})
    with pytest.raises(ValueError, match=r"hold text, dates or nothing in X: \['a'\]"):
        retemper.advise(text, Y, sources={"theirs": NAMED})
    with pytest.raises(ValueError, match=r"these hold numbers as text: \['a', 'b', 'c', 'd'\]"):
        retemper.advise(FRAME.astype(str), Y, sources={"theirs": NAMED})


def test_numbers_as_text_and_empty_columns_are_named():
    table = FRAME.assign(size=[f"{v:.3f}" for v in X[:, 0]], empty=np.nan)
    flags = retemper.advise(table, Y, sources={"theirs": NAMED}).candidates[0].flags
    assert f"hold numbers, which are lost: size ({table['size'][0]!r}); pass numbers" in " ".join(
        flags
    )
    assert any(flag.startswith("columns without a value are left out") for flag in flags)
    ids = FRAME.assign(town=["Oslo", "Rome"] * 20, name=[f"row {i}" for i in range(40)])
    flags = retemper.advise(ids, Y, sources={"theirs": NAMED}).candidates[0].flags
    assert not any("which are lost" in flag for flag in flags)


def test_a_model_of_named_columns_takes_rows_without_names_in_order_and_says_so():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advice = retemper.advise(X, Y, sources={"theirs": PIPELINE})
    assert "columns of X have no names and are taken in its order: a, b, c, …" in str(advice)
    named = retemper.advise(FRAME, Y, sources={"theirs": PIPELINE})
    assert advice["theirs"].gain == pytest.approx(named["theirs"].gain)
    numbered = retemper.advise(pd.DataFrame(X), Y, sources={"theirs": PIPELINE})
    assert advice["theirs"].gain == pytest.approx(numbered["theirs"].gain)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (lambda rows: 1 / 0, ValueError, r"sources\['s'\] cannot predict X: ZeroDivisionError"),
        (lambda rows: len(3), TypeError, r"sources\['s'\] cannot predict X: TypeError: object"),
        ("no.npz", FileNotFoundError, r"sources\['s'\] names a file that is not there: no.npz"),
        (
            {"weight": np.zeros((34, 4))},
            ValueError,
            r"4 inputs and 1 output, .* keep the outputs that are wanted",
        ),
    ],
)
def test_a_source_that_fails_is_named(source, error, message):
    with pytest.raises(error, match=message):
        retemper.advise(X, Y, sources={"s": source})


def test_a_pipeline_that_takes_no_gaps_says_which_columns_have_them():
    with pytest.raises(ValueError, match=r"cannot predict X: .*NaN.* with gaps: \['c'\]"):
        retemper.advise(GAPS, Y, sources={"s": PIPELINE})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"X": FRAME.set_axis(list("aacd"), axis=1)}, ValueError, r"got twice: \['a'\]"),
        ({"X": np.array([["a", 1.0]] * 40, dtype=object)}, TypeError, r"pass pandas.DataFrame\(X"),
        ({"groups": [1, 2, 3, np.nan] * 10}, ValueError, "groups must not .* one in row 3"),
        ({"groups": ["a", "b", "c", None] * 10}, ValueError, "groups must not .* one in row 3"),
        ({"y": pd.date_range("2020", periods=40)}, ValueError, "y must hold .* got times such as"),
        ({"y": [datetime.date(2020, 1, 1)] * 40}, ValueError, "y must hold .* got times such as"),
        ({"scoring": "roc_auc"}, ValueError, "scoring 'roc_auc' is for classes"),
    ],
)
def test_other_arguments_are_refused_by_name(given, error, message):
    given = {"X": X, "y": Y, "sources": {"s": W}, **given}
    with pytest.raises(error, match=message):
        retemper.advise(given.pop("X"), given.pop("y"), **given)


def test_table_of_objects_as_the_message_says():
    rows = np.array([["a", 1.5], ["b", 2.5]] * 20, dtype=object)
    frame = pd.DataFrame(rows, columns=["kind", "size"]).infer_objects()
    assert retemper.advise(frame, Y, sources={"s": lambda rows: np.zeros(len(rows))})
