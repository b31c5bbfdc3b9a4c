"""Numbers, intervals and tables as text, for ``__str__``, HTML and the terminal; JSON values."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "columns",
    "did_you_mean",
    "html_table",
    "interval",
    "number",
    "one_line",
    "plain",
    "shown",
    "table",
    "whole_file",
    "write_text",
]


#: Letters beyond which of a tuple or list only the length is told.
_LONG = 80


def number(value: float, *, sign: bool = False) -> str:
    """Three digits; thousands without an exponent; a dash for NaN.

    Parameters
    ----------
    value : float
        The number.
    sign : bool, default=False
        Whether a positive number bears a plus.

    Returns
    -------
    str
        Its text.
    """
    if math.isnan(value):
        return "—"
    if value == 0.0:
        return "0"
    plus = "+" if sign else ""
    thousands = 1e3 <= abs(value) < 1e7
    return format(value, f"{plus},.0f" if thousands else f"{plus}.3g")


def did_you_mean(missing: Sequence[str], known: Iterable[Any]) -> str:
    """A hint at the name that was meant, whatever its capitals.

    Parameters
    ----------
    missing : sequence of str
        Names that are not there; the first is looked for.
    known : iterable of object
        Names that are.

    Returns
    -------
    str
        Begins with a semicolon; empty if none is near.
    """
    low = {str(name).lower(): str(name) for name in known}
    near = get_close_matches(missing[0].lower(), low, n=1, cutoff=0.6)
    return f"; did you mean {low[near[0]]!r}?" if near else ""


def interval(value: float, low: float, high: float, *, sign: bool = False) -> str:
    """A number with its interval, ``1.2 [0.9, 1.5]``; the number alone if there is none.

    Parameters
    ----------
    value, low, high : float
        The number and the ends of its interval; NaN where there is none.
    sign : bool, default=False
        Whether positive numbers bear a plus.

    Returns
    -------
    str
        Its text; a dash if the number itself is NaN.
    """
    shown = number(value, sign=sign)
    if math.isnan(value) or math.isnan(low):
        return shown
    return f"{shown} [{number(low, sign=sign)}, {number(high, sign=sign)}]"


def table(rows: Sequence[Sequence[str]], *, gap: int = 2) -> str:
    """Columns of text: the first one flush left, the others flush right.

    Parameters
    ----------
    rows : sequence of sequence of str
        Cells, the header first.
    gap : int, default=2
        Spaces between columns.

    Returns
    -------
    str
        One line for each row.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    space = " " * gap
    lines = (
        space.join(
            cell.rjust(width) if j else cell.ljust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, all flush left.

    Parameters
    ----------
    rows : sequence of sequence of str
        Cells.

    Returns
    -------
    str
        One line for each row.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def one_line(result: Any) -> str:
    """The ``__repr__`` of what calls return: fields by name, arrays by their shape.

    Parameters
    ----------
    result : dataclass
        Numbers, texts, arrays, mappings, and other dataclasses.

    Returns
    -------
    str
        The text.
    """
    parts = []
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if field.name == "message" or not field.repr:
            continue
        if isinstance(value, np.ndarray) and value.ndim:
            text = f"<array {value.shape}>"
        elif isinstance(value, dict):
            text = f"<{', '.join(map(str, value))}>"
        elif isinstance(value, float):
            text = f"{value:.6g}"
        elif isinstance(value, tuple | list) and len(repr(value)) > _LONG:
            text = f"<{len(value)} entries>"
        else:
            text = str(value) if isinstance(value, str) else repr(value)
        parts.append(f"{field.name}={text}")
    return f"{type(result).__name__}({', '.join(parts)})"


def plain(value: Any) -> Any:
    """A value as JSON takes it.

    Parameters
    ----------
    value : object
        Numbers, text, arrays, dataclasses, and mappings and sequences of them.

    Returns
    -------
    object
        Plain dictionaries, lists, numbers and text. NaN becomes None, infinities "inf" and "-inf".
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def html_table(caption: str, rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A table for notebooks, without style of its own: it follows that of the page.

    Parameters
    ----------
    caption : str
        What is shown, above the table.
    rows : sequence of sequence of str
        Cells; the first row is the heading, the first cell of every other one names it.
    note : str, default=""
        A sentence below the table.

    Returns
    -------
    str
        The HTML.
    """
    left = ' style="text-align: left"'

    def cells(row: Sequence[str], tag: str) -> str:
        first, *others = (html.escape(cell) for cell in row)
        named = f"<th{left}>{first}</th>"
        return f"<tr>{named}{''.join(f'<{tag}>{cell}</{tag}>' for cell in others)}</tr>"

    head, *body = rows
    below = f"<p>{html.escape(note)}</p>" if note else ""
    return (
        f'<table><caption style="text-align: left"><b>{html.escape(caption)}</b></caption>'
        f"<thead>{cells(head, 'th')}</thead>"
        f"<tbody>{''.join(cells(row, 'td') for row in body)}</tbody></table>{below}"
    )


def shown(value: Any) -> str:
    """A value of a result in a cell: a number, a short text, or the size of what is longer.

    Parameters
    ----------
    value : object
        The value.

    Returns
    -------
    str
        Its text.
    """
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray):
        if not value.ndim:
            return shown(value.item())
        kind = "numbers" if value.dtype.kind in "iuf" else "entries"
        text = f"{' × '.join(map(str, value.shape))} {kind}"
        finite = value[np.isfinite(value)] if value.dtype.kind in "iuf" else value[:0]
        if finite.size:
            text += f", {shown(finite.min())} to {shown(finite.max())}"
        return text
    if isinstance(value, dict):
        few = ", ".join(f"{k}: {shown(v)}" for k, v in list(value.items())[:8])
        return few + (", …" if len(value) > 8 else "")
    text = str(value)
    if len(text) > _LONG:
        if isinstance(value, tuple | list):
            return f"{len(value)} entries"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            text = one_line(value)
    return text if len(text) <= 240 else f"{text[:239]}…"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file that appears whole or not at all.

    Parameters
    ----------
    path : Path
        The file, replaced where it exists.

    Yields
    ------
    Path
        A path in the same folder to write to. The file written there takes its place when the block
        ends, and is removed when the block fails.

    Raises
    ------
    OSError
        If the file cannot be written; it is named, and is as before.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # a folder that takes no file has none to remove
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, f"not written: {error.strerror}", str(path)) from error
        raise


def write_text(text: str, path: str | os.PathLike[str] | None) -> str:
    """Write a text, whole or not at all, if there is a path; the text itself.

    Parameters
    ----------
    text : str
        What is written.
    path : path-like or None
        Where.

    Returns
    -------
    str
        The text.
    """
    if path is not None:
        with whole_file(Path(path)) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    return text
