"""The one place that converts and refuses: arrays and scalars on their way to the core."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
T = TypeVar("T")

#: Entries beyond this overflow when squared and summed.
LARGEST = 1e120
#: A size, a count or a number of steps beyond this would not come to an end.
MOST = 10**9


def plain_array(value: Any) -> Any:
    """Tensors of PyTorch, also with gradients, and bfloat16 as arrays that NumPy knows.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    object
        An array for a tensor or for numbers of bfloat16; anything else as it is.
    """
    if hasattr(value, "detach") and hasattr(value, "is_floating_point"):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if getattr(getattr(value, "dtype", None), "name", "") == "bfloat16":
        value = np.asarray(value).astype(np.float64)
    return value


def as_float_array(
    value: ArrayLike, name: str, *, ndim: int | tuple[int, ...] = 1, largest: float = LARGEST
) -> FloatArray:
    """C-contiguous float64 array with finite entries of a given rank.

    Parameters
    ----------
    value : array_like
        Real numbers or booleans. Sparse, complex, text and object input is refused.
    name : str
        The argument's name, for the message.
    ndim : int or tuple of int, default=1
        Allowed ranks.
    largest : float, default=1e120
        Size of entries; infinity lets infinite ones pass.

    Returns
    -------
    ndarray of float64
        The input itself where it already fits, a converted copy otherwise.

    Raises
    ------
    TypeError
        If the entries are not real numbers, or the input is sparse.
    ValueError
        If the rank is not allowed, or an entry is NaN or beyond ``largest``.
    """
    if hasattr(value, "tocsr") or type(value).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{name} is sparse; pass a dense array, e.g. {name}.toarray()")
    try:
        raw = np.asarray(plain_array(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    if raw.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, got dtype {raw.dtype}")
    ranks = (ndim,) if isinstance(ndim, int) else ndim
    if raw.ndim not in ranks:
        wanted = " or ".join(f"{r}-D" for r in ranks)
        raise ValueError(f"{name} must be {wanted}, got an array of shape {raw.shape}")
    array = np.ascontiguousarray(raw, dtype=np.float64).reshape(raw.shape)
    check_entries(array, name, largest=largest)
    return array


def check_entries(array: FloatArray, name: str, *, largest: float = LARGEST) -> None:
    """Refuse NaN, infinite and overflowing entries, naming the first."""
    if array.size and not (array.max() <= largest and array.min() >= -largest):
        where = np.argwhere(~(np.abs(array) <= largest))[0]
        index = ", ".join(str(i) for i in where)
        domain = "numbers" if largest == math.inf else f"finite and at most {largest:g} in size"
        raise ValueError(f"{name}[{index}] is {array[tuple(where)]}; entries must be {domain}")


def check_shape(array: NDArray[Any], shape: tuple[int | None, ...], name: str) -> None:
    """Refuse an array whose shape differs from ``shape`` (None: any length)."""
    if len(shape) != array.ndim or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if s is None else str(s) for s in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")


def check_real(
    value: Any,
    name: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
    allow_inf: bool = False,
) -> float:
    """Real scalar in an interval.

    Parameters
    ----------
    value : float
        The argument.
    name : str
        Its name, for the message.
    low, high : float
        Ends of the domain.
    open_low, open_high : bool, default=False
        Whether the end itself is excluded.
    allow_inf : bool, default=False
        Whether an infinite value inside the domain is accepted.

    Returns
    -------
    float
        The value.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it lies outside the domain, is NaN, or is infinite where that is not allowed.
    """
    if isinstance(value, str | bytes | bool) or not (
        hasattr(value, "__float__") and np.ndim(value) == 0
    ):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if np.iscomplexobj(value):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    x = float(value)
    inside = (x > low if open_low else x >= low) and (x < high if open_high else x <= high)
    if not inside or (math.isinf(x) and not allow_inf):
        left = "(" if open_low or math.isinf(low) else "["
        right = ")" if open_high or (math.isinf(high) and not allow_inf) else "]"
        raise ValueError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {x}")
    return x


def check_integer(value: Any, name: str, *, low: int = 0, high: int | None = None) -> int:
    """Integer scalar in a closed range.

    Parameters
    ----------
    value : int
        The argument; booleans and floats are refused.
    name : str
        Its name, for the message.
    low : int, default=0
        Smallest allowed value.
    high : int or None, default=None
        Largest allowed value; None for `MOST`.

    Returns
    -------
    int
        The value.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it lies outside the range.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        x = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if high is None and x > MOST:
        raise ValueError(f"{name} must be at most {MOST:.0e}, got {x}")
    if x < low or (high is not None and x > high):
        domain = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be {domain}, got {x}")
    return x


def check_kind(value: object, name: str, *kinds: type) -> None:
    """Refuse anything but an instance of a class.

    Parameters
    ----------
    value : object
        The argument.
    name : str
        Its name, for the message.
    *kinds : type
        The classes that are allowed.

    Raises
    ------
    TypeError
        If it is none of them.
    """
    if not isinstance(value, kinds):
        wanted = " or a ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be a {wanted}, got {value!r:.60}")


def as_items(value: Any, name: str) -> list[Any]:
    """The items of an iterable that is not a text.

    Parameters
    ----------
    value : iterable
        The argument.
    name : str
        Its name, for the message.

    Returns
    -------
    list
        Its items.

    Raises
    ------
    TypeError
        If it is one value, a text, or anything else without items.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise TypeError(f"{name} must be a sequence, got {value!r:.60}")
    with naming(name):  # an array without dimensions
        return list(value)


def check_texts(value: Any, name: str) -> None:
    """Refuse anything but a sequence of texts.

    Parameters
    ----------
    value : sequence of str
        The argument.
    name : str
        Its name, for the message.

    Raises
    ------
    TypeError
        If it is no sequence, or an item is no text.
    """
    for i, item in enumerate(as_items(value, name)):
        check_kind(item, f"{name}[{i}]", str)


def as_path(value: Any, name: str = "path") -> Path:
    """A file or folder as `Path`.

    Parameters
    ----------
    value : str or path-like
        The argument.
    name : str, default="path"
        Its name, for the message.

    Returns
    -------
    Path
        The same place.

    Raises
    ------
    TypeError
        If it is neither a text nor path-like.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path or text, got {value!r:.60}")
    return Path(value)


def check_memory(n_numbers: float, **sizes: float) -> None:
    """Refuse sizes whose arrays cannot exist on this machine.

    Parameters
    ----------
    n_numbers : float
        Float64 numbers that the call holds at once, at least.
    **sizes : float
        The arguments that decide it, by name.

    Raises
    ------
    ValueError
        If they need more than the memory of the machine.
    """
    try:
        memory = float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no such figure on this system
        memory = 2.0**40
    if not 8.0 * n_numbers <= memory:
        given = " and ".join(f"{name}={value:g}" for name, value in sizes.items())
        raise ValueError(
            f"{given} would need {8.0 * n_numbers / 2**30:.3g} GiB of memory; this machine has "
            f"{memory / 2**30:.3g} GiB"
        )


@contextmanager
def naming(*names: str) -> Iterator[None]:
    """Inside the block, an error that names none of the arguments is raised again with them.

    Parameters
    ----------
    *names : str
        The arguments that somebody else's checks are given.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{' and '.join(names)}: {text}") from error


def check_choice(value: T, name: str, choices: Collection[T], *, besides: str = "") -> T:
    """One of a few allowed values.

    Parameters
    ----------
    value : object
        The argument.
    name : str
        Its name, for the message.
    choices : collection
        What is allowed.
    besides : str, default=""
        What else the caller takes and has looked for already, for the message.

    Returns
    -------
    object
        The value.

    Raises
    ------
    ValueError
        If it is not among the choices.
    """
    try:
        known = value in choices
    except (TypeError, ValueError):
        known = False
    if not known:
        listed = ", ".join(sorted(map(repr, choices)))
        domain = f"one of {listed}" if len(choices) > 1 else listed
        other = f"{besides} or " if besides else ""
        raise ValueError(f"{name} must be {other}{domain}; got {value!r}")
    return value
