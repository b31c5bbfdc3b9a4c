"""Strong and weak features: the exact curve of the feature model, and its phases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retemper._random import Seed, replica_generator, stream_key
from retemper._repeats import mean_and_stderr
from retemper._results import Result, Status
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_shape,
)
from retemper.phases.model import FeatureModel
from retemper.phases.streams import Purpose
from retemper.phases.theory.layer import (
    RANK_CUT,
    RELEVANT,
    decay,
    describe_phases,
    explained,
    random_subspace_fuv,
)

__all__ = ["FeatureTheory", "PhaseSummary", "summary"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FeatureTheory(Result):
    """Reconstruction of a `FeatureModel` during training, as `solve` returns it (see `solve`).

    Parameters
    ----------
    status : Status
        Always converged: the curve is closed.
    n_iter : int
        Number of initialisations averaged over; 0 for the annealed average.
    residual : float
        Zero.
    message : str
        What was computed, in words.
    model : FeatureModel
        What was solved.
    times : ndarray of shape (T,)
        Times.
    fuv : ndarray of shape (T,)
        Fraction of unexplained input variance.
    task_r2 : ndarray of shape (T,)
        R² of a decoder for the auxiliary task; NaN-free, and empty without a task.
    fuv_stderr, task_r2_stderr : ndarray of shape (T,)
        Standard errors over initialisations; zero for the annealed average.

    See Also
    --------
    solve, FeatureSimulation

    Examples
    --------
    >>> from retemper.phases import FeatureModel, solve
    >>> model = FeatureModel(
    ...     10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5, times=[0.0, 1.0, 30.0]
    ... )
    >>> solve(model).fuv.round(4).tolist()
    [0.6603, 0.4634, 0.6187]
    """

    model: FeatureModel
    times: FloatArray
    fuv: FloatArray
    task_r2: FloatArray
    fuv_stderr: FloatArray
    task_r2_stderr: FloatArray


class FeatureModes:
    """Modes of a feature model, its K - 1 class contrasts having identical ones."""

    def __init__(self, model: FeatureModel) -> None:
        self.copies = model.n_classes - 1
        self.lam, self.u = np.linalg.eigh(model.contrast_covariance)
        self.m = self.u.T @ model.signal / model.n_classes
        noise = np.full(min(model.n_noise, 1), model.noise_sd**2)
        self.rest = np.concatenate([model.common_variance, noise])
        counts = np.concatenate([np.ones(model.n_groups), np.full(noise.size, model.n_noise)])
        self.all = np.concatenate([self.lam, self.rest])
        self.counts = np.concatenate([np.full(self.lam.size, self.copies), counts])
        self.total = model.total_variance
        self.init = model.init_scale**2
        if self.all.max() <= 0.0:
            raise ValueError("the inputs do not vary")

    def spectrum(self) -> FloatArray:
        """Every eigenvalue of the input covariance, (p,), contrast by contrast first."""
        rest = np.repeat(self.rest, self.counts[self.lam.size :].astype(int))
        return np.concatenate([np.tile(self.lam, self.copies), rest])

    def sums(
        self, times: FloatArray, step_size: float | None, power: int
    ) -> tuple[FloatArray, FloatArray]:
        """What is left of the initial weights and what has come in, weighted by lam^power, (T,)."""
        d, phi = decay(self.all, times, step_size)
        g = self.lam.size
        left = (self.counts * self.all**power * d**2).sum(axis=1)
        return left, (self.lam**power * (self.m * phi[:, :g]) ** 2).sum(axis=1)

    def fuv(self, times: FloatArray, step_size: float | None, drop_common: bool) -> FloatArray:
        """The annealed curve: a ratio of averages over the initial weights."""
        left1, came1 = self.sums(times, step_size, 1)
        left2, came2 = self.sums(times, step_size, 2)
        below = self.init * left1 + came1
        moving = below > 0.0
        c = self.copies * np.divide(
            self.init * left2 + came2, below, out=np.zeros_like(below), where=moving
        )
        if not drop_common:
            alive = (left1 > 0.0) & (self.init > 0.0)
            c += np.divide(left2, left1, out=np.zeros_like(c), where=alive)
        return np.asarray(1.0 - c / self.total)

    def slope(self, log_t: float) -> float:
        """Slope d FUV / d log t of the annealed curve under gradient flow, contrasts only."""
        t = np.array([math.exp(log_t)])
        d, phi = decay(self.all, t, None)
        d, phi, g = d[0], phi[0], self.lam.size

        def parts(power: int) -> tuple[float, float]:
            weight = self.counts * self.all**power
            value = self.init * (weight * d**2).sum()
            rate = -2.0 * self.init * (weight * self.all * d**2).sum()
            signal = self.lam**power * self.m**2
            value += (signal * phi[:g] ** 2).sum()
            rate += 2.0 * (signal * phi[:g] * d[:g]).sum()
            return float(value), float(rate)

        below, below_rate = parts(1)
        above, above_rate = parts(2)
        rate = (above_rate * below - above * below_rate) / below**2
        return -self.copies * rate * float(t[0]) / self.total


def _feature_task(model: FeatureModel, task: ArrayLike | None) -> FloatArray | None:
    if task is None:
        return None
    theta = as_float_array(task, "task")
    check_shape(theta, (model.n_groups,), "task")
    if float(theta @ model.contrast_covariance @ theta) <= 0.0:
        raise ValueError("task must have a positive variance under the model")
    return theta


def solve_features(
    model: FeatureModel,
    *,
    drop_common: bool,
    task: ArrayLike | None,
    n_init: int | None,
    random_state: Seed,
) -> FeatureTheory:
    """The feature model's part of `solve`: see there."""
    modes, theta = FeatureModes(model), _feature_task(model, task)
    if n_init is None:
        fuv = modes.fuv(model.times, model.step_size, drop_common)
        r2 = np.empty(0) if theta is None else _annealed_r2(modes, theta, model)
        return FeatureTheory(
            status=Status.CONVERGED, n_iter=0, residual=0.0, model=model, times=model.times,
            message="annealed average over initial weights", fuv=fuv, task_r2=r2,
            fuv_stderr=np.zeros_like(fuv), task_r2_stderr=np.zeros_like(r2),
        )  # fmt: skip
    n_init = check_integer(n_init, "n_init", low=2)
    curves, scores = _draw_curves(
        modes, theta, model, n_init, drop_common=drop_common, key=stream_key(random_state)
    )
    found = mean_and_stderr({"fuv": curves, "task_r2": scores})
    values: dict[str, Any] = {**found.mean}
    values |= {f"{name}_stderr": error for name, error in found.stderr.items()}
    return FeatureTheory(
        status=Status.CONVERGED, n_iter=n_init, residual=0.0, model=model, times=model.times,
        message=f"average over {n_init} initialisations", **values,
    )  # fmt: skip


def _annealed_r2(modes: FeatureModes, theta: FloatArray, model: FeatureModel) -> FloatArray:
    """R^2 of a task at every time, a ratio of averages over the initial weights."""
    d, phi = decay(modes.all, model.times, model.step_size)
    g = modes.lam.size
    weighted = modes.lam * (modes.u.T @ theta)
    left, came = modes.sums(model.times, model.step_size, 1)
    below = modes.init * left + came
    above = (phi[:, :g] * modes.m @ weighted) ** 2 + modes.copies * modes.init * (
        d[:, :g] ** 2 @ weighted**2
    )
    whole = float(theta @ model.contrast_covariance @ theta)
    return np.divide(above, below * whole, out=np.zeros_like(below), where=below > 0.0)


def _draw_curves(
    modes: FeatureModes,
    theta: FloatArray | None,
    model: FeatureModel,
    n_init: int,
    *,
    drop_common: bool,
    key: tuple[int, int],
) -> tuple[FloatArray, FloatArray]:
    """FUV, and R^2 of a task, of every initialisation at every time, (n_init, T)."""
    lam, g = modes.spectrum(), modes.lam.size
    units = modes.copies + (not drop_common)
    signal = np.zeros((units, lam.size))
    along = np.zeros((modes.copies, lam.size))
    for c in range(modes.copies):
        signal[c, c * g : (c + 1) * g] = modes.m
        if theta is not None:
            along[c, c * g : (c + 1) * g] = modes.u.T @ theta
    d, phi = decay(lam, model.times, model.step_size)
    curves = np.empty((n_init, model.times.size))
    scores = np.empty((n_init, 0 if theta is None else model.times.size))
    for i in range(n_init):
        w0 = replica_generator(key, i, Purpose.INIT).normal(size=signal.shape) * model.init_scale
        w = w0 * d[:, None, :] + signal * phi[:, None, :]
        curves[i] = 1.0 - explained(w, lam, 0.0)[0] / lam.sum()
        if theta is not None:
            r2s = [explained(w, lam, 0.0, row)[1] for row in along]
            scores[i] = np.mean(np.array(r2s, dtype=np.float64), axis=0)
    return curves, scores


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PhaseSummary(Result):
    """The phases of a `FeatureModel` in a few numbers, as `summary` returns them (see `summary`).

    Parameters
    ----------
    status : Status
        Always converged.
    n_iter : int
        Times scanned.
    residual : float
        Slope of the curve at the turning point.
    message : str
        Which phases there are, in words.
    model : FeatureModel
        What was solved.
    fuv_init : float
        Plateau of a random layer (deterministic equivalent).
    fuv_early : float
        Row space of the class means: what a dominating signal gives at early times.
    fuv_late : float
        Row space of least squares: the end of training.
    t_star : float
        Turning point, the time of the smallest FUV under gradient flow; 0 if there is only a rise.
    fuv_star : float
        FUV there.
    minima : ndarray
        Times of all local minima.
    has_fall : bool
        Whether there is a second phase: a fall from the plateau.

    See Also
    --------
    summary

    Examples
    --------
    >>> from retemper.phases import FeatureModel, summary
    >>> model = FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5)
    >>> found = summary(model)
    >>> found.has_fall, round(found.fuv_early, 4), round(found.t_star, 3)
    (True, 0.4505, 1.468)
    """

    model: FeatureModel
    fuv_init: float
    fuv_early: float
    fuv_late: float
    t_star: float
    fuv_star: float
    minima: FloatArray
    has_fall: bool


def _minima(slope: Callable[[float], float], low: float, high: float, n: int = 4000) -> list[float]:
    """Log-times at which the slope goes from negative to positive."""
    from scipy.optimize import brentq

    grid = np.linspace(low, high, n)
    values = np.array([slope(float(x)) for x in grid])
    falls = np.flatnonzero((values[:-1] < -1e-13) & (values[1:] >= 0.0))  # not mere rounding
    return [float(brentq(slope, grid[i], grid[i + 1], xtol=1e-12)) for i in falls]


def summary(model: FeatureModel) -> PhaseSummary:
    """Plateau, fall and rise of a feature model, and its turning point.

    Parameters
    ----------
    model : FeatureModel
        The problem.

    Returns
    -------
    PhaseSummary
        Three levels of FUV and the turning point, contrasts only.

    Raises
    ------
    TypeError
        If ``model`` is not a FeatureModel.

    See Also
    --------
    solve, phase_forecast

    Notes
    -----
    Derived here (`derivations/phases#the-third-phase`): the third phase always rises (the row space
    of the weights moves towards small eigenvalues), so that ``fuv_early <= fuv_late``; the fall
    exists if early alignment beats the random layer.

    Examples
    --------
    >>> from retemper.phases import FeatureModel, summary
    >>> found = summary(FeatureModel(10, [3.0, 1.0], [1.0, 0.2], n_noise=50, noise_sd=0.5))
    >>> round(found.fuv_init, 3), round(found.fuv_star, 6), round(found.t_star, 3)
    (0.72, 0.461855, 1.468)
    """
    if not isinstance(model, FeatureModel):
        raise TypeError(f"model must be a FeatureModel, got {type(model).__name__}")
    modes = FeatureModes(model)
    if not modes.m.any():
        raise ValueError("signal must have a nonzero entry: without it nothing is learned")
    lam, m = modes.lam, modes.m[None]
    early = 1.0 - modes.copies * float(explained(m, lam, 0.0)[0]) / modes.total
    seen = lam > RANK_CUT * lam.max()
    inverse = np.where(seen, 1.0 / np.where(seen, lam, 1.0), 0.0)
    late = 1.0 - modes.copies * float(explained(m * inverse, lam, 0.0)[0]) / modes.total
    positive = modes.all[modes.all > 0.0]
    plateau = random_subspace_fuv(modes.spectrum(), modes.copies)
    slope_at, found = 0.0, np.empty(0)
    t_star, star = 0.0, min(early, late)
    if modes.init > 0.0:
        low, high = math.log(1e-4 / positive.max()), math.log(1e3 / positive.min())
        found = np.exp(_minima(modes.slope, low, high))
        star = float(modes.fuv(np.zeros(1), None, True)[0])
        if found.size:
            levels = modes.fuv(found, None, True)
            best = int(levels.argmin())
            if levels[best] < star:
                t_star, star = float(found[best]), float(levels[best])
                slope_at = modes.slope(math.log(t_star))
    falls = modes.init > 0.0 and plateau - star > RELEVANT and t_star > 0.0
    rises = late - star > RELEVANT
    return PhaseSummary(
        status=Status.CONVERGED, n_iter=4000, residual=abs(slope_at), model=model,
        message=describe_phases(falls, rises), fuv_init=plateau, fuv_early=early, fuv_late=late,
        t_star=t_star, fuv_star=star, minima=found, has_fall=falls,
    )  # fmt: skip
