"""Exact end point of gradient flow on data: the interpolator of least penalty."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from retemper._control import OnFailure, Progress, interruptible, report_status
from retemper._dispatch import core
from retemper._parallel import map_threads
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_real,
    check_shape,
)
from retemper.diagonal.mirror import (
    as_start,
    check_depth,
    check_some_move,
    curvature_weight,
    free_features,
    mirror_coordinate,
    mirror_point,
)
from retemper.exceptions import ValidityWarning

#: Above this number of samples the n x n matrix is not formed.
DIRECT_MAX = 12_000

_NONE = np.zeros(0)
_NO_LIFT = np.zeros((0, 0))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MinimumPenalty(Result):
    """The solution of least penalty and its certificate (see `minimum_penalty`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Newton steps.
    residual : float
        Residual relative to y.
    message : str
        What happened, in words.
    coef : ndarray of shape (n_features,)
        Coefficients.
    intercept : float
        Intercept, 0 unless asked for.
    dual : ndarray of shape (n_samples,)
        Dual variable s, the residual integrated over time; ``coef`` of two layers equals
        ``scale * sinh(arcsinh(centre / scale) + 2 X.T s)``.
    duality_gap : float
        Distance to the optimum over the penalty.
    loo_residual : ndarray of shape (n_samples,)
        Leave-one-out residuals to first order, empty unless asked for.
    n_factor : int
        Matrix factorisations.
    rank : int
        Rank of X, or ``min(n_samples, n_features)`` where it was not needed.
    misfit : float
        Share of ``y`` outside the column space of X, 0 unless least squares had to be solved.

    See Also
    --------
    minimum_penalty

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import minimum_penalty
    >>> X = np.random.default_rng(0).normal(size=(5, 10)) / 10**0.5
    >>> fit = minimum_penalty(X, X[:, 0], np.full(10, 0.01))
    >>> bool(np.allclose(X @ fit.coef, X[:, 0])), str(fit.status)
    (True, 'converged')
    """

    coef: FloatArray
    intercept: float
    dual: FloatArray
    duality_gap: float
    loo_residual: FloatArray
    n_factor: int
    rank: int
    misfit: float


def minimum_penalty(
    X: ArrayLike,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    centre: ArrayLike | None = None,
    mu: float = 0.0,
    depth: int = 2,
    fit_intercept: bool = False,
    coef_start: ArrayLike | None = None,
    leave_one_out: bool = False,
    solver: str = "auto",
    tol: float = 1e-12,
    max_iter: int = 500,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> MinimumPenalty:
    r"""Coefficients to which gradient flow converges, without integrating it.

    Minimises :math:`\sum_d D_q(\beta_d, \beta_{0,d}; c_d)` over the interpolators of the data or,
    with ``mu > 0``, ``mu`` times that plus :math:`\tfrac12\|y - X\beta\|^2`, by a Newton iteration
    on the n-dimensional dual (on the D-dimensional normal equations where n > D and ``mu > 0``). If
    no interpolator exists, or the rows of X are dependent, it is the least-squares solution of
    least penalty (derived here: `derivations/diagonal#end-point-on-data`).

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design, as it is: nothing is scaled.
    y : array_like of shape (n_samples,)
        Labels.
    scale : array_like of shape (n_features,) or float
        Non-negative fine-tuning scales c; features with scale zero stay at zero.
    centre : array_like of shape (n_features,) or None, default=None
        Coefficients at the start of the flow; zero if None.
    mu : float, default=0.0
        Strength of the penalty; 0 interpolates.
    depth : int, default=2
        Layers of the network (`derivations/diagonal#deeper-networks`); above two all layers start
        alike, and ``solver="cg"`` is not offered.
    fit_intercept : bool, default=False
        Whether to add an intercept, which is not penalised. False, as the equation is that of the
        rows as they are given.
    coef_start : array_like of shape (n_features,) or None, default=None
        Solution of a neighbouring problem, to start from.
    leave_one_out : bool, default=False
        Whether to compute leave-one-out residuals to first order (not with ``solver="cg"``); see
        `leave_one_out` for exact ones.
    solver : {"auto", "direct", "cg"}, default="auto"
        Factor n x n matrices, or use conjugate gradients, which need no memory of that size;
        "auto" factors up to 12,000 samples.
    tol : float, default=1e-12
        Residual, relative to the norm of y.
    max_iter : int, default=500
        Most Newton steps.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if the residual was not reached.
    progress : None, bool, callable or object, default=None
        Called with (0, 0) from time to time; an exception raised in it stops the work.

    Returns
    -------
    MinimumPenalty
        Coefficients, dual variable and certificate.

    Raises
    ------
    ValueError
        If shapes disagree, a value is outside its domain, or every scale is zero.
    NumericalError
        If coefficients overflow.

    See Also
    --------
    gradient_flow, penalty, leave_one_out

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import minimum_penalty
    >>> X = np.array([[1.0, 1.0]])
    >>> minimum_penalty(X, [2.0], [1e-6, 1e3]).coef.round(3).tolist()
    [0.0, 2.0]
    """
    progress = as_callback(progress, "minimum_penalty")
    design = as_float_array(X, "X", ndim=2)
    labels = as_float_array(y, "y")
    n, d = design.shape
    if not n or not d:
        raise ValueError(f"X must not be empty, got shape {design.shape}")
    check_shape(labels, (n,), "y")
    c, start = as_start(scale, centre, d)
    check_real(mu, "mu", low=0.0)
    check_real(tol, "tol", low=0.0, open_low=True)
    check_integer(max_iter, "max_iter", low=1)
    check_choice(solver, "solver", ("auto", "direct", "cg"))
    if check_depth(depth) > 2 and solver == "cg":
        raise ValueError(f"solver='cg' needs depth = 2, got depth = {depth}")
    guess = _NONE if coef_start is None else as_float_array(coef_start, "coef_start")
    if guess.size:
        check_shape(guess, (d,), "coef_start")
    use_factor = solver == "direct" or (solver == "auto" and min(n, d) <= DIRECT_MAX)
    if leave_one_out and not use_factor:
        raise ValueError(f"leave_one_out needs solver='direct', got n_samples = {n}, {solver!r}")

    check_some_move(c)
    free = free_features(c, start)
    if not free.all():
        design = np.ascontiguousarray(design[:, free])
    small = np.ascontiguousarray(c[free])
    u0 = mirror_coordinate(start[free], small, depth)
    settings = _Settings(
        use_factor, leave_one_out, max_iter, tol, effective_n_threads(n_jobs), progress
    )
    x_mean, y_mean = np.zeros(small.size), 0.0
    if fit_intercept:
        x_mean, y_mean = design.mean(axis=0), float(labels.mean())
        design, labels = design - x_mean, labels - y_mean
    initial = np.ascontiguousarray(guess[free]) if guess.size else _NONE
    system = _System(design, labels, small, u0, float(mu), initial, bool(fit_intercept), depth)
    rows = n - 1 if fit_intercept else n
    if rows == 0:  # one sample, taken up by the intercept
        found = _Solution(start[free], np.zeros(1), np.zeros(1) if leave_one_out else _NONE)
    elif mu == 0.0 and rows > small.size:
        found = _least_squares(system, settings)
    else:
        found = _newton(system, settings)
        if mu == 0.0 and use_factor and Status(found.status) is Status.STALLED:
            found = _least_squares(system, settings)
            if found.misfit > 1e-8 and on_failure == "warn":
                warnings.warn(
                    f"y lies outside the column space of X by {found.misfit:.2g} of its norm: no "
                    "interpolator exists, this is least squares of least penalty",
                    ValidityWarning,
                    stacklevel=2,
                )
    coef = np.zeros(d)
    coef[free] = found.coef
    status = Status(found.status)
    report_status(status, found.residual, "the minimum-penalty solution",
                  on_failure=on_failure)  # fmt: skip
    return MinimumPenalty(
        status=status,
        n_iter=found.n_iter,
        residual=found.residual,
        message=status.sentence,
        coef=coef,
        intercept=y_mean - float(x_mean @ coef[free]),
        dual=found.dual,
        duality_gap=found.duality_gap,
        loo_residual=found.loo_residual,
        n_factor=found.n_factor,
        rank=min(rows, small.size) if found.rank is None else found.rank,
        misfit=found.misfit,
    )


def leave_one_out(
    X: ArrayLike,
    y: ArrayLike,
    scale: ArrayLike,
    *,
    centre: ArrayLike | None = None,
    mu: float = 0.0,
    depth: int = 2,
    fit_intercept: bool = False,
    coef_start: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Leave-one-out residuals by refitting without each row.

    Derived here (`derivations/diagonal#end-point-on-data`).

    The first-order residuals of `minimum_penalty` cost no refit but overstate the error, sometimes
    by an order of magnitude, where few features carry a rich solution. Each refit starts from the
    solution of all rows.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Design, at least two rows.
    y : array_like of shape (n_samples,)
        Labels.
    scale : array_like of shape (n_features,) or float
        Non-negative fine-tuning scales.
    centre : array_like of shape (n_features,) or None, default=None
        Coefficients at the start of the flow.
    mu : float, default=0.0
        Strength of the penalty.
    depth : int, default=2
        Layers of the network.
    fit_intercept : bool, default=False
        Whether to add an intercept, as in `minimum_penalty`.
    coef_start : array_like of shape (n_features,) or None, default=None
        Solution of all rows, if known.
    n_jobs : int or None, default=None
        Threads over rows; never changes the result.

    Returns
    -------
    ndarray of shape (n_samples,)
        Label minus the prediction of the fit without it.

    Raises
    ------
    ValueError
        As `minimum_penalty`.

    See Also
    --------
    minimum_penalty, recommend

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import leave_one_out, minimum_penalty
    >>> X = np.random.default_rng(0).normal(size=(8, 20)) / 20**0.5
    >>> y, scale = X[:, 0] + X[:, 1], np.full(20, 0.1)
    >>> left_out = leave_one_out(X, y, scale)
    >>> without_first = minimum_penalty(X[1:], y[1:], scale).coef
    >>> bool(np.isclose(left_out[0], y[0] - X[0] @ without_first))
    True
    """
    design, labels = as_float_array(X, "X", ndim=2), as_float_array(y, "y")
    if design.shape[0] < 2:
        raise ValueError(f"X must have at least 2 rows, got {design.shape[0]}")
    settings: dict[str, Any] = {
        "centre": centre, "mu": mu, "depth": depth, "fit_intercept": fit_intercept, "n_jobs": 1,
        "coef_start": coef_start,
    }  # fmt: skip
    if coef_start is None:
        settings["coef_start"] = minimum_penalty(design, labels, scale, **settings).coef

    def one(i: int, watch: Progress) -> float:
        kept = np.arange(len(labels)) != i
        part = minimum_penalty(design[kept], labels[kept], scale, progress=watch, **settings)
        return float(labels[i] - design[i] @ part.coef - part.intercept)

    return np.array(map_threads(one, len(labels), effective_n_threads(n_jobs)))


class _Settings(NamedTuple):
    use_factor: bool
    leave_one_out: bool
    max_iter: int
    tol: float
    n_threads: int
    progress: Progress | None


class _System(NamedTuple):
    X: FloatArray
    y: FloatArray
    scale: FloatArray
    centre: FloatArray  # mirror coordinates
    mu: float
    coef_start: FloatArray  # coefficients of a neighbour, or empty
    is_centred: bool
    depth: int


@dataclasses.dataclass(frozen=True)
class _Solution:
    """What the core's Newton iteration returns, or what stands in for it."""

    coef: FloatArray
    dual: FloatArray
    loo_residual: FloatArray = dataclasses.field(default_factory=lambda: _NONE)
    residual: float = 0.0
    duality_gap: float = 0.0
    n_iter: int = 0
    n_factor: int = 0
    status: str = "converged"
    rank: int | None = None  # None: not needed
    misfit: float = 0.0


def _core_fit(
    system: _System,
    settings: _Settings,
    *,
    lift: FloatArray = _NO_LIFT,
    mean_leverage: float = 0.0,
) -> _Solution:
    if system.depth > 2:
        return _deep_fit(system, settings, lift)
    found = core.diagonal.fit(
        X=system.X,
        y=system.y,
        scale=system.scale,
        centre=system.centre,
        mu=system.mu,
        coef_start=system.coef_start,
        lift=lift,
        mean_leverage=mean_leverage,
        **settings._asdict(),
    )
    return _Solution(**found)


def _deep_fit(system: _System, settings: _Settings, lift: FloatArray) -> _Solution:
    def attempt(coef_start: FloatArray) -> _Solution:
        found = core.diagonal.deep_fit(
            X=system.X,
            y=system.y,
            scale=system.scale,
            centre=system.centre,
            mu=system.mu,
            depth=float(system.depth),
            coef_start=coef_start,
            leave_one_out=settings.leave_one_out,
            lift=lift,
            max_iter=settings.max_iter,
            tol=settings.tol,
            n_threads=settings.n_threads,
            progress=settings.progress,
        )
        return _Solution(**found)

    if system.coef_start.size:  # a neighbour that is none is left, and the centre taken
        near = attempt(system.coef_start)
        if Status(near.status) is Status.CONVERGED:
            return near
    return attempt(_NONE)


def _newton(system: _System, settings: _Settings) -> _Solution:
    """Newton's iteration; centred rows, which are dependent, are first reduced by one."""
    X, y = system.X, system.y
    n = len(y)
    if not system.is_centred:
        return _core_fit(system, settings)
    if system.depth == 2 and system.mu > 0.0 and n - 1 > system.scale.size:
        return _core_fit(system, settings, mean_leverage=1.0 / n)
    # the reflection that takes the constant vector to the first axis; its other rows span the rest
    mirror = np.full(n, 1.0 / np.sqrt(n))
    mirror[0] -= 1.0
    mirror /= np.sqrt(0.5 * (mirror @ mirror))
    lift = _NO_LIFT
    if settings.leave_one_out:
        lift = np.eye(n)[1:] - np.outer(mirror[1:], mirror)
    reduced = system._replace(
        X=X[1:] - np.outer(mirror[1:], mirror @ X), y=y[1:] - mirror[1:] * (mirror @ y)
    )
    found = _core_fit(reduced, settings, lift=lift)
    inner = np.concatenate([[0.0], found.dual])
    return dataclasses.replace(found, dual=inner - mirror * (mirror @ inner))


def _least_squares(system: _System, settings: _Settings) -> _Solution:
    """Least squares of least penalty, through an orthonormal basis of the column space of X."""
    X, labels, c, u0 = system[:4]
    basis, size, rows = interruptible(
        np.linalg.svd, X, full_matrices=False, cost=float(X.size * min(X.shape))
    )
    rank = int(np.sum(size > size[0] * max(X.shape) * np.finfo(float).eps)) if size[0] else 0
    if rank == 0:
        found = _Solution(mirror_point(u0, c, system.depth).coef, np.zeros(0))
        rows, size, basis, inside = rows[:0], size[:0], basis[:, :0], np.zeros(0)
    else:
        basis, size, rows = basis[:, :rank], size[:rank], np.ascontiguousarray(rows[:rank])
        inside = basis.T @ labels
        if rank == c.size:  # one solution, whatever the scales
            coef = rows.T @ (inside / size)
            u = mirror_coordinate(coef, c, system.depth)
            force, at_start = (mirror_point(v, c, system.depth).force for v in (u, u0))
            found = _Solution(coef, rows @ (force - at_start), n_factor=1)
        else:
            plain = settings._replace(leave_one_out=False)
            found = _core_fit(system._replace(X=rows, y=inside / size, coef_start=_NONE), plain)
    dual = basis @ (found.dual / size)
    outside = labels - basis @ inside
    norm = float(np.linalg.norm(labels))
    loo = _NONE
    if settings.leave_one_out:
        # the limit mu -> 0 of the penalised formula
        free = 1.0 - np.einsum("ij,ij->i", basis, basis) - system.is_centred / len(labels)
        weight = curvature_weight(found.coef, c, system.depth)
        unit = float(weight.max())
        inverse = np.linalg.pinv((rows * (weight / unit)) @ rows.T, hermitian=True)
        scaled = basis / size
        corner = np.sum((scaled @ inverse) * scaled, axis=1) / unit
        is_seen = free > 1e-9
        loo = np.where(
            is_seen,
            outside / np.where(is_seen, free, 1.0),
            dual / np.where(corner > 0, corner, np.inf),
        )
    misfit = float(np.linalg.norm(outside)) / norm if norm else 0.0
    return dataclasses.replace(found, dual=dual, loo_residual=loo, rank=rank, misfit=misfit)
