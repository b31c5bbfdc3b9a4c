"""Sweeps as text: comma-separated values, tables of LaTeX, axes of pgfplots."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._domains import find_symbol
from retemper._plot import CYCLE

if TYPE_CHECKING:
    from retemper._results import Sweep

__all__ = [
    "Line",
    "along",
    "csv_text",
    "dots_of",
    "latex_table",
    "lines_of",
    "pgf_axis",
    "quantities_of",
]

#: Line styles of TikZ that tell lines apart without colour.
_DASHES = ("solid", "dashed", "dash dot", "dotted", "densely dash dot dot", "loosely dotted")


class Line(NamedTuple):
    """Values of a quantity along an axis, and what tells them from other lines."""

    quantity: str
    values: NDArray[Any]
    is_named: bool  # whether lines of several quantities stand beside each other
    axis: str | None = None  # name of the other axis, and where on it
    level: Any = None

    @property
    def label(self) -> str:
        """What tells it from the others; empty for a single line."""
        parts = [self.quantity] if self.is_named else []
        if self.axis is not None:
            parts.append(f"{self.axis} = {short(self.level)}")
        return ", ".join(parts)


def short(value: Any) -> str:
    """A number with four digits; anything else as it is."""
    return f"{value:.4g}" if np.issubdtype(type(value), np.number) else str(value)


def lines_of(sweep: Sweep, quantity: str | Sequence[str] | None, *, of: str = "") -> list[Line]:
    """The lines of quantities: of each one, or one for every value of the axis beside `along`.

    Parameters
    ----------
    sweep : Sweep
        Of one or two axes.
    quantity : str, sequence of str or None
        Which quantities; the first if None.
    of : str, default=""
        What of them: ``"_stderr"`` for their standard errors.

    Returns
    -------
    list of Line
        Their lines, quantity after quantity.

    Raises
    ------
    ValueError
        If there are more than two axes, no such quantity, or it is an array at every point.
    """
    if quantity is None:
        quantity = next(iter(sweep.values))
    names = dict.fromkeys([quantity] if isinstance(quantity, str) else quantity)
    if not names:
        raise ValueError(f"quantity must name some of {sorted(sweep.values)}, got {quantity!r}")
    if len(sweep.axes) > 2:
        raise ValueError(f"lines need one or two axes, this sweep has {len(sweep.axes)}")
    lines = []
    for name in names:
        if name + of not in sweep.values:
            raise ValueError(f"quantity must be one of {sorted(sweep.values)}, got {name + of!r}")
        value = sweep.values[name + of]
        if value.ndim > len(sweep.axes):
            raise ValueError(f"lines are made of numbers, {name} is an array at every point")
        several = len(names) > 1
        if value.ndim == 1:
            lines.append(Line(name, value, several))
            continue
        first, second = sweep.axes
        axis = second if along(sweep) == first else first
        rows = value.T if axis == second else value
        levels = zip(sweep.axes[axis], rows, strict=True)
        lines += [Line(name, v, several, axis, level) for level, v in levels]
    return lines


def along(sweep: Sweep) -> str:
    """The axis that lines run along: that of the models' own paths, as times, or else the first."""
    swept = sweep.axes if sweep.grid is None else sweep.grid.values
    own = [axis for axis in sweep.axes if axis not in swept]
    return (own or list(sweep.axes))[0]


def quantities_of(lines: Sequence[Line]) -> list[str]:
    """Quantities of lines, each once."""
    return list(dict.fromkeys(line.quantity for line in lines))


def dots_of(
    simulated: Sweep | None, lines: Sequence[Line]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Means and standard errors of a simulated sweep, one after the other as the lines."""
    if simulated is not None:
        names = quantities_of(lines)
        means, errors = (lines_of(simulated, names, of=of) for of in ("", "_stderr"))
        yield from ((m.values, e.values) for m, e in zip(means, errors, strict=True))


def csv_text(sweep: Sweep) -> str:
    """One row for every point, with all digits; entries of arrays have columns of their own."""
    shape = tuple(len(axis) for axis in sweep.axes.values())
    columns: dict[str, list[Any]] = {}
    mesh = np.meshgrid(*sweep.axes.values(), indexing="ij")
    for name, axis in zip(sweep.axes, mesh, strict=True):
        columns[name] = axis.ravel().tolist()
    for name, value in sweep.values.items():
        for index in np.ndindex(value.shape[len(shape) :]):
            label = "_".join([name, *map(str, index)])
            columns[label] = value[(..., *index)].ravel().tolist()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def latex_table(sweep: Sweep, quantity: str | Sequence[str] | None, digits: int) -> str:
    """A tabular in the style of booktabs: a row for every place along its lines."""
    first = along(sweep)
    if quantity is None and len(sweep.axes) == 1:  # every number side by side
        quantity = [n for n, v in sweep.values.items() if v.ndim == 1 and v.dtype.kind == "f"]
    lines = lines_of(sweep, quantity)
    head = [_symbol(sweep, first)]
    head += [_label(sweep, line) or _symbol(sweep, line.quantity) for line in lines]
    rows = zip(sweep.axes[first], *(line.values for line in lines), strict=True)
    body = [" & ".join(_cell(x, digits) for x in row) + r" \\" for row in rows]
    return "\n".join([
        rf"\begin{{tabular}}{{{'r' * len(head)}}}", r"\toprule", " & ".join(head) + r" \\",
        r"\midrule", *body, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def pgf_axis(sweep: Sweep, quantity: str | Sequence[str] | None, simulated: Sweep | None) -> str:
    """An axis of pgfplots with a labelled line for each of `lines_of`."""
    lines = lines_of(sweep, quantity)
    first = along(sweep)
    names = ", ".join(_symbol(sweep, name) for name in quantities_of(lines))
    dots = dots_of(simulated, lines)
    text = [
        r"\begin{tikzpicture}",
        rf"\begin{{axis}}[xlabel={{{_symbol(sweep, first)}}}, ylabel={{{names}}},"
        r" legend style={draw=none}, unbounded coords=jump]",
    ]
    for k, line in enumerate(lines):
        red, green, blue = (int(CYCLE[k % len(CYCLE)][i : i + 2], 16) for i in (1, 3, 5))
        style = f"color={{rgb,255:red,{red};green,{green};blue,{blue}}}"
        dash = _DASHES[k % len(_DASHES)]
        text += [rf"\addplot[no marks, thick, {dash}, {style}] table {{", "x y"]
        rows = zip(sweep.axes[first], line.values, strict=True)
        text += [" ".join(map(_exact, row)) for row in rows]
        text += ["};"]
        if line.label:
            text += [rf"\addlegendentry{{{_label(sweep, line)}}}"]
        if simulated is not None:
            text += [
                rf"\addplot[only marks, forget plot, {style}, error bars/.cd, y dir=both, "
                r"y explicit] table [y error=e] {",
                "x y e",
            ]
            places = simulated.axes[first]
            text += [" ".join(map(_exact, row)) for row in zip(places, *next(dots), strict=True)]
            text += ["};"]
    return "\n".join([*text, r"\end{axis}", r"\end{tikzpicture}", ""])


def _exact(value: Any) -> str:
    if not np.issubdtype(type(value), np.number):
        raise ValueError(f"axes of pgfplots need numbers, got {str(value)!r}: use to_latex")
    return repr(float(value))


def _symbol(sweep: Sweep, name: str) -> str:
    found = find_symbol(name, sweep.system)
    return f"${found}$" if found else _escaped(name)


def _label(sweep: Sweep, line: Line) -> str:
    parts = [_symbol(sweep, line.quantity)] if line.is_named else []
    if line.axis is not None:
        name, level = _symbol(sweep, line.axis), short(line.level)
        if name.startswith("$") and np.issubdtype(type(line.level), np.number):
            parts.append(f"{name[:-1]} = {_number(level)}$")
        else:
            parts.append(f"{name} = {_escaped(level)}")
    return ", ".join(parts)


def _number(text: str) -> str:
    text = text.replace("inf", r"\infty").replace("nan", r"\text{--}")
    return re.sub(r"e([+-]?)0*(\d+)", lambda m: rf"\cdot 10^{{{m[1].strip('+')}{m[2]}}}", text)


def _cell(value: Any, digits: int) -> str:
    if not np.issubdtype(type(value), np.number):
        return _escaped(str(value))
    return f"${_number(f'{value:.{digits}g}')}$"


def _escaped(text: str) -> str:
    return re.sub(r"([_&%#$])", r"\\\1", text)
