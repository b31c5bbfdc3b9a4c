"""Words agree with their numbers and with each other, whatever the evidence."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retemper
from retemper.advisor.candidates import Candidate
from retemper.advisor.evidence import ODDS_OF_AVERAGE, gain_of
from retemper.advisor.verdicts import gain_fields
from retemper.advisor.wording import headline, notes, odds_text, percents, verdict_text

SHARES = st.floats(-20.0, 5.0)


@given(p=st.floats(0.0, 1.0), gain=SHARES, below=st.floats(0.0, 30.0), above=st.floats(0.0, 30.0))
@settings(max_examples=400, deadline=None)
def test_no_gain_is_told_where_there_is_none(p, gain, below, above):
    said = odds_text(p, gain, gain - below, gain + above)
    assert "nan" not in said
    assert not re.search(r"-0\b|[+-]0 %", said)
    by = re.search(r", by (less than 1|\d+) % \[(-?\d+), (-?\d+)\]$", said)
    if by:  # a gain that is likely, and seen
        assert p >= 0.55
        assert gain > 0.0
        assert by[1] == "less than 1" or int(by[1]) == round(100 * min(gain, 1.0)) > 0
        assert int(by[2]) <= round(100 * min(gain, 1.0)) <= int(by[3])
    else:
        assert p < 0.55 or gain <= 0.0
        assert "on the rows held out" in said
    assert ("as likely better as worse" in said) == (abs(p - 0.5) < 0.05)
    if ", though " in said:  # they lean in different directions, and only then
        assert (p > 0.5) != (round(100 * gain) > 0)


@given(
    n=st.integers(6, 60), seed=st.integers(0, 10**6), shift=st.floats(-2.0, 2.0),
    scale=st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 1.0, 100.0]),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_the_action_is_an_action_and_agrees(n, seed, shift, scale):
    """From random evidence, through the odds, to the headline."""
    rng = np.random.default_rng(seed)
    base = rng.chisquare(1, size=n)
    rival = np.maximum(base - scale * (rng.normal(size=n) + shift), 0.0)
    gain = gain_of(base - rival, 0.95, ODDS_OF_AVERAGE)
    fits = SimpleNamespace(
        candidates=[Candidate(0, "as is"), Candidate(0, "fine-tune")],
        weights=np.array([0.7, 0.3]), models=[None, None], choice=0,
    )  # fmt: skip
    names = SimpleNamespace(name_of=lambda source: "near")
    said = headline(names, fits, [], gain_fields(gain, float(base.mean())), gain.p_helps)
    assert said.startswith("Use the average (70 % as is: near, 30 % fine-tune: near): ")
    assert said.endswith(".")
    assert "nan" not in said
    if ", by " in said:
        assert gain.mean > 0.0
        assert gain.p_helps >= 0.55
    if gain.mean < 0.0:
        assert "% likely better than scratch, though" in said or "as likely" in said


@given(
    gains=st.lists(st.floats(-2.0, 0.9), min_size=1, max_size=4),
    average=st.one_of(st.just(float("nan")), st.floats(0.0, 1.0)),
    verdicts=st.lists(st.sampled_from(["same", "hurts", "undecided"]), min_size=4, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_reasons_for_scratch_are_true(gains, average, verdicts):
    rows = [SimpleNamespace(verdict="same", relative_gain=0.0, loss=1.0)] + [
        SimpleNamespace(verdict=v, relative_gain=g, loss=1.0 - g)
        for v, g in zip(verdicts, gains, strict=False)
    ]
    fits = SimpleNamespace(
        candidates=[Candidate(-1, "scratch")], weights=np.ones(1), models=[None], choice=0
    )
    names = SimpleNamespace(name_of=lambda source: "scratch")
    said = headline(names, fits, rows, {}, average)
    assert said.startswith("Train from scratch: no use of ")
    assert "nan" not in said
    if "gains 5 % or more" in said:
        assert max(gains) < 0.05
    else:
        assert "is likely better" in said


def test_notes_are_of_the_rows_or_of_a_source():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 3))
    rows[:2] = rows[-2:]
    data = rng.normal(size=(50, 3))
    advice = retemper.advise(rows, rows.sum(axis=1) + rng.normal(size=30), sources={
        "theirs": (data, data.sum(axis=1) + rng.normal(size=50))
    })  # fmt: skip
    said = dict(notes(advice))
    assert "are equal to others" in said["your rows"]
    assert said["theirs"] == "a linear model was fitted on its 50 rows"
    assert "  your rows: 4 rows are equal to others" in str(advice)


def test_shares_bear_signs_and_no_negative_zero():
    assert percents(0.2, -0.004, 3.0) == "+20 % [0, +100]"
    assert percents(-0.004, -1.5, 0.006) == "0 % [-150, +1]"


def test_a_verdict_names_what_hurts():
    """Odds are of the best use: beside "hurts" they would contradict it where that is another."""

    def row(**fields):
        return SimpleNamespace(**{"duplicate_of": None, "is_source": True, **fields})

    assert verdict_text(row(verdict="hurts", use="rescaled")) == "fine-tuning hurts"
    assert verdict_text(row(verdict="hurts", use="fine-tune")) == "hurts"
    assert verdict_text(row(verdict="helps", use="as is")) == "helps"
    assert verdict_text(row(verdict="hurts", use="as is", duplicate_of="b")) == "duplicate of b"


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_text_and_cells_have_the_units_of_y(scale):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    y = scale * (X.sum(axis=1) + rng.normal(size=40))
    advice = retemper.advise(
        X, y, sources={"near": np.full(4, scale)}, task="regression", budget=400,
        target_error=(1.5 * scale) ** 2,
    )  # fmt: skip
    text, cell = str(advice), advice._repr_html_()
    scratch = advice["scratch"]
    for end in (scratch.held_out_error, scratch.held_out_low, scratch.held_out_high):
        shown = f"{np.sqrt(end):,.0f}" if scale > 1 else f"{np.sqrt(end):.3g}"
        assert shown in text
        assert shown in cell
    assert "root mean squared error in units of y, 95 % intervals" in text
    wanted = "1,500" if scale > 1 else "1.5"
    assert f"labels for a root mean squared error of {wanted}: " in text
    near = advice["near"]
    gain = percents(near.relative_gain, near.relative_gain_low, near.relative_gain_high)
    assert gain in text
    assert gain in cell
    assert "mean squared error" not in text.replace("root mean squared error", "")
    # whoever computes with them has the squares
    assert np.isclose(scratch.held_out_error, scratch.loss)
