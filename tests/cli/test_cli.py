"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
import time

import pytest

import retemper
from retemper import cli
from retemper.cli import main
from retemper.gallery import figure_scripts


def run(*words, code=""):
    command = [sys.executable, "-c", f"{code}\nfrom retemper.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_info_prints_level_and_threads():
    done = run("info")
    assert done.returncode == 0
    for word in ("retemper", "level", "threads"):
        assert word in done.stdout


def test_help_shows_examples_and_no_empty_defaults():
    for words in (["--help"], ["advise", "--help"]):
        shown = run(*words).stdout
        assert "examples:\n  retemper advise elsewhere.csv mine.csv --label price" in shown
        assert "default: None" not in shown
        assert "default: []" not in shown
    assert "(default: 0.95)" in shown


def test_sentences_fit_a_terminal_and_tables_stay(monkeypatch):
    prose, table = f"{'a word ' * 12}end\n  {'b ' * 40}c", f"row  {'1  ' * 40}"
    text = f"{prose}\n{table}"
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 20)))
    assert cli._fitted(text) == text  # not a terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    *sentences, row = cli._fitted(text).split("\n")
    assert max(map(len, sentences)) <= 40
    assert sum(line.startswith("    b") for line in sentences) >= 1
    assert row == table
    assert " ".join(sentences).split() == prose.split()


def test_figure_list_names_every_figure(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["figure", "--list"])
    assert stop.value.code in (0, None)
    shown = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert lines == {name: script.title for name, script in figure_scripts().items()}


@pytest.mark.parametrize(
    "words",
    [["figure", "nonsense"], ["figure", "phases-exact", "--data", "nowhere"],
     ["demo", "--features", "sounds"], ["demo", "--labels", "3"], ["x"]],
)  # fmt: skip
def test_wrong_arguments_exit_with_2_and_a_sentence(words, tmp_path):
    done = run(*words)
    assert done.returncode == 2
    assert len(done.stderr) > 20
    assert "Traceback" not in done.stderr


NO_EXTRAS = (
    "import sys\n"
    "for name in ('matplotlib', 'pandas', 'rich', 'jinja2', 'xarray', 'torch', 'typer'):\n"
    "    sys.modules[name] = None"
)


@pytest.mark.parametrize("words", [[], ["--help"], ["info"], ["figure", "--list"], ["demo", "-h"]])
def test_works_without_extras(words):
    done = run(*words, code=NO_EXTRAS)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["demo"], "plot"),
        (["advise", "a.csv", "b.csv", "--label", "y"], "frames"),
        (["sweep", "a.toml"], "cli"),
        (["figure", "linear-risk"], "plot"),
    ],
)
def test_missing_extra_is_named_before_any_work(words, extra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    done = run(*words, code=NO_EXTRAS)
    assert done.returncode == 1, done.stderr
    assert f'pip install "retemper[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 20
    assert not list(tmp_path.iterdir())


def test_module_is_the_command():
    command = [sys.executable, "-m", "retemper", "info", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["retemper"] == retemper.__version__


@pytest.mark.slow
def test_demo_writes_figures_and_report(tmp_path):
    out = tmp_path / "demo"
    done = run("demo", "--out", str(out), "--seeds", "3", "--labels", "30")
    assert done.returncode == 0, done.stderr
    names = {p.name for p in out.iterdir()}
    assert "report.html" in names
    assert {"png", "svg", "html"} <= {n.rsplit(".")[-1] for n in names}
    assert "verdict" in done.stdout.lower()
    assert not [n for n in names if n.endswith(".part")]
