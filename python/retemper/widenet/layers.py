r"""Several hidden layers: the kernel of the last one, and the order parameters of those below.

Given the layer below, a layer is a linear function of it plus noise of its own. An order parameter
of a layer multiplies what comes through it, so that the last kernel is
:math:`\sum_j (\prod_{l \ge j} Q_l) M_j` with fixed matrices: M_j is what layer j adds, seen through
the linear parts of all layers above it (derived here: `derivations/widenet#several-hidden-layers`).

An activation of mean m gives the units of the next layer a part that all inputs share, of
covariance :math:`C_2 = m m^T / \lambda_0`. The linear part is then the slope at that covariance,
and what C itself becomes in the next layer, :math:`C_3 = k(C_2) / \lambda_0`, is shared there.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from retemper._control import interruptible
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.kernels import (
    activation_mean,
    kernel_of_gram,
    kernel_of_pairs,
    kernel_slope,
)
from retemper.widenet.model import WideNetModel
from retemper.widenet.single_task import SingleTask, excess
from retemper.widenet.tridiagonal import Spectrum

__all__ = [
    "NONE_INSIDE",
    "InnerLayers",
    "LastKernel",
    "Pairs",
    "last_kernel",
    "layer_parts",
    "solve_alone",
    "solve_layers",
]

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


class Pairs(NamedTuple):
    """Pre-activations of the first layer at two sets of inputs.

    Attributes
    ----------
    gram : ndarray of shape (n, k)
        Of the inputs.
    row_var, col_var : ndarray of shape (n,) and (k,)
        Variances.
    cov : float
        Covariances are this times ``gram``.
    """

    gram: FloatArray
    row_var: FloatArray
    col_var: FloatArray
    cov: float


class LastKernel(NamedTuple):
    """Centred kernel of the last layer, and what its activation averages to.

    Attributes
    ----------
    kernel, rows, cols : ndarray of shape (n, k), (n,) and (k,)
        The kernel, and its diagonal at either side.
    row_mean, col_mean : ndarray of shape (n,) and (k,)
        Mean of the activation.
    """

    kernel: FloatArray
    rows: FloatArray
    cols: FloatArray
    row_mean: FloatArray
    col_mean: FloatArray


class _Part(NamedTuple):
    """What one layer adds to the kernel, and to its diagonal at either side."""

    kernel: FloatArray  # (n, k)
    rows: FloatArray  # (n,)
    cols: FloatArray  # (k,)

    def times(self, other: _Part) -> _Part:
        return _Part(*(x * y for x, y in zip(self, other, strict=True)))

    def plus(self, other: _Part) -> _Part:
        return _Part(*(x + y for x, y in zip(self, other, strict=True)))

    def minus(self, other: _Part) -> _Part:
        return _Part(*(x - y for x, y in zip(self, other, strict=True)))


class _Layer:
    """Averages of one activation over pre-activations of given variances."""

    def __init__(self, model: WideNetModel, row_var: FloatArray, col_var: FloatArray, n_jobs: Any):
        self.activation, self.n_jobs = model.activation, n_jobs
        self.row_var, self.col_var = row_var, col_var
        self.row_mean, self.col_mean = (
            activation_mean(model.activation, v) for v in (row_var, col_var)
        )
        self.below: _Part  # covariance of its pre-activations
        outer = np.outer(self.row_mean, self.col_mean)
        self.means = _Part(outer, self.row_mean**2, self.col_mean**2)

    def kernel(self, below: _Part) -> _Part:
        """Centred kernel where pre-activations have the covariance ``below``."""
        of, own = self.activation, (self.row_var, self.col_var)
        return _Part(
            kernel_of_gram(of, below.kernel, *own, 1.0, n_jobs=self.n_jobs),
            kernel_of_pairs(of, self.row_var, below.rows),
            kernel_of_pairs(of, self.col_var, below.cols),
        )

    def slope(self, below: _Part) -> _Part:
        """Derivative of the kernel in the covariance."""
        return _Part(
            kernel_slope(self.activation, below.kernel, self.row_var[:, None], self.col_var),
            kernel_slope(self.activation, below.rows, self.row_var, self.row_var),
            kernel_slope(self.activation, below.cols, self.col_var, self.col_var),
        )


def layer_parts(
    model: WideNetModel, pairs: Pairs, n_jobs: int | None = None
) -> tuple[list[_Part], _Layer]:
    """The matrices M_j, from the first layer up, and the last layer."""
    first = _Part(pairs.cov * pairs.gram, pairs.row_var, pairs.col_var)
    layer = _Layer(model, pairs.row_var, pairs.col_var, n_jobs)
    layer.below = first
    own, common = layer.kernel(first), layer.means
    parts = [own]
    scale = 1.0 / model.lam0
    beside: _Part | None = None
    for _ in range(model.n_hidden_layers - 1):
        below = _Part(*(scale * (x + y) for x, y in zip(own, common, strict=True)))
        shared = _Part(*(scale * x for x in common))
        layer = _Layer(model, below.rows, below.cols, n_jobs)
        layer.below = below
        through = _Part(*(scale * x for x in layer.slope(shared)))
        parts = [through.times(part) for part in parts]
        beside = layer.kernel(shared)  # what the shared part makes, less the mean
        own = layer.kernel(below).minus(beside)
        parts.append(functools.reduce(_Part.minus, parts, own))
        common = layer.means.plus(beside)
    if beside is not None:
        parts[-1] = parts[-1].plus(beside)
    return parts, layer


def last_kernel(
    model: WideNetModel, pairs: Pairs, Q: tuple[float, ...], n_jobs: int | None = None
) -> LastKernel:
    """Centred kernel of the last layer, and the mean of its activation.

    Parameters
    ----------
    model : WideNetModel
        Activation, prior and number of layers.
    pairs : Pairs
        Pre-activations of the first layer.
    Q : tuple of float
        Order parameters of the layers below the last.
    n_jobs : int or None
        Threads.

    Returns
    -------
    LastKernel
        With the order parameters in it.
    """
    parts, layer = layer_parts(model, pairs, n_jobs)
    weights = [math.prod(Q[j:]) for j in range(len(parts))]
    kernel, rows, cols = (
        np.asarray(sum(w * x for w, x in zip(weights, every, strict=True)))
        for every in zip(*parts, strict=True)
    )
    return LastKernel(kernel, rows, cols, layer.row_mean, layer.col_mean)


def solve_layers(
    model: WideNetModel,
    pairs: Pairs,
    y: FloatArray,
    n_jobs: int | None = None,
    *,
    name: str = "temperature_target",
) -> InnerLayers:
    """Minimum of the action over the order parameters of all layers, for odd activations.

    Parameters
    ----------
    model : WideNetModel
        The network.
    pairs : Pairs
        All pairs of inputs.
    y : ndarray of shape (n,)
        Labels.
    n_jobs : int or None, default=None
        Threads.
    name : str, default="temperature_target"
        What errors call the temperature.

    Returns
    -------
    InnerLayers
        Those below the last, at the lowest of the minima that were found.

    Raises
    ------
    ValueError
        If the kernel of a linear network is singular at this temperature.
    NumericalError
        If no start leads to a minimum.
    """
    L, N = model.n_hidden_layers, model.width
    if L == 1:
        return NONE_INSIDE
    if math.isinf(N):
        return InnerLayers((1.0,) * (L - 1))
    parts = [p.kernel / model.lam1 for p in layer_parts(model, pairs, n_jobs)[0]]
    if not any(part.any() for part in parts[1:]):  # all order parameters are equal
        spectrum = Spectrum(np.ascontiguousarray(parts[0]), np.zeros(y.size))
        spectrum.check_temperature(model.temperature_target, 1.0, name)
        one = SingleTask(spectrum, y, N, model.temperature_target, 1.0, n_layers=L)
        return InnerLayers((one.Q,) * (L - 1), one.residual, one.n_iter, one.n_minima)
    action = _Action(parts, y, N, model.temperature_target)
    found: list[tuple[float, FloatArray, float]] = []
    for start in _STARTS:
        end = action.minimum(np.full(L, start), [x for _, x, _ in found])
        if end is not None:
            found.append(end)
    if not found:
        raise NumericalError(
            f"no minimum over the order parameters of {L} layers was found at width {N:g} and "
            f"{name} {model.temperature_target:g}; raise {name}"
        )
    _, x, residual = min(found, key=lambda item: item[0])
    return InnerLayers(tuple(float(q) for q in np.exp(x[:-1])), residual, action.n_iter, len(found))


class _Point(NamedTuple):
    """The action at given logarithms of the order parameters."""

    value: float
    sums: list[FloatArray]  # slopes of A in them
    inverse: FloatArray
    alpha: FloatArray


class _Action:
    """Sum of Q - log Q over layers, and (log det A + y^T A^-1 y) / width."""

    def __init__(self, parts: list[FloatArray], y: FloatArray, width: float, temperature: float):
        self.parts, self.y, self.width, self.temperature = parts, y, width, temperature
        self.n_iter = 0

    def at(self, x: FloatArray) -> _Point | None:
        """The action there; None where A is not positive definite."""
        self.n_iter += 1
        cost = float(self.y.size) ** 3
        below, sums = np.zeros_like(self.parts[0]), []
        for j, part in enumerate(self.parts):
            below = below + math.exp(x[j:].sum()) * part
            sums.append(below)
        A = below.copy()
        A[np.diag_indices_from(A)] += self.temperature
        factor, info = interruptible(dpotrf, A, lower=1, clean=1, cost=cost)
        if info:
            return None
        inverse, _ = interruptible(dpotri, factor, lower=1, cost=2.0 * cost)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        alpha = inverse @ self.y
        data = 2.0 * float(np.log(np.diagonal(factor)).sum()) + float(self.y @ alpha)
        return _Point(float(np.sum(np.exp(x) - x)) + data / self.width, sums, inverse, alpha)

    def slopes(self, x: FloatArray, p: _Point) -> tuple[FloatArray, FloatArray]:
        """First and second derivatives."""
        cost = 2.0 * float(self.y.size) ** 3
        turned = [interruptible(np.matmul, p.inverse, B, cost=cost) for B in p.sums[:-1]]
        turned.append(np.eye(self.y.size) - self.temperature * p.inverse)  # the last sum is A - T
        moved = np.array([B @ p.alpha for B in p.sums])
        data = np.array([np.trace(t) for t in turned]) - moved @ p.alpha
        cross = -2.0 * moved @ p.inverse @ moved.T
        for i, j in np.ndindex(*cross.shape):
            cross[i, j] += float((turned[i] * turned[j].T).sum())
        order = np.arange(x.size)
        bend = (data[np.minimum.outer(order, order)] - cross) / self.width
        return np.expm1(x) + data / self.width, bend + np.diag(np.exp(x))

    def minimum(
        self, x: FloatArray, known: list[FloatArray]
    ) -> tuple[float, FloatArray, float] | None:
        """Newton's method, with shortened steps.

        Parameters
        ----------
        x : ndarray of shape (n_layers,)
            Where to start.
        known : list of ndarray
            Minima; the search ends where it comes near one.

        Returns
        -------
        tuple or None
            Value, place and residual; None without a new minimum.
        """
        p = self.at(x)
        for _ in range(100):
            if p is None or any(np.abs(x - other).max() < 0.2 for other in known):
                return None
            slope, bend = self.slopes(x, p)
            residual = float(np.abs(slope).max())
            values, basis = np.linalg.eigh(bend)
            step = -basis @ ((basis.T @ slope) / np.maximum(np.abs(values), 1e-3))
            if residual < 1e-7 and values[0] > 0.0:  # one step more is exact
                after = self.at(x + step)
                if after is not None:
                    best = float(np.abs(self.slopes(x + step, after)[0]).max())
                    if best < residual:
                        return after.value, x + step, best
                return p.value, x, residual
            step *= min(1.0, 2.0 / float(np.abs(step).max()))
            trial = self.at(x + step)
            while trial is None or trial.value > p.value + 1e-12 * abs(p.value):
                step = 0.5 * step
                if float(np.abs(step).max()) < 1e-9:
                    return (p.value, x, residual) if residual < 1e-6 else None
                trial = self.at(x + step)
            x, p = x + step, trial
            if float(np.abs(x).max()) > 30.0:
                return None
        return None


def solve_alone(
    model: WideNetModel, pairs: Pairs, y: FloatArray, name: str, n_jobs: int | None = None
) -> tuple[InnerLayers, SingleTask]:
    """One task: the layers below the last, and the last one on the kernel that those leave.

    Parameters
    ----------
    model : WideNetModel
        The network; its task is the target.
    pairs : Pairs
        All pairs of inputs.
    y : ndarray of shape (n,)
        Labels.
    name : str
        What errors call the temperature.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    InnerLayers, SingleTask
        The solution; the second has the evidence of all layers.

    Raises
    ------
    ValueError
        If the kernel is singular at this temperature.
    NumericalError
        As in `solve_layers`.
    """
    inner = solve_layers(model, pairs, y, n_jobs, name=name)
    last = last_kernel(model, pairs, inner.Q, n_jobs)
    spectrum = Spectrum(np.ascontiguousarray(last.kernel), last.row_mean)
    spectrum.check_temperature(model.temperature_target, 1.0 / model.lam1, name)
    fit = SingleTask(spectrum, y, model.width, model.temperature_target, 1.0 / model.lam1)
    if inner.cost:
        fit.log_evidence -= 0.5 * model.width * inner.cost
    return inner, fit
