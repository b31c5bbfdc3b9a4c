"""Pickles that carry the version of retemper, checked when they are read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from retemper._version import __version__
from retemper.exceptions import VersionWarning

__all__ = ["Versioned"]

_KEY = "_retemper_version"


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


class Versioned:
    """Base of what users keep in files: fitted estimators and results."""

    #: Attributes that pickles of older versions lack, each from the rest of the object.
    _later: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state = {} if state is None else state
        assert isinstance(state, dict)  # no slots here
        return {**state, _KEY: __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop(_KEY, "unknown")
        if _minor(version) != _minor(__version__):
            warnings.warn(
                f"this {type(self).__name__} was pickled by retemper {version} and is read by "
                f"{__version__}: attributes may have changed; fit it again if it misbehaves",
                VersionWarning,
                stacklevel=2,
            )
        above = getattr(super(), "__setstate__", None)
        if above is not None:
            above(state)
        else:
            self.__dict__.update(state)
        for name, found in self._later.items():
            if name not in state:
                self.__dict__[name] = found(self)
