"""The average of fits that an advice predicts with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from retemper._validation import FloatArray


class _Average(BaseEstimator):  # type: ignore[misc]
    def __init__(self, members: Any, weights: Any) -> None:
        self.members = members
        self.weights = weights

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(member, "n_features_in_") for member in self.members)

    def fit(self, X: ArrayLike, y: ArrayLike) -> Any:
        """Fit every member anew, at the weights that the advice found.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Rows.
        y : array_like of shape (n,)
            Labels.

        Returns
        -------
        object
            Itself.
        """
        for member in self.members:
            member.fit(X, y)
        return self

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        return int(self.members[0].n_features_in_)


class AdvisedRegressor(RegressorMixin, _Average):  # type: ignore[misc]
    """Weighted average of the fits that a sample cannot tell apart.

    Parameters
    ----------
    members : list of estimator
        Fitted regressors.
    weights : list of float
        Their weights, which add up to one.

    See Also
    --------
    AdvisedClassifier, retemper.advise

    Notes
    -----
    Made by `retemper.advise`. The weights are those of its evidence; derived here
    (`advise#how-it-decides`).

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 5)), np.arange(5.0)
    >>> y = X @ w + rng.normal(size=30)
    >>> model = retemper.advise(X, y, sources={"near": w + 0.1, "far": -w}).estimator_
    >>> type(model).__name__, model.predict(X).shape
    ('AdvisedRegressor', (30,))
    """

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m,)
            Labels.
        """
        check_is_fitted(self)
        parts = [w * m.predict(X) for w, m in zip(self.weights, self.members, strict=True)]
        return np.asarray(np.sum(parts, axis=0))


class AdvisedClassifier(ClassifierMixin, _Average):  # type: ignore[misc]
    """Average of the logits of the fits that a sample cannot tell apart.

    Parameters
    ----------
    members : list of estimator
        Fitted classifiers.
    weights : list of float
        Their weights, which add up to one.

    See Also
    --------
    AdvisedRegressor, retemper.advise

    Notes
    -----
    Made by `retemper.advise`. The weights are those of its evidence; derived here
    (`advise#how-it-decides`).

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(20, 3)), np.array([1.0, -1.0, 0.0])
    >>> y = np.where(X @ w + rng.normal(size=20) > 0, "yes", "no")
    >>> model = retemper.advise(X, y, sources={"near": w}).estimator_
    >>> type(model).__name__, model.classes_.tolist()
    ('AdvisedClassifier', ['no', 'yes'])
    """

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes."""
        return np.asarray(self.members[0].classes_)

    def predict_log_proba(self, X: ArrayLike) -> FloatArray:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m, k)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        parts = [
            w * m.predict_log_proba(X) for w, m in zip(self.weights, self.members, strict=True)
        ]
        return np.asarray(log_softmax(np.sum(parts, axis=0), axis=1))

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m, k)
            In the order of ``classes_``.
        """
        return np.asarray(np.exp(self.predict_log_proba(X)))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable classes.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m,)
            Classes.
        """
        return np.asarray(self.classes_[self.predict_log_proba(X).argmax(axis=1)])
