"""Choice of the ridge of logistic regression on rows that are left out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._random import generator
from retemper._validation import FloatArray
from retemper.linear.logistic.path import (
    LogisticFit,
    LogisticPath,
    Split,
    Start,
    by_class,
    log_loss_rows,
)

N_FOLDS = 5
#: Largest change of a logit, relative to one plus the largest, at which fits are compared.
_PATH_TOL = 1e-2
#: Share of even odds that is mixed into probabilities, which bounds the loss of a row.
_DOUBT = 1e-3
#: Of ridges whose losses differ by less than this many standard errors, the largest is chosen.
_SAME = 0.25
#: So many ridges are tried at a time, a factor of ten.
_BLOCK = 4
#: Logits of the scaled source have this root mean square if the penalty on its scale is one half.
_LARGEST_SOURCE = 4.0


@dataclasses.dataclass(frozen=True)
class RidgeChoice:
    """The ridge that left-out rows choose.

    Attributes
    ----------
    ridge : float
        Infinite if nothing can be judged.
    ridges, losses : ndarray of shape (j,)
        Ridges that were compared, descending, and the left-out log loss at each; none if nothing
        can be judged or the ridge was given.
    rows : ndarray of shape (j, r)
        The same for every judged row.
    n_iter : int
        Newton steps.
    """

    ridge: float
    ridges: FloatArray
    losses: FloatArray = dataclasses.field(default_factory=lambda: np.empty(0))
    rows: FloatArray = dataclasses.field(default_factory=lambda: np.empty((0, 0)))
    n_iter: int = 0


@dataclasses.dataclass(frozen=True)
class LogisticChoice:
    """The fit at the ridge that was chosen.

    Attributes
    ----------
    start : Start
        What the fit started from.
    by : RidgeChoice
        How the ridge was found.
    fit : LogisticFit
        The fit.
    source_scale : float
        Factor on the logits of the source; zero without one.
    """

    start: Start
    by: RidgeChoice
    fit: LogisticFit
    source_scale: float


def draw_folds(labels: NDArray[np.intp], random_state: Any = 0) -> list[Split]:
    """Five random folds over which every class is spread evenly, drawn anew on few rows.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Class numbers.
    random_state : None, int, SeedSequence or Generator, default=0
        Seed.

    Returns
    -------
    list of tuple
        Rows to learn from and rows to judge.
    """
    n, rng, found = len(labels), generator(random_state), []
    place = np.empty(n, np.intp)
    for _ in range(4 if n <= 50 else 2 if n <= 200 else 1):
        order = rng.permutation(n)
        place[order[np.argsort(labels[order], kind="stable")]] = np.arange(n) % min(N_FOLDS, n)
        folds = range(int(place.max()) + 1)
        found += [(np.flatnonzero(place != f), np.flatnonzero(place == f)) for f in folds]
    return found


def known_classes(splits: Sequence[Split], labels: NDArray[np.intp]) -> list[Split]:
    """Splits whose rows to judge are of classes of which there are rows to learn from.

    Parameters
    ----------
    splits : list of tuple
        Rows to learn from and rows to judge.
    labels : ndarray of shape (n,)
        Class numbers.

    Returns
    -------
    list of tuple
        Rows alone in their class always learn. Splits that judge nothing, or that know one class,
        are left out.
    """
    count = np.bincount(labels)
    alone, found = count[labels] == 1, []
    for train, test in splits:
        learn, kept = train, test
        if alone[test].any():
            learn, kept = np.concatenate([train, test[alone[test]]]), test[~alone[test]]
        known = np.bincount(labels[learn], minlength=len(count)) > 0
        kept = kept[known[labels[kept]]]
        if known.sum() > 1 and kept.size:
            found.append((learn, kept))
    return found


class Judge:
    """Splits of one path, prepared once for every source that is tried.

    Parameters
    ----------
    path : LogisticPath
        The data.
    splits : sequence of tuple
        Rows to learn from and rows to judge.
    plain : bool, default=False
        Whether the ridge of least loss is taken, of a grid that does not depend on the number of
        rows: a row of weight two then counts as two rows.
    """

    def __init__(self, path: LogisticPath, splits: Sequence[Split], *, plain: bool = False) -> None:
        n = len(path.labels)
        self._same = 0.0 if plain else _SAME
        self.grid = path.grid(size=path.rank + 1 if plain else None)
        self.path, self.splits = path, known_classes(splits, path.labels)
        self.judged = np.concatenate([test for _, test in self.splits] or [np.empty(0, np.intp)])
        times = np.bincount(self.judged, minlength=n)
        self.rows = np.flatnonzero(times)
        self._share = 1.0 / times[self.judged]
        self._order = np.argsort(self.judged, kind="stable")
        self._first = np.searchsorted(self.judged[self._order], self.rows)
        self._folds: Any = None

    def choose(self, start: Start) -> RidgeChoice:
        """Compare ridges.

        Parameters
        ----------
        start : Start
            Logits to start from.

        Returns
        -------
        RidgeChoice
            The largest ridge whose loss is within a quarter of a standard error of the least, or
            that of least loss.
        """
        path, grid = self.path, self.grid
        if not self.rows.size:
            return RidgeChoice(math.inf, grid[:1])
        run, n_iter = self._run(start), 0
        losses = np.empty((0, len(self.rows)))
        weight = path.weight[self.rows] / path.weight[self.rows].sum()
        for first in range(0, len(grid), _BLOCK):
            ridges = grid[first : first + _BLOCK]
            found = path.advance(run, ridges, _PATH_TOL)
            n_iter += found.n_iter
            losses = np.vstack([losses, self._rows(found.logits)])
            if ridges[-1] < path.engaged and _is_over(losses, weight):
                break
        best = _largest_near_best(losses, weight, self._same)
        return RidgeChoice(float(grid[best]), grid[: len(losses)], losses @ weight, losses, n_iter)

    def losses(self, start: Start, ridges: FloatArray) -> FloatArray:
        """Losses of the judged rows (R, rows) at some descending ridges."""
        return self._rows(self.path.advance(self._run(start), ridges, _PATH_TOL).logits)

    def optimism(self, by: RidgeChoice) -> float:
        """What rows lose more if the ridge is chosen by the splits that do not judge them."""
        if not by.losses.size:
            return 0.0
        weight, more, mass = self.path.weight[self.rows], 0.0, 0.0
        best = int(np.flatnonzero(by.ridges == by.ridge)[0])
        for _, test in self.splits:
            inside = np.isin(self.rows, test)
            if not inside.all():
                other = _largest_near_best(by.rows[:, ~inside], weight[~inside], self._same)
                more += float(weight[inside] @ (by.rows[other] - by.rows[best])[inside])
                mass += float(weight[inside].sum())
        return more / mass if mass else 0.0

    def _run(self, start: Start) -> Any:
        if self._folds is None:
            self._folds = self.path.folds(self.splits)
        return self.path.run(self._folds, start)

    def _rows(self, logits: FloatArray) -> FloatArray:
        """Losses of the judged rows (R, rows), bounded, averaged over the splits that judge one."""
        labels = self.path.labels[self.judged]
        logits = logits.reshape(-1, len(labels), self.path.n_logits)
        right = np.exp(-log_loss_rows(logits, labels))
        loss = -np.log((1.0 - _DOUBT) * right + _DOUBT / self.path.n_classes)
        many = loss * self._share
        return np.asarray(np.add.reduceat(many[:, self._order], self._first, axis=1))


def _is_over(losses: FloatArray, weight: FloatArray) -> bool:
    """Whether the last factor of ten has no better ridge, and none that is as good."""
    best = int(np.argmin(losses @ weight))
    if best >= len(losses) - _BLOCK:
        return False
    more = (losses[-_BLOCK:] - losses[best]) @ weight
    return bool((more > 0.0).all() and more[-1] > more[0])


def _largest_near_best(losses: FloatArray, weight: FloatArray, same: float) -> int:
    """Which of descending ridges (R, rows) is the first whose loss is not clearly more."""
    weight = weight / weight.sum()
    mean = losses @ weight
    more = losses - losses[int(np.argmin(mean))]
    spread = np.sqrt(np.square(more - (more @ weight)[:, None]) @ np.square(weight))
    return int(np.argmax(mean <= mean.min() + same * spread))


def choose_fit(
    judge: Judge,
    scores: FloatArray,
    *,
    ridge: float | Literal["cv"],
    source_scale: float | Literal["auto"],
    tol: float = 1e-8,
) -> LogisticChoice:
    """Choose the ridge, and fit.

    Parameters
    ----------
    judge : Judge
        The data and the rows that are left out.
    scores : ndarray of shape (n, m)
        Logits of the source; zeros without one.
    ridge : float or "cv"
        The ridge, or that it is chosen.
    source_scale : float or "auto"
        Factor on the source, or that it is fitted; zero without a source.
    tol : float, default=1e-8
        Largest change of a logit at convergence, relative to one plus the largest logit.

    Returns
    -------
    LogisticChoice
        The fit and how it was found.
    """
    path = judge.path
    if isinstance(source_scale, str):
        size = _size(path, scores)
        start = Start(np.zeros_like(scores))
        if size > 0.0:
            shape = np.square(size / _LARGEST_SOURCE) / len(scores)
            start = Start(np.zeros_like(scores), scores, float(shape))
    else:
        start = Start(float(source_scale) * scores)
    by = judge.choose(start) if isinstance(ridge, str) else RidgeChoice(ridge, np.array([ridge]))
    fit = path.fit(start, by.ridge, tol=tol)
    scale = fit.at.source_scale if isinstance(source_scale, str) else float(source_scale)
    return LogisticChoice(start, by, fit, scale)


def _size(path: LogisticPath, scores: FloatArray) -> float:
    """Root mean square of the logits of a source, less what no factor on it could change."""
    logits = by_class(scores)
    centred = logits - logits.mean(axis=1, keepdims=True)
    if path.fit_intercept:
        centred = centred - path.weight @ centred
    size = float(np.sqrt(path.weight @ np.square(centred).sum(axis=1)))
    size *= math.sqrt((2.0 if logits.shape[1] == 2 else 1.0) / (logits.shape[1] - 1))
    return size if size > 1e-12 * float(np.abs(scores).max(initial=0.0)) else 0.0
