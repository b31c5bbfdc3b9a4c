"""PyTorch modules by forward hooks; skipped where torch is not installed."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from retemper.datasets import coloured_digits
from retemper.phases import PhaseMonitor, checkpoint_steps

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "phases"


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("torch", reason="needs the extra retemper[torch]")
    spec = importlib.util.spec_from_file_location("torch_networks", EXAMPLES / "torch_networks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["torch_networks"] = module
    spec.loader.exec_module(module)
    return module


def tensors(n=400):
    import torch

    task = coloured_digits(n, n)
    X = torch.tensor(task.X_eval, dtype=torch.float32).reshape(-1, 3, 10, 10)
    return task, X


def test_hooks_see_what_the_layer_returns(networks):
    import torch

    from retemper.phases.torch import watch

    torch.manual_seed(0)
    task, X = tensors()
    net = networks.SmallVGG()
    net(X[:2])
    net.train()
    watcher = watch(
        net, ["blocks.1", "blocks.2"], X, y_eval=task.tasks_eval["digit"],
        groups=task.groups_eval, batch_size=150, pool="flatten",
    )  # fmt: skip
    got = watcher.observe(0)
    assert all(part.training for part in net.modules())
    assert not any(part._forward_hooks for part in net.modules())
    net.eval()
    with torch.no_grad():
        first = net.blocks[1](net.blocks[0](X))
        second = net.blocks[2](first)
    monitor = PhaseMonitor(
        X.numpy(), task.tasks_eval["digit"], groups=task.groups_eval, layers=None
    )
    want = monitor.observe(
        0, {"blocks.1": first.flatten(1).numpy(), "blocks.2": second.flatten(1).numpy()}
    )
    for name, score in want.items():
        np.testing.assert_allclose(got[name].fuv_path, score.fuv_path, rtol=1e-4)
        assert abs(got[name].probes["source"].accuracy - score.probes["source"].accuracy) < 0.01


def test_frozen_parts_stay_in_evaluation_mode(networks):
    from retemper.phases.torch import watch

    _, X = tensors(100)
    net = networks.SmallResNet(width=4)
    net.train()
    net.blocks[0].eval()
    before = {name: part.training for name, part in net.named_modules()}
    running = net.stem[0][1].running_mean.clone()
    watch(net, ["pool"], X).observe(0)  # one position: no choice to make
    assert {name: part.training for name, part in net.named_modules()} == before
    assert (net.stem[0][1].running_mean == running).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SmallVGG", "SmallResNet"])
def test_training_loop(networks, name):
    import torch
    from torch import nn

    from retemper.phases.torch import watch

    torch.manual_seed(0)
    task, X = tensors()
    y = torch.tensor(task.tasks_eval["digit"])
    net = getattr(networks, name)()
    net(X[:2])
    watcher = watch(
        net, ["blocks.2"], X, y_eval=y, aux={"colour": task.tasks_eval["colour"]}, pool="channels"
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    wanted = checkpoint_steps(16)
    for step in range(17):
        if step in wanted:
            watcher.observe(step)
        rows = torch.randint(len(X), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
        optimizer.step()
    steps, accuracy = watcher.monitor.curve("blocks.2", "source")
    assert steps.tolist() == wanted
    assert accuracy[-1] > accuracy[0]
    assert watcher.alarm is None
    assert watcher.monitor.history_[0]["blocks.2"].n_units == 64
    assert pickle.loads(pickle.dumps(watcher.monitor)).history_.keys() == set(wanted)


def test_bad_input(networks):
    import torch

    from retemper.phases.torch import watch

    _, X = tensors(100)
    net = networks.SmallResNet(width=4)
    with pytest.raises(ValueError, match="layers must name submodules"):
        watch(net, ["nothing"], X)
    with pytest.raises(ValueError, match="pool must be one of"):
        watch(net, ["pool"], X, pool="max")
    with pytest.raises(ValueError, match="not both"):
        watch(net, ["pool"], X, monitor=PhaseMonitor(X.numpy()), y_eval=[0] * 100)

    class Skips(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Flatten(), torch.nn.Flatten()

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="'unused' did not run"):
        watch(Skips(), ["unused"], X, pool="flatten").observe(0)
    with torch.no_grad():
        net.stem[0][0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="pool holds NaN or infinity"):
        watch(net, ["pool"], X).observe(0)


def reader():
    """A small transformer on named inputs whose output is a mapping."""
    torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
    from torch import nn

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(20, 8)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.top = nn.Linear(8, 3)

        def forward(self, ids, mask):
            h = self.block(self.words(ids)) * mask[..., None]
            return {"logits": self.top(h[:, 0]), "hidden": h}

    torch.manual_seed(0)
    ids = torch.randint(20, (60, 5))
    return torch, Reader().eval(), {"ids": ids, "mask": torch.ones(60, 5)}


def test_tokens_are_pooled_by_name_and_never_silently():
    from retemper.phases.torch import watch

    torch, net, inputs = reader()
    with torch.no_grad():
        h = net.block(net.words(inputs["ids"]))
    monitor = PhaseMonitor(net.words(inputs["ids"]).detach().flatten(1).numpy())
    with pytest.raises(ValueError, match=r"'block' gives shape \(60, 5, 8\): say what becomes"):
        watch(net, ["block"], inputs, monitor=monitor).observe(0)
    for pool, want in (
        ("cls", h[:, 0]), ("last", h[:, -1]), ("tokens", h.mean(dim=1)), ("flatten", h.flatten(1)),
        (lambda value: value.amax(dim=1), h.amax(dim=1)),
    ):  # fmt: skip
        watcher = watch(net, ["block"], inputs, monitor=monitor, pool=pool, batch_size=25)
        got = np.concatenate([batch["block"] for batch in watcher.batches()])
        np.testing.assert_allclose(got, want.numpy(), atol=1e-5)


def test_ids_of_tokens_are_no_measurements():
    from retemper.phases.torch import watch

    _, net, inputs = reader()
    with pytest.raises(ValueError, match=r"whole numbers \(int64\), as ids of tokens"):
        watch(net, ["words"], inputs["ids"], pool="flatten")
    with pytest.raises(ValueError, match="inputs are a dict, which no layer can be asked"):
        watch(net, ["words"], inputs, pool="flatten")
