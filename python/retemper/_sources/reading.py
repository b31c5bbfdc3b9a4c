"""Every way to pass a source, read into one form."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._sources.columns import (
    ENCODED,
    LARGEST_LABEL,
    column_names,
    match_columns,
    read_rows,
)
from retemper._sources.functions import (
    SMALLEST_PROBABILITY,
    BoosterFunction,
    ClassOutputs,
    ClassScores,
    NamedColumns,
    NamedInOrder,
    TorchFunction,
    is_booster,
    is_module,
)
from retemper._sources.source import Predictions, Source
from retemper._state import find_head
from retemper._text import did_you_mean
from retemper._validation import FloatArray, as_float_array, check_entries, naming, plain_array
from retemper.exceptions import ValidityWarning

Face = Literal["coef", "predict", "predictions", "data"]


_WORDS: dict[str, tuple[str, ...]] = {
    "coef": ("coefficients", "a pair (coef, intercept)", "a fitted linear model"),
    "predict": ("any fitted model", "a function of the rows"),
    "predictions": ("predictions for these rows",),
    "data": ("a pair (X, y) of source rows and labels",),
}
_INTERCEPTS = ("const", "Intercept", "intercept", "(Intercept)")


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

    @property
    def encoded(self) -> str:
        """The columns where they are not those that the user passed, for messages."""
        if getattr(self.X, "attrs", {}).get(ENCODED) is None:
            return ""
        listed = ", ".join(map(repr, column_names(self.X) or ()))
        return f" once text and gaps are encoded, as {listed}"

    def _table(self, width: int) -> tuple[str, ...] | None:
        """Columns behind encoded rows, if so many and all of them numbers: some with gaps."""
        table: tuple[str, ...] = getattr(self.X, "attrs", {}).get(ENCODED, ())
        whole = 0 < width == len(table) != self.d and set(table) <= set(column_names(self.X) or ())
        return table if whole else None

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
            return self._noting_order(self._model())
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
            table = self._table(np.shape(given)[-1]) if np.ndim(given) else None
            return (given, None) if table is None else (self._by_name(given, table), None)
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
            table = getattr(self.X, "attrs", {}).get(ENCODED, ())
            text = [c for c in lacking if c in table]
            hint = f"; these hold text, dates or nothing in X: {text}" if text else ""
            raise ValueError(
                f"{self.name} was fitted on columns that X does not have: {lacking}; X has "
                f"{list(mine)}{hint or did_you_mean(lacking, mine)}"
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
                f"{label} must have shape {wanted} to fit the data{self.encoded}, got "
                f"{array.shape}; predictions are passed as a function of the rows"
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
        if names is None:
            names = self._table(getattr(model, "n_features_in_", -1))
        names = None if names is None else tuple(str(n) for n in names)
        by_name = names is not None and column_names(self.X) is not None
        if by_name:
            assert names is not None
            self._places(names)  # refuses missing columns
        elif getattr(model, "n_features_in_", self.d) != self.d:
            raise ValueError(
                f"{self.name} was fitted on {model.n_features_in_} features, X has {self.d}"
                f"{self.encoded}; with named columns on both sides they are matched by name"
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
        table = getattr(self.X, "attrs", {}).get(ENCODED, ())
        known = names if names is not None else self._table(len(table))
        d = self.d if known is None else np.size(known)
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

    def _noting_order(self, found: Source) -> Source:
        """What a reader should know where a model has names of columns, and the rows have none."""
        names = getattr(self.given, "feature_names_in_", None)
        if names is None or column_names(self.X) is not None:
            return found
        shown = ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")
        flag = f"columns of X have no names and are taken in its order: {shown}"
        return dataclasses.replace(found, flags=(*found.flags, flag))

    def _has_coefficients(self) -> bool:
        """Whether ``coef_`` says all: not so beside the function that it corrects."""
        model = self.given
        return hasattr(model, "coef_") and getattr(model, "source_function_", None) is None

    def _function(self, function: Any, names: tuple[str, ...] | None) -> Any:
        mine = column_names(self.X)
        if names is None or names == mine:
            return function
        if mine is None:
            return NamedInOrder(function, names)
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
