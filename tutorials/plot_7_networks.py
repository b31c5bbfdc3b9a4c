"""
PyTorch: from a module to a verified fine-tuning (needs torch)
==============================================================

**Question.** You have checkpoints of a pre-trained network and sixty labels of another task. Which
checkpoint do you start from, do you train a probe or all of it, and is it better than training from
scratch?

The network has the form of those in torchvision: ``features``, then a linear ``fc``. It was trained
to tell pairs of digits apart, 0 or 1 against 2 or 3 and so on; the new task is the digit itself.
Everything is explained on the page :doc:`PyTorch modules </networks>`.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from retemper.networks import advise_network, choose_checkpoint, diagnose

# %%
# A pre-training, and the labels at hand
# --------------------------------------
# Yours ran elsewhere and left files; a folder of them serves as well as this dictionary.

torch.manual_seed(0)
torch.set_num_threads(1)
pixels, digit = load_digits(return_X_y=True)
X = torch.as_tensor(pixels / 16).float().reshape(-1, 1, 8, 8)
source, few, rest = np.split(np.random.default_rng(0).permutation(1797), [900, 960])


class Net(nn.Module):
    """Two convolutions and a read-out."""

    def __init__(self, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Linear(96, n_classes)

    def forward(self, x):
        """Logits of the classes."""
        return self.fc(self.features(x))


net, pair, checkpoints = Net(5), torch.as_tensor(digit // 2), {}
optimiser = torch.optim.Adam(net.parameters(), 1e-2)
for step in range(201):
    if step in (0, 25, 50, 100, 200):
        checkpoints[step] = copy.deepcopy(net.state_dict())
    optimiser.zero_grad()
    nn.functional.cross_entropy(net(X[source]), pair[source]).backward()
    optimiser.step()

# %%
# Which checkpoint
# ----------------
# Leave-one-out of a ridge probe on the sixty labels; nothing is trained.

choice = choose_checkpoint(checkpoints, X[few], digit[few], module=net)
print(choice)
net.load_state_dict(checkpoints[choice.step])

# %%
# What theory says
# ----------------
# Leave-one-out with the fine-tuning kernel, for every recipe. The interval holds what the kernel
# misses of the network. Where intervals overlap theory does not decide.

advice = advise_network({"pairs": net}, X[few], digit[few])
print(advice)

# %%
# What real runs say
# ------------------
# ``verify`` fine-tunes what is left, scratch always among it, on the same splits. The budget is the
# number of runs; ``path=`` keeps them in a file, and a larger budget goes on from there.

verified = advice.verify(16, learning_rate=1e-2, max_epochs=30)
print(verified)

# %%
# Train the choice on all sixty rows, and see what it did to the network.

tuned = verified.fine_tune(learning_rate=1e-2, max_epochs=60)
wrong = tuned.predict(X[rest]) != digit[rest]
print(f"error on {len(rest)} new images: {wrong.mean():.3f}")
if tuned.recipe != "scratch":
    print(diagnose(net, tuned.module, X[rest][:100], n_pairs=4))

# %%
# Predicted errors with their intervals, measured ones with two standard errors, and the truth.

figure, ax = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
names = [c.name.removesuffix(" of pairs") for c in verified.candidates]
predicted = [next(c for c in advice.candidates if c.name == v.name) for v in verified.candidates]
for shift, rows, label in ((-0.1, predicted, "predicted"), (0.1, verified.candidates, "real runs")):
    ends = [[c.error - c.error_low, c.error_high - c.error] for c in rows]
    ax.errorbar(
        np.arange(len(rows)) + shift, [c.error for c in rows], np.maximum(ends, 0).T, fmt="o",
        capsize=3, label=label,
    )  # fmt: skip
ax.axhline(wrong.mean(), color="0.4", ls=":", label="new images, after the choice")
ax.set_xticks(np.arange(len(names)), names)
ax.set(xlabel="recipe", ylabel="share of rows classified wrong", ylim=(0, None))
ax.set_title("Real runs say what the intervals of theory leave open")
ax.legend()
plt.show()

# %%
# Try next
# --------
# - ``advice.label_curve([30, 120, 180])``: what other numbers of labels would give.
# - Your own module: whatever ends in a linear layer. Where features have positions or tokens, say
#   ``pool="channels"``, ``"tokens"`` or ``"cls"``.
# - How good the predictions are, with their misses: :doc:`/networks`.
