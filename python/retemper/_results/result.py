"""One result: what theory, simulation and their comparison return, in every system."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._extras import require
from retemper._pickles import Versioned
from retemper._text import columns, html_table, one_line, shown, table

if TYPE_CHECKING:
    import pandas as pd


OnFailure: TypeAlias = Literal["warn", "raise", "ignore"]


class Status(StrEnum):
    """How an iteration ended; compares equal to its name."""

    CONVERGED = "converged"
    MAX_ITER = "max_iter"
    STALLED = "stalled"
    NO_SOLUTION = "no_solution"
    SEVERAL_SOLUTIONS = "several_solutions"
    INVALID = "invalid"

    @classmethod
    def from_core(cls, code: int) -> Status:
        """Status of an integer code of the compiled core."""
        return tuple(cls)[code]

    @property
    def sentence(self) -> str:
        """What happened, in words."""
        from retemper._dispatch import core

        return dict(core.core.status_list())[self.value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result(Versioned):
    """Base of theory and simulation results: numbers and arrays, nothing live."""

    status: Status
    n_iter: int
    residual: float
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Fields by name; the model is expanded one level."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def to_frame(self) -> pd.DataFrame:
        """Scalar fields as a one-row pandas data frame."""
        require("pandas", purpose="to_frame")
        import pandas as pd

        return pd.DataFrame([{k: v for k, v in self.as_dict().items() if np.ndim(v) == 0}])

    def _repr_html_(self) -> str:
        values = self.as_dict()
        message = str(values.pop("message", ""))
        values.pop("status", None)
        rows = [["", "value"], *([name, shown(value)] for name, value in values.items())]
        parts = self._parts()
        caption = f"{type(self).__name__}: {self.status}"
        if not parts:
            return html_table(caption, rows, message)
        return html_table(caption, rows) + html_table("", parts, message)

    def _parts(self) -> list[list[str]]:
        """What a result of several parts says of each: cells, the heading first; or nothing."""
        return []

    __repr__ = one_line

    def __str__(self) -> str:
        rows = [
            [name, shown(value)]
            for name, value in self.as_dict().items()
            if name not in ("status", "message")
        ]
        said = f"{type(self).__name__}: {self.status}\n{columns(rows)}"
        if parts := self._parts():
            said = f"{said}\n\n{table(parts)}"
        return f"{said}\n{self.message}" if self.message != self.status.sentence else said


@dataclasses.dataclass(frozen=True)
class Comparison(Versioned):
    """Theory against simulation, quantity by quantity.

    Attributes
    ----------
    names : tuple of str
        The quantities.
    theory, simulation, stderr : ndarray of shape (n_quantities,)
        Predicted value, mean over repeats, standard error of that mean.
    z : ndarray of shape (n_quantities,)
        (theory - simulation) / stderr; a standard error below rounding counts as rounding.
    """

    names: tuple[str, ...]
    theory: NDArray[np.float64]
    simulation: NDArray[np.float64]
    stderr: NDArray[np.float64]

    __repr__ = one_line

    @property
    def z(self) -> NDArray[np.float64]:
        """Deviations in standard errors."""
        gap = self.theory - self.simulation
        rounding = 8 * np.finfo(float).eps * np.maximum(abs(self.theory), abs(self.simulation))
        error = np.maximum(self.stderr, rounding)
        return np.divide(gap, error, out=np.zeros_like(gap), where=gap != 0)

    @classmethod
    def of(cls, theory: object, simulation: object, names: Sequence[str]) -> Comparison:
        """Compare equally named fields; ``simulation.stderr`` maps names to standard errors."""
        stderr: Mapping[str, float] = simulation.stderr  # type: ignore[attr-defined]
        return cls(
            tuple(names),
            np.array([float(getattr(theory, name)) for name in names]),
            np.array([float(getattr(simulation, name)) for name in names]),
            np.array([float(stderr[name]) for name in names]),
        )

    def to_frame(self) -> pd.DataFrame:
        """Pandas data frame indexed by quantity."""
        require("pandas", purpose="to_frame")
        import pandas as pd

        columns = {
            "theory": self.theory,
            "simulation": self.simulation,
            "stderr": self.stderr,
            "z": self.z,
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="quantity"))

    def _repr_html_(self) -> str:
        rows = [["quantity", "theory", "simulation", "standard error", "z"]]
        rows += [
            [name, f"{t:.6g}", f"{s:.6g}", f"{e:.2g}", f"{z:.2f}"]
            for name, t, s, e, z in zip(
                self.names, self.theory, self.simulation, self.stderr, self.z, strict=True
            )
        ]
        return html_table("Theory against simulation", rows, "z: deviation in standard errors")

    def __str__(self) -> str:
        rows = [f"{'quantity':<18}{'theory':>14}{'simulation':>14}{'stderr':>11}{'z':>7}"]
        rows += [
            f"{name:<18}{t:>14.6g}{s:>14.6g}{e:>11.2g}{z:>7.2f}"
            for name, t, s, e, z in zip(
                self.names, self.theory, self.simulation, self.stderr, self.z, strict=True
            )
        ]
        return "\n".join(rows)
