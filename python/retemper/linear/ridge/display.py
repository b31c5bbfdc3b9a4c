"""Pictures of a transfer report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from retemper._plot import CYCLE, VERDICT_COLOUR, new_axes
from retemper._validation import FloatArray, check_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LearningCurveDisplay", "TransferReportDisplay"]


def _check_report(report: object) -> None:
    from retemper.linear.ridge.report import LinearTransferReport

    check_kind(report, "report", LinearTransferReport)


@dataclasses.dataclass(eq=False)
class TransferReportDisplay:
    """Gain of every source over scratch with its interval, coloured by verdict.

    Parameters
    ----------
    names : list of str
        Sources.
    gain : ndarray of shape (s,)
        Error of scratch minus error of fine-tuning: positive helps.
    gain_low, gain_high : ndarray of shape (s,)
        Interval of the gain.
    verdict : list of str
        Verdict on every source.
    confidence : float
        Coverage of the intervals.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    LinearTransferReport, LearningCurveDisplay

    References
    ----------
    .. [1] After G. Shachaf, A. Brutzkus, A. Globerson, "A theoretical analysis of fine-tuning with
       linear teachers", NeurIPS 34 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LinearTransferReport, TransferReportDisplay
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 10)), rng.normal(size=10)
    >>> report = LinearTransferReport({"near": w, "far": -w}).fit(X, X @ w + rng.normal(size=30))
    >>> TransferReportDisplay.from_estimator(report).names
    ['near', 'far']
    """

    names: list[str]
    gain: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    verdict: list[str]
    _: dataclasses.KW_ONLY
    confidence: float = 0.95
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_estimator(cls, report: Any) -> Self:
        """Read a fitted report.

        Parameters
        ----------
        report : LinearTransferReport
            Fitted.

        Returns
        -------
        TransferReportDisplay
            Ready to plot.
        """
        _check_report(report)
        ends = report.gain_low_, report.gain_high_
        return cls(
            report.names_, report.gain_, *ends, report.verdict_, confidence=report.confidence
        )

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; a new figure if None.

        Returns
        -------
        TransferReportDisplay
            Itself.
        """
        ax = new_axes(ax, (6.4, 1.2 + 0.4 * max(1, len(self.names))))
        ax.axvline(0.0, color="black", linewidth=0.8)
        seen: set[str] = set()
        ends_of_all = np.column_stack([self.gain_low, self.gain_high])
        for j, (gain, ends, verdict) in enumerate(
            zip(self.gain, ends_of_all, self.verdict, strict=True)
        ):
            colour = VERDICT_COLOUR[verdict]
            if np.isfinite(ends).all():
                ax.hlines(j, *ends, color=colour, linewidth=2.0)
            label = None if verdict in seen else verdict
            ax.plot([gain], [j], "o", color=colour, label=label)
            seen.add(verdict)
        ax.set_yticks(range(len(self.names)), self.names)
        ax.set_ylim(len(self.names) - 0.5, -0.5)
        ax.set_xlabel(
            f"gain over scratch, squared error ({100 * self.confidence:g}% interval; "
            "positive: the source helps)"
        )
        if seen:
            ax.legend(frameon=False, fontsize="small")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self


@dataclasses.dataclass(eq=False)
class LearningCurveDisplay:
    """Predicted error against the number of labels, from scratch and from every source.

    Parameters
    ----------
    n_samples : ndarray of shape (m,)
        Numbers of labels.
    scratch : ndarray of shape (m,)
        Error from scratch.
    curves : dict of str to ndarray of shape (m,)
        Errors of fine-tuning by source.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes drawn on.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    LinearTransferReport, TransferReportDisplay

    References
    ----------
    .. [1] After G. Shachaf, A. Brutzkus, A. Globerson, "A theoretical analysis of fine-tuning with
       linear teachers", NeurIPS 34 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.linear import LearningCurveDisplay
    >>> display = LearningCurveDisplay(
    ...     np.array([5, 10]), np.array([0.9, 0.5]), {"a": np.array([0.6, 0.4])}
    ... )
    >>> display.plot().ax_.get_xlabel() != ""
    True
    """

    n_samples: NDArray[np.int64]
    scratch: FloatArray
    curves: dict[str, FloatArray]
    ax_: Axes = dataclasses.field(init=False, repr=False)
    figure_: Figure | None = dataclasses.field(init=False, repr=False)

    @classmethod
    def from_estimator(cls, report: Any) -> Self:
        """Read the curves of a fitted report.

        Parameters
        ----------
        report : LinearTransferReport
            Fitted.

        Returns
        -------
        LearningCurveDisplay
            Ready to plot.
        """
        _check_report(report)
        curves = dict(zip(report.names_, report.learning_curve_, strict=True))
        return cls(report.n_samples_, report.scratch_curve_, curves)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; a new figure if None.

        Returns
        -------
        LearningCurveDisplay
            Itself.
        """
        ax = new_axes(ax, (6.4, 4.4))
        ax.plot(self.n_samples, self.scratch, color="black", linestyle="--", label="scratch")
        for j, (name, errors) in enumerate(self.curves.items()):
            ax.plot(self.n_samples, errors, color=CYCLE[j % len(CYCLE)], label=name)
        ax.set(xlabel="target labels", ylabel="predicted squared error", ylim=(0.0, None))
        ax.legend(frameon=False, fontsize="small")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        return self
