r"""Exact asymptotic risk of fine-tuning with linear teachers.

All equations hold in the limit of many dimensions and samples for inputs :math:`x = \Sigma^{1/2} z`
with independent standard entries (universality), and are accurate to :math:`O(1/n)` at finite size.
For a zero source they are the known ridgeless and ridge asymptotics (Hastie et al. 2022); the shift
to a source, finite sources and depth are derived here
(`derivations/linear#risk-of-a-fixed-source`), after Shachaf et al. (2021).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status, Sweep, read_axes, report_points, stack_points
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_kind
from retemper.exceptions import ValidityWarning
from retemper.linear.deep.trunk import check_trunk, is_trunk
from retemper.linear.eigenbasis import Problem, prepare, source_law
from retemper.linear.mixing import evaluate_sources, sources_ridge, with_laws
from retemper.linear.model import SCALARS, LinearModel
from retemper.linear.points import Points
from retemper.linear.risks import FAST, QUANTITIES, best_ridge, evaluate, evaluate_trunk
from retemper.linear.rows import ClassRoots, row_classes
from retemper.linear.sources import are_fitted
from retemper.linear.stochastic import largest_step_size

__all__ = ["LinearTheory", "curve", "solve"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LinearTheory(Result):
    r"""Predicted risks of a `LinearModel`; all are excess risks, summed over outputs (see `solve`).

    Parameters
    ----------
    status : Status
        ``invalid`` where a risk is infinite (``n_samples`` or
        ``n_samples_source`` equals the rank, with noise), or grows with every step (``step_size``).
    n_iter : int
        Passes over the spectrum.
    residual : float
        Relative residual of the equation of ``effective_ridge``.
    message : str
        What happened, in words.
    model : LinearModel
        What was solved.
    risk : float
        Fine-tuning from the source; ``bias + variance``.
    bias, variance : float
        The parts without and with the target's label noise.
    effective_ridge, df1, df2 : float
        Effective ridge and degrees of freedom of the target problem (see `effective_ridge`), at
        the end of training.
    source_scale : float or ndarray of shape (n_outputs,)
        Scale c with which the source enters: that of the model at depth 1, one per output in a
        deep network; on a shared trunk the diagonal of what mixes them (`shared_trunk_risk`).
    risk_scratch : float
        The same training from a zero source.
    optimal_scale : float
        Scale of the source with the smallest risk (1 where the scale does not matter). It is the
        effective scale: compare it with ``source_scale``.
    risk_optimal : float
        Risk at ``optimal_scale`` and the same ``effective_ridge``; never above ``risk_scratch``,
        but in a deep network with ridge, where that has an effective ridge of its own.
    risk_zero_shot : float
        The source at the scale of the model, without target data.
    risk_bound : float
        Top-k/tail upper bound on ``risk``; infinite where training stops early or is stochastic.
    bound_k : int
        Number of leading eigenvalues in the best bound; -1 where there is none.
    used_ridge : float
        The ridge of all of the above: the model's, or the best if it is "optimal".
    training_error : float
        Mean squared residual of the rows, label noise included and row weights of mean one; zero
        without rows. NaN after one pass of stochastic descent, where it is not known.
    mixing_weights : ndarray of shape (n_sources,) or None
        Weights with which several sources are added up before training: those of the model, the
        best, or the mean of those that training chooses. ``optimal_scale`` and ``risk_optimal``
        are then of the mixture; where training chooses, of the one with the best weights, and
        ``risk_zero_shot`` is NaN.

    See Also
    --------
    solve, LinearSimulation

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, solve
    >>> theory = solve(LinearModel(50, np.ones(100) / 10, noise=0.1))
    >>> round(theory.bias, 9), round(theory.variance, 9), round(theory.risk, 9)
    (0.5, 0.01, 0.51)
    """

    model: LinearModel
    risk: float
    bias: float
    variance: float
    effective_ridge: float
    df1: float
    df2: float
    source_scale: Any
    risk_scratch: float
    optimal_scale: float
    risk_optimal: float
    risk_zero_shot: float
    risk_bound: float
    bound_k: int
    used_ridge: float
    training_error: float
    mixing_weights: FloatArray | None = None


def check_depth(model: LinearModel, ridge: FloatArray) -> None:
    """Refuse what is not known of deep networks: some ridges, some sources on a trunk."""
    depth, n_outputs = model.depth, model.n_outputs
    if is_trunk(model):
        check_trunk(model, ridge)
        return
    if depth == 1 or not (ridge != 0.0).any():
        return
    worst = ridge[ridge != 0.0].min()  # NaN where the best is asked for
    given = "optimal" if np.isnan(worst) else f"{worst:g}"
    if math.isinf(depth):
        raise ValueError(f"ridge must be 0 at depth inf, got {given}")
    if worst < 0.0:
        raise ValueError(f"ridge must not be negative at depth {depth:g}, got {given}")
    if n_outputs > 1:
        raise ValueError(
            f"ridge must be 0 at depth {depth:g} with {n_outputs} outputs, got {given}: each would "
            "have an effective ridge of its own; solve them one by one"
        )


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """Quantities at some points, each of shape (k,) or (k, n_scales), and how each was found."""

    values: dict[str, NDArray[Any]]
    root: core.linear.EffectiveRidge | ClassRoots
    unstable: tuple[str, ...]  # why the risk grows with every step, at every point

    @cached_property
    def status(self) -> list[Status]:
        infinite = np.isinf(self.values["risk"]) | np.array([bool(text) for text in self.unstable])
        return [
            Status.INVALID if bad else Status.from_core(int(code))
            for bad, code in zip(infinite, self.root.status, strict=True)
        ]

    def message(self, k: int) -> str:
        """What happened at a point, in words."""
        status = self.status[k]
        if status is not Status.INVALID:
            return status.sentence
        if self.unstable[k]:
            return self.unstable[k]
        where = "n_samples" if math.isinf(self.values["variance"][k]) else "n_samples_source"
        return (
            f"the risk is infinite: {where} equals the rank of its covariance, with label noise "
            "and without ridge"
        )

    def point(self, k: int) -> dict[str, Any]:
        """Fields of `LinearTheory` at a point."""
        fields = {name: value[k] for name, value in self.values.items()}
        scale = fields.pop("source_scale")
        mixed = {name: fields.pop(name) for name in ("mixing_weights",) if name in fields}
        numbers = {name: value.item() for name, value in fields.items()}
        return numbers | mixed | {"source_scale": float(scale[0]) if scale.size == 1 else scale}


def _evaluate_model(
    model: LinearModel, problem: Problem, points: tuple[FloatArray, ...], n_threads: int
) -> _Evaluation:
    """Everything about a model at other sample sizes, ridges and noises, (k,) each."""
    n_samples, ridge, noise = points
    check_depth(model, ridge)
    source = source_law(problem, model.n_samples_source, model.noise_source, model.ridge_source)
    sources = None if model.sources is None else with_laws(problem, model)
    if math.isfinite(model.stop_time) and (ridge != 0.0).any():
        raise ValueError("a finite stop_time needs ridge 0")
    if model.step_size is not None and (ridge != 0.0).any():
        raise ValueError("step_size needs ridge 0")
    if are_fitted(model.mixing_weights) and (ridge < 0.0).any():
        raise ValueError(
            f'ridge must not be negative with mixing_weights="fitted", got {ridge.min():g}'
        )
    if model.row_shares is not None and (ridge < 0.0).any():
        raise ValueError(f"ridge must not be negative with row_shares, got {ridge.min():g}")
    where = Points(
        n_samples,
        ridge,
        noise,
        model.depth,
        n_threads,
        model.stop_time,
        _number(model.source_scale),
        row_classes(model),
        model.step_size,
        model.batch_size,
        model.n_passes,
    )
    free = np.isnan(ridge)
    if free.any():
        some = where._replace(n_samples=n_samples[free], ridge=ridge[free], noise=noise[free])
        where = where._replace(ridge=np.where(free, 0.0, ridge))
        where.ridge[free] = (
            best_ridge(problem, source, some)
            if sources is None
            else sources_ridge(problem, sources, model, some)
        )
    unstable = [""] * n_samples.size
    if model.step_size is not None:
        again = model.n_passes is not None
        for k, n in enumerate(n_samples):
            limit = largest_step_size(
                problem.spectrum,
                batch_size=model.batch_size,
                n_samples=float(n) if again and n > 0.0 else None,
            )
            if model.step_size >= limit:
                unstable[k] = (
                    f"step_size = {model.step_size:g} is not below {limit:g}, from where the mean "
                    "risk grows with every step"
                )
        where = where._replace(grows=np.array([bool(text) for text in unstable]))
    if is_trunk(model):
        return _Evaluation(*evaluate_trunk(problem, source, where, model), tuple(unstable))
    if sources is not None:
        found = evaluate_sources(problem, sources, where, model)
        return _Evaluation(*found, tuple(unstable))
    return _Evaluation(*evaluate(problem, source, where), tuple(unstable))


def solve(model: LinearModel, *, on_failure: OnFailure = "warn") -> LinearTheory:
    r"""Exact asymptotic risk of fine-tuning, and of its alternatives.

    With :math:`\kappa` the `effective_ridge`, :math:`M = \kappa^2 (\Sigma+\kappa)^{-1} \Sigma
    (\Sigma+\kappa)^{-1}` (:math:`\Sigma` at n = 0) and the source used at scale c,

    .. math:: R(c) = \frac{(\theta_T - c v)^T M (\theta_T - c v) + c^2 e + \sigma^2\,
        \mathrm{df}_2/n}{1 - \mathrm{df}_2/n},

    where v is the source, or its mean :math:`(\Sigma_S+\kappa_S)^{-1} \Sigma_S \theta_S` if it is
    itself learned from ``n_samples_source`` samples, and e is the spread of such a source in M,
    :math:`(b_S + \sigma_S^2) \operatorname{tr}[M (\Sigma_S+\kappa_S)^{-1} \Sigma_S
    (\Sigma_S+\kappa_S)^{-1}] / (n_S - \mathrm{df}_{2,S})`. A deep network has the c of
    `deep_scale`, whose arguments concentrate. Rows of several classes change :math:`\kappa`,
    :math:`\mathrm{df}_2/n` and :math:`\sigma^2` (`derivations/linear#rows-that-are-not-alike`);
    training that stops early or is stochastic has another M and another variance
    (`derivations/linear#training-that-stops`, `derivations/linear#one-pass-of-stochastic-descent`,
    `derivations/linear#several-passes-of-stochastic-descent`).

    Parameters
    ----------
    model : LinearModel
        The problem. Covariances need not commute.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do where a risk is infinite.

    Returns
    -------
    LinearTheory
        Risks, their parts, and the best scale of the source.

    Raises
    ------
    ValueError
        If a covariance is not positive semi-definite, or a ridge is below its limit: at depth
        above 1 it may not be negative, and must be 0 at infinite depth or with several outputs;
        or if several outputs share a trunk and the depth is infinite, or their source is learned
        or of lower rank.
    NumericalError
        If ``on_failure="raise"`` and a risk is infinite.

    Warns
    -----
    ValidityWarning
        If a risk is infinite: ``n_samples`` (or ``n_samples_source``) equals the rank of the
        covariance, with noise and without ridge. If ``step_size`` is not below
        `largest_step_size`: the mean risk grows with every step; of several passes it is then
        given as infinite.

    See Also
    --------
    simulate, compare, curve, largest_step_size

    Notes
    -----
    For a zero source the risk is the one of [2]_; the source, its finite sample, the best scale,
    the bound, depth and the best ridge are derived here
    (`derivations/linear#a-source-that-was-learned`), after [1]_.

    References
    ----------
    .. [1] G. Shachaf, A. Brutzkus and A. Globerson, "A Theoretical Analysis of Fine-tuning with
       Linear Teachers", NeurIPS 34 (2021).
    .. [2] T. Hastie, A. Montanari, S. Rosset and R. J. Tibshirani, "Surprises in High-Dimensional
       Ridgeless Least Squares Interpolation", Ann. Statist. 50 (2022) 949-986.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, solve
    >>> teacher = np.ones(100) / 10
    >>> theory = solve(LinearModel(50, teacher, source_coef=0.5 * teacher, noise=0.1))
    >>> round(theory.risk, 9), round(theory.risk_scratch, 9)
    (0.135, 0.51)
    >>> best = solve(
    ...     LinearModel(50, teacher, source_coef=0.5 * teacher, noise=0.1, ridge="optimal")
    ... )
    >>> round(best.used_ridge, 4), round(best.risk, 6)
    (0.08, 0.133699)
    """
    check_kind(model, "model", LinearModel)
    points = np.array([[_number(getattr(model, name))] for name in FAST])
    found = _evaluate_model(model, prepare(model), tuple(points), 1)
    status, message = found.status[0], found.message(0)
    result = LinearTheory(
        model=model,
        status=status,
        n_iter=int(found.root.n_iter[0]),
        residual=float(found.root.residual[0]),
        message=message,
        **found.point(0),
    )
    what = f"solve: {message}:" if status is Status.INVALID else "solve"
    report_status(status, result.residual, what, on_failure=on_failure)
    return result


def _number(value: float | str) -> float:
    """A field as a number; NaN stands for a ridge that is still to be found."""
    return math.nan if value == "optimal" else float(value)


def curve(
    model: LinearModel,
    axes: Mapping[str, Iterable[Any]],
    *,
    quantities: Sequence[str] | None = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> Sweep:
    """Solve a model over a grid of its fields.

    Points that differ in ``n_samples``, ``ridge`` and ``noise`` are solved together, and
    covariances are factorised once for all points that share them.

    Parameters
    ----------
    model : LinearModel
        What every point has in common.
    axes : mapping of str to iterable
        Values of any fields of the model, vectors and matrices too; the grid is their product.
    quantities : sequence of str or None, default=None
        Fields of `LinearTheory` to keep; None keeps all quantities.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points with an infinite risk: one warning for all, an error, or nothing.
    progress : None, bool, callable or object, default=None
        Called with (points done, points).

    Returns
    -------
    Sweep
        The quantities, ``status``, and ``valid``. Where outputs have scales of their own,
        ``source_scale`` has one more axis.

    Raises
    ------
    ValueError
        If a name is not a field of the model or a quantity, an axis is empty, or a value is
        outside its domain.
    NumericalError
        If ``on_failure="raise"`` and a risk is infinite.

    Warns
    -----
    ValidityWarning
        If a risk is infinite.

    See Also
    --------
    solve, TransferPhaseDisplay

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, curve
    >>> model = LinearModel(1, np.ones(100), source_coef=0.9 * np.ones(100))
    >>> sweep = curve(model, {"n_samples": [20, 40, 60]})
    >>> sweep["risk"].round(9).tolist()
    [0.8, 0.6, 0.4]
    """
    progress = as_callback(progress, "curve")
    check_kind(model, "model", LinearModel)
    known: tuple[str, ...] = QUANTITIES
    if model.sources is not None and "sources" not in axes:
        known = (*QUANTITIES, "mixing_weights")
    names = list(known if quantities is None else quantities)
    for name in names:
        check_choice(name, "quantities", known)
    grid, n_threads = read_axes(model, axes), effective_n_threads(n_jobs)
    order = list(grid.values)
    slow = [name for name in order if name not in FAST]
    fast = {
        name: [_number(SCALARS[name](v)) for v in grid.values[name]]
        for name in FAST
        if name in order
    }
    mesh = np.meshgrid(*fast.values(), indexing="ij") if fast else []
    size = math.prod(len(v) for v in fast.values())
    at = dict(zip(fast, (m.ravel() for m in mesh), strict=True))
    points = tuple(at.get(name, np.full(size, _number(getattr(model, name)))) for name in FAST)

    results = np.empty(grid.shape, dtype=object)
    messages = np.empty(grid.shape, dtype=object)
    # the axes of the fast fields last, in the order of the mesh
    place = [order.index(name) for name in (*slow, *fast)]
    ordered, said = results.transpose(place), messages.transpose(place)
    problem: Problem | None = None
    arrays: tuple[Any, ...] = ()
    total, done = results.size, 0
    for index in itertools.product(*(range(len(grid.values[name])) for name in slow)):
        change = {name: grid.values[name][i] for name, i in zip(slow, index, strict=True)}
        one = dataclasses.replace(model, **change) if change else model
        given = tuple(change.get(name) for name in _FACTORISED)
        if problem is None or any(a is not b for a, b in zip(given, arrays, strict=True)):
            problem, arrays = prepare(one), given
        found = _evaluate_model(one, problem, points, n_threads)
        status = found.status
        inner = [len(v) for v in fast.values()]
        for k, spot in enumerate(np.ndindex(*inner)):
            fields = found.point(k)
            if model.n_outputs > 1:  # one scale for each output at every depth
                fields["source_scale"] = np.broadcast_to(fields["source_scale"], one.n_outputs)
            ordered[(*index, *spot)] = SimpleNamespace(status=status[k], **fields)
            valid = status[k] is Status.CONVERGED
            said[(*index, *spot)] = "" if valid else found.message(k)
        done += size
        if progress is not None:
            progress(done, total)
    texts = messages.ravel().tolist()
    report_points(grid, texts, ValidityWarning, on_failure=on_failure, stacklevel=3)
    return stack_points(grid, results.ravel().tolist(), names, texts)


#: Fields whose change asks for another factorisation.
_FACTORISED = (
    "theta_target",
    "spectrum",
    "cov",
    "source_coef",
    "theta_source",
    "cov_source",
    "sources",
)
