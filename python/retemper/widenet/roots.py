"""How the two unknowns of a coupled target, delta and Q_tt, are found."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, root

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.coupled import NO_SHIFT, MeanShift, TargetEquations, tolerance
from retemper.widenet.single_task import SingleTask
from retemper.widenet.tridiagonal import Shifted, may_be_singular

__all__ = [
    "Roots",
    "find_roots",
    "frozen_roots",
    "hybrid_roots",
    "joint_roots",
    "nested_roots",
    "weaker_couplings",
]


@dataclasses.dataclass(frozen=True)
class Roots:
    """A solution and what it cost.

    Attributes
    ----------
    delta, Q_tt : float
        The free parts of the order parameters.
    n_iter : int
        Evaluations of the equations.
    n_minima : int
        Minima of the action, where it is known to be a minimum; 1 otherwise.
    shift : MeanShift
        What the mean of the activation adds.
    """

    delta: float
    Q_tt: float
    n_iter: int = 0
    n_minima: int = 1
    shift: MeanShift = NO_SHIFT


def weaker_couplings(gamma: float, lam0: float, number: int = 16) -> list[float]:
    """Couplings that lead from next to none to ``gamma``, which is the last; it may be infinite."""
    end = 1e4 * lam0 if math.isinf(gamma) else gamma
    return [*np.geomspace(min(0.01 * lam0, end), end, number).tolist(), gamma]


def find_roots(equations: TargetEquations, start: Roots | None = None) -> Roots:
    """Solve by whatever the coupling allows.

    Parameters
    ----------
    equations : TargetEquations
        The equations.
    start : Roots or None, default=None
        A solution nearby.

    Returns
    -------
    Roots
        The solution.

    Raises
    ------
    ValueError
        If the kernel is singular at this temperature, or frozen features interpolate at
        temperature zero.
    NumericalError
        If a covariance is not positive definite, or no root is bracketed.
    """
    e, kernels = equations, equations.kernels
    if may_be_singular(kernels.K_d, e.temperature, e.readout_var):
        kernels.spectrum().check_temperature(e.temperature, e.readout_var, "temperature_target")
    if math.isinf(e.model.width):
        return Roots(1.0, 0.0)
    if not kernels.is_coupled:
        return _alone(e)
    if e.has_mean:
        return _with_mean(e, start)
    if kernels.is_frozen:
        return frozen_roots(e)
    return _coupled_roots(e, start)


def _alone(e: TargetEquations) -> Roots:
    task = SingleTask(e.kernels.spectrum(), e.y, e.model.width, e.temperature, e.readout_var)
    found = Roots(task.Q_free, 0.0, task.n_iter, task.n_minima)
    if not e.has_mean:
        return found
    rough = MeanShift(1.0, task.Q - task.Q_free)
    # D depends on the sum of what the ratio and Q_tt add, which is known: iterating parts it
    shift = e.shift_of(e.at(task.Q_free, 0.0, 0.0, rough), rough)
    for _ in range(20):
        last, shift = shift, e.shift_of(e.at(task.Q_free, 0.0, 0.0, shift), shift)
        if _distance(last, shift) < 1e-14:
            break
    return dataclasses.replace(found, shift=shift)


def _distance(a: MeanShift, b: MeanShift) -> float:
    return max(abs(a.ratio - b.ratio), abs(a.Q_tt - b.Q_tt), abs(a.Q_st - b.Q_st))


def _between(a: MeanShift, b: MeanShift, share: float) -> MeanShift:
    pairs = zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    return MeanShift(*((1.0 - share) * x + share * y for x, y in pairs))


def _with_mean(e: TargetEquations, start: Roots | None) -> Roots:
    """Alternate between the free parts and what the mean of the activation adds to them."""
    at = _alone(e) if start is None else start
    at = dataclasses.replace(at, Q_tt=max(at.Q_tt, 1e-3))
    n_iter = at.n_iter if start is None else 0
    if not e.kernels.is_frozen:
        found, n_calls = joint_roots(e, at)
        n_iter += n_calls
        if found is not None:
            return dataclasses.replace(found, n_iter=n_iter)
    step, last = 1.0, math.inf
    for _ in range(300):
        shift = at.shift
        found = frozen_roots(e, shift) if e.kernels.is_frozen else _coupled_roots(e, at)
        n_iter += found.n_iter
        p = e.at(found.delta, found.Q_tt, shift=shift)
        new = e.shift_of(p, shift)
        away = _distance(new, shift)
        at = dataclasses.replace(found, shift=_between(shift, new, step))
        if away <= 1e-13 * max(1.0, at.delta + at.Q_tt + at.shift.Q_tt):
            return dataclasses.replace(at, n_iter=n_iter)
        if away > 0.5 * last:  # it overshoots
            step = 0.5
        last = away
    polished, n_calls = joint_roots(e, at)
    return dataclasses.replace(at if polished is None else polished, n_iter=n_iter + n_calls)


def joint_roots(e: TargetEquations, start: Roots) -> tuple[Roots | None, int]:
    """All five unknowns at once, from nearby: the solution, or None, and the evaluations."""
    n_iter = 0

    def f(x: FloatArray) -> list[float]:
        nonlocal n_iter
        n_iter += 1
        if not (-40.0 < x[0] < 40.0 and x[1] > -1e-2 and x[2] > 0.0):
            return [1e3] * 5
        shift = MeanShift(*(float(v) for v in x[2:]))
        try:
            p = e.at(math.exp(x[0]), float(x[1]), shift=shift)
        except NumericalError:
            return [1e3] * 5
        new = e.shift_of(p, shift)
        own = (new.ratio - shift.ratio, new.Q_tt - shift.Q_tt, new.Q_st - shift.Q_st)
        return [p.tame, p.e_q, *own]

    shift = start.shift
    x = [math.log(start.delta), start.Q_tt, shift.ratio, shift.Q_tt, shift.Q_st]
    found = root(f, x, method="hybr", options={"xtol": 1e-12})
    delta, q_tt = math.exp(min(found.x[0], 40.0)), float(found.x[1])
    if np.abs(found.fun).max() >= tolerance(delta, q_tt + abs(float(found.x[3]))):
        return None, n_iter
    return Roots(delta, q_tt, n_iter, shift=MeanShift(*(float(v) for v in found.x[2:]))), n_iter


def _coupled_roots(e: TargetEquations, start: Roots | None) -> Roots:
    n_iter = 0
    shift = NO_SHIFT if start is None else start.shift
    first = Roots(1.0, 0.1, shift=shift)
    starts = [first] if start is None else [start, first]
    for near in starts:
        found, n_calls = hybrid_roots(e, near)
        n_iter += n_calls
        if found is not None:
            return dataclasses.replace(found, n_iter=n_iter)
    found = nested_roots(e, shift)
    return dataclasses.replace(found, n_iter=n_iter + found.n_iter)


def frozen_roots(equations: TargetEquations, shift: MeanShift = NO_SHIFT) -> Roots:
    """Frozen features: one monotone equation for delta, then Q_tt in closed form."""
    e, N = equations, equations.model.width
    K_d, spectrum = e.kernels.K_d, e.kernels.spectrum()

    def f(x: float) -> float:
        scale = e.readout_var * math.exp(x)
        trace = Shifted(spectrum, e.temperature, scale * shift.ratio, scale).trace()
        return math.exp(x) - 1.0 + scale * trace / N

    low = -40.0
    if f(low) >= 0.0:
        raise ValueError(
            f"width = {N:g} is at or below the interpolation threshold (rank "
            f"{spectrum.rank} of the target kernel) and temperature_target = "
            f"{e.temperature:g}: frozen features have no finite solution; raise "
            "temperature_target or the width"
        )
    x, info = brentq(f, low, 1e-9, xtol=1e-15, rtol=1e-15, full_output=True)
    delta = math.exp(x)
    # the second equation is linear in Q_tt, on which D does not depend
    p = e.at(delta, 0.0, shift=shift)
    push = e.readout_var * delta**2 / N
    DK = p.inverse @ K_d
    slope = float((DK * DK.T).sum())
    if e.has_mean:
        tilt = p.inverse @ e.kernels.mean
        slope += float(tilt @ K_d @ tilt)
    q_tt = -p.e_q / (1.0 - push * e.readout_var * slope)
    return Roots(delta, q_tt, info.function_calls, shift=shift)


def hybrid_roots(equations: TargetEquations, start: Roots) -> tuple[Roots | None, int]:
    """Powell's hybrid method from nearby: the solution, or None, and the evaluations."""
    n_iter = 0

    def f(x: FloatArray) -> list[float]:
        nonlocal n_iter
        n_iter += 1
        if not (-40.0 < x[0] < 40.0 and x[1] > -1e-6):
            return [1e3, 1e3]
        try:
            p = equations.at(math.exp(x[0]), float(x[1]), shift=start.shift)
        except NumericalError:
            return [1e3, 1e3]
        return [p.tame, p.e_q]

    found = root(f, [math.log(start.delta), start.Q_tt], method="hybr", options={"xtol": 1e-11})
    delta, q_tt = math.exp(min(found.x[0], 40.0)), float(found.x[1])
    is_good = np.abs(found.fun).max() < tolerance(delta, q_tt)
    found_roots = Roots(delta, q_tt, n_iter, shift=start.shift)
    return (found_roots if is_good and q_tt >= -1e-9 else None), n_iter


def nested_roots(equations: TargetEquations, shift: MeanShift = NO_SHIFT) -> Roots:
    """Bracketed roots in Q_tt, and for each of them in delta: slow, and sure."""
    n_iter = 0

    def inner(q_tt: float) -> float:
        def f(x: float) -> float:
            nonlocal n_iter
            n_iter += 1
            return equations.at(math.exp(x), q_tt, shift=shift).tame

        low, high = _bracket(f, -2.0, 1.0)
        return math.exp(brentq(f, low, high, xtol=1e-15, rtol=1e-15))

    def outer(x: float) -> float:
        q_tt = math.exp(x)
        return equations.at(inner(q_tt), q_tt, shift=shift).e_q / q_tt

    low, high = math.log(1e-12), math.log(1e9)
    if outer(low) >= 0.0:  # no labels: nothing is shared
        return Roots(inner(0.0), 0.0, n_iter, shift=shift)
    q_tt = math.exp(brentq(outer, low, high, xtol=1e-15, rtol=1e-15))
    delta = inner(q_tt)
    return Roots(delta, q_tt, n_iter, shift=shift)


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
