"""Several columns of labels: an advice for each, and one model of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._extras import load
from retemper._sources import Predictions, name_sources, read_source
from retemper._text import table
from retemper.advisor._advise import advise
from retemper.advisor.advice import TransferAdvice
from retemper.advisor.source_inputs import FACES
from retemper.advisor.wording import percent, percents
from retemper.datasets.models import read_model
from retemper.datasets.tables import is_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AdviceByTarget", "advise_targets"]


class AdviceByTarget:
    """Advice on several columns of labels, as `advise_targets` returns it.

    Parameters
    ----------
    advices : dict of str to TransferAdvice
        By name of the column.

    Attributes
    ----------
    headline : str
        What to do, in two sentences.
    estimator_ : MultiOutputRegressor or MultiOutputClassifier
        Scikit-learn's, of the models that are advised; predicts all columns.

    See Also
    --------
    advise_targets, TransferAdvice

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.advisor import advise_targets
    >>> rng = np.random.default_rng(0)
    >>> X, W = rng.normal(size=(30, 5)), rng.normal(size=(2, 5))
    >>> found = advise_targets(X, X @ W.T + rng.normal(size=(30, 2)), sources={"near": W})
    >>> list(found.advices), found.estimator_.predict(X).shape
    (['y0', 'y1'], (30, 2))
    """

    def __init__(self, advices: dict[str, TransferAdvice]) -> None:
        self.advices = advices

    def __getitem__(self, name: str) -> TransferAdvice:
        if name not in self.advices:
            raise KeyError(f"there is no advice on {name!r}, only on {list(self.advices)}")
        return self.advices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.advices)

    def __len__(self) -> int:
        return len(self.advices)

    @property
    def headline(self) -> str:
        """What to do, in two sentences."""
        using = [repr(name) for name, found in self.advices.items() if found.use != "scratch"]
        rest = [repr(name) for name, found in self.advices.items() if found.use == "scratch"]
        words = []
        if using:
            words.append(f"use sources for {_listed(using)}")
        if rest:
            words.append(f"train {_listed(rest)} from scratch")
        gain = np.mean([found.relative_gain for found in self.advices.values()])
        change = f"{abs(gain):.0%} {'less' if gain >= 0.0 else 'more'} held-out loss than"
        text = "; ".join(words)
        return (
            f"{text[0].upper()}{text[1:]}. On average over {len(self.advices)} columns of labels "
            f"{change} from scratch."
        )

    @property
    def estimator_(self) -> Any:
        """A model of all columns."""
        from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

        models: list[Any] = [found.estimator_ for found in self.advices.values()]
        regression = all(found.task == "regression" for found in self.advices.values())
        whole: Any = (MultiOutputRegressor if regression else MultiOutputClassifier)(models[0])
        whole.estimators_ = models
        if not regression:
            whole.classes_ = [model.classes_ for model in models]
        return whole

    def __str__(self) -> str:
        rows = [
            [
                name,
                found.use if found.use == "scratch" else f"{found.use}: {found.choice}",
                percent(found.p_helps),
                percents(found.relative_gain, found.relative_gain_low, found.relative_gain_high),
                found.verdict,
            ]
            for name, found in self.advices.items()
        ]
        heads = ["labels", "use", "better than scratch", "less loss", "verdict"]
        return f"{self.headline}\n\n{table([heads, *rows])}"

    def to_frame(self) -> pd.DataFrame:
        """One row for every column of labels (needs pandas).

        Returns
        -------
        DataFrame
            What is advised for it, with odds and gains.
        """
        keys = (
            "use", "choice", "p_helps", "relative_gain", "relative_gain_low", "relative_gain_high",
            "verdict", "headline",
        )  # fmt: skip
        rows = [{k: getattr(found, k) for k in keys} for found in self.advices.values()]
        frame: pd.DataFrame = load("pandas", "AdviceByTarget.to_frame").DataFrame(
            rows, index=list(self.advices)
        )
        return frame


def advise_targets(X: Any, y: ArrayLike, *, sources: Any, **options: Any) -> AdviceByTarget:
    """Say for every column of labels whether to start from a source.

    Every column is advised by itself, with what the sources say of it: one may help for a column
    and not for the next. Splits are the same for all columns of numbers. Verdicts are corrected
    for the number of sources, not of columns.

    Parameters
    ----------
    X : array_like or data frame of shape (n, d)
        Labelled target rows, as in `retemper.advise`.
    y : array_like or data frame of shape (n, k)
        Several columns of numbers, or of classes: zeros and ones where a row may have several
        labels at once. Names of a data frame are the names of the columns; else y0, y1, ...
    sources : dict, list or object
        Pretrained models of all columns, as in `retemper.advise`, with one output for each:
        coefficients (k, d), pairs of coefficients and intercepts, fitted models and networks with
        k outputs, functions or predictions (n, k), source rows with labels (m, k). Of models of
        scikit-learn with one estimator for every column (``MultiOutputClassifier``,
        ``OneVsRestClassifier``) each column takes its own.
    **options : object
        Arguments of `retemper.advise`.

    Returns
    -------
    AdviceByTarget
        An advice for each column, one headline, and a model of all.

    Raises
    ------
    ValueError
        If y has one column, columns are of different kinds, a source has another number of
        outputs, or as `retemper.advise` says, with the column named.
    TypeError
        If a source is none of the kinds above.

    See Also
    --------
    retemper.advise

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.advisor import advise_targets
    >>> rng = np.random.default_rng(0)
    >>> X, W = rng.normal(size=(30, 5)), rng.normal(size=(2, 5))
    >>> several = X @ W.T + rng.normal(size=(30, 2))
    >>> found = advise_targets(X, several, sources={"near": W})
    >>> found["y1"].choice
    'near'
    """
    if np.ndim(X) != 2:
        raise ValueError(f"X must have rows and columns, got shape {np.shape(X)}")
    columns = _columns(y)
    k = len(columns)
    named = name_sources(sources)
    split: dict[str, list[Any]] = {
        name: _by_column(given, X, k, f"sources[{name!r}]") for name, given in named.items()
    }
    advices: dict[str, TransferAdvice] = {}
    for c, (label, values) in enumerate(columns.items()):
        own = {name: parts[c] for name, parts in split.items()}
        try:
            advices[label] = advise(X, values, sources=own, **options)
        except (ValueError, TypeError) as error:
            raise type(error)(f"labels {label!r}: {error}") from error
    kinds = {"numbers" if found.task == "regression" else "classes" for found in advices.values()}
    if len(kinds) > 1:
        raise ValueError(
            "y must have columns of one kind, got numbers and classes: give task=, or advise "
            "them apart"
        )
    return AdviceByTarget(advices)


def _columns(y: Any) -> dict[str, Any]:
    if hasattr(y, "tocsr"):
        raise TypeError("y must be an array or a data frame, got a sparse matrix: pass y.toarray()")
    if np.ndim(y) != 2 or np.shape(y)[1] < 2:
        raise ValueError(
            f"y must have two columns of labels or more, got shape {np.shape(y)}: retemper.advise "
            "takes one"
        )
    if hasattr(y, "iloc"):
        names = [str(name) for name in y.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"y must have columns of different names, got {names}")
        return {name: y.iloc[:, c] for c, name in enumerate(names)}
    array = np.asarray(y)
    return {f"y{c}": array[:, c] for c in range(array.shape[1])}


@dataclasses.dataclass(frozen=True)
class _OneOutput:
    """A function of rows that gives one of the outputs of another."""

    function: Any
    column: int
    n_outputs: int

    def __call__(self, X: Any) -> Any:
        value = self.function(X)
        if isinstance(value, list) and len(value) == self.n_outputs:
            return np.asarray(value[self.column])  # probabilities of the classes of this column
        value = np.asarray(value)
        if value.ndim != 2 or value.shape[1] != self.n_outputs:
            raise ValueError(
                f"a source must give {self.n_outputs} outputs, one for each column of y, got "
                f"shape {value.shape}"
            )
        return value[:, self.column]


def _by_column(given: Any, X: Any, k: int, name: str) -> list[Any]:
    """A source for every column of labels."""
    if isinstance(given, str | Path) and not is_table(Path(given)):
        given = read_model(given)
    each = getattr(given, "estimators_", None)
    if isinstance(each, list) and len(each) == k:
        return list(each)
    if hasattr(given, "predict_proba"):
        return [_OneOutput(given.predict_proba, c, k) for c in range(k)]
    if isinstance(given, tuple) and len(given) == 2 and hasattr(given[0], "iloc"):
        if np.shape(given[1])[1:] != (k,):  # text and gaps of the rows are for `advise` to read
            raise ValueError(f"{name} must have {k} columns of labels, got {np.shape(given[1])}")
        return [(given[0], values) for values in _columns(given[1]).values()]
    read = read_source(given, X, faces=FACES, n_outputs=k, name=name)
    if read.data is not None:
        rows, labels = read.data
        if labels.ndim != 2 or labels.shape[1] != k:
            raise ValueError(f"{name} must have {k} columns of labels, got shape {labels.shape}")
        return [(rows, labels[:, c]) for c in range(k)]
    if read.coef is not None:
        return [(read.coef[c], read.intercept[c]) for c in range(k)]
    if read.values is not None:
        return [Predictions(read.values[:, c]) for c in range(k)]
    return [_OneOutput(read.function, c, k) for c in range(k)]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
