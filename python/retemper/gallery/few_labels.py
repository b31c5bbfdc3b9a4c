"""Bundled tables with few labels: the margin classifier against three rivals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray, check_choice, check_integer

__all__ = ["METHODS", "TABLES", "few_label_accuracies", "few_label_accuracy", "table"]

DIGITS = ((3, 8), (4, 9), (1, 7), (0, 6), (5, 9))
TABLES = ("breast cancer", *(f"digits {a} against {b}" for a, b in DIGITS))
METHODS = ("margin", "logistic", "spreading", "self-training")


def table(name: str) -> tuple[FloatArray, NDArray[np.int64]]:
    """Standardised rows and classes 0 and 1 of a table that comes with scikit-learn.

    Parameters
    ----------
    name : str
        One of `TABLES`.

    Returns
    -------
    X : ndarray of shape (n, d)
        Rows.
    y : ndarray of shape (n,)
        Classes.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.preprocessing import StandardScaler

    check_choice(name, "name", TABLES)
    if name == "breast cancer":
        X, y = load_breast_cancer(return_X_y=True)
    else:
        a, b = DIGITS[TABLES.index(name) - 1]
        digits = load_digits()
        used = np.isin(digits.target, (a, b))
        X, y = digits.data[used], digits.target[used] == b
    return StandardScaler().fit_transform(X), np.asarray(y, np.int64)


def _models() -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

    from retemper.perceptron.estimators import MarginPerceptronClassifier

    return {
        "margin": MarginPerceptronClassifier,
        "logistic": LogisticRegression,
        "spreading": lambda: LabelSpreading(kernel="knn", n_neighbors=7),
        "self-training": lambda: SelfTrainingClassifier(LogisticRegression()),
    }


def few_label_accuracy(
    X: FloatArray, y: NDArray[np.int64], n_labels: int, n_draws: int
) -> FloatArray:
    """Accuracy on the rows whose label is hidden, for every method and draw of labelled rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    y : ndarray of shape (n,)
        Classes 0 and 1.
    n_labels : int
        Labelled rows per class.
    n_draws : int
        Random choices of these rows; draw k is the same whatever their number.

    Returns
    -------
    ndarray of shape (4, n_draws)
        In the order of `METHODS`; the logistic regression sees the labelled rows alone.

    Raises
    ------
    ValueError
        If a number is not positive.

    See Also
    --------
    few_label_accuracies

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from retemper.gallery import METHODS, few_label_accuracy
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> accuracy = few_label_accuracy(X, y, 2, 2)
    >>> accuracy.shape == (2, len(METHODS)), bool(accuracy.max() > 0.8)
    (False, True)
    """
    check_integer(n_labels, "n_labels", low=1)
    check_integer(n_draws, "n_draws", low=1)
    models = _models()
    scores = np.empty((len(METHODS), n_draws))
    for draw in range(n_draws):
        rng = np.random.default_rng([draw, n_labels])
        known = np.full(y.size, -1)
        for c in (0, 1):
            known[rng.choice(np.flatnonzero(y == c), n_labels, replace=False)] = c
        hidden = known == -1
        for k, name in enumerate(METHODS):
            rows = ~hidden if name == "logistic" else np.ones(y.size, bool)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # rivals warn of labels that nothing reaches
                model = models[name]().fit(X[rows], known[rows])
                scores[k, draw] = (model.predict(X[hidden]) == y[hidden]).mean()
    return scores


def few_label_accuracies(
    name: str, labels: Sequence[int], n_draws: int
) -> tuple[FloatArray, FloatArray]:
    """Accuracy against the number of labels on a bundled table.

    Parameters
    ----------
    name : str
        One of `TABLES`.
    labels : sequence of int
        Labelled rows per class.
    n_draws : int
        Random choices of these rows.

    Returns
    -------
    mean, stderr : ndarray of shape (4, len(labels))
        Mean over draws and its standard error, in the order of `METHODS`.

    Raises
    ------
    ValueError
        If there is no such table, or a number is not positive.

    See Also
    --------
    few_label_accuracy

    Examples
    --------
    >>> from retemper.gallery import METHODS, few_label_accuracies
    >>> mean, stderr = few_label_accuracies("digits 3 against 8", (2,), 2)
    >>> mean.shape == (len(METHODS), 1)
    True
    """
    X, y = table(name)
    found = np.stack([few_label_accuracy(X, y, count, n_draws) for count in labels], axis=1)
    return found.mean(axis=2), found.std(axis=2, ddof=1) / np.sqrt(n_draws)
