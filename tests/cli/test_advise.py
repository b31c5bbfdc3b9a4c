"""``retemper advise`` on files as people have them; every error is a sentence with its remedy."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import retemper
from retemper.cli import main
from retemper.datasets import read_model, write_model

RNG = np.random.default_rng(7)
W = np.array([2.0, -1.0, 0.5])


def table(n, shift=0.0):
    rows = RNG.normal(size=(n, 3))
    frame = pd.DataFrame(rows, columns=["area", "rooms", "age"])
    frame["price"] = rows @ (W + shift) + 0.3 * RNG.normal(size=n)
    frame["town"] = RNG.choice(["Oslo", "Rome", "Bonn", "Lima", "Cork"], size=n)
    frame["when"] = pd.date_range("2024-01-01", periods=n).astype(str)[RNG.permutation(n)]
    frame["key"] = [f"r{i}" for i in range(n)]
    frame["weight"] = RNG.uniform(0.5, 1.5, size=n)
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    old, new = table(60, 0.2), table(24)
    for name, frame in (("old", old), ("new", new)):
        frame.to_csv(path / f"{name}.csv", index=False)
        frame.to_csv(path / f"{name}.tsv", index=False, sep="\t")
        frame.to_csv(path / f"{name}.csv.gz", index=False)
    new["area"] = new["area"].astype(object).where(new.index != 4, "big")
    new.to_csv(path / "junk.csv", index=False)
    return path


REST = ["--label", "price", "--json"]


def run(*words, folder=None):
    """Exit status of the command; words with a dot are files of the folder."""
    words = [str(folder / w) if folder is not None and "." in w[1:] else w for w in words]
    with pytest.raises(SystemExit) as stop:
        main(["advise", *words])
    return stop.value.code


def refused(capsys, *words, folder):
    assert run(*words, folder=folder) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert "Traceback" not in shown.err
    return shown.err


def test_columns_play_their_parts(folder, capsys):
    words = ["old.csv", "new.csv", *REST, "--drop", "key", "when"]
    assert run(*words, "--groups", "town", "--weights", "weight", folder=folder) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_features"] == 3
    assert found["settings"]["groups"] == 5
    assert found["settings"]["provenance"]["label"] == "price"
    assert found["settings"]["provenance"]["command"].startswith("retemper advise ")
    assert "--groups town" in found["settings"]["provenance"]["command"]


def test_text_and_gaps_are_encoded_and_named(folder, capsys):
    frame = pd.read_csv(folder / "new.csv")
    frame.loc[[2, 5], "age"] = np.nan
    frame.to_csv(folder / "gaps.csv", index=False)
    assert run("old.csv", "gaps.csv", *REST, folder=folder) == 0
    found = json.loads(capsys.readouterr().out)
    said = " ".join(found["candidates"][0]["flags"])
    assert "columns of text become columns of 0 and 1, so many each: town" in said
    assert "filled with medians, and marked: age" in said
    assert "left out, except for sources: when, key" in said
    old = pd.read_csv(folder / "old.csv")
    old.loc[[1, 7], "age"] = np.nan  # gaps of a source alone are filled too where rows are encoded
    old.to_csv(folder / "gaps_old.csv", index=False)
    assert run("gaps_old.csv", "new.csv", *REST, folder=folder) == 0
    assert json.loads(capsys.readouterr().out)["candidates"][1]["name"] == "gaps_old"
    shown = refused(
        capsys, "gaps_old.csv", "new.csv", *REST, "--drop", "town", "key", "when", folder=folder
    )
    assert "missing values in 2 rows" in shown  # of numbers alone none is filled
    frame.loc[3, "price"] = np.nan
    frame.to_csv(folder / "gaps.csv", index=False)
    shown = refused(capsys, "old.csv", "gaps.csv", *REST, folder=folder)
    assert "(lines 5; columns 'price'): these rows have no label" in shown


def test_a_pipeline_of_a_file_sees_the_table(folder, capsys):
    pytest.importorskip("skops")
    old = pd.read_csv(folder / "old.csv")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]), ("passthrough", ["area", "age"])
    )
    model = make_pipeline(encode, LinearRegression()).fit(
        old[["town", "area", "age"]], old["price"]
    )
    write_model(folder / "pipeline.skops", model)
    saved = folder / "m.joblib"
    words = ["pipeline.skops", "new.csv", *REST, "--save-model", str(saved)]
    assert run(*words, folder=folder) == 0
    assert json.loads(capsys.readouterr().out)["candidates"][1]["name"] == "pipeline"
    new = pd.read_csv(folder / "new.csv")
    assert read_model(saved, allow_pickle=True).predict(new).shape == (24,)
    words[-1] = str(folder / "m.npz")
    assert "has text or gaps: write .joblib or .skops" in refused(capsys, *words, folder=folder)


def test_time_orders_rows_and_splits(folder, capsys):
    words = ["old.csv", "new.csv", *REST, "--drop", "town", "weight"]
    assert run(*words, "--time", "when", "--id", "key", "--scoring", "r2", folder=folder) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["splits"] == 5
    assert found["loss_name"] == "1 − r2"


@pytest.mark.parametrize("suffix", ["tsv", "csv.gz"])
def test_other_tables_say_the_same(folder, capsys, suffix):
    drop = ["--drop", "key", "when", "town", "weight"]
    run("old.csv", "new.csv", *REST, *drop, folder=folder)
    expected = json.loads(capsys.readouterr().out)
    run(f"old.{suffix}", f"new.{suffix}", *REST, *drop, folder=folder)
    found = json.loads(capsys.readouterr().out)
    assert found["candidates"] == expected["candidates"]


def test_latin_letters_and_decimal_commas(folder, capsys):
    small = pd.read_csv(folder / "new.csv")[["area", "rooms", "price"]]
    small = small.rename(columns={"area": "größe"})
    path = folder / "neu.csv"
    small.to_csv(path, index=False, sep=";", decimal=",", encoding="latin-1")
    words = ["neu.csv", "neu.csv", "--label", "price"]
    assert "encoding utf-8: name another one" in refused(capsys, *words, folder=folder)
    words += ["--encoding", "latin-1"]
    assert "command line --decimal ," in refused(capsys, *words, folder=folder)
    words[0] = "model.npz"
    np.savez(folder / "model.npz", coef=W[:2], intercept=0.1, feature_names=["größe", "rooms"])
    assert run(*words, "--decimal", ",", "--sep", ";", "--json", folder=folder) == 0
    assert json.loads(capsys.readouterr().out)["n_samples"] == 24


def test_tables_that_are_written_in_two_ways(folder, capsys):
    drop = ["--drop", "key", "when", "town", "weight"]
    run("old.csv", "new.csv", *REST, *drop, folder=folder)
    expected = json.loads(capsys.readouterr().out)
    german = {"index": False, "sep": ";", "decimal": ",", "encoding": "latin-1"}
    pd.read_csv(folder / "new.csv").to_csv(folder / "neu.csv", **german)
    words = ["old.csv", "neu.csv", *REST, *drop]
    both = ["--decimal", ".", "--decimal", ",", "--encoding", "utf-8", "--encoding", "latin-1"]
    assert run(*words, *both, folder=folder) == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == expected["candidates"]
    thrice = ["--decimal", "."] * 3
    assert "--decimal must be given once for all tables, or once for each of 2, got 3" in refused(
        capsys, *words, *thrice, folder=folder
    )


@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_typed_tables(folder, capsys, suffix):
    pytest.importorskip("pyarrow" if suffix == "parquet" else "openpyxl")
    drop = ["--drop", "key", "when", "town", "weight"]
    for name in ("old", "new"):
        frame = pd.read_csv(folder / f"{name}.csv")
        frame["yes"] = np.where(frame["price"] > 0, "yes", "no")
        frame["old"] = frame["age"] > 0  # booleans are numbers here
        frame = frame.drop(columns=["price"])
        path = folder / f"{name}.{suffix}"
        frame.to_parquet(path) if suffix == "parquet" else frame.to_excel(path, index=False)
    words = [f"old.{suffix}", f"new.{suffix}", "--label", "yes", "--json", *drop]
    assert run(*words, folder=folder) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["n_features"]) == ("binary", 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["old.csv", "new.csv", "--label", "prize"], "no column 'prize'; did you mean 'price'?"),
        (["old.csv", "new.csv", *REST, "--drop", "keys"], "did you mean 'key'?"),
        (["old.csv", "new.csv", *REST, "--groups", "Town"], "did you mean 'town'?"),
        (["junk.csv", "junk.csv", *REST], "in columns 'area'; the first is 'big'"),
        (["old.csv", "new.csv", "--lable", "price"], "required: --label; did you mean --label?"),
        (["old.csv", "new.csv", *REST, "--task", "rank"], "see retemper advise --help"),
        (["old.csv", "new.csv", *REST, "--scorin", "x", "--grops", "a"], "did you mean --groups?"),
        (["new.csv", *REST], "at least one source"),
        (["old.csv", "new.csv", *REST, "--groups", "town", "--time", "when"], "exclude each other"),
        (["old.csv", "new.csv", *REST, "--groups", "price"], "cannot be --label and --groups"),
        (["old.csv", "new.csv", *REST, "--id", "town"], "if rows of one name belong together"),
        (["old.csv", "new.csv", *REST, "--time", "town"], "numbers or dates such as 2024-05-31"),
        (["old.csv", "new.csv", *REST, "--encoding", "latin1000"], "no encoding 'latin1000'"),
        (["old.csv", "new.csv", *REST, "--save-model", "m.onnx"], "in .npz, .skops or .joblib"),
        (["old.joblib", "new.csv", *REST, "--drop", "key", "when", "town"], "--allow-pickle"),
        (["new.csv", "m.npz", *REST], "last file must be the target table"),
        (["none.csv", "new.csv", *REST, "--drop", "key", "when", "town"], "none.csv"),
    ],
)  # fmt: skip
def test_errors_are_a_sentence_with_the_remedy(folder, capsys, words, message):
    assert message in refused(capsys, *words, folder=folder)


def test_sources_that_lack_columns_say_how_to_go_on(folder, capsys):
    frame = pd.read_csv(folder / "old.csv").rename(columns={"rooms": "room"})
    frame.to_csv(folder / "other.csv", index=False)
    drop = ["--drop", "key", "when", "town", "weight"]
    said = refused(capsys, "other.csv", "new.csv", *REST, *drop, folder=folder)
    assert "lacks columns of" in said
    assert "'rooms'; did you mean 'room'?" in said
    assert "--drop rooms" in said


def test_models_are_read_and_written(folder, capsys):
    old = pd.read_csv(folder / "old.csv")
    model = LinearRegression().fit(old[["age", "area", "rooms"]], old["price"])
    write_model(folder / "theirs.npz", model)
    joblib.dump(model, folder / "theirs.joblib")
    drop = ["--drop", "key", "when", "town", "weight"]
    saved = folder / "mine.npz"
    words = ["new.csv", *REST, *drop, "--save-model", str(saved)]
    assert run("theirs.npz", *words, folder=folder) == 0
    expected = json.loads(capsys.readouterr().out)
    assert run("theirs.joblib", *words, "--allow-pickle", folder=folder) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["candidates"] == expected["candidates"]
    assert found["settings"]["provenance"]["model"] == str(saved)
    mine = read_model(saved)
    new = pd.read_csv(folder / "new.csv")
    assert list(mine.feature_names_in_) == ["area", "rooms", "age"]
    error = np.mean((mine.predict(new) - new["price"]) ** 2)
    assert error < 0.2 * new["price"].var()


def test_a_booster_of_lightgbm_takes_the_text_of_a_table(folder, capsys):
    lightgbm = pytest.importorskip("lightgbm")
    old = pd.read_csv(folder / "old.csv").astype({"town": "category"})
    model = lightgbm.LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1)
    model.fit(old[["age", "town", "rooms"]], old["price"])
    model.booster_.save_model(folder / "theirs.txt")
    words = ["theirs.txt", "new.csv", *REST, "--drop", "key", "when", "weight"]
    assert run(*words, folder=folder) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["candidates"]] == ["scratch", "theirs"]
    assert "nowhere.csv: No such file" in refused(capsys, "nowhere.csv", *words[1:], folder=folder)


def test_yes_and_no_from_a_model_of_another_order(folder, capsys):
    frames = {}
    for name in ("old", "new"):
        frame = pd.read_csv(folder / f"{name}.csv")
        frame["ok"] = np.where(frame["price"] > 0, "yes", "no")
        frames[name] = frame[["age", "rooms", "area", "ok"]]
    frames["new"].to_csv(folder / "answers.csv", index=False)
    model = LogisticRegression().fit(frames["old"][["area", "age", "rooms"]], frames["old"]["ok"])
    write_model(folder / "judge.npz", model)
    again = read_model(folder / "judge.npz")
    rows = frames["new"].drop(columns="ok")
    expected = model.predict_proba(rows[["area", "age", "rooms"]])
    np.testing.assert_allclose(again.predict_proba(rows), expected)
    saved = str(folder / "answer.npz")
    words = ["judge.npz", "answers.csv", "--label", "ok", "--save-model", saved]
    assert run(*words, folder=folder) == 0
    assert f"model: {saved}" in capsys.readouterr().out
    assert set(read_model(saved).predict(rows)) <= {"yes", "no"}


def test_balanced_classes(folder, capsys):
    """The option gives what the argument of the function gives."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(80, 2))
    frame = pd.DataFrame(rows, columns=["a", "b"])
    frame["ill"] = np.where(rows.sum(axis=1) + rng.logistic(size=80) > 2.5, "yes", "no")
    frame[:40].to_csv(folder / "before.csv", index=False)
    frame[40:].to_csv(folder / "ours.csv", index=False)
    words = ["before.csv", "ours.csv", "--label", "ill", "--json"]
    assert run(*words, folder=folder) == 0
    plain = json.loads(capsys.readouterr().out)["candidates"][0]
    assert any("class_weight='balanced'" in flag for flag in plain["flags"])
    assert run(*words, "--class-weight", "balanced", folder=folder) == 0
    found = json.loads(capsys.readouterr().out)["candidates"][0]
    there = retemper.advise(
        frame[["a", "b"]][40:], frame["ill"][40:], class_weight="balanced",
        sources={"before": (frame[["a", "b"]][:40], frame["ill"][:40])},
    )  # fmt: skip
    assert found["loss"] == pytest.approx(there["scratch"].loss, rel=1e-9)
    assert found["loss"] != pytest.approx(plain["loss"], rel=1e-3)
    assert not any("few rows" in flag for flag in found["flags"])
    assert "invalid choice: 'equal'" in refused(
        capsys, *words, "--class-weight", "equal", folder=folder
    )
