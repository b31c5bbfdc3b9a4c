"""Formulas as MathML, so that the pages need no script and no other host."""

from __future__ import annotations

from html import escape

from docutils.utils.math import MathError, latex2mathml

#: Commands that docutils does not know, by ones that it knows.
REPLACED = {r"\dots": r"\ldots", r"\lVert": r"\|", r"\rVert": r"\|"}


def _convert(source: str, *, block: bool) -> str:
    for known, other in REPLACED.items():
        source = source.replace(known, other)
    try:
        node = latex2mathml.tex2mathml(source, as_block=block)
    except MathError as error:
        raise ValueError(f"cannot set {source!r}: {error}") from error
    return node if isinstance(node, str) else "".join(node)


def visit_inline(self, node):
    self.body.append(_convert(node.astext(), block=False))
    raise _skip()


def visit_block(self, node):
    label = f' id="{escape(node["ids"][0])}"' if node["ids"] else ""
    self.body.append(f'<div class="math"{label}>{_convert(node.astext(), block=True)}</div>')
    raise _skip()


def _skip():
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
