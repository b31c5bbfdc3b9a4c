"""The scalar channel to which the high-dimensional limit comes down, in theory and on data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._control import report_status
from retemper._dispatch import core
from retemper._results import Status
from retemper._validation import FloatArray
from retemper.diagonal.model import DiagonalModel


@dataclasses.dataclass(frozen=True)
class Law:
    """Atoms of one coordinate's law, each array of shape (K,)."""

    weight: FloatArray
    mean: FloatArray
    var: FloatArray
    scale: FloatArray
    centre: FloatArray
    source: FloatArray
    group: NDArray[np.intp]
    group_names: tuple[str, ...]


def solve_laws(channel: FloatArray, laws: Sequence[Law], n_threads: int) -> dict[str, Any]:
    """Solve all laws at once; shorter ones are filled up with atoms of no weight."""
    size = max(law.weight.size for law in laws)
    columns = []
    for name in ("weight", "mean", "var", "scale", "centre", "source"):
        table = np.full((len(laws), size), 1.0 if name == "scale" else 0.0)
        for row, law in zip(table, laws, strict=True):
            row[: law.weight.size] = getattr(law, name)
        columns.append(table)
    weight, mean, var, scale, centre, source = columns
    return core.diagonal.solve_laws(channel, weight, mean, var, scale, centre, source, 8, n_threads)


def pretraining_channel(model: DiagonalModel) -> tuple[float, float]:
    """Scalar channel (tau, theta) of pre-training on finitely many samples; zeros if infinite.

    The law of the pre-trained coefficient is that of the scalar estimator behind this channel
    (derived here).

    Parameters
    ----------
    model : DiagonalModel
        The problem.

    Returns
    -------
    tuple of float
        Effective noise variance and regularisation.

    Raises
    ------
    NumericalError
        If the fixed point of pre-training was not found.
    """
    if math.isinf(model.alpha_pt):
        return 0.0, 0.0
    parts = model.law()
    zeros = np.zeros(len(parts))
    law = Law(
        weight=np.array([p.weight for p in parts]),
        mean=np.array([p.source for p in parts]),
        var=np.array([p.source_var for p in parts]),
        scale=np.full(len(parts), model.init_scale),
        centre=zeros,
        source=zeros,
        group=np.zeros(len(parts), np.intp),
        group_names=("",),
    )
    if not np.any(law.mean) and not np.any(law.var) and not model.noise_pt:
        return 0.0, 0.0  # nothing to learn
    found = solve_laws(np.array([[model.alpha_pt, model.noise_pt**2, 0.0]]), [law], 1)
    status = Status.from_core(found["status"][0])
    report_status(status, found["residual"][0], "the fixed point of pre-training",
                  on_failure="raise")  # fmt: skip
    return float(found["tau"][0]), float(found["theta"][0])


def channel_estimate(
    scale: FloatArray,
    coef: FloatArray,
    dual: FloatArray,
    n_samples: int,
    *,
    mu: float = 0.0,
    train_error: float = 0.0,
) -> tuple[float, float, float]:
    r"""Scalar channel behind a fit on data: effective noise, regularisation, degrees of freedom.

    Solves :math:`\theta\,(n - \sum_d W_d/(W_d+\theta))/D = \mu` with
    :math:`W = 2\sqrt{c^2+\beta^2}`; then :math:`\tau = \alpha\theta^2\|s\|^2/n` (derived here).
    Rows of the design must have mean square 1/D per entry.

    Parameters
    ----------
    scale, coef : ndarray of shape (n_features,)
        Fine-tuning scales and fitted coefficients.
    dual : ndarray of shape (n_samples,)
        Dual variable of the fit.
    n_samples : int
        Samples n.
    mu : float, default=0.0
        Strength of the penalty.
    train_error : float, default=0.0
        Mean squared residual; used where there are more samples than free features and no penalty.

    Returns
    -------
    tuple of float
        tau, theta and dof per feature. ``alpha * tau`` estimates the test error; it is infinite at
        the interpolation threshold.
    """
    weight = 2.0 * np.hypot(scale, coef)
    weight = weight[scale > 0.0]
    d, n = scale.size, n_samples
    alpha = n / d
    if mu == 0.0 and n >= weight.size:
        spare = n - weight.size
        tau = train_error * n / spare * d / spare if spare else math.inf
        return tau, 0.0, weight.size / d
    unit = float(weight.max())

    def excess(log_theta: float) -> float:
        theta = math.exp(log_theta)
        kept = np.sum(weight / unit / (weight / unit + theta))
        return float(kept / d + mu / (theta * unit) - alpha)

    low = high = math.log(max(mu / unit, 1e-300)) if mu > 0.0 else 0.0
    while excess(low) < 0.0:
        low -= 8.0
    while excess(high) > 0.0:
        high += 8.0
    from scipy.optimize import brentq

    theta = unit * math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))
    tau = float(alpha * np.mean((theta * dual) ** 2))
    return tau, theta, float(np.sum(weight / (weight + theta)) / d)
