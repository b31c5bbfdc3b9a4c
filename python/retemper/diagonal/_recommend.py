"""Choosing initialisation and reset for one's own data, and the value of further samples."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._text import one_line
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_entries,
    check_real,
    naming,
)
from retemper.diagonal.channel import channel_estimate
from retemper.diagonal.fit import (
    FitSettings,
    Problem,
    end_point,
    read_coefficients,
    scale_problem,
    starting_point,
)
from retemper.diagonal.interpolate import DIRECT_MAX, MinimumPenalty, leave_one_out
from retemper.diagonal.model import Component, DiagonalModel
from retemper.diagonal.theory import curve, solve

#: What `recommend` tries: 1 + balance, readout_scale, init_scale.
GRID_SHARE = (1e-3, 1e-2, 0.1, 1.0, 2.0)
GRID_READOUT = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GRID_INIT = (1e-6, 1e-3, 1e-1)

#: `recommend` refits without each row up to so many rows.
EXACT_LOO_MAX = 64


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """How to fine-tune, from the data at hand (see `recommend`).

    Parameters
    ----------
    best : dict
        Constructor arguments with the least leave-one-out error.
    loo : float
        Its leave-one-out error, in the units of the labels squared.
    scratch_loo, null_loo : float
        Leave-one-out errors of the best training from scratch and of predicting the mean.
    table : dict of str to ndarray
        ``mode``, ``init_scale``, ``balance``, ``readout_scale`` and ``loo`` of every fit.
    predicted_best : dict
        The setting the theory prefers for the estimated task.
    predicted_error : float
        Its predicted test error.
    gain_per_sample : float
        Predicted fall of the test error with one more sample, at the best setting: positive helps.
    components : tuple of Component
        Estimated law of source and target coefficients, in the units of the theory.
    noise : float
        Estimated standard deviation of the label noise, in the units of the labels.

    See Also
    --------
    recommend

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import recommend
    >>> rng = np.random.default_rng(0)
    >>> X, source = rng.normal(size=(12, 20)), np.arange(20) < 3
    >>> grid = {"shares": (0.1, 1.0), "readout_scales": (0.0, 1.0), "init_scales": (1e-3,)}
    >>> advice = recommend(X, X @ source, source * 1.0, **grid)
    >>> sorted(advice.best), bool(advice.loo < advice.scratch_loo)
    (['balance', 'init_scale', 'readout_scale'], True)
    """

    best: dict[str, Any]
    loo: float
    scratch_loo: float
    null_loo: float
    table: dict[str, NDArray[Any]]
    predicted_best: dict[str, Any]
    predicted_error: float
    gain_per_sample: float
    components: tuple[Component, ...]
    noise: float

    __repr__ = one_line


def recommend(
    X: ArrayLike,
    y: ArrayLike,
    source: Any,
    *,
    shares: Sequence[float] = GRID_SHARE,
    readout_scales: Sequence[float] = GRID_READOUT,
    init_scales: Sequence[float] = GRID_INIT,
    fit_intercept: bool = True,
    method: Literal["auto", "first-order", "exact"] = "auto",
    n_jobs: int | None = None,
) -> Recommendation:
    """Choose initialisation and reset for fine-tuning on one's own data.

    Derived here (`derivations/diagonal#end-point-on-data`).

    Every setting of a coarse grid, and training from scratch, is fitted exactly and judged by
    leave-one-out error. The task (sparsity and size of shared and of new coefficients, noise) is
    then estimated from the debiased coefficients of the best fit, for which the theory gives its
    own optimum and the value of further samples.

    Parameters
    ----------
    X : array_like of shape (n_samples, n_features)
        Target features, fewer samples than features.
    y : array_like of shape (n_samples,)
        Target labels.
    source : array_like, estimator or tuple (X, y)
        As in `DiagonalNetworkRegressor`.
    shares : sequence of float
        Values of ``1 + balance``, in (0, 2].
    readout_scales, init_scales : sequence of float
        Values of the other two parameters.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    method : {"auto", "first-order", "exact"}, default="auto"
        Leave-one-out error by a formula, which overstates the error of rich solutions on
        correlated features, or by refitting without each row; "auto" refits up to 64 rows.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Returns
    -------
    Recommendation
        Settings, errors and the estimated task.

    Raises
    ------
    ValueError
        If there is no source, a grid is empty or leaves its domain, X or y is constant, or samples
        are not fewer than features.

    See Also
    --------
    DiagonalNetworkRegressor, leave_one_out

    References
    ----------
    .. [1] N. Anguita et al., arXiv:2602.20062.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.diagonal import recommend
    >>> rng = np.random.default_rng(0)
    >>> X, source = rng.normal(size=(12, 20)), np.arange(20) < 3
    >>> grid = {"shares": (0.1, 1.0), "readout_scales": (0.0, 1.0), "init_scales": (1e-3,)}
    >>> advice = recommend(X, X @ source, source * 1.0, **grid)
    >>> advice.best["readout_scale"], bool(advice.loo < advice.scratch_loo)
    (0.0, True)
    """
    check_choice(method, "method", ("auto", "first-order", "exact"))
    if source is None:
        raise ValueError("source must be given: there is nothing to choose without one")
    shares, readout_scales, init_scales = (
        _grid(shares, "shares", low=0.0, high=2.0, open_low=True),
        _grid(readout_scales, "readout_scales", low=0.0, high=1e150),
        _grid(init_scales, "init_scales", low=1e-300, high=1e300),
    )
    features, labels = _read(X, y)
    n, d = features.shape
    if n > min(d, DIRECT_MAX):
        raise ValueError(
            f"X must have fewer rows than columns, got {features.shape}: with more samples than "
            "features every initialisation ends at least squares"
            if n > d
            else f"X must have at most {DIRECT_MAX} rows, got {n}: leave-one-out errors need a "
            "matrix of that size"
        )
    base = FitSettings(fit_intercept=fit_intercept, n_jobs=n_jobs)
    coef = read_coefficients(source, X if hasattr(X, "columns") else features, base)
    problem = scale_problem(features, labels, coef, base)
    grid: list[dict[str, Any]] = [
        {"init_scale": c, "balance": a - 1.0, "readout_scale": g}
        for c, a, g in itertools.product(init_scales, shares, readout_scales)
    ]
    scratch: list[dict[str, Any]] = [{"init_scale": c, "source": None} for c in init_scales]
    is_exact = method == "exact" or (method == "auto" and n <= EXACT_LOO_MAX)
    fits: list[_Fit] = []
    for setting in [*grid, *scratch]:
        given = problem.from_scratch if "source" in setting else problem
        settings = dataclasses.replace(base, **{k: v for k, v in setting.items() if k != "source"})
        near = fits[-1].found.coef if fits else None
        fits.append(_judge(given, settings, near, is_exact))
    judged = np.array([fit.error for fit in fits])
    k = int(np.argmin(judged[: len(grid)]))
    task = _estimate_task(problem, fits[k], grid[k])
    forecast = DiagonalModel(n / d, components=task.components, noise=task.noise, **grid[k])
    axes = {
        "init_scale": init_scales,
        "balance": [a - 1.0 for a in shares],
        "readout_scale": readout_scales,
    }
    predicted = curve(forecast, axes, n_jobs=n_jobs, on_failure="ignore")["test_error"].reshape(-1)
    predicted = np.where(np.isnan(predicted), np.inf, predicted)  # no solution: never the best
    step = curve(forecast, {"alpha": [n / d, 1.02 * n / d]}, on_failure="ignore")["test_error"]
    square = problem.y_scale**2
    chosen = int(np.argmin(judged))
    everything = [*grid, *scratch]
    return Recommendation(
        best=everything[chosen],
        loo=float(judged[chosen]) * square,
        scratch_loo=float(judged[len(grid) :].min()) * square,
        null_loo=float(np.mean((labels - labels.mean()) ** 2)) * (n / max(n - 1, 1)) ** 2,
        table={
            "mode": np.array(["reset"] * len(grid) + ["scratch"] * len(scratch)),
            **{
                name: np.array([s.get(name, 0.0) for s in everything])
                for name in ("init_scale", "balance", "readout_scale")
            },
            "loo": judged * square,
        },
        predicted_best=grid[int(np.argmin(predicted))],
        predicted_error=float(predicted.min()) * square,
        gain_per_sample=float(step[0] - step[1]) / (0.02 * n) * square,
        components=task.components,
        noise=task.noise * problem.y_scale,
    )


def _grid(
    values: Any, name: str, *, low: float, high: float, open_low: bool = False
) -> list[float]:
    grid = as_float_array(values, name, largest=math.inf)
    if not grid.size:
        raise ValueError(f"{name} must not be empty")
    for i, value in enumerate(grid):
        check_real(value, f"{name}[{i}]", low=low, high=high, open_low=open_low)
    return [float(value) for value in grid]


def _read(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    from sklearn.utils.validation import check_X_y

    with naming("X", "y"):
        features, labels = check_X_y(X, y, dtype=np.float64, y_numeric=True, order="C")
    labels = np.ascontiguousarray(labels, dtype=np.float64)
    check_entries(features, "X")
    check_entries(labels, "y")
    if not np.ptp(labels) > 1e-13 * np.abs(labels).max():
        raise ValueError(f"y must vary, got {labels[0]:g} in every row")
    return features, labels


class _Fit(NamedTuple):
    scale: FloatArray
    found: MinimumPenalty
    error: float  # leave-one-out


def _judge(
    problem: Problem, settings: FitSettings, near: FloatArray | None, is_exact: bool
) -> _Fit:
    start = starting_point(problem, settings)
    found = end_point(problem, start, settings, coef_start=near)
    left = found.loo_residual
    if is_exact:
        left = leave_one_out(
            problem.X, problem.y, start.scale, centre=start.centre,
            fit_intercept=settings.fit_intercept, coef_start=found.coef, n_jobs=settings.n_jobs,
        )  # fmt: skip
    return _Fit(start.scale, found, float(np.mean(left**2)))


def _spike_and_normal(z: FloatArray, tau: float) -> tuple[float, float]:
    """Share and variance of a zero-or-normal coefficient behind z = B + sqrt(tau) N(0, 1)."""
    share, var = 0.5, max(2.0 * float(np.mean(z**2)) - tau, 0.1 * tau)
    for _ in range(300):
        log_odds = (
            math.log(share / (1.0 - share))
            - 0.5 * math.log1p(var / tau)
            + 0.5 * z**2 * (1.0 / tau - 1.0 / (var + tau))
        )
        active = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))
        total = float(active.sum())
        before = share
        share = min(max(total / z.size, 1e-6), 1.0 - 1e-6)
        var = max(float(active @ z**2) / max(total, 1e-300) - tau, 1e-12 * tau)
        if abs(share - before) < 1e-8:
            break
    return share, var


class _Task(NamedTuple):
    components: tuple[Component, ...]
    noise: float  # standard deviation, in the units of the theory


def _estimate_task(problem: Problem, fit: _Fit, setting: dict[str, Any]) -> _Task:
    """Law of the coefficients and noise from the debiased coefficients of a fit."""
    source = problem.source
    assert source is not None
    n, d = problem.X.shape
    scale, coef = fit.scale, fit.found.coef
    channel = channel_estimate(scale, coef, fit.found.dual, n)
    free = scale > 0.0
    z = coef.copy()
    z[free] += 0.5 * channel.effective_mu * np.arcsinh(coef[free] / scale[free])
    size = np.abs(source)
    active = size > 1e-3 * size.max(initial=0.0)
    parts: list[Component] = []
    for mask, name in ((active & free, "source"), (~active & free, "rest")):
        if not mask.any():
            continue
        share, var = _spike_and_normal(z[mask], channel.tau)
        levels = np.sort(size[mask])
        for level in np.array_split(levels, min(6, levels.size) if name == "source" else 1):
            weight = level.size / int(free.sum())
            centre = float(level.mean())
            for p, v in ((share, var), (1.0 - share, 0.0)):
                parts.append(
                    Component(weight=weight * p, source_mean=centre, target_var=v, group=name)
                )
    total = math.fsum(p.weight for p in parts)
    law = tuple(dataclasses.replace(p, weight=p.weight / total) for p in parts)
    noise2 = 0.0
    for _ in range(20):  # the noise that explains the leave-one-out error
        model = DiagonalModel(n / d, components=law, noise=math.sqrt(noise2), **setting)
        update = max(0.0, fit.error - solve(model, on_failure="ignore").mse)
        if abs(update - noise2) < 1e-4 * fit.error:
            break
        noise2 = 0.5 * (noise2 + update)
    return _Task(law, math.sqrt(noise2))
