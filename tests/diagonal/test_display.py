"""Displays: the numbers behind the pictures, and that every picture is drawn."""

import matplotlib as mpl
import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.diagonal import (
    BestStartDisplay,
    DiagonalModel,
    DiagonalNetworkRegressor,
    ErrorCurveDisplay,
    LearningOrderDisplay,
    RegimeMapDisplay,
    RegimeTriangleDisplay,
    finetune_scale,
    l_order,
    solve,
)

mpl.use("Agg")


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure().subplots()


def test_error_curve(ax):
    display = ErrorCurveDisplay.from_model(
        DiagonalModel(0.1), [0.1, 0.2], {"a": {"balance": 0.5}, "b": {}},
        alpha_simulated=[0.2], n_features=100, n_repeats=3,
    )  # fmt: skip
    assert_allclose(display.theory["a"][1], solve(DiagonalModel(0.2, balance=0.5)).mse)
    assert display.null_mse == 1.0
    assert display.plot(ax=ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert_allclose(ax.lines[0].get_ydata(), display.theory["a"])


def test_regime_map(ax):
    display = RegimeMapDisplay.from_grid(
        source_coef=np.geomspace(1e-3, 10, 7), balance=np.linspace(-0.99, 1, 5), init_scale=0.1
    )
    assert_allclose(
        display.l_order[2, 3], l_order(1.0, finetune_scale(display.x[3], 0.1, display.y[2]))
    )
    assert display.plot(ax=ax, quantity="pd").ax_.get_xscale() == "log"
    with pytest.raises(ValueError, match="exactly two"):
        RegimeMapDisplay.from_grid(beta=[1.0, 2.0])
    with pytest.raises(ValueError, match="is not one of"):
        RegimeMapDisplay.from_grid(gamma=[1.0, 2.0], beta=[1.0, 2.0])


def test_triangle(ax):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 30))
    X[:, 4] = 1.0
    model = DiagonalNetworkRegressor(source=np.arange(30.0)).fit(X, rng.normal(size=10))
    display = RegimeTriangleDisplay.from_estimator(model)
    assert display.weights.shape == (29, 3)
    points = display.plot(ax=ax).ax_.collections[0].get_offsets()
    assert_allclose(points[:, 1], display.weights[:, 2] * np.sqrt(0.75))


def test_best_start(ax):
    display = BestStartDisplay.from_grid(0.1, [0.1, 1.0], [0.0, 0.5], n_scales=4)
    assert display.regime[0, 1] == "II"  # everything reused, nothing new
    c_new, c_source = display.c_new[1, 0], display.c_source[1, 0]
    start = {"balance": c_source - c_new - 1.0, "readout_scale": np.sqrt(2.0 * c_new)}
    same = solve(DiagonalModel(0.1, rho_shared=0.1, rho_new=0.5, init_scale=1e-9, **start))
    assert_allclose(display.mse[1, 0], same.mse, rtol=1e-5)
    for balance in (-0.99, 0.9):
        other = solve(DiagonalModel(0.1, rho_shared=1.0, rho_new=0.5, balance=balance,
                                    init_scale=1e-9))  # fmt: skip
        assert display.mse[1, 1] < other.mse
    assert display.plot(ax=ax).ax_.has_data()


def test_learning_order(ax):
    display = LearningOrderDisplay.from_settings([0.0, 0.3, 1.0], [1.0, 1.0, 1.0], step_size=1e-3)
    assert_allclose(display.observed, display.forecast, rtol=5e-3)
    assert np.all(np.diff(display.forecast) < 0)
    assert display.plot(ax=ax).ax_.has_data()
