"""What a watched run has shown, in words and numbers."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retemper._extras import load
from retemper.phases.detector import PhaseDetector
from retemper.phases.instrument.score import ReconstructionScore

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Alarm", "PhaseReport"]

#: A loss of FUV at coarse resolution that counts as one.
_COARSE_LOSS = 0.05
#: What a recommendation rests on, and what it lost on 69 recorded runs of small networks on images
#: (``bench/calibrate_networks.py``).
REASONS = {
    "target": "the probes of the target tasks (lost 0.9 points on recorded runs)",
    "source": "half of the steps to the best probe of the source (lost 2 points on recorded runs "
    "with a related target, 4 with another one)",
    "fuv": "the smallest fuv, since no labels are known (lost 2 points on recorded runs with a "
    "related target, 1 with another one)",
}
#: What the alarm did not see on the same runs.
MISSES = (
    "the alarm sees reconstruction alone: it rang in 31 of 39 recorded runs whose last checkpoint "
    "lost two points, and in 21 of the 30 others"
)


@dataclasses.dataclass(frozen=True)
class Alarm:
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
        The monitor's ``recommended_step_``: there is one.

    See Also
    --------
    PhaseMonitor, PhaseDetector

    Examples
    --------
    >>> from retemper.phases import PhaseDetector
    >>> detector = PhaseDetector()
    >>> for step, fuv in enumerate([0.9, 0.9, 0.5, 0.4, 0.41, 0.6, 0.7]):
    ...     _ = detector.update(2**step, fuv, 0.01)
    >>> detector.alarm_step_, detector.recommended_step_
    (64, 8)
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

    See Also
    --------
    PhaseMonitor

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.phases import PhaseMonitor
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> monitor = PhaseMonitor(X)
    >>> for step in (0, 1, 2):
    ...     _ = monitor.observe(step, {"hidden": np.tanh(X[:, :3] * 2**step)})
    >>> len(monitor.report().rows)
    3
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
        frame: pd.DataFrame = load("pandas", "to_frame").DataFrame(self.rows)
        return frame

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


def kind_of_rise(scores: Sequence[ReconstructionScore]) -> str:
    """Does every resolution lose, or the coarse ones only?

    Parameters
    ----------
    scores : sequence of ReconstructionScore
        From the checkpoint with the smallest ``fuv_floor`` to the last.

    Returns
    -------
    str
        "true loss", "amplitude collapse", or nothing if there is no rise.
    """
    kind = ""
    for score in scores[1:]:
        coarse = score.fuv_floor - scores[0].fuv_floor
        fine = score.fuv_path.min() - scores[0].fuv_path.min()
        if coarse > _COARSE_LOSS:
            if fine < 0.5 * coarse:
                return "amplitude collapse"
            kind = "true loss"
    return kind


def layer_rows(
    name: str, steps: Sequence[int], scores: Sequence[ReconstructionScore], phases: Sequence[str]
) -> list[dict[str, Any]]:
    """The numbers of one layer, one row for each checkpoint."""
    rows = []
    for step, score, phase in zip(steps, scores, phases, strict=True):
        row: dict[str, Any] = {
            "layer": name, "step": step, "phase": phase, "fuv": score.fuv, "stderr": score.stderr,
            "fuv_floor": score.fuv_floor, "relative_ridge": score.relative_ridge,
        }  # fmt: skip
        for task, probe in score.probes.items():
            row[f"{task}.r2"], row[f"{task}.accuracy"] = probe.r2, probe.accuracy
            row[f"{task}.r2_floor"] = probe.r2_floor
            row[f"{task}.accuracy_floor"] = probe.accuracy_floor
        rows.append(row)
    return rows


def layer_lines(
    name: str,
    steps: Sequence[int],
    scores: Sequence[ReconstructionScore],
    phases: Sequence[str],
) -> list[str]:
    """The same as a table of text."""
    tasks = list(scores[0].probes)
    head = f"{'step':>8} {'phase':>5} {'fuv':>8} {'fuv_floor':>9}"
    lines = [
        "",
        f"layer {name} ({scores[0].n_units} units)",
        head + "".join(f" {task[:12]:>12} {'floor':>7}" for task in tasks),
    ]
    for step, score, phase in zip(steps, scores, phases, strict=True):
        lines.append(
            f"{step:>8} {phase:>5} {score.fuv:>8.4f} {score.fuv_floor:>9.4f}" + _probed(score)
        )
    return lines


def _probed(score: ReconstructionScore) -> str:
    """Accuracy or R² of every probe, at its best ridge and at the floor."""
    text = ""
    for probe in score.probes.values():
        best, floor = probe.accuracy, probe.accuracy_floor
        if best is None or floor is None:
            best, floor = probe.r2, probe.r2_floor
        text += f" {best:>12.4f} {floor:>7.4f}"
    return text


def raw_lines(score: ReconstructionScore) -> list[str]:
    """What a probe finds in the inputs themselves: features that give less have lost it."""
    head = f"{'':>8} {'':>5} {'':>8} {'':>9}"
    names = "".join(f" {task[:12]:>12} {'floor':>7}" for task in score.probes)
    return ["", "raw input", head + names, head + _probed(score)]


def verdict_lines(found: PhaseDetector | None, kind: str) -> list[str]:
    """What the fit of a layer, and its behaviour at all resolutions, say in words."""
    lines = []
    if found is not None:
        low, high = found.turning_interval_
        lines.append(f"turning point: step {found.turning_step_} (90 %: {low} to {high})")
        if "II" not in found.labels_ and "III" in found.labels_:
            lines.append(
                "no phase II: the layer loses from the start, and an early checkpoint keeps most"
            )
        elif "II" not in found.labels_:
            lines.append(
                "no phase II: nothing to gain from early stopping by this criterion; "
                "look at the probes of your own tasks"
            )
    if kind == "amplitude collapse":
        lines.append(
            "amplitude collapse: coarse resolution loses far more than fine; the information is "
            "still there at a small amplitude"
        )
    elif kind:
        lines.append("true loss: every resolution loses")
    return lines


def alarm_lines(
    alarms: tuple[Alarm | None, Alarm | None, Alarm | None], keep: int, by: str, layer: str
) -> list[str]:
    """Alarm, early warning and warning of a rise, and the checkpoint to keep, in words."""
    alarm, early_warning, rise_warning = alarms
    lines = [""]
    if alarm is not None:
        lines.append(f"ALARM at step {alarm.step}, layer {alarm.layer}: reconstruction rises")
    if early_warning is not None:
        where = f"step {early_warning.step}, layer {early_warning.layer}"
        lines.append(f"early warning at {where}: at relative ridge 1e-2")
    if rise_warning is not None:
        where = f"step {rise_warning.step}, layer {rise_warning.layer}"
        lines.append(f"warning at {where}: a rise without a fall before")
    return [
        *lines,
        f"keep the checkpoint of step {keep} with layer {layer} as feature extractor, by "
        f"{REASONS[by]}",
        MISSES,
    ]
