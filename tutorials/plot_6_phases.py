"""
Learning phases: which checkpoint should I keep?
================================================

**Question.** A network is being trained. Later its hidden layer will serve tasks that nobody has
named yet. Which checkpoint should be kept, and can one tell without labels for those tasks?

We train scikit-learn's ``MLPClassifier`` to tell even from odd digits. In secret we also ask, at
every checkpoint, how well a linear probe reads the digit itself off the hidden layer: that is the
later task. The system is :doc:`learning phases </systems/phases>`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from retemper.phases import PhaseMonitor, phase_forecast, train_mlp_classifier

# %%
# Data
# ----
# The first 1200 images train, the rest evaluate. The same rows are shown to the monitor at every
# checkpoint.

X, digit = load_digits(return_X_y=True)
X = (X - X[:1200].mean(axis=0)) / X[:1200].std()
train, held_out = slice(None, 1200), slice(1200, None)

# %%
# A forecast before training
# --------------------------
# For *one linear* layer everything follows from second moments. FUV is the share of the variance of
# the inputs that cannot be recovered from the layer. If it falls and then rises, an intermediate
# checkpoint holds most.

forecast = phase_forecast(X[train], digit[train] % 2)
print(f"random layer {forecast.fuv_init:.3f}, early {forecast.fuv_early:.3f},", end=" ")
print(f"late {forecast.fuv_late:.3f}")

# %%
# Watch a real run
# ----------------
# A network with two hidden layers and weight decay. The monitor looks at steps 0, 1, 2, 4, 8, and
# so on. ``aux`` is the secret task.

network = MLPClassifier(
    (48, 24), solver="sgd", learning_rate_init=0.05, alpha=0.8, batch_size=128, random_state=0
)
monitor = PhaseMonitor(X[held_out], digit[held_out] % 2, aux={"digit": digit[held_out]})
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    train_mlp_classifier(network, X[train], digit[train] % 2, monitor, X[held_out], n_steps=2048)
print(monitor.report())

# %%
# Left, the share of the inputs that is lost. Right, what a probe reads off the same layer.

layer = "hidden2"
steps = np.array(sorted(monitor.history_))
scores = [monitor.history_[step][layer] for step in steps]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
left.plot(steps + 1, [score.fuv for score in scores], "o-")
left.axvline(monitor.recommended_step_ + 1, color="0.4", ls=":")
left.set(
    xscale="log",
    xlabel="step + 1",
    ylabel="share of the inputs' variance lost (FUV)",
    title="Keep the step at the dotted line",
)
for name, style in (("source", "s--"), ("digit", "o-")):
    values = [score.probes[name].accuracy for score in scores]
    right.plot(steps + 1, values, style, label={"source": "even or odd"}.get(name, name))
right.set(xscale="log", xlabel="step + 1", ylabel="accuracy of a linear probe")
right.set_title("The trained task improves, the other is lost")
right.legend()
plt.show()

# %%
# Try next
# --------
# - Take ``alpha=0``, no weight decay. Is there anything left to gain?
# - With PyTorch: ``retemper.phases.torch.watch`` and the same monitor.
# - Every formula is derived in :doc:`/derivations/phases`.
