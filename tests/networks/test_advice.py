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
        network(0), X, labels(X).numpy(), learning_rate=0.01, max_epochs=12, batch_size=100,
        held_out_share=0.2, refit=False,
    )  # fmt: skip
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
    assert best["scratch"] > 1.2 * best["trained"]
    names = [c.name for c in advice.candidates if c.source == "trained"]
    assert sorted(names) == [
        "full of trained", "full, early stopping of trained", "full, pull 3 of trained",
        "full, usual read-out of trained", "last 1 block of trained", "probe of trained",
    ]  # fmt: skip
    assert all(c.error_low <= c.error <= c.error_high for c in advice.candidates)
    cost = {c.name: (c.n_forward, c.n_backward) for c in advice.candidates}
    assert cost["full of trained"] == (150 * 60, 150 * 60)  # 300 steps, two an epoch
    assert cost["last 1 block of trained"] == (9000, 4500)
    assert cost["probe of trained"] == (9000, 0)
    assert "lay in the interval" in str(advice)
    assert str(advice).startswith("use full of trained, read-out reset at 0.1")
    assert "<pre>use full" in advice._repr_html_()


def test_real_runs_decide_within_the_budget(advice):
    found = advice.verify(budget=13, **FAST)
    assert found.choice.source == "trained"
    assert all(c.n_forward == 15 * 45 for c in found.candidates)
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


def test_all_runs_go_to_source_or_scratch_if_asked(advice, tmp_path):
    path = tmp_path / "runs.jsonl"
    found = advice.verify(budget=13, others=0, path=path, **FAST)
    assert {c.name for c in found.candidates} == {"full of trained", "scratch"}
    assert [c.n_runs for c in found.candidates] == [6, 6]
    assert found.choice.source == "trained"
    assert found.gain > 2 * found.gain_stderr
    wider = advice.verify(budget=16, others=1, path=path, **FAST)  # its runs serve this one too
    assert len(wider.candidates) == 3
    with pytest.raises(ValueError, match="others must be"):
        advice.verify(others=-1)


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


def test_a_verification_goes_on_where_it_stopped(advice, tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    whole = advice.verify(budget=4, **FAST)
    calls = []
    train = type(advice).train

    def count(self, *args, **kw):
        calls.append(args[0].name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(self, *args, **kw)

    monkeypatch.setattr(type(advice), "train", count)
    with pytest.raises(KeyboardInterrupt):
        advice.verify(budget=4, path=path, **FAST)
    with path.open("a") as file:
        file.write('{"name": "full of tra')  # cut off by the crash
    again = advice.verify(budget=4, path=path, **FAST)
    assert len(calls) == 3 + 2
    assert again.candidates == whole.candidates
    assert advice.verify(budget=4, path=path, **FAST).gain == whole.gain
    assert len(calls) == 5
    with pytest.raises(ValueError, match="of other data or with other settings"):
        advice.verify(budget=4, path=path, learning_rate=0.02)
    path.write_text("no file of ours")
    with pytest.raises(ValueError, match="is not the file of a verification"):
        advice.verify(budget=4, path=path)


def test_the_default_stays_unless_it_is_beaten_by_more_than_noise(advice, monkeypatch):
    """Losses are planted: others are better by less, or more, than a standard error."""
    import retemper.networks.advice as module

    def chosen(leads):
        names, train = [], type(advice).train

        def loss(value, Y, is_class):
            sign = (-1) ** names.count(names[-1])  # of the split: the default sways against all
            noise = 0.05 * sign * (1 if names[-1] == "full of trained" else -1)
            kind = names[-1] if names[-1] in leads else "others"
            return 0.5 - noise - leads[kind]

        def note(self, candidate, *args, **kw):
            names.append(candidate.name)
            return train(self, candidate, *args, **kw)

        with monkeypatch.context() as patch:
            patch.setattr(module, "_loss", loss)
            patch.setattr(type(advice), "train", note)
            return advice.verify(budget=12, max_epochs=1)

    default = {"full of trained": 0.0}
    assert chosen({**default, "others": 0.03, "scratch": -0.1}).choice.name == "full of trained"
    found = chosen({**default, "others": 0.3, "scratch": -0.1})
    assert found.choice.name not in ("full of trained", "scratch")
    found = chosen({**default, "others": -0.3, "scratch": 0.03})  # no hurdle for scratch
    assert found.choice.name == "scratch"
    assert found.gain < 0.0
    # better than the source, and no worse than a recipe that is better within the noise
    assert chosen({**default, "others": 0.04, "scratch": 0.035}).choice.name == "scratch"
    behind = chosen({**default, "others": 0.3, "scratch": -0.03})  # within noise: not dropped
    runs = {c.name: c.n_runs for c in behind.candidates}
    assert runs["scratch"] == runs["full of trained"]


def curve_of(curve):
    return curve.error_low, curve.error, curve.error_high


def test_early_stopping_is_left_out_where_a_class_is_rare():
    X = torch.as_tensor(np.random.default_rng(0).normal(size=(20, 20))).float()
    y = np.array([0] * 17 + [1] * 3)
    names = [c.name for c in advise_network(network(0), X, y).candidates]
    assert not any("early stopping" in name for name in names)
    assert any("pull" in name for name in names)
    checked = advise_network(network(0), X, y).verify(budget=16, max_epochs=1)
    assert sum(c.n_runs for c in checked.candidates) <= 16


def test_label_curve_falls_and_refuses_what_the_record_does_not_reach(advice):
    curve = advice.label_curve([20, 60, 180])
    assert curve.error[0] >= curve.error[1] >= curve.error[2]
    assert curve.error[1] == pytest.approx(advice.choice.error)
    assert all(a <= b <= c for a, b, c in zip(*curve_of(curve), strict=True))
    assert str(curve).splitlines()[0].split() == ["labels", "error", "low", "high"]
    pytest.importorskip("matplotlib").use("Agg")
    assert curve.plot().lines[0].get_xdata().tolist() == [20, 60, 180]
    pytest.importorskip("pandas")
    assert list(curve.to_frame()["n_labels"]) == [20, 60, 180]
    with pytest.raises(ValueError, match=r"n_labels must lie in \[20, 180\]"):
        advice.label_curve([500])


def test_intervals_are_those_of_the_record():
    from retemper.networks.record import LEVELS, level_interval

    level, slope, half = LEVELS["full"][1]
    got = level_interval("full", 60, 0.2, 0.8)
    middle = level + slope * 0.25
    want = np.clip(0.8 * np.array([middle, middle - half, middle + half]), 0, 1)
    assert got == pytest.approx(tuple(want))
    assert level_interval("last 2 blocks", 1000, 0.2, 0.8) == level_interval(
        "last 1 block", 200, 0.2, 0.8
    )


def test_regression_has_no_record_and_odd_layers_need_a_blank_network():
    X = torch.as_tensor(np.random.default_rng(0).normal(size=(30, 20))).float()
    found = advise_network(network(0), X, X[:, 0].numpy(), task="regression")
    assert np.isnan(found.choice.error_low)
    assert found.choice.loss > 0
    with pytest.raises(ValueError, match=r"the error of .* is not predicted"):
        found.label_curve([30])

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.free = nn.Parameter(torch.ones(20))
            self.top = nn.Linear(20, 2)

        def forward(self, x):
            return self.top(torch.tanh(self.free * x))

    y = (X[:, 0] > 0).numpy()
    with pytest.raises(ValueError, match="give scratch=, a network that was never trained"):
        advise_network(Odd(), X, y)
    found = advise_network(Odd(), X, y, scratch=Odd())
    checked = found.verify(budget=2, max_epochs=2)
    assert {c.name for c in checked.candidates} == {"full of source 0", "scratch"}
    assert found.fine_tune(max_epochs=2).predict(X).shape == (30,)
