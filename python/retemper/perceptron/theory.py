"""Replica-symmetric predictions of the margin perceptron."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._results import Result, Status, Sweep, sweep_model
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, as_float_array, check_choice, check_integer, check_real
from retemper.perceptron.model import PerceptronModel, laws_of, prior_of, row_law

BranchName = Literal["reachable", "equilibrium", "informed"]

#: Quantities a branch, a simulation and a comparison share.
QUANTITIES = ("q", "m", "cosine", "free_entropy", "error_margin", "error_gauss")


@dataclasses.dataclass(frozen=True)
class PerceptronBranch:
    """One fixed point of the theory; see `solve`.

    Parameters
    ----------
    q : float
        Overlap of two samples of the posterior, ``|w_hat|**2 / n_features``.
    m : float
        Overlap of a sample with the true weights; equal to ``q`` where the student is matched.
    cosine : float
        Between the posterior mean and the true weights, ``m / sqrt(q)``.
    free_entropy : float
        Log evidence per feature relative to rows without structure and fair-coin labels, nats.
    replicon : float
        Below one where the fixed point is stable; per-iteration contraction of message passing.
    error_margin, error_gauss : float
        Probability that the posterior mean classifies a row of the same law, or a Gaussian row,
        wrongly; without labels, up to the global sign.
    label_equivalent : float
        Labelled rows per feature that alone, used optimally, give the same cosine.
    """

    q: float
    m: float
    cosine: float
    free_entropy: float
    replicon: float
    error_margin: float
    error_gauss: float
    label_equivalent: float

    @property
    def is_stable(self) -> bool:
        """Whether iterations end here."""
        return self.replicon < 1


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PerceptronTheory(Result):
    """What `solve` predicts; see `solve`.

    Parameters
    ----------
    status : Status
        How the solution ended.
    n_iter : int
        Iterations; 0 where roots were bracketed.
    residual : float
        Largest remaining change.
    message : str
        The status in words.
    model : PerceptronModel
        The problem.
    q, m, cosine, free_entropy, replicon, error_margin, error_gauss, label_equivalent : float
        Those of the reachable branch, as in `PerceptronBranch`.
    reachable : PerceptronBranch
        Where message passing ends from an uninformed start.
    equilibrium : PerceptronBranch
        The fixed point of largest free entropy: optimal inference, whatever its cost.
    informed : PerceptronBranch
        Where message passing ends from the true weights.
    branches : tuple of PerceptronBranch
        Every fixed point found, by rising ``q``, unstable ones included.
    hard : bool
        Whether optimal inference is better than what message passing reaches.
    quadrature_error : float
        Estimated absolute error of ``q`` from the quadrature.
    """

    model: PerceptronModel
    q: float
    m: float
    cosine: float
    free_entropy: float
    replicon: float
    error_margin: float
    error_gauss: float
    label_equivalent: float
    reachable: PerceptronBranch
    equilibrium: PerceptronBranch
    informed: PerceptronBranch
    branches: tuple[PerceptronBranch, ...]
    hard: bool
    quadrature_error: float


@dataclasses.dataclass(frozen=True)
class Transitions:
    """Thresholds in unlabelled rows per feature, None where there is none; see `transitions`.

    Parameters
    ----------
    alpha_c : float or None
        Weak recovery: the uninformed state loses stability. None with labels, which break it.
    first_order : bool
        Whether a branch of large overlap appears by a jump.
    alpha_sp_minus, q_sp_minus : float or None
        Where the high branch appears, and its overlap there.
    alpha_it, q_it_low, q_it_high : float or None
        Where both branches have equal free entropy (information-theoretic transition).
    alpha_alg, q_alg : float or None
        Where the low branch ends (algorithmic transition). Between ``alpha_it`` and
        ``alpha_alg`` lies the hard phase.
    """

    alpha_c: float | None
    first_order: bool
    alpha_sp_minus: float | None
    q_sp_minus: float | None
    alpha_it: float | None
    q_it_low: float | None
    q_it_high: float | None
    alpha_alg: float | None
    q_alg: float | None


@dataclasses.dataclass(frozen=True)
class CriticalPoint:
    """Where the first-order line ends; see `critical_line`.

    Parameters
    ----------
    alpha_l, alpha_u, q : float or None
        Labelled and unlabelled rows per feature, and the overlap there; None if there is no
        first-order line.
    status : Status
        ``converged`` or ``no_solution``.
    """

    alpha_l: float | None
    alpha_u: float | None
    q: float | None
    status: Status


@dataclasses.dataclass(frozen=True)
class SignError:
    """Risk of choosing the wrong global sign from a few labels; see `sign_error`.

    Parameters
    ----------
    probability : float
        That the labels favour the wrong sign.
    exponent : float
        Its decay rate per label: ``probability <= exp(-n_labels * exponent) / 2``.
    """

    probability: float
    exponent: float


def channel_score(
    omega: ArrayLike,
    V: ArrayLike,
    *,
    kind: Literal["unlabelled", "labelled"] = "unlabelled",
    kappa: float,
    sigma: float = 0.0,
    eta: float = 0.0,
    n_jobs: int | None = None,
) -> tuple[Any, Any, Any]:
    r"""Likelihood of one row given its cavity field, and its derivatives.

    Parameters
    ----------
    omega : array_like
        Cavity fields; for labelled rows times the label. Dimensionless.
    V : array_like
        Posterior variances of the field, in (0, 1]. Broadcast against ``omega``.
    kind : {"unlabelled", "labelled"}, default="unlabelled"
        Two-sided or one-sided margin.
    kappa : float
        Margin, in [0, 30].
    sigma : float, default=0.0
        Softness of the margin.
    eta : float, default=0.0
        Share of background rows (unlabelled, below 1) or of flipped labels (labelled, below 1/2).
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    log_w, g, dg : ndarray or float
        :math:`\ln\bar W`, :math:`\partial_\omega \ln\bar W` and
        :math:`\partial^2_\omega \ln\bar W`.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    Notes
    -----
    Derived here. Written as a posterior over the two sides, so that no digits cancel and nothing
    underflows.

    Examples
    --------
    >>> from retemper.perceptron import channel_score
    >>> log_w, g, dg = channel_score(0.1, 1e-4, kappa=0.5)
    >>> round(float(g), 5)
    4002.49688
    """
    check_choice(kind, "kind", ("unlabelled", "labelled"))
    field = as_float_array(omega, "omega", ndim=tuple(range(33)))
    variance = as_float_array(V, "V", ndim=tuple(range(33)))
    is_unlabelled = kind == "unlabelled"
    high = 1.0 if is_unlabelled else 0.5
    eta = check_real(eta, "eta", low=0, high=high, open_high=True)
    law = row_law(
        kappa=check_real(kappa, "kappa", low=0, high=30),
        sigma=check_real(sigma, "sigma", low=0, high=1e6),
        eta_u=eta if is_unlabelled else 0.0,
        eta_l=0.0 if is_unlabelled else eta,
    )
    if variance.size and not (variance.min() > 0 and variance.max() <= 1):
        raise ValueError(f"V must lie in (0, 1], got {variance.min()} to {variance.max()}")
    if variance.size != 1:
        field, variance = np.broadcast_arrays(field, variance)
    row_kind = core.perceptron.RowKind.unlabelled if is_unlabelled else _POSITIVE
    scores = core.perceptron.channel_score(
        law,
        row_kind,
        np.ascontiguousarray(field).reshape(-1),
        np.ascontiguousarray(variance).reshape(-1),
        effective_n_threads(n_jobs),
    )
    if field.ndim == 0:
        return tuple(float(s[0]) for s in scores)  # type: ignore[return-value]
    return tuple(s.reshape(field.shape) for s in scores)  # type: ignore[return-value]


_POSITIVE = core.perceptron.RowKind.positive


def hermite_moments(law: Any, kind: Any) -> tuple[float, float]:
    """First two Hermite coefficients of a kind of row: E h and E h**2 - 1."""
    _, g, dg = core.perceptron.channel_score(law, kind, np.zeros(1), np.ones(1), 1)
    return float(g[0]), float(dg[0] + g[0] ** 2)


def generalization_error(cosine: ArrayLike, kappa: float = 0.0, *, sigma: float = 0.0) -> Any:
    r"""Probability that a direction classifies a row of the margin law wrongly.

    Parameters
    ----------
    cosine : array_like
        Cosine between the direction and the true weights, in [-1, 1].
    kappa : float, default=0.0
        Margin of the test rows; 0 for Gaussian rows.
    sigma : float, default=0.0
        Softness of the margin.

    Returns
    -------
    float or ndarray
        :math:`\int_{\bar\kappa}^\infty \mathrm{D}h\, H(Rh/\sqrt{1-R^2}) / H(\bar\kappa)`,
        of the shape of ``cosine``; down to 1e-300.

    Raises
    ------
    ValueError
        If a value is outside its domain.

    Notes
    -----
    Derived here.

    Examples
    --------
    >>> from retemper.perceptron import generalization_error
    >>> round(generalization_error(0.5), 6)
    0.333333
    """
    R = as_float_array(cosine, "cosine", ndim=tuple(range(33)))
    kappa = check_real(kappa, "kappa", low=0, high=30)
    soft = math.sqrt(1 + check_real(sigma, "sigma", low=0, high=1e6) ** 2)
    if R.size and np.abs(R).max() > 1:
        raise ValueError(f"cosine must lie in [-1, 1], got {R.flat[np.abs(R).argmax()]}")
    out = [
        core.perceptron.error_margin(r, math.sqrt((1 - r) * (1 + r)), kappa / soft)
        for r in (R / soft).reshape(-1)
    ]
    return out[0] if R.ndim == 0 else np.array(out).reshape(R.shape)


def _errors(model: PerceptronModel, cosine: float) -> tuple[float, float]:
    R = min(1.0, max(-1.0, cosine))
    gauss = math.acos(R) / math.pi
    if model.channel == "cluster":
        return 0.5 * math.erfc(model.mu * R / math.sqrt(2)), gauss
    return generalization_error(R, model.true_margin, sigma=model.sigma), gauss


def _label_equivalent(model: PerceptronModel, cosine: float) -> float:
    q = cosine * cosine
    if q <= 0 or q >= 1:
        return 0.0 if q <= 0 else math.inf
    _, teacher = laws_of(model)
    point = core.perceptron.curve(
        teacher, core.perceptron.Prior.sphere, np.array([math.log(q / (1 - q))]), 1
    )[0]
    return float(point[0] / point[8])


def _branch(
    model: PerceptronModel,
    q: float,
    m: float,
    *,
    free_entropy: float,
    replicon: float,
    label_equivalent: float | None = None,
) -> PerceptronBranch:
    cosine = min(1.0, m / math.sqrt(q)) if q > 0 else 0.0
    if label_equivalent is None:
        label_equivalent = _label_equivalent(model, cosine)
    margin, gauss = _errors(model, cosine)
    return PerceptronBranch(q, m, cosine, free_entropy, replicon, margin, gauss, label_equivalent)


def _solve_matched(model: PerceptronModel, n_jobs: int | None) -> dict[str, Any]:
    law, _ = laws_of(model)
    rows = core.perceptron.fixed_points(
        law,
        prior_of(model),
        np.array([model.alpha_u]),
        np.array([model.alpha_l]),
        effective_n_threads(n_jobs),
    )[0]
    branches = []
    for q, _, b, phi, slope, _, labelled, _ in rows.tolist():
        equivalent = b / labelled if math.isfinite(b) else math.inf
        branches.append(
            _branch(model, q, q, free_entropy=phi, replicon=slope, label_equivalent=equivalent)
        )
    return {
        "branches": tuple(branches),
        "reachable": next((b for b in branches if b.is_stable), branches[-1]),
        "equilibrium": max(branches, key=lambda b: b.free_entropy),
        "informed": branches[-1],
        "status": Status.CONVERGED,
        "n_iter": 0,
        "residual": float(rows[:, 5].max()),
        "quadrature_error": float(rows[:, 7].max()),
    }


def _solve_mismatched(model: PerceptronModel, tol: float, max_iter: int) -> dict[str, Any]:
    laws = laws_of(model)
    starts = {"reachable": 1e-4, "informed": 1 - 1e-3}
    found = {
        name: core.perceptron.solve_mismatched(
            *laws, model.alpha_u, model.alpha_l, start, start, max_iter, tol
        )
        for name, start in starts.items()
    }
    branch = {}
    for name, s in found.items():
        is_zero = s["q"] < 1e-8 and model.alpha_l == 0
        q, m = (0.0, 0.0) if is_zero else (s["q"], s["m"])
        branch[name] = _branch(model, q, m, free_entropy=s["free_entropy"], replicon=s["replicon"])
    is_one = abs(branch["informed"].q - branch["reachable"].q) < 1e-6
    if is_one:
        branch["informed"] = branch["reachable"]
    worst = max(found.values(), key=lambda s: s["status"])
    return {
        **branch,
        "branches": (branch["reachable"],) if is_one else tuple(branch.values()),
        "equilibrium": max(branch.values(), key=lambda b: b.free_entropy),
        "status": Status.from_core(worst["status"]),
        "n_iter": sum(s["n_iter"] for s in found.values()),
        "residual": max(s["residual"] for s in found.values()),
        "quadrature_error": max(s["error"] for s in found.values()),
    }


def solve(
    model: PerceptronModel,
    *,
    tol: float = 1e-10,
    max_iter: int = 20000,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
) -> PerceptronTheory:
    """Solve the theory: every fixed point, and which of them an algorithm reaches.

    Parameters
    ----------
    model : PerceptronModel
        The problem.
    tol : float, default=1e-10
        Tolerance of the iteration in the mismatched case; roots of the matched case are exact to
        rounding.
    max_iter : int, default=20000
        Limit of that iteration.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do where the iteration or the replica-symmetric theory fails.

    Returns
    -------
    PerceptronTheory
        Overlaps, errors, free entropies and stability of all branches.

    Raises
    ------
    NumericalError
        If ``on_failure="raise"`` and the theory fails.
    TypeError
        If ``model`` is not a `PerceptronModel`.

    Warns
    -----
    ValidityWarning
        If replica symmetry is broken or the student's margin cannot be satisfied.
    ConvergenceWarning
        If the iteration stops before its tolerance.

    Notes
    -----
    Derived here. With a matched student every fixed point is a root of one function of the
    overlap; with a mismatched one the two-dimensional map is iterated from both ends.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, solve
    >>> theory = solve(PerceptronModel(0.5, 4.3))
    >>> round(theory.q, 4), round(theory.equilibrium.q, 4), theory.hard
    (0.3678, 0.9491, True)
    """
    if not isinstance(model, PerceptronModel):
        raise TypeError(f"model must be a PerceptronModel, got {type(model).__name__}")
    tol = check_real(tol, "tol", low=0, open_low=True)
    max_iter = check_integer(max_iter, "max_iter", low=1)
    parts = _solve_matched(model, n_jobs) if model.is_matched else None
    if parts is None:
        parts = _solve_mismatched(model, tol, max_iter)
    reachable, equilibrium = parts["reachable"], parts["equilibrium"]
    status: Status = parts["status"]
    report_status(status, parts["residual"], "the margin perceptron", on_failure=on_failure)
    return PerceptronTheory(
        model=model,
        hard=equilibrium.q > reachable.q + 1e-6,
        message=status.sentence,
        **dataclasses.asdict(reachable),
        **parts,
    )


def transitions(
    kappa: float,
    *,
    alpha_l: float = 0.0,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    n_jobs: int | None = None,
) -> Transitions:
    """Thresholds of pre-training in the number of unlabelled rows.

    Parameters
    ----------
    kappa : float
        Margin, in (0, 30].
    alpha_l : float, default=0.0
        Labelled rows per feature.
    sigma, eta_u, eta_l : float, default=0.0
        Softness, background and flips, as in `PerceptronModel`.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    Transitions
        The thresholds.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    Notes
    -----
    Derived here. At a fixed point the number of unlabelled rows is a function of the overlap;
    its extrema are the spinodals, found as roots of its exact derivative.

    Examples
    --------
    >>> from retemper.perceptron import transitions
    >>> t = transitions(0.5)
    >>> round(t.alpha_c, 4), round(t.alpha_it, 4), round(t.alpha_alg, 4)
    (3.0721, 4.1292, 4.4903)
    """
    check_real(kappa, "kappa", low=0, high=30, open_low=True)
    model = PerceptronModel(kappa, 0.0, alpha_l, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
    found = core.perceptron.transitions(
        laws_of(model)[0], model.alpha_l, effective_n_threads(n_jobs)
    )
    critical = found.pop("alpha_c")
    is_first = found.pop("first_order")
    rest = {name: value if is_first else None for name, value in found.items()}
    return Transitions(
        alpha_c=None if math.isnan(critical) else critical, first_order=is_first, **rest
    )


def critical_line(
    kappa: float,
    *,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    n_jobs: int | None = None,
) -> CriticalPoint:
    """Number of labels beyond which pre-training improves without a jump.

    Parameters
    ----------
    kappa : float
        Margin, in (0, 30].
    sigma, eta_u, eta_l : float, default=0.0
        Softness, background and flips, as in `PerceptronModel`.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    CriticalPoint
        Loads and overlap at the end of the first-order line, or ``status="no_solution"``.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    Notes
    -----
    Derived here: both spinodals merge where the load of labels that makes the curve turn is
    largest.

    Examples
    --------
    >>> from retemper.perceptron import critical_line
    >>> point = critical_line(0.5)
    >>> round(point.alpha_l, 5), round(point.alpha_u, 4)
    (0.24075, 3.489)
    """
    check_real(kappa, "kappa", low=0, high=30, open_low=True)
    model = PerceptronModel(kappa, 0.0, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
    found = core.perceptron.critical_line(laws_of(model)[0], effective_n_threads(n_jobs))
    status = Status.from_core(found.pop("status"))
    if status is not Status.CONVERGED:
        return CriticalPoint(None, None, None, status)
    return CriticalPoint(**found, status=status)


def labels_to_leave(
    kappa: float,
    alpha_u: float,
    *,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    n_jobs: int | None = None,
) -> float:
    """Labelled rows per feature at which the branch of small overlap ends.

    Parameters
    ----------
    kappa : float
        Margin, in (0, 30].
    alpha_u : float
        Unlabelled rows per feature.
    sigma, eta_u, eta_l : float, default=0.0
        Softness, background and flips, as in `PerceptronModel`.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    float
        Smallest ``alpha_l`` with ``transitions(kappa, alpha_l=alpha_l).alpha_alg < alpha_u``; 0
        if no label is needed.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    Notes
    -----
    Derived here.

    Examples
    --------
    >>> from retemper.perceptron import labels_to_leave
    >>> round(labels_to_leave(0.5, 4.0), 4)
    0.0918
    """
    check_real(kappa, "kappa", low=0, high=30, open_low=True)
    model = PerceptronModel(kappa, alpha_u, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
    return float(
        core.perceptron.labels_to_leave(
            laws_of(model)[0], model.alpha_u, effective_n_threads(n_jobs)
        )
    )


def state_evolution(
    model: PerceptronModel, n_iter: int, *, q: float = 0.0, m: float | None = None
) -> FloatArray:
    """Overlaps of message passing, iteration by iteration, for many features.

    Parameters
    ----------
    model : PerceptronModel
        The problem.
    n_iter : int
        Number of iterations.
    q : float, default=0.0
        Overlap at the start, in [0, 1). Without labels 0 stays 0.
    m : float or None, default=None
        Overlap with the true weights at the start, ``m**2 <= q``; None for ``q``.

    Returns
    -------
    ndarray of shape (n_iter + 1, 2)
        Rows ``(q, m)``, the start first.

    Raises
    ------
    ValueError
        If the start is not possible, or ``n_iter`` is negative.

    Notes
    -----
    Derived here, section 5 of the theory page.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, state_evolution
    >>> state_evolution(PerceptronModel(1.0, 1.0, 0.1), 3)[:, 0].round(4)
    array([0.    , 0.1887, 0.3891, 0.5315])
    """
    n_iter = check_integer(n_iter, "n_iter")
    q = check_real(q, "q", low=0, high=1, open_high=True)
    start = q if m is None else check_real(m, "m", low=-1, high=1)
    path: FloatArray = core.perceptron.state_evolution(
        *laws_of(model), prior_of(model), model.alpha_u, model.alpha_l, q, start, n_iter
    )
    return path


def sign_error(
    q: float, kappa: float, n_labels: int = 1, *, sigma: float = 0.0, eta_l: float = 0.0
) -> SignError:
    r"""Risk that a few labels choose the wrong sign of a pre-trained direction.

    Parameters
    ----------
    q : float
        Overlap after pre-training, in (0, 1).
    kappa : float
        Margin, in [0, 30].
    n_labels : int, default=1
        Number of labels, at least 1.
    sigma, eta_l : float, default=0.0
        Softness and flips, as in `PerceptronModel`.

    Returns
    -------
    SignError
        Probability and its decay rate.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    Notes
    -----
    Derived here. With s the log-odds of one label and f the Fourier transform of the law of s
    tilted by exp(-s / 2), which is even, the probability is
    :math:`\frac1\pi \int_0^{\pi/2} f(\tfrac12 \tan\theta)^k \mathrm{d}\theta`. With flipped
    labels s is bounded and its law is convolved on a lattice, to about 1e-6.

    Examples
    --------
    >>> from retemper.perceptron import sign_error
    >>> round(sign_error(0.717009825829724, 1.0, 2).probability, 5)
    0.00141
    """
    q = check_real(q, "q", low=0, high=1, open_low=True, open_high=True)
    n_labels = check_integer(n_labels, "n_labels", low=1)
    model = PerceptronModel(kappa, 0.0, sigma=sigma, eta_l=eta_l)
    law = laws_of(model)[0]
    if eta_l:
        return _sign_error_with_flips(law, q, n_labels)
    node, weight = np.polynomial.legendre.leggauss(20)
    low = 1e-9
    edges = np.linspace(math.log(low), -math.log(low), 72)  # any width of s
    half = 0.5 * np.diff(edges)[:, None]
    t = np.exp(0.5 * (edges[1:] + edges[:-1])[:, None] + half * node)
    f = core.perceptron.odds_transform(law, q, 1 - q, 0.2, np.append(t.reshape(-1), 0.0))
    f, at_zero = f[:-1].reshape(t.shape), float(f[-1])
    # what follows the first panel without weight is noise
    f *= np.cumprod(np.abs(f).max(axis=1) > 1e-12 * at_zero)[:, None]
    total = float((half * weight * t / (0.25 + t * t) * f**n_labels).sum())
    total += 4 * low * at_zero**n_labels
    return SignError(total / (2 * math.pi), -math.log(at_zero))


def _sign_error_with_flips(law: Any, q: float, n_labels: int) -> SignError:
    # the odds are bounded and gather at their bounds: convolve them on a lattice that has both
    n_steps = 4096
    z = np.linspace(-13, 13, 200_001)
    log_w, _, _ = core.perceptron.channel_score(
        law, _POSITIVE, math.sqrt(q) * z, np.array([1 - q]), 1
    )
    gauss = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    odds = log_w - log_w[::-1]
    exponent = -math.log(float(gauss @ np.exp(0.5 * (log_w + log_w[::-1]))))
    place = odds / max(odds.max(), 1e-300) * n_steps + n_steps
    below = np.clip(np.floor(place).astype(np.int64), 0, 2 * n_steps - 1)
    share = place - below
    mass = gauss * np.exp(log_w)
    law_of_odds = np.bincount(below, mass * (1 - share), 2 * n_steps + 1)
    law_of_odds += np.bincount(below + 1, mass * share, 2 * n_steps + 1)
    size = 2 * n_steps * n_labels + 1
    total = np.fft.irfft(np.fft.rfft(law_of_odds, size) ** n_labels, size)
    middle = n_steps * n_labels
    wrong = float(total[:middle].sum() + 0.5 * total[middle])  # a tie is decided by a coin
    return SignError(max(wrong, 0.0), exponent)


def phase_diagram(
    kappa: ArrayLike,
    alpha_u: ArrayLike,
    *,
    refine: int = 0,
    alpha_l: float = 0.0,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    n_jobs: int | None = None,
) -> Sweep:
    """Overlaps and phase over a grid of margins and loads, refined where the phase changes.

    Parameters
    ----------
    kappa, alpha_u : array_like of shape (n_kappa,) and (n_alpha,)
        Margins in (0, 30], unlabelled rows per feature; increasing if refined.
    refine : int, default=0
        How often to halve the cells at a boundary, at most 8. Every cell of the grid then becomes
        ``2 ** refine`` by ``2 ** refine`` cells, at geometric means (next to zero arithmetic ones),
        and only those on whose edge two phases meet are solved.
    alpha_l, sigma, eta_u, eta_l : float, default=0.0
        As in `PerceptronModel`.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.

    Returns
    -------
    Sweep
        Axes ``kappa`` and ``alpha_u``; values ``q_reachable``, ``q_equilibrium``, ``q_informed``,
        ``phase``: 0 undetectable, 1 reachable, 2 metastable (a worse branch of high overlap
        exists), 3 hard; and ``solved``. Points that are not solved lie in cells without a boundary:
        they have the phase of the cell, and their overlaps are NaN.

    Raises
    ------
    ValueError
        If a grid is not a list of numbers in its domain, or does not increase where it is refined.

    Notes
    -----
    Derived here. One table per margin serves all loads. A phase that lies within one cell of the
    grid given, touching none of its corners, is not found.

    Examples
    --------
    >>> from retemper.perceptron import phase_diagram
    >>> phase_diagram([0.5, 1.0], [1.0, 4.3])["phase"]
    array([[0, 3],
           [1, 1]])
    >>> found = phase_diagram([0.5, 1.0], [1.0, 4.3], refine=4)
    >>> found["phase"].shape, int(found["solved"].sum())
    ((17, 17), 103)
    """
    margins = as_float_array(kappa, "kappa")
    loads = as_float_array(alpha_u, "alpha_u")
    if not (margins.size and loads.size):
        raise ValueError("kappa and alpha_u must not be empty")
    times = check_integer(refine, "refine", low=0, high=8)
    threads = effective_n_threads(n_jobs)
    labels = check_real(alpha_l, "alpha_l", low=0)
    check_real(loads.min(), "alpha_u", low=0)
    for margin in margins:
        check_real(margin, "kappa", low=0, high=30, open_low=True)
    if times:
        for name, axis in (("kappa", margins), ("alpha_u", loads)):
            if axis.size < 2 or not (np.diff(axis) > 0).all():
                raise ValueError(f"{name} must increase and have two values or more to be refined")
        margins, loads = _halve(margins, times), _halve(loads, times)
    shape = (margins.size, loads.size)
    overlaps = np.full((3, *shape), np.nan)
    phase = np.full(shape, -1)

    def solve_points(points: NDArray[np.bool_]) -> None:
        for i in np.flatnonzero(points.any(axis=1)):
            at = np.flatnonzero(points[i])
            model = PerceptronModel(margins[i], 0.0, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
            found = core.perceptron.fixed_points(
                laws_of(model)[0],
                prior_of(model),
                loads[at],
                np.full(at.size, labels),
                threads,
            )
            for j, rows in zip(at, found, strict=True):
                overlaps[:, i, j], phase[i, j] = _phase_of(rows)

    step = 2**times
    points = np.zeros(shape, dtype=bool)
    points[::step, ::step] = True
    solve_points(points)
    solved = points
    corners = itertools.product(range(0, shape[0] - 1, step), range(0, shape[1] - 1, step))
    cells = [(i, j, step) for i, j in corners] if times else []
    while cells:
        kept, new, points = [], [], np.zeros(shape, dtype=bool)
        for i, j, size in cells:
            inside = phase[i : i + size + 1, j : j + size + 1]
            seen = inside[solved[i : i + size + 1, j : j + size + 1]]
            if size == 1 or (seen == seen[0]).all():
                kept.append((i, j, size))
                continue
            half = size // 2
            points[i : i + size + 1 : half, j : j + size + 1 : half] = True
            new += [(i + a, j + b, half) for a in (0, half) for b in (0, half)]
        if not new:
            break
        points &= ~solved
        solve_points(points)
        solved |= points
        cells = kept + new  # a finer neighbour may show a boundary in a cell that was kept
    for i, j, size in cells:
        block = (slice(i, i + size + 1), slice(j, j + size + 1))
        phase[block] = np.where(solved[block], phase[block], phase[i, j])
    values: dict[str, Any] = dict(
        zip(("q_reachable", "q_equilibrium", "q_informed"), overlaps, strict=True)
    )
    return Sweep(
        {"kappa": margins, "alpha_u": loads},
        {**values, "phase": phase, "solved": solved},
        "margin perceptron",
    )


def _halve(axis: FloatArray, times: int) -> FloatArray:
    for _ in range(times):
        low, high = axis[:-1], axis[1:]
        middle = np.where(low > 0, np.sqrt(low * high), 0.5 * (low + high))
        axis = np.insert(axis, np.arange(1, axis.size), middle)
    return axis


def _phase_of(rows: FloatArray) -> tuple[tuple[float, float, float], int]:
    """Overlaps of the reachable, equilibrium and informed branches, and the phase."""
    stable = np.flatnonzero(rows[:, 4] < 1)
    reachable = float(rows[stable[0] if stable.size else -1, 0])
    equilibrium, informed = float(rows[rows[:, 3].argmax(), 0]), float(rows[-1, 0])
    if equilibrium > reachable + 1e-6:
        phase = 3
    elif informed > reachable + 1e-6:
        phase = 2
    else:
        phase = int(reachable > 1e-6)
    return (reachable, equilibrium, informed), phase


def parametric_curve(
    model: PerceptronModel, n_points: int = 400, *, q_min: float = 1e-4, q_max: float = 1 - 1e-5
) -> dict[str, FloatArray]:
    """The exact curve of fixed points, stable and unstable, as a function of the overlap.

    Parameters
    ----------
    model : PerceptronModel
        A matched, spherical model; its ``alpha_u`` is not used.
    n_points : int, default=400
        Points, uniform in the logit of ``q``.
    q_min, q_max : float
        Ends.

    Returns
    -------
    dict of str to ndarray
        ``q``, ``alpha_u`` (negative where labels alone give more), ``free_entropy``, ``replicon``,
        ``cosine``.

    Raises
    ------
    ValueError
        If the model is mismatched or binary, or an end is outside (0, 1).

    Notes
    -----
    Derived here, equation 8 of the theory page.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, parametric_curve
    >>> curve = parametric_curve(PerceptronModel(0.5, 0.0), 3, q_min=0.2, q_max=0.8)
    >>> curve["alpha_u"].round(3)
    array([3.867, 4.471, 4.136])
    """
    if not model.is_matched or model.prior != "sphere":
        raise ValueError("the parametric curve needs a matched student and prior='sphere'")
    check_integer(n_points, "n_points", low=2)
    ends = [
        check_real(q, name, low=0, high=1, open_low=True, open_high=True)
        for q, name in ((q_min, "q_min"), (q_max, "q_max"))
    ]
    low, high = (math.log(q / (1 - q)) for q in ends)
    log_b = np.linspace(low, high, n_points)
    b, q, _, dq, prior, f_u, r_u, s_u, f_l, r_l, s_l = core.perceptron.curve(
        laws_of(model)[0], prior_of(model), log_b, 1
    ).T
    load = (b - model.alpha_l * f_l) / f_u
    return {
        "q": q.copy(),
        "alpha_u": load,
        "free_entropy": prior + load * s_u + model.alpha_l * s_l,
        "replicon": dq * (load * r_u + model.alpha_l * r_l),
        "cosine": np.sqrt(q),
    }


def curve(
    model: PerceptronModel,
    *,
    quantities: tuple[str, ...] = (*QUANTITIES, "replicon", "label_equivalent", "hard"),
    **axes: Iterable[Any],
) -> Sweep:
    """Solve over a grid of model parameters.

    Parameters
    ----------
    model : PerceptronModel
        The model whose parameters are replaced.
    quantities : tuple of str
        Fields of `PerceptronTheory` to keep.
    **axes : iterable
        Values of each swept parameter, e.g. ``alpha_u=[1.0, 2.0]``.

    Returns
    -------
    Sweep
        The quantities and the status on the grid.

    Raises
    ------
    ValueError
        If a name is not a parameter of the model.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, curve
    >>> curve(PerceptronModel(1.0, 1.0), alpha_l=[0.0, 0.1])["q"].round(4)
    array([0.717 , 0.7836])
    """
    return sweep_model(solve, model, axes, quantities)
