"""Linear teachers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.linear.display import LearningCurveDisplay, TransferReportDisplay
    from retemper.linear.estimators import FineTunedLinearRegression, LinearTransferReport

__all__ = [
    "FineTunedLinearRegression",
    "LearningCurveDisplay",
    "LinearTransferReport",
    "TransferReportDisplay",
]

CITATION_KEYS = ("shachaf2021", "hastie2022")

#: Loaded on first use: they need scikit-learn or matplotlib.
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
