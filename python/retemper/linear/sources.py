"""What can serve as a pretrained model: coefficients, a fitted estimator, a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def check_switch(value: Any, name: str) -> None:
    """Refuse anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_weights(sample_weight: Any, X: FloatArray) -> FloatArray:
    """Weights of the rows, of sum one.

    Parameters
    ----------
    sample_weight : None, float or array_like of shape (n,)
        As the user gave it.
    X : ndarray of shape (n, d)
        Rows.

    Returns
    -------
    ndarray of shape (n,)
        Weights.

    Raises
    ------
    ValueError
        If one is negative, NaN or infinite, or fewer than two are positive.
    """
    from sklearn.utils.validation import _check_sample_weight

    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if np.count_nonzero(weight) < 2:
        raise ValueError(
            f"sample_weight must be positive for two rows or more, got {np.count_nonzero(weight)}"
        )
    weight = weight / weight.max()
    return np.asarray(weight / weight.sum())


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


#: Probabilities of a source below this count as this when their logarithm is taken.
SMALLEST_PROBABILITY = 1e-4


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """Scores of a fitted classifier on chosen classes, as a function of the rows.

    Attributes
    ----------
    classifier : estimator
        The classifier.
    method : {"predict_proba", "decision_function"}
        What is asked of it; of probabilities the logarithm is taken.
    columns : tuple of int
        Its numbers of the classes.
    """

    classifier: Any
    method: str
    columns: tuple[int, ...]

    def __call__(self, X: Any) -> FloatArray:
        """Scores of shape (m, k), or (m, 1) of the second class against the first."""
        scores = np.asarray(getattr(self.classifier, self.method)(X), dtype=np.float64)
        if self.method == "predict_proba":
            scores = np.log(np.maximum(scores, SMALLEST_PROBABILITY))
        elif scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        if scores.shape[1] != len(self.classifier.classes_):
            raise ValueError(
                f"{self.method} of the source must give one column for every class, got shape "
                f"{scores.shape}"
            )
        scores = scores[:, list(self.columns)]
        return scores[:, 1:] - scores[:, :1] if len(self.columns) == 2 else scores


def resolve_classifier(
    source: Any, n_features: int, classes: NDArray[Any], name: str = "source"
) -> Source:
    """Read a source of logits.

    Parameters
    ----------
    source : array_like, estimator or callable
        As `resolve_source` takes it for regression on one logit (two classes: the second against
        the first) or on k of them. Rows of ``coef_``, or columns of ``predict_proba`` or else
        ``decision_function``, of a fitted classifier are matched by ``classes_``; classes that the
        target does not have are left out.
    n_features : int
        d.
    classes : ndarray of shape (k,)
        Classes of the target, sorted.
    name : str, default="source"
        The argument, for messages.

    Returns
    -------
    Source
        Predictor of one logit for two classes, of k otherwise.

    Raises
    ------
    ValueError
        If shapes do not fit, entries are not finite, or the source lacks a class of the target.
    TypeError
        If it is none of these.
    NotFittedError
        If it is an estimator that was not fitted.
    """
    n_outputs = 1 if len(classes) == 2 else len(classes)
    if isinstance(source, type) or not hasattr(source, "fit"):
        known = isinstance(source, type | str | bytes | dict | set) or callable(source)
        if len(classes) == 2 and not known and not hasattr(source, "predict"):
            both = np.shape(getattr(source, "coef_", source)) == (2, n_features)
            if both:  # one row for each class
                coef = as_float_array(getattr(source, "coef_", source), name, ndim=2)
                offset = np.zeros(2) + np.asarray(getattr(source, "intercept_", 0.0))
                return Source(name, coef[1:] - coef[:1], offset[1:] - offset[:1])
        return resolve_source(source, n_features, n_outputs, name)
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(source, msg=f"{name} is not fitted: call fit on %(name)s first")
    if not hasattr(source, "classes_"):
        return resolve_source(source, n_features, n_outputs, name)
    theirs = {label: j for j, label in enumerate(np.asarray(source.classes_).tolist())}
    missing = [label for label in classes.tolist() if label not in theirs]
    if missing:
        raise ValueError(
            f"{name} does not know the classes {missing}: it was fitted on {list(theirs)}"
        )
    columns = tuple(theirs[label] for label in classes.tolist())
    linear = hasattr(source, "coef_") and getattr(source, "source_function_", None) is None
    if linear and np.ndim(source.coef_) in (1, 2) and not hasattr(source.coef_, "tocsr"):
        coef = as_float_array(source.coef_, f"{name}.coef_", ndim=(1, 2))
        coef = coef.reshape(-1, coef.shape[-1])
        offset = as_float_array(
            getattr(source, "intercept_", 0.0), f"{name}.intercept_", ndim=(0, 1)
        ) + np.zeros(len(coef))
        if coef.shape[1] != n_features:
            raise ValueError(
                f"{name}.coef_ must have {n_features} columns to fit the data, got {coef.shape[1]}"
            )
        if len(theirs) == 2 and len(coef) == 1:
            coef, offset = np.vstack([0.0 * coef, coef]), np.append(0.0, offset)
        if len(coef) == len(theirs):
            coef, offset = coef[list(columns)], offset[list(columns)]
            if n_outputs == 1:
                coef, offset = coef[1:] - coef[:1], offset[1:] - offset[:1]
            return Source(name, coef, offset)
    linear_correction = hasattr(source, "source_function_")  # its logits are those wanted
    for method in sorted(("predict_proba", "decision_function"), reverse=not linear_correction):
        if hasattr(source, method):
            return Source(name, None, np.zeros(n_outputs), ClassScores(source, method, columns))
    raise TypeError(
        f"{name} must give coefficients, probabilities or a decision function, "
        f"{type(source).__name__} has none"
    )


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
