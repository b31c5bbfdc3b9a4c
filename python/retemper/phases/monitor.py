"""Watches a training run layer by layer, and says which checkpoint to keep."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._extras import load
from retemper._random import Seed
from retemper._validation import (
    FloatArray,
    check_choice,
    check_integer,
)
from retemper.phases.detector import PhaseDetector
from retemper.phases.instrument.score import (
    ProbeScore,
    ReconstructionScore,
    check_ridges,
    score_activations,
    score_stream,
    warn_about,
)
from retemper.phases.instrument.targets import TargetSet, as_activations, assign_folds, pick_layers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Alarm", "PhaseMonitor", "PhaseReport"]


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
        pd = load("pandas", "to_frame")

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
