"""Classifier that pre-trains on unlabelled rows by their margin and fine-tunes on few labels."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from retemper._base import TransferMixin, validate_data
from retemper._domains import check_parameter
from retemper._random import Seed, stream_key
from retemper._results import Status
from retemper._sources import column_names, read_source
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_entries, check_integer
from retemper.exceptions import ConvergenceWarning, ValidityWarning
from retemper.perceptron.diagnostics import (
    PerceptronReport,
    report,
    spectral_edge,
    spectral_margin,
)
from retemper.perceptron.fitting import (
    LawSettings,
    PassingOptions,
    PretrainedRows,
    Scaling,
    count_contradictions,
    fields_of,
    find_starts,
    fit_rows,
    label_odds,
    learn_scaling,
    read_labels,
)

__all__ = ["MarginPerceptronClassifier", "PerceptronReport"]

_FACES: tuple[Literal["coef"], ...] = ("coef",)


class MarginPerceptronClassifier(
    TransferMixin,
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Binary linear classifier for many unlabelled rows and one or two labels a class.

    With more labels, logistic regression and self-training are better on real tables
    (``bench/realdata_perceptron.py``). Use them too where ``report_`` says that the rows do not
    obey the model.

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
    unlabelled_as : int, float, str or None, default=-1
        What stands in ``y`` for a row without label, as in scikit-learn's semi-supervised
        classifiers. A class may be called -1 if this is another value, or None: then every row has
        a label.
    source : None, MarginPerceptronClassifier, fitted linear model, array_like or pair, default=None
        Where to start. The rows of a fitted estimator of this family join as unlabelled rows, in
        its standardisation. Of a linear model, of coefficients of shape (n_features,) or a named
        Series of them, and of a pair (coef, intercept) the direction is the start, in original
        features. Columns are matched by name where both sides have names.
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

    See Also
    --------
    message_passing, PerceptronReport, retemper.linear.FineTunedLogisticRegression

    Notes
    -----
    After Ohzeki (2015) [1]_; the equations are derived here
    (`derivations/perceptron#message-passing`).

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
    _scaling: Scaling

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
        unlabelled_as: float | str | None = -1,
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
        self.unlabelled_as = unlabelled_as
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
            check_parameter(self.kappa, "kappa")
        for name in ("sigma", "eta_u", "eta_l", "prior", "max_iter", "tol", "damping"):
            check_parameter(getattr(self, name), name)
        check_choice(self.init, "init", ("auto", "zero", "spectral", "random"))
        check_choice(self.dtype, "dtype", ("float64", "float32"))
        if not isinstance(self.fit_intercept, bool | np.bool_) and self.fit_intercept != "margin":
            raise ValueError(
                f"fit_intercept must be True, False or 'margin', got {self.fit_intercept!r}"
            )
        check_integer(self.n_init, "n_init", low=1)

    def _labels_as_vector(self, y: ArrayLike | None) -> ArrayLike | None:
        if y is None:
            return None
        labels = np.asarray(y)
        if labels.ndim != 2 or labels.shape[1] != 1:
            return labels
        from sklearn.exceptions import DataConversionWarning

        message = "A column-vector y was passed when a 1d array was expected"
        warnings.warn(message, DataConversionWarning, stacklevel=4)
        return labels[:, 0]

    def _law_settings(self, kappa: float) -> LawSettings:
        return LawSettings(kappa, float(self.sigma), float(self.eta_u), float(self.eta_l))

    # ---- fitting ----

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit unlabelled and labelled rows together.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, at least 2 features.
        y : array_like of shape (n_samples,) or None, default=None
            Classes, ``unlabelled_as`` for rows without label; None if none is labelled.

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
        labels = read_labels(
            self._labels_as_vector(y), rows.shape[0], self.classes, self.unlabelled_as
        )
        self.classes_, role = labels
        source = self.source
        starts: FloatArray | None = None
        if isinstance(source, MarginPerceptronClassifier):
            check_is_fitted(source)
            theirs = PretrainedRows(source._rows, source._weights, source._scaling).in_order(
                getattr(source, "feature_names_in_", None), column_names(X), self.n_features_in_
            )
            self._scaling = theirs.scaling
            mine = self._scaling.apply(rows, self.dtype)
            Z = np.vstack([mine, theirs.rows.astype(mine.dtype)])
            role = np.concatenate([role, np.zeros(theirs.rows.shape[0], np.int8)])
            starts = self._starts_from(theirs.weights, role)
        else:
            self._scaling = learn_scaling(
                rows, standardize=self.standardize, centre=bool(self.fit_intercept)
            )
            Z = self._scaling.apply(rows, self.dtype)
            if source is not None:
                starts = self._starts_from(self._direction(source, X), role)
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
            Their classes, ``unlabelled_as`` for further rows without label.
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
        classes = self.classes_ if self.has_labels_ else self.classes
        self.classes_, role = read_labels(
            self._labels_as_vector(y), rows.shape[0], classes, self.unlabelled_as
        )
        Z = self._scaling.apply(rows, self.dtype)
        if mode == "sign":
            if not np.abs(role).any():
                raise ValueError("mode='sign' needs at least one labelled row in y")
            odds = label_odds(self.decision_function(X), self.V_, self._law_settings(self.kappa_))
            if odds @ role < 0:
                self._set_weights(-self._weights, -self.offset_)
                self.cavity_fields_ = -self.cavity_fields_
            self.has_labels_ = True
            self._set_transduction()
            return self
        all_rows = np.vstack([self._rows, Z])
        roles = np.concatenate([self._role, role])
        self._solve(all_rows, roles, self._starts_from(self._weights, roles))
        return self

    def _direction(self, source: Any, X: Any) -> FloatArray:
        """Weights of a linear source in the standardised features, of norm sqrt(n) / 2."""
        coef = read_source(source, X, faces=_FACES).coef
        assert coef is not None
        w = coef[0, self._scaling.kept] * self._scaling.scale
        size = np.sqrt(w @ w)
        return np.asarray(0.5 * np.sqrt(w.size) * w / size if size > 0 else w)

    def _starts_from(self, w: FloatArray, role: NDArray[np.int8]) -> FloatArray:
        # a direction found without labels has no sign yet: the evidence chooses
        return np.stack([w, -w]) if np.abs(role).max(initial=0) == 1 else w[None]

    def _solve(self, Z: NDArray[Any], role: NDArray[np.int8], starts: FloatArray | None) -> None:
        n_rows, n = Z.shape
        n_threads = effective_n_threads(self.n_jobs)
        guess = 1.0 if self.kappa == "spectral" else float(self.kappa)
        ours = find_starts(
            Z,
            role,
            self._law_settings(guess),
            init=self.init,
            n_init=self.n_init,
            key=stream_key(self.random_state),
            n_threads=n_threads,
        )
        self.eigenvalue_ = ours.eigenvalue
        self.has_labels_ = bool(role.any())
        self.kappa_ = guess
        if self.kappa == "spectral":
            self.kappa_ = self._margin_of_spectrum(n / n_rows)
        if starts is None or (self.init != "auto" and self.source is None):
            starts = ours.weights
        elif self.n_init > len(starts):
            starts = np.vstack([starts, ours.weights[: self.n_init - len(starts)]])
        settings = self._law_settings(self.kappa_)
        fit = fit_rows(
            Z,
            role,
            starts,
            settings,
            options=PassingOptions(self.prior, self.max_iter, self.tol, self.damping, n_threads),
            search_offset=self.fit_intercept == "margin",
        )
        self._rows, self._role = Z, role
        self._set_weights(fit.weights, fit.offset)
        self.V_ = fit.variance
        self.q_ = fit.overlap
        self.log_evidence_ = fit.free_entropy
        self.n_iter_ = fit.n_iter
        self.converged_ = fit.status is Status.CONVERGED
        self.cavity_fields_ = fit.cavity_fields
        self._set_transduction()
        n_wrong = count_contradictions(Z, role, fit, settings)
        if n_wrong:
            self.converged_ = False
            warnings.warn(
                f"no direction has the hard margin kappa={self.kappa_:g} on these rows: {n_wrong} "
                "violate it. Rows that cannot be separated need sigma >= 0.5.",
                ConvergenceWarning,
                stacklevel=3,
            )
        elif not self.converged_:
            remedy = (
                " The margin is hard: rows that cannot be separated need sigma >= 0.5."
                if self.sigma == 0
                else " More damping, n_init > 1 or a smaller kappa may help."
            )
            warnings.warn(
                f"message passing {fit.status.sentence} (residual {fit.residual:.3g} after "
                f"{self.n_iter_} iterations).{remedy}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _margin_of_spectrum(self, ratio: float) -> float:
        found = spectral_margin(self.eigenvalue_, ratio)
        if found is not None:
            return found
        warnings.warn(
            f"kappa='spectral': the leading eigenvalue {self.eigenvalue_:.3g} is that of "
            f"rows without structure ({spectral_edge(ratio):.3g}); the labels "
            "alone are used",
            ValidityWarning,
            stacklevel=4,
        )
        return 0.0

    def _set_weights(self, w: FloatArray, offset: float) -> None:
        self._weights, self.offset_ = w, offset
        kept = self._scaling.kept
        coef = np.zeros(self.n_features_in_)
        coef[kept] = w / (self._scaling.scale * np.sqrt(w.size))
        self.coef_ = coef[None]
        self.intercept_ = np.array([-float(coef[kept] @ self._scaling.mean) - offset])

    def _set_transduction(self) -> None:
        side = (fields_of(self._rows, self._weights) > self.offset_).astype(int)
        side = np.where(self._role == 0, side, (self._role > 0).astype(int))
        self.transduction_ = self.classes_[side]

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
        fields = self.decision_function(X)
        positive = expit(label_odds(fields, self.V_, self._law_settings(self.kappa_)))
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
            cavity_fields=self.cavity_fields_,
            role=role,
            q=self.q_,
            variance=self.V_,
        )
