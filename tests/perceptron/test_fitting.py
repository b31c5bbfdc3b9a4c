"""What the classifier stands on, function by function."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import retemper.perceptron as pc
from retemper._results import Status
from retemper.perceptron import PerceptronModel
from retemper.perceptron.fitting import (
    LawSettings,
    PassingOptions,
    PretrainedRows,
    best_fit,
    count_contradictions,
    find_starts,
    fit_rows,
    label_odds,
    learn_scaling,
    read_labels,
)
from retemper.perceptron.passing import roles_of

SETTINGS = LawSettings(kappa=1.0, sigma=0.3, eta_u=0.0, eta_l=0.0)
OPTIONS = PassingOptions(prior="sphere", max_iter=500, tol=1e-7, damping=0.5, n_threads=1)


@pytest.fixture(scope="module")
def drawn():
    return pc.sample_rows(PerceptronModel(1.0, 3.0, 0.2, sigma=0.3), 150)


def test_labels_become_roles():
    got = read_labels([7, 3, -1, 7], 4, None)
    assert got.classes.tolist() == [3, 7]
    assert got.role.tolist() == [1, -1, 0, 1]
    assert read_labels(["b", "a"], 2, None).role.tolist() == [1, -1]
    nothing = read_labels(None, 3, None)
    assert nothing.classes.tolist() == [0, 1]
    assert nothing.role.tolist() == [0, 0, 0]
    assert read_labels([5, -1], 2, (5, 9)).role.tolist() == [-1, 0]
    assert roles_of(np.array([0.0, 1.0, -1.0])).tolist() == [-1, 1, 0]


def test_scaling_leaves_out_what_does_not_vary():
    X = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 4))
    X[:, 2] = 7.0
    both = learn_scaling(X, standardize=True, centre=True)
    Z = both.apply(X, "float64")
    assert both.kept.tolist() == [True, True, False, True]
    assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    assert_allclose(Z.std(axis=0), 1)
    assert_array_equal(
        learn_scaling(X, standardize=False, centre=False).apply(X, "float64"), X[:, both.kept]
    )
    assert both.apply(X, "float32").dtype == np.float32


def test_pretrained_rows_follow_the_names_of_columns():
    rng = np.random.default_rng(0)
    X, names = rng.normal(size=(20, 5)) * np.arange(1, 6), ("a", "b", "c", "d", "e")
    X[:, 1] = 2.0
    scaling = learn_scaling(X, standardize=True, centre=True)
    old = PretrainedRows(scaling.apply(X, "float64"), rng.normal(size=4), scaling)
    order = [3, 1, 4, 0, 2]
    new = old.in_order(names, tuple(names[j] for j in order), 5)
    assert_allclose(new.scaling.apply(X[:, order], "float64"), new.rows)
    assert_allclose(new.rows @ new.weights, old.rows @ old.weights)
    assert old.in_order(None, names, 5) is old
    with pytest.raises(ValueError, match="source has 5 features, X has 4"):
        old.in_order(None, None, 4)
    with pytest.raises(ValueError, match="fitted on the columns"):
        old.in_order(names, ("a", "b", "c", "d", "z"), 5)


@pytest.mark.parametrize(
    ("init", "has_labels", "signs"),
    [
        ("auto", True, [0, 1, -1]),
        ("auto", False, [1]),
        ("zero", False, [0, 1]),
        ("random", True, []),
    ],
)
def test_starts_come_in_order(drawn, init, has_labels, signs):
    """Zero, the leading direction, its negative; what is left is random."""
    role = roles_of(drawn.y) if has_labels else np.zeros(len(drawn.y), np.int8)
    arguments = {"n_init": 5, "key": (1, 2), "n_threads": 1}
    found = find_starts(drawn.X, role, SETTINGS, init=init, **arguments)
    spectral = find_starts(drawn.X, 0 * role, SETTINGS, init="spectral", **arguments).weights[0]
    for start, sign in zip(found.weights, signs, strict=False):
        assert_array_equal(start, sign * spectral)
    assert found.weights.shape == (5, 150)
    for k, start in enumerate(found.weights[len(signs) :]):
        assert all(abs(start @ w) < 0.6 * 150 for w in found.weights[: len(signs) + k])
    values = np.linalg.eigvalsh(drawn.X.T @ drawn.X / len(drawn.X))
    assert_allclose(found.eigenvalue, values[-1], rtol=1e-2)


def test_the_converged_run_of_largest_evidence_is_kept(drawn):
    role, offsets = roles_of(drawn.y), np.array([-0.5, 0.0, 0.5])
    starts = np.stack([np.zeros(150), 0.5 * drawn.w_true])
    best = best_fit(drawn.X, role, starts, offsets, SETTINGS, options=OPTIONS)
    alone = [
        best_fit(drawn.X, role, start[None], offset[None], SETTINGS, options=OPTIONS)
        for offset in offsets
        for start in starts
    ]
    assert best.status is Status.CONVERGED
    assert_allclose(best.free_entropy, max(r.free_entropy for r in alone), rtol=1e-9)
    assert best.slab == best.offset == 0.0
    assert_allclose(best.overlap, best.weights @ best.weights / 150)
    plain = fit_rows(drawn.X, role, starts, SETTINGS, options=OPTIONS, search_offset=False)
    assert_array_equal(plain.weights, best_fit(
        drawn.X, role, starts, np.zeros(1), SETTINGS, options=OPTIONS
    ).weights)  # fmt: skip


def test_odds_are_those_of_the_channel():
    field = np.linspace(-3, 3, 13)
    odds = label_odds(field, 0.2, SETTINGS)
    up, down = (
        pc.channel_score(s * field, 0.2, kind="labelled", kappa=1.0, sigma=0.3).log_w
        for s in (1, -1)
    )
    assert_allclose(odds, up - down)
    assert_allclose(odds, -odds[::-1], atol=1e-12)


def test_contradictions_are_counted_where_the_margin_is_hard():
    hard = LawSettings(kappa=0.5, sigma=0.0, eta_u=0.0, eta_l=0.0)
    rng = np.random.default_rng(0)
    Z, role = rng.normal(size=(80, 20)), rng.choice([-1, 1], 80).astype(np.int8)
    fit = best_fit(Z, role, np.zeros((1, 20)), np.zeros(1), hard, options=OPTIONS)
    wrong = role * (Z @ fit.weights) / np.sqrt(20 * fit.overlap) < 0.5 - 1e-2
    assert abs(count_contradictions(Z, role, fit, hard) - wrong.sum()) <= 2
    assert wrong.sum() > 20
    assert count_contradictions(Z, role, fit, SETTINGS) == 0


def test_minus_one_is_a_class_only_if_it_marks_nothing():
    with pytest.raises(ValueError, match="classes must not hold -1, which marks unlabelled rows"):
        read_labels([-1, 1, 1], 3, classes=(-1, 1))
    with pytest.raises(ValueError, match=r"one class only.*give unlabelled_as=None"):
        read_labels([-1, 1, 1], 3, classes=None)
    for y in ([-1, 1, 1], np.array([-1.0, 1.0, 1.0]), np.array([-1, 1, 1], dtype=object)):
        found = read_labels(y, 3, None, None)
        assert found.classes.tolist() == [-1, 1]
        assert found.role.tolist() == [-1, 1, 1]
    found = read_labels([-1, 1, -9, 1], 4, (-1, 1), -9)
    assert found.classes.tolist() == [-1, 1]
    assert found.role.tolist() == [-1, 1, 0, 1]


def test_rows_without_label_can_be_marked_by_text():
    found = read_labels(["good", "?", "bad"], 3, None, "?")
    assert found.classes.tolist() == ["bad", "good"]
    assert found.role.tolist() == [1, 0, -1]
    mixed = np.array(["good", -1, "bad"], dtype=object)
    assert read_labels(mixed, 3, None).role.tolist() == [1, 0, -1]
    assert read_labels(None, 2, ("a", "b"), None).role.tolist() == [0, 0]
    with pytest.raises(TypeError, match="unlabelled_as must be a number, text or None"):
        read_labels([0, 1], 2, None, [-1])
