"""Hidden layers of a deep linear network, in modes that do not mix."""

from __future__ import annotations

import dataclasses

import numpy as np

from retemper._dispatch import core
from retemper._results import Result, Status
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.phases.model import DeepLinearModel
from retemper.phases.times import whole_steps

__all__ = ["DeepLinearTheory"]

ph = core.phases

_RTOL, _MAX_STEPS = 1e-10, 1_000_000


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
    n_iter, residual = 0, 0.0
    problem = ph.DeepLinearProblem(
        spectrum=lam, signal=m, init_scale=model.init_scale, depth=model.depth,
        weight_decay=model.weight_decay,
    )  # fmt: skip
    if model.step_size is not None:
        steps, back = np.unique(whole_steps(at, model.step_size), return_inverse=True)
        log_weight = ph.deep_linear_descend(
            problem=problem, step_size=model.step_size, steps=steps.tolist()
        )[back]
        n_iter = int(steps.max(initial=0))
    elif model.depth == 2 or not m.any():
        log_weight = np.tile(
            (np.log(model.init_scale) - model.weight_decay * at)[:, None], lam.size
        )
        seen = m > 0.0
        log_weight[:, seen] = _logistic(
            lam[seen], m[seen], at, size=model.init_scale, kappa=model.weight_decay
        )
    else:
        log_weight, residual = _integrate(problem, at), _RTOL
    power = 2 * model.layer
    carried = np.exp(power * (log_weight - log_weight.max(axis=1, keepdims=True))) * lam
    floor = model.relative_noise_var * carried.mean(axis=1, keepdims=True)
    lost = np.where(floor > 0.0, floor / (carried + floor), 0.0)
    return DeepLinearTheory(
        status=Status.CONVERGED, n_iter=n_iter, residual=residual, model=model, times=at,
        message="directions that do not mix", fuv=np.asarray(lost @ lam / lam.sum()),
    )  # fmt: skip


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


def _integrate(problem: ph.DeepLinearProblem, times: FloatArray) -> FloatArray:
    """The same for more layers."""
    order, back = np.unique(times, return_inverse=True)
    found = ph.deep_linear_flow(
        problem=problem, times=order, rtol=_RTOL, atol=_RTOL, max_steps=_MAX_STEPS
    )
    if len(found["y"]) != order.size:
        raise NumericalError(
            f"the weights were integrated to time {found['time']:.3g} of {order[-1]:.3g} only: "
            f"{found['status']}"
        )
    return np.asarray(found["y"][back])
