"""The README's commands exist and its examples run."""

import re
import subprocess
import sys

import pytest

from .discover import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_commands_are_found():
    script = ROOT / "cpp" / "tools" / "readme_command.py"
    for name in ("demo", "test"):
        done = subprocess.run(
            [sys.executable, script, name], capture_output=True, text=True, check=True
        )
        assert "pip install" in done.stdout


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_examples_run(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_first_screen_shows_what_is_printed(capsys):
    """Digits apart, which differ in the last place between instruction sets."""

    def shape(text):
        return [re.sub(r"[-+]?\d[\d.e+-]*|\s+", " ", line).split() for line in text.splitlines()]

    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    printed = shape(capsys.readouterr().out)
    shown = shape(re.search(r"```text\n(.*?)```", README, re.S).group(1))
    assert [line for line in shown if line not in printed] == []


def test_speed_is_that_of_the_record():
    from docs._ext.pages import readme_speed  # the table is made by this function

    table = readme_speed(ROOT / "docs" / "performance.json")
    assert table in README, "run `python docs/_ext/pages.py` to make the table anew"


def test_links_resolve():
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target
