"""Write the type stubs of the compiled module to ``python/retemper/_core``.

``python cpp/tools/update_stubs.py [--check]`` needs pybind11-stubgen and a built module; with
``--check`` nothing is written and the exit status tells whether the committed stubs are current.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / "python" / "retemper" / "_core"


def mark_members(text: str) -> str:
    """Members of enumerations as a type checker wants them."""
    made = r"(    @classmethod\n)?    def __(new|format)__\([^)]*\):\n        \.\.\.\n"
    text = re.sub(made, "", text)
    for name in re.findall(r"^class (\w+)\(enum\.\w+\):", text, re.MULTILINE):
        member = rf"^    (\w+): typing\.ClassVar\[{name}\].*$"
        text = re.sub(member, r"    \1 = ...", text, flags=re.MULTILINE)
    return text


def generate() -> dict[str, str]:
    """Stub texts by file name."""
    import retemper._dispatch  # loads the library that the module needs

    name = retemper._dispatch.core.__name__
    script = "import retemper._dispatch, pybind11_stubgen; pybind11_stubgen.main()"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", script, name, "-o", folder, "--exit-code"]
        subprocess.run(command, check=True, capture_output=True)
        texts = {}
        for file in sorted(Path(folder, *name.split(".")).glob("*.pyi")):
            text = file.read_text()
            text = re.sub(r"(level|eigen_version|compiler): str = .*", r"\1: str", text)
            texts[file.name] = mark_members(text)
    return texts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    texts = generate()
    committed = {file.name: file.read_text() for file in sorted(HOME.glob("*.pyi"))}
    if check:
        stale = sorted(n for n in texts | committed if texts.get(n) != committed.get(n))
        if stale:
            print(f"stale stubs: {', '.join(stale)}; run python cpp/tools/update_stubs.py")
        return int(bool(stale))
    HOME.mkdir(exist_ok=True)
    for name in committed.keys() - texts.keys():
        (HOME / name).unlink()
    for name, text in texts.items():
        (HOME / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
