"""Identities first, then the numbers of the theory page."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, special

import retemper.perceptron as pc
from retemper import numerics
from retemper._dispatch import core
from retemper.exceptions import NumericalError, ValidityWarning
from retemper.perceptron import PerceptronModel, solve
from retemper.perceptron.model import laws_of

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "perceptron.json").read_text(encoding="utf-8")
)
SPHERE = core.perceptron.Prior.sphere


def moments(model, q):
    """(F, R, S) of both kinds of row at some overlaps."""
    q = np.atleast_1d(q)
    at = core.perceptron.curve_table(laws_of(model)[0], SPHERE, np.log(q / (1 - q)), 1)
    return tuple(
        np.stack([kind.overlap, kind.slope, kind.entropy], axis=1)
        for kind in (at.unlabelled, at.labelled)
    )


def slow_moments(model, q, kind):
    """The same by adaptive quadrature of SciPy over the fields."""
    V = 1 - q
    eta = model.eta_u if kind == "unlabelled" else model.eta_l
    wall = model.kappa / math.sqrt(q)
    width = math.sqrt(V + model.sigma**2) / math.sqrt(q)
    points = sorted({c + r * width for c in (wall, -wall, 0) for r in (-8, -3, 0, 3, 8)})
    points = [p for p in points if abs(p) < 12]

    def average(f):
        def integrand(z):
            log_w, g, dg = pc.channel_score(
                math.sqrt(q) * z, V, kind=kind, kappa=model.kappa, sigma=model.sigma, eta=eta
            )
            return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * f(math.exp(log_w), log_w, g, dg)

        return integrate.quad(integrand, -12, 12, points=points, limit=500, epsabs=1e-12)[0]

    return [
        average(lambda w, _, g, dg: w * g * g),
        average(lambda w, _, g, dg: w * dg * dg),
        average(lambda w, log_w, g, dg: w * log_w),
    ]


MODELS = {
    "hard": PerceptronModel(0.5, 0.0),
    "soft": PerceptronModel(0.8, 0.0, sigma=0.3),
    "contaminated": PerceptronModel(1.0, 0.0, eta_u=0.2, eta_l=0.1),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("q", [0.05, 0.6, 0.97])
def test_averages_against_adaptive_quadrature(name, q):
    unlabelled, labelled = moments(MODELS[name], q)
    for kind, got in (("unlabelled", unlabelled), ("labelled", labelled)):
        assert_allclose(got[0], slow_moments(MODELS[name], q, kind), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_average_of_curvature_is_the_second_hermite_coefficient(name):
    """E W (g^2 + dg) = c_2 at every overlap, here through derivatives: F' = E W dg^2."""
    model = MODELS[name]
    q = np.array([0.1, 0.5, 0.9, 0.99])
    h = 1e-5 * q * (1 - q)
    for kind in (0, 1):
        slope = (moments(model, q + h)[kind][:, 0] - moments(model, q - h)[kind][:, 0]) / (2 * h)
        assert_allclose(moments(model, q)[kind][:, 1], slope, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_entropy_has_slope_half_F(name):
    """d/dq E W ln W = F / 2, the energetic half of d Phi / dq."""
    model = MODELS[name]
    q = np.array([0.02, 0.3, 0.8, 0.98])
    h = 1e-5 * q * (1 - q)
    for kind in (0, 1):
        slope = (moments(model, q + h)[kind][:, 2] - moments(model, q - h)[kind][:, 2]) / (2 * h)
        assert_allclose(0.5 * moments(model, q)[kind][:, 0], slope, rtol=1e-6)


@given(st.floats(0.1, 2), st.floats(0, 5), st.floats(0.01, 1))
def test_fixed_points_solve_their_equation(kappa, alpha_u, alpha_l):
    model = PerceptronModel(kappa, alpha_u, alpha_l)
    theory = solve(model)
    assert theory.status == "converged"
    assert theory.residual < 1e-12
    assert len(theory.branches) % 2 == 1
    for i, branch in enumerate(theory.branches):
        unlabelled, labelled = moments(model, branch.q)
        F = alpha_u * unlabelled[0, 0] + alpha_l * labelled[0, 0]
        assert_allclose(F / (1 + F), branch.q, rtol=1e-9)
        assert branch.is_stable == (i % 2 == 0)  # they alternate
        assert branch.m == branch.q
    assert theory.equilibrium.free_entropy >= theory.reachable.free_entropy
    assert theory.reachable.q <= theory.equilibrium.q <= theory.informed.q


def test_free_entropy_is_the_integral_of_its_slope():
    """dPhi/dalpha_u at a fixed point is E W ln W: the thermodynamic integral closes."""
    alpha = np.linspace(0, 1, 21)
    sweep = pc.curve(PerceptronModel(1.0, 0.0, 0.3), {"alpha_u": alpha})
    q = sweep["q"]
    slope = moments(PerceptronModel(1.0, 0.0), q)[0][:, 2]
    gained = integrate.simpson(slope, x=alpha)
    assert_allclose(sweep["free_entropy"][-1] - sweep["free_entropy"][0], gained, rtol=1e-6)


def test_small_overlap_expansion():
    """Near alpha_c: q = (alpha / alpha_c - 1) / (1 + c_2), section 4.5."""
    kappa = 1.0
    c2 = kappa * numerics.hazard(-kappa)
    alpha_c = pc.transitions(kappa).alpha_c
    assert_allclose(alpha_c, 1 / c2**2, rtol=1e-12)
    for epsilon in (1e-3, 1e-5):
        q = solve(PerceptronModel(kappa, alpha_c * (1 + epsilon))).q
        assert_allclose(q, epsilon / (1 + c2), rtol=5 * epsilon + 1e-6)
    assert solve(PerceptronModel(kappa, alpha_c * 0.999)).q == 0


def test_many_rows_determine_the_direction_as_fast_as_labels():
    """1 - q = [H / (phi I0 (alpha_u + alpha_l))]^2 with I0 = 0.90319729, section 4.5."""
    for alpha_u, alpha_l in ((200.0, 0.0), (100.0, 100.0)):
        V = 1 - solve(PerceptronModel(1.0, alpha_u, alpha_l)).q
        law = (1 / (numerics.hazard(-1.0) * 0.90319729 * 200)) ** 2
        assert_allclose(V, law, rtol=0.01)


@pytest.mark.parametrize("kappa", [0.5, 1.0])
def test_a_student_told_the_truth_is_matched(kappa):
    """The mismatched iteration at nearly equal margins meets the matched roots."""
    near = solve(PerceptronModel(kappa, 2.0, 0.3, kappa_true=kappa + 1e-9))
    exact = solve(PerceptronModel(kappa, 2.0, 0.3))
    assert_allclose(near.q, exact.q, rtol=1e-6)
    assert_allclose(near.m, exact.q, rtol=1e-6)
    assert_allclose(near.free_entropy, exact.free_entropy, rtol=1e-6)
    assert_allclose(near.replicon, exact.replicon, rtol=1e-6)
    assert_allclose(near.label_equivalent, exact.label_equivalent, rtol=1e-6)


def test_truth_is_the_best_student():
    cosines = [
        solve(PerceptronModel(k, 1.5, 0.2, kappa_true=1.0)).cosine
        for k in (0.0, 0.6, 0.9, 1.0, 1.1, 1.2)
    ]
    assert int(np.argmax(cosines)) == 3
    want = [0.585992, 0.939362, 0.947054, 0.947364, 0.946957, 0.945009]  # page, figure 7
    assert_allclose(cosines, want, atol=6e-7)


@pytest.mark.parametrize("case", REFERENCE["solve"], ids=lambda c: str(c["model"]))
def test_solutions_of_the_page(case):
    got = solve(PerceptronModel(**case["model"]))
    values = {
        "q_informed": got.informed.q,
        "q_equilibrium": got.equilibrium.q,
        "free_entropy_equilibrium": got.equilibrium.free_entropy,
    }
    for name, want in case["values"].items():
        # twenty labels' worth is read off 1 - q, of which the page has six digits
        rtol = 3e-6 if name == "label_equivalent" and want == 20 else 1e-6
        assert_allclose(values.get(name, getattr(got, name, None)), want, rtol=rtol)
    assert got.quadrature_error < 1e-12


def test_error_of_a_soft_margin_is_that_of_drawn_rows():
    """The page's 0.0448 for this model is the error without softness."""
    theory = solve(PerceptronModel(0.8, 1.5, 0.3, sigma=0.3))
    assert_allclose(pc.generalization_error(theory.cosine, 0.8), 0.0448486375, rtol=1e-6)
    X, _, side, w = pc.sample_rows(PerceptronModel(0.8, 4000, sigma=0.3), 50, random_state=0)
    v = np.random.default_rng(0).normal(size=50)
    v -= v @ w / 50 * w
    direction = theory.cosine * w / math.sqrt(50) + math.sqrt(1 - theory.q) * v / np.sqrt(v @ v)
    wrong = ((X @ direction > 0) != (side == 1)).mean()
    assert abs(wrong - theory.error_margin) < 4 * math.sqrt(wrong / side.size)


@pytest.mark.parametrize("case", REFERENCE["mismatch"], ids=lambda c: str(c["model"]))
def test_mismatched_solutions_of_the_page(case):
    got = solve(PerceptronModel(**case["model"]))
    for name, want in case["values"].items():
        assert_allclose(getattr(got, name), want, rtol=1e-6)


@pytest.mark.parametrize("alpha_l", [0.0, 0.1])
def test_cluster_solutions_of_the_page(alpha_l):
    got = solve(PerceptronModel(0, 1.0, alpha_l, channel="cluster", cluster_mean=1.2))
    want = {0.1: (0.418217593, 0.0362188569, 0.218863587), 0.0: (0.324060323, 0.00916269315,
            0.247266913)}[alpha_l]  # fmt: skip
    assert_allclose((got.q, got.free_entropy, got.error_margin), want, rtol=1e-6)
    assert solve(PerceptronModel(0, 0.4822, channel="cluster", cluster_mean=1.2)).q == 0
    assert solve(PerceptronModel(0, 0.4823, channel="cluster", cluster_mean=1.2)).q > 0


@pytest.mark.parametrize(("alpha_u", "want"), [(0.5, 0.589454363), (0.3, 0.342152218)])
def test_binary_weights_of_the_page(alpha_u, want):
    model = PerceptronModel(1.0, alpha_u, 0.1, prior="binary")
    got = solve(model)
    assert_allclose(got.q, want, rtol=1e-6)
    assert got.informed.q == 1
    assert got.informed.error_margin == 0
    path = pc.state_evolution(model, 400)
    assert_allclose((path.q[-1], path.m[-1]), want, rtol=1e-6)
    # exactly recovered weights are worth ln 2 less, and every row tells ln rho(h) of its truth
    phi = -math.log(2) - alpha_u * math.log(2 * special.ndtr(-1)) - 0.1 * math.log(special.ndtr(-1))
    assert_allclose(got.informed.free_entropy, phi, rtol=1e-9)


def test_binary_free_entropy_is_stationary():
    model = PerceptronModel(1.0, 0.5, 0.1, prior="binary")
    at = core.perceptron.curve_table(
        laws_of(model)[0], core.perceptron.Prior.binary, np.log([1.5, 1.5001]), 1
    )
    phi = at.prior_entropy + 0.5 * at.unlabelled.entropy + 0.1 * at.labelled.entropy
    force = 0.5 * at.unlabelled.overlap + 0.1 * at.labelled.overlap - at.b
    assert_allclose(np.diff(phi)[0], 0.5 * force.mean() * np.diff(at.q)[0], rtol=1e-6)
    assert_allclose(np.diff(at.q)[0] / 1e-4, at.dq.mean(), rtol=1e-6)


def test_state_evolution_of_the_page_and_its_limit():
    model = PerceptronModel(1.0, 1.0, 0.1)
    path = pc.state_evolution(model, 200)
    assert_allclose(path.q[1:7], [0.1887, 0.3891, 0.5315, 0.6241, 0.6836, 0.7215], atol=6e-5)
    assert_allclose(path.q, path.m, rtol=1e-12)
    assert_allclose(path.q[-1], solve(model).q, rtol=1e-9)
    model = PerceptronModel(0.5, 1.0, 0.3, kappa_true=1.0)
    theory = solve(model)
    path = pc.state_evolution(model, 300)
    assert_allclose((path.q[-1], path.m[-1]), (theory.q, theory.m), rtol=1e-7)


def test_state_evolution_shows_hysteresis():
    model, theory = PerceptronModel(0.5, 4.3), solve(PerceptronModel(0.5, 4.3))
    assert_allclose(pc.state_evolution(model, 500, q=0.94).q[-1], theory.informed.q, rtol=1e-6)
    assert_allclose(pc.state_evolution(model, 900, q=0.01).q[-1], theory.reachable.q, rtol=1e-6)


def test_threads_do_not_change_a_bit():
    model = PerceptronModel(0.5, 4.3)
    assert solve(model, n_jobs=1) == solve(model, n_jobs=3)
    assert pc.transitions(0.4, n_jobs=1) == pc.transitions(0.4, n_jobs=2)


@pytest.mark.parametrize(
    ("kappa", "alpha", "broken"),
    [
        (1.2, (0.5, 0.2), r"replica symmetry is broken .*the replicon is 1\.046, not below 1"),
        (
            1.3,
            (1.5, 0.2),
            r"no direction satisfies the student's margin \(kappa=1\.3",
        ),
    ],
)
def test_too_ambitious_a_margin_is_flagged_with_the_broken_assumption(kappa, alpha, broken):
    model = PerceptronModel(kappa, *alpha, kappa_true=1.0)
    with pytest.warns(ValidityWarning, match=f"outside the range .*{broken}"):
        theory = solve(model)
    assert theory.status == "invalid"
    assert "kappa_true=1" in theory.message
    with pytest.raises(NumericalError, match=f"outside the range .*{broken}"):
        solve(model, on_failure="raise")


def test_bad_arguments():
    with pytest.raises(TypeError, match="kappa must be a real number"):
        PerceptronModel("1", 1.0)
    with pytest.raises(TypeError, match="PerceptronModel"):
        solve(1.0)
    with pytest.raises(ValueError, match="cosine must lie in"):
        pc.generalization_error([0.3, 1.2])
    with pytest.raises(ValueError, match="q must lie in"):
        pc.sign_error(1.0, 0.5)
    with pytest.raises(ValueError, match="n_labels"):
        pc.sign_error(0.5, 0.5, 0)
    with pytest.raises(ValueError, match="kappa must lie in"):
        pc.transitions(0.0)
    with pytest.raises(ValueError, match="m"):
        pc.state_evolution(PerceptronModel(1.0, 1.0), 3, q=0.1, m=0.9)
    with pytest.raises(ValueError, match="matched"):
        pc.parametric_curve(PerceptronModel(1.0, 1.0, kappa_true=0.5))
    with pytest.raises(NumericalError, match="loads are too large"):
        solve(PerceptronModel(1.0, 1e9))


def test_curve_takes_any_field_and_names_the_invalid_points_once():
    model = PerceptronModel(1.0, 0.5, 0.2)
    axes = {"prior": ["sphere", "binary"], "alpha_l": [0.0, 0.2]}
    seen = []
    found = pc.curve(model, axes, progress=lambda done, total: seen.append((done, total)))
    for i, prior in enumerate(axes["prior"]):
        for j, labels in enumerate(axes["alpha_l"]):
            one = solve(PerceptronModel(1.0, 0.5, labels, prior=prior))
            for name in ("q", "error_margin", "label_equivalent", "hard"):
                assert found[name][i, j] == getattr(one, name)
    assert found["valid"].all()
    assert seen == [(k, 4) for k in range(1, 5)]
    wrong = PerceptronModel(1.0, 0.5, 0.2, kappa_true=1.0)
    with pytest.warns(ValidityWarning, match="1 of 2 points .* kappa=1.2: .* outside") as said:
        found = pc.curve(wrong, {"kappa": [0.5, 1.2]}, quantities=["q"])
    assert len(said) == 1
    assert found["valid"].tolist() == [True, False]
    assert set(found.values) == {"q", "status", "valid"}
    with pytest.raises(NumericalError, match="1 of 2 points"):
        pc.curve(wrong, {"kappa": [0.5, 1.2]}, on_failure="raise")
    with pytest.raises(ValueError, match="quantities must be one of"):
        pc.curve(model, {"alpha_l": [0.1]}, quantities=["branches"])
    with pytest.raises(TypeError, match="PerceptronModel"):
        pc.curve(1.0, {"alpha_l": [0.1]})


def test_clusters_at_no_distance_say_nothing():
    got = solve(PerceptronModel(0.0, 1.0, 0.5, channel="cluster"))
    assert (got.q, got.label_equivalent, got.error_margin) == (0.0, 0.0, 0.5)
