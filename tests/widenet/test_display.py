"""Displays draw the numbers they hold."""

import numpy as np
import pytest

from retemper.widenet import GammaPathDisplay, WideNetModel, gamma_path

from . import recipe

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")


@pytest.fixture
def data():
    return recipe.draw(N0=12, Ps=25, Pt=15, Pe=7)


def test_lines_are_the_theory_and_dots_the_networks(data):
    target, source, test = data
    display = GammaPathDisplay.from_model(
        WideNetModel(20, "linear"), target, source, test, gammas=[0.0, 1.0, np.inf],
        sample_gammas=[1.0, np.inf], random_state=0, n_chains=6,
    )  # fmt: skip
    ax = display.plot().ax_
    assert display.figure_ is ax.figure
    solid = [
        line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 3
    ]
    np.testing.assert_array_equal(solid[0].get_ydata(), display.path["test_error"])
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    np.testing.assert_array_equal(dashed[0].get_ydata(), display.path.control["test_error"])
    dots = ax.containers[0].lines[0]
    np.testing.assert_allclose(dots.get_xdata(), solid[0].get_xdata()[1:])
    np.testing.assert_array_equal(dots.get_ydata(), [s.test_error for s in display.sampled])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1", "∞"]
    other = GammaPathDisplay(display.path, quantities=["Q_t"])
    assert other.plot(ax=ax) is other
    assert other.ax_ is ax


def test_what_cannot_be_drawn_is_refused(data):
    path = gamma_path(WideNetModel(20), *data[:2])
    with pytest.raises(ValueError, match="needs test data"):
        GammaPathDisplay(path, quantities=["test_error"])
    with pytest.raises(ValueError, match="quantities must be one of"):
        GammaPathDisplay(path, quantities=["risk"])
    assert GammaPathDisplay(path).quantities == ("loo",)
