"""The behavioural probe reads the network it is given, and says when it cannot."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.diagonal import (
    finetune_scale,
    l_order,
    marginal_order,
    minimum_penalty,
    pretraining_dependence,
    probe_regime,
    scale_elasticity,
)


@pytest.mark.parametrize(
    ("c", "balance", "readout"),
    [(0.1, 0.0, 0.0), (0.1, -0.99, 0.05), (1e-3, -0.9, 0.0), (1.0, 0.5, 2.0)],
)
def test_probe_reads_the_network_it_is_given(c, balance, readout):
    def fit(X, y, source):
        return minimum_penalty(X, y, finetune_scale(source, c, balance, readout)).coef

    found = probe_regime(fit)
    scale = finetune_scale(1.0, c, balance, readout)
    assert_allclose(found.elasticity, scale_elasticity(1.0, c, balance, readout), rtol=1e-3)
    assert_allclose(found.marginal_order, marginal_order(0.5, scale), rtol=2e-3)
    assert_allclose(found.l_order, l_order(0.5, scale), rtol=2e-3)
    want = pretraining_dependence(0.5, 1.0, c, balance, readout)
    assert_allclose(found.pd, want, atol=2e-3)
    assert found.is_valid
    assert not found.message
    assert_allclose(found.weights.sum(), 1.0)


def test_probe_of_a_noisy_procedure_has_honest_intervals():
    rng = np.random.default_rng(0)

    def fit(X, y, source):
        coef = minimum_penalty(X, y, finetune_scale(source, 0.1, -0.9)).coef
        return coef * np.exp(0.01 * rng.normal(size=2))

    covered = 0
    want = float(scale_elasticity(1.0, 0.1, -0.9))
    for _ in range(40):
        found = probe_regime(fit, n_repeats=4)
        covered += found.elasticity_ci[0] <= want <= found.elasticity_ci[1]
        assert found.l_order_ci[0] <= found.l_order <= found.l_order_ci[1]
        assert found.pd_ci[0] <= found.pd <= found.pd_ci[1]
    assert 32 <= covered <= 40


def test_probe_flags_what_does_not_fit():
    steep = probe_regime(lambda X, y, s: s**3 * X[0])
    assert not steep.is_valid
    assert "elasticity" in steep.message
    signs = probe_regime(lambda X, y, s: np.array([1.0, -1.0]))
    assert not signs.is_valid
    assert "sign" in signs.message
    with pytest.raises(ValueError, match="answer of fit"):
        probe_regime(lambda X, y, s: np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="spread"):
        probe_regime(lambda X, y, s: s, spread=0.0)


def test_a_probe_says_its_regime_in_words_first():
    said = str(probe_regime(lambda X, y, source: minimum_penalty(X, y, 1e-3 + abs(source)).coef))
    assert said.startswith("Regime II: lazy and tied to the source")
    odd = str(probe_regime(lambda X, y, source: [1.0 + 5 * X[0, 0], 1.0]))
    assert odd.startswith("Do not rely on this")
