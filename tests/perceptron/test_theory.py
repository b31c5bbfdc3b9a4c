"""Identities first, then the numbers of the theory page."""

import dataclasses
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
    rows = core.perceptron.curve(laws_of(model)[0], SPHERE, np.log(q / (1 - q)), 1)
    return rows[:, 5:8], rows[:, 8:11]


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


def test_parametric_curve_passes_through_every_fixed_point():
    model = PerceptronModel(0.5, 4.3)
    for branch in solve(model).branches[1:]:
        curve = pc.parametric_curve(model, 2, q_min=branch.q, q_max=0.99)
        assert_allclose(curve["alpha_u"][0], 4.3, rtol=1e-10)
        assert_allclose(curve["free_entropy"][0], branch.free_entropy, atol=1e-12)
        assert_allclose(curve["replicon"][0], branch.replicon, rtol=1e-9)


def test_free_entropy_is_the_integral_of_its_slope():
    """dPhi/dalpha_u at a fixed point is E W ln W: the thermodynamic integral closes."""
    alpha = np.linspace(0, 1, 21)
    sweep = pc.curve(PerceptronModel(1.0, 0.0, 0.3), alpha_u=alpha)
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


@given(st.floats(0, 0.9999), st.floats(0, 3))
def test_error_has_its_symmetry_and_bounds(R, kappa):
    error = pc.generalization_error(R, kappa)
    assert 0 <= error <= 0.5 + 1e-12
    assert_allclose(pc.generalization_error(-R, kappa), 1 - error, rtol=1e-12)
    assert error <= pc.generalization_error(R) + 1e-12


def test_error_without_margin_is_the_angle():
    R = np.linspace(-1, 1, 41)
    assert_allclose(pc.generalization_error(R), np.arccos(R) / np.pi, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("kappa", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("R", [0.1, 0.7, 0.99])
def test_error_against_adaptive_quadrature(kappa, R):
    def integrand(h):
        gauss = math.exp(-h * h / 2) / math.sqrt(2 * math.pi)
        return gauss * special.ndtr(-R * h / math.sqrt(1 - R * R))

    slow = integrate.quad(integrand, kappa, kappa + 12, epsabs=0, epsrel=1e-12)[0]
    assert_allclose(pc.generalization_error(R, kappa), slow / special.ndtr(-kappa), rtol=1e-10)


@pytest.mark.parametrize(("q", "kappa", "sigma"), [(0.717, 1, 0), (0.01, 0.5, 0), (0.5, 0, 0.3)])
def test_one_label_errs_like_one_row(q, kappa, sigma):
    one = pc.sign_error(q, kappa, sigma=sigma)
    row = pc.generalization_error(math.sqrt(q), kappa, sigma=sigma)
    assert_allclose(one.probability, row, rtol=1e-12)
    flipped = pc.sign_error(q, kappa, sigma=sigma, eta_l=0.1).probability
    assert_allclose(flipped, 0.8 * row + 0.1, rtol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.1])
def test_several_labels_against_sampling(eta):
    q, kappa, n = 0.4, 0.7, 200_000
    rng = np.random.default_rng(3)
    z = np.linspace(-10, 10, 20_001)
    log_w = pc.channel_score(math.sqrt(q) * z, 1 - q, kind="labelled", kappa=kappa, eta=eta)[0]
    mass = np.cumsum(np.exp(log_w - z * z / 2))
    odds = log_w - log_w[::-1]
    for k in (2, 3):
        drawn = odds[np.searchsorted(mass / mass[-1], rng.uniform(size=(n, k)))].sum(axis=1)
        wrong = (drawn < 0).mean()
        got = pc.sign_error(q, kappa, k, eta_l=eta)
        assert abs(got.probability - wrong) < 4 * math.sqrt(wrong / n)
        assert got.probability <= 0.5 * math.exp(-k * got.exponent) + 1e-9


@pytest.mark.parametrize("case", REFERENCE["transitions"], ids=lambda c: str(c["model"]))
def test_transitions_of_the_page(case):
    got, want = pc.transitions(**case["model"]), case["values"]
    assert got.first_order == ("alpha_alg" in want)
    for field in dataclasses.fields(got):
        value = getattr(got, field.name)
        if field.name in want:
            assert_allclose(value, want[field.name], rtol=1e-6, atol=1e-12)
        elif field.name != "first_order":
            assert value is None


def test_transitions_mean_what_they_say():
    t = pc.transitions(0.5)
    for load, n_branches in ((t.alpha_sp_minus * 0.9999, 2), (t.alpha_sp_minus * 1.0001, 4),
                             (t.alpha_alg * 0.9999, 4), (t.alpha_alg * 1.0001, 2)):  # fmt: skip
        assert len(solve(PerceptronModel(0.5, load)).branches) == n_branches
    both = solve(PerceptronModel(0.5, t.alpha_it))
    assert_allclose(both.reachable.free_entropy, both.informed.free_entropy, atol=1e-12)
    assert not solve(PerceptronModel(0.5, t.alpha_it - 1e-3)).hard
    assert solve(PerceptronModel(0.5, t.alpha_it + 1e-3)).hard


CRITICAL = {  # page, section 4.6
    0.1: (5.40414, 21.60957, 0.992247), 0.2: (2.230723, 10.182370, 0.970014),
    0.3: (1.122706, 6.448298, 0.935365), 0.4: (0.561739, 4.602551, 0.889728),
    0.5: (0.240749, 3.489041, 0.832832), 0.6: (0.054052, 2.725951, 0.761248),
}  # fmt: skip


@pytest.mark.parametrize("kappa", CRITICAL)
def test_critical_line_of_the_page(kappa):
    got = pc.critical_line(kappa)
    want = CRITICAL[kappa]
    assert_allclose((got.alpha_l, got.alpha_u, got.q), want, rtol=1e-6, atol=6e-7)
    assert pc.transitions(kappa, alpha_l=got.alpha_l * 0.98).first_order
    assert not pc.transitions(kappa, alpha_l=got.alpha_l * 1.02).first_order


def test_critical_margin():
    """kappa* = 0.6451796, section 4.5: beyond it there is no first-order line."""
    assert pc.transitions(0.645).first_order
    assert not pc.transitions(0.6453).first_order
    beyond = pc.critical_line(0.7)
    assert beyond.status == "no_solution"
    assert beyond.alpha_l is None


def test_labels_to_leave_is_the_inverse_of_alpha_alg():
    labels = pc.labels_to_leave(0.5, 4.0)
    assert_allclose(pc.transitions(0.5, alpha_l=labels).alpha_alg, 4.0, rtol=1e-9)
    assert pc.labels_to_leave(0.5, 4.6) == 0
    assert pc.labels_to_leave(1.0, 4.0) == 0


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
    got = solve(PerceptronModel(0, 1.0, alpha_l, channel="cluster", mu=1.2))
    want = {0.1: (0.418217593, 0.0362188569, 0.218863587), 0.0: (0.324060323, 0.00916269315,
            0.247266913)}[alpha_l]  # fmt: skip
    assert_allclose((got.q, got.free_entropy, got.error_margin), want, rtol=1e-6)
    assert solve(PerceptronModel(0, 0.4822, channel="cluster", mu=1.2)).q == 0
    assert solve(PerceptronModel(0, 0.4823, channel="cluster", mu=1.2)).q > 0


@pytest.mark.parametrize(("alpha_u", "want"), [(0.5, 0.589454363), (0.3, 0.342152218)])
def test_binary_weights_of_the_page(alpha_u, want):
    model = PerceptronModel(1.0, alpha_u, 0.1, prior="binary")
    got = solve(model)
    assert_allclose(got.q, want, rtol=1e-6)
    assert got.informed.q == 1
    assert got.informed.error_margin == 0
    assert_allclose(pc.state_evolution(model, 400)[-1], want, rtol=1e-6)
    # exactly recovered weights are worth ln 2 less, and every row tells ln rho(h) of its truth
    phi = -math.log(2) - alpha_u * math.log(2 * special.ndtr(-1)) - 0.1 * math.log(special.ndtr(-1))
    assert_allclose(got.informed.free_entropy, phi, rtol=1e-9)


def test_binary_free_entropy_is_stationary():
    model = PerceptronModel(1.0, 0.5, 0.1, prior="binary")
    b, q, _, dq, prior, F_u, _, S_u, F_l, _, S_l = core.perceptron.curve(
        laws_of(model)[0], core.perceptron.Prior.binary, np.log([1.5, 1.5001]), 1
    ).T
    phi = prior + 0.5 * S_u + 0.1 * S_l
    slope = 0.5 * (0.5 * F_u + 0.1 * F_l - b).mean() * np.diff(q)[0]
    assert_allclose(np.diff(phi)[0], slope, rtol=1e-6)
    assert_allclose(np.diff(q)[0] / 1e-4, dq.mean(), rtol=1e-6)


def test_state_evolution_of_the_page_and_its_limit():
    model = PerceptronModel(1.0, 1.0, 0.1)
    path = pc.state_evolution(model, 200)
    assert_allclose(path[1:7, 0], [0.1887, 0.3891, 0.5315, 0.6241, 0.6836, 0.7215], atol=6e-5)
    assert_allclose(path[:, 0], path[:, 1], rtol=1e-12)
    assert_allclose(path[-1, 0], solve(model).q, rtol=1e-9)
    model = PerceptronModel(0.5, 1.0, 0.3, kappa_true=1.0)
    theory = solve(model)
    assert_allclose(pc.state_evolution(model, 300)[-1], (theory.q, theory.m), rtol=1e-7)


def test_state_evolution_shows_hysteresis():
    model, theory = PerceptronModel(0.5, 4.3), solve(PerceptronModel(0.5, 4.3))
    assert_allclose(pc.state_evolution(model, 500, q=0.94)[-1, 0], theory.informed.q, rtol=1e-6)
    assert_allclose(pc.state_evolution(model, 900, q=0.01)[-1, 0], theory.reachable.q, rtol=1e-6)


def test_phase_diagram_agrees_with_single_solutions():
    diagram = pc.phase_diagram([0.4, 0.5, 1.0], [0.2, 4.0, 4.3, 5.6])
    for i, kappa in enumerate(diagram.axes["kappa"]):
        for j, alpha in enumerate(diagram.axes["alpha_u"]):
            theory = solve(PerceptronModel(kappa, alpha))
            assert diagram["q_reachable"][i, j] == theory.q
            assert diagram["q_equilibrium"][i, j] == theory.equilibrium.q
            assert (diagram["phase"][i, j] == 3) == theory.hard
    assert diagram["phase"].tolist() == [[0, 0, 0, 2], [0, 2, 3, 1], [0, 1, 1, 1]]


@pytest.fixture(scope="module")
def refined():
    return pc.phase_diagram(np.geomspace(0.1, 1.6, 7), np.geomspace(0.1, 40.0, 7), refine=4)


def test_refinement_agrees_with_the_dense_grid(refined):
    dense = pc.phase_diagram(refined.axes["kappa"][::3], refined.axes["alpha_u"])
    solved = refined["solved"][::3]
    for name in ("q_reachable", "q_equilibrium", "q_informed"):
        np.testing.assert_array_equal(refined[name][::3][solved], dense[name][solved])
        assert np.isnan(refined[name][~refined["solved"]]).all()
    np.testing.assert_array_equal(refined["phase"][::3], dense["phase"])
    assert refined["solved"].mean() < 0.25


def test_refined_boundaries_hold_the_exact_lines_within_a_cell(refined):
    kappa, alpha = refined.axes["kappa"], refined.axes["alpha_u"]
    ratio = alpha[1] / alpha[0]
    for i in range(0, len(kappa), 12):
        exact = pc.transitions(kappa[i])
        phases = refined["phase"][i]
        lines = {
            "alpha_it": np.flatnonzero((phases[1:] == 3) & (phases[:-1] < 3)),
            "alpha_alg": np.flatnonzero((phases[1:] < 3) & (phases[:-1] == 3)),
        }
        for name, at in lines.items():
            line = getattr(exact, name)
            if line is None or not alpha[0] < line < alpha[-1]:
                continue
            if name == "alpha_it" and exact.alpha_alg is None:
                continue
            assert len(at) == 1, (kappa[i], name)
            assert alpha[at[0]] <= line <= alpha[at[0]] * ratio * (1 + 1e-9)
        start = np.flatnonzero(phases > 0)[0]
        first = min(v for v in (exact.alpha_c, exact.alpha_sp_minus) if v is not None)
        if first > alpha[0]:
            assert alpha[start - 1] <= first <= alpha[start] * (1 + 1e-9)


def test_refinement_keeps_the_corners_and_halves_beside_zero():
    plain = pc.phase_diagram([0.4, 0.6], [0.0, 4.0, 9.0], alpha_l=0.1)
    fine = pc.phase_diagram([0.4, 0.6], [0.0, 4.0, 9.0], alpha_l=0.1, refine=2)
    np.testing.assert_array_equal(fine["phase"][::4, ::4], plain["phase"])
    assert fine.axes["alpha_u"][:5].tolist() == [0.0, 1.0, 2.0, 8**0.5, 4.0]
    assert plain["solved"].all()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(([1.0], [1.0, 2.0]), "kappa must increase"), (([0.5, 1.0], [2.0, 1.0]), "alpha_u must incr")],
)
def test_refinement_needs_increasing_axes(arguments, match):
    with pytest.raises(ValueError, match=match):
        pc.phase_diagram(*arguments, refine=1)
    with pytest.raises(ValueError, match="refine must"):
        pc.phase_diagram([0.5, 1.0], [1.0, 2.0], refine=9)


def test_threads_do_not_change_a_bit():
    model = PerceptronModel(0.5, 4.3)
    assert solve(model, n_jobs=1) == solve(model, n_jobs=3)
    assert pc.transitions(0.4, n_jobs=1) == pc.transitions(0.4, n_jobs=2)


@pytest.mark.parametrize(("kappa", "alpha"), [(1.2, (0.5, 0.2)), (1.3, (1.5, 0.2))])
def test_too_ambitious_a_margin_is_flagged(kappa, alpha):
    model = PerceptronModel(kappa, *alpha, kappa_true=1.0)
    with pytest.warns(ValidityWarning, match="outside the range"):
        theory = solve(model)
    assert theory.status == "invalid"
    with pytest.raises(NumericalError, match="outside the range"):
        solve(model, on_failure="raise")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kappa": -1}, r"kappa must lie in \[0, 30\], got -1"),
        ({"kappa": math.nan}, "kappa"),
        ({"alpha_u": -0.1}, "alpha_u"),
        ({"alpha_l": math.inf}, "alpha_l"),
        ({"kappa_true": -2}, "kappa_true"),
        ({"sigma": -1}, "sigma"),
        ({"eta_u": 1.0}, "eta_u"),
        ({"eta_l": 0.5}, "eta_l"),
        ({"channel": "ring"}, "channel must be one of"),
        ({"prior": "gauss"}, "prior must be one of"),
        ({"mu": 1.0}, "mu belongs to"),
        ({"channel": "cluster", "mu": 1.0, "sigma": 0.1}, "takes mu alone"),
        ({"prior": "binary", "kappa_true": 0.5}, "prior='binary'"),
    ],
)
def test_bad_models(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerceptronModel(**({"kappa": 1.0, "alpha_u": 1.0} | arguments))


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
