"""The falling-then-rising fit and the two detectors (section 9, rows 24 and 25)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.isotonic import IsotonicRegression

from retemper.phases import PhaseDetector
from retemper.phases.detector import fit_valley

# published on the iteration axis 0, 8, ..., 65536 (JohnTailor/LearnPhase), summed losses
README_STEPS = [0, 8, 32, 64, 128, 256, 1024, 2048, 4096, 8192, 65536]
README_LOSS = [46.71, 45.62, 43.48, 41.92, 40.32, 40.54, 41.12, 44.30, 48.69, 54.74, 62.18]


def test_row_24():
    split, fit, error = fit_valley(np.array([5, 5.2, 4, 3, 3.5, 3.1, 4]))
    assert split == 3
    assert_allclose(fit, [5.1, 5.1, 4, 3, 3.3, 3.3, 4])
    assert_allclose(error, 0.1)


def test_row_25():
    detector = PhaseDetector()
    values = [10, 10.1, 8, 5, 3, 3.2, 4.5, 5]
    rang = [detector.update(2**j, v, 0.2) for j, v in enumerate(values)]
    assert rang.index(True) == 7
    assert detector.recommended_step_ == 2**4
    assert detector.phase_ == "III"


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_fit_is_the_best_of_two_isotonic_regressions(values):
    y = np.array(values)
    errors = []
    for b in range(y.size + 1):
        error = 0.0
        for part, rises in ((y[:b], False), (y[b:], True)):
            if part.size:
                fit = IsotonicRegression(increasing=rises).fit_transform(np.arange(part.size), part)
                error += ((part - fit) ** 2).sum()
        errors.append(error)
    split, fit, error = fit_valley(y)
    assert_allclose(error, min(errors), atol=1e-9)
    assert_allclose(errors[split], min(errors), atol=1e-9)
    assert (np.diff(fit[:split]) <= 1e-12).all()
    assert (np.diff(fit[split:]) >= -1e-12).all()


def test_published_table_alarms_two_octaves_after_the_rise_begins():
    detector = PhaseDetector(min_stderr=0.0)
    for step, loss in zip(README_STEPS, README_LOSS, strict=True):
        detector.update(step, loss, 0.3)
    assert detector.alarm_step_ == 4096
    assert detector.recommended_step_ == 128
    offline = PhaseDetector().fit(README_STEPS, README_LOSS, 0.3)
    assert offline.turning_step_ == 128
    assert offline.labels_[0] == "I"
    assert offline.labels_[4] == "II"
    assert offline.labels_[-1] == "III"
    low, high = offline.turning_interval_
    assert 64 <= low <= 128 <= high <= 1024


def test_early_bump_raises_no_alarm():
    detector = PhaseDetector()
    values = [0.77, 0.80, 0.815, 0.815, 0.79, 0.75, 0.70, 0.66, 0.65, 0.65]
    assert not any(detector.update(2**j, v) for j, v in enumerate(values))
    assert detector.warning_step_ is None
    assert detector.fall_confirmed_


def test_rise_without_a_fall_is_a_warning_only():
    detector = PhaseDetector()
    values = [0.5, 0.5, 0.53, 0.56, 0.6, 0.65]
    assert not any(detector.update(2**j, v) for j, v in enumerate(values))
    assert detector.warning_step_ == 16
    fitted = PhaseDetector().fit([2**j for j in range(6)], values)
    assert "II" not in fitted.labels_
    assert fitted.labels_[-1] == "III"


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.5] * 5, "I I I I I"),
        ([0.5, 0.5, 0.4, 0.3, 0.3], "I I II II II"),
        ([0.5, 0.4, 0.3, 0.4, 0.5], "I II II III III"),
        ([0.3, 0.3, 0.4, 0.5, 0.6], "I I III III III"),
        ([0.300, 0.305, 0.302, 0.304, 0.301], "I I I I I"),
    ],
)
def test_labels(values, labels):
    assert PhaseDetector().fit([0, 1, 2, 4, 8], values).labels_ == labels.split()


def test_bootstrap_over_folds_widens_with_the_noise():
    rng = np.random.default_rng(0)
    curve = np.array([0.5, 0.45, 0.38, 0.36, 0.36, 0.37, 0.42])
    steps = [0, 1, 2, 4, 8, 16, 32]
    level = rng.normal(size=(1, 6)) * 0.05  # shared by all checkpoints: cancels in pairs
    calm = PhaseDetector().fit(steps, curve[:, None] + level)
    noisy = PhaseDetector().fit(steps, curve[:, None] + level + 0.05 * rng.normal(size=(7, 6)))
    assert calm.labels_ == PhaseDetector().fit(steps, curve).labels_
    assert_allclose(calm.label_frequencies_.sum(axis=1), 1.0)
    assert np.ptp(np.log2(1 + np.array(noisy.turning_interval_))) >= np.ptp(
        np.log2(1 + np.array(calm.turning_interval_))
    )
    assert calm.label_frequencies_.max(axis=1).min() > noisy.label_frequencies_.max(axis=1).min()


def test_false_alarms_after_a_fall_are_rare():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        detector = PhaseDetector(min_stderr=0.0, relative=0.0)
        drop = np.where(np.arange(15) < 3, 10.0, 0.0) + rng.normal(size=15)
        alarms += any([detector.update(j, v, 1.0) for j, v in enumerate(drop)])
    assert alarms <= 12  # measured rate .007: 3 expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PhaseDetector(n_sigmas=-1.0), "n_sigmas"),
        (lambda: PhaseDetector().fit([0, 1], [1, 2]), "at least three"),
        (lambda: PhaseDetector().fit([0, 2, 1], [1, 2, 3]), "increase"),
        (lambda: PhaseDetector().fit([0, 1, 2], [1, 2]), "fuv must have shape"),
        (lambda: PhaseDetector().fit([0, 1, 2], [1, 2, 3], -1.0), "stderr must be"),
        (lambda: PhaseDetector().update(0, np.nan), "fuv must lie"),
        (lambda: PhaseDetector().recommended_step_, "seen no checkpoint"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_fresh_detector_keeps_the_settings_as_they_were_given():
    settings = {
        "n_sigmas": 3, "relative": 0, "min_stderr": 0, "persistence": np.int64(1),
        "rise_threshold": 1, "n_bootstrap": 7, "random_state": 5,
    }  # fmt: skip
    detector = PhaseDetector(**settings)
    detector.update(0, 1.0)
    again = detector.fresh()
    assert {name: getattr(again, name) for name in settings} == settings
    assert again.n_sigmas is settings["n_sigmas"]
    again.update(0, 2.0)
    assert PhaseDetector().fresh().n_sigmas is None


def test_online_steps_must_increase():
    detector = PhaseDetector()
    detector.update(4, 1.0)
    with pytest.raises(ValueError, match="steps must increase: got 4 after 4"):
        detector.update(4, 1.0)
