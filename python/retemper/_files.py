"""Array files that a user already has: idx, the format of the MNIST family."""

from __future__ import annotations

import gzip
import math
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

PathLikeOrText: TypeAlias = str | PathLike[str]

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LARGEST_FILE = 2**33  # bytes: beyond this the header is taken to be wrong


def read_idx(path: PathLikeOrText) -> NDArray[Any]:
    """Array of an idx file, as the MNIST family is distributed; may be compressed by gzip.

    Parameters
    ----------
    path : path-like
        The file, for example ``emnist-letters-train-images-idx3-ubyte.gz``. EMNIST images are
        stored with rows and columns exchanged, which no theory here notices.

    Returns
    -------
    ndarray
        Of the shape and type that the header says, in the machine's byte order.

    Raises
    ------
    ValueError
        If it is not an idx file, or holds more or fewer bytes than its header says.

    Notes
    -----
    The format is the one described with MNIST (see References).

    References
    ----------
    .. [1] Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    path = Path(path)
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    file: BinaryIO
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:  # type: ignore[assignment]
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
            raise ValueError(f"{path} is not an idx file: it starts with {head.hex(' ')}")
        dtype = np.dtype(_IDX_TYPES[head[2]])
        sizes = file.read(4 * head[3])
        if len(sizes) != 4 * head[3]:
            raise ValueError(f"{path} ends inside its header")
        shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes > _LARGEST_FILE:
            raise ValueError(f"{path} claims an array of shape {shape}: the header is damaged")
        data = file.read(n_bytes + 1)
    if len(data) != n_bytes:
        more = "more" if len(data) > n_bytes else "fewer"
        raise ValueError(f"{path} holds {more} than the {n_bytes} bytes of its shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
