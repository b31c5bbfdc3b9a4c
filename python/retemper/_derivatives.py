"""Derivatives of what a theory predicts with respect to the fields of its model."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retemper._control import OnFailure
from retemper._domains import find_word
from retemper._experiments import system_function
from retemper._extras import require
from retemper._pickles import Versioned
from retemper._progress import ProgressLike, shown_progress
from retemper._text import columns, html_table, one_line, shown
from retemper._validation import FloatArray, check_choice
from retemper.exceptions import NumericalError, ValidityWarning

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Derivatives", "derivatives"]

#: First step, relative to the size of the field; ratio of steps; most of them.
_STEP, _RATIO, _LEVELS = 0.05, 1.6, 11
#: Relative error of a derivative above which it is not believed.
_RESOLVED = 1e-3
_NOT_DERIVED = frozenset({"residual", "quadrature_error"})


@dataclasses.dataclass(frozen=True)
class Derivatives(Versioned):
    """Derivatives of numbers of a theory, each with an estimate of its error.

    Attributes
    ----------
    model : dataclass
        Where they were taken.
    theory : Result
        What theory says there.
    values : dict of str to dict
        By quantity and field: a number, or an array of the shape of the quantity, then of the
        field.
    errors : dict of str to dict
        Estimated absolute error of each.
    """

    model: Any
    theory: Any
    values: dict[str, dict[str, Any]]
    errors: dict[str, dict[str, Any]]

    def __getitem__(self, key: tuple[str, str]) -> Any:
        quantity, field = key
        return self.values[quantity][field]

    def _rows(self) -> list[tuple[str, str, float, float]]:
        return [
            (quantity, field, value, self.errors[quantity][field])
            for quantity, found in self.values.items()
            for field, value in found.items()
            if np.ndim(value) == 0
        ]

    def to_frame(self) -> pd.DataFrame:
        """One row for every quantity and field that are numbers (needs pandas)."""
        require("pandas", purpose="to_frame")
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["quantity", "field", "derivative", "error"])

    def _repr_html_(self) -> str:
        return html_table("Derivatives", self._cells(), "")

    __repr__ = one_line

    def __str__(self) -> str:
        return columns(self._cells())

    def _cells(self) -> list[list[str]]:
        """A row for every quantity and field; of vectors the number of entries and their range."""
        return [
            ["quantity", "field", "derivative", "error"],
            *(
                [quantity, field, shown(value), f"{np.max(self.errors[quantity][field]):.1g}"]
                for quantity, of in self.values.items()
                for field, value in of.items()
            ),
        ]


def derivatives(
    model: Any,
    fields: str | Sequence[str],
    quantities: str | Sequence[str] | None = None,
    *,
    on_failure: OnFailure = "warn",
    progress: ProgressLike = None,
    **options: Any,
) -> Derivatives:
    """Derivatives of what ``solve`` returns with respect to fields of the model.

    Differences of tight solutions at shrinking steps are extrapolated to step zero, and the table
    of extrapolations tells the error [1]_. They are central where both sides are in the domain of
    the field, and one-sided at its edge. A field costs about twenty solutions; of a vector, every
    entry does.

    Parameters
    ----------
    model : model of any system
        Where derivatives are taken.
    fields : str or sequence of str
        Fields of the model that are real numbers, or vectors of them.
    quantities : str, sequence of str or None, default=None
        Numbers or arrays of the theory; None takes all its numbers.
    on_failure : {"warn", "raise", "ignore"}, default="warn"
        What to do about a solution that is not valid, and about a derivative that is not resolved
        to a thousandth: the theory has a jump or a kink near by, or the derivative is infinite.
    progress : None, bool, callable or object, default=None
        Called with (entries done, entries).
    **options : dict
        What else ``solve`` takes: ``target``, ``source`` and ``test`` of a `WideNetModel`.

    Returns
    -------
    Derivatives
        ``found["risk", "ridge"]`` is one of them; ``values``, ``errors``, ``to_frame``.

    Raises
    ------
    TypeError
        If ``model`` is no model of a system, or a field is not a real number or vector.
    ValueError
        If there is no such field or quantity, or a field counts something.
    NumericalError
        If ``on_failure="raise"`` and a solution is not valid or a derivative is not resolved.

    Warns
    -----
    ValidityWarning
        If a derivative is not resolved.

    See Also
    --------
    retemper.compare, retemper.linear.solve

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Adv. Eng. Softw. 4
       (1982) 75-76.

    Examples
    --------
    >>> import numpy as np
    >>> import retemper
    >>> from retemper.linear import LinearModel
    >>> model = LinearModel(50, np.ones(100) / 10, source_coef=np.full(100, 0.05), noise=0.1)
    >>> found = retemper.derivatives(model, ["noise", "source_coef"], "risk")
    >>> round(found["risk", "noise"], 9)  # 2 * noise * n / (d - n)
    0.2
    >>> found["risk", "source_coef"][:2].round(9)  # -2 * (1 - n / d) * (target - source)
    array([-0.05, -0.05])
    """
    solve = system_function(model, "solve")
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    wanted = _names(fields, "fields")
    known = [f.name for f in dataclasses.fields(model)]
    starts = {name: _start(model, name, known) for name in wanted}
    theory = solve(model, on_failure=on_failure, **options)
    names = _quantities(theory, quantities)
    shapes = {name: np.shape(getattr(theory, name)) for name in names}

    def flat(result: Any) -> FloatArray:
        return np.concatenate([np.ravel(getattr(result, n)).astype(float) for n in names])

    def values(field: str, value: Any) -> FloatArray:
        moved = dataclasses.replace(model, **{field: value})
        return flat(solve(moved, on_failure=on_failure, **options))

    here = flat(theory)
    slopes: dict[str, tuple[FloatArray, FloatArray]] = {}
    total, done = sum(start.size for start in starts.values()), 0
    with shown_progress(progress, "derivatives", "entries") as watch:
        for field, start in starts.items():
            columns = []
            for index in np.ndindex(start.shape):
                if watch is not None:
                    watch(done, total)
                done += 1
                columns.append(
                    _slope(model, field, start=start, index=index, values=values, here=here)
                )
            slopes[field] = (
                np.stack([c[0] for c in columns], axis=-1),
                np.stack([c[1] for c in columns], axis=-1),
            )
        if watch is not None:
            watch(total, total)

    found: list[dict[str, dict[str, Any]]] = [{name: {} for name in names} for _ in range(2)]
    for field, pair in slopes.items():
        at = 0
        for name, shape in shapes.items():
            width = math.prod(shape)
            for kept, array in zip(found, pair, strict=True):
                block = array[at : at + width].reshape(shape + starts[field].shape)
                kept[name][field] = block if block.ndim else float(block)
            at += width
    sizes = {
        (name, field): float(np.max(np.abs(getattr(theory, name)))) / (np.max(abs(start)) or 1.0)
        for name in names
        for field, start in starts.items()
    }
    _report(found, sizes, on_failure)
    return Derivatives(model, theory, *found)


def _names(given: Any, argument: str) -> list[str]:
    """One name, or several."""
    names = [given] if isinstance(given, str) else given
    listed = isinstance(names, Sequence | np.ndarray) and not isinstance(names, bytes)
    if not listed or not len(names) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} must be a name or a list of names, got {given!r}")
    return [str(name) for name in names]


def _start(model: Any, name: str, known: list[str]) -> FloatArray:
    """The value of a field, as an array of zero or one axes."""
    if name not in known:
        raise ValueError(f"fields names {name!r}, {type(model).__name__} has the fields {known}")
    word, value = find_word(name), getattr(model, name)
    if word is not None and word.domain is not None and word.domain.integer:
        raise ValueError(f"fields must be real numbers: {name} counts, it has no derivative")
    try:
        start = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        start = np.array(math.nan)
    if isinstance(value, str | bool) or start.ndim > 1 or not np.isfinite(start).all():
        raise TypeError(
            f"fields must be finite real numbers or vectors in the model, {name} is {value!r}"
        )
    return start


def _quantities(theory: Any, quantities: str | Sequence[str] | None) -> list[str]:
    """Fields of a theory to derive."""
    kinds = {f.name: getattr(theory, f.name) for f in dataclasses.fields(theory)}
    numbers = {
        name
        for name, value in kinds.items()
        if isinstance(value, float | np.floating | np.ndarray) and name not in _NOT_DERIVED
        and np.asarray(value).dtype.kind == "f"
    }  # fmt: skip
    if quantities is None:
        single = [name for name in kinds if name in numbers and np.ndim(kinds[name]) == 0]
        if not single:
            listed = sorted(name for name in numbers if np.size(kinds[name]))
            raise ValueError(
                f"quantities must be named: those of {type(theory).__name__} are arrays, {listed}"
            )
        return single
    names = _names(quantities, "quantities")
    for name in names:
        check_choice(name, "quantities", sorted(numbers))
    return names


def _slope(
    model: Any,
    field: str,
    *,
    start: FloatArray,
    index: tuple[int, ...],
    values: Callable[[str, Any], FloatArray],
    here: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Derivative with respect to one entry, and its error, (m,) each."""
    x, size = float(start[index]), float(np.sqrt(np.mean(start**2)))
    step = _STEP * (abs(x) or size or 0.2)

    def moved(offset: float) -> Any:
        if not start.ndim:
            return x + offset
        changed = start.copy()
        changed[index] += offset
        return changed

    def allowed(offset: float) -> bool:
        try:
            dataclasses.replace(model, **{field: moved(offset)})
        except (ValueError, TypeError):
            return False
        return True

    sides = [sign for sign in (1.0, -1.0) if allowed(sign * step)]
    while not sides and step > 1e-12:
        step /= 8.0
        sides = [sign for sign in (1.0, -1.0) if allowed(sign * step)]
    if not sides:
        raise ValueError(f"{field} = {x:g} leaves its domain on both sides")
    order = 2 if len(sides) == 2 else 1  # the power of the step by which the error falls

    best = np.full(here.shape, math.nan)
    error = np.full(here.shape, math.inf)
    above: list[NDArray[Any]] = []
    for _ in range(_LEVELS):
        ahead = values(field, moved(sides[0] * step))
        behind = values(field, moved(sides[1] * step)) if order == 2 else here
        width = moved(sides[0] * step)
        width = float(np.asarray(width)[index] if start.ndim else width) - x  # as it was rounded
        row = [(ahead - behind) / (order * width)]
        rounding = 4.0 * np.finfo(float).eps * np.maximum(abs(ahead), abs(behind)) / abs(width)
        for k, old in enumerate(above):
            gain = _RATIO ** (order * (k + 1))
            row.append((gain * row[k] - old) / (gain - 1.0))
            spread = np.maximum(abs(row[-1] - row[-2]), abs(row[-1] - old)) + rounding
            better = spread < error
            best, error = np.where(better, row[-1], best), np.where(better, spread, error)
        above = row
        step /= _RATIO
        if (error <= 1e-12 * abs(best) + rounding).all():
            break
    return best, error


def _report(
    found: list[dict[str, dict[str, Any]]],
    sizes: dict[tuple[str, str], float],
    on_failure: OnFailure,
) -> None:
    """Say which derivatives are not resolved: beside themselves and the size of the quantity."""
    values, errors = found
    poor = []
    for (name, field), size in sizes.items():
        unit = max(float(np.max(np.abs(values[name][field]))), 1e-6 * size)
        if not np.max(errors[name][field]) <= _RESOLVED * unit:
            poor.append((name, field))
    if not poor or on_failure == "ignore":
        return
    name, field = poor[0]
    message = (
        f"{len(poor)} derivatives are not resolved to a thousandth, the first is that of {name} "
        f"by {field}, {np.max(values[name][field]):.3g} with an error of "
        f"{np.max(errors[name][field]):.1g}: the theory has a jump or a kink near by, or the "
        f"derivative is infinite"
    )
    if on_failure == "raise":
        raise NumericalError(message)
    warnings.warn(message, ValidityWarning, stacklevel=3)
