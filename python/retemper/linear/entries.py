"""Laws of the entries of the whitened inputs: three by name, any other as a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._random import replica_generator
from retemper._validation import FloatArray, as_float_array, check_shape

__all__ = ["Entries", "check_law", "core_law", "draw_entries", "name_of"]

#: What ``entries=`` takes.
Entries: TypeAlias = (
    Literal["gaussian", "rademacher", "student"]
    | Callable[[np.random.Generator, tuple[int, int]], ArrayLike]
)

#: Rows and columns that are drawn to see whether a law has mean 0 and variance 1.
_PROBE = (1000, 250)
#: Standard errors by which the two may miss, and what they may miss by at the most.
_N_SIGMAS, _LARGEST_MISS = 6.0, 0.5


def check_law(entries: Entries) -> Entries:
    """Refuse what is no law of mean 0 and variance 1.

    Parameters
    ----------
    entries : {"gaussian", "rademacher", "student"} or callable
        The law.

    Returns
    -------
    str or callable
        The same.

    Raises
    ------
    TypeError
        If it is neither a name nor callable.
    ValueError
        If the name is unknown, or what the function returns has another shape, is not finite, does
        not follow from ``rng`` alone, or in 250 000 draws the mean is not 0 or the mean square not
        1 within six standard errors and within one half.
    """
    if not callable(entries):
        if isinstance(entries, str):
            return check_parameter(entries, "entries")  # type: ignore[no-any-return]
        raise TypeError(
            "entries must be a name, 'gaussian', 'rademacher' or 'student', or a function "
            f"(rng, size) -> array, got {entries!r:.60}"
        )
    small = [draw_entries(replica_generator((0, 0), 0, 0), entries, (2, 3)) for _ in range(2)]
    if (small[0] != small[1]).any():
        raise ValueError("entries must draw from rng alone: equal generators gave other values")
    z = draw_entries(replica_generator((0, 0), 1, 0), entries, _PROBE)
    # rows are independent of each other, entries of one row need not be: errors are those of rows
    found = np.stack([z.mean(axis=1), np.square(z).mean(axis=1)])
    error = found.std(axis=1, ddof=1) / math.sqrt(_PROBE[0])
    mean, square = found.mean(axis=1)
    allowed = np.minimum(_N_SIGMAS * error, _LARGEST_MISS) + 1e-9
    if (abs(found.mean(axis=1) - [0.0, 1.0]) > allowed).any():
        raise ValueError(
            f"entries must have mean 0 and variance 1; of {z.size} drawn by {name_of(entries)} "
            f"the mean is {mean:.4g} and the mean square {square:.4g}"
        )
    return entries


def name_of(entries: Entries) -> str:
    """The name of a law: its own, or that of the function.

    Parameters
    ----------
    entries : str or callable
        The law.

    Returns
    -------
    str
        Its name.
    """
    if isinstance(entries, str):
        return entries
    return str(getattr(entries, "__name__", type(entries).__name__))


def core_law(entries: Entries) -> core.linear.Entries:
    """The law as the core knows it: what a function draws is given to it.

    Parameters
    ----------
    entries : str or callable
        The law.

    Returns
    -------
    Entries
        Of the core.
    """
    return core.linear.Entries[entries if isinstance(entries, str) else "given"]


def draw_entries(rng: np.random.Generator, law: Entries, shape: tuple[int, int]) -> FloatArray:
    """Independent entries of mean 0 and variance 1.

    Parameters
    ----------
    rng : Generator
        Where they are drawn from.
    law : {"gaussian", "rademacher", "student"} or callable
        Their law.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray
        Of that shape.

    Raises
    ------
    ValueError
        If a function returns another shape, or what is not finite.
    """
    if callable(law):
        drawn = as_float_array(law(rng, shape), "entries(rng, size)", ndim=2)
        check_shape(drawn, shape, "entries(rng, size)")
        return drawn
    if law == "gaussian":
        return rng.normal(size=shape)
    if law == "rademacher":
        return rng.choice([-1.0, 1.0], size=shape)
    return rng.standard_t(5, size=shape) * math.sqrt(3.0 / 5.0)
