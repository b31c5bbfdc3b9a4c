"""Risks of a model at many sample sizes, ridges and noises: what `solve` and `curve` report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retemper._dispatch import core
from retemper._validation import FloatArray
from retemper.linear.deep.ridge import deep_ridges
from retemper.linear.deep.trunk import source_mixing
from retemper.linear.eigenbasis import Problem, SourceLaw
from retemper.linear.model import LinearModel
from retemper.linear.points import Points, target_root
from retemper.linear.rows import ClassRoots
from retemper.linear.stochastic import n_steps
from retemper.linear.stopping import Steps, Stopped, repeated_descent, stopped_classes, stopped_flow

__all__ = ["FAST", "QUANTITIES", "best_ridge", "bias_sums", "evaluate", "evaluate_trunk"]

#: Fields that a point of a curve may change at no cost: they share everything else.
FAST = ("n_samples", "ridge", "noise")

#: Quantities of the theory, in the order of `LinearTheory`.
QUANTITIES = (
    "risk",
    "bias",
    "variance",
    "effective_ridge",
    "df1",
    "df2",
    "source_scale",
    "risk_scratch",
    "optimal_scale",
    "risk_optimal",
    "risk_zero_shot",
    "risk_bound",
    "bound_k",
    "used_ridge",
    "training_error",
)


def evaluate(
    problem: Problem, source: SourceLaw, points: Points
) -> tuple[dict[str, NDArray[Any]], core.linear.EffectiveRidge | ClassRoots]:
    """All quantities at the points, each of shape (k,)."""
    n, ridge, noise, depth, n_threads = points[:5]
    given_scale = points.source_scale
    spectrum, target = problem.spectrum, problem.target
    outputs = target.shape[0]
    some = n > 0.0
    deep = some & (ridge != 0.0) if depth != 1 else np.zeros(n.size, bool)
    before = source  # as training finds it
    if depth != 1 and given_scale != 1.0:
        square = np.full_like(source.level, given_scale**2)
        before = SourceLaw(
            given_scale * source.mean, _times(source.level, square, 1.0), source.diagonal
        )
    inner, deep_scale_of = deep_ridges(problem, before, points, deep)
    root, share, heard, (unfit, unfit_noise) = target_root(spectrum, n, inner, points)
    slope = 1.0 - share
    regular = slope > 0.0

    def over_slope(x: FloatArray, otherwise: FloatArray | float) -> FloatArray:
        out = np.full_like(x, otherwise) if np.ndim(otherwise) == 0 else np.array(otherwise)
        return np.divide(x, slope, out=out, where=regular)

    spread_of_noise = outputs * np.square(noise) * heard
    variance = over_slope(
        spread_of_noise * share,
        np.where(spread_of_noise > 0.0, np.inf, 0.0),
    )

    stopped = points.stops & some
    # the bias is a quadratic form in the scale c of the source: with delta = target - mean,
    # delta.M.delta + 2 (1 - c) delta.M.mean + (1 - c)^2 mean.M.mean + c^2 level diag(M).diagonal
    delta = target - source.mean
    forms = np.stack([delta**2, delta * source.mean, source.mean**2])  # (3, K, d)
    level = source.level
    if depth == 1:  # one scale for all outputs
        forms, level = forms.sum(axis=1, keepdims=True), level.sum(keepdims=True)
        scale = np.full((n.size, 1), given_scale)
    else:
        scale = _depth_scales(problem, before, (root, share, heard), points)
        scale = given_scale * np.where(deep[:, None], deep_scale_of[:, None], scale)
    groups = forms.shape[1]
    certain = bool(np.isfinite(level).all())
    finite_level = level if certain else np.zeros_like(level)
    rows = np.concatenate(
        [forms.reshape(3 * groups, -1), source.diagonal[None], np.square(target).sum(0)[None]]
    )

    def form(metric_sums: FloatArray, c: FloatArray) -> FloatArray:
        own = metric_sums[:, : 3 * groups].reshape(-1, 3, groups)
        apart = 1.0 - c
        value = own[:, 0] + 2.0 * apart * own[:, 1] + apart**2 * own[:, 2]
        spread = _times(level, metric_sums[:, -2, None], c**2)
        total: FloatArray = np.maximum(value + spread, 0.0).sum(axis=1)
        return total

    sums, early = bias_sums(spectrum, rows, root.effective_ridge, points)
    if early is not None:  # training that stops has no further factor
        variance = np.where(stopped, outputs * np.square(noise) * early.variance, variance)
        slope = np.where(stopped, 1.0, slope)
        regular = slope > 0.0
    own = sums[:, : 3 * groups].reshape(-1, 3, groups).sum(axis=2)
    spread = _times(level, sums[:, -2, None], 1.0).sum(axis=1)
    power = own[:, 2] + spread
    best = np.divide(own[:, 1] + own[:, 2], power, out=np.ones_like(n), where=power > 0.0)
    if np.isnan(given_scale):
        scale = best[:, None].copy()
    # where the source is forgotten its scale may be infinite, and must not meet a zero
    forgotten = (root.effective_ridge == 0.0) & ~stopped
    used = np.where(forgotten[:, None], 1.0, scale)
    bias = over_slope(form(sums, used), 0.0)
    if depth != 1 and not certain:
        bias = np.where(some & (root.effective_ridge > 0.0), np.inf, bias)

    risk, given_noise = bias + variance, outputs * np.square(noise)
    training = np.multiply(unfit, risk, out=np.zeros_like(n), where=unfit > 0.0)
    training += unfit_noise * given_noise
    if early is not None:
        own = form(early.fitted, used) + given_noise * early.floor
        training = np.where(stopped, own, training)
    training = np.where(some, training, 0.0)

    scratch = over_slope(sums[:, -1], 0.0)
    optimal = over_slope(form(sums, best[:, None]), 0.0)
    optimal = np.where(np.isinf(power), scratch, np.minimum(optimal, scratch))

    at_infinity = core.linear.metric_sums(
        spectrum, rows, np.array([np.inf]), core.linear.Metric.bias, 1
    )
    as_it_is = scale if depth == 1 else np.full((1, groups), given_scale)
    zero_shot = form(at_infinity, as_it_is)

    apart = 1.0 - used
    coef = np.concatenate(
        [np.ones_like(used), 2.0 * apart, apart**2, (used**2 @ finite_level)[:, None]], axis=1
    )
    if certain and not points.stops:
        carried, least = (1.0, 1.0) if points.rows is None else points.rows.least
        top_k = core.linear.top_k_bound(
            spectrum,
            np.ascontiguousarray(rows[:-1]),
            coef,
            n * carried,
            inner / (carried * least),
            root.effective_ridge,
            n_threads,
        )
        bound, bound_k = over_slope(top_k.bound, np.inf), top_k.bound_k
    else:
        bound, bound_k = np.full_like(n, np.inf), np.full(n.size, -1)
    risk_scratch = scratch + variance
    if deep.any():  # without a source the network regresses with a ridge of its own
        none = SourceLaw(np.zeros_like(target), np.zeros(outputs), np.zeros(spectrum.size))
        alone = _evaluate_scratch(problem, none, points, deep)
        risk_scratch = np.where(deep, alone, risk_scratch)
    if points.grows is not None and points.n_passes is not None:
        for each in (bias, variance, risk, risk_scratch, optimal, training):
            each[points.grows & some] = np.inf
    values: dict[str, NDArray[Any]] = {
        "risk": risk,
        "bias": bias,
        "variance": variance,
        "effective_ridge": root.effective_ridge,
        "df1": root.df1,
        "df2": root.df2,
        "source_scale": scale,
        "risk_scratch": risk_scratch,
        "optimal_scale": best,
        "risk_optimal": optimal + variance,
        "risk_zero_shot": np.broadcast_to(zero_shot, n.shape),
        "risk_bound": bound + variance,
        "bound_k": bound_k,
        "used_ridge": ridge,
        "training_error": training,
    }
    return values, root


def bias_sums(
    spectrum: FloatArray, rows: FloatArray, kappa: FloatArray, points: Points
) -> tuple[FloatArray, Stopped | None]:
    """Sums of every row (m, d) in the metric of the bias, (k, m), and more of training that stops.

    Parameters
    ----------
    spectrum : ndarray of shape (d,)
        Eigenvalues of the covariance.
    rows : ndarray of shape (m, d)
        Weights of the eigendirections; products of components of two vectors.
    kappa : ndarray of shape (k,)
        Effective ridges.
    points : Points
        Where.

    Returns
    -------
    ndarray of shape (k, m), Stopped or None
        The sums; what is known of training that stops where there is a point of it.
    """
    sums = core.linear.metric_sums(spectrum, rows, kappa, core.linear.Metric.bias, points.n_threads)
    stopped = points.stops & (points.n_samples > 0.0)
    if not stopped.any():
        return sums, None
    early = _stopped(spectrum, rows, points, stopped)
    return np.where(stopped[:, None], early.sums, sums), early


def _stopped(
    spectrum: FloatArray, rows: FloatArray, points: Points, stopped: NDArray[np.bool_]
) -> Stopped:
    """Sums of rows (k, m) and what noise adds (k,) where training stops early, zero elsewhere."""
    k, m = points.n_samples.size, len(rows)
    step = points.step_size
    if step is not None and points.n_passes is None:
        counts, place = np.unique(points.n_samples // points.batch_size, return_inverse=True)
        found = core.linear.descent_risk(
            spectrum, counts.astype(np.int64), step, float(points.batch_size)
        )
        unknown = np.full((k, m), np.nan), np.full(k, np.nan)
        return Stopped((rows @ found.weights.T).T[place], found.variance[place], *unknown)
    out = Stopped(np.zeros((k, m)), np.zeros(k), np.zeros((k, m)), np.zeros(k))
    grows = np.zeros(k, bool) if points.grows is None else points.grows
    for j in np.flatnonzero(stopped & ~grows):
        n, time = points.n_samples[j], points.stop_time
        if step is not None and points.n_passes is not None:
            count = n_steps(n, points.n_passes, points.batch_size)
            steps = Steps(step, float(points.batch_size), count)
            time = steps.time
        if time == 0.0:
            fit, floor = (1.0, 1.0) if points.rows is None else points.rows.start
            one = Stopped(rows @ spectrum, 0.0, fit * (rows @ spectrum), floor)
        elif points.rows is not None:
            one = stopped_classes(spectrum, rows, n, time, points.rows)
        elif step is None:
            one = stopped_flow(spectrum, rows, n, time)
        else:
            one = repeated_descent(spectrum, rows, n, steps)
        out.sums[j], out.variance[j], out.fitted[j], out.floor[j] = one
    return out


def evaluate_trunk(
    problem: Problem, source: SourceLaw, points: Points, model: LinearModel
) -> tuple[dict[str, NDArray[Any]], core.linear.EffectiveRidge | ClassRoots]:
    """The quantities of outputs that share a trunk: of one layer, from a source that is mixed."""
    plain = points._replace(depth=1.0)
    found, root = evaluate(problem, source, plain)
    values = {name: np.array(value) for name, value in found.items()}
    scale = np.repeat(values["source_scale"], model.n_outputs, axis=1)
    rank = np.count_nonzero(problem.spectrum)
    for j in np.flatnonzero((points.n_samples >= 1.0) & (points.n_samples < rank)):
        noise = float(points.noise[j])
        mixing = source_mixing(problem, model, float(points.n_samples[j]), noise)
        here = {name: getattr(points, name)[j : j + 1] for name in FAST}
        mixed = SourceLaw(mixing @ source.mean, source.level, source.diagonal)
        one, _ = evaluate(problem, mixed, plain._replace(**here))
        for name in ("risk", "bias", "risk_bound", "bound_k", "training_error"):
            values[name][j] = one[name][0]
        scale[j] *= np.diag(mixing)
    return values | {"source_scale": scale}, root


def _evaluate_scratch(
    problem: Problem, none: SourceLaw, points: Points, deep: NDArray[np.bool_]
) -> FloatArray:
    """Risk of a deep network with ridge that starts from zero, (k,)."""
    n, _, noise, _, n_threads = points[:5]
    inner = deep_ridges(problem, none, points, deep)[0]
    root, share, heard, _ = target_root(problem.spectrum, n, inner, points)
    bias = _metric_sums(
        "bias", problem.spectrum, problem.target**2, root.effective_ridge, n_threads
    )[:, 0]
    risk = bias + noise**2 * heard * share
    return np.divide(risk, 1.0 - share, out=np.zeros_like(n), where=deep)


#: Decades of ridge around the median eigenvalue among which the best is looked for, and the points
#: of every round; each round divides the bracket by ten.
_DECADES, _ROUND, _N_ROUNDS = (-10.0, 10.0), 41, 7


def best_ridge(
    problem: Problem,
    source: SourceLaw | None,
    points: Points,
    risk_at: Callable[[Points], FloatArray] | None = None,
) -> FloatArray:
    """Ridge of smallest risk at every point, (k,), zero included.

    Parameters
    ----------
    problem : Problem
        The factorised model.
    source : SourceLaw or None
        Its source; not read with ``risk_at``.
    points : Points
        Where; their ridge is not read.
    risk_at : callable or None, default=None
        The risk at points, (k,); None is that of `evaluate`.

    Returns
    -------
    ndarray of shape (k,)
        The ridges.
    """

    def risks(at: Points) -> FloatArray:
        if risk_at is not None:
            return risk_at(at)
        assert source is not None
        return np.asarray(evaluate(problem, source, at)[0]["risk"])

    positive = problem.spectrum[problem.spectrum > 0.0]
    unit = float(np.median(positive)) if positive.size else 1.0  # a few may be very large
    k = points.n_samples.size
    low, high = (np.full(k, end) for end in _DECADES)
    for turn in range(_N_ROUNDS):
        exponent = np.linspace(low, high, _ROUND if turn == 0 else 21, axis=1)  # (k, m)
        ridge = unit * 10.0**exponent
        many = exponent.shape[1]
        at = points._replace(
            n_samples=np.repeat(points.n_samples, many),
            ridge=ridge.ravel(),
            noise=np.repeat(points.noise, many),
        )
        risk = risks(at).reshape(k, many)
        best = risk.argmin(axis=1)
        low = np.take_along_axis(exponent, np.maximum(best - 1, 0)[:, None], 1)[:, 0]
        high = np.take_along_axis(exponent, np.minimum(best + 1, many - 1)[:, None], 1)[:, 0]
    found = np.take_along_axis(ridge, best[:, None], 1)[:, 0]
    none = risks(points._replace(ridge=np.zeros(k)))
    return np.where(none <= np.take_along_axis(risk, best[:, None], 1)[:, 0], 0.0, found)


def _metric_sums(
    metric: str, spectrum: FloatArray, rows: FloatArray, effective_ridge: FloatArray, n_threads: int
) -> FloatArray:
    """Sums of every row (m, d) in a diagonal metric, (k, m); see theory.hpp."""
    return core.linear.metric_sums(
        spectrum, rows, effective_ridge, core.linear.Metric[metric], n_threads
    )


def _times(level: FloatArray, form: FloatArray, factor: FloatArray | float) -> FloatArray:
    """Level * form * factor, where an infinite level times zero is zero."""
    product = np.asarray(form * factor)
    with np.errstate(invalid="ignore"):
        return np.where(product == 0.0, 0.0, level * product)


def _depth_scales(
    problem: Problem,
    source: SourceLaw,
    target: tuple[core.linear.EffectiveRidge | ClassRoots, FloatArray, FloatArray | float],
    points: Points,
) -> FloatArray:
    """Scale of the source at every point and output, (k, K), without ridge."""
    root, share, factor = target
    effective_ridge = root.effective_ridge
    n, _, noise, depth, n_threads = points[:5]
    outputs = source.mean.shape[0]
    if not np.isfinite(source.level).all():  # a source of infinite norm
        return np.where(n[:, None] > 0.0, 0.0, 1.0) * np.ones(outputs)
    spectrum = problem.spectrum
    rows = np.concatenate([source.mean**2, source.diagonal[None], problem.target**2])
    fitted = _metric_sums("fitted", spectrum, rows, effective_ridge, n_threads)
    rest = _metric_sums("rest", spectrum, rows[: outputs + 1], effective_ridge, n_threads)
    some = n > 0.0
    # |X^+ noise|^2: sigma^2 / kappa below the rank; above sigma^2 tr(Sigma^+) / (n - rank), or what
    # takes its place
    positive = spectrum[spectrum > 0.0]
    gain = np.divide(
        1.0,
        effective_ridge,
        out=np.zeros_like(effective_ridge),
        where=some & (effective_ridge > 0.0),
    )
    above = some & (effective_ridge == 0.0)
    if above.any():
        part = (1.0 / positive).sum() / positive.size * share
        gain[above] = np.divide(part, 1.0 - share, out=np.full_like(n, np.inf), where=share < 1.0)[
            above
        ]
    heard = np.square(noise) * factor
    heard = np.multiply(heard, gain, out=np.zeros_like(heard), where=heard > 0.0)
    a2 = fitted[:, outputs + 1 :] + heard[:, None]
    p2 = fitted[:, :outputs] + fitted[:, outputs, None] * source.level
    q2 = rest[:, :outputs] + rest[:, outputs, None] * source.level
    a2[~some], p2[~some], q2[~some] = 1.0, 1.0, 0.0  # no data: the source as it is
    layers = np.full(a2.size, float(depth))
    found = core.linear.deep_scale(a2.ravel(), p2.ravel(), q2.ravel(), layers)
    return found.scale.reshape(a2.shape)
