"""What an advice holds: verdicts, errors, opinions and curves, as data."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import ArrayLike, NDArray

from retemper._text import plain
from retemper._validation import FloatArray

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from retemper.advisor.forecast import Forecast

Verdict = Literal["helps", "hurts", "same", "undecided"]
Action = Literal["use", "leave", "stop early", "use unlabelled rows", ""]
Use = Literal["scratch", "as is", "fine-tune", "rescaled", "pooled", "average"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one system says of one source.

    Parameters
    ----------
    system : str
        Subpackage whose theory speaks.
    source : str
        Name of the source, or "scratch".
    verdict : {"helps", "hurts", "same", "undecided", ""}
        Whether to start from the source; empty where the system does not judge that.
    error, error_low, error_high : float
        Predicted target error and its interval, in the unit that ``unit`` names; NaN where the
        system predicts none.
    unit : str
        What the error is, for instance "squared error".
    advice : str
        Initialisation, regime, strength or time to stop, in words.
    flags : tuple of str
        Warnings of the system: where its theory does not reach.
    action : {"use", "leave", "stop early", "use unlabelled rows", ""}
        What it would have one do; empty where it leaves that open.
    record : str
        How often opinions of the system were right on the suite of ``bench/opinions_advise.py``.

    See Also
    --------
    CandidateAdvice, TransferAdvice

    Examples
    --------
    >>> from retemper.advisor import Opinion
    >>> Opinion(system="linear", source="near", verdict="helps", advice="start from it").verdict
    'helps'
    """

    system: str
    source: str
    verdict: Verdict | Literal[""] = ""
    error: float = math.nan
    error_low: float = math.nan
    error_high: float = math.nan
    unit: str = ""
    advice: str = ""
    flags: tuple[str, ...] = ()
    action: Action = ""
    record: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateAdvice:
    """One source or the mixture of all, at its best use, or training from scratch.

    Parameters
    ----------
    name : str
        Name of the source, "mixture" or "scratch".
    verdict : {"helps", "hurts", "same", "undecided"}
        Whether the source lowers the held-out loss, at the confidence asked for, all sources
        considered: "helps" if a use of it does; "hurts" if fine-tuning from it raises the loss and
        no use of it leans to a gain; "same" if no use of it makes a difference. "same" for scratch.
    use : {"scratch", "as is", "fine-tune", "rescaled", "pooled"}
        The best use of it, which is judged here.
    predicted_error, predicted_low, predicted_high : float
        Leave-one-out prediction of the error of the fit to all labels, and its interval; with
        groups, the held-out error.
    held_out_error, held_out_low, held_out_high : float
        Error of nested cross-validation, for fits to fewer labels, and its interval.
    loss : float
        Held-out loss that decides: squared error, or log loss in nats.
    gain, gain_low, gain_high : float
        Held-out loss from scratch minus that with the source (positive: the source helps), in
        units of the loss, and its interval.
    relative_gain, relative_gain_low, relative_gain_high : float
        The same, divided by the loss from scratch.
    p_helps : float
        Probability that it beats scratch on new rows, calibrated on the suite of
        ``bench/calibrate_advise.py``; NaN for scratch.
    p_value : float
        Of no difference in loss to scratch, two-sided, corrected over the sources (Holm).
    ridge : float
        Penalty of the fit to all labels, for columns of unit variance; infinite for a source as it
        is.
    source_scale : float
        Factor on the source in that fit.
    labels_saved : float
        Labelled rows that the source replaces, by the learning curves; NaN if not known.
    labels_to_decide : float
        Labels at which a gain as large as that seen would decide; NaN unless undecided and seen.
    duplicate_of : str or None
        An earlier source that predicts the same.
    flags : tuple of str
        What to know before trusting the row.
    opinions : tuple of Opinion
        What the systems say of it.

    See Also
    --------
    TransferAdvice, Opinion

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 5)), np.arange(5.0)
    >>> advice = retemper.advise(X, X @ w + rng.normal(size=30), sources={"near": w + 0.1})
    >>> [c.name for c in advice.candidates]
    ['scratch', 'near']
    >>> near = advice.candidates[-1]
    >>> near.verdict, bool(near.gain > 0)
    ('undecided', True)
    """

    name: str
    verdict: Verdict
    use: Use
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
    relative_gain: float
    relative_gain_low: float
    relative_gain_high: float
    p_helps: float
    p_value: float
    ridge: float
    source_scale: float
    labels_saved: float = math.nan
    labels_to_decide: float = math.nan
    duplicate_of: str | None = None
    flags: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()

    @property
    def is_source(self) -> bool:
        """Whether this is a source, not scratch."""
        return self.use != "scratch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Error against the number of labels: measured on parts of the sample, and forecast.

    Parameters
    ----------
    n_samples : ndarray of shape (m,)
        Numbers of labelled rows, the last beyond the sample.
    measured : ndarray of shape (m,)
        Whether the number was tried; the others are forecast.
    error : dict of str to ndarray of shape (m,)
        Error of "scratch" and of the advised choice.
    error_low, error_high : dict of str to ndarray of shape (m,)
        Ends of the band that contains the error with probability 0.8, where it is forecast; NaN
        elsewhere.
    stderr : dict of str to ndarray of shape (m,)
        Standard errors of the measured points; NaN elsewhere.
    fit : dict of str to Forecast
        Power laws through the held-out error; ``at``, ``band`` and ``labels_for`` read them.

    See Also
    --------
    TransferAdvice

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 5)), np.arange(5.0)
    >>> y = X @ w + rng.normal(size=30)
    >>> curve = retemper.advise(X, y, sources={"near": w + 0.1}, budget=90).learning_curve
    >>> sorted(curve.error), curve.n_samples[-1]
    (['near', 'scratch'], np.int64(180))
    """

    n_samples: NDArray[np.int64]
    measured: NDArray[np.bool_]
    error: dict[str, FloatArray]
    error_low: dict[str, FloatArray]
    error_high: dict[str, FloatArray]
    stderr: dict[str, FloatArray]
    fit: dict[str, Forecast]


class Predictor(Protocol):
    """What predicts as advised: a fitted estimator of scikit-learn's kind.

    Notes
    -----
    A classifier has ``predict_proba`` and ``classes_`` as well.
    """

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict labels of rows.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        """
        ...

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Score of predictions: R², or the share of right classes.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels.
        sample_weight : array_like of shape (n_samples,) or None, default=None
            Weights of the rows.

        Returns
        -------
        float
            The score.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdviceRecord:
    """The data of a `retemper.advisor.TransferAdvice`, which documents the fields."""

    task: str
    error_name: str
    loss_name: str
    n_samples: int
    n_features: int
    candidates: tuple[CandidateAdvice, ...]
    choice: str
    use: Use
    verdict: Verdict
    p_helps: float
    gain: float
    gain_low: float
    gain_high: float
    relative_gain: float
    relative_gain_low: float
    relative_gain_high: float
    headline: str
    initialisation: str
    regime: str
    learning_curve: LearningCurve | None
    labels_needed: dict[str, float]
    labels_needed_low: dict[str, float]
    labels_needed_high: dict[str, float]
    budget_error: dict[str, float]
    budget_error_low: dict[str, float]
    budget_error_high: dict[str, float]
    disagreements: tuple[str, ...]
    settings: dict[str, Any]
    seconds: dict[str, float]
    estimator_: Predictor

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
        return {
            f.name: plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if f.name not in {"estimator_", "seconds"}
        }
