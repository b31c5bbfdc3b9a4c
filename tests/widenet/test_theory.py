"""Reference values, the invariants of the theory page, limits and sweeps."""

import dataclasses
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retemper._results import Status
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.widenet import WideNetModel, curve, solve

from .recipe import SMALL, draw, model, split

pytestmark = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "widenet.json").read_text())
ACTIVATIONS = ("erf", "relu", "gelu", "linear")


@pytest.mark.parametrize("row", REFERENCE, ids=lambda r: r["id"])
def test_reference_values(row):
    parameters = dict(row["parameters"])
    control = parameters.pop("control", False)
    if parameters.get("gamma") == "inf":
        parameters["gamma"] = np.inf
    for_data, for_model = split(parameters)
    target, source, test = draw(**for_data)
    got = solve(model(**for_model), target, None if control else source, test)
    assert got.status == "converged"
    for name, want in row["values"].items():
        value = got.mean[0] if name == "mean0" else getattr(got, name)
        tolerance = 1e-5 if name == "log_evidence" else max(1e-8, 1e-6 * abs(want))
        assert value == pytest.approx(want, abs=tolerance), name


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_uncoupled_target_is_the_single_task(act):  # invariant (ii)
    target, source, test = draw(**SMALL)
    m = model(act, 40)
    coupled, alone = solve(m, target, source, test), solve(m, target, None, test)
    swapped = solve(m, source, target)  # the target plays the source
    assert coupled.Q_t == pytest.approx(swapped.Q_s, rel=1e-10)
    assert coupled.log_evidence == pytest.approx(swapped.log_evidence_source, rel=1e-10)
    assert coupled.quenched == pytest.approx(0.0, abs=1e-12)
    shared = (coupled.Q_tt, coupled.Q_st)  # what the means of the labels have in common
    assert (shared == (0.0, 0.0)) == (act in {"erf", "linear"})
    assert_allclose(shared, 0.0, atol=2e-2)
    assert coupled.test_error == pytest.approx(alone.test_error, rel=1e-14)
    # a vanishing coupling says the same through the coupled equations
    weak = solve(dataclasses.replace(m, gamma=1e-9), target, source, test)
    assert weak.test_error == pytest.approx(coupled.test_error, rel=1e-7)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_strong_coupling_is_frozen(act):  # invariant (iii)
    target, source, test = draw(**SMALL)
    strong, frozen = (solve(model(act, 40, gamma=g), target, source, test) for g in (1e8, np.inf))
    for name in ("Q_t", "Q_tt", "Q_st", "test_error", "loo", "log_evidence"):
        assert getattr(strong, name) == pytest.approx(getattr(frozen, name), rel=1e-6), name


@pytest.mark.parametrize("gamma", [1.0, np.inf])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_signs(act, gamma):  # invariants (iv) and (v)
    (Xt, yt), (Xs, ys), (Xe, ye) = draw(**SMALL)
    m = model(act, 40, gamma=gamma)
    want = solve(m, (Xt, yt), (Xs, ys), (Xe, ye))
    for target, source, test in (
        ((Xt, yt), (Xs, -ys), (Xe, ye)),
        ((Xt, -yt), (Xs, ys), (Xe, -ye)),
    ):
        got = solve(m, target, source, test)
        assert got.Q_st == pytest.approx(-want.Q_st, rel=1e-9)
        for name in ("Q_s", "Q_t", "Q_tt", "test_error", "bias", "loo", "log_evidence"):
            assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-9), name
    assert_allclose(got.mean, -want.mean, rtol=1e-9)


def test_opposite_teachers_help_alike():
    m = model(N1=50, gamma=3.0)
    plus, minus = (solve(m, *draw(**SMALL, rho=r)) for r in (1.0, -1.0))
    assert minus.test_error == pytest.approx(plus.test_error, rel=1e-9)
    assert minus.Q_st == pytest.approx(-plus.Q_st, rel=1e-9)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_infinite_width_transfers_nothing(act):  # invariant (vi)
    target, source, test = draw(**SMALL)
    for gamma in (0.0, 1.0, np.inf):
        wide, infinite = (
            solve(model(act, N, gamma=gamma), target, source, test) for N in (1e8, np.inf)
        )
        assert (infinite.Q_s, infinite.Q_t, infinite.Q_tt, infinite.Q_st) == (1, 1, 0, 0)
        assert_allclose([wide.Q_s, wide.Q_t, wide.Q_tt, wide.Q_st], [1, 1, 0, 0], atol=1e-4)
        assert wide.test_error == pytest.approx(infinite.test_error, rel=1e-5)
        assert wide.log_evidence == pytest.approx(infinite.log_evidence, rel=1e-4)


def test_order_of_samples_does_not_matter():  # invariant (ix)
    (Xt, yt), (Xs, ys), test = draw(**SMALL)
    rng = np.random.default_rng(1)
    i, j = rng.permutation(len(yt)), rng.permutation(len(ys))
    m = model("relu", 40, gamma=2.0)
    a, b = solve(m, (Xt, yt), (Xs, ys), test), solve(m, (Xt[i], yt[i]), (Xs[j], ys[j]), test)
    assert_allclose(a.mean, b.mean, rtol=1e-9)
    assert a.loo == pytest.approx(b.loo, rel=1e-10)


def test_several_outputs_are_separate_networks():
    (Xt, yt), (Xs, ys), (Xe, ye) = draw(**SMALL)
    yt2, ys2, ye2 = (np.column_stack([y, y**2 - 1]) for y in (yt, ys, ye))
    m = model("gelu", 40, gamma=2.0)
    both = solve(m, (Xt, yt2), (Xs, ys2), (Xe, ye2))
    one = [solve(m, (Xt, yt2[:, i]), (Xs, ys2[:, i]), (Xe, ye2[:, i])) for i in (0, 1)]
    for name in ("Q_s", "Q_t", "Q_tt", "Q_st"):
        assert_allclose(getattr(both, name), [getattr(o, name) for o in one], rtol=1e-12)
    for name in ("test_error", "loo", "log_evidence"):
        assert getattr(both, name) == pytest.approx(sum(getattr(o, name) for o in one), rel=1e-12)
    assert_allclose(both.mean, np.column_stack([o.mean for o in one]), rtol=1e-10)
    shared = solve(m, (Xt, yt2), (Xs, ys))  # one source for both outputs
    assert shared.Q_s.tolist() == [one[0].Q_s] * 2


def test_curve_equals_single_solves_whatever_the_order_of_axes():
    target, source, test = draw(**SMALL)
    m = model("erf", 40)
    axes = {"width": [20, 200], "lam0": [0.5, 2.0], "gamma": [0.0, 1.0, np.inf]}
    a = curve(m, axes, target, source, test)
    b = curve(m, dict(reversed(axes.items())), target, source, test)
    assert list(a.axes) == ["width", "lam0", "gamma"]
    assert_array_equal(a["test_error"], b["test_error"].transpose(2, 1, 0))
    one = solve(model("erf", 200, lam0=0.5, gamma=1.0), target, source, test)
    assert a["test_error"][1, 0, 1] == pytest.approx(one.test_error, rel=1e-12)
    assert set(a["status"].ravel()) == {"converged"}
    with pytest.raises(ValueError, match="axes names 'depth', WideNetModel has"):
        curve(m, {"depth": [1, 2]}, target, source)


@pytest.mark.parametrize("act", ["erf", "relu"])
def test_one_target_sample_and_labels_of_zero(act):
    (Xt, yt), (Xs, ys), test = draw(**SMALL)
    m = model(act, 40, gamma=2.0)
    assert np.isfinite(solve(m, (Xt[:1], yt[:1]), (Xs, ys), test).test_error)
    nothing = solve(m, (Xt, 0 * yt), (Xs, ys))
    assert nothing.Q_st == pytest.approx(0.0, abs=1e-12)
    assert nothing.Q_tt == pytest.approx(0.0, abs=1e-9)
    assert solve(m, (Xt, yt), (Xs, 0 * ys)).Q_st == 0.0
    assert nothing.status == "converged"


def test_results_pickle_and_show_themselves():
    target, source, test = draw(**SMALL)
    got = solve(model(N1=40, gamma=1.0), target, source, test)
    again = pickle.loads(pickle.dumps(got))
    assert again.model == got.model
    assert again.Q_st == got.Q_st
    assert "Q_st=" in repr(got)
    assert got.to_frame()["test_error"].item() == got.test_error
    assert got.status is Status.CONVERGED


def test_curve_says_once_what_is_outside_the_theory():
    target, source, test = draw(N0=10, Ps=60, Pt=15, Pe=7)
    axes = {"activation": ["linear", "erf"], "width": [20, 60], "gamma": [0.0, 1.0]}
    with pytest.warns(ValidityWarning) as caught:
        sweep = curve(model(), axes, target, source, test, quantities=["Q_t", "test_error"])
    assert len(caught) == 1
    said = str(caught[0].message)
    assert said.startswith("4 of 8 points are not valid")
    assert "activation='erf', width=20, gamma=0" in said
    assert "samples per effective input dimension" in said
    assert caught[0].filename == __file__
    assert_array_equal(sweep["valid"], np.array([[[True] * 2] * 2, [[False] * 2] * 2]))
    assert set(sweep.values) == {"Q_t", "test_error", "status", "valid"}
    with pytest.raises(NumericalError, match="4 of 8 points"):
        curve(model(), axes, target, source, on_failure="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve(model(), axes, target, source, on_failure="ignore")


def test_curve_of_several_outputs_keeps_their_order_parameters():
    (Xt, yt), (Xs, ys), _ = draw(**SMALL)
    target = (Xt, np.column_stack([yt, yt**2 - 1]))
    seen = []
    axes = {"temperature_target": [0.05, 0.1, 0.2], "lam0": [1.0, 2.0]}
    sweep = curve(
        model("linear", gamma=1.0), axes, target, (Xs, ys), progress=lambda *at: seen.append(at)
    )
    assert sweep["Q_t"].shape == (3, 2, 2)
    assert seen[-1] == (6, 6)
    one = solve(
        dataclasses.replace(model("linear", lam0=2.0, gamma=1.0), temperature_target=0.1),
        target,
        (Xs, ys),
    )
    assert_allclose(sweep["Q_t"][1, 1], one.Q_t, rtol=1e-12)
    with pytest.raises(ValueError, match="quantities must be one of"):
        curve(model(), axes, target, quantities=["test_error"])
    with pytest.raises(TypeError, match="axes must map"):
        curve(model(), target, source=(Xs, ys), target=target)


def test_on_failure_of_solve():
    target, source, _ = draw(N0=10, Ps=60, Pt=15)
    with pytest.raises(NumericalError, match="samples per effective input dimension"):
        solve(model(), target, source, on_failure="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "align" in solve(model(), target, source, on_failure="ignore").message


def test_several_minima_are_named_as_the_broken_assumption():
    """One weak direction carries the labels, many strong ones do not."""
    rng = np.random.default_rng(0)
    d = 151
    X = (
        np.linalg.qr(rng.normal(size=(d, d)))[0]
        * np.sqrt(d * np.r_[np.full(150, 10.0), 0.01])[:, None]
    )
    y = np.r_[np.zeros(150), 2.7]
    m = dataclasses.replace(model("linear", 50), temperature_source=0.01, temperature_target=0.01)
    with pytest.warns(ValidityWarning, match="2 minima, where the theory assumes one"):
        got = solve(m, (X, y))
    assert "sampled networks may sit in another" in got.message


@pytest.mark.parametrize("gamma", [0.0, 1.0, np.inf])
def test_mean_field_scaling_is_larger_labels(gamma):
    """lam1 times c and temperatures over c: labels as if they were the root of c as large."""
    target, source, test = draw(**SMALL)
    c = 30.0
    base = {"activation": "erf", "gamma": gamma}
    scaled = WideNetModel(30, **base, lam1=c, temperature_source=0.05 / c,
                          temperature_target=0.05 / c)  # fmt: skip
    larger = [(X, np.sqrt(c) * y) for X, y in (target, source, test)]
    got = solve(scaled, target, source, test, on_failure="ignore")
    want = solve(WideNetModel(30, **base), *larger, on_failure="ignore")
    for name in ("Q_s", "Q_t", "Q_tt", "Q_st"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-8, abs=1e-10)
    for name in ("bias", "thermal", "quenched", "loo"):
        assert c * getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-7, abs=1e-9)
