"""Limits of an iteration and the progress callback, as every system takes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeAlias

from retemper._results import OnFailure, Status

__all__ = ["OnFailure", "Progress", "report_status"]
from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning

#: Called from time to time with (done, total); an exception raised in it stops the work.
Progress: TypeAlias = Callable[[int, int], object]


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
