"""Curves of every system: simulated points beside them, tables and axes made from them."""

import csv
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import retemper
from retemper._domains import SYMBOLS, find_word
from retemper._export import along
from retemper.diagonal import DiagonalModel
from retemper.linear import LinearModel
from retemper.perceptron import PerceptronModel
from retemper.phases import FeatureModel
from retemper.widenet import WideNetModel

from .discover import ROOT, systems


def curve(system):
    """A small curve of a system, its quantity, and options of its experiment."""
    room = getattr(retemper, system)
    if system == "linear":
        model = LinearModel(30, np.ones(60) / 60**0.5, noise=0.3)
        return room.curve(model, {"n_samples": [15, 30, 90], "noise": [0.1, 0.3]}), "risk", {}
    if system == "diagonal":
        axes = {"alpha": [0.3, 0.5], "noise": [0.2, 0.5]}
        return room.curve(DiagonalModel(0.3), axes), "mse", {"n_features": 300}
    if system == "perceptron":
        model = PerceptronModel(0.5, 0.0, 1.0)
        return room.curve(model, {"alpha_l": [1.0, 2.0]}), "cosine", {"n_features": 500}
    if system == "phases":
        model = FeatureModel(
            10, [3.0, 1.0], [1.0, 0.2], n_noise=20, noise_sd=0.5, times=[0.5, 1.0, 4.0]
        )
        axes = {"noise_sd": [0.3, 0.5]}
        return room.curve(model, axes), "fuv", {"n_samples": 20_000}
    rng = np.random.default_rng(0)
    X, teacher = rng.normal(size=(30, 20)), rng.normal(size=20) / 20**0.5
    rows = (X[:20], X[:20] @ teacher), None, (X[20:], X[20:] @ teacher)
    axes = {"temperature_target": [0.1, 0.5]}
    return room.curve(WideNetModel(100, "linear"), axes, *rows), "test_error", {"n_burn_source": 50}


@pytest.mark.parametrize("system", systems())
def test_simulated_points_lie_on_the_line(system):
    sweep, name, options = curve(system)
    repeats = {"n_chains": 4} if system == "widenet" else {"n_repeats": 12}
    points = sweep.simulate(name, random_state=1, **repeats, **options)
    assert points.axes.keys() == sweep.axes.keys()
    assert points[name].shape == sweep[name].shape == points[f"{name}_stderr"].shape
    gap = abs(points[name] - sweep[name])
    assert (gap <= 4.0 * points[f"{name}_stderr"] + 0.1 * abs(sweep[name])).all()
    again = sweep.simulate(name, random_state=1, **repeats, **options)
    assert (again[name] == points[name]).all()
    assert len(np.unique(points[name] - sweep[name])) == sweep[name].size


@pytest.mark.parametrize("system", ["linear", "diagonal"])
def test_points_are_drawn_in_the_colour_of_their_line(system):
    sweep, name, options = curve(system)
    ax = sweep.plot(name, simulate={"n_repeats": 4, **options})
    lines = [line for line in ax.lines if len(line.get_xdata()) and line.get_linestyle() != "None"]
    assert len(ax.containers) == len(lines) == 2
    for line, bars in zip(lines, ax.containers, strict=True):
        assert bars.lines[0].get_color() == line.get_color()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"noise = {x:g}" for x in sweep.axes["noise"]]
    plt.close(ax.figure)


def test_an_integer_is_the_number_of_repeats_at_few_places():
    model = LinearModel(30, np.ones(60) / 60**0.5, noise=0.3, ridge=0.1)
    sweep = retemper.linear.curve(model, {"n_samples": range(10, 60)}, quantities=["risk"])
    ax = sweep.plot(simulate=5)
    drawn = ax.containers[0].lines[0]
    assert drawn.get_xdata().tolist() == [10, 16, 22, 28, 34, 41, 47, 53, 59]
    one = retemper.linear.simulate(
        LinearModel(30, np.ones(60) / 60**0.5, noise=0.3, ridge=0.1), n_repeats=5
    )
    assert one.stderr["risk"] > 0.0
    plt.close(ax.figure)


def test_lines_of_several_quantities_stand_side_by_side():
    sweep, _, _ = curve("linear")
    names = ["risk", "training_error"]
    both = sweep.simulate(names, n_repeats=4)
    ax = sweep.plot(names, simulate=both)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"{n}, noise = {x:g}" for n in names for x in sweep.axes["noise"]]
    assert ax.get_ylabel() == "risk, training_error"
    for bars, values in zip(ax.containers, [*both["risk"].T, *both["training_error"].T],
                            strict=True):  # fmt: skip
        assert bars.lines[0].get_ydata().tolist() == values.tolist()
    plt.close(ax.figure)
    text = sweep.to_pgf(names, simulate=both)
    assert r"ylabel={$R$, $\psi$}" in text
    assert r"\addlegendentry{$\psi$, $\sigma = 0.3$}" in text
    error = float(both["training_error_stderr"][2, 1])
    assert f"90.0 {float(both['training_error'][2, 1])!r} {error!r}" in text
    assert r"$n$ & $R$, $\sigma = 0.1$ & $R$, $\sigma = 0.3$ & $\psi$" in sweep.to_latex(names)
    assert sweep.to_latex(["risk", "risk"]) == sweep.to_latex("risk")
    for bad in ([], ["risk", "nothing"]):
        with pytest.raises(ValueError, match=r"quantity must .*, got .*(\[\]|nothing)"):
            sweep.plot(bad)
    with pytest.raises(ValueError, match="got 'risk_stderr'"):
        sweep.plot("risk", simulate=sweep)


def test_what_cannot_be_simulated_is_refused():
    sweep, _, _ = curve("diagonal")
    with pytest.raises(ValueError, match=r"quantity must be one that the experiment measures, \["):
        sweep.simulate("nothing", n_features=50, n_repeats=2)
    plain = retemper.sweep("retemper.linear:deep_scale", {
        "a2": [0.25], "p2": [1.0], "q2": [3.0], "depth": [1, 2],
    })  # fmt: skip
    with pytest.raises(ValueError, match="only a curve of a system can be simulated"):
        plain.simulate()


@pytest.mark.parametrize("system", systems())
def test_values_survive_csv(system, tmp_path):
    sweep, name, _ = curve(system)
    path = tmp_path / "curve.csv"
    text = sweep.to_csv(path)
    assert path.read_text() == text
    head, *rows = csv.reader(io.StringIO(text))
    assert head[: len(sweep.axes)] == list(sweep.axes)
    assert len(rows) == np.prod([len(a) for a in sweep.axes.values()])
    column = [float(row[head.index(name)]) for row in rows]
    assert column == sweep[name].ravel().tolist()
    first = [float(row[0]) for row in rows]
    assert sorted(set(first)) == sorted(next(iter(sweep.axes.values())).tolist())


def test_arrays_have_columns_of_their_own():
    model = LinearModel(10, np.eye(2, 20), source_coef=np.eye(2, 20), depth=3, heads="independent")
    sweep = retemper.linear.curve(model, {"noise": [0.1, 0.2]}, quantities=["source_scale"])
    head, *rows = csv.reader(io.StringIO(sweep.to_csv()))
    assert head[:3] == ["noise", "source_scale_0", "source_scale_1"]
    assert [float(row[2]) for row in rows] == sweep["source_scale"][:, 1].tolist()


def test_a_table_of_latex():
    sweep, _, _ = curve("linear")
    assert sweep.to_latex("risk").splitlines() == [
        r"\begin{tabular}{rrr}",
        r"\toprule",
        r"$n$ & $\sigma = 0.1$ & $\sigma = 0.3$ \\",
        r"\midrule",
        *(
            rf"${n}$ & ${a:.4g}$ & ${b:.4g}$ \\"
            for n, (a, b) in zip((15, 30, 90), sweep["risk"], strict=True)
        ),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    small = retemper.linear.curve(
        LinearModel(30, np.ones(60)), {"ridge": [1e-7]}, quantities=["risk", "df1"]
    )
    assert small.to_latex().splitlines()[2:5:2] == [
        r"$\lambda$ & $R$ & $\mathrm{df}_1$ \\",
        rf"$1\cdot 10^{{-7}}$ & ${small['risk'][0]:.4g}$ & $30$ \\",
    ]


@pytest.mark.parametrize("system", systems())
def test_an_axis_of_pgfplots_holds_every_number(system):
    sweep, name, _ = curve(system)
    text = sweep.to_pgf(name)
    turned = along(sweep) != next(iter(sweep.axes))  # the times of a model lie along the lines
    lines = np.atleast_2d(sweep[name] if turned else sweep[name].T)
    assert text.count(r"\addplot") == len(lines)
    for begin, end in (("{", "}"), (r"\begin{", r"\end{"), ("[", "]")):
        assert text.count(begin) == text.count(end)
    table = re.findall(r"^(\S+) (\S+)$", text, re.M)
    numbers = [float(y) for x, y in table if x != "x"]
    assert numbers == lines.ravel().tolist()


def test_pgf_shows_simulated_points_and_refuses_text():
    sweep, _, _ = curve("linear")
    points = sweep.simulate("risk", n_repeats=4)
    text = sweep.to_pgf("risk", simulate=points)
    assert text.count("y error=e") == 2
    value, error = (float(points[name][0, 0]) for name in ("risk", "risk_stderr"))
    assert f"15.0 {value!r} {error!r}" in text
    assert r"\addlegendentry{$\sigma = 0.1$}" in text
    words = retemper.diagonal.curve(DiagonalModel(0.3), {"mode": ["reset", "warm"]})
    with pytest.raises(ValueError, match="need numbers, got 'reset'"):
        words.to_pgf("mse")
    assert r"reset & $" in words.to_latex("mse")


def test_every_symbol_is_of_a_word_and_its_page_is_the_table():
    from docs._ext.pages import symbols

    assert set(SYMBOLS) == set(systems())
    for system, found in SYMBOLS.items():
        assert len(set(found.values())) == len(found), system
        for name in found:
            word = find_word(name)
            assert word is not None, name
            assert not word.systems or system in word.systems, name
    assert symbols() in (ROOT / "docs" / "conventions.md").read_text()
