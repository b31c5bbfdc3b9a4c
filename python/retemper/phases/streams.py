"""What the random streams of this system are for: no two purposes share a stream."""

from __future__ import annotations

import enum

__all__ = ["Purpose"]


class Purpose(enum.IntEnum):
    """Purposes of `retemper._random.replica_generator`."""

    INIT = 1  # initial weights of a theory's layers
    SAMPLE = 2  # rows and initial weights of an experiment
    ORDER = 3  # of the rows in an epoch of `MLPTrainer`; drawn by the compiled core
    WEIGHTS = 4  # initial weights of `MLPTrainer`
    DECODER = 5  # weights and order of rows of a decoder trained by Adam
