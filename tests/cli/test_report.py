"""The report is one safe, self-contained file."""

import re
from html.parser import HTMLParser

import pytest

from retemper.report import ReportFigure, ReportSection, ReportTable, write_report


@pytest.fixture
def page(tmp_path):
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    drawing = ReportFigure.of(figure, "a line", "a falling line")
    table = ReportTable("numbers", ["name", "value"], [["<b>bold</b>", "-1.5"], ["x & y", "+2"]])
    sections = [
        ReportSection("First <script>alert(1)</script>", ["Text with <i>tags</i>."], [table]),
        ReportSection("Second", figures=[drawing, drawing]),
    ]
    path = write_report(tmp_path / "r.html", 'A "title" & more', "In short.", sections, "end")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    return path.read_text()


def test_user_strings_are_escaped(page):
    assert "<script>" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_nothing_is_loaded_from_outside(page):
    assert not re.search(r'(?:src|href)="(?!#)', page.replace("xlink:href", "href"))
    assert "@import" not in page
    assert "url(http" not in page


def test_tags_are_balanced_and_links_resolve(page):
    class Walk(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.ids, self.links = [], set(), []

        def handle_starttag(self, tag, attrs):
            attributes = dict(attrs)
            self.ids.add(attributes.get("id"))
            if tag == "a":
                self.links.append(attributes["href"])
            if tag not in {"meta", "br", "img", "link"}:
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            self.ids.add(dict(attrs).get("id"))

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    walk = Walk()
    walk.feed(page)
    assert not walk.open
    assert walk.links
    assert {link.removeprefix("#") for link in walk.links} <= walk.ids


def test_numbers_are_set_as_numbers(page):
    assert '<td data-label="value" class="number">-1.5</td>' in page
    assert '<td data-label="name">x &amp; y</td>' in page
