"""A network on one task alone: its order parameter, and the Gaussian process it leaves."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.tridiagonal import Shifted, Spectrum

__all__ = ["LOG_2PI", "SingleTask", "excess", "free_part"]

LOG_2PI = math.log(2.0 * math.pi)


class SingleTask:
    """Global minimum of the single-task action over Q, and the Gaussian process it leaves.

    An activation of mean m sees the sum of the read-outs, s = sum_i v_i / sqrt(width), beside
    their square: lam1 |v|^2 / width = Q is Q_free + lam1 s^2 / width, where s is Gaussian of
    variance Q_free / lam1 before the labels are seen. Without a mean Q_free is Q.

    Where ``n_layers`` is above one, the kernel is multiplied by as many equal order parameters Q.
    """

    def __init__(
        self,
        spectrum: Spectrum,
        y: FloatArray,
        width: float,
        temperature: float,
        readout_var: float,
        *,
        n_layers: int = 1,
    ):
        self.n_layers = n_layers
        self.spectrum, self.readout_var, self.temperature, self.width = (
            spectrum,
            readout_var,
            temperature,
            width,
        )
        self._y = spectrum.rotate(y[:, None])
        self.n_iter = self.n_minima = 1
        self.Q = self.Q_free = 1.0
        if not math.isinf(width):
            self._minimise()
        self._shifted, self.Q_free = self._at(self.Q**n_layers)
        self.alpha: FloatArray = self._shifted.solve(self._y)[:, 0]
        self.mean_readout = readout_var * self.Q_free * float(spectrum.mean @ self.alpha)
        self.residual = 0.0 if math.isinf(width) else abs(self.slope(math.log(self.Q)))
        quadratic = float(self._y[:, 0] @ self.alpha)
        own = 0.0
        if not math.isinf(width):
            own = width * (excess(self.Q_free) + (self.Q - self.Q_free) * (1 - 1 / self.Q_free))
        size = y.size * LOG_2PI
        self.log_evidence = -0.5 * (own + self._shifted.log_det + quadratic + size)

    def slope(self, x: float) -> float:
        """Derivative of the action in x = log Q."""
        Q = math.exp(self.n_layers * x)
        shifted, Q_free = self._at(Q)
        alpha = shifted.solve(self._y)[:, 0]
        pull = shifted.trace() - float(alpha @ self.spectrum.times(alpha))
        own = math.exp(x) - 1.0 if self.n_layers > 1 else Q - Q / Q_free
        return own + self.readout_var * Q / self.width * pull

    def action(self, Q: float) -> float:
        """Q + 1 - Q / Q_free - log Q_free + (log det A + y^T A^-1 y) / width."""
        shifted, Q_free = self._at(Q**self.n_layers)
        quadratic = float((self._y * shifted.solve(self._y)).sum())
        own = Q + 1.0 - Q / Q_free - math.log(Q_free)
        if self.n_layers > 1:
            own = self.n_layers * (Q - math.log(Q))
        return own + (shifted.log_det + quadratic) / self.width

    def _at(self, Q: float) -> tuple[Shifted, float]:
        """A at its Q_free: Q = Q_free + v Q_free^2 [(m.alpha)^2 - m A^-1 m] / width."""
        v = self.readout_var
        shifted = Shifted(self.spectrum, self.temperature, v * Q, v)
        if shifted.tilt is None or math.isinf(self.width):
            return shifted, Q
        own = v * float(self.spectrum.mean @ shifted.tilt)
        label = v * float(shifted.tilt @ self._y[:, 0]) ** 2

        Q_free = free_part(Q, self.width, own, label)
        shifted.set_mean_var(v * Q_free)
        return shifted, Q_free

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


def free_part(Q: float, width: float, own: float, label: float) -> float:
    """The part of Q without the sum of the read-outs, where an activation has the mean m.

    Parameters
    ----------
    Q : float
        Square of the read-out.
    width : float
        Number of hidden units.
    own, label : float
        ``v m A^-1 m`` and ``v (m A^-1 y)^2`` of the read-out variance v, without m m^T in A.

    Returns
    -------
    float
        Root Q_free of Q = Q_free + v Q_free^2 [(m.alpha)^2 - m A^-1 m] / width.

    Raises
    ------
    NumericalError
        If there is none.
    """

    def f(x: float) -> float:  # increasing
        norm = 1.0 + x * own
        return x - Q + x * x / width * (label / norm - own) / norm

    high = Q
    while f(high) < 0.0:
        high *= 2.0
        if high > 1e3 * Q:
            raise NumericalError(
                f"a width of {width:g} leaves no read-out beside the mean of the labels"
            )
    return float(brentq(f, 0.0, high, xtol=1e-300, rtol=1e-15))


def excess(Q: float) -> float:
    """Q - 1 - log Q, exact near one."""
    return (Q - 1.0) - math.log1p(Q - 1.0)
