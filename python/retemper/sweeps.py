"""Sweeps that can be stopped: any function over a grid, on any joblib engine, kept on disk.

`sweep` is also `retemper.sweep`; `retemper.sweep_config` reads what ``retemper sweep`` runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import inspect
import itertools
import json
import math
import os
import pickle
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeAlias

import cloudpickle
import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from retemper._control import OnFailure, interrupts_wait
from retemper._dispatch import core
from retemper._journal import only_writer
from retemper._progress import ProgressLike, shown_progress
from retemper._results import Sweep
from retemper._text import write_text
from retemper._validation import check_choice, check_integer
from retemper._version import __version__
from retemper._versions import versions

__all__ = ["sweep"]

Scalar: TypeAlias = bool | int | float | str
Point: TypeAlias = tuple[dict[str, Scalar], int | None]  # parameters and seed

RESULT = "sweep.nc"  #: the result's name in the folder of a sweep
_FLUSH = 0.05  # seconds of work, or of time, between files and reports
_RESTARTS = 3  # of a pool whose workers were killed
_LARGEST_SEED = 2**31 - 1  # netCDF-3 has 32-bit integers


def sweep(
    fn: Callable[..., Any] | str,
    grid: Mapping[str, Sequence[Scalar] | NDArray[Any]],
    seeds: int | Sequence[int] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    progress: ProgressLike = None,
    on_failure: OnFailure = "warn",
) -> Sweep:
    """Evaluate a function on a grid of parameters, in parallel and resumably.

    Each point's random numbers depend on its parameters and seed alone, and every point runs on
    one thread: engine, number of workers, order and interruptions never change a number.

    Parameters
    ----------
    fn : callable or str
        Called as ``fn(**parameters)``, with seeds as ``fn(**parameters, random_state=sequence)``;
        returns a number or a mapping of names to numbers, arrays (of one shape at all points) or
        text. A picklable callable, or "module:function". If it has a method ``check_axes``,
        that is called with the axes before any work.
    grid : mapping of str to array_like
        Values of each parameter, without repetition: numbers, booleans or text. The points are
        their product.
    seeds : int, sequence of int or None, default=None
        Seeds in [0, 2**31 - 1]. A sequence repeats every point and adds the axis ``seed``. The
        point gets ``SeedSequence(seed, spawn_key=hash of its parameters)``. None: ``fn`` takes no
        ``random_state``.
    out : path-like or None, default=None
        Folder of the sweep: each point is written to ``points/`` as soon as it is known (those of
        less than 50 ms several to a file), and when all are, the result to ``sweep.nc`` (netCDF-3,
        needs xarray). Points found there are not computed again, unless they failed. One process
        at a time: a second one is refused. None keeps nothing on disk.
    n_jobs : int or None, default=None
        Workers, as in `joblib.Parallel`: None is 1 unless `joblib.parallel_config` says otherwise,
        which also chooses another engine ("dask").
    progress : None, bool, callable or object, default=None
        Called with (done, total) at the start, after each file and at the end; raise in it to
        stop.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do, after all other points, about points that raised an error.

    Returns
    -------
    Sweep
        Values on the grid; those of failed points are NaN or empty, with the reason in the
        quantity ``error`` and in ``failures``.

    Raises
    ------
    ValueError
        If a grid or seed is outside its domain, or the points return different names or shapes.
    TypeError
        If ``fn`` cannot be pickled, or called with the names of the grid.
    RuntimeError
        If ``on_failure="raise"`` and a point failed, if worker processes kept dying, or if another
        process writes to ``out``.
    OSError
        If ``out`` cannot be written, for want of room or of permission. What was kept before stays:
        the same call goes on from there.

    See Also
    --------
    retemper.sweep_config.read_config

    Notes
    -----
    A point is known by its parameters, its seed, the version of retemper, and ``fn`` with its own
    source text; a change in what ``fn`` calls is not noticed. What numbers were made with
    (versions, instruction set) is kept with each point and in ``attrs``.

    Examples
    --------
    >>> import retemper
    >>> grid = {"a2": [0.25], "p2": [1.0], "q2": [3.0], "depth": [1, 2, 3]}
    >>> found = retemper.sweep("retemper.linear:deep_scale", grid)
    >>> found["value"].ravel().round(6).tolist()
    [1.0, 0.908677, 0.838825]
    """
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    if n_jobs == 0:
        raise ValueError("n_jobs must be None or a non-zero integer, got 0")
    function = import_function(fn) if isinstance(fn, str) else fn
    axes = _check_grid(grid, seeds)
    identity = _identity(function)
    points: list[Point] = []
    for values in itertools.product(*axes.values()):
        params: dict[str, Any] = dict(zip(axes, values, strict=True))
        points.append((params, None if seeds is None else params.pop("seed", seeds)))
    if hasattr(function, "check_axes"):
        function.check_axes({name: axes[name] for name in points[0][0]})
    _check_call(function, *points[0])
    if out is not None:
        import xarray  # noqa: F401  # the result needs it: say so before the work

    keys = [_digest([identity["hash"], __version__, *point]) for point in points]
    folder = None if out is None else Path(out) / "points"
    with contextlib.nullcontext() if folder is None else only_writer(folder, "sweep"):
        wanted = dict(zip(keys, points, strict=True))
        records = _compute(function, wanted, folder, n_jobs, progress)
        found = _collect([records[key] for key in keys], axes, identity["function"])
        if dataclasses.is_dataclass(function):
            found.attrs["task"] = repr(function)
        if seeds is not None and "seed" not in axes:
            found.attrs["seed"] = str(seeds)
        if out is not None:
            found.to_netcdf(Path(out) / RESULT)
    if found.failures and on_failure != "ignore":
        first = found.failures[0]
        message = (
            f"{len(found.failures)} of {len(keys)} points failed, the first at "
            f"{first['params']}: {first['error']}"
        )
        if on_failure == "raise":
            raise RuntimeError(message)
        warnings.warn(message, stacklevel=2)
    return found


# ---------------------------------------------------------------------------------------------
# one point


def _evaluate_point(
    pickled: bytes, key: str, params: dict[str, Scalar], seed: int | None
) -> tuple[str, dict[str, Any]]:
    """Key and record of a point; runs in a worker. The record is what JSON will keep."""
    record: dict[str, Any] = {"params": params, "seed": seed}
    start = time.perf_counter()
    try:
        arguments: dict[str, Any] = dict(params)
        if seed is not None:
            arguments["random_state"] = point_sequence(params, seed)
            record["spawn_key"] = arguments["random_state"].spawn_key
        fn = _unpickled(pickled)  # here, so that a module that is missing there is named
        with _pools(len(sys.modules)).limit(limits=1):
            record["values"] = _plain(fn(**arguments))
    except Exception as error:  # any error of the user's function is a result of the sweep
        record["error"] = f"{type(error).__name__}: {error}"
        record["traceback"] = traceback.format_exc()
    record["seconds"] = time.perf_counter() - start
    return key, {**record, "provenance": _provenance()}


@functools.lru_cache(maxsize=1)
def _unpickled(pickled: bytes) -> Callable[..., Any]:
    return pickle.loads(pickled)  # type: ignore[no-any-return]


def point_sequence(params: Mapping[str, Scalar], seed: int) -> np.random.SeedSequence:
    """Seed sequence of a point: a function of its parameters and seed alone."""
    words = bytes.fromhex(_digest(dict(params)))
    return np.random.SeedSequence(seed, spawn_key=np.frombuffer(words, "<u4").tolist())


@functools.lru_cache(maxsize=1)
def _pools(n_modules: int) -> ThreadpoolController:
    return ThreadpoolController()  # looks again when modules, and maybe libraries, were loaded


@functools.lru_cache(maxsize=1)
def _provenance() -> dict[str, str]:
    info = versions()
    kept = ("retemper", "python", "numpy", "scipy", "compiler", "eigen")
    return {"level": core.level, **{name: info[name] for name in kept}}


def _plain(values: Any) -> dict[str, Any]:
    """Numbers, nested lists of numbers and text by name."""
    if not isinstance(values, Mapping):
        values = {"value": values}
    plain = {}
    for name, value in values.items():
        array = np.asarray(value)
        if not isinstance(name, str) or not name.isidentifier() or name == "error":
            raise ValueError(f"names of quantities must be identifiers, not 'error', got {name!r}")
        if array.dtype.kind not in "buif" and not isinstance(value, str):
            raise TypeError(f"{name} must be a number, an array of numbers or text, got {value!r}")
        plain[name] = str(value) if isinstance(value, str) else array.tolist()
    return plain


# ---------------------------------------------------------------------------------------------
# all points


def _compute(
    function: Callable[..., Any],
    points: dict[str, Point],
    folder: Path | None,
    n_jobs: int | None,
    progress: ProgressLike,
) -> dict[str, dict[str, Any]]:
    """Records of all points: those of the folder, and the others as they are made and kept."""
    records = {} if folder is None else _load(folder, set(points))
    todo = {key: point for key, point in points.items() if key not in records}
    with shown_progress(progress, "sweep", "points") as watch:
        report = watch or (lambda done, total: None)
        report(len(records), len(points))
        fresh: dict[str, Any] = {}  # finished but not on disk: never more than 50 ms of work
        work, last = 0.0, -math.inf
        try:
            for key, record in _evaluate(function, todo, n_jobs):
                records[key] = fresh[key] = record
                work += record["seconds"]
                if max(work, time.monotonic() - last) >= _FLUSH:
                    _keep(folder, fresh)
                    report(len(records), len(points))
                    work, last = 0.0, time.monotonic()
        finally:
            _keep(folder, fresh)
        report(len(records), len(points))
    return records


def _evaluate(
    fn: Callable[..., Any],
    todo: dict[str, Point],
    n_jobs: int | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Points as they finish; a pool whose workers were killed is started again."""
    todo, pickled = dict(todo), cloudpickle.dumps(fn)
    for restart in itertools.count():
        tasks = [
            joblib.delayed(_evaluate_point)(pickled, key, *point) for key, point in todo.items()
        ]
        parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        try:
            with interrupts_wait():  # a pool that is half started stays broken, and its semaphores
                found = parallel(tasks)
            for key, record in found:
                del todo[key]
                yield key, record
            return
        except BrokenProcessPool as error:
            if restart == _RESTARTS:
                raise RuntimeError(
                    f"worker processes died {restart + 1} times, {len(todo)} points are left: is "
                    "there enough memory? Finished points are kept; run again to go on"
                ) from error


def _keep(folder: Path | None, fresh: dict[str, Any]) -> None:
    """Write records to a file of their own, whole or not at all, and forget them."""
    if folder is not None and fresh:
        try:
            write_text(json.dumps(fresh), folder / f"{_digest(list(fresh))}.json")
        except OSError as error:
            message = (
                f"{len(fresh)} points were not kept, those before them are ({error.strerror}); "
                "make room or choose another folder, and run again to go on"
            )
            raise OSError(error.errno, message, str(folder)) from error
    fresh.clear()


def _load(folder: Path, keys: set[str]) -> dict[str, dict[str, Any]]:
    """Finished points of a folder; torn files, failed and foreign points are passed over."""
    records: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix == ".part":
            file.unlink()
        if file.suffix != ".json":
            continue
        try:
            found = json.loads(file.read_bytes())
        except ValueError:
            continue
        records |= {k: r for k, r in found.items() if k in keys and "values" in r}
    return records


def _collect(records: list[dict[str, Any]], axes: dict[str, list[Scalar]], title: str) -> Sweep:
    """Arrays on the grid, from records in its order."""
    shape = tuple(len(axis) for axis in axes.values())
    good = [
        (record, {name: np.asarray(value) for name, value in record["values"].items()})
        for record in records
        if "values" in record
    ]
    layout = {name: array.shape for name, array in good[0][1].items()} if good else {}
    for record, arrays in good:
        other = {name: array.shape for name, array in arrays.items()}
        if other != layout:
            raise ValueError(
                f"all points must return the same names and shapes: {layout} at "
                f"{good[0][0]['params']}, {other} at {record['params']}"
            )
    where = [i for i, record in enumerate(records) if "values" in record]
    values: dict[str, NDArray[Any]] = {}
    for name, inner in layout.items():
        stack = np.stack([arrays[name] for _, arrays in good])
        if len(where) < len(records):
            text = stack.dtype.kind == "U"
            full = np.full(
                (len(records), *inner), "" if text else np.nan, stack.dtype if text else float
            )
            full[where] = stack
            stack = full
        values[name] = stack.reshape(*shape, *inner)
    failures = tuple(record for record in records if "error" in record)
    if failures:
        values["error"] = np.array([r.get("error", "") for r in records]).reshape(shape)
    made_with = [record["provenance"] for record, _ in good]
    attrs = {k: ", ".join(sorted({p[k] for p in made_with})) for k in (made_with or [{}])[0]}
    clash = set(values) & set(axes)
    if clash:
        raise ValueError(f"quantities must not be named as parameters, got {sorted(clash)}")
    grid = {name: np.asarray(axis) for name, axis in axes.items()}
    return Sweep(grid, values, title, attrs=attrs, failures=failures)


# ---------------------------------------------------------------------------------------------
# what is checked before any work


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _identity(fn: Callable[..., Any]) -> dict[str, str]:
    """Name and hash of a function; the hash covers its own source text and bound arguments."""
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    try:
        source = inspect.getsource(named)
    except (OSError, TypeError):  # built in, or typed at a prompt
        source = ""
    try:
        digest = joblib.hash((fn, source))
    except Exception as error:
        raise TypeError(
            f"fn must be a function that pickles, by def at the top of a module or a notebook, got "
            f"{getattr(named, '__qualname__', named)}"
        ) from error
    return {
        "function": str(getattr(fn, "title", f"{named.__module__}:{named.__qualname__}")),
        "hash": digest,
    }


def import_function(name: str) -> Callable[..., Any]:
    """Callable that "module:function" names."""
    module, _, attribute = name.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"fn, a function by name, must be 'module:function', got {name!r}: {error}"
        ) from None
    if not callable(found):
        raise ValueError(f"function must name something callable, got {name!r}")
    return found


def _check_grid(grid: Mapping[str, Any], seeds: Any) -> dict[str, list[Scalar]]:
    if not isinstance(grid, Mapping) or not grid:
        raise ValueError(
            f"grid must name at least one parameter, e.g. {{'n': [10, 20]}}, got {grid!r}"
        )
    axes = {}
    for name, given in grid.items():
        if name in {"seed", "random_state", "error"}:
            raise ValueError(f"axes cannot be named {name!r}; random numbers come from seeds")
        values = given.tolist() if isinstance(given, np.ndarray) else given
        if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"axis {name!r} must be a non-empty list, got {given!r}")
        values = [v.item() if isinstance(v, np.generic) else v for v in values]
        for v in values:
            if not isinstance(v, bool | int | float | str) or (
                isinstance(v, float) and math.isnan(v)
            ):
                raise ValueError(f"axis {name!r} must hold numbers, booleans or text, got {v!r}")
        if len({isinstance(v, str) for v in values}) > 1:
            raise ValueError(f"axis {name!r} mixes text and numbers: {values}")
        if len(set(values)) < len(values):
            raise ValueError(f"axis {name!r} must hold distinct values, got {values}")
        axes[name] = values
    if seeds is not None:
        many = not isinstance(seeds, int | np.integer)
        if many and (isinstance(seeds, str) or not len(seeds)):
            raise ValueError(f"seeds must be an integer or a non-empty list of them, got {seeds!r}")
        listed = [
            check_integer(s, "seeds", high=_LARGEST_SEED) for s in (seeds if many else [seeds])
        ]
        if len(set(listed)) < len(listed):
            raise ValueError(f"seeds must be distinct, got {listed}")
        if many:
            axes["seed"] = listed
    return axes


def _check_call(fn: Callable[..., Any], params: dict[str, Scalar], seed: int | None) -> None:
    try:
        signature = inspect.signature(fn)
    except (ValueError, TypeError):  # some built-in functions have none
        return
    names = [*params, *(["random_state"] if seed is not None else [])]
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(f"fn cannot be called with the parameters {names}: {error}") from None
