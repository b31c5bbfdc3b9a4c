"""Gradient descent on the factors of a deep linear network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.linear.deep.row_space import RowSpaceProblem, row_space_problem

__all__ = ["FactorDescent", "balanced_factors", "factor_descent"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FactorDescent(Result):
    """End of gradient descent on the factors of a deep linear network (see `factor_descent`).

    Parameters
    ----------
    status : Status
        ``"max_iter"`` where the steps did not suffice.
    n_iter : int
        Steps taken.
    residual : float
        Norm of the training error inside the range of ``X`` over that of ``y``.
    message : str
        What happened, in words.
    coef : ndarray of shape (d,) or (n_outputs, d)
        Product of the factors.
    factors : tuple of ndarray
        Weight matrices in the order in which they act on an input. From a one-output
        ``source_coef`` they are the width-1 network that follows the same path.

    See Also
    --------
    factor_descent

    Examples
    --------
    >>> from retemper.linear import factor_descent
    >>> found = factor_descent([[1.0, 0.0]], [2.0], [1.0, 1.0], depth=2, step_size=0.01)
    >>> found.coef.round(2).tolist(), len(found.factors)
    ([2.0, 1.3], 2)
    """

    coef: FloatArray
    factors: tuple[FloatArray, ...]


def balanced_factors(
    source_coef: ArrayLike, depth: int, *, width: int | None = None
) -> tuple[FloatArray, ...]:
    r"""Balanced weight matrices with a given product.

    Parameters
    ----------
    source_coef : array_like of shape (d,) or (n_outputs, d)
        The product :math:`W_L \cdots W_1`.
    depth : int
        Number of matrices, L.
    width : int, optional
        Rows of all but the last matrix; at least the rank of the product, which is the default
        (at least 1).

    Returns
    -------
    tuple of ndarray
        :math:`W_1, \dots, W_L` with
        :math:`W_{j+1}^\top W_{j+1} = W_j W_j^\top`; spare units carry zero weight.

    Raises
    ------
    ValueError
        If ``width`` is below the rank, or an argument is outside its domain.

    See Also
    --------
    factor_descent, deep_fit

    Notes
    -----
    Balance is what training from small weights leaves behind (Arora, Cohen and Hazan 2018); the
    construction from the singular value decomposition is derived here
    (`derivations/linear#deep-linear-networks`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import balanced_factors
    >>> first, last = balanced_factors([3.0, 4.0], 2)
    >>> (last @ first).round(9).tolist(), bool(np.allclose(first @ first.T, last.T @ last))
    ([[3.0, 4.0]], True)
    """
    depth = check_integer(depth, "depth", low=1)
    product = np.atleast_2d(as_float_array(source_coef, "source_coef", ndim=(1, 2)))
    if not product.size:
        raise ValueError(f"source_coef must not be empty, got shape {product.shape}")
    left, size, right = np.linalg.svd(product, full_matrices=False)
    rank = max(1, int((size > size[0] * max(product.shape) * np.finfo(float).eps).sum()))
    width = rank if width is None else check_integer(width, "width", low=1)
    if depth == 1:
        return (product.copy(),)
    if width < rank:
        raise ValueError(f"width must be at least {rank}, the rank of source_coef, got {width}")
    root = size[:rank] ** (1 / depth)
    first, inner, last = (
        np.zeros((width, product.shape[1])),
        np.zeros((width, width)),
        np.zeros((product.shape[0], width)),
    )
    first[:rank] = root[:, None] * right[:rank]
    inner[:rank, :rank] = np.diag(root)
    last[:, :rank] = left[:, :rank] * root
    return (first, *(inner.copy() for _ in range(depth - 2)), last)


def factor_descent(
    X: ArrayLike,
    y: ArrayLike,
    source_coef: ArrayLike | None = None,
    *,
    depth: int | None = None,
    factors: Sequence[ArrayLike] | None = None,
    step_size: float = 1e-3,
    max_iter: int = 1_000_000,
    tol: float = 1e-9,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> FactorDescent:
    r"""Gradient descent on the weight matrices of a deep linear network.

    Minimises :math:`\|Y - X (W_L \cdots W_1)^\top\|_F^2 / (2n)` over all factors at once: the
    experiment behind `deep_fit`, whose flow it follows up to an error of the order of the step.

    Parameters
    ----------
    X : array_like of shape (n_samples, d)
        Inputs.
    y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        Labels.
    source_coef : array_like of shape (d,) or (n_outputs, d), optional
        Start from `balanced_factors` of these coefficients and ``depth``. Several outputs share
        one network.
    depth : int, optional
        Number of matrices; needed with ``source_coef``, and not allowed with ``factors``.
    factors : sequence of array_like, optional
        Start from these matrices, in the order in which they act on an input: the first of shape
        (width, d), the last of shape (n_outputs, width). They need not be balanced.
    step_size : float, default=1e-3
        Learning rate. Stable below 2 over the largest curvature, which is about
        ``depth * norm(coef) ** (2 - 2 / depth)`` times the largest eigenvalue of ``X.T @ X / n``.
    max_iter : int, default=1_000_000
        Most steps.
    tol : float, default=1e-9
        Stop when the training error inside the range of ``X`` is below ``tol`` times the norm of
        ``y``.
    progress : None, bool, callable or object, default=None
        Called with (done, total) every 50 ms; raise in it to stop.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do when ``max_iter`` steps do not suffice.

    Returns
    -------
    FactorDescent
        Product, factors, and how it ended.

    Raises
    ------
    ValueError
        If an argument is outside its domain, shapes disagree, or not exactly one of
        ``source_coef`` and ``factors`` is given.
    NumericalError
        If the descent diverges: the step is too large.

    See Also
    --------
    deep_fit, balanced_factors

    Notes
    -----
    Derived here (`derivations/linear#deep-linear-networks`). The steps are taken in the coordinates
    of the row space of ``X``, where the gradient lives; the rest of the first matrix never moves.
    This changes nothing but the cost. A one-output balanced start stays of rank one, and a step
    then costs one pass over the rank.

    Examples
    --------
    >>> from retemper.linear import deep_fit, factor_descent
    >>> rows, labels, start = [[1.0, 0.0]], [2.0], [1.0, 1.0]
    >>> factor_descent(rows, labels, start, depth=2, step_size=1e-3).coef.round(2).tolist()
    [2.0, 1.3]
    >>> deep_fit(rows, labels, start, depth=2).coef.round(2).tolist()
    [2.0, 1.3]
    """
    progress = as_callback(progress, "factor_descent")
    if (source_coef is None) == (factors is None):
        raise ValueError("pass exactly one of source_coef and factors")
    step_size = check_real(step_size, "step_size", low=0.0, open_low=True)
    max_iter = check_integer(max_iter, "max_iter", low=0)
    limits = {
        "step_size": step_size,
        "max_iter": max_iter,
        "tol": check_real(tol, "tol", low=0.0),
    }
    if factors is None:
        if depth is None:
            raise ValueError("depth must be given with source_coef")
        depth = check_integer(depth, "depth", low=1)
        p = row_space_problem(X, y, source_coef)
        if p.single:
            return _rank_one(p, depth, limits, progress, on_failure=on_failure)
        matrices = list(balanced_factors(p.source, depth))
    else:
        if depth is not None:
            raise ValueError(f"depth is the number of factors; leave it out, got {depth}")
        p = row_space_problem(X, y, None)
        matrices = [as_float_array(w, f"factors[{j}]", ndim=2) for j, w in enumerate(factors)]
        if not matrices:
            raise ValueError("factors must hold at least one matrix")
        inputs = p.x.shape[1]
        for j, w in enumerate(matrices):
            rows = p.y.shape[1] if j == len(matrices) - 1 else None
            check_shape(w, (rows, inputs), f"factors[{j}]")
            inputs = w.shape[0]
    first = matrices[0]
    inside = first @ p.v.T
    rest = first - inside @ p.v
    start = [np.ascontiguousarray(inside), *matrices[1:]]
    run = core.linear.factor_descent(
        p.s, p.labels, p.x.shape[0], start, progress=progress, **limits
    )
    inside, *outer = run.factors
    descended = (inside @ p.v + rest, *(w.copy() for w in outer))
    return _descent(p, descended, run, on_failure=on_failure)


def _rank_one(
    p: RowSpaceProblem,
    depth: int,
    limits: dict[str, Any],
    progress: Progress | None,
    *,
    on_failure: OnFailure,
) -> FactorDescent:
    source = p.source[0]
    inside = p.v @ source
    null = source - inside @ p.v
    norm = float(np.linalg.norm(source))
    run = core.linear.rank_one_descent(
        p.s,
        p.labels[0],
        p.x.shape[0],
        inside,
        null_square=float(null @ null),
        depth=depth,
        progress=progress,
        **limits,
    )
    row, outer = run.factors
    first = row @ p.v + (null * norm ** (1 / depth - 1) if norm else null)
    factors = (first, *(outer.copy() for _ in range(depth - 1)))
    return _descent(p, factors, run, on_failure=on_failure)


def _descent(
    p: RowSpaceProblem,
    factors: tuple[FloatArray, ...],
    run: core.linear.Descent,
    *,
    on_failure: OnFailure,
) -> FactorDescent:
    coef = factors[0]
    for w in factors[1:]:
        coef = w @ coef
    status = Status(run.status)
    report_status(status, run.residual, "factor_descent", on_failure=on_failure, stacklevel=4)
    return FactorDescent(
        coef=p.output(coef),
        factors=factors,
        status=status,
        n_iter=run.n_iter,
        residual=run.residual,
        message=status.sentence,
    )
