"""One pass of stochastic gradient descent: limits, the stability of a step, experiments."""

import math
from functools import partial

import numpy as np
import pytest

from retemper._results import Status
from retemper.exceptions import ValidityWarning
from retemper.linear import (
    LinearModel,
    curve,
    largest_step_size,
    mixture_model,
    simulate,
    solve,
)

from . import portable
from .models import check_experiments, wide_model

model = partial(wide_model, step_size=0.02)


def test_small_steps_are_gradient_flow_on_the_population():
    """At a fixed time n times step: every direction decays by itself, and noise is not learned."""
    n = 10**6
    one = model(n_samples=n, step_size=3.0 / n)
    gap = one.theta_target - one.source_coef
    expected = (one.spectrum * gap**2 * np.exp(-6.0 * one.spectrum)).sum()
    assert solve(one).risk == pytest.approx(expected, rel=1e-3)


def test_large_batches_are_descent_on_the_population():
    one = model(n_samples=8 * 10**8, batch_size=2 * 10**8, step_size=0.3)
    gap = one.theta_target - one.source_coef
    expected = (one.spectrum * gap**2 * (1.0 - 0.3 * one.spectrum) ** 8).sum()
    assert solve(one).risk == pytest.approx(expected, rel=1e-6)


def test_one_step_by_hand():
    """E (1 - e xx') S (1 - e xx') for Gaussian rows, by the fourth moments of a Gaussian."""
    one = model(n_samples=1, step_size=0.1)
    s, gap = one.spectrum, one.theta_target - one.source_coef
    error = s @ gap**2
    moved = (1.0 - 0.2 * s) * gap**2 + 0.01 * (2.0 * s**2 * gap**2 + s * error)
    assert solve(one).bias == pytest.approx(s @ moved, rel=1e-12)
    assert solve(one).variance == pytest.approx(0.01 * 0.09 * s @ s, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 7])
def test_the_floor(batch):
    """After many rows the noise alone: sigma² f / (1 - f) with the sum f of `largest_step_size`."""
    spectrum = np.ones(30)
    step = 0.5 * largest_step_size(spectrum, batch_size=batch)
    found = solve(LinearModel(40_000, np.zeros(30), noise=0.5, step_size=step, batch_size=batch))
    f = (step / batch * spectrum / (2.0 - step * spectrum * (1.0 + 1.0 / batch))).sum()
    assert found.risk == pytest.approx(0.25 * f / (1.0 - f), rel=1e-9)


def test_misadjustment_of_the_least_mean_squares_filter():
    """White inputs: step d / (2 - step (d + 2)), as Feuer and Weinstein (1985) have it."""
    found = solve(LinearModel(200_000, np.zeros(10), noise=1.0, step_size=0.02))
    assert found.risk == pytest.approx(0.02 * 10 / (2.0 - 0.02 * 12), rel=1e-9)


@pytest.mark.parametrize("batch", [1, 5])
def test_the_largest_step(batch):
    spectrum = portable.spectrum("power", 50, 0.7)
    limit = largest_step_size(spectrum, batch_size=batch)
    # the map of second moments has its largest eigenvalue at one
    heat = limit**2 / batch
    jump = np.diag((1.0 - limit * spectrum) ** 2 + heat * spectrum**2)
    assert np.linalg.eigvalsh(jump + heat * np.outer(spectrum, spectrum))[-1] == pytest.approx(1.0)
    assert largest_step_size(1e9 * spectrum, batch_size=batch) == pytest.approx(
        limit / 1e9, rel=1e-12
    )
    assert largest_step_size([1.0] * 98) == pytest.approx(0.02, rel=1e-12)
    assert largest_step_size([0.0]) == math.inf
    risks = [
        solve(
            LinearModel(
                n, np.ones(50), spectrum=spectrum, step_size=1.01 * limit, batch_size=batch
            ),
            on_failure="ignore",
        ).risk
        for n in (50_000, 60_000)
    ]
    assert risks[1] > risks[0]


def test_a_step_that_is_too_long():
    with pytest.warns(ValidityWarning, match="the mean risk grows with every step"):
        found = solve(model(step_size=0.3))
    assert found.status is Status.INVALID
    with pytest.warns(ValidityWarning, match=r"step_size = 0\.3 is not below 0\.14"):
        curve(model(), {"step_size": [0.02, 0.3]})


@pytest.mark.parametrize(
    "change",
    [
        {}, {"n_samples": 400, "step_size": 0.05},
        {"n_samples": 400, "batch_size": 16, "step_size": 0.4},
        {"source_coef": None, "theta_source": portable.combine(portable.SRC, 200),
         "n_samples_source": 300, "noise_source": 0.3},
    ],
)  # fmt: skip
def test_experiments(change):
    check_experiments(model(**change), slack=0.01, random_state=1)


def test_the_experiment_leaves_out_rows_that_fill_no_batch():
    """Of the same stream of rows, 4 of 6 and 4 of 4 make one batch."""
    one, other = (
        simulate(model(n_samples=n, batch_size=4, noise=0.0), n_repeats=5) for n in (4, 6)
    )
    assert other.samples["risk"] == pytest.approx(one.samples["risk"], rel=1e-12)
    none = solve(model(n_samples=3, batch_size=4))
    assert none.risk == pytest.approx(none.risk_zero_shot, rel=1e-12)


def test_a_curve_is_its_points():
    sweep = curve(model(), {"n_samples": [200, 0, 50], "noise": [0.0, 0.3]})
    for k, n in enumerate((200, 0, 50)):
        assert sweep["risk"][k, 1] == pytest.approx(solve(model(n_samples=n)).risk, rel=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="step_size must lie in"):
        model(step_size=0.0)
    with pytest.raises(ValueError, match="batch_size is of stochastic descent: it needs step_size"):
        model(step_size=None, batch_size=3)
    for change in ({"depth": 2}, {"ridge": 0.1}, {"ridge": "optimal"}, {"stop_time": 1.0}):
        with pytest.raises(ValueError, match="step_size needs depth 1, ridge 0 and no stop_time"):
            model(**change)
    with pytest.raises(ValueError, match="step_size needs ridge 0"):
        curve(model(), {"ridge": [0.0, 0.1]})
    with pytest.raises(ValueError, match="spectrum must hold eigenvalues that are not negative"):
        largest_step_size([1.0, -1.0])
    with pytest.raises(ValueError, match="model must be trained to the end"):
        mixture_model(model(), np.ones((1, 200)))
