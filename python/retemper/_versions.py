"""Versions, instruction set, OpenMP runtime and threads: what a bug report needs."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from retemper._dispatch import available_levels, core
from retemper._threads import effective_n_threads, n_processors
from retemper._version import __version__

_PACKAGES = ("numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl", "matplotlib")


def versions() -> dict[str, str]:
    """Version information by name.

    Returns
    -------
    dict of str to str
        retemper, Python, the platform, the loaded and the available instruction-set levels,
        compiler, Eigen, OpenMP, threads, and the packages retemper stands on.
    """
    openmp = core.openmp_version()
    info = {
        "retemper": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "level": f"{core.level} (available: {', '.join(available_levels())})",
        "compiler": core.compiler,
        "eigen": core.eigen_version,
        "openmp": f"specification {openmp}" if openmp else "not built in: everything runs serially",
        "threads": f"{effective_n_threads(None)} of {n_processors()} processors",
    }
    for package in _PACKAGES:
        try:
            info[package] = version(package)
        except PackageNotFoundError:
            info[package] = "not installed"
    return info


def show_versions() -> None:
    """Print `versions`, one line each.

    See Also
    --------
    citation

    Examples
    --------
    >>> import retemper
    >>> retemper.show_versions()  # doctest: +ELLIPSIS
    retemper...
    """
    for name, value in versions().items():
        print(f"{name:>14}: {value}")
