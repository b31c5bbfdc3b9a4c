"""Ctrl-C in the theories of hidden layers."""

import pytest

from ..contract.test_interrupt_and_fork import interrupt

SETUP = """
import numpy as np
from retemper.phases import DeepLinearModel, MLPTrainer, TwoLayerModel, network_forecast, solve
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 100)), rng.integers(0, 5, 2000)
net = MLPTrainer((300, 300), activation="tanh")
wide = {"teacher": rng.normal(size=(4, 100)) / 10, "W0": rng.normal(size=(20, 100)) / 10,
        "readout0": np.ones(20), "spectrum": 1 / np.arange(1.0, 101.0), "times": [16.0]}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    [
        "network_forecast(net, X, y, X[:500])",
        "solve(TwoLayerModel(**wide, activation='relu', step_size=1 / 64, batch_size=1))",
        "solve(TwoLayerModel(**wide))",
        "solve(DeepLinearModel(np.ones(3000), np.ones(3000), step_size=0.1, times=[1e5]))",
    ],
)
def test_ctrl_c_inside_a_theory(work):
    call = f"if 'X' not in globals():\n    exec({SETUP!r}, globals())\n{work}"
    # a busy machine delays a signal too, but not three times
    assert any(interrupt(call) < 0.2 for _ in range(3))
