"""A target solved at one coupling: order parameters, evidence, leave-one-out, predictions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from retemper._results import Status
from retemper._validation import FloatArray
from retemper.widenet.coupled import Kernels, TargetEquations, Task, tolerance
from retemper.widenet.given import GivenTest
from retemper.widenet.kernels import kernel_of_gram, kernel_of_pairs
from retemper.widenet.layers import Pairs, last_kernel
from retemper.widenet.roots import Roots, find_roots
from retemper.widenet.single_task import LOG_2PI, SingleTask, excess
from retemper.widenet.tridiagonal import Spectrum

__all__ = ["NewKernels", "Parts", "Target", "solve_target"]


class Parts(NamedTuple):
    """Mean and variances of a prediction, or of the leave-one-out residuals."""

    mean: FloatArray
    thermal: FloatArray
    quenched: FloatArray


def solve_target(
    kernels: Kernels, y: FloatArray, source: SingleTask | None, start: Target | None = None
) -> Target:
    """Solve one label column.

    Parameters
    ----------
    kernels : Kernels
        Of the target at its coupling.
    y : ndarray of shape (n,)
        Labels.
    source : SingleTask or None
        The solved source; None is a random anchor.
    start : Target or None, default=None
        A solution nearby.

    Returns
    -------
    Target
        The solution.

    Raises
    ------
    ValueError, NumericalError
        As in `find_roots`.
    """
    equations = TargetEquations(kernels, y, source)
    return Target(equations, find_roots(equations, None if start is None else start.roots))


class Target:
    """What follows from the order parameters of one label column.

    Parameters
    ----------
    equations : TargetEquations
        The equations.
    roots : Roots
        Their solution.
    q_st : float, ndarray or None, default=None
        The overlap with the source or sources; None takes its saddle-point value.
    """

    def __init__(self, equations: TargetEquations, roots: Roots, q_st: Any = None) -> None:
        e, kernels = equations, equations.kernels
        self.kernels, self.source, self.roots, self.equations = kernels, e.source, roots, e
        self.readout_var, self.readout_var_st = e.readout_var, e.readout_var_st
        shift = roots.shift
        width, delta, q_tt = e.model.width, roots.delta, roots.Q_tt
        p = e.at(delta, q_tt, q_st, shift)
        self.delta, self.Q_tt, self.Q_s = delta * shift.ratio, q_tt + shift.Q_tt, e.Q_s
        self.delta_free, self.Q_tt_free, self.Q_st_free = delta, q_tt, p.Q_st
        self.Q_st = p.Q_st + shift.Q_st
        self.a, self.inverse, self.F = p.a, p.inverse, p.F
        self.residual = 0.0
        if not math.isinf(width):
            new = e.shift_of(p, shift)
            beside = (new.ratio - shift.ratio, new.Q_tt - shift.Q_tt, new.Q_st - shift.Q_st)
            self.residual = max(p.residual, *(abs(v) for v in beside), kernels.inner.residual)
        is_good = self.residual <= 10.0 * tolerance(delta, q_tt + abs(shift.Q_tt))
        self.status = Status.CONVERGED if is_good else Status.STALLED
        own = 0.0
        if not math.isinf(width):
            own = excess(delta) + q_tt - p.q / delta
            if e.has_mean:
                # tr U - tr Q'^-1 U of what the means of the read-outs add, U
                more = delta * (shift.ratio - 1.0)
                pull = p.Q_st / (e.Q_s_free * delta)
                own += more + shift.Q_tt - (more + shift.Q_tt) / delta + p.q * more / delta**2
                own += 2.0 * pull * shift.Q_st - pull**2 * delta * (e.Q_s - e.Q_s_free)
            own = (own + kernels.inner.cost) * width
        size = e.y.size * LOG_2PI
        self.log_evidence = -0.5 * (own + p.log_det + p.tr_E + p.quadratic + size)
        diag = np.diagonal(p.inverse)
        self.loo = Parts(
            p.a / diag,
            np.maximum(1.0 / diag - e.temperature, 0.0),
            np.maximum(np.diagonal(p.F) / diag**2, 0.0),
        )
        # the mean needs these alone
        self.mean_weight = p.Q_st * e.nu
        self.source_weights: FloatArray | None = None
        if self.source is not None:
            alpha = self.source.spectrum.rotate(self.source.alpha[:, None], back=True)[:, 0]
            self.source_weights = self.readout_var_st * self.Q_st * alpha

    @property
    def Q_t(self) -> float:
        """Square of the target read-out."""
        return self.delta + self.Q_tt

    @property
    def Q_layers(self) -> tuple[float, ...]:
        """Order parameters of all layers, from the first up."""
        return (*self.kernels.inner.Q, self.Q_t)

    @property
    def loo_loss_rows(self) -> FloatArray:
        """Squared leave-one-out error of one random network, sample by sample."""
        return np.asarray(self.loo.mean**2 + self.loo.thermal + self.loo.quenched)


class NewKernels:
    """Kernels between new inputs and both tasks, at the coupling of a target."""

    def __init__(
        self,
        kernels: Kernels,
        X: FloatArray,
        target: Task,
        source: Task | None,
        spectrum: Spectrum | None,
        *,
        n_jobs: int | None = None,
    ) -> None:
        model = kernels.model
        new = Task(X, np.empty((len(X), 0)))
        self._spectrum, self._kernels = spectrum, kernels
        var = kernels.var_diag * new.norms
        gram = new.gram(target)

        def kernel(cov: float) -> FloatArray:
            return kernel_of_gram(model.activation, gram, var, kernels.var, cov, n_jobs=n_jobs)

        pairs = Pairs(gram, var, kernels.var, kernels.var_diag)
        self.k_d, self.d_diag, _, self.mean, _ = last_kernel(model, pairs, kernels.inner.Q, n_jobs)
        if kernels.is_frozen:
            self.k_o = self.k_d
        elif kernels.is_coupled:
            self.k_o = kernel(kernels.var_off)
        else:
            self.k_o = np.zeros_like(self.k_d)
        self.o_diag = kernel_of_pairs(model.activation, var, kernels.var_off * new.norms)
        self.k_s: FloatArray | None = None  # (P_s, k)
        if kernels.Z is not None and source is not None:
            row_var, cov = source.norms / model.lam0, model.pull / model.lam0
            self.k_s = kernel_of_gram(
                model.activation, source.gram(new), row_var, var, cov, n_jobs=n_jobs
            )
        self._Z: FloatArray | None = None

    @classmethod
    def given(cls, kernels: Kernels, blocks: GivenTest, spectrum: Spectrum | None) -> NewKernels:
        """From blocks that the user gave."""
        new = cls.__new__(cls)
        new._kernels, new._spectrum, new._Z = kernels, spectrum, None
        new.k_d, new.d_diag, new.k_o, new.o_diag = (
            blocks.k_d, blocks.d_diag, blocks.k_o, blocks.o_diag
        )  # fmt: skip
        new.mean = np.zeros_like(blocks.d_diag)
        new.k_s = blocks.k_s if kernels.Z is not None else None
        return new

    @property
    def Z(self) -> FloatArray | None:
        """k_s in the basis of the source, made when a variance is asked for."""
        if self._Z is None and self.k_s is not None and self._spectrum is not None:
            self._Z = self._spectrum.rotate(self.k_s)
        return self._Z

    def _cross(self, t: Target) -> FloatArray:
        d = t.Q_t * self.k_d - t.Q_tt * self.k_o if t.Q_tt else t.delta * self.k_d
        own = np.outer(t.delta_free * self.mean, self._kernels.mean)
        return np.asarray(t.readout_var * (d + own))

    def predict_mean(self, t: Target) -> FloatArray:
        """Mean prediction, without a change of basis."""
        return self._mean(t, self._cross(t))

    def _mean(self, t: Target, d: FloatArray) -> FloatArray:
        out = d @ t.a
        if self.k_s is not None and t.source_weights is not None:
            out += t.source_weights @ self.k_s + t.mean_weight * self.mean
        return np.asarray(out)

    def predict(self, t: Target) -> Parts:
        """Mean, thermal and quenched variance at every new input."""
        d = self._cross(t)
        mean = self._mean(t, d)
        shared = t.Q_tt_free * self.mean
        e = t.readout_var * (t.Q_tt * self.k_o + np.outer(shared, self._kernels.mean))
        e_0 = t.readout_var * (t.Q_tt * self.o_diag + shared * self.mean)
        e, e_0 = self._known(t, e, e_0)
        dD = d @ t.inverse
        prior = t.Q_t * self.d_diag - t.Q_tt * self.o_diag + t.delta_free * self.mean**2
        prior *= t.readout_var
        thermal = prior - np.einsum("ij,ij->i", dD, d)
        quenched = e_0 - 2.0 * np.einsum("ij,ij->i", dD, e) + np.einsum("ij,ij->i", d @ t.F, d)
        return Parts(mean, np.maximum(thermal, 0.0), np.maximum(quenched, 0.0))

    def _known(self, t: Target, e: FloatArray, e_0: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Covariances of two runs, with target and with itself, less what the source says."""
        Z, Z_t = self.Z, t.kernels.Z
        if Z is not None and Z_t is not None and t.source is not None:
            m = t.Q_st_free * t.source.spectrum.mean
            Z = t.Q_st * Z + np.outer(m, self.mean)
            Z_t = t.Q_st * Z_t + np.outer(m, self._kernels.mean)
            level = t.readout_var_st**2
            e -= level * t.source.form(Z, Z_t)
            e_0 -= level * t.source.squares(Z)
        return e, e_0
