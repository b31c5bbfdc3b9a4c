r"""The saddle-point equations of a target that is pulled towards a source.

Symbols follow the derivation: m is the mean of an activation that is not odd, v = 1 / lam1 the
variance of the read-out (``readout_var``), T the temperature, and
D = T + v m m^T + v (delta K_d + Q_tt (K_d - K_o)).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.kernels import activation_mean, kernel_of_gram, square_norms
from retemper.widenet.model import WideNetModel
from retemper.widenet.single_task import SingleTask
from retemper.widenet.tridiagonal import Spectrum

__all__ = ["Kernels", "SaddlePoint", "TargetEquations", "Task", "tolerance"]

_TOLERANCE = 1e-10


class Task:
    """Inputs (n, n_features) and labels (n, n_outputs) of one task."""

    def __init__(self, X: FloatArray, y: FloatArray) -> None:
        self.X, self.y = X, y
        self.norms = square_norms(X)

    def gram(self, other: Task) -> FloatArray:
        """Scalar products of all pairs of inputs, per feature."""
        return np.ascontiguousarray(self.X @ other.X.T / self.X.shape[1])


class Kernels:
    """Everything about a target at one coupling that its labels do not enter."""

    def __init__(
        self,
        model: WideNetModel,
        gram: FloatArray,
        gram_st: FloatArray | None,
        *,
        target: Task,
        source: Task | None,
        spectrum: Spectrum | None,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        var = model.var_diag * target.norms
        self.var = var
        self.is_coupled = model.gamma > 0.0
        self.is_frozen = math.isinf(model.gamma)

        def kernel(cov: float) -> FloatArray:
            return kernel_of_gram(model.activation, gram, var, var, cov, n_jobs=n_jobs)

        self.K_d = kernel(model.var_diag)
        if self.is_frozen:
            self.K_o = self.K_d
        elif self.is_coupled:
            self.K_o = kernel(model.var_off)
        else:
            self.K_o = np.zeros_like(self.K_d)
        self.mean = activation_mean(model.activation, var)
        self.Z: FloatArray | None = None  # K_st in the basis of the source
        if self.is_coupled and source is not None and gram_st is not None and spectrum is not None:
            row_var, cov = source.norms / model.lam0, model.pull / model.lam0
            K_st = kernel_of_gram(model.activation, gram_st, row_var, var, cov, n_jobs=n_jobs)
            self.Z = spectrum.rotate(K_st)

    def spectrum(self) -> Spectrum:
        """Eigenbasis of the kernel of one run."""
        return Spectrum(self.K_d.copy(), self.mean)


class SaddlePoint(NamedTuple):
    """Everything at given (delta, Q_tt); at a solution ``e_d`` and ``e_q`` are zero."""

    delta: float
    Q_tt: float
    Q_st: float
    inverse: FloatArray  # D^-1
    F: FloatArray
    a: FloatArray
    log_det: float
    tr_E: float
    quadratic: float  # r^T D^-1 r
    e_d: float
    e_q: float

    @property
    def tame(self) -> float:
        """The part of ``e_d`` that stays bounded where delta is small."""
        return self.e_d - self.e_q / self.delta

    @property
    def residual(self) -> float:
        """The larger error of the two equations."""
        return max(abs(self.tame), abs(self.e_q))


def tolerance(delta: float, q_tt: float) -> float:
    """Residual below which order parameters count as a solution."""
    return _TOLERANCE * max(1.0, delta + q_tt)


class TargetEquations:
    """The equations of one label column, given the kernels and the source."""

    def __init__(self, kernels: Kernels, y: FloatArray, source: SingleTask | None) -> None:
        model = kernels.model
        self.kernels, self.y, self.model = kernels, y, model
        self.source = source if kernels.Z is not None else None
        self.readout_var, self.temperature = 1.0 / model.lam1, model.temperature_target
        self.readout_var_st = math.sqrt(self.readout_var * model.inv_lam1_source)
        self.Q_s = 1.0 if source is None else source.Q
        self.inv_width = 1.0 / model.width
        self.delta_K = kernels.K_d - kernels.K_o
        self._base = self.readout_var * np.outer(kernels.mean, kernels.mean)
        self._base[np.diag_indices_from(self._base)] += self.temperature
        self._is_lower = np.tri(y.size, dtype=bool)
        self.G: FloatArray | None = None
        self.mu = np.zeros(y.size)
        if self.source is not None and kernels.Z is not None:
            self.mu = self.readout_var_st * (self.source.alpha @ kernels.Z)
            self.G = self.readout_var_st**2 * self.source.form(kernels.Z, kernels.Z)

    def at(self, delta: float, q_tt: float, q_st: float | None = None) -> SaddlePoint:
        """Both equations at given order parameters.

        Parameters
        ----------
        delta, q_tt : float
            Where.
        q_st : float or None, default=None
            The overlap with the source; None takes its saddle-point value.

        Returns
        -------
        SaddlePoint
            Everything there.

        Raises
        ------
        NumericalError
            If the covariance is not positive definite.
        """
        k = self.kernels
        D = self.readout_var * (delta * k.K_d + q_tt * self.delta_K) + self._base
        factor, info = dpotrf(D.T, lower=1, overwrite_a=1, clean=0)
        if info:
            raise NumericalError(
                f"the target covariance is not positive definite at delta = {delta:g}, "
                f"Q_tt = {q_tt:g}; raise temperature_target"
            )
        log_det = 2.0 * float(np.log(np.diagonal(factor)).sum())
        inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.where(self._is_lower, inverse, inverse.T)
        R = 0.0
        E = (self.readout_var * q_tt) * k.K_o
        right = self.y
        if self.G is not None:
            R = self._overlap(delta, inverse, self.G) if q_st is None else q_st
            right = self.y - R * self.mu
            E = E - R**2 * self.G
        a = inverse @ right
        F = inverse @ E @ inverse
        push = self.readout_var * delta * self.inv_width
        q = q_tt - R**2 / self.Q_s
        on_o = float((F * k.K_o).sum()) + float(a @ k.K_o @ a)
        on_d = float((inverse * k.K_d).sum()) - float((F * self.delta_K).sum())
        on_d -= float(a @ self.delta_K @ a)
        e_q = q - push * delta * on_o
        e_d = delta - 1.0 + push * on_d + e_q / delta
        tr_E = float((inverse * E).sum())
        quadratic = float(right @ a)
        return SaddlePoint(delta, q_tt, R, inverse, F, a, log_det, tr_E, quadratic, e_d, e_q)

    def _overlap(self, delta: float, inverse: FloatArray, G: FloatArray) -> float:
        toward = inverse @ self.mu
        stiff = float(self.mu @ toward) - float((inverse * G).sum())
        stiff *= self.inv_width
        return self.inv_width * float(toward @ self.y) / (1.0 / (self.Q_s * delta) + stiff)
