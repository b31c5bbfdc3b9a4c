"""A plugin of pytest that says which functions of the core a run has called, by name.

    python -m pytest -p tests.contract.reached tests/core

A function that no test of a run under a sanitizer calls has not been checked by it.
``REACHED_THREADS=3`` in the environment gives every call that takes threads so many, whatever its
test asked for: results do not depend on it.
"""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable
from typing import Any

from retemper._dispatch import core

#: Calls of every function of the core, by its name.
CALLS: dict[str, int] = {}
#: Threads of every call, or None.
THREADS = int(os.environ.get("REACHED_THREADS", "0")) or None


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, counted."""
    CALLS[name] = 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        CALLS[name] += 1
        if THREADS and "n_threads" in kwargs:
            kwargs["n_threads"] = THREADS
        return function(*args, **kwargs)

    return call


def watch(module: types.ModuleType, prefix: str = "") -> None:
    """Count the calls of every function of a module of the core, and of its modules."""
    for name, item in list(vars(module).items()):
        if isinstance(item, types.ModuleType) and item.__name__.startswith(module.__name__):
            watch(item, f"{prefix}{name}.")
        elif isinstance(item, types.BuiltinFunctionType) and not name.startswith("_"):
            setattr(module, name, counted(prefix + name, item))


watch(core)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say it at the end."""
    never = sorted(name for name, calls in CALLS.items() if not calls)
    terminalreporter.write_line(
        f"functions of the core called: {len(CALLS) - len(never)} of {len(CALLS)}"
        + (f"; never: {', '.join(never)}" if never else "")
    )
