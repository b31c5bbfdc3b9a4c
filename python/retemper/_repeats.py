"""Independent repeats of an experiment: the loop, the streams, the means with their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from retemper._control import Progress
from retemper._parallel import map_threads
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_integer

__all__ = ["Means", "mean_and_stderr", "run_repeats"]

T = TypeVar("T")


def run_repeats(
    experiment: Callable[[int, Progress], T],
    n_repeats: int,
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> list[T]:
    """Run an experiment several times, on threads over the repeats.

    Parameters
    ----------
    experiment : callable
        Takes the number of the repeat, from which it makes its own random stream, and a progress
        callback to hand to the core, through which Ctrl-C reaches it.
    n_repeats : int
        Repeats, at least 2: a standard error needs two.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    progress : callable or None, default=None
        Called with (repeats done, repeats).

    Returns
    -------
    list
        What every repeat returned, in order.

    Raises
    ------
    ValueError
        If ``n_repeats`` is below 2.
    TypeError
        If it is not an integer.
    """
    n_repeats = check_integer(n_repeats, "n_repeats", low=2)
    return map_threads(experiment, n_repeats, effective_n_threads(n_jobs), progress, unit="repeats")


class Means(NamedTuple):
    """Means over repeats, and their standard errors, by quantity; numbers for numbers.

    Attributes
    ----------
    mean : dict of str to float or ndarray
        Mean over the repeats.
    stderr : dict of str to float or ndarray
        Standard error of that mean; NaN where a value is infinite.
    """

    mean: dict[str, FloatArray | float]
    stderr: dict[str, FloatArray | float]


def mean_and_stderr(samples: Mapping[str, FloatArray]) -> Means:
    """Means over the first axis, with standard errors.

    Parameters
    ----------
    samples : mapping of str to ndarray of shape (n_repeats, ...)
        Values of every quantity in every repeat.

    Returns
    -------
    Means
        Means and standard errors.
    """
    mean: dict[str, FloatArray | float] = {}
    stderr: dict[str, FloatArray | float] = {}
    for name, values in samples.items():
        array = np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # what is infinite has no standard error: NaN
            centre = array.mean(axis=0)
            error = array.std(axis=0, ddof=1) / np.sqrt(len(array))
        mean[name] = float(centre) if array.ndim == 1 else centre
        stderr[name] = float(error) if array.ndim == 1 else error
    return Means(mean, stderr)
