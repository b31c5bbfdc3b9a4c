"""Linear models that are known by arrays with names: state dictionaries and files of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._validation import FloatArray, as_float_array

__all__ = ["LinearClassifierState", "LinearState", "find_head", "linear_state"]

_COEF = ("coef", "coef_", "weight", "weights", "w")
_INTERCEPT = ("intercept", "intercept_", "bias", "b")
_CLASSES = ("classes", "classes_")
_NAMES = ("feature_names", "feature_names_in_", "feature_names_in", "columns")
_SHOWN = 6


class LinearState:
    """A linear model from its numbers.

    Parameters
    ----------
    coef : ndarray of shape (d,) or (k, d)
        Slopes.
    intercept : ndarray of shape () or (k,)
        Offsets.
    feature_names : sequence of str or None, default=None
        Names of the columns.
    """

    def __init__(self, coef: Any, intercept: Any, feature_names: Any = None) -> None:
        self.coef_ = as_float_array(coef, "coef", ndim=(1, 2))
        self.intercept_ = as_float_array(intercept, "intercept", ndim=(0, 1))
        self.n_features_in_ = int(self.coef_.shape[-1])
        if feature_names is not None:
            self.feature_names_in_ = np.asarray([str(name) for name in feature_names], dtype=object)
            if len(self.feature_names_in_) != self.n_features_in_:
                raise ValueError(
                    f"feature_names must have {self.n_features_in_} entries, got "
                    f"{len(self.feature_names_in_)}"
                )

    def _scores(self, X: Any) -> FloatArray:
        if hasattr(X, "columns") and hasattr(self, "feature_names_in_"):
            lacking = [name for name in self.feature_names_in_ if name not in X.columns]
            if lacking:
                raise ValueError(f"X lacks columns of the model: {lacking}")
            X = X[list(self.feature_names_in_)]
        rows = as_float_array(X, "X", ndim=2)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"X must have {self.n_features_in_} columns, got {rows.shape[1]}")
        return np.asarray(rows @ self.coef_.T + self.intercept_)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict.

        Parameters
        ----------
        X : array_like or data frame of shape (m, d)
            Rows; columns of a data frame are found by name.

        Returns
        -------
        ndarray of shape (m,) or (m, k)
            Predictions.
        """
        return self._scores(X)


class LinearClassifierState(LinearState):
    """A linear classifier from its numbers.

    Parameters
    ----------
    coef : ndarray of shape (d,), (1, d) or (k, d)
        Slopes of the logits: of the second class against the first, or of every class.
    intercept : ndarray of shape () or (k,)
        Offsets.
    classes : array_like of shape (k,)
        Classes.
    feature_names : sequence of str or None, default=None
        Names of the columns.
    """

    def __init__(
        self, coef: Any, intercept: Any, classes: ArrayLike, feature_names: Any = None
    ) -> None:
        super().__init__(coef, intercept, feature_names)
        self.classes_ = np.asarray(classes)
        self.coef_ = np.atleast_2d(self.coef_)
        wanted = (1, 2) if len(self.classes_) == 2 else (len(self.classes_),)
        if len(self.coef_) not in wanted:
            raise ValueError(
                f"coef must have one row for each of {len(self.classes_)} classes, got "
                f"{len(self.coef_)}"
            )

    def decision_function(self, X: Any) -> FloatArray:
        """Logits.

        Parameters
        ----------
        X : array_like or data frame of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m,) or (m, k)
            Of the second class against the first, or of every class.
        """
        scores = self._scores(X)
        if len(self.classes_) == 2:
            return np.asarray(scores[:, -1] - (scores[:, 0] if scores.shape[1] == 2 else 0.0))
        return scores

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities.

        Parameters
        ----------
        X : array_like or data frame of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m, k)
            In the order of ``classes_``.
        """
        from scipy.special import softmax

        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        return np.asarray(softmax(logits, axis=1))

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable classes.

        Parameters
        ----------
        X : array_like or data frame of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m,)
            Classes.
        """
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def linear_state(coef: Any, intercept: Any, classes: Any = None, names: Any = None) -> LinearState:
    """A linear model or classifier from its numbers.

    Parameters
    ----------
    coef, intercept : array_like
        Slopes and offsets.
    classes : array_like or None, default=None
        Classes; None for a model of numbers.
    names : sequence of str or None, default=None
        Names of the columns.

    Returns
    -------
    LinearState
        With ``predict``.
    """
    if classes is None:
        return LinearState(coef, intercept, names)
    return LinearClassifierState(coef, intercept, classes, names)


def find_head(
    state: Mapping[str, Any],
    name: str,
    *,
    rows: tuple[int, ...] | None = None,
    d: int | None = None,
) -> tuple[LinearState, str]:
    """The linear layer of arrays with names.

    Parameters
    ----------
    state : mapping of str to array
        Slopes under "coef" or "weight", alone or behind the name of a layer; offsets under
        "intercept" or "bias"; also "classes" and "feature_names".
    name : str
        The argument, for messages.
    rows : tuple of int or None, default=None
        Numbers of outputs that would fit; None for any.
    d : int or None, default=None
        Number of inputs that fits; None for any.

    Returns
    -------
    LinearState, str
        The layer, and its name; empty if there was nothing to choose.

    Raises
    ------
    ValueError
        If there is none, or there are several.
    """
    layers: dict[str, Any] = {}
    for key, value in state.items():
        layer, _, last = str(key).rpartition(".")
        if last in _COEF and np.ndim(value) in (1, 2):
            layers[layer] = value
    shapes = {layer: tuple(np.shape(value)) for layer, value in layers.items()}
    fitting = [
        layer
        for layer, shape in shapes.items()
        if (d is None or shape[-1] == d)
        and (rows is None or (shape[0] if len(shape) == 2 else 1) in rows)
    ]
    if len(fitting) != 1:
        listed = ", ".join(
            f"{layer + '.' if layer else ''}weight {shape}" for layer, shape in shapes.items()
        )
        outputs = " or ".join(map(str, rows or ())) + (" output" if rows == (1,) else " outputs")
        wanted = "" if d is None else f" with {d} inputs and {outputs}"
        what = "no linear layer" if not fitting else f"{len(fitting)} linear layers"
        others = any(len(shape) == 2 and shape[-1] == d for shape in shapes.values())
        advice = (
            "keep the outputs that are wanted, in order, or for classes name every output under "
            "'classes'"
            if others and not fitting
            else "pass the network as a module, or its head alone and the activations before it "
            "as X"
        )
        raise ValueError(
            f"{name} holds {what}{wanted}, got {listed or list(state)[:_SHOWN]}: {advice}"
        )
    layer = fitting[0]
    prefix = f"{layer}." if layer else ""

    def get(words: tuple[str, ...], before: str) -> Any:
        return next((state[before + w] for w in words if before + w in state), None)

    offset = get(_INTERCEPT, prefix)
    classes, names = get(_CLASSES, ""), get(_NAMES, "")
    found = linear_state(layers[layer], 0.0 if offset is None else offset, classes, names)
    return found, layer if len(shapes) > 1 else ""
