"""Public docstrings are complete numpydoc, say where the mathematics is from, and are sound."""

import importlib
import inspect
import re

import pytest
from docs._ext.pages import public

import retemper

from .discover import public_objects, systems

# numpydoc's codes that are matters of taste here
IGNORED = {
    "GL01",  # summary on the first line: our style
    "SS05",  # infinitive verb
    "SS06",  # one-line summary
    "ES01",  # extended summary
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

#: Ours; `NotFittedError` is scikit-learn's own.
objects = {k: v for k, v in public_objects().items() if v.__module__.startswith("retemper")}
COMMAND = "retemper.cli.main"  # has no page


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
def test_related_objects_exist(name):
    item = objects[name]
    doc = inspect.getdoc(item) or ""
    text = re.search(r"^See Also\n-+\n(.*?)(?:\n\n|\Z)", doc, re.M | re.S)[1]
    names = re.findall(r"[\w.]+", " ".join(re.findall(r"^(\S.*?)(?: :|$)", text, re.M)))
    assert names
    home = next(i for i in public().values() if i.value is item) if name != COMMAND else None
    for other in names:
        full = other if other.startswith("retemper.") else f"{home.home}.{other}"
        assert full in public(), f"{name}: no {other}"
        assert public()[full].value is not item, f"{name} points to itself"


def test_nearly_every_example_runs():
    left_out = [n for n, item in objects.items() if "+SKIP" in (inspect.getdoc(item) or "")]
    assert left_out == [  # a minute each, or half
        "retemper.gallery.digits_advice",
        "retemper.gallery.run_conv",
        "retemper.gallery.run_demo",
        "retemper.gallery.run_seeds",
    ]


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


def names_source(doc, home, seen=()):
    """Whether a docstring says where its mathematics is from, itself or where it points to."""
    if "derived here" in doc.lower() or re.search(r"^References\n-+$", doc, re.M):
        return True
    for target in re.findall(r"[Ss]ee `~?([\w.]+)`", doc):
        item = resolve(target, home)
        if item is not None and target not in seen:
            there = inspect.getdoc(item) or ""
            if names_source(there, inspect.getmodule(item), (*seen, target)):
                return True
    return False


def resolve(target, home):
    """The object of a reference, as seen from a module or from its subpackage."""
    package = importlib.import_module(".".join(home.__name__.split(".")[:2]))
    for place in (home, package):
        item = place
        for step in target.split("."):
            item = retemper if step == "retemper" else getattr(item, step, None)
        if item is not None:
            return item
    return None


def test_a_reference_counts_only_if_it_leads_to_a_source():
    from retemper import linear

    home = inspect.getmodule(linear.solve)
    assert names_source("Derived here.", home)
    assert names_source("See `solve` for the equations.", home)
    assert not names_source("See `nothing` for the equations.", home)
    assert not names_source("See `", home)
    assert not names_source("See `number`.", importlib.import_module("retemper._text"))


@pytest.mark.parametrize("name", [n for n in objects if n.startswith(NEEDS_SOURCE)])
def test_mathematics_names_its_source(name):
    item = objects[name]
    if name.endswith(("Display", "Result", "curve", "compare")):
        return
    assert names_source(inspect.getdoc(item) or "", inspect.getmodule(item)), f"{name}: no source"
