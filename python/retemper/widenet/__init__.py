"""Bayesian networks with one hidden layer of finite width, source and target coupled by gamma.

Conventions: ``f(x) = sum_i v_i s(w_i . x / sqrt(n_features)) / sqrt(width)``; ``lam0`` and ``lam1``
are prior precisions of first layer and read-out, ``temperature_source`` and ``temperature_target``
the variances of the label noise, and ``gamma`` the precision of the pull of the target's first
layer towards the source's, so that 0 is training from scratch and infinity is frozen features. With
``coupling="elastic"`` both layers pull each other, and at infinity they are one layer.
Errors are mean squared errors of the noiseless labels, summed over outputs. Inputs are used as
they are: scale them so that ``|x|^2 / n_features`` is about one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retemper.widenet._simulate import WideNetSimulation, compare, simulate
from retemper.widenet.display import GammaPathDisplay
from retemper.widenet.given import KernelTasks
from retemper.widenet.kernels import nngp_kernel
from retemper.widenet.model import WideNetModel
from retemper.widenet.path import GammaPath, gamma_path
from retemper.widenet.several import SeveralSources
from retemper.widenet.theory import WideNetTheory, curve, solve
from retemper.widenet.verdict import TransferVerdict, transfer_verdict

if TYPE_CHECKING:
    from retemper.widenet.estimators import (
        FranzParisiClassifier,
        FranzParisiRegressor,
        WideNetRegressor,
    )

__all__ = [
    "FranzParisiClassifier",
    "FranzParisiRegressor",
    "GammaPath",
    "GammaPathDisplay",
    "KernelTasks",
    "SeveralSources",
    "TransferVerdict",
    "WideNetModel",
    "WideNetRegressor",
    "WideNetSimulation",
    "WideNetTheory",
    "compare",
    "curve",
    "gamma_path",
    "nngp_kernel",
    "simulate",
    "solve",
    "transfer_verdict",
]

#: Models of this system, where the name of the folder does not give it.
MODELS = ("WideNetModel",)

CITATION_KEYS = ("ingrosso2025", "pacelli2023", "lauditi2025")

#: Loaded on first use: they need scikit-learn.
_ESTIMATORS = frozenset({"FranzParisiClassifier", "FranzParisiRegressor", "WideNetRegressor"})


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(importlib.import_module("retemper.widenet.estimators"), name)
    raise AttributeError(f"module 'retemper.widenet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
