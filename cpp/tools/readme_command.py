"""Print the README's command with a given name: the line after ``<!-- command: NAME -->``.

``--blocks FOLDER`` writes its blocks of Python to files of a folder instead.
"""

import re
import sys
from pathlib import Path

text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
if sys.argv[1] == "--blocks":
    folder = Path(sys.argv[2])
    folder.mkdir()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.S), 1):
        (folder / f"block{number}.py").write_text(block, encoding="utf-8")
    sys.exit()
match = re.search(rf"<!-- command: {re.escape(sys.argv[1])} -->\s*```\w*\n(.*?)\n```", text, re.S)
if not match:
    sys.exit(f"README.md has no command {sys.argv[1]!r}")
print(match[1])
