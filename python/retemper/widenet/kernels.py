"""Kernels of a layer of infinitely many hidden units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array
from retemper.exceptions import NumericalError
from retemper.widenet.activations import CLOSED, TOLERANCE, check_activation, expansion_of, name_of
from retemper.widenet.model import Activation

__all__ = ["nngp_kernel"]


def activation_of(activation: Any) -> Any:
    """The activation as the compiled core knows it."""
    return core.widenet.Activation[activation if activation in CLOSED else "table"]


def table_of(activation: Any, largest_var: float) -> Any:
    """The activation as panels for the sampler; none where the core knows it."""
    if activation in CLOSED:
        empty = np.zeros((0, 0))
        return core.widenet.ActivationTable(edge=np.zeros(0), coef=empty, slope=empty)
    return core.widenet.ActivationTable(**expansion_of(activation).table(largest_var))


def activation_mean(activation: Any, var: FloatArray) -> FloatArray:
    """E s(u) of a centred Gaussian u with these variances."""
    if activation == "relu":
        return (var / (2.0 * math.pi)) ** 0.5
    if activation == "gelu":
        return (var**2 / (2.0 * math.pi * (1.0 + var))) ** 0.5
    if activation in CLOSED:
        return np.zeros_like(var)
    return np.ascontiguousarray(expansion_of(activation).moments(var).coef[:, 0])


def kernel_slope(
    activation: Any, cov: FloatArray, row_var: FloatArray, col_var: FloatArray
) -> FloatArray:
    """Derivative of E s(u) s(u') in the covariance of u and u': E s'(u) s'(u').

    Parameters
    ----------
    activation : str or callable
        As in `WideNetModel`.
    cov, row_var, col_var : ndarray
        Covariances and variances of the pairs, of shapes that broadcast.

    Returns
    -------
    ndarray
        The derivative.

    Raises
    ------
    NumericalError
        If the series of an activation without a formula has not ended.
    """
    a, b, c = np.broadcast_arrays(row_var, col_var, cov)
    if activation == "linear":
        return np.ones_like(c)
    if activation == "erf":
        return np.asarray(4.0 / math.pi / np.sqrt((1.0 + 2.0 * a) * (1.0 + 2.0 * b) - 4.0 * c * c))
    root = np.sqrt(a * b)
    z = np.clip(np.divide(c, root, out=np.zeros(c.shape), where=root > 0.0), -1.0, 1.0)
    if activation == "relu":
        return np.asarray((math.pi - np.arccos(z)) / (2.0 * math.pi))
    if activation == "gelu":
        A, B = 1.0 + a, 1.0 + b
        square, s = A * B - c * c, 1.0 / A + 1.0 / B - 1.0
        bend = (c + 2.0 * c * s + (a * b + c * c * s) * c / square) / np.sqrt(square)
        return np.asarray(0.25 + (np.arcsin(c / np.sqrt(A * B)) + bend) / (2.0 * math.pi))
    expansion = expansion_of(activation)
    row = expansion.moments(np.ravel(row_var))
    col = row if col_var is row_var else expansion.moments(np.ravel(col_var))
    n = min(row.coef.shape[1], col.coef.shape[1])
    left, right = (m.coef.reshape(*v.shape, -1) for m, v in ((row, row_var), (col, col_var)))
    out = np.zeros(c.shape)
    for k in range(n - 1, 0, -1):
        out = out * z + k * left[..., k] * right[..., k]
    rest = float(np.sqrt(row.rest.max() * col.rest.max())) if n > 1 else 0.0
    error = n * float(np.abs(z).max(initial=0.0)) ** (n - 1) * rest
    if error > TOLERANCE * float(row.square.max()):
        raise NumericalError(
            f"the slope of the kernel of {name_of(activation)} is known to {error:.1g} only at "
            f"correlations up to {np.abs(z).max():.6g} of pre-activations: its Hermite series has "
            f"{n} terms"
        )
    return np.asarray(np.divide(out, root, out=np.zeros(c.shape), where=root > 0.0))


def square_norms(X: FloatArray) -> FloatArray:
    """|x|^2 / n_features of every row."""
    return np.asarray(np.einsum("ij,ij->i", X, X) / X.shape[1])


class _Pairs:
    """Series of a table of pairs: coefficients of either side, cut to the same degree."""

    def __init__(self, activation: Any, row_var: FloatArray, col_var: FloatArray, centred: bool):
        self.expansion = expansion_of(activation)
        self.row_var, self.col_var = row_var, col_var
        self.row = self.expansion.moments(row_var)
        self.col = self.row if col_var is row_var else self.expansion.moments(col_var)
        self.order = min(self.row.coef.shape[1], self.col.coef.shape[1])
        self.row_rest, self.col_rest = (
            np.maximum(m.square - np.square(m.coef[:, : self.order]).sum(1), 0.0)
            for m in (self.row, self.col)
        )
        self.centred = centred
        self.scale = float(max(self.row.square.max(), self.col.square.max()))

    def blocks(self) -> dict[str, FloatArray]:
        row, col = (m.coef[:, : self.order].copy() for m in (self.row, self.col))
        if self.centred:
            row[:, 0] = col[:, 0] = 0.0
        return {"row_coef": row, "col_coef": np.ascontiguousarray(col.T)}

    def single(
        self, i: NDArray[np.intp], j: NDArray[np.intp], z: FloatArray
    ) -> tuple[NDArray[np.bool_], FloatArray]:
        """Which of the pairs (i, j) of correlations z the series leaves inexact; their kernel."""
        left = np.sqrt(self.row_rest[i] * self.col_rest[j])
        far = left * np.abs(z) ** self.order > 0.1 * TOLERANCE * self.scale
        i, j, z = i[far], j[far], z[far]
        a, b = self.row_var[i], self.col_var[j]
        same = (z > 1.0 - 1e-14) & (np.abs(a - b) <= 1e-14 * a)
        value = np.where(same, self.row.square[i], 0.0)
        if not same.all():
            value[~same] = self.expansion.pair_averages(a[~same], b[~same], z[~same])
        if self.centred:
            value -= self.row.coef[i, 0] * self.col.coef[j, 0]
        return far, value

    def check(self, kernel: FloatArray, gram: Any, cov: float, is_symmetric: bool) -> FloatArray:
        """The kernel with what the series leaves inexact; ``gram`` makes the Gram matrix."""
        worst = math.sqrt(self.row_rest.max() * self.col_rest.max())
        if worst <= 0.1 * TOLERANCE * self.scale:
            return kernel
        limit = (0.1 * TOLERANCE * self.scale / worst) ** (1.0 / self.order)
        root = np.sqrt(self.row_var), np.sqrt(self.col_var)
        with np.errstate(divide="ignore"):
            left, right = (np.where(r > 0.0, 1.0 / r, 0.0) for r in root)
        z = np.clip(cov * left[:, None] * gram() * right, -1.0, 1.0)
        near = np.abs(z) > limit
        if is_symmetric:
            near = np.triu(near)
        i, j = np.nonzero(near)
        far, value = self.single(i, j, z[i, j])
        kernel[i[far], j[far]] = value
        if is_symmetric:
            kernel[j[far], i[far]] = value
        return kernel


def kernel_of_gram(
    activation: Any,
    gram: FloatArray,
    row_var: FloatArray,
    col_var: FloatArray,
    cov: float,
    *,
    is_centred: bool = True,
    n_jobs: int | None = None,
) -> FloatArray:
    """Kernel of the pairs (i, j) with covariance ``cov * gram[i, j]``; centred by default."""
    shared: dict[str, Any] = {
        "gram": gram,
        "row_var": row_var,
        "col_var": col_var,
        "cov": cov,
        "n_threads": effective_n_threads(n_jobs),
    }
    if activation in CLOSED:
        own = {"activation": activation_of(activation), "is_centred": is_centred}
        return np.asarray(core.widenet.kernel_of_gram(**own, **shared))
    pairs = _Pairs(activation, row_var, col_var, is_centred)
    out = np.asarray(core.widenet.series_kernel_of_gram(**pairs.blocks(), **shared))
    return pairs.check(out, lambda: gram, cov, is_symmetric=False)


def kernel_of_pairs(activation: Any, var: FloatArray, cov: FloatArray) -> FloatArray:
    """Centred kernel of separate pairs with equal variances ``var`` and covariance ``cov``."""
    if activation not in CLOSED:
        pairs = _Pairs(activation, var, var, centred=True)
        z = np.clip(np.divide(cov, var, out=np.zeros_like(var), where=var > 0.0), -1.0, 1.0)
        out = np.zeros(var.size)
        for k in range(pairs.order - 1, 0, -1):
            out = (out + pairs.row.coef[:, k] ** 2) * z
        every = np.arange(var.size)
        far, value = pairs.single(every, every, z)
        out[far] = value
        return out
    return np.asarray(
        core.widenet.kernel_of_pairs(
            activation=activation_of(activation),
            covs=cov,
            row_var=var,
            col_var=var,
            is_centred=True,
        )
    )


def centred_kernel(
    activation: Any, X: FloatArray, lam0: float, n_jobs: int | None = None
) -> FloatArray:
    """Centred kernel of the rows of X, for a prior of precision lam0."""
    return kernel_of_rows(activation, X, lam0, is_centred=True, n_jobs=n_jobs)


def kernel_of_rows(
    activation: Any, X: FloatArray, lam0: float, *, is_centred: bool, n_jobs: int | None = None
) -> FloatArray:
    """Kernel of the rows of X, for a prior of precision lam0; exactly symmetric."""
    var, cov = square_norms(X) / lam0, 1.0 / (lam0 * X.shape[1])
    shared: dict[str, Any] = {
        "X": X,
        "var": var,
        "cov": cov,
        "n_threads": effective_n_threads(n_jobs),
    }
    if activation in CLOSED:
        own = {"activation": activation_of(activation), "is_centred": is_centred}
        return np.asarray(core.widenet.kernel(**own, **shared))
    pairs = _Pairs(activation, var, var, is_centred)
    out = np.asarray(core.widenet.series_kernel(**pairs.blocks(), **shared))
    return pairs.check(out, lambda: X @ X.T, cov, is_symmetric=True)


def nngp_kernel(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    activation: Activation = "erf",
    lam0: float = 1.0,
    centred: bool = False,
    weight_correlation: float = 1.0,
    n_jobs: int | None = None,
) -> NDArray[np.float64]:
    r"""Kernel :math:`E_w[\sigma(w \cdot x / \sqrt{N_0})\, \sigma(w \cdot x' / \sqrt{N_0})]`.

    The weights w are normal with variance 1 / ``lam0`` each. This is the covariance of a network
    of infinite width with a read-out of unit variance.

    Parameters
    ----------
    X : array_like of shape (n, n_features)
        Inputs.
    Y : array_like of shape (k, n_features) or None, default=None
        Other inputs; None takes X, half of whose pairs are computed.
    activation : str or callable, default="erf"
        The activation, as in `WideNetModel`.
    lam0 : float, default=1.0
        Prior precision of the weights, positive.
    centred : bool, default=False
        Subtract the product of the means :math:`E\sigma`, which are zero for odd activations.
    weight_correlation : float, default=1.0
        Correlation of the weights that X sees with those that Y sees: 1 is one network, less two
        that are coupled (see `KernelTasks`).
    n_jobs : int or None, default=None
        Threads; None follows the OpenMP limit, -1 uses every processor. Never changes the result.

    Returns
    -------
    ndarray of shape (n, n) or (n, k)
        The kernel; exactly symmetric where Y is None.

    Raises
    ------
    ValueError
        If the numbers of features differ, an entry or the activation is not finite, or ``lam0`` or
        ``weight_correlation`` is outside its domain.
    NumericalError
        If the error of an activation without a formula is above 1e-10 of the largest
        :math:`E\sigma^2`.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    solve

    References
    ----------
    .. [1] C. K. I. Williams, "Computing with Infinite Networks", NIPS 9 (1996), for erf.
    .. [2] Y. Cho and L. K. Saul, "Kernel Methods for Deep Learning", NIPS 22 (2009), for ReLU.
       GELU, the centred forms and the series of any other activation are derived here
       (`derivations/widenet#kernels`).

    Examples
    --------
    >>> from retemper.widenet import nngp_kernel
    >>> float(nngp_kernel([[1.0]])[0, 0].round(6))  # (2 / pi) asin(2 / 3)
    0.464559
    """
    X = as_float_array(X, "X", ndim=2)
    activation = check_activation(activation)
    lam0 = check_parameter(lam0, "lam0")
    weight_correlation = check_parameter(weight_correlation, "weight_correlation")
    if not X.shape[1]:
        raise ValueError(f"X must have at least one feature, got shape {X.shape}")
    if Y is None and weight_correlation != 1.0:
        Y = X
    if Y is None:
        return kernel_of_rows(activation, X, lam0, is_centred=bool(centred), n_jobs=n_jobs)
    Y = as_float_array(Y, "Y", ndim=2)
    if Y.shape[1] != X.shape[1]:
        raise ValueError(f"X has {X.shape[1]} features and Y has {Y.shape[1]}")
    row_var, col_var, cov = (
        square_norms(X) / lam0,
        square_norms(Y) / lam0,
        weight_correlation / (lam0 * X.shape[1]),
    )
    if activation not in CLOSED:
        gram = np.ascontiguousarray(X @ Y.T)
        return kernel_of_gram(
            activation, gram, row_var, col_var, cov, is_centred=bool(centred), n_jobs=n_jobs
        )
    out = core.widenet.cross_kernel(
        activation=activation_of(activation),
        X=X,
        Y=Y,
        row_var=row_var,
        col_var=col_var,
        cov=cov,
        is_centred=bool(centred),
        n_threads=effective_n_threads(n_jobs),
    )
    return np.asarray(out)
