"""Several passes of stochastic gradient descent: limits, exact moments on a design, experiments."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.optimize import brentq

from retemper._results import Status
from retemper.exceptions import ValidityWarning
from retemper.linear import LinearModel, curve, largest_step_size, simulate, solve

from . import portable
from .models import check_experiments, wide_model

model = partial(wide_model, step_size=0.04, n_passes=3.0)
SPECTRUM = portable.spectrum("power", 200, 0.7)


@pytest.mark.parametrize("n", [80, 400])
def test_small_steps_are_gradient_flow(n):
    small = solve(model(n_samples=n, step_size=1e-6, n_passes=4e6 / n))
    flow = solve(model(n_samples=n, step_size=None, n_passes=None, stop_time=4.0))
    for name in ("risk", "bias", "variance", "training_error"):
        assert getattr(small, name) == pytest.approx(getattr(flow, name), rel=1e-3)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("steps", [9, 300])
def test_rows_that_never_come_again_are_one_pass(batch, steps):
    """Exact for few steps, where products of filters are; else to second order in the step."""
    n, given = 10**9, {"step_size": 0.05, "batch_size": batch}
    one = solve(model(n_samples=steps * batch, n_passes=None, **given))
    many = solve(model(n_samples=n, n_passes=steps * batch / n, **given))
    for name in ("risk", "bias", "variance"):
        close = pytest.approx(getattr(one, name), rel=1e-6 if steps < 12 else 1e-3)
        assert getattr(many, name) == close
    assert many.training_error == pytest.approx(many.risk + 0.09, rel=1e-3 if steps > 12 else 1e-6)


def test_few_steps_join_many():
    """Steps one by one below twelve, by a generating function from there on."""
    sweep = curve(model(batch_size=8), {"n_passes": np.arange(8, 17) / 10})
    for name in ("bias", "variance", "training_error"):
        rates = np.diff(np.log(sweep[name]), 2)
        assert abs(rates[3:5]).max() < 2.0 * abs(rates[:3]).max()


def test_training_ends_at_the_same_interpolation():
    late, end = solve(model(n_passes=1e6)), solve(model(step_size=None, n_passes=None))
    for name in ("risk", "bias", "variance", "risk_scratch"):
        assert getattr(late, name) == pytest.approx(getattr(end, name), rel=1e-9)
    assert late.training_error < 1e-15
    assert end.training_error == 0.0


def noise_of_a_step(n, step, batch):
    """The sum f of `largest_step_size`, over the law of the sample's eigenvalues."""
    far = 2.0 / (step * (1.0 + 1.0 / batch))
    edge = brentq(lambda mu: np.square(SPECTRUM / (mu - SPECTRUM)).sum() - n, 1.0 + 1e-9, 100.0)
    mu = brentq(lambda mu: mu * (1.0 + (SPECTRUM / (mu - SPECTRUM)).sum() / n) - far, edge, far)
    return (SPECTRUM / (mu - SPECTRUM)).sum() / (batch + 1.0)


@pytest.mark.parametrize("batch", [1, 6])
def test_stationary_value(batch):
    """More rows than features: the Volterra equation's fixed point, floor / (1 - f)."""
    n, step = 500, 0.1
    late = solve(model(n_samples=n, step_size=step, batch_size=batch, n_passes=1e6))
    f = noise_of_a_step(n, step, batch)
    error = 0.09 * (1.0 - 200 / n) / (1.0 - f)
    assert late.training_error == pytest.approx(error, rel=1e-9)
    # to first order in the step f is half the step times the trace
    assert f == pytest.approx(0.5 * step / batch * SPECTRUM.sum(), rel=0.1)
    risk = 0.09 * 200 / (n - 200) + 0.5 * step / batch * SPECTRUM.sum() * error
    assert late.risk == pytest.approx(risk, rel=0.02)


@pytest.mark.parametrize(("n", "batch"), [(400, 1), (400, 20), (150, 100)])
def test_the_largest_step(n, batch):
    """On samples: the sum over eigenvalues of `largest_step_size` is one, or the top is reached."""
    limit = largest_step_size(SPECTRUM, batch_size=batch, n_samples=n)
    rng = np.random.default_rng(n)
    sums, tops = [], []
    for _ in range(10):
        X = rng.normal(size=(n, 200)) * np.sqrt(SPECTRUM)
        z = np.linalg.eigvalsh(X.T @ X / n)
        tops.append(limit * z[-1] * (1.0 + 1.0 / batch) / 2.0)
        step = 0.7 * limit
        sums.append((step / batch * z / (2.0 - step * z * (1.0 + 1.0 / batch))).sum())
    if batch == 100:  # the largest eigenvalue alone
        assert np.mean(tops) == pytest.approx(1.0, abs=0.1)
        return
    assert max(tops) < 1.0
    assert np.mean(sums) == pytest.approx(noise_of_a_step(n, 0.7 * limit, batch), rel=0.05)
    assert noise_of_a_step(n, limit, batch) == pytest.approx(1.0, rel=1e-9)
    once = largest_step_size(SPECTRUM, batch_size=batch)
    assert limit == pytest.approx(once / (1.0 + (batch + 1.0) / n), rel=1e-12)
    assert largest_step_size(3.0 * SPECTRUM, batch_size=batch, n_samples=n) == pytest.approx(
        limit / 3.0, rel=1e-12
    )


def exact(X, one, gap, n_steps):
    """Mean risk and training error on given rows, by second moments; mean over noise and draws.

    A = E u u' and B = E u e' of u = w - theta and of the label noise e.
    """
    n, variance, step, batch = len(X), one.noise**2, one.step_size, one.batch_size
    S, A, B = X.T @ X / n, np.outer(gap, gap), np.zeros(X.T.shape)
    for k in range(n_steps + 1):
        square = ((X @ A) * X).sum(1) - 2.0 * (X * B.T).sum(1) + variance  # of every residual
        if k == n_steps:
            return one.spectrum @ np.diag(A), square.mean()
        cross = S @ B @ X / n
        pulled = S @ A @ S - cross - cross.T + variance * S / n
        noise = (X.T * square) @ X / n
        slope = A @ S - B @ X / n
        A = A - step * (slope + slope.T) + step**2 * ((1 - 1 / batch) * pulled + noise / batch)
        B = B - step * (S @ B - variance * X.T / n)
    return None


@pytest.mark.parametrize(("n", "batch", "n_steps"), [(60, 1, 120), (200, 1, 200), (60, 5, 30)])
def test_exact_moments_on_designs(n, batch, n_steps):
    d = 100
    spectrum, rng = portable.spectrum("power", d, 0.5), np.random.default_rng(n + batch)
    gap = portable.combine(portable.D5, d)
    step = 0.4 * largest_step_size(spectrum, batch_size=batch, n_samples=n)
    one = LinearModel(
        n, gap, spectrum=spectrum, noise=0.2, step_size=step, batch_size=batch,
        n_passes=n_steps * batch / n,
    )  # fmt: skip
    found = [
        exact(rng.normal(size=(n, d)) * np.sqrt(spectrum), one, gap, n_steps) for _ in range(15)
    ]
    theory = solve(one)
    error = np.std(found, axis=0, ddof=1) / 15**0.5
    gaps = np.array([theory.risk, theory.training_error]) - np.mean(found, axis=0)
    assert (abs(gaps) < 3.0 * error + 0.02 * np.mean(found, axis=0)).all()


@pytest.mark.parametrize(
    "change",
    [
        {}, {"n_samples": 400, "n_passes": 1.5}, {"batch_size": 10, "step_size": 0.3},
        {"spectrum": None, "step_size": 0.005}, {"source_scale": -1.0},
        {"source_coef": None, "theta_source": portable.combine(portable.SRC, 200),
         "n_samples_source": 300, "noise_source": 0.3},
    ],
)  # fmt: skip
def test_experiments(change):
    check_experiments(model(**change), slack=0.02, random_state=1)


def test_the_experiment_draws_with_replacement():
    """Of one row, as many steps as asked: all on this row."""
    one = model(n_samples=1, n_passes=50.0, noise=0.0, step_size=0.02)
    found = simulate(one, n_repeats=5)
    end = simulate(model(n_samples=1, step_size=None, n_passes=None, noise=0.0), n_repeats=5)
    assert found.samples["risk"] == pytest.approx(end.samples["risk"], rel=0.05)
    none = simulate(model(n_passes=0.0), n_repeats=3)
    assert (none.samples["risk"] == none.samples["risk_zero_shot"]).all()


def test_training_error_of_other_training():
    """(1 - df1 / n)² (risk + noise²) at the end of training, and along the flow."""
    ridge = solve(model(step_size=None, n_passes=None, ridge=0.1))
    expected = (0.1 / ridge.effective_ridge) ** 2 * (ridge.risk + 0.09)
    assert ridge.training_error == pytest.approx(expected, rel=1e-12)
    early, late = (
        solve(model(n_samples=400, step_size=None, n_passes=None, stop_time=t)).training_error
        for t in (0.0, 1e9)
    )
    end = solve(model(n_samples=400, step_size=None, n_passes=None))
    assert early == pytest.approx(end.risk_zero_shot + 0.09, rel=1e-12)
    assert late == pytest.approx(end.training_error, rel=1e-9)
    assert end.training_error == pytest.approx(0.09 * 0.5, rel=1e-12)  # 200 of 400 rows are left
    assert math.isnan(solve(model(n_passes=None)).training_error)
    assert solve(model(n_samples=0)).training_error == 0.0


def test_training_error_of_classes_of_rows():
    rows = {"row_shares": [0.25, 0.5, 0.25], "row_noise": [1.0, 3.0, 0.5]}
    plain = {"step_size": None, "n_passes": None, "n_samples": 300, "ridge": 0.02}
    check_experiments(
        model(**plain, **rows, row_scale=[1.0, 0.0, 2.0], row_weight=[1, 0.2, 4]), slack=0.02
    )
    alike, one = solve(model(**plain, row_shares=[0.4, 0.6])), solve(model(**plain))
    assert alike.training_error == pytest.approx(one.training_error, rel=1e-9)


def test_a_step_that_is_too_long():
    with pytest.warns(ValidityWarning, match="the mean risk grows with every step"):
        found = solve(model(step_size=0.3))
    assert found.status is Status.INVALID
    assert found.risk == found.training_error == math.inf
    assert found.risk_zero_shot < math.inf
    sweep = curve(model(), {"n_samples": [0, 80], "step_size": [0.04, 0.3]}, on_failure="ignore")
    assert sweep["status"].tolist() == [["converged", "invalid"]] * 2


def test_a_curve_is_its_points():
    sweep = curve(model(), {"n_passes": [0.0, 2.0], "n_samples": [80, 0]})
    for k, passes in enumerate((0.0, 2.0)):
        for j, n in enumerate((80, 0)):
            one = solve(model(n_samples=n, n_passes=passes))
            assert sweep["risk"][k, j] == pytest.approx(one.risk, rel=1e-12)
            assert sweep["training_error"][k, j] == pytest.approx(one.training_error, rel=1e-12)
    assert sweep["risk"][0] == pytest.approx(solve(model()).risk_zero_shot, rel=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="n_passes is of stochastic descent: it needs step_size"):
        model(step_size=None)
    with pytest.raises(ValueError, match=r"n_passes must lie in \[0, inf\), got -1"):
        model(n_passes=-1.0)
    with pytest.raises(ValueError, match=r"n_samples must lie in \[1, inf\), got 0"):
        largest_step_size([1.0], n_samples=0)
