"""What theory, simulation, comparison and sweeps return, in every system."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._export import csv_text, latex_table, lines_of, pgf_axis
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
        return html_table(f"{type(self).__name__}: {self.status}", rows, message)

    __repr__ = one_line

    def __str__(self) -> str:
        rows = [
            [name, shown(value)]
            for name, value in self.as_dict().items()
            if name not in ("status", "message")
        ]
        said = f"{type(self).__name__}: {self.status}\n{columns(rows)}"
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
        quantity: str | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        digits: int = 4,
    ) -> str:
        r"""A table of LaTeX (needs its package booktabs), headed by the symbols of the formulas.

        Parameters
        ----------
        quantity : str or None, default=None
            What is shown, a column for every value of the second axis. None is the first one, or
            with one axis all numbers side by side.
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
        quantity: str | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        simulate: int | Mapping[str, Any] | Sweep | None = None,
    ) -> str:
        r"""The figure of `plot` as an axis of pgfplots, with labelled lines and all digits.

        Parameters
        ----------
        quantity : str or None, default=None
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
        name = lines_of(self, quantity)[0]
        return write_text(pgf_axis(self, name, self._simulated(name, simulate)), path)

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

    def _simulated(self, name: str, given: int | Mapping[str, Any] | Sweep | None) -> Sweep | None:
        """What `plot` sets beside its lines."""
        if given is None or isinstance(given, Sweep):
            return given
        from retemper._experiments import POINTS, repeats_of

        options = dict(given) if isinstance(given, Mapping) else {repeats_of(self): given}
        return self.simulate(name, **{"n_points": POINTS, **options})

    def plot(
        self,
        quantity: str | None = None,
        *,
        simulate: int | Mapping[str, Any] | Sweep | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Axes:
        """Draw a quantity against the first axis, one line per value of the second.

        Parameters
        ----------
        quantity : str or None, default=None
            What to draw; the first quantity if None.
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
        name, lines = lines_of(self, quantity)
        points = self._simulated(name, simulate)
        ax = new_axes(ax)
        first = next(iter(self.axes))
        for k, line in enumerate(lines):
            named = {"label": line.label, **kwargs} if line.label else kwargs
            (drawn,) = ax.plot(self.axes[first], line.values, **named)
            if points is not None:
                ax.errorbar(
                    points.axes[first],
                    lines_of(points, name)[1][k].values,
                    lines_of(points, f"{name}_stderr")[1][k].values,
                    fmt=MARKERS[k % len(MARKERS)], color=drawn.get_color(), capsize=2.0,
                    linestyle="none", label="simulated" if len(lines) == 1 else "_nolegend_",
                )  # fmt: skip
        if len(self.axes) > 1 or points is not None:
            ax.legend()
        ax.set(xlabel=first, ylabel=name, title=self.title)
        return ax


@dataclasses.dataclass(frozen=True)
class Grid:
    """The product of the values of some fields of a model.

    Attributes
    ----------
    model : dataclass
        What every point has in common.
    values : dict of str to tuple
        Values of each swept field, as given.
    coords : dict of str to ndarray
        The same as coordinates of an array: the values themselves where they are numbers, truth
        values or text, their positions 0, 1, ... otherwise.
    """

    model: Any
    values: dict[str, tuple[Any, ...]]
    coords: dict[str, NDArray[Any]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of every axis."""
        return tuple(len(v) for v in self.values.values())

    def points(self) -> list[dict[str, Any]]:
        """Values of the swept fields, point after point, the last axis fastest."""
        return [
            dict(zip(self.values, point, strict=True))
            for point in itertools.product(*self.values.values())
        ]

    def models(self) -> list[Any]:
        """The models of all points."""
        return [dataclasses.replace(self.model, **point) for point in self.points()]


def read_axes(model: Any, axes: Mapping[str, Iterable[Any]]) -> Grid:
    """Check the axes of a sweep over fields of a model.

    Parameters
    ----------
    model : dataclass
        The model whose fields are swept.
    axes : mapping of str to iterable
        Values of each swept field: numbers, text, vectors or tuples.

    Returns
    -------
    Grid
        Checked.

    Raises
    ------
    TypeError
        If ``axes`` is not a mapping, or the values of an axis are not a sequence.
    ValueError
        If there is no axis, a name is not a field of the model, or an axis is empty.
    """
    name = type(model).__name__
    if not dataclasses.is_dataclass(model) or isinstance(model, type):
        raise TypeError(f"model must be a model of one of the systems, got {model!r}")
    if not isinstance(axes, Mapping):
        raise TypeError(
            f"axes must map fields of the model to their values, for instance "
            f'{{"noise": [0.1, 0.2]}}, got {axes!r}'
        )
    known = set(inspect.signature(type(model)).parameters)
    values: dict[str, tuple[Any, ...]] = {}
    for axis, given in axes.items():
        if axis not in known:
            raise ValueError(f"axes names {axis!r}, {name} has the fields {sorted(known)}")
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise TypeError(f"axes[{axis!r}] must be a list of values, got {given!r}")
        items = given.tolist() if isinstance(given, np.ndarray) and given.ndim == 1 else given
        values[axis] = tuple(v.item() if isinstance(v, np.generic) else v for v in items)
        if not values[axis]:
            raise ValueError(f"axes[{axis!r}] must have at least one value")
    if not values:
        raise ValueError('axes must name a field to sweep, for instance {"noise": [0.1, 0.2]}')
    return Grid(model, values, {axis: _coordinate(v) for axis, v in values.items()})


def _coordinate(values: tuple[Any, ...]) -> NDArray[Any]:
    numbers = all(isinstance(v, int | float) for v in values)
    if numbers or all(isinstance(v, str) for v in values):
        return np.asarray(values)
    return np.arange(len(values))


def stack_points(
    grid: Grid,
    results: Sequence[Any],
    names: Sequence[str],
    messages: Sequence[str] | None = None,
) -> Sweep:
    """Results of all points of a grid as arrays.

    Parameters
    ----------
    grid : Grid
        The points.
    results : sequence of Result or None
        One for every point, in their order; None where there is none.
    names : sequence of str
        Fields to keep.
    messages : sequence of str or None, default=None
        What was warned about at every point; empty for nothing.

    Returns
    -------
    Sweep
        The fields, ``status``, and ``valid``: converged without a warning.
    """
    said = [""] * len(results) if messages is None else list(messages)
    first = next((r for r in results if r is not None), None)
    stacked: dict[str, NDArray[Any]] = {}
    for name in names:
        like = np.nan if first is None else np.full_like(getattr(first, name), np.nan, dtype=float)
        column = [like if r is None else getattr(r, name) for r in results]
        shapes = {np.shape(value) for value in column}
        if len(shapes) > 1:
            raise ValueError(f"{name} has another shape at every point: {sorted(shapes)}")
        stacked[name] = np.array(column).reshape(*grid.shape, *shapes.pop())
    status = [Status.INVALID if r is None else r.status for r in results]
    stacked["status"] = np.array([str(s) for s in status]).reshape(grid.shape)
    valid = [s is Status.CONVERGED and not text for s, text in zip(status, said, strict=True)]
    stacked["valid"] = np.array(valid).reshape(grid.shape)
    return sweep_of(grid, stacked)


def sweep_of(grid: Grid, values: dict[str, NDArray[Any]]) -> Sweep:
    """A sweep over a grid of models, with these values at its points.

    Parameters
    ----------
    grid : Grid
        The points.
    values : dict of str to ndarray
        Each quantity on the grid.

    Returns
    -------
    Sweep
        Values with the axes of the grid; axes whose coordinates are positions keep what stands
        there.
    """
    kept = {axis: v for axis, v in grid.values.items() if grid.coords[axis].dtype.kind == "i"}
    return Sweep(
        grid.coords,
        values,
        type(grid.model).__name__,
        axis_values={axis: v for axis, v in kept.items() if not all(isinstance(x, int) for x in v)},
        grid=grid,
    )


def report_points(
    grid: Grid,
    messages: Sequence[str],
    category: type[Warning],
    *,
    on_failure: OnFailure,
    stacklevel: int = 4,
) -> None:
    """One warning, or error, for all points of a grid at which something was to be said.

    Parameters
    ----------
    grid : Grid
        The points.
    messages : sequence of str
        What is to be said about every point; empty for nothing.
    category : type of Warning
        Kind of the warning.
    on_failure : {"warn", "raise", "ignore"}
        What to do.
    stacklevel : int, default=4
        As in `warnings.warn`.

    Raises
    ------
    NumericalError
        If there is something to say and ``on_failure="raise"``.
    """
    from retemper.exceptions import NumericalError

    said = [(point, text) for point, text in zip(grid.points(), messages, strict=True) if text]
    if not said or on_failure == "ignore":
        return
    point, text = said[0]
    where = ", ".join(f"{axis}={_short(value)}" for axis, value in point.items())
    message = f"{len(said)} of {len(messages)} points are not valid, the first at {where}: {text}"
    if on_failure == "raise":
        raise NumericalError(message)
    warnings.warn(message, category, stacklevel=stacklevel)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def sweep_model(
    solve: Callable[[Any], Any],
    model: Any,
    axes: Mapping[str, Iterable[Any]],
    names: Sequence[str],
    *,
    on_failure: OnFailure = "warn",
    progress: Callable[[int, int], object] | None = None,
) -> Sweep:
    """Solve a model over the product of values of its fields, point after point.

    Parameters
    ----------
    solve : callable
        Maps a model to a result.
    model : dataclass
        The model whose fields are replaced.
    axes : mapping of str to iterable
        Values of each swept field: numbers, text, vectors or tuples.
    names : sequence of str
        Result fields to keep.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about points that did not converge, or that lie outside the theory's range:
        one warning for all of them, an error, or nothing.
    progress : callable or None, default=None
        Called with (points done, points).

    Returns
    -------
    Sweep
        Values on the grid, with ``status`` and the truth value ``valid``. Where a point has no
        result, its values are NaN, and ``failures`` says why.

    Raises
    ------
    ValueError
        If a swept name is not a field of the model, an axis is empty, or a value is outside the
        domain of its field.
    TypeError
        If ``axes`` is not a mapping of names to values.
    NumericalError
        If ``on_failure="raise"`` and a point is not valid.
    """
    from retemper._progress import shown_progress
    from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning

    grid = read_axes(model, axes)
    models = grid.models()
    results: list[Any] = []
    messages: list[str] = []
    failures: list[dict[str, Any]] = []
    category: type[Warning] = ConvergenceWarning
    others: dict[str, warnings.WarningMessage] = {}
    with shown_progress(progress, "sweep", "points") as watch:
        for done, (point, at) in enumerate(zip(models, grid.points(), strict=True)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    result = solve(point)
                    text = ""
                except NumericalError as error:
                    result, text = None, str(error)
                    category = ValidityWarning
                    failures.append({**at, "error": text})
            for warning in caught:
                if issubclass(warning.category, ConvergenceWarning | ValidityWarning):
                    text = text or str(warning.message)
                    if issubclass(warning.category, ValidityWarning):
                        category = ValidityWarning
                else:
                    others.setdefault(str(warning.message), warning)
            results.append(result)
            messages.append(text)
            if watch is not None:
                watch(done + 1, len(models))
    for warning in others.values():
        warnings.warn(warning.message, warning.category, stacklevel=3)
    report_points(grid, messages, category, on_failure=on_failure)
    sweep = stack_points(grid, results, names, messages)
    return dataclasses.replace(sweep, failures=tuple(failures))
