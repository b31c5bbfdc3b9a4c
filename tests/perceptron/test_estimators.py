"""The classifier on rows of its own law, where everything it should say is known."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import retemper.perceptron as pc
from retemper._dispatch import core
from retemper.exceptions import ConvergenceWarning, NotFittedError, ValidityWarning
from retemper.perceptron import MarginPerceptronClassifier, PerceptronModel
from retemper.perceptron.fitting import LawSettings, label_odds
from retemper.perceptron.model import row_law

HARD = {"sigma": 0.0, "eta_u": 0.0, "eta_l": 0.0}


@pytest.fixture(scope="module")
def easy():
    return pc.sample_rows(PerceptronModel(1.0, 3.0, 0.1), 300, random_state=0)


@pytest.fixture(scope="module")
def fitted(easy):
    X, y, _, _ = easy
    return MarginPerceptronClassifier(1.0, **HARD).fit(X, y)


def cosine(model, w):
    return model.coef_[0] @ w / np.linalg.norm(model.coef_) / np.linalg.norm(w)


def test_fit_finds_the_direction(easy, fitted):
    X, y, side, w = easy
    theory = pc.solve(PerceptronModel(1.0, 3.0, 0.1))
    assert abs(cosine(fitted, w) - theory.cosine) < 0.02
    assert abs(fitted.q_ - theory.q) < 0.02
    assert abs(fitted.log_evidence_ - theory.free_entropy) < 0.1
    assert fitted.converged_
    assert_array_equal(fitted.transduction_[y != -1], y[y != -1])
    assert (fitted.transduction_ == side).mean() > 0.99
    assert_array_equal(fitted.predict(X), (fitted.decision_function(X) > 0).astype(int))


def test_probabilities_are_those_of_the_channel(easy, fitted):
    X = easy[0][:50]
    field = fitted.transform(X)[:, 0]
    assert_allclose(field, fitted.decision_function(X))
    towards, away = (
        pc.channel_score(sign * field, fitted.V_, kind="labelled", kappa=1.0).log_w
        for sign in (1, -1)
    )
    proba = fitted.predict_proba(X)
    assert_allclose(proba[:, 1], special.expit(towards - away))
    assert_allclose(proba.sum(axis=1), 1)


def test_probabilities_are_calibrated():
    """On rows whose labels were hidden: the odds are of a label, wrong one time in ten."""
    model = PerceptronModel(0.5, 1.5, 0.5, sigma=0.6, eta_l=0.1)
    X, y, side, _ = pc.sample_rows(model, 800, random_state=4)
    fit = MarginPerceptronClassifier(0.5, 0.6, 0.0, 0.1).fit(X, y)
    hidden = y == -1
    settings = LawSettings(kappa=0.5, sigma=0.6, eta_u=0.0, eta_l=0.1)
    p = special.expit(label_odds(fit.cavity_fields_[hidden], fit.V_, settings))
    for low, high in ((0.5, 0.7), (0.7, 0.8), (0.8, 0.9)):
        at = (p > low) & (p < high)
        right = (side[hidden][at] == 1).mean()
        seen = 0.9 * right + 0.1 * (1 - right)
        assert abs(seen - p[at].mean()) < 4 * 0.5 / np.sqrt(at.sum())
        assert at.sum() > 40


def test_features_come_in_any_unit_and_offset(easy):
    X, y, _, _ = easy
    scale, shift = np.exp(np.linspace(-3, 3, 300)), np.linspace(-50, 50, 300)
    plain = MarginPerceptronClassifier().fit(X, y)
    moved = MarginPerceptronClassifier().fit(X * scale + shift, y)
    assert_allclose(moved.coef_, plain.coef_ / scale, rtol=1e-5, atol=1e-9)
    assert_allclose(
        moved.decision_function(X * scale + shift), plain.decision_function(X), atol=1e-6
    )
    single = MarginPerceptronClassifier(dtype="float32").fit(X, y)
    assert_allclose(single.coef_, plain.coef_, atol=1e-5)
    constant = MarginPerceptronClassifier().fit(np.insert(X, 7, 3.5, axis=1), y)
    assert constant.coef_[0, 7] == 0
    assert_allclose(np.delete(constant.coef_[0], 7), plain.coef_[0], rtol=1e-6, atol=1e-10)


def test_names_of_classes_survive(easy):
    X, y, side, _ = easy
    names = np.array(["cat", "dog"], dtype=object)
    labels = np.where(y == -1, -1, names[side])
    fit = MarginPerceptronClassifier(1.0, **HARD).fit(X, labels)
    assert fit.classes_.tolist() == ["cat", "dog"]
    assert (fit.predict(X) == names[side]).mean() > 0.99


def test_pretraining_then_a_sign(easy):
    X, _, side, w = easy
    fit = MarginPerceptronClassifier(1.0, **HARD, classes=(0, 1)).fit(X)
    assert not fit.has_labels_
    assert abs(cosine(fit, w)) > 0.9
    with pytest.warns(ValidityWarning, match="arbitrary order"):
        fit.predict(X)
    before = np.abs(fit.coef_)
    fit.fine_tune(X[:3], side[:3], mode="sign")
    assert_array_equal(np.abs(fit.coef_), before)
    assert cosine(fit, w) > 0.9
    assert (fit.predict(X) == side).mean() > 0.98
    flipped = clone(fit).fit(X).fine_tune(X[:3], 1 - side[:3], mode="sign")
    assert_allclose(flipped.coef_, -fit.coef_)
    assert (flipped.transduction_ == 1 - side).mean() > 0.98


def test_pretraining_then_labels_is_one_fit(easy):
    X, y, _, w = easy
    known = y != -1
    model = MarginPerceptronClassifier(1.0, **HARD, tol=1e-8, max_iter=2000)
    staged = clone(model).fit(X[~known]).fine_tune(X[known], y[known])
    scaled = clone(model).fit(np.vstack([X[~known], X[known]]), np.r_[y[~known], y[known]])
    assert cosine(staged, w) > 0.9
    assert abs(staged.q_ - scaled.q_) < 0.02  # the scaling was learnt from fewer rows
    assert staged.cavity_fields_.size == len(X)


def test_source_of_the_family_brings_its_rows(easy):
    X, y, _, w = easy
    known = y != -1
    pretrained = MarginPerceptronClassifier(1.0, **HARD).fit(X[~known])
    fit = MarginPerceptronClassifier(1.0, **HARD, source=pretrained).fit(X[known], y[known])
    assert cosine(fit, w) > 0.9
    assert fit.transduction_.size == known.sum()
    alone = MarginPerceptronClassifier(1.0, **HARD).fit(X[known], y[known])
    assert cosine(alone, w) < 0.7
    assert fit.report_.n_unlabelled == (~known).sum()


def test_columns_of_a_source_are_matched_by_name(easy):
    pandas = pytest.importorskip("pandas")
    X, y, _, w = easy
    X, known = np.insert(X, 3, 1.0, axis=1), y != -1  # a column that does not vary
    names = [f"x{j}" for j in range(X.shape[1])]
    frame = pandas.DataFrame(X, columns=names)
    mixed = frame[np.random.default_rng(0).permutation(names)]
    model = MarginPerceptronClassifier(1.0, **HARD)
    straight, shuffled = clone(model).fit(frame[~known]), clone(model).fit(mixed[~known])
    want = clone(model).set_params(source=straight).fit(frame[known], y[known])
    got = clone(model).set_params(source=shuffled).fit(frame[known], y[known])
    assert_allclose(got.coef_, want.coef_, rtol=1e-6, atol=1e-9)
    assert cosine(got, np.insert(w, 3, 0.0)) > 0.9
    with pytest.raises(ValueError, match="source was fitted on the columns"):
        clone(got).fit(frame[known].drop(columns="x5"), y[known])
    one = clone(model).set_params(max_iter=1, tol=1e9)
    series = pandas.Series(np.insert(w, 3, 0.0), index=names)
    by_name = clone(one).set_params(source=series[list(mixed.columns)]).fit(frame, y)
    by_place = clone(one).set_params(source=series.to_numpy()).fit(frame, y)
    assert_array_equal(by_name.coef_, by_place.coef_)
    with pytest.raises(TypeError, match="source must be coefficients"):
        clone(model).set_params(source=np.sum).fit(X, y)


def test_any_linear_source_is_a_start():
    """In the metastable phase a good start reaches what labels alone do not."""
    X, y, _, w = pc.sample_rows(PerceptronModel(0.5, 4.2, 0.02), 400, random_state=1)
    model = MarginPerceptronClassifier(0.5, **HARD, standardize=False, fit_intercept=False)
    assert cosine(clone(model).fit(X, y), w) < 0.8
    assert cosine(clone(model).set_params(source=w).fit(X, y), w) < 0.99
    start = LogisticRegression().fit(X, X @ w > 0)
    good = clone(model).set_params(source=start).fit(X, y)
    assert good.converged_
    with pytest.raises(ValueError, match=r"source must have shape \(400,\) or \(1, 400\)"):
        clone(model).set_params(source=w[:7]).fit(X, y)


def test_several_starts_choose_by_evidence(easy):
    X, y, _, _ = easy
    one = MarginPerceptronClassifier(init="random").fit(X, y)
    many = clone(one).set_params(n_init=5).fit(X, y)
    assert many.log_evidence_ >= one.log_evidence_ - 1e-6
    for init in ("zero", "spectral"):
        fit = clone(one).set_params(init=init).fit(X, y)
        assert many.log_evidence_ >= fit.log_evidence_ - 1e-3


def test_offset_of_unequal_classes():
    rng = np.random.default_rng(0)
    w = rng.normal(size=400)
    w *= 20 / np.linalg.norm(w)
    law = row_law(kappa=1.0, sigma=0.3, offset=0.4)
    rows = core.perceptron.sample_rows(
        law, w, n_labelled=0, n_rows=1000, key=(1, 2), replica=0, single=False, n_threads=1
    )
    X, side = rows.X, rows.side
    y = np.where(np.arange(1000) < 8, side > 0, -1)
    centred = MarginPerceptronClassifier(1.0, 0.3, 0.0, 0.0, damping=0.7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = clone(centred).fit(X, y)
        fit = clone(centred).set_params(fit_intercept="margin").fit(X, y)
    assert fit.log_evidence_ > plain.log_evidence_ + 0.05
    assert cosine(fit, w) > 0.85
    assert ((fit.predict(X) == 1) == (side > 0)).mean() > 0.95
    # the mean of the rows is c_1 = E h away from the plane
    middle = 0.4 - (X @ w / 20).mean()
    assert abs(fit.offset_ - middle) < 0.15


def test_hard_margin_on_contradicting_rows_warns_with_a_remedy():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(80, 10)), rng.integers(0, 2, 80)
        for kappa in (0.0, 0.5, 1.0):
            with pytest.warns(ConvergenceWarning, match=r"sigma >= 0\.5"):
                fit = MarginPerceptronClassifier(kappa, **HARD).fit(X, y)
            assert np.isfinite(fit.coef_).all()
            assert np.isfinite(fit.predict_proba(X)).all()
            assert not fit.converged_


def test_more_features_than_rows():
    X, y, _, w = pc.sample_rows(PerceptronModel(2.0, 0.5, 0.1), 500, random_state=0)
    assert len(X) < X.shape[1]
    fit = MarginPerceptronClassifier(2.0, **HARD).fit(X, y)
    assert cosine(fit, w) > 0.7


def test_pickle_and_clone(easy, fitted):
    X = easy[0][:9]
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)


X5 = np.random.default_rng(0).normal(size=(20, 5))
SOME = np.r_[0, 1, np.full(18, -1)]


@pytest.mark.parametrize(
    ("options", "X", "y", "message"),
    [
        ({"kappa": -1}, X5, SOME, "kappa must lie in"),
        ({"kappa": "best"}, X5, SOME, "kappa must be a real number"),
        ({"sigma": -1}, X5, SOME, "sigma must lie in"),
        ({"eta_u": 1}, X5, SOME, "eta_u must lie in"),
        ({"eta_l": 0.5}, X5, SOME, "eta_l must lie in"),
        ({"damping": 1}, X5, SOME, "damping must lie in"),
        ({"init": "warm"}, X5, SOME, "init must be one of"),
        ({"fit_intercept": "slab"}, X5, SOME, "fit_intercept must be"),
        ({"n_init": 0}, X5, SOME, "n_init must be at least 1"),
        ({}, X5, np.r_[1, 1, np.full(18, -1)], "-1 marks unlabelled rows"),
        ({}, X5, np.tile([-1, 1], 10), "-1 marks unlabelled rows"),
        ({}, X5, np.zeros(20), "one class only"),
        ({}, X5, np.arange(20) % 3, "Only binary"),
        ({}, X5, SOME[:7], "20 rows and y has 7"),
        ({}, X5, SOME + 0.5, "continuous"),
        ({"classes": (0, 1, 2)}, X5, SOME, "two classes"),
        ({"classes": (3, 4)}, X5, SOME, "not all in"),
        ({}, X5[:, :1], SOME, "minimum of 2"),
        ({}, np.ones((20, 5)), SOME, "every column is constant"),
        ({}, np.where(X5 > 1, np.nan, X5), SOME, "NaN"),
        ({"source": np.ones(4)}, X5, SOME, r"source must have shape \(5,\)"),
    ],
)
def test_bad_input(options, X, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MarginPerceptronClassifier(**options).fit(X, y)


def test_bad_fine_tuning(easy):
    X, y, side, _ = easy
    fit = MarginPerceptronClassifier(1.0, **HARD).fit(X, y)
    with pytest.raises(ValueError, match="mode must be one of"):
        fit.fine_tune(X[:3], side[:3], mode="all")
    with pytest.raises(ValueError, match="at least one labelled row"):
        fit.fine_tune(X[:3], [-1, -1, -1], mode="sign")
    with pytest.raises(ValueError, match="not all in"):
        fit.fine_tune(X[:3], [0, 1, 7])
    with pytest.raises(ValueError, match="features"):
        fit.fine_tune(X[:3, :5], side[:3])
    with pytest.raises(NotFittedError):
        MarginPerceptronClassifier().fine_tune(X, y)
