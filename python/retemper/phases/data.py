"""Images with a source task and auxiliary tasks; nothing is downloaded."""

from __future__ import annotations

import dataclasses
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._files import read_idx
from retemper._random import Seed, replica_generator, stream_key
from retemper._validation import FloatArray, check_choice, check_integer, check_real

__all__ = ["ImageTask", "coloured_digits", "load_cifar", "noisy_digits", "read_idx"]

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

    Notes
    -----
    Derived here. Evaluation rows are copies of 600 images: pass ``groups_eval`` as ``groups``.

    Examples
    --------
    >>> from retemper.phases.data import noisy_digits
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

    Notes
    -----
    Derived here, in the spirit of the dominant-colour task of Schneider and Prabhushankar (2024).

    Examples
    --------
    >>> from retemper.phases.data import coloured_digits
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


class _PlainUnpickler(pickle.Unpickler):
    """Arrays, dictionaries and numbers only: a data file must not run code."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise ValueError(f"the file asks for {module}.{name}: it is not a CIFAR batch")
        return super().find_class(module, name)


def _cifar_batches(path: Path) -> Iterator[tuple[str, dict[bytes, Any]]]:
    names = ("data_batch_", "test_batch", "train", "test")
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and file.name.startswith(names):
                with file.open("rb") as stream:
                    yield file.name, _PlainUnpickler(stream, encoding="bytes").load()
    else:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                name = Path(member.name).name
                packed = archive.extractfile(member) if name.startswith(names) else None
                if packed is not None:
                    yield name, _PlainUnpickler(packed, encoding="bytes").load()


def load_cifar(
    path: str | Path, part: Literal["train", "test"] = "train"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read CIFAR-10 or CIFAR-100 ("python version") from this disk.

    Parameters
    ----------
    path : str or Path
        The archive, or the folder it unpacks to.
    part : {"train", "test"}, default="train"
        Which images.

    Returns
    -------
    tuple of ndarray
        Images (n, 3, 32, 32) and labels (n,); fine labels for CIFAR-100.

    Raises
    ------
    ValueError
        If there is no such batch, or the file is something else.
    """
    check_choice(part, "part", ("train", "test"))
    images, labels = [], []
    for name, batch in _cifar_batches(Path(path)):
        if name.startswith("test") == (part == "test"):
            images.append(np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
            labels.append(np.asarray(batch[b"labels" if b"labels" in batch else b"fine_labels"]))
    if not images:
        raise ValueError(f"{path} holds no CIFAR batch for {part}")
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)
