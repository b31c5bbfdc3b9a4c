"""Linear teachers.

Fine-tuning of linear predictors, deep linear networks and shallow ReLU networks from a pretrained
source. Conventions: inputs are rows, labels are ``y = theta @ x + noise * standard normal``, risks
are excess risks (no factor one half, label noise not counted) summed over outputs, and ``ridge`` is
per sample.
"""

from __future__ import annotations

from retemper.linear.model import LinearModel
from retemper.linear.theory import (
    EffectiveRidge,
    LinearTheory,
    ProbeRisk,
    curve,
    deep_scale,
    effective_ridge,
    probe_risk,
    solve,
    transfer_boundary,
)

__all__ = [
    "EffectiveRidge",
    "LinearModel",
    "LinearTheory",
    "ProbeRisk",
    "curve",
    "deep_scale",
    "effective_ridge",
    "probe_risk",
    "solve",
    "transfer_boundary",
]

CITATION_KEYS = ("shachaf2021", "hastie2022")
