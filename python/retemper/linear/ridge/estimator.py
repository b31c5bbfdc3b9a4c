"""The estimator that fine-tunes a linear predictor."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from retemper._base import TransferMixin
from retemper._validation import (
    FloatArray,
    check_choice,
    check_integer,
    check_real,
)
from retemper.exceptions import ValidityWarning
from retemper.linear.metric import Metric, resolve_metric
from retemper.linear.ridge.candidates import (
    Candidates,
    NoLimitError,
    best_scale,
    deep_equivalent,
    mixture_error,
)
from retemper.linear.ridge.path import RidgePath
from retemper.linear.sources import (
    Source,
    check_switch,
    check_weights,
    resolve_source,
)
from retemper.linear.training_data import check_training_data

__all__ = ["FineTunedLinearRegression"]

#: Depths that are tried where the depth is chosen from the data.
DEPTHS = (1, 2, 3, 5, 10, math.inf)


class FineTunedLinearRegression(
    TransferMixin,
    MultiOutputMixin,  # type: ignore[misc]
    RegressorMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Linear regression that starts from a pretrained model.

    The end point of training from a source :math:`w_0`: at depth 1 the minimiser of
    :math:`N^{-1}\lVert y - b - Xw\rVert^2 + \lambda\lVert w - w_0\rVert^2` (N = n - 1 with an
    intercept, n without; sample weights have mean one), at depth L of a linear network with L
    balanced layers trained by gradient flow, which is the same fit from a rescaled source. Ridge,
    depth and scale of the source are chosen by exact leave-one-out or generalised cross-validation,
    from one eigendecomposition.

    Parameters
    ----------
    depth : int, inf, "loo" or "gcv", default=1
        Number of layers; a word chooses among 1, 2, 3, 5, 10 and inf by that criterion.
    ridge : float, "loo" or "gcv", default="loo"
        Penalty on the distance from the source, dimension of the squared features. A word chooses
        it by that criterion from a log-spaced grid and infinity (and zero above depth 1). ``inf``
        keeps the source and fits the intercept alone. Negative values down to minus the smallest
        eigenvalue of ``Xc @ Xc.T / N`` are legal at depth 1. Depth inf takes 0 alone; above depth 1
        the unit of the ridge depends on the scale of ``y``.
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
    metric : None, "covariance", "fisher" or array_like of shape (d, d) or (d,), default=None
        At depth 1, replaces the squared distance by :math:`(w - w_0)^T M (w - w_0)`: M is the
        (weighted, centred if there is an intercept) covariance of the rows of X, divided by n; its
        other name is the Fisher information per row, at unit noise; a thousandth of its mean
        eigenvalue is added. Or any symmetric positive definite matrix, or its diagonal.
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

    coef_: FloatArray
    intercept_: Any
    source_scale_: Any
    _metric: Metric | None = None

    def __init__(
        self,
        depth: float | Literal["loo", "gcv"] = 1,
        ridge: float | Literal["loo", "gcv"] = "loo",
        source: Any = None,
        *,
        source_scale: float | Literal["auto"] = 1.0,
        fit_intercept: bool = True,
        metric: Any = None,
        heads: Literal["independent", "shared"] = "independent",
        solver: Literal["closed", "flow"] = "closed",
    ) -> None:
        self.depth = depth
        self.ridge = ridge
        self.source = source
        self.source_scale = source_scale
        self.fit_intercept = fit_intercept
        self.metric = metric
        self.heads = heads
        self.solver = solver

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fine-tune the source on target rows.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Target rows, n at least 2.
        y : array_like of shape (n,) or (n, k)
            Labels.
        sample_weight : None or array_like of shape (n,), default=None
            Weights in the sum of squares, not negative; a common factor does not matter. In
            leave-one-out a row leaves with all of its weight, and the errors are weighted means:
            a weight is one observation that counts more, not several.

        Returns
        -------
        FineTunedLinearRegression
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        return self._fit(X, y, sample_weight, advise=True)

    def _fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, advise: bool
    ) -> Self:
        self._check_arguments()
        given = X if hasattr(X, "iloc") else None
        X, y = check_training_data(self, X, y)
        labels = y.reshape(len(y), -1)
        source = self._resolve(X.shape[1], labels.shape[1])
        factor = 1.0 if self.source_scale == "auto" else float(self.source_scale)
        predictions = [] if source is None else [factor * source.predict(X, given)]
        weight = None
        if sample_weight is not None:
            weight = check_weights(sample_weight, X)
            kept = weight > 0.0
            X, labels, weight = X[kept], labels[kept], weight[kept] * np.count_nonzero(kept)
            predictions = [values[kept] for values in predictions]
        share = np.ones(len(X)) / len(X) if weight is None else weight / len(X)
        self._metric = resolve_metric(self.metric, X, share, fit_intercept=self.fit_intercept)
        if self._metric is not None:
            X = self._metric.rows(X)
        candidates = Candidates(X, labels, predictions, bool(self.fit_intercept), weight=weight)
        return self._fit_path(candidates, source, factor, single=y.ndim == 1, advise=advise)

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
        check_switch(self.fit_intercept, "fit_intercept")
        if self.metric is not None and deep:
            raise ValueError(f"metric needs depth=1, got depth={self.depth!r}")
        check_choice(self.heads, "heads", ("independent", "shared"))
        check_choice(self.solver, "solver", ("closed", "flow"))
        for name, value in (("heads", "shared"), ("solver", "flow")):
            if getattr(self, name) != value or (name == "heads" and not deep):
                continue
            finite = not isinstance(self.depth, str) and math.isfinite(self.depth)
            if not finite or isinstance(self.ridge, str) or self.ridge:
                raise ValueError(
                    f"{name}={value!r} needs a finite depth and ridge=0, got "
                    f"depth={self.depth!r}, ridge={self.ridge!r}"
                )
            if deep and self.source is None:
                raise ValueError(
                    f"{name}={value!r} needs a source above depth 1, where zero is stationary"
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
        self,
        candidates: Candidates,
        source: Source | None,
        factor: float,
        *,
        single: bool,
        advise: bool,
    ) -> Self:
        path, q = candidates.path, candidates.n_outputs
        self.source_function_ = None if source is None else source.function
        self.rank_, self.n_iter_ = path.rank, 0
        if not path.rank and advise:
            warnings.warn(
                "X does not vary: the slopes are those of the source", ValidityWarning, stacklevel=4
            )
        if self.depth == 1 or not path.rank:
            ridge, scale = self._choose_plain(candidates, source is not None)
            self.ridge_, self.depth_ = (
                ridge,
                float(1 if isinstance(self.depth, str) else self.depth),
            )
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
        self.effective_ridge_, self.df1_, self.df2_ = (float(v[0]) if one else v for v in effective)
        if advise:
            self._warn(path, plain)

        if self.solver == "flow" or (self.heads == "shared" and q > 1 and self.depth != 1):
            coef = self._flow(path, mix, source, factor)
        offset = path.column_mean @ mix - coef @ path.mean
        if self._metric is not None:
            coef = self._metric.coef(coef)
        if source is not None:
            offset += factor * scale * source.intercept
            if source.coef is not None:
                coef += (factor * scale)[:, None] * source.coef
        self.source_scale_ = float(factor * scale[0]) if single else factor * scale
        self.coef_, self.intercept_ = (coef[0], float(offset[0])) if single else (coef, offset)
        return self

    def _flow(
        self, path: RidgePath, mix: FloatArray, source: Source | None, factor: float
    ) -> FloatArray:
        """Slopes of the correction (q, d) by integration."""
        from retemper.linear.deep.flow import deep_flow, shared_trunk_flow

        depth, q = int(self.depth), mix.shape[1]
        if depth == 1 or source is None or source.coef is None:
            zero = np.zeros((q, path.design.shape[1]))
            result = deep_flow(path.design, path.columns @ mix, zero, depth=1)
            self.n_iter_ = result.n_iter
            return result.coef
        start = factor * source.coef
        flow = shared_trunk_flow if self.heads == "shared" and q > 1 else deep_flow
        result = flow(path.design, path.columns[:, :q], start, depth=depth)
        if flow is shared_trunk_flow:  # no plain fit has this end point
            del self.gcv_, self.loo_
        self.n_iter_ = result.n_iter
        correction: FloatArray = result.coef + mix[q:].diagonal()[:, None] * start
        return correction

    def _choose_plain(self, candidates: Candidates, has_source: bool) -> tuple[float, FloatArray]:
        path, q = candidates.path, candidates.n_outputs
        criterion = self.ridge if isinstance(self.ridge, str) else "gcv"
        if isinstance(self.ridge, str):
            ridges = path.grid()
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
                        stacklevel=5,
                    )
        best, chosen = math.inf, None
        for depth in DEPTHS if isinstance(self.depth, str) else (float(self.depth),):
            if math.isinf(depth) and self.ridge not in (0, "loo", "gcv"):
                continue

            def plain_fit(k: int, ridge: float, depth: float = depth) -> tuple[float, float, float]:
                start = None if source is None else candidates.column(1, k)
                label = candidates.column(0, k)
                return deep_equivalent(
                    path,
                    label=label,
                    source=start,
                    norm=norm[k],
                    null=null[k],
                    depth=depth,
                    ridge=ridge,
                )

            if math.isinf(depth) and isinstance(self.depth, str):
                try:
                    for k in range(q):
                        plain_fit(k, 0.0)
                except NoLimitError:
                    continue
            tried = (
                np.array([float(self.ridge)]) if not isinstance(self.ridge, str) else path.grid()
            )
            if isinstance(self.ridge, str) and depth > 1.0:  # in the units of this depth
                unit = max(plain_fit(k, 0.0)[2] for k in range(q)) or 1.0
                tried = np.append(tried * unit, 0.0)[-1 if math.isinf(depth) else 0 :]
            plain = tried.repeat(q).reshape(-1, q)
            scale = np.full(plain.shape, 0.0 if source is None else 1.0)
            if depth > 1.0:
                for j, k in np.ndindex(plain.shape):
                    plain[j, k], scale[j, k], _ = plain_fit(k, float(tried[j]))
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
                stacklevel=5,
            )
        elif noisy and (plain == 0.0).any() and path.effective(0.0)[2][0] > max(size - 2, size / 2):
            warnings.warn(
                f"near the interpolation threshold: {size} effective rows, "
                f"rank {path.rank}, ridge 0",
                ValidityWarning,
                stacklevel=5,
            )
        elif (
            noisy
            and "gcv" in (self.ridge, self.depth)  # leave-one-out does not rest on alike rows
            and abs(self.loo_ - self.gcv_) > 0.25 * min(self.loo_, self.gcv_)
        ):
            warnings.warn(
                f"chosen by gcv_ = {self.gcv_:.4g}, but loo_ = {self.loo_:.4g} differs by more "
                f"than 25%: rows may be far from independent and alike; prefer 'loo'",
                ValidityWarning,
                stacklevel=5,
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
        given = X if hasattr(X, "iloc") else None
        rows: FloatArray = validate_data(self, X, dtype=np.float64, reset=False)
        value: FloatArray = rows @ self.coef_.T + self.intercept_
        if self.source_function_ is not None:
            q = np.size(self.intercept_)
            source = Source("source", None, np.zeros(q), self.source_function_)
            value = value + np.reshape(
                self.source_scale_ * source.predict(rows, given), value.shape
            )
        return value
