"""Images with a source task and auxiliary tasks; nothing is downloaded."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._random import Seed, replica_generator, stream_key
from retemper._validation import FloatArray, check_integer, check_memory, check_real

__all__ = ["ImageTask", "coloured_digits", "noisy_digits"]

_SPLIT, _TRAIN, _EVAL = 5, 6, 7  # purposes of the random streams
_N_TRAIN_IMAGES = 1197


@dataclasses.dataclass(frozen=True)
class ImageTask:
    """Training and evaluation images with their tasks; see `noisy_digits`.

    Parameters
    ----------
    X, X_eval : ndarray of shape (n, p)
        Pixels, standardised by the training set's means and one standard deviation for all.
    tasks, tasks_eval : dict of str to ndarray of shape (n,)
        Integer labels by task.
    groups_eval : ndarray of shape (n,)
        Which image an evaluation row is a noisy copy of.

    See Also
    --------
    noisy_digits, coloured_digits

    Examples
    --------
    >>> from retemper.datasets import noisy_digits
    >>> data = noisy_digits(100, 50)
    >>> data.X.shape, sorted(data.tasks)
    ((100, 64), ['digit', 'parity'])
    """

    X: FloatArray
    X_eval: FloatArray
    tasks: dict[str, NDArray[np.int64]]
    tasks_eval: dict[str, NDArray[np.int64]]
    groups_eval: NDArray[np.int64]


def _standardised(X: FloatArray, X_eval: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = X.mean(axis=0)
    scale = float((X - mean).std())
    return (X - mean) / scale, (X_eval - mean) / scale


def _images(part: Literal["train", "eval"]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Bundled digits, split by a fixed permutation: 1197 for training and 600 for evaluation."""
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    order = replica_generator((0, 0), 0, _SPLIT).permutation(digit.size)
    rows = order[:_N_TRAIN_IMAGES] if part == "train" else order[_N_TRAIN_IMAGES:]
    return np.asarray(images[rows] / 16.0), np.asarray(digit[rows], dtype=np.int64)


def _both(draw: Any, n_train: int, n_eval: int, random_state: Seed) -> ImageTask:
    key = stream_key(random_state)
    n = check_integer(n_train, "n_train", low=10)
    m = check_integer(n_eval, "n_eval", low=10)
    check_memory(64.0 * (n + m), n_train=n, n_eval=m)
    X, tasks, _ = draw(*_images("train"), n, replica_generator(key, 0, _TRAIN))
    X_eval, tasks_eval, groups = draw(*_images("eval"), m, replica_generator(key, 0, _EVAL))
    X, X_eval = _standardised(X, X_eval)
    return ImageTask(X, X_eval, tasks, tasks_eval, groups)


def noisy_digits(
    n_train: int = 4000,
    n_eval: int = 2000,
    *,
    noise: float = 0.1,
    random_state: Seed = 0,
) -> ImageTask:
    """Noisy copies of the 8 x 8 digits bundled with scikit-learn.

    Parameters
    ----------
    n_train, n_eval : int
        Rows, drawn with replacement from 1197 and 600 images that never mix.
    noise : float, default=0.1
        Standard deviation of the pixel noise, for pixels in [0, 1].
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed; the split of the images is fixed.

    Returns
    -------
    ImageTask
        With the tasks "digit" and "parity".

    See Also
    --------
    coloured_digits, ImageTask

    Notes
    -----
    Derived here (`systems/phases#what-to-expect-recorded-runs`). Evaluation rows are copies of 600
    images: pass ``groups_eval`` as ``groups``.

    Examples
    --------
    >>> from retemper.datasets import noisy_digits
    >>> task = noisy_digits(100, 50)
    >>> task.X.shape, task.X_eval.shape, sorted(task.tasks)
    ((100, 64), (50, 64), ['digit', 'parity'])
    """
    sd = check_real(noise, "noise", low=0.0)

    def draw(
        images: FloatArray, digit: NDArray[np.int64], n: int, rng: np.random.Generator
    ) -> tuple[FloatArray, dict[str, NDArray[np.int64]], NDArray[np.int64]]:
        pick = rng.integers(0, digit.size, n)
        X = images[pick] + sd * rng.normal(size=(n, images.shape[1]))
        return X, {"digit": digit[pick], "parity": digit[pick] % 2}, pick

    return _both(draw, n_train, n_eval, random_state)


def coloured_digits(
    n_train: int = 4000,
    n_eval: int = 2000,
    *,
    correlation: float = 0.5,
    background: float = 0.0,
    noise: float = 0.1,
    random_state: Seed = 0,
) -> ImageTask:
    """Shifted 10 x 10 digits in a colour that goes with the digit, more or less.

    Parameters
    ----------
    n_train, n_eval : int
        Rows.
    correlation : float, default=0.5
        Probability with which the strongest channel is moved to (digit modulo 3).
    background : float, default=0.0
        Largest brightness of each channel of a random background colour, added everywhere.
    noise : float, default=0.1
        Standard deviation of the pixel noise.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        The seed.

    Returns
    -------
    ImageTask
        With 300 pixels (channel first) and the tasks "digit", "colour" (strongest channel) and
        "shift" (one of nine).

    See Also
    --------
    noisy_digits, ImageTask

    Notes
    -----
    Derived here (`systems/phases#what-to-expect-recorded-runs`), in the spirit of the
    dominant-colour task of Schneider and Prabhushankar (2024).

    Examples
    --------
    >>> from retemper.datasets import coloured_digits
    >>> coloured_digits(100, 50).X.shape
    (100, 300)
    """
    sd = check_real(noise, "noise", low=0.0)
    glow = check_real(background, "background", low=0.0)
    share = check_real(correlation, "correlation", low=0.0, high=1.0)

    def draw(
        images: FloatArray, digit: NDArray[np.int64], n: int, rng: np.random.Generator
    ) -> tuple[FloatArray, dict[str, NDArray[np.int64]], NDArray[np.int64]]:
        pick = rng.integers(0, digit.size, n)
        shift = rng.integers(0, 9, n)
        colour = rng.uniform(0.2, 1.0, size=(n, 3))
        follows = np.flatnonzero(rng.uniform(size=n) < share)
        wanted = digit[pick[follows]] % 3
        strongest = colour[follows].argmax(axis=1)
        moved = colour[follows, strongest].copy()
        colour[follows, strongest] = colour[follows, wanted]
        colour[follows, wanted] = moved
        X = np.zeros((n, 3, 10, 10))
        X += glow * rng.uniform(size=(n, 3))[:, :, None, None]
        square = images[pick].reshape(n, 8, 8)
        for s in range(9):
            rows = np.flatnonzero(shift == s)
            i, j = divmod(s, 3)
            X[rows, :, i : i + 8, j : j + 8] += (
                colour[rows][:, :, None, None] * square[rows][:, None]
            )
        X += sd * rng.normal(size=X.shape)
        tasks = {"digit": digit[pick], "colour": colour.argmax(axis=1), "shift": shift}
        return X.reshape(n, 300), tasks, pick

    return _both(draw, n_train, n_eval, random_state)
