"""The file in which a `PhaseMonitor` keeps what it has seen: written whole, or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from retemper._text import plain
from retemper.phases.instrument.score import ProbeScore, ReconstructionScore

__all__ = ["History", "read_record", "write_record"]

#: Scores by step and layer.
History: TypeAlias = dict[int, dict[str, ReconstructionScore]]

_FORMAT = 2


def write_record(path: Path, history: History, fingerprint: str) -> None:
    """Write a history, with the fingerprint of what it was measured on.

    Parameters
    ----------
    path : Path
        The file; at any time it is the old one or the new one, never a part.
    history : dict
        Scores by step and layer; float64 numbers survive the round trip.
    fingerprint : str
        Of the evaluation set and the settings.
    """
    record = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "history": [{"step": step, "layers": plain(scores)} for step, scores in history.items()],
    }
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_record(path: Path, fingerprint: str) -> History:
    """Read what `write_record` has written.

    Parameters
    ----------
    path : Path
        The file.
    fingerprint : str
        That of the evaluation set and the settings in use.

    Returns
    -------
    dict
        Scores by step and layer.

    Raises
    ------
    ValueError
        If the file is something else, or belongs to another evaluation set or other settings.
    """
    try:
        record = json.loads(path.read_text())
        if record["format"] != _FORMAT:
            raise ValueError(f"its format is {record['format']!r}, not {_FORMAT}")
        written_with = record["fingerprint"]
        history = {
            entry["step"]: {name: _score(values) for name, values in entry["layers"].items()}
            for entry in record["history"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the file of a PhaseMonitor: {error}") from None
    if written_with != fingerprint:
        raise ValueError(
            f"{path} was written with another evaluation set or other settings; choose another "
            "path, or remove it"
        )
    return history


def _score(values: dict[str, Any]) -> ReconstructionScore:
    probes = {name: ProbeScore(**_arrays(probe)) for name, probe in values["probes"].items()}
    return ReconstructionScore(**{**_arrays(values), "probes": probes})


def _arrays(values: dict[str, Any]) -> dict[str, Any]:
    return {k: np.array(v) if isinstance(v, list) else v for k, v in values.items()}
