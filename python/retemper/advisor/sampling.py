"""Rows that belong together, their weights, and the splits that respect them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._random import generator
from retemper._validation import FloatArray, as_float_array, check_integer
from retemper.advisor.labels import is_missing
from retemper.linear.logistic.choice import N_FOLDS, draw_folds

__all__ = ["Rows", "Split", "condense", "fold_rows", "read_splits", "some_rows"]

#: Rows to learn from, and rows to judge.
Split = tuple[NDArray[np.intp], NDArray[np.intp]]

#: Fewer different rows than this are a property of the columns, not copies.
_LEAST_DIFFERENT = 20
_SHOWN = 5
#: Intervals from fewer groups are as wide as so few numbers make them.
_FEW_GROUPS = 6
#: A split with fewer rows to learn from chooses no strength.
_LEAST_TO_LEARN = 4
#: Up to so many rows inner folds of groups are drawn twice for classes.
_FEW_ROWS = 200
#: For numbers a few multiples of a strength are compared on so many folds.
_STRENGTH_FOLDS = 3


@dataclasses.dataclass(frozen=True)
class Rows:
    """What is known of the rows of a sample beside their entries.

    Attributes
    ----------
    group : ndarray of shape (n,)
        Number of the group of every row: rows of one group are never on both sides of a split.
    weight : ndarray of shape (n,)
        Weights, of mean one.
    is_grouped : bool
        Whether a group has two rows or more.
    is_weighted : bool
        Whether weights differ.
    flags : tuple of str
        What a reader should know.
    splits : tuple of (ndarray, ndarray)
        Splits that the user gave; strengths are chosen by them too.
    """

    group: NDArray[np.intp]
    weight: FloatArray
    is_grouped: bool
    is_weighted: bool
    flags: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1

    def part(self, rows: NDArray[np.intp]) -> Rows:
        """Groups, weights and splits of some rows, the groups and rows numbered anew."""
        place = np.full(len(self.group), -1)
        place[rows] = np.arange(len(rows))
        sides = ((place[train], place[test]) for train, test in self.splits)
        splits = ((train[train >= 0], test[test >= 0]) for train, test in sides)
        return dataclasses.replace(
            self, group=_numbered(self.group[rows]), weight=self.weight[rows],
            splits=tuple((train, test) for train, test in splits if len(train) and len(test)),
        )  # fmt: skip

    @classmethod
    def read(cls, keys: NDArray[np.bytes_], groups: Any, sample_weight: Any) -> Rows:
        """Check groups and weights; without groups, equal rows are one.

        Parameters
        ----------
        keys : ndarray of shape (n,)
            Of the rows, as `retemper.advisor.leaks.row_keys` gives them: alike where rows are.
        groups : None or array_like of shape (n,)
            Labels of the groups.
        sample_weight : None or array_like of shape (n,)
            Weights.

        Returns
        -------
        Rows
            Groups numbered in the order in which they appear.

        Raises
        ------
        ValueError
            If shapes do not fit, weights are negative or not finite, fewer than 6 rows have a
            weight, groups are missing, or there are fewer than 3 groups.
        """
        n = len(keys)
        weight = np.ones(n)
        if sample_weight is not None:
            weight = as_float_array(sample_weight, "sample_weight", ndim=1)
            if weight.shape != (n,):
                raise ValueError(f"sample_weight must have {n} entries, got {weight.shape[0]}")
            if not np.isfinite(weight).all() or weight.min() < 0.0:
                at = int(np.flatnonzero(~np.isfinite(weight) | (weight < 0.0))[0])
                raise ValueError(
                    f"sample_weight must not be negative, infinite or missing, got {weight[at]} in "
                    f"row {at}"
                )
            if np.count_nonzero(weight) < 6:
                raise ValueError(
                    f"sample_weight must be positive for 6 rows or more, got "
                    f"{np.count_nonzero(weight)}"
                )
            weight = weight / weight.mean()
        flags: tuple[str, ...] = ()
        if groups is None:
            code, flags = _equal_rows(keys)
        else:
            names = np.asarray(groups)
            gaps = np.flatnonzero([is_missing(group) for group in names.ravel().tolist()])
            if gaps.size:
                raise ValueError(f"groups must not have missing values, got one in row {gaps[0]}")
            if names.shape != (n,):
                raise ValueError(f"groups must have shape ({n},), got {names.shape}")
            code = _numbered(np.unique(names.astype(np.str_), return_inverse=True)[1])
            if code.max() < 2:
                raise ValueError(f"groups must name 3 groups or more, got {code.max() + 1}")
            many = int(code.max()) + 1
            few = ": so few say little of others" if many < _FEW_GROUPS else ""
            flags = (f"{many} groups of rows are kept together{few}",)
        return cls(
            code, weight, bool(code.max() + 1 < n), bool(np.ptp(weight) > 0.0), flags
        )  # fmt: skip


def _numbered(code: NDArray[Any]) -> NDArray[np.intp]:
    """Numbers of groups in the order in which these appear."""
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.intp)


def _equal_rows(keys: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Groups of equal and nearly equal rows, and what to say of them."""
    n = len(keys)
    alone = np.arange(n, dtype=np.intp)
    code = _numbered(np.unique(keys, return_inverse=True)[1])
    different = int(code.max()) + 1
    if different == n:
        return alone, ()
    if different < min(_LEAST_DIFFERENT, n):
        flag = (
            f"the columns take {different} different values on {n} rows: equal rows are taken as "
            "independent; name groups= if they are copies"
        )
        return alone, (flag,)
    size = np.bincount(code)
    copies = np.flatnonzero(size[code] > 1)
    listed = ", ".join(map(str, copies[:_SHOWN])) + (", …" if len(copies) > _SHOWN else "")
    flag = f"{len(copies)} rows are equal to others and are kept together (rows {listed})"
    return code, (flag,)


def fold_rows(
    rows: Rows, classes: NDArray[Any] | None, n_folds: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Random folds of the rows, groups whole; every class spread evenly over them.

    Parameters
    ----------
    rows : Rows
        Groups.
    classes : ndarray of shape (n,) or None
        Numbers of classes; None for regression.
    n_folds : int
        Number of folds.
    rng : Generator
        Randomness.

    Returns
    -------
    list of ndarray
        Rows of every fold; none is empty.
    """
    order = rng.permutation(rows.n_groups)
    if classes is not None:
        first = np.unique(rows.group, return_index=True)[1]  # of every group
        order = order[np.argsort(classes[first][order], kind="stable")]
    place = np.empty(rows.n_groups, dtype=np.intp)
    place[order] = np.arange(len(order)) % n_folds
    found = [np.flatnonzero(place[rows.group] == k) for k in range(n_folds)]
    return [fold for fold in found if len(fold)]


def inner_splits(rows: Rows, classes: NDArray[Any] | None) -> list[Split]:
    """Splits by which strengths are chosen: those of the user, else folds of whole groups.

    Parameters
    ----------
    rows : Rows
        Groups and splits.
    classes : ndarray of shape (n,) or None
        Numbers of classes; None for regression.

    Returns
    -------
    list of tuple
        Rows to learn from and rows to judge, at least one pair: splits of the user of which the
        rows hold one side only say nothing.
    """
    given = [split for split in rows.splits if len(split[0]) >= _LEAST_TO_LEARN]
    if given:
        return given
    if not rows.is_grouped and classes is not None:
        return draw_folds(classes)
    rng, every = generator(0), np.arange(len(rows.group))
    regression = classes is None
    many = min(_STRENGTH_FOLDS if regression else N_FOLDS, rows.n_groups)
    return [
        (np.setdiff1d(every, fold, assume_unique=True), fold)
        for _ in range(2 if len(every) <= _FEW_ROWS and not regression else 1)
        for fold in fold_rows(rows, classes, many, rng)
    ]


def some_rows(
    rows: Rows, classes: NDArray[Any] | None, size: int, rng: np.random.Generator
) -> Split:
    """Rows to learn from, every class in proportion and at least two of it, and the others.

    Parameters
    ----------
    rows : Rows
        Groups, which are not cut.
    classes : ndarray of shape (n,) or None
        Numbers of classes; None for regression.
    size : int
        Number of rows to learn from; with groups, about.
    rng : Generator
        Randomness.

    Returns
    -------
    tuple of ndarray
        Rows of both sides.
    """
    order = rng.permutation(len(rows.group))
    if classes is not None:
        rank = np.empty(len(order))
        for c in np.unique(classes):
            at = np.flatnonzero(classes[order] == c)
            rank[at] = np.where(np.arange(len(at)) < 2, -1.0, np.arange(len(at)) / len(at))
        order = order[np.argsort(rank, kind="stable")]
    if rows.is_grouped:  # whole groups in the order of their first rows
        first = np.unique(rows.group[order], return_index=True)[1]
        order = order[np.argsort(first[rows.group[order]], kind="stable")]
        ends = np.flatnonzero(np.diff(rows.group[order], append=-1)) + 1
        # two groups at least to learn from, where one is left to judge
        ends = ends[1:-1] if len(ends) > 2 else ends[:1]
        size = int(ends[np.argmin(np.abs(ends - size))])
    return np.sort(order[:size]), np.sort(order[size:])


def read_splits(cv: Any, X: Any, y: Any, rows: Rows) -> list[Split]:
    """Splits from a splitter, or from an iterable of pairs.

    Parameters
    ----------
    cv : object
        Anything with ``split(X, y, groups)``, or pairs (rows to learn from, rows to judge) of
        numbers or booleans.
    X, y : array_like
        The sample.
    rows : Rows
        Groups, which a splitter is told if there are any.

    Returns
    -------
    list of tuple
        Numbers of rows.

    Raises
    ------
    ValueError
        If there is no split, a side has too few rows, or a row is on both sides.
    TypeError
        If it is neither.
    """
    n = len(rows.group)
    if hasattr(cv, "split"):
        pairs = list(cv.split(X, y, rows.group) if rows.is_grouped else cv.split(X, y))
    else:
        try:
            pairs = [(train, test) for train, test in cv]
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"cv must be a number of folds, a splitter, or pairs of rows, got {cv!r}"
            ) from error
    if not pairs:
        raise ValueError("cv must give at least one split, got none")
    found = []
    for k, pair in enumerate(pairs):
        train, test = (_numbers(side, n, f"cv[{k}]") for side in pair)
        if len(train) < 4 or not len(test):
            raise ValueError(
                f"cv[{k}] must have 4 rows to learn from and one to judge, got {len(train)} and "
                f"{len(test)}"
            )
        both = np.intersect1d(train, test)
        if len(both):
            raise ValueError(f"cv[{k}] has row {both[0]} on both sides")
        found.append((train, test))
    return found


def _numbers(side: Any, n: int, name: str) -> NDArray[np.intp]:
    array = np.asarray(side)
    if array.dtype == np.bool_:
        if array.shape != (n,):
            raise ValueError(f"{name} must have {n} entries, got shape {array.shape}")
        return np.flatnonzero(array)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must hold numbers of rows, got {array.dtype} {array.shape}")
    if len(array) and (array.min() < 0 or array.max() >= n):
        raise ValueError(f"{name} must lie in [0, {n}), got {array.min()} to {array.max()}")
    return np.unique(array).astype(np.intp)


def check_folds(cv: Any) -> int | None:
    """The number of folds, if ``cv`` is one."""
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        return check_integer(int(cv), "cv", low=2)
    return None


def condense(rows: Rows, values: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Values by groups, whose plain mean is the weighted mean of the values by rows.

    Parameters
    ----------
    rows : Rows
        Groups and weights.
    values : ndarray of shape (c, n)
        Losses of every row; NaN where none was judged.

    Returns
    -------
    values : ndarray of shape (c, g)
        One for every group with a judged row of positive weight: the row itself where rows stand
        alone and have the same weight.
    group : ndarray of shape (g,)
        Their numbers.
    """
    judged = np.isfinite(values).all(axis=0) & (rows.weight > 0.0)
    group = rows.group[judged]
    if not rows.is_grouped and not rows.is_weighted:
        return values[:, judged], group
    kept, place = np.unique(group, return_inverse=True)
    weight = rows.weight[judged]
    sums = [np.bincount(place, weights=row * weight) for row in values[:, judged]]
    return np.array(sums) * (len(kept) / weight.sum()), kept
