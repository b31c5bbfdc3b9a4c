"""Thresholds, critical points and phase diagrams: what they mean, and the page's numbers."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import retemper.perceptron as pc
from retemper._dispatch import core
from retemper.perceptron import PerceptronModel, solve
from retemper.perceptron.model import laws_of, prior_of

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "perceptron.json").read_text(encoding="utf-8")
)
CRITICAL = {  # page, section 4.6
    0.1: (5.40414, 21.60957, 0.992247), 0.2: (2.230723, 10.182370, 0.970014),
    0.3: (1.122706, 6.448298, 0.935365), 0.4: (0.561739, 4.602551, 0.889728),
    0.5: (0.240749, 3.489041, 0.832832), 0.6: (0.054052, 2.725951, 0.761248),
}  # fmt: skip


def test_parametric_curve_passes_through_every_fixed_point():
    model = PerceptronModel(0.5, 4.3)
    for branch in solve(model).branches[1:]:
        curve = pc.parametric_curve(model, 2, q_min=branch.q, q_max=0.99)
        assert_allclose(curve.alpha_u[0], 4.3, rtol=1e-10)
        assert_allclose(curve.free_entropy[0], branch.free_entropy, atol=1e-12)
        assert_allclose(curve.replicon[0], branch.replicon, rtol=1e-9)


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


@pytest.mark.parametrize("kappa", [0.5, 10.0, 13.0, 13.5, 15.0, 20.0, 30.0])
def test_thresholds_at_margins_in_the_tail(kappa):
    # rows lie beyond the margin, so the integrals have to reach there
    found = pc.transitions(kappa)
    c2 = kappa * np.exp(stats.norm.logpdf(kappa) - stats.norm.logsf(kappa))
    assert_allclose(found.alpha_c, c2**-2, rtol=1e-9)
    assert found.first_order == (kappa < 0.6)
    model = PerceptronModel(kappa, 0.0)
    law, prior = laws_of(model)[0], prior_of(model)
    log_b = np.linspace(-8, 12, 201)
    at = core.perceptron.curve_table(law, prior, log_b, 1)
    for part in (at.unlabelled, at.labelled):
        slope = np.gradient(np.log(part.overlap), log_b)  # dF/dq = E W (dg)^2
        exact = part.slope * at.dq * at.b / part.overlap
        assert_allclose(slope[1:-1], exact[1:-1], atol=1e-3)
    # eq. 9 from the other end: near q = 0 the curve starts at alpha_c, and rises by 1 + c2
    near = core.perceptron.curve_table(law, prior, np.array([-18.0]), 1)
    rise = (near.b / near.unlabelled.overlap)[0] / found.alpha_c - 1
    assert_allclose(rise, (1 + c2) * near.q[0], rtol=1e-3)
    wide = pc.transitions(kappa, sigma=0.5, alpha_l=0.1)
    assert wide.alpha_c is None
    assert not wide.first_order
