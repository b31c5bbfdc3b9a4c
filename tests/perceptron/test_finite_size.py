"""Where runs of finite size jump."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.exceptions import ConvergenceWarning, NumericalError, ValidityWarning
from retemper.perceptron import (
    Covariates,
    ERMModel,
    GLMModel,
    PerceptronModel,
    Prior,
    finite_size,
    solve,
    transitions,
)

MODEL = GLMModel(1.0, channel="linear", prior=Prior.sparse(0.1))


@pytest.fixture(scope="module")
def found():
    return finite_size(
        MODEL, [50, 120], n_repeats=8, max_iter=100, random_state=1, n_jobs=1, on_failure="ignore"
    )


def test_runs_jump_near_the_transition_and_more_sharply_at_the_larger_size(found):
    alg = transitions(MODEL).alpha_alg
    assert found.theory.alpha_alg == alg
    assert_allclose(found.alphas, alg * np.linspace(0.7, 1.5, 9))
    assert_allclose(found.shift, found.alpha_half - alg)
    assert (np.abs(found.shift) < [0.5 * alg, 0.25 * alg]).all()
    assert (np.abs(found.shift) < 0.25 * alg + 3 * found.alpha_half_stderr).all()
    assert (found.jump_share[:, 0] < 0.3).all()
    assert (found.jump_share[:, -1] > 0.7).all()
    width = [(share > 0.1).sum() - (share > 0.9).sum() for share in found.jump_share]
    assert width[1] <= width[0]


def test_the_share_is_that_of_the_samples(found):
    low, high = (solve(GLMModel(a, channel="linear", prior=MODEL.prior)).cosine for a in (0.18, 1))
    assert low < found.cosine_cut < high
    cosine, history = found.samples["cosine"], found.samples["history"]
    assert cosine.shape == (2, 9, 8)
    assert_allclose((cosine > found.cosine_cut).mean(axis=-1), found.jump_share)
    n_iter = found.samples["n_iter"]
    last = np.take_along_axis(history, n_iter[..., None] - 1, axis=-1)[..., 0]
    assert_allclose(last, cosine)
    assert history.shape[-1] == n_iter.max() == found.n_iter
    assert (np.isfinite(history).sum(axis=-1) == n_iter).all()


def test_histories_follow_the_theory_far_from_the_transition():
    """At large size the cosine ends where the theory says."""
    model = GLMModel(1.0, channel="sign", prior="binary")
    run = finite_size(model, [400], alphas=[1.0], n_repeats=6, random_state=3, on_failure="ignore")
    cosine = run.samples["cosine"][0, 0]
    z = (cosine.mean() - solve(model).cosine) / (cosine.std(ddof=1) / np.sqrt(6))
    assert abs(z) < 4
    assert cosine.std() < 0.05
    assert np.isnan(run.alpha_half[0])
    assert run.jump_share[0, 0] == 0


MARGIN = PerceptronModel(0.5, 0.0, 0.02)


@pytest.mark.parametrize("model", [PerceptronModel(0.5, 0.0), MARGIN], ids=str)
def test_pre_training_jumps_near_its_transition(model):
    found = finite_size(
        model, [60, 160], n_repeats=8, max_iter=300, random_state=1, n_jobs=1, on_failure="ignore"
    )
    lines = transitions(0.5, alpha_l=model.alpha_l)
    assert found.theory == lines
    assert_allclose(found.shift, found.alpha_half - lines.alpha_alg)
    assert (np.abs(found.shift) < 0.3 * lines.alpha_alg + 3 * found.alpha_half_stderr).all()
    assert found.jump_share[1, 0] < 0.3
    assert found.jump_share[1, -1] > 0.7
    cosine, history = found.samples["cosine"], found.samples["history"]
    assert_allclose((cosine > found.cosine_cut).mean(axis=-1), found.jump_share)
    n_iter = found.samples["n_iter"]
    assert (np.isfinite(history).sum(axis=-1) == n_iter).all()
    last = np.take_along_axis(history, n_iter[..., None] - 1, axis=-1)[..., 0]
    assert_allclose(last, cosine)


def test_pre_training_ends_where_theory_says_far_from_its_transition():
    """Below and above the jump; the first iterations are far from the end."""
    run = finite_size(
        MARGIN, [500], alphas=[1.5, 6.0], n_repeats=8, random_state=3, on_failure="ignore"
    )
    for j, load in enumerate(run.alphas):
        cosine = run.samples["cosine"][0, j]
        model = PerceptronModel(0.5, load, MARGIN.alpha_l)
        z = (cosine.mean() - solve(model).cosine) / (cosine.std(ddof=1) / np.sqrt(8))
        assert abs(z) < 4.5
    assert (run.samples["history"][0, 1, :, 0] < 0.9 * run.samples["cosine"][0, 1]).all()
    assert run.jump_share[0].tolist() == [0, 1]


def test_correlated_features_jump_too():
    two = Covariates((4.0, 1.0), (0.5, 0.5), (2.0, 0.5), is_diagonal=True)
    model = GLMModel(1.0, channel="linear", prior=Prior.sparse(0.1), covariates=two)
    run = finite_size(
        model, [120], n_repeats=6, max_iter=150, random_state=2, n_jobs=1, on_failure="ignore"
    )
    assert abs(run.shift[0]) < 0.3 * run.theory.alpha_alg + 3 * run.alpha_half_stderr[0]
    assert run.jump_share[0, 0] < 0.4
    assert run.jump_share[0, -1] > 0.6


@pytest.mark.parametrize(("model", "loads"), [(MODEL, [0.2, 0.3]), (MARGIN, [3.0, 5.0])], ids=str)
def test_threads_change_no_bit(model, loads):
    one, two = (
        finite_size(
            model, [40], alphas=loads, n_repeats=4, max_iter=40, n_jobs=n, on_failure="ignore"
        )
        for n in (1, 2)
    )
    for name, value in one.samples.items():
        assert value.tobytes() == two.samples[name].tobytes(), name


@pytest.mark.parametrize(
    ("model", "sizes", "options", "error", "match"),
    [
        (GLMModel(1.0), [50], {}, ValueError, "does not jump"),
        (MODEL, [1], {}, ValueError, "sizes must"),
        (MODEL, [50], {"alphas": [0.3, 0.2]}, ValueError, "alphas must be positive and increase"),
        (3.0, [50], {}, TypeError, "GLMModel"),
        (ERMModel(1.0), [50], {}, ValueError, "one solution"),
        (PerceptronModel(0.5, 0.0, 2.0), [50], {}, ValueError, "does not jump"),
        (PerceptronModel(0.5, 0.0, kappa_true=1.0), [50], {}, ValueError, "leave out kappa_true"),
        (PerceptronModel(0.5, 0.0, prior="binary"), [50], {}, ValueError, "prior='sphere'"),
        (GLMModel(1.0, channel_true="probit"), [50], {}, ValueError, "matched"),
    ],
)
def test_what_is_refused(model, sizes, options, error, match):
    with pytest.raises(error, match=match):
        finite_size(model, sizes, **options)


@pytest.mark.parametrize(
    ("loads", "match"),
    [
        ([0.05, 0.1], "fewer than half of the runs jump up to 0.1 rows per feature with 30, 50 "
         "features: add larger ones"),
        ([0.6, 0.9], "half of the runs jump already at 0.6 rows per feature with 30, 50 features: "
         "add smaller ones"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::retemper.exceptions.ConvergenceWarning")
def test_loads_on_one_side_of_the_jump_are_named(loads, match):
    with pytest.warns(ValidityWarning, match=match):
        run = finite_size(MODEL, [30, 50], alphas=loads, n_repeats=4)
    assert np.isnan(run.alpha_half).all()
    with pytest.raises(NumericalError):
        finite_size(MODEL, [30], alphas=loads, n_repeats=4, on_failure="raise")


def test_runs_that_did_not_settle_are_counted(found):
    slow = (~found.samples["converged"]).sum(axis=(1, 2))
    assert slow.sum() > 0
    with pytest.warns(ConvergenceWarning, match=f"in {slow.sum()} of 144 runs stopped at"):
        finite_size(MODEL, [50, 120], n_repeats=8, max_iter=100, random_state=1)
    lines = str(found).splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("features"))
    for line, n, k, half in zip(
        lines[heading + 1 :], found.sizes, slow, found.alpha_half, strict=True
    ):
        assert line.split()[0] == str(n)
        assert line.split()[1] == f"{half:.3g}"
        assert line.endswith(f"{k} of 72")
    assert "unsettled runs" in found._repr_html_()
