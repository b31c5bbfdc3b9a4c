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
from retemper.widenet.model import Activation

__all__ = ["nngp_kernel"]


def activation_of(activation: str) -> Any:
    """The activation as the compiled core knows it."""
    return core.widenet.Activation[activation]


def activation_mean(activation: str, var: FloatArray) -> FloatArray:
    """E s(u) of a centred Gaussian u with these variances."""
    if activation == "relu":
        return (var / (2.0 * math.pi)) ** 0.5
    if activation == "gelu":
        return (var**2 / (2.0 * math.pi * (1.0 + var))) ** 0.5
    return np.zeros_like(var)


def square_norms(X: FloatArray) -> FloatArray:
    """|x|^2 / n_features of every row."""
    return np.asarray(np.einsum("ij,ij->i", X, X) / X.shape[1])


def kernel_of_gram(
    activation: str,
    gram: FloatArray,
    row_var: FloatArray,
    col_var: FloatArray,
    cov: float,
    *,
    n_jobs: int | None = None,
) -> FloatArray:
    """Centred kernel of the pairs (i, j) with covariance ``cov * gram[i, j]``."""
    return np.asarray(
        core.widenet.kernel_of_gram(
            activation=activation_of(activation),
            gram=gram,
            row_var=row_var,
            col_var=col_var,
            cov=cov,
            is_centred=True,
            n_threads=effective_n_threads(n_jobs),
        )
    )


def kernel_of_pairs(activation: str, var: FloatArray, cov: FloatArray) -> FloatArray:
    """Centred kernel of separate pairs with equal variances ``var`` and covariance ``cov``."""
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
    activation: str, X: FloatArray, lam0: float, n_jobs: int | None = None
) -> FloatArray:
    """Centred kernel of the rows of X, for a prior of precision lam0."""
    return np.asarray(
        core.widenet.kernel(
            activation=activation_of(activation),
            X=X,
            var=square_norms(X) / lam0,
            cov=1.0 / (lam0 * X.shape[1]),
            is_centred=True,
            n_threads=effective_n_threads(n_jobs),
        )
    )


def nngp_kernel(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    activation: Activation = "erf",
    lam0: float = 1.0,
    centred: bool = False,
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
    activation : {"erf", "relu", "gelu", "linear"}, default="erf"
        The activation.
    lam0 : float, default=1.0
        Prior precision of the weights, positive.
    centred : bool, default=False
        Subtract the product of the means :math:`E\sigma`, which are zero for erf and linear.
    n_jobs : int or None, default=None
        Threads; None follows the OpenMP limit, -1 uses every processor. Never changes the result.

    Returns
    -------
    ndarray of shape (n, n) or (n, k)
        The kernel; exactly symmetric where Y is None.

    Raises
    ------
    ValueError
        If the numbers of features differ, an entry is not finite, or ``lam0`` is not positive.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    solve

    References
    ----------
    .. [1] C. K. I. Williams, "Computing with Infinite Networks", NIPS 9 (1996), for erf.
    .. [2] Y. Cho and L. K. Saul, "Kernel Methods for Deep Learning", NIPS 22 (2009), for ReLU.
       GELU and the centred forms are derived here (`derivations/widenet#kernels`).

    Examples
    --------
    >>> from retemper.widenet import nngp_kernel
    >>> float(nngp_kernel([[1.0]])[0, 0].round(6))  # (2 / pi) asin(2 / 3)
    0.464559
    """
    X = as_float_array(X, "X", ndim=2)
    check_parameter(activation, "activation")
    lam0 = check_parameter(lam0, "lam0")
    if not X.shape[1]:
        raise ValueError(f"X must have at least one feature, got shape {X.shape}")
    var = square_norms(X) / lam0
    shared = {
        "activation": activation_of(activation),
        "cov": 1.0 / (lam0 * X.shape[1]),
        "is_centred": bool(centred),
        "n_threads": effective_n_threads(n_jobs),
    }
    if Y is None:
        out = core.widenet.kernel(X=X, var=var, **shared)
    else:
        Y = as_float_array(Y, "Y", ndim=2)
        if Y.shape[1] != X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features and Y has {Y.shape[1]}")
        out = core.widenet.cross_kernel(
            X=X, Y=Y, row_var=var, col_var=square_norms(Y) / lam0, **shared
        )
    return np.asarray(out)
