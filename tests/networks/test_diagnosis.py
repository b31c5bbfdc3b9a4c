"""Alignment, drift, rank and kernel movement against closed forms and simulation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import debiased_cka, diagnose  # noqa: E402
from retemper.networks.alignment import effective_rank, u_centred  # noqa: E402


def rotation(d, rng):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def test_alignment_is_one_under_rotation_scaling_and_shift():
    rng = np.random.default_rng(0)
    for n, d in ((12, 40), (50, 7)):
        X = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d)
        assert debiased_cka(X, 5.0 * X @ rotation(d, rng) - 2.0) == pytest.approx(1.0, abs=1e-9)


def test_alignment_of_independent_features_is_zero_in_the_mean():
    rng = np.random.default_rng(1)
    found = [debiased_cka(rng.normal(size=(20, 60)), rng.normal(size=(20, 60))) for _ in range(400)]
    z = np.mean(found) / (np.std(found, ddof=1) / 20)
    assert abs(z) < 3.5
    X, Y = rng.normal(size=(20, 60)), rng.normal(size=(20, 60))
    K, L = ((A - A.mean(axis=0)) @ (A - A.mean(axis=0)).T for A in (X, Y))
    assert (K * L).sum() / np.linalg.norm(K) / np.linalg.norm(L) > 0.5  # what the bias would give


def test_inner_products_are_the_unbiased_criterion_of_its_definition():
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(9, 3)), rng.normal(size=(9, 5))
    K, L = X @ X.T, Y @ Y.T
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    one, n = np.ones(9), 9
    want = (
        np.trace(K @ L)
        + (one @ K @ one) * (one @ L @ one) / (n - 1) / (n - 2)
        - 2 * (one @ K @ L @ one) / (n - 2)
    ) / (n * (n - 3))
    scale = np.abs(X - X.mean(axis=0)).max() ** 2 * np.abs(Y - Y.mean(axis=0)).max() ** 2
    got = scale * (u_centred(X) * u_centred(Y)).sum() / (n * (n - 3))
    assert got == pytest.approx(want, rel=1e-10)


def test_dead_units_change_nothing_and_dead_layers_give_zero():
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)) + rng.normal(size=(30, 1))
    dead = np.hstack([X, np.zeros((30, 3)), np.full((30, 2), 7.0)])
    assert debiased_cka(dead, Y) == pytest.approx(debiased_cka(X, Y), abs=1e-12)
    assert debiased_cka(np.full((30, 4), 0.1), Y) == 0.0
    assert effective_rank(np.full((30, 4), 0.1)) == 0.0


def test_effective_rank_of_known_spectra():
    rng = np.random.default_rng(4)
    U = np.linalg.qr(np.hstack([np.ones((40, 1)), rng.normal(size=(40, 5))]))[0][:, 1:]
    assert effective_rank(U) == pytest.approx(5.0)
    assert effective_rank(U * [1.0, 0, 0, 0, 0] + 3.0) == pytest.approx(1.0)
    assert effective_rank(U * np.sqrt([3.0, 1, 0, 0, 0])) == pytest.approx(16 / 10)
    assert effective_rank(U @ rng.normal(size=(5, 90))) < 5.0


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv1d(1, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(60, 30), nn.Tanh(),
        nn.Linear(30, 3),
    )  # fmt: skip


def test_a_planted_change_is_read_off():
    net, X = network(), torch.randn(40, 1, 10)
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[3].weight *= 1.5
        other[3].bias *= 1.5
        other[5].weight.normal_()  # the head takes no part
    found = diagnose(net, other, X)
    assert list(found.drift) == ["0", "3"]
    assert found.drift["0"] == 0.0
    assert found.drift["3"] == pytest.approx(0.5, rel=1e-6)
    assert found.direction_cosine["3"] == pytest.approx(1.0)
    assert found.cka["0"] == pytest.approx(1.0)
    assert found.cka["3"] == pytest.approx(1.0, abs=1e-6)  # before the nonlinearity: a scaling
    assert 0.0 < found.kernel_movement < 0.2
    assert np.isnan(diagnose(net, other, X, kernel_rows=0).kernel_movement)
    text = str(found)
    assert text.startswith("weights moved most in 3 (by 0.5 of their norm)")
    assert "<pre>weights" in found._repr_html_()
    far = diagnose(net, network(seed=1), X)
    assert far.kernel_movement > found.kernel_movement
    assert far.cka["3"] < 0.9


def test_null_of_the_cosine_is_that_of_permutations():
    net, other = network(), network(1)
    with torch.no_grad():
        for module in (net, other):
            module[3].weight += 0.05
    found = diagnose(net, other, torch.randn(5, 1, 10), kernel_rows=0)
    rng = np.random.default_rng(0)
    a, b = ([p.detach().double().numpy().ravel() for p in m[3].parameters()] for m in (net, other))
    norm = np.sqrt(sum(x @ x for x in a) * sum(x @ x for x in b))
    drawn = [
        sum(x @ rng.permutation(y) for x, y in zip(a, b, strict=True)) / norm for _ in range(2000)
    ]
    z = (np.mean(drawn) - found.null_cosine["3"]) / (np.std(drawn) / np.sqrt(2000))
    assert abs(z) < 3.5
    assert np.std(drawn) == pytest.approx(found.null_cosine_stderr["3"], rel=0.06)


def test_layers_and_memory_do_not_change_numbers(monkeypatch):
    net, other, X = network(), network(1), torch.randn(25, 1, 10)
    a = diagnose(net, other, X, kernel_rows=0)
    monkeypatch.setattr("retemper.networks.diagnosis._BYTES", 1)
    b = diagnose(net, other, X, kernel_rows=0, batch_size=4)
    assert_allclose(list(a.cka.values()), list(b.cka.values()), rtol=1e-5)
    named = diagnose(net, other, X, layers=["1", "4"], kernel_rows=0)
    assert list(named.cka) == ["1", "4"]
    frame = pytest.importorskip("pandas") and named.to_frame()
    assert list(frame.index) == ["0", "3", "1", "4"]
    assert np.isnan(frame.loc["1", "drift"])


def test_bad_input():
    net, X = network(), torch.randn(6, 1, 10)
    with pytest.raises(ValueError, match="at least 4 rows, got 3"):
        diagnose(net, net, X[:3])
    wider = nn.Sequential(*list(network())[:5], nn.Linear(30, 3), nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"only before has \['5.bias', '5.weight'\]"):
        diagnose(wider, nn.Sequential(*list(net)[:5], nn.Flatten(), nn.Linear(30, 2)), X)
    broken = network()
    broken[0].bias.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"'0.bias' has NaN or infinite weights"):
        diagnose(net, broken, X)
    with pytest.raises(ValueError, match="layer 'top' is not one of"):
        diagnose(net, net, X, layers=["top"])
    with pytest.raises(ValueError, match="layer '0' gives NaN or infinite features before"):
        diagnose(net, net, torch.full((6, 1, 10), torch.inf))
    with pytest.raises(ValueError, match="one length, at least 4, got 5, 6"):
        debiased_cka(np.ones((5, 2)), np.ones((6, 2)))


def test_bands_are_those_of_permutations_and_of_other_seeds():
    net, other, X = network(), network(1), torch.randn(40, 1, 10)
    found = diagnose(net, other, X, kernel_rows=0, n_reseeded=12)
    # another seed is what the band of other seeds is about
    for name in found.cka:
        gap = abs(found.cka[name] - found.reseeded_cka[name])
        assert gap < 4.5 * found.reseeded_cka_stderr[name]
        assert found.drift[name] == pytest.approx(found.reseeded_drift[name], rel=0.25)
    same = diagnose(net, net, X, kernel_rows=0)
    assert all(same.cka[k] - same.reseeded_cka[k] > 0.01 for k in same.cka)
    from retemper.networks import features

    phi = features(net, X, layers=["3"])["3"]
    rng = np.random.default_rng(3)
    drawn = [debiased_cka(phi, phi[rng.permutation(40)]) for _ in range(200)]
    assert abs(np.mean(drawn)) < 4 * np.std(drawn) / np.sqrt(200)
    assert same.null_cka_stderr["3"] == pytest.approx(np.std(drawn), rel=0.6)
    none = diagnose(net, other, X, kernel_rows=0, n_reseeded=0)
    assert np.isnan(none.reseeded_cka["3"])
    assert none.flags == ()


def test_what_was_forgotten_is_read_by_the_old_read_out():
    torch.manual_seed(0)
    net, X = network(), torch.randn(60, 1, 10)
    with torch.no_grad():
        out = net(X).double()
    y = out.argmax(dim=1).numpy()
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[5].weight.normal_()  # the new read-out does not count
    same = diagnose(net, other, X, kernel_rows=0, inputs_source=X, y_source=y)
    assert same.forgetting == 0.0
    assert same.source_errors == (0.0, 0.0)
    with torch.no_grad():
        other[3].weight *= -1.0
        other[3].bias *= -1.0  # tanh is odd: features change sign
    found = diagnose(net, other, X, kernel_rows=0, inputs_source=X, y_source=y)
    bias = net[5].bias.detach().double()
    want = (4 * (out - bias) ** 2).sum() / ((out - out.mean(dim=0)) ** 2).sum()
    assert found.forgetting == pytest.approx(float(want), rel=1e-5)
    flipped = (2 * bias - out).argmax(dim=1).numpy()
    assert found.source_errors == (0.0, pytest.approx(np.mean(flipped != y)))
    assert "source: outputs changed by" in str(found)
    with pytest.raises(ValueError, match=r"y_source must lie in \[0, 2\], got up to 7"):
        diagnose(net, net, X, kernel_rows=0, inputs_source=X, y_source=np.full(60, 7))
    with pytest.raises(ValueError, match="y_source is given without inputs_source"):
        diagnose(net, net, X, kernel_rows=0, y_source=y)


def test_batch_statistics_of_other_data_are_flagged():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    X = torch.randn(200, 5)
    for _ in range(60):
        net(X)
    assert diagnose(net, net, X, kernel_rows=0).flags == ()
    flags = diagnose(net, net, 10 * X + 3, kernel_rows=0).flags
    assert len(flags) == 2
    assert flags[0].startswith("batch statistics of 1 before are of other data: means off by")
    free = nn.Sequential(nn.Linear(5, 4), Free(), nn.Linear(4, 2))
    assert "cannot draw its weights" in diagnose(free, free, X, kernel_rows=0).flags[0]


class Free(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return torch.tanh(self.scale * x)
