"""Sparse regression that shrinks towards a source."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning
from sklearn.linear_model import lasso_path
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._control import report_status
from retemper._results import Status
from retemper._sources import Source, read_source
from retemper._validation import FloatArray, check_choice, check_integer, check_real
from retemper.exceptions import ValidityWarning
from retemper.linear.folds import Fold, read_folds
from retemper.linear.training_data import check_switch, check_training_data, check_weights

__all__ = ["FineTunedLasso"]

#: Duality gap that is enough to compare penalties.
_CV_TOL = 1e-5
#: Factors of ten by which the penalties are extended, at most, where the last is the best.
_DECADES = 4
#: An error that falls by less than this share over a factor of ten in the penalty is flat.
_FLAT = 1e-3


class FineTunedLasso(
    TransferMixin,
    RegressorMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Linear regression that changes few coefficients of a pretrained model.

    Minimises :math:`(2n)^{-1} \sum_i s_i (y_i - c f_S(x_i) - w x_i - b)^2 + l_1 \lVert w
    \rVert_1` over the change w and the offset b, with sample weights s of mean one. Without a
    source it is the lasso; scikit-learn's coordinate descent solves it.

    Parameters
    ----------
    l1 : float or "cv", default="cv"
        Penalty on the absolute changes, dimension of a feature times the label. "cv" chooses the
        value of least cross-validated squared error from log-spaced ones, from the smallest that
        changes nothing down to a thousandth of it, a hundredth if n is below d, and by as much
        further as the spreads of the columns differ. Where the last is the best and the error still
        falls, up to four factors of ten are added. ``inf`` changes nothing.
    source : None, array_like of shape (d,), fitted estimator or callable, default=None
        The pretrained model, as `FineTunedLinearRegression` takes it.
    source_scale : float or "auto", default=1.0
        Factor on the source. "auto" fits it without penalty, like the offset, again in every fold.
    fit_intercept : bool, default=True
        Whether the offset is fitted. If not, that of the source is kept.
    cv : int, cross-validation splitter or iterable of (train, test), default=5
        Folds. An integer stands for shuffled folds of the rows with weight. Splitters and iterables
        number all rows as they were given; rows without weight neither train nor test.
    random_state : None, int or RandomState, default=0
        Seed of the shuffling.
    max_iter : int, default=10000
        Limit of the sweeps over the coordinates.
    tol : float, default=1e-6
        Largest duality gap, in units of the squared norm of the labels less their projection on
        what is free of penalty; at least 1e-5 in cross-validation.

    Attributes
    ----------
    coef_ : ndarray of shape (d,)
        Slopes; those of the change alone if the source is known by predictions.
    change_ : ndarray of shape (d,)
        The change w, most entries zero.
    intercept_ : float
        Offset.
    l1_, source_scale_ : float
        The ones used; the scale is zero without a source.
    l1s_, cv_curve_ : ndarray of shape (j,)
        Penalties that were compared, descending, and the mean squared error in the left-out folds
        at each, weighted. Without choice ``l1s_`` is ``l1_`` and ``cv_curve_`` is absent.
    cv_error_ : float
        Its minimum; slightly optimistic. Absent without choice.
    duality_gap_ : float
        Duality gap of the fit.
    n_iter_ : int
        Sweeps over the coordinates in the last fit.
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
    ConvergenceWarning
        If the duality gap is above ``tol``.
    ValidityWarning
        If the smallest penalty that was tried is chosen and the error still falls.

    See Also
    --------
    FineTunedLinearRegression, retemper.diagonal.DiagonalNetworkRegressor

    Notes
    -----
    Offset and free scale are profiled out: the fit is the lasso on labels and features less their
    projections on the constant and on the predictions of the source.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import FineTunedLasso
    >>> rng = np.random.default_rng(0)
    >>> X, source = rng.normal(size=(60, 100)), rng.normal(size=100)
    >>> truth = source + 3.0 * (np.arange(100) == 7)
    >>> model = FineTunedLasso(source=source).fit(X, X @ truth + 0.1 * rng.normal(size=60))
    >>> int(np.argmax(np.abs(model.change_)))
    7
    """

    coef_: FloatArray
    change_: FloatArray
    l1s_: FloatArray
    cv_curve_: FloatArray

    def __init__(
        self,
        l1: float | Literal["cv"] = "cv",
        source: Any = None,
        *,
        source_scale: float | Literal["auto"] = 1.0,
        fit_intercept: bool = True,
        cv: Any = 5,
        random_state: Any = 0,
        max_iter: int = 10_000,
        tol: float = 1e-6,
    ) -> None:
        self.l1 = l1
        self.source = source
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
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
            Labels.
        sample_weight : None or array_like of shape (n,), default=None
            Weights, not negative; a common factor does not matter.
        groups : None or array_like of shape (n,), default=None
            Groups of the rows, for a splitter in ``cv`` that keeps them together.

        Returns
        -------
        FineTunedLasso
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        self._check_arguments()
        given = X if hasattr(X, "iloc") else None
        rows, labels = check_training_data(self, X, y, multi_output=False)
        weight = check_weights(sample_weight, rows)
        source, scores = None, np.zeros(len(rows))
        if self.source is not None:
            source = read_source(self.source, rows if given is None else given)
            scores = source.predict(rows, given)[:, 0]
        kept = weight > 0.0
        rows, labels, scores, weight = rows[kept], labels[kept], scores[kept], weight[kept]
        if self.source_scale == "auto" and source is not None:
            spread = scores - (weight @ scores if self.fit_intercept else 0.0)
            fixed, heard = 0.0, bool(np.abs(spread).max() > 1e-12 * np.abs(scores).max())
        else:
            fixed = float(self.source_scale) if source is not None else 0.0
            heard = False
        columns = [np.ones(len(rows))] if self.fit_intercept else []
        columns += [scores] if heard else []
        problem = _Profile(rows, labels - fixed * scores, np.reshape(columns, (-1, len(rows))).T)
        settings = {"max_iter": self.max_iter, "tol": self.tol}

        for name in ("cv_curve_", "cv_error_"):
            self.__dict__.pop(name, None)  # of an earlier fit with a choice
        if isinstance(self.l1, str):
            folds = read_folds(
                self.cv, y, kept, groups=groups, shuffle=True, random_state=self.random_state
            )
            self._compare(problem, weight, folds, settings)
            best = int(np.argmin(self.cv_curve_))
            self.l1_, self.cv_error_ = float(self.l1s_[best]), float(self.cv_curve_[best])
        else:
            self.l1_ = float(self.l1)
            self.l1s_ = np.array([self.l1_])
        ladder = self.l1s_[self.l1s_ >= self.l1_]
        change, free, self.duality_gap_, self.n_iter_ = problem.solve(weight, ladder, settings)
        bound = self.tol * problem.size(weight)
        if self.duality_gap_ > bound:
            report_status(
                Status.MAX_ITER, self.duality_gap_ / bound * self.tol, f"lasso at l1={self.l1_:.4g}"
            )
        self.change_ = np.ascontiguousarray(change[:, -1])
        offset = float(free[0, -1]) if self.fit_intercept else 0.0
        self.source_scale_ = float(free[-1, -1]) if heard else fixed
        self.coef_, self.source_function_ = self.change_.copy(), None
        if source is not None:
            offset += self.source_scale_ * float(source.intercept[0])
            self.source_function_ = source.function
            if source.coef is not None:
                self.coef_ += self.source_scale_ * source.coef[0]
        self.intercept_ = offset
        return self

    def _check_arguments(self) -> None:
        if isinstance(self.l1, str):
            check_choice(self.l1, "l1", ("cv",), besides="a number in (0, inf]")
        else:
            check_real(self.l1, "l1", low=0.0, open_low=True, allow_inf=True)
        if isinstance(self.source_scale, str):
            check_choice(self.source_scale, "source_scale", ("auto",), besides="a number")
        else:
            check_real(self.source_scale, "source_scale")
        check_switch(self.fit_intercept, "fit_intercept")
        check_integer(self.max_iter, "max_iter", low=1)
        check_real(self.tol, "tol", low=0.0, open_low=True)

    def _compare(
        self, problem: _Profile, weight: FloatArray, folds: list[Fold], settings: dict[str, Any]
    ) -> None:
        """Set the penalties that are compared and their errors; more where the last is the best."""
        rough = {**settings, "tol": max(self.tol, _CV_TOL)}
        self.l1s_, step = problem.ladder(weight)
        self.cv_curve_ = self._validate(problem, weight, folds, self.l1s_, rough)
        decade = round(1.0 / step)
        for extension in range(_DECADES + 1):
            curve = self.cv_curve_
            falls = curve[-1] < (1.0 - _FLAT) * curve[-1 - decade] and curve[-1] > 1e-8 * curve[0]
            if curve[-1] > (1.0 + _FLAT) * curve.min() or not falls:
                return
            if extension < _DECADES:  # shrinkage adds errors as the square of the penalty
                more = self.l1s_[-1] * 10.0 ** (-step * np.arange(1, decade + 1))
                self.l1s_, rough["tol"] = np.append(self.l1s_, more), 1e-2 * rough["tol"]
                error = self._validate(problem, weight, folds, more, rough)
                self.cv_curve_ = np.append(curve, error)
                settings["tol"] = min(settings["tol"], rough["tol"])
        warnings.warn(
            f"the chosen penalty {self.l1s_[-1]:.4g} is the smallest that was tried and the error "
            f"still falls: a fit that shrinks less may be better; give l1",
            ValidityWarning,
            stacklevel=3,
        )

    def _validate(
        self,
        problem: _Profile,
        weight: FloatArray,
        folds: list[Fold],
        l1: FloatArray,
        settings: dict[str, Any],
    ) -> FloatArray:
        """Weighted mean squared error of the left-out rows at some penalties."""
        total, mass = np.zeros(len(l1)), 0.0
        for train, test in folds:
            part = problem.take(train)
            share = weight[train] / weight[train].sum()
            change, free, _, _ = part.solve(share, l1, settings)
            rest = problem.take(test)
            error = rest.labels[:, None] - rest.rows @ change - rest.free @ free
            total += weight[test] @ np.square(error)
            mass += weight[test].sum()
        return total / mass

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict labels.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Rows.

        Returns
        -------
        ndarray of shape (m,)
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
        rows: FloatArray = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        value: FloatArray = rows @ self.coef_ + self.intercept_
        if self.source_function_ is not None:
            source = Source("source", "function", None, np.zeros(1), self.source_function_)
            value = value + self.source_scale_ * source.predict(rows, given)[:, 0]
        return value


class _LassoPath(NamedTuple):
    """Fits at j penalties."""

    change: FloatArray  # (d, j)
    free: FloatArray  # (u, j) coefficients free of penalty
    duality_gap: float  # of the last
    n_iter: int  # sweeps of the last


@dataclasses.dataclass(frozen=True)
class _Profile:
    """A lasso with some columns free of penalty, which are profiled out."""

    rows: FloatArray
    labels: FloatArray
    free: FloatArray

    def take(self, index: NDArray[np.intp]) -> _Profile:
        return _Profile(self.rows[index], self.labels[index], self.free[index])

    def _reduced(self, weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weighted rows and labels less their projections, and the way to the free coefficients.

        A column of which only rounding is left becomes zero: no penalty is small enough for it.
        """
        root = np.sqrt(weight * len(weight))[:, None]
        rows, labels, free = root * self.rows, root[:, 0] * self.labels, root * self.free
        inverse: FloatArray = np.linalg.pinv(free).astype(np.float64)
        size = np.square(rows).sum(axis=0)
        rows = rows - free @ (inverse @ rows)
        rows[:, np.square(rows).sum(axis=0) <= (64 * np.finfo(float).eps) ** 2 * size] = 0.0
        labels = labels - free @ (inverse @ labels)
        return np.asfortranarray(rows), labels, inverse * root.T

    def size(self, weight: FloatArray) -> float:
        """Squared norm of the reduced labels, which scales the duality gap, per row."""
        labels = self._reduced(weight)[1]
        return float(labels @ labels) / len(labels)

    def ladder(self, weight: FloatArray) -> tuple[FloatArray, float]:
        """Penalties to compare, descending, and their distance in factors of ten.

        A column changes at penalties in proportion to its spread: the ladder goes down by the ratio
        of the penalties at which the columns of largest pull and of smallest spread would change.
        """
        rows, labels, _ = self._reduced(weight)
        n, depth = len(rows), 3.0 if len(rows) >= rows.shape[1] else 2.0
        step = depth / 59
        exponents = -step * np.arange(60)
        pull, spread = np.abs(labels @ rows) / n, np.sqrt(np.square(rows).mean(axis=0))
        varies = spread > 0.0
        top = float(pull.max())
        if not top or not varies.any():
            return np.asarray((top or 1.0) * 10.0**exponents, np.float64), step
        lowest = float(spread[varies].min() * (pull[varies] / spread[varies]).max())
        more = max(math.ceil(math.log10(top / lowest) / step), 0) if lowest else 0
        exponents = np.append(exponents, -depth - step * np.arange(1, more + 1))
        return np.asarray(top * 10.0**exponents, np.float64), step

    def solve(self, weight: FloatArray, l1: FloatArray, settings: dict[str, Any]) -> _LassoPath:
        """The fits at some penalties."""
        rows, labels, inverse = self._reduced(weight)
        change, gap, sweeps = np.zeros((rows.shape[1], len(l1))), 0.0, 1
        finite = np.isfinite(l1)
        if finite.any() and labels.any():
            with warnings.catch_warnings():  # the gap is judged by the caller
                warnings.simplefilter("ignore", SklearnConvergenceWarning)
                _, change[:, finite], gaps, n_iter = lasso_path(
                    rows, labels, alphas=l1[finite], return_n_iter=True, **settings
                )
            gap, sweeps = float(gaps[-1]), int(n_iter[-1])
        free = inverse @ (self.labels[:, None] - self.rows @ change)
        return _LassoPath(change, free, gap, sweeps)
