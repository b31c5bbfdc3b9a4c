"""Small data for examples, the demo and tests; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._random import Seed, generator
from retemper._validation import as_items, check_choice, check_integer

__all__ = ["DigitsTask", "digits_task", "split_rows"]

FloatArray = NDArray[np.float64]
Features = Literal["pixels", "random"]


class DigitsTask(NamedTuple):
    """Digits in two groups as a regression on labels of ±1.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features of the images.
    y : ndarray of shape (n_samples,)
        Labels, +1 or -1.
    rows : ndarray of shape (n_samples,)
        Number of each row among all images of the data set.
    name : str
        The two groups in words.

    See Also
    --------
    digits_task

    Examples
    --------
    >>> from retemper.datasets import digits_task
    >>> task = digits_task(3, 8)
    >>> task.name, task.X.shape
    ('3 against 8', (357, 64))
    """

    X: FloatArray
    y: FloatArray
    rows: NDArray[np.intp]
    name: str


def digits_task(
    positive: int | Collection[int],
    negative: int | Collection[int],
    *,
    features: Features = "pixels",
    n_random_features: int = 300,
) -> DigitsTask:
    """Images of digits in two groups with labels of +1 and -1.

    The images are the 8 x 8 digits bundled with scikit-learn.

    Parameters
    ----------
    positive, negative : int or collection of int
        The digits labelled +1 and -1, from 0 to 9, none in both.
    features : {"pixels", "random"}, default="pixels"
        The 64 pixels scaled to [0, 1], or random ReLU features of the centred pixels. The random
        weights are the same for every task, so that tasks share their features.
    n_random_features : int, default=300
        Number of random features.

    Returns
    -------
    DigitsTask
        ``X`` of shape (n_samples, n_features), ``y`` of shape (n_samples,), the number of each
        row among all images, and a name.

    Raises
    ------
    ValueError
        If a group is empty, a digit is not in 0..9 or in both, or ``features`` is not known.

    See Also
    --------
    split_rows, DigitsTask

    Examples
    --------
    >>> task = digits_task(3, 8)
    >>> task.X.shape, task.name
    ((357, 64), '3 against 8')
    >>> digits_task(range(0, 10, 2), range(1, 10, 2)).name
    '02468 against 13579'
    """
    groups = []
    for group, label in ((positive, "positive"), (negative, "negative")):
        digits = [group] if isinstance(group, int | np.integer) else as_items(group, label)
        groups.append(sorted(check_integer(digit, label, high=9) for digit in digits))
        if not digits:
            raise ValueError(f"{label} must name at least one digit")
    both = set(groups[0]) & set(groups[1])
    if both:
        raise ValueError(f"positive and negative must differ, both contain {sorted(both)}")
    check_choice(features, "features", ("pixels", "random"))
    check_integer(n_random_features, "n_random_features", low=1)
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    pixels = np.asarray(images, dtype=np.float64) / 16.0
    rows = np.flatnonzero(np.isin(digit, groups[0] + groups[1]))
    y = np.where(np.isin(digit[rows], groups[0]), 1.0, -1.0)
    X = pixels[rows]
    if features == "random":
        weights = generator(0).normal(size=(pixels.shape[1], n_random_features))
        X = np.maximum((X - pixels.mean(axis=0)) @ weights, 0.0) / np.sqrt(n_random_features)
    name = " against ".join("".join(map(str, group)) for group in groups)
    return DigitsTask(X, y, rows, name)


def split_rows(
    n_rows: int, n_first: int, random_state: Seed = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split row numbers at random into two sorted sets.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_first : int
        Size of the first set.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed.

    Returns
    -------
    tuple of ndarray
        Row numbers of the first set and of the rest.

    Raises
    ------
    ValueError
        If ``n_first`` is not in [0, n_rows].

    See Also
    --------
    digits_task

    Examples
    --------
    >>> first, rest = split_rows(5, 2, random_state=0)
    >>> len(first), len(rest)
    (2, 3)
    """
    check_integer(n_rows, "n_rows")
    check_integer(n_first, "n_first", high=n_rows)
    order = generator(random_state).permutation(n_rows)
    return np.sort(order[:n_first]), np.sort(order[n_first:])
