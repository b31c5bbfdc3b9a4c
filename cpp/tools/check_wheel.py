"""Check built wheels: size, licences, modules, types, and the oldest Linux that can load them.

``auditwheel`` names the platform tag. It must be manylinux_2_28 or older where the wheel was built
in an image of manylinux, which sets ``AUDITWHEEL_PLAT``. Elsewhere it is printed alone: the C
library of the machine decides it (Debian 12 has glibc 2.36), not our sources.
"""

import os
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

LIMIT = 6_000_000
NEWEST_GLIBC = (2, 28)


def platform_tag(wheel: Path) -> str | None:
    """Tag that auditwheel finds for a wheel of Linux; None where it cannot be asked."""
    if "linux" not in wheel.name or not find_spec("auditwheel"):
        return None
    show = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    said = " ".join(subprocess.run(show, capture_output=True, text=True, check=True).stdout.split())
    return re.search(r'following platform tag: "([\w.]+)"', said)[1]


def too_new(tag: str | None) -> bool:
    """Whether a tag asks for a glibc that is newer than the promised one."""
    found = re.match(r"manylinux_(\d+)_(\d+)_", tag or "")
    if found:
        return tuple(map(int, found.groups())) > NEWEST_GLIBC
    return (tag or "").startswith("linux_")


for path in map(Path, sys.argv[1:]):
    names = zipfile.ZipFile(path).namelist()
    size = path.stat().st_size
    wanted = ["LICENSE", "THIRD_PARTY.md", "py.typed", "_core.", "_cpu", "_levels/", "core.pyi"]
    wanted.append("gallery/examples/linear/plot_linear_depth.py")
    missing = [w for w in wanted if not any(w in n for n in names)]
    stray = [n for n in names if n.endswith((".cpp", ".hpp", ".o")) or "/Eigen/" in n]
    tag = platform_tag(path)
    print(
        f"{path.name}: {size / 1e6:.2f} MB, {len(names)} files, platform tag {tag or 'not asked'}"
    )
    if missing or stray or size > LIMIT:
        sys.exit(f"missing {missing}, stray {stray}, limit {LIMIT / 1e6} MB")
    if too_new(tag) and os.environ.get("AUDITWHEEL_PLAT", "").startswith("manylinux"):
        sys.exit(
            f"{path.name} needs {tag}, newer than manylinux_{'_'.join(map(str, NEWEST_GLIBC))}"
        )
