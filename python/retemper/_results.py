"""What theory, simulation, comparison and sweeps return, in every system."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes


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
class Result:
    """Base of theory and simulation results: numbers and arrays, nothing live."""

    status: Status
    n_iter: int
    residual: float
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Fields by name; the model is expanded one level."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def as_frame(self) -> pd.DataFrame:
        """Scalar fields as a one-row pandas data frame."""
        import pandas as pd

        return pd.DataFrame([{k: v for k, v in self.as_dict().items() if np.ndim(v) == 0}])

    def __repr__(self) -> str:
        shown = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray) and value.ndim:
                shown.append(f"{f.name}=<array {value.shape}>")
            elif isinstance(value, float):
                shown.append(f"{f.name}={value:.6g}")
            elif f.name != "message":
                shown.append(f"{f.name}={value!s}")
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclasses.dataclass(frozen=True)
class Comparison:
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
        import pandas as pd

        columns = {
            "theory": self.theory,
            "simulation": self.simulation,
            "stderr": self.stderr,
            "z": self.z,
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="quantity"))

    def __str__(self) -> str:
        rows = [f"{'quantity':<18}{'theory':>14}{'simulation':>14}{'stderr':>11}{'z':>7}"]
        rows += [
            f"{name:<18}{t:>14.6g}{s:>14.6g}{e:>11.2g}{z:>7.2f}"
            for name, t, s, e, z in zip(
                self.names, self.theory, self.simulation, self.stderr, self.z, strict=True
            )
        ]
        return "\n".join(rows)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Scalar results on a grid of model parameters.

    Attributes
    ----------
    axes : dict of str to ndarray
        Swept parameters, in the order of the array axes.
    values : dict of str to ndarray
        Each quantity on the grid, of shape ``tuple(len(axis) for axis in axes.values())``, and
        after these the axes of the quantity itself if it is an array.
    title : str
        What was swept.
    attrs : dict of str to str
        What it was made with.
    failures : tuple of dict
        Parameters and error of every point that failed.
    """

    axes: dict[str, NDArray[Any]]
    values: dict[str, NDArray[Any]]
    title: str = ""
    attrs: dict[str, str] = dataclasses.field(default_factory=dict)
    failures: tuple[dict[str, Any], ...] = ()

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values[name]

    def to_xarray(self) -> xr.Dataset:
        """Labelled arrays (needs xarray)."""
        import xarray as xr

        dims = tuple(self.axes)
        return xr.Dataset(
            {
                name: (dims + tuple(f"{name}_{k}" for k in range(value.ndim - len(dims))), value)
                for name, value in self.values.items()
            },
            coords=dict(self.axes),
            attrs={"title": self.title, **self.attrs},
        )

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """Write `to_xarray` as netCDF-3, whole or not at all (needs xarray).

        The format has no 64-bit integers: those beyond 32 bits are written as float64. Equal
        sweeps give equal files.
        """
        path = Path(path)
        data = self.to_xarray()
        for name, value in data.variables.items():
            if value.dtype.kind in "iu" and value.size and abs(value).max() >= 2**31:
                data[name] = value.astype(np.float64)
        part = path.with_name(path.name + ".part")
        data.to_netcdf(part, engine="scipy", format="NETCDF3_64BIT")
        part.replace(path)

    def to_frame(self) -> pd.DataFrame:
        """One row per grid point (needs pandas)."""
        import pandas as pd

        index = pd.MultiIndex.from_product(list(self.axes.values()), names=list(self.axes))
        columns = {
            name: list(v.reshape(len(index), *v.shape[len(self.axes) :]))
            for name, v in self.values.items()
        }
        frame = pd.DataFrame(columns, index=index)
        return frame.reset_index()

    def plot(self, quantity: str | None = None, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw a quantity against the first axis, one line per value of the second.

        Parameters
        ----------
        quantity : str or None, default=None
            What to draw; the first quantity if None.
        ax : matplotlib Axes or None, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.

        Raises
        ------
        ValueError
            If the sweep has more than two axes, or no such quantity.
        """
        import matplotlib.pyplot as plt

        name = quantity or next(iter(self.values))
        if name not in self.values:
            raise ValueError(f"quantity must be one of {sorted(self.values)}, got {name!r}")
        if len(self.axes) > 2:
            raise ValueError(f"plot draws one or two axes, this sweep has {len(self.axes)}")
        if self.values[name].ndim > len(self.axes):
            raise ValueError(f"plot draws numbers, {name} is an array at every point")
        if ax is None:
            ax = plt.subplots(layout="constrained")[1]
        first, *rest = self.axes
        value = self.values[name]
        if not rest:
            ax.plot(self.axes[first], value, **kwargs)
        else:
            for level, column in zip(self.axes[rest[0]], np.moveaxis(value, 0, -1), strict=True):
                ax.plot(self.axes[first], column, label=f"{rest[0]} = {level:.4g}", **kwargs)
            ax.legend()
        ax.set(xlabel=first, ylabel=name, title=self.title)
        return ax


def sweep_model(
    solve: Callable[[Any], Any], model: Any, axes: Mapping[str, Iterable[Any]], names: Sequence[str]
) -> Sweep:
    """Solve a model over the product of parameter values.

    Parameters
    ----------
    solve : callable
        Maps a model to a result.
    model : dataclass
        The model whose fields are replaced.
    axes : mapping of str to iterable
        Values of each swept field.
    names : sequence of str
        Result fields to keep.

    Returns
    -------
    Sweep
        Values on the grid.

    Raises
    ------
    ValueError
        If a swept name is not a field of the model, or an axis is empty.
    """
    fields = {f.name for f in dataclasses.fields(model)}
    grid = {name: np.asarray(list(values)) for name, values in axes.items()}
    for name, values in grid.items():
        if name not in fields:
            raise ValueError(
                f"{name!r} is not a parameter of {type(model).__name__}: {sorted(fields)}"
            )
        if values.ndim != 1 or not values.size:
            raise ValueError(f"axis {name!r} must be a non-empty list of numbers")
    if not grid:
        raise ValueError("name at least one parameter to sweep, e.g. curve(model, n=[10, 20, 40])")
    shape = tuple(len(v) for v in grid.values())
    out = {name: np.full(math.prod(shape), np.nan) for name in names}
    statuses = []
    for i, point in enumerate(itertools.product(*(v.tolist() for v in grid.values()))):
        result = solve(dataclasses.replace(model, **dict(zip(grid, point, strict=True))))
        statuses.append(str(result.status))
        for name in names:
            out[name][i] = getattr(result, name)
    stacked = {name: v.reshape(shape) for name, v in out.items()}
    stacked["status"] = np.array(statuses).reshape(shape)
    return Sweep(grid, stacked, type(model).__name__)
