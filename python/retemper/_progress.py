"""How far a long call is: shown by itself after five seconds, or on a bar of the user."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from retemper._control import Progress

__all__ = ["shown_progress"]

#: Seconds before a call shows how far it is.
PATIENCE = 5.0
_WIDTH = 24


@contextmanager
def shown_progress(progress: Any, title: str, unit: str) -> Iterator[Progress | None]:
    """The callback behind a ``progress`` argument.

    Parameters
    ----------
    progress : None, bool, callable or object
        None shows a bar on a terminal or in a notebook once the work has taken five seconds; False
        shows none, True one from the start; a callable is called with (done, total); a bar with
        ``update`` and ``total``, as those of tqdm, or a class of such bars, is moved on.
    title, unit : str
        What is done, and what is counted.

    Yields
    ------
    callable or None
        Takes (done, total); an exception raised in it stops the work.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if progress is False:
        yield None
    elif progress is None or progress is True:
        show = _writer(title)
        if show is None:
            yield None
            return
        bar = _Bar(show, unit, 0.0 if progress else PATIENCE)
        try:
            yield bar
        finally:
            bar.close()
    elif hasattr(progress, "update") and (isinstance(progress, type) or hasattr(progress, "total")):
        mover = _Mover(progress, title)
        try:
            yield mover
        finally:
            mover.close()
    elif callable(progress):
        yield progress
    else:
        raise TypeError(
            "progress must be None, True, False, a function of (done, total), or a bar with update "
            f"and total, got {progress!r:.60}"
        )


class _Mover:
    """A user's bar as a callback; bars that were made here are closed here."""

    def __init__(self, bar: Any, title: str) -> None:
        self.given = bar
        self.bar: Any = None
        self.title = title
        self.done = 0

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            make = isinstance(self.given, type)
            self.bar = self.given(total=total, desc=self.title) if make else self.given
            self.bar.total = total
        self.bar.update(done - self.done)
        self.done = done

    def close(self) -> None:
        if self.bar is not None and self.bar is not self.given:
            self.bar.close()


class _Bar:
    """A line that is written again and again, and taken away at the end."""

    def __init__(self, show: Callable[[str], None], unit: str, patience: float) -> None:
        self.show = show
        self.unit = unit
        self.patience = patience
        self.start = self.last = time.monotonic()
        self.is_shown = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        spent = now - self.start
        if spent < self.patience or (self.is_shown and now - self.last < 0.1 and done < total):
            return
        self.last = now
        self.is_shown = True
        filled = _WIDTH * done // max(total, 1)
        left = spent * (total - done) / max(done, 1)
        self.show(
            f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done} of {total} {self.unit}, "
            f"about {left:.0f} s left"
        )

    def close(self) -> None:
        if self.is_shown:
            self.show("")


def _writer(title: str) -> Callable[[str], None] | None:
    """What shows a line on this screen; None where nobody would see it."""
    python: Any = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    if hasattr(shell, "kernel"):
        handle = python.display.display({"text/plain": ""}, raw=True, display_id=True)
        if handle is None:
            return None
        return lambda line: handle.update({"text/plain": line and f"{title} {line}"}, raw=True)
    stream = sys.stderr
    if stream is None or not stream.isatty():
        return None
    width = 0

    def show(line: str) -> None:
        nonlocal width
        text = line and f"{title} {line}"
        stream.write("\r" + text.ljust(width) + ("" if text else "\r"))
        stream.flush()
        width = len(text)

    return show
