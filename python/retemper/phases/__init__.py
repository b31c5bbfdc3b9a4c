"""Learning phases: when pre-training starts to destroy what transfers.

How much of the input can be read off a layer linearly is, at the same time, the average R² of
linear readouts over random tasks. During training this reconstruction may stay flat (phase I),
improve (II) and worsen again (III).

Conventions
-----------
``fuv`` is the fraction of unexplained input variance, 1 - C / tr S with C the variance a linear
decoder explains; ``times`` are those of gradient flow, or numbers of steps times ``step_size``; a
``relative_ridge`` is in units of the mean eigenvalue of the activations' covariance, and a
``relative_noise_var`` in units of the mean variance of a layer's units. ``FeatureModel`` and
``LogisticModel`` are one layer, ``DeepLinearModel`` and ``TwoLayerModel`` have hidden ones; `solve`
gives their exact curves, `simulate` training on samples;
`reconstruction_score` measures any layer, `PhaseMonitor` and `PhaseDetector` judge a training run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retemper.phases._simulate import compare, simulate
from retemper.phases._simulations import (
    DeepLinearSimulation,
    FeatureSimulation,
    LogisticSimulation,
    TwoLayerSimulation,
)
from retemper.phases.model import DeepLinearModel, FeatureModel, LogisticModel, TwoLayerModel
from retemper.phases.theory import (
    DeepLinearTheory,
    FeatureTheory,
    LogisticTheory,
    NetworkForecast,
    PhaseForecast,
    PhaseSummary,
    TwoLayerTheory,
    curve,
    linear_network_fuv,
    network_forecast,
    phase_forecast,
    random_subspace_fuv,
    solve,
    summary,
)

if TYPE_CHECKING:
    from retemper.phases.adapters import mlp_activations, train_mlp_classifier
    from retemper.phases.detector import PhaseDetector
    from retemper.phases.display import ForecastDisplay, MonitorDisplay
    from retemper.phases.instrument import (
        FoldMoments,
        ProbeScore,
        ReconstructionScore,
        reconstruction_score,
    )
    from retemper.phases.monitor import PhaseMonitor
    from retemper.phases.report import Alarm, PhaseReport
    from retemper.phases.torch import TorchWatcher
    from retemper.phases.trainer import MLPTrainer, checkpoint_steps

__all__ = [
    "Alarm",
    "DeepLinearModel",
    "DeepLinearSimulation",
    "DeepLinearTheory",
    "FeatureModel",
    "FeatureSimulation",
    "FeatureTheory",
    "FoldMoments",
    "ForecastDisplay",
    "LogisticModel",
    "LogisticSimulation",
    "LogisticTheory",
    "MLPTrainer",
    "MonitorDisplay",
    "NetworkForecast",
    "PhaseDetector",
    "PhaseForecast",
    "PhaseMonitor",
    "PhaseReport",
    "PhaseSummary",
    "ProbeScore",
    "ReconstructionScore",
    "TorchWatcher",
    "TwoLayerModel",
    "TwoLayerSimulation",
    "TwoLayerTheory",
    "checkpoint_steps",
    "compare",
    "curve",
    "linear_network_fuv",
    "mlp_activations",
    "network_forecast",
    "phase_forecast",
    "random_subspace_fuv",
    "reconstruction_score",
    "simulate",
    "solve",
    "summary",
    "train_mlp_classifier",
]

CITATION_KEYS = ("schneider2024",)
#: The problems of this system; each has a Theory and a Simulation of the same stem.
MODELS = ("FeatureModel", "LogisticModel", "DeepLinearModel", "TwoLayerModel")

_HOME = {
    "Alarm": "report",
    "DEFAULT_RELATIVE_RIDGES": "instrument",
    "FLOOR_RELATIVE_RIDGE": "instrument",
    "FoldMoments": "instrument",
    "ForecastDisplay": "display",
    "MLPTrainer": "trainer",
    "MonitorDisplay": "display",
    "PhaseDetector": "detector",
    "PhaseMonitor": "monitor",
    "PhaseReport": "report",
    "ProbeScore": "instrument",
    "ReconstructionScore": "instrument",
    "TorchWatcher": "torch",
    "checkpoint_steps": "trainer",
    "mlp_activations": "adapters",
    "reconstruction_score": "instrument",
    "train_mlp_classifier": "adapters",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.phases.{_HOME[name]}"), name)
    if name in ("callbacks", "torch"):
        return importlib.import_module(f"retemper.phases.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "MODELS", "callbacks", "torch"])
