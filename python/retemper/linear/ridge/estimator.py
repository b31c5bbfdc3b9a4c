"""The estimator that fine-tunes a linear predictor."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._sources import LARGEST_LABEL, Source, read_source
from retemper._validation import FloatArray, as_float_array, check_entries
from retemper.exceptions import ValidityWarning
from retemper.linear.folds import read_folds
from retemper.linear.metric import Metric, resolve_metric
from retemper.linear.ridge.candidates import Candidates
from retemper.linear.ridge.fit import FitSettings, RidgeFit, fit_candidates
from retemper.linear.ridge.streaming import StreamedRows, is_streamed
from retemper.linear.training_data import check_switch, check_training_data, check_weights

__all__ = ["FineTunedLinearRegression"]


class FineTunedLinearRegression(
    TransferMixin,
    MultiOutputMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Linear regression that starts from a pretrained model.

    The end point of training from a source :math:`w_0`: at depth 1 the minimiser of
    :math:`n^{-1}\lVert y - b - Xw\rVert^2 + \lambda\lVert w - w_0\rVert^2` (sample weights have
    mean one), at depth L of a linear network with L balanced layers trained by gradient flow, which
    is the same fit from a rescaled source. Ridge, depth and scale of the source are chosen by exact
    leave-one-out or generalised cross-validation, from one eigendecomposition.

    Parameters
    ----------
    depth : int, inf, "loo" or "gcv", default=1
        Number of layers; a word chooses among 1, 2, 3, 5, 10 and inf by that criterion.
    ridge : float, "loo" or "gcv", default="loo"
        Penalty on the distance from the source, dimension of the squared features. A word chooses
        it by that criterion, or by the folds of ``cv``, from infinity, a log-spaced grid down to a
        tenth of the smallest eigenvalue, and zero (at depth 1 not where rows are repeated, nor by
        folds). ``inf`` keeps the source and fits the intercept alone. Negative values down to minus
        the smallest eigenvalue of ``Xc @ Xc.T / n`` are legal at depth 1. Depth inf takes 0 alone;
        above depth 1 the unit of the ridge depends on the scale of ``y``.
    source : None, array_like of shape (d,) or (k, d), fitted estimator or callable, default=None
        The pretrained model; None is zero. Coefficients come alone, in a pair (coef, intercept),
        or with names in a Series. Of an estimator, ``coef_`` and ``intercept_`` are used if it has
        them, ``predict`` otherwise. A callable maps rows to predictions. Columns are matched by
        name where the source and ``X`` have names. Sources known
        by predictions alone are corrected by a linear fit and need depth 1. The source must not
        have seen the rows it is fine-tuned on: this cannot be detected, and every error estimate
        is then too small.
    source_scale : float or "auto", default=1.0
        Factor on the source. "auto" minimises the criterion of ``ridge`` (generalised
        cross-validation for a number), at depth 1.
    fit_intercept : bool, default=True
        Whether the offset is fitted. If not, the offset of the source is kept.
    metric : None, "covariance", "fisher" or array_like of shape (d, d) or (d,), default=None
        At depth 1, replaces the squared distance by :math:`(w - w_0)^T M (w - w_0)`: M is the
        (weighted, centred if there is an intercept) covariance of the rows of X, divided by n; its
        other name is the Fisher information per row, at unit noise; a thousandth of its mean
        eigenvalue is added. Or any symmetric positive definite matrix, or its diagonal.
    cv : None, int, cross-validation splitter or iterable of (train, test), default=None
        If given, a ridge that is chosen has the least squared error on rows left out by these
        folds, at depth 1. An integer stands for folds of neighbouring rows with weight. Splitters
        and iterables number all rows as they were given; rows without weight neither train nor
        test.
    heads : {"independent", "shared"}, default="independent"
        Several outputs at depth above 1: one network each, or one network that shares all layers
        but the last, started balanced; the latter needs ``ridge=0``.
    solver : {"closed", "flow"}, default="closed"
        Closed form, or integration of gradient flow as a check of it; the latter needs ``ridge=0``.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (k, d)
        Slopes; those of the correction alone if the source is known by predictions.
    intercept_ : float or ndarray of shape (k,)
        Offset.
    ridge_, depth_ : float
        The ones used.
    source_scale_ : float or ndarray of shape (k,)
        Factor on the source in the plain fit with the same end point (of independent heads).
    effective_ridge_, df1_, df2_ : float or ndarray of shape (k,)
        Effective ridge and degrees of freedom estimated from the data; one value for all outputs
        at depth 1.
    rank_ : int
        Rank of the centred rows.
    gcv_, loo_ : float
        Predicted squared error on a new row, summed over outputs: generalised cross-validation,
        and exact leave-one-out at the same ridge and scale. Absent for shared heads.
    ridges_, cv_curve_ : ndarray of shape (j,)
        Ridges that ``cv`` compared, descending, and the squared error in the left-out folds at
        each: a weighted mean, summed over outputs. Absent without ``cv``.
    n_iter_ : int
        Evaluations of the flow; 0 in closed form.
    n_features_in_ : int
        d.
    source_function_ : callable or None
        The source, if it is known by predictions alone.

    Raises
    ------
    ValueError
        If an argument lies outside its domain or shapes do not fit.
    TypeError
        If data are sparse, or a source is none of the kinds above.

    Warns
    -----
    ValidityWarning
        If the fit is near the interpolation threshold, rows are repeated and the ridge is zero or
        the smallest that was tried, ``X`` does not vary, or the two error estimates differ by more
        than a quarter.

    See Also
    --------
    LinearTransferReport, FineTunedLogisticRegression, FineTunedLasso

    References
    ----------
    .. [1] After G. Shachaf, A. Brutzkus, A. Globerson, "A theoretical analysis of fine-tuning with
       linear teachers", NeurIPS 34 (2021); equations derived here
       (`derivations/linear#from-your-own-rows`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import FineTunedLinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(20, 50)), rng.normal(size=50)
    >>> model = FineTunedLinearRegression(source=w + 0.1 * rng.normal(size=50)).fit(X, X @ w)
    >>> bool(model.loo_ < 0.05 * np.mean((X @ w) ** 2))
    True
    """

    coef_: FloatArray
    intercept_: Any
    source_scale_: Any

    def __init__(
        self,
        depth: float | Literal["loo", "gcv"] = 1,
        ridge: float | Literal["loo", "gcv"] = "loo",
        source: Any = None,
        *,
        source_scale: float | Literal["auto"] = 1.0,
        fit_intercept: bool = True,
        metric: Any = None,
        cv: Any = None,
        heads: Literal["independent", "shared"] = "independent",
        solver: Literal["closed", "flow"] = "closed",
    ) -> None:
        self.depth = depth
        self.ridge = ridge
        self.source = source
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
        self.metric = metric
        self.cv = cv
        self.heads = heads
        self.solver = solver

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
            Target rows, n at least 2. A memory-mapped array (`numpy.memmap`) or a dask array with
            more rows than columns is read in blocks, at depth 1: the numbers are those of the same
            rows in memory, to rounding, and moments of a dask array are taken where its blocks are.
        y : array_like of shape (n,) or (n, k)
            Labels.
        sample_weight : None or array_like of shape (n,), default=None
            Weights in the sum of squares, not negative; a common factor does not matter. In
            leave-one-out a row leaves with all of its weight, and the errors are weighted means:
            a weight is one observation that counts more, not several. In the folds of ``cv`` it is
            as good as as many rows.
        groups : None or array_like of shape (n,), default=None
            Groups of the rows, for a splitter in ``cv`` that keeps them together.

        Returns
        -------
        FineTunedLinearRegression
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        check_switch(self.fit_intercept, "fit_intercept")
        settings = FitSettings(self.depth, self.ridge, self.source_scale, self.heads, self.solver)
        if self.metric is not None and settings.is_deep:
            raise ValueError(f"metric needs depth=1, got depth={self.depth!r}")
        if self.cv is not None and (settings.is_deep or not isinstance(self.ridge, str)):
            raise ValueError(
                f"cv chooses the ridge at depth 1: give depth=1 and ridge='loo', got "
                f"depth={self.depth!r}, ridge={self.ridge!r}"
            )
        if self.source is None:
            settings.check_source(None)
        if is_streamed(X) and not settings.is_deep:
            return self._fit_streamed(X, y, settings, sample_weight)
        given = X if hasattr(X, "iloc") else None
        rows, y = check_training_data(self, X, y)
        labels = y.reshape(len(y), -1)
        source, predictions, said = None, [], np.zeros_like(labels)
        if self.source is not None:
            source = read_source(
                self.source, rows if given is None else given, n_outputs=labels.shape[1]
            )
            settings.check_source(source)
            said = source.predict(rows, given)
            predictions = [settings.factor * said]
        weight, kept = None, np.ones(len(rows), bool)
        if sample_weight is not None:
            weight = check_weights(sample_weight, rows)
            kept = weight > 0.0
            rows, labels, weight = rows[kept], labels[kept], weight[kept] * np.count_nonzero(kept)
            predictions, said = [values[kept] for values in predictions], said[kept]

        def prepare(part: Any) -> tuple[Candidates, Metric | None]:
            mine, w = rows[part], None if weight is None else weight[part] / weight[part].mean()
            share = np.ones(len(mine)) / len(mine) if w is None else w / len(mine)
            metric = resolve_metric(self.metric, mine, share, fit_intercept=self.fit_intercept)
            if metric is not None:
                mine = metric.rows(mine)
            predicted = [values[part] for values in predictions]
            every = bool(self.fit_intercept)
            return Candidates(mine, labels[part], predicted, every, weight=w), metric

        candidates, metric = prepare(slice(None))
        for name in ("ridges_", "cv_curve_"):
            self.__dict__.pop(name, None)  # of an earlier fit
        notes: tuple[str, ...] = ()
        if self.cv is not None:
            self.ridges_ = candidates.path.grid(size=candidates.path.rank + 1)
            error, mass = np.zeros(len(self.ridges_)), 0.0
            for train, test in read_folds(self.cv, y, kept, groups=groups):
                part, its_metric = prepare(train)
                w = np.ones(len(test)) if weight is None else weight[test]
                mass += w.sum()
                for j, ridge in enumerate(self.ridges_):
                    given_ridge = dataclasses.replace(settings, ridge=float(ridge))
                    found = fit_candidates(part, source, given_ridge, its_metric)
                    left = labels[test] - rows[test] @ found.coef.T - found.intercept
                    if source is not None and source.function is not None:
                        left -= found.source_scale * said[test]
                    error[j] += w @ np.square(left).sum(axis=1)
            self.cv_curve_ = error / mass
            best = int(np.argmin(self.cv_curve_))
            settings = dataclasses.replace(settings, ridge=float(self.ridges_[best]))
            if 0 < best == len(self.ridges_) - 1:
                notes = (f"the chosen ridge {settings.ridge:.4g} is the smallest that was tried",)
        fit = fit_candidates(candidates, source, settings, metric)
        for note in fit.notes + notes:
            warnings.warn(note, ValidityWarning, stacklevel=2)
        return set_fit(self, fit, source, single=y.ndim == 1)

    def _fit_streamed(
        self, X: Any, y: ArrayLike, settings: FitSettings, sample_weight: Any
    ) -> Self:
        """The same fit from sums over blocks of rows."""
        if sample_weight is not None:
            raise ValueError("sample_weight must be None for memory-mapped rows and dask arrays")
        n, d = X.shape
        root = None
        if self.metric is not None:
            metric = (
                as_float_array(self.metric, "metric", ndim=1)
                if not isinstance(self.metric, str)
                else None
            )
            if metric is None or metric.shape != (d,) or not metric.min() > 0.0:
                raise ValueError(
                    f"metric must be None or the {d} positive entries of a diagonal for "
                    f"memory-mapped rows and dask arrays, got {self.metric!r}"
                )
            root = np.sqrt(metric)
        labels = as_float_array(y, "y", ndim=(1, 2))
        if len(labels) != n:
            raise ValueError(f"X and y must have as many rows, got {n} and {len(labels)}")
        check_entries(labels, "y", largest=LARGEST_LABEL)
        single, labels = labels.ndim == 1, labels.reshape(n, -1)
        self.n_features_in_ = d
        source, predictions = None, []
        if self.source is not None:
            first = np.asarray(X[:2], dtype=np.float64)
            source = read_source(self.source, first, n_outputs=labels.shape[1])
            settings.check_source(source)
            values = [part for _, part in StreamedRows(X).map(source.predict)]
            predictions = [settings.factor * np.concatenate(values)]
        rows = StreamedRows(X, root)
        candidates = Candidates(rows, labels, predictions, bool(self.fit_intercept))
        fit = fit_candidates(candidates, source, settings, None if root is None else Metric(root))
        for note in fit.notes:
            warnings.warn(note, ValidityWarning, stacklevel=3)
        return set_fit(self, fit, source, single=single)

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict labels.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (m, d)
            Rows. Sparse ones stay sparse unless the source is a function.

        Returns
        -------
        ndarray of shape (m,) or (m, k)
            Predictions.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If the number of columns differs from that in `fit`.
        """
        check_is_fitted(self)
        given = X if hasattr(X, "iloc") else None
        rows = validate_data(self, X, dtype=np.float64, accept_sparse="csr", reset=False)
        value: FloatArray = rows @ self.coef_.T + self.intercept_
        if self.source_function_ is not None:
            rows = rows.toarray() if hasattr(rows, "tocsr") else rows
            q = np.size(self.intercept_)
            source = Source("source", "function", None, np.zeros(q), self.source_function_)
            value = value + np.reshape(
                self.source_scale_ * source.predict(rows, given), value.shape
            )
        return value


def set_fit(
    estimator: FineTunedLinearRegression, fit: RidgeFit, source: Source | None, *, single: bool
) -> FineTunedLinearRegression:
    """Make an estimator a fitted one.

    Parameters
    ----------
    estimator : FineTunedLinearRegression
        The estimator; it is changed.
    fit : RidgeFit
        What it has learned.
    source : Source or None
        The source of the fit.
    single : bool
        Whether labels had one dimension.

    Returns
    -------
    FineTunedLinearRegression
        The same.
    """
    one = single or fit.depth == 1
    estimator.source_function_ = None if source is None else source.function
    estimator.rank_, estimator.n_iter_ = fit.rank, fit.n_iter
    estimator.ridge_, estimator.depth_ = fit.ridge, fit.depth
    estimator.effective_ridge_, estimator.df1_, estimator.df2_ = (
        float(v[0]) if one else v for v in fit.degrees
    )
    for name, value in (("gcv_", fit.gcv), ("loo_", fit.loo)):
        estimator.__dict__.pop(name, None)  # of an earlier fit
        if value is not None:
            setattr(estimator, name, value)
    estimator.source_scale_ = float(fit.source_scale[0]) if single else fit.source_scale
    estimator.coef_ = fit.coef[0] if single else fit.coef
    estimator.intercept_ = float(fit.intercept[0]) if single else fit.intercept
    return estimator
