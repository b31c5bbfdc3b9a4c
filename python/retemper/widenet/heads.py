r"""Several outputs that read one hidden layer: the matrix of order parameters.

With Q the Gram matrix of the read-outs of all outputs the action is that of one output, with
:math:`\operatorname{tr} Q - \log\det Q` and the covariance :math:`T + Q \otimes K / \lambda_1`. In
the basis in which Q is diagonal outputs do not interact: every rotated output is a network of its
own (derived here: `derivations/widenet#several-outputs`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, root

from retemper._control import interruptible
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.model import WideNetModel

__all__ = ["Turn", "find_turn"]


class Turn(NamedTuple):
    """Outputs among which the matrix of order parameters is diagonal.

    Attributes
    ----------
    basis : ndarray of shape (n_outputs, n_outputs)
        Orthogonal; its columns are the rotated outputs.
    residual : float
        Of the equations of the matrix.
    n_iter : int
        Evaluations of them.
    n_minima : int
        Different minima that were found.
    """

    basis: FloatArray
    residual: float
    n_iter: int
    n_minima: int

    def matrix(self, values: FloatArray) -> FloatArray:
        """The symmetric matrix with these values for the rotated outputs."""
        if np.ptp(values) == 0.0:
            return np.asarray(values[0] * np.eye(values.size))
        return np.asarray((self.basis * values) @ self.basis.T)


def find_turn(model: WideNetModel, kernel: FloatArray, Y: FloatArray) -> Turn:
    """Minimise the action over all positive definite matrices.

    Parameters
    ----------
    model : WideNetModel
        The network.
    kernel : ndarray of shape (n, n)
        Of the target.
    Y : ndarray of shape (n, n_outputs)
        Labels.

    Returns
    -------
    Turn
        The eigenvectors of the lowest minimum that was found.

    Raises
    ------
    NumericalError
        If no start leads to a minimum.
    """
    n_outputs, N = Y.shape[1], model.width
    if np.isinf(N):
        return Turn(np.eye(n_outputs), 0.0, 0, 1)
    s, U = interruptible(np.linalg.eigh, kernel, cost=10.0 * float(len(kernel)) ** 3)
    s = np.maximum(s, 0.0) / model.lam1
    rows = U.T @ Y
    lower = np.tril_indices(n_outputs)
    n_iter = 0

    def slope(Q: FloatArray) -> tuple[float, FloatArray]:
        """The action, and its derivative in the matrix."""
        nonlocal n_iter
        n_iter += 1
        A = s[:, None, None] * Q + model.temperature_target * np.eye(n_outputs)
        inverse = np.linalg.inv(A)
        alpha = np.einsum("mkl,ml->mk", inverse, rows)
        sign, log_det = np.linalg.slogdet(A)
        own, log_own = np.linalg.slogdet(Q)
        if min(own, sign.min()) <= 0.0:
            return 1e10, np.zeros_like(Q)
        value = float(np.trace(Q)) - float(log_own)
        value += (float(log_det.sum()) + float((rows * alpha).sum())) / N
        data = np.einsum("m,mkl->kl", s, inverse) - (alpha * s[:, None]).T @ alpha
        return value, np.eye(n_outputs) - np.linalg.inv(Q) + data / N

    def of_factor(x: FloatArray) -> tuple[float, FloatArray]:
        L = np.zeros((n_outputs, n_outputs))
        L[lower] = x
        value, G = slope(L @ L.T)
        return value, (2.0 * G @ L)[lower]

    def residual(x: FloatArray) -> FloatArray:
        Q = np.zeros((n_outputs, n_outputs))
        Q[lower] = x
        G: FloatArray = slope(Q + np.tril(Q, -1).T)[1][lower]
        return G

    found: list[tuple[float, FloatArray, float]] = []
    for start in (1.0, 4.0, 0.3):
        x = np.sqrt(start) * np.eye(n_outputs)[lower]
        near = minimize(of_factor, x, jac=True, method="BFGS", options={"gtol": 1e-9})
        L = np.zeros((n_outputs, n_outputs))
        L[lower] = near.x
        polished = root(residual, (L @ L.T)[lower], method="hybr", options={"xtol": 1e-13})
        Q = L @ L.T
        if np.abs(polished.x - Q[lower]).max() < 1e-3 * np.abs(Q).max():
            Q[lower] = polished.x
            Q = np.tril(Q) + np.tril(Q, -1).T
        value, G = slope(Q)
        error = float(np.abs(G).max())
        if error < 1e-6:
            found.append((value, Q, error))
    if not found:
        raise NumericalError(
            f"no minimum over the order parameters of {n_outputs} outputs was found at width "
            f"{N:g} and temperature_target {model.temperature_target:g}; raise temperature_target"
        )
    _, Q, error = min(found, key=lambda item: item[0])
    minima = {tuple(np.round(np.linalg.eigvalsh(item[1]), 4)) for item in found}
    return Turn(np.linalg.eigh(Q)[1], error, n_iter, len(minima))
