"""The kernel by layers against gradients of single samples, for every kind of layer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper._random import generator  # noqa: E402
from retemper.networks import features, tangent_kernel  # noqa: E402
from retemper.networks.tangent import readouts  # noqa: E402


class Residual(nn.Module):
    """Convolutions of all kinds, normalisation, a skip, a layer used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=2)
        self.group = nn.GroupNorm(2, 4)
        self.again = nn.Conv2d(4, 4, 1, bias=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.stem(x)))
        x = x + torch.tanh(self.group(self.deep(x)))
        x = torch.tanh(self.again(torch.tanh(self.again(x))))
        return self.head(x.flatten(2).mean(2))


class Transformer(nn.Module):
    """Embedding, position parameter, attention, layer normalisation, a token as feature."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 6)
        self.place = nn.Parameter(torch.randn(5, 6) / 3)
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoderLayer(6, 2, 8, dropout=0.1, batch_first=True) for _ in range(2)]
        )
        self.head = nn.Linear(6, 2)

    def forward(self, ids):
        x = self.words(ids) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Folded(nn.Module):
    """Layers whose first axis is not the sample: positions, windows, time; one called by name."""

    def __init__(self, places):
        super().__init__()
        self.words, self.place = nn.Embedding(7, 6), nn.Embedding(5, 6)
        self.window, self.time = nn.Linear(6, 6), nn.Linear(6, 6)
        self.named = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)
        self.places = places

    def forward(self, ids):
        n, t = ids.shape
        at = torch.arange(t) if self.places == "one" else torch.arange(t)[None]
        x = torch.tanh(self.words(ids) + self.place(at))
        x = x + torch.tanh(self.window(x.reshape(n * t, 6))).reshape(n, t, 6)
        x = x + torch.tanh(self.time(x.transpose(0, 1))).transpose(0, 1).cumsum(dim=1) / t
        return self.head(x + torch.tanh(self.named(input=x)))


def mlp():
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))


def cases():
    torch.manual_seed(0)
    net = Residual()
    net.norm.running_mean.normal_()
    net.norm.running_var.uniform_(0.5, 2.0)
    return {
        "mlp": (mlp(), torch.randn(9, 5), None),
        "convolutions": (net, torch.randn(7, 2, 8, 8), None),
        "transformer": (Transformer(), torch.randint(0, 7, (6, 5)), "cls"),
    }


def slow_kernel(module, inputs, pool, n_readouts, metric="sgd", *, loose=()):
    """Sum of products of per-sample gradients, one sample and one read-out at a time."""
    module.eval()
    head = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    body = {n: p for n, p in module.named_parameters() if not n.startswith("head")}
    if isinstance(module, nn.Sequential):
        body = {n: p for n, p in module.named_parameters() if not n.startswith("4")}
    caught = []
    handle = head.register_forward_pre_hook(lambda _m, args: caught.append(args[0]))
    rows = []
    for i in range(len(inputs)):
        caught.clear()
        module(inputs[i : i + 1])
        phi = caught[0]
        if phi.ndim == 3:
            phi = phi[:, 0] if pool == "cls" else phi[:, -1]
        directions = torch.as_tensor(np.asarray(DIRECTIONS[phi.shape[1]][:n_readouts])).to(
            phi.dtype
        )
        per = []
        for r in directions:
            grads = torch.autograd.grad(
                (phi @ r).sum(), list(body.values()), retain_graph=True, allow_unused=True
            )
            per.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if g is None else g).flatten()
                        for g, p in zip(grads, body.values(), strict=True)
                    ]
                )
            )
        rows.append(torch.stack(per))
    handle.remove()
    J = torch.stack(rows, dim=1).double()
    second = J.square().mean(dim=(0, 1))
    if metric == "adafactor":
        second = torch.cat([
            part if name.split(".")[0] in loose else factored(module, name, part)
            for name, part in zip(
                body, second.split([p.numel() for p in body.values()]), strict=True
            )
        ])  # fmt: skip
    if metric != "sgd":
        J = J / (second.sqrt() + 1e-8)
    return torch.einsum("rip,rjp->ij", J, J).numpy() / n_readouts


def factored(module, name, second):
    """The second moment of a weight from the means of its rows and columns."""
    owner, _, kind = name.rpartition(".")
    layer = module.get_submodule(owner)
    if kind != "weight" or type(layer) not in (nn.Linear, nn.Conv1d, nn.Conv2d):
        return second  # also the read-out of an attention, whose gradients are formed
    groups = getattr(layer, "groups", 1)
    parts = second.reshape(groups, layer.weight.shape[0] // groups, -1)
    rows, columns = parts.mean(dim=2, keepdim=True), parts.mean(dim=1, keepdim=True)
    return (rows * columns / rows.mean(dim=1, keepdim=True)).flatten()


DIRECTIONS = {h: readouts(h, h, generator(0)) for h in (4, 6)}


@pytest.mark.parametrize("name", cases())
def test_kernel_equals_gradients_of_single_samples(name):
    module, inputs, pool = cases()[name]
    h = 4 if name != "transformer" else 6
    got = tangent_kernel(module, inputs, pool=pool, n_readouts=h, batch_size=4)
    want = slow_kernel(module, inputs, pool, h)
    assert_allclose(got.body, want, rtol=2e-5, atol=2e-6 * want.max())
    assert sum(got.n_parameters.values()) == sum(
        p.numel() for n, p in module.named_parameters() if not n.startswith(("head", "4."))
    )


@pytest.mark.parametrize("metric", ["sgd", "adafactor"])
@pytest.mark.parametrize("pool", ["cls", "last"])
@pytest.mark.parametrize(("places", "rows"), [("one", 7), ("row", 7), ("one", 5), ("row", 1)])
def test_layers_whose_first_axis_is_not_the_sample(places, rows, pool, metric):
    """As many samples as positions, too, and one: a shape does not tell the axes apart."""
    torch.manual_seed(1)
    net, ids = Folded(places).double(), torch.randint(0, 7, (rows, 5))
    got = tangent_kernel(net, ids, pool=pool, n_readouts=6, metric=metric, batch_size=5)
    formed = ("named", "time") if rows > 1 else ("named",)  # one sample is its own batch
    want = slow_kernel(net, ids, pool, 6, metric, loose=formed)
    assert_allclose(got.body, want, rtol=2e-3, atol=2e-4 * want.max())
    assert sum(got.n_parameters.values()) == 12 * 6 + 3 * 42


@pytest.mark.parametrize("metric", ["adam", "adafactor"])
@pytest.mark.parametrize("name", cases())
def test_metric_of_adam(name, metric):
    module, inputs, pool = cases()[name]
    h = 4
    if name == "transformer":  # the bias of keys has no gradient: rounding would be scaled up
        module, h = module.double(), 6
    got = tangent_kernel(module, inputs, pool=pool, n_readouts=h, metric=metric)
    want = slow_kernel(module, inputs, pool, h, metric)
    assert_allclose(got.body, want, rtol=2e-3, atol=2e-4 * want.max())


@pytest.mark.parametrize("metric", ["sgd", "adam", "adafactor"])
def test_padding_has_no_gradient_and_memory_does_not_matter(metric, monkeypatch):
    module, inputs, pool = cases()["transformer"]
    module.words = nn.Embedding(7, 6, padding_idx=3)
    module.double()
    assert (inputs == 3).any()
    got = tangent_kernel(module, inputs, pool=pool, n_readouts=6, metric=metric).body
    want = slow_kernel(module, inputs, pool, 6, metric)
    assert_allclose(got, want, rtol=2e-3, atol=2e-4 * want.max())
    monkeypatch.setattr("retemper.networks.tangent._PAIRS", 1)
    small = tangent_kernel(module, inputs, pool=pool, n_readouts=6, metric=metric).body
    assert_allclose(small, got, rtol=1e-4)


def test_all_readouts_give_the_exact_mean_over_features():
    module, inputs, _ = cases()["mlp"]
    a = tangent_kernel(module, inputs, n_readouts=4, random_state=0).body
    b = tangent_kernel(module, inputs, n_readouts=4, random_state=1).body
    assert_allclose(a, b, rtol=1e-4)
    few = tangent_kernel(module, inputs, n_readouts=1, random_state=1).body
    assert abs(few - a).max() > 1e-3 * a.max()


def test_probe_is_the_gram_matrix_of_features():
    module, inputs, _ = cases()["convolutions"]
    got = tangent_kernel(module, inputs)
    phi = features(module, inputs)
    assert_allclose(got.features, phi, rtol=1e-6)
    assert_allclose(got.probe, phi @ phi.T, rtol=1e-6)
    assert list(got.blocks) == ["stem", "norm", "deep", "group", "again"]
    assert_allclose(got.upper(5), got.body)
    assert not got.upper(0).any()


def test_batches_do_not_change_the_kernel():
    module, inputs, _ = cases()["convolutions"]
    a, b = (tangent_kernel(module, inputs, batch_size=s).body for s in (2, 64))
    assert_allclose(a, b, rtol=1e-5)


def test_frozen_parameters_are_left_out_and_modes_kept():
    module, inputs, _ = cases()["mlp"]
    module.train()
    whole = tangent_kernel(module, inputs)
    assert module.training
    module[0].weight.requires_grad_(False)
    module[0].bias.requires_grad_(False)
    part = tangent_kernel(module, inputs)
    assert list(part.blocks) == ["2"]
    assert_allclose(part.blocks["2"], whole.blocks["2"], rtol=1e-5)
    for p in module[:4].parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="all are frozen"):
        tangent_kernel(module, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype):
    module, inputs, _ = cases()["mlp"]
    want = tangent_kernel(module, inputs).body
    got = tangent_kernel(module.to(dtype), inputs.to(dtype)).body
    assert_allclose(got, want, rtol=0.1, atol=0.05 * want.max())


def test_bad_input():
    module, inputs, _ = cases()["transformer"]
    with pytest.raises(ValueError, match="say what becomes of its positions by pool="):
        tangent_kernel(module, inputs)
    with pytest.raises(ValueError, match=r"head must be one of the linear layers .* got 'top'"):
        tangent_kernel(module, inputs, head="top")
    with pytest.raises(
        ValueError, match="metric must be one of 'adafactor', 'adam', 'sgd'; got 'rms'"
    ):
        tangent_kernel(module, inputs, metric="rms")
    net = mlp()
    with pytest.raises(ValueError, match="are NaN or infinite"):
        tangent_kernel(net, torch.full((3, 5), torch.nan))
    with pytest.raises(ValueError, match="no linear layer that could be its head"):
        tangent_kernel(nn.Sequential(nn.Conv1d(1, 1, 1)), torch.zeros(2, 1, 3))
