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
    from retemper._cpu import level

    best = level()
    runs = _ORDER[_ORDER.index(best) :: -1] if best in _ORDER else (best,)
    return [name for name in runs if name in _built_levels()]


def _built_levels() -> list[str]:
    return [name for name in (*_ORDER, "base") if find_spec(f"retemper._core_{name}") is not None]


def _load():  # type: ignore[no-untyped-def]
    built = _built_levels()
    if not built:
        raise ImportError(
            "the compiled core of retemper is missing: build it with `pip install .` "
            "or `cmake --preset dev && cmake --build --preset dev`"
        )
    names = available_levels()
    if not names:
        from retemper._cpu import level

        raise ImportError(
            f"retemper was compiled for {', '.join(built)}, and this processor runs {level()} at "
            "most: install it on this machine, or build it with RETEMPER_LEVELS=all"
        )
    want = os.environ.get("RETEMPER_LEVEL")
    if want and want not in names:
        raise ImportError(f"RETEMPER_LEVEL={want!r} is not available here; choose from {names}")
    return importlib.import_module(f"retemper._core_{want or names[0]}")


if not TYPE_CHECKING:
    core = _load()
