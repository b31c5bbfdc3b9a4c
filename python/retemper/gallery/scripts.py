"""The example scripts: found by name, run, and their figures saved.

Every figure of the theory pages is drawn by a script of its own that uses public functions alone:
``linear-double-descent`` by ``examples/linear/plot_linear_double_descent.py``. An installed package
carries the scripts beside this file.
"""

from __future__ import annotations

import ast
import contextlib
import runpy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retemper._plot import style
from retemper._validation import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FigureScript", "draw", "figure_scripts", "save_figure", "style"]


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


def draw(name: str) -> list[Figure]:
    """Run the script of a figure.

    Parameters
    ----------
    name : str
        One that `figure_scripts` lists.

    Returns
    -------
    list of matplotlib.figure.Figure
        What the script drew, in order; not attached to any window.

    Raises
    ------
    ValueError
        If there is no figure of that name.

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
    scripts = figure_scripts()
    check_choice(name, "name", tuple(scripts))
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    with _without_windows():
        others = set(plt.get_fignums())
        scope = runpy.run_path(str(scripts[name].path), run_name="__main__")
        drawn = [plt.figure(n) for n in plt.get_fignums() if n not in others]
        named = [v for v in scope.values() if isinstance(v, Figure)]
        drawn += [figure for figure in named if all(figure is not other for other in drawn)]
        for figure in drawn:
            _fix_colours(figure)
            plt.close(figure)
    return drawn


def _fix_colours(figure: Figure) -> None:
    """Give lines the colour that ``C0`` means now; matplotlib would look it up on saving."""
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D

    for line in figure.findobj(Line2D):
        line.set_markerfacecolor(to_rgba(line.get_markerfacecolor()))
        line.set_markeredgecolor(to_rgba(line.get_markeredgecolor()))
        line.set_color(to_rgba(line.get_color()))


def save_figure(name: str, folder: Path) -> list[Path]:
    """Run the script of a figure and write what it draws as PNG and SVG.

    Parameters
    ----------
    name : str
        One that `figure_scripts` lists.
    folder : Path
        Where the files go; made if missing.

    Returns
    -------
    list of Path
        The files: ``NAME.png`` and ``NAME.svg``, then ``NAME-2.png`` and so on.

    Raises
    ------
    ValueError
        If there is no figure of that name.

    See Also
    --------
    draw, style

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.gallery import save_figure
    >>> [file.name for file in save_figure("diagonal-teachers", Path(tempfile.mkdtemp()))]
    ['diagonal-teachers.png', 'diagonal-teachers.svg']
    """
    figures = draw(name)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, figure in enumerate(figures, start=1):
        stem = name if number == 1 else f"{name}-{number}"
        for ending in ("png", "svg"):
            paths.append(folder / f"{stem}.{ending}")
            figure.savefig(paths[-1], dpi=150)
    return paths
