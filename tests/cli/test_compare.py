"""One table of theory against simulation, over all systems."""

import json
import sys

import matplotlib as mpl
import numpy as np
import pytest

import retemper
from retemper.agreement import SYSTEMS, AgreementDisplay, standard_cases
from retemper.cli import main
from retemper.diagonal import DiagonalModel
from retemper.linear import LinearModel

LINEAR = LinearModel(30, np.ones(60) / 60**0.5, noise=0.2)
OPTIONS = {"n_repeats": 20}


@pytest.fixture(scope="module")
def standard():
    return retemper.compare()


@pytest.mark.slow
def test_standard_cases_agree_in_every_system(standard):
    assert set(standard.systems.values()) == set(SYSTEMS)
    assert len(standard.comparisons) == sum(len(standard_cases(s)) for s in SYSTEMS)
    gap = np.concatenate([c.theory - c.simulation for c in standard.comparisons.values()])
    size = np.concatenate([abs(c.theory) for c in standard.comparisons.values()])
    # where repeats resolve the finite-size correction it is below a thousandth
    assert ((abs(standard.z) < 3.5) | (abs(gap) < 1e-3 * size)).all()
    assert 0.5 < np.sqrt(np.mean(standard.z**2)) < 1.5


def test_a_wrong_theory_is_seen(monkeypatch):
    module = sys.modules["retemper.linear._simulate"]  # the package has a function of that name
    solve = module.solve
    monkeypatch.setattr(
        module,
        "solve",
        lambda m, **options: solve(LinearModel(31, m.theta_target, noise=0.4), **options),
    )
    assert abs(retemper.compare(LINEAR, n_repeats=200).z).max() > 5


def test_a_case_does_not_depend_on_its_neighbours():
    alone = retemper.compare({"a": (LINEAR, OPTIONS)}, random_state=3)
    other = (DiagonalModel(0.5, noise=0.2), {"n_features": 200, "n_repeats": 4})
    beside = retemper.compare({"b": other, "a": (LINEAR, OPTIONS)}, random_state=3, n_jobs=2)
    np.testing.assert_array_equal(
        alone.comparisons["a"].simulation, beside.comparisons["a"].simulation
    )
    direct = retemper.linear.compare(LINEAR, n_repeats=20, random_state=3)
    np.testing.assert_array_equal(alone.comparisons["a"].z, direct.z)


def test_a_generator_moves_on():
    rng = np.random.default_rng(0)
    first, second = (retemper.compare(LINEAR, random_state=rng, **OPTIONS) for _ in range(2))
    assert (first.z != second.z).any()


@pytest.mark.slow
def test_table_frame_and_rows_say_the_same(standard):
    frame, rows, text = standard.to_frame(), standard.as_dict(), str(standard)
    assert len(frame) == len(rows) == len(standard.z)
    assert frame.index.names == ["system", "case", "quantity"]
    np.testing.assert_array_equal(frame["z"], [row["z"] for row in rows])
    assert len(text.splitlines()) == len(rows) + 2
    assert f"{len(rows)} comparisons" in text


@pytest.mark.slow
def test_display_shows_every_deviation_and_marks_those_outside(standard):
    mpl.use("Agg")
    shown = standard.plot()
    assert len(shown.axes_) == 2
    assert sum(len(ax.get_yticks()) for ax in shown.axes_) == len(standard.z)
    far = retemper.agreement.Agreement(
        {
            "x": retemper._results.Comparison(
                ("a", "b"), np.array([1.0, 2.0]), np.zeros(2), np.full(2, 0.1)
            )
        },
        {"x": "linear"},
    )
    (ax,) = AgreementDisplay.from_agreement(far).plot().axes_
    assert {"10.0", "20.0"} <= {text.get_text() for text in ax.texts}
    mpl.pyplot.close("all")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        (({},), {}, ValueError, "at least one model"),
        ((3,), {}, TypeError, r"models\['int'\] must be a model"),
        (({"a": (LINEAR, 3)},), {}, TypeError, "options as a mapping"),
        (({"a": LINEAR},), {"n_repeats": 3}, TypeError, "need a single model"),
    ],
)
def test_bad_input(arguments, options, error, match):
    with pytest.raises(error, match=match):
        retemper.compare(*arguments, **options)


def test_command(capsys, tmp_path):
    picture = tmp_path / "agreement.png"
    main_exits(["compare", "phases", "--json", "--picture", str(picture)])
    rows = json.loads(capsys.readouterr().out)
    assert {row["system"] for row in rows} == {"phases"}
    assert picture.stat().st_size > 10_000
    main_exits(["compare", "linear"])
    assert "root mean square" in capsys.readouterr().out


def test_command_refuses_other_systems(capsys):
    main_exits(["compare", "phase"], code=2)
    assert "'phases'" in capsys.readouterr().err


def test_json_of_info_and_figure_list(capsys):
    main_exits(["info", "--json"])
    assert json.loads(capsys.readouterr().out)["retemper"] == retemper.__version__
    main_exits(["figure", "--list", "--json"])
    assert json.loads(capsys.readouterr().out).keys() == retemper.gallery.figure_scripts().keys()


def main_exits(words, code=0):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert (stop.value.code or 0) == code
