"""Figures of the theory pages by name, the runs and trials behind them, and the demo."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.gallery.convnet import ConvRun, run_conv
    from retemper.gallery.demo import run_demo
    from retemper.gallery.few_labels import few_label_accuracies, few_label_accuracy
    from retemper.gallery.runs import Run, run_seeds
    from retemper.gallery.scripts import (
        FigureScript,
        draw,
        figure_scripts,
        recorded_numbers,
        save_figure,
        style,
    )
    from retemper.gallery.trial import DigitsTrial, digits_advice, digits_trial

__all__ = [
    "ConvRun",
    "DigitsTrial",
    "FigureScript",
    "Run",
    "digits_advice",
    "digits_trial",
    "draw",
    "few_label_accuracies",
    "few_label_accuracy",
    "figure_scripts",
    "recorded_numbers",
    "run_conv",
    "run_demo",
    "run_seeds",
    "save_figure",
    "style",
]

#: Loaded on first use, by file.
_HOME = {
    "ConvRun": "convnet",
    "DigitsTrial": "trial",
    "FigureScript": "scripts",
    "RUNS": "runs",
    "Run": "runs",
    "digits_advice": "trial",
    "digits_trial": "trial",
    "draw": "scripts",
    "few_label_accuracies": "few_labels",
    "METHODS": "few_labels",
    "TABLES": "few_labels",
    "few_label_accuracy": "few_labels",
    "figure_scripts": "scripts",
    "recorded_numbers": "scripts",
    "run_conv": "convnet",
    "run_demo": "demo",
    "run_seeds": "runs",
    "save_figure": "scripts",
    "style": "scripts",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.gallery.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
