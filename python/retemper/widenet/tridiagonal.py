"""A kernel in an orthogonal basis in which it is tridiagonal."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.linalg.lapack import dormqr, dpttrf, dpttrs, dsytrd, dsytrd_lwork

from retemper._control import interruptible
from retemper._validation import FloatArray
from retemper.exceptions import NumericalError

__all__ = ["Shifted", "Spectrum", "may_be_singular"]

_FLOOR = 1e-10  # of a temperature and of the smallest eigenvalue, in units of the mean kernel


class Spectrum:
    """A kernel in an orthogonal basis in which it is tridiagonal, with its eigenvalues.

    Reduction to that basis costs a third of an eigendecomposition; afterwards everything at a new
    width, temperature or order parameter costs O(n).
    """

    def __init__(self, kernel: FloatArray, mean: FloatArray) -> None:
        n = len(kernel)
        self.level = float(kernel.trace()) / n + float(mean @ mean) / n
        work, _ = dsytrd_lwork(n, lower=1)
        c, self.diag, self.beside, self._tau, _ = interruptible(
            dsytrd, kernel.T, lower=1, lwork=max(int(work), 1), overwrite_a=1, cost=float(n) ** 3
        )
        self._reflectors = np.asfortranarray(c[1:, : n - 1])
        values = eigh_tridiagonal(self.diag, self.beside, eigvals_only=True)
        self.smallest = float(values[0])
        self.values: FloatArray = np.maximum(values, 0.0)
        self.has_mean = bool(mean.any())
        self.mean: FloatArray = self.rotate(mean[:, None])[:, 0]

    def rotate(self, block: FloatArray, *, back: bool = False) -> FloatArray:
        """Columns of a block (n, k) in the basis, or back from it."""
        out: FloatArray = np.array(block, order="F")
        if len(out) > 1:
            lwork = 64 * out.shape[1]
            lower, _, _ = interruptible(
                dormqr, "L", "N" if back else "T", self._reflectors, self._tau, out[1:], lwork,
                cost=float(out.size * len(out)),
            )  # fmt: skip
            out[1:] = lower
        return out

    def times(self, v: FloatArray) -> FloatArray:
        """The kernel times a vector of the basis."""
        out: FloatArray = self.diag * v
        out[:-1] += self.beside * v[1:]
        out[1:] += self.beside * v[:-1]
        return out

    @property
    def rank(self) -> int:
        """Eigenvalues above 1e-12 of the largest."""
        return int((self.values > 1e-12 * self.values[-1]).sum())

    def check_temperature(self, temperature: float, readout_var: float, name: str) -> None:
        """Refuse a temperature at which a matrix with this kernel cannot be inverted."""
        floor = _FLOOR * readout_var * self.level
        if floor > temperature and readout_var * self.smallest < floor:
            raise ValueError(
                f"{name} must be at least {floor:.3g} here, got {temperature:g}: the kernel is "
                "singular (repeated rows, or more samples than a linear network has features)"
            )


class Shifted:
    """A = T + scale K + mean_var m m^T in the basis of a spectrum, factored."""

    def __init__(
        self, spectrum: Spectrum, temperature: float, scale: float, mean_var: float
    ) -> None:
        self._spectrum, self._temperature, self._scale = spectrum, temperature, scale
        diag = temperature + scale * spectrum.diag
        self._diag, self._beside = diag, scale * spectrum.beside
        if diag.size > 1:
            self._diag, self._beside, info = dpttrf(
                diag, self._beside, overwrite_d=1, overwrite_e=1
            )
            if info:
                raise NumericalError(
                    f"the label covariance is singular at temperature {temperature:g}; raise it"
                )
        self._log_det = self.log_det = float(np.log(self._diag).sum())
        self.tilt: FloatArray | None = None  # A^-1 m, but for the last term of A
        if spectrum.has_mean:
            self.tilt = self._solve(spectrum.mean[:, None])[:, 0]
            self.set_mean_var(mean_var)

    def set_mean_var(self, mean_var: float) -> None:
        """Change the weight of the last term."""
        if self.tilt is not None:
            norm = 1.0 + mean_var * float(self._spectrum.mean @ self.tilt)
            self._factor = mean_var / norm
            self.log_det = self._log_det + math.log(norm)

    def _solve(self, block: FloatArray) -> FloatArray:
        if self._diag.size == 1:
            return np.asarray(block / self._diag)
        return np.asarray(dpttrs(self._diag, self._beside, block)[0])

    def solve(self, block: FloatArray) -> FloatArray:
        """A^-1 times a block (n, k)."""
        out = self._solve(block)
        if self.tilt is not None:
            out -= np.outer(self._factor * self.tilt, self.tilt @ block)
        return out

    def trace(self) -> float:
        """Tr A^-1 K."""
        s = self._spectrum.values
        out = float((s / (self._temperature + self._scale * s)).sum())
        if self.tilt is not None:
            out -= self._factor * float(self.tilt @ self._spectrum.times(self.tilt))
        return out


def may_be_singular(kernel: FloatArray, temperature: float, readout_var: float) -> bool:
    """Whether a temperature is so low that only the smallest eigenvalue of the kernel tells."""
    return bool(_FLOOR * readout_var * kernel.trace() / len(kernel) > temperature)
