"""Results show themselves in a notebook that is really executed."""

import re
from importlib.util import find_spec

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytestmark = [
    pytest.mark.skipif(not find_spec("ipykernel"), reason="ipykernel is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of the client
]

#: Cells, each with what its output must show.
CELLS = {
    "solve": (
        "import numpy as np, retemper\n"
        "from retemper.linear import LinearModel, solve, curve, simulate, compare\n"
        "d = 40\n"
        "model = LinearModel(20, np.ones(d), source_coef=0.8 * np.ones(d), noise=0.1)\n"
        "solve(model)",
        ["LinearTheory: converged", "<th style=", "risk"],
    ),
    "simulate": ("simulate(model, n_repeats=3)", ["LinearSimulation", "stderr"]),
    "curve": ("curve(model, {'n_samples': [10, 20, 60]})", ["Sweep of LinearModel, 3 points"]),
    "compare": ("compare(model, n_repeats=4)", ["Theory against simulation", "standard error"]),
    "agreement": (
        "retemper.compare({'mine': (model, {'n_repeats': 4})})",
        ["mine", "within two standard errors"],
    ),
    "sweep": (
        "retemper.sweep('retemper.linear:deep_scale',"
        " {'a2': [0.25], 'p2': [1.0], 'q2': [3.0], 'depth': [1, 2]})",
        ["Sweep of", "depth"],
    ),
    "estimator": (
        "X = np.random.default_rng(0).normal(size=(30, 5)); y = X @ np.arange(5.0)\n"
        "from retemper.estimators import FineTunedLinearRegression\n"
        "FineTunedLinearRegression(source=np.arange(5.0)).fit(X, y)",
        ["FineTunedLinearRegression", "sk-"],
    ),
    "report": (
        "from retemper.estimators import LinearTransferReport\n"
        "LinearTransferReport({'old': np.arange(5.0)}).fit(X, y)",
        ["old", "<pre>"],
    ),
    "monitor": (
        "from retemper.phases import PhaseMonitor\n"
        "PhaseMonitor(X, (y > 0).astype(int))",
        ["PhaseMonitor"],
    ),
    "advice": (
        "sources = {'old': np.arange(5.0) + 0.1}\n"
        "advice = retemper.advise(X, y, sources=sources, systems=['linear'])\n"
        "advice",
        ["old", "text/html"],
    ),
}  # fmt: skip
PICTURES = {
    "advice.plot()": "advice.plot()",
    "one panel": (
        "import matplotlib.pyplot as plt\n"
        "fig, ax = plt.subplots()\nshown = advice.plot(ax=ax)\nassert shown.ax_ is ax"
    ),
    "lines": "curve(model, {'n_samples': [10, 20, 60]}).plot('risk');",
}


@pytest.fixture(scope="module")
def outputs():
    """One notebook with all cells, executed; outputs by name."""
    names = [*CELLS, *PICTURES]
    sources = [source for source, _ in CELLS.values()] + list(PICTURES.values())
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
    return {name: cell.outputs for name, cell in zip(names, book.cells, strict=True)}


@pytest.mark.parametrize("name", CELLS)
def test_a_result_shows_itself_as_html(outputs, name):
    shown = [o.data for o in outputs[name] if o.output_type == "execute_result"]
    assert len(shown) == 1
    html = shown[0]["text/html"]
    for word in CELLS[name][1]:
        assert word in html or word == "text/html"
    tags = re.findall(r"<(/?)(table|tr|td|th|tbody|thead|pre)\b", html)
    assert sum(1 if not close else -1 for close, _ in tags) == 0


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_shown(outputs, name):
    images = [o.data["image/png"] for o in outputs[name] if "image/png" in o.get("data", {})]
    assert len(images) == 1
    assert len(images[0]) > 5000
