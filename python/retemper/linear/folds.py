"""Folds of cross-validation, as scikit-learn gives them, among rows with weight."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import check_integer

__all__ = ["Fold", "read_folds"]


class Fold(NamedTuple):
    """Rows to train on and rows that are left out, numbered among those with weight."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


def read_folds(
    cv: Any,
    y: ArrayLike,
    kept: NDArray[np.bool_],
    *,
    groups: ArrayLike | None = None,
    is_classifier: bool = False,
    shuffle: bool = False,
    random_state: Any = None,
) -> list[Fold]:
    """Read the folds of a cross-validation.

    Parameters
    ----------
    cv : int, cross-validation splitter or iterable of (train, test)
        An integer stands for folds of the rows with weight, those of a classifier with alike shares
        of the classes. Splitters and iterables number all rows; those without weight drop out.
    y : array_like of shape (n,) or (n, k)
        Labels, as given.
    kept : ndarray of bool of shape (n,)
        Rows with weight.
    groups : array_like of shape (n,) or None, default=None
        What the splitter keeps together.
    is_classifier : bool, default=False
        Whether the labels are classes.
    shuffle : bool, default=False
        Whether the folds of an integer are shuffled.
    random_state : None, int or RandomState, default=None
        Seed of the shuffling.

    Returns
    -------
    list of Fold
        Folds that leave out a row with weight.

    Raises
    ------
    ValueError
        If a fold trains on no row with weight, none leaves one out, or ``groups`` go with an
        integer.
    """
    from sklearn.model_selection import KFold, check_cv

    n, labels = len(kept), np.asarray(y)
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        check_integer(cv, "cv", low=2)
        if groups is not None:
            raise ValueError(f"groups need a splitter that keeps them, got cv={cv}")
        n = int(np.count_nonzero(kept))
        place, labels = np.arange(n), labels[kept]
        size = min(int(cv), n)
        cv = KFold(size, shuffle=True, random_state=random_state) if shuffle else size
    found = []
    splitter = check_cv(cv, labels, classifier=is_classifier)
    for train, test in splitter.split(np.zeros((n, 1)), labels, groups):
        try:
            inside, outside = place[train], place[test]
        except IndexError:
            raise ValueError(f"cv must number rows from 0 to {n - 1}") from None
        inside, outside = inside[inside >= 0], outside[outside >= 0]
        if not inside.size:
            raise ValueError("cv must leave a row with weight to train on in every fold")
        if outside.size:
            found.append(Fold(inside, outside))
    if not found:
        raise ValueError("cv must leave out a row with weight in some fold")
    return found
