"""Hot loops are wide instructions in the objects of this checkout's builds."""

import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from retemper._dispatch import available_levels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location(
        "check_vectors", ROOT / "cpp/tools/check_vectors.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hot_loops_are_wide(check):
    if not shutil.which("objdump"):
        pytest.skip("objdump is not installed (apt install binutils)")
    built = {
        (path, level): files
        for path in sorted((ROOT / "build").glob("*"))
        for level, files in check.objects(path).items()
        # sanitizers do not optimise; a level that is not loaded may be left from an older build
        if level in available_levels() and not path.name.startswith(("asan", "tsan", "tree"))
    }
    if not built:
        pytest.skip("no build folder of this checkout holds objects of the levels v3 or v4")
    assert not [line for (_, level), files in built.items() for line in check.lost(files, level)]


def test_a_lost_loop_is_noticed(check, tmp_path, monkeypatch):
    compiler = shutil.which("g++")
    if not (compiler and shutil.which("objdump")) or platform.machine() != "x86_64":
        pytest.skip("needs g++ and objdump on x86-64")
    source, obj = tmp_path / "loop.cpp", tmp_path / "loop.o"
    source.write_text(
        "double f(double);\n"
        "void wide(double* x, long n) { for (long i = 0; i < n; ++i) x[i] = x[i] * x[i] + 1; }\n"
        "void lost(double* x, long n) { for (long i = 0; i < n; ++i) x[i] = f(x[i]) + 1; }\n"
    )
    flags = ["-O3", "-march=x86-64-v3", "-c", str(source), "-o", str(obj)]
    subprocess.run([compiler, *flags], check=True)
    monkeypatch.setattr(check, "HOT", {r"^wide\(": 1, r"^lost\(": 1})
    assert check.lost([obj], "v3") == [r"v3: ^lost\( has 0 wide instructions, expected 1"]
