"""Joint law of source, target, scale and centre of one coordinate at fine-tuning."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from retemper._dispatch import core
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.diagonal.channel import Law, ScalarChannel, pretraining_channel
from retemper.diagonal.density import law_atoms
from retemper.diagonal.mean_field import law_points, mean_field
from retemper.diagonal.mirror import mirror_coordinate, mirror_point
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.scales import finetune_centre, finetune_scale
from retemper.diagonal.stochastic import label_noise_loss, shrunk
from retemper.exceptions import NumericalError

_STOPPED_POINTS, _STOPPED_RTOL = 4096, 3e-4  # of a source that stops early
_REACH = 9.0  # standard deviations of the channel that atoms cover


@dataclasses.dataclass(frozen=True)
class TargetRule:
    """How a law given by its density becomes points.

    Attributes
    ----------
    fine : bool
        Many points, or fewer, by which the error is told.
    resolution : float
        Differences of coefficients that need not be seen.
    """

    fine: bool
    resolution: float


def coefficient_law(model: DiagonalModel, *, rule: TargetRule | None = None) -> Law:
    """Law of one coordinate at fine-tuning.

    Parameters
    ----------
    model : DiagonalModel
        The problem.
    rule : TargetRule or None, default=None
        How a law that is given by its density becomes points; a Gaussian of its mean and variance
        stands for it if None.

    Returns
    -------
    Law
        A mixture: one part for each component, or, where pre-training leaves a spread, one for
        each of many pre-trained coefficients.

    Raises
    ------
    ValueError
        If every coordinate is frozen, or one away from zero.
    NumericalError
        If pre-training was not solved.
    """
    c = model.init_scale
    parts = model.law()
    stopped = math.isfinite(model.time_pt)
    sources = _stopped_sources(model) if stopped else _trained_sources(model)
    names = tuple(dict.fromkeys(p.group for p in parts))
    weight, mean, var, source, group = [], [], [], [], []
    for part, source_atoms in zip(parts, sources, strict=True):
        atoms = source_atoms
        if part.target_law is not None:
            atoms = _with_target_law(atoms, part, rule)
        weight.append(part.weight * atoms.share)
        mean.append(atoms.target_mean)
        var.append(np.full(atoms.coef.size, max(atoms.target_var, 0.0)))
        source.append(atoms.coef)
        group.append(np.full(atoms.coef.size, names.index(part.group), np.intp))
    b = np.concatenate(source)
    scale, centre = np.full(b.size, c), np.zeros(b.size)
    if model.mode == "reset":
        reset = (b, c, model.balance, model.readout_scale)
        scale = finetune_scale(*reset, rebalance=model.rebalance)
        if model.rebalance == "none":
            start = finetune_centre(*reset)
            if np.any(start[scale == 0.0]):
                raise ValueError(
                    "a coordinate is frozen at a coefficient that is not zero: change "
                    "readout_scale, balance or init_scale a little"
                )
            moves = scale > 0.0
            centre[moves] = mirror_coordinate(start[moves], scale[moves])
    elif model.mode == "warm":
        centre = mirror_coordinate(b, scale, model.depth)
    if not scale.any():
        raise ValueError(
            "every coordinate is frozen: with balance = -1 and readout_scale = 0 all weights are "
            "zero at the start of fine-tuning"
        )
    # noise in training lowers the scales; mirror coordinates stay
    squared_norm = model.alpha * (1.0 if model.spectrum is None else float(np.mean(model.spectrum)))
    lost = squared_norm * label_noise_loss(model.label_noise, model.step_size, model.n_steps)
    scale, _ = shrunk(scale, centre, lost)
    return Law(
        weight=np.concatenate(weight),
        mean=np.concatenate(mean),
        var=np.concatenate(var),
        scale=scale,
        centre=centre,
        source=b,
        group=np.concatenate(group),
        group_names=names,
        depth=model.depth,
    )


@dataclasses.dataclass(frozen=True)
class _Atoms:
    """Pre-trained coefficients of one component, and the target's law given them."""

    coef: FloatArray
    share: FloatArray
    target_mean: FloatArray
    target_var: float


def _with_target_law(atoms: _Atoms, part: Component, rule: TargetRule | None) -> _Atoms:
    """The same source with the law of the target, which is independent of it."""
    law = part.target_law
    assert law is not None
    if rule is None:
        mean = np.full(atoms.coef.size, law.mean)
        return dataclasses.replace(atoms, target_mean=mean, target_var=law.variance)
    near = (part.source_mean,) if part.source_mean else ()
    target = law_atoms(law, fine=rule.fine, resolution=rule.resolution, near=near)
    return _Atoms(
        coef=np.repeat(atoms.coef, target.coef.size),
        share=np.outer(atoms.share, target.share).ravel(),
        target_mean=np.tile(target.coef, atoms.coef.size),
        target_var=0.0,
    )


def _trained_sources(model: DiagonalModel) -> list[_Atoms]:
    channel = pretraining_channel(model)
    return [_source_atoms(part, model.init_scale, channel, model.depth) for part in model.law()]


def _stopped_sources(model: DiagonalModel) -> list[_Atoms]:
    """Pre-trained coefficients of each component where pre-training stops, as points."""
    parts = model.law()
    found = _stopped_points(
        _Pretraining(
            source_law=tuple((p.weight, p.source_mean, p.source_var) for p in parts),
            init_scale=model.init_scale,
            depth=model.depth,
            alpha=model.alpha_pt,
            noise=model.noise_pt,
            time=model.time_pt,
        )
    )
    atoms = []
    for part, (true, coef) in zip(parts, found, strict=True):
        slope = part.covariance / part.source_var if part.source_var else 0.0
        atoms.append(
            _Atoms(
                coef=coef,
                share=np.full(coef.size, 1.0 / coef.size),
                target_mean=part.target_mean + slope * (true - part.source_mean),
                target_var=part.target_var - slope * part.covariance,
            )
        )
    return atoms


class _Pretraining(NamedTuple):
    """All that pre-training which stops early depends on."""

    source_law: tuple[tuple[float, float, float], ...]
    init_scale: float
    depth: int
    alpha: float
    noise: float
    time: float


@functools.lru_cache(maxsize=16)
def _stopped_points(at: _Pretraining) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Source coefficients of every component, and what pre-training has made of them."""
    weight, mean, var = np.array(at.source_law).T.copy()
    zeros = np.zeros(weight.size)
    law = Law(
        weight=weight, mean=mean, var=var, scale=np.full(weight.size, at.init_scale), centre=zeros,
        source=zeros, group=np.arange(weight.size), depth=at.depth,
        group_names=tuple(str(k) for k in range(weight.size)),
    )  # fmt: skip
    points = law_points(law, _STOPPED_POINTS)
    run = mean_field(
        points,
        depth=at.depth,
        alpha=at.alpha,
        noise=at.noise,
        end_time=at.time,
        rtol=_STOPPED_RTOL,
    )
    if run["status"] is not Status.CONVERGED:
        raise NumericalError(
            f"pre-training was followed up to time {run['times'][-1]:.3g} only, not to "
            f"time_pt = {at.time:g}: {run['status'].sentence}"
        )
    inside = [points["group"] == k for k in range(weight.size)]
    return tuple((points["target"][k], run["coef"][k]) for k in inside)


def _source_atoms(part: Component, c: float, channel: ScalarChannel, depth: int) -> _Atoms:
    total = part.source_var + channel.tau
    if total == 0.0:
        mean = np.array([part.target_mean])
        return _Atoms(np.array([part.source_mean]), np.ones(1), mean, part.target_var)
    sd = math.sqrt(total)
    low, high = (
        core.diagonal.mirror_prox(
            z=part.source_mean + side * _REACH * sd,
            c=c,
            effective_mu=channel.effective_mu,
            u0=0.0,
            depth=float(depth),
        )
        for side in (-1.0, 1.0)
    )
    u, step = np.linspace(low, high, 64 + int((high - low) / 0.18), retstep=True)
    at, theta = mirror_point(u, np.array(c), depth), channel.effective_mu
    t = (at.coef + theta * at.force - part.source_mean) / sd
    density = np.exp(-0.5 * t**2) / math.sqrt(2 * math.pi)
    share = step / sd * density * (at.slope + theta * at.stiffness)
    kept = share > 1e-17
    share, t, coef = share[kept], t[kept], at.coef[kept]
    slope = part.covariance / sd
    return _Atoms(
        coef=coef,
        share=share / share.sum(),
        target_mean=part.target_mean + slope * t,
        target_var=part.target_var - slope**2,
    )
