"""Inputs by name, as a tokenizer gives them, through every function; half precision."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import (  # noqa: E402
    advise_network,
    choose_checkpoint,
    diagnose,
    features,
    fine_tune,
)


class Reader(nn.Module):
    """Tokens and a mask by name; the mean of the tokens that count is classified."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.words = nn.Embedding(12, 8)
        self.mix = nn.Linear(8, 16)
        self.top = nn.Linear(16, 3)

    def forward(self, ids, mask):
        x = torch.tanh(self.mix(self.words(ids))) * mask[..., None]
        return {"logits": self.top(x.sum(dim=1) / mask.sum(dim=1, keepdim=True))}


def tokens(n=80, seed=0):
    rng = np.random.default_rng(seed)
    ids = torch.as_tensor(rng.integers(12, size=(n, 6)))
    mask = torch.ones(n, 6)
    mask[:, 4:] = torch.as_tensor(rng.integers(2, size=(n, 2))).float()
    count = ((ids < 4) * mask).sum(dim=1).numpy()
    return {"ids": ids, "mask": mask}, np.where(count >= 2, "many", "few")


def test_named_inputs_through_every_function():
    X, y = tokens()
    net = Reader()
    assert features(net, X).shape == (80, 16)
    found = choose_checkpoint([net, Reader(1).state_dict()], X, y, module=Reader())
    assert found.loo.shape == (2,)
    tuned = fine_tune(net, X, y, learning_rate=0.02, max_epochs=30)
    X_new, y_new = tokens(300, seed=1)
    assert np.mean(tuned.predict(X_new) != y_new) < 0.2
    seen = diagnose(net, tuned.module, X, layers=["mix"])
    assert list(seen.drift) == ["words", "mix"]
    assert 0.0 < seen.cka["mix"] < 1.0
    assert seen.kernel_movement > 0.0
    advice = advise_network(net, X, y)
    verified = advice.verify(budget=2, learning_rate=0.02, max_epochs=5)
    assert {c.name for c in verified.candidates} == {"full of source 0", "scratch"}


def test_bfloat16_module_is_read_and_compared():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).to(torch.bfloat16)
    X = torch.randn(40, 5).to(torch.bfloat16)
    y = (X[:, 0] > 0).numpy()
    assert choose_checkpoint([net], X, y).loo[0] < 0.5
    seen = diagnose(net, net, X)
    assert seen.cka["0"] == pytest.approx(1.0)
    assert seen.kernel_movement == pytest.approx(0.0, abs=1e-9)


def test_a_bare_layer_has_no_read_out_to_replace():
    with pytest.raises(ValueError, match="no linear layer that could be its head"):
        fine_tune(nn.Linear(3, 2), torch.zeros(6, 3), [0, 1] * 3)
