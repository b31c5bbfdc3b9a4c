"""A source that is multiplied before training: fixed, learned, stopped, deep; the best factor."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from retemper.linear import curve, simulate, solve

from . import portable
from .models import check_experiments, wide_model

NAMES = ("risk", "bias", "variance", "risk_scratch", "risk_optimal", "risk_zero_shot", "risk_bound")


model = partial(wide_model, source_scale=0.4)


def learned(**changes):
    return model(
        source_coef=None, theta_source=portable.combine(portable.SRC, 200), n_samples_source=150,
        noise_source=0.5, **changes,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [{}, {"ridge": 0.1}, {"stop_time": 5.0}, {"depth": 3}, {"depth": 3, "ridge": 0.1},
               {"depth": math.inf}]
)  # fmt: skip
def test_it_is_the_scaled_source(change):
    one = model(**change)
    other = dataclasses.replace(one, source_coef=0.4 * one.source_coef, source_scale=1.0)
    for name in NAMES:
        assert getattr(solve(one), name) == pytest.approx(getattr(solve(other), name), rel=1e-11)
    assert solve(one).source_scale == pytest.approx(0.4 * solve(other).source_scale, rel=1e-11)
    assert solve(one).optimal_scale == pytest.approx(0.4 * solve(other).optimal_scale, rel=1e-11)
    drawn, same = (simulate(m, n_repeats=5) for m in (one, other))
    for name in NAMES[:-1]:
        assert getattr(drawn, name) == pytest.approx(getattr(same, name), rel=1e-8)


def test_zero_is_scratch():
    none = solve(model(source_scale=0.0))
    assert none.risk == pytest.approx(none.risk_scratch, rel=1e-12)
    assert none.optimal_scale == pytest.approx(solve(model()).optimal_scale, rel=1e-12)


@pytest.mark.parametrize("make", [model, learned])
@pytest.mark.parametrize("change", [{}, {"ridge": 0.1}, {"stop_time": 5.0}, {"n_samples": 0}])
def test_the_best_scale(make, change):
    best = solve(make(source_scale="optimal", **change))
    assert best.source_scale == best.optimal_scale
    assert best.risk == pytest.approx(best.risk_optimal, rel=1e-12)
    near = curve(make(**change), {"source_scale": best.source_scale + np.linspace(-0.2, 0.2, 9)})
    assert near["risk"].argmin() == 4
    assert near["risk"][4] == pytest.approx(best.risk, rel=1e-12)


def test_ridge_and_scale_together():
    both = solve(learned(source_scale="optimal", ridge="optimal"))
    alone = solve(learned(source_scale="optimal"))
    other = solve(learned(source_scale=1.0, ridge="optimal"))
    assert both.risk <= min(alone.risk, other.risk) * (1.0 + 1e-9)
    at = solve(learned(source_scale=both.source_scale, ridge=both.used_ridge))
    assert at.risk == pytest.approx(both.risk, rel=1e-9)


@pytest.mark.parametrize(
    "one",
    [learned(), learned(source_scale="optimal", ridge=0.05), learned(depth=3, source_scale=2.0),
     learned(stop_time=5.0)],
)  # fmt: skip
def test_experiments(one):
    check_experiments(one, slack=0.03)


def test_bad_input():
    with pytest.raises(TypeError, match='source_scale must be a real number or "optimal"'):
        model(source_scale="best")
    with pytest.raises(ValueError, match=r"source_scale must lie in \(-inf, inf\), got inf"):
        model(source_scale=math.inf)
    with pytest.raises(ValueError, match='source_scale="optimal" needs depth 1, got depth 3'):
        model(source_scale="optimal", depth=3)
