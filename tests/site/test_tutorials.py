"""Every tutorial says what it answers, computes on real data, and runs as a notebook."""

import ast
import json
from importlib.util import find_spec

import pytest

from ..contract.discover import ROOT, systems

TUTORIALS = sorted((ROOT / "tutorials").glob("plot_*.py"))


def ids(path):
    return path.stem


def test_there_is_one_for_every_system_and_one_from_csv_to_decision():
    names = {path.stem.split("_", 2)[2] for path in TUTORIALS}
    assert names == {*systems(), "networks", "from_csv_to_decision"}


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_it_asks_shows_and_goes_on(path):
    text = path.read_text("utf-8")
    head = ast.get_docstring(ast.parse(text))
    assert "**Question.**" in head
    assert "from sklearn.datasets import" in text or "digits_task" in text
    assert text.count("\n# %%\n") >= 5
    assert "plt.show()" in text
    assert "# Try next\n" in text
    assert (
        ":doc:`/derivations/" in text
        or ":doc:`Should I start from this source? </advise>`" in text
        or ":doc:`PyTorch modules </networks>`" in text
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(find_spec, ("sphinx_gallery", "nbclient", "ipykernel"))),
    reason="sphinx-gallery, nbclient or ipykernel is not installed",
)
@pytest.mark.filterwarnings("default")  # those of the notebook's tools
@pytest.mark.parametrize(
    "path",
    [  # a build of the site runs every script: one notebook shows that notebooks run
        pytest.param(p, marks=[] if p == TUTORIALS[1] else pytest.mark.nightly) for p in TUTORIALS
    ],
    ids=ids,
)
def test_its_notebook_runs_and_shows_pictures(path, tmp_path):
    if "needs torch" in path.read_text("utf-8"):
        pytest.importorskip("torch", reason="needs the extra retemper[torch]")
    import nbclient
    import nbformat
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    _, blocks = split_code_and_text_blocks(str(path))
    conf = {**DEFAULT_GALLERY_CONF, "src_dir": str(tmp_path), "examples_dirs": [str(path.parent)]}
    made = json.dumps(jupyter_notebook(blocks, conf, str(tmp_path)))
    notebook = nbformat.reads(made, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=tmp_path)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert any(o.get("name") == "stdout" for o in outputs)
