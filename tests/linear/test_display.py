"""The numbers behind the pictures, and that every picture is drawn."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper.linear import LinearModel, TransferPhaseDisplay, curve

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def quiet_backend():
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    yield
    plt.close("all")


DEPTH_TABLE = [  # epsilon, target scale, risk at depth 1, 2, 3, 5, 7, 20, inf (theory page, F3)
    (0.0, 0.5, [0.225, 0.192759, 0.165613, 0.123528, 0.093623, 0.023206, 0]),
    (0.0, 2.0, [0.9, 0.717153, 0.597947, 0.446479, 0.352381, 0.1291, 0]),
    (0.0, 4.0, [8.1, 6.373453, 5.364286, 4.127599, 3.358837, 1.415298, 0]),
    (0.5, 0.5, [0.45, 0.428882, 0.411193, 0.383652, 0.363609, 0.308263, 0.263604]),
    (0.5, 1.0, [0.225, 0.22511, 0.225364, 0.226045, 0.226776, 0.230302, 0.237539]),
    (0.5, 2.0, [1.125, 0.930672, 0.805695, 0.648764, 0.552474, 0.330414, 0.22841]),
    (0.5, 4.0, [8.325, 6.581888, 5.564919, 4.320564, 3.548255, 1.602764, 0.225872]),
]


def over_depth(epsilon, along, depths, *, source_scale=1.0):
    """Theory over depths, where the target is part of a source and something new."""
    source, other = np.eye(2, 500)
    model = LinearModel(50, along * source + epsilon * other, source_coef=source_scale * source)
    return curve(model, {"depth": depths}, quantities=["risk"])


@pytest.mark.parametrize("row", DEPTH_TABLE)
def test_depth_table(row):
    *case, expected = row
    theory = over_depth(*case, [1, 2, 3, 5, 7, 20, math.inf])
    assert_allclose(theory["risk"], expected, atol=6e-7)
    dots = theory.simulate(n_repeats=10, random_state=0)
    gap = np.abs(theory["risk"] - dots["risk"])
    assert np.all(gap < 4.0 * dots["risk_stderr"] + 0.03 * theory["risk"] + 1e-12)


SCALE_TABLE = [  # scale of the source, risk at depth 7 and 1; then the same for the target (F4)
    (0.1, 0.528837, 0.954),
    (0.3, 0.373905, 0.666),
    (1.0, 0.226776, 0.225),
    (3.0, 1.878393, 3.825),
    (10.0, 36.474414, 73.125),
]


def test_scale_table():
    for scale, *expected in SCALE_TABLE:
        theory = over_depth(0.5, 1.0, [7, 1], source_scale=scale)
        assert_allclose(theory["risk"], expected, rtol=3e-6)


def test_lines_of_all_risks_and_their_dots():
    d = 60
    target = np.eye(d)[0]
    model = LinearModel(1, target, source_coef=0.7 * target, noise=0.2)
    names = ["risk", "risk_scratch", "risk_optimal", "risk_zero_shot"]
    sizes = [20, 40, 60, 90]
    found = curve(model, {"n_samples": sizes}, quantities=names, on_failure="ignore")
    assert math.isinf(found["risk"][2])
    dots = found.simulate(names, n_repeats=50, random_state=0)
    finite = np.isfinite(found["risk"])
    for name in names:
        gap = np.abs(dots[name] - found[name])[finite]
        assert np.all(gap < 4 * dots[f"{name}_stderr"][finite] + 0.1 * dots[name][finite])
    ax = found.plot(names, simulate=dots)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == names


BOUNDARY = {  # cosine of the boundary at alpha = .1, .3, .5, .7, .9, .99 (F5)
    (0.2, 2): [0.5010, 0.5033, 0.5065, 0.5131, 0.5417, 0.7466],
    (0.2, math.inf): [0.5110, 0.5141, 0.5196, 0.5323, 0.5916, 1.118],
    (1.0, 2): [0.5228, 0.5640, 0.6124, 0.6889, 0.8940, 1.5815],
}


def test_phase_diagram():
    display = TransferPhaseDisplay.from_grid(
        np.linspace(0.1, 1.2, 12),
        np.linspace(0, np.pi / 2, 31),
        boundaries=[*BOUNDARY, (0.0, 2)],
        simulated=(3, 4),
        n_features=150,
        random_state=0,
    )
    for setting, cosines in BOUNDARY.items():
        for alpha, cosine in zip([0.1, 0.3, 0.5, 0.7, 0.9, 0.99], cosines, strict=True):
            j = np.argmin(np.abs(display.boundary_alpha - alpha))
            got = display.boundaries[setting][j]
            if cosine < 1.0:
                assert_allclose(np.cos(got), cosine, atol=6e-5)
            else:
                assert not got > 0.0  # NaN, or 0 where the line ends
    assert_allclose(display.boundaries[0.0, 2], np.pi / 3)
    # the colour map changes sign on the boundary of its own setting
    for i, alpha in enumerate(display.alpha[display.alpha < 0.95]):
        j = np.argmin(np.abs(display.boundary_alpha - alpha))
        edge = display.boundaries[0.2, 2][j]
        assert np.all(display.gain[display.angle < edge - 0.02, i] > 0)
        assert np.all(display.gain[display.angle > edge + 0.02, i] < 0)
    assert_allclose(display.gain[:, display.alpha > 1.0], 0.0, atol=1e-12)
    verdict = display.agreement()
    assert verdict.shape == (12,)
    assert_array_equal(np.unique(verdict[display.points.alpha > 1.0]), ["undecided"])
    assert not np.any(verdict == "disagrees")
    assert np.sum(verdict == "agrees") >= 6
    ax = display.plot().ax_
    assert ax.get_legend() is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": [0.0, 1.0]}, "alpha must hold positive"),
        ({"angle": [-1.0]}, r"angle must hold values in \[0, pi\]"),
        ({"noise": -1.0}, "noise must lie in"),
        ({"depth": 0}, "depth must be at least 1"),
    ],
)
def test_phase_diagram_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransferPhaseDisplay.from_grid(**arguments)
