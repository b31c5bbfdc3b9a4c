"""Weights and labels of the regimes."""

from numpy.testing import assert_allclose

from retemper.diagonal import regime_label, regime_weights


def test_regimes():
    cases = [
        ((1, 1, 1e-3, -0.99, 0), (0.7701, 0.2296, 0.0002), "IV"),
        ((1, 1, 1e-3, 0, 10), (0.0001, 0.0196, 0.9803), "III"),
        ((1, 100, 1e-6, 0.99, 0), (0.0, 1.0, 0.0), "II"),
        ((1, 1, 1e-3, -0.99999, 0), None, "I"),
    ]
    for given, want, label in cases:
        found = regime_weights(*given)
        assert_allclose(found.sum(), 1.0)
        if want:
            assert_allclose(found, want, atol=1.1e-4)
        assert regime_label(found) == label
