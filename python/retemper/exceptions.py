"""Errors and warnings of retemper."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConvergenceWarning",
    "NotFittedError",  # noqa: F822  scikit-learn's own, see __getattr__
    "NumericalError",
    "ValidityWarning",
    "VersionWarning",
]


class NumericalError(ArithmeticError):
    """Arithmetic broke: a matrix is not positive definite, a value overflowed or is NaN."""


class ConvergenceWarning(UserWarning):
    """An iteration stopped before its tolerance; the result carries the residual."""


class ValidityWarning(UserWarning):
    """The result lies outside the range in which the theory behind it holds."""


class VersionWarning(UserWarning):
    """A pickle was written by another minor version of retemper."""


def __getattr__(name: str) -> Any:
    if name == "NotFittedError":  # scikit-learn's own, loaded on use
        from sklearn.exceptions import NotFittedError

        return NotFittedError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
