"""Which phase is training in, and which checkpoint to keep."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._random import Seed, generator
from retemper._validation import (
    FloatArray,
    as_float_array,
    check_choice,
    check_integer,
    check_real,
    check_shape,
)
from retemper.phases.instrument import (
    ProbeScore,
    ReconstructionScore,
    TargetSet,
    as_activations,
    assign_folds,
    check_ridges,
    pick_layers,
    score_activations,
    score_stream,
    warn_about,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Alarm", "PhaseDetector", "PhaseMonitor", "PhaseReport"]

PHASES = ("I", "II", "III")


# ---------------------------------------------------------------------------------------------
# the falling-then-rising fit


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


def v_fit(y: FloatArray) -> tuple[int, FloatArray, float]:
    """Best split b, fit (non-increasing before b, non-decreasing from b) and its squared error."""
    best = (0, y, math.inf)
    scale = float(np.ptp(y)) ** 2 if y.size else 0.0
    for b in range(y.size + 1):
        fit = np.concatenate([-_isotonic(-y[:b]), _isotonic(y[b:])])
        error = float(((y - fit) ** 2).sum())
        if error < best[2] - 1e-12 * scale:
            best = (b, fit, error)
    return best


def _label(fit: FloatArray, sigma: float, kappa: float) -> tuple[list[str], slice]:
    """Phase of every checkpoint, and the block of the minimum."""
    low = float(fit.min())
    block = np.flatnonzero(fit <= low + 1e-12 * (1.0 + abs(low)))
    first, last = int(block[0]), int(block[-1])
    span = float(np.ptp(fit))
    near = np.abs(fit - fit[0]) <= max(2.0 * sigma, 0.02 * span)
    prefix = int(near.size if near.all() else near.argmin())
    falls = float(fit[0]) - low >= kappa * sigma
    rises = float(fit[last:].max()) - low >= kappa * sigma
    labels = []
    for j in range(fit.size):
        if rises and (j > last if falls else j >= max(prefix, last + 1)):
            labels.append("III")
        elif falls and j >= prefix:
            labels.append("II")
        else:
            labels.append("I")
    return labels, slice(first, last + 1)


class PhaseDetector:
    r"""Labels the phases of a recorded curve, or raises an alarm while it is being recorded.

    The axis is :math:`\tau = \log_2(1 + \text{step})`: checkpoints at 0, 1, 2, 4, 8, ... are
    nearly even on it.

    Parameters
    ----------
    kappa : float or None, default=None
        A change counts beyond ``kappa`` standard errors; None is 3.5 for up to 20 checkpoints
        and 4 beyond.
    relative : float, default=0.05
        A rise must also exceed this share of the fall before it.
    min_sigma : float, default=0.003
        Smallest standard error: with ``kappa`` 3.5, changes of FUV below 0.01 are ignored.
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
    labels_ : list of str
        "I" (plateau), "II" (fall) or "III" (rise) for every checkpoint, after `fit`.
    fit_ : ndarray
        Falling-then-rising least-squares fit.
    split_ : int
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

    Notes
    -----
    Derived here, on phases reported by Schneider and Prabhushankar (2024) [1]_. False alarms of
    `update` on pure noise after a fall: see ``bench/false_alarms_phases.py``.

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
        kappa: float | None = None,
        relative: float = 0.05,
        min_sigma: float = 0.003,
        persistence: int = 2,
        rise_threshold: float = 0.05,
        n_bootstrap: int = 200,
        random_state: Seed = 0,
    ) -> None:
        self.kappa = None if kappa is None else check_real(kappa, "kappa", low=0.0)
        self.relative = check_real(relative, "relative", low=0.0)
        self.min_sigma = check_real(min_sigma, "min_sigma", low=0.0)
        self.persistence = check_integer(persistence, "persistence", low=1)
        self.rise_threshold = check_real(rise_threshold, "rise_threshold", low=0.0)
        self.n_bootstrap = check_integer(n_bootstrap, "n_bootstrap")
        self.random_state = random_state
        self._steps: list[int] = []
        self._values: list[float] = []
        self._at = 0  # index of the running minimum
        self._hits = self._warn_hits = 0
        self.fall_confirmed_ = False
        self.alarm_step_: int | None = None
        self.warning_step_: int | None = None
        self.phase_ = "I"

    def _kappa(self, n: int) -> float:
        return self.kappa if self.kappa is not None else 3.5 if n <= 20 else 4.0

    @property
    def recommended_step_(self) -> int:
        """Checkpoint with the smallest value so far."""
        if hasattr(self, "turning_step_"):
            return int(self.turning_step_)
        if not self._steps:
            from retemper.exceptions import NotFittedError

            raise NotFittedError("this PhaseDetector has seen no checkpoint")
        return self._steps[self._at]

    def fit(self, steps: ArrayLike, fuv: ArrayLike, se: ArrayLike | None = None) -> Self:
        """Label a recorded curve.

        Parameters
        ----------
        steps : array_like of shape (J,)
            Increasing steps, at least 3.
        fuv : array_like of shape (J,) or (J, F)
            Values, or the values of every fold (the curve is then their mean, and the resampling
            is over folds).
        se : float, array_like of shape (J,), or None, default=None
            Standard errors of differences between checkpoints; the larger of their median and
            ``min_sigma`` is used. None takes them from the folds.

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
        if se is not None:
            errors = np.broadcast_to(as_float_array(se, "se", ndim=(0, 1)), y.shape)
            if errors.min() < 0.0:
                raise ValueError(f"se must be non-negative, got {errors.min():g}")
        elif by_fold is not None:
            paired = by_fold - by_fold[low]
            errors = paired.std(axis=1, ddof=1) / math.sqrt(by_fold.shape[1])
        else:
            errors = np.zeros_like(y)
        sigma = max(self.min_sigma, float(np.median(errors)))
        kappa = self._kappa(x.size)
        self.split_, self.fit_, self.sse_ = v_fit(y)
        self.labels_, block = _label(self.fit_, sigma, kappa)
        self.steps_ = [int(s) for s in x]
        self.turning_step_ = self.steps_[block.start + int(y[block].argmin())]
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
            fit = v_fit(again)[1]
            labels, part = _label(fit, sigma, kappa)
            counts[np.arange(x.size), [PHASES.index(name) for name in labels]] += 1.0
            turns.append(self.steps_[part.start + int(again[part].argmin())])
        self.label_frequencies_ = counts / max(self.n_bootstrap, 1)
        ends = np.quantile(turns or [self.turning_step_], [0.05, 0.95], method="nearest")
        self.turning_interval_ = (int(ends[0]), int(ends[1]))
        return self

    def update(self, step: int, fuv: float, se: float = 0.0) -> bool:
        """Take in one more checkpoint, without looking ahead.

        Parameters
        ----------
        step : int
            Its step; steps must increase.
        fuv : float
            Its value.
        se : float, default=0.0
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
        sigma = max(self.min_sigma, check_real(se, "se", low=0.0))
        j = len(self._steps)
        self._steps.append(at)
        self._values.append(value)
        if j == 0:
            return False
        low, first = self._values[self._at], self._values[0]
        noise = self._kappa(j + 1) * sigma
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


# ---------------------------------------------------------------------------------------------
# the monitor


class Alarm(NamedTuple):
    """The third phase, seen while training (see `PhaseMonitor`).

    Parameters
    ----------
    step : int
        When it was seen.
    layer : str
        Where.
    signal : str
        "fuv", or "fuv_floor" for the early warning at coarse resolution.
    recommended_step : int
        Checkpoint with the smallest value of that signal.
    """

    step: int
    layer: str
    signal: str
    recommended_step: int


@dataclasses.dataclass(frozen=True)
class PhaseReport:
    """What a `PhaseMonitor` has seen, in words and numbers (see `PhaseMonitor`).

    Parameters
    ----------
    text : str
        The report.
    rows : list of dict
        One row per layer and checkpoint.
    detectors : dict of str to PhaseDetector
        Offline fit of every layer with three checkpoints or more.
    kinds : dict of str to str
        For layers with a third phase "true loss" or "amplitude collapse".
    """

    text: str
    rows: list[dict[str, Any]]
    detectors: dict[str, PhaseDetector]
    kinds: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """Rows as a pandas data frame.

        Returns
        -------
        pandas.DataFrame
            One row per layer and checkpoint.
        """
        import pandas as pd

        return pd.DataFrame(self.rows)

    def __str__(self) -> str:
        return self.text


Activations = Mapping[str, ArrayLike] | Callable[[], Iterable[Mapping[str, ArrayLike]]]


class PhaseMonitor:
    """Watches what layers still know about the input while a network is being trained.

    Parameters
    ----------
    X_eval : array_like of shape (n, p) or (n, ...)
        Held-out inputs, the same at every checkpoint.
    y_eval : array_like of shape (n,) or None, default=None
        Their source labels, probed as the task "source".
    aux : mapping of str to array_like, or None, default=None
        Further tasks: labels or real targets.
    layers : sequence of str or None, default=None
        Layers to measure; None is all that come.
    alarm_layers : sequence of str or None, default=None
        Layers that may raise the alarm; None is every layer but one called "output", which shows
        phases without any loss of transfer.
    folds : int or array_like of shape (n,), default=5
        Folds of the decoder.
    groups : array_like of shape (n,) or None, default=None
        Rows of one group stay in one fold.
    ridges : array_like or None, default=None
        Relative ridges; None is 1e-8 to 10 in half decades.
    sketch : int or None, default=None
        Random directions of the input to reconstruct instead of all.
    task_weights : array_like or None, default=None
        Prior over linear tasks, as in `reconstruction_score`.
    precision : {"double", "single"}, default="double"
        As in `reconstruction_score`.
    detector : PhaseDetector or None, default=None
        Its settings are used for every layer.
    path : str, PathLike or None, default=None
        File that keeps the history, written whole at every observation. If it exists, the monitor
        resumes from it, and steps it holds are not measured again.
    random_state : None, int, SeedSequence, Generator or RandomState, default=0
        Seed of the sketch.
    n_jobs : int or None, default=None
        Threads; never changes the result.

    Attributes
    ----------
    history_ : dict of int to dict of str to ReconstructionScore
        Scores by step and layer.
    alarm_ : Alarm or None
        The first alarm of ``fuv``.
    early_warning_ : Alarm or None
        The first alarm of ``fuv_floor``: information is still there, at a tiny amplitude.
    rise_warning_ : Alarm or None
        The first rise without a confirmed fall: a hint only.
    phase_ : str
        "I", "II" or "III", of the last alarm layer.
    recommended_step_ : int
        The checkpoint to keep as a frozen feature extractor.

    Raises
    ------
    ValueError
        If X is constant, there are too few samples, shapes disagree, or ``path`` belongs to
        another evaluation set.

    Notes
    -----
    Derived here, on the observation of Schneider and Prabhushankar (2024) [1]_. The activations are
    never kept; the monitor pickles. A minimum of FUV is the best checkpoint for an *average* linear
    task, not for every task: probe yours with ``aux``.

    References
    ----------
    .. [1] J. Schneider and M. Prabhushankar, "Understanding and Leveraging the Learning Phases of
       Neural Networks", AAAI 38 (2024) 14886-14893.

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import MLPTrainer, PhaseMonitor
    >>> rng = np.random.default_rng(0)
    >>> X, X_eval = rng.normal(size=(400, 8)), rng.normal(size=(300, 8))
    >>> monitor = PhaseMonitor(X_eval)
    >>> net = MLPTrainer(hidden=(6,), n_steps=16, random_state=0)
    >>> watch = lambda step, net: monitor.observe(step, net.activations(X_eval))
    >>> net = net.fit(X, X[:, 0] > 0, callback=watch)
    >>> list(monitor.history_), monitor.alarm_
    ([0, 1, 2, 4, 8, 16], None)
    """

    def __init__(
        self,
        X_eval: ArrayLike,
        y_eval: ArrayLike | None = None,
        aux: Mapping[str, ArrayLike] | None = None,
        *,
        layers: Sequence[str] | None = None,
        alarm_layers: Sequence[str] | None = None,
        folds: int | ArrayLike = 5,
        groups: ArrayLike | None = None,
        ridges: ArrayLike | None = None,
        sketch: int | None = None,
        task_weights: ArrayLike | None = None,
        precision: Literal["double", "single"] = "double",
        detector: PhaseDetector | None = None,
        path: str | os.PathLike[str] | None = None,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> None:
        named = dict(aux or {})
        if y_eval is not None:
            if "source" in named:
                raise ValueError('aux may not hold a task called "source": it is y_eval')
            named = {"source": y_eval, **named}
        self._targets = TargetSet(X_eval, named, sketch, task_weights, random_state)
        self._fold = assign_folds(self._targets.T.shape[0], folds, groups)
        self._ridges = check_ridges("cv", ridges)
        self.layers = None if layers is None else list(layers)
        self.alarm_layers = None if alarm_layers is None else list(alarm_layers)
        self.precision: Literal["double", "single"] = check_choice(
            precision, "precision", ("double", "single")
        )
        self.detector = PhaseDetector() if detector is None else detector
        self.path = None if path is None else Path(path)
        self.n_jobs = n_jobs
        self.history_: dict[int, dict[str, ReconstructionScore]] = {}
        self.alarm_: Alarm | None = None
        self.early_warning_: Alarm | None = None
        self.rise_warning_: Alarm | None = None
        self._online: dict[tuple[str, str], PhaseDetector] = {}
        self._warned: set[str] = set()
        self._recorded: dict[int, dict[str, ReconstructionScore]] = {}
        if self.path is not None and self.path.exists():
            self._load()

    # -- observing

    def observe(self, step: int, activations: Activations) -> dict[str, ReconstructionScore]:
        """Measure the layers at a checkpoint.

        Parameters
        ----------
        step : int
            Training step; steps must increase. A step that the file of a resumed monitor holds
            is answered from there.
        activations : mapping of str to array_like, or callable
            By layer the activations on ``X_eval``, in its order; or a function that returns such
            mappings batch by batch, and is called twice where labels are probed. Dropout and
            batch normalisation belong in evaluation mode.

        Returns
        -------
        dict of str to ReconstructionScore
            By layer.

        Raises
        ------
        ValueError
            If the step does not increase, the number of rows is not that of ``X_eval``, the layers
            are not those of the first call, or an activation is not finite.

        Warns
        -----
        ValidityWarning
            If a layer is dead, determines the input, or was pooled; once per layer.
        """
        at = check_integer(step, "step")
        if self.history_ and at <= next(reversed(self.history_)):
            if at in self.history_ and at in self._recorded:
                return self.history_[at]
            raise ValueError(f"steps must increase: got {at} after {next(reversed(self.history_))}")
        n = self._targets.T.shape[0]
        if callable(activations):
            scores = score_stream(
                activations, self._targets, self._fold, self._ridges, layers=self.layers,
                precision=self.precision, n_jobs=self.n_jobs,
            )  # fmt: skip
        else:
            scores = {}
            for name in pick_layers(activations, self.layers):
                acts = as_activations(activations[name], name)
                if acts.shape[0] != n:
                    raise ValueError(
                        f"{name} has {acts.shape[0]} rows, the evaluation set {n}: use the same "
                        "samples each time"
                    )
                scores[name] = score_activations(
                    acts, self._targets, self._fold, self._ridges, precision=self.precision,
                    n_jobs=self.n_jobs,
                )  # fmt: skip
            if not scores:
                raise ValueError("there are no activations")
        known = self.layer_names
        if known and list(scores) != known:
            raise ValueError(f"the layers were {known}, now they are {list(scores)}")
        for name, score in scores.items():
            if known and score.n_units != self.history_[next(iter(self.history_))][name].n_units:
                raise ValueError(f"{name} has changed its width to {score.n_units} units")
            if name not in self._warned:
                before = len(self._warned)
                self._warned.add(name)
                warn_about(score, self._targets.n_inputs, name, stacklevel=3)
                if before == len(self._warned):
                    self._warned.discard(name)
        self._take(at, scores)
        if self.path is not None:
            self._write()
        return scores

    @property
    def layer_names(self) -> list[str]:
        """Layers measured so far."""
        return list(next(iter(self.history_.values()))) if self.history_ else []

    def _alarm_names(self) -> list[str]:
        if self.alarm_layers is not None:
            return [name for name in self.layer_names if name in self.alarm_layers]
        names = [name for name in self.layer_names if name != "output"]
        return names or self.layer_names

    def _take(self, step: int, scores: dict[str, ReconstructionScore]) -> None:
        self.history_[step] = scores
        for name in self._alarm_names():
            for signal in ("fuv", "fuv_floor"):
                watch = self._online.setdefault((name, signal), self._fresh())
                folds = f"{signal}_folds"
                error = 0.0
                if len(self.history_) > 1:
                    best = self.history_[watch.recommended_step_][name]
                    gap = getattr(scores[name], folds) - getattr(best, folds)
                    error = float(gap.std(ddof=1)) / math.sqrt(gap.size)
                rang = watch.alarm_step_ is not None
                warned = watch.warning_step_ is not None
                now = watch.update(step, float(getattr(scores[name], signal)), error)
                alarm = Alarm(step, name, signal, watch.recommended_step_)
                if now and not rang:
                    if signal == "fuv":
                        self.alarm_ = self.alarm_ or alarm
                    else:
                        self.early_warning_ = self.early_warning_ or alarm
                if watch.warning_step_ is not None and not warned and signal == "fuv":
                    self.rise_warning_ = self.rise_warning_ or alarm

    def _fresh(self) -> PhaseDetector:
        d = self.detector
        return PhaseDetector(
            kappa=d.kappa, relative=d.relative, min_sigma=d.min_sigma, persistence=d.persistence,
            rise_threshold=d.rise_threshold, n_bootstrap=d.n_bootstrap,
            random_state=d.random_state,
        )  # fmt: skip

    @property
    def phase_(self) -> str:
        """Phase of the last alarm layer."""
        self._check_seen()
        return self._online[self._alarm_names()[-1], "fuv"].phase_

    @property
    def recommended_step_(self) -> int:
        """The checkpoint to keep."""
        self._check_seen()
        name = self.alarm_.layer if self.alarm_ is not None else self._alarm_names()[-1]
        return self._online[name, "fuv"].recommended_step_

    def _check_seen(self) -> None:
        if not self.history_:
            from retemper.exceptions import NotFittedError

            raise NotFittedError("this PhaseMonitor has observed nothing")

    def curve(self, layer: str, quantity: str = "fuv") -> tuple[NDArray[np.int64], FloatArray]:
        """Steps and values of a quantity of one layer.

        Parameters
        ----------
        layer : str
            A layer.
        quantity : str, default="fuv"
            "fuv", "fuv_floor", the name of a task (accuracy where it has labels, else R²), or
            "<task>.r2".

        Returns
        -------
        tuple of ndarray
            Steps and values.

        Raises
        ------
        ValueError
            If there is no such layer or quantity.
        """
        check_choice(layer, "layer", self.layer_names)
        task, _, which = quantity.partition(".")
        values = []
        for scores in self.history_.values():
            score = scores[layer]
            if quantity in ("fuv", "fuv_floor"):
                values.append(float(getattr(score, quantity)))
                continue
            check_choice(task, "quantity", ["fuv", "fuv_floor", *score.probes])
            probe = score.probes[task]
            hit = probe.accuracy
            values.append(probe.r2 if which == "r2" or hit is None else hit)
        return np.array(list(self.history_)), np.array(values)

    # -- reporting

    def _kind(self, layer: str) -> str:
        """Does every resolution lose, or the coarse ones only?"""
        watch = self._online.get((layer, "fuv_floor"))
        if watch is None:
            return ""
        scores = [s[layer] for s in self.history_.values()]
        start = list(self.history_).index(watch.recommended_step_)
        kind = ""
        for score in scores[start + 1 :]:
            coarse = score.fuv_floor - scores[start].fuv_floor
            fine = score.fuv_path.min() - scores[start].fuv_path.min()
            if coarse > 0.05:
                if fine < 0.5 * coarse:
                    return "amplitude collapse"
                kind = "true loss"
        return kind

    def report(self) -> PhaseReport:
        """Phases, turning point and probes of every layer.

        Returns
        -------
        PhaseReport
            Print it, or take its ``rows``.

        Raises
        ------
        NotFittedError
            If nothing has been observed.
        """
        self._check_seen()
        steps = list(self.history_)
        lines, rows, detectors, kinds = [], [], {}, {}
        lines.append(
            f"{self._targets.T.shape[0]} evaluation samples, {int(self._fold.max()) + 1} folds, "
            f"ridges {self._ridges[0]:.0e} to {self._ridges[-1]:.0e} (relative)"
        )
        for name in self.layer_names:
            scores = [self.history_[step][name] for step in steps]
            labels = [""] * len(steps)
            if len(steps) >= 3:
                found = self._fresh().fit(steps, [s.fuv_folds for s in scores])
                detectors[name], labels = found, found.labels_
            tasks = list(scores[0].probes)
            head = f"{'step':>8} {'phase':>5} {'fuv':>8} {'fuv_floor':>9}"
            lines += ["", f"layer {name} ({scores[0].n_units} units)", head + "".join(
                f" {task[:12]:>12}" for task in tasks
            )]  # fmt: skip
            for step, score, label in zip(steps, scores, labels, strict=True):
                row: dict[str, Any] = {
                    "layer": name, "step": step, "phase": label, "fuv": score.fuv,
                    "stderr": score.stderr, "fuv_floor": score.fuv_floor, "ridge": score.ridge,
                }  # fmt: skip
                shown = []
                for task, probe in score.probes.items():
                    row[f"{task}.r2"], row[f"{task}.accuracy"] = probe.r2, probe.accuracy
                    shown.append(probe.r2 if probe.accuracy is None else probe.accuracy)
                rows.append(row)
                lines.append(
                    f"{step:>8} {label:>5} {score.fuv:>8.4f} {score.fuv_floor:>9.4f}"
                    + "".join(f" {value:>12.4f}" for value in shown)
                )
            if name in detectors:
                found = detectors[name]
                low, high = found.turning_interval_
                lines.append(f"turning point: step {found.turning_step_} (90 %: {low} to {high})")
                if "II" not in found.labels_:
                    lines.append(
                        "no phase II: nothing to gain from early stopping by this criterion; "
                        "look at the probes of your own tasks"
                    )
            kinds[name] = self._kind(name)
            if kinds[name] == "amplitude collapse":
                lines.append(
                    "amplitude collapse: coarse resolution loses far more than fine; the "
                    "information is still there at a small amplitude"
                )
            elif kinds[name]:
                lines.append("true loss: every resolution loses")
        lines.append("")
        if self.alarm_ is not None:
            a = self.alarm_
            lines.append(f"ALARM at step {a.step}, layer {a.layer}: reconstruction rises")
        if self.early_warning_ is not None:
            w = self.early_warning_
            lines.append(f"early warning at step {w.step}, layer {w.layer}: at ridge 1e-2")
        if self.rise_warning_ is not None:
            w = self.rise_warning_
            lines.append(f"warning at step {w.step}, layer {w.layer}: a rise without a fall before")
        lines.append(f"keep the checkpoint of step {self.recommended_step_} as feature extractor")
        return PhaseReport("\n".join(lines), rows, detectors, kinds)

    # -- the file

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in (self._targets.T, self._fold, self._ridges):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        names = [g.name for g in self._targets.groups]
        digest.update(json.dumps([names, self.layers, self.precision]).encode())
        return digest.hexdigest()

    def _write(self) -> None:
        assert self.path is not None
        record = {
            "format": 1,
            "fingerprint": self._fingerprint(),
            "history": [
                {"step": step, "layers": {k: _plain(v) for k, v in scores.items()}}
                for step, scores in self.history_.items()
            ],
        }
        folder = self.path.parent
        handle, name = tempfile.mkstemp(dir=folder, prefix=self.path.name, suffix=".part")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(record, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)  # either the old file or the new one, never a part
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _load(self) -> None:
        assert self.path is not None
        try:
            record = json.loads(self.path.read_text())
            fingerprint = record["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is not the file of a PhaseMonitor: {error}") from None
        if fingerprint != self._fingerprint():
            raise ValueError(
                f"{self.path} was written with another evaluation set or other settings; choose "
                "another path, or remove it"
            )
        for entry in record["history"]:
            scores = {name: _score(values) for name, values in entry["layers"].items()}
            self._recorded[entry["step"]] = scores
            self._take(entry["step"], scores)


def _plain(score: ReconstructionScore) -> dict[str, Any]:
    """JSON form: float64 numbers survive the round trip."""

    def convert(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, dict):
            return {k: convert(v) for k, v in value.items()}
        return value

    return {k: convert(v) for k, v in dataclasses.asdict(score).items()}


def _score(values: dict[str, Any]) -> ReconstructionScore:
    def convert(items: dict[str, Any]) -> dict[str, Any]:
        return {k: np.array(v) if isinstance(v, list) else v for k, v in items.items()}

    probes = {name: ProbeScore(**convert(probe)) for name, probe in values["probes"].items()}
    return ReconstructionScore(**{**convert(values), "probes": probes})
