"""What decides: losses by rows, and scores of whole samples as losses by rows."""

from __future__ import annotations

import dataclasses
import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from retemper._validation import FloatArray
from retemper.advisor.sampling import Split

if TYPE_CHECKING:
    from retemper.advisor.task import Task

__all__ = ["LOSS_NAMES", "Scorer", "find_scoring"]

#: Losses by rows, the usual one of a task first.
SCORINGS = {
    "regression": ("squared", "absolute"),
    "classification": ("log loss", "accuracy", "balanced accuracy"),
}
#: What is lost, by the word for the scoring.
LOSS_NAMES = {
    "squared": "squared error",
    "absolute": "absolute error",
    "log loss": "log loss",
    "accuracy": "misclassification rate",
    "balanced accuracy": "balanced misclassification rate",
}
#: Parts of the names of scorers that would take numbers of classes for numbers.
_OF_NUMBERS = ("r2", "explained_variance", "_error", "deviance")
#: Parts of a sample that are left out in turn; more rows or groups are joined to so many.
_MOST_PARTS = 100
#: Digits of a score; beyond them is rounding.
_DIGITS = 12


class _Known(BaseEstimator):  # type: ignore[misc]
    """What a scorer asks of an estimator, answered from predictions that are known."""

    def __init__(self, value: Any = None, classes: Any = None) -> None:
        self.value = value
        self.classes = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any) -> Any:
        """Nothing is to be fitted."""
        return self


class _KnownRegressor(RegressorMixin, _Known):  # type: ignore[misc]
    def predict(self, X: Any) -> FloatArray:
        """Predictions."""
        return np.asarray(self.value[:, 0])


class _KnownClassifier(ClassifierMixin, _Known):  # type: ignore[misc]
    @property
    def classes_(self) -> NDArray[Any]:
        """Classes."""
        return np.asarray(self.classes)

    def _logits(self) -> FloatArray:
        value: FloatArray = self.value
        return np.hstack([np.zeros_like(value), value]) if value.shape[1] == 1 else value

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable classes."""
        return np.asarray(self.classes[self._logits().argmax(axis=1)])

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities."""
        return np.asarray(softmax(self._logits(), axis=1))

    def decision_function(self, X: Any) -> FloatArray:
        """Logits."""
        return np.asarray(self.value[:, 0] if self.value.shape[1] == 1 else self.value)


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A score of predictions on a sample, larger is better.

    Attributes
    ----------
    name : str
        For messages and results.
    call : callable
        Takes an estimator, rows and labels, as scikit-learn's scorers.
    is_loss : bool
        Whether it is minus a loss; else it is at most 1.
    is_named : bool
        Whether it is one of scikit-learn's by name: it is given classes as 0, 1, ..., so that the
        last in order is the positive one.
    """

    name: str
    call: Any
    is_loss: bool
    is_named: bool

    @property
    def loss_name(self) -> str:
        """What is lost."""
        if self.is_loss:
            return self.name.removeprefix("neg_").replace("_", " ")
        return f"1 − {self.name}"

    def score(self, task: Task, value: FloatArray, rows: NDArray[np.intp]) -> float:
        """Score of predictions for some rows.

        Parameters
        ----------
        task : Task
            The target.
        value : ndarray of shape (m, q)
            Predictions for these rows, or logits.
        rows : ndarray of shape (m,)
            Rows to judge.

        Returns
        -------
        float
            The score; NaN if it is not defined on these rows.

        Raises
        ------
        ValueError
            If the score is above 1 and not minus a loss, or the scorer fails.
        """
        labels = task.y[rows] if self.is_named else task.labels[rows]
        known: Any = _KnownRegressor(value)
        if task.classes is not None:
            labels = labels.astype(np.intp) if self.is_named else labels
            classes = np.arange(task.n_classes) if self.is_named else task.classes
            known = _KnownClassifier(value, classes)
        given: Any = np.zeros((len(rows), 1))
        if not self.is_named:
            given = task.given.iloc[rows] if hasattr(task.given, "iloc") else task.rows[rows]
        more = {"sample_weight": task.sample.weight[rows]} if task.sample.is_weighted else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a score that is not defined is NaN
                found = float(self.call(known, given, labels, **more))
        except Exception as error:
            raise ValueError(
                f"scoring {self.name!r} fails on held-out predictions of {task.name} labels: "
                f"{' '.join(str(error).split())}"
            ) from error
        if not self.is_loss and found > 1.0 + 1e-9:
            raise ValueError(
                f"scoring must give at most 1, or minus a loss, got {found:.6g} of {self.name!r}"
            )
        return found

    def losses(self, task: Task, splits: list[Split], scores: list[FloatArray]) -> FloatArray:
        """Losses by rows whose mean is that of the sample.

        The predictions of splits that judge different rows are scored together. What a row adds to
        the score is found by leaving it out (its pseudo-value); a score that is a mean over rows
        gets back its values. Derived here (`advise#how-it-decides`).

        Parameters
        ----------
        task : Task
            The target.
        splits : list of tuple
            Rows to learn from and rows to judge.
        scores : list of ndarray of shape (c, m, q)
            Predictions of every candidate for the rows that a split judges.

        Returns
        -------
        ndarray of shape (c, n)
            Averages over the splits that judged a row; NaN where none did.

        Raises
        ------
        ValueError
            If the score is not defined on rows that are judged together.
        """
        c, n = len(scores[0]), len(task.y)
        total, count = np.zeros((c, n)), np.zeros(n)
        for some in _rounds(splits):
            rows = np.concatenate([splits[k][1] for k in some])
            value = np.concatenate([scores[k] for k in some], axis=1)
            count[rows] += 1
            part, joined = _parts(task, rows)
            for i in range(c):
                total[i, rows] += self._pseudo(task, value[i], rows, part, joined)
        count[count == 0] = np.nan
        found = np.round(total / count, _DIGITS)  # equal candidates stay equal
        return np.asarray(-found if self.is_loss else 1.0 - found)

    def _pseudo(
        self,
        task: Task,
        value: FloatArray,
        rows: NDArray[np.intp],
        part: NDArray[np.intp],
        joined: FloatArray,
    ) -> FloatArray:
        whole = self.score(task, value, rows)
        if not np.isfinite(whole):
            raise ValueError(
                f"scoring {self.name!r} is not defined on {len(rows)} held-out rows: label more "
                "rows of the rare classes, or judge more of them together with cv="
            )
        weight = task.sample.weight[rows]
        share = np.bincount(part, weights=weight) / weight.sum()
        moved = np.zeros(len(share))
        for b in np.flatnonzero((share > 0.0) & (share < 1.0)):
            rest = part != b
            without = self.score(task, value[rest], rows[rest])
            if np.isfinite(without):
                moved[b] = (whole - without) * (1.0 - share[b]) / share[b]
        moved -= share @ moved  # the mean is the score itself
        # several groups left out at once vary less than each of them
        return np.asarray((whole + np.sqrt(joined) * moved)[part])


def _rounds(splits: list[Split]) -> list[list[int]]:
    """Consecutive splits that judge different rows."""
    rounds: list[list[int]] = []
    seen: set[int] = set()
    for k, (_, test) in enumerate(splits):
        mine = set(test.tolist())
        if not rounds or seen & mine:
            rounds.append([])
            seen = set()
        rounds[-1].append(k)
        seen |= mine
    return rounds


def _parts(task: Task, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], FloatArray]:
    """The part of every row that is left out at once, and how many groups are joined in it."""
    _, first, code = np.unique(task.sample.group[rows], return_index=True, return_inverse=True)
    many = len(first)
    if many <= _MOST_PARTS:
        return code, np.ones(many)
    place = np.empty(many, dtype=np.intp)
    place[np.argsort(task.y[rows][first], kind="stable")] = np.arange(many) % _MOST_PARTS
    return place[code], np.bincount(place).astype(np.float64)


def find_scoring(scoring: Any, *, is_regression: bool) -> tuple[str, Scorer | None]:
    """The loss that decides.

    Parameters
    ----------
    scoring : None, str or callable
        As `advise` takes it.
    is_regression : bool
        Whether labels are numbers.

    Returns
    -------
    str, Scorer or None
        Its name, and the scorer if it is no loss by rows.

    Raises
    ------
    ValueError
        If there is no such loss or score.
    TypeError
        If it is neither text nor callable.
    """
    task = "regression" if is_regression else "classification"
    known = SCORINGS[task]
    if scoring is None:
        return known[0], None
    if callable(scoring):
        made = getattr(scoring, "_score_func", scoring)
        name = str(getattr(made, "__name__", type(made).__name__))
        return name, Scorer(name, scoring, getattr(scoring, "_sign", 1) < 0, False)
    if not isinstance(scoring, str):
        raise TypeError(f"scoring must be a name or a function, got {scoring!r}")
    word = scoring.replace("_", " ").replace("-", " ")
    if word in known:
        return word, None
    from sklearn.metrics import get_scorer, get_scorer_names

    name = scoring.replace("-", "_").replace(" ", "_")
    if name in get_scorer_names():
        if not is_regression and any(word in name for word in _OF_NUMBERS):
            raise ValueError(f"scoring {scoring!r} is for numbers, y holds classes")
        if is_regression and not any(word in name for word in _OF_NUMBERS):
            raise ValueError(
                f"scoring {scoring!r} is for classes, y was read as numbers: "
                "task='classification' reads them as classes"
            )
        return name, Scorer(name, get_scorer(name), name.startswith("neg_"), True)
    near = get_close_matches(name, [*get_scorer_names(), *known], n=3, cutoff=0.6)
    meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(
        f"scoring must be a scorer of scikit-learn or one of {', '.join(map(repr, known))} for "
        f"{task} labels, got {scoring!r}{meant}"
    )
