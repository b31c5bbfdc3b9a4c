"""Hidden layers of a deep linear network, in modes that do not mix."""

from __future__ import annotations

import dataclasses

import numpy as np

from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.phases.model import DeepLinearModel
from retemper.phases.times import whole_steps

__all__ = ["DeepLinearTheory"]

_RTOL = 1e-10


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DeepLinearTheory(Result):
    """Reconstruction from a hidden layer of a `DeepLinearModel`, as `solve` returns it.

    See `solve` for the source of the mathematics.

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Steps of descent; 0 for gradient flow.
    residual : float
        Relative tolerance of the integration; 0 where none was needed.
    message : str
        What was computed, in words.
    model : DeepLinearModel
        What was solved.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Fraction of unexplained input variance.

    See Also
    --------
    solve, DeepLinearSimulation

    Examples
    --------
    >>> from retemper.phases import DeepLinearModel, solve
    >>> start = dict(init_scale=0.1, relative_noise_var=1e-3)
    >>> model = DeepLinearModel([1.0, 1.0], [0.0, 1.0], times=[0.0, 10.0], **start)
    >>> solve(model).fuv.round(4).tolist()
    [0.001, 0.0243]
    """

    model: DeepLinearModel
    times: FloatArray
    fuv: FloatArray


def solve_deep_linear(model: DeepLinearModel) -> DeepLinearTheory:
    """The deep linear model's part of `solve`: see there."""
    lam, m, at = model.spectrum, model.signal, model.times
    rest = {"size": model.init_scale, "kappa": model.weight_decay}
    n_iter, residual = 0, 0.0
    if model.step_size is None:
        log_weight = np.tile(
            (np.log(model.init_scale) - model.weight_decay * at)[:, None], lam.size
        )
        seen = m > 0.0
        if seen.any() and model.depth == 2:
            log_weight[:, seen] = _logistic(lam[seen], m[seen], at, **rest)
        elif seen.any():
            log_weight[:, seen] = _integrate(lam[seen], m[seen], at, depth=model.depth, **rest)
            residual = _RTOL
    else:
        steps = whole_steps(at, model.step_size)
        log_weight, n_iter = _descend(model, steps), int(steps.max())
    power = 2 * model.layer
    carried = np.exp(power * (log_weight - log_weight.max(axis=1, keepdims=True))) * lam
    floor = model.relative_noise_var * carried.mean(axis=1, keepdims=True)
    lost = np.where(floor > 0.0, floor / (carried + floor), 0.0)
    return DeepLinearTheory(
        status=Status.CONVERGED, n_iter=n_iter, residual=residual, model=model, times=at,
        message="directions that do not mix", fuv=np.asarray(lost @ lam / lam.sum()),
    )  # fmt: skip


def _descend(model: DeepLinearModel, steps: np.ndarray) -> FloatArray:
    """Logarithm of the weight of each direction under gradient descent, (T, p)."""
    lam, m, depth, eta = model.spectrum, model.signal, model.depth, float(model.step_size or 0.0)
    kept = 1.0 - eta * model.weight_decay
    reached = np.empty((steps.size, lam.size))
    weight, done = np.full(lam.size, model.init_scale), 0
    for i in np.argsort(steps, kind="stable"):
        for _ in range(int(steps[i]) - done):
            pull = np.where(m > 0.0, weight ** (depth - 1) * (m - lam * weight**depth), 0.0)
            weight = kept * weight + eta * pull
            if not (weight > 0.0).all() or not (weight < 1e6).all():
                raise NumericalError(
                    f"descent with step_size = {eta:g} left the weights' range at step {done}: a "
                    "weight changed its sign or diverged"
                )
        done = int(steps[i])
        reached[i] = np.log(weight)
    return reached


def _logistic(
    lam: FloatArray, m: FloatArray, times: FloatArray, *, size: float, kappa: float
) -> FloatArray:
    """Logarithm of the weight of each direction in both layers of a network of two, (T, p)."""
    rate, time = np.abs(m - kappa), times[:, None]
    still = rate <= 1e-12 * m
    share = -np.expm1(-2.0 * rate * time) / np.where(still, 1.0, rate)
    share = lam * size**2 * np.where(still, 2.0 * time, share)
    falling = m < kappa
    decay = np.exp(-2.0 * rate * time)
    below = np.where(falling, 2.0 * rate * time + np.log1p(share), np.log(decay + share))
    return np.asarray(np.log(size) - 0.5 * below)


def _integrate(
    lam: FloatArray, m: FloatArray, times: FloatArray, *, size: float, kappa: float, depth: int
) -> FloatArray:
    """The same for more layers, in the logarithm of the weights."""
    from scipy.integrate import solve_ivp

    def velocity(_: float, log_weight: FloatArray) -> FloatArray:
        weight = np.exp(log_weight)
        return np.asarray(weight ** (depth - 2) * (m - lam * weight**depth) - kappa)

    def slope(_: float, log_weight: FloatArray) -> FloatArray:
        weight = np.exp(log_weight)
        rise = (depth - 2) * m * weight ** (depth - 2)
        return np.diag(rise - (2 * depth - 2) * lam * weight ** (2 * depth - 2))

    order = np.unique(times)
    path = solve_ivp(
        velocity, (0.0, float(order[-1]) or 1.0), np.full(lam.size, np.log(size)), "LSODA",
        t_eval=order, jac=slope, rtol=_RTOL, atol=_RTOL,
    )  # fmt: skip
    if not path.success or path.y.shape[1] != order.size:
        reached = float(path.t[-1]) if path.t.size else 0.0
        raise NumericalError(
            f"the weights of depth = {depth} layers were integrated to time {reached:.3g} of "
            f"{order[-1]:.3g} only: {path.message}"
        )
    return np.asarray(path.y.T[np.searchsorted(order, times)])
