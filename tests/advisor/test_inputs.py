"""What `advise` reads: labels of any kind, tasks that are guessed, indices, rare classes."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold

import retemper
from retemper.advisor import Predictions
from retemper.advisor.inputs import read_task
from retemper.advisor.labels import read_labels, reads_as_number
from retemper.cli import main
from retemper.exceptions import ValidityWarning

RNG = np.random.default_rng(2)
X, W = RNG.normal(size=(30, 3)), np.array([2.0, -1.0, 0.5])
YES = X @ W > 0
TEXT = np.where(YES, "yes", "no")
X_S = RNG.normal(size=(60, 3))
TEXT_S = np.where(X_S @ W > 0, "yes", "no")

KINDS = {
    "str": lambda a: a,
    "object": lambda a: a.astype(object),
    "list": lambda a: a.tolist(),
    "column": lambda a: a[:, None],
    "category": lambda a: pd.Series(a, dtype="category"),
    "string": lambda a: pd.Series(a, dtype="string"),
    "series of objects": lambda a: pd.Series(a.astype(object)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_text_labels_of_any_kind(kind):
    make = KINDS[kind]
    labels = read_labels(make(TEXT), "y")
    assert labels.dtype.kind == "U"
    np.testing.assert_array_equal(labels, TEXT)
    task = read_task(X, make(TEXT), {"s": (X_S, make(TEXT_S))}, "auto")
    assert task.name == "binary"
    assert task.classes.tolist() == ["no", "yes"]
    agree = (task.scores[0, :, 0] > 0) == YES
    assert agree.mean() > 0.9


def test_text_labels_of_arrow():
    pytest.importorskip("pyarrow")
    labels = read_labels(pd.Series(TEXT, dtype="string[pyarrow]"), "y")
    np.testing.assert_array_equal(labels, TEXT)


def test_advice_on_text_predicts_text():
    advice = retemper.advise(
        X,
        pd.Series(TEXT, dtype="category"),
        sources={"s": (X_S, pd.Series(TEXT_S, dtype="string"))},
    )
    assert set(advice.estimator_.predict(X)) <= {"no", "yes"}
    assert "two classes (y has values that are not numbers)" in str(advice)


@pytest.mark.parametrize("dtype", ["boolean", "Int64", "Float64"])
def test_nullable_labels(dtype):
    values = pd.Series(YES).astype(dtype)
    labels = read_labels(values, "y")
    assert labels.dtype.kind in "bif"
    np.testing.assert_array_equal(labels.astype(bool), YES)
    values.iloc[4] = pd.NA
    with pytest.raises(ValueError, match="missing values, got 1, the first in row 4"):
        read_labels(values, "y")


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, pd.NaT])
def test_missing_text_is_refused(gap):
    labels = TEXT.astype(object)
    labels[3] = gap
    with pytest.raises(ValueError, match="y must not have missing values, got 1"):
        retemper.advise(X, labels, sources=W)


def test_mixed_labels_are_refused():
    labels = TEXT.astype(object)
    labels[3] = 1.5
    with pytest.raises(ValueError, match="numbers or text, got values of the types float, str"):
        retemper.advise(X, labels, sources=W)


GRADES = np.digitize(X @ W, [-1.0, 1.0])  # three whole numbers


@pytest.mark.parametrize(
    ("source", "name", "reason"),
    [
        (Ridge().fit(X_S, X_S @ W), "regression", "made for regression"),
        (W, "regression", "made for regression"),
        ((W, 0.1), "regression", "made for regression"),
        ((X_S, X_S @ W), "regression", "made for regression"),
        (LogisticRegression().fit(X_S, np.digitize(X_S @ W, [-1, 1])), "multiclass", "made for cl"),
        (np.stack([-W, 0 * W, W]), "multiclass", "made for classification"),
        ((np.stack([-W, 0 * W, W]), [0.1, 0.0, 0.2]), "multiclass", "made for classification"),
        ((W[None], [0.5]), "regression", "made for regression"),
        (lambda rows: np.asarray(rows) @ W, "multiclass", "y has 3 whole values"),
    ],
)
def test_the_source_decides_the_task(source, name, reason):
    if callable(source) and name == "multiclass":
        source = {"s": lambda rows: np.asarray(rows) @ np.stack([-W, 0 * W, W]).T}
    else:
        source = {"s": source}
    task = read_task(X, GRADES, source, "auto")
    assert task.name == name
    assert reason in task.reason


def test_indices_must_agree():
    frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(30) + 100)
    good = pd.Series(TEXT, index=frame.index)
    assert read_task(frame, good, {"s": W}, "auto").name == "binary"
    with pytest.raises(ValueError, match=r"same index, got 100 and 129 in row 0: pass y\.loc"):
        retemper.advise(frame, good[::-1], sources=W)
    with pytest.raises(ValueError, match="reset both if they go by place"):
        retemper.advise(frame, good.reset_index(drop=True), sources=W)
    named = pd.DataFrame(X_S, columns=list("abc"))
    with pytest.raises(ValueError, match=r"sources\['s'\]\[0\] and sources\['s'\]\[1\] must have"):
        retemper.advise(frame, good, sources={"s": (named, pd.Series(TEXT_S)[::-1])})


def test_rare_classes_are_left_out_and_named():
    labels = TEXT.copy().astype("<U5")
    labels[:2] = "maybe"
    values = np.where(X @ W > 0, 0.8, 0.2)
    sources = {"coefficients": W, "told": Predictions(values), "rows": (X_S, TEXT_S)}
    with pytest.warns(ValidityWarning, match=r"left out.*'maybe' \(2\)"):
        advice = retemper.advise(X, labels, sources=sources, cv=KFold(3))
    assert advice.n_samples == 28
    assert "'maybe' (2)" in advice["scratch"].flags[0]
    assert "'maybe' (2)" in str(advice)
    assert list(advice.estimator_.classes_) == ["no", "yes"]
    with pytest.raises(ValueError, match=r"two classes of at least 3 rows.*read as classes"):
        retemper.advise(X, np.arange(30) // 29, sources={"s": W}, task="classification")


def test_command_on_a_table_of_yes_and_no(tmp_path, capsys):
    for name, rows, labels in (("old", X_S, TEXT_S), ("new", X, TEXT)):
        pd.DataFrame(rows, columns=list("abc")).assign(ok=labels).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    with pytest.raises(SystemExit) as stop:
        main(["advise", str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), "--label", "ok"])
    assert not stop.value.code
    assert "two classes (y has values that are not numbers)" in capsys.readouterr().out


def scores_of(source, labels=TEXT, rows=X):
    task = read_task(rows, labels, {"s": source}, "auto")
    return task.scores[0][:, 0], task.sources[0].flags


def test_values_between_0_and_1_are_probabilities():
    chance = 1.0 / (1.0 + np.exp(-(X @ W)))

    def one(rows):
        return 1.0 / (1.0 + np.exp(-(np.asarray(rows) @ W)))

    def both(rows):
        return np.stack([1.0 - one(rows), one(rows)], axis=1)

    for source in (one, both):
        scores, flags = scores_of(source)
        np.testing.assert_allclose(scores, np.log(chance / (1.0 - chance)), atol=1e-2)
        assert "between 0 and 1: they are read as probabilities" in flags[0]
    scores, flags = scores_of(lambda rows: rows @ W)
    np.testing.assert_array_equal(scores, X @ W)
    assert not flags
    scores, flags = scores_of(lambda rows: np.stack([0 * (rows @ W), rows @ W], axis=1))
    np.testing.assert_array_equal(scores, X @ W)
    _, flags = scores_of(lambda rows: (rows @ W > 0).astype(float))
    assert "never how sure it is" in flags[1]
    with pytest.raises(TypeError, match=r"sources\['s'\] gives labels such as 'n?o?y?e?s?'"):
        scores_of(lambda rows: np.where(rows @ W > 0, "yes", "no"))
    scores, flags = scores_of(lambda rows: rows @ W * 0.0)  # a constant is no probability
    np.testing.assert_array_equal(scores, 0.0)


def test_several_columns_of_labels_say_what_to_write():
    with pytest.raises(ValueError, match=r"advise_targets takes several"):
        retemper.advise(X, np.stack([YES, ~YES], axis=1), sources=W)
    with pytest.raises(ValueError, match=r"one column of labels, got 2"):
        retemper.advise(X, pd.DataFrame({"a": YES, "b": ~YES}), sources=W)


def test_sparse_rows():
    from scipy.sparse import csr_array

    task = read_task(csr_array(X), TEXT, {"s": (csr_array(X_S), TEXT_S)}, "auto")
    expected = read_task(X, TEXT, {"s": (X_S, TEXT_S)}, "auto")
    np.testing.assert_array_equal(task.X, expected.X)
    np.testing.assert_array_equal(task.scores, expected.scores)
    assert "made dense" in task.flags[0]
    with pytest.raises(ValueError, match="too many to be made dense"):
        read_task(csr_array((30, 10**8)), TEXT, {"s": W}, "auto")


@pytest.mark.parametrize("y", [X @ W, TEXT], ids=["numbers", "classes"])
def test_the_model_takes_sparse_rows(y):
    """Also where a function of the rows is a part, and for a single member."""
    from scipy.sparse import csc_matrix, csr_array

    rows = np.where(np.abs(X) < 0.5, 0.0, X)
    sources = {"s": W, "f": lambda Z: np.tanh(Z @ W)}
    average = retemper.advise(csr_array(rows), y, sources=sources, cv=2).estimator_
    single = retemper.advise(csr_array(rows), y, sources={"f": sources["f"]}, cv=2).estimator_
    for model in (average, *getattr(average, "members", []), single):
        for given in (csr_array(rows), csc_matrix(rows)):
            call = "predict_proba" if hasattr(model, "classes_") else "predict"
            found, expected = (getattr(model, call)(Z) for Z in (given, rows))
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(model.score(csr_array(rows), y), model.score(rows, y))
    with pytest.raises(ValueError, match="features"):
        average.predict(csr_array(rows[:, :2]))


@pytest.mark.parametrize(
    "shown", ["{:.2f}", "€{:.2f}", "{:.2f} EUR", "$ {:,.2f}", "{:.2e}"], ids=str
)
def test_numbers_as_text_say_what_to_write(shown):
    """The remedy in the message is run."""
    y = pd.Series([shown.format(v) for v in 1000 * (9 + X @ W)])
    for task in ("auto", "regression"):
        with pytest.raises(ValueError, match="numbers as text") as refused:
            retemper.advise(X, y, sources=W, task=task)
        remedy = str(refused.value).split("pass numbers, ")[1].split(" in pandas")[0]
        assert retemper.advise(X, eval(remedy), sources=W, cv=2).task == "regression"
    few = pd.Series(np.where(YES, "1", "2"))
    assert retemper.advise(X, few, sources=W, cv=2).task == "binary"


def test_gaps_of_arrays_say_what_to_write():
    rows = X.copy()
    rows[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 missing values, the first in row 4, column 1: pass"):
        retemper.advise(rows, X @ W, sources={"s": W})
    there = retemper.advise(
        pd.DataFrame(rows), X @ W, sources={"s": lambda Z: np.nan_to_num(Z) @ W}, cv=2
    )
    assert any("filled with medians" in flag for flag in there["scratch"].flags)


def test_coefficients_of_other_classes_say_what_to_do():
    y = np.arange(30) % 3
    with pytest.raises(ValueError, match=r"each of 34 classes, y has 3: keep those of y"):
        retemper.advise(X, y, sources={"theirs": np.ones((34, X.shape[1]))}, task="classification")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    torch = pytest.importorskip("torch")
    rows = torch.tensor(X, dtype=getattr(torch, dtype))
    advice = retemper.advise(rows, torch.tensor(X @ W), sources={"s": torch.tensor(W)}, cv=2)
    assert advice["s"].held_out_error < 0.05 * np.var(X @ W)
    assert advice.estimator_.predict(rows).shape == (30,)


def test_files_of_numbers_are_sources(tmp_path):
    np.savez(tmp_path / "theirs.npz", coef=W, intercept=0.5)
    task = read_task(X, X @ W, {"theirs": tmp_path / "theirs.npz"}, "auto")
    np.testing.assert_allclose(task.scores[0, :, 0], X @ W + 0.5)
    with pytest.raises(FileNotFoundError, match=r"sources\['theirs'\] names a file that is not"):
        read_task(X, X @ W, {"theirs": str(tmp_path / "theirs.pkl")}, "auto")
    (tmp_path / "theirs.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"sources\['theirs'\]: .* runs whatever code is in it"):
        read_task(X, X @ W, {"theirs": str(tmp_path / "theirs.pkl")}, "auto")


def test_columns_that_are_the_labels_are_said():
    frame = pd.DataFrame(X, columns=list("abc"))
    y = X @ W + RNG.normal(size=30)
    cents = frame.assign(cents=100 * y + 3)
    said = " ".join(read_task(cents, y, {"s": lambda rows: rows["a"]}, "auto").flags)
    assert "columns that tell every label by themselves: cents." in said
    text = np.array(["red", "blue", "green"])[RNG.integers(0, 3, 30)]
    coded = frame.assign(colour=np.searchsorted(np.unique(text), text))
    said = " ".join(
        read_task(coded, text, {"s": lambda r: np.full((len(r), 3), 1 / 3)}, "auto").flags
    )
    assert "columns that tell every label by themselves: colour." in said
    assert "tell every" not in " ".join(read_task(frame, y, {"s": W}, "auto").flags)
    assert "tell every" not in " ".join(read_task(frame, TEXT, {"s": W}, "auto").flags)


def test_decimals_as_text_are_no_classes():
    text = np.round(X @ W, 3).astype(str)
    with pytest.raises(
        ValueError, match=r"y must hold numbers or classes; it holds numbers as text"
    ):
        retemper.advise(X, text, sources={"s": W})
    whole = (1 + np.arange(30) % 3).astype(str)  # stars, as text
    assert (
        read_task(X, whole, {"s": (X_S, (1 + np.arange(60) % 3).astype(str))}, "auto").classes
        is not None
    )


def test_few_rows_that_make_the_squared_error_are_said():
    rows = RNG.normal(size=(60, 3))
    y = rows @ W + RNG.normal(size=60)
    call = {"sources": {"s": W}, "random_state": 0}
    said = str(retemper.advise(rows, y, **call))
    assert "half of the squared error" not in said
    y[17] += 100
    said = str(retemper.advise(rows, y, **call))
    assert "half of the squared error from scratch is that of 1 of 60 rows (row 17)" in said
    assert "half of" not in str(retemper.advise(rows, y, scoring="absolute", **call))


def test_a_column_of_row_numbers_is_said():
    frame = pd.DataFrame(X, columns=list("abc")).reset_index(names="Unnamed: 0")
    said = " ".join(read_task(frame, TEXT, {"s": lambda r: r["a"]}, "auto").flags)
    assert "columns that count the rows: Unnamed: 0. Leave them out unless" in said


@pytest.mark.parametrize(
    ("text", "number"),
    [("29.08.2024", False), ("2024-05-31", False), ("1/2/24", False), ("1.200.500,00", True),
     ("1.200,50 €", True), ("12.5", True), ("-3e4", True)],
)  # fmt: skip
def test_dates_are_no_numbers(text, number):
    assert reads_as_number(text) is number


def test_counts_of_few_rows_are_numbers():
    counts = np.array([0] * 14 + [1] * 10 + [2, 3, 4, 5, 9, 98])
    task = read_task(X, counts, {"s": lambda r: np.exp(r @ W)}, "auto")
    assert task.is_regression
    assert "most of the 8 whole values of y have few rows" in task.reason
    stars = np.array([1] * 10 + [2] * 10 + [3] * 8 + [4] * 2)
    shares = {"s": lambda r: np.full((len(r), 3), 1 / 3)}
    with pytest.warns(ValidityWarning, match="task='regression' reads y as numbers"):
        task = read_task(X, stars, shares, "auto")
    assert not task.is_regression


def test_a_gain_of_the_headline_that_is_another_is_explained():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(400, 6))
    score = 1.5 * rows[:, 0] - rows[:, 1] + rng.logistic(size=400)
    rare = np.where(score > np.quantile(score, 0.97), "fraud", "ok")
    call = {"sources": {"s": np.array([-1.5, 1.0, 0, 0, 0, 0])}, "class_weight": None}
    for seed in range(3):
        advice = retemper.advise(rows, rare, random_state=seed, **call)
        apart = abs(advice["s"].relative_gain - advice.relative_gain) > 0.02
        explained = "the gain of the first line counts" in str(advice)
        assert explained == (apart and advice.use not in {"average", "scratch"})


def test_models_for_the_other_kind_of_labels_are_said():
    numbers = Ridge().fit(X_S, X_S @ W)
    (source,) = read_task(X, TEXT, {"s": numbers}, "auto").sources
    assert "it is a regressor: its numbers are read as logits of class 'yes'" in source.flags
    y = X @ W + 0.1
    (source,) = read_task(X, y, {"s": LogisticRegression().fit(X_S, TEXT_S)}, "auto").sources
    assert "it is a classifier: its logits are read as numbers" in source.flags
    assert not read_task(X, y, {"s": numbers}, "auto").sources[0].flags
