"""Names, citations, results and pickles of everything public."""

import dataclasses
import importlib
import inspect
import pickle
from pathlib import Path

import pytest

import retemper

from .discover import PACKAGE, public_modules, public_objects, systems


@pytest.mark.parametrize("module", public_modules(), ids=lambda m: m.__name__)
def test_all_is_sorted_and_resolves(module):
    if module.__name__ == "retemper.cli":
        return
    names = module.__all__
    assert list(names) == sorted(names)
    for name in names:
        assert getattr(module, name) is not None
    assert module.__doc__


@pytest.mark.parametrize("system", systems())
def test_triad_and_shared_field_names(system):
    module = importlib.import_module(f"retemper.{system}")
    for verb in ("solve", "simulate", "compare", "curve"):
        assert inspect.isfunction(getattr(module, verb)), verb
    for name in getattr(module, "MODELS", (f"{system.capitalize()}Model",)):
        noun = name.removesuffix("Model")
        model, theory, sample = (
            getattr(module, f"{noun}{role}") for role in ("Model", "Theory", "Simulation")
        )
        assert dataclasses.is_dataclass(model)
        assert model.__dataclass_params__.frozen
        theory_names = {f.name for f in dataclasses.fields(theory)}
        sample_names = {f.name for f in dataclasses.fields(sample)}
        for needed in ("model", "status", "n_iter", "residual", "message"):
            assert needed in theory_names
            assert needed in sample_names
        assert "stderr" in sample_names
        assert len(theory_names & sample_names) > 6


@pytest.mark.parametrize("system", systems())
def test_citation_of_a_system(system):
    module = importlib.import_module(f"retemper.{system}")
    for obj in (module, module.solve):
        text = retemper.citation(obj)
        assert text.startswith("@")
        assert text.count("{") == text.count("}")


def test_citation_refuses_strangers():
    with pytest.raises(ValueError, match="part of retemper"):
        retemper.citation(len)
    with pytest.raises(ValueError, match=r"not its name.*, got 'widenet'"):
        retemper.citation("widenet")


def test_citation_of_the_library_itself():
    text = retemper.citation(retemper)
    assert text.startswith("@software{retemper,")
    assert f"version = {{{retemper.__version__}}}" in text
    assert retemper.citation(retemper.datasets) == text
    assert text.count("{") == text.count("}")
    cited = (Path(__file__).parents[2] / "CITATION.cff").read_text()
    assert 'title: "retemper: theory of pre-training and fine-tuning that people can run"' in cited
    assert "repository-code: https://github.com/retemper/retemper\n" in cited


def test_show_versions_prints_level_and_threads(capsys):
    retemper.show_versions()
    shown = capsys.readouterr().out
    for word in ("retemper", "level", "openmp", "threads", "eigen", "numpy"):
        assert word in shown


def test_lazy_attributes():
    assert "linear" in dir(retemper)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        retemper.nonsense  # noqa: B018
    assert (PACKAGE / "py.typed").exists()


def test_status_equals_the_core():
    from retemper._dispatch import core
    from retemper._results import Status

    assert [s.value for s in Status] == [name for name, _ in core.core.status_list()]
    assert all(s.sentence for s in Status)
    assert Status.from_core(1) is Status.MAX_ITER


@pytest.mark.parametrize("name", public_objects())
def test_classes_and_functions_pickle_by_name(name):
    item = public_objects()[name]
    assert pickle.loads(pickle.dumps(item)) is item
