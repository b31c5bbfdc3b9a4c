"""What people pass first to networks: it works, or the error names the inputs and what to do."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from retemper.networks import advise_network, features, fine_tune, tangent_kernel  # noqa: E402

torch.manual_seed(0)
NET = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
X = np.random.default_rng(0).normal(size=(30, 6))
Y = np.where(X[:, 0] > 0.0, "yes", "no")
INPUTS = torch.as_tensor(X).float()


@pytest.mark.parametrize(
    "inputs", [X, X.astype(np.float32), torch.as_tensor(X), pd.DataFrame(X, columns=list("abcdef"))]
)
def test_numbers_come_in_the_type_of_the_module(inputs):
    np.testing.assert_array_equal(features(NET, inputs), features(NET, INPUTS))
    tuned = fine_tune(NET, inputs, Y, max_epochs=2)
    same = fine_tune(NET, INPUTS, Y, max_epochs=2)
    np.testing.assert_array_equal(tuned.predict(inputs), same.predict(INPUTS))


def test_loaders_too():
    half = copy.deepcopy(NET).to(torch.bfloat16)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(INPUTS), batch_size=30)
    np.testing.assert_array_equal(features(half, INPUTS), features(half, loader))


def test_whole_numbers_stay_whole():
    words = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    assert features(words, np.arange(10).reshape(5, 2) % 9).shape == (5, 8)


@pytest.mark.parametrize("call", [features, tangent_kernel, lambda n, x: fine_tune(n, x, Y)])
def test_inputs_of_another_shape_are_named(call):
    with pytest.raises(ValueError, match=r"fit Sequential, .* \(\d+, 5\) of float32: mat1 and"):
        call(NET, INPUTS[:, :5])


def test_numbers_are_not_taken_for_classes():
    with pytest.raises(ValueError, match=r"30 different ones: task='regression' takes numbers"):
        advise_network(NET, INPUTS, X[:, 0])
    with pytest.raises(TypeError, match=r"modules must be a torch.nn.Module, a list or a mapping"):
        advise_network(torch.nn.Linear, INPUTS, Y)
    with pytest.raises(ValueError, match="y has one class only: 'yes'"):
        advise_network(NET, INPUTS, np.repeat("yes", 30))


def test_a_tuned_network_shows_in_one_line():
    shown = repr(fine_tune(NET, INPUTS, Y, max_epochs=3, held_out_share=0.3))
    assert shown.startswith("FineTunedNetwork(full of Sequential, ")
    assert "training loss" in shown
    assert "held-out error" in shown
    assert len(shown) < 160
