r"""Exact asymptotic risk of fine-tuning with linear teachers.

All equations hold in the limit of many dimensions and samples for inputs :math:`x = \Sigma^{1/2} z`
with independent standard entries (universality), and are accurate to :math:`O(1/n)` at finite size.
For a zero source they are the known ridgeless and ridge asymptotics (Hastie et al. 2022); the shift
to a source, finite sources and depth are derived here
(`derivations/linear#risk-of-a-fixed-source`), after Shachaf et al. (2021).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure, report_status
from retemper._dispatch import core
from retemper._progress import ProgressLike, as_callback
from retemper._results import Result, Status, Sweep, read_axes, report_points, stack_points
from retemper._threads import effective_n_threads
from retemper._validation import FloatArray, check_choice, check_kind
from retemper.exceptions import ValidityWarning
from retemper.linear.deep.trunk import check_trunk, is_trunk, source_mixing
from retemper.linear.eigenbasis import Problem, SourceLaw, prepare, source_law
from retemper.linear.model import SCALARS, LinearModel
from retemper.linear.rows import ClassRoots, RowClasses, class_roots, row_classes
from retemper.linear.spectral import roots
from retemper.linear.stochastic import largest_step_size, n_steps
from retemper.linear.stopping import Steps, Stopped, repeated_descent, stopped_classes, stopped_flow

__all__ = ["LinearTheory", "curve", "solve"]


class _Points(NamedTuple):
    """Where to evaluate: arrays of shape (k,) and what they share."""

    n_samples: FloatArray
    ridge: FloatArray
    noise: FloatArray
    depth: float
    n_threads: int
    stop_time: float = math.inf
    source_scale: float = 1.0  # before training; NaN: the best
    rows: RowClasses | None = None  # None: all rows are alike
    step_size: float | None = None  # of one pass of stochastic descent
    batch_size: int = 1
    n_passes: float | None = None  # None: every row is used once
    grows: NDArray[np.bool_] | None = None  # (k,) where the risk grows with every step

    @property
    def stops(self) -> bool:
        """Whether training ends before the rows are fitted."""
        return math.isfinite(self.stop_time) or self.step_size is not None


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


def _evaluate(
    problem: Problem, source: SourceLaw, points: _Points
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
    root, share, heard, (unfit, unfit_noise) = _target_root(spectrum, n, inner, points)
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

    sums = core.linear.metric_sums(
        spectrum, rows, root.effective_ridge, core.linear.Metric.bias, n_threads
    )
    early: Stopped | None = None
    if stopped.any():  # training that stops: sums of its own, and no further factor
        early = _stopped(spectrum, rows, points, stopped)
        sums = np.where(stopped[:, None], early.sums, sums)
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


def _target_root(
    spectrum: FloatArray, n: FloatArray, ridge: FloatArray, points: _Points
) -> tuple[
    core.linear.EffectiveRidge | ClassRoots,
    FloatArray,
    FloatArray | float,
    tuple[FloatArray, FloatArray],
]:
    """Effective ridge, df2 / n or what takes its place, the noise that is heard over given.

    And the training error per risk and per variance of the noise.
    """
    if points.rows is not None:
        found = class_roots(spectrum, n, ridge, points.rows, points.n_threads)
        return found, found.share, found.heard, (found.unfit, found.unfit_noise)
    root = roots(spectrum, n, ridge, points.n_threads)
    some, kappa = n > 0.0, root.effective_ridge
    left = np.divide(n - root.df1, n, out=np.zeros_like(n), where=some)
    left = np.square(np.divide(ridge, kappa, out=left, where=some & (kappa != 0.0)))
    share = np.divide(root.df2, n, out=np.zeros_like(n), where=some)
    return root, share, 1.0, (left, left)


def _stopped(
    spectrum: FloatArray, rows: FloatArray, points: _Points, stopped: NDArray[np.bool_]
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


def _evaluate_trunk(
    problem: Problem, source: SourceLaw, points: _Points, model: LinearModel
) -> tuple[dict[str, NDArray[Any]], core.linear.EffectiveRidge | ClassRoots]:
    """The quantities of outputs that share a trunk: of one layer, from a source that is mixed."""
    plain = points._replace(depth=1.0)
    found, root = _evaluate(problem, source, plain)
    values = {name: np.array(value) for name, value in found.items()}
    scale = np.repeat(values["source_scale"], model.n_outputs, axis=1)
    rank = np.count_nonzero(problem.spectrum)
    for j in np.flatnonzero((points.n_samples >= 1.0) & (points.n_samples < rank)):
        noise = float(points.noise[j])
        mixing = source_mixing(problem, model, float(points.n_samples[j]), noise)
        here = {name: getattr(points, name)[j : j + 1] for name in _FAST}
        mixed = SourceLaw(mixing @ source.mean, source.level, source.diagonal)
        one, _ = _evaluate(problem, mixed, plain._replace(**here))
        for name in ("risk", "bias", "risk_bound", "bound_k", "training_error"):
            values[name][j] = one[name][0]
        scale[j] *= np.diag(mixing)
    return values | {"source_scale": scale}, root


def _evaluate_scratch(
    problem: Problem, none: SourceLaw, points: _Points, deep: NDArray[np.bool_]
) -> FloatArray:
    """Risk of a deep network with ridge that starts from zero, (k,)."""
    n, _, noise, _, n_threads = points[:5]
    inner = deep_ridges(problem, none, points, deep)[0]
    root, share, heard, _ = _target_root(problem.spectrum, n, inner, points)
    bias = _metric_sums(
        "bias", problem.spectrum, problem.target**2, root.effective_ridge, n_threads
    )[:, 0]
    risk = bias + noise**2 * heard * share
    return np.divide(risk, 1.0 - share, out=np.zeros_like(n), where=deep)


def deep_ridges(
    problem: Problem, source: SourceLaw, points: _Points, deep: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    r"""Ridge and scale of the source with which a deep network of one output regresses.

    The network with ridge :math:`\lambda` ends where the regression with ridge :math:`\lambda/t`
    towards :math:`c\beta_0` does, :math:`t = \lVert\beta\rVert^{1-1/L}`, and the norm concentrates.

    Parameters
    ----------
    problem, source, points
        What is solved.
    deep : ndarray of shape (k,)
        Points with a depth above 1, a ridge, and rows.

    Returns
    -------
    ndarray of shape (k,), ndarray of shape (k,)
        The ridge of the regression, as given at other points; the scale, 1 at other points.
    """
    ridge, scale = points.ridge.copy(), np.ones(points.n_samples.size)
    if not deep.any():
        return ridge, scale
    s, theta, v = problem.spectrum, problem.target[0], source.mean[0]
    level, diagonal = source.level[0], source.diagonal
    n, given, noise = points.n_samples[deep], points.ridge[deep], points.noise[deep]
    some = points._replace(n_samples=n)
    power = points.depth / (points.depth - 1.0)
    with np.errstate(invalid="ignore"):
        size = math.sqrt(v @ v + (level * diagonal.sum() if level > 0.0 else 0.0))
    dual = size ** (-1.0 / power) if size > 0.0 else 0.0

    def excess(x: FloatArray) -> FloatArray:
        """Log norm of the end point, less the one that t = exp(x) stands for."""
        t = np.exp(x)
        root, share, factor, _ = _target_root(s, n, given / t, some)
        kappa, c = root.effective_ridge[:, None], (t * dual)[:, None]
        over = 1.0 / (s + kappa)
        seen = (c * kappa * v + s * theta) * over
        missed = s * np.square(kappa * over * (theta - c * v))
        spread = np.square(c * kappa * over) * (level if level > 0.0 else 0.0) * diagonal
        heard = (missed + s * spread).sum(axis=1) + noise**2 * factor
        learned = (s * over**2).sum(axis=1) * share / (root.df2 * (1.0 - share))
        square = (seen**2 + spread).sum(axis=1) + heard * learned
        with np.errstate(divide="ignore"):
            return np.asarray(0.5 * np.log(square) - power * x)

    start = np.full(n.size, math.log(size) / power if size > 0.0 else 0.0)
    x = _falling_root(excess, start, power)
    ridge[deep] = given / np.exp(x)
    scale[deep] = np.exp(x) * dual
    return ridge, scale


#: Logarithms of t beyond this are cut: t and its square stay finite.
_LARGEST_LOG = 300.0


def _falling_root(
    f: Callable[[FloatArray], FloatArray], start: FloatArray, power: float
) -> FloatArray:
    """Roots of functions with slopes between -power and 1 - power, by regula falsi."""
    at = f(start)
    lone = ~np.isfinite(at)  # no labels and no source: the norm is zero
    at = np.where(lone, 0.0, at)
    near, far = start + at / power, start + at / (power - 1.0)
    low = np.clip(np.minimum(near, far) - 0.1, -_LARGEST_LOG, _LARGEST_LOG)
    high = np.clip(np.maximum(near, far) + 0.1, -_LARGEST_LOG, _LARGEST_LOG)
    f_low, f_high = f(low), f(high)
    x = start
    for turn in range(200):
        with np.errstate(invalid="ignore", divide="ignore"):
            x = high - f_high * (high - low) / (f_high - f_low)
        middle = ~np.isfinite(x) | (x <= low) | (x >= high) | (turn % 4 == 3)
        x = np.where(middle, 0.5 * (low + high), x)
        now = f(x)
        above = now > 0.0
        f_low = np.where(above, now, f_low * 0.5)  # the end that stays counts half (Illinois)
        f_high = np.where(above, f_high * 0.5, now)
        low, high = np.where(above, x, low), np.where(above, high, x)
        close = (abs(now) <= 1e-14 * np.maximum(1.0, abs(x))) | lone
        if (close | (high - low <= 4e-16 * np.maximum(1.0, abs(x)))).all():
            break
    return np.where(lone, 0.0, x)


#: Decades of ridge around the median eigenvalue among which the best is looked for, and the points
#: of every round; each round divides the bracket by ten.
_DECADES, _ROUND, _N_ROUNDS = (-10.0, 10.0), 41, 7


def _best_ridge(problem: Problem, source: SourceLaw, points: _Points) -> FloatArray:
    """Ridge of smallest risk at every point, (k,), zero included."""
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
        risk = _evaluate(problem, source, at)[0]["risk"].reshape(k, many)
        best = risk.argmin(axis=1)
        low = np.take_along_axis(exponent, np.maximum(best - 1, 0)[:, None], 1)[:, 0]
        high = np.take_along_axis(exponent, np.minimum(best + 1, many - 1)[:, None], 1)[:, 0]
    found = np.take_along_axis(ridge, best[:, None], 1)[:, 0]
    none = _evaluate(problem, source, points._replace(ridge=np.zeros(k)))[0]["risk"]
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
    points: _Points,
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


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LinearTheory(Result):
    r"""Predicted risks of a `LinearModel`; all are excess risks, summed over outputs (see `solve`).

    Parameters
    ----------
    status : Status
        ``invalid`` where a risk is infinite (``n_samples`` or
        ``n_samples_source`` equals the rank, with noise), or grows with every step (``step_size``).
    n_iter : int
        Passes over the spectrum.
    residual : float
        Relative residual of the equation of ``effective_ridge``.
    message : str
        What happened, in words.
    model : LinearModel
        What was solved.
    risk : float
        Fine-tuning from the source; ``bias + variance``.
    bias, variance : float
        The parts without and with the target's label noise.
    effective_ridge, df1, df2 : float
        Effective ridge and degrees of freedom of the target problem (see `effective_ridge`), at
        the end of training.
    source_scale : float or ndarray of shape (n_outputs,)
        Scale c with which the source enters: that of the model at depth 1, one per output in a
        deep network; on a shared trunk the diagonal of what mixes them (`shared_trunk_risk`).
    risk_scratch : float
        The same training from a zero source.
    optimal_scale : float
        Scale of the source with the smallest risk (1 where the scale does not matter). It is the
        effective scale: compare it with ``source_scale``.
    risk_optimal : float
        Risk at ``optimal_scale`` and the same ``effective_ridge``; never above ``risk_scratch``,
        but in a deep network with ridge, where that has an effective ridge of its own.
    risk_zero_shot : float
        The source at the scale of the model, without target data.
    risk_bound : float
        Top-k/tail upper bound on ``risk``; infinite where training stops early or is stochastic.
    bound_k : int
        Number of leading eigenvalues in the best bound; -1 where there is none.
    used_ridge : float
        The ridge of all of the above: the model's, or the best if it is "optimal".
    training_error : float
        Mean squared residual of the rows, label noise included and row weights of mean one; zero
        without rows. NaN after one pass of stochastic descent, where it is not known.

    See Also
    --------
    solve, LinearSimulation

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, solve
    >>> theory = solve(LinearModel(50, np.ones(100) / 10, noise=0.1))
    >>> round(theory.bias, 9), round(theory.variance, 9), round(theory.risk, 9)
    (0.5, 0.01, 0.51)
    """

    model: LinearModel
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
    risk_bound: float
    bound_k: int
    used_ridge: float
    training_error: float


def check_depth(model: LinearModel, ridge: FloatArray) -> None:
    """Refuse what is not known of deep networks: some ridges, some sources on a trunk."""
    depth, n_outputs = model.depth, model.n_outputs
    if is_trunk(model):
        check_trunk(model, ridge)
        return
    if depth == 1 or not (ridge != 0.0).any():
        return
    worst = ridge[ridge != 0.0].min()  # NaN where the best is asked for
    given = "optimal" if np.isnan(worst) else f"{worst:g}"
    if math.isinf(depth):
        raise ValueError(f"ridge must be 0 at depth inf, got {given}")
    if worst < 0.0:
        raise ValueError(f"ridge must not be negative at depth {depth:g}, got {given}")
    if n_outputs > 1:
        raise ValueError(
            f"ridge must be 0 at depth {depth:g} with {n_outputs} outputs, got {given}: each would "
            "have an effective ridge of its own; solve them one by one"
        )


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """Quantities at some points, each of shape (k,) or (k, n_scales), and how each was found."""

    values: dict[str, NDArray[Any]]
    root: core.linear.EffectiveRidge | ClassRoots
    unstable: tuple[str, ...]  # why the risk grows with every step, at every point

    @cached_property
    def status(self) -> list[Status]:
        infinite = np.isinf(self.values["risk"]) | np.array([bool(text) for text in self.unstable])
        return [
            Status.INVALID if bad else Status.from_core(int(code))
            for bad, code in zip(infinite, self.root.status, strict=True)
        ]

    def message(self, k: int) -> str:
        """What happened at a point, in words."""
        status = self.status[k]
        if status is not Status.INVALID:
            return status.sentence
        if self.unstable[k]:
            return self.unstable[k]
        where = "n_samples" if math.isinf(self.values["variance"][k]) else "n_samples_source"
        return (
            f"the risk is infinite: {where} equals the rank of its covariance, with label noise "
            "and without ridge"
        )

    def point(self, k: int) -> dict[str, Any]:
        """Fields of `LinearTheory` at a point."""
        fields = {name: value[k] for name, value in self.values.items()}
        scale = fields.pop("source_scale")
        numbers = {name: value.item() for name, value in fields.items()}
        return numbers | {"source_scale": float(scale[0]) if scale.size == 1 else scale}


def _evaluate_model(
    model: LinearModel, problem: Problem, points: tuple[FloatArray, ...], n_threads: int
) -> _Evaluation:
    """Everything about a model at other sample sizes, ridges and noises, (k,) each."""
    n_samples, ridge, noise = points
    check_depth(model, ridge)
    source = source_law(problem, model.n_samples_source, model.noise_source, model.ridge_source)
    if math.isfinite(model.stop_time) and (ridge != 0.0).any():
        raise ValueError("a finite stop_time needs ridge 0")
    if model.step_size is not None and (ridge != 0.0).any():
        raise ValueError("step_size needs ridge 0")
    if model.row_shares is not None and (ridge < 0.0).any():
        raise ValueError(f"ridge must not be negative with row_shares, got {ridge.min():g}")
    where = _Points(
        n_samples,
        ridge,
        noise,
        model.depth,
        n_threads,
        model.stop_time,
        _number(model.source_scale),
        row_classes(model),
        model.step_size,
        model.batch_size,
        model.n_passes,
    )
    free = np.isnan(ridge)
    if free.any():
        some = where._replace(n_samples=n_samples[free], ridge=ridge[free], noise=noise[free])
        where = where._replace(ridge=np.where(free, 0.0, ridge))
        where.ridge[free] = _best_ridge(problem, source, some)
    unstable = [""] * n_samples.size
    if model.step_size is not None:
        again = model.n_passes is not None
        for k, n in enumerate(n_samples):
            limit = largest_step_size(
                problem.spectrum,
                batch_size=model.batch_size,
                n_samples=float(n) if again and n > 0.0 else None,
            )
            if model.step_size >= limit:
                unstable[k] = (
                    f"step_size = {model.step_size:g} is not below {limit:g}, from where the mean "
                    "risk grows with every step"
                )
        where = where._replace(grows=np.array([bool(text) for text in unstable]))
    if is_trunk(model):
        return _Evaluation(*_evaluate_trunk(problem, source, where, model), tuple(unstable))
    return _Evaluation(*_evaluate(problem, source, where), tuple(unstable))


def solve(model: LinearModel, *, on_failure: OnFailure = "warn") -> LinearTheory:
    r"""Exact asymptotic risk of fine-tuning, and of its alternatives.

    With :math:`\kappa` the `effective_ridge`, :math:`M = \kappa^2 (\Sigma+\kappa)^{-1} \Sigma
    (\Sigma+\kappa)^{-1}` (:math:`\Sigma` at n = 0) and the source used at scale c,

    .. math:: R(c) = \frac{(\theta_T - c v)^T M (\theta_T - c v) + c^2 e + \sigma^2\,
        \mathrm{df}_2/n}{1 - \mathrm{df}_2/n},

    where v is the source, or its mean :math:`(\Sigma_S+\kappa_S)^{-1} \Sigma_S \theta_S` if it is
    itself learned from ``n_samples_source`` samples, and e is the spread of such a source in M,
    :math:`(b_S + \sigma_S^2) \operatorname{tr}[M (\Sigma_S+\kappa_S)^{-1} \Sigma_S
    (\Sigma_S+\kappa_S)^{-1}] / (n_S - \mathrm{df}_{2,S})`. A deep network has the c of
    `deep_scale`, whose arguments concentrate. Rows of several classes change :math:`\kappa`,
    :math:`\mathrm{df}_2/n` and :math:`\sigma^2` (`derivations/linear#rows-that-are-not-alike`);
    training that stops early or is stochastic has another M and another variance
    (`derivations/linear#training-that-stops`, `derivations/linear#one-pass-of-stochastic-descent`,
    `derivations/linear#several-passes-of-stochastic-descent`).

    Parameters
    ----------
    model : LinearModel
        The problem. Covariances need not commute.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do where a risk is infinite.

    Returns
    -------
    LinearTheory
        Risks, their parts, and the best scale of the source.

    Raises
    ------
    ValueError
        If a covariance is not positive semi-definite, or a ridge is below its limit: at depth
        above 1 it may not be negative, and must be 0 at infinite depth or with several outputs;
        or if several outputs share a trunk and the depth is infinite, or their source is learned
        or of lower rank.
    NumericalError
        If ``on_failure="raise"`` and a risk is infinite.

    Warns
    -----
    ValidityWarning
        If a risk is infinite: ``n_samples`` (or ``n_samples_source``) equals the rank of the
        covariance, with noise and without ridge. If ``step_size`` is not below
        `largest_step_size`: the mean risk grows with every step; of several passes it is then
        given as infinite.

    See Also
    --------
    simulate, compare, curve, largest_step_size

    Notes
    -----
    For a zero source the risk is the one of [2]_; the source, its finite sample, the best scale,
    the bound, depth and the best ridge are derived here
    (`derivations/linear#a-source-that-was-learned`), after [1]_.

    References
    ----------
    .. [1] G. Shachaf, A. Brutzkus and A. Globerson, "A Theoretical Analysis of Fine-tuning with
       Linear Teachers", NeurIPS 34 (2021).
    .. [2] T. Hastie, A. Montanari, S. Rosset and R. J. Tibshirani, "Surprises in High-Dimensional
       Ridgeless Least Squares Interpolation", Ann. Statist. 50 (2022) 949-986.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, solve
    >>> teacher = np.ones(100) / 10
    >>> theory = solve(LinearModel(50, teacher, source_coef=0.5 * teacher, noise=0.1))
    >>> round(theory.risk, 9), round(theory.risk_scratch, 9)
    (0.135, 0.51)
    >>> best = solve(
    ...     LinearModel(50, teacher, source_coef=0.5 * teacher, noise=0.1, ridge="optimal")
    ... )
    >>> round(best.used_ridge, 4), round(best.risk, 6)
    (0.08, 0.133699)
    """
    check_kind(model, "model", LinearModel)
    points = np.array([[_number(getattr(model, name))] for name in _FAST])
    found = _evaluate_model(model, prepare(model), tuple(points), 1)
    status, message = found.status[0], found.message(0)
    result = LinearTheory(
        model=model,
        status=status,
        n_iter=int(found.root.n_iter[0]),
        residual=float(found.root.residual[0]),
        message=message,
        **found.point(0),
    )
    what = f"solve: {message}:" if status is Status.INVALID else "solve"
    report_status(status, result.residual, what, on_failure=on_failure)
    return result


#: Fields that a point of a curve may change at no cost: they share everything else.
_FAST = ("n_samples", "ridge", "noise")


def _number(value: float | str) -> float:
    """A field as a number; NaN stands for a ridge that is still to be found."""
    return math.nan if value == "optimal" else float(value)


def curve(
    model: LinearModel,
    axes: Mapping[str, Iterable[Any]],
    *,
    quantities: Sequence[str] | None = None,
    n_jobs: int | None = None,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
) -> Sweep:
    """Solve a model over a grid of its fields.

    Points that differ in ``n_samples``, ``ridge`` and ``noise`` are solved together, and
    covariances are factorised once for all points that share them.

    Parameters
    ----------
    model : LinearModel
        What every point has in common.
    axes : mapping of str to iterable
        Values of any fields of the model, vectors and matrices too; the grid is their product.
    quantities : sequence of str or None, default=None
        Fields of `LinearTheory` to keep; None keeps all quantities.
    n_jobs : int or None, default=None
        Threads; never changes the result.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points with an infinite risk: one warning for all, an error, or nothing.
    progress : None, bool, callable or object, default=None
        Called with (points done, points).

    Returns
    -------
    Sweep
        The quantities, ``status``, and ``valid``. Where outputs have scales of their own,
        ``source_scale`` has one more axis.

    Raises
    ------
    ValueError
        If a name is not a field of the model or a quantity, an axis is empty, or a value is
        outside its domain.
    NumericalError
        If ``on_failure="raise"`` and a risk is infinite.

    Warns
    -----
    ValidityWarning
        If a risk is infinite.

    See Also
    --------
    solve, RiskCurveDisplay

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearModel, curve
    >>> model = LinearModel(1, np.ones(100), source_coef=0.9 * np.ones(100))
    >>> sweep = curve(model, {"n_samples": [20, 40, 60]})
    >>> sweep["risk"].round(9).tolist()
    [0.8, 0.6, 0.4]
    """
    progress = as_callback(progress, "curve")
    check_kind(model, "model", LinearModel)
    names = list(QUANTITIES if quantities is None else quantities)
    for name in names:
        check_choice(name, "quantities", QUANTITIES)
    grid, n_threads = read_axes(model, axes), effective_n_threads(n_jobs)
    order = list(grid.values)
    slow = [name for name in order if name not in _FAST]
    fast = {
        name: [_number(SCALARS[name](v)) for v in grid.values[name]]
        for name in _FAST
        if name in order
    }
    mesh = np.meshgrid(*fast.values(), indexing="ij") if fast else []
    size = math.prod(len(v) for v in fast.values())
    at = dict(zip(fast, (m.ravel() for m in mesh), strict=True))
    points = tuple(at.get(name, np.full(size, _number(getattr(model, name)))) for name in _FAST)

    results = np.empty(grid.shape, dtype=object)
    messages = np.empty(grid.shape, dtype=object)
    # the axes of the fast fields last, in the order of the mesh
    place = [order.index(name) for name in (*slow, *fast)]
    ordered, said = results.transpose(place), messages.transpose(place)
    problem: Problem | None = None
    arrays: tuple[Any, ...] = ()
    total, done = results.size, 0
    for index in itertools.product(*(range(len(grid.values[name])) for name in slow)):
        change = {name: grid.values[name][i] for name, i in zip(slow, index, strict=True)}
        one = dataclasses.replace(model, **change) if change else model
        given = tuple(change.get(name) for name in _FACTORISED)
        if problem is None or any(a is not b for a, b in zip(given, arrays, strict=True)):
            problem, arrays = prepare(one), given
        found = _evaluate_model(one, problem, points, n_threads)
        status = found.status
        inner = [len(v) for v in fast.values()]
        for k, spot in enumerate(np.ndindex(*inner)):
            fields = found.point(k)
            if model.n_outputs > 1:  # one scale for each output at every depth
                fields["source_scale"] = np.broadcast_to(fields["source_scale"], one.n_outputs)
            ordered[(*index, *spot)] = SimpleNamespace(status=status[k], **fields)
            valid = status[k] is Status.CONVERGED
            said[(*index, *spot)] = "" if valid else found.message(k)
        done += size
        if progress is not None:
            progress(done, total)
    texts = messages.ravel().tolist()
    report_points(grid, texts, ValidityWarning, on_failure=on_failure, stacklevel=3)
    return stack_points(grid, results.ravel().tolist(), names, texts)


#: Fields whose change asks for another factorisation.
_FACTORISED = (
    "theta_target",
    "spectrum",
    "cov",
    "source_coef",
    "theta_source",
    "cov_source",
)
