"""What users do wrong: an error that names it, or a flag, and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="needs the extra retemper[torch]")
nn = torch.nn

from retemper.networks import (  # noqa: E402
    FineTuningKernel,
    advise_network,
    choose_checkpoint,
    features,
    fine_tune,
    tangent_kernel,
)

X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).numpy()


def network(middle=None):
    torch.manual_seed(0)
    middle = nn.ReLU() if middle is None else middle
    return nn.Sequential(nn.Linear(4, 8), middle, nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))


class Step(nn.Module):
    def forward(self, x):
        return (x > 0).float()


def test_a_layer_without_gradients_is_named_and_what_is_frozen_below_it_is_fine():
    for call in (
        lambda net: tangent_kernel(net, X),
        lambda net: FineTuningKernel(net).fit(X, Y),
        lambda net: advise_network(net, X, Y),
    ):
        with pytest.raises(ValueError, match=r"layer '1' \(Step\) is not differentiable"):
            call(network(Step()))
    net = network(Step())
    net[0].requires_grad_(False)
    assert list(tangent_kernel(net, X).blocks) == ["2"]


def test_the_first_layer_that_is_not_finite_is_named():
    net = network()
    net[2].weight.data[0, 0] = torch.inf
    for call in (
        lambda: features(net, X), lambda: tangent_kernel(net, X),
        lambda: advise_network(net, X, Y), lambda: choose_checkpoint([net], X, Y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="layer '2' is the first to give any"):
            call()
    with pytest.raises(ValueError, match="the inputs themselves are NaN"):
        features(network(), torch.full((3, 4), torch.nan))


def test_training_mode_changes_nothing_and_is_left():
    net = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)
    )
    quiet = tangent_kernel(net.eval(), X).body
    net.train()
    running = net[1].running_mean.clone()
    assert_allclose(tangent_kernel(net, X).body, quiet)
    advise_network(net, X, Y)
    assert net.training
    assert net[2].training
    assert torch.equal(net[1].running_mean, running)


def test_shared_parameters_count_once_with_the_gradient_of_both_uses():
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    tied[2].weight = tied[0].weight
    found = tangent_kernel(tied, X, n_readouts=4)
    assert sum(found.n_parameters.values()) == 16 + 4 + 4

    def phi(weights):
        state = {"0.weight": weights[0], "2.weight": weights[0], "0.bias": weights[1],
                 "2.bias": weights[2]}  # fmt: skip
        body = tied[:4]
        return torch.func.functional_call(body, state, X)

    parameters = (tied[0].weight.detach(), tied[0].bias.detach(), tied[2].bias.detach())
    J = torch.func.jacrev(phi)(parameters)
    flat = torch.cat([j.flatten(2) for j in J], dim=2)
    want = torch.einsum("njp,mjp->nm", flat, flat) / 4
    assert_allclose(found.body, want.numpy(), rtol=2e-4, atol=1e-6)


def test_batch_statistics_of_other_data_are_flagged_in_the_advice():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    for _ in range(60):
        net(X)
    assert advise_network(net, X, Y).flags == ()
    flags = advise_network({"mine": net}, 10 * X + 3, Y).flags
    assert flags[0].startswith("batch statistics of 1 of mine are of other data")


def test_a_module_on_two_devices_is_refused_with_its_parameters():
    net = network()
    net[2] = net[2].to("meta")  # what a forgotten .to("cuda") leaves, without the hardware
    for call in (
        lambda: features(net, X), lambda: tangent_kernel(net, X), lambda: fine_tune(net, X, Y),
        lambda: advise_network(net, X, Y), lambda: choose_checkpoint([net], X, Y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"'0.weight' on cpu, '2.weight' on meta"):
            call()


def test_labels_and_names():
    net = network()
    with pytest.raises(ValueError, match="y has one class only"):
        advise_network(net, X, np.zeros(30, int))
    with pytest.raises(ValueError, match="y must have more rows than classes"):
        advise_network(net, X, np.arange(30))
    names = r"head must be one of the linear layers \['0', '2', '4'\], got 'top'"
    for call in (features, tangent_kernel):
        with pytest.raises(ValueError, match=names):
            call(net, X, head="top")
    with pytest.raises(ValueError, match=names):
        fine_tune(net, X, Y, head="top")


def test_modules_without_gradients_say_why():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, rows):
            with torch.no_grad():
                hidden = self.body(rows).relu()
            return self.head(hidden)

    cases = {
        "the forward pass cuts gradients": Cut(),
        "which must end in a linear read-out": nn.Sequential(nn.Linear(4, 8), nn.ReLU()),
        r"requires_grad_\(True\) trains them": network().requires_grad_(False),
    }
    for match, net in cases.items():
        with pytest.raises(ValueError, match=match):
            tangent_kernel(net, X)


def test_a_module_without_numbers_is_refused():
    with pytest.raises(ValueError, match="device 'meta': load weights first"):
        features(network().to("meta"), X)


def test_wrong_types_of_inputs_are_told():
    with pytest.raises(ValueError, match=r"fails on shapes \(\d+, 4\) of int64"):
        features(network(), X.long())


def test_many_whole_numbers_are_no_classes():
    with pytest.raises(ValueError, match="task='regression' takes numbers"):
        advise_network(network(), X, np.arange(30.0) // 1.2)
    assert "30 labels of 2 classes" in str(advise_network(network(), X, Y))


def test_the_start_of_a_training_is_told_as_such():
    start = network()
    noise = {0: start.state_dict(), 10: {k: 0 * v for k, v in start.state_dict().items()}}
    told = features(start, X)[:, 0] > np.median(features(start, X)[:, 0])
    said = str(choose_checkpoint(noise, X, told, module=start))
    assert "step 0; nothing that was learned later helps" in said.splitlines()[0]


def test_folders_that_are_none_are_told(tmp_path):
    file = tmp_path / "net.pt"
    torch.save(network().state_dict(), file)
    for path, match in ((tmp_path / "none", "no such folder"), (file, "put it into a list")):
        with pytest.raises(ValueError, match=match):
            choose_checkpoint(path, X, Y, module=network())


def test_numbers_have_no_record():
    said = str(advise_network(network(), X, X[:, 0].numpy(), task="regression"))
    assert "No fine-tunings on numbers were recorded" in said
    assert "classes" not in said
