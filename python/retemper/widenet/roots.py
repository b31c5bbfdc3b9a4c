"""How the two unknowns of a coupled target, delta and Q_tt, are found."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, root

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.coupled import TargetEquations, tolerance
from retemper.widenet.single_task import SingleTask
from retemper.widenet.tridiagonal import Shifted, may_be_singular

__all__ = ["Roots", "find_roots", "frozen_roots", "hybrid_roots", "nested_roots"]


@dataclasses.dataclass(frozen=True)
class Roots:
    """A solution and what it cost.

    Attributes
    ----------
    delta, Q_tt : float
        The order parameters.
    n_iter : int
        Evaluations of the equations.
    n_minima : int
        Minima of the action, where it is known to be a minimum; 1 otherwise.
    """

    delta: float
    Q_tt: float
    n_iter: int = 0
    n_minima: int = 1


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
        alone = SingleTask(kernels.spectrum(), e.y, e.model.width, e.temperature, e.readout_var)
        return Roots(alone.Q, 0.0, alone.n_iter, alone.n_minima)
    if kernels.is_frozen:
        return frozen_roots(e)
    n_iter = 0
    starts = [Roots(1.0, 0.1)] if start is None else [start, Roots(1.0, 0.1)]
    for near in starts:
        found, n_calls = hybrid_roots(e, near)
        n_iter += n_calls
        if found is not None:
            return dataclasses.replace(found, n_iter=n_iter)
    found = nested_roots(e)
    return dataclasses.replace(found, n_iter=n_iter + found.n_iter)


def frozen_roots(equations: TargetEquations) -> Roots:
    """Frozen features: one monotone equation for delta, then Q_tt in closed form."""
    e, N = equations, equations.model.width
    K_d, spectrum = e.kernels.K_d, e.kernels.spectrum()

    def f(x: float) -> float:
        scale = e.readout_var * math.exp(x)
        trace = Shifted(spectrum, e.temperature, scale, e.readout_var).trace()
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
    p = e.at(delta, 0.0)
    push = e.readout_var * delta**2 / N
    DK = p.inverse @ K_d
    own = p.Q_st**2 / e.Q_s + push * float(p.a @ K_d @ p.a)
    if e.G is not None:
        own -= push * p.Q_st**2 * float(((p.inverse @ e.G) * DK.T).sum())
    q_tt = own / (1.0 - push * e.readout_var * float((DK * DK.T).sum()))
    return Roots(delta, q_tt, info.function_calls)


def hybrid_roots(equations: TargetEquations, start: Roots) -> tuple[Roots | None, int]:
    """Powell's hybrid method from nearby: the solution, or None, and the evaluations."""
    n_iter = 0

    def f(x: FloatArray) -> list[float]:
        nonlocal n_iter
        n_iter += 1
        if not (-40.0 < x[0] < 40.0 and x[1] > -1e-6):
            return [1e3, 1e3]
        try:
            p = equations.at(math.exp(x[0]), float(x[1]))
        except NumericalError:
            return [1e3, 1e3]
        return [p.tame, p.e_q]

    found = root(f, [math.log(start.delta), start.Q_tt], method="hybr", options={"xtol": 1e-11})
    delta, q_tt = math.exp(min(found.x[0], 40.0)), float(found.x[1])
    is_good = np.abs(found.fun).max() < tolerance(delta, q_tt)
    return (Roots(delta, q_tt, n_iter) if is_good and q_tt >= -1e-9 else None), n_iter


def nested_roots(equations: TargetEquations) -> Roots:
    """Bracketed roots in Q_tt, and for each of them in delta: slow, and sure."""
    n_iter = 0

    def inner(q_tt: float) -> float:
        def f(x: float) -> float:
            nonlocal n_iter
            n_iter += 1
            return equations.at(math.exp(x), q_tt).tame

        low, high = _bracket(f, -2.0, 1.0)
        return math.exp(brentq(f, low, high, xtol=1e-15, rtol=1e-15))

    def outer(x: float) -> float:
        q_tt = math.exp(x)
        return equations.at(inner(q_tt), q_tt).e_q / q_tt

    low, high = math.log(1e-12), math.log(1e9)
    if outer(low) >= 0.0:  # no labels: nothing is shared
        return Roots(inner(0.0), 0.0, n_iter)
    q_tt = math.exp(brentq(outer, low, high, xtol=1e-15, rtol=1e-15))
    delta = inner(q_tt)
    return Roots(delta, q_tt, n_iter)


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
