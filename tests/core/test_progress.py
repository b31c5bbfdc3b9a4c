"""Progress: by itself after five seconds where somebody sees it, or on a user's own bar."""

import io
import sys

import numpy as np
import pytest

import retemper
from retemper import _progress
from retemper._progress import shown_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(progress, total=4):
    with shown_progress(progress, "work", "steps") as watch:
        for k in range(total):
            if watch is not None:
                watch(k + 1, total)


def test_a_terminal_shows_it_after_the_patience(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    run(None)
    assert not screen.getvalue()
    run(False)
    assert not screen.getvalue()
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(clock)))
    run(None)
    said = screen.getvalue().split("\r")
    assert said[1].startswith("work [##################......] 3 of 4 steps, about 2 s left")
    assert said[-2].strip() == ""  # taken away at the end
    run(True)
    assert "1 of 4 steps" in screen.getvalue()


def test_nothing_where_nobody_sees_it(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    run(True)
    assert not screen.getvalue()


MADE = []


class Bar:
    """What tqdm's bars have."""

    def __init__(self, total=None, desc=""):
        self.total, self.desc, self.n, self.closed = total, desc, 0, False
        MADE.append(self)

    def update(self, n):
        self.n += n

    def close(self):
        self.closed = True


def test_bars_are_moved_on_and_only_ours_are_closed():
    mine = Bar()
    run(mine)
    assert (mine.n, mine.total, mine.closed) == (4, 4, False)
    run(Bar)
    made = MADE[-1]
    assert (made.n, made.total, made.desc, made.closed) == (4, 4, "work", True)


def test_bars_of_tqdm():
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(file=io.StringIO()) as bar:
        run(bar)
        assert (bar.n, bar.total) == (4, 4)


def test_advise_takes_every_kind():
    rows = np.random.default_rng(0).normal(size=(12, 2))
    seen = []
    for progress in (lambda *counts: seen.append(counts), Bar(), False):
        retemper.advise(rows, rows.sum(axis=1), sources=[[1.0, 0.5]], progress=progress, cv=2)
    assert seen[-1] == (8, 8)
    assert MADE[-1].n == 8
    with pytest.raises(TypeError, match="progress must be None, True, False, a function"):
        retemper.advise(rows, rows[:, 0], sources=[[1.0, 0.5]], progress=7)


def test_a_notebook_shows_it():
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    code = "from tests.core.test_progress import run; run(True)"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=60).execute()
    assert book.cells[0].outputs[0].output_type == "display_data"
