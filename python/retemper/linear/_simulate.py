"""The finite-size experiment behind `solve`, and the comparison of the two."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from retemper._control import OnFailure, Progress
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, replica_generator, stream_key
from retemper._repeats import run_repeats
from retemper._results import Comparison, Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_integer, check_kind
from retemper.linear._runs import Run, measured, new_key, source_task, stacked, target_task
from retemper.linear._simulate_sources import source_samples
from retemper.linear.deep.flow import shared_trunk_flow
from retemper.linear.deep.trunk import is_trunk
from retemper.linear.eigenbasis import Problem, prepare
from retemper.linear.entries import Entries, check_law, core_law, draw_entries, name_of
from retemper.linear.model import LinearModel
from retemper.linear.sources import are_fitted
from retemper.linear.theory import check_depth, solve

__all__ = ["LinearSimulation", "compare", "simulate"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LinearSimulation(Result):
    """Means over independent finite-size experiments (see `simulate`), named as in `LinearTheory`.

    Risks are excess risks, exact for each fit and summed over outputs.

    Parameters
    ----------
    status : Status
        ``"converged"``: every fit is in closed form.
    n_iter : int
        As ``n_repeats``.
    residual : float
        Zero.
    message : str
        The status in words.
    model : LinearModel
        What was simulated.
    n_repeats : int
        Number of experiments: each draws its own data, and its own source if that is finite.
    entries : str
        Law of the whitened inputs: its name, or that of the function that drew them.
    risk : float
        Fine-tuning from the source.
    bias, variance : float
        Risk of the fit without label noise (same inputs, same ``source_scale``), and what the
        noise alone adds; their sum is the mean risk up to sampling error.
    effective_ridge, df1, df2 : float
        Effective ridge and degrees of freedom, from the eigenvalues of the sample's Gram matrix;
        with classes of rows those of the covariance at the sample's ``df1``.
    source_scale : float or ndarray of shape (n_outputs,)
        Scale with which the source enters: that of the model at depth 1, or the best in theory,
        one per output in a deep network.
    risk_scratch : float
        The same training from zero.
    optimal_scale, risk_optimal : float
        The one scale of the source with the smallest mean risk, and that risk.
    risk_zero_shot : float
        The source as it is.
    training_error : float
        Mean squared residual of the rows that were fitted; zero without rows.
    stderr : mapping of str to float
        Standard error of each of these means; of the two optimal quantities by the delta method.
    samples : mapping of str to ndarray of shape (n_repeats,) or (n_repeats, n_outputs)
        The values of every experiment.
    mixing_weights : ndarray of shape (n_sources,) or None
        Mean weights of several sources; ``risk_optimal`` is of the mixture, and where training
        chooses its weights of the one with the best in theory.

    See Also
    --------
    simulate, LinearTheory

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, simulate
    >>> sample = simulate(LinearModel(20, np.ones(40), noise=0.5), n_repeats=20, random_state=0)
    >>> bool(abs(sample.risk - 20.5) < 3)
    True
    """

    model: LinearModel
    n_repeats: int
    entries: str
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
    training_error: float
    stderr: Mapping[str, Any]
    samples: Mapping[str, FloatArray]
    mixing_weights: FloatArray | None = None


def simulate(
    model: LinearModel,
    *,
    n_repeats: int = 50,
    entries: Entries = "gaussian",
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> LinearSimulation:
    r"""Draw data from a model, fine-tune, and measure the risk of the result.

    Each repeat draws inputs :math:`x = Q \Lambda^{1/2} z`, with :math:`\Sigma = Q \Lambda Q^\top`
    and independent entries of mean 0 and variance 1 in z, Gaussian label noise, and, where the
    source is finite, a source sample and its ridge or minimum-norm fit. It then fits the target
    (ridge, minimum norm, or the deep network of `deep_fit`; several outputs on one trunk are
    trained by `shared_trunk_flow`) and evaluates
    :math:`(w - \theta)^\top \Sigma (w - \theta)`.

    Parameters
    ----------
    model : LinearModel
        The problem.
    n_repeats : int, default=50
        Number of independent repeats, at least 2.
    entries : {"gaussian", "rademacher", "student"} or callable, default="gaussian"
        Law of the entries of z: normal, random signs, Student's t with 5 degrees of freedom at
        unit variance, or a function ``(rng, size) -> array`` that draws an array of shape ``size``
        from a NumPy generator, with mean 0 and variance 1. The asymptotic theory is the same for
        all whose entries are independent and not too heavy; see Notes. A function is called from
        as many threads as ``n_jobs`` says.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed. Repeat r depends on the seed and on r alone.
    n_jobs : int or None, default=None
        Threads, one repeat each. Never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (done, total) every 50 ms; raise in it to stop.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about a fit that did not converge; as every fit is in closed form, there is none.

    Returns
    -------
    LinearSimulation
        Means, standard errors and the values of all repeats.

    Raises
    ------
    ValueError
        If an argument is outside its domain, ``entries`` draws what has another mean, variance or
        shape, or does not follow from its generator alone, a deep network has a ridge that `solve`
        refuses, or a negative ridge is beyond the smallest eigenvalue of a sample.

    See Also
    --------
    solve, compare

    Notes
    -----
    After the setting of Shachaf et al. (2021); the measured quantities are derived here
    (`derivations/linear#risk-of-a-fixed-source`).

    The theory fails where the squared norms of rows do not concentrate: entries of a row that share
    a random scale (use ``row_shares`` and ``row_scale`` of the model), few non-zero entries in a
    row, or tails so heavy that single entries make up the norm.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, simulate, solve
    >>> teacher = np.ones(100) / 10
    >>> model = LinearModel(50, teacher, source_coef=0.5 * teacher, noise=0.1)
    >>> found = simulate(model, n_repeats=200, random_state=0)
    >>> gap = abs(found.risk - solve(model).risk)
    >>> bool(gap < 3 * found.stderr["risk"] + 0.03 * found.risk)
    True
    """
    progress = as_callback(progress, "simulate")
    check_kind(model, "model", LinearModel)
    n_repeats = check_integer(n_repeats, "n_repeats", low=2)
    check_law(entries)
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    ridge, scale, weights = model.ridge, model.source_scale, model.mixing_weights
    mixed = model.sources is not None
    if isinstance(ridge, str) or isinstance(scale, str) or (mixed and isinstance(weights, str)):
        best = solve(model, on_failure="ignore")
        ridge = best.used_ridge if isinstance(ridge, str) else ridge
        scale = float(best.source_scale) if isinstance(scale, str) else scale
        if are_fitted(weights):  # they are compared with the best ones at the same ridge
            other = dataclasses.replace(model, ridge=ridge, mixing_weights="optimal")
            best = solve(other, on_failure="ignore")
        weights = weights if best.mixing_weights is None else best.mixing_weights
    check_depth(model, np.asarray(ridge))
    problem = prepare(model)
    run = Run(model, ridge, scale, entries, stream_key(random_state))
    if is_trunk(model):
        samples = _trunk_samples(run, problem, n_repeats, (n_jobs, progress))
    elif model.sources is not None:
        assert not isinstance(weights, str)
        samples = source_samples(run, problem, weights, n_repeats, (n_jobs, progress))
    else:
        samples = _core_samples(run, problem, n_repeats, (n_jobs, progress))
    means: dict[str, Any] = {}
    stderr: dict[str, Any] = {}
    for name, values in samples.items():
        if name not in ("cross", "spread"):
            means[name], stderr[name] = _mean(values)
    _add_optimum(means, stderr, samples, model.depth != 1 and ridge > 0.0)
    return LinearSimulation(
        model=model,
        n_repeats=n_repeats,
        entries=name_of(entries),
        **means,
        stderr=stderr,
        samples=samples,
        status=Status.CONVERGED,
        n_iter=n_repeats,
        residual=0.0,
        message=Status.CONVERGED.sentence,
    )


def _core_samples(
    run: Run, problem: Problem, n_repeats: int, how: tuple[int | None, Progress | None]
) -> dict[str, FloatArray]:
    """What every repeat measures, with all fits in closed form."""
    if callable(run.entries):  # its rows are drawn here, repeat after repeat

        def repeat(r: int, progress: Progress) -> dict[str, Any]:
            rng = replica_generator(run.key, r, _GIVEN)
            found = _core_run(run, problem, 1, (1, progress), rng)
            return {name: value[0] for name, value in found.items()}

        return stacked(run_repeats(repeat, n_repeats, n_jobs=how[0], progress=how[1]))
    return _core_run(run, problem, n_repeats, how)


def _core_run(
    run: Run,
    problem: Problem,
    n_repeats: int,
    how: tuple[int | None, Progress | None],
    rng: np.random.Generator | None = None,
) -> dict[str, FloatArray]:
    key = run.key if rng is None else new_key(rng)
    source = source_task(run, problem, rng)
    found = core.linear.simulate(
        target_task(run, problem, rng),
        source,
        depth=float(run.model.depth),
        source_scale=run.scale,
        entries=core_law(run.entries),
        key=key,
        n_repeats=n_repeats,
        n_threads=effective_n_threads(how[0]),
        progress=how[1],
    )
    return measured(run, problem, found)


#: Purpose of the streams of rows whose law is a function.
_GIVEN = 9
#: Purpose of the streams of networks that are trained.
_TRUNK = 6


def _trunk_samples(
    run: Run, problem: Problem, n_repeats: int, how: tuple[int | None, Progress | None]
) -> dict[str, FloatArray]:
    """What every repeat measures of a network whose outputs share a trunk, trained by its flow."""
    model, s, target = run.model, problem.spectrum, problem.target
    n, d, outputs = model.n_samples, s.size, len(target)
    rank, source = int(np.count_nonzero(s)), run.scale * problem.fixed

    def inner(a: FloatArray, b: FloatArray) -> float:
        return float(((a * s) * b).sum())

    def repeat(r: int, _: Progress) -> dict[str, Any]:
        rng = replica_generator(run.key, r, _TRUNK)
        X = draw_entries(rng, run.entries, (n, d)) * np.sqrt(s)
        heard_labels = model.noise * rng.normal(size=(n, outputs))
        labels = X @ target.T + heard_labels
        free = np.zeros_like(target)  # the end of training outside the span of the rows
        left = 1.0 if n < rank else 0.0
        inverse = np.linalg.pinv(X, rtol=1e-12)
        heard = (inverse @ heard_labels).T

        def outside(vectors: FloatArray) -> FloatArray:
            return left * (vectors - (vectors @ inverse) @ X)

        if n == 0:
            free = source
        elif n < rank:
            end = shared_trunk_flow(
                X, labels, source, depth=int(model.depth), tol=1e-7, on_failure="raise"
            )
            free = outside(end.coef)
        missed, brought = outside(target), outside(problem.fixed)
        silent, scratch = free - missed, heard - missed
        error, mixing = silent + heard, free @ np.linalg.pinv(outside(source))
        square = np.square(np.linalg.svd(X, compute_uv=False)) if 0 < n < rank else np.ones(1)
        trace = float((1.0 / square).sum())
        one: dict[str, Any] = {
            "risk": inner(error, error),
            "bias": inner(silent, silent),
            "variance": inner(heard, heard),
            "effective_ridge": math.inf if n == 0 else 1.0 / trace if n < rank else 0.0,
            "df1": float(min(n, rank)),
            "df2": n - trace**2 / float((1.0 / square**2).sum()) if 0 < n < rank else min(n, rank),
            "risk_scratch": inner(scratch, scratch),
            "risk_zero_shot": inner(source - target, source - target),
            "cross": inner(scratch, brought),
            "spread": inner(brought, brought),
            "training_error": 0.0,
            "source_scale": run.scale * (np.diag(mixing) if n < rank else np.ones(outputs)),
        }
        if n >= rank:
            fit = (inverse @ labels).T
            one["training_error"] = float(np.square(labels - X @ fit.T).sum()) / n
        return one

    return stacked(run_repeats(repeat, n_repeats, n_jobs=how[0], progress=how[1]))


def _mean(values: FloatArray) -> tuple[Any, Any]:
    """Mean over the first axis and its standard error, which is 0 for a constant."""
    if (values == values[0]).all():
        return values[0], np.zeros_like(values[0])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _add_optimum(
    means: dict[str, Any],
    stderr: dict[str, Any],
    samples: Mapping[str, FloatArray],
    own_ridge: bool,
) -> None:
    """Minimum over c of the mean of scratch + 2 c cross + c^2 spread."""
    cross, spread, used = (samples[name] for name in ("cross", "spread", "source_scale"))
    scratch = samples["risk_scratch"]
    if own_ridge:  # the network from zero has another effective ridge
        scratch = samples["risk"] - 2.0 * used * cross - used**2 * spread
    total = float(spread.mean())
    scale = -float(cross.mean()) / total if total > 0.0 else 1.0
    error = scratch + 2.0 * scale * cross + scale**2 * spread
    means["risk_optimal"], stderr["risk_optimal"] = _mean(error)
    means["optimal_scale"] = scale
    slope = (cross + scale * spread) / total if total > 0.0 else np.zeros_like(cross)
    stderr["optimal_scale"] = _mean(slope)[1]


#: What `compare` compares. The effective ridge, df1 and df2 vary less between samples than their
#: 1 / n correction, so that a z-score says nothing.
_COMPARED = (
    "risk",
    "bias",
    "variance",
    "source_scale",
    "risk_scratch",
    "optimal_scale",
    "risk_optimal",
    "risk_zero_shot",
    "training_error",
)


def compare(
    model: LinearModel,
    *,
    n_repeats: int = 50,
    entries: Entries = "gaussian",
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory against simulation, with z-scores.

    Parameters
    ----------
    model : LinearModel
        The problem.
    n_repeats : int, default=50
        Number of independent repeats, at least 2.
    entries : {"gaussian", "rademacher", "student"} or callable, default="gaussian"
        Law of the whitened inputs, as in `simulate`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    progress : None, bool, callable or object, default=None
        Called with (done, total) every 50 ms; raise in it to stop.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do where a predicted risk is infinite.

    Returns
    -------
    Comparison
        Every quantity that varies between repeats (a fixed source has the same zero-shot risk in
        all of them, for instance), but not ``effective_ridge``, ``df1`` and ``df2``, which vary
        less between repeats than their correction of order 1 / n. The theory is exact for many
        samples and dimensions; at finite size it is off by a relative amount of order 1 / n, which
        many repeats resolve.

    Raises
    ------
    ValueError
        As `simulate` and `solve`.

    See Also
    --------
    solve, simulate, retemper.compare

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, compare
    >>> model = LinearModel(50, np.ones(100) / 10, noise=0.1)
    >>> comparison = compare(model, n_repeats=100, random_state=0)
    >>> comparison.names
    ('risk', 'bias', 'variance', 'risk_scratch', 'risk_optimal')
    >>> bool(abs(comparison.z[0]) < 4)
    True
    """
    progress = as_callback(progress, "compare")
    simulation = simulate(
        model,
        n_repeats=n_repeats,
        entries=entries,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
        on_failure=on_failure,
    )
    theory = solve(model, on_failure=on_failure)
    names = [
        name
        for name in _COMPARED
        if np.all(np.asarray(simulation.stderr[name]) > 1e-12 * np.abs(getattr(simulation, name)))
        and not np.any(np.isnan(getattr(theory, name)))
    ]
    if model.n_outputs > 1 and "source_scale" in names:
        names.remove("source_scale")  # one per output
    return Comparison.of(theory, simulation, names)
