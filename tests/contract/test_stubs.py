"""The committed stubs are those of the compiled module."""

import subprocess
import sys

from .discover import ROOT


def test_stubs_are_current():
    script = ROOT / "cpp" / "tools" / "update_stubs.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
