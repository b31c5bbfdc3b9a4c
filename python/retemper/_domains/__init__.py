"""The vocabulary: what every public name means, its unit, its sign and its domain.

One word has one meaning in the whole library. `WORDS` is the table; a row is written in a file of
``words/``. The conventions page is made from it, the checks of parameters take their domains from
it, and a test reads every public signature, result field and estimator attribute against it.

A name that is not in the table is read by grammar: a trailing underscore marks a fitted attribute;
``<word>_stderr`` is its standard error, ``<word>_low`` and ``<word>_high`` the ends of its
confidence interval; ``<word>_path`` are its values along a path of strengths, ``<word>_curve`` its
values over numbers of labels; ``<word>_source`` and ``<word>_target`` are those of one task;
``scratch_<word>``, ``predicted_<word>`` and ``held_out_<word>`` say of what or how the word was
found; ``n_<words>`` is a number of them; a plural is a sequence of the word.
"""

from __future__ import annotations

from typing import Any

from retemper._domains.domain import Domain
from retemper._domains.tables import SECTIONS, SYMBOLS, WORDS, Word

__all__ = [
    "SECTIONS",
    "SYMBOLS",
    "WORDS",
    "Domain",
    "Word",
    "check_parameter",
    "find_symbol",
    "find_word",
]

_PREFIXES = ("group_", "scratch_", "source_", "target_", "predicted_", "held_out_", "rescaled_")
_SUFFIXES = (
    "_eval", "_stderr", "_low", "_high", "_interval", "_ci", "_path", "_curve", "_folds", "_source",
    "_target", "_simulated", "_ratio",
)  # fmt: skip


def find_symbol(name: str, system: str | None) -> str | None:
    """The symbol of a public name in the formulas of a system.

    Parameters
    ----------
    name : str
        Parameter, field or attribute.
    system : str or None
        The system; None for none.

    Returns
    -------
    str or None
        LaTeX without dollars; None if there is none.
    """
    return SYMBOLS.get(system or "", {}).get(name.removesuffix("_"))


def find_word(name: str) -> Word | None:
    """The word behind a public name, read by the grammar of this module.

    Parameters
    ----------
    name : str
        Parameter, field or attribute.

    Returns
    -------
    Word or None
        The word; None if the table has none.
    """
    name = name.removesuffix("_")
    if name in WORDS:
        return WORDS[name]
    if name.startswith("n_"):
        return Word(
            name, f"number of {name[2:].replace('_', ' ')}", "count", Domain(0, integer=True)
        )
    stems = [name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)]
    stems += [name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)]
    for stem in stems:
        word = find_word(stem)
        if word is not None:
            return word
    for plural, single in (("ies", "y"), ("s", "")):
        if name.endswith(plural) and name.removesuffix(plural) + single in WORDS:
            return WORDS[name.removesuffix(plural) + single]
    return None


def check_parameter(value: Any, name: str, *, label: str | None = None) -> Any:
    """A parameter inside the domain of the table.

    Parameters
    ----------
    value : object
        The argument.
    name : str
        Its word.
    label : str or None, default=None
        What the message calls it; the word if None.

    Returns
    -------
    object
        The value, converted.

    Raises
    ------
    ValueError
        If it lies outside the domain.
    TypeError
        If it is of another kind.
    """
    word = find_word(name)
    assert word is not None, name
    assert word.domain is not None, name
    return word.domain.check(value, label or name)
