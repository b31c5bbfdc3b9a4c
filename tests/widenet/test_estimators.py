"""Estimators against the theory they wrap, the transfer protocol, and bad input."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retemper.exceptions import NotFittedError, ValidityWarning
from retemper.widenet import (
    FranzParisiClassifier,
    FranzParisiRegressor,
    WideNetModel,
    WideNetRegressor,
    solve,
)

from .recipe import draw

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
SMALL = {"N0": 60, "Ps": 80, "Pt": 25, "Pe": 40}


def test_single_task_equals_the_theory():
    (X, y), _, (Xe, ye) = draw(**SMALL)
    net = WideNetRegressor(70, "relu", lam0=0.7, lam1=1.4, temperature=0.1, standardize=False).fit(
        X, y
    )
    want = solve(WideNetModel(70, "relu", 0.7, 1.4, 0.1, 0.1), (X, y), None, (Xe, ye))
    assert pytest.approx(want.Q_t, rel=1e-12) == net.Q_t_
    assert net.loo_ == pytest.approx(want.loo, rel=1e-12)
    assert net.log_evidence_ == pytest.approx(want.log_evidence, rel=1e-12)
    mean, std = net.predict(Xe, return_std=True)
    assert_allclose(mean, want.mean, rtol=1e-10)
    assert_allclose(net.predict(Xe), mean, rtol=1e-10)
    assert (std**2).mean() == pytest.approx(want.thermal, rel=1e-10)
    noisy = net.predict(Xe, return_std=True, include_noise=True)[1]
    assert_allclose(noisy**2 - std**2, 0.1, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 2.0, np.inf])
def test_coupled_network_equals_the_theory(gamma):
    target, source, test = draw(**SMALL)
    net = FranzParisiRegressor(70, gamma=gamma, source=source, standardize=False).fit(*target)
    want = solve(WideNetModel(70, gamma=gamma), target, source, test)
    for name in ("Q_s", "Q_t", "Q_tt", "Q_st", "delta", "loo", "log_evidence"):
        assert getattr(net, name + "_") == pytest.approx(getattr(want, name), rel=1e-8), name
    mean, thermal, quenched = net.predict(test[0], return_parts=True)
    assert_allclose(mean, want.mean, rtol=1e-9)
    assert thermal.mean() == pytest.approx(want.thermal, rel=1e-9)
    assert quenched.mean() == pytest.approx(want.quenched, rel=1e-9, abs=1e-15)
    std = net.predict(test[0], return_std=True)[1]
    assert_allclose(std**2, thermal + quenched, rtol=1e-10)
    assert net.path_.gamma.tolist() == sorted({0.0, gamma, np.inf})


def test_units_of_inputs_and_labels_do_not_matter():
    (X, y), (Xs, ys), (Xe, _) = draw(**SMALL)
    net = FranzParisiRegressor(70, source=(Xs, ys)).fit(X, y)
    shift = np.linspace(-3, 3, X.shape[1])
    scale = np.exp(shift)
    moved = FranzParisiRegressor(70, source=(Xs * scale + shift, 5 * ys - 2))
    moved.fit(X * scale + shift, 100 * y + 7)
    assert moved.gamma_ == net.gamma_
    mean, std = moved.predict(Xe * scale + shift, return_std=True)
    want, want_std = net.predict(Xe, return_std=True)
    assert_allclose(mean, 100 * want + 7, rtol=1e-7)
    assert_allclose(std, 100 * want_std, rtol=1e-7)
    assert moved.loo_ == pytest.approx(1e4 * net.loo_, rel=1e-8)
    change = len(y) * np.log(100)
    assert moved.log_evidence_ == pytest.approx(net.log_evidence_ - change, rel=1e-8)


def test_sources_of_every_kind_agree():
    (X, y), (Xs, ys), (Xe, _) = draw(**SMALL)
    kinds = [
        (Xs, ys),
        (Xs.tolist(), ys.tolist()),
        WideNetRegressor(30, "relu").fit(Xs, ys),
        FranzParisiRegressor(30, source=(X, y)).fit(Xs, ys),
    ]
    want = FranzParisiRegressor(70, source=kinds[0]).fit(X, y).predict(Xe)
    for kind in kinds[1:]:
        assert_array_equal(FranzParisiRegressor(70, source=kind).fit(X, y).predict(Xe), want)


def test_columns_are_matched_by_name():
    (X, y), (Xs, ys), (Xe, _) = draw(**SMALL)
    names = [f"f{i}" for i in range(X.shape[1])]
    order = np.random.default_rng(0).permutation(len(names))
    frame, new = pd.DataFrame(X, columns=names), pd.DataFrame(Xe, columns=names)
    mixed = pd.DataFrame(Xs, columns=names).iloc[:, order].assign(more=1.0)
    want = FranzParisiRegressor(70, source=(Xs, ys)).fit(frame, y).predict(new)
    for source in ((mixed, ys), WideNetRegressor(30).fit(mixed, ys)):
        net = FranzParisiRegressor(70, source=source).fit(frame, y)
        assert_allclose(net.predict(new), want, rtol=1e-9)
    kinds = {"yes": 1.0, "no": -1.0}
    labels = np.where(ys > 0, "yes", "no")
    want = FranzParisiClassifier(70, source=(Xs, labels)).fit(frame, y > 0).predict_proba(new)
    source = FranzParisiClassifier(30).fit(mixed, [kinds[w] for w in labels])
    net = FranzParisiClassifier(70, source=source).fit(frame, y > 0)
    assert_allclose(net.predict_proba(new), want, rtol=1e-9)
    with pytest.raises(ValueError, match=r"source lacks columns of X: \['f3'\]"):
        FranzParisiRegressor(70, source=(mixed.drop(columns="f3"), ys)).fit(frame, y)


def test_a_source_of_as_many_rows_as_classes():
    rng = np.random.default_rng(0)
    codes = np.arange(3)
    X = np.eye(3, 12)[np.tile(codes, 8)] + 0.1 * rng.normal(size=(24, 12))
    net = FranzParisiClassifier(40, source=(np.eye(3, 12), codes)).fit(X, np.tile(codes, 8))
    assert net.score(X, np.tile(codes, 8)) > 0.9


def test_selection_rules():
    target, source, _ = draw(N0=80, Ps=160, Pt=25)
    loo = FranzParisiRegressor(60, source=source).fit(*target)
    assert loo.gamma_ == loo.path_.gamma[loo.path_["loo"].argmin()]
    evidence = FranzParisiRegressor(60, source=source, gamma="evidence").fit(*target)
    assert evidence.gamma_ == evidence.path_.gamma[evidence.path_["log_evidence"].argmax()]
    own = FranzParisiRegressor(60, source=source, gammas=[4.0, 0.0]).fit(*target)
    assert own.path_.gamma.tolist() == [0.0, 4.0]
    doubled = FranzParisiRegressor(60, source=source, lam0=2.0).fit(*target)
    assert doubled.path_.gamma[3] == 2.0


def test_without_a_source_it_is_the_single_task():
    (X, y), _, (Xe, _) = draw(**SMALL)
    alone = FranzParisiRegressor(70).fit(X, y)
    assert_allclose(alone.predict(Xe), WideNetRegressor(70).fit(X, y).predict(Xe), rtol=1e-12)
    assert alone.gamma_ == 0.0
    assert alone.verdict_ is None
    with pytest.raises(ValueError, match="needs a source"):
        alone.will_transfer_help()
    with pytest.raises(ValueError, match="needs a source"):
        alone.width_advice()


def test_width_advice_says_that_wide_networks_transfer_nothing():
    target, source, _ = draw(N0=100, Ps=200, Pt=40, rho=1.0)
    net = FranzParisiRegressor(60, source=source).fit(*target)
    advice = net.width_advice([60, 500, 100_000])
    gain = 1 - advice["loo"] / np.minimum(advice["control"], advice["scratch"])
    assert gain[0] > gain[1] > gain[2]
    assert abs(gain[2]) < 0.01
    assert advice["loo"][0] == pytest.approx(net.path_["loo"].min(), rel=1e-9)


def test_several_outputs():
    (X, y), (Xs, ys), (Xe, _) = draw(**SMALL)
    Y, Ys = np.column_stack([y, 3 * np.abs(y)]), np.column_stack([ys, np.abs(ys)])
    net = FranzParisiRegressor(70, gamma=1.0, source=(Xs, Ys)).fit(X, Y)
    columns = [
        FranzParisiRegressor(70, gamma=1.0, source=(Xs, Ys[:, k])).fit(X, Y[:, k]) for k in (0, 1)
    ]
    mean, std = net.predict(Xe, return_std=True)
    for k, one in enumerate(columns):
        want, want_std = one.predict(Xe, return_std=True)
        assert_allclose(mean[:, k], want, rtol=1e-9)
        assert_allclose(std[:, k], want_std, rtol=1e-8)
    assert net.loo_ == pytest.approx(sum(one.loo_ for one in columns), rel=1e-9)


def test_classifier_probabilities_and_classes():
    (X, y), (Xs, ys), (Xe, ye) = draw(**SMALL, label="sign", rho=1.0)
    words = np.array(["minus", "plus"])
    labels, source = words[(y > 0).astype(int)], (Xs, ys > 0)
    net = FranzParisiClassifier(60, source=source).fit(X, labels)
    assert net.classes_.tolist() == ["minus", "plus"]
    assert (net.predict(Xe) == words[(ye > 0).astype(int)]).mean() > 0.6
    p = net.predict_proba(Xe)
    assert_allclose(p.sum(1), 1.0, rtol=1e-12)
    assert_array_equal(net.predict(Xe), words[p.argmax(1)])
    numbers = FranzParisiRegressor(60, source=(Xs, np.sign(ys))).fit(X, np.sign(y))
    mean, std = numbers.predict(Xe, return_std=True, include_noise=True)
    assert_allclose(p[:, 1], ndtr(net.score_scale_ * mean / std), rtol=1e-9)


def test_classifier_with_several_classes():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 30))
    codes, source_codes = rng.integers(3, size=60), rng.integers(3, size=90)
    X = centres[codes] + rng.normal(size=(60, 30))
    Xs = centres[source_codes] + rng.normal(size=(90, 30))
    net = FranzParisiClassifier(60, source=(Xs, source_codes)).fit(X[:30], codes[:30])
    assert net.Q_st_.shape == (3,)
    assert net.score(X[30:], codes[30:]) > 0.7
    p = net.predict_proba(X[30:])
    assert p.shape == (30, 3)
    assert_allclose(p.sum(1), 1.0, rtol=1e-12)
    assert_array_equal(net.predict(X[30:]), net.classes_[p.argmax(1)])
    with pytest.raises(ValueError, match="the source has 3 outputs and y has 1"):
        FranzParisiClassifier(60, source=(Xs, source_codes)).fit(X, codes > 0)


def test_pipelines_and_searches_keep_the_source():
    (X, y), source, _ = draw(**SMALL)
    net = FranzParisiRegressor(source=source, gamma=1.0)
    search = GridSearchCV(net, {"gamma": [0.0, 3.0], "width": [30, 300]}, cv=3).fit(X, y)
    assert search.best_estimator_.source is source
    pipe = make_pipeline(StandardScaler(), net).fit(X, y)
    assert np.isfinite(pipe.score(X, y))
    assert clone(net).source is source


@pytest.mark.filterwarnings("default::retemper.exceptions.ValidityWarning")
def test_constant_labels_are_warned_about_and_returned():
    (X, y), (Xs, ys), (Xe, _) = draw(**SMALL)
    for net in (WideNetRegressor(50), FranzParisiRegressor(50, source=(Xs, ys))):
        with pytest.warns(ValidityWarning, match="y is constant"):
            net.fit(X, np.full_like(y, 3.0))
        assert_allclose(net.predict(Xe), 3.0, rtol=1e-12)
    crowd, labels = np.vstack([X] * 9), np.tile(y, 9)
    crowd = crowd + 0.1 * np.random.default_rng(0).normal(size=crowd.shape)
    with pytest.warns(ValidityWarning, match="samples per effective input dimension"):
        WideNetRegressor(50).fit(crowd, labels)


def test_constant_features_are_harmless():
    (X, y), (Xs, ys), (Xe, _) = draw(**SMALL)
    pad = [np.column_stack([Z, np.full(len(Z), 4.0)]) for Z in (X, Xs, Xe)]
    net = FranzParisiRegressor(50, "linear", source=(pad[1], ys)).fit(pad[0], y)
    want = FranzParisiRegressor(50, "linear", source=(Xs, ys)).fit(X, y).predict(Xe)
    assert_allclose(net.predict(pad[2]), want, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"width": 1}, ValueError, "width must lie"),
        ({"gamma": -1.0}, ValueError, "gamma must lie"),
        ({"gamma": np.nan}, ValueError, "gamma must lie"),
        ({"gamma": "best"}, ValueError, r"gamma must be a number in .* or one of"),
        ({"gammas": []}, ValueError, "at least one coupling"),
        ({"temperature_target": -1.0}, ValueError, "temperature_target"),
        ({"standardize": "yes"}, ValueError, "standardize must be one of"),
        ({"activation": "swish"}, ValueError, "activation must be one of"),
        ({"source": np.ones(60)}, TypeError, "source must be a pair"),
        ({"source": Ridge()}, TypeError, "None or a fitted estimator of this family, got a Ridge"),
        ({"source": (np.ones((5, 3)), np.ones(5))}, ValueError, "source has 3 features"),
        ({"source": (np.ones((5, 60)), np.ones(4))}, ValueError, "of one length"),
        ({"source": (np.ones((5, 60)), np.ones((5, 3)))}, ValueError, "source has 3 outputs"),
        ({"source": FranzParisiRegressor()}, NotFittedError, "not fitted"),
    ],
)
def test_bad_arguments_are_refused(change, error, match):
    (X, y), source, _ = draw(**SMALL)
    arguments = {"source": source} | change
    with pytest.raises(error, match=match):
        FranzParisiRegressor(**arguments).fit(X, y)


def test_repeated_rows_need_a_temperature():
    (X, y), _, _ = draw(**SMALL)
    with pytest.raises(ValueError, match="temperature_target must be at least"):
        WideNetRegressor(50, temperature=0.0).fit(np.vstack([X, X]), np.r_[y, y])
