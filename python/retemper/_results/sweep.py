"""Results on a grid, as arrays, tables, files and curves."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._export import (
    along,
    csv_text,
    dots_of,
    latex_table,
    lines_of,
    pgf_axis,
    quantities_of,
)
from retemper._extras import require
from retemper._pickles import Versioned
from retemper._plot import MARKERS, new_axes
from retemper._text import columns, html_table, one_line, shown, whole_file, write_text

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

    from retemper._progress import ProgressLike
    from retemper._random import Seed
    from retemper._results.grid import Grid


@dataclasses.dataclass(frozen=True)
class Sweep(Versioned):
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
    axis_values : dict of str to tuple
        Values of the axes whose coordinates are positions: vectors, tuples, mixed kinds.
    grid : Grid or None
        The models behind the points, if the points are models.
    options : dict or None
        What else every point was solved with: data, for instance.
    """

    axes: dict[str, NDArray[Any]]
    values: dict[str, NDArray[Any]]
    title: str = ""
    attrs: dict[str, str] = dataclasses.field(default_factory=dict)
    failures: tuple[dict[str, Any], ...] = ()
    axis_values: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    grid: Grid | None = dataclasses.field(default=None, repr=False)
    options: dict[str, Any] | None = dataclasses.field(default=None, repr=False)

    @property
    def system(self) -> str | None:
        """The system whose models were swept; None if none were."""
        parts = [] if self.grid is None else type(self.grid.model).__module__.split(".")
        return parts[1] if len(parts) > 2 and parts[0] == "retemper" else None

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values[name]

    __repr__ = one_line

    def __str__(self) -> str:
        caption, rows, note = self._summary()
        said = f"{caption}\n{columns(rows)}"
        return f"{said}\n{note}" if note else said

    def _repr_html_(self) -> str:
        caption, rows, note = self._summary()
        return html_table(caption, [["", "kind", "content"], *rows], note)

    def _summary(self) -> tuple[str, list[list[str]], str]:
        """Caption, a row for every axis and value, and a note."""
        axes = [[name, "axis", shown(axis)] for name, axis in self.axes.items()]
        values = [[name, "value", shown(value)] for name, value in self.values.items()]
        note = f"{len(self.failures)} points failed: see failures" if self.failures else ""
        size = " × ".join(str(len(axis)) for axis in self.axes.values())
        return f"Sweep of {self.title or 'a function'}, {size} points", [*axes, *values], note

    def to_xarray(self) -> xr.Dataset:
        """Labelled arrays (needs xarray)."""
        require("xarray", purpose="to_xarray")
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
        with whole_file(path) as part:
            data.to_netcdf(part, engine="scipy", format="NETCDF3_64BIT")

    def to_frame(self) -> pd.DataFrame:
        """One row per grid point (needs pandas)."""
        require("pandas", purpose="to_frame")
        import pandas as pd

        index = pd.MultiIndex.from_product(list(self.axes.values()), names=list(self.axes))
        columns = {
            name: list(v.reshape(len(index), *v.shape[len(self.axes) :]))
            for name, v in self.values.items()
        }
        frame = pd.DataFrame(columns, index=index)
        return frame.reset_index()

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """All values with all digits, one row for every point.

        Parameters
        ----------
        path : path-like or None, default=None
            File to write, whole or not at all; None writes none.

        Returns
        -------
        str
            The text. The axes come first; an entry of an array has a column of its own,
            ``name_0``. Axes of vectors show positions, as in ``axes``.
        """
        return write_text(csv_text(self), path)

    def to_latex(
        self,
        quantity: str | Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        digits: int = 4,
    ) -> str:
        r"""A table of LaTeX (needs its package booktabs), headed by the symbols of the formulas.

        Parameters
        ----------
        quantity : str, sequence of str or None, default=None
            What is shown, each with a column for every value of the second axis. None is the first
            one, or with one axis all numbers side by side.
        path : path-like or None, default=None
            File to write; None writes none.
        digits : int, default=4
            Significant digits.

        Returns
        -------
        str
            The table, from ``\\begin{tabular}``.

        Raises
        ------
        ValueError
            If there are more than two axes, or no such quantity.
        """
        return write_text(latex_table(self, quantity, digits), path)

    def to_pgf(
        self,
        quantity: str | Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        simulate: int | Mapping[str, Any] | Sweep | None = None,
    ) -> str:
        r"""The figure of `plot` as an axis of pgfplots, with labelled lines and all digits.

        Parameters
        ----------
        quantity : str, sequence of str or None, default=None
            What is drawn; the first quantity if None.
        path : path-like or None, default=None
            File to write; None writes none.
        simulate : int, mapping, Sweep or None, default=None
            Simulated points beside the lines, as in `plot`.

        Returns
        -------
        str
            The figure, from ``\\begin{tikzpicture}``.

        Raises
        ------
        ValueError
            If there are more than two axes, no such quantity, or an axis is not of numbers.
        """
        return write_text(pgf_axis(self, quantity, self._simulated(quantity, simulate)), path)

    def simulate(
        self,
        quantities: str | Sequence[str] | None = None,
        *,
        n_points: int | None = None,
        random_state: Seed = 0,
        progress: ProgressLike = None,
        **options: Any,
    ) -> Sweep:
        """Run the matched experiment at points of the sweep.

        Parameters
        ----------
        quantities : str, sequence of str or None, default=None
            What to keep; None keeps all that both the theory and the experiment know.
        n_points : int or None, default=None
            Most values of the first axis, evenly spread over it; None takes all.
        random_state : None, int, SeedSequence, Generator or RandomState, default=0
            Seed. Points are independent of each other: each has a stream of its own.
        progress : None, bool, callable or object, default=None
            Called with (points done, points).
        **options : dict
            Options of the system's ``simulate``: ``n_repeats``, for instance.

        Returns
        -------
        Sweep
            Means of the repeats, and for every quantity its standard error ``<quantity>_stderr``.

        Raises
        ------
        ValueError
            If the points are not models, or the experiment does not measure a quantity.
        """
        from retemper._experiments import simulate_sweep

        return simulate_sweep(
            self, quantities, n_points=n_points, random_state=random_state, progress=progress,
            **options,
        )  # fmt: skip

    def _simulated(
        self, quantity: str | Sequence[str] | None, given: int | Mapping[str, Any] | Sweep | None
    ) -> Sweep | None:
        """What `plot` sets beside its lines."""
        if given is None or isinstance(given, Sweep):
            return given
        from retemper._experiments import POINTS, repeats_of

        options = dict(given) if isinstance(given, Mapping) else {repeats_of(self): given}
        names = quantities_of(lines_of(self, quantity))
        every = len(self.axes) > 1 and along(self) != next(iter(self.axes))  # points of every line
        return self.simulate(names, **{"n_points": None if every else POINTS, **options})

    def plot(
        self,
        quantity: str | Sequence[str] | None = None,
        *,
        simulate: int | Mapping[str, Any] | Sweep | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Axes:
        """Draw quantities against the first axis, one line per value of the second.

        Where every model has values along an axis of its own, as times, lines run along that one.

        Parameters
        ----------
        quantity : str, sequence of str or None, default=None
            What to draw; the first quantity if None. Lines of several are labelled by their names.
        simulate : int, mapping, Sweep or None, default=None
            Simulated points with standard errors beside the lines: repeats at each of at most nine
            places a line; or options of `simulate`; or what that returned.
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
            If the sweep has more than two axes, or no such quantity; if points are to be
            simulated and the sweep is not one of models, or the experiment does not measure it.
        """
        lines = lines_of(self, quantity)
        points = self._simulated(quantity, simulate)
        dots = dots_of(points, lines)
        ax = new_axes(ax)
        first = along(self)
        for k, line in enumerate(lines):
            named = {"label": line.label, **kwargs} if line.label else kwargs
            (drawn,) = ax.plot(self.axes[first], line.values, **named)
            if points is not None:
                ax.errorbar(
                    points.axes[first], *next(dots), fmt=MARKERS[k % len(MARKERS)],
                    color=drawn.get_color(), capsize=2.0, linestyle="none",
                    label="simulated" if len(lines) == 1 else "_nolegend_",
                )  # fmt: skip
        if len(lines) > 1 or len(self.axes) > 1 or points is not None:
            ax.legend()
        ax.set(xlabel=first, ylabel=", ".join(quantities_of(lines)), title=self.title)
        return ax
