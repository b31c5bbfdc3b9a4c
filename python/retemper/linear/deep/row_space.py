"""Training data of a deep linear network in the coordinates of its row space."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import interruptible
from retemper._dispatch import core
from retemper._validation import FloatArray, as_float_array, check_integer, check_shape

#: Above this size SciPy's eigensolver beats the one of the core.
_LARGE_GRAM = 512


def check_depth(depth: Any) -> float:
    """Depth that may be infinite."""
    is_infinite = isinstance(depth, float | np.floating) and depth == math.inf
    return math.inf if is_infinite else float(check_integer(depth, "depth", low=1))


@dataclasses.dataclass(frozen=True)
class RowSpaceProblem:
    """Data in the coordinates of its row space: X = u diag(s) v."""

    x: FloatArray
    y: FloatArray  # (n, k)
    source: FloatArray  # (k, d)
    single: bool
    space: core.linear.RowSpace

    @cached_property
    def s(self) -> FloatArray:
        """(rank,) singular values, descending."""
        return self.space.s

    @cached_property
    def v(self) -> FloatArray:
        """(rank, d) orthonormal rows."""
        return self.space.v

    @property
    def labels(self) -> FloatArray:
        """(k, rank) labels inside the range of X."""
        return np.ascontiguousarray(self.y.T @ self.space.u)

    def output(self, array: FloatArray) -> FloatArray:
        """(k, ...) as the caller sees it: without the first axis for one output."""
        return array[0] if self.single else array

    def scalar(self, array: FloatArray) -> FloatArray | float:
        """(k,) as the caller sees it: a number for one output."""
        return float(array[0]) if self.single else array


def row_space(x: FloatArray) -> core.linear.RowSpace:
    """Left vectors, singular values and right vectors (as rows) of X, down to rounding."""
    if min(x.shape) <= _LARGE_GRAM:
        return core.linear.row_space(x)
    from scipy.linalg import eigh, svd

    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    cost = float(x.size * min(x.shape))
    values, vectors = interruptible(
        eigh, gram, driver="evd", overwrite_a=True, check_finite=False, cost=cost
    )
    if values[0] * core.linear.largest_gram_condition > values[-1]:
        return core.linear.row_space_of_gram(x, values, np.asfortranarray(vectors))
    u, s, v = interruptible(svd, x, full_matrices=False, check_finite=False, cost=cost)
    rank = int(np.sum(s > s[0] * np.finfo(float).eps * max(x.shape)))
    return core.linear.RowSpace(u=u[:, :rank], s=s[:rank], v=v[:rank])


def row_space_problem(X: ArrayLike, y: ArrayLike, source: ArrayLike | None) -> RowSpaceProblem:
    """Check inputs, labels and source (None: zero), and find the row space."""
    x = as_float_array(X, "X", ndim=2)
    if 0 in x.shape:
        raise ValueError(f"X must hold at least one sample and one feature, got shape {x.shape}")
    n, d = x.shape
    labels = as_float_array(y, "y", ndim=(1, 2))
    single = labels.ndim == 1
    labels = labels.reshape(-1, 1) if single else labels
    check_shape(labels, (n, None), "y")
    if labels.shape[1] == 0:
        raise ValueError("y must hold at least one output, got shape (n_samples, 0)")
    k = labels.shape[1]
    if source is None:
        start = np.zeros((k, d))
    else:
        start = as_float_array(source, "source_coef", ndim=(1, 2))
        check_shape(start, (d,) if single else (k, d), "source_coef")
        start = start.reshape(k, d)
    return RowSpaceProblem(x, labels, start, single, row_space(x))
