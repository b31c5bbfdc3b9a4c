"""All candidates of a regression that are linear in the rows, from one ridge path."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._sources import Source
from retemper._validation import FloatArray
from retemper.advisor.task import Task
from retemper.linear import FineTunedLinearRegression
from retemper.linear.metric import Metric, resolve_metric
from retemper.linear.ridge.candidates import Candidates, best_scale, mixture_error
from retemper.linear.ridge.estimator import set_fit
from retemper.linear.ridge.fit import RidgeFit
from retemper.linear.ridge.path import DegreesOfFreedom, RidgePath

__all__ = ["GroupedPath", "LinearDesign", "LinearFit", "StreamedDesign", "set_linear"]


@dataclasses.dataclass(frozen=True)
class LinearFit:
    """A candidate fitted in the units of a task.

    Attributes
    ----------
    coef_ : ndarray of shape (1, d)
        Slopes of the correction to the source.
    intercept_ : ndarray of shape (1,)
        Its offset.
    ridge_ : float
        Strength that holds the correction.
    source_scale_ : float
        Factor on the source.
    loo_ : float
        Mean squared error when a row, or a group of rows, is left out.
    gcv_ : float
        The same by generalised cross-validation.
    degrees : DegreesOfFreedom
        Of the fit, (1,) each.
    rank_ : int
        Rank of the centred rows.
    """

    coef_: FloatArray
    intercept_: FloatArray
    ridge_: float
    source_scale_: float
    loo_: float
    gcv_: float
    degrees: DegreesOfFreedom
    rank_: int


class GroupedPath(RidgePath):
    r"""A ridge path whose left-out residuals leave out whole groups of rows.

    With A the matrix that makes residuals of labels, the residuals of a group G of a fit without it
    are :math:`A_{GG}^{-1} (A y)_G`: exact, and no fit is made anew. Derived here
    (`advise#how-it-decides`).
    """

    @classmethod
    def of(cls, path: RidgePath, group: NDArray[np.intp]) -> GroupedPath:
        """The same path with groups.

        Parameters
        ----------
        path : RidgePath
            Shares its decomposition.
        group : ndarray of shape (n,)
            Numbers of the groups.

        Returns
        -------
        GroupedPath
            The path.
        """
        new = cls.__new__(cls)
        new.__dict__.update(path.__dict__)
        order = np.argsort(group, kind="stable")
        _, start, size = np.unique(group[order], return_index=True, return_counts=True)
        new.members = [
            order[start[size == s][:, None] + np.arange(s)] for s in np.unique(size).tolist()
        ]
        return new

    members: list[NDArray[np.intp]]

    def loo(self, ridge: ArrayLike) -> FloatArray:
        """Exact residuals (m, n, c) of groups that are left out, at positive ridges."""
        lam = np.atleast_1d(np.asarray(ridge, np.float64))
        _, weights, null, _ = self._weights(lam)
        out, diagonal = self.annihilate(lam)
        one = np.full(len(self.columns), float(self.fit_intercept))
        one *= (1.0 if self._root is None else self._root) / math.sqrt(self.n_samples)
        for rows in self.members:
            size = rows.shape[1]
            if size == 1:
                at = rows[:, 0]
                out[:, at] /= diagonal[:, at, None]
                continue
            basis = np.concatenate([self.basis[rows], one[rows][..., None]], axis=2)
            small = bool(self.n_null) and size > basis.shape[2]
            for i, (weight, rest) in enumerate(zip(weights, null, strict=True)):
                held = np.append(rest - weight, rest)  # A = rest - basis held basis'
                left = out[i, rows]
                if small:
                    scaled = basis * np.sqrt(held / rest)
                    turned = scaled.swapaxes(1, 2)
                    inner = np.eye(len(held)) - turned @ scaled
                    out[i, rows] = (left + scaled @ np.linalg.solve(inner, turned @ left)) / rest
                else:
                    matrix = rest * np.eye(size) - (basis * held) @ basis.swapaxes(1, 2)
                    out[i, rows] = np.linalg.solve(matrix, left)
        return out


class LinearDesign:
    """Rows of a task and what all sources say on them, for fits of any candidate.

    Strengths are those of least leave-one-out error over the grid of the path; where rows belong
    together, whole groups are left out.

    Parameters
    ----------
    task : Task
        The target, of numbers.
    train : ndarray of shape (m,)
        Rows to learn from; those of no weight are left out.
    metric : ndarray of shape (d, d) or None, default=None
        Form of the penalty; None is the identity in the units of the task.
    """

    def __init__(
        self, task: Task, train: NDArray[np.intp], metric: FloatArray | None = None
    ) -> None:
        self.task, self.train = task, train
        self._inner: dict[bytes, LinearDesign] = {}
        weight = task.sample.weight[train]
        self.counts = weight > 0.0
        self.kept = train[self.counts]
        weight = weight[self.counts] / weight[self.counts].mean()
        self.weight = weight if task.sample.is_weighted else None
        rows = task.X[self.kept]
        share = weight / len(weight)
        self.metric: Metric | None = resolve_metric(metric, rows, share, fit_intercept=True)
        self.rows = rows if self.metric is None else self.metric.rows(rows)
        self.columns = [j for j, s in enumerate(task.sources) if s.duplicate_of is None]
        self.candidates = self.read([task.scores[j][self.kept] for j in self.columns])
        self.ridges, self.errors, self.form = self.judged(self.candidates)

    def read(self, predictions: list[FloatArray]) -> Candidates:
        """Labels and predictions (m, 1) along the path of these rows."""
        labels = self.task.y[self.kept][:, None]
        found = Candidates(self.rows, labels, predictions, True, weight=self.weight)
        if self.task.sample.is_grouped and not self.task.sample.splits:
            found.path = GroupedPath.of(found.path, self.task.sample.group[self.kept])
        return found

    def judged(self, candidates: Candidates) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Ridges (m,), errors (m, 1 + k) and forms (m, 1 + k, 1 + k) of left-out rows."""
        path = candidates.path
        size = path.rank + 1 if isinstance(path, GroupedPath) else None
        ridges = path.grid(size=size)
        errors, form = candidates.quadratic("loo", ridges)
        return ridges, errors[:, 0], form[:, 0]

    def fit(self, source: int, kind: str, ridge: float | None = None) -> LinearFit:
        """Fit a candidate.

        Parameters
        ----------
        source : int
            Number of the source; -1 for scratch.
        kind : {"scratch", "fine-tune", "rescaled", "pooled"}
            What is done with it.
        ridge : float or None, default=None
            Strength; None is that of least left-out error.

        Returns
        -------
        LinearFit
            Its numbers.
        """
        if kind == "pooled":
            return self._pooled(source).fit(source, "fine-tune", ridge)
        item = 1 + self.columns.index(source) if source >= 0 else 0
        return self._best(self.candidates, item, kind == "rescaled", ridge)

    def correct(
        self, left_out: FloatArray, fitted: FloatArray, ridge: float | None = None
    ) -> LinearFit:
        """Fit a correction to predictions that know the labels of the rows.

        Parameters
        ----------
        left_out, fitted : ndarray of shape (m, 1)
            Predictions for every row without it, by which the strength is chosen, and with it.
        ridge : float or None, default=None
            Strength; None is that of least left-out error.

        Returns
        -------
        LinearFit
            Of the fitted predictions; its error is that of the others.
        """
        candidates = self.read([left_out[self.counts], fitted[self.counts]])
        judged = self._best(candidates, 1, False, ridge)
        return dataclasses.replace(
            self._best(candidates, 2, False, judged.ridge_), loo_=judged.loo_
        )

    def inner(self, rows: NDArray[np.intp]) -> LinearDesign:
        """The design of some of the rows to learn from, numbered as in the task; made once."""
        key = rows.tobytes()
        if key not in self._inner:
            self._inner[key] = LinearDesign(self.task, rows)
        return self._inner[key]

    def _pooled(self, source: int) -> LinearDesign:
        curvature = self.task.sources[source].curvature
        assert curvature is not None
        scale = self.task.units.scale
        return LinearDesign(self.task, self.train, curvature / np.outer(scale, scale))

    def _best(
        self,
        candidates: Candidates,
        item: int,
        rescaled: bool,
        ridge: float | None,
        *,
        within: bool = False,
    ) -> LinearFit:
        """The best fit of an item, or that at a ridge; ``within`` is one of the path's own."""
        if ridge is not None and within:
            at = self.ridges == ridge
            ridges, errors, form = self.ridges[at], self.errors[at], self.form[at]
        elif ridge is not None:
            ridges = np.array([ridge])
            errors, form = (v[:, 0] for v in candidates.quadratic("loo", ridges))
        elif candidates is self.candidates:
            ridges, errors, form = self.ridges, self.errors, self.form
        else:
            ridges, errors, form = self.judged(candidates)
        scale, error = np.full(len(ridges), float(item > 0)), errors[:, item]
        if rescaled:
            some = form[:, [[0], [item]], [0, item]]
            scale = best_scale(some)
            error = mixture_error(some, scale[:, None])
        best = int(np.argmin(error))
        mix = np.zeros((candidates.path.columns.shape[1], 1))
        mix[0] = 1.0
        if item:
            mix[item] = -scale[best]
        return self._fitted(candidates.path, float(ridges[best]), mix, float(error[best]))

    def _fitted(self, path: RidgePath, ridge: float, mix: FloatArray, loo: float) -> LinearFit:
        coef = path.coef(ridge, mix)
        offset = path.column_mean @ mix - coef @ path.mean
        if self.metric is not None:
            coef = self.metric.coef(coef)
        return LinearFit(
            coef, offset, ridge, 0.0 - float(mix[1:].sum()), loo,
            float(path.products(ridge, mix, mix)[0, 0]), path.effective(ridge), path.rank,
        )  # fmt: skip


def set_linear(
    estimator: FineTunedLinearRegression,
    fit: RidgeFit,
    source: Source | None,
    n_features: int,
) -> FineTunedLinearRegression:
    """Make an estimator a fitted one, as if it had seen the rows.

    Parameters
    ----------
    estimator : FineTunedLinearRegression
        The estimator; it is changed.
    fit : RidgeFit
        Slopes of the correction and its offset, in the units of the user.
    source : Source or None
        The source of the fit, whose slopes and offset are added.
    n_features : int
        Number of columns.

    Returns
    -------
    FineTunedLinearRegression
        The same.
    """
    if source is not None:
        scale = fit.source_scale
        coef = fit.coef if source.coef is None else fit.coef + scale[:, None] * source.coef
        fit = dataclasses.replace(
            fit, coef=coef, intercept=fit.intercept + scale * source.intercept
        )
    estimator.n_features_in_ = n_features
    return set_fit(estimator, fit, source, single=True)


class StreamedDesign(LinearDesign):
    """The same for rows that are read in blocks, by moments and one pass for left-out rows.

    Strengths are those of least leave-one-out error; equal rows are left out one by one.

    Parameters
    ----------
    task : Task
        The target, of numbers, with rows in blocks.
    train : ndarray of shape (m,)
        Rows to learn from.
    extra : list of ndarray of shape (m, 1)
        Predictions of a mixture for rows without them and with them, or none.
    """

    def __init__(self, task: Task, train: NDArray[np.intp], extra: list[FloatArray]) -> None:
        self.task, self.train, self.kept = task, train, train
        self._inner, self.weight, self.metric = {}, None, None
        self.counts = np.ones(len(train), dtype=np.bool_)
        self.columns = [j for j, s in enumerate(task.sources) if s.duplicate_of is None]
        blocks: Any = task.X
        predictions = [task.scores[j][train] for j in self.columns]
        self.candidates = Candidates(
            blocks.part(train), task.y[train][:, None], predictions + extra, True,
            total=blocks.moments_of(train),
        )  # fmt: skip
        self.ridges, self.errors, self.form = self.judged(self.candidates)

    def correct(
        self, left_out: FloatArray, fitted: FloatArray, ridge: float | None = None
    ) -> LinearFit:
        """Fit a correction to the mixture: its predictions are columns of the path already."""
        first = len(self.columns) + 1
        judged = self._best(self.candidates, first, False, ridge)
        fit = self._best(self.candidates, first + 1, False, judged.ridge_, within=True)
        return dataclasses.replace(fit, loo_=judged.loo_)
