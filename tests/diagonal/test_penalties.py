"""The penalty and its orders: reference values, derivatives, limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retemper.diagonal import (
    finetune_scale,
    l_order,
    marginal_order,
    penalty,
    pretraining_dependence,
    scale_elasticity,
)

# (beta, source, c, balance, readout) -> c_FT, q, l, l_m, elasticity, PD
SCALARS = [
    ((0.5, 1, 1e-3, 0, 0), (1.001000499999875, 0.06122697129249868, 1.963043329807,
                            1.929468848817, 0.9990000004999996, -0.962080286959)),
    ((0.5, 0, 1e-3, 0, 0), (0.002, 1.304651024607548, 1.190857168159, 1.160909801652, 0, 0)),
    ((1, 1, 0.1, -0.99, 0.2), (0.0310498756211, 1.598058268948, 1.303315615730, 1.239948779481,
                               0.320464146894, -0.097201780035)),
    ((2, 0.3, 1, 0.7, 1.5), (4.599852106515, 0.214152760752, 1.971238347053, 1.944547067340,
                             0.031859159435, -0.030942837348)),
    ((1e-6, 1, 1e-3, -0.9, 0), (0.100100049999987, 2.497501248979e-12, 1.999999999983,
                                1.999999999967, 0.9990000005, -0.9990000004834)),
]  # fmt: skip


@pytest.mark.parametrize(("given", "want"), SCALARS)
def test_scalars(given, want):
    beta, *start = given
    c = finetune_scale(*start)
    found = [
        c,
        penalty(beta, c),
        l_order(beta, c),
        marginal_order(beta, c),
        scale_elasticity(*start),
        pretraining_dependence(beta, *start),
    ]
    assert_allclose(found, want, rtol=1e-10, atol=1e-12)


def test_l_order_at_large_ratios():
    want = [1.8866631144, 1.4323391278, 1.1513200996, 1.0365976373]
    assert_allclose(l_order([1, 10, 1e3, 1e12], 1.0), want, rtol=1e-10)
    assert_allclose(l_order(1e10, 1e-300), l_order(1e150, 1e-160), rtol=1e-12)


def test_penalty_derivatives_agree_with_differences():
    beta, c, h = np.geomspace(1e-4, 1e4, 41), 0.3, 1e-6
    log_q = [np.log(penalty(beta * np.exp(s), c)) for s in (-h, h)]
    assert_allclose((log_q[1] - log_q[0]) / (2 * h), l_order(beta, c), rtol=1e-8)
    source = np.geomspace(1e-3, 1e3, 41)
    pair = [np.log(penalty(0.7, finetune_scale(source * np.exp(s), c, 0.4, 0.6))) for s in (-h, h)]
    found = pretraining_dependence(0.7, source, c, 0.4, 0.6)
    assert_allclose((pair[1] - pair[0]) / (2 * h), found, atol=1e-8)
    small = np.geomspace(1e-9, 0.2, 60)
    t = small / c
    direct = c / 2 * (t * np.arcsinh(t) - t**2 / (1 + np.hypot(1, t)))
    assert_allclose(penalty(small, c), direct, rtol=1e-12)
