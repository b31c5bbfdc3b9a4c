"""Points at which a model is solved, and the effective ridge of the target's rows there."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.linear.rows import ClassRoots, RowClasses, class_roots
from retemper.linear.spectral import roots

__all__ = ["Points", "target_root"]


class Points(NamedTuple):
    """Where to evaluate: arrays of shape (k,) and what they share."""

    n_samples: FloatArray
    ridge: FloatArray
    noise: FloatArray
    depth: float
    n_threads: int
    stop_time: float = math.inf
    source_scale: float = 1.0  # before training; NaN: the best
    rows: RowClasses | None = None  # None: all rows are alike
    step_size: float | None = None  # of one pass of stochastic descent
    batch_size: int = 1
    n_passes: float | None = None  # None: every row is used once
    grows: NDArray[np.bool_] | None = None  # (k,) where the risk grows with every step

    @property
    def stops(self) -> bool:
        """Whether training ends before the rows are fitted."""
        return math.isfinite(self.stop_time) or self.step_size is not None


def target_root(
    spectrum: FloatArray, n: FloatArray, ridge: FloatArray, points: Points
) -> tuple[
    core.linear.EffectiveRidge | ClassRoots,
    FloatArray,
    FloatArray | float,
    tuple[FloatArray, FloatArray],
]:
    """Effective ridge, df2 / n or what takes its place, the noise that is heard over given.

    And the training error per risk and per variance of the noise.
    """
    if points.rows is not None:
        found = class_roots(spectrum, n, ridge, points.rows, points.n_threads)
        return found, found.share, found.heard, (found.unfit, found.unfit_noise)
    root = roots(spectrum, n, ridge, points.n_threads)
    some, kappa = n > 0.0, root.effective_ridge
    left = np.divide(n - root.df1, n, out=np.zeros_like(n), where=some)
    left = np.square(np.divide(ridge, kappa, out=left, where=some & (kappa != 0.0)))
    share = np.divide(root.df2, n, out=np.zeros_like(n), where=some)
    return root, share, 1.0, (left, left)
