"""Sweeps as text: comma-separated values, tables of LaTeX, axes of pgfplots."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retemper._domains import find_symbol
from retemper._plot import CYCLE

if TYPE_CHECKING:
    from retemper._results import Sweep

__all__ = ["Line", "csv_text", "latex_table", "lines_of", "pgf_axis"]

#: Line styles of TikZ that tell lines apart without colour.
_DASHES = ("solid", "dashed", "dash dot", "dotted", "densely dash dot dot", "loosely dotted")


class Line(NamedTuple):
    """Values of a quantity along the first axis, and where the second one is."""

    axis: str | None  # name of the second axis
    level: Any
    values: NDArray[Any]

    @property
    def label(self) -> str:
        """What tells it from the others; empty for a single line."""
        return "" if self.axis is None else f"{self.axis} = {short(self.level)}"


def short(value: Any) -> str:
    """A number with four digits; anything else as it is."""
    return f"{value:.4g}" if np.issubdtype(type(value), np.number) else str(value)


def lines_of(sweep: Sweep, quantity: str | None) -> tuple[str, list[Line]]:
    """The quantity and its lines: one, or one for every value of the second axis.

    Parameters
    ----------
    sweep : Sweep
        Of one or two axes.
    quantity : str or None
        Which quantity; the first if None.

    Returns
    -------
    str, list of Line
        Its name and its lines.

    Raises
    ------
    ValueError
        If there are more than two axes, no such quantity, or it is an array at every point.
    """
    name = quantity or next(iter(sweep.values))
    if name not in sweep.values:
        raise ValueError(f"quantity must be one of {sorted(sweep.values)}, got {name!r}")
    if len(sweep.axes) > 2:
        raise ValueError(f"lines need one or two axes, this sweep has {len(sweep.axes)}")
    value = sweep.values[name]
    if value.ndim > len(sweep.axes):
        raise ValueError(f"lines are made of numbers, {name} is an array at every point")
    rest = list(sweep.axes)[1:]
    if not rest:
        return name, [Line(None, None, value)]
    levels = sweep.axes[rest[0]]
    return name, [Line(rest[0], x, v) for x, v in zip(levels, value.T, strict=True)]


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


def latex_table(sweep: Sweep, quantity: str | None, digits: int) -> str:
    """A tabular in the style of booktabs: a row for every value of the first axis."""
    first = next(iter(sweep.axes))
    head, columns = [_symbol(sweep, first)], []
    if quantity is None and len(sweep.axes) == 1:  # every number side by side
        for name, value in sweep.values.items():
            if value.ndim == 1 and value.dtype.kind == "f":
                head.append(_symbol(sweep, name))
                columns.append(value)
    else:
        for line in lines_of(sweep, quantity)[1]:
            head.append(_label(sweep, line))
            columns.append(line.values)
        if len(head) == 2 and not head[1]:
            head[1] = _symbol(sweep, lines_of(sweep, quantity)[0])
    rows = zip(sweep.axes[first], *columns, strict=True)
    body = [" & ".join(_cell(x, digits) for x in row) + r" \\" for row in rows]
    return "\n".join([
        rf"\begin{{tabular}}{{{'r' * len(head)}}}", r"\toprule", " & ".join(head) + r" \\",
        r"\midrule", *body, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def pgf_axis(sweep: Sweep, quantity: str | None, simulated: Sweep | None) -> str:
    """An axis of pgfplots with a labelled line for every value of the second axis."""
    name, lines = lines_of(sweep, quantity)
    first = next(iter(sweep.axes))
    text = [
        r"\begin{tikzpicture}",
        rf"\begin{{axis}}[xlabel={{{_symbol(sweep, first)}}}, ylabel={{{_symbol(sweep, name)}}},"
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
        if line.axis is not None:
            text += [rf"\addlegendentry{{{_label(sweep, line)}}}"]
        if simulated is not None:
            points = lines_of(simulated, name)[1][k].values
            errors = lines_of(simulated, f"{name}_stderr")[1][k].values
            text += [
                rf"\addplot[only marks, forget plot, {style}, error bars/.cd, y dir=both, "
                r"y explicit] table [y error=e] {",
                "x y e",
            ]
            places = simulated.axes[first]
            text += [" ".join(map(_exact, row)) for row in zip(places, points, errors, strict=True)]
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
    if line.axis is None:
        return ""
    name, level = _symbol(sweep, line.axis), short(line.level)
    if name.startswith("$") and np.issubdtype(type(line.level), np.number):
        return f"{name[:-1]} = {_number(level)}$"
    return f"{name} = {_escaped(level)}"


def _number(text: str) -> str:
    text = text.replace("inf", r"\infty").replace("nan", r"\text{--}")
    return re.sub(r"e([+-]?)0*(\d+)", lambda m: rf"\cdot 10^{{{m[1].strip('+')}{m[2]}}}", text)


def _cell(value: Any, digits: int) -> str:
    if not np.issubdtype(type(value), np.number):
        return _escaped(str(value))
    return f"${_number(f'{value:.{digits}g}')}$"


def _escaped(text: str) -> str:
    return re.sub(r"([_&%#$])", r"\\\1", text)
