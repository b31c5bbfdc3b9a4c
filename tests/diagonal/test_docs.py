"""The newcomer's script of the page of this system runs and says what it promises."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "systems" / "diagonal.md"


def test_script_of_the_page(capsys):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(compile(script, str(PAGE), "exec"), {})
    told, errors = capsys.readouterr().out.strip().splitlines()
    assert "balance" in told
    assert re.search(r"'(I|II|III|IV)'", told)
    left_out, scratch, held_out = (float(x) for x in re.findall(r"\d+\.\d+", errors))
    assert left_out < scratch
    assert 0.5 < held_out / left_out < 2
