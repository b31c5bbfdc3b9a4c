r"""Sources and target that pull each other: one posterior over all networks, so sources react.

Given the Gram matrix G of the read-outs of sources and target, the labels of all tasks are normal
with the covariance :math:`\sum_l G_l \circ M_l`, block by block, and the action is minimal over G:
nothing is replicated (derived here: `derivations/widenet#elastic-coupling`). A random anchor is a
source without rows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize, root

from retemper._control import interruptible
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.coupled import MeanShift, Task, tolerance
from retemper.widenet.deep import Side, layer_blocks
from retemper.widenet.kernels import activation_mean
from retemper.widenet.layers import NONE_INSIDE
from retemper.widenet.model import WideNetModel
from retemper.widenet.roots import Roots, weaker_couplings
from retemper.widenet.single_task import LOG_2PI, SingleTask
from retemper.widenet.target import Parts

__all__ = [
    "Alone",
    "ElasticKernels",
    "ElasticNew",
    "ElasticTarget",
    "SourcesAlone",
    "prior_covariance",
    "solve_elastic",
]


def prior_covariance(model: WideNetModel, weights: FloatArray) -> FloatArray:
    """Prior covariance of a weight between all networks, the target's last.

    Parameters
    ----------
    model : WideNetModel
        Prior precision and coupling.
    weights : ndarray of shape (n_sources,)
        Coupling of each source over that of the model.

    Returns
    -------
    ndarray of shape (n_sources + 1, n_sources + 1)
        The covariance; at infinite coupling all networks with a weight share theirs.
    """
    if math.isinf(model.gamma):
        g, loose = np.where(weights > 0.0, 1.0, 0.0), np.where(weights > 0.0, 0.0, 1 / model.lam0)
    else:
        precision = model.lam0 + model.gamma * weights
        g, loose = model.gamma * weights / precision, 1.0 / precision
    own = 1.0 / (model.lam0 * (1.0 + float(g.sum())))  # of the target, once sources are integrated
    toward = np.append(g, 1.0)
    return np.asarray(own * np.outer(toward, toward) + np.diag(np.append(loose, 0.0)))


class SourcesAlone(NamedTuple):
    """All sources without the labels of the target; named as in `SingleTask`."""

    log_evidence: float
    n_iter: int = 0
    residual: float = 0.0
    n_minima: int = 1
    Q: float = 1.0
    Q_free: float = 1.0


class Alone(NamedTuple):
    """One of the networks without the labels of the others.

    Attributes
    ----------
    inner : tuple of float
        Order parameters of its layers below the last.
    fit : SingleTask
        The last one.
    """

    inner: tuple[float, ...]
    fit: SingleTask


class ElasticKernels:
    """Matrices of all layers over the rows of all tasks; a side is one output of one network.

    Parameters
    ----------
    model : WideNetModel
        The networks.
    tasks : list of Task
        Networks: sources, and the target as the last.
    rho : ndarray of shape (n_tasks, n_tasks)
        Prior covariance of a weight between them.
    n_outputs : sequence of int or None, default=None
        Sides of each network; None is 1 for each.
    n_jobs : int or None, default=None
        Threads.
    has_target : bool, default=True
        Whether the last network is the target; otherwise it is one of the sources.
    """

    inner = NONE_INSIDE

    def __init__(
        self,
        model: WideNetModel,
        tasks: list[Task],
        rho: FloatArray,
        n_outputs: Sequence[int] | None = None,
        *,
        n_jobs: int | None = None,
        has_target: bool = True,
    ) -> None:
        self.model, self.n_jobs, self.tasks = model, n_jobs, tasks
        outputs = [1] * len(tasks) if n_outputs is None else list(n_outputs)
        self.n_target = outputs[-1] if has_target else 1
        net = np.repeat(np.arange(len(tasks)), outputs)
        n_sides = net.size
        self.rho = rho[np.ix_(net, net)]
        self.layers = [Side(model, t.norms, float(rho[i, i])) for i, t in enumerate(tasks)]
        self.net = net
        self.side = np.repeat(np.arange(n_sides), [len(tasks[i].norms) for i in net])
        self.root_var = np.full(n_sides, model.inv_lam1_source**0.5)
        temperature = np.full(n_sides, model.temperature_source)
        if has_target:
            self.root_var[net == net[-1]] = model.lam1**-0.5
            temperature[net == net[-1]] = model.temperature_target
        self.temperature = temperature[self.side]
        mean = [activation_mean(model.activation, layer.var[-1]) for layer in self.layers]
        self.mean = np.concatenate([mean[i] for i in net]) * self.root_var[self.side]
        blocks = [
            [
                layer_blocks(
                    model,
                    task.gram(other),
                    (self.layers[a], self.layers[b]),
                    float(rho[a, b]),
                    n_jobs,
                )
                for b, other in enumerate(tasks)
            ]
            for a, task in enumerate(tasks)
        ]
        #: What every layer adds, times both read-out variances.
        self.M = np.array([np.block([[blocks[a][b][j] for b in net] for a in net])
                           for j in range(model.n_hidden_layers)])  # fmt: skip
        self.M *= np.outer(self.root_var[self.side], self.root_var[self.side])


class _Point(NamedTuple):
    """Everything at given order parameters."""

    value: float  # of the action; 0 at the prior, but for the data
    slope: FloatArray  # in G, and in the free part where there is one
    inverse: FloatArray
    a: FloatArray
    log_likelihood: float  # twice, without the constant


class ElasticEquations:
    """Stationarity of the action of one column of labels.

    Order parameters are symmetric matrices over sources and target: G of every layer from the first
    up, and for an activation with a mean the free part Q' of the only layer.
    """

    def __init__(self, kernels: ElasticKernels, y: FloatArray) -> None:
        k, model = kernels, kernels.model
        self.kernels, self.model, self.y = k, model, y
        self.n_layers, self.n_sides = model.n_hidden_layers, k.net.size
        self.has_mean = bool(k.mean.any()) and not math.isinf(model.width)
        self._of_side = np.eye(self.n_sides)[k.side]

    @property
    def n_matrices(self) -> int:
        """Matrices of order parameters."""
        return self.n_layers + self.has_mean

    def covariance(self, G: FloatArray) -> FloatArray:
        """Of the labels of all tasks."""
        k = self.kernels
        over = np.ix_(k.side, k.side)
        A = sum(g[over] * M for g, M in zip(G, k.M, strict=False))
        if k.mean.any():  # at infinite width Q' is Q
            A = A + G[-1][over] * np.outer(k.mean, k.mean)
        A = np.asarray(A)
        A[np.diag_indices_from(A)] += k.temperature
        return A

    def at(self, G: FloatArray) -> _Point:
        """The action and its slopes.

        Parameters
        ----------
        G : ndarray of shape (n_matrices, n_sides, n_sides)
            Order parameters.

        Returns
        -------
        _Point
            Everything there.

        Raises
        ------
        NumericalError
            If a matrix is not positive definite.
        """
        k, N = self.kernels, self.model.width
        cost = float(self.y.size) ** 3
        factor, info = interruptible(dpotrf, self.covariance(G), lower=1, clean=1, cost=cost)
        if info:
            raise NumericalError("the covariance of the labels is not positive definite")
        inverse, _ = interruptible(dpotri, factor, lower=1, cost=2.0 * cost)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        a = inverse @ self.y
        data = 2.0 * float(np.log(np.diagonal(factor)).sum()) + float(self.y @ a)
        if math.isinf(N):
            return _Point(0.0, np.zeros_like(G), inverse, a, data)
        pull = inverse - np.outer(a, a)
        matrices = [*k.M, np.outer(k.mean, k.mean)][: len(G)]
        slope = np.array([self._of_side.T @ (pull * M) @ self._of_side / N for M in matrices])
        own = self._own_with_mean if self.has_mean else self._own
        value, more = own(G)
        return _Point(value + data / N, slope + more, inverse, a, data)

    def _own(self, G: FloatArray) -> tuple[float, FloatArray]:
        """What the matrices weigh: a Wishart law about that of the layer above."""
        rho, value, slope = self.kernels.rho, 0.0, np.zeros_like(G)
        for j, g in enumerate(G):
            is_last = j + 1 == len(G)
            R = np.eye(self.n_sides) if is_last else rho * G[j + 1]
            inv, log_det, log_R = np.linalg.inv(R), *(np.linalg.slogdet(m)[1] for m in (g, R))
            if min(_smallest(g), _smallest(R)) <= 0.0:
                raise NumericalError("a matrix of order parameters is not positive definite")
            value += float((inv * g).sum()) - float(log_det - log_R) - self.n_sides
            slope[j] += inv - np.linalg.inv(g)
            if not is_last:
                slope[j + 1] += rho * (inv - inv @ g @ inv)
        return value, slope

    def _own_with_mean(self, G: FloatArray) -> tuple[float, FloatArray]:
        """What Q and Q' weigh."""
        Q, free = G
        if min(_smallest(free), _smallest(Q)) <= 0.0:
            raise NumericalError("a matrix of order parameters is not positive definite")
        inv, log_det = np.linalg.inv(free), np.linalg.slogdet(free)[1]
        value = float(np.trace(Q)) - float((inv * Q).sum()) - float(log_det)
        return value, np.array([np.eye(self.n_sides) - inv, inv @ Q @ inv - inv])

    def pack(self, G: FloatArray) -> FloatArray:
        """Lower triangles."""
        rows, cols = np.tril_indices(self.n_sides)
        return np.ascontiguousarray(G[:, rows, cols]).ravel()

    def unpack(self, x: FloatArray) -> FloatArray:
        """Symmetric matrices from lower triangles."""
        lower = self._lower(x)
        return np.asarray(lower + np.tril(lower, -1).transpose(0, 2, 1))

    def _lower(self, x: FloatArray) -> FloatArray:
        out = np.zeros((self.n_matrices, self.n_sides, self.n_sides))
        rows, cols = np.tril_indices(self.n_sides)
        out[:, rows, cols] = x.reshape(self.n_matrices, -1)
        return out

    def minimise(self, G: FloatArray) -> tuple[FloatArray, int]:
        """Down from G, along Cholesky factors; an activation of zero mean."""

        def f(x: FloatArray) -> tuple[float, FloatArray]:
            factor = self._lower(x)
            try:
                p = self.at(factor @ factor.transpose(0, 2, 1))
            except (NumericalError, np.linalg.LinAlgError):
                return 1e10, np.zeros_like(x)
            return p.value, self.pack(2.0 * p.slope @ factor)

        start = self.pack(np.asarray(np.linalg.cholesky(G), dtype=np.float64))
        found = minimize(f, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15})
        factor = self._lower(found.x)
        return factor @ factor.transpose(0, 2, 1), int(found.nfev)

    def polish(self, G: FloatArray) -> tuple[FloatArray | None, int]:
        """Powell's hybrid method from nearby: the solution, or None, and the evaluations."""
        n_iter = 0

        def f(x: FloatArray) -> FloatArray:
            nonlocal n_iter
            n_iter += 1
            try:
                return self.pack(self.at(self.unpack(x)).slope)
            except (NumericalError, np.linalg.LinAlgError):
                return np.full(x.size, 1e3)

        found = root(f, self.pack(G), method="hybr", options={"xtol": 1e-13})
        out = self.unpack(found.x)
        is_good = bool(np.abs(found.fun).max() <= tolerance(float(np.abs(out).max()), 0.0))
        if is_good and self.has_mean:  # what the mean takes is positive, up to 1 / width
            most = np.diagonal(out[0]) * (1.0 + 2.0 / math.sqrt(self.model.width))
            is_good = bool((np.diagonal(out[1]) < most).all())
        return (out if is_good else None), n_iter


def _smallest(matrix: FloatArray) -> float:
    """Eigenvalue of a symmetric matrix."""
    return float(np.linalg.eigvalsh(matrix)[0])


class ElasticTarget:
    """What follows from the order parameters of one column of labels; named as in `Target`."""

    def __init__(
        self,
        equations: ElasticEquations,
        G: FloatArray,
        n_iter: int,
        source: SingleTask | SourcesAlone | None,
        n_minima: int = 1,
    ) -> None:
        e, k = equations, equations.kernels
        p = e.at(G)
        self.equations, self.kernels, self.G, self.source = e, k, G, source
        Q, L, N, K = G[e.n_layers - 1], e.n_layers, e.model.width, k.n_target
        n_sources = e.n_sides - K
        self.Q_t: Any = Q[-K:, -K:]
        self.Q_s: Any = Q[:n_sources, :n_sources] if n_sources else np.eye(K)
        self.Q_st: Any = Q[:n_sources, -K:] if n_sources else np.zeros((K, K))
        # two runs share what the mean of the labels asks of the sums of the read-outs alone
        sums = np.zeros(K)
        if e.has_mean:
            sums = (G[-1][-K:, k.side] * k.mean) @ p.a
        self.Q_tt: Any = np.outer(sums, sums) / N
        self.Q_layers = tuple(np.linalg.eigvalsh(self.Q_t).tolist())
        if K == 1:
            self.Q_t, self.Q_tt = float(self.Q_t[0, 0]), float(self.Q_tt[0, 0])
            self.Q_s, self.Q_st = float(self.Q_s[0, 0]), float(self.Q_st[0, 0])
            above = np.append(k.rho[-1, -1] * G[1:L, -1, -1], 1.0)
            self.Q_layers = tuple(float(q) for q in G[:L, -1, -1] / above)
        self.delta = self.Q_t - self.Q_tt
        shift = MeanShift(Q_tt=self.Q_tt)
        self.roots = Roots(float(np.max(self.delta)), 0.0, n_iter, n_minima, shift)
        self.residual = float(np.abs(p.slope).max())
        is_good = self.residual <= 10.0 * tolerance(float(np.abs(G).max()), 0.0)
        self.status = Status.CONVERGED if is_good else Status.STALLED
        value = p.log_likelihood if math.isinf(N) else N * p.value
        own = 0.0 if source is None else source.log_evidence
        self.log_evidence = -0.5 * (value + e.y.size * LOG_2PI) - own
        self.a, self.inverse = p.a, p.inverse
        # a row is left out with all its outputs
        rows = np.flatnonzero(k.side >= n_sources).reshape(K, -1)
        blocks = np.linalg.inv(p.inverse[rows[:, None], rows[None]].transpose(2, 0, 1))
        left = np.einsum("ikl,li->ki", blocks, p.a[rows])
        thermal = np.einsum("ikk->ki", blocks) - k.temperature[rows]
        self.loo_parts = Parts(left, np.maximum(thermal, 0.0), np.zeros_like(left))

    @property
    def loo(self) -> Parts:
        """Leave-one-out residuals of a target of one output."""
        return Parts(*(part[0] for part in self.loo_parts))

    @property
    def y(self) -> FloatArray:
        """Labels of the target."""
        e = self.equations
        return np.asarray(e.y[e.kernels.side == e.n_sides - 1])

    @property
    def loo_loss_rows(self) -> FloatArray:
        """Squared leave-one-out error of one random network, sample by sample."""
        return np.asarray((self.loo_parts.mean**2 + self.loo_parts.thermal).sum(0))


class ElasticNew:
    """Matrices between new inputs of the target and the rows of all tasks."""

    def __init__(self, kernels: ElasticKernels, X: FloatArray) -> None:
        k, model, var = kernels, kernels.model, float(kernels.rho[-1, -1])
        new = Task(X, np.empty((len(X), 0)))
        side = Side(model, new.norms, var)
        v = float(k.root_var[-1])
        blocks = []
        for b, task in enumerate(k.tasks):
            pair, cov = (side, k.layers[b]), float(k.rho[-1, np.flatnonzero(k.net == b)[0]])
            blocks.append(layer_blocks(model, new.gram(task), pair, cov, k.n_jobs))
        scale = v * k.root_var[k.side]
        self.M = [
            scale * np.hstack([blocks[b][j] for b in k.net]) for j in range(model.n_hidden_layers)
        ]
        own = layer_blocks(model, new.norms, (side, side), var)
        self.diag = [v**2 * part for part in own]
        self.mean = v * activation_mean(model.activation, side.var[-1])

    def _cross(self, t: ElasticTarget, output: int) -> FloatArray:
        k = t.kernels
        d = sum(G[output, k.side] * M for G, M in zip(t.G, self.M, strict=False))
        if k.mean.any():
            d = d + np.outer(self.mean, t.G[-1][output, k.side] * k.mean)
        return np.asarray(d)

    def _outputs(self, t: ElasticTarget) -> range:
        return range(t.equations.n_sides - t.kernels.n_target, t.equations.n_sides)

    def predict_mean(self, t: ElasticTarget) -> FloatArray:
        """The mean alone, of shape (n, n_outputs)."""
        return np.column_stack([self._cross(t, k) @ t.a for k in self._outputs(t)])

    def predict(self, t: ElasticTarget) -> Parts:
        """Mean and variance at every new input, of shape (n, n_outputs); none of it is quenched."""
        parts = []
        for k in self._outputs(t):
            d = self._cross(t, k)
            prior = sum(G[k, k] * part for G, part in zip(t.G, self.diag, strict=False))
            if t.kernels.mean.any():
                prior = prior + t.G[-1][k, k] * self.mean**2
            thermal = np.asarray(prior) - np.einsum("ij,ij->i", d @ t.inverse, d)
            parts.append((d @ t.a, np.maximum(thermal, 0.0), np.zeros(len(d))))
        return Parts(*(np.column_stack(part) for part in zip(*parts, strict=True)))


def solve_elastic(
    kernels_at: Callable[[float], ElasticKernels],
    y: FloatArray,
    gamma: float,
    alone_at: Callable[[float], list[Alone]],
    start: ElasticTarget | None = None,
    *,
    sources: SourcesAlone | None = None,
) -> ElasticTarget:
    """Solve one column of labels, if need be by way of weaker couplings.

    Parameters
    ----------
    kernels_at : callable
        Gives the matrices at a coupling.
    y : ndarray of shape (n,)
        Labels of the sources, and below them of the target.
    gamma : float
        The coupling.
    alone_at : callable
        Gives each network without the labels of the others, at a coupling.
    start : ElasticTarget or None, default=None
        A solution nearby.
    sources : SourcesAlone or None, default=None
        Several sources without the labels of the target; None takes the one there is.

    Returns
    -------
    ElasticTarget
        The solution: of those found the lowest, where the action is a minimum.

    Raises
    ------
    NumericalError
        If no way leads to a solution.
    """
    e, alone = ElasticEquations(kernels_at(gamma), y), alone_at(gamma)
    has_source = e.n_sides > e.kernels.n_target
    source = sources if sources is not None or not has_source else alone[0].fit
    first = _first(e, alone)
    if math.isinf(e.model.width):
        return ElasticTarget(e, first, 0, source)
    n_iter = 0
    starts = [first]
    if start is not None and start.G.shape == first.shape:
        starts.insert(0, start.G)
    found: list[FloatArray] = []
    for near in starts:
        G = near
        if not e.has_mean:
            G, n_calls = e.minimise(near)
            n_iter += n_calls
        polished, n_calls = e.polish(G)
        n_iter += n_calls
        if polished is not None:
            found.append(polished)
            if e.has_mean:
                break
    if not found and e.has_mean and e.kernels.n_target > 1:
        polished, n_calls = _by_centred(e, first)
        n_iter += n_calls
        found += [] if polished is None else [polished]
    if not found:
        found.append(_by_weaker(kernels_at, y, gamma, alone_at, e))
    best = found[0] if e.has_mean else min(found, key=lambda G: e.at(G).value)
    n_minima = len({tuple(np.round(e.pack(G), 4)) for G in found})
    return ElasticTarget(e, best, n_iter, source, n_minima)


def _first(e: ElasticEquations, alone: list[Alone]) -> FloatArray:
    """Order parameters of all networks as if the labels of the others were not there."""
    G = np.zeros((e.n_matrices, e.n_sides, e.n_sides))
    for i, one in enumerate(alone):
        g = one.fit.Q
        G[e.n_layers - 1, i, i] = g
        for j in range(e.n_layers - 2, -1, -1):
            g *= one.inner[j] * e.kernels.rho[i, i]
            G[j, i, i] = g
    if e.has_mean:
        sums = np.array([one.fit.mean_readout for one in alone]) / e.kernels.root_var
        shared = np.outer(sums, sums) / e.model.width
        np.fill_diagonal(shared, 0.0)
        G[0] += shared
        G[1] = np.diag([one.fit.Q_free for one in alone])
    return G


def _by_centred(e: ElasticEquations, first: FloatArray) -> tuple[FloatArray | None, int]:
    """From labels of mean zero, for which Q' is nearly Q and the action nearly a minimum."""
    k, y = e.kernels, e.y
    mean = np.array([y[k.side == i].mean() for i in range(e.n_sides)])[k.side]
    merged = copy.copy(k)
    merged.M, merged.mean = k.M + np.outer(k.mean, k.mean), np.zeros_like(k.mean)
    diagonal = np.array([np.diag(np.diagonal(first[0]))])
    Q, n_iter = ElasticEquations(merged, y - mean).minimise(diagonal)
    here = np.concatenate([Q, Q])
    for share in np.linspace(0.0, 1.0, 5):
        found, n_calls = ElasticEquations(k, y - (1.0 - share) * mean).polish(here)
        n_iter += n_calls
        if found is None:
            return None, n_iter
        here = found
    return here, n_iter


def _by_weaker(
    kernels_at: Callable[[float], ElasticKernels],
    y: FloatArray,
    gamma: float,
    alone_at: Callable[[float], list[Alone]],
    e: ElasticEquations,
) -> FloatArray:
    steps = weaker_couplings(gamma, e.model.lam0)
    here = _first(ElasticEquations(kernels_at(steps[0]), y), alone_at(steps[0]))
    for step in steps:
        found, _ = ElasticEquations(kernels_at(step), y).polish(here)
        if found is None:
            raise NumericalError(
                f"the equations of sources and target were not solved at gamma = {step:g} of the "
                "elastic coupling; raise the temperatures or the width"
            )
        here = found
    return here
