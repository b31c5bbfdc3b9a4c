"""Gradient flow on deep linear networks, integrated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, report_status
from retemper._results import Result, Status
from retemper._validation import FloatArray, as_float_array, check_integer, check_real
from retemper.exceptions import NumericalError
from retemper.linear.deep.row_space import RowSpaceProblem, row_space_problem

__all__ = ["DeepFlow", "deep_flow", "shared_trunk_flow"]


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

    See Also
    --------
    deep_flow, shared_trunk_flow

    Examples
    --------
    >>> from retemper.linear import deep_flow
    >>> flow = deep_flow([[1.0, 0.0]], [2.0], [1.0, 1.0], depth=2)
    >>> flow.coef.round(3).tolist()
    [2.0, 1.299]
    """

    coef: FloatArray


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

    See Also
    --------
    deep_fit, shared_trunk_flow

    Notes
    -----
    Derived here (`derivations/linear#deep-linear-networks`). Warped time passes through zero
    coefficients, where a network would stay: see the status of `deep_fit`.

    Examples
    --------
    >>> from retemper.linear import deep_fit, deep_flow
    >>> rows, labels, start = [[1.0, 0.0]], [2.0], [1.0, 1.0]
    >>> deep_flow(rows, labels, start, depth=3).coef.round(6).tolist()
    [2.0, 1.45054]
    >>> deep_fit(rows, labels, start, depth=3).coef.round(6).tolist()
    [2.0, 1.45054]
    """
    depth = check_integer(depth, "depth", low=1)
    tol = check_real(tol, "tol", low=1e-14, high=1.0, open_high=True)
    p = row_space_problem(X, y, source_coef)
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
    p: RowSpaceProblem, start: FloatArray, labels: FloatArray, depth: int, tol: float
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

    See Also
    --------
    deep_flow, deep_fit

    Notes
    -----
    The state lives in the span of the rows of ``X`` and of the source, and keeps its rank. SciPy's
    LSODA integrates it.

    References
    ----------
    .. [1] S. Arora, N. Cohen and E. Hazan, "On the optimization of deep networks: implicit
       acceleration by overparameterization", ICML (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import shared_trunk_flow
    >>> rng = np.random.default_rng(0)
    >>> X, start = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
    >>> labels = rng.normal(size=(3, 2))
    >>> flow = shared_trunk_flow(X, labels, start, depth=2)
    >>> bool(np.abs(X @ flow.coef.T - labels).max() < 1e-6)
    True
    """
    depth = check_integer(depth, "depth", low=1)
    tol = check_real(tol, "tol", low=1e-12, high=1.0, open_high=True)
    p = row_space_problem(X, np.atleast_2d(as_float_array(y, "y", ndim=2)), source_coef)
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
    if rate < np.finfo(float).tiny:
        raise ValueError(f"X is too small: its singular values are at most {s[0]:g}")
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
