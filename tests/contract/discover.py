"""Finds what exists, so that a new system, function or estimator cannot be forgotten."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import retemper

PACKAGE = Path(retemper.__file__).parent
ROOT = Path(__file__).resolve().parents[2]


def sources() -> list[Path]:
    """Every file of the package; the scripts of the gallery are examples, installed or not."""
    return sorted(f for f in PACKAGE.rglob("*.py") if "examples" not in f.parts)


def systems() -> list[str]:
    """Subpackages that study a thing: folders with a model."""
    return sorted(folder.parent.name for folder in PACKAGE.glob("*/model.py"))


def public_modules() -> list[ModuleType]:
    """Public subpackages and modules of the package."""
    names = [m.name for m in pkgutil.iter_modules([str(PACKAGE)]) if not m.name.startswith("_")]
    return [importlib.import_module(f"retemper.{name}") for name in names]


def public_objects() -> dict[str, object]:
    """Every public class and function, by its shortest public name."""
    found: dict[str, object] = {}
    for module in [retemper, *public_modules()]:
        for name in getattr(module, "__all__", []):
            item = getattr(module, name)
            if inspect.isclass(item) or inspect.isfunction(item):
                found.setdefault(f"{module.__name__}.{name}", item)
    home = {id(v): k for k, v in reversed(found.items())}
    return {k: v for k, v in found.items() if home[id(v)] == k}


def estimators() -> dict[str, type]:
    """Every public scikit-learn estimator."""
    from sklearn.base import BaseEstimator

    return {
        name: getattr(retemper.estimators, name)
        for name in retemper.estimators.__all__
        if issubclass(getattr(retemper.estimators, name), BaseEstimator)
    }
