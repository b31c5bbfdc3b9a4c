"""Opinions of systems: one line where they change the action, each with its record on the suite."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import retemper
from retemper import _progress
from retemper.advisor import Opinion
from retemper.advisor.opinions import ASK, SYSTEMS
from retemper.advisor.suite_record import SUITE_RECORD, SuiteRecord
from retemper.advisor.wording import changes_action, sources_in_use

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(40, 10)), RNG.normal(size=10)
Y = X @ W + RNG.normal(size=40)
PAGE = Path(__file__).parents[2] / "docs" / "advise.md"


@pytest.fixture(scope="module")
def advice():
    rows = RNG.normal(size=(80, 10))
    return retemper.advise(X, Y, sources={"s": (rows, rows @ W)}, systems="all")


def count(cell):
    return 0 if cell == "—" else int(cell)


def test_the_record_is_the_table_of_the_docs():
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if cells[0] in SYSTEMS and len(cells) == 10:
            inside, _, intervals = cells[5].partition(" of ")
            found[cells[0]] = SuiteRecord(
                cases=count(cells[1]), given=count(cells[2]), right=count(cells[3]),
                wrong=count(cells[4]), inside=count(inside), intervals=count(intervals or "—"),
                changed=count(cells[6]), changed_right=count(cells[7]),
            )  # fmt: skip
    assert found == SUITE_RECORD


def test_counts_of_the_record_fit_together():
    assert set(SUITE_RECORD) == set(SYSTEMS)
    for record in SUITE_RECORD.values():
        assert record.right + record.wrong <= record.given <= record.cases
        assert record.inside <= record.intervals <= record.given
        assert record.changed_right <= record.changed <= record.given
        assert record.changed_right <= record.right


def test_every_opinion_carries_its_record(advice):
    assert {o.system for o in advice.opinions} == set(SYSTEMS)
    for opinion in advice.opinions:
        assert opinion.record == SUITE_RECORD[opinion.system].text
    linear = SUITE_RECORD["linear"]
    (said,) = [o for o in advice.opinions if (o.system, o.source) == ("linear", "s")]
    share = f"{100 * linear.inside / linear.intervals:.0f} % of {linear.intervals}"
    assert f"its interval held in {share}" in said.record
    assert f"right in {linear.right} of {linear.right + linear.wrong} cases" in said.record


def test_an_opinion_has_a_line_only_where_it_changes_the_action(advice, monkeypatch):
    said = {o.system: o for o in advice.opinions if o.source == "s"}
    assert said["linear"].verdict == "helps"
    assert "linear, s: " not in str(advice)  # it is used anyway
    assert re.search(r"  linear.*: nothing that changes the action\n", str(advice))
    assert "  diagonal, perceptron: no answer" in str(advice)

    def contrary(task, source, scores, n_jobs):
        return Opinion(system="widenet", source=source.name, advice="no coupling", action="leave")

    monkeypatch.setitem(ASK, "widenet", contrary)
    other = retemper.advise(X, Y, sources={"s": W}, systems="widenet")
    line = f"widenet, s: no coupling ({SUITE_RECORD['widenet'].text})"
    assert f"systems:\n  {line}" in str(other)
    assert "nothing that changes" not in str(other)


def test_a_page_has_the_lines(advice, tmp_path):
    page = Path(advice.to_html(tmp_path / "a.html")).read_text()
    assert "nothing that changes the action" in page
    assert page.count("What each system says from its own theory") == 1


@pytest.mark.parametrize(
    ("action", "used", "expected"),
    [
        ("use", {"s"}, False), ("use", set(), True), ("leave", {"s"}, True),
        ("leave", set(), False), ("", {"s"}, False), ("stop early", {"s"}, True),
    ],
)  # fmt: skip
def test_what_changes_the_action(action, used, expected):
    said = Opinion(system="linear", source="s", action=action)
    assert changes_action(said, used) is expected


def test_a_mixture_uses_all_sources():
    assert sources_in_use(["scratch", "a"], ["a", "b"]) == {"a"}
    assert sources_in_use(["scratch"], ["a", "b"]) == set()
    assert sources_in_use(["mixture"], ["a", "b"]) == {"a", "b"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("patience", [0.0, 3600.0])
def test_progress_appears_by_itself_after_the_patience(monkeypatch, patience):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert _progress.PATIENCE == 5.0
    monkeypatch.setattr(_progress, "PATIENCE", patience)
    retemper.advise(X, Y, sources={"s": W}, systems="linear")
    shown = screen.getvalue()
    assert ("advise [" in shown) == ("of 20 splits" in shown) == (patience == 0.0)
    assert ("ask systems [" in shown) == (patience == 0.0)
    monkeypatch.setattr(_progress, "PATIENCE", 0.0)
    retemper.advise(X, Y, sources={"s": W}, systems="linear", progress=False)
    assert screen.getvalue() == shown
