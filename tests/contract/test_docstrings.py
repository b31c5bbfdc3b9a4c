"""Public docstrings are complete numpydoc, say where the mathematics is from, and are sound."""

import inspect

import pytest

from .discover import public_objects, systems

# numpydoc's codes that are matters of taste here
IGNORED = {
    "GL01",  # summary on the first line: our style
    "SS05",  # infinitive verb
    "SS06",  # one-line summary
    "ES01",  # extended summary
    "EX01",  # an example in every function
    "SA01",  # see also
    "SA04",
    "PR06",  # "array" for the type name
    "PR08",
    "PR09",
    "RT02",
    "RT03",
    "RT04",
    "RT05",
    "YD01",
    "GL08",  # methods without docstrings: ruff's D rules decide
}
NEEDS_SOURCE = tuple(f"retemper.{system}." for system in systems())

objects = public_objects()


def test_there_are_public_objects():
    assert len(objects) > 20


@pytest.mark.parametrize("name", objects)
def test_numpydoc(name):
    from numpydoc.validate import validate

    item = objects[name]
    path = f"{item.__module__}.{item.__qualname__}"
    problems = [(c, t) for c, t in validate(path)["errors"] if c not in IGNORED]
    assert not problems, f"{name}: {problems}"


@pytest.mark.parametrize("name", objects)
def test_every_parameter_is_described(name):
    item = objects[name]
    doc = inspect.getdoc(item) or ""
    assert doc, f"{name} has no docstring"
    try:
        signature = inspect.signature(item)
    except (TypeError, ValueError):
        return
    for parameter in signature.parameters:
        if parameter not in {"self", "args", "kwargs", "value", "names", "module"}:
            assert parameter in doc, f"{name}: {parameter} is not described"


@pytest.mark.parametrize("name", [n for n in objects if n.startswith(NEEDS_SOURCE)])
def test_mathematics_names_its_source(name):
    item = objects[name]
    doc = (inspect.getdoc(item) or "").lower()
    if name.endswith(("Display", "Result", "curve", "compare")):
        return
    assert "derived here" in doc or "references" in doc or "see `" in doc, f"{name}: no source"
