"""One word, one meaning: every public name is in the table, inside its systems and its domain."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import math
import re
import sys

import numpy as np
import pytest

from retemper._domains import SECTIONS, WORDS, Domain, check_parameter, find_word

from .discover import ROOT, public_objects, sources, systems

#: Names that the table cannot explain, each with its reason.
EXCEPTIONS: dict[str, str] = {}
#: Rooms in which mathematics is general: their words are those of their functions.
GENERAL = ("numerics", "exceptions")


def attributes(item) -> list[str]:
    """Names in the Attributes section of a docstring."""
    doc = inspect.getdoc(item) or ""
    section = re.search(r"^Attributes\n-+\n(.*?)(\n\n\w[\w ]*\n-+|\Z)", doc, re.S | re.M)
    if not section:
        return []
    heads = re.findall(r"^(\w[\w, ]*) :", section.group(1), re.M)
    return [name.strip() for head in heads for name in head.split(",")]


def names_of(item) -> set[str]:
    """Parameters, fields and attributes of a public object."""
    found: set[str] = set()
    with contextlib.suppress(TypeError, ValueError):
        found |= set(inspect.signature(item).parameters)
    if inspect.isclass(item):
        found |= set(attributes(item))
        for key, method in vars(item).items():
            own = getattr(method, "__func__", method)
            if not key.startswith(("_", "set_")) and inspect.isfunction(own):
                found |= set(inspect.signature(own).parameters)
        if dataclasses.is_dataclass(item):
            found |= {f.name for f in dataclasses.fields(item)}
    return {
        n for n in found if not n.startswith("_") and n not in {"self", "cls", "args", "kwargs"}
    }


OBJECTS = {
    name: item
    for name, item in public_objects().items()
    if name.split(".")[1] not in GENERAL
}  # fmt: skip


def home(item) -> str:
    return item.__module__.split(".")[1]


def test_the_list_of_exceptions_is_short():
    assert len(EXCEPTIONS) <= 5


@pytest.mark.parametrize("name", OBJECTS)
def test_every_name_is_in_the_table(name):
    unknown = sorted(
        n for n in names_of(OBJECTS[name]) if find_word(n) is None and n not in EXCEPTIONS
    )
    assert not unknown, f"{name}: {unknown}"


@pytest.mark.parametrize("name", [n for n in OBJECTS if home(OBJECTS[n]) in systems()])
def test_a_word_of_one_system_is_not_used_in_another(name):
    room = home(OBJECTS[name])
    foreign = {}
    for each in names_of(OBJECTS[name]):
        word = find_word(each)
        if word is not None and word.systems and room not in word.systems:
            foreign[each] = f"{word.name} of {word.systems}"
    assert not foreign


def test_a_word_stands_once_and_is_used():
    names = [word.name for words in SECTIONS.values() for word in words]
    assert len(names) == len(set(names)) == len(WORDS)
    used = {find_word(n).name for item in OBJECTS.values() for n in names_of(item) if find_word(n)}
    unused = sorted(set(names) - used)
    assert not unused


def test_every_word_has_a_meaning_and_a_unit():
    assert [w.name for w in WORDS.values() if len(w.meaning) < 4 or not w.unit] == []


DOMAINS = {name: word.domain for name, word in WORDS.items() if word.domain is not None}


@pytest.mark.parametrize(
    "domain",
    [
        *DOMAINS.values(),
        Domain(),
        Domain(-2.5, 1e-300, open_low=True, open_high=True),
        Domain(-1.0, allow_inf=True),
        Domain(-3, 8, integer=True),
    ],
    ids=str,
)
def test_a_domain_is_read_as_it_prints(domain):
    assert Domain.read(str(domain)) == domain


def test_every_domain_is_checked_somewhere():
    code = "\n".join(file.read_text() for file in sources())
    fields = {f.name for model in MODELS.values() for f in dataclasses.fields(model)}
    assert [n for n in DOMAINS if f'"{n}"' not in code and n not in fields] == []


def test_grammar():
    assert find_word("gain_low") is WORDS["gain"]
    assert find_word("loo_") is WORDS["loo"]
    assert find_word("ridges_") is WORDS["ridge"]
    assert find_word("n_wonders").meaning == "number of wonders"
    assert find_word("nonsense") is None
    assert find_word("nonsense_stderr") is None


MODELS = {
    name: getattr(importlib.import_module(f"retemper.{system}"), name)
    for system in systems()
    for name in importlib.import_module(f"retemper.{system}").__all__
    if name.endswith("Model")
}
ARGUMENTS = {
    "LinearModel": {"n_samples": 10, "theta_target": np.ones(4)},
    "DiagonalModel": {"alpha": 0.5},
    "PerceptronModel": {"kappa": 1.0, "alpha_u": 1.0},
    "GLMModel": {"alpha": 1.0},
    "ERMModel": {"alpha": 1.0},
    "WideNetModel": {"width": 100},
    "FeatureModel": {"n_classes": 3, "signal": [1.0], "class_noise": [1.0]},
    "LogisticModel": {"variances": [1.0], "mean": [1.0], "w0": [0.1]},
    "DeepLinearModel": {"spectrum": [1.0], "signal": [0.5]},
    "TwoLayerModel": {
        "spectrum": [1.0],
        "teacher": [[1.0]],
        "W0": [[0.1]],
        "readout0": [1.0],
        "step_size": 0.5,
    },
}


def outside(domain: Domain) -> list[object]:
    """Values just outside a domain, and of other kinds."""
    if domain.choices is not None:
        return ["nonsense", 3.5]
    out: list[object] = ["text", math.nan, [1.0]]
    if math.isfinite(domain.low):
        out.append(domain.low if domain.open_low else domain.low - 1)
    if math.isfinite(domain.high):
        out.append(domain.high if domain.open_high else domain.high * 2 + 1)
    if not domain.allow_inf:
        out.append(math.inf)
    return out


CASES = [
    (name, f.name, bad)
    for name, model in MODELS.items()
    for f in dataclasses.fields(model)
    if f.name in WORDS and WORDS[f.name].domain is not None
    for bad in outside(WORDS[f.name].domain)
]


def test_there_are_domains_to_check():
    assert len(CASES) > 60
    assert set(MODELS) == set(ARGUMENTS)


@pytest.mark.parametrize(("model", "field", "bad"), CASES)
def test_a_model_refuses_what_is_outside_the_domain(model, field, bad):
    with pytest.raises((ValueError, TypeError)) as caught:
        MODELS[model](**{**ARGUMENTS[model], field: bad})
    message = str(caught.value)
    assert field in message, message
    if isinstance(bad, float) and math.isfinite(bad):
        assert f"{bad:g}" in message or str(bad) in message, message


def test_check_parameter_names_argument_value_and_domain():
    assert check_parameter(2, "kappa") == 2.0
    assert check_parameter(math.inf, "depth") == math.inf
    with pytest.raises(ValueError, match=r"kappa must lie in \[0, 30\], got 31.0"):
        check_parameter(31.0, "kappa")
    with pytest.raises(ValueError, match="prior must be one of 'binary', 'sphere'; got 'cube'"):
        check_parameter("cube", "prior")


def test_the_conventions_page_is_the_table():
    from docs._ext.pages import vocabulary  # the page is made by this function

    page = (ROOT / "docs" / "conventions.md").read_text()
    assert vocabulary() in page, "run `python docs/_ext/pages.py` to make the page anew"


def removed_names() -> list[str]:
    """Names in the first column of the table of renames that mean nothing any more."""
    text = (ROOT / "CHANGELOG.md").read_text()
    table = text[text.index("### Renamed") : text.index("### Numbers")]
    old = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    words = {
        word for cell in old for word in re.findall(r"[A-Za-z]\w*_\w*|retemper(?:\.\w+)+", cell)
    }
    here = {n for item in OBJECTS.values() for n in names_of(item)}
    here |= {name.rsplit(".", 1)[1] for name in OBJECTS}
    here |= {word for name in OBJECTS for word in [name, name.rsplit(".", 1)[0]]}
    return sorted(w for w in words - here if len(w) > 5)


def test_there_are_removed_names():
    assert {"loo_mse_", "T_source", "as_frame", "retemper.demo"} <= set(removed_names())


@pytest.mark.parametrize("word", removed_names())
def test_docs_do_not_use_a_removed_name(word):
    if word in sys.modules:
        return  # the module is still there, with other contents
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("systems/*.md")]
    pages += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "examples").rglob("*.py")]
    pattern = re.compile(rf"(?<![\w.]){re.escape(word)}(?!\w)")
    assert [str(p.relative_to(ROOT)) for p in pages if pattern.search(p.read_text())] == []
