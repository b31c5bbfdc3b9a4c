"""Values that a parameter may take: an interval, whole numbers, or names."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from retemper._validation import check_choice, check_integer, check_real

__all__ = ["Domain"]

_INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")
_INTEGERS = re.compile(r"integer from (\S+?)(?: up to (\S+?))?(, or inf)?")


@dataclasses.dataclass(frozen=True)
class Domain:
    """Values a parameter may take.

    Parameters
    ----------
    low, high : float
        Ends of the interval.
    open_low, open_high : bool, default=False
        Whether an end is excluded.
    allow_inf : bool, default=False
        Whether an infinite value inside the interval is allowed.
    integer : bool, default=False
        Whether it is a whole number.
    choices : tuple of str or None, default=None
        The allowed names, instead of numbers.
    """

    low: float = -math.inf
    high: float = math.inf
    _: dataclasses.KW_ONLY
    open_low: bool = False
    open_high: bool = False
    allow_inf: bool = False
    integer: bool = False
    choices: tuple[str, ...] | None = None

    @classmethod
    def read(cls, text: str) -> Domain:
        """The domain that prints as ``text``.

        Parameters
        ----------
        text : str
            ``[0, 1)``, ``(0, ∞)`` without and ``(0, ∞]`` with infinity, ``integer from 1``,
            ``integer from 1 up to 8``, ``integer from 1, or inf``, or names between commas.

        Returns
        -------
        Domain
            Its values.
        """
        if found := _INTERVAL.fullmatch(text):
            left, low, high, right = found.groups()
            ends = [float(end.replace("∞", "inf")) for end in (low, high)]
            return cls(
                *ends,
                open_low=left == "(" and math.isfinite(ends[0]),
                open_high=right == ")" and math.isfinite(ends[1]),
                allow_inf=right == "]" and math.isinf(ends[1]),
            )
        if found := _INTEGERS.fullmatch(text):
            low, most, infinite = found.groups()
            return cls(
                float(low), float(most or math.inf), integer=True, allow_inf=infinite is not None
            )
        return cls(choices=tuple(text.split(", ")))

    def check(self, value: Any, name: str) -> Any:
        """The value, converted; an error names the argument, the value and the domain."""
        if self.choices is not None:
            return check_choice(value, name, self.choices)
        if self.integer:
            if self.allow_inf and isinstance(value, float) and value == math.inf:
                return math.inf
            high = None if math.isinf(self.high) else int(self.high)
            return check_integer(value, name, low=int(self.low), high=high)
        return check_real(
            value, name, low=self.low, high=self.high, open_low=self.open_low,
            open_high=self.open_high, allow_inf=self.allow_inf,
        )  # fmt: skip

    def __str__(self) -> str:
        if self.choices is not None:
            return ", ".join(self.choices)
        if self.integer:
            most = f" up to {self.high:g}" if math.isfinite(self.high) else ""
            return f"integer from {self.low:g}{most}" + (", or inf" if self.allow_inf else "")
        left = "(" if self.open_low or math.isinf(self.low) else "["
        right = ")" if self.open_high or (math.isinf(self.high) and not self.allow_inf) else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}".replace("inf", "∞")
