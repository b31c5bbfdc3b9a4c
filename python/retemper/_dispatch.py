"""Loads the compiled core at the best level for this processor; ``RETEMPER_LEVEL`` overrides it.

The arithmetic is in one shared library per instruction-set level, ``_levels/<level>``, all of the
same name. The extension module ``retemper._core`` asks the system for a library of that name, and
gets the one that is loaded here first.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retemper import _core as core

__all__ = ["available_levels", "core"]

_ORDER = ("v2", "v3", "v4")
_FOLDER = Path(__file__).with_name("_levels")
_MISSING = (
    "the compiled core of retemper is missing: build it with `pip install .` "
    "or `cmake --preset dev && cmake --build --preset dev`"
)


def _built_libraries() -> dict[str, Path]:
    """Shared library of every level that is built."""
    names = ("libretemper.so", "libretemper.dylib", "retemper.dll")
    paths = ((level, _FOLDER / level / name) for level in (*_ORDER, "base") for name in names)
    return {level: path for level, path in paths if path.exists()}


def _wrong_interpreter(module: str) -> str:
    """Why a compiled module is not found: it was built for other interpreters, or not at all."""
    files = sorted(p.name for p in Path(__file__).parent.glob(f"{module}.*"))
    built = [name.split(".")[1] for name in files if name.endswith((".so", ".pyd"))]
    if not built:
        return _MISSING
    mine = importlib.machinery.EXTENSION_SUFFIXES[0].split(".")[1]
    return (
        f"the compiled core of retemper was built for {', '.join(built)}, and this interpreter is "
        f"{mine} ({sys.executable}): install retemper with it, or run the other one"
    )


def available_levels() -> list[str]:
    """Instruction-set levels that are built and that this processor can run, best first."""
    try:
        from retemper._cpu import level
    except ModuleNotFoundError as error:
        raise ImportError(_wrong_interpreter("_cpu")) from error

    best, built = level(), _built_libraries()
    runs = _ORDER[_ORDER.index(best) :: -1] if best in _ORDER else (best,)
    return [name for name in runs if name in built]


def _load():  # type: ignore[no-untyped-def]
    built = _built_libraries()
    if not built:
        raise ImportError(_MISSING)
    names = available_levels()
    if not names:
        from retemper._cpu import level

        raise ImportError(
            f"retemper was compiled for {', '.join(built)}, and this processor runs {level()} at "
            "most: install it on this machine, or build it with RETEMPER_LEVELS=all"
        )
    want = os.environ.get("RETEMPER_LEVEL") or names[0]
    if want not in names:
        raise ImportError(f"RETEMPER_LEVEL={want!r} is not available here; choose from {names}")
    ctypes.CDLL(str(built[want]))
    module = importlib.import_module("retemper._core")
    if module.__file__ is None:  # the folder of its stubs, for want of the module
        raise ImportError(_wrong_interpreter("_core"))
    if getattr(module, "level", None) != want:
        raise ImportError(f"level {want} was asked for, and {module} was loaded instead")
    return module


if not TYPE_CHECKING:
    core = _load()
