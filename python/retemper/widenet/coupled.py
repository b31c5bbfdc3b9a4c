r"""The saddle-point equations of a target that is pulled towards a source.

Symbols follow the derivation: m is the mean of an activation that is not odd, v = 1 / lam1 the
variance of the read-out (``readout_var``), T the temperature, and
D = T + v delta' m m^T + v (delta K_d + Q_tt (K_d - K_o)).

An activation of mean m sees the sum s of the read-outs of a network beside their Gram matrix Q.
With Q' the Gram matrix that is left when the means of all s are taken out, the action is
tr Q - tr Q'^-1 Q - log det Q' + (log det S + Y^T S^-1 Y) / width, where S has the blocks
T + v (Q K + Q' m m^T). The unknowns here are those of Q'; `MeanShift` makes Q of them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.kernels import kernel_of_gram, square_norms
from retemper.widenet.layers import NONE_INSIDE, InnerLayers, Pairs, last_kernel
from retemper.widenet.model import WideNetModel
from retemper.widenet.single_task import SingleTask
from retemper.widenet.tridiagonal import Spectrum

__all__ = [
    "NO_SHIFT",
    "Kernels",
    "MeanShift",
    "SaddlePoint",
    "TargetEquations",
    "Task",
    "tolerance",
]

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

    inner = NONE_INSIDE  # of pickles from before there were several layers
    prior: tuple[float, float] | None = None

    def __init__(
        self,
        model: WideNetModel,
        gram: FloatArray,
        gram_st: FloatArray | None,
        *,
        target: Task,
        source: Task | None,
        spectrum: Spectrum | None,
        inner: InnerLayers = NONE_INSIDE,
        n_jobs: int | None = None,
        prior: tuple[float, float] | None = None,
    ) -> None:
        self.model, self.inner, self.prior = model, inner, prior
        var = self.var_diag * target.norms
        self.var = var
        self.is_coupled = model.gamma > 0.0
        self.is_frozen = math.isinf(model.gamma)

        def kernel(cov: float) -> FloatArray:
            return last_kernel(model, Pairs(gram, var, var, cov), inner.Q, n_jobs).kernel

        self.K_d, *_, self.mean, _ = last_kernel(
            model, Pairs(gram, var, var, self.var_diag), inner.Q, n_jobs
        )
        if self.is_frozen:
            self.K_o = self.K_d
        elif self.is_coupled:
            self.K_o = kernel(self.var_off)
        else:
            self.K_o = np.zeros_like(self.K_d)
        self.Z: FloatArray | None = None  # K_st in the basis of the source
        if self.is_coupled and source is not None and gram_st is not None and spectrum is not None:
            row_var, cov = source.norms / model.lam0, model.pull / model.lam0
            K_st = kernel_of_gram(model.activation, gram_st, row_var, var, cov, n_jobs=n_jobs)
            self.Z = spectrum.rotate(K_st)

    @property
    def var_diag(self) -> float:
        """Prior variance of a target weight."""
        return self.model.var_diag if self.prior is None else self.prior[0]

    @property
    def var_off(self) -> float:
        """Prior covariance of a weight between two target runs."""
        return self.model.var_off if self.prior is None else self.prior[1]

    def spectrum(self) -> Spectrum:
        """Eigenbasis of the kernel of one run."""
        return Spectrum(self.K_d.copy(), self.mean)


@dataclasses.dataclass(frozen=True)
class MeanShift:
    """What the mean of an activation adds to order parameters; nothing where it is zero.

    Attributes
    ----------
    ratio : float
        delta over its free part.
    Q_tt, Q_st : float
        Added to their free parts.
    """

    ratio: float = 1.0
    Q_tt: float = 0.0
    Q_st: float = 0.0


#: What an activation without mean adds.
NO_SHIFT = MeanShift()


class SaddlePoint(NamedTuple):
    """Everything at given free parts; at a solution ``e_d`` and ``e_q`` are zero."""

    delta: float
    Q_tt: float
    Q_st: Any  # an array for several sources
    inverse: FloatArray  # D^-1
    F: FloatArray
    a: FloatArray
    log_det: float
    tr_E: float
    quadratic: float  # r^T D^-1 r
    e_d: float
    e_q: float
    q: float

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
        self.Q_s: Any = 1.0 if source is None else source.Q
        self.Q_s_free: Any = 1.0 if source is None else source.Q_free
        self._mean_s = 0.0 if source is None else source.mean_readout
        self.has_mean = bool(kernels.mean.any()) and not math.isinf(model.width)
        self.inv_width = 1.0 / model.width
        self.delta_K = kernels.K_d - kernels.K_o
        self._outer = self.readout_var * np.outer(kernels.mean, kernels.mean)
        self._is_lower = np.tri(y.size, dtype=bool)
        self.G: FloatArray | None = None
        self.mu = np.zeros(y.size)
        # the same with the mean of the source in place of K_st: nu m, g m^T and h m m^T
        self.nu, self.g, self.h = 0.0, np.zeros(y.size), 0.0
        if self.source is not None and kernels.Z is not None:
            Z, m = kernels.Z, self.source.spectrum.mean[:, None]
            self.mu = self.readout_var_st * (self.source.alpha @ Z)
            self.G = self.readout_var_st**2 * self.source.form(Z, Z)
            self.nu = self.readout_var_st * float(self.source.alpha @ m[:, 0])
            if self.has_mean:
                self.g = self.readout_var_st**2 * self.source.form(Z, m)[:, 0]
                self.h = self.readout_var_st**2 * float(self.source.form(m, m)[0, 0])

    def at(
        self,
        delta: float,
        q_tt: float,
        q_st: Any = None,
        shift: MeanShift = NO_SHIFT,
    ) -> SaddlePoint:
        """Both equations at given order parameters.

        Parameters
        ----------
        delta, q_tt : float
            The free parts.
        q_st : float, ndarray or None, default=None
            That of the overlap with the source or sources; None takes its saddle-point value.
        shift : MeanShift
            What the mean of the activation adds to them.

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
        all_d, all_tt = delta * shift.ratio, q_tt + shift.Q_tt
        D = self.readout_var * (all_d * k.K_d + all_tt * self.delta_K) + delta * self._outer
        D[np.diag_indices_from(D)] += self.temperature
        factor, info = dpotrf(D.T, lower=1, overwrite_a=1, clean=0)
        if info:
            raise NumericalError(
                f"the target covariance is not positive definite at delta = {delta:g}, "
                f"Q_tt = {q_tt:g}; raise temperature_target"
            )
        log_det = 2.0 * float(np.log(np.diagonal(factor)).sum())
        inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.where(self._is_lower, inverse, inverse.T)
        E = (self.readout_var * all_tt) * k.K_o + q_tt * self._outer
        R, E, right, q = self.pulled(delta, q_tt, inverse, E, q_st=q_st, shift=shift)
        a = inverse @ right
        F = inverse @ E @ inverse if E.any() else E
        push = self.readout_var * delta * self.inv_width
        on_o = float((F * k.K_o).sum()) + float(a @ k.K_o @ a)
        on_d = float((inverse * k.K_d).sum()) - float((F * self.delta_K).sum())
        on_d -= float(a @ self.delta_K @ a)
        e_q = q - push * delta * on_o
        e_d = delta - 1.0 + push * on_d + e_q / delta
        tr_E = float((inverse * E).sum())
        quadratic = float(right @ a)
        return SaddlePoint(delta, q_tt, R, inverse, F, a, log_det, tr_E, quadratic, e_d, e_q, q)

    def pulled(
        self,
        delta: float,
        q_tt: float,
        inverse: FloatArray,
        E: FloatArray,
        *,
        q_st: Any,
        shift: MeanShift,
    ) -> tuple[Any, FloatArray, FloatArray, float]:
        """Overlap with the source, E and labels without what the source says, and q."""
        mean, R = self.kernels.mean, 0.0
        right = self.y
        if self.G is not None:
            R = self._overlap(delta, inverse, self.G, shift.Q_st) if q_st is None else q_st
            all_R = R + shift.Q_st
            right = self.y - all_R * self.mu - R * self.nu * mean
            E = E - all_R**2 * self.G
            if self.has_mean:
                beside = np.outer(all_R * self.g + 0.5 * R * self.h * mean, R * mean)
                E = E - beside - beside.T
        return R, E, right, float(q_tt - R**2 / self.Q_s_free)

    def _overlap(self, delta: float, inverse: FloatArray, G: FloatArray, shift: float) -> float:
        toward = inverse @ self.mu
        stiff = float(self.mu @ toward) - float((inverse * G).sum())
        mean = self.kernels.mean
        whole = stiff + self.nu * float(toward @ mean) - float(self.g @ inverse @ mean)
        push = self.inv_width * (float(toward @ self.y) - shift * stiff)
        return push / float(1.0 / (self.Q_s_free * delta) + self.inv_width * whole)

    def shift_of(self, p: SaddlePoint, shift: MeanShift) -> MeanShift:
        """What the sums of the read-outs add, at given order parameters.

        The sums are those of the posterior: of the outputs at a point at which the activation has
        mean one and no variance.
        """
        if not self.has_mean:
            return NO_SHIFT
        m, v, v_st, R = self.kernels.mean, self.readout_var, self.readout_var_st, p.Q_st
        all_R = R + shift.Q_st
        d = v * p.delta * m
        e = v * p.Q_tt * m - R * (all_R * self.g + R * self.h * m)
        dD = d @ p.inverse
        mean = R * self.nu + float(d @ p.a)
        quenched = v * p.Q_tt - R**2 * self.h - 2.0 * float(dD @ e) + float(d @ p.F @ d)
        both = self._mean_s * mean
        if self.source is not None and self.G is not None:
            # readout_var of the source over readout_var_st, times Q_s_free
            level = self.source.readout_var * self.source.Q_free / v_st
            both += v_st * R - level * R * self.h
            both -= float(dD @ (v_st * R * m - level * (all_R * self.g + R * self.h * m)))
        return MeanShift(
            1.0 - self.inv_width * float(dD @ m),
            self.inv_width * ((mean**2 + quenched) / v - p.Q_tt),
            self.inv_width * (both / v_st - R),
        )
