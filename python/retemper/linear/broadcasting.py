"""Arguments of the plain functions: arrays that are broadcast against each other."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import FloatArray

#: A float where every argument is a scalar, an array otherwise.
FloatOrArray: TypeAlias = float | FloatArray

ANY_RANK = tuple(range(9))


def require(ok: NDArray[np.bool_], array: FloatArray, name: str, domain: str) -> None:
    """Refuse the first entry of an array outside its domain, naming it."""
    if not ok.all():
        index = tuple(np.argwhere(~ok)[0])
        where = f"[{', '.join(map(str, index))}]" if index else ""
        raise ValueError(f"{name}{where} must be {domain}, got {array[index]:g}")


def check_depths(depth: ArrayLike) -> FloatArray:
    """Numbers of layers as floats: integers of at least 1, or infinity."""
    array = np.asarray(depth)
    if array.dtype.kind not in "uif":
        raise TypeError(f"depth must hold integers or inf, got dtype {array.dtype}")
    layers = array.astype(np.float64)
    whole = (layers >= 1.0) & ((layers == np.floor(layers)) | np.isposinf(layers))
    require(whole, layers, "depth", "an integer of at least 1, or inf")
    return layers


def broadcast(**arrays: FloatArray) -> list[FloatArray]:
    """The arrays, by argument name, copied to their common shape."""
    try:
        return [a.copy(order="C") for a in np.broadcast_arrays(*arrays.values())]
    except ValueError:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"shapes do not broadcast together: {shapes}") from None


def shaped(values: FloatArray, shape: tuple[int, ...]) -> FloatOrArray:
    """Values in the common shape of the arguments; a number where all of them are numbers."""
    return values.reshape(shape) if shape else float(values.reshape(-1)[0])
