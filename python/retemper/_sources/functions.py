"""Models as functions of the rows: of chosen columns, of chosen classes, of networks and trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._sources.columns import column_names
from retemper._validation import FloatArray, plain_array

#: Probabilities of a source below this count as this when their logarithm is taken.
SMALLEST_PROBABILITY = 1e-4


def call(function: Callable[[Any], ArrayLike], rows: Any, name: str) -> ArrayLike:
    """Values of a function that somebody else wrote, whose errors do not know what it is here.

    Parameters
    ----------
    function : callable
        Takes the rows.
    rows : ndarray or data frame of shape (m, d)
        Rows.
    name : str
        The argument that the function came from.

    Returns
    -------
    array_like
        What it gives.

    Raises
    ------
    TypeError
        If it raises one.
    ValueError
        If it raises anything else, memory aside.
    """
    try:
        return function(rows)
    except MemoryError:
        raise
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        first = (str(error).strip() or "no message").splitlines()[0]
        raise kind(f"{name} cannot predict X: {type(error).__name__}: {first}") from error


@dataclasses.dataclass(frozen=True)
class NamedColumns:
    """A function of rows that sees its own columns, by name or by their place.

    Attributes
    ----------
    function : callable
        Takes rows with the columns ``names`` in this order.
    names : tuple of str
        Its columns.
    places : tuple of int
        Their places among the columns of the target.
    """

    function: Callable[[Any], ArrayLike]
    names: tuple[str, ...]
    places: tuple[int, ...]

    def __call__(self, X: Any) -> ArrayLike:
        """Values of the function for rows of the target."""
        if hasattr(X, "columns"):
            return self.function(X[list(self.names)])
        return self.function(X[:, list(self.places)])


@dataclasses.dataclass(frozen=True)
class NamedInOrder:
    """A function of named columns that is given rows without names, in its order.

    Attributes
    ----------
    function : callable
        Takes a data frame with the columns ``names``.
    names : tuple of str
        Its columns.
    """

    function: Callable[[Any], ArrayLike]
    names: tuple[str, ...]

    def __call__(self, X: Any) -> ArrayLike:
        """Values of the function for rows; names that they have are theirs."""
        if column_names(X) is not None:
            return self.function(X)
        if hasattr(X, "columns"):
            return self.function(X.set_axis(list(self.names), axis=1))
        import pandas as pd

        return self.function(pd.DataFrame(X, columns=list(self.names)))


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
        Its numbers of the classes; -1 for one that it does not know, whose score is zero. The
        others are then measured from their mean over all classes that it knows.
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
        if -1 in self.columns:
            scores = scores - scores.mean(axis=1, keepdims=True)
            scores = np.hstack([scores, np.zeros((len(scores), 1))])
        scores = scores[:, list(self.columns)]
        return scores[:, 1:] - scores[:, :1] if len(self.columns) == 2 else scores


@dataclasses.dataclass(frozen=True)
class ClassOutputs:
    """Outputs of a function for classes, as logits.

    Attributes
    ----------
    function : callable
        Gives one number for the second of two classes, or one for every class.
    n_classes : int
        Number of classes c.
    is_probability : bool
        Whether these are probabilities; else logits.
    """

    function: Callable[[Any], Any]
    n_classes: int
    is_probability: bool

    def __call__(self, X: Any) -> FloatArray:
        """Logits of shape (m, c), or (m, 1) of the second class against the first."""
        value = np.asarray(plain_array(self.function(X)), dtype=np.float64)
        value = value.reshape(len(value), -1)
        both = self.n_classes == 2
        if value.shape[1] != self.n_classes and not (both and value.shape[1] == 1):
            raise ValueError(
                f"a source must give one number for each of {self.n_classes} classes, got shape "
                f"{value.shape}; pass a classifier with classes_ if it knows others"
            )
        if self.is_probability:
            if value.shape[1] == 1:
                value = np.hstack([1.0 - value, value])
            value = np.log(np.maximum(value, SMALLEST_PROBABILITY))
        return value[:, 1:] - value[:, :1] if both and value.shape[1] == 2 else value


@dataclasses.dataclass(frozen=True)
class TorchFunction:
    """A module of PyTorch as a function of rows, in evaluation and without gradients.

    Attributes
    ----------
    module : torch.nn.Module
        The network; left as it is.
    """

    module: Any

    def __call__(self, X: Any) -> FloatArray:
        """Outputs for rows, in the precision and on the device of the parameters."""
        import torch

        rows = np.ascontiguousarray(X, dtype=np.float64)
        first = next(iter(self.module.parameters()), None)
        kind = torch.float32 if first is None else first.dtype
        device = "cpu" if first is None else first.device
        was = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                found = self.module(torch.as_tensor(rows).to(device=device, dtype=kind))
        finally:
            self.module.train(was)
        if not torch.is_tensor(found):
            raise TypeError(f"a module must give a tensor, got a {type(found).__name__}")
        return np.asarray(plain_array(found))


@dataclasses.dataclass(frozen=True)
class BoosterFunction:
    """A booster of LightGBM or XGBoost as a function of rows.

    Attributes
    ----------
    booster : Booster
        The trained trees.
    """

    booster: Any

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of its columns; None if it was trained on arrays."""
        if hasattr(self.booster, "feature_name"):  # LightGBM
            names = tuple(self.booster.feature_name())
            return None if names == tuple(f"Column_{j}" for j in range(len(names))) else names
        names = self.booster.feature_names
        return None if names is None else tuple(names)

    @property
    def n_features(self) -> int:
        """Number of its columns."""
        count = "num_feature" if hasattr(self.booster, "feature_name") else "num_features"
        return int(getattr(self.booster, count)())

    def __call__(self, X: Any) -> FloatArray:
        """Predictions for rows."""
        if hasattr(self.booster, "feature_name"):
            return np.asarray(self.booster.predict(X))
        import xgboost

        frame = hasattr(X, "columns")
        rows = xgboost.DMatrix(
            X, feature_names=None if frame else self.booster.feature_names, enable_categorical=frame
        )
        return np.asarray(self.booster.predict(rows))


def as_trained(model: Any, table: Any) -> Any:
    """Rows whose text has the categories that a booster of LightGBM or XGBoost was trained with.

    A file of text knows no categories, and boosters take nothing else.

    Parameters
    ----------
    model : object
        A booster, a scikit-learn model of these packages, or anything else.
    table : data frame of shape (m, d)
        Rows, in the order of the columns of its training.

    Returns
    -------
    data frame of shape (m, d)
        The same, with columns of text as categories where the model has kept which they are.
    """
    text = [
        name for name, kind in zip(table.columns, table.dtypes, strict=True) if kind.kind == "O"
    ]
    text = [name for name in text if not hasattr(table[name].dtype, "categories")]
    if not text:
        return table
    kept = _categories(model, table)
    return table.astype({name: kept[name] for name in text if name in kept})


def _categories(model: Any, table: Any) -> dict[Any, Any]:
    """Types of the columns of categories, by name; empty if the model has none or does not say."""
    import pandas as pd

    home = type(model).__module__.split(".")[0]
    if home == "lightgbm":
        booster = getattr(model, "booster_", model)
        levels = getattr(booster, "pandas_categorical", None) or []
        # in the order of the columns that were no numbers
        names = [n for n, k in zip(table.columns, table.dtypes, strict=True) if k.kind == "O"]
        if len(names) == len(levels):
            return {n: pd.CategoricalDtype(v) for n, v in zip(names, levels, strict=True)}
    if home == "xgboost":
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        kinds = dict(zip(booster.feature_names or (), booster.feature_types or (), strict=True))
        # codes are made those of the training by the booster, if it has kept its categories
        if hasattr(booster, "get_categories") and not booster.get_categories().empty():
            return {n: "category" for n in table.columns if kinds.get(n) == "c"}
    return {}


def is_booster(given: Any) -> bool:
    """Whether it is a booster of LightGBM or XGBoost."""
    kind = type(given)
    return kind.__name__ == "Booster" and kind.__module__.split(".")[0] in ("lightgbm", "xgboost")


def is_module(given: Any) -> bool:
    """Whether it is a module of PyTorch."""
    return all(hasattr(given, word) for word in ("parameters", "state_dict", "forward", "eval"))
