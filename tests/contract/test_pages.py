"""The examples of the documentation run: every block of Python on every page, in order.

The blocks of a page share one session, as a reader's would. A comment before a block changes that:
``<!-- not run: reason -->`` leaves it out, ``<!-- slow -->`` runs it with the slow tests alone,
``<!-- needs torch -->`` where torch is installed.
"""

from __future__ import annotations

import re
import sys
import types
from importlib.util import find_spec
from typing import NamedTuple

import pytest

from retemper import estimators

from .discover import ROOT

WITH_TORCH = ("needs torch",) if find_spec("torch") else ()
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>slow|needs torch|not run: [^>]+) -->\n+)?"
    r"```(?:python|py)\n(?P<text>.*?)^```",
    re.S | re.M,
)


class Block(NamedTuple):
    line: int
    text: str
    mark: str


def blocks(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, m.start("text")) + 1, m["text"], (m["mark"] or "").split(":")[0])
        for m in BLOCK.finditer(text)
    ]


PAGES = {
    path.relative_to(ROOT).as_posix(): blocks(path.read_text())
    for path in sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/systems/*.md")])
}


#: Pages whose blocks take more than a few seconds together.
LONG = ("docs/networks.md", "docs/questions.md", "docs/sweeps.md")


def cases():
    for page, found in PAGES.items():
        if any(b.mark == "" for b in found):
            marks = [pytest.mark.slow] if page in LONG else []
            yield pytest.param(page, ("", *WITH_TORCH), id=page, marks=marks)
        if any(b.mark == "slow" for b in found):
            yield pytest.param(
                page, ("", "slow", *WITH_TORCH), id=f"{page}-slow", marks=pytest.mark.slow
            )


@pytest.mark.parametrize(("page", "marks"), list(cases()))
def test_examples_run(page, marks, tmp_path, monkeypatch):
    if page == "docs/networks.md":
        pytest.importorskip("torch", reason="needs the extra retemper[torch]")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    session = types.ModuleType(
        "__main__"
    )  # as in a script or a notebook: workers get functions of it
    monkeypatch.setitem(sys.modules, "__main__", session)
    with pyplot.rc_context({"backend": "agg"}):
        for block in PAGES[page]:
            if block.mark in marks:
                # on failure the traceback shows the line of the page
                exec(
                    compile("\n" * (block.line - 1) + block.text, ROOT / page, "exec"),
                    vars(session),
                )
        pyplot.close("all")


def test_blocks_that_do_not_run_are_python_and_few():
    left_out = [(p, b) for p, found in PAGES.items() for b in found if b.mark == "not run"]
    for page, block in left_out:
        compile(block.text, page, "exec")
    assert len(left_out) <= 4


def test_every_block_is_found():
    for page, found in PAGES.items():
        text = (ROOT / page).read_text()
        assert len(found) == len(re.findall(r"^\s*[`~]{3}\s*\{?(?:code-block\} )?py", text, re.M))


def test_the_guide_chooses_among_all_estimators():
    text = (ROOT / "docs" / "guide.md").read_text()
    tree = text[text.index('class="tree"') : text.index("</div>")]
    others = ["AdvisedClassifier", "AdvisedRegressor", "FineTuningKernel", "PhaseMonitor"]
    assert [name for name in [*estimators.__all__, *others] if f"`{name}`" not in tree] == []
