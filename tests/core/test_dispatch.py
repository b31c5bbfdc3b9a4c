"""One library of the wanted level is loaded, and a wish that cannot be met is refused."""

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from retemper import _dispatch
from retemper._dispatch import available_levels, core

LOADED = """
import pathlib
from retemper._dispatch import core
maps = pathlib.Path("/proc/self/maps")
lines = maps.read_text().split("\\n") if maps.exists() else []
print(core.level, *{line.split()[-1] for line in lines if "libretemper" in line})
"""


def run(level, script=LOADED):
    environment = os.environ | {"RETEMPER_LEVEL": level}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )


def test_the_best_level_comes_first_and_is_loaded():
    levels = available_levels()
    assert levels == sorted(levels, reverse=True)
    assert core.level == (os.environ.get("RETEMPER_LEVEL") or levels[0])


@pytest.mark.parametrize("level", available_levels())
def test_one_library_is_loaded_for_every_level(level):
    found, *libraries = run(level).stdout.split()
    assert found == level
    if Path("/proc/self/maps").exists():
        assert [Path(name).parent.name for name in libraries] == [level]


def test_unknown_level_is_refused():
    done = run("v9")
    assert done.returncode != 0
    assert "RETEMPER_LEVEL='v9' is not available here; choose from ['" in done.stderr


def test_a_build_for_a_better_processor_says_so(monkeypatch):
    monkeypatch.setattr(_dispatch, "_ORDER", ("v1", *_dispatch._ORDER))
    monkeypatch.setattr("retemper._cpu.level", lambda: "v1")
    built = ", ".join(_dispatch._built_libraries())
    with pytest.raises(ImportError, match=f"compiled for {built}, .* this processor runs v1 at"):
        _dispatch._load()


def test_nothing_built_names_the_commands(monkeypatch, tmp_path):
    monkeypatch.setattr(_dispatch, "_FOLDER", tmp_path)
    with pytest.raises(ImportError, match=r"compiled core .* is missing: build it with `pip"):
        _dispatch._load()


@pytest.mark.parametrize("module", ["_core", "_cpu"])
def test_a_core_for_another_python_names_it(module, tmp_path):
    package = tmp_path / "retemper"
    package.mkdir()
    mine = EXTENSION_SUFFIXES[0].split(".")[1]
    for item in Path(_dispatch.__file__).parent.iterdir():
        name = item.name
        if name.startswith(f"{module}.") and mine in name:
            name = name.replace(mine, "cpython-399-somewhere")
        (package / name).symlink_to(item, target_is_directory=item.is_dir())
    done = subprocess.run(
        [sys.executable, "-c", "import retemper"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "built for cpython-399-somewhere, and this interpreter is " + mine in done.stderr
