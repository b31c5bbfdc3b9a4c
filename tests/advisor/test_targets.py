"""Several columns of labels, numbers and classes."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor

import retemper
from retemper.advisor import Predictions, advise_targets

RNG = np.random.default_rng(0)
X, XS = RNG.normal(size=(40, 5)), RNG.normal(size=(150, 5))
W = RNG.normal(size=(2, 5)) * 2.0
Y, YS = X @ W.T + RNG.normal(size=(40, 2)), XS @ W.T + RNG.normal(size=(150, 2))
NAMED = pd.DataFrame(Y, columns=["price", "days"])


def test_every_column_is_advised_by_its_own_outputs():
    found = advise_targets(X, NAMED, sources={"s": (W, [0.5, -0.5])})
    assert list(found) == ["price", "days"]
    assert len(found) == 2
    for c, name in enumerate(found):
        alone = retemper.advise(X, NAMED[name], sources={"s": (W[c], 0.5 - c)})
        assert found[name].as_dict() == alone.as_dict()
        np.testing.assert_array_equal(
            found.estimator_.predict(X)[:, c], alone.estimator_.predict(X)
        )
    assert found.headline.startswith("Use sources for 'price' and 'days'. On average over 2 ")
    text = str(found)
    assert text.splitlines()[0] == found.headline
    assert all(name in text for name in NAMED)
    assert found.to_frame().loc["days", "choice"] == found["days"].choice
    with pytest.raises(KeyError, match="no advice on 'rooms'"):
        found["rooms"]


def test_a_source_may_help_one_column_alone():
    wrong = np.stack([W[0], -4.0 * RNG.normal(size=5)])
    found = advise_targets(X[:12], Y[:12], sources={"s": wrong + 0.01})
    assert found["y0"].relative_gain > 0.1 > found["y1"].relative_gain


@pytest.mark.parametrize(
    "source",
    [
        LinearRegression().fit(XS, YS),
        KNeighborsRegressor(3).fit(XS, YS),
        lambda rows: rows @ W.T,
        Predictions(X @ W.T),
        (XS, YS),
    ],
)
def test_sources_of_several_outputs(source):
    found = advise_targets(X, Y, sources={"s": source}, cv=3)
    assert all(advice["s"].held_out_error < 9.0 for advice in found.advices.values())


@pytest.mark.parametrize("kind", ["one for each", "coefficients"])
def test_several_labels_at_once(kind):
    labels, theirs = (Y > 0).astype(int), (YS > 0).astype(int)
    each = OneVsRestClassifier(LogisticRegression()).fit(XS, theirs)
    coef = np.vstack([part.coef_ for part in each.estimators_])
    source = each if kind == "one for each" else coef
    found = advise_targets(X, labels, sources={"s": source}, cv=3)
    assert found["y0"].task == "binary"
    said = found.estimator_.predict(X)
    assert said.shape == (40, 2)
    assert (said == labels).mean() > 0.8


@pytest.mark.parametrize(
    ("y", "source", "message"),
    [
        (Y[:, 0], W[0], "two columns of labels or more"),
        (Y, W[0], "sources"),
        (Y, lambda rows: rows @ W[0], "2 outputs, one for each column"),
        (Y, (XS, YS[:, 0]), "2 columns of labels"),
        (np.c_[Y[:, 0], np.zeros(40)], W, "labels 'y1': y is constant|labels 'y1': y has one"),
        (np.c_[Y[:, 0], Y[:, 1] > 0], lambda rows: rows @ W.T, "columns of one kind"),
    ],
)
def test_bad_input(y, source, message):
    with pytest.raises(ValueError, match=message):
        advise_targets(X, y, sources={"s": source}, cv=3)


def test_tables_with_text_have_several_labels_too():
    rng = np.random.default_rng(4)

    def rows(n):
        frame = pd.DataFrame({"town": rng.choice(["Oslo", "Rome"], n), "area": rng.normal(size=n)})
        noise = rng.normal(size=(2, n))
        first = frame["area"] + 3.0 * (frame["town"] == "Rome") + noise[0]
        return frame, pd.DataFrame({"price": first, "rent": -frame["area"] + noise[1]})

    X, Y = rows(40)
    X.loc[3, "area"] = np.nan
    theirs = rows(300)
    found = advise_targets(X, Y, sources={"theirs": theirs})
    for c, name in enumerate(Y):
        alone = retemper.advise(X, Y[name], sources={"theirs": (theirs[0], theirs[1].iloc[:, c])})
        assert found[name]["theirs"].loss == alone["theirs"].loss
    assert found.estimator_.predict(X).shape == (40, 2)
    with pytest.raises(ValueError, match=r"sources\['theirs'\] must have 2 columns of labels"):
        advise_targets(X, Y, sources={"theirs": (theirs[0], theirs[1][["rent"]])})
