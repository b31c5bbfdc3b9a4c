"""The regime of networks: against `probe_regime`, lazy ones, and what cannot be read."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.diagonal import finetune_scale, minimum_penalty, probe_regime  # noqa: E402
from retemper.exceptions import ValidityWarning  # noqa: E402
from retemper.networks import diagnose, network_regime  # noqa: E402


class Paths(nn.Module):
    """First layer of a diagonal linear network: a weight for every path of a feature."""

    def __init__(self, plus, minus):
        super().__init__()
        self.plus, self.minus = (nn.Parameter(torch.as_tensor(w)) for w in (plus, minus))

    def forward(self, x):
        return torch.cat([x * self.plus, -x * self.minus], dim=1)


def diagonal(scale, balance, d=6):
    """A diagonal network after gradient flow from small weights to coefficients of one."""
    h = math.hypot(scale, 1.0)
    first, second = (
        (math.sqrt((1 + b) * (h + scale)) / 2, math.sqrt((1 - b) * (h - scale)) / 2)
        for b in (balance, -balance)
    )
    ends = [(e + o, e - o) for e, o in (first, second)]
    net = nn.Sequential(
        Paths(*(np.full(d, w) for w in ends[0])), nn.Linear(2 * d, 1, bias=False)
    ).double()
    net[1].weight.data = torch.as_tensor(np.repeat(ends[1], d)[None])
    np.testing.assert_allclose(net(torch.eye(d).double()).detach().numpy(), 1.0)
    return net


@pytest.mark.parametrize(
    ("scale", "balance"), [(1e-2, 0.0), (0.3, 0.0), (3.0, 0.0), (0.3, -0.9), (0.1, 0.9)]
)
def test_of_a_diagonal_network_it_is_what_the_theory_probes(scale, balance):
    net = diagonal(scale, balance)
    found = network_regime(net, torch.eye(6), n_pairs=2, amplitude=1.0, readout_scale=0.0)
    said = probe_regime(
        lambda X, y, source: (
            minimum_penalty(X, y, finetune_scale(source, scale, balance, rebalance="none")).coef
        )
    )
    assert found.l_order == pytest.approx(said.l_order, abs=2e-4)
    assert found.elasticity == pytest.approx(said.elasticity, abs=1e-4)
    assert found.pd == pytest.approx(said.pd, abs=2e-4)
    assert (found.regime, found.is_valid) == (said.regime, said.is_valid)
    assert found.l_order_ci == pytest.approx((found.l_order, found.l_order), abs=1e-9)


def test_a_lazily_scaled_network_is_lazy_and_a_small_one_is_not():
    torch.manual_seed(1)
    X = torch.randn(16, 8)
    net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))
    # y over the scale of the outputs is what makes a network lazy (Chizat et al. 2019)
    lazy = network_regime(net, X, amplitude=1e-3, readout_scale=1.0)
    assert lazy.l_order == pytest.approx(2.0, abs=1e-3)
    assert lazy.l_order_ci[0] > 1.99
    rich = copy.deepcopy(net)
    with torch.no_grad():
        for p in rich.parameters():
            p.mul_(0.1)
    orders = [network_regime(rich, X, n_pairs=2, amplitude=a).l_order for a in (1e-5, 2.0)]
    assert orders[0] > 1.99
    assert orders[1] < 1.9


def test_the_module_is_left_as_it_was_and_seeds_repeat():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 2)).train()
    X, before = torch.randn(12, 4), copy.deepcopy(net.state_dict())
    a = network_regime(net, X, n_pairs=2, random_state=3)
    b = network_regime(net, {"input": X}, n_pairs=2, random_state=3)
    assert a.l_order == b.l_order
    assert a.pd_ci == b.pd_ci
    assert net.training
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_what_cannot_be_read_says_so():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    with pytest.warns(ValidityWarning, match="the regime is not read"):
        alike = network_regime(net, torch.ones(8, 4))
    assert not alike.is_valid
    assert math.isnan(alike.l_order)
    assert "alike to the tangent kernel" in alike.message
    assert "0 of 4 pairs can be read" in alike.message
    with pytest.raises(ValueError, match="two rows a pair, 8, got 5"):
        network_regime(net, torch.ones(5, 4))
    with pytest.raises(ValueError, match="n_pairs"):
        network_regime(net, torch.ones(5, 4), n_pairs=1)
    with pytest.raises(ValueError, match="outputs of the module are NaN"):
        network_regime(net, torch.full((8, 4), torch.nan))
    net[0].requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter below the head"):
        network_regime(net, torch.randn(8, 4))


def test_diagnosis_has_the_regime_if_it_is_asked_for():
    torch.manual_seed(0)
    net, X = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)), torch.randn(12, 4)
    assert diagnose(net, net, X, kernel_rows=0, n_reseeded=0).regime is None
    found = diagnose(net, net, X, kernel_rows=0, n_reseeded=0, n_pairs=3)
    assert found.regime is not None
    assert f"regime {found.regime.regime}: order" in str(found)
    with pytest.warns(ValidityWarning):
        same = diagnose(net, net, torch.ones(8, 4), kernel_rows=0, n_reseeded=0, n_pairs=2)
    assert "regime: not read: two inputs are alike" in str(same)
