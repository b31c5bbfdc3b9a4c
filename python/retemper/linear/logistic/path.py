r"""Logistic regression that starts from given logits, at every ridge, with leave-one-out.

The loss is :math:`\sum_i s_i \ell_i + (\lambda/2) \lVert W \rVert^2` with weights of sum one and
:math:`\ell_i` the log loss of the logits ``offset + X @ W.T + b``. Rows are taken to the principal
axes of the (centred) design, min(n, d) at most, where the norm is the same, once for all ridges and
splits; the core fits there. Two classes have one logit, that of the second; k > 2 classes have k.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retemper._dispatch import core
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.linear.ridge.path import RidgePath

#: Rows to learn from, and rows to judge.
Split = tuple[NDArray[np.intp], NDArray[np.intp]]

#: Up to so many rows, leave-one-out refits; above, it takes one Newton step.
REFIT_LIMIT = 200
#: Largest number of parameters whose joint Hessian is formed; above, one block for every class.
JOINT_LIMIT = 2000
#: Smallest ridge tried, in units of the trace of the covariance of the rows over n: below that of
#: linear regression, since a certain label bends the loss less than an uncertain one.
RIDGE_FLOOR = 1e-5
#: The ridges reach down to this share of the smallest usable eigenvalue.
SPECTRUM_SHARE = 1e-3
#: Largest change of a logit, relative to one plus the largest, at which a refit is taken as done.
_REFIT_TOL = 1e-4
_NO_SOURCE = np.zeros((0, 0))


def contrast(n_classes: int) -> FloatArray:
    r"""Coordinates of logits in which no direction is idle.

    Parameters
    ----------
    n_classes : int
        k, at least 2.

    Returns
    -------
    ndarray of shape (1, 1) or (k, k - 1)
        One for two classes, else k - 1 orthonormal columns of sum zero.
    """
    if n_classes == 2:
        return np.ones((1, 1))
    centred = np.eye(n_classes) - 1.0 / n_classes
    return np.ascontiguousarray(linalg.svd(centred)[0][:, : n_classes - 1])


def by_class(logits: FloatArray) -> FloatArray:
    """Logits of every class: of one column, that of the second of two."""
    if logits.shape[-1] != 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=-1)


def probabilities(logits: FloatArray) -> FloatArray:
    """Softmax along the last axis.

    Parameters
    ----------
    logits : ndarray of shape (..., k) or (..., 1)
        Logits.

    Returns
    -------
    ndarray of shape (..., k)
        Probabilities.
    """
    logits = by_class(logits)
    value: FloatArray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    value /= value.sum(axis=-1, keepdims=True)
    return value


def log_loss_rows(logits: FloatArray, labels: NDArray[np.intp]) -> FloatArray:
    """Minus the logarithm of the probability of the label, in nats.

    Parameters
    ----------
    logits : ndarray of shape (..., n, k) or (..., n, 1)
        Logits.
    labels : ndarray of shape (n,)
        Class numbers.

    Returns
    -------
    ndarray of shape (..., n)
        Log loss of every row.
    """
    logits = by_class(logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    own = shifted[..., np.arange(len(labels)), labels]
    loss: FloatArray = np.log(np.exp(shifted).sum(axis=-1)) - own
    return loss


@dataclasses.dataclass(frozen=True)
class LogisticFit:
    """Minimum at one ridge.

    Attributes
    ----------
    ridge : float
        The ridge.
    at : core.linear.LogisticCoef
        Slopes in the coordinates of the path, offsets, and the factor on the source.
    logits : ndarray of shape (n, m)
        Logits of the rows, offset included.
    n_iter : int
        Newton steps.
    residual : float
        Largest change of a logit in the last step.
    status : Status
        How the iteration ended; "no_solution" where the loss has no minimum.
    """

    ridge: float
    at: Any
    logits: FloatArray
    n_iter: int
    residual: float
    status: Status


@dataclasses.dataclass(frozen=True)
class Start:
    """What a fit starts from.

    Attributes
    ----------
    offset : ndarray of shape (n, m)
        Logits that are kept as they are.
    source : ndarray of shape (n, m) or (0, 0)
        Logits whose factor is fitted.
    scale_ridge : float
        Penalty on the squared factor, halved.
    """

    offset: FloatArray
    source: FloatArray = dataclasses.field(default_factory=lambda: _NO_SOURCE)
    scale_ridge: float = 0.0


class LogisticPath:
    """Logistic regression on one design, from any logits, at every ridge.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Design.
    labels : ndarray of shape (n,)
        Class numbers.
    n_classes : int
        k.
    weight : ndarray of shape (n,)
        Positive weights of sum one.
    fit_intercept : bool, default=True
        Whether there are free intercepts.
    max_iter : int, default=100
        Limit of the Newton steps at one ridge.
    n_threads : int, default=1
        Threads, shared out among splits; never change the result.
    """

    def __init__(
        self,
        X: FloatArray,
        labels: NDArray[np.intp],
        n_classes: int,
        weight: FloatArray,
        *,
        fit_intercept: bool = True,
        max_iter: int = 100,
        n_threads: int = 1,
    ) -> None:
        n = len(X)
        self.labels, self.weight, self.n_classes = labels, weight, n_classes
        self.fit_intercept, self.max_iter, self.n_threads = fit_intercept, max_iter, n_threads
        self.n_logits = 1 if n_classes == 2 else n_classes
        share = None if np.ptp(weight) <= 1e-12 * weight.max() else weight * n
        self.design = RidgePath(X, np.empty((n, 0)), fit_intercept=fit_intercept, weight=share)
        self.scale = np.sqrt(self.design.n_samples * self.design.eigenvalues)
        self.rank = len(self.scale)
        self.rows = self.design.basis * self.scale
        if share is not None:
            self.rows /= np.sqrt(share)[:, None]
        self.trace = float(self.design.eigenvalues.sum())

    @cached_property
    def engaged(self) -> float:
        """A ridge below which every usable direction is fitted, or nearly."""
        usable = self.design.usable
        return 0.1 * float(usable[0]) if usable.size else 0.0

    def grid(self, per_decade: int = 4, size: int | None = None) -> FloatArray:
        """Ridges worth trying, descending from infinity.

        Parameters
        ----------
        per_decade : int, default=4
            Points per factor of ten.
        size : int or None, default=None
            What stands for n in the range; None is the number of rows.

        Returns
        -------
        ndarray of shape (j,)
            Infinity, then log-spaced from ten times the largest eigenvalue of the covariance of the
            rows down to 1e-5 times its trace over n, or to a thousandth of the smallest usable
            eigenvalue (as `RidgePath.grid` has it) if that is lower. Zero is left out: separated
            classes have no fit there.
        """
        if not self.rank or not self.trace > 0.0:
            return np.array([np.inf])
        top = math.log10(10.0 * float(self.design.eigenvalues[-1]) / self.trace)
        bottom = math.log10(RIDGE_FLOOR / (size or len(self.labels)))
        m = math.ceil((top - bottom) * per_decade) + 1
        exponents = np.linspace(top, bottom, m)
        usable = self.design.usable
        if usable.size:
            step = (top - bottom) / (m - 1)
            lowest = math.log10(SPECTRUM_SHARE * usable[0] / self.trace)
            more = max(math.ceil((bottom - lowest) / step), 0)
            exponents = np.append(exponents, bottom - step * np.arange(1, more + 1))
        return np.concatenate([[np.inf], self.trace * 10.0**exponents])

    def coef(self, fit: LogisticFit) -> tuple[FloatArray, FloatArray]:
        """Slopes (m, d) and intercepts (m,) of a fit on the rows as they were given."""
        inside, design = fit.at.slopes, self.design
        if design.right is not None:
            slopes = inside @ design.right.T
        else:
            slopes = (inside / self.scale) @ design.basis.T @ design.design
        return slopes, fit.at.offset - slopes @ design.mean

    def folds(self, splits: list[Split]) -> Any:
        """Splits, each prepared in its own coordinates: a `core.linear.LogisticFolds`."""
        return core.linear.LogisticFolds(
            rows=self.rows,
            label=self.labels.tolist(),
            n_classes=self.n_classes,
            weight=self.weight,
            fit_intercept=self.fit_intercept,
            splits=[(train.tolist(), test.tolist()) for train, test in splits],
            n_threads=self.n_threads,
        )

    def run(self, folds: Any, start: Start) -> Any:
        """Fits of prepared splits, not begun: a `core.linear.LogisticRun`."""
        offset, source = (np.ascontiguousarray(a) for a in (start.offset, start.source))
        return core.linear.LogisticRun(folds, offset, source, start.scale_ridge)

    def advance(self, run: Any, ridges: FloatArray, tol: float) -> Any:
        """Go on to some ridges: a `core.linear.LogisticStretch`."""
        return run.advance(
            np.ascontiguousarray(ridges),
            max_iter=self.max_iter,
            tol=tol,
            n_threads=self.n_threads,
        )

    def fit(self, start: Start, ridge: float, *, tol: float = 1e-8) -> LogisticFit:
        """Minimise at one ridge, with all rows.

        Parameters
        ----------
        start : Start
            Logits to start from.
        ridge : float
            Not negative, may be infinite.
        tol : float, default=1e-8
            Largest change of a logit at convergence, relative to one plus the largest logit.

        Returns
        -------
        LogisticFit
            The minimum.
        """
        every = np.arange(len(self.labels))
        run = self.run(self.folds([(every, every)]), start)
        found = self.advance(run, np.array([float(ridge)]), tol)
        return LogisticFit(
            float(ridge), run.coef(0), found.logits, found.n_iter, float(found.residual[0, 0]),
            Status(found.status[0]),
        )  # fmt: skip

    def left_out(self, start: Start, fit: LogisticFit) -> FloatArray:
        """Leave-one-out logits, at the ridge of the fit.

        Parameters
        ----------
        start : Start
            What the fit started from.
        fit : LogisticFit
            Minimum with all rows.

        Returns
        -------
        ndarray of shape (n, m)
            Logits of every row in the fit without it, the penalty on the sum of losses kept: by
            refitting up to 200 rows, else by one Newton step in which the factor on the source
            stays. NaN for rows that are alone in their class.
        """
        n = len(self.labels)
        kept = np.flatnonzero(np.bincount(self.labels)[self.labels] > 1)
        out = np.full((n, self.n_logits), np.nan)
        if n > REFIT_LIMIT:
            out[kept] = (fit.logits + self._newton_step(fit))[kept]
            return out
        every = np.arange(n)
        run = self.run(self.folds([(np.delete(every, i), every[i : i + 1]) for i in kept]), start)
        run.start_at(fit.at)
        out[kept] = self.advance(run, np.array([fit.ridge]), _REFIT_TOL).logits
        return out

    def _newton_step(self, fit: LogisticFit) -> FloatArray:
        r"""Change of the logits of every row (n, m) when it leaves: one Newton step.

        :math:`\eta_i^{(-i)} = \eta_i - G_i (1 - s_i H_i G_i)^{-1} s_i (y_i - p_i)` with
        :math:`G_i = x_i^T (\sum_j s_j x_j H_j x_j^T + \lambda)^{-1} x_i`.
        """
        weight, ends = self.weight, np.ones((len(self.labels), int(self.fit_intercept)))
        rows = self.rows[:, :0] if math.isinf(fit.ridge) else self.rows
        basis, p = np.hstack([rows, ends]), rows.shape[1] + ends.shape[1]
        prob = probabilities(fit.logits)
        residual = weight[:, None] * (np.eye(self.n_classes)[self.labels] - prob)
        if self.n_logits == 1:
            prob, residual = prob[:, 1:], residual[:, 1:]
        if not p:
            return np.zeros_like(residual)
        penalty = np.zeros(p)
        penalty[: rows.shape[1]] = 0.0 if math.isinf(fit.ridge) else fit.ridge
        to_logits = contrast(self.n_classes)
        m = to_logits.shape[1]
        if m > 1 and m * p <= JOINT_LIMIT:
            mean = prob @ to_logits
            square = (to_logits[:, :, None] * to_logits[:, None]).reshape(-1, m * m)
            local = (prob @ square).reshape(-1, m, m) - mean[:, :, None] * mean[:, None]
            joint = np.empty((m, p, m, p))
            for a in range(m):
                for b in range(a + 1):
                    joint[a, :, b] = (basis * (weight * local[:, a, b])[:, None]).T @ basis
                    joint[b, :, a] = joint[a, :, b].T
            full = joint.reshape(m * p, m * p)
            full[np.diag_indices(m * p)] += np.tile(penalty, m)
            inverse = linalg.lapack.dpotri(_cholesky(full), lower=1)[0]
            inverse = (np.tril(inverse) + np.tril(inverse, -1).T).reshape(m, p, m, p)
            reach = np.empty((len(basis), m, m))
            for a in range(m):
                for b in range(a + 1):
                    reach[:, a, b] = np.einsum("ij,ij->i", basis @ inverse[a, :, b], basis)
                    reach[:, b, a] = reach[:, a, b]
            inside = np.eye(m) - weight[:, None, None] * (local @ reach)
            pull = np.linalg.solve(inside, (residual @ to_logits)[:, :, None])
            change: FloatArray = -(reach @ pull)[:, :, 0] @ to_logits.T
            return change
        bend = weight[:, None] * prob * (1.0 - prob)
        leverage = np.empty_like(bend)
        for c, column in enumerate(bend.T):
            scaled = np.sqrt(column)[:, None] * basis
            factor = _cholesky(scaled.T @ scaled + np.diag(penalty))
            half = linalg.solve_triangular(factor, basis.T, lower=True, check_finite=False)
            leverage[:, c] = np.einsum("ji,ji->i", half, half)
        blocks: FloatArray = -leverage / np.maximum(1.0 - bend * leverage, 1e-12) * residual
        return blocks


def _cholesky(matrix: FloatArray) -> FloatArray:
    """Lower factor of a matrix that is positive definite up to rounding."""
    diagonal = matrix.diagonal()
    jitter = 1e-14 * diagonal.max(initial=0.0) + np.finfo(float).tiny
    for _ in range(12):
        try:
            matrix[np.diag_indices_from(matrix)] += jitter
            return np.asarray(linalg.cholesky(matrix, lower=True, check_finite=False))
        except linalg.LinAlgError:
            jitter *= 100.0
    raise linalg.LinAlgError("curvature is not positive definite")
