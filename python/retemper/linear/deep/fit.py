"""Where gradient flow on a deep linear network ends, in closed form."""

from __future__ import annotations

import dataclasses
import math
import warnings

from numpy.typing import ArrayLike

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._validation import FloatArray, check_real
from retemper.exceptions import ConvergenceWarning, NumericalError
from retemper.linear.deep.row_space import check_depth, row_space_problem

__all__ = ["DeepFit", "deep_fit"]


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

    See Also
    --------
    deep_fit

    Examples
    --------
    >>> from retemper.linear import deep_fit
    >>> fit = deep_fit([[1.0, 0.0]], [2.0], [1.0, 1.0], depth=2)
    >>> fit.coef.round(3).tolist(), round(fit.source_scale, 3)
    ([2.0, 1.299], 1.299)
    """

    coef: FloatArray
    source_scale: FloatArray | float
    fit_norm: FloatArray | float
    row_norm: FloatArray | float
    null_norm: FloatArray | float
    rank: int


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

    See Also
    --------
    deep_scale, deep_flow, factor_descent

    Notes
    -----
    Derived here (`derivations/linear#deep-linear-networks`), after Shachaf et al. [1]_, from the
    end-to-end dynamics of Arora et al. [2]_.

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
    depth = check_depth(depth)
    ridge = check_real(ridge, "ridge", low=-math.inf if depth == 1 else 0.0)
    if ridge and math.isinf(depth):
        raise ValueError(f"ridge must be 0 at depth=inf, got {ridge}")
    p = row_space_problem(X, y, source_coef)
    found = core.linear.deep_fit(p.space, p.y, p.source, depth, ridge)
    worst = max((Status(name) for name in found.status), key=list(Status).index)
    result = DeepFit(
        coef=p.output(found.coef.copy()),
        source_scale=p.scalar(found.source_scale.copy()),
        fit_norm=p.scalar(found.fit_norm.copy()),
        row_norm=p.scalar(found.row_norm.copy()),
        null_norm=p.scalar(found.null_norm.copy()),
        rank=len(p.s),
        status=worst,
        n_iter=max(found.n_iter),
        residual=float(found.residual.max()),
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
