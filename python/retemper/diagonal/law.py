"""Joint law of source, target, scale and centre of one coordinate at fine-tuning."""

from __future__ import annotations

import math

import numpy as np

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.diagonal.channel import Law, pretraining_channel
from retemper.diagonal.mirror import mirror_coordinate
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.scales import finetune_scale

_REACH = 9.0


def coefficient_law(model: DiagonalModel, refine: int = 1) -> Law:
    """Law of one coordinate at fine-tuning."""
    tau, theta = pretraining_channel(model)
    c = model.init_scale
    parts = model.law()
    names = tuple(dict.fromkeys(p.group for p in parts))
    weight, mean, var, source, group = [], [], [], [], []
    for part in parts:
        atoms, share, target_mean, target_var = _source_atoms(part, c, tau, theta, refine)
        weight.append(part.weight * share)
        mean.append(target_mean)
        var.append(np.full(atoms.size, max(target_var, 0.0)))
        source.append(atoms)
        group.append(np.full(atoms.size, names.index(part.group), np.intp))
    b = np.concatenate(source)
    scale, centre = np.full(b.size, c), np.zeros(b.size)
    if model.mode == "reset":
        scale = finetune_scale(b, c, model.balance, model.readout_scale)
    elif model.mode == "warm":
        centre = mirror_coordinate(b, scale)
    if not scale.any():
        raise ValueError(
            "every coordinate is frozen: with balance = -1 and readout_scale = 0 all weights are "
            "zero at the start of fine-tuning"
        )
    return Law(
        weight=np.concatenate(weight),
        mean=np.concatenate(mean),
        var=np.concatenate(var),
        scale=scale,
        centre=centre,
        source=b,
        group=np.concatenate(group),
        group_names=names,
    )


def _source_atoms(
    part: Component, c: float, tau: float, theta: float, refine: int
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Pre-trained coefficient of one component: atoms, weights, and the target's law given them."""
    total = part.source_var + tau
    if total == 0.0:
        return (
            np.array([part.source]),
            np.ones(1),
            np.array([part.target_mean]),
            part.target_var,
        )
    sd = math.sqrt(total)
    ends = part.source + _REACH * sd * np.array([-1.0, 1.0])
    low, high = core.diagonal.mirror_prox(ends, np.full(2, c), theta, np.zeros(2))
    u, step = np.linspace(low, high, refine * (80 + int((high - low) / 0.15)), retstep=True)
    half = 0.5 * theta
    t = (c * np.sinh(u) + half * u - part.source) / sd
    weight = step / sd * np.exp(-0.5 * t**2) / math.sqrt(2 * math.pi) * (c * np.cosh(u) + half)
    kept = weight > 1e-17
    weight, t, u = weight[kept], t[kept], u[kept]
    slope = part.covariance / sd
    return (
        c * np.sinh(u),
        weight / weight.sum(),
        part.target_mean + slope * t,
        part.target_var - slope**2,
    )
