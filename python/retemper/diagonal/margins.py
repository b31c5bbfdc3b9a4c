"""Classification: least penalty among the coefficients of a given margin."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Result, Status
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_kind,
    check_memory,
    check_real,
    check_shape,
)
from retemper.diagonal._simulate import draw_start, report_runs
from retemper.diagonal.channel import Law
from retemper.diagonal.law import coefficient_law
from retemper.diagonal.mirror import as_start, check_some_move, free_features, mirror_coordinate
from retemper.diagonal.model import DiagonalModel
from retemper.exceptions import NumericalError

_REACH = 9.0  # standard deviations of the channel
_MOST_MIRROR = 700.0  # sinh beyond it overflows
_LONGEST = 4.0  # change of a mirror coordinate in a step
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)
QUANTITIES = ("error", "cosine", "support", "rms")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MaximumMargin(Result):
    """Coefficients of least penalty with a margin (see `maximum_margin`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Newton steps.
    residual : float
        Largest violation of the conditions of optimality, over the margin.
    message : str
        What happened, in words.
    coef : ndarray of shape (n_features,)
        Coefficients.
    dual : ndarray of shape (n_samples,)
        Multipliers, positive on the rows that lie on the margin and zero elsewhere; ``coef`` equals
        ``scale * sinh(arcsinh(centre / scale) + 2 X.T (y * dual))``.
    margin : float
        The margin asked for.

    See Also
    --------
    maximum_margin

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import maximum_margin
    >>> fit = maximum_margin(np.eye(2), [1.0, -1.0], 0.1, margin=3.0)
    >>> fit.coef.round(6).tolist(), str(fit.status)
    ([3.0, -3.0], 'converged')
    """

    coef: FloatArray
    dual: FloatArray
    margin: float


def maximum_margin(
    X: ArrayLike,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    margin: float = 1.0,
    centre: ArrayLike | None = None,
    tol: float = 1e-10,
    max_iter: int = 500,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> MaximumMargin:
    r"""Coefficients of least penalty for which every row has a margin.

    Minimises :math:`\sum_d D_q(\beta_d, \beta_{0,d}; c_d)` over :math:`y_i\,x_i\cdot\beta\ge
    \vartheta`, by a projected Newton iteration on the dual. That is where gradient flow of a
    two-layer network on the exponential or logistic loss stands when that loss is of order
    :math:`e^{-\vartheta}`, in the limit of large :math:`\vartheta` at fixed
    :math:`c/\vartheta` [1]_: from :math:`c\gg\vartheta` the least norm, from
    :math:`c\ll\vartheta` the largest l1 margin, which every flow reaches in the end, on a scale
    of :math:`\ln\vartheta/c`. Derived here (`derivations/diagonal#margins`).

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design, as it is.
    y : array_like of shape (n_samples,)
        Labels, -1 or 1.
    scale : array_like of shape (n_features,) or float
        Non-negative scales c; features with scale zero stay at zero.
    margin : float, default=1.0
        Margin, in [1e-100, 1e100].
    centre : array_like of shape (n_features,) or None, default=None
        Coefficients at the start of the flow; zero if None.
    tol : float, default=1e-10
        Violation of the conditions of optimality that is left, over the margin.
    max_iter : int, default=500
        Most Newton steps.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the tolerance was not reached.
    progress : None, bool, callable or object, default=None
        Called with (0, 0) from time to time; an exception raised in it stops the work.

    Returns
    -------
    MaximumMargin
        Coefficients and multipliers.

    Raises
    ------
    ValueError
        If shapes disagree, a value is outside its domain, or every scale is zero.
    NumericalError
        If the classes are not separable by the features that can move.

    See Also
    --------
    minimum_penalty, solve_margin

    References
    ----------
    .. [1] E. Moroshko, S. Gunasekar, B. Woodworth, J. D. Lee, N. Srebro, D. Soudry, "Implicit Bias
       in Deep Linear Classification: Initialization Scale vs Training Accuracy", NeurIPS (2020).

    Examples
    --------
    >>> from retemper.diagonal import maximum_margin
    >>> X = [[2.0, 1.0]]
    >>> [maximum_margin(X, [1.0], c).coef.round(3).tolist() for c in (1e6, 1e-12)]
    [[0.4, 0.2], [0.5, 0.0]]
    """
    watch = as_callback(progress, "maximum_margin")
    design, labels = as_float_array(X, "X", ndim=2), as_float_array(y, "y")
    n, d = design.shape
    if not n or not d:
        raise ValueError(f"X must not be empty, got shape {design.shape}")
    check_shape(labels, (n,), "y")
    if not np.all(np.abs(labels) == 1.0):
        raise ValueError(f"y must be -1 or 1, got {labels[np.abs(labels) != 1.0][0]:g}")
    c, start = as_start(scale, centre, d)
    check_real(margin, "margin", low=1e-100, high=1e100)
    check_real(tol, "tol", low=0.0, open_low=True)
    check_integer(max_iter, "max_iter", low=1)
    check_some_move(c)
    free = free_features(c, start)
    rows = labels[:, None] * design[:, free]
    u0 = mirror_coordinate(start[free], c[free])
    dual = _Dual(rows, c[free], u0, margin)
    n_iter = _largest_margin(dual, n, tol, max_iter, watch)
    residual = dual.violation()
    if not residual <= tol and not _is_separable(rows):
        raise NumericalError(
            f"no coefficients have the margin {margin:g}: the classes are not separable by the "
            f"features that can move (violation {residual:.2g} of the margin)"
        )
    status = Status.CONVERGED if residual <= tol else Status.MAX_ITER
    report_status(status, residual, "the conditions of the largest margin", on_failure=on_failure)
    coef = np.zeros(d)
    coef[free] = dual.coef
    return MaximumMargin(
        status=status,
        n_iter=n_iter,
        residual=residual,
        message=status.sentence,
        coef=coef,
        dual=dual.s,
        margin=margin,
    )


class _Dual:
    """The concave dual of the largest margin, in multipliers s >= 0."""

    def __init__(self, rows: FloatArray, c: FloatArray, u0: FloatArray, margin: float) -> None:
        self._rows, self._c, self._u0, self._margin = rows, c, u0, margin

    def move_to(self, s: FloatArray) -> bool:
        """Evaluate at multipliers; False, and nothing changed, where coefficients overflow."""
        u = self._u0 + 2.0 * (s @ self._rows)
        if not np.abs(u).max() < _MOST_MIRROR:
            return False
        half = np.sinh(0.5 * (u + self._u0)) * np.sinh(0.5 * (u - self._u0))
        self.s, self.value = s, self._margin * float(s.sum()) - float(self._c @ half)
        self.coef, self.weight = self._c * np.sinh(u), 2.0 * self._c * np.cosh(u)
        self.slope = self._margin - self._rows @ self.coef
        return True

    def violation(self) -> float:
        """Largest violation of the conditions of optimality, over the margin."""
        left = np.where(self.s > 0.0, np.abs(self.slope), np.maximum(self.slope, 0.0))
        return float(left.max()) / self._margin

    def step(self, damping: float) -> bool:
        """A projected Newton step with a damped Hessian; False if it does not raise the dual."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        s, value, slope = self.s, self.value, self.slope
        moves = (s > 0.0) | (slope > 0.0)
        part = self._rows[moves]
        hessian = (part * self.weight) @ part.T
        hessian[np.diag_indices_from(hessian)] += damping * hessian.diagonal().max()
        try:
            change = cho_solve(cho_factor(hessian, overwrite_a=True), slope[moves])
        except LinAlgError:
            return False
        share = min(1.0, _LONGEST / max(float(np.abs(2.0 * (change @ part)).max()), 1e-300))
        whole = share
        while share > 1e-3 * whole:
            trial = np.where(moves, s, 0.0)
            trial[moves] = np.maximum(s[moves] + share * change, 0.0)
            if self.move_to(trial):
                wanted = 1e-4 * float(slope @ (trial - s))
                if self.value >= value + wanted - 1e-14 * abs(value):
                    return True
            share *= 0.5
        self.move_to(s)
        return False


def _largest_margin(dual: _Dual, n: int, tol: float, max_iter: int, watch: Progress | None) -> int:
    """Newton steps on the dual, less damped while they succeed; returns their number."""
    dual.move_to(np.zeros(n))
    damping = 1e-2
    for step in range(max_iter):
        if watch is not None:
            watch(0, 0)
        if dual.violation() <= tol or damping > 1e6:
            return step
        damping = max(0.1 * damping, 1e-14) if dual.step(damping) else 100.0 * damping
    return max_iter


def _is_separable(rows: FloatArray) -> bool:
    from scipy.optimize import linprog

    found = linprog(
        np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None)
    )
    return bool(found.status == 0)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MarginTheory(Result):
    """What high dimension predicts for a classifier of a given margin (see `solve_margin`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Evaluations of the averages.
    residual : float
        Largest residual of the three equations.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    margin : float
        Margin of the training rows.
    error : float
        Probability that the sign of a new row is wrong, its noise included.
    cosine : float
        Cosine of the coefficients with those of the target.
    support : float
        Share of the rows that lie on the margin.
    rms : float
        Root of the mean square of the coefficients.
    tau, effective_mu, dof : float
        Scalar channel, as in `DiagonalTheory`; its signal is the target's coefficient times a
        number.

    See Also
    --------
    solve_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve_margin
    >>> theory = solve_margin(DiagonalModel(0.5, mode="scratch"), 1.0)
    >>> bool(abs(theory.dof - 0.5 * theory.support) < 1e-9)
    True
    """

    model: DiagonalModel
    margin: float
    error: float
    cosine: float
    support: float
    rms: float
    tau: float
    effective_mu: float
    dof: float


def solve_margin(
    model: DiagonalModel, margin: float, *, on_failure: OnFailure = "warn"
) -> MarginTheory:
    r"""Classification error of the network of least penalty with a margin, in high dimension.

    Labels are the signs of ``X @ target + noise * N(0, 1)``; training ends as in `maximum_margin`.
    With Q the mean square of the coefficients, m their overlap with the target and :math:`\theta`
    the effective penalty, the equations are those of one scalar channel,
    :math:`Q=\mathrm E\hat x^2`, :math:`m=\mathrm E\hat xB`, :math:`\mathrm E\hat x'=\alpha P`,
    where P is the share of rows on the margin (by the replica method; derived here:
    `derivations/diagonal#margins`).

    Parameters
    ----------
    model : DiagonalModel
        Two layers, independent columns, Gaussian components, ``mu = 0``, no ``label_noise``.
    margin : float
        Margin of the training rows, in the units of a prediction; only its ratio to the scales
        matters.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the equations were not solved, as where the classes are not separable.

    Returns
    -------
    MarginTheory
        Error, order parameters and residual.

    Raises
    ------
    ValueError
        If a value is outside its domain, or the model is one for which the equations are not
        derived.
    NumericalError
        If ``on_failure="raise"`` and the equations were not solved.

    See Also
    --------
    simulate_margin, compare_margin, maximum_margin

    References
    ----------
    .. [1] B. Loureiro et al., "Learning curves of generic features maps for realistic datasets with
       a teacher-student model", NeurIPS (2021), for the method.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve_margin
    >>> rich, lazy = (
    ...     solve_margin(DiagonalModel(0.5, mode="scratch", init_scale=c), 1.0).error
    ...     for c in (1e-3, 1e3)
    ... )
    >>> rich < lazy
    True
    """
    _check(model, margin)
    from scipy.optimize import root

    law = coefficient_law(model)
    equations = _Equations(law, model, margin)
    at = np.array([math.log(4.0 * margin**2), 0.5, math.log(float(law.scale.max()) + margin)])
    status = Status.CONVERGED
    with np.errstate(all="ignore"):
        for _ in range(300):  # message passing, which converges where there is a solution
            left = equations(at)
            if not np.all(np.isfinite(left)) or np.abs(left).max() < 1e-2:
                break
            at = at + np.clip(0.5 * left, -1.0, 1.0)
        if np.all(np.isfinite(left)):
            at = root(equations, at, tol=1e-13).x
        residual = float(np.abs(equations(at)).max())
    if not residual < 1e-9:  # no bounded coefficients where the classes are not separable
        status = Status.STALLED
    report_status(status, residual, "the equations of the margin", on_failure=on_failure)
    return MarginTheory(
        status=status,
        n_iter=equations.n_calls,
        residual=residual,
        message=status.sentence,
        model=model,
        margin=margin,
        error=_error(equations.cosine, law.null_mse, model.noise),
        cosine=equations.cosine,
        support=equations.support,
        rms=math.sqrt(equations.square),
        tau=equations.tau,
        effective_mu=equations.theta,
        dof=equations.dof,
    )


def _check(model: DiagonalModel, margin: float) -> None:
    check_kind(model, "model", DiagonalModel)
    check_real(margin, "margin", low=1e-100, high=1e100)
    for name, plain in {"depth": 2, "mu": 0.0, "label_noise": 0.0, "spectrum": None}.items():
        if getattr(model, name) != plain:
            raise ValueError(
                f"model must have {name} = {plain} for margins, got {getattr(model, name)!r:.60}"
            )
    if any(part.target_law is not None for part in model.law()):
        raise ValueError("model must have Gaussian components for margins, got a target_law")
    if not any(part.target_second_moment() for part in model.law()):
        raise ValueError("model must have a target that is not zero: labels are its signs")


def _error(cosine: float, square: float, noise: float) -> float:
    """Probability of a wrong sign."""
    seen = cosine * math.sqrt(square / (square + noise**2))
    return math.acos(min(max(seen, -1.0), 1.0)) / math.pi


class _Equations:
    """What one round of message passing changes, in (log Q, atanh cosine, log theta)."""

    def __init__(self, law: Law, model: DiagonalModel, margin: float) -> None:
        used = law.scale > 0.0
        self._parts = np.stack([law.weight, law.mean, law.var, law.scale, law.centre])[:, used]
        self._square, self._model, self._margin = law.null_mse, model, margin
        self.n_calls = 0
        self.cosine = self.support = self.square = self.tau = self.theta = self.dof = math.nan

    def __call__(self, at: FloatArray) -> FloatArray:
        self.n_calls += 1
        log_q, angle, log_theta = (float(v) for v in at)
        try:
            self.square, self.cosine = math.exp(log_q), math.tanh(angle)
            self.theta = math.exp(log_theta)
            signal = self._rows()
            square, overlap, self.dof = self._averages(signal)
        except (ValueError, OverflowError, ZeroDivisionError):
            return np.full(3, math.nan)
        cosine = overlap / math.sqrt(square * self._square)
        return np.array([
            math.log(square) - log_q,
            math.atanh(min(max(cosine, -1.0 + 1e-12), 1.0 - 1e-12)) - angle,
            math.log(self.dof / (self._model.alpha * self.support)),
        ])  # fmt: skip

    def _rows(self) -> float:
        """Support and tau; returns the number that multiplies the target in the channel."""
        from scipy.special import ndtr

        q, margin = self.square, self._margin
        root = math.sqrt(q)
        left = math.sqrt((1.0 - self.cosine**2) * self._square + self._model.noise**2)
        low = -12.0 * root
        length = min(margin, 12.0 * root) - low
        t = low + 0.5 * length * (_NODES + 1.0)
        density = 0.5 * length * _WEIGHTS * np.exp(-0.5 * t**2 / q) / math.sqrt(2 * math.pi * q)
        seen = self.cosine * math.sqrt(self._square) * t / (root * left)
        weight = 2.0 * density * ndtr(seen)
        self.support = float(weight.sum())
        self.tau = float(weight @ (margin - t) ** 2) / (self._model.alpha * self.support**2)
        bell = np.exp(-0.5 * seen**2) / math.sqrt(2 * math.pi)
        return float(2.0 * (density * bell) @ (margin - t)) / (left * self.support)

    def _averages(self, signal: float) -> tuple[float, float, float]:
        """E x^2, E x B and E x' of the scalar channel, in the mirror coordinate."""
        square = overlap = dof = 0.0
        for weight, mean, var, c, u0 in self._parts.T:
            sd = math.sqrt(signal**2 * var + self.tau)
            low, high = (
                core.diagonal.mirror_prox(
                    z=signal * mean + side * _REACH * sd, c=c, effective_mu=self.theta, u0=u0,
                    depth=2.0,
                )
                for side in (-1.0, 1.0)
            )  # fmt: skip
            u, step = np.linspace(low, high, 80 + int((high - low) / 0.1), retstep=True)
            x, slope = c * np.sinh(u), c * np.cosh(u)
            t = (x + 0.5 * self.theta * (u - u0) - signal * mean) / sd
            density = weight * step / sd * np.exp(-0.5 * t**2) / math.sqrt(2 * math.pi)
            mass = density * (slope + 0.5 * self.theta)
            square += float(mass @ x**2)
            overlap += float(mass @ (x * (mean + signal * var / sd * t)))
            dof += float(density @ slope)
        return square, overlap, dof


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MarginSimulation(Result):
    """Averages over experiments (see `simulate_margin`); names as in `MarginTheory`.

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Most Newton steps of an experiment.
    residual : float
        Largest residual of an experiment.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    margin : float
        Margin of the training rows.
    n_features, n_samples, n_repeats : int
        Size of an experiment and how many were run.
    error, cosine, support, rms : float
        Means over experiments; the error is exact given the coefficients.
    stderr : mapping of str to float
        Standard errors of the means.
    samples : mapping of str to ndarray of shape (n_repeats,)
        The value of every mean in every experiment.

    See Also
    --------
    simulate_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate_margin
    >>> found = simulate_margin(DiagonalModel(0.3), 1.0, n_features=100, n_repeats=4)
    >>> found.n_samples, 0.0 < found.error < 0.5
    (30, True)
    """

    model: DiagonalModel
    margin: float
    n_features: int
    n_samples: int
    n_repeats: int
    error: float
    cosine: float
    support: float
    rms: float
    stderr: Mapping[str, float]
    samples: Mapping[str, FloatArray]


def simulate_margin(
    model: DiagonalModel,
    margin: float,
    *,
    n_features: int = 400,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> MarginSimulation:
    """Classifiers of finite size with a margin, exactly.

    Derived here (`derivations/diagonal#margins`). Every experiment draws a fresh design and
    stratified coefficients, as `simulate`, labels rows by signs, and calls `maximum_margin`.

    Parameters
    ----------
    model : DiagonalModel
        As in `solve_margin`.
    margin : float
        Margin of the training rows.
    n_features : int, default=400
        Features D.
    n_repeats : int, default=16
        Independent experiments, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness.
    n_jobs : int or None, default=None
        Threads over experiments; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (experiments done, experiments).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about experiments that were not solved.

    Returns
    -------
    MarginSimulation
        Means and standard errors.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    NumericalError
        If the classes of an experiment are not separable, or with ``on_failure="raise"`` one was
        not solved.

    See Also
    --------
    solve_margin, compare_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate_margin
    >>> found = simulate_margin(DiagonalModel(0.3), 1.0, n_features=100, n_repeats=4)
    >>> bool(found.rms > 0)
    True
    """
    _check(model, margin)
    watch = as_callback(progress, "simulate_margin")
    check_integer(n_features, "n_features", low=1)
    check_memory(n_features * (1.0 + model.alpha * n_features), n_features=n_features)
    key = stream_key(random_state)
    n = max(1, round(model.alpha * n_features))

    def one(repeat: int, inner: Progress) -> tuple[dict[str, float], MaximumMargin]:
        start = draw_start(model, n_features, key, repeat, inner)
        X = start.rng.standard_normal((n, n_features)) / math.sqrt(n_features)
        field = X @ start.target + model.noise * start.rng.standard_normal(n)
        fit = maximum_margin(
            X, np.where(field < 0.0, -1.0, 1.0), start.scale, margin=margin, centre=start.centre,
            on_failure="ignore", progress=inner,
        )  # fmt: skip
        sizes = np.linalg.norm(fit.coef), np.linalg.norm(start.target)
        cosine = float(fit.coef @ start.target / (sizes[0] * sizes[1]))
        return {
            "error": _error(cosine, float(np.mean(start.target**2)), model.noise),
            "cosine": cosine,
            "support": float(np.mean(fit.dual > 0.0)),
            "rms": float(sizes[0]) / math.sqrt(n_features),
        }, fit

    runs = run_repeats(one, n_repeats, n_jobs=n_jobs, progress=watch)
    fits = [fit for _, fit in runs]
    status, residual = report_runs([(fit.status, fit.residual) for fit in fits], on_failure)
    samples = {name: np.array([values[name] for values, _ in runs]) for name in QUANTITIES}
    means = mean_and_stderr(samples)
    return MarginSimulation(
        status=status,
        n_iter=max(fit.n_iter for fit in fits),
        residual=residual,
        message=status.sentence,
        model=model,
        margin=margin,
        n_features=n_features,
        n_samples=n,
        n_repeats=n_repeats,
        **means.mean,  # type: ignore[arg-type]
        stderr=means.stderr,  # type: ignore[arg-type]
        samples=samples,
    )


def compare_margin(
    model: DiagonalModel,
    margin: float,
    *,
    n_features: int = 400,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory of margins against simulation, with deviations in standard errors.

    Derived here (`derivations/diagonal#margins`).

    Parameters
    ----------
    model : DiagonalModel
        As in `solve_margin`.
    margin : float
        Margin of the training rows.
    n_features : int, default=400
        Features of an experiment.
    n_repeats : int, default=16
        Independent experiments, at least 2.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (experiments done, experiments).
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the theory or an experiment was not solved.

    Returns
    -------
    Comparison
        ``error``, ``cosine``, ``support`` and ``rms``.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    NumericalError
        As `solve_margin` and `simulate_margin`.

    See Also
    --------
    solve_margin, simulate_margin

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, compare_margin
    >>> compare_margin(DiagonalModel(0.3), 1.0, n_features=100, n_repeats=4).names
    ('error', 'cosine', 'support', 'rms')
    """
    sample = simulate_margin(
        model, margin, n_features=n_features, n_repeats=n_repeats, random_state=random_state,
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    matched = dataclasses.replace(model, alpha=sample.n_samples / n_features)
    return Comparison.of(solve_margin(matched, margin, on_failure=on_failure), sample, QUANTITIES)
