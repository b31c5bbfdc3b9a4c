"""Limits of an iteration and the progress callback, as every system takes them."""

from __future__ import annotations

import contextlib
import contextvars
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias, TypeVar

from retemper._results import OnFailure, Status

__all__ = ["OnFailure", "Progress", "interruptible", "interrupts_wait", "report_status"]
from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning

#: Called from time to time with (done, total); an exception raised in it stops the work.
Progress: TypeAlias = Callable[[int, int], object]

T = TypeVar("T")
#: Products of a cubic cost that end within a tenth of a second on any machine.
_SHORT = 2e8


def interruptible(work: Callable[..., T], *args: Any, cost: float, **options: Any) -> T:
    """Call a long routine of a library so that Ctrl-C raises at once.

    BLAS and LAPACK look at no signal. A call that is long is made by a thread of its own, and the
    main thread waits for it. After an interrupt the routine still ends, on arrays that nobody else
    holds.

    Parameters
    ----------
    work : callable
        What is called; it has no effect but its result.
    *args, **options
        Its arguments.
    cost : float
        Multiplications, roughly.

    Returns
    -------
    object
        What it returns; what it raises is raised here.
    """
    if cost < _SHORT or threading.current_thread() is not threading.main_thread():
        return work(*args, **options)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(*args, **options))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.05)  # with a limit: an unlimited wait sees no signal on Windows
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """A short piece of work of a library that Ctrl-C would leave half done: it comes afterwards."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[-1])


def report_status(
    status: Status,
    residual: float,
    what: str,
    *,
    on_failure: OnFailure = "warn",
    stacklevel: int = 3,
) -> None:
    """Warn about, or raise, anything but convergence.

    Parameters
    ----------
    status : Status
        How the iteration ended.
    residual : float
        Its last residual, named in the message.
    what : str
        The iteration, for the message.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do.
    stacklevel : int, default=3
        As in `warnings.warn`; 3 is the caller of the function that calls this one.

    Raises
    ------
    NumericalError
        If ``on_failure="raise"`` and the status is not converged.
    """
    if status is Status.CONVERGED or on_failure == "ignore":
        return
    message = f"{what} {status.sentence} (residual {residual:.3g})"
    if on_failure == "raise":
        raise NumericalError(message)
    category = (
        ConvergenceWarning if status in (Status.MAX_ITER, Status.STALLED) else ValidityWarning
    )
    warnings.warn(message, category, stacklevel=stacklevel)
