"""The estimator that fine-tunes a classifier."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._control import report_status
from retemper._results import Status
from retemper._sources import LARGEST_LABEL, Source, read_source
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    check_choice,
    check_entries,
    check_integer,
    check_real,
    naming,
)
from retemper.exceptions import ValidityWarning
from retemper.linear.folds import read_folds
from retemper.linear.logistic.choice import (
    Judge,
    LogisticChoice,
    choose_fit,
    draw_folds,
)
from retemper.linear.logistic.path import (
    LogisticFit,
    LogisticPath,
    Split,
    by_class,
    log_loss_rows,
    probabilities,
)
from retemper.linear.metric import resolve_metric
from retemper.linear.training_data import check_switch, check_weights

__all__ = ["FineTunedLogisticRegression"]


class FineTunedLogisticRegression(
    TransferMixin,
    ClassifierMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Logistic regression that shrinks towards a pretrained model.

    Minimises :math:`\sum_i s_i \ell(y_i, z_i) / \sum_i s_i + (\lambda / 2) \lVert W \rVert^2`, the
    mean log loss in nats with sample weights s, where :math:`z_i = c f_S(x_i) + W x_i + b` are the
    logits of the source, times its scale, and of the correction W. For half the squared error
    in place of the log loss, `FineTunedLinearRegression` has the same ridge :math:`\lambda`; in
    scikit-learn's convention without a source, :math:`\lambda = 1 / (n C)`. Two classes have one
    logit, that of the second class, penalised once; k > 2 classes have k, the symmetric
    parametrisation of the softmax, in which the rows of W, and the fitted offsets, add up to zero.

    Parameters
    ----------
    ridge : float or "cv", default="cv"
        Penalty on the distance from the source, dimension of the squared features. "cv" compares
        infinity and a log-spaced grid that follows the spectrum of the rows by the log loss of
        left-out rows. ``inf`` keeps the source and fits the intercept alone.
    source : None, array_like of shape (d,) or (k, d), fitted classifier or callable, default=None
        The pretrained model; None is zero. Of a linear classifier ``coef_`` and ``intercept_`` are
        used, row by row of the matching ``classes_``; of any other ``log(predict_proba)``, with
        probabilities clipped at 1e-4 from below, or else ``decision_function``. Classes of the
        source that the target does not have are left out, missing ones are an error. Coefficients
        for two classes may be one row or their two. A callable maps rows to logits, (m,) for two
        classes and (m, k) otherwise. The source must not have seen the rows it is fine-tuned on:
        this cannot be detected, and every error estimate is then too small.
    source_scale : float or "auto", default=1.0
        Factor on the logits of the source. "auto" fits it along with the slopes, of either sign,
        again in every split, with the penalty of a normal prior under which the logits of the
        source have a root mean square of 4.
    fit_intercept : bool, default=True
        Whether the offsets are fitted, without penalty. If not, those of the source are kept.
    metric : None, "covariance", "fisher" or array_like of shape (d, d) or (d,), default=None
        Replaces the squared norm of every row w of W by :math:`w M w^T`: the weighted covariance
        of the rows of X, the Fisher information of the scaled source on them (per row, averaged
        over the classes, a free intercept profiled out), or any symmetric positive definite
        matrix or its diagonal. To the first two a thousandth of their mean eigenvalue is added.
    class_weight : None, "balanced" or dict, default=None
        Factors on the weights of the rows by class, as in scikit-learn.
    cv : None, int, cross-validation splitter or iterable of (train, test), default=None
        Splits by which "cv" compares ridges, as those of rows in groups or in time; the least log
        loss then chooses. None draws five folds over which classes are spread evenly, four times up
        to 50 rows, twice up to 200, else once, and takes the largest ridge whose loss is within
        a quarter of a standard error of the least. An integer stands for folds of the rows with
        weight, with alike shares of the classes. Splitters and iterables number all rows as they
        were given; rows without weight neither train nor test.
    random_state : None, int, SeedSequence or Generator, default=0
        Seed of the folds.
    max_iter : int, default=100
        Limit of the Newton steps at every ridge.
    tol : float, default=1e-8
        Largest change of a logit in the last step, relative to one plus the largest logit.

    Attributes
    ----------
    coef_ : ndarray of shape (1, d) or (k, d)
        Slopes; those of the correction alone if the source is known by its predictions.
    intercept_ : ndarray of shape (1,) or (k,)
        Offsets.
    classes_ : ndarray of shape (k,)
        Classes.
    ridge_, source_scale_ : float
        The ones used; the scale is zero without a source.
    loo_ : float
        Leave-one-out log loss at the ridge used, nats, weighted mean. Where the ridge was chosen,
        what rows lose more if the other splits alone choose it is added.
    loo_error_rate_ : float
        Leave-one-out share of rows classified wrongly, weighted.
    loo_loss_rows_ : ndarray of shape (n,)
        Leave-one-out log loss of every row; NaN for rows without weight and for those alone in
        their class.
    ridges_, cv_curve_ : ndarray of shape (j,)
        Ridges that were compared, descending, and the log loss of left-out rows at each, weighted
        mean. With a given ridge ``ridges_`` is that one and ``cv_curve_`` is absent.
    n_iter_ : int
        Newton steps in all.
    n_features_in_ : int
        d.
    source_function_ : callable or None
        The source, if it is known by its predictions alone.

    Raises
    ------
    ValueError
        If an argument lies outside its domain, shapes do not fit, there is one class only, or
        ``ridge=0`` and the features separate the classes, so that there is no minimum.
    TypeError
        If data are sparse, or a source is none of the kinds above.

    Warns
    -----
    ConvergenceWarning
        If the iteration stops before ``tol`` is reached; the residual is the last change.
    ValidityWarning
        If ``X`` does not vary, the smallest of the ridges is chosen, or no split has two classes to
        learn from, so that the source is kept.

    See Also
    --------
    FineTunedLinearRegression, retemper.perceptron.MarginPerceptronClassifier

    Notes
    -----
    Ridges are compared by fits without the rows that are judged, on a path from infinity down that
    ends where every direction is fitted and the loss has risen over a factor of ten. The loss of a
    row is bounded: a thousandth of even odds is mixed into the probabilities. Rows alone in their
    class always train. The rule, five repeated folds and a quarter of a standard error, stands
    beside others in ``bench/choice_logistic.py``, on samples of 10 to 150 rows. Approximate
    leave-one-out does not choose: it takes almost no ridge where the classes are separated.

    Leave-one-out refits without every row in turn up to 200 rows. Above, its logits are those after
    one Newton step from the fit of all rows,

    .. math:: z_i^{(-i)} = z_i - G_i (1 - s_i H_i G_i)^{-1} s_i (y_i - p_i),

    with :math:`G_i` the inverse Hessian between the features of row i and :math:`H_i` the second
    derivatives of its loss; exact for a quadratic loss. Derived here
    (`derivations/linear#from-your-own-rows`), known as approximate leave-one-out [1]_ [2]_. As in
    linear regression the penalty on the *sum* of losses is kept when rows leave, and a row leaves
    with all of its weight: a weight is one observation that counts more, not several. With more
    than 2000 parameters for three classes or more, the Hessian is replaced there by one block for
    every class. Work is done in a basis of min(n, d) directions at most, by Newton steps from
    conjugate gradients.

    References
    ----------
    .. [1] K. Rahnama Rad, A. Maleki, "A scalable estimate of the out-of-sample prediction error via
       approximate leave-one-out cross-validation", J. R. Stat. Soc. B 82 (2020).
    .. [2] S. Wang, W. Zhou, H. Lu, A. Maleki, V. Mirrokni, "Approximate leave-one-out for fast
       parameter tuning in high dimensions", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import FineTunedLogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 50)), 0.5 * rng.normal(size=50)
    >>> y = rng.random(30) < 1 / (1 + np.exp(-X @ w))
    >>> tuned = FineTunedLogisticRegression(source=w + 0.1 * rng.normal(size=50)).fit(X, y)
    >>> bool(tuned.loo_ < FineTunedLogisticRegression().fit(X, y).loo_)
    True
    """

    coef_: FloatArray
    intercept_: FloatArray
    classes_: NDArray[Any]
    cv_curve_: FloatArray
    loo_loss_rows_: FloatArray

    def __init__(
        self,
        ridge: float | Literal["cv"] = "cv",
        source: Any = None,
        *,
        source_scale: float | Literal["auto"] = 1.0,
        fit_intercept: bool = True,
        metric: Any = None,
        class_weight: Any = None,
        cv: Any = None,
        random_state: Any = 0,
        max_iter: int = 100,
        tol: float = 1e-8,
    ) -> None:
        self.ridge = ridge
        self.source = source
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
        self.metric = metric
        self.class_weight = class_weight
        self.cv = cv
        self.random_state = random_state
        self.max_iter = max_iter
        self.tol = tol

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fine-tune the source on target rows.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Target rows, n at least 2.
        y : array_like of shape (n,)
            Classes, at least two.
        sample_weight : None or array_like of shape (n,), default=None
            Weights, not negative; a common factor does not matter.
        groups : None or array_like of shape (n,), default=None
            Groups of the rows, for a splitter in ``cv`` that keeps them together.

        Returns
        -------
        FineTunedLogisticRegression
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        self._check_arguments()
        given = X if hasattr(X, "iloc") else None
        rows, labels = validate_data(self, X, y, dtype=np.float64, order="C", ensure_min_samples=2)
        check_entries(rows, "X", largest=LARGEST_LABEL)
        if labels.dtype.kind == "f":
            check_entries(labels.astype(np.float64), "y", largest=LARGEST_LABEL)
        with naming("y"):
            check_classification_targets(labels)
        weight = check_weights(sample_weight, rows)
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, labels)
            weight = check_weights(weight, rows)
        kept = weight > 0.0
        self.classes_, labels = np.unique(labels[kept], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have two classes or more, rows of positive weight have one class only: "
                f"{self.classes_.tolist()[0]!r}"
            )
        source = None
        scores = np.zeros((len(rows), 1 if len(self.classes_) == 2 else len(self.classes_)))
        if self.source is not None:
            source = read_source(
                self.source, rows if given is None else given, classes=self.classes_
            )
            scores = source.predict(rows, given)
        if self.cv is not None and not isinstance(self.ridge, str):
            raise ValueError(f"cv chooses the ridge: give ridge='cv', got {self.ridge!r}")
        splits: Sequence[Split] = ()
        if isinstance(self.ridge, str):
            splits = draw_folds(labels, self.random_state)
        if self.cv is not None:
            splits = read_folds(self.cv, y, kept, groups=groups, is_classifier=True)
        if not kept.all():
            rows, scores, weight = rows[kept], scores[kept], weight[kept]

        information = weight
        if isinstance(self.metric, str) and self.metric == "fisher":
            factor = 1.0 if self.source_scale == "auto" else float(self.source_scale)
            prob = probabilities(factor * scores)
            information = weight * (prob * (1.0 - prob)).mean(axis=1)
        metric = resolve_metric(self.metric, rows, information, fit_intercept=self.fit_intercept)
        path = LogisticPath(
            rows if metric is None else metric.rows(rows),
            labels,
            len(self.classes_),
            weight,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            n_threads=effective_n_threads(None),
        )
        if not path.rank:
            warnings.warn(
                "X does not vary: the slopes are those of the source", ValidityWarning, stacklevel=2
            )
        judge = Judge(path, splits, plain=self.cv is not None)
        choice = choose_fit(
            judge,
            scores,
            ridge=self.ridge,
            source_scale=0.0 if source is None else self.source_scale,
            tol=self.tol,
        )
        if isinstance(self.ridge, str) and not choice.by.losses.size:
            warnings.warn(
                "no split has rows of two classes to learn from and one of them to judge: the "
                "source is kept; give ridge",
                ValidityWarning,
                stacklevel=2,
            )
        if path.rank and isinstance(self.ridge, str) and 0.0 < choice.fit.ridge == judge.grid[-1]:
            warnings.warn(
                f"the chosen ridge {choice.fit.ridge:.4g} is the smallest that was tried: the "
                f"classes are separated, or almost, and probabilities may be too certain; give "
                f"ridge",
                ValidityWarning,
                stacklevel=2,
            )
        fit = choice.fit
        if fit.status is Status.NO_SOLUTION:
            raise ValueError(
                "ridge must be positive where the features separate the classes: the loss has no "
                "minimum at ridge=0"
            )
        report_status(fit.status, fit.residual, f"logistic regression at ridge={fit.ridge:.4g}")
        self.n_iter_ = choice.by.n_iter + choice.fit.n_iter
        self.source_scale_ = choice.source_scale
        self.ridges_ = choice.by.ridges
        self.__dict__.pop("cv_curve_", None)  # of an earlier fit with a choice
        if choice.by.losses.size:
            self.cv_curve_ = choice.by.losses
        self._leave_out(judge, choice, kept)
        self._finish(path, fit, source, metric)
        return self

    def _leave_out(self, judge: Judge, choice: LogisticChoice, kept: NDArray[np.bool_]) -> None:
        path = judge.path
        left_out = path.left_out(choice.start, choice.fit)
        losses = log_loss_rows(left_out, path.labels)
        known = np.isfinite(losses)
        weight = path.weight[known] / path.weight[known].sum()
        wrong = by_class(left_out[known]).argmax(axis=1) != path.labels[known]
        self.loo_, self.loo_error_rate_ = math.nan, math.nan
        if known.any():
            self.loo_ = float(weight @ losses[known]) + judge.optimism(choice.by)
            self.loo_error_rate_ = float(weight @ wrong)
        self.loo_loss_rows_ = np.full(len(kept), np.nan)
        self.loo_loss_rows_[kept] = losses

    def _check_arguments(self) -> None:
        if isinstance(self.ridge, str):
            check_choice(self.ridge, "ridge", ("cv",), besides="a number in [0, inf]")
        else:
            check_real(self.ridge, "ridge", low=0.0, allow_inf=True)
        if isinstance(self.source_scale, str):
            check_choice(self.source_scale, "source_scale", ("auto",), besides="a number")
        else:
            check_real(self.source_scale, "source_scale")
        check_switch(self.fit_intercept, "fit_intercept")
        check_integer(self.max_iter, "max_iter", low=1)
        check_real(self.tol, "tol", low=0.0, open_low=True)

    def _finish(
        self, path: LogisticPath, fit: LogisticFit, source: Source | None, metric: Any
    ) -> None:
        coef, offset = path.coef(fit)
        if metric is not None:
            coef = metric.coef(coef)
        if source is not None:
            offset = offset + self.source_scale_ * source.intercept
            if source.coef is not None:
                coef = coef + self.source_scale_ * source.coef
        self.ridge_ = float(fit.ridge)
        self.coef_, self.intercept_ = np.ascontiguousarray(coef), np.array(offset)
        self.source_function_ = None if source is None else source.function

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Logits.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (m, d)
            Rows. Sparse ones stay sparse unless the source is a function.

        Returns
        -------
        ndarray of shape (m,) or (m, k)
            Logit of the second class, or of every class.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If the number of columns differs from that in `fit`.
        """
        check_is_fitted(self)
        given = X if hasattr(X, "iloc") else None
        rows = validate_data(
            self, X, dtype=np.float64, order="C", accept_sparse="csr", reset=False
        )  # fmt: skip
        value: FloatArray = rows @ self.coef_.T + self.intercept_
        if self.source_function_ is not None:
            rows = rows.toarray() if hasattr(rows, "tocsr") else rows
            source = Source(
                "source", "function", None, np.zeros(len(self.coef_)), self.source_function_
            )
            value = value + self.source_scale_ * source.predict(rows, given)
        return value[:, 0] if len(self.classes_) == 2 else value

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
        logits = self.decision_function(X)
        if logits.ndim == 1:
            return -np.logaddexp(0.0, np.stack([logits, -logits], axis=1))
        shifted: FloatArray = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

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
        logits = self.decision_function(X)
        winner = (logits > 0.0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        return np.asarray(self.classes_[winner])
