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


CALLS = {
    "linear.curve": lambda **o: retemper.linear.curve(LINEAR, {"n_samples": [5, 9]}, **o),
    "diagonal.simulate": lambda **o: retemper.diagonal.simulate(
        retemper.diagonal.DiagonalModel(0.5), n_features=60, n_repeats=3, **o
    ),
    "diagonal.curve": lambda **o: retemper.diagonal.curve(
        retemper.diagonal.DiagonalModel(0.5), {"alpha": [0.3, 0.5]}, **o
    ),
    "perceptron.simulate": lambda **o: retemper.perceptron.simulate(
        retemper.perceptron.PerceptronModel(1.0, 2.0), n_features=60, n_repeats=3, **o
    ),
    "perceptron.curve": lambda **o: retemper.perceptron.curve(
        retemper.perceptron.PerceptronModel(1.0, 2.0), {"kappa": [0.8, 1.0]}, **o
    ),
    "sweep": lambda **o: retemper.sweep(
        "retemper.linear:deep_scale", {"a2": [0.2], "p2": [1.0], "q2": [3.0], "depth": [1, 2]}, **o
    ),
    "compare": lambda **o: retemper.compare({"mine": (LINEAR, {"n_repeats": 3})}, **o),
}
LINEAR = retemper.linear.LinearModel(8, np.ones(12), noise=0.1)


@pytest.mark.filterwarnings("ignore::retemper.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
@pytest.mark.parametrize("name", CALLS)
def test_every_long_call_moves_a_bar_of_the_user(name, monkeypatch):
    seen = []
    plain = CALLS[name](progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    bar = Bar()
    CALLS[name](progress=bar)
    assert (bar.n, bar.total) == (seen[-1][0], seen[-1][1])
    MADE.clear()
    CALLS[name](progress=Bar)
    assert [(b.n, b.closed) for b in MADE] == [(seen[-1][0], True)]
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    CALLS[name](progress=False)
    assert not screen.getvalue()
    with pytest.raises(TypeError, match="progress must be None, True, False, a function"):
        CALLS[name](progress=3)
    assert type(plain) is type(CALLS[name]())


def test_a_call_inside_another_does_not_show_itself(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(_progress, "PATIENCE", 0.0)
    retemper.compare({"mine": (LINEAR, {"n_repeats": 3})})
    assert "compare [" in screen.getvalue()
    assert "repeats" not in screen.getvalue()
    retemper.perceptron.simulate(
        retemper.perceptron.PerceptronModel(1.0, 2.0), n_features=60, n_repeats=3
    )
    assert "3 of 3 repeats" in screen.getvalue()


def test_an_error_in_the_report_stops_the_threads():
    import threading
    import time

    from retemper._parallel import map_threads

    stopped = []

    def work(k, watch):
        try:
            while k:  # all but the first go on until they are stopped
                watch()
                time.sleep(0.001)
        except KeyboardInterrupt:
            stopped.append(k)
            raise

    def report(done, total):
        raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        map_threads(work, 1000, 2, report)
    assert 0 < len(stopped) < 1000
    assert threading.active_count() == before
