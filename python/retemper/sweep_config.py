"""Sweeps from a configuration file, and the systems as tasks of a sweep."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retemper._random import generator
from retemper._validation import (
    as_float_array,
    as_path,
    check_choice,
    check_integer,
    check_real,
    check_shape,
)
from retemper.sweeps import Scalar, import_function

__all__ = ["SweepConfig", "SystemTask", "read_config"]

_OWN_OPTIONS = {"model", "random_state", "n_jobs", "progress"}  # of simulate: the sweep sets them
_SHAPES = ({"size", "power"}, {"size", "normal"})


@dataclasses.dataclass(frozen=True)
class SystemTask:
    """A system's theory, and its experiment, as a function for `sweep`.

    Parameters
    ----------
    system : str
        Name of the subpackage, e.g. "linear".
    model : mapping
        Fields of its model: numbers, arrays, or tables that describe a vector: ``size`` with
        ``power`` (entries i**power, i = 1, 2, ...) or ``normal`` (a seed); ``norm``; and ``cosine``
        with ``to``, another field.
    quantities : tuple of str
        Fields of the theory to keep; ``status`` comes with them.
    simulate : mapping or None, default=None
        Options of the system's ``simulate``; quantities that it measures then also come as
        ``<name>_sim`` and ``<name>_stderr``. None: theory alone.

    Raises
    ------
    ValueError
        If the system or a quantity does not exist.

    See Also
    --------
    read_config, retemper.sweep

    Examples
    --------
    >>> import retemper
    >>> from retemper.sweep_config import SystemTask
    >>> task = SystemTask(
    ...     "linear", {"theta_target": {"size": 100, "power": 0, "norm": 1.0}}, ("risk",)
    ... )
    >>> retemper.sweep(task, {"n_samples": [25, 50, 75]})["risk"].round(6).tolist()
    [0.75, 0.5, 0.25]
    """

    system: str
    model: Mapping[str, Any]
    quantities: tuple[str, ...]
    simulate: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, Mapping):
            raise TypeError(f"model must be a mapping of fields to values, got {self.model!r:.60}")
        if isinstance(self.quantities, str) or not isinstance(self.quantities, Sequence):
            raise TypeError(f"quantities must be a tuple of names, got {self.quantities!r:.60}")
        root = Path(__file__).parent
        check_choice(self.system, "system", sorted(f.parent.name for f in root.glob("*/model.py")))
        solve = importlib.import_module(f"retemper.{self.system}").solve
        needed = [
            p.name
            for p in list(inspect.signature(solve).parameters.values())[1:]
            if p.default is p.empty
        ]
        if needed:
            raise ValueError(
                f"system {self.system!r} needs {', '.join(needed)} beside its model: name a "
                "function that makes them instead"
            )
        fields = {f.name for f in dataclasses.fields(self._class("Theory"))}
        if not self.quantities:
            raise ValueError(f"quantities must name at least one of {sorted(fields)}")
        for name in self.quantities:
            check_choice(name, "quantities", fields - {"model", "message", "status"})

    @property
    def title(self) -> str:
        """Name of the sweep."""
        return f"retemper.{self.system}"

    def _class(self, role: str) -> Any:
        """Class of a role; of several models of a system, that which has the given fields."""
        module = importlib.import_module(f"retemper.{self.system}")
        models = [name for name in module.__all__ if name.endswith("Model")]
        given = set(self.model)
        fits = [m for m in models if given <= set(inspect.signature(getattr(module, m)).parameters)]
        if not fits:
            raise ValueError(f"no model of {self.system} ({', '.join(models)}) has {sorted(given)}")
        return getattr(module, f"{fits[0].removesuffix('Model')}{role}")

    def build(self, changes: Mapping[str, Scalar]) -> Any:
        """Model with some fields replaced; "field.entry" is an entry of a table."""
        fields = {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.model.items()}
        for name, value in changes.items():
            field, _, entry = name.partition(".")
            if not entry:
                fields[field] = value
            elif isinstance(fields.get(field), dict):
                fields[field][entry] = value
            else:
                raise ValueError(f"axis {name!r}: the model has no table {field!r}")
        tables = {name: value for name, value in fields.items() if isinstance(value, dict)}
        for name, table in sorted(tables.items(), key=lambda item: "to" in item[1]):
            fields[name] = _vector(name, table, fields)
        return self._class("Model")(**fields)

    def check_axes(self, axes: Mapping[str, Sequence[Scalar]]) -> None:
        """Build the model at every value of each axis, the others at their first."""
        first = {name: values[0] for name, values in axes.items()}
        for name, values in axes.items():
            for value in values:
                self.build({**first, name: value})
        if self.simulate is not None:
            function = importlib.import_module(f"retemper.{self.system}").simulate
            known = set(inspect.signature(function).parameters) - _OWN_OPTIONS
            for name in self.simulate:
                check_choice(name, "simulate", known)
            check_integer(self.simulate.get("n_repeats", 2), "simulate.n_repeats", low=2)

    def __call__(self, *, random_state: Any = None, **changes: Scalar) -> dict[str, Any]:
        """Quantities of the model with some fields replaced."""
        module = importlib.import_module(f"retemper.{self.system}")
        model = self.build(changes)
        theory = module.solve(model)
        values = {name: getattr(theory, name) for name in self.quantities}
        values["status"] = str(theory.status)
        if self.simulate is not None:
            sample = module.simulate(model, random_state=random_state, n_jobs=1, **self.simulate)
            for name in filter(sample.stderr.__contains__, self.quantities):
                values[f"{name}_sim"] = getattr(sample, name)
                values[f"{name}_stderr"] = sample.stderr[name]
        return values


def _vector(name: str, table: Mapping[str, Any], fields: Mapping[str, Any]) -> NDArray[np.float64]:
    """The vector that a table of a model describes (see `SystemTask`)."""
    shape = set(table) - {"norm", "cosine", "to"}
    if shape not in _SHAPES or ("cosine" in table) != ("to" in table):
        raise ValueError(
            f"{name} must have size, power or normal, and maybe norm, and cosine with to, "
            f"got {dict(table)}"
        )
    size = check_integer(table["size"], f"{name}.size", low=1)
    if "power" in table:
        power = check_real(table["power"], f"{name}.power")
        vector = np.arange(1.0, size + 1.0) ** power
    else:
        vector = generator(check_integer(table["normal"], f"{name}.normal")).standard_normal(size)
    if "to" in table:
        cosine = check_real(table["cosine"], f"{name}.cosine", low=-1.0, high=1.0)
        other = fields.get(table["to"])
        axis = as_float_array(() if other is None else other, f"{name}.to = {table['to']!r}")
        check_shape(axis, (size,), f"{name}.to = {table['to']!r}")
        axis = axis / np.linalg.norm(axis)
        across = vector - (vector @ axis) * axis
        across /= np.linalg.norm(across)
        vector = cosine * axis + math.sqrt(1.0 - cosine**2) * across
    if "norm" in table:
        norm = check_real(table["norm"], f"{name}.norm", low=0.0)
        vector = vector * (norm / np.linalg.norm(vector))
    return vector


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    r"""Arguments of `sweep` as a configuration file gives them.

    Parameters
    ----------
    fn : callable
        A `SystemTask` or a function.
    grid : dict
        Values of each parameter.
    seeds : int, list of int or None
        Seeds.
    out : Path
        Folder of the sweep.
    n_jobs : int or None
        Workers; None leaves it to the caller.
    scheduler : str or None
        Address of a dask scheduler; None stays on this machine.

    See Also
    --------
    read_config

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.sweep_config import read_config
    >>> file = Path(tempfile.mkdtemp()) / "study.toml"
    >>> _ = file.write_text('function = "math:sqrt"\n[axes]\nx = [1.0, 4.0]\n')
    >>> read_config(file).out.name
    'study'
    """

    fn: Callable[..., Any]
    grid: dict[str, Any]
    seeds: Any
    out: Path
    n_jobs: int | None
    scheduler: str | None


_Types: TypeAlias = dict[str, tuple[type, ...]]
_GENERAL: _Types = {
    "axes": (dict,),
    "seeds": (int, list),
    "out": (str,),
    "n_jobs": (int,),
    "scheduler": (str,),
}
_SYSTEM: _Types = {
    "system": (str,),
    "model": (dict,),
    "quantities": (list,),
    "simulate": (dict,),
}
_FUNCTION: _Types = {"function": (str,), "arguments": (dict,)}
_SPACINGS: dict[str, Callable[..., Any]] = {
    "arange": np.arange,
    "linspace": np.linspace,
    "geomspace": np.geomspace,
}


def read_config(path: str | os.PathLike[str]) -> SweepConfig:
    r"""Read the TOML file of a sweep.

    Parameters
    ----------
    path : path-like
        The file. Either ``system``, ``[model]``, ``quantities`` and maybe ``[simulate]``, or
        ``function = "module:function"`` and maybe ``[arguments]``; ``[axes]``, with lists or
        ``{arange | linspace | geomspace = [...], round = true}``; ``seeds``; ``out``, relative
        to the file, its name without suffix if left out; ``n_jobs``; ``scheduler``.

    Returns
    -------
    SweepConfig
        What to run.

    Raises
    ------
    ValueError
        If the file is not TOML, or a key is unknown, missing or of the wrong type.
    OSError
        If the file cannot be read.

    See Also
    --------
    retemper.sweep, SweepConfig

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.sweep_config import read_config
    >>> file = Path(tempfile.mkdtemp()) / "roots.toml"
    >>> _ = file.write_text('function = "math:sqrt"\n[axes]\nx = [1.0, 4.0]\n')
    >>> read_config(file).grid
    {'x': [1.0, 4.0]}
    """
    path = as_path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from None
    if ("system" in content) == ("function" in content):
        raise ValueError(f"{path} must have one of the keys 'system' and 'function'")
    own, needed = (_SYSTEM, ["model", "quantities"]) if "system" in content else (_FUNCTION, [])
    known = {**_GENERAL, **own}
    for key, value in content.items():
        check_choice(key, f"key of {path}", known)
        if not isinstance(value, known[key]) or isinstance(value, bool):
            wanted = {dict: "a table", str: "text", list: "a list", int: "an integer"}
            raise ValueError(
                f"{key} must be {' or '.join(wanted[t] for t in known[key])}, got {value!r}"
            )
    for key in ["axes", *needed]:
        if key not in content:
            raise ValueError(f"{path} must have the key {key!r}")
    fn: Callable[..., Any]
    seeds = content.get("seeds")
    if "system" in content:
        simulate = content.get("simulate")
        fn = SystemTask(content["system"], content["model"], tuple(content["quantities"]), simulate)
        if simulate is None and seeds is not None:
            raise ValueError(
                f"seeds = {seeds} needs the table [simulate]: the theory is not random"
            )
        seeds = 0 if seeds is None and simulate is not None else seeds
    else:
        if (here := str(path.parent.resolve())) not in sys.path:
            sys.path.insert(0, here)
        fn = functools.partial(import_function(content["function"]), **content.get("arguments", {}))
    return SweepConfig(
        fn,
        {name: _axis(name, values) for name, values in content["axes"].items()},
        seeds,
        path.parent / content.get("out", path.stem),
        content.get("n_jobs"),
        content.get("scheduler"),
    )


def _axis(name: str, given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    kind = set(given) - {"round"}
    if len(kind) != 1 or not kind <= set(_SPACINGS):
        raise ValueError(f"axis {name!r} must be a list or a table with one of {sorted(_SPACINGS)}")
    (key,) = kind
    try:
        values = _SPACINGS[key](*given[key])
    except (TypeError, ValueError) as error:
        raise ValueError(f"axis {name!r}: {key} = {given[key]!r} is not valid: {error}") from None
    return np.unique(np.rint(values).astype(int)) if given.get("round") else values
