"""Fixed points of the replica-symmetric theory of the margin perceptron."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status, Sweep, sweep_model
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_integer, check_kind, check_real
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.perceptron.errors import model_errors
from retemper.perceptron.glm import GLM_SWEPT, GLMModel, GLMTheory, solve_glm
from retemper.perceptron.model import PerceptronModel, laws_of, prior_of, worst_status
from retemper.perceptron.saddle import ERMModel, solve_erm, solve_mismatched

__all__ = [
    "QUANTITIES",
    "BranchName",
    "OverlapPath",
    "PerceptronBranch",
    "PerceptronTheory",
    "curve",
    "solve",
    "state_evolution",
]

BranchName = Literal["reachable", "equilibrium", "informed"]

#: Quantities a branch, a simulation and a comparison share.
QUANTITIES = ("q", "m", "cosine", "free_entropy", "error_margin", "error_gauss")

#: Quantities that a sweep keeps, and those that it can keep.
SWEPT = (*QUANTITIES, "replicon", "label_equivalent", "hard")
NUMBERS = (*SWEPT, "n_iter", "residual", "quadrature_error")


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

    See Also
    --------
    PerceptronTheory, solve

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, solve
    >>> branch = solve(PerceptronModel(1.0, 1.0)).reachable
    >>> round(branch.q, 6), branch.replicon < 1
    (0.71701, True)
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


@dataclasses.dataclass(frozen=True)
class OverlapPath:
    """Overlaps of message passing by iteration; see `state_evolution`.

    Parameters
    ----------
    q : ndarray of shape (n_iter + 1,)
        Squared norm of the mean per feature.
    m : ndarray of shape (n_iter + 1,)
        Overlap with the true weights.

    See Also
    --------
    state_evolution

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, state_evolution
    >>> path = state_evolution(PerceptronModel(1.0, 1.0, 0.1), n_iter=3)
    >>> path.q.round(4).tolist()
    [0.0, 0.1887, 0.3891, 0.5315]
    """

    q: FloatArray
    m: FloatArray


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

    See Also
    --------
    solve, PerceptronBranch, PerceptronSimulation

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, solve
    >>> theory = solve(PerceptronModel(0.5, 4.3))
    >>> theory.hard, round(theory.reachable.q, 4), round(theory.informed.q, 4)
    (True, 0.3678, 0.9491)
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


def _label_equivalent(model: PerceptronModel, cosine: float) -> float:
    q = cosine * cosine
    if q <= 0 or q >= 1:
        return 0.0 if q <= 0 else math.inf
    _, teacher = laws_of(model)
    point = core.perceptron.curve_table(
        teacher, core.perceptron.Prior.sphere, np.array([math.log(q / (1 - q))]), 1
    )
    return float(point.b[0] / point.labelled.overlap[0])


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
    errors = model_errors(model, cosine)
    return PerceptronBranch(
        q=q,
        m=m,
        cosine=cosine,
        free_entropy=free_entropy,
        replicon=replicon,
        error_margin=errors.margin,
        error_gauss=errors.gauss,
        label_equivalent=label_equivalent,
    )


def _solve_matched(model: PerceptronModel, n_jobs: int | None) -> dict[str, Any]:
    law, _ = laws_of(model)
    points = core.perceptron.fixed_points(
        law,
        prior_of(model),
        np.array([model.alpha_u]),
        np.array([model.alpha_l]),
        effective_n_threads(n_jobs),
    )[0]
    branches = [
        _branch(
            model,
            point.q,
            point.q,
            free_entropy=point.free_entropy,
            replicon=point.stability,
            label_equivalent=point.label_equivalent,
        )
        for point in points
    ]
    return {
        "branches": tuple(branches),
        "reachable": next((b for b in branches if b.is_stable), branches[-1]),
        "equilibrium": max(branches, key=lambda b: b.free_entropy),
        "informed": branches[-1],
        "status": Status.CONVERGED,
        "n_iter": 0,
        "residual": max(point.residual for point in points),
        "quadrature_error": max(point.error for point in points),
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
        is_zero = s.q < 1e-8 and model.alpha_l == 0
        q, m = (0.0, 0.0) if is_zero else (s.q, s.m)
        branch[name] = _branch(model, q, m, free_entropy=s.free_entropy, replicon=s.replicon)
    is_one = abs(branch["informed"].q - branch["reachable"].q) < 1e-6
    if is_one:
        branch["informed"] = branch["reachable"]
    return {
        **branch,
        "branches": (branch["reachable"],) if is_one else tuple(branch.values()),
        "equilibrium": max(branch.values(), key=lambda b: b.free_entropy),
        "status": worst_status(s.status for s in found.values()),
        "n_iter": sum(s.n_iter for s in found.values()),
        "residual": max(s.residual for s in found.values()),
        "quadrature_error": max(s.error for s in found.values()),
    }


def _broken(model: PerceptronModel, branches: tuple[PerceptronBranch, ...]) -> str:
    """Which assumption a mismatched student breaks, in a sentence."""
    margins = f"kappa={model.kappa:g}, kappa_true={model.true_margin:g}"
    worst = max(branches, key=lambda b: b.q)
    if not worst.q < 1 - 1e-8:
        return (
            f"no direction satisfies the student's margin ({margins}), so that its overlap runs "
            f"to 1 (q = {worst.q:.9g}); a smaller kappa or sigma > 0 leaves room"
        )
    replicon = max(b.replicon for b in branches)
    return (
        f"replica symmetry is broken ({margins}: the replicon is {replicon:.4g}, not below 1), so "
        "that message passing oscillates and overlaps are approximate; a smaller kappa restores it"
    )


@overload
def solve(
    model: PerceptronModel,
    *,
    tol: float = ...,
    max_iter: int = ...,
    n_jobs: int | None = ...,
    on_failure: OnFailure = ...,
) -> PerceptronTheory: ...
@overload
def solve(
    model: GLMModel | ERMModel,
    *,
    tol: float = ...,
    max_iter: int = ...,
    n_jobs: int | None = ...,
    on_failure: OnFailure = ...,
) -> GLMTheory: ...
def solve(
    model: PerceptronModel | GLMModel | ERMModel,
    *,
    tol: float = 1e-10,
    max_iter: int = 20000,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
) -> PerceptronTheory | GLMTheory:
    """Solve the theory: every fixed point, and which of them an algorithm reaches.

    Parameters
    ----------
    model : PerceptronModel, GLMModel or ERMModel
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
    PerceptronTheory or GLMTheory
        Overlaps, errors, free entropies and stability of all branches.

    Raises
    ------
    NumericalError
        If ``on_failure="raise"`` and the theory fails, or a channel's density is not a number.
    ValueError
        If a channel does not normalise.
    TypeError
        If ``model`` is none of these.

    Warns
    -----
    ValidityWarning
        If replica symmetry is broken or the student's margin cannot be satisfied.
    ConvergenceWarning
        If the iteration stops before its tolerance.

    See Also
    --------
    transitions, simulate, compare, curve

    Notes
    -----
    Derived here (`derivations/perceptron#fixed-points`). With a matched student every fixed point
    is a root of one function of the overlap; with a mismatched one the two-dimensional map is
    iterated from both ends.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, solve
    >>> theory = solve(PerceptronModel(0.5, 4.3))
    >>> round(theory.q, 4), round(theory.equilibrium.q, 4), theory.hard
    (0.3678, 0.9491, True)
    >>> from retemper.perceptron import GLMModel
    >>> round(solve(GLMModel(1.3, channel="sign", prior="binary")).q, 4)
    0.7259
    """
    tol = check_parameter(tol, "tol")
    max_iter = check_parameter(max_iter, "max_iter")
    check_kind(model, "model", PerceptronModel, GLMModel, ERMModel)
    if isinstance(model, ERMModel):
        return solve_erm(model, tol=tol, max_iter=max_iter, on_failure=on_failure)
    if isinstance(model, GLMModel):
        if not model.is_matched:
            return solve_mismatched(model, tol=tol, max_iter=max_iter, on_failure=on_failure)
        return solve_glm(model)
    parts = _solve_matched(model, n_jobs) if model.is_matched else None
    if parts is None:
        parts = _solve_mismatched(model, tol, max_iter)
    reachable, equilibrium = parts["reachable"], parts["equilibrium"]
    status: Status = parts["status"]
    message = status.sentence
    if status is Status.INVALID:
        message = f"{message}: {_broken(model, parts['branches'])}"
        if on_failure == "raise":
            raise NumericalError(f"the margin perceptron: {message}")
        if on_failure == "warn":
            warnings.warn(f"the margin perceptron: {message}", ValidityWarning, stacklevel=2)
    else:
        report_status(status, parts["residual"], "the margin perceptron", on_failure=on_failure)
    return PerceptronTheory(
        model=model,
        hard=equilibrium.q > reachable.q + 1e-6,
        message=message,
        **dataclasses.asdict(reachable),
        **parts,
    )


def state_evolution(
    model: PerceptronModel, n_iter: int, *, q: float = 0.0, m: float | None = None
) -> OverlapPath:
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
    OverlapPath
        Overlaps ``q`` and ``m``, the start first.

    Raises
    ------
    ValueError
        If the start is not possible, or ``n_iter`` is negative.

    See Also
    --------
    solve, simulate

    Notes
    -----
    Derived here (`derivations/perceptron#message-passing`), section 5 of the theory page.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, state_evolution
    >>> state_evolution(PerceptronModel(1.0, 1.0, 0.1), 3).q.round(4)
    array([0.    , 0.1887, 0.3891, 0.5315])
    """
    n_iter = check_integer(n_iter, "n_iter")
    q = check_real(q, "q", low=0, high=1, open_high=True)
    start = q if m is None else check_real(m, "m", low=-1, high=1)
    path = core.perceptron.state_evolution(
        *laws_of(model), prior_of(model), model.alpha_u, model.alpha_l, q, start, n_iter
    )
    return OverlapPath(path.q.copy(), path.m.copy())


def curve(
    model: PerceptronModel | GLMModel | ERMModel,
    axes: Mapping[str, Iterable[Any]],
    *,
    quantities: Sequence[str] | None = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> Sweep:
    """Solve over a grid of model parameters.

    Parameters
    ----------
    model : PerceptronModel, GLMModel or ERMModel
        The model whose parameters are replaced.
    axes : mapping of str to iterable
        Values of each swept parameter, e.g. ``{"alpha_u": [1.0, 2.0]}``.
    quantities : sequence of str or None, default=None
        Numbers of `PerceptronTheory` or `GLMTheory` to keep; None for all of its branch and
        ``hard``.
    n_jobs : int or None, default=None
        Threads of each solution; changes no bit of the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points where the iteration or the theory fails: one warning for all of
        them, an error, or nothing.
    progress : None, bool, callable or object, default=None
        Called with (points done, points); an exception stops the sweep.

    Returns
    -------
    Sweep
        The quantities on the grid, with ``status`` and ``valid``.

    Raises
    ------
    ValueError
        If a name is not a parameter of the model, a value is outside its domain, or a quantity is
        not a number of `PerceptronTheory`.
    TypeError
        If ``axes`` is not a mapping of names to values.
    NumericalError
        If ``on_failure="raise"`` and a point is not valid.

    Warns
    -----
    ValidityWarning, ConvergenceWarning
        Once, if there are points that are not valid.

    See Also
    --------
    solve, phase_diagram

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, curve
    >>> curve(PerceptronModel(1.0, 1.0), {"alpha_l": [0.0, 0.1]})["q"].round(4)
    array([0.717 , 0.7836])
    >>> from retemper.perceptron import GLMModel
    >>> curve(GLMModel(1.0, channel="absolute"), {"alpha": [0.4, 0.6, 1.2]})["q"].round(4)
    array([0.    , 0.0518, 1.    ])
    """
    progress = as_callback(progress, "curve")
    check_kind(model, "model", PerceptronModel, GLMModel, ERMModel)
    swept, numbers = (SWEPT, NUMBERS) if isinstance(model, PerceptronModel) else GLM_SWEPT
    names = swept if quantities is None else tuple(quantities)
    for name in names:
        check_choice(name, "quantities", numbers)
    return sweep_model(
        lambda point: solve(point, n_jobs=n_jobs),
        model,
        axes,
        names,
        on_failure=on_failure,
        progress=progress,
    )
