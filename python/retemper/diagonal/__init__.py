"""Diagonal linear networks: how pre-training shapes the inductive bias of fine-tuning.

The network is ``f(x) = beta @ x`` with ``beta = w+ * v+ - w- * v-``, trained by gradient flow on
the squared loss. Fine-tuning minimises a separable penalty ``sum q(beta_d; c_d)`` over the
interpolators, and all that pre-training and initialisation do is to set one positive scale
``c_d`` per feature: large is ridge-like and cheap, small is lasso-like and dear.

Conventions: D features, ``alpha = n / D``; the theory takes designs with independent N(0, 1/D)
entries, so that ``mse``, the mean of ``(fine-tuned - target)**2`` over coefficients, is the excess
test error, or rows of any ``spectrum`` with eigenvectors at random, where the two differ. ``noise``
and ``noise_pt`` are standard deviations. ``c`` is the absolute scale ``w**2 + v**2`` of a pathway,
``balance`` the relative one ``(w**2 - v**2) / c``; ``readout_scale`` is gamma with ``v+**2 + v-**2
= gamma**2``. Setting of Anguita et al. (arXiv:2602.20062), of which only public summaries and the
published experiment code could be read; all formulas are derived here
(`derivations/diagonal#what-the-flow-keeps`) and checked against simulation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retemper.diagonal._recommend import Recommendation, recommend
from retemper.diagonal._simulate import DiagonalSimulation, compare, simulate
from retemper.diagonal.channel import ScalarChannel, channel_estimate, pretraining_channel
from retemper.diagonal.density import CoefficientLaw, laplace_law, student_law
from retemper.diagonal.flow import FlowPath, gradient_flow
from retemper.diagonal.flow_experiment import FlowSimulation, compare_flow, simulate_flow
from retemper.diagonal.flow_theory import FlowTheory, solve_flow
from retemper.diagonal.interpolate import MinimumPenalty, leave_one_out, minimum_penalty
from retemper.diagonal.margin_experiment import MarginSimulation, compare_margin, simulate_margin
from retemper.diagonal.margin_theory import MarginTheory, solve_margin
from retemper.diagonal.margins import MaximumMargin, maximum_margin
from retemper.diagonal.model import Component, DiagonalModel, laplace_components
from retemper.diagonal.network import (
    Descent,
    EffectiveScale,
    NetworkWeights,
    effective_scale,
    pretrained_weights,
    reset_readout,
    squared_network_scale,
    train_network,
)
from retemper.diagonal.paths import DiagonalPath
from retemper.diagonal.penalties import l_order, marginal_order, penalty
from retemper.diagonal.population import learning_time, population_path
from retemper.diagonal.probe import RegimeProbe, probe_regime
from retemper.diagonal.regimes import pretraining_dependence, regime_label, regime_weights
from retemper.diagonal.scales import finetune_centre, finetune_scale, scale_elasticity
from retemper.diagonal.stochastic import stochastic_scale
from retemper.diagonal.theory import DiagonalTheory, curve, solve

CITATION_KEYS = ("anguita2026",)

if TYPE_CHECKING:
    from retemper.diagonal.display import (
        BestStartDisplay,
        ErrorCurveDisplay,
        LearningOrderDisplay,
        RegimeMapDisplay,
        RegimeTriangleDisplay,
    )
    from retemper.diagonal.estimator import DiagonalNetworkRegressor

__all__ = [
    "BestStartDisplay",
    "CoefficientLaw",
    "Component",
    "Descent",
    "DiagonalModel",
    "DiagonalNetworkRegressor",
    "DiagonalPath",
    "DiagonalSimulation",
    "DiagonalTheory",
    "EffectiveScale",
    "ErrorCurveDisplay",
    "FlowPath",
    "FlowSimulation",
    "FlowTheory",
    "LearningOrderDisplay",
    "MarginSimulation",
    "MarginTheory",
    "MaximumMargin",
    "MinimumPenalty",
    "NetworkWeights",
    "Recommendation",
    "RegimeMapDisplay",
    "RegimeProbe",
    "RegimeTriangleDisplay",
    "ScalarChannel",
    "channel_estimate",
    "compare",
    "compare_flow",
    "compare_margin",
    "curve",
    "effective_scale",
    "finetune_centre",
    "finetune_scale",
    "gradient_flow",
    "l_order",
    "laplace_components",
    "laplace_law",
    "learning_time",
    "leave_one_out",
    "marginal_order",
    "maximum_margin",
    "minimum_penalty",
    "penalty",
    "population_path",
    "pretrained_weights",
    "pretraining_channel",
    "pretraining_dependence",
    "probe_regime",
    "recommend",
    "regime_label",
    "regime_weights",
    "reset_readout",
    "scale_elasticity",
    "simulate",
    "simulate_flow",
    "simulate_margin",
    "solve",
    "solve_flow",
    "solve_margin",
    "squared_network_scale",
    "stochastic_scale",
    "student_law",
    "train_network",
]

_LAZY = {
    "BestStartDisplay": "display",
    "ErrorCurveDisplay": "display",
    "LearningOrderDisplay": "display",
    "RegimeMapDisplay": "display",
    "RegimeTriangleDisplay": "display",
    "DiagonalNetworkRegressor": "estimator",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"retemper.diagonal.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'retemper.diagonal' has no attribute {name!r}")
