"""Data are checked; what lies outside the theory is said."""

import dataclasses

import numpy as np
import pytest

from retemper.exceptions import ValidityWarning
from retemper.widenet import WideNetModel, WideNetRegressor, curve, gamma_path, solve

from .recipe import SMALL, draw, model

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


def test_zero_temperature():
    target, source, test = draw(N0=60, Ps=30, Pt=15, Pe=9)
    m = dataclasses.replace(
        model("erf", 100, gamma=1.0), temperature_source=0.0, temperature_target=0.0
    )
    got = solve(m, target, source, test)
    near = solve(
        dataclasses.replace(m, temperature_source=1e-9, temperature_target=1e-9),
        target,
        source,
        test,
    )
    assert got.test_error == pytest.approx(near.test_error, rel=1e-5)
    (X, y), _, _ = target, source, test
    twice = (np.vstack([X, X[:1]]), np.r_[y, y[0]])
    for gamma in (0.0, 1.0, np.inf):
        at = dataclasses.replace(m, gamma=gamma)
        with pytest.raises(ValueError, match=r"temperature_target must be at least .* singular"):
            solve(at, twice, source)
    with pytest.raises(ValueError, match=r"temperature_source must be at least .* singular"):
        solve(m, target, (np.vstack([source[0]] * 2), np.r_[source[1], source[1]]))
    with pytest.raises(ValueError, match="interpolation threshold"):
        solve(WideNetModel(8, gamma=np.inf, temperature_target=0.0), target, source)


@pytest.mark.filterwarnings("default::retemper.exceptions.ValidityWarning")
def test_warnings_of_validity():
    target, source, _ = draw(N0=10, Ps=60, Pt=15)
    with pytest.warns(ValidityWarning, match="samples per effective input dimension"):
        got = solve(model("erf", 50, gamma=1.0), target, source)
    assert got.samples_per_dimension > 6
    assert "align" in got.message
    with pytest.warns(ValidityWarning, match="not above the rank 10"):
        solve(model("linear", 9, gamma=np.inf), target, source)
    with pytest.warns(ValidityWarning, match="heavy-tailed"):
        gamma_path(model("linear", 9), target, source, gammas=[0.0, np.inf])


def test_bad_data_is_refused():
    target, source, _ = draw(**SMALL)
    m = model(N1=40, gamma=1.0)
    (Xt, yt), (Xs, ys) = target, source
    cases = [
        ((target, (Xs[:, :5], ys)), ValueError, "source has 5 features and target has 12"),
        (((Xt, yt[:-1]), source), ValueError, "target y must have shape"),
        (((Xt[:0], yt[:0]), source), ValueError, "target X must have samples"),
        ((Xt, source), TypeError, r"target must be a pair \(X, y\)"),
        (((Xt.astype(str), yt), source), TypeError, "target X must hold real numbers"),
        ((target, (Xs, np.column_stack([ys] * 3))), ValueError, "source has 3 outputs"),
        (((np.where(Xt == Xt[2, 1], np.nan, Xt), yt), source), ValueError, r"target X\[2, 1\]"),
    ]
    for args, error, match in cases:
        with pytest.raises(error, match=match):
            solve(m, *args)
    with pytest.raises(TypeError, match="model must be a WideNetModel"):
        solve(10, target, source)
    with pytest.raises(ValueError, match="gammas must lie"):
        gamma_path(m, target, source, gammas=[-1.0])
    with pytest.raises(ValueError, match="at least one coupling"):
        gamma_path(m, target, source, gammas=[])


@pytest.mark.filterwarnings("default::retemper.exceptions.ValidityWarning")
@pytest.mark.parametrize("act", ["relu", "gelu", "erf"])
@pytest.mark.parametrize("level", [0.0, 1.0, 3.0, 10.0])
def test_labels_far_from_zero_are_reported_where_they_break_the_theory(act, level, recwarn):
    (Xt, yt), (Xs, ys), _ = draw(N0=40, Ps=40, Pt=20, Pe=1)
    target, source = (Xt, yt + level), (Xs, ys + level)
    m = model(act, 60, gamma=1.0)
    told = act != "erf" and level >= 3.0
    for call in (
        lambda: solve(m, target, source),
        lambda: solve(m, target),
        lambda: gamma_path(m, target, source, gammas=[0.0, 1.0]),
        lambda: curve(m, {"gamma": [1.0]}, target, source),
        lambda: WideNetRegressor(60, act, standardize=False).fit(*target),
    ):
        recwarn.clear()
        call()
        said = [str(w.message) for w in recwarn if w.category is ValidityWarning]
        assert any("centre the labels" in s or "outside" in s for s in said) == told, said
    WideNetRegressor(60, act).fit(*target)  # standardises the labels
    recwarn.clear()
    solve(m, (Xt, yt + level - (yt + level).mean()), (Xs, ys))
    assert not recwarn.list
