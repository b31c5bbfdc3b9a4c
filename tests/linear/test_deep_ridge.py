"""Ridge at depth above 1, in high dimension: limits, one large sample, experiments."""

import dataclasses
import math

import numpy as np
import pytest

from retemper.linear import LinearModel, compare, curve, deep_fit, solve

from . import portable


def model(d=200, **changes):
    fields = {
        "n_samples": 80,
        "spectrum": portable.spectrum("power", d, 0.7),
        "source_coef": 2.0 * portable.combine(portable.SRC, d),
        "noise": 0.3,
        "ridge": 0.1,
        "depth": 3,
    }
    return LinearModel(theta_target=portable.combine(portable.D5, d), **{**fields, **changes})


@pytest.mark.parametrize("depth", [2, 3, 20])
@pytest.mark.parametrize("n", [80, 400])
def test_a_small_ridge_is_none(depth, n):
    small, none = (solve(model(depth=depth, n_samples=n, ridge=x)) for x in (1e-9, 0.0))
    for name in ("risk", "bias", "variance", "risk_scratch", "effective_ridge"):
        assert getattr(small, name) == pytest.approx(getattr(none, name), rel=1e-6, abs=1e-8)
    assert small.source_scale == pytest.approx(none.source_scale, rel=1e-6) or n == 400


def test_a_large_ridge_keeps_the_source():
    theory = solve(model(ridge=1e8))
    assert theory.source_scale == pytest.approx(1.0, rel=1e-6)
    assert theory.risk == pytest.approx(theory.risk_zero_shot, rel=1e-6)


def test_depth_tends_to_one():
    """The equation of the norm at L = 1 + 1e-9 gives plain ridge."""
    from retemper.linear.deep.ridge import deep_ridges
    from retemper.linear.eigenbasis import prepare, source_law
    from retemper.linear.points import Points

    one = model()
    problem = prepare(one)
    points = Points(np.array([80.0]), np.array([0.1]), np.array([0.3]), 1.0 + 1e-9, 1)
    ridge, scale = deep_ridges(
        problem, source_law(problem, None, 0.0, 0.0), points, np.array([True])
    )
    assert ridge[0] == pytest.approx(0.1, rel=1e-6)
    assert scale[0] == pytest.approx(1.0, rel=1e-6)


def test_without_a_source_it_is_scratch():
    theory = solve(model(source_coef=None))
    assert theory.risk == pytest.approx(theory.risk_scratch, rel=1e-12)
    assert theory.risk == pytest.approx(solve(model()).risk_scratch, rel=1e-12)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_units(factor):
    """Labels times a factor: the ridge, whose penalty is a norm to the power 1 + 1/L, follows."""
    one = model()
    other = solve(
        dataclasses.replace(
            one,
            theta_target=factor * one.theta_target,
            source_coef=factor * one.source_coef,
            noise=factor * one.noise,
            ridge=one.ridge * factor ** (1.0 - 1.0 / one.depth),
        )
    )
    assert other.risk == pytest.approx(factor**2 * solve(one).risk, rel=1e-9)
    assert other.source_scale == pytest.approx(solve(one).source_scale, rel=1e-9)


def test_one_large_sample():
    one = model(d=1500, n_samples=700)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 1500)) * np.sqrt(one.spectrum)
    y = X @ one.theta_target + one.noise * rng.normal(size=700)
    fit = deep_fit(X, y, one.source_coef, depth=3, ridge=0.1)
    theory = solve(one)
    assert fit.source_scale == pytest.approx(theory.source_scale, rel=0.02)
    risk = (fit.coef - one.theta_target) ** 2 @ one.spectrum
    assert risk == pytest.approx(theory.risk, rel=0.1)


@pytest.mark.parametrize(
    "change",
    [{}, {"n_samples": 300, "ridge": 1.0}, {"depth": 8, "ridge": 0.02}, {"spectrum": None}],
)
def test_experiments(change):
    found = compare(model(**change), n_repeats=80, random_state=0)
    gap = abs(found.theory - found.simulation)
    assert (gap <= 3.0 * found.stderr + 0.02 * abs(found.theory)).all(), found
    assert "risk_scratch" in found.names


def test_a_learned_source():
    one = model(
        source_coef=None, theta_source=2.0 * portable.combine(portable.SRC, 200),
        n_samples_source=120, noise_source=0.2, ridge_source=0.02,
    )  # fmt: skip
    found = compare(one, n_repeats=80, random_state=0)
    gap = abs(found.theory - found.simulation)
    assert (gap <= 3.0 * found.stderr + 0.03 * abs(found.theory)).all(), found


def test_curves_mix_ridges_and_depths():
    axes = {"ridge": [0.0, 0.1, 1.0], "depth": [1, 3], "n_samples": [0, 80, 400]}
    sweep = curve(model(), axes)
    for i, ridge in enumerate(axes["ridge"]):
        for j, depth in enumerate(axes["depth"]):
            for k, n in enumerate(axes["n_samples"]):
                one = solve(model(ridge=ridge, depth=depth, n_samples=n))
                assert sweep["risk"][i, j, k] == pytest.approx(one.risk, rel=1e-10)
                assert sweep["source_scale"][i, j, k] == pytest.approx(one.source_scale, rel=1e-10)
    assert (sweep["risk_bound"] >= sweep["risk"] * (1 - 1e-12)).all()


def test_the_best_ridge_at_depth():
    best = solve(model(n_samples=300, ridge="optimal"))
    around = curve(model(n_samples=300), {"ridge": best.used_ridge * np.geomspace(0.5, 2.0, 21)})[
        "risk"
    ]
    assert best.used_ridge > 0.0
    assert best.risk <= around.min() * (1.0 + 1e-9)
    assert math.isfinite(best.risk_scratch)


def test_several_outputs_are_refused():
    several = LinearModel(10, np.eye(2, 20), source_coef=np.eye(2, 20), depth=2, ridge=0.1,
                          heads="independent")  # fmt: skip
    with pytest.raises(ValueError, match=r"ridge must be 0 at depth 2 with 2 outputs, got 0\.1"):
        solve(several)
