"""The answer of `retemper.advise`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from retemper.advisor.record import AdviceRecord
from retemper.advisor.wording import as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from retemper.advisor.display import AdviceDisplay


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferAdvice(AdviceRecord):
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
        Scratch first, then the sources in the order given, then their mixture if there are two
        or more that can predict new rows.
    choice : str
        Name of what ``estimator_`` starts from: a source, "mixture", or "scratch".
    use : {"scratch", "as is", "fine-tune", "rescaled", "pooled", "average"}
        What ``estimator_`` does: one thing with the choice, or the average of several fits, of
        which the choice weighs most.
    verdict : {"helps", "hurts", "same", "undecided"}
        The answer for all sources together: "helps" if one of them does; else "undecided" if one
        of them is; else "same" if one makes no difference; else "hurts".
    p_helps : float
        Probability that ``estimator_`` beats training from scratch on new rows, calibrated on the
        suite of ``bench/calibrate_advise.py``; NaN where it is training from scratch.
    gain, gain_low, gain_high : float
        Held-out loss from scratch minus that of ``estimator_``, and its interval.
    relative_gain, relative_gain_low, relative_gain_high : float
        The same, divided by the loss from scratch.
    headline : str
        What to do, in a sentence.
    initialisation, regime : str
        The start that is advised, and the regime of fine-tuning that suits it.
    learning_curve : LearningCurve or None
        Errors against numbers of labels.
    labels_needed : dict of str to float
        Likely number of labels for the target error that was asked for, by "scratch" and the
        choice; NaN where these labels cannot tell, empty if nothing was asked.
    labels_needed_low, labels_needed_high : dict of str to float
        Its range: where the ends of the band of 80 % reach the error; infinite beyond 64 times the
        labels at hand.
    budget_error : dict of str to float
        Error with the number of labels that was asked for; empty if nothing was asked.
    budget_error_low, budget_error_high : dict of str to float
        Ends of the band that contains it with probability 0.8.
    disagreements : tuple of str
        Where systems that were asked, or one of them and the held-out loss, do not agree.
    settings : dict
        Arguments and sizes behind the numbers.
    seconds : dict of str to float
        Time spent, by part.
    estimator_ : estimator
        Fitted to all labels as advised. Sources that are known by predictions alone take no part.

    See Also
    --------
    retemper.advise, CandidateAdvice, AdviceDisplay

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(30, 5)), np.arange(5.0)
    >>> advice = retemper.advise(X, X @ w + rng.normal(size=30), sources={"near": w + 0.1})
    >>> advice.verdict, advice.use
    ('undecided', 'average')
    >>> advice.headline[:4], 0 < advice.p_helps < 1
    ('Use ', True)
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.headline!r})"

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        from retemper.advisor.page import fragment

        return fragment(self)

    def plot(self, *, ax: Axes | None = None) -> AdviceDisplay:
        """Draw errors, learning curves and opinions (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw the errors alone; a new figure with all panels if None.

        Returns
        -------
        AdviceDisplay
            The picture; ``figure_`` is its figure.
        """
        from retemper.advisor.display import AdviceDisplay

        return AdviceDisplay.from_advice(self).plot(ax=ax)

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
