"""Check a built wheel: its size, its licences, its modules, its types."""

import sys
import zipfile
from pathlib import Path

LIMIT = 5_000_000

for wheel in map(Path, sys.argv[1:]):
    names = zipfile.ZipFile(wheel).namelist()
    size = wheel.stat().st_size
    wanted = ["LICENSE", "THIRD_PARTY.md", "py.typed", "_core.", "_cpu", "_levels/", "core.pyi"]
    wanted.append("gallery/examples/linear/plot_linear_depth.py")
    missing = [w for w in wanted if not any(w in n for n in names)]
    stray = [n for n in names if n.endswith((".cpp", ".hpp", ".o")) or "/Eigen/" in n]
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files")
    if missing or stray or size > LIMIT:
        sys.exit(f"missing {missing}, stray {stray}, limit {LIMIT / 1e6} MB")
