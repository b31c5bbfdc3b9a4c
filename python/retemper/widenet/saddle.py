r"""Saddle points behind the theory: the source kernel is made tridiagonal once, then targets.

Symbols follow the derivation: m is the mean of an activation that is not odd, v = 1 / lam1 the
variance of the read-out (``readout_var``), T the temperature, R = Q_st, and
D = T + v m m^T + v (delta K_d + Q_tt (K_d - K_o)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.linalg.lapack import dormqr, dpotrf, dpotri, dpttrf, dpttrs, dsytrd, dsytrd_lwork
from scipy.optimize import brentq, root

from retemper._results import Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.kernels import (
    activation_mean,
    centred_kernel,
    kernel_of_gram,
    kernel_of_pairs,
    square_norms,
)
from retemper.widenet.model import WideNetModel

_TOLERANCE = 1e-10
_FLOOR = 1e-10  # of a temperature and of the smallest eigenvalue, in units of the mean kernel
_LOG_2PI = math.log(2.0 * math.pi)
_BLOCK = 2048  # test points at a time


class Spectrum:
    """A kernel in an orthogonal basis in which it is tridiagonal, with its eigenvalues.

    Reduction to that basis costs a third of an eigendecomposition; afterwards everything at a new
    width, temperature or order parameter costs O(n).
    """

    def __init__(self, kernel: FloatArray, mean: FloatArray) -> None:
        n = len(kernel)
        self.level = float(kernel.trace()) / n + float(mean @ mean) / n
        work, _ = dsytrd_lwork(n, lower=1)
        c, self.diag, self.beside, self._tau, _ = dsytrd(
            kernel.T, lower=1, lwork=max(int(work), 1), overwrite_a=1
        )
        self._reflectors = np.asfortranarray(c[1:, : n - 1])
        values = eigh_tridiagonal(self.diag, self.beside, eigvals_only=True)
        self.smallest = float(values[0])
        self.values: FloatArray = np.maximum(values, 0.0)
        self.has_mean = bool(mean.any())
        self.mean: FloatArray = self.rotate(mean[:, None])[:, 0]

    def rotate(self, block: FloatArray, *, back: bool = False) -> FloatArray:
        """Columns of a block (n, k) in the basis, or back from it."""
        out: FloatArray = np.array(block, order="F")
        if len(out) > 1:
            lwork = 64 * out.shape[1]
            lower, _, _ = dormqr(
                "L", "N" if back else "T", self._reflectors, self._tau, out[1:], lwork
            )
            out[1:] = lower
        return out

    def times(self, v: FloatArray) -> FloatArray:
        """The kernel times a vector of the basis."""
        out: FloatArray = self.diag * v
        out[:-1] += self.beside * v[1:]
        out[1:] += self.beside * v[:-1]
        return out

    @property
    def rank(self) -> int:
        """Eigenvalues above 1e-12 of the largest."""
        return int((self.values > 1e-12 * self.values[-1]).sum())

    def check_temperature(self, temperature: float, readout_var: float, name: str) -> None:
        """Refuse a temperature at which a matrix with this kernel cannot be inverted."""
        floor = _FLOOR * readout_var * self.level
        if floor > temperature and readout_var * self.smallest < floor:
            raise ValueError(
                f"{name} must be at least {floor:.3g} here, got {temperature:g}: the kernel is "
                "singular (repeated rows, or more samples than a linear network has features)"
            )


class Shifted:
    """A = T + scale K + readout_var m m^T in the basis of a spectrum, factored."""

    def __init__(
        self, spectrum: Spectrum, temperature: float, scale: float, readout_var: float
    ) -> None:
        self._spectrum, self._temperature, self._scale = spectrum, temperature, scale
        diag = temperature + scale * spectrum.diag
        self._diag, self._beside = diag, scale * spectrum.beside
        if diag.size > 1:
            self._diag, self._beside, info = dpttrf(
                diag, self._beside, overwrite_d=1, overwrite_e=1
            )
            if info:
                raise NumericalError(
                    f"the label covariance is singular at temperature {temperature:g}; raise it"
                )
        self.log_det = float(np.log(self._diag).sum())
        self._tilt: FloatArray | None = None  # A^-1 m, but for the last term of A
        if spectrum.has_mean:
            tilt = self._solve(spectrum.mean[:, None])[:, 0]
            norm = 1.0 + readout_var * float(spectrum.mean @ tilt)
            self._tilt, self._factor = tilt, readout_var / norm
            self.log_det += math.log(norm)

    def _solve(self, block: FloatArray) -> FloatArray:
        if self._diag.size == 1:
            return np.asarray(block / self._diag)
        return np.asarray(dpttrs(self._diag, self._beside, block)[0])

    def solve(self, block: FloatArray) -> FloatArray:
        """A^-1 times a block (n, k)."""
        out = self._solve(block)
        if self._tilt is not None:
            out -= np.outer(self._factor * self._tilt, self._tilt @ block)
        return out

    def trace(self) -> float:
        """Tr A^-1 K."""
        s = self._spectrum.values
        out = float((s / (self._temperature + self._scale * s)).sum())
        if self._tilt is not None:
            out -= self._factor * float(self._tilt @ self._spectrum.times(self._tilt))
        return out


class SingleTask:
    """Global minimum of the single-task action over Q, and the Gaussian process it leaves."""

    def __init__(
        self,
        spectrum: Spectrum,
        y: FloatArray,
        width: float,
        temperature: float,
        readout_var: float,
    ):
        self.spectrum, self.readout_var, self.temperature, self.width = (
            spectrum,
            readout_var,
            temperature,
            width,
        )
        self._y = spectrum.rotate(y[:, None])
        self.n_iter = self.n_minima = 1
        self.Q = 1.0
        if not math.isinf(width):
            self._minimise()
        self._shifted = Shifted(spectrum, temperature, readout_var * self.Q, readout_var)
        self.alpha: FloatArray = self._shifted.solve(self._y)[:, 0]
        self.residual = 0.0 if math.isinf(width) else abs(self.slope(math.log(self.Q)))
        quadratic = float(self._y[:, 0] @ self.alpha)
        own = 0.0 if math.isinf(width) else width * excess(self.Q)
        size = y.size * _LOG_2PI
        self.log_evidence = -0.5 * (own + self._shifted.log_det + quadratic + size)

    def slope(self, x: float) -> float:
        """Derivative of the action in x = log Q."""
        Q = math.exp(x)
        shifted = Shifted(self.spectrum, self.temperature, self.readout_var * Q, self.readout_var)
        alpha = shifted.solve(self._y)[:, 0]
        pull = shifted.trace() - float(alpha @ self.spectrum.times(alpha))
        return Q - 1.0 + self.readout_var * Q / self.width * pull

    def action(self, Q: float) -> float:
        """Q - log Q + (log det A + y^T A^-1 y) / width."""
        shifted = Shifted(self.spectrum, self.temperature, self.readout_var * Q, self.readout_var)
        quadratic = float((self._y * shifted.solve(self._y)).sum())
        return Q - math.log(Q) + (shifted.log_det + quadratic) / self.width

    def _minimise(self) -> None:
        low, high = -9.0, 9.0
        while self.slope(high) <= 0.0 and high < 90.0:
            high += 3.0
        x = np.linspace(low, high, round((high - low) / 0.45) + 1)
        slope = np.array([self.slope(t) for t in x])
        self.n_iter = x.size
        starts = np.flatnonzero((slope[:-1] < 0.0) & (slope[1:] >= 0.0))
        if not starts.size:
            raise NumericalError(f"no saddle point Q with log Q in [{low}, {high}]")
        roots = []
        for i in starts:
            found, info = brentq(
                self.slope, x[i], x[i + 1], xtol=1e-15, rtol=1e-15, full_output=True
            )
            roots.append(math.exp(found))
            self.n_iter += info.function_calls
        self.n_minima = len(roots)
        self.Q = min(roots, key=self.action)

    def form(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Left^T A^-1 right for blocks given in the basis, (n, k) and (n, l)."""
        return np.asarray(left.T @ self._shifted.solve(right))

    def squares(self, block: FloatArray) -> FloatArray:
        """Diagonal of `form(block, block)`."""
        return np.asarray(np.einsum("ij,ij->j", block, self._shifted.solve(block)))


def excess(Q: float) -> float:
    """Q - 1 - log Q, exact near one."""
    return (Q - 1.0) - math.log1p(Q - 1.0)


class Task:
    """Inputs (n, n_features) and labels (n, n_outputs) of one task."""

    def __init__(self, X: FloatArray, y: FloatArray) -> None:
        self.X, self.y = X, y
        self.norms = square_norms(X)

    def gram(self, other: Task) -> FloatArray:
        """Scalar products of all pairs of inputs, per feature."""
        return np.ascontiguousarray(self.X @ other.X.T / self.X.shape[1])


def source_spectrum(model: WideNetModel, source: Task) -> Spectrum:
    """Spectrum of the source kernel; depends on ``activation`` and ``lam0`` alone."""
    kernel = centred_kernel(model.activation, source.X, model.lam0)
    return Spectrum(kernel, activation_mean(model.activation, source.norms / model.lam0))


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
    ) -> None:
        self.model = model
        var = model.var_diag * target.norms
        self.var = var
        self.K_d = kernel_of_gram(model.activation, gram, var, var, model.var_diag)
        self.is_coupled = model.gamma > 0.0
        self.is_frozen = math.isinf(model.gamma)
        if self.is_frozen:
            self.K_o = self.K_d
        elif self.is_coupled:
            self.K_o = kernel_of_gram(model.activation, gram, var, var, model.var_off)
        else:
            self.K_o = np.zeros_like(self.K_d)
        self.mean = activation_mean(model.activation, var)
        self.Z: FloatArray | None = None  # K_st in the basis of the source
        if self.is_coupled and source is not None and gram_st is not None and spectrum is not None:
            K_st = kernel_of_gram(
                model.activation, gram_st, source.norms / model.lam0, var, model.pull / model.lam0
            )
            self.Z = spectrum.rotate(K_st)

    def spectrum(self) -> Spectrum:
        """Eigenbasis of the kernel of one run."""
        return Spectrum(self.K_d.copy(), self.mean)


class Parts(NamedTuple):
    """Mean and variances of a prediction, or of the leave-one-out residuals."""

    mean: FloatArray
    thermal: FloatArray
    quenched: FloatArray


class _Point(NamedTuple):
    """Everything at given (delta, Q_tt)."""

    R: float
    inverse: FloatArray  # D^-1
    F: FloatArray
    a: FloatArray
    log_det: float
    tr_E: float
    quadratic: float  # r^T D^-1 r
    e_d: float
    e_q: float


class Target:
    """Saddle point of one label column, given the kernels and the source."""

    def __init__(self, kernels: Kernels, y: FloatArray, source: SingleTask | None,
                 start: Target | None = None) -> None:  # fmt: skip
        model = kernels.model
        self.kernels, self.y, self.model = kernels, y, model
        self.source = source if kernels.Z is not None else None
        self.readout_var, self.temperature = 1.0 / model.lam1, model.temperature_target
        self.readout_var_st = math.sqrt(self.readout_var * model.inv_lam1_source)
        self.Q_s = 1.0 if source is None else source.Q
        self._inv_width = 1.0 / model.width
        self._delta_K = kernels.K_d - kernels.K_o
        self._base = self.readout_var * np.outer(kernels.mean, kernels.mean)
        self._base[np.diag_indices_from(self._base)] += self.temperature
        n = y.size
        self._is_lower = np.tri(n, dtype=bool)
        self._G: FloatArray | None = None
        if self.source is not None and kernels.Z is not None:
            self._mu = self.readout_var_st * (self.source.alpha @ kernels.Z)
            self._G = self.readout_var_st**2 * self.source.form(kernels.Z, kernels.Z)
        else:
            self._mu = np.zeros(n)
        self.n_iter, self.n_minima = 0, 1
        self.status = Status.CONVERGED
        if _FLOOR * self.readout_var * kernels.K_d.trace() / n > self.temperature:
            kernels.spectrum().check_temperature(
                self.temperature, self.readout_var, "temperature_target"
            )
        if math.isinf(model.width):
            delta, q_tt = 1.0, 0.0
        elif not kernels.is_coupled:
            alone = SingleTask(
                kernels.spectrum(), y, model.width, self.temperature, self.readout_var
            )
            delta, q_tt = alone.Q, 0.0
            self.n_iter, self.n_minima = alone.n_iter, alone.n_minima
        elif kernels.is_frozen:
            delta, q_tt = self._frozen()
        else:
            delta, q_tt = self._coupled(start)
        self.delta, self.Q_tt = delta, q_tt
        self._finish()

    # -----------------------------------------------------------------------------------------
    # the equations

    def _point(self, delta: float, q_tt: float) -> _Point:
        k = self.kernels
        D = self.readout_var * (delta * k.K_d + q_tt * self._delta_K) + self._base
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
        if self._G is not None:
            toward = inverse @ self._mu
            stiff = self._inv_width * (float(self._mu @ toward) - float((inverse * self._G).sum()))
            R = self._inv_width * float(toward @ self.y) / (1.0 / (self.Q_s * delta) + stiff)
            right = self.y - R * self._mu
            E = E - R**2 * self._G
        a = inverse @ right
        F = inverse @ E @ inverse
        push = self.readout_var * delta * self._inv_width
        q = q_tt - R**2 / self.Q_s
        on_o = float((F * k.K_o).sum()) + float(a @ k.K_o @ a)
        on_d = float((inverse * k.K_d).sum()) - float((F * self._delta_K).sum())
        on_d -= float(a @ self._delta_K @ a)
        e_q = q - push * delta * on_o
        e_d = delta - 1.0 + push * on_d + e_q / delta  # e_d - e_q / delta is the tame part
        tr_E = float((inverse * E).sum())
        return _Point(R, inverse, F, a, log_det, tr_E, float(right @ a), e_d, e_q)

    def _tolerance(self, delta: float, q_tt: float) -> float:
        return _TOLERANCE * max(1.0, delta + q_tt)

    def _error(self, p: _Point, delta: float) -> float:
        return max(abs(p.e_d - p.e_q / delta), abs(p.e_q))

    def _frozen(self) -> tuple[float, float]:
        """Closed form: one monotone equation for delta, then Q_tt is linear."""
        k, N = self.kernels, self.model.width
        spectrum = k.spectrum()

        def f(x: float) -> float:
            scale = self.readout_var * math.exp(x)
            return (
                math.exp(x)
                - 1.0
                + scale * Shifted(spectrum, self.temperature, scale, self.readout_var).trace() / N
            )

        low = -40.0
        if f(low) >= 0.0:
            raise ValueError(
                f"width = {N:g} is at or below the interpolation threshold (rank "
                f"{spectrum.rank} of the target kernel) and temperature_target = "
                f"{self.temperature:g}: frozen features "
                "have no finite solution; raise temperature_target or the width"
            )
        x, info = brentq(f, low, 1e-9, xtol=1e-15, rtol=1e-15, full_output=True)
        self.n_iter = info.function_calls
        delta = math.exp(x)
        p = self._point(delta, 0.0)
        push = self.readout_var * delta**2 / N
        DK = p.inverse @ k.K_d
        own = p.R**2 / self.Q_s + push * float(p.a @ k.K_d @ p.a)
        if self._G is not None:
            own -= push * p.R**2 * float(((p.inverse @ self._G) * DK.T).sum())
        return delta, own / (1.0 - push * self.readout_var * float((DK * DK.T).sum()))

    def _coupled(self, start: Target | None) -> tuple[float, float]:
        """Powell's hybrid method from nearby; nested bracketed roots where that fails."""
        starts = [(1.0, 0.1)] if start is None else [(start.delta, start.Q_tt), (1.0, 0.1)]
        for delta0, q0 in starts:
            x, _ = self._powell(delta0, q0)
            if x is not None:
                return x
        return self._nested()

    def _powell(self, delta0: float, q0: float) -> tuple[tuple[float, float] | None, Any]:
        def f(x: FloatArray) -> list[float]:
            self.n_iter += 1
            if not (-40.0 < x[0] < 40.0 and x[1] > -1e-6):
                return [1e3, 1e3]
            delta = math.exp(x[0])
            try:
                p = self._point(delta, float(x[1]))
            except NumericalError:
                return [1e3, 1e3]
            return [p.e_d - p.e_q / delta, p.e_q]

        found = root(f, [math.log(delta0), q0], method="hybr", options={"xtol": 1e-11})
        delta, q_tt = math.exp(min(found.x[0], 40.0)), float(found.x[1])
        good = np.abs(found.fun).max() < self._tolerance(delta, q_tt)
        if not good or q_tt < -1e-9:
            return None, found
        return (delta, q_tt), found

    def _nested(self) -> tuple[float, float]:
        best: dict[float, float] = {}

        def inner(q_tt: float) -> float:
            def f(x: float) -> float:
                self.n_iter += 1
                p = self._point(math.exp(x), q_tt)
                return p.e_d - p.e_q / math.exp(x)

            low, high = _bracket(f, -2.0, 1.0)
            best[q_tt] = math.exp(brentq(f, low, high, xtol=1e-15, rtol=1e-15))
            return best[q_tt]

        def outer(x: float) -> float:
            q_tt = math.exp(x)
            return self._point(inner(q_tt), q_tt).e_q / q_tt

        low, high = math.log(1e-12), math.log(1e9)
        if outer(low) >= 0.0:  # no labels: nothing is shared
            return inner(0.0), 0.0
        x = brentq(outer, low, high, xtol=1e-15, rtol=1e-15)
        q_tt = math.exp(x)
        return inner(q_tt), q_tt

    # -----------------------------------------------------------------------------------------
    # what follows from the solution

    def _finish(self) -> None:
        delta, q_tt, n = self.delta, self.Q_tt, self.y.size
        p = self._point(delta, q_tt)
        self.R = p.R if self.kernels.is_coupled else 0.0
        self.a, self.inverse, self.F = p.a, p.inverse, p.F
        self.residual = 0.0 if math.isinf(self.model.width) else self._error(p, delta)
        if self.residual > 10.0 * self._tolerance(delta, q_tt):
            self.status = Status.STALLED
        q = q_tt - self.R**2 / self.Q_s
        own = 0.0
        if not math.isinf(self.model.width):
            own = self.model.width * (excess(delta) + q_tt - q / delta)
        self.log_evidence = -0.5 * (own + p.log_det + p.tr_E + p.quadratic + n * _LOG_2PI)
        diag = np.diagonal(p.inverse)
        self.loo = Parts(
            p.a / diag,
            np.maximum(1.0 / diag - self.temperature, 0.0),
            np.maximum(np.diagonal(p.F) / diag**2, 0.0),
        )
        # the mean needs these alone
        self.source_weights: FloatArray | None = None
        if self.source is not None:
            alpha = self.source.spectrum.rotate(self.source.alpha[:, None], back=True)[:, 0]
            self.source_weights = self.readout_var_st * self.R * alpha

    @property
    def Q_t(self) -> float:
        """Square of the target read-out."""
        return self.delta + self.Q_tt

    @property
    def loo_losses(self) -> FloatArray:
        """Squared leave-one-out error of one random network, sample by sample."""
        return np.asarray(self.loo.mean**2 + self.loo.thermal + self.loo.quenched)


def _bracket(f: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Interval around a root of an increasing function, widened by doubling."""
    step = 1.0
    while f(low) > 0.0:
        low, step = low - step, 2.0 * step
        if low < -200.0:
            raise NumericalError("no bracket for delta: raise temperature_target")
    step = 1.0
    while f(high) < 0.0:
        high, step = high + step, 2.0 * step
        if high > 200.0:
            raise NumericalError("no bracket for delta")
    return low, high


class TestKernels:
    """Kernels between new inputs and both tasks, at the coupling of a target."""

    __test__ = False

    def __init__(self, kernels: Kernels, X: FloatArray, target: Task, source: Task | None,
                 spectrum: Spectrum | None) -> None:  # fmt: skip
        model = kernels.model
        new = Task(X, np.empty((len(X), 0)))
        self._new, self._source, self._spectrum, self._kernels = new, source, spectrum, kernels
        var = model.var_diag * new.norms
        gram = new.gram(target)
        self.k_d = kernel_of_gram(model.activation, gram, var, kernels.var, model.var_diag)
        if kernels.is_frozen:
            self.k_o = self.k_d
        elif kernels.is_coupled:
            self.k_o = kernel_of_gram(model.activation, gram, var, kernels.var, model.var_off)
        else:
            self.k_o = np.zeros_like(self.k_d)
        self.mean = activation_mean(model.activation, var)
        self.d_diag = kernel_of_pairs(model.activation, var, var)
        self.o_diag = kernel_of_pairs(model.activation, var, model.var_off * new.norms)
        self.k_s: FloatArray | None = None  # (P_s, k)
        if kernels.Z is not None and source is not None:
            self.k_s = kernel_of_gram(
                model.activation, source.gram(new), source.norms / model.lam0, var,
                model.pull / model.lam0,
            )  # fmt: skip
        self._Z: FloatArray | None = None

    @property
    def Z(self) -> FloatArray | None:
        """k_s in the basis of the source, made when a variance is asked for."""
        if self._Z is None and self.k_s is not None and self._spectrum is not None:
            self._Z = self._spectrum.rotate(self.k_s)
        return self._Z

    def _cross(self, t: Target) -> FloatArray:
        d = t.Q_t * self.k_d - t.Q_tt * self.k_o if t.Q_tt else t.delta * self.k_d
        return np.asarray(t.readout_var * (d + np.outer(self.mean, self._kernels.mean)))

    def predict_mean(self, t: Target) -> FloatArray:
        """Mean prediction, without a change of basis."""
        return self._mean(t, self._cross(t))

    def _mean(self, t: Target, d: FloatArray) -> FloatArray:
        out = d @ t.a
        if self.k_s is not None and t.source_weights is not None:
            out += t.source_weights @ self.k_s
        return np.asarray(out)

    def predict(self, t: Target) -> Parts:
        """Mean, thermal and quenched variance at every new input."""
        d = self._cross(t)
        mean = self._mean(t, d)
        e = t.readout_var * t.Q_tt * self.k_o
        e_0 = t.readout_var * t.Q_tt * self.o_diag
        Z, Z_t = self.Z, t.kernels.Z
        if Z is not None and Z_t is not None and t.source is not None:
            level = (t.readout_var_st * t.R) ** 2
            e -= level * t.source.form(Z, Z_t)
            e_0 -= level * t.source.squares(Z)
        dD = d @ t.inverse
        prior = t.readout_var * (t.Q_t * self.d_diag - t.Q_tt * self.o_diag + self.mean**2)
        thermal = prior - np.einsum("ij,ij->i", dD, d)
        quenched = e_0 - 2.0 * np.einsum("ij,ij->i", dD, e) + np.einsum("ij,ij->i", d @ t.F, d)
        return Parts(mean, np.maximum(thermal, 0.0), np.maximum(quenched, 0.0))


def blocks(X: FloatArray) -> list[FloatArray]:
    """Rows in blocks that bound the memory of a prediction."""
    return [X[i : i + _BLOCK] for i in range(0, len(X), _BLOCK)]


def effective_dimension(tasks: list[Task]) -> float:
    """(tr G)^2 / tr G^2 of the Gram matrix of the pooled inputs."""
    X = np.vstack([task.X for task in tasks])
    G = X.T @ X if X.shape[1] < X.shape[0] else X @ X.T
    square = float(np.vdot(G, G))
    return float(G.trace()) ** 2 / square if square > 0.0 else 1.0
