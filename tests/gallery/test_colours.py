"""The colours of the figures are told apart by every common eye, the lines without colour too."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose

from retemper._plot import CYCLE, LINES, MARKERS, VERDICT_COLOUR, style

from .colours import EYES, distance, lab, luminance


def test_coordinates_of_known_colours():
    assert_allclose(lab((1, 1, 1)), [100, 0, 0], atol=0.02)
    assert_allclose(lab((1, 0, 0)), [53.24, 80.09, 67.20], atol=0.05)
    assert_allclose(lab((0, 0, 1)), [32.30, 79.19, -107.86], atol=0.05)
    assert distance((0, 0, 0), (1, 1, 1)) == pytest.approx(100, abs=0.02)
    assert luminance((0, 1, 0)) == pytest.approx(0.7152, abs=1e-4)


@pytest.mark.parametrize("eye", EYES)
def test_no_eye_changes_grey(eye):
    for grey in (0.2, 0.5, 0.9):
        assert_allclose(lab((grey,) * 3, eye), lab((grey,) * 3), atol=0.05)


def test_eyes_without_green_cones_confuse_red_and_green():
    red, green = (0.75, 0.25, 0.1), (0.35, 0.5, 0.05)
    assert distance(red, green, "deuteranopia") < 0.35 * distance(red, green)
    assert distance(red, green, "tritanopia") > 0.8 * distance(red, green)


@pytest.mark.parametrize("eye", EYES)
def test_colours_of_lines_are_apart(eye):
    found = [
        distance(to_rgb(one), to_rgb(two), eye) for one, two in itertools.combinations(CYCLE, 2)
    ]
    assert min(found) > (25 if eye == "common" else 16)


@pytest.mark.parametrize("eye", EYES)
def test_colours_of_verdicts_are_apart(eye):
    pairs = itertools.combinations(VERDICT_COLOUR.values(), 2)
    assert min(distance(to_rgb(one), to_rgb(two), eye) for one, two in pairs) > 16


def test_verdicts_can_be_read_on_white():
    for colour in VERDICT_COLOUR.values():
        assert 1.05 / (luminance(to_rgb(colour)) + 0.05) > 3


def test_every_colour_has_its_own_line_and_marker():
    cycle = style()["axes.prop_cycle"].by_key()
    assert len(set(CYCLE)) == len(set(map(str, LINES))) == len(set(MARKERS)) == len(CYCLE)
    assert cycle["color"] == list(CYCLE)
    assert cycle["linestyle"] == list(LINES)
    assert np.all([len(c) == 7 for c in CYCLE])
