"""One question, all systems: should I start from this source?

`advise` judges training from scratch and every use of every source on the target sample, asks the
systems that apply, and returns a `TransferAdvice`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retemper.advisor.advice import CandidateAdvice, LearningCurve, Opinion, TransferAdvice

if TYPE_CHECKING:
    from retemper.advisor.advise import advise
    from retemper.advisor.display import AdviceDisplay
    from retemper.advisor.estimators import AdvisedClassifier, AdvisedRegressor
    from retemper.advisor.inputs import Predictions

__all__ = [
    "AdviceDisplay",
    "AdvisedClassifier",
    "AdvisedRegressor",
    "CandidateAdvice",
    "LearningCurve",
    "Opinion",
    "Predictions",
    "TransferAdvice",
    "advise",
]

_HOME = {
    "AdviceDisplay": "display",
    "AdvisedClassifier": "estimators",
    "AdvisedRegressor": "estimators",
    "Predictions": "inputs",
    "advise": "advise",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOME:
        value = getattr(importlib.import_module(f"retemper.advisor.{_HOME[name]}"), name)
        globals()[name] = value  # else the module of the same name would hide it
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
