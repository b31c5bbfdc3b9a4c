"""Linear teachers.

Fine-tuning of linear predictors, deep linear networks and shallow ReLU networks from a pretrained
source. Conventions: inputs are rows, labels are ``y = theta @ x + noise * standard normal``, risks
are excess risks (no factor one half, label noise not counted) summed over outputs, and ``ridge`` is
per sample.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retemper.linear._simulate import LinearSimulation, compare, simulate
from retemper.linear.columns import hidden_columns_model
from retemper.linear.deep.descent import FactorDescent, balanced_factors, factor_descent
from retemper.linear.deep.fit import DeepFit, deep_fit
from retemper.linear.deep.flow import DeepFlow, deep_flow, shared_trunk_flow
from retemper.linear.deep.trunk import SharedTrunkRisk, shared_trunk_risk
from retemper.linear.display import (
    SimulatedGains,
    TransferPhaseDisplay,
)
from retemper.linear.mixture import mixture_model
from retemper.linear.model import LinearModel
from retemper.linear.relu.kernel import ReLUBound, relu_bound, relu_ntk, relu_risk
from retemper.linear.relu.network import (
    ReLUNetworkFit,
    relu_network_fit,
    relu_network_init,
    relu_network_kernel,
    relu_network_predict,
)
from retemper.linear.ridge.display import LearningCurveDisplay, TransferReportDisplay
from retemper.linear.sources import LinearSource
from retemper.linear.spectral import EffectiveRidge, effective_ridge
from retemper.linear.stochastic import largest_step_size
from retemper.linear.theory import LinearTheory, curve, solve
from retemper.linear.transfer import ProbeRisk, deep_scale, probe_risk, transfer_boundary

if TYPE_CHECKING:
    from retemper.linear.lasso import FineTunedLasso
    from retemper.linear.logistic.estimator import FineTunedLogisticRegression
    from retemper.linear.relu.estimator import FineTunedReLURegressor
    from retemper.linear.ridge.estimator import FineTunedLinearRegression
    from retemper.linear.ridge.report import LinearTransferReport

__all__ = [
    "DeepFit",
    "DeepFlow",
    "EffectiveRidge",
    "FactorDescent",
    "FineTunedLasso",
    "FineTunedLinearRegression",
    "FineTunedLogisticRegression",
    "FineTunedReLURegressor",
    "LearningCurveDisplay",
    "LinearModel",
    "LinearSimulation",
    "LinearSource",
    "LinearTheory",
    "LinearTransferReport",
    "ProbeRisk",
    "ReLUBound",
    "ReLUNetworkFit",
    "SharedTrunkRisk",
    "SimulatedGains",
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
    "hidden_columns_model",
    "largest_step_size",
    "mixture_model",
    "probe_risk",
    "relu_bound",
    "relu_network_fit",
    "relu_network_init",
    "relu_network_kernel",
    "relu_network_predict",
    "relu_ntk",
    "relu_risk",
    "shared_trunk_flow",
    "shared_trunk_risk",
    "simulate",
    "solve",
    "transfer_boundary",
]

CITATION_KEYS = ("shachaf2021", "hastie2022")

#: Loaded on first use: they need scikit-learn.
_ESTIMATORS = {
    "FineTunedLasso": "lasso",
    "FineTunedLinearRegression": "ridge.estimator",
    "FineTunedLogisticRegression": "logistic.estimator",
    "FineTunedReLURegressor": "relu.estimator",
    "LinearTransferReport": "ridge.report",
}


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(importlib.import_module(f"retemper.linear.{_ESTIMATORS[name]}"), name)
    raise AttributeError(f"module 'retemper.linear' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
