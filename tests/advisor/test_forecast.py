"""Forecasts: a power law through the held-out error, its band, and labels for an error."""

import math

import numpy as np
import pytest

import retemper
from retemper.advisor.forecast import (
    LARGEST_EXPONENT,
    PRIOR_LABELS,
    SHARE_OF_SCRATCH,
    SHARE_OF_SOURCE,
    Forecast,
    forecast_error,
)

LAW = Forecast(n_samples=100, level=0.5, exponent=0.4, level_spread=0.05, exponent_spread=0.1)
SIZES = np.array([10.0, 25.0, 60.0])


def test_a_law_and_its_band():
    np.testing.assert_allclose(LAW.at([100, 400]), [0.5, 0.5 / 4**0.4])
    low, high = LAW.band(100)
    np.testing.assert_allclose([low * high, high / low], [0.25, math.exp(2 * 1.2816 * 0.05)], 1e-4)
    far = np.log(np.divide(*LAW.band([100, 200, 400])[::-1]))
    assert (np.diff(far) > 0).all()  # what is farther is known less


def test_labels_are_where_the_law_and_its_band_are():
    needed = LAW.labels_for(0.4)
    np.testing.assert_allclose(needed.likely, 100 * (0.5 / 0.4) ** 2.5, rtol=0.01)
    np.testing.assert_allclose(LAW.band(needed.low)[0], 0.4, rtol=0.01)
    np.testing.assert_allclose(LAW.band(needed.high)[1], 0.4, rtol=0.01)
    assert needed.low < needed.likely < needed.high
    assert needed.is_told
    assert LAW.labels_for(1e9).likely == 1.0


def test_what_cannot_be_told():
    flat = Forecast(n_samples=30, level=0.5, exponent=0.02, level_spread=0.4, exponent_spread=0.1)
    needed = flat.labels_for(0.3)
    assert not needed.is_told
    assert math.isnan(needed.likely)
    assert needed.low < 30 * 64
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(30, 5)), rng.normal(size=5)
    advice = retemper.advise(X, X @ w + rng.normal(size=30), sources={"s": w}, target_error=0.9)
    assert math.isnan(advice.labels_needed["scratch"])
    assert "cannot be told from these labels" in str(advice)


@pytest.mark.parametrize("n", [20, 200, 20_000])
def test_the_slope_is_shrunk_to_what_theory_expects(n):
    """Errors that fall as 1 / n, whatever the prior: believed from many labels alone."""
    sizes = n * np.array([0.1, 0.2, 0.4])
    law = forecast_error(
        (n, 10), 1.0, 0.8, sizes, 0.8 * n / sizes, is_regression=True, kind="scratch"
    )
    trust = n / (n + PRIOR_LABELS)
    expected = SHARE_OF_SCRATCH * min(10 / (n + 10), LARGEST_EXPONENT)
    np.testing.assert_allclose(law.exponent, trust + (1 - trust) * expected)
    # pinned: cross-validation had four fifths of the labels
    np.testing.assert_allclose(law.at(0.8 * n), 1.0)


def test_a_source_as_it_is_does_not_learn():
    law = forecast_error(
        (50, 10), 0.7, 0.8, SIZES, np.array([3.0, 2.0, 1.0]), is_regression=True, kind="as is"
    )
    np.testing.assert_allclose(law.at([50, 5000]), 0.7)
    low, high = law.band(5000)
    assert low < 0.7 < high
    assert law.labels_for(0.1).likely is not None
    assert not law.labels_for(0.1).is_told


def test_a_source_leaves_less_to_learn():
    flat = np.ones(3)
    scratch, tuned = (
        forecast_error((40, 40), 1.0, 1.0, SIZES, flat, is_regression=True, kind=kind).exponent
        for kind in ("scratch", "fine-tune")
    )
    np.testing.assert_allclose(tuned / scratch, SHARE_OF_SOURCE / SHARE_OF_SCRATCH)


def test_no_wrong_class_is_not_no_error():
    law = forecast_error(
        (20, 5), 0.0, 0.8, SIZES[:2], np.array([0.2, 0.1]), is_regression=False, kind="scratch"
    )
    assert 0.0 < law.level < 0.05
    assert law.band(20)[1] > 0.02
