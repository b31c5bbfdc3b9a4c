"""Test error of fine-tuning in the high-dimensional limit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from retemper._control import OnFailure, Progress, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status, Sweep, read_axes, report_points, stack_points
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_kind
from retemper.diagonal.channel import Law, solve_laws
from retemper.diagonal.design import Design, design_with_dof
from retemper.diagonal.law import TargetRule, coefficient_law
from retemper.diagonal.model import DiagonalModel
from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning

#: Quantities that theory and simulation share, and that `curve` returns.
QUANTITIES = ("mse", "test_error", "train_error", "tau", "effective_mu", "dof", "forgetting")
_MOST_QUADRATURE_ERROR = 1e-6  # of a law given by its density
_NOT_SWEPT = {"model", "status", "message", "group_names"}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DiagonalTheory(Result):
    """What the high-dimensional limit predicts; errors are per feature (see `solve`).

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Quadrature passes.
    residual : float
        Larger relative residual of the two equations.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    mse : float
        Mean of (fine-tuned - target)**2 over coefficients; the excess test error where columns are
        independent.
    test_error : float
        Squared error of a new label: with independent columns, ``mse`` plus the label noise
        variance.
    train_error : float
        Mean squared residual on the training set, 0 for interpolation.
    tau : float
        Variance of the effective noise of the scalar channel.
    effective_mu : float
        Strength of the penalty in that channel.
    dof : float
        Effective degrees of freedom per feature.
    forgetting : float
        Mean of (fine-tuned - pre-trained)**2 over coefficients.
    null_mse : float
        Error of predicting zero; ``mse`` beyond it is negative transfer.
    group_names : tuple of str
        Groups of the law.
    group_weight, group_mse, group_forgetting : ndarray of shape (n_groups,)
        Probability of a group and its averages.
    quadrature_error : float
        Relative change of error and degrees of freedom on doubling the nodes, and of the error
        with fewer nodes of a law that is given by its density.

    See Also
    --------
    solve, DiagonalSimulation

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve
    >>> theory = solve(DiagonalModel(0.3))
    >>> round(theory.dof, 9), theory.mse < theory.null_mse
    (0.3, True)
    """

    model: DiagonalModel
    mse: float
    test_error: float
    train_error: float
    tau: float
    effective_mu: float
    dof: float
    forgetting: float
    null_mse: float
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    quadrature_error: float


def solve(model: DiagonalModel, *, on_failure: OnFailure = "warn") -> DiagonalTheory:
    r"""Test error of fine-tuning in the high-dimensional limit.

    Solves :math:`\tau = (\sigma^2 + E)/\alpha`, :math:`\mu_e(\alpha - E\hat x') = \mu` for the
    effective noise :math:`\tau` and penalty :math:`\mu_e` of the scalar estimator, by quadrature in
    the mirror coordinate, without a proximal solve inside (equations after Anguita et al. 2026; the
    penalised form, warm starts, finite pre-training and the quadrature are derived here:
    `derivations/diagonal#error-in-high-dimension`).

    Parameters
    ----------
    model : DiagonalModel
        The problem.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do if no solution was certified.

    Returns
    -------
    DiagonalTheory
        Errors, order parameters, group-resolved errors and the certificate.

    Raises
    ------
    ValueError
        If every coordinate is frozen.
    NumericalError
        If ``on_failure="raise"`` and no solution was certified.

    See Also
    --------
    simulate, compare, curve

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, solve
    >>> round(solve(DiagonalModel(0.05, omega=1.0)).mse, 8)
    0.52016076
    """
    check_kind(model, "model", DiagonalModel)
    result = _theories([(model, coefficient_law(model))], 1)[0]
    report_status(result.status, result.residual, "the fixed point of fine-tuning",
                  on_failure=on_failure)  # fmt: skip
    return result


def curve(
    model: DiagonalModel,
    axes: Mapping[str, Iterable[Any]],
    *,
    quantities: Sequence[str] | None = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> Sweep:
    """Theory on a grid of model parameters, each point started from its neighbour.

    Parameters
    ----------
    model : DiagonalModel
        The base model.
    axes : mapping of str to iterable
        Values of each swept parameter, e.g. ``{"alpha": [0.1, 0.2], "mode": ["reset", "warm"]}``;
        ``rho_shared``, ``rho_new`` and ``components`` can be swept too.
    quantities : sequence of str or None, default=None
        Fields of `DiagonalTheory` to keep; ``mse``, ``test_error``, ``train_error``, ``tau``,
        ``effective_mu``, ``dof`` and ``forgetting`` if None.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points without a certified solution: one warning for all of them, an
        error, or nothing.
    progress : None, bool, callable or object, default=None
        Called with (points done, points) from time to time.

    Returns
    -------
    Sweep
        The quantities, ``status`` and ``valid`` on the grid; NaN where pre-training has no
        solution.

    Raises
    ------
    ValueError
        If a name is not a parameter or a quantity, an axis is empty, or a point is outside the
        domain.
    NumericalError
        If ``on_failure="raise"`` and a point is not valid.

    See Also
    --------
    solve, ErrorCurveDisplay

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, curve
    >>> curve(DiagonalModel(0.1, omega=1.0), {"alpha": [0.1, 0.3]})["mse"].round(6).tolist()
    [0.135294, 5.7e-05]
    """
    progress = as_callback(progress, "curve")
    known = [f.name for f in dataclasses.fields(DiagonalTheory) if f.name not in _NOT_SWEPT]
    names = QUANTITIES if quantities is None else tuple(quantities)
    for name in names:
        check_choice(name, "quantities", known)
    grid = read_axes(model, axes)
    models = grid.models()
    messages = [""] * len(models)
    problems: dict[int, tuple[DiagonalModel, Law]] = {}
    for i, point in enumerate(models):
        try:
            problems[i] = (point, coefficient_law(point))
        except NumericalError as error:
            messages[i] = str(error)
    failures = tuple(
        {**at, "error": text} for at, text in zip(grid.points(), messages, strict=True) if text
    )
    found = _theories(list(problems.values()), effective_n_threads(n_jobs), progress)
    results = dict(zip(problems, found, strict=True))
    for i, result in results.items():
        if result.status is not Status.CONVERGED:
            messages[i] = (
                f"the fixed point of fine-tuning {result.message} (residual {result.residual:.3g})"
            )
    slow = {Status.CONVERGED, Status.MAX_ITER, Status.STALLED}
    is_slow = not failures and all(r.status in slow for r in found)
    category = ConvergenceWarning if is_slow else ValidityWarning
    report_points(grid, messages, category, on_failure=on_failure, stacklevel=3)
    sweep = stack_points(grid, [results.get(i) for i in range(len(models))], names, messages)
    return dataclasses.replace(sweep, failures=failures)


def _theories(
    problems: Sequence[tuple[DiagonalModel, Law]], n_threads: int, progress: Progress | None = None
) -> list[DiagonalTheory]:
    found = _solutions(problems, n_threads, progress)
    if progress is not None:
        progress(len(problems), len(problems))
    for i, (model, law) in enumerate(problems):
        if any(p.target_law is not None for p in model.law()):
            found[i] = _theory_by_density(model, law, found[i])
    return found


def _theory_by_density(model: DiagonalModel, normal: Law, theory: DiagonalTheory) -> DiagonalTheory:
    """From the theory of Gaussians with the same moments: their noise says what must be seen."""
    for _ in range(4):
        seen = theory.tau
        resolution = math.sqrt(seen) / 8.0 if 0.0 < seen < math.inf else 0.0
        laws = [coefficient_law(model, rule=TargetRule(fine, resolution)) for fine in (False, True)]
        _, coarse, theory = _solutions([(model, law) for law in (normal, *laws)], 1, None)
        change = abs(coarse.mse / theory.mse - 1.0) if 0.0 < theory.mse < math.inf else 0.0
        if not (math.isfinite(theory.tau) and theory.tau < seen / 4.0):
            break
    error = max(theory.quadrature_error, change)
    if theory.status is Status.CONVERGED and error > _MOST_QUADRATURE_ERROR:
        status = Status.STALLED
        theory = dataclasses.replace(theory, status=status, message=status.sentence)
    return dataclasses.replace(theory, quadrature_error=error)


def _solutions(
    problems: Sequence[tuple[DiagonalModel, Law]], n_threads: int, progress: Progress | None
) -> list[DiagonalTheory]:
    designs = [_design(model, law) for model, law in problems]
    channels = [
        (m.alpha, m.noise, m.mu) if design is None else design.channel(m.noise, m.mu)
        for (m, _), design in zip(problems, designs, strict=True)
    ]
    alpha, noise, mu = zip(*channels, strict=True) if channels else ((), (), ())
    solutions = solve_laws(
        [law for _, law in problems],
        alpha=alpha,
        noise=noise,
        mu=mu,
        n_threads=n_threads,
        progress=progress,
    )
    return [
        _theory(*problem, at, design)
        for problem, at, design in zip(problems, solutions, designs, strict=True)
    ]


def _design(model: DiagonalModel, law: Law) -> Design | None:
    """The correlated design at its effective ridge; None for independent columns."""
    if model.spectrum is None:
        return None
    spectrum = np.array(model.spectrum)
    active = float(law.weight[law.scale > 0.0].sum())
    most = min(model.alpha, active, 1.0)
    if most == model.alpha == 1.0 and model.mu == 0.0:
        return None  # least squares at the threshold, which no spectrum changes
    exact = design_with_dof(spectrum, most, model.alpha)
    if model.mu == 0.0:
        return exact

    def excess(log_odds: float) -> float:
        dof = most / (1.0 + math.exp(log_odds))
        channel = design_with_dof(spectrum, dof, model.alpha).channel(model.noise, model.mu)
        alpha, noise, mu = ([v] for v in channel)
        at = solve_laws([law], alpha=alpha, noise=noise, mu=mu)[0]
        return float(at.dof) - dof

    from scipy.optimize import brentq

    low, high = -2.0, 2.0
    while excess(low) > 0.0 and low > -60.0:
        low -= 4.0
    while excess(high) < 0.0 and high < 600.0:
        high += 4.0
    log_odds = brentq(excess, low, high, xtol=1e-14, rtol=1e-14)
    return design_with_dof(spectrum, most / (1.0 + math.exp(log_odds)), model.alpha)


def _theory(model: DiagonalModel, law: Law, at: Any, design: Design | None) -> DiagonalTheory:
    status = Status(at.status)
    groups = len(law.group_names)
    share = np.bincount(law.group, law.weight, groups).astype(np.float64)
    residual, test_error = at.residual, at.mse + model.noise**2
    if model.mu > 0.0:
        train = model.mu**2 * at.tau / (model.alpha * at.effective_mu**2)
    elif at.effective_mu == 0.0:  # least squares: residual of n samples with D coefficients
        train = _least_squares_residual(model, law)
    else:
        train = 0.0
    if design is not None and math.isfinite(at.mse):
        test_error = design.test_error(at.mse, at.tau, model.noise)
        if model.mu > 0.0 or at.effective_mu == 0.0:
            train = design.train_error(at.mse, at.tau, model.noise)
        residual = max(residual, abs(at.dof - design.df1) / model.alpha)
    return DiagonalTheory(
        model=model,
        status=status,
        n_iter=at.n_iter,
        residual=residual,
        message=status.sentence,
        mse=at.mse,
        test_error=test_error,
        train_error=train,
        tau=at.tau,
        effective_mu=at.effective_mu,
        dof=at.dof,
        forgetting=float(law.weight @ at.drift_of),
        null_mse=law.null_mse,
        group_names=law.group_names,
        group_weight=share,
        group_mse=np.bincount(law.group, law.weight * at.mse_of, groups) / share,
        group_forgetting=np.bincount(law.group, law.weight * at.drift_of, groups) / share,
        quadrature_error=at.quadrature_error,
    )


def _least_squares_residual(model: DiagonalModel, law: Law) -> float:
    frozen = law.scale == 0.0
    lost = float(law.weight[frozen] @ (law.mean[frozen] ** 2 + law.var[frozen]))
    free = float(law.weight[~frozen].sum())
    return (model.noise**2 + lost) * (1.0 - free / model.alpha)
