"""Small data for examples, and readers of files that a user has; nothing is downloaded."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retemper.datasets.digits import DigitsTask, digits_task, split_rows
    from retemper.datasets.files import binary_task, read_cifar, read_cifar_python, read_idx
    from retemper.datasets.image_tasks import ImageTask, coloured_digits, noisy_digits
    from retemper.datasets.models import read_model, write_model
    from retemper.datasets.tables import read_table

__all__ = [
    "DigitsTask",
    "ImageTask",
    "binary_task",
    "coloured_digits",
    "digits_task",
    "noisy_digits",
    "read_cifar",
    "read_cifar_python",
    "read_idx",
    "read_model",
    "read_table",
    "split_rows",
    "write_model",
]

#: Loaded on first use, by file.
_HOME = {
    "DigitsTask": "digits",
    "ImageTask": "image_tasks",
    "binary_task": "files",
    "coloured_digits": "image_tasks",
    "digits_task": "digits",
    "noisy_digits": "image_tasks",
    "read_cifar": "files",
    "read_cifar_python": "files",
    "read_idx": "files",
    "read_model": "models",
    "read_table": "tables",
    "split_rows": "digits",
    "write_model": "models",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"retemper.datasets.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
