"""Every script of the gallery runs, says what it shows, and uses public names alone."""

import ast
import json
import os
import tomllib
from importlib.util import find_spec

import matplotlib as mpl
import numpy as np
import pytest

import retemper
from retemper.gallery import draw, figure_scripts, recorded_numbers, save_figure, style

from ..contract.discover import ROOT, systems
from .layout import faults

SCRIPTS = figure_scripts()
#: Names that documents and readers use.
PUBLISHED = {
    "diagonal": "best-start error-curves learning-order leave-one-out margins new-features "
    "regimes source-samples teachers",
    "linear": "depth double-descent eigendirection phase relu similarity stop-time",
    "perceptron": "critical evolution fine-tuning label-budget mismatch phase quadrature real-data "
    "sign transition",
    "phases": "colour decoder detector exact hidden nothing parity resolution",
    "widenet": "activations decomposition depth elastic gamma-digits gamma-synthetic layers "
    "order-parameters relatedness selection validity width",
}
#: One cheap script of each system. The others are drawn, and judged by the same judge, when the
#: site is built (``docs/_ext/gallery.py``).
QUICK = {
    "diagonal-teachers",
    "linear-eigendirection",
    "perceptron-critical",
    "perceptron-quadrature",
    "phases-detector",
    "widenet-decomposition",
}


def marked(name):
    marks = [] if name in QUICK else [pytest.mark.slow, pytest.mark.nightly]
    if "needs torch" in SCRIPTS[name].title:
        marks.append(pytest.mark.skipif(not find_spec("torch"), reason="torch is not installed"))
    return pytest.param(name, marks=marks)


def test_published_names_stay():
    wanted = {f"{system}-{name}" for system, names in PUBLISHED.items() for name in names.split()}
    assert wanted <= set(SCRIPTS)
    assert all(s.path.parent.name == name.split("-")[0] for name, s in SCRIPTS.items())
    assert {name.split("-")[0] for name in QUICK} == set(PUBLISHED) == set(systems())


@pytest.mark.filterwarnings("default")  # a script may meet the warnings that its reader meets
@pytest.mark.parametrize("name", [marked(name) for name in SCRIPTS])
def test_script_draws_what_can_be_read(name):
    figures = draw(name)
    assert figures
    for figure in figures:
        assert figure.axes
        assert all(ax.has_data() or ax.texts or ax.images for ax in figure.axes)
        assert not faults(figure)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_explains_itself(name):
    script = SCRIPTS[name]
    assert 10 < len(script.title) < 90
    assert not script.title.endswith(".")
    assert len(script.text) > 150
    if not name.startswith("advisor-") and name != "phases-watch-training":  # on our own questions
        assert any(word in script.text for word in ("(20", "derived here", "no paper"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_uses_public_names_alone(name):
    for node in ast.walk(ast.parse(SCRIPTS[name].path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("retemper"):
            assert node.module.count(".") <= 1, "a public name is reached from its subpackage"
            assert "draw" not in [alias.name for alias in node.names], "the script itself draws"
            module = __import__(node.module, fromlist=["*"])
            for alias in node.names:
                assert getattr(module, alias.name) is not None
                assert alias.name in module.__all__ or alias.name.isupper(), alias.name
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if not name.startswith("advisor-")])
def test_script_draws_in_its_last_block(name):
    source = SCRIPTS[name].path.read_text("utf-8")
    assert source.count("plt.subplots(") == source.count("plt.show()") == 1
    assert source.index("plt.subplots(") > source.rfind("# %%")  # a page takes figures by block


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib.pyplot as plt

    plt.close("all")
    mine, before = plt.figure(), dict(mpl.rcParams)
    try:
        (figure,) = draw("linear-eigendirection")
        assert plt.get_fignums() == [mine.number]
        assert dict(mpl.rcParams) == before
        colour = style()["axes.prop_cycle"].by_key()["color"]
        (teachers,) = draw("diagonal-teachers")
    finally:
        plt.close(mine)
    assert figure is not mine
    assert mpl.colors.to_hex(teachers.axes[0].lines[0].get_color()) == colour[0].lower()


def test_files_are_named_after_the_figure(tmp_path):
    paths = save_figure("linear-eigendirection", tmp_path / "new")
    assert [p.name for p in paths] == ["linear-eigendirection.png", "linear-eigendirection.svg"]
    assert all(p.stat().st_size > 5000 for p in paths)


def test_an_unknown_figure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="name must be one of"):
        save_figure("linear-nothing", tmp_path)


RECORDED = [name for name, script in SCRIPTS.items() if script.path.with_suffix(".json").is_file()]


@pytest.mark.parametrize("name", RECORDED)
def test_without_images_the_recorded_run_is_drawn(name, tmp_path, monkeypatch, capsys):
    if "needs torch" in SCRIPTS[name].title:
        pytest.importorskip("torch")
    monkeypatch.delenv("RETEMPER_DATA", raising=False)
    picture, _, numbers = save_figure(name, tmp_path, data=tmp_path)  # a folder without any
    assert "no images: --data or RETEMPER_DATA names no folder" in capsys.readouterr().out
    assert picture.stat().st_size > 20_000
    assert json.loads(numbers.read_text()) == recorded_numbers(name)
    assert numbers.read_bytes() == SCRIPTS[name].path.with_suffix(".json").read_bytes()
    assert "RETEMPER_DATA" not in os.environ
    (figure,) = draw(name)
    assert not faults(figure)
    assert "recorded" in SCRIPTS[name].text or "numbers of that run are drawn" in SCRIPTS[name].text


SCRIPT = """'Ten words of a title'
import os
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np
from retemper.gallery import recorded_numbers

if (Path(os.environ.get("RETEMPER_DATA", "no-folder")) / "images").exists():
    numbers = {"x": np.array([[1 / 3, 2.0]]), "n": [4], "name": {"y": (0.5,)}}
else:
    numbers = recorded_numbers("own-figure")
figure, ax = plt.subplots()
ax.plot(numbers["x"][0])
plt.show()
"""


def test_what_a_script_measured_is_written_and_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr("retemper.gallery.scripts._folder", lambda: tmp_path / "examples")
    monkeypatch.setenv("RETEMPER_DATA", "elsewhere")
    folder = tmp_path / "examples" / "own"
    folder.mkdir(parents=True)
    (folder / "plot_own_figure.py").write_text(SCRIPT)
    record = folder / "plot_own_figure.json"
    record.write_text("{}")
    (tmp_path / "images").touch()
    numbers = save_figure("own-figure", tmp_path / "out", data=tmp_path)[-1]
    assert os.environ["RETEMPER_DATA"] == "elsewhere"
    assert json.loads(numbers.read_text()) == {
        "x": [[0.33333, 2.0]], "n": [4], "name": {"y": [0.5]}
    }  # fmt: skip
    record.write_bytes(numbers.read_bytes())
    assert save_figure("own-figure", tmp_path / "new")[-1].read_bytes() == record.read_bytes()


def test_a_folder_of_images_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data must be a folder of images, got .*nowhere"):
        draw("networks-teachers", data=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="a figure with a recorded run, got 'linear-phase'"):
        recorded_numbers("linear-phase")


def test_a_wheel_carries_the_scripts():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert settings["wheel"]["packages"]["retemper/gallery/examples"] == "examples"
    assert (ROOT / "examples" / "linear" / "plot_linear_depth.py").is_file()


def test_gauss_hermite_fails_where_the_figure_says():
    ax = draw("perceptron-quadrature")[0].axes[0]
    for line in ax.lines[:3]:
        distance, error = line.get_data()
        assert error[distance < 1e-5].max() > 0.1
        assert error[distance > 0.85].max() < 1e-3


def test_the_published_run_is_judged_as_the_figure_says():
    ax = draw("phases-detector")[0].axes[0]
    labels = ax.get_legend_handles_labels()[1]
    assert "alarm at 4096" in labels
    assert "keep 128" in labels


def test_scripts_are_missed_with_a_sentence(monkeypatch, tmp_path):
    from retemper.gallery import scripts

    monkeypatch.setattr(scripts, "__file__", str(tmp_path / "a" / "b" / "c" / "scripts.py"))
    with pytest.raises(FileNotFoundError, match="no folder of examples"):
        figure_scripts()


def test_critical_points_end_at_the_margin_that_the_text_names():
    (figure,) = draw("perceptron-critical")
    labelled = figure.axes[0].lines[0].get_ydata()
    assert labelled[-1] < 0.02
    assert (np.diff(labelled) < 0).all()
    assert retemper.perceptron.transitions(0.65).alpha_alg is None
