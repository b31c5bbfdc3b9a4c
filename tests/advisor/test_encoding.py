"""Tables with text and gaps: encoded for fits, handed to sources as they are."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import retemper
from retemper.advisor.encoding import Encoder
from retemper.datasets import write_model

RNG = np.random.default_rng(5)
EFFECT = {"Oslo": 3.0, "Rome": 0.0, "Bonn": -3.0}


def table(n):
    frame = pd.DataFrame(
        {
            "town": RNG.choice(list(EFFECT), size=n, p=[0.5, 0.3, 0.2]),
            "area": RNG.normal(size=n),
            "key": [f"house {i}" for i in range(n)],
            "age": np.where(RNG.uniform(size=n) < 0.2, np.nan, RNG.normal(size=n)),
        },
        index=RNG.permutation(n) + 1000,
    )
    y = frame["town"].map(EFFECT) + 2 * frame["area"] + 0.3 * RNG.normal(size=n)
    return frame, y.rename("price")


OLD, Y_OLD = table(200)
NEW, Y = table(40)
ENCODE = make_column_transformer(
    (OneHotEncoder(), ["town"]), ("passthrough", ["area"]), remainder="drop"
)
THEIRS = make_pipeline(ENCODE, Ridge(0.1)).fit(OLD, Y_OLD)


def test_the_encoder():
    encoder = Encoder.find(NEW)
    rows = encoder.transform(NEW)
    first, *others = NEW["town"].value_counts().index  # measured from the most frequent
    assert set(rows) == {*(f"town={name}" for name in others), "area", "age", "age missing"}
    np.testing.assert_array_equal(rows[f"town={others[0]}"], NEW["town"] == others[0])
    assert first == "Oslo"
    np.testing.assert_array_equal(rows["age missing"], NEW["age"].isna())
    assert rows["age"][NEW["age"].isna().to_numpy()].unique() == [NEW["age"].median()]
    other = NEW.assign(town="Lima").iloc[:3]
    assert not encoder.transform(other)[["town=Rome", "town=Bonn"]].to_numpy().any()
    assert encoder.dropped == ("key",)
    assert any("left out, except for sources: key" in flag for flag in encoder.flags)
    flags = Encoder.find(NEW.assign(gas="no")).flags
    assert "columns of one value are left out, except for sources: gas" in flags
    assert "dates and columns of names are left out, except for sources: key" in flags
    assert Encoder.find(NEW[["area"]]) is None
    assert Encoder.find(NEW[["area"]].to_numpy()) is None
    for dtype in ("category", "string"):
        again = Encoder.find(NEW.assign(town=NEW["town"].astype(dtype)))
        assert again.levels == encoder.levels
    with pytest.raises(ValueError, match=r"X lacks columns: \['area'\]"):
        encoder.transform(NEW.drop(columns="area"))
    with pytest.raises(TypeError, match="X must be a data frame with the columns"):
        encoder.transform(NEW.to_numpy())
    with pytest.raises(ValueError, match=r"no column that can be encoded; .*'key'"):
        Encoder.find(NEW[["key"]])


def test_a_pipeline_sees_the_rows_as_they_are():
    seen = []

    def function(rows):
        seen.append(rows)
        return THEIRS.predict(rows)

    sources = {"pipeline": THEIRS, "function": function, "rows": (OLD, Y_OLD)}
    advice = retemper.advise(NEW, Y, sources=sources, cv=2)
    pd.testing.assert_frame_equal(seen[0], NEW)
    error = np.mean((THEIRS.predict(NEW) - Y) ** 2)
    assert not any("see these labels" in flag for c in advice.candidates for flag in c.flags)
    assert advice["function"].duplicate_of == "pipeline"
    assert advice["rows"].held_out_error < 0.3 * advice["scratch"].held_out_error + error
    assert (
        "columns of text become columns of 0 and 1, so many each: town (2)"
        in advice["scratch"].flags[0]
    )
    new, y = table(100)
    model = pickle.loads(pickle.dumps(retemper.advise(NEW, Y, sources=THEIRS, cv=2).estimator_))
    assert np.mean((model.predict(new) - y) ** 2) < 1.5 * np.mean((THEIRS.predict(new) - y) ** 2)
    assert list(model.feature_names_in_) == list(NEW)


def test_classifiers_and_models_that_take_gaps(tmp_path):
    labels = np.where(Y > 0, "dear", "cheap")
    judge = make_pipeline(ENCODE, LogisticRegression()).fit(
        OLD, np.where(Y_OLD > 0, "dear", "cheap")
    )
    advice = retemper.advise(NEW, pd.Series(labels, index=NEW.index), sources={"j": judge}, cv=2)
    assert advice.task == "binary"
    assert advice["j"].held_out_error == pytest.approx(
        np.mean(judge.predict(NEW) != labels), abs=0.1
    )
    model = advice.estimator_
    chance = model.predict_proba(NEW)
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.classes_[chance.argmax(axis=1)], model.predict(NEW))
    with pytest.raises(ValueError, match=r"write \.joblib instead"):
        write_model(tmp_path / "m.npz", model)
    gaps = HistGradientBoostingRegressor(max_iter=20).fit(OLD[["age", "area"]], Y_OLD)
    linear = LinearRegression().fit(OLD[["area"]], Y_OLD)
    trees = retemper.advise(NEW, Y, sources={"gaps": gaps, "linear": linear}, cv=2)
    assert trees["linear"].duplicate_of is None
    assert len(trees.estimator_.predict(NEW.iloc[:7])) == 7


@pytest.mark.slow
def test_rare_classes_and_whole_numbers_keep_rows_and_table_together():
    grade = np.digitize(Y, [-2.0, 2.0])
    grade[:2] = 9  # too few
    model = make_pipeline(ENCODE, LogisticRegression()).fit(OLD, np.digitize(Y_OLD, [-2.0, 2.0]))
    with pytest.warns(retemper.exceptions.ValidityWarning, match="left out"):
        advice = retemper.advise(NEW, grade, sources={"m": model}, cv=2)
    assert advice.n_samples == 38
    assert "made for classification" in advice.settings["task_reason"]
    wrong = np.mean(model.predict(NEW)[2:] != grade[2:])
    assert advice["m"].held_out_error == pytest.approx(wrong, abs=0.15)


def test_text_of_a_column_reaches_a_reader_of_words():
    words = make_pipeline(
        make_column_transformer((CountVectorizer(), "key")), Ridge(1.0)
    ).fit(OLD, Y_OLD)  # fmt: skip
    advice = retemper.advise(NEW, Y, sources={"words": words}, cv=2)
    assert np.isfinite(advice["words"].held_out_error)


def _stores(n, rng):
    X = pd.DataFrame({"store": rng.integers(0, 5, n), "size": rng.normal(size=n)})
    return X, X["store"] + X["size"] + rng.normal(size=n)


def test_codes_of_kinds_are_not_moved():
    # a question of leaks once asked the model about store 2.7, and the call failed
    rng = np.random.default_rng(0)
    encode = make_column_transformer((OneHotEncoder(), ["store"]), remainder="passthrough")
    model = make_pipeline(encode, Ridge()).fit(*_stores(500, rng))
    X, y = _stores(50, rng)
    assert "Did" not in retemper.advise(X, y, sources={"m": model}).headline
    forest = make_pipeline(encode, RandomForestRegressor(20, random_state=0)).fit(X, y)
    assert "Did 'm' see these labels?" in retemper.advise(X, y, sources={"m": forest}).headline


def test_leaks_are_seen_through_text():
    rng = np.random.default_rng(1)
    X, y = _stores(60, rng)
    X["town"] = rng.choice(["Oslo", "Rome"], 60)
    X.loc[3, "size"] = np.nan
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    trees = make_pipeline(encode, RandomForestRegressor(20, random_state=0))
    honest = X.sample(frac=1, random_state=0, ignore_index=True)
    honest["size"] = rng.normal(size=60)
    told = honest["store"] + honest["size"]
    sources = {"saw": clone(trees).fit(X, y), "honest": clone(trees).fit(honest, told)}
    headline = retemper.advise(X, y, sources=sources).headline
    assert headline.endswith("Did 'saw' see these labels?")


def test_boosters_take_text_of_a_file():
    rng = np.random.default_rng(2)
    X, y = _stores(200, rng)
    X["town"] = rng.choice(["Oslo", "Rome", "Bern"], 200)
    X["week"] = rng.choice(["mo", "tu"], 200)
    y += 3 * (X["town"] == "Rome")
    kinds = X.astype({"town": "category", "week": "category"})
    some = slice(0, 40)  # the table has fewer levels than the training, in another order
    text = X[X["town"] != "Bern"].iloc[::-1].iloc[some]
    mine = y[text.index]
    lightgbm = pytest.importorskip("lightgbm")
    booster = lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, n_jobs=1).fit(kinds, y)
    xgboost = pytest.importorskip("xgboost")
    other = xgboost.XGBRegressor(n_estimators=20, enable_categorical=True, n_jobs=1).fit(kinds, y)
    sources = {"l": booster, "lb": booster.booster_, "x": other, "xb": other.get_booster()}
    advice = retemper.advise(text, mine, sources=sources)
    truth = {"l": booster, "x": other}
    for name, model in truth.items():
        error = np.mean((model.predict(kinds.loc[text.index]) - mine) ** 2)
        row = advice[name]
        assert advice[name + "b"].duplicate_of == name
        if row.use == "as is":
            assert row.held_out_error == pytest.approx(error, rel=1e-5)
    assert np.isfinite(advice.estimator_.predict(X.iloc[:5])).all()


def test_messages_name_whose_columns_lack():
    rng = np.random.default_rng(3)
    X, y = _stores(60, rng)
    X["town"] = rng.choice(["Oslo", "Rome"], 60)
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    pipe = make_pipeline(encode, Ridge())
    with pytest.raises(ValueError, match=r"sources\['p'\] is not fitted"):
        retemper.advise(X, y, sources={"p": pipe})
    pipe = pipe.fit(X, y)
    with pytest.raises(ValueError, match=r"lacks columns .*\['size'\]; did you mean 'Size'\?"):
        retemper.advise(X.rename(columns={"size": "Size"}), y, sources={"p": pipe})
    plain = Ridge().fit(X[["store", "size"]], y)  # matched by name
    with pytest.raises(ValueError, match=r"\['size'\]; X has .*; did you mean 'Size'"):
        retemper.advise(X[["store"]].assign(Size=X["size"]), y, sources={"p": plain})
    theirs = X.rename(columns={"size": "Size"})
    with pytest.raises(
        ValueError, match=r"sources\['rows'\]\[0\] lacks columns: \['size'\]; did you mean 'Size'"
    ):
        retemper.advise(X, y, sources={"rows": (theirs, y)})


def test_gaps_are_not_blamed_for_other_errors():
    rng = np.random.default_rng(4)
    X, y = _stores(60, rng)
    X.loc[2, "size"] = np.nan

    def broken(rows):
        raise ValueError("categories differ")

    with pytest.raises(ValueError, match=r"categories differ$"):
        retemper.advise(X, y, sources={"b": broken})
    with pytest.raises(ValueError, match=r"NaN.* Columns of X with gaps: \['size'\]"):
        retemper.advise(X, y, sources={"r": _linear(X, y).predict})


def _linear(X, y):
    keep = X["size"].notna()
    return Ridge().fit(X[keep], y[keep])
