"""What can serve as a source, read in one place for every ``source=`` and ``sources=``.

A source shows one or more *faces*: coefficients, a prediction for any row, predictions already
made for the target rows, or rows and labels of its own. An estimator names the faces it can use.
Columns are matched by name wherever both sides have names.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._state import find_head
from retemper._validation import FloatArray, as_float_array, check_entries, naming, plain_array
from retemper.exceptions import ValidityWarning

__all__ = [
    "LARGEST_LABEL",
    "SMALLEST_PROBABILITY",
    "BoosterFunction",
    "ClassOutputs",
    "ClassScores",
    "NamedColumns",
    "Predictions",
    "Source",
    "SourceMixture",
    "column_names",
    "is_booster",
    "is_module",
    "match_columns",
    "mix_sources",
    "name_sources",
    "pick_columns",
    "read_rows",
    "read_source",
]

Face = Literal["coef", "predict", "predictions", "data"]

#: Fourth powers of labels and of predictions must not overflow.
LARGEST_LABEL = 1e60
#: Probabilities of a source below this count as this when their logarithm is taken.
SMALLEST_PROBABILITY = 1e-4

_WORDS: dict[str, tuple[str, ...]] = {
    "coef": ("coefficients", "a pair (coef, intercept)", "a fitted linear model"),
    "predict": ("any fitted model", "a function of the rows"),
    "predictions": ("predictions for these rows",),
    "data": ("a pair (X, y) of source rows and labels",),
}
_INTERCEPTS = ("const", "Intercept", "intercept", "(Intercept)")


class Predictions:
    """Predictions of a source on the target rows, where an array could also be coefficients.

    Parameters
    ----------
    values : array_like of shape (n,) or (n, k)
        Predicted labels, or probabilities: of the second class, or of every class.

    See Also
    --------
    retemper.advise

    Examples
    --------
    >>> from retemper.advisor import Predictions
    >>> Predictions([0.2, 0.9]).values
    [0.2, 0.9]
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values = values


@dataclasses.dataclass(frozen=True)
class Source:
    """A source as it was read: a predictor of k outputs, and the rows behind it if known.

    Attributes
    ----------
    name : str
        The argument it came from, for messages.
    kind : {"coefficients", "model", "function", "predictions", "data"}
        What was given.
    coef : ndarray of shape (k, d) or None
        Slopes in the order of the target's columns; None if it is not linear.
    intercept : ndarray of shape (k,)
        Offsets; zeros if it is not linear.
    function : callable or None
        Maps rows (m, d), or the data frame the user passed, to predictions (m,) or (m, k).
    values : ndarray of shape (n, k) or None
        Predictions for the target rows, of ``kind="predictions"``; logits for classes.
    data : tuple (ndarray of shape (m, d), ndarray of shape (m, ...)) or None
        Source rows, columns in the order of the target's, and their labels.
    flags : tuple of str
        What a reader should know.
    """

    name: str
    kind: Literal["coefficients", "model", "function", "predictions", "data"]
    coef: FloatArray | None
    intercept: FloatArray
    function: Callable[[Any], ArrayLike] | None = None
    values: FloatArray | None = None
    data: tuple[FloatArray, NDArray[Any]] | None = None
    flags: tuple[str, ...] = ()

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
            Predictions, or logits.

        Raises
        ------
        ValueError
            If the source cannot predict these rows, a function returns another shape, or entries
            are not finite.
        """
        label = f"{self.name}(X)"
        if self.values is not None:
            if len(X) != len(self.values):
                raise ValueError(
                    f"{self.name} holds predictions for {len(self.values)} rows, X has {len(X)}"
                )
            return self.values
        if self.coef is not None:
            linear: FloatArray = X @ self.coef.T + self.intercept
            check_entries(linear, label, largest=LARGEST_LABEL)
            return linear
        if self.function is None:
            raise ValueError(f"{self.name} holds rows and labels: fit a model on them first")
        named = given is not None and hasattr(given, "columns")
        value = as_float_array(self.function(given if named else X), label, ndim=(1, 2))
        shape = (len(X), len(self.intercept))
        if value.shape not in (shape, shape[:1] if shape[1] == 1 else shape):
            raise ValueError(f"{label} must have shape {shape}, got {value.shape}")
        check_entries(value, label, largest=LARGEST_LABEL)
        return value.reshape(shape)


@dataclasses.dataclass(frozen=True)
class SourceMixture:
    """A function of the rows: a weighted sum of what sources say.

    Attributes
    ----------
    parts : tuple of Source
        The sources, for the same columns.
    weights : ndarray of shape (s,) or (s, k)
        One for each source, or for each of its outputs.
    intercept : ndarray of shape (k,)
        Offsets.
    """

    parts: tuple[Source, ...]
    weights: FloatArray
    intercept: FloatArray

    def __call__(self, rows: Any) -> FloatArray:
        """Predictions, or logits, of shape (m, k)."""
        given = rows if hasattr(rows, "columns") else None
        array = read_rows(rows, "X")
        total = np.tile(self.intercept, (len(array), 1))
        for part, weight in zip(self.parts, self.weights, strict=True):
            total = total + weight * part.predict(array, given)
        return total


def mix_sources(
    sources: Sequence[Source], weights: FloatArray, intercept: FloatArray, name: str = "mixture"
) -> Source:
    """A weighted sum of sources as one: linear if all of them are.

    Parameters
    ----------
    sources : sequence of Source
        That can predict new rows.
    weights : ndarray of shape (s,) or (s, k)
        One for each source, or for each of its outputs.
    intercept : ndarray of shape (k,)
        Offsets.
    name : str, default="mixture"
        Its name, for messages.

    Returns
    -------
    Source
        The sum; sources of weight zero are left out.
    """
    kept = [(s, w) for s, w in zip(sources, weights, strict=True) if np.any(w)]
    parts = tuple(source for source, _ in kept)
    if not parts or any(part.coef is None for part in parts):
        stacked = np.reshape([w for _, w in kept], (len(kept), *weights.shape[1:]))
        function = SourceMixture(parts, stacked, intercept)
        return Source(name, "function", None, np.zeros(len(intercept)), function)
    offset = intercept + np.sum([w * part.intercept for part, w in kept], axis=0)
    coef = np.sum([np.reshape(w, (-1, 1)) * part.coef for part, w in kept], axis=0)
    return Source(name, "coefficients", coef, offset)


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


def is_booster(given: Any) -> bool:
    """Whether it is a booster of LightGBM or XGBoost."""
    kind = type(given)
    return kind.__name__ == "Booster" and kind.__module__.split(".")[0] in ("lightgbm", "xgboost")


def is_module(given: Any) -> bool:
    """Whether it is a module of PyTorch."""
    return all(hasattr(given, word) for word in ("parameters", "state_dict", "forward", "eval"))


def column_names(X: Any) -> tuple[str, ...] | None:
    """Names of the columns of a data frame.

    Parameters
    ----------
    X : array_like or data frame
        Rows.

    Returns
    -------
    tuple of str or None
        The names; None if there are none, or not all of them are text.
    """
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return tuple(names) if names and all(isinstance(name, str) for name in names) else None


def read_rows(X: Any, name: str) -> FloatArray:
    """Rows of numbers from an array or a data frame.

    Parameters
    ----------
    X : array_like or data frame of shape (m, d)
        Rows.
    name : str
        The argument, for messages.

    Returns
    -------
    ndarray of shape (m, d)
        The same, float64.

    Raises
    ------
    ValueError
        If columns are not numbers, values are missing, infinite or beyond 1e60, or there is no
        column; the columns are named.
    TypeError
        If it is sparse, or holds no real numbers.
    """
    if hasattr(X, "iloc") and hasattr(X, "dtypes") and np.ndim(X) == 2:
        wrong = [
            str(c) for c, kind in zip(X.columns, X.dtypes, strict=True) if kind.kind not in "fiub"
        ]
        if wrong:
            raise ValueError(
                f"{name} has columns that are not numbers: {wrong}; encode or drop them first"
            )
        empty = [str(c) for c in X.columns if X[c].isna().any()]
        if empty:
            raise ValueError(f"{name} has missing values in columns {empty}; drop or fill them")
        X = X.to_numpy(dtype=np.float64)
    rows = as_float_array(X, name, ndim=2)
    check_entries(rows, name, largest=LARGEST_LABEL)
    if not rows.shape[1]:
        raise ValueError(f"{name} must have at least one feature, got shape {rows.shape}")
    return rows


def match_columns(theirs: Any, X: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """Rows of a source with the columns of the target, in its order.

    Parameters
    ----------
    theirs : array_like or data frame of shape (m, d')
        Source rows.
    X : array_like or data frame of shape (n, d)
        Target rows.
    name : str
        The argument of the source, for messages.

    Returns
    -------
    array_like or data frame of shape (m, d), tuple of str
        Source rows, and what a reader should know.

    Raises
    ------
    ValueError
        If columns of the target are missing, or without names their numbers differ.
    """
    mine, own = column_names(X), column_names(theirs)
    flags: tuple[str, ...] = ()
    if mine is not None and own is not None:
        lacking = [c for c in mine if c not in set(own)]
        if lacking:
            raise ValueError(f"{name} lacks columns of X: {lacking}; it has {list(own)}")
        extra = [c for c in own if c not in set(mine)]
        if extra:
            flags = (f"columns that X does not have are left out: {', '.join(extra)}",)
        return theirs[list(mine)], flags
    width, d = np.shape(theirs)[1], np.shape(X)[1]
    if width != d:
        raise ValueError(
            f"{name} has {width} features, X has {d}; with named columns on both sides they are "
            "matched by name"
        )
    return theirs, flags


def pick_columns(rows: FloatArray, names: tuple[str, ...] | None, X: Any, name: str) -> FloatArray:
    """`match_columns` for rows whose columns have names beside them.

    Parameters
    ----------
    rows : ndarray of shape (m, d')
        Source rows.
    names : tuple of str or None
        Names of their columns.
    X : array_like or data frame of shape (n, d)
        Target rows.
    name : str
        The argument of the source, for messages.

    Returns
    -------
    ndarray of shape (m, d)
        Source rows, columns in the order of the target's.

    Raises
    ------
    ValueError
        As in `match_columns`.
    """
    mine = column_names(X)
    if mine is None or names is None:
        matched, _ = match_columns(rows, X, name)
        return np.asarray(matched)
    lacking = [c for c in mine if c not in set(names)]
    if lacking:
        raise ValueError(f"{name} lacks columns of X: {lacking}; it has {list(names)}")
    return np.ascontiguousarray(rows[:, [names.index(c) for c in mine]])


def read_source(
    source: Any,
    X: Any,
    *,
    faces: Collection[Face] = ("coef", "predict"),
    n_outputs: int = 1,
    classes: NDArray[Any] | None = None,
    name: str = "source",
    also: tuple[str, ...] = (),
) -> Source:
    """Read a source.

    Parameters
    ----------
    source : object
        Coefficients of shape (d,) or (k, d), also as a named Series or frame (an entry called
        "const" or "Intercept" is the intercept); a pair (coef, intercept); a state dictionary with
        one linear layer that fits; a fitted estimator or pipeline; anything with ``predict``; a
        booster of LightGBM or XGBoost; a module of PyTorch; a function of the rows; `Predictions`,
        or an array of as many as there are rows; a pair (X, y) of source rows and labels.
    X : array_like or data frame of shape (n, d)
        Target rows, as the user passed them.
    faces : collection of {"coef", "predict", "predictions", "data"}
        Which of these are of use. With "coef" and "predict", a linear model shows its
        coefficients and any other its predictions.
    n_outputs : int, default=1
        Outputs k of a regression.
    classes : ndarray of shape (c,) or None, default=None
        Classes of the target, sorted: the source is then read as logits, of the second class
        against the first for two, of every class otherwise. Classes of a fitted classifier are
        matched by ``classes_``: those that the target does not have are left out, those that the
        source does not know start from zero.
    name : str, default="source"
        The argument, for messages.
    also : tuple of str, default=()
        What the caller takes besides, for messages.

    Returns
    -------
    Source
        What it is and does.

    Raises
    ------
    TypeError
        If it is nothing of use.
    ValueError
        If shapes do not fit, entries are not finite, columns that it needs are missing in ``X``,
        or it knows no class of the target.
    NotFittedError
        If it is an estimator that was not fitted.

    Warns
    -----
    ValidityWarning
        If a classifier does not know all classes of the target, or knows them by numbers.
    """
    reader = _Reader(plain_array(source), X, tuple(faces), n_outputs, classes, name, also)
    with naming(name):
        return reader.read()


@dataclasses.dataclass(frozen=True)
class _Reader:
    given: Any
    X: Any
    faces: tuple[str, ...]
    outputs: int
    classes: NDArray[Any] | None
    name: str
    also: tuple[str, ...] = ()

    @property
    def k(self) -> int:
        if self.classes is None:
            return self.outputs
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def d(self) -> int:
        return int(np.shape(self.X)[1])

    def refuse(self, what: str) -> TypeError:
        words = [word for face in self.faces for word in _WORDS[face]] + list(self.also)
        listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
        return TypeError(f"{self.name} must be {listed}, got {what}")

    def needs(self, face: str, what: str) -> None:
        if face not in self.faces:
            raise self.refuse(what)

    def read(self) -> Source:
        given = self.given
        if isinstance(given, Mapping) and given:
            return self._state(given)
        if given is None or isinstance(given, str | bytes | Mapping | set):
            raise self.refuse(repr(given))
        if is_module(given) and not isinstance(given, type):
            return self._module()
        if is_booster(given):
            return self._booster()
        if isinstance(given, type):
            raise TypeError(f"{self.name} is the class {given.__name__}; pass a fitted instance")
        if isinstance(given, Predictions):
            return self._predictions(given.values)
        pair = self._pair()
        if pair is not None:
            return pair
        if any(hasattr(given, a) for a in ("fit", "coef_", "predict")):
            if not {"coef", "predict"} & set(self.faces):
                raise self.refuse(f"a {type(given).__name__}")
            return self._model()
        if callable(given):
            self.needs("predict", "a function")
            return Source(self.name, "function", None, np.zeros(self.k), given)
        if "predictions" in self.faces and self._looks_like_predictions():
            return self._predictions(given)
        self.needs(
            "coef", f"an array of shape {np.shape(given)}" if np.ndim(given) else repr(given)
        )
        coef, offset = self._named(given)
        return self._linear(coef, offset, self.name, "coefficients")

    def _pair(self) -> Source | None:
        if not isinstance(self.given, tuple | list) or len(self.given) != 2:
            return None
        first, second = self.given
        if isinstance(self.given, list) and np.ndim(first) != 2:
            return None
        if np.ndim(first) == 0 or hasattr(first, "fit"):
            return None
        rows = np.ndim(first) == 2 and np.ndim(second) >= 1 and len(second) == len(first) > 1
        as_coefficients = np.ndim(first) == 1 or (
            not hasattr(first, "columns")
            and np.shape(first) == (self.k, self.d)
            and np.size(second) in (1, self.k)
        )
        is_ambiguous = "coef" in self.faces and self.k > 1
        if as_coefficients and (not rows or "data" not in self.faces or is_ambiguous):
            self.needs("coef", "a pair (coef, intercept)")
            coef, named = self._named(first)
            if named is not None:
                raise ValueError(f"{self.name} gives the intercept twice: by name and in the pair")
            return self._linear(coef, second, self.name, "coefficients")
        self.needs("data", "a pair (X, y)")
        return self._data(first, second)

    def _data(self, X_s: Any, y_s: Any) -> Source:
        X_s, flags = match_columns(X_s, self.X, self.name)
        rows = read_rows(X_s, f"{self.name}[0]")
        labels = np.asarray(y_s)
        if labels.ndim not in (1, 2) or len(labels) != len(rows) or not len(rows):
            raise ValueError(
                f"{self.name} must be (rows, labels) of one length, at least 1, got "
                f"{rows.shape} and {labels.shape}"
            )
        return Source(self.name, "data", None, np.zeros(self.k), data=(rows, labels), flags=flags)

    def _named(self, given: Any) -> tuple[Any, Any]:
        """Coefficients in the order of the target's columns, and a named intercept."""
        index = getattr(given, "columns", getattr(given, "index", None))
        if index is None or callable(index) or not hasattr(given, "to_numpy"):
            return given, None
        names, mine = list(index), column_names(self.X)
        values = given.to_numpy()
        offset = None
        for word in _INTERCEPTS:
            if word in names and (mine is None or word not in mine):
                at = names.index(word)
                offset = values[..., at]
                names, values = names[:at] + names[at + 1 :], np.delete(values, at, axis=-1)
                break
        if mine is None or not all(isinstance(n, str) for n in names):
            return values, offset
        return self._by_name(values, tuple(names)), offset

    def _by_name(self, coef: Any, names: tuple[str, ...]) -> Any:
        """Coefficients in the order of the target's columns, zero for columns without one."""
        mine = column_names(self.X)
        if mine is None or names == mine:
            return coef
        places = self._places(names)
        out = np.zeros((*np.shape(coef)[:-1], self.d))
        out[..., list(places)] = coef
        return out

    def _places(self, names: tuple[str, ...]) -> tuple[int, ...]:
        mine = column_names(self.X) or ()
        place = {c: j for j, c in enumerate(mine)}
        lacking = [c for c in names if c not in place]
        if lacking:
            raise ValueError(
                f"{self.name} was fitted on columns that X does not have: {lacking}; X has "
                f"{list(mine)}"
            )
        return tuple(place[c] for c in names)

    def _linear(self, coef: Any, intercept: Any, label: str, kind: Any) -> Source:
        d, k = self.d, self.k
        if self.classes is not None and len(self.classes) == 2 and np.shape(coef) == (2, d):
            both = as_float_array(coef, label, ndim=2)  # one row for each class
            offset = np.zeros(2) + as_float_array(
                0.0 if intercept is None else intercept, f"{label}.intercept_", ndim=(0, 1)
            )
            return Source(self.name, kind, both[1:] - both[:1], offset[1:] - offset[:1])
        array = as_float_array(coef, label, ndim=(1, 2))
        if array.shape != (k, d) and (array.shape != (d,) or k != 1):
            wanted = f"{(d,)} or {(k, d)}" if k == 1 else f"{(k, d)}"
            if self.classes is not None and array.ndim == 2 and array.shape[1] == d:
                raise ValueError(
                    f"{label} has a row of coefficients for each of {len(array)} classes, y has "
                    f"{len(self.classes)}: keep those of y, in order, or pass a model with "
                    "classes_, which knows its own"
                )
            raise ValueError(
                f"{label} must have shape {wanted} to fit the data, got {array.shape}; "
                "predictions are passed as a function of the rows"
            )
        offset = as_float_array(
            0.0 if intercept is None else intercept, f"{label}.intercept_", ndim=(0, 1)
        )
        if offset.size not in (1, k):
            raise ValueError(f"{label}.intercept_ must have {k} entries, got {offset.size}")
        return Source(self.name, kind, array.reshape(k, d), np.zeros(k) + offset)

    def _model(self) -> Source:
        model = self.given
        if hasattr(model, "fit"):
            from sklearn.utils.validation import check_is_fitted

            check_is_fitted(model, msg=f"{self.name} is not fitted: call fit on %(name)s first")
        names = getattr(model, "feature_names_in_", None)
        names = None if names is None else tuple(str(n) for n in names)
        by_name = names is not None and column_names(self.X) is not None
        if by_name:
            assert names is not None
            self._places(names)  # refuses missing columns
        elif getattr(model, "n_features_in_", self.d) != self.d:
            raise ValueError(
                f"{self.name} was fitted on {model.n_features_in_} features, X has {self.d}; with "
                "named columns on both sides they are matched by name"
            )
        if self.classes is not None and hasattr(model, "classes_"):
            return self._classifier(names if by_name else None)
        if "coef" in self.faces and self._has_coefficients():
            coef = as_float_array(model.coef_, f"{self.name}.coef_", ndim=(1, 2))
            if by_name:
                assert names is not None
                if coef.shape[-1] == len(names):
                    coef = self._by_name(coef, names)
            offset = getattr(model, "intercept_", 0.0)
            return self._linear(coef, offset, f"{self.name}.coef_", "model")
        if not hasattr(model, "predict"):
            raise self.refuse(f"a {type(model).__name__}, which has neither coef_ nor predict")
        self.needs("predict", f"a {type(model).__name__}, which has no coef_")
        return Source(
            self.name, "model", None, np.zeros(self.k), self._function(model.predict, names)
        )

    def _state(self, given: Mapping[str, Any], flags: tuple[str, ...] = ()) -> Source:
        """A linear layer of a state dictionary."""
        if not all(np.ndim(plain_array(v)) >= 0 and isinstance(k, str) for k, v in given.items()):
            raise self.refuse(f"a {type(given).__name__}")
        self.needs("coef", "a dictionary of arrays")
        state = {key: plain_array(value) for key, value in given.items()}
        rows: tuple[int, ...] = (self.k,) if self.classes is None or self.k > 1 else (1, 2)
        for word in ("classes", "classes_"):
            if word in state:
                rows = tuple(range(1, 1 + np.size(state[word])))
        names = state.get("feature_names", state.get("feature_names_in_"))
        d = self.d if names is None else np.size(names)
        head, layer = find_head(state, self.name, rows=rows, d=d)
        if layer:
            flags = (*flags, f"its layer {layer!r} is taken, which fits the columns of X")
        found = dataclasses.replace(self, given=head).read()
        return dataclasses.replace(found, flags=(*flags, *found.flags))

    def _module(self) -> Source:
        """A linear layer of PyTorch by its numbers, any other module as a function."""
        module = self.given
        if type(module).__name__ == "Linear" and "coef" in self.faces:
            return self._state(module.state_dict())
        self.needs("predict", f"a {type(module).__name__}")
        function: Any = TorchFunction(module)
        if self.classes is not None:
            function = ClassOutputs(function, len(self.classes), False)
        return Source(self.name, "function", None, np.zeros(self.k), function)

    def _booster(self) -> Source:
        self.needs("predict", f"a {type(self.given).__module__.split('.')[0]} Booster")
        booster = BoosterFunction(self.given)
        names = booster.names
        if names is not None and column_names(self.X) is not None:
            self._places(names)  # refuses missing columns
        elif booster.n_features != self.d:
            raise ValueError(
                f"{self.name} was fitted on {booster.n_features} features, X has {self.d}; with "
                "named columns on both sides they are matched by name"
            )
        function: Any = booster
        if self.classes is not None:
            function = ClassOutputs(booster, len(self.classes), True)
        function = self._function(function, names)
        return Source(self.name, "model", None, np.zeros(self.k), function)

    def _has_coefficients(self) -> bool:
        """Whether ``coef_`` says all: not so beside the function that it corrects."""
        model = self.given
        return hasattr(model, "coef_") and getattr(model, "source_function_", None) is None

    def _function(self, function: Any, names: tuple[str, ...] | None) -> Any:
        mine = column_names(self.X)
        if names is None or mine is None or names == mine:
            return function
        return NamedColumns(function, names, self._places(names))

    def _classifier(self, names: tuple[str, ...] | None) -> Source:
        model, classes, d = self.given, self.classes, self.d
        assert classes is not None
        theirs = {label: j for j, label in enumerate(np.asarray(model.classes_).tolist())}
        missing = [label for label in classes.tolist() if label not in theirs]
        flags: tuple[str, ...] = ()
        if len(missing) == len(classes):
            if list(theirs) != list(range(len(classes))):
                raise ValueError(
                    f"{self.name} does not know the classes {missing}: it was fitted on "
                    f"{list(theirs)}"
                )
            # numbers of classes in order, as encoders give them
            pairs = ", ".join(f"{j} is {label!r}" for j, label in enumerate(classes.tolist()))
            flags, missing = (f"its classes are read as numbers in order: {pairs}",), []
            theirs = {label: j for j, label in enumerate(classes.tolist())}
        if missing:
            flags = (f"does not know the classes {missing}: they start from zero",)
        for flag in flags:
            warnings.warn(f"{self.name}: {flag}", ValidityWarning, stacklevel=5)
        columns = tuple(theirs.get(label, -1) for label in classes.tolist())
        dense = self._has_coefficients() and not hasattr(model.coef_, "tocsr")
        if dense and np.ndim(model.coef_) in (1, 2) and "coef" in self.faces:
            label = f"{self.name}.coef_"
            coef = as_float_array(model.coef_, label, ndim=(1, 2))
            coef = coef.reshape(-1, coef.shape[-1])
            if names is not None and coef.shape[1] == len(names):
                coef = self._by_name(coef, names)
            offset = as_float_array(
                getattr(model, "intercept_", 0.0), f"{self.name}.intercept_", ndim=(0, 1)
            ) + np.zeros(len(coef))
            if coef.shape[1] != d:
                raise ValueError(
                    f"{label} must have {d} columns to fit the data, got {coef.shape[1]}"
                )
            if len(theirs) == 2 and len(coef) == 1:
                coef, offset = np.vstack([0.0 * coef, coef]), np.append(0.0, offset)
            if len(coef) == len(theirs):
                if missing:  # a zero row for new classes, the others from their mean
                    coef = np.vstack([coef - coef.mean(axis=0), np.zeros((1, d))])
                    offset = np.append(offset - offset.mean(), 0.0)
                coef, offset = coef[list(columns)], offset[list(columns)]
                if self.k == 1:
                    coef, offset = coef[1:] - coef[:1], offset[1:] - offset[:1]
                return Source(self.name, "model", coef, offset, flags=flags)
        self.needs("predict", f"a {type(model).__name__}, which has no coef_")
        # a model that corrects a source gives the wanted logits by its decision function
        first = "decision_function" if hasattr(model, "source_function_") else "predict_proba"
        for method in sorted(("predict_proba", "decision_function"), key=lambda m: m != first):
            if hasattr(model, method):
                scores = ClassScores(model, method, columns)
                function = self._function(scores, names)
                return Source(self.name, "model", None, np.zeros(self.k), function, flags=flags)
        raise TypeError(
            f"{self.name} must give coefficients, probabilities or a decision function, "
            f"{type(model).__name__} has none"
        )

    def _looks_like_predictions(self) -> bool:
        shape, n, d = np.shape(self.given), len(self.X), self.d
        coefficients = shape in ((d,), (1, d))
        predictions = shape in ((n,), (n, 1))
        if self.classes is not None:
            c = len(self.classes)
            coefficients |= shape == (c, d)
            predictions |= shape == (n, c)
        if coefficients and predictions:
            raise ValueError(
                f"{self.name} of shape {shape} could be coefficients or predictions; wrap it in "
                "retemper.advisor.Predictions, or pass coefficients in a fitted model"
            )
        return predictions

    def _predictions(self, values: ArrayLike) -> Source:
        self.needs("predictions", "predictions")
        n = len(self.X)
        array = as_float_array(values, self.name, ndim=(1, 2))
        array = array.reshape(len(array), -1)
        check_entries(array, self.name, largest=LARGEST_LABEL)
        if self.classes is None:
            if array.shape != (n, self.k):
                raise ValueError(
                    f"{self.name} must have one prediction for each of {n} rows, got shape "
                    f"{array.shape}"
                )
        else:
            array = self._logits(array, n, len(self.classes))
        flag = "known by its predictions on these rows alone: cannot be used on new rows"
        return Source(self.name, "predictions", None, np.zeros(self.k), values=array, flags=(flag,))

    def _logits(self, array: FloatArray, n: int, c: int) -> FloatArray:
        if array.shape not in ((n, c), (n, 1) if c == 2 else (n, c)):
            raise ValueError(f"{self.name} must have shape {(n, c)}, got {array.shape}")
        if array.min() < 0.0 or array.max() > 1.0:
            raise ValueError(
                f"{self.name} must hold probabilities, between 0 and 1; the range is "
                f"[{array.min():g}, {array.max():g}]"
            )
        if array.shape[1] == 1:
            array = np.hstack([1.0 - array, array])
        if abs(array.sum(axis=1) - 1.0).max() > 1e-3:
            raise ValueError(f"{self.name} must hold probabilities that add up to 1 in every row")
        logit = np.log(np.clip(array, SMALLEST_PROBABILITY, None))
        return logit[:, 1:] - logit[:, :1] if c == 2 else logit


def name_sources(sources: Any) -> dict[str, Any]:
    """Sources by name, from any of the ways to pass them.

    Parameters
    ----------
    sources : None, mapping, list or a single source
        A mapping of names to sources, a list of sources, or one source as `read_source` takes it
        (a list of numbers and a pair are one source).

    Returns
    -------
    dict of str to object
        Sources in order; unnamed ones are called "source 0", "source 1", ...

    Raises
    ------
    ValueError
        If two names are equal as text, or a source is called "scratch".
    """
    if sources is None:
        return {}
    if isinstance(sources, Mapping):
        named = {str(name): source for name, source in sources.items()}
        if len(named) != len(sources):
            raise ValueError(f"sources has names that are equal as text: {list(sources)}")
    elif isinstance(sources, list) and not (sources and all(isinstance(s, Real) for s in sources)):
        named = {f"source {j}": source for j, source in enumerate(sources)}
    else:
        named = {"source 0": sources}
    if "scratch" in named:
        raise ValueError("sources must not be called 'scratch': this is training without a source")
    return named
