"""Every public object has a page, and names in prose lead to it."""

from __future__ import annotations

import re

import pytest
from docs._ext.pages import (
    FOLDERS,
    MODULES,
    VERSIONS,
    known_word,
    place_in_repository,
    public,
    resolve,
    room_of,
    uses,
    write_api,
)

import retemper

from .discover import ROOT, public_objects, sources, systems

PROSE = sorted(p for folder in FOLDERS for p in ROOT.glob(f"docs/{folder}*.md"))


@pytest.mark.parametrize(
    ("code", "room", "target"),
    [
        ("retemper.linear.solve", None, "retemper.linear.solve"),
        ("solve(model)", "diagonal", "retemper.diagonal.solve"),
        ("solve(...).risk_bound", "linear", "retemper.linear.solve"),
        ("LinearTransferReport(sources).fit(X, y)", None, "retemper.linear.LinearTransferReport"),
        ("PhaseMonitor.observe", None, "retemper.phases.PhaseMonitor"),
        ("retemper.estimators.FineTunedLasso", None, "retemper.linear.FineTunedLasso"),
        ("retemper.widenet", None, "retemper.widenet"),
        ("advise", None, "retemper.advise"),
        ("compare", "widenet", "retemper.widenet.compare"),
        ("solve", None, None),  # of which system?
        ("exp", None, None),  # a plain word
        ("np.exp(x)", None, None),
        ("advice.estimator_", None, None),
        ("retemper sweep FILE", None, None),
        ("", None, None),
    ],
)
def test_names_resolve(code, room, target):
    assert resolve(code, room) == target


def test_words_of_the_vocabulary_are_known():
    assert known_word("ridge") == known_word("ridge_") == known_word('ridge="loo"') == "ridge"
    assert known_word("model.n_samples") == "n_samples"
    assert known_word("np.exp") is None
    assert known_word("0.05") is None
    assert known_word("fit") is None  # the method, not the word


def test_rooms_of_pages():
    assert room_of("systems/linear") == room_of("gallery/linear/plot_x") == "linear"
    assert room_of("generated/api/retemper.linear.solve") == "linear"
    assert room_of("networks") == "networks"
    assert room_of("guide") is None


def test_every_public_object_has_a_page(tmp_path):
    folder = tmp_path / "docs" / "generated" / "api"
    folder.mkdir(parents=True)
    (folder / "retemper.gone.rst").write_text("left from a build before\n")
    write_api(folder)
    pages = {path.stem for path in folder.glob("*.rst")}
    assert len({p.lower() for p in pages}) == len(pages)  # file systems without capitals
    text = {p: (folder / f"{p}.rst").read_text() for p in pages}
    documented = set(re.findall(r"^\.\. auto\w+:: (\S+)", "\n".join(text.values()), re.M))
    assert documented == {i.target for i in public().values()} | set(MODULES)
    shown = {id(item.value) for item in public().values()}
    hidden = [name for name, value in public_objects().items() if id(value) not in shown]
    assert hidden == ["retemper.cli.main"]  # the command
    for module in MODULES:
        for page in re.findall(r"^   (retemper[\w.-]+)$", text[module], re.M):
            assert page in pages
    assert "retemper.gone" not in pages


def test_pages_that_use_an_object_are_listed():
    found = uses(ROOT / "docs")
    assert ":doc:`/systems/linear`" in found["retemper.linear.solve"]
    assert ":doc:`/guide`" in found["retemper.phases.phase_forecast"]
    assert any("/gallery/diagonal/" in use for use in found["retemper.diagonal.curve"])


def test_full_names_in_prose_exist():
    wrong = []
    for path in PROSE:
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
        for code in re.findall(r"`(retemper\.[\w.]+)[^`\n]*`", text):
            if resolve(code) is None:
                wrong.append(f"{path.name}: {code}")
    assert wrong == []


TABLE_OF_TESTS = "## Limits and the tests that check them"


def sections(page: str) -> set[str]:
    """Anchors of the headings of a page, as MyST makes them."""
    from myst_parser.mdit_to_docutils.base import default_slugify

    titles = re.findall(r"^#+ (.*)$", (ROOT / "docs" / f"{page}.md").read_text(), re.M)
    return {default_slugify(re.sub(r"[`*$]", "", title)) for title in titles}


def test_what_is_derived_here_names_the_section_that_derives_it():
    pytest.importorskip("myst_parser", reason="needs the extra retemper[docs]")
    wrong = []
    for path in sources():
        text = re.sub(r"\s+", " ", path.read_text())
        for rest in re.findall(r"[Dd]erived here(.{0,80})", text):
            place = re.match(r" ?[:(]* ?`([a-z/]+)#([\w-]+)`", rest)
            if place is None or place[2] not in sections(place[1]):
                wrong.append(f"{path.name}: derived here{rest}")
    assert wrong == []


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_tests_named_on_a_page_exist(path):
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text())
    for file, function in named:
        text = (ROOT / file).read_text()
        assert not function or f"def {function}(" in text, f"{file}::{function}"


@pytest.mark.parametrize("system", [*systems(), "numerics"])
def test_every_derivation_defines_symbols_states_assumptions_and_is_checked(system):
    text = (ROOT / "docs" / "derivations" / f"{system}.md").read_text()
    symbols = text[text.index("## Symbols") : text.index("## Assumptions")]
    assert "| symbol | meaning | in code |" in symbols
    checked = text[text.index(TABLE_OF_TESTS) :]
    assert checked.count("`tests/") >= 5
    assert text.count("$$") >= 2 or system == "numerics"


@pytest.mark.parametrize("system", systems())
def test_every_system_page_shows_its_equation_a_picture_and_leads_to_the_derivation(system):
    text = (ROOT / "docs" / "systems" / f"{system}.md").read_text()
    assert "$$" in text
    assert f"(../derivations/{system}.md)" in text
    drawn = re.findall(
        r"^```\{figure\} \.\./gallery/(\w+)/images/sphx_glr_(\w+)_001\.png", text, re.M
    )
    assert drawn
    for folder, script in drawn:
        assert (ROOT / "examples" / folder / f"{script}.py").exists()


def test_the_gallery_lists_every_figure_once_by_question():
    text = (ROOT / "docs" / "gallery" / "index.md").read_text()
    listed = re.findall(r"^   \.\./examples/(\S+)$", text, re.M)
    scripts = [
        p.relative_to(ROOT / "examples").as_posix() for p in ROOT.glob("examples/*/plot_*.py")
    ]
    assert sorted(listed) == sorted(scripts)


def test_pages_lead_to_the_file_they_are_written_in():
    found = {
        "guide": "docs/guide.md",
        "systems/linear": "docs/systems/linear.md",
        "generated/changelog": "CHANGELOG.md",
        "generated/performance": "docs/performance.json",
        "generated/api/retemper.linear.effective_ridge": "python/retemper/linear/spectral.py",
        "generated/api/retemper.linear": "python/retemper/linear/__init__.py",
        "gallery/linear/plot_linear_phase": "examples/linear/plot_linear_phase.py",
        "gallery/linear/index": "examples/linear/GALLERY_HEADER.rst",
        "tutorials/plot_2_linear": "tutorials/plot_2_linear.py",
    }
    for page, file in found.items():
        assert place_in_repository(page) == file
        assert (ROOT / file).exists()
    assert place_in_repository("search") is None
    assert retemper.__version__ in VERSIONS.read_text()


def test_the_style_sheet_closes_what_it_opens():
    text = (ROOT / "docs" / "_static" / "retemper.css").read_text()
    depth = [text[:i].count("{") - text[:i].count("}") for i in range(len(text) + 1)]
    assert min(depth) == depth[-1] == 0
    inside = re.findall(r"@media[^{]*\{(.*?)^\}", text, re.M | re.S)
    assert max(depth) == (2 if inside else 1)
    assert all("@media" not in block for block in inside)


def test_formulas_are_set_as_in_books():
    pytest.importorskip("docutils")
    from docs._ext.mathml import _convert

    def said(source):
        return re.sub(r"\s*\n\s*|<math[^>]*>|</math>", "", _convert(source, block=True))

    dot = '<mover accent="true"><mi>w</mi><mo stretchy="false">˙</mo></mover>'
    assert said(r"\dot w_i") == f"<msub>{dot}<mi>i</mi></msub>"  # the index is lowered, not below
    prime = '<mo lspace="0" rspace="0">′</mo>'
    assert said("F'_u") == f"<msub><mrow><mi>F</mi>{prime}</mrow><mi>u</mi></msub>" == said("F_u'")
    assert (
        said("q''")
        == said("q'")[:-7].replace("<mrow>", "<mrow><mrow>", 1) + f"</mrow>{prime}</mrow>"
    )
    assert said("c\\sinh x").startswith('<mi>c</mi><mspace width="0.17em" /><mi>sinh</mi>')
    assert said("|x|").count('lspace="0" rspace="0"') == 2
    assert "<munder>" in said(r"\sum_i x_i")
