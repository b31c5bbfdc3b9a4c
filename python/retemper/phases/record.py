"""The file in which a `PhaseMonitor` keeps what it has seen, one checkpoint a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from retemper._journal import Journal
from retemper._text import plain
from retemper.phases.instrument.score import ProbeScore, ReconstructionScore

__all__ = ["History", "entry_of", "open_record"]

#: Scores by step and layer.
History: TypeAlias = dict[int, dict[str, ReconstructionScore]]

#: What a refused file is said not to be.
KIND = "PhaseMonitor"


def open_record(path: Path, fingerprint: str) -> tuple[Journal, History]:
    """Open the file of a monitor.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    fingerprint : str
        Of the evaluation set and the settings.

    Returns
    -------
    journal : Journal
        Takes the records of `entry_of`.
    history : dict
        Scores by step and layer that are in it; float64 numbers survive the round trip.

    Raises
    ------
    ValueError
        If the file is something else, or belongs to another evaluation set or other settings.
    """
    journal = Journal(path, KIND, fingerprint)
    try:
        history = {
            entry["step"]: {name: _score(values) for name, values in entry["layers"].items()}
            for entry in journal.records
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the file of a {KIND}: {error}") from None
    journal.records.clear()
    return journal, history


def entry_of(step: int, scores: dict[str, ReconstructionScore]) -> dict[str, Any]:
    """Record of one checkpoint."""
    return {"step": step, "layers": plain(scores)}


def _score(values: dict[str, Any]) -> ReconstructionScore:
    probes = {name: ProbeScore(**_arrays(probe)) for name, probe in values["probes"].items()}
    return ReconstructionScore(**{**_arrays(values), "probes": probes})


def _arrays(values: dict[str, Any]) -> dict[str, Any]:
    return {k: np.array(v) if isinstance(v, list) else v for k, v in values.items()}
