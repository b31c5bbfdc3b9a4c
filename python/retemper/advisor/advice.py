"""The answer of `advise`."""

from __future__ import annotations

import dataclasses
import html
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from retemper._validation import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from retemper.advisor.display import AdviceDisplay

Verdict = Literal["as is", "fine-tune", "from scratch", "undecided", "duplicate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one system says of one source.

    Parameters
    ----------
    system : str
        Subpackage whose theory speaks.
    source : str
        Name of the source, or "scratch".
    verdict : {"helps", "hurts", "undecided", ""}
        Whether to start from the source; empty where the system does not judge that.
    error, low, high : float
        Predicted target error and its interval, in the unit that ``unit`` names; NaN where the
        system predicts none.
    unit : str
        What the error is, for instance "squared error".
    advice : str
        Initialisation, regime, strength or time to stop, in words.
    flags : tuple of str
        Warnings of the system: where its theory does not reach.
    """

    system: str
    source: str
    verdict: str = ""
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    advice: str = ""
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateAdvice:
    """One source, at its best use, or training from scratch.

    Parameters
    ----------
    name : str
        Name of the source, or "scratch".
    verdict : {"as is", "fine-tune", "from scratch", "undecided", "duplicate"}
        What to do with this source, at the confidence asked for, all sources considered. For
        scratch itself "from scratch" if no source is decided upon, else "undecided".
    use : str
        The way to use it that is judged here: "as is", "fine-tune" or "rescaled".
    predicted_error, predicted_low, predicted_high : float
        Leave-one-out prediction of the error of the fit to all labels, and its interval.
    held_out_error, held_out_low, held_out_high : float
        Error of nested cross-validation, for fits to fewer labels, and its interval.
    loss : float
        Held-out loss that decides: squared error, or log loss in nats.
    gain, gain_low, gain_high : float
        Held-out loss minus that of scratch (negative: the source helps), and its interval.
    p_value : float
        Of no difference in loss to scratch, two-sided, corrected over the sources (Holm).
    strength : float
        Ridge of the fit to all labels; infinite for a source as it is.
    scale : float
        Factor on the source in that fit.
    labels_saved : float
        Labels that the source replaces, by the learning curves; NaN if not known.
    duplicate_of : str or None
        An earlier source that predicts the same.
    flags : tuple of str
        What to know before trusting the row.
    opinions : tuple of Opinion
        What the systems say of it.
    """

    name: str
    verdict: Verdict
    use: str
    predicted_error: float
    predicted_low: float
    predicted_high: float
    held_out_error: float
    held_out_low: float
    held_out_high: float
    loss: float
    gain: float
    gain_low: float
    gain_high: float
    p_value: float
    strength: float
    scale: float
    labels_saved: float = math.nan
    duplicate_of: str | None = None
    flags: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Error against the number of labels, measured on parts of the sample and extrapolated.

    Parameters
    ----------
    n_labels : ndarray of shape (m,)
        Numbers of labels, the last beyond the sample.
    measured : ndarray of shape (m,)
        Whether the number was tried; the others come from the fitted curve.
    error : dict of str to ndarray of shape (m,)
        Error of "scratch" and of the advised choice.
    stderr : dict of str to ndarray of shape (m,)
        Standard errors of the measured points; NaN elsewhere.
    fit : dict of str to ndarray of shape (3,)
        Coefficients a, b, c of the fitted curve a + b / sqrt(n) + c / n.
    """

    n_labels: NDArray[np.int64]
    measured: NDArray[np.bool_]
    error: dict[str, FloatArray]
    stderr: dict[str, FloatArray]
    fit: dict[str, FloatArray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferAdvice:
    """Whether and how to start from a source, and who says so; what `advise` returns.

    Parameters
    ----------
    task : {"regression", "binary", "multiclass"}
        Kind of labels.
    error_name, loss_name : str
        What the errors and the losses are.
    n_samples, n_features : int
        Size of the target sample.
    candidates : tuple of CandidateAdvice
        Scratch first, then the sources in the order given.
    choice : str
        Name of what ``estimator_`` starts from: a source, or "scratch".
    use : str
        How it is used: "scratch", "as is", "fine-tune" or "rescaled".
    verdict : str
        The answer for all sources together: "as is", "fine-tune", "from scratch", "undecided" or
        "none of the sources".
    headline : str
        The answer in a sentence.
    initialisation, regime : str
        The start that is advised, and the regime of fine-tuning that suits it.
    learning_curve : LearningCurve or None
        Errors against numbers of labels.
    labels_needed : dict of str to float
        Labels for the target error that was asked for, by "scratch" and the choice; infinite if no
        number suffices, empty if nothing was asked.
    budget_error : dict of str to float
        Error with the number of labels that was asked for; empty if nothing was asked.
    disagreements : tuple of str
        Where systems, or a system and the held-out error, do not agree.
    settings : dict
        Arguments and sizes behind the numbers.
    seconds : dict of str to float
        Time spent, by part.
    estimator_ : estimator
        Fitted to all labels as advised. Sources that are known by predictions alone take no part.
    """

    task: str
    error_name: str
    loss_name: str
    n_samples: int
    n_features: int
    candidates: tuple[CandidateAdvice, ...]
    choice: str
    use: str
    verdict: str
    headline: str
    initialisation: str
    regime: str
    learning_curve: LearningCurve | None
    labels_needed: dict[str, float]
    budget_error: dict[str, float]
    disagreements: tuple[str, ...]
    settings: dict[str, Any]
    seconds: dict[str, float]
    estimator_: Any

    @property
    def opinions(self) -> tuple[Opinion, ...]:
        """What every system says of every source."""
        return tuple(o for candidate in self.candidates for o in candidate.opinions)

    def __getitem__(self, name: str) -> CandidateAdvice:
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise KeyError(f"{name!r} is not among {[c.name for c in self.candidates]}")

    def to_frame(self) -> pd.DataFrame:
        """One row per source, scratch first (needs pandas)."""
        import pandas as pd

        names = [f.name for f in dataclasses.fields(CandidateAdvice) if f.name != "opinions"]
        rows = [{name: getattr(c, name) for name in names} for c in self.candidates]
        return pd.DataFrame(rows).set_index("name")

    def as_dict(self) -> dict[str, Any]:
        """Everything but the estimator as plain values; NaN and infinity as None and text."""
        fields = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in {"estimator_", "seconds"}
        }
        return {name: _plain(value) for name, value in fields.items()}

    def __str__(self) -> str:
        head = ["", "predicted", "held out", "gain over scratch", "p", "strength", "verdict"]
        level = f"{100 * self.settings['confidence']:g}%"
        rows = [head]
        for c in self.candidates:
            source = c.name != "scratch"
            rows.append(
                [
                    ("* " if c.name == self.choice else "  ") + c.name,
                    interval(c.predicted_error, c.predicted_low, c.predicted_high),
                    interval(c.held_out_error, c.held_out_low, c.held_out_high),
                    interval(c.gain, c.gain_low, c.gain_high, sign=True) if source else "",
                    f"{c.p_value:.2g}" if source else "",
                    f"{c.strength:.3g}",
                    f"same as {c.duplicate_of}" if c.duplicate_of else c.verdict if source else "",
                ]
            )
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{cell:<{w}}" for cell, w in zip(row, width, strict=True)).rstrip()
            for row in rows
        ]
        said = [
            f"  {o.system:<11}{o.source}: " + "; ".join(x for x in (o.verdict, o.advice) if x)
            for o in self.opinions
            if o.verdict or o.advice
        ]
        flags = [f"  {c.name}: {flag}" for c in self.candidates for flag in c.flags]
        parts = [
            self.headline,
            "",
            f"{self.n_samples} labels, {self.n_features} features; {self.error_name}, {level} "
            f"intervals; gain: {self.loss_name}, negative helps; * is advised",
            *lines,
            "",
            f"start: {self.initialisation}",
            *([f"regime: {self.regime}"] if self.regime else []),
            *_budget_lines(self),
            *(["systems:", *said] if said else []),
            *(
                ["disagreements:", *(f"  {text}" for text in self.disagreements)]
                if self.disagreements
                else []
            ),
            *(["take note:", *flags] if flags else []),
        ]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def plot(self) -> AdviceDisplay:
        """Draw errors, learning curves and opinions (needs matplotlib).

        Returns
        -------
        AdviceDisplay
            The picture; ``figure_`` is its figure.
        """
        from retemper.advisor.display import AdviceDisplay

        return AdviceDisplay.from_advice(self)

    def to_html(self, path: str | Path) -> Path:
        """Write the advice as one self-contained page (needs jinja2 and matplotlib).

        Parameters
        ----------
        path : str or Path
            The HTML file; replaced as a whole or not at all.

        Returns
        -------
        Path
            The written file.
        """
        from retemper.advisor.page import write_page

        return write_page(self, Path(path))


def number(value: float, *, sign: bool = False) -> str:
    """Three digits; thousands without an exponent."""
    if value == 0.0:
        return "0"
    plus = "+" if sign else ""
    thousands = 1e3 <= abs(value) < 1e7
    return format(value, f"{plus},.0f" if thousands else f"{plus}.3g")


def interval(value: float, low: float, high: float, *, sign: bool = False) -> str:
    """A number with its interval; a dash if there is none."""
    if math.isnan(value):
        return "—"
    shown = number(value, sign=sign)
    if math.isnan(low):
        return shown
    return f"{shown} [{number(low, sign=sign)}, {number(high, sign=sign)}]"


def _budget_lines(advice: TransferAdvice) -> list[str]:
    lines = []
    for what, found in (("error", advice.budget_error), ("labels", advice.labels_needed)):
        if not found:
            continue
        asked = (
            f"with {advice.settings['budget']} labels"
            if what == "error"
            else f"for an error of {advice.settings['target_error']:g}"
        )
        said = ", ".join(
            f"{name} {'out of reach' if math.isinf(value) else number(value)}"
            for name, value in found.items()
        )
        lines.append(f"{what} {asked}: {said}")
    return lines


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
