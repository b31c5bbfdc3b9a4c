"""The matched finite-size experiment, and its comparison with the theory."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from retemper._control import OnFailure, Progress, report_status
from retemper._progress import ProgressLike, as_callback
from retemper._random import Seed, replica_generator, stream_key
from retemper._repeats import mean_and_stderr, run_repeats
from retemper._results import Comparison, Result, Status
from retemper._validation import FloatArray, check_integer, check_kind, check_memory
from retemper.diagonal.channel import channel_estimate
from retemper.diagonal.design import resampled, rotated_channel, rotated_rows
from retemper.diagonal.flow import gradient_flow
from retemper.diagonal.interpolate import minimum_penalty
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.network import (
    NetworkWeights,
    effective_scale,
    pretrained_weights,
    reset_readout,
    train_network,
)
from retemper.diagonal.scales import finetune_centre, finetune_scale
from retemper.diagonal.theory import QUANTITIES, solve


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DiagonalSimulation(Result):
    """Averages over independent experiments (see `simulate`); names as in `DiagonalTheory`.

    Parameters
    ----------
    status : Status
        How the computation ended.
    n_iter : int
        Most Newton steps of an experiment.
    residual : float
        Largest relative residual of an experiment.
    message : str
        What happened, in words.
    model : DiagonalModel
        The problem.
    n_features, n_samples, n_repeats : int
        Size of an experiment and how many were run.
    mse, test_error, train_error, tau, effective_mu, dof, forgetting : float
        Means over experiments; ``tau``, ``effective_mu`` and ``dof`` are estimated from each fit.
    group_names : tuple of str
        Groups of the law.
    group_weight, group_mse, group_forgetting : ndarray of shape (n_groups,)
        Share of a group and means over its coefficients.
    stderr : mapping of str to float
        Standard errors of the means.
    samples : mapping of str to ndarray of shape (n_repeats,)
        The value of every mean in every experiment.

    See Also
    --------
    simulate, DiagonalTheory

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate
    >>> sample = simulate(DiagonalModel(0.3), n_features=100, n_repeats=4)
    >>> sample.n_samples, bool(sample.mse > 0)
    (30, True)
    """

    model: DiagonalModel
    n_features: int
    n_samples: int
    n_repeats: int
    mse: float
    test_error: float
    train_error: float
    tau: float
    effective_mu: float
    dof: float
    forgetting: float
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    stderr: Mapping[str, float]
    samples: Mapping[str, FloatArray]


def component_counts(parts: tuple[Component, ...], n_features: int) -> list[int]:
    """Features of each component: rounded so that they add up (largest remainders)."""
    exact = np.array([p.weight for p in parts]) * n_features
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n_features - int(counts.sum())]] += 1
    return [int(k) for k in counts]


def _stratified_normal(count: int, rng: np.random.Generator) -> FloatArray:
    """Standard normal variates, one in each of `count` equally probable intervals, shuffled."""
    from scipy.special import ndtri

    return np.asarray(ndtri(_stratified(count, rng)))


def _stratified(count: int, rng: np.random.Generator) -> FloatArray:
    return np.asarray((rng.permutation(count) + rng.random(count)) / max(count, 1))


def _draw(
    parts: tuple[Component, ...], counts: list[int], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Source and target coefficients of one experiment, component after component."""
    source, target = [], []
    for part, count in zip(parts, counts, strict=True):
        b = part.source_mean + np.sqrt(part.source_var) * _stratified_normal(count, rng)
        if part.target_law is not None:
            source.append(b)
            target.append(part.target_law.quantile(_stratified(count, rng)))
            continue
        second = _stratified_normal(count, rng)
        slope = part.covariance / part.source_var if part.source_var else 0.0
        left = np.sqrt(max(part.target_var - slope * part.covariance, 0.0))
        source.append(b)
        target.append(part.target_mean + slope * (b - part.source_mean) + left * second)
    return np.concatenate(source), np.concatenate(target)


class _Run(NamedTuple):
    scalars: dict[str, float]
    wrong: FloatArray  # sums of (fine-tuned - target)^2 and (fine-tuned - source)^2 by component
    moved: FloatArray
    n_iter: int
    residual: float
    status: Status


def report_runs(
    ends: Sequence[tuple[Status, float]], on_failure: OnFailure
) -> tuple[Status, float]:
    """How experiments ended, and their largest residual; failures are reported once for all."""
    residual = max(residual for _, residual in ends)
    failed = [status for status, _ in ends if status is not Status.CONVERGED]
    status = failed[0] if failed else Status.CONVERGED
    what = f"{len(failed)} of {len(ends)} experiments, the first:"
    report_status(status, residual, what, on_failure=on_failure, stacklevel=4)
    return status, residual


def matched_model(model: DiagonalModel, n_samples: int, n_features: int) -> DiagonalModel:
    """The model with the sample ratio and the proportions of an experiment."""
    parts = model.law()
    shares = [k / n_features for k in component_counts(parts, n_features)]
    law = tuple(dataclasses.replace(p, weight=w) for p, w in zip(parts, shares, strict=True))
    return dataclasses.replace(model, alpha=n_samples / n_features, components=law)


class Start(NamedTuple):
    """One experiment before fine-tuning.

    Attributes
    ----------
    rng : numpy.random.Generator
        What the target rows are drawn from.
    target, learned : ndarray of shape (n_features,)
        Coefficients of the target and of the trained source.
    scale : ndarray of shape (n_features,)
        Fine-tuning scales.
    centre : ndarray of shape (n_features,) or None
        Coefficients at the start; None for zero.
    status : Status
        How pre-training ended.
    """

    rng: np.random.Generator
    target: FloatArray
    learned: FloatArray
    scale: FloatArray
    centre: FloatArray | None
    status: Status


def draw_start(
    model: DiagonalModel, n_features: int, key: tuple[int, int], repeat: int, watch: Progress
) -> Start:
    """Draw coefficients and pre-train.

    Parameters
    ----------
    model : DiagonalModel
        The problem.
    n_features : int
        Features D.
    key : tuple of int
        Key of the random stream.
    repeat : int
        Number of the experiment.
    watch : callable
        Called from time to time.

    Returns
    -------
    Start
        What fine-tuning begins from.
    """
    parts = model.law()
    counts = component_counts(parts, n_features)
    rng = replica_generator(key, repeat, 0)
    source, target = _draw(parts, counts, rng)
    learned, status = source, Status.CONVERGED
    if not model.source_is_exact:
        n_pt = max(1, round(model.alpha_pt * n_features))
        X = rng.standard_normal((n_pt, n_features)) / np.sqrt(n_features)
        labels = X @ source + model.noise_pt * rng.standard_normal(n_pt)
        options: dict[str, Any] = {
            "depth": model.depth, "n_jobs": 1, "on_failure": "ignore", "progress": watch,
        }  # fmt: skip
        if np.isfinite(model.time_pt):
            path = gradient_flow(X, labels, model.init_scale, [model.time_pt], **options)
            status = path.status
            learned = path.coef[-1] if len(path.coef) else np.full(n_features, np.nan)
        else:
            pretrained = minimum_penalty(X, labels, model.init_scale, **options)
            learned, status = pretrained.coef, pretrained.status
    scale = np.full(n_features, model.init_scale)
    centre = None
    if model.mode == "reset":
        reset = (learned, model.init_scale, model.balance, model.readout_scale)
        scale = finetune_scale(*reset, rebalance=model.rebalance)
        if model.rebalance == "none":
            centre = finetune_centre(*reset)
    elif model.mode == "warm":
        centre = learned
    return Start(rng, target, learned, scale, centre, status)


def _experiment(
    model: DiagonalModel, n_features: int, key: tuple[int, int], repeat: int, watch: Progress
) -> _Run:
    counts = component_counts(model.law(), n_features)
    rng, target, learned, scale, centre, status = draw_start(model, n_features, key, repeat, watch)
    root = np.sqrt(n_features)
    options: dict[str, Any] = {
        "depth": model.depth, "n_jobs": 1, "on_failure": "ignore", "progress": watch,
    }  # fmt: skip
    n = max(1, round(model.alpha * n_features))
    rows: FloatArray | None = None
    if model.spectrum is None:
        X = rng.standard_normal((n, n_features)) / root
    else:
        spectrum = resampled(np.array(model.spectrum), n_features)
        X, rows = rotated_rows(spectrum, n, rng)
    labels = X @ target + model.noise * rng.standard_normal(n)
    if model.label_noise:
        assert model.step_size is not None
        trained = train_network(
            X, labels, _start_weights(model, learned), step_size=model.step_size,
            n_steps=model.n_steps, label_noise=model.label_noise, stride=model.n_steps,
            random_state=rng, progress=watch,
        )  # fmt: skip
        scale, centre = effective_scale(trained.weights)
    fit = minimum_penalty(X, labels, scale, centre=centre, mu=model.mu, **options)
    wrong, moved = (fit.coef - target) ** 2, (fit.coef - learned) ** 2
    train = float(np.mean((labels - X @ fit.coef) ** 2))
    mse = float(wrong.mean())
    excess = mse
    if rows is None:
        channel = channel_estimate(
            scale,
            fit.coef,
            fit.dual,
            n,
            mu=model.mu,
            train_error=train,
            depth=model.depth,
        )
    else:
        excess = float(np.sum((rows @ (fit.coef - target)) ** 2))
        channel = rotated_channel(
            spectrum,
            scale=scale,
            coef=fit.coef,
            target=target,
            force=X.T @ fit.dual,
            alpha=n / n_features,
            mu=model.mu,
            depth=model.depth,
        )
    scalars = {
        "mse": mse,
        "test_error": excess + model.noise**2,
        "train_error": train,
        **dataclasses.asdict(channel),
        "forgetting": float(moved.mean()),
    }
    ends = np.cumsum([0, *counts])
    by_part = [
        np.array([a[i:j].sum() for i, j in itertools.pairwise(ends)]) for a in (wrong, moved)
    ]
    return _Run(
        scalars=scalars,
        wrong=by_part[0],
        moved=by_part[1],
        n_iter=fit.n_iter,
        residual=fit.residual,
        status=fit.status if status is Status.CONVERGED else status,
    )


def _start_weights(model: DiagonalModel, learned: FloatArray) -> NetworkWeights:
    """Weights at the start of fine-tuning."""
    if model.mode == "scratch":
        return pretrained_weights(np.zeros(learned.size), model.init_scale)
    weights = pretrained_weights(learned, model.init_scale, model.balance)
    if model.mode == "warm":
        return weights
    return reset_readout(weights, model.readout_scale, rebalance=model.rebalance)


def simulate(
    model: DiagonalModel,
    *,
    n_features: int = 1000,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> DiagonalSimulation:
    """Pre-train and fine-tune finite networks on Gaussian data, exactly.

    Derived here (`derivations/diagonal#end-point-on-data`).

    Every experiment draws a fresh design and stratified coefficients (fixed proportions, one value
    in each of equally probable intervals, so that few experiments suffice), and finds the end
    point of gradient flow by `minimum_penalty`.

    Parameters
    ----------
    model : DiagonalModel
        The problem; ``round(alpha * n_features)`` samples are drawn.
    n_features : int, default=1000
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
        What to do about experiments that were not solved: one warning for all of them, an error,
        or nothing.

    Returns
    -------
    DiagonalSimulation
        Means and standard errors.

    Raises
    ------
    ValueError
        If a size is too small.
    NumericalError
        If ``on_failure="raise"`` and an experiment was not solved.

    See Also
    --------
    solve, compare

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate
    >>> found = simulate(DiagonalModel(0.3, noise=0.3), n_features=200, n_repeats=4)
    >>> abs(found.mse - 0.42) < 0.2
    True
    """
    progress = as_callback(progress, "simulate")
    check_kind(model, "model", DiagonalModel)
    check_integer(n_features, "n_features", low=1)
    check_memory(n_features * (1.0 + model.alpha * n_features), n_features=n_features)
    key = stream_key(random_state)
    runs = run_repeats(
        lambda repeat, watch: _experiment(model, n_features, key, repeat, watch),
        n_repeats,
        n_jobs=n_jobs,
        progress=progress,
    )
    status, residual = report_runs([(run.status, run.residual) for run in runs], on_failure)
    samples = {name: np.array([run.scalars[name] for run in runs]) for name in QUANTITIES}
    means = mean_and_stderr(samples)
    parts = model.law()
    counts = np.array(component_counts(parts, n_features))
    names = tuple(dict.fromkeys(p.group for p in parts))
    member = np.array([names.index(p.group) for p in parts])
    size = np.bincount(member, counts, len(names))
    sums = [
        np.bincount(member, np.mean(by_part, axis=0), len(names))
        for by_part in ([run.wrong for run in runs], [run.moved for run in runs])
    ]
    return DiagonalSimulation(
        model=model,
        status=status,
        n_iter=max(run.n_iter for run in runs),
        residual=residual,
        message=status.sentence,
        n_features=n_features,
        n_samples=max(1, round(model.alpha * n_features)),
        n_repeats=n_repeats,
        **means.mean,  # type: ignore[arg-type]
        group_names=names,
        group_weight=size / n_features,
        group_mse=sums[0] / np.maximum(size, 1),
        group_forgetting=sums[1] / np.maximum(size, 1),
        stderr=means.stderr,  # type: ignore[arg-type]
        samples=samples,
    )


def compare(
    model: DiagonalModel,
    *,
    n_features: int = 1000,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Comparison:
    """Theory against simulation, with deviations in standard errors.

    The theory is solved at the sample ratio and the proportions of the experiment itself.

    Parameters
    ----------
    model : DiagonalModel
        The problem.
    n_features : int, default=1000
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
        ``mse``, ``forgetting``, ``effective_mu``, with a penalty ``train_error`` and ``dof``, and
        with a spectrum ``test_error`` and ``tau``.

    Raises
    ------
    ValueError
        If a size is too small.
    NumericalError
        If ``on_failure="raise"`` and the theory or an experiment was not solved.

    See Also
    --------
    solve, simulate, retemper.compare

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, compare
    >>> compare(DiagonalModel(0.3, noise=0.3), n_features=200, n_repeats=4).names
    ('mse', 'forgetting', 'effective_mu')
    """
    progress = as_callback(progress, "compare")
    sample = simulate(
        model, n_features=n_features, n_repeats=n_repeats, random_state=random_state,
        n_jobs=n_jobs, progress=progress, on_failure=on_failure,
    )  # fmt: skip
    matched = matched_model(model, sample.n_samples, n_features)
    names = ["mse", "forgetting", "effective_mu"]
    if model.spectrum is not None:
        spectrum = resampled(np.array(model.spectrum), n_features)
        matched = dataclasses.replace(matched, spectrum=spectrum)
        names = ["mse", "test_error", "forgetting", "effective_mu", "tau"]
    theory = solve(matched, on_failure=on_failure)
    if model.mu > 0:
        names += ["train_error", "dof"]
    elif theory.effective_mu == 0.0:
        names = [n for n in names if n not in ("effective_mu", "tau")] + ["train_error"]
    return Comparison.of(theory, sample, names)
