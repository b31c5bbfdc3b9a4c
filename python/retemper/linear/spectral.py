"""Effective ridge and degrees of freedom of a covariance."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from retemper._control import interruptible, report_status
from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array
from retemper.linear.broadcasting import (
    ANY_RANK,
    broadcast,
)

__all__ = ["EffectiveRidge", "effective_ridge"]

RANK_CUT = 1e-14  # as in theory.hpp


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class EffectiveRidge(Result):
    r"""Effective ridge and degrees of freedom, as `effective_ridge` returns them (see `solve`).

    Parameters
    ----------
    status : Status
        The worst over the points.
    n_iter : int
        Largest number of passes over the spectrum.
    residual : float
        Largest relative residual of the self-consistent equation.
    message : str
        The status in words.
    effective_ridge : float or ndarray
        Effective ridge :math:`\kappa`, in units of the eigenvalues; infinite without samples.
    df1, df2 : float or ndarray
        :math:`\sum_i (\lambda_i/(\lambda_i+\kappa))^p` for p = 1, 2; counts of eigenvalues.

    See Also
    --------
    effective_ridge

    Examples
    --------
    >>> from retemper.linear import effective_ridge
    >>> found = effective_ridge([1.0] * 100, 40, 0.0)
    >>> round(float(found.effective_ridge), 9), round(float(found.df1), 9)
    (1.5, 40.0)
    """

    effective_ridge: Any
    df1: Any
    df2: Any


def effective_ridge(
    spectrum: ArrayLike, n_samples: ArrayLike, ridge: ArrayLike = 0.0, *, n_jobs: int | None = None
) -> EffectiveRidge:
    r"""Effective ridge of a covariance, for many sample sizes and ridges at once.

    Finds the largest root :math:`\kappa` of
    :math:`\kappa (1 - \mathrm{df}_1(\kappa)/n) = \lambda`, with
    :math:`\mathrm{df}_p(\kappa) = \sum_i (\lambda_i / (\lambda_i + \kappa))^p`. Directions with
    eigenvalues far above :math:`\kappa` are learned from n samples, those far below are not.

    Parameters
    ----------
    spectrum : array_like of shape (d,)
        Eigenvalues of the covariance, non-negative, in any order; those at or below 1e-14 of the
        largest count as zero.
    n_samples : array_like
        Numbers n of samples, 0 or at least 1e-100, not necessarily integers; broadcast against
        ``ridge``.
    ridge : array_like, default=0.0
        Ridge :math:`\lambda` per sample, in units of the eigenvalues. Negative values are legal
        down to the point where :math:`\mathrm{df}_2 = n`.
    n_jobs : int or None, default=None
        Threads; None follows the OpenMP limit, -1 uses every processor. Never changes the result.

    Returns
    -------
    EffectiveRidge
        ``effective_ridge``, ``df1`` and ``df2``, of the shape of ``n_samples`` and ``ridge``
        broadcast together.

    Raises
    ------
    ValueError
        If an argument is not finite or outside its domain; the message names the limit of a
        negative ridge.

    See Also
    --------
    solve

    Notes
    -----
    The equation is standard (see [1]_); the iteration is derived here
    (`derivations/linear#effective-ridge`): the left side is convex in :math:`\kappa` with a
    negative third derivative, so that stepping to the root of the quadratic expansion, from the
    top-k bound on the root, decreases to it monotonically and cubically. With n at or above the
    rank and no ridge, :math:`\kappa = 0`.

    References
    ----------
    .. [1] T. Hastie, A. Montanari, S. Rosset and R. J. Tibshirani, "Surprises in High-Dimensional
       Ridgeless Least Squares Interpolation", Ann. Statist. 50 (2022) 949-986.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import effective_ridge
    >>> found = effective_ridge(np.ones(100), 40)
    >>> round(float(found.effective_ridge), 12), round(float(found.df2), 12)
    (1.5, 16.0)
    """
    values = as_float_array(spectrum, "spectrum")
    if not values.size:
        raise ValueError("spectrum must not be empty")
    samples = as_float_array(n_samples, "n_samples", ndim=ANY_RANK)
    ridges = as_float_array(ridge, "ridge", ndim=ANY_RANK)
    if ((samples > 0.0) & (samples < 1e-100)).any():
        raise ValueError("n_samples must be 0 or at least 1e-100, got a smaller number")
    samples, ridges = broadcast(n_samples=samples, ridge=ridges)
    root = roots(values, samples.ravel(), ridges.ravel(), effective_n_threads(n_jobs))
    shape = samples.shape
    status = worst_status(root.status)
    result = EffectiveRidge(
        effective_ridge=root.effective_ridge.copy().reshape(shape)[()],
        df1=root.df1.copy().reshape(shape)[()],
        df2=root.df2.copy().reshape(shape)[()],
        status=status,
        n_iter=int(root.n_iter.max(initial=0)),
        residual=float(root.residual.max(initial=0.0)),
        message=status.sentence,
    )
    report_status(status, result.residual, "effective_ridge")
    return result


def roots(
    spectrum: FloatArray, n_samples: FloatArray, ridge: FloatArray, n_threads: int
) -> core.linear.EffectiveRidge:
    """Effective ridges and degrees of freedom at k points, as the core returns them."""
    return core.linear.effective_ridge(
        spectrum, np.ascontiguousarray(n_samples), np.ascontiguousarray(ridge), n_threads
    )


def decompose(matrix: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues, descending and with exact zeros below the cut, and eigenvectors as columns."""
    spectrum, vectors = interruptible(
        eigh, matrix, driver="evd", check_finite=False, cost=float(len(matrix)) ** 3
    )
    top = max(float(spectrum[-1]), 0.0)
    if spectrum[0] < -1e-10 * top or (top == 0.0 and spectrum[0] < 0.0):
        raise ValueError(
            f"{name} must be positive semi-definite, its smallest eigenvalue is {spectrum[0]:g}"
        )
    return cut(np.ascontiguousarray(spectrum[::-1])), np.ascontiguousarray(vectors[:, ::-1])


def cut(spectrum: FloatArray) -> FloatArray:
    return np.where(spectrum > RANK_CUT * spectrum.max(), spectrum, 0.0)


def worst_status(codes: NDArray[np.int32]) -> Status:
    return Status.from_core(int(codes.max(initial=0)))
