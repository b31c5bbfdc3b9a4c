"""Figures of the theory pages by name, the runs and trials behind them, and the demo."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.gallery.demo import DigitsTrial, digits_advice, digits_trial, run_demo
    from retemper.gallery.few_labels import few_label_accuracy
    from retemper.gallery.phases_convnet import ConvRun, run_conv
    from retemper.gallery.phases_runs import Run, run_seeds
    from retemper.gallery.registry import FigureEntry, draw, save_figure

__all__ = [
    "ConvRun",
    "DigitsTrial",
    "FigureEntry",
    "Run",
    "digits_advice",
    "digits_trial",
    "draw",
    "few_label_accuracy",
    "run_conv",
    "run_demo",
    "run_seeds",
    "save_figure",
]

#: Loaded on first use, by file.
_HOME = {
    "ConvRun": "phases_convnet",
    "DigitsTrial": "demo",
    "FIGURES": "registry",
    "FigureEntry": "registry",
    "METHODS": "few_labels",
    "RUNS": "phases_runs",
    "Run": "phases_runs",
    "TABLES": "few_labels",
    "digits_advice": "demo",
    "digits_trial": "demo",
    "draw": "registry",
    "few_label_accuracy": "few_labels",
    "run_conv": "phases_convnet",
    "run_demo": "demo",
    "run_seeds": "phases_runs",
    "save_figure": "registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.gallery.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
