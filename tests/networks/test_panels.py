"""The deep panels of `bench/panels_networks.py`, on images that are made here."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def panels():
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("panels_networks")
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def parts():
    """Ten patterns under noise; training and test part."""
    rng = np.random.default_rng(0)
    patterns = rng.random((10, 3, 16, 16), dtype=np.float32)

    def part(n):
        y = rng.integers(10, size=n)
        noise = rng.random((n, 3, 16, 16), dtype=np.float32)
        return (patterns[y] + noise) / 2, y

    return part(600), part(300)


def test_scale_of_early_layers_keeps_the_function(panels):
    X = torch.rand(8, 3, 16, 16, dtype=torch.float64)
    outputs, first = [], []
    for scale in panels.SCALES:
        torch.manual_seed(0)
        net = panels.scale_network(scale).double()
        outputs.append(net(X).detach().numpy())
        first.append(float(net[0].weight.detach().norm()))
    np.testing.assert_allclose(outputs, np.broadcast_to(outputs[1], (3, 8, 5)), rtol=1e-12)
    np.testing.assert_allclose(np.array(first) / first[1], panels.SCALES, rtol=1e-6)


def test_a_short_run_of_phases(panels, parts):
    steps = (0, 10, 30)
    run = panels.phases_run(parts, "resnet", 0.0, 0, steps=steps, counts=(200, 50, 60, 150))
    assert np.shape(run["fuv"]) == np.shape(run["transfer"]) == (3, len(steps))
    assert [len(labels) for labels in run["phases"]] == [len(steps)] * 3
    assert np.argmin(run["source"]) == run["places"]["source optimum"]
    assert run["places"]["smallest fuv"] == np.argmin(run["fuv"][-1])
    assert run["source"][-1] < run["source"][0]
    assert min(run["transfer"][-1]) < 0.5  # of five patterns, chance 0.8


def test_report_of_phases_by_hand(panels, capsys):
    n = len(panels.STEPS)
    falls = np.linspace(0.5, 0.1, n)
    run = {
        "data": "cifar-10", "kind": "vgg", "decay": 0.0, "fuv": [falls.tolist()] * 3,
        "transfer": [np.r_[0.5, 0.3, np.full(n - 2, 0.4)].tolist()] * 3,
        "phases": [["II"] * n] * 3, "places": dict.fromkeys(panels.RULES, 1) | {"last": n - 1},
    }  # fmt: skip
    panels.report_phases([run | {"seed": 0}, run | {"seed": 1}])
    text = capsys.readouterr().out
    assert "| 0.50 0.10, 0.50 0.10, 0.50 0.10 | 2, 2, 2; 0, 0, 0 of 2 | 30.0 (5) 40.0, " in text
    assert "| 70 ± 0 (5) |" in text  # accuracy at the best
    assert "| 10 ± 0 (800) |" in text  # points that the last one loses
    assert "optimum in 0 of 2 runs, with random weights in 0" in text


def test_what_starts_large_moves_little(panels, parts):
    steps = 5
    run = panels.scales_run(parts, 4.0, 0, n_steps=steps, max_epochs=1)
    torch.manual_seed(0)
    size = float(panels.scale_network(4.0)[0].weight.detach().square().mean().sqrt())
    # Adam moves no weight by more than a little over 1e-3 in one of its first steps
    assert 0.0 < run["first layer moved"] < 1.1e-3 * steps / size
    assert 0.0 <= run["coarse"] <= 60.0


def test_report_of_scales_pairs_the_seeds(panels, capsys):
    runs = [
        {"scale": scale, "seed": seed, "valid": float(seed == 0), "order": 1.5, "coarse": 20.0,
         "two own classes": 5.0, "other classes": 10.0 * seed + (scale == 4.0)}
        for seed in (1, 0) for scale in panels.SCALES
    ]  # fmt: skip
    panels.report_scales(runs)
    text = capsys.readouterr().out
    assert "scale 4 minus scale 1, points: other classes 1 ± 0, coarse 0 ± 0" in text
    assert "| 5 ± 5 |" in text  # other classes at scale 1
    assert "| (1) |" in text  # one valid order has no standard error


def test_without_images_nothing_is_run(panels, monkeypatch):
    monkeypatch.delenv("RETEMPER_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["panels_networks.py", "phases"])
    with pytest.raises(SystemExit, match="nothing was run"):
        panels.main()
