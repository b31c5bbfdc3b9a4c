"""The tables of words and of symbols, read from the files beside this one.

A row of ``words/<section>.txt`` is ``name | meaning | unit``, and ``| values`` if the word is a
parameter with a domain (see `Domain.read`). A row of ``symbols/<system>.txt`` is ``name | LaTeX``:
what the formulas of that system call a word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from retemper._domains.domain import Domain

__all__ = ["SECTIONS", "SYMBOLS", "WORDS", "Word"]

_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Word:
    """One public name.

    Parameters
    ----------
    name : str
        As in signatures, fields and attributes.
    meaning : str
        What it is, with its sign where that could be doubted.
    unit : str, default=""
        Unit or normalisation.
    domain : Domain or None, default=None
        Values it may take as a parameter.
    systems : tuple of str, default=()
        The rooms that use it; empty for all.
    """

    name: str
    meaning: str
    unit: str = ""
    domain: Domain | None = None
    systems: tuple[str, ...] = ()


def _rows(file: str) -> Iterator[list[str]]:
    for line in (_HERE / file).read_text(encoding="utf-8").splitlines():
        yield line.split(" | ")


def _words(section: str, *systems: str) -> tuple[Word, ...]:
    return tuple(
        Word(name, meaning, unit, Domain.read(values[0]) if values else None, systems)
        for name, meaning, unit, *values in _rows(f"words/{section}.txt")
    )


#: Sections of the table, in the order of the conventions page.
SECTIONS: dict[str, tuple[Word, ...]] = {
    "Data and calls": _words("data"),
    "Results": _words("results"),
    "Strengths and scales": _words("strengths"),
    "linear": _words("linear", "linear"),
    "diagonal": _words("diagonal", "diagonal"),
    "perceptron": _words("perceptron", "perceptron"),
    "widenet": _words("widenet", "widenet"),
    "phases": _words("phases", "phases"),
    "Networks": _words("networks", "linear", "widenet", "phases"),
    "PyTorch modules": _words("modules", "networks"),
    "advisor": _words("advisor", "advisor"),
    "Reports, files and figures": _words("reports"),
}

#: Every word by its name.
WORDS: dict[str, Word] = {word.name: word for words in SECTIONS.values() for word in words}

#: The symbol in formulas, as LaTeX, of every word of a system that has one.
SYMBOLS: dict[str, dict[str, str]] = {
    system: {name: symbol for name, symbol in _rows(f"symbols/{system}.txt")}
    for system in ("linear", "diagonal", "perceptron", "widenet", "phases")
}
