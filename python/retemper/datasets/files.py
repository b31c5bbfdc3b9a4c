"""Image files that a user already has: MNIST and EMNIST (idx), CIFAR (both versions)."""

from __future__ import annotations

import gzip
import math
import pickle
import tarfile
from collections.abc import Collection, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import (
    FloatArray,
    as_float_array,
    as_items,
    as_path,
    check_choice,
    check_integer,
)

__all__ = ["binary_task", "read_cifar", "read_cifar_python", "read_idx"]

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

    See Also
    --------
    read_cifar, binary_task

    Notes
    -----
    The format is the one described with MNIST (see References).

    References
    ----------
    .. [1] Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.datasets import read_idx
    >>> file = Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))  # three labels
    >>> read_idx(file).tolist()
    [5, 0, 4]
    """
    path = as_path(path)
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


def read_cifar(
    paths: PathLikeOrText | Iterable[PathLikeOrText], *, n_classes: int = 10
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images and labels of CIFAR's binary version.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        Files such as ``data_batch_1.bin``, in order.
    n_classes : {10, 100}, default=10
        Which of the two data sets; of 100 classes the fine label is returned.

    Returns
    -------
    images : ndarray of uint8, shape (n, 3, 32, 32)
        Red, green and blue planes.
    labels : ndarray of uint8, shape (n,)
        Classes from 0.

    Raises
    ------
    ValueError
        If a file is empty or not a whole number of records, or a label is not below ``n_classes``.

    See Also
    --------
    read_cifar_python, binary_task

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.datasets import read_cifar
    >>> file = Path(tempfile.mkdtemp()) / "data_batch_1.bin"
    >>> _ = file.write_bytes(bytes([7]) + bytes(3072))  # one black image of class 7
    >>> images, labels = read_cifar(file)
    >>> images.shape, labels.tolist()
    ((1, 3, 32, 32), [7])
    """
    check_choice(n_classes, "n_classes", (10, 100))
    skip = 1 if n_classes == 10 else 2
    record = skip + 3072
    rows = []
    given = [paths] if isinstance(paths, str | PathLike) else as_items(paths, "paths")
    for item in [as_path(path, f"paths[{i}]") for i, path in enumerate(given)]:
        data = np.fromfile(item, np.uint8)
        if not data.size or data.size % record:
            raise ValueError(
                f"{item} holds {data.size} bytes, not a whole number of records of {record}"
            )
        rows.append(data.reshape(-1, record))
    if not rows:
        raise ValueError("paths must name at least one file")
    records = np.concatenate(rows)
    labels = records[:, skip - 1].copy()
    if labels.max() >= n_classes:
        raise ValueError(f"label {labels.max()} is not below n_classes = {n_classes}")
    return records[:, skip:].reshape(-1, 3, 32, 32).copy(), labels


class _PlainUnpickler(pickle.Unpickler):
    """Arrays, dictionaries and numbers only: a data file must not run code."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise ValueError(f"the file asks for {module}.{name}: it is not a CIFAR batch")
        return super().find_class(module, name)


def _cifar_batches(path: Path) -> Iterator[tuple[str, dict[bytes, Any]]]:
    names = ("data_batch_", "test_batch", "train", "test")
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and file.name.startswith(names):
                with file.open("rb") as stream:
                    yield file.name, _PlainUnpickler(stream, encoding="bytes").load()
    else:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                name = Path(member.name).name
                packed = archive.extractfile(member) if name.startswith(names) else None
                if packed is not None:
                    yield name, _PlainUnpickler(packed, encoding="bytes").load()


def read_cifar_python(
    path: PathLikeOrText, part: Literal["train", "test"] = "train"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and labels of CIFAR's python version.

    Parameters
    ----------
    path : path-like
        The archive, or the folder it unpacks to.
    part : {"train", "test"}, default="train"
        Which images.

    Returns
    -------
    tuple of ndarray
        Images (n, 3, 32, 32) and labels (n,); fine labels for CIFAR-100.

    Raises
    ------
    ValueError
        If there is no such batch, or the file is something else.

    See Also
    --------
    read_cifar, binary_task

    Examples
    --------
    >>> import pickle
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from retemper.datasets import read_cifar_python
    >>> folder = Path(tempfile.mkdtemp())
    >>> batch = {b"data": np.zeros((1, 3072), np.uint8), b"fine_labels": [7]}
    >>> _ = (folder / "train").write_bytes(pickle.dumps(batch))
    >>> images, labels = read_cifar_python(folder, "train")
    >>> images.shape, labels.tolist()
    ((1, 3, 32, 32), [7])
    """
    check_choice(part, "part", ("train", "test"))
    images, labels = [], []
    for name, batch in _cifar_batches(as_path(path)):
        if name.startswith("test") == (part == "test"):
            images.append(np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
            labels.append(np.asarray(batch[b"labels" if b"labels" in batch else b"fine_labels"]))
    if not images:
        raise ValueError(f"{path} holds no CIFAR batch for {part}")
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def binary_task(
    images: ArrayLike,
    labels: ArrayLike,
    positive: Collection[int],
    negative: Collection[int],
    *,
    n_pixels: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Two groups of classes as labels +1 and -1, images as rows of grey pixels.

    Parameters
    ----------
    images : array_like of shape (n, height, width) or (n, 3, height, width)
        Grey or coloured images; colours are averaged.
    labels : array_like of shape (n,)
        Classes.
    positive, negative : collection of int
        Classes of either group, none in both. EMNIST counts letters from A = 1.
    n_pixels : int or None, default=None
        Side of the images after averaging over blocks; must divide height and width. None keeps
        them.

    Returns
    -------
    X : ndarray of shape (k, n_features)
        Pixels, divided by 255.
    y : ndarray of shape (k,)
        Labels +1 and -1.

    Raises
    ------
    ValueError
        If shapes do not fit, a class is in both groups, a group has no image, or blocks do not
        divide the image.

    See Also
    --------
    read_idx, read_cifar, digits_task

    Notes
    -----
    The tasks are those of the code of Ingrosso et al., see `retemper.widenet.solve`:
    letters {A, B, E, L} against {C, H, J, S} and the same with one letter of each group changed.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.datasets import binary_task
    >>> X, y = binary_task(np.full((3, 4, 4), 255), [1, 2, 3], {1}, {3}, n_pixels=2)
    >>> X.shape, y.tolist()
    ((2, 4), [1.0, -1.0])
    """
    pixels = as_float_array(images, "images", ndim=(3, 4))
    classes = np.asarray(labels)
    if classes.shape != (len(pixels),):
        raise ValueError(f"labels must have shape ({len(pixels)},), got {classes.shape}")
    for name, given in (("positive", positive), ("negative", negative)):
        if isinstance(given, str) or not isinstance(given, Collection):
            raise TypeError(f"{name} must be a collection of classes, got {given!r}")
    if both := set(positive) & set(negative):
        raise ValueError(f"positive and negative share the classes {sorted(both)}")
    if pixels.ndim == 4:
        pixels = pixels.mean(1)
    is_positive = np.isin(classes, list(positive))
    is_negative = np.isin(classes, list(negative))
    for chosen, name in ((is_positive, "positive"), (is_negative, "negative")):
        if not chosen.any():
            raise ValueError(f"there is no image of the classes in {name}")
    kept = is_positive | is_negative
    pixels = pixels[kept] / 255.0
    if n_pixels is not None:
        n, height, width = pixels.shape
        check_integer(n_pixels, "n_pixels", low=1)
        if height % n_pixels or width % n_pixels:
            raise ValueError(f"n_pixels = {n_pixels} must divide the size {height} x {width}")
        blocks = pixels.reshape(n, n_pixels, height // n_pixels, n_pixels, width // n_pixels)
        pixels = blocks.mean((2, 4))
    X = np.ascontiguousarray(pixels.reshape(len(pixels), -1))
    return X, np.where(is_positive[kept], 1.0, -1.0)
