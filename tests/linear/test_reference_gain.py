"""The slow version of the gain statistics against plain refits."""

import numpy as np
import pytest

from .reference_gain import (
    Candidate,
    Spectrum,
    compare,
    leave_two_out,
    loo_error,
    loo_grid,
    paired_ridges,
    refit_residual,
    skew_corrected_interval,
    verdict,
)


def sample(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 1.0
    w = rng.normal(size=d)
    return X, X @ w + 0.3 * rng.normal(size=n) + 2.0, X @ (w + 0.4 * rng.normal(size=d))


@pytest.mark.parametrize(("n", "d"), [(7, 15), (15, 4), (9, 9)])
@pytest.mark.parametrize("scale", ["none", "one", "free"])
def test_leave_out_equals_refit(n, d, scale):
    X, y, f = sample(n, d)
    spectrum, ridge = Spectrum(X), 0.05
    candidate = {"none": Candidate(y), "one": Candidate(y - f), "free": Candidate(y, f)}[scale]
    A = candidate.annihilator(spectrum, ridge)
    loo = [refit_residual(X, y, f, ridge, [i], i, scale) for i in range(n)]
    np.testing.assert_allclose(candidate.loo(spectrum, ridge), loo, rtol=1e-7)
    np.testing.assert_allclose(loo_grid(spectrum, candidate, [ridge])[:, 0], loo, rtol=1e-7)
    pair = leave_two_out(A, candidate.label)
    two = [
        [0.0 if i == j else refit_residual(X, y, f, ridge, [i, j], i, scale) for j in range(n)]
        for i in range(n)
    ]
    np.testing.assert_allclose(pair, two, rtol=1e-6, atol=1e-9)


def test_jackknife_equals_deleting_rows():
    X, y, f = sample(12, 20)
    ridges = 0.3, 0.1
    result = compare(Spectrum(X), Candidate(y - f), Candidate(y), ridges)

    def error(ridge, scale, gone):
        rest = np.setdiff1d(np.arange(12), gone)
        return np.square([refit_residual(X, y, f, ridge, [i, *gone], i, scale) for i in rest])

    pairs = [(error(ridges[0], "one", [j]), error(ridges[1], "none", [j])) for j in range(12)]
    e = error(ridges[0], "one", []), error(ridges[1], "none", [])

    def expected(deleted, contributions):
        jackknife = np.sqrt(11 / 12 * np.sum((deleted - np.mean(deleted)) ** 2))
        return max(jackknife, np.sqrt(2 / 12) * contributions.std(ddof=1))

    difference = expected([a.mean() - b.mean() for a, b in pairs], e[0] - e[1])
    assert result.gain == pytest.approx(np.mean(e[1] - e[0]), rel=1e-6)
    assert result.stderr == pytest.approx(difference, rel=1e-6)
    log = expected(
        [np.log(a.mean() / b.mean()) for a, b in pairs], e[0] / e[0].mean() - e[1] / e[1].mean()
    )
    t = 2.2009851600916
    ratio, largest = 1 - result.relative_gain, 1 - result.relative_interval[0]
    assert ratio == pytest.approx(e[0].mean() / e[1].mean(), rel=1e-6)
    assert np.log(largest / ratio) == pytest.approx(t * log, rel=1e-6)


def test_gain_is_antisymmetric_and_zero_for_an_empty_source():
    X, y, f = sample(14, 6)
    spectrum = Spectrum(X)
    one, two = Candidate(y - f), Candidate(y)
    forward, back = compare(spectrum, one, two), compare(spectrum, two, one)
    assert forward.gain == pytest.approx(-back.gain)
    np.testing.assert_allclose(forward.interval, [-back.interval[1], -back.interval[0]])
    assert 1 - forward.relative_gain == pytest.approx(1 / (1 - back.relative_gain))
    null = compare(spectrum, two, two)
    assert (null.gain, null.stderr, null.interval) == (0.0, 0.0, (0.0, 0.0))
    assert null.relative_interval == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(8))
def test_both_intervals_agree_on_the_sign(seed):
    X, y, f = sample(20, 8, seed)
    result = compare(Spectrum(X), Candidate(y - f), Candidate(y))
    low, high = result.interval
    assert low <= result.gain <= high
    assert (high <= 0) == (result.relative_interval[1] < 0)
    assert (low >= 0) == (result.relative_interval[0] > 0)


def test_units_of_labels_and_features_do_not_matter():
    X, y, f = sample(16, 10)
    a = compare(Spectrum(X), Candidate(y - f), Candidate(y))
    b = compare(Spectrum(1e3 * X), Candidate(1e-2 * (y - f)), Candidate(1e-2 * y))
    assert b.gain == pytest.approx(1e-4 * a.gain)
    np.testing.assert_allclose(b.relative_interval, a.relative_interval)


def test_perfect_fits_and_constant_labels_stay_undecided():
    X, y, _ = sample(8, 3)
    for label in (np.zeros(8), np.full(8, 2.0)):
        result = compare(Spectrum(X), Candidate(label), Candidate(np.zeros(8)))
        assert (result.gain, result.relative_gain) == (0.0, 0.0)
    perfect = compare(Spectrum(X), Candidate(np.zeros(8)), Candidate(y))
    assert perfect.gain > 0
    assert perfect.relative_interval == (-np.inf, 1.0)


def test_interval_reduces_to_student_without_skewness_and_stretches_along_it():
    low, high = skew_corrected_interval(1.0, 0.1, 0.0, 20)
    assert high - 1.0 == pytest.approx(1.0 - low)
    assert high == pytest.approx(1.2093024)
    low, high = skew_corrected_interval(1.0, 0.1, 2.0, 20)
    assert high - 1.0 > 1.0 - low > 0


def test_verdicts():
    rng = np.random.default_rng(3)
    w = rng.normal(size=40)
    X = rng.normal(size=(30, 40))
    y = X @ w + 0.5 * rng.normal(size=30)
    assert verdict(X, y, X @ w)[:2] in (("helps", "as is"), ("helps", "fine-tune"))
    assert verdict(X, y, X @ (-w))[:2] == ("helps", "rescaled")
    assert verdict(X, y, X @ (3 * rng.normal(size=40)))[:2] == ("hurts", "scratch")
    assert verdict(X, y, np.zeros(30))[0] == "undecided"


def test_constant_features_leave_only_the_intercept():
    spectrum = Spectrum(np.ones((5, 3)))
    assert spectrum.grid().tolist() == [np.inf]
    y = np.array([1.0, 2.0, 4.0, 3.0, 0.0])
    assert loo_error(spectrum, Candidate(y))[1] == np.inf
    expected = [y[i] - np.delete(y, i).mean() for i in range(5)]
    np.testing.assert_allclose(Candidate(y).loo(spectrum, np.inf), expected, atol=1e-14)


def test_ridge_is_shared_unless_one_candidate_needs_its_own():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 40))
    signal = X @ rng.normal(size=40)
    y = signal + 0.5 * rng.normal(size=60)
    spectrum = Spectrum(X)
    tuned, scratch = paired_ridges(spectrum, Candidate(y - signal), Candidate(y))
    assert tuned > 100 * scratch  # a perfect source is kept, scratch must learn everything
    tuned, scratch = paired_ridges(spectrum, Candidate(y - 0.1 * signal), Candidate(y))
    assert tuned == scratch
