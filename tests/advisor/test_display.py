"""The picture of an advice: all panels on a figure of its own, the errors alone on given axes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import retemper

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(scope="module")
def advice():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 4))
    y = X.sum(axis=1) + rng.normal(size=24)
    return retemper.advise(X, y, sources={"near": np.ones(4)}, task="regression")


def test_a_figure_of_its_own(advice):
    drawn = advice.plot()
    assert drawn.ax_ is drawn.axes_[0]
    assert drawn.figure_ in map(plt.figure, plt.get_fignums())  # a notebook shows it
    assert len(drawn.axes_) >= 2
    plt.close(drawn.figure_)


def test_given_axes_take_the_errors(advice):
    figure, (left, right) = plt.subplots(1, 2)
    drawn = advice.plot(ax=left)
    assert drawn.ax_ is left
    assert drawn.figure_ is figure
    assert left.get_xlabel().startswith("root mean squared error")
    assert [t.get_text().split("\n")[0] for t in left.get_yticklabels()] == ["scratch", "near"]
    assert not right.lines
    plt.close(figure)
    with pytest.raises(TypeError, match="ax must be matplotlib Axes, got str"):
        advice.plot(ax="left")
