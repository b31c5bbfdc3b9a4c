"""What can serve as a pretrained model: coefficients, a fitted estimator, a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._validation import FloatArray, as_float_array, check_entries

#: Fourth powers of labels and of predictions must not overflow.
LARGEST = 1e60


def check_size(array: FloatArray, name: str) -> None:
    """Refuse NaN, infinite and huge entries, naming the first.

    Parameters
    ----------
    array : ndarray
        Data.
    name : str
        The argument, for the message.

    Raises
    ------
    ValueError
        If an entry is NaN or beyond 1e60 in size.
    """
    check_entries(array, name, largest=LARGEST)


@dataclasses.dataclass(frozen=True)
class Source:
    """A pretrained predictor of k outputs: linear, or a function of the rows.

    Attributes
    ----------
    name : str
        The argument it came from, for messages.
    coef : ndarray of shape (k, d) or None
        Slopes; None for a function.
    intercept : ndarray of shape (k,)
        Offsets; zeros for a function.
    function : callable or None
        Maps rows (m, d) to predictions (m,) or (m, k).
    """

    name: str
    coef: FloatArray | None
    intercept: FloatArray
    function: Callable[[FloatArray], ArrayLike] | None = None

    def predict(self, X: FloatArray, given: Any = None) -> FloatArray:
        """Predictions of shape (m, k).

        Parameters
        ----------
        X : ndarray of shape (m, d)
            Rows.
        given : data frame or None, default=None
            The rows as the user passed them, if with column names: a function sees these.

        Returns
        -------
        ndarray of shape (m, k)
            Predictions.

        Raises
        ------
        ValueError
            If the function returns another shape, or entries that are not finite.
        """
        label = f"{self.name}(X)"
        if self.coef is not None:
            linear: FloatArray = X @ self.coef.T + self.intercept
            check_size(linear, label)
            return linear
        assert self.function is not None
        value = as_float_array(self.function(X if given is None else given), label, ndim=(1, 2))
        shape = (len(X), len(self.intercept))
        if value.shape not in (shape, shape[:1] if shape[1] == 1 else shape):
            raise ValueError(f"{label} must have shape {shape}, got {value.shape}")
        check_size(value, label)
        return value.reshape(shape)


def resolve_source(source: Any, n_features: int, n_outputs: int, name: str = "source") -> Source:
    """Read a source.

    Parameters
    ----------
    source : array_like, estimator or callable
        Coefficients of shape (d,) or (k, d); a fitted linear estimator with ``coef_``; any other
        fitted estimator with ``predict``; a function of the rows.
    n_features, n_outputs : int
        d and k.
    name : str, default="source"
        The argument, for messages.

    Returns
    -------
    Source
        The predictor.

    Raises
    ------
    ValueError
        If shapes do not fit, or entries are not finite.
    TypeError
        If it is none of these.
    NotFittedError
        If it is an estimator that was not fitted.
    """
    shape = (n_outputs, n_features)
    zeros = np.zeros(n_outputs)
    if isinstance(source, type):
        raise TypeError(f"{name} is the class {source.__name__}; pass a fitted instance of it")
    if hasattr(source, "fit") or hasattr(source, "coef_"):
        if hasattr(source, "fit"):
            from sklearn.utils.validation import check_is_fitted

            check_is_fitted(source, msg=f"{name} is not fitted: call fit on %(name)s first")
        if hasattr(source, "coef_") and getattr(source, "source_function_", None) is None:
            coef = _coefficients(source.coef_, shape, f"{name}.coef_")
            offset = as_float_array(
                getattr(source, "intercept_", 0.0), f"{name}.intercept_", ndim=(0, 1)
            )
            if offset.size not in (1, n_outputs):
                raise ValueError(
                    f"{name}.intercept_ must have {n_outputs} entries, got {offset.size}"
                )
            return Source(name, coef, zeros + offset)
    predict = getattr(source, "predict", None) or (source if callable(source) else None)
    if predict is not None:
        return Source(name, None, zeros, predict)
    if isinstance(source, str | bytes | dict | set) or source is None:
        raise TypeError(
            f"{name} must be coefficients, a fitted estimator or a function of the rows, "
            f"got {source!r}"
        )
    return Source(name, _coefficients(source, shape, name), zeros)


def _coefficients(value: Any, shape: tuple[int, int], name: str) -> FloatArray:
    coef = as_float_array(value, name, ndim=(1, 2))
    if coef.shape != shape and (coef.shape != shape[1:] or shape[0] != 1):
        wanted = f"{shape[1:]} or {shape}" if shape[0] == 1 else f"{shape}"
        raise ValueError(
            f"{name} must have shape {wanted} to fit the data, got {coef.shape}; predictions are "
            f"passed as a function of the rows"
        )
    check_entries(coef, name)
    return coef.reshape(shape)


def name_sources(sources: Any) -> dict[str, Any]:
    """Sources by name, from any of the ways to pass them.

    Parameters
    ----------
    sources : None, dict, list, array_like, estimator or callable
        As `LinearTransferReport` takes them.

    Returns
    -------
    dict of str to object
        Sources in order; unnamed ones are called "source 0", "source 1", ...

    Raises
    ------
    ValueError
        If two names are equal as text.
    """
    if sources is None:
        return {}
    if isinstance(sources, dict):
        named = {str(name): source for name, source in sources.items()}
        if len(named) != len(sources):
            raise ValueError(f"sources has names that are equal as text: {list(sources)}")
        return named
    numbers_alone = isinstance(sources, list | tuple) and all(isinstance(s, Real) for s in sources)
    several = isinstance(sources, list | tuple) and not numbers_alone
    if several or (isinstance(sources, np.ndarray) and sources.ndim > 1):
        return {f"source {j}": source for j, source in enumerate(sources)}
    return {"source 0": sources}
