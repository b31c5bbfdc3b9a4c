"""The example scripts: found by name, run, and their figures saved.

Every figure of the theory pages is drawn by a script of its own that uses public functions alone:
``linear-double-descent`` by ``examples/linear/plot_linear_double_descent.py``. An installed package
carries the scripts beside this file. Where a script needs images that are not there, it draws the
numbers of a recorded run, which stand beside it in a file of its name that ends in ``.json``.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import runpy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from retemper._plot import style
from retemper._validation import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FigureScript", "draw", "figure_scripts", "recorded_numbers", "save_figure", "style"]


class FigureScript(NamedTuple):
    """A script that draws a figure.

    Parameters
    ----------
    path : Path
        The file.
    title : str
        First line of its docstring.
    text : str
        The rest of the docstring: what to read off the figure, and where its setting is from.

    See Also
    --------
    figure_scripts

    Examples
    --------
    >>> from retemper.gallery import figure_scripts
    >>> figure_scripts()["linear-phase"].title
    'When transfer helps: angle against samples'
    """

    path: Path
    title: str
    text: str


def _folder() -> Path:
    here = Path(__file__).resolve()
    for folder in (here.parent / "examples", here.parents[3] / "examples"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no folder of examples beside {here.parent} or at the root of sources")


def figure_scripts() -> dict[str, FigureScript]:
    """Every script that draws a figure, by the name of the figure.

    Returns
    -------
    dict of str to FigureScript
        In alphabetical order.

    Raises
    ------
    FileNotFoundError
        If the scripts are not installed.

    See Also
    --------
    draw, save_figure

    Examples
    --------
    >>> from retemper.gallery import figure_scripts
    >>> sorted(figure_scripts())[:2]
    ['advisor-advice', 'diagonal-best-start']
    """
    found = {}
    for path in sorted(_folder().glob("*/plot_*.py")):
        name = path.stem.removeprefix("plot_").replace("_", "-")
        title, _, rest = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition(
            "\n"
        )
        text = rest.lstrip("=\n").strip()
        found[name] = FigureScript(path, title, text)
    return found


def recorded_numbers(name: str) -> dict[str, Any]:
    """Numbers of the recorded run of a figure that needs images.

    Parameters
    ----------
    name : str
        One that `figure_scripts` lists.

    Returns
    -------
    dict of str to list or float
        As the script of the figure measured them, rounded to five digits.

    Raises
    ------
    ValueError
        If there is no figure of that name, or no run of it is kept.

    See Also
    --------
    save_figure

    Examples
    --------
    >>> from retemper.gallery import recorded_numbers
    >>> sorted(recorded_numbers("networks-learning-phases"))
    ['curves', 'taken']
    """
    scripts = figure_scripts()
    check_choice(name, "name", tuple(scripts))
    path = scripts[name].path.with_suffix(".json")
    if not path.is_file():
        raise ValueError(f"name must be that of a figure with a recorded run, got {name!r}")
    numbers: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return numbers


@contextlib.contextmanager
def _with_data(data: str | os.PathLike[str] | None) -> Iterator[None]:
    """A folder of images for what runs inside."""
    if data is not None and not Path(data).is_dir():
        raise ValueError(f"data must be a folder of images, got {os.fspath(data)!r}")
    before = os.environ.get("RETEMPER_DATA")
    if data is not None:
        os.environ["RETEMPER_DATA"] = os.fspath(data)
    try:
        yield
    finally:
        if data is not None:
            os.environ.pop("RETEMPER_DATA")
            if before is not None:
                os.environ["RETEMPER_DATA"] = before


@contextlib.contextmanager
def _without_windows() -> Iterator[None]:
    import matplotlib as mpl

    before = mpl.get_backend()
    with mpl.rc_context(style()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
        mpl.use("agg")
        try:
            yield
        finally:
            mpl.use(before)


def draw(name: str, *, data: str | os.PathLike[str] | None = None) -> list[Figure]:
    """Run the script of a figure.

    Parameters
    ----------
    name : str
        One that `figure_scripts` lists.
    data : str, PathLike or None, default=None
        Folder of images for the figures that need some; None for that of the variable
        ``RETEMPER_DATA``. Without images they draw their recorded run.

    Returns
    -------
    list of matplotlib.figure.Figure
        What the script drew, in order; not attached to any window.

    Raises
    ------
    ValueError
        If there is no figure of that name, or ``data`` is no folder.

    See Also
    --------
    save_figure, figure_scripts

    Examples
    --------
    >>> from retemper.gallery import draw
    >>> (figure,) = draw("linear-eigendirection")
    >>> len(figure.axes)
    1
    """
    return _run(name, data)[0]


def _run(
    name: str, data: str | os.PathLike[str] | None
) -> tuple[list[Figure], dict[str, Any] | None]:
    """The figures of a script, and what it measured if it needs images."""
    scripts = figure_scripts()
    check_choice(name, "name", tuple(scripts))
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    with _without_windows(), _with_data(data):
        others = set(plt.get_fignums())
        scope = runpy.run_path(str(scripts[name].path), run_name="__main__")
        drawn = [plt.figure(n) for n in plt.get_fignums() if n not in others]
        named = [v for v in scope.values() if isinstance(v, Figure)]
        drawn += [figure for figure in named if all(figure is not other for other in drawn)]
        for figure in drawn:
            _fix_colours(figure)
            plt.close(figure)
    has_record = scripts[name].path.with_suffix(".json").is_file()
    return drawn, scope.get("numbers") if has_record else None


def _fix_colours(figure: Figure) -> None:
    """Give lines the colour that ``C0`` means now; matplotlib would look it up on saving."""
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D

    for line in figure.findobj(Line2D):
        line.set_markerfacecolor(to_rgba(line.get_markerfacecolor()))
        line.set_markeredgecolor(to_rgba(line.get_markeredgecolor()))
        line.set_color(to_rgba(line.get_color()))


def save_figure(
    name: str, folder: Path, *, data: str | os.PathLike[str] | None = None
) -> list[Path]:
    """Run the script of a figure and write what it draws as PNG and SVG.

    Parameters
    ----------
    name : str
        One that `figure_scripts` lists.
    folder : Path
        Where the files go; made if missing.
    data : str, PathLike or None, default=None
        Folder of images, as `draw` takes it.

    Returns
    -------
    list of Path
        The files: ``NAME.png`` and ``NAME.svg``, then ``NAME-2.png`` and so on; of a figure that
        needs images also ``NAME.json``, the numbers that were drawn.

    Raises
    ------
    ValueError
        If there is no figure of that name, or ``data`` is no folder.

    See Also
    --------
    draw, recorded_numbers, style

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.gallery import save_figure
    >>> [file.name for file in save_figure("diagonal-teachers", Path(tempfile.mkdtemp()))]
    ['diagonal-teachers.png', 'diagonal-teachers.svg']
    """
    figures, numbers = _run(name, data)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, figure in enumerate(figures, start=1):
        stem = name if number == 1 else f"{name}-{number}"
        for ending in ("png", "svg"):
            paths.append(folder / f"{stem}.{ending}")
            figure.savefig(paths[-1], dpi=150)
    if numbers is not None:
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(_rounded(numbers), separators=(",", ":")) + "\n", "utf-8")
    return paths


def _rounded(value: Any) -> Any:
    """Arrays as lists, numbers with five digits."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
