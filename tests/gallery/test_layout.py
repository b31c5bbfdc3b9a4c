"""The judge of figures sees what it is there to see."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from retemper._plot import CYCLE, style

from .layout import faults

HEADLINE = "A sentence that says what to read"


def picture(**labels):
    figure = Figure(figsize=(5, 4), layout="constrained")
    ax = figure.subplots()
    ax.plot(np.arange(5), np.arange(5) ** 2, color=CYCLE[0], label="one")
    ax.set(**{"xlabel": "x", "ylabel": "y", "title": HEADLINE, **labels})
    return figure, ax


def test_a_good_figure_has_no_faults():
    with mpl.rc_context(style()):
        figure, ax = picture()
        ax.plot(np.arange(5), np.arange(5), label="two")
        ax.legend(loc="upper left")
    assert faults(figure) == []


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_overlapping_texts_are_found(angle):
    figure, ax = picture()
    ax.text(1, 8, "first text", rotation=angle, rotation_mode="anchor")
    ax.text(1.1, 8.2, "second text", rotation=angle, rotation_mode="anchor")
    assert any("'first text' overlaps 'second text'" in f for f in faults(figure))


def test_turned_texts_side_by_side_do_not_overlap():
    figure, ax = picture()  # their upright boxes do
    for k in range(3):
        ax.text(0.5 + 0.4 * k, 6, "a turned text", rotation=45, rotation_mode="anchor")
    assert faults(figure) == []


def test_crowded_tick_labels_are_found():
    figure, ax = picture()
    ax.set_xticks(np.linspace(0, 4, 9), [f"a long name {k}" for k in range(9)])
    assert any("overlaps" in f for f in faults(figure))


def test_cut_texts_are_found():
    figure, ax = picture()
    ax.text(3.9, 8, "this one goes far beyond the right edge", in_layout=False)
    assert any("is cut" in f for f in faults(figure))
    figure, ax = picture()
    ax.text(3.5, 8, "clipped by its axes", clip_on=True)
    assert any("is cut" in f for f in faults(figure))


@pytest.mark.parametrize("label", ["xlabel", "ylabel"])
def test_missing_labels_are_found(label):
    figure, _ = picture(**{label: ""})
    assert faults(figure) == [f"the {label[0]} axis of {HEADLINE!r} has no label"]


def test_names_on_an_axis_need_no_label():
    figure, ax = picture(xlabel="")
    ax.set_xticks([0, 2, 4], ["north", "east", "south"])
    assert faults(figure) == []


@pytest.mark.parametrize("title", ["", "width 100"])
def test_a_setting_is_no_headline(title):
    figure, _ = picture(title=title)
    assert faults(figure) == [f"{title!r} does not say what to read"]


def test_faint_texts_are_found():
    figure, ax = picture()
    ax.axvspan(0, 2, color="#F0E442")
    ax.text(1, 10, "white on yellow", color="white", ha="center")
    ax.text(1, 6, "black on yellow", ha="center")
    assert faults(figure) == ["'white on yellow' is faint on what is behind it"]


def test_lines_that_differ_in_hue_alone_are_found():
    figure, ax = picture()
    ax.plot(np.arange(5), np.arange(5), "-", color=CYCLE[2], label="two")
    ax.plot(np.arange(5), 2 * np.arange(5), "-", color="black", label="darker")
    ax.plot(np.arange(5), 3 * np.arange(5), "--", color=CYCLE[0], label="dashed")
    assert faults(figure) == ["lines 'one' and 'two' differ in hue alone"]


def test_a_word_keeps_its_colour_in_all_panels():
    figure = Figure(figsize=(8, 4), layout="constrained")
    for k, ax in enumerate(figure.subplots(1, 2)):
        ax.plot(np.arange(5), np.arange(5), color=CYCLE[k], label="one")
        ax.set(xlabel="x", ylabel="y")
        ax.legend()
    figure.suptitle(HEADLINE)
    assert faults(figure) == ["'one' changes its colour between panels"]


def test_a_legend_on_a_line_is_found():
    figure, ax = picture()
    ax.legend(loc="upper right")
    assert faults(figure) == ["the legend hides 'one'"]
    ax.legend(loc="lower right")
    assert faults(figure) == []
