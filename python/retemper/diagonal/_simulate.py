"""The matched finite-size experiment, and its comparison with the theory."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from retemper._control import Progress
from retemper._parallel import map_threads
from retemper._random import Seed, stream_key
from retemper._results import Comparison, Result, Status
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_integer
from retemper.diagonal.channel import channel_estimate
from retemper.diagonal.interpolate import minimum_penalty
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.scales import finetune_scale
from retemper.diagonal.theory import solve

_QUANTITIES = ("mse", "test_error", "train_error", "tau", "theta", "dof", "forgetting")


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
    mse, test_error, train_error, tau, theta, dof, forgetting : float
        Means over experiments; ``tau``, ``theta`` and ``dof`` are estimated from each fit.
    group_names : tuple of str
        Groups of the law.
    group_weight, group_mse, group_forgetting : ndarray of shape (n_groups,)
        Share of a group and means over its coefficients.
    stderr : mapping of str to float
        Standard errors of the means.
    samples : ndarray of shape (n_repeats, 7)
        The scalars of every experiment, in the order above.
    """

    model: DiagonalModel
    n_features: int
    n_samples: int
    n_repeats: int
    mse: float
    test_error: float
    train_error: float
    tau: float
    theta: float
    dof: float
    forgetting: float
    group_names: tuple[str, ...]
    group_weight: FloatArray
    group_mse: FloatArray
    group_forgetting: FloatArray
    stderr: Mapping[str, float]
    samples: FloatArray


def _counts(parts: tuple[Component, ...], n_features: int) -> list[int]:
    """Features of each component: rounded so that they add up (largest remainders)."""
    exact = np.array([p.weight for p in parts]) * n_features
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n_features - int(counts.sum())]] += 1
    return [int(k) for k in counts]


def _stratified_normal(count: int, rng: np.random.Generator) -> FloatArray:
    """Standard normal variates, one in each of `count` equally probable intervals, shuffled."""
    from scipy.special import ndtri

    return np.asarray(ndtri((rng.permutation(count) + rng.random(count)) / max(count, 1)))


def _draw(
    parts: tuple[Component, ...], counts: list[int], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Source and target coefficients of one experiment, component after component."""
    source, target = [], []
    for part, count in zip(parts, counts, strict=True):
        first, second = (_stratified_normal(count, rng) for _ in range(2))
        b = part.source + np.sqrt(part.source_var) * first
        slope = part.covariance / part.source_var if part.source_var else 0.0
        left = np.sqrt(max(part.target_var - slope * part.covariance, 0.0))
        source.append(b)
        target.append(part.target_mean + slope * (b - part.source) + left * second)
    return np.concatenate(source), np.concatenate(target)


class _Run(NamedTuple):
    scalars: list[float]
    wrong: FloatArray  # sums of (fine-tuned - target)^2 and (fine-tuned - source)^2 by component
    moved: FloatArray
    n_iter: int
    residual: float


def _experiment(
    model: DiagonalModel, n_features: int, key: tuple[int, int], repeat: int, watch: Progress
) -> _Run:
    parts = model.law()
    counts = _counts(parts, n_features)
    rng = np.random.Generator(
        np.random.Philox(key=np.array(key, np.uint64), counter=[0, 0, repeat, 0])
    )
    source, target = _draw(parts, counts, rng)
    root = np.sqrt(n_features)
    learned = source
    if np.isfinite(model.alpha_pt) and (model.alpha_pt < 1.0 or model.noise_pt):
        n_pt = max(1, round(model.alpha_pt * n_features))
        X = rng.standard_normal((n_pt, n_features)) / root
        labels = X @ source + model.noise_pt * rng.standard_normal(n_pt)
        learned = minimum_penalty(X, labels, model.init_scale, n_jobs=1, progress=watch).coef
    scale = np.full(n_features, model.init_scale)
    centre = None
    if model.mode == "reset":
        scale = finetune_scale(learned, model.init_scale, model.balance, model.readout_scale)
    elif model.mode == "warm":
        centre = learned
    n = max(1, round(model.alpha * n_features))
    X = rng.standard_normal((n, n_features)) / root
    labels = X @ target + model.noise * rng.standard_normal(n)
    fit = minimum_penalty(X, labels, scale, centre=centre, mu=model.mu, n_jobs=1, progress=watch)
    wrong, moved = (fit.coef - target) ** 2, (fit.coef - learned) ** 2
    train = float(np.mean((labels - X @ fit.coef) ** 2))
    tau, theta, dof = channel_estimate(scale, fit.coef, fit.dual, n, mu=model.mu, train_error=train)
    mse = float(wrong.mean())
    scalars = [mse, mse + model.noise**2, train, tau, theta, dof, float(moved.mean())]
    ends = np.cumsum([0, *counts])
    by_part = [
        np.array([a[i:j].sum() for i, j in itertools.pairwise(ends)]) for a in (wrong, moved)
    ]
    return _Run(scalars, by_part[0], by_part[1], fit.n_iter, fit.residual)


def simulate(
    model: DiagonalModel,
    n_features: int = 1000,
    *,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> DiagonalSimulation:
    """Pre-train and fine-tune finite networks on Gaussian data, exactly (derived here).

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
    progress : callable or None, default=None
        Called with (experiments done, experiments).

    Returns
    -------
    DiagonalSimulation
        Means and standard errors.

    Raises
    ------
    ValueError
        If a size is too small.

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, simulate
    >>> found = simulate(DiagonalModel(0.3, noise=0.3), 200, n_repeats=4)
    >>> abs(found.mse - 0.42) < 0.2
    True
    """
    check_integer(n_features, "n_features", low=1)
    check_integer(n_repeats, "n_repeats", low=2)
    key = stream_key(random_state)
    runs = map_threads(
        lambda repeat, watch: _experiment(model, n_features, key, repeat, watch),
        n_repeats,
        effective_n_threads(n_jobs),
        progress,
    )
    samples = np.array([run.scalars for run in runs])
    parts = model.law()
    counts = np.array(_counts(parts, n_features))
    names = tuple(dict.fromkeys(p.group for p in parts))
    member = np.array([names.index(p.group) for p in parts])
    size = np.bincount(member, counts, len(names))
    sums = [
        np.bincount(member, np.mean(by_part, axis=0), len(names))
        for by_part in ([run.wrong for run in runs], [run.moved for run in runs])
    ]
    mean = samples.mean(axis=0)
    error = samples.std(axis=0, ddof=1) / np.sqrt(n_repeats)
    return DiagonalSimulation(
        model=model,
        status=Status.CONVERGED,
        n_iter=max(run.n_iter for run in runs),
        residual=max(run.residual for run in runs),
        message=Status.CONVERGED.sentence,
        n_features=n_features,
        n_samples=max(1, round(model.alpha * n_features)),
        n_repeats=n_repeats,
        **dict(zip(_QUANTITIES, mean.tolist(), strict=True)),
        group_names=names,
        group_weight=size / n_features,
        group_mse=sums[0] / np.maximum(size, 1),
        group_forgetting=sums[1] / np.maximum(size, 1),
        stderr=dict(zip(_QUANTITIES, error.tolist(), strict=True)),
        samples=samples,
    )


def compare(
    model: DiagonalModel,
    n_features: int = 1000,
    *,
    n_repeats: int = 16,
    random_state: Seed = 0,
    n_jobs: int | None = None,
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
        Independent experiments.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Source of randomness.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    Comparison
        ``mse``, ``forgetting``, ``theta`` and, with a penalty, ``train_error`` and ``dof``.

    Raises
    ------
    ValueError
        If a size is too small.

    Examples
    --------
    >>> from retemper.diagonal import DiagonalModel, compare
    >>> compare(DiagonalModel(0.3, noise=0.3), 200, n_repeats=4).names
    ('mse', 'forgetting', 'theta')
    """
    sample = simulate(
        model, n_features, n_repeats=n_repeats, random_state=random_state, n_jobs=n_jobs
    )
    parts = model.law()
    shares = [k / n_features for k in _counts(parts, n_features)]
    law = tuple(dataclasses.replace(p, weight=w) for p, w in zip(parts, shares, strict=True))
    theory = solve(dataclasses.replace(model, alpha=sample.n_samples / n_features, components=law))
    names = ["mse", "forgetting", "theta"] + (["train_error", "dof"] if model.mu > 0 else [])
    if theory.theta == 0.0:
        names = ["mse", "forgetting", "train_error"]
    return Comparison.of(theory, sample, names)
