"""Reference values, the invariants of the theory page, limits, controls and bad input."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar

from retemper._results import Status
from retemper.exceptions import ValidityWarning
from retemper.widenet import WideNetModel, curve, gamma_path, solve
from retemper.widenet.saddle import SingleTask, Spectrum, Target
from retemper.widenet.theory import Problem

from . import naive
from .recipe import draw, model, split

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "widenet.json").read_text())
ACTIVATIONS = ("erf", "relu", "gelu", "linear")
SMALL = {"N0": 12, "Ps": 25, "Pt": 15, "Pe": 7}
quiet = pytest.mark.filterwarnings("ignore::retemper.exceptions.ValidityWarning")
pytestmark = quiet


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


@pytest.mark.parametrize("gamma", [0.3, 2.0, 50.0, np.inf])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_action_is_stationary(act, gamma):  # invariant (i)
    target, source, _ = draw(**SMALL)
    m = WideNetModel(30, act, 0.7, 1.3, 0.04, 0.08, gamma, lam1_source=0.6)
    got = solve(m, target, source)
    point = np.array([got.delta, got.Q_tt, got.Q_st])

    def action(x):
        return naive.target_action(m, target, source, got.Q_s, *x)

    h = 1e-5 * np.eye(3) * np.maximum(np.abs(point), 0.05)
    slope = [(action(point + e) - action(point - e)) / (2 * e.sum()) for e in h]
    assert_allclose(slope, 0.0, atol=2e-8)
    size = len(target[1])
    evidence = -0.5 * m.width * (action(point) - 1) - 0.5 * size * np.log(2 * np.pi)
    assert got.log_evidence == pytest.approx(evidence, rel=1e-9)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_source_is_the_minimum_of_its_action(act):
    target, source, _ = draw(**SMALL, scale=3.0)
    m = WideNetModel(12, act, 0.7, 1.3, 0.04, 0.08, 1.0)
    got = solve(m, target, source)
    best = minimize_scalar(
        lambda x: naive.source_action(m, source, np.exp(x)),
        bounds=(-4, 4),
        options={"xatol": 1e-10},
    )
    assert got.Q_s == pytest.approx(np.exp(best.x), rel=1e-5)
    evidence = -0.5 * m.width * (best.fun - 1) - 0.5 * len(source[1]) * np.log(2 * np.pi)
    assert got.log_evidence_source == pytest.approx(evidence, rel=1e-10)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_uncoupled_target_is_the_single_task(act):  # invariant (ii)
    target, source, test = draw(**SMALL)
    m = model(act, 40)
    coupled, alone = solve(m, target, source, test), solve(m, target, None, test)
    swapped = solve(m, source, target)  # the target plays the source
    assert coupled.Q_t == pytest.approx(swapped.Q_s, rel=1e-10)
    assert coupled.log_evidence == pytest.approx(swapped.log_evidence_source, rel=1e-10)
    assert (coupled.Q_tt, coupled.Q_st, coupled.quenched) == (0.0, 0.0, 0.0)
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


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_variances_and_overlaps_are_not_negative(act):  # invariants (vii) and (viii)
    target, source, test = draw(**SMALL, scale=2.0)
    for N1 in (8, 50, 1000):
        path = gamma_path(model(act, N1), target, source, test=test)
        assert (path["thermal"] > 0).all()
        assert (path["quenched"] >= 0).all()
        assert (path["Q_tt"] - path["Q_st"] ** 2 / path["Q_s"] >= -1e-9).all()
        assert (path["delta"] > 0).all()


def test_order_of_samples_does_not_matter():  # invariant (ix)
    (Xt, yt), (Xs, ys), test = draw(**SMALL)
    rng = np.random.default_rng(1)
    i, j = rng.permutation(len(yt)), rng.permutation(len(ys))
    m = model("relu", 40, gamma=2.0)
    a, b = solve(m, (Xt, yt), (Xs, ys), test), solve(m, (Xt[i], yt[i]), (Xs[j], ys[j]), test)
    assert_allclose(a.mean, b.mean, rtol=1e-9)
    assert a.loo == pytest.approx(b.loo, rel=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 1.5, np.inf])
@pytest.mark.parametrize("act", ["erf", "gelu"])
def test_leave_one_out_equals_deletion_at_frozen_parameters(act, gamma):
    (X, y), source, _ = draw(**SMALL)
    m = model(act, 40, gamma=gamma)
    whole = Problem((X, y), source).solve(m)
    t = whole.columns[0]
    for i in (0, 7):
        keep = np.arange(len(y)) != i
        problem = Problem((X[keep], y[keep]), source)
        part = problem.solve(m)
        s = part.columns[0]
        s.delta, s.Q_tt = t.delta, t.Q_tt
        s._point = _with_overlap(s, t.R)  # R is frozen too
        s._finish()
        s.R = t.R
        s.source_weights = t.source_weights
        mean, thermal, quenched = (v[0, 0] for v in part.predict(X[i : i + 1]))
        assert y[i] - mean == pytest.approx(t.loo.mean[i], rel=1e-9)
        assert thermal == pytest.approx(t.loo.thermal[i], rel=1e-9)
        assert quenched == pytest.approx(t.loo.quenched[i], rel=1e-7, abs=1e-12)


def _with_overlap(target, R):
    """Target._point at a given R instead of its own saddle value."""
    original = Target._point

    def point(delta, q_tt):
        p = original(target, delta, q_tt)
        if target._G is None:
            return p
        E = target.readout_var * q_tt * target.kernels.K_o - R**2 * target._G
        return p._replace(
            R=R, a=p.inverse @ (target.y - R * target._mu), F=p.inverse @ E @ p.inverse
        )

    return point


def test_linear_network_leaves_the_kernel_for_the_weights():
    """At infinite width the linear network is ridge regression."""
    target, _, test = draw(**SMALL)
    got = solve(model("linear", np.inf, T=0.3), target, None, test)
    (X, y), (Xe, _) = target, test
    d = X.shape[1]
    w = np.linalg.solve(X.T @ X / d + 0.3 * np.eye(d), X.T @ y / d)
    assert_allclose(got.mean, Xe @ w, rtol=1e-10)


@pytest.mark.parametrize(
    ("N1", "T", "scale", "gamma"),
    [(10, 1e-4, 6.0, 1e3), (10, 1e-4, 0.3, 10.0), (10, 0.05, 6.0, 0.1), (100, 1e-4, 6.0, 1e-3)],
)
def test_nested_roots_agree_with_the_hybrid_method(N1, T, scale, gamma):
    target, source, _ = draw(N0=12, Ps=15, Pt=20, scale=scale, rho=-0.9)
    solved = Problem(target, source).solve(model("erf", N1, T=T, gamma=gamma))
    t = solved.columns[0]
    delta, q_tt = t._nested()
    assert solved.result().status == "converged"
    assert delta == pytest.approx(t.delta, rel=1e-7)
    assert q_tt == pytest.approx(t.Q_tt, rel=1e-7)


def test_path_shares_what_it_can_and_equals_single_solves():
    target, source, test = draw(**SMALL)
    m = model("relu", 60, lam0=0.5)
    path = gamma_path(m, target, source, [5.0, 0.0, np.inf, 0.2], test)
    assert_array_equal(path.gamma, [0.0, 0.2, 5.0, np.inf])
    for gamma, theory, anchor in zip(path.gamma, path.theory, path.control.theory, strict=True):
        at = dataclasses.replace(m, gamma=gamma)
        for mine, other in ((theory, source), (anchor, None)):
            alone = solve(at, target, other, test)
            for name in ("Q_t", "Q_tt", "Q_st", "test_error", "loo"):
                want = getattr(alone, name)
                assert getattr(mine, name) == pytest.approx(want, rel=1e-8, abs=1e-12), name
    assert_allclose(path.loo_losses.mean(1), path["loo"], rtol=1e-12)
    frame = path.to_frame()
    assert list(frame["control_test_error"]) == list(path.control["test_error"])
    assert gamma_path(m, target, source, [0.0], control=False).control is None


def test_width_picture():
    """F2 of the theory page: transfer at finite width, regularisation alone at large width."""
    problem = draw(N0=200, Ps=400, Pt=60, Pe=300)
    gammas = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf]
    narrow = gamma_path(model(N1=100, T=0.01), problem[0], problem[1], gammas, problem[2])
    want = [1.1633, 1.1433, 1.0798, 0.8960, 0.7465, 0.6990, 0.7271, 0.7455]
    assert_allclose(narrow["test_error"], want, atol=6e-5)
    want = [1.1633, 1.1522, 1.1384, 1.1362, 1.1886, 1.2932, 1.4968, 1.5885]
    assert_allclose(narrow.control["test_error"], want, atol=6e-5)
    want = [1.1811, 1.1654, 1.1118, 0.9482, 0.8095, 0.7673, 0.8008, 0.8206]
    assert_allclose(narrow["loo"], want, atol=6e-5)
    wide = gamma_path(model(N1=5000, T=0.01), problem[0], problem[1], gammas, problem[2])
    want = [1.0810, 1.0667, 1.0479, 1.0277, 1.0335, 1.0492, 1.0600, 1.0615]
    assert_allclose(wide["test_error"], want, atol=6e-5)
    assert_allclose(
        wide.control["test_error"][:5], [1.0810, 1.0669, 1.0492, 1.0345, 1.0473], atol=6e-5
    )


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
    a = curve(m, target, source, test, width=[20, 200], lam0=[0.5, 2.0], gamma=[0.0, 1.0, np.inf])
    b = curve(m, target, source, test, gamma=[0.0, 1.0, np.inf], lam0=[0.5, 2.0], width=[20, 200])
    assert list(a.axes) == ["width", "lam0", "gamma"]
    assert_array_equal(a["test_error"], b["test_error"].transpose(2, 1, 0))
    one = solve(model("erf", 200, lam0=0.5, gamma=1.0), target, source, test)
    assert a["test_error"][1, 0, 1] == pytest.approx(one.test_error, rel=1e-12)
    assert set(a["status"].ravel()) == {"converged"}
    with pytest.raises(ValueError, match="axes names 'depth', WideNetModel has"):
        curve(m, target, source, depth=[1, 2])


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


def test_single_task_takes_the_lowest_of_several_minima():
    """Strong modes without labels want a small Q, one weak mode with labels a large one."""
    s = np.r_[np.full(150, 10.0), 0.01]
    spectrum = Spectrum(np.diag(s), np.zeros(s.size))
    chosen = []
    for level in (2.7, 6.0):
        task = SingleTask(spectrum, np.where(s > 1, 0.0, level), 50.0, 0.01, 1.0)
        assert task.n_minima == 2
        x = np.linspace(-9, 9, 801)
        assert task.action(task.Q) <= min(task.action(q) for q in np.exp(x)) + 1e-9
        assert task.residual < 1e-10
        chosen.append(task.Q)
    assert chosen[0] < 0.1
    assert chosen[1] > 1.0


def test_zero_temperature():
    target, source, test = draw(N0=60, Ps=30, Pt=15, Pe=9)
    m = dataclasses.replace(
        model("erf", 100, gamma=1.0), temperature_source=0.0, temperature_target=0.0
    )
    got = solve(m, target, source, test)
    near = solve(
        dataclasses.replace(m, temperature_source=1e-9, temperature_target=1e-9),
        target,
        source,
        test,
    )
    assert got.test_error == pytest.approx(near.test_error, rel=1e-5)
    (X, y), _, _ = target, source, test
    twice = (np.vstack([X, X[:1]]), np.r_[y, y[0]])
    for gamma in (0.0, 1.0, np.inf):
        at = dataclasses.replace(m, gamma=gamma)
        with pytest.raises(ValueError, match=r"temperature_target must be at least .* singular"):
            solve(at, twice, source)
    with pytest.raises(ValueError, match=r"temperature_source must be at least .* singular"):
        solve(m, target, (np.vstack([source[0]] * 2), np.r_[source[1], source[1]]))
    with pytest.raises(ValueError, match="interpolation threshold"):
        solve(WideNetModel(8, gamma=np.inf, temperature_target=0.0), target, source)


@pytest.mark.filterwarnings("default::retemper.exceptions.ValidityWarning")
def test_warnings_of_validity():
    target, source, _ = draw(N0=10, Ps=60, Pt=15)
    with pytest.warns(ValidityWarning, match="samples per effective input dimension"):
        got = solve(model("erf", 50, gamma=1.0), target, source)
    assert got.samples_per_dimension > 6
    assert "align" in got.message
    with pytest.warns(ValidityWarning, match="not above the rank 10"):
        solve(model("linear", 9, gamma=np.inf), target, source)
    with pytest.warns(ValidityWarning, match="heavy-tailed"):
        gamma_path(model("linear", 9), target, source, [0.0, np.inf])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 1}, r"width must lie in \[2"),
        ({"width": np.nan}, "width"),
        ({"gamma": -1.0}, r"gamma must lie in \[0"),
        ({"gamma": np.nan}, "gamma"),
        ({"lam0": 0.0}, "lam0"),
        ({"lam1": -1.0}, "lam1"),
        ({"lam1_source": 0.0}, "lam1_source"),
        ({"temperature_target": -0.1}, "temperature_target"),
        ({"temperature_source": np.inf}, "temperature_source"),
        ({"activation": "tanh"}, "activation must be one of"),
    ],
)
def test_model_refuses_bad_values(change, match):
    with pytest.raises(ValueError, match=match):
        WideNetModel(**({"width": 10.0} | change))


def test_bad_data_is_refused():
    target, source, _ = draw(**SMALL)
    m = model(N1=40, gamma=1.0)
    (Xt, yt), (Xs, ys) = target, source
    cases = [
        ((target, (Xs[:, :5], ys)), ValueError, "source has 5 features and target has 12"),
        (((Xt, yt[:-1]), source), ValueError, "target y must have shape"),
        (((Xt[:0], yt[:0]), source), ValueError, "target X must have samples"),
        ((Xt, source), TypeError, r"target must be a pair \(X, y\)"),
        (((Xt.astype(str), yt), source), TypeError, "target X must hold real numbers"),
        ((target, (Xs, np.column_stack([ys] * 3))), ValueError, "source has 3 outputs"),
        (((np.where(Xt == Xt[2, 1], np.nan, Xt), yt), source), ValueError, r"target X\[2, 1\]"),
    ]
    for args, error, match in cases:
        with pytest.raises(error, match=match):
            solve(m, *args)
    with pytest.raises(TypeError, match="model must be a WideNetModel"):
        solve(10, target, source)
    with pytest.raises(ValueError, match="gammas must lie"):
        gamma_path(m, target, source, [-1.0])
    with pytest.raises(ValueError, match="at least one coupling"):
        gamma_path(m, target, source, [])


def test_results_pickle_and_show_themselves():
    target, source, test = draw(**SMALL)
    got = solve(model(N1=40, gamma=1.0), target, source, test)
    again = pickle.loads(pickle.dumps(got))
    assert again.model == got.model
    assert again.Q_st == got.Q_st
    assert "Q_st=" in repr(got)
    assert got.to_frame()["test_error"].item() == got.test_error
    assert got.status is Status.CONVERGED
