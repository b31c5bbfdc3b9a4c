"""The recorded runs that stand in the repository, and the commands that read them."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "bench" / "records"
PAGE = (ROOT / "docs" / "networks.md").read_text("utf-8")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        yield importlib.import_module("calibrate_networks")
    finally:
        sys.path.remove(str(ROOT / "bench"))


@pytest.fixture(scope="module")
def printed(bench):
    """What the two commands of the page print."""
    out = {}
    for name, words in (
        ("networks", ["--record", str(RECORDS / "networks.jsonl"), "--new-from", "0"]),
        ("sources", ["--sources", str(RECORDS / "sources.jsonl")]),
    ):
        text, before = io.StringIO(), sys.argv
        sys.argv = ["calibrate_networks.py", *words, "--report"]
        try:
            with contextlib.redirect_stdout(text), np.errstate(all="ignore"):
                bench.main()
        finally:
            sys.argv = before
        out[name] = text.getvalue()
    return out


@pytest.mark.parametrize("name", ["networks", "sources"])
def test_the_record_is_small_and_has_every_cell_once(bench, name):
    path = RECORDS / f"{name}.jsonl"
    assert path.stat().st_size < 300_000
    cells = [json.loads(line) for line in path.read_text().splitlines()]
    keys = [(r["pair"], r["kind"], r["seed"], r["n"]) for r in cells]
    assert len(set(keys)) == len(keys) > 40
    assert {r["pair"] for r in cells} <= {pair[0] for pair in bench.PAIRS}


def test_coverage_is_that_of_the_library_and_stands_on_the_page(bench, printed):
    from retemper.networks.record import level_interval

    holds = []
    for r in bench.read(RECORDS / "networks.jsonl"):
        for name, (_, rate) in r["said"].items():
            if name in r["true"]:
                _, low, high = level_interval(name, r["n"], rate, r["chance"])
                holds.append(low <= r["true"][name] <= high)
    said = f"{np.mean(holds):.3f} of {len(holds)}"
    assert said in printed["networks"]
    assert said in PAGE
    assert 0.9 <= np.mean(holds) <= 0.97  # what was asked for


def rows_of(text, head):
    """Lines of a table of the page below a heading of its first cell."""
    start = PAGE.index(head)
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE[start:].split("\n\n")[0].splitlines()[2:]
    ]


def test_table_of_levels_is_what_the_command_prints(printed):
    lines = [line.split() for line in printed["networks"].splitlines()]
    found = {(w[0], w[1]): w[3:] for w in lines if len(w) == 6 and w[1] in ("60", "200")}
    names = {"probe": "probe", "last block": "partial", "full": "full", "scratch": "scratch"}
    for name, *cells in rows_of(PAGE, "| recipe, later networks |"):
        for cell, n in zip(cells, ("60", "200"), strict=True):
            mean, sd, share = found[names[name], n]
            assert cell == f"{mean}, {sd}; {share}"


def test_table_of_source_or_scratch_is_what_the_command_prints(printed):
    parts = re.split(r"\n(\d+) labels", printed["sources"])
    tables = {int(n): text for n, text in zip(parts[1::2], parts[2::2], strict=True)}
    for name, *cells in rows_of(PAGE, "| judged by |"):
        for cell, n in zip(cells, (20, 60), strict=True):
            line = next(x for x in tables[n].splitlines() if x.startswith(name + " "))
            *_, share, lost = line.split()
            assert cell == f"{share}, {lost}", (name, n)


def test_limit_of_the_error_count_is_that_of_paired_draws(bench):
    """Rows on which the two networks differ are drawn; the sign of their sum is asked for."""
    rng = np.random.default_rng(0)
    n, worse, better = 60, 0.25, 0.15  # shares of rows that scratch alone, and source alone, loses
    d = worse - better
    r = {"gap": [d] * 3, "sd": [float(np.sqrt(worse + better - d**2))] * 3, "said": [0.0, 1.0]}
    draws = rng.choice([1.0, -1.0, 0.0], p=[worse, better, 1 - worse - better], size=(40_000, n))
    total = draws.sum(axis=1)
    want = np.mean((total > 0) + 0.5 * (total == 0))
    got = bench.source_rules(n)["limit: n fresh labels, errors"](r)
    assert got == pytest.approx(want, abs=0.01)


def test_losses_of_rows_by_hand(bench):
    value = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.6, 0.3]])) + 7.0
    error, squared, log = bench.row_losses(value, np.array([0, 2]))
    assert error.tolist() == [0.0, 1.0]
    assert squared == pytest.approx([0.25 + 2 / 16, 0.01 + 0.36 + 0.49])
    assert log == pytest.approx(-np.log([0.5, 0.3]))


def test_without_images_nothing_is_run(bench, monkeypatch):
    monkeypatch.delenv("RETEMPER_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["x", "--sources", "nowhere.jsonl"])
    with pytest.raises(SystemExit, match="nothing was run"):
        bench.main()
