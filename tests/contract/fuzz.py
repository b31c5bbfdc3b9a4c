"""Replaces one argument at a time of every documented call and looks at what comes of it.

    PYTHONPATH=python python -m tests.contract.fuzz            # every call, every value: the counts
    PYTHONPATH=python python -m tests.contract.fuzz linear -v  # one system, with the calls

The calls are those of the examples in the docstrings. A replaced argument must end in an error that
names it, in a finite result, or in a result with a warning or a flag. Everything else is a fault:

``unnamed``   an error that does not name the argument
``internal``  an error of a type that no caller should have to catch
``silent``    a result with NaN and without a warning or a flag
``endless``   a call still running after its time
"""

from __future__ import annotations

import argparse
import ast
import atexit
import collections
import contextlib
import copy
import dataclasses
import doctest
import inspect
import io
import re
import signal
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib import pyplot

import retemper

from .discover import public_objects

#: Seconds after which a call counts as endless, beyond the time of the call as documented.
PATIENCE = 2.0
#: Arguments left out: callables that change something of theirs, and free text.
HANDED_ON = {"progress", "callback", "ax", "name", "names", "verbose"}
#: They print, draw whole figures, train for minutes, or end the process.
SKIPPED = {
    "retemper.show_versions",
    "retemper.cli.main",
    "retemper.gallery.draw",
    "retemper.gallery.few_label_accuracies",
    "retemper.gallery.few_label_accuracy",
    "retemper.gallery.run_demo",
    "retemper.gallery.run_seeds",
}


#: Functions of numbers, entry by entry: NaN in, NaN out, as NumPy's own.
ELEMENTWISE = tuple(
    f"retemper.numerics.{name}"
    for name in ("acos", "asin", "erfc", "exp", "hazard", "log", "ndtr", "ndtri")
)


#: Where the examples write their files, and find them again.
WORKPLACE = tempfile.TemporaryDirectory(prefix="fuzz-")
#: Blocks ``with`` of the examples: their files live as long as the calls may be made.
OPEN = contextlib.ExitStack()
atexit.register(OPEN.close)


class Endless(BaseException):
    """The call did not come back in time."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of a public name in an example.

    Parameters
    ----------
    path : str
        Public name, with the method.
    function : callable
        What is called.
    args, kwargs : tuple, dict
        The arguments of the example.
    fit : dict or None
        The arguments of the fit that follows in the example: an estimator checks its own there.
    """

    path: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    fit: dict[str, Any] | None = None

    def bind(self) -> dict[str, Any]:
        """The arguments by name; those that were not given stay away."""
        bound = inspect.signature(self.function).bind(*self.args, **self.kwargs)
        named = dict(bound.arguments)
        for parameter in bound.signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                named.update(named.pop(parameter.name, {}))
            elif parameter.kind is parameter.VAR_POSITIONAL:
                named.pop(parameter.name, None)
        return {name: value for name, value in named.items() if name not in HANDED_ON}

    def run(self, named: dict[str, Any]) -> Any:
        """The call with other arguments, a method on a copy of its object."""
        positional = []
        named = {name: copied(value) for name, value in named.items()}
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in named:
                positional.append(named.pop(parameter.name))
            elif parameter.kind is parameter.VAR_POSITIONAL:
                continue
        return frozen(self.function)(*positional, **named)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one replaced argument."""

    path: str
    argument: str
    value: str
    fault: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.fault:9s} {self.path}({self.argument}={self.value}): {self.detail}"


def copied(value: Any) -> Any:
    """A copy of an argument, which a call may change; the argument where it has none."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def frozen(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method bound to a copy of its object as it is now."""
    holder = getattr(function, "__self__", None)
    if holder is None or inspect.isclass(holder):
        return function
    return getattr(copy.deepcopy(holder), function.__name__)


def owner(item: Any, homes: dict[int, str]) -> str | None:
    """Public name of what is called: a public object, or a method of one."""
    if id(item) in homes:
        return homes[id(item)]
    if isinstance(item, types.MethodType):
        holder = item.__self__ if inspect.isclass(item.__self__) else type(item.__self__)
        for base in holder.__mro__:
            if id(base) in homes and not item.__name__.startswith("_"):
                return f"{homes[id(base)]}.{item.__name__}"
    return None


def calls_of(path: str, item: object, homes: dict[int, str]) -> Iterator[Call]:
    """The calls of public names in the example of one object."""
    texts = [inspect.getdoc(item) or ""]
    if inspect.isclass(item):
        texts += [
            inspect.getdoc(m) or ""
            for n, m in vars(item).items()
            if not n.startswith("_") and callable(m)
        ]
    for text in texts:
        space: dict[str, Any] = dict(vars(sys.modules[item.__module__]))  # as doctest runs it
        for example in doctest.DocTestParser().get_examples(text):
            skipped = bool(example.options.get(doctest.SKIP))
            with contextlib.suppress(Exception):
                for statement in ast.parse(example.source).body:
                    yield from calls_of_statement(statement, space, homes, skipped)
            if skipped:
                break


def calls_of_statement(
    statement: ast.stmt, space: dict[str, Any], homes: dict[int, str], skipped: bool
) -> Iterator[Call]:
    """The calls of one statement that runs; a block ``with`` stays open until the process ends."""
    rest: list[Any] = []
    if isinstance(statement, ast.With):
        for item in statement.items:
            value = OPEN.enter_context(value_of(item.context_expr, space))
            assign(item.optional_vars, value, space)
    elif isinstance(statement, ast.For):
        first, *rest = value_of(statement.iter, space)
        assign(statement.target, first, space)
    else:
        found = []
        for node in calls_now(statement):
            with contextlib.suppress(Exception):
                found.append(read(node, space, homes))
        if not skipped:
            run([statement], space)
        yield from found
        return
    for inner in statement.body:
        yield from calls_of_statement(inner, space, homes, skipped)
    for value in rest:
        assign(statement.target, value, space)
        run(statement.body, space)


def assign(target: ast.expr | None, value: Any, space: dict[str, Any]) -> None:
    """Bind the names of a target, if there is one."""
    if target is not None:
        space["_value"] = value
        exec(f"{ast.unparse(target)} = _value", space)


def run(statements: list[ast.stmt], space: dict[str, Any]) -> None:
    """Run statements among the names of an example."""
    quiet(exec, compile(ast.Module(statements, type_ignores=[]), "<example>", "exec"), space)


def calls_now(node: ast.AST) -> Iterator[ast.Call]:
    """The calls that a statement makes itself, not those in the body of a function."""
    if isinstance(node, ast.Call):
        yield node
    # errors are expected in a block ``try``
    if not isinstance(node, ast.Lambda | ast.FunctionDef | ast.ClassDef | ast.Try):
        for child in ast.iter_child_nodes(node):
            yield from calls_now(child)


def value_of(part: ast.expr, space: dict[str, Any]) -> Any:
    """The value of an expression among the names of an example."""
    expression = ast.fix_missing_locations(ast.Expression(part))
    return eval(compile(expression, "<example>", "eval"), space)


def read(node: ast.Call, space: dict[str, Any], homes: dict[int, str]) -> Call:
    """The call that a node makes, its arguments evaluated."""

    function = value_of(node.func, space)
    path = owner(function, homes)
    if path is None or path in SKIPPED:
        raise LookupError
    function = frozen(function)
    listed = value_of(ast.List(node.args, ast.Load()), space)  # with what is starred
    args = tuple(copied(a) for a in listed)
    kwargs: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            kwargs.update(value_of(keyword.value, space))
        else:
            kwargs[keyword.arg] = copied(value_of(keyword.value, space))
    return Call(path, function, args, kwargs)


def documented_calls(pattern: str = "") -> dict[str, Call]:
    """One call of every public name, the one with the most arguments."""
    objects = public_objects()
    homes = {id(item): path for path, item in objects.items()}
    found: dict[str, Call] = {}
    for path, item in objects.items():
        if pattern not in path or path.startswith(ELEMENTWISE):
            continue
        for call in calls_of(path, item, homes):
            best = found.get(call.path)
            if best is None or len(call.bind()) > len(best.bind()):
                found[call.path] = call
    for path, call in found.items():
        if inspect.isclass(call.function) and f"{path}.fit" in found:
            found[path] = dataclasses.replace(call, fit=found[f"{path}.fit"].bind())
    return dict(sorted(found.items()))


def replacements(value: Any) -> Iterator[tuple[str, Any]]:
    """Other values in the place of one: of wrong type, size, order, kind."""
    yield "None", None
    yield "text", "nonsense"
    yield "object", object()
    if isinstance(value, bool | str) or value is None:
        yield "17", 17
        yield "list", [1.0, "a"]
        return
    if isinstance(value, int | float | np.number):
        for other in (0, -1, np.nan, np.inf, -np.inf, 5e-324, 1e300, -1e300, 2**63, True):
            yield repr(other), other
        yield "0.5", 0.5
        yield "list", [value, value]
        yield "complex", complex(value)
        return
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        number = value.astype(float)
        yield "scalar", 3.0
        yield "empty", number[:0]
        yield "transposed", np.asfortranarray(number)
        yield "more dimensions", number[None]
        yield "complex", number + 1j
        yield "objects", number.astype(object)
        yield "texts", number.astype(str)
        yield "masked", np.ma.masked_array(number, mask=np.zeros(number.shape, bool))
        yield "backwards", number[::-1]
        for name, entry in (
            ("nan", np.nan),
            ("inf", np.inf),
            ("1e300", 1e300),
            ("5e-324", 5e-324),
        ):
            changed = number.copy()
            if changed.size:
                changed.flat[0] = entry
            yield f"one {name}", changed
            yield f"all {name}", np.full_like(number, entry)
        yield "constant", np.ones_like(number)
        yield "one row", number[:1]
        if number.ndim == 2:
            import scipy.sparse

            yield "sparse", scipy.sparse.csr_array(number)
            yield "one column", number[:, :1]
            yield "flat", number.ravel()
        yield "float16", np.clip(number, -6e4, 6e4).astype(np.float16)
        return
    if isinstance(value, list | tuple):
        yield "scalar", 3.0
        yield "empty", value[:0]
        yield "one None", [None, *value[1:]]
        yield "nan", [np.nan] * max(1, len(value))
        return
    yield "17", 17
    yield "empty list", []
    yield "empty dict", {}


def has_nan(value: Any, depth: int = 0) -> bool:
    """Whether a number in a result is NaN. Flagged points (``valid``, a status) may be."""
    if depth > 4:
        return False
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "f" and bool(np.isnan(value).any())
    if isinstance(value, list | tuple):
        return any(has_nan(v, depth + 1) for v in value)
    if isinstance(value, dict):
        return any(has_nan(v, depth + 1) for v in value.values())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "valid") and not np.all(value.valid):
            return False
        return any(
            has_nan(getattr(value, f.name, None), depth + 1) for f in dataclasses.fields(value)
        )
    return False


def is_plain_record(function: object) -> bool:
    """Whether a call only puts its arguments side by side: whoever reads the record checks."""
    if not isinstance(function, type):
        return False
    is_free = dataclasses.is_dataclass(function) and not hasattr(function, "__post_init__")
    return issubclass(function, tuple) or is_free


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `Endless` inside the block; kernels look for signals."""

    def ring(*_: Any) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def quiet(function: Callable[..., Any], *args: Any) -> tuple[Any, list[warnings.WarningMessage]]:
    """What a call returns, and its warnings; figures are closed."""
    with (
        contextlib.chdir(WORKPLACE.name),
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("always")
        try:
            return function(*args), caught
        finally:
            pyplot.close("all")


def call_and_fit(call: Call, named: dict[str, Any]) -> Any:
    """An estimator checks its parameters when it fits."""
    result = call.run(named)
    return result if call.fit is None else result.fit(**copied(call.fit))


def names(message: str, argument: str) -> bool:
    """Whether a message names the argument, or its plural or singular."""
    stem = argument.rstrip("_")
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(stem)}(?![A-Za-z0-9])", message) is not None


def judge(call: Call, argument: str, label: str, value: Any, patience: float) -> Outcome | None:
    """The fault that one replaced argument leads to, or None."""
    named = call.bind() | {argument: value}
    holder = getattr(call.function, "__self__", None)
    fixed = holder.get_params(deep=False) if hasattr(holder, "get_params") else {}
    known_names = {argument, *named, *fixed}  # two shapes that disagree are named by either

    def outcome(fault: str, detail: str = "") -> Outcome:
        return Outcome(call.path, argument, label, fault, detail.replace("\n", " ")[:160])

    try:
        with time_limit(patience):
            result, caught = quiet(lambda: call_and_fit(call, named))
    except Endless:
        return outcome("endless")
    except (ValueError, TypeError, retemper.exceptions.NumericalError) as error:
        text = str(error)
        if any(names(text, known) for known in known_names):
            return None
        if argument == "path" and isinstance(value, str) and value in text:
            return None  # a file is known by its own name
        return outcome("unnamed", f"{type(error).__name__}: {text}")
    except (ImportError, OSError, SystemExit) as error:  # a missing extra, a missing file, usage
        return None if str(error) else outcome("unnamed", type(error).__name__)
    except KeyError as error:
        return None if names(str(error), argument) else outcome("internal", f"KeyError: {error}")
    except Exception as error:
        return outcome("internal", f"{type(error).__name__}: {error}")
    if not caught and has_nan(result) and not is_plain_record(call.function):
        return outcome("silent", "NaN in the result without a warning")
    return None


def faults(call: Call, patience: float = PATIENCE) -> tuple[list[Outcome], int]:
    """Every fault of one call, and the number of values tried."""
    named = call.bind()
    began = time.perf_counter()
    try:
        with time_limit(600):  # a busy machine is slow
            reference, _ = quiet(lambda: call_and_fit(call, call.bind()))
    except Exception:  # stands on what its example did before
        return [], 0
    patience += 3 * (time.perf_counter() - began)
    tolerated = has_nan(reference)
    found, tried = [], 0
    for name, value in named.items():
        for label, other in replacements(value):
            tried += 1
            outcome = judge(call, name, label, other, patience)
            if outcome is not None and not (tolerated and outcome.fault == "silent"):
                found.append(outcome)
    return found, tried


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pattern", nargs="?", default="", help="part of a public name")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every fault")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    tried = 0
    calls = documented_calls(options.pattern)
    for path, call in calls.items():
        began = time.perf_counter()
        found, number = faults(call)
        tried += number
        counts.update(o.fault for o in found)
        if found or options.verbose:
            print(
                f"{path}: {len(found)} of {number} in {time.perf_counter() - began:.1f} s",
                flush=True,
            )
        if options.verbose:
            for outcome in found:
                print("   ", outcome, flush=True)
    print(f"{len(calls)} calls, {tried} replaced arguments, faults: {dict(counts) or 'none'}")
    sys.exit(bool(counts))


if __name__ == "__main__":
    main()
