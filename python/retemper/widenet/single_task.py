"""A network on one task alone: its order parameter, and the Gaussian process it leaves."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from retemper._validation import FloatArray
from retemper.exceptions import NumericalError
from retemper.widenet.tridiagonal import Shifted, Spectrum

__all__ = ["LOG_2PI", "SingleTask", "excess"]

LOG_2PI = math.log(2.0 * math.pi)


class SingleTask:
    """Global minimum of the single-task action over Q, and the Gaussian process it leaves."""

    def __init__(
        self,
        spectrum: Spectrum,
        y: FloatArray,
        width: float,
        temperature: float,
        readout_var: float,
    ):
        self.spectrum, self.readout_var, self.temperature, self.width = (
            spectrum,
            readout_var,
            temperature,
            width,
        )
        self._y = spectrum.rotate(y[:, None])
        self.n_iter = self.n_minima = 1
        self.Q = 1.0
        if not math.isinf(width):
            self._minimise()
        self._shifted = Shifted(spectrum, temperature, readout_var * self.Q, readout_var)
        self.alpha: FloatArray = self._shifted.solve(self._y)[:, 0]
        self.residual = 0.0 if math.isinf(width) else abs(self.slope(math.log(self.Q)))
        quadratic = float(self._y[:, 0] @ self.alpha)
        own = 0.0 if math.isinf(width) else width * excess(self.Q)
        size = y.size * LOG_2PI
        self.log_evidence = -0.5 * (own + self._shifted.log_det + quadratic + size)

    def slope(self, x: float) -> float:
        """Derivative of the action in x = log Q."""
        Q = math.exp(x)
        shifted = Shifted(self.spectrum, self.temperature, self.readout_var * Q, self.readout_var)
        alpha = shifted.solve(self._y)[:, 0]
        pull = shifted.trace() - float(alpha @ self.spectrum.times(alpha))
        return Q - 1.0 + self.readout_var * Q / self.width * pull

    def action(self, Q: float) -> float:
        """Q - log Q + (log det A + y^T A^-1 y) / width."""
        shifted = Shifted(self.spectrum, self.temperature, self.readout_var * Q, self.readout_var)
        quadratic = float((self._y * shifted.solve(self._y)).sum())
        return Q - math.log(Q) + (shifted.log_det + quadratic) / self.width

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


def excess(Q: float) -> float:
    """Q - 1 - log Q, exact near one."""
    return (Q - 1.0) - math.log1p(Q - 1.0)
