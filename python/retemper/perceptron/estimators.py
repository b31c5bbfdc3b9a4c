"""Classifier that pre-trains on unlabelled rows by their margin and fine-tunes on few labels."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from retemper._base import TransferMixin
from retemper._dispatch import core
from retemper._random import Seed, generator, stream_key
from retemper._results import Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_entries, check_integer, check_real
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.perceptron._simulate import spectral_start
from retemper.perceptron.channel import hermite_moments
from retemper.perceptron.diagnostics import PerceptronReport, report, spectral_margin
from retemper.perceptron.model import row_law

__all__ = ["MarginPerceptronClassifier", "PerceptronReport"]

_UNLABELLED = -1


class MarginPerceptronClassifier(
    TransferMixin,
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Binary linear classifier for many unlabelled rows and few labels.

    Both classes are assumed to lie outside a slab of width ``2 * kappa`` around a hyperplane, in
    standardised features. Message passing computes the posterior mean of the hyperplane from
    unlabelled rows (two-sided margin) and labelled rows (one-sided margin) together.

    Parameters
    ----------
    kappa : float or "spectral", default=1.0
        Margin, in standard deviations of a feature. "spectral" reads it off the leading
        eigenvalue of the rows.
    sigma : float, default=0.6
        Softness of the margin. 0 demands that the rows can be separated.
    eta_u : float, default=0.1
        Share of unlabelled rows that obey no margin, in [0, 1).
    eta_l : float, default=0.02
        Probability that a label is wrong, in [0, 0.5).
    prior : {"sphere", "binary"}, default="sphere"
        Weights uniform on the sphere, or independent and +-1.
    standardize : bool, default=True
        Whether features are scaled to unit variance. They are never whitened: the signal is the
        excess of variance along the hyperplane's normal.
    fit_intercept : bool or "margin", default=True
        True centres the features; "margin" also searches for the offset of the slab, for classes
        of unequal size.
    classes : array_like of shape (2,) or None, default=None
        The classes, needed where the labels show one of them only.
    source : None, MarginPerceptronClassifier, fitted linear classifier or array_like, default=None
        Where to start. The rows of a fitted estimator of this family join as unlabelled rows, in
        its standardisation; of anything else the direction is the start, in original features.
    init : {"auto", "zero", "spectral", "random"}, default="auto"
        First start: zero weights, the leading direction of the rows, or a random one; "auto" is
        the source if there is one, zero with labels and spectral without.
    n_init : int, default=1
        Number of starts, further ones spectral with both signs and then random; the one of
        largest evidence among those that converged is kept.
    max_iter : int, default=500
        Limit of the iterations.
    tol : float, default=1e-5
        Relative change of the weights at convergence.
    damping : float, default=0.5
        Share of the old iterate kept, in [0, 1).
    dtype : {"float64", "float32"}, default="float64"
        Storage of the standardised rows; sums are in double either way.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Randomness of the starts.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features)
        Direction, in original features; zero for features that do not vary.
    intercept_ : ndarray of shape (1,)
        Offset.
    classes_ : ndarray of shape (2,)
        Classes; ``[0, 1]`` without labels.
    kappa_ : float
        Margin used.
    offset_ : float
        Centre of the slab in the standardised features.
    q_, V_ : float
        Overlap of two posterior samples, and the posterior variance of a weight.
    log_evidence_ : float
        Bethe free entropy per feature, nats.
    n_iter_ : int
        Iterations of the start that was kept.
    converged_ : bool
        Whether it met the tolerance, and the rows do not contradict a hard margin.
    transduction_ : ndarray of shape (n_samples,)
        Predicted or given classes of the training rows.
    cavity_fields_ : ndarray of shape (n_samples,)
        Fields of the training rows without their own influence.
    eigenvalue_ : float
        Largest eigenvalue of the second moments of the rows.
    has_labels_ : bool
        Whether the sign of the direction is known.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If an argument is outside its domain, the labels are not of two classes, or the rows do not
        vary.

    Warns
    -----
    ConvergenceWarning
        If message passing does not converge, or no direction has the hard margin asked for.
    ValidityWarning
        If ``kappa="spectral"`` sees no direction, or predictions are asked for without labels.

    Notes
    -----
    After Ohzeki (2015) [1]_; the equations are derived here. Unlabelled rows are marked -1, as in
    scikit-learn's semi-supervised classifiers.

    References
    ----------
    .. [1] M. Ohzeki, "Statistical-mechanical analysis of pre-training and fine tuning in deep
       learning", J. Phys. Soc. Jpn. 84 (2015) 034003.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.perceptron import MarginPerceptronClassifier, PerceptronModel, sample_rows
    >>> X, y, side, _ = sample_rows(PerceptronModel(1.0, 5.0, 0.1), 100, random_state=0)
    >>> model = MarginPerceptronClassifier().fit(X, y)
    >>> bool((model.predict(X) == side).mean() > 0.95)
    True
    """

    classes_: NDArray[Any]
    transduction_: NDArray[Any]
    cavity_fields_: FloatArray
    has_labels_: bool
    eigenvalue_: float
    kappa_: float
    offset_: float
    _rows: NDArray[Any]
    _role: NDArray[np.int8]
    _weights: FloatArray
    _kept: NDArray[np.bool_]
    _mean: FloatArray
    _scale: FloatArray

    def __init__(
        self,
        kappa: float | Literal["spectral"] = 1.0,
        sigma: float = 0.6,
        eta_u: float = 0.1,
        eta_l: float = 0.02,
        *,
        prior: Literal["sphere", "binary"] = "sphere",
        standardize: bool = True,
        fit_intercept: bool | Literal["margin"] = True,
        classes: ArrayLike | None = None,
        source: Any = None,
        init: Literal["auto", "zero", "spectral", "random"] = "auto",
        n_init: int = 1,
        max_iter: int = 500,
        tol: float = 1e-5,
        damping: float = 0.5,
        dtype: Literal["float64", "float32"] = "float64",
        n_jobs: int | None = None,
        random_state: Seed = 0,
    ) -> None:
        self.kappa = kappa
        self.sigma = sigma
        self.eta_u = eta_u
        self.eta_l = eta_l
        self.prior = prior
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.classes = classes
        self.source = source
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.damping = damping
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.target_tags.required = False
        return tags

    # ---- arguments ----

    def _check_parameters(self) -> None:
        if self.kappa != "spectral":
            check_real(self.kappa, "kappa", low=0, high=30)
        check_real(self.sigma, "sigma", low=0, high=1e6)
        check_real(self.eta_u, "eta_u", low=0, high=1, open_high=True)
        check_real(self.eta_l, "eta_l", low=0, high=0.5, open_high=True)
        check_choice(self.prior, "prior", ("sphere", "binary"))
        check_choice(self.init, "init", ("auto", "zero", "spectral", "random"))
        check_choice(self.dtype, "dtype", ("float64", "float32"))
        if not isinstance(self.fit_intercept, bool | np.bool_) and self.fit_intercept != "margin":
            raise ValueError(
                f"fit_intercept must be True, False or 'margin', got {self.fit_intercept!r}"
            )
        check_integer(self.n_init, "n_init", low=1)
        check_integer(self.max_iter, "max_iter", low=1)
        check_real(self.tol, "tol", low=0, open_low=True)
        check_real(self.damping, "damping", low=0, high=1, open_high=True)

    def _roles(self, y: ArrayLike | None, n_rows: int) -> NDArray[np.int8]:
        """Role of every row; sets ``classes_``."""
        if y is None:
            labels = np.full(n_rows, _UNLABELLED)
        else:
            labels = np.asarray(y)
            shape: tuple[int, ...] = labels.shape
            if len(shape) == 2 and shape[1] == 1:
                from sklearn.exceptions import DataConversionWarning

                message = "A column-vector y was passed when a 1d array was expected"
                warnings.warn(message, DataConversionWarning, stacklevel=4)
                labels = labels[:, 0]
            if labels.ndim != 1:
                raise ValueError(f"y must be one-dimensional, got shape {labels.shape}")
            if labels.size != n_rows:
                raise ValueError(f"X has {n_rows} rows and y has {labels.size} entries")
        if labels.dtype.kind == "f":
            check_entries(labels.astype(np.float64), "y")
            if (labels != np.floor(labels)).any():
                raise ValueError(
                    "Unknown label type: continuous. y must hold classes and -1 for unlabelled rows"
                )
        elif labels.dtype.kind == "c":
            raise ValueError("Complex data not supported: y must hold classes")
        is_text = labels.dtype.kind in "US"
        known = np.ones(n_rows, bool) if is_text else np.asarray(labels != _UNLABELLED, bool)
        seen = np.unique(labels[known])
        if self.classes is not None:
            classes = np.unique(np.asarray(self.classes))
            if classes.size != 2:
                raise ValueError(f"classes must name two classes, got {self.classes!r}")
            if not np.isin(seen, classes).all():
                raise ValueError(f"y has classes {seen.tolist()}, not all in {classes.tolist()}")
        elif seen.size == 0:
            classes = np.array([0, 1])
        elif seen.size == 1:
            hint = (
                "; -1 marks unlabelled rows: if it is a class, call it something else"
                if not known.all()
                else ""
            )
            raise ValueError(
                f"the labelled rows have one class only, {seen[0]!r}{hint}. Pass classes=(a, b) if "
                "the other class has no label"
            )
        elif seen.size > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is multiclass: "
                f"y has {seen.size} classes besides -1"
            )
        else:
            classes = seen
        self.classes_ = classes
        return np.where(known, np.where(labels == classes[1], 1, -1), 0).astype(np.int8)

    def _standardized(self, X: FloatArray) -> NDArray[Any]:
        """Rows as the core takes them."""
        Z = (X[:, self._kept] - self._mean) / self._scale
        return np.ascontiguousarray(Z, dtype=self.dtype)

    def _learn_scaling(self, X: FloatArray) -> None:
        spread = X.std(axis=0)
        self._kept = spread > 1e-12 * np.maximum(np.abs(X).max(axis=0), 1e-300)
        if X.shape[0] > 1 and not self._kept.any():
            raise ValueError("X does not vary: every column is constant")
        kept = X[:, self._kept]
        n_kept = kept.shape[1]
        self._mean = kept.mean(axis=0) if self.fit_intercept else np.zeros(n_kept)
        self._scale = spread[self._kept] if self.standardize else np.ones(n_kept)

    # ---- fitting ----

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit unlabelled and labelled rows together.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, at least 2 features.
        y : array_like of shape (n_samples,) or None, default=None
            Classes, -1 for unlabelled rows; None if none is labelled.

        Returns
        -------
        MarginPerceptronClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            As the class says.
        """
        self._check_parameters()
        rows = validate_data(
            self, X, dtype=np.float64, order="C", ensure_min_samples=2, ensure_min_features=2
        )
        check_entries(rows, "X")
        role = self._roles(y, rows.shape[0])
        source = self.source
        starts: FloatArray | None = None
        if isinstance(source, MarginPerceptronClassifier):
            check_is_fitted(source)
            if source.n_features_in_ != self.n_features_in_:
                raise ValueError(
                    f"source has {source.n_features_in_} features, X has {self.n_features_in_}"
                )
            self._kept, self._mean, self._scale = source._kept, source._mean, source._scale
            mine = self._standardized(rows)
            Z = np.vstack([mine, source._rows.astype(mine.dtype)])
            role = np.concatenate([role, np.zeros(source._rows.shape[0], np.int8)])
            starts = self._starts_from(source._weights, role)
        else:
            self._learn_scaling(rows)
            Z = self._standardized(rows)
            if source is not None:
                starts = self._starts_from(self._direction(source), role)
        self._solve(Z, role, starts)
        self.transduction_ = self.transduction_[: rows.shape[0]].copy()
        self.cavity_fields_ = self.cavity_fields_[: rows.shape[0]].copy()
        return self

    def fine_tune(
        self, X: ArrayLike, y: ArrayLike, *, mode: Literal["joint", "sign"] = "joint"
    ) -> Self:
        """Add labelled rows to a fit.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            New rows.
        y : array_like of shape (n_samples,)
            Their classes, -1 for further unlabelled rows.
        mode : {"joint", "sign"}, default="joint"
            "joint" runs message passing again, from the present weights, on all rows seen so far;
            "sign" keeps the direction and lets the labels decide its sign.

        Returns
        -------
        MarginPerceptronClassifier
            Itself.

        Raises
        ------
        ValueError
            If ``mode="sign"`` and no row is labelled, or as in `fit`.
        NotFittedError
            If the estimator has not been fitted.
        """
        check_is_fitted(self)
        check_choice(mode, "mode", ("joint", "sign"))
        self._check_parameters()
        rows = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_entries(rows, "X")
        had_labels, old_classes = self.has_labels_, self.classes_
        fixed, self.classes = self.classes, old_classes if had_labels else self.classes
        try:
            role = self._roles(y, rows.shape[0])
        finally:
            self.classes = fixed
        Z = self._standardized(rows)
        if mode == "sign":
            if not np.abs(role).any():
                raise ValueError("mode='sign' needs at least one labelled row in y")
            if self._odds(self.decision_function(X)) @ role < 0:
                self._set_weights(-self._weights, -self.offset_)
                self.cavity_fields_ = -self.cavity_fields_
            self.has_labels_ = True
            side = (self._fields(self._rows) > self.offset_).astype(int)
            side = np.where(self._role == 0, side, (self._role > 0).astype(int))
            self.transduction_ = self.classes_[side]
            return self
        all_rows = np.vstack([self._rows, Z])
        roles = np.concatenate([self._role, role])
        self._solve(all_rows, roles, self._starts_from(self._weights, roles))
        return self

    def _direction(self, source: Any) -> FloatArray:
        """Weights of a linear source in the standardised features, of norm sqrt(n) / 2."""
        coef = np.asarray(getattr(source, "coef_", source), dtype=np.float64).reshape(-1)
        if coef.size != self.n_features_in_:
            raise ValueError(
                f"source must have {self.n_features_in_} coefficients, got {coef.size}"
            )
        check_entries(coef, "source")
        w = coef[self._kept] * self._scale
        size = math.sqrt(w @ w)
        return np.asarray(0.5 * math.sqrt(w.size) * w / size if size > 0 else w)

    def _starts_from(self, w: FloatArray, role: NDArray[np.int8]) -> FloatArray:
        # a direction found without labels has no sign yet: the evidence chooses
        return np.stack([w, -w]) if np.abs(role).max(initial=0) == 1 else w[None]

    def _starts(self, Z: NDArray[Any], role: NDArray[np.int8], c2: float) -> FloatArray:
        """The first ``n_init`` starts."""
        n = Z.shape[1]
        key = stream_key(self.random_state)
        spectral, self.eigenvalue_ = spectral_start(
            Z, np.ones(Z.shape[0], bool), c2, key, effective_n_threads(self.n_jobs)
        )
        rng = generator(np.random.SeedSequence(key))
        has_labels = bool(role.any())
        first = self.init if self.init != "auto" else "zero" if has_labels else "spectral"
        known = {"zero": np.zeros(n), "spectral": spectral}
        starts: list[FloatArray] = [known.pop(first)] if first in known else []
        if first != "random":
            starts += [known["spectral"]] if "spectral" in known else []
            starts += [-spectral] if has_labels else []
        while len(starts) < self.n_init:
            starts.append(np.asarray(0.3 * rng.normal(size=n)))
        kept = np.stack(starts[: self.n_init])
        size = np.sqrt((kept**2).sum(axis=1, keepdims=True) / n)
        return np.asarray(kept / np.maximum(1.0, size / 0.99))

    def _solve(self, Z: NDArray[Any], role: NDArray[np.int8], starts: FloatArray | None) -> None:
        n_threads = effective_n_threads(self.n_jobs)
        n_rows, n = Z.shape
        shared: dict[str, Any] = {"sigma": self.sigma, "eta_u": self.eta_u, "eta_l": self.eta_l}
        self.has_labels_ = bool(role.any())
        kind = core.perceptron.RowKind.unlabelled
        guess = 1.0 if self.kappa == "spectral" else float(self.kappa)
        ours = self._starts(Z, role, hermite_moments(row_law(kappa=guess, **shared), kind)[1])
        self.kappa_ = guess
        if self.kappa == "spectral":
            found = spectral_margin(self.eigenvalue_, n / n_rows)
            if found is None:
                warnings.warn(
                    f"kappa='spectral': the leading eigenvalue {self.eigenvalue_:.3g} is that of "
                    f"rows without structure ({(1 + math.sqrt(n / n_rows)) ** 2:.3g}); the labels "
                    "alone are used",
                    ValidityWarning,
                    stacklevel=3,
                )
            self.kappa_ = 0.0 if found is None else found
        if starts is None or (self.init != "auto" and self.source is None):
            starts = ours
        elif self.n_init > len(starts):
            starts = np.vstack([starts, ours[: self.n_init - len(starts)]])
        offsets = np.zeros(1)
        if self.fit_intercept == "margin":
            # off its place a hard slab contradicts the rows: there runs oscillate, at low evidence
            coarse = np.linspace(-2, 2, 41)
            best = self._best(
                Z, role, starts, coarse, shared=shared, n_threads=n_threads, any_status=True
            )
            offsets = best["slab"] + np.linspace(-0.08, 0.08, 9)
            starts = best["weights"][None]
        best = self._best(Z, role, starts, offsets, shared=shared, n_threads=n_threads)
        self._rows, self._role = Z, role
        self._set_weights(best["weights"], best["offset"])
        self.V_ = float(best["V"])
        self.q_ = float(best["weights"] @ best["weights"]) / n
        self.log_evidence_ = float(best["free_entropy"])
        self.n_iter_ = int(best["n_iter"])
        self.converged_ = best["status"] == 0
        self.cavity_fields_ = best["omega"]
        side = (self._fields(Z) > self.offset_).astype(int)
        side = np.where(role == 0, side, (role > 0).astype(int))
        self.transduction_ = self.classes_[side]
        n_wrong = self._contradictions(Z, role)
        if n_wrong:
            self.converged_ = False
            warnings.warn(
                f"no direction has the hard margin kappa={self.kappa_:g} on these rows: {n_wrong} "
                "violate it. Rows that cannot be separated need sigma >= 0.5.",
                ConvergenceWarning,
                stacklevel=3,
            )
        elif not self.converged_:
            status = Status.from_core(int(best["status"]))
            remedy = (
                " The margin is hard: rows that cannot be separated need sigma >= 0.5."
                if self.sigma == 0
                else " More damping, n_init > 1 or a smaller kappa may help."
            )
            warnings.warn(
                f"message passing {status.sentence} (residual {best['residual']:.3g} after "
                f"{self.n_iter_} iterations).{remedy}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _contradictions(self, Z: NDArray[Any], role: NDArray[np.int8]) -> int:
        """Rows that a hard margin forbids where the posterior has shrunk to a point."""
        if self.sigma > 0 or self.V_ > 1e-4:
            return 0
        h = (self._fields(Z) - self.offset_) / math.sqrt(max(self.q_, 1e-12))
        depth = self.kappa_ - np.where(role == 0, np.abs(h), role * h)
        hard = (role == 0) & (self.eta_u == 0) | (role != 0) & (self.eta_l == 0)
        return int((hard & (depth > 10 * math.sqrt(self.V_) + 1e-3)).sum())

    def _best(
        self,
        Z: NDArray[Any],
        role: NDArray[np.int8],
        starts: FloatArray,
        offsets: FloatArray,
        *,
        shared: dict[str, Any],
        n_threads: int,
        any_status: bool = False,
    ) -> dict[str, Any]:
        """All starts at all offsets in one batch; the converged one of largest evidence."""
        is_centred = self.fit_intercept == "margin"
        laws = [
            row_law(kappa=self.kappa_, offset=float(b), is_centred=is_centred, **shared)
            for b in offsets
        ]
        n_starts = len(starts)
        run = core.perceptron.amp(
            Z,
            np.tile(role, (len(laws) * n_starts, 1)),
            [law for law in laws for _ in range(n_starts)],
            getattr(core.perceptron.Prior, self.prior),
            np.tile(starts, (len(laws), 1)),
            self.max_iter,
            self.tol,
            self.damping,
            n_threads,
        )
        evidence = np.array(run["free_entropy"])
        settled = (np.array(run["status"]) == 0) | any_status
        at = int(np.where(settled | ~settled.any(), evidence, -np.inf).argmax())
        best = {name: values[at] for name, values in run.items()}
        best["weights"], best["omega"] = best["weights"].copy(), best["omega"].copy()
        best["slab"] = best["offset"] = float(offsets[at // n_starts])
        if is_centred:  # seen from the mean of the rows
            plain = row_law(kappa=self.kappa_, offset=best["slab"], **shared)
            best["offset"] -= hermite_moments(plain, core.perceptron.RowKind.unlabelled)[0]
        return best

    def _set_weights(self, w: FloatArray, offset: float) -> None:
        self._weights, self.offset_ = w, offset
        coef = np.zeros(self.n_features_in_)
        coef[self._kept] = w / (self._scale * math.sqrt(w.size))
        self.coef_ = coef[None]
        self.intercept_ = np.array([-float(coef[self._kept] @ self._mean) - offset])

    def _fields(self, Z: NDArray[Any]) -> FloatArray:
        return np.asarray(Z @ self._weights / math.sqrt(self._weights.size))

    # ---- prediction ----

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Name of the column of `transform`.

        Parameters
        ----------
        input_features : array_like of str or None, default=None
            Ignored.

        Returns
        -------
        ndarray of str of shape (1,)
            ``["marginperceptronclassifier0"]``.
        """
        check_is_fitted(self)
        return np.array([f"{type(self).__name__.lower()}0"], dtype=object)

    def transform(self, X: ArrayLike) -> FloatArray:
        """Fields of rows along the direction.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, 1)
            Fields, without the offset of the slab.
        """
        return (self.decision_function(X) + self.offset_)[:, None]

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Distance from the middle of the slab; positive for the second class.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Fields.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_entries(rows, "X")
        return np.asarray(rows @ self.coef_[0] + self.intercept_[0])

    def _odds(self, fields: FloatArray) -> FloatArray:
        law = row_law(kappa=self.kappa_, sigma=self.sigma, eta_l=self.eta_l)
        V = np.array([min(max(self.V_, 1e-14), 1.0)])
        kind = core.perceptron.RowKind.positive
        towards, away = (
            core.perceptron.channel_score(law, kind, sign * np.ascontiguousarray(fields), V, 1)[0]
            for sign in (1, -1)
        )
        return np.asarray(towards - away)

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Posterior probability of both classes.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Probabilities that the label is that of each class, flips included.
        """
        positive = expit(self._odds(self.decision_function(X)))
        return np.column_stack([1 - positive, positive])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Classes of rows.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes; without labels, the two sides in arbitrary order.

        Warns
        -----
        ValidityWarning
            If the fit had no labels.
        """
        fields = self.decision_function(X)
        if not self.has_labels_:
            warnings.warn(
                "no row was labelled: the classes 0 and 1 are sides of the hyperplane in arbitrary "
                "order",
                ValidityWarning,
                stacklevel=2,
            )
        return np.asarray(self.classes_[(fields > 0).astype(int)])

    @property
    def report_(self) -> PerceptronReport:
        """What the theory says about the fit; see `PerceptronReport`."""
        check_is_fitted(self)
        if self.prior != "sphere":
            raise AttributeError("report_ needs prior='sphere'")
        n_rows = self.cavity_fields_.size
        role = self._role[:n_rows]
        return report(
            kappa=self.kappa_,
            sigma=self.sigma,
            eta_u=self.eta_u,
            eta_l=self.eta_l,
            n_features=self._weights.size,
            n_unlabelled=int((self._role == 0).sum()),
            n_labelled=int((self._role != 0).sum()),
            eigenvalue=self.eigenvalue_,
            omega=self.cavity_fields_,
            role=role,
            q=self.q_,
            V=self.V_,
        )
