"""Pictures hold the numbers they claim to show."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import retemper.perceptron as pc
from retemper import gallery
from retemper.gallery import few_labels
from retemper.perceptron import PerceptronModel, PhaseDiagramDisplay, TransitionDisplay


def test_transition_display_separates_stable_from_unstable():
    from matplotlib.figure import Figure

    model = PerceptronModel(0.5, 0.0)
    ax = Figure().subplots()
    display = TransitionDisplay.from_model(model, 300)
    assert display.plot(ax=ax, max_load=6) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    stable, unstable = ax.lines
    found = pc.transitions(0.5)
    loads = unstable.get_xdata()
    loads = loads[~np.isnan(loads)]
    assert_allclose((loads.min(), loads.max()), (found.alpha_sp_minus, found.alpha_alg), rtol=1e-2)
    assert stable.get_linestyle() == "-"
    assert unstable.get_linestyle() == "--"
    assert np.nanmax(stable.get_ydata()) <= 0.5


def test_phase_diagram_display_draws_the_phases():
    from matplotlib.figure import Figure

    display = PhaseDiagramDisplay.from_grid([0.4, 0.5, 1.0], [0.2, 4.3, 6.0])
    mesh = display.plot(ax=Figure().subplots()).ax_.collections[0]
    diagram = pc.phase_diagram([0.4, 0.5, 1.0], [0.2, 4.3, 6.0])
    assert_allclose(mesh.get_array().reshape(3, 3), diagram["phase"].T)


@pytest.mark.parametrize("name", ["mismatch", "quadrature", "critical"])
def test_quick_figures(name):
    figure = gallery.draw(f"perceptron-{name}")
    assert all(np.size(line.get_xdata()) for ax in figure.axes for line in ax.lines)


def test_gauss_hermite_fails_where_the_figure_says():
    ax = gallery.draw("perceptron-quadrature").axes[0]
    for line in ax.lines[:3]:
        V, error = line.get_data()
        assert error[V < 1e-5].max() > 0.1
        assert error[V > 0.85].max() < 1e-3


def test_few_labels_on_a_bundled_table():
    X, y = few_labels.table("digits 3 against 8")
    assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    two = few_labels.few_label_accuracy(X, y, 2, 2)
    assert two.shape == (len(few_labels.METHODS), 2)
    assert ((two > 0.3) & (two <= 1)).all()
    assert_array_equal(two[:, 0], few_labels.few_label_accuracy(X, y, 2, 1)[:, 0])
    mean, error = few_labels.accuracies("digits 3 against 8", (2,), 2)
    assert_allclose(mean[:, 0], two.mean(axis=1))
    assert_allclose(error[:, 0], abs(two[:, 0] - two[:, 1]) / 2)
    with pytest.raises(ValueError, match="name must be one of"):
        few_labels.table("wine")
