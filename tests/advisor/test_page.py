"""The page: action, figure, lines of code and file first; then evidence, systems, provenance."""

import math
import re

import numpy as np
import pytest

import retemper
from retemper.cli import main

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = 3.0 + X.sum(axis=1) + RNG.normal(size=30)


@pytest.fixture(scope="module")
def advice():
    sources = {"near <b>": np.ones(4), "far": -np.ones(4)}
    return retemper.advise(X, Y, sources=sources, task="regression", budget=90, target_error=1.44)


@pytest.fixture(scope="module")
def page(advice, tmp_path_factory):
    return advice.to_html(tmp_path_factory.mktemp("page") / "advice.html").read_text()


def headings(page):
    return re.findall(r"<h2>([^<]*)</h2>", page)


def test_order_of_sections(page, advice):
    assert headings(page) == ["What to do", "Evidence", "How many labels", "Where this comes from"]
    first = page[page.index("<h2>") : page.index("Evidence</h2>")]
    assert first.index("<svg") < first.index("model = advice.estimator_")
    assert page.index(advice.headline.split("'")[0][:20]) < page.index("<h2>")
    assert "near &lt;b&gt;" in page
    assert "near <b>" not in page


def test_errors_have_the_units_of_y(page, advice):
    held = advice["scratch"].held_out_error
    cell = re.search(r'data-label="error"[^>]*>([\d.]+) \[', page)
    assert float(cell[1]) == pytest.approx(math.sqrt(held), rel=5e-3)
    assert "Labels for a root mean squared error of 1.2:" in page
    assert "in units of y" in page


def test_figures_follow_the_theme_and_are_small(page):
    assert "prefers-color-scheme: dark" in page
    assert page.count('<figure class="small"') == 2
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.S))
    assert "var(--yellow)" in drawn
    assert "#f0e442" not in drawn.lower()
    assert all(float(w) < 360 for w in re.findall(r'<svg[^>]*width="([\d.]+)pt"', page))


def test_command_names_files_command_and_model(tmp_path, capsys):
    for name, shift in (("old", 0.5), ("new", 0.0)):
        rows = np.column_stack([X, Y]) + shift
        np.savetxt(tmp_path / f"{name}.csv", rows, delimiter=",", header="a,b,c,d,y", comments="")
    out, model = tmp_path / "r.html", tmp_path / "m.npz"
    words = [str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), "--label", "y"]
    with pytest.raises(SystemExit):
        main(["advise", *words, "--out", str(out), "--save-model", str(model)])
    assert f"report: {out}" in capsys.readouterr().out
    page = out.read_text().replace("<wbr>", "")
    assert f"read_model(&#39;{model}&#39;)" in page
    assert f"retemper advise {tmp_path / 'old.csv'}" in page
    assert "fine-tune: a fit that is held to the source" in page
    for word in ("target", "sources", "label", "model file", "command", "versions", "date"):
        assert f">{word}</td>" in page


def test_notebooks_show_a_table(advice):
    shown = advice._repr_html_()
    assert shown.startswith("<div><p><b>")
    assert "near &lt;b&gt;" in shown
    assert shown.count("<tr>") == 1 + len(advice.candidates)
    assert "advice.estimator_.predict(X_new)" in shown


def test_long_names_break_in_columns_and_are_cut_in_sentences(tmp_path):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 4)), np.array([1.0, -2.0, 0.5, 3.0])
    name = "folder/" + 40 * "x" + ".csv"
    advice = retemper.advise(X, X @ w + rng.normal(size=40), sources={name: 0.9 * w, "b": w})
    assert name not in advice.headline
    assert len(advice.headline) < 240
    page = advice.to_html(tmp_path / "page.html").read_text()
    assert "folder/xxxxx<wbr>xxxxxxxxxxxx<wbr>" in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert cells
    assert max(len(word) for cell in cells for word in cell.split()) <= 24
