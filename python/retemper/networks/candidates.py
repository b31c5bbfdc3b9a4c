"""Ways to use a network, real runs of them, and what these decide."""

from __future__ import annotations

import dataclasses
import html
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retemper._extras import load
from retemper._journal import Journal
from retemper._text import number, one_line, table
from retemper.networks.training import FineTunedNetwork

if TYPE_CHECKING:
    import pandas as pd

    from retemper.networks.advice import NetworkAdvice

__all__ = ["NetworkCandidate", "NetworkVerification"]

#: Ways to fine-tune everything that theory cannot tell apart, with their options.
VARIANTS: dict[str, dict[str, float]] = {
    "usual read-out": {"readout_scale": 1.0},
    "pull 3": {"pull": 3.0},
    "early stopping": {"held_out_share": 0.2},
}


@dataclasses.dataclass(frozen=True)
class NetworkCandidate:
    """A way to use a source, and what is known of it.

    Parameters
    ----------
    source : str
        Name of the module; "scratch" for none.
    recipe : str
        As `fine_tune` takes it.
    options : dict of str to float
        Further arguments of `fine_tune`, over those of the advice.
    loss : float
        Predicted or measured squared error of class probabilities, or of the labels.
    error : float
        Predicted or measured share of rows classified wrong; NaN for regression.
    error_low, error_high : float
        Interval of the predicted error: leave-one-out, the gap between kernel and network, and its
        spread over recorded runs. Of a measured one two standard errors; NaN where there are none.
    excess, excess_stderr : float
        Loss over that of the best candidate, rows or splits paired, with its standard error.
    n_forward, n_backward : int
        Rows that one fine-tuning on all labels sends forward and backward, at most; measured ones
        are of one split. A pass backward through some of the blocks counts their share.
    n_runs : int, default=0
        Real fine-tunings behind the numbers; 0 if they are predicted.

    See Also
    --------
    NetworkAdvice

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import advise_network
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> advice = advise_network(net, X, (X[:, 0] > 0).numpy())
    >>> sorted({candidate.recipe for candidate in advice.candidates})
    ['full', 'probe', 'scratch']
    """

    source: str
    recipe: str
    options: dict[str, float]
    loss: float
    error: float
    error_low: float
    error_high: float
    excess: float
    excess_stderr: float
    n_forward: int
    n_backward: int
    n_runs: int = 0

    @property
    def name(self) -> str:
        """Recipe and source in words."""
        if self.source == "scratch":
            return "scratch"
        words = [self.recipe] + [k for k, v in VARIANTS.items() if v == self.options]
        return f"{', '.join(words)} of {self.source}"


def frame_of(candidates: tuple[NetworkCandidate, ...]) -> Any:
    """Data frame with a row for every candidate."""
    pd = load("pandas", "to_frame")
    return pd.DataFrame([{"name": c.name, **dataclasses.asdict(c)} for c in candidates])


def table_of(candidates: tuple[NetworkCandidate, ...]) -> str:
    """The same as text."""
    rows = [["", "loss", "error", "low", "high", "excess", "stderr", "forward", "backward", "runs"]]
    for c in candidates:
        values = (c.loss, c.error, c.error_low, c.error_high, c.excess, c.excess_stderr)
        cells = ["—" if math.isnan(v) else number(v) for v in values]
        rows.append([c.name, *cells, str(c.n_forward), str(c.n_backward), str(c.n_runs or "—")])
    return table(rows)


@dataclasses.dataclass(frozen=True)
class NetworkVerification:
    """Real fine-tunings, compared on the same splits (see `NetworkAdvice.verify`).

    Parameters
    ----------
    candidates : tuple of NetworkCandidate
        What was run, the longest kept first.
    gain, gain_stderr : float
        Loss from scratch minus loss of the best source, on the splits that both ran: positive
        helps. The standard error is NaN for one split.
    advice : NetworkAdvice
        What was verified.

    See Also
    --------
    NetworkAdvice

    Examples
    --------
    >>> import torch
    >>> from retemper.networks import advise_network
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> X = torch.randn(40, 3)
    >>> advice = advise_network(net, X, (X[:, 0] > 0).numpy())
    >>> found = advice.verify(2, max_epochs=3)
    >>> sum(candidate.n_runs for candidate in found.candidates)
    2
    """

    candidates: tuple[NetworkCandidate, ...]
    gain: float
    gain_stderr: float
    advice: NetworkAdvice = dataclasses.field(repr=False)

    @property
    def choice(self) -> NetworkCandidate:
        """The candidate that was best to the end."""
        return self.candidates[0]

    def fine_tune(self, **options: Any) -> FineTunedNetwork:
        """Train the choice on all rows.

        Parameters
        ----------
        **options : dict
            As `retemper.networks.fine_tune` takes them, over those of the advice.

        Returns
        -------
        FineTunedNetwork
            The trained network.
        """
        return self.advice.train(self.choice, **options)

    def to_frame(self) -> pd.DataFrame:
        """One row for every candidate that was run (needs pandas)."""
        frame: pd.DataFrame = frame_of(self.candidates)
        return frame

    __repr__ = one_line

    def __str__(self) -> str:
        sure = "" if math.isnan(self.gain_stderr) else f" ± {number(self.gain_stderr)}"
        runs = sum(c.n_runs for c in self.candidates)
        what = "train from scratch" if self.choice.name == "scratch" else f"use {self.choice.name}"
        return (
            f"{what}: best of {runs} real fine-tunings; gain of the best source over scratch "
            f"{number(self.gain, sign=True)}{sure}\n\n{table_of(self.candidates)}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


class Runs:
    """Real fine-tunings by candidate and split, kept in a file if there is one."""

    def __init__(self, path: str | os.PathLike[str] | None, fingerprint: str) -> None:
        self.journal = None if path is None else Journal(Path(path), "verification", fingerprint)
        records = [] if self.journal is None else self.journal.records
        self.found = {(run["name"], run["split"]): run for run in records}

    def known(self, name: str, at: int) -> dict[str, Any] | None:
        return self.found.get((name, at))

    def add(self, name: str, at: int, loss: float, error: float, *rows: int) -> dict[str, Any]:
        run = {
            "name": name, "split": at, "loss": loss, "error": error, "n_forward": rows[0],
            "n_backward": rows[1],
        }  # fmt: skip
        if self.journal is not None:
            self.journal.append(run)
        return run
