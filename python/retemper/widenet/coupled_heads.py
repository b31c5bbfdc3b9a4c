r"""Several outputs on one hidden layer that is pulled towards that of a source.

The order parameters are matrices over the outputs, and the equations those of one output with
Kronecker products in place of products (derived here: `derivations/widenet#several-outputs`). The
source's outputs are rotated so that its own matrix is diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import root

from retemper._control import interruptible
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.coupled import Kernels, tolerance
from retemper.widenet.heads import Turn
from retemper.widenet.roots import Roots, weaker_couplings
from retemper.widenet.single_task import LOG_2PI, SingleTask
from retemper.widenet.target import NewKernels, Parts

__all__ = ["HeadsEquations", "HeadsTarget", "MatrixPoint", "solve_heads"]


class MatrixPoint(NamedTuple):
    """Matrices of order parameters: delta, Q_tt, and Q_st by rotated outputs of the source."""

    delta: FloatArray
    Q_tt: FloatArray
    Q_st: FloatArray

    def pack(self) -> FloatArray:
        """One vector: lower triangles, and all of Q_st."""
        lower = np.tril_indices(len(self.delta))
        return np.concatenate([self.delta[lower], self.Q_tt[lower], self.Q_st.ravel()])

    @classmethod
    def unpack(cls, x: FloatArray, n_outputs: int) -> MatrixPoint:
        """From one vector."""
        size = n_outputs * (n_outputs + 1) // 2
        lower, both = np.tril_indices(n_outputs), []
        for part in (x[:size], x[size : 2 * size]):
            M = np.zeros((n_outputs, n_outputs))
            M[lower] = part
            both.append(M + np.tril(M, -1).T)
        return cls(both[0], both[1], x[2 * size :].reshape(-1, n_outputs))


class _At(NamedTuple):
    """Everything at given order parameters; slopes in delta, Q_tt and Q_st."""

    value: float
    slope: MatrixPoint
    inverse: FloatArray
    F: FloatArray
    a: FloatArray  # (n_outputs, n)


class HeadsEquations:
    """Stationarity of the action in all matrices."""

    def __init__(self, kernels: Kernels, Y: FloatArray, fits: list[SingleTask]) -> None:
        model = kernels.model
        self.kernels, self.model, self.Y, self.fits = kernels, model, Y, fits
        self.readout_var, self.temperature = 1.0 / model.lam1, model.temperature_target
        self.readout_var_st = math.sqrt(self.readout_var * model.inv_lam1_source)
        self.K_d, self.K_o = (self.readout_var * K for K in (kernels.K_d, kernels.K_o))
        Z, level = kernels.Z, self.readout_var_st
        self.G = [] if Z is None else [level**2 * f.form(Z, Z) for f in fits]
        self.mu = [] if Z is None else [level * (f.alpha @ Z) for f in fits]

    @property
    def n_sources(self) -> int:
        """Outputs of the source that pull."""
        return len(self.G)

    def at(self, x: MatrixPoint) -> _At:
        """The action and its slopes.

        Parameters
        ----------
        x : MatrixPoint
            Where.

        Returns
        -------
        _At
            Everything there.

        Raises
        ------
        NumericalError
            If delta or the covariance is not positive definite.
        """
        delta, Q_tt, Q_st = x
        n_outputs, n = self.Y.T.shape
        N, cost = self.model.width, float(n_outputs * n) ** 3
        D = np.kron(delta, self.K_d) + np.kron(Q_tt, self.K_d - self.K_o)
        D[np.diag_indices_from(D)] += self.temperature
        try:
            factor = interruptible(np.linalg.cholesky, D, cost=cost)
            log_det = 2.0 * float(np.log(np.diagonal(factor)).sum())
            log_delta = 2.0 * float(np.log(np.diagonal(np.linalg.cholesky(delta))).sum())
        except np.linalg.LinAlgError:
            raise NumericalError("the target covariance is not positive definite") from None
        inverse = interruptible(np.linalg.inv, D, cost=2.0 * cost)
        inverse = 0.5 * (inverse + inverse.T)
        E = np.kron(Q_tt, self.K_o)
        right = self.Y.T.copy()
        for r, G, mu in zip(Q_st, self.G, self.mu, strict=True):
            E -= np.kron(np.outer(r, r), G)
            right -= np.outer(r, mu)
        a = inverse @ right.ravel()
        F = interruptible(np.linalg.multi_dot, [inverse, E, inverse], cost=4.0 * cost)
        W = (inverse - F - np.outer(a, a)).reshape(n_outputs, n, n_outputs, n)
        P = inverse.reshape(n_outputs, n, n_outputs, n)

        def sums(M: FloatArray, weights: FloatArray) -> FloatArray:
            return np.asarray(np.einsum("kilj,ij->kl", weights, M, optimize=True))

        inv = np.linalg.inv(delta)
        q = Q_tt.copy()
        for r, fit in zip(Q_st, self.fits, strict=False):
            q -= np.outer(r, r) / fit.Q
        on_delta = np.eye(n_outputs) - inv + inv @ q @ inv + sums(self.K_d, W) / N
        shared = sums(self.K_d - self.K_o, W) + sums(self.K_o, P)
        on_tt = np.eye(n_outputs) - inv + shared / N
        on_st = np.zeros_like(Q_st)
        rows = a.reshape(n_outputs, n)
        for i, (r, G, mu) in enumerate(zip(Q_st, self.G, self.mu, strict=True)):
            on_st[i] = inv @ r / self.fits[i].Q - (sums(G, P) @ r + rows @ mu) / N
        data = log_det + float((inverse * E).sum()) + float(right.ravel() @ a)
        own = float(np.trace(delta + Q_tt)) - log_delta - float((inv * q).sum())
        value = data if math.isinf(N) else own + data / N
        return _At(value, MatrixPoint(on_delta, on_tt, 2.0 * on_st), inverse, F, rows)


class HeadsTarget:
    """What follows from the matrices; named as in `Target`."""

    def __init__(self, equations: HeadsEquations, x: MatrixPoint, n_iter: int, turn: Turn) -> None:
        e, p = equations, equations.at(x)
        self.equations, self.kernels, self.x = e, e.kernels, x
        self.delta, self.Q_tt = x.delta, x.Q_tt
        self.Q_t = x.delta + x.Q_tt
        n_outputs, n = p.a.shape
        self.Q_s = np.eye(n_outputs)
        self.Q_st = np.zeros((n_outputs, n_outputs))
        if e.fits:
            self.Q_s = turn.matrix(np.array([f.Q for f in e.fits]))
            self.Q_st = np.zeros((len(e.fits), n_outputs))
        if e.n_sources:
            self.Q_st = turn.basis @ x.Q_st
        self.Q_layers = tuple(np.linalg.eigvalsh(self.Q_t).tolist())
        size = float(np.abs(self.Q_t).max())
        self.roots = Roots(size, 0.0, n_iter)
        self.residual = 0.0
        if not math.isinf(e.model.width):
            self.residual = float(np.abs(p.slope.pack()).max())
        is_good = self.residual <= 10.0 * tolerance(size, 0.0)
        self.status = Status.CONVERGED if is_good else Status.STALLED
        value = p.value
        if not math.isinf(e.model.width):
            value = e.model.width * (p.value - n_outputs)
        self.log_evidence = -0.5 * (value + n_outputs * n * LOG_2PI)
        self.a, self.inverse, self.F = p.a, p.inverse, p.F
        shape = (n_outputs, n, n_outputs, n)
        own = np.linalg.inv(np.einsum("kili->ikl", p.inverse.reshape(shape)))
        left = np.einsum("ikl,li->ik", own, p.a)
        spread = own @ np.einsum("kili->ikl", p.F.reshape(shape)) @ own
        thermal = np.trace(own, axis1=1, axis2=2) - n_outputs * e.temperature
        self.loo_loss_rows = np.square(left).sum(1) + np.maximum(thermal, 0.0)
        self.loo_loss_rows += np.maximum(np.trace(spread, axis1=1, axis2=2), 0.0)

    def predict(self, new: NewKernels) -> Parts:
        """Mean, thermal and quenched variance at new inputs, each of shape (n, n_outputs)."""
        e, (_, Q_tt, Q_st) = self.equations, self.x
        v, level = e.readout_var, e.readout_var_st
        Z, Z_t = new.Z, self.kernels.Z
        out = []
        for k in range(len(Q_tt)):
            d = v * (np.kron(self.Q_t[k], new.k_d) - np.kron(Q_tt[k], new.k_o))
            shared, e_0 = v * np.kron(Q_tt[k], new.k_o), v * Q_tt[k, k] * new.o_diag
            mean = d @ self.a.ravel()
            if Z is not None and Z_t is not None:
                for r, fit in zip(Q_st, e.fits, strict=True):
                    mean = mean + level * r[k] * (fit.alpha @ Z)
                    shared = shared - level**2 * np.kron(r[k] * r, fit.form(Z, Z_t))
                    e_0 = e_0 - (level * r[k]) ** 2 * fit.squares(Z)
            dD = d @ self.inverse
            thermal = v * (self.Q_t[k, k] * new.d_diag - Q_tt[k, k] * new.o_diag)
            thermal = thermal - np.einsum("ij,ij->i", dD, d)
            quenched = e_0 - 2.0 * np.einsum("ij,ij->i", dD, shared)
            quenched += np.einsum("ij,ij->i", d @ self.F, d)
            out.append(Parts(mean, np.maximum(thermal, 0.0), np.maximum(quenched, 0.0)))
        return Parts(*(np.column_stack(item) for item in zip(*out, strict=True)))


def solve_heads(
    equations_at: Callable[[float], HeadsEquations],
    gamma: float,
    alone: FloatArray,
    turn: Turn,
    start: HeadsTarget | None = None,
) -> HeadsTarget:
    """Solve all outputs, if need be by way of weaker couplings.

    Parameters
    ----------
    equations_at : callable
        Gives the equations at a coupling.
    gamma : float
        The coupling.
    alone : ndarray of shape (n_outputs, n_outputs)
        The matrix of the target alone.
    turn : Turn
        Of the source's outputs.
    start : HeadsTarget or None, default=None
        A solution nearby.

    Returns
    -------
    HeadsTarget
        The solution.

    Raises
    ------
    NumericalError
        If no way leads to a solution.
    """
    e = equations_at(gamma)
    n_outputs = len(alone)
    none = np.zeros((e.n_sources, n_outputs))
    first = MatrixPoint(alone, 0.05 * np.eye(n_outputs), none)
    if math.isinf(e.model.width):
        return HeadsTarget(e, MatrixPoint(np.eye(n_outputs), 0.0 * alone, none), 0, turn)
    n_iter = 0
    starts = [first]
    if start is not None and start.x.Q_st.shape == none.shape:
        starts.insert(0, start.x)
    for near in starts:
        found, n_calls = _roots(e, near)
        n_iter += n_calls
        if found is not None:
            return HeadsTarget(e, found, n_iter, turn)
    here = first
    for step in weaker_couplings(gamma, e.model.lam0, 12):
        found, n_calls = _roots(equations_at(step), here)
        n_iter += n_calls
        if found is None:
            raise NumericalError(
                f"the equations of {n_outputs} outputs were not solved at gamma = {step:g}; raise "
                "temperature_target or the width"
            )
        here = found
    return HeadsTarget(e, here, n_iter, turn)


def _roots(e: HeadsEquations, near: MatrixPoint) -> tuple[MatrixPoint | None, int]:
    n_outputs, n_iter = len(near.delta), 0

    def f(x: Any) -> FloatArray:
        nonlocal n_iter
        n_iter += 1
        try:
            return e.at(MatrixPoint.unpack(x, n_outputs)).slope.pack()
        except NumericalError:
            return np.full(x.size, 1e3)

    found = root(f, near.pack(), method="hybr", options={"xtol": 1e-13})
    x = MatrixPoint.unpack(found.x, n_outputs)
    scale = tolerance(float(np.abs(x.delta).max()), float(np.abs(x.Q_tt).max()))
    is_good = float(np.abs(found.fun).max()) <= scale
    is_good = is_good and float(np.linalg.eigvalsh(x.Q_tt)[0]) >= -1e-9
    return (x if is_good else None), n_iter
