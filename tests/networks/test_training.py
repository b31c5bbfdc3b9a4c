"""The loop of fine-tuning: what it trains, what it leaves, that it learns, that it repeats."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import fine_tune  # noqa: E402


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 16),
        nn.ReLU(), nn.Linear(16, 5),
    )  # fmt: skip


def target(n=120, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 8))
    return torch.as_tensor(X).float(), np.array(["low", "high"])[
        (X[:, 0] + X[:, 1] > 0).astype(int)
    ]


def moved(a, b):
    """Blocks whose weights differ."""
    one, two = dict(a.named_parameters()), dict(b.named_parameters())
    return {
        k.split(".")[0] for k in one if one[k].shape == two[k].shape and (one[k] != two[k]).any()
    }


def test_it_learns_and_gives_classes():
    X, y = target(320)
    tuned = fine_tune(network(), X[:120], y[:120], learning_rate=0.01, held_out_share=0.2)
    assert tuned.classes.tolist() == ["high", "low"]
    assert np.mean(tuned.predict(X[120:]) != y[120:]) < 0.15
    assert tuned.held_out_error < 0.25
    assert tuned.held_out_loss.argmin() == tuned.epoch
    assert len(tuned.held_out_loss) == len(tuned.train_loss) + 1 <= 101
    assert tuned.held_out_loss[0] == pytest.approx(np.log(2), abs=0.05)  # a small read-out


@pytest.mark.parametrize(
    ("recipe", "blocks"),
    [("probe", set()), ("last 1 block", {"4"}), ("last 2 blocks", {"1", "4"}),
     ("full", {"0", "1", "4"})],
)  # fmt: skip
def test_a_recipe_trains_its_blocks_alone(recipe, blocks):
    X, y = target(40)
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tuned = fine_tune(net, X, y, recipe=recipe, max_epochs=3, held_out_share=0)
    assert moved(net, tuned.module) == blocks
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    kept = torch.equal(tuned.module[1].running_mean, net[1].running_mean)
    assert kept == ("1" not in blocks)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_scratch_forgets_the_weights():
    X, y = target(40)
    a, b = (
        fine_tune(network(seed), X, y, recipe="scratch", max_epochs=2).module for seed in (0, 1)
    )
    assert moved(a, b) == set()
    assert moved(network(), a) >= {"0", "4"}


def test_the_same_seed_gives_the_same_weights_and_leaves_the_stream_alone():
    X, y = target(40)
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    a = fine_tune(network(), X, y, max_epochs=3, random_state=1)
    torch.manual_seed(5)
    net = network()
    torch.manual_seed(5)
    b = fine_tune(net, X, y, max_epochs=3, random_state=1)
    assert torch.equal(torch.rand(1), want)
    assert moved(a.module, b.module) == set()
    c = fine_tune(network(), X, y, max_epochs=3, random_state=2)
    assert moved(a.module, c.module)


def test_early_stopping_keeps_the_best_weights():
    X, _ = target(40)
    y = np.random.default_rng(0).permutation(np.repeat([0, 1], 20))  # nothing to learn
    tuned = fine_tune(network(), X, y, learning_rate=0.05, patience=4, held_out_share=0.2)
    assert len(tuned.train_loss) == tuned.epoch + 4
    tuned = fine_tune(network(), X, y, learning_rate=0.05, max_epochs=7, held_out_share=0)
    assert tuned.epoch == 7
    assert np.isnan(tuned.held_out_loss).all()
    assert np.isnan(tuned.held_out_error)


def test_regression_and_frozen_parameters():
    X, _ = target(120)
    net = network()
    net[0].weight.requires_grad_(False)
    tuned = fine_tune(
        net, X, X[:, 0].numpy(), task="regression", learning_rate=0.01, held_out_share=0.2
    )
    assert tuned.classes is None
    assert tuned.held_out_error < 0.5
    assert_array_equal(tuned.module[0].weight.detach(), net[0].weight.detach())
    for recipe in ("full", "probe"):  # what may be trained afterwards is as it was
        tuned = fine_tune(net, X, X[:, 0].numpy(), task="regression", recipe=recipe, max_epochs=1)
        frozen = [k for k, p in tuned.module.named_parameters() if not p.requires_grad]
        assert frozen == ["0.weight"]


def test_bad_input():
    X, y = target(20)
    with pytest.raises(ValueError, match=r"recipe must be one of .*'last 2 blocks'.*got 'half'"):
        fine_tune(network(), X, y, recipe="half")
    with pytest.raises(ValueError, match="at least two rows of every class"):
        fine_tune(network(), X, np.arange(20), held_out_share=0.2)
    with pytest.raises(ValueError, match="inputs and y must have one length, got 20, 19"):
        fine_tune(network(), X, y[1:])
    with pytest.raises(ValueError, match="loss is not finite in epoch 1"):
        fine_tune(network(), X * torch.nan, y)
    with pytest.raises(ValueError, match=r"readout_scale must lie in \[0, inf\), got -1"):
        fine_tune(network(), X, y, readout_scale=-1)

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.free = nn.Parameter(torch.ones(8))
            self.top = nn.Linear(8, 2)

        def forward(self, x):
            return self.top(self.free * x)[:, None]

    with pytest.raises(ValueError, match=r"the module gives shape \(20, 1, 2\) for 20 rows"):
        fine_tune(Odd(), X, y)
    with pytest.raises(ValueError, match=r"layer '' \(Odd\) has parameters and no reset_param"):
        fine_tune(Odd(), X, y, recipe="scratch")
