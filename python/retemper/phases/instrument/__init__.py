"""How much of the input, and of any task, can be read off a layer linearly: measured fast.

Cross-validated ridge decoders from one pass over the activations: second moments are gathered fold
by fold in the compiled core, and one factorisation per fold serves every ridge and every target.
"""

from retemper.phases.instrument.moments import FoldMoments
from retemper.phases.instrument.score import (
    DEFAULT_RELATIVE_RIDGES,
    FLOOR_RELATIVE_RIDGE,
    ProbeScore,
    ReconstructionScore,
    reconstruction_score,
)

__all__ = [
    "DEFAULT_RELATIVE_RIDGES",
    "FLOOR_RELATIVE_RIDGE",
    "FoldMoments",
    "ProbeScore",
    "ReconstructionScore",
    "reconstruction_score",
]
