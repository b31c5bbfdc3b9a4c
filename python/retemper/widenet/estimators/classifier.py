"""A network for classes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from retemper._base import validate_data
from retemper._sources import column_names
from retemper._validation import FloatArray, check_entries, naming
from retemper.widenet.estimators.base import PARAMETERS, FranzParisiEstimator
from retemper.widenet.scaling import TaskData

__all__ = ["FranzParisiClassifier"]


def signs_of(y: NDArray[Any], what: str) -> tuple[FloatArray, NDArray[Any]]:
    """Labels -1 and +1, (n,) for two classes and (n, n_classes) for more; the classes."""
    classes, codes = np.unique(y, return_inverse=True)
    if classes.size < 2:
        raise ValueError(
            f"{what} must hold at least two classes, got one class only: {classes.tolist()}"
        )
    if classes.size == 2:
        return np.asarray(2.0 * codes - 1.0, dtype=np.float64), classes
    return np.where(codes[:, None] == np.arange(classes.size), 1.0, -1.0), classes


class FranzParisiClassifier(  # noqa: D101
    ClassifierMixin,  # type: ignore[misc]
    FranzParisiEstimator,
):
    __doc__ = (
        r"""Classification by regression of labels -1 and +1, from a source task.

    Two classes are one output; more are one output per class, against the rest. The probability of
    +1 is :math:`\Phi(a f / \sqrt{\Theta + \Omega + T})` of the mean f and its variances, where a is
    the factor at which left-out target labels are most probable (derived here:
    `derivations/widenet#predictions-and-their-variances`). The source may have classes of its own:
    two classes serve any target, more must be as many as the target's, matched in sorted order.
"""
        + PARAMETERS
        + """
    Attributes
    ----------
    classes_ : ndarray
        Classes of the target.
    gamma_ : float
        Coupling in use.
    Q_s_, Q_t_, Q_tt_, Q_st_, delta_ : float or ndarray of shape (n_outputs,)
        Order parameters, as in `WideNetTheory`.
    loo_ : float
        Leave-one-out squared error of one random network on labels -1 and +1, summed over outputs.
    log_evidence_ : float
        Expected log evidence of those labels given a source network, nats.
    path_ : GammaPath
        Theory along the grid, in units of the standardised labels, with the random-anchor control.
    verdict_ : TransferVerdict or None
        Whether the source helps; None without a source.
    score_scale_ : float
        The factor a of the probabilities, one for all outputs; below 1 where Gaussian ones are too
        sure.
    n_iter_ : int
        Evaluations of the saddle-point equations at ``gamma_``.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If an argument lies outside its domain, shapes do not fit, there is only one class, or a
        kernel is singular at temperature zero.
    TypeError
        If data are sparse or not real, or the source is none of the kinds above.

    Warns
    -----
    ValidityWarning
        If a nonlinear network has more than 2 samples per effective input dimension.

    See Also
    --------
    FranzParisiRegressor, transfer_verdict

    References
    ----------
    .. [1] A. Ingrosso, R. Pacelli, P. Rotondo and F. Gerace, "Statistical Mechanics of Transfer
       Learning in Fully Connected Networks in the Proportional Limit", Phys. Rev. Lett. 134 (2025)
       177301. Equations derived here (`derivations/widenet#saddle-point`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import FranzParisiClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(120, 200)), rng.normal(size=200)
    >>> y = np.where(X @ teacher > 0, "yes", "no")
    >>> net = FranzParisiClassifier(width=50, source=(X[20:], y[20:])).fit(X[:20], y[:20])
    >>> net.predict_proba(X[:3]).shape, str(net.classes_[1])
    ((3, 2), 'yes')
    """
    )

    classes_: NDArray[Any]

    def _source_labels(self, y: ArrayLike) -> FloatArray:
        labels = np.asarray(y)
        if labels.ndim != 1:
            raise ValueError(f"source y must be 1-D, got an array of shape {labels.shape}")
        with naming("y"):
            check_classification_targets(labels)
        return signs_of(labels, "source y")[0]

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Solve the path of couplings and choose one.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Target inputs, n at least 2.
        y : array_like of shape (n,)
            Target classes, at least two.

        Returns
        -------
        FranzParisiClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64, order="C", ensure_min_samples=2)
        check_entries(rows, "X")
        if labels.dtype.kind == "f":
            check_entries(labels.astype(np.float64), "y")
        with naming("y"):
            check_classification_targets(labels)
        signs, self.classes_ = signs_of(labels, "y")
        columns = signs.reshape(len(signs), -1)
        self._fit_task(X, TaskData(rows, columns, signs.ndim == 1, column_names(X)))
        self.score_scale_ = self._fit.score_scale()
        return self

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Mean output over its standard deviation: positive for the second of two classes.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes)
            Standard deviations, label noise included, between the mean and zero.
        """
        mean, thermal, quenched = self._parts(X)
        variance = thermal + quenched + self._fit.noise_var
        score = mean / np.sqrt(np.maximum(variance, 1e-300))
        return score[:, 0] if self._fit.tasks.data.is_flat else score

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Class of the larger probability.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n,)
            Classes.
        """
        check_is_fitted(self)
        if self._fit.tasks.data.is_flat:
            codes = (self._mean(X)[:, 0] > 0).astype(np.intp)
        else:
            codes = self.decision_function(X).argmax(1)
        return np.asarray(self.classes_[codes])

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Class probabilities of a noisy label, calibrated by leave-one-out.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Rows sum to one.
        """
        p = ndtr(self.decision_function(X) * self.score_scale_)
        if self._fit.tasks.data.is_flat:
            return np.column_stack([1.0 - p, p])
        p = np.maximum(p, 1e-300)
        return np.asarray(p / p.sum(1, keepdims=True))
