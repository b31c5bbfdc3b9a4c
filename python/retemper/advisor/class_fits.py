"""Fits of classifiers: one design and its inner splits for every candidate of some rows."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray
from retemper.advisor.sampling import inner_splits
from retemper.advisor.task import Task
from retemper.linear.logistic.choice import Judge, LogisticChoice, choose_fit
from retemper.linear.logistic.path import LogisticPath, by_class, log_loss_rows

#: Largest change of a logit in the last step, relative to one plus the largest.
_TOL = 1e-6


@dataclasses.dataclass(frozen=True)
class ClassFit:
    """A fitted classifier of which the advice needs the numbers alone.

    Attributes
    ----------
    judge : Judge
        Design and inner splits.
    choice : LogisticChoice
        The fit, and how its ridge was found.
    coef_, intercept_ : ndarray of shape (q, d) and (q,)
        Slopes and offsets of the correction, without the source.
    """

    judge: Judge
    choice: LogisticChoice
    coef_: FloatArray
    intercept_: FloatArray

    @property
    def ridge_(self) -> float:
        """The ridge."""
        return self.choice.fit.ridge

    @property
    def source_scale_(self) -> float:
        """Factor on the source; zero without one."""
        return self.choice.source_scale

    @cached_property
    def _left_out(self) -> FloatArray:
        return self.judge.path.left_out(self.choice.start, self.choice.fit)

    @property
    def loo_(self) -> float:
        """Leave-one-out log loss; NaN if every row is alone in its class, so that none can go."""
        return self._mean(log_loss_rows(self._left_out, self.judge.path.labels))

    @property
    def loo_error_rate_(self) -> float:
        """Share of rows that leave-one-out gets wrong; NaN as `loo_`."""
        return self._mean(by_class(self._left_out).argmax(axis=1) != self.judge.path.labels)

    def _mean(self, values: NDArray[Any]) -> float:
        weight = np.where(np.isfinite(self._left_out).all(axis=1), self.judge.path.weight, 0.0)
        total = weight.sum()
        return float(weight @ np.where(weight > 0.0, values, 0.0) / total) if total else math.nan


class ClassDesign:
    """The rows that candidates learn from, prepared once.

    Parameters
    ----------
    task : Task
        The target, of classes.
    train : ndarray of shape (m,)
        Rows to learn from, of all classes.
    """

    def __init__(self, task: Task, train: NDArray[np.intp]) -> None:
        self.task, self.train = task, train
        labels = task.y[train].astype(np.intp)
        weight = task.sample.weight[train]
        kept = weight > 0.0
        self.kept = np.flatnonzero(kept)
        rows = train[kept]
        path = LogisticPath(
            task.X[rows], labels[kept], task.n_classes, weight[kept] / weight[kept].sum()
        )
        splits = inner_splits(task.sample.part(rows), labels[kept])
        self.judge = Judge(path, splits)

    def fit(self, source: int, *, rescaled: bool = False) -> ClassFit:
        """Fit a candidate.

        Parameters
        ----------
        source : int
            Number of the source; -1 for scratch.
        rescaled : bool, default=False
            Whether a factor on the source is fitted.

        Returns
        -------
        ClassFit
            Its numbers.
        """
        if source < 0:
            return self.fit_from(None)
        scores = self.task.scores[source][self.train]
        return self.fit_from(scores, source_scale="auto" if rescaled else 1.0)

    def fit_from(
        self,
        scores: FloatArray | None,
        *,
        ridge: float | Literal["cv"] = "cv",
        source_scale: float | Literal["auto"] = 1.0,
    ) -> ClassFit:
        """Fit from given logits.

        Parameters
        ----------
        scores : ndarray of shape (m, q) or None
            Logits of the rows to learn from; None is zero.
        ridge : float or "cv", default="cv"
            Strength, or that the inner splits choose it.
        source_scale : float or "auto", default=1.0
            Factor on the logits, or that it is fitted.

        Returns
        -------
        ClassFit
            Its numbers.
        """
        path = self.judge.path
        if scores is None:
            start, source_scale = np.zeros((len(self.kept), path.n_logits)), 0.0
        else:
            start = scores[self.kept]
        choice = choose_fit(self.judge, start, ridge=ridge, source_scale=source_scale, tol=_TOL)
        coef, intercept = path.coef(choice.fit)
        return ClassFit(self.judge, choice, coef, intercept)
