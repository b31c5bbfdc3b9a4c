"""Margin perceptron: pre-training on unlabelled rows, fine-tuning on few labels.

Conventions. Weights have ``|w|**2 = n_features`` and act on standardised features; fields are
``h = x @ w / sqrt(n_features)``. ``alpha_u`` and ``alpha_l`` count unlabelled and labelled rows per
feature; ``kappa`` is the margin in standard deviations of a feature, ``sigma`` its softness. Free
entropies are in nats per feature, relative to rows without structure and fair-coin labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retemper.perceptron._simulate import (
    PerceptronSimulation,
    SampledRows,
    compare,
    sample_rows,
    simulate,
)
from retemper.perceptron._simulate_glm import GLMRows, GLMSimulation
from retemper.perceptron.channel import ChannelScore, channel_score
from retemper.perceptron.covariates import Covariates
from retemper.perceptron.errors import SignError, generalization_error, sign_error
from retemper.perceptron.glm import GLMBranch, GLMModel, GLMTheory
from retemper.perceptron.likelihood import Channel
from retemper.perceptron.model import PerceptronModel
from retemper.perceptron.passing import MessagePassing, message_passing
from retemper.perceptron.saddle import ERMModel
from retemper.perceptron.sizes import FiniteSize, finite_size
from retemper.perceptron.theory import (
    OverlapPath,
    PerceptronBranch,
    PerceptronTheory,
    curve,
    solve,
    state_evolution,
)
from retemper.perceptron.thresholds import (
    CriticalPoint,
    ParametricCurve,
    Transitions,
    critical_line,
    labels_to_leave,
    parametric_curve,
    phase_diagram,
    transitions,
)
from retemper.perceptron.weight_prior import Prior

if TYPE_CHECKING:
    from retemper.perceptron.display import PhaseDiagramDisplay, TransitionDisplay
    from retemper.perceptron.estimators import MarginPerceptronClassifier, PerceptronReport

__all__ = [
    "Channel",
    "ChannelScore",
    "Covariates",
    "CriticalPoint",
    "ERMModel",
    "FiniteSize",
    "GLMBranch",
    "GLMModel",
    "GLMRows",
    "GLMSimulation",
    "GLMTheory",
    "MarginPerceptronClassifier",
    "MessagePassing",
    "OverlapPath",
    "ParametricCurve",
    "PerceptronBranch",
    "PerceptronModel",
    "PerceptronReport",
    "PerceptronSimulation",
    "PerceptronTheory",
    "PhaseDiagramDisplay",
    "Prior",
    "SampledRows",
    "SignError",
    "TransitionDisplay",
    "Transitions",
    "channel_score",
    "compare",
    "critical_line",
    "curve",
    "finite_size",
    "generalization_error",
    "labels_to_leave",
    "message_passing",
    "parametric_curve",
    "phase_diagram",
    "sample_rows",
    "sign_error",
    "simulate",
    "solve",
    "state_evolution",
    "transitions",
]

CITATION_KEYS = ("ohzeki2015", "barbier2019")

_LAZY = {
    "MarginPerceptronClassifier": "estimators",
    "PerceptronReport": "estimators",
    "PhaseDiagramDisplay": "display",
    "TransitionDisplay": "display",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f"retemper.perceptron.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'retemper.perceptron' has no attribute {name!r}")
