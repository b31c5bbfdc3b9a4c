r"""Several hidden layers: the kernel of the last one, and the order parameters of those below.

A layer of odd activation is a linear function of the layer below plus noise of its own,
:math:`\sigma(h) = c\,h + \text{rest}`. An order parameter of a layer multiplies what comes through
it, so that the last kernel is :math:`\sum_j (\prod_{l \ge j} Q_l) M_j` with fixed matrices: M_j is
what layer j adds, seen through the linear parts of all layers above it (derived here:
`derivations/widenet#several-hidden-layers`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize, root

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.kernels import activation_slope, kernel_of_gram, kernel_of_pairs
from retemper.widenet.model import WideNetModel
from retemper.widenet.single_task import excess

__all__ = ["NONE_INSIDE", "InnerLayers", "last_kernel", "solve_layers"]

_STARTS = (0.0, 1.5, -1.5)  # of every log Q


class InnerLayers(NamedTuple):
    """Order parameters of the layers below the last.

    Attributes
    ----------
    Q : tuple of float
        From the first layer up.
    residual : float
        Of their equations.
    n_iter : int
        Evaluations of the equations.
    n_minima : int
        Different minima that were found.
    """

    Q: tuple[float, ...] = ()
    residual: float = 0.0
    n_iter: int = 0
    n_minima: int = 1

    @property
    def cost(self) -> float:
        """Sum of Q - 1 - log Q."""
        return sum(excess(q) for q in self.Q)


NONE_INSIDE = InnerLayers()


class _Part(NamedTuple):
    """What one layer adds to the kernel, and to its diagonal at either side."""

    kernel: FloatArray  # (n, k)
    rows: FloatArray  # (n,)
    cols: FloatArray  # (k,)


def _parts(  # noqa: PLR0917
    model: WideNetModel,
    gram: FloatArray,
    row_var: FloatArray,
    col_var: FloatArray,
    cov: float,
    n_jobs: int | None,
) -> list[_Part]:
    """The matrices M_j, from the first layer up."""

    def layer(gram: FloatArray, row_var: FloatArray, col_var: FloatArray, cov: float) -> _Part:
        kernel = kernel_of_gram(model.activation, gram, row_var, col_var, cov, n_jobs=n_jobs)
        rows, cols = (kernel_of_pairs(model.activation, v, v) for v in (row_var, col_var))
        return _Part(kernel, rows, cols)

    below = layer(gram, row_var, col_var, cov)
    parts = [below]
    cov = 1.0 / model.lam0
    for _ in range(model.n_hidden_layers - 1):
        row_var, col_var = cov * below.rows, cov * below.cols
        left, right = (activation_slope(model.activation, v) for v in (row_var, col_var))
        through = (cov * np.outer(left, right), cov * left**2, cov * right**2)
        own = layer(below.kernel, row_var, col_var, cov)
        parts = [_Part(*(f * x for f, x in zip(through, part, strict=True))) for part in parts]
        rest = (x - f * y for x, f, y in zip(own, through, below, strict=True))
        parts.append(_Part(*rest))
        below = own
    return parts


def last_kernel(  # noqa: PLR0917
    model: WideNetModel,
    gram: FloatArray,
    row_var: FloatArray,
    col_var: FloatArray,
    cov: float,
    Q: tuple[float, ...],
    *,
    n_jobs: int | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centred kernel of the last layer, and its diagonal at either side.

    Parameters
    ----------
    model : WideNetModel
        Activation and prior.
    gram : ndarray of shape (n, k)
        Of the inputs.
    row_var, col_var : ndarray of shape (n,) and (k,)
        Variances of the pre-activations of the first layer.
    cov : float
        Their covariance is this times ``gram``.
    Q : tuple of float
        Order parameters of the layers below the last.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    kernel, row_diag, col_diag : ndarray
        Of shapes (n, k), (n,) and (k,).
    """
    parts = _parts(model, gram, row_var, col_var, cov, n_jobs)
    if not Q:
        return parts[0]
    weights = [math.prod(Q[j:]) for j in range(len(parts))]
    kernel, rows, cols = (
        np.asarray(sum(w * x for w, x in zip(weights, every, strict=True)))
        for every in zip(*parts, strict=True)
    )
    return kernel, rows, cols


def solve_layers(
    model: WideNetModel, gram: FloatArray, norms: FloatArray, y: FloatArray, n_jobs: int | None
) -> InnerLayers:
    """Minimum of the action over the order parameters of all layers.

    Parameters
    ----------
    model : WideNetModel
        The network.
    gram, norms : ndarray of shape (n, n) and (n,)
        Of the inputs, per feature.
    y : ndarray of shape (n,)
        Labels.
    n_jobs : int or None
        Threads.

    Returns
    -------
    InnerLayers
        Those below the last, at the lowest of the minima that were found.

    Raises
    ------
    NumericalError
        If no start leads to a minimum.
    """
    L, N = model.n_hidden_layers, model.width
    if L == 1:
        return NONE_INSIDE
    if math.isinf(N):
        return InnerLayers((1.0,) * (L - 1))
    var = norms / model.lam0
    parts = [p.kernel / model.lam1 for p in _parts(model, gram, var, var, 1.0 / model.lam0, n_jobs)]
    n_iter = 0

    def action(x: NDArray[Any]) -> tuple[float, FloatArray]:
        """Sum of Q - log Q, and (log det A + y^T A^-1 y) / width; with its slope in log Q."""
        nonlocal n_iter
        n_iter += 1
        below = np.zeros_like(gram)
        sums = []  # of the parts of a layer and those below it
        for j, part in enumerate(parts):
            below = below + math.exp(x[j:].sum()) * part
            sums.append(below)
        A = below.copy()
        A[np.diag_indices_from(A)] += model.temperature_target
        try:
            factor = cho_factor(A, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(L)
        inverse = cho_solve(factor, np.eye(y.size))
        alpha = inverse @ y
        pull = inverse - np.outer(alpha, alpha)
        slope = np.expm1(x) + [float((pull * part).sum()) / N for part in sums]
        data = 2.0 * float(np.log(np.diagonal(factor[0])).sum()) + float(y @ alpha)
        return float((np.exp(x) - x).sum()) + data / N, slope

    def slope_at(x: NDArray[Any]) -> list[float]:
        return [float(s) for s in action(x)[1]]

    found: list[tuple[float, FloatArray, float]] = []
    for start in _STARTS:
        near = minimize(action, np.full(L, start), jac=True, method="L-BFGS-B",
                        bounds=[(-9.0, 9.0)] * L)  # fmt: skip
        polished = root(slope_at, near.x, method="hybr", options={"xtol": 1e-13})
        x = polished.x if np.abs(polished.x - near.x).max() < 0.1 else near.x
        value, slope = action(x)
        residual = float(np.abs(slope).max())
        if residual < 1e-6:
            found.append((value, x, residual))
    if not found:
        raise NumericalError(
            f"no minimum over the order parameters of {L} layers was found at width {N:g} and "
            f"temperature_target {model.temperature_target:g}; raise temperature_target"
        )
    _, x, residual = min(found, key=lambda item: item[0])
    minima = {tuple(np.round(item[1], 4)) for item in found}
    return InnerLayers(tuple(float(q) for q in np.exp(x[:-1])), residual, n_iter, len(minima))
