"""One reader of sources: every form gives the same predictor, names decide the order of columns."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retemper._sources import Predictions, name_sources, read_source
from retemper.exceptions import ValidityWarning

RNG = np.random.default_rng(0)
NAMES = ["a", "b", "c", "d"]
X = RNG.normal(size=(30, 4))
FRAME = pd.DataFrame(X, columns=NAMES)
COEF = np.array([1.0, -2.0, 0.5, 3.0])
Y = X @ COEF + 0.7
SHUFFLED = FRAME[["c", "a", "d", "b"]]
LABELS = np.where(Y > 1.0, "yes", np.where(Y < -1.0, "no", "so"))


@pytest.mark.parametrize(
    "source",
    [
        COEF,
        COEF.tolist(),
        COEF[None],
        (COEF, 0.7),
        (COEF[None], [0.7]),
        pd.Series(COEF, index=NAMES),
        pd.Series(COEF, index=NAMES)[["d", "b", "a", "c"]],
        pd.Series([0.7, *COEF], index=["const", *NAMES]),
        LinearRegression().fit(X, Y),
        LinearRegression().fit(FRAME, Y),
        LinearRegression().fit(SHUFFLED, Y),
        lambda rows: np.asarray(rows) @ COEF,
        make_pipeline(StandardScaler(), LinearRegression()).fit(SHUFFLED, Y),
    ],
)
def test_every_form_gives_the_same_predictor(source):
    read = read_source(source, FRAME)
    offset = read.predict(np.zeros((1, 4)), pd.DataFrame(np.zeros((1, 4)), columns=NAMES))
    assert_allclose(read.predict(X, FRAME) - offset, (X @ COEF)[:, None], atol=1e-12)
    assert offset.item() == pytest.approx(0.7 if offset.item() else 0.0, abs=1e-12)


def test_permuted_names_are_matched_in_coefficients_functions_and_data():
    linear = read_source(LinearRegression().fit(SHUFFLED, Y), FRAME)
    assert_allclose(linear.coef, COEF[None], atol=1e-12)
    forest = RandomForestRegressor(5, random_state=0).fit(SHUFFLED, Y)
    read = read_source(forest, FRAME)
    assert_array_equal(read.predict(X, FRAME)[:, 0], forest.predict(SHUFFLED))
    copy = pickle.loads(pickle.dumps(read))
    assert_array_equal(copy.predict(X, FRAME), read.predict(X, FRAME))
    data = read_source((SHUFFLED, Y), FRAME, faces=("data",))
    assert_array_equal(data.data[0], X)


def test_unknown_columns_of_the_target_have_no_weight_and_missing_ones_are_named():
    small = LinearRegression().fit(FRAME[["d", "b"]], Y)
    read = read_source(small, FRAME)
    assert_array_equal(read.coef[0, [0, 2]], 0.0)
    assert_allclose(read.predict(X)[:, 0], small.predict(FRAME[["d", "b"]]))
    with pytest.raises(ValueError, match=r"columns that X does not have: \['a', 'c'\]"):
        read_source(LinearRegression().fit(FRAME, Y), FRAME[["b", "d"]])
    with pytest.raises(ValueError, match=r"source lacks columns of X: \['b', 'd'\]"):
        read_source((FRAME[["a", "c"]], Y), FRAME, faces=("data",))
    extra = read_source((FRAME, Y), FRAME[["b", "d"]], faces=("data",))
    assert extra.flags == ("columns that X does not have are left out: a, c",)


def test_pairs():
    assert read_source((X, Y), X, faces=("coef", "data")).kind == "data"
    assert read_source((COEF, 1.0), X, faces=("coef", "data")).kind == "coefficients"
    two = read_source((np.stack([COEF, -COEF]), [1.0, 2.0]), X, n_outputs=2)
    assert_allclose(two.predict(X), np.stack([X @ COEF + 1.0, -X @ COEF + 2.0], axis=1))
    with pytest.raises(TypeError, match=r"source must be coefficients, .* got a pair \(X, y\)"):
        read_source((X, Y), X)


def test_classes_are_matched_by_label():
    model = LogisticRegression().fit(SHUFFLED, LABELS)
    classes = np.array(["no", "so", "yes"])
    read = read_source(model, FRAME, classes=classes)
    scores = read.predict(X)
    assert_allclose(scores, model.decision_function(SHUFFLED), atol=1e-12)
    two = read_source(model, FRAME, classes=classes[[0, 2]])
    assert_allclose(two.predict(X)[:, 0], scores[:, 2] - scores[:, 0], atol=1e-12)
    forest = RandomForestClassifier(20, random_state=0).fit(SHUFFLED, LABELS)
    logits = read_source(forest, FRAME, classes=classes).predict(X, FRAME)
    assert_allclose(logits, np.log(np.maximum(forest.predict_proba(SHUFFLED), 1e-4)))
    with pytest.raises(ValueError, match=r"does not know the classes \['maybe', 'never'\]"):
        read_source(model, FRAME, classes=np.array(["maybe", "never"]))


@pytest.mark.filterwarnings("ignore:source:retemper.exceptions.ValidityWarning")
def test_new_classes_start_from_zero():
    classes = np.array(["maybe", "no", "yes"])
    model = LogisticRegression().fit(FRAME, LABELS)
    with pytest.warns(ValidityWarning, match=r"source: does not know the classes \['maybe'\]"):
        read = read_source(model, FRAME, classes=classes)
    coef = model.coef_ - model.coef_.mean(axis=0)
    assert_allclose(read.coef, np.stack([np.zeros(4), coef[0], coef[2]]))
    assert read.flags == ("does not know the classes ['maybe']: they start from zero",)
    forest = RandomForestClassifier(20, random_state=0).fit(FRAME, LABELS)
    scores = read_source(forest, FRAME, classes=classes).predict(X, FRAME)
    logs = np.log(np.maximum(forest.predict_proba(FRAME), 1e-4))
    assert_allclose(scores[:, 1], logs[:, 0] - logs.mean(axis=1))
    assert_array_equal(scores[:, 0], 0.0)
    two = read_source(model, FRAME, classes=classes[:2])  # the new one is the first
    assert_allclose(two.coef, coef[:1])


@pytest.mark.filterwarnings("ignore:source. its:retemper.exceptions.ValidityWarning")
def test_numbers_of_classes_stand_for_them_in_order():
    numbers = np.searchsorted(np.unique(LABELS), LABELS)
    read = read_source(LogisticRegression().fit(X, numbers), X, classes=np.unique(LABELS))
    expected = read_source(LogisticRegression().fit(X, LABELS), X, classes=np.unique(LABELS))
    assert_allclose(read.coef, expected.coef, atol=1e-10)
    assert "0 is 'no', 1 is 'so', 2 is 'yes'" in read.flags[0]


def test_state_dictionaries():
    head = {"head.weight": np.stack([COEF, -COEF]), "head.bias": [1.0, 2.0]}
    read = read_source(head, X, n_outputs=2)
    assert_allclose(read.predict(X), np.stack([X @ COEF + 1.0, 2.0 - X @ COEF], axis=1))
    deep = {"trunk.0.weight": np.ones((4, 4)), "trunk.0.bias": np.ones(4), **head}
    read = read_source(deep, X, n_outputs=2)
    assert "its layer 'head' is taken" in read.flags[0]
    named = {"coef": COEF[[3, 0]], "intercept": 0.5, "feature_names": ["d", "a"]}
    read = read_source(named, FRAME)
    assert_array_equal(read.coef, [[COEF[0], 0.0, 0.0, COEF[3]]])
    two = {"weight": np.stack([-COEF, COEF]), "bias": [0.0, 1.0]}
    assert_array_equal(read_source(two, X, classes=np.array(["no", "yes"])).coef, [2 * COEF])
    with pytest.raises(ValueError, match=r"2 linear layers with 4 inputs and 2 outputs"):
        read_source({**head, "other.weight": np.ones((2, 4))}, X, n_outputs=2)
    with pytest.raises(ValueError, match=r"no linear layer with 4 inputs .* weight \(2, 3\)"):
        read_source({"weight": np.ones((2, 3))}, X, n_outputs=2)
    with pytest.raises(TypeError, match="got a dict"):
        read_source({1: COEF}, X)


def test_modules_and_tensors_of_torch():
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(4, 1, dtype=torch.bfloat16)
    read = read_source(linear, X)
    assert_array_equal(read.coef, linear.weight.detach().double().numpy())
    tensor = torch.tensor(COEF, dtype=torch.float16, requires_grad=True)
    assert_allclose(read_source((tensor, 0.7), X).predict(X)[:, 0], Y, rtol=1e-2, atol=1e-2)
    assert_array_equal(read_source(linear, torch.tensor(X)).coef, read.coef)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 2))
    read = read_source(net, X, classes=np.array(["no", "yes"]))
    assert net.training
    logits = net.eval()(torch.tensor(X, dtype=torch.float32)).detach().numpy()
    assert_allclose(read.predict(X)[:, 0], logits[:, 1] - logits[:, 0], atol=1e-5)
    with pytest.raises(ValueError, match=r"one number for each of 3 classes, got shape \(30, 2\)"):
        read_source(net, X, classes=np.arange(3)).predict(X)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosters(library):
    trees = pytest.importorskip(library)
    numbers = np.searchsorted(np.unique(LABELS), LABELS)

    def train(rows, labels, **settings):
        if library == "lightgbm":
            settings = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3} | settings
            return trees.train(settings, trees.Dataset(rows, labels), 5)
        names = {"multiclass": "multi:softprob", "binary": "binary:logistic"}
        kind = names.get(settings.get("objective"), "reg:squarederror")
        return trees.train({**settings, "objective": kind}, trees.DMatrix(rows, labels), 5)

    numeric = train(SHUFFLED, Y)
    read = read_source(numeric, FRAME)
    assert np.corrcoef(read.predict(X, FRAME)[:, 0], Y)[0, 1] > 0.8
    assert_array_equal(read.predict(X, FRAME), read_source(numeric, SHUFFLED).predict(X, SHUFFLED))
    with pytest.raises(ValueError, match="columns that X does not have"):
        read_source(numeric, FRAME[["a", "b"]])
    two = read_source(train(X, Y > 0, objective="binary"), X, classes=np.array(["n", "y"]))
    assert (two.predict(X)[:, 0] > 0).mean() == pytest.approx((Y > 0).mean(), abs=0.2)
    many = train(X, numbers, objective="multiclass", num_class=3)
    scores = read_source(many, X, classes=np.unique(LABELS)).predict(X)
    assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=1e-5)
    with pytest.raises(ValueError, match="fitted on 4 features, X has 3"):
        read_source(many, X[:, :3], classes=np.unique(LABELS))


def test_bfloat16_of_numpy():
    numbers = pytest.importorskip("ml_dtypes")
    coef = COEF.astype(numbers.bfloat16)
    assert_allclose(read_source(coef, X.astype(numbers.bfloat16)).coef, COEF[None], rtol=1e-2)


def test_predictions():
    faces = ("coef", "predict", "predictions", "data")
    read = read_source(Y, X, faces=faces)
    assert read.kind == "predictions"
    assert_array_equal(read.predict(X)[:, 0], Y)
    with pytest.raises(ValueError, match="holds predictions for 30 rows, X has 2"):
        read.predict(X[:2])
    with pytest.raises(ValueError, match="could be coefficients or predictions"):
        read_source(np.ones(4), X[:4], faces=faces)
    assert read_source(Predictions(np.ones(4)), X[:4], faces=faces).kind == "predictions"
    with pytest.raises(ValueError, match=r"probabilities, between 0 and 1; the range is \[-?\d"):
        read_source(Predictions(Y), X, faces=faces, classes=np.array([0, 1]))
    p = np.linspace(0.1, 0.9, 30)
    logit = read_source(Predictions(p), X, faces=faces, classes=np.array([0, 1])).predict(X)
    assert_allclose(logit[:, 0], np.log(p / (1 - p)))


@pytest.mark.parametrize(
    ("source", "faces", "error", "match"),
    [
        ("coef.csv", ("coef",), TypeError, "a fitted linear model, got 'coef.csv'"),
        (
            None,
            ("data",),
            TypeError,
            r"must be a pair \(X, y\) of .* got None",
        ),
        (LinearRegression, ("coef",), TypeError, "is the class LinearRegression"),
        (LinearRegression(), ("coef",), NotFittedError, "source is not fitted"),
        (np.ones(3), ("coef",), ValueError, r"must have shape \(4,\) or \(1, 4\) .*got \(3,\)"),
        (np.ones(3), ("data",), TypeError, r"got an array of shape \(3,\)"),
        (len, ("coef",), TypeError, "or a fitted linear model, got a function"),
        (
            RandomForestRegressor(2).fit(X, Y),
            ("coef",),
            TypeError,
            "got a RandomForestRegressor, which has no coef_",
        ),
        (
            LinearRegression().fit(X[:, :2], Y),
            ("coef",),
            ValueError,
            "fitted on 2 features, X has 4",
        ),
        ((X, Y[:3]), ("data",), ValueError, "of one length"),
        ([1.0, np.nan, 0.0, 0.0], ("coef",), ValueError, r"source\[1\] is nan"),
    ],
)
def test_refusals_say_what_is_wanted(source, faces, error, match):
    with pytest.raises(error, match=match):
        read_source(source, X, faces=faces)


def test_names():
    assert name_sources(None) == {}
    assert list(name_sources([COEF, COEF])) == ["source 0", "source 1"]
    assert list(name_sources([1.0, 2.0])) == ["source 0"]
    assert list(name_sources((X, Y))) == ["source 0"]
    assert list(name_sources({1: COEF})) == ["1"]
    with pytest.raises(ValueError, match="equal as text"):
        name_sources({1: COEF, "1": COEF})
    with pytest.raises(ValueError, match="must not be called 'scratch'"):
        name_sources({"scratch": COEF})
