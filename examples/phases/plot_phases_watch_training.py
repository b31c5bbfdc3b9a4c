"""
Watch a training run, keep a checkpoint
=======================================

How to use the monitor on your own network: hand it the activations at every checkpoint and read its
report. Here digits are learned as even or odd; the transfer task is the digit itself. This is one
seed of ``phases-parity``.
"""

import matplotlib.pyplot as plt

from retemper.datasets import noisy_digits
from retemper.phases import MLPTrainer, MonitorDisplay, PhaseMonitor

data = noisy_digits(random_state=0)
monitor = PhaseMonitor(
    data.X_eval,
    data.tasks_eval["parity"],
    {"digit": data.tasks_eval["digit"]},
    groups=data.groups_eval,
)
network = MLPTrainer(hidden=(64, 64), weight_decay=3e-3, n_steps=8192, random_state=0)
network.fit(
    data.X,
    data.tasks["parity"],
    callback=lambda step, net: monitor.observe(step, net.activations(data.X_eval)),
)
print(monitor.report())

# %%
# The checkpoint to keep, and its picture.
features = network.activations(data.X_eval, monitor.recommended_step_)["hidden2"]
print("features of the kept checkpoint:", features.shape)

figure, ax = plt.subplots(layout="constrained")
MonitorDisplay.from_monitor(monitor, "hidden2").plot(ax=ax)
ax.set_title("The reconstruction of the second hidden layer turns before its probe falls")
plt.show()
