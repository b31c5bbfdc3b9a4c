"""Estimators that fine-tune, and the report that says whether to."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from retemper._base import TransferMixin
from retemper._validation import (
    LARGEST,
    FloatArray,
    check_choice,
    check_entries,
    check_integer,
    check_real,
)
from retemper.exceptions import ValidityWarning
from retemper.linear.ridge_path import BLOCK, RidgePath
from retemper.linear.sources import Source, resolve_source

__all__ = ["FineTunedLinearRegression"]

#: Depths that are tried where the depth is chosen from the data.
DEPTHS = (1, 2, 3, 5, 10, math.inf)


def _training_data(estimator: Any, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Checked rows and labels; raises on NaN, huge, sparse, complex or text entries."""
    X, y = validate_data(
        estimator,
        X,
        y,
        dtype=np.float64,
        order="C",
        multi_output=True,
        y_numeric=True,
        ensure_min_samples=2,
    )
    y = np.asarray(y, dtype=np.float64)
    for array, name in ((X, "X"), (y, "y")):
        if not (array.max() <= LARGEST and array.min() >= -LARGEST):
            check_entries(array, name)
    return X, y


class Candidates:
    """Labels, source predictions and their residuals along the ridge path.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    y : ndarray of shape (n, q)
        Labels.
    predictions : list of ndarray of shape (n, q)
        What k sources predict.
    fit_intercept : bool
        Whether every fit has a free offset.
    """

    def __init__(
        self, X: FloatArray, y: FloatArray, predictions: list[FloatArray], fit_intercept: bool
    ) -> None:
        self.n_outputs = y.shape[1]
        self.shape = (1 + len(predictions), self.n_outputs)
        self.path = RidgePath(X, np.hstack([y, *predictions]), fit_intercept=fit_intercept)

    def column(self, index: int, output: int) -> int:
        """Position in the path of the labels (index 0) or of source ``index``."""
        return index * self.n_outputs + output

    def ridges(self, **kwargs: Any) -> FloatArray:
        """Ridges to choose from, the strongest first; zero where it can be judged."""
        grid = self.path.grid(**kwargs)
        return grid if self.path.interpolates or not self.path.rank else np.append(grid, 0.0)

    def quadratic(self, criterion: str, ridge: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Error of every source residual, and the quadratic form behind any mixture.

        Parameters
        ----------
        criterion : {"loo", "gcv"}
            Exact leave-one-out or generalised cross-validation.
        ridge : array_like of shape (m,)
            Ridges.

        Returns
        -------
        tuple of ndarray
            Errors of scratch and of y minus each source (m, q, 1 + k), and the form
            (m, q, 1 + k, 1 + k) whose value at (1, -c) is the error of the mixture c.
        """
        lam = np.atleast_1d(np.asarray(ridge, np.float64))
        items, q = self.shape
        if criterion == "gcv":
            unit = np.eye(items * q).reshape(-1, items, q).transpose(0, 2, 1)
            residual = np.concatenate([unit[..., :1], unit[..., :1] - unit[..., 1:]], axis=-1)
            form = self.path.products(lam, unit[..., None], unit[..., None, :])
            return self.path.products(lam, residual, residual), form
        errors = np.empty((len(lam), q, items))
        form = np.empty((len(lam), q, items, items))
        n = len(self.path.columns)
        step = max(1, BLOCK // (n * items * q))
        for k in range(0, len(lam), step):
            rows = slice(k, k + step)
            value = self.path.loo(lam[rows]).reshape(-1, n, items, q).transpose(0, 3, 2, 1)
            form[rows] = value @ value.swapaxes(2, 3) / n
            value[:, :, 1:] = value[:, :, :1] - value[:, :, 1:]
            errors[rows] = np.square(value).mean(axis=3)
        return errors, form


def best_scale(form: FloatArray) -> FloatArray:
    """Factor on a single source that minimises a quadratic form (..., 2, 2); 0 if it is silent."""
    along = form[..., 1, 1]
    return np.divide(form[..., 0, 1], along, out=np.zeros_like(along), where=along > 0.0)


def mixture_error(form: FloatArray, scale: FloatArray) -> FloatArray:
    """Value of a quadratic form (..., 1 + k, 1 + k) at (1, -scale); scale (..., k)."""
    vector = np.concatenate([np.ones((*scale.shape[:-1], 1)), -scale], axis=-1)
    return np.maximum(np.einsum("...a,...ab,...b->...", vector, form, vector), 0.0)


def deep_equivalent(
    path: RidgePath, label: int, source: int | None, norm: float, null: float, depth: float, ridge: float
) -> tuple[float, float]:
    r"""The plain fit with the end point of a deep one: its ridge, and its factor on the source.

    The minimiser of :math:`N^{-1}\lVert y - X\beta\rVert^2 + \lambda D_L(\beta, \beta_0)` is
    :math:`\beta(t) = (X^TX + (N\lambda/t) I)^{-1}(X^Ty + N\lambda u_0)` at the root of
    :math:`t = \lVert\beta(t)\rVert^{1-1/L}`, :math:`u_0 = \lVert\beta_0\rVert^{1/L-1}\beta_0`:
    the plain fit at ridge :math:`\lambda/t` from the source :math:`t u_0`. Ridge zero gives the end
    point of gradient flow on L balanced factors. Derived here, after Shachaf et al. (2021).

    Parameters
    ----------
    path : RidgePath
        The data.
    label : int
        Column of the labels.
    source : int or None
        Column of the source prediction; None is a source of zero.
    norm, null : float
        Norm of the source and of its part outside the row space.
    depth : float
        L, above 1, may be infinite.
    ridge : float
        Deep ridge, not negative; its unit depends on the scale of the labels.

    Returns
    -------
    tuple of float
        Ridge and factor of the plain fit.

    Raises
    ------
    ValueError
        If the depth is infinite and the source vanishes on the rows: no finite limit exists.
    """
    if np.isinf(ridge):
        return ridge, 1.0
    power = 1.0 - (0.0 if math.isinf(depth) else 1.0 / depth)
    unit = norm**-power if norm else 0.0
    s = np.sqrt(path.n_effective * path.eigenvalues)
    fit = path.coordinates[:, label] / s
    start = np.zeros_like(fit) if source is None else path.coordinates[:, source] / s * unit
    if math.isinf(depth) and not ridge and norm and not start.any():
        raise ValueError("source vanishes on the rows of X: depth=inf has no finite limit there")
    shift = ridge / path.eigenvalues

    def excess(log_t: float) -> float:
        t = math.exp(log_t)
        inside = (fit + shift * start) / (1.0 + shift / t)
        size = math.hypot(float(np.linalg.norm(inside)), t * null * unit)
        return math.log(size) - log_t / power if size > 0.0 else -math.inf

    low = high = power * math.log(max(float(np.linalg.norm(fit)), norm, 1e-300))
    step = 1.0
    while excess(high) > 0.0 and high < 700.0:
        high, step = high + step, 2.0 * step
    step = 1.0
    while excess(low) < 0.0 and low > -700.0:
        low, step = low - step, 2.0 * step
    if low <= -700.0:  # the fit is zero
        return (math.inf if ridge else 0.0), 0.0
    t = math.exp(optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14) if high > low else low)
    return ridge / t, t * unit


class FineTunedLinearRegression(TransferMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Linear regression that starts from a pretrained model.

    The end point of training from a source :math:`w_0`: at depth 1 the minimiser of
    :math:`N^{-1}\lVert y - b - Xw\rVert^2 + \lambda\lVert w - w_0\rVert^2` (N = n - 1 with an
    intercept, n without), at depth L of a linear network with L balanced layers trained by gradient
    flow, which is the same fit from a rescaled source. Ridge, depth and scale of the source are
    chosen by exact leave-one-out or generalised cross-validation, from one eigendecomposition.

    Parameters
    ----------
    depth : int, inf, "loo" or "gcv", default=1
        Number of layers; a word chooses among 1, 2, 3, 5, 10 and inf by that criterion.
    ridge : float, "loo" or "gcv", default="loo"
        Penalty on the distance from the source, dimension of the squared features. A word chooses
        it by that criterion from a log-spaced grid, zero and infinity. ``inf`` keeps the source
        and fits the intercept alone. Negative values down to minus the smallest eigenvalue of
        ``Xc @ Xc.T / N`` are legal at depth 1. Depth inf takes 0 alone; above depth 1 the unit of
        the ridge depends on the scale of ``y``.
    source : None, array_like of shape (d,) or (k, d), fitted estimator or callable, default=None
        The pretrained model; None is zero. Of an estimator, ``coef_`` and ``intercept_`` are used
        if it has them, ``predict`` otherwise. A callable maps rows to predictions. Sources known
        by predictions alone are corrected by a linear fit and need depth 1. The source must not
        have seen the rows it is fine-tuned on: this cannot be detected, and every error estimate
        is then too small.
    source_scale : float or "auto", default=1.0
        Factor on the source. "auto" minimises the criterion of ``ridge`` (generalised
        cross-validation for a number), at depth 1.
    fit_intercept : bool, default=True
        Whether the offset is fitted. If not, the offset of the source is kept.
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
        Factor on the source in the plain fit with the same end point.
    kappa_, df1_, df2_ : float or ndarray of shape (k,)
        Effective ridge and degrees of freedom estimated from the data; one value for all outputs
        at depth 1.
    rank_ : int
        Rank of the centred rows.
    gcv_, loo_ : float
        Predicted squared error on a new row, summed over outputs: generalised cross-validation,
        and exact leave-one-out at the same ridge and scale. Absent for shared heads.
    n_iter_ : int
        Steps of the integration; 0 in closed form.
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
        If the fit is near the interpolation threshold, rows are repeated, ``X`` does not vary, or
        the two error estimates differ by more than a quarter.

    References
    ----------
    .. [1] After G. Shachaf, A. Brutzkus, A. Globerson, "A theoretical analysis of fine-tuning with
       linear teachers", NeurIPS 34 (2021); equations derived here.

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

    def __init__(
        self,
        depth: float | Literal["loo", "gcv"] = 1,
        ridge: float | Literal["loo", "gcv"] = "loo",
        source: Any = None,
        source_scale: float | Literal["auto"] = 1.0,
        fit_intercept: bool = True,
        heads: Literal["independent", "shared"] = "independent",
        solver: Literal["closed", "flow"] = "closed",
    ) -> None:
        self.depth = depth
        self.ridge = ridge
        self.source = source
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
        self.heads = heads
        self.solver = solver

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fine-tune the source on target rows.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Target rows, n at least 2.
        y : array_like of shape (n,) or (n, k)
            Labels.

        Returns
        -------
        FineTunedLinearRegression
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        self._check_arguments()
        X, y = _training_data(self, X, y)
        labels = y.reshape(len(y), -1)
        source = self._resolve(X.shape[1], labels.shape[1])
        factor = 1.0 if self.source_scale == "auto" else float(self.source_scale)
        predictions = [] if source is None else [factor * source.predict(X)]
        candidates = Candidates(X, labels, predictions, bool(self.fit_intercept))
        return self._fit_path(candidates, source, factor, single=y.ndim == 1)

    def _check_arguments(self) -> None:
        if isinstance(self.depth, str):
            check_choice(self.depth, "depth", ("loo", "gcv"))
        else:
            depth = check_real(self.depth, "depth", low=1.0, allow_inf=True)
            if not math.isinf(depth):
                check_integer(int(depth) if depth.is_integer() else self.depth, "depth", low=1)
        deep = self.depth != 1
        if isinstance(self.ridge, str):
            check_choice(self.ridge, "ridge", ("loo", "gcv"))
        else:
            check_real(self.ridge, "ridge", low=0.0 if deep else -math.inf, allow_inf=True)
            if self.ridge == -math.inf:
                raise ValueError("ridge must be above minus infinity, got -inf")
            if self.depth == math.inf and self.ridge:
                raise ValueError(f"ridge must be 0 at depth=inf, got {self.ridge}")
        if isinstance(self.source_scale, str):
            check_choice(self.source_scale, "source_scale", ("auto",))
            if deep:
                raise ValueError(
                    f"source_scale='auto' needs depth=1, got depth={self.depth!r}: depth itself "
                    f"rescales the source"
                )
        else:
            check_real(self.source_scale, "source_scale")
        check_choice(self.heads, "heads", ("independent", "shared"))
        check_choice(self.solver, "solver", ("closed", "flow"))
        for name, value in (("heads", "shared"), ("solver", "flow")):
            if getattr(self, name) == value and (
                isinstance(self.depth, str) or self.ridge not in (0, "loo", "gcv") or
                (self.ridge != 0 and (deep or name == "solver"))
            ):
                raise ValueError(
                    f"{name}={value!r} needs ridge=0 and a number as depth, got "
                    f"ridge={self.ridge!r}, depth={self.depth!r}"
                )

    def _resolve(self, n_features: int, n_outputs: int) -> Source | None:
        if self.source is None:
            return None
        source = resolve_source(self.source, n_features, n_outputs)
        if source.coef is None and self.depth != 1:
            raise ValueError(
                f"a source without coef_ needs depth=1, got depth={self.depth!r}: depth acts on "
                f"the weights of the source"
            )
        return source

    def _fit_path(
        self, candidates: Candidates, source: Source | None, factor: float, *, single: bool
    ) -> Self:
        path, q = candidates.path, candidates.n_outputs
        self.source_function_ = None if source is None else source.function
        self.rank_, self.n_iter_ = path.rank, 0
        if not path.rank:
            warnings.warn(
                "X does not vary: the slopes are those of the source", ValidityWarning, stacklevel=3
            )
        if self.depth == 1 or not path.rank:
            ridge, scale = self._choose_plain(candidates, source is not None)
            self.ridge_, self.depth_ = ridge, float(1 if isinstance(self.depth, str) else self.depth)
            plain = np.full(q, ridge)
        else:
            plain, scale = self._choose_deep(candidates, source, factor)
        mix = np.zeros((path.columns.shape[1], q))
        for k in range(q):
            mix[candidates.column(0, k), k] = 1.0
            if source is not None:
                mix[candidates.column(1, k), k] = -scale[k]

        coef = np.empty((q, path.design.shape[1]))
        self.gcv_ = self.loo_ = 0.0
        for ridge in np.unique(plain):
            some = mix[:, plain == ridge]
            coef[plain == ridge] = path.coef(ridge, some)
            self.gcv_ += float(path.products(ridge, some, some).sum())
            self.loo_ += float(np.square(path.loo(ridge)[0] @ some).mean(axis=0).sum())
        effective = path.effective(plain)
        one = single or self.depth_ == 1
        self.kappa_, self.df1_, self.df2_ = (float(v[0]) if one else v for v in effective)
        self._warn(path, plain)

        offset = path.column_mean @ mix - coef @ path.mean
        if source is not None:
            offset += factor * scale * source.intercept
            if source.coef is not None:
                coef += (factor * scale)[:, None] * source.coef
        self.source_scale_ = float(factor * scale[0]) if single else factor * scale
        self.coef_, self.intercept_ = (coef[0], float(offset[0])) if single else (coef, offset)
        return self

    def _choose_plain(self, candidates: Candidates, has_source: bool) -> tuple[float, FloatArray]:
        path, q = candidates.path, candidates.n_outputs
        criterion = self.ridge if isinstance(self.ridge, str) else "gcv"
        if isinstance(self.ridge, str):
            ridges = candidates.ridges()
        else:
            ridges = np.array([float(self.ridge)])
            low = 0.0 if path.n_null or not path.rank else -path.eigenvalues[0]
            if ridges[0] < 0.0 and ridges[0] <= low:
                raise ValueError(
                    f"ridge must be above {low:.6g}, minus the smallest eigenvalue of the sample "
                    f"covariance, got {self.ridge}"
                )
        errors, form = candidates.quadratic(criterion, ridges)
        if not has_source:
            scale, error = np.zeros((len(ridges), q)), errors[..., 0]
        elif self.source_scale == "auto":
            scale = best_scale(form)
            error = mixture_error(form, scale[..., None])
        else:
            scale, error = np.ones((len(ridges), q)), errors[..., 1]
        best = int(np.argmin(error.sum(axis=1)))
        return float(ridges[best]), scale[best]

    def _choose_deep(
        self, candidates: Candidates, source: Source | None, factor: float
    ) -> tuple[FloatArray, FloatArray]:
        """Ridge and factor on the source of the plain fit of every output, (q,) each."""
        path, q = candidates.path, candidates.n_outputs
        by_ridge = self.ridge if isinstance(self.ridge, str) else "gcv"
        by_depth = self.depth if isinstance(self.depth, str) else by_ridge
        ridges = candidates.ridges() if isinstance(self.ridge, str) else np.array([self.ridge], float)
        norm = null = np.zeros(q)
        if source is not None:
            assert source.coef is not None
            start = factor * source.coef
            columns = np.eye(path.columns.shape[1])[:, candidates.column(1, 0) :]
            norm = np.linalg.norm(start, axis=1)
            null = np.linalg.norm(start - path.coef(0.0, columns), axis=1)
            if path.rank == 1 and (null <= 1e-12 * norm).any():
                turned = (path.coef(0.0, np.eye(len(columns))[:, :q]) * start).sum(axis=1) <= 0.0
                if (turned & (null <= 1e-12 * norm)).any():
                    warnings.warn(
                        "X has rank one and opposes the source: a deep network would stall at "
                        "zero; the interpolating solution is returned",
                        ValidityWarning,
                        stacklevel=4,
                    )
        best, chosen = math.inf, None
        for depth in DEPTHS if isinstance(self.depth, str) else (float(self.depth),):
            tried = ridges
            if math.isinf(depth):
                if self.ridge not in (0, "loo", "gcv"):
                    continue
                tried = np.zeros(1)
            plain, scale = tried.repeat(q).reshape(-1, q), np.ones((len(tried), q))
            if source is None:
                scale[:] = 0.0
            if depth > 1:
                for j, k in np.ndindex(plain.shape):
                    plain[j, k], scale[j, k] = deep_equivalent(
                        path,
                        candidates.column(0, k),
                        None if source is None else candidates.column(1, k),
                        norm[k],
                        null[k],
                        depth,
                        tried[j],
                    )
            at = int(np.argmin(self._mixture_errors(candidates, by_ridge, plain, scale)))
            error = self._mixture_errors(candidates, by_depth, plain[[at]], scale[[at]])[0]
            if error < best or chosen is None:
                best, chosen = error, (depth, tried[at], plain[at], scale[at])
        assert chosen is not None
        self.depth_, self.ridge_ = float(chosen[0]), float(chosen[1])
        return chosen[2], chosen[3]

    @staticmethod
    def _mixture_errors(
        candidates: Candidates, criterion: str, ridge: FloatArray, scale: FloatArray
    ) -> FloatArray:
        """Error summed over outputs; every output has its own ridge and scale, (m, q) each."""
        total = np.zeros(len(ridge))
        for k in range(candidates.n_outputs):
            form = candidates.quadratic(criterion, ridge[:, k])[1][:, k]
            items = form.shape[-1] - 1
            total += mixture_error(form, scale[:, [k] * items])
        return total

    def _warn(self, path: RidgePath, plain: FloatArray) -> None:
        size = path.n_effective
        noisy = max(self.gcv_, self.loo_) > 1e-12 * float(np.square(path.columns).sum()) / size
        if path.interpolates and (plain == 0.0).any():
            warnings.warn(
                f"rows of X are repeated and ridge is 0: gcv_ and loo_ say nothing on new rows "
                f"(rank {path.rank} of {size})",
                ValidityWarning,
                stacklevel=4,
            )
        elif noisy and (plain == 0.0).any() and path.effective(0.0)[2][0] > max(size - 2, size / 2):
            warnings.warn(
                f"near the interpolation threshold: {size} effective rows, "
                f"rank {path.rank}, ridge 0",
                ValidityWarning,
                stacklevel=4,
            )
        elif noisy and abs(self.loo_ - self.gcv_) > 0.25 * min(self.loo_, self.gcv_):
            warnings.warn(
                f"loo_ = {self.loo_:.4g} and gcv_ = {self.gcv_:.4g} differ by more than 25%: rows "
                f"may be far from independent and alike; prefer loo_",
                ValidityWarning,
                stacklevel=4,
            )

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict labels.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Rows.

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
        X = validate_data(self, X, dtype=np.float64, reset=False)
        value = X @ self.coef_.T + self.intercept_
        if self.source_function_ is not None:
            q = np.size(self.intercept_)
            source = Source("source", None, np.zeros(q), self.source_function_)
            value = value + np.reshape(self.source_scale_ * source.predict(X), value.shape)
        return value
