"""What opinions of the systems were worth on the suite: the one place of these numbers."""

from __future__ import annotations

import dataclasses

__all__ = ["SUITE_RECORD", "SuiteRecord"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteRecord:
    """Counts of one system, as ``bench/opinions_advise.py`` prints them.

    Parameters
    ----------
    cases : int
        Sources, or calls, of which it was asked.
    given : int
        Opinions.
    right, wrong : int
        Decisions for or against a source, beside what came.
    intervals, inside : int
        Intervals of errors, and those that the error on other rows lay in.
    changed, changed_right : int
        Opinions that would have changed the action, and those of them that were right.
    """

    cases: int
    given: int
    right: int = 0
    wrong: int = 0
    intervals: int = 0
    inside: int = 0
    changed: int = 0
    changed_right: int = 0

    @property
    def text(self) -> str:
        """The record in a few words."""
        decided = self.right + self.wrong
        if not decided:
            return f"on the suite it spoke in {self.given} of {self.cases} cases, unchecked"
        said = (
            f"on the suite right in {self.right} of {decided} cases, and in {self.changed_right} "
            f"of {self.changed} where it would have changed the action"
        )
        if self.intervals:
            share = 100 * self.inside / self.intervals
            said += f"; its interval held in {share:.0f} % of {self.intervals}"
        return said


#: `python bench/opinions_advise.py --seeds 4`, on the half that reports.
SUITE_RECORD = {
    "linear": SuiteRecord(
        cases=388, given=356, right=62, wrong=14, intervals=356, inside=313, changed=23,
        changed_right=10,
    ),
    "diagonal": SuiteRecord(cases=388, given=56, right=34, wrong=22, changed=27, changed_right=8),
    "widenet": SuiteRecord(cases=388, given=200, right=45, wrong=17, changed=10, changed_right=7),
    "phases": SuiteRecord(cases=388, given=268, changed=248),
    "perceptron": SuiteRecord(cases=196, given=11, changed=11),
}  # fmt: skip
