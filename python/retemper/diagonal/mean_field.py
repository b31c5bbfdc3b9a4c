"""Gradient flow of a law of coefficients in high dimension: its points, and the call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from retemper._dispatch import core
from retemper._progress import ProgressLike
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.diagonal.channel import Law

_DIRECTIONS = 160  # of the noise: one a step at most
_MOST_STEPS = 300  # memory grows with the square, time with the cube
_MOST_LOST = 1e-3  # share of the noise that may have no direction left


def mean_field(
    points: dict[str, Any],
    *,
    depth: int,
    alpha: float,
    noise: float,
    end_time: float,
    rtol: float,
    n_threads: int = 1,
    progress: ProgressLike = None,
) -> dict[str, Any]:
    """Averages over a law at the times of the steps, and their derivatives in time.

    Parameters
    ----------
    points : dict
        As `law_points` makes them.
    depth : int
        Layers of the network.
    alpha, noise : float
        Rows per feature, and standard deviation of the label noise.
    end_time : float
        Last time.
    rtol : float
        Error of a step, relative to the coefficients.
    n_threads : int, default=1
        Threads; never changes the result.
    progress : None, bool, callable or object, default=None
        Called from time to time.

    Returns
    -------
    dict
        ``times`` of shape (T,); ``train`` (T,), ``mse`` and ``drift`` (T, n_groups), each with
        ``_slope``; ``coef`` (N,) at the last time; ``n_iter``, ``residual`` and ``status``.
    """
    run = core.diagonal.mean_field_flow(
        **points,
        depth=float(depth),
        alpha=alpha,
        noise_var=noise**2,
        end_time=end_time,
        tol=rtol,
        most_steps=_MOST_STEPS,
        n_threads=n_threads,
        progress=progress,
    )
    status = Status(run["status"])
    if status is Status.CONVERGED and not run["lost"] < _MOST_LOST:
        status = Status.STALLED
    return {**run, "status": status}


def law_points(law: Law, n_points: int) -> dict[str, Any]:
    """Points of low discrepancy that stand for a law, and normals for their noise.

    Parameters
    ----------
    law : Law
        Law of one coordinate.
    n_points : int
        Points in all, about: every group has a power of two.

    Returns
    -------
    dict
        ``weight``, ``target``, ``scale``, ``centre``, ``source`` and ``group``, of shape (N,),
        ``normals`` of shape (N, R), and ``n_groups``.
    """
    names = ("weight", "target", "scale", "centre", "source", "group", "normals")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for group in range(len(law.group_names)):
        inside = np.flatnonzero(law.group == group)
        inside = inside[np.argsort(law.source[inside], kind="stable")]  # near points, near parts
        weight = law.weight[inside]
        whole = float(weight.sum())
        wanted = n_points * 0.5 * (whole + 1.0 / len(law.group_names))
        cube = _sobol(max(4, round(math.log2(max(wanted, 1.0)))), group)
        normals = _normals(cube[:, 1:])
        edges = np.cumsum(weight) / whole
        which = inside[np.minimum(np.searchsorted(edges, cube[:, 0], "right"), len(inside) - 1)]
        count = len(which)
        columns["weight"].append(np.full(count, whole / count))
        columns["target"].append(law.mean[which] + np.sqrt(law.var[which]) * normals[:, 0])
        columns["group"].append(np.full(count, group, np.int32))
        columns["normals"].append(normals[:, 1:])
        for name in ("scale", "centre", "source"):
            columns[name].append(getattr(law, name)[which])
    points = {name: np.concatenate(parts) for name, parts in columns.items()}
    points["normals"] = np.asfortranarray(points["normals"])
    return {**points, "n_groups": len(law.group_names)}


def _sobol(log2_count: int, seed: int) -> FloatArray:
    from scipy.stats.qmc import Sobol

    return np.asarray(Sobol(_DIRECTIONS + 2, seed=seed).random_base2(log2_count))


def _normals(cube: FloatArray) -> FloatArray:
    """Standard normal variates, exactly without mean and correlations in the leading columns.

    What the rows see of a coefficient and how it responds are then consistent as far as the
    coefficient is linear in its noise.
    """
    from scipy.special import ndtri

    z = np.asarray(ndtri(np.clip(cube, 1e-16, 1.0 - 1e-16)))
    count, columns = z.shape
    exact = min(columns, count // 4)
    basis, corner = np.linalg.qr(z[:, :exact] - z[:, :exact].mean(axis=0))
    z[:, :exact] = math.sqrt(count) * basis * np.sign(np.diag(corner))
    return z
