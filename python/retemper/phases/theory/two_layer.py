"""A hidden layer of nonlinear units on Gaussian inputs: the flow, closed on overlaps of weights."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.phases.model import FLOOR_RELATIVE_RIDGE, TwoLayerModel
from retemper.phases.times import whole_steps

__all__ = ["TwoLayerTheory"]

ph = core.phases

_RTOL, _ATOL = 1e-9, 1e-12
_SMALLEST_WEIGHT = 1e-8  # below it the absolute tolerance shows
_LARGEST_WEIGHT = 1e6
_MAX_STEPS = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TwoLayerTheory(Result):
    """Reconstruction from the hidden layer of a `TwoLayerModel`, as `solve` returns it.

    See `solve` for the source of the mathematics.

    Parameters
    ----------
    status : Status
        ``invalid`` where the weights outgrew 1e6, or the integration stopped, before the last
        time: the entries after that are NaN.
    n_iter : int
        Evaluations of the flow, or steps of descent.
    residual : float
        Relative tolerance of the integration; zero for descent.
    message : str
        What happened, in words.
    model : TwoLayerModel
        What was solved.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Fraction of unexplained input variance, at the model's relative ridge.
    fuv_floor : ndarray of shape (T,)
        The same at the relative ridge 1e-2: what is there at a usable amplitude.
    test_error : ndarray of shape (T,)
        Mean squared error on new rows, label noise included.
    hidden_cov : ndarray of shape (T, K, K)
        Covariances of the inputs of the hidden units.
    teaching_cov : ndarray of shape (T, K, M)
        Covariances of the inputs of hidden units and teacher units.
    readout : ndarray of shape (T, K)
        Read-out weights.

    See Also
    --------
    solve, TwoLayerSimulation

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import TwoLayerModel, solve
    >>> W0 = 0.1 * np.random.default_rng(0).normal(size=(2, 4))
    >>> theory = solve(TwoLayerModel([2.0, 1.0, 1.0, 0.5], np.eye(1, 4), W0, [1.0, 1.0]))
    >>> theory.hidden_cov.shape, bool(theory.test_error[-1] < theory.test_error[0])
    ((8, 2, 2), True)
    """

    model: TwoLayerModel
    times: FloatArray
    fuv: FloatArray
    fuv_floor: FloatArray
    test_error: FloatArray
    hidden_cov: FloatArray
    teaching_cov: FloatArray
    readout: FloatArray


def products(covariance: FloatArray, activation: str) -> FloatArray:
    """E g(u_i) g(u_j) of units whose inputs u are normal with this covariance, (N, N)."""
    q = np.diag(covariance)
    if activation == "linear":
        return covariance
    if activation == "erf":
        root = np.sqrt(np.outer(1.0 + q, 1.0 + q))
        return np.asarray((2.0 / math.pi) * np.arcsin(covariance / root))
    root = np.sqrt(np.outer(q, q))
    rho = np.clip(np.divide(covariance, root, out=np.zeros_like(root), where=root > 0.0), -1.0, 1.0)
    np.fill_diagonal(rho, 1.0)
    angle = np.pi - np.arccos(rho)
    return np.asarray(root * (np.sqrt(1.0 - rho**2) + angle * rho) / (2.0 * math.pi))


def mean_and_slope(variance: FloatArray, activation: str) -> tuple[FloatArray, FloatArray]:
    """Mean of a unit, and of its derivative, for a normal input of this variance."""
    if activation == "linear":
        return np.zeros_like(variance), np.ones_like(variance)
    if activation == "erf":
        return np.zeros_like(variance), math.sqrt(2.0 / math.pi) / np.sqrt(1.0 + variance)
    return np.sqrt(variance / (2.0 * math.pi)), np.full_like(variance, 0.5)


def unexplained(
    hidden: FloatArray, carried: FloatArray, total: float, relative_ridge: float
) -> float:
    """FUV of a ridge decoder.

    Parameters
    ----------
    hidden : ndarray of shape (K, K)
        Covariance of the units.
    carried : ndarray of shape (K, K)
        Covariance of units and inputs times its transpose.
    total : float
        Variance of the inputs.
    relative_ridge : float
        Ridge in units of the mean eigenvalue of ``hidden``.

    Returns
    -------
    float
        Share of ``total`` that the decoder leaves.
    """
    e, v = np.linalg.eigh(hidden)
    top = float(e.max(initial=0.0))
    if top <= 0.0:
        return 1.0
    power = np.einsum("ki,kl,li->i", v, carried, v)
    ridge = relative_ridge * float(e.sum()) / e.size
    keep = e > 1e-14 * e.size * top
    e, power = e[keep], power[keep]
    return 1.0 - float((power * (e + 2.0 * ridge) / (e + ridge) ** 2).sum()) / total


class Network:
    """The network in coordinates: directions of one eigenvalue are turned into as few as enter."""

    def __init__(self, model: TwoLayerModel) -> None:
        lam, first, counts = np.unique(model.spectrum, return_index=True, return_counts=True)
        order = np.argsort(first)
        parts, spectrum = [], []
        rows = np.vstack([model.teacher, model.W0])
        for value in lam[order]:
            block = rows[:, model.spectrum == value]
            if block.shape[1] > rows.shape[0]:
                block = np.asarray(np.linalg.qr(block.T, mode="r")).T
            parts.append(block)
            spectrum += [value] * block.shape[1]
        turned = np.hstack(parts)
        self.m, self.k = model.teacher.shape[0], model.W0.shape[0]
        self.lam = np.array(spectrum)
        self.values, self.counts = lam[order], counts[order].astype(np.float64)
        self.teacher = np.ascontiguousarray(turned[: self.m])
        self.W0 = np.ascontiguousarray(turned[self.m :])
        self.theirs = self.teacher * self.lam @ self.teacher.T
        self.model = model

    def covariance(self, w: FloatArray, spread: FloatArray) -> FloatArray:
        """Covariance of the inputs of all units, the network's first, (K + M, K + M)."""
        own = w * self.lam @ w.T + np.einsum("g,gkl->kl", self.values, spread)
        cross = w * self.lam @ self.teacher.T
        return np.block([[own, cross], [cross.T, self.theirs]])

    def measure(
        self, w: FloatArray, spread: FloatArray, v: FloatArray
    ) -> tuple[FloatArray, tuple[float, ...]]:
        """The covariance, and both FUV and the test error."""
        model, covariance = self.model, self.covariance(w, spread)
        own = covariance[: self.k, : self.k]
        mean, slope = mean_and_slope(np.diag(own), model.activation)
        product = products(covariance, model.activation)
        hidden = product[: self.k, : self.k] - np.outer(mean, mean)
        carried = w * self.lam**2 @ w.T + np.einsum("g,gkl->kl", self.values**2, spread)
        carried = carried * np.outer(slope, slope)
        weights = np.concatenate([v, -model.teacher_readout])
        ridges = (model.relative_ridge, FLOOR_RELATIVE_RIDGE)
        return covariance, (
            *(unexplained(hidden, carried, model.total_variance, ridge) for ridge in ridges),
            float(weights @ product @ weights) + model.noise**2,
        )

    def path(
        self, times: FloatArray
    ) -> tuple[list[tuple[FloatArray, FloatArray, FloatArray]], int, str]:
        """Weights, spread and read-out as far as they come; evaluations or steps; what stopped."""
        model = self.model
        problem = ph.TwoLayerProblem(
            spectrum=self.lam, values=self.values, counts=self.counts, teacher=self.teacher,
            teacher_readout=model.teacher_readout, kind=getattr(ph.UnitKind, model.activation),
            train_readout=model.train_readout, weight_decay=model.weight_decay,
            noise_var=model.noise**2,
        )  # fmt: skip
        still = np.zeros((self.values.size, self.k * self.k))
        state = ph.TwoLayerState(self.W0, model.readout0, still)
        if model.step_size is None:
            found = ph.two_layer_flow(
                problem, state, times, _LARGEST_WEIGHT, _RTOL, _ATOL, _MAX_STEPS
            )
            shape, still = self.W0.shape, still.reshape(-1, self.k, self.k)
            path: list[Any] = [
                (y[: -self.k].reshape(shape), still, y[-self.k :]) for y in found["y"]
            ]
            gone = [i for i, (w, _, _) in enumerate(path) if np.abs(w).max() < _SMALLEST_WEIGHT]
            if gone:
                why = f"all weights have decayed below {_SMALLEST_WEIGHT:g}"
                return path[: gone[0]], int(found["n_steps"]), why
            return path, int(found["n_steps"]), f"the flow stopped at time {found['time']:.4g}"
        path = []
        for step in whole_steps(times, model.step_size):
            ahead = int(step) - state.step
            state = ph.two_layer_descend(
                problem, state, model.step_size, model.batch_size or 0, ahead, _LARGEST_WEIGHT
            )
            last = max(float(np.abs(state.w).max()), float(np.abs(state.readout).max()))
            if not last <= _LARGEST_WEIGHT:
                return path, state.step, f"the descent diverged at step {state.step}"
            path.append((state.w, state.spread.reshape(-1, self.k, self.k), state.readout))
        return path, state.step, ""


def solve_two_layer(model: TwoLayerModel, *, on_failure: OnFailure) -> TwoLayerTheory:
    """The two-layer model's part of `solve`: see there."""
    net = Network(model)
    times, back = np.unique(model.times, return_inverse=True)
    path, n_iter, stopped = net.path(times)
    k, m = net.k, net.m
    measured = np.full((times.size, 3), np.nan)
    overlaps = np.full((times.size, k + m, k + m), np.nan)
    readout = np.full((times.size, k), np.nan)
    for i, (w, spread, v) in enumerate(path):
        overlaps[i], measured[i] = net.measure(w, spread, v)
        readout[i] = v
    complete = len(path) == times.size
    status = Status.CONVERGED if complete else Status.INVALID
    message = "followed to the last time" if complete else f"{stopped}: later entries are NaN"
    report_status(status, 0.0, f"solve: {message}:", on_failure=on_failure, stacklevel=4)
    fuv, floor, error = measured[back].T
    return TwoLayerTheory(
        status=status, n_iter=n_iter, residual=0.0 if model.step_size is not None else _RTOL,
        message=message, model=model, times=model.times, fuv=fuv, fuv_floor=floor,
        test_error=error, hidden_cov=overlaps[back][:, :k, :k],
        teaching_cov=overlaps[back][:, :k, k:], readout=readout[back],
    )  # fmt: skip
