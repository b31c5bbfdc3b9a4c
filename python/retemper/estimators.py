"""All estimators of all systems, loaded on first use."""

from __future__ import annotations

import importlib
from typing import Any

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

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
