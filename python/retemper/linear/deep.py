"""Deep linear networks on data: closed form, exact flow, gradient descent on the factors."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress, report_status
from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._validation import FloatArray, as_float_array, check_integer, check_real, check_shape
from retemper.exceptions import ConvergenceWarning, NumericalError

__all__ = [
    "DeepFit",
    "DeepFlow",
    "FactorDescent",
    "balanced_factors",
    "deep_fit",
    "deep_flow",
    "factor_descent",
    "shared_trunk_flow",
]

#: Above this size SciPy's eigensolver beats the one of the core.
_LARGE_GRAM = 512


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DeepFit(Result):
    """End point of gradient flow on a deep linear network (see `deep_fit`).

    Parameters
    ----------
    status : Status
        Worst over outputs; ``"stalled"`` where the flow itself runs into zero.
    n_iter : int
        Steps of the one-dimensional root for the scale.
    residual : float
        Relative error of ``c = (norm(coef) / norm(source_coef)) ** (1 - 1 / depth)``.
    message : str
        What happened, in words.
    coef : ndarray of shape (d,) or (n_outputs, d)
        End-to-end coefficients.
    source_scale : float or ndarray of shape (n_outputs,)
        ``c``, the factor by which depth rescales the part of the source outside the row space of
        ``X``: 1 at depth 1, 0 for a source of zeros above.
    fit_norm : float or ndarray of shape (n_outputs,)
        ``a``, norm of the minimum-norm least-squares solution.
    row_norm, null_norm : float or ndarray of shape (n_outputs,)
        ``p`` and ``q``, norms of the source inside and outside the row space.
    rank : int
        Rank of ``X``.
    """

    coef: FloatArray
    source_scale: FloatArray | float
    fit_norm: FloatArray | float
    row_norm: FloatArray | float
    null_norm: FloatArray | float
    rank: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DeepFlow(Result):
    """Integrated gradient flow (see `deep_flow` and `shared_trunk_flow`).

    Parameters
    ----------
    status : Status
        ``"stalled"`` where the flow came to rest above the tolerance.
    n_iter : int
        Evaluations of the flow.
    residual : float
        Norm of the training error inside the range of ``X`` over that of ``y`` (worst output).
    message : str
        What happened, in words.
    coef : ndarray of shape (d,) or (n_outputs, d)
        End-to-end coefficients where the integration stopped.
    """

    coef: FloatArray


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
    """

    coef: FloatArray
    factors: tuple[FloatArray, ...]


def _check_depth(depth: Any) -> float:
    """Depth that may be infinite."""
    is_infinite = isinstance(depth, float | np.floating) and depth == math.inf
    return math.inf if is_infinite else float(check_integer(depth, "depth", low=1))


@dataclasses.dataclass(frozen=True)
class _Problem:
    """Data in the coordinates of its row space: X = u diag(s) v."""

    x: FloatArray
    y: FloatArray  # (n, k)
    source: FloatArray  # (k, d)
    single: bool
    u: FloatArray
    s: FloatArray
    v: FloatArray

    @property
    def labels(self) -> FloatArray:
        """(k, rank) labels inside the range of X."""
        return np.ascontiguousarray(self.y.T @ self.u)

    def output(self, array: FloatArray) -> FloatArray:
        return array[0] if self.single else array

    def scalar(self, array: FloatArray) -> FloatArray | float:
        return float(array[0]) if self.single else array


def _row_space(x: FloatArray) -> tuple[Any, Any, Any]:
    if min(x.shape) <= _LARGE_GRAM:
        return core.linear.row_space(x)
    from scipy.linalg import eigh

    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    values, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    return core.linear.row_space_of_gram(x, values, np.asfortranarray(vectors))


def _problem(X: ArrayLike, y: ArrayLike, source: ArrayLike | None) -> _Problem:
    x = as_float_array(X, "X", ndim=2)
    if 0 in x.shape:
        raise ValueError(f"X must hold at least one sample and one feature, got shape {x.shape}")
    n, d = x.shape
    labels = as_float_array(y, "y", ndim=(1, 2))
    single = labels.ndim == 1
    labels = labels.reshape(-1, 1) if single else labels
    check_shape(labels, (n, None), "y")
    if labels.shape[1] == 0:
        raise ValueError("y must hold at least one output, got shape (n_samples, 0)")
    k = labels.shape[1]
    if source is None:
        start = np.zeros((k, d))
    else:
        start = as_float_array(source, "source_coef", ndim=(1, 2))
        check_shape(start, (d,) if single else (k, d), "source_coef")
        start = start.reshape(k, d)
    return _Problem(x, labels, start, single, *_row_space(x))


def deep_fit(
    X: ArrayLike,
    y: ArrayLike,
    source_coef: ArrayLike,
    *,
    depth: float = 1,
    ridge: float = 0.0,
    on_failure: OnFailure = "warn",
) -> DeepFit:
    r"""Where gradient flow on a pretrained deep linear network ends, in closed form.

    A network :math:`x \mapsto W_L \cdots W_1 x` with one output and balanced pretrained weights
    of end-to-end vector :math:`\beta_0` is trained on the squared loss. It ends at

    .. math:: \beta = X^+ y + c\, P_\perp \beta_0, \qquad
              c^{2L/(L-1)} \|\beta_0\|^2 = \|X^+ y\|^2 + c^2 \|P_\perp \beta_0\|^2,

    with :math:`P_\perp` the projector on the complement of the row space of ``X``: depth acts by
    rescaling the source. With a ridge, the loss
    :math:`n^{-1}\|y - X\beta\|^2 + \lambda D(\beta, \beta_0)` is minimised, D the Bregman
    divergence of :math:`\tfrac{2L}{L+1}\|\beta\|^{1+1/L}`, which is
    :math:`\|\beta-\beta_0\|^2` at depth 1.

    Parameters
    ----------
    X : array_like of shape (n_samples, d)
        Inputs, any rank.
    y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        Labels. Several outputs are independent networks that share one factorisation.
    source_coef : array_like of shape (d,) or (n_outputs, d)
        Pretrained end-to-end coefficients. A source of zeros gives the minimum-norm solution,
        although a network of depth 2 or more would stay at zero.
    depth : int or inf, default=1
        Number of weight matrices.
    ridge : float, default=0.0
        :math:`\lambda`. Non-negative; 0 at infinite depth; at depth 1 it may be negative above
        minus the smallest non-zero eigenvalue of ``X.T @ X / n_samples``. Its unit is that of a
        squared input times, above depth 1, a coefficient to the power ``1 - 1 / depth``: scale
        the data first.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do when the flow runs into zero (rank 1, no part of the source outside the row
        space, negative overlap with the solution). The interpolating solution is returned.

    Returns
    -------
    DeepFit
        Coefficients, source scale and the norms that fix it.

    Raises
    ------
    ValueError
        If an argument is outside its domain, shapes disagree, or ``depth=inf`` and the source is
        orthogonal to all rows of ``X`` (no finite limit).
    NumericalError
        If a decomposition fails.

    Notes
    -----
    Derived here, after Shachaf et al. [1]_, from the end-to-end dynamics of Arora et al. [2]_.

    References
    ----------
    .. [1] G. Shachaf, A. Brutzkus and A. Globerson, "A theoretical analysis of fine-tuning with
       linear teachers", NeurIPS 34 (2021).
    .. [2] S. Arora, N. Cohen and E. Hazan, "On the optimization of deep networks: implicit
       acceleration by overparameterization", ICML (2018).

    Examples
    --------
    >>> from retemper.linear import deep_fit
    >>> fit = deep_fit([[1.0, 0.0]], [0.5], [1.0, 1.0], depth=float("inf"))
    >>> fit.coef, fit.source_scale
    (array([0.5, 0.5]), 0.5)
    """
    depth = _check_depth(depth)
    ridge = check_real(ridge, "ridge", low=-math.inf if depth == 1 else 0.0)
    if ridge and math.isinf(depth):
        raise ValueError(f"ridge must be 0 at depth=inf, got {ridge}")
    p = _problem(X, y, source_coef)
    coef, scale, a, row, null, residual, n_iter, codes = core.linear.deep_fit(
        p.u, p.s, p.v, p.y, p.source, depth, ridge
    )
    worst = max((Status.from_core(code) for code in codes), key=list(Status).index)
    result = DeepFit(
        coef=p.output(coef),
        source_scale=p.scalar(scale),
        fit_norm=p.scalar(a),
        row_norm=p.scalar(row),
        null_norm=p.scalar(null),
        rank=len(p.s),
        status=worst,
        n_iter=max(n_iter),
        residual=float(residual.max()),
        message=worst.sentence
        if worst is not Status.STALLED
        else "gradient flow runs into zero and stays; the interpolating solution is returned",
    )
    if worst is not Status.STALLED:
        report_status(worst, result.residual, "deep_fit", on_failure=on_failure)
    elif on_failure == "raise":
        raise NumericalError(f"deep_fit: {result.message}")
    elif on_failure == "warn":
        warnings.warn(f"deep_fit: {result.message}", ConvergenceWarning, stacklevel=2)
    return result


def deep_flow(
    X: ArrayLike,
    y: ArrayLike,
    source_coef: ArrayLike,
    *,
    depth: int = 1,
    tol: float = 1e-10,
    on_failure: OnFailure = "warn",
) -> DeepFlow:
    r"""Integrate the gradient flow of a pretrained deep linear network: a check of `deep_fit`.

    The dual vector :math:`u = \|\beta\|^{1/L-1}\beta` obeys
    :math:`du/d\tau = -X^\top (X\beta - y)/n`, :math:`\beta=\|u\|^{L-1}u`, in the warped time
    :math:`d\tau = \|u\|^{L-1}dt`. It moves in the row space of ``X`` alone, so the state has as
    many entries as the rank. SciPy's LSODA integrates it.

    Parameters
    ----------
    X : array_like of shape (n_samples, d)
        Inputs.
    y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        Labels; several outputs are independent networks.
    source_coef : array_like of shape (d,) or (n_outputs, d)
        Pretrained end-to-end coefficients, not zero where ``depth`` exceeds 1.
    depth : int, default=1
        Number of weight matrices.
    tol : float, default=1e-10
        Stop when the training error inside the range of ``X`` is below ``tol`` times the norm of
        ``y``.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do when the flow comes to rest above that.

    Returns
    -------
    DeepFlow
        Coefficients at the end.

    Raises
    ------
    ValueError
        If an argument is outside its domain or shapes disagree.

    Notes
    -----
    Derived here. Warped time passes through zero coefficients, where a network would stay: see
    the status of `deep_fit`.
    """
    depth = check_integer(depth, "depth", low=1)
    tol = check_real(tol, "tol", low=1e-14, high=1.0, open_high=True)
    p = _problem(X, y, source_coef)
    norms = np.linalg.norm(p.source, axis=1)
    if depth > 1 and not norms.all():
        raise ValueError("source_coef must not be zero above depth 1: zero is a stationary point")
    coef = np.empty_like(p.source)
    n_iter, residual = 0, 0.0
    for j, (start, labels) in enumerate(zip(p.source, p.labels, strict=True)):
        coef[j], evaluations, error = _flow_one(p, start, labels, depth, tol)
        n_iter += evaluations
        residual = max(residual, error)
    status = Status.CONVERGED if residual <= tol else Status.STALLED
    report_status(status, residual, "deep_flow", on_failure=on_failure)
    return DeepFlow(
        coef=p.output(coef),
        status=status,
        n_iter=n_iter,
        residual=residual,
        message=status.sentence,
    )


def _flow_one(
    p: _Problem, start: FloatArray, labels: FloatArray, depth: int, tol: float
) -> tuple[FloatArray, int, float]:
    scale = float(np.linalg.norm(start)) or 1.0  # in these units u starts with norm 1 or 0
    inside = p.v @ (start / scale)
    null = start / scale - inside @ p.v
    null_square = float(null @ null)
    s, target = p.s, labels / scale
    size = float(np.linalg.norm(target)) or 1.0
    if not s.size:
        return start, 0, 0.0

    def gain(z: FloatArray) -> float:
        return float((null_square + z @ z) ** ((depth - 1) / 2))

    def flow(_: float, z: FloatArray) -> FloatArray:
        change: FloatArray = s * (target - s * (gain(z) * z)) / s[0] ** 2
        return change

    def slope(_: float, z: FloatArray) -> FloatArray:
        square = null_square + z @ z
        outer = (depth - 1) * gain(z) / square * np.outer(z, z) if square else 0.0
        matrix: FloatArray = -((s / s[0]) ** 2)[:, None] * (gain(z) * np.eye(s.size) + outer)
        return matrix

    def error(z: FloatArray) -> float:
        return float(np.linalg.norm(s * gain(z) * z - target)) / size

    z, n_iter = _integrate(flow, inside, error, tol, slope)
    coef: FloatArray = scale * gain(z) * (z @ p.v + null)
    return coef, n_iter, error(z)


def _integrate(
    flow: Callable[[float, FloatArray], FloatArray],
    state: FloatArray,
    error: Callable[[FloatArray], float],
    tol: float,
    slope: Callable[[float, FloatArray], FloatArray] | None = None,
) -> tuple[FloatArray, int]:
    """Follow an autonomous flow until error(state) <= tol or it rests; the evaluations it took."""
    from scipy.integrate import LSODA

    run = LSODA(flow, 0.0, state, 1e15, jac=slope, rtol=1e-9, atol=1e-3 * tol)
    state = run.y.copy()
    for _ in range(100_000):
        if error(state) <= tol:
            break
        if np.linalg.norm(flow(0.0, state)) * (1.0 + run.t) <= 1e-3 * tol:
            break  # at rest elsewhere
        message = run.step()
        if message is not None or not np.isfinite(run.y).all():
            raise NumericalError(f"the flow could not be integrated further: {message}")
        state = run.y.copy()
    return state, run.nfev


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

    Notes
    -----
    Balance is what training from small weights leaves behind (Arora, Cohen and Hazan 2018); the
    construction from the singular value decomposition is derived here.
    """
    depth = check_integer(depth, "depth", low=1)
    product = np.atleast_2d(as_float_array(source_coef, "source_coef", ndim=(1, 2)))
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
    progress: Progress | None = None,
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
    progress : callable, optional
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

    Notes
    -----
    Derived here. The steps are taken in the coordinates of the row space of ``X``, where the
    gradient lives; the rest of the first matrix never moves. This changes nothing but the cost. A
    one-output balanced start stays of rank one, and a step then costs one pass over the rank.
    """
    if (source_coef is None) == (factors is None):
        raise ValueError("pass exactly one of source_coef and factors")
    step_size = check_real(step_size, "step_size", low=0.0, open_low=True)
    max_iter = check_integer(max_iter, "max_iter", low=0)
    tol = check_real(tol, "tol", low=0.0)
    if factors is None:
        if depth is None:
            raise ValueError("depth must be given with source_coef")
        depth = check_integer(depth, "depth", low=1)
        p = _problem(X, y, source_coef)
        if p.single:
            limits = (step_size, max_iter, tol, progress)
            return _rank_one(p, depth, limits, on_failure)
        matrices = list(balanced_factors(p.source, depth))
    else:
        if depth is not None:
            raise ValueError(f"depth is the number of factors; leave it out, got {depth}")
        p = _problem(X, y, None)
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
    found, residual, n_iter, code = core.linear.factor_descent(
        p.s, p.labels, p.x.shape[0], start, step_size, max_iter, tol, progress
    )
    found[0] = found[0] @ p.v + rest
    return _descent(p, tuple(found), residual, n_iter, code, on_failure=on_failure)


def _rank_one(
    p: _Problem,
    depth: int,
    limits: tuple[float, int, float, Progress | None],
    on_failure: OnFailure,
) -> FactorDescent:
    source = p.source[0]
    inside = p.v @ source
    null = source - inside @ p.v
    norm = float(np.linalg.norm(source))
    (row, outer), residual, n_iter, code = core.linear.rank_one_descent(
        p.s, p.labels[0], p.x.shape[0], inside, float(null @ null), depth, *limits
    )
    first = row @ p.v + (null * norm ** (1 / depth - 1) if norm else null)
    factors = (first, *(outer.copy() for _ in range(depth - 1)))
    return _descent(p, factors, residual, n_iter, code, on_failure=on_failure)


def _descent(
    p: _Problem,
    factors: tuple[FloatArray, ...],
    residual: float,
    n_iter: int,
    code: int,
    *,
    on_failure: OnFailure,
) -> FactorDescent:
    coef = factors[0]
    for w in factors[1:]:
        coef = w @ coef
    status = Status.from_core(code)
    report_status(status, residual, "factor_descent", on_failure=on_failure, stacklevel=4)
    return FactorDescent(
        coef=p.output(coef),
        factors=factors,
        status=status,
        n_iter=n_iter,
        residual=residual,
        message=status.sentence,
    )


def shared_trunk_flow(
    X: ArrayLike,
    y: ArrayLike,
    source_coef: ArrayLike,
    *,
    depth: int,
    tol: float = 1e-8,
    on_failure: OnFailure = "warn",
) -> DeepFlow:
    r"""Integrate the gradient flow of one deep linear network with several outputs.

    From balanced weights the product W (n_outputs, d) obeys [1]_

    .. math:: \dot W = -\sum_{j=1}^{L} (WW^\top)^{(j-1)/L}\, G\, (W^\top W)^{(L-j)/L}

    with G the gradient of :math:`\|Y - XW^\top\|_F^2/(2n)`. There is no closed form, and the end
    differs from that of independent networks (`deep_fit`) by an amount of order one.

    Parameters
    ----------
    X : array_like of shape (n_samples, d)
        Inputs.
    y : array_like of shape (n_samples, n_outputs)
        Labels.
    source_coef : array_like of shape (n_outputs, d)
        Pretrained product.
    depth : int
        Number of weight matrices.
    tol : float, default=1e-8
        Stop when the training error inside the range of ``X`` is below ``tol`` times the norm of
        ``y``.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do when the flow comes to rest above that, as it does where the rank of
        ``source_coef`` is below that of the solution (rank cannot grow), or does not get there.

    Returns
    -------
    DeepFlow
        Product at the end.

    Raises
    ------
    ValueError
        If an argument is outside its domain or shapes disagree.
    NumericalError
        If the integration fails.

    Notes
    -----
    The state lives in the span of the rows of ``X`` and of the source, and keeps its rank.

    References
    ----------
    .. [1] S. Arora, N. Cohen and E. Hazan, "On the optimization of deep networks: implicit
       acceleration by overparameterization", ICML (2018).
    """
    depth = check_integer(depth, "depth", low=1)
    tol = check_real(tol, "tol", low=1e-12, high=1.0, open_high=True)
    p = _problem(X, np.atleast_2d(as_float_array(y, "y", ndim=2)), source_coef)
    k, rank = p.source.shape[0], p.s.size
    inside = p.source @ p.v.T
    rest = p.source - inside @ p.v
    complement = np.linalg.svd(rest, full_matrices=False)[2]
    complement -= (complement @ p.v.T) @ p.v  # rounding, where rest is small
    basis = np.vstack([p.v, np.linalg.qr(complement.T)[0].T if rest.any() else rest[:0]])
    start = p.source @ basis.T
    start_rank = np.linalg.matrix_rank(start)
    s, labels = p.s, p.labels
    rate = s[0] ** 2 if rank else 1.0
    size = float(np.linalg.norm(labels)) or 1.0

    def error(w: FloatArray) -> FloatArray:
        return w[:, :rank] * s - labels

    def flow(_: float, state: FloatArray) -> FloatArray:
        w = state.reshape(k, -1)
        gradient = np.zeros_like(w)
        gradient[:, :rank] = error(w) * s / rate
        left, sizes, right = np.linalg.svd(w, full_matrices=False)
        left, right = left[:, :start_rank], right[:start_rank]  # the flow keeps the rank
        power = sizes[:start_rank] ** (2 / depth)
        change = np.zeros_like(w)
        for j in range(1, depth + 1):
            term = gradient
            if j > 1:
                term = (left * power ** (j - 1)) @ (left.T @ term)
            if j < depth:
                term = ((term @ right.T) * power ** (depth - j)) @ right
            change -= term
        return change.reshape(-1)

    def training_error(state: FloatArray) -> float:
        return float(np.linalg.norm(error(state.reshape(k, -1)))) / size

    state, n_iter = _integrate(flow, start.reshape(-1), training_error, tol)
    residual = training_error(state)
    status = Status.CONVERGED if residual <= tol else Status.STALLED
    report_status(status, residual, "shared_trunk_flow", on_failure=on_failure)
    return DeepFlow(
        coef=state.reshape(k, -1) @ basis,
        status=status,
        n_iter=n_iter,
        residual=residual,
        message=status.sentence,
    )
