"""Refuse files that do not belong: unfinished work, absolute paths, third-party source."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BANNED = re.compile(
    r"TO" + r"DO|FIX" + r"ME|NotImplemented" + r"Error\(\)|(?<![\w.])/(home|root|work)/"
)

files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
problems = []
for name in files.stdout.split():
    path = ROOT / name
    if path.suffix in {".png", ".svg", ".npz"} or not path.is_file():
        continue
    if name.startswith("_vendor/"):
        problems.append(f"{name}: third-party source")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if BANNED.search(line):
            problems.append(f"{name}:{number}: {line.strip()}")
print("\n".join(problems))
sys.exit(bool(problems))
