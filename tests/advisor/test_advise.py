"""Advice on tasks whose answer is known, and on bad input."""

import html
import json
import math
import pickle
import re
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold

import retemper
from retemper.advisor import Opinion, Predictions, TransferAdvice, opinions
from retemper.advisor.evidence import (
    CHOICE,
    LARGEST_SCORE,
    LEAST_SCORE,
    ODDS_OF_SOURCE,
    UNSEEN,
    error_interval,
    gain_of,
    gain_score,
    holm,
    weigh,
)
from retemper.advisor.forecast import SPREAD_OF_LEVEL
from retemper.advisor.opinions import ASK
from retemper.advisor.wording import regime
from retemper.cli import main
from retemper.linear import FineTunedLinearRegression, FineTunedLogisticRegression


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def task(n=60, d=40, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, d)), rng.normal(size=d) / d**0.5
    return X, X @ w + noise * rng.normal(size=n), w, rng.normal(size=d) / d**0.5


X, Y, W, OTHER = task()
CLASS = (Y > 0).astype(int)


@pytest.fixture(scope="module")
def many():
    sources = {
        "near": W + 0.2 * OTHER,
        "flipped": -(W + 0.2 * OTHER),
        "other": OTHER,
        "again": W + 0.2 * OTHER,
    }
    return retemper.advise(X, Y, sources=sources, budget=500, target_error=0.4)


def test_known_answers(many):
    near, scratch = many["near"], many["scratch"]
    assert near.verdict == many["flipped"].verdict == many["again"].verdict == "helps"
    assert many["flipped"].use == "rescaled"
    assert many["flipped"].source_scale < 0
    assert many["other"].verdict in ("hurts", "undecided")
    assert near.duplicate_of is None
    assert many["again"].duplicate_of == "near"
    assert many.choice in ("near", "flipped", "mixture")
    assert many.verdict == "helps"
    assert many.use == "average"
    assert many.headline.startswith("Use the average (")
    assert near.p_value < 0.05
    assert near.p_helps > 0.9 > many["other"].p_helps
    assert near.gain_low < near.gain < near.gain_high
    assert math.isclose(near.gain, scratch.loss - near.loss)
    for name in ("gain", "gain_low", "gain_high"):
        assert math.isclose(getattr(near, "relative_" + name), getattr(near, name) / scratch.loss)
    assert (scratch.verdict, scratch.use, scratch.gain) == ("same", "scratch", 0.0)
    assert math.isnan(scratch.p_helps)
    assert math.isnan(near.labels_to_decide)
    if many["other"].verdict == "undecided":
        assert not many["other"].labels_to_decide <= 60


def test_the_headline_is_what_the_model_does(many):
    """The action, its odds and its gain are those of the fields, and the parts those in use."""
    fields = (many.relative_gain, many.relative_gain_low, many.relative_gain_high)
    percent = [min(100.0, 100 * field) for field in fields]  # no more than all can be gained
    end = "{:.0f} % likely better than scratch, by {:.0f} % [{:.0f}, {:.0f}].".format(
        100 * many.p_helps, *percent
    )
    assert many.headline.endswith(end)
    weights = many.settings["weights"]
    first = max(weights, key=weights.get)
    assert f"({100 * weights[first]:.0f} % {first}" in many.headline
    assert many.gain == pytest.approx(many.relative_gain * many["scratch"].loss)
    assert many.gain_low < many.gain < many.gain_high
    single = retemper.advise(X[:20], Y[:20], sources={"s": Predictions(Y[:20])})
    assert single.headline.startswith("Train from scratch")


def test_progress_counts_splits():
    X, y = task(n=20, d=4)[:2]
    seen = []
    retemper.advise(
        X, y, sources={"s": np.ones(4)}, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(k, 20) for k in range(1, 21)]  # five folds, four times


def test_scratch_when_nothing_is_shared():
    X, y, _, other = task(n=80, d=20, noise=0.3)
    advice = retemper.advise(X, y, sources={"a": 3 * other, "b": -3 * np.roll(other, 7)})
    assert advice.verdict in ("hurts", "same")
    assert all(advice[name].verdict in ("hurts", "same") for name in "ab")
    assert advice.headline == "Train from scratch: no use of a source gains 5 % or more."
    assert math.isnan(advice.p_helps)
    assert advice.gain == 0.0
    assert advice.use == advice.choice == "scratch"
    single = retemper.advise(X, y, sources=3 * other)
    assert single.verdict in ("hurts", "same")
    assert single.headline == "Train from scratch: no use of the source gains 5 % or more."


def test_undecided_on_noise():
    rng = np.random.default_rng(1)
    advice = retemper.advise(
        rng.normal(size=(30, 10)), rng.normal(size=30), sources=[rng.normal(size=10)]
    )
    assert advice.verdict == advice["source 0"].verdict
    assert advice.verdict != "helps"
    assert advice.headline.startswith(("Use", "Fine-tune", "Train"))
    assert "ndecided" not in advice.headline


def test_estimator_predicts_as_its_parts(many):
    model = many.estimator_
    rows = np.random.default_rng(3).normal(size=(500, 40))
    truth = rows @ W
    scratch = FineTunedLinearRegression().fit(X, Y)
    assert np.mean((model.predict(rows) - truth) ** 2) < 0.5 * np.mean(
        (scratch.predict(rows) - truth) ** 2
    )
    parts = [w * m.predict(rows) for w, m in zip(model.weights, model.members, strict=True)]
    np.testing.assert_allclose(model.predict(rows), np.sum(parts, axis=0))
    assert math.isclose(sum(model.weights), 1.0)
    assert model.score(X, Y) > 0
    clone(model).fit(X, Y)


def test_learning_curve_and_budget(many):
    curve = many.learning_curve
    assert (np.diff(curve.n_samples) > 0).all()
    beyond = ~curve.measured
    for name, error in curve.error.items():
        assert (np.diff(error[beyond]) <= 1e-12).all()
        assert (curve.error_low[name][beyond] < error[beyond]).all()
        assert (error[beyond] < curve.error_high[name][beyond]).all()
        assert np.isnan(curve.error_low[name][curve.measured]).all()
        fit = curve.fit[name]
        assert fit.at(500.0) == many.budget_error[name]
        assert fit.band(500.0) == (many.budget_error_low[name], many.budget_error_high[name])
        needed = fit.labels_for(0.4)
        assert many.labels_needed_low[name] == needed.low <= needed.high
        assert math.isnan(many.labels_needed[name]) == math.isinf(needed.high)
    assert many.budget_error_low[many.choice] < many.budget_error_high["scratch"]
    assert "root mean squared error with 500 labels: scratch" in str(many)
    assert "labels for a root mean squared error of 0.632: scratch" in str(many)


def test_every_kind_of_source_says_the_same():
    ridge = Ridge(1e-8).fit(np.eye(40), W)
    ridge.coef_, ridge.intercept_ = W, 0.0
    given = {
        "coefficients": W,
        "pair": (W, 0.0),
        "model": ridge,
        "function": lambda rows: np.asarray(rows) @ W,
        "predictions": X @ W,
    }
    found = {name: retemper.advise(X, Y, sources={"s": s})["s"] for name, s in given.items()}
    for name, row in found.items():
        np.testing.assert_allclose(row.gain, found["coefficients"].gain, rtol=1e-9, err_msg=name)
    assert "cannot be used on new rows" in found["predictions"].flags[0]


def test_predictions_alone_cannot_predict():
    advice = retemper.advise(X, Y, sources={"s": X @ W})
    assert advice["s"].verdict == "helps"
    assert advice.choice == advice.use == "scratch"
    assert "cannot be used on new rows" in advice.headline
    assert isinstance(advice.estimator_, FineTunedLinearRegression)


def test_source_data_asks_more_systems():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(200, 40))
    advice = retemper.advise(
        X, Y, sources={"s": (rows, rows @ W + 0.3 * rng.normal(size=200))}, systems="all"
    )
    said = {o.system: o for o in advice.opinions if o.source == "s"}
    assert set(said) == {"linear", "diagonal", "widenet", "phases"}
    assert 0 < advice["s"].labels_saved <= 60
    assert said["linear"].verdict in ("helps", "undecided")
    assert said["diagonal"].flags == (
        "not asked: more rows than features: every start ends at least squares",
    )
    assert said["widenet"].verdict in ("helps", "undecided")
    assert "200 rows" in advice["s"].flags[0]


def test_diagonal_names_a_regime_with_fewer_rows_than_features():
    X, y, w, other = task(n=20, d=60)
    advice = retemper.advise(X, y, sources={"near": w + 0.1 * other}, systems="diagonal")
    assert ("regime" in advice.regime) == (advice.use != "as is")
    assert any(o.system == "diagonal" and "regime" in o.advice for o in advice.opinions)


@pytest.mark.parametrize(
    "labels",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("binary", "three")] + ["text"],
)
def test_classification(labels):
    rng = np.random.default_rng(0)
    if labels == "three":
        V = rng.normal(size=(3, 40)) / 3
        y = (X @ V.T).argmax(axis=1)
        sources = {"same": 3 * V, "other": rng.normal(size=(3, 40))}
    else:
        y = CLASS if labels == "binary" else np.array(["no", "yes"])[CLASS]
        sources = {"same": 4 * W, "other": 2 * OTHER}
    advice = retemper.advise(X, y, sources=sources)
    assert advice.task == ("multiclass" if labels == "three" else "binary")
    assert advice["same"].verdict == "helps"
    if advice.choice != "same":  # a mixture that holds it, and nearly nothing else
        factors = advice["mixture"].flags[0].removeprefix("factors of the sources: ").split(", ")
        size = {name: abs(float(factor)) for factor, name in map(str.split, factors)}
        assert advice.choice == "mixture"
        assert size.get("other", 0.0) < 0.2 * size["same"]
    rows = rng.normal(size=(400, 40))
    model = advice.estimator_
    prob = model.predict_proba(rows)
    np.testing.assert_allclose(prob.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.predict(rows), model.classes_[prob.argmax(axis=1)])
    assert set(model.classes_) == set(np.unique(y))
    assert 0 <= advice["same"].held_out_low <= advice["same"].held_out_error


def test_source_classes_are_matched_by_label():
    y = np.array(["no", "yes"])[CLASS]
    model = LogisticRegression().fit(np.vstack([X, -X]), np.r_[y, np.array(["yes", "no"])[CLASS]])
    assert retemper.advise(X, y, sources={"s": model}, cv=KFold(5))["s"].gain > 0
    with pytest.raises(ValueError, match="does not know the classes"):
        retemper.advise(X, np.array(["a", "b"])[CLASS], sources={"s": model})


def test_columns_are_matched_by_name():
    names = [f"x{j}" for j in range(40)]
    frame = pd.DataFrame(X, columns=names)
    turned = frame[names[::-1]]
    forest = RandomForestRegressor(5, random_state=0).fit(turned, X @ W)
    ridge = Ridge(0.1).fit(turned, X @ W)
    advice = retemper.advise(
        frame, Y, sources={"forest": forest, "ridge": ridge, "data": (turned + 0.1, X @ W)}
    )
    assert advice["ridge"].gain > 0
    assert advice["data"].gain > 0
    advice.estimator_.predict(frame)
    with pytest.raises(ValueError, match=r"columns that X does not have: \['x0'\]"):
        retemper.advise(frame.drop(columns="x0"), Y, sources={"forest": forest})
    with pytest.raises(ValueError, match=r"lacks columns of X: \['x3'\]"):
        retemper.advise(frame, Y, sources={"s": (frame.drop(columns="x3"), Y)})


def test_systems_speak_only_when_asked(many):
    assert many.opinions == many.disagreements == ()
    assert many.regime == ""
    assert math.isnan(many["near"].labels_saved)
    assert "systems" not in str(many)
    two = retemper.advise(X, Y, sources={"s": W}, systems=["phases", "linear"])
    assert [o.system for o in two.opinions if o.source == "s"] == ["linear", "phases"]
    with pytest.raises(ValueError, match="got 'lineal'"):
        retemper.advise(X, Y, sources=W, systems=["lineal"])


def test_a_contradiction_is_listed(monkeypatch):
    def contrary(task, source, scores, n_jobs):
        return Opinion(system="phases", source=source.name, verdict="hurts")

    monkeypatch.setitem(ASK, "phases", contrary)
    advice = retemper.advise(X, Y, sources={"s": W}, systems="phases")
    expected = ("s: held-out loss says that it helps, phases that it hurts",)
    assert advice.disagreements == expected
    assert expected[0] in str(advice)


@pytest.mark.parametrize("system", ["linear", "diagonal", "phases", "perceptron"])
def test_an_opinion_that_fails_becomes_a_flag(monkeypatch, system):
    def fail(*args, **options):
        raise ZeroDivisionError("by nought")

    if system in ASK:
        monkeypatch.setitem(ASK, system, fail)
    else:
        monkeypatch.setattr(opinions, f"{system}_opinion{'s' * (system == 'linear')}", fail)
    advice = retemper.advise(X, Y, sources={"s": W}, systems=system)
    (opinion,) = advice.opinions
    assert opinion.system == system
    assert opinion.flags == ("could not answer (ZeroDivisionError: by nought)",)
    assert advice.verdict == "helps"


def test_fewer_rows_than_columns_never_lose_the_advice():
    """Every system in turn on samples that broke them."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows, w = rng.normal(size=(15, 19)), rng.normal(size=19)
        y = rows @ w + (0.0, 0.1, 1.0, 1.0)[seed] * rng.normal(size=15)
        advice = retemper.advise(
            rows, y, sources={"s": w + 0.5 * rng.normal(size=19), "none": 0 * w}, systems="all"
        )
        assert np.isfinite(advice.estimator_.predict(rows)).all()
        assert all(o.verdict or o.advice or o.error or o.flags for o in advice.opinions)


SEPARABLE = np.vstack([X[:10, :3] + 30, X[10:20, :3] - 30])


@pytest.mark.parametrize(
    "factor",
    [
        pytest.param(1.0, marks=pytest.mark.slow),
        pytest.param(1e4, marks=pytest.mark.slow),
        -1e4,
        0.0,
    ],
)
def test_separable_classes_give_numbers(factor):
    y = np.repeat(["a", "b"], 10)
    advice = retemper.advise(
        SEPARABLE, y, sources={"s": np.full(3, factor)}, cv=StratifiedKFold(5)
    )  # fmt: skip
    frame = advice.to_frame().drop(columns=["labels_saved", "ridge", "duplicate_of", "flags"])
    frame = frame.drop(columns=["p_helps", "labels_to_decide"])
    assert np.isfinite(frame.select_dtypes("number").to_numpy()).all()
    assert advice.estimator_.score(SEPARABLE, y) == 1.0
    advice.plot()


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(9, 16), (13, 14), (18, 19)])
def test_separable_classes_and_a_source_of_huge_logits(n, d):
    """Saturated probabilities have no curvature: no step overflows (warnings are errors here)."""
    rng = np.random.default_rng(n)
    rows, V = rng.normal(size=(n, d)), rng.normal(size=(3, d))
    y = np.argsort(np.argsort(rows @ V[0])) * 3 // n
    sources = {"right": V, "none": 0 * V, "huge": 100 * V}
    advice = retemper.advise(rows, y, sources=sources, task="classification")
    assert np.isfinite(advice.estimator_.predict_proba(rows)).all()
    assert all(np.isfinite([row.gain, row.loss, row.p_value]).all() for row in advice.candidates)


@pytest.mark.slow
def test_unlabelled_rows_are_worth_labels():
    rng = np.random.default_rng(0)
    d, gap = 20, 0.5
    w = rng.normal(size=d) / d**0.5
    rows = rng.normal(size=(4001, d))
    rows = rows[abs(rows @ w) > gap * np.linalg.norm(w)]
    y = (rows[:24] @ w > 0).astype(int)
    advice = retemper.advise(rows[:24], y, sources={"s": w}, unlabelled=rows[24:300])
    said = [o for o in advice.opinions if o.system == "perceptron"]
    assert len(said) == 1
    assert "unlabelled rows are worth" in said[0].advice


def test_rows_that_do_not_follow_the_margin_model_are_worth_nothing_said():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 20)) * np.geomspace(1.0, 0.01, 20)
    y = (rows[:24, 0] > 0).astype(int)
    advice = retemper.advise(
        rows[:24], y, sources={"s": np.eye(20)[0]}, unlabelled=rows[24:], cv=StratifiedKFold(3)
    )
    (said,) = [o for o in advice.opinions if o.system == "perceptron"]
    assert said.flags[0] == "no answer: the rows do not follow the margin model"
    assert not said.advice
    assert math.isnan(said.error)
    assert "worth" not in str(advice)


def test_the_interval_of_linear_is_about_its_error_not_its_gain_alone():
    """A source as good as scratch: the gain is sure, the error is not."""
    rng = np.random.default_rng(2)
    rows, w = rng.normal(size=(40, 3)), rng.normal(size=3)
    advice = retemper.advise(
        rows, rows @ w + rng.normal(size=40), sources={"s": w}, systems="linear", confidence=0.9
    )
    (said,) = [o for o in advice.opinions if o.source == "s"]
    level = math.exp(stats.norm.ppf(0.95) * SPREAD_OF_LEVEL[True] / 40**0.5)
    assert said.error_high >= said.error * level * (1 - 1e-12)
    assert 0 <= said.error_low <= said.error / level * (1 + 1e-12)


def test_a_regime_without_the_source_does_not_stand_beside_its_use():
    said = [Opinion(system="diagonal", source="s", advice="regime III (lazy, blind to the source)")]
    tied = [Opinion(system="diagonal", source="s", advice="regime II (lazy, tied to the source)")]
    assert regime(said, "s", "fine-tune") == ""
    assert regime(tied, "s", "as is") == ""
    assert regime(tied, "s", "fine-tune").startswith("for diagonal networks, regime II")


def test_threads_and_order_do_not_change_a_bit():
    one = retemper.advise(X, Y, sources={"a": W, "b": OTHER}, n_jobs=1)
    two = retemper.advise(X, Y, sources={"a": W, "b": OTHER}, n_jobs=2)
    assert json.dumps(one.as_dict()) == json.dumps(two.as_dict())
    turned = retemper.advise(X, Y, sources={"b": OTHER, "a": W})
    assert turned["a"].gain == one["a"].gain


def test_text_frame_dictionary_and_page(many, tmp_path):
    text, frame, plain = str(many), many.to_frame(), many.as_dict()
    assert list(frame.index) == ["scratch", "near", "flipped", "other", "again", "mixture"]
    assert all(name in text for name in frame.index)
    json.dumps(plain, allow_nan=False)
    assert "estimator_" not in plain
    page = many.to_html(tmp_path / "advice.html").read_text()
    assert many.headline in html.unescape(page)
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#)", page)


def test_user_text_is_escaped(tmp_path):
    name = "<script>alert('x')</script> & co"
    page = retemper.advise(X, Y, sources={name: W}).to_html(tmp_path / "a.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


BAD = [
    (lambda: retemper.advise(X, Y, sources={}), "at least one source"),
    (lambda: retemper.advise(X, Y, sources=None), "at least one source"),
    (lambda: retemper.advise(X, Y[:-1], sources=W), "as many rows"),
    (lambda: retemper.advise(X[:5], Y[:5], sources=W), "at least 6 rows"),
    (lambda: retemper.advise(X, np.full(60, 2.5), sources=W), "constant"),
    (lambda: retemper.advise(X, np.full(60, "a"), sources=W), "one class only"),
    (lambda: retemper.advise(X, np.r_[[0] * 59, 7], sources=W), r"few rows of 7 \(1\): label"),
    (lambda: retemper.advise(X, np.where(Y > 0, Y, np.nan), sources=W), "missing"),
    (lambda: retemper.advise(np.where(X > 3, np.inf, X), Y, sources=W), "X"),
    (lambda: retemper.advise(X, Y, sources=W[:-1]), r"shape"),
    (lambda: retemper.advise(X, Y, sources={"scratch": W}), "'scratch'"),
    (lambda: retemper.advise(X[:40], Y[:40], sources={"s": W}), "Predictions"),
    (lambda: retemper.advise(X, CLASS, sources={"s": Predictions(3 * Y)}), "probabilities"),
    (lambda: retemper.advise(X, Y, sources={"s": (X[:, :3], Y)}), "has 3 features"),
    (lambda: retemper.advise(X, Y, sources={"s": (X, Y[:3])}), "of one length"),
    (lambda: retemper.advise(X, Y, sources=W, task="rank"), "task must be one of"),
    (lambda: retemper.advise(X, Y, sources=W, budget=0), "budget"),
    (lambda: retemper.advise(X, Y, sources=W, target_error=-1), "target_error"),
    (lambda: retemper.advise(X, Y, sources=W, confidence=1.0), "confidence"),
    (lambda: retemper.advise(X, Y, sources=W, unlabelled=X[:, :2]), "unlabelled"),
    (lambda: retemper.advise(X, Y, sources={1: W, "1": W}), "equal as text"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


ORDERS = [
    "import retemper; f = retemper.advise",
    "import retemper.advisor._advise; import retemper; f = retemper.advise",
    "import retemper.advisor.judging, retemper.advisor.page; from retemper import advise as f",
    "from retemper.advisor import advise as f",
    "import retemper.gallery.demo, retemper.cli; import retemper; f = retemper.advise",
]


@pytest.mark.slow
def test_advise_is_the_function_in_any_order_of_imports():
    for order in ORDERS:
        check = "assert callable(f) and f.__name__ == 'advise', f; import retemper"
        more = "assert retemper.advise is f is retemper.advisor.advise"
        subprocess.run([sys.executable, "-c", f"{order}; {check}; {more}"], check=True)


@pytest.mark.slow
def test_advise_goes_to_other_processes():
    with joblib.parallel_config("loky", n_jobs=2):
        call = joblib.delayed(retemper.advise)
        found = joblib.Parallel()(call(X[:30, :5], Y[:30], sources=s * W[:5]) for s in (1, -1))
    assert [advice["source 0"].source_scale > 0 for advice in found] == [True, False]
    again = pickle.loads(pickle.dumps(found[0]))
    np.testing.assert_array_equal(
        again.estimator_.predict(X[:, :5]), found[0].estimator_.predict(X[:, :5])
    )


def test_text_columns_of_source_rows_are_named():
    frame = pd.DataFrame({"a": Y, "b": ["x"] * 60})
    with pytest.raises(ValueError, match=r"sources\['s'\]\[0\] has columns .* numbers: \['b'\]"):
        retemper.advise(X[:, :2], Y, sources={"s": (frame, Y)})


def test_whole_numbers_are_classes_only_if_few():
    few = X[:, :3]
    assert retemper.advise(few, np.arange(60), sources=W[:3]).task == "regression"
    call = {"sources": W[:3], "cv": KFold(3)}
    assert retemper.advise(few, CLASS.astype(float), **call).task == "binary"
    assert retemper.advise(few, CLASS, sources=W[:3], task="regression").task == "regression"


# the parts


def test_weights_prefer_the_best_and_share_ties():
    rng = np.random.default_rng(0)
    base = rng.random(50)
    np.testing.assert_allclose(weigh(np.stack([base, base])), [0.5, 0.5])
    assert weigh(np.stack([base, base + 1.0 + 0.01 * rng.random(50)]))[0] == 1.0
    near = weigh(np.stack([base, base + 0.3 * rng.normal(size=50)]))
    assert (near > 0).all()


def test_holm_against_definition():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_gain_interval_covers():
    rng = np.random.default_rng(0)
    found = [gain_of(0.3 + rng.normal(size=20), 0.9) for _ in range(2000)]
    # of independent rows more than asked for: Student's t with a standard error 1.32 times as large
    held = 1 - 2 * stats.t.sf(stats.t.ppf(0.95, 19) * (1.25 + CHOICE) ** 0.5, 19)
    hits = np.mean([g.low <= 0.3 <= g.high for g in found])
    assert abs(hits - held) < 4 * (held * (1 - held) / 2000) ** 0.5
    rows = 1.0 - 0.7 * rng.normal(size=12)
    gain, loss = gain_of(rows, 0.95), gain_of(-rows, 0.95)
    assert gain.p_value == loss.p_value < 0.05
    assert gain.low < gain.mean < gain.high
    assert (loss.mean, loss.low, loss.high) == (-gain.mean, -gain.high, -gain.low)


def test_gain_intervals_narrow_to_the_error_of_the_mean():
    """Beyond it stay the shared training rows and the choice; unseen rows matter for few labels."""
    rng = np.random.default_rng(0)
    widths = []
    for n in (10, 40, 160, 640):
        rows = rng.normal(size=n)
        rows = (rows - rows.mean()) / rows.std(ddof=1)
        gain = gain_of(rows, 0.95, unseen=UNSEEN / n)
        widths.append((gain.high - gain.low) / (2 * stats.t.ppf(0.975, n - 1) / n**0.5))
        np.testing.assert_allclose(widths[-1] ** 2, 1.25 + CHOICE + UNSEEN**2 / n)
    assert (np.diff(widths) < 0).all()


def test_gain_without_spread():
    assert gain_of(np.zeros(9), 0.95).p_value == 1.0
    assert math.isnan(gain_of(np.zeros(9), 0.95).p_helps)
    sure = gain_of(np.full(9, 0.5), 0.95)
    assert (sure.low, sure.high, sure.p_value) == (0.5, 0.5, 0.0)
    assert gain_score(np.full(9, -0.5)) == LEAST_SCORE
    assert gain_score(np.full(9, 0.5)) == LARGEST_SCORE
    # what is in none of nine rows is not known, however equal they are
    doubt = 0.5 - gain_of(np.full(9, 0.5), 0.95, unseen=0.1).low
    np.testing.assert_allclose(doubt, 0.1 * stats.t.ppf(0.975, 8))


def test_odds_follow_the_score():
    rows = np.array([-1.0, 1.0] * 20)
    shifts = np.linspace(-2, 2, 41)
    odds = [gain_of(rows + s, 0.95).p_helps for s in shifts]
    scores = [gain_score(rows + s) for s in shifts]
    assert (np.diff(odds) >= 0).all()
    assert (np.diff(scores) >= 0).all()
    assert (scores[0], scores[-1]) == (LEAST_SCORE, LARGEST_SCORE)
    a, b = ODDS_OF_SOURCE
    np.testing.assert_allclose(np.log(odds[20] / (1 - odds[20])), a)  # no gain seen
    np.testing.assert_allclose(np.log(odds[-1] / (1 - odds[-1])), a + 3 * b)
    # a normal score: the tail of Student's t with the enlarged error
    z = gain_score(rows + 0.2)
    t = 0.2 / ((rows.std(ddof=1) / 40**0.5) * 1.25**0.5)
    np.testing.assert_allclose(stats.norm.sf(z), stats.t.sf(t, 39), rtol=1e-9)


def test_rows_that_would_decide():
    rng = np.random.default_rng(1)
    rows = 0.3 + rng.normal(size=40)
    n = round(gain_of(rows, 0.95).n_decide)
    assert n > 40
    assert gain_of(rows, 0.95, n_compared=3).n_decide > n
    mean, error = rows.mean(), rows.std(ddof=1)
    t = mean / (error / n**0.5 * 1.25**0.5)
    assert abs(t - stats.t.ppf(0.975, 39)) < 0.02


@pytest.mark.parametrize("share", [True, False])
def test_error_interval_holds_the_error(share):
    rows = np.array([0.0, 1.0] * 10 + [0.0] * 20)
    low, high = error_interval(rows, 0.25, 0.95, share=share)
    assert 0 < low < 0.25 < high < 1
    assert error_interval(np.zeros(9), 0.0, 0.95, share=True)[1] > 0.2


# the command


@pytest.fixture
def tables(tmp_path):
    names = [f"x{j}" for j in range(40)]
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(150, 40))
    for name, inputs, labels in (("source", rows, rows @ W), ("target", X, Y)):
        pd.DataFrame(inputs, columns=names).assign(grade=labels).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    return tmp_path


def run(words, code=0):
    with pytest.raises(SystemExit) as stop:
        main(["advise", *map(str, words)])
    assert (stop.value.code or 0) == code


def test_command(tables, capsys):
    words = [tables / "source.csv", tables / "target.csv", "--label", "grade"]
    run([*words, "--out", tables / "advice.html"])
    shown = capsys.readouterr().out
    assert "source" in shown
    assert (tables / "advice.html").exists()
    run([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["choice"] == "source"
    assert found["candidates"][0]["name"] == "scratch"


def test_command_refuses_and_writes_nothing(tables, capsys):
    words = [tables / "source.csv", tables / "target.csv"]
    out = tables / "advice.html"
    for more, message in (
        (["--label", "mark"], "no column 'mark'"),
        (["--label", "grade", "--task", "rank"], "invalid choice: 'rank'"),
        (["--label", "grade", "--out", tables / "no" / "a.html"], "no folder"),
    ):
        run([*words, *more], code=2)
        assert message in capsys.readouterr().err
    run([words[0], "--label", "grade", "--out", out], code=2)
    table = pd.read_csv(words[1])
    table["x2"] = np.where(np.arange(len(table)) == 1, "text", table["x2"].astype(str))
    table.to_csv(words[1], index=False)
    run([*words, "--label", "grade", "--out", out], code=2)
    assert "'x2'; the first is 'text' in line 3" in capsys.readouterr().err
    table.iloc[3, table.columns.get_loc("grade")] = np.nan
    table.to_csv(words[1], index=False)
    run([*words, "--label", "grade", "--out", out], code=2)
    assert "in columns 'x2'" in capsys.readouterr().err
    assert not list(tables.glob("advice*"))


@pytest.mark.slow
def test_a_single_model_is_not_averaged():
    advice = retemper.advise(X, CLASS, sources={"s": 400 * OTHER})
    assert isinstance(advice, TransferAdvice)
    assert isinstance(
        advice.estimator_, FineTunedLogisticRegression | retemper.advisor.AdvisedClassifier
    )


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_learning_curve_judged_on_one_group_has_an_unknown_standard_error():
    """Parts of six rows in three groups leave one group to judge on."""
    rows, groups = np.random.default_rng(0).normal(size=(6, 2)), [0, 0, 1, 1, 2, 2]
    advice = retemper.advise(
        rows, np.tile(["no", "yes"], 3), sources={"s": [1.0, 0.0]}, groups=groups
    )
    curve = advice.learning_curve
    assert np.isfinite(curve.error["scratch"]).all()
    assert np.isnan(curve.stderr["scratch"][curve.measured]).any()
