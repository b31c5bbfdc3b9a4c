"""Advice: theory prunes, real fine-tuning decides; planted good and useless sources."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import advise_network, fine_tune  # noqa: E402

FAST = {"learning_rate": 0.01, "max_epochs": 15}


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4)
    )


def labels(X):
    """A product of two directions among twenty: hard from few labels without good features."""
    return ((X[:, 0] * X[:, 1]) > 0).long()


def sources():
    """One network trained on the target's own structure, one with random weights."""
    X = torch.as_tensor(np.random.default_rng(5).normal(size=(3000, 20))).float()
    tuned = fine_tune(
        network(0), X, labels(X).numpy(), learning_rate=0.01, max_epochs=12, batch_size=100
    )
    assert tuned.held_out_error < 0.15
    return {"trained": tuned.module, "random": network(1)}


@pytest.fixture(scope="module")
def advice():
    X = torch.as_tensor(np.random.default_rng(0).normal(size=(60, 20))).float()
    return advise_network(sources(), X, labels(X).numpy())


def test_theory_prefers_the_source_that_helps(advice):
    assert advice.choice.source == "trained"
    assert advice.choice.recipe == "full"
    assert advice.candidates[0].source == "trained"
    assert advice.candidates[0].excess == 0.0
    best = {c.source: c.loss for c in reversed(advice.candidates)}
    assert best["trained"] < 0.7 * best["random"]
    assert np.isnan(best["scratch"])
    names = [c.recipe for c in advice.candidates if c.source == "trained"]
    assert sorted(names) == ["full", "last 1 block", "probe"]
    assert str(advice).startswith("use full of trained, read-out reset at 0.1")
    assert "<pre>use full" in advice._repr_html_()


def test_real_runs_decide_within_the_budget(advice):
    found = advice.verify(budget=13, **FAST)
    assert found.choice.source == "trained"
    assert sum(c.n_runs for c in found.candidates) <= 13
    assert min(c.n_runs for c in found.candidates) == 2
    assert len(found.candidates) == 3
    assert {"scratch"} < {c.source for c in found.candidates}
    assert any(c.recipe == "full" and c.source == "trained" for c in found.candidates)
    assert found.gain > 0.2
    assert found.gain > 2 * found.gain_stderr
    assert "real fine-tunings; gain of the best source over scratch +" in str(found)
    X = torch.as_tensor(np.random.default_rng(9).normal(size=(500, 20))).float()
    tuned = found.fine_tune(**FAST)
    assert tuned.recipe == found.choice.recipe
    assert np.mean(tuned.predict(X) != labels(X).numpy()) < 0.2


def test_the_least_budget_is_full_against_scratch_on_one_split(advice):
    found = advice.verify(budget=2, **FAST)
    assert [c.n_runs for c in found.candidates] == [1, 1]
    assert {c.name for c in found.candidates} == {"full of trained", "scratch"}
    assert np.isnan(found.gain_stderr)
    again = advice.verify(budget=2, **FAST)
    assert again.gain == found.gain


def test_frames_and_bad_input(advice):
    pytest.importorskip("pandas")
    assert list(advice.to_frame()["recipe"])[-1] == "scratch"
    with pytest.raises(ValueError, match=r"budget must be .*, got 1"):
        advice.verify(budget=1)
    with pytest.raises(ValueError, match="test_share must lie in"):
        advice.verify(test_share=0.9)
    with pytest.raises(ValueError, match="none of them called 'scratch'"):
        advise_network({"scratch": network(0)}, torch.zeros(4, 20), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="at least one module"):
        advise_network([], torch.zeros(4, 20), [0, 1, 0, 1])
