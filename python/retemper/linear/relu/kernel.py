"""Shallow ReLU networks in the kernel regime: tangent kernel, path of ridges, bound, risk."""

from __future__ import annotations

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from retemper._control import interruptible
from retemper._dispatch import core
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_kind,
    check_shape,
)
from retemper.exceptions import ValidityWarning
from retemper.linear.model import LinearModel
from retemper.linear.stopping import contour
from retemper.linear.theory import LinearTheory, solve

__all__ = ["KernelPath", "ReLUBound", "rademacher_bound", "relu_bound", "relu_ntk", "relu_risk"]


def relu_ntk(X: ArrayLike, Y: ArrayLike | None = None, *, n_jobs: int | None = None) -> FloatArray:
    r"""Tangent kernel of an infinitely wide shallow ReLU network.

    The network is :math:`f(x) = m^{-1/2} \sum_r a_r \max(w_r \cdot x, 0)` with fixed signs
    :math:`a_r = \pm 1`, Gaussian :math:`w_r` and only :math:`w` trained. At :math:`m \to \infty`
    its kernel is [1]_

    .. math:: H(x, x') = x \cdot x' \, \frac{\pi - \arccos \cos\angle(x, x')}{2 \pi}.

    Parameters
    ----------
    X : array_like of shape (n, d)
        Rows, in any units: the kernel is homogeneous of degree one in each argument.
    Y : array_like of shape (k, d) or None, default=None
        Rows to pair with; None pairs ``X`` with itself.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    ndarray of shape (n, n) or (n, k)
        Kernel. Half the squared norm on the diagonal, exactly symmetric if ``Y`` is None, zero for
        zero rows. Nothing else of this size is allocated.

    Raises
    ------
    TypeError
        If an array does not hold real numbers, or is sparse.
    ValueError
        If an array is not two-dimensional, holds NaN, infinite or huge entries, or the two
        differ in their number of features.

    See Also
    --------
    relu_network_kernel, FineTunedReLURegressor

    References
    ----------
    .. [1] S. Arora, S. S. Du, W. Hu, Z. Li and R. Wang, "Fine-grained analysis of optimization and
       generalization for overparameterized two-layer neural networks", ICML (2019).

    Examples
    --------
    >>> from retemper.linear import relu_ntk
    >>> relu_ntk([[3.0, 4.0], [4.0, -3.0]])
    array([[12.5,  0. ],
           [ 0. , 12.5]])
    """
    x = as_float_array(X, "X", ndim=2)
    n_threads = effective_n_threads(n_jobs)
    if Y is None:
        return np.asarray(core.linear.relu_ntk(x, n_threads))
    y = as_float_array(Y, "Y", ndim=2)
    check_shape(y, (None, x.shape[1]), "Y")
    return np.asarray(core.linear.relu_ntk_cross(x, y, n_threads))


class KernelPath:
    r"""Kernel ridge regression of one column at every ridge, from one eigendecomposition.

    The fit of least :math:`n^{-1} \lVert r - f \rVert^2 + \lambda \lVert f \rVert_H^2`:
    :math:`H \alpha + b` with :math:`(H + n \lambda I) \alpha + b = r`; with an intercept
    :math:`\sum_i \alpha_i = 0`, else :math:`b = 0`. The decomposition lives on the N directions
    that carry information: all n, or the n - 1 orthogonal to the constant.

    Parameters
    ----------
    kernel : ndarray of shape (n, n)
        Symmetric positive semi-definite H.
    column : ndarray of shape (n,)
        What is regressed: labels, or the residual of a source.
    fit_intercept : bool, default=True
        Whether there is a free b.

    Attributes
    ----------
    n_samples, n_effective : int
        n and N.
    eigenvalues : ndarray of shape (N,)
        Ascending; those that rounding cannot tell from zero are zero.
    rank : int
        Number of positive eigenvalues.

    Notes
    -----
    At ridge zero and deficient rank the fit is that of smallest norm. Derived here
    (`derivations/linear#shallow-relu-networks`); leave-one-out is exact, the intercept refitted
    each time.
    """

    def __init__(self, kernel: FloatArray, column: FloatArray, fit_intercept: bool = True) -> None:
        n = len(column)
        self.trace = float(np.trace(kernel))
        self._column_mean = float(column.mean()) if fit_intercept else 0.0
        self._kernel_means = kernel.mean(axis=0) if fit_intercept else np.zeros(n)
        self.n_samples, self.n_effective = n, n - fit_intercept
        if fit_intercept:  # reflect the constant onto the first axis and leave that axis out
            v = np.full(n, n**-0.5)
            v[0] += 1.0
            v /= np.linalg.norm(v)
            w = kernel @ v
            w -= (v @ w) * v
            kernel = kernel - 2.0 * (np.outer(v, w) + np.outer(w, v))
            kernel = kernel[1:, 1:]
        ev, basis = interruptible(
            linalg.eigh, kernel, driver="evd", check_finite=False, cost=float(n) ** 3
        )
        if fit_intercept:
            basis = np.vstack([np.zeros(n - 1), basis])
            basis -= 2.0 * np.outer(v, v @ basis)
        floor = n * np.finfo(float).eps * max(ev[-1], 0.0)
        self.eigenvalues = np.where(ev > floor, ev, 0.0)
        self.rank = int((ev > floor).sum())
        self.basis = basis
        self.coordinates = basis.T @ column

    def _weights(self, ridge: ArrayLike) -> FloatArray:
        """Proportional to 1 / (eigenvalue + n ridge), shape (m, N), largest entry 1."""
        nu = self.n_samples * np.atleast_1d(np.asarray(ridge, np.float64))[:, None]
        low = self.eigenvalues[0]
        with np.errstate(invalid="ignore"):
            weight: FloatArray = (low + nu) / (self.eigenvalues + nu)
        weight[np.isinf(nu[:, 0])] = 1.0
        weight[nu[:, 0] + low == 0.0] = self.eigenvalues == 0.0
        return weight

    def grid(self, *, floor: float = 1e-6, per_decade: int = 4) -> FloatArray:
        """Ridges worth trying, strongest first: infinity, log-spaced, and zero at full rank.

        Parameters
        ----------
        floor : float, default=1e-6
            Smallest positive ridge, in units of the mean of the kernel's diagonal over n.
        per_decade : int, default=4
            Points per factor of ten.

        Returns
        -------
        ndarray of shape (m,)
            Ridges, descending.
        """
        if not self.rank:
            return np.array([np.inf])
        n = self.n_samples
        top, bottom = np.log10(10.0 * n), np.log10(floor)
        m = int(np.ceil((top - bottom) * per_decade)) + 1
        zero = [0.0] if self.rank == self.n_effective else []
        return np.concatenate([[np.inf], self.trace / n**2 * np.logspace(top, bottom, m), zero])

    def gcv(self, ridge: ArrayLike) -> FloatArray:
        r"""Generalised cross-validation, :math:`N \sum w^2 \tilde r^2 / (\sum w)^2`.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        ndarray of shape (m,)
            Predicted mean squared error on a new row, noise included.
        """
        weight = self._weights(ridge)
        square = np.square(weight * self.coordinates).sum(axis=1)
        error: FloatArray = self.n_effective * square / weight.sum(axis=1) ** 2
        return error

    def loo(self, ridge: ArrayLike) -> FloatArray:
        """Exact leave-one-out residuals.

        Parameters
        ----------
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        ndarray of shape (m, n)
            Label minus the prediction of the fit without that row.
        """
        weight = self._weights(ridge)
        square = np.square(self.basis)
        above, below = (weight * self.coordinates) @ self.basis.T, weight @ square.T
        deficient = (np.atleast_1d(ridge) == 0.0) & (self.rank < self.n_effective)
        if deficient.any():
            inverse = self._inverse(0.0)
            reached = (below <= 1e-12) & deficient[:, None]  # decided at the next order in ridge
            above = np.where(reached, self.basis @ (inverse * self.coordinates), above)
            below = np.where(reached, square @ inverse, below)
        residual: FloatArray = above / below
        return residual

    def _inverse(self, ridge: float) -> FloatArray:
        total = self.eigenvalues + self.n_samples * ridge
        return np.divide(1.0, total, out=np.zeros_like(total), where=total > 0.0)

    def solve(self, ridge: float) -> tuple[FloatArray, float]:
        """Dual coefficients (n,) and intercept at one ridge; zero and the mean at infinity."""
        alpha: FloatArray = self.basis @ (self._inverse(ridge) * self.coordinates)
        return alpha, self._column_mean - float(self._kernel_means @ alpha)

    def flow(self, time: float) -> tuple[FloatArray, float]:
        r"""Dual coefficients and intercept of gradient flow from zero, stopped at a time.

        The flow is that of :math:`\frac{1}{2n} \lVert r - f \rVert^2` in the space of the kernel,
        the intercept at its best value at every time.

        Parameters
        ----------
        time : float
            When training stops; infinite is ridge zero.

        Returns
        -------
        ndarray of shape (n,), float
            Coefficients of the kernel, and the intercept.
        """
        if np.isinf(time):
            return self.solve(0.0)
        rate = time / self.n_samples
        done = np.full(self.n_effective, rate)
        some = self.eigenvalues > 0.0
        done[some] = -np.expm1(-rate * self.eigenvalues[some]) / self.eigenvalues[some]
        alpha: FloatArray = self.basis @ (done * self.coordinates)
        return alpha, self._column_mean - float(self._kernel_means @ alpha)

    def flow_loo(self, times: ArrayLike) -> FloatArray:
        r"""Exact leave-one-out residuals of flows that stop.

        The flow without a row is a sum over complex ridges :math:`s_k` of ridge fits without it,
        :math:`\sum_k \frac{\omega_k}{s_k} f_{s_k}`, and those have the residual of a deleted row.
        Derived here (`derivations/linear#shallow-relu-networks`).

        Parameters
        ----------
        times : array_like of shape (m,)
            When training stops.

        Returns
        -------
        ndarray of shape (m, n)
            Label minus the prediction of the flow without that row, of the same speed.
        """
        square = np.square(self.basis)
        z = self.eigenvalues / self.n_samples
        rows = []
        for time in np.atleast_1d(np.asarray(times, np.float64)):
            if time == 0.0 or np.isinf(time):
                rows.append(self.loo(np.inf if time == 0.0 else 0.0)[0])
                continue
            s, weight = contour(float(time))
            half = len(s) // 2  # the others are their conjugates
            share = s[half:, None] / (s[half:, None] + z)
            above, below = (share * self.coordinates) @ self.basis.T, share @ square.T
            factor = weight[half:] / s[half:]
            rows.append(2.0 * (factor[:, None] * (above / below)).real.sum(axis=0))
        return np.array(rows)

    @property
    def quadratic_form(self) -> float:
        """Squared norm of the interpolating fit; infinite if no fit interpolates."""
        null = self.eigenvalues == 0.0
        total = float(np.square(self.coordinates).sum())
        if np.square(self.coordinates[null]).sum() > 1e-20 * total:
            return np.inf
        return float(self._inverse(0.0) @ np.square(self.coordinates))


class ReLUBound(NamedTuple):
    """Bound on the test loss of a fine-tuned ReLU network (see `relu_bound`).

    Parameters
    ----------
    quadratic_form : float
        :math:`r^T H^{-1} r` of the residual.
    bound : float
        Leading term of the bound, in units of the labels.
    jitter : float
        What was added to the diagonal of a singular kernel; 0 for any other.

    See Also
    --------
    relu_bound

    Examples
    --------
    >>> from retemper.linear import relu_bound
    >>> found = relu_bound([[1.0, 0.0], [0.0, 1.0]], [0.3, 0.4])
    >>> round(found.quadratic_form, 6), found.jitter
    (0.5, 0.0)
    """

    quadratic_form: float
    bound: float
    jitter: float


def rademacher_bound(quadratic_form: float, trace: float, n: int) -> float:
    """Twice the empirical complexity of a kernel ball: ``2 sqrt(quadratic_form * trace) / n``.

    Parameters
    ----------
    quadratic_form : float
        Squared radius of the ball.
    trace : float
        Trace of the kernel matrix.
    n : int
        Number of rows.

    Returns
    -------
    float
        Bound in units of the labels.
    """
    return 2.0 * float(np.sqrt(quadratic_form * trace)) / n


def relu_bound(X: ArrayLike, residual: ArrayLike, *, n_jobs: int | None = None) -> ReLUBound:
    r"""Leading term of the generalisation bound of ReLU fine-tuning.

    With :math:`r = y - f_S(X)`, the residual of the source, the test loss (1-Lipschitz) of the
    interpolating fine-tuned network is at most :math:`\sqrt{2\, r^T H^{-1} r / n}` plus
    :math:`O(\sqrt{\log(n/\delta)/n})` for rows of unit norm. For other rows the same argument
    (twice the Rademacher complexity of the ball that holds the fit) gives
    :math:`2 \sqrt{r^T H^{-1} r \, \mathrm{tr} H}/n`, which is what is returned: both agree
    on unit rows, where :math:`\mathrm{tr} H = n/2`. Since :math:`H \succeq XX^T/4`, a linear
    residual :math:`r = X \Delta` has :math:`r^T H^{-1} r \le 4 \|\Delta\|^2`.

    Parameters
    ----------
    X : array_like of shape (n, d)
        Training rows.
    residual : array_like of shape (n,)
        Labels minus source predictions, r.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    ReLUBound
        ``quadratic_form`` :math:`r^T H^{-1} r`, ``bound`` in units of the labels, and ``jitter``,
        what was added to the diagonal of H (0 unless warned).

    Raises
    ------
    ValueError
        If shapes disagree, entries are not finite, there is no row, or every row is zero.
    TypeError
        If an array does not hold real numbers.

    Warns
    -----
    ValidityWarning
        If H is numerically singular (repeated or parallel rows): 1e-12 of its mean diagonal is
        then added, and the numbers describe that kernel.

    See Also
    --------
    relu_ntk, relu_risk

    Notes
    -----
    After Arora et al. (2019) [1]_ with the residual of the source in place of the labels, as in
    Shachaf et al. (2021); the form for rows of any norm and the cap are derived here
    (`derivations/linear#shallow-relu-networks`).

    References
    ----------
    .. [1] S. Arora, S. S. Du, W. Hu, Z. Li and R. Wang, "Fine-grained analysis of optimization and
       generalization for overparameterized two-layer neural networks", ICML (2019).

    Examples
    --------
    >>> from retemper.linear import relu_bound
    >>> relu_bound([[1.0, 0.0], [0.0, 1.0]], [0.3, 0.4]).bound
    0.707...
    """
    x = as_float_array(X, "X", ndim=2)
    r = as_float_array(residual, "residual")
    if not x.size:
        raise ValueError(f"X must hold at least one row and feature, got shape {x.shape}")
    check_shape(r, (len(x),), "residual")
    H = relu_ntk(x, n_jobs=n_jobs)
    trace = float(np.trace(H))
    if trace == 0.0:
        raise ValueError("X must have a non-zero row, all entries are 0")
    jitter = 0.0
    try:
        factor = interruptible(
            linalg.cho_factor, H, lower=True, check_finite=False, cost=float(len(x)) ** 3 / 3.0
        )
    except linalg.LinAlgError:
        jitter = 1e-12 * trace / len(x)
        warnings.warn(
            f"the tangent kernel of X is singular; {jitter:.3g} was added to its diagonal",
            ValidityWarning,
            stacklevel=2,
        )
        H[np.diag_indices_from(H)] += jitter
        factor = interruptible(
            linalg.cho_factor, H, lower=True, check_finite=False, cost=float(len(x)) ** 3 / 3.0
        )
    half = linalg.solve_triangular(factor[0], r, lower=True, check_finite=False)
    form = float(half @ half)
    return ReLUBound(form, rademacher_bound(form, trace, len(x)), jitter)


def relu_risk(model: LinearModel) -> LinearTheory:
    r"""Sharp risk of fine-tuning a wide ReLU network on a linear teacher.

    On unit-norm rows of high effective rank the kernel is :math:`(XX^T + I)/4` up to a rank-one
    part, so fine-tuning the network with ridge :math:`\lambda` is ridge regression towards the
    source with :math:`n \lambda_{eff} = (1 + 4 n \lambda)\, \mathrm{tr} \Sigma`.

    Parameters
    ----------
    model : LinearModel
        The task; inputs are the model's rows divided by their norms, the teachers act on the rows
        themselves. ``model.ridge`` is that of `FineTunedReLURegressor` on unit-norm rows: n times
        it is added to the kernel's diagonal. ``model.depth`` must be 1.

    Returns
    -------
    LinearTheory
        What `solve` returns for ``ridge = (1 + 4 n ridge) trace / n``; its ``model`` is that one.

    Raises
    ------
    TypeError
        If ``model`` is not a `LinearModel`.
    ValueError
        If its depth is not 1, its ridge is negative, its rows differ or its covariance is zero.

    Warns
    -----
    ValidityWarning
        If :math:`r = (\mathrm{tr}\Sigma)^2 / \mathrm{tr}\Sigma^2` is below 100 or n exceeds
        :math:`0.02 r^2`: use the leave-one-out error or GCV of the kernel fit instead.

    See Also
    --------
    solve, relu_bound

    Notes
    -----
    Derived here (`derivations/linear#shallow-relu-networks`). Against simulations of the kernel the
    risk is within 5 % for isotropic inputs (d = 200 to 600, n = .3 d to 2 d) and 8 % for
    eigenvalues :math:`i^{-1/2}` (d = 300).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, relu_risk
    >>> teacher = np.ones(400) / 20
    >>> theory = relu_risk(LinearModel(200, teacher, source_coef=0.8 * teacher, noise=0.1))
    >>> bool(theory.risk < theory.risk_scratch)
    True
    """
    check_kind(model, "model", LinearModel)
    if model.depth != 1:
        raise ValueError(f"model.depth must be 1 for a shallow network, got {model.depth}")
    if isinstance(model.ridge, str) or model.ridge < 0:
        raise ValueError(f"model.ridge must be non-negative, got {model.ridge}")
    if model.row_shares is not None:
        raise ValueError("model.row_shares must be None: rows are brought to norm one")
    if model.cov is not None:
        trace, square = float(np.trace(model.cov)), float(np.square(model.cov).sum())
    elif model.spectrum is not None:
        trace, square = float(model.spectrum.sum()), float(np.square(model.spectrum).sum())
    else:
        trace = square = float(model.n_features)
    if trace == 0.0:
        raise ValueError("the covariance must not be zero, its trace is 0")
    rank = trace**2 / square
    if rank < 100.0 or model.n_samples > 0.02 * rank**2:
        warnings.warn(
            f"the equivalence with ridge regression needs effective rank >= 100 and "
            f"n <= 0.02 rank^2; here the rank is {rank:.3g} and n = {model.n_samples}",
            ValidityWarning,
            stacklevel=2,
        )
    n = model.n_samples
    ridge = (1.0 / n + 4.0 * model.ridge) * trace if n else 0.0
    return solve(dataclasses.replace(model, ridge=ridge))
