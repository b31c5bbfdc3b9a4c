"""Image files that a user already has: EMNIST and MNIST (idx), CIFAR (binary version)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._files import PathLikeOrText as Source
from retemper._files import read_idx
from retemper._validation import FloatArray, as_float_array, check_choice

__all__ = ["binary_task", "read_cifar", "read_idx"]


def read_cifar(
    paths: Source | Iterable[Source], *, n_classes: int = 10
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

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    check_choice(n_classes, "n_classes", (10, 100))
    skip = 1 if n_classes == 10 else 2
    record = skip + 3072
    rows = []
    for item in [paths] if isinstance(paths, str | PathLike) else paths:
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

    Notes
    -----
    The tasks are those of the code of Ingrosso et al., see `solve`: letters {A, B, E, L} against
    {C, H, J, S} and the same with one letter of each group changed.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import binary_task
    >>> X, y = binary_task(np.full((3, 4, 4), 255), [1, 2, 3], {1}, {3}, n_pixels=2)
    >>> X.shape, y.tolist()
    ((2, 4), [1.0, -1.0])
    """
    pixels = as_float_array(images, "images", ndim=(3, 4))
    classes = np.asarray(labels)
    if classes.shape != (len(pixels),):
        raise ValueError(f"labels must have shape ({len(pixels)},), got {classes.shape}")
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
        if n_pixels < 1 or height % n_pixels or width % n_pixels:
            raise ValueError(f"n_pixels = {n_pixels} must divide the size {height} x {width}")
        blocks = pixels.reshape(n, n_pixels, height // n_pixels, n_pixels, width // n_pixels)
        pixels = blocks.mean((2, 4))
    X = np.ascontiguousarray(pixels.reshape(len(pixels), -1))
    return X, np.where(is_positive[kept], 1.0, -1.0)
