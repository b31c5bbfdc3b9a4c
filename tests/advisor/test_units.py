"""The advice does not depend on the units of columns and labels."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

import retemper

N, D = 24, 4
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, D))
W = RNG.normal(size=(3, D))
NEW = RNG.normal(size=(50, D))
NOISE = RNG.normal(size=(N, 3))
LABELS = {
    "regression": X @ W[0] + 0.5 * NOISE[:, 0],
    "binary": np.where(X @ W[0] + NOISE[:, 0] > 0, "yes", "no"),
    "multiclass": (2 * X @ W.T + NOISE).argmax(axis=1),
}
SOURCES = {
    "regression": {"near": (W[:1] + 0.2 * W[1:2], 0.3), "far": (-2.0 * W[2:], 0.0)},
    "binary": {"near": (2 * W[:1] + 0.5 * W[1:2], 0.3), "far": (-2.0 * W[2:], 0.0)},
    "multiclass": {"near": (2 * W + 0.5, 0.2 * np.arange(3.0)), "far": (W[::-1], np.zeros(3))},
}
NUMBERS = ("gain", "gain_low", "gain_high", "loss", "held_out_error", "predicted_error")


def advise(task, factor, shift, scale=1.0, offset=0.0):
    """The advice on columns times ``factor`` plus ``shift``, labels times ``scale`` plus ..."""
    sources = {
        name: (
            scale * coef / factor,
            scale * (intercept - (coef / factor) @ shift) + offset,
        )
        for name, (coef, intercept) in SOURCES[task].items()
    }
    y = LABELS[task]
    y = scale * y + offset if task == "regression" else y
    cv = None if task == "regression" else KFold(3)
    advice = retemper.advise(X * factor + shift, y, sources=sources, cv=cv)
    rows = NEW * factor + shift
    model = advice.estimator_
    if task == "regression":
        return advice, (model.predict(rows) - offset) / scale
    return advice, model.predict_log_proba(rows)


@functools.cache
def plain(task):
    return advise(task, np.ones(D), np.zeros(D))


exponents = st.lists(st.floats(-6, 6), min_size=D, max_size=D)
shifts = st.lists(st.floats(-100, 100), min_size=D, max_size=D)


def check(found, expected, scale=1.0):
    (advice, predicted), (reference, wanted) = found, expected
    np.testing.assert_allclose(predicted, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert (advice.verdict, advice.choice, advice.use) == (
        reference.verdict, reference.choice, reference.use,
    )  # fmt: skip
    for row, other in zip(advice.candidates, reference.candidates, strict=True):
        assert (row.verdict, row.use) == (other.verdict, other.use)
        np.testing.assert_allclose(
            [getattr(row, name) / scale**2 for name in NUMBERS],
            [getattr(other, name) for name in NUMBERS],
            rtol=1e-6,
            atol=1e-9,
        )
        np.testing.assert_allclose(
            [row.p_value, row.ridge, row.source_scale],
            [other.p_value, other.ridge, other.source_scale],
            rtol=1e-5,
        )


@settings(max_examples=12, deadline=None)
@given(exponents=exponents, shifts=shifts, power=st.floats(-6, 6), offset=st.floats(-100, 100))
def test_regression_in_any_units(exponents, shifts, power, offset):
    factor, scale = 10.0 ** np.array(exponents), 10.0**power
    found = advise("regression", factor, factor * np.array(shifts), scale, scale * offset)
    check(found, plain("regression"), scale)


def test_a_shift_of_one_column():
    """Without a ridge the factor on a linear source is free: rounding once chose it."""
    shift = np.array([6.0, 0.0, 0.0, 0.0])
    check(advise("regression", np.ones(D), shift), plain("regression"))


def test_two_classes_in_other_units():
    factor, shift = np.array([1e-6, 1e3, 1.0, 1e6]), np.array([1e-4, 0.0, -7.0, 1e6])
    check(advise("binary", factor, shift), plain("binary"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@settings(max_examples=4, deadline=None)
@given(exponents=exponents, shifts=shifts)
def test_classes_in_any_units(task, exponents, shifts):
    factor = 10.0 ** np.array(exponents)
    check(advise(task, factor, factor * np.array(shifts)), plain(task))


def test_rows_of_a_source_in_any_units():
    rows, new = RNG.normal(size=(80, D)), NEW
    labels = rows @ W[0] + 0.1 * RNG.normal(size=80)
    factor, shift = np.array([1e-6, 1.0, 1e3, 1e6]), np.array([0.0, 5.0, -1e3, 1e6])
    wanted = retemper.advise(X, LABELS["regression"], sources={"s": (rows, labels)})
    found = retemper.advise(
        X * factor + shift, LABELS["regression"], sources={"s": (rows * factor + shift, labels)}
    )
    expected = wanted.estimator_.predict(new)
    np.testing.assert_allclose(
        found.estimator_.predict(new * factor + shift), expected, rtol=0,
        atol=1e-6 * np.abs(expected).max(),
    )  # fmt: skip


def test_a_useless_column_in_large_units_changes_nothing():
    """Sixty rows, three columns that matter, noise 0.1, and a source of pure noise."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4)) * np.array([1.0, 1.0, 1.0, 1e4])
    y = rows[:, :3] @ np.array([1.0, -1.0, 0.5]) + 0.1 * rng.normal(size=60)
    advice = retemper.advise(rows, y, sources={"noise": rng.normal(size=4)})
    assert advice["scratch"].predicted_error < 0.02
    assert advice.verdict != "helps"
    test = rng.normal(size=(500, 4)) * np.array([1.0, 1.0, 1.0, 1e4])
    wrong = advice.estimator_.predict(test) - test[:, :3] @ np.array([1.0, -1.0, 0.5])
    assert np.mean(wrong**2) < 0.005


def test_a_column_that_does_not_vary():
    rows = np.column_stack([X, np.full(N, 0.1 + 0.2), np.zeros(N)])
    advice = retemper.advise(rows, LABELS["regression"], sources={"s": np.append(W[0], [1.0, 1.0])})
    assert np.isfinite(advice.estimator_.predict(rows)).all()
    assert np.isfinite(advice["s"].gain)
