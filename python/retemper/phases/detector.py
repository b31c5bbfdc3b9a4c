"""Which phase is training in: labels of a recorded curve, and an alarm while it is recorded."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from retemper._domains import check_parameter
from retemper._random import Seed, generator
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_integer,
    check_real,
    check_shape,
)

__all__ = ["PhaseDetector"]

PHASES = ("I", "II", "III")


def _isotonic(y: FloatArray) -> FloatArray:
    """Least-squares non-decreasing fit (pool adjacent violators)."""
    means: list[float] = []
    sizes: list[int] = []
    for value in y:
        means.append(float(value))
        sizes.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2] = (means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size
            sizes[-2] = size
            del means[-1], sizes[-1]
    return np.repeat(means, sizes) if means else np.empty(0)


class ValleyFit(NamedTuple):
    """Least-squares fit that falls and then rises."""

    split: int  # length of its falling part
    values: FloatArray
    squared_error: float


def fit_valley(y: FloatArray) -> ValleyFit:
    """Best fit of the form: not increasing before a split, not decreasing from it on."""
    best = ValleyFit(0, y, math.inf)
    scale = float(np.ptp(y)) ** 2 if y.size else 0.0
    for b in range(y.size + 1):
        fit = np.concatenate([-_isotonic(-y[:b]), _isotonic(y[b:])])
        error = float(((y - fit) ** 2).sum())
        if error < best.squared_error - 1e-12 * scale:
            best = ValleyFit(b, fit, error)
    return best


class _Labels(NamedTuple):
    phases: list[str]  # of every checkpoint
    bottom: slice  # checkpoints at the minimum of the fit


def _label(fit: FloatArray, stderr: float, n_sigmas: float) -> _Labels:
    """Phase of every checkpoint of a fit, given the standard error of a difference."""
    low = float(fit.min())
    block = np.flatnonzero(fit <= low + 1e-12 * (1.0 + abs(low)))
    first, last = int(block[0]), int(block[-1])
    span = float(np.ptp(fit))
    near = np.abs(fit - fit[0]) <= max(2.0 * stderr, 0.02 * span)
    prefix = int(near.size if near.all() else near.argmin())
    falls = float(fit[0]) - low >= n_sigmas * stderr
    rises = float(fit[last:].max()) - low >= n_sigmas * stderr
    phases = []
    for j in range(fit.size):
        if rises and (j > last if falls else j >= max(prefix, last + 1)):
            phases.append("III")
        elif falls and j >= prefix:
            phases.append("II")
        else:
            phases.append("I")
    return _Labels(phases, slice(first, last + 1))


class PhaseDetector:
    r"""Labels the phases of a recorded curve, or raises an alarm while it is being recorded.

    The axis is :math:`\tau = \log_2(1 + \text{step})`: checkpoints at 0, 1, 2, 4, 8, ... are
    nearly even on it.

    Parameters
    ----------
    n_sigmas : float or None, default=None
        A change counts beyond this many standard errors; None is 3.5 for up to 20 checkpoints
        and 4 beyond.
    relative : float, default=0.05
        A rise must also exceed this share of the fall before it.
    min_stderr : float, default=0.003
        Smallest standard error: with ``n_sigmas`` 3.5, changes of FUV below 0.01 are ignored.
    persistence : int, default=2
        Number of checkpoints in a row that must show the rise.
    rise_threshold : float, default=0.05
        A rise of this size without a confirmed fall gives a warning (not validated).
    n_bootstrap : int, default=200
        Resampled curves behind the label frequencies and the interval of `fit`.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the resampling.

    Attributes
    ----------
    steps_ : list of int
        Steps of the checkpoints, after `fit`.
    labels_ : list of str
        "I" (plateau), "II" (fall) or "III" (rise) for every checkpoint, after `fit`.
    fit_ : ndarray
        Falling-then-rising least-squares fit.
    n_falling_ : int
        Number of checkpoints in its falling part.
    turning_step_ : int
        Checkpoint of the minimum.
    turning_interval_ : tuple of int
        Central 90 % of the turning steps of the resampled curves.
    label_frequencies_ : ndarray of shape (J, 3)
        Share of resampled curves in which a checkpoint is in phase I, II, III.
    phase_ : str
        Phase at the last checkpoint.
    fall_confirmed_ : bool
        Whether a fall has been seen: without one there is no alarm.
    alarm_step_ : int or None
        Step at which `update` found the third phase.
    warning_step_ : int or None
        Step at which it found a rise without a fall.
    recommended_step_ : int
        Checkpoint with the smallest value so far.

    Raises
    ------
    ValueError
        If a parameter is outside its domain.

    See Also
    --------
    PhaseMonitor, Alarm

    Notes
    -----
    Derived here (`derivations/phases#the-detector`), on phases reported by Schneider and
    Prabhushankar (2024) [1]_. False alarms of `update` on pure noise after a fall: see
    ``bench/false_alarms_phases.py``.

    References
    ----------
    .. [1] J. Schneider and M. Prabhushankar, "Understanding and Leveraging the Learning Phases of
       Neural Networks", AAAI 38 (2024) 14886-14893.

    Examples
    --------
    >>> from retemper.phases import PhaseDetector
    >>> values = [10, 10.1, 8, 5, 3, 3.2, 4.5, 5]
    >>> watch = PhaseDetector()
    >>> [watch.update(2**j, value, 0.2) for j, value in enumerate(values)][-2:]
    [False, True]
    >>> watch.alarm_step_, watch.recommended_step_
    (128, 16)
    >>> PhaseDetector().fit([2**j for j in range(8)], values, [0.2] * 8).labels_
    ['I', 'I', 'II', 'II', 'II', 'III', 'III', 'III']
    """

    def __init__(
        self,
        *,
        n_sigmas: float | None = None,
        relative: float = 0.05,
        min_stderr: float = 0.003,
        persistence: int = 2,
        rise_threshold: float = 0.05,
        n_bootstrap: int = 200,
        random_state: Seed = 0,
    ) -> None:
        if n_sigmas is not None:
            check_parameter(n_sigmas, "n_sigmas")
        check_parameter(relative, "relative")
        check_parameter(min_stderr, "min_stderr")
        check_parameter(persistence, "persistence")
        check_parameter(rise_threshold, "rise_threshold")
        check_parameter(n_bootstrap, "n_bootstrap")
        self.n_sigmas = n_sigmas
        self.relative = relative
        self.min_stderr = min_stderr
        self.persistence = persistence
        self.rise_threshold = rise_threshold
        self.n_bootstrap = n_bootstrap
        self.random_state = random_state
        self._steps: list[int] = []
        self._values: list[float] = []
        self._at = 0  # index of the running minimum
        self._hits = self._warn_hits = 0
        self.fall_confirmed_ = False
        self.alarm_step_: int | None = None
        self.warning_step_: int | None = None
        self.phase_ = "I"

    def fresh(self) -> PhaseDetector:
        """A detector with the same settings that has seen nothing.

        Returns
        -------
        PhaseDetector
            A new one.
        """
        return PhaseDetector(
            n_sigmas=self.n_sigmas, relative=self.relative, min_stderr=self.min_stderr,
            persistence=self.persistence, rise_threshold=self.rise_threshold,
            n_bootstrap=self.n_bootstrap, random_state=self.random_state,
        )  # fmt: skip

    def _threshold(self, n: int) -> float:
        return self.n_sigmas if self.n_sigmas is not None else 3.5 if n <= 20 else 4.0

    @property
    def recommended_step_(self) -> int:
        """Checkpoint with the smallest value so far."""
        if hasattr(self, "turning_step_"):
            return int(self.turning_step_)
        if not self._steps:
            from retemper.exceptions import NotFittedError

            raise NotFittedError("this PhaseDetector has seen no checkpoint")
        return self._steps[self._at]

    def fit(self, steps: ArrayLike, fuv: ArrayLike, stderr: ArrayLike | None = None) -> Self:
        """Label a recorded curve.

        Parameters
        ----------
        steps : array_like of shape (J,)
            Increasing steps, at least 3.
        fuv : array_like of shape (J,) or (J, F)
            Values, or the values of every fold (the curve is then their mean, and the resampling
            is over folds).
        stderr : float, array_like of shape (J,), or None, default=None
            Standard errors of differences between checkpoints; the larger of their median and
            ``min_stderr`` is used. None takes them from the folds.

        Returns
        -------
        PhaseDetector
            Itself.

        Raises
        ------
        ValueError
            If steps do not increase or shapes disagree.
        """
        x = as_float_array(steps, "steps")
        if x.size < 3 or (np.diff(x) <= 0.0).any():
            raise ValueError("steps must be at least three and increase")
        values = as_float_array(fuv, "fuv", ndim=(1, 2))
        check_shape(values, (x.size,) if values.ndim == 1 else (x.size, None), "fuv")
        by_fold = values if values.ndim == 2 and values.shape[1] > 1 else None
        y = values if values.ndim == 1 else values.mean(axis=1)
        low = int(y.argmin())
        if stderr is not None:
            given = as_float_array(stderr, "stderr", ndim=(0, 1))
            if given.ndim:
                check_shape(given, y.shape, "stderr")
            errors = np.broadcast_to(given, y.shape)
            if errors.min() < 0.0:
                raise ValueError(f"stderr must be non-negative, got {errors.min():g}")
        elif by_fold is not None:
            paired = by_fold - by_fold[low]
            errors = paired.std(axis=1, ddof=1) / math.sqrt(by_fold.shape[1])
        else:
            errors = np.zeros_like(y)
        typical = max(self.min_stderr, float(np.median(errors)))
        n_sigmas = self._threshold(x.size)
        self.n_falling_, self.fit_, _ = fit_valley(y)
        self.labels_, bottom = _label(self.fit_, typical, n_sigmas)
        self.steps_ = [int(s) for s in x]
        self.turning_step_ = self.steps_[bottom.start + int(y[bottom].argmin())]
        self.phase_ = self.labels_[-1]
        self.fall_confirmed_ = "II" in self.labels_
        rng = generator(self.random_state)
        counts, turns = np.zeros((x.size, 3)), []
        for _ in range(self.n_bootstrap):
            if by_fold is not None:
                pick = rng.integers(0, by_fold.shape[1], by_fold.shape[1])
                again = by_fold[:, pick].mean(axis=1)
            else:
                again = y + np.maximum(errors, 0.0) * rng.normal(size=y.size)
            labels, bottom = _label(fit_valley(again).values, typical, n_sigmas)
            counts[np.arange(x.size), [PHASES.index(name) for name in labels]] += 1.0
            turns.append(self.steps_[bottom.start + int(again[bottom].argmin())])
        self.label_frequencies_ = counts / max(self.n_bootstrap, 1)
        ends = np.quantile(turns or [self.turning_step_], [0.05, 0.95], method="nearest")
        self.turning_interval_ = (int(ends[0]), int(ends[1]))
        return self

    def update(self, step: int, fuv: float, stderr: float = 0.0) -> bool:
        """Take in one more checkpoint, without looking ahead.

        Parameters
        ----------
        step : int
            Its step; steps must increase.
        fuv : float
            Its value.
        stderr : float, default=0.0
            Standard error of its difference to the smallest value so far.

        Returns
        -------
        bool
            Whether the third phase has been found, now or before.

        Raises
        ------
        ValueError
            If the step does not increase, or a number is not finite.
        """
        at = check_integer(step, "step")
        if self._steps and at <= self._steps[-1]:
            raise ValueError(f"steps must increase: got {at} after {self._steps[-1]}")
        value = check_real(fuv, "fuv")
        error = max(self.min_stderr, check_real(stderr, "stderr", low=0.0))
        j = len(self._steps)
        self._steps.append(at)
        self._values.append(value)
        if j == 0:
            return False
        low, first = self._values[self._at], self._values[0]
        noise = self._threshold(j + 1) * error
        self.fall_confirmed_ = self.fall_confirmed_ or first - low > noise
        is_late = j - self._at >= 2
        rise = value - low
        hit = self.fall_confirmed_ and is_late and rise > max(noise, self.relative * (first - low))
        big = is_late and rise > max(noise, self.rise_threshold)
        if value < low:
            self._at, self._hits, self._warn_hits = j, 0, 0
        else:
            self._hits = self._hits + 1 if hit else 0
            self._warn_hits = self._warn_hits + 1 if big else 0
        if self._hits >= self.persistence and self.alarm_step_ is None:
            self.alarm_step_ = at
        if (
            self._warn_hits >= self.persistence
            and not self.fall_confirmed_
            and self.warning_step_ is None
        ):
            self.warning_step_ = at
        self.phase_ = "II" if self.fall_confirmed_ else "I"
        if self.alarm_step_ is not None:
            self.phase_ = "III"
        return self.alarm_step_ is not None
