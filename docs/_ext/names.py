"""Names in prose link to their object or to the table of words; objects link to their source."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

from docutils import nodes
from pages import VERSIONS, known_word, place_in_repository, resolve, room_of
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import retemper

REPOSITORY = "https://github.com/retemper/retemper"
SOURCE = f"{REPOSITORY}/blob/main/python"
PYTHON = Path(retemper.__file__).parents[1]


#: A section of a page, as docstrings name it: `derivations/linear#a-bound`.
PLACE = re.compile(r"([a-z/]+)#([\w-]+)")


class LinkNames(SphinxPostTransform):
    """Turns `solve` on the page of a system, or `LinearModel` anywhere, into a link."""

    default_priority = 200
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        here, self.seen = self.env.docname, set()
        objects = self.env.get_domain("py").objects
        for literal in list(self.document.findall(nodes.literal)):
            parents = (nodes.reference, nodes.title, nodes.literal_block)
            if any(isinstance(up, parents) for up in _above(literal)):
                continue
            if here == "conventions" and self.mark_word(literal):
                continue
            if place := PLACE.fullmatch(literal.astext()):
                literal.replace_self(self.place(*place.groups()))
                continue
            target = resolve(literal.astext(), room_of(here))
            entry = objects.get(target) if target else None
            if entry is None:
                self.link_word(literal)
                continue
            if entry.docname == here:
                continue
            literal.replace_self(self.link(literal.deepcopy(), entry, target))
        for kind in (nodes.classifier, nodes.term):  # types of parameters and of results
            for node in list(self.document.findall(kind)):
                word = node.astext()
                target = resolve(word, room_of(here)) if word[:1].isupper() else None
                entry = objects.get(target) if target else None
                if entry and entry.docname != here and not any(node.findall(nodes.reference)):
                    for text in list(node.findall(nodes.Text)):
                        text.parent.replace(text, self.link(nodes.Text(word), entry, target))

    def place(self, page: str, section: str) -> nodes.reference:
        """Link `page#section`, as docstrings name where something is derived."""
        titles = self.env.metadata.get(page, {}).get("myst_slugs", {})
        if section not in titles:
            raise ValueError(f"{self.env.docname}: no section {page}#{section}")
        _, anchor, title = titles[section]
        uri = self.app.builder.get_relative_uri(self.env.docname, page)
        link = nodes.reference(internal=True, refuri=f"{uri}#{anchor}")
        link += nodes.Text(f"{self.env.titles[page].astext().partition(':')[0]}: {title}")
        return link

    def mark_word(self, literal: nodes.literal) -> bool:
        """Make a row of the table of words a place to link to."""
        word, cell = literal.astext(), literal.parent.parent
        first = isinstance(cell, nodes.entry) and cell.parent.index(cell) == 0
        if not first or known_word(word) != word or word in self.seen:
            return False
        self.seen.add(word)
        literal["ids"].append(f"word-{word}")
        return True

    def link_word(self, literal: nodes.literal) -> None:
        """Link a word to the table, where it first comes on a page."""
        word = known_word(literal.astext())
        if word is None or word in self.seen or self.env.docname == "conventions":
            return
        self.seen.add(word)
        page = self.app.builder.get_relative_uri(self.env.docname, "conventions")
        link = nodes.reference(internal=True, refuri=f"{page}#word-{word}")
        link += literal.deepcopy()
        literal.replace_self(link)

    def link(self, content: nodes.Node, entry: object, target: str) -> nodes.reference:
        return make_refnode(
            self.app.builder, self.env.docname, entry.docname, entry.node_id, content, target
        )


def _above(node: nodes.Node):
    while node.parent is not None:
        node = node.parent
        yield node


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Address of the lines that define an object."""
    value = sys.modules.get(info["module"])
    try:
        for part in info["fullname"].split("."):
            value = getattr(value, part)
        value = inspect.unwrap(value)
        file = Path(inspect.getsourcefile(value)).relative_to(PYTHON)
        lines, start = inspect.getsourcelines(value)
    except (AttributeError, TypeError, ValueError, OSError):  # data, properties, compiled code
        return None
    return f"{SOURCE}/{file.as_posix()}#L{start}-L{start + len(lines) - 1}"


def add_places(app, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """What the templates of the edit link and of the switch of versions need."""
    context["repository"] = REPOSITORY
    context["place"] = place_in_repository(pagename)
    context["versions"] = json.loads(VERSIONS.read_text())


def setup(app):
    app.add_post_transform(LinkNames)
    app.connect("html-page-context", add_places)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
