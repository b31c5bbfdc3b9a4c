"""Watches a training run layer by layer, and says which checkpoint to keep."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retemper._journal import Journal
from retemper._random import Seed
from retemper._validation import (
    FloatArray,
    check_choice,
    check_integer,
    check_kind,
)
from retemper.phases.detector import PhaseDetector
from retemper.phases.instrument.score import (
    ReconstructionScore,
    check_relative_ridges,
    score_activations,
    score_stream,
    warn_about,
)
from retemper.phases.instrument.targets import TargetSet, as_activations, assign_folds, pick_layers
from retemper.phases.record import History, entry_of, open_record
from retemper.phases.report import (
    Alarm,
    PhaseReport,
    alarm_lines,
    kind_of_rise,
    layer_lines,
    layer_rows,
    raw_lines,
    verdict_lines,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["PhaseMonitor"]

#: Share of the steps to the source's optimum that is recommended where its labels alone are known.
SOURCE_SHARE = 0.5

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
        Tasks that the features are wanted for: labels or real targets. Where there are any, they
        choose the recommended checkpoint.
    layers : sequence of str or None, default=None
        Layers to measure; None is all that come.
    alarm_layers : sequence of str or None, default=None
        Layers that may raise the alarm; None is every layer but one called "output", which shows
        phases without any loss of transfer.
    folds : int or array_like of shape (n,), default=5
        Folds of the decoder.
    groups : array_like of shape (n,) or None, default=None
        Rows of one group stay in one fold.
    relative_ridges : array_like or None, default=None
        As in `reconstruction_score`; None is 1e-8 to 10 in half decades.
    sketch : int or None, default=None
        Random directions of the input to reconstruct instead of all.
    task_weights : array_like or None, default=None
        Prior over linear tasks, as in `reconstruction_score`.
    precision : {"double", "single"}, default="double"
        As in `reconstruction_score`.
    detector : PhaseDetector or None, default=None
        Its settings are used for every layer.
    path : str, PathLike or None, default=None
        File that keeps the history, one line added at every observation. If it exists, the monitor
        resumes from it, after the last whole line, and steps it holds are not measured again.
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
        The checkpoint to keep as a frozen feature extractor, also that of every alarm, for the
        layer that rang first, or else the last that may ring: by the mean
        cross-validated R² of the tasks of ``aux``; with source labels alone the first at half of
        the steps to the best R² of the source; without labels the smallest ``fuv``.
    recommended_by_ : str
        Which of the three: "target", "source" or "fuv".

    Raises
    ------
    ValueError
        If X is constant, there are too few samples, shapes disagree, or ``path`` belongs to
        another evaluation set.

    See Also
    --------
    reconstruction_score, PhaseDetector, train_mlp_classifier, MLPTrainer

    Notes
    -----
    Derived here (`derivations/phases#the-instrument`), on the observation of Schneider and
    Prabhushankar (2024) [1]_. The activations are never kept; the monitor pickles. A minimum of FUV
    is the best checkpoint for an *average* linear task, not for every task: probe yours with
    ``aux``.

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
        relative_ridges: ArrayLike | None = None,
        sketch: int | None = None,
        task_weights: ArrayLike | None = None,
        precision: Literal["double", "single"] = "double",
        detector: PhaseDetector | None = None,
        path: str | os.PathLike[str] | None = None,
        random_state: Seed = 0,
        n_jobs: int | None = None,
    ) -> None:
        if aux is not None:
            check_kind(aux, "aux", Mapping)
        named = dict(aux or {})
        if y_eval is not None:
            if "source" in named:
                raise ValueError('aux may not hold a task called "source": it is y_eval')
            named = {"source": y_eval, **named}
        self._targets = TargetSet(
            X_eval, named, sketch, task_weights, random_state, label="X_eval",
            shown={"source": "y_eval"},
        )  # fmt: skip
        self._fold = assign_folds(self._targets.T.shape[0], folds, groups)
        self._relative_ridges = check_relative_ridges("cv", relative_ridges)
        check_choice(precision, "precision", ("double", "single"))
        self.layers = layers
        self.alarm_layers = alarm_layers
        self.precision = precision
        self.detector = detector
        self.path = path
        self.n_jobs = n_jobs
        self._detector = PhaseDetector() if detector is None else detector
        self.history_: History = {}
        self._alarms: dict[str, Alarm] = {}
        self._online: dict[tuple[str, str], PhaseDetector] = {}
        self._warned: set[str] = set()
        self._raw: ReconstructionScore | None = None
        self._recorded: History = {}
        self._journal: Journal | None = None
        if path is not None:
            self._journal, self._recorded = open_record(Path(path), self._fingerprint())
            for step, scores in self._recorded.items():
                self._take(step, scores)

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
        OSError
            If the file cannot be written; nothing is taken, and the call can be made again.
        RuntimeError
            If another process writes to the file.

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
                activations, self._targets, self._fold, self._relative_ridges, layers=self.layers,
                precision=self.precision, n_jobs=self.n_jobs,
            )  # fmt: skip
        else:
            check_kind(activations, "activations", Mapping)
            scores = {}
            for name in pick_layers(activations, self.layers):
                acts = as_activations(activations[name], name)
                if acts.shape[0] != n:
                    raise ValueError(
                        f"{name} has {acts.shape[0]} rows, the evaluation set {n}: use the same "
                        "samples each time"
                    )
                scores[name] = score_activations(
                    acts, self._targets, self._fold, self._relative_ridges,
                    precision=self.precision, n_jobs=self.n_jobs,
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
        if self._journal is not None:
            self._journal.append(entry_of(at, scores))
        self._take(at, scores)
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
                watch = self._online.setdefault((name, signal), self._detector.fresh())
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
                    self._alarms.setdefault(signal, alarm)
                if watch.warning_step_ is not None and not warned and signal == "fuv":
                    self._alarms.setdefault("rise", alarm)

    def _alarm(self, kind: str) -> Alarm | None:
        found = self._alarms.get(kind)
        if found is None:
            return None
        return dataclasses.replace(found, recommended_step=self.recommended_step_)

    @property
    def alarm_(self) -> Alarm | None:
        """The first alarm of ``fuv``."""
        return self._alarm("fuv")

    @property
    def early_warning_(self) -> Alarm | None:
        """The first alarm of ``fuv_floor``."""
        return self._alarm("fuv_floor")

    @property
    def rise_warning_(self) -> Alarm | None:
        """The first rise without a confirmed fall."""
        return self._alarm("rise")

    @property
    def phase_(self) -> str:
        """Phase of the last alarm layer."""
        self._check_seen()
        return self._online[self._alarm_names()[-1], "fuv"].phase_

    def _judged_layer(self) -> str:
        """The layer that recommendations are about: that of the alarm, else the last to ring."""
        self._check_seen()
        rang = self._alarms.get("fuv")
        return self._alarm_names()[-1] if rang is None else rang.layer

    def _recommend(self) -> tuple[str, int]:
        """What the checkpoint to keep is chosen by, and its step."""
        layer = self._judged_layer()
        steps = list(self.history_)
        probes = [self.history_[step][layer].probes for step in steps]
        wanted = [task for task in probes[0] if task != "source"]
        if wanted:
            r2 = [float(np.mean([p[task].r2 for task in wanted])) for p in probes]
            return "target", steps[int(np.argmax(r2))]
        if "source" in probes[0]:
            best = steps[int(np.argmax([p["source"].r2 for p in probes]))]
            return "source", next(step for step in steps if step >= SOURCE_SHARE * best)
        return "fuv", self._online[layer, "fuv"].recommended_step_

    @property
    def recommended_step_(self) -> int:
        """The checkpoint to keep."""
        return self._recommend()[1]

    @property
    def recommended_by_(self) -> str:
        """What it was chosen by: "target", "source" or "fuv"."""
        return self._recommend()[0]

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
            "fuv", "fuv_floor", the name of a task (accuracy where it has labels, else R²),
            "<task>.r2", or either at the relative ridge 1e-2: "<task>.floor", "<task>.r2_floor".

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
            check_choice(which, f"quantity {task}.", ("", "r2", "floor", "r2_floor"))
            is_floor = which.endswith("floor")
            hit = probe.accuracy_floor if is_floor else probe.accuracy
            if hit is None or which.startswith("r2"):
                hit = probe.r2_floor if is_floor else probe.r2
            values.append(hit)
        return np.array(list(self.history_)), np.array(values)

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
        text = [
            f"{self._targets.T.shape[0]} evaluation samples, {int(self._fold.max()) + 1} folds, "
            f"relative ridges {self._relative_ridges[0]:.0e} to {self._relative_ridges[-1]:.0e}"
        ]
        rows, detectors, kinds = [], {}, {}
        for name in self.layer_names:
            scores = [self.history_[step][name] for step in steps]
            phases = [""] * len(steps)
            if len(steps) >= 3:
                found = self._detector.fresh().fit(steps, [s.fuv_folds for s in scores])
                detectors[name], phases = found, found.labels_
            rows += layer_rows(name, steps, scores, phases)
            watch = self._online.get((name, "fuv_floor"))
            start = len(steps) if watch is None else steps.index(watch.recommended_step_)
            kinds[name] = kind_of_rise(scores[start:])
            text += layer_lines(name, steps, scores, phases)
            text += verdict_lines(detectors.get(name), kinds[name])
        if len(self._targets.groups) > 1:
            raw = self._raw_score()
            rows += layer_rows("raw input", steps[:1], [raw], [""])
            text += raw_lines(raw)
        by, keep = self._recommend()
        alarms = (self.alarm_, self.early_warning_, self.rise_warning_)
        text += alarm_lines(alarms, keep, by, self._judged_layer())
        return PhaseReport("\n".join(text), rows, detectors, kinds)

    def _raw_score(self) -> ReconstructionScore:
        """Probes of the inputs themselves, or of their sketch."""
        if self._raw is None:
            X = np.ascontiguousarray(self._targets.T[:, : self._targets.groups[0].last])
            self._raw = score_activations(
                X, self._targets, self._fold, self._relative_ridges, precision=self.precision,
                n_jobs=self.n_jobs,
            )  # fmt: skip
        return self._raw

    def to_frame(self) -> pd.DataFrame:
        """One row for every layer and checkpoint, and one for the raw input (needs pandas)."""
        return self.report().to_frame()

    def plot(self, layer: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw what a layer still knows over the steps (needs matplotlib).

        Parameters
        ----------
        layer : str or None, default=None
            Which; None is the one that the recommended step is about: that of the alarm, or else
            the last that may raise it.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; a new figure if None.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        from retemper.phases.display import MonitorDisplay, step_places

        judged = self._judged_layer()
        drawn = MonitorDisplay.from_monitor(self, layer or judged).plot(ax=ax)
        keep = self.recommended_step_
        drawn.ax_.axvline(
            float(step_places(keep)),
            color="0.5",
            ls=":",
            label=f"recommended by {judged}: step {keep}",
        )
        # below the axes, where neither curves nor the names of phases are
        drawn.ax_.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
        return drawn.ax_

    def _repr_html_(self) -> str:
        text = str(self.report()) if self.history_ else "PhaseMonitor: nothing observed yet"
        return f"<pre>{html.escape(text)}</pre>"

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in (self._targets.T, self._fold, self._relative_ridges):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        names = [g.name for g in self._targets.groups]
        layers = None if self.layers is None else list(self.layers)
        digest.update(json.dumps([names, layers, self.precision]).encode())
        return digest.hexdigest()
