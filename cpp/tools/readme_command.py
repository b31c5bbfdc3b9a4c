"""Print the README's command with a given name: the line after ``<!-- command: NAME -->``."""

import re
import sys
from pathlib import Path

text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
match = re.search(rf"<!-- command: {re.escape(sys.argv[1])} -->\s*```\w*\n(.*?)\n```", text, re.S)
if not match:
    sys.exit(f"README.md has no command {sys.argv[1]!r}")
print(match[1])
