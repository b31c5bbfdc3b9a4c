"""The points of a sweep: models from the values of their fields, and their results put together."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._results.result import OnFailure, Status
from retemper._results.sweep import Sweep

if TYPE_CHECKING:
    pass


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
