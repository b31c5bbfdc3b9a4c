"""Formulas as MathML, so that the pages need no script and no other host."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from html import escape

from docutils.utils.math import MathError, latex2mathml

#: Commands that docutils does not know, by ones that it knows.
REPLACED = {r"\dots": r"\ldots", r"\lVert": r"\|", r"\rVert": r"\|", r"\tfrac": r"\frac"}

APPLY = "\N{FUNCTION APPLICATION}"
#: A function before an argument without brackets, where browsers leave no space.
FUNCTION = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<m(?:row>\s*<m)?o[^>]*>[(\[])")


#: What stands before a function that is applied to something, and needs a space: "t asinh t".
OPERANDS = {"mi", "mn", "msub", "msup", "msubsup", "mfrac", "msqrt", "mover", "mrow"}


#: Functions that may carry a power before their argument.
POWERED = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "ln", "log"}


def _element(tag: str, *children: ET.Element, text: str | None = None, **attributes: str):
    element = ET.Element(tag, attributes)
    element.text = text
    element.extend(children)
    return element


def _prime(operand: ET.Element, primes: ET.Element) -> ET.Element:
    """Primes right after their letter, inside what is raised or lowered there."""
    inner = primes if primes.tag == "mo" else primes[0]
    mark = _element("mo", text="′" * len(inner.text), lspace="0", rspace="0")
    if primes is not inner:
        return _element(primes.tag, _element("mrow", operand, mark), *primes[1:])
    if operand.tag == "msub":
        return _element("msub", _element("mrow", operand[0], mark), operand[1])
    return _element("mrow", operand, mark)


def _is_prime(element: ET.Element) -> bool:
    if element.tag in ("msub", "msup", "msubsup"):
        element = element[0]
    return element.tag == "mo" and bool(element.text) and not element.text.strip("'")


def _set_right(element: ET.Element) -> None:
    """Mend what docutils leaves: indices under accented letters, primes, bars, functions."""
    for child in element:
        _set_right(child)
    if element.tag == "munderover" and element[0].tag != "mo":  # an accent, and an index
        base, index, accent = element
        accented = _element("mover", base, accent, accent="true")
        element[:] = [accented, index]
        element.tag = "msub"
    if element.tag == "mo" and element.text == "|":
        element.attrib.update(stretchy="false", lspace="0", rspace="0")
    done: list[ET.Element] = []
    row = list(element)
    for child, following in itertools.zip_longest(row, row[1:]):
        if _is_prime(child) and done and done[-1].tag in OPERANDS:
            done[-1] = _prime(done[-1], child)
            continue
        power = child.tag == "msup" and child[0].text in POWERED
        applied = power or (child.tag == "mi" and following is not None and following.text == APPLY)
        if applied and done and done[-1].tag in OPERANDS:
            done.append(_element("mspace", width="0.17em"))
        done.append(child)
        if power and following is not None and following.text not in ("(", "["):
            done.append(_element("mspace", width="0.17em"))
    element[:] = done


def _convert(source: str, *, block: bool) -> str:
    for known, other in REPLACED.items():
        source = source.replace(known, other)
    source = re.sub(r"\\[bB]igg?[lr]?(?![A-Za-z])", "", source)  # browsers size brackets
    source = re.sub(r"\\frac\s*(\d)(\d)", r"\\frac{\1}{\2}", source)  # read as one number otherwise
    try:
        node = latex2mathml.tex2mathml(source, as_block=block)
    except MathError as error:
        raise ValueError(f"cannot set {source!r}: {error}") from error
    text = node if isinstance(node, str) else "".join(node)
    tree = ET.fromstring(text.replace(" xmlns=", " name=").replace("&ApplyFunction;", APPLY))
    _set_right(tree)
    text = ET.tostring(tree, encoding="unicode").replace(" name=", " xmlns=")
    text = text.replace(APPLY, "&ApplyFunction;")
    text = re.sub(r"<mo[^>]*>‖</mo>", '<mo stretchy="false">‖</mo>', text)
    return FUNCTION.sub('<mspace width="0.17em"></mspace>', text)


def formulas(source: str) -> list[str]:
    r"""The formulas of a display, which stand side by side where there is room.

    They are separated by ``\qquad``.
    """
    return [source] if r"\begin" in source else source.split(r"\qquad")


def visit_inline(self, node):
    self.body.append(_convert(node.astext(), block=False))
    raise _skip()


def visit_block(self, node):
    label = f' id="{escape(node["ids"][0])}"' if node["ids"] else ""
    parts = "".join(_convert(part, block=True) for part in formulas(node.astext()))
    self.body.append(f'<div class="math"{label}>{parts}</div>')
    raise _skip()


def _skip():
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
