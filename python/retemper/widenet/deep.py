r"""A target of several hidden layers that is pulled towards a source, layer by layer.

Every layer has a Gram matrix of the vectors that the layers above it read it with, over the source
and all target runs: :math:`G_L` of the read-outs, and below it :math:`G_l`, a priori a Wishart
matrix about :math:`R_l = \rho \circ G_{l+1}`, with the covariances :math:`\rho` of the weights of
two runs. The outputs have the covariance :math:`\sum_l G_l \circ M_l` (derived here:
`derivations/widenet#coupled-layers`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import root

from retemper._control import interruptible
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.coupled import Task, tolerance
from retemper.widenet.kernels import kernel_of_gram, kernel_of_pairs, kernel_slope
from retemper.widenet.layers import NONE_INSIDE, InnerLayers
from retemper.widenet.model import WideNetModel
from retemper.widenet.roots import Roots, weaker_couplings
from retemper.widenet.single_task import LOG_2PI, SingleTask
from retemper.widenet.target import Parts

__all__ = ["DeepKernels", "DeepNew", "DeepSource", "DeepTarget", "layer_blocks", "solve_deep"]


class Weights(NamedTuple):
    """Prior covariances of the weights within source and target, between them, between targets."""

    s: float
    st: float
    t: float
    tt: float

    @classmethod
    def of(cls, model: WideNetModel) -> Weights:
        """Those of a model."""
        return cls(1.0 / model.lam0, model.pull / model.lam0, model.var_diag, model.var_off)


class Side:
    """Rows of one task: variances of their pre-activations in every layer, and mean slopes."""

    def __init__(self, model: WideNetModel, norms: FloatArray, variance: float) -> None:
        self.norms = norms
        self.var = [variance * norms]
        for _ in range(model.n_hidden_layers - 1):
            var = self.var[-1]
            self.var.append(variance * kernel_of_pairs(model.activation, var, var))
        zero = np.zeros_like(norms)
        self.slope = [np.sqrt(kernel_slope(model.activation, zero, v, v)) for v in self.var]


def layer_blocks(
    model: WideNetModel,
    gram: FloatArray,
    sides: tuple[Side, Side],
    covariance: float,
    n_jobs: int | None = None,
) -> list[FloatArray]:
    """The matrices M_l between two sides, from the first layer up.

    Parameters
    ----------
    model : WideNetModel
        Activation and number of layers.
    gram : ndarray of shape (n, k), or (n,)
        Of the inputs, per feature; a vector for the diagonal, with equal sides.
    sides : tuple of Side
        Rows and columns.
    covariance : float
        Prior covariance of the weights of the two runs.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    list of ndarray
        What every layer adds, seen through the slopes of those above it.
    """
    rows, cols = sides
    is_matrix = gram.ndim == 2
    parts: list[FloatArray] = []
    own = gram
    for level in range(model.n_hidden_layers):
        below = covariance * own
        if is_matrix:
            own = kernel_of_gram(
                model.activation, np.ascontiguousarray(own), rows.var[level], cols.var[level],
                covariance, n_jobs=n_jobs,
            )  # fmt: skip
            slope = np.outer(rows.slope[level], cols.slope[level])
        else:
            own = kernel_of_pairs(model.activation, rows.var[level], below)
            slope = rows.slope[level] * cols.slope[level]
        if not parts:
            parts = [own]
            continue
        parts = [slope * part for part in parts]
        parts.append(own - slope * below)
    return parts


@dataclasses.dataclass(frozen=True)
class DeepSource:
    """A solved source.

    Attributes
    ----------
    inner : InnerLayers
        Its layers below the last.
    fit : SingleTask
        The last one, on the kernel that those below leave.
    side : Side
        Its rows.
    """

    inner: InnerLayers
    fit: SingleTask
    side: Side


class DeepKernels:
    """Matrices of all layers at one coupling."""

    inner = NONE_INSIDE

    def __init__(
        self,
        model: WideNetModel,
        gram: FloatArray,
        gram_st: FloatArray | None,
        target: Task,
        source: DeepSource | None,
        *,
        n_jobs: int | None = None,
    ) -> None:
        self.model, self.source, self.n_jobs = model, source, n_jobs
        self.is_frozen = math.isinf(model.gamma)
        self.weights = w = Weights.of(model)
        self.side = side = Side(model, target.norms, w.t)
        self.d = layer_blocks(model, gram, (side, side), w.t, n_jobs)
        self.o = self.d if self.is_frozen else layer_blocks(model, gram, (side, side), w.tt, n_jobs)
        self.Z: list[FloatArray] = []
        if source is not None and gram_st is not None:
            blocks = layer_blocks(model, gram_st, (source.side, side), w.st, n_jobs)
            self.Z = [source.fit.spectrum.rotate(b) for b in blocks]


class _Point(NamedTuple):
    """Everything at given order parameters."""

    value: float  # of the action
    slope: FloatArray  # in log delta, G_tt, G_st of all layers
    inverse: FloatArray
    F: FloatArray
    a: FloatArray


class DeepEquations:
    """Stationarity of the action of one label column in all order parameters."""

    def __init__(self, kernels: DeepKernels, y: FloatArray) -> None:
        k, model = kernels, kernels.model
        self.kernels, self.y, self.model = kernels, y, model
        self.n_layers = model.n_hidden_layers
        self.readout_var, self.temperature = 1.0 / model.lam1, model.temperature_target
        self.readout_var_st = math.sqrt(self.readout_var * model.inv_lam1_source)
        self.o = self.readout_var * np.array(k.o)
        self.between = self.readout_var * (np.array(k.d) - np.array(k.o))
        self.d = self.readout_var * np.array(k.d)
        L, n = self.n_layers, y.size
        self.mu, self.H = np.zeros((L, n)), np.zeros((L, L, n, n))
        if k.source is not None:
            fit = k.source.fit
            self.mu = self.readout_var_st * np.array([fit.alpha @ Z for Z in k.Z])
            for i, j in np.ndindex(L, L):
                self.H[i, j] = self.readout_var_st**2 * fit.form(k.Z[i], k.Z[j])
        self.source_gram = _products(
            [1.0] * L if k.source is None else [*k.source.inner.Q, k.source.fit.Q], k.weights.s
        )

    def cost(self, x: Any) -> Any:
        """What the order parameters weigh, at first order in the number of runs; L at the prior."""
        delta, G_tt, G_st = np.exp(x[0]), x[1], x[2]
        w, G_s = self.kernels.weights, self.source_gram
        total = 0.0
        for j in range(self.n_layers):
            R = (1.0, 0.0, 1.0, 0.0)  # source, source and target, delta, two targets: read-outs
            if j + 1 < self.n_layers:
                d = (w.t - w.tt) * (delta[j + 1] + G_tt[j + 1]) + w.tt * delta[j + 1]
                R = (w.s * G_s[j + 1], w.st * G_st[j + 1], d, w.tt * G_tt[j + 1])
            R_s, R_st, R_d, R_tt = R
            b, q_R = R_st / R_s, R_tt - R_st**2 / R_s
            q = G_tt[j] - G_st[j] ** 2 / G_s[j]
            left = delta[j] + G_tt[j] - 2.0 * b * G_st[j] + b**2 * G_s[j]
            total += left / R_d - q_R * delta[j] / R_d**2 - np.log(delta[j] / R_d)
            total += q_R / R_d - q / delta[j]
        return total

    def at(self, x: FloatArray) -> _Point:
        """The action and its slope.

        Parameters
        ----------
        x : ndarray of shape (3, n_layers)
            log delta, G_tt and G_st of every layer.

        Returns
        -------
        _Point
            Everything there.

        Raises
        ------
        NumericalError
            If the covariance is not positive definite.
        """
        delta, G_tt, G_st = np.exp(x[0]), x[1], x[2]
        N = self.model.width
        D = np.tensordot(delta, self.d, 1) + np.tensordot(G_tt, self.between, 1)
        D[np.diag_indices_from(D)] += self.temperature
        cost = float(self.y.size) ** 3
        factor, info = interruptible(dpotrf, D, lower=1, clean=1, cost=cost)
        if info:
            raise NumericalError(
                f"the target covariance is not positive definite at delta = {delta}, G_tt = {G_tt}"
            )
        inverse, _ = interruptible(dpotri, factor, lower=1, cost=2.0 * cost)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        E = np.tensordot(G_tt, self.o, 1) - np.einsum("i,j,ijkl->kl", G_st, G_st, self.H)
        right = self.y - G_st @ self.mu
        a = inverse @ right
        F = interruptible(np.linalg.multi_dot, [inverse, E, inverse], cost=4.0 * cost)
        shared = F + np.outer(a, a)
        on_d = np.einsum("jkl,kl->j", self.d, inverse - shared)
        on_between = np.einsum("jkl,kl->j", self.between, inverse - shared)
        on_o = np.einsum("jkl,kl->j", self.o, inverse)
        on_st = np.einsum("i,ijkl,kl->j", G_st, self.H, inverse) + self.mu @ a
        data = np.array([delta * on_d, on_between + on_o, -2.0 * on_st])
        value = 2.0 * float(np.log(np.diagonal(factor)).sum())
        value += float((inverse * E).sum()) + float(right @ a)
        if math.isinf(N):
            return _Point(value, np.zeros_like(x), inverse, F, a)
        own = np.empty_like(x)
        for i in np.ndindex(*x.shape):  # by complex steps: exact
            shifted = x.astype(complex)
            shifted[i] += 1e-30j
            own[i] = self.cost(shifted).imag / 1e-30
        return _Point(float(self.cost(x)) + value / N, own + data / N, inverse, F, a)


def _products(Q: Sequence[float], variance: float) -> list[float]:
    """Gram matrices G_l of one run whose order parameters are Q."""
    out = [Q[-1]]
    for q in reversed(Q[:-1]):
        out.insert(0, variance * q * out[0])
    return out


class DeepTarget:
    """What follows from the order parameters of one label column; named as in `Target`."""

    def __init__(self, equations: DeepEquations, x: FloatArray, n_iter: int) -> None:
        e, k = equations, equations.kernels
        p = e.at(x)
        self.equations, self.x = e, x
        self.kernels = k
        self.log_delta, self.G_tt, self.G_st = x
        self.G_delta = np.exp(self.log_delta)
        G = self.G_delta + self.G_tt
        above = np.append(k.weights.t * G[1:], 1.0)
        self.Q_layers = tuple(float(q) for q in G / above)
        self.delta, self.Q_tt, self.Q_st = (float(v[-1]) for v in (self.G_delta, x[1], x[2]))
        self.Q_t = self.delta + self.Q_tt
        self.Q_s = 1.0 if k.source is None else k.source.fit.Q
        self.roots = Roots(self.delta, self.Q_tt, n_iter)
        self.residual = float(np.abs(p.slope).max())
        scale = tolerance(float(self.G_delta.max()), float(np.abs(self.G_tt).max()))
        self.status = Status.CONVERGED if self.residual <= 10.0 * scale else Status.STALLED
        self.a, self.inverse, self.F = p.a, p.inverse, p.F
        N, size = e.model.width, e.y.size * LOG_2PI
        value = p.value if math.isinf(N) else N * (p.value - e.n_layers)
        self.log_evidence = -0.5 * (value + size)
        diag = np.diagonal(p.inverse)
        self.loo = Parts(
            p.a / diag,
            np.maximum(1.0 / diag - e.temperature, 0.0),
            np.maximum(np.diagonal(p.F) / diag**2, 0.0),
        )

    @property
    def loo_loss_rows(self) -> FloatArray:
        """Squared leave-one-out error of one random network, sample by sample."""
        return np.asarray(self.loo.mean**2 + self.loo.thermal + self.loo.quenched)


class DeepNew:
    """Matrices between new inputs and both tasks."""

    def __init__(self, kernels: DeepKernels, X: FloatArray, target: Task, source: Task | None):
        k, model, n_jobs = kernels, kernels.model, kernels.n_jobs
        w, new = k.weights, Task(X, np.empty((len(X), 0)))
        side = Side(model, new.norms, w.t)
        gram = new.gram(target)
        self.d = layer_blocks(model, gram, (side, k.side), w.t, n_jobs)
        self.o = self.d if k.is_frozen else layer_blocks(model, gram, (side, k.side), w.tt, n_jobs)
        self.d_diag = layer_blocks(model, new.norms, (side, side), w.t)
        self.o_diag = layer_blocks(model, new.norms, (side, side), w.tt)
        self.s: list[FloatArray] = []
        if k.source is not None and source is not None:
            both = (k.source.side, side)
            blocks = layer_blocks(model, source.gram(new), both, w.st, n_jobs)
            self.s = [k.source.fit.spectrum.rotate(b) for b in blocks]

    def predict(self, t: DeepTarget) -> Parts:
        """Mean, thermal and quenched variance at every new input."""
        e, k = t.equations, t.kernels

        def sums(weights: FloatArray, blocks: list[FloatArray]) -> FloatArray:
            return np.tensordot(weights, np.array(blocks), 1)

        G_t, v = t.G_delta + t.G_tt, e.readout_var
        d = v * (sums(G_t, self.d) - sums(t.G_tt, self.o))
        prior = v * (sums(G_t, self.d_diag) - sums(t.G_tt, self.o_diag))
        mean, shared, e_0 = d @ t.a, v * sums(t.G_tt, self.o), v * sums(t.G_tt, self.o_diag)
        if k.source is not None:
            fit = k.source.fit
            Z, Z_t = (e.readout_var_st * sums(t.G_st, block) for block in (self.s, k.Z))
            mean = mean + fit.alpha @ Z
            shared = shared - fit.form(Z, Z_t)
            e_0 = e_0 - fit.squares(Z)
        dD = d @ t.inverse
        thermal = prior - np.einsum("ij,ij->i", dD, d)
        quenched = e_0 - 2.0 * np.einsum("ij,ij->i", dD, shared)
        quenched += np.einsum("ij,ij->i", d @ t.F, d)
        return Parts(mean, np.maximum(thermal, 0.0), np.maximum(quenched, 0.0))

    def predict_mean(self, t: DeepTarget) -> FloatArray:
        """The mean alone."""
        return self.predict(t).mean


def solve_deep(
    kernels_at: Callable[[float], DeepKernels],
    y: FloatArray,
    gamma: float,
    alone: Sequence[float],
    start: DeepTarget | None = None,
) -> DeepTarget:
    """Solve one label column, if need be by way of weaker couplings.

    Parameters
    ----------
    kernels_at : callable
        Gives the matrices at a coupling.
    y : ndarray of shape (n,)
        Labels.
    gamma : float
        The coupling.
    alone : sequence of float
        Order parameters of the target alone, from the first layer up.
    start : DeepTarget or None, default=None
        A solution nearby.

    Returns
    -------
    DeepTarget
        The solution.

    Raises
    ------
    NumericalError
        If no way leads to a solution.
    """
    e = DeepEquations(kernels_at(gamma), y)
    L, w = e.n_layers, e.kernels.weights
    if math.isinf(e.model.width):
        x = np.zeros((3, L))
        x[0] = np.log(_products([1.0] * L, w.t))
        return DeepTarget(e, x, 0)
    first = np.zeros((3, L))
    first[0], first[1] = np.log(_products(alone, w.t)), 0.05
    starts = [first] if start is None else [start.x, first]
    n_iter = 0
    for near in starts:
        found, n_calls = _roots(e, near)
        n_iter += n_calls
        if found is not None:
            return DeepTarget(e, found, n_iter)
    here = first
    for step in weaker_couplings(gamma, e.model.lam0):
        at, n_calls = _roots(DeepEquations(kernels_at(step), y), here)
        n_iter += n_calls
        if at is None:
            raise NumericalError(
                f"the equations of {L} coupled layers were not solved at gamma = {step:g}; raise "
                "temperature_target or the width"
            )
        here = at
    return DeepTarget(e, here, n_iter)


def _roots(e: DeepEquations, near: FloatArray) -> tuple[FloatArray | None, int]:
    n_iter = 0

    def f(x: FloatArray) -> FloatArray:
        nonlocal n_iter
        n_iter += 1
        point = x.reshape(3, -1)
        far = np.full(x.size, 1e3)
        if np.abs(point[0]).max() > 40.0:
            return far
        try:
            return e.at(point).slope.ravel()
        except NumericalError:
            return far

    found = root(f, near.ravel(), method="hybr", options={"xtol": 1e-13})
    x = found.x.reshape(3, -1)
    scale = tolerance(float(np.exp(min(x[0].max(), 40.0))), float(np.abs(x[1]).max()))
    is_good = float(np.abs(found.fun).max()) <= scale and bool((x[1] >= -1e-9).all())
    return (x if is_good else None), n_iter
