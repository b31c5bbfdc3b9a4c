"""Linear teachers.

Fine-tuning of linear predictors, deep linear networks and shallow ReLU networks from a pretrained
source. Conventions: inputs are rows, labels are ``y = theta @ x + noise * standard normal``, risks
are excess risks (no factor one half, label noise not counted) summed over outputs, and ``ridge`` is
per sample.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retemper.linear.deep import (
    DeepFit,
    DeepFlow,
    FactorDescent,
    balanced_factors,
    deep_fit,
    deep_flow,
    factor_descent,
    shared_trunk_flow,
)
from retemper.linear.display import (
    DepthDisplay,
    LearningCurveDisplay,
    RiskCurveDisplay,
    TransferPhaseDisplay,
    TransferReportDisplay,
)
from retemper.linear.model import LinearModel
from retemper.linear.relu import (
    ReLUBound,
    ReLUNetworkFit,
    relu_bound,
    relu_network_fit,
    relu_network_init,
    relu_network_kernel,
    relu_network_predict,
    relu_ntk,
    relu_risk,
)
from retemper.linear.simulate import LinearSimulation, compare, simulate
from retemper.linear.theory import (
    EffectiveRidge,
    LinearTheory,
    ProbeRisk,
    curve,
    deep_scale,
    effective_ridge,
    probe_risk,
    solve,
    transfer_boundary,
)

if TYPE_CHECKING:
    from retemper.linear.anchored import FineTunedLasso, FineTunedLogisticRegression
    from retemper.linear.estimators import (
        FineTunedLinearRegression,
        FineTunedReLURegressor,
        LinearTransferReport,
    )

__all__ = [
    "DeepFit",
    "DeepFlow",
    "DepthDisplay",
    "EffectiveRidge",
    "FactorDescent",
    "FineTunedLasso",
    "FineTunedLinearRegression",
    "FineTunedLogisticRegression",
    "FineTunedReLURegressor",
    "LearningCurveDisplay",
    "LinearModel",
    "LinearSimulation",
    "LinearTheory",
    "LinearTransferReport",
    "ProbeRisk",
    "ReLUBound",
    "ReLUNetworkFit",
    "RiskCurveDisplay",
    "TransferPhaseDisplay",
    "TransferReportDisplay",
    "balanced_factors",
    "compare",
    "curve",
    "deep_fit",
    "deep_flow",
    "deep_scale",
    "effective_ridge",
    "factor_descent",
    "probe_risk",
    "relu_bound",
    "relu_network_fit",
    "relu_network_init",
    "relu_network_kernel",
    "relu_network_predict",
    "relu_ntk",
    "relu_risk",
    "shared_trunk_flow",
    "simulate",
    "solve",
    "transfer_boundary",
]

CITATION_KEYS = ("shachaf2021", "hastie2022")

#: Loaded on first use: they need scikit-learn.
_ESTIMATORS = {
    "FineTunedLasso": "anchored",
    "FineTunedLinearRegression": "estimators",
    "FineTunedLogisticRegression": "anchored",
    "FineTunedReLURegressor": "estimators",
    "LinearTransferReport": "estimators",
}


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(importlib.import_module(f"retemper.linear.{_ESTIMATORS[name]}"), name)
    raise AttributeError(f"module 'retemper.linear' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
