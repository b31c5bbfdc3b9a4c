"""How far a long call is: shown by itself after five seconds, or on a bar of the user."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from retemper._control import Progress

__all__ = ["ProgressLike", "as_callback", "shown_progress"]

#: Seconds before a call shows how far it is.
PATIENCE = 5.0
_WIDTH = 24


class Bar(Protocol):
    """What bars as those of tqdm have."""

    total: Any

    def update(self, n: int, /) -> object:
        """Move on by n."""


#: What a ``progress`` argument may be.
ProgressLike: TypeAlias = "Progress | bool | Bar | type[Any] | None"
#: Whether a call of this thread shows how far it is, so that the calls inside it do not.
_here = threading.local()


def as_callback(progress: ProgressLike, title: str) -> Progress | None:
    """What is called with (done, total); None where the user left it to the call.

    Parameters
    ----------
    progress : None, bool, callable or object
        As in `shown_progress`.
    title : str
        What is done.

    Returns
    -------
    callable or None
        Does nothing for False; ends a bar that was made here when all is done.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if progress is None:
        return None
    if progress is True:
        show = _writer(title)
        return _silent if show is None else _Bar(show, "", 0.0)
    if progress is False:
        return _silent
    if hasattr(progress, "update") and (isinstance(progress, type) or hasattr(progress, "total")):
        return _Mover(progress, title)
    if callable(progress):
        return progress
    raise TypeError(
        "progress must be None, True, False, a function of (done, total), or a bar with update "
        f"and total, got {progress!r:.60}"
    )


def _silent(done: int, total: int) -> None:
    """Show nothing."""


def _is_seen() -> bool:
    """Whether this call may show itself: alone, on the main thread of the user's process."""
    return (
        not getattr(_here, "busy", False)
        and threading.current_thread() is threading.main_thread()
        and multiprocessing.current_process().name == "MainProcess"
    )


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
    outer = getattr(_here, "busy", False)
    given: Progress | None = None
    if progress is not None and progress is not True:
        given = as_callback(progress, title)
    elif progress or _is_seen():
        show = _writer(title)
        given = None if show is None else _Bar(show, unit, 0.0 if progress else PATIENCE)
    _here.busy = True
    try:
        yield None if given is _silent else given
    finally:
        _here.busy = outer
        if isinstance(given, _Bar | _Mover):
            given.close()


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
        if done >= total:
            self.close()

    def close(self) -> None:
        if self.bar is not None and self.bar is not self.given:
            self.bar.close()
            self.bar = None


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
        if done >= total:
            self.close()

    def close(self) -> None:
        if self.is_shown:
            self.show("")
        self.is_shown = False


def _writer(title: str) -> Callable[[str], None] | None:
    """What shows a line on this screen; None where nobody would see it."""
    python: Any = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    if hasattr(shell, "kernel"):
        handle: Any = None

        def update(line: str) -> None:
            nonlocal handle
            data = {"text/plain": line and f"{title} {line}"}
            if handle is None:  # made when there is something to show
                handle = python.display.display(data, raw=True, display_id=True)
            else:
                handle.update(data, raw=True)

        return update
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
