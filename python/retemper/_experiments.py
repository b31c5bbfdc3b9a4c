"""The matched experiment of a system at the points of a sweep of its models."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retemper._progress import ProgressLike, shown_progress
from retemper._random import Seed, stream_key
from retemper._validation import check_integer

if TYPE_CHECKING:
    from retemper._results import Sweep

__all__ = ["POINTS", "repeats_of", "simulate_sweep", "system_function"]

#: Places a line at which `Sweep.plot` simulates.
POINTS = 9


def system_function(model: Any, name: str) -> Callable[..., Any]:
    """A function of the system that a model is from.

    Parameters
    ----------
    model : dataclass
        The model.
    name : str
        The function: solve, simulate.

    Returns
    -------
    callable
        Takes the model first.

    Raises
    ------
    TypeError
        If the model is not one of a system of this library.
    """
    parts = type(model).__module__.split(".")
    if len(parts) > 2 and parts[0] == "retemper" and dataclasses.is_dataclass(model):
        found = getattr(importlib.import_module(f"retemper.{parts[1]}"), name, None)
        if inspect.isfunction(found):
            return found
    raise TypeError(f"model must be a model of one of the systems, got {model!r}")


def repeats_of(sweep: Sweep) -> str:
    """The option of the sweep's experiment that says how often it is repeated."""
    known = inspect.signature(_experiment(sweep)).parameters
    return "n_repeats" if "n_repeats" in known else "n_chains"


def _experiment(sweep: Sweep) -> Callable[..., Any]:
    if sweep.grid is None:
        raise ValueError(
            f"only a curve of a system can be simulated, this is a sweep of "
            f"{sweep.title or 'a function'}"
        )
    return system_function(sweep.grid.model, "simulate")


def simulate_sweep(
    sweep: Sweep,
    quantities: str | Sequence[str] | None = None,
    *,
    n_points: int | None = None,
    random_state: Seed = 0,
    progress: ProgressLike = None,
    **options: Any,
) -> Sweep:
    """See `Sweep.simulate`."""
    experiment = _experiment(sweep)
    grid = sweep.grid
    assert grid is not None
    swept = [axis for axis in sweep.axes if axis in grid.values]
    values = {axis: grid.values[axis] for axis in swept}
    coords = dict(sweep.axes)
    if n_points is not None:
        count = check_integer(n_points, "n_points", low=1)
        size = len(values[swept[0]])
        kept = np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(int))
        values[swept[0]] = tuple(values[swept[0]][i] for i in kept)
        coords[swept[0]] = coords[swept[0]][kept]
    points = dataclasses.replace(grid, values=values).points()
    key = stream_key(random_state)
    names: list[str] = []
    results = []
    with shown_progress(progress, "simulate", "points") as watch:
        for k, point in enumerate(points):
            if watch is not None:
                watch(k, len(points))
            results.append(
                experiment(
                    dataclasses.replace(grid.model, **point),
                    random_state=np.random.SeedSequence(key, spawn_key=(k,)),
                    **{**(sweep.options or {}), **options},
                )
            )
            names = names or _measured(sweep, quantities, results[0].stderr)
        if watch is not None:
            watch(len(points), len(points))

    shape = [len(v) for v in values.values()]
    stacked = {}
    for name in names:
        for label, found in (
            (name, [getattr(r, name) for r in results]),
            (f"{name}_stderr", [r.stderr[name] for r in results]),
        ):
            array = np.array(found, dtype=np.float64)
            inner = array.shape[1:] if array.shape[1:] != (1,) else ()
            stacked[label] = array.reshape(*shape, *inner)
    return dataclasses.replace(
        sweep, axes=coords, values=stacked, failures=(), title=f"{sweep.title}, simulated",
        axis_values={k: values.get(k, v) for k, v in sweep.axis_values.items()},
        grid=dataclasses.replace(grid, values=values, coords={a: coords[a] for a in swept}),
    )  # fmt: skip


def _measured(
    sweep: Sweep, quantities: str | Sequence[str] | None, measured: Mapping[str, Any]
) -> list[str]:
    """The quantities to keep, each of which the experiment measures."""
    if quantities is None:
        names = [name for name in sweep.values if name in measured]
    else:
        names = [quantities] if isinstance(quantities, str) else list(quantities)
    unknown = [name for name in names if name not in measured]
    if unknown or not names:
        raise ValueError(
            f"quantity must be one that the experiment measures, {sorted(measured)}, "
            f"got {unknown[0] if unknown else 'none of them'!r}"
        )
    return names
