r"""Exact curves of reconstruction during training, before any training is done.

A layer's activations h are judged by the best affine decoder back to the inputs: the fraction of
unexplained variance (FUV) is :math:`1 - C/\operatorname{tr}\Sigma`, with C the variance explained.
Everything here is derived here (`derivations/phases#one-layer`); the phases themselves are the
observation of Schneider and Prabhushankar (2024).
"""

from retemper.phases.theory._solve import curve, solve
from retemper.phases.theory.deep import DeepLinearTheory
from retemper.phases.theory.features import FeatureTheory, PhaseSummary, summary
from retemper.phases.theory.forecast import PhaseForecast, phase_forecast
from retemper.phases.theory.layer import linear_network_fuv, random_subspace_fuv
from retemper.phases.theory.logistic import LogisticTheory
from retemper.phases.theory.tangent import NetworkForecast, network_forecast
from retemper.phases.theory.two_layer import TwoLayerTheory

__all__ = [
    "DeepLinearTheory",
    "FeatureTheory",
    "LogisticTheory",
    "NetworkForecast",
    "PhaseForecast",
    "PhaseSummary",
    "TwoLayerTheory",
    "curve",
    "linear_network_fuv",
    "network_forecast",
    "phase_forecast",
    "random_subspace_fuv",
    "solve",
    "summary",
]
