"""How far the tables of `docs/advise.md` are from what they should be, in standard errors.

``python bench/odds_advise.py`` reads the tables of odds, of intervals and of groups from that page
(``bench/calibrate_advise.py`` prints them) and compares every share with what was said. Sources and
draws of one pair are not independent. The page has no cross table, so three standard errors bracket
the truth: as if every judgement, every trial, or only every pair were a case of its own.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "advise.md"
#: Draws of a pair.
DRAWS = 16


def rows_of(text, heading):
    """Cells of the table whose first line begins with a heading."""
    start = text.index(f"| {heading} |")
    lines = text[start:].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def line(name, said, true, counts):
    cells = []
    for count in counts:
        error = math.sqrt(said * (1.0 - said) / count)
        cells.append(f"{(true - said) / error:+.1f} of {100 * error:.1f} %")
    return f"| {name} | {said:.2f} | {true:.3g} | {' | '.join(cells)} |"


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    text = PAGE.read_text(encoding="utf-8")
    pairs = {row[0]: int(row[1]) for row in rows_of(text, "group")}
    print("| 95 % interval of the gain | said | true | judgements | trials | pairs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for labels, share, _ in rows_of(text, "labels"):
        true, count = re.fullmatch(r"([\d.]+)% of (\d+)", share).groups()
        many = pairs.get(f"{labels} labels", 0) or sum(
            v for k, v in pairs.items() if k.endswith("labels")
        )
        print(line(labels, 0.95, float(true) / 100.0, (int(count), DRAWS * many, many)))
    print("\n| odds | said | true | judgements |\n| --- | --- | --- | --- |")
    for name, *cells in rows_of(text, "said likely to beat scratch"):
        for kind, cell in zip(("a source", "the average"), cells, strict=True):
            found = re.fullmatch(r"([\d.]+), ([\d.]+) of (\d+)", cell)
            if found:
                said, true, count = found.groups()
                print(line(f"{kind}, {name}", float(said), float(true), (int(count),)))


if __name__ == "__main__":
    main()
