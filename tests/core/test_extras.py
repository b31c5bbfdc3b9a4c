"""A missing library is named with the extra that installs it, before any work is done."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from retemper._extras import EXTRAS, load, require
from tests.contract.discover import ROOT


def test_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for module, extra in EXTRAS.items():
        listed = " ".join(extras[extra])
        assert module in listed or f"{module}[" in listed or extra == "dask", (module, extra)


def test_hint(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr("retemper._extras.find_spec", lambda name: None)
    text = r'to_frame needs pandas, .* pip install "retemper\[frames\]"'
    with pytest.raises(ModuleNotFoundError, match=text):
        load("pandas", "to_frame")
    with pytest.raises(ModuleNotFoundError, match=text):
        require("pandas", purpose="to_frame")


def test_an_error_inside_a_library_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "rich.py").write_text("import nothing_of_the_sort\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [m for m in sys.modules if m.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_the_sort"):
        load("rich", "a bar")


def test_result_without_pandas_gives_the_hint():
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from retemper.diagonal import DiagonalModel, solve\n"
        "try:\n    solve(DiagonalModel(0.3)).to_frame()\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "retemper[frames]"' in found.stdout
