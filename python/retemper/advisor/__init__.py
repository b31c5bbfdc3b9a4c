"""One question, all systems: should I start from this source?

`advise` judges training from scratch and every use of every source on the target sample, asks the
systems that apply, and returns a `TransferAdvice`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retemper._sources import Predictions
from retemper.advisor.advice import TransferAdvice
from retemper.advisor.record import CandidateAdvice, LearningCurve, Opinion

if TYPE_CHECKING:
    from retemper.advisor._advise import advise
    from retemper.advisor.display import AdviceDisplay
    from retemper.advisor.estimators import AdvisedClassifier, AdvisedRegressor
    from retemper.advisor.targets import AdviceByTarget, advise_targets

__all__ = [
    "AdviceByTarget",
    "AdviceDisplay",
    "AdvisedClassifier",
    "AdvisedRegressor",
    "CandidateAdvice",
    "LearningCurve",
    "Opinion",
    "Predictions",
    "TransferAdvice",
    "advise",
    "advise_targets",
]

_HOME = {
    "AdviceByTarget": "targets",
    "AdviceDisplay": "display",
    "AdvisedClassifier": "estimators",
    "AdvisedRegressor": "estimators",
    "advise": "_advise",
    "advise_targets": "targets",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.advisor.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
