"""A mixture of sources: one factor for each, chosen on the target rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from retemper._validation import FloatArray
from retemper.linear.logistic.path import log_loss_rows

__all__ = ["Mixture", "convex_weights", "mix_scores"]

#: Ridges that are compared, descending, for sources whose predictions have unit variance.
_RIDGES = {
    "squared": (math.inf, *np.logspace(1.0, -5.0, 13).tolist()),
    "log loss": (math.inf, *np.logspace(0.5, -3.0, 8).tolist()),
}
#: Penalty of offsets of classes, which are determined up to a constant.
_FREE = 1e-9
_MAX_STEPS = 40


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Factors of the sources in a mixture.

    Attributes
    ----------
    weights : ndarray of shape (k,)
        One for each source, of any sign.
    intercept : ndarray of shape (q,)
        Offsets.
    ridge : float
        The strength that was chosen, for sources of unit variance.
    left_out : ndarray of shape (n, q)
        What the mixture predicts for every row when its group is left out, to first order for
        classes and exactly for numbers.
    """

    weights: FloatArray
    intercept: FloatArray
    ridge: float
    left_out: FloatArray

    def of(self, scores: FloatArray) -> FloatArray:
        """The mixture of predictions (k, m, q) of the sources: (m, q)."""
        return np.asarray(np.tensordot(self.weights, scores, axes=1) + self.intercept)


def mix_scores(
    scores: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    group: NDArray[np.intp],
    *,
    is_regression: bool,
) -> Mixture:
    r"""Fit the factors of a mixture of predictions, or of logits.

    Minimises half the mean squared error, or the mean log loss, of :math:`b + \sum_j a_j f_j(x)`
    plus :math:`(\mu / 2) \sum_j (a_j s_j)^2`, where :math:`s_j` is the spread of source j on the
    rows; a factor is the same for all classes. The strength :math:`\mu` is that of least
    leave-one-out loss, groups left out whole: exact for numbers, one Newton step from the fit for
    classes. A factor may be negative: a source that was turned round is as good as one that was
    not.
    Derived here (`advise#how-it-decides`).

    Parameters
    ----------
    scores : ndarray of shape (k, n, q)
        Predictions, or logits (one column for two classes), of every source.
    y : ndarray of shape (n,)
        Labels; classes as 0, 1, ...
    weight : ndarray of shape (n,)
        Weights of the rows.
    group : ndarray of shape (n,)
        Rows that belong together.
    is_regression : bool
        Whether labels are numbers.

    Returns
    -------
    Mixture
        The factors.
    """
    k, n, q = scores.shape
    share = weight / weight.sum()
    mean = np.einsum("n,knq->kq", share, scores)
    spread = np.sqrt(np.einsum("n,knq->k", share, np.square(scores - mean[:, None])) / q)
    spread = np.where(spread > 0.0, spread, 1.0)
    design = np.zeros((n, q, k + q))
    design[:, :, :k] = ((scores - mean[:, None]) / spread[:, None, None]).transpose(1, 2, 0)
    design[:, np.arange(q), k + np.arange(q)] = 1.0
    fit = _Fit(design, y, share, _padded(group), is_regression)
    penalty = np.r_[np.ones(k), np.zeros(q)]
    best: tuple[float, float, FloatArray, FloatArray] | None = None
    theta = fit.offsets(k)
    for ridge in _RIDGES["squared" if is_regression else "log loss"]:
        theta, left = fit.at(ridge, penalty, theta)
        loss = float(share @ fit.rows(left))
        if best is None or loss < best[0]:
            best = loss, ridge, theta, left
    assert best is not None
    weights = best[2][:k] / spread
    return Mixture(weights, best[2][k:] - weights @ mean, best[1], best[3])


def _padded(group: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of every group, (g, m), -1 where a group has fewer."""
    order = np.argsort(group, kind="stable")
    _, start, size = np.unique(group[order], return_index=True, return_counts=True)
    out = np.full((len(size), int(size.max())), -1, dtype=np.intp)
    for i, (a, m) in enumerate(zip(start, size, strict=True)):
        out[i, :m] = order[a : a + m]
    return out


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Penalised fits of one design (n, q, p) with the same parameters for all outputs."""

    design: FloatArray
    y: FloatArray
    share: FloatArray
    groups: NDArray[np.intp]
    is_regression: bool

    def offsets(self, k: int) -> FloatArray:
        """Parameters with the offsets of the labels alone."""
        theta = np.zeros(self.design.shape[2])
        if self.is_regression:
            theta[k:] = self.share @ self.y
        return theta

    def rows(self, z: FloatArray) -> FloatArray:
        """Loss of every row, (n,)."""
        if self.is_regression:
            return np.asarray(np.square(z[:, 0] - self.y))
        return np.asarray(log_loss_rows(_both(z), self.y.astype(np.intp)))

    def derivatives(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First (n, q) and second (n, q, q) derivatives of half the squares, or of the log loss."""
        n, q = z.shape
        if self.is_regression:
            return z - self.y[:, None], np.ones((n, 1, 1))
        full = _both(z)
        p = np.exp(full - full.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        first = p.copy()
        first[np.arange(n), self.y.astype(np.intp)] -= 1.0
        second = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None])
        return (first, second) if q > 1 else (first[:, 1:], second[:, 1:, 1:])

    def at(
        self, ridge: float, penalty: FloatArray, theta: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Parameters (p,) at a strength, from a start, and left-out predictions (n, q)."""
        kept = penalty == 0.0 if math.isinf(ridge) else np.ones(len(penalty), dtype=bool)
        design = self.design[:, :, kept]
        level = (penalty * (0.0 if math.isinf(ridge) else ridge))[kept] + _FREE
        half = 0.5 if self.is_regression else 1.0

        def cost(v: FloatArray) -> float:
            rows = half * self.rows(design @ v)
            return float(self.share @ rows + 0.5 * level @ np.square(v))

        point = theta[kept]
        now = cost(point)
        for _ in range(_MAX_STEPS):
            first, second = self.derivatives(design @ point)
            slope = np.einsum("n,nqp,nq->p", self.share, design, first) + level * point
            curve = self.curvature(design, second, level)
            step = np.linalg.solve(curve, slope)
            size = 1.0
            while (new := cost(point - size * step)) > now and size > 1e-6:
                size /= 2
            if new > now:
                break
            point, before, now = point - size * step, now, new
            if self.is_regression or before - now <= 1e-10 * abs(before):
                break
        out = np.zeros(len(penalty))
        out[kept] = point
        return out, self._left_out(design, point, level)

    def curvature(self, design: FloatArray, second: FloatArray, level: FloatArray) -> FloatArray:
        """Second derivatives of the penalised loss, (p, p)."""
        weighted = np.einsum("n,nqr,nrp->nqp", self.share, second, design)
        p = design.shape[2]
        return np.asarray(design.reshape(-1, p).T @ weighted.reshape(-1, p) + np.diag(level))

    def _left_out(self, design: FloatArray, point: FloatArray, level: FloatArray) -> FloatArray:
        """Predictions after one Newton step from the fit without the group of a row."""
        q, p = design.shape[1:]
        z = design @ point
        first, second = self.derivatives(z)
        inverse = np.linalg.inv(self.curvature(design, second, level))
        g, m = self.groups.shape
        share = np.where(self.groups < 0, 0.0, self.share[self.groups])
        block = design[self.groups].reshape(g, m * q, p)
        hat = block @ inverse @ block.swapaxes(1, 2)
        bend = np.zeros((g, m, q, m, q))
        at = np.arange(m)
        bend[:, at, :, at, :] = (share[:, :, None, None] * second[self.groups]).swapaxes(0, 1)
        pull = (share[:, :, None] * first[self.groups]).reshape(g, m * q, 1)
        matrix = np.eye(m * q) - bend.reshape(g, m * q, m * q) @ hat
        change = (hat @ np.linalg.solve(matrix, pull)).reshape(g, m, q)
        out = z.copy()
        real = self.groups >= 0
        out[self.groups[real]] += change[real]
        return out


def _both(z: FloatArray) -> FloatArray:
    """Logits of all classes: two have one column."""
    return np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z


def convex_weights(
    scores: FloatArray, y: FloatArray, weight: FloatArray, *, is_regression: bool
) -> FloatArray:
    """Weights that minimise the loss of an average: not negative, and of sum one.

    Newton's method, each step a least-squares problem over such weights.

    Parameters
    ----------
    scores : ndarray of shape (c, n, q)
        Predictions, or logits (one column for two classes).
    y : ndarray of shape (n,)
        Labels; classes as 0, 1, ...
    weight : ndarray of shape (n,)
        Weights of the rows.
    is_regression : bool
        Whether labels are numbers: squared error, else log loss.

    Returns
    -------
    ndarray of shape (c,)
        The weights.
    """
    c = len(scores)
    share = weight / weight.sum()
    design = np.ascontiguousarray(scores.transpose(1, 2, 0))
    fit = _Fit(design, y, share, np.empty((0, 1), dtype=np.intp), is_regression)
    level = np.full(c, _FREE)
    point = np.full(c, 1.0 / c)
    now = float(share @ fit.rows(design @ point))
    for _ in range(_MAX_STEPS):
        first, second = fit.derivatives(design @ point)
        curve = fit.curvature(design, second, level * max(1.0, float(np.square(design).mean())))
        slope = np.einsum("n,nqc,nq->c", share, design, first)
        step = _least_on_simplex(curve, curve @ point - slope) - point
        size = 1.0
        while (new := float(share @ fit.rows(design @ (point + size * step)))) > now:
            size /= 2
            if size < 1e-6:
                return point
        point, before, now = point + size * step, now, new
        if before - now <= 1e-8 * abs(before):
            break
    return point


def _least_on_simplex(curve: FloatArray, pull: FloatArray) -> FloatArray:
    """The point of the simplex that minimises half a quadratic form minus a linear one."""
    root = np.linalg.cholesky(curve)
    # on the simplex the form is a norm: |root' w - t|^2, t = root^-1 pull; the sum is a heavy row
    heavy = 1e4 * math.sqrt(float(np.trace(curve)))
    top = np.vstack([root.T, np.full(len(pull), heavy)])
    found = nnls(top, np.append(solve_triangular(root, pull, lower=True), heavy))[0]
    return np.asarray(found / found.sum())
