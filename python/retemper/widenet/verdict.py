"""Will the source help? The decision from leave-one-out losses, and the width at which it pays."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, TypeAlias

import numpy as np

from retemper._validation import FloatArray, check_kind
from retemper.widenet.path import GammaPath

__all__ = ["TransferVerdict", "transfer_verdict"]

Verdict: TypeAlias = Literal["helps", "hurts", "undecided"]

#: Standard errors by which knowledge must exceed zero, and other differences. The first was set by
#: bench/calibrate_widenet.py, seed 0: at 1.5 "helps" found 12 of 16 useful sources and none that
#: was harmful, at 2 it found 7 of them; at 1 it found no more, but 7 useless sources besides.
KNOWLEDGE_THRESHOLD = 1.5
THRESHOLD = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferVerdict:
    """Whether a source helps; see `transfer_verdict` for the rule.

    A gain is a fall of the leave-one-out loss, in its units; positive is good. Standard errors are
    over target samples, of paired differences.

    Parameters
    ----------
    verdict : {"helps", "hurts", "undecided"}
        The decision.
    gamma : float
        Coupling of the smallest leave-one-out loss.
    scratch_loo : float
        Leave-one-out loss from scratch, at coupling 0.
    gain, gain_stderr : float
        Gain of that coupling over scratch.
    knowledge, knowledge_stderr : float
        The part of it that a random anchor at its own best coupling does not have.
    frozen_gain, frozen_gain_stderr : float
        Gain of frozen features (the largest coupling of the path) over scratch.

    See Also
    --------
    transfer_verdict

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, gamma_path, transfer_verdict
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(100, 200)), rng.normal(size=200) / 200**0.5
    >>> tasks = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> found = transfer_verdict(gamma_path(WideNetModel(50), *tasks))
    >>> found.verdict, found.regularisation_only
    ('helps', False)
    """

    verdict: Verdict
    gamma: float
    scratch_loo: float
    gain: float
    gain_stderr: float
    knowledge: float
    knowledge_stderr: float
    frozen_gain: float
    frozen_gain_stderr: float

    @property
    def relative_gain(self) -> float:
        """The gain in units of the loss from scratch."""
        return self._relative(self.gain)

    @property
    def relative_gain_stderr(self) -> float:
        """Its standard error."""
        return self._relative(self.gain_stderr)

    @property
    def relative_frozen_gain(self) -> float:
        """The gain of frozen features in units of the loss from scratch."""
        return self._relative(self.frozen_gain)

    @property
    def regularisation_only(self) -> bool:
        """Whether there is a gain, but a random anchor gains as much."""
        return self.gain > THRESHOLD * self.gain_stderr and self.verdict != "helps"

    def _relative(self, value: float) -> float:
        return value / self.scratch_loo if self.scratch_loo > 0.0 else 0.0

    def __str__(self) -> str:
        words = {
            "helps": "the source helps",
            "hurts": "the source does not help, and its frozen features hurt",
            "undecided": "undecided",
        }

        def percent(value: float, stderr: float) -> str:
            return f"{100 * self._relative(value):.1f} ± {100 * self._relative(stderr):.1f} %"

        text = (
            f"{words[self.verdict]}; at the best coupling {self.gamma:g} the predicted gain is "
            f"{percent(self.gain, self.gain_stderr)} of the loss from scratch, of which "
            f"{percent(self.knowledge, self.knowledge_stderr)} is knowledge; frozen features gain "
            f"{percent(self.frozen_gain, self.frozen_gain_stderr)}"
        )
        if self.regularisation_only:
            text += "; a random anchor gains as much: this is regularisation"
        return text


def transfer_verdict(path: GammaPath) -> TransferVerdict:
    """Decide from a path whether the source helps.

    ``"helps"``: the leave-one-out loss at the best coupling is below that of the random-anchor
    control at its own best coupling (scratch included) by more than 1.5 standard errors of the
    paired differences. ``"hurts"``: it is not, and frozen features are worse than scratch by more
    than two. Otherwise ``"undecided"``. Nothing is trained or held out. How often the verdict is
    right on trained networks is measured by ``bench/calibrate_widenet.py``.

    Parameters
    ----------
    path : GammaPath
        Must start at coupling 0 and hold the control; its largest coupling counts as frozen.

    Returns
    -------
    TransferVerdict
        The decision and the numbers behind it.

    Raises
    ------
    ValueError
        If the path does not hold coupling 0 and another, or no control.

    See Also
    --------
    gamma_path, TransferVerdict

    Notes
    -----
    The rule is derived here (`derivations/widenet#predictions-and-their-variances`).

    Examples
    --------
    >>> import numpy as np
    >>> from retemper.widenet import WideNetModel, gamma_path, transfer_verdict
    >>> rng = np.random.default_rng(0)
    >>> X, teacher = rng.normal(size=(100, 200)), rng.normal(size=200) / 200**0.5
    >>> data = (X[:20], X[:20] @ teacher), (X[20:], X[20:] @ teacher)
    >>> transfer_verdict(gamma_path(WideNetModel(50), *data)).verdict
    'helps'
    """
    check_kind(path, "path", GammaPath)
    if path.gamma[0] != 0.0 or path.gamma.size < 2:
        raise ValueError(
            f"the path must hold coupling 0 and a larger one, got {path.gamma.tolist()}"
        )
    if path.control is None:
        raise ValueError("the path must hold the control: gamma_path(..., control=True)")
    losses, anchor = path.loo_loss_rows, path.control.loo_loss_rows
    scratch, best = losses[0], best_of(path, "loo")

    def fall(start: FloatArray, end: FloatArray) -> tuple[float, float]:
        difference = start - end
        spread = float(difference.std(ddof=1)) if difference.size > 1 else math.inf
        return float(difference.mean()), spread / math.sqrt(difference.size)

    gain, gain_stderr = fall(scratch, losses[best])
    knowledge, knowledge_stderr = fall(anchor[best_of(path.control, "loo")], losses[best])
    frozen_gain, frozen_gain_stderr = fall(scratch, losses[-1])
    verdict: Verdict = "undecided"
    if knowledge > KNOWLEDGE_THRESHOLD * knowledge_stderr:
        verdict = "helps"
    elif frozen_gain < -THRESHOLD * frozen_gain_stderr:
        verdict = "hurts"
    return TransferVerdict(
        verdict=verdict,
        gamma=float(path.gamma[best]),
        scratch_loo=float(scratch.mean()),
        gain=gain,
        gain_stderr=gain_stderr,
        knowledge=knowledge,
        knowledge_stderr=knowledge_stderr,
        frozen_gain=frozen_gain,
        frozen_gain_stderr=frozen_gain_stderr,
    )


def best_of(path: GammaPath, rule: str) -> int:
    """Index of the coupling that a rule selects."""
    if rule == "evidence":
        return int(np.argmax(path["log_evidence"]))
    return int(path.loo_loss_rows.mean(1).argmin())
