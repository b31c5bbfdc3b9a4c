"""The decoder of the published scripts: linear, trained by Adam for a few epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retemper._random import Seed, replica_generator, stream_key
from retemper._validation import FloatArray
from retemper.phases.streams import Purpose

__all__ = ["adam_fuv"]

_RATE, _DECAY, _BATCH = 3e-4, 1e-5, 128  # of the published scripts
_FIRST, _SECOND, _SMALL = 0.9, 0.999, 1e-8  # of Adam


def adam_fuv(
    H: FloatArray, X: FloatArray, held_out: NDArray[np.bool_], n_epochs: int, random_state: Seed
) -> float:
    """Unexplained share, on the rows held out, of a linear decoder trained by Adam.

    Derived here (`derivations/phases#the-instrument`), after the published scripts: rate 3e-4,
    decay 1e-5, batches of 128 rows, mean squared error, weights from a uniform law of width one
    over the root of the number of units.

    Parameters
    ----------
    H : ndarray of shape (n, h)
        Activations.
    X : ndarray of shape (n, p)
        Inputs.
    held_out : ndarray of shape (n,)
        Whether a row is judged on instead of trained on.
    n_epochs : int
        Passes over the training rows.
    random_state : None, int, SeedSequence, Generator or RandomState
        Seed of weights and order of rows.

    Returns
    -------
    float
        May exceed 1.
    """
    rng = replica_generator(stream_key(random_state), 0, Purpose.DECODER)
    ones = np.ones((H.shape[0], 1))
    H = np.hstack([H, ones])
    bound = (H.shape[1] - 1) ** -0.5
    weights = rng.uniform(-bound, bound, (H.shape[1], X.shape[1]))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    rows, step = np.flatnonzero(~held_out), 0
    for _ in range(n_epochs):
        order = rng.permutation(rows)
        for start in range(0, order.size, _BATCH):
            part = order[start : start + _BATCH]
            error = H[part] @ weights - X[part]
            gradient = (2.0 / error.size) * (H[part].T @ error) + _DECAY * weights
            step += 1
            first += (1.0 - _FIRST) * (gradient - first)
            second += (1.0 - _SECOND) * (gradient**2 - second)
            size = np.sqrt(second / (1.0 - _SECOND**step)) + _SMALL
            weights -= _RATE / (1.0 - _FIRST**step) * first / size
    left = np.sum((H[held_out] @ weights - X[held_out]) ** 2)
    return float(left / np.sum((X[held_out] - X[rows].mean(0)) ** 2))
