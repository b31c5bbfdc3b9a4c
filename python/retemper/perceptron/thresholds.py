"""Where more rows make the overlap jump: thresholds, phases, the curve of fixed points."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._control import Progress
from retemper._dispatch import core
from retemper._domains import check_parameter
from retemper._parallel import map_threads
from retemper._progress import ProgressLike, as_callback
from retemper._results import Status, Sweep, read_axes, sweep_of
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_kind,
    check_real,
)
from retemper.perceptron.errors import model_errors
from retemper.perceptron.glm import GLMModel, bayes_curve, matched_law, tabled_curve
from retemper.perceptron.model import PerceptronModel, laws_of, prior_of

__all__ = [
    "CriticalPoint",
    "ParametricCurve",
    "Transitions",
    "critical_line",
    "labels_to_leave",
    "parametric_curve",
    "phase_diagram",
    "transitions",
]


@dataclasses.dataclass(frozen=True)
class Transitions:
    """Thresholds in rows per feature, None where there is none; see `transitions`.

    For a margin these are unlabelled rows, for a `GLMModel` all of them.

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

    See Also
    --------
    transitions

    Examples
    --------
    >>> from retemper.perceptron import transitions
    >>> found = transitions(0.5)
    >>> found.first_order, round(found.alpha_c, 4), round(found.alpha_alg, 4)
    (True, 3.0721, 4.4903)
    """

    alpha_c: float | None
    first_order: bool
    alpha_sp_minus: float | None = None
    q_sp_minus: float | None = None
    alpha_it: float | None = None
    q_it_low: float | None = None
    q_it_high: float | None = None
    alpha_alg: float | None = None
    q_alg: float | None = None


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

    See Also
    --------
    critical_line

    Examples
    --------
    >>> from retemper.perceptron import critical_line
    >>> point = critical_line(0.5)
    >>> round(point.q, 4), str(point.status)
    (0.8328, 'converged')
    """

    alpha_l: float | None
    alpha_u: float | None
    q: float | None
    status: Status


@dataclasses.dataclass(frozen=True)
class ParametricCurve:
    """The curve of fixed points, by rising overlap; see `parametric_curve`.

    Parameters
    ----------
    q : ndarray of shape (n_points,)
        Overlaps.
    alpha_u : ndarray of shape (n_points,)
        Unlabelled rows per feature at which each is a fixed point; negative where labels alone
        give more.
    free_entropy : ndarray of shape (n_points,)
        Nats per feature.
    replicon : ndarray of shape (n_points,)
        Below one where the fixed point is stable.
    cosine : ndarray of shape (n_points,)
        Between the posterior mean and the true weights.

    See Also
    --------
    parametric_curve

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, parametric_curve
    >>> curve = parametric_curve(PerceptronModel(0.5, 0.0), 5)
    >>> curve.q.shape, bool((curve.alpha_u > 0).all())
    ((5,), True)
    """

    q: FloatArray
    alpha_u: FloatArray
    free_entropy: FloatArray
    replicon: FloatArray
    cosine: FloatArray


def _check_margin(kappa: float) -> None:
    if not check_parameter(kappa, "kappa"):
        raise ValueError("kappa must lie in (0, 30], got 0.0: unlabelled rows would say nothing")


def transitions(
    kappa: float | GLMModel,
    *,
    alpha_l: float = 0.0,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    n_jobs: int | None = None,
) -> Transitions:
    """Thresholds in the number of rows: of pre-training, or of any channel and prior.

    Parameters
    ----------
    kappa : float or GLMModel
        Margin, in (0, 30]; or a model, whose ``alpha`` is not used, and no further argument.
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
        If a parameter is outside its domain, or a model is mismatched.

    See Also
    --------
    critical_line, labels_to_leave, parametric_curve

    Notes
    -----
    Derived here (`derivations/perceptron#curve-of-fixed-points`). At a fixed point the number of
    rows is a function of the overlap; its extrema are the spinodals, found as roots of
    its exact derivative.

    Examples
    --------
    >>> from retemper.perceptron import transitions
    >>> t = transitions(0.5)
    >>> round(t.alpha_c, 4), round(t.alpha_it, 4), round(t.alpha_alg, 4)
    (3.0721, 4.1292, 4.4903)
    >>> from retemper.perceptron import GLMModel
    >>> t = transitions(GLMModel(1.0, channel="sign", prior="binary"))
    >>> round(t.alpha_it, 3), round(t.alpha_alg, 3)
    (1.245, 1.493)
    """
    if isinstance(kappa, GLMModel):
        if alpha_l or sigma or eta_u or eta_l:
            raise ValueError("a GLMModel takes no further argument: its channel has them")
        return Transitions(**bayes_curve(matched_law(kappa, "transitions")).transitions())  # type: ignore[arg-type]
    _check_margin(kappa)
    model = PerceptronModel(kappa, 0.0, alpha_l, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
    found = core.perceptron.transitions(
        laws_of(model)[0], model.alpha_l, effective_n_threads(n_jobs)
    )
    alpha_c = None if math.isnan(found.alpha_c) else found.alpha_c
    if not found.first_order:
        return Transitions(alpha_c, False)
    return Transitions(
        alpha_c=alpha_c,
        first_order=True,
        alpha_sp_minus=found.alpha_sp_minus,
        q_sp_minus=found.q_sp_minus,
        alpha_it=found.alpha_it,
        q_it_low=found.q_it_low,
        q_it_high=found.q_it_high,
        alpha_alg=found.alpha_alg,
        q_alg=found.q_alg,
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

    See Also
    --------
    transitions, labels_to_leave

    Notes
    -----
    Derived here (`derivations/perceptron#curve-of-fixed-points`): both spinodals merge where the
    load of labels that makes the curve turn is largest.

    Examples
    --------
    >>> from retemper.perceptron import critical_line
    >>> point = critical_line(0.5)
    >>> round(point.alpha_l, 5), round(point.alpha_u, 4)
    (0.24075, 3.489)
    """
    _check_margin(kappa)
    model = PerceptronModel(kappa, 0.0, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
    found = core.perceptron.critical_line(laws_of(model)[0], effective_n_threads(n_jobs))
    status = Status(found.status)
    if status is not Status.CONVERGED:
        return CriticalPoint(None, None, None, status)
    return CriticalPoint(found.alpha_l, found.alpha_u, found.q, status)


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

    See Also
    --------
    critical_line, transitions

    Notes
    -----
    Derived here (`derivations/perceptron#curve-of-fixed-points`).

    Examples
    --------
    >>> from retemper.perceptron import labels_to_leave
    >>> round(labels_to_leave(0.5, 4.0), 4)
    0.0918
    """
    _check_margin(kappa)
    model = PerceptronModel(kappa, alpha_u, sigma=sigma, eta_u=eta_u, eta_l=eta_l)
    return float(
        core.perceptron.labels_to_leave(
            laws_of(model)[0], model.alpha_u, effective_n_threads(n_jobs)
        )
    )


def parametric_curve(
    model: PerceptronModel, n_points: int = 400, *, q_min: float = 1e-4, q_max: float = 1 - 1e-5
) -> ParametricCurve:
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
    ParametricCurve
        Overlaps, loads, free entropies and stability along the curve.

    Raises
    ------
    ValueError
        If the model is mismatched or binary, or an end is outside (0, 1).

    See Also
    --------
    transitions, solve

    Notes
    -----
    Derived here (`derivations/perceptron#curve-of-fixed-points`), equation 8 of the theory page.

    Examples
    --------
    >>> from retemper.perceptron import PerceptronModel, parametric_curve
    >>> curve = parametric_curve(PerceptronModel(0.5, 0.0), 3, q_min=0.2, q_max=0.8)
    >>> curve.alpha_u.round(3)
    array([3.867, 4.471, 4.136])
    """
    check_kind(model, "model", PerceptronModel)
    if not model.is_matched or model.prior != "sphere":
        raise ValueError("the parametric curve needs a matched student and prior='sphere'")
    check_integer(n_points, "n_points", low=2)
    ends = [
        check_real(q, name, low=0, high=1, open_low=True, open_high=True)
        for q, name in ((q_min, "q_min"), (q_max, "q_max"))
    ]
    low, high = (math.log(q / (1 - q)) for q in ends)
    log_b = np.linspace(low, high, n_points)
    at = core.perceptron.curve_table(laws_of(model)[0], prior_of(model), log_b, 1)
    load = (at.b - model.alpha_l * at.labelled.overlap) / at.unlabelled.overlap
    entropy = at.prior_entropy + load * at.unlabelled.entropy
    slope = load * at.unlabelled.slope + model.alpha_l * at.labelled.slope
    return ParametricCurve(
        q=at.q.copy(),
        alpha_u=load,
        free_entropy=entropy + model.alpha_l * at.labelled.entropy,
        replicon=at.dq * slope,
        cosine=np.sqrt(at.q),
    )


#: Numbers of a branch that a phase diagram can show.
_MARGIN_VALUES = ("q", "cosine", "free_entropy", "error_margin", "error_gauss")
_GLM_VALUES = ("q", "cosine", "mse", "error", "free_entropy", "information")
_BRANCHES = ("reachable", "equilibrium", "informed")


@overload
def phase_diagram(
    kappa: ArrayLike,
    alpha_u: ArrayLike,
    *,
    value: str = ...,
    prior: Literal["sphere", "binary"] | None = ...,
    refine: int = ...,
    alpha_l: float = ...,
    sigma: float = ...,
    eta_u: float = ...,
    eta_l: float = ...,
    n_jobs: int | None = ...,
    progress: ProgressLike = ...,
) -> Sweep: ...
@overload
def phase_diagram(
    kappa: GLMModel,
    alpha_u: Mapping[str, Iterable[Any]],
    *,
    value: str = ...,
    n_jobs: int | None = ...,
    progress: ProgressLike = ...,
) -> Sweep: ...
def phase_diagram(
    kappa: ArrayLike | GLMModel,
    alpha_u: ArrayLike | Mapping[str, Iterable[Any]],
    *,
    value: str = "q",
    prior: Literal["sphere", "binary"] | None = None,
    refine: int = 0,
    alpha_l: float = 0.0,
    sigma: float = 0.0,
    eta_u: float = 0.0,
    eta_l: float = 0.0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
) -> Sweep:
    """One number of three branches, and the phase, over a grid of problems.

    Parameters
    ----------
    kappa : array_like of shape (n_kappa,), or GLMModel
        Margins in (0, 30], increasing if refined; or a matched model of any channel and prior.
    alpha_u : array_like of shape (n_alpha,), or mapping of str to iterable
        Unlabelled rows per feature, increasing if refined; of a model the axes, as for `curve`:
        "alpha", and "channel", "prior" or both.
    value : str, default="q"
        What to show of each branch: "q", "cosine", "free_entropy", "error_margin" or
        "error_gauss" of a margin, as in `PerceptronBranch`; "q", "cosine", "mse", "error",
        "free_entropy" or "information" of a model, as in `GLMBranch`.
    prior : {"sphere", "binary"} or None, default=None
        Law of the weights behind a margin; None for "sphere", and for a model, which has its own.
    refine : int, default=0
        How often to halve the cells at a boundary, at most 8. Every cell of the grid then becomes
        ``2 ** refine`` by ``2 ** refine`` cells, at geometric means (next to zero arithmetic ones),
        and only those on whose edge two phases meet are solved. Of margins alone.
    alpha_l, sigma, eta_u, eta_l : float, default=0.0
        As in `PerceptronModel`; a model takes none of them.
    n_jobs : int or None, default=None
        Threads; changes no bit of the result.
    progress : None, bool, callable or object, default=None
        Called with (rows of the grid done, rows) for a model; an exception stops the call.

    Returns
    -------
    Sweep
        The axes; values ``<value>_reachable``, ``<value>_equilibrium``, ``<value>_informed``,
        ``phase``: 0 undetectable, 1 reachable, 2 metastable (a worse branch of high overlap
        exists), 3 hard; and ``solved``. Points that are not solved lie in cells without a boundary:
        they have the phase of the cell, and their values are NaN.

    Raises
    ------
    ValueError
        If a grid is not a list of numbers in its domain, or does not increase where it is refined;
        if a model is mismatched, has no axis "alpha", or is given arguments of a margin.
    TypeError
        If the second argument does not fit the first.

    See Also
    --------
    transitions, curve, PhaseDiagramDisplay

    Notes
    -----
    Derived here (`derivations/perceptron#curve-of-fixed-points`). One table per margin, or per
    channel and prior, serves all loads; roots of a row are found together, each from the
    interpolated curve. A phase that lies within one cell of the grid given, touching none of its
    corners, is not found.

    Examples
    --------
    >>> from retemper.perceptron import GLMModel, Prior, phase_diagram
    >>> phase_diagram([0.5, 1.0], [1.0, 4.3])["phase"]
    array([[0, 3],
           [1, 1]])
    >>> found = phase_diagram([0.5, 1.0], [1.0, 4.3], refine=4)
    >>> found["phase"].shape, int(found["solved"].sum())
    ((17, 17), 103)
    >>> axes = {"prior": ["gaussian", "binary"], "alpha": [1.0, 1.4, 2.0]}
    >>> found = phase_diagram(GLMModel(1.0, channel="sign"), axes, value="error")
    >>> found["error_reachable"].round(3)
    array([[0.254, 0.216, 0.175],
           [0.231, 0.152, 0.   ]])
    >>> found["phase"]
    array([[1, 1, 1],
           [2, 3, 1]])
    """
    if isinstance(kappa, GLMModel):
        extra = {"prior": prior, "refine": refine, "alpha_l": alpha_l, "sigma": sigma}
        extra |= {"eta_u": eta_u, "eta_l": eta_l}
        given = sorted(name for name, v in extra.items() if v)
        if given:
            raise ValueError(f"a GLMModel takes no {', '.join(given)}: put them in its axes")
        if not isinstance(alpha_u, Mapping):
            raise TypeError(
                "a GLMModel needs axes as its second argument, for instance "
                f'{{"alpha": [0.5, 1.0]}}, got {alpha_u!r}'
            )
        return _glm_diagram(kappa, alpha_u, value, n_jobs=n_jobs, progress=progress)
    if isinstance(alpha_u, Mapping):
        raise TypeError(f"axes belong to a GLMModel; alpha_u must be numbers, got {alpha_u!r}")
    check_choice(value, "value", _MARGIN_VALUES)
    prior = "sphere" if prior is None else check_parameter(prior, "prior")
    margins = as_float_array(kappa, "kappa")
    loads = as_float_array(alpha_u, "alpha_u")
    if not (margins.size and loads.size):
        raise ValueError("kappa and alpha_u must not be empty")
    times = check_integer(refine, "refine", low=0, high=8)
    threads = effective_n_threads(n_jobs)
    labels = check_parameter(alpha_l, "alpha_l")
    check_parameter(loads.min(), "alpha_u")
    for margin in margins:
        _check_margin(margin)
    if times:
        for name, axis in (("kappa", margins), ("alpha_u", loads)):
            if axis.size < 2 or not (np.diff(axis) > 0).all():
                raise ValueError(f"{name} must increase and have two values or more to be refined")
        margins, loads = _halve(margins, times), _halve(loads, times)
    shape = (margins.size, loads.size)
    shown = np.full((3, *shape), np.nan)
    phase = np.full(shape, -1)

    def solve_points(points: NDArray[np.bool_]) -> None:
        for i in np.flatnonzero(points.any(axis=1)):
            at = np.flatnonzero(points[i])
            model = PerceptronModel(
                margins[i], 0.0, sigma=sigma, eta_u=eta_u, eta_l=eta_l, prior=prior
            )
            found = core.perceptron.fixed_points(
                laws_of(model)[0],
                prior_of(model),
                loads[at],
                np.full(at.size, labels),
                threads,
            )
            numbers = np.empty((3, at.size))
            for j, branches in enumerate(found):
                three, phase[i, at[j]] = _phase_of(branches)
                numbers[:, j] = [b.free_entropy if value == "free_entropy" else b.q for b in three]
            if value == "cosine" or value.startswith("error"):
                cosine = np.sqrt(np.minimum(numbers, 1.0))
                errors = model_errors(model, cosine)
                numbers = cosine if value == "cosine" else getattr(errors, value[6:])
            shown[:, i, at] = numbers

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
    values = {f"{value}_{branch}": part for branch, part in zip(_BRANCHES, shown, strict=True)}
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


def _phase_of(branches: Sequence[Any]) -> tuple[tuple[Any, Any, Any], int]:
    """The reachable, equilibrium and informed branches, and the phase."""
    reachable = next((b for b in branches if b.stability < 1), branches[-1])
    equilibrium = max(branches, key=lambda b: b.free_entropy)
    return (reachable, equilibrium, branches[-1]), _phase(
        reachable.q, equilibrium.q, branches[-1].q, nothing=1e-6
    )


def _phase(
    reachable: float, equilibrium: float, informed: float, *, nothing: float, step: float = 1e-6
) -> int:
    if equilibrium > reachable + step:
        return 3
    if informed > reachable + step:
        return 2
    return int(reachable > nothing)


def _glm_diagram(
    model: GLMModel,
    axes: Mapping[str, Iterable[Any]],
    value: str,
    *,
    n_jobs: int | None,
    progress: ProgressLike,
) -> Sweep:
    """Rows of a diagram share a curve, whose roots at all loads are found together."""
    check_choice(value, "value", _GLM_VALUES)
    progress = as_callback(progress, "phase_diagram")
    grid = read_axes(model, axes)
    if "alpha" not in grid.values:
        raise ValueError(f"axes must have 'alpha', got {sorted(grid.values)}")
    loads = np.array([check_parameter(v, "alpha") for v in grid.values["alpha"]])
    others = {name: v for name, v in grid.values.items() if name != "alpha"}
    rows = [
        dataclasses.replace(model, **dict(zip(others, combination, strict=True)))
        for combination in itertools.product(*others.values())
    ]
    laws = [matched_law(row, "phase_diagram") for row in rows]

    def solve_row(i: int, watch: Progress) -> tuple[FloatArray, NDArray[Any]]:
        watch(i, len(rows))
        found = tabled_curve(laws[i])
        shown, phase = np.empty((3, loads.size)), np.empty(loads.size, dtype=int)
        nothing = found.start_q + 1e-6 * found.rho
        for j, branches in enumerate(found.branches_of(loads, tol=1e-12)[0]):
            reachable = next((b for b in branches if b.is_stable), branches[-1])
            equilibrium = max(branches, key=lambda b: b.free_entropy)
            three = (reachable, equilibrium, branches[-1])
            shown[:, j] = [getattr(b, value) for b in three]
            phase[j] = _phase(*(b.q for b in three), nothing=nothing, step=1e-6 * found.rho)
        return shown, phase

    done = map_threads(solve_row, len(rows), effective_n_threads(n_jobs), progress, unit="rows")
    at = list(grid.values).index("alpha")
    shape = (*(len(v) for v in others.values()), loads.size)

    def in_place(parts: list[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(np.moveaxis(np.reshape(parts, shape), -1, at))

    values = {
        f"{value}_{branch}": in_place([shown[k] for shown, _ in done])
        for k, branch in enumerate(_BRANCHES)
    }
    values["phase"] = in_place([phase for _, phase in done])
    values["solved"] = np.ones(values["phase"].shape, dtype=bool)
    return sweep_of(grid, values)
