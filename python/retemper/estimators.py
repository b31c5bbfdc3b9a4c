"""All estimators of all systems, loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.diagonal import DiagonalNetworkRegressor
    from retemper.linear import (
        FineTunedLasso,
        FineTunedLinearRegression,
        FineTunedLogisticRegression,
        FineTunedReLURegressor,
        LinearTransferReport,
    )
    from retemper.perceptron import MarginPerceptronClassifier
    from retemper.widenet import FranzParisiClassifier, FranzParisiRegressor, WideNetRegressor

_HOME = {
    "DiagonalNetworkRegressor": "diagonal",
    "FineTunedLasso": "linear",
    "FineTunedLinearRegression": "linear",
    "FineTunedLogisticRegression": "linear",
    "FineTunedReLURegressor": "linear",
    "FranzParisiClassifier": "widenet",
    "FranzParisiRegressor": "widenet",
    "LinearTransferReport": "linear",
    "MarginPerceptronClassifier": "perceptron",
    "WideNetRegressor": "widenet",
}

__all__ = [
    "DiagonalNetworkRegressor",
    "FineTunedLasso",
    "FineTunedLinearRegression",
    "FineTunedLogisticRegression",
    "FineTunedReLURegressor",
    "FranzParisiClassifier",
    "FranzParisiRegressor",
    "LinearTransferReport",
    "MarginPerceptronClassifier",
    "WideNetRegressor",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
