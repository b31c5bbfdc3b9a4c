"""Pictures hold the numbers they claim to show."""

import numpy as np
from numpy.testing import assert_allclose

import retemper.perceptron as pc
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
