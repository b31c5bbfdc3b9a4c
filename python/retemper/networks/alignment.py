r"""How alike the features of two networks are: centred kernel alignment without its bias.

Centred kernel alignment (Kornblith et al. 2019 [1]_) with the unbiased estimator of the
Hilbert-Schmidt criterion (Song et al. 2012 [2]_): 1 on itself under rotation and scaling, 0 in the
mean for independent features, where the biased estimator tends to 1 if there are more units than
rows. Effective rank is :math:`(\sum \lambda)^2 / \sum \lambda^2` of the eigenvalues of the
covariance of the rows at hand: at most one less than their number.

References
----------
.. [1] S. Kornblith, M. Norouzi, H. Lee, G. Hinton, "Similarity of Neural Network Representations
   Revisited", ICML (2019).
.. [2] L. Song, A. Smola, A. Gretton, J. Bedo, K. Borgwardt, "Feature Selection via Dependence
   Maximization", JMLR 13 (2012).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, as_float_array

__all__ = ["debiased_cka"]


def debiased_cka(X: ArrayLike, Y: ArrayLike) -> float:
    r"""Alignment of two sets of features of the same rows, without the bias of many units.

    Parameters
    ----------
    X : array_like of shape (n, p)
        Features, n ≥ 4 rows.
    Y : array_like of shape (n, q)
        Others.

    Returns
    -------
    float
        In [-1, 1]: 1 if one is a rotation, scaling and shift of the other; 0 in the mean if they
        are independent; 0 also if one of them is constant.

    See Also
    --------
    diagnose

    Notes
    -----
    The cosine of the U-centred Gram matrices, :math:`\tilde K_{ij} = K_{ij} - \frac{1}{n-2}
    (\sum_l K_{il} + \sum_l K_{lj}) + \frac{1}{(n-1)(n-2)} \sum_{kl} K_{kl}` off the diagonal of K
    set to zero, which is the unbiased criterion of Song et al. 2012 (see the module).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.networks import debiased_cka
    >>> X = np.random.default_rng(0).normal(size=(30, 4))
    >>> round(debiased_cka(X, 3.0 * X[:, ::-1] + 1.0), 9)
    1.0
    """
    a, b = as_float_array(X, "X", ndim=2), as_float_array(Y, "Y", ndim=2)
    if len(a) != len(b) or len(a) < 4:
        raise ValueError(f"X and Y must have one length, at least 4, got {len(a)}, {len(b)}")
    K, L = u_centred(a), u_centred(b)
    norm = np.linalg.norm(K) * np.linalg.norm(L)
    return float((K * L).sum() / norm) if norm > 0.0 else 0.0


def u_centred(X: FloatArray) -> FloatArray:
    """Gram matrix without its diagonal, centred so that inner products are unbiased."""
    n = len(X)
    Z = X - X.mean(axis=0)
    size = np.abs(Z).max()
    if size <= 1e-12 * np.abs(X).max():  # constant to rounding
        return np.zeros((n, n))
    Z = Z / size
    return u_centred_gram(Z @ Z.T)


def u_centred_gram(gram: FloatArray) -> FloatArray:
    """The same of a Gram matrix."""
    n = len(gram)
    K = gram.copy()
    np.fill_diagonal(K, 0.0)
    sums = K.sum(axis=0) / (n - 2)
    K = K - sums - sums[:, None] + sums.sum() / (n - 1)
    np.fill_diagonal(K, 0.0)
    return np.asarray(K)


def effective_rank(X: FloatArray) -> float:
    """(Σλ)² / Σλ² of the eigenvalues of the covariance; 0 for constant features."""
    Z = X - X.mean(axis=0)
    size = np.abs(Z).max()
    if size <= 1e-12 * np.abs(X).max():
        return 0.0
    Z = Z / size
    C = Z @ Z.T if len(Z) < Z.shape[1] else Z.T @ Z
    return float(np.trace(C) ** 2 / (C**2).sum())


def permuted_spread(
    X: FloatArray, Y: FloatArray, rng: np.random.Generator, count: int = 20
) -> float:
    """Standard deviation of the alignment about 0 if the rows of one side are permuted."""
    K, L = u_centred(X), u_centred(Y)
    norm = np.linalg.norm(K) * np.linalg.norm(L)
    if not norm > 0.0:
        return 0.0
    found = []
    for _ in range(count):
        order = rng.permutation(len(L))
        found.append(float((K * L[np.ix_(order, order)]).sum() / norm))
    return float(np.sqrt(np.mean(np.square(found))))
