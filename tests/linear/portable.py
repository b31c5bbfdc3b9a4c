"""Inputs that any language can rebuild to the last digit: spectra, teachers, random matrices."""

from __future__ import annotations

import numpy as np


def spectrum(kind, d, p=None):
    """Eigenvalues in the order of their definition (descending)."""
    i = np.arange(1, d + 1)
    if kind == "iso":
        return np.ones(d)
    if kind == "power":
        return i ** -float(p)
    if kind == "exp":
        return np.exp(-10.0 * p * (i - 1) / d)
    if kind == "two":
        return np.where(i <= d // 10, 1.0, p)
    if kind == "lowrank":
        return np.where(i <= round(p * d), 1.0, 0.0)
    raise ValueError(kind)


def teacher(kind, d, p=None):
    """Unit vector."""
    i = np.arange(1, d + 1)
    v = {
        "flat": lambda: np.ones(d),
        "decay": lambda: i ** -float(p),
        "cos": lambda: np.cos(i + p),
        "alt": lambda: np.where(i % 2 == 1, 1.0, -1.0),
        "tail": lambda: np.where(i > d / 2, 1.0, 0.0),
    }[kind]()
    return v / np.linalg.norm(v)


def combine(terms, d):
    """Sum of weighted teachers, e.g. ``[[0.8, "decay", 0.5], [0.3, "cos", 0.2]]``."""
    return sum(weight * teacher(kind, d, *p) for weight, kind, *p in terms)


def covariance(kind, d, p, q):
    """Q diag(spectrum) Q with the reflection Q = I - 2 v v', v = teacher cos q."""
    v = teacher("cos", d, q)
    reflection = np.eye(d) - 2.0 * np.outer(v, v)
    matrix = reflection @ np.diag(spectrum(kind, d, p)) @ reflection
    return (matrix + matrix.T) / 2.0


def matrix(seed, rows, cols):
    """Entries of mean 0 and variance 1 from a splitmix64 stream, row by row."""
    mask = (1 << 64) - 1
    state, out = seed, np.empty(rows * cols)
    for index in range(out.size):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        out[index] = np.sqrt(12.0) * ((z >> 11) * 2.0**-53 - 0.5)
    return out.reshape(rows, cols)


def data(seed, n, eigenvalues, theta, noise):
    """Design and labels of the data cases."""
    x = matrix(seed, n, len(eigenvalues)) * np.sqrt(eigenvalues)
    return x, x @ theta + noise * matrix(seed + 1, n, 1)[:, 0]


D5 = [[1.0, "decay", 0.5]]
SRC = [[0.8, "decay", 0.5], [0.3, "cos", 0.2]]
