"""Linear teachers.

Fine-tuning of linear predictors, deep linear networks and shallow ReLU networks from a pretrained
source. Conventions: inputs are rows, labels are ``y = theta @ x + noise * standard normal``, risks
are excess risks (no factor one half, label noise not counted) summed over outputs, and ``ridge`` is
per sample.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from retemper.linear.display import LearningCurveDisplay, TransferReportDisplay
    from retemper.linear.estimators import FineTunedLinearRegression, LinearTransferReport

__all__ = [
    "EffectiveRidge",
    "FineTunedLinearRegression",
    "LearningCurveDisplay",
    "LinearModel",
    "LinearTheory",
    "LinearTransferReport",
    "ProbeRisk",
    "TransferReportDisplay",
    "curve",
    "deep_scale",
    "effective_ridge",
    "probe_risk",
    "solve",
    "transfer_boundary",
]

CITATION_KEYS = ("shachaf2021", "hastie2022")

#: Loaded on first use.
_LAZY = {
    "FineTunedLinearRegression": "estimators",
    "LearningCurveDisplay": "display",
    "LinearTransferReport": "estimators",
    "TransferReportDisplay": "display",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"retemper.linear.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'retemper.linear' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
