"""Displays and figures draw what they are given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from retemper.phases import (
    FeatureModel,
    ForecastDisplay,
    MLPTrainer,
    MonitorDisplay,
    PhaseMonitor,
    curve,
    phase_forecast,
    simulate,
    solve,
)

X = np.random.default_rng(0).normal(size=(120, 6))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def watched(seed):
    monitor = PhaseMonitor(X, Y)
    net = MLPTrainer((4,), n_steps=8, random_state=seed)
    net.fit(X, Y, callback=lambda step, net: monitor.observe(step, net.activations(X)))
    return monitor


def line(ax, label):
    return next(c for c in ax.containers if c.get_label() == label).lines[0].get_ydata()


def test_monitor_display():
    monitor = watched(0)
    display = MonitorDisplay.from_monitor(monitor)
    assert display.plot() is display
    ax = display.ax_
    assert display.figure_ is ax.figure
    np.testing.assert_array_equal(
        line(ax, "unexplained input variance"), monitor.curve("hidden1")[1]
    )
    np.testing.assert_array_equal(line(ax, "probe: source"), monitor.curve("hidden1", "source")[1])
    runs = [watched(seed) for seed in range(3)]
    shown = MonitorDisplay.from_runs(runs, "output")
    want = np.mean([m.curve("output")[1] for m in runs], axis=0)
    np.testing.assert_allclose(shown.curves["fuv"], want)
    assert (shown.stderr["fuv"] > 0).all()
    with pytest.raises(ValueError, match="layer must be one of"):
        MonitorDisplay.from_monitor(monitor, "nothing")


def test_forecast_display():
    found = phase_forecast(X, Y, n_init=2)
    ax = ForecastDisplay.from_forecast(found).plot().ax_
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.fuv)
    model = FeatureModel(3, [1.0], [0.5], n_noise=3, times=[0.0, 0.5, 1.0])
    theory = solve(model, task=[1.0])
    sample = simulate(model, n_samples=100, n_repeats=2)
    given = plt.figure().subplots()
    ax = ForecastDisplay.from_theory(theory, sample).plot(ax=given).ax_
    assert ax is given
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0.5, 1.0])


def test_curves_of_models_with_times_run_along_the_times():
    times = np.linspace(0.0, 4.0, 21)
    model = FeatureModel(4, [3.0, 1.0], [1.0, 0.2], times=times, step_size=0.2)
    found = curve(model, {"init_scale": [0.1, 0.3]})
    ax = found.plot("fuv", simulate={"n_repeats": 2, "n_samples": 200})
    lines = [line for line in ax.lines if line.get_label().startswith("init_scale")]
    assert len(lines) == 2
    for j, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), times)
        np.testing.assert_array_equal(line.get_ydata(), found["fuv"][j])
    assert ax.get_xlabel() == "times"
    assert len(found.to_latex("fuv").splitlines()) == 21 + 6
    assert found.to_pgf("fuv").count("addlegendentry") == 2


def test_long_titles_stay_on_the_page():
    ax = ForecastDisplay.from_forecast(phase_forecast(X, Y)).plot().ax_
    assert max(map(len, ax.get_title().splitlines())) <= 48
