"""retemper: theory of pre-training and fine-tuning that people can run.

``import retemper`` loads numpy and the compiled core alone; every subpackage is loaded on first
use.

=====================  ===========================================================================
`retemper.diagonal`    diagonal linear networks: regimes of fine-tuning
`retemper.linear`      linear teachers, deep linear and shallow ReLU fine-tuning
`retemper.perceptron`  margin perceptron: pre-training on unlabelled rows, few labels
`retemper.phases`      learning phases: when training starts to destroy what transfers
`retemper.widenet`     Bayesian networks of finite width, source and target coupled
`retemper.networks`    PyTorch modules: features, fine-tuning kernels
`retemper.numerics`    quadrature, special functions and averages the systems stand on
=====================  ===========================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retemper import _dispatch as _dispatch  # a missing core fails here, not later
from retemper._version import __version__

if TYPE_CHECKING:
    from retemper import (
        advisor,
        agreement,
        datasets,
        diagonal,
        estimators,
        exceptions,
        gallery,
        linear,
        networks,
        numerics,
        perceptron,
        phases,
        widenet,
    )
    from retemper._citations import citation
    from retemper._derivatives import derivatives
    from retemper._versions import show_versions
    from retemper.advisor import advise
    from retemper.agreement import compare
    from retemper.sweeps import sweep

__all__ = [
    "__version__",
    "advise",
    "advisor",
    "agreement",
    "citation",
    "compare",
    "datasets",
    "derivatives",
    "diagonal",
    "estimators",
    "exceptions",
    "gallery",
    "linear",
    "networks",
    "numerics",
    "perceptron",
    "phases",
    "show_versions",
    "sweep",
    "widenet",
]

_ATTRIBUTES = {
    "advise": "advisor",
    "citation": "_citations",
    "compare": "agreement",
    "derivatives": "_derivatives",
    "show_versions": "_versions",
    "sweep": "sweeps",
}
_MODULES = frozenset(
    {
        "advisor",
        "agreement",
        "datasets",
        "diagonal",
        "estimators",
        "exceptions",
        "gallery",
        "linear",
        "networks",
        "numerics",
        "perceptron",
        "phases",
        "widenet",
    }
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"retemper.{name}")
    if name in _ATTRIBUTES:
        return getattr(importlib.import_module(f"retemper.{_ATTRIBUTES[name]}"), name)
    raise AttributeError(f"module 'retemper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
