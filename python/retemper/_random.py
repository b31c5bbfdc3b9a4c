"""Turns any ``random_state`` into the 128-bit key of a counter-based stream."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Seed: TypeAlias = (
    int | np.integer | np.random.SeedSequence | np.random.Generator | np.random.RandomState | None
)

_WORD = np.iinfo(np.uint64).max


def stream_key(random_state: Seed) -> tuple[int, int]:
    """Key of the Philox streams of one call.

    Parameters
    ----------
    random_state : None, int, SeedSequence, Generator or RandomState
        None takes fresh entropy. An int or a SeedSequence always gives the same key. A Generator
        or RandomState gives two words drawn from it, so passing it twice gives different keys.

    Returns
    -------
    tuple of int
        Two unsigned 64-bit words.

    Raises
    ------
    ValueError
        If an integer seed is negative.
    TypeError
        If ``random_state`` is of another type.
    """
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        draw = (
            random_state.integers
            if isinstance(random_state, np.random.Generator)
            else random_state.randint
        )
        words = np.asarray(draw(0, _WORD, size=2, dtype=np.uint64))
    else:
        if random_state is None or isinstance(random_state, np.random.SeedSequence):
            sequence = random_state or np.random.SeedSequence()
        elif isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
            if random_state < 0:
                raise ValueError(f"random_state must be non-negative, got {random_state}")
            sequence = np.random.SeedSequence(int(random_state))
        else:
            raise TypeError(
                "random_state must be None, an int, a SeedSequence, a Generator or a RandomState, "
                f"got {type(random_state).__name__}"
            )
        words = np.asarray(sequence.generate_state(2, np.uint64))
    return int(words[0]), int(words[1])


def generator(random_state: Seed) -> np.random.Generator:
    """NumPy generator on the Philox stream of `stream_key`."""
    return np.random.Generator(np.random.Philox(key=np.array(stream_key(random_state), np.uint64)))


def replica_generator(key: tuple[int, int], replica: int, purpose: int) -> np.random.Generator:
    """NumPy generator of one replica and one purpose, which nothing else can change.

    Parameters
    ----------
    key : tuple of int
        Key of the call, as `stream_key` makes it.
    replica : int
        Number of the replica.
    purpose : int
        What the stream is for: different purposes never meet.

    Returns
    -------
    numpy.random.Generator
        On the Philox stream whose counter starts at (0, 0, replica, purpose).
    """
    counter = np.array([0, 0, replica, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=counter))
