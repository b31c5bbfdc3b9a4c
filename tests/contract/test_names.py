"""Public names lead to what they name, whatever was imported before, and call alike everywhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from enum import Enum
from importlib.util import find_spec

import numpy as np
import pytest

import retemper

from .discover import PACKAGE, public_modules, public_objects, sources, systems

SYSTEMS = systems()
#: Needs PyTorch, or is made by the build.
SKIPPED = {"retemper.phases.torch"}


def all_modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(retemper.__path__, "retemper.")]
    return [
        m for m in found if m not in SKIPPED and not m.split(".")[1].startswith(("_core", "_cpu"))
    ]


MODULES = all_modules()
FUNCTIONS = {name for name, item in public_objects().items() if inspect.isfunction(item)}


@pytest.mark.parametrize("module", ["retemper", *(m.__name__ for m in public_modules())])
def test_no_module_bears_the_name_of_a_public_object(module):
    parent = importlib.import_module(module)
    if not hasattr(parent, "__path__"):
        return
    for name in parent.__all__:
        if not inspect.ismodule(getattr(parent, name)):
            assert find_spec(f"{module}.{name}") is None, f"{module}.{name} is a module too"


def wrong_after(first: str) -> list[str]:
    """What a fresh interpreter that imports ``first`` finds that is no function."""
    importlib.import_module(first)
    found = importlib.import_module("retemper")
    wrong = []
    for path in sorted(FUNCTIONS):
        steps = path.split(".")[1:]
        item = found
        if steps[0] not in found.__all__:  # a module that must be imported by name
            item = importlib.import_module(f"retemper.{steps.pop(0)}")
        for step in steps:
            item = getattr(item, step)
        if not callable(item):
            wrong.append(path)
            continue
        needed = [
            p
            for p in inspect.signature(item).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if needed:
            try:
                item()
            except TypeError as error:
                if "missing" not in str(error):
                    wrong.append(f"{path}: {error}")
    return wrong


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("first", MODULES)
def test_every_function_is_callable_whatever_was_imported_first(first):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # as a fresh interpreter sees it: nothing of ours is loaded, what it stands on may be
        code = 1
        try:
            os.close(reader)
            core = {m: sys.modules[m] for m in sys.modules if m.startswith("retemper._co")}
            for name in [m for m in sys.modules if m.split(".")[0] == "retemper"]:
                del sys.modules[name]
            sys.modules.update(core)  # extension modules cannot be loaded twice
            with os.fdopen(writer, "w") as stream:
                stream.write("\n".join(wrong_after(first)))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as stream:
        wrong = stream.read()
    assert os.waitpid(child, 0)[1] == 0
    assert not wrong


def job(n):
    from retemper.linear import LinearModel, simulate

    theta = np.ones(5) / 5
    advice = retemper.advise(X, y, sources={"s": theta}, task="regression", n_jobs=1)
    risk = simulate(LinearModel(n, theta, source_coef=theta), n_repeats=2, n_jobs=1).risk
    return advice.n_samples, risk


rng = np.random.default_rng(0)
X = rng.normal(size=(20, 5))
y = X.sum(axis=1) + rng.normal(size=20)


@pytest.mark.slow
def test_functions_travel_to_workers():
    from joblib import Parallel, delayed

    sources = {"s": np.ones(5) / 5}
    direct = Parallel(n_jobs=2)(
        delayed(retemper.advise)(X, y, sources=sources, task="regression", n_jobs=1)
        for _ in range(2)
    )
    assert [a.n_samples for a in direct] == [20, 20]
    inside = Parallel(n_jobs=2)(delayed(job)(n) for n in (3, 4))
    assert [n for n, _ in inside] == [20, 20]


def test_no_private_name_crosses_files():
    wrong = []
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("retemper"):
                for alias in node.names:
                    private = alias.name.startswith("_") and not alias.name.startswith("__")
                    if private and find_spec(f"{node.module}.{alias.name}") is None:
                        wrong.append(f"{file.relative_to(PACKAGE)}: {node.module}.{alias.name}")
    assert not wrong


def test_no_lazy_loader_writes_its_globals():
    wrong = [
        str(file)
        for file in sources()
        if any(
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == "globals()"
            for node in ast.walk(ast.parse(file.read_text()))
        )
    ]
    assert not wrong


#: Parameters before the first keyword-only one, in every system.
POSITIONAL = {
    "solve": ["model"],
    "simulate": ["model"],
    "compare": ["model"],
    "curve": ["model", "axes"],
}
#: Data of a system whose theory is for given data: after those, the same in each call.
DATA = {"widenet": ["target", "source", "test"]}
#: One spelling and one default for every option that several calls share.
DEFAULTS = {
    "on_failure": "warn",
    "random_state": 0,
    "n_jobs": None,
    "progress": None,
}


@pytest.mark.parametrize("verb", POSITIONAL)
@pytest.mark.parametrize("system", SYSTEMS)
def test_same_call_in_every_system(system, verb):
    function = getattr(importlib.import_module(f"retemper.{system}"), verb)
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == POSITIONAL[verb] + DATA.get(system, [])
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if verb in ("simulate", "compare"):
        assert {"random_state", "n_jobs", "progress"} <= options
    if verb in ("solve", "curve"):
        assert "on_failure" in options
    if verb == "curve":
        assert "quantities" in options
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters)


@pytest.mark.parametrize("name", public_objects())
def test_options_have_one_default(name):
    try:
        parameters = inspect.signature(public_objects()[name]).parameters
    except (TypeError, ValueError):
        return
    for option, default in DEFAULTS.items():
        if option in parameters and parameters[option].default is not inspect.Parameter.empty:
            assert parameters[option].default == default, f"{name}({option}=)"


@pytest.mark.parametrize("name", [n for n in public_objects() if n.endswith("Display")])
def test_displays_compute_and_draw_alike(name):
    cls = public_objects()[name]
    assert any(n.startswith("from_") for n in vars(cls)), f"{name} has no from_*"
    assert list(inspect.signature(cls.plot).parameters)[1:2] == ["ax"]
    assert inspect.signature(cls.plot).parameters["ax"].default is None


#: Functions that solve an equation for the rows as they are given: no intercept unless asked for.
WITHOUT_INTERCEPT = {
    "retemper.diagonal.gradient_flow",
    "retemper.diagonal.leave_one_out",
    "retemper.diagonal.minimum_penalty",
    "retemper.linear.relu_network_fit",
}


def test_an_intercept_is_fitted_by_default():
    """As in scikit-learn; the exceptions say in their docstrings that they are."""
    objects = public_objects()
    defaults = {
        name: parameters["fit_intercept"].default
        for name, item in objects.items()
        if not issubclass(item if inspect.isclass(item) else object, BaseException | Enum)
        and "fit_intercept" in (parameters := inspect.signature(item).parameters)
    }
    assert len(defaults) > 10
    assert {name for name, default in defaults.items() if default is not True} == WITHOUT_INTERCEPT
    for name in WITHOUT_INTERCEPT:
        assert defaults[name] is False
        assert inspect.isfunction(objects[name])
        said = " ".join(inspect.getdoc(objects[name]).split())
        assert "as they are given" in said or "as in `minimum_penalty`" in said, name
