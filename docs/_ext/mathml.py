"""Formulas as MathML, so that the pages need no script and no other host."""

from __future__ import annotations

import re
from html import escape

from docutils.utils.math import MathError, latex2mathml

#: Commands that docutils does not know, by ones that it knows.
REPLACED = {r"\dots": r"\ldots", r"\lVert": r"\|", r"\rVert": r"\|", r"\tfrac": r"\frac"}

#: A function before an argument without brackets, where browsers leave no space.
FUNCTION = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<m(?:row>\s*<m)?o[^>]*>[(\[])")


def _convert(source: str, *, block: bool) -> str:
    for known, other in REPLACED.items():
        source = source.replace(known, other)
    source = re.sub(r"\\frac\s*(\d)(\d)", r"\\frac{\1}{\2}", source)  # read as one number otherwise
    try:
        node = latex2mathml.tex2mathml(source, as_block=block)
    except MathError as error:
        raise ValueError(f"cannot set {source!r}: {error}") from error
    text = node if isinstance(node, str) else "".join(node)
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
