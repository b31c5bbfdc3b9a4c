"""Self-contained HTML reports: one file, no script, no outside resource, printable."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retemper._plot import BLUE, GREEN, GREY, VERMILION, YELLOW
from retemper._text import write_text
from retemper._validation import as_items, as_path, check_kind, check_texts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ReportFigure", "ReportSection", "ReportTable", "write_report"]

#: Inches of width below which a figure is small.
_SMALL = 5.0
#: Letters of a word, or of numbers, beyond which a column may break them, and into what parts.
_LONG, _PART = 24, 12
#: Colours of figures that follow the page, by the variable of its style sheet.
_THEMED = {
    "#000000": "ink",
    "#ffffff": "paper",
    GREY: "soft",
    BLUE: "blue",
    GREEN: "green",
    VERMILION: "vermilion",
    YELLOW: "yellow",
}


@dataclasses.dataclass(frozen=True)
class ReportTable:
    """A table of a report.

    Parameters
    ----------
    caption : str
        What it shows.
    header : sequence of str
        Column names.
    rows : sequence of sequence of str
        Cells; a cell starting with ``+``, ``-`` or a digit is set as a number.

    See Also
    --------
    ReportSection, write_report

    Examples
    --------
    >>> from retemper.report import ReportTable
    >>> ReportTable("Errors", ["source", "error"], [["scratch", "0.5"]]).header
    ['source', 'error']
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        check_texts(self.header, "header")
        for i, row in enumerate(as_items(self.rows, "rows")):
            check_texts(row, f"rows[{i}]")


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure of a report.

    Parameters
    ----------
    caption : str
        What it shows.
    alternative : str
        What a reader who cannot see it should know.
    svg : str
        The drawing.
    is_small : bool
        Whether it is drawn for narrow pages, and shown no larger on wide ones.

    See Also
    --------
    ReportSection, write_report

    Examples
    --------
    >>> from retemper.report import ReportFigure
    >>> ReportFigure("A line", "A line that rises", "<svg/>").caption
    'A line'
    """

    caption: str
    alternative: str
    svg: str
    is_small: bool = False

    @classmethod
    def of(cls, figure: Figure, caption: str, alternative: str) -> ReportFigure:
        """Take a matplotlib figure."""
        import matplotlib as mpl

        stream = io.StringIO()
        with mpl.rc_context({"svg.hashsalt": caption}):
            figure.savefig(stream, format="svg", dpi=150, metadata={"Date": None}, transparent=True)
        svg = stream.getvalue()
        svg = svg[svg.index("<svg") :]
        for colour, name in _THEMED.items():  # follows the light or dark page
            svg = re.sub(rf"(fill|stroke): {colour}\b", rf"\1: var(--{name})", svg, flags=re.I)
        return cls(caption, alternative, svg, figure.get_figwidth() < _SMALL)


@dataclasses.dataclass(frozen=True)
class ReportSection:
    """A section of a report.

    Parameters
    ----------
    title : str
        Its heading.
    paragraphs : sequence of str
        Text, set before the figures and tables.
    tables : sequence of ReportTable
        Tables.
    figures : sequence of ReportFigure
        Figures.
    code : str
        Lines to copy, set after the figures and before the tables.

    See Also
    --------
    ReportTable, ReportFigure, write_report

    Examples
    --------
    >>> from retemper.report import ReportSection
    >>> ReportSection("Errors", ["All errors are mean squares."]).title
    'Errors'
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[ReportTable] = ()
    figures: Sequence[ReportFigure] = ()
    code: str = ""

    def __post_init__(self) -> None:
        check_texts(self.paragraphs, "paragraphs")
        for i, table in enumerate(as_items(self.tables, "tables")):
            check_kind(table, f"tables[{i}]", ReportTable)
        for i, figure in enumerate(as_items(self.figures, "figures")):
            check_kind(figure, f"figures[{i}]", ReportFigure)


def write_report(
    path: Path | str, title: str, summary: str, sections: Sequence[ReportSection], footer: str = ""
) -> Path:
    """Write a report.

    Parameters
    ----------
    path : Path or str
        The HTML file; replaced as a whole or not at all.
    title : str
        Title of the page.
    summary : str
        The answer in a sentence or two.
    sections : sequence of ReportSection
        The body.
    footer : str, default=""
        Small print.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    TypeError
        If ``path`` is no path, or ``sections`` holds anything but sections.
    ModuleNotFoundError
        If jinja2 is not installed.

    See Also
    --------
    ReportSection

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from retemper.report import ReportSection, write_report
    >>> page = Path(tempfile.mkdtemp()) / "report.html"
    >>> sections = [ReportSection("Errors", ["All errors are mean squares."])]
    >>> write_report(page, "A report", "One sentence.", sections).name
    'report.html'
    """
    path = as_path(path)
    for i, section in enumerate(as_items(sections, "sections")):
        check_kind(section, f"sections[{i}]", ReportSection)
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["is_number"] = _is_number
    environment.filters["breakable"] = _breakable
    template = files("retemper.report").joinpath("templates", "report.html.j2")
    source = template.read_text(encoding="utf-8")
    page = environment.from_string(source).render(
        title=title, summary=summary, sections=sections, footer=footer
    )
    write_text(page, path)
    return path


def _is_number(cell: Any) -> bool:
    return str(cell)[:1] in set("+-−0123456789") and len(str(cell)) <= _LONG


def _breakable(text: Any) -> Any:
    """Text that may break within words that are too long for a column, and only there."""
    from markupsafe import Markup, escape

    words = [
        Markup("<wbr>").join(escape(word[i : i + _PART]) for i in range(0, len(word), _PART))
        if len(word) > _LONG
        else escape(word)
        for word in re.split(r"(\s+)", str(text))
    ]
    return Markup("").join(words)
