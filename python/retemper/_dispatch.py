"""Picks the compiled core of this processor; ``RETEMPER_LEVEL`` overrides the choice."""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retemper import _core as core

__all__ = ["available_levels", "core"]

_ORDER = ("v2", "v3", "v4")


def available_levels() -> list[str]:
    """Instruction-set levels that are built and that this processor can run, best first."""
    try:
        from retemper._cpu import level
    except ImportError:
        runs: tuple[str, ...] = ("base",)
    else:
        runs = _ORDER[_ORDER.index(level()) :: -1]
    return [name for name in runs if find_spec(f"retemper._core_{name}") is not None]


def _load():  # type: ignore[no-untyped-def]
    names = available_levels()
    want = os.environ.get("RETEMPER_LEVEL")
    if want and want not in names:
        raise ImportError(f"RETEMPER_LEVEL={want!r} is not available here; choose from {names}")
    if not names:
        raise ImportError(
            "the compiled core of retemper is missing: build it with `pip install .` "
            "or `cmake --preset dev && cmake --build --preset dev`"
        )
    return importlib.import_module(f"retemper._core_{want or names[0]}")


if not TYPE_CHECKING:
    core = _load()
