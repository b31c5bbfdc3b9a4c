r"""Networks that people fine-tune: features, fine-tuning kernels and what they predict.

Needs the extra ``retemper[torch]``; nothing heavy is loaded before a function is called.

A body :math:`\phi_w` gives h features; fine-tuning puts a new read-out r of scale s on them. Full
fine-tuning, linearised at the pre-trained weights, is regression with the kernel :math:`K_\phi +
s^2 K_\nabla` of the features and of the gradients of :math:`r \cdot \phi`, averaged over read-outs
with :math:`\mathbb{E}\, r r^T = 1/h` (after Jacot et al. 2018 [1]_ and Lee et al. 2019 [2]_; one
random read-out in place of h outputs as in Mohamadi et al. 2023 [3]_). The scale of the read-out,
learning rates of layers and a pull to the pre-trained weights only move the share of both kernels
and the ridge. The Gram matrix of a layer from inputs and output gradients, and the leave-one-out
formulas, are derived here (`networks#from-checkpoints-to-a-fine-tuned-network`).

References
----------
.. [1] A. Jacot, F. Gabriel, C. Hongler, "Neural Tangent Kernel: Convergence and Generalization in
   Neural Networks", NeurIPS 31 (2018).
.. [2] J. Lee et al., "Wide Neural Networks of Any Depth Evolve as Linear Models Under Gradient
   Descent", NeurIPS 32 (2019).
.. [3] M. A. Mohamadi, W. Bae, D. J. Sutherland, "A Fast, Well-Founded Approximation to the
   Empirical Neural Tangent Kernel", ICML (2023).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.networks._features import features
    from retemper.networks.advice import NetworkAdvice, advise_network
    from retemper.networks.alignment import debiased_cka
    from retemper.networks.candidates import NetworkCandidate, NetworkVerification
    from retemper.networks.checkpoints import (
        CheckpointChoice,
        choose_checkpoint,
        watch_checkpoints,
    )
    from retemper.networks.diagnosis import NetworkDiagnosis, diagnose
    from retemper.networks.estimator import FineTuningKernel
    from retemper.networks.record import LabelCurve
    from retemper.networks.regime import network_regime
    from retemper.networks.regression import KernelPath, Recipe
    from retemper.networks.tangent import TangentKernel, tangent_kernel
    from retemper.networks.training import FineTunedNetwork, fine_tune
    from retemper.networks.weights import load_weights

__all__ = [
    "CheckpointChoice",
    "FineTunedNetwork",
    "FineTuningKernel",
    "KernelPath",
    "LabelCurve",
    "NetworkAdvice",
    "NetworkCandidate",
    "NetworkDiagnosis",
    "NetworkVerification",
    "Recipe",
    "TangentKernel",
    "advise_network",
    "choose_checkpoint",
    "debiased_cka",
    "diagnose",
    "features",
    "fine_tune",
    "load_weights",
    "network_regime",
    "tangent_kernel",
    "watch_checkpoints",
]

_HOMES = {
    "CheckpointChoice": "checkpoints",
    "FineTunedNetwork": "training",
    "FineTuningKernel": "estimator",
    "KernelPath": "regression",
    "LabelCurve": "record",
    "NetworkAdvice": "advice",
    "NetworkCandidate": "candidates",
    "NetworkDiagnosis": "diagnosis",
    "NetworkVerification": "candidates",
    "Recipe": "regression",
    "TangentKernel": "tangent",
    "advise_network": "advice",
    "choose_checkpoint": "checkpoints",
    "debiased_cka": "alignment",
    "diagnose": "diagnosis",
    "features": "_features",
    "fine_tune": "training",
    "load_weights": "weights",
    "network_regime": "regime",
    "tangent_kernel": "tangent",
    "watch_checkpoints": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"retemper.networks.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'retemper.networks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
