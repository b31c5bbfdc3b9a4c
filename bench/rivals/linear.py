"""The same tasks as `retemper.linear`, written as well as NumPy and SciPy allow."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq


def effective_ridge(spectrum, n, ridge):
    """Per point: start at the best top-k bound, cubic steps on arrays of eigenvalues.

    The algorithm of the compiled core, with reused buffers and dot products for the sums.
    """
    s = np.sort(spectrum)[::-1].copy()
    tail = np.append(np.cumsum(s[::-1])[::-1], 0.0)
    ones, r, t, u = np.ones_like(s), np.empty_like(s), np.empty_like(s), np.empty_like(s)
    out = np.empty((3, n.size))
    for j, (samples, lam) in enumerate(zip(n.tolist(), ridge.tolist(), strict=True)):
        if lam == 0.0 and samples >= s.size:
            out[:, j] = 0.0, s.size, s.size
            continue
        low, high = 0, min(s.size, math.ceil(samples) - 1)
        while low < high:
            k = (low + high) // 2
            if samples * lam + tail[k] >= s[k] * (samples - k):
                high = k
            else:
                low = k + 1
        kappa = (samples * lam + tail[low]) / (samples - low)
        for _ in range(100):
            np.add(s, kappa, out=r)
            np.divide(s, r, out=t)
            np.divide(t, r, out=u)
            df1, df2, bend = t @ ones, t @ t, t @ u
            g = max(kappa * (1 - df1 / samples) - lam, 0.0)
            slope = 1 - df2 / samples
            step = 2 * g / (slope + math.sqrt(max(slope**2 - 4 * g * bend / samples, 0.0)))
            kappa -= step
            if step <= 1e-8 * kappa:
                break
        out[:, j] = kappa, df1, df2
    return out


def effective_ridge_bracketing(spectrum, n, ridge):
    """Per point: SciPy's bracketed root finder."""
    out = np.empty((3, n.size))
    for j, (samples, lam) in enumerate(zip(n, ridge, strict=True)):
        if lam == 0 and samples >= spectrum.size:
            out[:, j] = 0.0, spectrum.size, spectrum.size
            continue

        def excess(k, samples=samples, lam=lam):
            return k * (1 - (spectrum / (spectrum + k)).sum() / samples) - lam

        high = lam + spectrum.sum() / samples
        low = high
        while excess(low) > 0:
            low /= 4
        kappa = brentq(excess, low, high, rtol=1e-13, xtol=1e-300) if low < high else low
        t = spectrum / (spectrum + kappa)
        out[:, j] = kappa, t.sum(), t @ t
    return out
