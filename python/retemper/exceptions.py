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
    """Arithmetic broke: a matrix is not positive definite, a value overflowed or is NaN.

    See Also
    --------
    ConvergenceWarning, ValidityWarning

    Examples
    --------
    >>> from retemper.exceptions import NumericalError
    >>> from retemper.linear import LinearModel, solve
    >>> try:
    ...     solve(LinearModel(10, [1.0] * 10, noise=1.0), on_failure="raise")
    ... except NumericalError:
    ...     print("as many rows as features: the risk is infinite")
    as many rows as features: the risk is infinite
    """


class ConvergenceWarning(UserWarning):
    """An iteration stopped before its tolerance; the result carries the residual.

    See Also
    --------
    ValidityWarning, NumericalError

    Examples
    --------
    >>> import warnings
    >>> from retemper.exceptions import ConvergenceWarning
    >>> from retemper.perceptron import PerceptronModel, simulate
    >>> model = PerceptronModel(1.0, 1.0, 0.1)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     sample = simulate(model, n_features=50, n_repeats=2, max_iter=2)
    >>> caught[0].category is ConvergenceWarning
    True
    """


class ValidityWarning(UserWarning):
    """The result lies outside the range in which the theory behind it holds.

    See Also
    --------
    ConvergenceWarning, NumericalError

    Examples
    --------
    >>> import warnings
    >>> from retemper.exceptions import ValidityWarning
    >>> from retemper.linear import LinearModel, solve
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     theory = solve(LinearModel(10, [1.0] * 10, noise=1.0))
    >>> caught[0].category is ValidityWarning, theory.risk
    (True, inf)
    """


class VersionWarning(UserWarning):
    """A pickle was written by another minor version of retemper.

    See Also
    --------
    retemper.show_versions

    Examples
    --------
    >>> import warnings
    >>> from retemper.exceptions import VersionWarning
    >>> warnings.simplefilter("error", VersionWarning)  # refuse pickles of other minor versions
    >>> warnings.simplefilter("default", VersionWarning)
    """


def __getattr__(name: str) -> Any:
    if name == "NotFittedError":  # scikit-learn's own, loaded on use
        from sklearn.exceptions import NotFittedError

        return NotFittedError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
