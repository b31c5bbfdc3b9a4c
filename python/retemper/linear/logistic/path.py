r"""Logistic regression that starts from given logits, at every ridge, with leave-one-out.

The loss is :math:`\sum_i s_i \ell_i + (\lambda/2) \lVert W \rVert^2` with weights of sum one and
:math:`\ell_i` the log loss of the logits ``offset + X @ W + b``. Rows are taken to the basis of the
(centred) design, of size min(n, d) at most, where the norm is the same, once for all ridges.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retemper._results import Status
from retemper._validation import FloatArray
from retemper.linear.ridge.path import RidgePath

#: Largest number of parameters whose joint Hessian is formed; above, one block for every class.
JOINT_LIMIT = 2000
#: Smallest ridge tried, in units of the trace of the covariance of the rows over n: below that of
#: linear regression, since a certain label bends the loss less than an uncertain one.
RIDGE_FLOOR = 1e-5
#: The ridges reach down to this share of the smallest usable eigenvalue.
SPECTRUM_SHARE = 1e-3
#: Where steps of order one still lead on from logits of this size, there is no minimum.
_RUNAWAY = 25.0
#: Largest number of conjugate gradient steps before the curvature is computed anew.
_CG_LIMIT = 25
#: Steps beyond this are no Newton steps: the curvature along them is rounding.
_LONGEST = 1e100
#: A relative decrease of the loss by less than this cannot be seen.
_RESOLUTION = 1e-15


def contrast(n_classes: int) -> FloatArray:
    r"""Coordinates of logits: two classes by their difference, more by a basis of sum zero.

    Parameters
    ----------
    n_classes : int
        k, at least 2.

    Returns
    -------
    ndarray of shape (k, m)
        C, logits being ``eta @ C.T``: m = 1 and logits :math:`(0, \eta)` for two classes, else
        m = k - 1 orthonormal columns of sum zero.
    """
    if n_classes == 2:
        return np.array([[0.0], [1.0]])
    centred = np.eye(n_classes) - 1.0 / n_classes
    return np.ascontiguousarray(linalg.svd(centred)[0][:, : n_classes - 1])


def probabilities(logits: FloatArray) -> FloatArray:
    """Softmax along the last axis.

    Parameters
    ----------
    logits : ndarray of shape (n, k)
        Logits.

    Returns
    -------
    ndarray of shape (n, k)
        Probabilities.
    """
    value: FloatArray = np.exp(logits - logits.max(axis=1, keepdims=True))
    value /= value.sum(axis=1, keepdims=True)
    return value


def log_loss_rows(logits: FloatArray, labels: NDArray[np.intp]) -> FloatArray:
    """Minus the logarithm of the probability of the label, in nats.

    Parameters
    ----------
    logits : ndarray of shape (n, k)
        Logits.
    labels : ndarray of shape (n,)
        Class numbers.

    Returns
    -------
    ndarray of shape (n,)
        Log loss of every row.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(labels)), labels]
    loss: FloatArray = np.log(np.exp(shifted).sum(axis=1)) - own
    return loss


@dataclasses.dataclass(frozen=True)
class LogisticFit:
    """Minimum at one ridge.

    Attributes
    ----------
    ridge : float
        The ridge.
    theta : ndarray of shape (p, m)
        Parameters in the basis of the path, intercepts last.
    logits : ndarray of shape (n, k)
        Logits of the rows, offset included.
    n_iter : int
        Newton steps.
    residual : float
        Largest change of a logit in the last step.
    status : Status
        How the iteration ended; "no_solution" where the loss has no minimum.
    """

    ridge: float
    theta: FloatArray
    logits: FloatArray
    n_iter: int
    residual: float
    status: Status


class Curvature:
    """Second derivatives of the loss at given logits, without ridge.

    Joint in all parameters, or with one block for every class if they are too many; the blocks
    neglect that classes compete, and depend on no choice of coordinates.

    Parameters
    ----------
    path : LogisticPath
        The data.
    logits : ndarray of shape (n, k)
        Where.
    damping : float, default=0.0
        Share of the largest curvature that any probabilities can have, added.
    """

    def __init__(self, path: LogisticPath, logits: FloatArray, damping: float = 0.0) -> None:
        self.path, self.prob = path, probabilities(logits)
        (p, m), weight = (path.basis.shape[1], path.contrast.shape[1]), path.weight
        self.joint = m == 1 or m * p <= JOINT_LIMIT
        if self.joint:
            mean = self.prob @ path.contrast
            square = (path.contrast[:, :, None] * path.contrast[:, None]).reshape(-1, m * m)
            self.local = (self.prob @ square).reshape(-1, m, m) - mean[:, :, None] * mean[:, None]
        else:
            self.local = self.prob * (1.0 - self.prob)
        local = self.local + damping * path.bound * (np.eye(m) if self.joint else 1.0)
        local *= weight.reshape(-1, *[1] * (local.ndim - 1))
        if not self.joint or m == 1:
            self.matrix = np.empty((local.shape[1], p, p))
            for a, column in enumerate(local.reshape(len(local), -1).T):
                scaled = np.sqrt(column)[:, None] * path.basis
                np.matmul(scaled.T, scaled, out=self.matrix[a])
        else:
            joint = np.empty((m, p, m, p))
            for a in range(m):
                for b in range(a + 1):
                    block = (local[:, a, b, None] * path.basis).T @ path.basis
                    joint[a, :, b] = block
                    joint[b, :, a] = block.T
            self.matrix = joint.reshape(1, m * p, m * p)
        self.ridge = math.nan

    def factorize(self, ridge: float) -> None:
        """Cholesky factors with a ridge, kept for `solve` and `left_out`."""
        if ridge == self.ridge or not self.path.basis.shape[1]:
            return
        penalty = np.where(self.path.penalized, ridge, 0.0)
        penalty = np.tile(penalty, self.matrix.shape[1] // len(penalty))
        self.factors = []
        for block in self.matrix:
            full = block + np.diag(penalty)
            diagonal = full.diagonal()
            jitter = 1e-14 * diagonal.max(initial=0.0) + np.finfo(float).tiny
            for _ in range(12):
                try:
                    full[np.diag_indices_from(full)] += jitter
                    self.factors.append(linalg.cholesky(full, lower=True, check_finite=False))
                    break
                except linalg.LinAlgError:
                    jitter *= 100.0
            else:
                raise linalg.LinAlgError("curvature is not positive definite")
        self.ridge = ridge

    def solve(self, gradient: FloatArray) -> FloatArray:
        """Inverse of the curvature with its ridge, times a vector (p, m)."""
        if self.joint:
            flat = linalg.cho_solve((self.factors[0], True), gradient.T.ravel(), check_finite=False)
            joint: FloatArray = flat.reshape(gradient.shape[::-1]).T
            return joint
        classes = gradient @ self.path.contrast.T
        for a, factor in enumerate(self.factors):
            classes[:, a] = linalg.cho_solve((factor, True), classes[:, a], check_finite=False)
        value: FloatArray = classes @ self.path.contrast
        return value

    def left_out(self) -> FloatArray:
        r"""Change of the logits of every row (n, k) when it leaves: one Newton step.

        :math:`\eta_i^{(-i)} = \eta_i - G_i (1 - s_i H_i G_i)^{-1} s_i (y_i - p_i)` with
        :math:`G_i = x_i^T (\sum_j s_j x_j H_j x_j^T + \lambda)^{-1} x_i`.
        """
        path = self.path
        basis, weight = path.basis, path.weight
        residual = weight[:, None] * (path.indicator - self.prob)
        if not basis.shape[1]:
            return np.zeros_like(residual)
        if self.joint and path.contrast.shape[1] > 1:
            m, p = path.contrast.shape[1], basis.shape[1]
            inverse = linalg.lapack.dpotri(self.factors[0], lower=1)[0]
            inverse = np.tril(inverse) + np.tril(inverse, -1).T
            inverse = inverse.reshape(m, p, m, p)
            reach = np.empty((len(basis), m, m))
            for a in range(m):
                for b in range(a + 1):
                    reach[:, a, b] = np.einsum("ij,ij->i", basis @ inverse[a, :, b], basis)
                    reach[:, b, a] = reach[:, a, b]
            inside = np.eye(m) - weight[:, None, None] * (self.local @ reach)
            pull = np.linalg.solve(inside, (residual @ path.contrast)[:, :, None])
            change: FloatArray = -(reach @ pull)[:, :, 0] @ path.contrast.T
            return change
        columns = []
        for factor in self.factors:
            half = linalg.solve_triangular(factor, basis.T, lower=True, check_finite=False)
            columns.append(np.einsum("ji,ji->i", half, half))
        leverage = np.stack(columns, axis=1)
        if self.joint:
            residual = residual @ path.contrast
        inside = 1.0 - weight[:, None] * self.local.reshape(leverage.shape) * leverage
        change = -leverage / np.maximum(inside, 1e-12) * residual
        return change @ path.contrast.T if self.joint else change


class LogisticPath:
    """Logistic regression on one design, from any offset, at every ridge.

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
    ) -> None:
        n = len(X)
        self.labels, self.weight, self.max_iter = labels, weight, max_iter
        self.fit_intercept = fit_intercept
        self.contrast = contrast(n_classes)
        self.bound = 0.25 if n_classes == 2 else 0.5
        self.indicator = np.eye(n_classes)[labels]
        self.design = RidgePath(X, np.empty((n, 0)), fit_intercept=fit_intercept)
        self.scale = np.sqrt(self.design.n_samples * self.design.eigenvalues)
        self.rank = len(self.scale)
        self.basis = np.empty((n, self.rank + fit_intercept))
        self.basis[:, : self.rank] = self.design.basis * self.scale
        self.basis[:, self.rank :] = 1.0
        self.penalized = np.arange(self.basis.shape[1]) < self.rank
        square = np.einsum("ij,ij->i", self.design.design, self.design.design)
        centre = weight @ self.design.design if fit_intercept else np.zeros(X.shape[1])
        self.trace = float(weight @ square - centre @ centre)

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
            Infinity, then log-spaced from ten times the trace of the weighted covariance of the
            rows down to 1e-5 times the trace over n, or to a thousandth of the smallest usable
            eigenvalue (as `RidgePath.grid` has it) if that is lower. Zero is left out: separated
            classes have no fit there.
        """
        if not self.rank or not self.trace > 0.0:
            return np.array([np.inf])
        top, bottom = math.log10(10.0), math.log10(RIDGE_FLOOR / (size or len(self.labels)))
        m = math.ceil((top - bottom) * per_decade) + 1
        exponents = np.linspace(top, bottom, m)
        usable = self.design.usable
        if usable.size:
            step = (top - bottom) / (m - 1)
            lowest = math.log10(SPECTRUM_SHARE * usable[0] / self.trace)
            more = max(math.ceil((bottom - lowest) / step), 0)
            exponents = np.append(exponents, bottom - step * np.arange(1, more + 1))
        return np.concatenate([[np.inf], self.trace * 10.0**exponents])

    def coef(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Slopes (k, d) and intercepts (k,) of parameters; of two classes the first are zero."""
        inside, design = theta[: self.rank] @ self.contrast.T, self.design
        if design.right is not None:
            slopes = (design.right @ inside).T
        else:
            slopes = (design.basis @ (inside / self.scale[:, None])).T @ design.design
        offset = theta[self.rank :].sum(axis=0) @ self.contrast.T
        return slopes, offset - slopes @ design.mean

    def value(self, theta: FloatArray, logits: FloatArray, ridge: float) -> float:
        """Loss, penalty included."""
        loss = float(self.weight @ log_loss_rows(logits, self.labels))
        return loss + 0.5 * ridge * float(np.square(theta[self.penalized]).sum())

    def curvature(self, fit: LogisticFit) -> Curvature:
        """Curvature at a fit, its ridge included; at infinity that of the intercepts alone."""
        path = self._intercepts() if math.isinf(fit.ridge) else self
        curvature = Curvature(path, fit.logits)
        curvature.factorize(0.0 if math.isinf(fit.ridge) else fit.ridge)
        return curvature

    def left_out(self, fit: LogisticFit, curvature: Curvature | None = None) -> FloatArray:
        """Approximate leave-one-out logits.

        Parameters
        ----------
        fit : LogisticFit
            Minimum with all rows.
        curvature : Curvature or None, default=None
            That at the fit, if at hand.

        Returns
        -------
        ndarray of shape (n, k)
            Logits of every row in the fit without it, the penalty on the sum of losses kept.
        """
        if curvature is None:
            curvature = self.curvature(fit)
        return fit.logits + curvature.left_out()

    def _intercepts(self) -> LogisticPath:
        """The path without slopes."""
        new = object.__new__(LogisticPath)
        new.__dict__.update(self.__dict__)
        new.rank, new.scale = 0, self.scale[:0]
        new.basis = np.ascontiguousarray(self.basis[:, self.rank :])
        new.penalized = self.penalized[self.rank :]
        return new

    def fit(
        self,
        offset: FloatArray,
        ridge: float,
        *,
        start: LogisticFit | None = None,
        reference: Curvature | None = None,
        tol: float = 1e-8,
    ) -> LogisticFit:
        """Minimise at one ridge by Newton steps.

        Every step solves for the direction by conjugate gradients, preconditioned by the curvature
        at a reference point. Where a step does not lower the loss, the curvature is damped by a
        share of its upper bound.

        Parameters
        ----------
        offset : ndarray of shape (n, k)
            Logits to start from.
        ridge : float
            Not negative, may be infinite.
        start : LogisticFit or None, default=None
            Fit nearby, of the same offset.
        reference : Curvature or None, default=None
            Curvature nearby.
        tol : float, default=1e-8
            Largest change of a logit at convergence, relative to one plus the largest logit.

        Returns
        -------
        LogisticFit
            The minimum.
        """
        m = self.contrast.shape[1]
        if math.isinf(ridge):
            alone = self._intercepts().fit(offset, 0.0, tol=tol)
            theta = np.concatenate([np.zeros((self.rank, m)), alone.theta])
            return dataclasses.replace(alone, ridge=ridge, theta=theta)
        theta = np.zeros((self.basis.shape[1], m)) if start is None else start.theta
        if not theta.size:
            return LogisticFit(ridge, theta, offset, 0, 0.0, Status.CONVERGED)
        logits = offset + self.basis @ theta @ self.contrast.T
        far = 1e3 * (1.0 + float(np.ptp(offset, axis=1).max()))
        residual, status, n_iter, damping = math.inf, Status.MAX_ITER, 0, 0.0
        if reference is None or len(reference.path.penalized) != len(self.penalized):
            reference = Curvature(self, logits)
        reference.factorize(ridge)
        for n_iter in range(1, self.max_iter + 1):  # noqa: B007
            prob = probabilities(logits)
            pull = self.weight[:, None] * (prob - self.indicator)
            gradient = self.basis.T @ (pull @ self.contrast)
            gradient[self.penalized] += ridge * theta[self.penalized]
            step, tired = self._direction(gradient, prob, ridge, reference, damping=damping)
            change = self.basis @ step @ self.contrast.T
            residual = float(np.abs(change).max())
            slope = float((gradient * step).sum())
            loss = self.value(theta, logits, ridge)
            small = residual <= tol * (1.0 + float(np.abs(logits).max()))
            if (small and not damping) or abs(slope) <= _RESOLUTION * loss:
                if small:
                    theta, logits = theta + step, logits + change
                status = Status.CONVERGED
                break
            size = 0.0
            if abs(slope) <= 1e3 * _RESOLUTION * loss and residual < 1.0:
                size = 1.0  # the loss is too coarse to judge
            elif residual < far:  # else no curvature is left
                size = self._search(theta, logits, (step, change), ridge, (loss, slope))
            if size:
                theta, logits = theta + size * step, logits + size * change
                runaway = float(np.abs(logits - offset).max())
                if not ridge and runaway > _RUNAWAY and residual > 0.1 and self.rank:
                    status = Status.NO_SOLUTION
                    break
            before = damping
            if size < 0.1:
                damping = max(10.0 * damping, 1e-4)
            elif size == 1.0:
                damping = 0.1 * damping if damping > 1e-7 else 0.0
            if damping > 100.0:
                status = Status.STALLED
                break
            if tired or damping != before:
                reference = Curvature(self, logits, damping)
                reference.factorize(ridge)
        return LogisticFit(ridge, theta, logits, n_iter, residual, status)

    def _direction(
        self,
        gradient: FloatArray,
        prob: FloatArray,
        ridge: float,
        reference: Curvature,
        *,
        damping: float,
    ) -> tuple[FloatArray, bool]:
        """Newton direction by conjugate gradients, and whether they took long."""
        step, left = np.zeros_like(gradient), -gradient
        pulled = reference.solve(left)
        along, size = pulled, float((left * pulled).sum())
        goal = size * min(1e-2, size)
        for _ in range(_CG_LIMIT):
            if not size > 0.0:
                return step, False
            inside = self.basis @ along
            response = inside @ self.contrast.T
            response *= prob
            response -= prob * response.sum(axis=1, keepdims=True)
            bent = response @ self.contrast
            if damping:
                bent += damping * self.bound * inside
            bent *= self.weight[:, None]
            image = self.basis.T @ bent
            image[self.penalized] += ridge * along[self.penalized]
            with np.errstate(over="ignore", invalid="ignore"):
                bend = float((along * image).sum())
            length = size / bend if 0.0 < bend < np.inf else np.inf
            if not length * np.abs(along).max() < _LONGEST:  # saturated: no curvature
                return (step if step.any() else along), True
            step = step + length * along
            left = left - length * image
            pulled = reference.solve(left)
            before, size = size, float((left * pulled).sum())
            if not size > goal:
                return step, False
            along = pulled + (size / before) * along
        return step, True

    def _search(
        self,
        theta: FloatArray,
        logits: FloatArray,
        move: tuple[FloatArray, FloatArray],
        ridge: float,
        start: tuple[float, float],
    ) -> float:
        """Factor with which a move of parameters and logits lowers the loss; 0 if there is none."""

        def value(size: float) -> float:
            return self.value(theta + size * move[0], logits + size * move[1], ridge)

        (loss, slope), size = start, 1.0
        while not value(size) <= loss + 1e-4 * size * slope:
            size *= 0.5
            if size < 2e-4:
                return 0.0
        return size
