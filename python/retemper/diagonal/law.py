"""Joint law of source, target, scale and centre of one coordinate at fine-tuning."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.diagonal.channel import Law, ScalarChannel, pretraining_channel
from retemper.diagonal.density import law_atoms
from retemper.diagonal.mirror import mirror_coordinate, mirror_point
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.scales import finetune_centre, finetune_scale
from retemper.diagonal.stochastic import label_noise_loss, shrunk

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
        If the fixed point of pre-training was not found.
    """
    channel = pretraining_channel(model)
    c = model.init_scale
    parts = model.law()
    names = tuple(dict.fromkeys(p.group for p in parts))
    weight, mean, var, source, group = [], [], [], [], []
    for part in parts:
        atoms = _source_atoms(part, c, channel, model.depth)
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
