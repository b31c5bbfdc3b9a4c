"""Libraries that are not installed with retemper itself, imported when they are used."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

__all__ = ["EXTRAS", "load", "require"]

#: The extra that installs a module.
EXTRAS = {
    "dask": "dask",
    "distributed": "dask",
    "jinja2": "cli",
    "matplotlib": "plot",
    "openpyxl": "tables",
    "pandas": "frames",
    "pyarrow": "tables",
    "rich": "cli",
    "skops": "models",
    "torch": "torch",
    "xarray": "frames",
}


def _hint(name: str, purpose: str) -> ModuleNotFoundError:
    extra = EXTRAS[name]
    return ModuleNotFoundError(
        f'{purpose} needs {name}, which is not installed; try: pip install "retemper[{extra}]"',
        name=name,
    )


def load(module: str, purpose: str) -> Any:
    """Import a module of an extra.

    Parameters
    ----------
    module : str
        Its name, for instance "pandas" or "matplotlib.pyplot".
    purpose : str
        What needs it, for the message.

    Returns
    -------
    module
        The module.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed; the message says how to install it.
    """
    name = module.split(".", 1)[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != name:
            raise  # something that the module itself needs
        raise _hint(name, purpose) from None


def require(*names: str, purpose: str) -> None:
    """Refuse to start work that would fail in the end for want of a library.

    Parameters
    ----------
    *names : str
        Modules that are needed.
    purpose : str
        What needs them, for the message.

    Raises
    ------
    ModuleNotFoundError
        If one is not installed; the message says how to install it.
    """
    for name in names:
        try:
            found = find_spec(name) is not None
        except ValueError:  # blocked: sys.modules holds None
            found = False
        if not found:
            raise _hint(name, purpose)
